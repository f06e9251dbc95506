//! What of a tenant expires next, as far as its manifest can prove it.

use chrono::{DateTime, Utc};
use derive_more::{Add, AddAssign};
use serde::{Deserialize, Serialize};

/// Between these two, both in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Add, AddAssign)]
pub struct Bounds {
    pub least: u64,
    pub most: u64,
}

/// What expires until a time, with what has expired and is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiring {
    /// Days from now.
    pub days: u64,
    pub rows: Bounds,
    /// Bytes of the files that go as wholes, and with those that only some rows leave.
    pub bytes: Bounds,
}

/// What expires next of a tenant whose rows expire. Rows expire one by one: of a file whose times
/// lie on both sides of a cutoff, only bounds are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// When the oldest known row expires; in the past where it is overdue. None where no row is
    /// dated, or where a restore that is not done holds it.
    pub first: Option<DateTime<Utc>>,
    /// Seconds that expired rows may wait for others, as `retention.slack` says.
    pub slack_s: u64,
    /// The nearest first.
    pub until: Vec<Expiring>,
    /// Live files of which nobody knows when their rows are from. They are in no figure.
    pub unknown_files: u64,
    /// Size of these files, in bytes.
    pub unknown_bytes: u64,
}
