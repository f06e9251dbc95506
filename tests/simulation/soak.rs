//! Four passes of the real binary at once, whole or a shard each, killed at random, while files
//! keep arriving, somebody keeps reading, and rows are brought back from the archive; on a
//! directory, on a good network and on a bad one. At every moment each row is there, once.
//! `ICEPACK_SOAK=long` makes it long.

use crate::support;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use fastrand::Rng;
use icepack::pass::Selection;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::names::Tenant;
use object_store::ObjectStoreExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use support::proxy::{Fate, Proxy};
use support::{Event, Store, job, put, s3, servers, tenant_keys};

/// Passes at once.
const PASSES: usize = 4;

/// Rounds where nobody asks for more: enough to see the machinery work in a minute.
const ROUNDS: usize = 8;

/// And where somebody does.
const LONG: usize = 60;

/// The time that a restore asks for, of the twenty days that expired rows are spread over.
const RESTORED: TimeDelta = TimeDelta::days(3);

const TENANTS: [&str; 3] = ["acme", "globex", "system"];

/// Raw files that arrive before a round, at least; as many again while it lasts, or more.
const FILES: usize = 12;

/// Files of a round, at most: where passes are slow, more would only make the next round slower,
/// without end.
const MOST: usize = 5 * FILES;

/// Where raw files lie below their tenant, in turns. Readers by path find each row where it was put.
const FOLDERS: [&str; 3] = [
    "2026-01",
    "country=de/dt=2026-01-01",
    "country=fr/dt=2026-01-01",
];

/// Rows of a raw file.
const ROWS: usize = 120;

/// Rows are older or newer than this by ten days and more, so that no row expires while the test
/// runs.
const TTL: TimeDelta = TimeDelta::days(30);

/// One at a time: they would take each other's processors, and kills be spread over longer passes.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| {
        v.parse().unwrap_or_else(|e| panic!("{name}={v}: {e}"))
    })
}

fn rounds() -> usize {
    let default = match std::env::var("ICEPACK_SOAK").as_deref() {
        Ok("long") => LONG,
        Ok(other) => panic!("ICEPACK_SOAK={other}: only `long` is known"),
        Err(_) => ROUNDS,
    };
    setting("ICEPACK_SOAK_ROUNDS", default as u64) as usize
}

/// A restore of some expired rows, back as a tenant of its own.
#[derive(Clone)]
struct Restore {
    of: &'static str,
    into: String,
    from: DateTime<Utc>,
    /// What the archive had when it began.
    least: HashSet<Event>,
    done: bool,
}

impl Restore {
    fn args(&self) -> Vec<String> {
        let time = |t: DateTime<Utc>| t.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let (from, to) = (time(self.from), time(self.from + RESTORED));
        [
            "restore", "--tenant", self.of, "--as", &self.into, "--from", &from, "--to", &to,
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn takes(&self, e: &Event) -> bool {
        (self.from.timestamp_micros()..(self.from + RESTORED).timestamp_micros()).contains(&e.at)
    }
}

/// A raw file as it was written.
struct File {
    tenant: &'static str,
    rows: Vec<Event>,
}

/// What arrived, and what is arriving.
#[derive(Default)]
struct Arrivals {
    begun: Vec<Arc<File>>,
    done: Vec<Arc<File>>,
}

/// What the test has seen.
#[derive(Default)]
struct Figures {
    views: AtomicUsize,
    restarted: AtomicUsize,
    ends: Mutex<BTreeMap<String, usize>>,
    /// What passes said that failed.
    failures: Mutex<BTreeMap<String, usize>>,
    /// How restores ended.
    restores: Mutex<BTreeMap<String, usize>>,
}

/// The world: stores as the test sees them, never through the bad network, and the job's own way to
/// them.
struct Soak {
    name: &'static str,
    bad_network: bool,
    /// How the stores are reached by somebody else.
    access: Vec<(&'static str, String)>,
    /// Where the store is a directory, files are renamed into it.
    directory: Option<PathBuf>,
    hot: Store,
    cold: Store,
    /// Of the job, on a good network.
    envs: Vec<(&'static str, String)>,
    cutoff: DateTime<Utc>,
    arrivals: Mutex<Arrivals>,
    /// Archive objects never change, so they are read once.
    archived: tokio::sync::Mutex<HashMap<String, Vec<Event>>>,
    restores: Mutex<Vec<Restore>>,
    /// A copy of every raw file, for the count at the end.
    copies: tempfile::TempDir,
    /// How many files have arrived.
    count: tokio::sync::watch::Sender<usize>,
    /// How many may.
    allowed: tokio::sync::watch::Sender<usize>,
    /// Nothing more is to arrive.
    over: AtomicBool,
    figures: Figures,
}

impl Soak {
    async fn on_s3(name: &'static str, endpoint: &str, bad_network: bool) -> Self {
        let (hot, cold) = (
            s3::bucket(endpoint, "soak-hot").await,
            s3::bucket(endpoint, "soak-cold").await,
        );
        let stores = (
            s3::store(endpoint, &hot, "events"),
            s3::store(endpoint, &cold, "frozen"),
        );
        Self {
            bad_network,
            ..Self::new(
                name,
                stores,
                s3::environment(endpoint),
                (format!("s3://{hot}/events"), format!("s3://{cold}/frozen")),
            )
        }
    }

    fn in_directory(name: &'static str, root: &std::path::Path) -> Self {
        let [hot, cold] = ["hot", "cold"].map(|part| root.join(part));
        let open = |path: &PathBuf| {
            std::fs::create_dir(path).unwrap();
            Arc::new(LocalFileSystem::new_with_prefix(path).unwrap()) as Store
        };
        let (stores, names) = (
            (open(&hot), open(&cold)),
            (hot.display().to_string(), cold.display().to_string()),
        );
        Self {
            directory: Some(hot),
            ..Self::new(name, stores, Vec::new(), names)
        }
    }

    fn new(
        name: &'static str,
        (hot, cold): (Store, Store),
        access: Vec<(&'static str, String)>,
        names: (String, String),
    ) -> Self {
        let settings = [
            ("ICEPACK_STORE", names.0),
            ("ICEPACK_ARCHIVE_URL", names.1),
            ("ICEPACK_RETENTION_DEFAULT_TTL", "30d".to_owned()),
            ("ICEPACK_SWEEP_ORPHAN_GRACE", "0s".to_owned()),
        ];
        Self {
            name,
            bad_network: false,
            directory: None,
            hot,
            cold,
            envs: [access.clone(), settings.to_vec()].concat(),
            access,
            cutoff: (Utc::now() - TTL).trunc_subsecs(0),
            arrivals: Mutex::default(),
            archived: tokio::sync::Mutex::default(),
            restores: Mutex::default(),
            copies: tempfile::tempdir().unwrap(),
            count: tokio::sync::watch::Sender::new(0),
            allowed: tokio::sync::watch::Sender::new(MOST),
            over: AtomicBool::new(false),
            figures: Figures::default(),
        }
    }

    /// Puts the `n`-th file: rows to keep, rows to expire, or both. Where it begins in time is
    /// drawn, so that files overlap.
    async fn ingest(&self, n: usize, rng: &mut Rng) {
        let now = self.cutoff + TTL;
        let new = |rng: &mut Rng| now - TimeDelta::seconds(rng.i64(3_600..15 * 86_400));
        let old = |rng: &mut Rng| now - TimeDelta::seconds(rng.i64(40 * 86_400..60 * 86_400));
        let kind = rng.u32(0..10);
        let at = |i: usize, rng: &mut Rng| {
            if kind == 0 || (kind < 6 && i.is_multiple_of(2)) {
                old(rng)
            } else {
                new(rng)
            }
        };
        let mut rows: Vec<_> = (0..ROWS)
            .map(|i| support::event(n * ROWS + i, at(i, rng)))
            .collect();
        rows.sort();
        let file = Arc::new(File {
            tenant: TENANTS[rng.usize(0..TENANTS.len())],
            rows,
        });
        let body = support::parquet(&support::batch(&file.rows));
        std::fs::write(self.copies.path().join(format!("{n:06}.parquet")), &body).unwrap();
        self.arrivals.lock().unwrap().begun.push(Arc::clone(&file));
        self.write(file.tenant, n, body).await;
        self.arrivals.lock().unwrap().done.push(file);
    }

    /// Puts an object, or writes a hidden file and renames it.
    async fn write(&self, tenant: &str, n: usize, body: Vec<u8>) {
        let below = FOLDERS[n % FOLDERS.len()];
        let Some(root) = &self.directory else {
            return put(
                &self.hot,
                &format!("{tenant}/{below}/events-{n:06}.parquet"),
                body,
            )
            .await;
        };
        let folder = root.join(tenant).join(below);
        std::fs::create_dir_all(&folder).unwrap();
        let hidden = folder.join(format!(".events-{n:06}.parquet"));
        let (half, rest) = body.split_at(body.len() / 2);
        let mut file = std::fs::File::create(&hidden).unwrap();
        file.write_all(half).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        file.write_all(rest).unwrap();
        std::fs::rename(&hidden, folder.join(format!("events-{n:06}.parquet"))).unwrap();
    }

    /// The rows of a tenant's live view; none where a file of it was compacted away before it could
    /// be read.
    async fn live(&self, tenant: &str) -> Option<Vec<Event>> {
        let manager = CompactionManager::new(Arc::clone(&self.hot), CompactionConfig::default());
        let views = manager.live_views(&Selection::all()).await.unwrap();
        let mut rows = Vec::new();
        for file in views
            .into_iter()
            .filter(|v| v.tenant == Tenant::parse(tenant).unwrap())
            .flat_map(|v| v.files)
        {
            match self.hot.get(&Path::parse(&file.key).unwrap()).await {
                Ok(reply) => {
                    let found = support::decode(reply.bytes().await.unwrap());
                    check_folder(&file.key, &found);
                    rows.extend(found);
                }
                Err(object_store::Error::NotFound { .. }) => return None,
                Err(e) => panic!("{}: {e}", file.key),
            }
        }
        Some(rows)
    }

    /// The rows of a tenant's archive objects; of those alone that have a receipt, or of all.
    async fn archived(&self, tenant: &str, vouched: bool) -> HashSet<Event> {
        let keys = tenant_keys(&self.cold, tenant).await;
        let counts = |k: &&String| {
            k.ends_with(".parquet")
                && (!vouched || keys.contains(&k.replace(".parquet", ".receipt.json")))
        };
        let (mut known, mut rows) = (self.archived.lock().await, HashSet::new());
        for key in keys.iter().filter(counts) {
            if let Entry::Vacant(place) = known.entry(key.clone()) {
                let rows = support::read(&self.cold, key).await;
                check_folder(key, &rows);
                place.insert(rows);
            }
            rows.extend(known[key].iter().cloned());
        }
        rows
    }

    /// Each row that has arrived is live once, or where it may expire, in the archive. Whether a
    /// view could be had.
    async fn check(&self, tenant: &str, when: &str) -> bool {
        let of_tenant = |files: &[Arc<File>]| {
            files
                .iter()
                .filter(|f| f.tenant == tenant)
                .cloned()
                .collect::<Vec<_>>()
        };
        let done = of_tenant(&self.arrivals.lock().unwrap().done);
        let Some(live) = self.live(tenant).await else {
            return false;
        };
        // In this order: a row is in the archive before it is no longer live.
        let cold = self.archived(tenant, false).await;
        let begun = of_tenant(&self.arrivals.lock().unwrap().begun);
        let known: HashSet<_> = begun.iter().flat_map(|f| &f.rows).collect();
        let counts = support::counted(&live);
        let times = |e: &Event| counts.get(e).copied().unwrap_or(0);
        let cutoff = self.cutoff.timestamp_micros();
        let arrived = || done.iter().flat_map(|f| &f.rows);
        let missing = arrived()
            .filter(|e| times(e) == 0 && (e.at >= cutoff || !cold.contains(e)))
            .count();
        let doubled = counts.values().filter(|n| **n > 1).count();
        let strange = live.iter().filter(|e| !known.contains(e)).count();
        let early = cold.iter().filter(|e| e.at >= cutoff).count();
        assert_eq!(
            (missing, doubled, strange, early),
            (0, 0, 0, 0),
            "{}: {when}: {tenant}: missing, live twice, never ingested, archived too early",
            self.name
        );
        self.figures.views.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// A process that is killed after `life`, unless it ends before. How it ended.
    async fn job(
        &self,
        envs: &[(&'static str, String)],
        args: &[String],
        life: Option<Duration>,
    ) -> String {
        let stderr = tempfile::NamedTempFile::new().unwrap();
        let mut command = job::icepack(envs);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr.reopen().unwrap());
        let mut child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lifetime = async {
            match life {
                Some(life) => tokio::time::sleep(life).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = child.wait() => {}
            () = lifetime => child.start_kill().unwrap(),
        }
        let status = child.wait().await.unwrap();
        let said = std::fs::read_to_string(stderr.path()).unwrap_or_default();
        assert!(!said.contains("panicked"), "{}: {said}", self.name);
        match status.code() {
            None => "killed".to_owned(),
            Some(code) => {
                if !self.may_end_with(code) {
                    panic!("{}: exit {code}: {said}", self.name);
                }
                if matches!(code, 1 | 3) {
                    let last = said
                        .lines()
                        .rfind(|l| l.starts_with("icepack: "))
                        .unwrap_or(&said)
                        .to_owned();
                    *self
                        .figures
                        .failures
                        .lock()
                        .unwrap()
                        .entry(last)
                        .or_default() += 1;
                }
                format!("exit {code}")
            }
        }
    }

    /// Done, or lost to another run. On a bad network it may also fail; but never say that a person
    /// is needed, or that it was called wrongly.
    fn may_end_with(&self, code: i32) -> bool {
        matches!(code, 0 | 4) || (self.bad_network && matches!(code, 1 | 3))
    }

    /// Puts files until it is told to stop. How many.
    async fn keep_ingesting(self: Arc<Self>, mut rng: Rng) -> usize {
        let mut files = 0;
        let mut allowed = self.allowed.subscribe();
        loop {
            allowed.wait_for(|n| files < *n).await.unwrap();
            if self.over.load(Ordering::SeqCst) {
                break;
            }
            self.ingest(files, &mut rng).await;
            files += 1;
            self.count.send_replace(files);
            tokio::time::sleep(Duration::from_millis(rng.u64(5..50))).await;
        }
        files
    }

    async fn keep_reading(self: Arc<Self>) {
        for tenant in TENANTS.iter().cycle() {
            if self.over.load(Ordering::SeqCst) {
                break;
            }
            if !self.check(tenant, "while passes run").await {
                self.figures.restarted.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    async fn keep_killing(
        self: Arc<Self>,
        envs: Vec<(&'static str, String)>,
        rounds: usize,
        mut rng: Rng,
    ) {
        // What a pass takes here, as far as seen: kills are spread over that and somewhat more.
        let mut whole = Duration::from_millis(200);
        let mut count = self.count.subscribe();
        for round in 1..=rounds {
            let arrived = *count.borrow();
            self.allowed.send_replace(arrived + MOST);
            let enough = arrived + FILES;
            count.wait_for(|n| *n >= enough).await.unwrap();
            let life = |rng: &mut Rng, whole: Duration| {
                (rng.u32(0..3) > 0).then(|| whole.mul_f64(rng.f64() * 1.5))
            };
            let lives: Vec<_> = (0..PASSES).map(|_| life(&mut rng, whole)).collect();
            // Whole passes, which take each other's work, and shards, which should not.
            let sharded = rng.bool();
            let passes: Vec<_> = (0..PASSES)
                .map(|i| self.pass_of(&envs, sharded.then_some(i), &mut rng))
                .collect();
            let restore = round.is_multiple_of(2).then(|| {
                (
                    rng.usize(0..TENANTS.len()),
                    rng.i64(0..17),
                    life(&mut rng, whole),
                )
            });
            let began = Instant::now();
            let passes = futures::future::join_all(
                passes
                    .iter()
                    .zip(&lives)
                    .map(|((envs, args), life)| self.job(envs, args, *life)),
            );
            let (ends, restored) = tokio::join!(passes, async {
                match restore {
                    Some((tenant, day, life)) => Some(
                        self.begin_restore(round, TENANTS[tenant], day, &envs, life)
                            .await,
                    ),
                    None => None,
                }
            });
            if lives.contains(&None) {
                whole = (whole + began.elapsed()) / 2;
            }
            for end in ends {
                *self.figures.ends.lock().unwrap().entry(end).or_default() += 1;
            }
            for tenant in TENANTS {
                assert!(
                    self.check(tenant, &format!("after round {round}")).await,
                    "nobody deletes, and a file of the live view is gone"
                );
            }
            if let Some(restore) = restored {
                self.finish_restore(restore).await;
            }
            let restores = self.restores.lock().unwrap().clone();
            for restore in restores {
                self.check_restore(&restore, &format!("after round {round}"))
                    .await;
            }
        }
        self.over.store(true, Ordering::SeqCst);
        self.allowed.send_replace(usize::MAX);
    }

    /// The environment and arguments of a pass: of any strategy, and of a shard where it is one's.
    fn pass_of(
        &self,
        envs: &[(&'static str, String)],
        shard: Option<usize>,
        rng: &mut Rng,
    ) -> (Vec<(&'static str, String)>, Vec<String>) {
        let strategy = ["size", "size", "full", "time"][rng.usize(0..4)];
        let envs = [
            envs.to_vec(),
            vec![("ICEPACK_COMPACTION_STRATEGY", strategy.to_owned())],
        ]
        .concat();
        let shard = shard.map(|i| ["--shard".to_owned(), format!("{i}/{PASSES}")]);
        (
            envs,
            std::iter::once("run".to_owned())
                .chain(shard.into_iter().flatten())
                .collect(),
        )
    }

    /// Rows come back while passes run, by a process that may be killed.
    async fn begin_restore(
        &self,
        round: usize,
        of: &'static str,
        day: i64,
        envs: &[(&'static str, String)],
        life: Option<Duration>,
    ) -> Restore {
        let from = self.cutoff + TTL - TimeDelta::days(60 - day);
        let mut restore = Restore {
            of,
            into: format!("back-{round}"),
            from,
            least: HashSet::new(),
            done: false,
        };
        restore.least = self
            .archived(of, true)
            .await
            .into_iter()
            .filter(|e| restore.takes(e))
            .collect();
        let end = self.job(envs, &restore.args(), life).await;
        *self
            .figures
            .restores
            .lock()
            .unwrap()
            .entry(end)
            .or_default() += 1;
        restore
    }

    /// The same command again brings what is still missing, and nothing twice.
    async fn finish_restore(&self, restore: Restore) {
        self.check_restore(&restore, "after a restore that may have been killed")
            .await;
        job::expect(&self.envs, 0, restore.args());
        let restore = Restore {
            done: true,
            ..restore
        };
        self.check_restore(&restore, "after a restore").await;
        self.restores.lock().unwrap().push(restore);
    }

    /// Each row that was restored is live once, as long as it is held, and none is that was not
    /// asked for.
    async fn check_restore(&self, restore: &Restore, when: &str) {
        let Restore {
            of, into, least, ..
        } = restore;
        let live = self
            .live(into)
            .await
            .expect("nobody deletes, and a file of the live view is gone");
        let cold = self.archived(of, false).await;
        let counts = support::counted(&live);
        let doubled = counts.values().filter(|n| **n > 1).count();
        let strange = live
            .iter()
            .filter(|e| !restore.takes(e) || !cold.contains(e))
            .count();
        let missing = if restore.done {
            least.iter().filter(|e| !counts.contains_key(e)).count()
        } else {
            0
        };
        assert_eq!(
            (missing, doubled, strange),
            (0, 0, 0),
            "{}: {when}: {into}, rows of {of}: missing, live twice, not asked for",
            self.name
        );
    }

    /// Clean passes until there is nothing to do: every object is live, every expired row in the
    /// archive. Then somebody else counts.
    async fn settle(&self) -> String {
        let mut clean = 0;
        // Raw files that are too few to be worth a merge would wait for a day, with their expired
        // rows.
        let envs = [
            self.envs.clone(),
            vec![("ICEPACK_COMPACTION_MAX_RAW_AGE", "1ms".into())],
        ]
        .concat();
        loop {
            clean += 1;
            let report = job::json(&envs, 0, ["--json", "run"]);
            let live = job::expect(&self.envs, 0, ["ls"]);
            let mut keys = Vec::new();
            let back: Vec<String> = self
                .restores
                .lock()
                .unwrap()
                .iter()
                .map(|r| r.into.clone())
                .collect();
            for tenant in TENANTS.into_iter().chain(back.iter().map(String::as_str)) {
                keys.extend(tenant_keys(&self.hot, tenant).await);
            }
            let dead: Vec<_> = keys
                .iter()
                .filter(|k| !live.lines().any(|l| l.ends_with(*k)))
                .collect();
            // A file that is alone in its folder stays as it is.
            let status = job::json(&envs, 0, ["--json", "status"]);
            let tenants = status["tenants"].as_array().unwrap();
            let none_waits = tenants.iter().all(|t| t["raw_files"] == t["adopted"]);
            if report["totals"]["files_compacted"] == 0 && none_waits && dead.is_empty() {
                break;
            }
            // Files are of an age, and orphans may go, once the store's clock, which may tell
            // seconds only, has gone on.
            assert!(
                clean < 50,
                "{}: passes do not come to rest: {dead:?}",
                self.name
            );
        }
        let verified = job::json(&self.envs, 0, ["--json", "verify", "--deep"]);
        assert!(
            verified["findings"]
                .as_array()
                .unwrap()
                .iter()
                .all(|f| f["severity"] != "broken"),
            "{}: {verified}",
            self.name
        );
        for tenant in TENANTS {
            assert!(self.check(tenant, "at the end").await);
        }
        let restores = self.restores.lock().unwrap().clone();
        for restore in &restores {
            self.check_restore(restore, "at the end").await;
        }
        format!("{clean} clean passes; {}", self.count().await)
    }

    /// Without any of icepack's code: what `ls` names and what has a receipt is what arrived, and
    /// all of the archive can be brought back.
    async fn count(&self) -> String {
        let list = |name: &str, lines: Vec<String>| -> PathBuf {
            let path = self.copies.path().join(name);
            std::fs::write(&path, lines.join("\n")).unwrap();
            path
        };
        let is_back = |line: &str| {
            self.restores
                .lock()
                .unwrap()
                .iter()
                .any(|r| line.contains(&format!("/{}/", r.into)))
        };
        let bucket = self
            .envs
            .iter()
            .find(|(k, _)| *k == "ICEPACK_ARCHIVE_URL")
            .unwrap()
            .1
            .clone();
        let cold = support::keys(&self.cold).await;
        let counts = cold.iter().filter(|k| {
            k.ends_with(".parquet") && cold.contains(&k.replace(".parquet", ".receipt.json"))
        });
        let live = list(
            "live.txt",
            job::expect(&self.envs, 0, ["ls"])
                .lines()
                .filter(|l| !is_back(l))
                .map(str::to_owned)
                .collect(),
        );
        let archive = list(
            "archive.txt",
            counts.map(|k| format!("{bucket}/{k}")).collect(),
        );
        let (cutoff, text) = (self.cutoff.to_rfc3339(), |p: &PathBuf| {
            p.display().to_string()
        });
        let ingested = self.copies.path().display().to_string();
        let check = |args: &[&str]| {
            let out = job::check_rows(&self.access, args);
            let (stdout, stderr) = (job::text(&out.stdout), job::text(&out.stderr));
            assert!(out.status.success(), "{}: {stdout}{stderr}", self.name);
            stdout.trim().to_owned()
        };
        let counted = check(&[
            "--ingested",
            &ingested,
            "--live",
            &text(&live),
            "--archive",
            &text(&archive),
            "--ttl-cutoff",
            &cutoff,
        ]);
        let back = tempfile::tempdir().unwrap();
        let into = back.path().display().to_string();
        job::expect(&self.envs, 0, ["restore", "--tenant", "*", "--into", &into]);
        let none = list("none.txt", Vec::new());
        let restored = check(&[
            "--ingested",
            &text(&archive),
            "--live",
            &into,
            "--archive",
            &text(&none),
        ]);
        format!("{counted}; all of it restored: {restored}")
    }
}

/// Each row of the file `key` was put into the folder where the file lies: hot, in the archive, and
/// back from it.
fn check_folder(key: &str, rows: &[Event]) {
    let (folder, _) = key.rsplit_once('/').unwrap();
    let (_, below) = folder.split_once('/').unwrap();
    for row in rows {
        let row_number: usize = row
            .id
            .trim_start_matches(|c: char| !c.is_ascii_digit())
            .parse()
            .unwrap();
        let put_into = FOLDERS[row_number / ROWS % FOLDERS.len()];
        assert_eq!(below, put_into, "row {} came to `{key}`", row.id);
    }
}

/// On a server, or in a directory.
async fn soak(name: &'static str, endpoint: Option<&str>, bad_network: bool) {
    let _alone = ALONE.lock().await;
    let (rounds, seed) = (rounds(), setting("ICEPACK_SOAK_SEED", 1));
    let mut rng = Rng::with_seed(seed);
    let root = tempfile::tempdir().unwrap();
    let world = Arc::new(match endpoint {
        Some(endpoint) => Soak::on_s3(name, endpoint, bad_network).await,
        None => Soak::in_directory(name, root.path()),
    });
    let mut envs = world.envs.clone();
    let mut proxy = None;
    if let Some(endpoint) = endpoint.filter(|_| bad_network) {
        let started = Proxy::start(endpoint, seed).await;
        // The first of two that name the same variable would win in a list; an environment takes
        // the last.
        envs.push(("AWS_ENDPOINT_URL", started.endpoint.clone()));
        proxy = Some(started);
    }
    let began = Instant::now();
    let (ingester, reader) = (
        tokio::spawn(Arc::clone(&world).keep_ingesting(rng.fork())),
        tokio::spawn(Arc::clone(&world).keep_reading()),
    );
    let killer = tokio::spawn(Arc::clone(&world).keep_killing(envs, rounds, rng));
    // The first that fails ends the test.
    let (files, (), ()) = tokio::try_join!(ingester, reader, killer).unwrap();
    let end = world.settle().await;
    let (views, restarted) = (
        world.figures.views.load(Ordering::SeqCst),
        world.figures.restarted.load(Ordering::SeqCst),
    );
    println!(
        "{name}, seed {seed}: {rounds} rounds of {PASSES} passes: {:?}; {files} files of {ROWS} \
         rows",
        world.figures.ends.lock().unwrap()
    );
    println!(
        "{name}: restores: {:?}, each finished by the same command",
        world.figures.restores.lock().unwrap()
    );
    println!(
        "{name}: {views} views read, {restarted} begun anew because a file was compacted \
         meanwhile; no row missing, none twice"
    );
    if let Some(proxy) = proxy {
        let tally = proxy.tally();
        assert!(
            tally.keys().any(|f| *f != Fate::Carried),
            "the bad network was a good one: {tally:?}"
        );
        println!("{name}: requests: {tally:?}");
        println!(
            "{name}: failures: {:#?}",
            world.figures.failures.lock().unwrap()
        );
    }
    println!("{name}: {end}; {} s in all", began.elapsed().as_secs());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_passes_lose_and_double_nothing() {
    let Some(endpoint) = servers::fastest() else {
        return;
    };
    soak("good network", Some(&endpoint), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_do_they_on_a_bad_network() {
    let Some(endpoint) = servers::fastest() else {
        return;
    };
    soak("bad network", Some(&endpoint), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_in_a_directory_that_files_are_renamed_into() {
    soak("directory", None, false).await;
}
