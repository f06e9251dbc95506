//! The expiry guard: a pass that would expire more of a tenant than it may is refused. A wrong TTL, clock
//! or timestamp is found out this way before rows are gone.
//!
//! It works twice: on the plan, before anything is written for the tenant, by what footers and
//! manifests promise; and before each commit, by what was really read.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::estimate::{Expiry, FooterScan, exceeds};
use crate::model::file::Micros;
use crate::model::manifest::Edit;
use crate::model::names::{Key, Tenant};
use crate::model::plan::Plan;

/// Why a tenant is refused, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// A tenant's guard.
#[derive(Debug, Clone)]
pub struct ExpiryGuard {
    tenant: Tenant,
    cutoff: Option<Micros>,
    ttl: Duration,
    max_percent: u8,
    /// The tenant's rows as far as they are known.
    rows: u64,
    /// Rows that this pass has expired.
    expired: u64,
    /// Files whose rows are not known before they are read.
    unknown: BTreeSet<Key>,
}

impl ExpiryGuard {
    /// For a plan that may be carried out.
    ///
    /// # Errors
    /// [`Refused`] where it would expire more than it may.
    pub fn on(plan: &Plan, expiry: &Expiry, survey: &FooterScan) -> Result<Self, Refused> {
        let raw = plan
            .groups
            .iter()
            .flat_map(|g| &g.inputs)
            .filter(|i| !i.is_snapshot() && i.times().is_none());
        let guard = Self {
            tenant: plan.tenant.clone(),
            cutoff: plan.cutoff,
            ttl: Duration::from_secs(expiry.ttl_s),
            max_percent: expiry.max_percent,
            rows: expiry.rows,
            expired: 0,
            unknown: raw
                .map(|i| i.key.clone())
                .filter(|key| !survey.files.contains_key(key))
                .collect(),
        };
        if expiry.is_too_much() {
            return Err(guard.refusal(
                "about ",
                expiry.rows_expiring,
                "nothing was done for this tenant",
            ));
        }
        Ok(guard)
    }

    /// Before `edit` is committed: counts what it expires.
    ///
    /// # Errors
    /// [`Refused`] where that would be more than this pass may.
    pub fn admit(&mut self, edit: &Edit) -> Result<(), Refused> {
        let unknown = edit
            .retire
            .iter()
            .filter(|r| self.unknown.remove(&r.key))
            .map(|r| r.rows)
            .sum::<u64>();
        self.rows = self.rows.saturating_add(unknown);
        self.expired = self
            .expired
            .saturating_add(edit.ledger.rows_archived)
            .saturating_add(edit.ledger.rows_expired);
        if exceeds(self.expired, self.rows, self.max_percent) {
            return Err(self.refusal("", self.expired, "the files of this group stay as they are"));
        }
        Ok(())
    }

    fn refusal(&self, about: &str, expiring: u64, state: &str) -> Refused {
        let share = (u128::from(expiring) * 100).div_ceil(u128::from(self.rows.max(1)));
        let cutoff = self.cutoff.map_or_else(String::new, |c| {
            format!(" before {}", c.to_datetime().format("%Y-%m-%d %H:%M:%SZ"))
        });
        Refused(format!(
            "this pass would expire {about}{expiring} of the {} rows ({share}%) of tenant \
             `{tenant}`, those{cutoff} (ttl {}), and retention.max_expire_percent is {}: {state}; \
             look with `icepack plan --tenant {tenant}`, and if that is meant, run once with \
             `--max-expire-percent 100`, or raise the setting",
            self.rows,
            days(self.ttl),
            self.max_percent,
            tenant = self.tenant
        ))
    }
}

fn days(ttl: Duration) -> String {
    match ttl.as_secs() {
        s if s > 0 && s.is_multiple_of(86_400) => format!("{}d", s / 86_400),
        s if s > 0 && s.is_multiple_of(3_600) => format!("{}h", s / 3_600),
        s => format!("{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn guard(rows: u64, expiring: u64, max_percent: u8) -> Result<ExpiryGuard, Refused> {
        let plan = Plan {
            tenant: Tenant::parse("acme").unwrap(),
            head_version: 1,
            now: DateTime::UNIX_EPOCH,
            cutoff: Some(Micros(1_777_297_507_000_000)),
            groups: Vec::new(),
            skipped: Vec::new(),
            classes: Vec::new(),
            expiry: None,
            estimate: None,
            left_alone: Default::default(),
        };
        let expiry = Expiry {
            ttl_s: 30 * 86_400,
            rows,
            rows_expiring: expiring,
            bytes_expiring: 0,
            percent: 0.0,
            max_percent,
            files_unknown: 0,
            object_bytes: Vec::new(),
        };
        ExpiryGuard::on(&plan, &expiry, &FooterScan::default())
    }

    #[test]
    fn just_as_much_as_is_allowed_passes_and_a_row_more_does_not() {
        for (rows, expiring, percent, fine) in [
            (100, 60, 60, true),
            (100, 61, 60, false),
            (100, 100, 100, true),
            (0, 0, 1, true),
            (1_000, 11, 1, false),
            (u64::MAX, u64::MAX, 99, false),
        ] {
            assert_eq!(
                guard(rows, expiring, percent).is_ok(),
                fine,
                "{expiring} of {rows}, {percent}% allowed"
            );
        }
    }

    #[test]
    fn a_refusal_has_the_numbers_and_says_how_to_go_on() {
        let error = guard(100, 61, 60).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this pass would expire about 61 of the 100 rows (61%) of tenant `acme`, \
             those before 2026-04-27 13:45:07Z (ttl 30d), and retention.max_expire_percent is 60: \
             nothing was done for this tenant; look with `icepack plan --tenant acme`, and if \
             that is meant, run once with `--max-expire-percent 100`, or raise the setting"
        );
        assert!(
            guard(1_000, 601, 60)
                .unwrap_err()
                .to_string()
                .contains("(61%)"),
            "never shown as what would have passed"
        );
        assert_eq!(
            [
                days(Duration::from_secs(86_400)),
                days(Duration::from_secs(7_200)),
                days(Duration::from_secs(90))
            ],
            ["1d", "2h", "90s"]
        );
    }
}
