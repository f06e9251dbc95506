//! One pass: **discover → plan → merge → archive → commit → sweep**, tenant by tenant. The stages
//! do not know each other; this module hands the result of one to the next.

mod commit_sequence;
pub(crate) mod footers;
mod group;
pub mod manager;
mod memory;
mod outcome;
mod publish;
mod scan;
mod selection;
mod shards;
mod tenant;
pub mod trace;

use std::collections::BTreeMap;
use std::ops::Add;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, stream};
use object_store::ObjectStore;
use tokio::task::JoinError;
use tracing::Instrument;

use crate::clock::{Clock, PassClock};
use crate::config::CompactionConfig;
use crate::error::{Error, Result};
use crate::inspect::doctor;
use crate::pass::footers::FooterScanner;
use crate::progress::{Event, Progress};
use crate::protocol::marker::Root;
use crate::protocol::{dating, discover, runs};
use crate::store::counting::{Counters, CountingStore};
use crate::store::staged::Directory;
use icepack_core::model::estimate::Survey;
use icepack_core::model::inputs::Left;
use icepack_core::model::inspect::{Failure, LastRun, PlanReport, StatusReport, TenantStatus};
use icepack_core::model::marker::Role;
use icepack_core::model::names::{DELTA_LOG, FileId, Key, Tenant};
use icepack_core::model::plan::{Inventory, Plan};
use icepack_core::model::price::STANDARD;
use icepack_core::model::publish::Layout;
use icepack_core::model::record::RunRecord;
use icepack_core::model::report::{Requests, RunReport, SCHEMA_VERSION};
use icepack_core::model::shard::Shard;
use icepack_core::model::stock::Stock;
use icepack_core::plan::evidence::Evidence;
use icepack_core::plan::expiry_guard::ExpiryGuard;
use icepack_core::plan::money::{self, Pricing};
use icepack_core::plan::prescan::Range;
use icepack_core::plan::{compaction, expiry, shard, status};
use memory::MemoryPool;
pub(crate) use outcome::{TenantOutcome, failed};
use outcome::{failure, log_outcome, summarise, unusable};
use scan::{LOOK_AT_ONCE, PassScope, TenantListing, TenantScan};
pub use selection::Selection;
use shards::Spread;

/// Asks a run to stop: it finishes or abandons the group at hand before its commit, and begins no
/// other.
#[derive(Debug, Clone, Default)]
pub struct StopHandle(Arc<AtomicBool>);

impl StopHandle {
    /// Asks.
    pub fn stop(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was asked.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

/// What every stage of a run needs.
#[derive(Clone)]
pub(crate) struct Context {
    pub store: Arc<dyn ObjectStore>,
    pub config: Arc<CompactionConfig>,
    pub clock: Arc<dyn Clock>,
    pub progress: Arc<dyn Progress>,
    pub stop: StopHandle,
    /// Whether it is looked at how the tenants stand after the pass.
    pub observe: bool,
    pub surveyor: Arc<FooterScanner>,
    /// Where the store is a directory: it.
    pub directory: Option<Directory>,
    /// The places that hold the store, where they are known.
    pub enclosing: Vec<Arc<dyn ObjectStore>>,
    /// Where the archive can be looked at: its root.
    pub archive_root: Option<Root>,
    /// Where the archive is one.
    pub archive_directory: Option<Directory>,
}

/// A pass and what it leaves behind.
#[derive(Debug)]
pub struct PassOutcome {
    /// What it did.
    pub report: RunReport,
    /// What the store keeps of it; none where that could not be stored.
    pub record: Option<RunRecord>,
    /// How the tenants stand now: those that could be looked at.
    pub standings: Vec<TenantStatus>,
    pub(crate) errors: Vec<Error>,
}

/// Columns that date snapshots, by their keys.
type Dated = BTreeMap<Key, String>;

/// The tenants of a pass.
enum PassTarget<'a> {
    Selected(&'a Selection),
    One(&'a Tenant),
}

/// A run under way.
pub(crate) struct Run {
    pub context: Context,
    pub run_id: FileId,
    pub store_time: DateTime<Utc>,
    /// The context's clock, by its own name.
    pub time: Arc<PassClock>,
    pub memory: MemoryPool,
    started_ms: u64,
}

impl Context {
    /// Refuses places that are not what they are given as, and tells those that have no marker yet.
    /// Writes nothing.
    ///
    /// # Errors
    /// As [`Root::check`].
    pub async fn check_roots(&self) -> Result<Vec<Root>> {
        let store = Root {
            role: Role::Store,
            store: Arc::clone(&self.store),
            enclosing: self.enclosing.clone(),
            exclude: self.config.exclude.clone(),
        };
        let mut unmarked = Vec::new();
        if !store.check().await? {
            unmarked.push(store);
        }
        if let Some(archive) = &self.archive_root {
            match archive.check().await {
                Ok(true) => {}
                Ok(false) => unmarked.push(archive.clone()),
                Err(e @ Error::Refused(_)) => return Err(e),
                // An archive that is away holds up what expires, not what is compacted: whoever
                // sends rows to it finds out.
                Err(e) => {
                    tracing::warn!("whether {} is an archive is not known: {e}", archive.store)
                }
            }
        }
        Ok(unmarked)
    }

    /// The tenants that `selection` takes, in their order, with what else is there.
    async fn tenants(&self, selection: &Selection) -> Result<TenantListing> {
        let listing = discover::tenants(self.store.as_ref());
        let found = trace::stage(trace::discover(), listing, |span, found| {
            _ = span.record("tenants", found.tenants.len())
        })
        .await?;
        if let Some(name) = selection.missing(&found.tenants) {
            return Err(Error::Usage(format!(
                "--tenant: there is no tenant `{name}` in this store; `icepack status` lists them"
            )));
        }
        let (tenants, others): (Vec<_>, Vec<_>) =
            found.tenants.into_iter().partition(|t| selection.takes(t));
        let refused = if selection.is_all() {
            found.refused
        } else {
            Vec::new()
        };
        let refused = refused
            .iter()
            .filter(|e| self.reports(e))
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
        })
    }

    /// Refuses every tenant where the store as a whole is somebody else's table.
    fn refuse_root_table(&self, found: &mut TenantListing) {
        if !self.minds_root_log() || !found.others.iter().any(|name| name == DELTA_LOG) {
            return;
        }
        let why = root_table();
        let (home, others): (Vec<_>, Vec<_>) = std::mem::take(&mut found.tenants)
            .into_iter()
            .partition(|t| self.is_home(t));
        drop(others);
        found
            .refused
            .extend(home.iter().map(|t| failed(t.as_str(), &why)));
    }

    /// Whether the log of a table in the root of the store would be somebody else's.
    fn minds_root_log(&self) -> bool {
        !self
            .config
            .publish
            .is_some_and(|p| p.layout == Layout::Shared)
            && self.config.input_rules().sees_root_log()
    }

    /// A tenant that was named, where the root was not listed to find it.
    async fn alone(&self, tenant: &Tenant) -> Result<PassScope> {
        if self.minds_root_log() && discover::has_root_log(self.store.as_ref()).await? {
            return Err(root_table());
        }
        Ok(PassScope {
            alone: vec![tenant.clone()],
            ..PassScope::default()
        })
    }

    /// Inventory and plan of one tenant, and the columns that were found to date snapshots of which
    /// head does not say it. They are entered into the inventory's head. Nothing is planned
    /// where something of the tenant is somebody else's.
    async fn look(
        &self,
        store: &Arc<dyn ObjectStore>,
        tenant: &Tenant,
    ) -> Result<(Inventory, Plan, Dated)> {
        let rules = self.config.input_rules();
        let looking = trace::stage(
            trace::discover(),
            discover::evidence(store, tenant, &rules),
            |span, (found, _): &(Evidence, Left)| {
                span.record("files", found.listing().len());
                span.record("bytes", found.listing().iter().map(|f| f.size).sum::<u64>());
            },
        );
        let (evidence, left_alone) = looking.await?;
        let mut inventory = evidence.into_inventory();
        tenant::refuse_lost_manifest(tenant, &inventory)?;
        let dated = match &mut inventory.head {
            Some(head) if !head.is_dated() => {
                let found = dating::columns(store, head, self.config.memory_limit / 32).await?;
                head.date(&found);
                found
            }
            _ => Dated::new(),
        };
        let policy = self.config.policy_for(tenant.as_str());
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
        Ok((inventory, plan, dated))
    }

    fn pricing(&self) -> Pricing<'_> {
        let c = &self.config;
        Pricing {
            prices: &c.prices,
            class: c.archive_class.as_deref().unwrap_or(STANDARD),
            copies: c.archive_copies,
        }
    }

    /// What the footers of the raw files say that a plan takes, where rows may expire.
    async fn survey(&self, store: &Arc<dyn ObjectStore>, plan: &Plan) -> Survey {
        if plan.cutoff.is_none() {
            return Survey::default();
        }
        self.surveyor
            .survey(
                store,
                plan,
                &self.config.timestamp_column,
                self.config.memory_limit / 4,
            )
            .instrument(trace::survey())
            .await
    }

    /// The guard for a plan, where the setting asks for one. Only then files are looked at for it.
    async fn guard(
        &self,
        store: &Arc<dyn ObjectStore>,
        inventory: &Inventory,
        plan: &Plan,
    ) -> Result<Option<ExpiryGuard>> {
        let policy = self.config.policy_for(plan.tenant.as_str());
        if policy.max_expire_percent >= 100 || plan.cutoff.is_none() || plan.groups.is_empty() {
            return Ok(None);
        }
        let survey = self.survey(store, plan).await;
        let guard = expiry::of(plan, inventory.head.as_ref(), &survey, &policy)
            .map(|expiry| ExpiryGuard::on(plan, &expiry, &survey))
            .transpose()?;
        Ok(guard)
    }

    /// The plans that a run would execute now. Nothing is written.
    pub async fn plan(&self, selection: &Selection) -> Result<PlanReport> {
        self.check_roots().await?;
        let mut found = self.tenants(selection).await?;
        self.refuse_root_table(&mut found);
        let TenantListing {
            tenants,
            refused,
            root,
            ..
        } = found;
        let (context, spread) = (Arc::new(self.clone()), Arc::new(self.spread().await?));
        let looks = tenants
            .into_iter()
            .filter(|t| self.looks_at(t, &spread))
            .map(|tenant| {
                let (context, spread, name) =
                    (Arc::clone(&context), Arc::clone(&spread), tenant.clone());
                // A task of its own: planning is work for every core.
                let task = tokio::spawn(
                    async move {
                        context
                            .plan_one(&tenant, spread.contains(&tenant))
                            .await
                            .map_err(|e| failure(&tenant, &e))
                    }
                    .in_current_span(),
                );
                async move {
                    task.await
                        .unwrap_or_else(|e| Err(failure(&name, &broke_off(e))))
                }
            });
        let (plans, mut failures) = settle(looks).await;
        failures.extend(refused.into_iter().map(|r| Failure {
            tenant: r.tenant,
            status: r.status,
            error: r.error.unwrap_or_default(),
        }));
        Ok(PlanReport {
            schema_version: SCHEMA_VERSION,
            plans,
            prices: self.config.prices.clone(),
            failures,
            root,
        })
    }

    async fn plan_one(&self, tenant: &Tenant, spread: bool) -> Result<Plan> {
        let (inventory, mut plan, _) = self.look(&self.store, tenant).await?;
        let survey = self.survey(&self.store, &plan).await;
        let policy = self.config.policy_for(tenant.as_str());
        plan.expiry = expiry::of(&plan, inventory.head.as_ref(), &survey, &policy);
        let spread = spread || shard::is_giant(&plan);
        // What this shard does is what it costs.
        let mut plan = shard::share(plan, self.config.shard, spread);
        plan.estimate = Some(money::estimate(&plan, &policy, &self.pricing()));
        Ok(plan)
    }

    /// How the tenants stand.
    pub async fn status(&self, selection: &Selection) -> Result<StatusReport> {
        let tenants = self.selected(selection).await?;
        let looks = tenants.into_iter().map(|tenant| async move {
            let found =
                discover::inventory(self.store.as_ref(), &tenant, &self.config.input_rules())
                    .await
                    .map_err(|e| failure(&tenant, &e))?;
            let policy = self.config.policy_for(tenant.as_str());
            Ok(TenantStatus {
                left_alone: found.left,
                ..status::of(&tenant, &found.inventory, &policy, self.clock.now())
            })
        });
        let (tenants, failures) = settle(looks).await;
        let runs = runs::summary(self.store.as_ref(), self.clock.now()).await?;
        let short = |record: Option<RunRecord>| record.as_ref().map(LastRun::from);
        let (last_run, last_success, last_failure) =
            (short(runs.last), short(runs.success), short(runs.failure));
        Ok(StatusReport {
            schema_version: SCHEMA_VERSION,
            tenants,
            failures,
            last_run,
            last_success,
            last_failure,
        })
    }

    /// How a tenant stands, if anybody wants to know.
    fn standing(&self, tenant: &Tenant, inventory: &Inventory) -> Option<TenantStatus> {
        let policy = self.config.policy_for(tenant.as_str());
        (self.observe && self.is_home(tenant))
            .then(|| status::of(tenant, inventory, &policy, self.clock.now()))
    }

    /// The tenants that `selection` takes.
    pub async fn selected(&self, selection: &Selection) -> Result<Vec<Tenant>> {
        self.check_roots().await?;
        Ok(self.tenants(selection).await?.tenants)
    }

    /// One pass over a selection.
    pub async fn run(&self, selection: &Selection) -> Result<PassOutcome> {
        self.pass(PassTarget::Selected(selection)).await
    }

    /// One pass over one tenant, with the error that ended it if one did.
    pub async fn run_tenant(&self, tenant: &Tenant) -> Result<(RunReport, Option<Error>)> {
        let PassOutcome { report, errors, .. } = self.pass(PassTarget::One(tenant)).await?;
        Ok((report, errors.into_iter().next()))
    }

    async fn pass(&self, which: PassTarget<'_>) -> Result<PassOutcome> {
        if self.config.plan_for_archive && self.config.archive.is_none() {
            return Err(Error::Usage(
                "this manager plans for an archive that it was not given, so it can only look: \
                 set `archive` to run a pass"
                    .to_owned(),
            ));
        }
        if self.config.publish.is_some() && !cfg!(feature = "delta") {
            return Err(Error::Usage(
                "`publish.delta` is set, and this icepack was built without the feature `delta`: \
                 build it with, or unset it"
                    .to_owned(),
            ));
        }
        let run_id = self.clock.mint(FileId::NIL);
        let span = trace::pass(run_id);
        let shard = if let PassTarget::One(_) = which {
            Shard::WHOLE
        } else {
            self.config.shard
        };
        let passed = self.pass_as(run_id, which).instrument(span.clone()).await;
        trace::pass_ended(&span, shard, &passed);
        passed
    }

    async fn pass_as(&self, run_id: FileId, which: PassTarget<'_>) -> Result<PassOutcome> {
        let started_ms = self.clock.monotonic_ms();
        let (counting, counters) = CountingStore::new(Arc::clone(&self.store));
        let mut context = Self {
            store: counting,
            ..self.clone()
        };
        if let PassTarget::One(_) = which {
            // Who names a tenant means all of it.
            context.config = Arc::new(CompactionConfig {
                shard: Shard::WHOLE,
                ..(*self.config).clone()
            });
        }
        // Before anything is written: what is given as a store may be an archive, or somebody
        // else's place.
        let unmarked = context.check_roots().await?;
        // Before anything else: a store that lets a second conditional create win would let two
        // runs commit the same version.
        let store_time = trace::stage(
            trace::preflight(),
            doctor::preflight(&context.store, run_id),
            |_, _| {},
        )
        .await?;
        for root in unmarked {
            root.mark(self.clock.as_ref()).await?;
        }
        for (directory, role) in [
            (&self.directory, Role::Store),
            (&self.archive_directory, Role::Archive),
        ] {
            directory
                .as_ref()
                .map_or(Ok(()), |d| d.sweep_markers(role))?;
        }
        let time = Arc::new(PassClock::new(Arc::clone(&self.clock), store_time));
        if let Some(ahead) = time.too_far() {
            tracing::warn!(
                "this machine's clock is {} the store's: no row expires before it is set (NTP)",
                apart(ahead)
            );
        }
        context.clock = Arc::clone(&time) as _;
        let started_at = time.shared();
        let memory = MemoryPool::new(self.config.memory_limit);
        let run = Arc::new(Run {
            context,
            run_id,
            store_time,
            time,
            memory,
            started_ms,
        });
        let found = match which {
            PassTarget::Selected(selection) => run.context.share_of(selection).await,
            PassTarget::One(tenant) => run.context.alone(tenant).await,
        };
        let share = match found {
            Ok(found) => found,
            // Nobody was wronged by a pass over a tenant that does not exist.
            Err(e @ Error::Usage(_)) => return Err(e),
            Err(e) => {
                let mut report = summarise(
                    run_id,
                    started_at,
                    self.clock.monotonic_ms() - started_ms,
                    Vec::new(),
                );
                report.totals.status = failed("", &e).status;
                report.requests = counters.read();
                run.record(&report, Some(e.to_string())).await;
                return Err(e);
            }
        };
        let PassScope {
            alone,
            ranges,
            spread,
            refused,
        } = share;
        let mut outcomes = run.tenants(alone, ranges, spread.clone()).await;
        if let PassTarget::Selected(selection) = which {
            outcomes.extend(run.help(selection, &spread).await);
        }
        let mut standings: Vec<_> = outcomes
            .iter_mut()
            .filter_map(|o| o.standing.take())
            .collect();
        standings.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        // Half of the tenants would look as if the other half had gone.
        let is_all = matches!(which, PassTarget::Selected(selection) if selection.is_all())
            && !self.stop.is_stopped();
        let held = is_all.then(|| {
            outcomes
                .iter()
                .filter_map(|o| o.found)
                .fold(Stock::default(), Add::add)
        });
        let archive = outcomes
            .iter()
            .fold(Requests::default(), |sum, o| sum + o.archive);
        let (mut reports, errors): (Vec<_>, Vec<_>) =
            outcomes.into_iter().map(|o| (o.report, o.error)).unzip();
        reports.extend(refused);
        reports.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        let mut report = summarise(
            run_id,
            started_at,
            self.clock.monotonic_ms() - started_ms,
            reports,
        );
        report.found = held;
        report.requests = counters.read() + archive;
        report.totals.counters.requests = report.requests;
        let tenants = report.tenants.len();
        log_outcome!("pass", &report.totals, tenants);
        let record = run.record(&report, None).await;
        Ok(PassOutcome {
            report,
            record,
            standings,
            errors: errors.into_iter().flatten().collect(),
        })
    }
}

/// Why a store whose root is a table is left alone.
fn root_table() -> Error {
    Error::Refused(format!(
        "`{DELTA_LOG}` in the root of the store is the log of a Delta table that this run does \
         not publish. Nothing is touched. Set `publish.delta` and its layout, remove that folder, \
         or name it in `exclude`, as in exclude = [\"{DELTA_LOG}/**\"]"
    ))
}

impl Run {
    /// Stores what the pass did. That it cannot be stored harms nothing but the next look at it.
    async fn record(&self, report: &RunReport, error: Option<String>) -> Option<RunRecord> {
        let stored = runs::record(
            self.context.store.as_ref(),
            report,
            error,
            self.context.config.shard,
        )
        .await;
        stored
            .inspect_err(|e| {
                tracing::warn!("the pass is over, but its record could not be stored: {e}")
            })
            .ok()
    }

    /// Looks at every tenant, then works on those that need it, the worst backlog first.
    async fn tenants(
        self: &Arc<Self>,
        alone: Vec<Tenant>,
        ranges: Vec<Range>,
        spread: Spread,
    ) -> Vec<TenantOutcome> {
        let (mut outcomes, mut work) = (Vec::new(), Vec::new());
        let mut looks = pin!(self.looks(alone, ranges, spread));
        while let Some(look) = looks.next().await {
            match look {
                TenantScan::Over(outcome) => outcomes.push(*outcome),
                TenantScan::TenantJob(w) => work.push(w),
            }
        }
        work.sort_by(|a, b| (b.plan.backlog(), &a.tenant).cmp(&(a.plan.backlog(), &b.tenant)));
        let bytes = work.iter().map(|w| w.plan.backlog()).sum();
        self.context.progress.on(Event::Planned {
            tenants: work.len(),
            bytes,
        });
        let done = stream::iter(work).map(|w| {
            let run = Arc::clone(self);
            // A task of its own, which may panic.
            async move {
                let (name, span) = (w.tenant.to_string(), w.span.clone());
                let task =
                    tokio::spawn(async move { run.tenant(*w).await }.instrument(span.clone()));
                let outcome = task
                    .await
                    .unwrap_or_else(|e| TenantOutcome::failed(&name, broke_off(e)));
                trace::tenant_ended(&span, &outcome.report);
                outcome
            }
        });
        let mut done = done.buffer_unordered(self.context.config.concurrency.max(1));
        while let Some(outcome) = done.next().await {
            self.context.progress.on(Event::TenantDone {
                report: &outcome.report,
            });
            outcomes.push(outcome);
        }
        outcomes
    }

    /// The store, with counters for one tenant.
    fn counting(&self) -> (Arc<dyn ObjectStore>, Arc<Counters>) {
        let (store, counters) = CountingStore::new(Arc::clone(&self.context.store));
        (store, counters)
    }

    /// Whether no further group may begin.
    fn is_over(&self) -> bool {
        let elapsed = self.context.clock.monotonic_ms() - self.started_ms;
        let limit = self
            .context
            .config
            .max_duration
            .map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
        self.context.stop.is_stopped() || limit.is_some_and(|limit| elapsed >= limit)
    }
}

/// How far a clock is from another, in words.
fn apart(ahead: TimeDelta) -> String {
    let minutes = (ahead.abs().num_seconds() + 30) / 60;
    let (amount, unit) = match minutes {
        m if m >= 2 * 24 * 60 => ((m + 12 * 60) / (24 * 60), "days"),
        m if m >= 2 * 60 => ((m + 30) / 60, "hours"),
        m => (m, "minutes"),
    };
    format!(
        "{amount} {unit} {}",
        if ahead < TimeDelta::zero() {
            "behind"
        } else {
            "ahead of"
        }
    )
}

/// One tenant's panic is that tenant's failure.
fn broke_off(e: JoinError) -> Error {
    Error::local("this tenant's task broke off", e)
}

/// What each look found, and what kept the others from it, in order.
async fn settle<T>(
    looks: impl Iterator<Item = impl Future<Output = Result<T, Failure>>>,
) -> (Vec<T>, Vec<Failure>) {
    let results: Vec<_> = stream::iter(looks).buffered(LOOK_AT_ONCE).collect().await;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(t) => found.push(t),
            Err(f) => failures.push(f),
        }
    }
    (found, failures)
}
