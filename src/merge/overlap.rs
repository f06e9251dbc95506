//! Finds runs that overlap in time, and must be merged together.

use std::sync::Arc;

use super::open::Opened;
use super::run::{Run, RunSource};

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
