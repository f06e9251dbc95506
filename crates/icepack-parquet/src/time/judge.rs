//! Checks whether numbers are times in the unit that is set for them.

use arrow::datatypes::TimeUnit;

use super::per_second;
use icepack_core::model::file::Micros;
use icepack_core::model::time_column::{EpochUnit, TimeColumn};

/// Counts the numbers that are times in each unit: from 2000 until tomorrow.
#[derive(Debug, Clone)]
pub(crate) struct Judge {
    name: String,
    unit: EpochUnit,
    /// The least and the greatest key of such numbers, and how many there are.
    units: [(EpochUnit, i64, i64, u64); 4],
    all: u64,
}

impl Judge {
    /// A judge of the numbers of column `name`, which are in `unit`, by keys in `keys`.
    pub fn new(name: &str, unit: EpochUnit, keys: TimeUnit, now: Micros) -> Self {
        const DAY: i64 = 86_400;
        let (from, to) = (
            Micros::EPOCH_2000.0 / 1_000_000,
            (now.0 / 1_000_000).saturating_add(DAY),
        );
        let units = EpochUnit::ALL.map(|other| {
            // The key that a number has in the unit that is set, where it is this second in another.
            let key = |second: i64| {
                let number = i128::from(second) * i128::from(other.per_second());
                let key = number * i128::from(per_second(keys)) / i128::from(unit.per_second());
                i64::try_from(key).unwrap_or(i64::MAX)
            };
            (other, key(from), key(to), 0)
        });
        Self {
            name: name.to_owned(),
            unit,
            units,
            all: 0,
        }
    }

    /// Takes a row in. One without a number says nothing, and 0 often stands for that.
    pub fn add(&mut self, key: i64) {
        if key == i64::MIN || key == 0 {
            return;
        }
        self.all += 1;
        for (_, from, to, count) in &mut self.units {
            *count += u64::from(*from <= key && key <= *to);
        }
    }

    /// Takes rows in of which only the least and the greatest number are known: for the unit that
    /// is set, it is enough that some may be times.
    pub fn add_range(&mut self, min: i64, max: i64) {
        if (min, max) == (0, 0) {
            return;
        }
        self.all += 1;
        for (unit, from, to, count) in &mut self.units {
            let may_be = if *unit == self.unit {
                min <= *to && *from <= max
            } else {
                *from <= min && max <= *to
            };
            *count += u64::from(may_be);
        }
    }

    /// Why the unit is wrong, in a sentence, where it is for all rows.
    pub fn is_never(&self) -> Option<String> {
        let mut units = self.units.iter();
        let is_ever = units.any(|(unit, .., count)| *unit == self.unit && *count > 0);
        if is_ever { None } else { self.objection() }
    }

    /// Why the unit is wrong, in a sentence, where it is wrong for most rows.
    pub fn objection(&self) -> Option<String> {
        let most = |count: u64| count.saturating_mul(2) >= self.all;
        let own = self.units.iter().find(|(unit, ..)| *unit == self.unit);
        if own.is_none_or(|(.., count)| most(*count)) {
            return None;
        }
        let (name, told) = (&self.name, self.unit.told());
        let found = format!(
            "column `{name}`, read as {told} since 1970, is before 2000 or after tomorrow in most \
             rows"
        );
        let likely = self.units.iter().find(|(.., count)| most(*count));
        Some(match likely {
            Some((unit, ..)) => format!(
                "{found}; it looks like {}: set `timestamp_column` to \"{}\"",
                unit.told(),
                TimeColumn::named(name).in_unit(*unit)
            ),
            None => format!("{found}: set `timestamp_column` to another column"),
        })
    }
}
