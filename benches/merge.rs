//! Merges of one group over a store in memory, without the pass around them: `cargo bench --bench
//! merge`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use icepack::budget::MergeBudget;
use icepack::merge::{MergeEnv, MergeOutcome, MergeSpec, merge};
use icepack_core::model::file::Micros;
use icepack_core::model::names::{FileId, Place, Tenant};
use icepack_core::model::plan::PlannedInput;
use icepack_core::model::units::MIB;
use icepack_core::plan::compaction::{MIN_PIECE, Period};
use icepack_core::plan::cutting::FileSize;
use icepack_parquet::Columns;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use ulid::Ulid;

const DAY: i64 = 86_400_000_000;

/// 2026-03-01T00:00:00Z; all rows are of that month.
const START: i64 = 1_772_323_200_000_000;

/// How the files of a group lie in time.
#[derive(Debug, Clone, Copy)]
struct Shape {
    files: usize,
    rows: usize,
    /// Each shares half of its time with the next.
    overlap: bool,
    sorted: bool,
}

impl Shape {
    /// File `i`: random ids, payloads of some 100 bytes.
    fn events(self, i: usize) -> Vec<u8> {
        let mut rng = fastrand::Rng::with_seed(i as u64);
        let slot = 28 * DAY / self.files as i64;
        let (from, span) = (
            START + slot * i as i64,
            if self.overlap { slot * 3 / 2 } else { slot },
        );
        let mut times: Vec<i64> = (0..self.rows).map(|_| from + rng.i64(0..span)).collect();
        if self.sorted {
            times.sort_unstable();
        }
        let ids: Vec<String> = times
            .iter()
            .map(|_| format!("{:032x}", rng.u128(..)))
            .collect();
        let mut payload = || {
            format!(
                r#"{{"amount_cents":{},"currency":"EUR","session":"{:013x}","note":"{:032x}"}}"#,
                rng.u32(..),
                rng.u64(..) >> 12,
                rng.u128(..)
            )
        };
        let payloads: Vec<String> = ids.iter().map(|_| payload()).collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("event_id", Arc::new(StringArray::from_iter_values(&ids))),
            (
                "event_type",
                Arc::new(StringArray::from_iter_values(
                    times.iter().map(|t| format!("order.{}", t % 10)),
                )),
            ),
            (
                "payload",
                Arc::new(StringArray::from_iter_values(&payloads)),
            ),
            (
                "timestamp",
                Arc::new(TimestampMicrosecondArray::from(times)),
            ),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .build();
        let mut writer =
            ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }
}

/// What runs the merges.
struct Bench {
    runtime: Runtime,
    spill: TempDir,
    ids: Arc<AtomicU64>,
}

/// A store, and what is merged in it.
struct Group {
    store: InMemory,
    inputs: Vec<PlannedInput>,
    rows: u64,
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        Self {
            runtime,
            spill: tempfile::tempdir().unwrap(),
            ids: Arc::default(),
        }
    }

    /// As a pass has it by default, with the memory that a group of 16 MiB gets.
    fn spec(&self, inputs: &[PlannedInput]) -> MergeSpec {
        MergeSpec {
            tenant: Tenant::parse("acme").unwrap(),
            place: Place::Folder("acme".into()),
            inputs: inputs.to_vec(),
            columns: Columns {
                timestamp: icepack_core::model::time_column::TimeColumn::default(),
                ids: vec!["event_id".to_owned()],
            },
            uniting: icepack_core::model::policy::Uniting::default(),
            now: Micros(START + 60 * DAY),
            cutoff: None,
            leave: None,
            size: FileSize {
                target: 128 * MIB,
                max: 256 * MIB,
            },
            writing: icepack::Writing::default(),
            cut: Period::Month,
            min_piece: MIN_PIECE,
            check_content: true,
        }
    }

    fn merge(&self, store: &Arc<InMemory>, inputs: &[PlannedInput]) -> MergeOutcome {
        let ids = Arc::clone(&self.ids);
        let mint = Arc::new(move || {
            FileId(Ulid::from_parts(
                1,
                u128::from(ids.fetch_add(1, Ordering::Relaxed)),
            ))
        });
        let store: Arc<dyn ObjectStore> = store.clone();
        self.runtime
            .block_on(merge(
                self.spec(inputs),
                MergeBudget::of(64 * MIB, 112 * MIB, 32),
                MergeEnv {
                    store,
                    mint,
                    expired: None,
                    stop: Arc::default(),
                    on_progress: Arc::new(|_, _| ()),
                    spill_dir: self.spill.path().to_owned(),
                    fetching: Arc::new(Semaphore::new(1)),
                    defers: true,
                },
            ))
            .unwrap()
    }

    /// Raw files.
    fn raw(&self, shape: Shape) -> Group {
        let (store, mut inputs) = (InMemory::new(), Vec::new());
        for i in 0..shape.files {
            let (key, body) = (
                format!("acme/2026-03/events-{i:06}.parquet"),
                shape.events(i),
            );
            let size = body.len() as u64;
            let put = self
                .runtime
                .block_on(store.put(&Path::from(key.as_str()), body.into()))
                .unwrap();
            inputs.push(PlannedInput {
                key,
                size,
                etag: put.e_tag,
                stats: None,
                id: None,
                adopted: None,
            });
        }
        Group {
            store,
            inputs,
            rows: (shape.files * shape.rows) as u64,
        }
    }

    /// Each raw file as a snapshot.
    fn snapshots(&self, shape: Shape) -> Group {
        let raw = self.raw(shape);
        let (store, mut inputs) = (Arc::new(raw.store.fork()), Vec::new());
        for file in &raw.inputs {
            let made = self.merge(&store, std::slice::from_ref(file)).snapshots;
            inputs.extend(made.into_iter().map(|s| PlannedInput {
                key: s.key,
                size: s.size,
                etag: s.etag,
                stats: Some(s.stats),
                id: Some(s.id),
                adopted: None,
            }));
        }
        assert_eq!(inputs.len(), shape.files);
        Group {
            store: store.fork(),
            inputs,
            rows: raw.rows,
        }
    }

    /// A merge that left out rows, or decoded what should be copied, would be measured as another
    /// one.
    fn check(&self, group: &Group, copied: u64) {
        let store = Arc::new(group.store.fork());
        let outcome = self.merge(&store, &group.inputs);
        assert_eq!(
            (
                outcome.snapshots.len(),
                outcome.deduplicated,
                outcome.copied_runs
            ),
            (1, 0, copied)
        );
        let path = Path::from(outcome.snapshots[0].key.as_str());
        let body = self
            .runtime
            .block_on(async { store.get(&path).await.unwrap().bytes().await.unwrap() });
        let batches = ParquetRecordBatchReaderBuilder::try_new(body)
            .unwrap()
            .build()
            .unwrap()
            .map(Result::unwrap);
        let times: Vec<i64> = batches
            .flat_map(|b| {
                b["timestamp"]
                    .as_primitive::<TimestampMicrosecondType>()
                    .values()
                    .to_vec()
            })
            .collect();
        assert_eq!(times.len() as u64, group.rows);
        assert!(times.is_sorted());
    }
}

fn merges(c: &mut Criterion) {
    let bench = Bench::new();
    let small = Shape {
        files: 100,
        rows: 1_000,
        overlap: false,
        sorted: true,
    };
    let large = Shape {
        files: 4,
        rows: 100_000,
        ..small
    };
    let cases = [
        (
            "small overlapping files",
            bench.raw(Shape {
                overlap: true,
                ..small
            }),
            0,
        ),
        ("small disjoint files", bench.raw(small), 0),
        (
            "small unsorted files",
            bench.raw(Shape {
                overlap: true,
                sorted: false,
                ..small
            }),
            0,
        ),
        (
            "large disjoint snapshots",
            bench.snapshots(large),
            large.files as u64,
        ),
    ];
    let mut group = c.benchmark_group("merge");
    for (what, files, copied) in &cases {
        bench.check(files, *copied);
        let bytes = files.inputs.iter().map(|i| i.size).sum();
        group.throughput(Throughput::ElementsAndBytes {
            elements: files.rows,
            bytes,
        });
        // Each writes into a store of its own, or the outputs would pile up.
        let store = || Arc::new(files.store.fork());
        group.bench_function(*what, |b| {
            b.iter_batched(
                store,
                |store| (bench.merge(&store, &files.inputs), store),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = merges
}
criterion_main!(benches);
