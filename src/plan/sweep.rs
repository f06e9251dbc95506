//! What may be deleted or forgotten, from a committed head and a listing taken after it. Nothing here knows what this run did.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::file::Listed;
use crate::model::manifest::Manifest;
use crate::model::names::{self, FileId, FileKind, Key};
use crate::model::plan::Inventory;

/// Manifests below the newest this many may be pruned.
pub const KEEP_MANIFESTS: u64 = 16;

/// Manifests younger than this are never pruned.
pub const KEEP_MANIFESTS_FOR: TimeDelta = TimeDelta::hours(24);

/// The retired files that may be deleted now: `head` lists them, `delete_delay` has passed, and the listing shows the very version that was retired.
///
/// `head` must have been read afresh from the store. Rows of these files are in a snapshot or an archive that a committed head named, so
/// deleting them is right for ever after, however stale `head` has become.
pub fn deletable(head: &Manifest, listing: &[Listed], now: DateTime<Utc>, delete_delay: Duration) -> Vec<Key> {
    let listed: BTreeMap<&str, &Listed> = listing.iter().map(|f| (f.key.as_str(), f)).collect();
    let delay = TimeDelta::from_std(delete_delay).unwrap_or(TimeDelta::MAX);
    let due = |at: DateTime<Utc>| at.checked_add_signed(delay).is_some_and(|t| t <= now);
    let is_same = |key: &str, etag: &Option<String>| listed.get(key).is_some_and(|l| l.etag == *etag);
    // Live wins over retired, should a damaged manifest ever name a file as both.
    let live: BTreeSet<&str> = head.snapshots.iter().map(|s| s.key.as_str()).collect();
    head.retired
        .iter()
        .filter(|r| due(r.at) && is_same(&r.key, &r.etag) && !live.contains(r.key.as_str()))
        .filter(|r| names::classify(&head.tenant, &r.key) != FileKind::Other)
        .map(|r| r.key.clone())
        .collect()
}

/// The retired files that must wait, because rows of theirs are in an archive object that nobody finds: `head` owes its receipt, and it is not among those `filed`.
/// Where a receipt does not say which files held its rows, all wait.
pub fn withheld<'a>(head: &'a Manifest, filed: &BTreeSet<Key>) -> BTreeSet<&'a str> {
    let owed = || head.archives.iter().filter(|a| !filed.contains(&a.key));
    if owed().any(|a| a.sources.is_empty()) {
        return head.retired_keys();
    }
    owed().flat_map(|a| &a.sources).map(String::as_str).collect()
}

/// The outputs in the listing that `head` does not name, whatever their age.
pub fn orphans<'a>(head: &Manifest, listing: &'a [Listed]) -> Vec<(FileId, &'a Listed)> {
    let named: BTreeSet<&str> = head.snapshots.iter().map(|s| s.key.as_str()).chain(head.retired_keys()).collect();
    listing
        .iter()
        .filter_map(|f| match names::classify(&head.tenant, &f.key) {
            FileKind::Snapshot(id) if !named.contains(f.key.as_str()) => Some((id, f)),
            _ => None,
        })
        .collect()
}

/// The orphans that may be deleted: their ids are below the floor of a committed `head`, so no run can ever commit them.
pub fn collectable(head: &Manifest, listing: &[Listed]) -> Vec<Key> {
    orphans(head, listing).into_iter().filter(|(id, _)| *id < head.floor).map(|(_, f)| f.key.clone()).collect()
}

/// The floor to commit so that those of `orphans` that are older than `grace` become collectable; none if that would change nothing.
///
/// `store_time` is the store's own clock (the time it gave to an object just written), so that a machine with a fast clock cannot cut off everybody else's work.
pub fn next_floor(head: &Manifest, orphans: &[FileId], store_time: DateTime<Utc>, grace: Duration) -> Option<FileId> {
    let grace = TimeDelta::from_std(grace).ok()?;
    let floor = FileId::floor_at(store_time.checked_sub_signed(grace)?);
    let gains = orphans.iter().any(|id| *id >= head.floor && *id < floor);
    (floor > head.floor && gains).then_some(floor)
}

/// Retired or quarantined files that a listing taken after `head` shows no more, or shows as another version.
pub fn forgettable(head: &Manifest, listing: &[Listed]) -> Vec<Key> {
    let listed: BTreeMap<&str, &Listed> = listing.iter().map(|f| (f.key.as_str(), f)).collect();
    let gone = |key: &str, etag: &Option<String>| listed.get(key).is_none_or(|l| l.etag != *etag);
    let retired = head.retired.iter().filter(|r| gone(&r.key, &r.etag)).map(|r| &r.key);
    // A damaged snapshot stays in head, and so does the note of why it is left alone.
    let live: BTreeSet<&str> = head.snapshots.iter().map(|s| s.key.as_str()).collect();
    let quarantined = head.quarantined.iter().filter(|q| gone(&q.key, &q.etag) && !live.contains(q.key.as_str())).map(|q| &q.key);
    retired.chain(quarantined).cloned().collect()
}

/// The holds that are over, and whose files are still remembered.
pub fn releasable(head: &Manifest, now: DateTime<Utc>) -> Vec<FileId> {
    head.holds.iter().filter(|h| !h.is_active(now) && !h.files.is_empty()).map(|h| h.id).collect()
}

/// The manifest versions that may be pruned: older than the newest [`KEEP_MANIFESTS`] and than [`KEEP_MANIFESTS_FOR`]. `versions` are those listed,
/// with the store's time of their writing.
pub fn prunable(head_version: u64, versions: &[(u64, DateTime<Utc>)], store_time: DateTime<Utc>) -> Vec<u64> {
    prunable_beyond(KEEP_MANIFESTS, head_version, versions, store_time)
}

/// [`prunable`] with another number than [`KEEP_MANIFESTS`]: the model checker keeps fewer, to meet the races of pruning within few steps.
#[doc(hidden)]
pub fn prunable_beyond(keep: u64, head_version: u64, versions: &[(u64, DateTime<Utc>)], store_time: DateTime<Utc>) -> Vec<u64> {
    versions.iter().filter(|(v, at)| v.saturating_add(keep) <= head_version && *at + KEEP_MANIFESTS_FOR <= store_time).map(|(v, _)| *v).collect()
}

/// Whether a sweep could find anything to do. Saves an idle tenant the requests.
pub fn is_due(inventory: &Inventory, now: DateTime<Utc>) -> bool {
    let Inventory { head: Some(head), listing } = inventory else { return false };
    !head.retired.is_empty()
        || !head.archives.is_empty()
        || !releasable(head, now).is_empty()
        || !forgettable(head, listing).is_empty()
        || !orphans(head, listing).is_empty()
}

#[cfg(test)]
mod tests;
