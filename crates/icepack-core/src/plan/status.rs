//! The status of a tenant, from its inventory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Add;

use chrono::{DateTime, Utc};

use super::{attention, classes, forecast, retention, sweep};
use crate::model::adopted::{Adoptions, RowTimes};
use crate::model::file::{Listed, Micros};
use crate::model::inputs::Left;
use crate::model::inspect::{AsideKind, TenantStatus};
use crate::model::manifest::{Manifest, Quarantined};
use crate::model::names::{self, Tenant};
use crate::model::pages::PageRef;
use crate::model::plan::Inventory;
use crate::model::policy::Policy;
use crate::model::totals::{SizeHistogram, StoreTotals};
use crate::plan::live;

/// The numbers of one tenant.
pub fn of(
    tenant: &Tenant,
    inventory: &Inventory,
    policy: &Policy,
    now: DateTime<Utc>,
) -> TenantStatus {
    let head = inventory.head.as_ref();
    let snapshots = head.map_or(&[][..], |m| &m.snapshots);
    let quarantined: Vec<&Quarantined> = head.iter().flat_map(|m| attention::data(m)).collect();
    let view = live::view(tenant, inventory);
    let unreadable: BTreeSet<&str> = quarantined.iter().map(|q| q.key.as_str()).collect();
    let waits = |key: &str| !unreadable.contains(key);
    let adopted = Adoptions::of(head);
    let raw: Vec<_> = view
        .files
        .iter()
        .filter(|f| f.rows.is_none() && waits(&f.key))
        .collect();
    let raw_keys: BTreeSet<&str> = raw.iter().map(|f| f.key.as_str()).collect();
    let is_raw = |l: &&Listed| raw_keys.contains(l.key.as_str());
    let (adopted, waiting): (Vec<_>, Vec<_>) = inventory
        .listing
        .iter()
        .filter(is_raw)
        .map(|l| {
            (
                l.modified,
                adopted.times(l, policy.timestamp_column.as_str()),
            )
        })
        .partition(|(_, times)| times.is_some());
    let oldest_raw = waiting.into_iter().map(|(modified, _)| modified).min();
    let adopted: Vec<RowTimes> = adopted.into_iter().filter_map(|(_, times)| times).collect();
    let folders: BTreeSet<&str> = view.files.iter().map(|f| names::folder(&f.key)).collect();
    let aside = head.map_or_else(Vec::new, |m| attention::aside(m, &inventory.listing));
    // What took the name of a retired file is not deleted.
    let kept: BTreeSet<&str> = aside.iter().map(|f| f.key.as_str()).collect();
    let retired: Vec<_> = head
        .iter()
        .flat_map(|m| &m.retired)
        .filter(|r| !kept.contains(r.key.as_str()))
        .collect();
    let totals = head.map(|m| m.totals).unwrap_or_default();
    let stats = || {
        snapshots
            .iter()
            .map(|s| s.stats_by(&policy.timestamp_column))
    };
    let oldest = stats().filter_map(|s| s.min).min();
    let unread: Vec<&PageRef> = head.iter().flat_map(|m| m.pages.unread()).collect();
    let unread_bytes: u64 = unread.iter().map(|p| p.bytes).sum();
    let unread_sizes = unread.iter().map(|p| p.sizes);
    let oldest = oldest
        .into_iter()
        .chain(unread.iter().filter_map(|p| p.times.min))
        .min();
    let oldest_kept = oldest
        .into_iter()
        .chain(adopted.iter().filter_map(|times| times.min))
        .chain(oldest_aside(&quarantined, inventory))
        .min();
    let newest = stats().filter_map(|s| s.max);
    let newest = newest.chain(unread.iter().filter_map(|p| p.times.max));
    TenantStatus {
        tenant: tenant.clone(),
        head_version: view.version,
        folders: folders.len() as u64 + unread.iter().map(|p| p.folders).sum::<u64>(),
        classes: classes::told(head, policy),
        raw_files: raw.len() as u64,
        raw_bytes: raw.iter().map(|f| f.size).sum(),
        raw_sizes: SizeHistogram::of(raw.iter().map(|f| f.size)),
        adopted: adopted.len() as u64,
        adopted_rows: adopted
            .iter()
            .fold(0, |sum, times| sum.saturating_add(times.rows)),
        oldest_raw_s: oldest_raw.map(|at| seconds(now.signed_duration_since(at))),
        snapshots: snapshots.len() as u64 + unread.iter().map(|p| p.snapshots()).sum::<u64>(),
        snapshot_bytes: snapshots.iter().map(|s| s.size).sum::<u64>() + unread_bytes,
        snapshot_sizes: unread_sizes.fold(
            SizeHistogram::of(snapshots.iter().map(|s| s.size)),
            Add::add,
        ),
        snapshot_rows: head.map_or(0, Manifest::live_rows),
        oldest,
        newest: newest.max(),
        retired: retired.len() as u64,
        retired_bytes: retired.iter().map(|r| r.size).sum(),
        listed_bytes: inventory.listing.iter().map(|l| l.size).sum::<u64>() + unread_bytes,
        orphans: head.map_or(0, |m| sweep::orphans(m, &inventory.listing).len() as u64),
        quarantined: attention::count(&aside, AsideKind::Quarantined),
        set_aside: attention::count(&aside, AsideKind::SetAside),
        rows_archived: totals.rows_archived,
        rows_expired: totals.rows_expired,
        ttl_s: policy.ttl.map(|t| t.as_secs()),
        overdue_s: retention::cutoff_held(policy, head.map_or(&[], |m| &m.holds), now)
            .and_then(|cutoff| overdue(oldest_kept?, cutoff)),
        forecast: forecast::of(head, inventory.listing.iter().filter(is_raw), policy, now),
        aside,
        holds: head.map_or_else(Vec::new, |m| attention::held(m, now)),
        left_alone: Left::default(),
    }
}

/// The oldest time in the raw files that are set aside: that of the file's last write, before which
/// its rows were made.
fn oldest_aside(quarantined: &[&Quarantined], inventory: &Inventory) -> Option<Micros> {
    // The times of snapshots are in the manifest.
    let live: BTreeSet<&str> = inventory
        .head
        .iter()
        .flat_map(|m| &m.snapshots)
        .map(|s| s.key.as_str())
        .collect();
    let listed: BTreeMap<&str, &Listed> = inventory
        .listing
        .iter()
        .map(|f| (f.key.as_str(), f))
        .collect();
    quarantined
        .iter()
        .filter(|q| !live.contains(q.key.as_str()))
        .filter_map(|q| Some(Micros::from_datetime(listed.get(q.key.as_str())?.modified)))
        .min()
}

/// The totals of a tenant.
pub fn totals(tenant: &Tenant, inventory: &Inventory) -> StoreTotals {
    let unreadable: BTreeSet<&str> = inventory
        .head
        .iter()
        .flat_map(|m| &m.quarantined)
        .map(|q| q.key.as_str())
        .collect();
    let mut held = StoreTotals {
        tenants: 1,
        ..StoreTotals::default()
    };
    for s in live::snapshots(inventory).filter(|s| !unreadable.contains(s.key.as_str())) {
        held.snapshots += 1;
        held.snapshot_bytes += s.size;
    }
    for f in live::raw(tenant, inventory).filter(|f| !unreadable.contains(f.key.as_str())) {
        held.raw_files += 1;
        held.raw_bytes += f.size;
    }
    for page in inventory.head.iter().flat_map(|m| m.pages.unread()) {
        held.snapshots += page.snapshots();
        held.snapshot_bytes += page.bytes;
    }
    held
}

fn seconds(delta: chrono::TimeDelta) -> u64 {
    u64::try_from(delta.num_seconds()).unwrap_or(0)
}

fn overdue(oldest: Micros, cutoff: Micros) -> Option<u64> {
    u64::try_from(cutoff.0.saturating_sub(oldest.0) / 1_000_000)
        .ok()
        .filter(|_| oldest < cutoff)
}
