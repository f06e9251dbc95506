//! The profile of a file, which a merge needs before it opens the file: the range of its times, and
//! whether they are in order.

use arrow::datatypes::TimeUnit;

use crate::error::Result;
use crate::read::Input;
use crate::time::{Dater, ceil_micros, first_not_before, floor_micros, last_not_after};
use icepack_core::model::file::Micros;

/// The times of one file.
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

impl Profile {
    /// Of rows that are in order and all dated; none where the first is not.
    pub(crate) fn in_order((min, max): (i64, i64), unit: TimeUnit) -> Option<Self> {
        (first_not_before(Micros::EPOCH_2000, unit) <= min && min <= max).then(|| Self {
            unit,
            keys: Some((min, max)),
            min: Some(floor_micros(min, unit)),
            max: Some(ceil_micros(max, unit)),
            undated: 0,
            future: 0,
            sorted: true,
        })
    }
}

impl Input {
    /// Reads what dates the rows and no other column. The inner error is why that cannot be a
    /// time, in a sentence: numbers of another unit.
    ///
    /// # Errors
    /// As [`crate::read::Reader::next_batch`].
    pub fn profile(&self, dater: &Dater, now: Micros) -> Result<Result<Profile, String>> {
        let mut profiling = Profiling::new(dater, now);
        if let Some(key) = dater.constant() {
            profiling.constant(key, self.rows());
            return Ok(Ok(profiling.found()));
        }
        let mut judge = dater.judge(now);
        let alone = dater.clone().alone();
        let mut reader = self.reader(dater.root())?;
        while let Some(batch) = reader.next_batch()? {
            let keys = alone.keys(&batch).map_err(|why| self.ident.bad(why))?;
            for &key in keys.iter() {
                profiling.add(key);
                if let Some(judge) = &mut judge {
                    judge.add(key);
                }
            }
        }
        Ok(match judge.and_then(|judge| judge.objection()) {
            Some(why) => Err(why),
            None => Ok(profiling.found()),
        })
    }
}

/// A profile on its way.
struct Profiling {
    found: Profile,
    /// The keys of the first dated row and of the last until now.
    dated: i64,
    now: i64,
    last: i64,
    span: Option<(i64, i64)>,
}

impl Profiling {
    fn new(dater: &Dater, now: Micros) -> Self {
        let unit = dater.unit();
        Self {
            found: Profile {
                unit,
                keys: None,
                min: None,
                max: None,
                undated: 0,
                future: 0,
                sorted: true,
            },
            dated: first_not_before(Micros::EPOCH_2000, unit),
            now: last_not_after(now, unit),
            last: i64::MIN,
            span: None,
        }
    }

    /// Of so many rows that have one key. That it may be later than now is nobody's mistake.
    fn constant(&mut self, key: i64, rows: u64) {
        if rows > 0 {
            self.add(key);
            self.found.undated *= rows;
            self.found.future = 0;
        }
    }

    fn add(&mut self, key: i64) {
        let found = &mut self.found;
        found.sorted &= self.last <= key;
        self.last = key;
        found.undated += u64::from(key < self.dated);
        found.future += u64::from(key > self.now);
        let with = |(a, b): (i64, i64)| (a.min(key), b.max(key));
        if key >= self.dated {
            self.span = Some(self.span.map_or((key, key), with));
        }
        found.keys = Some(found.keys.map_or((key, key), with));
    }

    fn found(mut self) -> Profile {
        let unit = self.found.unit;
        self.found.min = self.span.map(|(min, _)| floor_micros(min, unit));
        self.found.max = self.span.map(|(_, max)| ceil_micros(max, unit));
        self.found
    }
}
