//! Remembered names: raw files whose rows were taken and that are deleted since.
//!
//! A writer may use such a name again, by a retry or by mistake. Head remembers it for a while, so
//! that its rows are not taken for new. A name is stored as two hashes, sixteen bytes in base64,
//! because each commit writes the whole head.

use std::collections::BTreeSet;
use std::num::NonZeroU64;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::file::Fingerprint;

/// A name is remembered until names were swept on so many later days: for 30 whole days at least,
/// and longer where there are days without any.
///
/// Days are counted and not reckoned from a clock. So one whose clock is years ahead adds a day of
/// its own, and ends the memory of one other day, not of all.
pub const DAYS: usize = 31;

/// Bytes of a name before they are encoded: a hash of the key, and one of the rows.
const BYTES: usize = 16;

/// A hash of the rows of a file: enough to tell by accident whether another has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentHash(NonZeroU64);

impl ContentHash {
    /// The hash of so many rows with this fingerprint.
    pub fn of(rows: u64, fingerprint: Fingerprint) -> Self {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&rows.to_le_bytes());
        bytes[8..].copy_from_slice(&fingerprint.0.to_le_bytes());
        // 0 says that nothing is known.
        Self(NonZeroU64::new(xxh3_64(&bytes)).unwrap_or(NonZeroU64::MIN))
    }
}

impl From<ContentHash> for String {
    fn from(hash: ContentHash) -> Self {
        format!("{:016x}", hash.0)
    }
}

impl TryFrom<String> for ContentHash {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let hash = u64::from_str_radix(&text, 16)
            .ok()
            .and_then(NonZeroU64::new);
        hash.map(Self)
            .ok_or_else(|| format!("`{text}` is not a hash of rows: 16 hex digits expected"))
    }
}

/// A name that is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// The hash of the rows that were taken. None where it was not known: then a file of that name
    /// is neither the same nor another.
    pub content: Option<ContentHash>,
    /// When it was seen to be gone, as far as clocks are right.
    pub day: NaiveDate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Entry {
    name: u64,
    /// 0 where it is not known.
    content: u64,
    /// Which of the days.
    day: usize,
}

/// The names of raw files that were compacted or expired and are gone, those of the last [`DAYS`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Day>", into = "Vec<Day>")]
pub struct SweptNames {
    /// In the order in which they began. Of none, all names are gone.
    days: Vec<NaiveDate>,
    /// In the order of their hashes, each once.
    entries: Vec<Entry>,
}

impl SweptNames {
    /// What is known of the name `key`, if it is remembered.
    pub fn get(&self, key: &str) -> Option<Swept> {
        if self.entries.is_empty() {
            return None;
        }
        let name = hash(key);
        let at = self.entries.binary_search_by_key(&name, |e| e.name).ok()?;
        let entry = self.entries.get(at)?;
        Some(Swept {
            content: NonZeroU64::new(entry.content).map(ContentHash),
            day: *self.days.get(entry.day)?,
        })
    }

    /// Remembers `names` from `at` on, with what is known of their rows, and ends the memory of
    /// names that are old enough.
    pub fn remember<'a>(
        &mut self,
        at: DateTime<Utc>,
        names: impl IntoIterator<Item = (&'a str, Option<ContentHash>)>,
    ) {
        let mut names = names.into_iter().peekable();
        if names.peek().is_none() {
            return;
        }
        // A clock that goes back adds no day, and does not shorten the memory of what it adds.
        let day = at.date_naive();
        if !self.days.contains(&day) {
            self.days.push(day);
        }
        let day = self.days.len() - 1;
        let mut entries: Vec<Entry> = names
            .map(|(key, content)| Entry {
                name: hash(key),
                content: content.map_or(0, |hash| hash.0.get()),
                day,
            })
            .collect();
        entries.append(&mut self.entries);
        self.entries = entries;
        self.tidy();
    }

    /// Does not remember `keys` any more.
    pub fn forget(&mut self, keys: &BTreeSet<&str>) {
        let names: BTreeSet<u64> = keys.iter().map(|key| hash(key)).collect();
        if !names.is_empty() {
            self.entries.retain(|e| !names.contains(&e.name));
            self.tidy();
        }
    }

    /// The number of remembered names.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no name is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Each name once, by the first of its entries, and of the last days alone.
    fn tidy(&mut self) {
        self.entries.sort_by_key(|e| e.name);
        self.entries.dedup_by_key(|e| e.name);
        let used: BTreeSet<usize> = self.entries.iter().map(|e| e.day).collect();
        let old = used.len().saturating_sub(DAYS);
        let kept: Vec<usize> = used.into_iter().skip(old).collect();
        self.entries.retain_mut(|e| {
            let day = kept.binary_search(&e.day);
            e.day = day.unwrap_or_default();
            day.is_ok()
        });
        self.days = kept
            .iter()
            .filter_map(|i| self.days.get(*i).copied())
            .collect();
    }
}

fn hash(key: &str) -> u64 {
    xxh3_64(key.as_bytes())
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
struct Day {
    day: NaiveDate,
    /// Pairs of hashes, of a name and its rows, each of eight bytes with the lowest first.
    names: String,
}

impl From<SweptNames> for Vec<Day> {
    fn from(names: SweptNames) -> Self {
        let mut bytes = vec![Vec::new(); names.days.len()];
        for e in &names.entries {
            bytes[e.day].extend_from_slice(&e.name.to_le_bytes());
            bytes[e.day].extend_from_slice(&e.content.to_le_bytes());
        }
        let days = names.days.into_iter().zip(bytes);
        days.map(|(day, bytes)| Day {
            day,
            names: STANDARD.encode(bytes),
        })
        .collect()
    }
}

impl TryFrom<Vec<Day>> for SweptNames {
    type Error = String;
    fn try_from(stored: Vec<Day>) -> Result<Self, String> {
        let mut names = Self {
            days: stored.iter().map(|stored| stored.day).collect(),
            entries: Vec::new(),
        };
        // What was last known of a name counts.
        for (i, Day { day, names: text }) in stored.into_iter().enumerate().rev() {
            let bytes = STANDARD
                .decode(text)
                .map_err(|e| format!("the swept names of {day} cannot be read: {e}"))?;
            let (pairs, rest) = bytes.as_chunks::<BYTES>();
            if !rest.is_empty() {
                return Err(format!("the swept names of {day} are cut off"));
            }
            names.entries.extend(pairs.iter().map(|pair| Entry {
                name: u64::from_le_bytes(std::array::from_fn(|n| pair[n])),
                content: u64::from_le_bytes(std::array::from_fn(|n| pair[n + 8])),
                day: i,
            }));
        }
        names.tidy();
        Ok(names)
    }
}

#[cfg(test)]
mod tests;
