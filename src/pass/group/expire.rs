//! Files whose rows have all expired: they are dropped, or copied into the archive.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{FutureExt, StreamExt, stream};

use super::{GroupJobs, again_of, count, unchanged};
use crate::archive::{ArchiveTarget, CopyRequest};
use crate::error::{Error, Result};
use crate::merge::{BadInput, Flaw};
use crate::pass::trace;
use icepack_core::model::file::Snapshot;
use icepack_core::model::manifest::{Manifest, Observed, Receipt, RetireReason, Retired};
use icepack_core::model::names::FileId;
use icepack_core::model::plan::{Group, PlannedInput};
use icepack_core::model::policy::Within;
use icepack_core::model::report::TenantReport;
use icepack_core::model::same::Sameness;
use icepack_core::model::schema::TableSchema;
use icepack_parquet::stats::{Whole, read_whole};

/// Copies within the store at once, …
const COPIES_AT_ONCE: usize = 8;

/// … and in one commit. A pass that is cut off in between finds the copies of snapshots that it made,
/// and makes them again no more.
const COPIES_A_COMMIT: usize = 64;

/// Raw files that are looked at at once.
const HEADS_AT_ONCE: usize = 16;

impl GroupJobs<'_> {
    /// Files of which every row has expired, with no archive to keep them: no byte is read.
    pub(super) async fn drop_whole(&self, group: Group, report: &mut TenantReport) -> Result<()> {
        let mut edit = self.sequence.edit();
        let at = self.pass.time.shared();
        // Before any file is looked at.
        let mut seen = Observed::since(&self.sequence.head().await);
        let inputs = self.as_planned(group.inputs, &mut seen, report).await?;
        if inputs.is_empty() {
            return Ok(());
        }
        for input in &inputs {
            let rows = input.times().map_or(0, |t| t.rows);
            edit.retire.push(retired(input, rows, at));
            edit.ledger.rows_in += rows;
            edit.ledger.rows_expired += rows;
        }
        edit.expired_before = self.cutoff;
        self.sequence.commit(&edit, seen).await?;
        count(report, self.tenant, &edit);
        Ok(())
    }

    /// The inputs that are what was planned: snapshots never change, and a raw file shows the tag
    /// that its rows are known by. `seen` takes that tag. The others are left for the next pass.
    async fn as_planned(
        &self,
        inputs: Vec<PlannedInput>,
        seen: &mut Observed,
        report: &mut TenantReport,
    ) -> Result<Vec<PlannedInput>> {
        let looks = inputs.into_iter().map(|input| {
            let store = Arc::clone(self.store);
            async move {
                let looked = if input.is_snapshot() {
                    Ok(())
                } else {
                    unchanged(store, &input.key, input.etag.as_deref()).await
                };
                (input, looked)
            }
        });
        let looks: Vec<_> = stream::iter(looks).buffered(HEADS_AT_ONCE).collect().await;
        let (mut there, mut unread) = (Vec::new(), Vec::new());
        for (input, looked) in looks {
            match looked.map_err(|e| BadInput::of(&e).ok_or(e)) {
                Ok(()) => {
                    if !input.is_snapshot() {
                        seen.present.insert(input.key.clone(), input.etag.clone());
                    }
                    there.push(input);
                }
                Err(Ok(bad)) => unread.push(bad),
                Err(Err(e)) => return Err(e),
            }
        }
        self.leave_unread(&unread, report).await?;
        Ok(there)
    }

    /// Files of which every row has expired, into the archive: by copies within the store where they
    /// can be made and proved, else by their rows.
    pub(super) async fn archive_whole(
        &self,
        archive: &Arc<dyn ArchiveTarget>,
        inputs: Vec<PlannedInput>,
        report: &mut TenantReport,
    ) -> Result<()> {
        let mut failure = None;
        for chunk in inputs.chunks(COPIES_A_COMMIT) {
            if self.pass.manager.stop.is_stopped() {
                return Err(Error::Stopped);
            }
            let (known, mut by_rows) = self.known(archive, chunk, report).await?;
            let head = self.sequence.head().await;
            let requests = known
                .iter()
                .map(|(input, schema)| self.copy_request(&head, input, schema.as_ref()))
                .collect::<Result<Vec<_>>>()?;
            let copies = stream::iter(requests)
                .map(|request| archive.copy(request))
                .buffered(COPIES_AT_ONCE)
                .collect::<Vec<_>>()
                .map(Ok);
            let copies = trace::stage(trace::archive("copies"), copies, |span, copies| {
                trace::archived(span, copies.iter().flatten().flatten())
            })
            .await?;
            let mut copied = Vec::new();
            for ((input, _), receipt) in known.iter().zip(copies) {
                match receipt {
                    Ok(Some(receipt)) => {
                        let sources = vec![input.key.clone()];
                        copied.push((
                            input,
                            Receipt {
                                archive: archive.description(),
                                again_of: again_of(&head, &sources),
                                sources,
                                ..receipt
                            },
                        ));
                    }
                    Ok(None) => by_rows.push(input.clone()),
                    Err(e) => match BadInput::of(&e)
                        .filter(|b| b.key == input.key && matches!(b.flaw, Flaw::Unread(_)))
                    {
                        Some(unread) => self.leave_unread(&[unread], report).await?,
                        // One that cannot be copied must not keep the others here.
                        None => _ = failure.get_or_insert(e),
                    },
                }
            }
            if !copied.is_empty() {
                self.retire_copied(copied, report).await?;
            } else if let Some(e) = failure {
                // None at all: the archive is down, and the rest would only be tried in vain.
                return Err(e);
            }
            // One object each: they are worth it, or the plan would have put them together.
            for input in by_rows {
                if let Some(merged) = self.merge_all(vec![input], None, report).await? {
                    self.sequence.commit(&merged.edit, merged.seen).await?;
                    count(report, self.tenant, &merged.edit);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// The files of which it is known what a receipt of a copy says, raw ones with their columns; and
    /// those that go by their rows.
    async fn known(
        &self,
        archive: &Arc<dyn ArchiveTarget>,
        inputs: &[PlannedInput],
        report: &mut TenantReport,
    ) -> Result<(Vec<(PlannedInput, Option<TableSchema>)>, Vec<PlannedInput>)> {
        let (mut known, mut by_rows, mut unread) = (Vec::new(), Vec::new(), Vec::new());
        // Copies lie by the folder of their originals.
        let is_copied = archive.copies() && self.policy.within == Within::Folder;
        for input in inputs {
            if input.is_snapshot() {
                known.push((input.clone(), None));
                continue;
            }
            if !is_copied {
                by_rows.push(input.clone());
                continue;
            }
            match self.read_expired(input).await {
                Ok(Some((input, schema))) => known.push((input, Some(schema))),
                Ok(None) => by_rows.push(input.clone()),
                Err(e) => match BadInput::of(&e) {
                    Some(bad) if matches!(bad.flaw, Flaw::Unread(_)) => unread.push(bad),
                    // A merge says what is wrong with it, and sets it aside.
                    Some(_) => by_rows.push(input.clone()),
                    None => return Err(e),
                },
            }
        }
        self.leave_unread(&unread, report).await?;
        Ok((known, by_rows))
    }

    /// What is known of a raw file once its rows were read. None where it is not the version that
    /// was planned, or some of its rows have not expired: its times were those of a note.
    async fn read_expired(
        &self,
        input: &PlannedInput,
    ) -> Result<Option<(PlannedInput, TableSchema)>> {
        let share = self.pass.memory.share(self.pass.budget.group_file).await?;
        let Whole {
            stats,
            schema,
            etag,
        } = read_whole(
            Arc::clone(self.store),
            input.key.clone(),
            input.size,
            &self.policy.timestamp_column,
            share.bytes,
        )
        .await?;
        let is_it = Sameness::of(input.etag.as_deref(), etag.as_deref()).is_same();
        let is_expired = stats.undated == 0
            && self
                .cutoff
                .is_some_and(|cutoff| stats.max.is_some_and(|max| max < cutoff));
        Ok((is_it && is_expired).then(|| {
            let known = PlannedInput {
                stats: Some(stats),
                ..input.clone()
            };
            (known, schema)
        }))
    }

    /// `schema` is that of a raw file, which is read by now.
    fn copy_request(
        &self,
        head: &Manifest,
        input: &PlannedInput,
        schema: Option<&TableSchema>,
    ) -> Result<CopyRequest> {
        let timestamp_column = self.policy.timestamp_column.to_string();
        let (snapshot, schema) = match (schema, input.stats) {
            (Some(schema), Some(stats)) => {
                let raw = Snapshot {
                    key: input.key.clone(),
                    id: self.pass.manager.clock.mint(FileId::NIL),
                    size: input.size,
                    etag: input.etag.clone(),
                    schema: None,
                    dated_by: Some(timestamp_column.clone()),
                    stats,
                };
                (raw, Some(schema.clone()))
            }
            _ => {
                // Between the plan and now, another run may have taken it.
                let snapshot = head.snapshots.iter().find(|s| s.key == input.key).cloned();
                let snapshot = snapshot.ok_or_else(|| {
                    Error::Conflict(format!("snapshot `{}` is no longer live", input.key))
                })?;
                let schema = snapshot.schema.and_then(|id| head.schemas.get(&id));
                let schema = schema.cloned();
                (snapshot, schema)
            }
        };
        Ok(CopyRequest {
            tenant: self.tenant.clone(),
            run_id: self.pass.run_id,
            snapshot,
            schema,
            timestamp_column,
            requests: Arc::clone(self.archive_requests),
        })
    }

    async fn retire_copied(
        &self,
        copied: Vec<(&PlannedInput, Receipt)>,
        report: &mut TenantReport,
    ) -> Result<()> {
        let mut edit = self.sequence.edit();
        let at = self.pass.time.shared();
        let mut seen = Observed::since(&self.sequence.head().await);
        let inputs = copied.iter().map(|(input, _)| (*input).clone()).collect();
        let there = self.as_planned(inputs, &mut seen, report).await?;
        let there: BTreeSet<&str> = there.iter().map(|i| i.key.as_str()).collect();
        let copied: Vec<_> = copied
            .into_iter()
            .filter(|(input, _)| there.contains(input.key.as_str()))
            .collect();
        if copied.is_empty() {
            return Ok(());
        }
        let bytes: u64 = copied.iter().map(|(_, receipt)| receipt.size).sum();
        for (input, receipt) in copied {
            let stats = input.stats.unwrap_or_default();
            if receipt.stats != stats {
                return Err(Error::Refused(format!(
                    "the receipt of the copy of `{}` speaks of {:?}, the manifest of {stats:?}: \
                     check the archive target",
                    input.key, receipt.stats
                )));
            }
            edit.retire.push(retired(input, stats.rows, at));
            edit.ledger.rows_in += stats.rows;
            edit.ledger.rows_archived += stats.rows;
            edit.archives.push(receipt);
        }
        edit.expired_before = self.cutoff;
        self.sequence.commit(&edit, seen).await?;
        count(report, self.tenant, &edit);
        report.counters.copied_objects += edit.archives.len() as u64;
        report.counters.copied_bytes += bytes;
        Ok(())
    }
}

/// A file of which every row has expired.
fn retired(input: &PlannedInput, rows: u64, at: DateTime<Utc>) -> Retired {
    let fingerprint = input.stats.map(|s| s.fingerprint);
    Retired {
        key: input.key.clone(),
        size: input.size,
        etag: input.etag.clone(),
        rows,
        fingerprint,
        remembered: None,
        found: None,
        at,
        reason: RetireReason::Expired,
    }
}
