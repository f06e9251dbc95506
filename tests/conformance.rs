//! What icepack needs of a store, asked of every kind of store that can be had here, and of one that must be refused.

#![allow(clippy::disallowed_methods, reason = "tests make worlds of the real time")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use icepack::clock::{Clock, SystemClock};
use icepack::model::inspect::Health;
use icepack::stage::conformance::{Bench, PROBES};
use object_store::local::LocalFileSystem;
use support::{Store, job, s3, servers};

/// Every check is good, but for those that are named here as limited; nothing is left in the store.
async fn conforms(name: &str, store: Store, limited: &[&str]) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let mut faults = Vec::new();
    for probe in &PROBES {
        let (health, detail) = Bench::examine(&store, &clock, probe).await;
        println!("{name:12} {:28} {health:?}: {detail}", probe.name);
        let wanted = if limited.contains(&probe.name) { Health::Limited } else { Health::Good };
        if health != wanted {
            faults.push(format!("{}: {health:?} and not {wanted:?}: {detail}", probe.name));
        }
    }
    assert_eq!(faults, Vec::<String>::new(), "{name}");
    assert_eq!(support::keys(&store).await, Vec::<String>::new(), "{name}: a check left something");
}

#[tokio::test]
async fn memory_conforms() {
    conforms("memory", support::memory(), &[]).await;
}

/// As the job opens one: with every write synced to the disk.
#[tokio::test]
async fn a_directory_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalFileSystem::new_with_prefix(dir.path()).unwrap().with_fsync(true);
    conforms("directory", Arc::new(store), &[]).await;
}

#[tokio::test]
async fn localstack_conforms() {
    let Some(endpoint) = s3::endpoint() else { return };
    conforms("s3", s3::store(&endpoint, &s3::bucket(&endpoint, "conformance").await, "root"), &[]).await;
}

#[tokio::test]
async fn seaweedfs_conforms() {
    let Some(endpoint) = servers::seaweedfs() else { return };
    conforms("seaweedfs", s3::store(&endpoint, &s3::bucket(&endpoint, "conformance").await, "root"), &[]).await;
}

/// Every object, with its bytes. The gateway shows folders as objects of their own, so that of `_icepack/` its empty folder of probes stays.
async fn contents(store: &Store) -> BTreeMap<String, bytes::Bytes> {
    let mut found = BTreeMap::new();
    for key in support::keys(store).await.into_iter().filter(|k| k != "_icepack/_probe") {
        let body = support::get(store, &key).await;
        found.insert(key, body);
    }
    found
}

#[tokio::test]
async fn a_gateway_that_ignores_conditions_is_refused_and_left_as_it_was() {
    let Some(endpoint) = servers::juicefs() else { return };
    let (hot, cold) = (s3::bucket(&endpoint, "refused-hot").await, s3::bucket(&endpoint, "refused-cold").await);
    let (store, archive) = (s3::store(&endpoint, &hot, "events"), s3::store(&endpoint, &cold, "frozen"));
    // Rows to compact, and rows to expire.
    for tenant in ["acme", "globex"] {
        support::seed(&store, tenant, 6, 10, Utc::now() - TimeDelta::minutes(1)).await;
        support::seed(&store, &format!("{tenant}/old"), 3, 10, Utc::now() - TimeDelta::days(90)).await;
    }
    let before = contents(&store).await;
    assert_eq!(before.len(), 18);
    let settings = [
        ("ICEPACK_STORE", format!("s3://{hot}/events")),
        ("ICEPACK_ARCHIVE_URL", format!("s3://{cold}/frozen")),
        ("ICEPACK_RETENTION_DEFAULT_TTL", "30d".to_owned()),
    ];
    let envs = [s3::environment(&endpoint), settings.to_vec()].concat();

    let run = job::run(&envs, ["run"]);
    let stderr = job::text(&run.stderr);
    assert_eq!(run.status.code(), Some(5), "{stderr}");
    assert!(stderr.contains("ignores If-None-Match"), "{stderr}");
    assert_eq!(contents(&store).await, before, "not a byte is written, under a tenant or anywhere");
    assert_eq!(support::keys(&archive).await, Vec::<String>::new());

    let report = job::json(&envs, 5, ["--json", "doctor"]);
    let checks = report["checks"].as_array().unwrap();
    let create = checks.iter().find(|c| c["name"] == "conditional create").unwrap();
    assert_eq!(create["health"], "unsafe", "{report}");
    assert_eq!(contents(&store).await, before);

    // That was one create after the other. Servers that are right then, and wrong when raced, are known too; the race finds this one as well.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let race = PROBES.iter().find(|p| p.name == "raced create").unwrap();
    let (health, detail) = Bench::examine(&store, &clock, race).await;
    println!("{:12} {:28} {health:?}: {detail}", "juicefs", race.name);
    assert_eq!(health, Health::Unsafe, "{detail}");
}
