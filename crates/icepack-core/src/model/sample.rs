//! A look at a few files of a few tenants, for who has no configuration yet.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::file::Micros;
use super::inputs::Left;
use super::names::{Key, Tenant};

/// What a column could be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    /// It can date a row.
    Time,
    /// A whole number. It cannot date a row: nobody can tell its unit.
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
    /// From when to when the rows are, by each column that can date them and has statistics.
    pub spans: BTreeMap<String, (Micros, Micros)>,
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
    /// When the last was.
    pub last_written: Option<DateTime<Utc>>,
    /// The files whose footers were read.
    pub files: Vec<FileSample>,
    /// Those that could not be read, and why.
    pub unreadable: Vec<(Key, String)>,
    /// What of it is no input.
    #[serde(default)]
    pub left_alone: Left,
}

/// What was seen of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Its tenants, by name.
    pub tenants: Vec<Tenant>,
    /// Those that were looked at.
    pub looked_at: Vec<TenantSample>,
    /// What lies in the root, and belongs to no tenant.
    #[serde(default)]
    pub root: Left,
}
