//! Delta tables that follow the manifests. Every decision is [`icepack_core::plan::publish`]'s.
//!
//! A version of a table is made in memory (`table`) and put by us (`log`). It rests on what was
//! read in this order: the table, then head, then the listing. So if nobody wrote a version in
//! between, which the conditional put finds out, no newer head was published: a table never goes
//! back.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::todo,
        clippy::unimplemented
    )
)]

mod columns;
mod log;
mod others;
mod paths;
mod round;
mod stranger;
mod table;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use object_store::ObjectStore;

use columns::NewFile;
use icepack_core::model::names::Tenant;
use icepack_core::model::partition;
use icepack_core::model::plan::Inventory;
use icepack_core::model::publish::{Followed, Place, Publish, PublishReport};
use icepack_core::plan::publish::{self as plan, Wanted};
use icepack_parquet::Error as ReadError;
use log::Put;
pub use others::tenants;
use round::Round;
use table::{AddFile, Change, Table};

/// Somebody else publishes every time.
const MAX_ROUNDS: usize = 16;

/// Why a tenant was not published. `L` is what can keep the live view from being read.
#[derive(Debug)]
pub enum Error<L> {
    /// The store, a file, or this machine.
    Read(ReadError),
    /// The table is not one of ours: a person must look.
    Refused(String),
    /// Others publish without pause.
    Conflict(String),
    Live(L),
}

impl<L> From<ReadError> for Error<L> {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// The result of most of this crate.
pub type Result<T, L> = std::result::Result<T, Error<L>>;

/// Reads what is live: head, then a listing, of which head is still head afterwards.
pub type ReadLive<L> =
    Box<dyn Fn() -> BoxFuture<'static, std::result::Result<Inventory, L>> + Send + Sync>;

/// The log of a table that several tenants of a process share: one writes at a time, since they
/// would lose to each other. What was read of it is read once.
#[derive(Debug, Default)]
pub struct SharedLog(tokio::sync::Mutex<log::Cache>);

/// Publishes one tenant.
pub struct Publisher<L> {
    store: Arc<dyn ObjectStore>,
    log: Arc<SharedLog>,
    place: Place,
    publish: Publish,
    /// Called after the table was read.
    live: ReadLive<L>,
    /// Bytes of memory for a footer.
    footer_limit: u64,
}

impl<L> Publisher<L> {
    /// For the rows of `tenant`, which `live` tells. Footers that would take more than
    /// `footer_limit` bytes once they are parsed are not read.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        log: Arc<SharedLog>,
        tenant: Tenant,
        publish: Publish,
        live: ReadLive<L>,
        footer_limit: u64,
    ) -> Self {
        Self {
            store,
            log,
            place: Place {
                tenant,
                layout: publish.layout,
            },
            publish,
            live,
            footer_limit,
        }
    }

    /// The table and what its readers need.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Refused`] where the table is not one of ours.
    pub async fn followed(&self) -> Result<Followed, L> {
        let mut cache = self.log.0.lock().await;
        let log = log::fetch(&self.store, &self.place.log(), &mut cache).await?;
        let (_, readers) = self.opened(&log, Table::readers).await?;
        Ok(Followed {
            readers,
            keep: self.publish.keep,
            log: self.place.log(),
        })
    }

    /// Brings the table to the live view, from whatever it shows.
    ///
    /// # Errors
    /// [`Error::Refused`] where the table is not one of ours; [`Error::Read`] of the store, and
    /// where what is live cannot be published, with what to do; [`Error::Conflict`] where others
    /// publish without pause; [`Error::Live`].
    pub async fn publish(&self) -> Result<PublishReport, L> {
        let mut report = PublishReport::default();
        let mut cache = self.log.0.lock().await;
        for _ in 0..MAX_ROUNDS {
            let round = match self.read_round(&mut cache).await {
                Ok(round) => round,
                // A file went while its footer was read: there is a newer head.
                Err(Error::Read(ReadError::Gone(_))) => continue,
                Err(e) => return Err(e),
            };
            report.left_out = self.left_out(&round);
            report.table_version = round.table.version().unwrap_or(0);
            if self.write(round, &mut report).await? {
                return Ok(report);
            }
            tracing::info!("another run published first: looking again");
        }
        Err(self.too_often())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> std::result::Result<T, String> + Send + 'static,
    ) -> Result<T, L> {
        let done = tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| ReadError::local("publishing broke off", e))?;
        done.map_err(|why| self.failed(why))
    }

    fn refused(&self, why: &str) -> Error<L> {
        Error::Refused(format!(
            "tenant `{}` cannot be published: {why}. Nothing of the tenant is touched",
            self.place.tenant
        ))
    }

    fn failed(&self, why: impl std::fmt::Display) -> Error<L> {
        ReadError::local(format!("cannot publish `{}`", self.place.tenant), why).into()
    }

    /// Opens the table, and reads `what` of it.
    async fn opened<T: Send + 'static>(
        &self,
        log: &log::Log,
        what: impl FnOnce(&Table) -> std::result::Result<T, String> + Send + 'static,
    ) -> Result<(Table, T), L> {
        let (place, files) = (self.place.clone(), log.files.clone());
        let names_us = files.iter().any(|(_, body)| names_us(body));
        let work = move || {
            let table = Table::open(place, files)?;
            if let Some(why) = table.foreign() {
                return Ok(Err(why));
            }
            let found = what(&table)?;
            Ok(Ok((table, found)))
        };
        let done: std::result::Result<_, String> = tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| ReadError::local("publishing broke off", e))?;
        match done {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(why)) => Err(self.refused(&why)),
            Err(why) if names_us => Err(self.failed(format!(
                "the log of its table, `{0}`, cannot be used ({1}). Remove the folder `{0}` to have \
                 the table made anew: no data file is touched",
                self.place.log(),
                in_short(&why)
            ))),
            // What icepack did not make, nobody here may touch.
            Err(why) => Err(self.refused(&format!(
                "`{}` is the log of a table that cannot be read ({}), and nothing in it says that \
                 icepack made it; move it away",
                self.place.log(),
                in_short(&why)
            ))),
        }
    }

    fn too_often(&self) -> Error<L> {
        Error::Conflict(format!(
            "the table of tenant `{}` was written to {MAX_ROUNDS} times in between",
            self.place.tenant
        ))
    }

    /// Writes the versions of a round; whether nobody came in between.
    async fn write(&self, round: Round, report: &mut PublishReport) -> Result<bool, L> {
        let Round {
            mut table,
            head,
            wanted,
            files,
            fit,
            becomes: mut table_head,
            indexed,
            again,
            partitioned_by,
            steps,
        } = round;
        if table.version().is_none() && fit.columns.is_empty() {
            return Ok(true);
        }
        // What is left out is told in each pass: so there is something left.
        let is_all = fit.left_out.is_empty() && fit.misfits.is_empty();
        let digest = plan::digest(&wanted, self.publish.keep);
        let mut steps = steps.into_iter().peekable();
        while let Some(step) = steps.next() {
            let mut add = Vec::new();
            for key in &step.add {
                if let (Some(wanted), Some(file)) = (wanted.get(key), files.get(key)) {
                    add.push(self.addition(wanted, file, &indexed)?);
                }
            }
            let is_last = steps.peek().is_none();
            let change = Change {
                add,
                remove: step.remove,
                again: again.clone(),
                data_change: step.data_change,
                head: table_head.take(),
                partitioned_by: partitioned_by.clone(),
                manifest: head.as_ref().map_or(0, |m| m.version),
                left: head.as_ref().map_or(0, |m| plan::left(&m.totals)),
                digest: if is_all && is_last { digest } else { 0 },
            };
            let (added, removed) = (
                change.add.len().saturating_sub(again.len()) as u64,
                change.remove.len() as u64,
            );
            match self.put(table, change, report).await? {
                Some(next) => table = next,
                None => return Ok(false),
            }
            report.files_added += added;
            report.files_removed += removed;
        }
        Ok(true)
    }

    fn addition(
        &self,
        wanted: &Wanted,
        file: &NewFile,
        indexed: &BTreeSet<String>,
    ) -> Result<AddFile, L> {
        let partition = partition::of(&self.place.tenant, &file.key)
            .map_err(|folder| self.failed(format!("`{folder}` is no text")))?;
        Ok(AddFile {
            key: file.key.clone(),
            size: wanted.size,
            modified: wanted.modified,
            rows: file.summary.rows,
            partition,
            ranges: columns::ranges(file, indexed),
        })
    }

    /// Writes one version; none where somebody else did.
    async fn put(
        &self,
        mut table: Table,
        change: Change,
        report: &mut PublishReport,
    ) -> Result<Option<Table>, L> {
        let made = move || {
            let file = table.commit(&change)?;
            Ok((table, file))
        };
        let (mut table, file) = self.blocking(made).await?;
        if log::put(&self.store, &self.place.log(), &file).await? == Put::Lost {
            return Ok(None);
        }
        report.commits += 1;
        report.table_version = table.version().unwrap_or(0);
        let made = move || {
            let files = table.checkpoint();
            Ok((table, files))
        };
        let (table, checkpoint) = self.blocking(made).await?;
        if let Err(e) = self.put_checkpoint(checkpoint).await {
            tracing::warn!("the table has its new version, but no checkpoint: {e}");
        }
        Ok(Some(table))
    }

    async fn put_checkpoint(
        &self,
        files: std::result::Result<Vec<table::LogFile>, String>,
    ) -> icepack_parquet::Result<()> {
        let files = files.map_err(|why| ReadError::local("cannot make it", why))?;
        if files.is_empty() {
            return Ok(());
        }
        for file in files {
            log::put_checkpoint(&self.store, &self.place.log(), file).await?;
        }
        // What may be read, and a week in any case, for those who ask what happened.
        let removed = log::prune(
            &self.store,
            &self.place.log(),
            self.publish.keep.max(table::REMEMBERED),
        )
        .await?;
        tracing::debug!(removed, "checkpoint of the table written");
        Ok(())
    }
}

/// Whether a file of a log says that icepack had to do with it.
fn names_us(body: &[u8]) -> bool {
    body.windows(7).any(|word| word == b"icepack")
}

/// The beginning of what a library says: it may go on for pages.
fn in_short(why: &str) -> String {
    let line = why.lines().next().unwrap_or_default();
    let end = line.floor_char_boundary(200);
    let more = if end < line.len() { "…" } else { "" };
    format!("{}{more}", line[..end].trim_end_matches('.'))
}
