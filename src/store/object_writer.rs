//! One output object, encoded and uploaded as it is produced.
//!
//! Small objects are one conditional put under a name that says exactly which times they hold. An
//! object that outgrows the buffer becomes a multipart upload before its last row is known, so the
//! end in its name is an upper bound. Either way the name holds a fresh id, nothing is overwritten,
//! and what the object holds is in the stats that [`ObjectWriter::finish`] returns.

#[cfg(test)]
pub(crate) mod faulty;
#[cfg(test)]
mod tests;
pub mod upload;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use object_store::PutPayload;
use tokio::runtime::Handle;

use crate::error::{Error, Result};
use icepack_core::model::file::{Micros, RowStats};
use icepack_core::model::manifest::Checksum;
use icepack_core::model::names::Key;
use icepack_core::model::policy::Writing;
use icepack_core::model::units::MIB;
use icepack_parquet::append::{Groups, Incoming};
use icepack_parquet::stats::Counter;
use icepack_parquet::time::Dater;
use icepack_parquet::write::{ParquetWriter, WriteOptions};
use upload::{Destination, Multipart, start_multipart};

/// Names hold four digits of a year. Times beyond are named by the nearest that fits; their exact
/// values are in the stats.
const NAMEABLE: (Micros, Micros) = (
    Micros(-62_135_596_800_000_000),
    Micros(253_402_300_799_000_000),
);

/// How much memory an object may take on its way out, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffers {
    /// Encoded bytes of a row group.
    pub row_group: usize,
    /// An object that ends within this is put in one request.
    pub single: usize,
    /// Bytes of a part, more than the 5 MiB that S3 demands. The first half of [`MOST_PARTS`] are
    /// equal, which R2 demands of all but the last.
    pub part: usize,
    /// Bytes that a part may grow to.
    pub largest: usize,
    /// Parts of the first size that are under way at once.
    pub in_flight: usize,
}

/// Parts that S3 takes of one object.
pub const MOST_PARTS: u64 = 10_000;

/// Bytes of the part that comes after `sent` bytes: `part` for the first half of [`MOST_PARTS`],
/// then a thousandth of what was sent, which leads to S3's 5 TiB within the other half, but no more
/// than `largest`.
fn part_after(sent: u64, part: u64, largest: u64) -> u64 {
    if sent < part.saturating_mul(MOST_PARTS / 2) {
        part
    } else {
        (sent / 1_000).clamp(part, largest.max(part))
    }
}

impl Buffers {
    /// The sizes that about half of `budget` bytes allow. Below some 48 MiB the minimum sizes
    /// count: a part cannot be smaller.
    pub fn within(budget: u64) -> Self {
        let share = |least: u64, most: u64| {
            usize::try_from((budget / 8).clamp(least * MIB, most * MIB)).unwrap_or(usize::MAX)
        };
        let part = share(8, 8);
        let in_flight = (usize::try_from(budget / 8).unwrap_or(usize::MAX) / part).clamp(1, 4);
        // One that is filled, one that waits and one that is sent are held.
        let largest =
            usize::try_from((budget / 4).clamp(part as u64, 5 << 30)).unwrap_or(usize::MAX);
        Self {
            row_group: share(1, 16),
            single: share(8, 16),
            part,
            largest,
            in_flight,
        }
    }

    /// For an object of about `bytes`: parts so large that all of them can be equal.
    #[must_use]
    pub fn expecting(self, bytes: u64) -> Self {
        let even = usize::try_from((bytes / (MOST_PARTS * 2 / 5)).next_multiple_of(MIB))
            .unwrap_or(usize::MAX);
        let part = even.clamp(self.part, self.largest);
        Self {
            part,
            in_flight: (self.in_flight * self.part / part).max(1),
            ..self
        }
    }
}

/// The object that is to be written.
pub struct ObjectSpec {
    pub destination: Arc<dyn Destination>,
    /// Of all its rows.
    pub schema: SchemaRef,
    /// Of its rows.
    pub dater: Dater,
    /// Whether the rows come in the order of their times, undated ones first. The footer says so
    /// where that is the order of a column.
    pub is_sorted: bool,
    /// The object's key by the times of its first and last dated row.
    pub name: Box<dyn Fn(Micros, Micros) -> Key + Send>,
    /// No dated row will be later.
    pub to_bound: Micros,
    pub buffers: Buffers,
    /// How it is written.
    pub writing: Writing,
    pub metadata: Vec<(String, String)>,
}

/// An object that is complete in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenObject {
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// As the store gave it.
    pub etag: Option<String>,
    /// What was sent, where the destination computes checksums.
    pub checksum: Option<Checksum>,
    pub stats: RowStats,
}

/// Writes one object. Its methods block: they belong on a blocking thread of the runtime, and so does the end of
/// one that is not finished, which waits until the store has been told to give the upload up.
pub struct ObjectWriter {
    spec: ObjectSpec,
    counter: Counter,
    writer: ParquetWriter<Vec<u8>>,
    /// Encoded, not sent yet.
    ready: VecDeque<Bytes>,
    ready_bytes: usize,
    upload: Option<(Key, Multipart)>,
    /// Parts sent, and their bytes.
    sent: (u64, u64),
}

impl Drop for ObjectWriter {
    fn drop(&mut self) {
        if let Some((_, upload)) = self.upload.take() {
            // It failed, or it is aborted: there is nothing more to do either way.
            let _ = upload.blocking_abort();
        }
    }
}

impl ObjectWriter {
    /// An empty object.
    pub fn begin(spec: ObjectSpec) -> Self {
        let counter = Counter::by(spec.dater.clone());
        let sorted_by = spec.dater.sorted_by().filter(|_| spec.is_sorted);
        let options = WriteOptions {
            row_group_bytes: usize::try_from(spec.writing.row_group(spec.buffers.row_group as u64))
                .unwrap_or(spec.buffers.row_group),
            sorted_by: sorted_by.map(str::to_owned),
            writing: spec.writing.clone(),
            metadata: spec.metadata.clone(),
        };
        let writer = ParquetWriter::new(Vec::new(), Arc::clone(&spec.schema), options);
        Self {
            spec,
            counter,
            writer,
            ready: VecDeque::new(),
            ready_bytes: 0,
            upload: None,
            sent: (0, 0),
        }
    }

    /// Adds rows.
    ///
    /// # Errors
    /// Whatever keeps them from being encoded or sent.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let fingerprint = self
            .counter
            .add(batch)
            .map_err(|e| Error::local("cannot count rows", e))?;
        self.writer.write(batch, fingerprint)?;
        self.advance()
    }

    /// Adds rows of another file of the same columns, of which `stats` are known, by copying these
    /// of its row groups; `bytes` delivers them.
    ///
    /// # Errors
    /// Whatever keeps them from being copied or sent.
    pub fn append(
        &mut self,
        groups: &Groups,
        which: Range<usize>,
        stats: RowStats,
        bytes: &Incoming,
    ) -> Result<()> {
        self.counter.include(stats);
        for group in which {
            if let Some(sink) = self.writer.sink() {
                sink.reserve(usize::try_from(groups.bytes(group)).unwrap_or(0));
            }
            self.writer.append(groups, group, bytes)?;
            self.advance()?;
        }
        Ok(())
    }

    /// Sends what there is to be sent.
    fn advance(&mut self) -> Result<()> {
        self.drain();
        if self.upload.is_none() && self.ready_bytes > self.spec.buffers.single {
            let key = self.name(self.spec.to_bound);
            let Buffers {
                part, in_flight, ..
            } = self.spec.buffers;
            let upload = start_multipart(&self.spec.destination, &key, (part * in_flight) as u64);
            self.upload = Some((key, upload));
        }
        self.send_parts()
    }

    /// The bound for the name of an upload that starts with the next write: no row after will be
    /// later.
    pub fn bound(&mut self, to: Micros) {
        self.spec.to_bound = to;
    }

    /// Bytes that the object would have if it ended now, roughly.
    pub fn estimate(&self) -> u64 {
        self.writer.written_estimate()
    }

    /// Bytes and rows of the row groups that have ended.
    pub fn ended(&self) -> (u64, u64) {
        self.writer.ended()
    }

    /// Ends the row group, and says how many bytes the object would have but for the footer.
    ///
    /// # Errors
    /// Whatever keeps the rows from being encoded.
    pub fn end_row_group(&mut self) -> Result<u64> {
        let bytes = self.writer.end_row_group()?;
        self.drain();
        Ok(bytes)
    }

    fn drain(&mut self) {
        if let Some(sink) = self.writer.sink() {
            let bytes = std::mem::take(sink);
            self.push(bytes);
        }
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.counter.stats().rows
    }

    /// Completes the object.
    ///
    /// # Errors
    /// Where it is not certain that the store holds all of it. Nothing refers to such an object; it
    /// is collected as an orphan.
    pub fn finish(mut self) -> Result<WrittenObject> {
        let writer = std::mem::replace(
            &mut self.writer,
            ParquetWriter::new(
                Vec::new(),
                Arc::clone(&self.spec.schema),
                WriteOptions::default(),
            ),
        );
        let last = writer.finish()?;
        self.push(last);
        let (key, done) = if self.upload.is_some() {
            self.send_parts()?;
            let rest = self.take(self.ready_bytes);
            let Some((key, upload)) = self.upload.take() else {
                return Err(Error::local("cannot finish an upload", "it is not open"));
            };
            // Where the upload has failed, closing it says why.
            let _ = upload.send(rest);
            (key, upload.blocking_close()?)
        } else {
            let exact = self.counter.stats().max.unwrap_or(Micros(0));
            let key = self.name(exact);
            let payload = self.take(self.ready_bytes);
            let put = self.spec.destination.put(&key, payload);
            let done = Handle::current().block_on(put)?;
            (key, done)
        };
        Ok(WrittenObject {
            key,
            size: done.size,
            etag: done.etag,
            checksum: done.checksum,
            stats: *self.counter.stats(),
        })
    }

    fn name(&self, to: Micros) -> Key {
        let clamp = |m: Micros| m.clamp(NAMEABLE.0, NAMEABLE.1);
        // Undated rows come first. An object that is too large for the buffer by them alone may
        // still get dated ones: it is named from the epoch.
        let from = self.counter.stats().min.unwrap_or(Micros(0));
        (self.spec.name)(clamp(from), clamp(to.max(from)))
    }

    fn push(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.ready_bytes += bytes.len();
            self.ready.push_back(bytes.into());
        }
    }

    fn take(&mut self, mut want: usize) -> PutPayload {
        let mut parts = Vec::new();
        while want > 0 {
            let Some(mut front) = self.ready.pop_front() else {
                break;
            };
            if front.len() > want {
                self.ready.push_front(front.split_off(want));
            }
            want -= front.len();
            self.ready_bytes -= front.len();
            parts.push(front);
        }
        parts.into_iter().collect()
    }

    fn send_parts(&mut self) -> Result<()> {
        // More than one part must be ready, because the last may be smaller but must not be empty.
        loop {
            let Buffers { part, largest, .. } = self.spec.buffers;
            let (parts, bytes) = self.sent;
            let size = usize::try_from(part_after(bytes, part as u64, largest as u64))
                .unwrap_or(usize::MAX);
            if self.upload.is_none() || self.ready_bytes <= size {
                break;
            }
            if parts + 2 > MOST_PARTS {
                let why = format!(
                    "{MOST_PARTS} parts are not enough for it: raise `memory_limit`, so that \
                     parts can be larger"
                );
                return Err(Error::local("cannot upload an object", why));
            }
            let part = self.take(size);
            self.sent = (parts + 1, bytes + size as u64);
            if let Some((_, upload)) = &self.upload
                && let Err(stopped) = upload.send(part)
            {
                // The upload has ended: it knows why.
                let ended = self
                    .upload
                    .take()
                    .map(|(_, upload)| upload.blocking_abort());
                return Err(ended.and_then(Result::err).unwrap_or(stopped));
            }
        }
        Ok(())
    }
}
