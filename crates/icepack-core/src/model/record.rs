//! The record of a pass in `_icepack/runs/`: its report, shortened to a bounded size, and the sums
//! of all passes so far.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use derive_more::{Add, AddAssign};
use serde::{Deserialize, Serialize};

use super::counters::Counters;
use super::report::{RunReport, Status, TenantReport};
use super::shard::Shard;

/// Tenants whose part of a pass is kept: the worst first, then those that moved most. The idle are
/// only counted.
const KEEP_TENANTS: usize = 200;

/// Names of quarantined files kept for each of them.
const KEEP_QUARANTINED: usize = 5;

/// Characters of an error kept.
const KEEP_ERROR: usize = 500;

/// Sums over all passes since the first record. Each record carries on the sums of the one before,
/// so that a job that lives for a minute has counters that only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Add, AddAssign)]
#[serde(default)]
pub struct Sums {
    /// Passes in which no tenant failed or was refused.
    pub passes: u64,
    /// Passes that failed, or in which a tenant did.
    pub passes_failed: u64,
    /// Passes that compacted something.
    pub compactions: u64,
    pub files_quarantined: u64,
    /// Milliseconds of all passes.
    pub duration_ms: u64,
    #[serde(flatten)]
    pub counters: Counters,
}

impl Sums {
    /// The sums of one pass. `success`: whether no tenant failed or was refused.
    pub fn of(report: &RunReport, success: bool) -> Self {
        let totals = &report.totals;
        Self {
            passes: success.into(),
            passes_failed: (!success).into(),
            compactions: (totals.counters.files_compacted > 0).into(),
            files_quarantined: totals.quarantined.len() as u64,
            duration_ms: report.duration_ms,
            counters: Counters {
                requests: report.requests,
                ..totals.counters
            },
        }
    }
}

/// A pass, as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The report. It keeps the 200 tenants that failed or moved most.
    #[serde(flatten)]
    pub report: RunReport,
    /// The error that ended the pass before its tenants were in work.
    #[serde(default)]
    pub error: Option<String>,
    /// The part of the work that was its own.
    #[serde(default)]
    pub shard: Shard,
    /// The number of tenants by status.
    #[serde(default)]
    pub statuses: BTreeMap<Status, u64>,
    /// Since the first record of this shard, this pass included.
    #[serde(default)]
    pub sums: Sums,
    /// When the last pass of this shard began that did all it could; this one, if it did.
    #[serde(default)]
    pub last_success: Option<DateTime<Utc>>,
    /// When it says itself that it began, where that is in the future: a machine made it whose
    /// clock was ahead. It counts as begun when the store got it.
    #[serde(skip)]
    pub claimed: Option<DateTime<Utc>>,
}

impl RunRecord {
    /// The record of a machine whose clock was ahead, dated by the time at which the store got it,
    /// `written`.
    #[must_use]
    pub fn as_of(mut self, written: DateTime<Utc>) -> Self {
        self.claimed = Some(std::mem::replace(&mut self.report.started_at, written));
        self.last_success = self.last_success.map(|at| at.min(written));
        self
    }

    /// The record of `report`, which follows `before`.
    pub fn of(
        report: &RunReport,
        error: Option<String>,
        shard: Shard,
        before: Option<&Self>,
    ) -> Self {
        let success = is_success(report, error.as_deref());
        let mut statuses = BTreeMap::new();
        for tenant in &report.tenants {
            *statuses.entry(tenant.status).or_default() += 1;
        }
        Self {
            report: shortened(report),
            error: error.map(|e| cut(&e)),
            shard,
            statuses,
            sums: before.map(|b| b.sums).unwrap_or_default() + Sums::of(report, success),
            last_success: if success {
                Some(report.started_at)
            } else {
                before.and_then(|b| b.last_success)
            },
            claimed: None,
        }
    }

    /// Whether the pass did all it could: no tenant failed or was refused. What was lost to a
    /// concurrent run, that run has done.
    pub fn is_success(&self) -> bool {
        is_success(&self.report, self.error.as_deref())
    }

    /// The number of tenants that ended with this status.
    pub fn ended(&self, status: Status) -> u64 {
        self.statuses.get(&status).copied().unwrap_or_default()
    }
}

fn is_success(report: &RunReport, error: Option<&str>) -> bool {
    error.is_none() && report.totals.status < Status::Failed
}

fn shortened(report: &RunReport) -> RunReport {
    let mut tenants: Vec<&TenantReport> = report
        .tenants
        .iter()
        .filter(|t| t.status != Status::Idle || t.error.is_some())
        .collect();
    tenants.sort_by_key(|t| {
        (
            std::cmp::Reverse((t.status, t.counters.bytes_before)),
            &t.tenant,
        )
    });
    tenants.truncate(KEEP_TENANTS);
    tenants.sort_by_key(|t| &t.tenant);
    let RunReport {
        schema_version,
        run_id,
        started_at,
        duration_ms,
        requests,
        found,
        ..
    } = *report;
    let tenants = tenants.into_iter().map(shortened_tenant).collect();
    RunReport {
        schema_version,
        run_id,
        started_at,
        duration_ms,
        tenants,
        totals: shortened_tenant(&report.totals),
        requests,
        found,
    }
}

fn shortened_tenant(t: &TenantReport) -> TenantReport {
    let mut short = t.clone();
    short.quarantined.truncate(KEEP_QUARANTINED);
    short.unread.truncate(KEEP_QUARANTINED);
    short
        .unread
        .iter_mut()
        .for_each(|l| l.reason = cut(&l.reason));
    short.error = t.error.as_deref().map(cut);
    short
}

fn cut(text: &str) -> String {
    if text.chars().nth(KEEP_ERROR).is_none() {
        text.to_owned()
    } else {
        text.chars().take(KEEP_ERROR).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::manifest::Ledger;
    use crate::model::names::FileId;
    use crate::model::report::SCHEMA_VERSION;

    fn report(at_s: i64, tenants: Vec<TenantReport>) -> RunReport {
        let mut totals = TenantReport {
            tenant: "total".into(),
            ..TenantReport::default()
        };
        for t in &tenants {
            totals.add(t);
            totals.status = totals.status.max(t.status);
        }
        let started_at = DateTime::from_timestamp(at_s, 0).unwrap();
        RunReport {
            schema_version: SCHEMA_VERSION,
            run_id: FileId::NIL,
            started_at,
            duration_ms: 7,
            tenants,
            requests: totals.counters.requests,
            totals,
            found: None,
        }
    }

    fn tenant(n: usize, status: Status) -> TenantReport {
        let ledger = Ledger {
            rows_in: 10,
            rows_kept: 10,
            ..Ledger::default()
        };
        TenantReport {
            tenant: format!("t{n:05}"),
            status,
            counters: Counters {
                ledger,
                files_compacted: 2,
                bytes_before: n as u64,
                ..Counters::default()
            },
            ..TenantReport::default()
        }
    }

    #[test]
    fn sums_and_the_last_success_are_carried_on() {
        let first = RunRecord::of(
            &report(100, vec![tenant(1, Status::Done)]),
            None,
            Shard::WHOLE,
            None,
        );
        let second = RunRecord::of(
            &report(200, vec![tenant(1, Status::Failed)]),
            None,
            Shard::WHOLE,
            Some(&first),
        );
        let third = RunRecord::of(
            &report(300, vec![]),
            Some("no store".into()),
            Shard::WHOLE,
            Some(&second),
        );
        assert_eq!(
            (
                first.sums.passes,
                third.sums.passes,
                third.sums.passes_failed
            ),
            (1, 1, 2)
        );
        assert_eq!(
            (
                third.sums.counters.files_compacted,
                third.sums.counters.ledger.rows_in,
                third.sums.duration_ms
            ),
            (4, 20, 21)
        );
        assert_eq!(third.last_success, DateTime::from_timestamp(100, 0));
        assert!(first.is_success() && !second.is_success() && !third.is_success());
    }

    #[test]
    fn a_record_of_an_older_version_is_read() {
        let new = RunRecord::of(
            &report(100, vec![tenant(1, Status::Done)]),
            None,
            Shard::WHOLE,
            None,
        );
        let mut old = serde_json::to_value(&new).unwrap();
        for (at, name) in [
            ("", "found"),
            ("/totals", "raw_sizes"),
            ("/tenants/0", "raw_sizes"),
            ("/sums", "raw_sizes"),
        ] {
            let removed = old
                .pointer_mut(at)
                .unwrap()
                .as_object_mut()
                .unwrap()
                .remove(name);
            assert!(removed.is_some(), "{at} {name}");
        }
        assert_eq!(serde_json::from_value::<RunRecord>(old).unwrap(), new);
    }

    #[test]
    fn a_record_of_very_many_tenants_stays_small_and_keeps_the_worst() {
        let long = "x".repeat(5_000);
        let mut tenants: Vec<_> = (0..20_000)
            .map(|n| {
                tenant(
                    n,
                    if n % 2 == 0 {
                        Status::Idle
                    } else {
                        Status::Done
                    },
                )
            })
            .collect();
        tenants[7] = TenantReport {
            error: Some(long.clone()),
            quarantined: vec![long; 50],
            ..tenant(7, Status::Failed)
        };
        let record = RunRecord::of(&report(1, tenants), None, Shard::WHOLE, None);
        let body = serde_json::to_vec(&record).unwrap();
        assert!(body.len() < 300_000, "{}", body.len());
        assert_eq!(record.report.tenants.len(), 200);
        assert!(
            record
                .report
                .tenants
                .iter()
                .any(|t| t.status == Status::Failed)
        );
        assert!(
            record
                .report
                .tenants
                .iter()
                .all(|t| t.status != Status::Idle)
        );
        assert_eq!(
            (
                record.ended(Status::Idle),
                record.ended(Status::Done),
                record.ended(Status::Failed)
            ),
            (10_000, 9_999, 1)
        );
        assert_eq!(
            record.report.totals.counters.ledger.rows_in, 200_000,
            "totals are of all"
        );
    }

    #[test]
    fn a_record_reads_back_and_so_does_one_of_the_first_version() {
        let record = RunRecord::of(
            &report(1, vec![tenant(1, Status::Done)]),
            None,
            Shard::WHOLE,
            None,
        );
        assert_eq!(
            serde_json::from_slice::<RunRecord>(&serde_json::to_vec(&record).unwrap()).unwrap(),
            record
        );
        // Before there were records, the report itself was kept.
        let old: RunRecord =
            serde_json::from_slice(&serde_json::to_vec(&record.report).unwrap()).unwrap();
        assert_eq!(
            (old.report.started_at, old.sums, old.shard),
            (record.report.started_at, Sums::default(), Shard::WHOLE)
        );
    }
}
