//! Looking: what each tenant needs, before anything is done. Where a store lists in order, tenants
//! that need nothing are told by a listing that serves a hundred of them; whatever may need
//! something is looked at by itself.

use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use object_store::ObjectStore;
use tracing::{Instrument, Span};

use super::{Context, Dated, Run, Selection, Spread, TenantOutcome, apart, broke_off, trace};
use crate::error::{Error, Result};
use crate::protocol::discover;
use crate::protocol::prescan::{Glimpse, glimpses};
use crate::store::counting::Counters as RequestCounters;
use icepack_core::model::estimate::Expiry;
use icepack_core::model::inputs::Left;
use icepack_core::model::inspect::TenantStatus;
use icepack_core::model::manifest::Manifest;
use icepack_core::model::names::Tenant;
use icepack_core::model::plan::{Inventory, Plan};
use icepack_core::model::report::{Status, TenantReport};
use icepack_core::model::stock::Stock;
use icepack_core::plan::expiry_guard::ExpiryGuard;
use icepack_core::plan::prescan::{self, Hint, Idle, Range};
use icepack_core::plan::{compaction, expiry, shard, status, sweep};

/// Tenants whose heads and listings are read at once.
pub(super) const LOOK_AT_ONCE: usize = 16;

/// Ranges that are listed at once.
const RANGES_AT_ONCE: usize = 4;

/// What there is of a selection.
pub(super) struct TenantListing {
    pub tenants: Vec<Tenant>,
    /// Reports of folders that must be renamed.
    pub refused: Vec<TenantReport>,
    /// Folders beside the tenants.
    pub others: Vec<String>,
    /// Files beside them.
    pub root: Left,
}

/// What a pass looks at.
#[derive(Default)]
pub(super) struct PassScope {
    /// Tenants that are looked at by themselves, …
    pub alone: Vec<Tenant>,
    /// … and others that share a listing.
    pub ranges: Vec<Range>,
    /// Which of them are spread.
    pub spread: Spread,
    /// Reports of folders that must be renamed.
    pub refused: Vec<TenantReport>,
}

/// A tenant with something to do.
pub(super) struct TenantJob {
    pub tenant: Tenant,
    pub head: Option<Manifest>,
    pub plan: Plan,
    /// What was found of its snapshots and is to be kept.
    pub dated: Dated,
    /// Where the setting asks for one, and rows may expire.
    pub guard: Option<ExpiryGuard>,
    /// Whether this shard sweeps the tenant.
    pub home: bool,
    pub sweep_due: bool,
    /// What looking has cost.
    pub counters: Arc<RequestCounters>,
    /// How the tenant stood before.
    pub standing: Option<TenantStatus>,
    /// What happens to the tenant, from the first look on.
    pub span: Span,
    /// What it held.
    pub found: Option<Stock>,
}

/// What looking at a tenant gave.
pub(super) enum TenantScan {
    Over(Box<TenantOutcome>),
    TenantJob(Box<TenantJob>),
}

impl TenantScan {
    fn over(outcome: TenantOutcome) -> Self {
        Self::Over(Box::new(outcome))
    }

    /// Of a tenant that needs nothing.
    fn idle(
        tenant: &Tenant,
        left_alone: Left,
        counters: &RequestCounters,
        standing: Option<TenantStatus>,
        found: Option<Stock>,
    ) -> Self {
        let mut report = TenantReport {
            tenant: tenant.to_string(),
            left_alone,
            ..TenantReport::default()
        };
        report.counters.requests = counters.read();
        Self::over(TenantOutcome {
            standing,
            found,
            ..TenantOutcome::of(report)
        })
    }

    /// Says in the tenant's span what it came to, if that was all.
    fn ended(self, span: &Span) -> Self {
        if let Self::Over(outcome) = &self {
            trace::tenant_ended(span, &outcome.report);
        }
        self
    }
}

impl Context {
    /// What of `selection` this shard looks at.
    pub(super) async fn share_of(&self, selection: &Selection) -> Result<PassScope> {
        let mut found = self.tenants(selection).await?;
        self.refuse_root_table(&mut found);
        let TenantListing {
            mut tenants,
            refused,
            others,
            ..
        } = found;
        let spread = self.spread().await?;
        tenants.retain(|t| self.looks_at(t, &spread));
        let (ranges, alone) = if self.takes_hints() {
            prescan::ranges(tenants, &others)
        } else {
            (Vec::new(), tenants)
        };
        Ok(PassScope {
            alone,
            ranges,
            spread,
            refused,
        })
    }

    /// Whether listings of many tenants are worth their requests. A directory asks for none; a
    /// shard's neighbours are other shards'; a table may have to be brought on where a tenant
    /// is idle.
    fn takes_hints(&self) -> bool {
        self.directory.is_none() && !self.config.shard.is_part() && self.config.publish.is_none()
    }
}

impl Run {
    /// Looks at every tenant.
    pub(super) fn looks(
        self: &Arc<Self>,
        alone: Vec<Tenant>,
        ranges: Vec<Range>,
        spread: Spread,
    ) -> impl Stream<Item = TenantScan> {
        let spread = Arc::new(spread);
        let run = Arc::clone(self);
        let listed = stream::iter(ranges).map(move |range| {
            let run = Arc::clone(&run);
            async move {
                if run.context.stop.is_stopped() {
                    unknown(range)
                } else {
                    glimpses(run.context.store.as_ref(), &range).await
                }
            }
        });
        let listed = listed
            .buffer_unordered(RANGES_AT_ONCE)
            .flat_map(stream::iter);
        let run = Arc::clone(self);
        let looks = stream::iter(alone)
            .map(Glimpse::Unknown)
            .chain(listed)
            .map(move |glimpse| {
                let (run, spread, name) = (
                    Arc::clone(&run),
                    Arc::clone(&spread),
                    glimpse.tenant().to_string(),
                );
                let span = trace::tenant(glimpse.tenant());
                async move {
                    // A task of its own: planning is work for every core.
                    let look = tokio::spawn(
                        async move { run.glance(glimpse, &spread).await }.instrument(span.clone()),
                    );
                    look.await
                        .unwrap_or_else(|e| {
                            TenantScan::over(TenantOutcome::failed(&name, broke_off(e)))
                        })
                        .ended(&span)
                }
            });
        looks.buffer_unordered(LOOK_AT_ONCE)
    }

    /// Believes a hint that there is nothing to do, and looks at the tenant otherwise.
    async fn glance(&self, glimpse: Glimpse, noted: &Spread) -> TenantScan {
        let (store, counters) = self.counting();
        let tenant = match glimpse {
            Glimpse::Hint(hint)
                if !prescan::is_checked(hint.tenant(), self.run_id)
                    && !self.context.stop.is_stopped()
                    && self.time.too_far().is_none() =>
            {
                let tenant = hint.tenant().clone();
                if let Some(idle) = self.idle(&store, hint).await {
                    let policy = self.context.config.policy_for(tenant.as_str());
                    let standing = self
                        .context
                        .observe
                        .then(|| idle.standing(&policy, self.context.clock.now()));
                    return TenantScan::idle(
                        &tenant,
                        idle.left_alone().clone(),
                        &counters,
                        standing,
                        Some(idle.stock()),
                    );
                }
                tenant
            }
            Glimpse::Hint(hint) => hint.tenant().clone(),
            Glimpse::Unknown(tenant) => tenant,
        };
        self.look(&store, counters, tenant, noted).await
    }

    /// What cannot be read says no more than a hint of work does: the look that follows reads it
    /// again, and reports it.
    async fn idle(&self, store: &Arc<dyn ObjectStore>, hint: Hint) -> Option<Idle> {
        let span = trace::discover();
        let (files, bytes) = hint.extent();
        span.record("files", files);
        span.record("bytes", bytes);
        let head = match hint.newest() {
            0 => None,
            newest => Some(
                discover::read_version(store.as_ref(), hint.tenant(), newest)
                    .instrument(span)
                    .await
                    .ok()??,
            ),
        };
        let policy = self.context.config.policy_for(hint.tenant().as_str());
        trace::plan().in_scope(|| {
            hint.idle(
                head,
                &policy,
                &self.context.config.input_rules(),
                self.context.clock.now(),
            )
        })
    }

    /// The plan as it may be carried out, and its guard. Where machine and store tell times too far
    /// apart, no row of it expires.
    ///
    /// # Errors
    /// [`Error::Refused`] where more rows would expire than may, or any by one of two clocks that
    /// differ.
    async fn fit(
        &self,
        store: &Arc<dyn ObjectStore>,
        inventory: &Inventory,
        mut plan: Plan,
    ) -> Result<(Plan, Option<ExpiryGuard>)> {
        if let Some(ahead) = self.time.too_far() {
            let policy = self.context.config.policy_for(plan.tenant.as_str());
            let later = compaction::plan(&plan.tenant, inventory, &policy, self.time.later());
            let survey = self.context.survey(store, &later).await;
            let expiring = expiry::of(&later, inventory.head.as_ref(), &survey, &policy)
                .filter(|e| e.rows_expiring > 0);
            if let Some(Expiry {
                rows_expiring,
                rows,
                ..
            }) = expiring
            {
                return Err(Error::Refused(format!(
                    "this machine's clock is {} the store's, and {rows_expiring} of the {rows} \
                     rows of tenant `{}` would expire by one of them: nothing was done for this \
                     tenant; set the clock (NTP), then run again",
                    apart(ahead),
                    plan.tenant
                )));
            }
            plan.cutoff = None;
            plan.groups.retain(|g| !g.is_expiry());
        }
        let guard = self.context.guard(store, inventory, &plan).await?;
        Ok((plan, guard))
    }

    async fn look(
        &self,
        store: &Arc<dyn ObjectStore>,
        counters: Arc<RequestCounters>,
        tenant: Tenant,
        noted: &Spread,
    ) -> TenantScan {
        if self.context.stop.is_stopped() {
            let report = TenantReport {
                tenant: tenant.to_string(),
                status: Status::Stopped,
                ..TenantReport::default()
            };
            return TenantScan::over(TenantOutcome::of(report));
        }
        let found = match self.context.look(store, &tenant).await {
            Ok((inventory, plan, dated)) => self
                .fit(store, &inventory, plan)
                .await
                .map(|(plan, guard)| (inventory, plan, dated, guard)),
            Err(e) => Err(e),
        };
        match found {
            Ok((inventory, plan, dated, guard)) => {
                let standing = self.context.standing(&tenant, &inventory);
                let found = self
                    .context
                    .is_home(&tenant)
                    .then(|| status::stock(&tenant, &inventory));
                let (home, spread) = (
                    self.context.is_home(&tenant),
                    self.settle_spread(&plan, noted.contains(&tenant)).await,
                );
                let mut plan = shard::share(plan, self.context.config.shard, spread);
                // Tenants wait for their turn by the thousand: only what will be done is kept of
                // them.
                plan.skipped = Vec::new();
                let litter = self
                    .context
                    .directory
                    .as_ref()
                    .is_some_and(|d| d.has_litter(&tenant))
                    || self
                        .context
                        .archive_directory
                        .as_ref()
                        .is_some_and(|d| d.has_archive_litter(&tenant));
                let sweep_due =
                    home && (litter || sweep::is_due(&inventory, self.context.clock.now()));
                let publishes = home && self.context.config.publish.is_some();
                if plan.groups.is_empty() && !sweep_due && !publishes && dated.is_empty() {
                    return TenantScan::idle(&tenant, plan.left_alone, &counters, standing, found);
                }
                let (head, span) = (inventory.head, Span::current());
                TenantScan::TenantJob(Box::new(TenantJob {
                    tenant,
                    head,
                    plan,
                    dated,
                    guard,
                    home,
                    sweep_due,
                    counters,
                    standing,
                    found,
                    span,
                }))
            }
            Err(e) => {
                tracing::error!("{e}");
                let mut outcome = TenantOutcome::failed(tenant.as_str(), e);
                outcome.report.counters.requests = counters.read();
                TenantScan::over(outcome)
            }
        }
    }
}

fn unknown(range: Range) -> Vec<Glimpse> {
    range.tenants.into_iter().map(Glimpse::Unknown).collect()
}
