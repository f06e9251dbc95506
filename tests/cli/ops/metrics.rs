//! The metrics of real passes, read by promtool, by a Pushgateway and from a file.

use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chrono::Utc;

use super::world::{World, get};
use crate::support::job;

/// Where the programs are, or none where `./test.sh` could not get them. A test never passes
/// because they are missing by accident.
fn programs() -> Option<PathBuf> {
    match std::env::var("ICEPACK_TEST_PROMETHEUS") {
        Ok(directory) if directory != "unavailable" => Some(directory.into()),
        Err(_) if std::env::var("ICEPACK_SKIP_S3").as_deref() != Ok("1") => {
            panic!(
                "no promtool and Pushgateway: run ./test.sh, which gets them, or set \
                 ICEPACK_TEST_PROMETHEUS=unavailable to leave these tests out"
            )
        }
        _ => {
            eprintln!("SKIPPED: no promtool and Pushgateway");
            None
        }
    }
}

/// A Pushgateway that ends with the test.
struct Gateway {
    child: Child,
    url: String,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Gateway {
    async fn start(directory: PathBuf) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let program = directory.join("prometheus-pushgateway");
        let listen = format!("--web.listen-address=127.0.0.1:{port}");
        let child = Command::new(program)
            .arg(listen)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let gateway = Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
        };
        for _ in 0..600 {
            if let Some((200, _)) = get(&format!("{}/-/ready", gateway.url)).await {
                return gateway;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the Pushgateway does not get ready");
    }

    async fn metrics(&self) -> String {
        get(&format!("{}/metrics", self.url)).await.unwrap().1
    }
}

/// The value of the sample whose line has all of `parts`.
fn value(text: &str, parts: &[&str]) -> Option<f64> {
    let line = text
        .lines()
        .find(|l| !l.starts_with('#') && parts.iter().all(|p| l.contains(p)))?;
    line.rsplit_once(' ').map(|(_, v)| v.parse().unwrap())
}

#[tokio::test]
async fn a_file_holds_the_metrics_of_each_pass_and_its_counters_only_rise() {
    let world = World::new();
    world.seed("acme", 3, 100, Utc::now()).await;
    let file = world.path("icepack.prom");
    let mut envs = world.envs();
    envs.push(("ICEPACK_METRICS_FILE", file.display().to_string()));
    job::expect(&envs, 0, ["run"]);
    let first = std::fs::read_to_string(&file).unwrap();
    assert_eq!(value(&first, &["icepack_rows_total", "kept"]), Some(300.0));
    assert_eq!(value(&first, &["icepack_files_deleted_total"]), Some(3.0));
    assert_eq!(
        value(&first, &["icepack_uncompacted_files", "_other"]),
        Some(0.0),
        "after the pass, not before it: {first}"
    );
    assert!(value(&first, &["icepack_snapshot_bytes", "acme"]).unwrap() > 0.0);

    // A second pass that a broken file makes end otherwise.
    world
        .put(
            "acme/2026-01/broken.parquet",
            b"PAR1 not at all, nor anything like it",
        )
        .await;
    world.seed("globex", 3, 10, Utc::now()).await;
    envs.push(("ICEPACK_COMPACTION_MIN_FILES_TO_COMPACT", "1".into()));
    job::expect(&envs, 3, ["run"]);
    let second = std::fs::read_to_string(&file).unwrap();
    assert_eq!(value(&second, &["icepack_rows_total", "kept"]), Some(330.0));
    assert_eq!(
        value(&second, &["icepack_quarantined_files", "acme"]),
        Some(1.0)
    );
    assert_eq!(
        value(&second, &["icepack_runs_total", "success"]),
        Some(2.0)
    );
    let requests = |text: &str| value(text, &["icepack_requests_total", "put"]).unwrap();
    assert!(requests(&second) > requests(&first));

    if let Some(programs) = programs() {
        let mut promtool = Command::new(programs.join("promtool"))
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        promtool
            .stdin
            .take()
            .unwrap()
            .write_all(second.as_bytes())
            .unwrap();
        let out = promtool.wait_with_output().unwrap();
        assert!(
            out.status.success() && out.stderr.is_empty(),
            "{}{}",
            job::text(&out.stdout),
            job::text(&out.stderr)
        );
    }
}

#[tokio::test]
async fn a_pushgateway_has_them_and_each_push_replaces_the_last() {
    let Some(programs) = programs() else { return };
    let gateway = Gateway::start(programs).await;
    let world = World::new();
    world.seed("acme", 3, 100, Utc::now()).await;
    let mut envs = world.envs();
    envs.push(("ICEPACK_METRICS_PUSHGATEWAY", gateway.url.clone()));
    job::expect(&envs, 0, ["run"]);
    let store = world.hot().display().to_string();
    let group = [
        format!("instance=\"{store}\""),
        "job=\"icepack\"".to_owned(),
    ];
    let sample = |name: &'static str, label: &'static str| {
        [name, label, &group[0], &group[1]].map(str::to_owned)
    };
    let look =
        |text: &str, name, label| value(text, &sample(name, label).each_ref().map(String::as_str));
    let text = gateway.metrics().await;
    assert_eq!(
        look(&text, "icepack_rows_total", "kept"),
        Some(300.0),
        "{text}"
    );
    assert!(look(&text, "icepack_last_success_timestamp_seconds", "").unwrap() > 1.7e9);
    assert!(look(&text, "icepack_snapshot_bytes", "acme").is_some());

    // The tenant is gone from the store, and so from the gateway.
    std::fs::remove_dir_all(world.hot().join("acme")).unwrap();
    std::fs::remove_dir_all(world.hot().join("_icepack/acme")).unwrap();
    job::expect(&envs, 0, ["run"]);
    let text = gateway.metrics().await;
    assert_eq!(look(&text, "icepack_snapshot_bytes", "acme"), None);
    assert_eq!(
        look(&text, "icepack_rows_total", "kept"),
        Some(300.0),
        "the sums go on"
    );
}

#[tokio::test]
async fn a_push_that_fails_is_a_warning_and_shows_no_password() {
    let world = World::new();
    world.seed("acme", 3, 10, Utc::now()).await;
    let mut envs = world.envs();
    envs.push((
        "ICEPACK_METRICS_PUSHGATEWAY",
        "http://me:hunter2@127.0.0.1:1".into(),
    ));
    let out = job::run(&envs, ["run"]);
    let stderr = job::text(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{stderr}");
    assert!(
        stderr.contains("WARN")
            && stderr.contains("cannot push the metrics to http://me:***@127.0.0.1:1/"),
        "{stderr}"
    );
    let shown = job::expect(&envs, 0, ["config", "show"]);
    assert!(!stderr.contains("hunter2") && !shown.contains("hunter2"));
}
