//! `protocol::commit::Committer`, one request a step.

use std::sync::Arc;

use icepack_core::model::manifest::{Manifest, Observed, Stamp};
use icepack_core::model::names::{FileId, FileKind, Key, classify};
use icepack_core::model::pages::PageSizes;
use icepack_core::model::swept::SweptNames;
use icepack_core::plan::commit::{Conflict, apply, apply_without};

use crate::model::checker::{Fault, How, Model};
use crate::model::process::{listing, put_rows};
use crate::model::state::*;

/// All of a manifest is in one page.
pub const ONE_PAGE: PageSizes = PageSizes {
    inline: 0,
    entries: 1_000,
    pages: 1_000,
    unnamed: 0,
};

impl Model {
    fn apply(&self, head: &Head, wish: &Wish, seen: &Seen) -> Result<Manifest, Conflict> {
        let stamp = Stamp {
            run_id: wish.0.run_id,
            commit_id: wish.0.commit_id,
            at: at(0),
        };
        let next = match self.off {
            None => apply(head, &wish.0, &seen.0, stamp),
            Some(check) => apply_without(check, head, &wish.0, &seen.0, stamp),
        };
        next.map(|mut next| {
            if self.fault == Some(Fault::ForgetsNames) || !self.remembers {
                next.swept = SweptNames::default();
            }
            next
        })
    }

    pub fn begin_commit(
        &self,
        s: &mut State,
        p: usize,
        head: Head,
        wish: Wish,
        seen: Seen,
        then: Then,
    ) {
        match self.apply(&head, &wish, &seen) {
            Ok(mut next) => {
                let at = self.divide(s, p, &head, &mut next);
                let next = Head(Arc::new(next));
                s.procs[p].pc = Pc::Commit(Box::new(Commit {
                    head,
                    wish,
                    seen,
                    next,
                    at,
                    rebased: false,
                    then,
                }));
            }
            Err(c) => self.conflict(s, p, &c),
        }
    }

    /// Divides a manifest into pages: what is put next.
    fn divide(&self, s: &State, p: usize, head: &Head, next: &mut Manifest) -> At {
        if !self.paged {
            return At::Put;
        }
        // Each try has pages of its own.
        let seed = Self::seed(s, p) + 500 + 7 * head.version;
        let (floor, mut n) = (next.floor, 0);
        let new = next.divide(ONE_PAGE, || {
            n += 1;
            mint(s.time, seed + n, floor)
        });
        let todo: Vec<FileId> = new.unwrap().into_iter().map(|page| page.id).collect();
        if todo.is_empty() || self.fault == Some(Fault::NamesPagesFirst) {
            return At::Put;
        }
        At::PutPage { todo }
    }

    fn conflict(&self, s: &mut State, p: usize, c: &Conflict) {
        self.reached(match c {
            Conflict::StaleObservation { .. } => "conflict: stale observation",
            Conflict::ForeignPath(_) => "conflict: foreign path",
            Conflict::NotLive(_) => "conflict: not live",
            Conflict::AlreadyRetired(_) => "conflict: already retired",
            Conflict::Remembered(_) => "conflict: remembered",
            Conflict::NotSeen(_) => "conflict: not seen",
            Conflict::Changed(_) => "conflict: changed",
            Conflict::BelowFloor(_) => "conflict: below the floor",
            Conflict::AlreadyLive(_) => "conflict: already live",
            Conflict::FloorFell => "conflict: the floor fell",
            Conflict::NotForgettable(_) => "conflict: not forgettable",
            Conflict::NotSettled(_) => "conflict: not settled",
            Conflict::Books(_) => "conflict: books",
            Conflict::Unread(_) => "conflict: unread",
            Conflict::Held(_) => "conflict: held",
            Conflict::AlreadyRestored(_) => "conflict: already restored",
            Conflict::HoldGone(_) => "conflict: a hold is gone",
            Conflict::StillHeld(_) => "conflict: still held",
            Conflict::NotRestored(_) => "conflict: not restored",
        });
        if c.is_internal() && self.fault.is_none() {
            s.broken = Some("an honest edit is refused as a bug");
        }
        self.end(s, p);
    }

    /// One request of a commit under way.
    pub fn commit(&self, s: &mut State, p: usize, mut c: Commit, how: How) {
        match c.at.clone() {
            At::PutPage { mut todo } => {
                s.pages.insert(todo.remove(0));
                c.at = if todo.is_empty() {
                    At::Put
                } else {
                    At::PutPage { todo }
                };
            }
            At::Put if how == How::LoseReply => {
                s.timeouts -= 1;
                if !s.in_flight.iter().any(|m| m.0 == c.next.0) {
                    s.in_flight.push(c.next.clone());
                }
                c.at = At::ReadBack;
            }
            At::Put if put(self, s, &c.next) => return self.won(s, p, c),
            At::Put => c.at = At::ReadBack,
            At::ReadBack if how == How::Fail => {
                s.failures -= 1;
                self.reached("unknown");
                return self.unknown(s, p, &c);
            }
            At::ReadBack => match s.world.manifests.get(&c.next.version) {
                Some(found) if found.commit_id == c.next.commit_id => {
                    self.reached("a lost reply is settled as ours");
                    return self.won(s, p, c);
                }
                Some(_) => c.at = At::ListHead,
                None => c.at = At::Put,
            },
            At::ListAbove if s.world.manifests.keys().all(|v| *v <= c.next.version) => {
                return self.committed(s, p, c);
            }
            At::ListAbove => c.at = At::ReadChild,
            At::ReadChild => {
                if s.world
                    .manifests
                    .get(&(c.next.version + 1))
                    .is_some_and(|m| m.parent == Some(c.next.commit_id))
                {
                    return self.committed(s, p, c);
                }
                self.reached("superseded");
                return self.end(s, p);
            }
            At::ListHead => c.at = At::GetHead { newest: s.newest() },
            At::GetHead { newest } => match self.read(s, newest) {
                None => c.at = At::ListHead,
                Some(head) => return self.rebase(s, p, Commit { head, ..c }),
            },
            At::ListFiles => {
                c.seen.0.listing = Some(
                    listing(s, how)
                        .into_iter()
                        .map(|f| (f.key, f.etag))
                        .collect(),
                );
                c.seen.0.gone = c
                    .wish
                    .0
                    .forget
                    .iter()
                    .filter(|key| !s.world.hot.contains_key(*key))
                    .cloned()
                    .collect();
                return self.look(s, p, c);
            }
            At::Look { mut todo } => {
                let key = todo.remove(0);
                if let Some(o) = s.world.hot.get(&key) {
                    c.seen.0.present.insert(key, o.etag.clone());
                }
                if todo.is_empty() {
                    return self.again(s, p, c);
                }
                c.at = At::Look { todo };
            }
        }
        s.procs[p].pc = Pc::Commit(Box::new(c));
    }

    /// A new head: everything must be looked at again.
    fn rebase(&self, s: &mut State, p: usize, mut c: Commit) {
        self.reached("rebase");
        c.rebased = true;
        match self.fault {
            Some(Fault::RebasesBlindly) => return self.again(s, p, c),
            Some(Fault::ClaimsOldSightings) => {
                c.seen.0.head_version = c.head.version;
                return self.again(s, p, c);
            }
            _ => {}
        }
        c.seen.0 = Observed {
            receipts: c.seen.0.receipts,
            ..Observed::since(&c.head)
        };
        if c.wish.0.forget.is_empty() {
            return self.look(s, p, c);
        }
        c.at = At::ListFiles;
        s.procs[p].pc = Pc::Commit(Box::new(c));
    }

    fn look(&self, s: &mut State, p: usize, mut c: Commit) {
        let todo: Vec<Key> = c
            .wish
            .0
            .retire
            .iter()
            .map(|r| r.key.clone())
            .filter(|k| classify(&tenant(), k) == FileKind::Raw)
            .collect();
        if todo.is_empty() {
            return self.again(s, p, c);
        }
        c.at = At::Look { todo };
        s.procs[p].pc = Pc::Commit(Box::new(c));
    }

    fn again(&self, s: &mut State, p: usize, mut c: Commit) {
        match self.apply(&c.head, &c.wish, &c.seen) {
            Ok(mut next) => {
                c.at = self.divide(s, p, &c.head, &mut next);
                c.next = Head(Arc::new(next));
                s.procs[p].pc = Pc::Commit(Box::new(c));
            }
            Err(conflict) => self.conflict(s, p, &conflict),
        }
    }

    /// The put went through. Whether it made a head is still to be seen.
    fn won(&self, s: &mut State, p: usize, mut c: Commit) {
        c.at = At::ListAbove;
        match self.fault {
            Some(Fault::SkipsSupersededCheck) => self.committed(s, p, c),
            Some(Fault::DeletesFromMemory) if !c.wish.0.retire.is_empty() => {
                let todo = c.wish.0.retire.iter().map(|r| r.key.clone()).collect();
                s.procs[p].pc = Pc::DeleteRemembered {
                    todo,
                    then: Some(Box::new(c)),
                };
            }
            _ => s.procs[p].pc = Pc::Commit(Box::new(c)),
        }
    }

    fn unknown(&self, s: &mut State, p: usize, c: &Commit) {
        if self.fault == Some(Fault::TakesUnknownForFailure) && !c.wish.0.add.is_empty() {
            let todo = c.wish.0.add.iter().map(|a| a.key.clone()).collect();
            s.procs[p].pc = Pc::DeleteRemembered { todo, then: None };
            return;
        }
        self.end(s, p);
    }

    fn committed(&self, s: &mut State, p: usize, c: Commit) {
        self.reached(if c.rebased {
            "committed after a rebase"
        } else {
            "committed"
        });
        let id = c.wish.0.commit_id;
        s.change(|w| {
            w.reported.insert(id);
        });
        for late in c.then.late {
            put_rows(s, late, &c.wish.0);
        }
        if let Some(hold) = c.then.restoring {
            return self.held(s, p, c.next, hold);
        }
        let Some(mut sweep) = c.then.sweep else {
            return self.next_group(s, p, c.next);
        };
        if !c.wish.0.forget.is_empty() {
            self.reached("a deleted file is forgotten");
        }
        if !c.wish.0.settle.is_empty() {
            self.reached("an archive entry is settled");
        }
        let (raised, settled) = (c.wish.0.floor.is_some(), !c.wish.0.reread.is_empty());
        if (!raised && !settled && c.wish.0.release.is_empty()) || sweep.round > 1 {
            s.procs[p].pc = Pc::ListForPruning {
                version: c.next.version,
            };
            return;
        }
        if raised {
            self.reached("the floor is raised");
        }
        if settled {
            self.reached("a file under a retired name is looked at");
        }
        sweep.round += 1;
        s.procs[p].pc = Pc::list(sweep);
    }
}

impl Model {
    /// The next group rests on the head that was just committed, its plan on an older one.
    fn next_group(&self, s: &mut State, p: usize, head: Head) {
        if s.procs[p].later.is_empty() {
            return self.end(s, p);
        }
        self.reached("a group is begun on another head than it was planned on");
        let todo = vec![s.procs[p].later.remove(0)];
        s.procs[p].pc = Pc::Fetch {
            head,
            todo,
            taken: Vec::new(),
        };
    }

    /// Outputs and no head: unless a run has begun this tenant between the two reads, its manifest
    /// was lost.
    pub fn look_again(&self, s: &mut State, p: usize) {
        if s.world.manifests.is_empty() || self.fault == Some(Fault::LooksOnce) {
            s.broken = Some("an honest run is told that the manifest was lost");
            return;
        }
        self.reached("a tenant was begun between the two reads");
        s.procs[p].pc = Pc::list(Sweep::default());
    }

    /// `Committer::begin`: the first manifest, before the first output.
    pub fn birth(&self, s: &State, p: usize, todo: Vec<Key>) -> Pc {
        let stamp = Stamp {
            run_id: name(p as u64),
            commit_id: name(Self::seed(s, p) + 9),
            at: at(0),
        };
        Pc::Begin {
            todo,
            first: Head(Arc::new(Manifest::first(tenant(), stamp))),
            at: At::Put,
        }
    }

    pub fn begin(&self, s: &mut State, p: usize, todo: Vec<Key>, first: Head, at: At, how: How) {
        let mine = |m: &Arc<Manifest>| m.commit_id == first.commit_id;
        let at = match at {
            At::Put if how == How::LoseReply => {
                s.timeouts -= 1;
                s.in_flight.push(first.clone());
                At::ReadBack
            }
            At::Put if put(self, s, &first) => At::ListAbove,
            At::Put => At::ReadBack,
            At::ReadBack if how == How::Fail => {
                s.failures -= 1;
                return self.end(s, p);
            }
            At::ReadBack => s.world.manifests.get(&1).map_or(At::Put, |m| {
                if mine(m) { At::ListAbove } else { At::ListHead }
            }),
            At::ListAbove if s.world.manifests.keys().all(|v| *v <= 1) => {
                s.procs[p].pc = Pc::Fetch {
                    head: first,
                    todo,
                    taken: Vec::new(),
                };
                return;
            }
            At::ListAbove => At::ReadChild,
            At::ReadChild
                if s.world
                    .manifests
                    .get(&2)
                    .is_some_and(|m| m.parent == Some(first.commit_id)) =>
            {
                s.procs[p].pc = Pc::Fetch {
                    head: first,
                    todo,
                    taken: Vec::new(),
                };
                return;
            }
            At::ReadChild => {
                self.reached("superseded");
                return self.end(s, p);
            }
            At::GetHead { newest } => match self.read(s, newest) {
                None => At::ListHead,
                Some(head) => {
                    self.reached("another run began the tenant");
                    s.procs[p].pc = Pc::Fetch {
                        head,
                        todo,
                        taken: Vec::new(),
                    };
                    return;
                }
            },
            _ => At::GetHead { newest: s.newest() },
        };
        s.procs[p].pc = Pc::Begin { todo, first, at };
    }
}

/// The conditional put. Says whether it was the first of its version.
pub fn put(model: &Model, s: &mut State, next: &Head) -> bool {
    if s.world.manifests.contains_key(&next.version) {
        return false;
    }
    if s.world
        .manifests
        .last_key_value()
        .is_some_and(|(v, _)| *v > next.version)
    {
        model.reached("a pruned version number is revived");
    }
    if next.version == s.newest().0 + 1 {
        model.note_restored(s, next);
    }
    s.change(|w| {
        w.history.push(Arc::clone(&next.0));
        w.manifests.insert(next.version, Arc::clone(&next.0));
    });
    true
}
