//! Keeps symlink manifests. Every decision is [`icepack_core::plan::symlink`]'s.
//!
//! A manifest is replaced whole, and only as it was read: what it is to say rests on what was read
//! in this order: the manifests' tags, then head, then the listing. So a slow run with an older
//! head loses its put. Rows never move from one partition to another: each manifest alone shows
//! every row of its files once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use chrono::TimeDelta;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};

use super::discover;
use crate::clock::Clock;
use crate::error::{Error, ReadError, Result};
use crate::store::path;
use icepack_core::model::file::Listed;
use icepack_core::model::inputs::Rules;
use icepack_core::model::names::{Key, Tenant};
use icepack_core::model::plan::Inventory;
use icepack_core::model::symlink::{
    self, Folder, Listing, PUBLISH_WITHIN, STATE_FORMAT, State, Symlink, SymlinkReport, Written,
};
use icepack_core::plan::publish::{self, Obstacle, Wanted};
use icepack_core::plan::symlink as plan;
use icepack_parquet::source::{ends_as_parquet, whole_body};

/// Somebody else publishes every time.
const MAX_ROUNDS: usize = 16;

/// Manifests that are written at once.
const WRITES_AT_ONCE: usize = 8;

/// Raw files that are looked at at once, for each of those manifests.
const LOOKS_AT_ONCE: usize = 4;

/// The symlink manifests of a tenant.
#[derive(Debug)]
pub struct SymlinkManifests {
    store: Arc<dyn ObjectStore>,
    tenant: Tenant,
    rules: Rules,
    symlink: Symlink,
    clock: Arc<dyn Clock>,
    /// The folder of the manifests, with its slash.
    place: Key,
    /// The address of the store.
    root: String,
}

/// The manifests as they are.
struct Found {
    /// The tag of each, by partition.
    tags: BTreeMap<Folder, Option<String>>,
    /// What is known of them, as it stands in the store.
    state: Option<(State, UpdateVersion)>,
}

impl Found {
    /// Whether the manifest of `folder` is as it was written, for the list with `digest`.
    fn is(&self, folder: &str, digest: &str) -> bool {
        let known = self
            .state
            .as_ref()
            .and_then(|(s, _)| s.manifests.get(folder));
        known.is_some_and(|known| {
            known.digest == digest && self.tags.get(folder) == Some(&known.etag)
        })
    }

    /// Whether the manifests are those that the state knows.
    fn is_whole(&self, state: &State) -> bool {
        let known = state.manifests.iter().map(|(f, w)| (f, &w.etag));
        known.eq(self.tags.iter())
    }
}

/// What one manifest is to say.
struct Wish<'a> {
    folder: &'a str,
    keys: BTreeSet<Key>,
    digest: String,
    wanted: &'a BTreeMap<Key, Wanted>,
    /// By the clock's monotonic milliseconds.
    read_at: u64,
}

/// What became of one manifest.
enum Done {
    /// Somebody else was first, or a file went meanwhile.
    Lost,
    Is {
        folder: Folder,
        written: Written,
        is_new: bool,
        left_out: Vec<String>,
    },
    Removed,
}

impl SymlinkManifests {
    /// Those of `tenant`; none where it has no folder of its own, or the store's address is not
    /// known.
    pub fn of(
        store: &Arc<dyn ObjectStore>,
        tenant: &Tenant,
        rules: Rules,
        symlink: Symlink,
        clock: Arc<dyn Clock>,
    ) -> Option<Self> {
        Some(Self {
            store: Arc::clone(store),
            tenant: tenant.clone(),
            rules,
            place: symlink::place(tenant)?,
            root: symlink.root.clone()?,
            symlink,
            clock,
        })
    }

    /// Brings the manifests to what is live, from whatever they show.
    ///
    /// # Errors
    /// [`Error::Refused`] where they are not ours; [`Error::Store`]; [`Error::Local`] where what is
    /// live cannot be listed, with what to do; [`Error::Conflict`] where others publish without
    /// pause.
    pub async fn publish(&self) -> Result<SymlinkReport> {
        let mut report = SymlinkReport::default();
        for _ in 0..MAX_ROUNDS {
            if self.round(&mut report).await? {
                return Ok(report);
            }
            tracing::info!("another run published first: looking again");
        }
        Err(Error::Conflict(format!(
            "the symlink manifests of tenant `{}` were written to {MAX_ROUNDS} times in between",
            self.tenant
        )))
    }

    /// What their readers need, after everything was published.
    ///
    /// # Errors
    /// As [`Self::publish`]; [`Error::Local`] where they are not as they were written.
    pub async fn readers(&self) -> Result<Listing> {
        let found = self.find().await?;
        let state = match &found.state {
            Some((state, _)) if found.is_whole(state) => state.clone(),
            Some(_) => {
                return Err(self.failed("somebody else has written to them just now"));
            }
            None => State::new(&self.tenant),
        };
        Ok(Listing {
            state,
            wait: self.symlink.wait(),
        })
    }

    /// That they are ours.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn check(&self) -> Result<()> {
        self.find().await.map(drop)
    }

    /// Whether they are known to show `inventory`, where `ours` shows them. Anything that goes wrong
    /// says no: whoever publishes finds out.
    pub async fn is_current(&self, inventory: &Inventory, ours: &[Listed]) -> bool {
        let wanted = publish::wanted(&self.tenant, inventory);
        let (Ok(found), Ok(wanted)) = (self.found(ours).await, wanted) else {
            return false;
        };
        let Some((state, _)) = &found.state else {
            let none = State::new(&self.tenant);
            return wanted.is_empty() && plan::knows_all_left(&none, inventory.head.as_ref());
        };
        let digest = plan::digest(&self.root, wanted.keys());
        state.digest.as_ref() == Some(&digest)
            && found.is_whole(state)
            && plan::knows_all_left(state, inventory.head.as_ref())
            && !state.manifests.values().any(|w| self.may_go(w))
    }

    /// Whether a manifest has been empty for so long that nobody asks for it.
    fn may_go(&self, written: &Written) -> bool {
        let wait = TimeDelta::from_std(self.symlink.wait()).unwrap_or(TimeDelta::MAX);
        let over = |since: chrono::DateTime<_>| since.checked_add_signed(wait);
        let over = written.empty_since.and_then(over);
        over.is_some_and(|over| over <= self.clock.now())
    }

    fn failed(&self, why: impl std::fmt::Display) -> Error {
        Error::local(
            format!("cannot keep the symlink manifests of `{}`", self.tenant),
            why,
        )
    }

    fn refused(&self, why: &str) -> Error {
        Error::Refused(format!(
            "tenant `{}` cannot be published: {why}. Nothing of the tenant is touched",
            self.tenant
        ))
    }

    /// The manifests' tags, and what is known of them: a LIST, and a GET where there are some.
    async fn find(&self) -> Result<Found> {
        let failed = |e| Error::store(format!("cannot list `{}`", self.place), e);
        let folder = path(self.place.trim_end_matches('/'))?;
        let listed = self.store.list(Some(&folder)).map_ok(discover::listed);
        let listed: Vec<Listed> = listed.try_collect().await.map_err(failed)?;
        self.found(&listed).await
    }

    /// As [`Self::find`], where they were listed among others.
    async fn found(&self, listed: &[Listed]) -> Result<Found> {
        let (mut tags, mut first) = (BTreeMap::new(), None);
        for f in listed.iter().filter(|f| f.key.starts_with(&self.place)) {
            first.get_or_insert(f.key.as_str());
            if let Some(folder) = symlink::folder_of(&self.place, &f.key) {
                tags.insert(folder.to_owned(), f.etag.clone());
            }
        }
        let state = match first {
            None => None,
            Some(first) => self.state(first).await?,
        };
        Ok(Found { tags, state })
    }

    /// What is known of the manifests, of which there are some: `first`.
    async fn state(&self, first: &str) -> Result<Option<(State, UpdateVersion)>> {
        let key = symlink::state_key(&self.place);
        let Some((body, version)) = self.get(&key).await? else {
            return Err(self.refused(&format!(
                "`{}` holds symlink manifests that icepack did not make (first `{first}`); move \
                 them away, or unset `publish.symlink` and name them in `exclude`",
                self.place
            )));
        };
        let unusable = |why: String| {
            self.refused(&format!(
                "`{key}` {why}. Remove the folder `{}` to have the manifests made anew: no data \
                 file is touched",
                self.place
            ))
        };
        let state: State =
            serde_json::from_slice(&body).map_err(|e| unusable(format!("is damaged ({e})")))?;
        if state.format > STATE_FORMAT {
            return Err(unusable(format!(
                "was written by {}, and needs a newer icepack",
                state.writer
            )));
        }
        if state.tenant != self.tenant {
            return Err(unusable(format!("is of tenant `{}`", state.tenant)));
        }
        Ok(Some((state, version)))
    }

    async fn get(&self, key: &str) -> Result<Option<(Bytes, UpdateVersion)>> {
        let failed = |e| Error::store(format!("cannot read `{key}`"), e);
        let reply = match self.store.get(&path(key)?).await {
            Ok(reply) => reply,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(failed(e)),
        };
        let version = UpdateVersion {
            e_tag: reply.meta.e_tag.clone(),
            version: reply.meta.version.clone(),
        };
        let body = whole_body(reply).await.map_err(failed)?;
        Ok(Some((body, version)))
    }

    /// Puts what is there as `known`, or is not there yet. Its tag; none where somebody else was
    /// first.
    async fn put(
        &self,
        key: &str,
        body: Bytes,
        known: Option<UpdateVersion>,
    ) -> Result<Option<Option<String>>> {
        let mode = known.map_or(PutMode::Create, PutMode::Update);
        let at = path(key)?;
        let put = |mode| {
            let put = PutOptions::from(mode);
            self.store.put_opts(&at, body.clone().into(), put)
        };
        let done = match put(mode).await {
            // What was read a moment ago is still what is there, as far as such a store can tell.
            Err(object_store::Error::NotImplemented { .. }) => put(PutMode::Overwrite).await,
            done => done,
        };
        let e = match done {
            Ok(done) => return Ok(Some(done.e_tag)),
            Err(e) => e,
        };
        // Every other reply is settled by what is there. It does not matter who wrote the same.
        match self.get(key).await {
            Ok(Some((found, version))) if found == body => Ok(Some(version.e_tag)),
            Ok(_)
                if matches!(
                    e,
                    object_store::Error::Precondition { .. }
                        | object_store::Error::AlreadyExists { .. }
                        | object_store::Error::NotFound { .. }
                ) =>
            {
                Ok(None)
            }
            _ => Err(Error::store(format!("cannot write `{key}`"), e)),
        }
    }

    async fn put_state(&self, state: &State, known: Option<UpdateVersion>) -> Result<bool> {
        let body = serde_json::to_vec(state).map_err(|e| self.failed(e))?;
        let key = symlink::state_key(&self.place);
        Ok(self.put(&key, body.into(), known).await?.is_some())
    }

    /// One look and what it says is to do. Whether nobody came in between.
    async fn round(&self, report: &mut SymlinkReport) -> Result<bool> {
        let found = self.find().await?;
        let read_at = self.clock.monotonic_ms();
        let inventory = discover::live_inventory(&self.store, &self.tenant, &self.rules).await?;
        let (inventory, _) = inventory.own(&self.tenant)?;
        let wanted = publish::wanted(&self.tenant, &inventory).map_err(|e| self.obstacle(e))?;
        let lists = plan::lists(&self.tenant, &wanted).map_err(|e| self.obstacle(e))?;
        let Some((before, version)) = &found.state else {
            // They are marked as ours before there are any.
            let state = State::new(&self.tenant);
            if lists.is_empty() && plan::knows_all_left(&state, inventory.head.as_ref()) {
                return Ok(true);
            }
            self.put_state(&state, None).await?;
            return Ok(false);
        };
        let head = inventory.head.as_ref();
        let head_version = head.map_or(0, |head| head.version);
        if before.version > head_version {
            return Err(self.failed(format!(
                "they show version {} of the manifest, but head is {head_version}: was an older \
                 manifest brought back? Remove the folder `{}` to have them made anew",
                before.version, self.place
            )));
        }
        let folders: BTreeSet<&Folder> = lists.keys().chain(found.tags.keys()).collect();
        let mut grants: Vec<BoxFuture<'_, Result<Done>>> = Vec::new();
        for folder in folders {
            let keys = lists.get(folder).cloned().unwrap_or_default();
            let wish = Wish {
                digest: plan::digest(&self.root, &keys),
                folder,
                keys,
                wanted: &wanted,
                read_at,
            };
            grants.push(self.grant(wish, &found).boxed());
        }
        let granted = stream::iter(grants).buffer_unordered(WRITES_AT_ONCE);
        let done: Vec<Done> = granted.try_collect().await?;
        let mut state = State {
            version: head_version,
            ..State::new(&self.tenant)
        };
        report.left_out.clear();
        for done in done {
            match done {
                Done::Lost => return Ok(false),
                Done::Removed => report.removed += 1,
                Done::Is {
                    folder,
                    written,
                    is_new,
                    left_out,
                } => {
                    report.written += u64::from(is_new);
                    report.left_out.extend(left_out);
                    state.manifests.insert(folder, written);
                }
            }
        }
        report.left_out.sort();
        for what in &report.left_out {
            tracing::warn!("not published: {what}");
        }
        let is_all = report.left_out.is_empty();
        state.digest = is_all.then(|| plan::digest(&self.root, wanted.keys()));
        state.left = plan::left(before, head, self.clock.latest());
        if state == *before {
            return Ok(true);
        }
        self.put_state(&state, Some(version.clone())).await
    }

    fn obstacle(&self, obstacle: Obstacle) -> Error {
        match obstacle {
            Obstacle::Folder { folder, why } => self.failed(format!(
                "the folder `{folder}` {why}: one table cannot show that. Write such files to \
                 another folder or tenant, or unset `publish.symlink` and remove `{}`",
                self.place
            )),
            other => self.failed(other),
        }
    }

    /// Has one manifest say what it is to say.
    async fn grant(&self, wish: Wish<'_>, found: &Found) -> Result<Done> {
        let folder = wish.folder.to_owned();
        let known = found.state.as_ref();
        let known = known.and_then(|(s, _)| s.manifests.get(wish.folder));
        let is_due = known.is_some_and(|w| wish.keys.is_empty() && self.may_go(w));
        if let Some(written) = known.filter(|_| !is_due && found.is(wish.folder, &wish.digest)) {
            return Ok(Done::Is {
                folder,
                written: written.clone(),
                is_new: false,
                left_out: Vec::new(),
            });
        }
        let key = symlink::manifest_key(&self.place, wish.folder);
        let (text, version) = match found.tags.get(wish.folder) {
            None => (Bytes::new(), None),
            // It rests on what was there before head was read.
            Some(tag) => match self.get(&key).await? {
                Some((text, version)) if version.e_tag == *tag => (text, Some(version)),
                _ => return Ok(Done::Lost),
            },
        };
        if is_due && text.is_empty() {
            // What comes into the partition in this very moment is seen after the next pass.
            return match self.store.delete(&path(&key)?).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(Done::Removed),
                Err(e) => Err(Error::store(format!("cannot delete `{key}`"), e)),
            };
        }
        let Some((keys, left_out)) = self.listable(&wish, &text).await? else {
            return Ok(Done::Lost);
        };
        let body = Bytes::from(plan::text(&self.root, &keys));
        let is_new = version.is_none() || body != text;
        let etag = if is_new {
            let waited = self.clock.monotonic_ms().saturating_sub(wish.read_at);
            if u128::from(waited) > PUBLISH_WITHIN.as_millis() {
                return Ok(Done::Lost);
            }
            match self.put(&key, body, version).await? {
                Some(etag) => etag,
                None => return Ok(Done::Lost),
            }
        } else {
            version.and_then(|v| v.e_tag)
        };
        let since = known.and_then(|w| w.empty_since);
        let empty_since = keys
            .is_empty()
            .then(|| since.unwrap_or_else(|| self.clock.latest()));
        let written = Written {
            etag,
            digest: wish.digest,
            empty_since,
        };
        Ok(Done::Is {
            folder,
            written,
            is_new,
            left_out,
        })
    }

    /// The files of `wish` that a reader can open, and the others with why. Raw files that are in
    /// `text` were looked at. None where a file went or changed meanwhile.
    async fn listable(
        &self,
        wish: &Wish<'_>,
        text: &Bytes,
    ) -> Result<Option<(Vec<Key>, Vec<String>)>> {
        let text = String::from_utf8_lossy(text);
        let listed = text.lines().filter_map(|l| plan::key_of(&self.root, l));
        let listed: BTreeSet<&str> = listed.collect();
        let is_new = |key: &str| {
            let is_raw = wish.wanted.get(key).is_some_and(|w| w.rows.is_none());
            is_raw && !listed.contains(key)
        };
        let mut looks: Vec<BoxFuture<'_, Result<(), ReadError>>> = Vec::new();
        for key in &wish.keys {
            looks.push(if is_new(key) {
                let look = ends_as_parquet(self.store.as_ref(), key);
                look.map_ok(drop).boxed()
            } else {
                std::future::ready(Ok(())).boxed()
            });
        }
        let looks = stream::iter(looks).buffered(LOOKS_AT_ONCE);
        let looks: Vec<Result<(), ReadError>> = looks.collect().await;
        let (mut keys, mut left_out) = (Vec::new(), Vec::new());
        for (key, look) in wish.keys.iter().zip(looks) {
            match look {
                Ok(()) => keys.push(key.clone()),
                Err(ReadError::Gone(_) | ReadError::Changed(_)) => return Ok(None),
                Err(ReadError::Input { reason, .. }) => left_out.push(format!("`{key}`: {reason}")),
                Err(e) if e.unread().is_some() => left_out.push(format!("`{key}`: {e}")),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(Some((keys, left_out)))
    }
}
