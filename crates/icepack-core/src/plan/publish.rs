//! What a published table lacks to show the live view, and which files its readers still need.
//!
//! The table follows the manifest. Nothing here knows what this run did: the difference between the
//! two is all that there is to do. So the next run finishes a publication that broke off.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::file::Listed;
use crate::model::manifest::{Manifest, Totals};
use crate::model::names::{self, FileKind, Key, Tenant};
use crate::model::partition;
use crate::model::plan::Inventory;
use crate::model::publish::{Published, PublishedFile, Readers};
use crate::model::same::Sameness;

/// A file that a table ought to name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Size in bytes.
    pub size: u64,
    /// Milliseconds since 1970, by the store.
    pub modified: i64,
    /// Of a snapshot; a raw file was read by nobody.
    pub rows: Option<u64>,
}

impl Wanted {
    fn is_snapshot(&self) -> bool {
        self.rows.is_some()
    }

    /// A snapshot is never replaced; a raw file may be.
    fn is(&self, found: &PublishedFile) -> bool {
        self.is_snapshot() || (self.size, self.modified) == (found.size, found.modified)
    }
}

/// One version of the table on top of another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    pub add: BTreeSet<Key>,
    /// Files to name no more.
    pub remove: BTreeSet<Key>,
    /// Whether rows came or went: false where the same rows only moved to other files.
    pub data_change: bool,
}

/// Why a tenant cannot be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// A table never goes back to older rows: they may be gone.
    #[error(
        "its table shows version {published} of the manifest, but head is {head}: was an older \
         manifest brought back? Remove the table's log to have it made anew"
    )]
    Backwards {
        /// What the table shows.
        published: u64,
        head: u64,
    },
    /// Readers of the table would fail.
    #[error("head names `{0}`, which is not in the store: `icepack verify` tells more")]
    Missing(Key),
    /// A table has one list of partition columns, and each is of the folders alone.
    #[error(
        "the folder `{folder}` {why}: a table cannot show that. Write such files to another folder \
         or tenant, or unset `publish.delta` and remove the table's log"
    )]
    Folder {
        /// Of a live file.
        folder: Key,
        why: String,
    },
    /// Delta cannot change what a table is partitioned by.
    #[error(
        "its table is partitioned by {table}, and the folder `{folder}` gives {given}. Remove \
         `{log}/` to have the table made anew; tenants of a shared table need folders of the same \
         keys"
    )]
    Repartitioned {
        /// Of a live file.
        folder: Key,
        table: String,
        given: String,
        log: Key,
    },
}

/// The files of the live view that a table can name: no quarantined ones, which nobody can read.
///
/// # Errors
/// [`Obstacle::Missing`].
pub fn wanted(tenant: &Tenant, inventory: &Inventory) -> Result<BTreeMap<Key, Wanted>, Obstacle> {
    let head = inventory.head.as_ref();
    let listed: BTreeMap<&str, &Listed> = inventory
        .listing
        .iter()
        .map(|f| (f.key.as_str(), f))
        .collect();
    let mut files = BTreeMap::new();
    for s in head.iter().flat_map(|m| &m.snapshots) {
        let found = listed
            .get(s.key.as_str())
            .ok_or_else(|| Obstacle::Missing(s.key.clone()))?;
        files.insert(
            s.key.clone(),
            Wanted {
                size: s.size,
                modified: found.modified.timestamp_millis(),
                rows: Some(s.stats.rows),
            },
        );
    }
    let used = head.map(Manifest::used_names);
    let is_used = |f: &Listed| {
        used.as_ref()
            .is_some_and(|used| used.has(&f.key, f.etag.as_deref()))
    };
    let quarantined: BTreeMap<&str, Option<&str>> = head
        .iter()
        .flat_map(|m| &m.quarantined)
        .map(|q| (q.key.as_str(), q.etag.as_deref()))
        .collect();
    // Nobody could read what is not known to be another file.
    let readable = |f: &Listed| {
        quarantined
            .get(f.key.as_str())
            .is_none_or(|known| Sameness::of(*known, f.etag.as_deref()).is_other())
    };
    for f in &inventory.listing {
        if names::classify(tenant, &f.key) == FileKind::Raw && !is_used(f) && readable(f) {
            files.insert(
                f.key.clone(),
                Wanted {
                    size: f.size,
                    modified: f.modified.timestamp_millis(),
                    rows: None,
                },
            );
        }
    }
    Ok(files)
}

/// The columns that are in no file of a tenant, but in the names of its folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderColumns {
    /// A folder that says so.
    folder: Key,
    names: Vec<String>,
}

impl FolderColumns {
    /// In the order of the folders.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What a table cannot be made of.
    pub fn obstacle(&self, why: String) -> Obstacle {
        Obstacle::Folder {
            folder: self.folder.clone(),
            why,
        }
    }

    /// That the table with this `log` is partitioned by them.
    ///
    /// # Errors
    /// [`Obstacle::Repartitioned`].
    pub fn are(&self, table: &[String], log: Key) -> Result<(), Obstacle> {
        if self.names == table {
            return Ok(());
        }
        Err(Obstacle::Repartitioned {
            folder: self.folder.clone(),
            table: listed(table),
            given: listed(&self.names),
            log,
        })
    }

    /// That none of them is a column of the file `key` too: which of the two values readers would
    /// find, depends on the reader.
    ///
    /// # Errors
    /// [`Obstacle::Folder`].
    pub fn are_none_of<'a>(
        &self,
        key: &str,
        columns: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Obstacle> {
        let both = |column: &&str| self.names.iter().any(|name| is_same(name, column));
        columns.into_iter().find(both).map_or(Ok(()), |column| {
            Err(self.obstacle(format!(
                "gives the column `{column}`, which `{key}` has too"
            )))
        })
    }
}

/// Delta does not tell capital letters from small ones.
fn is_same(name: &str, other: &str) -> bool {
    name.to_lowercase() == other.to_lowercase()
}

fn listed(columns: &[String]) -> String {
    if columns.is_empty() {
        return "no column".to_owned();
    }
    let names: Vec<String> = columns.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// The columns that the folders of the live files give to their rows; none where no file lives.
///
/// # Errors
/// [`Obstacle::Folder`] where they do not agree, or say what no table can.
pub fn folder_columns(
    tenant: &Tenant,
    wanted: &BTreeMap<Key, Wanted>,
) -> Result<Option<FolderColumns>, Obstacle> {
    let mut known: Option<FolderColumns> = None;
    let mut last = None;
    for key in wanted.keys() {
        let folder = names::folder(key);
        if last == Some(folder) {
            continue;
        }
        last = Some(folder);
        let found = FolderColumns {
            folder: folder.to_owned(),
            names: Vec::new(),
        };
        let columns = partition::of(tenant, key).map_err(|segment| {
            found.obstacle(format!("has `{segment}`, whose escapes are no UTF-8"))
        })?;
        let names: Vec<String> = columns.into_iter().map(|(name, _)| name).collect();
        for (n, name) in names.iter().enumerate() {
            if names[..n].iter().any(|other| is_same(name, other)) {
                return Err(found.obstacle(format!("gives the column `{name}` twice")));
            }
        }
        match &known {
            None => known = Some(FolderColumns { names, ..found }),
            Some(known) if known.names == names => {}
            Some(known) => {
                return Err(found.obstacle(format!(
                    "gives {}, and `{}` gives {}",
                    listed(&names),
                    known.folder,
                    listed(&known.names)
                )));
            }
        }
    }
    Ok(known)
}

/// The files that the table does not name as they are.
pub fn missing(wanted: &BTreeMap<Key, Wanted>, published: &Published) -> BTreeSet<Key> {
    wanted
        .iter()
        .filter(|(key, w)| published.files.get(*key).is_none_or(|p| !w.is(p)))
        .map(|(key, _)| key.clone())
        .collect()
}

/// Rows that have left a tenant since it began.
pub fn left(totals: &Totals) -> u64 {
    totals.rows_archived + totals.rows_expired + totals.rows_deduplicated
}

/// The versions to write, in order, so that the table names the files of `wanted` and no others.
/// Each of them alone shows every row of its files once.
///
/// `published` must have been read before head was: then no older head can come after it.
///
/// # Errors
/// [`Obstacle::Backwards`].
pub fn steps(
    head: Option<&Manifest>,
    wanted: &BTreeMap<Key, Wanted>,
    published: &Published,
) -> Result<Vec<Step>, Obstacle> {
    let version = head.map_or(0, |m| m.version);
    if let Some(before) = published.manifest
        && before > version
    {
        return Err(Obstacle::Backwards {
            published: before,
            head: version,
        });
    }
    let add = missing(wanted, published);
    let remove: BTreeSet<Key> = published
        .files
        .keys()
        .filter(|key| !wanted.contains_key(*key))
        .cloned()
        .collect();
    if add.is_empty() && remove.is_empty() {
        // Files that head retired may be deleted only once no older head can be published any more:
        // the next version must be taken.
        let retires = head.is_some_and(|m| !m.retired.is_empty());
        let overtaken = retires && published.manifest.is_none_or(|before| before < version);
        return Ok(if overtaken {
            vec![Step::default()]
        } else {
            Vec::new()
        });
    }
    let (snapshots, raw): (BTreeSet<Key>, BTreeSet<Key>) = add
        .iter()
        .cloned()
        .partition(|key| wanted.get(key).is_some_and(Wanted::is_snapshot));
    if !only_moved(head, wanted, published, &snapshots, &remove)
        || raw.iter().any(|key| published.files.contains_key(key))
    {
        return Ok(vec![Step {
            add,
            remove,
            data_change: true,
        }]);
    }
    let moved = Step {
        add: snapshots,
        remove,
        data_change: false,
    };
    let came = (!raw.is_empty()).then_some(Step {
        add: raw,
        remove: BTreeSet::new(),
        data_change: true,
    });
    Ok(std::iter::once(moved).chain(came).collect())
}

/// A digest of what there is to publish, that another never has: never 0, and a number that Delta
/// can have.
pub fn digest(wanted: &BTreeMap<Key, Wanted>, keep: Duration) -> u64 {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    hash.update(&keep.as_secs().to_le_bytes());
    for (key, w) in wanted {
        hash.update(&(key.len() as u64).to_le_bytes());
        hash.update(key.as_bytes());
        // A snapshot is never replaced.
        let modified = if w.is_snapshot() { 0 } else { w.modified };
        hash.update(&w.size.to_le_bytes());
        hash.update(&modified.to_le_bytes());
        hash.update(&w.rows.map_or(0, |rows| rows + 1).to_le_bytes());
    }
    (hash.digest() >> 1).max(1)
}

/// The one version after which the table names the files of `wanted` and no others, each as it is
/// told of now.
pub fn anew(wanted: &BTreeMap<Key, Wanted>, published: &Published) -> Step {
    let goes = |key: &&Key| !wanted.contains_key(*key);
    Step {
        add: wanted.keys().cloned().collect(),
        remove: published.files.keys().filter(goes).cloned().collect(),
        data_change: true,
    }
}

/// Whether the files that go hold exactly the rows of the snapshots that come. Rows leave in three
/// ways, and come in by raw files that were never published: where none has left since, and the
/// sums agree, none came either.
fn only_moved(
    head: Option<&Manifest>,
    wanted: &BTreeMap<Key, Wanted>,
    published: &Published,
    come: &BTreeSet<Key>,
    go: &BTreeSet<Key>,
) -> bool {
    let Some(head) = head else { return false };
    let coming: Option<u64> = come
        .iter()
        .map(|key| wanted.get(key).and_then(|w| w.rows))
        .sum();
    let going: Option<u64> = go
        .iter()
        .map(|key| published.files.get(key).and_then(|p| p.rows))
        .sum();
    !go.is_empty()
        && published.left == Some(left(&head.totals))
        && coming.is_some()
        && coming == going
}

/// Those of `keys`, which `head` has retired, that no reader of the table needs: neither of its
/// newest version nor, for as long as `keep`, of an older one.
pub fn unread(
    keys: Vec<Key>,
    head: &Manifest,
    readers: &Readers,
    keep: Duration,
    now: DateTime<Utc>,
) -> Vec<Key> {
    // A run that read its head before this one may be about to publish it, with files that this
    // head has retired. It cannot once this head is published.
    if readers
        .published
        .manifest
        .is_none_or(|version| version < head.version)
    {
        return Vec::new();
    }
    unnamed(keys, readers, keep, now)
}

/// Those of `keys` that the table does not name, nor has named for as long as `keep`. Enough for
/// files that no head names nor ever can: nobody can be about to publish them.
pub fn unnamed(keys: Vec<Key>, readers: &Readers, keep: Duration, now: DateTime<Utc>) -> Vec<Key> {
    if keep > readers.remembered {
        return Vec::new();
    }
    let keep = TimeDelta::from_std(keep).unwrap_or(TimeDelta::MAX);
    // Nobody may read an older version: it does not matter when.
    let over = |at: &DateTime<Utc>| {
        keep.is_zero() || at.checked_add_signed(keep).is_some_and(|t| t <= now)
    };
    keys.into_iter()
        .filter(|key| {
            !readers.published.files.contains_key(key) && readers.removed.get(key).is_none_or(over)
        })
        .collect()
}

#[cfg(test)]
mod tests;
