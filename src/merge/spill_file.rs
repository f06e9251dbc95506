//! A sorted run in a temporary file: an Arrow stream in LZ4 frames, read once, from the beginning
//! to the end.
//!
//! It is not Parquet, because a reader of Parquet holds a page of every column. That is gigabytes
//! where there are thousands of columns. A reader of a stream holds one batch, whatever its shape.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use lz4_flex::frame::{BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use crate::error::{Error, Result};
use icepack_core::model::units::MIB;
use icepack_parquet::views::{self, Slices};
use icepack_parquet::write::sliced_bytes;

/// Bytes that a reader holds besides batches: blocks on both sides of the decompressor.
const BLOCKS: u64 = MIB;

/// Batches that a merge holds of an open run: the one that it reads, that before it, whose rows
/// wait to be put out, and the next as it is read.
const HELD: u64 = 3;

/// What cannot be written to the local disk. Most often it is full.
pub(super) fn unwritable(path: &Path, e: impl std::fmt::Display) -> Error {
    // Arrow and Parquet put words of their own around the system's.
    let why = e.to_string();
    let why = ["Parquet error: ", "External: ", "Io error: "]
        .iter()
        .fold(why.as_str(), |why, around| {
            why.strip_prefix(around).unwrap_or(why)
        });
    let action = format!(
        "cannot write what does not fit into memory to `{}`",
        path.display()
    );
    Error::local(
        action,
        format!(
            "{why}; free some space there, set `spill_dir` to a larger disk, or raise \
             `memory_limit`"
        ),
    )
}

/// Writes a run. Its methods block.
pub(super) struct Writer {
    path: PathBuf,
    schema: SchemaRef,
    stream: StreamWriter<FrameEncoder<File>>,
    /// Bytes of a batch, about.
    batch: u64,
    waiting: Vec<RecordBatch>,
    waiting_bytes: u64,
    largest: u64,
}

impl Writer {
    /// A new file at `path`, for rows of `schema` in batches of about `batch` bytes.
    pub fn create(path: PathBuf, schema: &SchemaRef, batch: u64) -> Result<Self> {
        let file = File::create_new(&path).map_err(|e| unwritable(&path, e))?;
        let frames =
            FrameEncoder::with_frame_info(FrameInfo::new().block_size(BlockSize::Max256KB), file);
        let stream = StreamWriter::try_new(frames, schema).map_err(|e| unwritable(&path, e))?;
        Ok(Self {
            path,
            schema: Arc::clone(schema),
            stream,
            batch,
            waiting: Vec::new(),
            waiting_bytes: 0,
            largest: 0,
        })
    }

    /// Adds rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for slice in Slices::new(batch.clone(), self.batch) {
            let bytes = sliced_bytes(&slice) as u64;
            if self.waiting_bytes + bytes > self.batch {
                self.flush()?;
            }
            self.waiting.push(slice);
            self.waiting_bytes += bytes;
        }
        Ok(())
    }

    /// Small batches are put together: each costs some hundred bytes a column.
    fn flush(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let whole =
            concat_batches(&self.schema, &self.waiting).map_err(|e| unwritable(&self.path, e))?;
        self.waiting.clear();
        self.largest = self.largest.max(self.waiting_bytes);
        self.waiting_bytes = 0;
        // All that views could point to would go along.
        self.stream
            .write(&views::owned(whole))
            .map_err(|e| unwritable(&self.path, e))
    }

    /// Ends the file. Gives its path, and the bytes that a reader of it holds.
    pub fn finish(mut self) -> Result<(PathBuf, u64)> {
        self.flush()?;
        let Self {
            path,
            stream,
            largest,
            ..
        } = self;
        let ended = stream.into_inner().map_err(|e| unwritable(&path, e))?;
        ended.finish().map_err(|e| unwritable(&path, e))?;
        Ok((path, HELD * largest + BLOCKS))
    }
}

/// Reads a run.
pub(super) struct Reader {
    path: PathBuf,
    stream: StreamReader<FrameDecoder<BufReader<File>>>,
}

impl Reader {
    /// Opens what a [`Writer`] finished.
    pub fn open(path: PathBuf) -> Result<Self> {
        let file = File::open(&path).map_err(|e| unreadable(&path, e))?;
        let stream = StreamReader::try_new(FrameDecoder::new(BufReader::new(file)), None)
            .map_err(|e| unreadable(&path, e))?;
        Ok(Self { path, stream })
    }

    /// The next rows.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        self.stream
            .next()
            .transpose()
            .map_err(|e| unreadable(&self.path, e))
    }
}

/// A run of ours that does not read back is the disk's doing: no input must be quarantined for it.
fn unreadable(path: &Path, e: impl std::fmt::Display) -> Error {
    Error::local(
        format!("cannot read back the spilled run `{}`", path.display()),
        e,
    )
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, ListArray, StringViewArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn batch(rows: usize, text: &str) -> RecordBatch {
        let ids = Int64Array::from_iter_values((0..rows).map(|i| i64::try_from(i).unwrap()));
        let texts = StringViewArray::from_iter(
            (0..rows).map(|i| (i % 7 > 0).then(|| format!("{text}{i}"))),
        );
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(
            (0..rows).map(|i| (i % 3 > 0).then(|| (0..i % 5).map(|n| i64::try_from(n).ok()))),
        );
        RecordBatch::try_from_iter_with_nullable([
            ("id", Arc::new(ids) as ArrayRef, false),
            ("text", Arc::new(texts) as ArrayRef, true),
            ("list", Arc::new(lists) as ArrayRef, true),
        ])
        .unwrap()
    }

    fn read_back(batches: &[RecordBatch], bytes: u64) -> (Vec<RecordBatch>, u64, u64) {
        let dir = tempfile::tempdir().unwrap();
        let mut writer =
            Writer::create(dir.path().join("run"), &batches[0].schema(), bytes).unwrap();
        batches.iter().for_each(|b| writer.write(b).unwrap());
        let (path, held) = writer.finish().unwrap();
        let size = std::fs::metadata(&path).unwrap().len();
        let mut reader = Reader::open(path).unwrap();
        let read = std::iter::from_fn(|| reader.next_batch().unwrap()).collect();
        (read, held, size)
    }

    #[test]
    fn rows_come_back_as_they_were_in_batches_of_the_size_asked_for() {
        let whole = batch(10_000, "some text that is too long to be within its view: ");
        // As a merge makes them: slices of several lengths.
        let slices: Vec<RecordBatch> = [(0, 1), (1, 17), (18, 4_000), (4_018, 5_982)]
            .map(|(at, len)| whole.slice(at, len))
            .into();
        let (read, held, _) = read_back(&slices, 64 << 10);
        assert_eq!(concat_batches(&whole.schema(), &read).unwrap(), whole);
        assert!(
            read.len() > 5 && read.iter().all(|b| sliced_bytes(b) <= 128 << 10),
            "{} batches",
            read.len()
        );
        assert!(held >= 3 * read.iter().map(|b| sliced_bytes(b) as u64).max().unwrap());
        assert!(read_back(&[whole.slice(0, 0)], 1).0.is_empty());
    }

    #[test]
    fn rows_of_a_large_page_do_not_take_the_page_along() {
        let whole = batch(50_000, "some text that is too long to be within its view: ");
        let few: Vec<RecordBatch> = (0..10).map(|i| whole.slice(i * 5_000, 1)).collect();
        let (read, _, size) = read_back(&few, 1 << 20);
        assert_eq!(read.iter().map(RecordBatch::num_rows).sum::<usize>(), 10);
        assert!(size < 4_000, "{size} bytes for ten rows");
    }

    #[test]
    fn a_file_that_is_cut_off_is_the_disks_fault() {
        let dir = tempfile::tempdir().unwrap();
        let whole = batch(10_000, "text");
        let mut writer = Writer::create(dir.path().join("run"), &whole.schema(), 16 << 10).unwrap();
        writer.write(&whole).unwrap();
        let (path, _) = writer.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for len in [0, 4, bytes.len() / 2, bytes.len() - 8] {
            std::fs::write(&path, &bytes[..len]).unwrap();
            let read = Reader::open(path.clone()).and_then(|mut r| {
                std::iter::from_fn(|| r.next_batch().transpose()).collect::<Result<Vec<_>>>()
            });
            let why = read
                .map(|all| all.iter().map(RecordBatch::num_rows).sum::<usize>())
                .unwrap_err();
            assert!(
                matches!(&why, Error::Local { .. })
                    && why.to_string().contains("cannot read back the spilled run"),
                "{len}: {why}"
            );
        }
    }
}
