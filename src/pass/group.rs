//! The groups of one commit: merge, archive, commit. If a step fails, nothing has changed, and some
//! orphans may be left.

mod adopt;
mod classes;
mod expire;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::ready;
use futures::stream;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::Semaphore;
use tracing::{Instrument, Span};

use super::commit_sequence::CommitSequence;
use super::{Pass, trace};
use crate::archive::{ArchiveRequest, ArchiveTarget};
use crate::budget::{self, MergeBudget};
use crate::closing::{ClosingSender, ItemReceiver};
use crate::error::{Error, ReadError, Result, Unread};
use crate::merge::{
    self, BadInput, ExpiredBatch, Flaw, MergeEnv, MergeError, MergeOutcome, MergeSpec,
};
use crate::progress::{Event, TOLD};
use crate::store::counting::RequestCounters;
use crate::store::path;
use icepack_core::model::counters::Counters;
use icepack_core::model::file::{Fingerprint, Micros, SeenInput};
use icepack_core::model::inputs::{Ignored, is_called_parquet};
use icepack_core::model::manifest::{
    Cause, Edit, Ledger, Manifest, Observed, Quarantined, Receipt, RetireReason, Retired,
};
use icepack_core::model::names::{FileId, FileKind, Key, Place, Tenant, classify, folder};
use icepack_core::model::plan::{Group, GroupKind, PlannedInput};
use icepack_core::model::policy::{Policy, Within};
use icepack_core::model::report::{LeftAlone, Status, TenantReport};
use icepack_core::model::same::Sameness;
use icepack_core::model::totals::SizeHistogram;
use icepack_core::plan::compaction::{MIN_PIECE, Period};
use icepack_core::plan::cutting::FileSize;
use icepack_core::plan::retention::LeaveRule;
use icepack_parquet::Columns;
use icepack_parquet::source::{Ident, begins_as_parquet, store_error};

/// Batches of expired rows on their way to the archive.
const EXPIRED_IN_FLIGHT: usize = 4;

/// Inputs fetched at once: enough small files for a fast line at the latency of a store, a hundred
/// MB/s at 30 ms. Their bytes are bounded by the memory.
const PREFETCH: usize = 64;

/// A tenant's groups, a few at once, on the head as they move it.
pub(super) struct GroupJobs<'a> {
    pub pass: &'a Pass,
    pub store: &'a Arc<dyn ObjectStore>,
    pub tenant: &'a Tenant,
    pub policy: &'a Policy,
    pub sequence: CommitSequence<'a>,
    /// One group fetches at a time.
    pub fetching: Arc<Semaphore>,
    pub cutoff: Option<Micros>,
    /// Counts the requests to the archive.
    pub archive_requests: &'a Arc<RequestCounters>,
}

/// What a merge made, still to be committed.
struct Merged {
    edit: Edit,
    seen: Observed,
}

/// What came of a merge that failed for none of its inputs.
enum MergedAs {
    One(Box<Merged>),
    /// What was left of it was not worth a merge.
    Nothing,
    /// Its inputs do not all go together.
    Apart(Vec<merge::Part>),
}

/// A group at work.
struct Running {
    report: TenantReport,
    span: Span,
    files: usize,
    reason: String,
    started: u64,
}

/// What became of the groups of one commit.
#[derive(Default)]
pub(super) struct BatchOutcome {
    /// What each did. Of groups whose commit failed, one has the error.
    pub ended: Vec<(TenantReport, Result<()>)>,
    /// Groups that were not begun.
    pub left: u64,
    /// Groups of which no file could be dated, when nothing of the tenant had been: whether the
    /// setting is wrong, the other groups tell.
    pub undated: Vec<(Group, Error)>,
}

impl GroupJobs<'_> {
    /// Merges the groups of one commit, as far as there is still time, and commits them. A group
    /// that fails takes no other with it.
    pub async fn run(&self, batch: Vec<Group>) -> BatchOutcome {
        let mut outcome = BatchOutcome::default();
        let mut merged = Vec::new();
        for group in batch {
            if self.pass.is_over() || self.sequence.has_ended().await {
                outcome.left += 1;
                continue;
            }
            let mut running = Running {
                report: TenantReport::default(),
                span: trace::group(&group),
                files: group.inputs.len(),
                reason: group.reason.to_string(),
                started: self.pass.manager.clock.monotonic_ms(),
            };
            let span = running.span.clone();
            let working = self.carry_out(group.clone(), &mut running.report);
            match working.instrument(span).await {
                Ok(Some(made)) => merged.push((running, made)),
                Err(e @ Error::Usage(_)) => {
                    outcome.ended.push((running.report, Ok(())));
                    outcome.undated.push((group, e));
                }
                done => outcome
                    .ended
                    .push(self.end(running, done.map(|_| ())).await),
            }
        }
        while !merged.is_empty() {
            merged = self.commit_first(merged, &mut outcome.ended).await;
        }
        outcome
    }

    /// Commits the first and all that can be committed with it, and returns the others.
    async fn commit_first(
        &self,
        merged: Vec<(Running, Merged)>,
        ended: &mut Vec<(TenantReport, Result<()>)>,
    ) -> Vec<(Running, Merged)> {
        let mut all: Option<Merged> = None;
        let (mut together, mut rest) = (Vec::new(), Vec::new());
        for (running, made) in merged {
            let joined = match &mut all {
                Some(all) => {
                    let joined = all.edit.join(&made.edit);
                    if joined {
                        all.seen.join(&made.seen);
                    }
                    joined
                }
                None => {
                    all = Some(Merged {
                        edit: made.edit.clone(),
                        seen: made.seen.clone(),
                    });
                    true
                }
            };
            if joined {
                together.push((running, made.edit));
            } else {
                rest.push((running, made));
            }
        }
        let Some(Merged { edit, seen }) = all else {
            return rest;
        };
        // A commit of one group is part of it; one of several is the tenant's.
        let span = match together.as_slice() {
            [(one, _)] => one.span.clone(),
            _ => Span::current(),
        };
        let committing = self.sequence.commit(&edit, seen).instrument(span);
        let mut failed = committing.await.err();
        let is_done = failed.is_none();
        for (mut running, edit) in together {
            if is_done {
                count(&mut running.report, self.tenant, &edit);
                ended.push(self.end(running, Ok(())).await);
            } else if let Some(e) = failed.take() {
                ended.push(self.end(running, Err(e)).await);
            } else {
                // What it set aside was committed before, and is reported.
                ended.push((running.report, Ok(())));
            }
        }
        rest
    }

    async fn end(&self, running: Running, mut done: Result<()>) -> (TenantReport, Result<()>) {
        if let Err(Error::Conflict(_)) = &done
            && self.pass.manager.config.shard.is_part()
        {
            // Another shard saw other files and took some of these.
            done = self.sequence.catch_up().await.and(done);
        }
        let Running {
            report,
            span,
            files,
            reason,
            started,
        } = running;
        trace::group_ended(&span, &report, &done);
        if done.is_ok() {
            let duration_ms = self.pass.manager.clock.monotonic_ms() - started;
            log(&report, files, &reason, duration_ms);
        }
        (report, done)
    }

    async fn carry_out(&self, group: Group, report: &mut TenantReport) -> Result<Option<Merged>> {
        // Where every row has expired, none stays.
        let leave = LeaveRule::of(self.policy).filter(|_| !group.is_expiry());
        match (group.kind, &self.pass.manager.config.archive) {
            (GroupKind::Expire, None) => self.drop_whole(group, report).await.map(|()| None),
            (GroupKind::Expire, Some(archive)) => self
                .archive_whole(&Arc::clone(archive), group.inputs, report)
                .await
                .map(|()| None),
            (GroupKind::Adopt, _) => self.adopt(group.inputs, report).await.map(|()| None),
            (GroupKind::Merge, _) => self.merge_all(group.inputs, leave, report).await,
        }
    }

    /// Merges what can be read, and sets aside or leaves what cannot.
    async fn merge_all(
        &self,
        inputs: Vec<PlannedInput>,
        leave: Option<LeaveRule>,
        report: &mut TenantReport,
    ) -> Result<Option<Merged>> {
        let planned = inputs.len();
        let inputs = self.only_parquet(inputs, report).await?;
        if inputs.len() < planned && self.is_for_nothing(&inputs) {
            return Ok(None);
        }
        let made = self.merge_classes(inputs, leave, report).await?;
        Ok(made.merged)
    }

    /// Merges those of `inputs` that can be read, and takes out the others.
    async fn merge_readable(
        &self,
        inputs: &mut Vec<PlannedInput>,
        leave: Option<LeaveRule>,
        report: &mut TenantReport,
    ) -> Result<MergedAs> {
        while !inputs.is_empty() {
            match self.merge(inputs, leave, report).await {
                Ok(merged) => return Ok(MergedAs::One(Box::new(merged))),
                Err(MergeError::Failed(e)) => return Err(e),
                Err(MergeError::Apart(parts)) => return Ok(MergedAs::Apart(parts)),
                Err(MergeError::Bad(bad)) => {
                    self.leave_out(inputs, bad, report).await?;
                    if self.is_for_nothing(inputs) {
                        break;
                    }
                }
            }
        }
        Ok(MergedAs::Nothing)
    }

    /// Takes what is wrong out of `inputs`: it is set aside, or left where it is.
    async fn leave_out(
        &self,
        inputs: &mut Vec<PlannedInput>,
        bad: Vec<BadInput>,
        report: &mut TenantReport,
    ) -> Result<()> {
        let out: Vec<PlannedInput> = inputs
            .extract_if(.., |i| bad.iter().any(|b| b.key == i.key))
            .collect();
        if out.is_empty() {
            return Err(Error::local(
                "cannot merge",
                format!("what is wrong is no input: {bad:?}"),
            ));
        }
        let (unread, bad): (Vec<_>, Vec<_>) = bad
            .into_iter()
            .partition(|b| matches!(b.flaw, Flaw::Unread(_)));
        // A snapshot is sound whatever column dates a row now.
        let is_sound = |b: &BadInput| {
            b.flaw == Flaw::Undatable && out.iter().any(|i| i.key == b.key && i.is_snapshot())
        };
        let (sound, bad): (Vec<_>, Vec<_>) = bad.into_iter().partition(is_sound);
        for s in &sound {
            tracing::warn!(
                file = s.key,
                "left alone, its rows never expire: {}",
                s.reason
            );
        }
        if !bad.is_empty() {
            self.refuse_wrong_column(inputs.len(), &bad).await?;
            self.quarantine(&bad, report).await?;
        }
        self.leave_unread(&unread, report).await
    }

    /// Takes out the raw files that are no Parquet files. Where a name does not say what a file is,
    /// its first bytes are asked for, before the others are read for nothing. Head remembers the
    /// answer by the file's tag.
    async fn only_parquet(
        &self,
        inputs: Vec<PlannedInput>,
        report: &mut TenantReport,
    ) -> Result<Vec<PlannedInput>> {
        let unclear = |i: &&PlannedInput| !i.is_snapshot() && !is_called_parquet(&i.key);
        let asks = inputs.iter().filter(unclear).map(|i| i.key.clone());
        let other: Vec<Ident> = stream::iter(asks.collect::<Vec<_>>())
            .map(|key| in_other_format(Arc::clone(self.store), key))
            .buffer_unordered(PREFETCH)
            .filter_map(ready)
            .collect()
            .await;
        if other.is_empty() {
            return Ok(inputs);
        }
        let mut edit = self.sequence.edit();
        let at = self.pass.time.shared();
        for Ident { key, size, etag } in &other {
            tracing::info!(file = key, "not Parquet by its first bytes, left alone");
            edit.quarantine.push(Quarantined {
                key: key.clone(),
                size: *size,
                etag: etag.clone(),
                reason: "it does not begin as a Parquet file does".to_owned(),
                at,
                cause: Some(Cause::OtherFormat),
            });
        }
        edit.quarantine.sort_by(|a, b| a.key.cmp(&b.key));
        let seen = Observed::since(&self.sequence.head().await);
        self.sequence.commit(&edit, seen).await?;
        for q in &edit.quarantine {
            report
                .left_alone
                .ignore(Ignored::OtherContent, &q.key, q.size);
        }
        let other: BTreeSet<&str> = other.iter().map(|o| o.key.as_str()).collect();
        Ok(inputs
            .into_iter()
            .filter(|i| !other.contains(i.key.as_str()))
            .collect())
    }

    /// Whether one snapshot alone is left of a merge, and nothing of it has expired: rewritten, it
    /// would be the same, in each pass anew.
    fn is_for_nothing(&self, inputs: &[PlannedInput]) -> bool {
        let expires = |input: &PlannedInput| {
            input
                .stats
                .and_then(|s| s.min)
                .zip(self.cutoff)
                .is_some_and(|(min, cutoff)| min < cutoff)
        };
        matches!(inputs, [one] if one.is_snapshot() && !expires(one))
    }

    /// Leaves inputs that could not be read now where they are. Nothing is remembered of them: when
    /// they can be read shows nowhere.
    async fn leave_unread(&self, unread: &[BadInput], report: &mut TenantReport) -> Result<()> {
        let gone: Vec<&str> = unread
            .iter()
            .filter(|b| b.flaw == Flaw::Unread(Unread::Gone))
            .map(|b| b.key.as_str())
            .collect();
        if !gone.is_empty() {
            self.check_gone(&gone).await?;
        }
        for b in unread {
            tracing::warn!(target: TOLD, file = b.key, "left where it is: {}", b.reason);
            report.unread.push(LeftAlone {
                key: b.key.clone(),
                reason: b.reason.clone(),
            });
            if matches!(b.flaw, Flaw::Unread(Unread::Denied | Unread::Frozen)) {
                report.status = report.status.max(Status::Quarantined);
            }
        }
        Ok(())
    }

    /// Whether the inputs that are gone were taken by another run, which only its commit tells.
    async fn check_gone(&self, gone: &[&str]) -> Result<()> {
        let known = self.sequence.head().await;
        let head = self.sequence.read_head(&known, gone).await?;
        // A commit of our own may have come in between.
        if head.version > self.sequence.head().await.version {
            return Err(Error::Conflict(format!(
                "version {} of the manifest was committed while this run read its inputs",
                head.version
            )));
        }
        match head
            .snapshots
            .iter()
            .find(|s| gone.contains(&s.key.as_str()))
        {
            Some(s) => Err(Error::Refused(format!(
                "the manifest of tenant `{}` names `{}`, which is not in the store: `icepack \
                 verify --tenant {}` says what to do",
                self.tenant, s.key, self.tenant
            ))),
            None => Ok(()),
        }
    }

    /// Whether rows of the tenant were dated by the timestamp column.
    pub async fn has_dated(&self) -> bool {
        let head = self.sequence.head().await;
        head.has_dated(self.policy.timestamp_column.as_str())
    }

    /// Where no file of a tenant has ever had the timestamp column, it is the setting that is
    /// wrong, and not the files. Setting all of them aside would leave them so after it is corrected: they do not
    /// change by that.
    async fn refuse_wrong_column(&self, good: usize, bad: &[BadInput]) -> Result<()> {
        match bad.first() {
            Some(first)
                if good == 0
                    && bad.iter().all(|b| b.flaw == Flaw::Undatable)
                    && !self.has_dated().await =>
            {
                Err(Error::Usage(format!(
                    "no file of tenant `{}` can be dated, so none was set aside: in `{}`, {}",
                    self.tenant, first.key, first.reason
                )))
            }
            _ => Ok(()),
        }
    }

    async fn merge(
        &self,
        inputs: &[PlannedInput],
        leave: Option<LeaveRule>,
        report: &mut TenantReport,
    ) -> Result<Merged, MergeError> {
        let bytes = inputs.iter().map(|i| i.size).sum();
        let share = self.pass.memory.share(bytes).await?;
        // Before any input is looked at.
        let head = self.sequence.head().await;
        let archive = self
            .pass
            .manager
            .config
            .archive
            .as_ref()
            .filter(|_| self.cutoff.is_some());
        // A part of the share encodes what expires.
        let for_archive = archive.map_or(0, |_| budget::for_archive(share.bytes));
        let spec = self.spec(inputs, leave);
        let file_limit = self.pass.budget.group_file;
        let budget = MergeBudget::of(share.bytes - for_archive, file_limit, PREFETCH);
        let archiving = archive.map(|a| self.begin_archive(a, inputs, &head, for_archive));

        let span = trace::merge(inputs.len(), bytes);
        let config = &self.pass.manager.config;
        let env = MergeEnv {
            store: Arc::clone(self.store),
            mint: self.mint(head.floor),
            expired: archiving.as_ref().map(ClosingSender::items),
            stop: self.pass.manager.stop.flag(),
            on_progress: self.progress(),
            spill_dir: config.spill_dir.clone().unwrap_or_else(std::env::temp_dir),
            fetching: Arc::clone(&self.fetching),
            defers: self.pass.manager.staged.store.is_none(),
        };
        let outcome = merge::merge(spec, budget, env);
        let outcome = outcome.instrument(span.clone()).await;
        trace::merge_ended(&span, &outcome);
        let archived = match archiving {
            // The rows that it got are all there are.
            Some(archiving) if outcome.is_ok() => archiving.close().await,
            Some(archiving) => archiving.abort().await,
            None => Ok(None),
        };
        // A broken archive also breaks the merge that feeds it: its word is the cause.
        let (outcome, archived) = match (outcome, archived) {
            (Err(e @ (MergeError::Bad(_) | MergeError::Apart(_))), _) => return Err(e),
            (_, Err(e @ Error::Archive { .. })) => return Err(e.into()),
            (outcome, archived) => (outcome?, archived?),
        };
        drop(share);
        if self.pass.manager.stop.is_stopped() {
            return Err(Error::Stopped.into());
        }
        self.check_unchanged(&outcome.inputs).await?;
        let (edit, seen) = self.edit(outcome, archived, &head, report)?;
        Ok(Merged { edit, seen })
    }

    /// In a directory a file can be written over while it is read: what was read may then be half
    /// of either. An object of a bucket is read under its tag.
    async fn check_unchanged(&self, inputs: &[SeenInput]) -> Result<()> {
        if self.pass.manager.staged.store.is_none() {
            return Ok(());
        }
        let raw = inputs
            .iter()
            .filter(|i| classify(self.tenant, &i.key) == FileKind::Raw)
            .cloned();
        let checks = stream::iter(raw.collect::<Vec<_>>()).map(|input| {
            let store = Arc::clone(self.store);
            async move { unchanged(store, &input.key, input.etag.as_deref()).await }
        });
        checks.buffer_unordered(PREFETCH).try_collect::<()>().await
    }

    fn spec(&self, inputs: &[PlannedInput], leave: Option<LeaveRule>) -> MergeSpec {
        let config = &self.pass.manager.config;
        MergeSpec {
            tenant: self.tenant.clone(),
            place: self.place(inputs),
            inputs: inputs.to_vec(),
            columns: Columns {
                timestamp: self.policy.timestamp_column.clone(),
                ids: config.id_columns.clone(),
            },
            uniting: self.policy.uniting,
            now: Micros::from_datetime(self.pass.manager.clock.now()),
            cutoff: self.cutoff,
            leave,
            size: FileSize::of(self.policy),
            writing: config.writing.clone(),
            cut: Period::of(self.policy),
            min_piece: MIN_PIECE.min(self.policy.target_file_size),
            check_content: true,
        }
    }

    /// Where what is made of `inputs` lies.
    fn place(&self, inputs: &[PlannedInput]) -> Place {
        match (self.policy.within, inputs.first()) {
            (Within::Folder, Some(first)) => Place::Folder(folder(&first.key).to_owned()),
            _ => Place::Month(self.tenant.clone()),
        }
    }

    /// Ids for outputs: above the floor of the head that they will be committed to.
    fn mint(&self, floor: FileId) -> Arc<dyn Fn() -> FileId + Send + Sync> {
        let clock = Arc::clone(&self.pass.manager.clock);
        Arc::new(move || clock.mint(floor))
    }

    fn progress(&self) -> Arc<dyn Fn(u64, u64) + Send + Sync> {
        let (progress, tenant) = (
            Arc::clone(&self.pass.manager.progress),
            self.tenant.to_string(),
        );
        Arc::new(move |bytes, rows| {
            progress.on(Event::BytesDone {
                tenant: &tenant,
                bytes,
                rows,
            })
        })
    }

    /// Starts a task that calls the archive once the first expired row arrives, and never if none
    /// does.
    fn begin_archive(
        &self,
        target: &Arc<dyn ArchiveTarget>,
        inputs: &[PlannedInput],
        head: &Manifest,
        budget: u64,
    ) -> ClosingSender<ExpiredBatch, Option<Receipt>> {
        let target = Arc::clone(target);
        let (tenant, run_id) = (self.tenant.clone(), self.pass.run_id);
        let place = self.place(inputs);
        let id = self.pass.manager.clock.mint(FileId::NIL);
        let timestamp_column = self.policy.timestamp_column.to_string();
        let sources: Vec<Key> = inputs.iter().map(|i| i.key.clone()).collect();
        let again_of = again_of(head, &sources);
        let source_bytes = inputs.iter().map(|i| i.size).sum();
        let requests = Arc::clone(self.archive_requests);
        let task = |mut batches: ItemReceiver<ExpiredBatch>| async move {
            let Some(first) = batches.recv().await? else {
                return Ok(None);
            };
            let request = ArchiveRequest {
                tenant,
                place,
                run_id,
                id,
                from: first.from,
                to: first.to_bound,
                timestamp_column,
                sources: sources.clone(),
                source_bytes,
                budget,
                requests,
            };
            tracing::info!(archive = target.description(), "archiving expired rows");
            let rest = batches.into_stream().map_ok(|expired| expired.batch);
            let rows = stream::once(ready(Ok(first.batch))).chain(rest).boxed();
            let archiving = target.archive(request, rows);
            let receipt = trace::stage(trace::archive("rows"), archiving, |span, receipt| {
                trace::archived(span, [receipt])
            })
            .await?;
            Ok(Some(Receipt {
                archive: target.description(),
                sources,
                again_of,
                ..receipt
            }))
        };
        ClosingSender::spawn(EXPIRED_IN_FLIGHT, "the archive's task broke off", task)
    }

    /// What the merge and the archive did, as an edit, with the proof that the inputs were there.
    fn edit(
        &self,
        outcome: MergeOutcome,
        archived: Option<Receipt>,
        head: &Manifest,
        report: &mut TenantReport,
    ) -> Result<(Edit, Observed)> {
        let mut seen = Observed::since(head);
        let has_archive = self.pass.manager.config.archive.is_some();
        check_archived(&outcome, archived.as_ref(), has_archive)?;
        let mut edit = self.sequence.edit();
        let at = self.pass.time.shared();
        let kept: u64 = outcome.snapshots.iter().map(|s| s.stats.rows).sum();
        let reason = if kept == 0 && outcome.rows_expired > 0 {
            RetireReason::Expired
        } else {
            RetireReason::Compacted
        };
        for SeenInput {
            key,
            size,
            etag,
            rows,
            fingerprint,
        } in outcome.inputs
        {
            seen.present.insert(key.clone(), etag.clone());
            edit.ledger.rows_in += rows;
            edit.retire.push(Retired {
                key,
                size,
                etag,
                rows,
                fingerprint,
                remembered: None,
                found: None,
                at,
                reason,
            });
        }
        edit.ledger = Ledger {
            rows_kept: kept,
            rows_archived: archived.as_ref().map_or(0, |r| r.stats.rows),
            rows_expired: if has_archive { 0 } else { outcome.rows_expired },
            rows_deduplicated: outcome.deduplicated,
            ..edit.ledger
        };
        if !outcome.snapshots.is_empty() {
            edit.apart = classes::inherited(head, &edit.retire, outcome.schema.id());
            edit.schemas.insert(outcome.schema.id(), outcome.schema);
        }
        edit.restored = head
            .origin(edit.retire.iter().map(|r| r.key.as_str()))
            .unwrap_or_default();
        edit.expired_before = self.cutoff;
        edit.add = outcome.snapshots;
        edit.archives = archived.into_iter().collect();
        report.counters.id_conflicts += outcome.id_conflicts;
        report.counters.implausible += outcome.implausible;
        Ok((edit, seen))
    }

    async fn quarantine(&self, bad: &[BadInput], report: &mut TenantReport) -> Result<()> {
        let at = self.pass.time.shared();
        let mut edit = self.sequence.edit();
        for b in bad {
            tracing::warn!(file = b.key, "quarantined, left in place: {}", b.reason);
            edit.quarantine.push(Quarantined {
                key: b.key.clone(),
                size: b.size,
                etag: b.etag.clone(),
                reason: b.reason.clone(),
                at,
                cause: Some(Cause::Damaged),
            });
        }
        let seen = Observed::since(&self.sequence.head().await);
        self.sequence.commit(&edit, seen).await?;
        report.quarantined.extend(bad.iter().map(|b| b.key.clone()));
        report.status = report.status.max(Status::Quarantined);
        Ok(())
    }
}

/// The file, where it does not begin as a Parquet file does. What keeps it from being read, the
/// merge meets too, and says.
async fn in_other_format(store: Arc<dyn ObjectStore>, key: Key) -> Option<Ident> {
    let path = path(&key).ok()?;
    match begins_as_parquet(store.as_ref(), &path, &key).await {
        Ok((ident, false)) => Some(ident),
        Ok((_, true)) | Err(_) => None,
    }
}

/// Whether a file is still the one that was read.
async fn unchanged(store: Arc<dyn ObjectStore>, key: &str, etag: Option<&str>) -> Result<()> {
    let now = store
        .head(&path(key)?)
        .await
        .map_err(|e| store_error(key, e))?;
    if Sameness::of(etag, now.e_tag.as_deref()).is_same() {
        Ok(())
    } else {
        Err(ReadError::Gone(key.to_owned()).into())
    }
}

/// The archive objects that hold every row of these files already, as far as head knows.
fn again_of(head: &Manifest, sources: &[Key]) -> BTreeSet<FileId> {
    head.origin(sources.iter().map(String::as_str))
        .and_then(|holds| head.objects(&holds))
        .unwrap_or_default()
}

/// Nothing that expired may be retired unless the archive holds exactly that.
fn check_archived(
    outcome: &MergeOutcome,
    archived: Option<&Receipt>,
    has_archive: bool,
) -> Result<()> {
    if !has_archive {
        return Ok(());
    }
    let (rows, fingerprint) = archived.map_or((0, Fingerprint::default()), |r| {
        (r.stats.rows, r.stats.fingerprint)
    });
    if rows != outcome.rows_expired || fingerprint != outcome.expired_fingerprint {
        let (sent, sum) = (outcome.rows_expired, outcome.expired_fingerprint);
        return Err(Error::Refused(format!(
            "{sent} expired rows (fingerprint {sum}) were sent to the archive, its receipt speaks \
             of {rows} ({fingerprint}): the originals stay; check the archive target"
        )));
    }
    Ok(())
}

fn count(report: &mut TenantReport, tenant: &Tenant, edit: &Edit) {
    let is_raw = |key: &str| classify(tenant, key) == FileKind::Raw;
    let raw_sizes = SizeHistogram::of(
        edit.retire
            .iter()
            .filter(|r| is_raw(&r.key))
            .map(|r| r.size),
    );
    report.counters += Counters {
        raw_sizes,
        files_compacted: edit.retire.len() as u64,
        files_written: edit.add.len() as u64,
        bytes_before: edit.retire.iter().map(|r| r.size).sum(),
        bytes_after: edit.add.iter().map(|s| s.size).sum(),
        events_compacted: edit.ledger.rows_in,
        ledger: edit.ledger,
        archived_objects: edit.archives.len() as u64,
        archived_bytes: edit.archives.iter().map(|a| a.size).sum(),
        ..Counters::default()
    };
    report.status = report.status.max(Status::Done);
}

/// The group in a line.
fn log(g: &TenantReport, files: usize, reason: &str, duration_ms: u64) {
    let Ledger {
        rows_in,
        rows_kept,
        rows_archived,
        rows_expired,
        rows_deduplicated,
    } = g.counters.ledger;
    tracing::info!(
        files,
        reason,
        files_written = g.counters.files_written,
        bytes_before = g.counters.bytes_before,
        bytes_after = g.counters.bytes_after,
        rows_in,
        rows_kept,
        rows_archived,
        rows_expired,
        rows_deduplicated,
        quarantined = g.quarantined.len(),
        duration_ms,
        "group"
    );
}
