use std::time::Duration;

use chrono::DateTime;

use super::*;
use crate::model::estimate::Expiry;
use crate::model::file::Micros;
use crate::model::names::{FileId, Tenant};
use crate::model::plan::{PlannedInput, Reason};
use crate::model::policy::ArchivePolicy;
use crate::model::policy::Policy;
use crate::model::units::{GIB, MIB};

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-9)
}

/// The list with round numbers: a hot GB costs 16 a month, a cold one 1.
fn round() -> Prices {
    let mut prices = Prices::default();
    for (class, price) in &mut prices.classes {
        price.storage = if class == STANDARD { 16.0 } else { 1.0 };
    }
    prices
}

#[test]
fn a_class_bills_more_than_the_bytes() {
    for (class, size, expected) in [
        (STANDARD, 1, (1, 0)),
        ("STANDARD_IA", 1, (128 * KIB, 0)),
        ("ONEZONE_IA", 128 * KIB + 1, (128 * KIB + 1, 0)),
        ("GLACIER_IR", 128 * KIB - 1, (128 * KIB, 0)),
        ("GLACIER", 1, (1 + 32 * KIB, 8 * KIB)),
        ("DEEP_ARCHIVE", GIB, (GIB + 32 * KIB, 8 * KIB)),
        ("MINIO_COLD", 1, (1, 0)),
    ] {
        assert_eq!(billed(class, size), expected, "{class} {size}");
    }
}

#[test]
fn a_month_is_what_a_hand_reckons() {
    let list = Prices::default();
    for (class, objects, expected) in [
        (STANDARD, vec![GIB], 0.023),
        (STANDARD, vec![], 0.0),
        ("STANDARD_IA", vec![GIB, GIB], 0.025),
        // 1,024 crumbs are billed as 128 KiB each: 128 MiB, an eighth of a GB.
        ("GLACIER_IR", vec![1; 1_024], 0.004 / 8.0),
        // 32,768 objects of 32 KiB: a GB of bytes, a GB of indexes, a quarter of a GB of names.
        (
            "DEEP_ARCHIVE",
            vec![32 * KIB; 32_768],
            2.0 * 0.00099 + 0.25 * 0.023,
        ),
        ("GLACIER", vec![GIB - 32 * KIB], 0.0036 + 0.023 / 131_072.0),
    ] {
        let found = per_month(&list, class, &objects).unwrap();
        assert!(near(found, expected), "{class}: {found} is not {expected}");
    }
    assert_eq!(per_month(&list, "INTELLIGENT_TIERING", &[1]), None);
    // More is never cheaper, and one object never dearer than two of half the size.
    for class in list.classes.keys() {
        for size in [0, 1, 100 * KIB, MIB, GIB] {
            let cost = |objects: &[u64]| per_month(&list, class, objects).unwrap();
            assert!(cost(&[size]) <= cost(&[size + 1]), "{class} {size}");
            assert!(
                cost(&[2 * size]) <= cost(&[size, size]) + 1e-12,
                "{class} {size}"
            );
        }
    }
}

struct World {
    plan: Plan,
    policy: Policy,
}

impl World {
    /// So many bytes expire, into objects of these sizes.
    fn new(bytes_expiring: u64, objects: &[u64]) -> Self {
        let tenant = Tenant::parse("acme").unwrap();
        let cutoff = Micros(1_777_297_507_000_000);
        let expiry = Expiry {
            ttl_s: 86_400,
            rows: 100,
            rows_expiring: 10,
            bytes_expiring,
            percent: 10.0,
            max_percent: 100,
            files_unknown: 0,
            object_bytes: objects.to_vec(),
        };
        let inputs = objects
            .iter()
            .map(|size| PlannedInput {
                key: "acme/x.parquet".into(),
                size: *size,
                etag: None,
                stats: None,
                id: Some(FileId::NIL),
                adopted: None,
            })
            .collect();
        let groups = if objects.is_empty() {
            Vec::new()
        } else {
            vec![Group {
                inputs,
                kind: GroupKind::Expire,
                reason: Reason::Expired { cutoff },
            }]
        };
        let plan = Plan {
            tenant,
            head_version: 1,
            now: DateTime::UNIX_EPOCH,
            cutoff: Some(cutoff),
            groups,
            skipped: Vec::new(),
            classes: Vec::new(),
            expiry: Some(expiry),
            estimate: None,
            left_alone: Default::default(),
        };
        let archive = (!objects.is_empty()).then_some(ArchivePolicy {
            min_object_size: 8 * MIB,
        });
        let policy = Policy {
            archive,
            ttl: Some(Duration::from_secs(86_400)),
            ..Policy::default()
        };
        Self { plan, policy }
    }

    fn estimate(&self, prices: &Prices, class: &str, copies: bool) -> Estimate {
        estimate(
            &self.plan,
            &self.policy,
            &Pricing {
                prices,
                class,
                copies,
            },
        )
    }
}

#[test]
fn keeping_is_compared_with_archiving() {
    let mut prices = round();
    prices.classes.get_mut("DEEP_ARCHIVE").unwrap().put = 15_000.0;
    prices.classes.get_mut(STANDARD).unwrap().put = 0.0;
    prices.classes.get_mut(STANDARD).unwrap().get = 0.0;
    let size = GIB - 32 * KIB;
    let found = World::new(GIB, &[size]).estimate(&prices, "DEEP_ARCHIVE", true);
    let cost = found.cost.unwrap();
    assert_eq!(cost.storage_class.as_deref(), Some("DEEP_ARCHIVE"));
    assert!(near(cost.keeping_per_month, 16.0), "{cost:?}");
    assert!(
        near(cost.archived_per_month, 1.0 + 16.0 / 131_072.0),
        "{cost:?}"
    );
    assert!(
        near(cost.archiving_once, 15.0) && near(cost.requests_once, 15.0),
        "{cost:?}"
    );
    assert!(
        near(cost.saved_per_month, 15.0 - 16.0 / 131_072.0),
        "{cost:?}"
    );
    assert!(
        (cost.break_even_months.unwrap() - 1.0).abs() < 1e-4,
        "a month pays for it: {cost:?}"
    );
    assert_eq!(
        found.objects,
        Objects {
            count: 1,
            bytes: size,
            smallest_bytes: size,
            largest_bytes: size
        }
    );
}

#[test]
fn what_is_dropped_costs_nothing_and_saves_all() {
    let found = World::new(GIB, &[]).estimate(&round(), STANDARD, false);
    let cost = found.cost.unwrap();
    assert_eq!(
        (
            cost.storage_class,
            cost.archiving_once,
            cost.archived_per_month
        ),
        (None, 0.0, 0.0)
    );
    assert!(near(cost.saved_per_month, 16.0));
    assert_eq!(
        (cost.break_even_months, found.warnings),
        (Some(0.0), vec![])
    );
}

#[test]
fn an_archive_that_costs_more_is_a_warning() {
    // A thousand crumbs: a name of 8 KiB each costs more than the byte does.
    let found = World::new(1_000, &[1; 1_000]).estimate(&Prices::default(), "GLACIER", true);
    let cost = found.cost.as_ref().unwrap();
    assert!(
        cost.saved_per_month < 0.0 && cost.break_even_months.is_none(),
        "{cost:?}"
    );
    let kinds: Vec<_> = found
        .warnings
        .iter()
        .map(|w| {
            serde_json::to_value(w).unwrap()["what"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "small_objects",
            "overhead",
            "minimum_duration",
            "costs_more"
        ]
    );
}

#[test]
fn warnings_are_given_where_they_are_due() {
    let list = Prices::default();
    let kinds = |class: &str, objects: &[u64]| -> Vec<String> {
        let found = World::new(objects.iter().sum(), objects).estimate(&list, class, false);
        found
            .warnings
            .iter()
            .map(|w| {
                serde_json::to_value(w).unwrap()["what"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    };
    let none: [&str; 0] = [];
    assert_eq!(kinds(STANDARD, &[1]), none);
    assert_eq!(kinds("DEEP_ARCHIVE", &[]), none);
    assert_eq!(kinds("DEEP_ARCHIVE", &[8 * MIB]), ["minimum_duration"]);
    // 40 KiB are 5% of 800 KiB.
    assert_eq!(kinds("GLACIER", &[800 * KIB]), ["minimum_duration"]);
    assert_eq!(
        kinds("GLACIER", &[799 * KIB]),
        ["overhead", "minimum_duration"]
    );
    assert_eq!(
        kinds("STANDARD_IA", &[128 * KIB - 1]),
        ["small_objects", "minimum_duration"]
    );
    assert_eq!(
        kinds("STANDARD_IA", &[60 * KIB]),
        ["small_objects", "minimum_duration", "costs_more"],
        "billed as more than twice its bytes"
    );
    assert_eq!(kinds("INTELLIGENT_TIERING", &[MIB]), ["no_price"]);
    let deep = World::new(GIB, &[GIB - 32 * KIB]).estimate(&list, "DEEP_ARCHIVE", true);
    assert_eq!(
        deep.warnings[0].to_string(),
        "DEEP_ARCHIVE bills at least 180 days, here $0.0059, however soon an object is deleted"
    );
}

#[test]
fn requests_are_those_of_a_pass() {
    let sizes = [20 * MIB, 20 * MIB];
    let copied = World::new(40 * MIB, &sizes)
        .estimate(&round(), "GLACIER", true)
        .requests;
    // Look, commit, receipts, sweep; the bytes do not pass.
    assert_eq!(
        copied,
        Requests {
            get: 2,
            put: 1 + 2 + 1,
            head: 2,
            list: 2 + 1 + 3,
            delete: 1,
            copy: 2
        }
    );
    // Of raw files the bytes pass once, for what receipts say of their rows.
    let mut raw = World::new(40 * MIB, &sizes);
    let inputs = raw.plan.groups.iter_mut().flat_map(|g| &mut g.inputs);
    inputs.for_each(|i| i.id = None);
    assert_eq!(
        raw.estimate(&round(), "GLACIER", true).requests,
        Requests { get: 6, ..copied }
    );
    let streamed = World::new(40 * MIB, &sizes)
        .estimate(&round(), "GLACIER", false)
        .requests;
    // Two pieces are read of each, and each upload has a beginning, two parts and an end.
    assert_eq!(
        streamed,
        Requests {
            get: 2 + 4,
            put: 1 + 2 + 2 * 4 + 1,
            head: 0,
            list: 6,
            delete: 1,
            copy: 0
        }
    );
    let idle = World::new(0, &[])
        .estimate(&round(), "GLACIER", false)
        .requests;
    assert_eq!(
        idle,
        Requests {
            get: 1,
            list: 2,
            ..Requests::default()
        }
    );
}

#[test]
fn objects_of_which_the_sum_is_known_cost_what_each_of_them_does() {
    let list = Prices::default();
    for (class, objects) in [
        (STANDARD, vec![MIB, 3]),
        ("GLACIER", vec![MIB, 3, 7]),
        ("DEEP_ARCHIVE", vec![1; 40]),
        ("STANDARD_IA", vec![MIB, 2 * MIB]),
        ("GLACIER_IR", vec![1, 2, 3]),
        ("GLACIER", vec![]),
    ] {
        let sum = holding(&list, class, objects.len() as u64, objects.iter().sum()).unwrap();
        let each = per_month(&list, class, &objects).unwrap();
        assert!(near(sum, each), "{class}: {sum} is not {each}");
    }
    let mixed = holding(&list, "GLACIER_IR", 2, MIB + 1).unwrap();
    let each = per_month(&list, "GLACIER_IR", &[MIB, 1]).unwrap();
    assert!(mixed < each, "the least that it can be");
    assert_eq!(holding(&list, "INTELLIGENT_TIERING", 1, 1), None);
}

#[test]
fn requests_cost_what_a_hand_reckons() {
    let list = Prices::default();
    let asked = Requests {
        get: 3_000,
        head: 1_000,
        put: 1_500,
        list: 400,
        copy: 100,
        delete: 9_999,
    };
    // Those that read 0.0004 a thousand, those that write 0.005; deleting is free.
    let hot = 4.0 * 0.0004 + 2.0 * 0.005;
    let found = requests(&list, &asked, 0, "NONE").unwrap();
    assert!(near(found, hot), "{found}");
    // Two hundred of those that write were DEEP_ARCHIVE's, at 0.05.
    let found = requests(&list, &asked, 200, "DEEP_ARCHIVE").unwrap();
    assert!(near(found, hot + 0.2 * (0.05 - 0.005)), "{found}");
    assert_eq!(requests(&list, &asked, 1, "NONE"), None);
}
