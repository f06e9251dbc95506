use chrono::DateTime;

use super::*;
use crate::model::manifest::{Quarantined, RetireReason, Retired, Stamp};

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
        ("acme/_common_metadata".into(), ignored(Hidden)),
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
        ("acme/t/_metadata".into(), Input::Foreign(Summary)),
        (
            "acme/_symlink_format_manifest/dt=1/manifest".into(),
            Input::Foreign(SymlinkManifests),
        ),
        (
            "acme/t/_symlink_format_manifest/manifest".into(),
            Input::Foreign(SymlinkManifests),
        ),
        (
            "acme/t/part-00000-e2eae441-7224-4488-bd64-f56f0c97d1c2_00003.c000.snappy.parquet"
                .into(),
            Input::Foreign(BucketedTable),
        ),
        (
            "acme/t/part-00000-e2eae441-7224-4488-bd64-f56f0c97d1c2.c000.snappy.parquet".into(),
            Input::Raw,
        ),
        ("acme/t/part-0_00003.c000.parquet".into(), Input::Raw),
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
    let rules = Rules {
        own_symlinks: true,
        ..Rules::default()
    };
    let manifest = "_symlink_format_manifest/dt=1/manifest";
    assert_eq!(
        rules.input(&acme(), &format!("acme/{manifest}"), 0),
        Input::Ours
    );
    assert_eq!(
        rules.input(&acme(), &format!("acme/t/{manifest}"), 0),
        Input::Foreign(Foreign::SymlinkManifests)
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
        rules.sees(DELTA_LOG)
            && !Rules {
                exclude: Exclude::parse(["_delta_log/**"]).unwrap(),
                own_log: false,
                ..Rules::default()
            }
            .sees(DELTA_LOG)
    );
    for bad in ["", "/acme/**", "acme/[", &"x".repeat(1_001)] {
        assert!(Exclude::parse([bad]).is_err(), "{bad}");
    }
}

fn head() -> Manifest {
    let id = FileId(ulid::Ulid::from_parts(1, 0));
    Manifest::first(
        acme(),
        Stamp {
            run_id: id,
            commit_id: id,
            at: DateTime::UNIX_EPOCH,
        },
    )
}

fn taking(files: &[&str]) -> Rules {
    Rules {
        files: Files::parse(files).unwrap(),
        ..Rules::default()
    }
}

#[test]
fn which_names_are_taken_is_a_setting() {
    use Ignored::*;
    let named = taking(&["*.parquet", "*.parq", "part-*"]);
    for (key, wanted) in [
        ("acme/x.parquet", Input::Raw),
        ("acme/2026/x.parq", Input::Raw),
        ("acme/part-0", Input::Raw),
        ("acme/x.PARQUET", Input::Ignored(OtherSuffix)),
        ("acme/x.PARQ", Input::Ignored(OtherSuffix)),
        ("acme/x.json", Input::Ignored(NotParquet)),
        // A folder's name is none of a file.
        ("acme/part-0/x.json", Input::Ignored(NotParquet)),
    ] {
        assert_eq!(named.input(&acme(), key, 1), wanted, "{key}");
    }
    let suffix = taking(&["*.parq"]);
    assert_eq!(
        suffix.input(&acme(), "acme/x.parquet", 1),
        Input::Ignored(OtherSuffix)
    );
    for bad in [&[][..], &[""], &["a/*.parquet"], &["["]] {
        assert!(Files::parse(bad).is_err(), "{bad:?}");
    }
    assert_eq!(Files::default().patterns(), ["*.parquet"]);
    assert_eq!(Files::default(), Files::parse(["*.parquet"]).unwrap());
}

#[test]
fn every_name_that_is_not_hidden_can_be_taken() {
    use Ignored::*;
    let all = taking(&["*"]);
    for key in [
        "acme/000000_0",
        "acme/20261128_101112_00001_abcde_0",
        "acme/x.json",
        "acme/X.PARQUET",
        "acme/x.parquet.tmp",
        "acme/dt=1/000000_0",
    ] {
        assert_eq!(all.input(&acme(), key, 1), Input::Raw, "{key}");
    }
    for (key, wanted) in [
        ("acme/_SUCCESS", Input::Ignored(Hidden)),
        ("acme/.000000_0.crc", Input::Ignored(Hidden)),
        ("acme/_temporary/0/000000_0", Input::Ignored(Hidden)),
        ("acme/x.receipt.json", Input::Foreign(Foreign::Receipt)),
        (
            "acme/t/_delta_log/00000000000000000000.json",
            Input::Foreign(Foreign::DeltaTable),
        ),
        (
            "acme/t/metadata/v1.metadata.json",
            Input::Foreign(Foreign::IcebergTable),
        ),
        ("acme//000000_0", Input::Ignored(NotPlain)),
    ] {
        assert_eq!(all.input(&acme(), key, 1), wanted, "{key}");
    }
    assert_eq!(
        all.input(&acme(), "acme/000000_0", 0),
        Input::Ignored(Empty)
    );
    let root = all.sort_root(&["x.parquet", "y.PARQ", "readme"].map(|k| file(k, 1)));
    assert_eq!(
        root.ignored_line().as_deref(),
        Some("2 in no tenant's folder (`x.parquet`, `y.PARQ`)")
    );
}

/// Their rows would live twice, or nowhere.
#[test]
fn our_own_files_are_known_by_their_names_whatever_is_taken() {
    let snapshot = format!("acme/2026-04/snapshot.acme.{SPAN}.{ID}");
    let restored = format!("acme/2026-04/restored.acme.{ID}.{ID}.parquet");
    for rules in [taking(&["*"]), taking(&["*.parq"]), Rules::default()] {
        let input = |key: &str| rules.input(&acme(), key, 1);
        assert_eq!(
            input(&format!("{snapshot}.parquet")),
            Input::Snapshot(ID.parse().unwrap())
        );
        assert_eq!(input(&restored), Input::Raw);
        for copy in ["", ".bak", ".PARQUET", ".parquet.bak", ".parquet.2.old"] {
            let copy = format!("{snapshot}{copy}");
            assert!(
                matches!(
                    input(&copy),
                    Input::Ignored(Ignored::NotParquet | Ignored::OtherSuffix)
                ),
                "{copy}: {:?}",
                input(&copy)
            );
        }
        let archived = format!("acme/archive.acme.{SPAN}.{ID}.parquet.bak");
        assert_eq!(input(&archived), Input::Ignored(Ignored::NotParquet));
    }
}

#[test]
fn a_file_that_was_found_to_be_no_parquet_file_is_told_until_it_changes() {
    let mut head = head();
    let note = |key: &str, cause| Quarantined {
        key: key.to_owned(),
        size: 1,
        etag: Some(format!("{key}-1")),
        reason: String::new(),
        at: DateTime::UNIX_EPOCH,
        cause: Some(cause),
    };
    head.quarantined = vec![
        note("acme/x.json", Cause::OtherFormat),
        note("acme/y", Cause::Damaged),
    ];
    let sorted = |listing: &[Listed]| taking(&["*"]).sort(&acme(), Some(&head), listing.to_vec());
    let listing = ["acme/x.json", "acme/y", "acme/z"].map(|k| file(k, 1));
    let found = sorted(&listing);
    assert_eq!(
        found.left.ignored_line().as_deref(),
        Some("1 not Parquet by their first bytes (`acme/x.json`)")
    );
    assert_eq!(
        found.listing, listing,
        "or the note would be forgotten as that of a file that is gone"
    );
    let changed = Listed {
        etag: Some("2".to_owned()),
        ..file("acme/x.json", 1)
    };
    assert!(sorted(&[changed]).left.is_empty());
    // Under the default it is a matter of the name again.
    let found = Rules::default().sort(&acme(), Some(&head), listing.to_vec());
    assert_eq!(
        found.left.ignored_line().as_deref(),
        Some("3 not named as `files` says (`acme/x.json`, `acme/y`, `acme/z`)")
    );
}

/// Old manifests name files that would be no inputs today: what head names stays in the listing,
/// and makes nothing foreign.
#[test]
fn what_head_names_stays_whatever_it_is_called() {
    let mut head = head();
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
            remembered: None,
            found: None,
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
            "1 not named as `files` says, but likely Parquet (`y.PARQUET`), 1 with a name that is no plain path \
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
        Some(
            "2 hidden, 2 not named as `files` says, but likely Parquet (`acme/x.pq`, `acme/x.pq`)"
        )
    );
}

/// A directory lists in no order, and a report is to say the same each time.
#[test]
fn the_first_names_are_told_in_whatever_order_they_come() {
    let (mut left, mut other) = (Left::default(), Left::default());
    for name in ["d.txt", "a.txt", "c.txt", "b.txt"] {
        left.ignore(Ignored::NotParquet, name, 1);
    }
    other.ignore(Ignored::NotParquet, "aa.txt", 1);
    let names = |left: &Left| left.ignored[&Ignored::NotParquet].names.clone();
    assert_eq!(names(&left), ["a.txt", "b.txt", "c.txt"]);
    left.add(&other);
    assert_eq!(names(&left), ["a.txt", "aa.txt", "b.txt"]);
    assert_eq!(left.ignored[&Ignored::NotParquet].files, 5);
}

mod stream {
    use proptest::prelude::*;

    use super::*;

    /// Parts of keys, of which some decide what a file is.
    const FOLDERS: [&str; 9] = [
        "acme",
        "acmee",
        "a=1",
        "metadata",
        "_x",
        ".hoodie",
        "_delta_log",
        "",
        "..",
    ];
    const NAMES: [&str; 13] = [
        "x.parquet",
        "y.parquet",
        "x.txt",
        "_metadata",
        ".x",
        "",
        "..",
        "a\u{85}.parquet",
        "v1.metadata.json",
        "x.parq",
        ".icepack-left.link.x.parquet",
        "restored.a.parquet",
        "snapshot.acme.2026-04-27T134507Z-2026-04-27T134508Z.01J8Z0000000000000000000ZZ.parquet",
    ];

    proptest! {
        /// What was found of a folder is used for the next file of it, and changes no answer.
        #[test]
        fn an_entry_is_what_it_is_by_itself(
            keys in prop::collection::vec(
                (prop::collection::vec(0..FOLDERS.len(), 0..3), 0..NAMES.len(), 0..2_u64), 1..40
            ),
            within in 0..2_usize,
            excludes in any::<bool>(),
        ) {
            let rules = Rules {
                within: [Within::Folder, Within::Tenant][within],
                exclude: if excludes {
                    Exclude::parse(["acme/a=1/x*"]).unwrap()
                } else {
                    Exclude::default()
                },
                ..Rules::default()
            };
            let tenant = acme();
            let mut sorter = rules.sorter(&tenant, None);
            for (folders, name, size) in keys {
                let folders = folders.into_iter().map(|at| FOLDERS[at]);
                // Half of them are the tenant's.
                let parts: Vec<&str> = ["acme"].into_iter().chain(folders).chain([NAMES[name]]).collect();
                let key = parts.join("/");
                let input = rules.input(&tenant, &key, size);
                prop_assert_eq!(sorter.input(&key, size), input, "{}", key);
                let kept = sorter.sort(&file(&key, size), None);
                let alone = match input {
                    Input::Snapshot(_) => Some(Kept::Known),
                    Input::Raw | Input::Foreign(Foreign::Partition | Foreign::BucketedTable) => Some(Kept::New),
                    _ => None,
                };
                prop_assert_eq!(kept, alone, "{}", key);
            }
        }
    }
}
