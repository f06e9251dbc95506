//! Symlink manifests, as Hive's `SymlinkTextInputFormat` reads them: which files a partition has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::manifest::WRITER;
use super::names::{Key, SYMLINK_DIR, Tenant};

/// The format of [`State`] that this version writes.
pub const STATE_FORMAT: u32 = 1;

/// The name of the state in the folder of the manifests. Its underscore hides it from readers.
const STATE: &str = "_icepack.json";

/// What engines call a manifest.
const MANIFEST: &str = "manifest";

/// A publication writes no manifest later than this after it read what is live.
pub const PUBLISH_WITHIN: Duration = Duration::from_secs(60);

/// Retired files stay at least so long after they left the manifests, whatever the settings say: a
/// publication that is still under way may know an older head. Much more than [`PUBLISH_WITHIN`],
/// for requests on their way and clocks that differ.
pub const GRACE: Duration = Duration::from_secs(15 * 60);

/// How symlink manifests are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symlink {
    /// The address of the store's root as readers open it, without a slash at its end:
    /// `s3://events/prod`. None where only the store's own opening knows it.
    pub root: Option<String>,
    /// How long files stay that the manifests name no more.
    pub keep: Duration,
}

impl Symlink {
    /// How long files stay after they left the manifests.
    pub fn wait(&self) -> Duration {
        self.keep.saturating_add(GRACE)
    }
}

/// Names of a partition's folder below that of the manifests: empty, or `dt=2026-10-01/h=7`.
pub type Folder = String;

/// The folder of a tenant's manifests, with its slash. None where the tenant has no folder of its
/// own.
pub fn place(tenant: &Tenant) -> Option<Key> {
    Some(format!("{}{SYMLINK_DIR}/", tenant.prefix()?))
}

/// The key of the state below `place`.
pub fn state_key(place: &str) -> Key {
    format!("{place}{STATE}")
}

/// The key of a partition's manifest below `place`.
pub fn manifest_key(place: &str, folder: &str) -> Key {
    if folder.is_empty() {
        format!("{place}{MANIFEST}")
    } else {
        format!("{place}{folder}/{MANIFEST}")
    }
}

/// The partition of which `key` is the manifest below `place`.
pub fn folder_of<'k>(place: &str, key: &'k str) -> Option<&'k str> {
    let folder = key.strip_prefix(place)?.strip_suffix(MANIFEST)?;
    if folder.is_empty() {
        Some(folder)
    } else {
        folder.strip_suffix('/')
    }
}

/// A manifest as it was written last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The tag that the store gave it.
    pub etag: Option<String>,
    /// Of what it lists; see [`crate::plan::symlink::digest`].
    pub digest: String,
    /// Since when it lists no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_since: Option<DateTime<Utc>>,
}

/// Files that left the manifests together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// When the last manifest without them was written.
    pub at: DateTime<Utc>,
    /// [`name`] of each.
    pub names: BTreeSet<String>,
}

/// A key in few bytes.
pub fn name(key: &str) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(key.as_bytes()))
}

/// What is known of a tenant's manifests. It lies beside them, says that they are icepack's, and is
/// written after them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The format that it has; [`STATE_FORMAT`] is the newest that is read.
    pub format: u32,
    /// Who wrote it.
    pub writer: String,
    pub tenant: Tenant,
    /// The version of the tenant's manifest that was published last.
    pub version: u64,
    /// Of all that was to be listed; none while something of it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The manifests that were written, by the folder of their partition.
    pub manifests: BTreeMap<Folder, Written>,
    /// Retired files that no manifest names, the oldest first.
    pub left: Vec<Left>,
}

impl State {
    /// Of a tenant of which nothing was published.
    pub fn new(tenant: &Tenant) -> Self {
        Self {
            format: STATE_FORMAT,
            writer: WRITER.to_owned(),
            tenant: tenant.clone(),
            version: 0,
            digest: None,
            manifests: BTreeMap::new(),
            left: Vec::new(),
        }
    }

    /// When the file `key` left the manifests; none where it may be in one.
    pub fn left_at(&self, key: &str) -> Option<DateTime<Utc>> {
        let name = name(key);
        let left = self.left.iter().find(|left| left.names.contains(&name));
        left.map(|left| left.at)
    }
}

/// What a sweep must know of the readers of symlink manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    pub state: State,
    /// How long files stay after they left the manifests, as [`Symlink::wait`] says.
    pub wait: Duration,
}

impl Listing {
    /// Whether no reader needs the file `key`, which head has retired.
    pub fn is_unread(&self, key: &str, now: DateTime<Utc>) -> bool {
        let wait = TimeDelta::from_std(self.wait).unwrap_or(TimeDelta::MAX);
        let over = |at: DateTime<Utc>| at.checked_add_signed(wait).is_some_and(|free| free <= now);
        self.state.left_at(key).is_some_and(over)
    }
}

/// What a publication of symlink manifests did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SymlinkReport {
    /// Manifests that were written.
    pub written: u64,
    /// Empty manifests that were removed.
    pub removed: u64,
    /// Files that cannot be listed, and why.
    pub left_out: Vec<String>,
    /// Whether anything was written or removed, if only the state.
    #[serde(skip)]
    pub is_changed: bool,
}

impl SymlinkReport {
    /// Adds what a later publication did.
    pub fn add(&mut self, later: Self) {
        self.written += later.written;
        self.removed += later.removed;
        self.left_out = later.left_out;
        self.is_changed |= later.is_changed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        let place = place(&Tenant::parse("acme").unwrap()).unwrap();
        for folder in ["", "dt=1", "dt=1/h=2"] {
            let key = manifest_key(&place, folder);
            assert!(key.ends_with("/manifest"), "{key}");
            assert_eq!(folder_of(&place, &key), Some(folder));
        }
        for other in [
            "acme/_symlink_format_manifest/_icepack.json",
            "acme/_symlink_format_manifest/dt=1manifest",
            "acme/manifest",
        ] {
            assert_eq!(folder_of(&place, other), None, "{other}");
        }
    }

    #[test]
    fn a_file_goes_once_its_readers_are_done() {
        let at = DateTime::UNIX_EPOCH;
        let mut state = State::new(&Tenant::parse("acme").unwrap());
        state.left.push(Left {
            at,
            names: [name("acme/a")].into(),
        });
        let wait = Duration::from_secs(100);
        let listing = Listing { state, wait };
        let after = |seconds| at + TimeDelta::seconds(seconds);
        assert!(!listing.is_unread("acme/a", after(99)));
        assert!(listing.is_unread("acme/a", after(100)));
        assert!(!listing.is_unread("acme/b", after(1_000)), "not published");
    }
}
