//! Records of passes: `_icepack/runs/<time>-<id>.json`, so that a short-lived process knows when the last pass was.

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::store::path;
use crate::error::{Error, Result};
use crate::model::names::{FileId, Key, STATE_DIR, format_iso_basic};
use crate::model::report::RunReport;

/// Records kept.
const KEEP: usize = 200;

fn dir() -> Key {
    format!("{STATE_DIR}/runs")
}

fn key(report: &RunReport) -> Key {
    format!("{}/{}-{}.json", dir(), format_iso_basic(report.started_at), report.run_id)
}

/// Whether a key is a record's. The time in front makes the order of names the order of time.
fn is_record(key: &str) -> bool {
    let Some(stem) = key.strip_prefix(&dir()).and_then(|k| k.strip_prefix('/')).and_then(|k| k.strip_suffix(".json")) else { return false };
    stem.len() == 18 + 1 + 26 && stem.get(19..).is_some_and(|id| id.parse::<FileId>().is_ok())
}

/// Stores the record of a pass and drops the oldest ones.
///
/// # Errors
/// [`Error::Store`]; the pass itself is not harmed.
pub async fn record(store: &dyn ObjectStore, report: &RunReport) -> Result<()> {
    let key = key(report);
    let body = serde_json::to_vec(report).map_err(|e| Error::local("cannot write the run record as JSON", e))?;
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match store.put_opts(&path(&key)?, PutPayload::from(body), options).await {
        // A put whose reply was lost: the name holds the run's id, so it is ours.
        Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
        Err(e) => return Err(Error::store(format!("cannot write the run record `{key}`"), e)),
    }
    let keys = list(store).await?;
    let old = &keys[..keys.len().saturating_sub(KEEP)];
    if !old.is_empty() {
        let paths = old.iter().map(|k| path(k)).collect::<Result<Vec<_>>>()?;
        let replies: Vec<_> = store.delete_stream(stream::iter(paths).map(Ok).boxed()).collect().await;
        if let Some(Err(e)) = replies.into_iter().find(Result::is_err) {
            tracing::warn!("an old run record could not be deleted: {e}");
        }
    }
    Ok(())
}

/// The records' keys, the oldest first.
async fn list(store: &dyn ObjectStore) -> Result<Vec<Key>> {
    let metas: Vec<_> = store.list(Some(&path(&dir())?)).try_collect().await.map_err(|e| Error::store("cannot list the run records", e))?;
    let mut keys: Vec<Key> = metas.into_iter().map(|m| m.location.as_ref().to_owned()).filter(|k| is_record(k)).collect();
    keys.sort();
    Ok(keys)
}

/// The newest record that can be read; none where no pass was recorded.
///
/// # Errors
/// [`Error::Store`] where the records cannot be listed or fetched.
pub async fn last(store: &dyn ObjectStore) -> Result<Option<RunReport>> {
    for key in list(store).await?.iter().rev() {
        let reply = match store.get(&path(key)?).await {
            Ok(reply) => reply,
            // Another run dropped it in between.
            Err(object_store::Error::NotFound { .. }) => continue,
            Err(e) => return Err(Error::store(format!("cannot read the run record `{key}`"), e)),
        };
        let body = reply.bytes().await.map_err(|e| Error::store(format!("cannot read the run record `{key}`"), e))?;
        match serde_json::from_slice(&body) {
            Ok(report) => return Ok(Some(report)),
            Err(e) => tracing::warn!("the run record `{key}` cannot be read and is passed over: {e}"),
        }
    }
    Ok(None)
}
