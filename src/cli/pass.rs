//! A pass as `run` and `watch` make it: with its metrics delivered, and the report in the store.

use std::sync::Arc;

use crate::page::{self, Labels};
use crate::pass::Selection;
use crate::progress::Progress;
use crate::store::counting::RequestCounters;
use crate::telemetry::metrics::{self, deliver::Targets};
use crate::{CompactionManager, Result};
use icepack_core::model::record::RunRecord;
use icepack_core::model::report::RunReport;

use super::app::App;

/// What a pass needs. `watch` makes another when it re-reads the configuration.
pub struct PassJob {
    pub manager: CompactionManager,
    /// Those that it has sent to the store.
    pub requests: Arc<RequestCounters>,
    selection: Selection,
    targets: Targets,
    /// The names in the report; none where no pass is to write one.
    labels: Option<Labels>,
}

impl PassJob {
    pub async fn new(app: &App<'_>, progress: Arc<dyn Progress>) -> Result<Self> {
        let selection = app.selection()?;
        let manager = app.writing_manager().await?.with_progress(progress);
        let (manager, requests) = manager.counted();
        Ok(Self {
            requests,
            selection,
            targets: app.settings.metrics(manager.config().shard)?,
            labels: app.settings.pass_report()?,
            manager,
        })
    }

    /// Makes a pass. The metrics are there if `wants_metrics`, or if they have a target. A pass that
    /// fails leaves the old metrics at the targets: their age shows it.
    pub async fn run(&self, wants_metrics: bool) -> Result<(RunReport, Option<String>)> {
        if !wants_metrics && self.targets.is_empty() {
            let report = self.manager.run_pass(&self.selection).await?;
            self.publish_report().await;
            return Ok((report, None));
        }
        let passed = self.manager.run_observed(&self.selection).await?;
        self.publish_report().await;
        let record = passed.record.as_ref();
        let text =
            record.map(|r| metrics::render(r, Some(&passed.tenant_statuses), self.most_tenants()));
        if let Some(text) = &text {
            self.targets.deliver(text).await;
        }
        Ok((passed.report, text))
    }

    /// The metrics of the last pass that the store has a record of, by whomever.
    pub fn metrics_of(&self, record: &RunRecord) -> String {
        metrics::render(record, None, self.most_tenants())
    }

    fn most_tenants(&self) -> usize {
        self.targets.most_tenants
    }

    /// Puts the report into the store, where that is wanted. The pass is over and not harmed by a
    /// report that cannot be written.
    async fn publish_report(&self) {
        // Of several shards, one is enough.
        let is_first = self.manager.config().shard.index == 0;
        let Some(labels) = self.labels.as_ref().filter(|_| is_first) else {
            return;
        };
        match self.manager.publish_report(labels).await {
            Ok(()) => tracing::info!(key = page::KEY, "the report was written"),
            Err(e) => tracing::warn!("the pass is over, but its report could not be written: {e}"),
        }
    }
}
