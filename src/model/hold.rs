//! Rows that were brought back from an archive and must not expire again at once.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::file::Micros;
use super::names::{FileId, Key, Tenant};

/// What was brought back: the same request again is the same restore, not another copy of the rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The archive, as receipts call it.
    pub archive: String,
    /// Whose rows they were.
    pub tenant: Tenant,
    /// No row is older; none from the beginning.
    pub from: Option<Micros>,
    /// Every row is older; none to the end.
    pub to: Option<Micros>,
}

impl Restored {
    /// Whether a row could be brought back by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let begins_before = |from: Option<Micros>, to: Option<Micros>| from.zip(to).is_none_or(|(from, to)| from < to);
        self.archive == other.archive && self.tenant == other.tenant && begins_before(self.from, other.to) && begins_before(other.from, self.to)
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
    /// It ends here.
    pub until: DateTime<Utc>,
    /// The raw files that hold the rows, written or still to be written. Forgotten once it is over; that the rows were restored is not.
    pub files: Vec<Key>,
    /// Whether all of them were written. Until then no pass may take them: a file that is not there was then never written, and not compacted
    /// and deleted, so that a restore that broke off can go on.
    pub done: bool,
}

impl Hold {
    /// Whether it still holds at `now`. One whose restore broke off does until that is done: keeping too much does no harm.
    pub fn is_active(&self, now: DateTime<Utc>) -> bool {
        !self.done || now < self.until
    }
}
