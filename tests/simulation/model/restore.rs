//! `restore::Part`, one request a step: **look → thaw → look → hold → copy → done**. The archive
//! that it reads is another tenant's and never changes, so that reading it is no step.

use std::collections::{BTreeMap, BTreeSet};

use icepack_core::model::hold::{Hold, Restored};
use icepack_core::model::manifest::{Edit, Observed, Receipt};
use icepack_core::model::names::{FileId, Key, Tenant};
use icepack_core::model::plan::Inventory;
use icepack_core::plan::live;
use icepack_core::plan::restore::{self as plan, RestoreProgress};
use icepack_dst::invariants::{Ingested, Object};

use crate::model::checker::{Fault, Model, Phase};
use crate::model::state::*;

/// What a restore asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The oldest row; none from the beginning.
    pub from: Option<Row>,
    /// How many ticks the rows are held.
    pub days: u8,
}

/// Whose rows they were.
pub fn source() -> Tenant {
    Tenant::parse("s").unwrap()
}

impl Request {
    fn restored(self) -> Restored {
        Restored {
            archive: "cold".into(),
            tenant: source(),
            from: self.from.map(time_of),
            to: None,
        }
    }

    fn takes(self, row: Row) -> bool {
        self.from.is_none_or(|from| time_of(row) >= time_of(from))
    }
}

impl Model {
    fn request(&self, s: &State, p: usize) -> Request {
        match self.phase(s, p) {
            Phase::Restore(request) => request,
            other => panic!("{other:?} is no restore"),
        }
    }

    fn receipts(&self, request: Request) -> Vec<Receipt> {
        plan::select(
            self.source.iter().map(|(r, _)| r.clone()).collect(),
            request.restored().from,
            None,
        )
    }

    pub fn head_of_restore(&self, s: &mut State, p: usize, newest: Option<Newest>, thawed: bool) {
        let Some(newest) = newest else {
            s.procs[p].pc = Pc::HeadOfRestore {
                newest: Some(s.newest()),
                thawed,
            };
            return;
        };
        let Some(head) = self.read(s, newest) else {
            s.procs[p].pc = Pc::HeadOfRestore {
                newest: None,
                thawed,
            };
            return;
        };
        let request = self.request(s, p);
        let mut seen = head.0.as_ref().clone();
        if self.fault == Some(Fault::ForgetsWhatWasBrought) {
            seen.holds.retain(|h| !h.files.is_empty());
        }
        match plan::progress(
            &seen,
            &request.restored(),
            self.receipts(request),
            false,
            at(s.time),
        ) {
            RestoreProgress::New(..) | RestoreProgress::Begun(_) if !thawed => {
                s.procs[p].pc = Pc::HeadOfRestore {
                    newest: None,
                    thawed: true,
                }
            }
            RestoreProgress::New(todo, _) => self.begin_hold(s, p, head, &todo),
            RestoreProgress::Begun(hold) => {
                self.reached("a restore goes on where another broke off");
                self.begin_copies(s, p, head, hold);
            }
            RestoreProgress::Done(_) | RestoreProgress::Over(_) => {
                self.reached("a restore was done before");
                self.end(s, p);
            }
            RestoreProgress::Overlaps(_) => {
                self.reached("a restore overlaps another");
                self.end(s, p);
            }
        }
    }

    fn begin_hold(&self, s: &mut State, p: usize, head: Head, todo: &[Receipt]) {
        let (request, id) = (
            self.request(s, p),
            mint(s.time, Self::seed(s, p), FileId::NIL),
        );
        let from = request.restored().from;
        let files = plan::files(&tenant(), id, todo, &[])
            .into_iter()
            .map(|w| w.file)
            .collect();
        let (oldest, objects) = (
            plan::oldest(todo, from),
            todo.iter().map(|r| r.id).collect(),
        );
        let hold = Hold {
            id,
            restored: request.restored(),
            oldest,
            until: at(s.time + request.days),
            objects,
            files,
            done: false,
        };
        self.commit_hold(s, p, head, hold);
    }

    fn commit_hold(&self, s: &mut State, p: usize, head: Head, hold: Hold) {
        let mut edit = Edit::new(
            name(p as u64),
            name(Self::seed(s, p) + u64::from(hold.done)),
        );
        edit.hold = Some(hold.clone());
        let seen = Seen(Observed::since(&head));
        self.begin_commit(
            s,
            p,
            head,
            Wish::new(edit),
            seen,
            Then {
                restoring: Some(Held(hold)),
                ..Then::default()
            },
        );
    }

    /// A hold was committed.
    pub fn held(&self, s: &mut State, p: usize, head: Head, Held(hold): Held) {
        if hold.done {
            self.reached("a restore is done");
            return self.end(s, p);
        }
        self.begin_copies(s, p, head, hold);
    }

    fn begin_copies(&self, s: &mut State, p: usize, head: Head, hold: Hold) {
        let request = self.request(s, p);
        let chosen: Vec<Receipt> = self
            .receipts(request)
            .into_iter()
            .filter(|r| hold.objects.contains(&r.id))
            .collect();
        let todo: Vec<Key> = plan::files(&tenant(), hold.id, &chosen, &hold.files)
            .into_iter()
            .map(|w| w.file)
            .collect();
        // What released holds forget is only what their files were.
        let todo: Vec<Key> = todo
            .into_iter()
            .filter(|file| hold.files.contains(file))
            .collect();
        if todo.is_empty() {
            return self.finish(s, p, head, hold);
        }
        s.procs[p].pc = Pc::Copy {
            head,
            hold: Held(hold),
            todo,
            absent: false,
        };
    }

    pub fn copy(
        &self,
        s: &mut State,
        p: usize,
        head: Head,
        hold: Held,
        mut todo: Vec<Key>,
        absent: bool,
    ) {
        if !absent && !s.world.hot.contains_key(&todo[0]) {
            s.procs[p].pc = Pc::Copy {
                head,
                hold,
                todo,
                absent: true,
            };
            return;
        }
        let file = todo.remove(0);
        if absent {
            let rows: Vec<Row> = self
                .rows_of(&file)
                .filter(|row| self.request(s, p).takes(*row))
                .collect();
            // A directory dates what it holds: the same bytes from another process have another
            // tag.
            let tag = format!("{TOUCHED} by {p} in {}", s.procs[p].phase);
            s.change(|w| drop(w.hot.insert(file, object(tag, &rows))));
        } else {
            self.reached("a restore finds a file written");
        }
        if todo.is_empty() {
            return self.finish(s, p, head, hold.0);
        }
        s.procs[p].pc = Pc::Copy {
            head,
            hold,
            todo,
            absent: false,
        };
    }

    fn finish(&self, s: &mut State, p: usize, head: Head, hold: Hold) {
        let days = self.request(s, p).days;
        self.commit_hold(
            s,
            p,
            head,
            Hold {
                done: true,
                until: at(s.time + days),
                ..hold
            },
        );
    }

    /// The rows of the archive object that a restored file is named after.
    fn rows_of(&self, file: &str) -> impl Iterator<Item = Row> {
        self.source
            .iter()
            .filter(move |(r, _)| file.contains(&r.id.to_string()))
            .flat_map(|(_, rows)| rows.iter().copied())
    }

    /// A manifest is about to be put that says of a restore that it is done.
    pub fn note_restored(&self, s: &mut State, next: &Head) {
        let was_done = |id: FileId| {
            s.world
                .head()
                .is_some_and(|m| m.holds.iter().any(|h| h.id == id && h.done))
        };
        let new: Vec<&Hold> = next
            .holds
            .iter()
            .filter(|h| h.done && !was_done(h.id))
            .collect();
        for hold in new {
            let takes = |row: &Row| hold.restored.from.is_none_or(|from| time_of(*row) >= from);
            let rows: Vec<Row> = self
                .source
                .iter()
                .filter(|(r, _)| hold.objects.contains(&r.id))
                .flat_map(|(_, rows)| rows)
                .copied()
                .collect();
            s.brought
                .extend(rows.into_iter().filter(takes).map(|row| (row, hold.until)));
        }
    }

    /// I1 for rows that come from the other tenant's archive: never twice; once a restore is done
    /// with them, there, and live as long as they are held.
    pub fn restored_once(&self, s: &State) -> bool {
        let w = &s.world;
        let inventory = Inventory {
            head: w.head().map(|m| m.as_ref().clone()),
            listing: w.listing(),
        };
        let count = |row: Row, objects: &mut dyn Iterator<Item = &Object<Row>>| {
            objects.flat_map(|o| &o.rows).filter(|r| **r == row).count()
        };
        let view = live::view(&tenant(), &inventory).files;
        let archived = |key: &Key| {
            w.head()
                .is_some_and(|m| m.archives.iter().any(|a| a.key == *key))
                || w.receipts.values().any(|r| r.key == *key)
        };
        self.source.iter().flat_map(|(_, rows)| rows).all(|row| {
            let live = count(*row, &mut view.iter().filter_map(|f| w.hot.get(&f.key)));
            let cold = count(
                *row,
                &mut w
                    .cold
                    .iter()
                    .flatten()
                    .filter(|(key, _)| archived(key))
                    .map(|(_, o)| o),
            );
            match s.brought.get(row) {
                Some(until) if at(s.time) < *until => (live, cold) == (1, 0),
                Some(_) if w.cold.is_some() => live + cold == 1,
                _ => live + cold <= 1,
            }
        })
    }

    /// What a restore of everything would read has every archived row: an object is left out only
    /// where others hold its rows.
    pub fn all_can_be_restored(&self, s: &State) -> bool {
        let w = &s.world;
        let own = w
            .head()
            .into_iter()
            .flat_map(|m| &m.archives)
            .chain(w.receipts.values());
        let own: BTreeMap<FileId, Receipt> = own.map(|r| (r.id, r.clone())).collect();
        let all: Vec<Receipt> = own
            .into_values()
            .chain(self.source.iter().map(|(r, _)| r.clone()))
            .collect();
        let rows = |r: &Receipt| -> Vec<Row> {
            let source = self
                .source
                .iter()
                .filter(|(of, _)| of.id == r.id)
                .flat_map(|(_, rows)| rows.clone());
            source
                .chain(
                    w.cold
                        .iter()
                        .flat_map(|cold| cold.get(&r.key))
                        .flat_map(|o| o.rows.clone()),
                )
                .collect()
        };
        let kept: BTreeSet<Row> = plan::distinct(all.clone()).iter().flat_map(rows).collect();
        all.iter().flat_map(rows).all(|row| kept.contains(&row))
    }

    /// Until a restore is done, nobody takes its files: it would write them again, for nothing.
    pub fn undone_is_left_alone(&self, s: &State) -> bool {
        let Some(head) = s.world.head() else {
            return true;
        };
        let retired = head.retired_keys();
        head.holds
            .iter()
            .filter(|h| !h.done)
            .flat_map(|h| &h.files)
            .all(|key| !retired.contains(key.as_str()))
    }

    /// The world as the other invariants are to judge it: they know nothing of rows that come from
    /// elsewhere.
    pub fn with_restored(&self, s: &State) -> W {
        let mut w = s.world.as_ref().clone();
        let here: Vec<Row> = w
            .hot
            .values()
            .chain(w.cold.iter().flat_map(|c| c.values()))
            .flat_map(|o| o.rows.clone())
            .collect();
        let (inventory, source) = (
            Inventory {
                head: w.head().map(|m| m.as_ref().clone()),
                listing: w.listing(),
            },
            &self.source,
        );
        let live: Vec<Key> = live::view(&tenant(), &inventory)
            .files
            .into_iter()
            .map(|f| f.key)
            .collect();
        let cold: Vec<&Object<Row>> = w.cold.iter().flat_map(|c| c.values()).collect();
        let seen = |row: Row| {
            live.iter()
                .filter_map(|k| w.hot.get(k))
                .chain(cold.iter().copied())
                .any(|o| o.rows.contains(&row))
        };
        let there: Vec<Row> = source
            .iter()
            .flat_map(|(_, rows)| rows)
            .copied()
            .filter(|row| here.contains(row) && seen(*row))
            .collect();
        w.oracle.extend(there.into_iter().map(|row| {
            (
                row,
                Ingested {
                    times: u32::MAX,
                    past_cutoff: true,
                },
            )
        }));
        w
    }

    /// Where a restore broke off, the same command finishes it.
    pub fn can_be_finished(&self, s: &State) -> bool {
        let undone = s
            .world
            .head()
            .into_iter()
            .flat_map(|m| &m.holds)
            .filter(|h| !h.done);
        undone.cloned().collect::<Vec<_>>().into_iter().all(|hold| {
            let from = hold.restored.from.map(|from| {
                self.source
                    .iter()
                    .flat_map(|(_, rows)| rows)
                    .copied()
                    .find(|row| time_of(*row) == from)
            });
            let again = Self {
                source: self.source.clone(),
                ..Self::new(
                    s.world.as_ref().clone(),
                    vec![vec![Phase::Restore(Request {
                        from: from.flatten(),
                        days: 1,
                    })]],
                )
            };
            let mut now = State {
                time: s.time,
                brought: s.brought.clone(),
                ..again.start.clone()
            };
            while !matches!(now.procs[0].pc, Pc::Done) {
                again.step(&mut now, 0, crate::model::checker::How::Well);
            }
            let done = now
                .world
                .head()
                .is_some_and(|m| m.holds.iter().any(|h| h.id == hold.id && h.done));
            done && again.restored_once(&now)
        })
    }
}

/// An archive object of the other tenant.
pub fn archived(n: u64, rows: &[Row]) -> (Receipt, Vec<Row>) {
    (
        receipt_of(source(), FileId(ulid::Ulid::from_parts(n, 0)), rows),
        rows.to_vec(),
    )
}
