//! What the integration tests share: events, files of them, and reading everything back without the
//! code under test.

#![allow(dead_code, reason = "each test crate uses its own part")]

#[cfg(feature = "azure")]
pub mod azure;
pub mod copy_archive;
pub mod delta;
#[cfg(feature = "gcp")]
pub mod gcs;
pub mod job;
pub mod oracle;
pub mod process_clock;
pub mod proxy;
pub mod s3;
pub mod servers;
pub mod symlink;
pub mod watch;
pub mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use icepack::pass::Selection;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::marker::{Marker, Role};
use icepack_core::model::names::{FileId, Tenant};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

pub type Store = Arc<dyn ObjectStore>;

/// One event; two are the same row if they are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Event {
    pub at: i64,
    pub id: String,
    pub payload: String,
}

/// Event `n` at `at`.
pub fn event(n: usize, at: DateTime<Utc>) -> Event {
    Event {
        at: at.timestamp_micros(),
        id: format!("event-{n:06}"),
        payload: format!("{{\"amount_cents\":{}}}", n * 7),
    }
}

/// `count` events, one every `step`, the last at `end`. Numbered from `first`.
pub fn series(first: usize, count: usize, end: DateTime<Utc>, step: TimeDelta) -> Vec<Event> {
    let back = |i: usize| step * i32::try_from(count - 1 - i).unwrap();
    (0..count)
        .map(|i| event(first + i, end - back(i)))
        .collect()
}

pub fn schema() -> SchemaRef {
    let text = |name: &str, null| Field::new(name, DataType::Utf8, null);
    Arc::new(Schema::new(vec![
        text("event_id", false),
        text("event_type", false),
        text("entity_id", false),
        text("payload", false),
        Field::new(
            "timestamp",
            DataType::Timestamp(TimeUnit::Microsecond, None),
            false,
        ),
        text("metadata", true),
        Field::new("version", DataType::UInt64, false),
    ]))
}

pub fn batch(events: &[Event]) -> RecordBatch {
    let texts = |f: fn(&Event) -> String| {
        Arc::new(StringArray::from_iter_values(events.iter().map(f))) as ArrayRef
    };
    let columns: Vec<ArrayRef> = vec![
        texts(|e| e.id.clone()),
        texts(|_| "order.placed".into()),
        texts(|e| format!("entity-{}", e.id.len())),
        texts(|e| e.payload.clone()),
        Arc::new(TimestampMicrosecondArray::from_iter_values(
            events.iter().map(|e| e.at),
        )),
        Arc::new(StringArray::from_iter(
            events
                .iter()
                .map(|e| (e.at % 2 == 0).then(|| "{}".to_owned())),
        )),
        Arc::new(UInt64Array::from_iter_values(events.iter().map(|_| 1))),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

pub fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    out
}

pub async fn put(store: &Store, key: &str, body: impl Into<PutPayload>) {
    store
        .put(&Path::parse(key).unwrap(), body.into())
        .await
        .unwrap();
}

pub async fn put_events(store: &Store, key: &str, events: &[Event]) {
    put(store, key, parquet(&batch(events))).await;
}

/// `files` raw files for `tenant` with `rows` events each, an hour apart, the last event at `end`.
/// Returns what went in.
pub async fn seed(
    store: &Store,
    tenant: &str,
    files: usize,
    rows: usize,
    end: DateTime<Utc>,
) -> Vec<Event> {
    let all = series(0, files * rows, end, TimeDelta::hours(1));
    for (i, events) in all.chunks(rows).enumerate() {
        put_events(
            store,
            &format!("{tenant}/2026-01/events-{i:04}.parquet"),
            events,
        )
        .await;
    }
    all
}

/// Says that `store` is one, as its first pass would.
pub async fn mark(store: &Store) {
    let marker = Marker::new(Role::Store, FileId::NIL, Utc::now());
    put(
        store,
        &Role::Store.marker_key(),
        serde_json::to_vec(&marker).unwrap(),
    )
    .await;
}

/// Every key in the store, in order.
pub async fn keys(store: &Store) -> Vec<String> {
    let metas: Vec<_> = store.list(None).try_collect().await.unwrap();
    let mut keys: Vec<_> = metas.into_iter().map(|m| m.location.to_string()).collect();
    keys.sort();
    keys
}

/// The keys under a tenant.
pub async fn tenant_keys(store: &Store, tenant: &str) -> Vec<String> {
    keys(store)
        .await
        .into_iter()
        .filter(|k| k.starts_with(&format!("{tenant}/")))
        .collect()
}

pub async fn get(store: &Store, key: &str) -> bytes::Bytes {
    store
        .get(&Path::parse(key).unwrap())
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap()
}

/// The events of a file, in the order of the file.
pub async fn read(store: &Store, key: &str) -> Vec<Event> {
    decode(get(store, key).await)
}

/// The events of a file's bytes.
pub fn decode(bytes: bytes::Bytes) -> Vec<Event> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .unwrap()
        .build()
        .unwrap();
    let mut events = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let text = |name: &str| {
            batch
                .column_by_name(name)
                .unwrap()
                .as_any()
                .downcast_ref::<StringArray>()
                .unwrap()
                .clone()
        };
        let (ids, payloads) = (text("event_id"), text("payload"));
        let at = batch
            .column_by_name("timestamp")
            .unwrap()
            .as_any()
            .downcast_ref::<TimestampMicrosecondArray>()
            .unwrap()
            .clone();
        events.extend((0..batch.num_rows()).map(|i| Event {
            at: at.value(i),
            id: ids.value(i).into(),
            payload: payloads.value(i).into(),
        }));
    }
    events
}

pub async fn read_all(store: &Store, keys: &[String]) -> Vec<Event> {
    let mut all = Vec::new();
    for key in keys.iter().filter(|k| k.ends_with(".parquet")) {
        all.extend(read(store, key).await);
    }
    all
}

/// The rows of the live view, sorted.
pub async fn live(store: &Store, tenant: &str) -> Vec<Event> {
    let manager = CompactionManager::new(Arc::clone(store), CompactionConfig::default());
    let views = manager.live_views(&Selection::all()).await.unwrap();
    let view = views
        .into_iter()
        .find(|v| v.tenant == Tenant::parse(tenant).unwrap());
    let keys: Vec<String> = view
        .map(|v| v.files.into_iter().map(|f| f.key).collect())
        .unwrap_or_default();
    sorted(read_all(store, &keys).await)
}

/// The rows of archive objects that have a receipt, sorted; each object once.
pub async fn archived(archive: &Store, tenant: &str) -> Vec<Event> {
    let keys = tenant_keys(archive, tenant).await;
    let counts = |k: &&String| keys.contains(&k.replace(".parquet", ".receipt.json"));
    let objects: Vec<String> = keys
        .iter()
        .filter(|k| k.ends_with(".parquet"))
        .filter(counts)
        .cloned()
        .collect();
    sorted(read_all(archive, &objects).await)
}

pub fn sorted(mut events: Vec<Event>) -> Vec<Event> {
    events.sort();
    events
}

/// How often each row is there.
pub fn counted(events: &[Event]) -> BTreeMap<&Event, usize> {
    let mut counts = BTreeMap::new();
    for e in events {
        *counts.entry(e).or_default() += 1;
    }
    counts
}

/// A configuration that deletes and collects at once.
pub fn eager() -> CompactionConfig {
    CompactionConfig {
        orphan_grace: std::time::Duration::ZERO,
        ..CompactionConfig::default()
    }
}

pub fn memory() -> Store {
    Arc::new(object_store::memory::InMemory::new())
}
