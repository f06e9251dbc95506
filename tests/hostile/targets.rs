//! What is fuzzed: each target takes any bytes and panics where a promise is broken. Also run for a
//! while by `tests/hostile.rs`.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
    StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field};
use icepack::clock::ManualClock;
use icepack::pass::Selection;
use icepack::protocol::discover;
use icepack::settings::{Environment, Layers, Settings};
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::manifest::{Manifest, Receipt, Stamp};
use icepack_core::model::names::{self, FileId, FileKind, Tenant};
use icepack_core::model::report::Status;
use icepack_core::model::schema::{Column, TableSchema};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::{WriterProperties, WriterVersion};

fn acme() -> Tenant {
    Tenant::parse("acme").unwrap()
}

/// A manifest that is accepted names nothing outside its tenant, and is itself again once written
/// and read.
pub fn manifest(bytes: &[u8]) {
    let Ok(manifest) = discover::decode(&acme(), 3, bytes) else {
        return;
    };
    assert_eq!((&manifest.tenant, manifest.version), (&acme(), 3));
    let keys = manifest
        .snapshots
        .iter()
        .map(|s| &s.key)
        .chain(manifest.retired.iter().map(|r| &r.key))
        .chain(manifest.quarantined.iter().map(|q| &q.key));
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
    let Ok(receipt) = serde_json::from_slice::<Receipt>(bytes) else {
        return;
    };
    if receipt.is_of(&acme()) {
        assert!(
            stays_within(&receipt.key) && stays_within(&receipt.receipt_key()),
            "`{}`",
            receipt.key
        );
    }
    let again = serde_json::to_vec(&receipt).unwrap();
    assert_eq!(serde_json::from_slice::<Receipt>(&again).unwrap(), receipt);
}

/// Tenants are one path segment; what a tenant owns lies below it; only names that we give are
/// ours.
pub fn name(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(tenant) = Tenant::parse(text) {
        assert!(!text.contains('/') && !text.starts_with('.') && !text.starts_with('_'));
        // What a store makes of the name is the name.
        assert_eq!(Path::parse(text).unwrap().as_ref(), text);
        assert_eq!(
            names::parse_manifest_key(&tenant, &names::manifest_key(&tenant, 7)),
            Some(7)
        );
        assert!(!tenant.owns(&names::manifest_key(&tenant, 7)));
    }
    let acme = acme();
    if acme.owns(text) {
        assert!(stays_within(text), "`{text}`");
    }
    match names::classify(&acme, text) {
        FileKind::Snapshot(id) => {
            assert!(
                stays_within(text)
                    && text.contains("/snapshot.acme.")
                    && text.ends_with(&format!(".{id}.parquet")),
                "`{text}`"
            );
        }
        FileKind::Raw => {
            let is_shown = || !text.contains("/.") && !text.contains("/_");
            assert!(
                stays_within(text)
                    && (text.ends_with(".parquet") || is_shown())
                    && !text.ends_with(".receipt.json"),
                "`{text}`"
            );
        }
        FileKind::Other => {}
    }
    if let Some(version) = names::parse_manifest_key(&acme, text) {
        assert_eq!(names::manifest_key(&acme, version), text);
    }
    if let Ok(id) = text.parse::<FileId>() {
        assert_eq!(id.to_string(), text);
    }
}

/// A configuration that is accepted keeps what it promises and shows all that it says; one that is
/// refused is refused in a line.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let settings = match resolve(Some(text), []) {
        Ok(settings) => settings,
        Err(e) => {
            assert_eq!(e.exit_code(), 2);
            return assert!(is_a_line(&e.to_string()), "{e}");
        }
    };
    assert!(
        settings.warnings().iter().all(|w| is_a_line(w)),
        "{:?}",
        settings.warnings()
    );
    let shown = shown(&settings);
    let value = |path: &str| {
        shown
            .iter()
            .find(|(p, _)| p == path)
            .and_then(|(_, text)| text.as_deref())
    };
    if let (Some(store), Some(archive), Ok(_)) =
        (value("store"), value("archive.url"), settings.store())
    {
        assert!(
            !overlap(&place(store), &place(archive)),
            "`{store}` and `{archive}`"
        );
    }
    let config = settings.compaction_config();
    let may_be_short = value("retention.allow_short_ttl") == Some("true");
    for ttl in config
        .retention
        .per_tenant_ttl
        .values()
        .chain([&config.retention.default_ttl])
        .flatten()
    {
        assert!(
            !ttl.is_zero() && (may_be_short || *ttl >= Duration::from_secs(3_600)),
            "{ttl:?}"
        );
    }
    for tenant in config
        .overrides
        .keys()
        .map(String::as_str)
        .chain(["acme", "eu-west", "system", "a.b c"])
    {
        let policy = config.policy_for(tenant);
        assert!(
            policy.target_file_size <= policy.max_file_size,
            "{tenant}: {policy:?}"
        );
        assert!(
            policy.min_files_to_compact > 0 && !policy.max_raw_age.is_zero(),
            "{tenant}: {policy:?}"
        );
    }
    assert!(
        config.memory_limit > 0 && config.concurrency > 0 && config.compaction_interval_seconds > 0
    );
    // Written back as a file, every setting; as variables, those that have one.
    let given = || {
        shown
            .iter()
            .filter_map(|(path, text)| Some((path, text.as_ref()?)))
    };
    let file: String = given()
        .map(|(path, text)| format!("{path} = {}\n", quoted(text)))
        .collect();
    let again = resolve(Some(&file), []).unwrap_or_else(|e| panic!("{e}:\n{file}"));
    assert_eq!(meaning(&again), meaning(&settings), "{file}");
    let scalar =
        |path: &str| !path.starts_with("tenants.") && !path.starts_with("retention.tenants.");
    let variables = given()
        .filter(|(path, _)| scalar(path))
        .map(|(path, text)| {
            (
                format!("ICEPACK_{}", path.to_uppercase().replace('.', "_")),
                text.clone(),
            )
        });
    let again = resolve(None, variables).unwrap_or_else(|e| panic!("{e}:\n{file}"));
    let scalars = |all: Vec<(String, Option<String>)>| {
        all.into_iter()
            .filter(|(path, _)| scalar(path))
            .collect::<Vec<_>>()
    };
    assert_eq!(scalars(self::shown(&again)), scalars(shown));
}

fn resolve(
    file: Option<&str>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> icepack::Result<Settings> {
    let file = file.map(|text| ("icepack.toml".into(), text.to_owned()));
    Settings::resolve(&Layers {
        file,
        env: Environment::new(variables),
        flags: Vec::new(),
    })
}

/// Path and text of every setting; no text where it is not set.
fn shown(settings: &Settings) -> Vec<(String, Option<String>)> {
    settings
        .all()
        .into_iter()
        .map(|(path, shown, _)| (path, (!shown.json.is_null()).then_some(shown.text)))
        .collect()
}

/// All that the job makes of them.
fn meaning(settings: &Settings) -> impl PartialEq + std::fmt::Debug {
    let mut config = settings.compaction_config();
    let retention = std::mem::take(&mut config.retention);
    let rest = format!(
        "{config:?} {:?} {:?} {:?} {:?}",
        settings.store().ok(),
        settings.archive().ok(),
        settings.archive_options(),
        settings.archive_connection()
    );
    (shown(settings), retention, rest)
}

fn is_a_line(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// A string as TOML writes it: JSON's, but for one character.
fn quoted(text: &str) -> String {
    serde_json::to_string(text)
        .unwrap()
        .replace('\u{7f}', "\\u007f")
}

/// Where an address leads: a kind of store with its bucket, and a path in it. By other means than
/// the code under test has.
fn place(address: &str) -> (String, Vec<String>) {
    let Some((scheme, rest)) = address.split_once("://") else {
        return ("directory".into(), walk(address));
    };
    let kind = match scheme {
        "file" => {
            return (
                "directory".into(),
                walk(&decoded(before(rest, &['?', '#']))),
            );
        }
        "memory" => return ("memory".into(), Vec::new()),
        "s3" | "s3a" => "s3",
        "gs" => "gs",
        _ => "azure",
    };
    let rest = if kind == "s3" {
        rest
    } else {
        before(rest, &['?', '#'])
    };
    let mut parts = rest.trim_end_matches('/').split('/');
    // `abfs://container@account/…` and `az://container/…`
    let bucket = before(
        parts.next().unwrap(),
        if kind == "azure" { &['@'] } else { &[] },
    );
    let mut path = Vec::new();
    for part in parts {
        let part = if kind == "s3" {
            part.to_owned()
        } else {
            decoded(part)
        };
        match part.as_str() {
            "." => {}
            ".." => drop(path.pop()),
            _ => path.push(part),
        }
    }
    (format!("{kind} {bucket}"), path)
}

fn before<'a>(text: &'a str, marks: &[char]) -> &'a str {
    text.find(marks).map_or(text, |at| &text[..at])
}

fn decoded(text: &str) -> String {
    let (mut out, mut bytes) = (Vec::new(), text.as_bytes());
    while let [first, rest @ ..] = bytes {
        let digit = |i: usize| rest.get(i).and_then(|b| char::from(*b).to_digit(16));
        let hex = if *first == b'%' {
            digit(0).zip(digit(1)).map(|(a, b)| (a * 16 + b) as u8)
        } else {
            None
        };
        out.push(hex.unwrap_or(*first));
        bytes = if hex.is_some() { &rest[2..] } else { rest };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Goes along a path as the system does, step by step, links and all.
fn walk(path: &str) -> Vec<String> {
    let mut here = std::env::current_dir().unwrap();
    for step in std::path::Path::new(path).components() {
        match step {
            std::path::Component::ParentDir => drop(here.pop()),
            step => here.push(step),
        }
        here = here.canonicalize().unwrap_or(here);
    }
    here.components()
        .map(|c| c.as_os_str().to_string_lossy().into_owned())
        .collect()
}

fn overlap((a, p): &(String, Vec<String>), (b, q): &(String, Vec<String>)) -> bool {
    a == b && (p.starts_with(q) || q.starts_with(p))
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
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("decoder")
            .enable_all()
            .build()
            .unwrap()
    });
    runtime.block_on(async {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        // First comes first: the columns of the neighbours are given.
        for i in 0..NEIGHBOURS {
            put(
                &store,
                &format!("acme/{i}.parquet"),
                file(
                    &batch(i * ROWS),
                    15,
                    Compression::UNCOMPRESSED,
                    WriterVersion::PARQUET_1_0,
                ),
            )
            .await;
        }
        put(&store, "acme/bad.parquet", bytes.to_vec()).await;
        let clock = Arc::new(ManualClock::new(
            chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            1,
        ));
        let config = CompactionConfig {
            memory_limit: 128 << 20,
            strategy: icepack::CompactionStrategy::FullCompaction,
            ..CompactionConfig::default()
        };
        let manager = CompactionManager::new(Arc::clone(&store), config).with_clock(clock);
        let report = manager.run_pass(&Selection::all()).await.unwrap();
        assert_eq!(report.totals.error, None);
        let l = report.totals.counters.ledger;
        assert!(l.balances());
        let set_aside = match report.totals.status {
            Status::Done => None,
            Status::Quarantined => {
                assert_eq!(report.totals.quarantined, ["acme/bad.parquet"]);
                assert_eq!(l.rows_in, (NEIGHBOURS * ROWS) as u64);
                assert_eq!(
                    &store
                        .get(&Path::from("acme/bad.parquet"))
                        .await
                        .unwrap()
                        .bytes()
                        .await
                        .unwrap()[..],
                    bytes
                );
                let key = names::manifest_key(&acme(), newest(&store).await);
                let head = store
                    .get(&Path::from(key))
                    .await
                    .unwrap()
                    .bytes()
                    .await
                    .unwrap();
                Some(
                    serde_json::from_slice::<Manifest>(&head)
                        .unwrap()
                        .quarantined
                        .swap_remove(0)
                        .reason,
                )
            }
            other => panic!("{other:?}"),
        };
        // Every row of the neighbours is in the live files, by the parquet crate's own reader.
        let views = manager.live_views(&Selection::all()).await.unwrap();
        let mut seen = HashSet::new();
        for file in views
            .iter()
            .flat_map(|v| &v.files)
            .filter(|f| f.key != "acme/bad.parquet")
        {
            let body = store
                .get(&Path::from(file.key.as_str()))
                .await
                .unwrap()
                .bytes()
                .await
                .unwrap();
            for batch in
                parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(body, 1_024)
                    .unwrap()
            {
                let batch = batch.unwrap();
                let ids = batch
                    .column_by_name("event_id")
                    .unwrap()
                    .as_any()
                    .downcast_ref::<StringArray>()
                    .unwrap()
                    .clone();
                seen.extend(ids.iter().flatten().map(str::to_owned));
            }
        }
        assert!(
            (0..NEIGHBOURS * ROWS).all(|n| seen.contains(&format!("id-{n}"))),
            "a neighbour's row is lost"
        );
        let again = manager.run_pass(&Selection::all()).await.unwrap();
        assert_eq!(again.totals.status, Status::Idle);
        set_aside
    })
}

async fn newest(store: &Arc<dyn ObjectStore>) -> u64 {
    discover::versions(store.as_ref(), &acme())
        .await
        .unwrap()
        .into_iter()
        .map(|(v, _)| v)
        .max()
        .unwrap()
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
            Arc::new(StringArray::from_iter(
                n.iter().map(|i| (i % 3 != 0).then(|| format!("p{i}"))),
            )) as ArrayRef,
        ),
        (
            Arc::new(Field::new("area", DataType::Float64, true)),
            Arc::new(Float64Array::from_iter(
                n.iter().map(|i| Some(*i as f64 / 2.0)),
            )) as ArrayRef,
        ),
    ]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "event_id",
            Arc::new(StringArray::from_iter_values(
                n.iter().map(|i| format!("id-{i}")),
            )),
        ),
        (
            "timestamp",
            Arc::new(TimestampMicrosecondArray::from_iter_values(
                n.iter().map(|i| 1_767_225_600_000_000 + i),
            )),
        ),
        (
            "payload",
            Arc::new(StringArray::from_iter_values(
                n.iter().map(|i| format!("payload {}", i % 7)),
            )),
        ),
        (
            "n",
            Arc::new(Int32Array::from_iter(
                n.iter().map(|i| (i % 6 != 0).then_some(*i as i32)),
            )),
        ),
        ("tags", Arc::new(tags.finish())),
        ("place", Arc::new(place)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, c)| (name, c, true)))
        .unwrap()
}

fn file(batch: &RecordBatch, group: usize, codec: Compression, version: WriterVersion) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group))
        .set_compression(codec)
        .set_writer_version(version)
        .build();
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    out
}

/// Sound files to begin with, none of whose rows is a neighbour's.
pub fn parquet_files() -> Vec<Vec<u8>> {
    let (v1, v2) = (WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0);
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::ZSTD(Default::default()),
        Compression::GZIP(Default::default()),
        Compression::LZ4,
    ];
    codecs
        .into_iter()
        .enumerate()
        .map(|(i, codec)| file(&batch(1_000), 20, codec, if i % 2 == 0 { v1 } else { v2 }))
        .collect()
}

/// Sound manifests: version 3 of `acme`.
pub fn manifests() -> Vec<Vec<u8>> {
    let at = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let id = FileId::floor_at(at);
    let mut manifest = Manifest::first(
        acme(),
        Stamp {
            run_id: id,
            commit_id: id,
            at,
        },
    );
    manifest.version = 3;
    let mut value = serde_json::to_value(&manifest).unwrap();
    let empty = serde_json::to_vec(&value).unwrap();
    let key = "acme/2027-01/snapshot.acme.2027-01-15T080000Z-2027-01-15T080000Z";
    let stats = serde_json::json!({"rows": 1, "undated": 0, "min": 0, "max": 0, "fingerprint": "00000000000000000000000000000000"});
    let columns = columns();
    let mut snapshot = serde_json::json!({"key": format!("{key}.{id}.parquet"), "id": id, "size": 1, "etag": null, "schema": columns.id()});
    snapshot
        .as_object_mut()
        .unwrap()
        .extend(stats.as_object().unwrap().clone());
    value["snapshots"] = serde_json::json!([snapshot]);
    value["schemas"] = serde_json::json!({columns.id().to_string(): columns});
    value["retired"] = serde_json::json!([{"key": "acme/x.parquet", "size": 1, "etag": "e", "rows": 1, "at": at, "reason": "compacted"}]);
    value["quarantined"] = serde_json::json!([{"key": "acme/y.parquet", "size": 1, "etag": "e", "reason": "bad", "at": at}]);
    let receipts = receipts()
        .iter()
        .map(|r| serde_json::from_slice(r).unwrap())
        .collect::<Vec<serde_json::Value>>();
    value["archives"] = receipts.into();
    vec![empty, serde_json::to_vec(&value).unwrap()]
}

fn columns() -> TableSchema {
    let column = |name: &str, kind: &str, nullable| Column {
        name: name.into(),
        kind: kind.into(),
        nullable,
    };
    TableSchema(vec![
        column("timestamp", "Timestamp(µs)", false),
        column("payload", "Utf8", true),
    ])
}

/// Sound receipts: an older version's, of rows that were sent, of a copy in S3, of an upload in
/// parts.
pub fn receipts() -> Vec<Vec<u8>> {
    let at = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let id = FileId::floor_at(at);
    let receipt = serde_json::json!({
        "format": 1, "tenant": "acme", "key": format!("acme/2027-01/archive.acme.2027-01-15T080000Z-2027-01-15T080000Z.{id}.parquet"), "id": id, "size": 1,
        "etag": null, "storage_class": null, "rows": 1, "undated": 0, "min": 0, "max": 0, "fingerprint": "00000000000000000000000000000000",
        "sources": ["acme/x.parquet"], "run_id": id, "at": at, "writer": "icepack",
    });
    let with = |fields: serde_json::Value| {
        let mut receipt = receipt.clone();
        receipt
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        receipt
    };
    let checksum = |algorithm, kind, value| serde_json::json!({"algorithm": algorithm, "type": kind, "value": value});
    let all = [
        receipt.clone(),
        with(
            serde_json::json!({"archive": "/cold", "verified": "readback", "schema": columns(), "manifest_version": 3}),
        ),
        with(serde_json::json!({
            "archive": "s3://cold", "storage_class": "DEEP_ARCHIVE", "etag": "\"d41d8cd98f00b204e9800998ecf8427e\"", "verified": "etag",
            "checksum": checksum("CRC64NVME", "FULL_OBJECT", "AAAAAAAAAAA="), "schema": columns(), "manifest_version": u64::MAX,
        })),
        with(
            serde_json::json!({"archive": "s3://cold", "verified": "checksum", "checksum": checksum("SHA256", "COMPOSITE", "AAAA-2"), "schema": []}),
        ),
    ];
    all.iter().map(|r| serde_json::to_vec(r).unwrap()).collect()
}

/// Names of all kinds.
pub fn names() -> Vec<Vec<u8>> {
    let id = FileId::floor_at(chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap());
    let snapshot =
        format!("acme/2027-01/snapshot.acme.2027-01-15T080000Z-2027-01-15T080000Z.{id}.parquet");
    let all = [
        "acme",
        "acme/x.parquet",
        "acme/../globex/x.parquet",
        "..%2f",
        "_icepack/acme/manifest/00000000000000000007.json",
        &snapshot,
        &id.to_string(),
        "Ü b",
    ];
    all.iter().map(|s| s.as_bytes().to_vec()).collect()
}

/// Sound configurations: every key, every kind of store, patterns, and what is next to being
/// refused.
pub fn configs() -> Vec<Vec<u8>> {
    let every = r#"
store = "s3://events/prod"
timestamp_column = "at"
id_column = "id"
memory_limit = "512MiB"
spill_dir = "/scratch"
max_duration = "1h 30m"
concurrency = 2
interval = "2h"
[compaction]
strategy = "time"
min_files_to_compact = 5
small_file_threshold = 1048576
target_file_size = "64MiB"
max_file_size = "100MB"
max_raw_age = "12h"
[retention]
default_ttl = "365d"
slack = "6h"
[retention.tenants]
"eu-*" = "90d"
audit = "forever"
[archive]
url = "s3://events-cold/prod"
storage_class = "DEEP_ARCHIVE"
verify = "checksum"
checksum = "sha256"
endpoint = "https://cold:9000"
region = "eu-1"
profile = "cold"
sse = "aws:kms"
kms_key_id = "alias/cold"
tagging = false
object_lock_mode = "GOVERNANCE"
object_lock_days = 90
retry_max_interval = "5s"
retry_max_elapsed = "1m"
[sweep]
delete_delay = "15m"
orphan_grace = "48h"
[tenants.acme.compaction]
strategy = "full"
target_file_size = "90MiB"
[tenants.acme.retention]
ttl = "7d"
"#;
    let others = [
        "store = \"/data/hot\"\narchive.url = \"/data/cold\"\n",
        "store = \"./hot\"\narchive.url = \"hot/../cold\"\n",
        "store = \"file:///data/hot\"\narchive = { url = \"s3://cold\", verify = \"readback\", \
         storage_class = \"GLACIER_IR\", sse = \"AES256\" }\n",
        "store = \"gs://b/hot\"\narchive.url = \"gs://b/cold?x#y\"\n",
        "store = \"az://c/hot\"\narchive.url = \"abfss://c@account.dfs.core.windows.net/cold\"\n",
        "store = 'memory://'\narchive.url = 's3a://b/a%62/c'\narchive.object_lock_mode = \
         'compliance'\narchive.object_lock_days = 1\n",
        "[retention]\nallow_short_ttl = true\ndefault_ttl = \"1500us\"\nslack = \
         \"1ns\"\n[retention.tenants]\n'a[b-z]?' = \"59m 59s 999ms\"\nsystem = \"forever\"\n",
        "[tenants.'{eu,us}-*'.compaction]\ntarget_file_size = 300000001\nmax_file_size = \
         \"1.5GiB\"\nmax_raw_age = \"90m\"\n[tenants.'a\"b*'.retention]\nttl = \"2days\"\n",
        "",
    ];
    [every]
        .iter()
        .chain(&others)
        .map(|text| text.as_bytes().to_vec())
        .collect()
}
