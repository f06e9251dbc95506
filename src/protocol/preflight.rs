//! Checks two properties of the store before a pass writes anything: of two creates of one key, one
//! wins; and listings tell one version of a file from another.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload};

use crate::error::{Error, Result};
use crate::store::path;
use icepack_core::model::names::{FileId, STATE_DIR};
use icepack_core::model::same::{Sameness, shown};
use icepack_parquet::source::whole_body;

/// The store's folder of probes: a name that cannot be a tenant's.
pub fn folder() -> String {
    format!("{STATE_DIR}/_probe")
}

/// Creates one object twice. The second must be refused and must not have changed the first. Then
/// looks for it in a listing, which must show the same ETag as the object itself does. Returns the
/// store's time. It runs before every pass.
///
/// # Errors
/// [`Error::Refused`] where the store lets both win: two runs could then commit the same version
/// and each lose the other's work; or where its listings do not tell one version of a file from
/// another. [`Error::Store`] where it cannot be written to at all.
pub async fn preflight(store: &Arc<dyn ObjectStore>, id: FileId) -> Result<DateTime<Utc>> {
    probe(store, id, true).await
}

/// Like [`preflight`], without the listing.
///
/// # Errors
/// As [`preflight`], but for what listings show.
pub async fn conditional_create(store: &Arc<dyn ObjectStore>, id: FileId) -> Result<DateTime<Utc>> {
    probe(store, id, false).await
}

async fn probe(store: &Arc<dyn ObjectStore>, id: FileId, and_list: bool) -> Result<DateTime<Utc>> {
    let key = path(&format!("{}/{id}-create", folder()))?;
    let verdict = match create_twice(store, &key).await {
        Ok(created) if and_list => check_tags(store, &key, &created)
            .await
            .map(|()| created.time),
        created => created.map(|c| c.time),
    };
    // Where the probe could not even be made, that is the one thing to say.
    if let Err(e) = store.delete(&key).await
        && verdict.is_ok()
    {
        tracing::warn!("the probe `{key}` could not be deleted: {e}");
    }
    verdict
}

/// "Already there" is said of ours when the reply was lost, for the id is unique; and by a store
/// that could not decide (409), and then nothing is there.
async fn create_first(
    store: &Arc<dyn ObjectStore>,
    key: &Path,
) -> object_store::Result<Option<String>> {
    let put = || {
        store.put_opts(
            key,
            PutPayload::from_static(b"first"),
            PutMode::Create.into(),
        )
    };
    match put().await {
        Err(object_store::Error::AlreadyExists { .. }) => match store.head(key).await {
            Err(object_store::Error::NotFound { .. }) => put().await.map(|done| done.e_tag),
            there => there.map(|meta| meta.e_tag),
        },
        done => done.map(|done| done.e_tag),
    }
}

/// An object of a known name, and its ETag as the store gave it.
struct Created {
    time: DateTime<Utc>,
    put: Option<String>,
    got: Option<String>,
}

/// The listing must tell the versions of a file apart as GET does. A listing that does not show it
/// yet says nothing.
async fn check_tags(store: &Arc<dyn ObjectStore>, key: &Path, created: &Created) -> Result<()> {
    let dir = path(&folder())?;
    let found: Vec<ObjectMeta> = store
        .list(Some(&dir))
        .try_collect()
        .await
        .map_err(|e| Error::store(format!("cannot list {store}"), e))?;
    let Some(listed) = found.into_iter().find(|m| m.location == *key) else {
        return Ok(());
    };
    match tag_fault(
        created.put.as_deref(),
        created.got.as_deref(),
        listed.e_tag.as_deref(),
    ) {
        None => Ok(()),
        Some(fault) => Err(Error::Refused(format!(
            "{store} {fault}. Nothing was touched; use a store whose listings show ETags, or \
             switch them on"
        ))),
    }
}

/// The fault of the ETags of one object, if any. The reply to a PUT need not have one.
pub fn tag_fault(put: Option<&str>, got: Option<&str>, listed: Option<&str>) -> Option<String> {
    let other_put = Sameness::of(put, got).is_other();
    if Sameness::of(got, listed).is_same() && !other_put {
        return None;
    }
    let (put, got, listed) = (shown(put), shown(got), shown(listed));
    Some(format!(
        "gives one object the ETag {put} in the reply to PUT, {got} in GET and {listed} in a \
         listing: a file that waits to be deleted could not be told from another of its name"
    ))
}

async fn create_twice(store: &Arc<dyn ObjectStore>, key: &Path) -> Result<Created> {
    let what = |doing: &str| format!("cannot {doing} `{key}` in {store}");
    let put = match create_first(store, key).await {
        Ok(tag) => tag,
        Err(
            e @ (object_store::Error::NotImplemented { .. }
            | object_store::Error::NotSupported { .. }),
        ) => {
            return Err(Error::Refused(format!(
                "{store} knows no conditional create ({e}): icepack cannot commit safely there"
            )));
        }
        Err(e) => return Err(Error::store(what("create"), e)),
    };
    let second = store
        .put_opts(
            key,
            PutPayload::from_static(b"second"),
            PutMode::Create.into(),
        )
        .await;
    let now = store
        .get(key)
        .await
        .map_err(|e| Error::store(what("read back"), e))?;
    let created = Created {
        time: now.meta.last_modified,
        put,
        got: now.meta.e_tag.clone(),
    };
    let body = whole_body(now)
        .await
        .map_err(|e| Error::store(what("read back"), e))?;
    if second.is_ok() || body.as_ref() != b"first" {
        return Err(Error::Refused(format!(
            "{store} accepts a second create of the same key (it ignores If-None-Match): two runs \
             could overwrite each other's commits. Nothing was touched; use a store with \
             conditional writes (AWS S3, MinIO, SeaweedFS, R2, GCS, Azure)"
        )));
    }
    match second {
        Err(
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. },
        ) => Ok(created),
        Err(e) => Err(Error::store(what("create a second time"), e)),
        Ok(_) => Ok(created),
    }
}
