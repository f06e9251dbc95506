//! What is fuzzed: each target takes any bytes and panics where a promise is broken. Also run for a while by `tests/hostile.rs`.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, Float64Array, Int32Array, ListBuilder, RecordBatch, StringArray, StringBuilder, StructArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field};
use icepack::clock::ManualClock;
use icepack::model::manifest::{Manifest, Receipt, Stamp};
use icepack::model::names::{self, FileId, FileKind, Tenant};
use icepack::model::report::Status;
use icepack::run::Selection;
use icepack::stage::discover;
use icepack::{CompactionConfig, CompactionManager};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::{WriterProperties, WriterVersion};

fn acme() -> Tenant {
    Tenant::parse("acme").unwrap()
}

/// A manifest that is accepted names nothing outside its tenant, and is itself again once written and read.
pub fn manifest(bytes: &[u8]) {
    let Ok(manifest) = discover::decode(&acme(), 3, bytes) else { return };
    assert_eq!((&manifest.tenant, manifest.version), (&acme(), 3));
    let keys = manifest.snapshots.iter().map(|s| &s.key).chain(manifest.retired.iter().map(|r| &r.key)).chain(manifest.quarantined.iter().map(|q| &q.key));
    for key in keys.chain(manifest.archives.iter().map(|a| &a.key)) {
        assert!(stays_within(key), "`{key}`");
    }
    let again = serde_json::to_vec(&manifest).unwrap();
    assert_eq!(discover::decode(&acme(), 3, &again), Ok(manifest));
}

fn stays_within(key: &str) -> bool {
    key.starts_with("acme/") && key.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// A receipt that is accepted for a tenant names nothing outside it.
pub fn receipt(bytes: &[u8]) {
    let Ok(receipt) = serde_json::from_slice::<Receipt>(bytes) else { return };
    if receipt.is_of(&acme()) {
        assert!(stays_within(&receipt.key) && stays_within(&receipt.receipt_key()), "`{}`", receipt.key);
    }
    let again = serde_json::to_vec(&receipt).unwrap();
    assert_eq!(serde_json::from_slice::<Receipt>(&again).unwrap(), receipt);
}

/// Tenants are one path segment; what a tenant owns lies below it; only names that we give are ours.
pub fn name(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(tenant) = Tenant::parse(text) {
        assert!(!text.contains('/') && !text.starts_with('.') && !text.starts_with('_'));
        // What a store makes of the name is the name.
        assert_eq!(Path::parse(text).unwrap().as_ref(), text);
        assert_eq!(names::parse_manifest_key(&tenant, &names::manifest_key(&tenant, 7)), Some(7));
        assert!(!tenant.owns(&names::manifest_key(&tenant, 7)));
    }
    let acme = acme();
    if acme.owns(text) {
        assert!(stays_within(text), "`{text}`");
    }
    match names::classify(&acme, text) {
        FileKind::Snapshot(id) => {
            assert!(stays_within(text) && text.contains("/snapshot.acme.") && text.ends_with(&format!(".{id}.parquet")), "`{text}`");
        }
        FileKind::Raw => assert!(stays_within(text) && text.ends_with(".parquet"), "`{text}`"),
        FileKind::Other => {}
    }
    if let Some(version) = names::parse_manifest_key(&acme, text) {
        assert_eq!(names::manifest_key(&acme, version), text);
    }
    if let Ok(id) = text.parse::<FileId>() {
        assert_eq!(id.to_string(), text);
    }
}

/// A pass over a file and three sound neighbours.
pub fn pass(bytes: &[u8]) {
    pass_over(bytes);
}

const NEIGHBOURS: i64 = 3;
const ROWS: i64 = 40;

/// As [`pass`]; why the file was set aside, if it was.
pub fn pass_over(bytes: &[u8]) -> Option<String> {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        // The decoder's panics are caught; their messages would fill the terminal.
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name() != Some("decoder") {
                before(info);
            }
        }));
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("decoder").enable_all().build().unwrap()
    });
    runtime.block_on(async {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        // First comes first: the columns of the neighbours are given.
        for i in 0..NEIGHBOURS {
            put(&store, &format!("acme/{i}.parquet"), file(&batch(i * ROWS), 15, Compression::UNCOMPRESSED, WriterVersion::PARQUET_1_0)).await;
        }
        put(&store, "acme/bad.parquet", bytes.to_vec()).await;
        let clock = Arc::new(ManualClock::new(chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap(), 1));
        let config = CompactionConfig { memory_limit: 128 << 20, strategy: icepack::CompactionStrategy::FullCompaction, ..CompactionConfig::default() };
        let manager = CompactionManager::new(Arc::clone(&store), config).with_clock(clock);
        let report = manager.run_pass(&Selection::all()).await.unwrap();
        assert_eq!(report.totals.error, None);
        let l = report.totals.ledger;
        assert!(l.balances());
        let set_aside = match report.totals.status {
            Status::Done => None,
            Status::Quarantined => {
                assert_eq!(report.totals.quarantined, ["acme/bad.parquet"]);
                assert_eq!(l.rows_in, (NEIGHBOURS * ROWS) as u64);
                assert_eq!(&store.get(&Path::from("acme/bad.parquet")).await.unwrap().bytes().await.unwrap()[..], bytes);
                let key = names::manifest_key(&acme(), newest(&store).await);
                let head = store.get(&Path::from(key)).await.unwrap().bytes().await.unwrap();
                Some(serde_json::from_slice::<Manifest>(&head).unwrap().quarantined.swap_remove(0).reason)
            }
            other => panic!("{other:?}"),
        };
        // Every row of the neighbours is in the live files, by the parquet crate's own reader.
        let views = manager.live_views(&Selection::all()).await.unwrap();
        let mut seen = HashSet::new();
        for file in views.iter().flat_map(|v| &v.files).filter(|f| f.key != "acme/bad.parquet") {
            let body = store.get(&Path::from(file.key.as_str())).await.unwrap().bytes().await.unwrap();
            for batch in parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(body, 1_024).unwrap() {
                let batch = batch.unwrap();
                let ids = batch.column_by_name("event_id").unwrap().as_any().downcast_ref::<StringArray>().unwrap().clone();
                seen.extend(ids.iter().flatten().map(str::to_owned));
            }
        }
        assert!((0..NEIGHBOURS * ROWS).all(|n| seen.contains(&format!("id-{n}"))), "a neighbour's row is lost");
        let again = manager.run_pass(&Selection::all()).await.unwrap();
        assert_eq!(again.totals.status, Status::Idle);
        set_aside
    })
}

async fn newest(store: &Arc<dyn ObjectStore>) -> u64 {
    discover::versions(store.as_ref(), &acme()).await.unwrap().into_iter().map(|(v, _)| v).max().unwrap()
}

async fn put(store: &Arc<dyn ObjectStore>, key: &str, body: Vec<u8>) {
    store.put(&Path::from(key), body.into()).await.unwrap();
}

fn batch(from: i64) -> RecordBatch {
    let n: Vec<i64> = (from..from + ROWS).collect();
    let mut tags = ListBuilder::new(StringBuilder::new());
    for i in &n {
        (0..i % 4).for_each(|t| tags.values().append_value(format!("tag {t}")));
        tags.append(i % 5 != 0);
    }
    let place = StructArray::from(vec![
        (
            Arc::new(Field::new("name", DataType::Utf8, true)),
            Arc::new(StringArray::from_iter(n.iter().map(|i| (i % 3 != 0).then(|| format!("p{i}"))))) as ArrayRef,
        ),
        (Arc::new(Field::new("area", DataType::Float64, true)), Arc::new(Float64Array::from_iter(n.iter().map(|i| Some(*i as f64 / 2.0)))) as ArrayRef),
    ]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("event_id", Arc::new(StringArray::from_iter_values(n.iter().map(|i| format!("id-{i}"))))),
        ("timestamp", Arc::new(TimestampMicrosecondArray::from_iter_values(n.iter().map(|i| 1_767_225_600_000_000 + i)))),
        ("payload", Arc::new(StringArray::from_iter_values(n.iter().map(|i| format!("payload {}", i % 7))))),
        ("n", Arc::new(Int32Array::from_iter(n.iter().map(|i| (i % 6 != 0).then_some(*i as i32))))),
        ("tags", Arc::new(tags.finish())),
        ("place", Arc::new(place)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, c)| (name, c, true))).unwrap()
}

fn file(batch: &RecordBatch, group: usize, codec: Compression, version: WriterVersion) -> Vec<u8> {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).set_compression(codec).set_writer_version(version).build();
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    out
}

/// Sound files to begin with, none of whose rows is a neighbour's.
pub fn parquet_files() -> Vec<Vec<u8>> {
    let (v1, v2) = (WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0);
    let codecs =
        [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(Default::default()), Compression::GZIP(Default::default()), Compression::LZ4];
    codecs.into_iter().enumerate().map(|(i, codec)| file(&batch(1_000), 20, codec, if i % 2 == 0 { v1 } else { v2 })).collect()
}

/// Sound manifests: version 3 of `acme`.
pub fn manifests() -> Vec<Vec<u8>> {
    let at = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let id = FileId::floor_at(at);
    let mut manifest = Manifest::first(acme(), Stamp { run_id: id, commit_id: id, at });
    manifest.version = 3;
    let mut value = serde_json::to_value(&manifest).unwrap();
    let empty = serde_json::to_vec(&value).unwrap();
    let key = "acme/2027-01/snapshot.acme.2027-01-15T080000Z-2027-01-15T080000Z";
    let stats = serde_json::json!({"rows": 1, "undated": 0, "min": 0, "max": 0, "fingerprint": "00000000000000000000000000000000"});
    let mut snapshot = serde_json::json!({"key": format!("{key}.{id}.parquet"), "id": id, "size": 1, "etag": null});
    snapshot.as_object_mut().unwrap().extend(stats.as_object().unwrap().clone());
    value["snapshots"] = serde_json::json!([snapshot]);
    value["retired"] = serde_json::json!([{"key": "acme/x.parquet", "size": 1, "etag": "e", "rows": 1, "at": at, "reason": "compacted"}]);
    value["quarantined"] = serde_json::json!([{"key": "acme/y.parquet", "size": 1, "etag": "e", "reason": "bad", "at": at}]);
    value["archives"] = serde_json::json!([serde_json::from_slice::<serde_json::Value>(&receipts()[0]).unwrap()]);
    vec![empty, serde_json::to_vec(&value).unwrap()]
}

/// A sound receipt.
pub fn receipts() -> Vec<Vec<u8>> {
    let at = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let id = FileId::floor_at(at);
    let receipt = serde_json::json!({
        "format": 1, "tenant": "acme", "key": format!("acme/2027-01/archive.acme.2027-01-15T080000Z-2027-01-15T080000Z.{id}.parquet"), "id": id, "size": 1,
        "etag": null, "storage_class": null, "rows": 1, "undated": 0, "min": 0, "max": 0, "fingerprint": "00000000000000000000000000000000",
        "sources": ["acme/x.parquet"], "run_id": id, "at": at, "writer": "icepack",
    });
    vec![serde_json::to_vec(&receipt).unwrap()]
}

/// Names of all kinds.
pub fn names() -> Vec<Vec<u8>> {
    let id = FileId::floor_at(chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap());
    let snapshot = format!("acme/2027-01/snapshot.acme.2027-01-15T080000Z-2027-01-15T080000Z.{id}.parquet");
    let all =
        ["acme", "acme/x.parquet", "acme/../globex/x.parquet", "..%2f", "_icepack/acme/manifest/00000000000000000007.json", &snapshot, &id.to_string(), "Ü b"];
    all.iter().map(|s| s.as_bytes().to_vec()).collect()
}
