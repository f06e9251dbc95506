//! Chooses the tenants that one flat listing serves, and what may be concluded from it. Pure.
//!
//! A flat listing is older than the heads that are read after it, and may be wrong in ways that a
//! tenant's own listing is not. So it is only a hint: a [`Hint`] answers whether a tenant has
//! nothing to do, and cannot be turned into an [`Inventory`]. Work is planned from a listing of the
//! tenant, taken after its head was read. A wrong hint delays work, and cannot cause any.

use chrono::{DateTime, Utc};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{compaction, evidence, status, sweep};
use crate::model::file::Listed;
use crate::model::inputs::{Left, Rules, Sorted};
use crate::model::inspect::TenantStatus;
use crate::model::manifest::Manifest;
use crate::model::names::{self, FileId, Tenant};
use crate::model::plan::Inventory;
use crate::model::policy::Policy;
use crate::model::totals::StoreTotals;

/// Tenants of a range at most. More would save little: with this, the requests that a range begins
/// with are three in a hundred tenants.
const IN_RANGE: usize = 100;

/// Tenants of a range at least: below, one look at each costs about the same.
const WORTH_A_RANGE: usize = 8;

/// One tenant in so many is looked at whatever a hint says, others in each pass: no store's mistake
/// hides a tenant for good.
const CHECKED: u64 = 16;

/// Tenants that lie side by side in a store whose listings are in order, with no other folder
/// between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// In the order of their keys.
    pub tenants: Vec<Tenant>,
    /// The folder that comes after them, if there is one.
    pub end: Option<String>,
}

/// The ranges of `tenants`, and the tenants that are in none. `others` are the folders beside them,
/// in the root and among icepack's own.
pub fn ranges(tenants: Vec<Tenant>, others: &[String]) -> (Vec<Range>, Vec<Tenant>) {
    let mut folders: Vec<(String, Option<Tenant>)> =
        others.iter().map(|name| (prefix(name), None)).collect();
    folders.extend(tenants.into_iter().map(|t| (prefix(t.as_str()), Some(t))));
    // As keys are ordered: `a-b/` comes before `a/`.
    folders.sort_by(|a, b| a.0.cmp(&b.0));
    let (mut ranges, mut alone, mut open) = (Vec::new(), Vec::new(), Vec::new());
    for (prefix, tenant) in folders {
        if tenant.is_none() || open.len() == IN_RANGE {
            close(
                std::mem::take(&mut open),
                Some(prefix),
                &mut ranges,
                &mut alone,
            );
        }
        open.extend(tenant);
    }
    close(open, None, &mut ranges, &mut alone);
    (ranges, alone)
}

fn close(
    tenants: Vec<Tenant>,
    end: Option<String>,
    ranges: &mut Vec<Range>,
    alone: &mut Vec<Tenant>,
) {
    if tenants.len() < WORTH_A_RANGE {
        alone.extend(tenants);
    } else {
        ranges.push(Range { tenants, end });
    }
}

/// The beginning of all keys in a folder.
pub fn prefix(folder: &str) -> String {
    format!("{folder}/")
}

/// Whether `tenant` is looked at in this pass whatever a hint says.
pub fn is_checked(tenant: &Tenant, run_id: FileId) -> bool {
    let seed = u64::try_from(run_id.0.0 & u128::from(u64::MAX)).unwrap_or_default()
        ^ run_id.0.timestamp_ms();
    xxh3_64_with_seed(tenant.as_str().as_bytes(), seed).is_multiple_of(CHECKED)
}

/// What a flat listing shows of a tenant.
#[derive(Debug)]
pub struct Hint {
    tenant: Tenant,
    newest: u64,
    listing: Vec<Listed>,
}

/// A tenant with nothing to do.
#[derive(Debug)]
pub struct Idle {
    tenant: Tenant,
    inventory: Inventory,
    left: Left,
}

impl Idle {
    /// The totals of the tenant.
    pub fn totals(&self) -> StoreTotals {
        status::totals(&self.tenant, &self.inventory)
    }

    /// Entries that are no inputs.
    pub fn left_alone(&self) -> &Left {
        &self.left
    }

    /// The status of the tenant.
    pub fn status(&self, policy: &Policy, now: DateTime<Utc>) -> TenantStatus {
        status::of(&self.tenant, &self.inventory, policy, now)
    }
}

impl Hint {
    /// From `tenant`'s newest manifest version (0 for none) and its files, in the order of their
    /// keys.
    pub fn new(tenant: Tenant, newest: u64, listing: Vec<Listed>) -> Self {
        Self {
            tenant,
            newest,
            listing,
        }
    }

    /// The tenant that it belongs to.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The manifest version that [`Self::idle`] wants; 0 for none.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Files and bytes that were listed.
    pub fn extent(&self) -> (usize, u64) {
        (
            self.listing.len(),
            self.listing.iter().map(|f| f.size).sum(),
        )
    }

    /// Whether there is nothing to do, by `head`, which is the manifest of [`Self::newest`]. None
    /// where there may be something, or something wrong.
    pub fn idle(
        self,
        head: Option<Manifest>,
        policy: &Policy,
        rules: &Rules,
        now: DateTime<Utc>,
    ) -> Option<Idle> {
        let Self {
            tenant,
            newest,
            listing,
        } = self;
        if head.as_ref().map_or(0, |m| m.version) != newest {
            return None;
        }
        let Sorted { listing, left } = rules.sort(&tenant, head.as_ref(), listing);
        // What is somebody else's must be told.
        if !left.foreign.is_empty() {
            return None;
        }
        // Without a manifest, outputs are another run's beginning or a loss.
        if head.is_none() && listing.iter().any(|f| names::is_output(&tenant, &f.key)) {
            return None;
        }
        // What dates its snapshots is to be found out.
        if head.as_ref().is_some_and(|m| !m.is_dated()) {
            return None;
        }
        let inventory = Inventory { head, listing };
        // Head is no evidence, or the hint is older: either wants a look.
        if !evidence::unlisted(&inventory).is_empty() {
            return None;
        }
        let idle = compaction::plan(&tenant, &inventory, policy, now)
            .groups
            .is_empty()
            && !sweep::is_due(&inventory, policy, now);
        idle.then_some(Idle {
            tenant,
            inventory,
            left,
        })
    }
}

#[cfg(test)]
mod tests;
