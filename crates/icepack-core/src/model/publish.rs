//! Delta tables: the settings of publication, and the state of a table.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::names::{Key, Tenant};

/// Where the tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// One in each tenant's folder.
    #[default]
    PerTenant,
    /// One at the store's root, partitioned by [`TENANT_COLUMN`].
    Shared,
}

/// The column that a shared table is partitioned by. It is in no file.
pub const TENANT_COLUMN: &str = "tenant";

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PerTenant => "per-tenant",
            Self::Shared => "shared",
        })
    }
}

impl FromStr for Layout {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "per-tenant" => Ok(Self::PerTenant),
            "shared" => Ok(Self::Shared),
            other => Err(format!(
                "`{other}` is not a layout: use per-tenant or shared"
            )),
        }
    }
}

/// How tables are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish {
    pub layout: Layout,
    /// How long files stay that only older versions of a table name.
    pub keep: Duration,
}

/// Where a tenant's rows are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub tenant: Tenant,
    /// Whether the table has other tenants too.
    pub layout: Layout,
}

impl Place {
    /// What comes before a path in the table, to make it a key of the store: empty, or ending in
    /// `/`.
    pub fn prefix(&self) -> String {
        match self.layout {
            Layout::PerTenant => self.tenant.prefix().unwrap_or_default(),
            Layout::Shared => String::new(),
        }
    }

    /// The folder of the table's log, without a slash at its end.
    pub fn log(&self) -> Key {
        format!("{}{}", self.prefix(), super::names::DELTA_LOG)
    }
}

/// A file that a table names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedFile {
    /// Size in bytes.
    pub size: u64,
    /// Milliseconds since 1970.
    pub modified: i64,
    /// By the table's statistics.
    pub rows: Option<u64>,
}

/// What a table says of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Published {
    /// The version of the manifest that was published last.
    pub manifest: Option<u64>,
    /// Rows that had left the tenant by then: archived, expired or deduplicated.
    pub left: Option<u64>,
    pub files: BTreeMap<Key, PublishedFile>,
}

/// What a sweep must know of a table's readers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Readers {
    /// The newest version of the table.
    pub published: Published,
    /// Files that it names no more, by when they were taken out. Those that were longer ago than
    /// `remembered` may be missing.
    pub removed: BTreeMap<Key, DateTime<Utc>>,
    /// How far back `removed` goes.
    pub remembered: Duration,
}

/// The table that a run publishes, as its sweep knows it.
#[derive(Debug, Clone)]
pub struct Followed {
    /// What its readers need, read after everything was published.
    pub readers: Readers,
    /// How long files stay that only older versions name.
    pub keep: Duration,
    /// The folder of its log.
    pub log: Key,
}

/// What a sweep must know of everybody who reads what is published.
#[derive(Debug, Clone, Default)]
pub struct Followers {
    /// Of the Delta table, where there is one.
    pub table: Option<Followed>,
    /// Of the symlink manifests, where there are some.
    pub symlinks: Option<super::symlink::Listing>,
}

/// The result of a publication.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PublishReport {
    /// The table's version now.
    pub table_version: u64,
    /// Versions that were written.
    pub commits: u64,
    /// Files put into the table.
    pub files_added: u64,
    /// Files taken out of it.
    pub files_removed: u64,
    /// Columns and raw files that the table cannot have, and why.
    pub left_out: Vec<String>,
}

impl PublishReport {
    /// Adds what a later publication did.
    pub fn add(&mut self, later: Self) {
        self.table_version = later.table_version;
        self.commits += later.commits;
        self.files_added += later.files_added;
        self.files_removed += later.files_removed;
        self.left_out = later.left_out;
    }
}
