//! The column that dates a row is changed after snapshots were made: what head says of their times
//! is of another column, and nothing expires by it.

use arrow::array::{
    ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
};
use icepack::protocol::discover;
use icepack_core::model::inspect::PlanReport;
use icepack_core::model::manifest::Manifest;
use icepack_core::model::names::Tenant;
use icepack_core::plan::live;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;

/// A row: its id, `timestamp`, `created_at`.
type Row = (String, i64, i64);

/// `count` rows from number `first` on: the later a row's `timestamp`, the earlier its
/// `created_at`.
fn rows(first: usize, count: usize, timestamp: DateTime<Utc>, created: DateTime<Utc>) -> Vec<Row> {
    let second = |n: usize| i64::try_from(n).unwrap() * 1_000_000;
    (first..first + count)
        .map(|n| {
            (
                format!("{n:04}"),
                timestamp.timestamp_millis() * 1_000 + second(n),
                created.timestamp_millis() * 1_000 - second(n),
            )
        })
        .collect()
}

fn file(rows: &[Row]) -> Vec<u8> {
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "event_id",
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|r| r.0.as_str()),
            )),
        ),
        (
            "timestamp",
            Arc::new(TimestampMicrosecondArray::from_iter_values(
                rows.iter().map(|r| r.1),
            )),
        ),
        (
            "created_at",
            Arc::new(
                TimestampMillisecondArray::from_iter_values(rows.iter().map(|r| r.2 / 1_000))
                    .with_timezone("UTC"),
            ),
        ),
    ];
    support::parquet(&RecordBatch::try_from_iter(columns).unwrap())
}

fn decode(bytes: Bytes) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes)
        .unwrap()
        .build()
        .unwrap()
    {
        let batch = batch.unwrap();
        let column = |name: &str| batch.column_by_name(name).unwrap().clone();
        let (ids, timestamps, created) = (
            column("event_id"),
            column("timestamp"),
            column("created_at"),
        );
        let ids = ids.as_any().downcast_ref::<StringArray>().unwrap();
        let timestamps = timestamps
            .as_any()
            .downcast_ref::<TimestampMicrosecondArray>()
            .unwrap();
        let created = created
            .as_any()
            .downcast_ref::<TimestampMillisecondArray>()
            .unwrap();
        rows.extend((0..batch.num_rows()).map(|i| {
            (
                ids.value(i).to_owned(),
                timestamps.value(i),
                created.value(i) * 1_000,
            )
        }));
    }
    rows
}

fn sorted_rows(rows: &[&[Row]]) -> Vec<Row> {
    let mut all = rows.concat();
    all.sort();
    all
}

impl Lab {
    fn manager(&self) -> CompactionManager {
        CompactionManager::new(Arc::clone(&self.hot), self.config.clone())
            .with_clock(self.clock.clone())
    }

    /// Three files, and a pass by `timestamp` that makes one snapshot of them. Rows are kept for
    /// ever so far.
    async fn compacted(&mut self, rows: &[Row]) {
        self.config.retention.set("acme", None);
        for (i, part) in rows.chunks(rows.len().div_ceil(3)).enumerate() {
            put(
                &self.hot,
                &format!("acme/{:?}-{i}.parquet", rows[0].0),
                file(part),
            )
            .await;
        }
        let report = self.pass().await;
        assert_eq!(
            (
                report.totals.counters.ledger.rows_kept,
                report.totals.counters.files_written
            ),
            (rows.len() as u64, 1),
            "{report:?}"
        );
    }

    /// From now on `created_at` dates a row, and rows are kept for thirty days.
    fn correct(&mut self) {
        self.config.timestamp_column = "created_at".parse().unwrap();
        self.config.retention.set("acme", Some(DAY * 30));
    }

    /// The rows of each live file, in the file's order.
    async fn files(&self) -> Vec<Vec<Row>> {
        let views = self.manager().live_views(&Selection::all()).await.unwrap();
        let mut files = Vec::new();
        for file in views.iter().flat_map(|v| &v.files) {
            files.push(decode(get(&self.hot, &file.key).await));
        }
        files
    }

    async fn rows(&self) -> Vec<Row> {
        let mut all = self.files().await.concat();
        all.sort();
        all
    }

    async fn head(&self) -> Manifest {
        discover::head(self.hot.as_ref(), &Tenant::parse("acme").unwrap(), 0)
            .await
            .unwrap()
            .unwrap()
    }

    /// What head says that its snapshots are dated by.
    async fn dated_by(&self) -> Vec<Option<String>> {
        let head = serde_json::to_value(self.head().await).unwrap();
        let column = |s: &serde_json::Value| {
            s.get("dated_by")
                .and_then(|c| c.as_str())
                .map(str::to_owned)
        };
        head["snapshots"]
            .as_array()
            .unwrap()
            .iter()
            .map(column)
            .collect()
    }

    /// Rewrites head as a version wrote it that did not say which column its ranges are of.
    async fn forget_columns(&self) {
        let head = self.head().await;
        let mut old = serde_json::to_value(&head).unwrap();
        for snapshot in old["snapshots"].as_array_mut().unwrap() {
            snapshot.as_object_mut().unwrap().remove("dated_by");
        }
        put(
            &self.hot,
            &format!("_icepack/acme/manifest/{:020}.json", head.version),
            old.to_string(),
        )
        .await;
    }

    async fn sound(&self) {
        let findings = self
            .manager()
            .verify(&Selection::all(), true)
            .await
            .unwrap()
            .findings;
        assert_eq!(findings, []);
    }

    async fn planned(&self) -> PlanReport {
        self.manager().plan(&Selection::all()).await.unwrap()
    }
}

#[tokio::test]
async fn ranges_of_another_column_expire_nothing() {
    let mut lab = Lab::new(false);
    let all = rows(0, 30, lab.days_ago(60), Utc::now() - TimeDelta::hours(2));
    lab.compacted(&all).await;
    lab.correct();
    lab.sound().await;
    let plan = lab.planned().await;
    let group = &plan.plans[0].groups[0];
    assert_eq!(
        group.reason.to_string(),
        "times are known by another column than `created_at`: 1 snapshot"
    );
    let report = lab.pass().await;
    assert_eq!(
        (report.totals.status, report.totals.error.clone()),
        (Status::Done, None),
        "{report:?}"
    );
    assert_eq!(
        (
            report.totals.counters.ledger.rows_kept,
            report.totals.counters.ledger.rows_expired,
            report.totals.quarantined.len()
        ),
        (30, 0, 0),
        "{report:?}"
    );
    let files = lab.files().await;
    assert!(
        files.iter().all(|f| f.is_sorted_by_key(|r| r.2)),
        "in the order of `created_at`"
    );
    assert_eq!(lab.rows().await, sorted_rows(&[&all]));
    lab.sound().await;
    lab.idle().await;
}

#[tokio::test]
async fn rows_that_are_old_by_the_new_column_leave() {
    for has_archive in [false, true] {
        let mut lab = Lab::new(has_archive);
        // Young by `timestamp`, all of them.
        let old = rows(0, 30, Utc::now() - TimeDelta::hours(3), lab.days_ago(60));
        let young = rows(30, 30, Utc::now() - TimeDelta::hours(3), lab.days_ago(2));
        lab.compacted(&sorted_rows(&[&old, &young])).await;
        lab.correct();
        let report = lab.pass().await;
        let ledger = report.totals.counters.ledger;
        let gone = if has_archive {
            (30, 30, 0)
        } else {
            (30, 0, 30)
        };
        assert_eq!(
            (ledger.rows_kept, ledger.rows_archived, ledger.rows_expired),
            gone,
            "{report:?}"
        );
        assert_eq!(lab.rows().await, sorted_rows(&[&young]));
        let mut cold = Vec::new();
        for key in keys(&lab.cold)
            .await
            .into_iter()
            .filter(|k| k.ends_with(".parquet"))
        {
            cold.extend(decode(get(&lab.cold, &key).await));
        }
        cold.sort();
        assert_eq!(
            cold,
            if has_archive {
                sorted_rows(&[&old])
            } else {
                Vec::new()
            }
        );
        lab.sound().await;
        lab.idle().await;
    }
}

#[tokio::test]
async fn raw_files_and_snapshots_of_another_column_merge() {
    let mut lab = Lab::new(false);
    let first = rows(0, 30, lab.days_ago(60), Utc::now() - TimeDelta::hours(2));
    lab.compacted(&first).await;
    let second = rows(30, 30, lab.days_ago(70), Utc::now() - TimeDelta::hours(3));
    for (i, part) in second.chunks(10).enumerate() {
        put(&lab.hot, &format!("acme/late-{i}.parquet"), file(part)).await;
    }
    lab.correct();
    for _ in 0..3 {
        let report = lab.pass().await;
        assert_eq!(
            (
                report.totals.counters.ledger.rows_expired,
                report.totals.quarantined.len(),
                report.totals.error.clone()
            ),
            (0, 0, None),
            "{report:?}"
        );
        assert_eq!(lab.rows().await, sorted_rows(&[&first, &second]));
    }
    assert!(
        lab.files()
            .await
            .iter()
            .all(|f| f.is_sorted_by_key(|r| r.2))
    );
    assert!(
        lab.dated_by()
            .await
            .iter()
            .all(|c| c.as_deref() == Some("created_at"))
    );
    lab.idle().await;
}

#[tokio::test]
async fn a_reader_by_time_is_given_what_may_hold_its_rows() {
    let mut lab = Lab::new(false);
    let all = rows(0, 30, lab.days_ago(60), Utc::now() - TimeDelta::hours(2));
    lab.compacted(&all).await;
    let since = icepack_core::model::file::Micros::from_datetime(lab.days_ago(1));
    let found = async |lab: &Lab| {
        let views = lab.manager().live_views(&Selection::all()).await.unwrap();
        views
            .into_iter()
            .flat_map(|v| live::between(v, Some(since), None).files)
            .count()
    };
    assert_eq!(
        found(&lab).await,
        0,
        "by `timestamp`, none of its rows is so young"
    );
    lab.correct();
    assert_eq!(
        found(&lab).await,
        1,
        "by `created_at`, nothing is known of it"
    );
    let standing = lab
        .manager()
        .status(&Selection::all())
        .await
        .unwrap()
        .tenants
        .remove(0);
    assert_eq!(
        (standing.oldest, standing.newest, standing.overdue_s),
        (None, None, None)
    );
}

#[tokio::test]
async fn a_manifest_that_names_no_column_goes_on_by_what_the_footers_say() {
    for has_archive in [false, true] {
        let mut lab = Lab::new(has_archive);
        let all = rows(0, 30, lab.days_ago(60), Utc::now() - TimeDelta::hours(2));
        lab.compacted(&all).await;
        lab.forget_columns().await;
        // Nothing is due: what is settled is the column.
        let report = lab.pass().await;
        assert_eq!(
            (
                report.totals.counters.files_compacted,
                report.totals.error.clone()
            ),
            (0, None),
            "{report:?}"
        );
        assert_eq!(lab.dated_by().await, [Some("timestamp".to_owned())]);
        lab.idle().await;

        lab.forget_columns().await;
        lab.config.retention.set("acme", Some(DAY * 30));
        let report = lab.pass().await;
        let ledger = report.totals.counters.ledger;
        assert_eq!(
            (ledger.rows_archived, ledger.rows_expired),
            if has_archive { (30, 0) } else { (0, 30) },
            "{report:?}"
        );
        assert_eq!(lab.rows().await, []);
    }
}

#[tokio::test]
async fn a_manifest_that_names_no_column_expires_nothing_by_another() {
    let mut lab = Lab::new(false);
    let all = rows(0, 30, lab.days_ago(60), Utc::now() - TimeDelta::hours(2));
    lab.compacted(&all).await;
    lab.forget_columns().await;
    lab.correct();
    lab.sound().await;
    let report = lab.pass().await;
    assert_eq!(
        (
            report.totals.counters.ledger.rows_kept,
            report.totals.counters.ledger.rows_expired,
            report.totals.error.clone()
        ),
        (30, 0, None),
        "{report:?}"
    );
    assert_eq!(lab.rows().await, sorted_rows(&[&all]));
    assert_eq!(lab.dated_by().await, [Some("created_at".to_owned())]);
    lab.idle().await;
}

/// A snapshot from before the column was introduced: by it, nobody can say how old its rows are.
#[tokio::test]
async fn a_snapshot_without_the_column_is_left_alone() {
    let mut lab = Lab::new(false);
    lab.config.retention.set("acme", None);
    let events = lab.ingest("acme", 0, lab.days_ago(60)).await;
    lab.pass().await;
    lab.correct();
    let before = lab.objects().await;
    lab.idle().await;
    assert_eq!(lab.objects().await, before);
    assert_eq!(live(&lab.hot, "acme").await, sorted(events));
    assert_eq!(lab.head().await.quarantined, []);
    let plan = lab.planned().await;
    assert_eq!(
        plan.plans[0].skipped[0].reason.to_string(),
        "has no timestamp column `created_at`: its rows cannot be dated by it, and never expire"
    );
}
