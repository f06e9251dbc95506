//! A pass over a store that is far away: every request takes 30 ms, and all replies together come
//! at 100 MB/s.
//!
//! Prints the time of the pass beside the larger of what its CPU work and its bytes alone would
//! take.

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark measures with the real clock"
)]

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use icepack::{CompactionConfig, CompactionManager};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use tokio::sync::Mutex;

const LATENCY: Duration = Duration::from_millis(30);
const BYTES_PER_SECOND: f64 = 100e6;

/// A line that carries one byte after the other, in one direction.
#[derive(Debug, Clone)]
struct Wire(Arc<Mutex<Instant>>);

impl Wire {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    async fn carry(&self, bytes: usize) {
        let mut free = self.0.lock().await;
        let start = (*free).max(Instant::now());
        *free = start + Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND);
        let end = *free;
        drop(free);
        tokio::time::sleep_until(end.into()).await;
    }
}

#[derive(Debug, Clone)]
struct Far {
    inner: Arc<InMemory>,
    down: Wire,
    up: Wire,
}

impl fmt::Display for Far {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a far {}", self.inner)
    }
}

#[derive(Debug)]
struct FarUpload {
    inner: Box<dyn MultipartUpload>,
    up: Wire,
}

#[async_trait]
impl MultipartUpload for FarUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (up, bytes, part) = (
            self.up.clone(),
            data.content_length(),
            self.inner.put_part(data),
        );
        Box::pin(async move {
            tokio::time::sleep(LATENCY).await;
            up.carry(bytes).await;
            part.await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        tokio::time::sleep(LATENCY).await;
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

#[async_trait]
impl ObjectStore for Far {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        tokio::time::sleep(LATENCY).await;
        self.up.carry(payload.content_length()).await;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        tokio::time::sleep(LATENCY).await;
        Ok(Box::new(FarUpload {
            inner: self.inner.put_multipart_opts(location, options).await?,
            up: self.up.clone(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        tokio::time::sleep(LATENCY).await;
        if options.head {
            return self.inner.get_opts(location, options).await;
        }
        let reply = self.inner.get_opts(location, options).await?;
        let (meta, range, attributes, extensions) = (
            reply.meta.clone(),
            reply.range.clone(),
            reply.attributes.clone(),
            reply.extensions.clone(),
        );
        let bytes = reply.bytes().await?;
        self.down.carry(bytes.len()).await;
        let payload =
            GetResultPayload::Stream(futures::stream::once(async move { Ok(bytes) }).boxed());
        Ok(GetResult {
            payload,
            meta,
            range,
            attributes,
            extensions,
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        tokio::time::sleep(LATENCY).await;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        // As S3 does it: a thousand in a request.
        let inner = Arc::clone(&self.inner);
        let batches = locations.chunks(1_000).then(move |batch| {
            let inner = Arc::clone(&inner);
            async move {
                tokio::time::sleep(LATENCY).await;
                futures::stream::iter(
                    inner
                        .delete_stream(futures::stream::iter(batch).boxed())
                        .collect::<Vec<_>>()
                        .await,
                )
            }
        });
        batches.flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let pages = self
            .inner
            .list(prefix)
            .chunks(1_000)
            .then(|page| async move {
                tokio::time::sleep(LATENCY).await;
                futures::stream::iter(page)
            });
        pages.flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        tokio::time::sleep(LATENCY).await;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        tokio::time::sleep(LATENCY).await;
        self.inner.copy_opts(from, to, options).await
    }
}

/// A file of some 100 KB: its slot of a month, and half of the next file's.
fn events(i: usize, files: usize) -> Vec<u8> {
    const ROWS: usize = 1_000;
    let mut rng = fastrand::Rng::with_seed(i as u64);
    let slot = 28 * 86_400_000_000 / files as i64;
    let base = 1_772_323_200_000_000 + slot * i as i64;
    let mut times: Vec<i64> = (0..ROWS).map(|_| base + rng.i64(0..slot * 3 / 2)).collect();
    times.sort_unstable();
    let ids: Vec<String> = (0..ROWS)
        .map(|_| format!("{:032x}", rng.u128(..)))
        .collect();
    let payloads = ids.iter().map(|id| {
        format!(
            r#"{{"amount_cents":{},"currency":"EUR","session":"{}","note":"{}"}}"#,
            rng.u32(..),
            &id[..13],
            &id[13..]
        )
    });
    let payloads: ArrayRef = Arc::new(StringArray::from_iter_values(payloads.collect::<Vec<_>>()));
    let kinds: ArrayRef = Arc::new(StringArray::from_iter_values(
        times.iter().map(|t| format!("order.{}", t % 10)),
    ));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("event_id", Arc::new(StringArray::from_iter_values(&ids))),
        ("event_type", kinds),
        ("payload", payloads),
        (
            "timestamp",
            Arc::new(TimestampMicrosecondArray::from(times)),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

/// CPU seconds of this process so far.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text[text.rfind(')').unwrap()..]
        .split_whitespace()
        .collect();
    // utime and stime, in hundredths of a second on Linux.
    fields[12..14]
        .iter()
        .map(|f| f.parse::<f64>().unwrap())
        .sum::<f64>()
        / 100.0
}

async fn total(store: &InMemory, name: &str) -> (usize, u64) {
    let all: Vec<ObjectMeta> = store.list(None).try_collect().await.unwrap();
    let found = all.iter().filter(|m| m.location.as_ref().contains(name));
    found.fold((0, 0), |(n, bytes), m| (n + 1, bytes + m.size))
}

fn main() {
    let files: usize = std::env::var("ICEPACK_BENCH_FILES").map_or(2_000, |n| n.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let near = Arc::new(InMemory::new());
        for i in 0..files {
            let path = Path::from(format!("acme/2026-03/events-{i:06}.parquet"));
            near.put(&path, events(i, files).into()).await.unwrap();
        }
        let (_, bytes_in) = total(&near, "events-").await;
        let far = Far {
            inner: Arc::clone(&near),
            down: Wire::new(),
            up: Wire::new(),
        };
        let manager = CompactionManager::new(Arc::new(far), CompactionConfig::default());
        let (wall, before) = (Instant::now(), cpu());
        let report = manager.compact().await.unwrap();
        let (wall, cpu) = (wall.elapsed().as_secs_f64(), cpu() - before);
        let (_, bytes_out) = total(&near, "snapshot.").await;
        let wire = bytes_in.max(bytes_out) as f64 / BYTES_PER_SECOND;
        println!(
            "{files} files, {:.1} MB in, {:.1} MB out; 30 ms a request, 100 MB/s each way",
            bytes_in as f64 / 1e6,
            bytes_out as f64 / 1e6
        );
        println!(
            "wall {wall:.2} s; CPU {cpu:.2} s; bytes over bandwidth {wire:.2} s; wall ÷ the \
             larger {:.2}",
            wall / cpu.max(wire)
        );
        println!("{report:?}");
    });
}
