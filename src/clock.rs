//! The only home of the current time and of new ids.
//!
//! Everything else takes time as an argument or asks a [`Clock`], so that planning is pure and a
//! whole run can be replayed from one seed.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use ulid::Ulid;

use icepack_core::model::names::FileId;

/// Where a run takes its time and its ids from.
pub trait Clock: Send + Sync + Debug {
    /// The current time. Safety never rests on it: it decides what expires, not what may be
    /// deleted.
    fn now(&self) -> DateTime<Utc>;

    /// The latest that the current time may be, for what must not be taken for older than it is.
    fn latest(&self) -> DateTime<Utc> {
        self.now()
    }

    /// A new id, unique, and above `floor` even when this machine's clock is behind the one that
    /// set the floor.
    fn mint(&self, floor: FileId) -> FileId;

    /// A monotonic reading in milliseconds, for durations in reports.
    fn monotonic_ms(&self) -> u64;

    /// How far this clock is ahead of a store whose time is `store`; negative where it is behind. A
    /// clock that does not tell the real time differs from nobody's.
    fn ahead_of(&self, store: DateTime<Utc>) -> TimeDelta {
        self.now().signed_duration_since(store)
    }
}

/// What a clock and a store may differ by and still agree: stores tell time to the second, and
/// replies take their time.
pub const AGREE: TimeDelta = TimeDelta::seconds(60);

/// Where they differ by more than this, nothing expires, and no id is minted that is further ahead
/// of the store.
pub const TOO_FAR: TimeDelta = TimeDelta::hours(1);

/// The clock of a pass: that of the machine, held against the store's. Where the two differ, its
/// time is the earlier one, so that a wrong clock makes nothing old.
#[derive(Debug)]
pub struct PassClock {
    own: Arc<dyn Clock>,
    /// What the store said …
    store: DateTime<Utc>,
    /// … at this reading of the own clock.
    read_ms: u64,
}

impl PassClock {
    /// Of a machine with the clock `own`, that has just heard the time of a store.
    pub fn new(own: Arc<dyn Clock>, store: DateTime<Utc>) -> Self {
        let read_ms = own.monotonic_ms();
        Self {
            own,
            store,
            read_ms,
        }
    }

    /// The store's time now.
    fn store_now(&self) -> DateTime<Utc> {
        let elapsed =
            i64::try_from(self.own.monotonic_ms().saturating_sub(self.read_ms)).unwrap_or(i64::MAX);
        TimeDelta::try_milliseconds(elapsed)
            .and_then(|e| self.store.checked_add_signed(e))
            .unwrap_or(self.store)
    }

    fn ahead(&self) -> TimeDelta {
        self.own.ahead_of(self.store_now())
    }

    /// How far the machine's clock is ahead of the store's, where that is [`TOO_FAR`]; negative
    /// where it is behind.
    pub fn too_far(&self) -> Option<TimeDelta> {
        Some(self.ahead()).filter(|ahead| ahead.abs() > TOO_FAR)
    }

    /// The later of both times.
    pub fn later(&self) -> DateTime<Utc> {
        if self.ahead() < -AGREE {
            self.store_now()
        } else {
            self.own.now()
        }
    }

    /// The time that others count from: the store's where the two differ, for it is the same for
    /// every machine.
    pub fn shared(&self) -> DateTime<Utc> {
        if self.ahead().abs() > AGREE {
            self.store_now()
        } else {
            self.own.now()
        }
    }
}

impl Clock for PassClock {
    fn now(&self) -> DateTime<Utc> {
        if self.ahead() > AGREE {
            self.store_now()
        } else {
            self.own.now()
        }
    }

    fn latest(&self) -> DateTime<Utc> {
        self.later()
    }

    fn mint(&self, floor: FileId) -> FileId {
        let id = self.own.mint(floor);
        if self.ahead() <= TOO_FAR {
            return id;
        }
        // No floor is above the store's time: what is minted far ahead of it would be above every
        // floor for as long.
        let most = self
            .store_now()
            .checked_add_signed(TOO_FAR)
            .map_or(u64::MAX, unix_ms);
        above(
            floor,
            Ulid::from_parts(id.0.timestamp_ms().min(most), id.0.random()),
        )
    }

    fn monotonic_ms(&self) -> u64 {
        self.own.monotonic_ms()
    }

    fn ahead_of(&self, store: DateTime<Utc>) -> TimeDelta {
        self.own.ahead_of(store)
    }
}

/// The system's clock and its random source.
#[derive(Debug)]
pub struct SystemClock {
    started: std::time::Instant,
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place that may ask the system"
)]
impl Default for SystemClock {
    fn default() -> Self {
        Self {
            started: std::time::Instant::now(),
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place that may ask the system"
)]
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

/// A clock that stands still until it is moved, with ids counted from a seed: the same seed gives
/// the same run. It is not held against the time of a store.
///
/// ```
/// use chrono::{DateTime, TimeDelta};
/// use icepack::clock::{Clock, ManualClock};
/// use icepack_core::model::names::FileId;
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
        Self {
            now_ms: AtomicU64::new(unix_ms(now)),
            next: AtomicU64::new(1),
            seed,
        }
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
        above(
            floor,
            Ulid::from_parts(self.now_ms.load(Ordering::SeqCst), random),
        )
    }

    fn monotonic_ms(&self) -> u64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn ahead_of(&self, _: DateTime<Utc>) -> TimeDelta {
        TimeDelta::zero()
    }
}

/// Lifts `id` over `floor`. A floor comes from the store's time: a machine whose clock is behind it
/// would otherwise mint ids that are dead on arrival.
fn above(floor: FileId, id: Ulid) -> FileId {
    if id > floor.0 {
        return FileId(id);
    }
    FileId(Ulid::from_parts(
        floor.0.timestamp_ms().saturating_add(1),
        id.random(),
    ))
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
        assert!(
            SystemClock::default().mint(FileId(Ulid::from_parts(1 << 47, 0)))
                > FileId(Ulid::from_parts(1 << 47, 0))
        );
    }

    #[test]
    fn the_same_seed_mints_the_same_ids() {
        let at = DateTime::from_timestamp_millis(1_000).unwrap();
        let (a, b) = (ManualClock::new(at, 7), ManualClock::new(at, 7));
        assert_eq!(a.mint(FileId::NIL), b.mint(FileId::NIL));
        assert_ne!(
            a.mint(FileId::NIL),
            ManualClock::new(at, 8).mint(FileId::NIL)
        );
    }

    /// A machine's clock that is wrong by some seconds, an hour of which has gone by.
    fn wrong_by(seconds: i64) -> (PassClock, DateTime<Utc>) {
        #[derive(Debug)]
        struct Wrong(ManualClock);
        impl Clock for Wrong {
            fn now(&self) -> DateTime<Utc> {
                self.0.now()
            }
            fn mint(&self, floor: FileId) -> FileId {
                self.0.mint(floor)
            }
            fn monotonic_ms(&self) -> u64 {
                self.0.monotonic_ms()
            }
        }
        let began = DateTime::from_timestamp(1_777_000_000, 0).unwrap();
        let own = Arc::new(Wrong(ManualClock::new(
            began + TimeDelta::seconds(seconds),
            7,
        )));
        let pass = PassClock::new(Arc::clone(&own) as _, began);
        own.0.advance(TimeDelta::hours(1));
        (pass, began + TimeDelta::hours(1))
    }

    #[test]
    fn the_earlier_time_counts_and_others_are_told_the_stores() {
        for (by, now, later, shared, too_far) in [
            (0, 0, 0, 0, false),
            (60, 60, 60, 60, false),
            (-60, -60, -60, -60, false),
            (61, 0, 61, 0, false),
            (-61, -61, 0, 0, false),
            (3_600, 0, 3_600, 0, false),
            (3_601, 0, 3_601, 0, true),
            (-3_601, -3_601, 0, 0, true),
        ] {
            let (clock, store) = wrong_by(by);
            let seconds = |at: DateTime<Utc>| (at - store).num_seconds();
            assert_eq!(
                (
                    seconds(clock.now()),
                    seconds(clock.later()),
                    seconds(clock.shared())
                ),
                (now, later, shared),
                "{by}"
            );
            assert_eq!(
                clock.too_far(),
                too_far.then(|| TimeDelta::seconds(by)),
                "{by}"
            );
        }
    }

    #[test]
    fn no_id_is_minted_more_than_an_hour_ahead_of_the_store() {
        for (by, minted) in [
            (0, 0),
            (3_600, 3_600),
            (3_601, 3_600),
            (400_000_000, 3_600),
            (-400_000_000, -400_000_000),
        ] {
            let (clock, store) = wrong_by(by);
            assert_eq!(
                (clock.mint(FileId::NIL).minted_at() - store).num_seconds(),
                minted,
                "{by}"
            );
        }
        let (clock, store) = wrong_by(400_000_000);
        let floor = FileId::floor_at(store + TimeDelta::hours(9));
        assert!(clock.mint(floor) > floor, "a floor wins all the same");
    }

    #[test]
    fn a_clock_that_is_moved_by_hand_is_right() {
        let began = DateTime::from_timestamp(1_777_000_000, 0).unwrap();
        let own = Arc::new(ManualClock::new(began, 7));
        let pass = PassClock::new(Arc::clone(&own) as _, began + TimeDelta::days(400));
        assert_eq!(
            (pass.now(), pass.later(), pass.shared(), pass.too_far()),
            (began, began, began, None)
        );
        assert_eq!(pass.mint(FileId::NIL).minted_at(), began);
    }
}
