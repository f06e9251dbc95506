//! A small world: a hot store, an archive, a time, and everything that was ever ingested. It can be
//! copied, a pass can be run in it, and it can be asked whether the invariants hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use icepack::archive::{Archive, ArchiveOptions, ObjectStoreBackend};
use icepack::pass::{Selection, StopHandle};
use icepack::restore::Restorer;
use icepack::store::local::PlainDirectory;
use icepack::store::object_writer::upload::StoreDestination;
use icepack::store::retry::RetryPolicy;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::file::Micros;
use icepack_core::model::manifest::{Retired, Verdict};
use icepack_core::model::names::{self, FileKind, Tenant};
use icepack_core::model::plan::Inventory;
use icepack_core::model::policy::Within;
use icepack_core::model::price::Prices;
use icepack_core::model::report::RunReport;
use icepack_core::plan::{live, sweep};
use icepack_dst::faults::{Process, Schedule, Side};
use icepack_dst::invariants::{self, Ingested, Object};
use icepack_dst::memory::{Time, TimedMemory};
use object_store::local::LocalFileSystem;
use object_store::{Attributes, ObjectMeta, ObjectStore, ObjectStoreExt};
use tempfile::TempDir;

use crate::support::copy_archive::{Copies, CopyArchive};
use crate::support::process_clock::ProcessClock;
use crate::support::watch::{self, Watch};
use crate::support::{self, Event, Store, delta, event, put, put_events, read, symlink};

/// A tenant's world in the words of the invariants.
type Tenancy = invariants::World<String>;

/// The address of the store, for readers of symlink manifests.
pub const ROOT: &str = "s3://hot/events";

/// What is wrong, or nothing.
pub type Check<T = ()> = Result<T, String>;

enum Backing {
    Memory(TimedMemory),
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
    /// The folders below the tenant that each row was put into.
    folders: BTreeMap<String, BTreeSet<String>>,
    /// Tenants that were restored, and until when their rows do not expire.
    pub held: BTreeMap<String, DateTime<Utc>>,
    /// Files that hold no rows that anybody could read.
    pub garbage: BTreeSet<String>,
    /// The archive takes whole snapshots by copies, and counts them.
    pub copies: Option<Arc<Copies>>,
    has_archive: bool,
    hot_backing: Backing,
    cold_backing: TimedMemory,
    seed: u64,
    next_event: usize,
    /// The folder that new files of `acme` come to while a pass is at work.
    pub arrivals: &'static str,
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
                let errors: Vec<_> = report
                    .tenants
                    .iter()
                    .filter_map(|t| Some(format!("{}: {}", t.tenant, t.error.as_ref()?)))
                    .collect();
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

/// A directory's files have the machine's times, so its world lives a day before now: what a
/// process mints is older than what the store dates.
fn start(directory: bool) -> DateTime<Utc> {
    if directory {
        Utc::now() - TimeDelta::days(1)
    } else {
        "2026-05-20T12:00:00Z".parse().unwrap()
    }
}

impl World {
    /// An empty one.
    pub fn new(directory: bool, has_archive: bool) -> Self {
        let time = Time::at(start(directory));
        let config = CompactionConfig {
            orphan_grace: Duration::ZERO,
            slack: Duration::ZERO,
            concurrency: 1,
            ..CompactionConfig::default()
        };
        let hot = if directory {
            Backing::Directory(tempfile::tempdir().unwrap())
        } else {
            Backing::Memory(TimedMemory::new(time.clone()))
        };
        Self::over(
            hot,
            TimedMemory::new(time.clone()),
            time,
            config,
            has_archive,
        )
    }

    fn over(
        hot_backing: Backing,
        cold_backing: TimedMemory,
        time: Time,
        config: CompactionConfig,
        has_archive: bool,
    ) -> Self {
        let (hot, directory): (Store, _) = match &hot_backing {
            Backing::Memory(store) => (store.store(), None),
            Backing::Directory(dir) => {
                let plain = LocalFileSystem::new_with_prefix(dir.path()).unwrap();
                let plain = PlainDirectory::new(plain, dir.path()).unwrap();
                (Arc::new(plain), Some(dir.path().to_owned()))
            }
        };
        let cold = cold_backing.store();
        let watch = Watch::new(&hot, &cold, &time, directory);
        Self {
            hot,
            cold,
            time,
            config,
            watch,
            rows: BTreeMap::new(),
            folders: BTreeMap::new(),
            held: BTreeMap::new(),
            garbage: BTreeSet::new(),
            copies: None,
            has_archive,
            hot_backing,
            cold_backing,
            seed: 1,
            next_event: 0,
            arrivals: "2026-05",
        }
    }

    /// A copy that goes its own way from here.
    pub fn fork(&self) -> Self {
        let time = Time::at(self.time.now());
        let hot = match &self.hot_backing {
            Backing::Memory(store) => Backing::Memory(store.fork(time.clone())),
            Backing::Directory(dir) => Backing::Directory(copy_of(dir)),
        };
        let cold = self.cold_backing.fork(time.clone());
        let copy = Self::over(hot, cold, time, self.config.clone(), self.has_archive);
        copy.watch.follow(&self.watch);
        Self {
            rows: self.rows.clone(),
            folders: self.folders.clone(),
            held: self.held.clone(),
            garbage: self.garbage.clone(),
            copies: self.copies.clone(),
            seed: self.seed,
            next_event: self.next_event,
            arrivals: self.arrivals,
            ..copy
        }
    }

    /// A file of `count` rows that were made `age` ago, one a minute; the rows.
    pub async fn ingest(
        &mut self,
        tenant: &str,
        name: &str,
        count: usize,
        age: TimeDelta,
    ) -> Vec<Event> {
        let first = self.next_event;
        self.next_event += count;
        let start = self.time.now() - age;
        let events: Vec<Event> = (0..count)
            .map(|i| {
                event(
                    first + i,
                    start + TimeDelta::minutes(i64::try_from(i).unwrap()),
                )
            })
            .collect();
        self.ingest_events(tenant, name, events.clone()).await;
        events
    }

    pub async fn ingest_events(&mut self, tenant: &str, name: &str, events: Vec<Event>) {
        put_events(&self.hot, &format!("{tenant}/{name}"), &events).await;
        for row in &events {
            let folders = self.folders.entry(text(row)).or_default();
            folders.insert(below_tenant(name).to_owned());
        }
        self.rows
            .entry(tenant.to_owned())
            .or_default()
            .extend(events);
    }

    /// Puts a file again, with the rows that it had: a writer's retry.
    pub async fn ingest_again(&mut self, tenant: &str, name: &str, events: &[Event]) {
        let key = format!("{tenant}/{name}");
        put_events(&self.hot, &key, events).await;
    }

    /// Whether there is a file of this name.
    pub async fn has(&self, tenant: &str, name: &str) -> bool {
        let key = format!("{tenant}/{name}");
        self.keys().await.contains(&key)
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

    pub fn process_of(
        &mut self,
        schedule: Schedule,
        mut config: CompactionConfig,
    ) -> (Arc<Process>, CompactionManager) {
        self.seed += 1;
        let process = Process::new(schedule);
        let directory = self.watch.directory.clone();
        let hot = process.store(&self.watch.over(Side::Hot), Side::Hot, directory);
        if self.has_archive {
            let cold = process.store(&self.watch.over(Side::Cold), Side::Cold, None);
            let ms = Duration::from_millis;
            let retry = RetryPolicy {
                initial: ms(1),
                factor: 2.0,
                max_interval: ms(10),
                max_elapsed: Duration::from_secs(5),
            };
            let options = ArchiveOptions {
                retry,
                ..ArchiveOptions::default()
            };
            let rows = Archive::new(Arc::clone(&cold), "memory://cold", options);
            config.archive = Some(match &self.copies {
                Some(copies) => Arc::new(CopyArchive {
                    rows,
                    hot: Arc::clone(&hot),
                    cold,
                    copies: Arc::clone(copies),
                }),
                None => Arc::new(rows),
            });
        }
        let mut manager = CompactionManager::new(hot, config)
            .with_clock(Arc::new(ProcessClock::new(self.time.clone(), self.seed)));
        if let Some(directory) = &self.watch.directory {
            manager = manager.with_directory(directory);
        }
        (process, manager)
    }

    /// A restore by a new process.
    pub fn restorer(&mut self, schedule: Schedule) -> (Arc<Process>, Restorer) {
        self.seed += 1;
        let process = Process::new(schedule);
        let store = process.store(&self.watch.over(Side::Hot), Side::Hot, None);
        let cold = process.store(&self.watch.over(Side::Cold), Side::Cold, None);
        let restorer = Restorer {
            cold: Arc::new(ObjectStoreBackend {
                store: cold,
                retry: RetryPolicy::NEVER,
                send_class: false,
            }),
            archive: "memory://cold".into(),
            destination: Arc::new(StoreDestination {
                store: Arc::clone(&store),
                attributes: Attributes::default(),
                retry: RetryPolicy::NEVER,
            }),
            store,
            into: "memory://hot".into(),
            layout: Default::default(),
            time_columns: icepack::TimeColumns::default(),
            memory: 64 << 20,
            prices: Prices::default(),
            clock: Arc::new(ProcessClock::new(self.time.clone(), self.seed)),
            stop: StopHandle::default(),
        };
        (process, restorer)
    }

    /// The rows of archive objects that have a receipt.
    pub async fn archived(&self, tenant: &str) -> BTreeSet<Event> {
        support::archived(&self.cold, tenant)
            .await
            .into_iter()
            .collect()
    }

    /// The rows that a reader finds, by the design's words alone.
    pub async fn live(&self, tenant: &str) -> Vec<Event> {
        let tenant = Tenant::parse(tenant).unwrap();
        let mut seen = Tenancy::new(tenant.clone(), false);
        for m in Self::list(&self.hot).await {
            if tenant.owns(m.location.as_ref()) {
                let object = Object {
                    size: m.size,
                    etag: m.e_tag,
                    rows: Vec::new(),
                };
                seen.hot.insert(m.location.to_string(), object);
            }
        }
        seen.manifests = watch::manifests(&self.hot, &tenant).await;
        let keys: Vec<String> = live_keys(&seen).into_iter().collect();
        support::read_all(&self.hot, &keys).await
    }

    /// Files that are there, and of which head knows when their rows are from.
    pub async fn adopted(&self) -> usize {
        let looks = self.looks().await;
        looks
            .iter()
            .filter_map(|seen| seen.head())
            .map(|head| head.adopted.len())
            .sum()
    }

    /// One pass of a new process. Requests that it gave up while they were under way reach the
    /// store before the next.
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
                all.push((
                    format!("{name}/{}", m.location),
                    m.last_modified,
                    body.to_vec(),
                ));
            }
        }
        all
    }

    /// The keys that matter to somebody: all but records of passes.
    pub async fn keys(&self) -> Vec<String> {
        Self::list(&self.hot)
            .await
            .iter()
            .map(|m| m.location.to_string())
            .filter(|k| !k.starts_with("_icepack/runs/"))
            .collect()
    }

    fn cutoff(&self, tenant: &str) -> Option<i64> {
        if self.held.get(tenant).is_some_and(|u| *u > self.time.now()) {
            return None;
        }
        let ttl = self.config.retention.ttl_for(tenant)?;
        Some((self.time.now() - TimeDelta::from_std(ttl).unwrap()).timestamp_micros())
    }

    /// A tenant's world as the stores hold it now, in the words of the invariants.
    async fn look(&self, name: &str) -> Tenancy {
        let tenant = Tenant::parse(name).unwrap();
        let mut seen = Tenancy::new(tenant.clone(), self.has_archive);
        let mine = |metas: Vec<ObjectMeta>| {
            metas
                .into_iter()
                .filter(|m| tenant.owns(m.location.as_ref()))
                .collect::<Vec<_>>()
        };
        for m in mine(Self::list(&self.hot).await) {
            let object = self.object(&self.hot, &m).await;
            seen.hot.insert(m.location.to_string(), object);
        }
        for m in mine(Self::list(&self.cold).await) {
            let key = m.location.to_string();
            if key.ends_with(".receipt.json") {
                let body = self
                    .cold
                    .get(&m.location)
                    .await
                    .unwrap()
                    .bytes()
                    .await
                    .unwrap();
                seen.receipts
                    .insert(key, serde_json::from_slice(&body).unwrap());
            } else if let Some(cold) = &mut seen.cold {
                cold.insert(key, self.object(&self.cold, &m).await);
            }
        }
        seen.manifests = watch::manifests(&self.hot, &tenant).await;
        // A row from before 2000 never expires.
        let (dated, cutoff) = (Micros::EPOCH_2000.0, self.cutoff(name));
        let oracle = self.rows[name].iter().map(|row| {
            (
                text(row),
                Ingested {
                    times: 1,
                    past_cutoff: cutoff.is_some_and(|c| (dated..c).contains(&row.at)),
                },
            )
        });
        seen.oracle = oracle.collect();
        self.watch.tell(&mut seen);
        seen
    }

    async fn object(&self, store: &Store, meta: &ObjectMeta) -> Object<String> {
        let key = meta.location.as_ref();
        let rows =
            if key.ends_with(".parquet") && !is_for_readers(key) && !self.garbage.contains(key) {
                read(store, key).await.iter().map(text).collect()
            } else {
                Vec::new()
            };
        Object {
            size: meta.size,
            etag: meta.e_tag.clone(),
            rows,
        }
    }

    /// I1 to I5, at this moment, from what the stores hold.
    pub async fn check(&self) -> Check {
        if let Some(first) = self.watch.broken().first() {
            return Err(first.clone());
        }
        for name in self.rows.keys() {
            let seen = self.look(name).await;
            seen.check().map_err(|v| v.to_string())?;
            // The predicates read as the library does. So that both cannot be wrong alike: what a
            // reader makes of the design's words alone.
            let inventory = Inventory {
                head: seen.head().map(|m| m.as_ref().clone()),
                listing: seen.listing(),
            };
            let view: BTreeSet<String> = live::view(&seen.tenant, &inventory)
                .files
                .into_iter()
                .map(|f| f.key)
                .collect();
            if view != live_keys(&seen) {
                return Err(format!(
                    "I1: the live view is {view:?}, and by the design {:?}",
                    live_keys(&seen)
                ));
            }
            self.check_folders(&seen)?;
            self.check_table(&seen).await?;
            self.check_lists(&seen).await?;
        }
        Ok(())
    }

    /// I7: whoever reads a folder finds its rows there and no other's, also in the archive, and
    /// after a restore.
    fn check_folders(&self, seen: &Tenancy) -> Check {
        if self.config.within == Within::Tenant {
            return Ok(());
        }
        for (key, object) in seen.hot.iter().chain(seen.cold.iter().flatten()) {
            let below = key.split_once('/').map_or("", |(_, rest)| rest);
            for row in &object.rows {
                if self
                    .folders
                    .get(row)
                    .is_some_and(|folders| !folders.contains(below_tenant(below)))
                {
                    return Err(format!("I7: row {row} came to another folder, in `{key}`"));
                }
            }
        }
        Ok(())
    }

    /// What readers of a published table see at this moment: files that are there, and no row
    /// twice.
    async fn check_table(&self, seen: &Tenancy) -> Check {
        let versions = delta::versions(&self.hot, seen.tenant.as_str()).await;
        let Some(newest) = versions.last() else {
            return Ok(());
        };
        let mut rows = BTreeSet::new();
        for (key, count) in &newest.files {
            let Some(object) = seen.hot.get(key) else {
                return Err(format!("the table names `{key}`, which is not there"));
            };
            if object.rows.len() as u64 != *count {
                return Err(format!(
                    "the table says {count} rows of `{key}`, and there are {}",
                    object.rows.len()
                ));
            }
            if let Some(twice) = object.rows.iter().find(|row| !rows.insert((*row).clone())) {
                return Err(format!(
                    "row {twice} is in the table twice: {:?}",
                    newest.files
                ));
            }
        }
        // What was published stays there until its time is past.
        match rows.iter().find(|row| !seen.oracle.contains_key(*row)) {
            Some(row) => Err(format!("row {row} is in the table and was never ingested")),
            None => Ok(()),
        }
    }

    /// What readers of symlink manifests see at this moment: files that are there, and no row twice.
    async fn check_lists(&self, seen: &Tenancy) -> Check {
        let mut rows = BTreeSet::new();
        for key in symlink::keys(&self.hot, seen.tenant.as_str(), ROOT).await {
            let Some(object) = seen.hot.get(&key) else {
                return Err(format!("a manifest lists `{key}`, which is not there"));
            };
            if let Some(twice) = object.rows.iter().find(|row| !rows.insert((*row).clone())) {
                return Err(format!("row {twice} is listed twice, also in `{key}`"));
            }
        }
        match rows.iter().find(|row| !seen.oracle.contains_key(*row)) {
            Some(row) => Err(format!("row {row} is listed and was never ingested")),
            None => Ok(()),
        }
    }

    /// Faults have stopped: one pass puts everything right, and the next finds nothing to do (I6).
    pub async fn settle(&mut self) -> Check {
        let from_std = |d| TimeDelta::from_std(d).unwrap();
        self.time.advance(
            from_std(self.config.orphan_grace.max(self.config.delete_delay))
                + TimeDelta::minutes(1),
        );
        let mut pass = self.pass(Schedule::clean()).await;
        pass.clean()
            .map_err(|e| format!("{e}\n{}", pass.process.trace()))?;
        // What one pass takes in, the next merges; and of what it adopts, the next knows when it
        // expires.
        for _ in 0..3 {
            let done = &pass.clean()?.totals.counters;
            if done.files_appended + done.files_adopted == 0 {
                break;
            }
            self.time
                .advance(from_std(self.config.delete_delay) + TimeDelta::seconds(1));
            pass = self.pass(Schedule::clean()).await;
            pass.clean()
                .map_err(|e| format!("{e}\n{}", pass.process.trace()))?;
        }
        // What a pass retires goes a delay later. Meanwhile rows expire, and a file may become old
        // enough to be packed alone.
        for _ in 0..48 {
            if self.config.delete_delay.is_zero() || is_at_rest(pass.clean()?) {
                break;
            }
            self.check()
                .await
                .map_err(|e| format!("after the clean pass: {e}\n{}", pass.process.trace()))?;
            self.time
                .advance(from_std(self.config.delete_delay) + TimeDelta::minutes(1));
            pass = self.pass(Schedule::clean()).await;
            pass.clean()
                .map_err(|e| format!("{e}\n{}", pass.process.trace()))?;
        }
        self.check()
            .await
            .map_err(|e| format!("after the clean pass: {e}\n{}", pass.process.trace()))?;
        // The time stands still, or a row might expire between the two.
        let (before, worlds) = (self.keys().await, self.looks().await);
        let again = self.pass(Schedule::clean()).await;
        let report = again.clean()?;
        if !is_idle(report) || self.keys().await != before {
            return Err(format!(
                "I6: there was something left to do: {:?}\n{}",
                report.totals,
                again.process.trace()
            ));
        }
        self.check()
            .await
            .map_err(|e| format!("after the idle pass: {e}"))?;
        for (before, after) in worlds.iter().zip(&self.looks().await) {
            self.check_settled(before, after)
                .map_err(|e| format!("{e}\n{}", again.process.trace()))?;
            if self.config.symlink.is_some() {
                let listed = symlink::keys(&self.hot, after.tenant.as_str(), ROOT).await;
                let live = live_keys(after);
                let live: Vec<String> = live.difference(&self.garbage).cloned().collect();
                if listed != live {
                    return Err(format!("I6: {listed:?} are listed, and live is {live:?}"));
                }
            }
            if self.config.publish.is_some() {
                let table = delta::versions(&self.hot, after.tenant.as_str())
                    .await
                    .pop()
                    .unwrap_or_default();
                let live: BTreeSet<String> = live_keys(after)
                    .difference(&self.garbage)
                    .cloned()
                    .collect();
                let named: BTreeSet<String> = table.files.into_keys().collect();
                if named != live {
                    return Err(format!(
                        "I6: the table names {named:?}, and live is {live:?}"
                    ));
                }
            }
        }
        match &self.watch.directory {
            Some(directory) => half_written(directory)
                .map_or(Ok(()), |path| Err(format!("I6: `{path}` is left over"))),
            None => Ok(()),
        }
    }

    async fn looks(&self) -> Vec<Tenancy> {
        let mut looks = Vec::new();
        for name in self.rows.keys() {
            looks.push(self.look(name).await);
        }
        looks
    }

    /// I6: nothing waits, nothing lies about.
    fn check_settled(&self, before: &Tenancy, seen: &Tenancy) -> Check {
        seen.i6_at_rest(before).map_err(|v| v.to_string())?;
        let live = live_keys(seen);
        let aside: BTreeSet<String> = seen
            .head()
            .iter()
            .flat_map(|head| sweep::set_aside(head, &seen.listing()))
            .map(|(key, _)| key)
            .collect();
        if let Some(key) = seen
            .hot
            .keys()
            .find(|k| !live.contains(*k) && !aside.contains(*k) && !is_for_readers(k))
        {
            return Err(format!("I6: `{key}` is left over"));
        }
        if let Some(q) = seen.head().and_then(|h| {
            h.quarantined
                .iter()
                .find(|q| !self.garbage.contains(&q.key))
        }) {
            return Err(format!("a good file is quarantined: {q:?}"));
        }
        // Where no raw file waits for others, all rows that are past their time have left. Of one
        // that is adopted it is known when they are.
        let adopted: BTreeSet<&String> = seen
            .head()
            .iter()
            .flat_map(|h| &h.adopted)
            .map(|a| &a.key)
            .collect();
        let raw = live.iter().any(|k| {
            names::classify(&seen.tenant, k) == FileKind::Raw
                && !self.garbage.contains(k)
                && !adopted.contains(k)
        });
        let old = |row: &&String| seen.oracle.get(*row).is_some_and(|r| r.past_cutoff);
        match live.iter().flat_map(|k| &seen.hot[k].rows).find(old) {
            Some(row) if !raw => Err(format!("row {row} is past its time and still live")),
            _ => Ok(()),
        }
    }
}

fn is_idle(report: &RunReport) -> bool {
    let c = &report.totals.counters;
    c.files_compacted + c.files_deleted + c.files_repeated + c.files_appended + c.files_adopted == 0
}

/// Whether a pass leaves nothing to wait for: what it found listed by a dead one waits from then on.
fn is_at_rest(report: &RunReport) -> bool {
    let lists = report.tenants.iter().flat_map(|t| &t.symlinks);
    is_idle(report) && !lists.into_iter().any(|l| l.is_changed)
}

/// The folder of a key below its tenant.
fn below_tenant(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn text(row: &Event) -> String {
    format!(
        "{}@{} {}",
        row.id,
        row.at,
        if row.payload.len() > 100 {
            &row.payload[..100]
        } else {
            &row.payload
        }
    )
}

/// Head's snapshots, and the raw files whose names head has neither retired nor remembers, or that
/// it takes in as they are.
fn live_keys(seen: &Tenancy) -> BTreeSet<String> {
    let head = seen.head();
    let is_used = |key: &str, etag: Option<&str>| {
        let Some(head) = head else { return false };
        match head.retired.iter().find(|r| r.key == key) {
            Some(Retired { found: Some(f), .. }) if f.verdict == Verdict::Append => {
                etag != Some(&f.etag)
            }
            Some(_) => true,
            None => head.swept_name(key).is_some(),
        }
    };
    let raw = seen.hot.iter().filter(|(key, object)| {
        names::classify(&seen.tenant, key) == FileKind::Raw && !is_used(key, object.etag.as_deref())
    });
    head.iter()
        .flat_map(|h| &h.snapshots)
        .map(|s| s.key.clone())
        .chain(raw.map(|(key, _)| key.clone()))
        .collect()
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

/// A file that no listing shows. Of a tenant or its manifests: a probe or a record of a pass that
/// was half written stays. One of a list of files goes after a quarter of an hour of the machine's
/// time.
fn half_written(directory: &std::path::Path) -> Option<String> {
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().contains('#')
                && !path.to_string_lossy().contains("/_icepack/_probe/")
                && !path.to_string_lossy().contains("/_icepack/runs/")
                && !path
                    .to_string_lossy()
                    .contains("/_symlink_format_manifest/")
            {
                return Some(path.display().to_string());
            }
        }
    }
    None
}

/// Whether a key is of what is published.
pub fn is_for_readers(key: &str) -> bool {
    key.contains("/_delta_log/") || key.contains("/_symlink_format_manifest/")
}
