//! Sorts what does not fit into memory at once, through sorted runs on the local disk.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::chunk::Chunk;
use super::job::Job;
use super::run::{InputFeed, Opening, Rank, Run, RunReader, RunSource, Sorted};
use super::{kway, spill_file};
use crate::error::{Error, Result};

/// Runs open at once, whatever they cost: each may be an open file.
const MOST_OPEN: usize = 256;

/// Writes a run.
struct Spill {
    writer: spill_file::Writer,
    span: Option<(i64, i64)>,
}

impl Spill {
    fn create(job: &Job) -> Result<Self> {
        Ok(Self {
            writer: spill_file::Writer::create(job.spill_path()?, &job.schema, job.budget.batch)?,
            span: None,
        })
    }

    fn write(&mut self, job: &Job, batch: &RecordBatch) -> Result<()> {
        job.check_stop()?;
        // In order: the first and the last key are the smallest and the largest.
        let keys = job.dater.keys(batch);
        let keys = keys.map_err(|e| Error::local("cannot sort rows", e))?;
        if let Some((first, last)) = keys.first().copied().zip(keys.last().copied()) {
            self.span = Some((self.span.map_or(first, |(min, _)| min), last));
        }
        self.writer.write(batch)
    }

    fn finish(self, rank: Rank) -> Result<Run> {
        let (path, cost) = self.writer.finish()?;
        let (min, max) = self.span.unwrap_or((i64::MAX, i64::MAX));
        Ok(Run {
            rank,
            min,
            max,
            cost,
            from: RunSource::Spilled(path),
        })
    }
}

/// Sorts inputs on disk that are not in order and too large to be sorted in memory: each becomes
/// several runs.
pub(super) fn sort_oversized(job: &Job, runs: Vec<Run>) -> Result<Vec<Run>> {
    let mut sorted = Vec::with_capacity(runs.len());
    for run in runs {
        let is_heavy = run.is_heavy(job.budget);
        match run.from {
            RunSource::Unsorted(input) if is_heavy => {
                let feed = InputFeed::open(job, Arc::new(*input))?;
                sorted.extend(sort_parts(job, feed, Vec::new(), run.rank.0)?);
            }
            from => sorted.push(Run { from, ..run }),
        }
    }
    Ok(sorted)
}

/// Merges `runs` into `sink`.
pub(super) fn merge(job: &Job, runs: Vec<Run>, sink: &mut kway::Sink) -> Result<()> {
    kway::merge(runs, |run| open(job, run), job.budget.batch, sink)
}

fn open<'a>(job: &'a Job<'a>, run: Run) -> Result<RunReader<'a>> {
    match RunReader::open(job, run.from, run.min)? {
        Opening::Ready(reader) => Ok(reader),
        // Its footer lied, and the first rows of it are in memory: all of it becomes one run on
        // disk, whose reader holds a few batches.
        Opening::TooLarge(read, rest) => open(job, sort_rest_on_disk(job, rest, read)?),
    }
}

/// Sorts an input that was begun to be sorted in memory: what was read of it, and the rest. A
/// single run comes of it.
fn sort_rest_on_disk(job: &Job, feed: InputFeed, read: Vec<Chunk>) -> Result<Run> {
    let mut runs = sort_parts(job, feed, read, 0)?;
    while runs.len() > 1 {
        runs = groups(runs, job.budget.runs, |r| r.is_heavy(job.budget))
            .into_iter()
            .map(|group| merge_group(job, group))
            .collect::<Result<_>>()?;
    }
    runs.pop()
        .ok_or_else(|| Error::local("cannot sort rows", "there are none"))
}

fn sort_parts(
    job: &Job,
    mut feed: InputFeed,
    mut chunks: Vec<Chunk>,
    place: usize,
) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    let mut bytes: usize = chunks.iter().map(Chunk::bytes).sum();
    loop {
        let next = feed.next()?;
        let ended = next.is_none();
        if let Some(chunk) = next {
            bytes += chunk.bytes();
            chunks.push(chunk);
        }
        if !chunks.is_empty() && (ended || bytes as u64 >= job.budget.sort) {
            let mut sorted = Sorted::new(job, std::mem::take(&mut chunks));
            let mut spill = Spill::create(job)?;
            while let Some(chunk) = sorted.next()? {
                spill.write(job, &chunk.batch)?;
            }
            runs.push(spill.finish((place, runs.len()))?);
            bytes = 0;
        }
        if ended {
            return Ok(runs);
        }
    }
}

/// Merges runs on disk until no more of them overlap than memory allows.
pub(super) fn reduce(job: &Job, mut runs: Vec<Run>) -> Result<Vec<Run>> {
    loop {
        let mut fit = Vec::with_capacity(runs.len());
        let mut passes = 0;
        for cluster in clusters(runs) {
            // Merging two on disk would open both, too.
            if cluster.open <= 2 || (cluster.peak <= job.budget.runs && cluster.open <= MOST_OPEN) {
                fit.extend(cluster.runs);
                continue;
            }
            passes += 1;
            for group in groups(cluster.runs, job.budget.runs, |r| r.is_heavy(job.budget)) {
                fit.push(merge_group(job, group)?);
            }
        }
        // Each pass brings inputs to disk or at least halves the clusters that it touches, so this
        // ends.
        if passes == 0 {
            return Ok(fit);
        }
        runs = fit;
    }
}

/// Runs that overlap one another, directly or through others.
struct Cluster {
    runs: Vec<Run>,
    /// The most bytes, and runs, that are open at once.
    peak: u64,
    open: usize,
}

fn clusters(mut runs: Vec<Run>) -> Vec<Cluster> {
    runs.sort_by_key(|r| (r.min, r.rank));
    let mut clusters: Vec<Cluster> = Vec::new();
    let mut open: BinaryHeap<Reverse<(i64, Rank, u64)>> = BinaryHeap::new();
    let mut held = 0;
    for (run, least) in least_ranks(&runs)
        .into_iter()
        .zip(runs)
        .map(|(l, r)| (r, l))
    {
        while let Some(Reverse((max, rank, cost))) = open.peek().copied() {
            // Of rows of equal time, those of the lower rank come first: such a run is over before
            // this one is opened. But a run that is merged of this one and others takes the least
            // of their ranks.
            if (max, rank) >= (run.min, least) {
                break;
            }
            open.pop();
            held -= cost;
        }
        if open.is_empty() {
            clusters.push(Cluster {
                runs: Vec::new(),
                peak: 0,
                open: 0,
            });
        }
        held += run.cost;
        open.push(Reverse((run.max, run.rank, run.cost)));
        if let Some(cluster) = clusters.last_mut() {
            cluster.peak = cluster.peak.max(held);
            cluster.open = cluster.open.max(open.len());
            cluster.runs.push(run);
        }
    }
    clusters
}

/// The least rank of each run and those after it.
fn least_ranks(runs: &[Run]) -> Vec<Rank> {
    let mut least: Vec<Rank> = runs.iter().map(|r| r.rank).collect();
    let mut after = None;
    for rank in least.iter_mut().rev() {
        *rank = after.map_or(*rank, |after: Rank| after.min(*rank));
        after = Some(*rank);
    }
    least
}

/// Neighbours by rank, as many as may be open at once, at least two. Only neighbours: the merged
/// run takes the place of all of them among rows of equal time. Of rows of equal time in two
/// clusters, all ranks of the second are above those of the first, so only ranks within a cluster
/// matter.
///
/// A heavy input, say of thousands of columns, is brought to disk by itself: there it costs a few
/// batches, and can be merged with many.
fn groups(mut runs: Vec<Run>, bytes: u64, is_heavy: impl Fn(&Run) -> bool) -> Vec<Vec<Run>> {
    runs.sort_by_key(|r| r.rank);
    let mut groups: Vec<Vec<Run>> = Vec::new();
    let mut held = 0;
    for run in runs {
        let fits = groups.last().is_some_and(|g| {
            let heavy = is_heavy(&run) || g.last().is_some_and(&is_heavy);
            !heavy && (g.len() < 2 || (held + run.cost <= bytes && g.len() < MOST_OPEN))
        });
        if !fits {
            groups.push(Vec::new());
            held = 0;
        }
        held += run.cost;
        if let Some(group) = groups.last_mut() {
            group.push(run);
        }
    }
    groups
}

fn merge_group(job: &Job, mut group: Vec<Run>) -> Result<Run> {
    if let [only] = group.as_slice()
        && !only.is_heavy(job.budget)
        && let Some(run) = group.pop()
    {
        return Ok(run);
    }
    let rank = group.first().map_or((0, 0), |r| r.rank);
    let spilled: Vec<PathBuf> = group
        .iter()
        .filter_map(|r| {
            if let RunSource::Spilled(path) = &r.from {
                Some(path.clone())
            } else {
                None
            }
        })
        .collect();
    let mut spill = Spill::create(job)?;
    merge(job, group, &mut |batch| spill.write(job, &batch))?;
    for path in spilled {
        // Its rows are in the new run: the disk need not hold them twice.
        std::fs::remove_file(&path).map_err(|e| spill_file::unwritable(&path, e))?;
    }
    spill.finish(rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rank: usize, min: i64, max: i64, cost: u64) -> Run {
        Run {
            rank: (rank, 0),
            min,
            max,
            cost,
            from: RunSource::Spilled(PathBuf::new()),
        }
    }

    #[test]
    fn only_what_overlaps_counts_together() {
        let found = clusters(vec![
            run(0, 0, 10, 1),
            run(1, 5, 20, 1),
            run(2, 11, 12, 1),
            run(3, 21, 30, 1),
            run(4, 30, 31, 5),
        ]);
        let shape: Vec<_> = found
            .iter()
            .map(|c| (c.runs.len(), c.peak, c.open))
            .collect();
        // At 30, the rows of the third come before those of the fourth.
        assert_eq!(shape, [(3, 2, 2), (1, 1, 1), (1, 5, 1)]);
    }

    #[test]
    fn runs_of_one_instant_come_one_after_the_other() {
        let found = clusters((0..500).map(|i| run(i, 7, 7, 9)).collect());
        assert!(found.len() == 500 && found.iter().all(|c| (c.peak, c.open) == (9, 1)));
        // The second piece of the first file would be put before the end of the second file.
        let mut runs = vec![run(1, 0, 5, 1), run(2, 5, 9, 1), run(0, 6, 8, 1)];
        assert_eq!(clusters(runs.split_off(0)).len(), 1);
    }

    #[test]
    fn groups_are_neighbours_and_at_least_pairs() {
        let shape = |bytes| {
            groups((0..7).map(|i| run(i, 0, 9, 10)).collect(), bytes, |_| false)
                .iter()
                .map(|g| g.iter().map(|r| r.rank.0).collect())
                .collect::<Vec<Vec<_>>>()
        };
        assert_eq!(shape(30), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
        assert_eq!(shape(0), [vec![0, 1], vec![2, 3], vec![4, 5], vec![6]]);
    }

    #[test]
    fn what_is_too_heavy_for_company_goes_to_disk_by_itself() {
        let runs = (0..7)
            .map(|i| run(i, 0, 9, if i < 5 { 16 } else { 15 }))
            .collect();
        let found = groups(runs, 30, |r| r.rank.0 == 1 || r.rank.0 == 4);
        let found: Vec<Vec<usize>> = found
            .iter()
            .map(|g| g.iter().map(|r| r.rank.0).collect())
            .collect();
        assert_eq!(found, [vec![0], vec![1], vec![2, 3], vec![4], vec![5, 6]]);
    }
}
