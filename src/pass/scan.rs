//! Scans tenants to find which need work.
//!
//! On stores with ordered listing, one page of a LIST covers about a hundred idle tenants. A tenant
//! that may need something is listed by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use object_store::ObjectStore;
use tracing::{Instrument, Span};

use super::manager::CompactionManager;
use super::outcome::{TenantOutcome, failed, unusable};
use super::shards::Spread;
use super::{Pass, PassTarget, Selection, apart, broke_off, publish, trace};
use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::format;
use crate::progress::TOLD;
use crate::protocol::discover::Believed;
use crate::protocol::{dating, discover, prescan};
use icepack_core::model::estimate::{Expiry, FooterScan};
use icepack_core::model::file::Listed;
use icepack_core::model::inputs::Left;
use icepack_core::model::inspect::TenantStatus;
use icepack_core::model::manifest::Manifest;
use icepack_core::model::names::{self, DELTA_LOG, Key, Tenant};
use icepack_core::model::pages::PageRef;
use icepack_core::model::plan::{GroupKind, Inventory, Plan};
use icepack_core::model::policy::{Policy, Within};
use icepack_core::model::publish::{Layout, Publish};
use icepack_core::model::report::{Status, TenantReport};
use icepack_core::plan::expiry_guard::ExpiryGuard;
use icepack_core::plan::intake::{Beyond, Keep, Window};
use icepack_core::plan::prescan::{self as plan, Hint, Idle, Range};
use icepack_core::plan::{compaction, expiry, paging, retention, shard, status, sweep};

/// Tenants whose heads and listings are read at once.
pub(super) const SCANS_AT_ONCE: usize = 16;

/// With so many shards at most, a range of one's own tenants is listed with those of the others that
/// lie between. Of small tenants, such a listing then costs a third of the looks that it saves.
const SHARDS_WITH_RANGES: u32 = 16;

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
    /// Folders with the state of a table that tenants may be part of.
    pub tables: Vec<Key>,
    /// Folders beside the tenants' that the layout has no place for.
    pub unmatched: Vec<Key>,
}

/// What a pass scans.
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
    /// Every tenant that there is, where all were looked for.
    pub known: Option<BTreeSet<Tenant>>,
}

/// A tenant as it was found, and what is to be done about it.
pub(super) struct TenantScan {
    pub inventory: Inventory,
    pub plan: Plan,
    /// The columns that were found to date snapshots of which head does not say it. They are
    /// entered into the inventory's head.
    pub dated: BTreeMap<Key, String>,
    /// Raw files that are not in the inventory.
    pub beyond: Beyond,
}

/// How much of a tenant a scan keeps.
#[derive(Clone, Copy)]
pub(super) enum Extent {
    /// All pages of the manifest, and all files.
    Whole,
    /// The pages that are not settled, and all files in them.
    Open,
    /// Of those files, so many raw ones at most that head knows nothing of.
    Window(usize),
}

/// What is to be done about a tenant.
pub(super) struct TenantJob {
    /// What happens to the tenant, from the first look on.
    pub span: Span,
    pub head: Option<Manifest>,
    pub plan: Plan,
    /// [`TenantScan::dated`].
    pub dated: BTreeMap<Key, String>,
    /// Files that the plan left for another look, because there were too many for one.
    pub more: bool,
    /// Where the setting asks for one, and rows may expire.
    pub guard: Option<ExpiryGuard>,
    pub sweep_due: bool,
}

/// A tenant after the scan.
pub(super) struct Scanned {
    /// What is known of it so far.
    pub outcome: TenantOutcome,
    /// None where there is nothing to do, or it failed already.
    pub job: Option<Waiting>,
}

impl TenantJob {
    /// Files that it takes.
    fn files(&self) -> usize {
        self.plan.groups.iter().map(|g| g.inputs.len()).sum()
    }
}

/// A tenant that waits for its turn.
pub(super) enum Waiting {
    Planned(Box<TenantJob>),
    /// Too much waits to keep its plan too: it is planned again at its turn.
    Unplanned {
        span: Span,
        tenant: Tenant,
        /// Bytes of the files that the groups read whole.
        backlog: u64,
        groups: usize,
    },
}

impl Waiting {
    pub(super) fn tenant(&self) -> &Tenant {
        match self {
            Self::Planned(job) => &job.plan.tenant,
            Self::Unplanned { tenant, .. } => tenant,
        }
    }

    pub(super) fn backlog(&self) -> u64 {
        match self {
            Self::Planned(job) => job.plan.backlog(),
            Self::Unplanned { backlog, .. } => *backlog,
        }
    }

    pub(super) fn span(&self) -> &Span {
        match self {
            Self::Planned(job) => &job.span,
            Self::Unplanned { span, .. } => span,
        }
    }
}

/// Decides which plans are kept while their tenants wait.
struct Keeping {
    /// Raw files of one look, …
    window: usize,
    /// … of one at a tenant's turn, …
    turn: usize,
    /// … and of all plans that are kept.
    most: usize,
    kept: usize,
}

impl Keeping {
    fn of(&mut self, Scanned { outcome, job }: Scanned) -> Scanned {
        let job = job.map(|job| match job {
            Waiting::Planned(job) => self.waiting(job),
            unplanned @ Waiting::Unplanned { .. } => unplanned,
        });
        Scanned { outcome, job }
    }

    fn waiting(&mut self, job: Box<TenantJob>) -> Waiting {
        let files = job.files();
        let is_cut = job.more && self.window < self.turn;
        if !is_cut && (self.kept == 0 || self.kept + files <= self.most) {
            self.kept += files;
            return Waiting::Planned(job);
        }
        Waiting::Unplanned {
            span: job.span,
            backlog: job.plan.backlog(),
            groups: job.plan.groups.len(),
            tenant: job.plan.tenant,
        }
    }
}

/// Refuses a tenant that has outputs of ours but no manifest: with the manifest lost or left
/// behind, live data would look like garbage.
fn refuse_lost_manifest(tenant: &Tenant, inventory: &Inventory) -> Result<()> {
    if inventory.head.is_some() {
        return Ok(());
    }
    match inventory
        .listing
        .iter()
        .filter(|f| names::is_output(tenant, &f.key))
        .count()
    {
        0 => Ok(()),
        n => Err(Error::Refused(format!(
            "tenant `{tenant}` has {n} snapshots but no manifest: were they copied without \
             `{}/{tenant}`, or was it deleted? Bring it back from where they came from, or move \
             the snapshots to other names (without `snapshot.`) to have them read as raw files",
            names::STATE_DIR
        ))),
    }
}

/// Why tenants that lie in a table's folder are left alone.
fn in_a_table(state: &str) -> Error {
    Error::Refused(if state == DELTA_LOG {
        format!(
            "`{DELTA_LOG}` in the root of the store is the log of a Delta table that this run does \
             not publish. Nothing is touched. Set `publish.delta` and its layout, remove that \
             folder, or name it in `exclude`, as in exclude = [\"{DELTA_LOG}/**\"]"
        )
    } else {
        format!(
            "`{state}` is the state of a table, and the tenants in that folder would be part of \
             it. Nothing of them is touched. Move the table, correct `layout`, or name the folder \
             in `exclude`, as in exclude = [\"{state}/**\"]"
        )
    })
}

impl CompactionManager {
    /// The tenants that `selection` includes, in their order, with what else is there.
    pub(super) async fn tenants(&self, selection: &Selection) -> Result<TenantListing> {
        let listing = discover::tenants(self.store.as_ref(), &self.config.layout);
        let found = trace::stage(trace::discover(), listing, |span, found| {
            _ = span.record("tenants", found.tenants.len())
        })
        .await?;
        if let Some(name) = selection.missing(&found.tenants) {
            return Err(Error::Usage(format!(
                "--tenant: there is no tenant `{name}` in this store; `icepack status` lists them"
            )));
        }
        let (tenants, others): (Vec<_>, Vec<_>) = found
            .tenants
            .into_iter()
            .partition(|t| selection.includes(t));
        let refused = found
            .refused
            .iter()
            .filter(|e| selection.is_all() && self.reports(e))
            .map(unusable)
            .collect();
        let others = others
            .into_iter()
            .map(String::from)
            .chain(found.others)
            .collect();
        let root = self.config.input_rules().sort_root(&found.root);
        Ok(TenantListing {
            tenants,
            refused,
            others,
            root,
            tables: found.tables,
            unmatched: found.unmatched,
        })
    }

    /// As [`Self::tenants`]; those that lie in the folder of somebody else's table are refused.
    pub(super) async fn own_tenants(&self, selection: &Selection) -> Result<TenantListing> {
        let mut found = self.tenants(selection).await?;
        for state in found.tables.iter().filter(|state| self.minds_table(state)) {
            let why = in_a_table(state);
            let table = state.rfind('/').map_or("", |at| &state[..=at]);
            // Where a wildcard stands above a tenant, its files may be anywhere.
            let is_in = |t: &Tenant| t.prefix().is_none_or(|place| place.starts_with(table));
            let (inside, outside): (Vec<_>, Vec<_>) = found.tenants.into_iter().partition(is_in);
            found.tenants = outside;
            let home = inside.iter().filter(|t| self.is_home(t));
            found.refused.extend(home.map(|t| failed(t.as_str(), &why)));
        }
        Ok(found)
    }

    /// Whether a table whose state lies in a folder above tenants would be somebody else's.
    fn minds_table(&self, state: &str) -> bool {
        let is_shared = |p: &Publish| p.layout == Layout::Shared;
        let is_ours = state == DELTA_LOG && self.config.publish.as_ref().is_some_and(is_shared);
        !is_ours && self.config.input_rules().sees(state)
    }

    /// Inventory and plan of one tenant. Nothing is planned where something of the tenant is
    /// somebody else's.
    pub(super) async fn scan(
        &self,
        store: &Arc<dyn ObjectStore>,
        tenant: &Tenant,
        budget: Budget,
        extent: Extent,
    ) -> Result<TenantScan> {
        if let Some(why) = self.staged.refuses(tenant) {
            return Err(Error::Usage(why));
        }
        let rules = self.config.input_rules();
        let is_settled = self.settled(tenant, extent);
        let (policy, now) = (self.config.policy_for(tenant.as_str()), self.clock.now());
        let keep = match extent {
            Extent::Whole | Extent::Open => Keep::All,
            Extent::Window(most) => Keep::Window(Window {
                policy: &policy,
                now,
                most,
            }),
        };
        let looking = trace::stage(
            trace::discover(),
            discover::evidence(store, tenant, &rules, keep, &is_settled),
            |span,
             Believed {
                 evidence, beyond, ..
             }: &Believed| {
                let (files, bytes) = size_of(evidence.listing());
                span.record("files", files + beyond.files);
                span.record("bytes", bytes + beyond.bytes);
            },
        );
        let Believed {
            evidence,
            left: left_alone,
            beyond,
        } = looking.await?;
        let mut inventory = evidence.into_inventory();
        refuse_lost_manifest(tenant, &inventory)?;
        let mut dated = BTreeMap::new();
        if let Some(head) = inventory.head.as_mut().filter(|head| !head.is_dated()) {
            dated = dating::columns(store, head, budget.dating_footers).await?;
            head.date(&dated);
        }
        refuse_policy(tenant, &policy)?;
        let span = trace::plan();
        let mut plan =
            span.in_scope(|| compaction::plan(tenant, &inventory, &policy, self.clock.now()));
        plan.left_alone = left_alone;
        span.record("groups", plan.groups.len());
        span.record(
            "files",
            plan.groups.iter().map(|g| g.inputs.len()).sum::<usize>(),
        );
        span.record("bytes", plan.backlog());
        Ok(TenantScan {
            inventory,
            plan,
            dated,
            beyond,
        })
    }

    /// Which pages of a manifest of `tenant` a pass of now need not read.
    pub(super) fn settled(
        &self,
        tenant: &Tenant,
        extent: Extent,
    ) -> impl Fn(&Manifest, &PageRef) -> bool + Sync + use<> {
        let policy = self.config.policy_for(tenant.as_str());
        let now = self.clock.now();
        move |head, page| {
            let cutoff = retention::cutoff_held(&policy, &head.holds, now);
            !matches!(extent, Extent::Whole) && paging::is_settled(page, head, &policy, cutoff)
        }
    }

    /// What the footers of the raw files say that a plan takes, where rows may expire.
    pub(super) async fn survey(
        &self,
        store: &Arc<dyn ObjectStore>,
        plan: &Plan,
        budget: Budget,
    ) -> FooterScan {
        if plan.cutoff.is_none() {
            return FooterScan::default();
        }
        let column = self
            .config
            .policy_for(plan.tenant.as_str())
            .timestamp_column;
        self.footers
            .survey(store, plan, &column, budget.prescan)
            .instrument(trace::survey())
            .await
    }

    /// Whether listings of many tenants are worth their requests. A directory asks for none; of very
    /// many shards, each would list mostly what is others'; a table may have to be brought on where
    /// a tenant is idle. And tenants must lie in the order of their names, or be listed together
    /// anyway.
    fn uses_prescan(&self) -> bool {
        self.staged.store.is_none()
            && self.config.shard.count <= SHARDS_WITH_RANGES
            && !self.config.publishes()
            && (self.config.layout.before_name().is_some() || self.config.layout.has_wildcard())
    }
}

/// The files and their bytes.
fn size_of(listing: &[Listed]) -> (u64, u64) {
    (listing.len() as u64, listing.iter().map(|f| f.size).sum())
}

/// What a library's configuration, a built-in TTL or several patterns may say together, and cannot
/// hold.
fn refuse_policy(tenant: &Tenant, policy: &Policy) -> Result<()> {
    let column = &policy.timestamp_column;
    if let (Some(ttl), true) = (policy.ttl, column.is_nothing()) {
        return Err(Error::Usage(format!(
            "rows of tenant `{tenant}` expire after {}, and its timestamp_column is \"none\", so \
             that no row has a time: set timestamp_column to what dates a row, or its TTL in \
             [retention.tenants] to \"forever\"",
            format::duration(ttl)
        )));
    }
    if column.is_path() && policy.within == Within::Tenant {
        return Err(Error::Usage(format!(
            "the rows of tenant `{tenant}` are dated by their folder, and compaction.within = \
             \"tenant\" takes them out of it: set it to \"folder\""
        )));
    }
    Ok(())
}

impl Pass {
    /// What a plan looks at, with so many looks under way: a table names each file, the guard
    /// weighs the whole plan, and metrics tell of all that wait.
    fn extent(&self, tenant: &Tenant, at_once: usize) -> Extent {
        let config = &self.manager.config;
        let guards = |p: &Policy| p.ttl.is_some() && p.max_expire_percent < 100;
        if config.publishes() {
            Extent::Whole
        } else if self.observe || guards(&config.policy_for(tenant.as_str())) {
            Extent::Open
        } else {
            Extent::Window((config.files_at_once / at_once.max(1)).max(1))
        }
    }

    /// What of `target` this pass scans.
    pub(super) async fn scope(&self, target: PassTarget<'_>) -> Result<PassScope> {
        let manager = &self.manager;
        let selection = match target {
            PassTarget::Selected(selection) => selection,
            // The root is not listed to find it.
            PassTarget::One(tenant) => {
                let minded = |state: &str| manager.minds_table(state);
                let tables = discover::tables_above(manager.store.as_ref(), tenant, minded);
                if let Some(state) = tables.await?.first() {
                    return Err(in_a_table(state));
                }
                return Ok(PassScope {
                    alone: vec![tenant.clone()],
                    ..PassScope::default()
                });
            }
        };
        let mut found = manager.own_tenants(selection).await?;
        let spread = manager.spread().await?;
        let known = selection
            .is_all()
            .then(|| found.tenants.iter().cloned().collect());
        found.tenants.retain(|t| manager.scans(t, &spread));
        let (ranges, alone) = if manager.uses_prescan() {
            if manager.config.layout.has_wildcard() {
                // Nothing lies between them that their listing would show in vain.
                found.others.clear();
            }
            // Whether the others are still to help with a tenant, only a look tells.
            let (noted, own): (Vec<_>, Vec<_>) =
                found.tenants.into_iter().partition(|t| spread.contains(t));
            let (ranges, mut alone) = plan::ranges(own, &found.others);
            alone.extend(noted);
            (ranges, alone)
        } else {
            (Vec::new(), found.tenants)
        };
        Ok(PassScope {
            alone,
            ranges,
            spread,
            refused: found.refused,
            known,
        })
    }

    /// Scans every tenant.
    pub(super) async fn scan(
        self: &Arc<Self>,
        alone: Vec<Tenant>,
        ranges: Vec<Range>,
        spread: &Spread,
    ) -> Vec<Scanned> {
        let spread = Arc::new(spread.clone());
        let tenants = alone.len() + ranges.iter().map(|r| r.tenants.len()).sum::<usize>();
        let at_once = SCANS_AT_ONCE.min(tenants);
        let scans = self.hints(alone, ranges).map(move |(tenant, hint)| {
            let (pass, spread, name) = (Arc::clone(self), Arc::clone(&spread), tenant.clone());
            let span = trace::tenant(&tenant);
            async move {
                let scan = async move { pass.scan_tenant(tenant, hint, &spread, at_once).await };
                // A task of its own: planning is work for every core.
                let scanned = tokio::spawn(scan.instrument(span.clone())).await;
                let scanned = scanned.unwrap_or_else(|e| Scanned {
                    outcome: TenantOutcome::failed(&name, broke_off(e)),
                    job: None,
                });
                if scanned.job.is_none() {
                    trace::tenant_ended(&span, &scanned.outcome.report);
                }
                scanned
            }
        });
        let most = self.manager.config.files_at_once;
        let mut keeping = Keeping {
            window: most / at_once.max(1),
            turn: most / self.turns(tenants),
            most,
            kept: 0,
        };
        let mut scans = pin!(scans.buffer_unordered(SCANS_AT_ONCE));
        let mut all = Vec::new();
        while let Some(scanned) = scans.next().await {
            all.push(keeping.of(scanned));
        }
        all
    }

    /// Tenants of so many that are worked on at once.
    pub(super) fn turns(&self, tenants: usize) -> usize {
        self.manager.config.concurrency.min(tenants).max(1)
    }

    /// What is known of the tenants before they are looked at.
    fn hints(
        self: &Arc<Self>,
        alone: Vec<Tenant>,
        ranges: Vec<Range>,
    ) -> impl Stream<Item = (Tenant, Option<Hint>)> {
        let pass = Arc::clone(self);
        let listed = stream::iter(ranges).map(move |range| {
            let pass = Arc::clone(&pass);
            async move {
                if pass.manager.stop.is_stopped() {
                    range.tenants.into_iter().map(|t| (t, None)).collect()
                } else {
                    prescan::prescan(pass.manager.store.as_ref(), &range).await
                }
            }
        });
        let listed = listed
            .buffer_unordered(RANGES_AT_ONCE)
            .flat_map(stream::iter);
        stream::iter(alone).map(|t| (t, None)).chain(listed)
    }

    async fn scan_tenant(
        &self,
        tenant: Tenant,
        hint: Option<Hint>,
        noted: &Spread,
        at_once: usize,
    ) -> Scanned {
        let (store, requests) = self.counting();
        let mut outcome = TenantOutcome::of(&tenant);
        let job = match self.idle(&store, hint).await {
            Some(idle) => {
                let policy = self.manager.config.policy_for(tenant.as_str());
                outcome.report.left_alone = idle.left_alone().clone();
                outcome.found = Some(idle.totals());
                outcome.tenant_status = self
                    .observe
                    .then(|| idle.status(&policy, self.manager.clock.now()));
                Ok(None)
            }
            None if self.manager.stop.is_stopped() => {
                outcome.report.status = Status::Stopped;
                Ok(None)
            }
            None => {
                let found = self.find_job(&store, &tenant, noted, at_once, &mut outcome);
                found.await
            }
        };
        outcome.report.counters.requests = requests.read();
        let job = job.unwrap_or_else(|e| {
            tracing::error!(target: TOLD, "{e}");
            outcome.end(e);
            None
        });
        Scanned {
            outcome,
            job: job.map(Waiting::Planned),
        }
    }

    /// Believes a hint that there is nothing to do, but of some tenants. What cannot be read says
    /// no more than a hint of work does: the look that follows reads it again, and reports it.
    async fn idle(&self, store: &Arc<dyn ObjectStore>, hint: Option<Hint>) -> Option<Idle> {
        let hint = hint.filter(|hint| {
            !plan::is_checked(hint.tenant(), self.run_id)
                && !self.manager.stop.is_stopped()
                && self.time.too_far().is_none()
        })?;
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
        // So many files are a look of their own.
        if head.as_ref().is_some_and(|head| !head.pages.is_read()) {
            return None;
        }
        let config = &self.manager.config;
        let policy = config.policy_for(hint.tenant().as_str());
        let now = self.manager.clock.now();
        trace::plan().in_scope(|| hint.idle(head, &policy, &config.input_rules(), now))
    }

    /// Scans a tenant by itself, with so many looks under way. None where there is nothing to do.
    pub(super) async fn find_job(
        &self,
        store: &Arc<dyn ObjectStore>,
        tenant: &Tenant,
        noted: &Spread,
        at_once: usize,
        outcome: &mut TenantOutcome,
    ) -> Result<Option<Box<TenantJob>>> {
        let manager = &self.manager;
        let extent = self.extent(tenant, at_once);
        let mut scan = manager.scan(store, tenant, self.budget, extent).await?;
        self.keep_what_is_disputed(store, &mut scan).await?;
        let guard = self.guard(store, &scan).await?;
        let TenantScan {
            inventory,
            plan,
            dated,
            beyond,
        } = scan;
        let home = manager.is_home(tenant);
        outcome.tenant_status = self.tenant_status(tenant, &inventory);
        outcome.found = home.then(|| {
            let mut found = status::totals(tenant, &inventory);
            found.raw_files += beyond.files;
            found.raw_bytes += beyond.bytes;
            found
        });
        let spread = self.settle_spread(&plan, noted.contains(tenant)).await;
        let mut plan = shard::share(plan, manager.config.shard, spread);
        // Tenants wait for their turn by the thousand: only what will be done is kept of them.
        plan.skipped = Vec::new();
        outcome.report.left_alone = std::mem::take(&mut plan.left_alone);
        let ours = std::mem::take(&mut outcome.report.left_alone.ours);
        let sweep_due = home
            && (manager.staged.has_any(tenant)
                || sweep::is_due_where_kept(
                    &inventory,
                    &manager.config.policy_for(tenant.as_str()),
                    publish::keep(&manager.config),
                    manager.clock.now(),
                ));
        let idle = plan.groups.is_empty() && !sweep_due && dated.is_empty();
        let mut publishes = false;
        for follower in publish::followers(manager, store, tenant) {
            publishes |= home && (!idle || !follower.is_current(&inventory, &ours).await);
        }
        if plan.groups.is_empty() && !sweep_due && !publishes && dated.is_empty() {
            return Ok(None);
        }
        Ok(Some(Box::new(TenantJob {
            span: Span::current(),
            head: inventory.head,
            plan,
            dated,
            more: beyond.waiting > 0,
            guard,
            sweep_due,
        })))
    }

    /// Where machine and store tell times too far apart, no row expires.
    ///
    /// # Errors
    /// [`Error::Refused`] where one would by either of them.
    async fn keep_what_is_disputed(
        &self,
        store: &Arc<dyn ObjectStore>,
        scan: &mut TenantScan,
    ) -> Result<()> {
        let Some(ahead) = self.time.too_far() else {
            return Ok(());
        };
        let (plan, inventory) = (&mut scan.plan, &scan.inventory);
        let policy = self.manager.config.policy_for(plan.tenant.as_str());
        let later = compaction::plan(&plan.tenant, inventory, &policy, self.time.later());
        let survey = self.manager.survey(store, &later, self.budget).await;
        let expiring = expiry::of(&later, inventory.head.as_ref(), &survey, &policy)
            .filter(|e| e.rows_expiring > 0);
        if let Some(Expiry {
            rows_expiring,
            rows,
            ..
        }) = expiring
        {
            return Err(Error::Refused(format!(
                "this machine's clock is {} the store's, and {rows_expiring} of the {rows} rows of \
                 tenant `{}` would expire by one of them: nothing was done for this tenant; set \
                 the clock (NTP), then run again",
                apart(ahead),
                plan.tenant
            )));
        }
        plan.cutoff = None;
        plan.groups.retain(|g| !g.is_expiry());
        Ok(())
    }

    /// The guard for a plan, where the setting asks for one. Only then files are looked at for it.
    ///
    /// # Errors
    /// [`Error::Refused`] where more rows would expire than may.
    async fn guard(
        &self,
        store: &Arc<dyn ObjectStore>,
        TenantScan {
            plan, inventory, ..
        }: &TenantScan,
    ) -> Result<Option<ExpiryGuard>> {
        let policy = self.manager.config.policy_for(plan.tenant.as_str());
        let may_expire = plan.groups.iter().any(|g| g.kind != GroupKind::Adopt);
        if policy.max_expire_percent >= 100 || plan.cutoff.is_none() || !may_expire {
            return Ok(None);
        }
        let survey = self.manager.survey(store, plan, self.budget).await;
        let guard = expiry::of(plan, inventory.head.as_ref(), &survey, &policy)
            .map(|expiry| ExpiryGuard::on(plan, &expiry, &survey))
            .transpose()?;
        Ok(guard)
    }

    /// The status of a tenant, if anybody wants to know it.
    pub(super) fn tenant_status(
        &self,
        tenant: &Tenant,
        inventory: &Inventory,
    ) -> Option<TenantStatus> {
        let policy = self.manager.config.policy_for(tenant.as_str());
        (self.observe && self.manager.is_home(tenant))
            .then(|| status::of(tenant, inventory, &policy, self.manager.clock.now()))
    }
}
