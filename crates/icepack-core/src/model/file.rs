//! A file as a listing shows it, and what is known of its rows.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::names::{FileId, Key};
use super::schema::SchemaId;
use super::time_column::TimeColumn;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub i64);

impl Micros {
    /// 2000-01-01T00:00:00Z. A row from before it was dated by a broken clock or a default value;
    /// it never expires.
    pub const EPOCH_2000: Self = Self(946_684_800_000_000);

    /// The microsecond that holds `time`.
    pub fn from_datetime(time: DateTime<Utc>) -> Self {
        Self(time.timestamp_micros())
    }

    /// The time; values beyond chrono's range become its ends.
    pub fn to_datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or(if self.0 < 0 {
            DateTime::<Utc>::MIN_UTC
        } else {
            DateTime::<Utc>::MAX_UTC
        })
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_datetime().format("%Y-%m-%dT%H:%M:%S%.6fZ"))
    }
}

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct Listed {
    /// Relative to the store's root.
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// The store's version tag, where it gives one.
    pub etag: Option<String>,
    /// The store's own time of the last write.
    pub modified: DateTime<Utc>,
}

/// An order-independent hash of a set of rows: the wrapping sum of a 128-bit hash of each row.
///
/// Sums of parts add up to the sum of the whole, so it can be checked across a merge that reorders
/// and splits. It guards against accidents (a lost, doubled or altered row), not against somebody
/// who may choose the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Fingerprint(pub u128);

impl Fingerprint {
    /// The fingerprint of both sets together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if s.len() != 32 {
            return Err(format!(
                "`{s}` is not a fingerprint: 32 hex digits expected"
            ));
        }
        u128::from_str_radix(s, 16)
            .map(Self)
            .map_err(|e| format!("`{s}` is not a fingerprint: {e}"))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// What is known of the rows of one file that icepack wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RowStats {
    pub rows: u64,
    /// Rows whose time is null or before 2000: they never expire, and are outside `min`..`max`.
    pub undated: u64,
    /// The oldest dated row, rounded down to a microsecond.
    pub min: Option<Micros>,
    /// The newest dated row, rounded up to a microsecond.
    pub max: Option<Micros>,
    pub fingerprint: Fingerprint,
}

impl RowStats {
    /// The same rows, with nothing known of their times.
    #[must_use]
    pub fn untimed(self) -> Self {
        Self {
            undated: 0,
            min: None,
            max: None,
            ..self
        }
    }

    /// Whether nothing is known of the rows' times, as [`Self::untimed`] leaves it. Where times are
    /// known, each row is undated or within a range.
    pub fn is_untimed(&self) -> bool {
        self.min.is_none() && self.undated < self.rows
    }

    /// The stats of both sets of rows together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let pick =
            |a: Option<Micros>, b: Option<Micros>, f: fn(Micros, Micros) -> Micros| match (a, b) {
                (Some(a), Some(b)) => Some(f(a, b)),
                (a, b) => a.or(b),
            };
        Self {
            rows: self.rows + other.rows,
            undated: self.undated + other.undated,
            min: pick(self.min, other.min, Micros::min),
            max: pick(self.max, other.max, Micros::max),
            fingerprint: self.fingerprint.plus(other.fingerprint),
        }
    }
}

/// So much of something, rows or bytes, spread over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeSpread {
    pub amount: u64,
    /// From the oldest dated row to the newest; none where there is none.
    pub span: Option<(Micros, Micros)>,
}

impl TimeSpread {
    /// The part of it that lies before `now`: a later date is a mistake, and would stretch the span
    /// over nothing.
    #[must_use]
    pub fn until(self, now: Micros) -> Self {
        Self {
            span: self.span.map(|(min, max)| (min, max.min(now).max(min))),
            ..self
        }
    }

    /// How much of it lies before `cutoff`: exact where all or nothing does, in between as if it
    /// were spread evenly.
    pub fn before(self, cutoff: Micros) -> u64 {
        let Some((min, max)) = self.span else {
            return 0;
        };
        if max < cutoff {
            return self.amount;
        }
        // Here min <= cutoff <= max, so that neither difference is negative, and the quotient is at
        // most the amount.
        let (past, whole) = (
            i128::from(cutoff.0) - i128::from(min.0),
            i128::from(max.0) - i128::from(min.0),
        );
        if past <= 0 || whole <= 0 {
            return 0;
        }
        u64::try_from(i128::from(self.amount) * past / whole).unwrap_or(self.amount)
    }
}

/// A snapshot: one of our outputs, named by a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Relative to the store's root.
    pub key: Key,
    /// The id, which the key has too.
    pub id: FileId,
    /// Size in bytes.
    pub size: u64,
    /// The ETag that the store gave when the object was complete.
    pub etag: Option<String>,
    /// The id of its columns, in the manifest's schemas. None where an older version wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaId>,
    /// What its rows are sorted by and the times of `stats` are of, as
    /// [`TimeColumn`] writes it; the type of a column is in the schema. None where an older version
    /// wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dated_by: Option<String>,
    /// What is known of its rows.
    #[serde(flatten)]
    pub stats: RowStats,
}

impl Snapshot {
    /// What is known of its rows where `column` dates a row: of their times nothing, if another
    /// column dated them, or nobody knows which. Where nothing dates a row, they have none.
    pub fn stats_by(&self, column: &TimeColumn) -> RowStats {
        if self.dated_by.as_deref() == Some(column.as_str()) {
            self.stats
        } else if column.is_nothing() {
            RowStats {
                undated: self.stats.rows,
                ..self.stats.untimed()
            }
        } else {
            self.stats.untimed()
        }
    }
}

/// An input that was really read: what the store showed at the read, and the rows that its footer
/// promises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenInput {
    /// Relative to the store's root.
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// The ETag, as the read showed it.
    pub etag: Option<String>,
    /// Rows by the footer.
    pub rows: u64,
    /// Of those rows, as they were read; of a snapshot as the manifest says. None where content is
    /// not checked.
    pub fingerprint: Option<Fingerprint>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(amount: u64, min: i64, max: i64) -> TimeSpread {
        TimeSpread {
            amount,
            span: Some((Micros(min), Micros(max))),
        }
    }

    #[test]
    fn what_lies_before_the_cutoff_is_exact_at_the_ends_and_even_in_between() {
        for (amount, min, max, expected) in [
            (100, 0, 99, 100),
            (100, 0, 100, 100),
            (100, 0, 400, 25),
            (100, 99, 101, 50),
            (100, 100, 100, 0),
            (100, 101, 400, 0),
            (0, 0, 400, 0),
            (u64::MAX, 0, 400, u64::MAX / 4),
            (7, i64::MIN, i64::MAX, 3),
        ] {
            assert_eq!(
                extent(amount, min, max).before(Micros(100)),
                expected,
                "{amount} from {min} to {max}"
            );
        }
        assert_eq!(
            TimeSpread {
                amount: 100,
                span: None
            }
            .before(Micros(100)),
            0,
            "undated rows never expire"
        );
    }

    #[test]
    fn dates_beyond_now_do_not_stretch_a_span() {
        assert_eq!(
            extent(100, 0, i64::MAX)
                .until(Micros(200))
                .before(Micros(100)),
            50
        );
        assert_eq!(
            extent(100, 300, 400).until(Micros(200)).before(Micros(100)),
            0
        );
    }
}
