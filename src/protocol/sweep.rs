//! Deletes what a committed head allows, and forgets what is gone. [`icepack_core::plan::sweep`]
//! makes every decision.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt};

use super::{discover, pages};
use crate::clock::Clock;
use crate::error::{Error, ReadError, Result};
use crate::progress::TOLD;
use crate::protocol::commit::Committer;
use crate::store::path;
use crate::store::staged::StagedFiles;
use icepack_core::model::file::Listed;
use icepack_core::model::inputs::Rules;
use icepack_core::model::manifest::{Manifest, Observed, Reread, Retired, Verdict};
use icepack_core::model::names::{self, FileId, Key, Tenant};
use icepack_core::model::pages::{PageRef, PageSizes};
use icepack_core::model::policy::{Policy, Rewritten};
use icepack_core::model::publish::{Followed, Followers};
use icepack_core::plan::evidence::Evidence;
use icepack_core::plan::intake::{Keep, Taken};
use icepack_core::plan::sweep::RetiredState;
use icepack_core::plan::{paging, publish, sweep};
use icepack_parquet::stats::read_content;

/// Keys in a bulk delete.
const BULK: usize = 1000;

/// Files under retired names that are read at once.
const READS_AT_ONCE: usize = 2;

/// The result of a sweep.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SweepReport {
    pub deleted: u64,
    /// Files that lie under retired names and were found to be others, each with a sentence.
    pub set_aside: Vec<String>,
    /// Files that were uploaded again with the rows that were compacted: they go.
    pub repeated: u64,
    /// Files that lie under retired names with other rows, and were taken in.
    pub appended: u64,
    pub pruned: u64,
}

impl SweepReport {
    /// Enters what `reread` files are by `newer`, the head that was committed on top of `head`.
    fn tell(&mut self, head: &Manifest, newer: &Manifest, reread: &[Reread]) {
        let looked: BTreeSet<&str> = reread.iter().map(|r| r.key.as_str()).collect();
        for r in newer
            .retired
            .iter()
            .filter(|r| looked.contains(r.key.as_str()))
        {
            let file = &r.key;
            let Some(found) = &r.found else {
                if head.swept_name(file).is_some() {
                    tracing::info!(file, "uploaded again with the same rows: it goes");
                    self.repeated += 1;
                }
                continue;
            };
            if found.verdict == Verdict::Append {
                tracing::info!(file, "its name was used before, for other rows: taken in");
                self.appended += 1;
            } else {
                let why = sweep::contested(r, Some(&found.etag));
                tracing::warn!(target: TOLD, file, "set aside, left in place: {why}");
                self.set_aside.push(format!("{file}: {why}"));
            }
        }
    }
}

/// A tenant's sweep.
#[derive(Debug)]
pub struct Sweeper<'a> {
    pub store: &'a Arc<dyn ObjectStore>,
    pub tenant: &'a Tenant,
    /// Delays.
    pub policy: &'a Policy,
    /// For `delete_delay`.
    pub clock: &'a dyn Clock,
    /// Commits what was forgotten.
    pub committer: &'a Committer,
    /// The store's own clock, read when the run began.
    pub store_time: DateTime<Utc>,
    /// The files that a killed process was writing.
    pub staged: &'a StagedFiles,
    /// Who reads what this run publishes.
    pub followers: &'a Followers,
    /// What counts as an input.
    pub rules: &'a Rules,
    /// Bytes of memory for a file that may be anybody's.
    pub file_limit: u64,
    /// How many pages that head does not name may stay.
    pub page_sizes: PageSizes,
}

impl Sweeper<'_> {
    /// Deletes retired files and dead orphans, then commits that they are gone. `receipts` are the
    /// archive objects whose receipts this run has seen stored.
    ///
    /// # Errors
    /// Of the store, or of the commit. What was not deleted or forgotten is taken up by the next
    /// pass: the manifest remembers.
    pub async fn sweep(&self, receipts: &BTreeSet<Key>) -> Result<SweepReport> {
        let mut report = SweepReport::default();
        let mut undeleted = None;
        // Three times at most: raising the floor is a commit, and only what lies below a committed
        // floor may go; so is taking note of what a file under a retired name is. What a
        // hold named may be forgotten once it is released.
        for _ in 0..3 {
            // I3: only a head read afresh says what may go, and only while the store agrees with it.
            let settled = |_: &Manifest, page: &PageRef| paging::is_swept(page);
            let (store, tenant, rules) = (self.store, self.tenant, self.rules);
            let found = discover::evidence(store, tenant, rules, Keep::Known, &settled);
            let evidence = found.await?.evidence;
            let Some(head) = evidence.head() else { break };
            let mut doomed = self.doomed(&evidence, receipts);
            if !doomed.is_empty()
                && let Some(log) = self.abandoned().await?
            {
                tracing::warn!(
                    "`{log}` is the log of a Delta table that this run does not publish: nothing \
                     is deleted. Set `publish.delta` and its layout, or remove that folder"
                );
                doomed.clear();
            }
            let mut listing = evidence.listing().to_vec();
            if !doomed.is_empty() {
                let (deleted, failure) = self.delete(&doomed).await?;
                report.deleted += deleted.len() as u64;
                undeleted = undeleted.or(failure);
                doomed = deleted;
                listing = self.listing(head).await?;
            }
            let deleted: BTreeSet<&str> = doomed.iter().map(String::as_str).collect();
            let orphans = sweep::orphans(head, evidence.listing())
                .into_iter()
                .filter(|(_, f)| !deleted.contains(f.key.as_str()));
            let mut unnamed: Vec<FileId> = orphans.map(|(id, _)| id).collect();
            unnamed.extend(self.old_pages(head, &mut report).await?);
            unnamed.extend(self.staged.sweep(self.tenant, head, self.rules)?);
            let mut seen = Observed::since(head);
            // I1: what is forgotten is gone for certain, or it would be raw again.
            seen.gone = self.gone(head, &listing, &doomed).await?;
            let mut edit = self.committer.edit();
            edit.reread = self.reread(head, &listing).await?;
            edit.forget = sweep::forgettable(head, &listing, &seen.gone);
            edit.floor = sweep::next_floor(
                &evidence,
                &unnamed,
                self.store_time,
                self.policy.orphan_grace,
            );
            edit.release = sweep::releasable(head, self.clock.now());
            edit.settle = head
                .archives
                .iter()
                .map(|a| a.key.clone())
                .filter(|k| receipts.contains(k))
                .collect();
            if edit.is_empty() {
                report.pruned += self.prune(head).await?;
                break;
            }
            seen.listing = Some(
                listing
                    .iter()
                    .map(|f| (f.key.clone(), f.etag.clone()))
                    .collect(),
            );
            seen.receipts.clone_from(receipts);
            let again = edit.floor.is_some() || !edit.reread.is_empty() || !edit.release.is_empty();
            let newer = self.committer.commit(head.clone(), &edit, seen).await?;
            report.tell(head, &newer, &edit.reread);
            if !again {
                report.pruned += self.prune(&newer).await?;
                break;
            }
        }
        undeleted.map_or(Ok(report), Err)
    }

    /// What there is of the tenant that head knows, with our outputs, if nothing of it is somebody
    /// else's by now.
    async fn listing(&self, head: &Manifest) -> Result<Vec<Listed>> {
        let store = self.store.as_ref();
        let taken = discover::take_in(store, self.tenant, Some(head), self.rules, Keep::Known);
        let Taken { listing, left, .. } = taken.await?;
        left.refusal(self.tenant)
            .map_or(Ok(listing), |why| Err(Error::Refused(why)))
    }

    /// What may go now.
    fn doomed(&self, evidence: &Evidence, receipts: &BTreeSet<Key>) -> Vec<Key> {
        let now = self.clock.now();
        // A retired file that is not to be looked at is neither deleted nor forgotten: forgotten,
        // it would be raw once it is looked at again.
        let mut retired = sweep::deletable(evidence, now, self.policy.delete_delay);
        retired.retain(|key| !self.rules.exclude.matches(key));
        let withheld = evidence
            .head()
            .map(|head| sweep::withheld(head, receipts))
            .unwrap_or_default();
        retired.retain(|key| !withheld.contains(key.as_str()));
        let orphans = sweep::collectable(evidence)
            .into_iter()
            .filter(|key| !self.rules.exclude.matches(key))
            .collect::<Vec<_>>();
        // A manifest for readers names no file that no head ever named.
        if let Some(symlinks) = &self.followers.symlinks {
            retired.retain(|key| symlinks.is_unread(key, now));
        }
        let (Some(Followed { readers, keep, .. }), Some(head)) =
            (&self.followers.table, evidence.head())
        else {
            return retired.into_iter().chain(orphans).collect();
        };
        let mut doomed = publish::unread(retired, head, readers, *keep, now);
        doomed.extend(publish::unnamed(orphans, readers, *keep, now));
        doomed
    }

    /// The retired files that are gone for certain: this sweep has deleted them, or the store says
    /// so of each. A listing that does not show one may be late.
    async fn gone(
        &self,
        head: &Manifest,
        listing: &[Listed],
        deleted: &[Key],
    ) -> Result<BTreeSet<Key>> {
        let deleted: BTreeSet<&Key> = deleted.iter().collect();
        let unlisted = sweep::retired_states(head, listing)
            .into_iter()
            .filter(|(_, state)| *state == RetiredState::Unlisted)
            .map(|(r, _)| r.key.clone());
        let ask: Vec<Key> = unlisted.filter(|key| !deleted.contains(key)).collect();
        let gone = discover::gone(self.store, ask).await?;
        Ok(gone
            .into_iter()
            .chain(deleted.into_iter().cloned())
            .collect())
    }

    /// Looks at the files that lie under retired names and do not show the tags that were retired:
    /// a copy of a store changes every tag. And at those that have the names of files that are
    /// gone: writers put a name again.
    async fn reread(&self, head: &Manifest, listing: &[Listed]) -> Result<Vec<Reread>> {
        let append = self.policy.rewritten == Rewritten::Append;
        let unsettled: Vec<_> = sweep::to_read(head, listing, self.policy, self.clock.now())
            .into_iter()
            .filter(|(r, _)| !self.rules.exclude.matches(&r.key))
            .map(|(r, f)| (r.into_owned(), f.clone()))
            .collect();
        let reads = stream::iter(unsettled)
            .map(|(r, f)| reread_one(Arc::clone(self.store), r, f, self.file_limit));
        let found: Vec<Option<Reread>> = reads.buffered(READS_AT_ONCE).try_collect().await?;
        Ok(found
            .into_iter()
            .flatten()
            .map(|found| Reread { append, ..found })
            .collect())
    }

    /// A table of the whole store that this run does not publish: its readers would find less and
    /// less. One in the tenant's own folder is in the listing.
    async fn abandoned(&self) -> Result<Option<Key>> {
        let table = self.followers.table.as_ref();
        let minded = |log: &str| table.is_none_or(|t| t.log != log) && self.rules.sees(log);
        let found = discover::tables_above(self.store.as_ref(), self.tenant, minded).await?;
        Ok(found.into_iter().next())
    }

    /// Deletes in bulk, and one by one where a store knows no bulk delete. One that is locked or
    /// denied keeps no other here: those that went, and why the first did not.
    async fn delete(&self, keys: &[Key]) -> Result<(Vec<Key>, Option<Error>)> {
        let (mut deleted, mut failure) = (Vec::new(), None);
        for chunk in keys.chunks(BULK) {
            let paths = chunk.iter().map(|k| path(k)).collect::<Result<Vec<_>>>()?;
            let gone = |r: &object_store::Result<_>| {
                matches!(r, Ok(_) | Err(object_store::Error::NotFound { .. }))
            };
            let replies: Vec<_> = self
                .store
                .delete_stream(stream::iter(paths.clone()).map(Ok).boxed())
                .collect()
                .await;
            if replies.len() == paths.len() && replies.iter().all(gone) {
                deleted.extend_from_slice(chunk);
                continue;
            }
            if let Some(Err(e)) = replies.iter().find(|r| !gone(r)) {
                tracing::warn!("a bulk delete did not go through, deleting one by one: {e}");
            }
            for (key, p) in chunk.iter().zip(&paths) {
                match self.store.delete(p).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => deleted.push(key.clone()),
                    Err(e) => {
                        let is_its_own = matches!(e, object_store::Error::PermissionDenied { .. });
                        let e = Error::store(format!("cannot delete `{p}`"), e);
                        if !is_its_own {
                            return Err(e);
                        }
                        failure.get_or_insert(e);
                    }
                }
            }
        }
        Ok((deleted, failure))
    }

    /// Deletes pages that no manifest will ever name, and gives the ids of others that head does
    /// not name. Nothing is done before there are many of them: the floor that lets them go is a
    /// commit.
    async fn old_pages(&self, head: &Manifest, report: &mut SweepReport) -> Result<Vec<FileId>> {
        let named = head.pages.all().len();
        if named == 0 {
            return Ok(Vec::new());
        }
        let unnamed = pages::unnamed(self.store.as_ref(), head).await?;
        if unnamed.len() <= self.page_sizes.unnamed + named / 4 {
            return Ok(Vec::new());
        }
        // I3: above the floor, a page may be another run's that it is about to name.
        let (dead, others): (Vec<_>, Vec<_>) =
            unnamed.into_iter().partition(|(id, _)| *id < head.floor);
        let keys: Vec<Key> = dead.into_iter().map(|(_, key)| key).collect();
        let (deleted, failure) = self.delete(&keys).await?;
        report.pruned += deleted.len() as u64;
        match failure {
            Some(e) => Err(e),
            None => Ok(others.into_iter().map(|(id, _)| id).collect()),
        }
    }

    /// Removes manifests that nobody needs any more.
    async fn prune(&self, head: &Manifest) -> Result<u64> {
        if head.version <= sweep::KEEP_MANIFESTS {
            return Ok(0);
        }
        let versions = discover::versions(self.store.as_ref(), self.tenant).await?;
        let old = sweep::prunable(head.version, &versions, self.store_time);
        let keys: Vec<Key> = old
            .iter()
            .map(|v| names::manifest_key(self.tenant, *v))
            .collect();
        if keys.is_empty() {
            return Ok(0);
        }
        let (deleted, failure) = self.delete(&keys).await?;
        failure.map_or(Ok(deleted.len() as u64), Err)
    }
}

/// What lies under the name of `retired`; none where it changed or went away just now.
async fn reread_one(
    store: Arc<dyn ObjectStore>,
    retired: Retired,
    found: Listed,
    limit: u64,
) -> Result<Option<Reread>> {
    let Listed {
        key, size, etag, ..
    } = found;
    let unread = |etag| Reread {
        key: key.clone(),
        size,
        etag,
        rows: None,
        fingerprint: None,
        append: false,
    };
    // With nothing to compare them with, its rows say nothing.
    if retired.content().is_none() {
        return Ok(Some(unread(etag)));
    }
    let rows = retired.fingerprint.map(|_| retired.rows);
    match read_content(store, key.clone(), size, rows, limit).await {
        Ok((rows, fingerprint, etag)) => Ok(Some(Reread {
            rows: Some(rows),
            fingerprint,
            ..unread(etag)
        })),
        Err(ReadError::Input { etag, .. }) => Ok(Some(unread(etag))),
        Err(ReadError::Gone(_)) => Ok(None),
        Err(e) => Err(e.into()),
    }
}
