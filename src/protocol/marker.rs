//! Checks that a place is a store or an archive, as the command expects, before anything is written
//! to it.
//!
//! A pass deletes what it has compacted. So an archive must never be taken for a store, nor a store
//! that lies inside another one. A marker at each root says what it is. A place of an earlier
//! version has none: its contents decide, and the first pass marks it.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::store::path;
use icepack_core::model::inputs::Exclude;
use icepack_core::model::marker::{Marker, Role};
use icepack_core::model::names::{self, FileId, STATE_DIR};
use icepack_parquet::source::whole_body;

/// Keys of an unmarked store that are looked at for archive objects: one page of a listing.
const SAMPLE: usize = 1_000;

/// Folders of an unmarked place that are asked whether they are stores themselves. The listing of a
/// tenant finds those that lie deeper.
const FOLDERS: usize = 100;

/// Folders asked at once.
const AT_ONCE: usize = 16;

/// The root of a place, and the role that a command gives it.
#[derive(Debug, Clone)]
pub struct Root {
    /// What it is used for.
    pub role: Role,
    /// The place. It shows itself by its address.
    pub store: Arc<dyn ObjectStore>,
    /// The places that hold this one: parent directories, or shorter prefixes of the bucket. Empty
    /// where they are not known.
    pub enclosing: Vec<Arc<dyn ObjectStore>>,
    /// Keys that are not looked at: what they name may be another place.
    pub exclude: Exclude,
}

impl Root {
    /// Whether the place is marked as what it is used for. Writes nothing.
    ///
    /// # Errors
    /// [`Error::Refused`] where it is something else, or lies inside or above another store or
    /// archive; [`Error::Store`] where it cannot be read.
    pub async fn check(&self) -> Result<bool> {
        if self.read(self.role).await? {
            return Ok(true);
        }
        let other = self.role.other();
        if self.read(other).await? {
            return Err(self.mistaken(
                other,
                format!("its marker `{}` says so", other.marker_key()),
            ));
        }
        // Before the contents, which may be another place's.
        self.refuse_inner().await?;
        self.refuse_outer().await?;
        match self.role {
            Role::Store => self.refuse_archive_objects().await?,
            Role::Archive => self.refuse_state().await?,
        }
        Ok(false)
    }

    /// Marks a place that [`Self::check`] found without a marker.
    ///
    /// # Errors
    /// [`Error::Refused`] where somebody else marked it as something else meanwhile;
    /// [`Error::Store`] where a store's marker cannot be put. An archive whose role may not put
    /// it stays unmarked, with a warning: what lies in it is checked instead.
    pub async fn mark(&self, clock: &dyn Clock) -> Result<()> {
        let key = self.role.marker_key();
        let marker = Marker::new(self.role, clock.mint(FileId::NIL), clock.now());
        let json = serde_json::to_vec_pretty(&marker)
            .map_err(|e| Error::local("cannot write a marker", e))?;
        let put = self
            .store
            .put_opts(&path(&key)?, json.into(), PutOptions::from(PutMode::Create))
            .await;
        match put {
            Ok(_) => Ok(()),
            // Another run was first, or our own reply was lost. Either way, what is there decides.
            Err(_) if self.read(self.role).await? => Ok(()),
            Err(
                e @ (object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. }),
            ) if self.role == Role::Archive => {
                tracing::warn!(
                    "the archive {} could not be marked as one, so that a mistaken `--store` is \
                     noticed later: {e}",
                    self.store
                );
                Ok(())
            }
            Err(e) => Err(Error::store(
                format!("cannot put the marker `{key}` into {}", self.store),
                e,
            )),
        }
    }

    /// Whether the marker of `role` is there.
    async fn read(&self, role: Role) -> Result<bool> {
        let key = role.marker_key();
        let what = || format!("cannot read the marker `{key}` of {}", self.store);
        let found = match self.store.get(&path(&key)?).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(false),
            Err(e) => return Err(Error::store(what(), e)),
        };
        let body = whole_body(found)
            .await
            .map_err(|e| Error::store(what(), e))?;
        match serde_json::from_slice::<Marker>(&body) {
            Ok(marker) if marker.kind == role => Ok(true),
            Ok(marker) => Err(Error::Refused(format!(
                "the marker `{key}` of {} calls the place {}: somebody moved or edited it; remove \
                 it if the place is a {role}",
                self.store,
                article(marker.kind)
            ))),
            Err(e) => Err(Error::Refused(format!(
                "the marker `{key}` of {} is damaged ({e}): remove it, the next pass writes it \
                 anew",
                self.store
            ))),
        }
    }

    fn mistaken(&self, is: Role, why: String) -> Error {
        let flag = match self.role {
            Role::Store => "--store",
            Role::Archive => "--archive",
        };
        Error::Refused(format!(
            "{} is {}, and it is given as {}: {why}; nothing was touched, check {flag}",
            self.store,
            article(is),
            article(self.role)
        ))
    }

    /// An unmarked archive holds archive objects and their receipts, and nothing else that is
    /// Parquet.
    async fn refuse_archive_objects(&self) -> Result<()> {
        if self.first_state(&self.store, None).await?.is_some() {
            return Ok(());
        }
        // A listing that breaks off, say at a key that is no path, has shown what it has shown: the
        // tenants' own listings say what is wrong with it.
        let sample: Vec<ObjectMeta> = self
            .store
            .list(None)
            .take(SAMPLE)
            .take_while(|m| std::future::ready(m.is_ok()))
            .filter_map(|m| async { m.ok() })
            .collect()
            .await;
        let (of_archive, others): (Vec<_>, Vec<_>) = sample
            .iter()
            .map(|m| m.location.as_ref())
            .filter(|k| k.ends_with(".parquet"))
            .partition(|k| names::is_archive_object(k));
        match of_archive.first() {
            Some(first) if others.is_empty() => Err(self.mistaken(
                Role::Archive,
                format!("all its Parquet files are archive objects, as `{first}`"),
            )),
            _ => Ok(()),
        }
    }

    /// Tenants' state makes a store of a place.
    async fn refuse_state(&self) -> Result<()> {
        match self.first_state(&self.store, None).await? {
            Some(key) => Err(self.mistaken(
                Role::Store,
                format!("it holds the state of one, as `{key}`"),
            )),
            None => Ok(()),
        }
    }

    /// A place above another one: its passes would take the other's files for raw files of a
    /// tenant.
    async fn refuse_inner(&self) -> Result<()> {
        // A root that cannot be listed ends the pass at its next step, which records why.
        let Ok(listing) = self.store.list_with_delimiter(None).await else {
            return Ok(());
        };
        let folders = listing
            .common_prefixes
            .iter()
            .filter_map(|p| p.filename())
            .filter(|name| !name.starts_with(['.', '_']))
            .take(FOLDERS);
        let asked =
            stream::iter(folders.map(str::to_owned).collect::<Vec<_>>()).map(|folder| async move {
                let key = self.first_state(&self.store, Some(&folder)).await?;
                Ok::<_, Error>(
                    key.filter(|key| !self.exclude.matches(key))
                        .map(|key| (folder, key)),
                )
            });
        let found: Vec<_> = asked.buffered(AT_ONCE).try_collect().await?;
        match found.into_iter().flatten().next() {
            Some((folder, key)) => Err(Error::Refused(format!(
                "`{folder}` in {} is a store or an archive of its own (`{key}`): a pass from \
                 above would take its files for raw ones; nothing was touched, give its own \
                 address or move it",
                self.store
            ))),
            None => Ok(()),
        }
    }

    /// A place inside another one: the other's passes would take its files for raw files of a
    /// tenant.
    async fn refuse_outer(&self) -> Result<()> {
        for outer in &self.enclosing {
            match self.first_state(outer, None).await {
                Ok(None) => {}
                Ok(Some(key)) => {
                    return Err(Error::Refused(format!(
                        "{} lies inside {outer}, which is a store or an archive of its own \
                         (`{key}`): its passes would take these files for its own; nothing was \
                         touched, use a place beside it",
                        self.store
                    )));
                }
                // A job need not have rights above its own prefix.
                Err(e) => tracing::debug!(
                    "whether {} lies inside another store is not known: {e}",
                    self.store
                ),
            }
        }
        Ok(())
    }

    /// The first key of icepack's state at the root of `store`, or in a folder of it. What checks
    /// leave behind is none, nor is our own role's marker.
    async fn first_state(
        &self,
        store: &Arc<dyn ObjectStore>,
        folder: Option<&str>,
    ) -> Result<Option<String>> {
        let dir = folder.map_or_else(
            || STATE_DIR.to_owned(),
            |folder| format!("{folder}/{STATE_DIR}"),
        );
        let probes = format!("{dir}/_probe/");
        // A run that began with this one may have marked the place just now.
        let own = folder.is_none() && Arc::ptr_eq(store, &self.store);
        let marker = self.role.marker_key();
        let is_state = |m: &ObjectMeta| {
            let key = m.location.as_ref();
            !(key.starts_with(&probes) || own && key == marker)
        };
        let mut keys = store
            .list(Some(&path(&dir)?))
            .try_filter(|m| std::future::ready(is_state(m)));
        match keys.try_next().await {
            Ok(first) => Ok(first.map(|m| m.location.into())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(Error::store(format!("cannot list `{dir}` of {store}"), e)),
        }
    }
}

fn article(role: Role) -> &'static str {
    match role {
        Role::Store => "a store",
        Role::Archive => "an archive",
    }
}
