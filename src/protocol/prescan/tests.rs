use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};

use super::*;
use crate::store::counting::CountingStore;
use icepack_core::plan::prescan::ranges;

fn tenant(name: &str) -> Tenant {
    Tenant::parse(name).unwrap()
}

fn range(names: &[&str], others: &[&str]) -> Range {
    let mut tenants: Vec<Tenant> = names.iter().map(|n| tenant(n)).collect();
    // So many that they are worth a range; they have no files.
    tenants.extend((0..8).map(|i| tenant(&format!("zz{i}"))));
    let others: Vec<String> = others.iter().map(|&o| o.to_owned()).collect();
    let (mut found, alone) = ranges(tenants, &others);
    assert!(alone.is_empty() && found.len() == 1, "{found:?} {alone:?}");
    found.remove(0)
}

async fn store(keys: &[&str]) -> Arc<InMemory> {
    let store = Arc::new(InMemory::new());
    for key in keys {
        store.put(&path(key).unwrap(), "x".into()).await.unwrap();
    }
    store
}

/// Of each tenant with files: its name, newest version and number of files; none where it is
/// unknown.
async fn seen(store: &dyn ObjectStore, range: &Range) -> Vec<(String, Option<(u64, usize)>)> {
    let found = prescan(store, range).await;
    assert!(found.iter().map(|(tenant, _)| tenant).eq(&range.tenants));
    let line = |(tenant, hint): (Tenant, Option<Hint>)| {
        let shown = hint.map(|hint| (hint.newest(), hint.extent().0));
        (tenant.to_string(), shown)
    };
    found
        .into_iter()
        .map(line)
        .filter(|(name, _)| !name.starts_with("zz"))
        .collect()
}

fn some(name: &str, newest: u64, files: usize) -> (String, Option<(u64, usize)>) {
    (name.to_owned(), Some((newest, files)))
}

#[tokio::test]
async fn each_tenant_gets_its_files_and_its_newest_manifest() {
    let manifest = |name: &str, version| names::manifest_key(&tenant(name), version);
    let (old, new, other) = (manifest("a", 9), manifest("a", 10), manifest("a-b", 3));
    let keys = [
        "a/1.parquet",
        "a/2024-01/2.parquet",
        "a-b/1.parquet",
        "a0/1.parquet",
        "a.b/1.parquet",
        "a.txt",
        "_icepack/runs/x.json",
        &old,
        &new,
        &other,
    ];
    let store = store(&keys).await;
    let found = seen(store.as_ref(), &range(&["a", "a-b", "a.b", "a0"], &[])).await;
    assert_eq!(
        found,
        [
            some("a-b", 3, 1),
            some("a.b", 0, 1),
            some("a", 10, 2),
            some("a0", 0, 1)
        ]
    );
}

#[tokio::test]
async fn nothing_before_or_behind_the_range_is_asked_for() {
    let many = |folder: &str| {
        (0..3_500)
            .map(|i| format!("{folder}/{i:05}.parquet"))
            .collect::<Vec<_>>()
    };
    let (before, behind) = (many("a"), many("zzz"));
    let mut keys: Vec<&str> = before.iter().chain(&behind).map(String::as_str).collect();
    keys.extend(["b/1.parquet", "c/1.parquet"]);
    let (counting, counters) = CountingStore::new(store(&keys).await);
    let found = seen(counting.as_ref(), &range(&["b", "c"], &["a", "zzz"])).await;
    assert_eq!(found, [some("b", 0, 1), some("c", 0, 1)]);
    assert_eq!(
        (counters.read().list, counters.read().total()),
        (2, 2),
        "one page of files, one of manifests"
    );
}

#[tokio::test]
async fn a_large_tenant_is_left_to_a_look_and_not_listed_to_its_end() {
    let large: Vec<String> = (0..20_000).map(|i| format!("b/{i:05}.parquet")).collect();
    let mut keys: Vec<&str> = large.iter().map(String::as_str).collect();
    keys.extend(["a/1.parquet", "c/1.parquet"]);
    let (counting, counters) = CountingStore::new(store(&keys).await);
    let found = seen(counting.as_ref(), &range(&["a", "b", "c"], &[])).await;
    assert_eq!(
        found,
        [some("a", 0, 1), ("b".to_owned(), None), some("c", 0, 1)]
    );
    assert_eq!(
        counters.read().total(),
        3,
        "its first page, the one after it, and one of manifests"
    );
}

#[tokio::test]
async fn a_tenant_without_files_is_unknown() {
    let store = store(&["a/1.parquet", &names::manifest_key(&tenant("b"), 1)]).await;
    assert_eq!(
        seen(store.as_ref(), &range(&["a", "b"], &[])).await,
        [some("a", 0, 1), ("b".to_owned(), None)]
    );
}

/// Lists as `order` says, and fails after so many keys.
#[derive(Debug)]
struct Odd {
    inner: Arc<InMemory>,
    order: fn(&mut [ObjectMeta]),
    fails_after: usize,
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("odd")
    }
}

#[async_trait]
impl ObjectStore for Odd {
    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let (inner, order, most) = (
            self.inner.list_with_offset(prefix, offset),
            self.order,
            self.fails_after,
        );
        let all = async move {
            let mut metas: Vec<ObjectMeta> = inner.try_collect().await.unwrap();
            order(&mut metas);
            let failed = (metas.len() > most).then(|| {
                Err(object_store::Error::Generic {
                    store: "odd",
                    source: "no more".into(),
                })
            });
            stream::iter(
                metas
                    .into_iter()
                    .take(most)
                    .map(Ok)
                    .chain(failed)
                    .collect::<Vec<_>>(),
            )
        };
        stream::once(all).flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
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

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_store_that_lists_in_no_order_gives_no_hints() {
    let inner = store(&["a/1.parquet", "a/2.parquet", "b/1.parquet", "c/1.parquet"]).await;
    let all = range(&["a", "b", "c"], &[]);
    let orders: [fn(&mut [ObjectMeta]); 3] = [
        <[_]>::reverse,
        |m| m.rotate_left(m.len().min(1)),
        |m| m.rotate_right(m.len().min(1)),
    ];
    for order in orders {
        let odd = Odd {
            inner: Arc::clone(&inner),
            order,
            fails_after: 10,
        };
        let found = seen(&odd, &all).await;
        assert!(found.iter().all(|(_, hint)| hint.is_none()), "{found:?}");
    }
    let sound = Odd {
        inner,
        order: |_| {},
        fails_after: 10,
    };
    assert!(
        seen(&sound, &all)
            .await
            .iter()
            .all(|(_, hint)| hint.is_some())
    );
}

#[tokio::test]
async fn a_listing_that_fails_gives_no_hints() {
    let inner = store(&["a/1.parquet", "b/1.parquet", "c/1.parquet"]).await;
    for fails_after in 0..3 {
        let odd = Odd {
            inner: Arc::clone(&inner),
            order: |_| {},
            fails_after,
        };
        let found = seen(&odd, &range(&["a", "b", "c"], &[])).await;
        assert!(
            found.iter().all(|(_, hint)| hint.is_none()),
            "{fails_after}: {found:?}"
        );
    }
}
