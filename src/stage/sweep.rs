//! Deletes what a committed head says may go, and forgets what is gone. Every decision is [`crate::plan::sweep`]'s.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt};

use super::commit::Committer;
use super::litter::Directory;
use super::{discover, store::path};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::model::file::Listed;
use crate::model::manifest::{Manifest, Observed};
use crate::model::names::{self, FileId, Key, Tenant};
use crate::model::policy::Policy;
use crate::model::publish::Followed;
use crate::plan::{publish, sweep};

/// Keys in a bulk delete.
const BULK: usize = 1000;

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweepReport {
    /// Files deleted.
    pub deleted: u64,
    /// Manifests pruned.
    pub pruned: u64,
}

/// A tenant's sweep.
#[derive(Debug)]
pub struct Sweeper<'a> {
    /// The store.
    pub store: &'a Arc<dyn ObjectStore>,
    /// Whose.
    pub tenant: &'a Tenant,
    /// Delays.
    pub policy: &'a Policy,
    /// For `delete_delay`.
    pub clock: &'a dyn Clock,
    /// Commits what was forgotten.
    pub committer: &'a Committer,
    /// The store's own clock, read when the run began.
    pub store_time: DateTime<Utc>,
    /// Where the store is a directory: it, for the files that a killed process was writing.
    pub directory: Option<&'a Directory>,
    /// The table that this run publishes, where it publishes.
    pub table: Option<&'a Followed>,
}

impl Sweeper<'_> {
    /// Deletes retired files and dead orphans, then commits that they are gone. `receipts` are the archive objects whose receipts this run has seen stored.
    ///
    /// # Errors
    /// Of the store, or of the commit. What was not deleted or forgotten is taken up by the next pass: the manifest remembers.
    pub async fn sweep(&self, receipts: &BTreeSet<Key>) -> Result<SweepReport> {
        let mut report = SweepReport::default();
        // Twice at most: raising the floor is a commit, and only what lies below a committed floor may go.
        for _ in 0..2 {
            let Some(head) = discover::head(self.store.as_ref(), self.tenant, 0).await? else { break };
            let mut listing = discover::list(self.store.as_ref(), self.tenant).await?;
            let mut doomed = self.doomed(&head, &listing, receipts);
            if !doomed.is_empty()
                && let Some(log) = self.abandoned(&listing).await?
            {
                tracing::warn!(
                    "`{log}` is the log of a Delta table that this run does not publish: nothing is deleted. Set `publish.delta` and its layout, or remove that folder"
                );
                doomed.clear();
            }
            if !doomed.is_empty() {
                report.deleted += self.delete(&doomed).await?;
                listing = discover::list(self.store.as_ref(), self.tenant).await?;
            }
            let mut unnamed: Vec<FileId> = sweep::orphans(&head, &listing).into_iter().map(|(id, _)| id).collect();
            if let Some(directory) = self.directory {
                unnamed.extend(directory.sweep(self.tenant, &head)?);
            }
            let mut edit = self.committer.edit();
            edit.forget = sweep::forgettable(&head, &listing);
            edit.floor = sweep::next_floor(&head, &unnamed, self.store_time, self.policy.orphan_grace);
            edit.release = sweep::releasable(&head, self.clock.now());
            edit.settle = head.archives.iter().map(|a| a.key.clone()).filter(|k| receipts.contains(k)).collect();
            if edit.is_empty() {
                report.pruned = self.prune(&head).await?;
                break;
            }
            let mut seen = Observed::since(&head);
            seen.listing = Some(listing.into_iter().map(|f| (f.key, f.etag)).collect());
            seen.receipts.clone_from(receipts);
            let raised = edit.floor.is_some();
            let head = self.committer.commit(head, &edit, seen).await?;
            if !raised {
                report.pruned = self.prune(&head).await?;
                break;
            }
        }
        Ok(report)
    }

    /// What may go now.
    fn doomed(&self, head: &Manifest, listing: &[Listed], receipts: &BTreeSet<Key>) -> Vec<Key> {
        let now = self.clock.now();
        let (mut retired, orphans) = (sweep::deletable(head, listing, now, self.policy.delete_delay), sweep::collectable(head, listing));
        let withheld = sweep::withheld(head, receipts);
        retired.retain(|key| !withheld.contains(key.as_str()));
        let Some(Followed { readers, keep, .. }) = self.table else { return retired.into_iter().chain(orphans).collect() };
        let mut doomed = publish::unread(retired, head, readers, *keep, now);
        doomed.extend(publish::unnamed(orphans, readers, *keep, now));
        doomed
    }

    /// A table with files of this tenant that this run does not publish: its readers would find less and less.
    async fn abandoned(&self, listing: &[Listed]) -> Result<Option<Key>> {
        let followed = self.table.map(|t| t.log.as_str());
        let own = format!("{}/{}", self.tenant, names::DELTA_LOG);
        if followed != Some(own.as_str()) && listing.iter().any(|f| f.key.strip_prefix(own.as_str()).is_some_and(|rest| rest.starts_with('/'))) {
            return Ok(Some(own));
        }
        if followed == Some(names::DELTA_LOG) {
            return Ok(None);
        }
        let first = self.store.list(Some(&path(names::DELTA_LOG)?)).next().await;
        match first.transpose() {
            Ok(found) => Ok(found.map(|_| names::DELTA_LOG.to_owned())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(Error::store(format!("cannot list `{}`", names::DELTA_LOG), e)),
        }
    }

    /// Deletes in bulk, and one by one where a store knows no bulk delete.
    async fn delete(&self, keys: &[Key]) -> Result<u64> {
        let mut deleted = 0;
        for chunk in keys.chunks(BULK) {
            let paths = chunk.iter().map(|k| path(k)).collect::<Result<Vec<_>>>()?;
            let gone = |r: &object_store::Result<_>| matches!(r, Ok(_) | Err(object_store::Error::NotFound { .. }));
            let replies: Vec<_> = self.store.delete_stream(stream::iter(paths.clone()).map(Ok).boxed()).collect().await;
            if replies.len() == paths.len() && replies.iter().all(gone) {
                deleted += paths.len() as u64;
                continue;
            }
            if let Some(Err(e)) = replies.iter().find(|r| !gone(r)) {
                tracing::warn!("a bulk delete did not go through, deleting one by one: {e}");
            }
            for p in &paths {
                match self.store.delete(p).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => deleted += 1,
                    Err(e) => return Err(Error::store(format!("cannot delete `{p}`"), e)),
                }
            }
        }
        Ok(deleted)
    }

    /// Removes manifests that nobody needs any more.
    async fn prune(&self, head: &Manifest) -> Result<u64> {
        if head.version <= sweep::KEEP_MANIFESTS {
            return Ok(0);
        }
        let versions = discover::versions(self.store.as_ref(), self.tenant).await?;
        let old = sweep::prunable(head.version, &versions, self.store_time);
        let keys: Vec<Key> = old.iter().map(|v| names::manifest_key(self.tenant, *v)).collect();
        if keys.is_empty() { Ok(0) } else { self.delete(&keys).await }
    }
}
