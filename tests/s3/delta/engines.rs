//! Engines that nobody here wrote, on tables that passes work on.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, RecordBatch, StringArray, TimestampMillisecondArray, TimestampNanosecondArray,
    UInt64Array,
};
use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use object_store::local::LocalFileSystem;
use serde_json::Value;

use crate::loops::{self, FILES, ROWS, TTL, rounds, script};
use crate::support::proxy::{Fate, Proxy};
use crate::support::{self, Store, job, parquet, put, s3, servers};

/// A store with one tenant, the job's way to it, and the readers'.
struct World {
    name: &'static str,
    store: Store,
    table: String,
    envs: Vec<(&'static str, String)>,
    /// Of the job while others read: through a bad network, perhaps.
    pass_envs: Vec<(&'static str, String)>,
    /// Every raw file, for the count.
    copies: tempfile::TempDir,
    cutoff: DateTime<Utc>,
    files: usize,
    ends: std::collections::BTreeMap<String, usize>,
}

fn settings(store: String) -> Vec<(&'static str, String)> {
    vec![
        ("ICEPACK_STORE", store),
        ("ICEPACK_RETENTION_DEFAULT_TTL", "30d".into()),
        ("ICEPACK_RETENTION_SLACK", "0s".into()),
        ("ICEPACK_SWEEP_ORPHAN_GRACE", "0s".into()),
        ("ICEPACK_PUBLISH_DELTA", "true".into()),
        ("ICEPACK_PUBLISH_KEEP", "6d".into()),
    ]
}

impl World {
    fn new(name: &'static str, store: Store, url: &str, envs: Vec<(&'static str, String)>) -> Self {
        let (copies, cutoff) = (tempfile::tempdir().unwrap(), Utc::now() - TTL);
        let table = format!("{url}/acme");
        Self {
            name,
            store,
            table,
            pass_envs: envs.clone(),
            envs,
            copies,
            cutoff,
            files: 0,
            ends: std::collections::BTreeMap::new(),
        }
    }

    /// A file with rows to keep and, now and then, rows that are past their time.
    async fn ingest(&mut self, rng: &mut Rng) {
        let rows = loops::rows(rng, self.cutoff, self.files);
        let body = parquet(&support::batch(&rows));
        std::fs::write(
            self.copies
                .path()
                .join(format!("{:06}.parquet", self.files)),
            &body,
        )
        .unwrap();
        put(
            &self.store,
            &format!("acme/2026-01/events-{:06}.parquet", self.files),
            body,
        )
        .await;
        self.files += 1;
    }

    fn start(&self) -> Child {
        job::icepack(&self.pass_envs)
            .arg("run")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn reader(&self) -> Command {
        let mut command = job::python();
        command.arg(script("read_table.py")).args([
            "--table",
            &self.table,
            "--cutoff",
            &self.cutoff.timestamp_micros().to_string(),
        ]);
        command.arg("--copies").arg(self.copies.path()).args([
            "--live",
            env!("CARGO_BIN_EXE_icepack"),
            "ls",
        ]);
        command
            .envs(self.envs.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // It runs `icepack ls`, which takes it for a setting.
        command.env_remove("ICEPACK_DELTA_ROUNDS");
        command
    }

    /// Rounds of new files and two passes at once, each of which may be killed at any moment, while
    /// somebody reads. Then a pass that nobody disturbs, and the count.
    async fn run(&mut self, rng: &mut Rng, may_fail: bool) -> Value {
        let began = Instant::now();
        // What a pass takes here: kills are spread over that and somewhat more.
        self.ingest(rng).await;
        job::expect(&self.envs, 0, ["run"]);
        let whole = began.elapsed().max(Duration::from_millis(300));
        let reader = self.reader().spawn().unwrap();
        for _ in 0..rounds() {
            for _ in 0..FILES {
                self.ingest(rng).await;
            }
            let mut passes = [self.start(), self.start()];
            for pass in &mut passes {
                if rng.u32(0..3) > 0 {
                    tokio::time::sleep(whole.mul_f64(rng.f64())).await;
                    let _ = pass.kill();
                }
                let end = pass.wait().unwrap();
                let may = |code: i32| matches!(code, 0 | 4) || (may_fail && matches!(code, 1 | 3));
                assert!(end.code().is_none_or(may), "{}: {end}", self.name);
                *self
                    .ends
                    .entry(
                        end.code()
                            .map_or("killed".to_owned(), |c| format!("exit {c}")),
                    )
                    .or_default() += 1;
            }
        }
        for _ in 0..2 {
            job::expect(&self.envs, 0, ["run"]);
        }
        let figures = loops::found(reader, self.name);
        println!(
            "{}: {} files of {ROWS} rows, {} rounds of two passes: {:?}; {figures}; {} s",
            self.name,
            self.files,
            rounds(),
            self.ends,
            began.elapsed().as_secs()
        );
        assert!(self.ends.contains_key("killed"), "nobody was killed");
        figures
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_see_each_row_once_while_passes_are_killed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(dir.path()).unwrap()) as Store;
    let url = dir.path().display().to_string();
    World::new("directory", store, &url, settings(url.clone()))
        .run(&mut Rng::with_seed(1), false)
        .await;
}

async fn on_s3(name: &'static str, bad_network: bool) {
    let Some(endpoint) = servers::fastest() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "delta").await;
    let url = format!("s3://{bucket}/events");
    let envs = [s3::environment(&endpoint), settings(url.clone())].concat();
    let mut world = World::new(name, s3::store(&endpoint, &bucket, "events"), &url, envs);
    let mut proxy = None;
    if bad_network {
        let started = Proxy::start(&endpoint, 1).await;
        world
            .pass_envs
            .push(("AWS_ENDPOINT_URL", started.endpoint.clone()));
        proxy = Some(started);
    }
    world.run(&mut Rng::with_seed(2), bad_network).await;
    if let Some(proxy) = proxy {
        let tally = proxy.tally();
        assert!(
            tally.keys().any(|f| *f != Fate::Carried),
            "the bad network was a good one: {tally:?}"
        );
        println!("{name}: requests: {tally:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_they_do_on_s3() {
    on_s3("s3", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_on_a_bad_network() {
    on_s3("s3, bad network", true).await;
}

fn query(table: &str, sql: &str) -> Value {
    let out = job::python()
        .arg(script("query_table.py"))
        .args([table, sql])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", job::text(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Columns as they come: every unit of time, numbers without a sign, names that a URI must escape.
#[tokio::test]
async fn engines_read_the_files_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(dir.path()).unwrap()) as Store;
    let (url, now) = (
        dir.path().display().to_string(),
        Utc::now().timestamp_millis(),
    );
    let file = |time: ArrayRef, n: u64| {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("timestamp", time),
            (
                "event_id",
                Arc::new(StringArray::from(vec![format!("id-{n}")])),
            ),
            ("n", Arc::new(UInt64Array::from(vec![n]))),
        ];
        parquet(&RecordBatch::try_from_iter(columns).unwrap())
    };
    put(
        &store,
        "acme/a b=ü%1+2.parquet",
        file(
            Arc::new(TimestampMillisecondArray::from(vec![now]).with_timezone("UTC")),
            1,
        ),
    )
    .await;
    put(
        &store,
        "acme/n.parquet",
        file(
            Arc::new(
                TimestampNanosecondArray::from(vec![now * 1_000_000 + 1]).with_timezone("UTC"),
            ),
            2,
        ),
    )
    .await;
    let envs = settings(url.clone());
    job::expect(&envs, 0, ["run"]);
    let sql = "SELECT event_id, count(*) AS c FROM events GROUP BY event_id ORDER BY event_id";
    let expected = serde_json::json!([{"event_id": "id-1", "c": 1}, {"event_id": "id-2", "c": 1}]);
    let found = query(&format!("{url}/acme"), sql);
    assert_eq!(
        (&found["delta_rs"], &found["polars"]),
        (&expected, &expected)
    );
    let found = query(
        &format!("{url}/acme"),
        "SELECT sum(n) AS s FROM events WHERE n >= 1 AND event_id < 'id-9'",
    );
    assert_eq!(found["delta_rs"], serde_json::json!([{"s": 3}]));
    // As the documentation says. Once it reads them, it may say so.
    assert!(
        found["polars"]
            .as_str()
            .is_some_and(|e| e.starts_with("SchemaError")),
        "{found}"
    );
}

/// What everybody reads of a tenant whose files lie in `key=value` folders: id and values by
/// reader.
fn partitions(url: &str, keys: &str, envs: &[(&'static str, String)]) -> Value {
    let live = job::json(envs, 0, ["--json", "ls"]);
    let files = live["tenants"][0]["files"].as_array().unwrap();
    let out = job::python()
        .arg(script("read_partitions.py"))
        .args([&format!("{url}/acme"), keys])
        .args(files.iter().map(|f| f["path"].as_str().unwrap()))
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", job::text(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// The table gives the values of folders that DuckDB reads out of paths, before and after files are
/// merged, and from a checkpoint.
#[tokio::test]
async fn engines_read_the_values_of_folders() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(dir.path()).unwrap()) as Store;
    let url = dir.path().display().to_string();
    let folders = [
        ("dt=2026-10-01/h=12%3A30", Some("12:30")),
        ("x/dt=2026-10-01/h=a b ü%C3%BC%2B+", Some("a b üü++")),
        ("dt=2026-10-01/y/h=50%25", Some("50%")),
        ("dt=2026-10-01/h=007", Some("007")),
        ("dt=2026-10-01/h=__HIVE_DEFAULT_PARTITION__", None),
    ];
    let mut expected = Vec::new();
    let (envs, mut merged, mut waiting) = (settings(url.clone()), Vec::new(), Vec::new());
    for (least, envs) in [("2", &mut merged), ("100", &mut waiting)] {
        *envs = settings(url.clone());
        envs.push(("ICEPACK_COMPACTION_MIN_FILES_TO_COMPACT", least.into()));
    }
    let check = |expected: &[Value]| {
        let found = partitions(&url, "dt,h", &envs);
        let mut expected = expected.to_vec();
        expected.sort_by_key(|row| row[0].as_str().unwrap().to_owned());
        for reader in ["folders", "delta_rs", "delta_rs_sql", "polars", "duckdb"] {
            assert_eq!(found[reader], Value::from(expected.clone()), "{reader}");
        }
        let nulls = expected.iter().filter(|row| row[2].is_null());
        let nulls: Vec<Value> = nulls.map(|row| row[0].clone()).collect();
        assert_eq!(found["nulls"], Value::from(nulls));
    };
    for round in 0..10 {
        for (n, (folder, value)) in folders.iter().enumerate() {
            let event = support::event(round * 10 + n, Utc::now());
            expected.push(serde_json::json!([event.id, "2026-10-01", value]));
            let key = format!("acme/{folder}/{round}.parquet");
            support::put_events(&store, &key, &[event]).await;
        }
        job::expect(&waiting, 0, ["run"]);
        if round == 1 {
            check(&expected);
            job::expect(&merged, 0, ["run"]);
            check(&expected);
        }
    }
    let checkpoint = dir.path().join("acme/_delta_log/_last_checkpoint");
    assert!(checkpoint.exists());
    check(&expected);
    job::expect(&merged, 0, ["run"]);
    check(&expected);
    let live = job::json(&envs, 0, ["--json", "ls"]);
    assert_eq!(
        live["tenants"][0]["files"].as_array().unwrap().len(),
        folders.len(),
        "one file in each folder"
    );
}

#[tokio::test]
async fn engines_read_a_shared_table_by_tenant() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(dir.path()).unwrap()) as Store;
    let url = dir.path().display().to_string();
    let tenants = ["acme", "odd name ü+1"];
    for (n, tenant) in tenants.into_iter().enumerate() {
        support::seed(&store, tenant, 3 + n, 10, Utc::now()).await;
        support::put_events(
            &store,
            &format!("{tenant}/late.parquet"),
            &[support::event(9_000, Utc::now())],
        )
        .await;
    }
    let envs = [
        settings(url.clone()),
        vec![("ICEPACK_PUBLISH_LAYOUT", "shared".into())],
    ]
    .concat();
    job::expect(&envs, 0, ["run"]);
    let found = query(
        &url,
        "SELECT tenant, count(*) AS c FROM events GROUP BY tenant ORDER BY tenant",
    );
    let expected =
        serde_json::json!([{"tenant": tenants[0], "c": 31}, {"tenant": tenants[1], "c": 41}]);
    assert_eq!(found["delta_rs"], expected);
    // As the documentation says: it takes a partition's value from the path, not from the log. Once
    // it does better, it may say so.
    assert_eq!(
        found["polars"],
        serde_json::json!([{"tenant": null, "c": 72}])
    );
    let found = query(
        &url,
        "SELECT count(DISTINCT event_id) AS c FROM events WHERE tenant = 'acme'",
    );
    assert_eq!(found["delta_rs"], serde_json::json!([{"c": 31}]));
}

/// Every example of the documentation prints how many rows there are.
async fn recipes(store: &Store, url: &str, envs: &[(&'static str, String)], left_out: &[&str]) {
    let since: DateTime<Utc> = "2026-11-01T00:00:00Z".parse().unwrap();
    let at = |n: usize| {
        Arc::new(
            TimestampMillisecondArray::from(vec![
                (since + TimeDelta::hours(n as i64 - 10)).timestamp_millis(),
            ])
            .with_timezone("UTC"),
        ) as ArrayRef
    };
    for n in 0..30 {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("timestamp", at(n)),
            (
                "event_id",
                Arc::new(StringArray::from(vec![format!("id-{n}")])),
            ),
        ];
        put(
            store,
            &format!("acme/e{n:02}.parquet"),
            parquet(&RecordBatch::try_from_iter(columns).unwrap()),
        )
        .await;
        if n == 25 {
            job::expect(envs, 0, ["run"]);
        }
    }
    // The last are registered, and too few to be compacted.
    job::expect(
        &[
            envs,
            &[("ICEPACK_COMPACTION_MIN_FILES_TO_COMPACT", "100".into())],
        ]
        .concat(),
        0,
        ["run"],
    );
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reading.md");
    let binaries = Path::new(env!("CARGO_BIN_EXE_icepack"))
        .parent()
        .unwrap()
        .display()
        .to_string();
    let path = format!("{binaries}:{}", std::env::var("PATH").unwrap());
    let mut command = job::python();
    command
        .arg(script("run_recipes.py"))
        .arg(page)
        .arg(url)
        .args(left_out)
        .envs(envs.iter().map(|(k, v)| (k, v)))
        .env("PATH", path);
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", job::text(&out.stderr));
    let found: Value = serde_json::from_slice(&out.stdout).unwrap();
    let names = [
        "datafusion view",
        "deltalake table",
        "duckdb table",
        "duckdb view",
        "polars table",
        "polars view",
        "pyarrow view",
    ];
    let expected: serde_json::Map<String, Value> = names
        .iter()
        .filter(|n| !left_out.contains(n))
        .map(|n| ((*n).to_owned(), 20.into()))
        .collect();
    assert_eq!(found, Value::Object(expected));
}

#[tokio::test]
async fn the_examples_of_the_documentation_run_on_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let url = dir.path().display().to_string();
    recipes(
        &(Arc::new(LocalFileSystem::new_with_prefix(dir.path()).unwrap()) as Store),
        &url,
        &settings(url.clone()),
        &[],
    )
    .await;
}

/// DuckDB reads S3 with an extension that it downloads: not here.
#[tokio::test]
async fn and_on_s3() {
    let Some(endpoint) = servers::fastest() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "reading").await;
    let url = format!("s3://{bucket}/events");
    let envs = [
        s3::environment(&endpoint),
        settings(url.clone()),
        vec![("AWS_ALLOW_HTTP", "true".into())],
    ]
    .concat();
    recipes(
        &s3::store(&endpoint, &bucket, "events"),
        &url,
        &envs,
        &["duckdb view"],
    )
    .await;
}

/// A predicate on every type, through every reader, on raw files of all kinds and on what they are
/// merged to.
#[tokio::test]
async fn no_predicate_loses_rows() {
    let dir = tempfile::tempdir().unwrap();
    let url = dir.path().display().to_string();
    let acme = dir.path().join("acme");
    std::fs::create_dir(&acme).unwrap();
    let types = |mode: &str| {
        let mut command = job::python();
        command.arg(script("ask_types.py")).arg(mode).arg(&acme);
        let out = command.output().unwrap();
        assert!(out.status.success(), "{}", job::text(&out.stderr));
        out.stdout
    };
    let envs = |least: &str| {
        let least = ("ICEPACK_COMPACTION_MIN_FILES_TO_COMPACT", least.to_owned());
        [settings(url.clone()), vec![least]].concat()
    };
    types("write");
    job::expect(&envs("100"), 0, ["run"]);
    types("late");
    for least in ["100", "2"] {
        if least == "2" {
            // Without a time it would be set aside.
            std::fs::remove_file(acme.join("5.parquet")).unwrap();
        }
        job::expect(&envs(least), 0, ["run"]);
        let found: Value = serde_json::from_slice(&types("ask")).unwrap();
        println!("{least}: {found}");
        assert_eq!(found["wrong"], serde_json::json!([]), "{found}");
        assert!(found["asked"].as_u64().unwrap() > 250, "{found}");
    }
}

/// What others do to the table beside icepack: to append is allowed; what takes files out would come
/// back with the next pass, or be there twice.
#[tokio::test]
async fn what_others_do_to_the_table_is_noticed() {
    for (what, code) in [
        ("append", 0),
        ("delete", 5),
        ("update", 5),
        ("merge", 5),
        ("optimize", 5),
        ("overwrite", 5),
        ("restore", 5),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(LocalFileSystem::new_with_prefix(dir.path()).unwrap()) as Store;
        let url = dir.path().display().to_string();
        let envs = settings(url.clone());
        support::seed(&store, "acme", 4, 10, Utc::now()).await;
        job::expect(&envs, 0, ["run"]);
        // Two files, so that there is something to optimise.
        support::put_events(
            &store,
            "acme/late.parquet",
            &[support::event(900, Utc::now())],
        )
        .await;
        let waiting = ("ICEPACK_COMPACTION_MIN_FILES_TO_COMPACT", "100".to_owned());
        job::expect(&[envs.clone(), vec![waiting]].concat(), 0, ["run"]);
        let live = || {
            let found = job::json(&envs, 0, ["--json", "ls"]);
            let files = found["tenants"][0]["files"].as_array().unwrap().clone();
            let mut paths: Vec<_> = files.iter().map(|f| f["path"].clone()).collect();
            paths.sort_by_key(ToString::to_string);
            paths
        };
        let (before, all) = (live(), support::keys(&store).await);
        let table = format!("{url}/acme");
        let out = job::python()
            .arg(script("change_table.py"))
            .args([&table, what])
            .output()
            .unwrap();
        assert!(out.status.success(), "{what}: {}", job::text(&out.stderr));
        let found = job::json(&envs, code, ["--json", "run"]);
        if code == 0 {
            let found = query(
                &table,
                "SELECT count(*) AS c, count(DISTINCT event_id) AS d FROM events",
            );
            assert_eq!(
                found["delta_rs"],
                serde_json::json!([{"c": 61, "d": 61}]),
                "{what}"
            );
            continue;
        }
        let error = found["tenants"][0]["error"].as_str().unwrap();
        println!("{what}: {error}");
        assert!(
            error.contains("version ") && error.contains("by delta-rs"),
            "{error}"
        );
        assert!(
            error.contains("/snapshot.acme.") || error.contains("acme/late.parquet"),
            "{error}"
        );
        assert!(error.contains("acme/_delta_log/"), "{error}");
        job::expect(&envs, 5, ["plan"]);
        // Readers of the live view are told as well, and nothing is deleted.
        let read = job::json(&envs, 5, ["--json", "ls"]);
        assert_eq!(read["tenants"][0]["files"], serde_json::json!([]), "{read}");
        let now = support::keys(&store).await;
        assert!(all.iter().all(|key| now.contains(key)), "{what}");

        // As the message says.
        for key in now {
            let is_theirs = key.starts_with("acme/part-");
            if is_theirs || key.starts_with("acme/_delta_log/") {
                std::fs::remove_file(dir.path().join(key)).unwrap();
            }
        }
        assert_eq!(live(), before, "{what}");
        job::expect(&envs, 0, ["run"]);
        let found = query(
            &table,
            "SELECT count(*) AS c, count(DISTINCT event_id) AS d FROM events",
        );
        assert_eq!(
            found["delta_rs"],
            serde_json::json!([{"c": 41, "d": 41}]),
            "{what}"
        );
    }
}
