//! The encoder: rows in time order to Parquet, columns encoded in parallel, memory bounded by one
//! row group.

pub mod append;
mod columns;
mod encoding;
pub mod prints;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::add_encoded_arrow_schema_to_metadata;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowLeafColumn};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::writer::SerializedFileWriter;
use rayon::iter::{
    IndexedParallelIterator, IntoParallelIterator, IntoParallelRefMutIterator, ParallelIterator,
};

use crate::append::{Groups, Incoming};
use crate::error::{Error, Result};
use crate::{leaf, pairs, views};
use columns::{Factory, Slice, leaves};
use encoding::{Sample, properties};
use icepack_core::model::file::Fingerprint;
use icepack_core::model::policy::Writing;
use prints::Prints;

/// The form `<name> version <version>` is what other readers parse: they distrust the statistics of
/// a writer whose version they cannot read.
const CREATED_BY: &str = concat!("icepack version ", env!("CARGO_PKG_VERSION"));

/// What every version's begins with.
pub(crate) const CREATED_BY_US: &str = "icepack version ";

/// Rows of a row group at most, whatever their bytes.
const GROUP_ROWS: usize = 1 << 20;

/// Rows that the choice of encodings is made from.
const SAMPLE_ROWS: usize = 4_096;
/// No more bytes are kept back for it.
const SAMPLE_BYTES: usize = 2 << 20;

/// Event data compresses about this much: what is assumed of the first rows.
const COMPRESSED: usize = 4;

/// A row group is encoded in steps of its size by this, in bytes before they are encoded.
const STEPS: usize = 4;

/// How a file is written.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// Bytes of encoded data at which a row group ends: the writer holds that much.
    pub row_group_bytes: usize,
    /// Names of columns that the rows are in the order of, nulls first, ascending.
    pub sorted_by: Option<String>,
    /// How values are encoded and compressed, and which columns have bloom filters in any case. The
    /// size of row groups stands above.
    pub writing: Writing,
    /// Put into the footer.
    pub metadata: Vec<(String, String)>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            row_group_bytes: 16 << 20,
            sorted_by: None,
            writing: Writing::default(),
            metadata: Vec::new(),
        }
    }
}

/// Writes one file. The same batches and options give the same bytes.
pub struct ParquetWriter<W: Write + Send> {
    schema: SchemaRef,
    options: WriteOptions,
    state: State<W>,
}

enum State<W: Write + Send> {
    /// The first rows are kept until there are enough of them to choose encodings by.
    Sampling {
        sink: W,
        rows: Vec<(RecordBatch, Fingerprint)>,
    },
    Writing(Box<Encoder<W>>),
    /// An error has consumed the sink.
    Broken,
}

struct Encoder<W: Write + Send> {
    file: SerializedFileWriter<W>,
    factory: Factory,
    columns: Columns,
    /// Rows that wait to be encoded, and their bytes.
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    /// Bytes handed out for the open row group, and of rows to one of the file, as far as is
    /// known.
    handed_bytes: usize,
    compressed: usize,
    group: usize,
    group_rows: usize,
    /// Of the row groups that have ended.
    ended_rows: u64,
    prints: Prints,
}

/// The columns of the open row group.
enum Columns {
    None,
    /// Encoding, on other threads.
    Busy {
        done: Receiver<Result<Vec<ArrowColumnWriter>, ParquetError>>,
        /// What they held before, and what may have been added: an estimate that does not depend
        /// on how far they are.
        bytes: usize,
    },
    Idle(Vec<ArrowColumnWriter>),
}

impl Columns {
    /// Waits until they are idle.
    fn join(&mut self) -> Result<Option<Vec<ArrowColumnWriter>>> {
        match std::mem::replace(self, Self::None) {
            Self::None => Ok(None),
            Self::Idle(columns) => Ok(Some(columns)),
            Self::Busy { done, .. } => match done.recv() {
                Ok(columns) => columns.map(Some).map_err(failed),
                Err(_) => Err(failed("the encoder panicked")),
            },
        }
    }

    /// Bytes that they hold, roughly; the same for the same rows.
    fn bytes(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Busy { bytes, .. } => *bytes,
            Self::Idle(columns) => columns
                .iter()
                .map(ArrowColumnWriter::get_estimated_total_bytes)
                .sum(),
        }
    }
}

fn failed(e: impl std::fmt::Display) -> Error {
    Error::local("cannot encode Parquet", e)
}

impl<W: Write + Send> ParquetWriter<W> {
    /// A file of rows of `schema`. Nothing is written yet.
    pub fn new(sink: W, schema: SchemaRef, options: WriteOptions) -> Self {
        Self {
            schema,
            options,
            state: State::Sampling {
                sink,
                rows: Vec::new(),
            },
        }
    }

    /// Adds rows. Their fingerprint goes into the footer with that of their row group.
    ///
    /// # Errors
    /// Of another schema than the file's, or where the sink fails.
    pub fn write(&mut self, batch: &RecordBatch, fingerprint: Fingerprint) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if !views::same_columns(batch.schema_ref(), &self.schema) {
            return Err(failed("the rows have another schema than the file"));
        }
        match &mut self.state {
            State::Sampling { rows, .. } => {
                rows.push((batch.clone(), fingerprint));
                let count: usize = rows.iter().map(|(b, _)| b.num_rows()).sum();
                let bytes: usize = rows.iter().map(|(b, _)| sliced_bytes(b)).sum();
                if count >= SAMPLE_ROWS || bytes >= SAMPLE_BYTES {
                    self.begin(None)
                } else {
                    Ok(())
                }
            }
            State::Writing(encoder) => encoder.write(
                batch,
                fingerprint,
                &self.schema,
                self.options.row_group_bytes,
            ),
            State::Broken => Err(failed("an earlier write failed")),
        }
    }

    /// Bytes that the file would have if it ended now, roughly. Nothing is known of how rows
    /// compress before the first are encoded: then these are the bytes that they have in memory, so
    /// that a small file ends its first row group soon enough to find out.
    pub fn written_estimate(&self) -> u64 {
        match &self.state {
            State::Sampling { rows, .. } => {
                rows.iter().map(|(b, _)| sliced_bytes(b)).sum::<usize>() as u64
            }
            State::Writing(e) => e.file.bytes_written() as u64 + e.pending_bytes() as u64,
            State::Broken => 0,
        }
    }

    /// Bytes and rows of the row groups that have ended: exactly, but for the footer.
    pub fn ended(&self) -> (u64, u64) {
        match &self.state {
            State::Writing(e) => (e.file.bytes_written() as u64, e.ended_rows),
            State::Sampling { .. } | State::Broken => (0, 0),
        }
    }

    /// Ends the row group, and says how many bytes there are: exactly, but for the footer. The
    /// estimate counts what is not yet compressed.
    ///
    /// # Errors
    /// Where the sink fails.
    pub fn end_row_group(&mut self) -> Result<u64> {
        if matches!(self.state, State::Sampling { .. }) {
            self.begin(None)?;
        }
        let State::Writing(encoder) = &mut self.state else {
            return Err(failed("an earlier write failed"));
        };
        encoder.flush(&self.schema)?;
        Ok(encoder.file.bytes_written() as u64)
    }

    /// Ends the row group, and copies one of another file behind it, whose columns must be the
    /// same; `bytes` delivers it.
    ///
    /// # Errors
    /// Of other columns than the file's, where there are too few bytes, or where the sink fails.
    pub fn append(&mut self, from: &Groups, group: usize, bytes: &Incoming) -> Result<()> {
        let like = from.row_group(group);
        match &self.state {
            // Nothing to choose encodings by but what the other file chose.
            State::Sampling { rows, .. } if rows.is_empty() => self.begin(like)?,
            State::Sampling { .. } => self.begin(None)?,
            _ => {}
        }
        let State::Writing(encoder) = &mut self.state else {
            return Err(failed("an earlier write failed"));
        };
        encoder.flush(&self.schema)?;
        encoder.append(from.columns(group)?, from.fingerprint(group), bytes)
    }

    /// The sink: what has been written can be taken out of it.
    pub fn sink(&mut self) -> Option<&mut W> {
        match &mut self.state {
            State::Sampling { sink, .. } => Some(sink),
            State::Writing(e) => Some(e.file.inner_mut()),
            State::Broken => None,
        }
    }

    /// Writes what is left, and the footer.
    ///
    /// # Errors
    /// Where the sink fails.
    pub fn finish(mut self) -> Result<W> {
        if matches!(self.state, State::Sampling { .. }) {
            self.begin(None)?;
        }
        match self.state {
            State::Writing(mut encoder) => {
                encoder.flush(&self.schema)?;
                if let Some(prints) = encoder.prints.pair() {
                    encoder.file.append_key_value_metadata(prints);
                }
                encoder.file.into_inner().map_err(failed)
            }
            _ => Err(failed("an earlier write failed")),
        }
    }

    fn begin(&mut self, like: Option<&RowGroupMetaData>) -> Result<()> {
        let State::Sampling { sink, rows } = std::mem::replace(&mut self.state, State::Broken)
        else {
            return Err(failed("an earlier write failed"));
        };
        let (rows, prints): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let mut encoder = Encoder::new(
            sink,
            &self.schema,
            &self.options,
            &Sample { rows: &rows, like },
        )?;
        for (batch, fingerprint) in rows.iter().zip(prints) {
            encoder.write(
                batch,
                fingerprint,
                &self.schema,
                self.options.row_group_bytes,
            )?;
        }
        // Says what rows of this kind become.
        encoder.encode(&self.schema)?;
        encoder.rest()?;
        self.state = State::Writing(Box::new(encoder));
        Ok(())
    }
}

impl<W: Write + Send> Encoder<W> {
    fn new(sink: W, schema: &Schema, options: &WriteOptions, sample: &Sample) -> Result<Self> {
        let descriptor = leaf::parquet_schema(schema).map_err(failed)?;
        let mut properties = properties(schema, &descriptor, options, sample);
        if !pairs::is_bare(schema.metadata()) {
            add_encoded_arrow_schema_to_metadata(&leaf::embedded(schema), &mut properties);
        }
        let file =
            SerializedFileWriter::new(sink, descriptor.root_schema_ptr(), Arc::new(properties))
                .map_err(failed)?;
        let factory = Factory::of(&file, schema, options.row_group_bytes)?;
        Ok(Self {
            file,
            factory,
            columns: Columns::None,
            waiting: Vec::new(),
            waiting_bytes: 0,
            handed_bytes: 0,
            compressed: COMPRESSED,
            group: 0,
            group_rows: 0,
            ended_rows: 0,
            prints: Prints::new(),
        })
    }

    fn pending_bytes(&self) -> usize {
        self.columns.bytes() + self.waiting_bytes / self.compressed
    }

    fn write(
        &mut self,
        batch: &RecordBatch,
        fingerprint: Fingerprint,
        schema: &Schema,
        group_bytes: usize,
    ) -> Result<()> {
        self.prints.add(fingerprint);
        self.group_rows += batch.num_rows();
        self.waiting_bytes += sliced_bytes(batch);
        self.waiting.push(batch.clone());
        let full = self.group_rows >= GROUP_ROWS;
        if let Factory::Slices(_) = self.factory {
            return if full || self.waiting_bytes >= group_bytes * COMPRESSED {
                self.flush(schema)
            } else {
                Ok(())
            };
        }
        if !full && self.waiting_bytes < group_bytes / STEPS {
            return Ok(());
        }
        // Where a row group ends must not depend on which thread is faster: it is asked only when
        // all that was handed out is encoded.
        self.rest()?;
        if full || self.pending_bytes() >= group_bytes {
            self.flush(schema)
        } else {
            self.encode(schema)
        }
    }

    /// Waits until all that was handed out is encoded.
    fn rest(&mut self) -> Result<()> {
        let Some(columns) = self.columns.join()? else {
            return Ok(());
        };
        self.columns = Columns::Idle(columns);
        self.compressed = (self.handed_bytes / self.columns.bytes().max(1)).max(1);
        Ok(())
    }

    /// Hands the rows that wait to other threads, column by column. They are several batches: a
    /// column that ends a page takes much longer than its neighbours then, and over some pages
    /// this evens out.
    fn encode(&mut self, schema: &Schema) -> Result<()> {
        let Factory::Whole(factory) = &self.factory else {
            return Ok(());
        };
        if self.waiting.is_empty() {
            return Ok(());
        }
        let mut columns = match self.columns.join()? {
            Some(columns) => columns,
            None => factory.create_column_writers(self.group).map_err(failed)?,
        };
        let leaves = leaves(
            schema,
            0..schema.fields().len(),
            &self.waiting,
            columns.len(),
        )?;
        self.waiting.clear();
        let before: usize = columns
            .iter()
            .map(ArrowColumnWriter::get_estimated_total_bytes)
            .sum();
        let more = std::mem::take(&mut self.waiting_bytes);
        self.handed_bytes += more;
        let bytes = before + more / self.compressed;
        let (sender, done) = sync_channel(1);
        rayon::spawn(move || {
            let write = |(column, leaves): (&mut ArrowColumnWriter, Vec<ArrowLeafColumn>)| {
                leaves.iter().try_for_each(|leaf| column.write(leaf))
            };
            let work = || {
                columns
                    .par_iter_mut()
                    .zip(leaves.into_par_iter())
                    .try_for_each(write)
                    .map(|()| columns)
            };
            // A panic would end the process here. Without an answer, the other side knows.
            if let Ok(result) = catch_unwind(AssertUnwindSafe(work)) {
                let _ = sender.send(result);
            }
        });
        self.columns = Columns::Busy { done, bytes };
        Ok(())
    }

    fn append(
        &mut self,
        columns: Vec<ColumnCloseResult>,
        fingerprint: Option<Fingerprint>,
        bytes: &Incoming,
    ) -> Result<()> {
        let mut group = self.file.next_row_group().map_err(failed)?;
        let rows = columns.first().map_or(0, |c| c.rows_written);
        for column in columns {
            group.append_column(bytes, column).map_err(failed)?;
        }
        group.close().map_err(failed)?;
        self.ended_rows += rows;
        self.prints.push(fingerprint);
        self.group += 1;
        Ok(())
    }

    fn flush(&mut self, schema: &Schema) -> Result<()> {
        if matches!(self.factory, Factory::Slices(_)) {
            return self.flush_slices(schema);
        }
        self.encode(schema)?;
        let Some(columns) = self.columns.join()? else {
            return Ok(());
        };
        let chunks: Vec<ArrowColumnChunk> = columns
            .into_par_iter()
            .map(ArrowColumnWriter::close)
            .collect::<Result<_, ParquetError>>()
            .map_err(failed)?;
        let mut group = self.file.next_row_group().map_err(failed)?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut group).map_err(failed)?;
        }
        group.close().map_err(failed)?;
        self.handed_bytes = 0;
        self.ended();
        Ok(())
    }

    fn flush_slices(&mut self, schema: &Schema) -> Result<()> {
        let Factory::Slices(slices) = &self.factory else {
            return Ok(());
        };
        if self.waiting.is_empty() {
            return Ok(());
        }
        let mut group = self.file.next_row_group().map_err(failed)?;
        let mut encoded = 0;
        for Slice { fields, factory } in slices {
            let columns = factory.create_column_writers(self.group).map_err(failed)?;
            let leaves = leaves(schema, fields.clone(), &self.waiting, columns.len())?;
            let write = |(mut column, leaves): (ArrowColumnWriter, Vec<ArrowLeafColumn>)| {
                leaves.iter().try_for_each(|leaf| column.write(leaf))?;
                column.close()
            };
            let chunks: Vec<ArrowColumnChunk> = columns
                .into_par_iter()
                .zip(leaves.into_par_iter())
                .map(write)
                .collect::<Result<_, ParquetError>>()
                .map_err(failed)?;
            for chunk in chunks {
                encoded += usize::try_from(chunk.close().bytes_written).unwrap_or(0);
                chunk.append_to_row_group(&mut group).map_err(failed)?;
            }
        }
        group.close().map_err(failed)?;
        self.waiting.clear();
        self.compressed = (std::mem::take(&mut self.waiting_bytes) / encoded.max(1)).max(1);
        self.ended();
        Ok(())
    }

    /// The open row group has been written.
    fn ended(&mut self) {
        self.prints.end();
        self.group += 1;
        self.ended_rows += std::mem::take(&mut self.group_rows) as u64;
    }
}

/// The bytes of a batch's rows, also where it is a slice of larger buffers or points into pages.
pub fn sliced_bytes(batch: &RecordBatch) -> usize {
    batch
        .columns()
        .iter()
        .map(|c| views::sliced_bytes(c.as_ref()))
        .sum()
}
