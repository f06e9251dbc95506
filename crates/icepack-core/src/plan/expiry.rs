//! How many rows of a tenant a plan would expire. Pure: from the plan, the head and the footers
//! that were read.

use crate::model::adopted::RowTimes;
use crate::model::estimate::{Expiry, FooterScan};
use crate::model::file::{Micros, TimeSpread};
use crate::model::manifest::Manifest;
use crate::model::plan::{Group, GroupKind, Plan, PlannedInput, SkipReason};
use crate::model::policy::Policy;
use crate::plan::retention::LeaveRule;

/// One file: its rows and its bytes over time.
struct Known {
    rows: Vec<TimeSpread>,
    bytes: Vec<TimeSpread>,
}

/// The rows that a plan would expire; none where rows are kept for ever.
pub fn of(
    plan: &Plan,
    head: Option<&Manifest>,
    survey: &FooterScan,
    policy: &Policy,
) -> Option<Expiry> {
    let (cutoff, ttl) = (plan.cutoff?, policy.ttl?);
    let now = Micros::from_datetime(plan.now);
    let snapshot_rows = head.map_or(0, Manifest::live_rows);
    let mut expiry = Expiry {
        ttl_s: ttl.as_secs(),
        rows: snapshot_rows
            .saturating_add(adopted_rows(plan))
            .saturating_add(survey.rows())
            .saturating_sub(snapshot_rows_of(plan, survey)),
        rows_expiring: 0,
        bytes_expiring: 0,
        percent: 0.0,
        max_percent: policy.max_expire_percent,
        files_unknown: 0,
        object_bytes: Vec::new(),
    };
    for group in plan.groups.iter().filter(|g| g.kind != GroupKind::Adopt) {
        add(&mut expiry, group, survey, policy, cutoff, now);
    }
    expiry.percent = percent(expiry.rows_expiring, expiry.rows);
    Some(expiry)
}

fn add(
    expiry: &mut Expiry,
    group: &Group,
    survey: &FooterScan,
    policy: &Policy,
    cutoff: Micros,
    now: Micros,
) {
    let found: Vec<Option<Known>> = group.inputs.iter().map(|i| known(i, survey, now)).collect();
    expiry.files_unknown += found
        .iter()
        .filter(|k| k.as_ref().is_none_or(Known::is_vague))
        .count() as u64;
    let known: Vec<Known> = found.into_iter().flatten().collect();
    let all: Vec<TimeSpread> = known.iter().flat_map(|k| k.bytes.iter().copied()).collect();
    let leaves =
        group.is_expiry() || LeaveRule::of(policy).is_none_or(|rule| rule.leaves(&all, cutoff));
    if !leaves {
        return;
    }
    let bytes = before(&all, cutoff);
    expiry.bytes_expiring = expiry.bytes_expiring.saturating_add(bytes);
    expiry.rows_expiring = known.iter().fold(expiry.rows_expiring, |sum, k| {
        sum.saturating_add(before(&k.rows, cutoff))
    });
    if policy.archive.is_none() {
        return;
    }
    match group.kind {
        GroupKind::Expire => expiry
            .object_bytes
            .extend(group.inputs.iter().map(|i| i.size)),
        GroupKind::Merge => expiry.object_bytes.extend((bytes > 0).then_some(bytes)),
        GroupKind::Adopt => {}
    }
}

/// Rows of the adopted files that are there, whether they are taken or stay.
fn adopted_rows(plan: &Plan) -> u64 {
    let taken = plan.groups.iter().flat_map(|g| &g.inputs);
    let taken = taken.filter_map(|i| i.adopted);
    let stay = plan.skipped.iter().filter_map(|s| match s.reason {
        SkipReason::Adopted { times } => Some(times),
        _ => None,
    });
    taken
        .chain(stay)
        .fold(0, |sum, times| sum.saturating_add(times.rows))
}

/// Rows of snapshots that were surveyed, which head has counted.
fn snapshot_rows_of(plan: &Plan, survey: &FooterScan) -> u64 {
    let snapshots = plan
        .groups
        .iter()
        .flat_map(|g| &g.inputs)
        .filter(|i| i.is_snapshot())
        .filter_map(|i| survey.files.get(&i.key));
    snapshots
        .flatten()
        .fold(0, |sum, e| sum.saturating_add(e.amount))
}

fn before(extents: &[TimeSpread], cutoff: Micros) -> u64 {
    extents
        .iter()
        .fold(0, |sum, e| sum.saturating_add(e.before(cutoff)))
}

impl Known {
    /// Nothing is known of its times.
    fn is_vague(&self) -> bool {
        self.rows.iter().any(|e| e.amount > 0) && self.rows.iter().all(|e| e.span.is_none())
    }
}

/// None where nobody has read it.
fn known(input: &PlannedInput, survey: &FooterScan, now: Micros) -> Option<Known> {
    let rows = match input.times() {
        Some(times) => spread(&times),
        None => survey.files.get(&input.key)?.clone(),
    };
    let all = rows
        .iter()
        .fold(0, |sum: u64, e| sum.saturating_add(e.amount))
        .max(1);
    let rows: Vec<TimeSpread> = rows.into_iter().map(|e| e.until(now)).collect();
    let share = |rows: u64| {
        u64::try_from(u128::from(input.size) * u128::from(rows) / u128::from(all))
            .unwrap_or(input.size)
    };
    let bytes = rows
        .iter()
        .map(|e| TimeSpread {
            amount: share(e.amount),
            ..*e
        })
        .collect();
    Some(Known { rows, bytes })
}

fn spread(times: &RowTimes) -> Vec<TimeSpread> {
    let dated = TimeSpread {
        amount: times.rows.saturating_sub(times.undated),
        span: times.min.zip(times.max),
    };
    vec![
        dated,
        TimeSpread {
            amount: times.undated,
            span: None,
        },
    ]
}

/// 0 where there is nothing.
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    // Thousandths of a percent are more than anybody reads, and whole numbers are exact.
    let thousandths = u128::from(part) * 100_000 / u128::from(whole);
    f64::from(u32::try_from(thousandths).unwrap_or(u32::MAX)) / 1_000.0
}

#[cfg(test)]
mod tests;
