//! The report of a pass, as `--json` prints it. [`super::record`] is the part of it that is stored.

use chrono::{DateTime, Utc};
use derive_more::{Add, AddAssign};
use serde::{Deserialize, Serialize};

use super::counters::Counters;
use super::inputs::Left;
use super::names::{FileId, Key};
use super::publish::PublishReport;
use super::symlink::SymlinkReport;
use super::totals::StoreTotals;

/// The version of the JSON documents that the command line prints.
pub const SCHEMA_VERSION: u32 = 1;

/// Requests sent to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Add, AddAssign)]
pub struct Requests {
    /// GET, of whole objects and of ranges.
    pub get: u64,
    /// PUT, of objects, of parts, and the starts and completions of multipart uploads.
    pub put: u64,
    pub head: u64,
    /// LIST, a page of 1,000 keys each.
    pub list: u64,
    /// DELETE, of up to 1,000 keys each.
    pub delete: u64,
    pub copy: u64,
}

impl Requests {
    /// The number of requests of each kind, by its name in JSON.
    pub fn kinds(&self) -> [(&'static str, u64); 6] {
        [
            ("get", self.get),
            ("put", self.put),
            ("head", self.head),
            ("list", self.list),
            ("delete", self.delete),
            ("copy", self.copy),
        ]
    }

    /// The number of all requests.
    pub fn total(&self) -> u64 {
        self.kinds().iter().map(|(_, n)| n).sum()
    }
}

/// How a tenant's pass ended. The order is that of badness.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing to do.
    #[default]
    Idle,
    /// Everything planned was done.
    Done,
    /// The deadline or a signal came first; the rest waits for the next pass.
    Stopped,
    /// Done, but this pass quarantined files, set files aside, or left files that the store did not
    /// let it read.
    Quarantined,
    /// Lost to a concurrent run; nothing is harmed, the next pass takes it up.
    Conflict,
    /// Failed; originals are where they were.
    Failed,
    /// Refused for safety; a person is needed.
    Refused,
}

impl Status {
    /// The status in a word, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Quarantined => "quarantined",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// An input that nothing is wrong with and that could not be read: it was gone, it was being
/// written to, or the store did not give it. Nothing is remembered of it: the next pass tries
/// again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftAlone {
    /// Relative to the store's root.
    pub key: Key,
    /// Why, in a sentence.
    pub reason: String,
}

/// One tenant's result.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TenantReport {
    pub tenant: String,
    pub status: Status,
    /// What went wrong, in a sentence.
    pub error: Option<String>,
    #[serde(flatten)]
    pub counters: Counters,
    /// Milliseconds.
    pub duration_ms: u64,
    /// Files quarantined by this pass.
    pub quarantined: Vec<Key>,
    /// Files under the names of compacted ones that this pass found to be others, each with a
    /// sentence: neither read nor deleted.
    #[serde(default)]
    pub set_aside: Vec<String>,
    /// Inputs that this pass could not read and left where they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<LeftAlone>,
    /// What was published, where the settings ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<PublishReport>,
    /// What was done to symlink manifests, where the settings ask for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symlinks: Option<SymlinkReport>,
    /// Entries of the tenant that were no inputs.
    #[serde(default, skip_serializing_if = "Left::is_empty")]
    pub left_alone: Left,
}

impl TenantReport {
    /// Adds the numbers of `o`; the name, status and error stay.
    pub fn add(&mut self, o: &Self) {
        self.counters += o.counters;
        self.quarantined.extend(o.quarantined.iter().cloned());
        self.set_aside.extend(o.set_aside.iter().cloned());
        self.unread.extend(o.unread.iter().cloned());
        self.left_alone.add(&o.left_alone);
    }
}

/// A whole pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    pub run_id: FileId,
    pub started_at: DateTime<Utc>,
    /// Milliseconds.
    pub duration_ms: u64,
    /// Tenant by tenant, in the order of their names.
    pub tenants: Vec<TenantReport>,
    /// The sum, with the worst status.
    pub totals: TenantReport,
    /// All requests, those for no tenant in particular among them.
    pub requests: Requests,
    /// What the tenants held when the pass began with them. None for a pass over some tenants only,
    /// and for one that was stopped.
    #[serde(default)]
    pub found: Option<StoreTotals>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_stand_among_the_other_fields_in_json() {
        let json = serde_json::to_value(TenantReport::default()).unwrap();
        let mut names: Vec<&str> = json
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        assert_eq!(
            names.join(" "),
            "archived_bytes archived_objects bytes_after bytes_before conflicts copied_bytes \
             copied_objects duration_ms error events_compacted files_adopted files_appended \
             files_compacted files_deleted files_repeated files_written groups_left id_conflicts \
             implausible ledger quarantined raw_sizes \
             requests set_aside status tenant unknown_commits"
        );
        let read: TenantReport = serde_json::from_value(json).unwrap();
        assert_eq!(read, TenantReport::default());
    }
}
