//! The real binary, killed with SIGKILL at ten moments of its pass, on a directory and on two S3
//! servers. Nothing is lost or doubled, and nothing is left over.

use crate::support;

use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use object_store::local::LocalFileSystem;
use support::{
    Event, Store, archived, job, live, put_events, s3, series, servers, sorted, tenant_keys,
};

const KILLS: usize = 10;

/// Raw files that arrive before each pass, and their rows.
const FILES: usize = 12;
const ROWS: usize = 3_000;

/// Where a world is, for us and for the job.
struct World {
    store: Store,
    archive: Store,
    envs: Vec<(&'static str, String)>,
}

impl World {
    /// More raw files: half of their rows are long past their time, the others far from it. They
    /// overlap, and the next call's overlap with them.
    async fn ingest(&self, round: usize, now: DateTime<Utc>) -> (Vec<Event>, Vec<Event>) {
        let count = FILES * ROWS / 2;
        let step = TimeDelta::seconds(11 * 86_400) / i32::try_from(count).unwrap();
        let old = series(round * 1_000_000, count, now - TimeDelta::days(40), step);
        let new = series(
            round * 1_000_000 + count,
            count,
            now - TimeDelta::hours(1),
            step,
        );
        let mixed: Vec<_> = old
            .iter()
            .zip(&new)
            .flat_map(|(a, b)| [a.clone(), b.clone()])
            .collect();
        for i in 0..FILES {
            let part: Vec<_> = mixed.iter().skip(i).step_by(FILES).cloned().collect();
            put_events(
                &self.store,
                &format!("acme/2026-01/events-{round:02}-{i:02}.parquet"),
                &part,
            )
            .await;
        }
        (old, new)
    }

    fn start(&self) -> std::process::Child {
        job::icepack(&self.envs)
            .arg("run")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Kills passes at ten moments, spread over what a whole pass takes here; then lets one finish.
    async fn kill_and_recover(&self, name: &str) {
        let now = Utc::now();
        let (mut old, mut new) = self.ingest(0, now).await;
        let started = Instant::now();
        job::expect(&self.envs, 0, ["run"]);
        let whole = started.elapsed();
        let mut killed = 0;
        for round in 1..=KILLS {
            let (o, n) = self.ingest(round, now).await;
            old.extend(o);
            new.extend(n);
            let mut child = self.start();
            std::thread::sleep(whole.mul_f64((round as f64 - 0.5) / KILLS as f64));
            killed += usize::from(child.try_wait().unwrap().is_none());
            let _ = child.kill();
            child.wait().unwrap();
            self.check_rows(&old, &new, &format!("{name}: after kill {round}"))
                .await;
        }
        eprintln!("{name}: {killed} of {KILLS} passes were killed before their end");

        for _ in 0..50 {
            job::expect(&self.envs, 0, ["run"]);
            // Orphans go once the store's clock, which may tell seconds only, has passed their ids.
            if tenant_keys(&self.store, "acme")
                .await
                .iter()
                .all(|k| self.is_live(k))
            {
                break;
            }
        }
        assert_eq!(live(&self.store, "acme").await, sorted(new), "{name}");
        assert_eq!(archived(&self.archive, "acme").await, sorted(old), "{name}");
        let left = tenant_keys(&self.store, "acme").await;
        assert!(
            left.iter().all(|k| self.is_live(k)),
            "{name}: left over: {left:?}"
        );
        let report = job::json(&self.envs, 0, ["--json", "run"]);
        assert_eq!(
            report["totals"]["files_compacted"], 0,
            "{name}: nothing to do"
        );
        let verified = job::json(&self.envs, 0, ["--json", "verify", "--deep"]);
        assert!(
            verified["findings"]
                .as_array()
                .unwrap()
                .iter()
                .all(|f| f["severity"] != "broken"),
            "{name}: {verified}"
        );
    }

    fn is_live(&self, key: &str) -> bool {
        let listed = job::expect(&self.envs, 0, ["ls"]);
        listed.lines().any(|l| l.ends_with(key))
    }

    /// At every moment each row to keep is live once, and each expired row is live or in the
    /// archive.
    async fn check_rows(&self, old: &[Event], new: &[Event], when: &str) {
        let seen = live(&self.store, "acme").await;
        let counts = support::counted(&seen);
        assert!(
            new.iter().all(|e| counts.get(e) == Some(&1)),
            "{when}: a row is missing or doubled"
        );
        let cold =
            support::read_all(&self.archive, &tenant_keys(&self.archive, "acme").await).await;
        let cold = support::counted(&cold);
        assert!(
            old.iter()
                .all(|e| counts.contains_key(e) || cold.contains_key(e)),
            "{when}: an expired row is nowhere"
        );
        assert!(
            counts.values().all(|n| *n == 1),
            "{when}: a row is live twice"
        );
    }
}

fn settings(store: String, archive: String) -> Vec<(&'static str, String)> {
    vec![
        ("ICEPACK_STORE", store),
        ("ICEPACK_ARCHIVE_URL", archive),
        ("ICEPACK_RETENTION_DEFAULT_TTL", "30d".into()),
        ("ICEPACK_SWEEP_ORPHAN_GRACE", "0s".into()),
    ]
}

#[tokio::test]
async fn a_directory_survives_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let (hot, cold) = (make("hot"), make("cold"));
    let open =
        |path: &std::path::Path| Arc::new(LocalFileSystem::new_with_prefix(path).unwrap()) as Store;
    let envs = settings(hot.display().to_string(), cold.display().to_string());
    World {
        store: open(&hot),
        archive: open(&cold),
        envs,
    }
    .kill_and_recover("directory")
    .await;
    // Half-written temporary files are invisible to listings, but not to the disk. Probes and
    // records of killed passes hold no rows and stay.
    let harmless = |p: &String| p.contains("/_icepack/_probe/") || p.contains("/_icepack/runs/");
    let litter: Vec<_> = walk(&hot)
        .into_iter()
        .filter(|p| p.contains('#') && !harmless(p))
        .collect();
    assert_eq!(litter, Vec::<String>::new());
}

fn walk(dir: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path))
        } else {
            found.push(path.display().to_string())
        }
    }
    found
}

#[tokio::test]
async fn s3_survives_sigkill() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    survive("s3", &endpoint).await;
}

#[tokio::test]
async fn seaweedfs_survives_sigkill() {
    let Some(endpoint) = servers::seaweedfs() else {
        return;
    };
    survive("seaweedfs", &endpoint).await;
}

async fn survive(name: &str, endpoint: &str) {
    let (hot, cold) = (
        s3::bucket(endpoint, "kill-hot").await,
        s3::bucket(endpoint, "kill-cold").await,
    );
    let envs = [
        s3::environment(endpoint),
        settings(format!("s3://{hot}/events"), format!("s3://{cold}/frozen")),
    ]
    .concat();
    World {
        store: s3::store(endpoint, &hot, "events"),
        archive: s3::store(endpoint, &cold, "frozen"),
        envs,
    }
    .kill_and_recover(name)
    .await;
}
