//! Publishing as a part of a pass: a step that may fail without harm, but that nothing is deleted
//! without.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
#[cfg(feature = "delta")]
use futures::FutureExt;
use object_store::ObjectStore;

use super::Pass;
use super::manager::CompactionManager;
use super::outcome::TenantOutcome;
#[cfg(feature = "delta")]
use crate::budget::Budget;
use crate::config::CompactionConfig;
use crate::error::{Error, Result};
#[cfg(feature = "delta")]
use crate::protocol::discover;
use crate::protocol::symlink::SymlinkManifests;
use icepack_core::model::file::Listed;
use icepack_core::model::names::Tenant;
use icepack_core::model::plan::Inventory;
use icepack_core::model::publish::Followers;
#[cfg(feature = "delta")]
use icepack_core::model::publish::Layout;
use icepack_core::model::report::{Status, TenantReport};
use icepack_core::model::symlink::Symlink;
#[cfg(feature = "delta")]
use icepack_delta::Publisher;

/// What follows a tenant's manifests: a table that other engines read, or lists of files.
#[async_trait]
pub(crate) trait Follower: Send + Sync {
    /// Brings it to what is live now, and reports it. It reads head itself, after what it follows
    /// with: so it never goes back.
    async fn follow(&self, report: &mut TenantReport) -> Result<()>;

    /// Adds what its readers need, after everything was published.
    async fn add_readers(&self, to: &mut Followers) -> Result<()>;

    /// That nobody else has changed what it shows.
    async fn check(&self) -> Result<()>;

    /// Whether it is known to show `inventory`. `ours` is what the listing of the tenant shows of
    /// it.
    async fn is_current(&self, inventory: &Inventory, ours: &[Listed]) -> bool;

    /// What it is, to begin a sentence.
    fn name(&self) -> &'static str;
}

/// How an error begins that is of a Delta table.
const TABLE: &str = "the table";

/// What follows one tenant's manifests during a pass.
pub(super) struct Publishing<'a> {
    tenant: &'a Tenant,
    followers: Vec<Box<dyn Follower>>,
    /// Of which follower, and what went wrong.
    failure: Option<(&'static str, Error)>,
}

/// For how long files stay at least that were published.
pub(super) fn keep(config: &CompactionConfig) -> Duration {
    let table = config.publish.map_or(Duration::ZERO, |p| p.keep);
    let symlinks = config.symlink.as_ref().map(Symlink::wait);
    table.max(symlinks.unwrap_or_default())
}

/// The followers of `tenant` that are asked for.
pub(super) fn followers(
    manager: &CompactionManager,
    store: &Arc<dyn ObjectStore>,
    tenant: &Tenant,
) -> Vec<Box<dyn Follower>> {
    let table = table(manager, store, tenant).map(boxed);
    let symlinks = manager.config.symlink.clone().and_then(|symlink| {
        let (rules, clock) = (manager.config.input_rules(), Arc::clone(&manager.clock));
        SymlinkManifests::of(store, tenant, rules, symlink, clock).map(boxed)
    });
    table.into_iter().chain(symlinks).collect()
}

fn boxed<'a>(follower: impl Follower + 'a) -> Box<dyn Follower + 'a> {
    Box::new(follower)
}

/// The Delta table of `tenant`, where one is asked for.
#[cfg(feature = "delta")]
fn table(
    manager: &CompactionManager,
    store: &Arc<dyn ObjectStore>,
    tenant: &Tenant,
) -> Option<Publisher<Error>> {
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
            Ok(found.own(tenant)?.inventory)
        };
        read.boxed()
    };
    let log = match publish.layout {
        Layout::PerTenant => Arc::default(),
        Layout::Shared => Arc::clone(&manager.table),
    };
    let (store, tenant) = (Arc::clone(store), tenant.clone());
    let live = Box::new(live);
    Some(Publisher::new(
        store,
        log,
        tenant,
        publish,
        live,
        footer_limit,
    ))
}

/// None: a pass that is to publish was refused.
#[cfg(not(feature = "delta"))]
fn table(_: &CompactionManager, _: &Arc<dyn ObjectStore>, _: &Tenant) -> Option<SymlinkManifests> {
    None
}

#[cfg(feature = "delta")]
#[async_trait]
impl Follower for Publisher<Error> {
    async fn follow(&self, report: &mut TenantReport) -> Result<()> {
        let done = self.publish().await?;
        if done.commits > 0 {
            report.status = report.status.max(Status::Done);
        }
        report.published.get_or_insert_default().add(done);
        Ok(())
    }

    async fn add_readers(&self, to: &mut Followers) -> Result<()> {
        to.table = Some(Self::followed(self).await?);
        Ok(())
    }

    async fn check(&self) -> Result<()> {
        Ok(Self::check(self).await?)
    }

    async fn is_current(&self, inventory: &Inventory, ours: &[Listed]) -> bool {
        Self::is_current(self, inventory, ours).await
    }

    fn name(&self) -> &'static str {
        TABLE
    }
}

#[async_trait]
impl Follower for SymlinkManifests {
    async fn follow(&self, report: &mut TenantReport) -> Result<()> {
        let done = self.publish().await?;
        if done.is_changed {
            report.status = report.status.max(Status::Done);
        }
        report.symlinks.get_or_insert_default().add(done);
        Ok(())
    }

    async fn add_readers(&self, to: &mut Followers) -> Result<()> {
        to.symlinks = Some(self.readers().await?);
        Ok(())
    }

    async fn check(&self) -> Result<()> {
        Self::check(self).await
    }

    async fn is_current(&self, inventory: &Inventory, ours: &[Listed]) -> bool {
        Self::is_current(self, inventory, ours).await
    }

    fn name(&self) -> &'static str {
        "the list of files"
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
        if let (false, Some(table)) = (is_there, table(&self.manager, &store, tenant)) {
            let done = table.leave().await?;
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
            followers: followers(&pass.manager, store, tenant),
            failure: None,
        }
    }

    /// Brings what follows to what is live now. What goes wrong is kept: the pass goes on.
    pub async fn publish(&mut self, report: &mut TenantReport) {
        self.failure = None;
        for follower in &self.followers {
            if let Err(e) = follower.follow(report).await {
                tracing::warn!("not published: {e}");
                self.failure.get_or_insert((follower.name(), e));
            }
        }
    }

    /// Finds out whether somebody else has changed what follows, where another shard publishes.
    ///
    /// # Errors
    /// [`Error::Refused`] where somebody has. What else goes wrong, the other shard says.
    pub async fn check(&self) -> Result<()> {
        for follower in &self.followers {
            if let Err(e @ Error::Refused(_)) = follower.check().await {
                return Err(e);
            }
        }
        Ok(())
    }

    /// Who reads what was published, for a sweep. None where something is behind or cannot be read:
    /// then nothing may be deleted.
    pub async fn readers(&mut self) -> Option<Followers> {
        let mut readers = Followers::default();
        if self.failure.is_some() {
            return None;
        }
        for follower in &self.followers {
            if let Err(e) = follower.add_readers(&mut readers).await {
                tracing::warn!(
                    "nothing is deleted, for what readers of {} need is not known: {e}",
                    follower.name()
                );
                self.failure = Some((follower.name(), e));
                return None;
            }
        }
        Some(readers)
    }

    /// Ends the tenant's part where its table is somebody else's: rows that it has deleted would
    /// live on in a snapshot.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn refusal(&mut self) -> Result<()> {
        let is_refused = |failure: &mut (_, Error)| matches!(failure.1, Error::Refused(_));
        match self.failure.take_if(is_refused) {
            Some((_, refused)) => Err(refused),
            None => Ok(()),
        }
    }

    /// What kept the tenant from being published, if anything did.
    pub fn into_result(self) -> Result<()> {
        let tenant = self.tenant;
        match self.failure {
            None => Ok(()),
            // Others publish: they bring the table on.
            Some((_, e @ (Error::Conflict(_) | Error::Refused(_)))) => Err(e),
            Some((name, e)) => Err(Error::local(
                format!(
                    "{name} of tenant `{tenant}` is behind, so nothing of it is deleted{}",
                    if name == TABLE {
                        " (a full `VACUUM` meanwhile would delete live files)"
                    } else {
                        ""
                    }
                ),
                e,
            )),
        }
    }
}
