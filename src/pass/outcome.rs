//! Turns the ends of tenants' parts and of passes into reports.

use chrono::{DateTime, Utc};

use crate::error::Error;
use icepack_core::model::counters::Counters;
use icepack_core::model::inspect::{Failure, TenantStatus};
use icepack_core::model::names::{FileId, Tenant, TenantError};
use icepack_core::model::report::{Requests, RunReport, SCHEMA_VERSION, Status, TenantReport};
use icepack_core::model::totals::StoreTotals;

/// How a tenant's part ended.
pub(super) struct TenantOutcome {
    pub report: TenantReport,
    pub error: Option<Error>,
    /// Requests to the archive, which are in `report` too.
    pub archive: Requests,
    /// The status of the tenant now.
    pub tenant_status: Option<TenantStatus>,
    /// What it held when it was looked at, if it is of this shard.
    pub found: Option<StoreTotals>,
}

impl TenantOutcome {
    /// Of a tenant that nothing has been done about.
    pub(super) fn of(tenant: &Tenant) -> Self {
        Self {
            report: TenantReport {
                tenant: tenant.to_string(),
                ..TenantReport::default()
            },
            error: None,
            archive: Requests::default(),
            tenant_status: None,
            found: None,
        }
    }

    /// Of a tenant that `error` ended before anything is known of it.
    pub(super) fn failed(tenant: &Tenant, error: Error) -> Self {
        let mut outcome = Self::of(tenant);
        outcome.end(error);
        outcome
    }

    /// `error` ended its part.
    pub(super) fn end(&mut self, error: Error) {
        let ended = failed(&self.report.tenant, &error);
        self.report.status = self.report.status.max(ended.status);
        self.report.counters += ended.counters;
        self.report.error = ended.error;
        self.error = Some(error);
    }
}

/// Why a tenant could not be looked at.
pub(super) fn failure(tenant: &Tenant, e: &Error) -> Failure {
    let report = failed(tenant.as_str(), e);
    Failure {
        tenant: report.tenant,
        status: report.status,
        error: e.to_string(),
    }
}

/// A report of a folder that is no tenant.
pub(super) fn unusable(e: &TenantError) -> TenantReport {
    TenantReport {
        tenant: e.name().to_owned(),
        status: Status::Failed,
        error: Some(e.to_string()),
        ..TenantReport::default()
    }
}

/// A report of a tenant that an error ended.
pub(super) fn failed(tenant: &str, e: &Error) -> TenantReport {
    let status = match e {
        Error::Refused(_) => Status::Refused,
        Error::Conflict(_) => Status::Conflict,
        Error::Stopped => Status::Stopped,
        _ => Status::Failed,
    };
    TenantReport {
        tenant: tenant.to_owned(),
        status,
        error: Some(e.to_string()),
        counters: Counters {
            conflicts: (status == Status::Conflict).into(),
            unknown_commits: matches!(e, Error::Unknown { .. }).into(),
            ..Counters::default()
        },
        ..TenantReport::default()
    }
}

/// The tenants' reports as one.
pub(super) fn summarise(
    run_id: FileId,
    started_at: DateTime<Utc>,
    duration_ms: u64,
    tenants: Vec<TenantReport>,
) -> RunReport {
    let mut totals = TenantReport {
        tenant: "total".to_owned(),
        duration_ms,
        ..TenantReport::default()
    };
    for t in &tenants {
        totals.add(t);
        totals.status = totals.status.max(t.status);
    }
    let failures = tenants.iter().filter(|t| t.error.is_some()).count();
    totals.error =
        (failures > 0).then(|| format!("{failures} of {} tenants had errors", tenants.len()));
    RunReport {
        schema_version: SCHEMA_VERSION,
        run_id,
        started_at,
        duration_ms,
        requests: totals.counters.requests,
        tenants,
        totals,
        found: None,
    }
}
