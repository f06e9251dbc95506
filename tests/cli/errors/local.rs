//! What goes wrong on this machine, and in the files themselves.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use chrono::{TimeDelta, Utc};
use fastrand::Rng;
use object_store::local::LocalFileSystem;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::errors::texts::check;
use crate::support::{self, Store, job};

struct World {
    directory: tempfile::TempDir,
    store: Store,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let hot = directory.path().join("hot");
        std::fs::create_dir(&hot).unwrap();
        let store = Arc::new(LocalFileSystem::new_with_prefix(hot).unwrap());
        Self { directory, store }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn envs(&self) -> Vec<(&'static str, String)> {
        vec![("ICEPACK_STORE", self.path("hot"))]
    }

    fn run(&self, more: &[(&'static str, String)]) -> Output {
        job::run(
            &[self.envs(), more.to_vec()].concat(),
            ["--log-level", "warn", "run"],
        )
    }

    fn check(&self, name: &str, out: &Output) {
        let stderr = job::text(&out.stderr);
        // Directories of the moment, below the one for spilled rows.
        let spill = stderr
            .split("/spill/")
            .nth(1)
            .and_then(|rest| rest.split('`').next())
            .unwrap_or("/spill/")
            .to_owned();
        check(
            name,
            out,
            &[
                (&self.directory.path().display().to_string(), "/data"),
                (&spill, "…"),
            ],
        );
    }
}

/// Rows of a kilobyte, whose times are all over the place. Of random letters the file is as large;
/// of blanks it is small.
fn unsorted(count: usize, random: bool) -> Vec<u8> {
    let mut rng = Rng::with_seed(7);
    let now = Utc::now().timestamp_millis();
    let times = Arc::new(TimestampMillisecondArray::from_iter_values(
        (0..count).map(|_| now - rng.i64(0..86_400_000)),
    )) as ArrayRef;
    let mut payload = |i: usize| {
        if random {
            (0..1000).map(|_| rng.alphanumeric()).collect()
        } else {
            format!("{i:>1000}")
        }
    };
    let payloads =
        Arc::new(StringArray::from_iter_values((0..count).map(&mut payload))) as ArrayRef;
    let rows = RecordBatch::try_from_iter([("timestamp", times), ("payload", payloads)]).unwrap();
    let mut out = Vec::new();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut writer = ArrowWriter::try_new(&mut out, rows.schema(), Some(properties)).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    out
}

/// Runs the job with a spill directory that holds 256 KiB: a file system of its own, in a mount
/// namespace that ends with the job.
fn with_a_small_disk(world: &World) -> Option<Output> {
    let spill = world.path("spill");
    std::fs::create_dir(&spill).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    let probe = command
        .args([&format!("mount -t tmpfs -o size=256k tmpfs '{spill}'")])
        .output();
    if !probe.is_ok_and(|out| out.status.success()) {
        eprintln!("SKIPPED: this kernel lets nobody mount a file system of their own");
        return None;
    }
    let job = job::icepack(&[]);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command
        .arg(format!(
            "mount -t tmpfs -o size=256k tmpfs '{spill}' && exec \"$0\" --log-level warn run"
        ))
        .arg(job.get_program());
    for (name, value) in job.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .envs(world.envs())
        .env("ICEPACK_SPILL_DIR", spill)
        .env("ICEPACK_MEMORY_LIMIT", "96MiB");
    Some(command.output().unwrap())
}

/// More than the least memory holds at once: many files of random letters, or a few of which the
/// rows do not fit.
async fn large(random: bool) -> World {
    let world = World::new();
    let (files, rows) = if random { (40, 2_000) } else { (3, 30_000) };
    for i in 0..files {
        support::put(
            &world.store,
            &format!("acme/2026-01/{i}.parquet"),
            unsorted(rows, random),
        )
        .await;
    }
    world
}

#[tokio::test]
async fn the_spill_disk_is_full() {
    // Inputs that are fetched, and rows that are sorted.
    for (name, random) in [
        ("spill-disk-full", true),
        ("spill-disk-full-of-runs", false),
    ] {
        let world = large(random).await;
        let Some(out) = with_a_small_disk(&world) else {
            return;
        };
        world.check(name, &out);
        assert!(
            support::tenant_keys(&world.store, "acme").await.len() >= 3,
            "the originals stay"
        );
        // With room it goes through.
        let room = [
            ("ICEPACK_MEMORY_LIMIT", "96MiB".to_owned()),
            ("ICEPACK_SPILL_DIR", world.path("spill")),
        ];
        assert_eq!(world.run(&room).status.code(), Some(0));
    }
}

#[tokio::test]
async fn the_spill_directory_is_none() {
    let world = large(false).await;
    let out = world.run(&[
        ("ICEPACK_MEMORY_LIMIT", "96MiB".into()),
        ("ICEPACK_SPILL_DIR", world.path("nowhere")),
    ]);
    world.check("spill-dir-missing", &out);
}

#[tokio::test]
async fn two_columns_could_be_the_timestamp_or_none_could() {
    let world = World::new();
    let column = |values: &[i64]| {
        Arc::new(TimestampMillisecondArray::from_iter_values(
            values.iter().copied(),
        )) as ArrayRef
    };
    let now = Utc::now().timestamp_millis();
    for i in 0..3 {
        let two = RecordBatch::try_from_iter([
            ("received_at", column(&[now])),
            ("occurred_at", column(&[now - i])),
        ])
        .unwrap();
        support::put(
            &world.store,
            &format!("two/2026-01/{i}.parquet"),
            support::parquet(&two),
        )
        .await;
        let none = RecordBatch::try_from_iter([(
            "timestamp",
            Arc::new(Int64Array::from(vec![now])) as ArrayRef,
        )])
        .unwrap();
        support::put(
            &world.store,
            &format!("none/2026-01/{i}.parquet"),
            support::parquet(&none),
        )
        .await;
    }
    let run = |more: &[(&'static str, String)], tenant: &str| {
        job::run(
            &[
                world.envs(),
                more.to_vec(),
                vec![("ICEPACK_CONCURRENCY", "1".into())],
            ]
            .concat(),
            ["--log-level", "warn", "run", "--tenant", tenant],
        )
    };
    world.check("two-timestamps", &run(&[], "two"));
    world.check("no-timestamp", &run(&[], "none"));
    let planned = ["--log-level", "warn", "plan", "--tenant", "none"];
    world.check("no-timestamp-plan", &job::run(&world.envs(), planned));
    // What it says to do helps.
    let out = run(&[("ICEPACK_TIMESTAMP_COLUMN", "occurred_at".into())], "two");
    assert_eq!(out.status.code(), Some(0), "{}", job::text(&out.stderr));
    assert_eq!(
        support::tenant_keys(&world.store, "two").await.len(),
        1,
        "{}",
        job::text(&out.stdout)
    );
}

#[tokio::test]
async fn a_file_is_no_parquet() {
    let world = World::new();
    support::seed(&world.store, "acme", 2, 10, Utc::now()).await;
    support::put(
        &world.store,
        "acme/2026-01/broken.parquet",
        "id,timestamp\n1,2026-01-01\n",
    )
    .await;
    world.check(
        "no-parquet",
        &world.run(&[("ICEPACK_COMPACTION_MIN_FILES_TO_COMPACT", "1".into())]),
    );
}

#[tokio::test]
async fn the_manifest_is_lost_damaged_or_of_a_newer_icepack() {
    let world = World::new();
    support::seed(&world.store, "acme", 3, 10, Utc::now()).await;
    assert_eq!(world.run(&[]).status.code(), Some(0));
    let state = Path::new(&world.path("hot")).join("_icepack/acme/manifest");
    let head = std::fs::read_dir(&state)
        .unwrap()
        .map(|e| e.unwrap().path())
        .max()
        .unwrap();
    let good = std::fs::read_to_string(&head).unwrap();
    std::fs::write(&head, &good[..good.len() / 2]).unwrap();
    world.check("damaged-manifest", &world.run(&[]));
    std::fs::write(
        &head,
        good.replacen("\"min_reader\":4", "\"min_reader\":99", 1),
    )
    .unwrap();
    world.check("newer-manifest", &world.run(&[]));
    std::fs::remove_dir_all(Path::new(&world.path("hot")).join("_icepack/acme")).unwrap();
    world.check("lost-manifest", &world.run(&[]));
}

#[tokio::test]
async fn a_snapshot_was_moved_or_a_name_is_used_again() {
    let world = World::new();
    support::seed(&world.store, "acme", 3, 10, Utc::now()).await;
    assert_eq!(
        world
            .run(&[("ICEPACK_SWEEP_DELETE_DELAY", "7d".into())])
            .status
            .code(),
        Some(0)
    );
    let key = support::tenant_keys(&world.store, "acme")
        .await
        .into_iter()
        .find(|k| k.contains("/snapshot."))
        .unwrap();
    let (snapshot, elsewhere) = (
        Path::new(&world.path("hot")).join(&key),
        Path::new(&world.path("hot")).join("moved"),
    );
    std::fs::rename(&snapshot, &elsewhere).unwrap();
    check(
        "missing-snapshot",
        &world.run(&[]),
        &[(&key, "acme/…/snapshot.….parquet")],
    );
    std::fs::rename(&elsewhere, &snapshot).unwrap();

    support::put_events(
        &world.store,
        "acme/2026-01/events-0001.parquet",
        &support::series(700, 5, Utc::now(), TimeDelta::seconds(1)),
    )
    .await;
    let out = world.run(&[]);
    let said = job::text(&out.stderr);
    let after = |said: &str, mark: &str, end: char| {
        said.split(mark)
            .nth(1)
            .and_then(|rest| rest.split(end).next())
            .unwrap_or_default()
            .to_owned()
    };
    let (on, ours, found) = (
        after(&said, "compacted on ", ' '),
        after(&said, "(ETag ", ')'),
        after(&said, "has ETag ", ','),
    );
    check(
        "set-aside",
        &out,
        &[(&on, "DAY"), (&ours, "TAG"), (&found, "OTHER")],
    );
    // Its file is deleted by now, and its name is remembered.
    support::put_events(
        &world.store,
        "acme/2026-01/events-0002.parquet",
        &support::series(800, 5, Utc::now(), TimeDelta::seconds(1)),
    )
    .await;
    let out = world.run(&[]);
    let said = job::text(&out.stderr);
    let (on, found) = (
        after(&said, "gone since ", ','),
        after(&said, "has ETag ", ','),
    );
    check("name-again", &out, &[(&on, "DAY"), (&found, "OTHER")]);
    support::put(
        &world.store,
        "acme/2026-01/events-0000.parquet",
        "no Parquet",
    )
    .await;
    let out = world.run(&[]);
    let said = job::text(&out.stderr);
    let (on, found) = (
        after(&said, "gone since ", ','),
        after(&said, "has ETag ", ','),
    );
    check(
        "name-again-unread",
        &out,
        &[(&on, "DAY"), (&found, "OTHER")],
    );
}

#[tokio::test]
async fn more_would_expire_than_was_allowed() {
    let world = World::new();
    let rows = support::series(
        0,
        100,
        Utc::now() - TimeDelta::days(90),
        TimeDelta::hours(1),
    );
    for (i, part) in rows.chunks(25).enumerate() {
        support::put_events(&world.store, &format!("acme/2026-01/{i}.parquet"), part).await;
    }
    let brake = [
        ("ICEPACK_RETENTION_DEFAULT_TTL", "30d".to_owned()),
        ("ICEPACK_RETENTION_MAX_EXPIRE_PERCENT", "50".into()),
    ];
    let out = world.run(&brake);
    let stderr = job::text(&out.stderr);
    // The cutoff is of this moment.
    let cutoff = stderr
        .split("before ")
        .nth(1)
        .and_then(|t| t.split_once(" (ttl"))
        .unwrap_or_default()
        .0
        .to_owned();
    check(
        "brake",
        &out,
        &[
            (&world.directory.path().display().to_string(), "/data"),
            (&cutoff, "CUTOFF"),
        ],
    );
}

#[tokio::test]
async fn a_name_is_too_long_for_a_directory() {
    let world = World::new();
    let (fits, long) = ("f".repeat(167), "l".repeat(180));
    for name in [&fits, &long] {
        support::seed(&world.store, name, 12, 10, Utc::now()).await;
    }
    let before = support::keys(&world.store).await;
    let run = |args: &[&str]| job::run(&world.envs(), [&["--log-level", "warn"], args].concat());
    check(
        "name-too-long",
        &run(&["run", "--tenant", "l*"]),
        &[(&long, "LONG")],
    );
    let after = support::keys(&world.store).await;
    let after: Vec<_> = after
        .into_iter()
        .filter(|k| !k.starts_with("_icepack/"))
        .collect();
    assert_eq!(after, before, "it is left alone");
    let why =
        format!("the name of tenant `{long}` has 180 bytes, and in a directory 171 are the most");
    let plan = run(&["plan"]);
    assert!(job::text(&plan.stderr).contains(&why), "{plan:?}");
    assert_eq!(plan.status.code(), Some(3));
    let doctor = run(&["doctor"]);
    assert!(
        job::text(&doctor.stdout).replace('\n', " ").contains(&why),
        "{doctor:?}"
    );
    assert_eq!(doctor.status.code(), Some(1));
    let init = world.path("new.toml");
    let init = run(&["init", "--out", &init]);
    assert!(job::text(&init.stdout).contains(&why), "{init:?}");
    // The longest that fits an archive too.
    let archive = ("ICEPACK_ARCHIVE_URL", world.path("cold"));
    let ttl = ("ICEPACK_RETENTION_DEFAULT_TTL", "1h".to_owned());
    let size = ("ICEPACK_ARCHIVE_MIN_OBJECT_SIZE", "1".to_owned());
    let fit = job::run(
        &[world.envs(), vec![archive, ttl, size]].concat(),
        ["run", "--tenant", &fits, "--max-expire-percent", "100"],
    );
    assert!(
        fit.status.success() && job::text(&fit.stdout).contains("archived"),
        "{fit:?}"
    );
}

#[tokio::test]
async fn metrics_and_traces_that_cannot_be_sent_are_warnings() {
    let world = World::new();
    support::seed(&world.store, "acme", 3, 10, Utc::now()).await;
    let push = [
        (
            "ICEPACK_METRICS_PUSHGATEWAY",
            "http://127.0.0.1:9".to_owned(),
        ),
        ("ICEPACK_METRICS_FILE", world.path("nowhere/icepack.prom")),
    ];
    let traces = [(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "http://127.0.0.1:9".to_owned(),
    )];
    world.check("metrics", &world.run(&push));
    world.check("traces", &world.run(&traces));
    world.check(
        "traces-grpc",
        &world.run(
            &[
                traces.to_vec(),
                vec![("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".to_owned())],
            ]
            .concat(),
        ),
    );
}

#[tokio::test]
async fn a_place_is_taken_for_what_it_is_not() {
    let world = World::new();
    support::seed(
        &world.store,
        "acme",
        3,
        20,
        Utc::now() - TimeDelta::days(40),
    )
    .await;
    let archived = [
        ("ICEPACK_RETENTION_DEFAULT_TTL", "30d".to_owned()),
        ("ICEPACK_ARCHIVE_URL", world.path("cold")),
    ];
    assert!(world.run(&archived).status.success());
    let store = |name: &str| vec![("ICEPACK_STORE", world.path(name))];
    world.check("an-archive-as-a-store", &job::run(&store("cold"), ["run"]));
    world.check("a-store-above-a-store", &job::run(&store(""), ["run"]));
    world.check(
        "a-store-inside-a-store",
        &job::run(&store("hot/acme"), ["run"]),
    );
    std::fs::create_dir(world.path("other")).unwrap();
    world.check(
        "a-store-as-an-archive",
        &job::run(
            &[
                store("other"),
                vec![("ICEPACK_ARCHIVE_URL", world.path("hot"))],
            ]
            .concat(),
            ["run"],
        ),
    );
    let marker = world.path("hot/_icepack/store.json");
    std::fs::copy(world.path("cold/_icepack/archive.json"), &marker).unwrap();
    world.check("a-marker-of-something-else", &world.run(&[]));
    std::fs::write(&marker, "{").unwrap();
    world.check("a-damaged-marker", &world.run(&[]));
}
