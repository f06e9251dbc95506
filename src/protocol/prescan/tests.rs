use std::sync::Arc;

use icepack_dst::intercept::{InterceptStore, Reply};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;

use super::*;
use crate::store::counting::CountingStore;
use icepack_core::model::layout::Layout;
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
fn odd(inner: &Arc<InMemory>, order: fn(&mut [ObjectMeta]), fails_after: usize) -> InterceptStore {
    let inner = Arc::clone(inner) as Arc<dyn ObjectStore>;
    InterceptStore::new(inner, move |request, call| async move {
        let mut reply = call.await?;
        if let (Reply::Page(page), Some(_)) = (&mut reply, request.after) {
            let mut metas: Vec<ObjectMeta> = page.entries.drain(..).flatten().collect();
            order(&mut metas);
            let failed = (metas.len() > fails_after).then(|| {
                Err(object_store::Error::Generic {
                    store: "odd",
                    source: "no more".into(),
                })
            });
            let shown = metas.into_iter().take(fails_after).map(Ok);
            page.entries = shown.chain(failed).collect();
        }
        Ok(reply)
    })
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
        let odd = odd(&inner, order, 10);
        let found = seen(&odd, &all).await;
        assert!(found.iter().all(|(_, hint)| hint.is_none()), "{found:?}");
    }
    let sound = odd(&inner, |_| {}, 10);
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
        let odd = odd(&inner, |_| {}, fails_after);
        let found = seen(&odd, &range(&["a", "b", "c"], &[])).await;
        assert!(
            found.iter().all(|(_, hint)| hint.is_none()),
            "{fails_after}: {found:?}"
        );
    }
}

/// Tenants whose folders have text around their names lie in the order of those all the same.
#[tokio::test]
async fn tenants_of_another_layout_get_their_files() {
    let layout = Layout::parse("topics/t={tenant}/**").unwrap();
    let manifest = |name: &str, version| names::manifest_key(&tenant(name), version);
    let keys = [
        "a/1.parquet",
        "topics/t=a/1.parquet",
        "topics/t=a/2024-01/2.parquet",
        "topics/t=a-b/1.parquet",
        "topics/t=a0/1.parquet",
        "topics/a0/1.parquet",
        &manifest("a", 10),
        &manifest("a-b", 3),
    ];
    let store = store(&keys).await;
    let mut range = range(&["a", "a-b", "a0"], &[]);
    range.tenants = range
        .tenants
        .into_iter()
        .map(|t| t.within(&layout))
        .collect();
    let found = seen(store.as_ref(), &range).await;
    let wanted = [some("a-b", 3, 1), some("a", 10, 2), some("a0", 0, 1)];
    assert_eq!(found, wanted);
}

/// Where any folder may stand above a tenant, one listing of everything serves all of them.
#[tokio::test]
async fn tenants_under_a_wildcard_get_their_files_from_one_listing() {
    let layout = Layout::parse("*/t={tenant}/**").unwrap();
    let manifest = |name: &str, version| names::manifest_key(&tenant(name), version);
    let many: Vec<String> = (0..MOST + 1).map(|i| format!("2026/t=b/{i:05}")).collect();
    let mut keys: Vec<&str> = many.iter().map(String::as_str).collect();
    let (head, runs) = (manifest("a", 10), "_icepack/runs/x.json");
    keys.extend([
        "2026/t=a/1.parquet",
        "2025/t=a/x/2.parquet",
        "2025/t=c/1.parquet",
        "_tmp/t=c/1.parquet",
        "2025/1.parquet",
        "t=c/1.parquet",
        &head,
        runs,
    ]);
    let (counting, counters) = CountingStore::new(store(&keys).await);
    let mut range = range(&["a", "b", "c"], &[]);
    range.tenants = range
        .tenants
        .into_iter()
        .map(|t| t.within(&layout))
        .collect();
    let found = seen(counting.as_ref(), &range).await;
    let wanted = [some("a", 10, 2), ("b".to_owned(), None), some("c", 0, 1)];
    assert_eq!(found, wanted);
    assert_eq!(
        counters.read().total(),
        2,
        "one listing of files, one of manifests"
    );
}
