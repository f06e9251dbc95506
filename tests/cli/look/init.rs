//! `icepack init` on real files.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use icepack::inspect::sample::sample;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{job, memory, parquet, put};

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
                "wrote icepack.toml: 5 tenants, time of a row: timestamp, its id: event_id"
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
