//! Cuts snapshots between their row groups, where some can be copied and others must be decoded.

use std::collections::HashMap;
use std::sync::Arc;

use super::job::Job;
use super::open::Opened;
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
            .map_or(i64::MIN, |min| last_not_after(min, job.unit)),
        stats
            .max
            .map_or(i64::MAX, |max| first_not_before(max, job.unit)),
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
    if input.file.ident.size < rules.row_group / 8 || (!overlapped && rules.stay(&stats)) {
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

/// Whose rows they are: a file's, of which there may be several pieces, or the run's alone.
fn owner(i: usize, run: &Run) -> (*const Opened, usize) {
    match &run.from {
        RunSource::Sorted(input, Some(_)) => (Arc::as_ptr(input), 0),
        _ => (std::ptr::null(), i),
    }
}

/// Of runs in time order: whether each shares as much as an instant with a run of another owner.
/// Pieces of one file are in order among themselves, whatever they share.
pub(super) fn overlapped(runs: &[Run]) -> Vec<bool> {
    let owners: Vec<_> = runs
        .iter()
        .enumerate()
        .map(|(i, run)| owner(i, run))
        .collect();
    let spans: Vec<_> = runs.iter().map(|run| (run.min, run.max)).collect();
    touching(&spans, &owners)
}

/// Where something ends or begins, and whose it is.
type Edge<O> = Option<(i64, O)>;

/// Whether each of `spans`, which are in the order of their beginnings, touches one of another
/// owner.
fn touching<O: Copy + PartialEq>(spans: &[(i64, i64)], owners: &[O]) -> Vec<bool> {
    let mut found = vec![false; spans.len()];
    // The latest end so far, and the latest of anybody else than whose that is.
    let (mut first, mut second): (Edge<O>, Edge<O>) = (None, None);
    for (found, (&(min, max), &own)) in found.iter_mut().zip(spans.iter().zip(owners)) {
        let others = [first, second]
            .into_iter()
            .flatten()
            .filter(|(_, whose)| *whose != own)
            .map(|(end, _)| end)
            .max();
        *found |= others.is_some_and(|end| end >= min);
        let all = [first, second, Some((max, own))];
        first = all.into_iter().flatten().max_by_key(|(end, _)| *end);
        second = all
            .into_iter()
            .flatten()
            .filter(|(_, whose)| first.is_some_and(|(_, best)| best != *whose))
            .max_by_key(|(end, _)| *end);
    }
    // The next to begin, and the next of anybody else.
    let (mut next, mut other): (Edge<O>, Edge<O>) = (None, None);
    for (found, (&(min, max), &own)) in found.iter_mut().zip(spans.iter().zip(owners)).rev() {
        let is_other = next.is_some_and(|(_, whose)| whose != own);
        let begins = if is_other { next } else { other };
        *found |= begins.is_some_and(|(begin, _)| begin <= max);
        if is_other {
            other = next;
        }
        next = Some((min, own));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_those_that_a_look_at_every_pair_finds() {
        let mut random = 7_u64;
        let mut below = |n: i64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            i64::try_from(random >> 33).unwrap() % n
        };
        for _ in 0..500 {
            let mut spans: Vec<Span> = Vec::new();
            for file in 0..1 + below(5) {
                // Files of several pieces, in order, and runs of their own.
                let mut at = below(60);
                for _ in 0..1 + below(4) {
                    let end = at + below(9);
                    spans.push(Span {
                        min: at,
                        max: end,
                        owner: (file < 3).then_some(file),
                    });
                    at = end + below(3);
                }
            }
            spans.sort_by_key(|s| s.min);
            let owners: Vec<_> = spans
                .iter()
                .enumerate()
                .map(|(i, s)| {
                    s.owner
                        .map_or((1, i64::try_from(i).unwrap()), |file| (0, file))
                })
                .collect();
            let ends: Vec<(i64, i64)> = spans.iter().map(|s| (s.min, s.max)).collect();
            let hit = |i: usize, j: usize| {
                owners[i] != owners[j] && ends[i].0 <= ends[j].1 && ends[j].0 <= ends[i].1
            };
            let want: Vec<bool> = (0..spans.len())
                .map(|i| (0..spans.len()).any(|j| hit(i, j)))
                .collect();
            assert_eq!(touching(&ends, &owners), want, "{ends:?} {owners:?}");
        }
    }

    struct Span {
        min: i64,
        max: i64,
        owner: Option<i64>,
    }
}
