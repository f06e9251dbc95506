//! Holds: rows that a restore brought back, and that must not expire again at once.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::file::Micros;
use super::names::{self, FileId, Key, Tenant};

/// What was asked for. Whether two restores bring the same rows, the ids of the archive objects
/// tell: a place has many names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The archive, by its canonical name. For people.
    pub archive: String,
    /// Whose rows they were.
    pub tenant: Tenant,
    /// No row is older; none from the beginning.
    pub from: Option<Micros>,
    /// Every row is older; none to the end.
    pub to: Option<Micros>,
}

impl Restored {
    /// Whether a row of the same object could be brought back by both.
    pub fn meets(&self, other: &Self) -> bool {
        let begins_before = |from: Option<Micros>, to: Option<Micros>| {
            from.zip(to).is_none_or(|(from, to)| from < to)
        };
        self.tenant == other.tenant
            && begins_before(self.from, other.to)
            && begins_before(other.from, self.to)
    }

    /// Whether it covers every row from `min` to `max`, both in, that a restore from `from` and
    /// before `to` takes.
    pub fn covers(
        &self,
        (from, to): (Option<Micros>, Option<Micros>),
        (min, max): (Micros, Micros),
    ) -> bool {
        let from = from.map_or(min, |from| from.max(min));
        let is_first_in = self.from.is_none_or(|own| own <= from);
        let is_last_in = self
            .to
            .is_none_or(|own| own > max || to.is_some_and(|to| own >= to));
        is_first_in && is_last_in
    }
}

/// Keeps restored rows from expiring, and remembers that they were restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Minted for it; the names of its files hold it, so that no name is ever used twice.
    pub id: FileId,
    /// What was brought back.
    pub restored: Restored,
    /// Rows from here on do not expire while it lasts: the oldest row that was brought back.
    pub oldest: Micros,
    pub until: DateTime<Utc>,
    /// The archive objects whose rows it brings. Never forgotten. None where an older version
    /// wrote it: then the files tell, while they are remembered.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub objects: BTreeSet<FileId>,
    /// The raw files that hold the rows, written or still to be written. Forgotten once it is
    /// over; which rows were restored is not.
    pub files: Vec<Key>,
    /// Whether all of them were written. Until then no pass may take them: a file that is not
    /// there was then never written, and not compacted and deleted, so that a restore that
    /// broke off can go on.
    pub done: bool,
}

impl Hold {
    /// Whether it still holds at `now`. One whose restore broke off does until that is done:
    /// keeping too much does no harm.
    pub fn is_active(&self, now: DateTime<Utc>) -> bool {
        !self.done || now < self.until
    }

    /// The archive objects whose rows it brings. None where that is not known any more.
    pub fn brings(&self) -> Option<BTreeSet<FileId>> {
        if !self.objects.is_empty() {
            return Some(self.objects.clone());
        }
        let objects: BTreeSet<FileId> = self
            .files
            .iter()
            .filter_map(|key| names::parse_restored_key(key))
            .map(|(_, object, _)| object)
            .collect();
        (!objects.is_empty()).then_some(objects)
    }

    /// Whether a row could be brought back by both. Of one whose objects are not known, any could
    /// be the other's.
    pub fn overlaps(&self, other: &Self) -> bool {
        let share = match (self.brings(), other.brings()) {
            (Some(a), Some(b)) => !a.is_disjoint(&b),
            _ => true,
        };
        share && self.restored.meets(&other.restored)
    }

    /// Whether `key` is one of its files, by its name: also once they are forgotten.
    pub fn brought(&self, key: &str) -> bool {
        names::parse_restored_key(key).is_some_and(|(whose, _, hold)| {
            hold == self.id && whose == self.restored.tenant.as_str()
        })
    }
}
