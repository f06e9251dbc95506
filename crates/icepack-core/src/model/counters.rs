//! Counters that a group, a tenant, a pass and all passes have in common.

use derive_more::{Add, AddAssign};
use serde::{Deserialize, Serialize};

use super::manifest::Ledger;
use super::report::Requests;
use super::totals::SizeHistogram;

/// Everything that is simply added up. In JSON its fields stand among those of what embeds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Add, AddAssign)]
#[serde(default)]
pub struct Counters {
    /// Files merged or expired.
    pub files_compacted: u64,
    /// The raw files among them, by size.
    pub raw_sizes: SizeHistogram,
    pub files_written: u64,
    /// Raw files that stay as they are, and of which it was read when their rows are from.
    pub files_adopted: u64,
    /// Bytes of the files merged or expired.
    pub bytes_before: u64,
    /// Bytes of the snapshots written.
    pub bytes_after: u64,
    /// Rows of the files merged or expired.
    pub events_compacted: u64,
    /// Every row accounted for.
    pub ledger: Ledger,
    /// Requests to the store and the archive.
    pub requests: Requests,
    /// Files deleted: retired inputs and orphans.
    pub files_deleted: u64,
    /// Raw files that were uploaded again after they had been compacted and deleted, with the same
    /// rows: they are deleted too.
    pub files_repeated: u64,
    /// Raw files with the name of one that was compacted and with other rows, which were taken in
    /// as `rewritten` says. A later pass merges them.
    pub files_appended: u64,
    /// Rows with the same id and time but other content: all kept.
    pub id_conflicts: u64,
    /// Rows whose time is null, before 2000 or in the future: all kept.
    pub implausible: u64,
    pub archived_objects: u64,
    /// Bytes of the archive objects written.
    pub archived_bytes: u64,
    /// Archive objects that the store copied by itself: none of their bytes went through the job.
    pub copied_objects: u64,
    pub copied_bytes: u64,
    /// Groups left for the next pass.
    pub groups_left: u64,
    /// Groups or tenants lost to a concurrent run.
    pub conflicts: u64,
    /// Commits of which nobody knows whether they happened.
    pub unknown_commits: u64,
}
