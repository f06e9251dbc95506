//! Time, faults, several shards and restores together, all drawn from a seed. What must hold is I1
//! to I6 of `docs/architecture.md`.
//!
//! A round draws new files, and one to four processes: passes, whole or a shard each, and restores.
//! Each has faults of its own and begins in the middle of another, at a drawn call; time goes by in
//! between, sometimes days. `ICEPACK_SEED=N` replays one seed and prints every call;
//! `ICEPACK_CRASH=long` runs many more seeds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use futures::FutureExt;
use icepack::CompactionManager;
use icepack::pass::Selection;
use icepack::restore::{RestoreRequest, Restorer};
use icepack_core::model::names::Tenant;
use icepack_core::model::policy::Rewritten;
use icepack_core::model::report::Status;
use icepack_core::model::restore::{RestoreStatus, TenantRestore, Tier};
use icepack_core::model::shard::Shard;
use icepack_core::model::units::DAY;
use icepack_dst::faults::{Fault, Process, Schedule, Side};

use crate::crash::driver;
use crate::support::Event;
use crate::support::world::{Check, Pass, World};

const SEEDS: u64 = 100;
const MANY_SEEDS: u64 = 3_000;

/// What the seeds have met, so that a test that shows nothing is noticed.
#[derive(Default)]
struct Met {
    calls: AtomicUsize,
    faults: AtomicUsize,
    /// Processes that began in the middle of another.
    nested: AtomicUsize,
    restores: AtomicUsize,
    resumed: AtomicUsize,
    /// Restored rows that expired again.
    expired_again: AtomicUsize,
    spread: AtomicUsize,
    /// Files that were put again as they had been, and names that were put again with other rows.
    repeated: AtomicUsize,
    rewritten: AtomicUsize,
    /// Files that stayed as they were.
    adopted: AtomicUsize,
}

impl Met {
    fn add(&self, what: fn(&Self) -> &AtomicUsize, n: usize) {
        what(self).fetch_add(n, Ordering::Relaxed);
    }
}

enum Job {
    Pass(Box<CompactionManager>),
    Restore(Box<Restorer>, RestoreRequest),
}

struct Actor {
    process: Arc<Process>,
    job: Job,
    /// What hangs in the network when it ends arrives at once, or never.
    arrives: bool,
}

/// How a job ended: a line, and whether a person was called for.
struct Ending {
    line: String,
    refused: bool,
    restored: Option<TenantRestore>,
    process: Arc<Process>,
}

impl Actor {
    async fn run(self) -> Ending {
        let Self {
            process,
            job,
            arrives,
        } = self;
        let (line, refused, restored) = match job {
            Job::Pass(manager) => pass(&manager, &process).await,
            // The future of a restore may not change threads, and this one must: so it stays on
            // one of its own.
            Job::Restore(restorer, request) => {
                let process = Arc::clone(&process);
                let work = move || {
                    driver::runtime().block_on(async {
                        let ended = restore(&restorer, &request).await;
                        process.others().await;
                        ended
                    })
                };
                tokio::task::spawn_blocking(work).await.unwrap()
            }
        };
        process.others().await;
        if arrives {
            process.settle().await;
        }
        Ending {
            line,
            refused,
            restored,
            process,
        }
    }
}

type Ended = (String, bool, Option<TenantRestore>);

async fn pass(manager: &CompactionManager, process: &Arc<Process>) -> Ended {
    let result = manager.run_pass(&Selection::all()).await;
    let refused = match &result {
        Ok(report) => report.totals.status == Status::Refused,
        Err(e) => matches!(e, icepack::Error::Refused(_)),
    };
    let pass = Pass {
        result,
        process: Arc::clone(process),
    };
    (format!("pass {}", pass.summary()), refused, None)
}

async fn restore(restorer: &Restorer, request: &RestoreRequest) -> Ended {
    match restorer.run(request).await {
        Ok(mut report) => {
            let tenant = report.tenants.pop();
            let status = tenant.as_ref().map(|t| t.status);
            let refused = status == Some(RestoreStatus::Refused);
            (format!("restore {tenant:?}"), refused, tenant)
        }
        Err(e) => {
            let refused = matches!(e, icepack::Error::Refused(_));
            (format!("restore failed: {e}"), refused, None)
        }
    }
}

/// A restore that is not done yet.
struct Restoring {
    request: RestoreRequest,
    into: String,
    /// What the archive had when it began.
    least: BTreeSet<Event>,
}

struct Seed<'a> {
    rng: Rng,
    world: World,
    /// How the passes of this seed are split.
    shards: u32,
    restoring: Option<Restoring>,
    restores: usize,
    /// What was last put under each name of `acme`.
    delivered: BTreeMap<String, Vec<Event>>,
    log: String,
    met: &'a Met,
}

impl<'a> Seed<'a> {
    fn new(seed: u64, met: &'a Met) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut world = World::new(false, true);
        world.config.retention.set("acme", Some(DAY * 30));
        if rng.bool() {
            world.config.orphan_grace = Duration::from_secs(3_600);
        }
        if rng.bool() {
            world.config.rewritten = Rewritten::Append;
        }
        if rng.u8(..3) == 0 {
            world.config.delete_delay = Duration::from_secs(3_600);
        }
        if rng.bool() {
            // So small that a tenant has more groups than its own shard is to do.
            world.config.target_file_size = 1_000;
            world.config.max_file_size = 2_000;
            world.config.small_file_threshold = 20_000;
            world.config.min_files_to_compact = 1;
        } else if rng.bool() {
            // No file is small: they stay as they are until their rows expire.
            world.config.small_file_threshold = 1;
        }
        Self {
            shards: rng.u32(1..=3),
            rng,
            world,
            restoring: None,
            restores: 0,
            delivered: BTreeMap::new(),
            log: String::new(),
            met,
        }
    }

    async fn run(mut self) -> Check {
        for round in 0..self.rng.usize(2..7) {
            self.log
                .push_str(&format!("round {round}, {}\n", self.world.time.now()));
            self.ingest(round).await;
            self.processes().await?;
            self.check().await?;
            self.finish_restore().await?;
            self.check().await?;
            let minutes = if self.rng.u8(..3) == 0 {
                self.rng.i64(2_000..20_000)
            } else {
                self.rng.i64(1..2_000)
            };
            self.world.time.advance(TimeDelta::minutes(minutes));
        }
        let settled = self.world.settle().await;
        settled.map_err(|e| format!("settling: {e}\n{}", self.log))?;
        let adopted = self.world.adopted().await;
        self.met.add(|m| &m.adopted, adopted);
        for tenant in self.world.held.keys() {
            let again = self.world.archived(tenant).await.len();
            self.met.add(|m| &m.expired_again, again);
        }
        Ok(())
    }

    async fn check(&self) -> Check {
        let checked = self.world.check().await;
        checked.map_err(|e| format!("{e}\n{}", self.log))
    }

    async fn ingest(&mut self, round: usize) {
        let rng = &mut self.rng;
        let large = self.world.config.target_file_size == 1_000 && rng.bool();
        for file in 0..rng.usize(0..6) {
            let tenant = if rng.u8(..4) == 0 { "globex" } else { "acme" };
            let age = if rng.bool() {
                TimeDelta::hours(rng.i64(1..48))
            } else {
                TimeDelta::days(rng.i64(25..60))
            };
            let rows = if large {
                rng.usize(40..160)
            } else {
                rng.usize(1..9)
            };
            let name = format!("k={}/r{round}-{file}.parquet", rng.u8(..2));
            let rows = self.world.ingest(tenant, &name, rows, age).await;
            if tenant == "acme" {
                self.delivered.insert(name, rows);
            }
        }
        if rng.u8(..6) == 0 {
            let name = format!("k=0/bad-{round}.parquet");
            self.world.ingest_garbage("acme", &name).await;
        }
        self.ingest_again().await;
    }

    /// Writers put names again whose files are gone: with the same rows, as a retry does, or with
    /// others.
    async fn ingest_again(&mut self) {
        for (name, rows) in self.delivered.clone() {
            if self.rng.bool() || self.world.has("acme", &name).await {
                continue;
            }
            if self.rng.u8(..3) > 0 {
                self.met.add(|m| &m.repeated, 1);
                self.world.ingest_again("acme", &name, &rows).await;
                continue;
            }
            self.met.add(|m| &m.rewritten, 1);
            let age = TimeDelta::hours(self.rng.i64(1..900));
            let others = self.world.ingest("acme", &name, 3, age).await;
            self.delivered.insert(name, others);
        }
    }

    fn schedule(&mut self) -> Schedule {
        let rng = &mut self.rng;
        let mut schedule = Schedule::noise(rng.u64(..), rng.u64(0..=90));
        if rng.u8(..3) == 0 {
            let applied = rng.bool();
            schedule.at.insert(rng.usize(1..40), Fault::Die { applied });
        }
        if rng.u8(..3) == 0 {
            // A token expires, and is renewed later.
            let side = if rng.bool() { Side::Hot } else { Side::Cold };
            let from = rng.usize(1..40);
            schedule.locked = Some((side, from..from + rng.usize(5..60)));
        }
        schedule
    }

    /// Whole, or a shard each.
    fn pass(&mut self, index: u32) -> Actor {
        let schedule = self.schedule();
        let mut config = self.world.config.clone();
        config.shard = Shard::new(index % self.shards, self.shards).unwrap();
        let (process, manager) = self.world.process_of(schedule, config);
        Actor {
            process,
            job: Job::Pass(Box::new(manager)),
            arrives: self.rng.bool(),
        }
    }

    /// One to four processes, each begun before some call of the one before it.
    async fn processes(&mut self) -> Check {
        let first = self.rng.u32(..self.shards);
        let passes = if self.shards > 1 {
            self.shards
        } else {
            self.rng.u32(1..=3)
        };
        let mut actors: Vec<Actor> = (0..passes).map(|n| self.pass(first + n)).collect();
        if self.rng.u8(..4) > 0 {
            let restore = self.begin_restore().await;
            let at = self.rng.usize(..=actors.len());
            actors.insert(at, restore);
        }
        let endings = Arc::new(Mutex::new(Vec::new()));
        let mut next: Option<Actor> = None;
        while let Some(actor) = actors.pop() {
            if let Some(inner) = next.replace(actor) {
                self.nest(inner, next.as_ref().unwrap(), &endings);
            }
        }
        let last = next.unwrap().run().await;
        let mut endings = std::mem::take(&mut *endings.lock().unwrap());
        endings.push(last);
        self.met.add(|m| &m.nested, endings.len() - 1);
        for ending in endings {
            let calls = ending.process.calls();
            self.met.add(|m| &m.calls, calls.len());
            self.met.add(
                |m| &m.faults,
                calls.iter().filter(|c| c.fault.is_some()).count(),
            );
            let spread = calls
                .iter()
                .any(|c| c.kind.changes() && c.key.contains("/_spread/"));
            self.met.add(|m| &m.spread, usize::from(spread));
            self.log
                .push_str(&format!("{}\n{}", ending.line, ending.process.trace()));
            if ending.refused {
                return Err(format!("a fault of the network is refused\n{}", self.log));
            }
        }
        Ok(())
    }

    /// `inner` runs from beginning to end before a call of `outer`, which may have slept for days.
    fn nest(&mut self, inner: Actor, outer: &Actor, endings: &Arc<Mutex<Vec<Ending>>>) {
        let pause = if self.rng.u8(..5) == 0 {
            TimeDelta::hours(self.rng.i64(1..60))
        } else {
            TimeDelta::seconds(1)
        };
        let (time, endings) = (self.world.time.clone(), Arc::clone(endings));
        let meanwhile = async move {
            time.advance(pause);
            let ending = inner.run().await;
            endings.lock().unwrap().push(ending);
            time.advance(TimeDelta::seconds(1));
        };
        let meanwhile = Box::new(move || meanwhile.boxed());
        if self.rng.bool() {
            outer.process.before_call(self.rng.usize(1..40), meanwhile);
        } else {
            outer
                .process
                .before_change(self.rng.usize(1..10), meanwhile);
        }
    }

    /// Rows of `acme` come back as a tenant of their own. They are past its time, and held.
    async fn begin_restore(&mut self) -> Actor {
        self.restores += 1;
        let into = format!("back-{}", self.restores);
        let request = RestoreRequest {
            selection: Selection::parse(vec!["acme".into()]).unwrap(),
            from: None,
            to: None,
            into: Some(Tenant::parse(&into).unwrap()),
            tier: Tier::Bulk,
            days: 7,
            hold: DAY * self.rng.u32(1..9),
            wait: None,
            dry_run: false,
            again: false,
        };
        self.world.config.retention.set(&into, Some(DAY * 20));
        let schedule = self.schedule();
        let (process, restorer) = self.world.restorer(schedule);
        self.restoring = Some(Restoring {
            request: request.clone(),
            into,
            least: self.world.archived("acme").await,
        });
        Actor {
            process,
            job: Job::Restore(Box::new(restorer), request),
            arrives: self.rng.bool(),
        }
    }

    /// The same restore again, on a good network: it goes on with what broke off.
    async fn finish_restore(&mut self) -> Check {
        let Some(restoring) = self.restoring.take() else {
            return Ok(());
        };
        let before = self.world.live(&restoring.into).await.len();
        let (process, restorer) = self.world.restorer(Schedule::clean());
        let ending = Actor {
            process,
            job: Job::Restore(Box::new(restorer), restoring.request),
            arrives: true,
        }
        .run()
        .await;
        self.log
            .push_str(&format!("{}\n{}", ending.line, ending.process.trace()));
        let fails = |why: &str| Err(format!("{why}\n{}", self.log));
        let until: Option<DateTime<Utc>> = match ending.restored {
            // Nothing was archived yet.
            None => return Ok(()),
            Some(restored) => match restored.status {
                RestoreStatus::Empty => return Ok(()),
                RestoreStatus::Done => {
                    self.met.add(|m| &m.resumed, usize::from(before > 0));
                    restored.held_until
                }
                RestoreStatus::Already => restored.held_until,
                _ => return fails("a restore on a good network did not end well"),
            },
        };
        let (rows, all) = (
            self.world.live(&restoring.into).await,
            self.world.archived("acme").await,
        );
        let expired = self.world.archived(&restoring.into).await;
        let live: BTreeSet<Event> = rows.iter().cloned().collect();
        let brought: BTreeSet<Event> = live.union(&expired).cloned().collect();
        if live.len() != rows.len() {
            return fails("a restore brought a row twice");
        }
        if !brought.is_superset(&restoring.least) || !brought.is_subset(&all) {
            return fails("a restore did not bring what was archived");
        }
        self.met
            .add(|m| &m.restores, usize::from(!brought.is_empty()));
        self.world
            .held
            .insert(restoring.into.clone(), until.unwrap());
        self.world.rows.insert(restoring.into, brought);
        Ok(())
    }
}

#[test]
fn time_faults_shards_and_restores_together() {
    let met = Met::default();
    let one = std::env::var("ICEPACK_SEED")
        .ok()
        .map(|v| v.parse().unwrap());
    let seeds: Vec<u64> = match one {
        Some(seed) => vec![seed],
        None => (0..if driver::long() { MANY_SEEDS } else { SEEDS }).collect(),
    };
    driver::all("ICEPACK_SEED", 0, &seeds, |runtime, seed| {
        runtime.block_on(async {
            let seed = Seed::new(*seed, &met);
            seed.run().await
        })
    });
    let Met {
        calls,
        faults,
        nested,
        restores,
        resumed,
        expired_again,
        spread,
        repeated,
        rewritten,
        adopted,
    } = met;
    let met = [
        calls,
        faults,
        nested,
        restores,
        resumed,
        expired_again,
        spread,
        repeated,
        rewritten,
        adopted,
    ]
    .map(AtomicUsize::into_inner);
    let [
        calls,
        faults,
        nested,
        restores,
        resumed,
        expired_again,
        spread,
        repeated,
        rewritten,
        adopted,
    ] = met;
    println!(
        "{calls} calls, {faults} faults, {nested} processes within others, {restores} restores \
         ({resumed} resumed), {expired_again} restored rows expired again, {spread} spread \
         tenants, {repeated} files uploaded again, {rewritten} names used for other rows, \
         {adopted} files adopted"
    );
    assert!(
        one.is_some() || met.iter().all(|n| *n > 0),
        "no seed met what the test is for"
    );
}
