//! Worlds for merge tests: events, files of them, and a naive merge to compare with.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow::array::*;
use arrow::datatypes::*;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use crate::budget::MergeBudget;
use crate::closing::{ItemSender, channel};
use crate::merge::*;
use crate::store::object_writer::faulty::Faulty;
use icepack_core::model::file::{Micros, Snapshot};
use icepack_core::model::names::{FileId, Place, Tenant};
use icepack_core::model::plan::PlannedInput;
use icepack_core::model::time_column::TimeColumn;
use icepack_core::plan::compaction::Period;
use icepack_core::plan::cutting::FileSize;
use icepack_parquet::Columns;
use icepack_parquet::read::Input;
use icepack_parquet::source::{Ident, Source};
use icepack_parquet::time::{Dater, floor_micros};

/// 2023-11-14T22:13:20Z
pub const T0: i64 = 1_700_000_000;
pub const DAY: i64 = 86_400;

/// An event; its time in whole seconds, so that every unit can hold it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Event {
    pub id: Option<String>,
    pub seconds: Option<i64>,
    pub payload: String,
}

pub fn event(id: &str, seconds: i64, payload: &str) -> Event {
    Event {
        id: Some(id.into()),
        seconds: Some(seconds),
        payload: payload.into(),
    }
}

pub fn span(prefix: &str, range: std::ops::Range<i64>) -> Vec<Event> {
    range
        .map(|s| {
            event(
                &format!("{prefix}{s}"),
                s,
                &format!("payload of {prefix}{s}"),
            )
        })
        .collect()
}

pub fn times(
    unit: TimeUnit,
    zone: Option<&str>,
    seconds: impl Iterator<Item = Option<i64>>,
) -> ArrayRef {
    let per = icepack_parquet::time::per_second(unit);
    let values = seconds.map(|s| s.map(|s| s * per));
    let zone = zone.map(Arc::from);
    match unit {
        TimeUnit::Second => Arc::new(
            values
                .collect::<TimestampSecondArray>()
                .with_timezone_opt::<Arc<str>>(zone),
        ),
        TimeUnit::Millisecond => Arc::new(
            values
                .collect::<TimestampMillisecondArray>()
                .with_timezone_opt::<Arc<str>>(zone),
        ),
        TimeUnit::Microsecond => Arc::new(
            values
                .collect::<TimestampMicrosecondArray>()
                .with_timezone_opt::<Arc<str>>(zone),
        ),
        TimeUnit::Nanosecond => Arc::new(
            values
                .collect::<TimestampNanosecondArray>()
                .with_timezone_opt::<Arc<str>>(zone),
        ),
    }
}

pub fn rows(events: &[Event], unit: TimeUnit, zone: Option<&str>) -> RecordBatch {
    let times = times(unit, zone, events.iter().map(|e| e.seconds));
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        (
            "event_id",
            Arc::new(StringArray::from_iter(
                events.iter().map(|e| e.id.as_deref()),
            )),
            true,
        ),
        ("timestamp", times, true),
        (
            "payload",
            Arc::new(StringArray::from_iter_values(
                events.iter().map(|e| &e.payload),
            )),
            false,
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// As another program would write it.
pub fn foreign(batch: &RecordBatch, group_rows: usize) -> Bytes {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .build();
    let mut w = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    w.write(batch).unwrap();
    w.into_inner().unwrap().into()
}

pub fn file(events: &[Event]) -> Bytes {
    foreign(&rows(events, TimeUnit::Microsecond, None), 1_000)
}

/// A store, and how it is merged.
pub struct World {
    pub store: Arc<Faulty>,
    pub spec: MergeSpec,
    pub memory: u64,
    pub prefetch: usize,
    /// Files of tests are small, and fetched later all the same.
    pub least_later: u64,
    pub stop: Arc<AtomicBool>,
    pub ids: Arc<AtomicU64>,
    pub progress: Arc<Mutex<(u64, u64)>>,
    pub dir: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spec = MergeSpec {
            tenant: Tenant::parse("acme").unwrap(),
            place: Place::Month(Tenant::parse("acme").unwrap()),
            inputs: Vec::new(),
            columns: Columns {
                timestamp: TimeColumn::default(),
                ids: vec!["event_id".into()],
            },
            uniting: Uniting::default(),
            now: Micros((T0 + 100 * DAY) * 1_000_000),
            cutoff: None,
            leave: None,
            size: FileSize {
                target: 128 << 20,
                max: 256 << 20,
            },
            writing: icepack_core::model::policy::Writing::default(),
            cut: Period::Month,
            min_piece: u64::MAX,
            check_content: true,
        };
        Self {
            store: Arc::default(),
            spec,
            memory: 64 << 20,
            prefetch: 4,
            least_later: 0,
            stop: Arc::default(),
            ids: Arc::default(),
            progress: Arc::default(),
            dir,
        }
    }

    /// Adds a raw file to the store and to the inputs.
    pub async fn raw(&mut self, name: &str, bytes: Bytes) {
        let key = format!("acme/{name}.parquet");
        let size = bytes.len() as u64;
        let etag = self
            .store
            .inner
            .put(&Path::from(key.as_str()), bytes.into())
            .await
            .unwrap()
            .e_tag;
        self.spec.inputs.push(PlannedInput {
            key,
            size,
            etag,
            stats: None,
            id: None,
            adopted: None,
        });
    }

    pub async fn events(&mut self, name: &str, events: &[Event]) {
        self.raw(name, file(events)).await;
    }

    /// The snapshots of an earlier merge become inputs.
    pub fn take(&mut self, snapshots: &[Snapshot]) {
        self.spec
            .inputs
            .extend(snapshots.iter().map(|s| PlannedInput {
                key: s.key.clone(),
                size: s.size,
                etag: s.etag.clone(),
                stats: Some(s.stats),
                id: Some(s.id),
                adopted: None,
            }));
    }

    pub fn budget(&self) -> MergeBudget {
        MergeBudget {
            least_later: self.least_later,
            ..MergeBudget::of(self.memory, 64 << 20, self.prefetch)
        }
    }

    pub async fn merge_into(
        &self,
        sink: Option<ItemSender<ExpiredBatch>>,
    ) -> Result<MergeOutcome, MergeError> {
        let (ids, progress) = (Arc::clone(&self.ids), Arc::clone(&self.progress));
        let mint = Arc::new(move || {
            FileId(ulid::Ulid::from_parts(
                1,
                u128::from(ids.fetch_add(1, Ordering::SeqCst)),
            ))
        });
        let on_progress = Arc::new(move |bytes, rows| {
            let mut p = progress.lock().unwrap();
            *p = (p.0 + bytes, p.1 + rows);
        });
        let env = MergeEnv {
            store: self.store.store(),
            mint,
            expired: sink,
            stop: Arc::clone(&self.stop),
            on_progress,
            spill_dir: self.dir.path().to_owned(),
            fetching: Arc::new(tokio::sync::Semaphore::new(1)),
            defers: true,
        };
        let budget = self.budget();
        merge(self.spec.clone(), budget, env).await
    }

    pub async fn merge(&self) -> MergeOutcome {
        self.merge_into(None).await.unwrap()
    }

    /// Merges, and collects what expired.
    pub async fn merge_collecting(&self) -> (MergeOutcome, Vec<ExpiredBatch>) {
        let (sink, mut batches) = channel(2);
        let collect = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Ok(Some(b)) = batches.recv().await {
                all.push(b);
            }
            all
        });
        let outcome = self.merge_into(Some(sink)).await.unwrap();
        (outcome, collect.await.unwrap())
    }

    pub async fn bytes(&self, key: &str) -> Bytes {
        self.store
            .inner
            .get(&Path::from(key))
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap()
    }

    /// The rows of the snapshots, in order, each file checked against what is said of it.
    pub async fn read(&self, snapshots: &[Snapshot]) -> Vec<Event> {
        let mut all = Vec::new();
        for s in snapshots {
            let store = self.store.store();
            assert_eq!(
                icepack_parquet::read_stats(store, s.key.clone(), s.size, "timestamp")
                    .await
                    .unwrap(),
                s.stats
            );
            assert_eq!(
                icepack_core::model::names::classify(&self.spec.tenant, &s.key),
                icepack_core::model::names::FileKind::Snapshot(s.id)
            );
            let bytes = self.bytes(&s.key).await;
            let meta = parquet::file::metadata::ParquetMetaDataReader::new()
                .parse_and_finish(&bytes)
                .unwrap();
            assert!(
                meta.row_groups()
                    .iter()
                    .all(|g| g.sorting_columns().is_some())
            );
            let events = decode(bytes);
            assert!(
                events.is_sorted_by_key(|e| e.seconds),
                "{} is not in order",
                s.key
            );
            all.extend(events);
        }
        all
    }

    /// Nothing is left in the spill directory.
    pub fn is_clean(&self) -> bool {
        std::fs::read_dir(self.dir.path()).unwrap().next().is_none()
    }

    pub async fn objects(&self) -> usize {
        futures::StreamExt::count(self.store.inner.list(None)).await
    }
}

pub fn decode(bytes: Bytes) -> Vec<Event> {
    let input = Input::open(
        Ident {
            key: "x".into(),
            size: bytes.len() as u64,
            etag: None,
        },
        Source::Memory(bytes),
        None,
    )
    .unwrap();
    let mut reader = input.reader(None).unwrap();
    let mut all = Vec::new();
    while let Some(batch) = reader.next_batch().unwrap() {
        all.extend(events_of(&batch));
    }
    all
}

pub fn events_of(batch: &RecordBatch) -> Vec<Event> {
    let time = batch.column_by_name("timestamp").unwrap();
    let dater = Dater::of(&TimeColumn::default(), batch.schema_ref(), "x").unwrap();
    let (unit, keys) = (dater.unit(), dater.keys(batch).unwrap());
    let text = |name: &str| batch.column_by_name(name).map(|c| c.as_string::<i32>());
    let (ids, payloads) = (text("event_id"), text("payload").unwrap());
    (0..batch.num_rows())
        .map(|i| Event {
            id: ids.filter(|a| a.is_valid(i)).map(|a| a.value(i).to_owned()),
            seconds: time
                .is_valid(i)
                .then(|| floor_micros(keys[i], unit).0 / 1_000_000),
            payload: payloads.value(i).to_owned(),
        })
        .collect()
}

/// What a merge must make of files: all rows in order of (time, file by first row, place), without
/// copies of rows that have an id.
pub fn naive(files: &[Vec<Event>]) -> Vec<Event> {
    let mut ranked: Vec<&Vec<Event>> = files.iter().filter(|f| !f.is_empty()).collect();
    ranked.sort_by_key(|f| f.iter().map(|e| e.seconds).min());
    let mut all: Vec<Event> = ranked.into_iter().flatten().cloned().collect();
    all.sort_by_key(|e| e.seconds);
    let mut seen = HashSet::new();
    all.retain(|e| e.id.is_none() || seen.insert(e.clone()));
    all
}

/// Whether the event has expired by a cutoff in seconds.
pub fn expired(e: &Event, cutoff: i64) -> bool {
    e.seconds
        .is_some_and(|s| (946_684_800..cutoff).contains(&s))
}

/// Numbers that are the same every time.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
