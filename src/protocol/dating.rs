//! Finds the column that dated a snapshot, where the manifest does not say it: the footer names the
//! column by which the file is sorted.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;

use crate::error::{Error, ReadError, Result};
use icepack_core::model::manifest::Manifest;
use icepack_core::model::names::Key;
use icepack_parquet::footer;
use icepack_parquet::source::fetch_footer;

/// Footers that are read at once.
const AT_ONCE: usize = 8;

/// The columns that date the snapshots of which `head` does not say it, with one ranged GET each.
/// What cannot be read, and what says nothing, is left out: nothing is known of its times then. The
/// footers that are read at once may take `limit` bytes.
///
/// # Errors
/// [`Error::Store`] where one cannot be fetched. Nothing may follow from that, least of all that a
/// snapshot is to be rewritten.
pub async fn columns(
    store: &Arc<dyn ObjectStore>,
    head: &Manifest,
    limit: u64,
) -> Result<BTreeMap<Key, String>> {
    let unknown: Vec<Key> = head
        .snapshots
        .iter()
        .filter(|s| s.dated_by.is_none())
        .map(|s| s.key.clone())
        .collect();
    let reads = stream::iter(unknown).map(|key| async move {
        Ok::<_, Error>(
            column(store, &key, limit / AT_ONCE as u64)
                .await?
                .map(|found| (key, found)),
        )
    });
    let found: Vec<_> = reads.buffered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Like [`columns`], for one snapshot.
///
/// # Errors
/// As [`columns`].
pub async fn column(store: &Arc<dyn ObjectStore>, key: &str, limit: u64) -> Result<Option<String>> {
    let read = async {
        let (ident, tail) = fetch_footer(store.as_ref(), key, limit).await?;
        let work =
            move || footer::sorted_by(&tail, ident.size, limit).map_err(|why| ident.bad(why));
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| Error::local("cannot read a footer", e))?
            .map_err(Error::from)
    };
    match read.await {
        Err(e @ Error::Read(ReadError::Input { .. } | ReadError::Gone(_))) => {
            tracing::debug!(file = key, "which column dates it is not known: {e}");
            Ok(None)
        }
        found => found,
    }
}
