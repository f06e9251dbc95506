//! Whether head may be believed.
//!
//! A manifest is evidence only while the store agrees with it. One that was brought back from a backup names snapshots that were merged since, and does not name those that
//! hold their rows now: what it does not name would look like garbage. So whoever plans or deletes asks for an [`Evidence`], and there is none where a snapshot that head
//! names is not there.

use std::collections::BTreeSet;

use crate::model::file::{Listed, Snapshot};
use crate::model::manifest::Manifest;
use crate::model::names::{Key, Tenant};
use crate::model::plan::Inventory;

/// Head and a listing taken after it was read, of which each snapshot was seen to be there.
#[derive(Debug, Clone)]
pub struct Evidence(Inventory);

impl Evidence {
    /// `inventory`, where the store agrees. `seen` are files that its listing does not show, and that were asked for and found after head was read: a listing may be late.
    ///
    /// # Errors
    /// What head names and nobody has seen.
    pub fn new(inventory: Inventory, seen: &BTreeSet<Key>) -> Result<Self, Vec<Key>> {
        let missing: Vec<Key> = unlisted(&inventory).into_iter().map(|s| s.key.clone()).filter(|key| !seen.contains(key)).collect();
        if missing.is_empty() { Ok(Self(inventory)) } else { Err(missing) }
    }

    /// The head, if the tenant has one.
    pub fn head(&self) -> Option<&Manifest> {
        self.0.head.as_ref()
    }

    /// The listing.
    pub fn listing(&self) -> &[Listed] {
        &self.0.listing
    }

    /// Both, to plan with.
    pub fn into_inventory(self) -> Inventory {
        self.0
    }
}

/// The snapshots that head names and the listing does not show.
pub fn unlisted(inventory: &Inventory) -> Vec<&Snapshot> {
    let Some(head) = &inventory.head else { return Vec::new() };
    let listed: BTreeSet<&str> = inventory.listing.iter().map(|f| f.key.as_str()).collect();
    head.snapshots.iter().filter(|s| !listed.contains(s.key.as_str())).collect()
}

/// Why nothing is done to a tenant of which `missing` are not there, and what to do.
pub fn refusal(tenant: &Tenant, version: u64, missing: &[Key]) -> String {
    let first = missing.first().map_or("", String::as_str);
    let snapshots = if missing.len() == 1 { "1 snapshot that is".to_owned() } else { format!("{} snapshots that are", missing.len()) };
    format!(
        "version {version} of the manifest of tenant `{tenant}` names {snapshots} not in the store, first `{first}`. Either the manifest is older than the data (a backup was brought back), or a rule or a person deleted or moved files. Nothing of the tenant was changed. Bring back the newest manifest, or the files under these names: `icepack verify --tenant {tenant}` lists them, and the runbook has the steps"
    )
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::model::file::{Micros, RowStats};
    use crate::model::manifest::Stamp;
    use crate::model::names::{FileId, snapshot_key};

    fn inventory(live: &[u64], listed: &[u64]) -> Inventory {
        let tenant = Tenant::parse("acme").unwrap();
        let id = |n: u64| FileId(ulid::Ulid::from_parts(n, 1));
        let key = |n: u64| snapshot_key(&tenant, Micros(0), Micros(0), id(n));
        let mut head = Manifest::first(tenant.clone(), Stamp { run_id: id(1), commit_id: id(1), at: DateTime::UNIX_EPOCH });
        head.snapshots = live.iter().map(|n| Snapshot { key: key(*n), id: id(*n), size: 1, etag: None, schema: None, stats: RowStats::default() }).collect();
        let listing = listed.iter().map(|n| Listed { key: key(*n), size: 1, etag: None, modified: DateTime::UNIX_EPOCH }).collect();
        Inventory { head: Some(head), listing }
    }

    #[test]
    fn head_is_evidence_while_each_of_its_snapshots_was_seen() {
        let nothing = BTreeSet::new();
        assert!(Evidence::new(inventory(&[1, 2], &[1, 2, 3]), &nothing).is_ok(), "an orphan contradicts nothing");
        assert!(Evidence::new(Inventory { head: None, listing: Vec::new() }, &nothing).is_ok());
        let late = inventory(&[1, 2], &[1, 3]);
        let key = late.head.as_ref().unwrap().snapshots[1].key.clone();
        assert_eq!(Evidence::new(late.clone(), &nothing).unwrap_err(), [key.clone()]);
        assert!(Evidence::new(late, &[key].into()).is_ok(), "the listing was late");
    }
}
