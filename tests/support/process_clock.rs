//! A clock for each process of a world whose one time the test moves.

use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use icepack::clock::Clock;
use icepack_core::model::names::FileId;
use icepack_dst::memory::Time;
use ulid::Ulid;

/// The world's time, and ids of its own. `ManualClock` has a time of its own, which two processes
/// cannot share.
#[derive(Debug)]
pub struct ProcessClock {
    time: Time,
    seed: u64,
    next: AtomicU64,
}

impl ProcessClock {
    pub fn new(time: Time, seed: u64) -> Self {
        Self {
            time,
            seed,
            next: AtomicU64::new(1),
        }
    }
}

impl Clock for ProcessClock {
    fn now(&self) -> DateTime<Utc> {
        self.time.now()
    }

    fn mint(&self, floor: FileId) -> FileId {
        let ms = self.time.millis().max(floor.0.timestamp_ms() + 1);
        let n = self.next.fetch_add(1, Ordering::SeqCst);
        FileId(Ulid::from_parts(
            ms,
            (u128::from(self.seed & 0xffff) << 64) | u128::from(n),
        ))
    }

    fn monotonic_ms(&self) -> u64 {
        self.time.millis()
    }

    // A directory tells the real time, and this clock does not.
    fn ahead_of(&self, _: DateTime<Utc>) -> TimeDelta {
        TimeDelta::zero()
    }
}
