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
mod stranger;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::Field;
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use object_store::ObjectStore;

use columns::{Fit, NewFile, Rules};
use icepack_core::model::manifest::Manifest;
use icepack_core::model::names::{DELTA_LOG, Key, Tenant};
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

    /// That nobody else has taken files out of the table that are still there.
    async fn check_strangers(&self, log: &log::Log, inventory: &Inventory) -> Result<(), L> {
        let strangers = log::strangers(&self.store, &self.place.log(), log).await?;
        let prefix = self.place.prefix();
        let there: BTreeSet<&str> = inventory.listing.iter().map(|f| f.key.as_str()).collect();
        for stranger in strangers.iter().rev() {
            let (mut kept, mut first) = (0, None);
            for path in &stranger.removed {
                let key = format!("{prefix}{path}");
                // A file that is gone may leave the table: that mends it.
                if there.contains(key.as_str())
                    || (!self.place.tenant.owns(&key) && log::exists(&self.store, &key).await?)
                {
                    kept += 1;
                    first.get_or_insert(path);
                }
            }
            let Some(first) = first else { continue };
            let added = stranger.added.first().map_or(String::new(), |first| {
                format!(
                    ", and put in {} (first `{prefix}{first}`)",
                    files(stranger.added.len())
                )
            });
            return Err(self.refused(&format!(
                "version {} of its table, {}, took out {} that icepack keeps (first \
                 `{prefix}{first}`){added}. To undo it, move what it put in out of the store, \
                 remove `{}/` and run again: the table is made anew. To keep it, copy what the \
                 table shows to another place first",
                stranger.version,
                stranger.name,
                files(kept),
                self.place.log()
            )));
        }
        Ok(())
    }

    /// That the table is one of ours, and shows what icepack keeps.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn check(&self) -> Result<(), L> {
        let mut cache = self.log.0.lock().await;
        let log = log::fetch(&self.store, &self.place.log(), &mut cache).await?;
        if log.files.is_empty() {
            return Ok(());
        }
        self.opened(&log, |_| Ok(())).await?;
        let inventory = (self.live)().await.map_err(Error::Live)?;
        self.check_strangers(&log, &inventory).await
    }

    /// Whether the table is known to show `inventory`, so that there is nothing to publish: by its
    /// newest version alone, which costs a LIST and a GET; in a shared table, by what was read of it
    /// before, too. Anything that goes wrong says no: whoever publishes finds out.
    pub async fn is_current(&self, inventory: &Inventory) -> bool {
        let Ok(wanted) = plan::wanted(&self.place.tenant, inventory) else {
            return false;
        };
        let digest = plan::digest(&wanted, self.publish.keep);
        let apps = [
            table::app_digest(&self.place),
            table::app_manifest(&self.place),
        ];
        let found = match self.place.layout {
            Layout::PerTenant => match log::newest(&self.store, &self.place.log()).await {
                Ok(Some(newest)) => apps.map(|id| stranger::application(&newest, &id)),
                _ => return false,
            },
            Layout::Shared => {
                let mut cache = self.log.0.lock().await;
                let folder = self.place.log();
                let Ok(log) = log::fetch(&self.store, &folder, &mut cache).await else {
                    return false;
                };
                match log::strangers(&self.store, &folder, &log).await {
                    Ok(strangers) if strangers.is_empty() => {}
                    _ => return false,
                }
                let ask = move |table: &Table| {
                    Ok([table.application(&apps[0])?, table.application(&apps[1])?])
                };
                match self.opened(&log, ask).await {
                    Ok((_, found)) => found,
                    Err(_) => return false,
                }
            }
        };
        let [known, manifest] = found;
        let head = inventory.head.as_ref();
        // What head retired may go only once no head before it can be published.
        let is_newest = head.is_none_or(|m| m.retired.is_empty() || manifest == Some(m.version));
        is_newest && known == Some(digest)
    }

    /// Takes a tenant that is no more out of a shared table: its files are gone, and readers of the
    /// other tenants would fail at them.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn leave(&self) -> Result<PublishReport, L> {
        let mut report = PublishReport::default();
        let mut cache = self.log.0.lock().await;
        for _ in 0..MAX_ROUNDS {
            let log = log::fetch(&self.store, &self.place.log(), &mut cache).await?;
            let strangers = log::strangers(&self.store, &self.place.log(), &log).await?;
            if strangers.iter().any(|s| !s.removed.is_empty()) {
                // Those who look at it refuse, and must not find a version of ours on top.
                return Ok(report);
            }
            let (table, published) = self.opened(&log, Table::published).await?;
            let change = Change {
                remove: published.files.into_keys().collect(),
                data_change: true,
                ..Change::default()
            };
            if change.remove.is_empty() {
                return Ok(report);
            }
            let removed = change.remove.len() as u64;
            if self.put(table, change, &mut report).await?.is_some() {
                report.files_removed += removed;
                return Ok(report);
            }
        }
        Err(self.too_often())
    }

    fn too_often(&self) -> Error<L> {
        Error::Conflict(format!(
            "the table of tenant `{}` was written to {MAX_ROUNDS} times in between",
            self.place.tenant
        ))
    }

    /// Reads the table, then head and the listing, then the footers of what is new.
    async fn read_round(&self, cache: &mut log::Cache) -> Result<Round, L> {
        let log = log::fetch(&self.store, &self.place.log(), cache).await?;
        let read = |table: &Table| Ok((table.published()?, table.head()?));
        let (table, (published, known)) = self.opened(&log, read).await?;
        let inventory = (self.live)().await.map_err(Error::Live)?;
        self.check_strangers(&log, &inventory).await?;
        let mut wanted =
            plan::wanted(&self.place.tenant, &inventory).map_err(|e| self.failed(e))?;
        let folders =
            plan::folder_columns(&self.place.tenant, &wanted).map_err(|e| self.failed(e))?;
        if let Some(folders) = &folders {
            self.check_folders(folders, &table)
                .map_err(|e| self.failed(e))?;
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
    fn check_folders(
        &self,
        folders: &FolderColumns,
        table: &Table,
    ) -> std::result::Result<(), Obstacle> {
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

/// Whether a file of a log says that icepack had to do with it.
fn names_us(body: &[u8]) -> bool {
    body.windows(7).any(|word| word == b"icepack")
}

/// `1 file`, `3 files`.
fn files(n: usize) -> String {
    if n == 1 {
        "1 file".to_owned()
    } else {
        format!("{n} files")
    }
}

/// The beginning of what a library says: it may go on for pages.
fn in_short(why: &str) -> String {
    let line = why.lines().next().unwrap_or_default();
    let end = line.floor_char_boundary(200);
    let more = if end < line.len() { "…" } else { "" };
    format!("{}{more}", line[..end].trim_end_matches('.'))
}

/// The tenants whose files a shared table names, as far as `tenant_of` knows them.
///
/// # Errors
/// Of the store; where the table cannot be read, in a sentence.
pub async fn tenants(
    store: &Arc<dyn ObjectStore>,
    log: &SharedLog,
    tenant_of: impl Fn(&str) -> Option<Tenant>,
) -> icepack_parquet::Result<BTreeSet<Tenant>> {
    let mut cache = log.0.lock().await;
    let found = log::fetch(store, DELTA_LOG, &mut cache).await?;
    // The table is the same, whoever asks.
    let Some(place) = Tenant::parse("all").ok().map(|tenant| Place {
        tenant,
        layout: Layout::Shared,
    }) else {
        return Ok(BTreeSet::new());
    };
    let work = move || {
        let table = Table::open(place, found.files)?;
        if table.foreign().is_some() {
            return Ok(Vec::new());
        }
        table.all_files()
    };
    let failed = |why| ReadError::local("cannot read the shared table", why);
    let files = tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| ReadError::local("cannot read the shared table", e))?
        .map_err(failed)?;
    Ok(files.iter().filter_map(|key| tenant_of(key)).collect())
}
