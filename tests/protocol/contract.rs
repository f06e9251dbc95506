//! What users of the local-disk compactor rely on, one test for each promise. The numbers are those
//! of `docs/contract.md`.

use crate::support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use icepack::archive::{Archive, ArchiveOptions, ArchiveRequest, BatchStream};
use icepack::clock::{Clock, ManualClock};
use icepack::{
    ArchiveTarget, CompactionConfig, CompactionManager, CompactionStats, CompactionStrategy,
    CompactionTask, Error, Result, RetentionConfig, format_iso_basic,
};
use icepack_core::model::manifest::Receipt;
use icepack_core::model::units::{DAY, MIB};
use icepack_dst::faults::{Fault, Process, Schedule, Side};
use support::{
    Event, Store, archived, eager, event, live, memory, put, put_events, read, seed, series,
    sorted, tenant_keys,
};

fn manager(store: &Store, config: CompactionConfig) -> CompactionManager {
    CompactionManager::new(Arc::clone(store), config)
}

/// The default manager, with a clock that runs `by` ahead of the store's.
fn later(store: &Store, config: CompactionConfig, by: TimeDelta) -> CompactionManager {
    manager(store, config).with_clock(Arc::new(ManualClock::new(Utc::now() + by, 1)))
}

fn ttl(days: u32) -> CompactionConfig {
    let mut config = eager();
    config.retention.set("acme", Some(DAY * days));
    config
}

fn with_archive(mut config: CompactionConfig, cold: &Store) -> CompactionConfig {
    config.archive = Some(Arc::new(Archive::new(
        Arc::clone(cold),
        "memory://cold",
        ArchiveOptions::default(),
    )));
    config
}

/// 100 events over 60 days in four files, the last one now.
async fn sixty_days(store: &Store) -> Vec<Event> {
    let events = series(
        0,
        100,
        Utc::now() - TimeDelta::minutes(1),
        TimeDelta::seconds(60 * 86_400 / 100),
    );
    for (i, part) in events.chunks(25).enumerate() {
        put_events(store, &format!("acme/2026-01/part-{i}.parquet"), part).await;
    }
    events
}

fn split(events: &[Event], cutoff: DateTime<Utc>) -> (Vec<Event>, Vec<Event>) {
    let (old, new) = events
        .iter()
        .cloned()
        .partition(|e| e.at < cutoff.timestamp_micros());
    (sorted(old), sorted(new))
}

async fn snapshots(store: &Store, tenant: &str) -> Vec<String> {
    tenant_keys(store, tenant)
        .await
        .into_iter()
        .filter(|k| k.contains("/snapshot."))
        .collect()
}

#[test]
fn c01_defaults() {
    let c = CompactionConfig::default();
    assert_eq!(
        (c.min_files_to_compact, c.target_file_size, c.max_file_size),
        (3, 128 * MIB, 256 * MIB)
    );
    assert_eq!(
        (
            c.small_file_threshold,
            c.compaction_interval_seconds,
            c.auto_compact
        ),
        (10 * MIB, 3600, true)
    );
    assert_eq!(c.strategy, CompactionStrategy::SizeBased);
    assert_eq!(c.retention, RetentionConfig::default());
    assert!(c.archive.is_none());
}

#[test]
fn c02_environment() {
    let interval = |v| CompactionConfig::from_env_var(v).compaction_interval_seconds;
    assert_eq!(
        [
            interval(Some("60")),
            interval(Some("")),
            interval(None),
            interval(Some("soon")),
            interval(Some("-1"))
        ],
        [60, 3600, 3600, 3600, 3600]
    );
    let system = |v| {
        CompactionConfig::from_env_vars(None, v)
            .retention
            .ttl_for("system")
    };
    assert_eq!(system(Some("7")), Some(7 * DAY));
    assert_eq!(system(Some("0")), None, "0 keeps for ever");
    assert_eq!(
        [system(None), system(Some("")), system(Some("x"))],
        [Some(30 * DAY); 3]
    );
    // The variables themselves: what the environment of this test says is what the arguments would
    // say.
    let from_env = CompactionConfig::from_env();
    let var = |n| std::env::var(n).ok();
    let from_args = CompactionConfig::from_env_vars(
        var("ALLSOURCE_SNAPSHOT_INTERVAL_SECONDS").as_deref(),
        var("ALLSOURCE_RETENTION_SYSTEM_DAYS").as_deref(),
    );
    assert_eq!(
        from_env.compaction_interval_seconds,
        from_args.compaction_interval_seconds
    );
    assert_eq!(from_env.retention, from_args.retention);
}

#[test]
fn c03_strategy_in_serde() {
    for (strategy, text) in [
        (CompactionStrategy::SizeBased, "\"sizebased\""),
        (CompactionStrategy::TimeBased, "\"timebased\""),
        (CompactionStrategy::FullCompaction, "\"fullcompaction\""),
    ] {
        assert_eq!(serde_json::to_string(&strategy).unwrap(), text);
        assert_eq!(
            serde_json::from_str::<CompactionStrategy>(text).unwrap(),
            strategy
        );
    }
    assert!(serde_json::from_str::<CompactionStrategy>("\"never\"").is_err());
}

#[test]
fn c04_retention_config() {
    let mut r = RetentionConfig::default();
    assert_eq!(
        (r.default_ttl, r.per_tenant_ttl.clone()),
        (None, HashMap::from([("system".to_owned(), Some(30 * DAY))]))
    );
    assert_eq!(
        (r.ttl_for("system"), r.ttl_for("acme")),
        (Some(30 * DAY), None)
    );
    r.default_ttl = Some(DAY);
    r.set("vip", None);
    r.set("acme", Some(2 * DAY));
    assert_eq!(
        [r.ttl_for("vip"), r.ttl_for("acme"), r.ttl_for("other")],
        [None, Some(2 * DAY), Some(DAY)]
    );
}

#[tokio::test]
async fn c05_size_takes_small_files_and_none_if_too_few() {
    let store = memory();
    let now = Utc::now();
    seed(&store, "acme", 3, 1, now).await;
    let config = CompactionConfig {
        small_file_threshold: 100,
        ..CompactionConfig::default()
    };
    assert_eq!(
        manager(&store, config)
            .compact()
            .await
            .unwrap()
            .files_compacted,
        0,
        "no file is under the threshold"
    );
    assert_eq!(
        manager(&store, CompactionConfig::default())
            .compact()
            .await
            .unwrap()
            .files_compacted,
        3
    );
}

#[tokio::test]
async fn c06_time_takes_files_older_than_a_day() {
    let store = memory();
    seed(&store, "acme", 3, 1, Utc::now()).await;
    let config = CompactionConfig {
        strategy: CompactionStrategy::TimeBased,
        max_raw_age: 300 * DAY,
        ..CompactionConfig::default()
    };
    assert_eq!(
        later(&store, config.clone(), TimeDelta::hours(23))
            .compact()
            .await
            .unwrap()
            .files_compacted,
        0
    );
    assert_eq!(
        later(&store, config, TimeDelta::hours(25))
            .compact()
            .await
            .unwrap()
            .files_compacted,
        3
    );
}

#[tokio::test]
async fn c07_full_takes_all() {
    let store = memory();
    seed(&store, "acme", 2, 1, Utc::now()).await;
    let config = CompactionConfig {
        strategy: CompactionStrategy::FullCompaction,
        small_file_threshold: 0,
        ..CompactionConfig::default()
    };
    assert_eq!(
        manager(&store, config)
            .compact()
            .await
            .unwrap()
            .files_compacted,
        2
    );
}

#[tokio::test]
async fn c08_other_files_are_ignored_and_left_alone() {
    let store = memory();
    seed(&store, "acme", 3, 1, Utc::now()).await;
    for other in [
        "acme/notes.txt",
        "acme/2026-01/x.parquet.tmp",
        "acme/data.csv",
    ] {
        put(&store, other, "not parquet").await;
    }
    assert_eq!(
        manager(&store, CompactionConfig::default())
            .compact()
            .await
            .unwrap()
            .files_compacted,
        3
    );
    let left = tenant_keys(&store, "acme").await;
    for other in [
        "acme/notes.txt",
        "acme/2026-01/x.parquet.tmp",
        "acme/data.csv",
    ] {
        assert!(left.contains(&other.to_owned()), "{other}");
    }
}

#[tokio::test]
async fn c09_tenants_are_sorted_and_hidden_ones_skipped() {
    let store = memory();
    let m = manager(&store, CompactionConfig::default());
    assert!(m.discover_tenants().await.unwrap().is_empty());
    for key in [
        "b/x.parquet",
        "a/x.parquet",
        ".hidden/x.parquet",
        "__system/x.parquet",
        "_tmp/x.parquet",
        "top.parquet",
    ] {
        put(&store, key, "x").await;
    }
    assert_eq!(m.discover_tenants().await.unwrap(), ["a", "b"]);
}

#[tokio::test]
async fn c10_a_pass_adds_up_and_one_tenants_error_stops_no_other() {
    let store = memory();
    let now = Utc::now();
    seed(&store, "good", 4, 5, now).await;
    seed(&store, "fine", 3, 5, now).await;
    // A manifest that cannot be read is that tenant's error.
    seed(&store, "bad", 4, 5, now).await;
    put(
        &store,
        "_icepack/bad/manifest/00000000000000000001.json",
        "{",
    )
    .await;
    let result = manager(&store, CompactionConfig::default())
        .compact()
        .await
        .unwrap();
    assert_eq!((result.files_compacted, result.events_compacted), (7, 35));
    assert!(result.bytes_before > 0 && result.bytes_after > 0);
    assert_eq!(result.errors.len(), 1);
    assert_eq!(result.errors[0].0, "bad");
    assert_eq!(tenant_keys(&store, "bad").await.len(), 4);
}

#[tokio::test]
async fn c11_four_small_files_become_one_snapshot() {
    let store = memory();
    let a = seed(&store, "acme", 4, 25, Utc::now()).await;
    let b = seed(&store, "globex", 4, 10, Utc::now()).await;
    let m = manager(&store, CompactionConfig::default());
    let result = m.compact_tenant("acme").await.unwrap();
    assert_eq!((result.files_compacted, result.events_compacted), (4, 100));
    let left = tenant_keys(&store, "acme").await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].contains("/snapshot.acme."));
    assert_eq!(live(&store, "acme").await, sorted(a));
    assert_eq!(tenant_keys(&store, "globex").await.len(), 4, "untouched");
    m.compact_tenant("globex").await.unwrap();
    assert_eq!(live(&store, "globex").await, sorted(b));
}

#[tokio::test]
async fn c12_run_again_has_nothing_to_do() {
    let store = memory();
    seed(&store, "acme", 4, 25, Utc::now()).await;
    let m = manager(&store, CompactionConfig::default());
    m.compact().await.unwrap();
    let before = tenant_keys(&store, "acme").await;
    let again = m.compact().await.unwrap();
    assert_eq!((again.files_compacted, again.bytes_before), (0, 0));
    assert_eq!(tenant_keys(&store, "acme").await, before);
}

#[tokio::test]
async fn c13_fewer_files_than_the_minimum_are_untouched() {
    let store = memory();
    seed(&store, "acme", 2, 25, Utc::now()).await;
    let before = support::keys(&store).await;
    assert_eq!(
        manager(&store, CompactionConfig::default())
            .compact()
            .await
            .unwrap()
            .files_compacted,
        0
    );
    assert_eq!(tenant_keys(&store, "acme").await, before);
}

#[tokio::test]
async fn c14_an_empty_store_is_all_zeros() {
    let result = manager(&memory(), CompactionConfig::default())
        .compact()
        .await
        .unwrap();
    assert_eq!(
        (
            result.files_compacted,
            result.bytes_before,
            result.bytes_after,
            result.events_compacted
        ),
        (0, 0, 0, 0)
    );
    assert!(result.errors.is_empty());
    let dir = tempfile::tempdir().unwrap();
    let store: Store =
        Arc::new(object_store::local::LocalFileSystem::new_with_prefix(dir.path()).unwrap());
    assert_eq!(
        manager(&store, CompactionConfig::default())
            .compact()
            .await
            .unwrap()
            .files_compacted,
        0
    );
}

#[tokio::test]
async fn c15_compact_now_is_compact() {
    let store = memory();
    seed(&store, "acme", 3, 2, Utc::now()).await;
    assert_eq!(
        manager(&store, CompactionConfig::default())
            .compact_now()
            .await
            .unwrap()
            .files_compacted,
        3
    );
}

#[tokio::test]
async fn c16_should_compact() {
    let store = memory();
    let off = CompactionConfig {
        auto_compact: false,
        ..CompactionConfig::default()
    };
    assert!(!manager(&store, off).should_compact().await.unwrap());
    let m = manager(&store, CompactionConfig::default());
    assert!(m.should_compact().await.unwrap(), "never run");
    m.compact().await.unwrap();
    assert!(!m.should_compact().await.unwrap());
    // Another process, later: the store remembers.
    assert!(
        !later(&store, CompactionConfig::default(), TimeDelta::minutes(59))
            .should_compact()
            .await
            .unwrap()
    );
    assert!(
        later(&store, CompactionConfig::default(), TimeDelta::minutes(61))
            .should_compact()
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn c17_stats() {
    let store = memory();
    let m = manager(&store, CompactionConfig::default());
    assert_eq!(m.stats(), CompactionStats::default());
    seed(&store, "acme", 4, 500, Utc::now()).await;
    let first = m.compact().await.unwrap();
    seed(&store, "globex", 3, 1, Utc::now()).await;
    let second = m.compact().await.unwrap();
    let stats = m.stats();
    assert_eq!(
        (
            stats.total_compactions,
            stats.total_files_compacted,
            stats.total_events_compacted
        ),
        (2, 7, 2003)
    );
    assert_eq!(
        stats.total_bytes_before,
        first.bytes_before + second.bytes_before
    );
    assert_eq!(
        stats.total_bytes_after,
        first.bytes_after + second.bytes_after
    );
    assert_eq!(
        stats.space_saved_bytes,
        stats
            .total_bytes_before
            .saturating_sub(stats.total_bytes_after)
    );
    assert_eq!(stats.last_compaction_duration_ms, second.duration_ms);
    let text = serde_json::to_string(&stats).unwrap();
    assert_eq!(
        serde_json::from_str::<CompactionStats>(&text).unwrap(),
        stats
    );
}

#[tokio::test]
async fn c17_space_saved_never_underflows() {
    let store = memory();
    // Empty files weigh less than the snapshot that says so.
    for i in 0..3 {
        put_events(
            &store,
            &format!("acme/{i}.parquet"),
            &[event(i, Utc::now())],
        )
        .await;
    }
    let m = manager(&store, CompactionConfig::default());
    m.compact().await.unwrap();
    let stats = m.stats();
    assert_eq!(
        stats.space_saved_bytes,
        stats
            .total_bytes_before
            .saturating_sub(stats.total_bytes_after)
    );
}

/// Delivers another file as soon as a pass has listed the tenant.
#[tokio::test]
async fn c18_files_that_arrive_during_a_pass_wait_for_the_next() {
    let store = memory();
    let first = seed(&store, "acme", 3, 10, Utc::now()).await;
    let m = manager(&store, CompactionConfig::default());
    let plan = m.plan(&icepack::pass::Selection::all()).await.unwrap();
    assert_eq!(plan.plans[0].groups[0].inputs.len(), 3);
    let late = Arc::new(LateWriter {
        store: Arc::clone(&store),
        count: AtomicUsize::new(0),
    });
    let config = ttl(1);
    let config = CompactionConfig {
        archive: Some(late),
        archive_min_object_size: 0,
        ..config
    };
    // The archive is called in the middle of the merge: a file arrives then.
    let result = manager(&store, config).compact().await.unwrap();
    assert_eq!((result.files_compacted, result.errors.len()), (3, 0));
    let raw: Vec<_> = tenant_keys(&store, "acme")
        .await
        .into_iter()
        .filter(|k| !k.contains("/snapshot."))
        .collect();
    assert_eq!(raw, ["acme/late.parquet"]);
    assert!(live(&store, "acme").await.len() < first.len() + 1);
}

#[derive(Debug)]
struct LateWriter {
    store: Store,
    count: AtomicUsize,
}

#[async_trait]
impl ArchiveTarget for LateWriter {
    fn description(&self) -> String {
        "a writer who is late".into()
    }

    async fn archive(&self, request: ArchiveRequest, rows: BatchStream) -> Result<Receipt> {
        self.count.fetch_add(1, Ordering::SeqCst);
        put_events(&self.store, "acme/late.parquet", &[event(999, Utc::now())]).await;
        Archive::new(memory(), "memory://", ArchiveOptions::default())
            .archive(request, rows)
            .await
    }

    async fn file_receipt(&self, _: &Receipt) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn c19_rows_are_sorted_and_the_name_tells_their_time() {
    let store = memory();
    let end = DateTime::parse_from_rfc3339("2026-04-27T13:45:07Z")
        .unwrap()
        .to_utc();
    let mut events = series(0, 40, end, TimeDelta::minutes(7));
    let first = DateTime::from_timestamp_micros(events[0].at).unwrap();
    // Scattered over the files, and unsorted within each.
    for i in 0..4 {
        let part: Vec<_> = events.iter().rev().skip(i).step_by(4).cloned().collect();
        put_events(&store, &format!("acme/{i}.parquet"), &part).await;
    }
    manager(&store, CompactionConfig::default())
        .compact()
        .await
        .unwrap();
    let [key] = snapshots(&store, "acme").await.try_into().unwrap();
    events.sort();
    assert_eq!(read(&store, &key).await, events);
    assert_eq!(format_iso_basic(end), "2026-04-27T134507Z");
    let name = key.strip_prefix("acme/").expect("where its inputs lay");
    assert!(
        name.starts_with(&format!(
            "snapshot.acme.{}-2026-04-27T134507Z.",
            format_iso_basic(first)
        )),
        "{name}"
    );
    assert!(name.ends_with(".parquet"));
}

#[tokio::test(start_paused = true)]
async fn c20_the_task_looks_at_every_tick_and_survives_a_failed_pass() {
    let store = memory();
    seed(&store, "acme", 3, 2, Utc::now()).await;
    // The first pass dies at its first call, later ones work.
    let process = Process::new(Schedule::one(1, Fault::Die { applied: false }));
    let dead = Arc::new(manager(
        &process.store(&store, Side::Hot, None),
        CompactionConfig::default(),
    ));
    let stop = dead.stop_handle();
    let task = tokio::spawn(CompactionTask::new(dead, 1).run());
    while process.calls().len() < 3 {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(!task.is_finished(), "failed passes do not end the loop");
    stop.stop();
    task.await.unwrap();

    let m = Arc::new(manager(&store, CompactionConfig::default()));
    let stop = m.stop_handle();
    let task = tokio::spawn(CompactionTask::new(Arc::clone(&m), 1).run());
    while m.stats().total_compactions == 0 {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    stop.stop();
    task.await.unwrap();
    assert_eq!(snapshots(&store, "acme").await.len(), 1);
}

#[tokio::test]
async fn c21_old_rows_expire_and_nothing_else_is_lost() {
    let store = memory();
    let events = sixty_days(&store).await;
    let now = Utc::now();
    let result = manager(&store, ttl(30)).compact().await.unwrap();
    let (old, new) = split(&events, now - TimeDelta::days(30));
    assert_eq!(
        (
            result.ledger.rows_in,
            result.ledger.rows_kept,
            result.ledger.rows_expired
        ),
        (100, new.len() as u64, old.len() as u64)
    );
    assert_eq!((old.len(), new.len()), (50, 50));
    assert_eq!(live(&store, "acme").await, new);
}

#[tokio::test]
async fn c22_without_a_ttl_everything_stays() {
    let store = memory();
    let events: Vec<_> = (0..6)
        .map(|i| {
            event(
                i,
                Utc::now() - TimeDelta::days(365 * i64::try_from(i).unwrap()),
            )
        })
        .collect();
    for (i, e) in events.iter().enumerate() {
        put_events(
            &store,
            &format!("acme/{i}.parquet"),
            std::slice::from_ref(e),
        )
        .await;
    }
    manager(&store, eager()).compact().await.unwrap();
    assert_eq!(live(&store, "acme").await, sorted(events));
}

#[tokio::test]
async fn c23_when_everything_has_expired_no_file_is_left() {
    let store = memory();
    seed(&store, "acme", 4, 10, Utc::now() - TimeDelta::days(90)).await;
    let result = manager(&store, ttl(30)).compact().await.unwrap();
    assert_eq!(
        (
            result.files_compacted,
            result.ledger.rows_expired,
            result.bytes_after
        ),
        (4, 40, 0)
    );
    assert_eq!(tenant_keys(&store, "acme").await, Vec::<String>::new());
    assert_eq!(
        manager(&store, ttl(30))
            .compact()
            .await
            .unwrap()
            .files_compacted,
        0
    );
}

#[tokio::test]
async fn c24_dropped_rows_are_in_the_archive() {
    let (store, cold) = (memory(), memory());
    let events = sixty_days(&store).await;
    let result = manager(&store, with_archive(ttl(30), &cold))
        .compact()
        .await
        .unwrap();
    assert_eq!(
        (result.ledger.rows_archived, result.ledger.rows_expired),
        (50, 0)
    );
    let (old, new) = split(&events, Utc::now() - TimeDelta::days(30));
    assert_eq!(archived(&cold, "acme").await, old);
    assert_eq!(live(&store, "acme").await, new);
    let object = tenant_keys(&cold, "acme")
        .await
        .into_iter()
        .find(|k| k.ends_with(".parquet"))
        .unwrap();
    let from = DateTime::from_timestamp_micros(old[0].at).unwrap();
    assert!(
        object.starts_with(&format!(
            "acme/2026-01/archive.acme.{}-",
            format_iso_basic(from)
        )),
        "{object}"
    );
}

#[derive(Debug)]
struct Broken;

#[async_trait]
impl ArchiveTarget for Broken {
    fn description(&self) -> String {
        "the tape robot in cellar 7".into()
    }

    async fn archive(&self, _: ArchiveRequest, rows: BatchStream) -> Result<Receipt> {
        let _ = rows.try_collect::<Vec<_>>().await?;
        Err(Error::Archive {
            target: self.description(),
            why: "out of tape".into(),
        })
    }

    async fn file_receipt(&self, _: &Receipt) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn c25_a_failing_archive_fails_the_tenant_and_nothing_is_gone() {
    let store = memory();
    let events = sixty_days(&store).await;
    let before = tenant_keys(&store, "acme").await;
    let m = manager(
        &store,
        CompactionConfig {
            archive: Some(Arc::new(Broken)),
            ..ttl(30)
        },
    );
    let error = m.compact_tenant("acme").await.unwrap_err().to_string();
    assert!(
        error.contains("out of tape") && error.contains("cellar 7"),
        "{error}"
    );
    let left = tenant_keys(&store, "acme").await;
    assert!(
        before.iter().all(|k| left.contains(k)),
        "every original is there: {left:?}"
    );
    assert_eq!(live(&store, "acme").await, sorted(events.clone()));
    // What the failed attempt left is collected, and with an archive that works nothing was lost.
    let cold = memory();
    manager(&store, with_archive(ttl(30), &cold))
        .compact()
        .await
        .unwrap();
    let both = [live(&store, "acme").await, archived(&cold, "acme").await].concat();
    assert_eq!(sorted(both), sorted(events));
}

#[derive(Debug)]
struct Panics;

#[async_trait]
impl ArchiveTarget for Panics {
    fn description(&self) -> String {
        "must not be called".into()
    }

    async fn archive(&self, _: ArchiveRequest, _: BatchStream) -> Result<Receipt> {
        panic!("the archive was called although nothing expired")
    }

    async fn file_receipt(&self, _: &Receipt) -> Result<()> {
        panic!("a receipt was filed although nothing expired")
    }
}

#[tokio::test]
async fn c26_the_archive_is_not_called_when_nothing_expired() {
    let store = memory();
    seed(&store, "acme", 4, 10, Utc::now()).await;
    let result = manager(
        &store,
        CompactionConfig {
            archive: Some(Arc::new(Panics)),
            ..ttl(30)
        },
    )
    .compact()
    .await
    .unwrap();
    assert_eq!((result.files_compacted, result.errors.len()), (4, 0));
}

#[tokio::test]
async fn c26_this_archive_would_have_panicked() {
    let store = memory();
    sixty_days(&store).await;
    let result = manager(
        &store,
        CompactionConfig {
            archive: Some(Arc::new(Panics)),
            ..ttl(30)
        },
    )
    .compact()
    .await
    .unwrap();
    assert_eq!(
        result.errors.len(),
        1,
        "a panic in an archive is its tenant's failure"
    );
    assert_eq!(
        snapshots(&store, "acme").await.len() + 4,
        tenant_keys(&store, "acme").await.len()
    );
}

#[test]
fn c27_an_archive_describes_itself() {
    let archive = Archive::new(memory(), "s3://cold/prod", ArchiveOptions::default());
    assert!(archive.description().contains("s3://cold/prod"));
}

/// Dies at every call, before it and after it; then a clean pass.
#[tokio::test]
async fn c28_a_crash_at_any_moment_loses_nothing_and_is_cleaned_up() {
    let base = Utc::now();
    let clean = crash_at(Schedule::clean(), base).await;
    assert!(clean > 20, "{clean} calls");
    for applied in [false, true] {
        for k in 1..=clean {
            crash_at(Schedule::one(k, Fault::Die { applied }), base).await;
        }
    }
}

/// A world with expired rows and an archive, a pass that dies at call `k`, and a clean pass after
/// it. Returns the calls of the first.
async fn crash_at(schedule: Schedule, now: DateTime<Utc>) -> usize {
    let (store, cold) = (memory(), memory());
    let events = series(0, 40, now - TimeDelta::minutes(1), TimeDelta::days(2));
    for (i, part) in events.chunks(10).enumerate() {
        put_events(&store, &format!("acme/{i}.parquet"), part).await;
    }
    let clock = Arc::new(ManualClock::new(now, 7));
    let context = format!("{schedule:?}");
    let process = Process::new(schedule);
    let (hot, frozen) = (
        process.store(&store, Side::Hot, None),
        process.store(&cold, Side::Cold, None),
    );
    let dying = manager(&hot, with_archive(ttl(30), &frozen))
        .with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let first = dying.compact().await;
    let used = process.calls().len();
    let context = format!("{context}: {first:?}");

    // At once: every row is live or archived, none twice.
    let (old, new) = split(&events, now - TimeDelta::days(30));
    let seen = live(&store, "acme").await;
    assert!(
        new.iter()
            .all(|e| seen.iter().filter(|s| *s == e).count() == 1),
        "{context}: a live row is missing or doubled"
    );
    let in_cold = sorted(support::read_all(&cold, &tenant_keys(&cold, "acme").await).await);
    assert!(
        old.iter().all(|e| seen.contains(e) || in_cold.contains(e)),
        "{context}: an expired row is nowhere"
    );

    // The orphan grace is over for what the dead run left: the store's clock has moved on.
    clock.advance(TimeDelta::milliseconds(5));
    let m = manager(&store, with_archive(ttl(30), &cold)).with_clock(clock);
    let result = m.compact().await.unwrap();
    assert_eq!(result.errors, [], "{context}");
    assert_eq!(live(&store, "acme").await, new, "{context}");
    assert_eq!(archived(&cold, "acme").await, old, "{context}");
    let again = m.compact().await.unwrap();
    assert_eq!(again.files_compacted, 0, "{context}: nothing to do");
    let left = tenant_keys(&store, "acme").await;
    let named: Vec<_> = m
        .live_views(&icepack::pass::Selection::all())
        .await
        .unwrap()
        .remove(0)
        .files
        .into_iter()
        .map(|f| f.key)
        .collect();
    assert_eq!(
        left,
        sorted_keys(named),
        "{context}: something is left over"
    );
    used
}

fn sorted_keys(mut keys: Vec<String>) -> Vec<String> {
    keys.sort();
    keys
}
