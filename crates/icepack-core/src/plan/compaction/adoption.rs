//! Adoption: raw files that stay as they are although rows expire. Only their time column is read,
//! once, and head keeps the result.

use std::collections::BTreeMap;

use super::{AT_ONCE, Candidate, group, skip};
use crate::model::adopted::Adoptions;
use crate::model::file::{Listed, Micros};
use crate::model::plan::{Group, GroupKind, Inventory, Reason, SkipReason, Skipped};
use crate::model::policy::{CompactionStrategy, Policy};
use crate::model::same::plain;

/// Gives raw files what head knows of them: of the very version that the listing shows, by the
/// column that dates a row now.
pub(super) fn recall(raws: &mut [Candidate], inventory: &Inventory, policy: &Policy) {
    let notes = Adoptions::of(inventory.head.as_ref());
    if notes.is_empty() {
        return;
    }
    let listed: BTreeMap<&str, &Listed> = inventory
        .listing
        .iter()
        .map(|f| (f.key.as_str(), f))
        .collect();
    for c in raws {
        let file = listed.get(c.input.key.as_str());
        c.input.adopted = file.and_then(|f| notes.times(f, policy.timestamp_column.as_str()));
    }
}

/// Why each file that no merge wants stays. Where rows expire, those go to `untimed` of which
/// nobody knows when their rows are from. A small file waits for others first, and a young one of
/// strategy `time` until it is old.
pub(super) fn stay(
    waiting: Vec<(Candidate, SkipReason)>,
    untimed: &mut Vec<Candidate>,
    cutoff: Option<Micros>,
    policy: &Policy,
) -> Vec<Skipped> {
    let mut skipped = Vec::new();
    for (c, why) in waiting {
        let is_settled = match (&why, policy.strategy) {
            (SkipReason::Alone, _) | (SkipReason::Large, CompactionStrategy::SizeBased) => true,
            _ => c.age >= policy.max_raw_age,
        };
        // A note on a file without a tag would never hold.
        let is_possible = c.input.etag.as_deref().and_then(plain).is_some();
        match c.input.adopted {
            Some(times) if cutoff.is_some() => {
                skipped.push(skip(&c.input, SkipReason::Adopted { times }));
            }
            None if cutoff.is_some() && is_settled && is_possible => untimed.push(c),
            _ => skipped.push(skip(&c.input, why)),
        }
    }
    skipped
}

/// What is to be read of files in whatever folders.
pub(super) fn groups(untimed: &[Candidate], policy: &Policy) -> Vec<Group> {
    let of = |chunk: &[Candidate]| {
        let reason = Reason::Untimed {
            files: chunk.len(),
            column: policy.timestamp_column.to_string(),
        };
        group(chunk.to_vec(), GroupKind::Adopt, reason)
    };
    untimed.chunks(AT_ONCE).map(of).collect()
}
