use icepack_core::model::report::SCHEMA_VERSION;

use super::*;
use crate::CompactionConfig;
use chrono::DateTime;
use icepack_core::model::estimate::Expiry;
use icepack_core::model::file::Micros;
use icepack_core::model::names::Tenant;
use icepack_core::model::plan::{PlannedInput, Reason, Skipped};
use icepack_core::model::policy::{ArchivePolicy, Policy};
use icepack_core::model::price::Prices;
use icepack_core::plan::money::{self, Pricing};
use serde_json::json;

fn input(key: &str, size: u64) -> PlannedInput {
    PlannedInput {
        key: key.to_owned(),
        size,
        etag: None,
        stats: None,
        id: None,
        adopted: None,
    }
}

fn skipped(key: &str, reason: SkipReason) -> Skipped {
    Skipped {
        key: key.to_owned(),
        size: 1 << 20,
        reason,
    }
}

fn acme() -> Plan {
    Plan {
        tenant: Tenant::parse("acme").unwrap(),
        head_version: 0,
        now: DateTime::UNIX_EPOCH,
        cutoff: Some(Micros(1_777_297_507_000_000)),
        groups: vec![Group {
            inputs: vec![
                input("acme/a.parquet", 1 << 20),
                input("acme/b.parquet", 1 << 20),
                input("acme/c.parquet", 1 << 20),
            ],
            kind: GroupKind::Merge,
            reason: Reason::SmallFiles {
                files: 3,
                threshold: 10 << 20,
            },
        }],
        skipped: vec![
            skipped("acme/big.parquet", SkipReason::Large),
            skipped(
                "acme/bad.parquet",
                SkipReason::Quarantined {
                    reason: "not Parquet".to_owned(),
                },
            ),
            skipped(
                "acme/bad2.parquet",
                SkipReason::Quarantined {
                    reason: "empty".to_owned(),
                },
            ),
        ],
        classes: Vec::new(),
        expiry: None,
        estimate: None,
        left_alone: Default::default(),
    }
}

fn report(plans: Vec<Plan>) -> PlanReport {
    PlanReport {
        schema_version: SCHEMA_VERSION,
        plans,
        prices: Prices::default(),
        failures: Vec::new(),
        root: Default::default(),
        unmatched: Vec::new(),
    }
}

/// The text where expired rows go to an archive on S3.
fn archived(plans: Vec<Plan>, style: Style) -> String {
    let report = report(plans);
    let document = PlanDocument {
        archive: Some("s3://cold".to_owned()),
        is_billed: true,
        ..PlanDocument::new(&report)
    };
    document.text(View {
        style,
        ..View::default()
    })
}

/// The text without an archive, with every file of the tenants called `names`.
fn explained(plans: Vec<Plan>, names: &[&str]) -> String {
    let names = names.iter().map(|n| (*n).to_owned()).collect();
    let report = report(plans);
    let document = PlanDocument {
        explain: Some(Selection::parse(names).unwrap()),
        ..PlanDocument::new(&report)
    };
    document.text(View::default())
}

/// The plan with what would expire of it, into an archive of class DEEP_ARCHIVE.
fn priced(object_bytes: &[u64]) -> Plan {
    let expiry = Expiry {
        ttl_s: 30 * 86_400,
        rows: 80_000,
        rows_expiring: 40_000,
        bytes_expiring: object_bytes.iter().sum(),
        percent: 50.0,
        max_percent: 40,
        files_unknown: 1,
        object_bytes: object_bytes.to_vec(),
    };
    let policy = Policy {
        archive: Some(ArchivePolicy {
            min_object_size: 8 << 20,
        }),
        ..CompactionConfig::default().policy_for("acme")
    };
    let plan = Plan {
        expiry: Some(expiry),
        ..acme()
    };
    let estimate = money::estimate(
        &plan,
        &policy,
        &Pricing {
            prices: &Prices::default(),
            class: "DEEP_ARCHIVE",
            copies: false,
        },
    );
    Plan {
        estimate: Some(estimate),
        ..plan
    }
}

#[test]
fn a_plan_says_what_it_costs() {
    let style = Style {
        color: false,
        width: Some(100),
    };
    let text = archived(vec![priced(&[40 << 30, 100 << 10])], style);
    let expected = "\
acme: 6 raw files, 6.0 MiB; 1 group
  rows before 2026-04-27 13:45:07Z go to s3://cold
  expires:  about 40,000 of 80,000 rows (50%), 40.0 GiB
  refused:  run would refuse this: more than 40% (retention.max_expire_percent)
  unknown:  1 raw file without readable times in the footer: what expires of them is not counted
  archive:  2 objects in DEEP_ARCHIVE: 100.0 KiB to 40.0 GiB each, 40.0 GiB together
  requests: about 2,580 (4 get, 2,569 put, 6 list, 1 delete), $0.013 once";
    assert_eq!(
        text.lines()
            .skip_while(|l| !l.starts_with("acme: "))
            .take(7)
            .collect::<Vec<_>>(),
        expected.lines().take(7).collect::<Vec<_>>(),
        "{text}"
    );
    assert!(text.lines().all(|l| l.chars().count() <= 100), "{text}");
}

#[test]
fn a_plan_says_what_and_why() {
    let text = archived(vec![acme()], Style::default());
    let expected = "\
tenant  raw files    bytes  groups  outputs  requests  costs once
acme            6  6.0 MiB       1        0        ~0

acme: 6 raw files, 6.0 MiB; 1 group
  rows before 2026-04-27 13:45:07Z go to s3://cold
  group  kind   files    bytes  why
─────────────────────────────────────────────────────
      1  merge      3  3.0 MiB  3 files under 10.0 MiB
  left alone: 3 files (1 not small, 2 quarantined)

1 tenant: 1 group with 3 files, 3.0 MiB; nothing was written";
    assert_eq!(
        text.lines()
            .filter(|l| !l.contains('─'))
            .collect::<Vec<_>>(),
        expected
            .lines()
            .filter(|l| !l.contains('─'))
            .collect::<Vec<_>>()
    );
}

#[test]
fn the_table_has_a_line_for_each_tenant_and_one_for_all() {
    let text = archived(vec![acme(), priced(&[40 << 30])], Style::default());
    let table: Vec<&str> = text
        .lines()
        .skip_while(|l| !l.starts_with("tenant "))
        .filter(|l| !l.contains('─'))
        .take(4)
        .collect();
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        words(table[2])[..8],
        ["acme", "6", "6.0", "MiB", "1", "1", "~40,000", "refused"],
        "{text}"
    );
    assert_eq!(
        words(table[3])[..9],
        ["total", "of", "2", "12", "12.0", "MiB", "2", "1", "~40,000"],
        "{text}"
    );
    assert!(
        table[0].ends_with("rows expiring  where to  requests  costs once  saves a month"),
        "{text}"
    );
    assert!(
        !table[1].contains('$') && table[2].contains('$'),
        "what has no price has none: {text}"
    );
}

#[test]
fn explain_is_of_whom_it_is_asked() {
    let globex = Plan {
        tenant: Tenant::parse("globex").unwrap(),
        ..acme()
    };
    let text = explained(vec![acme(), globex], &["globex"]);
    assert_eq!(text.matches("acme/big.parquet").count(), 1, "{text}");
}

#[test]
fn explain_has_every_file() {
    let text = explained(vec![acme()], &["*"]);
    for key in ["a", "b", "c", "big", "bad", "bad2"] {
        assert!(text.contains(&format!("acme/{key}.parquet")), "{text}");
    }
    assert!(
        text.contains("quarantined: not Parquet")
            && text.contains("merge in group 1")
            && text.contains("are dropped"),
        "{text}"
    );
}

#[test]
fn totals_add_up() {
    let report = report(vec![acme(), priced(&[1 << 30])]);
    let document = serde_json::to_value(PlanDocument::new(&report)).unwrap();
    let totals = &document["totals"];
    for (name, value) in [
        ("tenants", 2_u64),
        ("raw_files", 12),
        ("raw_bytes", 12 << 20),
        ("groups", 2),
        ("files_in", 6),
        ("bytes_in", 6 << 20),
        ("files_left_alone", 6),
    ] {
        assert_eq!(totals[name], value, "{name}");
    }
    assert_eq!(
        (
            &totals["rows_with_ttl"],
            &totals["rows_expiring"],
            &totals["archive_bytes"]
        ),
        (&json!(80_000), &json!(40_000), &json!(1 << 30))
    );
    assert!(
        (totals["keeping_per_month"].as_f64().unwrap() - 0.023).abs() < 1e-9,
        "{totals}"
    );
    assert_eq!(document["prices"]["currency"], "USD");
    assert_eq!(
        document["plans"][1]["estimate"]["cost"]["storage_class"],
        "DEEP_ARCHIVE"
    );
    assert_eq!(
        document["plans"][0]["groups"][0]["reason"]["why"],
        "small_files"
    );
}

#[test]
fn a_plan_may_have_nothing_to_do() {
    assert!(archived(Vec::new(), Style::default()).starts_with("no tenants"));
    let idle = Plan {
        groups: Vec::new(),
        skipped: Vec::new(),
        cutoff: None,
        ..acme()
    };
    assert_eq!(
        explained(vec![idle], &["*"]),
        "acme: 0 raw files, 0 B; nothing to do\n  rows are kept for ever\n  no files\n\n1 \
             tenant: nothing to do"
    );
}

#[test]
fn of_many_tenants_only_what_has_something_to_do_is_shown() {
    let named = |n: usize, groups: Vec<Group>| Plan {
        tenant: Tenant::parse(&format!("t{n:03}")).unwrap(),
        groups,
        ..acme()
    };
    let larger = |n: usize| Group {
        inputs: vec![input("a.parquet", (n as u64) << 20)],
        ..acme().groups[0].clone()
    };
    let busy = (0..30).map(|n| named(n, vec![larger(n)]));
    let idle = (30..300).map(|n| named(n, Vec::new()));
    let plans: Vec<Plan> = busy.chain(idle).collect();
    let text = archived(plans.clone(), Style::default());
    assert!(
        text.starts_with("tenant  "),
        "the table comes first: {text}"
    );
    assert!(text.lines().count() < 80, "{}", text.lines().count());
    // Those with the most bytes, in the table and in full.
    assert!(text.contains("\nt029  ") && text.contains("\nt010  ") && !text.contains("\nt009  "));
    assert!(text.contains("\nt025: ") && !text.contains("\nt024: ") && !text.contains("t100"));
    for line in [
        "\ntotal of 300  ",
        "\nnot shown: 10 tenants with something to do; --all shows all\n",
        "\n… and 25 more tenants with something to do: `icepack plan --tenant NAME`, or --all\n",
        "\nnothing to do for 270 tenants",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let report = report(plans);
    let all = PlanDocument {
        all: true,
        ..PlanDocument::new(&report)
    };
    let text = all.text(View::default());
    assert!(
        (0..300).all(|n| text.contains(&format!("\nt{n:03}: "))),
        "{text}"
    );
    let explained = PlanDocument {
        explain: Some(Selection::parse(vec!["*".to_owned()]).unwrap()),
        ..PlanDocument::new(&report)
    };
    let text = explained.text(View::default());
    assert!(
        (0..300).all(|n| text.contains(&format!("\nt{n:03}: "))),
        "{text}"
    );
}

#[test]
fn what_a_pass_would_refuse_comes_first() {
    let plans = (0..30).map(|n| Plan {
        tenant: Tenant::parse(&format!("t{n:03}")).unwrap(),
        groups: vec![Group {
            inputs: vec![input("a.parquet", 1 << 40)],
            ..acme().groups[0].clone()
        }],
        ..acme()
    });
    let plans = plans.chain([priced(&[1 << 30])]).collect();
    let text = archived(plans, Style::default());
    assert!(text.lines().nth(2).unwrap().starts_with("acme "), "{text}");
    assert!(text.contains("refused:"), "{text}");
}

/// A group in each of `n` folders.
fn in_folders(n: usize) -> Plan {
    let group = |i: usize| Group {
        inputs: vec![
            input(&format!("acme/dt={i:02}/a.parquet"), 1 << 20),
            input(&format!("acme/dt={i:02}/b.parquet"), 1 << 20),
        ],
        ..acme().groups[0].clone()
    };
    Plan {
        groups: (0..n).map(group).collect(),
        skipped: vec![skipped("acme/dt=00/big.parquet", SkipReason::Large)],
        ..acme()
    }
}

#[test]
fn groups_of_many_folders_say_which_and_are_not_all_shown() {
    let text = archived(vec![in_folders(25)], Style::default());
    assert!(
        text.contains("folder") && text.contains("acme/dt=19") && !text.contains("acme/dt=20"),
        "{text}"
    );
    assert!(
        text.contains("and 5 more groups, with 10 files, 10.0 MiB: --explain shows all"),
        "{text}"
    );
    let text = archived(vec![acme()], Style::default());
    assert!(!text.contains("folder"), "{text}");
}

#[test]
fn explain_sums_up_each_folder() {
    let text = explained(vec![in_folders(25)], &["acme"]);
    let folder = |name: &str| {
        let line = text.lines().find(|l| {
            let mut words = l.split_whitespace();
            words.next() == Some(name) && words.next() == Some("2")
        });
        line.unwrap_or_else(|| panic!("{name}: {text}")).to_owned()
    };
    let first: Vec<String> = folder("acme/dt=00")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    assert_eq!(
        first,
        ["acme/dt=00", "2", "2.0", "MiB", "1", "1.0", "MiB"],
        "{text}"
    );
    folder("acme/dt=24");
    assert!(!text.contains("more groups"), "{text}");
}
