//! Any column dates a row, or the folder, or nothing: each form of `timestamp_column`, from the
//! first pass to the restore. What comes out is read by pyarrow.

use crate::archive::restore::{plain, restorer};
use crate::support::oracle::{self, Bag};
use crate::support::{self, Store, eager, get, keys, memory, put, tenant_keys};

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    StructArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt64Array,
};
use arrow::datatypes::Field;
use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use icepack::archive::{Archive, ArchiveOptions};
use icepack::clock::ManualClock;
use icepack::pass::Selection;
use icepack::restore::RestoreRequest;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::file::Micros;
use icepack_core::model::names::Tenant;
use icepack_core::model::report::{RunReport, Status};
use icepack_core::model::units::DAY;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// Seconds since 1970, or no time.
type Time = Option<i64>;

/// A way to write times, and the setting by which they are read.
struct Form {
    setting: &'static str,
    column: fn(&[Time]) -> ArrayRef,
    /// Whether the files that are written say that they are sorted.
    is_sorted: bool,
}

fn numbers<A: From<Vec<Option<N>>> + Array + 'static, N>(
    times: &[Time],
    number: impl Fn(i64) -> N,
) -> ArrayRef {
    let numbers: Vec<Option<N>> = times.iter().map(|t| t.map(&number)).collect();
    Arc::new(A::from(numbers))
}

fn texts(times: &[Time], text: impl Fn(usize, DateTime<Utc>) -> String) -> ArrayRef {
    let text = |(i, t): (usize, &Time)| t.map(|t| text(i, DateTime::from_timestamp(t, 0).unwrap()));
    Arc::new(times.iter().enumerate().map(text).collect::<StringArray>())
}

/// In a zone of its own for each row.
fn iso(times: &[Time]) -> ArrayRef {
    texts(times, |i, at| match i % 4 {
        0 => at.format("%Y-%m-%d %H:%M:%S").to_string(),
        1 => at.format("%Y-%m-%dT%H:%M:%S.000Z").to_string(),
        n => {
            let hours = i32::try_from(n).unwrap() * 5 - 13;
            at.with_timezone(&FixedOffset::east_opt(hours * 3_600).unwrap())
                .to_rfc3339()
        }
    })
}

fn nested(times: &[Time]) -> ArrayRef {
    let of = |name: &str, array: ArrayRef| {
        (
            Arc::new(Field::new(name, array.data_type().clone(), true)),
            array,
        )
    };
    let names: ArrayRef = Arc::new(StringArray::from(vec!["x"; times.len()]));
    let times = numbers::<Int64Array, _>(times, |t| t * 1_000);
    Arc::new(StructArray::from(vec![
        of("name", names),
        of("time", times),
    ]))
}

const FORMS: &[Form] = &[
    Form {
        setting: "ts",
        column: |t| numbers::<TimestampSecondArray, _>(t, |t| t),
        is_sorted: true,
    },
    Form {
        setting: "ts",
        column: |t| numbers::<TimestampMillisecondArray, _>(t, |t| t * 1_000),
        is_sorted: true,
    },
    Form {
        setting: "ts",
        column: |t| {
            let array: TimestampMicrosecondArray =
                t.iter().map(|t| t.map(|t| t * 1_000_000)).collect();
            Arc::new(array.with_timezone("Europe/Berlin"))
        },
        is_sorted: true,
    },
    Form {
        setting: "ts",
        column: |t| numbers::<TimestampNanosecondArray, _>(t, |t| t * 1_000_000_000),
        is_sorted: true,
    },
    Form {
        setting: "ts as s",
        column: |t| numbers::<Int32Array, _>(t, |t| i32::try_from(t).unwrap()),
        is_sorted: true,
    },
    Form {
        setting: "ts as ms",
        column: |t| numbers::<Int64Array, _>(t, |t| t * 1_000),
        is_sorted: true,
    },
    Form {
        setting: "ts as us",
        column: |t| numbers::<UInt64Array, _>(t, |t| u64::try_from(t * 1_000_000).unwrap()),
        is_sorted: false,
    },
    Form {
        setting: "ts as s",
        column: |t| numbers::<Float64Array, _>(t, |t| t as f64 + 0.25),
        is_sorted: false,
    },
    Form {
        setting: "ts",
        column: |t| numbers::<Date32Array, _>(t, |t| i32::try_from(t / 86_400).unwrap()),
        is_sorted: true,
    },
    Form {
        setting: "ts",
        column: iso,
        is_sorted: false,
    },
    Form {
        setting: "ts as %d/%m/%Y %H:%M:%S",
        column: |t| texts(t, |_, at| at.format("%d/%m/%Y %H:%M:%S").to_string()),
        is_sorted: false,
    },
    Form {
        setting: "ts.time as ms",
        column: nested,
        is_sorted: false,
    },
    Form {
        setting: "path dt=%Y-%m-%d",
        column: |t| numbers::<Int64Array, _>(t, |t| t),
        is_sorted: false,
    },
    Form {
        setting: "none",
        column: |t| numbers::<Int64Array, _>(t, |t| t),
        is_sorted: false,
    },
];

struct Lab {
    hot: Store,
    cold: Store,
    clock: Arc<ManualClock>,
    config: CompactionConfig,
    /// Rows as they were written, by folder.
    rows: Vec<(String, RecordBatch)>,
}

/// `days` ago, at midnight.
fn midnight(days: i64) -> i64 {
    let day = (Utc::now() - TimeDelta::days(days)).timestamp() / 86_400;
    day * 86_400
}

fn folder(time: i64) -> String {
    let day = DateTime::from_timestamp(time, 0).unwrap();
    format!("acme/dt={}", day.format("%Y-%m-%d"))
}

impl Lab {
    /// Six old rows in three files of one folder; in three of another an old row, a fresh one and
    /// one without a time each.
    async fn new(form: &Form) -> Self {
        let mut lab = Self {
            hot: memory(),
            cold: memory(),
            clock: Arc::new(ManualClock::new(Utc::now(), 7)),
            config: CompactionConfig {
                timestamp_column: form.setting.parse().unwrap(),
                slack: Duration::ZERO,
                archive_min_object_size: 0,
                ..eager()
            },
            rows: Vec::new(),
        };
        for n in 0..3 {
            // Not in order.
            let old = [Some(midnight(41 + 2 * n)), Some(midnight(40 + 2 * n))];
            lab.put(&folder(midnight(40)), &old, form).await;
            let mixed = [Some(midnight(1)), Some(midnight(50 + n)), None];
            lab.put(&folder(midnight(1)), &mixed, form).await;
        }
        lab
    }

    async fn put(&mut self, folder: &str, times: &[Time], form: &Form) {
        let n = self.rows.len();
        let ids: Vec<String> = (0..times.len()).map(|i| format!("{n}-{i}")).collect();
        let columns: [(&str, ArrayRef); 2] = [
            ("id", Arc::new(StringArray::from(ids))),
            ("ts", (form.column)(times)),
        ];
        let columns = columns.map(|(name, array)| (name, array, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        put(
            &self.hot,
            &format!("{folder}/{n}.parquet"),
            support::parquet(&batch),
        )
        .await;
        self.rows.push((folder.to_owned(), batch));
    }

    fn manager(&self) -> CompactionManager {
        CompactionManager::new(Arc::clone(&self.hot), self.config.clone())
            .with_clock(self.clock.clone())
    }

    async fn pass(&self) -> RunReport {
        self.manager().run_pass(&Selection::all()).await.unwrap()
    }

    /// A pass that finds nothing to do.
    async fn idle(&self) {
        let report = self.pass().await;
        let found = (report.totals.status, report.totals.counters.files_compacted);
        assert_eq!(found, (Status::Idle, 0), "{report:?}");
        assert_eq!(report.totals.counters.implausible, 0);
    }

    fn expire(&mut self) {
        self.config.retention.set("acme", Some(DAY * 30));
        let archive = Archive::new(
            Arc::clone(&self.cold),
            "memory://cold",
            ArchiveOptions::default(),
        );
        self.config.archive = Some(Arc::new(archive));
    }

    /// The rows that were written and that `wanted` takes, by folder and text of their id.
    fn written(&self, wanted: impl Fn(&str, &str) -> bool) -> Bag {
        let rows = self.rows.iter().flat_map(|(folder, batch)| {
            let folder = folder.clone();
            oracle::rows(batch)
                .into_iter()
                .map(move |row| (folder.clone(), row))
        });
        let wanted = rows.filter(|(folder, row)| wanted(folder, &row.values["id"][2..]));
        oracle::bag(wanted.map(|(_, row)| row))
    }

    async fn live(&self) -> Bag {
        let views = self.manager().live_views(&Selection::all()).await.unwrap();
        let mut rows = Vec::new();
        for file in views.iter().flat_map(|v| &v.files) {
            rows.extend(oracle::read(get(&self.hot, &file.key).await));
        }
        oracle::bag(rows)
    }

    /// The footers of the snapshots.
    async fn check_snapshots(&self, form: &Form) {
        let mut found = 0;
        for key in tenant_keys(&self.hot, "acme").await {
            if key.contains("/snapshot.") {
                let bytes = get(&self.hot, &key).await;
                let file = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
                let groups = file.metadata().row_groups();
                let is_sorted = groups.iter().all(|g| g.sorting_columns().is_some());
                assert_eq!(is_sorted, form.is_sorted, "{}", form.setting);
                found += 1;
            }
        }
        assert_eq!(found, 2, "one a folder");
    }

    async fn check_verified(&self) {
        let report = self
            .manager()
            .verify(&Selection::all(), true)
            .await
            .unwrap();
        let read = report.rows_read;
        assert!(
            report.findings.is_empty() && read > 0,
            "{:?}",
            report.findings
        );
    }

    /// What comes back of the archive from `from` on and before `to`.
    async fn restored(&self, from: i64, to: i64) -> Bag {
        let back = memory();
        let request = RestoreRequest {
            from: Some(Micros(from * 1_000_000)),
            to: Some(Micros(to * 1_000_000)),
            into: Some(Tenant::parse("acme").unwrap()),
            ..crate::archive::restore::everything()
        };
        let report = restorer(plain(&self.cold), &back, &self.clock)
            .run(&request)
            .await;
        let report = report.unwrap();
        assert!(
            report.tenants.iter().all(|t| t.error.is_none()),
            "{report:?}"
        );
        let mut rows = Vec::new();
        for key in tenant_keys(&back, "acme").await {
            rows.extend(oracle::read(get(&back, &key).await));
        }
        oracle::bag(rows)
    }
}

#[tokio::test]
async fn each_form_dates_rows_from_the_first_pass_to_the_restore() {
    for form in FORMS {
        let name = format!("{} of {}", form.setting, (form.column)(&[None]).data_type());
        let mut lab = Lab::new(form).await;
        let report = lab.pass().await;
        let counters = report.totals.counters;
        let kept = (counters.ledger.rows_kept, counters.files_written);
        assert_eq!(kept, (15, 2), "{name}: {report:?}");
        // What is not the row's own time is nobody's mistake.
        let is_own = form.setting != "none" && !form.setting.starts_with("path");
        assert_eq!(counters.implausible, if is_own { 3 } else { 0 }, "{name}");
        lab.check_snapshots(form).await;
        assert_eq!(lab.live().await, lab.written(|_, _| true), "{name}");
        lab.idle().await;
        lab.check_verified().await;
        lab.expire();
        if form.setting == "none" {
            let report = lab.pass().await;
            let error = report.tenants[0].error.as_deref().unwrap();
            assert!(
                error.contains("expire after 30d") && error.contains("\"none\""),
                "{error}"
            );
            assert_eq!(lab.live().await, lab.written(|_, _| true));
            continue;
        }
        // By the folder, all of it; else each row by its own time.
        let is_path = form.setting.starts_with("path");
        let old = folder(midnight(40));
        let expires = |folder: &str, id: &str| folder == old || (!is_path && id.ends_with("-1"));
        let report = lab.pass().await;
        let archived = report.totals.counters.ledger.rows_archived;
        assert_eq!(archived, if is_path { 6 } else { 9 }, "{name}: {report:?}");
        assert_eq!(
            lab.live().await,
            lab.written(|f, id| !expires(f, id)),
            "{name}"
        );
        lab.idle().await;
        lab.check_verified().await;

        // Of the old rows, those of 42 and 43 days ago; of the folder, nothing, and all.
        if is_path {
            let day = midnight(40);
            assert_eq!(lab.restored(midnight(43), day).await, Bag::new());
            let all = lab.restored(day, midnight(39)).await;
            assert_eq!(all, lab.written(expires));
        } else {
            let some = lab.restored(midnight(43), midnight(41)).await;
            let wanted = |folder: &str, id: &str| folder == old && id.starts_with("2-");
            assert_eq!(some, lab.written(wanted), "{name}");
        }
    }
}

#[tokio::test]
async fn a_unit_that_cannot_be_is_refused_with_the_likely_one() {
    let millis = |t: &[Time]| numbers::<Int64Array, _>(t, |t| t * 1_000);
    for (setting, advice) in [("ts as s", "\"ts as ms\""), ("ts", "\"ts as ms\"")] {
        let form = Form {
            setting,
            column: millis,
            is_sorted: true,
        };
        let lab = Lab::new(&form).await;
        let before = keys(&lab.hot).await;
        let report = lab.pass().await;
        let error = report.tenants[0].error.as_deref().unwrap();
        let why = format!("set `timestamp_column` to {advice}");
        assert!(
            error.contains(&why) && error.contains("can be dated"),
            "{error}"
        );
        assert!(
            before.iter().all(|k| !k.starts_with("acme/_")),
            "{before:?}"
        );
        assert_eq!(lab.live().await, lab.written(|_, _| true));
        // The plan says as much, by the footers alone.
        let plan = lab.manager().plan(&Selection::all()).await.unwrap();
        assert!(plan.failures[0].error.contains(&why), "{:?}", plan.failures);
    }
}

#[tokio::test]
async fn what_has_no_time_is_kept_for_ever() {
    let form = Form {
        setting: "ts",
        column: |t| {
            let odd = [
                "",
                "soon",
                "2026-02-30",
                "0001-01-01T00:00:00Z",
                "9999-12-31T23:59:59Z",
            ];
            let text = |i: usize, at: DateTime<Utc>| match i {
                0 => at.to_rfc3339(),
                i => odd[i % odd.len()].to_owned(),
            };
            texts(t, text)
        },
        is_sorted: false,
    };
    let mut lab = Lab::new(&form).await;
    lab.expire();
    let all = [midnight(40); 6].map(Some);
    let folder = folder(midnight(40));
    for _ in 0..3 {
        lab.put(&folder, &all, &form).await;
    }
    let report = lab.pass().await;
    assert_eq!(report.tenants[0].error, None);
    let old = |f: &str, id: &str| f == folder && id.ends_with("-0");
    assert_eq!(lab.live().await, lab.written(|f, id| !old(f, id)));
    assert_eq!(lab.restored(0, midnight(0)).await, lab.written(old));
}

/// Under another setting nothing is known of a snapshot's times, and it is read again; under `none`
/// nobody asks for them.
#[tokio::test]
async fn a_setting_may_change() {
    let form = Form {
        setting: "ts as s",
        column: |t| numbers::<Int64Array, _>(t, |t| t),
        is_sorted: true,
    };
    let mut lab = Lab::new(&form).await;
    lab.pass().await;
    let sorted = keys(&lab.hot).await;
    lab.config.timestamp_column = "none".parse().unwrap();
    lab.idle().await;
    // New files merge with what is there.
    for n in 0..9 {
        lab.put(&folder(midnight(40)), &[Some(midnight(40 + n)); 3], &form)
            .await;
        if n % 3 == 2 {
            lab.pass().await;
            lab.idle().await;
        }
    }
    assert_eq!(lab.live().await, lab.written(|_, _| true));
    assert_ne!(keys(&lab.hot).await, sorted);
    // Back again: what nothing dated is read, and expires by its times.
    lab.config.timestamp_column = form.setting.parse().unwrap();
    lab.expire();
    let report = lab.pass().await;
    assert_eq!(report.tenants[0].error, None);
    lab.pass().await;
    lab.idle().await;
    let fresh = folder(midnight(1));
    let kept = |folder: &str, id: &str| folder == fresh && !id.ends_with("-1");
    assert_eq!(lab.live().await, lab.written(kept));
    // By what is no unit of theirs nothing expires, and nothing is touched.
    let before = tenant_keys(&lab.hot, "acme").await;
    lab.config.timestamp_column = "ts as ms".parse().unwrap();
    let report = lab.pass().await;
    assert_eq!(report.totals.counters.files_compacted, 0, "{report:?}");
    assert_eq!(tenant_keys(&lab.hot, "acme").await, before);
    assert_eq!(lab.live().await, lab.written(kept));
}

/// Two tenants of one store, each by its own setting.
#[tokio::test]
async fn each_tenant_has_its_own_setting() {
    let form = |setting| Form {
        setting,
        column: |t| numbers::<Int64Array, _>(t, |t| t),
        is_sorted: true,
    };
    let mut lab = Lab::new(&form("ts as s")).await;
    lab.config.timestamp_column = "none".parse().unwrap();
    let own = icepack::CompactionOverrides {
        timestamp_column: Some("ts as s".parse().unwrap()),
        ..Default::default()
    };
    lab.config.overrides.insert("acme".to_owned(), own);
    lab.expire();
    let text = Arc::new(StringArray::from(vec!["x"])) as ArrayRef;
    let other = RecordBatch::try_from_iter([("word", text)]).unwrap();
    for n in 0..3 {
        put(
            &lab.hot,
            &format!("other/{n}.parquet"),
            support::parquet(&other),
        )
        .await;
    }
    let report = lab.pass().await;
    let found: Vec<_> = report
        .tenants
        .iter()
        .map(|t| (t.tenant.as_str(), t.error.clone(), t.counters.ledger))
        .map(|(tenant, error, l)| (tenant.to_owned(), error, l.rows_kept, l.rows_archived))
        .collect();
    let expected = [
        ("acme".to_owned(), None, 6, 9),
        ("other".to_owned(), None, 3, 0),
    ];
    assert_eq!(found, expected);
    lab.idle().await;
    lab.check_verified().await;
    // Who reads what, by whose setting: a receipt's, and each tenant's.
    let old = folder(midnight(40));
    let some = lab.restored(midnight(43), midnight(41)).await;
    assert_eq!(some, lab.written(|f, id| f == old && id.starts_with("2-")));
    let views = lab.manager().live_views(&Selection::all()).await.unwrap();
    let has_times = views
        .iter()
        .map(|v| v.files.iter().all(|f| f.from.is_some()));
    assert_eq!(has_times.collect::<Vec<_>>(), [true, false]);
}
