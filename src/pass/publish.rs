//! Publishing as a part of a pass: a step that may fail without harm, but that nothing is deleted
//! without.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
#[cfg(feature = "delta")]
use futures::FutureExt;
use object_store::ObjectStore;

use super::Pass;
use super::manager::CompactionManager;
use super::outcome::TenantOutcome;
#[cfg(feature = "delta")]
use crate::budget::Budget;
use crate::error::{Error, Result};
#[cfg(feature = "delta")]
use crate::protocol::discover;
use icepack_core::model::names::Tenant;
use icepack_core::model::plan::Inventory;
#[cfg(feature = "delta")]
use icepack_core::model::publish::Layout;
use icepack_core::model::publish::{Followed, PublishReport};
use icepack_core::model::report::{Status, TenantReport};
#[cfg(feature = "delta")]
use icepack_delta::Publisher;

/// What follows a tenant's manifests: a table that other engines read.
#[async_trait]
pub(crate) trait Follower: Send + Sync {
    /// Brings it to what is live now. It reads head itself, after what it follows with: so it never
    /// goes back.
    async fn follow(&self) -> Result<PublishReport>;

    /// What its readers need, after everything was published.
    async fn followed(&self) -> Result<Followed>;

    /// That nobody else has changed what it shows.
    async fn check(&self) -> Result<()>;

    /// Whether it is known to show `inventory`.
    async fn is_current(&self, inventory: &Inventory) -> bool;

    /// Takes a tenant out that is no more.
    #[cfg(feature = "delta")]
    async fn leave(&self) -> Result<PublishReport>;
}

/// One tenant's table during a pass, where there is one.
pub(super) struct Publishing<'a> {
    tenant: &'a Tenant,
    follower: Option<Box<dyn Follower>>,
    failure: Option<Error>,
}

/// The follower of `tenant`, where one is asked for.
#[cfg(feature = "delta")]
pub(super) fn follower(
    manager: &CompactionManager,
    store: &Arc<dyn ObjectStore>,
    tenant: &Tenant,
) -> Option<Box<dyn Follower>> {
    let config = &manager.config;
    let publish = config.publish?;
    // As many tenants at once, with some footers each.
    let budget = Budget::of(config.memory_limit);
    let footer_limit = budget.publish_footers / config.concurrency.max(1) as u64;
    let place = Arc::new((Arc::clone(store), tenant.clone(), config.input_rules()));
    let live = move || {
        let place = Arc::clone(&place);
        let read = async move {
            let (store, tenant, rules) = &*place;
            let found = discover::live_inventory(store, tenant, rules).await?;
            Ok(found.own(tenant)?.0)
        };
        read.boxed()
    };
    let log = match publish.layout {
        Layout::PerTenant => Arc::default(),
        Layout::Shared => Arc::clone(&manager.table),
    };
    let (store, tenant) = (Arc::clone(store), tenant.clone());
    let publisher = Publisher::new(store, log, tenant, publish, Box::new(live), footer_limit);
    Some(Box::new(publisher))
}

/// None: a pass that is to publish was refused.
#[cfg(not(feature = "delta"))]
pub(super) fn follower(
    _: &CompactionManager,
    _: &Arc<dyn ObjectStore>,
    _: &Tenant,
) -> Option<Box<dyn Follower>> {
    None
}

#[cfg(feature = "delta")]
#[async_trait]
impl Follower for Publisher<Error> {
    async fn follow(&self) -> Result<PublishReport> {
        Ok(self.publish().await?)
    }

    async fn followed(&self) -> Result<Followed> {
        Ok(Self::followed(self).await?)
    }

    async fn check(&self) -> Result<()> {
        Ok(Self::check(self).await?)
    }

    async fn is_current(&self, inventory: &Inventory) -> bool {
        Self::is_current(self, inventory).await
    }

    async fn leave(&self) -> Result<PublishReport> {
        Ok(Self::leave(self).await?)
    }
}

impl Pass {
    /// Takes the files of tenants that are no more out of a shared table: a reader of any tenant
    /// would fail at them. `known` are those that there are.
    #[cfg(feature = "delta")]
    pub(super) async fn take_out_departed(&self, known: &BTreeSet<Tenant>) -> Vec<TenantOutcome> {
        let config = &self.manager.config;
        let mut outcomes = Vec::new();
        if config.publish.is_none_or(|p| p.layout != Layout::Shared) || self.is_over() {
            return outcomes;
        }
        let tenant_of = |key: &str| config.layout.tenant_of(key).ok().flatten();
        let log = &self.manager.table;
        let named = match icepack_delta::tenants(&self.manager.store, log, tenant_of).await {
            Ok(named) => named,
            Err(e) => {
                // Each tenant that publishes has said so.
                tracing::warn!("{e}");
                return outcomes;
            }
        };
        for tenant in named {
            if known.contains(&tenant) || !self.manager.is_home(&tenant) {
                continue;
            }
            let mut outcome = TenantOutcome::of(&tenant);
            match self.take_out(&tenant, &mut outcome.report).await {
                Ok(()) if outcome.report.published.is_none() => continue,
                Ok(()) => {}
                Err(e) => {
                    tracing::error!("{e}");
                    outcome.end(e);
                }
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    /// None publishes.
    #[cfg(not(feature = "delta"))]
    pub(super) fn take_out_departed(
        &self,
        _: &BTreeSet<Tenant>,
    ) -> impl Future<Output = Vec<TenantOutcome>> {
        std::future::ready(Vec::new())
    }

    #[cfg(feature = "delta")]
    async fn take_out(&self, tenant: &Tenant, report: &mut TenantReport) -> Result<()> {
        let (store, requests) = self.counting();
        // It may have come while this pass was at work.
        let is_there = !discover::list(store.as_ref(), tenant).await?.is_empty()
            || discover::head(store.as_ref(), tenant, 0).await?.is_some();
        if let (false, Some(follower)) = (is_there, follower(&self.manager, &store, tenant)) {
            let done = follower.leave().await?;
            tracing::warn!(
                "tenant `{tenant}` is no more: its {} files were taken out of the shared table",
                done.files_removed
            );
            report.status = report.status.max(Status::Done);
            report.published = Some(done);
        }
        report.counters.requests += requests.read();
        Ok(())
    }
}

impl<'a> Publishing<'a> {
    pub fn of(pass: &Pass, store: &Arc<dyn ObjectStore>, tenant: &'a Tenant) -> Self {
        Self {
            tenant,
            follower: follower(&pass.manager, store, tenant),
            failure: None,
        }
    }

    /// Brings the table to what is live now. What goes wrong is kept: the pass goes on.
    pub async fn publish(&mut self, report: &mut TenantReport) {
        let Some(follower) = &self.follower else {
            return;
        };
        match follower.follow().await {
            Ok(done) => {
                if done.commits > 0 {
                    report.status = report.status.max(Status::Done);
                }
                report.published.get_or_insert_default().add(done);
                self.failure = None;
            }
            Err(e) => {
                tracing::warn!("not published: {e}");
                self.failure = Some(e);
            }
        }
    }

    /// Finds out whether somebody else has changed the table, where another shard publishes.
    ///
    /// # Errors
    /// [`Error::Refused`] where somebody has. What else goes wrong, the other shard says.
    pub async fn check(&self) -> Result<()> {
        let Some(follower) = &self.follower else {
            return Ok(());
        };
        match follower.check().await {
            Err(e @ Error::Refused(_)) => Err(e),
            _ => Ok(()),
        }
    }

    /// The table, where there is one, for a sweep. None at all where it is behind or cannot be
    /// read: then nothing may be deleted.
    pub async fn table(&mut self) -> Option<Option<Followed>> {
        let Some(follower) = &self.follower else {
            return Some(None);
        };
        if self.failure.is_some() {
            return None;
        }
        match follower.followed().await {
            Ok(table) => Some(Some(table)),
            Err(e) => {
                tracing::warn!(
                    "nothing is deleted, for what the table's readers need is not known: {e}"
                );
                self.failure = Some(e);
                None
            }
        }
    }

    /// Ends the tenant's part where its table is somebody else's: rows that it has deleted would
    /// live on in a snapshot.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn refusal(&mut self) -> Result<()> {
        match self.failure.take_if(|e| matches!(e, Error::Refused(_))) {
            Some(refused) => Err(refused),
            None => Ok(()),
        }
    }

    /// What kept the tenant from being published, if anything did.
    pub fn into_result(self) -> Result<()> {
        let tenant = self.tenant;
        match self.failure {
            None => Ok(()),
            // Others publish: they bring the table on.
            Some(e @ (Error::Conflict(_) | Error::Refused(_))) => Err(e),
            Some(e) => Err(Error::local(
                format!(
                    "the table of tenant `{tenant}` is behind, so nothing of it is deleted (a full \
                     `VACUUM` meanwhile would delete live files)"
                ),
                e,
            )),
        }
    }
}
