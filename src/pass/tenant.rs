//! One tenant's part of a pass.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use futures::{StreamExt, stream};
use object_store::ObjectStore;
use tokio::sync::Semaphore;

use super::commit_sequence::CommitSequence;
use super::group::GroupRun;
use super::outcome::log_outcome;
use super::publish::Publishing;
use super::scan::TenantJob;
use super::{Run, TenantOutcome, failed, trace};
use crate::error::{Error, Result};
use crate::progress::Event;
use crate::protocol::commit::Committer;
use crate::protocol::discover;
use crate::protocol::sweep::{SweepReport, Sweeper};
use crate::store::counting::Counters as RequestCounters;
use crate::store::is_same_place;
use icepack_core::model::inspect::TenantStatus;
use icepack_core::model::manifest::{Edit, Manifest, Observed};
use icepack_core::model::names::{self, Key, Tenant};
use icepack_core::model::plan::{Group, Inventory};
use icepack_core::model::policy::Policy;
use icepack_core::model::report::{Status, TenantReport};

/// Groups of a tenant on their way at once: while one is merged, the next is fetched, and the last
/// is uploaded.
const GROUPS_AT_ONCE: usize = 2;

/// Refuses a tenant that has outputs of ours but no manifest: with the manifest lost or left
/// behind, live data would look like garbage.
///
/// # Errors
/// [`Error::Refused`].
pub(crate) fn refuse_lost_manifest(tenant: &Tenant, inventory: &Inventory) -> Result<()> {
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

impl Run {
    /// Merges and sweeps one tenant. Never fails as a whole: what went wrong is in the report.
    pub(super) async fn tenant(self: Arc<Self>, mut work: TenantJob) -> TenantOutcome {
        let started = self.context.clock.monotonic_ms();
        let (store, counters) = self.counting();
        let name = work.tenant.to_string();
        self.context.progress.on(Event::TenantStarted {
            tenant: &name,
            bytes: work.plan.backlog(),
        });
        let mut report = TenantReport {
            tenant: name.clone(),
            left_alone: std::mem::take(&mut work.plan.left_alone),
            ..TenantReport::default()
        };
        let looked = work.counters.read();
        let (before, found, tenant) = (work.standing.take(), work.found, work.tenant.clone());
        let archive_requests = Arc::new(RequestCounters::default());
        let error = self
            .work(&store, &archive_requests, work, &mut report)
            .await
            .err();
        if let Some(e) = &error {
            let ended = failed(&name, e);
            match e {
                Error::Stopped => tracing::warn!("{e}"),
                _ => tracing::error!("{e}"),
            }
            report.status = report.status.max(ended.status);
            report.counters += ended.counters;
            report.error = ended.error;
        }
        let standing = self.stands_now(&store, &tenant).await.or(before);
        let archive = archive_requests.read();
        report.counters.requests = looked + counters.read() + archive;
        report.duration_ms = self.context.clock.monotonic_ms() - started;
        let quarantined = report.quarantined.len();
        log_outcome!("tenant", &report, quarantined);
        TenantOutcome {
            report,
            error,
            archive,
            standing,
            found,
        }
    }

    /// How the tenant stands after its turn. What it did to the tenant is only in the store.
    async fn stands_now(
        &self,
        store: &Arc<dyn ObjectStore>,
        tenant: &Tenant,
    ) -> Option<TenantStatus> {
        if !self.context.observe || !self.context.is_home(tenant) {
            return None;
        }
        let found =
            discover::inventory(store.as_ref(), tenant, &self.context.config.input_rules()).await;
        let found = found
            .inspect_err(|e| tracing::warn!("how it stands after the pass is not known: {e}"))
            .ok()?;
        self.context.standing(tenant, &found.inventory)
    }

    async fn work(
        &self,
        store: &Arc<dyn ObjectStore>,
        archive_requests: &Arc<RequestCounters>,
        work: TenantJob,
        report: &mut TenantReport,
    ) -> Result<()> {
        let TenantJob {
            tenant,
            head,
            plan,
            dated,
            guard,
            home,
            sweep_due,
            ..
        } = work;
        // Another shard may be at this tenant, whatever this one knows of it.
        let shared = self.context.config.shard.is_part();
        let policy = self.context.config.policy_for(tenant.as_str());
        let committer = Committer::new(
            Arc::clone(store),
            tenant.clone(),
            Arc::clone(&self.context.clock),
            self.run_id,
        );
        let mut publishing = Publishing::of(self, store, &tenant);
        if home {
            // Before they are merged: readers see rows come once, and then move.
            publishing.publish(report).await;
            publishing.refusal()?;
        }
        let groups = plan.groups.len();
        let head = match head {
            Some(head) => head,
            None if groups == 0 => return publishing.into_result(),
            None => trace::stage(trace::commit(), committer.begin(), trace::committed).await?,
        };
        let line = CommitSequence::new(&committer, head, guard, shared);
        if !dated.is_empty() {
            let seen = Observed::since(&line.head().await);
            line.commit(
                &Edit {
                    dated,
                    ..line.edit()
                },
                seen,
            )
            .await?;
        }
        let group_run = GroupRun {
            run: self,
            store,
            tenant: &tenant,
            policy: &policy,
            line,
            fetching: Arc::new(Semaphore::new(1)),
            cutoff: plan.cutoff,
            archive_requests,
        };
        let mut failure = self
            .work_groups(&group_run, plan.groups, &mut publishing, report)
            .await?;
        // A spread tenant is swept by its home alone.
        if home && (groups > 0 || sweep_due) {
            let swept = trace::stage(
                trace::sweep(),
                self.clean_up(store, &tenant, &policy, &committer, &mut publishing),
                |span, (swept, _): &(SweepReport, _)| {
                    _ = span.record("files_deleted", swept.deleted)
                },
            );
            match swept.await {
                Err(e @ Error::Conflict(_)) if shared => {
                    tracing::info!("sweep left to the next pass: {e}");
                    report.counters.conflicts += 1;
                }
                swept => {
                    let (
                        SweepReport {
                            deleted, set_aside, ..
                        },
                        owed,
                    ) = swept?;
                    failure = failure.or(owed);
                    report.counters.files_deleted += deleted;
                    if deleted > 0 {
                        report.status = report.status.max(Status::Done);
                    }
                    if !set_aside.is_empty() {
                        report.status = report.status.max(Status::Quarantined);
                    }
                    report.set_aside.extend(set_aside);
                }
            }
        }
        failure.map_or_else(|| publishing.into_result(), Err)
    }

    /// Does the groups, and gives what made one of them fail. Where nothing more may rest on what
    /// we know, the others end before they commit.
    async fn work_groups(
        &self,
        group_run: &GroupRun<'_>,
        groups: Vec<Group>,
        publishing: &mut Publishing<'_>,
        report: &mut TenantReport,
    ) -> Result<Option<Error>> {
        let at_once = GROUPS_AT_ONCE.min(self.context.config.concurrency.max(1));
        let (mut failure, mut end) = (None, None);
        let mut turns = pin!(
            stream::iter(groups)
                .map(|group| group_run.run(group))
                .buffered(at_once)
        );
        while let Some(turn) = turns.next().await {
            let Some((own, done)) = turn else {
                report.counters.groups_left += 1;
                continue;
            };
            report.add(&own);
            report.status = report.status.max(own.status);
            match done {
                // The others wait meanwhile: nothing here may need what they hold.
                Ok(()) => publishing.publish(report).await,
                Err(e) if group_run.line.ends(&e) => _ = end.get_or_insert(e),
                // Another shard saw other files and took some of these: it has done them, or they
                // wait for the next pass.
                Err(e @ Error::Conflict(_)) => {
                    tracing::info!("group left to another shard: {e}");
                    report.counters.conflicts += 1;
                }
                // One group that cannot be done, say because the archive is down, must not hold up
                // the others for ever.
                Err(e) => {
                    tracing::error!("group failed, its originals stay: {e}");
                    failure.get_or_insert(e);
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

    /// Receipts first, then deletions: what the archive needs to explain itself is in place before
    /// the hot copy goes. What was done, and what is to be done about receipts that could not
    /// be written.
    async fn clean_up(
        &self,
        store: &Arc<dyn ObjectStore>,
        tenant: &Tenant,
        policy: &Policy,
        committer: &Committer,
        publishing: &mut Publishing<'_>,
    ) -> Result<(SweepReport, Option<Error>)> {
        let (receipts, owed) = match discover::head(store.as_ref(), tenant, 0).await? {
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
        let Some(table) = publishing.table().await else {
            return Ok((SweepReport::default(), owed));
        };
        let clock = self.context.clock.as_ref();
        let (directory, archive, rules) = (
            self.context.directory.as_ref(),
            self.context.archive_directory.as_ref(),
            self.context.config.input_rules(),
        );
        let (store_time, file_limit) = (self.store_time, self.memory.total() / 8);
        let sweeper = Sweeper {
            store,
            tenant,
            policy,
            clock,
            committer,
            store_time,
            directory,
            archive,
            table: table.as_ref(),
            rules: &rules,
            file_limit,
        };
        Ok((sweeper.sweep(&receipts).await?, owed))
    }

    /// Writes the receipts that a committed head still owes, from head, not from memory. Those
    /// written, and what is to be done about others.
    async fn file_receipts(&self, head: &Manifest) -> Result<(BTreeSet<Key>, Option<Error>)> {
        let mut filed = BTreeSet::new();
        let archive = self.context.config.archive.as_ref();
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
