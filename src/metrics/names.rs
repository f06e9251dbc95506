//! The metrics' names. Alert rules, dashboards and people's own queries rest on them: a name that
//! is here stays.

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Gauge,
    Counter,
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// With its unit; ends in `_total` where it only rises.
    pub name: &'static str,
    pub kind: Kind,
    /// What it is, in a sentence.
    pub help: &'static str,
}

macro_rules! families {
    ($($id:ident $kind:ident $name:literal $help:literal)*) => {
        $(#[doc = $help] pub const $id: Family = Family { name: $name, kind: Kind::$kind, help: $help };)*
        /// Every metric.
        pub const ALL: &[Family] = &[$($id),*];
    };
}

families! {
    BUILD_INFO Gauge "icepack_build_info" "The version that made the last pass."
    LAST_RUN Gauge "icepack_last_run_timestamp_seconds" "When the last pass began."
    LAST_SUCCESS Gauge "icepack_last_success_timestamp_seconds" "When the last pass began in which no tenant failed or was refused."
    LAST_RUN_SUCCESS Gauge "icepack_last_run_success" "Whether no tenant failed or was refused in the last pass."
    RUN_DURATION Gauge "icepack_run_duration_seconds" "How long the last pass took."
    TENANTS Gauge "icepack_tenants" "Tenants of the last pass."
    TENANTS_FAILED Gauge "icepack_tenants_failed" "Tenants that failed in the last pass; their originals are untouched."
    TENANTS_REFUSED Gauge "icepack_tenants_refused" "Tenants that the last pass refused for safety: a person is needed."
    GROUPS_LEFT Gauge "icepack_groups_left" "Groups that the last pass left to the next one, at its deadline or a signal."
    RUNS Counter "icepack_runs_total" "Passes by outcome."
    CONFLICTS Counter "icepack_conflicts_total" "Groups lost to a concurrent run."
    UNKNOWN_COMMITS Counter "icepack_unknown_commits_total" "Commits of which the store did not say whether they happened."
    ROWS Counter "icepack_rows_total" "Rows read, by what became of them."
    FILES_COMPACTED Counter "icepack_files_compacted_total" "Files merged or expired."
    FILES_DELETED Counter "icepack_files_deleted_total" "Files deleted: retired inputs and orphans."
    FILES_QUARANTINED Counter "icepack_files_quarantined_total" "Files that were set aside because they could not be read."
    BYTES_BEFORE Counter "icepack_bytes_before_total" "Bytes of the files merged or expired."
    BYTES_AFTER Counter "icepack_bytes_after_total" "Bytes of the snapshots written."
    ARCHIVED_BYTES Counter "icepack_archived_bytes_total" "Bytes of the archive objects written."
    REQUESTS Counter "icepack_requests_total" "Requests to the store and the archive, by kind."
    RUN_SECONDS Counter "icepack_run_seconds_total" "How long all passes took together."
    OLDEST_UNCOMPACTED Gauge "icepack_oldest_uncompacted_file_age_seconds" "Age of the oldest raw file that was not compacted, when the last pass ended."
    OLDEST_OVERDUE Gauge "icepack_oldest_overdue_row_age_seconds" "How long the oldest expired row of a snapshot is past its time, when the last pass ended."
    QUARANTINED Gauge "icepack_quarantined_files" "Files set aside because they could not be read."
    UNCOMPACTED_FILES Gauge "icepack_uncompacted_files" "Raw files that were not compacted, when the last pass ended."
    UNCOMPACTED_BYTES Gauge "icepack_uncompacted_bytes" "Their bytes."
    RETIRED_FILES Gauge "icepack_retired_files" "Compacted files that wait to be deleted."
    SNAPSHOT_BYTES Gauge "icepack_snapshot_bytes" "Bytes of the live snapshots."
}
