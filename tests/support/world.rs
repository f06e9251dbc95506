//! A small world: a hot store, an archive, a time, and everything that was ever ingested. It can be copied, a pass can be run in it, and it can be
//! asked whether the invariants hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use icepack::model::manifest::Manifest;
use icepack::model::names::{self, FileKind, Tenant};
use icepack::model::report::RunReport;
use icepack::plan::commit::totals_balance;
use icepack::run::Selection;
use icepack::stage::archive::{ObjectArchive, ObjectArchiveOptions};
use icepack::stage::retry::RetryPolicy;
use icepack::{CompactionConfig, CompactionManager};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use tempfile::TempDir;

use crate::det_store::{DetStore, ProcessClock, Time};
use crate::fault_store::{FaultStore, Process, Schedule, Side};
use crate::support::{Event, Store, event, put, put_events, read};
use crate::watch::{self, Watch};

/// What is wrong, or nothing.
pub type Check<T = ()> = Result<T, String>;

enum Backing {
    Memory(Arc<DetStore>),
    Directory(TempDir),
}

/// See the module.
pub struct World {
    pub hot: Store,
    pub cold: Store,
    pub time: Time,
    pub config: CompactionConfig,
    pub watch: Arc<Watch>,
    /// Everything ingested, by tenant and event.
    pub rows: BTreeMap<String, BTreeSet<Event>>,
    /// Files that hold no rows that anybody could read.
    pub garbage: BTreeSet<String>,
    has_archive: bool,
    hot_backing: Backing,
    cold_backing: Arc<DetStore>,
    seed: u64,
    next_event: usize,
}

/// A pass that has ended, well or not.
pub struct Pass {
    pub result: icepack::Result<RunReport>,
    pub process: Arc<Process>,
}

impl Pass {
    pub fn summary(&self) -> String {
        match &self.result {
            Ok(report) => {
                let errors: Vec<_> = report.tenants.iter().filter_map(|t| Some(format!("{}: {}", t.tenant, t.error.as_ref()?))).collect();
                format!("{:?} {errors:?}", report.totals.status)
            }
            Err(e) => format!("failed: {e}"),
        }
    }

    /// The report of a pass that met no trouble.
    pub fn clean(&self) -> Check<&RunReport> {
        match &self.result {
            Ok(report) if report.tenants.iter().all(|t| t.error.is_none()) => Ok(report),
            _ => Err(format!("a clean pass had errors: {}", self.summary())),
        }
    }
}

/// A directory's files have the machine's times, so its world lives a day before now: what a process mints is older than what the store dates.
fn start(directory: bool) -> DateTime<Utc> {
    if directory { Utc::now() - TimeDelta::days(1) } else { "2026-05-20T12:00:00Z".parse().unwrap() }
}

impl World {
    /// An empty one.
    pub fn new(directory: bool, has_archive: bool) -> Self {
        let time = Time::at(start(directory));
        let config = CompactionConfig { orphan_grace: Duration::ZERO, slack: Duration::ZERO, concurrency: 1, ..CompactionConfig::default() };
        let hot = if directory { Backing::Directory(tempfile::tempdir().unwrap()) } else { Backing::Memory(Arc::new(DetStore::new(time.clone()))) };
        Self::over(hot, Arc::new(DetStore::new(time.clone())), time, config, has_archive)
    }

    fn over(hot_backing: Backing, cold_backing: Arc<DetStore>, time: Time, config: CompactionConfig, has_archive: bool) -> Self {
        let (hot, directory): (Store, _) = match &hot_backing {
            Backing::Memory(store) => (Arc::clone(store) as Store, None),
            Backing::Directory(dir) => (Arc::new(LocalFileSystem::new_with_prefix(dir.path()).unwrap()), Some(dir.path().to_owned())),
        };
        let cold = Arc::clone(&cold_backing) as Store;
        let watch = Watch::new(&hot, &cold, &time, directory);
        Self { hot, cold, time, config, watch, rows: BTreeMap::new(), garbage: BTreeSet::new(), has_archive, hot_backing, cold_backing, seed: 1, next_event: 0 }
    }

    /// A copy that goes its own way from here.
    pub fn fork(&self) -> Self {
        let time = Time::at(self.time.now());
        let hot = match &self.hot_backing {
            Backing::Memory(store) => Backing::Memory(Arc::new(store.fork(time.clone()))),
            Backing::Directory(dir) => Backing::Directory(copy_of(dir)),
        };
        let cold = Arc::new(self.cold_backing.fork(time.clone()));
        let copy = Self::over(hot, cold, time, self.config.clone(), self.has_archive);
        Self { rows: self.rows.clone(), garbage: self.garbage.clone(), seed: self.seed, next_event: self.next_event, ..copy }
    }

    /// A file of `count` rows that were made `age` ago, one a minute.
    pub async fn ingest(&mut self, tenant: &str, name: &str, count: usize, age: TimeDelta) {
        let first = self.next_event;
        self.next_event += count;
        let start = self.time.now() - age;
        let events: Vec<Event> = (0..count).map(|i| event(first + i, start + TimeDelta::minutes(i64::try_from(i).unwrap()))).collect();
        self.ingest_events(tenant, name, events).await;
    }

    pub async fn ingest_events(&mut self, tenant: &str, name: &str, events: Vec<Event>) {
        put_events(&self.hot, &format!("{tenant}/{name}"), &events).await;
        self.rows.entry(tenant.to_owned()).or_default().extend(events);
    }

    pub async fn ingest_garbage(&mut self, tenant: &str, name: &str) {
        let key = format!("{tenant}/{name}");
        put(&self.hot, &key, b"this is no Parquet file".to_vec()).await;
        self.garbage.insert(key);
    }

    /// A new process, with ids of its own.
    pub fn process(&mut self, schedule: Schedule) -> (Arc<Process>, CompactionManager) {
        let config = self.config.clone();
        self.process_of(schedule, config)
    }

    pub fn process_of(&mut self, schedule: Schedule, mut config: CompactionConfig) -> (Arc<Process>, CompactionManager) {
        self.seed += 1;
        let process = Process::new(schedule);
        let hot = FaultStore::over(&self.hot, Side::Hot, &process, &self.watch);
        if self.has_archive {
            let cold = FaultStore::over(&self.cold, Side::Cold, &process, &self.watch);
            let ms = Duration::from_millis;
            let retry = RetryPolicy { initial: ms(1), factor: 2.0, max_interval: ms(10), max_elapsed: Duration::from_secs(5) };
            let options = ObjectArchiveOptions { retry, ..ObjectArchiveOptions::default() };
            config.archive = Some(Arc::new(ObjectArchive::new(cold, "memory://cold", options)));
        }
        let mut manager = CompactionManager::new(hot, config).with_clock(Arc::new(ProcessClock::new(self.time.clone(), self.seed)));
        if let Some(directory) = &self.watch.directory {
            manager = manager.with_directory(directory);
        }
        (process, manager)
    }

    /// One pass of a new process. Requests that it gave up while they were under way reach the store before the next.
    pub async fn pass(&mut self, schedule: Schedule) -> Pass {
        let (process, manager) = self.process(schedule);
        let result = manager.run_pass(&Selection::all()).await;
        process.settle().await;
        Pass { result, process }
    }

    async fn list(store: &Store) -> Vec<ObjectMeta> {
        let mut metas: Vec<ObjectMeta> = store.list(None).try_collect().await.unwrap();
        metas.sort_by(|a, b| a.location.cmp(&b.location));
        metas
    }

    /// Every key with its bytes: hot, then cold.
    pub async fn contents(&self) -> Vec<(String, DateTime<Utc>, Vec<u8>)> {
        let mut all = Vec::new();
        for (name, store) in [("hot", &self.hot), ("cold", &self.cold)] {
            for m in Self::list(store).await {
                let body = store.get(&m.location).await.unwrap().bytes().await.unwrap();
                all.push((format!("{name}/{}", m.location), m.last_modified, body.to_vec()));
            }
        }
        all
    }

    /// The keys that matter to somebody: all but records of passes.
    pub async fn keys(&self) -> Vec<String> {
        Self::list(&self.hot).await.iter().map(|m| m.location.to_string()).filter(|k| !k.starts_with("_icepack/runs/")).collect()
    }

    fn cutoff(&self, tenant: &str) -> Option<i64> {
        let ttl = self.config.retention.ttl_for(tenant)?;
        Some((self.time.now() - TimeDelta::from_std(ttl).unwrap()).timestamp_micros())
    }

    /// I1 to I5, at this moment, from what the stores hold.
    pub async fn check(&self) -> Check {
        if let Some(first) = self.watch.broken().first() {
            return Err(first.clone());
        }
        let (hot, cold) = (Self::list(&self.hot).await, Self::list(&self.cold).await);
        for (name, rows) in &self.rows {
            let tenant = Tenant::parse(name).unwrap();
            let head = watch::head(&self.hot, &tenant).await;
            self.check_named(head.as_ref(), &hot, &cold)?;
            let live = count(&self.hot, &self.live_keys(&tenant, head.as_ref(), &hot)).await;
            let archived = count(&self.cold, &archived_keys(&tenant, head.as_ref(), &cold)).await;
            self.check_rows(name, rows, &live, &archived)?;
        }
        Ok(())
    }

    /// What a reader would read.
    fn live_keys(&self, tenant: &Tenant, head: Option<&Manifest>, hot: &[ObjectMeta]) -> Vec<String> {
        let retired: BTreeSet<(&str, Option<&str>)> = head.iter().flat_map(|h| &h.retired).map(|r| (r.key.as_str(), r.etag.as_deref())).collect();
        let raw = hot.iter().filter(|m| {
            let key = m.location.as_ref();
            names::classify(tenant, key) == FileKind::Raw && !retired.contains(&(key, m.e_tag.as_deref())) && !self.garbage.contains(key)
        });
        let snapshots = head.iter().flat_map(|h| &h.snapshots).map(|s| s.key.clone());
        snapshots.chain(raw.map(|m| m.location.to_string())).collect()
    }

    /// I2, and the books.
    fn check_named(&self, head: Option<&Manifest>, hot: &[ObjectMeta], cold: &[ObjectMeta]) -> Check {
        let Some(head) = head else { return Ok(()) };
        let has = |metas: &[ObjectMeta], key: &str, size: u64| metas.iter().any(|m| m.location.as_ref() == key && m.size == size);
        if let Some(s) = head.snapshots.iter().find(|s| !has(hot, &s.key, s.size)) {
            return Err(format!("I2: head {} names `{}`, which is not there", head.version, s.key));
        }
        if let Some(a) = head.archives.iter().find(|a| !has(cold, &a.key, a.size)) {
            return Err(format!("I2: head {} names `{}`, which is not in the archive", head.version, a.key));
        }
        if !totals_balance(head) {
            return Err(format!("I1: the books of head {} do not balance: {:?}", head.version, head.totals));
        }
        head.check_paths().map_err(|why| format!("I5: {why}"))
    }

    /// I1.
    fn check_rows(&self, tenant: &str, rows: &BTreeSet<Event>, live: &BTreeMap<Event, usize>, archived: &BTreeMap<Event, usize>) -> Check {
        let cutoff = self.cutoff(tenant);
        let of = |counts: &BTreeMap<Event, usize>, row: &Event| counts.get(row).copied().unwrap_or(0);
        for row in rows {
            let old = cutoff.is_some_and(|c| row.at < c);
            let (l, a) = (of(live, row), of(archived, row));
            let gone = old && !self.has_archive;
            if l + a > 1 || (l + a == 0 && !gone) || (a > 0 && !old) {
                return Err(format!("I1: row {} of `{tenant}` is {l} times live and {a} times archived (past its time: {old})", row.id));
            }
        }
        match live.keys().chain(archived.keys()).find(|row| !rows.contains(row)) {
            Some(row) => Err(format!("I1: row {} of `{tenant}` was never ingested", row.id)),
            None => Ok(()),
        }
    }

    /// Faults have stopped: one pass puts everything right, and the next finds nothing to do (I6).
    pub async fn settle(&mut self) -> Check {
        self.time.advance(TimeDelta::minutes(1));
        let pass = self.pass(Schedule::clean()).await;
        pass.clean().map_err(|e| format!("{e}\n{}", pass.process.trace()))?;
        self.check().await.map_err(|e| format!("after the clean pass: {e}\n{}", pass.process.trace()))?;
        let before = self.keys().await;
        self.time.advance(TimeDelta::minutes(1));
        let again = self.pass(Schedule::clean()).await;
        let report = again.clean()?;
        let idle = report.totals.files_compacted == 0 && report.totals.files_deleted == 0;
        if !idle || self.keys().await != before {
            return Err(format!("I6: there was something left to do: {:?}\n{}", report.totals, again.process.trace()));
        }
        self.check().await.map_err(|e| format!("after the idle pass: {e}"))?;
        self.check_settled().await
    }

    /// I6: nothing waits, nothing lies about.
    async fn check_settled(&self) -> Check {
        let (hot, cold) = (Self::list(&self.hot).await, Self::list(&self.cold).await);
        for name in self.rows.keys() {
            let tenant = Tenant::parse(name).unwrap();
            let head = watch::head(&self.hot, &tenant).await;
            let named = self.live_keys(&tenant, head.as_ref(), &hot);
            let mine = |m: &&ObjectMeta| tenant.owns(m.location.as_ref());
            if let Some(m) = hot.iter().filter(mine).find(|m| !named.iter().any(|n| n == m.location.as_ref()) && !self.garbage.contains(m.location.as_ref())) {
                return Err(format!("I6: `{}` is left over", m.location));
            }
            if let Some(head) = head {
                if !head.retired.is_empty() || !head.archives.is_empty() {
                    return Err(format!("I6: head {} still waits: {:?} {:?}", head.version, head.retired, head.archives));
                }
                let kept: BTreeSet<&String> = head.quarantined.iter().map(|q| &q.key).collect();
                if kept.iter().any(|k| !self.garbage.contains(*k)) {
                    return Err(format!("a good file is quarantined: {:?}", head.quarantined));
                }
            }
            // Where nothing holds rows back, all that are past their time have left.
            let live = count(&self.hot, &named).await;
            let cutoff = self.cutoff(name).unwrap_or(i64::MIN);
            let raw = |k: &String| names::classify(&tenant, k) == FileKind::Raw;
            if !named.iter().any(raw)
                && let Some(row) = live.keys().find(|row| row.at < cutoff)
            {
                return Err(format!("row {} of `{name}` is past its time and still live", row.id));
            }
            let receipts = cold.iter().filter(mine).filter(|m| m.location.as_ref().ends_with(".receipt.json"));
            for m in receipts {
                let object = m.location.as_ref().replace(".receipt.json", ".parquet");
                if !cold.iter().any(|m| m.location.as_ref() == object) {
                    return Err(format!("receipt `{}` without its object", m.location));
                }
            }
        }
        match &self.watch.directory {
            Some(directory) => half_written(directory).map_or(Ok(()), |path| Err(format!("I6: `{path}` is left over"))),
            None => Ok(()),
        }
    }
}

/// Objects that count: head names them, or they have a receipt.
fn archived_keys(tenant: &Tenant, head: Option<&Manifest>, cold: &[ObjectMeta]) -> Vec<String> {
    let receipts = cold.iter().map(|m| m.location.as_ref()).filter(|k| tenant.owns(k)).filter_map(|k| k.strip_suffix(".receipt.json"));
    let mut keys: BTreeSet<String> = receipts.map(|stem| format!("{stem}.parquet")).collect();
    keys.extend(head.iter().flat_map(|h| &h.archives).map(|a| a.key.clone()));
    keys.into_iter().collect()
}

async fn count(store: &Store, keys: &[String]) -> BTreeMap<Event, usize> {
    let mut counts = BTreeMap::new();
    for key in keys {
        for row in read(store, key).await {
            *counts.entry(row).or_default() += 1;
        }
    }
    counts
}

fn copy_of(dir: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let mut folders = vec![dir.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let target = copy.path().join(path.strip_prefix(dir.path()).unwrap());
            if path.is_dir() {
                std::fs::create_dir_all(&target).unwrap();
                folders.push(path);
            } else {
                // A link keeps the tag, which a directory makes of inode, size and time.
                std::fs::hard_link(&path, &target).unwrap();
            }
        }
    }
    copy
}

/// A file that no listing shows.
fn half_written(directory: &std::path::Path) -> Option<String> {
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().contains('#') {
                return Some(path.display().to_string());
            }
        }
    }
    None
}

/// Whether an object of this key is there.
pub async fn exists(store: &Store, key: &str) -> bool {
    store.head(&Path::parse(key).unwrap()).await.is_ok()
}
