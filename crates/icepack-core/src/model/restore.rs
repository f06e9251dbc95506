//! The report of a restore, as `icepack restore` prints it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::file::Micros;
use super::manifest::Receipt;
use super::names::{FileId, Key, Tenant};

/// How fast objects are thawed, and at what price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Tier {
    /// Minutes. DEEP_ARCHIVE has none.
    Expedited,
    /// Hours.
    Standard,
    /// Many hours, for the least money.
    #[default]
    Bulk,
}

impl Tier {
    /// S3's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Expedited => "Expedited",
            Self::Standard => "Standard",
            Self::Bulk => "Bulk",
        }
    }
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Tier {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let all = [Self::Expedited, Self::Standard, Self::Bulk];
        all.into_iter()
            .find(|t| t.name().eq_ignore_ascii_case(s))
            .ok_or_else(|| format!("`{s}` is not a tier: use Bulk, Standard or Expedited"))
    }
}

/// Whether an object can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum ColdState {
    Readable {
        /// For a thawed one: until then. None for one that never freezes.
        until: Option<DateTime<Utc>>,
    },
    /// It must be thawed first.
    Frozen,
    /// It is being thawed.
    Thawing,
    /// It is not there, though its receipt is.
    Missing,
}

/// One archive object of a restore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestoreObject {
    /// Relative to the archive's root.
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// Rows of the whole object, wanted or not.
    pub rows: u64,
    pub from: Option<Micros>,
    pub to: Option<Micros>,
    /// The storage class that the archive shows; none is the default class.
    pub storage_class: Option<String>,
    /// Whether it can be read.
    #[serde(flatten)]
    pub state: ColdState,
    /// How it is thawed, where it must be: DEEP_ARCHIVE has no Expedited tier, and Standard takes its
    /// place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// How long thawing takes, in minutes: from, to. None where it need not be thawed.
    pub thaw_minutes: Option<(u32, u32)>,
    /// The cost of reading it, in the currency of the price list: retrieval, request, and the
    /// thawed copy for as long as it is kept. None where the list has no price for it.
    pub cost: Option<f64>,
}

/// How one tenant's restore ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RestoreStatus {
    /// The archive has no such rows.
    Empty,
    /// It was only looked at.
    Planned,
    /// Objects are being thawed: the same command again goes on once they are.
    Thawing,
    /// The rows are there, and were compared with the receipts.
    Done,
    /// The same rows had been restored before, and are held: nothing was written.
    Already,
    /// It broke off; the same command again goes on.
    Failed,
    /// The archive does not hold what its receipts say, or the store is not safe: a person is
    /// needed.
    Refused,
}

/// One tenant's restore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TenantRestore {
    pub tenant: Tenant,
    /// The tenant that they come back as.
    pub into: Tenant,
    pub status: RestoreStatus,
    /// What went wrong, in a sentence.
    pub error: Option<String>,
    /// The archive objects that hold such rows, by time.
    pub objects: Vec<RestoreObject>,
    /// The id of the hold that keeps the rows from expiring again.
    pub hold: Option<FileId>,
    /// The end of the hold.
    pub held_until: Option<DateTime<Utc>>,
    /// Rows written, or found written by an earlier attempt.
    pub rows: u64,
    /// Their files, relative to the destination's root.
    pub files: Vec<Key>,
    /// Bytes of those files.
    pub bytes: u64,
    /// The cost of reading the archive, without objects that have no price.
    pub cost: f64,
}

/// A whole restore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestoreReport {
    /// [`super::report::SCHEMA_VERSION`].
    pub schema_version: u32,
    pub archive: String,
    /// Where the rows go.
    pub into: String,
    /// No row is older.
    pub from: Option<Micros>,
    /// Every row is older.
    pub to: Option<Micros>,
    /// How objects are thawed.
    pub tier: Tier,
    /// The currency of the costs.
    pub currency: String,
    /// Where and when the prices held, and who said so.
    pub prices: String,
    pub tenants: Vec<TenantRestore>,
}

/// An archive object that a restore reads, with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub receipt: Receipt,
    /// The raw file that its rows go to.
    pub file: Key,
}
