//! A reader of symlink manifests that shares nothing with the job: it knows what Hive's
//! `SymlinkTextInputFormat` does. A table's folder is listed without hidden names, each file in it
//! is a text, and each line of it is the whole address of a file.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::Store;

/// The addresses of each partition of a tenant's table.
pub async fn lists(store: &Store, tenant: &str) -> BTreeMap<String, Vec<String>> {
    let place = format!("{tenant}/_symlink_format_manifest/");
    let below = Path::from(place.trim_end_matches('/'));
    let metas: Vec<_> = store.list(Some(&below)).try_collect().await.unwrap();
    let mut lists = BTreeMap::new();
    for meta in metas {
        let key = meta.location.as_ref();
        let (folder, name) = key[place.len() - 1..].rsplit_once('/').unwrap();
        if name.starts_with(['_', '.']) {
            continue;
        }
        let body = match store.get(&meta.location).await {
            Ok(found) => found.bytes().await.unwrap(),
            // It was removed just now.
            Err(object_store::Error::NotFound { .. }) => continue,
            Err(e) => panic!("{e}"),
        };
        let text = std::str::from_utf8(&body).unwrap();
        assert!(!text.contains("\n\n"), "Hadoop has no empty path");
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let distinct: BTreeSet<&String> = lines.iter().collect();
        assert_eq!(distinct.len(), lines.len(), "a file is there twice: {text}");
        lists.insert(folder.trim_start_matches('/').to_owned(), lines);
    }
    lists
}

/// The keys of all that is listed, of a store whose address is `root`.
pub async fn keys(store: &Store, tenant: &str, root: &str) -> Vec<String> {
    let lists = lists(store, tenant).await;
    let lines = lists.into_values().flatten();
    let key = |line: String| {
        let key = line.strip_prefix(root).and_then(|k| k.strip_prefix('/'));
        key.unwrap_or_else(|| panic!("{line} is not below {root}"))
            .to_owned()
    };
    let mut keys: Vec<String> = lines.map(key).collect();
    keys.sort();
    keys
}
