//! Divides snapshots into row groups that are copied and row groups that are decoded.

use std::collections::HashMap;
use std::sync::Arc;

use super::job::Job;
use super::open::Opened;
use super::overlap::overlapped;
use super::passthrough::Rules;
use super::run::{RowGroupRange, Run, RunSource};
use crate::error::Result;
use icepack_core::model::file::RowStats;
use icepack_parquet::time::{first_not_before, last_not_after};

/// Cuts what is worth it. Runs come in time order.
pub(super) fn cut(job: &Job, rules: &Rules, mut runs: Vec<Run>) -> Result<Vec<Run>> {
    runs.sort_by_key(|r| (r.min, r.rank));
    let overlapped = overlapped(&runs);
    let mut cut = Vec::with_capacity(runs.len());
    for (run, overlapped) in runs.into_iter().zip(overlapped) {
        let pieces = match &run.from {
            RunSource::Sorted(input, None) => pieces(rules, input, overlapped)?,
            _ => None,
        };
        match (&run.from, pieces) {
            (RunSource::Sorted(input, _), Some(pieces)) => {
                cut.extend(pieces.into_iter().map(|piece| {
                    let (min, max) = keys(job, &piece.stats);
                    Run {
                        rank: (run.rank.0, piece.groups.start),
                        min,
                        max,
                        cost: run.cost,
                        from: RunSource::Sorted(Arc::clone(input), Some(piece)),
                    }
                }))
            }
            _ => cut.push(run),
        }
    }
    Ok(join(cut, |run| rules.candidate(run)))
}

/// The first and the last key of rows that all have one, in the unit of the job.
fn keys(job: &Job, stats: &RowStats) -> (i64, i64) {
    (
        stats
            .min
            .map_or(i64::MIN, |min| last_not_after(min, job.unit())),
        stats
            .max
            .map_or(i64::MAX, |max| first_not_before(max, job.unit())),
    )
}

/// The row groups of an input. None where it is to be taken whole, or decoded from its first row to
/// its last.
fn pieces(rules: &Rules, input: &Opened, overlapped: bool) -> Result<Option<Vec<RowGroupRange>>> {
    let Some(stats) = rules.snapshot(input) else {
        return Ok(None);
    };
    // Of a smaller one, hardly a row group would be left to copy, and to look at it costs two
    // requests.
    if input.file.ident.size < rules.row_group() / 8 || (!overlapped && rules.stay(&stats)) {
        return Ok(None);
    }
    let file = match rules.open(input)? {
        Ok(file) => file,
        Err(why) => {
            tracing::debug!(key = input.file.ident.key, why, "decoded to its end");
            return Ok(None);
        }
    };
    let groups = file.groups();
    let Some(each) = (0..groups.len())
        .map(|g| groups.stats(g))
        .collect::<Option<Vec<RowStats>>>()
    else {
        return Ok(None);
    };
    // A footer's word is good for the books only where the manifest's is the same.
    if each.iter().fold(RowStats::default(), |sum, s| sum.plus(*s)) != stats
        || rules.objection(groups, &stats).is_some()
    {
        return Ok(None);
    }
    let mut pieces: Vec<RowGroupRange> = each
        .into_iter()
        .enumerate()
        .map(|(g, stats)| RowGroupRange {
            groups: g..g + 1,
            stats,
            bytes: groups.bytes(g),
        })
        .collect();
    let bytes: u64 = pieces.iter().map(|p| p.bytes).sum();
    if let Some(last) = pieces.last_mut() {
        // And the footer.
        last.bytes += input.file.ident.size.saturating_sub(bytes);
    }
    Ok(Some(pieces))
}

/// Puts neighbouring pieces of a file together again that will be dealt with in the same way; a
/// file of which nothing can be copied is no pieces any more.
fn join(mut runs: Vec<Run>, candidate: impl Fn(&Run) -> Option<RowStats>) -> Vec<Run> {
    runs.sort_by_key(|r| (r.min, r.rank));
    let copied: Vec<bool> = runs
        .iter()
        .zip(overlapped(&runs))
        .map(|(run, overlapped)| !overlapped && candidate(run).is_some())
        .collect();
    let mut joined: Vec<Run> = Vec::with_capacity(runs.len());
    // Where the last piece of each file has gone, and whether it is copied.
    let mut last: HashMap<*const Opened, (usize, bool)> = HashMap::new();
    for (run, copied) in runs.into_iter().zip(copied) {
        if let RunSource::Sorted(input, Some(piece)) = &run.from {
            let file = Arc::as_ptr(input);
            if let Some((place, before)) = last.get(&file)
                && *before == copied
                && let Some(Run {
                    max,
                    from: RunSource::Sorted(_, Some(grown)),
                    ..
                }) = joined.get_mut(*place)
            {
                *grown = grown.clone().with(piece);
                *max = run.max.max(*max);
                continue;
            }
            last.insert(file, (joined.len(), copied));
        }
        joined.push(run);
    }
    for run in &mut joined {
        if let RunSource::Sorted(input, piece) = &mut run.from
            && piece.as_ref().is_some_and(|p| p.stats.rows == input.rows)
        {
            *piece = None;
        }
    }
    joined
}
