use chrono::DateTime;

use super::*;
use crate::model::manifest::{RetireReason, Retired, Stamp};

const ID: &str = "01J8Z0000000000000000000ZZ";
const SPAN: &str = "2026-04-27T134507Z-2026-04-27T134508Z";

fn acme() -> Tenant {
    Tenant::parse("acme").unwrap()
}

fn file(key: &str, size: u64) -> Listed {
    Listed {
        key: key.to_owned(),
        size,
        etag: Some(format!("{key}-1")),
        modified: DateTime::UNIX_EPOCH,
    }
}

fn odd(folder: &str, odd: Odd, rest: &str) -> String {
    format!("{folder}{}", odd.segment(rest.as_bytes()))
}

/// The table.
#[test]
fn every_entry_has_one_answer() {
    use Foreign::*;
    use Ignored::*;
    let own = format!("acme/2026-04/snapshot.acme.{SPAN}.{ID}.parquet");
    let ignored = |why| Input::Ignored(why);
    let cases: Vec<(String, Input)> = vec![
        (own.clone(), Input::Snapshot(ID.parse().unwrap())),
        ("acme/x.parquet".into(), Input::Raw),
        ("acme/2026/11/28/x.snappy.parquet".into(), Input::Raw),
        ("acme/metadata/x.parquet".into(), Input::Raw),
        // A file's name says nothing of its columns, and the tenant's own folder is no column
        // either.
        ("acme/date=2026-01-01.parquet".into(), Input::Raw),
        // What the local-disk compactor wrote, and what is no name of ours to the letter.
        (format!("acme/snapshot.acme.{SPAN}.parquet"), Input::Raw),
        (
            format!("acme/snapshot.acme.{SPAN}.{}.parquet", ID.to_lowercase()),
            Input::Raw,
        ),
        ("acme/archive.parquet".into(), Input::Raw),
        ("acme/archive.2026.parquet".into(), Input::Raw),
        // Hidden, whatever lies in it.
        (
            "acme/_temporary/0/task_1/part-0.parquet".into(),
            ignored(Hidden),
        ),
        (
            "acme/_temporary/0/country=de/part-0.parquet".into(),
            ignored(Hidden),
        ),
        ("acme/a=1/.staging/part-0.parquet".into(), ignored(Hidden)),
        (
            "acme/.staging/_delta_log/00000000000000000000.json".into(),
            ignored(Hidden),
        ),
        ("acme/_x.parquet".into(), ignored(Hidden)),
        ("acme/.x.parquet".into(), ignored(Hidden)),
        ("acme/a/_SUCCESS".into(), ignored(Hidden)),
        ("acme/_metadata".into(), ignored(Hidden)),
        ("acme/..x/y.parquet".into(), ignored(Hidden)),
        ("acme/.parquet".into(), ignored(Hidden)),
        // Not Parquet, by its name.
        ("acme/x.txt".into(), ignored(NotParquet)),
        ("acme/part-0".into(), ignored(NotParquet)),
        ("acme/x.parquet.tmp".into(), ignored(NotParquet)),
        ("acme/country=de/readme.txt".into(), ignored(NotParquet)),
        ("acme/X.PARQUET".into(), ignored(OtherSuffix)),
        ("acme/x.Parquet".into(), ignored(OtherSuffix)),
        ("acme/x.parq".into(), ignored(OtherSuffix)),
        ("acme/x.pq".into(), ignored(OtherSuffix)),
        // No plain key.
        ("acme//x.parquet".into(), ignored(NotPlain)),
        ("acme/../globex/x.parquet".into(), ignored(NotPlain)),
        ("acme/a\u{85}b.parquet".into(), ignored(NotPlain)),
        ("acmee/x.parquet".into(), ignored(NotPlain)),
        (odd("acme/", Odd::Key, "/2026/x.parquet"), ignored(NotPlain)),
        (odd("acme/x.parquet/", Odd::Key, ""), ignored(Empty)),
        (odd("acme/_delta_log/", Odd::Key, ""), ignored(Empty)),
        (odd("acme/", Odd::Link, "x.parquet"), ignored(Link)),
        (odd("acme/", Odd::Link, "globex"), ignored(Link)),
        (
            odd("acme/", Odd::Link, "_delta_log"),
            Input::Foreign(UnpublishedTable),
        ),
        // Somebody else's.
        (
            "acme/_delta_log/00000000000000000000.json".into(),
            Input::Foreign(UnpublishedTable),
        ),
        (
            "acme/sales/orders/_delta_log/00000000000000000010.checkpoint.parquet".into(),
            Input::Foreign(DeltaTable),
        ),
        (
            "acme/t/metadata/v1.metadata.json".into(),
            Input::Foreign(IcebergTable),
        ),
        (
            "acme/metadata/00001-a.metadata.json".into(),
            Input::Foreign(IcebergTable),
        ),
        (
            "acme/metadata/00001-a.metadata.json.gz".into(),
            Input::Foreign(IcebergTable),
        ),
        (
            "acme/.hoodie/hoodie.properties".into(),
            Input::Foreign(HudiTable),
        ),
        ("acme/t/_spark_metadata/0".into(), Input::Foreign(SparkSink)),
        (
            "acme/hot/_icepack/globex/manifest/00000000000000000001.json".into(),
            Input::Foreign(Store),
        ),
        (
            format!("acme/2026-04/snapshot.other.{SPAN}.{ID}.parquet"),
            Input::Foreign(Snapshot),
        ),
        (
            format!("acme/2026-04/snapshot.acme.b.{SPAN}.{ID}.parquet"),
            Input::Foreign(Snapshot),
        ),
        (
            format!("acme/2026-04/archive.acme.{SPAN}.{ID}.parquet"),
            Input::Foreign(ArchiveObject),
        ),
        (
            format!("acme/archive.x.{ID}.parquet"),
            Input::Foreign(ArchiveObject),
        ),
        ("acme/x.receipt.json".into(), Input::Foreign(Receipt)),
        (
            "acme/country=de/part-0.parquet".into(),
            Input::Foreign(Partition),
        ),
        (
            "acme/a/dt=2026-11-01/b/part-0.parquet".into(),
            Input::Foreign(Partition),
        ),
        (
            "acme/country=/part-0.parquet".into(),
            Input::Foreign(Partition),
        ),
        ("acme/=x/part-0.parquet".into(), Input::Raw),
    ];
    let together = Rules {
        within: Within::Tenant,
        ..Rules::default()
    };
    for (key, wanted) in cases {
        assert_eq!(together.input(&acme(), &key, 1), wanted, "{key}");
        let by_folder = match wanted {
            Input::Foreign(Partition) => Input::Raw,
            other => other,
        };
        assert_eq!(Rules::default().input(&acme(), &key, 1), by_folder, "{key}");
        let own = Rules {
            within_of: [("ac*".to_owned(), Within::Folder)].into(),
            ..together.clone()
        };
        assert_eq!(own.input(&acme(), &key, 1), by_folder, "{key}");
    }
    for key in ["acme/x.parquet", "acme/a=1/x.parquet", &own, "acme"] {
        assert_eq!(
            Rules::default().input(&acme(), key, 0),
            ignored(Empty),
            "{key}"
        );
    }
    let hive = Tenant::parse("tenant=x").unwrap();
    assert_eq!(
        Rules::default().input(&hive, "tenant=x/a.parquet", 1),
        Input::Raw
    );
}

#[test]
fn only_the_log_of_the_table_that_is_published_is_ours() {
    let rules = Rules {
        own_log: true,
        ..Rules::default()
    };
    assert_eq!(
        rules.input(&acme(), "acme/_delta_log/00000000000000000000.json", 1),
        Input::Ours
    );
    assert_eq!(
        rules.input(&acme(), "acme/t/_delta_log/00000000000000000000.json", 1),
        Input::Foreign(Foreign::DeltaTable)
    );
    assert_eq!(
        rules.input(&acme(), &odd("acme/", Odd::Link, "_delta_log"), 0),
        Input::Ignored(Ignored::Link)
    );
}

#[test]
fn what_is_excluded_is_not_looked_at() {
    let rules = Rules {
        exclude: Exclude::parse(["acme/lake/**", "*/tmp-*.parquet", "acme//odd*"]).unwrap(),
        own_log: false,
        ..Rules::default()
    };
    for key in [
        "acme/lake/_delta_log/0.json",
        "acme/lake/a/b.parquet",
        "acme/tmp-1.parquet",
    ] {
        assert_eq!(
            rules.input(&acme(), key, 1),
            Input::Ignored(Ignored::Excluded),
            "{key}"
        );
    }
    assert_eq!(
        rules.input(&acme(), &odd("acme/", Odd::Key, "/odd"), 1),
        Input::Ignored(Ignored::Excluded)
    );
    for key in [
        "acme/laken/x.parquet",
        "acme/lake.parquet",
        "acme/a/tmp-1.parquet",
    ] {
        assert_eq!(rules.input(&acme(), key, 1), Input::Raw, "{key}");
    }
    assert!(
        rules.sees_root_log()
            && !Rules {
                exclude: Exclude::parse(["_delta_log/**"]).unwrap(),
                own_log: false,
                ..Rules::default()
            }
            .sees_root_log()
    );
    for bad in ["", "/acme/**", "acme/[", &"x".repeat(1_001)] {
        assert!(Exclude::parse([bad]).is_err(), "{bad}");
    }
}

/// Old manifests name files that would be no inputs today: what head names stays in the listing,
/// and makes nothing foreign.
#[test]
fn what_head_names_stays_whatever_it_is_called() {
    let id = |n| FileId(ulid::Ulid::from_parts(n, 0));
    let mut head = Manifest::first(
        acme(),
        Stamp {
            run_id: id(1),
            commit_id: id(1),
            at: DateTime::UNIX_EPOCH,
        },
    );
    let retired = [
        "acme/country=de/a.parquet",
        "acme/_temporary/b.parquet",
        "acme/lake/c.parquet",
    ];
    head.retired = retired
        .iter()
        .map(|key| Retired {
            key: (*key).to_owned(),
            size: 1,
            etag: None,
            rows: 1,
            fingerprint: None,
            set_aside: None,
            at: DateTime::UNIX_EPOCH,
            reason: RetireReason::Compacted,
        })
        .collect();
    let listing: Vec<Listed> = retired
        .iter()
        .chain(&[
            "acme/d.parquet",
            "acme/_temporary/e.parquet",
            "acme/lake/f.parquet",
        ])
        .map(|key| file(key, 1))
        .collect();
    let rules = Rules {
        exclude: Exclude::parse(["acme/lake/**"]).unwrap(),
        within: Within::Tenant,
        ..Rules::default()
    };
    let sorted = rules.sort(&acme(), Some(&head), listing.clone());
    let kept: Vec<&str> = sorted.listing.iter().map(|f| f.key.as_str()).collect();
    assert_eq!(kept, [retired[0], retired[1], retired[2], "acme/d.parquet"]);
    assert_eq!(sorted.left.refusal(&acme()), None);
    assert_eq!(
        sorted.left.ignored_line().as_deref(),
        Some("1 hidden, 1 excluded")
    );
    // Without that head they are what they look like.
    let sorted = rules.sort(&acme(), None, listing);
    assert!(sorted.left.refusal(&acme()).is_some_and(
        |why| why.contains("a partition folder") && why.contains("`acme/country=de/a.parquet`")
    ));
}

#[test]
fn a_refusal_names_what_was_found_and_the_way_on() {
    let listing = [
        "acme/a.parquet",
        "acme/t/_delta_log/0.json",
        "acme/t/_delta_log/1.json",
        "acme/t/_delta_log/2.json",
        "acme/t/_delta_log/3.json",
    ]
    .map(|k| file(k, 1));
    let left = Rules::default().sort(&acme(), None, listing.to_vec()).left;
    assert_eq!(
        left.refusal(&acme()).unwrap(),
        "tenant `acme` holds what is not icepack's: a Delta table (`acme/t/_delta_log/0.json`, \
         `acme/t/_delta_log/1.json`, `acme/t/_delta_log/2.json` and 1 more). Nothing of the \
         tenant is touched. Move it out of the tenant's folder, or name it in `exclude`, as in \
         exclude = [\"acme/t/**\"]"
    );
    assert!(left.misleads(true));
    let own = |key| {
        Rules::default()
            .sort(&acme(), None, vec![file(key, 1)])
            .left
    };
    let table = own("acme/_delta_log/0.json");
    assert!(
        table.misleads(false)
            && !table.misleads(true)
            && !own("acme/k=v/x.parquet").misleads(false)
    );
    for (key, glob) in [
        ("acme/_delta_log/0.json", "acme/**"),
        ("acme/a/t/metadata/v1.metadata.json", "acme/a/t/**"),
        ("acme/country=de/x.parquet", "acme/**"),
        ("acme/a/archive.x.parquet", "acme/a/**"),
        ("acme/x.receipt.json", "acme/**"),
    ] {
        assert_eq!(proposed_glob(key), glob, "{key}");
        assert!(
            Exclude::parse([proposed_glob(key)]).unwrap().matches(key),
            "{key}"
        );
    }
    // A glob that is proposed for a table covers its files too.
    let rules = Rules {
        exclude: Exclude::parse([proposed_glob("acme/t/_delta_log/0.json")]).unwrap(),
        own_log: false,
        ..Rules::default()
    };
    assert_eq!(
        rules.input(&acme(), "acme/t/part-0.parquet", 1),
        Input::Ignored(Ignored::Excluded)
    );
}

#[test]
fn files_in_the_root_are_told_where_they_look_like_data() {
    let files = [
        "x.parquet",
        "y.PARQUET",
        "readme.txt",
        "_hidden.parquet",
        "icepack.toml",
    ]
    .map(|k| file(k, 1));
    let odd = [
        odd("", Odd::Key, "//acme/x.parquet"),
        odd("", Odd::Link, "globex"),
        odd("", Odd::Key, ""),
    ]
    .map(|k| file(&k, 0));
    let left = Rules::default().sort_root(&[files.to_vec(), odd.to_vec()].concat());
    assert_eq!(
        left.ignored_line().as_deref(),
        Some(
            "1 not called .parquet, but alike (`y.PARQUET`), 1 with a name that is no plain path \
             (`//acme/x.parquet`), 1 behind a link (`globex`), 1 in no tenant's folder \
             (`x.parquet`)"
        )
    );
}

#[test]
fn counts_go_to_json_and_back() {
    let rules = Rules {
        within: Within::Tenant,
        ..Rules::default()
    };
    let left = rules
        .sort(
            &acme(),
            None,
            vec![
                file("acme/_x", 3),
                file("acme/x.pq", 2),
                file("acme/k=v/x.parquet", 1),
            ],
        )
        .left;
    let json = serde_json::to_value(&left).unwrap();
    let wanted = serde_json::json!({
        "ignored": { "hidden": { "files": 1, "bytes": 3 }, "other_suffix": { "files": 1, "bytes": 2, "names": ["acme/x.pq"] } },
        "foreign": { "partition": { "files": 1, "bytes": 1, "names": ["acme/k=v/x.parquet"] } }
    });
    assert_eq!(json, wanted);
    assert_eq!(serde_json::from_value::<Left>(json).unwrap(), left);
    let mut twice = left.clone();
    twice.add(&left);
    assert_eq!(
        twice.ignored_line().as_deref(),
        Some("2 hidden, 2 not called .parquet, but alike (`acme/x.pq`, `acme/x.pq`)")
    );
}
