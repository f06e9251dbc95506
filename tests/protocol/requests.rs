//! How many requests a pass makes, as the store sees them: one for each input, one for each output
//! or part of it, and a few that do not grow with the data.
//!
//! `cargo test --test protocol requests:: -- --nocapture` prints the figures.

pub mod recorder;
use crate::support;
mod tenants;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use icepack::pass::Selection;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::names::{self, FileKind, Tenant};
use icepack_core::model::report::{Requests, RunReport};
use icepack_core::plan::compaction::GROUP_TARGETS;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use recorder::{Kind, Log, PAGE, Recorder, is_below};
use support::{Event, Store, keys, live, mark, put_events, series, sorted};

const TENANT: &str = "acme";
const MANIFESTS: &str = "_icepack/acme/manifest";
const PROBES: &str = "_icepack/_probe";
const RECORDS: &str = "_icepack/runs";
const DELTA_LOG: &str = "_delta_log";

/// The question to the store before every pass: a probe is created, created again, read back,
/// listed and removed.
const PROBE: Requests = Requests {
    get: 1,
    put: 2,
    head: 0,
    list: 1,
    delete: 1,
    copy: 0,
};

/// Whether the place is a store: its marker is read. The first pass writes it.
const MARKER: u64 = 1;

/// Which tenants there are: the folders of the root, and those of `_icepack`.
const FOLDERS: u64 = 2;

/// Head is read to plan, and by the sweep: each time a listing, and a GET where there is a manifest.
const HEADS: u64 = 2;

/// The tenant is listed to plan, by the sweep for what it may delete, and after it to see what is
/// gone: only that may be forgotten.
const LISTINGS: u64 = 3;

/// GETs besides those of inputs, at most: the probe, the marker, twice head, and the record
/// of the last pass, whose sums are carried on.
const OTHER_GETS: u64 = PROBE.get + MARKER + HEADS + 1;

/// Commits besides that of each group: what was deleted is forgotten.
const OTHER_COMMITS: u64 = 1;

/// Bytes of a part of an upload.
const PART: u64 = 8 << 20;

/// A pass with nothing to do: the probe, the marker, the folders, head, the tenant, and the record
/// of the pass before.
const IDLE: Requests = Requests {
    get: PROBE.get + MARKER + 1,
    put: PROBE.put,
    head: 0,
    list: PROBE.list + FOLDERS + 2,
    delete: PROBE.delete,
    copy: 0,
};

/// The record of a pass, made of its report and so not in it: the records are listed, the last one
/// is read and the new one put.
const RECORD: Requests = Requests {
    get: 1,
    put: 1,
    head: 0,
    list: 1,
    delete: 0,
    copy: 0,
};

fn pages(keys: usize) -> u64 {
    keys.div_ceil(PAGE).max(1) as u64
}

struct World {
    store: Arc<InMemory>,
    config: CompactionConfig,
    rows: Vec<Event>,
    files: usize,
    folders: usize,
    commits: Option<u64>,
}

impl World {
    fn new() -> Self {
        Self {
            store: Arc::default(),
            config: CompactionConfig::default(),
            rows: Vec::new(),
            files: 0,
            folders: 1,
            commits: None,
        }
    }

    /// Files of so many rows; each shares half of its time with the next.
    async fn arrive(&mut self, files: usize, rows: usize) {
        let first = Utc::now() - TimeDelta::hours(1);
        for n in self.files..self.files + files {
            let end = first + TimeDelta::milliseconds(i64::try_from(n * rows).unwrap());
            self.put(n, series(n * rows, rows, end, TimeDelta::milliseconds(2)))
                .await;
        }
        self.files += files;
    }

    async fn put(&mut self, n: usize, events: Vec<Event>) {
        let store: Store = self.store.clone();
        if n == 0 {
            // As the pass before has left it.
            mark(&store).await;
        }
        put_events(
            &store,
            &format!("{TENANT}/n={}/events-{n:06}.parquet", n % self.folders),
            &events,
        )
        .await;
        self.rows.extend(events);
    }

    async fn keys(&self) -> BTreeSet<String> {
        let store: Store = self.store.clone();
        keys(&store).await.into_iter().collect()
    }

    /// A pass, and what it asked of the store. Every row is live after it.
    async fn pass(&self) -> Pass {
        let plan = CompactionManager::new(self.store.clone(), self.config.clone())
            .plan(&Selection::all())
            .await
            .unwrap();
        let before = self.keys().await;
        let recorder = Recorder::over(&self.store);
        let manager = CompactionManager::new(recorder.store(), self.config.clone());
        let report = manager.run_pass(&Selection::all()).await.unwrap();
        let (log, after) = (recorder.log(), self.keys().await);
        let store: Store = self.store.clone();
        assert_eq!(live(&store, TENANT).await, sorted(self.rows.clone()));
        Pass {
            report,
            log,
            before,
            after,
            groups: plan.plans.iter().map(|p| p.groups.len() as u64).sum(),
            commits: self.commits,
        }
    }

    async fn size(&self, key: &str) -> u64 {
        self.store.head(&Path::from(key)).await.unwrap().size
    }
}

struct Pass {
    report: RunReport,
    log: Log,
    before: BTreeSet<String>,
    after: BTreeSet<String>,
    groups: u64,
    /// Commits of merges, where they are fewer than the groups.
    commits: Option<u64>,
}

impl Pass {
    /// Files of the tenant that it took away.
    fn inputs(&self) -> Vec<&String> {
        self.before
            .difference(&self.after)
            .filter(|k| is_below(k, TENANT))
            .collect()
    }

    /// Files of the tenant that it added.
    fn outputs(&self) -> Vec<&String> {
        self.after
            .difference(&self.before)
            .filter(|k| is_below(k, TENANT))
            .collect()
    }

    fn versions(&self) -> u64 {
        self.after
            .difference(&self.before)
            .filter(|k| is_below(k, MANIFESTS))
            .count() as u64
    }

    fn had(&self, below: &str) -> u64 {
        u64::from(self.before.iter().any(|k| is_below(k, below)))
    }

    /// What holds for every pass that merged something.
    fn check(&self, what: &str) {
        let (inputs, outputs) = (self.inputs(), self.outputs());
        let all = self.log.bill(|_| true);
        println!(
            "{what}: {} inputs, {} groups, {} outputs, {} versions: {all:?}",
            inputs.len(),
            self.groups,
            outputs.len(),
            self.versions()
        );
        assert_eq!(
            inputs.len() as u64,
            self.report.totals.counters.files_compacted
        );
        assert_eq!(
            outputs.len() as u64,
            self.report.totals.counters.files_written
        );
        self.check_gets(&inputs, all.get);
        self.check_puts(&outputs, all.put);
        self.check_lists(inputs.len(), all.list);
        self.check_deletes(inputs.len(), all.delete);
        assert_eq!(all.copy, 0);
        self.check_report();
    }

    fn check_gets(&self, inputs: &[&String], all: u64) {
        for key in inputs {
            assert_eq!(
                (
                    self.log.count(Kind::Get, key),
                    self.log.count(Kind::Head, key)
                ),
                (1, 0),
                "{key} is fetched once and not looked at before"
            );
        }
        let of = |below| self.log.count(Kind::Get, below);
        assert!(of(PROBES) <= PROBE.get);
        assert!(
            of(MANIFESTS) < HEADS + self.had(MANIFESTS),
            "head was read {} times",
            of(MANIFESTS)
        );
        assert!(of(RECORDS) <= self.had(RECORDS));
        assert!(
            all <= inputs.len() as u64 + OTHER_GETS,
            "{all} GETs for {} inputs",
            inputs.len()
        );
    }

    fn check_puts(&self, outputs: &[&String], all: u64) {
        // None is refused: every PUT of a manifest is a version.
        let commits = self.commits.unwrap_or(self.groups) + OTHER_COMMITS + 1 - self.had(MANIFESTS);
        assert_eq!(
            (self.log.count(Kind::Put, MANIFESTS), self.versions()),
            (commits, commits)
        );
        let of = |kind| {
            outputs
                .iter()
                .map(|key| self.log.count(kind, key))
                .sum::<u64>()
        };
        let (whole, uploads, parts) = (of(Kind::Put), of(Kind::Start), of(Kind::Part));
        assert_eq!(whole + uploads, outputs.len() as u64);
        assert_eq!(of(Kind::Complete), uploads);
        // Whether the store has put the parts together is asked once.
        assert_eq!(self.log.count(Kind::Head, ""), uploads);
        assert_eq!(of(Kind::Head), uploads);
        assert!(
            all <= whole + 2 * uploads + parts + commits + PROBE.put + RECORD.put,
            "{all} PUTs"
        );
    }

    fn check_lists(&self, inputs: usize, all: u64) {
        let tenant = |keys: &BTreeSet<String>| keys.iter().filter(|k| is_below(k, TENANT)).count();
        let (before, after) = (tenant(&self.before), tenant(&self.after));
        let of = |below| self.log.count(Kind::List, below) + self.log.count(Kind::Page, below);
        assert_eq!(self.log.count(Kind::List, TENANT), LISTINGS);
        assert_eq!(
            of(TENANT),
            pages(before) + pages(after + inputs) + pages(after)
        );
        // After each commit it is seen that no newer version was there already.
        assert!(
            of(MANIFESTS) <= HEADS + self.versions(),
            "{} listings of manifests",
            of(MANIFESTS)
        );
        // Before anything is deleted, whether there is a table that this pass does not publish.
        assert!(of(DELTA_LOG) <= 1);
        assert!(of(RECORDS) <= RECORD.list);
        assert!(self.log.count(Kind::Folders, "") <= FOLDERS);
        assert!(
            all <= PROBE.list + FOLDERS + of(TENANT) + of(MANIFESTS) + 1 + RECORD.list,
            "{all} LISTs"
        );
    }

    fn check_deletes(&self, inputs: usize, all: u64) {
        let bulks: Vec<usize> = self.log.of(Kind::Delete, TENANT).map(|r| r.keys).collect();
        assert_eq!(
            bulks.iter().sum::<usize>(),
            inputs,
            "no file is deleted twice"
        );
        assert_eq!(
            bulks.len(),
            inputs.div_ceil(PAGE),
            "all bulks but the last are full"
        );
        assert!(all <= bulks.len() as u64 + PROBE.delete, "{all} DELETEs");
    }

    /// What the job says that it did is what the store saw.
    fn check_report(&self) {
        assert_eq!(
            self.report.requests,
            self.log.bill(|k| !is_below(k, RECORDS))
        );
        assert_eq!(self.report.totals.counters.requests, self.report.requests);
        let own = |k: &str| {
            [TENANT, MANIFESTS, DELTA_LOG]
                .iter()
                .any(|below| is_below(k, below))
        };
        assert_eq!(
            self.report
                .tenants
                .iter()
                .map(|t| t.counters.requests)
                .collect::<Vec<_>>(),
            [self.log.bill(own)]
        );
    }

    /// What a pass costs that finds nothing to do. A tenant of up to a thousand files adds two
    /// listings and a GET.
    fn check_idle(&self, what: &str) {
        let all = self.log.bill(|_| true);
        println!("{what}, idle: {all:?}");
        assert_eq!(self.groups, 0);
        assert_eq!(self.report.requests, IDLE);
        assert_eq!(all, IDLE + RECORD);
        self.check_report();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_input_is_fetched_once_and_an_idle_pass_is_a_dozen_requests() {
    const FILES: usize = 400;
    let mut world = World::new();
    world.arrive(FILES, 10).await;
    let pass = world.pass().await;
    assert_eq!((pass.inputs().len(), pass.outputs().len()), (FILES, 1));
    pass.check("small files");
    world.pass().await.check_idle("small files");

    // The tenant has a head now, the store the record of a pass, and the snapshot is small enough
    // to be merged with what came.
    world.arrive(FILES / 4, 10).await;
    let pass = world.pass().await;
    assert_eq!(
        (pass.inputs().len(), pass.outputs().len()),
        (FILES / 4 + 1, 1)
    );
    pass.check("some more");
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_and_deletes_take_a_thousand_keys_at_a_time() {
    const FILES: usize = 2 * PAGE + PAGE / 2;
    let mut world = World::new();
    world.arrive(FILES, 2).await;
    let pass = world.pass().await;
    assert_eq!((pass.inputs().len(), pass.outputs().len()), (FILES, 1));
    assert!(pass.log.count(Kind::Page, TENANT) > 0);
    pass.check("thousands of files");
    world.pass().await.check_idle("thousands of files");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_group_is_one_manifest() {
    const FILES: usize = 300;
    const GROUPS: u64 = 6;
    let mut world = World::new();
    world.arrive(FILES, 10).await;
    let mut bytes = 0;
    for key in world.keys().await {
        bytes += world.size(&key).await;
    }
    world.config.target_file_size = bytes / GROUPS / GROUP_TARGETS;
    world.config.max_file_size = 2 * world.config.target_file_size;
    let pass = world.pass().await;
    assert!(pass.groups >= 2 && pass.outputs().len() as u64 >= pass.groups);
    assert_eq!(pass.inputs().len(), FILES);
    pass.check("several groups");
}

/// A commit writes the whole manifest: a tenant of many folders must not have one for each.
#[tokio::test(flavor = "multi_thread")]
async fn small_groups_of_many_folders_share_a_manifest() {
    const FOLDERS: usize = 130;
    let mut world = World::new();
    world.folders = FOLDERS;
    world.arrive(3 * FOLDERS, 4).await;
    world.commits = Some(2);
    let pass = world.pass().await;
    assert_eq!(
        (pass.groups, pass.inputs().len(), pass.outputs().len()),
        (FOLDERS as u64, 3 * FOLDERS, FOLDERS)
    );
    pass.check("many folders");
    world.pass().await.check_idle("many folders");
}

/// Letters that hardly compress.
fn noise(random: &mut u64, length: usize) -> String {
    let letter = |_| {
        *random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + u8::try_from(*random >> 58).unwrap())
    };
    (0..length).map(letter).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_output_is_uploaded_in_parts() {
    const FILES: usize = 80;
    const ROWS: usize = 10;
    let (mut world, mut random) = (World::new(), 1);
    // So little that an output outgrows one request at 8 MiB, with a row group of 4 MiB at its end
    // at 12.
    world.config.memory_limit = 128 << 20;
    for n in 0..FILES {
        let mut events = series(
            n * ROWS,
            ROWS,
            Utc::now() - TimeDelta::minutes(1),
            TimeDelta::milliseconds(1),
        );
        events
            .iter_mut()
            .for_each(|e| e.payload = noise(&mut random, 32 << 10));
        world.put(n, events).await;
    }
    let pass = world.pass().await;
    assert_eq!((pass.inputs().len(), pass.outputs().len()), (FILES, 1));
    pass.check("a large output");
    let output = pass.outputs()[0];
    let size = world.size(output).await;
    assert!(size > 2 * PART, "{size} bytes are no large output");
    let of = |kind| pass.log.count(kind, output);
    assert_eq!(
        [Kind::Put, Kind::Start, Kind::Part, Kind::Complete].map(of),
        [0, 1, size.div_ceil(PART), 1]
    );
    let tenant = Tenant::parse(TENANT).unwrap();
    assert!(matches!(
        names::classify(&tenant, output),
        FileKind::Snapshot(_)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_pass_of_a_store_looks_around_and_marks_it() {
    let mut world = World::new();
    world.arrive(3, 10).await;
    let marker = Path::from(icepack_core::model::marker::Role::Store.marker_key());
    world.store.delete(&marker).await.unwrap();
    let first = world.pass().await;
    assert!(world.keys().await.contains(marker.as_ref()));
    let of = |kind, below: &str| first.log.count(kind, below);
    let archive = icepack_core::model::marker::Role::Archive.marker_key();
    assert_eq!(
        (
            of(Kind::Get, marker.as_ref()),
            of(Kind::Get, &archive),
            of(Kind::Put, marker.as_ref())
        ),
        (1, 1, 1)
    );
    // Its folders once more, and of the tenant whether it is a store.
    assert_eq!(
        (
            of(Kind::Folders, ""),
            of(Kind::List, &format!("{TENANT}/_icepack"))
        ),
        (FOLDERS + 1, 1)
    );
    let again = world.pass().await.log;
    assert_eq!(
        (
            again.count(Kind::Get, marker.as_ref()),
            again.count(Kind::Get, &archive),
            again.count(Kind::Put, marker.as_ref())
        ),
        (1, 0, 0)
    );
}
