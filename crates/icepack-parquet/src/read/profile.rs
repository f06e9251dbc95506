//! What a merge must know of a file before it opens it: the range of its times, and whether they
//! are in order.

use arrow::datatypes::TimeUnit;

use crate::error::Result;
use crate::read::Input;
use crate::schema::canonical;
use crate::time::{self, ceil_micros, first_not_before, floor_micros, last_not_after};
use icepack_core::model::file::Micros;

/// The timestamps of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// The unit of `keys`.
    pub unit: TimeUnit,
    /// The smallest and largest sort key (null is `i64::MIN`); none where the file has no rows.
    pub keys: Option<(i64, i64)>,
    /// The oldest dated row, rounded down.
    pub min: Option<Micros>,
    /// The newest dated row, rounded up.
    pub max: Option<Micros>,
    /// Rows with a null time or one before 2000.
    pub undated: u64,
    /// Rows later than now.
    pub future: u64,
    /// Whether the rows are in order, nulls first.
    pub sorted: bool,
}

impl Input {
    /// Reads the column `timestamp` and nothing else. None where the file has no such column, or it
    /// is not a timestamp.
    ///
    /// # Errors
    /// As [`crate::read::Reader::next_batch`].
    pub fn profile(&self, timestamp: &str, now: Micros) -> Result<Option<Profile>> {
        let Ok(field) = self.schema().field_with_name(timestamp) else {
            return Ok(None);
        };
        let plain = canonical(field.data_type());
        let Some(unit) = time::unit_of(&plain) else {
            return Ok(None);
        };
        let (dated, later) = (
            first_not_before(Micros::EPOCH_2000, unit),
            last_not_after(now, unit),
        );
        let mut found = Profile {
            unit,
            keys: None,
            min: None,
            max: None,
            undated: 0,
            future: 0,
            sorted: true,
        };
        let mut reader = self.reader(Some(timestamp))?;
        let mut last = i64::MIN;
        let mut span: Option<(i64, i64)> = None;
        while let Some(batch) = reader.next_batch()? {
            let column = arrow::compute::cast(batch.column(0), &plain)
                .map_err(|e| self.ident.bad(e.to_string()))?;
            let Some(keys) = time::keys(&column) else {
                return Ok(None);
            };
            for &key in keys.iter() {
                found.sorted &= last <= key;
                last = key;
                found.undated += u64::from(key < dated);
                found.future += u64::from(key > later);
                if key >= dated {
                    span = Some(span.map_or((key, key), |(a, b)| (a.min(key), b.max(key))));
                }
                found.keys = Some(
                    found
                        .keys
                        .map_or((key, key), |(a, b)| (a.min(key), b.max(key))),
                );
            }
        }
        found.min = span.map(|(min, _)| floor_micros(min, unit));
        found.max = span.map(|(_, max)| ceil_micros(max, unit));
        Ok(Some(found))
    }
}
