//! What the user wants for one tenant, resolved: defaults, overrides and patterns already applied.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time_column::TimeColumn;

/// Which files a pass takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum CompactionStrategy {
    /// Files under `small_file_threshold`, at least `min_files_to_compact` of them.
    #[default]
    #[serde(rename = "sizebased", alias = "size")]
    SizeBased,
    /// Files older than 24 hours, at least `min_files_to_compact` of them.
    #[serde(rename = "timebased", alias = "time")]
    TimeBased,
    /// Every file.
    #[serde(rename = "fullcompaction", alias = "full")]
    FullCompaction,
}

impl CompactionStrategy {
    /// `size`, `time` or `full`, as the command line spells them.
    pub fn short(self) -> &'static str {
        match self {
            Self::SizeBased => "size",
            Self::TimeBased => "time",
            Self::FullCompaction => "full",
        }
    }
}

impl std::str::FromStr for CompactionStrategy {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "size" | "sizebased" => Ok(Self::SizeBased),
            "time" | "timebased" => Ok(Self::TimeBased),
            "full" | "fullcompaction" => Ok(Self::FullCompaction),
            other => Err(format!(
                "`{other}` is not a strategy: use size, time or full"
            )),
        }
    }
}

/// Which files may be merged with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Within {
    /// Those of one folder. What is made of them lies in that folder, so that readers who choose
    /// folders, or read `key=value` out of them, find the same rows.
    #[default]
    Folder,
    /// All of a tenant. What is made of them lies in `<tenant>/<yyyy-mm>/`. Folders `key=value` are
    /// refused, because their values are in no file.
    Tenant,
}

/// What is done with a file under a used name that has other rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rewritten {
    /// It is left alone, and told.
    #[default]
    SetAside,
    /// It is taken in, as a file of a new name would be.
    Append,
}

/// How values are encoded in the files that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encodings {
    /// Dictionaries and plain values: what every reader knows.
    #[default]
    Plain,
    /// Also deltas, of format 2.4 (2013). Smaller; Athena's and Impala's older versions and
    /// fastparquet cannot read them.
    Delta,
}

/// Which columns of different types are united though their owner alone knows whether they mean the
/// same.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(default)]
pub struct Uniting {
    /// Integers of 64 bits with floats, as doubles, where each value is one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub widen_to_double: bool,
    /// Times without a zone with those that have one: they are of UTC.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub assume_utc: bool,
}

impl Uniting {
    /// Whether files are united only where it is certain that no value is lost.
    pub fn is_strict(&self) -> bool {
        *self == Self::default()
    }

    /// Whether this allows nothing that `other` does not.
    pub fn is_within(self, other: Self) -> bool {
        self.widen_to_double <= other.widen_to_double && self.assume_utc <= other.assume_utc
    }
}

/// How the pages of a column are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    None,
    Snappy,
    Gzip,
    Lz4Raw,
    /// Of this level.
    Zstd(i32),
}

/// Events are ids, digests and text that is made from templates. Level 1 finds as much in them as
/// level 3 does (measured: 2 % more, since the faster search does not stop at short matches in
/// random digits), in half the time. Below zero strings are not even packed to fewer bits: three
/// fifths more bytes for a tenth less time.
const ZSTD_LEVEL: i32 = 1;

/// The levels that Zstandard has.
const ZSTD_LEVELS: std::ops::RangeInclusive<i32> = 1..=22;

impl Default for Codec {
    fn default() -> Self {
        Self::Zstd(ZSTD_LEVEL)
    }
}

impl std::fmt::Display for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Snappy => f.write_str("snappy"),
            Self::Gzip => f.write_str("gzip"),
            Self::Lz4Raw => f.write_str("lz4_raw"),
            Self::Zstd(level) => write!(f, "zstd({level})"),
        }
    }
}

impl std::str::FromStr for Codec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        Ok(match lower.as_str() {
            "none" => Self::None,
            "snappy" => Self::Snappy,
            "gzip" => Self::Gzip,
            "lz4_raw" => Self::Lz4Raw,
            "zstd" => Self::default(),
            other => {
                let level = other
                    .strip_prefix("zstd(")
                    .and_then(|l| l.strip_suffix(')'));
                let level = level.and_then(|l| l.parse().ok());
                Self::Zstd(level.filter(|l| ZSTD_LEVELS.contains(l)).ok_or_else(|| {
                    format!(
                        "`{text}` is none of none, snappy, gzip, lz4_raw, zstd and zstd(1) to \
                         zstd(22)"
                    )
                })?)
            }
        })
    }
}

/// No row group is made smaller than this many bytes.
const LEAST_ROW_GROUP: u64 = 64 << 10;

/// How snapshots are written, beside what follows from their rows and their inputs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Writing {
    /// How values are encoded.
    pub encodings: Encodings,
    /// How pages are compressed, …
    pub compression: Codec,
    /// … but for those of these columns, by name.
    pub compression_columns: BTreeMap<String, Codec>,
    /// Bytes at which a row group ends, if memory allows as many. None: as many as it allows.
    pub row_group_size: Option<u64>,
    /// Columns that have a bloom filter, whether their inputs have one or not.
    pub bloom_filter: Vec<String>,
}

impl Writing {
    /// The codec of columns of this name.
    pub fn codec(&self, column: &str) -> Codec {
        let own = self.compression_columns.get(column);
        own.copied().unwrap_or(self.compression)
    }

    /// Bytes at which a row group ends, of the `most` that memory allows.
    pub fn row_group(&self, most: u64) -> u64 {
        self.row_group_size
            .map_or(most, |size| size.max(LEAST_ROW_GROUP).min(most))
    }
}

impl From<Encodings> for Writing {
    fn from(encodings: Encodings) -> Self {
        Self {
            encodings,
            ..Self::default()
        }
    }
}

/// The requirements of the archive for its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivePolicy {
    /// Bytes that make an object worth it. Expired rows wait for one another until they have so
    /// many, or the slack is over.
    pub min_object_size: u64,
}

/// One tenant's policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What dates a row.
    pub timestamp_column: TimeColumn,
    /// Which files to take.
    pub strategy: CompactionStrategy,
    /// Which of them may be merged with each other.
    pub within: Within,
    /// Fewer candidates than this are left alone.
    pub min_files_to_compact: usize,
    /// Files below this many bytes are small.
    pub small_file_threshold: u64,
    /// Outputs are cut towards this many bytes.
    pub target_file_size: u64,
    /// The most bytes of an output that takes along a rest too small for a file of its own.
    pub max_file_size: u64,
    /// Small raw files of this age are compacted, whatever the counts. Large files, and those alone
    /// in their folder, stay as they are.
    pub max_raw_age: Duration,
    /// A younger raw file is left alone.
    pub min_raw_age: Duration,
    /// What becomes of a file whose name was used before, for other rows.
    pub rewritten: Rewritten,
    /// Which columns of different types are united.
    #[serde(default)]
    pub uniting: Uniting,
    /// Rows older than this expire; none keeps them for ever.
    pub ttl: Option<Duration>,
    /// How long a row may be overdue before its file is rewritten for its sake alone.
    pub slack: Duration,
    /// Where rows are archived when they expire. Without it they are dropped.
    pub archive: Option<ArchivePolicy>,
    /// A pass that would expire more than this percentage of the rows is refused; 100 refuses
    /// none.
    pub max_expire_percent: u8,
    /// Retired files are kept this long for readers that still have their names.
    pub delete_delay: Duration,
    /// Outputs that no manifest names are kept this long, by the store's clock.
    pub orphan_grace: Duration,
}

#[cfg(test)]
impl Default for Policy {
    /// Keeps everything for ever, and merges where it is worth it.
    fn default() -> Self {
        use crate::model::units::{DAY, MIB};
        Self {
            timestamp_column: TimeColumn::default(),
            strategy: CompactionStrategy::SizeBased,
            within: Within::Folder,
            min_files_to_compact: 3,
            small_file_threshold: 10 * MIB,
            target_file_size: 128 * MIB,
            max_file_size: 256 * MIB,
            max_raw_age: DAY,
            min_raw_age: Duration::ZERO,
            rewritten: Rewritten::SetAside,
            uniting: Uniting::default(),
            ttl: None,
            slack: DAY,
            archive: None,
            max_expire_percent: 100,
            delete_delay: Duration::ZERO,
            orphan_grace: DAY,
        }
    }
}
