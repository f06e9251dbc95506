//! Retention: the cutoff before which rows have expired, and what it requires of a file.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::adopted::RowTimes;
use crate::model::file::{Micros, TimeSpread};
use crate::model::hold::Hold;
use crate::model::policy::Policy;

/// Rows dated before this have expired; none where they are kept for ever.
pub fn cutoff(policy: &Policy, now: DateTime<Utc>) -> Option<Micros> {
    // A TTL beyond chrono's range reaches before any row: nothing expires, which is the safe
    // reading.
    let ttl = TimeDelta::from_std(policy.ttl?).ok()?;
    let cutoff = Micros::from_datetime(now.checked_sub_signed(ttl)?);
    (cutoff > Micros::EPOCH_2000).then_some(cutoff)
}

/// [`cutoff`] while rows that were restored are held: nothing as young as the oldest of them
/// expires.
pub fn cutoff_held(policy: &Policy, holds: &[Hold], now: DateTime<Utc>) -> Option<Micros> {
    let held = holds
        .iter()
        .filter(|h| h.is_active(now))
        .map(|h| h.oldest)
        .min();
    let cutoff = cutoff(policy, now)?;
    let cutoff = held.map_or(cutoff, |oldest| cutoff.min(oldest));
    (cutoff > Micros::EPOCH_2000).then_some(cutoff)
}

/// What retention requires of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// Some rows have been overdue for longer than the slack: rewrite it.
    Rewrite { oldest: Micros },
    /// Every row has expired: it goes as a whole.
    Whole,
}

/// What a file with these rows is due for. Undated rows never expire, so that a file with any
/// of them never goes as a whole.
pub fn due(times: &RowTimes, cutoff: Micros, policy: &Policy) -> Due {
    let (Some(min), Some(max)) = (times.min, times.max) else {
        return Due::Nothing;
    };
    if max < cutoff && times.undated == 0 {
        return Due::Whole;
    }
    if is_overdue(min, cutoff, policy.slack) {
        Due::Rewrite { oldest: min }
    } else {
        Due::Nothing
    }
}

/// Whether a row at `oldest` expired more than `slack` ago.
pub fn is_overdue(oldest: Micros, cutoff: Micros, slack: Duration) -> bool {
    let slack = i64::try_from(slack.as_micros()).unwrap_or(i64::MAX);
    oldest < cutoff && cutoff.0.saturating_sub(oldest.0) > slack
}

/// When the expired rows of a merge leave it, where there is an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaveRule {
    /// Bytes that make an archive object worth it.
    pub min_object_size: u64,
    /// Rows that have been overdue for longer than this do not wait.
    pub slack: Duration,
}

impl LeaveRule {
    /// The rule of a policy. None where there is no archive: expired rows then leave at once.
    pub fn of(policy: &Policy) -> Option<Self> {
        policy.archive.map(|archive| Self {
            min_object_size: archive.min_object_size,
            slack: policy.slack,
        })
    }

    /// Whether the rows before `cutoff` leave. If not, they stay where they are and leave later:
    /// they are live until they are in the archive.
    pub fn leaves(self, inputs: &[TimeSpread], cutoff: Micros) -> bool {
        let oldest = inputs
            .iter()
            .filter_map(|i| i.span)
            .map(|(min, _)| min)
            .min();
        let bytes = inputs
            .iter()
            .fold(0_u64, |sum, i| sum.saturating_add(i.before(cutoff)));
        bytes >= self.min_object_size
            || oldest.is_some_and(|oldest| is_overdue(oldest, cutoff, self.slack))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::units::MIB;

    fn extent(amount: u64, min: i64, max: i64) -> TimeSpread {
        TimeSpread {
            amount,
            span: Some((Micros(min), Micros(max))),
        }
    }

    #[test]
    fn rows_leave_when_they_are_worth_an_object_or_overdue() {
        let rule = LeaveRule {
            min_object_size: 8 * MIB,
            slack: Duration::from_micros(50),
        };
        for (inputs, expected, why) in [
            (vec![], false, "nothing"),
            (vec![extent(MIB, 60, 90)], false, "a crumb"),
            (vec![extent(8 * MIB, 60, 90)], true, "worth it"),
            (
                vec![extent(8 * MIB - 1, 60, 90)],
                false,
                "a byte is missing",
            ),
            (
                vec![extent(4 * MIB, 60, 90), extent(4 * MIB, 70, 80)],
                true,
                "worth it together",
            ),
            (vec![extent(16 * MIB, 60, 140)], true, "half of it is"),
            (vec![extent(15 * MIB, 60, 140)], false, "half of it is not"),
            (
                vec![extent(MIB, 50, 500)],
                false,
                "overdue by just the slack",
            ),
            (vec![extent(MIB, 49, 500)], true, "overdue by more"),
            (
                vec![extent(MIB, 60, 90), extent(1, 49, 49)],
                true,
                "one of them is overdue",
            ),
            (
                vec![extent(64 * MIB, 100, 500)],
                false,
                "nothing has expired",
            ),
            (
                vec![TimeSpread {
                    amount: 64 * MIB,
                    span: None,
                }],
                false,
                "undated",
            ),
        ] {
            assert_eq!(rule.leaves(&inputs, Micros(100)), expected, "{why}");
        }
        assert!(
            LeaveRule {
                min_object_size: 0,
                ..rule
            }
            .leaves(&[extent(1, 60, 90)], Micros(100)),
            "every object is worth it"
        );
    }

    #[test]
    fn without_slack_every_expired_row_is_overdue() {
        assert!(is_overdue(Micros(99), Micros(100), Duration::ZERO));
        assert!(!is_overdue(Micros(100), Micros(100), Duration::ZERO));
        assert!(!is_overdue(Micros(99), Micros(100), Duration::MAX));
    }
}
