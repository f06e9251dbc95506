//! What the last passes did.

use crate::format::{count, minute, size, took};
use icepack_core::model::record::RunRecord;
use icepack_core::model::report::Status;

pub(in crate::page) struct RunRow {
    pub started: String,
    pub status: &'static str,
    pub fine: bool,
    pub cells: Vec<String>,
    pub balances: bool,
    pub error: String,
}

/// How it ended. One that was over before its tenants were at work failed.
pub(super) fn status(r: &RunRecord) -> Status {
    let own = r.report.totals.status;
    if r.error.is_some() {
        own.max(Status::Failed)
    } else {
        own
    }
}

pub(super) fn row(r: &RunRecord) -> RunRow {
    let t = &r.report.totals;
    let (c, l) = (&t.counters, &t.counters.ledger);
    RunRow {
        started: minute(r.report.started_at),
        status: status(r).as_str(),
        fine: r.is_success(),
        cells: vec![
            took(r.report.duration_ms),
            count(c.files_compacted),
            count(c.files_written),
            size(c.bytes_before),
            size(c.bytes_after),
            count(l.rows_in),
            count(l.rows_kept),
            count(l.rows_archived),
            count(l.rows_expired),
            count(l.rows_deduplicated),
        ],
        balances: l.balances(),
        error: r
            .error
            .clone()
            .or_else(|| t.error.clone())
            .unwrap_or_default(),
    }
}
