//! A store in memory whose times come from a clock of the test: the same run leaves the same bytes,
//! tags and times.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;

use crate::intercept::{InterceptStore, Kind};

/// The one time of a world: stores and processes share it. It stands still until it is moved.
#[derive(Debug, Clone)]
pub struct Time(Arc<AtomicI64>);

impl Time {
    pub fn at(time: DateTime<Utc>) -> Self {
        Self(Arc::new(AtomicI64::new(time.timestamp_millis())))
    }

    pub fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0.load(Ordering::SeqCst)).unwrap()
    }

    /// Milliseconds since 1970.
    pub fn millis(&self) -> u64 {
        self.0.load(Ordering::SeqCst).cast_unsigned()
    }

    pub fn advance(&self, by: TimeDelta) {
        self.0.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
    }
}

/// See the module.
#[derive(Debug)]
pub struct TimedMemory {
    inner: Arc<InMemory>,
    times: Arc<Mutex<HashMap<Path, DateTime<Utc>>>>,
    time: Time,
}

impl TimedMemory {
    pub fn new(time: Time) -> Self {
        Self {
            inner: Arc::default(),
            times: Arc::default(),
            time,
        }
    }

    /// A copy that goes its own way from here, in a world of time `time`.
    pub fn fork(&self, time: Time) -> Self {
        let times = self.times.lock().unwrap().clone();
        Self {
            inner: Arc::new(self.inner.fork()),
            times: Arc::new(Mutex::new(times)),
            time,
        }
    }

    pub fn store(&self) -> Arc<dyn ObjectStore> {
        let inner = Arc::clone(&self.inner) as Arc<dyn ObjectStore>;
        let (times, time) = (Arc::clone(&self.times), self.time.clone());
        Arc::new(InterceptStore::new(inner, move |request, call| {
            let (times, time) = (Arc::clone(&times), time.clone());
            async move {
                let mut reply = call.await?;
                let mut times = times.lock().unwrap();
                if matches!(request.kind, Kind::Put | Kind::Complete | Kind::Copy) {
                    times.insert(request.key, time.now());
                }
                reply.each_meta(|meta| {
                    meta.last_modified = times.get(&meta.location).copied().unwrap_or_default();
                });
                Ok(reply)
            }
        }))
    }
}
