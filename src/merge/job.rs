//! What every step of one merge needs: its schema, its share of memory, its stop flag, and the
//! books of what has been read.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::{SchemaRef, TimeUnit};
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::open::{Opened, OpenedAll};
use super::{BadInput, Flaw, MergeError, MergeSpec, open};
use crate::error::{Error, ReadError, Result};
use crate::store::piece::Buffers;
use icepack_core::model::file::Fingerprint;
use icepack_core::model::manifest::Contradiction;
use icepack_parquet::read::BATCH_BYTES;
use icepack_parquet::schema::{self, Misfit};
use icepack_parquet::source::Ident;
use icepack_parquet::{time, views};

/// How the budget is shared out, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct MergeBudget {
    /// Inputs as they were fetched, compressed.
    pub pool: u64,
    /// Inputs above this are not fetched whole.
    pub whole: u64,
    /// Runs that are open at once.
    pub runs: u64,
    /// Rows that are sorted at once.
    pub sort: u64,
    /// A decoded batch.
    pub batch: u64,
    /// The encoder and the upload.
    pub buffers: Buffers,
}

impl MergeBudget {
    pub fn of(budget: u64) -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            pool: budget / 4,
            whole: (budget / 8).clamp(256 << 10, 16 * MIB),
            runs: budget / 4,
            sort: (budget / 4).max(256 << 10),
            batch: (budget / 128).clamp(64 << 10, BATCH_BYTES),
            buffers: Buffers::within(budget),
        }
    }

    /// Bytes that a remote file may hold ahead of its decoder.
    pub fn window(self) -> u64 {
        (self.runs / 8).clamp(64 << 10, 16 << 20)
    }
}

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

/// The blocking part of one merge, on one thread.
pub(super) struct Job {
    /// Of the rows on their way: the united schema with views for strings, so that a page is
    /// copied only once, to be encoded.
    pub schema: SchemaRef,
    /// The timestamp column, and its unit.
    pub column: usize,
    pub unit: TimeUnit,
    pub shares: MergeBudget,
    pub check_content: bool,
    pub rows_promised: u64,
    /// Where inputs are decoded.
    pub runtime: Handle,
    turns: Vec<(Arc<Ident>, SchemaRef)>,
    /// Inputs that made another one not fit.
    blamed: RefCell<Vec<BadInput>>,
    /// The input that did not fit, where no other is to blame.
    misfit: RefCell<Option<BadInput>>,
    stop: Stop,
    progress: Arc<dyn Fn(u64, u64) + Send + Sync>,
    taken: Cell<(u64, Fingerprint)>,
    /// What was read of each input, by turn.
    read: RefCell<Vec<Fingerprint>>,
    spill_dir: PathBuf,
    /// Made when it is first needed; removed with the job, whatever happens.
    temp: RefCell<Option<TempDir>>,
    spilled: Cell<u64>,
    copied: Cell<(u64, u64)>,
}

impl Job {
    pub fn new(
        opened: &OpenedAll,
        spec: &MergeSpec,
        shares: MergeBudget,
        stop: Stop,
        runtime: Handle,
        progress: Arc<dyn Fn(u64, u64) + Send + Sync>,
    ) -> Result<Self> {
        let schema = views::of(&opened.schema).unwrap_or_else(|| Arc::clone(&opened.schema));
        // No inputs at all: there is no schema either, and nothing will ask for the column.
        let (column, unit) = match schema.index_of(&spec.columns.timestamp) {
            Ok(i) => (
                i,
                time::unit_of(schema.field(i).data_type()).ok_or_else(|| {
                    Error::local(
                        "cannot merge",
                        "the united timestamp column is not a timestamp",
                    )
                })?,
            ),
            Err(_) => (0, TimeUnit::Microsecond),
        };
        Ok(Self {
            schema,
            column,
            unit,
            shares,
            check_content: spec.check_content,
            turns: opened.turns.clone(),
            blamed: RefCell::default(),
            misfit: RefCell::default(),
            rows_promised: opened.inputs.iter().map(|i| i.rows).sum(),
            runtime,
            stop,
            progress,
            taken: Cell::default(),
            read: RefCell::new(vec![Fingerprint::default(); opened.turns.len()]),
            spill_dir: spec.spill_dir.clone(),
            temp: RefCell::default(),
            spilled: Cell::new(0),
            copied: Cell::default(),
        })
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
                .map(|f| schema::canonical(f.data_type()).to_string())
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
        let (r, f) = self.taken.get();
        self.taken.set((r + rows, f.plus(fingerprint)));
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
            .filter(|_| self.check_content)
    }

    /// Input rows read so far, and their fingerprint where content is checked.
    pub fn taken(&self) -> (u64, Fingerprint) {
        self.taken.get()
    }

    /// A path for a new run.
    pub fn spill_path(&self) -> Result<PathBuf> {
        let mut temp = self.temp.borrow_mut();
        let dir = match temp.take() {
            Some(dir) => dir,
            None => temp_dir(&self.spill_dir)?,
        };
        let n = self.spilled.replace(self.spilled.get() + 1);
        let path = dir.path().join(format!("run-{n}.parquet"));
        *temp = Some(dir);
        Ok(path)
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

/// A directory of our own below `parent` that is removed when it is dropped.
pub(super) fn temp_dir(parent: &std::path::Path) -> Result<TempDir> {
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
