//! The log of a table in the store: read from its last checkpoint on, and added to by conditional
//! puts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use icepack_core::model::file::Listed;

use super::paths;
use super::stranger::Stranger;
use super::table::LogFile;
use icepack_parquet::source::whole_body;
use icepack_parquet::{Error, Result};

/// Files of a log that are read at once.
const READS_AT_ONCE: usize = 8;

/// Puts of one version whose replies say nothing.
const MAX_PUTS: u32 = 6;

fn path(key: &str) -> Result<Path> {
    Path::parse(key).map_err(|e| Error::store(format!("cannot reach `{key}`"), e.into()))
}

/// Whether a version is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Won,
    /// Somebody else's came first.
    Lost,
}

/// Files of a log that were read, by name, with the tags that they showed. What is written once is
/// read once.
#[derive(Debug, Default)]
pub struct Cache(BTreeMap<String, (String, Bytes)>);

/// The log of a table, as far as it is needed to know the table: its newest checkpoint and all that
/// came after. Empty where there is none.
#[derive(Debug, Clone, Default)]
pub struct Log {
    pub files: Vec<LogFile>,
    /// The names of the versions below, the newest first.
    older: Vec<String>,
    /// The versions that have a checkpoint.
    checkpoints: BTreeSet<u64>,
    /// Whether there is a hint that says where the last one is.
    has_hint: bool,
}

/// The names in a log, with the tags that they show.
async fn names(
    store: &Arc<dyn ObjectStore>,
    folder: &str,
) -> Result<Vec<(String, Option<String>)>> {
    let listing = store
        .list(Some(&path(folder)?))
        .try_collect::<Vec<_>>()
        .await
        .map_err(|e| failed(folder, e))?;
    let name = |m: &ObjectMeta| {
        let name = m
            .location
            .as_ref()
            .strip_prefix(folder)?
            .strip_prefix('/')?;
        Some((name.to_owned(), m.e_tag.clone()))
    };
    Ok(listing.iter().filter_map(name).collect())
}

fn failed(folder: &str, e: object_store::Error) -> Error {
    Error::store(format!("cannot read the table's log `{folder}`"), e)
}

async fn body(store: &Arc<dyn ObjectStore>, folder: &str, name: &str) -> Result<Bytes> {
    let reply = store.get(&path(&format!("{folder}/{name}"))?).await;
    let body = match reply {
        Ok(reply) => whole_body(reply).await,
        Err(e) => Err(e),
    };
    body.map_err(|e| failed(folder, e))
}

/// The log in `folder`.
///
/// # Errors
/// [`Error::Store`].
pub async fn fetch(store: &Arc<dyn ObjectStore>, folder: &str, cache: &mut Cache) -> Result<Log> {
    let names = names(store, folder).await?;
    let checkpoint = names
        .iter()
        .filter(|(n, _)| paths::is_checkpoint(n))
        .filter_map(|(n, _)| paths::version(n))
        .max()
        .unwrap_or(0);
    let has_hint = names.iter().any(|(n, _)| n == paths::LAST_CHECKPOINT);
    let checkpoints = names.iter().filter(|(n, _)| n.contains(".checkpoint."));
    let checkpoints = checkpoints.filter_map(|(n, _)| paths::version(n)).collect();
    let is_needed = |n: &str| {
        // Others may have written checkpoints in other forms.
        let kind = paths::is_commit(n) || n.contains(".checkpoint.");
        kind && paths::version(n).is_some_and(|v| v >= checkpoint)
    };
    let (needed, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|(n, _)| is_needed(n));
    let known = std::mem::take(&mut cache.0);
    let reads = needed.into_iter().map(|(name, tag)| {
        let is_it = |(of, _): &&(String, Bytes)| tag.as_ref() == Some(of);
        let found = known.get(&name).filter(is_it).map(|(_, body)| body.clone());
        async move {
            let body = match found {
                Some(body) => body,
                None => body(store, folder, &name).await?,
            };
            Ok::<_, Error>((name, tag, body))
        }
    });
    let read: Vec<_> = stream::iter(reads)
        .buffer_unordered(READS_AT_ONCE)
        .try_collect()
        .await?;
    let mut files = Vec::new();
    for (name, tag, body) in read {
        if let Some(tag) = tag {
            cache.0.insert(name.clone(), (tag, body.clone()));
        }
        files.push((name, body));
    }
    let mut older: Vec<String> = others
        .into_iter()
        .map(|(n, _)| n)
        .filter(|n| paths::is_commit(n))
        .collect();
    older.sort_by(|a, b| b.cmp(a));
    Ok(Log {
        files,
        older,
        checkpoints,
        has_hint,
    })
}

/// Removes a hint that leads to no checkpoint: readers that believe it fail, and do without one.
/// A hint of an older checkpoint costs them only time.
///
/// # Errors
/// [`Error::Store`].
pub async fn mend_hint(store: &Arc<dyn ObjectStore>, folder: &str, log: &Log) -> Result<()> {
    if !log.has_hint {
        return Ok(());
    }
    let key = path(&format!("{folder}/{}", paths::LAST_CHECKPOINT))?;
    let Some(hint) = read(store, &key).await.map_err(|e| failed(folder, e))? else {
        return Ok(());
    };
    let hint = serde_json::from_slice::<serde_json::Value>(&hint);
    let version = hint.ok().and_then(|hint| hint.get("version")?.as_u64());
    if version.is_some_and(|v| log.checkpoints.contains(&v)) {
        return Ok(());
    }
    tracing::warn!("`{key}` leads to no checkpoint: it is removed, and comes with the next one");
    match store.delete(&key).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(e) => Err(failed(folder, e)),
    }
}

/// The newest version in `folder` that `listed` shows; none where there is none.
///
/// # Errors
/// [`Error::Store`].
pub async fn newest(
    store: &Arc<dyn ObjectStore>,
    folder: &str,
    listed: &[Listed],
) -> Result<Option<Bytes>> {
    let name = |f: &'_ Listed| {
        f.key
            .strip_prefix(folder)?
            .strip_prefix('/')
            .map(str::to_owned)
    };
    let commits = listed.iter().filter_map(name);
    match commits.filter(|n| paths::is_commit(n)).max() {
        Some(name) => body(store, folder, &name).await.map(Some),
        None => Ok(None),
    }
}

/// Whether there is a file of this key.
///
/// # Errors
/// [`Error::Store`].
pub async fn exists(store: &Arc<dyn ObjectStore>, key: &str) -> Result<bool> {
    match store.head(&path(key)?).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(e) => Err(Error::store(format!("cannot look for `{key}`"), e)),
    }
}

/// What others wrote since our last version, the newest first.
///
/// # Errors
/// [`Error::Store`].
pub async fn strangers(
    store: &Arc<dyn ObjectStore>,
    folder: &str,
    log: &Log,
) -> Result<Vec<Stranger>> {
    let commits = log.files.iter().filter(|(name, _)| paths::is_commit(name));
    let mut commits: Vec<&LogFile> = commits.collect();
    commits.sort_by(|a, b| b.0.cmp(&a.0));
    let mut found = Vec::new();
    for (name, body) in commits {
        match Stranger::of(name, body) {
            Some(stranger) => found.push(stranger),
            None => return Ok(found),
        }
    }
    // They may have written a checkpoint since, too.
    for name in &log.older {
        match Stranger::of(name, &body(store, folder, name).await?) {
            Some(stranger) => found.push(stranger),
            None => break,
        }
    }
    Ok(found)
}

/// Puts a version that must not exist yet. As with manifests, every reply but a plain success is
/// settled by reading the version back.
///
/// # Errors
/// [`Error::Store`], also where it cannot be found out whether the put succeeded: the next
/// publication begins with what is there.
pub async fn put(store: &Arc<dyn ObjectStore>, folder: &str, file: &LogFile) -> Result<Put> {
    let (name, body) = file;
    let key = path(&format!("{folder}/{name}"))?;
    let mut attempt = 0;
    loop {
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        let Err(e) = store.put_opts(&key, body.clone().into(), options).await else {
            return Ok(Put::Won);
        };
        match read(store, &key).await {
            // No two commits are the same: each has an id of its own.
            Ok(Some(found)) if found == *body => return Ok(Put::Won),
            Ok(Some(_)) => return Ok(Put::Lost),
            Ok(None) if attempt < MAX_PUTS => {}
            Ok(None) => return Err(Error::store(format!("cannot write `{key}`"), e)),
            Err(read) => {
                return Err(Error::store(
                    format!("cannot write `{key}`, nor find out whether it was written ({read})"),
                    e,
                ));
            }
        }
        tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
        attempt += 1;
    }
}

/// The files of a log that nobody needs who reads a version that is younger than `keep`: those
/// below the newest checkpoint that is as old. Of `log`, names and the store's times of their
/// writing, the newest tells what time it is.
fn outdated(log: &[(String, DateTime<Utc>)], keep: Duration) -> Vec<&str> {
    let (Some(now), Ok(keep)) = (
        log.iter().map(|(_, at)| *at).max(),
        TimeDelta::from_std(keep),
    ) else {
        return Vec::new();
    };
    let is_old = |at: &DateTime<Utc>| at.checked_add_signed(keep).is_some_and(|t| t <= now);
    let base = log
        .iter()
        .filter(|(name, at)| paths::is_checkpoint(name) && is_old(at))
        .filter_map(|(name, _)| paths::version(name))
        .max()
        .unwrap_or(0);
    log.iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| paths::version(name).is_some_and(|v| v < base))
        .collect()
}

/// Removes what is outdated. How many files.
///
/// # Errors
/// [`Error::Store`].
pub async fn prune(store: &Arc<dyn ObjectStore>, folder: &str, keep: Duration) -> Result<usize> {
    let failed = |e| Error::store(format!("cannot tidy the table's log `{folder}`"), e);
    let listing = store
        .list(Some(&path(folder)?))
        .try_collect::<Vec<_>>()
        .await
        .map_err(failed)?;
    let names: Vec<_> = listing
        .iter()
        .filter_map(|m| {
            Some((
                m.location
                    .as_ref()
                    .strip_prefix(folder)?
                    .strip_prefix('/')?
                    .to_owned(),
                m.last_modified,
            ))
        })
        .collect();
    let old = outdated(&names, keep);
    for name in &old {
        match store.delete(&path(&format!("{folder}/{name}"))?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(old.len())
}

async fn read(store: &Arc<dyn ObjectStore>, key: &Path) -> object_store::Result<Option<Bytes>> {
    match store.get(key).await {
        Ok(reply) => whole_body(reply).await.map(Some),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Puts a checkpoint, or the hint that there is one. Every writer's checkpoint of a version says
/// the same, and a reader does without the hint.
///
/// # Errors
/// [`Error::Store`].
pub async fn put_checkpoint(
    store: &Arc<dyn ObjectStore>,
    folder: &str,
    file: LogFile,
) -> Result<()> {
    let (name, body) = file;
    let mode = if paths::is_checkpoint(&name) {
        PutMode::Create
    } else {
        PutMode::Overwrite
    };
    let options = PutOptions {
        mode,
        ..PutOptions::default()
    };
    match store
        .put_opts(&path(&format!("{folder}/{name}"))?, body.into(), options)
        .await
    {
        Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
        Err(e) => Err(Error::store(format!("cannot write `{folder}/{name}`"), e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_kept_from_the_last_checkpoint_before_what_may_be_read() {
        let day = |n: i64| DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(n);
        let mut log: Vec<_> = (0..=30)
            .map(|n| (format!("{n:020}.json"), day(n)))
            .collect();
        log.extend([10, 20, 30].map(|n| (format!("{n:020}.checkpoint.parquet"), day(n))));
        log.extend([
            ("_last_checkpoint".to_owned(), day(30)),
            ("_sidecars/x.parquet".to_owned(), day(0)),
        ]);
        let days = |n: u64| Duration::from_secs(n * 86_400);
        let old = outdated(&log, days(9));
        assert_eq!(
            old.len(),
            21,
            "20 versions, and the checkpoint below the second: {old:?}"
        );
        assert!(
            old.iter().all(|name| paths::version(name).unwrap() < 20),
            "{old:?}"
        );
        assert_eq!(outdated(&log, days(10)).len(), 21);
        assert_eq!(outdated(&log, days(11)).len(), 10);
        assert_eq!(outdated(&log, days(21)), [] as [&str; 0]);
        assert_eq!(outdated(&log, Duration::MAX), [] as [&str; 0]);
        assert_eq!(outdated(&[], days(0)), [] as [&str; 0]);
    }
}
