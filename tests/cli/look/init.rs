//! `icepack init` on real files.

mod texts;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use icepack::inspect::sample::sample;
use icepack::inspect::survey::survey;
use icepack_core::plan::recognise::{Recognised, recognise};
use icepack_dst::intercept::{InterceptStore, Kind};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Store, job, memory, parquet, put};

/// Whatever another command says of the settings file: it can be used as it is.
fn init(dir: &TempDir, args: &[&str]) -> std::process::Output {
    job::icepack(&[])
        .current_dir(dir.path())
        .args(["-q", "init", "--store", "data"])
        .args(args)
        .output()
        .unwrap()
}

fn demo(dir: &TempDir) {
    let made = job::icepack(&[])
        .current_dir(dir.path())
        .args([
            "-q", "demo", "--store", "data", "--files", "6", "--rows", "20",
        ])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", job::text(&made.stderr));
}

#[test]
fn a_file_is_written_once_and_works() {
    let dir = TempDir::new().unwrap();
    demo(&dir);
    let made = init(&dir, &["--archive", "cold"]);
    let (out, err) = (job::text(&made.stdout), job::text(&made.stderr));
    assert!(
        made.status.success()
            && out.contains(
                "wrote icepack.toml: 5 tenants, time of a row: timestamp, likely its id: event_id"
            ),
        "{out}{err}"
    );
    assert!(
        err.contains("rows of tenant `system` expire after 30 days"),
        "{err}"
    );
    let text = std::fs::read_to_string(dir.path().join("icepack.toml")).unwrap();
    assert!(
        text.contains("\ntimestamp_column = \"timestamp\"  # 20")
            && text.contains("[archive]\nurl = "),
        "{text}"
    );
    // Every command that it names can be typed.
    for line in out
        .lines()
        .filter_map(|l| l.trim().strip_prefix("icepack "))
        .filter(|l| !l.starts_with("doctor") && !l.starts_with("run"))
    {
        let words = line.split("  ").next().unwrap().split_whitespace();
        let ran = job::icepack(&[])
            .current_dir(dir.path())
            .args(words)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{line}: {}", job::text(&ran.stderr));
    }
    let again = init(&dir, &[]);
    assert_eq!(
        (
            again.status.code(),
            std::fs::read_to_string(dir.path().join("icepack.toml")).unwrap()
        ),
        (Some(2), text)
    );
    assert!(
        job::text(&again.stderr).contains("`icepack.toml` is there already and is not touched"),
        "{}",
        job::text(&again.stderr)
    );
}

#[test]
fn it_can_be_printed_instead() {
    let dir = TempDir::new().unwrap();
    demo(&dir);
    assert!(
        job::text(&init(&dir, &["--out", "-"]).stdout)
            .starts_with("# Written by `icepack init` at ")
    );
    let document: Value = serde_json::from_slice(&init(&dir, &["--json"]).stdout).unwrap();
    assert_eq!(
        (
            document["timestamp_column"].as_str(),
            document["sample"]["tenants"].as_array().unwrap().len()
        ),
        (Some("timestamp"), 5)
    );
    assert!(!dir.path().join("icepack.toml").exists());
}

#[test]
fn a_doubtful_time_is_left_to_the_reader() {
    let dir = TempDir::new().unwrap();
    std::fs::create_dir_all(dir.path().join("data/acme")).unwrap();
    std::fs::write(
        dir.path().join("data/acme/a.parquet"),
        parquet(&two_times()),
    )
    .unwrap();
    let made = init(&dir, &[]);
    let (text, err) = (
        std::fs::read_to_string(dir.path().join("icepack.toml")).unwrap(),
        job::text(&made.stderr),
    );
    assert!(
        text.contains("\n# timestamp_column = \"created_at\"")
            && text.contains("\n# timestamp_column = \"updated_at\""),
        "{text}"
    );
    assert!(!text.contains("\ntimestamp_column"), "{text}");
    assert!(
        err.contains("to decide: several columns could date a row: created_at, updated_at"),
        "{err}"
    );
}

fn two_times() -> RecordBatch {
    let times = || {
        Arc::new(TimestampMicrosecondArray::from(vec![
            1_777_000_000_000_000,
            1_777_000_001_000_000,
        ])) as ArrayRef
    };
    let n: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    RecordBatch::try_from_iter([("n", n), ("created_at", times()), ("updated_at", times())])
        .unwrap()
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_the_rest_is_looked_at() {
    let store = memory();
    put(
        &store,
        "acme/bad.parquet",
        "no Parquet at all, but longer than a trailer",
    )
    .await;
    put(&store, "acme/good.parquet", parquet(&two_times())).await;
    let found = sample(&store, &Default::default(), &Default::default())
        .await
        .unwrap();
    let acme = &found.looked_at[0];
    assert_eq!(
        (acme.files.len(), acme.unreadable.len(), acme.files[0].rows),
        (1, 1, 2),
        "{acme:?}"
    );
    assert_eq!(
        acme.files[0].spans.keys().collect::<Vec<_>>(),
        ["created_at", "updated_at"]
    );
}

/// A store with files of these keys, which nobody will read.
async fn store_of<S: AsRef<str>>(keys: impl IntoIterator<Item = S>) -> Store {
    let store = memory();
    for key in keys {
        put(&store, key.as_ref(), "no Parquet").await;
    }
    store
}

async fn recognised(store: &Store) -> Recognised {
    let seen = survey(store).await.unwrap();
    recognise(&seen.files, &seen.endings)
}

/// However many files one folder has, the others are seen, and the requests are few.
#[tokio::test]
async fn no_folder_starves_the_others() {
    let many = |folder: &'static str| (0..11_000).map(move |n| format!("{folder}/{n:05}.parquet"));
    let keys = many("topics/a/partition=0").chain(many("topics/b/_delta_log"));
    let keys = keys.chain(
        [
            "topics/b/x.parquet",
            "topics/c/x.parquet",
            "topics/d/x.parquet",
        ]
        .map(str::to_owned),
    );
    let inner = store_of(keys).await;
    let asked = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&asked);
    let store: Store = Arc::new(InterceptStore::before(inner, move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        async { Ok(()) }
    }));
    let seen = survey(&store).await.unwrap();
    let found = recognise(&seen.files, &seen.endings);
    assert!(
        asked.load(Ordering::SeqCst) < 40,
        "{} requests",
        asked.load(Ordering::SeqCst)
    );
    assert!(!seen.is_whole && seen.files.len() < 25_000);
    assert_eq!(
        (found.layout.as_str(), &found.exclude[..]),
        ("topics/{tenant}/**", &["topics/b/**".to_owned()][..])
    );
    let folders: std::collections::BTreeSet<&str> = seen
        .files
        .iter()
        .filter_map(|f| f.key.split('/').nth(1))
        .collect();
    assert_eq!(
        folders.into_iter().collect::<Vec<_>>(),
        ["a", "b", "c", "d"]
    );
}

#[tokio::test]
async fn many_tenants_are_a_matter_of_few_requests() {
    let store = store_of((0..10_001).map(|n| format!("t{n:05}/x.parquet"))).await;
    let found = recognised(&store).await;
    assert_eq!(found.layout.as_str(), "{tenant}/**");
    let looked = sample(&store, &found.layout, &Default::default())
        .await
        .unwrap();
    assert_eq!((looked.tenants.len(), looked.looked_at.len()), (10_001, 8));
}

/// Names that say nothing are asked for their first bytes, and no more than three of a kind.
#[tokio::test]
async fn first_bytes_say_what_names_do_not() {
    let store = store_of((0..9).map(|n| format!("a/{n}.json"))).await;
    for n in 0..9 {
        put(&store, &format!("a/{n:06}_0"), parquet(&two_times())).await;
    }
    let asked = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&asked);
    let store: Store = Arc::new(InterceptStore::before(store, move |request| {
        counter.fetch_add(u64::from(request.kind == Kind::Get), Ordering::SeqCst);
        async { Ok(()) }
    }));
    let found = recognised(&store).await;
    assert_eq!(
        (&found.files[..], asked.load(Ordering::SeqCst)),
        (&["*".to_owned()][..], 6)
    );
}

/// Stores of which there is little to say.
#[tokio::test]
async fn stores_without_folders_of_data() {
    for (keys, layout) in [
        (&[][..], "{tenant}/**"),
        (&["_tmp/a.parquet", ".b/c.parquet"], "{tenant}/**"),
        (&["a.parquet"], "**"),
    ] {
        let store = store_of(keys).await;
        let found = recognised(&store).await;
        assert_eq!(found.layout.as_str(), layout, "{keys:?}");
        let looked = sample(&store, &found.layout, &Default::default())
            .await
            .unwrap();
        assert_eq!(
            looked.tenants.len(),
            usize::from(layout == "**"),
            "{keys:?}"
        );
    }
}

#[test]
fn what_is_set_is_not_second_guessed() {
    let dir = TempDir::new().unwrap();
    for key in ["topics/a/x.parquet", "topics/b/x.parquet"] {
        let path = dir.path().join("data").join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, parquet(&two_times())).unwrap();
    }
    let proposed = |layout: &str, files: &str| {
        let envs = [
            ("ICEPACK_LAYOUT", layout.to_owned()),
            ("ICEPACK_FILES", files.to_owned()),
        ];
        let out = job::icepack(&envs)
            .current_dir(dir.path())
            .args(["-q", "init", "--store", "data", "--out", "-"])
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", job::text(&out.stderr));
        job::text(&out.stdout)
    };
    let text = proposed("{tenant}/**", "*.parquet,*.parq");
    assert!(
        text.contains("\nlayout = \"{tenant}/**\"\n")
            && text.contains("1 tenant (`topics`)")
            && !text.contains("# Or "),
        "{text}"
    );
    assert!(
        text.contains("\nfiles = [\"*.parquet\", \"*.parq\"]\n"),
        "{text}"
    );
    let text = proposed("other/{tenant}/**", "*.parquet");
    assert!(
        text.contains(
            "nothing lies where `layout` says; by the folders it would be \"topics/{tenant}/**\""
        ),
        "{text}"
    );
    assert!(
        text.contains("Folders that match no layout, and are not looked at: `topics/`"),
        "{text}"
    );
}

/// `plan` names folders beside the tenants', and does so at no cost where it lists them anyway.
#[test]
fn a_plan_names_what_it_does_not_look_at() {
    let dir = TempDir::new().unwrap();
    for key in [
        "topics/a/x.parquet",
        "topics/tenant_id=b/x.parquet",
        "raw/x.parquet",
        "_tmp/x.parquet",
    ] {
        let path = dir.path().join("data").join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, parquet(&two_times())).unwrap();
    }
    let plan = |layout: &str, args: &[&str]| {
        let envs = [("ICEPACK_LAYOUT", layout.to_owned())];
        let mut command = job::icepack(&envs);
        let command = command
            .current_dir(dir.path())
            .args(["-q", "--store", "data"]);
        job::text(&command.args(args).output().unwrap().stdout)
    };
    let named = "folders that match no `layout`, and are not looked at: ";
    for (layout, folders) in [
        ("topics/{tenant}/**", Some("`raw/`")),
        ("topics/tenant_id={tenant}/**", Some("`topics/a/`, `raw/`")),
        ("{tenant}/**", None),
        ("**", None),
    ] {
        let text = plan(layout, &["plan"]);
        let found = text.lines().find_map(|line| line.strip_prefix(named));
        assert_eq!(found, folders, "{layout}: {text}");
    }
    let json: Value =
        serde_json::from_str(&plan("topics/{tenant}/**", &["--json", "plan"])).unwrap();
    assert_eq!(json["unmatched"], serde_json::json!(["raw/"]));
    // Who asks for one tenant does not ask for the rest.
    let text = plan("topics/{tenant}/**", &["plan", "--tenant", "a"]);
    assert!(!text.contains(named), "{text}");
    let envs = [
        ("ICEPACK_LAYOUT", "topics/{tenant}/**".to_owned()),
        ("ICEPACK_EXCLUDE", "raw/**".to_owned()),
    ];
    let text = job::text(
        &job::icepack(&envs)
            .current_dir(dir.path())
            .args(["-q", "--store", "data", "plan"])
            .output()
            .unwrap()
            .stdout,
    );
    assert!(!text.contains(named), "{text}");
}
