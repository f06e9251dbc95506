//! Runs: rows in time order, from an input, from an input that is sorted on the way, or from the
//! spill directory.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::ScalarBuffer;
use arrow::compute::interleave_record_batch;

use super::decode::{Decoded, Decoder, Prefetcher, Undecodable};
use super::job::Job;
use super::open::Opened;
use super::{spill, spill_file};
use crate::error::{Error, Result};
use icepack_core::model::file::{Fingerprint, Micros, RowStats};
use icepack_parquet::time::{self, first_not_before, last_not_after, refine};
use icepack_parquet::write::sliced_bytes;

/// A run's place among rows of equal time: its input's, then the part's within the input.
pub(super) type Rank = (usize, usize);

/// A run that is not open.
pub(super) struct Run {
    pub rank: Rank,
    /// No row is earlier, …
    pub min: i64,
    /// … none later. In the unit of the job.
    pub max: i64,
    /// Bytes that it holds while it is open.
    pub cost: u64,
    pub from: RunSource,
}

/// Row groups of an input, one after the other, and what is known of their rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RowGroupRange {
    pub groups: Range<usize>,
    pub stats: RowStats,
    /// Of all the input's bytes, those that count for it.
    pub bytes: u64,
}

impl RowGroupRange {
    /// This and those that come right after it.
    pub fn with(mut self, next: &Self) -> Self {
        self.groups.end = next.groups.end;
        self.stats = self.stats.plus(next.stats);
        self.bytes += next.bytes;
        self
    }
}

/// Where a run's rows are.
pub(super) enum RunSource {
    /// In an input that is in order, or in a piece of it.
    Sorted(Arc<Opened>, Option<RowGroupRange>),
    /// In an input that is not, and small enough to be sorted in memory.
    Unsorted(Box<Opened>),
    /// In a file of ours.
    Spilled(PathBuf),
}

/// The inputs as runs, in order of their ranks. What is too large to be sorted in memory is sorted
/// on disk here.
pub(super) fn plan(job: &Job, inputs: Vec<Opened>) -> Result<Vec<Run>> {
    let mut spans: Vec<((i64, i64), Opened)> = Vec::with_capacity(inputs.len());
    for input in inputs {
        if input.rows == 0 {
            // Nothing of it will be read.
            job.took(input.file.ident.size, 0, Fingerprint::default());
        } else {
            spans.push((span(job, &input)?, input));
        }
    }
    // Stable: where two begin alike, the order of inputs decides.
    spans.sort_by_key(|((min, _), _)| *min);
    let mut runs = Vec::with_capacity(spans.len());
    for (i, ((min, max), input)) in spans.into_iter().enumerate() {
        let rank = (i, 0);
        if input.profile.is_none_or(|p| p.sorted) {
            runs.push(Run {
                rank,
                min,
                max,
                cost: input.open_bytes,
                from: RunSource::Sorted(Arc::new(input), None),
            });
            continue;
        }
        // The rows, the batch that is made of them, and what orders them.
        let cost = input.open_bytes + input.decoded_bytes * 3 / 2 + input.rows * 24;
        if cost <= job.shares.runs / 2 {
            runs.push(Run {
                rank,
                min,
                max,
                cost,
                from: RunSource::Unsorted(Box::new(input)),
            });
        } else {
            runs.extend(spill::sort_on_disk(job, input, i)?);
        }
    }
    Ok(runs)
}

/// The first and last key of an input, in the job's unit; for snapshots from what the manifest
/// says.
fn span(job: &Job, input: &Opened) -> Result<(i64, i64)> {
    if let Some(profile) = &input.profile {
        let (min, max) = profile.keys.ok_or_else(|| {
            input
                .file
                .ident
                .bad("its footer promises rows, and it has none")
        })?;
        // Null stays the smallest.
        return Ok((
            refine(min, profile.unit, job.unit),
            refine(max, profile.unit, job.unit),
        ));
    }
    let Some(stats) = &input.planned.stats else {
        return Err(input.file.ident.bad("nothing is known of its times").into());
    };
    let dated = first_not_before(Micros::EPOCH_2000, job.unit);
    let min = match stats.min {
        Some(min) if stats.undated == 0 => last_not_after(min, job.unit),
        _ => i64::MIN,
    };
    Ok((
        min,
        stats
            .max
            .map_or(dated, |max| first_not_before(max, job.unit)),
    ))
}

/// Rows with their keys.
pub(super) struct Chunk {
    pub batch: RecordBatch,
    pub keys: ScalarBuffer<i64>,
}

impl Chunk {
    /// In memory, with what orders them.
    pub fn bytes(&self) -> usize {
        sliced_bytes(&self.batch) + self.batch.num_rows() * 24
    }

    pub fn of(job: &Job, batch: RecordBatch) -> Result<Self> {
        Self::by(job.column, batch)
    }

    /// Rows that are dated by column `column`.
    pub fn by(column: usize, batch: RecordBatch) -> Result<Self> {
        let keys = batch.columns().get(column).and_then(|c| time::keys(c));
        keys.map(|keys| Self { batch, keys })
            .ok_or_else(|| Error::local("cannot merge", "rows without timestamps"))
    }
}

/// An open run.
pub(super) enum RunReader {
    Input(Box<InputFeed>),
    Sorted(Sorted),
    Spilled(Box<spill_file::Reader>),
}

impl RunReader {
    pub fn open(job: &Job, from: RunSource, min: i64) -> Result<Self> {
        Ok(match from {
            RunSource::Sorted(input, piece) => {
                Self::Input(Box::new(InputFeed::open(job, input, piece, Some(min))?))
            }
            RunSource::Unsorted(input) => match Sorted::load(job, *input)? {
                Loaded::Sorted(sorted) => Self::Sorted(sorted),
                Loaded::Spilled(run) => Self::open(job, run.from, run.min)?,
            },
            RunSource::Spilled(path) => Self::Spilled(Box::new(spill_file::Reader::open(path)?)),
        })
    }

    /// The next rows, never an empty chunk.
    pub fn next(&mut self, job: &Job) -> Result<Option<Chunk>> {
        job.check_stop()?;
        match self {
            Self::Input(feed) => feed.next(job),
            Self::Sorted(sorted) => sorted.next(job),
            Self::Spilled(reader) => reader.next_batch()?.map(|b| Chunk::of(job, b)).transpose(),
        }
    }
}

/// Reads an input: brings its rows to the job's schema, and enters them into the books.
pub(super) struct InputFeed {
    input: Arc<Opened>,
    piece: Option<RowGroupRange>,
    ahead: Prefetcher,
    rows: u64,
    bytes: u64,
    fingerprint: Fingerprint,
}

impl InputFeed {
    pub fn open(
        job: &Job,
        input: Arc<Opened>,
        piece: Option<RowGroupRange>,
        sorted_from: Option<i64>,
    ) -> Result<Self> {
        let reader = input.file.open()?.reader_of(None, job.shares.batch)?;
        let reader = match &piece {
            Some(piece) => reader.only(piece.groups.clone()),
            None => reader,
        };
        let ahead = Prefetcher::begin(
            job,
            Decoder::new(job, reader, Arc::clone(&input), sorted_from),
        );
        Ok(Self {
            input,
            piece,
            ahead,
            rows: 0,
            bytes: 0,
            fingerprint: Fingerprint::default(),
        })
    }

    /// The bytes and rows that it reads.
    fn extent(&self) -> (u64, u64) {
        self.piece
            .as_ref()
            .map_or((self.input.file.ident.size, self.input.rows), |p| {
                (p.bytes, p.stats.rows)
            })
    }

    pub fn next(&mut self, job: &Job) -> Result<Option<Chunk>> {
        let decoded = self.ahead.next(job).map_err(|e| match e {
            Undecodable::Misfit(misfit) => job.misfit(misfit, &self.input),
            Undecodable::Failed(e) => e,
        })?;
        let Some(Decoded { chunk, fingerprint }) = decoded else {
            return self.end(job).map(|()| None);
        };
        self.fingerprint = self.fingerprint.plus(fingerprint);
        job.read_of(self.input.turn, fingerprint);
        let rows = chunk.batch.num_rows() as u64;
        self.rows += rows;
        let (bytes, all) = self.extent();
        let done =
            u64::try_from(u128::from(bytes) * u128::from(self.rows) / u128::from(all.max(1)))
                .unwrap_or(bytes)
                .min(bytes);
        job.took(done - self.bytes, rows, fingerprint);
        self.bytes = done;
        Ok(Some(chunk))
    }

    fn end(&self, job: &Job) -> Result<()> {
        match self
            .piece
            .as_ref()
            .map(|p| &p.stats)
            .or(self.input.planned.stats.as_ref())
        {
            Some(stats) if job.check_content && stats.fingerprint != self.fingerprint => Err(self
                .input
                .file
                .ident
                .bad(format!(
                    "its rows are not those that were written: fingerprint {}, and the manifest \
                     says {}",
                    self.fingerprint, stats.fingerprint
                ))
                .into()),
            _ => Ok(()),
        }
    }
}

/// Rows that were sorted in memory.
pub(super) struct Sorted {
    batches: Vec<RecordBatch>,
    /// Batch and row of every row, in order.
    order: Vec<(usize, usize)>,
    next: usize,
    step: usize,
}

/// An input in order.
enum Loaded {
    Sorted(Sorted),
    /// Its rows turned out to be more than its footer made believe.
    Spilled(Run),
}

impl Sorted {
    fn load(job: &Job, input: Opened) -> Result<Loaded> {
        let mut feed = InputFeed::open(job, Arc::new(input), None, None)?;
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        while let Some(chunk) = feed.next(job)? {
            job.check_stop()?;
            bytes += chunk.bytes();
            chunks.push(chunk);
            if bytes as u64 >= job.shares.sort {
                return spill::sort_rest_on_disk(job, feed, chunks).map(Loaded::Spilled);
            }
        }
        Ok(Loaded::Sorted(Self::new(job, chunks)))
    }

    /// Sorts rows by key; those of one key stay in the order they came in.
    pub fn new(job: &Job, chunks: Vec<Chunk>) -> Self {
        let rows: usize = chunks.iter().map(|c| c.batch.num_rows()).sum();
        let mut keyed: Vec<(i64, u32, u32)> = Vec::with_capacity(rows);
        for (b, chunk) in (0u32..).zip(&chunks) {
            keyed.extend(
                chunk
                    .keys
                    .iter()
                    .zip(0u32..)
                    .map(|(key, row)| (*key, b, row)),
            );
        }
        // The places make every element unique, so this is as good as a stable sort.
        keyed.sort_unstable();
        let order = keyed
            .into_iter()
            .map(|(_, b, row)| (b as usize, row as usize))
            .collect();
        let bytes: usize = chunks.iter().map(|c| sliced_bytes(&c.batch)).sum();
        let step =
            usize::try_from(job.shares.batch).unwrap_or(usize::MAX) / (bytes / rows.max(1)).max(1);
        Self {
            batches: chunks.into_iter().map(|c| c.batch).collect(),
            order,
            next: 0,
            step: step.clamp(16, 8_192),
        }
    }

    pub fn next(&mut self, job: &Job) -> Result<Option<Chunk>> {
        if self.next >= self.order.len() {
            self.batches.clear();
            return Ok(None);
        }
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        let mut rows = self.step.min(self.order.len() - self.next);
        let batch = loop {
            match interleave_record_batch(&batches, &self.order[self.next..self.next + rows]) {
                Ok(batch) => break batch,
                // Strings of more than 2 GiB together do not fit into one batch.
                Err(_) if rows > 1 => rows /= 2,
                Err(e) => return Err(Error::local("cannot sort rows", e)),
            }
        };
        self.next += rows;
        Chunk::of(job, batch).map(Some)
    }
}
