//! What every step of one merge needs: its schema, its budget, its stop flag, and the books of what
//! has been read.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{Schema, SchemaRef, TimeUnit};
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::open::{Opened, OpenedAll};
use super::{BadInput, Env, Flaw, MergeError, MergeSpec, open};
use crate::budget::MergeBudget;
use crate::error::{Error, ReadError, Result};
use icepack_core::model::file::Fingerprint;
use icepack_core::model::manifest::Contradiction;
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
    turns: Vec<(Arc<Ident>, SchemaRef)>,
    /// Inputs that made another one not fit.
    blamed: RefCell<Vec<BadInput>>,
    /// The input that did not fit, where no other is to blame.
    misfit: RefCell<Option<BadInput>>,
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
            blamed: RefCell::default(),
            misfit: RefCell::default(),
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

    /// What it means that an input's rows do not fit into the job's schema.
    ///
    /// A time that a finer unit cannot hold is the fault of the file that brought the finer unit,
    /// if it came later: the first wins, or one file of nanoseconds would cast out a whole
    /// history with a year 9999 in it.
    pub fn misfit(&self, misfit: Misfit, input: &Opened) -> Error {
        if let Some(column) = &misfit.column {
            self.blame(column, input);
            if let Ok(field) = self.schema.field_with_name(column)
                && schema::is_widened(&input.schema, &self.schema, column)
            {
                let Ident { key, size, etag } = Ident::clone(&input.file.ident);
                let flaw = Flaw::Misfit(open::contradiction(field, input));
                *self.misfit.borrow_mut() = Some(BadInput {
                    key,
                    size,
                    etag,
                    reason: misfit.reason.clone(),
                    flaw,
                });
            }
        }
        input.file.ident.bad(misfit.reason).into()
    }

    fn blame(&self, column: &str, input: &Opened) {
        if !schema::is_widened(&input.schema, &self.schema, column) {
            return;
        }
        let is_finer = |s: &SchemaRef| {
            s.field_with_name(column).is_ok() && !schema::is_widened(s, &self.schema, column)
        };
        let (before, after) = self.turns.split_at(input.turn.min(self.turns.len()));
        if before.iter().any(|(_, s)| is_finer(s)) {
            return;
        }
        let finer = after.iter().filter(|(_, s)| is_finer(s));
        self.blamed.borrow_mut().extend(finer.map(|(ident, own)| {
            let found = own
                .field_with_name(column)
                .map_or_else(|e| e.to_string(), |f| f.data_type().to_string());
            // As the one has it whose values do not fit: it is what stays.
            let coarser = input
                .schema
                .field_with_name(column)
                .map(schema::kind)
                .unwrap_or_default();
            let flaw = Flaw::Misfit(Contradiction {
                column: column.to_owned(),
                kind: coarser,
                oldest: None,
            });
            let reason = format!(
                "column `{column}` is {found}, which cannot hold the values of `{}`",
                input.file.ident.key
            );
            let Ident { key, size, etag } = Ident::clone(ident);
            BadInput {
                key,
                size,
                etag,
                reason,
                flaw,
            }
        }));
    }

    /// What `error` means, once who is to blame is known.
    pub fn verdict(&self, error: Error) -> MergeError {
        let blamed = self.blamed.take();
        let misfit = self.misfit.take();
        match (&error, misfit) {
            (Error::Read(ReadError::Input { .. }), _) if !blamed.is_empty() => {
                MergeError::Bad(blamed)
            }
            (Error::Read(ReadError::Input { key, .. }), Some(misfit)) if *key == misfit.key => {
                MergeError::Bad(vec![misfit])
            }
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

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        let dir = match self.own.get() {
            Some(dir) => dir,
            None => {
                let made = temp_dir(&self.parent)?;
                // Where two threads made one, the loser's is removed with this.
                self.own.get_or_init(|| made)
            }
        };
        Ok(dir.path().join(name))
    }
}

fn temp_dir(parent: &std::path::Path) -> Result<TempDir> {
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
