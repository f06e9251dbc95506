//! The small worlds that are searched to the end. Each is as small as the race that it is for allows.

use std::sync::Arc;

use icepack::invariants::World;
use icepack::model::manifest::{Manifest, Stamp, Totals};
use icepack::model::names::FileId;

use crate::checker::{Model, Phase, Takes, ingest};
use crate::state::*;

const RAW: Phase = Phase::Compact(Takes::Raw);
const ALL: Phase = Phase::Compact(Takes::All);
const A: &str = "t/a.parquet";
const B: &str = "t/b.parquet";
const C: &str = "t/c.parquet";

/// A tenant with raw files and its first manifest.
fn world(raw: &[(&str, &[Row])], archives: bool) -> W {
    let mut w = World::new(tenant(), archives);
    let first = Arc::new(Manifest::first(tenant(), Stamp { run_id: FileId::NIL, commit_id: name(1), at: at(0) }));
    w.history.push(Arc::clone(&first));
    w.manifests.insert(1, first);
    for (key, rows) in raw {
        ingest(&mut w, key, format!("first {key}"), rows);
    }
    w
}

/// The output of a run that died before its commit.
fn with_orphan(mut w: W, tick: u8, rows: &[Row]) -> W {
    let s = snapshot(mint(tick, 9, FileId::NIL), rows);
    w.hot.insert(s.key, object(s.id.to_string(), rows));
    w
}

/// Two live snapshots of one row each.
fn with_snapshots(mut w: W, rows: [Row; 2]) -> W {
    let mut head = w.head().unwrap().as_ref().clone();
    for row in rows {
        let s = snapshot(mint(0, u64::from(row), FileId::NIL), &[row]);
        ingest(&mut w, &s.key, s.id.to_string(), &[row]);
        head.snapshots.push(s);
    }
    head.totals = Totals { rows_ingested: 2, ..Totals::default() };
    let head = Arc::new(head);
    w.history = vec![Arc::clone(&head)];
    w.manifests.insert(1, head);
    w
}

/// Two runners on the same files, a sweeper, a file that arrives and one that comes a second time under a new name; a reply may be lost.
pub fn same_inputs() -> Model {
    let mut m = Model::new(world(&[(A, &[1])], false), vec![vec![RAW], vec![RAW], vec![Phase::Sweep, Phase::Sweep]]);
    m.arrivals = vec![(B, vec![2]), (C, vec![1])];
    m.start.timeouts = 1;
    m
}

/// The same without arrivals, and a reader.
pub fn reader() -> Model {
    Model::new(world(&[(A, &[1])], false), vec![vec![RAW], vec![Phase::Sweep], vec![RAW, Phase::Sweep], vec![Phase::Read]])
}

/// A run that stalls with its output stored, two collectors that began at different times, an older orphan.
pub fn floor() -> Model {
    let w = with_orphan(world(&[(A, &[1])], false), 0, &[1]);
    let mut m = Model::new(w, vec![vec![RAW], vec![Phase::Sweep], vec![Phase::Sweep]]);
    m.start.time = 1;
    m.max_time = 3;
    m
}

/// Two runners on different files, and a pruner that keeps one manifest: version numbers are revived.
pub fn revival() -> Model {
    let scripts = vec![vec![Phase::Compact(Takes::Only(A))], vec![Phase::Compact(Takes::Only(B))], vec![Phase::Sweep, Phase::Sweep]];
    let mut m = Model::new(world(&[(A, &[1]), (B, &[2])], false), scripts);
    m.keep = 1;
    m.start.timeouts = 1;
    m
}

/// The same, and a sweeper that stalls between listing the manifests and reading the newest.
pub fn revived_head() -> Model {
    let scripts = vec![vec![Phase::Compact(Takes::Only(A))], vec![Phase::Compact(Takes::Only(B))], vec![Phase::Sweep], vec![Phase::Sweep]];
    let mut m = Model::new(world(&[(A, &[1]), (B, &[2])], false), scripts);
    m.keep = 1;
    m
}

/// Rows past the cutoff, an archive, and two sweepers that file receipts.
pub fn retention() -> Model {
    let scripts = vec![vec![RAW], vec![RAW], vec![Phase::Sweep], vec![Phase::Sweep]];
    Model::new(world(&[(A, &[1, 101])], true), scripts)
}

/// Snapshots merge into snapshots, and a late run has its eye on the same ones.
pub fn snapshots() -> Model {
    Model::new(with_snapshots(world(&[], false), [1, 2]), vec![vec![ALL], vec![ALL], vec![Phase::Sweep, Phase::Sweep]])
}

/// The ingester uses a name again after its file was compacted, deleted and forgotten.
pub fn name_again() -> Model {
    let mut m = Model::new(world(&[(A, &[1])], false), vec![vec![RAW], vec![RAW], vec![Phase::Sweep]]);
    m.arrivals = vec![(A, vec![2])];
    m
}

/// A reply is lost and the manifest cannot be read back.
pub fn unknown() -> Model {
    let mut m = Model::new(world(&[(A, &[1])], false), vec![vec![RAW, RAW], vec![Phase::Sweep, Phase::Sweep]]);
    m.start.timeouts = 2;
    m.start.failures = 1;
    m
}

/// No archive: one run drops an expired snapshot unread while another merges it.
pub fn expiry() -> Model {
    let scripts = vec![vec![Phase::Compact(Takes::Expired)], vec![ALL], vec![Phase::Sweep, Phase::Sweep]];
    Model::new(with_snapshots(world(&[], false), [1, 101]), scripts)
}

/// A run of several groups, the later ones planned on a head that is no more.
pub fn groups() -> Model {
    let scripts = vec![vec![Phase::Compact(Takes::Each)], vec![Phase::Compact(Takes::Each)], vec![Phase::Sweep, Phase::Sweep]];
    Model::new(world(&[(A, &[1]), (B, &[2])], false), scripts)
}

/// A tenant that has no manifest yet, begun by two runs at once.
pub fn birth() -> Model {
    let mut w = world(&[(A, &[1])], false);
    w.manifests.clear();
    w.history.clear();
    let mut m = Model::new(w, vec![vec![RAW], vec![RAW, Phase::Sweep], vec![Phase::Sweep, Phase::Sweep]]);
    m.keep = 1;
    m.start.timeouts = 1;
    m.start.failures = 1;
    m
}

/// As [`name_again`], with a second sweeper: outside of what the protocol promises, because a delete names a key and not a version.
pub fn name_again_under_two_sweepers() -> Model {
    let mut m = Model::new(world(&[(A, &[1])], false), vec![vec![RAW], vec![Phase::Sweep], vec![Phase::Sweep]]);
    m.arrivals = vec![(A, vec![2])];
    m
}

pub fn small() -> Vec<(&'static str, Model)> {
    vec![
        ("same inputs", same_inputs()),
        ("a reader", reader()),
        ("the floor", floor()),
        ("revived versions", revival()),
        ("a revived head", revived_head()),
        ("retention", retention()),
        ("snapshots", snapshots()),
        ("a name again", name_again()),
        ("unknown", unknown()),
        ("expiry", expiry()),
        ("groups", groups()),
        ("birth", birth()),
    ]
}

/// Everything at once: minutes, and gigabytes.
pub fn large() -> Vec<(&'static str, Model)> {
    let everything = |arrivals, timeouts, max_time| {
        let w = with_orphan(world(&[(A, &[1, 101]), (B, &[2])], true), 0, &[2]);
        let mut m = Model::new(w, vec![vec![RAW, Phase::Sweep], vec![ALL], vec![Phase::Sweep, Phase::Sweep]]);
        m.arrivals = arrivals;
        m.start.time = 1;
        m.max_time = max_time;
        m.keep = 1;
        m.start.timeouts = timeouts;
        m
    };
    vec![
        ("everything", everything(Vec::new(), 0, 2)),
        ("everything, losses", everything(Vec::new(), 1, 1)),
        ("everything, arrivals", everything(vec![(C, vec![3])], 0, 2)),
    ]
}
