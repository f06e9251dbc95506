//! Whether head may be believed.
//!
//! A manifest is evidence only while the store agrees with it. A manifest from a backup names
//! snapshots that were merged since, and does not name those that hold their rows now; these would
//! look like garbage. So planning and deletion need an [`Evidence`]. There is none where a snapshot
//! that head names is not in the store.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::sweep;
use crate::model::file::{Listed, Snapshot};
use crate::model::manifest::Manifest;
use crate::model::names::{Key, Tenant};
use crate::model::plan::Inventory;

/// Runners' clocks may differ by so much before the order of their ids says something.
const MARGIN: TimeDelta = TimeDelta::hours(2);

/// Head and a listing taken after it was read, of which each snapshot was seen to be there.
#[derive(Debug, Clone)]
pub struct Evidence(Inventory);

impl Evidence {
    /// `inventory`, where the store agrees. `seen` are files that its listing does not show, and
    /// that were asked for and found after head was read: a listing may be late.
    ///
    /// # Errors
    /// What head names and nobody has seen.
    pub fn new(inventory: Inventory, seen: &BTreeSet<Key>) -> Result<Self, Vec<Key>> {
        // I2: nothing follows from a head that names what is not there.
        let missing: Vec<Key> = unlisted(&inventory)
            .into_iter()
            .map(|s| s.key.clone())
            .filter(|key| !seen.contains(key))
            .collect();
        if missing.is_empty() {
            Ok(Self(inventory))
        } else {
            Err(missing)
        }
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
    let Some(head) = &inventory.head else {
        return Vec::new();
    };
    // There are many more files than snapshots.
    let named: BTreeSet<&str> = head.snapshots.iter().map(|s| s.key.as_str()).collect();
    let listed: BTreeSet<&str> = inventory
        .listing
        .iter()
        .map(|f| f.key.as_str())
        .filter(|key| named.contains(key))
        .collect();
    head.snapshots
        .iter()
        .filter(|s| !listed.contains(s.key.as_str()))
        .collect()
}

/// Outputs that head does not name and that contradict it: minted after head's commit by their ids,
/// and written long before head's object by the store's clock. So somebody put head again, after
/// them: it is an older one, and may not know of the commit that they belong to. `put_at` is the
/// store's time of head's object.
///
/// What a run leaves that broke off is younger than head both ways. A copy that keeps times hides
/// this; then only a missing snapshot tells.
pub fn overtaken(inventory: &Inventory, put_at: DateTime<Utc>) -> Vec<Key> {
    let younger = younger(inventory);
    younger
        .into_iter()
        .filter(|f| {
            f.modified
                .checked_add_signed(MARGIN)
                .is_some_and(|t| t < put_at)
        })
        .map(|f| f.key.clone())
        .collect()
}

/// Outputs that head does not name, with ids minted after its commit.
pub fn younger(inventory: &Inventory) -> Vec<&Listed> {
    let Some(head) = &inventory.head else {
        return Vec::new();
    };
    sweep::orphans(head, &inventory.listing)
        .into_iter()
        .filter(|(id, _)| *id > head.commit_id)
        .map(|(_, f)| f)
        .collect()
}

/// Why nothing is done to a tenant whose head was put again after `overtaken` were written.
pub fn refusal_of_older(tenant: &Tenant, version: u64, overtaken: &[Key]) -> String {
    let (n, first) = (
        overtaken.len(),
        overtaken.first().map_or("", String::as_str),
    );
    format!(
        "version {version} of the manifest of tenant `{tenant}` was put into the store after {n} \
         of its snapshots were written, first `{first}`, and does not know them. Either it is an \
         older manifest that was brought back, or a runner's clock is hours wrong. Nothing of the \
         tenant was changed. Bring back the newest manifest: `icepack verify --tenant {tenant}` \
         lists the files, and the runbook has the steps"
    )
}

/// Why nothing is done to a tenant of which `missing` are not there, and what to do.
pub fn refusal(tenant: &Tenant, version: u64, missing: &[Key]) -> String {
    let first = missing.first().map_or("", String::as_str);
    let snapshots = if missing.len() == 1 {
        "1 snapshot that is".to_owned()
    } else {
        format!("{} snapshots that are", missing.len())
    };
    format!(
        "version {version} of the manifest of tenant `{tenant}` names {snapshots} not in the \
         store, first `{first}`. Either the manifest is older than the data (a backup was brought \
         back), or a rule or a person deleted or moved files. Nothing of the tenant was changed. \
         Bring back the newest manifest, or the files under these names: `icepack verify --tenant \
         {tenant}` lists them, and the runbook has the steps"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::file::{Micros, RowStats};
    use crate::model::manifest::Stamp;
    use crate::model::names::{FileId, Place, snapshot_key};

    fn inventory(live: &[u64], listed: &[u64]) -> Inventory {
        let tenant = Tenant::parse("acme").unwrap();
        let id = |n: u64| FileId(ulid::Ulid::from_parts(n, 1));
        let key = |n: u64| {
            snapshot_key(
                &Place::Month(tenant.clone()),
                &tenant,
                Micros(0),
                Micros(0),
                id(n),
            )
        };
        let mut head = Manifest::first(
            tenant.clone(),
            Stamp {
                run_id: id(1),
                commit_id: id(1),
                at: DateTime::UNIX_EPOCH,
            },
        );
        head.snapshots = live
            .iter()
            .map(|n| Snapshot {
                key: key(*n),
                id: id(*n),
                size: 1,
                etag: None,
                schema: None,
                stats: RowStats::default(),
                dated_by: None,
            })
            .collect();
        let listing = listed
            .iter()
            .map(|n| Listed {
                key: key(*n),
                size: 1,
                etag: None,
                modified: DateTime::UNIX_EPOCH,
            })
            .collect();
        Inventory {
            head: Some(head),
            listing,
        }
    }

    #[test]
    fn head_is_evidence_while_each_of_its_snapshots_was_seen() {
        let nothing = BTreeSet::new();
        assert!(
            Evidence::new(inventory(&[1, 2], &[1, 2, 3]), &nothing).is_ok(),
            "an orphan contradicts nothing"
        );
        assert!(
            Evidence::new(
                Inventory {
                    head: None,
                    listing: Vec::new()
                },
                &nothing
            )
            .is_ok()
        );
        let late = inventory(&[1, 2], &[1, 3]);
        let key = late.head.as_ref().unwrap().snapshots[1].key.clone();
        assert_eq!(
            Evidence::new(late.clone(), &nothing).unwrap_err(),
            std::slice::from_ref(&key)
        );
        assert!(
            Evidence::new(late, &[key].into()).is_ok(),
            "the listing was late"
        );
    }

    #[test]
    fn an_output_that_is_younger_than_head_by_its_id_and_older_by_the_store_contradicts_it() {
        let hour = |n: i64| DateTime::UNIX_EPOCH + TimeDelta::hours(n);
        // Head's commit is of the first millisecond, and so is what it names; the output is of the
        // third.
        let mut found = inventory(&[1], &[1, 3]);
        found.listing[1].modified = hour(10);
        let orphan = found.listing[1].key.clone();
        assert_eq!(overtaken(&found, hour(13)), [orphan]);
        assert_eq!(
            overtaken(&found, hour(12)),
            Vec::<Key>::new(),
            "clocks differ"
        );
        assert_eq!(
            overtaken(&found, hour(9)),
            Vec::<Key>::new(),
            "left by a run that broke off since"
        );
        // What came before head by its id is an orphan like any other.
        let known = Inventory {
            head: found.head.clone().map(|m| Manifest {
                commit_id: FileId(ulid::Ulid::from_parts(4, 1)),
                ..m
            }),
            ..found
        };
        assert_eq!(overtaken(&known, hour(13)), Vec::<Key>::new());
    }
}
