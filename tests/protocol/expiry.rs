//! Expired rows: together until they are worth an archive object, and never more than the brake
//! allows.

mod clocks;
mod dated;
mod owner;
use crate::support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use icepack::archive::{Archive, ArchiveOptions};
use icepack::clock::ManualClock;
use icepack::pass::Selection;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::report::{RunReport, Status};
use icepack_core::model::units::DAY;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use support::{
    Event, Store, archived, batch, eager, get, keys, live, memory, put, put_events, series, sorted,
    tenant_keys,
};

struct Lab {
    hot: Store,
    cold: Store,
    clock: Arc<ManualClock>,
    config: CompactionConfig,
}

impl Lab {
    /// Tenant `acme` keeps its rows for thirty days.
    fn new(has_archive: bool) -> Self {
        let (hot, cold) = (memory(), memory());
        let mut config = eager();
        config.retention.set("acme", Some(DAY * 30));
        if has_archive {
            config.archive = Some(Arc::new(Archive::new(
                Arc::clone(&cold),
                "memory://cold",
                ArchiveOptions::default(),
            )));
        }
        Self {
            hot,
            cold,
            clock: Arc::new(ManualClock::new(Utc::now(), 7)),
            config,
        }
    }

    fn days_ago(&self, days: i64) -> DateTime<Utc> {
        Utc::now() - TimeDelta::days(days)
    }

    /// Four files of ten rows, an hour apart, the last of them so long ago.
    async fn ingest(&self, tenant: &str, first: usize, end: DateTime<Utc>) -> Vec<Event> {
        let events = series(first, 40, end, TimeDelta::minutes(10));
        for (i, part) in events.chunks(10).enumerate() {
            put_events(&self.hot, &format!("{tenant}/{first}-{i}.parquet"), part).await;
        }
        events
    }

    async fn pass(&self) -> RunReport {
        let manager = CompactionManager::new(Arc::clone(&self.hot), self.config.clone())
            .with_clock(self.clock.clone());
        manager.run_pass(&Selection::all()).await.unwrap()
    }

    /// A pass that finds nothing to do.
    async fn idle(&self) {
        let report = self.pass().await;
        assert_eq!(
            (report.totals.status, report.totals.counters.files_compacted),
            (Status::Idle, 0),
            "{report:?}"
        );
    }

    /// Every object but the records of passes.
    async fn objects(&self) -> BTreeMap<String, Bytes> {
        let mut all = BTreeMap::new();
        for key in keys(&self.hot).await {
            if !key.starts_with("_icepack/runs/") {
                let bytes = get(&self.hot, &key).await;
                all.insert(key, bytes);
            }
        }
        all
    }
}

#[tokio::test]
async fn expired_rows_wait_in_a_snapshot_and_leave_together() {
    let lab = Lab::new(true);
    // Expired seven hours ago at most: half of the slack is left.
    let first = lab
        .ingest("acme", 0, lab.days_ago(30) - TimeDelta::minutes(10))
        .await;
    let fresh = lab.ingest("acme", 40, lab.days_ago(1)).await;
    let report = lab.pass().await;
    assert_eq!(
        (
            report.totals.counters.ledger.rows_in,
            report.totals.counters.ledger.rows_kept,
            report.totals.counters.ledger.rows_archived
        ),
        (80, 80, 0),
        "{report:?}"
    );
    assert_eq!(
        live(&lab.hot, "acme").await,
        sorted([first.clone(), fresh.clone()].concat())
    );
    assert_eq!(keys(&lab.cold).await, [] as [&str; 0]);
    lab.idle().await;

    lab.clock.advance(TimeDelta::hours(20));
    let report = lab.pass().await;
    assert_eq!(
        (
            report.totals.counters.ledger.rows_archived,
            report.totals.counters.archived_objects
        ),
        (40, 1),
        "{report:?}"
    );
    assert_eq!(
        (
            live(&lab.hot, "acme").await,
            archived(&lab.cold, "acme").await
        ),
        (sorted(fresh), sorted(first))
    );
    lab.idle().await;
}

#[tokio::test]
async fn small_expired_snapshots_become_one_object_once_they_are_worth_it() {
    let mut lab = Lab::new(true);
    let mut all = Vec::new();
    for n in 0..2 {
        all.extend(
            lab.ingest(
                "acme",
                n * 40,
                lab.days_ago(30) - TimeDelta::hours(8 - 7 * i64::try_from(n).unwrap()),
            )
            .await,
        );
        lab.pass().await;
        lab.idle().await;
    }
    assert_eq!(
        tenant_keys(&lab.hot, "acme").await.len(),
        2,
        "each pass left a snapshot, and neither was rewritten"
    );
    lab.config.archive_min_object_size = 4_000;
    let report = lab.pass().await;
    assert_eq!(
        (
            report.totals.counters.files_compacted,
            report.totals.counters.archived_objects,
            report.totals.counters.ledger.rows_archived
        ),
        (2, 1, 80),
        "{report:?}"
    );
    assert_eq!(archived(&lab.cold, "acme").await, sorted(all));
    lab.idle().await;
}

#[tokio::test]
async fn without_an_archive_nothing_waits() {
    let lab = Lab::new(false);
    lab.ingest("acme", 0, lab.days_ago(30) - TimeDelta::minutes(10))
        .await;
    assert_eq!(lab.pass().await.totals.counters.ledger.rows_expired, 40);
}

#[tokio::test]
async fn the_brake_refuses_a_tenant_and_touches_nothing_of_it() {
    let mut lab = Lab::new(true);
    lab.config.max_expire_percent = 49;
    lab.ingest("acme", 0, lab.days_ago(40)).await;
    lab.ingest("acme", 40, lab.days_ago(1)).await;
    lab.ingest("other", 80, lab.days_ago(400)).await;
    let before: BTreeMap<_, _> = lab
        .objects()
        .await
        .into_iter()
        .filter(|(key, _)| key.contains("acme"))
        .collect();
    let report = lab.pass().await;
    let status = |name: &str| {
        report
            .tenants
            .iter()
            .find(|t| t.tenant == name)
            .map(|t| (t.status, t.counters.files_compacted))
            .unwrap()
    };
    assert_eq!(
        (status("acme"), status("other")),
        ((Status::Refused, 0), (Status::Done, 4)),
        "{report:?}"
    );
    let why = report.tenants[0].error.clone().unwrap();
    for part in [
        "about 40 of the 80 rows (50%)",
        "tenant `acme`",
        "(ttl 30d)",
        "max_expire_percent is 49",
        "--max-expire-percent 100",
    ] {
        assert!(why.contains(part), "{part}: {why}");
    }
    let after: BTreeMap<_, _> = lab
        .objects()
        .await
        .into_iter()
        .filter(|(key, _)| key.contains("acme"))
        .collect();
    assert_eq!(before, after);

    lab.config.max_expire_percent = 50;
    let report = lab.pass().await;
    assert_eq!(
        (
            report.totals.status,
            report.totals.counters.ledger.rows_archived
        ),
        (Status::Done, 40),
        "{report:?}"
    );
}

#[tokio::test]
async fn the_brake_holds_snapshots_too() {
    let mut lab = Lab::new(false);
    lab.ingest("acme", 0, lab.days_ago(1)).await;
    lab.pass().await;
    lab.clock.advance(TimeDelta::days(40));
    lab.config.max_expire_percent = 99;
    let before = lab.objects().await;
    let report = lab.pass().await;
    assert_eq!(
        (
            report.totals.status,
            report.tenants[0].counters.requests.get
        ),
        (Status::Refused, 1),
        "head alone was read: {report:?}"
    );
    assert_eq!(lab.objects().await, before);
    lab.config.max_expire_percent = 100;
    assert_eq!(lab.pass().await.totals.counters.ledger.rows_expired, 40);
}

/// Files without statistics say nothing beforehand. What was really read says it before the commit.
#[tokio::test]
async fn what_a_footer_hides_is_found_before_the_commit() {
    let mut lab = Lab::new(true);
    lab.config.max_expire_percent = 50;
    let events = series(0, 40, lab.days_ago(40), TimeDelta::minutes(10));
    for (i, part) in events.chunks(10).enumerate() {
        let batch = batch(part);
        let properties = WriterProperties::builder()
            .set_statistics_enabled(EnabledStatistics::None)
            .build();
        let mut w = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        w.write(&batch).unwrap();
        put(
            &lab.hot,
            &format!("acme/{i}.parquet"),
            w.into_inner().unwrap(),
        )
        .await;
    }
    let raw = tenant_keys(&lab.hot, "acme").await;
    let report = lab.pass().await;
    assert_eq!(
        (report.totals.status, report.totals.counters.files_compacted),
        (Status::Refused, 0),
        "{report:?}"
    );
    let why = report.tenants[0].error.clone().unwrap();
    assert!(
        why.contains("would expire 40 of the 40 rows (100%)")
            && why.contains("the files of this group stay as they are"),
        "{why}"
    );
    assert_eq!(tenant_keys(&lab.hot, "acme").await, raw);
    assert_eq!(
        (
            live(&lab.hot, "acme").await,
            archived(&lab.cold, "acme").await.len()
        ),
        (sorted(events), 0)
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_surveyed_stops_nothing() {
    let mut lab = Lab::new(false);
    lab.config.max_expire_percent = 50;
    lab.ingest("acme", 0, lab.days_ago(1)).await;
    put(
        &lab.hot,
        "acme/bad.parquet",
        b"this is no Parquet file".to_vec(),
    )
    .await;
    let report = lab.pass().await;
    assert_eq!(
        (
            report.totals.status,
            report.totals.counters.ledger.rows_kept
        ),
        (Status::Quarantined, 40),
        "{report:?}"
    );
    assert_eq!(report.totals.quarantined, ["acme/bad.parquet"]);
}

#[tokio::test]
async fn only_where_rows_expire_and_the_brake_is_set_are_files_surveyed() {
    let gets = async |percent: u8, tenant: &str| {
        let mut lab = Lab::new(false);
        lab.config.max_expire_percent = percent;
        lab.ingest(tenant, 0, lab.days_ago(1)).await;
        lab.pass().await.totals.counters.requests.get
    };
    let plain = gets(100, "acme").await;
    assert_eq!(gets(50, "acme").await, plain + 4, "one for each raw file");
    assert_eq!(gets(50, "keeps-for-ever").await, plain);
}

#[tokio::test]
async fn a_plan_says_what_would_expire() {
    let mut lab = Lab::new(true);
    lab.config.max_expire_percent = 30;
    lab.ingest("acme", 0, lab.days_ago(40)).await;
    lab.ingest("acme", 40, lab.days_ago(1)).await;
    lab.ingest("other", 80, lab.days_ago(400)).await;
    let before = lab.objects().await;
    let manager = CompactionManager::new(Arc::clone(&lab.hot), lab.config.clone());
    let report = manager.plan(&Selection::all()).await.unwrap();
    let found = report.plans[0].expiry.clone().unwrap();
    assert_eq!(
        (
            found.rows,
            found.rows_expiring,
            found.percent,
            found.files_unknown
        ),
        (80, 40, 50.0, 0)
    );
    assert!(
        found.is_too_much() && found.object_bytes.len() == 1,
        "{found:?}"
    );
    assert_eq!(report.plans[1].expiry, None, "rows are kept for ever");
    assert_eq!(lab.objects().await, before);
}
