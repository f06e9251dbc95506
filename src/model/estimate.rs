//! What a pass is expected to do, before it does it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::file::Extent;
use super::names::Key;

/// The rows of raw files by their times, as the footers tell: for each file that could be read, its row groups. Nothing is decided by it that could not be
/// wrong: a footer may lie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// By key.
    pub files: BTreeMap<Key, Vec<Extent>>,
}

impl Survey {
    /// Rows of all files.
    pub fn rows(&self) -> u64 {
        self.files.values().flatten().fold(0, |sum, e| sum.saturating_add(e.amount))
    }
}

/// The rows that a pass is expected to expire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expiry {
    /// Seconds that rows are kept.
    pub ttl_s: u64,
    /// The tenant's rows: those of its snapshots, and of the raw files that the pass takes.
    pub rows: u64,
    /// Those of them that would expire. Exact where whole files do; within a file rows count as spread evenly over its time.
    pub rows_expiring: u64,
    /// About their bytes, as they are stored now.
    pub bytes_expiring: u64,
    /// Their share of the rows.
    pub percent: f64,
    /// More than this is refused; 100 is off.
    pub max_percent: u8,
    /// Raw files that the pass takes and whose rows or times are not known: their footers could not be read, or have no statistics.
    pub files_unknown: u64,
    /// Bytes of each archive object that would be written; empty without an archive.
    pub object_bytes: Vec<u64>,
}

impl Expiry {
    /// Whether a run would refuse it.
    pub fn is_too_much(&self) -> bool {
        exceeds(self.rows_expiring, self.rows, self.max_percent)
    }
}

/// Whether `part` is more than `percent` of `whole`.
pub fn exceeds(part: u64, whole: u64, percent: u8) -> bool {
    percent < 100 && u128::from(part) * 100 > u128::from(whole) * u128::from(percent)
}
