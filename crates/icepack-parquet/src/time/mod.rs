//! Times of rows. Times of any unit are compared with microseconds, rounded so that no row expires
//! or leaves a range by rounding.

mod dater;
mod judge;
mod values;

use arrow::datatypes::TimeUnit;

use icepack_core::model::file::Micros;

pub use dater::{Dater, candidates, dates, is_same_place};
pub(crate) use judge::Judge;

/// The microsecond that holds `value`, or the nearest that an i64 has.
pub fn floor_micros(value: i64, unit: TimeUnit) -> Micros {
    Micros(match unit {
        TimeUnit::Second => value.saturating_mul(1_000_000),
        TimeUnit::Millisecond => value.saturating_mul(1_000),
        TimeUnit::Microsecond => value,
        TimeUnit::Nanosecond => value.div_euclid(1_000),
    })
}

/// The first microsecond that is not before `value`, or the nearest that an i64 has.
pub fn ceil_micros(value: i64, unit: TimeUnit) -> Micros {
    match unit {
        TimeUnit::Nanosecond => Micros(ceil_div(value, 1_000)),
        _ => floor_micros(value, unit),
    }
}

/// The smallest value of `unit` that is not before `at`: a value is before `at` exactly when it is
/// less than this.
pub fn first_not_before(at: Micros, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => ceil_div(at.0, 1_000_000),
        TimeUnit::Millisecond => ceil_div(at.0, 1_000),
        TimeUnit::Microsecond => at.0,
        TimeUnit::Nanosecond => at.0.saturating_mul(1_000),
    }
}

/// The largest value of `unit` that is not after `at`.
pub fn last_not_after(at: Micros, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => at.0.div_euclid(1_000_000),
        TimeUnit::Millisecond => at.0.div_euclid(1_000),
        TimeUnit::Microsecond => at.0,
        TimeUnit::Nanosecond => at.0.saturating_mul(1_000),
    }
}

/// `value` of unit `from` in the finer or equal unit `to`; values that do not fit come back as the
/// ends of i64, which keeps the order.
pub fn refine(value: i64, from: TimeUnit, to: TimeUnit) -> i64 {
    value.saturating_mul((per_second(to) / per_second(from)).max(1))
}

fn ceil_div(value: i64, by: i64) -> i64 {
    value.div_euclid(by) + i64::from(value.rem_euclid(by) != 0)
}

/// Ticks of `unit` in a second.
pub fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_goes_outwards() {
        assert_eq!(floor_micros(-1, TimeUnit::Nanosecond), Micros(-1));
        assert_eq!(ceil_micros(-1, TimeUnit::Nanosecond), Micros(0));
        assert_eq!(ceil_micros(1, TimeUnit::Nanosecond), Micros(1));
        assert_eq!(floor_micros(i64::MAX, TimeUnit::Second), Micros(i64::MAX));
    }

    #[test]
    fn no_row_at_or_after_the_cutoff_counts_as_before_it() {
        for unit in [
            TimeUnit::Second,
            TimeUnit::Millisecond,
            TimeUnit::Microsecond,
            TimeUnit::Nanosecond,
        ] {
            for cutoff in [
                -1_500_001, -1, 0, 1, 999, 1_000, 1_001, 1_500_000, 2_000_000,
            ] {
                let bound = first_not_before(Micros(cutoff), unit);
                let nanos = |v: i64| i128::from(v) * i128::from(1_000_000_000 / per_second(unit));
                assert!(
                    nanos(bound) >= i128::from(cutoff) * 1_000,
                    "{unit:?} {cutoff}"
                );
                assert!(
                    nanos(bound - 1) < i128::from(cutoff) * 1_000,
                    "{unit:?} {cutoff}"
                );
            }
        }
    }
}
