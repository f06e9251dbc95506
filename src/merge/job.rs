//! The state that all steps of one merge share: its schema, its budget, its stop flag, and the
//! books of what has been read.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{Schema, SchemaRef, TimeUnit};
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::open::{Opened, OpenedAll, Turns};
use super::{Env, MergeError, MergeSpec, Part};
use crate::budget::MergeBudget;
use crate::error::{Error, ReadError, Result};
use icepack_core::model::file::Fingerprint;
use icepack_core::model::time_column::TimeColumn;
use icepack_parquet::schema::{self, Misfit};
use icepack_parquet::source::Ident;
use icepack_parquet::time::Dater;
use icepack_parquet::views;

/// Set by the caller, or because the caller has gone.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    pub asked: Arc<AtomicBool>,
    pub abandoned: Arc<AtomicBool>,
}

impl Stop {
    /// [`Error::Stopped`] where it is set.
    pub fn check(&self) -> Result<()> {
        if self.asked.load(Ordering::SeqCst) || self.abandoned.load(Ordering::SeqCst) {
            Err(Error::Stopped)
        } else {
            Ok(())
        }
    }
}

/// The blocking part of one merge, on one thread: what every step of it needs, and the books.
pub(super) struct Job<'a> {
    pub spec: &'a MergeSpec,
    pub budget: MergeBudget,
    pub files: &'a SpillDir,
    /// Where inputs are decoded.
    pub runtime: Handle,
    /// Of the rows on their way: the united schema with views for strings, so that a page is
    /// copied only once, to be encoded.
    pub schema: SchemaRef,
    /// Of these rows.
    pub dater: Dater,
    pub rows_promised: u64,
    stop: &'a Stop,
    progress: &'a (dyn Fn(u64, u64) + Send + Sync),
    turns: Turns,
    /// Where rows of one input did not fit to the others: how to merge them.
    apart: RefCell<Option<Vec<Part>>>,
    input_totals: Cell<(u64, Fingerprint)>,
    /// What was read of each input, by turn.
    read: RefCell<Vec<Fingerprint>>,
    spilled: Cell<u64>,
    copied: Cell<(u64, u64)>,
}

impl<'a> Job<'a> {
    pub fn new(
        opened: &OpenedAll,
        spec: &'a MergeSpec,
        budget: MergeBudget,
        env: &'a Env,
    ) -> Result<Self> {
        let schema = views::of(&opened.schema).unwrap_or_else(|| Arc::clone(&opened.schema));
        let dater = dater(spec, &schema)?;
        Ok(Self {
            spec,
            budget,
            files: &env.files,
            runtime: env.runtime.clone(),
            schema,
            dater,
            rows_promised: opened.inputs.iter().map(|i| i.rows).sum(),
            stop: &env.stop,
            progress: env.on_progress.as_ref(),
            turns: opened.turns.clone(),
            apart: RefCell::default(),
            input_totals: Cell::default(),
            read: RefCell::new(vec![Fingerprint::default(); opened.turns.len()]),
            spilled: Cell::new(0),
            copied: Cell::default(),
        })
    }

    /// The unit of the keys.
    pub fn unit(&self) -> TimeUnit {
        self.dater.unit()
    }

    pub fn check_stop(&self) -> Result<()> {
        self.stop.check()
    }

    /// What it means that an input's rows do not fit into the job's schema: those files whose column
    /// is of the same type are not to be merged with the others.
    pub fn misfit(&self, misfit: Misfit, input: &Opened) -> Error {
        if let Some(column) = misfit.column {
            let own = schema::column_type(&input.schema, &column);
            let (like, others): (Vec<_>, Vec<_>) = self
                .turns
                .iter()
                .partition(|(_, s)| schema::column_type(s, &column) == own);
            let part = |of: Vec<&(Arc<Ident>, SchemaRef)>, columns| Part {
                keys: of.into_iter().map(|(ident, _)| ident.key.clone()).collect(),
                columns,
            };
            // Where all are alike, it is the file.
            if !others.is_empty() {
                let parts = vec![
                    part(others, Vec::new()),
                    part(like, vec![Some(column.clone())]),
                ];
                *self.apart.borrow_mut() = Some(parts);
            }
        }
        input.file.ident.bad(misfit.reason).into()
    }

    /// Tells what `error` means, once it is known whether the inputs are to be merged apart.
    pub fn verdict(&self, error: Error) -> MergeError {
        match (&error, self.apart.take()) {
            (Error::Read(ReadError::Input { .. }), Some(parts)) => MergeError::Apart(parts),
            _ => error.into(),
        }
    }

    /// Input rows were read, for the first and only time.
    pub fn took(&self, bytes: u64, rows: u64, fingerprint: Fingerprint) {
        let (r, f) = self.input_totals.get();
        self.input_totals.set((r + rows, f.plus(fingerprint)));
        (self.progress)(bytes, rows);
    }

    /// Rows of the input of `turn` were read.
    pub fn read_of(&self, turn: usize, fingerprint: Fingerprint) {
        if let Some(sum) = self.read.borrow_mut().get_mut(turn) {
            *sum = sum.plus(fingerprint);
        }
    }

    /// The fingerprint of all that was read of the input of `turn`; none where content is not
    /// checked.
    pub fn print_of(&self, turn: usize) -> Option<Fingerprint> {
        self.read
            .borrow()
            .get(turn)
            .copied()
            .filter(|_| self.spec.check_content)
    }

    /// Input rows read so far, and their fingerprint where content is checked.
    pub fn input_totals(&self) -> (u64, Fingerprint) {
        self.input_totals.get()
    }

    /// A path for a new run on the local disk.
    pub fn spill_path(&self) -> Result<PathBuf> {
        let n = self.spilled.replace(self.spilled.get() + 1);
        self.files.path(&format!("run-{n}.arrow"))
    }

    /// A snapshot of so many bytes was copied.
    pub fn copied(&self, bytes: u64) {
        let (runs, before) = self.copied.get();
        self.copied.set((runs + 1, before + bytes));
    }

    /// Snapshots copied so far, and their bytes.
    pub fn copies(&self) -> (u64, u64) {
        self.copied.get()
    }

    /// Runs spilled so far.
    pub fn spilled(&self) -> u64 {
        self.spilled.get()
    }
}

/// What dates the rows of a merge once they are of its schema. Its inputs lie in one folder where
/// that dates them.
pub(super) fn dater(spec: &MergeSpec, schema: &Schema) -> Result<Dater> {
    let Some(first) = spec.inputs.first() else {
        // Then there is no schema either, and nobody will ask.
        let nothing = Dater::of(&TimeColumn::nothing(), schema, "");
        return nothing.map_err(|e| Error::local("cannot merge", e));
    };
    Dater::of(&spec.columns.timestamp, schema, &first.key)
        .map_err(|e| Error::local("cannot merge", format!("of the united columns, {e}")))
}

/// A directory of our own for what does not fit into memory. It is made when it is first needed,
/// and removed with this, whatever happens.
pub(super) struct SpillDir {
    parent: PathBuf,
    own: OnceLock<TempDir>,
}

impl SpillDir {
    pub fn below(parent: PathBuf) -> Self {
        Self {
            parent,
            own: OnceLock::new(),
        }
    }

    /// Where it is.
    pub fn dir(&self) -> Result<&Path> {
        let dir = match self.own.get() {
            Some(dir) => dir,
            None => {
                let made = temp_dir(&self.parent)?;
                // Where two threads made one, the loser's is removed with this.
                self.own.get_or_init(|| made)
            }
        };
        Ok(dir.path())
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        Ok(self.dir()?.join(name))
    }
}

fn temp_dir(parent: &Path) -> Result<TempDir> {
    let failed = |why: &dyn std::fmt::Display| {
        let action = format!(
            "cannot make a directory for what does not fit into memory in `{}`",
            parent.display()
        );
        Error::local(
            action,
            format!(
                "{why}; make it, or set `spill_dir` to a directory that this user may write to"
            ),
        )
    };
    if !parent.is_dir() {
        return Err(failed(&"there is no such directory"));
    }
    tempfile::Builder::new()
        .prefix("icepack-")
        .tempdir_in(parent)
        .map_err(|e| failed(&e))
}
