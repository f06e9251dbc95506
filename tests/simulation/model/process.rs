//! What processes do: one request to a store a step, with all the computing that follows from its
//! reply. Decisions are `icepack::plan`'s.
//!
//! There is no crash: a process that crashed is one that is never scheduled again, and every state
//! is judged as if everybody had.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use icepack::CompactionConfig;
use icepack_core::model::file::{Fingerprint, Listed, Micros};
use icepack_core::model::hold::Hold;
use icepack_core::model::manifest::{Edit, Ledger, Observed, Reread, RetireReason, Retired};
use icepack_core::model::names::{FileId, FileKind, Key, classify, manifest_key};
use icepack_core::model::plan::Inventory;
use icepack_core::model::policy::{Policy, Rewritten};
use icepack_core::plan::evidence::{self, Evidence};
use icepack_core::plan::retention::{Due, cutoff_held, due};
use icepack_core::plan::sweep::RetiredState;
use icepack_core::plan::{live, sweep};
use icepack_dst::invariants::{Deletion, Object};

use crate::model::checker::{Fault, How, Model, Phase, Takes};
use crate::model::state::*;

/// As long as a tick.
const GRACE: Duration = Duration::from_secs(24 * 3600);

impl Model {
    /// One request of process `p`.
    pub fn step(&self, s: &mut State, p: usize, how: How) {
        match std::mem::replace(&mut s.procs[p].pc, Pc::Done) {
            Pc::ListVersions { sweep } => {
                if self.phase(s, p) == Phase::Sweep && sweep.round == 0 && sweep.filed.is_empty() {
                    s.procs[p].began = s.time;
                }
                s.procs[p].pc = Pc::GetHead {
                    newest: s.newest(),
                    sweep,
                };
            }
            // A tenant without a manifest has nothing to sweep or to read.
            Pc::GetHead {
                newest: Newest(0, _),
                ..
            } if !matches!(self.phase(s, p), Phase::Compact(_)) => self.end(s, p),
            Pc::GetHead {
                newest: Newest(0, _),
                ..
            } => s.procs[p].pc = Pc::List { head: None },
            Pc::GetHead { newest, sweep } => s.procs[p].pc = self.got_head(s, p, newest, sweep),
            Pc::HeadOfRestore { newest, thawed } => self.head_of_restore(s, p, newest, thawed),
            Pc::Copy {
                head,
                hold,
                todo,
                absent,
            } => self.copy(s, p, head, hold, todo, absent),
            Pc::List { head } => self.plan(s, p, head, how),
            Pc::LookAgain => self.look_again(s, p),
            Pc::Begin { todo, first, at } => self.begin(s, p, todo, first, at, how),
            Pc::Fetch { head, todo, taken } => self.fetch(s, p, head, todo, taken),
            Pc::Upload {
                head,
                wish,
                seen,
                rows,
                commit_first,
            } => self.upload(s, p, head, wish, seen, rows, commit_first),
            Pc::Commit(c) => self.commit(s, p, *c, how),
            Pc::FileReceipts { head, todo, sweep } => file_receipt(s, p, head, todo, sweep),
            Pc::SweepList { head, sweep } => self.sweep_list(s, p, head, sweep, how),
            Pc::Delete { head, todo, sweep } => self.delete(s, p, head, todo, sweep),
            Pc::ListAgain { head, sweep } => {
                let listing = listing(s, how);
                self.list_pages(s, p, head, sweep, listing);
            }
            Pc::DeletePages {
                head,
                sweep,
                listing,
                mut todo,
            } => {
                s.pages.remove(&todo.remove(0));
                self.reached("a page is collected");
                self.delete_pages(s, p, head, sweep, listing, todo);
            }
            Pc::ListForPruning { version } => {
                // However young: what is kept for a time may be pruned early here.
                let versions: Vec<_> = s.world.manifests.keys().map(|v| (*v, at(0))).collect();
                let todo = sweep::prunable_beyond(self.keep, version, &versions, at(100));
                if todo.is_empty() {
                    self.end(s, p)
                } else {
                    s.procs[p].pc = Pc::Prune { todo }
                }
            }
            Pc::Prune { todo } => self.prune(s, p, todo),
            Pc::DeleteRemembered { todo, then } => self.delete_remembered(s, p, todo, then),
            Pc::ReadList { head } => {
                // What this reader would read, if head is still head.
                let mut view = s.world.as_ref().clone();
                view.manifests = [(head.version, head.0.clone())].into();
                let sound = view.i1_every_row_once().is_ok();
                s.procs[p].pc = Pc::ReadAgain {
                    version: head.version,
                    sound,
                };
            }
            Pc::ReadAgain { version, sound } => {
                if s.newest().0 != version && self.fault != Some(Fault::ReadsOnce) {
                    self.reached("a reader starts over");
                    s.procs[p].pc = Pc::list(Sweep::default());
                    return;
                }
                if !sound {
                    s.broken = Some("a reader's view has a row twice or not at all");
                }
                self.reached("a reader has its view");
                self.end(s, p);
            }
            Pc::Done => {}
        }
    }

    pub fn phase(&self, s: &State, p: usize) -> Phase {
        self.scripts[p]
            .get(s.procs[p].phase)
            .copied()
            .unwrap_or(Phase::Read)
    }

    /// On to the next phase: the next pass, which remembers nothing.
    pub fn end(&self, s: &mut State, p: usize) {
        let proc = &mut s.procs[p];
        proc.phase += 1;
        proc.began = 0;
        proc.cutoff = Micros(0);
        proc.later.clear();
        proc.pc = match self.scripts[p].get(proc.phase) {
            Some(Phase::Restore(_)) => Pc::HeadOfRestore {
                newest: None,
                thawed: false,
            },
            Some(_) => Pc::list(Sweep::default()),
            None => Pc::Done,
        };
    }

    /// The manifest that was listed; none if it was pruned between the listing and the read. Its
    /// number alone does not tell: a run that slept may have put another manifest under it
    /// since, and that one is in nobody's line.
    pub fn read(&self, s: &State, Newest(version, tag): Newest) -> Option<Head> {
        let found = s.world.manifests.get(&version)?;
        if self.paged && !s.has_pages_of(found) {
            self.reached("a page of an older head is gone");
            return None;
        }
        if found.commit_id == tag {
            return Some(Head(Arc::clone(found)));
        }
        self.reached("head is another manifest than the one listed");
        (self.fault == Some(Fault::TrustsVersionNumbers)).then(|| Head(Arc::clone(found)))
    }

    fn got_head(&self, s: &State, p: usize, newest: Newest, sweep: Sweep) -> Pc {
        let Some(head) = self.read(s, newest) else {
            return Pc::list(sweep);
        };
        match self.phase(s, p) {
            Phase::Compact(_) => Pc::List { head: Some(head) },
            Phase::Read => Pc::ReadList { head },
            Phase::Restore(_) => Pc::Done,
            Phase::Sweep => {
                let todo: Vec<Key> = head.archives.iter().map(|a| a.key.clone()).collect();
                if sweep.round > 0
                    || !sweep.filed.is_empty()
                    || todo.is_empty()
                    || self.fault == Some(Fault::SettlesUnfiled)
                {
                    return Pc::SweepList { head, sweep };
                }
                Pc::FileReceipts { head, todo, sweep }
            }
        }
    }

    /// The live view that the listing shows, as far as this process takes it.
    fn plan(&self, s: &mut State, p: usize, head: Option<Head>, how: How) {
        let Phase::Compact(takes) = self.phase(s, p) else {
            return;
        };
        let inventory = inventory(head.as_ref(), &listing(s, how));
        if let Some(head) = head
            .as_ref()
            .filter(|head| self.believed(s, head, &inventory.listing).is_none())
        {
            return self.disbelieved(s, p, head, Sweep::default());
        }
        if head.is_none()
            && inventory
                .listing
                .iter()
                .any(|f| classify(&tenant(), &f.key) != FileKind::Raw)
        {
            s.procs[p].pc = Pc::LookAgain;
            return;
        }
        let view = live::view(&tenant(), &inventory).files;
        // Time passes, and nothing comes of age: the cutoff moves by holds alone.
        let holds: Vec<Hold> = head
            .iter()
            .flat_map(|m| &m.holds)
            .filter(|h| h.is_active(at(s.time)))
            .cloned()
            .collect();
        s.procs[p].cutoff = cutoff_held(&POLICY, &holds, at(0)).unwrap_or(Micros(0));
        let is_raw = |key: &str| classify(&tenant(), key) == FileKind::Raw;
        let is_theirs = |key: &str| {
            head.as_ref().is_some_and(|m| {
                m.holds
                    .iter()
                    .any(|h| !h.done && h.files.iter().any(|f| f == key))
            })
        };
        let mut todo: Vec<Key> = view
            .into_iter()
            .map(|f| f.key)
            .filter(|key| !is_theirs(key))
            .collect();
        match takes {
            Takes::Raw | Takes::Each => todo.retain(|k| is_raw(k)),
            Takes::Only(name) => todo.retain(|k| k == name),
            Takes::All if todo.len() < 2 => todo.clear(),
            Takes::All => {}
            Takes::Expired => return self.drop_whole(s, p, head),
        }
        if todo.is_empty() {
            return self.end(s, p);
        }
        if takes == Takes::Each {
            s.procs[p].later = todo.split_off(1);
        }
        s.procs[p].pc = match head {
            Some(head) => Pc::Fetch {
                head,
                todo,
                taken: Vec::new(),
            },
            None => self.birth(s, p, todo),
        };
    }

    /// Snapshots of which head says that every row has expired: not a byte of them is read.
    fn drop_whole(&self, s: &mut State, p: usize, head: Option<Head>) {
        let Some(head) = head else {
            return self.end(s, p);
        };
        let mut edit = Edit::new(name(p as u64), name(Self::seed(s, p)));
        let cutoff = s.procs[p].cutoff;
        for old in head
            .snapshots
            .iter()
            .filter(|s| due(&s.stats.into(), cutoff, &POLICY) == Due::Whole)
        {
            let (key, size, etag, rows) =
                (old.key.clone(), old.size, old.etag.clone(), old.stats.rows);
            edit.retire.push(Retired {
                key,
                size,
                etag,
                rows,
                fingerprint: None,
                remembered: None,
                found: None,
                at: at(0),
                reason: RetireReason::Expired,
            });
            edit.ledger.rows_in += rows;
            edit.ledger.rows_expired += rows;
        }
        if edit.is_empty() {
            return self.end(s, p);
        }
        edit.expired_before = Some(cutoff);
        self.reached("a whole snapshot is dropped unread");
        let seen = Seen(Observed::since(&head));
        self.begin_commit(s, p, head, Wish::new(edit), seen, Then::default());
    }

    fn fetch(
        &self,
        s: &mut State,
        p: usize,
        head: Head,
        mut todo: Vec<Key>,
        mut taken: Vec<(Key, Object<Row>)>,
    ) {
        let key = todo.remove(0);
        let Some(object) = s.world.hot.get(&key) else {
            self.reached("an input is gone before it is read");
            return self.end(s, p);
        };
        taken.push((key, object.clone()));
        if !todo.is_empty() {
            s.procs[p].pc = Pc::Fetch { head, todo, taken };
            return;
        }
        self.merge(s, p, head, &taken);
    }

    /// Names what this process mints in this phase, up to ten things.
    pub fn seed(s: &State, p: usize) -> u64 {
        (p as u64 + 1) * 100 + s.procs[p].phase as u64 * 10 + s.procs[p].later.len() as u64 * 2
    }

    fn merge(&self, s: &mut State, p: usize, head: Head, taken: &[(Key, Object<Row>)]) {
        let seed = Self::seed(s, p);
        let mut edit = Edit::new(name(p as u64), name(seed));
        let mut seen = Observed::since(&head);
        let all: Vec<Row> = taken.iter().flat_map(|(_, o)| o.rows.clone()).collect();
        let distinct: BTreeSet<Row> = all.iter().copied().collect();
        let (old, mut kept): (Vec<Row>, Vec<Row>) = distinct
            .iter()
            .copied()
            .partition(|row| time_of(*row) < s.procs[p].cutoff);
        for (key, o) in taken {
            seen.present.insert(key.clone(), o.etag.clone());
            edit.retire.push(Retired {
                key: key.clone(),
                size: o.size,
                etag: o.etag.clone(),
                rows: o.size,
                fingerprint: Some(print_of(&o.rows)),
                remembered: None,
                found: None,
                at: at(0),
                reason: RetireReason::Compacted,
            });
        }
        if self.fault == Some(Fault::LosesARow) {
            kept.pop();
        }
        if self.fault == Some(Fault::CrossesTenants) {
            let foreign = Retired {
                key: "other/x.parquet".into(),
                rows: 0,
                ..edit.retire[0].clone()
            };
            seen.present
                .insert(foreign.key.clone(), foreign.etag.clone());
            edit.retire.push(foreign);
        }
        let mut rows = Vec::new();
        let archives = s.world.cold.is_some();
        if archives && !old.is_empty() {
            let sources: Vec<Key> = taken.iter().map(|(key, _)| key.clone()).collect();
            let mut again_of = head
                .origin(sources.iter().map(String::as_str))
                .and_then(|holds| head.objects(&holds))
                .unwrap_or_default();
            if self.fault == Some(Fault::ClaimsRestored) {
                again_of = head.holds.iter().flat_map(|h| h.objects.clone()).collect();
            }
            let mut taken_over = receipt(mint(s.time, seed + 1, FileId::NIL), &old);
            (taken_over.sources, taken_over.again_of) = (sources, again_of);
            edit.archives.push(taken_over);
            rows.push((edit.archives[0].key.clone(), old.clone(), Where::Cold));
        }
        if !kept.is_empty() {
            edit.add
                .push(snapshot(mint(s.time, seed, head.floor), &kept));
            rows.push((edit.add[0].key.clone(), kept.clone(), Where::Hot));
        }
        if self.fault == Some(Fault::NamesTwice) && kept.len() == 2 {
            edit.add[0].stats.rows = 1;
            edit.add.push(edit.add[0].clone());
        }
        let (rows_archived, rows_expired) = if archives {
            (old.len() as u64, 0)
        } else {
            (0, old.len() as u64)
        };
        let rows_deduplicated = (all.len() - distinct.len()) as u64;
        edit.ledger = Ledger {
            rows_in: all.len() as u64,
            rows_kept: kept.len() as u64,
            rows_archived,
            rows_expired,
            rows_deduplicated,
        };
        if rows_deduplicated > 0 {
            self.reached("a redelivered row is met and dropped");
        }
        edit.restored = head
            .origin(edit.retire.iter().map(|r| r.key.as_str()))
            .unwrap_or_default();
        edit.expired_before = Some(s.procs[p].cutoff);
        let (wish, seen) = (Wish::new(edit), Seen(seen));
        if rows.is_empty() {
            return self.begin_commit(s, p, head, wish, seen, Then::default());
        }
        s.procs[p].pc = Pc::Upload {
            head,
            wish,
            seen,
            rows,
            commit_first: self.fault == Some(Fault::CommitsBeforeArchive),
        };
    }

    #[allow(clippy::too_many_arguments)]
    fn upload(
        &self,
        s: &mut State,
        p: usize,
        head: Head,
        wish: Wish,
        seen: Seen,
        mut rows: Vec<(Key, Vec<Row>, Where)>,
        commit_first: bool,
    ) {
        // A mutant commits what it has not archived yet.
        let late = if commit_first {
            rows.iter()
                .filter(|r| r.2 == Where::Cold)
                .cloned()
                .collect()
        } else {
            Vec::new()
        };
        rows.retain(|r| !commit_first || r.2 == Where::Hot);
        if !rows.is_empty() {
            put_rows(s, rows.remove(0), &wish.0);
        }
        if rows.is_empty() {
            return self.begin_commit(
                s,
                p,
                head,
                wish,
                seen,
                Then {
                    late,
                    ..Then::default()
                },
            );
        }
        s.procs[p].pc = Pc::Upload {
            head,
            wish,
            seen,
            rows,
            commit_first,
        };
    }

    fn sweep_list(&self, s: &mut State, p: usize, head: Head, sweep: Sweep, how: How) {
        let listing = listing(s, how);
        let Some(evidence) = self.believed(s, &head, &listing) else {
            return self.disbelieved(s, p, &head, sweep);
        };
        let mut todo = sweep::deletable(&evidence, at(s.time), Duration::ZERO);
        let withheld = sweep::withheld(&head, &sweep.filed);
        todo.retain(|key| !withheld.contains(key.as_str()));
        if self.fault == Some(Fault::CollectsWithoutFloor) {
            todo.extend(
                sweep::orphans(&head, &listing)
                    .into_iter()
                    .map(|(_, f)| f.key.clone()),
            );
        } else {
            todo.extend(sweep::collectable(&evidence));
        }
        if self.fault == Some(Fault::ForgetsUnseen) && !todo.is_empty() {
            // The deletes were sent and got no reply: taken for done.
            let edit = Edit {
                forget: head.retired.iter().map(|r| r.key.clone()).collect(),
                ..Edit::new(name(p as u64), name(Self::seed(s, p) + 5))
            };
            let seen = Observed {
                listing: Some(tags(&listing)),
                ..Observed::since(&head)
            };
            return self.begin_commit(s, p, head, Wish::new(edit), Seen(seen), Then::sweep(sweep));
        }
        if todo.is_empty() {
            return self.list_pages(s, p, head, sweep, listing);
        }
        s.procs[p].pc = Pc::Delete { head, todo, sweep };
    }

    /// A snapshot of head is not there: another run has merged it since, or head is older than the
    /// store.
    fn disbelieved(&self, s: &mut State, p: usize, head: &Head, sweep: Sweep) {
        if s.newest().0 != head.version {
            self.reached("head is read again, for a snapshot of it is gone");
            s.procs[p].pc = Pc::list(sweep);
            return;
        }
        self.reached("a head that is older than the store is refused");
        if self.head_is_old {
            return self.end(s, p);
        }
        s.broken = Some("an honest run is told that head is older than the store");
    }

    /// Head, if each of its snapshots is there: in the listing, or when it is asked for.
    fn believed(&self, s: &State, head: &Head, listing: &[Listed]) -> Option<Evidence> {
        let found = inventory(Some(head), listing);
        if self.fault == Some(Fault::BelievesHead) {
            let named = head.snapshots.iter().map(|s| s.key.clone()).collect();
            return Evidence::new(found, &named).ok();
        }
        // Brought back after all that is listed was written.
        if self.head_is_old && !evidence::overtaken(&found, at(100)).is_empty() {
            return None;
        }
        Evidence::new(found, &s.world.hot.keys().cloned().collect()).ok()
    }

    /// The retired files that are gone for certain: deleted here, or asked for.
    fn gone(&self, s: &State, head: &Head, listing: &[Listed], sweep: &Sweep) -> BTreeSet<Key> {
        let retired_states = sweep::retired_states(head, listing).into_iter();
        let is_gone = |r: &Retired, state| match self.fault {
            Some(Fault::BelievesListings) => state == RetiredState::Unlisted,
            Some(Fault::TakesTagsForFiles) => {
                matches!(state, RetiredState::Unlisted | RetiredState::Unsettled(_))
            }
            _ => state == RetiredState::Unlisted && !s.world.hot.contains_key(&r.key),
        };
        retired_states
            .filter(|(r, state)| is_gone(r, *state))
            .map(|(r, _)| r.key.clone())
            .chain(sweep.deleted.iter().cloned())
            .collect()
    }

    /// What lies under the names of retired files.
    fn reread(&self, s: &State, head: &Head, listing: &[Listed]) -> Vec<Reread> {
        if self.fault == Some(Fault::TakesTagsForFiles) {
            return Vec::new();
        }
        let policy = Policy {
            rewritten: self.rewritten,
            ..POLICY.clone()
        };
        let found = sweep::to_read(head, listing, &policy, at(s.time))
            .into_iter()
            .filter_map(|(r, _)| Some((r.key.clone(), s.world.hot.get(&r.key)?)));
        found
            .map(|(key, o)| Reread {
                key,
                size: o.size,
                etag: o.etag.clone(),
                rows: Some(o.size),
                fingerprint: Some(print_of(&o.rows)),
                append: self.rewritten == Rewritten::Append,
            })
            .collect()
    }

    fn delete(&self, s: &mut State, p: usize, head: Head, mut todo: Vec<Key>, mut sweep: Sweep) {
        let key = todo.remove(0);
        sweep.deleted.insert(key.clone());
        if matches!(classify(&tenant(), &key), FileKind::Snapshot(_))
            && !head.retired_keys().contains(key.as_str())
        {
            self.reached("an orphan is collected");
        }
        delete(s, &key);
        s.procs[p].pc = if todo.is_empty() {
            Pc::ListAgain { head, sweep }
        } else {
            Pc::Delete { head, todo, sweep }
        };
    }

    /// The pages that head does not name: those that are dead go.
    fn list_pages(&self, s: &mut State, p: usize, head: Head, sweep: Sweep, listing: Vec<Listed>) {
        let is_dead =
            |id: &FileId| *id < head.floor || self.fault == Some(Fault::CollectsPagesWithoutFloor);
        let todo = unnamed_pages(s, &head).filter(is_dead).collect();
        self.delete_pages(s, p, head, sweep, listing, todo);
    }

    /// Goes on with the pages that are still to be deleted.
    fn delete_pages(
        &self,
        s: &mut State,
        p: usize,
        head: Head,
        sweep: Sweep,
        listing: Vec<Listed>,
        todo: Vec<FileId>,
    ) {
        if todo.is_empty() {
            return self.forget(s, p, head, sweep, listing);
        }
        s.procs[p].pc = Pc::DeletePages {
            head,
            sweep,
            listing,
            todo,
        };
    }

    fn forget(&self, s: &mut State, p: usize, head: Head, sweep: Sweep, listing: Vec<Listed>) {
        // It was believed before anything was deleted, and still is.
        let named = head.snapshots.iter().map(|s| s.key.clone()).collect();
        let Ok(evidence) = Evidence::new(inventory(Some(&head), &listing), &named) else {
            return self.end(s, p);
        };
        let mut gone = self.gone(s, &head, &listing, &sweep);
        let unnamed: Vec<FileId> = sweep::orphans(&head, &listing)
            .into_iter()
            .map(|(id, _)| id)
            .chain(unnamed_pages(s, &head).filter(|id| *id >= head.floor))
            .collect();
        let mut edit = Edit::new(
            name(p as u64),
            name(Self::seed(s, p) + 6 + u64::from(sweep.round)),
        );
        edit.reread = self.reread(s, &head, &listing);
        edit.forget = sweep::forgettable(&head, &listing, &gone);
        if self.fault == Some(Fault::ForgetsHeld) {
            let held = sweep::retired_states(&head, &listing)
                .into_iter()
                .filter(|(r, state)| {
                    *state == RetiredState::Held && !s.world.hot.contains_key(&r.key)
                });
            edit.forget.extend(held.map(|(r, _)| r.key.clone()));
            gone.extend(edit.forget.iter().cloned());
        }
        edit.floor = sweep::next_floor(&evidence, &unnamed, at(s.procs[p].began), GRACE);
        edit.release = sweep::releasable(&head, at(s.time));
        edit.settle = head
            .archives
            .iter()
            .map(|a| a.key.clone())
            .filter(|k| sweep.filed.contains(k))
            .collect();
        if self.fault == Some(Fault::ReleasesUndone) {
            edit.release = head
                .holds
                .iter()
                .filter(|h| !h.files.is_empty())
                .map(|h| h.id)
                .collect();
        }
        if self.fault == Some(Fault::SettlesUnfiled) {
            edit.settle = head.archives.iter().map(|a| a.key.clone()).collect();
        }
        if edit.is_empty() {
            s.procs[p].pc = Pc::ListForPruning {
                version: head.version,
            };
            return;
        }
        let seen = Observed {
            listing: Some(tags(&listing)),
            gone,
            receipts: sweep.filed.clone(),
            ..Observed::since(&head)
        };
        let sweep = Sweep {
            deleted: BTreeSet::new(),
            ..sweep
        };
        self.begin_commit(s, p, head, Wish::new(edit), Seen(seen), Then::sweep(sweep));
    }

    fn prune(&self, s: &mut State, p: usize, mut todo: Vec<u64>) {
        let version = todo.remove(0);
        self.reached("a manifest is pruned");
        s.change(|w| {
            if w.manifests.remove(&version).is_some() {
                w.deletions.insert(Deletion {
                    key: manifest_key(&tenant(), version),
                    etag: None,
                });
            }
        });
        if todo.is_empty() {
            self.end(s, p)
        } else {
            s.procs[p].pc = Pc::Prune { todo }
        }
    }

    fn delete_remembered(
        &self,
        s: &mut State,
        p: usize,
        mut todo: Vec<Key>,
        then: Option<Box<Commit>>,
    ) {
        delete(s, &todo.remove(0));
        if !todo.is_empty() {
            s.procs[p].pc = Pc::DeleteRemembered { todo, then };
            return;
        }
        match then {
            Some(c) => s.procs[p].pc = Pc::Commit(c),
            None => self.end(s, p),
        }
    }
}

/// As a listing shows them, of a head that has pages.
fn unnamed_pages(s: &State, head: &Head) -> impl Iterator<Item = FileId> {
    let named: BTreeSet<FileId> = head.pages.all().iter().map(|p| p.id).collect();
    let all = s.pages.clone().into_iter();
    all.filter(move |id| !named.is_empty() && !named.contains(id))
}

/// The tenant's files, as a listing shows them: a late one misses an entry that is there.
pub fn listing(s: &mut State, how: How) -> Vec<Listed> {
    let mut listing = s.world.listing();
    if let How::Misses(i) = how {
        s.late -= 1;
        listing.remove(usize::from(i));
    }
    listing
}

static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy {
    ttl: (at(0) - cutoff()).to_std().ok(),
    ..CompactionConfig::default().policy_for("t")
});

fn inventory(head: Option<&Head>, listing: &[Listed]) -> Inventory {
    Inventory {
        head: head.map(|m| m.0.as_ref().clone()),
        listing: listing.to_vec(),
    }
}

fn print_of(rows: &[Row]) -> Fingerprint {
    Fingerprint(
        rows.iter()
            .map(|row| u128::from(*row) * u128::from(*row))
            .sum(),
    )
}

fn tags(listing: &[Listed]) -> BTreeMap<Key, Option<String>> {
    listing
        .iter()
        .map(|f| (f.key.clone(), f.etag.clone()))
        .collect()
}

/// Under the tag that the edit knows: an output's id.
pub fn put_rows(s: &mut State, (key, rows, to): (Key, Vec<Row>, Where), edit: &Edit) {
    let tag = edit
        .add
        .iter()
        .map(|a| (&a.key, a.id))
        .chain(edit.archives.iter().map(|a| (&a.key, a.id)))
        .find(|(k, _)| **k == key);
    let tag = tag.map_or_else(String::new, |(_, id)| id.to_string());
    s.change(|w| {
        let object = object(tag, &rows);
        match to {
            Where::Hot => drop(w.hot.insert(key, object)),
            Where::Cold => drop(w.cold.get_or_insert_default().insert(key, object)),
        }
    });
}

fn file_receipt(s: &mut State, p: usize, head: Head, mut todo: Vec<Key>, mut sweep: Sweep) {
    let key = todo.remove(0);
    if let Some(r) = head.archives.iter().find(|a| a.key == key) {
        s.change(|w| drop(w.receipts.insert(r.receipt_key(), r.clone())));
    }
    sweep.filed.insert(key);
    s.procs[p].pc = if todo.is_empty() {
        Pc::list(sweep)
    } else {
        Pc::FileReceipts { head, todo, sweep }
    };
}

fn delete(s: &mut State, key: &Key) {
    s.change(|w| {
        if let Some(o) = w.hot.remove(key) {
            // What was copied onto itself is what it was.
            let etag = o.etag.filter(|tag| !tag.starts_with(TOUCHED));
            w.deletions.insert(Deletion {
                key: key.clone(),
                etag,
            });
        }
    });
}
