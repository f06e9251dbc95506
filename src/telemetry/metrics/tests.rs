use chrono::DateTime;

use super::*;
use icepack_core::model::counters::Counters;
use icepack_core::model::manifest::Ledger;
use icepack_core::model::names::{FileId, Tenant};
use icepack_core::model::report::{RunReport, SCHEMA_VERSION, Status, TenantReport};
use icepack_core::model::shard::Shard;
use icepack_core::model::totals::SizeHistogram;

fn tenant(name: &str, raw_age: Option<u64>, quarantined: u64) -> TenantStatus {
    TenantStatus {
        tenant: Tenant::parse(name).unwrap(),
        head_version: 1,
        raw_files: 2,
        raw_bytes: 10,
        raw_sizes: SizeHistogram::default(),
        adopted: 0,
        folders: 1,
        classes: Vec::new(),
        adopted_rows: 0,
        oldest_raw_s: raw_age,
        snapshots: 1,
        snapshot_bytes: 100,
        snapshot_sizes: SizeHistogram::default(),
        snapshot_rows: 10,
        oldest: None,
        newest: None,
        retired: 0,
        retired_bytes: 0,
        listed_bytes: 0,
        orphans: 0,
        quarantined,
        set_aside: 0,
        rows_archived: 0,
        rows_expired: 0,
        ttl_s: None,
        overdue_s: None,
        forecast: None,
        aside: Vec::new(),
        holds: Vec::new(),
        left_alone: Default::default(),
    }
}

fn record() -> RunRecord {
    let ledger = Ledger {
        rows_in: 10,
        rows_kept: 6,
        rows_archived: 3,
        rows_deduplicated: 1,
        ..Ledger::default()
    };
    let acme = TenantReport {
        tenant: "acme".into(),
        status: Status::Done,
        counters: Counters {
            ledger,
            conflicts: 2,
            ..Counters::default()
        },
        ..TenantReport::default()
    };
    let mut totals = TenantReport {
        status: Status::Failed,
        ..TenantReport::default()
    };
    totals.add(&acme);
    let tenants = vec![
        acme,
        TenantReport {
            tenant: "bad".into(),
            status: Status::Failed,
            ..TenantReport::default()
        },
    ];
    let started_at = DateTime::from_timestamp(1_777_000_000, 0).unwrap();
    let report = RunReport {
        schema_version: SCHEMA_VERSION,
        run_id: FileId::NIL,
        started_at,
        duration_ms: 1_500,
        tenants,
        requests: totals.counters.requests,
        totals,
        found: None,
    };
    RunRecord::of(&report, None, Shard::WHOLE, None)
}

fn lines(text: &str, name: &str) -> Vec<String> {
    text.lines()
        .filter(|l| l.starts_with(&format!("{name} ")) || l.starts_with(&format!("{name}{{")))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_metric_is_written_once_with_its_unit() {
    let text = render(&record(), Some(&[]), 10);
    let all: Vec<_> = OF_PASS
        .iter()
        .map(|metric| &metric.family)
        .chain(BY_TENANT.iter().map(|gauge| &gauge.family))
        .collect();
    for family in &all {
        assert_eq!(
            text.matches(&format!("# TYPE {} ", family.name)).count(),
            1,
            "{}",
            family.name
        );
        assert_eq!(
            family.name.ends_with("_total"),
            family.kind == text::Kind::Counter,
            "{}",
            family.name
        );
    }
    assert_eq!(text.matches("# TYPE").count(), all.len());
    assert_eq!(
        lines(&text, "icepack_run_duration_seconds"),
        ["icepack_run_duration_seconds 1.5"]
    );
    assert_eq!(
        lines(&text, "icepack_last_run_timestamp_seconds"),
        ["icepack_last_run_timestamp_seconds 1777000000"]
    );
    assert_eq!(
        lines(&text, "icepack_conflicts_total"),
        ["icepack_conflicts_total 2"]
    );
    assert_eq!(
        lines(&text, "icepack_tenants_failed"),
        ["icepack_tenants_failed 1"]
    );
    assert_eq!(
        lines(&text, "icepack_rows_total"),
        [
            "icepack_rows_total{fate=\"kept\"} 6",
            "icepack_rows_total{fate=\"archived\"} 3",
            "icepack_rows_total{fate=\"expired\"} 0",
            "icepack_rows_total{fate=\"deduplicated\"} 1"
        ]
    );
}

#[test]
fn a_failed_pass_keeps_the_time_of_the_last_success() {
    assert_eq!(
        lines(
            &render(&record(), Some(&[]), 10),
            "icepack_last_success_timestamp_seconds"
        ),
        Vec::<String>::new(),
        "there was none"
    );
    let good = RunRecord {
        last_success: DateTime::from_timestamp(1_776_000_000, 0),
        ..record()
    };
    let text = render(&good, Some(&[]), 10);
    assert_eq!(
        lines(&text, "icepack_last_success_timestamp_seconds"),
        ["icepack_last_success_timestamp_seconds 1776000000"]
    );
    assert_eq!(
        lines(&text, "icepack_last_run_success"),
        ["icepack_last_run_success 0"]
    );
}

#[test]
fn only_the_worst_tenants_have_samples_of_their_own() {
    let tenants: Vec<_> = (0..100)
        .map(|n| tenant(&format!("t{n:02}"), Some(n), 1))
        .collect();
    let text = render(&record(), Some(&tenants), 3);
    let ages = lines(&text, "icepack_oldest_uncompacted_file_age_seconds");
    let expected = [("t99", 99), ("t98", 98), ("t97", 97), ("_other", 96)];
    assert_eq!(
        ages,
        expected.map(|(t, age)| format!(
            "icepack_oldest_uncompacted_file_age_seconds{{tenant=\"{t}\"}} {age}"
        )),
        "of the others the highest"
    );
    assert_eq!(
        lines(&text, "icepack_quarantined_files").last().unwrap(),
        "icepack_quarantined_files{tenant=\"_other\"} 97",
        "of the others the sum"
    );
    assert!(
        text.len() < 10_000,
        "the size does not follow the number of tenants"
    );
    assert!(
        Tenant::parse(OTHERS).is_err(),
        "it could be a tenant's name"
    );
}

#[test]
fn a_metric_with_nothing_to_tell_is_there_all_the_same() {
    let text = render(&record(), Some(&[tenant("acme", None, 0)]), 10);
    assert_eq!(
        lines(&text, "icepack_quarantined_files"),
        ["icepack_quarantined_files{tenant=\"_other\"} 0"]
    );
}

#[test]
fn what_is_not_known_of_tenants_is_not_said() {
    let text = render(&record(), None, 10);
    assert!(
        text.contains("icepack_runs_total") && !text.contains("tenant="),
        "{text}"
    );
}
