//! Runs: rows in time order, from an input, from an input that is sorted in memory, or from the
//! spill directory.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;

use super::chunk::{Chunk, RowSource};
use super::decode::{Decoded, Decoder, Prefetcher, Undecodable};
use super::job::Job;
use super::open::Opened;
use super::spill_file;
use crate::budget::MergeBudget;
use crate::error::{Error, Result};
use icepack_core::model::file::{Fingerprint, Micros, RowStats};
use icepack_parquet::read::Input;
use icepack_parquet::time::{first_not_before, last_not_after, refine};
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
    /// In an input that is not.
    Unsorted(Box<Opened>),
    /// In a file of ours.
    Spilled(PathBuf),
}

impl Run {
    /// Whether not even two such runs may be open. What is on disk already would be the same again.
    pub fn is_heavy(&self, budget: MergeBudget) -> bool {
        self.cost > budget.runs / 2 && !matches!(self.from, RunSource::Spilled(_))
    }
}

/// The inputs as runs, in order of their ranks.
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
    let run = |(i, ((min, max), input)): (usize, ((i64, i64), Opened))| {
        let (cost, from) = if input.profile.is_none_or(|p| p.sorted) {
            let cost = input.open_bytes;
            (cost, RunSource::Sorted(Arc::new(input), None))
        } else {
            // The rows, the batch that is made of them, and what orders them.
            let cost = input.open_bytes + input.decoded_bytes * 3 / 2 + input.rows * 24;
            (cost, RunSource::Unsorted(Box::new(input)))
        };
        Run {
            rank: (i, 0),
            min,
            max,
            cost,
            from,
        }
    };
    Ok(spans.into_iter().enumerate().map(run).collect())
}

/// The first and last key of an input, in the job's unit; for snapshots from what the manifest
/// says.
fn span(job: &Job, input: &Opened) -> Result<(i64, i64)> {
    if let Some(key) = job.dater.constant() {
        return Ok((key, key));
    }
    if let Some(profile) = &input.profile {
        let (min, max) = profile.keys.ok_or_else(|| {
            input
                .file
                .ident
                .bad("its footer promises rows, and it has none")
        })?;
        // Null stays the smallest.
        return Ok((
            refine(min, profile.unit, job.unit()),
            refine(max, profile.unit, job.unit()),
        ));
    }
    let Some(stats) = &input.planned.stats else {
        return Err(input.file.ident.bad("nothing is known of its times").into());
    };
    let dated = first_not_before(Micros::EPOCH_2000, job.unit());
    let min = match stats.min {
        Some(min) if stats.undated == 0 => last_not_after(min, job.unit()),
        _ => i64::MIN,
    };
    Ok((
        min,
        stats
            .max
            .map_or(dated, |max| first_not_before(max, job.unit())),
    ))
}

/// An open run.
pub(super) enum RunReader<'a> {
    Input(Box<InputFeed<'a>>),
    Sorted(Sorted<'a>),
    Spilled(Box<spill_file::Reader>, &'a Job<'a>),
}

/// What opening a run gives.
pub(super) enum Opening<'a> {
    Ready(RunReader<'a>),
    /// An input whose rows turned out to be more than its footer says and memory holds: what was
    /// read of it, and the rest.
    TooLarge(Vec<Chunk>, InputFeed<'a>),
}

impl<'a> RunReader<'a> {
    pub fn open(job: &'a Job<'a>, from: RunSource, min: i64) -> Result<Opening<'a>> {
        Ok(Opening::Ready(match from {
            RunSource::Sorted(input, piece) => {
                let (file, is_sorted) = input.open(job)?;
                if !is_sorted {
                    // It was expected to be, and counted as such: the disk has room for it.
                    let rest = InputFeed::of(job, &file, input, None, None)?;
                    return Ok(Opening::TooLarge(Vec::new(), rest));
                }
                Self::Input(Box::new(InputFeed::of(
                    job,
                    &file,
                    input,
                    piece,
                    Some(min),
                )?))
            }
            RunSource::Unsorted(input) => return Sorted::load(job, *input),
            RunSource::Spilled(path) => {
                Self::Spilled(Box::new(spill_file::Reader::open(path)?), job)
            }
        }))
    }
}

impl RowSource for RunReader<'_> {
    fn next(&mut self) -> Result<Option<Chunk>> {
        match self {
            Self::Input(feed) => feed.next(),
            Self::Sorted(sorted) => sorted.next(),
            Self::Spilled(reader, job) => {
                job.check_stop()?;
                let batch = reader.next_batch()?;
                batch.map(|b| Chunk::by(&job.dater, b)).transpose()
            }
        }
    }
}

/// Reads an input: brings its rows to the job's schema, and enters them into the books.
pub(super) struct InputFeed<'a> {
    job: &'a Job<'a>,
    input: Arc<Opened>,
    piece: Option<RowGroupRange>,
    ahead: Prefetcher,
    rows: u64,
    bytes: u64,
    fingerprint: Fingerprint,
}

impl<'a> InputFeed<'a> {
    /// Of an input whose rows come in any order.
    pub fn open(job: &'a Job<'a>, input: Arc<Opened>) -> Result<Self> {
        let (file, _) = input.open(job)?;
        Self::of(job, &file, input, None, None)
    }

    fn of(
        job: &'a Job<'a>,
        file: &Input,
        input: Arc<Opened>,
        piece: Option<RowGroupRange>,
        sorted_from: Option<i64>,
    ) -> Result<Self> {
        let reader = file.reader_of(None, job.budget.batch)?;
        let reader = match &piece {
            Some(piece) => reader.only(piece.groups.clone()),
            None => reader,
        };
        let ahead = Prefetcher::begin(
            job,
            Decoder::new(job, reader, Arc::clone(&input), sorted_from),
        );
        Ok(Self {
            job,
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

    pub fn next(&mut self) -> Result<Option<Chunk>> {
        let job = self.job;
        let decoded = self.ahead.next(job).map_err(|e| match e {
            Undecodable::Misfit(misfit) => job.misfit(misfit, &self.input),
            Undecodable::Failed(e) => e,
        })?;
        let Some(Decoded {
            chunk,
            own,
            fingerprint,
        }) = decoded
        else {
            return self.end().map(|()| None);
        };
        self.fingerprint = self.fingerprint.plus(own);
        job.read_of(self.input.turn, own);
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

    fn end(&self) -> Result<()> {
        match self
            .piece
            .as_ref()
            .map(|p| &p.stats)
            .or(self.input.planned.stats.as_ref())
        {
            Some(stats) if self.job.spec.check_content && stats.fingerprint != self.fingerprint => Err(self
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
pub(super) struct Sorted<'a> {
    job: &'a Job<'a>,
    batches: Vec<RecordBatch>,
    /// Batch and row of every row, in order.
    order: Vec<(usize, usize)>,
    next: usize,
    step: usize,
}

impl<'a> Sorted<'a> {
    fn load(job: &'a Job<'a>, input: Opened) -> Result<Opening<'a>> {
        let mut feed = InputFeed::open(job, Arc::new(input))?;
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        while let Some(chunk) = feed.next()? {
            bytes += chunk.bytes();
            chunks.push(chunk);
            if bytes as u64 >= job.budget.sort {
                return Ok(Opening::TooLarge(chunks, feed));
            }
        }
        Ok(Opening::Ready(RunReader::Sorted(Self::new(job, chunks))))
    }

    /// Sorts rows by key; those of one key stay in the order they came in.
    pub fn new(job: &'a Job<'a>, chunks: Vec<Chunk>) -> Self {
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
            usize::try_from(job.budget.batch).unwrap_or(usize::MAX) / (bytes / rows.max(1)).max(1);
        Self {
            job,
            batches: chunks.into_iter().map(|c| c.batch).collect(),
            order,
            next: 0,
            step: step.clamp(16, 8_192),
        }
    }

    pub fn next(&mut self) -> Result<Option<Chunk>> {
        self.job.check_stop()?;
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
        Chunk::by(&self.job.dater, batch).map(Some)
    }
}
