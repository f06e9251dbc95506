//! Each row once: however an archive is spelled, whatever ranges are asked for, whoever commits in
//! between, and also where restored rows were archived again.

use std::path::Path as FsPath;
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use icepack::archive::{Archive, ArchiveOptions, ArchiveRequest, ArchiveTarget, BatchStream};
use icepack::pass::Selection;
use icepack::restore::RestoreRequest;
use icepack::{CompactionConfig, CompactionManager, Error};
use icepack_core::model::manifest::Receipt;
use icepack_core::model::names::Tenant;
use icepack_core::model::report::Status;
use icepack_dst::intercept::{InterceptStore, Kind};
use object_store::local::LocalFileSystem;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::copy_archive::CopyArchive;

use super::restore::{clock, cold, everything, now, plain, restore, restorer};
use super::support::job::{self, text};
use super::support::{
    Event, Store, archived, eager, keys, live, memory, put_events, series, tenant_keys,
};

/// A store and an archive in a directory, and the binary in front of them.
struct Place {
    dir: TempDir,
    store: Store,
    cold: Store,
    /// What went into tenant `acme`.
    rows: Vec<Event>,
}

impl Place {
    /// Tenant `acme` keeps its rows for thirty days. It gets two files of ten rows of 2026-01-05
    /// and two of 2026-02-05.
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let at = |name: &str| {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            Arc::new(LocalFileSystem::new_with_prefix(dir.path().join(name)).unwrap()) as Store
        };
        let (store, cold) = (at("store"), at("cold"));
        std::fs::write(
            dir.path().join("icepack.toml"),
            "store = \"store\"\n[compaction]\nmin_files_to_compact = 1\n[retention.tenants]\nacme \
             = \"30d\"\n[sweep]\norphan_grace = \"0s\"\n",
        )
        .unwrap();
        let mut rows = Vec::new();
        for (n, day) in ["2026-01-05T00:00:00Z", "2026-02-05T00:00:00Z"]
            .into_iter()
            .enumerate()
        {
            let events = series(
                n * 20,
                20,
                day.parse::<DateTime<Utc>>().unwrap(),
                TimeDelta::minutes(1),
            );
            for (i, part) in events.chunks(10).enumerate() {
                put_events(&store, &format!("acme/{n}-{i}.parquet"), part).await;
            }
            rows.extend(events);
        }
        Self {
            dir,
            store,
            cold,
            rows,
        }
    }

    /// All rows are in the archive.
    async fn archived() -> Self {
        let place = Self::new().await;
        let report = place.json(0, &["run", "--archive", "cold"]);
        assert_eq!(report["totals"]["ledger"]["rows_archived"], 40, "{report}");
        assert_eq!(archived(&place.cold, "acme").await, place.rows);
        place
    }

    fn at(&self) -> &FsPath {
        self.dir.path()
    }

    fn icepack(&self, args: &[&str]) -> Output {
        job::icepack(&[])
            .current_dir(self.at())
            .args(args)
            .output()
            .unwrap()
    }

    /// The document that a command prints, which ends with `code`.
    #[track_caller]
    fn json(&self, code: i32, args: &[&str]) -> Value {
        let out = self.icepack(&[args, &["--json"]].concat());
        let (stdout, stderr) = (text(&out.stdout), text(&out.stderr));
        assert_eq!(
            out.status.code(),
            Some(code),
            "{args:?}\n{stdout}\n{stderr}"
        );
        serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stdout}"))
    }

    /// The status of a restore of `acme`, which ends with `code`, and its rows.
    #[track_caller]
    fn restore(&self, code: i32, args: &[&str]) -> (String, u64) {
        let report = self.json(code, &[&["restore", "--tenant", "acme"], args].concat());
        let tenant = &report["tenants"][0];
        (
            tenant["status"].as_str().unwrap().to_owned(),
            tenant["rows"].as_u64().unwrap(),
        )
    }
}

#[tokio::test]
async fn an_archive_is_the_same_however_it_is_spelled() {
    let place = Place::archived().await;
    std::os::unix::fs::symlink(place.at().join("cold"), place.at().join("link")).unwrap();
    assert_eq!(
        place.restore(0, &["--archive", "cold"]),
        ("done".into(), 40)
    );
    let url = format!("file://{}/cold", place.at().display());
    for spelled in ["cold", "cold/", "store/../cold", "link", &url] {
        assert_eq!(
            place.restore(0, &["--archive", spelled]),
            ("already".into(), 0),
            "{spelled}"
        );
        assert_eq!(
            live(&place.store, "restored-acme").await,
            place.rows,
            "{spelled}"
        );
    }
}

#[tokio::test]
async fn what_was_brought_back_is_remembered_when_its_hold_is_over() {
    let place = Place::archived().await;
    let january = ["--archive", "cold", "--from", "2026-01-01", "--hold", "1s"];
    assert_eq!(place.restore(0, &january), ("done".into(), 40));
    let over = place.hold().await["until"]
        .as_str()
        .unwrap()
        .parse::<DateTime<Utc>>()
        .unwrap();
    while Utc::now() <= over {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    place.json(0, &["run", "--archive", "cold"]);
    assert_eq!(
        place.hold().await["files"],
        serde_json::json!([]),
        "the pass has seen that it is over"
    );
    assert_eq!(place.restore(0, &january), ("already".into(), 0));
    assert_eq!(
        place.restore(0, &["--archive", "cold", "--from", "2026-02-01"]),
        ("already".into(), 0),
        "all of them were brought"
    );
    assert_eq!(live(&place.store, "restored-acme").await, place.rows);
    assert_eq!(
        place.restore(0, &["--archive", "cold", "--from", "2026-02-01", "--again"]),
        ("done".into(), 20)
    );
}

impl Place {
    /// The only hold of `restored-acme`.
    async fn hold(&self) -> Value {
        let head = keys(&self.store)
            .await
            .into_iter()
            .filter(|k| k.starts_with("_icepack/restored-acme/manifest/"))
            .max()
            .unwrap();
        let head: Value =
            serde_json::from_slice(&super::support::get(&self.store, &head).await).unwrap();
        let [hold] = head["holds"].as_array().unwrap().as_slice() else {
            panic!("{head}")
        };
        hold.clone()
    }
}

/// A pass that read head before rows were restored, and lists after that, must not expire them.
#[tokio::test]
async fn a_pass_that_read_head_before_a_restore_does_not_expire_its_rows() {
    for begun in [false, true] {
        let (cold, rows) = cold().await;
        let (back, clock) = (memory(), clock(2));
        if begun {
            put_events(
                &back,
                "restored-acme/own.parquet",
                &series(9_000, 1, now(), TimeDelta::hours(1)),
            )
            .await;
            let config = CompactionConfig {
                min_files_to_compact: 1,
                ..eager()
            };
            assert_eq!(
                CompactionManager::new(Arc::clone(&back), config)
                    .with_clock(clock.clone())
                    .compact()
                    .await
                    .unwrap()
                    .files_compacted,
                1
            );
        }
        let own = live(&back, "restored-acme").await;
        let first = {
            let (cold, back, clock) = (Arc::clone(&cold), Arc::clone(&back), clock.clone());
            let whole = move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                assert_eq!(
                    runtime
                        .block_on(restore(&cold, &back, &clock, &everything()))
                        .unwrap()
                        .rows,
                    300
                );
            };
            async move { tokio::task::spawn_blocking(whole).await.unwrap() }.boxed()
        };
        // It happens just before the tenant is listed: after its head was read.
        let first = Arc::new(Mutex::new(Some(first)));
        let waiting = Arc::clone(&first);
        let store: Store = Arc::new(InterceptStore::before(Arc::clone(&back), move |request| {
            let lists = request.kind == Kind::List && request.key.as_ref() == "restored-acme";
            let first = lists.then(|| waiting.lock().unwrap().take()).flatten();
            async move {
                if let Some(first) = first {
                    first.await;
                }
                Ok(())
            }
        }));
        let mut config = eager();
        config.min_files_to_compact = 1;
        config.retention.default_ttl = Some(Duration::from_secs(86_400));
        let manager = CompactionManager::new(store, config.clone()).with_clock(clock.clone());
        let result = manager.compact_tenant("restored-acme").await;
        assert!(
            first.lock().unwrap().is_none(),
            "the restore came in between"
        );
        assert!(
            matches!(&result, Err(Error::Conflict(why)) if why.contains("rows would expire that a restore has brought back meanwhile")),
            "{result:?}"
        );
        assert_eq!(
            live(&back, "restored-acme").await,
            [rows.clone(), own.clone()].concat(),
            "begun: {begun}"
        );
        // The next pass knows the hold.
        let next = CompactionManager::new(Arc::clone(&back), config)
            .with_clock(clock)
            .compact()
            .await
            .unwrap();
        assert_eq!(
            (next.ledger.rows_expired, next.errors.len()),
            (0, 0),
            "{next:?}"
        );
        assert_eq!(
            live(&back, "restored-acme").await,
            [rows, own].concat(),
            "begun: {begun}"
        );
    }
}

/// Restored into its own tenant, expired again, and archived again beside rows that never were.
#[tokio::test]
async fn rows_that_were_archived_twice_come_back_once() {
    let place = Place::archived().await;
    assert_eq!(
        place.restore(0, &["--archive", "cold", "--as", "acme", "--hold", "1s"]),
        ("done".into(), 40)
    );
    // Rows of its own that expire with them.
    let own = series(
        100,
        20,
        "2026-03-05T00:00:00Z".parse::<DateTime<Utc>>().unwrap(),
        TimeDelta::minutes(1),
    );
    for (i, part) in own.chunks(10).enumerate() {
        put_events(&place.store, &format!("acme/own-{i}.parquet"), part).await;
    }
    let mut again = 0;
    for _ in 0..100 {
        again += place.json(0, &["run", "--archive", "cold"])["totals"]["ledger"]["rows_archived"]
            .as_u64()
            .unwrap();
        if again == 60 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        (
            again,
            archived(&place.cold, "acme").await.len(),
            live(&place.store, "acme").await.len()
        ),
        (60, 100, 0)
    );
    let all = [place.rows.clone(), own].concat();
    let rescued = [
        "restore",
        "--tenant",
        "acme",
        "--archive",
        "cold",
        "--into",
        "rescued",
    ];
    let report = place.json(0, &rescued);
    assert_eq!(
        (
            report["tenants"][0]["status"].as_str(),
            report["tenants"][0]["rows"].as_u64()
        ),
        (Some("done"), Some(60)),
        "{report}"
    );
    let rescued =
        Arc::new(LocalFileSystem::new_with_prefix(place.at().join("rescued")).unwrap()) as Store;
    assert_eq!(live(&rescued, "restored-acme").await, all);
}

#[tokio::test]
async fn rows_that_were_archived_again_by_a_copy_come_back_once() {
    let (cold, rows) = cold().await;
    let (back, clock) = (memory(), clock(2));
    let into = RestoreRequest {
        into: Some(Tenant::parse("acme").unwrap()),
        ..everything()
    };
    assert_eq!(
        restore(&cold, &back, &clock, &into).await.unwrap().rows,
        300
    );
    let target = Archive::new(
        Arc::clone(&cold),
        "memory://cold",
        ArchiveOptions::default(),
    );
    let archive = CopyArchive {
        rows: target,
        hot: Arc::clone(&back),
        cold: Arc::clone(&cold),
        copies: Arc::default(),
    };
    let mut config = CompactionConfig {
        archive: Some(Arc::new(archive)),
        archive_min_object_size: 0,
        min_files_to_compact: 1,
        ..eager()
    };
    config
        .retention
        .set("acme", Some(Duration::from_secs(30 * 86_400)));
    let manager = CompactionManager::new(Arc::clone(&back), config).with_clock(clock.clone());
    assert_eq!(
        manager
            .run_pass(&Selection::all())
            .await
            .unwrap()
            .totals
            .counters
            .ledger
            .rows_kept,
        300,
        "they are held"
    );
    clock.advance(TimeDelta::days(11));
    let report = manager.run_pass(&Selection::all()).await.unwrap();
    assert_eq!(
        (
            report.totals.counters.ledger.rows_archived,
            report.totals.counters.copied_objects
        ),
        (300, 1),
        "{report:?}"
    );
    assert_eq!(
        (
            archived(&cold, "acme").await.len(),
            live(&back, "acme").await.len()
        ),
        (600, 0)
    );
    let rescued = memory();
    assert_eq!(
        restore(&cold, &rescued, &clock, &everything())
            .await
            .unwrap()
            .rows,
        300
    );
    assert_eq!(live(&rescued, "restored-acme").await, rows);
}

/// An archive that never gets to write a receipt, as if the process had been killed after its
/// commit.
#[derive(Debug)]
struct Killed(Archive);

#[async_trait]
impl ArchiveTarget for Killed {
    fn description(&self) -> String {
        self.0.description()
    }

    async fn archive(
        &self,
        request: ArchiveRequest,
        rows: BatchStream,
    ) -> icepack::Result<Receipt> {
        self.0.archive(request, rows).await
    }

    async fn file_receipt(&self, _: &Receipt) -> icepack::Result<()> {
        Err(Error::Stopped)
    }
}

impl Place {
    /// A pass has archived all rows of `acme` and is dead before a receipt is written.
    async fn owing() -> Self {
        let place = Self::new().await;
        let target = Archive::new(
            Arc::clone(&place.cold),
            place.at().join("cold").display().to_string(),
            ArchiveOptions::default(),
        );
        let mut config = eager();
        config
            .retention
            .set("acme", Some(Duration::from_secs(30 * 86_400)));
        config.archive = Some(Arc::new(Killed(target)));
        let report = CompactionManager::new(Arc::clone(&place.store), config)
            .run_pass(&Selection::all())
            .await
            .unwrap();
        assert_eq!(
            (
                report.totals.status,
                report.totals.counters.ledger.rows_archived,
                report.totals.counters.files_deleted
            ),
            (Status::Stopped, 40, 0),
            "{report:?}"
        );
        assert_eq!(keys(&place.cold).await.len(), 1, "an object, no receipt");
        assert_eq!(tenant_keys(&place.store, "acme").await.len(), 4);
        place
    }
}

#[tokio::test]
async fn a_receipt_is_written_by_whatever_name_its_archive_has() {
    let place = Place::owing().await;
    std::os::unix::fs::symlink(place.at().join("cold"), place.at().join("link")).unwrap();
    let report = place.json(0, &["run", "--archive", "link/"]);
    assert_eq!(report["totals"]["files_deleted"], 4, "{report}");
    assert_eq!(
        archived(&place.cold, "acme").await,
        place.rows,
        "the receipt is there"
    );
    assert_eq!(tenant_keys(&place.store, "acme").await, [] as [&str; 0]);
    assert_eq!(
        place.restore(0, &["--archive", "cold"]),
        ("done".into(), 40)
    );
}

#[tokio::test]
async fn nothing_that_was_archived_is_deleted_while_its_receipt_is_owed() {
    let place = Place::owing().await;
    // What has nothing to do with the archive goes as ever.
    let fresh = series(100, 20, Utc::now(), TimeDelta::minutes(1));
    for (i, part) in fresh.chunks(5).enumerate() {
        put_events(&place.store, &format!("acme/fresh-{i}.parquet"), part).await;
    }
    std::fs::create_dir(place.at().join("elsewhere")).unwrap();
    for (deleted, args) in [(4, &["run"][..]), (0, &["run", "--archive", "elsewhere"])] {
        let out = place.icepack(&[args, &["--json"]].concat());
        let (report, stderr): (Value, _) = (
            serde_json::from_slice(&out.stdout).unwrap(),
            text(&out.stderr),
        );
        assert_eq!(out.status.code(), Some(1), "{report} {stderr}");
        assert_eq!(report["totals"]["files_deleted"], deleted, "{report}");
        let error = report["tenants"][0]["error"].as_str().unwrap();
        let cold = place.at().canonicalize().unwrap().join("cold");
        let wanted = format!(
            "the receipts of 1 archive object are still to be written to `{}`: what was archived \
             there is not deleted",
            cold.display()
        );
        assert!(error.starts_with(&wanted), "{error}");
        let left: Vec<_> = tenant_keys(&place.store, "acme")
            .await
            .into_iter()
            .filter(|k| !k.contains("snapshot."))
            .collect();
        assert_eq!(
            left,
            [
                "acme/0-0.parquet",
                "acme/0-1.parquet",
                "acme/1-0.parquet",
                "acme/1-1.parquet"
            ]
        );
    }
    // Whoever restores meanwhile is told.
    let out = place.icepack(&[
        "restore",
        "--tenant",
        "acme",
        "--archive",
        "cold",
        "--dry-run",
    ]);
    let stderr = text(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{stderr}");
    assert!(
        stderr.contains(
            "1 object of tenant `acme` in the archive has no receipt and is not restored"
        ),
        "{stderr}"
    );
    assert_eq!(
        place.json(0, &["run", "--archive", "cold"])["totals"]["files_deleted"],
        4
    );
    assert_eq!(archived(&place.cold, "acme").await, place.rows);
}

/// The library knows archives by whatever name it was given.
#[tokio::test]
async fn another_name_for_the_archive_makes_no_second_copy() {
    let (cold, rows) = cold().await;
    let (back, clock) = (memory(), clock(2));
    assert_eq!(
        restore(&cold, &back, &clock, &everything())
            .await
            .unwrap()
            .rows,
        300
    );
    let mut renamed = restorer(plain(&cold), &back, &clock);
    renamed.archive = "memory://moved".into();
    let moved = renamed.run(&everything()).await.unwrap().tenants.remove(0);
    assert_eq!(
        (moved.status, moved.rows),
        (icepack_core::model::restore::RestoreStatus::Already, 0)
    );
    assert_eq!(live(&back, "restored-acme").await, rows);
}
