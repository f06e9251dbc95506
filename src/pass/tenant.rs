//! One tenant's part of a pass.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use futures::{StreamExt, stream};
use object_store::ObjectStore;
use tokio::sync::Semaphore;

use super::commit_sequence::CommitSequence;
use super::group::GroupJobs;
use super::outcome::TenantOutcome;
use super::publish::Publishing;
use super::scan::{Extent, TenantJob, Waiting};
use super::shards::Spread;
use super::{Pass, RequestCounters, trace};
use crate::error::{Error, Result};
use crate::progress::{Event, TOLD};
use crate::protocol::commit::Committer;
use crate::protocol::discover;
use crate::protocol::sweep::{SweepReport, Sweeper};
use crate::store::is_same_place;
use icepack_core::model::inspect::TenantStatus;
use icepack_core::model::manifest::{Edit, Manifest, Observed};
use icepack_core::model::names::{Key, Tenant};
use icepack_core::model::plan::Group;
use icepack_core::model::report::{Status, TenantReport};
use icepack_core::plan::batch::batch_sizes;
use icepack_core::plan::intake::Keep;

/// Groups of a tenant on their way at once: while one is merged, the next is fetched, and the last
/// is uploaded.
const GROUPS_AT_ONCE: usize = 2;

/// The groups of each commit.
fn batches(groups: Vec<Group>) -> Vec<Vec<Group>> {
    let sizes = batch_sizes(&groups);
    let mut groups = groups.into_iter();
    sizes
        .into_iter()
        .map(|size| groups.by_ref().take(size).collect())
        .collect()
}

/// Tells what made a group fail.
fn failed(e: Error) -> Error {
    tracing::error!(target: TOLD, "group failed, its originals stay: {e}");
    e
}

/// What a tenant's turn needs to know of the pass.
pub(super) struct Turn {
    /// Tenants whose work is spread over all shards.
    pub noted: Spread,
    /// Tenants that are worked on at once.
    pub at_once: usize,
}

/// Files that a tenant's part has dealt with.
fn dealt_with(report: &TenantReport) -> u64 {
    report.counters.files_compacted + report.counters.files_adopted
}

impl Pass {
    /// Does a tenant's job. Never fails as a whole: what went wrong is in the report.
    pub(super) async fn tenant(
        self: Arc<Self>,
        mut outcome: TenantOutcome,
        waiting: Waiting,
        turn: &Turn,
    ) -> TenantOutcome {
        let clock = &self.manager.clock;
        let started = clock.monotonic_ms();
        let (store, requests) = self.counting();
        let archive_requests = Arc::new(RequestCounters::default());
        let tenant = waiting.tenant().clone();
        self.manager.progress.on(Event::TenantStarted {
            tenant: tenant.as_str(),
            bytes: waiting.backlog(),
        });
        let done = match self.planned(&store, waiting, turn, &mut outcome).await {
            Ok(Some(job)) => {
                let report = &mut outcome.report;
                let rounds = self.rounds(&store, &archive_requests, *job, turn, report);
                rounds.await
            }
            Ok(None) => Ok(()),
            Err(e) => Err(e),
        };
        if let Err(e) = done {
            match e {
                Error::Stopped => tracing::warn!("{e}"),
                _ => tracing::error!(target: TOLD, "{e}"),
            }
            outcome.end(e);
        }
        if let Some(status) = self.tenant_status_now(&store, &tenant).await {
            outcome.tenant_status = Some(status);
        }
        outcome.archive = archive_requests.read();
        let report = &mut outcome.report;
        report.counters.requests += requests.read() + outcome.archive;
        report.duration_ms = clock.monotonic_ms() - started;
        trace::log_tenant(report);
        outcome
    }

    /// The job of a tenant whose turn has come; none where nothing is left to do.
    async fn planned(
        &self,
        store: &Arc<dyn ObjectStore>,
        waiting: Waiting,
        turn: &Turn,
        outcome: &mut TenantOutcome,
    ) -> Result<Option<Box<TenantJob>>> {
        match waiting {
            Waiting::Planned(job) => Ok(Some(job)),
            Waiting::Unplanned { groups, .. } if self.is_over() => {
                outcome.report.counters.groups_left += groups as u64;
                outcome.report.status = outcome.report.status.max(Status::Stopped);
                Ok(None)
            }
            Waiting::Unplanned { tenant, .. } => {
                self.find_job(store, &tenant, &turn.noted, turn.at_once, outcome)
                    .await
            }
        }
    }

    /// Does a job, and what there is to do after it: files that were too many for one look; and of
    /// files that were adopted it is known now whether their rows have expired, so that they leave
    /// in this pass. Where shards share the work, the next pass does it.
    async fn rounds(
        &self,
        store: &Arc<dyn ObjectStore>,
        archive_requests: &Arc<RequestCounters>,
        job: TenantJob,
        turn: &Turn,
        report: &mut TenantReport,
    ) -> Result<()> {
        let tenant = job.plan.tenant.clone();
        let mut next = Some(Box::new(job));
        while let Some(job) = next.take() {
            let (more, adopted) = (job.more, report.counters.files_adopted);
            let before = dealt_with(report);
            self.carry_out(store, archive_requests, *job, report)
                .await?;
            let is_worth_it = dealt_with(report) > before
                && (more || report.counters.files_adopted > adopted)
                && !self.manager.config.shard.is_part()
                && !self.is_over();
            if is_worth_it {
                let (none, mut found) = (Spread::default(), TenantOutcome::of(&tenant));
                let again = self.find_job(store, &tenant, &none, turn.at_once, &mut found);
                next = again.await?.filter(|job| !job.plan.groups.is_empty());
            }
        }
        Ok(())
    }

    /// The status of the tenant after its turn. What it did to the tenant is only in the store.
    async fn tenant_status_now(
        &self,
        store: &Arc<dyn ObjectStore>,
        tenant: &Tenant,
    ) -> Option<TenantStatus> {
        if !self.observe || !self.manager.is_home(tenant) {
            return None;
        }
        let rules = self.manager.config.input_rules();
        let settled = self.manager.settled(tenant, Extent::Open);
        let store = store.as_ref();
        let found = discover::open_inventory(store, tenant, &rules, Keep::All, &settled).await;
        let found = found
            .inspect_err(|e| tracing::warn!("how it stands after the pass is not known: {e}"))
            .ok()?;
        self.tenant_status(tenant, &found.inventory)
    }

    /// Publishes, merges and commits group by group, and sweeps.
    async fn carry_out(
        &self,
        store: &Arc<dyn ObjectStore>,
        archive_requests: &Arc<RequestCounters>,
        job: TenantJob,
        report: &mut TenantReport,
    ) -> Result<()> {
        let tenant = &job.plan.tenant;
        let home = self.manager.is_home(tenant);
        let policy = self.manager.config.policy_for(tenant.as_str());
        let clock = Arc::clone(&self.manager.clock);
        let committer = Committer::new(Arc::clone(store), tenant.clone(), clock, self.run_id)
            .with_page_sizes(self.manager.config.page_sizes);
        let mut publishing = Publishing::of(self, store, tenant);
        if home {
            // Before they are merged: readers see rows come once, and then move.
            publishing.publish(report).await;
            publishing.refusal()?;
        } else {
            publishing.check().await?;
        }
        let groups = job.plan.groups.len();
        let head = match job.head {
            Some(head) => head,
            None if groups == 0 => return publishing.into_result(),
            None => trace::stage(trace::commit(), committer.begin(), trace::committed).await?,
        };
        // Another shard may be at this tenant, whatever this one knows of it.
        let shared = self.manager.config.shard.is_part();
        let sequence = CommitSequence::new(&committer, head, job.guard, shared);
        if !job.dated.is_empty() {
            let seen = Observed::since(&sequence.head().await);
            let edit = Edit {
                dated: job.dated,
                ..sequence.edit()
            };
            sequence.commit(&edit, seen).await?;
        }
        let group_jobs = GroupJobs {
            pass: self,
            store,
            tenant,
            policy: &policy,
            sequence,
            fetching: Arc::new(Semaphore::new(1)),
            cutoff: job.plan.cutoff,
            archive_requests,
        };
        let mut failure = self
            .groups(&group_jobs, job.plan.groups, &mut publishing, report)
            .await?;
        // A spread tenant is swept by its home alone.
        if home && (groups > 0 || job.sweep_due) {
            let owed = self
                .sweep(&group_jobs, &committer, &mut publishing, report)
                .await?;
            failure = failure.or(owed);
        }
        failure.map_or_else(|| publishing.into_result(), Err)
    }

    /// Does the groups, and gives what made one of them fail. Where nothing more may rest on what
    /// we know, the others end before they commit.
    async fn groups(
        &self,
        group_jobs: &GroupJobs<'_>,
        groups: Vec<Group>,
        publishing: &mut Publishing<'_>,
        report: &mut TenantReport,
    ) -> Result<Option<Error>> {
        let at_once = GROUPS_AT_ONCE.min(self.manager.config.concurrency.max(1));
        let (mut failure, mut end) = (None, None);
        let (mut todo, mut is_first) = (batches(groups), true);
        while !todo.is_empty() {
            let mut undated = Vec::new();
            let mut turns = pin!(
                stream::iter(todo)
                    .map(|batch| group_jobs.run(batch))
                    .buffered(at_once)
            );
            while let Some(outcome) = turns.next().await {
                report.counters.groups_left += outcome.left;
                undated.extend(outcome.undated);
                let mut is_new = false;
                for (own, done) in outcome.ended {
                    report.add(&own);
                    report.status = report.status.max(own.status);
                    is_new |= done.is_ok();
                    match done {
                        Ok(()) => {}
                        Err(e) if group_jobs.sequence.ends(&e) => _ = end.get_or_insert(e),
                        // Another shard saw other files and took some of these: it has done them,
                        // or they wait for the next pass.
                        Err(e @ Error::Conflict(_)) => {
                            tracing::info!("group left to another shard: {e}");
                            report.counters.conflicts += 1;
                        }
                        // One group that cannot be done, say because the archive is down, must not
                        // hold up the others for ever.
                        Err(e) => _ = failure.get_or_insert(failed(e)),
                    }
                }
                if is_new {
                    // The others wait meanwhile: nothing here may need what they hold.
                    publishing.publish(report).await;
                }
            }
            // Files of one folder that no other group is like are set aside, as single files are.
            let is_set = is_first && !undated.is_empty() && group_jobs.has_dated().await;
            (todo, is_first) = (Vec::new(), false);
            for (group, e) in undated {
                if is_set {
                    todo.push(vec![group]);
                } else {
                    failure.get_or_insert(failed(e));
                }
            }
        }
        if let Some(e) = end {
            return Err(e);
        }
        if report.counters.groups_left > 0 {
            report.status = report.status.max(Status::Stopped);
        }
        Ok(failure)
    }

    /// Sweeps a tenant that has a head. What is to be done about receipts that could not be
    /// written.
    async fn sweep(
        &self,
        jobs: &GroupJobs<'_>,
        committer: &Committer,
        publishing: &mut Publishing<'_>,
        report: &mut TenantReport,
    ) -> Result<Option<Error>> {
        let swept = trace::stage(
            trace::sweep(),
            self.clean_up(jobs, committer, publishing),
            |span, (swept, _): &(SweepReport, _)| _ = span.record("files_deleted", swept.deleted),
        );
        let (swept, owed) = match swept.await {
            Err(e @ Error::Conflict(_)) if self.manager.config.shard.is_part() => {
                tracing::info!("sweep left to the next pass: {e}");
                report.counters.conflicts += 1;
                return Ok(None);
            }
            swept => swept?,
        };
        report.counters.files_deleted += swept.deleted;
        report.counters.files_repeated += swept.repeated;
        report.counters.files_appended += swept.appended;
        if swept.deleted + swept.repeated + swept.appended > 0 {
            report.status = report.status.max(Status::Done);
        }
        if !swept.set_aside.is_empty() {
            report.status = report.status.max(Status::Quarantined);
        }
        report.set_aside.extend(swept.set_aside);
        Ok(owed)
    }

    /// Receipts first, then deletions: what the archive needs to explain itself is in place before
    /// the hot copy goes. What was done, and what is to be done about receipts that could not
    /// be written.
    async fn clean_up(
        &self,
        jobs: &GroupJobs<'_>,
        committer: &Committer,
        publishing: &mut Publishing<'_>,
    ) -> Result<(SweepReport, Option<Error>)> {
        // Receipts that others owe by now are theirs. What is owed to an archive is not swept.
        let head = if jobs.sequence.head().await.archives.is_empty() {
            None
        } else {
            committer.bare_head().await?
        };
        let (receipts, owed) = match head {
            Some(head) if !head.archives.is_empty() => {
                trace::stage(
                    trace::receipts(head.archives.len()),
                    self.file_receipts(&head),
                    |_, _| {},
                )
                .await?
            }
            _ => Default::default(),
        };
        // What is not published may be what readers see for good: nothing goes before it is.
        let Some(followers) = publishing.readers().await else {
            return Ok((SweepReport::default(), owed));
        };
        let sweeper = Sweeper {
            store: jobs.store,
            tenant: jobs.tenant,
            policy: jobs.policy,
            clock: self.manager.clock.as_ref(),
            committer,
            store_time: self.store_time,
            staged: &self.manager.staged,
            followers: &followers,
            rules: &self.manager.config.input_rules(),
            file_limit: self.budget.plan_footers,
            page_sizes: self.manager.config.page_sizes,
        };
        Ok((sweeper.sweep(&receipts).await?, owed))
    }

    /// Writes the receipts that a committed head still owes, from head, not from memory. Those
    /// written, and what is to be done about others.
    async fn file_receipts(&self, head: &Manifest) -> Result<(BTreeSet<Key>, Option<Error>)> {
        let mut filed = BTreeSet::new();
        let archive = self.manager.config.archive.as_ref();
        let name = archive.map(|a| a.description());
        let mut left = Vec::new();
        for receipt in &head.archives {
            match archive {
                Some(archive)
                    if name
                        .as_deref()
                        .is_some_and(|name| is_same_place(&receipt.archive, name)) =>
                {
                    archive.file_receipt(receipt).await?;
                    filed.insert(receipt.key.clone());
                }
                _ => left.push(receipt.archive.as_str()),
            }
        }
        let owed = left.first().map(|first| {
            let objects = if left.len() == 1 {
                "1 archive object".to_owned()
            } else {
                format!("{} archive objects", left.len())
            };
            Error::local(
                format!("the receipts of {objects} are still to be written to `{first}`"),
                "what was archived there is not deleted; run once with that archive configured \
                 (`--archive`)",
            )
        });
        Ok((filed, owed))
    }
}
