//! Records of passes: `_icepack/runs/<time>-<id>.json`. By them a process that lives for a minute
//! knows what the passes before it did.

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::error::{Error, Result};
use crate::store::path;
use icepack_core::model::names::{FileId, Key, STATE_DIR, format_iso_basic};
use icepack_core::model::record::RunRecord;
use icepack_core::model::report::RunReport;
use icepack_core::model::shard::Shard;
use icepack_parquet::source::whole_body;

/// Records kept.
const KEEP: usize = 200;

/// Records read at once.
const AT_ONCE: usize = 8;

fn dir() -> Key {
    format!("{STATE_DIR}/runs")
}

fn key(report: &RunReport) -> Key {
    format!(
        "{}/{}-{}.json",
        dir(),
        format_iso_basic(report.started_at),
        report.run_id
    )
}

/// Whether a key is a record's. The time in front makes the order of names the order of time.
fn is_record(key: &str) -> bool {
    let Some(stem) = key
        .strip_prefix(&dir())
        .and_then(|k| k.strip_prefix('/'))
        .and_then(|k| k.strip_suffix(".json"))
    else {
        return false;
    };
    stem.len() == 18 + 1 + 26
        && stem
            .get(19..)
            .is_some_and(|id| id.parse::<FileId>().is_ok())
}

/// Stores the record of a pass, with `error` if that ended it, and drops the oldest ones.
///
/// # Errors
/// [`Error::Store`]; the pass itself is not harmed.
pub async fn record(
    store: &dyn ObjectStore,
    report: &RunReport,
    error: Option<String>,
    shard: Shard,
) -> Result<RunRecord> {
    let now =
        report.started_at + TimeDelta::milliseconds(i64::try_from(report.duration_ms).unwrap_or(0));
    let keys = list(store, now).await?;
    let before = newest(store, &keys, |r| r.shard == shard).await;
    // A network that failed for a moment must not cost this record too: its sums begin anew, as
    // after a restart.
    let before = before
        .inspect_err(|e| tracing::warn!("the sums of earlier passes cannot be carried on: {e}"))
        .unwrap_or_default();
    let record = RunRecord::of(report, error, shard, before.as_ref());
    let key = key(report);
    let body = serde_json::to_vec(&record)
        .map_err(|e| Error::local("cannot write the run record as JSON", e))?;
    let options = PutOptions {
        mode: PutMode::Create,
        ..PutOptions::default()
    };
    match store
        .put_opts(&path(&key)?, PutPayload::from(body), options)
        .await
    {
        // A put whose reply was lost: the name holds the run's id, so it is ours.
        Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
        Err(e) => {
            return Err(Error::store(
                format!("cannot write the run record `{key}`"),
                e,
            ));
        }
    }
    drop_old(store, &keys).await?;
    Ok(record)
}

/// Deletes the oldest of `keys`, so that with the one just written [`KEEP`] are left.
async fn drop_old(store: &dyn ObjectStore, keys: &[Entry]) -> Result<()> {
    let old = &keys[..(keys.len() + 1).saturating_sub(KEEP)];
    if old.is_empty() {
        return Ok(());
    }
    let paths = old
        .iter()
        .map(|e| path(&e.key))
        .collect::<Result<Vec<_>>>()?;
    let replies: Vec<_> = store
        .delete_stream(stream::iter(paths).map(Ok).boxed())
        .collect()
        .await;
    let failed = replies
        .into_iter()
        .filter_map(Result::err)
        .find(|e| !matches!(e, object_store::Error::NotFound { .. }));
    if let Some(e) = failed {
        tracing::warn!("an old run record could not be deleted: {e}");
    }
    Ok(())
}

/// A record that is listed.
#[derive(Debug, Clone)]
struct Entry {
    key: Key,
    /// The store's time of its writing, where its name is of the future: a machine made it whose
    /// clock was ahead.
    written: Option<DateTime<Utc>>,
}

impl Entry {
    fn of(key: Key, written: DateTime<Utc>, now: &str) -> Self {
        let is_early = begun(&key) > now;
        Self {
            key,
            written: is_early.then_some(written),
        }
    }

    /// When the pass began as far as that can be believed, as in the name of a record.
    fn time(&self) -> String {
        self.written
            .map_or_else(|| begun(&self.key).to_owned(), format_iso_basic)
    }
}

/// The time in the name of a record.
fn begun(key: &str) -> &str {
    key.rsplit('/')
        .next()
        .and_then(|name| name.get(..18))
        .unwrap_or_default()
}

/// The records, the oldest first. One that says of itself that it is later than `now` has its place
/// by the store's time: else it would be the newest for years, and what comes after it would be
/// passed over.
async fn list(store: &dyn ObjectStore, now: DateTime<Utc>) -> Result<Vec<Entry>> {
    let metas: Vec<_> = store
        .list(Some(&path(&dir())?))
        .try_collect()
        .await
        .map_err(|e| Error::store("cannot list the run records", e))?;
    let now = format_iso_basic(now);
    let records = metas.into_iter().filter(|m| is_record(m.location.as_ref()));
    let mut entries: Vec<Entry> = records
        .map(|m| Entry::of(m.location.as_ref().to_owned(), m.last_modified, &now))
        .collect();
    entries.sort_by_cached_key(|e| (e.time(), e.key.clone()));
    Ok(entries)
}

/// One record; none where another run dropped it in between, or where it cannot be understood.
async fn read(store: &dyn ObjectStore, entry: &Entry) -> Result<Option<RunRecord>> {
    let key = entry.key.as_str();
    let reply = match store.get(&path(key)?).await {
        Ok(reply) => reply,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(e) => {
            return Err(Error::store(
                format!("cannot read the run record `{key}`"),
                e,
            ));
        }
    };
    let body = whole_body(reply)
        .await
        .map_err(|e| Error::store(format!("cannot read the run record `{key}`"), e))?;
    match serde_json::from_slice::<RunRecord>(&body) {
        Ok(record) => Ok(Some(match entry.written {
            Some(written) => record.as_of(written),
            None => record,
        })),
        Err(e) => {
            tracing::warn!("the run record `{key}` cannot be read and is passed over: {e}");
            Ok(None)
        }
    }
}

/// The newest of `keys` that can be read and that `wanted` takes. One request where it is the last.
async fn newest(
    store: &dyn ObjectStore,
    keys: &[Entry],
    wanted: impl Fn(&RunRecord) -> bool,
) -> Result<Option<RunRecord>> {
    let mut ahead = 1;
    let mut left = keys;
    while let Some(from) = left
        .len()
        .checked_sub(1)
        .map(|last| (last + 1).saturating_sub(ahead))
    {
        let found = read_all(store, &left[from..]).await?;
        if let Some(record) = found.into_iter().rev().find(|r| wanted(r)) {
            return Ok(Some(record));
        }
        left = &left[..from];
        ahead = AT_ONCE;
    }
    Ok(None)
}

async fn read_all(store: &dyn ObjectStore, keys: &[Entry]) -> Result<Vec<RunRecord>> {
    let reads: Vec<_> = keys.iter().map(|entry| read(store, entry)).collect();
    let reads = stream::iter(reads).buffered(AT_ONCE);
    Ok(reads
        .try_collect::<Vec<_>>()
        .await?
        .into_iter()
        .flatten()
        .collect())
}

/// The newest record of a shard that can be read at `now`; none where no pass of it was recorded.
///
/// # Errors
/// [`Error::Store`] where the records cannot be listed or fetched.
pub async fn last(
    store: &dyn ObjectStore,
    shard: Shard,
    now: DateTime<Utc>,
) -> Result<Option<RunRecord>> {
    newest(store, &list(store, now).await?, |r| r.shard == shard).await
}

/// The records of the last passes before `now`, the oldest first: `most` at most.
///
/// # Errors
/// [`Error::Store`] where the records cannot be listed or fetched.
pub async fn recent(
    store: &dyn ObjectStore,
    most: usize,
    now: DateTime<Utc>,
) -> Result<Vec<RunRecord>> {
    let keys = list(store, now).await?;
    read_all(store, &keys[keys.len().saturating_sub(most)..]).await
}

/// The last pass, the last good one and the last bad one, by the records.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    pub last: Option<RunRecord>,
    /// The newest of a pass that did all it could.
    pub success: Option<RunRecord>,
    /// The newest of one that did not, among the last [`RECENT`] records.
    pub failure: Option<RunRecord>,
}

/// Records among which [`summary`] looks for a failure: older ones say nothing about how things
/// are.
pub const RECENT: usize = 24;

/// Looks through the records, at `now`.
///
/// # Errors
/// [`Error::Store`] where the records cannot be listed or fetched.
pub async fn summary(store: &dyn ObjectStore, now: DateTime<Utc>) -> Result<Summary> {
    let keys = list(store, now).await?;
    let older = keys.len().saturating_sub(RECENT);
    let recent = read_all(store, &keys[older..]).await?;
    let find = |good: bool| {
        recent
            .iter()
            .rev()
            .find(|r| r.is_success() == good)
            .cloned()
    };
    let success = match find(true) {
        Some(record) => Some(record),
        None => newest(store, &keys[..older], RunRecord::is_success).await?,
    };
    Ok(Summary {
        last: recent.last().cloned(),
        success,
        failure: find(false),
    })
}

#[cfg(test)]
mod tests;
