//! One pass: **discover → plan → merge → archive → commit → sweep**, tenant by tenant. The stages
//! do not know each other. This module hands the result of one to the next.

mod commit_sequence;
pub(crate) mod footers;
mod group;
mod look;
pub(crate) mod manager;
mod outcome;
mod publish;
mod scan;
mod selection;
mod shards;
mod tenant;
pub mod trace;

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, stream};
use object_store::ObjectStore;
use tokio::task::JoinError;
use tracing::Instrument;

use crate::budget::{Budget, MemoryPool};
use crate::clock::PassClock;
use crate::config::CompactionConfig;
use crate::error::{Error, Result};
use crate::progress::Event;
use crate::protocol::preflight::preflight;
use crate::protocol::runs;
use crate::store::counting::{CountingStore, RequestCounters};
use icepack_core::model::inspect::TenantStatus;
use icepack_core::model::names::{FileId, Tenant};
use icepack_core::model::record::RunRecord;
use icepack_core::model::report::{Requests, RunReport, TenantReport};
use icepack_core::model::shard::Shard;
use icepack_core::model::totals::StoreTotals;
use manager::CompactionManager;
use outcome::{TenantOutcome, failed, summarise};
use scan::{Scanned, Waiting};
pub use selection::Selection;
use shards::Spread;
use tenant::Turn;

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

/// A pass and what it leaves behind.
#[derive(Debug)]
pub struct PassOutcome {
    /// What it did.
    pub report: RunReport,
    /// What the store keeps of it; none where that could not be stored.
    pub record: Option<RunRecord>,
    /// The status of the tenants now: of those that could be looked at.
    pub tenant_statuses: Vec<TenantStatus>,
    pub(crate) errors: Vec<Error>,
}

/// The tenants of a pass.
#[derive(Clone, Copy)]
enum PassTarget<'a> {
    Selected(&'a Selection),
    One(&'a Tenant),
}

/// A pass under way.
struct Pass {
    /// As this pass has it: its store counts, and its clock is held against the store's.
    manager: CompactionManager,
    run_id: FileId,
    /// The store's own clock, read when the pass began.
    store_time: DateTime<Utc>,
    /// The manager's clock, by its own name.
    time: Arc<PassClock>,
    started_at: DateTime<Utc>,
    started_ms: u64,
    budget: Budget,
    memory: MemoryPool,
    /// All requests to the store.
    requests: Arc<RequestCounters>,
    /// Whether it is looked at how the tenants stand after the pass.
    observe: bool,
}

/// Makes a pass, in a span of its own.
async fn make(
    manager: &CompactionManager,
    target: PassTarget<'_>,
    observe: bool,
) -> Result<PassOutcome> {
    manager.check_able()?;
    let run_id = manager.clock.mint(FileId::NIL);
    let span = trace::pass(run_id);
    let shard = match target {
        PassTarget::Selected(_) => manager.config.shard,
        // Who names a tenant means all of it.
        PassTarget::One(_) => Shard::WHOLE,
    };
    let passed = pass(manager, target, run_id, shard, observe)
        .instrument(span.clone())
        .await;
    trace::pass_ended(&span, shard, &passed);
    passed
}

/// A pass: places are checked, tenants scanned and planned, their jobs executed, and what came of
/// it is recorded. A job is what [`Pass::carry_out`] does: publish, merge and commit group by
/// group, sweep.
async fn pass(
    manager: &CompactionManager,
    target: PassTarget<'_>,
    run_id: FileId,
    shard: Shard,
    observe: bool,
) -> Result<PassOutcome> {
    let pass = Arc::new(Pass::begin(manager, run_id, shard, observe).await?);
    let scope = match pass.scope(target).await {
        Ok(scope) => scope,
        Err(e) => return Err(pass.give_up(e).await),
    };
    let scanned = pass.scan(scope.alone, scope.ranges, &scope.spread).await;
    let mut outcomes = pass.execute(scanned, scope.spread.clone()).await;
    if let PassTarget::Selected(selection) = target {
        outcomes.extend(pass.help(selection, &scope.spread).await);
    }
    if let Some(known) = &scope.known {
        outcomes.extend(pass.take_out_departed(known).await);
    }
    Ok(pass.conclude(target, outcomes, scope.refused).await)
}

impl Pass {
    /// Checks the places before anything is written to them: what is given as a store may be an
    /// archive, or somebody else's; and a store that lets a second conditional create win would let
    /// two runs commit the same version.
    async fn begin(
        manager: &CompactionManager,
        run_id: FileId,
        shard: Shard,
        observe: bool,
    ) -> Result<Self> {
        let started_ms = manager.clock.monotonic_ms();
        let (store, requests) = CountingStore::new(Arc::clone(&manager.store));
        let mut manager = manager.clone();
        manager.store = store;
        if shard != manager.config.shard {
            manager.config = Arc::new(CompactionConfig {
                shard,
                ..(*manager.config).clone()
            });
        }
        manager.open_archive().await?;
        let unmarked = [manager.check_store().await?, manager.check_archive().await?];
        let store_time = trace::stage(
            trace::preflight(),
            preflight(&manager.store, run_id),
            |_, _| {},
        )
        .await?;
        for root in unmarked.into_iter().flatten() {
            root.mark(manager.clock.as_ref()).await?;
        }
        manager.staged.sweep_markers()?;
        let time = Arc::new(PassClock::new(Arc::clone(&manager.clock), store_time));
        if let Some(ahead) = time.too_far() {
            tracing::warn!(
                "this machine's clock is {} the store's: no row expires before it is set (NTP)",
                apart(ahead)
            );
        }
        manager.clock = Arc::clone(&time) as _;
        let budget = Budget::of(manager.config.memory_limit);
        Ok(Self {
            run_id,
            store_time,
            started_at: time.shared(),
            time,
            started_ms,
            budget,
            memory: MemoryPool::new(budget),
            requests,
            observe,
            manager,
        })
    }

    /// Executes the jobs of the tenants that have one, some at once and the worst backlog first.
    async fn execute(self: &Arc<Self>, scanned: Vec<Scanned>, noted: Spread) -> Vec<TenantOutcome> {
        let (mut outcomes, mut jobs) = (Vec::new(), Vec::new());
        for Scanned { outcome, job } in scanned {
            match job {
                Some(job) => jobs.push((outcome, job)),
                None => outcomes.push(outcome),
            }
        }
        let rank = |job: &Waiting| (Reverse(job.backlog()), job.tenant().clone());
        jobs.sort_by_cached_key(|(_, job)| rank(job));
        self.manager.progress.on(Event::Planned {
            tenants: jobs.len(),
            bytes: jobs.iter().map(|(_, job)| job.backlog()).sum(),
        });
        let turn = Arc::new(Turn {
            noted,
            at_once: self.turns(jobs.len()),
        });
        let done = stream::iter(jobs).map(|(outcome, job)| {
            let (pass, turn) = (Arc::clone(self), Arc::clone(&turn));
            async move {
                let (tenant, span) = (job.tenant().clone(), job.span().clone());
                // A task of its own, which may panic.
                let task = async move { pass.tenant(outcome, job, &turn).await };
                let outcome = tokio::spawn(task.instrument(span.clone()))
                    .await
                    .unwrap_or_else(|e| TenantOutcome::failed(&tenant, broke_off(e)));
                trace::tenant_ended(&span, &outcome.report);
                outcome
            }
        });
        let mut done = done.buffer_unordered(self.manager.config.concurrency.max(1));
        while let Some(outcome) = done.next().await {
            self.manager.progress.on(Event::TenantDone {
                report: &outcome.report,
            });
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Records that the pass ended before its tenants were at work.
    async fn give_up(&self, why: Error) -> Error {
        // Nobody was wronged by a pass over a tenant that does not exist.
        if !matches!(why, Error::Usage(_)) {
            let mut report = self.report(Vec::new());
            report.totals.status = failed("", &why).status;
            report.requests = self.requests.read();
            self.record(&report, Some(why.to_string())).await;
        }
        why
    }

    /// Sums up and records what the pass did.
    async fn conclude(
        &self,
        target: PassTarget<'_>,
        outcomes: Vec<TenantOutcome>,
        refused: Vec<TenantReport>,
    ) -> PassOutcome {
        let (mut reports, mut errors, mut tenant_statuses) = (refused, Vec::new(), Vec::new());
        let (mut archive, mut found) = (Requests::default(), StoreTotals::default());
        for outcome in outcomes {
            archive += outcome.archive;
            found += outcome.found.unwrap_or_default();
            reports.push(outcome.report);
            errors.extend(outcome.error);
            tenant_statuses.extend(outcome.tenant_status);
        }
        tenant_statuses.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        reports.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        let mut report = self.report(reports);
        // Half of the tenants would look as if the other half had gone.
        let is_all = matches!(target, PassTarget::Selected(selection) if selection.is_all())
            && !self.manager.stop.is_stopped();
        report.found = is_all.then_some(found);
        report.requests = self.requests.read() + archive;
        report.totals.counters.requests = report.requests;
        trace::log_pass(&report);
        let record = self.record(&report, None).await;
        PassOutcome {
            report,
            record,
            tenant_statuses,
            errors,
        }
    }

    fn report(&self, tenants: Vec<TenantReport>) -> RunReport {
        let took = self.manager.clock.monotonic_ms() - self.started_ms;
        summarise(self.run_id, self.started_at, took, tenants)
    }

    /// Stores what the pass did. That it cannot be stored harms nothing but the next look at it.
    async fn record(&self, report: &RunReport, error: Option<String>) -> Option<RunRecord> {
        let shard = self.manager.config.shard;
        let stored = runs::record(self.manager.store.as_ref(), report, error, shard).await;
        stored
            .inspect_err(|e| {
                tracing::warn!("the pass is over, but its record could not be stored: {e}")
            })
            .ok()
    }

    /// The store, with counters for one tenant.
    fn counting(&self) -> (Arc<dyn ObjectStore>, Arc<RequestCounters>) {
        let (store, counters) = CountingStore::new(Arc::clone(&self.manager.store));
        (store, counters)
    }

    /// Whether no further group may begin.
    fn is_over(&self) -> bool {
        let elapsed = self.manager.clock.monotonic_ms() - self.started_ms;
        let limit = self
            .manager
            .config
            .max_duration
            .map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
        self.manager.stop.is_stopped() || limit.is_some_and(|limit| elapsed >= limit)
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
