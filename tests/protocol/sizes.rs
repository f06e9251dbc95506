//! Snapshots have the size that is asked for, whatever the inputs' codec.

use crate::support;

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use icepack::pass::Selection;
use icepack::{CompactionConfig, CompactionManager};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;
use support::{Event, Store, batch, event, live, memory, put};

/// Bytes.
const TARGET: u64 = 256 << 10;

const FILES: usize = 24;

#[derive(Debug, Clone, Copy)]
enum Shape {
    /// Rows of which the file keeps a tenth or less.
    Alike,
    /// Letters that hardly compress.
    Random,
}

impl Shape {
    /// Events of a file, a second apart, and all files within one month.
    fn events(self, file: usize, rng: &mut Rng) -> Vec<Event> {
        let count = match self {
            Self::Alike => 5_000,
            Self::Random => 150,
        };
        let start: DateTime<Utc> = DateTime::from_timestamp(1_760_000_000, 0).unwrap();
        (file * count..(file + 1) * count)
            .map(|n| Event {
                payload: match self {
                    Self::Alike => format!(
                        "GET /assets/{}/index.html status={} user={:08x}",
                        n / 50,
                        [200, 200, 200, 404][rng.usize(..4)],
                        rng.u32(..)
                    ),
                    Self::Random => (0..600).map(|_| rng.alphanumeric()).collect(),
                },
                ..event(n, start + TimeDelta::seconds(i64::try_from(n).unwrap()))
            })
            .collect()
    }
}

fn encoded(events: &[Event], codec: Compression) -> Vec<u8> {
    let batch = batch(events);
    let properties = WriterProperties::builder()
        .set_compression(codec)
        .set_dictionary_enabled(false)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

async fn snapshots(store: &Store) -> Vec<u64> {
    let mut sizes = Vec::new();
    for key in support::tenant_keys(store, "acme").await {
        sizes.push(store.head(&Path::from(key)).await.unwrap().size);
    }
    sizes.sort_unstable();
    sizes
}

/// The sizes of the finished snapshots once there is nothing left to do.
async fn settled(shape: Shape, codec: Compression, spill: PathBuf) -> Vec<u64> {
    let store = memory();
    let mut rng = Rng::with_seed(7);
    let mut all = Vec::new();
    for file in 0..FILES {
        let events = shape.events(file, &mut rng);
        put(
            &store,
            &format!("acme/{file:02}.parquet"),
            encoded(&events, codec),
        )
        .await;
        all.extend(events);
    }
    let config = CompactionConfig {
        target_file_size: TARGET,
        max_file_size: 2 * TARGET,
        memory_limit: 128 << 20,
        spill_dir: Some(spill),
        ..CompactionConfig::default()
    };
    let manager = CompactionManager::new(Arc::clone(&store), config);
    let mut passes = 0;
    while manager
        .run_pass(&Selection::all())
        .await
        .unwrap()
        .totals
        .counters
        .files_compacted
        > 0
    {
        passes += 1;
        assert!(
            passes <= 3,
            "{shape:?} {codec}: {:?}",
            snapshots(&store).await
        );
    }
    assert_eq!(live(&store, "acme").await, support::sorted(all));
    let mut sizes = snapshots(&store).await;
    sizes.retain(|s| *s >= TARGET / 3 * 2);
    sizes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_median_snapshot_meets_the_target_whatever_the_codec() {
    let spill = tempfile::tempdir().unwrap();
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
    ];
    let mut wrong = Vec::new();
    for shape in [Shape::Alike, Shape::Random] {
        for codec in codecs {
            let sizes = settled(shape, codec, spill.path().to_owned()).await;
            assert!(sizes.len() >= 2, "{shape:?} {codec}: {sizes:?}");
            let median = 100 * sizes[sizes.len() / 2] / TARGET;
            println!("{shape:?} {codec}: {median}% of the target, {sizes:?}");
            if !(80..=120).contains(&median) {
                wrong.push((shape, codec, median));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
