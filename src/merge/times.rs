//! Reads the times of files that are adopted, and not merged. The files are opened as for a merge,
//! so what a merge would refuse is refused here too. Only their times are read, and nothing else is
//! kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures::{StreamExt, stream};
use object_store::ObjectStore;
use tokio::runtime::Handle;

use super::job::{SpillDir, Stop};
use super::open::{Opened, Opener};
use super::{Abandon, BadInput, Env, Flaw};
use crate::budget::MergeBudget;
use crate::error::{Result, Unread};
use icepack_core::model::adopted::RowTimes;
use icepack_core::model::file::{Micros, SeenInput};
use icepack_core::model::plan::PlannedInput;
use icepack_parquet::Columns;
use icepack_parquet::read::TAIL;
use icepack_parquet::schema::UnionSchema;
use icepack_parquet::source::Ident;

/// The files whose times are read.
#[derive(Debug, Clone)]
pub struct TimesSpec {
    pub inputs: Vec<PlannedInput>,
    /// The columns that mean something.
    pub columns: Columns,
    /// Of this no row is the later, unless its clock is wrong.
    pub now: Micros,
}

/// The times of one file.
#[derive(Debug, Default)]
pub struct FileTimes {
    /// Each file as the read showed it, and its times.
    pub read: Vec<(SeenInput, RowTimes)>,
    /// Files that a merge would refuse too, whatever the others are.
    pub bad: Vec<BadInput>,
}

/// Reads the times of files, `budget.prefetch` at once. A file no larger than what is fetched to
/// find a footer is one GET; of any other, the footer and each chunk of the time column are.
///
/// # Errors
/// Of the store, where it is about no single file, or where it gives none; [`crate::Error::Stopped`].
pub async fn read(
    store: &Arc<dyn ObjectStore>,
    spec: TimesSpec,
    budget: MergeBudget,
    stop: Arc<AtomicBool>,
    spill_dir: PathBuf,
) -> Result<FileTimes> {
    let abandoned = Abandon(Arc::default());
    let env = Arc::new(Env {
        store: Arc::clone(store),
        runtime: Handle::current(),
        stop: Stop {
            asked: stop,
            abandoned: Arc::clone(&abandoned.0),
        },
        on_progress: Arc::new(|_, _| {}),
        files: SpillDir::below(spill_dir),
    });
    let budget = MergeBudget {
        whole: TAIL,
        // Nothing is held once it has been looked at.
        pool: u64::MAX,
        ..budget
    };
    let opener = Opener::new(&env, budget, &spec.columns.timestamp, spec.now, false);
    let reads = spec.inputs.into_iter().map(|planned| {
        let (opener, columns) = (Arc::clone(&opener), spec.columns.clone());
        async move { opener.open(planned).await.map(|o| times(&o, &columns)) }
    });
    let mut reads = stream::iter(reads).buffer_unordered(budget.prefetch);
    let (mut found, mut denied) = (FileTimes::default(), None);
    while let Some(read) = reads.next().await {
        match read {
            Ok(Ok(times)) => found.read.push(times),
            Ok(Err(bad)) => found.bad.push(*bad),
            Err(e) => {
                let bad = BadInput::of(&e);
                if bad
                    .as_ref()
                    .is_some_and(|b| b.flaw == Flaw::Unread(Unread::Denied))
                {
                    denied = Some(e);
                } else if bad.is_none() {
                    return Err(e);
                }
                found.bad.extend(bad);
            }
        }
    }
    // Whether it is the file or the credentials, only the others tell.
    if let Some(e) = denied.filter(|_| found.read.is_empty()) {
        return Err(e);
    }
    found.read.sort_by(|a, b| a.0.key.cmp(&b.0.key));
    found.bad.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

/// The times of a file, if it could be merged by itself.
fn times(opened: &Opened, columns: &Columns) -> Result<(SeenInput, RowTimes), Box<BadInput>> {
    let mut union = UnionSchema::new(columns);
    let dated = opened.dated.clone();
    let fits = dated.clone().and_then(|()| union.add(&opened.schema));
    match (fits, opened.profile) {
        (Ok(()), Some(profile)) => Ok((
            opened.seen(),
            RowTimes {
                rows: opened.rows,
                undated: profile.undated,
                min: profile.min,
                max: profile.max,
            },
        )),
        (fits, _) => {
            let flaw = if dated.is_err() {
                Flaw::Undatable
            } else {
                Flaw::Damaged
            };
            let reason = fits.err().unwrap_or_default();
            let Ident { key, size, etag } = Ident::clone(&opened.file.ident);
            Err(Box::new(BadInput {
                key,
                size,
                etag,
                reason,
                flaw,
            }))
        }
    }
}
