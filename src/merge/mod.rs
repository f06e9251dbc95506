//! Many inputs to few sorted snapshots, in bounded memory.
//!
//! 1. **Open** (`open`): every input is fetched or at least seen, its footer checked, its times
//!    profiled. What cannot be read is reported, all of it at once, before anything is written. Of
//!    a bucket's larger inputs for which memory has no room, only the footers are read: the rest
//!    follows when the merge comes to it (`later`).
//! 2. **Plan** (`run`): every input is a sorted run, or is sorted when it is read. Large snapshots
//!    are cut into row groups to copy and row groups to decode (`row_group_split`).
//! 3. **Reduce** (`spill`): what is too large to be sorted in memory is sorted on the local disk.
//!    Where more runs overlap than memory allows, neighbours are merged into runs there first.
//! 4. **Merge** (`passthrough`): what nothing overlaps is copied; between, a k-way merge (`kway`)
//!    opens only what overlaps.
//! 5. **Output** (`output`), on a thread of its own: exact duplicates are dropped (`dedup`),
//!    expired rows leave, the rest is cut into snapshots.
//!
//! Each step uses those before it, and none after it: `output` and `spill` above `kway` and `run`,
//! these above `decode`, `open` and `chunk`.
//!
//! The order of rows is (time, run, place in the run), and runs are numbered by their first row,
//! then by the order of inputs. It does not depend on the memory that is given, nor on how fast
//! anything arrives: the same inputs give the same snapshots but for their ids.

mod chunk;
mod decode;
mod dedup;
mod job;
mod kway;
mod later;
mod open;
mod output;
mod overlap;
mod passthrough;
mod row_group_split;
mod run;
mod spill;
mod spill_file;
#[cfg(test)]
mod tests;
pub mod times;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use object_store::ObjectStore;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::budget::MergeBudget;
use crate::closing::ItemSender;
use crate::error::{Error, ReadError, Result, Unread};
use icepack_core::model::file::{Fingerprint, Micros, SeenInput, Snapshot};
use icepack_core::model::names::{FileId, Key, Place, Tenant};
use icepack_core::model::plan::PlannedInput;
use icepack_core::model::policy::{Uniting, Writing};
use icepack_core::model::schema::TableSchema;
use icepack_core::plan::compaction::Period;
use icepack_core::plan::cutting::FileSize;
use icepack_core::plan::retention::LeaveRule;
use icepack_parquet::Columns;
use icepack_parquet::schema::described;
use job::{Job, SpillDir, Stop};
use later::Fetching;
use open::OpenedAll;
use output::{Output, OutputSpec, Written};
use passthrough::Rules;

/// The inputs of a merge and what becomes of them.
#[derive(Debug, Clone)]
pub struct MergeSpec {
    pub tenant: Tenant,
    /// Where the snapshots lie.
    pub place: Place,
    pub inputs: Vec<PlannedInput>,
    /// The columns that mean something.
    pub columns: Columns,
    /// Which columns of different types are united.
    pub uniting: Uniting,
    /// Later rows are implausible.
    pub now: Micros,
    /// Dated rows before this have expired.
    pub cutoff: Option<Micros>,
    /// When those rows leave. None: always.
    pub leave: Option<LeaveRule>,
    /// Where snapshots end.
    pub size: FileSize,
    /// How snapshots are written.
    pub writing: Writing,
    /// Snapshots also end with the month or the day, …
    pub cut: Period,
    /// … once they have this many bytes.
    pub min_piece: u64,
    /// Whether the rows' fingerprints must balance too, not only their number: costs one hash per
    /// row.
    pub check_content: bool,
}

/// The resources of a merge.
pub struct MergeEnv {
    pub store: Arc<dyn ObjectStore>,
    /// Gives each snapshot its id.
    pub mint: Arc<dyn Fn() -> FileId + Send + Sync>,
    /// Takes expired rows; without it they are dropped. That they were all, the caller says once
    /// [`merge`] has returned `Ok`.
    pub expired: Option<ItemSender<ExpiredBatch>>,
    /// Ends the merge early when it is set.
    pub stop: Arc<AtomicBool>,
    /// Told of input bytes and rows as they are dealt with.
    pub on_progress: Arc<dyn Fn(u64, u64) + Send + Sync>,
    /// Where runs go that do not fit into memory.
    pub spill_dir: PathBuf,
    /// Merges that share it fetch their inputs one after the other: two at once would each have
    /// them twice as late, and none could begin.
    pub fetching: Arc<Semaphore>,
    /// Whether inputs for which memory has no room are fetched when the merge comes to them. Those
    /// of a directory need not be fetched.
    pub defers: bool,
}

/// Expired rows on their way to the archive, in time order.
#[derive(Debug, Clone)]
pub struct ExpiredBatch {
    pub batch: RecordBatch,
    /// The first row's time, rounded down.
    pub from: Micros,
    /// No expired row of this merge is later.
    pub to_bound: Micros,
}

/// The result of a merge.
#[derive(Debug, Clone)]
pub struct MergeOutcome {
    /// The snapshots, complete in the store, in time order.
    pub snapshots: Vec<Snapshot>,
    pub schema: TableSchema,
    /// The inputs as they were read, in the order they were given.
    pub inputs: Vec<SeenInput>,
    /// Rows that had expired: sent to the sink, or dropped where there is none.
    pub rows_expired: u64,
    pub expired_fingerprint: Fingerprint,
    /// Exact duplicates that were dropped.
    pub deduplicated: u64,
    /// Rows that were kept although another row has their id: the two differ.
    pub id_conflicts: u64,
    /// Rows that were kept and whose time is null, before 2000, or later than now.
    pub implausible: u64,
    /// Runs that went through the local disk, because memory did not allow otherwise.
    pub spilled_runs: u64,
    /// Snapshots among the inputs that were copied without being decoded, and their bytes.
    pub copied_runs: u64,
    pub copied_bytes: u64,
}

/// A file that cannot be merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadInput {
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// The version that was read.
    pub etag: Option<String>,
    /// Why, in a sentence.
    pub reason: String,
    /// What is wrong, and so what becomes of it.
    pub flaw: Flaw,
}

/// Why an input cannot be merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// Its bytes are not what they should be.
    Damaged,
    /// It is a file like any other but for what dates its rows: then the setting may be wrong, and
    /// not the file.
    Undatable,
    /// Nothing is wrong with it: it could not be read now.
    Unread(Unread),
}

impl BadInput {
    /// The flaw of an input, from an error; none where the error is about something else.
    pub fn of(error: &Error) -> Option<Self> {
        let Error::Read(error) = error else {
            return None;
        };
        match error {
            ReadError::Input {
                key,
                size,
                etag,
                reason,
            } => Some(Self {
                key: key.clone(),
                size: *size,
                etag: etag.clone(),
                reason: reason.clone(),
                flaw: Flaw::Damaged,
            }),
            ReadError::Gone(key) | ReadError::Changed(key) | ReadError::Withheld { key, .. } => {
                let (unread, reason) = error.unread()?;
                Some(Self {
                    key: key.clone(),
                    size: 0,
                    etag: None,
                    reason,
                    flaw: Flaw::Unread(unread),
                })
            }
            _ => None,
        }
    }
}

/// A part of a merge's inputs, each smaller than the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub keys: Vec<Key>,
    /// The columns that keep it apart from each part before it. None where it is no single one.
    pub columns: Vec<Option<String>>,
}

/// Why nothing was merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Files that must be left out; the caller may try again without them.
    #[error("{} of the files cannot be read, first `{}`: {}", .0.len(), .0.first().map_or("", |b| &b.key), .0.first().map_or("", |b| &b.reason))]
    Bad(Vec<BadInput>),
    /// Inputs of several classes: no file holds the rows of all without loss. Nothing is wrong with
    /// them; the caller merges each part by itself.
    #[error("the files have {} classes of columns", .0.len())]
    Apart(Vec<Part>),
    /// Anything else.
    #[error(transparent)]
    Failed(Error),
}

impl From<Error> for MergeError {
    fn from(error: Error) -> Self {
        BadInput::of(&error).map_or(Self::Failed(error), |bad| Self::Bad(vec![bad]))
    }
}

/// Stops the blocking part when the caller no longer waits for it.
struct Abandon(Arc<AtomicBool>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What the steps of one merge share.
struct Env {
    store: Arc<dyn ObjectStore>,
    runtime: Handle,
    stop: Stop,
    on_progress: Arc<dyn Fn(u64, u64) + Send + Sync>,
    files: SpillDir,
}

/// Merges the inputs of `spec` into snapshots, within `budget`. Snapshots that were complete when a
/// merge fails stay in the store, named by nobody.
///
/// # Errors
/// [`MergeError::Bad`] names every input that could not be read, or is not what was planned.
/// [`MergeError::Apart`]: they cannot all be merged with each other.
/// [`Error::Refused`]: the books do not balance. [`Error::Stopped`]: it was asked to stop.
pub async fn merge(
    spec: MergeSpec,
    budget: MergeBudget,
    env: MergeEnv,
) -> Result<MergeOutcome, MergeError> {
    let abandoned = Abandon(Arc::default());
    let MergeEnv {
        store,
        mint,
        expired,
        stop,
        on_progress,
        spill_dir,
        fetching,
        defers,
    } = env;
    let env = Arc::new(Env {
        store,
        runtime: Handle::current(),
        stop: Stop {
            asked: stop,
            abandoned: Arc::clone(&abandoned.0),
        },
        on_progress,
        files: SpillDir::below(spill_dir),
    });
    let merging = Merging {
        env,
        spec: Arc::new(spec),
        budget,
        mint,
        fetching,
    };
    // What has expired can be sent only once.
    let defers = defers && expired.is_none();
    let opened = merging.open(defers).await?;
    let has_later = opened.inputs.iter().any(|i| i.later.is_some());
    let mut outcome = merging.merge(opened, expired).await;
    if has_later && matches!(outcome, Err(MergeError::Bad(_))) {
        // Others may be bad too: the caller is told of all of them at once.
        outcome = merging.merge(merging.open(false).await?, None).await;
    }
    drop(abandoned);
    outcome
}

/// A merge, which may be made twice.
struct Merging {
    env: Arc<Env>,
    spec: Arc<MergeSpec>,
    budget: MergeBudget,
    mint: Arc<dyn Fn() -> FileId + Send + Sync>,
    fetching: Arc<Semaphore>,
}

impl Merging {
    async fn open(&self, defers: bool) -> Result<OpenedAll, MergeError> {
        let _turn = self
            .fetching
            .acquire()
            .await
            .map_err(|e| Error::local("cannot fetch inputs", e))?;
        // Where memory has room for all, a look at footers would only cost requests.
        let (inputs, budget) = (&self.spec.inputs, self.budget);
        let defers = defers
            && inputs.iter().map(|i| i.size).sum::<u64>() > budget.pool
            && inputs.iter().any(|i| open::may_be_later(i, budget));
        open::open_all(&self.env, &self.spec, budget, defers).await
    }

    async fn merge(
        &self,
        opened: OpenedAll,
        expired: Option<ItemSender<ExpiredBatch>>,
    ) -> Result<MergeOutcome, MergeError> {
        let (env, spec, budget) = (Arc::clone(&self.env), Arc::clone(&self.spec), self.budget);
        let (span, mint) = (tracing::Span::current(), Arc::clone(&self.mint));
        let work = move || span.in_scope(|| blocking(&env, &spec, budget, opened, mint, expired));
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| Error::local("the merge broke off", e))?
    }
}

fn blocking(
    env: &Env,
    spec: &MergeSpec,
    budget: MergeBudget,
    opened: OpenedAll,
    mint: Arc<dyn Fn() -> FileId + Send + Sync>,
    expired: Option<ItemSender<ExpiredBatch>>,
) -> Result<MergeOutcome, MergeError> {
    let mut inputs: Vec<(usize, SeenInput)> =
        opened.inputs.iter().map(|o| (o.turn, o.seen())).collect();
    let schema = described(&opened.schema);
    let job = Job::new(&opened, spec, budget, env)?;
    let cutoff = leaving(spec, &opened);
    let rules = Rules::of(&job, &opened.schema, cutoff);
    let output = Output::new(OutputSpec {
        store: Arc::clone(&env.store),
        schema: Arc::clone(&opened.schema),
        tenant: spec.tenant.clone(),
        place: spec.place.clone(),
        columns: spec.columns.clone(),
        dater: job.dater.clone(),
        now: spec.now,
        cutoff,
        latest: opened.latest,
        rows: job.rows_promised,
        size: spec.size,
        writing: spec.writing.clone(),
        cut: spec.cut,
        min_piece: spec.min_piece,
        budget,
        mint,
        expired,
        stop: env.stop.clone(),
    })?;
    let runs = run::plan(&job, opened.inputs)?;
    let fetching = Fetching::start(&job, &runs, opened.rooms, budget.prefetch);
    let runs = Ok(runs)
        .and_then(|runs| spill::sort_oversized(&job, runs))
        .and_then(|runs| row_group_split::cut(&job, &rules, runs))
        .and_then(|runs| spill::reduce(&job, runs));
    let merged = runs.and_then(|runs| {
        output::beside(output, |steps| {
            passthrough::merge(&job, &rules, runs, steps)
        })
    });
    drop(fetching);
    let written = merged.map_err(|e| job.verdict(e))?;
    balance(&job, &written)?;
    for (turn, input) in &mut inputs {
        input.fingerprint = input.fingerprint.or_else(|| job.print_of(*turn));
    }
    let inputs = inputs.into_iter().map(|(_, input)| input).collect();
    let (copied_runs, copied_bytes) = job.copies();
    Ok(MergeOutcome {
        snapshots: written.snapshots,
        schema,
        inputs,
        rows_expired: written.expired.rows,
        expired_fingerprint: written.expired.fingerprint,
        deduplicated: written.dropped.rows,
        id_conflicts: written.id_conflicts,
        implausible: written.implausible,
        spilled_runs: job.spilled(),
        copied_runs,
        copied_bytes,
    })
}

/// The cutoff, where what lies before it leaves; none where it stays until it is worth an object.
fn leaving(spec: &MergeSpec, opened: &OpenedAll) -> Option<Micros> {
    let cutoff = spec.cutoff?;
    let extents: Vec<_> = opened.inputs.iter().map(open::Opened::extent).collect();
    spec.leave
        .is_none_or(|rule| rule.leaves(&extents, cutoff))
        .then_some(cutoff)
}

/// The books: every row that the footers promised is in a snapshot, expired, or the copy of
/// another.
fn balance(job: &Job, written: &Written) -> Result<()> {
    let (rows_in, fingerprint_in) = job.input_totals();
    let kept = written
        .snapshots
        .iter()
        .fold(output::Sum::default(), |sum, s| {
            sum.plus(s.stats.rows, s.stats.fingerprint)
        });
    let out = kept.rows + written.expired.rows + written.dropped.rows;
    if rows_in != job.rows_promised || rows_in != out {
        return Err(Error::Refused(format!(
            "the books do not balance: the footers promise {} rows, {rows_in} were read, {} kept \
             + {} expired + {} deduplicated = {out}; this is a bug in icepack, nothing was changed",
            job.rows_promised, kept.rows, written.expired.rows, written.dropped.rows
        )));
    }
    let fingerprint_out = kept
        .fingerprint
        .plus(written.expired.fingerprint)
        .plus(written.dropped.fingerprint);
    if job.spec.check_content && fingerprint_in != fingerprint_out {
        return Err(Error::Refused(format!(
            "the books do not balance: {rows_in} rows came and went, but their contents differ \
             ({fingerprint_in} in, {fingerprint_out} out); this is a bug in icepack or bad \
             memory, nothing was changed"
        )));
    }
    Ok(())
}
