//! Memory whose times come from a clock of the test, not from the machine: the same run leaves the
//! same bytes, tags and times.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use futures::stream::BoxStream;
use icepack::clock::Clock;
use icepack_core::model::names::FileId;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use ulid::Ulid;

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

    pub fn advance(&self, by: TimeDelta) {
        self.0.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
    }
}

/// A process's clock: the world's time, and ids of its own. `ManualClock` has a time of its own,
/// which two processes cannot share.
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
        let ms = self.time.0.load(Ordering::SeqCst).cast_unsigned();
        let ms = if ms > floor.0.timestamp_ms() {
            ms
        } else {
            floor.0.timestamp_ms() + 1
        };
        let n = self.next.fetch_add(1, Ordering::SeqCst);
        FileId(Ulid::from_parts(
            ms,
            (u128::from(self.seed & 0xffff) << 64) | u128::from(n),
        ))
    }

    fn monotonic_ms(&self) -> u64 {
        self.time.0.load(Ordering::SeqCst).cast_unsigned()
    }

    // A directory tells the real time, and this clock does not.
    fn ahead_of(&self, _: DateTime<Utc>) -> TimeDelta {
        TimeDelta::zero()
    }
}

type Times = Arc<Mutex<HashMap<Path, DateTime<Utc>>>>;

/// See the module.
#[derive(Debug)]
pub struct DetStore {
    inner: InMemory,
    times: Times,
    time: Time,
}

impl DetStore {
    pub fn new(time: Time) -> Self {
        Self {
            inner: InMemory::new(),
            times: Times::default(),
            time,
        }
    }

    /// A copy that goes its own way from here, in a world of time `time`.
    pub fn fork(&self, time: Time) -> Self {
        let times = self.times.lock().unwrap().clone();
        Self {
            inner: self.inner.fork(),
            times: Arc::new(Mutex::new(times)),
            time,
        }
    }

    fn dated(&self, mut meta: ObjectMeta) -> ObjectMeta {
        meta.last_modified = self
            .times
            .lock()
            .unwrap()
            .get(&meta.location)
            .copied()
            .unwrap_or_default();
        meta
    }

    fn stamp(&self, location: &Path) {
        self.times
            .lock()
            .unwrap()
            .insert(location.clone(), self.time.now());
    }
}

impl fmt::Display for DetStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory://test")
    }
}

#[async_trait]
impl ObjectStore for DetStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let done = self.inner.put_opts(location, payload, opts).await?;
        self.stamp(location);
        Ok(done)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(DetUpload {
            inner,
            location: location.clone(),
            times: Arc::clone(&self.times),
            time: self.time.clone(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let mut reply = self.inner.get_opts(location, options).await?;
        reply.meta = self.dated(reply.meta);
        Ok(reply)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let times = self.times.lock().unwrap().clone();
        let dated = move |mut meta: ObjectMeta| {
            meta.last_modified = times.get(&meta.location).copied().unwrap_or_default();
            meta
        };
        self.inner
            .list(prefix)
            .map(move |meta| meta.map(&dated))
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut found = self.inner.list_with_delimiter(prefix).await?;
        found.objects = found.objects.into_iter().map(|m| self.dated(m)).collect();
        Ok(found)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.stamp(to);
        Ok(())
    }
}

#[derive(Debug)]
struct DetUpload {
    inner: Box<dyn MultipartUpload>,
    location: Path,
    times: Times,
    time: Time,
}

#[async_trait]
impl MultipartUpload for DetUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let done = self.inner.complete().await?;
        self.times
            .lock()
            .unwrap()
            .insert(self.location.clone(), self.time.now());
        Ok(done)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
