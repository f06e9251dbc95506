//! The model: who runs, what may go wrong, what must hold.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use icepack_core::model::manifest::Receipt;
use icepack_core::model::names::{FileKind, Key, classify};
use icepack_core::model::policy::Rewritten;
use icepack_core::plan::commit::Check;
use icepack_dst::invariants::Ingested;
use stateright::{Model as StateMachine, Property};

use crate::model::committer::put;
use crate::model::restore::Request;
use crate::model::state::*;

/// What a process does in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Compact(Takes),
    Sweep,
    Read,
    Restore(Request),
}

/// Which files a compaction takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    Raw,
    All,
    Only(&'static str),
    /// All raw files, a group and a commit for each.
    Each,
    /// Snapshots past the cutoff, unread.
    Expired,
}

/// A step left out or done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Applies to a new head what was seen after an older one.
    RebasesBlindly,
    /// The same, and lies about it.
    ClaimsOldSightings,
    LosesARow,
    /// Names an output twice, with half of its rows each time.
    NamesTwice,
    CrossesTenants,
    /// Takes a delete that got no reply for done.
    ForgetsUnseen,
    SettlesUnfiled,
    SkipsSupersededCheck,
    DeletesFromMemory,
    CollectsWithoutFloor,
    TakesUnknownForFailure,
    CommitsBeforeArchive,
    /// Takes the manifest that it reads for the one that it listed.
    TrustsVersionNumbers,
    /// Takes outputs without a head, seen between the two reads, for a lost manifest.
    LooksOnce,
    /// A reader that does not look whether head is still head.
    ReadsOnce,
    /// Releases holds of restores that are not done.
    ReleasesUndone,
    /// Takes a retired file for gone that a listing does not show.
    BelievesListings,
    /// And one that shows another tag.
    TakesTagsForFiles,
    /// Forgets a file that a hold names once it is gone.
    ForgetsHeld,
    /// Looks for a restore among those alone that are still held.
    ForgetsWhatWasBrought,
    /// Says of an archive object that its rows are in the archive already, where some came from
    /// there.
    ClaimsRestored,
    /// Collects by a head that names what is not there.
    BelievesHead,
    /// Does not remember the names of files that are gone.
    ForgetsNames,
    /// Puts a manifest before its pages.
    NamesPagesFirst,
    /// Deletes pages that its head does not name, above the floor too.
    CollectsPagesWithoutFloor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Well,
    LoseReply,
    Fail,
    /// A listing without the entry of that number.
    Misses(u8),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Step(usize, How),
    /// The ingester writes its next file.
    Arrive,
    Tick,
    /// A file is copied onto itself: the same bytes under another tag.
    Touch(Key),
    /// A put that nobody heard of again takes effect.
    Land(usize),
}

pub struct Model {
    pub start: State,
    pub scripts: Vec<Vec<Phase>>,
    pub arrivals: Vec<(&'static str, Vec<Row>)>,
    pub max_time: u8,
    /// What the archive of another tenant holds, for restores.
    pub source: Vec<(Receipt, Vec<Row>)>,
    /// Head is older than the store: nothing may follow from it.
    pub head_is_old: bool,
    /// Whether names of files that are gone are remembered. Else more than a month passes with each
    /// commit: then the other checks must do.
    pub remembers: bool,
    /// What becomes of other rows under a used name.
    pub rewritten: Rewritten,
    /// Manifests kept by the pruner.
    pub keep: u64,
    /// Whether what manifests say of files is in a page.
    pub paged: bool,
    pub off: Option<Check>,
    pub fault: Option<Fault>,
    pub reached: Mutex<BTreeMap<&'static str, u64>>,
    pub found: AtomicBool,
    pub verdicts: Vec<Mutex<HashMap<u64, u8>>>,
}

impl Model {
    pub fn new(world: W, scripts: Vec<Vec<Phase>>) -> Self {
        let mut start = State::new(world, scripts.len());
        for (proc, script) in start.procs.iter_mut().zip(&scripts) {
            if matches!(script.first(), Some(Phase::Restore(_))) {
                proc.pc = Pc::HeadOfRestore {
                    newest: None,
                    thawed: false,
                };
            }
        }
        let verdicts = (0..16).map(|_| Mutex::default()).collect();
        Self {
            start,
            scripts,
            arrivals: Vec::new(),
            max_time: 0,
            source: Vec::new(),
            head_is_old: false,
            remembers: true,
            rewritten: Rewritten::SetAside,
            keep: 16,
            paged: false,
            off: None,
            fault: None,
            reached: Mutex::default(),
            found: AtomicBool::new(false),
            verdicts,
        }
    }

    /// Counts that something interesting happened: a model that never gets there proves nothing
    /// about it.
    pub fn reached(&self, what: &'static str) {
        *self.reached.lock().unwrap().entry(what).or_default() += 1;
    }

    /// The ingester writes a name again only once the old file is gone, and head does not expect it
    /// to be there.
    fn may_arrive(&self, s: &State) -> bool {
        let Some((key, _)) = self.arrivals.get(s.arrived) else {
            return false;
        };
        !s.world.hot.contains_key(*key)
            && s.world
                .head()
                .is_none_or(|m| !m.retired_keys().contains(key))
    }

    fn arrive(&self, s: &mut State) {
        let (key, rows) = &self.arrivals[s.arrived];
        s.arrived += 1;
        let tag = format!("arrival {}", s.arrived);
        let first = self.start.world.hot.get(*key);
        if let Some(first) = first.filter(|first| first.rows == *rows) {
            // The same bytes once more, under the same tag, as stores give it: no row came by it.
            self.reached("a file is uploaded again");
            s.change(|w| drop(w.hot.insert((*key).to_owned(), first.clone())));
            return;
        }
        s.change(|w| ingest(w, key, tag, rows));
    }

    fn next(&self, last: &State, action: &Action) -> State {
        let mut s = last.clone();
        match action {
            Action::Step(p, how) => self.step(&mut s, *p, *how),
            Action::Arrive => self.arrive(&mut s),
            Action::Tick => s.time += 1,
            Action::Touch(key) => {
                s.touches -= 1;
                let tag = format!("{TOUCHED}, {} left", s.touches);
                s.change(|w| drop(w.hot.entry(key.clone()).and_modify(|o| o.etag = Some(tag))));
            }
            Action::Land(i) => {
                let next = s.in_flight.remove(*i);
                put(self, &mut s, &next);
            }
        }
        if self.paged && s.world.head().is_some_and(|head| !s.has_pages_of(head)) {
            s.broken = Some("I2: head names a page that is not there");
        }
        s
    }

    /// One bit for each invariant that holds. Many states share a world.
    fn verdict(&self, s: &State) -> u8 {
        // Of restored rows more is asked while they are held.
        let key = if self.source.is_empty() {
            s.world_hash
        } else {
            s.hash_of_restored()
        };
        let shard = &self.verdicts[(key % 16) as usize];
        if let Some(v) = shard.lock().unwrap().get(&key) {
            return *v;
        }
        let mut v = self.invariants(s);
        // Passes after a fault need not mend what a fault broke.
        if v != 0b1_1111
            || self.off.is_some()
            || self.fault.is_some()
            || self.head_is_old
            || self.converges(s)
        {
            v |= 0b10_0000;
        }
        shard.lock().unwrap().insert(key, v);
        v
    }

    /// I1 to I5, a bit each.
    fn invariants(&self, s: &State) -> u8 {
        if self.head_is_old {
            return if s.world.deletions.is_empty() {
                0b1_1111
            } else {
                0b1_1110
            };
        }
        let (restored, with);
        let (w, once) = if self.source.is_empty() {
            (s.world.as_ref(), true)
        } else {
            (restored, with) = (
                self.restored_once(s)
                    && self.can_be_finished(s)
                    && self.undone_is_left_alone(s)
                    && self.all_can_be_restored(s),
                self.with_restored(s),
            );
            (&with, restored)
        };
        let held = [
            w.i1_every_row_once(),
            w.i2_head_names_what_exists(),
            w.i3_only_the_dead_are_deleted(),
            w.i4_no_commit_is_lost(),
            w.i5_no_path_crosses(),
        ];
        held.iter().enumerate().fold(0, |v, (i, h)| {
            v | u8::from(h.is_ok() && (i > 0 || once)) << i
        })
    }

    fn holds(&self, s: &State, bit: u8) -> bool {
        self.verdict(s) & bit != 0 || self.known()
    }

    /// Whether something broke before. The checker keeps the last trace that it meets; the first is
    /// the shortest.
    fn known(&self) -> bool {
        self.found.swap(true, Ordering::SeqCst)
    }

    /// Everybody crashes, everything in flight is lost, a day passes, and a pass runs alone: then
    /// another finds nothing to do.
    fn converges(&self, s: &State) -> bool {
        let script = vec![Phase::Compact(Takes::Raw), Phase::Sweep];
        let clean = Self {
            keep: self.keep,
            remembers: self.remembers,
            rewritten: self.rewritten,
            source: self.source.clone(),
            ..Self::new(s.world.as_ref().clone(), vec![script])
        };
        let pass = |world: &W| {
            let mut now = State {
                time: 50,
                brought: s.brought.clone(),
                ..State::new(world.clone(), 1)
            };
            while !matches!(now.procs[0].pc, Pc::Done) {
                clean.step(&mut now, 0, How::Well);
            }
            now
        };
        let mut first = pass(&s.world);
        if self.rewritten == Rewritten::Append {
            // What one pass takes in, the next merges.
            first = pass(&first.world);
        }
        let second = pass(&first.world);
        clean.invariants(&second) == 0b1_1111 && second.world.i6_at_rest(&first.world).is_ok()
    }
}

/// Puts a raw file and tells the oracle.
pub fn ingest(w: &mut W, key: &str, tag: String, rows: &[Row]) {
    w.hot.insert(key.to_owned(), object(tag, rows));
    for row in rows {
        let known = w.oracle.entry(*row).or_insert(Ingested {
            times: 0,
            past_cutoff: *row >= OLD,
        });
        known.times += 1;
    }
}

impl StateMachine for Model {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.start.clone()]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        if s.broken.is_some() {
            return;
        }
        for (p, proc) in s.procs.iter().enumerate() {
            if matches!(proc.pc, Pc::Done) {
                continue;
            }
            actions.push(Action::Step(p, How::Well));
            let at = match &proc.pc {
                Pc::Commit(c) => &c.at,
                Pc::Begin { at, .. } => at,
                Pc::List { .. } | Pc::SweepList { .. } | Pc::ListAgain { .. } => &At::ListFiles,
                _ => continue,
            };
            match at {
                At::ListFiles if s.late > 0 => {
                    actions.extend(
                        (0..s.world.hot.len()).filter_map(|i| {
                            Some(Action::Step(p, How::Misses(u8::try_from(i).ok()?)))
                        }),
                    );
                }
                At::Put if s.timeouts > 0 => actions.push(Action::Step(p, How::LoseReply)),
                At::ReadBack if s.failures > 0 => actions.push(Action::Step(p, How::Fail)),
                _ => {}
            }
        }
        if self.may_arrive(s) {
            actions.push(Action::Arrive);
        }
        if s.touches > 0 {
            let raw = s
                .world
                .hot
                .keys()
                .filter(|key| classify(&tenant(), key) == FileKind::Raw);
            actions.extend(raw.cloned().map(Action::Touch));
        }
        if s.time < self.max_time {
            actions.push(Action::Tick);
        }
        actions.extend((0..s.in_flight.len()).map(Action::Land));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        Some(self.next(last, &action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("I1 every row once", |m: &Self, s: &State| m.holds(s, 1)),
            Property::always("I2 head names what exists", |m: &Self, s: &State| {
                m.holds(s, 2)
            }),
            Property::always("I3 only the dead are deleted", |m: &Self, s: &State| {
                m.holds(s, 4)
            }),
            Property::always("I4 no commit is lost", |m: &Self, s: &State| m.holds(s, 8)),
            Property::always("I5 no path crosses", |m: &Self, s: &State| m.holds(s, 16)),
            Property::always("I6 passes converge", |m: &Self, s: &State| m.holds(s, 32)),
            Property::always("processes are told the truth", |m: &Self, s: &State| {
                s.broken.is_none() || m.known()
            }),
        ]
    }
}
