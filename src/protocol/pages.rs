//! Reads, writes and collects the pages of manifests: [`icepack_core::model::pages`].

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::error::{Error, Result};
use crate::store::path;
use icepack_core::model::manifest::Manifest;
use icepack_core::model::names::{self, FileId, Key, Tenant};
use icepack_core::model::pages::NewPage;
use icepack_parquet::source::whole_body;

/// Pages that are read or written at once.
const PAGES_AT_ONCE: usize = 16;

/// Bytes of a page before compression. Ours have a thousandth of it, but for a folder with very
/// many files.
const MOST_BYTES: u64 = 1 << 30;

/// The level that pages are compressed with.
const LEVEL: i32 = 3;

/// Reads those of the pages `wanted` that were not read yet. False, and `head` is as it was, where
/// one is not there: a newer manifest does without it, or it is lost.
///
/// # Errors
/// [`Error::Store`] where one cannot be fetched, [`Error::Refused`] where one is not what it must
/// be.
pub async fn read(
    store: &dyn ObjectStore,
    head: &mut Manifest,
    wanted: &BTreeSet<FileId>,
) -> Result<bool> {
    Ok(add(store, head, wanted).await? && check(head).map(|()| true)?)
}

/// As [`read`]; nothing may be concluded from `head` before [`check`].
///
/// # Errors
/// As [`read`].
pub async fn add(
    store: &dyn ObjectStore,
    head: &mut Manifest,
    wanted: &BTreeSet<FileId>,
) -> Result<bool> {
    let tenant = head.tenant.clone();
    let unread = head.pages.unread().map(|p| p.id);
    let ids: Vec<FileId> = unread.filter(|id| wanted.contains(id)).collect();
    if ids.is_empty() {
        return Ok(true);
    }
    let packed = stream::iter(ids).map(|id| read_one(store, &tenant, id));
    let packed: Vec<Option<(FileId, Bytes)>> = packed.buffered(PAGES_AT_ONCE).try_collect().await?;
    let Some(packed) = packed.into_iter().collect::<Option<Vec<_>>>() else {
        return Ok(false);
    };
    for (id, packed) in packed {
        unpack(&packed)
            .and_then(|body| head.take_in(id, &body))
            .map_err(|why| damaged(&names::page_key(&tenant, id), &why))?;
    }
    Ok(true)
}

/// Puts what was read of `head` in order, and checks it.
///
/// # Errors
/// [`Error::Refused`] where the pages name what they may not.
pub fn check(head: &mut Manifest) -> Result<()> {
    head.put_in_order();
    head.check_paths().map_err(|why| {
        Error::Refused(format!(
            "the pages of tenant `{}` name what they may not: {why}",
            head.tenant
        ))
    })
}

/// Reads all pages of `head`, as [`read`] does.
///
/// # Errors
/// As [`read`].
pub async fn read_all(store: &dyn ObjectStore, head: &mut Manifest) -> Result<bool> {
    let all = head.pages.unread().map(|p| p.id).collect();
    read(store, head, &all).await
}

async fn read_one(
    store: &dyn ObjectStore,
    tenant: &Tenant,
    id: FileId,
) -> Result<Option<(FileId, Bytes)>> {
    let key = names::page_key(tenant, id);
    let failed = |e| Error::store(format!("cannot read the page `{key}` of a manifest"), e);
    let reply = match store.get(&path(&key)?).await {
        Ok(reply) => reply,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    Ok(Some((id, whole_body(reply).await.map_err(failed)?)))
}

fn unpack(packed: &[u8]) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    zstd::Decoder::with_buffer(packed)
        .and_then(|decoder| decoder.take(MOST_BYTES).read_to_end(&mut body))
        .map_err(|e| format!("cannot be decompressed ({e})"))?;
    Ok(body)
}

fn damaged(key: &str, why: &str) -> Error {
    Error::Refused(format!(
        "the page `{key}` of a manifest {why}: restore it from a backup or a bucket version"
    ))
}

/// The refusal of a manifest of which a page is not there.
pub fn lost(head: &Manifest) -> Error {
    Error::Refused(format!(
        "version {} of the manifest of tenant `{}` names pages in `{}` that are not there. Nothing \
         of the tenant was changed. Bring them back from a backup or a bucket version: a manifest \
         and its pages belong together",
        head.version,
        head.tenant,
        names::page_dir(&head.tenant)
    ))
}

/// Writes pages, before the manifest that names them.
///
/// # Errors
/// [`Error::Store`]. What was written then is collected once its ids are below the floor.
pub async fn write(
    store: &Arc<dyn ObjectStore>,
    tenant: &Tenant,
    pages: Vec<NewPage>,
) -> Result<()> {
    let writes = stream::iter(pages).map(|page| write_one(Arc::clone(store), tenant, page));
    writes.buffer_unordered(PAGES_AT_ONCE).try_collect().await
}

async fn write_one(store: Arc<dyn ObjectStore>, tenant: &Tenant, page: NewPage) -> Result<()> {
    let key = names::page_key(tenant, page.id);
    let packed = zstd::encode_all(page.body.as_slice(), LEVEL)
        .map_err(|e| Error::local("cannot compress a page", e))?;
    let options = PutOptions {
        mode: PutMode::Create,
        ..PutOptions::default()
    };
    let place = path(&key)?;
    let Err(e) = store
        .put_opts(&place, PutPayload::from(packed), options)
        .await
    else {
        return Ok(());
    };
    // Nobody else mints this id. So what is there is our own put, whose reply was lost; but
    // `already exists` is also said where a put met another try of itself and nobody won.
    // I2: head names only what exists.
    match store.head(&place).await {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::store(
            format!("cannot write the page `{key}` of a manifest"),
            e,
        )),
    }
}

/// The pages in the store that `head` does not name.
///
/// # Errors
/// [`Error::Store`] where they cannot be listed.
pub async fn unnamed(store: &dyn ObjectStore, head: &Manifest) -> Result<BTreeMap<FileId, Key>> {
    let tenant = &head.tenant;
    let named: BTreeSet<FileId> = head.pages.all().iter().map(|p| p.id).collect();
    let listed = store.list(Some(&path(&names::page_dir(tenant))?));
    let listed: Vec<_> = listed
        .try_collect()
        .await
        .map_err(|e| Error::store(format!("cannot list the pages of tenant `{tenant}`"), e))?;
    let id = |key: &str| names::parse_page_key(tenant, key);
    let pages = listed.into_iter().map(|m| Key::from(m.location));
    let pages = pages.filter_map(|key| Some((id(&key)?, key)));
    Ok(pages.filter(|(id, _)| !named.contains(id)).collect())
}
