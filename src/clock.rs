//! The only home of the current time and of new ids.
//!
//! Everything else takes time as an argument or asks a [`Clock`], so that planning is pure and a whole run can be
//! replayed from one seed.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use ulid::Ulid;

use crate::model::names::FileId;

/// Where a run takes its time and its ids from.
pub trait Clock: Send + Sync + Debug {
    /// The current time. Safety never rests on it: it decides what expires, not what may be deleted.
    fn now(&self) -> DateTime<Utc>;

    /// A new id, unique, and above `floor` even when this machine's clock is behind the one that set the floor.
    fn mint(&self, floor: FileId) -> FileId;

    /// A monotonic reading in milliseconds, for durations in reports.
    fn monotonic_ms(&self) -> u64;
}

/// The system's clock and its random source.
#[derive(Debug)]
pub struct SystemClock {
    started: std::time::Instant,
}

#[allow(clippy::disallowed_methods, reason = "the one place that may ask the system")]
impl Default for SystemClock {
    fn default() -> Self {
        Self { started: std::time::Instant::now() }
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that may ask the system")]
impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn mint(&self, floor: FileId) -> FileId {
        above(floor, Ulid::generate())
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A clock that stands still until it is moved, with ids counted from a seed: the same seed gives the same run.
///
/// ```
/// use chrono::{DateTime, TimeDelta};
/// use icepack::clock::{Clock, ManualClock};
/// use icepack::model::names::FileId;
///
/// let clock = ManualClock::new(DateTime::UNIX_EPOCH, 7);
/// let first = clock.mint(FileId::NIL);
/// clock.advance(TimeDelta::days(1));
/// assert!(clock.mint(FileId::NIL) > first, "ids are in the order of time");
/// ```
#[derive(Debug)]
pub struct ManualClock {
    now_ms: AtomicU64,
    next: AtomicU64,
    seed: u64,
}

impl ManualClock {
    /// A clock that shows `now` and mints ids from `seed`.
    pub fn new(now: DateTime<Utc>, seed: u64) -> Self {
        Self { now_ms: AtomicU64::new(unix_ms(now)), next: AtomicU64::new(1), seed }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: TimeDelta) {
        let by = u64::try_from(by.num_milliseconds()).unwrap_or(0);
        self.now_ms.fetch_add(by, Ordering::SeqCst);
    }

    /// Sets the clock, forward or back.
    pub fn set(&self, now: DateTime<Utc>) {
        self.now_ms.store(unix_ms(now), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        let ms = i64::try_from(self.now_ms.load(Ordering::SeqCst)).unwrap_or(i64::MAX);
        DateTime::from_timestamp_millis(ms).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    fn mint(&self, floor: FileId) -> FileId {
        let n = self.next.fetch_add(1, Ordering::SeqCst);
        let random = (u128::from(self.seed & 0xffff) << 64) | u128::from(n);
        above(floor, Ulid::from_parts(self.now_ms.load(Ordering::SeqCst), random))
    }

    fn monotonic_ms(&self) -> u64 {
        self.now_ms.load(Ordering::SeqCst)
    }
}

/// Lifts `id` over `floor`. A floor comes from the store's time: a machine whose clock is behind it would otherwise mint ids that are dead on arrival.
fn above(floor: FileId, id: Ulid) -> FileId {
    if id > floor.0 {
        return FileId(id);
    }
    FileId(Ulid::from_parts(floor.0.timestamp_ms().saturating_add(1), id.random()))
}

fn unix_ms(time: DateTime<Utc>) -> u64 {
    u64::try_from(time.timestamp_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_above_the_floor_of_a_faster_clock() {
        let clock = ManualClock::new(DateTime::from_timestamp_millis(1_000).unwrap(), 7);
        let floor = FileId(Ulid::from_parts(5_000, 99));
        assert!(clock.mint(floor) > floor);
        assert!(SystemClock::default().mint(FileId(Ulid::from_parts(1 << 47, 0))) > FileId(Ulid::from_parts(1 << 47, 0)));
    }

    #[test]
    fn the_same_seed_mints_the_same_ids() {
        let at = DateTime::from_timestamp_millis(1_000).unwrap();
        let (a, b) = (ManualClock::new(at, 7), ManualClock::new(at, 7));
        assert_eq!(a.mint(FileId::NIL), b.mint(FileId::NIL));
        assert_ne!(a.mint(FileId::NIL), ManualClock::new(at, 8).mint(FileId::NIL));
    }
}
