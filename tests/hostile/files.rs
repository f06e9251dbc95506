//! Which files are taken, by their names, their bytes and their age.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use icepack::pass::Selection;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::inputs::{Files, Ignored};
use icepack_core::model::policy::CompactionStrategy;
use icepack_core::model::report::{RunReport, Status};
use icepack_dst::intercept::{InterceptStore, Kind};

use crate::support::{Store, eager, live, memory, put, put_events, sorted, tenant_keys};

use super::*;

const SETTINGS: &str = "files = [\"*\"]\n[compaction]\nstrategy = \"full\"\n";

/// The rows of these files by DuckDB, in one order, as text.
fn rows(files: &[String]) -> String {
    const SCRIPT: &str = "import sys, duckdb\n\
        for row in duckdb.sql('SELECT * FROM read_parquet(' + repr(sys.argv[1:]) + \
        ', union_by_name = true) ORDER BY ALL').fetchall(): print(row)";
    let out = job::python().args(["-c", SCRIPT]).args(files).output();
    let out = out.unwrap();
    assert!(out.status.success(), "{}", job::text(&out.stderr));
    job::text(&out.stdout)
}

fn events(from: usize) -> Vec<u8> {
    let hour_ago = Utc::now() - TimeDelta::hours(1);
    parquet(&batch(&series(from, 20, hour_ago, TimeDelta::seconds(10))))
}

/// Hive, Trino and others give their files no suffix, or another one.
#[test]
fn files_without_a_suffix_are_merged_and_others_beside_them_stay() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("data");
    std::fs::create_dir_all(store.join("acme")).unwrap();
    let parquet = [
        "acme/000000_0",
        "acme/20261128_101112_00001_abcde_0f1e2d3c",
        "acme/y.parq",
        "acme/Z.PARQUET",
        "acme/x.parquet",
    ];
    for (i, key) in parquet.iter().enumerate() {
        std::fs::write(store.join(key), events(i * 20)).unwrap();
    }
    let cut = &events(500)[..1_000];
    let others: [(&str, &[u8]); 6] = [
        ("acme/notes.json", b"{\"rows\": 20, \"of\": \"nobody\"}"),
        ("acme/one-byte", b"x"),
        // It ends as a Parquet file does.
        ("acme/manifest", b"not a Parquet file but PAR1"),
        ("acme/cut", cut),
        ("acme/_SUCCESS", b"-"),
        ("acme/.000000_0.crc", b"crc"),
    ];
    for (key, bytes) in others {
        std::fs::write(store.join(key), bytes).unwrap();
    }
    let config = dir.path().join("icepack.toml");
    std::fs::write(&config, SETTINGS).unwrap();
    let args = |command: &'static str| {
        let (config, store) = (config.display().to_string(), store.display().to_string());
        let command = command.split(' ').map(str::to_owned);
        let mut args = vec!["--config".to_owned(), config];
        args.extend(command);
        args.extend(["--store".to_owned(), store]);
        args
    };
    let untouched = || {
        for (key, bytes) in others {
            assert_eq!(std::fs::read(store.join(key)).unwrap(), bytes, "{key}");
        }
    };
    let before = rows(&parquet.map(|key| store.join(key).display().to_string()));
    assert_eq!(before.lines().count(), 100);

    // Damaged Parquet is reported as it is under any other name.
    let ran = job::json(&[], 3, args("run --json"));
    let acme = &ran["tenants"][0];
    assert_eq!(
        acme["quarantined"],
        serde_json::json!(["acme/cut"]),
        "{ran}"
    );
    assert_eq!(acme["ledger"]["rows_kept"], 100, "{ran}");
    let told = &acme["left_alone"]["ignored"]["other_content"];
    assert_eq!(
        told["names"],
        serde_json::json!(["acme/manifest", "acme/notes.json", "acme/one-byte"])
    );
    untouched();
    assert!(parquet.iter().all(|key| !store.join(key).exists()));
    let live = job::expect(&[], 0, args("ls"));
    let live: Vec<String> = live.lines().map(str::to_owned).collect();
    let snapshots: Vec<String> = live
        .iter()
        .filter(|f| f.ends_with(".parquet"))
        .cloned()
        .collect();
    assert_eq!(rows(&snapshots), before);
    assert_eq!(
        live.iter().filter(|f| !f.ends_with(".parquet")).count(),
        1,
        "the damaged one, whose rows are nowhere else: {live:?}"
    );

    // A copy of a snapshot holds rows that are live already.
    std::fs::copy(&snapshots[0], format!("{}.bak", snapshots[0])).unwrap();
    let plan = job::expect(&[], 0, args("plan"));
    assert!(
        plan.contains("nothing to do")
            && plan.contains("3 not Parquet by their first bytes (`acme/manifest`, ")
            && plan.contains("1 not named as `files` says (`acme/"),
        "{plan}"
    );
    let status = job::expect(&[], 0, args("status"));
    assert!(
        status.contains("3 not Parquet by their first bytes")
            && status.contains("\nquarantined: acme/"),
        "{status}"
    );
    let ran = job::json(&[], 0, args("run --json"));
    assert_eq!(ran["totals"]["status"], "idle", "{ran}");
    job::expect(&[], 0, args("verify --deep"));
    untouched();

    // Once it is a Parquet file, it is one.
    std::fs::write(store.join("acme/notes.json"), events(900)).unwrap();
    let ran = job::json(&[], 0, args("run --json"));
    assert_eq!(ran["tenants"][0]["ledger"]["rows_in"], 120, "{ran}");
    assert!(!store.join("acme/notes.json").exists());

    // Under the default again, what is no input stays, whatever it is.
    std::fs::write(store.join("acme/000000_0"), events(1_000)).unwrap();
    std::fs::write(&config, "").unwrap();
    let plan = job::expect(&[], 0, args("plan"));
    assert!(plan.contains("5 not named as `files` says"), "{plan}");
}

#[test]
fn a_file_that_was_just_written_is_left_alone_and_told() {
    let dir = TempDir::new().unwrap();
    neighbours(dir.path(), "acme");
    let store = dir.path().to_str().unwrap();
    let args = |command: &'static str| [command, "--strategy", "full", "--store", store];
    let init = job::expect(&[], 0, ["init", "--out", "-", "--store", store]);
    assert!(init.contains("\nmin_raw_age = \"10m\"\n"), "{init}");
    let young = [("ICEPACK_COMPACTION_MIN_RAW_AGE", "10m".to_owned())];
    let plan = job::expect(&young, 0, args("plan"));
    assert!(
        plan.contains("nothing to do") && plan.contains("3 written less than 10m ago"),
        "{plan}"
    );
    job::expect(&young, 0, args("run"));
    assert!(dir.path().join("acme/good-0.parquet").exists());
    job::expect(&[], 0, args("run"));
    assert!(!dir.path().join("acme/good-0.parquet").exists());
}

/// GETs by key.
type Gets = Arc<Mutex<BTreeMap<String, usize>>>;

fn counting(inner: &Store) -> (Store, Gets) {
    let gets = Gets::default();
    let counted = Arc::clone(&gets);
    let store = InterceptStore::before(Arc::clone(inner), move |request| {
        if request.kind == Kind::Get {
            let key = request.key.to_string();
            *counted.lock().unwrap().entry(key).or_default() += 1;
        }
        std::future::ready(Ok(()))
    });
    (Arc::new(store), gets)
}

async fn pass(store: &Store) -> RunReport {
    let config = CompactionConfig {
        files: Files::parse(["*"]).unwrap(),
        strategy: CompactionStrategy::FullCompaction,
        ..eager()
    };
    let manager = CompactionManager::new(Arc::clone(store), config);
    manager.run_pass(&Selection::all()).await.unwrap()
}

/// How often each key of the tenant was asked for since the last time.
fn asked(gets: &Gets) -> BTreeMap<String, usize> {
    let mut gets = std::mem::take(&mut *gets.lock().unwrap());
    gets.retain(|key, _| key.starts_with("acme/") && !key.contains("snapshot"));
    gets
}

fn gets<const N: usize>(of: [(&str, usize); N]) -> BTreeMap<String, usize> {
    of.map(|(key, n)| (key.to_owned(), n)).into()
}

#[tokio::test]
async fn each_file_is_asked_once_what_it_is() {
    let inner = memory();
    let (store, log) = counting(&inner);
    let rows = |from| series(from, 5, Utc::now(), TimeDelta::seconds(1));
    put_events(&store, "acme/a", &rows(0)).await;
    put_events(&store, "acme/b.parquet", &rows(5)).await;
    put(&store, "acme/x.json", "{}").await;
    let report = pass(&store).await;
    assert_eq!(report.tenants[0].status, Status::Done);
    let left = &report.tenants[0].left_alone;
    assert_eq!(left.ignored[&Ignored::OtherContent].names, ["acme/x.json"]);
    let wanted = gets([("acme/a", 2), ("acme/b.parquet", 1), ("acme/x.json", 1)]);
    assert_eq!(asked(&log), wanted);

    // Nothing is left to do, and with more to do the one that is known is not asked.
    let before = tenant_keys(&store, "acme").await;
    assert_eq!(pass(&store).await.tenants[0].status, Status::Idle);
    assert_eq!(asked(&log), gets([]));
    assert_eq!(tenant_keys(&store, "acme").await, before);
    put_events(&store, "acme/c", &rows(10)).await;
    pass(&store).await;
    assert_eq!(asked(&log), gets([("acme/c", 2)]));

    // Beside a snapshot alone, it makes no work of it. Another version is asked again.
    put(&store, "acme/x.json", "[]").await;
    let snapshots = |keys: Vec<String>| -> Vec<String> {
        keys.into_iter()
            .filter(|k| k.contains("snapshot"))
            .collect()
    };
    let before = snapshots(tenant_keys(&store, "acme").await);
    let report = pass(&store).await;
    assert_eq!(asked(&log), gets([("acme/x.json", 1)]));
    assert_eq!(report.tenants[0].counters.files_written, 0);
    assert_eq!(snapshots(tenant_keys(&store, "acme").await), before);
    let wanted: Vec<_> = [rows(0), rows(5), rows(10)].concat();
    assert_eq!(
        sorted(live(&store, "acme").await).len(),
        wanted.len(),
        "and nothing is live twice"
    );
}
