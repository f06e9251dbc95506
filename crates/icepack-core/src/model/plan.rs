//! What a pass decides to do, before it does anything: serialisable, printed by `plan`, executed by
//! `run`.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::adopted::RowTimes;
use super::apart::FolderClasses;
use super::estimate::{Estimate, Expiry};
use super::file::{Listed, Micros, RowStats};
use super::inputs::Left;
use super::manifest::Manifest;
use super::names::{FileId, Key, Tenant, folder};

/// All that planning may look at.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The tenant's head, if it has one.
    pub head: Option<Manifest>,
    /// A listing of the tenant, taken after `head` was read.
    pub listing: Vec<Listed>,
}

/// One file that a group takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedInput {
    /// Relative to the store's root.
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// The ETag: of a raw file as listed, of a snapshot as committed.
    pub etag: Option<String>,
    /// For snapshots: what head knows of its rows; nothing of their times ([`RowStats::untimed`])
    /// where another column than the configured one dated them. None for raw files, whose rows
    /// nobody has read yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stats: Option<RowStats>,
    /// For snapshots: its id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<FileId>,
    /// For raw files that were adopted: when their rows are from. Whoever reads the file for its
    /// rows reads their times too, and does not believe this.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub adopted: Option<RowTimes>,
}

impl PlannedInput {
    /// Whether head says that this is one of our sorted snapshots.
    pub fn is_snapshot(&self) -> bool {
        self.id.is_some()
    }

    /// Whether a snapshot's times are those of its manifest.
    pub fn has_times(&self) -> bool {
        self.stats.is_some_and(|s| !s.is_untimed())
    }

    /// When its rows are from, as far as that is known before it is read.
    pub fn times(&self) -> Option<RowTimes> {
        let stats = self.stats.filter(|s| !s.is_untimed());
        stats.map(RowTimes::from).or(self.adopted)
    }
}

/// What a pass does with the files of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupKind {
    /// Merged into sorted snapshots; expired rows leave on the way.
    Merge,
    /// Every row has expired: archived or dropped as a whole.
    Expire,
    /// They stay as they are. When their rows are from is read, so that they can expire.
    Adopt,
}

/// Why a group is planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum Reason {
    SmallFiles {
        files: usize,
        /// Their limit in bytes.
        threshold: u64,
    },
    /// Enough files older than a day.
    OldFiles { files: usize },
    /// The strategy takes everything.
    Everything,
    /// A raw file has waited for `max_raw_age`.
    RawAge {
        /// Age of the oldest in seconds.
        oldest_s: u64,
    },
    /// Snapshots of similar size go up a tier.
    Tier { files: usize },
    /// A file holds rows that are overdue by more than the slack.
    Overdue {
        oldest: Micros,
        /// Rows before this have expired.
        cutoff: Micros,
    },
    /// Snapshots whose times are of another column than the one that dates a row now: they are
    /// read, and sorted by that.
    Redated {
        files: usize,
        /// The column that dates a row now.
        column: String,
    },
    /// Nobody knows when the rows of raw files are from that are worth no rewriting.
    Untimed {
        files: usize,
        /// The column that dates a row.
        column: String,
    },
    /// Every row of the files is past the cutoff.
    Expired {
        /// Rows before this have expired.
        cutoff: Micros,
    },
    /// Every row of the files is past the cutoff, and they leave row by row: each is too small for
    /// an archive object of its own, or is no snapshot, which alone can be copied.
    ExpiredTogether {
        files: usize,
        /// Rows before this have expired.
        cutoff: Micros,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SmallFiles { files, threshold } => {
                write!(f, "{files} files under {}", bytesize::ByteSize(*threshold))
            }
            Self::OldFiles { files } => write!(f, "{files} files older than 24h"),
            Self::Everything => write!(f, "strategy full takes everything"),
            Self::RawAge { oldest_s } => write!(f, "a raw file is {} old", minutes(*oldest_s)),
            Self::Tier { files } => write!(f, "{files} snapshots of similar size"),
            Self::Overdue { oldest, cutoff } => {
                write!(f, "oldest row {oldest} is overdue (cutoff {cutoff})")
            }
            Self::Redated { files, column } => {
                write!(
                    f,
                    "times are known by another column than `{column}`: {files} snapshot{}",
                    if *files == 1 { "" } else { "s" }
                )
            }
            Self::Untimed { files, column } => write!(
                f,
                "when the rows of {files} file{} are from is not known: `{column}` alone is read, \
                 and no file is written",
                if *files == 1 { "" } else { "s" }
            ),
            Self::Expired { cutoff } => write!(f, "every row is past the cutoff {cutoff}"),
            Self::ExpiredTogether { files: 1, cutoff } => {
                write!(
                    f,
                    "every row is past the cutoff {cutoff}: an archive object"
                )
            }
            Self::ExpiredTogether { files, cutoff } => write!(
                f,
                "every row of {files} files is past the cutoff {cutoff}: one archive object"
            ),
        }
    }
}

fn seconds(seconds: u64) -> humantime::FormattedDuration {
    humantime::format_duration(std::time::Duration::from_secs(seconds))
}

/// To the minute.
fn minutes(seconds: u64) -> humantime::FormattedDuration {
    humantime::format_duration(std::time::Duration::from_secs(seconds / 60 * 60))
}

/// Files that go through one merge and one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// In time order as far as it is known.
    pub inputs: Vec<PlannedInput>,
    pub kind: GroupKind,
    pub reason: Reason,
}

impl Group {
    /// Bytes of the inputs.
    pub fn bytes(&self) -> u64 {
        self.inputs.iter().map(|i| i.size).sum()
    }

    /// The folder that all of its files lie in; none where they lie in several.
    pub fn folder(&self) -> Option<&str> {
        let mut folders = self.inputs.iter().map(|i| folder(&i.key));
        let first = folders.next()?;
        folders.all(|f| f == first).then_some(first)
    }

    /// Whether every row of its files has expired, so that all of them leave.
    pub fn is_expiry(&self) -> bool {
        self.kind == GroupKind::Expire || matches!(self.reason, Reason::ExpiredTogether { .. })
    }
}

/// Why a file is in no group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum SkipReason {
    /// Fewer candidates than `min_files_to_compact`.
    TooFew {
        have: usize,
        /// `min_files_to_compact`.
        need: usize,
    },
    /// Not under the threshold.
    Large,
    /// Not old enough for strategy `time`.
    Young,
    /// There is no other file to merge it with, or none that it fits: rewritten, it would be the
    /// same.
    Alone,
    /// Younger than `min_raw_age`, by the store's time of its last write.
    JustWritten {
        /// Seconds since then. 0 where the store's clock is ahead.
        age_s: u64,
        /// `min_raw_age` in seconds.
        need_s: u64,
    },
    /// A raw file that is as good as a snapshot of it would be: it stays until its rows expire.
    Adopted { times: RowTimes },
    /// A snapshot that needs nothing.
    Finished,
    /// Every row has expired, but all such snapshots together are not worth an archive object yet.
    ExpiredWaiting {
        /// Bytes of them all.
        have_bytes: u64,
        /// `archive.min_object_size`.
        need_bytes: u64,
        /// Seconds since the oldest row of them expired.
        waited_s: u64,
        /// Seconds after which they go as they are: what is left of the slack.
        at_most_s: u64,
    },
    /// A snapshot that lacks the timestamp column.
    Undatable {
        /// The column that dates a row now.
        column: String,
    },
    /// Could not be read, now or earlier.
    Quarantined { reason: String },
    /// Part of a restore that is under way.
    Restoring,
    /// Waiting to be deleted.
    Retired,
    /// Has the name of a file that was compacted, and is still to be compared with it.
    ComesAgain,
    /// Has the name of a file that was compacted, and is not known to be that file.
    SetAside {
        /// Both sides, in a sentence.
        reason: String,
    },
    /// Has the id of a live snapshot, and lies elsewhere.
    Stray {
        /// Where that snapshot is.
        of: Key,
    },
    /// An output that no manifest names: left over from a run that did not finish, or in flight.
    Orphan,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew { have, need } => write!(f, "{have} candidates, {need} needed"),
            Self::Large => write!(f, "not a small file"),
            Self::Young => write!(f, "younger than 24h"),
            Self::Alone => write!(f, "no other file of its folder to merge it with"),
            Self::JustWritten { age_s, need_s } => write!(
                f,
                "written {} ago, and left alone for {}",
                seconds(*age_s),
                seconds(*need_s)
            ),
            Self::Adopted { times } => match times.min.zip(times.max) {
                Some((min, max)) => write!(
                    f,
                    "stays as it is until its rows expire: they are from {min} to {max}"
                ),
                None => write!(f, "stays as it is: it has no row that could expire"),
            },
            Self::Finished => write!(f, "needs nothing"),
            Self::ExpiredWaiting {
                have_bytes,
                need_bytes,
                waited_s,
                at_most_s,
            } => write!(
                f,
                "expired, and not worth an archive object yet: {} of {}, for {}, at most {} more",
                bytesize::ByteSize(*have_bytes),
                bytesize::ByteSize(*need_bytes),
                minutes(*waited_s),
                minutes(*at_most_s)
            ),
            Self::Undatable { column } => write!(
                f,
                "has no timestamp column `{column}`: its rows cannot be dated by it, and never \
                 expire"
            ),
            Self::Quarantined { reason } => write!(f, "quarantined: {reason}"),
            Self::Restoring => write!(
                f,
                "part of a restore that is not done: run the same `icepack restore` again, or \
                 wait for its hold to end"
            ),
            Self::Retired => write!(f, "retired, waiting to be deleted"),
            Self::ComesAgain => write!(
                f,
                "a file of this name was compacted: `icepack run` compares its rows with this one's"
            ),
            Self::SetAside { reason } => write!(
                f,
                "set aside: {reason}; give it another name to have it read, or delete it"
            ),
            Self::Stray { of } => write!(
                f,
                "a copy of the live snapshot `{of}`: neither read nor deleted"
            ),
            Self::Orphan => write!(
                f,
                "not in the manifest: from an unfinished run, collected once the floor passes it"
            ),
        }
    }
}

/// A file that this pass leaves alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Relative to the store's root.
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    pub reason: SkipReason,
}

/// One tenant's plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub tenant: Tenant,
    /// The head it was made from; 0 where there is none yet.
    pub head_version: u64,
    /// The time it was made for.
    pub now: DateTime<Utc>,
    /// Rows before this have expired; none where they are kept for ever.
    pub cutoff: Option<Micros>,
    /// In the order of execution.
    pub groups: Vec<Group>,
    /// Every other Parquet file of the tenant.
    pub skipped: Vec<Skipped>,
    /// Folders whose snapshots are of several schema classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<FolderClasses>,
    /// What would expire. None where rows are kept for ever, or the footers were not read.
    #[serde(default)]
    pub expiry: Option<Expiry>,
    /// Requests and costs. None where the footers were not read.
    #[serde(default)]
    pub estimate: Option<Estimate>,
    /// Entries of the tenant that are no inputs.
    #[serde(default, skip_serializing_if = "Left::is_empty")]
    pub left_alone: Left,
}

impl Plan {
    /// Bytes of the files that the groups read whole. Tenants with more go first.
    pub fn backlog(&self) -> u64 {
        let whole = self.groups.iter().filter(|g| g.kind != GroupKind::Adopt);
        whole.map(Group::bytes).sum()
    }
}
