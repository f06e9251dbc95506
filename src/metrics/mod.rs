//! What an operator watches, as Prometheus reads it: rendered from a pass's record and from how its
//! tenants stand, so that a job that is gone a second later can leave it in a file or with a
//! Pushgateway.
//!
//! Counters rise over the life of the store, not of a process: each run record carries the sums of
//! those before it.

pub mod deliver;
pub mod names;
mod text;

use std::cmp::Reverse;

use icepack_core::model::inspect::TenantStatus;
use icepack_core::model::record::{RunRecord, Sums};
use icepack_core::model::report::Status;
use names::Family;
use text::Text;

/// The label of all tenants that have no sample of their own. No tenant's name begins so.
pub const OTHERS: &str = "_other";

/// A gauge by tenant, and how those are put together that have no sample of their own.
struct ByTenant {
    family: Family,
    value: fn(&TenantStatus) -> u64,
    together: fn(u64, u64) -> u64,
}

const BY_TENANT: [ByTenant; 7] = [
    ByTenant {
        family: names::OLDEST_UNCOMPACTED,
        value: |t| t.oldest_raw_s.unwrap_or(0),
        together: u64::max,
    },
    ByTenant {
        family: names::OLDEST_OVERDUE,
        value: |t| t.overdue_s.unwrap_or(0),
        together: u64::max,
    },
    ByTenant {
        family: names::QUARANTINED,
        value: |t| t.quarantined,
        together: u64::saturating_add,
    },
    ByTenant {
        family: names::UNCOMPACTED_FILES,
        value: |t| t.raw_files,
        together: u64::saturating_add,
    },
    ByTenant {
        family: names::UNCOMPACTED_BYTES,
        value: |t| t.raw_bytes,
        together: u64::saturating_add,
    },
    ByTenant {
        family: names::RETIRED_FILES,
        value: |t| t.retired,
        together: u64::saturating_add,
    },
    ByTenant {
        family: names::SNAPSHOT_BYTES,
        value: |t| t.snapshot_bytes,
        together: u64::saturating_add,
    },
];

/// The metrics after a pass. At most `most_tenants` tenants have samples of their own, the worst of
/// each gauge; the others are [`OTHERS`]: their sum, or for ages the highest. How the tenants stand
/// may not be known: then nothing is said of it.
pub fn render(record: &RunRecord, tenants: Option<&[TenantStatus]>, most_tenants: usize) -> String {
    let mut text = Text::default();
    text.family(&names::BUILD_INFO)
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    pass(&mut text, record);
    sums(&mut text, &record.sums);
    for gauge in tenants.iter().flat_map(|_| &BY_TENANT) {
        by_tenant(&mut text, gauge, tenants.unwrap_or_default(), most_tenants);
    }
    text.finish()
}

fn pass(text: &mut Text, record: &RunRecord) {
    let report = &record.report;
    let seconds = |at: chrono::DateTime<chrono::Utc>| at.timestamp();
    text.family(&names::LAST_RUN)
        .sample(&[], seconds(report.started_at));
    let mut success = text.family(&names::LAST_SUCCESS);
    if let Some(at) = record.last_success {
        success.sample(&[], seconds(at));
    }
    text.family(&names::LAST_RUN_SUCCESS)
        .sample(&[], u64::from(record.is_success()));
    text.family(&names::RUN_DURATION)
        .sample(&[], as_seconds(report.duration_ms));
    text.family(&names::TENANTS)
        .sample(&[], record.statuses.values().sum::<u64>());
    text.family(&names::TENANTS_FAILED)
        .sample(&[], record.ended(Status::Failed));
    text.family(&names::TENANTS_REFUSED)
        .sample(&[], record.ended(Status::Refused));
    text.family(&names::GROUPS_LEFT)
        .sample(&[], report.totals.groups_left);
}

fn sums(text: &mut Text, s: &Sums) {
    text.family(&names::RUNS).each(
        "outcome",
        &[("success", s.passes), ("failure", s.passes_failed)],
    );
    text.family(&names::CONFLICTS).sample(&[], s.conflicts);
    text.family(&names::UNKNOWN_COMMITS)
        .sample(&[], s.unknown_commits);
    let l = &s.ledger;
    let fates = [
        ("kept", l.rows_kept),
        ("archived", l.rows_archived),
        ("expired", l.rows_expired),
        ("deduplicated", l.rows_deduplicated),
    ];
    text.family(&names::ROWS).each("fate", &fates);
    text.family(&names::FILES_COMPACTED)
        .sample(&[], s.files_compacted);
    text.family(&names::FILES_DELETED)
        .sample(&[], s.files_deleted);
    text.family(&names::FILES_QUARANTINED)
        .sample(&[], s.files_quarantined);
    text.family(&names::BYTES_BEFORE)
        .sample(&[], s.bytes_before);
    text.family(&names::BYTES_AFTER).sample(&[], s.bytes_after);
    text.family(&names::ARCHIVED_BYTES)
        .sample(&[], s.archived_bytes);
    let r = &s.requests;
    let kinds = [
        ("get", r.get),
        ("put", r.put),
        ("head", r.head),
        ("list", r.list),
        ("delete", r.delete),
        ("copy", r.copy),
    ];
    text.family(&names::REQUESTS).each("kind", &kinds);
    text.family(&names::RUN_SECONDS)
        .sample(&[], as_seconds(s.duration_ms));
}

fn by_tenant(text: &mut Text, gauge: &ByTenant, tenants: &[TenantStatus], most: usize) {
    let mut values: Vec<(u64, &str)> = tenants
        .iter()
        .map(|t| ((gauge.value)(t), t.tenant.as_str()))
        .collect();
    values.sort_by_key(|(value, name)| (Reverse(*value), *name));
    let own = values
        .iter()
        .take(most)
        .take_while(|(value, _)| *value > 0)
        .count();
    let (shown, rest) = values.split_at(own);
    let mut family = text.family(&gauge.family);
    for (value, name) in shown {
        family.sample(&[("tenant", name)], value);
    }
    // Always there, so that a rule on the metric has something to look at when all is well.
    let rest = rest.iter().map(|(value, _)| *value).fold(0, gauge.together);
    family.sample(&[("tenant", OTHERS)], rest);
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds of a century fit")]
fn as_seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

#[cfg(test)]
mod tests;
