use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::DateTime;
use icepack_dst::intercept::{InterceptStore, Kind};
use object_store::memory::InMemory;
use ulid::Ulid;

use super::*;
use icepack_core::model::manifest::Stamp;
use icepack_core::model::names::FileId;

fn manifest(version: u64, commit: u64) -> Manifest {
    let id = |n| FileId(Ulid::from_parts(n, 0));
    let first = Manifest::first(
        Tenant::parse("acme").unwrap(),
        Stamp {
            run_id: id(1),
            commit_id: id(commit),
            at: DateTime::UNIX_EPOCH,
        },
    );
    Manifest {
        version,
        parent: (version > 1).then(|| id(commit - 1)),
        ..first
    }
}

async fn put(store: &InMemory, m: &Manifest) {
    store
        .put(
            &path(&names::manifest_key(&m.tenant, m.version)).unwrap(),
            serde_json::to_vec(m).unwrap().into(),
        )
        .await
        .unwrap();
}

/// Before the first read of a manifest: others commit version 3, prune version 2, and a run that
/// slept puts its own version 2.
fn reviving(inner: &Arc<InMemory>) -> InterceptStore {
    let done = AtomicBool::new(false);
    let store = Arc::clone(inner);
    InterceptStore::before(Arc::clone(inner) as Arc<dyn ObjectStore>, move |request| {
        let first = request.kind == Kind::Get && !done.swap(true, Ordering::SeqCst);
        let store = Arc::clone(&store);
        async move {
            if first {
                put(&store, &manifest(3, 30)).await;
                store.delete(&request.key).await?;
                put(&store, &manifest(2, 99)).await;
            }
            Ok(())
        }
    })
}

#[tokio::test]
async fn a_version_that_was_revived_between_listing_and_read_is_not_head() {
    let inner = Arc::new(InMemory::new());
    let store = reviving(&inner);
    let tenant = Tenant::parse("acme").unwrap();
    put(&inner, &manifest(1, 10)).await;
    put(&inner, &manifest(2, 20)).await;
    let found = head(&store, &tenant, 0).await.unwrap().unwrap();
    assert_eq!(
        (found.version, found.commit_id),
        (3, manifest(3, 30).commit_id)
    );
    // Known to exist, but not the newest any more.
    assert_eq!(head(&store, &tenant, 2).await.unwrap().unwrap().version, 3);
}

#[tokio::test]
async fn half_a_receipt_is_the_networks_doing() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let key = "acme/2024-01/archive.receipt.json";
    let body = "{\"format\":1}";
    inner.put(&path(key).unwrap(), body.into()).await.unwrap();
    let cut = InterceptStore::new(Arc::clone(&inner), |_, call| async move {
        call.await?.map_body(|body| body.slice(..4)).await
    });
    let found = receipt(&cut, key).await;
    assert!(matches!(found, Err(Error::Store { .. })), "{found:?}");
    assert!(receipt(inner.as_ref(), key).await.unwrap().is_err());
}
