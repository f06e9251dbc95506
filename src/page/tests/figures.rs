//! What the page says of money, expiry, and what a person should look at.

use icepack_core::model::apart::{ColumnTypes, FolderClasses};
use icepack_core::model::file::Micros;
use icepack_core::model::forecast::{Bounds, Expiring, Forecast};
use icepack_core::model::inspect::{AsideFile, AsideKind, HeldRows, LastError};
use icepack_core::model::units::GIB;

use super::*;

/// The first row expires in so many days; rows that expire in 7 and in 30 days, between these.
pub(super) fn forecast(days: i64, rows: [(u64, u64); 2]) -> Forecast {
    let until = [7, 30].into_iter().zip(rows);
    Forecast {
        first: Some(now() + TimeDelta::days(days)),
        slack_s: 86_400,
        until: until
            .map(|(days, (least, most))| Expiring {
                days,
                rows: Bounds { least, most },
                bytes: Bounds {
                    least: least << 20,
                    most: most << 20,
                },
            })
            .collect(),
        unknown_files: 0,
        unknown_bytes: 0,
    }
}

pub(super) fn aside(key: &str) -> AsideFile {
    AsideFile {
        kind: AsideKind::Quarantined,
        key: key.to_owned(),
        size: 2_048,
        since: now(),
        reason: "it does not end in PAR1".to_owned(),
        mend: "mend it, then `icepack run --tenant acme`".to_owned(),
    }
}

pub(super) fn held() -> HeldRows {
    HeldRows {
        id: FileId::NIL,
        of: Tenant::parse("old-acme").unwrap(),
        from: None,
        to: Some(Micros::from_datetime(now())),
        oldest: Micros::from_datetime(now()),
        until: now() + TimeDelta::days(30),
        done: true,
    }
}

pub(super) fn classes() -> FolderClasses {
    FolderClasses {
        folder: "acme/web".into(),
        classes: 2,
        columns: vec![ColumnTypes {
            column: "amount".into(),
            types: vec![Some("Int64".into()), None],
        }],
    }
}

pub(super) fn error(tenant: &str, error: &str) -> LastError {
    LastError {
        tenant: tenant.to_owned(),
        at: now(),
        status: Status::Failed,
        error: error.to_owned(),
    }
}

/// The text of the page, without markup, one space between words.
fn words(page: &str) -> String {
    let body = page.split_once("<body>").unwrap().1;
    let text: String = body
        .split('<')
        .map(|part| part.split_once('>').map_or(part, |(_, text)| text))
        .collect::<Vec<_>>()
        .join(" ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The value and the note of a tile.
fn tile(page: &str, name: &str) -> String {
    let from = page
        .split_once(&format!("<dt>{name}</dt>"))
        .unwrap_or_else(|| panic!("no tile {name}"))
        .1;
    let tile = from.split_once("</div>").unwrap().0;
    let text: Vec<&str> = tile
        .split("<dd")
        .filter_map(|dd| Some(dd.split_once('>')?.1.split_once('<')?.0))
        .collect();
    text.join(" | ")
}

#[test]
fn a_tenant_that_failed_in_its_last_pass_is_never_in_order() {
    let mut o = overview(vec![tenant("acme"), tenant("globex")], Vec::new());
    let fine = words(&drawn(&o));
    assert!(
        fine.contains("tenants 2 all in order") && !fine.contains("To look at"),
        "{fine}"
    );
    o.last_errors.push(error("globex", "no file can be dated"));
    let text = words(&drawn(&o));
    assert!(
        text.contains("tenants 2 1 to look at") && text.contains("globex ▲ failed"),
        "{text}"
    );
    assert!(
        text.contains("globex 2026-04-24 03:06 failed no file can be dated"),
        "{text}"
    );
    // A pass that ended before its tenants were at work.
    let mut broken = record(99, Shard::WHOLE, None, None);
    broken.error = Some("the store does not answer".to_owned());
    let text = words(&drawn(&overview(vec![tenant("acme")], vec![broken])));
    assert!(
        text.contains("tenants 1 1 to look at")
            && text.contains("The last pass failed : the store does not answer"),
        "{text}"
    );
}

#[test]
fn what_no_pass_takes_is_told_with_its_reason_and_the_way_on() {
    let odd = TenantStatus {
        quarantined: 1,
        aside: vec![aside("acme/2026/bad.parquet")],
        holds: vec![
            held(),
            HeldRows {
                done: false,
                ..held()
            },
        ],
        classes: vec![classes()],
        folders: 1_200,
        ..tenant("acme")
    };
    let text = words(&drawn(&overview(vec![odd], Vec::new())));
    for said in [
        "acme acme/2026/bad.parquet 2.0 KiB 2026-04-24 03:06 quarantined: it does not end in PAR1 \
         mend it, then `icepack run --tenant acme`",
        "acme old-acme the beginning 2026-04-24 03:06 2026-05-24 03:06 all rows are back",
        "the restore is not done",
        "acme acme/web 2 amount is Int64 or missing",
        "▲ 1 quarantined 1,200 1 with classes",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn what_expires_next_is_told_with_its_bounds() {
    let tenants = vec![
        TenantStatus {
            ttl_s: Some(30 * 86_400),
            forecast: Some(forecast(3, [(5, 20), (100, 100)])),
            ..tenant("acme")
        },
        TenantStatus {
            ttl_s: Some(30 * 86_400),
            forecast: Some(Forecast {
                unknown_files: 4,
                unknown_bytes: 4_096,
                ..forecast(2, [(1, 1), (2, 3)])
            }),
            ..tenant("globex")
        },
        tenant("hooli"),
    ];
    let page = drawn(&overview(tenants, Vec::new()));
    assert_eq!(
        [7, 30].map(|n| tile(&page, &format!("rows that expire in {n} days"))),
        [
            "6 to 21 | in files of 6.0 MiB to 21.0 MiB",
            "102 to 103 | in files of 102.0 MiB to 103.0 MiB"
        ]
    );
    let text = words(&page);
    assert!(
        text.contains("2026-04-27 03:06 5 to 20 5.0 MiB to 20.0 MiB 100 100.0 MiB"),
        "{text}"
    );
    assert!(text.contains("3.0 MiB 4 4.0 KiB"), "{text}");
    assert!(text.contains("1 tenant is kept for ever"), "{text}");
}

/// A pass so many days ago that archived so much, after another.
fn archiving(days: i64, objects: u64, bytes: u64, before: Option<&RunRecord>) -> RunRecord {
    let mut made = record(1, Shard::WHOLE, None, None);
    made.report.started_at = now() - TimeDelta::days(days);
    let counters = &mut made.report.totals.counters;
    counters.archived_objects = objects;
    counters.archived_bytes = bytes;
    counters.ledger.rows_archived = objects;
    counters.raw_sizes = SizeHistogram::of([1; 1_000]);
    made.report.requests.get = 10_000_000;
    RunRecord::of(&made.report, None, Shard::WHOLE, before)
}

/// The page of a store with 100 GiB, whose two passes archived 10 and 5 GiB into `class`. What
/// passes on record archived before them, the second of the sums knows.
fn costly(class: Option<&str>, records: usize) -> String {
    let first = archiving(60, 10, 10 * GIB, None);
    let second = archiving(30, 5, 5 * GIB, Some(&first));
    let runs = [first, second][2 - records..].to_vec();
    let mut o = overview(
        vec![TenantStatus {
            listed_bytes: 100 * GIB,
            retired_bytes: GIB,
            rows_archived: 15,
            ..tenant("acme")
        }],
        runs,
    );
    // Round numbers: a hot GB costs 16 a month, a cold one 1.
    for (name, price) in &mut o.prices.classes {
        price.storage = if name == "STANDARD" { 16.0 } else { 1.0 };
    }
    let labels = Labels {
        archive: Some("s3://cold".to_owned()),
        archive_class: class.map(str::to_owned),
        is_billed: true,
        ..Labels::default()
    };
    html(&o, &labels).unwrap()
}

#[test]
fn money_is_what_a_hand_reckons() {
    let page = costly(Some("MADE_UP"), 2);
    assert_eq!(
        tile(&page, "keeping the data files, a month"),
        "$1600.00 | 100.0 GiB listed in the store, 1.0 GiB of it compacted and waiting to be \
         deleted; STANDARD at $16.00 a GB"
    );
    for name in [
        "the archive, a month",
        "saved by archiving, a month",
        "saved by archiving, so far",
    ] {
        assert!(tile(&page, name).starts_with("unknown | "), "{name}");
    }
    let page = costly(Some("GLACIER_IR"), 2);
    let value = |name| {
        let tile = tile(&page, name);
        tile.split_once(" | ").unwrap().0.to_owned()
    };
    assert_eq!(value("the archive, a month"), "at least $15.00");
    assert_eq!(value("saved by archiving, a month"), "at most $225.00");
    // 10 GiB for two months and 5 for one, at 15 less.
    assert_eq!(value("saved by archiving, so far"), "$375.00");
    // 20 million reads at 0.0004 a thousand, and 15 objects at 0.015 a thousand more.
    assert_eq!(value("requests of the passes, so far"), "$8.00");
    // 2,000 raw files are two snapshots and fifteen objects.
    assert_eq!(value("fewer files for readers"), "1,983");
    // The index and the name of fifteen objects are less than a cent.
    let page = costly(Some("DEEP_ARCHIVE"), 2);
    assert!(
        tile(&page, "the archive, a month").starts_with("$15.0")
            && page.contains("40 KiB more for each object")
    );
}

#[test]
fn what_is_not_on_record_is_said_to_be_unknown() {
    let page = costly(Some("GLACIER_IR"), 1);
    // The ten GiB of the pass that is no more on record count from the first that is.
    assert!(
        tile(&page, "saved by archiving, so far").starts_with("at least $225.00 | "),
        "{}",
        tile(&page, "saved by archiving, so far")
    );
    assert!(
        !page.contains("how many bytes the others have"),
        "15 rows of 15"
    );
    let mut o = overview(
        vec![TenantStatus {
            rows_archived: 7,
            rows_expired: 3,
            ..tenant("acme")
        }],
        Vec::new(),
    );
    let text = words(&drawn(&o));
    assert!(
        text.contains("7 archived rows, the passes on record 0: how many bytes the others have")
            && text.contains("How many bytes the dropped rows had was not recorded")
            && text.contains("as if on S3"),
        "{text}"
    );
    o.prices.classes.clear();
    let page = drawn(&o);
    assert!(tile(&page, "keeping the data files, a month").starts_with("unknown | "));
    o.is_part = true;
    assert!(words(&drawn(&o)).contains("Some tenants only were looked at"));
}
