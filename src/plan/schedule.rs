//! When the next pass begins, from the last one that the store has a record of.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// The part of the interval by which passes of several watchers drift apart.
const JITTER: f64 = 0.1;

/// When the next pass is due: at once where none was ever recorded, else an interval after the last one began, and a little later. `luck`, from 0 to 1, is how much later;
/// without it, watchers that began together would begin every pass together.
pub fn next_pass(last: Option<DateTime<Utc>>, interval: Duration, luck: f64, now: DateTime<Utc>) -> DateTime<Utc> {
    let Some(last) = last else { return now };
    let pause = TimeDelta::from_std(interval.mul_f64(1.0 + JITTER * luck.clamp(0.0, 1.0))).unwrap_or(TimeDelta::MAX);
    // A record from a machine whose clock is ahead must not hold passes up for longer than an interval.
    last.min(now).checked_add_signed(pause).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_777_000_000 + 60 * minutes, 0).unwrap()
    }

    #[test]
    fn a_pass_is_due_an_interval_after_the_last_one_began() {
        for (last, luck, now, due) in [
            (None, 0.5, at(0), at(0)),
            (Some(at(0)), 0.0, at(10), at(60)),
            (Some(at(0)), 1.0, at(10), at(66)),
            (Some(at(0)), 0.5, at(10), at(63)),
            (Some(at(0)), 7.0, at(10), at(66)),
            // Long ago: due since then.
            (Some(at(0)), 0.0, at(600), at(60)),
            // A clock that was ahead.
            (Some(at(600)), 0.0, at(10), at(70)),
        ] {
            assert_eq!(next_pass(last, HOUR, luck, now), due, "{last:?} {luck} {now}");
        }
        assert!(next_pass(Some(at(0)), Duration::MAX.div_f64(1e9), 1.0, at(0)) > at(1_000_000));
    }
}
