//! The spans of a pass: their names, their fields, and what makes them errors. Names and fields are
//! as stable as those of `--json`, which they share; docs/tracing.md lists them.
//!
//! `pass` and `tenant` also appear in log lines, with only the run and the name. So the results of
//! a pass or a tenant are recorded after its last log line. All other spans have [`TARGET`], by
//! which a log can leave them out.

use std::fmt::Display;

use tracing::field::{Empty, display};
use tracing::{Instrument, Span};

use super::PassOutcome;
use super::outcome::failed;
use crate::error::{Error, Result};
use crate::merge::{MergeError, MergeOutcome};
use icepack_core::model::manifest::{Manifest, Receipt};
use icepack_core::model::names::{FileId, Tenant};
use icepack_core::model::plan::Group;
use icepack_core::model::report::{RunReport, Status, TenantReport};
use icepack_core::model::shard::Shard;

/// The target of the spans that are for traces alone.
pub const TARGET: &str = crate::telemetry::TRACES_ONLY;

/// A span for traces alone, with what every span has.
macro_rules! span {
    ($name:literal $(, $($fields:tt)*)?) => {
        tracing::info_span!(target: TARGET, $name, $($($fields)*,)? otel.status_code = Empty, otel.status_description = Empty)
    };
}

/// What spans and log lines say of a [`TenantReport`]: calls a macro with the name of each field
/// and where it is.
macro_rules! with_sums {
    ($callback:ident! $arguments:tt) => {
        $callback! { $arguments
            files_compacted = |r| r.counters.files_compacted;
            files_written = |r| r.counters.files_written;
            files_deleted = |r| r.counters.files_deleted;
            bytes_before = |r| r.counters.bytes_before;
            bytes_after = |r| r.counters.bytes_after;
            rows_in = |r| r.counters.ledger.rows_in;
            rows_kept = |r| r.counters.ledger.rows_kept;
            rows_archived = |r| r.counters.ledger.rows_archived;
            rows_expired = |r| r.counters.ledger.rows_expired;
            rows_deduplicated = |r| r.counters.ledger.rows_deduplicated;
            quarantined = |r| r.quarantined.len() as u64;
            groups_left = |r| r.counters.groups_left;
            requests = |r| r.counters.requests.total();
        }
    };
}

/// A span that will have the sums.
macro_rules! work_span {
    (($target:expr, $level:expr, $name:literal, $($own:tt)*) $($field:ident = $_:expr;)*) => {
        tracing::span!(
            target: $target,
            $level,
            $name,
            $($own)*,
            otel.status_code = Empty,
            otel.status_description = Empty,
            status = Empty,
            $($field = Empty),*
        )
    };
}

/// A log line with the sums.
macro_rules! sums_line {
    (($report:expr, $message:literal $(, $own:ident)*) $($field:ident = $value:expr;)*) => {{
        $(let $field: fn(&TenantReport) -> u64 = $value;)*
        tracing::info!(
            status = $report.status.as_str(),
            $($own,)*
            $($field = $field($report),)*
            duration_ms = $report.duration_ms,
            $message
        );
    }};
}

/// The names of the sums, and where they are.
macro_rules! sums_table {
    (() $($field:ident = $value:expr;)*) => {
        [$((stringify!($field), $value as fn(&TenantReport) -> u64)),*]
    };
}

/// A pass in a line.
pub(super) fn log_pass(report: &RunReport) {
    let tenants = report.tenants.len();
    with_sums!(sums_line!(&report.totals, "pass", tenants));
}

/// A tenant's part in a line.
pub(super) fn log_tenant(report: &TenantReport) {
    with_sums!(sums_line!(report, "tenant"));
}

/// Of a whole pass. At the level of errors, so that the run is in every line that is written at
/// all.
pub(super) fn pass(run_id: FileId) -> Span {
    with_sums!(
        work_span! (module_path!(), tracing::Level::ERROR, "pass", %run_id, tenants = Empty, shard_index = Empty, shard_count = Empty)
    )
}

/// Of what a pass does about one tenant, from the first look to the sweep; while it waits for its
/// turn, no stage is below it.
pub(super) fn tenant(tenant: &Tenant) -> Span {
    let tenant = tenant.as_str();
    with_sums!(work_span!(
        module_path!(),
        tracing::Level::ERROR,
        "tenant",
        tenant
    ))
}

/// Of one group of files.
pub(super) fn group(group: &Group) -> Span {
    with_sums!(
        work_span! (TARGET, tracing::Level::INFO, "group", files = group.inputs.len(), reason = %group.reason)
    )
}

/// Of the first thing a pass does: does the store honour conditional puts?
pub(super) fn preflight() -> Span {
    span!("preflight")
}

/// Of reading head and listing: of the tenants, or of one tenant's files.
pub(super) fn discover() -> Span {
    span!("discover", tenants = Empty, files = Empty, bytes = Empty)
}

/// Of deciding what to do about a tenant.
pub(super) fn plan() -> Span {
    span!("plan", groups = Empty, files = Empty, bytes = Empty)
}

/// Of reading footers, where the plan or the guard needs to know how many rows would expire.
pub(super) fn survey() -> Span {
    span!("survey")
}

/// Of reading a group's files and writing its snapshots.
pub(super) fn merge(files: usize, bytes: u64) -> Span {
    span!(
        "merge",
        files,
        bytes,
        files_written = Empty,
        bytes_after = Empty,
        rows_kept = Empty,
        rows_expired = Empty,
        rows_deduplicated = Empty,
        spilled_runs = Empty
    )
}

/// Of reading when the rows of files are from that stay as they are.
pub(super) fn adopt() -> Span {
    span!("adopt", files = Empty)
}

/// Of putting expired rows into the archive: `how` is `rows` or `copies`.
pub(super) fn archive(how: &'static str) -> Span {
    span!("archive", how, objects = Empty, bytes = Empty, rows = Empty)
}

/// Of putting a manifest.
pub(super) fn commit() -> Span {
    span!("commit", version = Empty)
}

/// Of writing the receipts that head owes.
pub(super) fn receipts(objects: usize) -> Span {
    span!("receipts", objects)
}

/// Of deleting what head says may go.
pub(super) fn sweep() -> Span {
    span!("sweep", files_deleted = Empty)
}

/// Does `work` within `span`, and marks the span where it fails. Of what it gives, `say` records
/// what there is to record.
pub(super) async fn stage<T>(
    span: Span,
    work: impl Future<Output = Result<T>>,
    say: impl FnOnce(&Span, &T),
) -> Result<T> {
    let done = work.instrument(span.clone()).await;
    match &done {
        Ok(given) => say(&span, given),
        Err(e) => fail(&span, e),
    }
    done
}

/// What a merge came to. Files that cannot be read are set aside, and those
/// that do not go together are merged apart, which is no failure of it.
pub(super) fn merge_ended(span: &Span, outcome: &Result<MergeOutcome, MergeError>) {
    match outcome {
        Ok(merged) => {
            span.record("files_written", merged.snapshots.len());
            span.record(
                "bytes_after",
                merged.snapshots.iter().map(|s| s.size).sum::<u64>(),
            );
            span.record(
                "rows_kept",
                merged.snapshots.iter().map(|s| s.stats.rows).sum::<u64>(),
            );
            span.record("rows_expired", merged.rows_expired);
            span.record("rows_deduplicated", merged.deduplicated);
            span.record("spilled_runs", merged.spilled_runs);
        }
        Err(MergeError::Bad(_) | MergeError::Apart(_)) => {}
        Err(MergeError::Failed(e)) => fail(span, e),
    }
}

/// What went to the archive.
pub(super) fn archived<'a>(span: &Span, receipts: impl IntoIterator<Item = &'a Receipt>) {
    let (objects, bytes, rows) = receipts
        .into_iter()
        .fold((0_u64, 0, 0), |(n, bytes, rows), r| {
            (n + 1, bytes + r.size, rows + r.stats.rows)
        });
    span.record("objects", objects);
    span.record("bytes", bytes);
    span.record("rows", rows);
}

/// The version that is head now.
pub(super) fn committed(span: &Span, head: &Manifest) {
    span.record("version", head.version);
}

/// Marks a span as failed. That a run was asked to stop is no failure.
pub(super) fn fail(span: &Span, e: &Error) {
    if !matches!(e, Error::Stopped) {
        mark(span, e);
    }
}

fn mark(span: &Span, why: impl Display) {
    span.record("otel.status_code", "error");
    span.record("otel.status_description", display(why));
}

/// What a pass came to.
pub(super) fn pass_ended(span: &Span, shard: Shard, passed: &Result<PassOutcome>) {
    span.record("shard_index", shard.index);
    span.record("shard_count", shard.count);
    match passed {
        Ok(passed) => {
            span.record("tenants", passed.report.tenants.len());
            ended(span, &passed.report.totals);
        }
        Err(e) => {
            span.record("status", failed("", e).status.as_str());
            fail(span, e);
        }
    }
}

/// What a tenant's part came to.
pub(super) fn tenant_ended(span: &Span, report: &TenantReport) {
    ended(span, report);
}

/// What a group came to.
pub(super) fn group_ended(span: &Span, report: &TenantReport, done: &Result<()>) {
    ended(span, report);
    if let Err(e) = done {
        span.record("status", failed("", e).status.as_str());
        fail(span, e);
    }
}

fn ended(span: &Span, r: &TenantReport) {
    if span.is_disabled() {
        return;
    }
    span.record("status", r.status.as_str());
    for (name, value) in with_sums!(sums_table!()) {
        span.record(name, value(r));
    }
    match &r.error {
        Some(why) if r.status != Status::Stopped => mark(span, why),
        _ => {}
    }
}
