//! Manifests and tags that are not what they were: a backup brought back, a store that was copied,
//! files that were moved, touched or written anew. What the manifest says is believed only as far
//! as the store agrees, and no row is lost or doubled.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use icepack::archive::{Archive, ArchiveOptions, ArchiveRequest, ArchiveTarget, BatchStream};
use icepack::pass::Selection;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::manifest::Receipt;
use object_store::local::LocalFileSystem;

use super::*;
use crate::support::{Event, Store, decode, live, sorted};

/// Collects orphans at once.
const AT_ONCE: (&str, &str) = ("ICEPACK_SWEEP_ORPHAN_GRACE", "0s");

/// Originals wait for a week.
const WAITS: (&str, &str) = ("ICEPACK_SWEEP_DELETE_DELAY", "7d");

/// A pass over `store` with these settings; its report. Exit `code`, exactly.
#[track_caller]
fn run(store: &Path, code: i32, envs: &[(&'static str, &str)]) -> Value {
    let envs: Vec<_> = envs.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
    job::json(
        &envs,
        code,
        [
            "run",
            "--json",
            "--strategy",
            "full",
            "--store",
            store.to_str().unwrap(),
        ],
    )
}

/// Three files of twenty rows each, the rows from `first` on.
fn deliver(store: &Path, name: &str, first: usize) -> Vec<Event> {
    let mut all = Vec::new();
    std::fs::create_dir_all(store.join("acme")).unwrap();
    for i in 0..3 {
        let events = series(
            first + i * 20,
            20,
            Utc::now() - TimeDelta::hours(1),
            TimeDelta::seconds(10),
        );
        std::fs::write(
            store.join(format!("acme/{name}-{i}.parquet")),
            parquet(&batch(&events)),
        )
        .unwrap();
        all.extend(events);
    }
    all
}

/// The files below `dir`, but for the records of passes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(dir: &Path, root: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for path in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
            if path.is_dir() {
                walk(&path, root, found);
            } else if !path.starts_with(root.join("_icepack/runs")) {
                found.insert(
                    path.strip_prefix(root).unwrap().to_owned(),
                    std::fs::read(&path).unwrap(),
                );
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(dir, dir, &mut found);
    found
}

/// The Parquet files of tenant acme.
fn data(store: &Path) -> Vec<String> {
    let names = files(store)
        .into_keys()
        .map(|p| p.to_str().unwrap().to_owned());
    names
        .filter(|name| name.starts_with("acme/") && name.ends_with(".parquet"))
        .collect()
}

fn is_snapshot(name: &str) -> bool {
    name.contains("/snapshot.")
}

/// As `cp -a` does: the times stay, the inodes do not.
fn copy(from: &Path, to: &Path) {
    for (name, bytes) in files(from) {
        std::fs::create_dir_all(to.join(&name).parent().unwrap()).unwrap();
        std::fs::write(to.join(&name), bytes).unwrap();
        let times = std::fs::metadata(from.join(&name))
            .unwrap()
            .modified()
            .unwrap();
        std::fs::File::options()
            .write(true)
            .open(to.join(&name))
            .unwrap()
            .set_modified(times)
            .unwrap();
    }
}

async fn rows(store: &Path) -> Vec<Event> {
    let store: Store = Arc::new(LocalFileSystem::new_with_prefix(store).unwrap());
    live(&store, "acme").await
}

fn error(report: &Value) -> String {
    report["tenants"][0]["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn verify(store: &Path, code: i32) -> Vec<Value> {
    let report = job::json(
        &[],
        code,
        ["verify", "--json", "--store", store.to_str().unwrap()],
    );
    report["findings"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_older_manifest_that_is_brought_back_deletes_nothing() {
    let dir = TempDir::new().unwrap();
    let (store, backup) = (dir.path().join("store"), dir.path().join("backup"));
    let mut all = deliver(&store, "first", 0);
    run(&store, 0, &[AT_ONCE]);
    copy(&store.join("_icepack"), &backup);
    for (name, first) in [("second", 60), ("third", 120)] {
        all.extend(deliver(&store, name, first));
        run(&store, 0, &[AT_ONCE]);
    }
    assert_eq!(rows(&store).await, sorted(all.clone()));
    // Lost, and brought back as it was two passes ago.
    let newest = dir.path().join("newest");
    std::fs::rename(store.join("_icepack"), &newest).unwrap();
    copy(&backup, &store.join("_icepack"));

    let before = files(&store);
    for _ in 0..2 {
        let report = run(&store, 5, &[AT_ONCE]);
        let said = error(&report);
        assert!(
            said.contains("1 snapshot that is not in the store")
                && said.contains("older than the data"),
            "{said}"
        );
        assert_eq!(files(&store), before, "nothing is changed");
    }
    let found = verify(&store, 1);
    let mends: Vec<_> = found
        .iter()
        .map(|f| {
            (
                f["kind"].as_str().unwrap(),
                f["severity"].as_str().unwrap(),
                f["mend"].as_str().unwrap(),
            )
        })
        .collect();
    let [("missing", "broken", _), ("orphan", "warning", mend)] = mends.as_slice() else {
        panic!("{mends:#?}")
    };
    assert!(
        !mend.contains("nothing") && mend.contains("do not delete it"),
        "{mend}"
    );

    // The way on where there is no newer one: what holds the rows becomes a raw file, and the
    // tenant begins anew.
    let anew = dir.path().join("anew");
    copy(&store, &anew);
    std::fs::rename(anew.join("_icepack/acme"), anew.join("_old")).unwrap();
    let [snapshot] = data(&anew).try_into().unwrap();
    std::fs::rename(anew.join(snapshot), anew.join("acme/found.parquet")).unwrap();
    run(&anew, 0, &[AT_ONCE]);
    assert_eq!(rows(&anew).await, sorted(all.clone()));

    // Else: the newest manifest.
    std::fs::remove_dir_all(store.join("_icepack")).unwrap();
    std::fs::rename(&newest, store.join("_icepack")).unwrap();
    run(&store, 0, &[AT_ONCE]);
    assert_eq!(rows(&store).await, sorted(all));
}

/// The same one pass ago: each snapshot that the older manifest names is still there, so that only
/// the order of things tells.
#[tokio::test]
async fn an_older_manifest_whose_snapshots_are_all_there_deletes_nothing() {
    let dir = TempDir::new().unwrap();
    let store = dir.path();
    let mut all = deliver(store, "first", 0);
    run(store, 0, &[AT_ONCE]);
    let (older, newest) = (
        store.join("_icepack/acme/manifest/00000000000000000001.json"),
        store.join("_icepack/acme/manifest"),
    );
    all.sort();
    assert_eq!(rows(store).await, all);
    let first = std::fs::read(&older).unwrap();
    let kept = files(&newest);
    std::fs::remove_dir_all(&newest).unwrap();
    std::fs::create_dir_all(&newest).unwrap();
    // A day later the older manifest is brought back.
    let [snapshot] = data(store).try_into().unwrap();
    let yesterday = std::time::SystemTime::now() - Duration::from_secs(86_400);
    std::fs::File::options()
        .write(true)
        .open(store.join(&snapshot))
        .unwrap()
        .set_modified(yesterday)
        .unwrap();
    std::fs::write(&older, first).unwrap();

    let before = files(store);
    let said = error(&run(store, 5, &[AT_ONCE]));
    assert!(
        said.contains(&snapshot) && said.contains("an older manifest that was brought back"),
        "{said}"
    );
    assert_eq!(files(store), before, "nothing is changed");

    // Touched, the snapshot has another tag than it was written with, and its rows are what counts.
    for (name, bytes) in kept {
        std::fs::write(newest.join(name), bytes).unwrap();
    }
    run(store, 0, &[AT_ONCE]);
    assert_eq!(rows(store).await, all);
}

#[tokio::test]
async fn a_snapshot_that_was_moved_within_its_tenant_is_not_deleted() {
    let dir = TempDir::new().unwrap();
    let store = dir.path();
    let all = deliver(store, "first", 0);
    run(store, 0, &[AT_ONCE]);
    let [snapshot] = data(store).try_into().unwrap();
    let moved = store
        .join("acme/elsewhere")
        .join(Path::new(&snapshot).file_name().unwrap());
    std::fs::create_dir_all(moved.parent().unwrap()).unwrap();
    std::fs::rename(store.join(&snapshot), &moved).unwrap();

    let before = files(store);
    let said = error(&run(store, 5, &[AT_ONCE]));
    assert!(said.contains(&snapshot) && said.contains("moved"), "{said}");
    assert_eq!(files(store), before, "nothing is changed");

    std::fs::rename(&moved, store.join(&snapshot)).unwrap();
    run(store, 0, &[AT_ONCE]);
    assert_eq!(rows(store).await, sorted(all.clone()));
    // A copy of it beside it is somebody's, not ours to delete.
    std::fs::copy(store.join(&snapshot), &moved).unwrap();
    run(store, 0, &[AT_ONCE]);
    assert!(moved.exists());
    assert_eq!(rows(store).await, sorted(all));
    let [found] = verify(store, 0).try_into().unwrap();
    assert_eq!(
        (found["kind"].as_str(), found["severity"].as_str()),
        (Some("orphan"), Some("warning")),
        "{found}"
    );
}

/// Every file of the copy has another tag: originals that wait to be deleted must not become new
/// files by that.
#[tokio::test]
async fn a_store_that_is_copied_while_originals_wait_doubles_no_row() {
    let dir = TempDir::new().unwrap();
    let (store, other) = (dir.path().join("store"), dir.path().join("other"));
    let all = deliver(&store, "first", 0);
    run(&store, 0, &[AT_ONCE, WAITS]);
    assert_eq!(
        data(&store).len(),
        4,
        "a snapshot, and three originals that wait"
    );
    copy(&store, &other);
    assert_eq!(rows(&other).await, sorted(all.clone()), "as it was copied");
    for _ in 0..2 {
        run(&other, 0, &[AT_ONCE, WAITS]);
        assert_eq!(rows(&other).await, sorted(all.clone()));
        assert_eq!(data(&other).len(), 4, "they go on waiting");
    }
    // Proved to be what was retired, they go once their time has come.
    run(&other, 0, &[AT_ONCE]);
    assert_eq!(rows(&other).await, sorted(all));
    assert!(
        matches!(data(&other).as_slice(), [one] if is_snapshot(one)),
        "{:?}",
        data(&other)
    );
    assert_eq!(run(&other, 0, &[AT_ONCE])["totals"]["status"], "idle");
    assert_eq!(head(&other)["retired"], serde_json::json!([]));
}

/// The same without ids, so that no merge could drop what is doubled.
#[tokio::test]
async fn originals_without_ids_that_are_touched_while_they_wait_double_no_row() {
    let dir = TempDir::new().unwrap();
    let store = dir.path();
    std::fs::create_dir_all(store.join("acme")).unwrap();
    for i in 0..3 {
        let mut rows = batch(&series(
            i * 20,
            20,
            Utc::now() - TimeDelta::hours(1),
            TimeDelta::seconds(10),
        ));
        rows.remove_column(0);
        std::fs::write(
            store.join(format!("acme/plain-{i}.parquet")),
            parquet(&rows),
        )
        .unwrap();
    }
    run(store, 0, &[AT_ONCE, WAITS]);
    let originals: Vec<_> = data(store)
        .into_iter()
        .filter(|name| !is_snapshot(name))
        .collect();
    assert_eq!(originals.len(), 3);
    for name in &originals {
        let file = std::fs::File::options()
            .write(true)
            .open(store.join(name))
            .unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(3_600))
            .unwrap();
    }
    let totals = |report: &Value| report["totals"]["ledger"]["rows_in"].as_u64();
    assert_eq!(
        totals(&run(store, 0, &[AT_ONCE, WAITS])),
        Some(0),
        "nothing is taken in again"
    );
    assert_eq!(totals(&run(store, 0, &[AT_ONCE])), Some(0));
    let [snapshot] = data(store).try_into().unwrap();
    let kept: usize = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
        bytes::Bytes::from(std::fs::read(store.join(snapshot)).unwrap()),
    )
    .unwrap()
    .build()
    .unwrap()
    .map(|b| b.unwrap().num_rows())
    .sum();
    assert_eq!(kept, 60);
}

/// The newest manifest of acme.
fn head(store: &Path) -> Value {
    let mut versions: Vec<_> = std::fs::read_dir(store.join("_icepack/acme/manifest"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    versions.sort();
    serde_json::from_slice(&std::fs::read(versions.last().unwrap()).unwrap()).unwrap()
}

/// A snapshot of a copied store has another tag than its manifest says. Where it expires as a
/// whole, not a byte of it is read before.
#[tokio::test]
async fn a_snapshot_of_a_copied_store_that_expires_is_deleted() {
    let dir = TempDir::new().unwrap();
    let (store, other) = (dir.path().join("store"), dir.path().join("other"));
    deliver(&store, "first", 0);
    run(&store, 0, &[AT_ONCE]);
    copy(&store, &other);
    let expires = [
        AT_ONCE,
        ("ICEPACK_RETENTION_DEFAULT_TTL", "1s"),
        ("ICEPACK_RETENTION_ALLOW_SHORT_TTL", "true"),
        ("ICEPACK_RETENTION_SLACK", "0s"),
    ];
    let report = run(&other, 0, &expires);
    assert_eq!(report["totals"]["ledger"]["rows_expired"], 60, "{report}");
    assert_eq!(data(&other), Vec::<String>::new());
    assert_eq!(head(&other)["retired"], serde_json::json!([]));
}

/// A name is written once. Whoever writes it again while the first file waits to be deleted has
/// written something that nobody can place: it is neither taken in nor deleted.
#[tokio::test]
async fn other_rows_under_a_retired_name_are_set_aside_and_said() {
    let dir = TempDir::new().unwrap();
    let store = dir.path();
    let all = deliver(store, "data", 0);
    run(store, 0, &[AT_ONCE, WAITS]);
    let (again, body) = (
        store.join("acme/data-1.parquet"),
        parquet(&batch(&series(500, 20, Utc::now(), TimeDelta::seconds(1)))),
    );
    std::fs::write(&again, &body).unwrap();

    // Said once, by the pass that met it.
    let report = run(store, 3, &[AT_ONCE]);
    let acme = &report["tenants"][0];
    let [aside] = acme["set_aside"].as_array().unwrap().as_slice() else {
        panic!("{acme}")
    };
    let aside = aside.as_str().unwrap();
    assert!(
        aside.starts_with("acme/data-1.parquet") && aside.matches("ETag").count() == 2,
        "both sides are named: {aside}"
    );
    assert_eq!(std::fs::read(&again).unwrap(), body);
    assert_eq!(rows(store).await, sorted(all.clone()), "it is not live");
    for _ in 0..2 {
        assert_eq!(run(store, 0, &[AT_ONCE])["totals"]["status"], "idle");
    }
    assert_eq!(std::fs::read(&again).unwrap(), body);
    let plan = job::expect(
        &[],
        0,
        ["plan", "--explain", "--store", store.to_str().unwrap()],
    );
    assert!(plan.contains("a file of this name was compacted"), "{plan}");
    let status = job::expect(&[], 0, ["status", "--store", store.to_str().unwrap()]);
    assert!(
        status.contains("\nset aside: acme/data-1.parquet (since ")
            && status.contains("\n  to do: give it another name"),
        "{status}"
    );
    let [found] = verify(store, 0).try_into().unwrap();
    assert_eq!(
        (
            found["kind"].as_str(),
            found["severity"].as_str(),
            found["key"].as_str()
        ),
        (
            Some("set_aside"),
            Some("warning"),
            Some("acme/data-1.parquet")
        )
    );

    // Under a name of its own it is a file like any other, and the old name is free again.
    std::fs::rename(&again, store.join("acme/late.parquet")).unwrap();
    run(store, 0, &[AT_ONCE]);
    let late = decode(bytes::Bytes::from(body));
    assert_eq!(rows(store).await, sorted([all, late].concat()));
    assert_eq!(head(store)["retired"], serde_json::json!([]));
    assert!(
        matches!(data(store).as_slice(), [one] if is_snapshot(one)),
        "{:?}",
        data(store)
    );
}

/// Not even what was seen to be gone makes room for a new file of its name by itself: only a setting
/// does.
#[tokio::test]
async fn a_name_that_was_seen_gone_is_used_again_where_that_is_asked_for() {
    let dir = TempDir::new().unwrap();
    let store = dir.path();
    let mut all = deliver(store, "data", 0);
    run(store, 0, &[AT_ONCE]);
    let later = deliver(store, "data", 60);
    assert_eq!(rows(store).await, sorted(all.clone()));
    let found = verify(store, 0);
    let notes = found.iter().filter(|f| f["severity"] == "note");
    assert_eq!(notes.count(), 3, "{found:?}");
    let plan = job::expect(
        &[],
        0,
        ["plan", "--explain", "--store", store.to_str().unwrap()],
    );
    assert!(plan.contains("compares its rows with this one's"), "{plan}");
    let report = run(store, 3, &[AT_ONCE]);
    let aside = report["tenants"][0]["set_aside"].as_array().unwrap();
    assert_eq!(aside.len(), 3, "{report}");
    assert_eq!(run(store, 0, &[AT_ONCE])["totals"]["status"], "idle");
    let status = job::expect(&[], 0, ["status", "--store", store.to_str().unwrap()]);
    assert_eq!(status.matches("\nset aside: acme/").count(), 3, "{status}");
    let found = verify(store, 0);
    let warnings = found.iter().filter(|f| f["severity"] == "warning");
    assert_eq!(warnings.count(), 3, "{found:?}");
    assert_eq!(rows(store).await, sorted(all.clone()));

    let append = ("ICEPACK_COMPACTION_REWRITTEN", "append");
    let report = run(store, 0, &[AT_ONCE, append]);
    assert_eq!(report["totals"]["files_appended"], 3, "{report}");
    all.extend(later);
    assert_eq!(rows(store).await, sorted(all.clone()));
    run(store, 0, &[AT_ONCE]);
    assert_eq!(rows(store).await, sorted(all));
    assert!(
        matches!(data(store).as_slice(), [one] if is_snapshot(one)),
        "{:?}",
        data(store)
    );
}

/// What an older icepack retired has no fingerprint: there is nothing to compare with, so a file
/// with another tag stays.
#[tokio::test]
async fn a_retired_file_of_which_nothing_is_known_stays_under_another_tag() {
    let dir = TempDir::new().unwrap();
    let store = dir.path();
    let all = deliver(store, "data", 0);
    run(store, 0, &[AT_ONCE, WAITS]);
    let mut old = head(store);
    for entry in old["retired"].as_array_mut().unwrap() {
        entry.as_object_mut().unwrap().remove("fingerprint");
    }
    (old["format"], old["min_reader"]) = (1.into(), 1.into());
    let key = format!(
        "_icepack/acme/manifest/{:020}.json",
        old["version"].as_u64().unwrap()
    );
    std::fs::write(store.join(key), serde_json::to_vec(&old).unwrap()).unwrap();
    let touched = std::fs::File::options()
        .write(true)
        .open(store.join("acme/data-0.parquet"))
        .unwrap();
    touched
        .set_modified(std::time::SystemTime::now() - Duration::from_secs(3_600))
        .unwrap();

    let report = run(store, 3, &[AT_ONCE]);
    assert_eq!(
        report["tenants"][0]["set_aside"].as_array().unwrap().len(),
        1,
        "{report}"
    );
    assert_eq!(rows(store).await, sorted(all));
    let left: Vec<_> = data(store)
        .into_iter()
        .filter(|name| !is_snapshot(name))
        .collect();
    assert_eq!(
        left,
        ["acme/data-0.parquet"],
        "the others show the tags that were retired, and go"
    );
    assert_eq!(
        (
            head(store)["format"].as_u64(),
            head(store)["min_reader"].as_u64()
        ),
        (Some(5), Some(4))
    );
}

/// An archive that is called in the middle of the merge, and then has a writer write a file over.
#[derive(Debug)]
struct Overwriter {
    archive: Archive,
    file: PathBuf,
    body: std::sync::Mutex<Option<Vec<u8>>>,
}

#[async_trait]
impl ArchiveTarget for Overwriter {
    fn description(&self) -> String {
        "a writer who writes over".into()
    }

    async fn archive(
        &self,
        request: ArchiveRequest,
        rows: BatchStream,
    ) -> icepack::Result<Receipt> {
        if let Some(body) = self.body.lock().unwrap().take() {
            std::fs::write(&self.file, body).unwrap();
        }
        self.archive.archive(request, rows).await
    }

    async fn file_receipt(&self, receipt: &Receipt) -> icepack::Result<()> {
        self.archive.file_receipt(receipt).await
    }
}

/// What was read of a file that is written over meanwhile is not what lies there: it must not be
/// committed as if it were.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_over_while_it_is_merged_is_read_again() {
    let dir = TempDir::new().unwrap();
    let store = dir.path();
    let mut kept = deliver(store, "data", 0);
    kept.retain(|e| !(20..40).any(|n| e.id == format!("event-{n:06}")));
    std::fs::write(
        store.join("acme/old.parquet"),
        parquet(&batch(&series(
            900,
            5,
            Utc::now() - TimeDelta::days(40),
            TimeDelta::seconds(1),
        ))),
    )
    .unwrap();
    let over = series(
        500,
        20,
        Utc::now() - TimeDelta::hours(1),
        TimeDelta::seconds(10),
    );
    kept.extend(over.clone());
    let cold = support::memory();
    let archive = Overwriter {
        archive: Archive::new(
            Arc::clone(&cold),
            "memory://cold",
            ArchiveOptions::default(),
        ),
        file: store.join("acme/data-1.parquet"),
        body: std::sync::Mutex::new(Some(parquet(&batch(&over)))),
    };
    let mut config = CompactionConfig {
        archive: Some(Arc::new(archive)),
        archive_min_object_size: 0,
        orphan_grace: Duration::ZERO,
        ..CompactionConfig::default()
    };
    config
        .retention
        .set("acme", Some(Duration::from_secs(30 * 86_400)));
    let hot: Store = Arc::new(LocalFileSystem::new_with_prefix(store).unwrap());
    let manager = CompactionManager::new(Arc::clone(&hot), config).with_directory(store);
    for _ in 0..4 {
        // Files of a pass that was overtaken wait for the next, and may be too few for it then.
        manager.run_pass(&Selection::all()).await.unwrap();
    }
    let live: Vec<Event> = live(&hot, "acme")
        .await
        .into_iter()
        .filter(|e| !e.id.starts_with("event-0009"))
        .collect();
    assert_eq!(live, sorted(kept));
}
