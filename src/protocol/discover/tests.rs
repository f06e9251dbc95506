use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use chrono::DateTime;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use ulid::Ulid;

use super::*;
use icepack_core::model::manifest::Stamp;
use icepack_core::model::names::FileId;

/// Before the first read of a manifest: others commit version 3, prune version 2, and a run that
/// slept puts its own version 2.
#[derive(Debug)]
struct Revives {
    inner: InMemory,
    done: AtomicBool,
}

impl fmt::Display for Revives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("revives")
    }
}

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

#[async_trait]
impl ObjectStore for Revives {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        if !self.done.swap(true, Ordering::SeqCst) {
            put(&self.inner, &manifest(3, 30)).await;
            self.inner.delete(location).await?;
            put(&self.inner, &manifest(2, 99)).await;
        }
        self.inner.get_opts(location, options).await
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> StoreResult<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_version_that_was_revived_between_listing_and_read_is_not_head() {
    let store = Revives {
        inner: InMemory::new(),
        done: AtomicBool::new(false),
    };
    let tenant = Tenant::parse("acme").unwrap();
    put(&store.inner, &manifest(1, 10)).await;
    put(&store.inner, &manifest(2, 20)).await;
    let found = head(&store, &tenant, 0).await.unwrap().unwrap();
    assert_eq!(
        (found.version, found.commit_id),
        (3, manifest(3, 30).commit_id)
    );
    // Known to exist, but not the newest any more.
    assert_eq!(head(&store, &tenant, 2).await.unwrap().unwrap().version, 3);
}
