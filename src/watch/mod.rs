//! The health and the metrics of a service that makes passes. The loop itself is in the command
//! line.

mod http;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::progress::{Event, Progress};

pub use http::serve;

/// After this many intervals without a sign of life a service is unhealthy.
const PATIENCE: u32 = 3;

/// It is healthy for at least this long: a store may take its time.
const AT_LEAST: Duration = Duration::from_secs(15 * 60);

/// The health of a service.
#[derive(Debug)]
pub struct HealthState {
    clock: Arc<dyn Clock>,
    /// When something last went well, in the clock's milliseconds.
    heartbeat_ms: AtomicU64,
    patience_ms: AtomicU64,
    metrics: Mutex<Option<String>>,
}

impl HealthState {
    /// The health of a service that begins now and makes a pass every `interval`.
    pub fn new(clock: Arc<dyn Clock>, interval: Duration) -> Arc<Self> {
        let heartbeat_ms = AtomicU64::new(clock.monotonic_ms());
        let health = Self {
            clock,
            heartbeat_ms,
            patience_ms: AtomicU64::new(0),
            metrics: Mutex::new(None),
        };
        health.set_interval(interval);
        Arc::new(health)
    }

    /// Sets the interval of passes.
    pub fn set_interval(&self, interval: Duration) {
        let patience = interval.saturating_mul(PATIENCE).max(AT_LEAST);
        self.patience_ms.store(
            u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
            Ordering::SeqCst,
        );
    }

    /// Something went well: a pass, a part of one, or reading the records of others.
    pub fn heartbeat(&self) {
        self.heartbeat_ms
            .store(self.clock.monotonic_ms(), Ordering::SeqCst);
    }

    /// Why the service is unhealthy; none while it is well.
    pub fn unhealthy_reason(&self) -> Option<String> {
        let silent = self
            .clock
            .monotonic_ms()
            .saturating_sub(self.heartbeat_ms.load(Ordering::SeqCst));
        let patience = self.patience_ms.load(Ordering::SeqCst);
        (silent > patience).then(|| {
            format!(
                "nothing has gone well for {} s, more than {} s",
                silent / 1_000,
                patience / 1_000
            )
        })
    }

    /// Shows these metrics from now on.
    pub fn show_metrics(&self, text: String) {
        *self.metrics() = Some(text);
    }

    fn metrics(&self) -> MutexGuard<'_, Option<String>> {
        // A panic elsewhere leaves a text as good as it was.
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pass that moves is a sign of life, however long it takes.
impl Progress for HealthState {
    fn on(&self, _: Event<'_>) {
        self.heartbeat();
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn a_service_is_unhealthy_when_nothing_goes_well_for_three_intervals() {
        let clock = Arc::new(ManualClock::new(
            DateTime::from_timestamp(1_777_000_000, 0).unwrap(),
            1,
        ));
        let health = HealthState::new(Arc::clone(&clock) as _, Duration::from_secs(3_600));
        clock.advance(TimeDelta::hours(3));
        assert_eq!(health.unhealthy_reason(), None);
        clock.advance(TimeDelta::seconds(1));
        assert_eq!(
            health.unhealthy_reason().unwrap(),
            "nothing has gone well for 10801 s, more than 10800 s"
        );
        health.on(Event::Planned {
            tenants: 1,
            bytes: 1,
        });
        assert_eq!(health.unhealthy_reason(), None);
        // An interval of seconds does not make it impatient.
        health.set_interval(Duration::from_secs(1));
        clock.advance(TimeDelta::minutes(15));
        assert_eq!(health.unhealthy_reason(), None);
        clock.advance(TimeDelta::minutes(1));
        assert!(health.unhealthy_reason().is_some());
    }
}
