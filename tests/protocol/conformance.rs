//! What icepack needs of a store, asked of every kind of store that can be had here, and of one
//! that must be refused.

use crate::support;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use icepack::clock::{Clock, SystemClock};
use icepack::error::Error;
use icepack::inspect::conformance::{Bench, PROBES};
use icepack::pass::Selection;
use icepack::protocol::preflight::preflight;
use icepack::store::counting::CountingStore;
use icepack::store::local::PlainDirectory;
use icepack::store::named::NamedStore;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::inspect::Health;
use icepack_dst::intercept::{InterceptStore, Kind, Reply};
use object_store::integration;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt};
use support::{Store, job, memory, s3, servers};

/// Every check is good, object_store's own suite passes, and listings and deletes of more than a
/// page are whole. Nothing is left in the store.
async fn conforms(name: &str, store: Store) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    for probe in &PROBES {
        let (health, detail) = Bench::examine(&store, &clock, probe).await;
        println!("{name:12} {:28} {health:?}: {detail}", probe.name);
        assert_eq!(health, Health::Good, "{name}: {}: {detail}", probe.name);
    }
    let left = support::keys(&store).await;
    assert_eq!(left, Vec::<String>::new(), "{name}: a check left something");
    suite(name, &store).await;
    more_than_a_page(&store).await;
}

/// What object_store asks of every store. Each part wants an empty one, so it has a folder.
async fn suite(name: &str, store: &Store) {
    let folder = |name: &str| PrefixStore::new(Arc::clone(store), name);
    // A listing of SeaweedFS that starts after `a` leaves out `a/b`. Nothing rests on that: a tenant
    // that a listing of many does not show is looked at by itself.
    if name != "seaweedfs" {
        integration::put_get_delete_list(&folder("put_get_delete_list")).await;
        integration::list_with_offset_exclusivity(&folder("list_with_offset")).await;
    }
    integration::get_opts(&folder("get_opts")).await;
    integration::stream_get(&folder("stream_get")).await;
    integration::list_uses_directories_correctly(&folder("directories")).await;
    integration::list_with_delimiter(&folder("list_with_delimiter")).await;
    integration::rename_and_copy(&folder("rename_and_copy")).await;
    integration::multipart_out_of_order(&folder("multipart")).await;
    for key in support::keys(store).await {
        store.delete(&Path::from(key)).await.unwrap();
    }
}

/// More than the thousand keys of one page of a listing, and of one bulk delete.
async fn more_than_a_page(store: &Store) {
    let keys: Vec<Path> = (0..1_050)
        .map(|i| Path::from(format!("many/{i:04}")))
        .collect();
    let puts =
        stream::iter(keys.clone()).map(|key| async move { store.put(&key, "x".into()).await });
    puts.buffer_unordered(16)
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    let wanted: Vec<String> = keys.iter().map(ToString::to_string).collect();
    assert_eq!(support::keys(store).await, wanted, "every key once");
    let deleted = store.delete_stream(stream::iter(keys).map(Ok).boxed());
    assert_eq!(deleted.try_collect::<Vec<_>>().await.unwrap().len(), 1_050);
    assert_eq!(support::keys(store).await, Vec::<String>::new());
}

#[tokio::test]
async fn memory_conforms() {
    conforms("memory", support::memory()).await;
}

/// As the job opens one: with every write synced to the disk, and links not followed.
#[tokio::test]
async fn a_directory_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let inner = LocalFileSystem::new_with_prefix(dir.path())
        .unwrap()
        .with_fsync(true);
    let store = PlainDirectory::new(inner, dir.path()).unwrap();
    conforms("directory", Arc::new(store)).await;
}

/// A wrapper changes nothing of what a store does.
#[tokio::test]
async fn wrappers_conform() {
    let named = Arc::new(NamedStore::new(support::memory(), "memory://test"));
    let (counting, _) = CountingStore::new(named);
    let intercepted = InterceptStore::new(counting, |_, call| call)
        .paged(2)
        .bulk(3);
    conforms("wrappers", Arc::new(intercepted)).await;
}

#[tokio::test]
async fn localstack_conforms() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "conformance").await;
    conforms("s3", s3::store(&endpoint, &bucket, "root")).await;
}

#[tokio::test]
async fn seaweedfs_conforms() {
    let Some(endpoint) = servers::seaweedfs() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "conformance").await;
    conforms("seaweedfs", s3::store(&endpoint, &bucket, "root")).await;
}

#[tokio::test]
async fn ceph_conforms() {
    let Some(endpoint) = servers::ceph() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "conformance").await;
    conforms("ceph", s3::store(&endpoint, &bucket, "root")).await;
}

#[cfg(feature = "azure")]
#[tokio::test]
async fn azurite_conforms() {
    use support::azure;
    let Some(endpoint) = servers::azurite() else {
        return;
    };
    let container = azure::container(&endpoint, "conformance").await;
    conforms("azurite", azure::store(&endpoint, &container, "root")).await;
}

#[cfg(feature = "gcp")]
#[tokio::test(flavor = "multi_thread")]
async fn google_conforms_by_its_documentation() {
    let gcs = support::gcs::Gcs::start(true).await;
    conforms("gcs", gcs.store("root")).await;
}

/// The same server, deaf to `x-goog-if-generation-match`.
#[cfg(feature = "gcp")]
#[tokio::test(flavor = "multi_thread")]
async fn google_without_preconditions_is_refused_and_left_as_it_was() {
    let gcs = support::gcs::Gcs::start(false).await;
    let store = gcs.store("hot");
    support::seed(&store, "acme", 6, 10, Utc::now() - TimeDelta::minutes(1)).await;
    let before = contents(&store).await;
    let settings = [("ICEPACK_STORE", "gs://events/hot".to_owned())];
    let envs = [gcs.environment(), settings.to_vec()].concat();
    let run = job::run(&envs, ["run"]);
    let stderr = job::text(&run.stderr);
    assert_eq!(run.status.code(), Some(5), "{stderr}");
    assert!(stderr.contains("accepts a second create"), "{stderr}");
    let report = job::json(&envs, 5, ["--json", "doctor"]);
    let checks = report["checks"].as_array().unwrap();
    assert!(checks.iter().any(|c| c["health"] == "unsafe"), "{report}");
    assert_eq!(contents(&store).await, before, "not a byte is written");
}

/// Every object, with its bytes. The gateway shows folders as objects of their own, so that of
/// `_icepack/` its empty folder of probes stays.
async fn contents(store: &Store) -> BTreeMap<String, bytes::Bytes> {
    let mut found = BTreeMap::new();
    for key in support::keys(store)
        .await
        .into_iter()
        .filter(|k| k != "_icepack/_probe")
    {
        let body = support::get(store, &key).await;
        found.insert(key, body);
    }
    found
}

#[tokio::test]
async fn a_gateway_that_ignores_conditions_is_refused_and_left_as_it_was() {
    let Some(endpoint) = servers::juicefs() else {
        return;
    };
    let (hot, cold) = (
        s3::bucket(&endpoint, "refused-hot").await,
        s3::bucket(&endpoint, "refused-cold").await,
    );
    let (store, archive) = (
        s3::store(&endpoint, &hot, "events"),
        s3::store(&endpoint, &cold, "frozen"),
    );
    // Rows to compact, and rows to expire.
    for tenant in ["acme", "globex"] {
        support::seed(&store, tenant, 6, 10, Utc::now() - TimeDelta::minutes(1)).await;
        support::seed(
            &store,
            &format!("{tenant}/old"),
            3,
            10,
            Utc::now() - TimeDelta::days(90),
        )
        .await;
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
    assert_eq!(
        contents(&store).await,
        before,
        "not a byte is written, under a tenant or anywhere"
    );
    assert_eq!(support::keys(&archive).await, Vec::<String>::new());

    let report = job::json(&envs, 5, ["--json", "doctor"]);
    let checks = report["checks"].as_array().unwrap();
    let create = checks
        .iter()
        .find(|c| c["name"] == "conditional create")
        .unwrap();
    assert_eq!(create["health"], "unsafe", "{report}");
    assert_eq!(contents(&store).await, before);

    // That was one create after the other. Servers that are right then, and wrong when raced, are
    // known too; the race finds this one as well.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let race = PROBES.iter().find(|p| p.name == "raced create").unwrap();
    let (health, detail) = Bench::examine(&store, &clock, race).await;
    println!("{:12} {:28} {health:?}: {detail}", "juicefs", race.name);
    assert_eq!(health, Health::Unsafe, "{detail}");
}

/// What a store's replies make of an ETag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tags {
    /// Listings show none.
    Unlisted,
    /// Listings show another: a hash of their own, say.
    Relisted,
    /// The reply to a PUT has an empty one, as that of some servers to the completion of an upload.
    EmptyInPut,
}

/// A store that differs from `inner` in its ETags alone.
fn tagged(inner: &Store, tags: Tags) -> Store {
    let store = InterceptStore::new(Arc::clone(inner), move |request, call| async move {
        let mut reply = call.await?;
        match (&mut reply, tags) {
            (Reply::Page(_), Tags::Unlisted) => reply.each_meta(|m| m.e_tag = None),
            (Reply::Page(_), Tags::Relisted) => reply.each_meta(|m| {
                m.e_tag = m.e_tag.take().map(|tag| format!("{tag}-list"));
            }),
            (Reply::Put(done), Tags::EmptyInPut) if request.kind == Kind::Put => {
                done.e_tag = Some(String::new());
            }
            _ => {}
        }
        Ok(reply)
    });
    Arc::new(store)
}

/// Where a listing cannot tell a file that waits to be deleted from a new one of its name, nothing
/// is begun.
#[tokio::test]
async fn a_store_whose_listings_show_no_tags_or_others_is_refused() {
    for tags in [Tags::Unlisted, Tags::Relisted] {
        let inner = memory();
        support::seed(&inner, "acme", 4, 10, Utc::now() - TimeDelta::minutes(1)).await;
        let before = contents(&inner).await;
        let store: Store = tagged(&inner, tags);
        let refused = CompactionManager::new(Arc::clone(&store), CompactionConfig::default())
            .run_pass(&Selection::all())
            .await;
        let Err(Error::Refused(why)) = refused else {
            panic!("{tags:?}: {refused:?}")
        };
        assert!(
            why.contains("in GET and")
                && why.contains("in a listing: a file that waits to be deleted"),
            "{why}"
        );
        assert_eq!(contents(&inner).await, before, "{tags:?}");

        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let probe = PROBES.iter().find(|p| p.name == "list after put").unwrap();
        let (health, detail) = Bench::examine(&store, &clock, probe).await;
        assert_eq!(health, Health::Unsafe, "{detail}");
        assert!(detail.ends_with("a pass refuses to run there"), "{detail}");
    }
}

/// An empty ETag says as much as none: it is neither the same nor another.
#[tokio::test]
async fn an_empty_tag_in_the_reply_to_a_put_does_no_harm() {
    let inner = memory();
    let store: Store = tagged(&inner, Tags::EmptyInPut);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    preflight(&store, clock.mint(icepack_core::model::names::FileId::NIL))
        .await
        .unwrap();
    for name in ["list after put", "multipart"] {
        let probe = PROBES.iter().find(|p| p.name == name).unwrap();
        let (health, detail) = Bench::examine(&store, &clock, probe).await;
        assert_eq!(health, Health::Good, "{name}: {detail}");
    }
    let rows = support::seed(&inner, "acme", 4, 10, Utc::now() - TimeDelta::minutes(1)).await;
    let manager = CompactionManager::new(Arc::clone(&store), support::eager());
    for _ in 0..2 {
        manager.run_pass(&Selection::all()).await.unwrap();
    }
    assert_eq!(support::live(&inner, "acme").await, support::sorted(rows));
    let [snapshot] = support::tenant_keys(&inner, "acme")
        .await
        .try_into()
        .unwrap();
    let manifests: Vec<_> = support::keys(&inner)
        .await
        .into_iter()
        .filter(|k| k.starts_with("_icepack/acme/manifest/"))
        .collect();
    let head: serde_json::Value =
        serde_json::from_slice(&support::get(&inner, manifests.last().unwrap()).await).unwrap();
    assert_eq!(head["snapshots"][0]["key"], snapshot);
    assert_ne!(
        head["snapshots"][0]["etag"].as_str(),
        Some(""),
        "the store is asked for the tag"
    );
    assert!(head["snapshots"][0]["etag"].is_string(), "{head}");
}
