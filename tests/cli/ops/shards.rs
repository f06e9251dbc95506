//! One process against four with a shard each, over two hundred tenants and a giant; and one of
//! four killed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::Instant;

use chrono::{TimeDelta, Utc};
use serde_json::Value;

use super::world::World;
use crate::support::{self, Event, job};

const SHARDS: usize = 4;
const TENANTS: usize = 200;
const GIANT: &str = "giant";
const GIANT_FILES: usize = 60;

type Rows = BTreeMap<String, Vec<Event>>;

async fn seed(world: &World, tenants: usize) -> Rows {
    let now = Utc::now();
    let mut all = Rows::new();
    for n in 0..tenants {
        let tenant = format!("t{n:03}");
        let rows = world.seed(&tenant, 3, 10, now).await;
        all.insert(tenant, support::sorted(rows));
    }
    let rows = support::series(0, GIANT_FILES * 2_000, now, TimeDelta::seconds(3));
    for (i, part) in rows.chunks(2_000).enumerate() {
        support::put_events(
            &world.store,
            &format!("{GIANT}/2026-01/events-{i:04}.parquet"),
            part,
        )
        .await;
    }
    all.insert(GIANT.into(), support::sorted(rows));
    all
}

/// Outputs so small that the giant's files make many groups.
fn envs(world: &World) -> Vec<(&'static str, String)> {
    let small = [
        ("ICEPACK_COMPACTION_SMALL_FILE_THRESHOLD", "1MiB"),
        ("ICEPACK_COMPACTION_TARGET_FILE_SIZE", "32KiB"),
        ("ICEPACK_COMPACTION_MAX_FILE_SIZE", "2MiB"),
        // What fits into no group is merged alone.
        ("ICEPACK_COMPACTION_MIN_FILES_TO_COMPACT", "1"),
    ];
    world
        .envs()
        .into_iter()
        .chain(small.map(|(k, v)| (k, v.to_owned())))
        .collect()
}

fn start(world: &World, shard: usize) -> Child {
    let job = [
        ("JOB_COMPLETION_INDEX", shard.to_string()),
        ("JOB_COMPLETIONS", SHARDS.to_string()),
    ];
    let mut command = job::icepack(&[envs(world), job.to_vec()].concat());
    command
        .args(["--json", "run"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[track_caller]
fn report(out: &Output) -> Value {
    assert_eq!(out.status.code(), Some(0), "{}", job::text(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// All shards at once.
fn round(world: &World) -> Vec<Value> {
    let children: Vec<Child> = (0..SHARDS).map(|i| start(world, i)).collect();
    // Each in a thread of its own: a pipe that nobody reads would hold a child up.
    let waiting: Vec<_> = children
        .into_iter()
        .map(|c| std::thread::spawn(|| c.wait_with_output().unwrap()))
        .collect();
    waiting
        .into_iter()
        .map(|w| report(&w.join().unwrap()))
        .collect()
}

/// Files compacted of each tenant, by each pass that compacted some.
fn compacted(reports: &[Value]) -> BTreeMap<String, Vec<u64>> {
    let mut done: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for tenant in reports
        .iter()
        .flat_map(|r| r["tenants"].as_array().unwrap())
    {
        if let files @ 1.. = tenant["files_compacted"].as_u64().unwrap() {
            done.entry(tenant["tenant"].as_str().unwrap().to_owned())
                .or_default()
                .push(files);
        }
    }
    done
}

async fn check(world: &World, rows: &Rows, when: &str) {
    for (tenant, rows) in rows {
        assert_eq!(
            &support::live(&world.store, tenant).await,
            rows,
            "{when}: {tenant}"
        );
    }
}

fn raw_files(world: &World, tenant: &str) -> usize {
    fn count(dir: &Path) -> usize {
        let entries = std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .map(|e| e.unwrap().path());
        entries
            .map(|p| {
                if p.is_dir() {
                    count(&p)
                } else {
                    usize::from(
                        p.file_name()
                            .unwrap()
                            .to_string_lossy()
                            .starts_with("events-"),
                    )
                }
            })
            .sum()
    }
    count(&world.hot().join(tenant))
}

/// Rows of raw files that the tenant's head says were taken in.
fn ingested(world: &World, tenant: &str) -> u64 {
    let manifests =
        std::fs::read_dir(world.hot().join("_icepack").join(tenant).join("manifest")).unwrap();
    let head = manifests
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "json"))
        .max()
        .unwrap();
    let head: Value = serde_json::from_slice(&std::fs::read(head).unwrap()).unwrap();
    head["totals"]["rows_ingested"].as_u64().unwrap()
}

/// Rounds until no raw file is left.
fn rounds(world: &World) -> Vec<Value> {
    let mut reports = Vec::new();
    for _ in 0..10 {
        reports.extend(round(world));
        if raw_files(world, GIANT) == 0 {
            return reports;
        }
    }
    panic!(
        "{} raw files are left after ten rounds",
        raw_files(world, GIANT)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn four_shards_do_what_one_process_does() {
    let (alone, shared) = (World::new(), World::new());
    let rows = seed(&alone, TENANTS).await;
    copy(&alone.hot(), &shared.hot());

    let began = Instant::now();
    let whole = job::json(&envs(&alone), 0, ["--json", "run"]);
    let one = began.elapsed();
    let began = Instant::now();
    let first = round(&shared);
    let four = began.elapsed();
    let giant: Vec<u64> = compacted(&first).remove(GIANT).unwrap_or_default();
    eprintln!(
        "one process {one:.1?}, four shards {four:.1?} on this machine; {:.1} times as fast; the \
         giant's files by shard: {giant:?}",
        one.as_secs_f64() / four.as_secs_f64()
    );

    let mut done = compacted(&first);
    let giant = done.remove(GIANT).unwrap_or_default();
    assert!(
        giant.len() > 1,
        "only one shard worked on the giant: {giant:?}"
    );
    assert_eq!(done.len(), TENANTS);
    assert!(
        done.values().all(|passes| passes == &[3]),
        "each tenant once, by one shard: {done:?}"
    );
    assert!(
        first
            .iter()
            .all(|r| r["totals"]["files_compacted"].as_u64().unwrap() > 0),
        "each shard has a share"
    );

    rounds(&shared);
    check(&shared, &rows, "four shards").await;
    assert_eq!(
        ingested(&shared, GIANT),
        GIANT_FILES as u64 * 2_000,
        "each raw file of the giant was taken in once"
    );
    check(&alone, &rows, "alone").await;
    let by_all: u64 = whole["totals"]["events_compacted"].as_u64().unwrap();
    assert_eq!(by_all, rows.values().map(|r| r.len() as u64).sum::<u64>());
    // Then there is nothing left to do, for shards or for one alone.
    let idle = job::json(&envs(&shared), 0, ["--json", "plan"]);
    assert!(idle["plans"].as_array().unwrap().iter().all(|p| {
        p["groups"].as_array().unwrap().iter().all(|g| {
            g["inputs"]
                .as_array()
                .unwrap()
                .iter()
                .all(|i| !i["id"].is_null())
        })
    }));
    job::expect(&envs(&shared), 0, ["verify", "--deep"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_killed_loses_nothing() {
    let world = World::new();
    let rows = seed(&world, 20).await;
    let mut children: Vec<Child> = (0..SHARDS).map(|i| start(&world, i)).collect();
    // In the middle of its work: after a line about it.
    let mut victim = children.remove(1);
    let line = BufReader::new(victim.stderr.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find(|l| l.contains("group") || l.contains("tenant"));
    assert!(line.is_some(), "it had nothing to do");
    victim.kill().unwrap();
    victim.wait().unwrap();
    let waiting: Vec<_> = children
        .into_iter()
        .map(|c| std::thread::spawn(|| c.wait_with_output().unwrap()))
        .collect();
    for w in waiting {
        report(&w.join().unwrap());
    }
    check(&world, &rows, "after the kill").await;
    rounds(&world);
    check(&world, &rows, "after the next rounds").await;
    job::expect(&envs(&world), 0, ["verify", "--deep"]);
}

#[test]
fn half_a_job_s_environment_is_a_usage_error() {
    let world = World::new();
    let mut envs = world.envs();
    envs.push(("JOB_COMPLETION_INDEX", "1".into()));
    let out = job::run(&envs, ["run"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(job::text(&out.stderr).contains("JOB_COMPLETIONS"));
    // What makes no pass does not ask.
    job::expect(&envs, 0, ["status"]);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}
