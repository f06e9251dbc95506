//! When the next pass begins, from the last one that the store has a record of.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::names::FileId;

/// The part of the interval by which passes of several watchers drift apart.
const MAX_JITTER: f64 = 0.1;

/// When the next pass is due: at once where none was ever recorded, else an interval after the last
/// one began, and a little later. `jitter`, from 0 to 1, is how much later: without it, watchers
/// that began together would begin every pass together.
pub fn next_pass(
    last: Option<DateTime<Utc>>,
    interval: Duration,
    jitter: f64,
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    let Some(last) = last else { return now };
    let pause = TimeDelta::from_std(interval.mul_f64(1.0 + MAX_JITTER * jitter.clamp(0.0, 1.0)))
        .unwrap_or(TimeDelta::MAX);
    last.min(now)
        .checked_add_signed(pause)
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// What a watcher remembers of passes. A record may be of the future, by its own clock or by ours:
/// then it is as old as our first sight of it. Asked anew each time, it would always be of now, and
/// an interval after it would never come.
#[derive(Debug, Clone, Copy, Default)]
pub struct Passes {
    seen: Option<(FileId, DateTime<Utc>)>,
    own: Option<DateTime<Utc>>,
}

impl Passes {
    /// When the last pass began, as far as is known `now`: the recorded one, which has this id and
    /// time, or our own.
    pub fn last(
        &mut self,
        recorded: Option<(FileId, DateTime<Utc>)>,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        self.own = self.own.map(|at| at.min(now));
        let (id, at) = recorded.map_or((None, None), |(id, at)| (Some(id), Some(at)));
        let began = match (at, self.seen) {
            (Some(at), _) if at <= now => Some(at),
            (_, Some((seen, first))) if id == Some(seen) => Some(first.min(now)),
            (at, _) => at.map(|_| now),
        };
        if let Some((id, began)) = id.zip(began) {
            self.seen = Some((id, began));
        }
        began.max(self.own)
    }

    /// Our own pass began at `at`, and has ended well: there may be no record of it.
    pub fn made(&mut self, at: DateTime<Utc>) {
        self.own = Some(at);
    }

    /// Whether this record was not seen before.
    pub fn is_news(&self, id: FileId) -> bool {
        self.seen.is_none_or(|(seen, _)| seen != id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::units::HOUR;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_777_000_000 + 60 * minutes, 0).unwrap()
    }

    #[test]
    fn a_pass_is_due_an_interval_after_the_last_one_began() {
        for (last, jitter, now, due) in [
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
            assert_eq!(
                next_pass(last, HOUR, jitter, now),
                due,
                "{last:?} {jitter} {now}"
            );
        }
        assert!(next_pass(Some(at(0)), Duration::MAX.div_f64(1e9), 1.0, at(0)) > at(1_000_000));
    }

    #[test]
    fn a_record_of_the_future_is_as_old_as_the_first_sight_of_it() {
        let id = |n: i64| FileId::floor_at(at(n));
        let mut passes = Passes::default();
        assert_eq!(passes.last(None, at(0)), None);
        assert!(passes.is_news(id(1)));
        for minute in [0, 10, 59, 61] {
            assert_eq!(
                passes.last(Some((id(1), at(5_000))), at(minute)),
                Some(at(0)),
                "{minute}"
            );
        }
        assert!(!passes.is_news(id(1)));
        // A pass that left no newer record is not made again at once.
        passes.made(at(62));
        assert_eq!(passes.last(Some((id(1), at(5_000))), at(63)), Some(at(62)));
        assert_eq!(passes.last(Some((id(2), at(64))), at(65)), Some(at(64)));
        assert_eq!(
            passes.last(Some((id(3), at(9_000))), at(66)),
            Some(at(66)),
            "another one"
        );
        // The clock is set back: no pass of ours is in the future for longer than a moment.
        assert_eq!(passes.last(None, at(3)), Some(at(3)));
    }
}
