//! Adopts files: their times are read and kept in head, and the files stay as they are.

use std::sync::Arc;

use super::GroupJobs;
use crate::budget::MergeBudget;
use crate::error::Result;
use crate::merge::times::{self, FileTimes, TimesSpec};
use crate::merge::{BadInput, Flaw};
use crate::pass::trace;
use icepack_core::model::adopted::Adopted;
use icepack_core::model::file::Micros;
use icepack_core::model::manifest::Observed;
use icepack_core::model::plan::PlannedInput;
use icepack_core::model::report::{Status, TenantReport};
use icepack_core::model::units::MIB;
use icepack_parquet::Columns;

/// Files that are read at once.
const READS_AT_ONCE: usize = 16;

/// What is held of each, compressed.
const HELD: u64 = 2 * MIB;

impl GroupJobs<'_> {
    /// Reads the time column of files, and enters what it says with one commit. What a merge would
    /// set aside is set aside; what could not be read now is left for the next pass.
    pub(super) async fn adopt(
        &self,
        inputs: Vec<PlannedInput>,
        report: &mut TenantReport,
    ) -> Result<()> {
        let inputs = self.only_parquet(inputs, report).await?;
        if inputs.is_empty() {
            return Ok(());
        }
        let reading = self.read_times(inputs);
        let found = trace::stage(trace::adopt(), reading, |span, found: &FileTimes| {
            _ = span.record("files", found.read.len());
        });
        let FileTimes { read, bad } = found.await?;
        let good = read.len();
        let mut edit = self.sequence.edit();
        edit.adopt = read
            .into_iter()
            .filter_map(|(seen, times)| {
                Some(Adopted {
                    key: seen.key,
                    etag: seen.etag?,
                    dated_by: self.policy.timestamp_column.to_string(),
                    times,
                })
            })
            .collect();
        if !edit.adopt.is_empty() {
            let seen = Observed::since(&self.sequence.head().await);
            self.sequence.commit(&edit, seen).await?;
            report.counters.files_adopted += edit.adopt.len() as u64;
            report.status = report.status.max(Status::Done);
        }
        let (unread, bad): (Vec<BadInput>, Vec<_>) = bad
            .into_iter()
            .partition(|b| matches!(b.flaw, Flaw::Unread(_)));
        if !bad.is_empty() {
            self.refuse_wrong_column(good, &bad).await?;
            self.quarantine(&bad, report).await?;
        }
        self.leave_unread(&unread, report).await
    }

    async fn read_times(&self, inputs: Vec<PlannedInput>) -> Result<FileTimes> {
        let at_once = READS_AT_ONCE.min(inputs.len());
        let share = self.pass.memory.share(HELD * at_once as u64).await?;
        let manager = &self.pass.manager;
        let spec = TimesSpec {
            inputs,
            columns: Columns {
                timestamp: self.policy.timestamp_column.clone(),
                ids: manager.config.id_columns.clone(),
            },
            now: Micros::from_datetime(manager.clock.now()),
        };
        let budget = MergeBudget::of(share.bytes, self.pass.budget.group_file, at_once);
        let stop = manager.stop.flag();
        let spill_dir = manager.config.spill_dir.clone();
        let spill_dir = spill_dir.unwrap_or_else(std::env::temp_dir);
        times::read(&Arc::clone(self.store), spec, budget, stop, spill_dir).await
    }
}
