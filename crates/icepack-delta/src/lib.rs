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
mod paths;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::Field;
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use object_store::ObjectStore;

use columns::{Fit, NewFile, Rules};
use icepack_core::model::manifest::Manifest;
use icepack_core::model::names::{Key, Tenant};
use icepack_core::model::partition;
use icepack_core::model::plan::Inventory;
use icepack_core::model::publish::{
    Followed, Layout, Place, Publish, PublishReport, Published, TENANT_COLUMN,
};
use icepack_core::plan::publish::{self as plan, FolderColumns, Obstacle, Step, Wanted};
use icepack_parquet::source::fetch_footer;
use icepack_parquet::summary::summarise;
use icepack_parquet::{Error as ReadError, Unread};
use log::Put;
use table::{AddFile, Change, Table, TableHead};

/// Somebody else publishes every time.
const MAX_ROUNDS: usize = 16;

/// Footers read at once.
const FOOTERS_AT_ONCE: usize = 8;

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

/// Publishes one tenant.
pub struct Publisher<L> {
    store: Arc<dyn ObjectStore>,
    place: Place,
    publish: Publish,
    /// Called after the table was read.
    live: ReadLive<L>,
    /// Bytes of memory for a footer.
    footer_limit: u64,
}

/// A table and what it is to become.
struct Round {
    table: Table,
    head: Option<Manifest>,
    wanted: BTreeMap<Key, Wanted>,
    files: BTreeMap<Key, NewFile>,
    fit: Fit,
    /// What the table says of itself from now on, where that is new.
    becomes: Option<TableHead>,
    /// The columns whose bounds readers look at.
    indexed: BTreeSet<String>,
    /// Files that the table has and is told of anew.
    again: BTreeSet<Key>,
    /// The columns that folders give.
    partitioned_by: Vec<String>,
    steps: Vec<Step>,
}

/// What there is to publish, and what the table says of it.
struct Seen<'a> {
    wanted: &'a BTreeMap<Key, Wanted>,
    published: &'a Published,
    /// Of the table; none where there is none yet.
    known: Option<&'a TableHead>,
    local_times: bool,
}

/// Footers, and the files that have none that can be read, with why.
type Footers = (Vec<NewFile>, BTreeMap<Key, String>);

impl<L> Publisher<L> {
    /// For the rows of `tenant`, which `live` tells. Footers that would take more than
    /// `footer_limit` bytes once they are parsed are not read.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        tenant: Tenant,
        publish: Publish,
        live: ReadLive<L>,
        footer_limit: u64,
    ) -> Self {
        Self {
            store,
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
        let log = log::fetch(&self.store, &self.place.log()).await?;
        let place = self.place.clone();
        let known = move || {
            let table = Table::open(place, log)?;
            table
                .foreign()
                .map_or_else(|| table.readers().map(Ok), |why| Ok(Err(why)))
        };
        let readers = self
            .blocking(known)
            .await?
            .map_err(|why| self.refused(&why))?;
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
        for _ in 0..MAX_ROUNDS {
            let round = match self.read_round().await {
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
        Err(Error::Conflict(format!(
            "the table of tenant `{}` was written to {MAX_ROUNDS} times in between",
            self.place.tenant
        )))
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

    /// Reads the table, then head and the listing, then the footers of what is new.
    async fn read_round(&self) -> Result<Round, L> {
        let log = log::fetch(&self.store, &self.place.log()).await?;
        let place = self.place.clone();
        let known = move || {
            let table = Table::open(place, log)?;
            if let Some(why) = table.foreign() {
                return Ok(Err(why));
            }
            let (published, known) = (table.published()?, table.head()?);
            Ok(Ok((table, published, known)))
        };
        let (table, published, known) = self
            .blocking(known)
            .await?
            .map_err(|why| self.refused(&why))?;
        let inventory = (self.live)().await.map_err(Error::Live)?;
        let mut wanted =
            plan::wanted(&self.place.tenant, &inventory).map_err(|e| self.failed(e))?;
        let folders =
            plan::folder_columns(&self.place.tenant, &wanted).map_err(|e| self.failed(e))?;
        if let Some(folders) = &folders {
            self.check(folders, &table).map_err(|e| self.failed(e))?;
        }
        let seen = Seen {
            wanted: &wanted,
            published: &published,
            known: known.as_ref(),
            local_times: table.supports_local_times(),
        };
        let (fit, files, is_anew) = self.fitted(&seen).await?;
        if let Some(folders) = &folders {
            for file in &files {
                let columns = file.summary.schema.fields().iter();
                folders
                    .are_none_of(&file.key, columns.map(|c| c.name().as_str()))
                    .map_err(|e| self.failed(e))?;
            }
        }
        wanted.retain(|key, _| !fit.misfits.contains_key(key));
        let head = inventory.head.as_ref();
        let (mut steps, mut again) = (
            plan::steps(head, &wanted, &published).map_err(|e| self.failed(e))?,
            BTreeSet::new(),
        );
        if is_anew {
            let has = plan::missing(&wanted, &published);
            again = wanted
                .keys()
                .filter(|key| !has.contains(*key))
                .cloned()
                .collect();
            steps = vec![plan::anew(&wanted, &published)];
        }
        let becomes = self.becomes(&fit, &files, known.as_ref(), is_anew);
        if becomes.is_some() && steps.is_empty() && known.is_some() {
            steps = vec![Step::default()];
        }
        let now = becomes.as_ref().or(known.as_ref());
        let indexed = now
            .and_then(|head| head.indexed.clone())
            .unwrap_or_default();
        let files = files.into_iter().map(|f| (f.key.clone(), f)).collect();
        Ok(Round {
            table,
            head: inventory.head,
            wanted,
            files,
            fit,
            becomes,
            indexed: indexed.into_iter().collect(),
            again,
            partitioned_by: folders.map(|f| f.names().to_vec()).unwrap_or_default(),
            steps,
        })
    }

    /// A name that no column may have.
    fn reserved(&self) -> Option<&'static str> {
        (self.place.layout == Layout::Shared).then_some(TENANT_COLUMN)
    }

    /// Which columns the table can have, with the footers that say so. Where a column would leave
    /// it, all of its files are asked: perhaps those that did not agree are going. Then the table is
    /// told of all its files anew. Of other tenants' files nothing is known.
    async fn fitted(&self, seen: &Seen<'_>) -> Result<(Fit, Vec<NewFile>, bool), L> {
        let new = plan::missing(seen.wanted, seen.published);
        let (files, unread) = self.footers(seen, new).await?;
        let none = BTreeMap::new();
        let rules = Rules {
            columns: seen.known.map_or(&[], |known| &known.columns),
            left_out: seen.known.map_or(&none, |known| &known.left_out),
            local_times: seen.local_times,
            reserved: self.reserved(),
        };
        let mut fit = columns::fit(rules, &files);
        let stays = |c: &Field| fit.columns.iter().any(|now| now.name() == c.name());
        if rules.columns.iter().all(stays) || self.place.layout == Layout::Shared {
            fit.misfits.extend(unread);
            return Ok((fit, files, false));
        }
        let read: BTreeSet<&Key> = files.iter().map(|f| &f.key).chain(unread.keys()).collect();
        let others = seen.wanted.keys().filter(|key| !read.contains(key));
        let (mut all, more) = self.footers(seen, others.cloned().collect()).await?;
        all.extend(files);
        for file in &mut all {
            file.is_firm |= seen.published.files.contains_key(&file.key);
        }
        let rules = Rules {
            columns: &[],
            left_out: &none,
            ..rules
        };
        let mut fit = columns::fit(rules, &all);
        fit.misfits.extend(unread);
        fit.misfits.extend(more);
        Ok((fit, all, true))
    }

    /// What the table says of itself from now on; none where that is what it says.
    fn becomes(
        &self,
        fit: &Fit,
        files: &[NewFile],
        known: Option<&TableHead>,
        is_anew: bool,
    ) -> Option<TableHead> {
        let known = known.cloned();
        let indexed = match &known {
            Some(known) if !is_anew => {
                let names = known.indexed.clone().unwrap_or_default();
                let is_there = |name: &String| fit.columns.iter().any(|c| c.name() == name);
                names.into_iter().filter(is_there).collect()
            }
            _ => columns::indexed(fit, files),
        };
        let remembered = known.as_ref().map_or(table::REMEMBERED, |k| k.remembered);
        let becomes = TableHead {
            columns: fit.columns.clone(),
            left_out: fit.left_out.clone(),
            indexed: Some(indexed),
            remembered: remembered.max(self.publish.keep),
        };
        (known.as_ref() != Some(&becomes)).then_some(becomes)
    }

    /// Whether the table can be, or is, partitioned by the columns of `folders`.
    fn check(&self, folders: &FolderColumns, table: &Table) -> std::result::Result<(), Obstacle> {
        for name in folders.names() {
            if let Some(why) = columns::unusable(self.reserved(), name) {
                return Err(folders.obstacle(format!("gives the column `{name}`: {why}")));
            }
        }
        table
            .folder_columns()
            .map_or(Ok(()), |table| folders.are(&table, self.place.log()))
    }

    /// Footers, with one ranged GET each; and why those of others cannot be read.
    ///
    /// # Errors
    /// Where a snapshot's cannot: its rows would be in no version.
    async fn footers(&self, seen: &Seen<'_>, keys: BTreeSet<Key>) -> Result<Footers, L> {
        let asked: Option<BTreeSet<String>> = seen
            .known
            .map(|known| known.indexed.iter().flatten().cloned().collect());
        let asked = asked.as_ref();
        let reads = keys.into_iter().map(|key| {
            let wanted = seen.wanted.get(&key).copied();
            async move {
                let read = self.footer(&key, wanted, asked).await;
                (key, read)
            }
        });
        let (mut files, mut unread) = (Vec::new(), BTreeMap::new());
        for (key, read) in stream::iter(reads)
            .buffered(FOOTERS_AT_ONCE)
            .collect::<Vec<_>>()
            .await
        {
            let is_raw = seen.wanted.get(&key).is_some_and(|w| w.rows.is_none());
            match read {
                Ok(file) => files.push(file),
                Err(ReadError::Input { reason, .. }) if is_raw => drop(unread.insert(key, reason)),
                Err(ReadError::Input { reason, .. }) => {
                    return Err(self.failed(format!("`{key}`: {reason}")));
                }
                // A raw file that nobody can read now must not keep the tenant's other rows from
                // the table.
                Err(e) if is_raw && e.unread().is_some_and(|(why, _)| why != Unread::Gone) => {
                    drop(unread.insert(key, e.to_string()));
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok((files, unread))
    }

    async fn footer(
        &self,
        key: &str,
        wanted: Option<Wanted>,
        asked: Option<&BTreeSet<String>>,
    ) -> icepack_parquet::Result<NewFile> {
        let (ident, tail) = fetch_footer(self.store.as_ref(), key, self.footer_limit).await?;
        let is_snapshot = wanted.is_some_and(|w| w.rows.is_some());
        if wanted.is_none_or(|w| w.size != ident.size) {
            let unread = if is_snapshot {
                ReadError::Gone
            } else {
                ReadError::Changed
            };
            return Err(unread(key.to_owned()));
        }
        let (limit, key, asked) = (self.footer_limit, key.to_owned(), asked.cloned());
        let work = move || {
            summarise(&tail, ident.size, limit, asked.as_ref()).map_err(|why| ident.bad(why))
        };
        let summary = tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| ReadError::local("cannot read a footer", e))??;
        Ok(NewFile {
            key,
            summary,
            is_firm: is_snapshot,
        })
    }

    /// What the table does not have, for people.
    fn left_out(&self, round: &Round) -> Vec<String> {
        let columns = round
            .fit
            .left_out
            .iter()
            .map(|(name, why)| format!("column `{name}`: {why}"));
        let files = round
            .fit
            .misfits
            .iter()
            .map(|(key, why)| format!("`{key}`, until it is compacted: {why}"));
        columns
            .chain(files)
            .inspect(|what| tracing::warn!("not published: {what}"))
            .collect()
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
        for step in steps {
            let mut add = Vec::new();
            for key in &step.add {
                if let (Some(wanted), Some(file)) = (wanted.get(key), files.get(key)) {
                    add.push(self.addition(wanted, file, &indexed)?);
                }
            }
            let change = Change {
                add,
                remove: step.remove,
                again: again.clone(),
                data_change: step.data_change,
                head: table_head.take(),
                partitioned_by: partitioned_by.clone(),
                manifest: head.as_ref().map_or(0, |m| m.version),
                left: head.as_ref().map_or(0, |m| plan::left(&m.totals)),
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
            ranges: columns::ranges(&file.summary, indexed),
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
