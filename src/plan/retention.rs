//! When rows expire.

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::file::{Micros, RowStats};
use crate::model::hold::Hold;
use crate::model::policy::Policy;

/// Rows dated before this have expired; none where they are kept for ever.
pub fn cutoff(policy: &Policy, now: DateTime<Utc>) -> Option<Micros> {
    // A TTL beyond chrono's range reaches before any row: nothing expires, which is the safe reading.
    let ttl = TimeDelta::from_std(policy.ttl?).ok()?;
    let cutoff = Micros::from_datetime(now.checked_sub_signed(ttl)?);
    (cutoff > Micros::EPOCH_2000).then_some(cutoff)
}

/// [`cutoff`] while rows that were restored are held: nothing as young as the oldest of them expires.
pub fn cutoff_held(policy: &Policy, holds: &[Hold], now: DateTime<Utc>) -> Option<Micros> {
    let held = holds.iter().filter(|h| h.is_active(now)).map(|h| h.oldest).min();
    let cutoff = cutoff(policy, now)?;
    let cutoff = held.map_or(cutoff, |oldest| cutoff.min(oldest));
    (cutoff > Micros::EPOCH_2000).then_some(cutoff)
}

/// What retention asks of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// Some rows have been overdue for longer than the slack: rewrite it.
    Rewrite {
        /// The oldest row.
        oldest: Micros,
    },
    /// Every row has expired: it goes as a whole.
    Whole,
}

/// What a snapshot with these rows is due for. Undated rows never expire, so that a file with any of them never goes as a whole.
pub fn due(stats: &RowStats, cutoff: Micros, policy: &Policy) -> Due {
    let (Some(min), Some(max)) = (stats.min, stats.max) else { return Due::Nothing };
    if max < cutoff && stats.undated == 0 {
        return Due::Whole;
    }
    let slack = i64::try_from(policy.slack.as_micros()).unwrap_or(i64::MAX);
    if min < cutoff && cutoff.0.saturating_sub(min.0) > slack { Due::Rewrite { oldest: min } } else { Due::Nothing }
}
