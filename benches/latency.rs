//! A pass over a store that is far away: every request takes 30 ms, and all replies together come
//! at 100 MB/s.
//!
//! Prints the time of the pass beside the larger of what its CPU work and its bytes alone would
//! take.

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark measures with the real clock"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use futures::TryStreamExt;
use icepack::{CompactionConfig, CompactionManager};
use icepack_dst::intercept::{InterceptStore, Kind};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
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

    /// A request without a body does not wait behind the bodies of others: connections take turns.
    async fn carry(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let mut free = self.0.lock().await;
        let start = (*free).max(Instant::now());
        *free = start + Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND);
        let end = *free;
        drop(free);
        tokio::time::sleep_until(end.into()).await;
    }
}

fn far(inner: Arc<dyn ObjectStore>) -> impl ObjectStore {
    let (down, up) = (Wire::new(), Wire::new());
    let store = InterceptStore::new(inner, move |request, call| {
        let (down, up) = (down.clone(), up.clone());
        async move {
            tokio::time::sleep(LATENCY).await;
            up.carry(request.body.content_length()).await;
            let reply = call.await?;
            if request.kind != Kind::Get {
                return Ok(reply);
            }
            let mut size = 0;
            let reply = reply
                .map_body(|body| {
                    size = body.len();
                    body
                })
                .await?;
            down.carry(size).await;
            Ok(reply)
        }
    });
    // As S3 does it: a thousand keys in a request.
    store.bulk(1_000)
}

/// A file of some 93 bytes a row: its slot of a month, and half of the next file's.
fn events(i: usize, files: usize, rows: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(i as u64);
    let slot = 28 * 86_400_000_000 / files as i64;
    let base = 1_772_323_200_000_000 + slot * i as i64;
    let mut times: Vec<i64> = (0..rows).map(|_| base + rng.i64(0..slot * 3 / 2)).collect();
    times.sort_unstable();
    let ids: Vec<String> = (0..rows)
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

async fn far_pass(files: usize, rows: usize) {
    let near = Arc::new(InMemory::new());
    // The first pass of all looks around, and marks the store. No other does.
    let first = CompactionManager::new(Arc::clone(&near) as _, CompactionConfig::default());
    first.compact().await.unwrap();
    for i in 0..files {
        let path = Path::from(format!("acme/2026-03/events-{i:06}.parquet"));
        near.put(&path, events(i, files, rows).into())
            .await
            .unwrap();
    }
    let (_, bytes_in) = total(&near, "events-").await;
    let far = far(Arc::clone(&near) as Arc<dyn ObjectStore>);
    let manager = CompactionManager::new(Arc::new(far), CompactionConfig::default());
    let (wall, before) = (Instant::now(), cpu());
    let report = manager.compact().await.unwrap();
    let (wall, cpu) = (wall.elapsed().as_secs_f64(), cpu() - before);
    assert_eq!(report.files_compacted, files as u64);
    let (_, bytes_out) = total(&near, "snapshot.").await;
    let wire = bytes_in.max(bytes_out) as f64 / BYTES_PER_SECOND;
    println!(
        "{files} files, {:.1} MB in, {:.1} MB out; 30 ms a request, 100 MB/s each way",
        bytes_in as f64 / 1e6,
        bytes_out as f64 / 1e6
    );
    println!(
        "wall {wall:.2} s; CPU {cpu:.2} s; bytes over bandwidth {wire:.2} s; wall ÷ the larger \
         {:.2}",
        wall / cpu.max(wire)
    );
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        far_pass(2_000, 1_000).await;
        far_pass(400, 10_000).await;
    });
}
