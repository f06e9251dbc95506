//! The log of a table in the store: read from its last checkpoint on, and added to by conditional
//! puts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::paths;
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

/// The log in `folder`, as far as it is needed to know the table: its newest checkpoint and all
/// that came after. Empty where there is none.
///
/// # Errors
/// [`Error::Store`].
pub async fn fetch(store: &Arc<dyn ObjectStore>, folder: &str) -> Result<Vec<LogFile>> {
    let failed = |e| Error::store(format!("cannot read the table's log `{folder}`"), e);
    let listing = store
        .list(Some(&path(folder)?))
        .try_collect::<Vec<_>>()
        .await
        .map_err(failed)?;
    let names: Vec<String> = listing
        .iter()
        .filter_map(|m| {
            m.location
                .as_ref()
                .strip_prefix(folder)?
                .strip_prefix('/')
                .map(str::to_owned)
        })
        .collect();
    let checkpoint = names
        .iter()
        .filter(|n| paths::is_checkpoint(n))
        .filter_map(|n| paths::version(n))
        .max()
        .unwrap_or(0);
    let is_needed = |n: &String| {
        // Others may have written checkpoints in other forms.
        let kind = paths::is_commit(n) || n.contains(".checkpoint.");
        kind && paths::version(n).is_some_and(|v| v >= checkpoint)
    };
    let reads = names.into_iter().filter(is_needed).map(|name| async {
        let reply = store
            .get(&path(&format!("{folder}/{name}"))?)
            .await
            .map_err(failed)?;
        let body = whole_body(reply).await.map_err(failed)?;
        Ok((name, body))
    });
    stream::iter(reads)
        .buffer_unordered(READS_AT_ONCE)
        .try_collect()
        .await
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
