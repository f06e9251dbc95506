//! The last step of a merge: rows in time order are written to snapshots, handed over as expired
//! batches, or dropped.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::ScalarBuffer;
use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::{SchemaRef, TimeUnit};
use object_store::ObjectStore;

use super::ExpiredBatch;
use super::dedup::Dedup;
use super::job::Stop;
use super::passthrough::Passthrough;
use crate::budget::MergeBudget;
use crate::closing::{ClosingSender, ItemReceiver, ItemSender};
use crate::error::{Error, Result};
use crate::store::object_writer::upload::StoreDestination;
use crate::store::object_writer::{ObjectSpec, ObjectWriter};
use icepack_core::model::file::{Fingerprint, Micros, Snapshot};
use icepack_core::model::names::{self, FileId, Place, Tenant};
use icepack_core::model::policy::Writing;
use icepack_core::model::schema::SchemaId;
use icepack_core::plan::compaction::Period;
use icepack_core::plan::cutting::FileSize;
use icepack_parquet::Columns;
use icepack_parquet::hash;
use icepack_parquet::schema::described;
use icepack_parquet::time::{Dater, first_not_before, floor_micros, last_not_after};
use icepack_parquet::views;
use icepack_parquet::write::sliced_bytes;

/// Batches between the merge and the encoder.
const QUEUE: usize = 2;

/// What the output must know.
pub(super) struct OutputSpec {
    pub store: Arc<dyn ObjectStore>,
    pub schema: SchemaRef,
    pub tenant: Tenant,
    pub place: Place,
    pub columns: Columns,
    /// Of rows of the schema.
    pub dater: Dater,
    pub now: Micros,
    pub cutoff: Option<Micros>,
    /// No dated row is later.
    pub latest: Micros,
    /// Rows that will come, but for copies of others.
    pub rows: u64,
    pub size: FileSize,
    pub writing: Writing,
    pub cut: Period,
    pub min_piece: u64,
    pub budget: MergeBudget,
    pub mint: Arc<dyn Fn() -> FileId + Send + Sync>,
    pub expired: Option<ItemSender<ExpiredBatch>>,
    pub stop: Stop,
}

/// Rows by number and content.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    pub rows: u64,
    pub fingerprint: Fingerprint,
}

impl Sum {
    pub fn plus(self, rows: u64, fingerprint: Fingerprint) -> Self {
        Self {
            rows: self.rows + rows,
            fingerprint: self.fingerprint.plus(fingerprint),
        }
    }
}

/// What has become of the rows.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub snapshots: Vec<Snapshot>,
    pub expired: Sum,
    pub dropped: Sum,
    pub id_conflicts: u64,
    pub implausible: u64,
}

/// What comes to the output, in time order.
pub(super) enum Step {
    /// Merged rows.
    Rows(RecordBatch),
    /// A run whose bytes follow.
    Passthrough(Box<Passthrough>),
}

/// The way to the output.
pub(super) type Steps = ClosingSender<Step, Written>;

/// Runs `merge` with steps that feed `output` on a thread of its own, so that decoding and encoding
/// overlap.
pub(super) fn beside(output: Output, merge: impl FnOnce(&Steps) -> Result<()>) -> Result<Written> {
    let steps = Steps::spawn_blocking(QUEUE, "cannot encode rows", |steps| output.run(steps));
    match merge(&steps) {
        Ok(()) => steps.blocking_close(),
        Err(e) => match (e, steps.blocking_abort()) {
            // Both say that they were stopped, unless one of them knows more.
            (Error::Stopped, Err(e)) => Err(e),
            (e, _) => Err(e),
        },
    }
}

/// An open snapshot.
struct Open {
    writer: ObjectWriter,
    id: FileId,
}

/// What is expected of the open snapshot, in bytes.
struct Expected {
    /// That it has.
    bytes: u64,
    /// At which it is to end.
    end: u64,
}

/// Takes rows in time order.
pub(super) struct Output {
    spec: OutputSpec,
    /// The keys of the first dated row, of the first that has not expired, and of the first that
    /// is later than now.
    dated: i64,
    fresh: i64,
    future: i64,
    schema_id: SchemaId,
    dedup: Dedup,
    open: Option<Open>,
    /// Rows from here on are of another period than the open snapshot's last.
    period_end: Option<i64>,
    /// Rows that are not in a snapshot yet, nor have left.
    rows_left: u64,
    /// Bytes and rows of the last finished snapshot: what rows of this merge become.
    last: (u64, u64),
    written: Written,
    scratch: Vec<u128>,
}

impl Output {
    pub fn new(spec: OutputSpec) -> Result<Self> {
        let unit = spec.dater.unit();
        let dated = first_not_before(Micros::EPOCH_2000, unit);
        Ok(Self {
            dated,
            fresh: spec
                .cutoff
                .map_or(dated, |c| first_not_before(c, unit).max(dated)),
            future: last_not_after(spec.now, unit).saturating_add(1),
            schema_id: described(&spec.schema).id(),
            dedup: Dedup::new(
                views::of(&spec.schema).as_ref().unwrap_or(&spec.schema),
                &spec.columns.ids,
                spec.budget.duplicates(),
            ),
            open: None,
            period_end: None,
            rows_left: spec.rows,
            last: (0, 0),
            written: Written::default(),
            scratch: Vec::new(),
            spec,
        })
    }

    fn run(mut self, mut steps: ItemReceiver<Step>) -> Result<Written> {
        while let Some(step) = steps.blocking_recv()? {
            match step {
                Step::Rows(batch) => self.write_rows(batch)?,
                Step::Passthrough(whole) => self.copy_rows(*whole)?,
            }
            self.spec.stop.check()?;
        }
        self.finish_snapshot()?;
        self.written.id_conflicts = self.dedup.conflicts;
        Ok(self.written)
    }

    fn write_rows(&mut self, batch: RecordBatch) -> Result<()> {
        let keys = self.keys(&batch)?;
        let (batch, keys) = match self.without_duplicates(&batch, &keys)? {
            None => (batch, keys),
            Some(rest) => {
                let keys = self.keys(&rest)?;
                (rest, keys)
            }
        };
        let at = |bound: i64| keys.partition_point(|k| *k < bound);
        // Undated rows, expired ones, and those to keep: in time order, they are one after the
        // other.
        let (undated, fresh, future) = (at(self.dated), at(self.fresh), at(self.future));
        // A time that is not the row's own is nobody's mistake.
        if self.spec.dater.constant().is_none() {
            self.written.implausible += (undated + keys.len() - future.max(fresh)) as u64;
        }
        if undated < fresh {
            self.keep(&batch, &keys, 0, undated)?;
            self.expire(batch.slice(undated, fresh - undated), keys[undated])?;
            return self.keep(&batch, &keys, fresh, keys.len());
        }
        self.keep(&batch, &keys, 0, keys.len())
    }

    /// Appends a run as it is. It lies within one period, all of its rows stay, and no other row is
    /// as old as any of them.
    fn copy_rows(&mut self, whole: Passthrough) -> Result<()> {
        let Some(first) = whole
            .stats
            .min
            .map(|min| first_not_before(min, self.unit()))
        else {
            return Err(Error::local("cannot copy rows", "they have no times"));
        };
        let unreadable = |e| {
            if whole.bytes.is_cut_off() {
                Error::Stopped
            } else {
                e
            }
        };
        for (which, stats) in whole.parts() {
            self.enter_period_at(first)?;
            self.make_room(which.clone().map(|g| whole.groups.bytes(g)).sum())?;
            self.enter_period_at(first)?;
            self.rows_left = self.rows_left.saturating_sub(stats.rows);
            // Where no more bytes come, the other side knows why.
            self.with_open(|writer| writer.append(&whole.groups, which, stats, &whole.bytes))
                .map_err(unreadable)?;
            self.finish_if_full()?;
        }
        Ok(())
    }

    /// Ends the open snapshot if it is nearer to its end than it would be with `more` bytes.
    fn make_room(&mut self, more: u64) -> Result<()> {
        let near = |end: u64| end.saturating_sub(more / 2);
        let Some(Expected { bytes, end }) = self.expected() else {
            return Ok(());
        };
        if bytes < near(end) || bytes < self.spec.size.finished() {
            return Ok(());
        }
        self.finish_if(|bytes, end, size| bytes >= near(end) && bytes >= size.finished())
    }

    fn unit(&self) -> TimeUnit {
        self.spec.dater.unit()
    }

    fn keys(&self, batch: &RecordBatch) -> Result<ScalarBuffer<i64>> {
        let keys = self.spec.dater.keys(batch);
        keys.map_err(|e| Error::local("cannot write rows", e))
    }

    /// What is left of a batch; none where that is all of it.
    fn without_duplicates(
        &mut self,
        batch: &RecordBatch,
        keys: &[i64],
    ) -> Result<Option<RecordBatch>> {
        let Some(keep) = self.dedup.filter(batch, keys)? else {
            return Ok(None);
        };
        let failed = |e| Error::local("cannot drop duplicates", e);
        let copies = filter_record_batch(batch, &not(&keep).map_err(failed)?).map_err(failed)?;
        self.written.dropped = self.sum(self.written.dropped, &copies)?;
        self.leave(copies.num_rows());
        filter_record_batch(batch, &keep).map(Some).map_err(failed)
    }

    fn sum(&mut self, sum: Sum, batch: &RecordBatch) -> Result<Sum> {
        let fingerprint = hash::fingerprint(batch, &mut self.scratch)
            .map_err(|e| Error::local("cannot fingerprint rows", e))?;
        Ok(sum.plus(batch.num_rows() as u64, fingerprint))
    }

    fn expire(&mut self, batch: RecordBatch, first: i64) -> Result<()> {
        self.written.expired = self.sum(self.written.expired, &batch)?;
        self.leave(batch.num_rows());
        let Some(sink) = &self.spec.expired else {
            return Ok(());
        };
        let to_bound = self
            .spec
            .cutoff
            .map_or(self.spec.latest, |c| c.min(self.spec.latest));
        // Archives of others' making need not know about views.
        let batch = views::like(&batch, &self.spec.schema)
            .map_err(|e| Error::local("cannot archive rows", e))?;
        let expired = ExpiredBatch {
            batch,
            from: floor_micros(first, self.unit()),
            to_bound,
        };
        sink.send(expired).map_err(|_| Error::Archive {
            target: "of expired rows".to_owned(),
            why: "it stopped taking rows".to_owned(),
        })
    }

    /// Writes rows `from..to` to snapshots, cut at the target size and where a period ends.
    fn keep(
        &mut self,
        batch: &RecordBatch,
        keys: &[i64],
        mut from: usize,
        to: usize,
    ) -> Result<()> {
        while from < to {
            let key = keys[from];
            let end = if key < self.dated {
                // Undated rows are of no period.
                keys[from..to].partition_point(|k| *k < self.dated)
            } else {
                self.enter_period_at(key)?;
                let period_end = self.period_end.unwrap_or(i64::MAX);
                keys[from..to].partition_point(|k| *k < period_end).max(1)
            };
            let end = from + end;
            self.write(&batch.slice(from, end - from))?;
            from = end;
        }
        Ok(())
    }

    /// Where a row of `key` begins another period than that of the rows before it.
    fn enter_period_at(&mut self, key: i64) -> Result<()> {
        if self.period_end.is_some_and(|end| key < end) {
            return Ok(());
        }
        if self.period_end.is_some() && self.has(self.spec.min_piece)? {
            self.finish_snapshot()?;
        }
        let next = self.spec.cut.end(floor_micros(key, self.unit()));
        self.period_end = Some(next.map_or(i64::MAX, |at| first_not_before(at, self.unit())));
        Ok(())
    }

    /// Writes rows of one period, in steps that are small against the target size.
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let row = sliced_bytes(batch) / batch.num_rows().max(1);
        let step = usize::try_from(self.spec.size.target / 16).unwrap_or(usize::MAX) / row.max(1);
        let (mut from, step) = (0, step.max(16));
        while from < batch.num_rows() {
            let rows = step.min(batch.num_rows() - from);
            self.write_step(&batch.slice(from, rows))?;
            from += rows;
        }
        Ok(())
    }

    fn write_step(&mut self, batch: &RecordBatch) -> Result<()> {
        self.leave(batch.num_rows());
        self.with_open(|writer| writer.write(batch))?;
        self.finish_if_full()
    }

    /// So many rows are dealt with.
    fn leave(&mut self, rows: usize) {
        self.rows_left = self.rows_left.saturating_sub(rows as u64);
    }

    /// Adds to the open snapshot, or to a new one.
    fn with_open(&mut self, add: impl FnOnce(&mut ObjectWriter) -> Result<()>) -> Result<()> {
        let bound = self.name_bound();
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let open = self.begin();
                self.open.insert(open)
            }
        };
        open.writer.bound(bound);
        add(&mut open.writer)
    }

    fn finish_if_full(&mut self) -> Result<()> {
        if self.expected().is_none_or(|e| e.bytes < e.end) {
            return Ok(());
        }
        // What is expected may be wrong as long as no row group has ended.
        self.finish_if(|bytes, end, _| bytes >= end - end / 32)
    }

    /// Ends the row group, and the snapshot if that is right for its bytes and those at which it is
    /// to end.
    fn finish_if(&mut self, is_right: impl Fn(u64, u64, FileSize) -> bool) -> Result<()> {
        if let Some(open) = &mut self.open {
            open.writer.end_row_group()?;
        }
        match self.expected() {
            Some(e) if is_right(e.bytes, e.end, self.spec.size) => self.finish_snapshot(),
            _ => Ok(()),
        }
    }

    /// What is expected of the open snapshot. A row in it is expected to become as many bytes as
    /// those of the row groups that have ended; the encoder's estimate may be ten times that.
    fn expected(&self) -> Option<Expected> {
        let writer = &self.open.as_ref()?.writer;
        let (ended, rows) = writer.ended();
        let waiting = writer.rows().saturating_sub(rows);
        let known = (ended + self.last.0, rows + self.last.1);
        let share = |rows: u64, (bytes, of): (u64, u64)| {
            u64::try_from(u128::from(bytes) * u128::from(rows) / u128::from(of.max(1)))
                .unwrap_or(u64::MAX)
        };
        let bytes = match known {
            (_, 0) => writer.estimate(),
            known => ended + share(waiting, known),
        };
        let left = match known {
            (_, 0) => share(self.rows_left, (bytes, writer.rows())),
            known => share(self.rows_left, known),
        };
        let end = self.spec.size.end(bytes.saturating_add(left));
        Some(Expected { bytes, end })
    }

    /// Whether the open snapshot has `bytes`. The estimate may be too high; a snapshot that spans
    /// two periods and has as many would be merged again, pass after pass.
    fn has(&mut self, bytes: u64) -> Result<bool> {
        match self.open.as_mut() {
            Some(open) if open.writer.estimate() >= bytes => {
                Ok(open.writer.end_row_group()? >= bytes)
            }
            _ => Ok(false),
        }
    }

    /// No row that the open snapshot will get is later. An upload that starts now is over with the
    /// period, because it is worth a file by then.
    fn name_bound(&self) -> Micros {
        let single = self.spec.budget.buffers.single as u64;
        match self.period_end {
            Some(end) if single >= self.spec.min_piece && end != i64::MAX => {
                self.spec.latest.min(floor_micros(end - 1, self.unit()))
            }
            _ => self.spec.latest,
        }
    }

    fn begin(&self) -> Open {
        let id = (self.spec.mint)();
        let (tenant, place) = (self.spec.tenant.clone(), self.spec.place.clone());
        let writer = ObjectWriter::begin(ObjectSpec {
            destination: Arc::new(StoreDestination::plain(Arc::clone(&self.spec.store))),
            schema: Arc::clone(&self.spec.schema),
            dater: self.spec.dater.clone(),
            is_sorted: true,
            name: Box::new(move |from, to| names::snapshot_key(&place, &tenant, from, to, id)),
            to_bound: self.spec.latest,
            buffers: self.spec.budget.buffers.expecting(self.spec.size.target),
            writing: self.spec.writing.clone(),
            metadata: Vec::new(),
        });
        Open { writer, id }
    }

    fn finish_snapshot(&mut self) -> Result<()> {
        let Some(Open { writer, id }) = self.open.take() else {
            return Ok(());
        };
        let written = writer.finish()?;
        self.period_end = None;
        self.last = (written.size, written.stats.rows);
        let dated_by = Some(self.spec.columns.timestamp.to_string());
        self.written.snapshots.push(Snapshot {
            key: written.key,
            id,
            size: written.size,
            etag: written.etag,
            schema: Some(self.schema_id),
            dated_by,
            stats: written.stats,
        });
        Ok(())
    }
}
