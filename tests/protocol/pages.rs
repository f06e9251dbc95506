//! A tenant whose manifest has pages: what a pass reads and writes of it, and what it refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use icepack::pass::Selection;
use icepack::protocol::discover;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::file::{Micros, RowStats, Snapshot};
use icepack_core::model::manifest::{Manifest, Stamp, Totals};
use icepack_core::model::names::{self, FileId, Place, Tenant, snapshot_key};
use icepack_core::model::pages::PageSizes;
use icepack_core::model::report::{RunReport, Status};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use ulid::Ulid;

use crate::requests::recorder::{Kind, Log, Recorder};
use crate::support::{Store, get, keys, mark, put, put_events, series};

const FOLDERS: usize = 400;
const EACH: usize = 5;
const TARGET: u64 = 16 << 10;

fn tenant() -> Tenant {
    Tenant::parse("acme").unwrap()
}

fn folder(n: usize) -> String {
    format!("acme/device={n:04}")
}

struct Lab {
    store: Arc<InMemory>,
    config: CompactionConfig,
    /// Whether a pass gives the status of the tenant before and after, as the command line asks for.
    observed: bool,
    files: usize,
}

impl Lab {
    /// A tenant with finished snapshots, and a manifest as an older version wrote it: all in one.
    async fn new() -> Self {
        let store: Arc<InMemory> = Arc::default();
        let hot: Store = store.clone();
        mark(&hot).await;
        let at = Utc::now() - TimeDelta::days(9);
        let stamp = Stamp {
            run_id: FileId::NIL,
            commit_id: FileId(Ulid::from_parts(1, 1)),
            at,
        };
        let mut head = Manifest::first(tenant(), stamp);
        let at = Micros::from_datetime(at);
        for n in 0..FOLDERS * EACH {
            let id = FileId(Ulid::from_parts(1_700_000_000_000, n as u128));
            let key = snapshot_key(&Place::Folder(folder(n % FOLDERS)), &tenant(), at, at, id);
            let size = TARGET / 4 * 3;
            put(&hot, &key, vec![0; usize::try_from(size).unwrap()]).await;
            let meta = store.head(&Path::from(key.as_str())).await.unwrap();
            head.snapshots.push(Snapshot {
                key,
                id,
                size,
                etag: meta.e_tag,
                schema: None,
                dated_by: Some("timestamp".into()),
                stats: RowStats {
                    rows: 10,
                    min: Some(at),
                    max: Some(at),
                    ..RowStats::default()
                },
            });
        }
        head.totals = Totals {
            rows_ingested: (FOLDERS * EACH * 10) as u64,
            ..Totals::default()
        };
        let key = names::manifest_key(&tenant(), 1);
        put(&hot, &key, serde_json::to_vec(&head).unwrap()).await;
        Self {
            store,
            config: CompactionConfig {
                target_file_size: TARGET,
                min_files_to_compact: 2,
                orphan_grace: std::time::Duration::ZERO,
                ..CompactionConfig::default()
            },
            observed: true,
            files: 0,
        }
    }

    fn hot(&self) -> Store {
        self.store.clone()
    }

    async fn arrive(&mut self, n: usize) {
        for _ in 0..3 {
            self.files += 1;
            let key = format!("{}/events-{:04}.parquet", folder(n), self.files);
            let end = Utc::now() - TimeDelta::hours(1);
            let events = series(10 * self.files, 10, end, TimeDelta::seconds(1));
            put_events(&self.hot(), &key, &events).await;
        }
    }

    async fn pass(&self) -> (RunReport, Log) {
        let recorder = Recorder::over(&self.store);
        let manager = CompactionManager::new(recorder.store(), self.config.clone());
        let all = Selection::all();
        let report = if self.observed {
            manager.run_observed(&all).await.unwrap().report
        } else {
            manager.run_pass(&all).await.unwrap()
        };
        (report, recorder.log())
    }

    async fn done(&self) -> (RunReport, Log) {
        let (report, log) = self.pass().await;
        assert_eq!(report.totals.error, None);
        assert!(report.totals.counters.ledger.balances());
        (report, log)
    }

    async fn bare(&self) -> Manifest {
        let head = discover::bare_head(self.store.as_ref(), &tenant(), 0).await;
        head.unwrap().unwrap()
    }

    async fn pages(&self) -> BTreeSet<String> {
        let all = keys(&self.hot()).await;
        let pages = all
            .into_iter()
            .filter(|k| k.starts_with("_icepack/acme/pages/"));
        pages.collect()
    }

    /// The page that holds a folder.
    async fn page_of(&self, n: usize) -> String {
        let head = self.bare().await;
        let at = head.pages.place(&folder(n)).unwrap();
        names::page_key(&tenant(), head.pages.all()[at].id)
    }

    /// All that there is but the records of runs.
    async fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for key in keys(&self.hot()).await {
            if !key.starts_with("_icepack/runs/") {
                found.insert(key.clone(), get(&self.hot(), &key).await.to_vec());
            }
        }
        found
    }
}

fn of_pages(log: &Log, kind: Kind) -> Vec<String> {
    let found = log.of(kind, "_icepack/acme/pages");
    found.map(|r| r.key.clone()).collect()
}

#[tokio::test]
async fn a_pass_reads_and_writes_the_pages_of_the_folders_that_have_work() {
    let mut lab = Lab::new().await;
    lab.arrive(7).await;
    lab.done().await;
    let head = lab.bare().await;
    assert_eq!((head.format, head.min_reader), (5, 5));
    let pages = head.pages.all().len();
    assert!((6..=10).contains(&pages), "{pages} pages");
    assert_eq!(head.live_rows(), (FOLDERS * EACH * 10 + 30) as u64);
    let stored = get(&lab.hot(), &names::manifest_key(&tenant(), head.version)).await;
    assert!(stored.len() < 500 * pages, "{} bytes", stored.len());

    // Nothing to do: head, and none of its pages.
    let (report, log) = lab.done().await;
    assert_eq!(report.totals.status, Status::Idle);
    assert_eq!(of_pages(&log, Kind::Get), [""; 0]);
    assert_eq!(log.count(Kind::Get, "_icepack/acme"), 1);
    assert_eq!(
        log.count(Kind::List, "_icepack/acme") + log.count(Kind::Page, "_icepack/acme"),
        1
    );

    lab.arrive(100).await;
    lab.arrive(300).await;
    let touched = BTreeSet::from([lab.page_of(100).await, lab.page_of(300).await]);
    let before = lab.bare().await;
    let (report, log) = lab.done().await;
    assert_eq!(report.totals.counters.files_written, 2);
    let read: BTreeSet<String> = of_pages(&log, Kind::Get).into_iter().collect();
    let named = |key: &String| {
        let id = names::parse_page_key(&tenant(), key);
        before.pages.all().iter().any(|p| Some(p.id) == id)
    };
    assert_eq!(
        read.into_iter().filter(named).collect::<BTreeSet<_>>(),
        touched
    );
    let written = of_pages(&log, Kind::Put).len();
    assert_eq!(
        written, 4,
        "two for the merges, two for what is gone after it"
    );
    // Every row is where it was, as a reader finds it who reads all.
    let whole = discover::head(lab.store.as_ref(), &tenant(), 0)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(whole.snapshots.len(), FOLDERS * EACH + 3);
    assert!(whole.retired.is_empty());
    let (report, _) = lab.done().await;
    assert_eq!(report.totals.status, Status::Idle);
}

/// The first commit to a manifest that an older version wrote makes its pages, and keeps all of it.
#[tokio::test]
async fn an_older_manifest_gets_pages_and_loses_nothing() {
    let mut lab = Lab::new().await;
    let old = discover::head(lab.store.as_ref(), &tenant(), 0)
        .await
        .unwrap()
        .unwrap();
    lab.arrive(7).await;
    lab.done().await;
    let new = discover::head(lab.store.as_ref(), &tenant(), 0)
        .await
        .unwrap()
        .unwrap();
    let keys =
        |m: &Manifest| -> BTreeSet<String> { m.snapshots.iter().map(|s| s.key.clone()).collect() };
    assert!(keys(&old).is_subset(&keys(&new)));
    assert_eq!(new.snapshots.len(), old.snapshots.len() + 1);
    assert!(
        new.swept_name(&format!("{}/events-0001.parquet", folder(7)))
            .is_some()
    );
}

#[tokio::test]
async fn a_file_that_comes_again_is_remembered_in_its_page() {
    let mut lab = Lab::new().await;
    lab.arrive(7).await;
    lab.done().await;
    lab.files = 0;
    lab.arrive(7).await;
    let (report, _) = lab.pass().await;
    assert_eq!(report.totals.counters.ledger.rows_in, 0, "{report:?}");
    assert_eq!(report.tenants[0].set_aside.len(), 3, "{report:?}");
    assert_eq!(
        lab.bare().await.live_rows(),
        (FOLDERS * EACH * 10 + 30) as u64
    );
}

/// A look that keeps few files does not hold those of a page either until the listing ends.
#[tokio::test]
async fn pages_are_read_while_a_long_listing_comes() {
    let mut lab = Lab::new().await;
    lab.arrive(7).await;
    lab.done().await;
    lab.observed = false;
    lab.config.files_at_once = 1;
    lab.arrive(8).await;
    let wanted = lab.page_of(8).await;
    let (report, log) = lab.done().await;
    assert_eq!(report.totals.status, Status::Idle, "one file is no merge");
    assert_eq!(report.found.unwrap().raw_files, 3);
    assert_eq!(of_pages(&log, Kind::Get), [wanted]);
    let read = log
        .all()
        .iter()
        .position(|r| r.key.starts_with("_icepack/acme/pages/"));
    let page = log.all().iter().rposition(|r| r.key == "acme");
    assert!(read < page, "{read:?} and {page:?}");
}

/// More new files than a look keeps, in folders of many pages: all of them are merged in one pass,
/// and nothing of the others is touched.
#[tokio::test]
async fn a_tenant_with_pages_is_done_in_rounds() {
    let mut lab = Lab::new().await;
    lab.arrive(7).await;
    lab.done().await;
    lab.observed = false;
    lab.config.files_at_once = 15;
    let busy: Vec<usize> = (0..FOLDERS).step_by(20).collect();
    for n in &busy {
        lab.arrive(*n).await;
    }
    let (report, _) = lab.done().await;
    let counters = &report.totals.counters;
    assert_eq!(counters.files_compacted, 3 * busy.len() as u64);
    assert_eq!(counters.files_deleted, 3 * busy.len() as u64);
    assert_eq!(counters.files_written, busy.len() as u64);
    assert_eq!(report.found.unwrap().raw_files, 3 * busy.len() as u64);
    let whole = discover::head(lab.store.as_ref(), &tenant(), 0).await;
    let whole = whole.unwrap().unwrap();
    assert_eq!(whole.snapshots.len(), FOLDERS * EACH + 1 + busy.len());
    assert!(whole.retired.is_empty());
    let names = keys(&lab.hot()).await;
    for s in &whole.snapshots {
        assert!(names.contains(&s.key), "`{}` is gone", s.key);
    }
    let (report, _) = lab.done().await;
    assert_eq!(report.totals.status, Status::Idle);
}

/// Pages that head does not name go once they are below the floor, and no other.
#[tokio::test]
async fn pages_that_nobody_names_are_collected() {
    let mut lab = Lab::new().await;
    lab.config.page_sizes = PageSizes {
        unnamed: 2,
        ..PageSizes::default()
    };
    for n in 0..6 {
        lab.arrive(7 + n).await;
        lab.done().await;
        let named = lab.bare().await.pages.all().len();
        let there = lab.pages().await;
        for n in 0..FOLDERS {
            assert!(there.contains(&lab.page_of(n).await));
        }
        assert!(
            there.len() <= named + 2 + named / 4 + 4,
            "{} of {named}",
            there.len()
        );
    }
}

/// A page that is lost or damaged ends everything for the tenant, once it is needed.
#[tokio::test]
async fn a_page_that_is_not_there_refuses_the_tenant() {
    type Harm = fn(Vec<u8>) -> Option<Vec<u8>>;
    let harms: [(&str, Harm, &str); 3] = [
        (
            "lost",
            |_| None,
            "names pages in `_icepack/acme/pages` that are not there",
        ),
        (
            "cut",
            |body| Some(body[..body.len() / 2].to_vec()),
            "cannot be decompressed",
        ),
        (
            "another",
            |body| {
                let text = zstd::decode_all(body.as_slice()).unwrap();
                let text =
                    String::from_utf8(text)
                        .unwrap()
                        .replacen("\"rows\":10", "\"rows\":11", 1);
                Some(zstd::encode_all(text.as_bytes(), 1).unwrap())
            },
            "its hash is another",
        ),
    ];
    // Pages are read after the listing, and while it comes.
    let cases = harms
        .into_iter()
        .flat_map(|harm| [(harm, true), (harm, false)]);
    for ((name, harm, why), observed) in cases {
        let mut lab = Lab::new().await;
        lab.arrive(7).await;
        lab.done().await;
        let key = lab.page_of(300).await;
        let body = get(&lab.hot(), &key).await.to_vec();
        lab.store.delete(&Path::from(key.as_str())).await.unwrap();
        if let Some(body) = harm(body) {
            put(&lab.hot(), &key, body).await;
        }
        // Where it is not needed, nothing rests on it.
        lab.arrive(7).await;
        lab.done().await;
        lab.observed = observed;
        if !observed {
            lab.config.files_at_once = 1;
        }
        lab.arrive(300).await;
        let before = lab.contents().await;
        let (report, _) = lab.pass().await;
        assert_eq!(report.totals.status, Status::Refused, "{name}");
        let error = report.tenants[0].error.clone().unwrap();
        assert!(error.contains(why), "{name}: {error}");
        assert_eq!(lab.contents().await, before, "{name}");
        let manager = CompactionManager::new(lab.hot(), lab.config.clone());
        let report = manager.verify(&Selection::all(), false).await.unwrap();
        assert!(format!("{report:?}").contains(why), "{name}: {report:?}");
    }
}
