//! The library's front door.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, SystemClock};
use crate::config::CompactionConfig;
use crate::error::{Error, Result};
use crate::inspect::doctor::{self, Doctor};
use crate::inspect::verify::Verifier;
use crate::page::{self, Labels};
use crate::pass::{Context, PassOutcome, Selection, StopHandle};
use crate::progress::{Progress, Silent};
use crate::protocol::marker::Root;
use crate::protocol::{discover, runs};
use crate::store::html;
use crate::store::staged::Directory;
use icepack_core::model::inspect::{
    DoctorReport, LiveView, Overview, PlanReport, StatusReport, VerifyReport,
};
use icepack_core::model::manifest::Ledger;
use icepack_core::model::names::Tenant;
use icepack_core::model::record::{RunRecord, Sums};
use icepack_core::model::report::{RunReport, Status, TenantReport};
use icepack_core::plan::live;

/// Tenants looked at at once.
const LOOK_AT_ONCE: usize = 16;

/// Records that the report shows: all that are kept.
const RUNS_SHOWN: usize = 200;

/// What one pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CompactionResult {
    /// Files merged or expired.
    pub files_compacted: u64,
    /// Their bytes.
    pub bytes_before: u64,
    /// Bytes of the snapshots that replaced them.
    pub bytes_after: u64,
    /// Their rows.
    pub events_compacted: u64,
    /// Milliseconds.
    pub duration_ms: u64,
    /// Every row accounted for.
    pub ledger: Ledger,
    /// What went wrong, by tenant. The other tenants were done all the same.
    pub errors: Vec<(String, String)>,
}

impl CompactionResult {
    fn of(report: &TenantReport, tenants: &[TenantReport]) -> Self {
        let errors = tenants
            .iter()
            .filter_map(|t| Some((t.tenant.clone(), t.error.clone()?)))
            .collect();
        let counted = report.counters;
        Self {
            files_compacted: counted.files_compacted,
            bytes_before: counted.bytes_before,
            bytes_after: counted.bytes_after,
            events_compacted: counted.events_compacted,
            duration_ms: report.duration_ms,
            ledger: counted.ledger,
            errors,
        }
    }
}

/// What a manager's passes did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CompactionStats {
    /// Passes that compacted something.
    pub total_compactions: u64,
    /// Files merged or expired.
    pub total_files_compacted: u64,
    /// Their bytes.
    pub total_bytes_before: u64,
    /// Bytes of the snapshots that replaced them.
    pub total_bytes_after: u64,
    /// Rows of the files merged or expired.
    pub total_events_compacted: u64,
    /// Milliseconds of the last pass.
    pub last_compaction_duration_ms: u64,
    /// Bytes before less bytes after; 0 where the snapshots came out larger.
    pub space_saved_bytes: u64,
}

impl CompactionStats {
    fn of(sums: &Sums, last_duration_ms: u64) -> Self {
        let counted = &sums.counters;
        Self {
            total_compactions: sums.compactions,
            total_files_compacted: counted.files_compacted,
            total_bytes_before: counted.bytes_before,
            total_bytes_after: counted.bytes_after,
            total_events_compacted: counted.ledger.rows_in,
            last_compaction_duration_ms: last_duration_ms,
            space_saved_bytes: counted.bytes_before.saturating_sub(counted.bytes_after),
        }
    }
}

/// Compacts the tenants of one store.
///
/// ```
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
/// use std::sync::Arc;
/// use icepack::{CompactionConfig, CompactionManager};
///
/// let store = Arc::new(object_store::memory::InMemory::new());
/// let manager = CompactionManager::new(store, CompactionConfig::default());
/// assert!(manager.discover_tenants().await?.is_empty());
/// assert!(manager.should_compact().await?, "it has never run");
/// # Ok::<(), icepack::Error>(())
/// # }).unwrap();
/// ```
pub struct CompactionManager {
    context: Context,
    archive_store: Option<Arc<dyn ObjectStore>>,
    archive_class: Option<String>,
    /// Of this manager's passes, and the milliseconds of the last.
    sums: Mutex<(Sums, u64)>,
}

impl std::fmt::Debug for CompactionManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompactionManager")
            .field("store", &self.context.store)
            .field("config", &self.context.config)
            .finish_non_exhaustive()
    }
}

impl CompactionManager {
    /// A manager of the tenants under the root of `store`.
    pub fn new(store: Arc<dyn ObjectStore>, config: CompactionConfig) -> Self {
        let context = Context {
            store,
            config: Arc::new(config),
            clock: Arc::new(SystemClock::default()),
            progress: Arc::new(Silent),
            stop: StopHandle::default(),
            observe: false,
            surveyor: Arc::default(),
            directory: None,
            enclosing: Vec::new(),
            archive_root: None,
            archive_directory: None,
        };
        Self {
            context,
            archive_store: None,
            archive_class: None,
            sums: Mutex::default(),
        }
    }

    /// Takes time and ids from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.context.clock = clock;
        self
    }

    /// Tells `progress` what happens.
    #[must_use]
    pub fn with_progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.context.progress = progress;
        self
    }

    /// The directory that the store is, so that the half-written files of a killed process can be
    /// removed from it.
    #[must_use]
    pub fn with_directory(mut self, root: impl Into<std::path::PathBuf>) -> Self {
        self.context.directory = Some(Directory::new(root));
        self
    }

    /// The places that hold the store, so that a store inside another one is noticed:
    /// [`crate::store::OpenStore::enclosing`].
    #[must_use]
    pub fn with_enclosing(mut self, enclosing: Vec<Arc<dyn ObjectStore>>) -> Self {
        self.context.enclosing = enclosing;
        self
    }

    /// The root of the archive, so that a place that is none is refused, and one that is new is
    /// marked.
    #[must_use]
    pub fn with_archive_root(mut self, root: Root) -> Self {
        self.context.archive_root = Some(root);
        self
    }

    /// The directory that the archive is, for the same.
    #[must_use]
    pub fn with_archive_directory(mut self, root: impl Into<std::path::PathBuf>) -> Self {
        self.context.archive_directory = Some(Directory::new(root));
        self
    }

    /// The store behind the archive, and the class that objects are put in, so that `verify` and
    /// `doctor` can look at it.
    #[must_use]
    pub fn with_archive_store(
        mut self,
        store: Arc<dyn ObjectStore>,
        storage_class: Option<String>,
    ) -> Self {
        self.archive_store = Some(store);
        self.archive_class = storage_class;
        self
    }

    /// Stops a pass under way, from another task.
    pub fn stop_handle(&self) -> StopHandle {
        self.context.stop.clone()
    }

    /// What it was told.
    pub fn config(&self) -> &CompactionConfig {
        &self.context.config
    }

    /// The tenants under the root, by name. Names that start with `.` or `_` are none.
    ///
    /// # Errors
    /// [`Error::Store`] where the root cannot be listed.
    pub async fn discover_tenants(&self) -> Result<Vec<String>> {
        Ok(discover::tenants(self.context.store.as_ref())
            .await?
            .tenants
            .into_iter()
            .map(String::from)
            .collect())
    }

    /// One pass over every tenant. A tenant's error is logged and in the result; the others are
    /// done all the same.
    ///
    /// # Errors
    /// What keeps the pass from beginning: the store cannot be reached, or breaks a promise that
    /// safety rests on.
    pub async fn compact(&self) -> Result<CompactionResult> {
        let report = self.run_pass(&Selection::all()).await?;
        Ok(CompactionResult::of(&report.totals, &report.tenants))
    }

    /// The same as [`Self::compact`].
    ///
    /// # Errors
    /// As [`Self::compact`].
    pub async fn compact_now(&self) -> Result<CompactionResult> {
        self.compact().await
    }

    /// One pass over one tenant.
    ///
    /// # Errors
    /// As [`Self::compact`], and the tenant's own error.
    pub async fn compact_tenant(&self, tenant: &str) -> Result<CompactionResult> {
        let tenant = Tenant::parse(tenant).map_err(|e| Error::Usage(e.to_string()))?;
        let (report, error) = self.context.run_tenant(&tenant).await?;
        self.count(&report);
        match error {
            Some(e) => Err(e),
            None => Ok(CompactionResult::of(&report.totals, &report.tenants)),
        }
    }

    /// Whether a pass is due: never when `auto_compact` is off, always when none was ever recorded
    /// in the store, else once the interval has passed.
    ///
    /// # Errors
    /// [`Error::Store`] where the records cannot be read.
    pub async fn should_compact(&self) -> Result<bool> {
        if !self.config().auto_compact {
            return Ok(false);
        }
        let Some(last) = self.last_run().await? else {
            return Ok(true);
        };
        let interval = TimeDelta::from_std(self.config().interval()).unwrap_or(TimeDelta::MAX);
        Ok(self
            .context
            .clock
            .now()
            .signed_duration_since(last.report.started_at)
            >= interval)
    }

    /// The last pass that the store has a record of, whichever process made it: of this manager's
    /// shard, where there are several.
    ///
    /// # Errors
    /// [`Error::Store`] where the records cannot be read.
    pub async fn last_run(&self) -> Result<Option<RunRecord>> {
        runs::last(
            self.context.store.as_ref(),
            self.config().shard,
            self.context.clock.now(),
        )
        .await
    }

    /// What all passes did that the store has a record of, whichever process made them;
    /// [`Self::stats`] knows only this manager's.
    ///
    /// # Errors
    /// As [`Self::last_run`].
    pub async fn stats_of_all_runs(&self) -> Result<CompactionStats> {
        Ok(self
            .last_run()
            .await?
            .map(|r| CompactionStats::of(&r.sums, r.report.duration_ms))
            .unwrap_or_default())
    }

    /// The records of the last passes, the oldest first: `most` at most, of the 200 that are kept.
    ///
    /// # Errors
    /// As [`Self::last_run`].
    pub async fn recent_runs(&self, most: usize) -> Result<Vec<RunRecord>> {
        runs::recent(self.context.store.as_ref(), most, self.context.clock.now()).await
    }

    /// What this manager's passes did so far.
    pub fn stats(&self) -> CompactionStats {
        let (sums, last) = *self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        CompactionStats::of(&sums, last)
    }

    /// One pass over the tenants of `selection`, with everything there is to know about it.
    ///
    /// # Errors
    /// As [`Self::compact`].
    pub async fn run_pass(&self, selection: &Selection) -> Result<RunReport> {
        Ok(self.passed(&self.context, selection).await?.report)
    }

    /// As [`Self::run_pass`], and how the tenants stand after it, for [`crate::metrics`]: costs a
    /// look at each tenant that was worked on.
    ///
    /// # Errors
    /// As [`Self::compact`].
    pub async fn run_observed(&self, selection: &Selection) -> Result<PassOutcome> {
        let context = Context {
            observe: true,
            ..self.context.clone()
        };
        self.passed(&context, selection).await
    }

    async fn passed(&self, context: &Context, selection: &Selection) -> Result<PassOutcome> {
        let passed = context.run(selection).await?;
        self.count(&passed.report);
        Ok(passed)
    }

    /// What [`Self::run_pass`] would do now. Nothing is written.
    ///
    /// # Errors
    /// [`Error::Store`] where the root cannot be listed. A tenant's own error is in the report.
    pub async fn plan(&self, selection: &Selection) -> Result<PlanReport> {
        self.context.plan(selection).await
    }

    /// How the tenants stand.
    ///
    /// # Errors
    /// [`Error::Store`] where the root or the run records cannot be read. A tenant's own error is
    /// in the report.
    pub async fn status(&self, selection: &Selection) -> Result<StatusReport> {
        self.context.status(selection).await
    }

    /// How the tenants stand and what the last passes did: what [`crate::page::html`] draws. Costs
    /// a look at each tenant, and a GET for each record.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn overview(&self, selection: &Selection) -> Result<Overview> {
        let StatusReport {
            schema_version,
            tenants,
            failures,
            ..
        } = self.context.status(selection).await?;
        let runs = runs::recent(
            self.context.store.as_ref(),
            RUNS_SHOWN,
            self.context.clock.now(),
        )
        .await?;
        Ok(Overview {
            schema_version,
            at: self.context.clock.now(),
            tenants,
            failures,
            runs,
        })
    }

    /// Draws the report of all tenants and puts it into the store, as [`crate::page::KEY`]. It
    /// takes the place of the one before: nothing reads it but people.
    ///
    /// # Errors
    /// As [`Self::overview`], and where it cannot be put.
    pub async fn publish_report(&self, labels: &Labels) -> Result<()> {
        let html = page::html(&self.overview(&Selection::all()).await?, labels)?;
        html::page(self.context.store.as_ref(), page::KEY, html).await
    }

    /// What a reader should read, by tenant: every row once, at one version. Of a tenant with
    /// somebody else's state, no files and why.
    ///
    /// # Errors
    /// Of the store; [`Error::Conflict`] where a tenant is committed to without pause.
    pub async fn live_views(&self, selection: &Selection) -> Result<Vec<LiveView>> {
        let tenants = self.selected(selection).await?;
        let looks = stream::iter(tenants).map(|tenant| async move {
            let mut found = discover::live_inventory(
                &self.context.store,
                &tenant,
                &self.config().input_rules(),
            )
            .await?;
            // Readers ask for times by the column that dates a row now.
            found
                .inventory
                .head
                .iter_mut()
                .flat_map(|m| &mut m.snapshots)
                .for_each(|s| s.stats = s.stats_by(&self.config().timestamp_column));
            let view = live::view(&tenant, &found.inventory);
            let refused = found
                .left
                .refusal(&tenant)
                .filter(|_| found.left.misleads(found.inventory.head.is_some()));
            Ok::<LiveView, Error>(if refused.is_some() {
                LiveView {
                    files: Vec::new(),
                    refused,
                    ..view
                }
            } else {
                view
            })
        });
        looks.buffered(LOOK_AT_ONCE).try_collect().await
    }

    /// Whether store and archive hold what the heads say; `deep` reads every row back.
    ///
    /// # Errors
    /// Of the store. What is wrong with the data is in the report.
    pub async fn verify(&self, selection: &Selection, deep: bool) -> Result<VerifyReport> {
        let tenants = self.selected(selection).await?;
        let verifier = Verifier {
            store: Arc::clone(&self.context.store),
            archive: self.archive_store.clone(),
            place: self
                .config()
                .archive
                .as_ref()
                .map(|archive| archive.description()),
            timestamp_column: self.config().timestamp_column.clone(),
            deep,
            rules: self.config().input_rules(),
        };
        verifier.verify(&tenants).await
    }

    /// Whether store and archive keep the promises that safety rests on. Writes and removes probes
    /// under `_icepack/_probe/`.
    ///
    /// # Errors
    /// None: what fails is in the report.
    pub async fn doctor(&self) -> Result<DoctorReport> {
        let probe = |store: &Arc<dyn ObjectStore>, target| Doctor {
            store: Arc::clone(store),
            target,
            storage_class: self.archive_class.clone(),
            clock: Arc::clone(&self.context.clock),
        };
        let mut checks = probe(&self.context.store, "store").examine_store().await;
        if let Some(archive) = &self.archive_store {
            checks.extend(probe(archive, "archive").examine_archive().await);
        }
        Ok(doctor::report(checks))
    }

    async fn selected(&self, selection: &Selection) -> Result<Vec<Tenant>> {
        self.context.selected(selection).await
    }

    fn count(&self, report: &RunReport) {
        let mut counted = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        counted.0 += Sums::of(report, report.totals.status < Status::Failed);
        counted.1 = report.duration_ms;
    }
}
