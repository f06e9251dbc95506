mod figures;

use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::CompactionConfig;
use icepack_core::model::apart::FolderClasses;
use icepack_core::model::counters::Counters;
use icepack_core::model::inspect::{Failure, TenantStatus};
use icepack_core::model::manifest::Ledger;
use icepack_core::model::names::{FileId, Tenant};
use icepack_core::model::plan::Inventory;
use icepack_core::model::price::Prices;
use icepack_core::model::record::RunRecord;
use icepack_core::model::report::{RunReport, SCHEMA_VERSION, Status, TenantReport};
use icepack_core::model::shard::Shard;
use icepack_core::model::totals::{SizeHistogram, StoreTotals};
use icepack_core::plan;

const HOSTILE: [&str; 3] = [
    "<script>alert(1)",
    "&\"'><img src=x onerror=alert(2)>",
    "--><svg onload=alert(3)",
];

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_777_000_000, 0).unwrap()
}

fn tenant(name: &str) -> TenantStatus {
    let tenant = Tenant::parse(name).unwrap();
    let inventory = Inventory {
        head: None,
        listing: Vec::new(),
    };
    let status = plan::status::of(
        &tenant,
        &inventory,
        &CompactionConfig::default().policy_for(name),
        now(),
    );
    TenantStatus {
        snapshots: 2,
        snapshot_bytes: 3 << 20,
        snapshot_rows: 1_234_567,
        ..status
    }
}

fn record(
    n: i64,
    shard: Shard,
    found: Option<StoreTotals>,
    before: Option<&RunRecord>,
) -> RunRecord {
    let ledger = Ledger {
        rows_in: 100,
        rows_kept: 90,
        rows_archived: 10,
        ..Ledger::default()
    };
    let totals = TenantReport {
        status: Status::Done,
        counters: Counters {
            ledger,
            files_compacted: 40,
            raw_sizes: SizeHistogram::of([1, 1]),
            ..Counters::default()
        },
        ..TenantReport::default()
    };
    let started_at = now() - TimeDelta::hours(100 - n);
    let requests = totals.counters.requests;
    let report = RunReport {
        schema_version: SCHEMA_VERSION,
        run_id: FileId::NIL,
        started_at,
        duration_ms: 7,
        tenants: Vec::new(),
        totals,
        requests,
        found,
    };
    RunRecord::of(&report, None, shard, before)
}

fn overview(tenants: Vec<TenantStatus>, runs: Vec<RunRecord>) -> Overview {
    Overview {
        schema_version: SCHEMA_VERSION,
        at: now(),
        is_part: false,
        prices: Prices::default(),
        tenants,
        failures: Vec::new(),
        last_errors: Vec::new(),
        runs,
    }
}

fn drawn(o: &Overview) -> String {
    html(
        o,
        &Labels {
            store: "s3://events/prod".to_owned(),
            ..Labels::default()
        },
    )
    .unwrap()
}

fn totals(raw_files: u64) -> Option<StoreTotals> {
    Some(StoreTotals {
        tenants: 1,
        raw_files,
        raw_bytes: raw_files * 1_000,
        snapshots: 1,
        snapshot_bytes: 5_000,
    })
}

#[test]
fn nothing_that_a_store_says_becomes_markup() {
    let hostile = |name: &str| TenantStatus {
        aside: vec![figures::aside(HOSTILE[1])],
        classes: vec![FolderClasses {
            folder: HOSTILE[2].into(),
            ..figures::classes()
        }],
        holds: vec![figures::held()],
        ttl_s: Some(1),
        ..tenant(name)
    };
    let mut o = overview(HOSTILE.map(hostile).to_vec(), Vec::new());
    o.prices.source = HOSTILE[0].to_owned();
    o.last_errors.push(figures::error(HOSTILE[2], HOSTILE[1]));
    o.failures.push(Failure {
        tenant: HOSTILE[0].to_owned(),
        status: Status::Failed,
        error: HOSTILE[1].to_owned(),
    });
    let mut bad = record(1, Shard::WHOLE, None, None);
    bad.error = Some(HOSTILE[2].to_owned());
    o.runs.push(bad);
    let labels = Labels {
        store: HOSTILE[0].to_owned(),
        archive: Some(HOSTILE[1].to_owned()),
        archive_class: Some(HOSTILE[2].to_owned()),
        is_billed: true,
    };
    let page = html(&o, &labels).unwrap();
    assert!(
        page.contains("alert(1)") && page.contains("alert(2)") && page.contains("alert(3)"),
        "they are told"
    );
    for needle in ["<script>alert", "<img", "<svg onload", "--><svg"] {
        assert!(!page.contains(needle), "{needle}");
    }
    assert_eq!(page.matches("<script").count(), 1);
}

#[test]
fn the_policy_allows_our_style_and_script_and_nothing_else() {
    let page = drawn(&overview(vec![tenant("acme")], Vec::new()));
    let between = |from: &str, to: &str| page.split_once(from).unwrap().1.split_once(to).unwrap().0;
    let policy = between("http-equiv=\"Content-Security-Policy\" content=\"", "\"");
    assert!(
        policy.starts_with("default-src 'none'; ")
            && !policy.contains("unsafe")
            && !policy.contains("http"),
        "{policy}"
    );
    // The quotes of the policy are escaped, which an attribute may be: what a browser reads are the
    // hashes of what it finds.
    let policy = policy
        .replace("&#39;", "'")
        .replace("&#x27;", "'")
        .replace("&#43;", "+")
        .replace("&#x3d;", "=");
    assert!(
        policy.contains(&format!(
            "style-src '{}'",
            hash(between("<style>", "</style>"))
        )),
        "{policy}"
    );
    assert!(
        policy.contains(&format!(
            "script-src '{}'",
            hash(between("<script>", "</script>"))
        )),
        "{policy}"
    );
    for outside in [
        "src=\"",
        "href=\"http",
        "url(",
        "@import",
        " style=\"",
        " onclick",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn before_is_all_that_was_ever_written_and_now_is_what_is_there() {
    let first = record(1, Shard::WHOLE, totals(2), None);
    let second = record(2, Shard::WHOLE, totals(3), Some(&first));
    let status = TenantStatus {
        raw_files: 1,
        raw_sizes: SizeHistogram::of([5]),
        snapshot_sizes: SizeHistogram::of([100 << 20]),
        ..tenant("acme")
    };
    let page = drawn(&overview(vec![status], vec![first, second]));
    // Two files in each of two passes and one that waits; one snapshot and the one that waits.
    assert!(page.contains("5 files before, 2 now"), "{page}");
    assert!(
        page.contains("&lt;16 KiB: 5 before") && page.contains("64 MiB+: 1 now"),
        "{page}"
    );
}

#[test]
fn shards_are_added_up_over_time() {
    let shard = |i| Shard::new(i, 2).unwrap();
    let runs = vec![
        record(1, shard(0), totals(10), None),
        record(2, shard(1), totals(5), None),
        record(3, shard(0), totals(0), None),
    ];
    let o = overview(vec![tenant("acme")], runs);
    let page = drawn(&o);
    // Both are known from the second record on: 15, then 5, and now.
    assert!(
        page.contains("15 raw files") && page.contains(": 5 raw files"),
        "{page}"
    );
    assert!(!page.contains(": 10 raw files"), "{page}");
}

#[test]
fn what_needs_a_look_is_said_in_words() {
    let odd = TenantStatus {
        quarantined: 2,
        overdue_s: Some(190_000),
        ttl_s: Some(86_400),
        ..tenant("odd")
    };
    let page = drawn(&overview(vec![tenant("acme"), odd], Vec::new()));
    assert!(
        page.contains("2 quarantined, overdue</td>")
            && page.contains("1 to look at")
            && page.contains("in order</td>"),
        "{page}"
    );
    assert!(
        page.contains("No pass is on record") && page.contains("nothing to compare yet"),
        "{page}"
    );
}

#[test]
fn a_store_of_very_many_tenants_is_a_page_that_opens() {
    let forecast = figures::forecast(1, [(1_234_567, 7_654_321), (12_345_678, 76_543_210)]);
    let all: Vec<TenantStatus> = (0..30_000)
        .map(|n| TenantStatus {
            quarantined: u64::from(n == 17),
            ttl_s: Some(86_400),
            forecast: Some(forecast.clone()),
            aside: vec![figures::aside(&format!("t{n:05}/bad.parquet"))],
            holds: vec![figures::held()],
            classes: vec![figures::classes()],
            ..tenant(&format!("t{n:05}"))
        })
        .collect();
    let page = drawn(&overview(all, Vec::new()));
    assert!(page.len() < 3_000_000, "{}", page.len());
    assert!(
        page.contains("28,000 tenants more") && page.contains(">t00017<"),
        "the one in quarantine is among them"
    );
    assert!(
        page.contains("29,000 tenants more") && page.contains("29,700 more are left out"),
        "of the others there are tables that end too"
    );
}
