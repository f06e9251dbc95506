//! A reader of Delta logs that shares nothing with the job, nor with delta_kernel: it replays the
//! JSON of every version.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::Store;

/// One version.
#[derive(Debug, Clone, Default)]
pub struct Version {
    /// Rows by the statistics, by key.
    pub files: BTreeMap<String, u64>,
    /// Of the manifest, by tenant.
    pub manifests: BTreeMap<String, u64>,
    /// Whether its adds and removes say that rows came or went; none where it has none.
    pub data_change: Option<bool>,
    /// Columns and their types.
    pub columns: BTreeMap<String, Value>,
    /// Those that the table is partitioned by.
    pub partition_columns: Vec<String>,
    /// Their values, by key.
    pub partitions: BTreeMap<String, Value>,
    /// The table's own.
    pub properties: BTreeMap<String, String>,
    /// What is said of each file, by key.
    pub stats: BTreeMap<String, Value>,
}

/// Every version of the table below `folder` (empty: the root), from 0 on. Panics where one is
/// missing.
pub async fn versions(store: &Store, folder: &str) -> Vec<Version> {
    let prefix = if folder.is_empty() {
        String::new()
    } else {
        format!("{folder}/")
    };
    let log = Path::from(format!("{prefix}_delta_log"));
    let metas: Vec<_> = store
        .list(Some(&log))
        .try_collect()
        .await
        .unwrap_or_default();
    let mut names: Vec<String> = metas
        .iter()
        .filter_map(|m| m.location.filename())
        .filter(|n| n.ends_with(".json"))
        .map(str::to_owned)
        .collect();
    names.sort();
    let (mut versions, mut now) = (Vec::new(), Version::default());
    for (n, name) in names.iter().enumerate() {
        assert_eq!(*name, format!("{n:020}.json"), "a version is missing");
        let body = store
            .get(&log.clone().join(name.as_str()))
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        let lines: Vec<Value> = std::str::from_utf8(&body)
            .unwrap()
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        take(&mut now, &prefix, &lines);
        versions.push(now.clone());
    }
    versions
}

fn take(now: &mut Version, prefix: &str, lines: &[Value]) {
    let key = |action: &Value| {
        format!(
            "{prefix}{}",
            percent_decode_str(action["path"].as_str().unwrap())
                .decode_utf8()
                .unwrap()
        )
    };
    let (mut added, mut changes) = (BTreeSet::new(), BTreeSet::new());
    for add in lines.iter().filter_map(|l| l.get("add")) {
        let stats: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
        let is_change = add["dataChange"].as_bool().unwrap();
        // Of a file that the table has, something else may be told.
        if is_change || !now.files.contains_key(&key(add)) {
            changes.insert(is_change);
        }
        added.insert(key(add));
        now.stats.insert(key(add), stats.clone());
        now.files
            .insert(key(add), stats["numRecords"].as_u64().unwrap());
        now.partitions
            .insert(key(add), add["partitionValues"].clone());
    }
    for remove in lines.iter().filter_map(|l| l.get("remove")) {
        changes.insert(remove["dataChange"].as_bool().unwrap());
        assert!(
            !added.contains(&key(remove)),
            "{} comes and goes in one version",
            key(remove)
        );
        assert!(
            now.files.remove(&key(remove)).is_some(),
            "{} goes and was not there",
            key(remove)
        );
        now.partitions.remove(&key(remove));
        now.stats.remove(&key(remove));
    }
    assert!(changes.len() <= 1, "one version, one kind of change");
    now.data_change = changes.into_iter().next();
    for txn in lines.iter().filter_map(|l| l.get("txn")) {
        let app = txn["appId"].as_str().unwrap();
        let Some(tenant) = app.strip_prefix("icepack/").filter(|t| !t.contains('/')) else {
            continue;
        };
        let version = txn["version"].as_u64().unwrap();
        let before = now.manifests.insert(tenant.to_owned(), version);
        assert!(
            // A tenant that is no more begins again.
            version == 0 || before.is_none_or(|b| b <= version),
            "`{tenant}` goes back from {before:?} to {version}"
        );
    }
    if let Some(metadata) = lines.iter().find_map(|l| l.get("metaData")) {
        let schema: Value =
            serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
        now.properties = serde_json::from_value(metadata["configuration"].clone()).unwrap();
        let partitions = metadata["partitionColumns"].as_array().unwrap().iter();
        now.partition_columns = partitions.map(|c| c.as_str().unwrap().to_owned()).collect();
        now.columns = schema["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| (f["name"].as_str().unwrap().to_owned(), f["type"].clone()))
            .collect();
    }
}
