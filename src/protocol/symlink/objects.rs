//! The objects of symlink manifests: found, read and put.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};

use super::SymlinkManifests;
use crate::error::{Error, Result};
use crate::protocol::discover;
use crate::store::path;
use icepack_core::model::file::Listed;
use icepack_core::model::symlink::{self, Folder, STATE_FORMAT, State};
use icepack_parquet::source::whole_body;

/// The manifests as they are.
pub(super) struct Found {
    /// The tag of each, by partition.
    pub tags: BTreeMap<Folder, Option<String>>,
    /// What is known of them, as it stands in the store.
    pub state: Option<(State, UpdateVersion)>,
}

impl Found {
    /// Whether the manifest of `folder` is as it was written, for the list with `digest`.
    pub fn is(&self, folder: &str, digest: &str) -> bool {
        let known = self
            .state
            .as_ref()
            .and_then(|(s, _)| s.manifests.get(folder));
        known.is_some_and(|known| {
            known.digest == digest && self.tags.get(folder) == Some(&known.etag)
        })
    }

    /// Whether the manifests are those that the state knows.
    pub fn is_whole(&self, state: &State) -> bool {
        let known = state.manifests.iter().map(|(f, w)| (f, &w.etag));
        known.eq(self.tags.iter())
    }
}

impl SymlinkManifests {
    /// The manifests' tags, and what is known of them: a LIST, and a GET where there are some.
    pub(super) async fn find(&self) -> Result<Found> {
        let failed = |e| Error::store(format!("cannot list `{}`", self.place), e);
        let folder = path(self.place.trim_end_matches('/'))?;
        let listed = self.store.list(Some(&folder)).map_ok(discover::listed);
        let listed: Vec<Listed> = listed.try_collect().await.map_err(failed)?;
        self.found(&listed).await
    }

    /// As [`Self::find`], where they were listed among others.
    pub(super) async fn found(&self, listed: &[Listed]) -> Result<Found> {
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

    pub(super) async fn get(&self, key: &str) -> Result<Option<(Bytes, UpdateVersion)>> {
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
    pub(super) async fn put(
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

    pub(super) async fn put_state(
        &self,
        state: &State,
        known: Option<UpdateVersion>,
    ) -> Result<bool> {
        let body = serde_json::to_vec(state).map_err(|e| self.failed(e))?;
        let key = symlink::state_key(&self.place);
        Ok(self.put(&key, body.into(), known).await?.is_some())
    }
}
