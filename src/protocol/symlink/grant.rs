//! Has each manifest say what it is to say.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryFutureExt, stream};
use object_store::{ObjectStoreExt, UpdateVersion};

use super::objects::Found;
use super::{SymlinkManifests, Wishes};
use crate::error::{Error, ReadError, Result};
use crate::store::path;
use icepack_core::model::names::Key;
use icepack_core::model::symlink::{self, Folder, PUBLISH_WITHIN, Written};
use icepack_core::plan::symlink as plan;
use icepack_parquet::source::ends_as_parquet;

/// Manifests that are written at once.
const WRITES_AT_ONCE: usize = 8;

/// Raw files that are looked at at once, for each of those manifests.
const LOOKS_AT_ONCE: usize = 4;

/// What one manifest is to say.
struct Wish<'a> {
    folder: &'a str,
    keys: BTreeSet<Key>,
    all: &'a Wishes,
}

/// What became of one manifest.
enum Done {
    /// Somebody else was first, or a file went meanwhile.
    Lost,
    Is {
        written: Written,
        is_new: bool,
        left_out: Vec<String>,
    },
    Removed,
}

/// A manifest as it is, before it is written: its text, and its version if it is there.
type Text = (Bytes, Option<UpdateVersion>);

/// What became of all manifests.
#[derive(Default)]
pub(super) struct Granted {
    pub manifests: BTreeMap<Folder, Written>,
    /// How many were written.
    pub written: u64,
    /// How many were removed.
    pub removed: u64,
    /// Files that cannot be listed, and why.
    pub left_out: Vec<String>,
}

impl Granted {
    /// Adds what became of the manifest of `folder`. Whether it is as it is to be.
    fn add(&mut self, folder: &str, done: Done) -> bool {
        match done {
            Done::Lost => return false,
            Done::Removed => self.removed += 1,
            Done::Is {
                written,
                is_new,
                left_out,
            } => {
                self.written += u64::from(is_new);
                self.left_out.extend(left_out);
                self.manifests.insert(folder.to_owned(), written);
            }
        }
        true
    }
}

impl SymlinkManifests {
    /// Has every manifest say what `wishes` say. None where somebody else came first.
    pub(super) async fn grants(&self, wishes: &Wishes, found: &Found) -> Result<Option<Granted>> {
        let folders: BTreeSet<&Folder> = wishes.lists.keys().chain(found.tags.keys()).collect();
        let mut grants: Vec<BoxFuture<'_, Result<(&Folder, Done)>>> = Vec::new();
        for folder in folders {
            grants.push(self.grant(folder, wishes, found).boxed());
        }
        let mut done = stream::iter(grants).buffered(WRITES_AT_ONCE);
        let mut granted = Granted::default();
        while let Some(next) = done.next().await {
            let (folder, done) = next?;
            if !granted.add(folder, done) {
                return Ok(None);
            }
        }
        granted.left_out.sort();
        Ok(Some(granted))
    }

    /// [`Self::grant_one`], with the partition that it is of.
    async fn grant<'w>(
        &self,
        folder: &'w Folder,
        wishes: &'w Wishes,
        found: &Found,
    ) -> Result<(&'w Folder, Done)> {
        let wish = Wish {
            folder,
            keys: wishes.lists.get(folder).cloned().unwrap_or_default(),
            all: wishes,
        };
        Ok((folder, self.grant_one(&wish, found).await?))
    }

    /// Has one manifest say what it is to say.
    async fn grant_one(&self, wish: &Wish<'_>, found: &Found) -> Result<Done> {
        let known = found.state.as_ref();
        let known = known.and_then(|(s, _)| s.manifests.get(wish.folder));
        let is_due = known.is_some_and(|w| wish.keys.is_empty() && self.may_go(w));
        let digest = plan::digest(&self.root, &wish.keys);
        if let Some(written) = known.filter(|_| !is_due && found.is(wish.folder, &digest)) {
            return Ok(Done::Is {
                written: written.clone(),
                is_new: false,
                left_out: Vec::new(),
            });
        }
        let key = symlink::manifest_key(&self.place, wish.folder);
        // It rests on what was there before head was read.
        let Some((text, version)) = self.text(&key, found.tags.get(wish.folder)).await? else {
            return Ok(Done::Lost);
        };
        if is_due && text.is_empty() {
            return self.remove(&key).await;
        }
        let Some((keys, left_out)) = self.listable(wish, &text).await? else {
            return Ok(Done::Lost);
        };
        let is_empty = keys.is_empty();
        // Of what is listed: what is left out is looked at again by the next pass.
        let digest = plan::digest(&self.root, &keys);
        let Some((etag, is_new)) = self.write(wish, &key, keys, (text, version)).await? else {
            return Ok(Done::Lost);
        };
        let since = known.and_then(|w| w.empty_since);
        let written = Written {
            etag,
            digest,
            empty_since: is_empty.then(|| since.unwrap_or_else(|| self.clock.latest())),
        };
        Ok(Done::Is {
            written,
            is_new,
            left_out,
        })
    }

    /// What the manifest `key` says, which showed `tag` where it was listed. None where it is
    /// another by now.
    async fn text(&self, key: &str, tag: Option<&Option<String>>) -> Result<Option<Text>> {
        let Some(tag) = tag else {
            return Ok(Some((Bytes::new(), None)));
        };
        Ok(match self.get(key).await? {
            Some((text, version)) if version.e_tag == *tag => Some((text, Some(version))),
            _ => None,
        })
    }

    /// Removes an empty manifest. What comes into the partition in this very moment is seen after
    /// the next pass.
    async fn remove(&self, key: &str) -> Result<Done> {
        match self.store.delete(&path(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(Done::Removed),
            Err(e) => Err(Error::store(format!("cannot delete `{key}`"), e)),
        }
    }

    /// Has the manifest `key` list `keys`. Its tag, and whether it was written; none where somebody
    /// else was first, or what was read is too old by now.
    async fn write(
        &self,
        wish: &Wish<'_>,
        key: &str,
        keys: Vec<Key>,
        (text, version): Text,
    ) -> Result<Option<(Option<String>, bool)>> {
        let body = Bytes::from(plan::text(&self.root, &keys));
        if let Some(version) = version.as_ref().filter(|_| body == text) {
            return Ok(Some((version.e_tag.clone(), false)));
        }
        let waited = self.clock.monotonic_ms().saturating_sub(wish.all.read_at);
        if u128::from(waited) > PUBLISH_WITHIN.as_millis() {
            return Ok(None);
        }
        let put = self.put(key, body, version).await?;
        Ok(put.map(|etag| (etag, true)))
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
            let is_raw = wish.all.wanted.get(key).is_some_and(|w| w.rows.is_none());
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
