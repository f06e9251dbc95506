//! What of a tenant a person should look at: files that no pass takes, rows that are held, and the
//! last error.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{shard, sweep};
use crate::model::file::Listed;
use crate::model::inspect::{AsideFile, AsideKind, HeldRows, LastError};
use crate::model::manifest::{Cause, Manifest, Quarantined};
use crate::model::names::Tenant;
use crate::model::record::{KEEP_TENANTS, RunRecord};
use crate::model::report::{Status, TenantReport};

/// The notes of files that hold rows, as far as anybody can tell: a file that is no Parquet file
/// holds none.
pub fn data(head: &Manifest) -> impl Iterator<Item = &Quarantined> {
    head.quarantined
        .iter()
        .filter(|q| q.cause != Some(Cause::OtherFormat))
}

/// The files that no pass takes: those that cannot be read, then those under the names of others.
pub fn aside(head: &Manifest, listing: &[Listed]) -> Vec<AsideFile> {
    let mend = |kind: AsideKind| for_tenant(kind.mend(), &head.tenant);
    let quarantined = data(head).map(|q| AsideFile {
        kind: AsideKind::Quarantined,
        key: q.key.clone(),
        size: q.size,
        since: q.at,
        reason: q.reason.clone(),
        mend: mend(AsideKind::Quarantined),
    });
    let set_aside = sweep::set_aside(head, listing);
    let listed: BTreeMap<&str, &Listed> = if set_aside.is_empty() {
        BTreeMap::new()
    } else {
        listing.iter().map(|f| (f.key.as_str(), f)).collect()
    };
    let set_aside = set_aside.into_iter().filter_map(|(key, reason)| {
        let file = listed.get(key.as_str())?;
        Some(AsideFile {
            kind: AsideKind::SetAside,
            size: file.size,
            since: file.modified,
            reason,
            mend: mend(AsideKind::SetAside),
            key,
        })
    });
    quarantined.chain(set_aside).collect()
}

/// What to do about something of `tenant`: `mend`, in which `TENANT` stands for its name.
pub fn for_tenant(mend: &str, tenant: &Tenant) -> String {
    mend.replace("TENANT", &shell_word(tenant.as_str()))
}

/// A name as a shell wants it.
fn shell_word(name: &str) -> String {
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.=,@".contains(&b))
        && !name.starts_with('-');
    if plain {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', "'\\''"))
    }
}

/// How many of the files are of a kind.
pub fn count(files: &[AsideFile], kind: AsideKind) -> u64 {
    files.iter().filter(|f| f.kind == kind).count() as u64
}

/// The restored rows that do not expire yet.
pub fn held(head: &Manifest, now: DateTime<Utc>) -> Vec<HeldRows> {
    let active = head.holds.iter().filter(|h| h.is_active(now));
    active
        .map(|h| HeldRows {
            id: h.id,
            of: h.restored.tenant.clone(),
            from: h.restored.from,
            to: h.restored.to,
            oldest: h.oldest,
            until: h.until,
            done: h.done,
        })
        .collect()
}

/// The last error of each tenant that has one, by name. `records` are those of the recent passes,
/// the oldest first.
pub fn last_errors(records: &[RunRecord]) -> Vec<LastError> {
    let mut errors = BTreeMap::new();
    let mut judged = BTreeSet::new();
    for (at, record) in records.iter().enumerate().rev() {
        for (tenant, error) in record.report.tenants.iter().filter_map(failed) {
            let is_told = !judged.insert((tenant, record.shard.index, record.shard.count));
            let later = &records[at + 1..];
            if !is_told && !later.iter().any(|l| is_better(l, record, tenant)) {
                errors.entry(tenant).or_insert_with(|| LastError {
                    tenant: tenant.to_owned(),
                    at: record.report.started_at,
                    status: error.0,
                    error: error.1.to_owned(),
                });
            }
        }
    }
    errors.into_values().collect()
}

fn failed(t: &TenantReport) -> Option<(&str, (Status, &str))> {
    let error = t.error.as_deref().filter(|_| t.status >= Status::Failed)?;
    Some((t.tenant.as_str(), (t.status, error)))
}

/// Whether a later pass was at `tenant`, which failed in `record`, and nothing failed there.
fn is_better(later: &RunRecord, record: &RunRecord, tenant: &str) -> bool {
    let is_home = shard::home(tenant, later.shard.count) == later.shard.index;
    if later.error.is_some() || !(is_home || later.shard == record.shard) {
        return false;
    }
    let tenants = &later.report.tenants;
    match tenants.iter().find(|t| t.tenant == tenant) {
        Some(t) => failed(t).is_none(),
        // Of a pass over all tenants the idle are not recorded. The worst are, as far as they fit.
        None => {
            let is_cut =
                tenants.len() >= KEEP_TENANTS && tenants.iter().all(|t| failed(t).is_some());
            later.report.found.is_some() && !is_cut
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::names::FileId;
    use crate::model::report::{RunReport, SCHEMA_VERSION};
    use crate::model::shard::Shard;
    use crate::model::totals::StoreTotals;

    /// A pass that began at second `at`, over all tenants; the idle are not named.
    fn pass(at: i64, tenants: &[(&str, Option<&str>)]) -> RunRecord {
        let tenants = tenants.iter().map(|(name, error)| TenantReport {
            tenant: (*name).to_owned(),
            status: error.map_or(Status::Done, |_| Status::Failed),
            error: error.map(str::to_owned),
            ..TenantReport::default()
        });
        let report = RunReport {
            schema_version: SCHEMA_VERSION,
            run_id: FileId::NIL,
            started_at: DateTime::from_timestamp(at, 0).unwrap(),
            duration_ms: 7,
            tenants: tenants.collect(),
            totals: TenantReport::default(),
            requests: Default::default(),
            found: Some(StoreTotals::default()),
        };
        RunRecord::of(&report, None, Shard::WHOLE, None)
    }

    fn told(records: &[RunRecord]) -> Vec<(String, String)> {
        let errors = last_errors(records).into_iter();
        errors.map(|e| (e.tenant, e.error)).collect()
    }

    fn pair(tenant: &str, error: &str) -> Vec<(String, String)> {
        vec![(tenant.to_owned(), error.to_owned())]
    }

    #[test]
    fn the_last_error_is_the_newest_that_no_later_pass_did_better_than() {
        let first = pass(1, &[("a", Some("one")), ("b", None)]);
        assert_eq!(told(std::slice::from_ref(&first)), pair("a", "one"));
        let again = pass(2, &[("a", Some("two"))]);
        assert_eq!(told(&[first.clone(), again.clone()]), pair("a", "two"));
        let done = pass(3, &[("a", None)]);
        let idle = pass(3, &[]);
        assert!(told(&[first.clone(), again.clone(), done.clone()]).is_empty());
        assert!(told(&[first.clone(), again.clone(), idle]).is_empty());
        assert_eq!(told(&[done, again]), pair("a", "two"));
    }

    #[test]
    fn a_pass_over_other_tenants_says_nothing_of_one_that_failed() {
        let first = pass(1, &[("a", Some("one"))]);
        let mut some = pass(2, &[("b", None)]);
        some.report.found = None;
        assert_eq!(told(&[first.clone(), some]), pair("a", "one"));
        let mut broken = pass(2, &[]);
        broken.error = Some("no store".to_owned());
        assert_eq!(told(&[first.clone(), broken]), pair("a", "one"));
        let home = shard::home("a", 4);
        let mut other = pass(2, &[]);
        other.shard = Shard::new((home + 1) % 4, 4).unwrap();
        assert_eq!(told(&[first.clone(), other.clone()]), pair("a", "one"));
        other.shard = Shard::new(home, 4).unwrap();
        assert!(told(&[first, other]).is_empty());
    }

    #[test]
    fn where_very_many_failed_the_record_does_not_tell_who_did_not() {
        let names: Vec<String> = (0..KEEP_TENANTS).map(|n| format!("t{n:03}")).collect();
        let many: Vec<_> = names.iter().map(|n| (n.as_str(), Some("no"))).collect();
        let records = [pass(1, &[("z", Some("one"))]), pass(2, &many)];
        assert_eq!(told(&records).last(), pair("z", "one").last());
    }

    #[test]
    fn what_is_lost_to_a_concurrent_run_is_no_failure() {
        let mut lost = pass(1, &[("a", Some("lost"))]);
        lost.report.tenants[0].status = Status::Conflict;
        assert!(told(&[lost]).is_empty());
    }

    #[test]
    fn a_name_is_quoted_where_a_shell_would_take_it_apart() {
        assert_eq!(shell_word("acme"), "acme");
        assert_eq!(shell_word("a b'c"), r"'a b'\''c'");
    }
}
