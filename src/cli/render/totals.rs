//! Sums over plans, for the text and the document.

use std::ops::Add;

use icepack_core::model::estimate::Cost;
use icepack_core::model::names::{FileKind, classify};
use icepack_core::model::plan::{Plan, SkipReason};
use icepack_core::model::report::Requests;
use serde::Serialize;

/// Sums over tenants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, derive_more::Add)]
pub struct Totals {
    pub tenants: u64,
    /// Files that somebody else wrote, taken or not.
    pub raw_files: u64,
    pub raw_bytes: u64,
    pub groups: u64,
    /// Files that the groups take.
    pub files_in: u64,
    pub bytes_in: u64,
    /// Files that stay as they are.
    pub files_left_alone: u64,
    /// About the snapshots that the groups become.
    pub outputs: u64,
    /// Rows of tenants whose rows expire.
    pub rows_with_ttl: u64,
    /// Those that would expire.
    pub rows_expiring: u64,
    pub bytes_expiring: u64,
    pub archive_objects: u64,
    pub archive_bytes: u64,
    pub requests: Requests,
    /// Amounts in the currency of the prices.
    pub requests_once: f64,
    pub archiving_once: f64,
    pub keeping_per_month: f64,
    pub archived_per_month: f64,
    pub saved_per_month: f64,
}

impl Totals {
    /// The plan of one tenant.
    pub fn of(plan: &Plan) -> Self {
        let is_raw = |key: &str| classify(&plan.tenant, key) == FileKind::Raw;
        let taken = plan
            .groups
            .iter()
            .flat_map(|g| &g.inputs)
            .filter(|i| !i.is_snapshot())
            .map(|i| i.size);
        let left = plan
            .skipped
            .iter()
            .filter(|s| {
                is_raw(&s.key)
                    && !matches!(
                        s.reason,
                        SkipReason::Retired | SkipReason::ComesAgain | SkipReason::SetAside { .. }
                    )
            })
            .map(|s| s.size);
        let raw: Vec<u64> = taken.chain(left).collect();
        Self {
            tenants: 1,
            raw_files: raw.len() as u64,
            raw_bytes: raw.iter().sum(),
            groups: plan.groups.len() as u64,
            files_in: plan.groups.iter().map(|g| g.inputs.len() as u64).sum(),
            bytes_in: plan.backlog(),
            files_left_alone: plan.skipped.len() as u64,
            ..Self::estimated(plan)
        }
    }

    /// What was estimated from footers; zeros where none were read.
    fn estimated(plan: &Plan) -> Self {
        let (expiry, estimate) = (plan.expiry.as_ref(), plan.estimate.as_ref());
        let cost =
            |pick: fn(&Cost) -> f64| estimate.and_then(|e| e.cost.as_ref()).map_or(0.0, pick);
        let objects = estimate.map(|e| e.objects).unwrap_or_default();
        Self {
            rows_with_ttl: expiry.map_or(0, |e| e.rows),
            rows_expiring: expiry.map_or(0, |e| e.rows_expiring),
            bytes_expiring: expiry.map_or(0, |e| e.bytes_expiring),
            outputs: estimate.map_or(0, |e| e.outputs),
            archive_objects: objects.count,
            archive_bytes: objects.bytes,
            requests: estimate.map(|e| e.requests).unwrap_or_default(),
            requests_once: cost(|c| c.requests_once),
            archiving_once: cost(|c| c.archiving_once),
            keeping_per_month: cost(|c| c.keeping_per_month),
            archived_per_month: cost(|c| c.archived_per_month),
            saved_per_month: cost(|c| c.saved_per_month),
            ..Self::default()
        }
    }
}

/// The plans of all tenants.
pub fn totals(plans: &[Plan]) -> Totals {
    plans
        .iter()
        .map(Totals::of)
        .fold(Totals::default(), Add::add)
}
