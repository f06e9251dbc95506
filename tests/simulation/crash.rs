//! Passes that die, lose replies, meet each other or new files, at every one of their calls; and
//! passes over a store that fails at random. What must hold is I1 to I6 of `docs/architecture.md`.
//!
//! `ICEPACK_CRASH=long` runs all pairs, all faults at all calls, and many more seeds.

pub mod driver;
use crate::support;
use crate::support::world;
mod worlds;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use driver::long;
use futures::FutureExt;
use icepack::pass::Selection;
use icepack::{CompactionConfig, CompactionManager, Error};
use icepack_core::model::report::{RunReport, Status};
use icepack_dst::faults::{Call, Fault, Kind, Process, REPLIES, Reply, Schedule};
use support::{event, put_events};
use world::{Check, Pass, World};

/// What happens to the first pass.
#[derive(Debug, Clone)]
enum Case {
    /// One fault; the next pass is clean.
    Fault(usize, Fault),
    /// It dies, and so does the next pass.
    Pair((usize, Fault), (usize, Fault)),
    /// Another complete pass before this call.
    Second(usize),
    /// New files before this call.
    Ingest(usize),
    /// It sleeps before this call, so long that others commit more versions than are kept, and
    /// prune those it knew.
    Sleep(usize),
}

/// Everything that can happen once, at each of `calls`.
fn single(calls: &[Call], torn: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, call) in calls.iter().enumerate() {
        let k = i + 1;
        let mut add = |fault| cases.push(Case::Fault(k, fault));
        add(Fault::Die { applied: false });
        if call.kind.changes() {
            add(Fault::Die { applied: true });
            add(Fault::After(Reply::Reset));
            add(Fault::Late { calls: 1 + k % 9 });
        }
        if torn && call.kind == Kind::Put {
            add(Fault::Torn);
        }
        // The puts of manifests, and the probe before them, meet every answer: all else rests on
        // them.
        let decides = call.kind == Kind::Put && call.key.starts_with("_icepack/");
        let some = |n: usize, every: usize| long() || decides || n % every == k % every;
        for (n, reply) in REPLIES
            .into_iter()
            .enumerate()
            .filter(|(n, _)| some(*n, REPLIES.len()))
        {
            add(Fault::Before(reply));
            if call.kind.changes() && n > 0 {
                add(Fault::After(reply));
            }
        }
        if some(0, 4) || call.kind == Kind::Part || call.kind == Kind::Complete {
            add(Fault::Hang { applied: k % 8 < 4 });
        }
        if matches!(call.kind, Kind::Get | Kind::List | Kind::Page) {
            add(Fault::Short);
        }
    }
    cases
}

fn deaths(calls: &[Call]) -> Vec<(usize, Fault)> {
    let before = (1..=calls.len()).map(|k| (k, Fault::Die { applied: false }));
    let after = calls
        .iter()
        .enumerate()
        .filter(|(_, c)| c.kind.changes())
        .map(|(i, _)| (i + 1, Fault::Die { applied: true }));
    before.chain(after).collect()
}

/// Pairs of deaths: all of them in the long form, else some dozens that are spread evenly.
fn pairs(calls: &[Call]) -> Vec<Case> {
    let deaths = deaths(calls);
    let all: Vec<Case> = deaths
        .iter()
        .flat_map(|a| deaths.iter().map(|b| Case::Pair(*a, *b)))
        .collect();
    // A step that shares no factor with the number of deaths, or the second of the pair would
    // hardly vary.
    let step = (1.max(all.len() / 250)..)
        .find(|s| !deaths.len().is_multiple_of(*s))
        .unwrap_or(1);
    if long() {
        all
    } else {
        all.into_iter().step_by(step).collect()
    }
}

struct Lab {
    name: &'static str,
    seed: World,
    calls: Vec<Call>,
    /// How the other pass of [`Case::Second`] is configured.
    other: CompactionConfig,
    /// Manifests that were put under a pruned number.
    revived: AtomicUsize,
}

impl Lab {
    fn new(name: &'static str, build: impl Future<Output = World>) -> Self {
        driver::runtime().block_on(async {
            let seed = build.await;
            seed.check().await.unwrap();
            let mut clean = seed.fork();
            let pass = clean.pass(Schedule::clean()).await;
            let report = pass.clean().unwrap();
            if std::env::var_os("ICEPACK_CRASH_TRACE").is_some() {
                println!("{name}: {:?}\n{}", report.totals, pass.process.trace());
            }
            clean.check().await.unwrap();
            clean.settle().await.unwrap();
            let other = seed.config.clone();
            Self {
                name,
                seed,
                calls: pass.process.calls(),
                other,
                revived: AtomicUsize::new(0),
            }
        })
    }

    fn run(&self, cases: &[Case]) {
        driver::all(self.name, self.calls.len(), cases, |runtime, case| {
            runtime.block_on(self.case(case))
        });
    }

    /// Faults, second passes and new files at every call.
    fn everything(&self) -> Vec<Case> {
        let torn = self.seed.watch.directory.is_some();
        let n = self.calls.len();
        let mut cases = single(&self.calls, torn);
        cases.extend((1..=n).map(Case::Second));
        cases.extend((1..=n).map(Case::Ingest));
        cases
    }

    async fn case(&self, case: &Case) -> Check {
        let mut w = self.seed.fork();
        let first = match case {
            Case::Fault(k, fault) => {
                let first = w.pass(Schedule::one(*k, *fault)).await;
                not_refused(&first)?;
                first
            }
            Case::Pair((k, a), (j, b)) => {
                let first = w.pass(Schedule::one(*k, *a)).await;
                w.check().await.map_err(|e| {
                    format!("after the first death: {e}\n{}", first.process.trace())
                })?;
                w.time.advance(TimeDelta::seconds(1));
                w.pass(Schedule::one(*j, *b)).await
            }
            Case::Second(k) => self.second(&mut w, *k).await?,
            Case::Ingest(k) => ingest(&mut w, *k).await?,
            Case::Sleep(k) => sleep(&mut w, *k).await?,
        };
        self.revived.fetch_add(w.watch.revived(), Ordering::Relaxed);
        let context = |e| {
            format!(
                "{e}\nthe pass ended: {}\n{}",
                first.summary(),
                first.process.trace()
            )
        };
        w.check().await.map_err(context)?;
        w.settle()
            .await
            .map_err(|e| format!("settling: {}", context(e)))
    }

    /// A pass of another process, from beginning to end, before call `k` of the first.
    async fn second(&self, w: &mut World, k: usize) -> Check<Pass> {
        let (process, manager) = w.process(Schedule::clean());
        let (other, other_manager) = w.process_of(Schedule::clean(), self.other.clone());
        let ended = Arc::new(Mutex::new(None));
        let (time, result) = (w.time.clone(), Arc::clone(&ended));
        let meanwhile = async move {
            time.advance(TimeDelta::seconds(1));
            let ended = other_manager.run_pass(&Selection::all()).await;
            time.advance(TimeDelta::seconds(1));
            *result.lock().unwrap() = Some(ended);
        };
        process.before_call(k, Box::new(move || meanwhile.boxed()));
        let first = run(&manager, process).await;
        let second = Pass {
            result: ended
                .lock()
                .unwrap()
                .take()
                .ok_or("the other pass never ran")?,
            process: other,
        };
        second
            .clean()
            .map_err(|e| format!("the other pass: {e}\n{}", second.process.trace()))?;
        only_conflicts(&first).map_err(|e| format!("{e}\n{}", first.process.trace()))?;
        Ok(first)
    }
}

/// A pass, and what others do meanwhile.
async fn run(manager: &CompactionManager, process: Arc<Process>) -> Pass {
    let result = manager.run_pass(&Selection::all()).await;
    process.others().await;
    Pass { result, process }
}

/// Whatever the network does, it is no reason to call for a person.
fn not_refused(pass: &Pass) -> Check {
    match &pass.result {
        Ok(report) if report.totals.status != Status::Refused => Ok(()),
        Err(e) if !matches!(e, Error::Refused(_)) => Ok(()),
        _ => Err(format!(
            "a fault of the network is refused: {}\n{}",
            pass.summary(),
            pass.process.trace()
        )),
    }
}

/// Lost to another, or done: nothing else.
fn only_conflicts(pass: &Pass) -> Check {
    let fine = |r: &RunReport| {
        r.tenants
            .iter()
            .all(|t| t.error.is_none() || t.status == Status::Conflict)
    };
    match &pass.result {
        Ok(report) if fine(report) => Ok(()),
        _ => Err(format!("more than a conflict: {}", pass.summary())),
    }
}

/// New files.
async fn ingest(w: &mut World, k: usize) -> Check<Pass> {
    let (process, manager) = w.process(Schedule::clean());
    let delivered = Arc::new(Mutex::new(Vec::new()));
    let (hot, now, list) = (w.hot.clone(), w.time.now(), Arc::clone(&delivered));
    let folder = w.arrivals;
    let meanwhile = async move {
        for n in 0..2 {
            let row = event(9_000 + n, now - TimeDelta::minutes(5));
            let key = format!("acme/{folder}/late-{n}.parquet");
            put_events(&hot, &key, std::slice::from_ref(&row)).await;
            list.lock().unwrap().push(row);
        }
    };
    process.before_call(k, Box::new(move || meanwhile.boxed()));
    let first = run(&manager, process).await;
    w.rows
        .entry("acme".to_owned())
        .or_default()
        .extend(delivered.lock().unwrap().drain(..));
    first
        .clean()
        .map_err(|e| format!("{e}\n{}", first.process.trace()))?;
    Ok(first)
}

/// Two days in which others pack file after file.
async fn sleep(w: &mut World, k: usize) -> Check<Pass> {
    let (process, manager) = w.process(Schedule::clean());
    let mut others = Vec::new();
    for round in 0..9 {
        let rows: Vec<_> = (0..3)
            .map(|n| event(8_000 + 10 * round + n, w.time.now() - TimeDelta::minutes(5)))
            .collect();
        w.rows
            .entry("acme".to_owned())
            .or_default()
            .extend(rows.clone());
        others.push((rows, w.process(Schedule::clean()).1));
    }
    let (hot, time, ended) = (
        w.hot.clone(),
        w.time.clone(),
        Arc::new(Mutex::new(Vec::new())),
    );
    let results = Arc::clone(&ended);
    let meanwhile = async move {
        for (round, (rows, other)) in others.into_iter().enumerate() {
            for (n, row) in rows.into_iter().enumerate() {
                put_events(
                    &hot,
                    &format!("acme/2026-05/meanwhile-{round}-{n}.parquet"),
                    &[row],
                )
                .await;
            }
            time.advance(if round < 8 {
                TimeDelta::hours(2)
            } else {
                TimeDelta::hours(26)
            });
            let result = other.run_pass(&Selection::all()).await;
            results.lock().unwrap().push(result);
        }
        time.advance(TimeDelta::seconds(1));
    };
    process.before_call(k, Box::new(move || meanwhile.boxed()));
    let first = run(&manager, process).await;
    for result in ended.lock().unwrap().drain(..) {
        Pass {
            result,
            process: Arc::clone(&first.process),
        }
        .clean()
        .map_err(|e| format!("another pass: {e}"))?;
    }
    only_conflicts(&first).map_err(|e| format!("{e}\n{}", first.process.trace()))?;
    Ok(first)
}

macro_rules! worlds {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            let lab = Lab::new(stringify!($name), worlds::$name());
            lab.run(&lab.everything());
        })*
    };
}

worlds!(
    plain,
    retention,
    whole_file_dropped,
    whole_file_archived,
    all_dropped,
    all_archived,
    quarantine,
    orphans,
    tiers,
    prune,
    pieces,
    directory,
    same_inputs,
    names_again,
    names_again_appended,
    delayed_deletes,
    adopting,
    adopted_dropped,
    adopted_archived,
    adopted_directory,
    pages,
    pages_expire,
    first_pages,
    listed,
    listed_directory,
    listed_in_partitions,
    rounds
);

#[cfg(feature = "delta")]
worlds!(published, published_directory, published_often);

/// Whole snapshots go into the archive by copies. A pass that finds those of one that died takes
/// them for its own, once it has seen that they are.
#[test]
fn whole_files_copied() {
    let lab = Lab::new("whole_files_copied", worlds::whole_files_copied());
    let copies = lab.seed.copies.as_ref().unwrap();
    assert_eq!(
        (
            copies.made.load(Ordering::Relaxed),
            copies.found.load(Ordering::Relaxed)
        ),
        (3, 0),
        "copies of a clean pass"
    );
    lab.run(&lab.everything());
    let (made, found) = (
        copies.made.load(Ordering::Relaxed),
        copies.found.load(Ordering::Relaxed),
    );
    println!("whole_files_copied: {made} copies made, {found} of earlier passes found");
    assert!(found > 0, "no case met what it is for");
}

/// Deaths of two passes in a row.
#[test]
fn pairs_of_deaths() {
    let labs = [
        Lab::new("plain, pairs", worlds::plain()),
        Lab::new("retention, pairs", worlds::retention()),
        Lab::new("whole_file_archived, pairs", worlds::whole_file_archived()),
        Lab::new("whole_files_copied, pairs", worlds::whole_files_copied()),
        Lab::new("quarantine, pairs", worlds::quarantine()),
        Lab::new("orphans, pairs", worlds::orphans()),
        Lab::new("adopted_dropped, pairs", worlds::adopted_dropped()),
        Lab::new("pages, pairs", worlds::pages()),
        Lab::new("listed, pairs", worlds::listed()),
    ];
    for lab in labs {
        lab.run(&pairs(&lab.calls));
    }
}

/// A pass that sleeps for days. Where it put a manifest under a number that had been pruned, it
/// must not believe that it committed.
#[test]
fn sleepers() {
    let mut revived = 0;
    for lab in [
        Lab::new("retention, asleep", worlds::retention()),
        Lab::new("orphans, asleep", worlds::orphans()),
        Lab::new("prune, asleep", worlds::prune()),
        Lab::new("pages, asleep", worlds::pages()),
        Lab::new("listed, asleep", worlds::listed()),
        Lab::new("rounds, asleep", worlds::rounds()),
    ] {
        let cases: Vec<Case> = (1..=lab.calls.len()).map(Case::Sleep).collect();
        lab.run(&cases);
        revived += lab.revived.load(Ordering::Relaxed);
    }
    println!("version numbers revived: {revived}");
    assert!(revived > 0, "no case met what it is for");
}

/// Megabytes: every call where it matters, and a few of the others.
#[test]
fn multipart() {
    let lab = Lab::new("multipart", worlds::multipart());
    let uploads = |k: usize| {
        matches!(
            lab.calls[k - 1].kind,
            Kind::Start | Kind::Part | Kind::Complete
        )
    };
    assert!(
        (1..=lab.calls.len()).any(uploads),
        "no upload in parts:\n{:?}",
        lab.calls
    );
    let keep = |case: &Case| match case {
        Case::Fault(k, _) => {
            long()
                || uploads(*k)
                || uploads((*k + 1).min(lab.calls.len()))
                || (k % 11 == 0 && matches!(case, Case::Fault(_, Fault::Die { .. })))
        }
        // Also between an upload's end and the look at what it made.
        Case::Second(k) | Case::Ingest(k) => long() || uploads(*k) || uploads((*k - 1).max(1)),
        Case::Pair(..) | Case::Sleep(_) => true,
    };
    let cases: Vec<Case> = lab.everything().into_iter().filter(keep).collect();
    lab.run(&cases);
}

/// Two passes over different files: both commit, one of them on top of the other.
#[test]
fn disjoint_inputs() {
    let mut lab = Lab::new("disjoint_inputs", worlds::disjoint_inputs());
    lab.other = worlds::small_only(&lab.seed);
    lab.run(&lab.everything());
}

/// One seed, one run: the same calls in the same order leave the same objects, tags, times and
/// bytes.
#[test]
fn the_same_seed_replays_the_same_run() {
    let runtime = driver::runtime();
    runtime.block_on(async {
        let worlds = [
            worlds::plain().await,
            worlds::retention().await,
            worlds::whole_files_copied().await,
            worlds::orphans().await,
            worlds::quarantine().await,
            worlds::prune().await,
            worlds::pages_expire().await,
        ];
        let mut replayed = 0;
        for seed in worlds {
            for noise in 0..8 {
                let schedule = Schedule::noise(noise, if noise == 0 { 0 } else { 60 });
                let (mut a, mut b) = (seed.fork(), seed.fork());
                let (first, second) = (a.pass(schedule.clone()).await, b.pass(schedule).await);
                assert_eq!(
                    first.process.trace(),
                    second.process.trace(),
                    "noise {noise}"
                );
                assert_eq!(first.summary(), second.summary(), "noise {noise}");
                assert!(
                    a.contents().await == b.contents().await,
                    "noise {noise}: the stores differ after\n{}",
                    first.process.trace()
                );
                replayed += first.process.calls().len();
            }
        }
        println!("replayed: {replayed} calls");
    });
}
