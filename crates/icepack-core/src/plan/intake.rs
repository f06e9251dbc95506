//! Takes in a listing while it comes, and keeps what the next step needs of it: a tenant of ten
//! million files must not need memory for each.
//!
//! What head knows is always kept, and so are our outputs: a sweep, and whatever else concludes
//! something from a listing, asks for nothing else. Of new files a plan needs only as many as one
//! round of work takes. They are whole folders, since a plan of a folder needs all of it; which ones
//! changes each hour, so that no folder can keep others waiting for ever. Nothing depends on the
//! order of a listing.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::compaction;
use crate::model::file::Listed;
use crate::model::inputs::{Input, Kept, Left, Sorter};
use crate::model::manifest::Manifest;
use crate::model::names::folder;
use crate::model::policy::{Policy, Within};

/// What of a tenant's listing is kept.
#[derive(Debug, Clone, Copy)]
pub enum Keep<'a> {
    /// Every file that is not left alone.
    All,
    /// What head knows, and our outputs.
    Known,
    /// These, and the new files that a plan would look at, up to a number.
    Window(Window<'a>),
}

/// The new files that one plan looks at.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    /// What the plan is made by.
    pub policy: &'a Policy,
    /// The time that the plan is made for.
    pub now: DateTime<Utc>,
    /// New files at most. Half as many again are held while the listing comes.
    pub most: usize,
}

/// The new files of a listing that were not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beyond {
    pub files: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// How many of the files a plan would have looked at.
    pub waiting: u64,
}

/// What was kept of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    /// In the order of their keys.
    pub listing: Vec<Listed>,
    pub left: Left,
    pub beyond: Beyond,
}

/// A new file's turn: by a hash of its folder, and within the folder the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    folder: u64,
    /// Microseconds since 1970.
    modified: i64,
}

/// A listing that is being taken in.
#[derive(Debug)]
pub struct Intake<'a> {
    sorter: Sorter<'a>,
    keep: Keep<'a>,
    known: Vec<Listed>,
    new: Vec<(Turn, Listed)>,
    /// The last file that has a turn, once there are more than may be kept.
    last: Option<(Turn, String)>,
    beyond: Beyond,
}

impl<'a> Intake<'a> {
    /// Of a listing that `sorter` has not begun.
    pub fn new(sorter: Sorter<'a>, keep: Keep<'a>) -> Self {
        Self {
            sorter,
            keep,
            known: Vec::new(),
            new: Vec::new(),
            last: None,
            beyond: Beyond::default(),
        }
    }

    /// How many new files are kept at most, if there is a number.
    pub(super) fn most(&self) -> Option<usize> {
        match self.keep {
            Keep::Window(window) => Some(window.most),
            Keep::All | Keep::Known => None,
        }
    }

    /// What an entry is, whatever head says.
    pub(super) fn input(&mut self, f: &Listed) -> Input {
        self.sorter.input(&f.key, f.size)
    }

    /// Learns what was read of `head` since the last time: [`Sorter::learn`].
    pub(super) fn learn(&mut self, head: &Manifest) {
        self.sorter.learn(head);
    }

    /// Takes in an output that was found to be one already.
    pub(super) fn add_output(&mut self, f: Listed) {
        self.known.push(f);
    }

    /// Takes in an entry. Of `head`, what it says of the entry's folder must have been read.
    pub fn add(&mut self, f: Listed, head: Option<&Manifest>) {
        match (self.sorter.sort(&f, head), self.keep) {
            (None, _) => {}
            (Some(Kept::Known), _) | (Some(Kept::New), Keep::All) => self.known.push(f),
            (Some(Kept::New), Keep::Known) => self.leave(&f, false),
            (Some(Kept::New), Keep::Window(window)) => {
                if compaction::stays(&f, window.policy, window.now) {
                    self.leave(&f, false);
                } else {
                    self.enter(f, window);
                }
            }
        }
    }

    /// What was kept of the whole listing.
    pub fn finish(mut self) -> Taken {
        if let Keep::Window(window) = self.keep {
            self.cut(window.most);
        }
        let mut listing = self.known;
        listing.extend(self.new.into_iter().map(|(_, f)| f));
        // Stores order keys differently around `/`.
        listing.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Taken {
            listing,
            left: self.sorter.left(),
            beyond: self.beyond,
        }
    }

    fn enter(&mut self, f: Listed, window: Window<'_>) {
        let unit = match window.policy.within {
            Within::Folder => folder(&f.key),
            Within::Tenant => "",
        };
        // Shards that look within the same hour see the same folders.
        let hour = window.now.timestamp().div_euclid(3_600).unsigned_abs();
        let turn = Turn {
            folder: xxh3_64_with_seed(unit.as_bytes(), hour),
            modified: f.modified.timestamp_micros(),
        };
        if let Some((last, key)) = &self.last
            && order((turn, f.key.as_str()), (*last, key.as_str())) == Ordering::Greater
        {
            self.leave(&f, true);
            return;
        }
        self.new.push((turn, f));
        if self.new.len() >= window.most.saturating_add(window.most / 2).max(1) {
            self.cut(window.most);
        }
    }

    /// Gives up the files whose turn comes last, where there are more than `most`.
    fn cut(&mut self, most: usize) {
        if self.new.len() <= most {
            return;
        }
        let by_turn = |a: &(Turn, Listed), b: &(Turn, Listed)| {
            order((a.0, a.1.key.as_str()), (b.0, b.1.key.as_str()))
        };
        let (_, last, _) = self
            .new
            .select_nth_unstable_by(most.saturating_sub(1), by_turn);
        self.last = Some((last.0, last.1.key.clone()));
        for (_, f) in self.new.split_off(most) {
            self.leave(&f, true);
        }
    }

    fn leave(&mut self, f: &Listed, waits: bool) {
        self.beyond.files += 1;
        self.beyond.bytes += f.size;
        self.beyond.waiting += u64::from(waits);
    }
}

fn order(a: (Turn, &str), b: (Turn, &str)) -> Ordering {
    a.cmp(&b)
}

#[cfg(test)]
mod tests;
