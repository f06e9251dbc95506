//! Files of a folder whose columns contradict each other are of several schema classes: each is
//! compacted, expires and comes back by itself, and no file is set aside for another.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Field, Int64Type};
use arrow::util::display::array_value_to_string;
use chrono::TimeDelta;
use icepack::clock::ManualClock;
use icepack::pass::Selection;
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
    let x = batch
        .column_by_name("x")
        .or_else(|| batch.column_by_name("X"));
    let x = x.unwrap();
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
    old.sort();
    young.sort();
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

/// A file of a row for each value of the column `name`, from `first` on.
fn rows_of(lab: &Lab, name: &str, column: &ArrayRef, first: i64) -> RecordBatch {
    let rows = i64::try_from(column.len()).unwrap();
    let now = lab.time.now().timestamp_micros();
    let columns: [(&str, ArrayRef); 3] = [
        (
            "timestamp",
            Arc::new(TimestampMicrosecondArray::from(vec![now; column.len()])),
        ),
        (
            "n",
            Arc::new(Int64Array::from_iter_values(first..first + rows)),
        ),
        (name, Arc::clone(column)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, a)| (name, a, true))).unwrap()
}

/// Passes until nothing is to be done.
async fn settle(lab: &Lab) {
    let mut passes = 0;
    loop {
        let (report, _) = lab.pass().await;
        assert!(report.totals.quarantined.is_empty(), "{report:?}");
        if report.totals.status == Status::Idle {
            break;
        }
        passes += 1;
        assert!(passes < 6, "passes do not converge");
    }
    lab.idle().await;
}

/// The types of `x` among the live rows, and the values by number.
async fn united(lab: &Lab) -> (Vec<String>, Vec<String>) {
    let rows = live(lab).await;
    let kinds: std::collections::BTreeSet<String> = rows.iter().map(|r| r.1.clone()).collect();
    (
        kinds.into_iter().collect(),
        rows.into_iter().map(|r| r.2).collect(),
    )
}

fn decimals(values: &[i128], precision: u8, scale: i8) -> ArrayRef {
    let array = Decimal128Array::from(values.to_vec());
    Arc::new(array.with_precision_and_scale(precision, scale).unwrap())
}

fn record(fields: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let field = |(name, a): (&str, ArrayRef)| {
        let field = Field::new(name, a.data_type().clone(), true);
        (Arc::new(field), a)
    };
    Arc::new(StructArray::from(
        fields.into_iter().map(field).collect::<Vec<_>>(),
    ))
}

fn numbers(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn list_of(values: ArrayRef) -> ArrayRef {
    let element = Arc::new(Field::new("element", values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(vec![1; values.len()]);
    Arc::new(ListArray::new(element, offsets, values, None))
}

#[tokio::test]
async fn columns_that_unite_without_loss_are_one_class() {
    let small: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let days: ArrayRef = Arc::new(Date32Array::from(vec![1]));
    let day_ms: ArrayRef = Arc::new(Date64Array::from(vec![2 * 86_400_000]));
    let a = || record(vec![("a", small.clone())]);
    let b = || record(vec![("b", texts(&["x"])), ("A", numbers(&[3]))]);
    /// A name, the columns of two files, and the columns of the files after.
    type Case<'a> = (&'a str, [(&'a str, ArrayRef); 2], Vec<&'a str>);
    let cases: Vec<Case> = vec![
        (
            "decimals",
            [
                ("x", decimals(&[150, -1], 9, 2)),
                ("x", decimals(&[1234], 9, 4)),
            ],
            vec!["1.5000", "-0.0100", "0.1234"],
        ),
        (
            "structs",
            [("x", a()), ("x", b())],
            vec!["{a: 1, b: }", "{a: 2, b: }", "{a: 3, b: x}"],
        ),
        (
            "lists of structs",
            [("x", list_of(a())), ("x", list_of(b()))],
            vec!["[{a: 1, b: }]", "[{a: 2, b: }]", "[{a: 3, b: x}]"],
        ),
        (
            "names",
            [("x", small.clone()), ("X", numbers(&[7]))],
            vec!["1", "2", "7"],
        ),
        (
            "days",
            [("x", days), ("x", day_ms)],
            vec!["1970-01-02", "1970-01-03"],
        ),
    ];
    for (name, files, expected) in cases {
        let lab = lab(false);
        let mut first = 0;
        for (i, (column, values)) in files.iter().enumerate() {
            ingest(
                &lab,
                &format!("f{i}"),
                &rows_of(&lab, column, values, first),
            )
            .await;
            first += values.len() as i64;
        }
        settle(&lab).await;
        let (kinds, values) = united(&lab).await;
        assert_eq!(values, expected, "{name}: {kinds:?}");
        assert_eq!(kinds.len(), 1, "{name}: {kinds:?}");
        assert_eq!(lab.head().await.snapshots.len(), 1, "{name}");
    }
}

/// Its fingerprint in the manifest is of the type that it has, and not of the one that it gets.
#[tokio::test]
async fn a_snapshot_that_is_widened_is_compared_with_its_manifest() {
    for (old, new) in [
        (decimals(&[150], 9, 2), decimals(&[1_234], 9, 4)),
        (
            record(vec![("price", decimals(&[150], 9, 2))]),
            record(vec![
                ("Price", decimals(&[1_234], 9, 4)),
                ("n", numbers(&[1])),
            ]),
        ),
    ] {
        let lab = lab(false);
        for i in 0..2 {
            ingest(&lab, &format!("old-{i}"), &rows_of(&lab, "x", &old, i)).await;
        }
        done(&lab).await;
        for i in 10..18 {
            ingest(&lab, &format!("new-{i}"), &rows_of(&lab, "x", &new, i)).await;
        }
        settle(&lab).await;
        let head = lab.head().await;
        assert_eq!(
            (head.snapshots.len(), head.snapshots[0].stats.rows),
            (1, 10)
        );
        assert_eq!(head.apart, []);
    }
}

#[tokio::test]
async fn integers_and_floats_unite_where_that_is_asked_for_and_each_value_fits() {
    let mut lab = lab(false);
    let halves: ArrayRef = Arc::new(Float64Array::from(vec![0.5]));
    for i in 0..2 {
        ingest(
            &lab,
            &format!("i{i}"),
            &rows_of(&lab, "x", &numbers(&[i]), i),
        )
        .await;
        ingest(&lab, &format!("f{i}"), &rows_of(&lab, "x", &halves, 10 + i)).await;
    }
    settle(&lab).await;
    assert_eq!(kinds(&lab.head().await), ["Float64", "Int64"]);
    lab.config.uniting.widen_to_double = true;
    for i in 0..8 {
        ingest(
            &lab,
            &format!("j{i}"),
            &rows_of(&lab, "x", &numbers(&[20 + i]), 20 + i),
        )
        .await;
    }
    settle(&lab).await;
    assert_eq!(
        kinds(&lab.head().await),
        ["Float64"],
        "what was apart is one"
    );
    let large = (1_i64 << 53) + 1;
    ingest(&lab, "large", &rows_of(&lab, "x", &numbers(&[large]), 100)).await;
    ingest(&lab, "small", &rows_of(&lab, "x", &halves, 101)).await;
    settle(&lab).await;
    let found = live(&lab).await;
    let of = |n: i64| found.iter().find(|r| r.0 == n).unwrap().clone();
    assert_eq!(of(100), (100, "Int64".to_owned(), large.to_string()));
    assert_eq!(of(20), (20, "Float64".to_owned(), "20.0".to_owned()));
    assert_eq!(found.len(), 14);
    assert!(kinds(&lab.head().await).len() >= 2);
}

#[tokio::test]
async fn times_without_a_zone_unite_with_others_where_their_zone_is_said() {
    for assumed in [false, true] {
        let mut lab = lab(false);
        lab.config.uniting.assume_utc = assumed;
        let local = TimestampMicrosecondArray::from(vec![1_000_000]);
        let zoned: ArrayRef = Arc::new(local.clone().with_timezone("UTC"));
        let local: ArrayRef = Arc::new(local);
        for i in 0..2 {
            ingest(&lab, &format!("l{i}"), &rows_of(&lab, "x", &local, i)).await;
            ingest(&lab, &format!("z{i}"), &rows_of(&lab, "x", &zoned, 10 + i)).await;
        }
        settle(&lab).await;
        let kinds = kinds(&lab.head().await);
        if assumed {
            assert_eq!(kinds, ["Timestamp(µs, \"UTC\")"]);
            let (_, values) = united(&lab).await;
            assert_eq!(values, ["1970-01-01T00:00:01Z"; 4]);
        } else {
            assert_eq!(kinds.len(), 2, "{kinds:?}");
        }
    }
}

#[tokio::test]
async fn plan_and_status_say_what_tells_the_classes_of_a_folder_apart() {
    let lab = lab(false);
    for (i, x) in ALL.into_iter().enumerate() {
        ingest(&lab, &format!("f{i}"), &rows(&lab, x, 100 * i as i64, 1)).await;
    }
    done(&lab).await;
    let status = lab.manager().status(&Selection::all()).await.unwrap();
    let plan = lab.manager().plan(&Selection::all()).await.unwrap();
    let [folder] = status.tenants[0].classes.as_slice() else {
        panic!("{status:?}")
    };
    assert_eq!(plan.plans[0].classes, status.tenants[0].classes);
    assert_eq!((folder.folder.as_str(), folder.classes), ("acme", 3));
    let [x] = folder.columns.as_slice() else {
        panic!("{folder:?}")
    };
    let mut types: Vec<&str> = x.types.iter().flatten().map(String::as_str).collect();
    types.sort_unstable();
    assert_eq!(
        (x.column.as_str(), types),
        ("x", vec!["Boolean", "Int64", "Utf8"])
    );
}
