//! What a table lacks, and what it is to become.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::Field;
use futures::{StreamExt, stream};

use icepack_core::model::manifest::Manifest;
use icepack_core::model::names::Key;
use icepack_core::model::publish::{Layout, Published, TENANT_COLUMN};
use icepack_core::plan::publish::{self as plan, FolderColumns, Obstacle, Step, Wanted};
use icepack_parquet::source::fetch_footer;
use icepack_parquet::summary::summarise;
use icepack_parquet::{Error as ReadError, Unread};

use super::columns::{self, Fit, NewFile, Rules};
use super::table::{self, Table, TableHead};
use super::{Error, Publisher, Result, log};

/// Footers read at once.
const FOOTERS_AT_ONCE: usize = 8;

/// A table and what it is to become.
pub struct Round {
    pub table: Table,
    pub head: Option<Manifest>,
    pub wanted: BTreeMap<Key, Wanted>,
    pub files: BTreeMap<Key, NewFile>,
    pub fit: Fit,
    /// What the table says of itself from now on, where that is new.
    pub becomes: Option<TableHead>,
    /// The columns whose bounds readers look at.
    pub indexed: BTreeSet<String>,
    /// Files that the table has and is told of anew.
    pub again: BTreeSet<Key>,
    /// The columns that folders give.
    pub partitioned_by: Vec<String>,
    pub steps: Vec<Step>,
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
    /// Reads the table, then head and the listing, then the footers of what is new.
    pub(super) async fn read_round(&self, cache: &mut log::Cache) -> Result<Round, L> {
        let log = log::fetch(&self.store, &self.place.log(), cache).await?;
        log::mend_hint(&self.store, &self.place.log(), &log).await?;
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
        self.check_columns(folders.as_ref(), &files)
            .map_err(|e| self.failed(e))?;
        wanted.retain(|key, _| !fit.misfits.contains_key(key));
        let becomes = self.becomes(&fit, &files, known.as_ref(), is_anew);
        let head = inventory.head.as_ref();
        let new = plan::missing(&wanted, &published);
        let again = wanted.keys().filter(|key| is_anew && !new.contains(*key));
        let again = again.cloned().collect();
        let steps = plan::steps(head, &wanted, &published).map_err(|e| self.failed(e))?;
        let steps = if is_anew {
            vec![plan::anew(&wanted, &published)]
        } else if steps.is_empty() && becomes.is_some() && known.is_some() {
            vec![Step::default()]
        } else {
            steps
        };
        let now = becomes.as_ref().or(known.as_ref());
        let indexed = now.and_then(|head| head.indexed.clone());
        Ok(Round {
            table,
            head: inventory.head,
            wanted,
            files: files.into_iter().map(|f| (f.key.clone(), f)).collect(),
            fit,
            becomes,
            indexed: indexed.into_iter().flatten().collect(),
            again,
            partitioned_by: folders.map(|f| f.names().to_vec()).unwrap_or_default(),
            steps,
        })
    }

    /// That no file has a column that its folder gives.
    fn check_columns(
        &self,
        folders: Option<&FolderColumns>,
        files: &[NewFile],
    ) -> std::result::Result<(), Obstacle> {
        for (folders, file) in folders
            .iter()
            .flat_map(|f| files.iter().map(move |file| (f, file)))
        {
            let columns = file.summary.schema.fields().iter();
            folders.are_none_of(&file.key, columns.map(|c| c.name().as_str()))?;
        }
        Ok(())
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
                // Its rows are known, and readers do without the rest.
                Err(e) if !is_raw && e.is_footer_too_large() => {
                    let rows = seen.wanted.get(&key).and_then(|w| w.rows);
                    files.push(NewFile::unknown(key, rows.unwrap_or_default()));
                }
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
            is_unknown: false,
        })
    }

    /// What the table does not have, for people.
    pub(super) fn left_out(&self, round: &Round) -> Vec<String> {
        let columns = round
            .fit
            .left_out
            .iter()
            .map(|(name, why)| format!("column `{name}`: {why}"));
        let files = round.fit.misfits.iter().map(|(key, why)| {
            // What nobody can read is not compacted either.
            let is_read = round.files.contains_key(key);
            let until = if is_read {
                ", until it is compacted"
            } else {
                ""
            };
            format!("`{key}`{until}: {why}")
        });
        let unknown = round.files.values().filter(|f| f.is_unknown);
        let unknown = unknown.map(|f| {
            format!(
                "bounds of `{}`, whose footer is too large to be read: raise `memory_limit`",
                f.key
            )
        });
        columns
            .chain(files)
            .chain(unknown)
            .inspect(|what| tracing::warn!("not published: {what}"))
            .collect()
    }
}
