//! Reads footers before anything is decided about files: how many rows they have, and their times.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use object_store::ObjectStore;
use tokio::sync::Semaphore;

use crate::error::{Error, Result};
use icepack_core::model::estimate::FooterScan;
use icepack_core::model::file::{Micros, TimeSpread};
use icepack_core::model::names::Key;
use icepack_core::model::plan::{GroupKind, Plan, PlannedInput};
use icepack_core::model::time_column::TimeColumn;
use icepack_parquet::footer;
use icepack_parquet::source::fetch_footer;

/// Footers that are read at once, whatever the number of tenants.
const AT_ONCE: usize = 16;

/// Reads footers in bounded memory.
#[derive(Debug)]
pub struct FooterScanner {
    permits: Semaphore,
}

impl Default for FooterScanner {
    fn default() -> Self {
        Self {
            permits: Semaphore::new(AT_ONCE),
        }
    }
}

impl FooterScanner {
    /// Surveys the files that `plan` takes and whose times nobody knows, with one ranged GET each,
    /// two where a footer is long. A plan that only adopts files expires nothing, and none is
    /// surveyed. What cannot be read is left out: the merge will say what
    /// is wrong with it. `limit` is the memory in bytes for all footers that are read at once, by
    /// this plan and others.
    pub async fn survey(
        self: &Arc<Self>,
        store: &Arc<dyn ObjectStore>,
        plan: &Plan,
        column: &TimeColumn,
        limit: u64,
    ) -> FooterScan {
        if plan.groups.iter().all(|g| g.kind == GroupKind::Adopt) {
            return FooterScan::default();
        }
        let unknown: Vec<PlannedInput> = plan
            .groups
            .iter()
            .flat_map(|g| &g.inputs)
            .filter(|i| i.times().is_none())
            .cloned()
            .collect();
        let reads = unknown.into_iter().map(|input| {
            let (surveyor, store, column) = (Arc::clone(self), Arc::clone(store), column.clone());
            async move {
                let _permit = surveyor.permits.acquire().await.ok()?;
                match read(&store, &input, column, limit / AT_ONCE as u64).await {
                    Ok(extents) => Some((input.key, extents)),
                    Err(e) => {
                        tracing::debug!(file = input.key, "not surveyed: {e}");
                        None
                    }
                }
            }
        });
        let found: Vec<_> = stream::iter(reads)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        FooterScan {
            files: found.into_iter().flatten().collect(),
        }
    }
}

/// Groups of which a plan reads one footer each, to see whether their files can be dated.
const DATED: usize = 16;

/// So many of them at once.
pub const DATED_AT_ONCE: usize = 4;

/// The first file that a plan would merge or adopt and that has no date, and why in a sentence: where that is
/// so of the first file of each group, as far as they can be read. Costs a ranged GET for a group.
pub async fn undatable(
    store: &Arc<dyn ObjectStore>,
    plan: &Plan,
    column: &TimeColumn,
    limit: u64,
    now: DateTime<Utc>,
) -> Option<(Key, String)> {
    let now = Micros::from_datetime(now);
    let read_first = plan.groups.iter().filter(|g| g.kind != GroupKind::Expire);
    let raw = read_first.filter_map(|g| g.inputs.iter().find(|i| !i.is_snapshot()));
    let keys: Vec<Key> = raw.map(|i| i.key.clone()).take(DATED).collect();
    let read = |key: Key| async move {
        let read = fetch_footer(store.as_ref(), &key, limit).await;
        let (ident, tail) = read.ok()?;
        let dates = footer::dates(&tail, ident.size, limit, column, &key, now).ok()?;
        Some((key, dates.err()))
    };
    let found: Vec<_> = stream::iter(keys)
        .map(read)
        .buffered(DATED_AT_ONCE)
        .collect()
        .await;
    let mut first = None;
    for (key, why) in found.into_iter().flatten() {
        first.get_or_insert((key, why?));
    }
    first
}

async fn read(
    store: &Arc<dyn ObjectStore>,
    input: &PlannedInput,
    column: TimeColumn,
    limit: u64,
) -> Result<Vec<TimeSpread>> {
    let (ident, tail) = fetch_footer(store.as_ref(), &input.key, limit).await?;
    let work = move || {
        footer::extents(&tail, ident.size, limit, &column, &ident.key).map_err(|why| ident.bad(why))
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::local("cannot read a footer", e))?
        .map_err(Error::from)
}
