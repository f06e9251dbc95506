//! Files of a folder whose columns contradict each other are of several schema classes: each is
//! compacted, expires and comes back by itself, and no file is set aside for another.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::Int64Type;
use arrow::util::display::array_value_to_string;
use chrono::TimeDelta;
use icepack::clock::ManualClock;
use icepack_core::model::manifest::Manifest;
use icepack_core::model::report::{RunReport, Status};
use icepack_core::model::restore::RestoreStatus;
use icepack_core::model::units::MIB;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::adoption::Lab;
use crate::archive::restore::{everything, restore};
use crate::support::{Store, get, keys, parquet, put, tenant_keys};

/// What column `x` is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum X {
    Text,
    Number,
    Flag,
}

const ALL: [X; 3] = [X::Text, X::Number, X::Flag];

/// A row as everybody reads it: its number, and the type and value of `x`.
type Row = (i64, String, String);

/// Ten rows from `first` on, a minute apart, the last so many days ago.
fn rows(lab: &Lab, x: X, first: i64, days_ago: i64) -> RecordBatch {
    let end = (lab.time.now() - TimeDelta::days(days_ago)).timestamp_micros();
    let n = || first..first + 10;
    let column: ArrayRef = match x {
        X::Text => Arc::new(StringArray::from_iter_values(n().map(|n| format!("t{n}")))),
        X::Number => Arc::new(Int64Array::from_iter_values(n())),
        X::Flag => Arc::new(BooleanArray::from_iter(n().map(|n| Some(n % 2 == 0)))),
    };
    let times = (0..10).rev().map(|i| end - i * 60_000_000);
    let columns: [(&str, ArrayRef); 3] = [
        (
            "timestamp",
            Arc::new(TimestampMicrosecondArray::from_iter_values(times)),
        ),
        ("n", Arc::new(Int64Array::from_iter_values(n()))),
        ("x", column),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn seen(batch: &RecordBatch) -> Vec<Row> {
    let n = batch
        .column_by_name("n")
        .unwrap()
        .as_primitive::<Int64Type>()
        .clone();
    let x = batch.column_by_name("x").unwrap();
    let row = |i: usize| {
        let value = array_value_to_string(x, i).unwrap();
        (n.value(i), x.data_type().to_string(), value)
    };
    (0..batch.num_rows()).map(row).collect()
}

/// What all files of these keys hold.
async fn read(store: &Store, keys: &[String]) -> Vec<Row> {
    let mut all = Vec::new();
    for key in keys {
        let reader = ParquetRecordBatchReaderBuilder::try_new(get(store, key).await).unwrap();
        for batch in reader.build().unwrap() {
            all.extend(seen(&batch.unwrap()));
        }
    }
    all.sort();
    all
}

async fn live(lab: &Lab) -> Vec<Row> {
    let keys: Vec<String> = lab.live_files().await.into_iter().map(|f| f.key).collect();
    read(&lab.hot, &keys).await
}

/// Puts a file there, and gives its rows.
async fn ingest(lab: &Lab, name: &str, batch: &RecordBatch) -> Vec<Row> {
    put(&lab.hot, &format!("acme/{name}.parquet"), parquet(batch)).await;
    seen(batch)
}

/// A lab in which every file is small.
fn lab(has_archive: bool) -> Lab {
    let mut lab = Lab::new(has_archive);
    lab.config.small_file_threshold = MIB;
    lab.config.min_files_to_compact = 1;
    lab
}

async fn done(lab: &Lab) -> RunReport {
    let (report, _) = lab.pass().await;
    assert!(
        report.totals.status == Status::Done && report.totals.quarantined.is_empty(),
        "{report:?}"
    );
    report
}

/// The type of `x` in each live snapshot.
fn kinds(head: &Manifest) -> Vec<String> {
    let kind = |s: &icepack_core::model::file::Snapshot| {
        let schema = &head.schemas[&s.schema.unwrap()];
        schema
            .0
            .iter()
            .find(|c| c.name == "x")
            .unwrap()
            .kind
            .clone()
    };
    let mut kinds: Vec<String> = head.snapshots.iter().map(kind).collect();
    kinds.sort();
    kinds
}

#[tokio::test]
async fn each_class_becomes_a_snapshot_and_the_next_pass_reads_nothing() {
    let lab = lab(false);
    let mut all = Vec::new();
    for i in 0..12 {
        let batch = rows(&lab, ALL[i % 3], 100 * i as i64, 1);
        all.extend(ingest(&lab, &format!("f{i}"), &batch).await);
    }
    all.sort();
    let report = done(&lab).await;
    let counters = &report.totals.counters;
    assert_eq!(
        (counters.files_compacted, counters.ledger.rows_kept),
        (12, 120),
        "{report:?}"
    );
    let head = lab.head().await;
    assert_eq!(kinds(&head), ["Boolean", "Int64", "Utf8"]);
    assert_eq!(head.version, 3, "the first, one commit, and what was swept");
    let told: Vec<_> = head.apart.iter().map(|a| a.column.as_deref()).collect();
    assert_eq!(told, [Some("x"); 3], "each pair of classes is apart");
    assert_eq!(tenant_keys(&lab.hot, "acme").await.len(), 3);
    assert_eq!(live(&lab).await, all);
    lab.idle().await;

    // What head knows is no more than what saves reading: whoever lost it finds it again.
    let last = keys(&lab.hot).await;
    let last = last
        .iter()
        .rfind(|k| k.starts_with("_icepack/acme/manifest/"));
    let mut forgotten = head;
    forgotten.apart.clear();
    put(
        &lab.hot,
        last.unwrap(),
        serde_json::to_vec(&forgotten).unwrap(),
    )
    .await;
    for i in 0..4 {
        let batch = rows(&lab, X::Flag, 2_000 + 10 * i, 1);
        all.extend(ingest(&lab, &format!("g{i}"), &batch).await);
    }
    all.sort();
    let mut passes = 0;
    while lab.pass().await.0.totals.status != Status::Idle {
        passes += 1;
        assert!(passes < 5, "passes do not converge");
    }
    assert_eq!(live(&lab).await, all);
    assert_eq!(lab.head().await.apart.len(), 3);
    lab.idle().await;
}

#[tokio::test]
async fn files_of_a_second_class_that_keep_coming_stay_few() {
    let lab = lab(false);
    let mut all = Vec::new();
    for i in 0..4 {
        let batch = rows(&lab, X::Text, 10 * i, 1);
        all.extend(ingest(&lab, &format!("a{i}"), &batch).await);
    }
    done(&lab).await;
    for pass in 0..10_i64 {
        let mut next = 1_000 + 100 * pass;
        for (i, x) in [X::Number, X::Number, X::Text].into_iter().enumerate() {
            // Now and then, the first class too.
            if x == X::Text && pass % 3 > 0 {
                continue;
            }
            let batch = rows(&lab, x, next, 1);
            all.extend(ingest(&lab, &format!("p{pass}-{i}"), &batch).await);
            next += 10;
        }
        done(&lab).await;
        let kinds = kinds(&lab.head().await);
        let numbers = kinds.iter().filter(|k| *k == "Int64").count();
        assert!(
            numbers <= 4 && kinds.len() - numbers <= 4,
            "after pass {pass}: {kinds:?}"
        );
    }
    // What was waiting for a tier may go up one more.
    let mut passes = 0;
    while lab.pass().await.0.totals.status != Status::Idle {
        passes += 1;
        assert!(passes < 4, "passes do not converge");
    }
    lab.idle().await;
    all.sort();
    assert_eq!(live(&lab).await, all);
}

#[tokio::test]
async fn every_class_expires_into_the_archive_and_comes_back() {
    let lab = lab(true);
    let (mut old, mut young) = (Vec::new(), Vec::new());
    for i in 0..12 {
        let x = ALL[i % 3];
        let first = 100 * i as i64;
        if i < 6 {
            old.extend(ingest(&lab, &format!("old-{i}"), &rows(&lab, x, first, 20)).await);
        } else {
            young.extend(ingest(&lab, &format!("young-{i}"), &rows(&lab, x, first, 1)).await);
        }
    }
    done(&lab).await;
    lab.idle().await;
    lab.time.advance(TimeDelta::days(12));
    let mut archived = 0;
    for _ in 0..3 {
        let (report, _) = lab.pass().await;
        archived += report.totals.counters.ledger.rows_archived;
    }
    assert_eq!(archived, 60);
    (old.sort(), young.sort());
    assert_eq!(live(&lab).await, young);
    lab.idle().await;
    let cold = keys(&lab.cold).await;
    let objects: Vec<String> = cold
        .into_iter()
        .filter(|k| k.ends_with(".parquet"))
        .collect();
    assert_eq!(read(&lab.cold, &objects).await, old);

    let clock = Arc::new(ManualClock::new(lab.time.now(), 9));
    let restored = restore(&lab.cold, &lab.hot, &clock, &everything())
        .await
        .unwrap();
    assert_eq!(restored.status, RestoreStatus::Done, "{restored:?}");
    let mut all = [old.clone(), young].concat();
    all.sort();
    assert_eq!(live(&lab).await, all);
    for _ in 0..4 {
        let (report, _) = lab.pass().await;
        assert!(report.totals.quarantined.is_empty(), "{report:?}");
        assert_eq!(live(&lab).await, all, "{report:?}");
    }
    lab.idle().await;
}

#[tokio::test]
async fn a_value_that_a_finer_unit_cannot_hold_keeps_its_file_apart() {
    let lab = lab(false);
    let time = |column: ArrayRef, first: i64| {
        let columns: [(&str, ArrayRef); 3] = [
            ("timestamp", column),
            (
                "n",
                Arc::new(Int64Array::from_iter_values(first..first + 2)),
            ),
            ("x", Arc::new(StringArray::from(vec!["a", "b"]))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    };
    let now = lab.time.now();
    // Year 9999, the common stand-in for "never".
    let never = vec![now.timestamp_micros(), 253_402_214_400_000_000];
    let nanos = vec![now.timestamp_nanos_opt().unwrap(); 2];
    let mut all = ingest(
        &lab,
        "micros",
        &time(Arc::new(TimestampMicrosecondArray::from(never)), 0),
    )
    .await;
    for i in 1..4 {
        let finer = Arc::new(TimestampNanosecondArray::from(nanos.clone()));
        all.extend(ingest(&lab, &format!("nanos-{i}"), &time(finer, 10 * i)).await);
    }
    done(&lab).await;
    let head = lab.head().await;
    let kinds: Vec<&str> = head
        .snapshots
        .iter()
        .map(|s| head.schemas[&s.schema.unwrap()].0[0].kind.as_str())
        .collect();
    assert_eq!(kinds.len(), 2, "{kinds:?}");
    assert!(
        kinds.contains(&"Timestamp(µs)") && kinds.contains(&"Timestamp(ns)"),
        "{kinds:?}"
    );
    assert_eq!(head.apart[0].column.as_deref(), Some("timestamp"));
    all.sort();
    assert_eq!(live(&lab).await, all);
    lab.idle().await;
}

/// A class whose only snapshot is of an older version, which did not say its columns, is written
/// once more: else each pass would find out anew what it is apart from.
#[tokio::test]
async fn a_snapshot_of_unknown_columns_is_read_once() {
    let lab = lab(false);
    for (i, x) in [X::Text, X::Number].into_iter().enumerate() {
        let batch = rows(&lab, x, 100 * i as i64, 1);
        ingest(&lab, &format!("f{i}"), &batch).await;
    }
    done(&lab).await;
    let last = keys(&lab.hot).await;
    let last = last
        .iter()
        .rfind(|k| k.starts_with("_icepack/acme/manifest/"));
    let mut head = lab.head().await;
    head.apart.clear();
    head.schemas.clear();
    head.snapshots.iter_mut().for_each(|s| s.schema = None);
    put(&lab.hot, last.unwrap(), serde_json::to_vec(&head).unwrap()).await;
    for i in 0..3 {
        ingest(
            &lab,
            &format!("g{i}"),
            &rows(&lab, X::Number, 1_000 + 10 * i, 1),
        )
        .await;
    }
    let mut passes = 0;
    while lab.pass().await.0.totals.status != Status::Idle {
        passes += 1;
        assert!(passes < 5, "passes do not converge");
    }
    lab.idle().await;
    assert_eq!(live(&lab).await.len(), 50);
}
