//! What symlink manifests are to say. They follow the tenant's manifest as a table does
//! ([`super::publish`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use crate::model::manifest::Manifest;
use crate::model::names::{self, Key, Tenant};
use crate::model::partition;
use crate::model::symlink::{Folder, Left, State, name};
use crate::plan::publish::{Obstacle, Wanted, folder_columns};

/// What a folder's name says where a row has no value.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The files of each partition. Other folders than `key=value` make none: engines look at the files
/// of a partition's own folder only.
///
/// # Errors
/// [`Obstacle::Folder`] where folders do not give the same columns.
pub fn lists(
    tenant: &Tenant,
    wanted: &BTreeMap<Key, Wanted>,
) -> Result<BTreeMap<Folder, BTreeSet<Key>>, Obstacle> {
    folder_columns(tenant, wanted)?;
    let mut lists: BTreeMap<Folder, BTreeSet<Key>> = BTreeMap::new();
    for key in wanted.keys() {
        let values = partition::of(tenant, key);
        let values = values.map_err(|folder| Obstacle::Folder {
            folder: names::folder(key).to_owned(),
            why: format!("has `{folder}`, whose escapes are no UTF-8"),
        })?;
        let folders: Vec<String> = values
            .iter()
            .map(|(name, value)| {
                let value = value.as_deref().map_or(NULL.to_owned(), escaped);
                format!("{}={value}", escaped(name))
            })
            .collect();
        let list = lists.entry(folders.join("/")).or_default();
        list.insert(key.clone());
    }
    Ok(lists)
}

/// A name or value as Hive writes it into a path: one value, one folder, however the folders of the
/// files spell it.
///
/// Source: Hive's `FileUtils.charToEscape`.
fn escaped(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_control() || "\"#%'*/:=?\\{[]^".contains(c) {
            // Into a text it cannot fail.
            let _ = write!(path, "%{:02X}", u32::from(c));
        } else {
            path.push(c);
        }
    }
    path
}

/// The text of a manifest: an address a line. Readers undo no escapes in it.
pub fn text<'k>(root: &str, keys: impl IntoIterator<Item = &'k Key>) -> String {
    keys.into_iter()
        .map(|key| format!("{root}/{key}\n"))
        .collect()
}

/// The key that a line of a manifest means.
pub fn key_of<'l>(root: &str, line: &'l str) -> Option<&'l str> {
    line.strip_prefix(root)?.strip_prefix('/')
}

/// Of what is to be listed. A raw file that was replaced under its name is listed as before.
pub fn digest<'k>(root: &str, keys: impl IntoIterator<Item = &'k Key>) -> String {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    let mut add = |part: &str| {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    };
    add(root);
    for key in keys {
        add(key);
    }
    format!("{:016x}", hash.digest())
}

/// What is known of the retired files of `head` once nothing that is listed is older than it:
/// those that were not known to have left `before`, have left `at` this time; those that head has
/// forgotten are forgotten.
pub fn left(before: &[Left], head: Option<&Manifest>, at: DateTime<Utc>) -> Vec<Left> {
    let retired = head.iter().flat_map(|head| &head.retired);
    let mut new: BTreeSet<String> = retired.map(|r| name(&r.key)).collect();
    let mut left = Vec::new();
    for known in before {
        let names: BTreeSet<String> = known.names.intersection(&new).cloned().collect();
        new.retain(|name| !names.contains(name));
        if !names.is_empty() {
            left.push(Left {
                at: known.at,
                names,
            });
        }
    }
    if !new.is_empty() {
        left.push(Left { at, names: new });
    }
    left
}

/// Whether `state` knows that all retired files of `head` have left.
pub fn knows_all_left(state: &State, head: Option<&Manifest>) -> bool {
    let mut retired = head.iter().flat_map(|head| &head.retired);
    retired.all(|r| state.left_at(&r.key).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(keys: &[&str]) -> BTreeMap<Key, Wanted> {
        let of = |key: &&str| {
            let file = Wanted {
                size: 1,
                modified: 0,
                rows: None,
            };
            ((*key).to_owned(), file)
        };
        keys.iter().map(of).collect()
    }

    #[test]
    fn a_partition_has_one_manifest_however_its_folders_are_spelled() {
        let tenant = Tenant::parse("acme").unwrap();
        let keys = [
            "acme/dt=1/h=12%3A30/a",
            "acme/dt=1/h=12:30/b",
            "acme/x/dt=1/y/h=12%3a30/c",
            "acme/dt=1/h=/d",
            "acme/dt=1/h=__HIVE_DEFAULT_PARTITION__/e",
            "acme/dt=1/h=ü b%2Bc/f",
        ];
        let found = lists(&tenant, &wanted(&keys)).unwrap();
        let found: Vec<(&str, usize)> = found.iter().map(|(f, l)| (f.as_str(), l.len())).collect();
        assert_eq!(
            found,
            [
                ("dt=1/h=12%3A30", 3),
                ("dt=1/h=__HIVE_DEFAULT_PARTITION__", 2),
                ("dt=1/h=ü b+c", 1)
            ]
        );
        let flat = lists(&tenant, &wanted(&["acme/a", "acme/2026-01/b"])).unwrap();
        assert_eq!(flat.keys().collect::<Vec<_>>(), [""]);
        assert!(lists(&tenant, &wanted(&["acme/a", "acme/dt=1/b"])).is_err());
        assert!(lists(&tenant, &wanted(&["acme/dt=%FF/b"])).is_err());
    }

    #[test]
    fn lines_are_addresses_without_escapes() {
        let keys = ["acme/a b%3A.parquet".to_owned()];
        let text = text("s3://b/p", &keys);
        assert_eq!(text, "s3://b/p/acme/a b%3A.parquet\n");
        assert_eq!(key_of("s3://b/p", text.trim_end()), Some(keys[0].as_str()));
        assert_eq!(key_of("s3://b/other", text.trim_end()), None);
        let other = ["acme/a".to_owned(), "b".to_owned()];
        assert_ne!(digest("r", &keys), digest("r", &other));
        assert_ne!(digest("r", &keys), digest("s", &keys));
    }
}
