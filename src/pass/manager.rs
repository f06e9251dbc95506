//! [`CompactionManager`]: what users of the library call.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};

use super::footers::FooterScanner;
use super::{PassOutcome, PassTarget, Selection, StopHandle};
use crate::archive::{Archive, ArchiveTarget};
use crate::clock::{Clock, SystemClock};
use crate::config::CompactionConfig;
use crate::error::{Error, Result};
use crate::progress::{Progress, Silent};
use crate::protocol::marker::Root;
use crate::protocol::{discover, runs};
#[cfg(feature = "cli")]
use crate::store::counting::{CountingStore, RequestCounters};
use crate::store::staged::{Directory, StagedFiles};
use icepack_core::model::manifest::Ledger;
use icepack_core::model::marker::Role;
use icepack_core::model::names::Tenant;
use icepack_core::model::publish::{Layout as TableLayout, Publish};
use icepack_core::model::record::{RunRecord, Sums};
use icepack_core::model::report::{RunReport, Status, TenantReport};

/// The result of one pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CompactionResult {
    /// Files merged or expired.
    pub files_compacted: u64,
    /// Size of these files, in bytes.
    pub bytes_before: u64,
    /// Bytes of the snapshots that replaced them.
    pub bytes_after: u64,
    /// Rows of the files merged or expired.
    pub events_compacted: u64,
    /// Milliseconds that the pass took.
    pub duration_ms: u64,
    /// The numbers of rows by what became of them.
    pub ledger: Ledger,
    /// Errors by tenant. The other tenants were done.
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

/// Sums over the passes of a manager.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CompactionStats {
    /// Passes that compacted something.
    pub total_compactions: u64,
    /// Files merged or expired.
    pub total_files_compacted: u64,
    /// Size of these files over all passes, in bytes.
    pub total_bytes_before: u64,
    /// Bytes of the snapshots that replaced them.
    pub total_bytes_after: u64,
    /// Rows of the files merged or expired.
    pub total_events_compacted: u64,
    /// Milliseconds of the last pass.
    pub last_compaction_duration_ms: u64,
    /// Bytes before less bytes after; 0 where the snapshots are larger.
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
///
/// A clone is the same manager: it counts together with the first and stops with it.
#[derive(Clone)]
pub struct CompactionManager {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) config: Arc<CompactionConfig>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) progress: Arc<dyn Progress>,
    pub(super) stop: StopHandle,
    pub(super) footers: Arc<FooterScanner>,
    /// The files that a killed process was writing.
    pub(super) staged: StagedFiles,
    /// The table that tenants share, where they do.
    #[cfg(feature = "delta")]
    pub(super) table: Arc<icepack_delta::SharedLog>,
    /// The places that hold the store, where they are known.
    enclosing: Vec<Arc<dyn ObjectStore>>,
    /// The archive, where it is opened by its address.
    archive: Option<Arc<Archive>>,
    /// Of this manager's passes, and the milliseconds of the last.
    sums: Arc<Mutex<(Sums, u64)>>,
}

impl std::fmt::Debug for CompactionManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompactionManager")
            .field("store", &self.store)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl CompactionManager {
    /// A manager of the tenants under the root of `store`.
    pub fn new(store: Arc<dyn ObjectStore>, config: CompactionConfig) -> Self {
        Self {
            store,
            config: Arc::new(config),
            clock: Arc::new(SystemClock::default()),
            progress: Arc::new(Silent),
            stop: StopHandle::default(),
            footers: Arc::default(),
            staged: StagedFiles::default(),
            #[cfg(feature = "delta")]
            table: Arc::default(),
            enclosing: Vec::new(),
            archive: None,
            sums: Arc::default(),
        }
    }

    /// Takes time and ids from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Reports events to `progress`.
    #[must_use]
    pub fn with_progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// The directory of the store, so that half-written files of a killed process can be removed
    /// from it.
    #[must_use]
    pub fn with_directory(mut self, root: impl Into<std::path::PathBuf>) -> Self {
        self.staged.store = Some(Directory::new(root));
        self
    }

    /// The places that hold the store, so that a store inside another one is noticed:
    /// [`crate::store::OpenStore::enclosing`].
    #[must_use]
    pub fn with_enclosing(mut self, enclosing: Vec<Arc<dyn ObjectStore>>) -> Self {
        self.enclosing = enclosing;
        self
    }

    /// Sends expired rows to `archive`. Where it is opened by its address, a place that is no
    /// archive is refused, one that is new is marked, and the half-written files of a killed process
    /// are removed from a directory.
    #[must_use]
    pub fn with_archive(mut self, archive: Arc<Archive>) -> Self {
        self.staged.archive = archive.directory().cloned();
        let target = Arc::clone(&archive) as Arc<dyn ArchiveTarget>;
        Arc::make_mut(&mut self.config).archive = Some(target);
        self.archive = Some(archive);
        self
    }

    /// Counts the requests that it sends to the store from now on.
    #[cfg(feature = "cli")]
    pub(crate) fn counted(mut self) -> (Self, Arc<RequestCounters>) {
        let (store, requests) = CountingStore::new(self.store);
        self.store = store;
        (self, requests)
    }

    /// Opens the archive now, if there is one that is opened by its address. A directory that does
    /// not exist is made.
    ///
    /// # Errors
    /// [`Error::Usage`] where its address or the environment is wrong.
    pub async fn open_archive(&self) -> Result<()> {
        match &self.archive {
            Some(archive) => archive.open(true).await.map(drop),
            None => Ok(()),
        }
    }

    /// Stops a pass under way, from another task.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// The configuration.
    pub fn config(&self) -> &CompactionConfig {
        &self.config
    }

    /// The tenants under the root, by name. Names that start with `.` or `_` are none.
    ///
    /// # Errors
    /// [`Error::Store`] where the root cannot be listed.
    pub async fn discover_tenants(&self) -> Result<Vec<String>> {
        Ok(discover::tenants(self.store.as_ref(), &self.config.layout)
            .await?
            .tenants
            .into_iter()
            .map(String::from)
            .collect())
    }

    /// One pass over every tenant. A tenant's error is logged and is in the result; the other
    /// tenants are done.
    ///
    /// # Errors
    /// The error that keeps the pass from beginning: the store cannot be reached, or it lacks a
    /// property that safety depends on.
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
        let tenant = tenant.within(&self.config.layout);
        if !tenant.has_place() {
            return Err(Error::Usage(format!(
                "no key is tenant `{tenant}`'s by layout = {:?}",
                self.config.layout.as_str()
            )));
        }
        let PassOutcome { report, errors, .. } = self.make(PassTarget::One(&tenant), false).await?;
        match errors.into_iter().next() {
            Some(e) => Err(e),
            None => Ok(CompactionResult::of(&report.totals, &report.tenants)),
        }
    }

    /// Whether a pass is due. Never when `auto_compact` is off. Always when the store has no record
    /// of a pass. Else once the interval has passed since the last one.
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
        runs::last(self.store.as_ref(), self.config().shard, self.clock.now()).await
    }

    /// Sums over all passes that the store has a record of, whichever process made them;
    /// [`Self::stats`] has only those of this manager.
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
        runs::recent(self.store.as_ref(), most, self.clock.now()).await
    }

    /// Sums over the passes of this manager.
    pub fn stats(&self) -> CompactionStats {
        let (sums, last) = *self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        CompactionStats::of(&sums, last)
    }

    /// One pass over the tenants of `selection`, with its full report.
    ///
    /// # Errors
    /// As [`Self::compact`].
    pub async fn run_pass(&self, selection: &Selection) -> Result<RunReport> {
        let passed = self.make(PassTarget::Selected(selection), false).await?;
        Ok(passed.report)
    }

    /// Like [`Self::run_pass`], with the status of the tenants after it, for
    /// [`crate::telemetry::metrics`]. It looks once more at each tenant that was in work.
    ///
    /// # Errors
    /// As [`Self::compact`].
    pub async fn run_observed(&self, selection: &Selection) -> Result<PassOutcome> {
        self.make(PassTarget::Selected(selection), true).await
    }

    /// Makes a pass and counts what it did.
    async fn make(&self, target: PassTarget<'_>, observe: bool) -> Result<PassOutcome> {
        let passed = super::make(self, target, observe).await?;
        let report = &passed.report;
        let mut counted = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        counted.0 += Sums::of(report, report.totals.status < Status::Failed);
        counted.1 = report.duration_ms;
        drop(counted);
        Ok(passed)
    }

    /// Refuses a configuration that no pass can be made with.
    pub(super) fn check_able(&self) -> Result<()> {
        if self.config.publish.is_some() && !cfg!(feature = "delta") {
            return Err(Error::Usage(
                "`publish.delta` is set, and this icepack was built without the feature `delta`: \
                 build it with, or unset it"
                    .to_owned(),
            ));
        }
        let layout = &self.config.layout;
        let is_per_tenant = |p: &Publish| p.layout == TableLayout::PerTenant;
        if layout.has_wildcard() && self.config.publish.as_ref().is_some_and(is_per_tenant) {
            return Err(Error::Usage(format!(
                "`publish.layout = \"per-tenant\"` needs one folder for each tenant, and layout = \
                 {:?} puts a tenant's files into many: set publish.layout = \"shared\", or unset \
                 publish.delta",
                layout.as_str()
            )));
        }
        let Some(symlink) = &self.config.symlink else {
            return Ok(());
        };
        if layout.has_wildcard() {
            return Err(Error::Usage(format!(
                "`publish.symlink` needs one folder for each tenant, and layout = {:?} puts a \
                 tenant's files into many: unset it",
                layout.as_str()
            )));
        }
        if symlink.root.is_none() {
            return Err(Error::Usage(
                "symlink manifests list whole addresses, and that of the store is not known: set \
                 `Symlink::root`, or open the store with `icepack::open`"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// Refuses a store that is something else, and returns its root if that has no marker yet.
    /// Writes nothing.
    ///
    /// # Errors
    /// As [`Root::check`].
    pub(super) async fn check_store(&self) -> Result<Option<Root>> {
        let store = Root {
            role: Role::Store,
            store: Arc::clone(&self.store),
            enclosing: self.enclosing.clone(),
            exclude: self.config.exclude.clone(),
        };
        Ok((!store.check().await?).then_some(store))
    }

    /// The same of the archive, where there is one.
    ///
    /// # Errors
    /// As [`Root::check`], and where the archive cannot be opened.
    pub(super) async fn check_archive(&self) -> Result<Option<Root>> {
        let open = match &self.archive {
            Some(archive) => archive.find().await?,
            None => None,
        };
        let Some(root) = open.and_then(|open| open.root.as_ref()) else {
            return Ok(None);
        };
        match root.check().await {
            Ok(is_marked) => Ok((!is_marked).then(|| root.clone())),
            Err(e @ Error::Refused(_)) => Err(e),
            // An archive that is away holds up what expires, not what is compacted: whoever sends
            // rows to it finds out.
            Err(e) => {
                tracing::warn!("whether {} is an archive is not known: {e}", root.store);
                Ok(None)
            }
        }
    }
}
