//! Names that come again after their files were compacted and deleted. The same rows are never taken
//! in twice, other rows never by themselves.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use icepack::clock::ManualClock;
use icepack::pass::Selection;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::manifest::Manifest;
use icepack_core::model::policy::{CompactionStrategy, Rewritten};
use icepack_core::model::report::{Status, TenantReport};
use object_store::local::LocalFileSystem;

use crate::support::{
    Event, Store, eager, get, keys, live, memory, put, put_events, series, sorted, tenant_keys,
};

const FIRST: &str = "acme/part-0.parquet";

struct Lab {
    store: Store,
    config: CompactionConfig,
    clock: Arc<ManualClock>,
    _dir: Option<tempfile::TempDir>,
}

impl Lab {
    fn new(directory: bool) -> Self {
        let dir = directory.then(|| tempfile::tempdir().unwrap());
        let store: Store = match &dir {
            Some(dir) => Arc::new(LocalFileSystem::new_with_prefix(dir.path()).unwrap()),
            None => memory(),
        };
        Self {
            store,
            config: CompactionConfig {
                strategy: CompactionStrategy::FullCompaction,
                ..eager()
            },
            clock: Arc::new(ManualClock::new(Utc::now(), 7)),
            _dir: dir,
        }
    }

    /// Both kinds of stores. Three files of five rows each were packed, and are gone.
    async fn swept() -> [(Self, Vec<Event>); 2] {
        let mut labs = Vec::new();
        for directory in [false, true] {
            let lab = Self::new(directory);
            let mut all = Vec::new();
            for i in 0..3 {
                let rows = lab.rows(i * 5);
                put_events(&lab.store, &format!("acme/part-{i}.parquet"), &rows).await;
                all.extend(rows);
            }
            assert_eq!(lab.pass().await.status, Status::Done);
            assert_eq!(lab.raw().await, Vec::<String>::new());
            assert_eq!(live(&lab.store, "acme").await, sorted(all.clone()));
            labs.push((lab, all));
        }
        labs.try_into().ok().unwrap()
    }

    /// Five rows of two hours ago.
    fn rows(&self, first: usize) -> Vec<Event> {
        let end = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        series(first, 5, end, TimeDelta::seconds(1))
    }

    async fn pass(&self) -> TenantReport {
        let manager = CompactionManager::new(Arc::clone(&self.store), self.config.clone())
            .with_clock(self.clock.clone());
        let report = manager.run_pass(&Selection::all()).await.unwrap();
        let [tenant] = report.tenants.try_into().unwrap();
        tenant
    }

    /// The tenant's files that are no snapshots.
    async fn raw(&self) -> Vec<String> {
        let mut raw = tenant_keys(&self.store, "acme").await;
        raw.retain(|key| !key.contains("/snapshot."));
        raw
    }

    async fn head(&self) -> Manifest {
        let mut versions = keys(&self.store).await;
        versions.retain(|key| key.starts_with("_icepack/acme/manifest/"));
        serde_json::from_slice(&get(&self.store, versions.last().unwrap()).await).unwrap()
    }
}

#[tokio::test]
async fn a_file_that_is_uploaded_again_doubles_no_row_and_is_deleted() {
    for (lab, all) in Lab::swept().await {
        put_events(&lab.store, FIRST, &lab.rows(0)).await;
        assert_eq!(
            live(&lab.store, "acme").await,
            sorted(all.clone()),
            "before any pass"
        );
        let report = lab.pass().await;
        let c = report.counters;
        assert_eq!(
            (
                report.status,
                c.files_repeated,
                c.files_deleted,
                c.ledger.rows_in
            ),
            (Status::Done, 1, 1, 0)
        );
        assert_eq!(lab.raw().await, Vec::<String>::new());
        assert_eq!(live(&lab.store, "acme").await, sorted(all.clone()));
        let version = lab.head().await.version;
        assert_eq!(lab.pass().await.status, Status::Idle);
        assert_eq!(lab.head().await.version, version, "nothing is left to do");

        // However often.
        put_events(&lab.store, FIRST, &lab.rows(0)).await;
        assert_eq!(lab.pass().await.counters.files_repeated, 1);
        assert_eq!(live(&lab.store, "acme").await, sorted(all));
    }
}

/// It may be read by path, like any file.
#[tokio::test]
async fn a_file_that_is_uploaded_again_is_kept_for_its_readers_as_long_as_others() {
    let [(mut lab, all), _] = Lab::swept().await;
    lab.config.delete_delay = Duration::from_secs(3_600);
    put_events(&lab.store, FIRST, &lab.rows(0)).await;
    assert_eq!(lab.pass().await.counters.files_repeated, 1);
    lab.clock.advance(TimeDelta::minutes(50));
    assert_eq!(lab.pass().await.counters.files_repeated, 0, "told once");
    assert_eq!(lab.raw().await, [FIRST]);
    lab.clock.advance(TimeDelta::minutes(20));
    lab.pass().await;
    assert_eq!(lab.raw().await, Vec::<String>::new());
    assert_eq!(live(&lab.store, "acme").await, sorted(all));
}

#[tokio::test]
async fn other_rows_under_a_name_that_is_gone_are_set_aside_and_said() {
    for (lab, all) in Lab::swept().await {
        // As many rows, and more.
        let others = [
            lab.rows(700),
            series(700, 9, Utc::now(), TimeDelta::seconds(1)),
        ];
        for rows in others {
            put_events(&lab.store, FIRST, &rows).await;
            assert_eq!(live(&lab.store, "acme").await, sorted(all.clone()));
            let report = lab.pass().await;
            assert_eq!(report.status, Status::Quarantined, "exit code 3");
            let [aside] = report.set_aside.as_slice() else {
                panic!("{report:?}")
            };
            assert!(
                aside.starts_with(
                    "acme/part-0.parquet: a file of this name was compacted and is gone since"
                ) && aside.contains("this one has ETag")
                    && aside.contains("other rows"),
                "both sides are named: {aside}"
            );
            // Said once, by the pass that met it.
            for _ in 0..2 {
                let again = lab.pass().await;
                assert_eq!((again.status, again.set_aside.len()), (Status::Idle, 0));
            }
            assert_eq!(lab.raw().await, [FIRST]);
            assert_eq!(
                live(&lab.store, "acme").await,
                sorted(all.clone()),
                "not live"
            );
        }
        // The owner gives the rows a name of their own. What the first file held is known as before.
        let body = get(&lab.store, FIRST).await;
        put(&lab.store, "acme/late.parquet", body).await;
        put_events(&lab.store, FIRST, &lab.rows(0)).await;
        let report = lab.pass().await;
        assert_eq!(report.counters.ledger.rows_in, 24);
        assert_eq!(lab.raw().await, Vec::<String>::new());
        assert_eq!(live(&lab.store, "acme").await.len(), 24);
    }
}

#[tokio::test]
async fn what_is_no_parquet_file_under_a_name_that_is_gone_is_set_aside() {
    for rewritten in [Rewritten::SetAside, Rewritten::Append] {
        for (mut lab, all) in Lab::swept().await {
            lab.config.rewritten = rewritten;
            put(&lab.store, FIRST, b"no Parquet".to_vec()).await;
            let report = lab.pass().await;
            assert_eq!(report.status, Status::Quarantined);
            assert!(
                report.set_aside[0].contains("its rows cannot be read"),
                "{report:?}"
            );
            assert_eq!(lab.pass().await.status, Status::Idle);
            assert_eq!(lab.raw().await, [FIRST]);
            assert_eq!(live(&lab.store, "acme").await, sorted(all));
        }
    }
}

#[tokio::test]
async fn other_rows_are_taken_in_where_that_is_asked_for() {
    for (mut lab, mut all) in Lab::swept().await {
        // One before it is asked for, one after.
        let second = "acme/part-1.parquet";
        put_events(&lab.store, FIRST, &lab.rows(700)).await;
        assert_eq!(lab.pass().await.status, Status::Quarantined);
        lab.config.rewritten = Rewritten::Append;
        put_events(&lab.store, second, &lab.rows(800)).await;
        put_events(&lab.store, "acme/part-2.parquet", &lab.rows(10)).await;
        let report = lab.pass().await;
        assert_eq!(
            (
                report.counters.files_appended,
                report.counters.files_repeated
            ),
            (2, 1),
            "the same rows are never taken in again"
        );
        all.extend([lab.rows(700), lab.rows(800)].concat());
        assert_eq!(live(&lab.store, "acme").await, sorted(all.clone()));
        let report = lab.pass().await;
        assert_eq!(report.counters.ledger.rows_in, 25, "with the snapshot's");
        assert_eq!(lab.raw().await, Vec::<String>::new());
        assert_eq!(live(&lab.store, "acme").await, sorted(all.clone()));
        assert_eq!(lab.pass().await.status, Status::Idle);
        // What was taken in last is what a retry is compared with.
        put_events(&lab.store, second, &lab.rows(800)).await;
        assert_eq!(lab.pass().await.counters.files_repeated, 1);
        assert_eq!(live(&lab.store, "acme").await, sorted(all));
    }
}

/// A writer that is not done yet: the file that was read is not the one that is there now.
#[tokio::test]
async fn a_file_that_changes_after_it_was_taken_in_is_read_again() {
    for (mut lab, mut all) in Lab::swept().await {
        lab.config.rewritten = Rewritten::Append;
        // Alone, it waits.
        lab.config.strategy = CompactionStrategy::SizeBased;
        put_events(&lab.store, FIRST, &lab.rows(700)).await;
        assert_eq!(lab.pass().await.counters.files_appended, 1);
        put_events(&lab.store, FIRST, &lab.rows(0)).await;
        assert_eq!(
            live(&lab.store, "acme").await,
            sorted(all.clone()),
            "the rows that are there are those of the snapshot"
        );
        assert_eq!(lab.pass().await.counters.files_deleted, 1);
        put_events(&lab.store, FIRST, &lab.rows(700)).await;
        assert_eq!(lab.pass().await.counters.files_appended, 1);
        lab.config.strategy = CompactionStrategy::FullCompaction;
        lab.pass().await;
        all.extend(lab.rows(700));
        assert_eq!(live(&lab.store, "acme").await, sorted(all));
    }
}

#[tokio::test]
async fn a_file_that_was_just_written_is_not_read_yet() {
    let [(mut lab, all), _] = Lab::swept().await;
    lab.config.min_raw_age = Duration::from_secs(600);
    lab.clock
        .advance(Utc::now() - icepack::clock::Clock::now(lab.clock.as_ref()));
    put_events(&lab.store, FIRST, &lab.rows(0)).await;
    assert_eq!(lab.pass().await.status, Status::Idle);
    assert_eq!(
        live(&lab.store, "acme").await,
        sorted(all),
        "and not live either"
    );
    lab.clock.advance(TimeDelta::minutes(11));
    assert_eq!(lab.pass().await.counters.files_repeated, 1);
}

#[tokio::test]
async fn a_name_is_new_again_once_files_were_swept_on_31_later_days() {
    for directory in [false, true] {
        let lab = Lab::new(directory);
        lab.clock.advance(TimeDelta::days(-40));
        let mut days = 0..;
        let mut all = Vec::new();
        let mut day = async |all: &mut Vec<Event>| {
            let n = days.next().unwrap();
            let rows = lab.rows(n * 5);
            put_events(&lab.store, &format!("acme/day-{n}.parquet"), &rows).await;
            all.extend(rows);
            assert_eq!(lab.pass().await.status, Status::Done);
            lab.clock.advance(TimeDelta::days(1));
        };
        for _ in 0..31 {
            day(&mut all).await;
        }
        put_events(&lab.store, "acme/day-0.parquet", &lab.rows(900)).await;
        assert_eq!(
            lab.pass().await.status,
            Status::Quarantined,
            "30 days later"
        );
        object_store::ObjectStoreExt::delete(&lab.store, &"acme/day-0.parquet".into())
            .await
            .unwrap();
        for _ in 0..32 {
            day(&mut all).await;
        }
        put_events(&lab.store, "acme/day-1.parquet", &lab.rows(900)).await;
        all.extend(lab.rows(900));
        assert_eq!(lab.pass().await.counters.ledger.rows_in, all.len() as u64);
        assert_eq!(live(&lab.store, "acme").await, sorted(all));
    }
}

/// What was swept before there was a memory is not known; all else of such a manifest is.
#[tokio::test]
async fn a_manifest_of_format_3_is_read() {
    let [(lab, mut all), _] = Lab::swept().await;
    let head = lab.head().await;
    let mut old = serde_json::to_value(&head).unwrap();
    old.as_object_mut().unwrap().remove("swept");
    (old["format"], old["min_reader"]) = (3.into(), 3.into());
    let key = format!("_icepack/acme/manifest/{:020}.json", head.version);
    put(&lab.store, &key, serde_json::to_vec(&old).unwrap()).await;
    put_events(&lab.store, "acme/new.parquet", &lab.rows(700)).await;
    all.extend(lab.rows(700));
    assert_eq!(lab.pass().await.status, Status::Done);
    let head = lab.head().await;
    assert_eq!((head.format, head.min_reader, head.swept.len()), (5, 4, 1));
    assert_eq!(live(&lab.store, "acme").await, sorted(all));
}
