//! What a pass did, as `--json` prints it. [`super::record`] is what is kept of it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::inputs::Left;
use super::manifest::Ledger;
use super::names::{FileId, Key};
use super::publish::PublishReport;
use super::stock::{Sizes, Stock};

/// The version of the JSON documents that the command line prints.
pub const SCHEMA_VERSION: u32 = 1;

/// Requests sent to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
    /// Both together.
    #[must_use]
    pub fn plus(self, o: Self) -> Self {
        Self {
            get: self.get + o.get,
            put: self.put + o.put,
            head: self.head + o.head,
            list: self.list + o.list,
            delete: self.delete + o.delete,
            copy: self.copy + o.copy,
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.get + self.put + self.head + self.list + self.delete + self.copy
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
    /// In a word, as in JSON.
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
    /// Files merged or expired.
    pub files_compacted: u64,
    /// The raw files among them, by size.
    #[serde(default)]
    pub raw_sizes: Sizes,
    pub files_written: u64,
    /// Bytes of the files merged or expired.
    pub bytes_before: u64,
    /// Bytes of the snapshots written.
    pub bytes_after: u64,
    /// Rows of the files merged or expired.
    pub events_compacted: u64,
    /// Milliseconds.
    pub duration_ms: u64,
    /// Every row accounted for.
    pub ledger: Ledger,
    /// Requests to the store and the archive.
    pub requests: Requests,
    /// Files quarantined by this pass.
    pub quarantined: Vec<Key>,
    /// Files under the names of compacted ones that this pass found to be others, each with a
    /// sentence: neither read nor deleted.
    #[serde(default)]
    pub set_aside: Vec<String>,
    /// Inputs that this pass could not read and left where they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<LeftAlone>,
    /// Files deleted: retired inputs and orphans.
    pub files_deleted: u64,
    /// Rows with the same id and time but other content: all kept.
    pub id_conflicts: u64,
    /// Rows whose time is null, before 2000 or in the future: all kept.
    pub implausible: u64,
    pub archived_objects: u64,
    /// Their bytes.
    #[serde(default)]
    pub archived_bytes: u64,
    /// Those of them that the store copied by itself: none of their bytes went through the job.
    #[serde(default)]
    pub copied_objects: u64,
    /// Their bytes.
    #[serde(default)]
    pub copied_bytes: u64,
    /// Groups left for the next pass.
    pub groups_left: u64,
    /// Groups lost to a concurrent run.
    #[serde(default)]
    pub conflicts: u64,
    /// Commits of which nobody knows whether they happened.
    #[serde(default)]
    pub unknown_commits: u64,
    /// What was published, where it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<PublishReport>,
    /// What of the tenant was no input when the pass looked at it.
    #[serde(default, skip_serializing_if = "Left::is_empty")]
    pub left_alone: Left,
}

impl TenantReport {
    /// Adds the numbers of `o`; the name, status and error stay.
    pub fn add(&mut self, o: &Self) {
        self.files_compacted += o.files_compacted;
        self.raw_sizes = self.raw_sizes.plus(o.raw_sizes);
        self.files_written += o.files_written;
        self.bytes_before += o.bytes_before;
        self.bytes_after += o.bytes_after;
        self.events_compacted += o.events_compacted;
        self.ledger = self.ledger.plus(o.ledger);
        self.requests = self.requests.plus(o.requests);
        self.quarantined.extend(o.quarantined.iter().cloned());
        self.set_aside.extend(o.set_aside.iter().cloned());
        self.unread.extend(o.unread.iter().cloned());
        self.files_deleted += o.files_deleted;
        self.id_conflicts += o.id_conflicts;
        self.implausible += o.implausible;
        self.archived_objects += o.archived_objects;
        self.archived_bytes += o.archived_bytes;
        self.copied_objects += o.copied_objects;
        self.copied_bytes += o.copied_bytes;
        self.groups_left += o.groups_left;
        self.conflicts += o.conflicts;
        self.unknown_commits += o.unknown_commits;
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
    /// What its tenants held when it began with them; none of a pass over some tenants only, or of
    /// one that was stopped.
    #[serde(default)]
    pub found: Option<Stock>,
}
