//! Markers: a small object at the root of each store and each archive that says which of the two it
//! is.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::manifest::WRITER;
use super::names::{FileId, Key, STATE_DIR};

/// The format of markers that this version writes.
const MARKER_FORMAT: u32 = 1;

/// What icepack uses a place for. A place has one role for ever: passes delete from a store, and
/// never from an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Tenants are compacted here.
    Store,
    /// Expired rows are kept here.
    Archive,
}

impl Role {
    /// The other role.
    pub fn other(self) -> Self {
        match self {
            Self::Store => Self::Archive,
            Self::Archive => Self::Store,
        }
    }

    /// The key of the marker at the root of such a place.
    pub fn marker_key(self) -> Key {
        format!("{STATE_DIR}/{}.json", self.as_str())
    }

    /// `store` or `archive`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Archive => "archive",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The marker: written once by the first pass, never changed or deleted by the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The format of this document.
    pub format: u32,
    /// The role of the place.
    pub kind: Role,
    /// Minted for the place. A copy of the place has the same.
    pub id: FileId,
    /// When it was written, by the writer's clock.
    pub created_at: DateTime<Utc>,
    /// The program that wrote it.
    pub writer: String,
}

impl Marker {
    /// The marker of a place that has none yet.
    pub fn new(kind: Role, id: FileId, created_at: DateTime<Utc>) -> Self {
        Self {
            format: MARKER_FORMAT,
            kind,
            id,
            created_at,
            writer: WRITER.to_owned(),
        }
    }
}
