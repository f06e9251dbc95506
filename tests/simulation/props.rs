//! Whole passes over random worlds against a naive compactor. `PROPTEST_CASES` sets the number of
//! cases, for all properties together.

use crate::support::copy_archive;
#[path = "props/world.rs"]
mod random;
use crate::support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arrow::datatypes::TimeUnit;
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Timelike, Utc};
use copy_archive::{Copies, CopyArchive};
use icepack::archive::{Archive, ArchiveOptions, ArchiveRequest, BatchStream, CopyRequest};
use icepack::clock::{Clock, ManualClock};
use icepack::pass::Selection;
use icepack::{ArchiveTarget, CompactionConfig, CompactionManager, CompactionStrategy, Result};
use icepack_core::model::manifest::{Ledger, Manifest, Receipt};
use icepack_core::model::names::Tenant;
use icepack_core::model::pages::PageSizes;
use icepack_core::model::report::{RunReport, Status};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use random::{At, DAY, Event, FOLDERS, File, Shape, Step, World, other_zone, world};
use support::oracle::{Bag, Row, bag, is_expired, read, rows, sum, total, without_copies};
use support::{Store, get, keys, memory, put, watch};

/// Counts its calls. Some copy whole snapshots, some take all by rows.
#[derive(Debug)]
struct Counted {
    inner: CopyArchive,
    copies: bool,
    calls: AtomicU64,
}

#[async_trait]
impl ArchiveTarget for Counted {
    fn description(&self) -> String {
        self.inner.description()
    }

    fn copies(&self) -> bool {
        self.copies
    }

    async fn archive(&self, request: ArchiveRequest, rows: BatchStream) -> Result<Receipt> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.inner.archive(request, rows).await
    }

    async fn copy(&self, request: CopyRequest) -> Result<Option<Receipt>> {
        if !self.copies {
            return Ok(None);
        }
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.inner.copy(request).await
    }

    async fn file_receipt(&self, receipt: &Receipt) -> Result<()> {
        self.inner.file_receipt(receipt).await
    }
}

/// A world that is being lived in.
struct Lab {
    world: World,
    hot: Store,
    cold: Store,
    archive: Arc<Counted>,
    clock: Arc<ManualClock>,
    config: CompactionConfig,
    spill: tempfile::TempDir,
    /// What was ever put in.
    ingested: Bag,
    files: usize,
    ledger: Ledger,
    /// Rows that an archive would have got.
    latest_cutoff: Option<i128>,
}

impl Lab {
    fn new(world: &World, start: DateTime<Utc>) -> Self {
        let (hot, cold) = (memory(), memory());
        let rows = Archive::new(
            Arc::clone(&cold),
            "memory://cold",
            ArchiveOptions::default(),
        );
        let inner = CopyArchive {
            rows,
            hot: Arc::clone(&hot),
            cold: Arc::clone(&cold),
            copies: Arc::new(Copies::default()),
        };
        let archive = Arc::new(Counted {
            inner,
            copies: world.copies,
            calls: AtomicU64::new(0),
        });
        let spill = tempfile::tempdir().unwrap();
        let mut config = CompactionConfig {
            min_files_to_compact: world.min_files,
            target_file_size: world.target,
            small_file_threshold: world.threshold,
            strategy: world.strategy,
            id_columns: vec!["event_id".to_owned()],
            memory_limit: world.memory,
            spill_dir: Some(spill.path().to_owned()),
            delete_delay: if world.delete_delay {
                Duration::from_secs(7_200)
            } else {
                Duration::ZERO
            },
            archive: world
                .archive
                .map(|_| archive.clone() as Arc<dyn ArchiveTarget>),
            archive_min_object_size: world.archive.unwrap_or(0),
            ..CompactionConfig::default()
        };
        config.retention.set("acme", world.ttl);
        if world.steps.len().is_multiple_of(2) {
            // A page for each folder.
            config.page_sizes = PageSizes {
                inline: 0,
                entries: 1,
                pages: 1_000,
                unnamed: 0,
            };
        }
        if world.steps.len() > 2 {
            // A tenant is done in rounds.
            config.files_at_once = 6;
        }
        let clock = Arc::new(ManualClock::new(start, 7));
        Self {
            world: world.clone(),
            hot,
            cold,
            archive,
            clock,
            config,
            spill,
            ingested: Bag::new(),
            files: 0,
            ledger: Ledger::default(),
            latest_cutoff: None,
        }
    }

    fn cutoff(&self) -> Option<i128> {
        let at = self.clock.now() - TimeDelta::from_std(self.world.ttl?).unwrap();
        Some(i128::from(at.timestamp_micros()) * 1_000)
    }

    async fn ingest(&mut self, files: &[random::File]) {
        for file in files {
            let batch = file.batch(self.clock.now(), &self.world);
            let key = format!("acme/{}/part-{:04}.parquet", file.folder, self.files);
            self.ingested = sum(&self.ingested, &bag(in_folder(&key, rows(&batch))));
            put(&self.hot, &key, file.parquet(&batch)).await;
            self.files += 1;
        }
    }

    /// A pass, and another where of some files it is known now when their rows expire.
    async fn pass(&mut self) -> RunReport {
        let report = self.one_pass().await;
        if report.totals.counters.files_adopted == 0 {
            return report;
        }
        self.one_pass().await
    }

    async fn one_pass(&mut self) -> RunReport {
        let manager = CompactionManager::new(Arc::clone(&self.hot), self.config.clone())
            .with_clock(self.clock.clone());
        let before = self.archive.calls.load(Ordering::SeqCst);
        let report = manager.run_pass(&Selection::all()).await.unwrap();
        self.latest_cutoff = self.cutoff().or(self.latest_cutoff);
        self.ledger += report.totals.counters.ledger;
        assert!(report.totals.error.is_none(), "{report:?}");
        assert!(report.totals.status <= Status::Done, "{report:?}");
        assert!(report.totals.counters.ledger.balances());
        let called = self.archive.calls.load(Ordering::SeqCst) - before;
        assert_eq!(
            called > 0,
            report.totals.counters.ledger.rows_archived > 0,
            "the archive is called for rows that expired and not otherwise"
        );
        assert!(
            std::fs::read_dir(self.spill.path())
                .unwrap()
                .next()
                .is_none(),
            "something was left in the spill directory"
        );
        report
    }

    async fn head(&self) -> Option<Manifest> {
        watch::head(&self.hot, &Tenant::parse("acme").unwrap()).await
    }

    /// The rows of the files that a reader would read: head's snapshots, then the raw files that it
    /// has not retired, whatever tag they show. Found without icepack.
    async fn live(&self) -> (Vec<Vec<Row>>, Bag) {
        let head = self.head().await;
        let (live, gone): (Vec<String>, BTreeSet<String>) =
            head.map_or_else(Default::default, |h| {
                (
                    h.snapshots.iter().map(|s| s.key.clone()).collect(),
                    h.retired.iter().map(|r| r.key.clone()).collect(),
                )
            });
        let mut snapshots = Vec::new();
        for key in &live {
            snapshots.push(in_folder(key, read(get(&self.hot, key).await)));
        }
        let mut raw = Bag::new();
        for key in keys(&self.hot).await {
            if key.starts_with("acme/") && !live.contains(&key) && !gone.contains(&key) {
                assert!(!key.contains("/snapshot."), "`{key}` is an orphan");
                let rows = read(get(&self.hot, &key).await);
                raw = sum(&raw, &bag(in_folder(&key, rows)));
            }
        }
        (snapshots, raw)
    }

    async fn archived(&self) -> Bag {
        let all = keys(&self.cold).await;
        let mut rows = Bag::new();
        for key in all.iter().filter(|k| k.ends_with(".parquet")) {
            assert!(
                all.contains(&key.replace(".parquet", ".receipt.json")),
                "`{key}` has no receipt"
            );
            let read = in_folder(key, read(get(&self.cold, key).await));
            // A copy has the order of the file that it is of.
            let is_sorted = self.world.copies || read.is_sorted_by_key(|r| r.at);
            assert!(is_sorted, "`{key}` is not sorted");
            rows = sum(&rows, &bag(read));
        }
        rows
    }

    /// Every row is where it must be, and the books say so.
    async fn check(&self) {
        let (snapshots, raw) = self.live().await;
        for rows in &snapshots {
            assert!(rows.is_sorted_by_key(|r| r.at), "a snapshot is not sorted");
            assert!(!rows.is_empty(), "a snapshot is empty");
        }
        let kept = bag(snapshots.into_iter().flatten());
        let archived = self.archived().await;
        let there = sum(&sum(&kept, &raw), &archived);
        // Nothing was made up or doubled, …
        for (row, n) in &there {
            let came = self.ingested.get(row).copied().unwrap_or(0);
            assert!(
                *n <= came,
                "a row is there {n} times, and came {came} times: {row:?}"
            );
        }
        // … and what is missing was the copy of one that is there, or expired with no archive to go
        // to.
        for (row, came) in &self.ingested {
            let n = there.get(row).copied().unwrap_or(0);
            let may_expire = self.world.archive.is_none()
                && self
                    .latest_cutoff
                    .is_some_and(|cutoff| is_expired(row, cutoff));
            let needed = if row.has_id { 1 } else { *came };
            assert!(
                n >= needed || may_expire,
                "lost: {row:?} is there {n} times of {came}"
            );
        }
        for row in archived.keys() {
            assert!(
                self.latest_cutoff
                    .is_some_and(|cutoff| is_expired(row, cutoff)),
                "archived before its time: {row:?}"
            );
        }
        let gone = total(&self.ingested) - total(&there);
        let l = self.ledger;
        assert_eq!(total(&archived), l.rows_archived);
        assert_eq!(gone, l.rows_expired + l.rows_deduplicated, "{l:?}");
        let Some(head) = self.head().await else {
            assert_eq!(l, Ledger::default());
            return;
        };
        let t = head.totals;
        assert_eq!(
            (t.rows_archived, t.rows_expired, t.rows_deduplicated),
            (l.rows_archived, l.rows_expired, l.rows_deduplicated)
        );
        assert_eq!(t.rows_ingested, total(&self.ingested) - total(&raw));
        assert_eq!(
            t.rows_ingested,
            total(&kept) + t.rows_archived + t.rows_expired + t.rows_deduplicated
        );
        assert_eq!(
            head.snapshots.iter().map(|s| s.stats.rows).sum::<u64>(),
            total(&kept)
        );
    }

    /// Every object, hot and cold.
    async fn objects(&self) -> BTreeMap<String, bytes::Bytes> {
        let mut all = BTreeMap::new();
        for (name, store) in [("hot", &self.hot), ("cold", &self.cold)] {
            for key in keys(store).await {
                all.insert(format!("{name}/{key}"), get(store, &key).await);
            }
        }
        all
    }
}

/// Rows of the file `key`, each with the folder that it lies in as a column more: a row that came to
/// another folder is another row.
fn in_folder(key: &str, mut rows: Vec<Row>) -> Vec<Row> {
    let (folder, _) = key.rsplit_once('/').unwrap();
    for row in &mut rows {
        row.values.insert("(folder)".to_owned(), folder.to_owned());
    }
    rows
}

/// Whole seconds, so that times of all units are the same instants.
fn now() -> DateTime<Utc> {
    Utc::now().with_nanosecond(0).unwrap()
}

/// Runs a property over a share of the cases.
fn property<F: Future<Output = ()>>(
    parts: u32,
    worlds: impl Strategy<Value = World>,
    check: impl Fn(World) -> F,
) {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(200_u32);
    let config = Config {
        cases: (cases / parts).max(1),
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let run = |world| {
        runtime.block_on(check(world));
        Ok(())
    };
    TestRunner::new(config)
        .run(&worlds, run)
        .unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn no_pass_loses_or_doubles_a_row_and_the_books_say_so() {
    let copied = AtomicUsize::new(0);
    let copied_here = &copied;
    let worlds = (world(4), any::<bool>()).prop_map(|(world, drift)| World { drift, ..world });
    property(2, worlds, |world| async move {
        let mut lab = Lab::new(&world, now());
        for step in &world.steps {
            lab.ingest(&step.files).await;
            lab.clock.advance(TimeDelta::hours(step.hours));
            lab.pass().await;
            lab.check().await;
            // Which class a raw file is of, no plan knows: what came together first may be merged
            // with its like in the next pass.
            let mut passes = 0;
            while world.drift && lab.pass().await.totals.counters.ledger != Ledger::default() {
                lab.check().await;
                passes += 1;
                assert!(passes < 5, "passes do not converge");
            }
            // Deleting may wait; then there is nothing left to do, however often.
            for _ in 0..2 {
                let objects = lab
                    .objects()
                    .await
                    .into_keys()
                    .filter(|k| k.ends_with(".parquet"))
                    .collect::<Vec<_>>();
                let again = lab.pass().await;
                assert_eq!(
                    again.totals.counters.ledger,
                    Ledger::default(),
                    "a second pass found work: {again:?}"
                );
                assert_eq!(again.totals.counters.files_deleted, 0);
                assert_eq!(
                    objects,
                    lab.objects()
                        .await
                        .into_keys()
                        .filter(|k| k.ends_with(".parquet"))
                        .collect::<Vec<_>>()
                );
            }
        }
        // In the end the retired files go, and are forgotten. What ages or expires meanwhile is
        // retired in its turn.
        lab.world.ttl = None;
        lab.config.retention.set("acme", None);
        for _ in 0..4 {
            lab.clock.advance(TimeDelta::hours(13));
            lab.pass().await;
        }
        lab.check().await;
        assert!(
            lab.head()
                .await
                .is_none_or(|h| h.retired.is_empty() && h.archives.is_empty()),
            "something stays retired"
        );
        copied_here.fetch_add(
            lab.archive.inner.copies.made.load(Ordering::Relaxed),
            Ordering::Relaxed,
        );
    });
    println!("{} snapshots archived by copies", copied.into_inner());
}

#[test]
fn one_full_pass_is_the_naive_compactor() {
    property(4, world(1), |mut world| async move {
        world.strategy = CompactionStrategy::FullCompaction;
        // The naive one archives at once.
        world.archive = world.archive.map(|_| 0);
        let mut lab = Lab::new(&world, now());
        lab.ingest(&world.steps[0].files).await;
        let report = lab.pass().await;
        lab.check().await;
        let wanted = without_copies(&lab.ingested);
        let expired = |row: &Row| {
            lab.latest_cutoff
                .is_some_and(|cutoff| is_expired(row, cutoff))
        };
        let (gone, kept): (Bag, Bag) = wanted.into_iter().partition(|(row, _)| expired(row));
        let (snapshots, raw) = lab.live().await;
        assert!(raw.is_empty());
        // In time order from file to file, too.
        let all: Vec<Row> = snapshots.into_iter().flatten().collect();
        assert_eq!(total(&lab.ingested), report.totals.counters.ledger.rows_in);
        assert_eq!(bag(all), kept);
        let archived = lab.archived().await;
        assert_eq!(
            archived,
            if world.archive.is_some() {
                gone.clone()
            } else {
                Bag::new()
            }
        );
        let l = report.totals.counters.ledger;
        assert_eq!(
            if world.archive.is_some() {
                l.rows_archived
            } else {
                l.rows_expired
            },
            total(&gone)
        );
        assert_eq!(
            l.rows_deduplicated,
            total(&lab.ingested) - total(&gone) - total(&kept)
        );
    });
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    property(8, world(3), |world| async move {
        let start = now();
        let mut worlds = Vec::new();
        for _ in 0..2 {
            let mut lab = Lab::new(&world, start);
            // Groups that are on their way at once take their ids in any order.
            lab.config.concurrency = 1;
            for step in &world.steps {
                lab.ingest(&step.files).await;
                lab.clock.advance(TimeDelta::hours(step.hours));
                lab.pass().await;
            }
            worlds.push(lab.objects().await);
        }
        let (a, b) = (&worlds[0], &worlds[1]);
        assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
        for (key, bytes) in a {
            assert_eq!(bytes, &b[key], "`{key}` differs");
        }
    });
}

#[test]
fn naive_and_zoned_times_do_not_mix_and_are_two_classes() {
    property(8, world(1), |mut world| async move {
        world.strategy = CompactionStrategy::FullCompaction;
        for file in &mut world.steps[0].files {
            file.folder = FOLDERS[0];
        }
        let mut lab = Lab::new(&world, now());
        let files = &world.steps[0].files;
        if files.is_empty() {
            return;
        }
        lab.ingest(files).await;
        let other = other_zone(&files[0].batch(lab.clock.now(), &world));
        let bytes = files[0].parquet(&other);
        put(&lab.hot, "acme/2026-01/zzz-other.parquet", bytes).await;
        let manager = CompactionManager::new(Arc::clone(&lab.hot), lab.config.clone())
            .with_clock(lab.clock.clone());
        let report = manager.run_pass(&Selection::all()).await.unwrap();
        assert_eq!(
            (report.totals.quarantined.len(), report.totals.status),
            (0, Status::Done)
        );
        let rows = total(&lab.ingested) + other.num_rows() as u64;
        assert_eq!(report.totals.counters.ledger.rows_in, rows);
        let head = lab.head().await.unwrap();
        let kept: u64 = head.snapshots.iter().map(|s| s.stats.rows).sum();
        assert_eq!(kept, report.totals.counters.ledger.rows_kept);
        assert_eq!(head.quarantined, []);
        let again = manager.run_pass(&Selection::all()).await.unwrap();
        assert_eq!(
            (again.totals.status, again.totals.quarantined.len()),
            (Status::Idle, 0)
        );
    });
}

/// Spark's timestamps of 96 bits: what is read as 64 bits of nanoseconds wraps, and a decoder that
/// wraps agrees with itself.
#[test]
fn the_oracle_does_not_share_the_decoder_under_test() {
    let write = "import datetime as d, io, sys, pyarrow as pa, pyarrow.parquet as pq\ntable = \
                 pa.table({'timestamp': pa.array([d.datetime(9999, 12, 31)], \
                 pa.timestamp('us'))})\nout = io.BytesIO()\npq.write_table(table, out, \
                 use_deprecated_int96_timestamps=True, \
                 store_schema=False)\nsys.stdout.buffer.write(out.getvalue())";
    let file = support::job::python().args(["-c", write]).output().unwrap();
    assert!(
        file.status.success(),
        "{}",
        support::job::text(&file.stderr)
    );
    let seen: Vec<_> = read(file.stdout.into())
        .into_iter()
        .map(|row| row.at)
        .collect();
    let midnight: DateTime<Utc> = "9999-12-31T00:00:00Z".parse().unwrap();
    assert_eq!(
        seen,
        [Some(i128::from(midnight.timestamp()) * 1_000_000_000)]
    );
}

/// A world of one file whose events are `at` these times.
fn one_file(at: impl Iterator<Item = At>) -> World {
    let events = at
        .zip(0..)
        .map(|(at, id)| Event {
            id: Some(id),
            at,
            content: 0,
        })
        .collect();
    let shape = Shape {
        unit: TimeUnit::Nanosecond,
        zone: 0,
        text: 0,
        number: 0,
        columns: 0x400,
        reversed: false,
        in_order: true,
        group_rows: 9,
        codec: 0,
        v2: false,
    };
    World {
        drift: false,
        zoned: false,
        floats: false,
        padding: 0,
        steps: vec![Step {
            files: vec![File {
                events,
                shape,
                folder: FOLDERS[0],
            }],
            hours: 0,
        }],
        ttl: None,
        archive: None,
        copies: false,
        strategy: CompactionStrategy::SizeBased,
        target: 4_000,
        memory: 1,
        min_files: 1,
        threshold: 10 << 20,
        delete_delay: false,
    }
}

async fn settles(world: World) {
    let mut lab = Lab::new(&world, now());
    lab.ingest(&world.steps[0].files).await;
    lab.pass().await;
    let again = lab.pass().await;
    assert_eq!(again.totals.counters.files_compacted, 0, "{again:?}");
    lab.check().await;
}

/// Days that look worth a file until they are compressed: cut by the estimate, they came out the
/// same from every pass.
#[tokio::test]
async fn rows_that_compress_well_are_not_rewritten_for_ever() {
    let days = one_file((1..9).map(|day| At::FromNow(-day * DAY, 0)));
    settles(World {
        padding: 40_000,
        ttl: Some(Duration::from_secs(90 * 86_400)),
        ..days
    })
    .await;
}

/// Snapshots that meet within a microsecond: rounded to microseconds they overlap, and a full
/// compaction took that for a reason.
#[tokio::test]
async fn nanoseconds_are_not_rewritten_for_ever() {
    let moment = one_file((0..60).map(|_| At::FromNow(-9, 123_456_789)));
    settles(World {
        strategy: CompactionStrategy::FullCompaction,
        target: 1,
        ..moment
    })
    .await;
}
