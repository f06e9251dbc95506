//! `icepack watch` as the real binary.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};

use super::world::{self, World};
use crate::support::{self, job};

/// Nothing here takes so long; what does, has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A watcher that ends with the test, and the lines of its log.
struct Watcher {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Watcher {
    fn start(envs: &[(&'static str, String)], args: &[&str]) -> Self {
        let mut child = job::icepack(envs)
            .arg("watch")
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = follow(child.stderr.take().unwrap());
        Self { child, lines }
    }

    /// The next line that holds `text`.
    #[track_caller]
    fn line(&self, text: &str) -> String {
        let mut seen = Vec::new();
        let until = Instant::now() + PATIENCE;
        while let Ok(line) = self
            .lines
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
        panic!("no `{text}` in:\n{}", seen.join("\n"));
    }

    fn signal(&self, name: &str) {
        let status = std::process::Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for its end; how long that took and the exit code.
    async fn ended(&mut self) -> (Duration, Option<i32>) {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (began.elapsed(), status.code());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it does not end");
    }

    /// Where it serves, from its log.
    fn address(&self) -> String {
        let line = self.line("serving /healthz and /metrics");
        line.split(|c: char| c.is_whitespace() || c == '=')
            .find(|w| w.starts_with("127.0.0.1:"))
            .unwrap()
            .to_owned()
    }
}

fn follow(stderr: ChildStderr) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

async fn get(address: &str, path: &str) -> (u16, String) {
    world::get(&format!("http://{address}{path}"))
        .await
        .unwrap()
}

/// Until `done`, or the test has failed.
async fn eventually<F: Future<Output = bool>>(what: &str, done: impl Fn() -> F) {
    let began = Instant::now();
    while !done().await {
        assert!(began.elapsed() < PATIENCE, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn it_makes_passes_and_shows_how_it_is() {
    let world = World::new();
    let rows = world.seed("acme", 3, 100, Utc::now()).await;
    let mut watcher = Watcher::start(
        &world.envs(),
        &["--interval", "1s", "--listen", "127.0.0.1:0"],
    );
    let address = watcher.address();
    eventually("the first pass", || async {
        get(&address, "/metrics")
            .await
            .1
            .contains("icepack_rows_total{fate=\"kept\"} 300")
    })
    .await;
    assert_eq!(get(&address, "/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get(&address, "/").await.0, 404);
    assert_eq!(
        reqwest::Client::new()
            .post(format!("http://{address}/metrics"))
            .send()
            .await
            .unwrap()
            .status()
            .as_u16(),
        405
    );
    // Later passes take what has come since.
    support::put_events(
        &world.store,
        "late/2026-01/a.parquet",
        &support::series(0, 10, Utc::now(), TimeDelta::seconds(1)),
    )
    .await;
    support::put_events(
        &world.store,
        "late/2026-01/b.parquet",
        &support::series(10, 10, Utc::now(), TimeDelta::seconds(1)),
    )
    .await;
    support::put_events(
        &world.store,
        "late/2026-01/c.parquet",
        &support::series(20, 10, Utc::now(), TimeDelta::seconds(1)),
    )
    .await;
    eventually("a later pass", || async {
        get(&address, "/metrics")
            .await
            .1
            .contains("icepack_rows_total{fate=\"kept\"} 330")
    })
    .await;
    watcher.signal("TERM");
    assert_eq!(watcher.ended().await.1, Some(0));
    assert_eq!(
        support::live(&world.store, "acme").await,
        support::sorted(rows)
    );
}

#[tokio::test]
async fn the_next_pass_is_timed_from_the_record_of_whoever_made_the_last_one() {
    let world = World::new();
    world.seed("acme", 3, 10, Utc::now()).await;
    job::expect(&world.envs(), 0, ["run"]);
    world.seed("globex", 3, 10, Utc::now()).await;
    let mut watcher = Watcher::start(
        &world.envs(),
        &[
            "--interval",
            "1h",
            "--listen",
            "127.0.0.1:0",
            "--log-level",
            "debug",
        ],
    );
    let address = watcher.address();
    watcher.line("waiting for the next pass");
    // What is shown is the last pass's, whoever made it; of the tenants it knows nothing.
    let (code, text) = get(&address, "/metrics").await;
    assert_eq!(code, 200);
    assert!(
        text.contains("icepack_rows_total{fate=\"kept\"} 30\n") && !text.contains("tenant="),
        "{text}"
    );
    watcher.signal("TERM");
    assert_eq!(watcher.ended().await.1, Some(0));
    assert_eq!(
        support::tenant_keys(&world.store, "globex").await.len(),
        3,
        "no pass was due"
    );
}

/// A machine whose clock was ahead by years left a record. It is one pass like any other: the next
/// is due an interval after it was written.
#[tokio::test]
async fn a_record_of_the_future_holds_up_nobody() {
    let world = World::new();
    world.seed("acme", 3, 10, Utc::now()).await;
    job::expect(&world.envs(), 0, ["run"]);
    let folder = world.hot().join("_icepack/runs");
    let record = std::fs::read_dir(&folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    json["started_at"] = "2096-11-29T00:00:00Z".into();
    std::fs::write(
        folder.join(format!(
            "2096-11-29T000000Z-{}.json",
            json["run_id"].as_str().unwrap()
        )),
        json.to_string(),
    )
    .unwrap();
    std::fs::remove_file(record).unwrap();
    world.seed("globex", 3, 10, Utc::now()).await;

    let mut watcher = Watcher::start(
        &world.envs(),
        &["--interval", "1s", "--listen", "127.0.0.1:0"],
    );
    let address = watcher.address();
    eventually("three passes", || async {
        std::fs::read_dir(&folder).unwrap().count() >= 4
    })
    .await;
    // Its sums go on.
    assert!(
        get(&address, "/metrics")
            .await
            .1
            .contains("icepack_rows_total{fate=\"kept\"} 60\n")
    );
    watcher.signal("TERM");
    assert_eq!(watcher.ended().await.1, Some(0));
    let said: Vec<String> = watcher
        .lines
        .iter()
        .filter(|l| l.contains("of a machine whose clock is ahead"))
        .collect();
    assert_eq!(said.len(), 1, "{said:?}");
    let status = job::json(&world.envs(), 0, ["status", "--json"]);
    assert!(
        status["last_run"]["started_at"].as_str().unwrap() < "2090",
        "{}",
        status["last_run"]
    );
}

#[tokio::test]
async fn told_to_end_in_the_middle_of_a_pass_it_does_so_soon_and_nothing_is_lost() {
    let world = World::new();
    let mut rows = Vec::new();
    for tenant in 0..40 {
        rows.push((
            format!("t{tenant:02}"),
            world
                .seed(&format!("t{tenant:02}"), 6, 2_000, Utc::now())
                .await,
        ));
    }
    let mut envs = world.envs();
    envs.push(("ICEPACK_CONCURRENCY", "1".into()));
    let mut watcher = Watcher::start(&envs, &["--interval", "1h"]);
    watcher.line("t03");
    watcher.signal("TERM");
    watcher.line("stopping");
    let (took, code) = watcher.ended().await;
    eprintln!("ended {took:?} after SIGTERM");
    assert_eq!(code, Some(0));
    for (tenant, rows) in &rows {
        assert_eq!(
            support::live(&world.store, tenant).await,
            support::sorted(rows.clone()),
            "{tenant}"
        );
    }
    let report = job::json(&envs, 0, ["--json", "run"]);
    assert!(
        report["totals"]["files_compacted"].as_u64().unwrap() > 0,
        "it was not in the middle of a pass"
    );
    for (tenant, rows) in &rows {
        assert_eq!(
            support::live(&world.store, tenant).await,
            support::sorted(rows.clone()),
            "{tenant}"
        );
        assert!(
            support::tenant_keys(&world.store, tenant).await.len() == 1,
            "{tenant}"
        );
    }
}

#[tokio::test]
async fn the_configuration_is_re_read_and_a_bad_one_is_not_taken() {
    let world = World::new();
    let config = world.path("icepack.toml");
    let write = |text: &str| {
        std::fs::write(
            &config,
            format!("store = {:?}\n{text}", world.hot().display().to_string()),
        )
        .unwrap()
    };
    write("interval = \"1h\"");
    world.seed("acme", 2, 10, Utc::now()).await;
    let envs = [("ICEPACK_CONFIG", config.display().to_string())];
    let mut watcher = Watcher::start(&envs, &["--log-level", "debug"]);
    watcher.line("waiting for the next pass");
    write("intervall = \"1s\"");
    watcher.signal("HUP");
    let line = watcher.line("the old one stays");
    assert!(
        line.contains("intervall") && line.contains("interval"),
        "{line}"
    );
    watcher.line("waiting for the next pass");
    assert_eq!(support::tenant_keys(&world.store, "acme").await.len(), 2);
    write("interval = \"1s\"\n[compaction]\nmin_files_to_compact = 2");
    watcher.signal("HUP");
    watcher.line("the configuration was re-read");
    eventually("a pass with the new configuration", || async {
        support::tenant_keys(&world.store, "acme").await.len() == 1
    })
    .await;
    watcher.signal("TERM");
    assert_eq!(watcher.ended().await.1, Some(0));
}

#[tokio::test]
async fn a_pass_that_fails_is_logged_and_the_loop_goes_on() {
    let world = World::new();
    world.seed("acme", 3, 10, Utc::now()).await;
    let away = world.path("away");
    let mut watcher = Watcher::start(&world.envs(), &["--interval", "1s"]);
    eventually("the first pass", || async {
        support::tenant_keys(&world.store, "acme").await.len() == 1
    })
    .await;
    std::fs::rename(world.hot(), &away).unwrap();
    std::fs::write(world.hot(), "no directory").unwrap();
    watcher.line("ERROR");
    std::fs::remove_file(world.hot()).unwrap();
    std::fs::rename(&away, world.hot()).unwrap();
    world.seed("globex", 3, 10, Utc::now()).await;
    eventually("the next pass", || async {
        support::tenant_keys(&world.store, "globex").await.len() == 1
    })
    .await;
    watcher.signal("TERM");
    assert_eq!(watcher.ended().await.1, Some(0));
}
