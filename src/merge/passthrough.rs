//! Copies row groups of a large snapshot verbatim when no other input overlaps them and no row in
//! them expires. Only the remaining row groups are decoded.
//!
//! The manifest and the footers decide which these are, so the same inputs always make the same
//! choice. A file is compared with the manifest before its row groups are copied. One that does not
//! agree, or that is unusual in any way, is decoded, which finds out what is wrong.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use arrow::datatypes::{SchemaRef, TimeUnit};
use bytes::Bytes;

use super::MergeSpec;
use super::job::Job;
use super::open::Opened;
use super::output::{Step, Steps};
use super::overlap::overlapped;
use super::run::{RowGroupRange, Run, RunSource};
use super::spill;
use crate::budget::MergeBudget;
use crate::error::{Error, Result};
use icepack_core::model::file::{Fingerprint, Micros, RowStats};
use icepack_core::model::policy::Encodings;
use icepack_parquet::append::{Copyable, Groups, Incoming, Windows};
use icepack_parquet::time::{Dater, ceil_micros, floor_micros};

/// Decides which runs can be copied.
pub(super) struct Rules<'a> {
    spec: &'a MergeSpec,
    pub budget: MergeBudget,
    /// Of the snapshots that are made, and what dates their rows.
    schema: SchemaRef,
    dater: Dater,
    /// Dated rows before this leave.
    cutoff: Option<Micros>,
}

impl<'a> Rules<'a> {
    /// The pass-through of a merge into rows of `schema`, of which those before `cutoff` expire.
    pub fn of(job: &Job<'a>, schema: &SchemaRef, cutoff: Option<Micros>) -> Self {
        Self {
            spec: job.spec,
            budget: job.budget,
            schema: Arc::clone(schema),
            dater: job.dater.clone(),
            cutoff,
        }
    }

    /// Bytes of the row groups that the encoder makes.
    pub fn row_group(&self) -> u64 {
        let most = self.budget.buffers.row_group as u64;
        self.spec.writing.row_group(most)
    }

    /// The statistics of a run's rows, if they can be copied where nothing overlaps them.
    pub fn candidate(&self, run: &Run) -> Option<RowStats> {
        let stats = match &run.from {
            RunSource::Sorted(_, Some(piece)) => Some(piece.stats),
            RunSource::Sorted(input, None) => self.snapshot(input),
            RunSource::Unsorted(_) | RunSource::Spilled(_) => None,
        };
        stats.filter(|s| self.stay(s))
    }

    /// The row groups of the input that can be copied, or the reason why they cannot, in a
    /// sentence.
    pub fn open(&self, input: &Opened) -> Result<Result<Copyable, String>> {
        Ok(Copyable::open(
            &input.file,
            &self.schema,
            &self.dater,
            &self.spec.writing.bloom_filter,
        )?)
    }

    /// The statistics of a snapshot of which row groups may be copied.
    pub fn snapshot(&self, input: &Opened) -> Option<RowStats> {
        let stats = input
            .planned
            .stats
            .filter(|_| input.planned.is_snapshot())?;
        // What is much larger than it should be is to be cut.
        let target = self.spec.size.target;
        let fits = input.file.ident.size <= target.saturating_add(target / 2);
        (stats.undated == 0
            && !stats.is_untimed()
            && fits
            && input.schema.fields() == self.schema.fields())
        .then_some(stats)
    }

    /// Whether rows of a snapshot can be taken whole if nothing overlaps them.
    pub fn stay(&self, stats: &RowStats) -> bool {
        let Some((min, max)) = stats.min.zip(stats.max) else {
            return false;
        };
        let within = self.spec.cut.end(min).is_none_or(|end| max < end);
        max <= self.spec.now && self.cutoff.is_none_or(|cutoff| min >= cutoff) && within
    }

    /// Why a file whose manifest entry allows it is decoded all the same, in a sentence.
    pub fn objection(&self, groups: &Groups, stats: &RowStats) -> Option<&'static str> {
        let count = groups.len() as u64;
        let bytes: u64 = (0..groups.len()).map(|g| groups.bytes(g)).sum();
        let span = groups.span().map(|(min, max, unit): (i64, i64, TimeUnit)| {
            (Some(floor_micros(min, unit)), Some(ceil_micros(max, unit)))
        });
        if groups.rows() != stats.rows || span != Some((stats.min, stats.max)) {
            return Some("its footer does not agree with the manifest");
        }
        let writing = &self.spec.writing;
        if writing.encodings == Encodings::Plain && groups.has_deltas() {
            return Some("its encodings are not to be written any more");
        }
        if !groups.are_compressed_by(&|column| writing.codec(column)) {
            return Some("it is not compressed as it is to be");
        }
        if groups.largest() > self.row_group().saturating_mul(2) && writing.row_group_size.is_some()
        {
            return Some("its row groups are larger than they are to be");
        }
        // The encoder would make larger ones of them. Not all that fall short of its size are
        // small: where rows compress well, its own do too.
        if bytes < count * (self.row_group() / 16) {
            return Some("its row groups are small");
        }
        (groups.largest() > self.budget.copied_row_group())
            .then_some("its row groups are larger than memory allows")
    }
}

/// Runs that are dealt with in one way.
enum Part {
    Decode(Vec<Run>),
    Copy(Run, RowStats),
}

/// Brings `runs` to the output in order: what can be taken whole is copied, and whatever lies
/// between is merged.
pub(super) fn merge(job: &Job, rules: &Rules, runs: Vec<Run>, steps: &Steps) -> Result<()> {
    for part in parts(runs, |run| rules.candidate(run)) {
        match part {
            Part::Decode(runs) => {
                spill::merge(job, runs, &mut |batch| steps.send(Step::Rows(batch)))?
            }
            Part::Copy(run, stats) => copy_or_merge(job, rules, run, &stats, steps)?,
        }
    }
    Ok(())
}

/// In time order. A candidate that shares not even one instant with another run is a part of its
/// own; no row of any other belongs between its rows, nor can it be the copy of one of them.
fn parts(mut runs: Vec<Run>, candidate: impl Fn(&Run) -> Option<RowStats>) -> Vec<Part> {
    runs.sort_by_key(|r| (r.min, r.rank));
    let overlapped = overlapped(&runs);
    let mut parts: Vec<Part> = Vec::new();
    for (run, overlapped) in runs.into_iter().zip(overlapped) {
        match (candidate(&run).filter(|_| !overlapped), parts.last_mut()) {
            (Some(stats), _) => parts.push(Part::Copy(run, stats)),
            (None, Some(Part::Decode(runs))) => runs.push(run),
            (None, _) => parts.push(Part::Decode(vec![run])),
        }
    }
    parts
}

/// A run that is copied, on its way to the output.
pub(super) struct Passthrough {
    pub stats: RowStats,
    pub groups: Groups,
    pub bytes: Incoming,
}

impl Passthrough {
    /// The parts that may end up in different snapshots: row groups, where the file says what is in
    /// each.
    pub fn parts(&self) -> Vec<(Range<usize>, RowStats)> {
        let all = 0..self.groups.len();
        let each: Option<Vec<_>> = all
            .clone()
            .map(|g| Some((g..g + 1, self.groups.stats(g)?)))
            .collect();
        let sum = |each: &[(Range<usize>, RowStats)]| {
            each.iter()
                .fold(RowStats::default(), |sum, (_, s)| sum.plus(*s))
        };
        // A footer's word is good only where it is the manifest's.
        each.filter(|each| sum(each) == self.stats)
            .unwrap_or_else(|| vec![(all, self.stats)])
    }
}

fn copy_or_merge(
    job: &Job,
    rules: &Rules,
    run: Run,
    stats: &RowStats,
    steps: &Steps,
) -> Result<()> {
    let RunSource::Sorted(input, piece) = &run.from else {
        return Err(Error::local("cannot copy rows", "they are not in a file"));
    };
    let key = &input.file.ident.key;
    match open(rules, input, piece.as_ref(), stats)? {
        Ok(file) => {
            tracing::debug!(key, rows = stats.rows, "copied without decoding");
            let size = piece.as_ref().map_or(input.file.ident.size, |p| p.bytes);
            copy(job, size, file, stats, steps)
        }
        Err(why) => {
            tracing::debug!(key, why, "decoded, although nothing overlaps it");
            spill::merge(job, vec![run], &mut |batch| steps.send(Step::Rows(batch)))
        }
    }
}

fn open(
    rules: &Rules,
    input: &Opened,
    piece: Option<&RowGroupRange>,
    stats: &RowStats,
) -> Result<Result<Copyable, String>> {
    let file = match rules.open(input)? {
        Ok(file) => file,
        Err(why) => return Ok(Err(why)),
    };
    let file = match piece {
        Some(piece) => file.only(piece.groups.clone()),
        None => Some(file),
    };
    let Some(file) = file else {
        return Ok(Err("it has no such row groups".to_owned()));
    };
    Ok(match rules.objection(file.groups(), stats) {
        None => Ok(file),
        Some(why) => Err(why.to_owned()),
    })
}

fn copy(job: &Job, size: u64, file: Copyable, stats: &RowStats, steps: &Steps) -> Result<()> {
    let (groups, windows, sender, bytes) = file.start(job.budget.copy_window());
    steps.send(Step::Passthrough(Box::new(Passthrough {
        stats: *stats,
        groups,
        bytes,
    })))?;
    let sent = send(job, windows, &sender)?;
    job.took(size - sent.min(size), stats.rows, stats.fingerprint);
    job.copied(size);
    Ok(())
}

/// Returns the bytes that were sent.
fn send(job: &Job, mut windows: Windows, sender: &SyncSender<Bytes>) -> Result<u64> {
    let mut sent = 0;
    loop {
        job.check_stop()?;
        let Some(bytes) = windows.next_bytes()? else {
            return Ok(sent);
        };
        let len = bytes.len() as u64;
        // A send fails only when the output has failed; its own error follows.
        sender.send(bytes).map_err(|_| Error::Stopped)?;
        sent += len;
        job.took(len, 0, Fingerprint::default());
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn shape(runs: &[(i64, i64)], candidates: &[i64]) -> Vec<String> {
        let runs = runs.iter().enumerate().map(|(i, (min, max))| Run {
            rank: (i, 0),
            min: *min,
            max: *max,
            cost: 1,
            from: RunSource::Spilled(PathBuf::new()),
        });
        let found = parts(runs.collect(), |r| {
            candidates.contains(&r.min).then(RowStats::default)
        });
        let name = |r: &Run| r.min.to_string();
        found
            .iter()
            .map(|p| match p {
                Part::Decode(runs) => runs.iter().map(name).collect::<Vec<_>>().join("+"),
                Part::Copy(run, _) => format!("whole {}", name(run)),
            })
            .collect()
    }

    #[test]
    fn only_what_stands_alone_is_whole() {
        assert_eq!(
            shape(&[(5, 9), (0, 4), (10, 12)], &[0, 5, 10]),
            ["whole 0", "whole 5", "whole 10"]
        );
        assert_eq!(
            shape(&[(0, 4), (5, 9), (10, 12)], &[5]),
            ["0", "whole 5", "10"]
        );
        assert_eq!(shape(&[(0, 4), (1, 2), (5, 9)], &[5]), ["0+1", "whole 5"]);
    }

    #[test]
    fn an_instant_in_common_is_an_overlap() {
        assert_eq!(shape(&[(0, 5), (5, 9)], &[0, 5]), ["0+5"]);
        // The first reaches beyond the second, into the third.
        assert_eq!(
            shape(&[(0, 20), (5, 9), (15, 30), (31, 40)], &[0, 5, 15, 31]),
            ["0+5+15", "whole 31"]
        );
    }
}
