//! Every metric: its name, its help text, and the source of its samples. Alert rules, dashboards
//! and users' queries depend on the names, so they stay.

use icepack_core::model::inspect::TenantStatus;
use icepack_core::model::record::RunRecord;
use icepack_core::model::report::Status;

use super::text::{Family, Kind, Samples};

/// A metric of a pass, from its record.
pub struct OfPass {
    pub family: Family,
    pub samples: fn(&RunRecord, &mut Samples<'_>),
}

/// A gauge by tenant, and how those are put together that have no sample of their own.
pub struct ByTenant {
    pub family: Family,
    pub value: fn(&TenantStatus) -> u64,
    pub together: fn(u64, u64) -> u64,
}

macro_rules! of_pass {
    ($($kind:ident $name:literal $help:literal $samples:expr;)*) => {
        pub const OF_PASS: &[OfPass] = &[$(OfPass {
            family: Family { name: $name, kind: Kind::$kind, help: $help },
            samples: $samples,
        }),*];
    };
}

macro_rules! by_tenant {
    ($($together:ident $name:literal $help:literal $value:expr;)*) => {
        pub const BY_TENANT: &[ByTenant] = &[$(ByTenant {
            family: Family { name: $name, kind: Kind::Gauge, help: $help },
            value: $value,
            together: u64::$together,
        }),*];
    };
}

of_pass! {
    Gauge "icepack_build_info" "The version that made the last pass."
        |_, m| m.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    Gauge "icepack_last_run_timestamp_seconds" "When the last pass began."
        |r, m| m.one(r.report.started_at.timestamp());
    Gauge "icepack_last_success_timestamp_seconds" "When the last pass began in which no tenant failed or was refused."
        |r, m| r.last_success.iter().for_each(|at| m.one(at.timestamp()));
    Gauge "icepack_last_run_success" "Whether no tenant failed or was refused in the last pass."
        |r, m| m.one(u64::from(r.is_success()));
    Gauge "icepack_run_duration_seconds" "How long the last pass took."
        |r, m| m.one(as_seconds(r.report.duration_ms));
    Gauge "icepack_tenants" "Tenants of the last pass."
        |r, m| m.one(r.statuses.values().sum::<u64>());
    Gauge "icepack_tenants_failed" "Tenants that failed in the last pass; their originals are untouched."
        |r, m| m.one(r.ended(Status::Failed));
    Gauge "icepack_tenants_refused" "Tenants that the last pass refused for safety: a person is needed."
        |r, m| m.one(r.ended(Status::Refused));
    Gauge "icepack_groups_left" "Groups that the last pass left to the next one, at its deadline or a signal."
        |r, m| m.one(r.report.totals.counters.groups_left);
    Counter "icepack_runs_total" "Passes by outcome."
        |r, m| m.each("outcome", &[("success", r.sums.passes), ("failure", r.sums.passes_failed)]);
    Counter "icepack_conflicts_total" "Groups lost to a concurrent run."
        |r, m| m.one(r.sums.counters.conflicts);
    Counter "icepack_unknown_commits_total" "Commits of which the store did not say whether they happened."
        |r, m| m.one(r.sums.counters.unknown_commits);
    Counter "icepack_rows_total" "Rows read, by what became of them."
        |r, m| m.each("fate", &r.sums.counters.ledger.fates());
    Counter "icepack_files_compacted_total" "Files merged or expired."
        |r, m| m.one(r.sums.counters.files_compacted);
    Counter "icepack_files_deleted_total" "Files deleted: retired inputs and orphans."
        |r, m| m.one(r.sums.counters.files_deleted);
    Counter "icepack_files_quarantined_total" "Files that were set aside because they could not be read."
        |r, m| m.one(r.sums.files_quarantined);
    Counter "icepack_bytes_before_total" "Bytes of the files merged or expired."
        |r, m| m.one(r.sums.counters.bytes_before);
    Counter "icepack_bytes_after_total" "Bytes of the snapshots written."
        |r, m| m.one(r.sums.counters.bytes_after);
    Counter "icepack_archived_bytes_total" "Bytes of the archive objects written."
        |r, m| m.one(r.sums.counters.archived_bytes);
    Counter "icepack_requests_total" "Requests to the store and the archive, by kind."
        |r, m| m.each("kind", &r.sums.counters.requests.kinds());
    Counter "icepack_run_seconds_total" "How long all passes took together."
        |r, m| m.one(as_seconds(r.sums.duration_ms));
}

by_tenant! {
    max "icepack_oldest_uncompacted_file_age_seconds" "Age of the oldest raw file that was not compacted, when the last pass ended."
        |t| t.oldest_raw_s.unwrap_or(0);
    max "icepack_oldest_overdue_row_age_seconds" "How long the oldest expired row of a snapshot or an adopted file is past its time, when the last pass ended."
        |t| t.overdue_s.unwrap_or(0);
    saturating_add "icepack_quarantined_files" "Files set aside because they could not be read."
        |t| t.quarantined;
    saturating_add "icepack_uncompacted_files" "Raw files that were not compacted, when the last pass ended."
        |t| t.raw_files;
    saturating_add "icepack_uncompacted_bytes" "Bytes of the raw files that were not compacted."
        |t| t.raw_bytes;
    saturating_add "icepack_retired_files" "Compacted files that wait to be deleted."
        |t| t.retired;
    saturating_add "icepack_snapshot_bytes" "Bytes of the live snapshots."
        |t| t.snapshot_bytes;
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds of a century fit")]
fn as_seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}
