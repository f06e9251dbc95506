//! The part of a pass that belongs to one shard.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::manager::CompactionManager;
use super::outcome::TenantOutcome;
use super::{Pass, Selection};
use crate::error::Result;
use crate::protocol::split_markers;
use icepack_core::model::names::{Tenant, TenantError};
use icepack_core::model::plan::Plan;
use icepack_core::plan::shard;

/// Tenants whose work is spread over all shards.
pub(super) type Spread = BTreeSet<Tenant>;

impl CompactionManager {
    /// The tenants that are spread; none where there is one shard.
    pub(super) async fn spread(&self) -> Result<Spread> {
        if self.config.shard.is_part() {
            split_markers::list(self.store.as_ref()).await
        } else {
            Ok(Spread::new())
        }
    }

    /// Whether this shard scans `tenant`.
    pub(super) fn scans(&self, tenant: &Tenant, spread: &Spread) -> bool {
        self.is_home(tenant) || spread.contains(tenant)
    }

    /// Whether this shard plans, sweeps and reports `tenant`.
    pub(super) fn is_home(&self, tenant: &Tenant) -> bool {
        shard::is_home(tenant, self.config.shard)
    }

    /// Whether this shard reports a folder that is no tenant.
    pub(super) fn reports(&self, refused: &TenantError) -> bool {
        shard::home(refused.name(), self.config.shard.count) == self.config.shard.index
    }
}

impl Pass {
    /// Whether the tenant of `plan` is spread. Its home decides, and tells the others.
    pub(super) async fn settle_spread(&self, plan: &Plan, noted: bool) -> bool {
        let manager = &self.manager;
        if !manager.config.shard.is_part() || !manager.is_home(&plan.tenant) {
            return noted;
        }
        let giant = shard::is_giant(plan);
        let told = match (noted, giant) {
            (false, true) => split_markers::add(manager.store.as_ref(), plan).await,
            (true, false) => split_markers::remove(manager.store.as_ref(), &plan.tenant).await,
            _ => Ok(()),
        };
        // What the others do not know of, they will not do.
        told.inspect_err(|e| tracing::warn!(tenant = %plan.tenant, "the other shards do not know whether to help: {e}")).map_or(noted, |()| giant)
    }

    /// Helps with tenants that turned out to be spread while this shard was at its own.
    pub(super) async fn help(
        self: &Arc<Self>,
        selection: &Selection,
        known: &Spread,
    ) -> Vec<TenantOutcome> {
        if self.is_over() {
            return Vec::new();
        }
        let late = self
            .manager
            .spread()
            .await
            .inspect_err(|e| tracing::warn!("{e}"))
            .unwrap_or_default();
        let late: Spread = late
            .into_iter()
            .filter(|t| selection.includes(t) && !self.manager.scans(t, known))
            .map(|t| t.within(&self.manager.config.layout))
            .collect();
        if late.is_empty() {
            Vec::new()
        } else {
            let tenants = late.iter().cloned().collect();
            let scanned = self.scan(tenants, Vec::new(), &late).await;
            self.execute(scanned, late).await
        }
    }
}
