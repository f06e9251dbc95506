//! The sample that `init` takes: some files and footers of some tenants.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize, Serialize};

use super::file::Micros;
use super::inputs::Left;
use super::names::{Key, Tenant};
use super::time_column::{EpochUnit, TimeColumn};

/// What a column can be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    /// A timestamp.
    Time,
    /// A whole number.
    Integer,
    /// Text or bytes.
    Text,
    Other,
}

/// A file whose footer was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSample {
    pub key: Key,
    pub rows: u64,
    /// Its columns, in their order.
    pub columns: Vec<(String, ColumnKind)>,
    /// The time range of the rows, by each column that can date them and has statistics.
    pub spans: BTreeMap<String, (Micros, Micros)>,
    /// The types of its columns, in words.
    #[serde(default)]
    pub types: BTreeMap<String, String>,
    /// Columns that look like times and are no timestamps.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub likely: BTreeMap<String, Likely>,
}

/// A column that is no timestamp and looks like a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Likely {
    /// What it looks like, in words, as the end of a sentence.
    pub what: String,
    /// The time range of its values, if it is what it looks like.
    pub span: Option<(Micros, Micros)>,
    /// The unit, where it is a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<EpochUnit>,
}

/// Times are looked for between the beginnings of these years.
const YEARS: (i32, i32) = (2000, 2100);

impl Likely {
    /// From the bounds of integers. None where they are times in no unit.
    pub fn integers(min: i64, max: i64) -> Option<Self> {
        let in_micros = |n: i64, per_second: i64| {
            i64::try_from(i128::from(n) * 1_000_000 / i128::from(per_second)).ok()
        };
        EpochUnit::ALL.into_iter().find_map(|unit| {
            let micros = |n| in_micros(n, unit.per_second());
            let span = plausible(micros(min)?, micros(max)?)?;
            Some(Self {
                what: format!("an integer, likely {} since 1970", unit.told()),
                span: Some(span),
                unit: Some(unit),
            })
        })
    }

    /// From the bounds of floating-point numbers.
    pub fn floats(min: f64, max: f64) -> Option<Self> {
        [(EpochUnit::Seconds, 1e6), (EpochUnit::Millis, 1e3)]
            .into_iter()
            .find_map(|(unit, micros)| {
                let span = plausible((min * micros) as i64, (max * micros) as i64)?;
                Some(Self {
                    what: format!("a double, likely {} since 1970", unit.told()),
                    span: Some(span),
                    unit: Some(unit),
                })
            })
    }

    /// From the bounds of texts, which statistics may have cut off.
    pub fn texts(min: &str, max: &str) -> Option<Self> {
        let day = |text: &str| {
            let day = NaiveDate::parse_from_str(text.get(..10)?, "%Y-%m-%d").ok()?;
            let has_time = matches!(text.as_bytes().get(10), Some(b'T' | b' '));
            has_time.then(|| day.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
        };
        Some(Self {
            what: "text, likely ISO 8601".to_owned(),
            span: Some(plausible(day(min)?, day(max)?)?),
            unit: None,
        })
    }

    /// From the bounds of dates, in days since 1970.
    pub fn dates(min: i32, max: i32) -> Self {
        const DAY: i64 = 86_400 * 1_000_000;
        Self {
            what: "a date".to_owned(),
            span: plausible(i64::from(min) * DAY, i64::from(max) * DAY),
            unit: None,
        }
    }

    /// What the setting `timestamp_column` must say for the column `name` to date rows.
    pub fn setting(&self, name: &str) -> TimeColumn {
        let column = TimeColumn::named(name);
        match self.unit {
            Some(unit) => column.in_unit(unit),
            None => column,
        }
    }

    /// The union of two files' views of one column.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        let span = match (self.span, other.span) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        Self { span, ..self }
    }
}

/// Microseconds since 1970, where both are in years that data is of.
fn plausible(min: i64, max: i64) -> Option<(Micros, Micros)> {
    let year = |at: i64| DateTime::from_timestamp_micros(at).map(|t| t.year());
    let is_usual = |at| year(at).is_some_and(|y| (YEARS.0..YEARS.1).contains(&y));
    (is_usual(min) && is_usual(max)).then_some((Micros(min), Micros(max)))
}

/// A column whose values are in the names of folders `key=value`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathColumn {
    pub name: String,
    /// A value of it, as the folder has it.
    pub example: String,
    /// Whether a file that was read has a column of this name too.
    pub in_files: bool,
}

/// A tenant that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantSample {
    pub tenant: Tenant,
    /// The sizes of its Parquet files in bytes, ascending.
    pub sizes: Vec<u64>,
    /// Whether it has more files than were listed.
    pub has_more: bool,
    /// When the first of them was written.
    pub first_written: Option<DateTime<Utc>>,
    /// When the last file was written.
    pub last_written: Option<DateTime<Utc>>,
    /// The files whose footers were read.
    pub files: Vec<FileSample>,
    /// Those that could not be read, and why.
    pub unreadable: Vec<(Key, String)>,
    /// Entries that are no inputs.
    #[serde(default)]
    pub left_alone: Left,
    /// Folders that hold its files.
    #[serde(default)]
    pub folders: u64,
    /// Columns of its folders' names, in their order.
    #[serde(default)]
    pub path_columns: Vec<PathColumn>,
    /// Globs for what of it is somebody else's.
    #[serde(default)]
    pub exclude: BTreeSet<String>,
    /// The number of its snapshots; above 0, icepack has compacted it.
    #[serde(default)]
    pub snapshots: u64,
}

/// A sample of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Its tenants, by name.
    pub tenants: Vec<Tenant>,
    /// Those that were looked at.
    pub looked_at: Vec<TenantSample>,
    /// What lies in the root, and belongs to no tenant.
    #[serde(default)]
    pub root: Left,
    /// Folders, with their slash, that the layout has no tenant for.
    #[serde(default)]
    pub unmatched: Vec<Key>,
    /// Folders that can be no tenants, and why.
    #[serde(default)]
    pub refused: Vec<String>,
    /// Folders above tenants that hold the state of somebody else's table.
    #[serde(default)]
    pub tables: Vec<Key>,
}
