//! What `init` says of three stores, against what it said when somebody read it last.
//! `INSTA_UPDATE=always` accepts the new words; read them before they are committed.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use tempfile::TempDir;

use super::init;
use crate::support::{job, parquet};

/// 2026-01-01T00:00:00Z, in seconds.
const START: i64 = 1_767_225_600;

/// Files of a store, written a minute after each other.
struct Store {
    dir: TempDir,
    files: u64,
}

impl Store {
    fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            files: 0,
        }
    }

    fn put(&mut self, key: &str, bytes: impl AsRef<[u8]>) {
        let path = self.dir.path().join("data").join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let at = UNIX_EPOCH + Duration::from_secs(START as u64 + 60 * self.files);
        std::fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(at)
            .unwrap();
        self.files += 1;
    }

    fn check(&self, name: &str) {
        let made = init(&self.dir, &[]);
        let file = std::fs::read_to_string(self.dir.path().join("icepack.toml")).unwrap();
        let dir = self.dir.path().canonicalize().unwrap();
        let file = file
            .lines()
            .map(|line| match line.split_once(" UTC, after a look at ") {
                Some((_, rest)) => {
                    format!("# Written by `icepack init` at TIME UTC, after a look at {rest}")
                }
                None => line.to_owned(),
            })
            // The rest is the same for every store.
            .take_while(|line| line != "[compaction]")
            .collect::<Vec<_>>()
            .join("\n");
        let said = format!(
            "{file}\n--- stdout\n{}--- stderr\n{}",
            job::text(&made.stdout),
            job::text(&made.stderr)
        );
        let said = said.replace(dir.to_str().unwrap(), "DIR");
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("texts");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, said));
    }
}

/// Columns of two rows.
fn file<const N: usize>(columns: [(&str, ArrayRef); N]) -> Vec<u8> {
    parquet(&RecordBatch::try_from_iter(columns).unwrap())
}

fn id() -> (&'static str, ArrayRef) {
    ("event_id", Arc::new(StringArray::from(vec!["a", "b"])))
}

fn timestamp() -> (&'static str, ArrayRef) {
    let at = |s: i64| (START + s) * 1_000;
    (
        "timestamp",
        Arc::new(TimestampMillisecondArray::from(vec![at(0), at(90_000)])),
    )
}

fn integers(name: &'static str, first: i64) -> (&'static str, ArrayRef) {
    (
        name,
        Arc::new(Int64Array::from(vec![first, first + 90_000])),
    )
}

#[test]
fn topics_of_kafka_connect() {
    let mut store = Store::new();
    for (topic, partition, first) in [
        ("orders", 0, 0),
        ("orders", 0, 6),
        ("orders", 1, 0),
        ("payments", 0, 0),
    ] {
        let key = format!(
            "topics/{topic}/partition={partition}/{topic}+{partition}+{first:010}.snappy.parquet"
        );
        store.put(&key, file([id(), timestamp(), integers("user_id", 7)]));
    }
    store.put("exports/report.csv", "a,b");
    store.check("topics");
}

#[test]
fn flow_logs_whose_time_is_a_number() {
    let mut store = Store::new();
    for region in ["eu-west-1", "us-east-1"] {
        for n in 0..2 {
            let key =
                format!("AWSLogs/123456789012/vpcflowlogs/{region}/2026/01/01/{n}.log.parquet");
            store.put(
                &key,
                file([
                    integers("bytes", 917),
                    integers("start", START),
                    integers("end", START + 60),
                ]),
            );
        }
    }
    store.check("flow-logs");
}

#[test]
fn a_lake_of_many_things() {
    let mut store = Store::new();
    store.put("lake/orders/_delta_log/00000000000000000000.json", "{}");
    store.put(
        "lake/orders/country=de/part-0.parquet",
        file([id(), timestamp()]),
    );
    store.put("lake/raw/country=de/0.parquet", file([id(), timestamp()]));
    store.put(
        "visits/dt=2026-01-01/000000_0",
        file([id(), timestamp(), integers("n", 1)]),
    );
    let float: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 1.5]));
    store.put(
        "visits/dt=2026-01-01/000001_0",
        file([id(), timestamp(), ("n", float)]),
    );
    store.put(
        "visits/dt=2026-01-01/000002_0",
        file([timestamp(), integers("n", 1)]),
    );
    store.put("visits/_SUCCESS", "");
    store.put("visits/notes", "by hand");
    store.put("readme.md", "# Lake");
    store.check("lake");
}
