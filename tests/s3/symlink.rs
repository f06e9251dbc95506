//! Symlink manifests: what they list, by a reader of our own and by engines that nobody here wrote,
//! while passes work and are killed.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use icepack::clock::ManualClock;
use icepack::pass::Selection;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::pages::PageSizes;
use icepack_core::model::report::{RunReport, Status, TenantReport};
use icepack_core::model::symlink::{GRACE, Symlink};
use object_store::ObjectStoreExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use serde_json::Value;

use crate::loops::{self, FILES, ROWS, TTL, rounds, script};
use crate::support::symlink::{keys, lists};
use crate::support::{
    self, Store, eager, event, get, job, live, memory, parquet, put, put_events, read_all, s3,
    seed, servers, sorted, tenant_keys,
};

const ROOT: &str = "s3://bucket/events";

const STATE: &str = "acme/_symlink_format_manifest/_icepack.json";

fn listing() -> CompactionConfig {
    CompactionConfig {
        symlink: Some(Symlink {
            root: Some(ROOT.to_owned()),
            keep: Duration::ZERO,
        }),
        ..eager()
    }
}

/// Files are merged by `min` or more.
fn by(min: usize) -> CompactionConfig {
    CompactionConfig {
        min_files_to_compact: min,
        ..listing()
    }
}

struct World {
    store: Store,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> Self {
        Self {
            store: memory(),
            clock: Arc::new(ManualClock::new(Utc::now(), 1)),
        }
    }

    async fn pass(&self, config: CompactionConfig) -> RunReport {
        CompactionManager::new(Arc::clone(&self.store), config)
            .with_clock(Arc::clone(&self.clock) as _)
            .run_pass(&Selection::all())
            .await
            .unwrap()
    }

    /// A pass that does everything it is asked to.
    async fn clean_pass(&self, config: CompactionConfig) -> RunReport {
        let report = self.pass(config).await;
        let ok = report.tenants.iter().all(|t| t.error.is_none());
        assert!(ok, "{report:?}");
        report
    }

    /// The four files that a snapshot replaced wait for readers from the next pass on, however late
    /// that is.
    async fn expect_to_wait_from_now(&self) {
        self.clock.advance(TimeDelta::hours(5));
        let report = self.clean_pass(by(2)).await;
        assert_eq!(of(&report, "acme").counters.files_deleted, 0, "{report:?}");
        assert_eq!(self.listed().await.len(), 1);
        self.clock.advance(TimeDelta::minutes(16));
        let report = self.clean_pass(by(2)).await;
        assert_eq!(of(&report, "acme").counters.files_deleted, 4);
    }

    async fn listed(&self) -> Vec<String> {
        keys(&self.store, "acme", ROOT).await
    }
}

fn of<'a>(report: &'a RunReport, tenant: &str) -> &'a TenantReport {
    report.tenants.iter().find(|t| t.tenant == tenant).unwrap()
}

#[tokio::test]
async fn files_are_listed_as_they_come_move_and_go() {
    let w = World::new();
    let events = seed(&w.store, "acme", 4, 10, Utc::now()).await;
    put(
        &w.store,
        "acme/2026-01/half.parquet",
        b"PAR1 and no end".to_vec(),
    )
    .await;
    w.clean_pass(by(100)).await;
    let raw: Vec<String> = (0..4)
        .map(|n| format!("acme/2026-01/events-{n:04}.parquet"))
        .collect();
    assert_eq!(w.listed().await, raw, "but not what no reader can open");
    let again = w.pass(by(100)).await;
    let left_out = &of(&again, "acme").symlinks.as_ref().unwrap().left_out;
    assert!(
        left_out.len() == 1 && left_out[0].contains("half.parquet"),
        "{left_out:?}"
    );
    w.pass(by(2)).await;
    let listed = w.listed().await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert!(listed[0].contains("/snapshot.acme."), "{listed:?}");
    assert_eq!(sorted(read_all(&w.store, &listed).await), sorted(events));

    // Who has the list of before still finds its files.
    let there = tenant_keys(&w.store, "acme").await;
    assert!(raw.iter().all(|key| there.contains(key)), "{there:?}");
    w.clock
        .advance(TimeDelta::from_std(GRACE).unwrap() - TimeDelta::seconds(30));
    let early = w.pass(by(2)).await;
    assert_eq!(of(&early, "acme").counters.files_deleted, 0);
    w.clock.advance(TimeDelta::minutes(2));
    let late = w.pass(by(2)).await;
    assert_eq!(of(&late, "acme").counters.files_deleted, 4, "{late:?}");
    assert_eq!(w.listed().await, listed);
}

/// What was retired by one run and published by a later one waits from then on.
#[tokio::test]
async fn files_wait_from_when_they_left_the_lists() {
    let w = World::new();
    seed(&w.store, "acme", 4, 10, Utc::now()).await;
    w.clean_pass(by(100)).await;
    // Another job commits, and does not publish: its commit was killed just then.
    let state = w
        .store
        .get(&Key::from(STATE))
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let lists_then = w.listed().await;
    w.clean_pass(by(2)).await;
    let manifest = "acme/_symlink_format_manifest/manifest";
    let text: String = lists_then.iter().map(|k| format!("{ROOT}/{k}\n")).collect();
    put(&w.store, manifest, text.into_bytes()).await;
    put(&w.store, STATE, state).await;
    w.expect_to_wait_from_now().await;
}

/// A run that knew an older head wrote a manifest, and died before it wrote the state: the files
/// that it lists are read to this day, however long ago they had left.
#[tokio::test]
async fn what_a_dead_run_listed_again_waits_again() {
    let w = World::new();
    seed(&w.store, "acme", 4, 10, Utc::now()).await;
    w.clean_pass(by(100)).await;
    let manifest = "acme/_symlink_format_manifest/manifest";
    let older = get(&w.store, manifest).await;
    w.clean_pass(by(2)).await;
    put(&w.store, manifest, older.to_vec()).await;
    w.expect_to_wait_from_now().await;
}

/// A file that is still being written is listed once it is whole, under the same name.
#[tokio::test]
async fn what_is_half_written_is_looked_at_again() {
    let w = World::new();
    seed(&w.store, "acme", 1, 10, Utc::now()).await;
    let half = "acme/2026-01/half.parquet";
    let whole = parquet(&support::batch(&[event(900, Utc::now())]));
    put(&w.store, half, whole[..whole.len() - 4].to_vec()).await;
    for n in 0..2 {
        let report = w.pass(by(100)).await;
        let left_out = &of(&report, "acme").symlinks.as_ref().unwrap().left_out;
        assert!(
            left_out.len() == 1 && left_out[0].contains(half),
            "{n}: {left_out:?}"
        );
    }
    put(&w.store, half, whole).await;
    let report = w.clean_pass(by(100)).await;
    let symlinks = of(&report, "acme").symlinks.as_ref().unwrap();
    assert_eq!(symlinks.left_out, [] as [String; 0]);
    assert!(w.listed().await.contains(&half.to_owned()));
}

/// A manifest with pages: each file of each page is listed, and an idle pass does nothing.
#[tokio::test]
async fn files_of_every_page_are_listed() {
    let w = World::new();
    let config = CompactionConfig {
        page_sizes: PageSizes {
            inline: 4,
            entries: 4,
            ..PageSizes::default()
        },
        ..by(2)
    };
    let mut events = Vec::new();
    for n in 0..80 {
        let event = event(n, Utc::now());
        let key = format!("acme/{:02}/{}.parquet", n / 2, n % 2);
        put_events(&w.store, &key, std::slice::from_ref(&event)).await;
        events.push(event);
    }
    for _ in 0..2 {
        w.clean_pass(config.clone()).await;
        w.clock.advance(TimeDelta::minutes(16));
    }
    assert!(
        support::keys(&w.store)
            .await
            .iter()
            .any(|k| k.contains("/pages/")),
        "there are no pages"
    );
    assert_eq!(
        sorted(read_all(&w.store, &w.listed().await).await),
        sorted(events)
    );
    w.clean_pass(config.clone()).await;
    let idle = w.clean_pass(config).await;
    assert_eq!(of(&idle, "acme").status, Status::Idle, "{idle:?}");
    // That the lists are current shows in what the look reads anyway.
    let lists = of(&idle, "acme").counters.requests.list;
    assert_eq!(lists, 2, "{idle:?}");
}

#[tokio::test]
async fn each_partition_has_a_manifest_which_is_empty_and_then_removed() {
    let w = World::new();
    let now = Utc::now();
    let mut expected: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (n, (folder, at)) in [
        ("dt=2026-10-01/h=12%3A30", now),
        ("x/dt=2026-10-01/y/h=12:30", now),
        ("dt=2026-10-01/h=", now),
        ("dt=old/h=1", now - TimeDelta::days(40)),
    ]
    .into_iter()
    .enumerate()
    {
        let partition = match n {
            0 | 1 => "dt=2026-10-01/h=12%3A30",
            2 => "dt=2026-10-01/h=__HIVE_DEFAULT_PARTITION__",
            _ => "dt=old/h=1",
        };
        for file in 0..2 {
            let event = event(n * 10 + file, at);
            put_events(
                &w.store,
                &format!("acme/{folder}/{file}.parquet"),
                std::slice::from_ref(&event),
            )
            .await;
            expected.entry(partition).or_default().push(event);
        }
    }
    let read = async || {
        let mut found = BTreeMap::new();
        for (partition, lines) in lists(&w.store, "acme").await {
            let keys: Vec<String> = lines
                .iter()
                .map(|l| l[ROOT.len() + 1..].to_owned())
                .collect();
            found.insert(partition, sorted(read_all(&w.store, &keys).await));
        }
        found
    };
    for min in [100, 2] {
        w.clean_pass(by(min)).await;
        let found = read().await;
        let found: BTreeMap<&str, Vec<_>> =
            found.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
        assert_eq!(found, expected, "{min}");
    }
    let mut config = by(2);
    config
        .retention
        .set("acme", Some(Duration::from_secs(30 * 86_400)));
    w.clean_pass(config.clone()).await;
    let found = lists(&w.store, "acme").await;
    assert_eq!(found["dt=old/h=1"], [] as [String; 0], "an empty partition");
    w.clock.advance(TimeDelta::minutes(16));
    let report = w.clean_pass(config.clone()).await;
    assert_eq!(of(&report, "acme").symlinks.as_ref().unwrap().removed, 1);
    let found = lists(&w.store, "acme").await;
    let partitions: Vec<&str> = found.keys().map(String::as_str).collect();
    expected.remove("dt=old/h=1");
    assert_eq!(partitions, expected.keys().copied().collect::<Vec<_>>());

    // A partition may come again.
    let late = event(900, now);
    put_events(
        &w.store,
        "acme/dt=old/h=1/again.parquet",
        std::slice::from_ref(&late),
    )
    .await;
    w.clean_pass(config).await;
    assert_eq!(read().await["dt=old/h=1"], [late]);
}

/// All rows expire: readers find none, and the folder keeps nothing but its mark.
#[tokio::test]
async fn a_tenant_that_leaves_leaves_no_list() {
    let w = World::new();
    seed(&w.store, "acme", 4, 10, Utc::now()).await;
    w.clean_pass(by(2)).await;
    let mut config = by(2);
    config
        .retention
        .set("acme", Some(Duration::from_secs(86_400)));
    w.clock.advance(TimeDelta::days(10));
    w.clean_pass(config.clone()).await;
    assert_eq!(lists(&w.store, "acme").await[""], [] as [String; 0]);
    for _ in 0..2 {
        w.clock.advance(TimeDelta::minutes(16));
        w.clean_pass(config.clone()).await;
    }
    assert_eq!(tenant_keys(&w.store, "acme").await, [STATE]);
    let idle = w.clean_pass(config).await;
    assert_eq!(of(&idle, "acme").status, Status::Idle, "{idle:?}");
}

#[tokio::test]
async fn what_is_not_ours_is_refused() {
    let theirs = "acme/_symlink_format_manifest/dt=1/manifest";
    let text = b"s3://elsewhere/a.parquet\n".to_vec();
    let w = World::new();
    seed(&w.store, "acme", 4, 10, Utc::now()).await;
    put(&w.store, theirs, text.clone()).await;
    let before = tenant_keys(&w.store, "acme").await;
    for config in [
        by(2),
        // Without: their readers would find less and less.
        CompactionConfig {
            symlink: None,
            ..by(2)
        },
    ] {
        let report = w.pass(config).await;
        let acme = of(&report, "acme");
        assert_eq!(acme.status, Status::Refused, "{acme:?}");
        let error = acme.error.as_ref().unwrap();
        assert!(error.contains(theirs), "{error}");
        assert_eq!(tenant_keys(&w.store, "acme").await, before);
    }
    let found = w.store.get(&Key::from(theirs)).await.unwrap();
    assert_eq!(found.bytes().await.unwrap(), text);

    // Damaged, of a newer version, or of another tenant: it says what to do, and that helps.
    for state in [
        "{",
        r#"{"format":9,"writer":"icepack 9","tenant":"acme","version":1,"manifests":{},"left":[]}"#,
        r#"{"format":1,"writer":"icepack 0","tenant":"b","version":1,"manifests":{},"left":[]}"#,
    ] {
        put(&w.store, STATE, state.as_bytes().to_vec()).await;
        let report = w.pass(by(2)).await;
        let error = of(&report, "acme").error.clone().unwrap();
        assert!(error.contains("Remove the folder"), "{error}");
        assert_eq!(of(&report, "acme").status, Status::Refused);
    }
    for key in [theirs, STATE] {
        w.store.delete(&Key::from(key)).await.unwrap();
    }
    w.clean_pass(by(2)).await;
    assert_eq!(w.listed().await.len(), 1);
}

/// Folders of different keys make no one table: the tenant is done, and keeps all files.
#[tokio::test]
async fn folders_that_make_no_table_are_told() {
    let w = World::new();
    seed(&w.store, "acme", 4, 10, Utc::now()).await;
    put_events(&w.store, "acme/dt=1/a.parquet", &[event(900, Utc::now())]).await;
    let report = w.pass(by(2)).await;
    let acme = of(&report, "acme");
    assert_eq!(acme.status, Status::Failed, "{acme:?}");
    let error = acme.error.as_ref().unwrap();
    assert!(error.contains("one table cannot show that"), "{error}");
    assert_eq!(
        (acme.counters.files_written, acme.counters.files_deleted),
        (1, 0)
    );
}

/// Somebody else's hand: a manifest that is gone, empty or other than it was is written again.
#[tokio::test]
async fn what_others_do_to_the_lists_is_put_right() {
    let w = World::new();
    seed(&w.store, "acme", 4, 10, Utc::now()).await;
    w.clean_pass(by(2)).await;
    let (manifest, listed) = ("acme/_symlink_format_manifest/manifest", w.listed().await);
    for other in [None, Some(""), Some("s3://elsewhere/x\n")] {
        match other {
            None => w.store.delete(&Key::from(manifest)).await.unwrap(),
            Some(text) => put(&w.store, manifest, text.as_bytes().to_vec()).await,
        }
        w.clean_pass(by(2)).await;
        assert_eq!(w.listed().await, listed, "{other:?}");
    }
    let more = "acme/_symlink_format_manifest/dt=1/manifest";
    put(&w.store, more, b"s3://elsewhere/x\n".to_vec()).await;
    w.clean_pass(by(2)).await;
    assert_eq!(w.listed().await, listed);
}

#[tokio::test]
async fn an_idle_tenant_costs_a_request_more() {
    let cost = async |config: CompactionConfig| {
        let w = World::new();
        for n in 0..5 {
            seed(&w.store, &format!("t{n}"), 4, 5, Utc::now()).await;
        }
        for _ in 0..2 {
            w.clean_pass(config.clone()).await;
        }
        let idle = w.clean_pass(config).await;
        assert_eq!(idle.totals.counters.files_deleted, 0);
        let all = idle.tenants.iter();
        all.map(|t| t.counters.requests.kinds().iter().map(|k| k.1).sum::<u64>())
            .sum::<u64>()
    };
    let without = cost(CompactionConfig {
        symlink: None,
        ..by(2)
    })
    .await;
    let with = cost(by(2)).await;
    assert!(
        with <= without + 5,
        "of five tenants: {with} requests, and {without} without"
    );
}

#[tokio::test]
async fn passes_that_publish_at_once_agree() {
    let w = World::new();
    let events = seed(&w.store, "acme", 12, 10, Utc::now()).await;
    let passes: Vec<_> = (0..4).map(|n| w.pass(by(2 + n))).collect();
    futures::future::join_all(passes).await;
    w.clean_pass(by(2)).await;
    let listed = w.listed().await;
    assert_eq!(
        sorted(read_all(&w.store, &listed).await),
        sorted(events.clone())
    );
    assert_eq!(live(&w.store, "acme").await, sorted(events));
}

#[tokio::test]
async fn a_library_must_say_the_store_s_address() {
    let w = World::new();
    let mut config = listing();
    config.layout = icepack_core::model::layout::Layout::parse("*/t={tenant}/**").unwrap();
    let manager = CompactionManager::new(Arc::clone(&w.store), config);
    let error = manager.run_pass(&Selection::all()).await.unwrap_err();
    assert!(error.to_string().contains("one folder for each"), "{error}");
    let mut config = listing();
    config.symlink.as_mut().unwrap().root = None;
    let manager = CompactionManager::new(Arc::clone(&w.store), config);
    let error = manager.run_pass(&Selection::all()).await.unwrap_err();
    assert!(error.to_string().contains("Symlink::root"), "{error}");
}

/// A store with one tenant in two partitions, and the way to it.
struct Loop {
    name: &'static str,
    store: Store,
    url: String,
    envs: Vec<(&'static str, String)>,
    copies: tempfile::TempDir,
    cutoff: DateTime<Utc>,
    files: usize,
    ends: BTreeMap<String, usize>,
}

impl Loop {
    fn new(name: &'static str, store: Store, url: &str, envs: Vec<(&'static str, String)>) -> Self {
        let settings = [
            ("ICEPACK_STORE", url.to_owned()),
            ("ICEPACK_RETENTION_DEFAULT_TTL", "30d".into()),
            ("ICEPACK_RETENTION_SLACK", "0s".into()),
            ("ICEPACK_SWEEP_ORPHAN_GRACE", "0s".into()),
            ("ICEPACK_PUBLISH_SYMLINK", "true".into()),
            ("ICEPACK_PUBLISH_KEEP", "0s".into()),
        ];
        Self {
            name,
            store,
            url: url.to_owned(),
            envs: [envs, settings.to_vec()].concat(),
            copies: tempfile::tempdir().unwrap(),
            cutoff: Utc::now() - TTL,
            files: 0,
            ends: BTreeMap::new(),
        }
    }

    /// A file with rows to keep and, now and then, rows that are past their time.
    async fn ingest(&mut self, rng: &mut Rng) {
        let rows = loops::rows(rng, self.cutoff, self.files);
        let body = parquet(&support::batch(&rows));
        let name = format!("{:06}.parquet", self.files);
        std::fs::write(self.copies.path().join(&name), &body).unwrap();
        let key = format!("acme/dt={}/{name}", self.files % 2);
        put(&self.store, &key, body).await;
        self.files += 1;
    }

    fn start(&self) -> Child {
        let mut command = job::icepack(&self.envs);
        let quiet = command
            .arg("run")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        quiet.stderr(Stdio::null()).spawn().unwrap()
    }

    fn reader(&self) -> Child {
        let mut command: Command = job::python();
        command
            .arg(script("read_lists.py"))
            .args([
                "--table",
                &format!("{}/acme/_symlink_format_manifest", self.url),
            ])
            .args(["--cutoff", &self.cutoff.timestamp_micros().to_string()])
            .arg("--copies")
            .arg(self.copies.path())
            .envs(self.envs.iter().map(|(k, v)| (k, v)))
            .env_remove("ICEPACK_DELTA_ROUNDS");
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        piped.stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Time passes for those who wait for readers.
    async fn age(&self) {
        let key = Key::from(STATE);
        let Ok(found) = self.store.get(&key).await else {
            return;
        };
        let mut state: Value = serde_json::from_slice(&found.bytes().await.unwrap()).unwrap();
        for left in state["left"].as_array_mut().unwrap() {
            let at: DateTime<Utc> = serde_json::from_value(left["at"].clone()).unwrap();
            left["at"] = serde_json::json!(at - TimeDelta::minutes(10));
        }
        put(&self.store, STATE, state.to_string().into_bytes()).await;
    }

    /// Rounds of new files and two passes at once, each of which may be killed at any moment, while
    /// somebody reads. Then a pass that nobody disturbs, and the count.
    async fn run(&mut self, rng: &mut Rng) {
        let began = Instant::now();
        self.ingest(rng).await;
        job::expect(&self.envs, 0, ["run"]);
        let whole = began.elapsed().max(Duration::from_millis(300));
        let (reader, mut deleted) = (self.reader(), 0);
        for _ in 0..rounds() {
            for _ in 0..FILES {
                self.ingest(rng).await;
            }
            let before = tenant_keys(&self.store, "acme").await;
            let mut passes = [self.start(), self.start()];
            for pass in &mut passes {
                if rng.u32(0..3) > 0 {
                    tokio::time::sleep(whole.mul_f64(rng.f64())).await;
                    let _ = pass.kill();
                }
                let end = pass.wait().unwrap();
                assert!(
                    end.code().is_none_or(|c| matches!(c, 0 | 4)),
                    "{}: {end}",
                    self.name
                );
                let end = end.code().map_or("killed".into(), |c| format!("exit {c}"));
                *self.ends.entry(end).or_default() += 1;
            }
            let after = tenant_keys(&self.store, "acme").await;
            deleted += before.iter().filter(|key| !after.contains(key)).count();
            self.age().await;
        }
        for _ in 0..3 {
            job::expect(&self.envs, 0, ["run"]);
            self.age().await;
        }
        let figures = loops::found(reader, self.name);
        println!(
            "{}: {} files of {ROWS} rows, {} rounds of two passes: {:?}; {deleted} files deleted \
             meanwhile; {figures}; {} s",
            self.name,
            self.files,
            rounds(),
            self.ends,
            began.elapsed().as_secs()
        );
        assert!(self.ends.contains_key("killed"), "nobody was killed");
        assert!(deleted > 0, "nothing was deleted while somebody read");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_see_each_row_once_while_passes_are_killed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(dir.path()).unwrap()) as Store;
    let url = dir.path().display().to_string();
    Loop::new("directory", store, &url, Vec::new())
        .run(&mut Rng::with_seed(1))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_they_do_on_s3() {
    let Some(endpoint) = servers::fastest() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "lists").await;
    let url = format!("s3://{bucket}/events");
    let store = s3::store(&endpoint, &bucket, "events");
    Loop::new("s3", store, &url, s3::environment(&endpoint))
        .run(&mut Rng::with_seed(2))
        .await;
}
