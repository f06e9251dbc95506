//! Adopted raw files: they stay as they are, and the manifest has the times of their rows, so that
//! they can expire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::file::{Listed, Micros, RowStats};
use super::manifest::Manifest;
use super::names::Key;
use super::same::Sameness;

/// The times of the rows of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowTimes {
    pub rows: u64,
    /// Rows whose time is null or before 2000: they never expire, and are outside `min`..`max`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub undated: u64,
    /// The oldest dated row, rounded down to a microsecond.
    pub min: Option<Micros>,
    /// The newest dated row, rounded up to a microsecond.
    pub max: Option<Micros>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl From<RowStats> for RowTimes {
    fn from(stats: RowStats) -> Self {
        Self {
            rows: stats.rows,
            undated: stats.undated,
            min: stats.min,
            max: stats.max,
        }
    }
}

/// What the time column of a raw file says. It is true of that version of the file for ever, and of
/// nothing else: nothing but the tag tells the version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    /// Relative to the store's root.
    pub key: Key,
    /// The ETag of the version that was read.
    pub etag: String,
    /// What dated the rows, as [`TimeColumn`](super::time_column::TimeColumn) writes it.
    pub dated_by: String,
    #[serde(flatten)]
    pub times: RowTimes,
}

impl Adopted {
    /// Whether it is about the file as a listing shows it. An unknown tag is no evidence.
    fn is_of(&self, file: &Listed) -> bool {
        Sameness::of(Some(&self.etag), file.etag.as_deref()).is_same()
    }
}

/// The adopted raw files of a head, by their keys.
#[derive(Debug, Default)]
pub struct Adoptions<'a>(BTreeMap<&'a str, &'a Adopted>);

impl<'a> Adoptions<'a> {
    /// Those of `head`, if there is one.
    pub fn of(head: Option<&'a Manifest>) -> Self {
        let notes = head.iter().flat_map(|m| &m.adopted);
        Self(notes.map(|a| (a.key.as_str(), a)).collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entry of the version that a listing shows.
    pub fn of_version(&self, file: &Listed) -> Option<&'a Adopted> {
        let note = self.0.get(file.key.as_str())?;
        note.is_of(file).then_some(note)
    }

    /// When the rows of a listed file are from by `column`, where that is known.
    pub fn times(&self, file: &Listed, column: &str) -> Option<RowTimes> {
        let note = self.of_version(file)?;
        (note.dated_by == column).then_some(note.times)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn a_note_is_about_one_version_and_one_column() {
        let note = Adopted {
            key: "acme/x.parquet".into(),
            etag: "\"a\"".into(),
            dated_by: "timestamp".into(),
            times: RowStats::default().into(),
        };
        let known = Adoptions(BTreeMap::from([(note.key.as_str(), &note)]));
        let holds = |etag: Option<&str>, column| {
            let file = Listed {
                key: note.key.clone(),
                size: 1,
                etag: etag.map(str::to_owned),
                modified: DateTime::UNIX_EPOCH,
            };
            known.times(&file, column).is_some()
        };
        assert!(holds(Some("a"), "timestamp"));
        assert!(!holds(Some("b"), "timestamp"), "another version");
        assert!(!holds(None, "timestamp"), "nobody knows which version");
        assert!(!holds(Some("a"), "created_at"), "other times");
    }

    #[test]
    fn a_note_takes_few_bytes() {
        let note = Adopted {
            key: String::new(),
            etag: String::new(),
            dated_by: "timestamp".into(),
            times: RowTimes {
                rows: 1_000_000,
                undated: 0,
                min: Some(Micros(1_781_481_600_000_000)),
                max: Some(Micros(1_781_481_600_000_000)),
            },
        };
        let json = serde_json::to_string(&note).unwrap();
        assert!(
            json.len() < 125,
            "besides key and tag: {} of {json}",
            json.len()
        );
        assert_eq!(serde_json::from_str::<Adopted>(&json).unwrap(), note);
    }
}
