//! Commits: conditional puts of manifests, each settled by reading back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::{discover, pages};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::store::path;
use crate::store::retry::Retryable;
use icepack_core::model::manifest::{Edit, Manifest, Observed, Stamp};
use icepack_core::model::names::{self, FileId, FileKind, Key, Tenant};
use icepack_core::model::pages::PageSizes;
use icepack_core::plan::commit::{Conflict, apply};

/// Somebody wins every round, so this bounds a run's patience, not the system's progress.
const MAX_REBASES: usize = 64;

/// Puts of one version whose replies say nothing.
const MAX_PUTS: u32 = 6;

/// Inputs looked at at once after a rebase.
const HEADS_AT_ONCE: usize = 16;

/// Commits for one tenant.
#[derive(Debug, Clone)]
pub struct Committer {
    store: Arc<dyn ObjectStore>,
    tenant: Tenant,
    clock: Arc<dyn Clock>,
    run_id: FileId,
    page_sizes: PageSizes,
}

enum Put {
    Won,
    Lost,
}

impl Committer {
    /// Commits by `run_id` to `tenant`'s manifests.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        tenant: Tenant,
        clock: Arc<dyn Clock>,
        run_id: FileId,
    ) -> Self {
        Self {
            store,
            tenant,
            clock,
            run_id,
            page_sizes: PageSizes::default(),
        }
    }

    /// With other sizes of pages.
    #[must_use]
    pub fn with_page_sizes(self, page_sizes: PageSizes) -> Self {
        Self { page_sizes, ..self }
    }

    /// Head as it is now, without its pages.
    ///
    /// # Errors
    /// As [`discover::bare_head`].
    pub async fn bare_head(&self) -> Result<Option<Manifest>> {
        discover::bare_head(self.store.as_ref(), &self.tenant, 0).await
    }

    /// Head as it is now, with the pages of the folders that `known` has read, and those of `keys`.
    ///
    /// # Errors
    /// As [`discover::head`].
    pub async fn head_like(
        &self,
        known: &Manifest,
        keys: &[&str],
        at_least: u64,
    ) -> Result<Option<Manifest>> {
        let store = self.store.as_ref();
        discover::head_with(store, &self.tenant, at_least, |head| {
            let own = keys.iter().filter_map(|key| head.pages.unread_of(key));
            own.chain(head.pages.read_by(&known.pages)).collect()
        })
        .await
    }

    /// The tenant whose manifests they are.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// An edit of this run that changes nothing yet.
    pub fn edit(&self) -> Edit {
        Edit::new(self.run_id, self.clock.mint(FileId::NIL))
    }

    /// Commits the first manifest, or finds that somebody else did.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub async fn begin(&self) -> Result<Manifest> {
        let mut first = Manifest::first(
            self.tenant.clone(),
            self.stamp(self.clock.mint(FileId::NIL)),
        );
        if let Put::Won = self.put(&mut first).await? {
            self.check_not_superseded(&first).await?;
            return Ok(first);
        }
        let head = discover::head(self.store.as_ref(), &self.tenant, first.version).await?;
        head.ok_or_else(|| {
            Error::Conflict(format!(
                "the first manifest of tenant `{}` came and went",
                self.tenant
            ))
        })
    }

    /// Commits `edit` on top of `head`, or on top of whatever head has become if it still fits
    /// there.
    ///
    /// `seen` must have been observed after `head` was read.
    ///
    /// # Errors
    /// [`Error::Conflict`] where it does not fit: nothing happened, the outputs are orphans that
    /// the floor collects. [`Error::Unknown`] where it cannot be found out: the caller must not
    /// delete or conclude anything. [`Error::Refused`] where the edit contradicts itself.
    pub async fn commit(
        &self,
        mut head: Manifest,
        edit: &Edit,
        mut seen: Observed,
    ) -> Result<Manifest> {
        for _ in 0..MAX_REBASES {
            self.read_pages_of(&mut head, edit).await?;
            let mut next = apply(&head, edit, &seen, self.stamp(edit.commit_id))
                .map_err(|c| self.conflict(&c))?;
            match self.put(&mut next).await? {
                Put::Won => {
                    self.check_not_superseded(&next).await?;
                    return Ok(next);
                }
                Put::Lost => {
                    tracing::info!(
                        version = next.version,
                        "another run committed first: rebasing"
                    );
                    let keys: Vec<&str> = edit.keys().collect();
                    let newer = self.head_like(&head, &keys, next.version).await?;
                    head =
                        newer.ok_or_else(|| self.unknown(next.version, "no manifest is left"))?;
                    seen = self.observe(&head, edit, seen).await?;
                }
            }
        }
        Err(Error::Conflict(format!(
            "other runs committed to tenant `{}` {MAX_REBASES} times in between",
            self.tenant
        )))
    }

    /// Reads what head says of the files of `edit`, where that was not read yet. Where a page is
    /// not there any more, another run has committed, and the put of the manifest will find it out.
    async fn read_pages_of(&self, head: &mut Manifest, edit: &Edit) -> Result<()> {
        let pages = &head.pages;
        let wanted: BTreeSet<FileId> = edit.keys().filter_map(|k| pages.unread_of(k)).collect();
        if wanted.is_empty() || pages::read(self.store.as_ref(), head, &wanted).await? {
            return Ok(());
        }
        let newest = self.bare_head().await?;
        if newest.is_some_and(|newest| newest.version > head.version) {
            return Err(Error::Conflict(format!(
                "tenant `{}`: another run committed, and the pages of version {} went",
                self.tenant, head.version
            )));
        }
        Err(pages::lost(head))
    }

    fn stamp(&self, commit_id: FileId) -> Stamp {
        Stamp {
            run_id: self.run_id,
            commit_id,
            at: self.clock.now(),
        }
    }

    fn conflict(&self, c: &Conflict) -> Error {
        if c.is_internal() {
            return Error::Refused(format!(
                "a commit to tenant `{}` was not made: {c}; please report this",
                self.tenant
            ));
        }
        Error::Conflict(format!("tenant `{}`: {c}", self.tenant))
    }

    fn unknown(&self, version: u64, why: impl std::fmt::Display) -> Error {
        Error::Unknown {
            tenant: self.tenant.to_string(),
            version,
            why: why.to_string(),
        }
    }

    /// Puts a version that must not exist yet. Every reply but a plain success is settled by
    /// reading the version back: `already exists` may speak of our own put whose reply was
    /// lost, 409 may mean that nobody won, an error may hide a success.
    async fn put(&self, next: &mut Manifest) -> Result<Put> {
        let key = path(&names::manifest_key(&self.tenant, next.version))?;
        let failed = |e| Error::local("cannot write the manifest as JSON", e);
        // I2: a page is there before a manifest names it. Its id is above the floor, so that nobody
        // collects it in between. If this put loses, no manifest ever names it.
        let floor = next.floor;
        let new = next
            .divide(self.page_sizes, || self.clock.mint(floor))
            .map_err(failed)?;
        pages::write(&self.store, &self.tenant, new).await?;
        let body = next.document().map_err(failed)?;
        let payload = PutPayload::from(body);
        let mut last = String::new();
        for attempt in 0..MAX_PUTS {
            // I4: of two runs that put one version, the store lets one win.
            let options = PutOptions {
                mode: PutMode::Create,
                ..PutOptions::default()
            };
            let Err(e) = self.store.put_opts(&key, payload.clone(), options).await else {
                return Ok(Put::Won);
            };
            match discover::read_version(self.store.as_ref(), &self.tenant, next.version).await {
                Ok(Some(found)) if found.commit_id == next.commit_id => return Ok(Put::Won),
                Ok(Some(_)) => return Ok(Put::Lost),
                Ok(None) if is_final(&e) => {
                    return Err(Error::store(
                        format!("cannot write the manifest `{key}`"),
                        e,
                    ));
                }
                Ok(None) => last = e.to_string(),
                Err(read) => {
                    return Err(self.unknown(
                        next.version,
                        format!("the put said: {e}; reading it back said: {read}"),
                    ));
                }
            }
            tracing::warn!(
                version = next.version,
                attempt,
                "a commit's put gave no answer and is not there; again: {e}"
            );
            tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
        }
        // I4: an early put may still be under way in the store, so this is not a failure.
        Err(self.unknown(next.version, last))
    }

    /// Whether a put that succeeded made a head, or revived a version number whose manifest had
    /// been pruned while this run slept.
    async fn check_not_superseded(&self, ours: &Manifest) -> Result<()> {
        // I4: a version beside the line of head is a commit that was lost.
        let versions = discover::versions(self.store.as_ref(), &self.tenant).await;
        let versions = versions.map_err(|e| self.unknown(ours.version, e))?;
        if versions.iter().all(|(v, _)| *v <= ours.version) {
            return Ok(());
        }
        let child =
            discover::read_version(self.store.as_ref(), &self.tenant, ours.version + 1).await;
        let child = child.map_err(|e| self.unknown(ours.version, e))?;
        if child.is_some_and(|c| c.parent == Some(ours.commit_id)) {
            return Ok(());
        }
        Err(Error::Conflict(format!(
            "tenant `{}`: this run slept so long that version {} had come, gone and been pruned",
            self.tenant, ours.version
        )))
    }

    /// Looks at the edit's inputs again, after `head` was read.
    ///
    /// # Errors
    /// The store's.
    pub async fn observe(
        &self,
        head: &Manifest,
        edit: &Edit,
        before: Observed,
    ) -> Result<Observed> {
        let mut seen = Observed::since(head);
        // A receipt that was stored stays stored: the archive is append-only.
        seen.receipts = before.receipts;
        if !edit.forget.is_empty() {
            seen.listing = Some(self.listed(edit).await?);
            let there = discover::present(&self.store, edit.forget.clone()).await?;
            seen.gone = edit
                .forget
                .iter()
                .filter(|key| !there.contains(*key))
                .cloned()
                .collect();
        }
        let raw: Vec<Key> = edit
            .retire
            .iter()
            .map(|r| r.key.clone())
            .filter(|k| names::classify(&self.tenant, k) == FileKind::Raw)
            .collect();
        let checks = stream::iter(raw).map(|key| tag_of(Arc::clone(&self.store), key));
        let present: Vec<_> = checks.buffer_unordered(HEADS_AT_ONCE).try_collect().await?;
        seen.present = present.into_iter().flatten().collect::<BTreeMap<_, _>>();
        Ok(seen)
    }

    /// What a listing of the tenant shows of the files that `edit` forgets or retires. Nobody asks
    /// for another.
    async fn listed(&self, edit: &Edit) -> Result<BTreeMap<Key, Option<String>>> {
        let retired = edit.retire.iter().map(|r| &r.key);
        let asked: BTreeSet<&str> = edit
            .forget
            .iter()
            .chain(retired)
            .map(String::as_str)
            .collect();
        let mut found = BTreeMap::new();
        let store = self.store.as_ref();
        let mut entries = discover::entries(store, &self.tenant)?;
        while let Some(meta) = entries.next().await {
            let meta = meta.map_err(|e| discover::cannot_list(store, &self.tenant, e))?;
            let key: &str = meta.location.as_ref();
            if asked.contains(key) {
                found.insert(meta.location.into(), meta.e_tag);
            }
        }
        Ok(found)
    }
}

/// A file's tag, if it is there.
async fn tag_of(store: Arc<dyn ObjectStore>, key: Key) -> Result<Option<(Key, Option<String>)>> {
    match store.head(&path(&key)?).await {
        Ok(meta) => Ok(Some((key, meta.e_tag))),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(e) => Err(Error::store(format!("cannot look at `{key}` again"), e)),
    }
}

/// Whether another try cannot change the answer.
fn is_final(e: &object_store::Error) -> bool {
    // A conditional create that lost against nobody (409) is worth another try.
    !e.is_transient()
        && !matches!(
            e,
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }
        )
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::clock::SystemClock;

    /// Of a large tenant, nothing is held that the edit does not ask for.
    #[tokio::test]
    async fn a_listing_is_looked_through_for_the_files_of_the_edit() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let [there, gone] = ["acme/there.parquet", "acme/gone.parquet"].map(Key::from);
        for key in [there.as_str(), "acme/a.parquet", "acme/z.parquet"] {
            store.put(&path(key).unwrap(), "x".into()).await.unwrap();
        }
        let tenant = Tenant::parse("acme").unwrap();
        let clock = Arc::<SystemClock>::default();
        let committer = Committer::new(store, tenant, clock, FileId::NIL);
        let head = committer.begin().await.unwrap();
        let edit = Edit {
            forget: vec![there.clone(), gone.clone()],
            ..committer.edit()
        };
        let before = Observed::since(&head);
        let seen = committer.observe(&head, &edit, before).await.unwrap();
        let listed: Vec<Key> = seen.listing.unwrap().into_keys().collect();
        assert_eq!(listed, [there]);
        assert_eq!(seen.gone, BTreeSet::from([gone]));
    }
}
