//! The reports of the commands that only read: `plan`, `status`, `ls`, `verify`, `doctor`,
//! `report`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::apart::FolderClasses;
use super::file::Micros;
use super::forecast::Forecast;
use super::inputs::Left;
use super::names::{FileId, Key, Tenant};
use super::plan::Plan;
use super::price::Prices;
use super::record::RunRecord;
use super::report::{RunReport, Status};
use super::totals::SizeHistogram;

/// One tenant as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantStatus {
    pub tenant: Tenant,
    /// The head's version; 0 where there is none yet.
    pub head_version: u64,
    /// Folders that hold its live files.
    #[serde(default)]
    pub folders: u64,
    /// Folders whose snapshots are of several schema classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<FolderClasses>,
    /// Raw files.
    pub raw_files: u64,
    /// Size of the raw files, in bytes.
    pub raw_bytes: u64,
    /// Those of them that stay as they are until their rows expire.
    #[serde(default)]
    pub adopted: u64,
    /// Their rows.
    #[serde(default)]
    pub adopted_rows: u64,
    /// Age of the oldest raw file that is not adopted in seconds, by the store's time of its last
    /// write.
    pub oldest_raw_s: Option<u64>,
    /// The same files by size.
    #[serde(default)]
    pub raw_sizes: SizeHistogram,
    pub snapshots: u64,
    /// Size of the snapshots, in bytes.
    pub snapshot_bytes: u64,
    /// The same files by size.
    #[serde(default)]
    pub snapshot_sizes: SizeHistogram,
    pub snapshot_rows: u64,
    /// The oldest dated row of the snapshots.
    pub oldest: Option<Micros>,
    pub newest: Option<Micros>,
    /// Files waiting to be deleted.
    pub retired: u64,
    /// Size of the retired files, in bytes.
    pub retired_bytes: u64,
    /// Bytes of all data files that are listed: the live ones, those that wait to be deleted, what is
    /// left over, and what no pass takes.
    #[serde(default)]
    pub listed_bytes: u64,
    /// Outputs that head does not name.
    pub orphans: u64,
    /// Files that could not be read.
    pub quarantined: u64,
    /// Files under the names of compacted ones that are not known to be those: neither read nor
    /// deleted.
    #[serde(default)]
    pub set_aside: u64,
    /// Rows archived so far.
    pub rows_archived: u64,
    /// Rows dropped by policy so far.
    pub rows_expired: u64,
    /// Seconds; none keeps for ever.
    pub ttl_s: Option<u64>,
    /// How long the oldest expired row of a snapshot, or of a file that is adopted or set aside, has
    /// been overdue, in seconds.
    pub overdue_s: Option<u64>,
    /// What expires next; none where rows are kept for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
    /// The files that [`Self::quarantined`] and [`Self::set_aside`] count, each with its reason and
    /// the way on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aside: Vec<AsideFile>,
    /// Restored rows that do not expire yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<HeldRows>,
    /// What is no input.
    #[serde(default, skip_serializing_if = "Left::is_empty")]
    pub left_alone: Left,
}

/// Why no pass takes a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AsideKind {
    /// It cannot be read.
    Quarantined,
    /// It has the name of a file that was compacted, and other rows.
    SetAside,
}

impl AsideKind {
    /// In a word or two.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quarantined => "quarantined",
            Self::SetAside => "set aside",
        }
    }

    /// What to do about such a file, with `TENANT` in the place of the tenant's name.
    pub fn mend(self) -> &'static str {
        match self {
            Self::Quarantined => {
                "mend or replace the file, or move it away, then `icepack run --tenant TENANT`"
            }
            Self::SetAside => {
                "give it another name to have it read by `icepack run --tenant TENANT`, or delete \
                 it if its rows are not wanted"
            }
        }
    }
}

/// A file that no pass takes. It is left where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsideFile {
    pub kind: AsideKind,
    /// Relative to the store's root.
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// When it was quarantined, or written under the other file's name.
    pub since: DateTime<Utc>,
    /// Why, in a sentence.
    pub reason: String,
    /// What to do, in a sentence.
    pub mend: String,
}

/// Rows that a restore brought back, and that do not expire for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRows {
    /// The hold's, as the names of its files have it.
    pub id: FileId,
    /// The tenant that they were archived of.
    pub of: Tenant,
    /// No restored row is older; none from the beginning.
    pub from: Option<Micros>,
    /// Every restored row is older; none to the end.
    pub to: Option<Micros>,
    /// No row of the tenant from here on expires while this lasts.
    pub oldest: Micros,
    /// When it ends. A restore that is not done holds for longer.
    pub until: DateTime<Utc>,
    /// Whether every row is back. Else the restore broke off, and the same command goes on.
    pub done: bool,
}

/// The error that a tenant's part in a pass ended with, where no later pass did better.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    pub tenant: String,
    /// When that pass began.
    pub at: DateTime<Utc>,
    /// How bad: failed, or refused for safety.
    pub status: Status,
    /// Why, in a sentence.
    pub error: String,
}

/// The last pass, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    pub started_at: DateTime<Utc>,
    /// Milliseconds.
    pub duration_ms: u64,
    /// The worst status of a tenant.
    pub status: Status,
    /// What went wrong, in a sentence.
    pub error: Option<String>,
}

impl From<&RunRecord> for LastRun {
    fn from(r: &RunRecord) -> Self {
        let RunReport {
            started_at,
            duration_ms,
            ref totals,
            ..
        } = r.report;
        Self {
            started_at,
            duration_ms,
            status: totals.status,
            error: r.error.clone().or_else(|| totals.error.clone()),
        }
    }
}

/// A tenant that could not be looked at. The others were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub tenant: String,
    /// How bad: failed, or refused for safety.
    pub status: Status,
    /// Why, in a sentence.
    pub error: String,
}

/// What a pass would do now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanReport {
    /// [`super::report::SCHEMA_VERSION`].
    pub schema_version: u32,
    pub plans: Vec<Plan>,
    /// What their costs are reckoned with.
    pub prices: Prices,
    /// Tenants that cannot be planned.
    pub failures: Vec<Failure>,
    /// What lies in the root of the store, and belongs to no tenant.
    #[serde(default, skip_serializing_if = "Left::is_empty")]
    pub root: Left,
    /// Folders, with their slash, that the layout has no tenant for: nothing in them is looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmatched: Vec<Key>,
}

/// What `status` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// [`super::report::SCHEMA_VERSION`].
    pub schema_version: u32,
    pub tenants: Vec<TenantStatus>,
    /// Tenants that cannot be looked at.
    pub failures: Vec<Failure>,
    /// The last errors of tenants, by the records of the recent passes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_errors: Vec<LastError>,
    /// As the store recorded it.
    pub last_run: Option<LastRun>,
    /// The last pass in which no tenant failed.
    pub last_success: Option<LastRun>,
    /// The last of the recent passes that was none.
    pub last_failure: Option<LastRun>,
}

/// What the report shows: how the tenants stand, and what the last passes did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// [`super::report::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When it was looked.
    pub at: DateTime<Utc>,
    /// Whether it was looked at some tenants only. The records are of all.
    pub is_part: bool,
    /// What their cost is reckoned with.
    pub prices: Prices,
    pub tenants: Vec<TenantStatus>,
    /// Tenants that cannot be looked at.
    pub failures: Vec<Failure>,
    /// The last errors of tenants, by the records of the recent passes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_errors: Vec<LastError>,
    /// The records of the last passes, the oldest first.
    pub runs: Vec<RunRecord>,
}

/// A file of the live view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveFile {
    /// Relative to the store's root.
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// Rows; none for raw files.
    pub rows: Option<u64>,
    /// The oldest dated row; none where nobody has read the file yet, or it has none.
    pub from: Option<Micros>,
    pub to: Option<Micros>,
    /// Rows outside `from`..`to`: null or before 2000.
    pub undated: u64,
}

/// What a reader should read: head's snapshots and the raw files that head has not retired. Every
/// row is in it once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveView {
    pub tenant: Tenant,
    /// The head it is of; 0 where there is none yet.
    pub version: u64,
    /// In time order as far as known.
    pub files: Vec<LiveFile>,
    /// Why its files are not told: something in its folder is somebody else's, and says otherwise
    /// what of them is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is wrong; it will go away by itself.
    Note,
    /// Look at it when there is time.
    Warning,
    /// Data is missing or damaged.
    Broken,
}

/// What kind of thing `verify` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// An object that is named is not there.
    Missing,
    /// An object has another size than it was written with.
    Size,
    /// An object has another tag, so that it was copied or replaced; its rows may be right.
    Tag,
    /// An object holds more or fewer rows than were written.
    RowCount,
    /// An object holds as many rows as were written, and others.
    Content,
    /// An object is not what it must be, and cannot be read.
    Unreadable,
    /// An archive object must be thawed before it can be read.
    Frozen,
    /// An output that no manifest names.
    Orphan,
    /// An archive object without a receipt.
    NoReceipt,
    /// An archive object whose receipt the next pass writes.
    ReceiptDue,
    /// A receipt that is of another object.
    Misplaced,
    /// A raw file that could not be read.
    Quarantined,
    /// A file under the name of a compacted one that does not show its tag.
    SetAside,
    /// A tenant with snapshots and no manifest, or with one that cannot be believed.
    Manifest,
    /// A tenant's rows do not add up.
    Books,
    /// Something in a tenant that is somebody else's.
    Foreign,
    /// An archive holds fewer rows of a tenant than were moved to it, by its receipts.
    Archived,
}

impl FindingKind {
    /// In a word or two.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Size => "size differs",
            Self::Tag => "tag differs",
            Self::RowCount => "row count off",
            Self::Content => "content differs",
            Self::Unreadable => "unreadable",
            Self::Frozen => "frozen",
            Self::Orphan => "orphan",
            Self::NoReceipt => "no receipt",
            Self::ReceiptDue => "receipt due",
            Self::Misplaced => "misplaced",
            Self::Quarantined => "quarantined",
            Self::SetAside => "set aside",
            Self::Manifest => "manifest lost",
            Self::Books => "books off",
            Self::Foreign => "not icepack's",
            Self::Archived => "rows missing",
        }
    }
}

/// One thing that `verify` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub tenant: String,
    pub key: Key,
    pub severity: Severity,
    pub kind: FindingKind,
    /// What it is, in a sentence.
    pub what: String,
    /// What to do: the command that mends it, where there is one.
    pub mend: String,
}

/// What `verify` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// [`super::report::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Whether rows were read back.
    pub deep: bool,
    pub tenants: u64,
    pub snapshots: u64,
    /// Archive objects looked at.
    pub archives: u64,
    pub rows_read: u64,
    /// The worst first.
    pub findings: Vec<Finding>,
}

/// How a probe of `doctor` ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// As it must be.
    Good,
    /// Works, with a limit.
    Limited,
    Bad,
    /// The store breaks a promise that safety rests on.
    Unsafe,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// `store` or `archive`.
    pub target: String,
    pub name: String,
    pub health: Health,
    /// What was seen, and what to do.
    pub detail: String,
}

/// What `doctor` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorReport {
    /// [`super::report::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// In the order they ran.
    pub checks: Vec<Check>,
}
