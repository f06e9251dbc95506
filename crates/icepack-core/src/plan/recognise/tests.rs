use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::*;
use crate::model::file::Micros;
use crate::model::inputs::{Exclude, proposed_glob};
use crate::model::names::{FileId, Place, Tenant, snapshot_key};

fn file(key: &str) -> Listed {
    Listed {
        key: key.to_owned(),
        size: 9,
        etag: None,
        modified: DateTime::<Utc>::UNIX_EPOCH,
    }
}

fn of<S: AsRef<str>>(keys: &[S]) -> Recognised {
    let files: Vec<Listed> = keys.iter().map(|k| file(k.as_ref())).collect();
    recognise(&files, &BTreeSet::new())
}

fn others(found: &Recognised) -> Vec<(&str, bool)> {
    let others = found.others.iter();
    others.map(|o| (o.layout.as_str(), o.open)).collect()
}

/// The layout, and which others stand beside it: with a `?` where only the owner can tell.
#[test]
fn layouts_are_told_from_keys() {
    let cases: &[(&[&str], &str, &[&str])] = &[
        // Tenants first.
        (&["acme/x.parquet", "globex/x.parquet"], "{tenant}/**", &[]),
        (
            &["acme/dt=1/x.parquet", "globex/dt=1/x.parquet"],
            "{tenant}/**",
            &[],
        ),
        (
            &[
                "acme/clicks/x.parquet",
                "acme/views/x.parquet",
                "globex/clicks/x.parquet",
            ],
            "{tenant}/**",
            &["{schema}/{table}/**"],
        ),
        // One folder above them.
        (
            &["topics/a/x.parquet", "topics/b/x.parquet"],
            "topics/{tenant}/**",
            &["{tenant}/**?", "{schema}/{table}/**"],
        ),
        (
            &["sync/public/a/x.parquet", "sync/public/b/x.parquet"],
            "sync/public/{tenant}/**",
            &["{tenant}/**", "sync/{schema}/{table}/**"],
        ),
        // Kafka Connect says the topic twice.
        (
            &["topics/a/year=2026/a+0+0000000001.snappy.parquet"],
            "topics/{tenant}/**",
            &["{tenant}/**"],
        ),
        (
            &[
                "topics/a/partition=0/a+0+01.parquet",
                "topics/b/partition=0/b+0+01.parquet",
            ],
            "topics/{tenant}/**",
            &["{tenant}/**"],
        ),
        // One table.
        (
            &["events/2026/01/x.parquet", "events/2026/02/x.parquet"],
            "{tenant}/**",
            &[],
        ),
        (
            &["events/x.parquet", "events/y.parquet"],
            "{tenant}/**",
            &[],
        ),
        (
            &[
                "events/visits/c=de/x.parquet",
                "events/visits/c=fr/x.parquet",
            ],
            "{tenant}/**",
            &["events/{tenant}/**"],
        ),
        // Nothing that is a tenant.
        (&["x.parquet", "y.parquet"], "**", &[]),
        (&["2026/01/x.parquet", "2026/02/x.parquet"], "**", &[]),
        (
            &["dt=2026-01-01/x.parquet", "dt=2026-01-02/x.parquet"],
            "**",
            &[],
        ),
        (
            &["x.parquet", "y.parquet", "acme/z.parquet"],
            "**",
            &["{tenant}/**?"],
        ),
        (
            &["2026/01/a/x.parquet", "2026/01/b/x.parquet"],
            "**",
            &["*/*/{tenant}/**?"],
        ),
        // Owners.
        (
            &["tenant_id=a/dt=1/x.parquet", "tenant_id=b/dt=1/x.parquet"],
            "tenant_id={tenant}/**",
            &["**"],
        ),
        (
            &["dt=1/tenant=a/x.parquet", "dt=2/tenant=b/x.parquet"],
            "*/tenant={tenant}/**",
            &["**"],
        ),
        (
            &[
                "events/customer_id=a/x.parquet",
                "events/customer_id=b/x.parquet",
            ],
            "events/customer_id={tenant}/**",
            &["{tenant}/**"],
        ),
        (
            &["clicks/tenant=a/x.parquet", "views/tenant=a/x.parquet"],
            "{table}/tenant={tenant}/**",
            &["*/tenant={tenant}/**", "{tenant}/**"],
        ),
        (
            &[
                "ext/a/region=eu/accountId=1/x.parquet",
                "ext/b/region=eu/accountId=1/x.parquet",
            ],
            "ext/{tenant}/**",
            &[
                "{tenant}/**?",
                "{schema}/{table}/**",
                "ext/*/*/accountId={tenant}/**",
            ],
        ),
        (
            &[
                "AWSLogs/123456789012/vpcflowlogs/eu-west-1/2026/01/01/x.log.parquet",
                "AWSLogs/123456789012/vpcflowlogs/us-east-1/2026/01/01/x.log.parquet",
            ],
            "AWSLogs/{tenant}/**",
            &["{tenant}/**"],
        ),
    ];
    for (keys, layout, beside) in cases {
        let found = of(keys);
        let told: Vec<String> = others(&found)
            .iter()
            .map(|(layout, open)| format!("{layout}{}", if *open { "?" } else { "" }))
            .collect();
        assert_eq!(
            (found.layout.as_str(), told),
            (*layout, beside.iter().map(|b| (*b).to_owned()).collect()),
            "{keys:?}: {found:#?}"
        );
        assert_eq!(found.unmatched, Seen::default(), "{keys:?}");
    }
}

#[test]
fn what_is_no_data_says_nothing() {
    assert_eq!(of::<&str>(&[]).layout, Layout::default());
    for key in [
        "_tmp/x.parquet",
        "acme/.x.parquet",
        "acme/x.json",
        "acme//x.parquet",
        "_icepack/a/manifest/1.json",
    ] {
        let found = of(&[key]);
        assert!(found.why.contains("no data file"), "{key}: {found:?}");
    }
    let mut empty = file("acme/x.parquet");
    empty.size = 0;
    assert!(
        recognise(&[empty], &BTreeSet::new())
            .why
            .contains("no data file")
    );
}

/// What lies in somebody else's table is not ours to have a layout, unless there is nothing else.
#[test]
fn tables_of_others_do_not_count() {
    let table = ["lake/t/_delta_log/00.json", "lake/t/c=1/x.parquet"];
    let found = of(&[&table[..], &["topics/a/x.parquet", "topics/b/x.parquet"]].concat());
    assert_eq!(found.layout.as_str(), "topics/{tenant}/**");
    assert_eq!(found.exclude, ["lake/t/**"]);
    assert_eq!(of(&table).layout.as_str(), "{tenant}/**");
    let found = of(&[
        "w/t/metadata/1.metadata.json",
        "w/t/data/x.parquet",
        "x.parquet",
    ]);
    assert_eq!(
        (found.layout.as_str(), found.exclude),
        ("**", vec!["w/t/**".to_owned()])
    );
}

/// What is proposed for `exclude` excludes, whatever the folder is called.
#[test]
fn a_proposed_exclude_matches_its_table() {
    for key in [
        "a[1]/t*/_delta_log/0.json",
        "a{x}/t?/metadata/1.metadata.json",
    ] {
        let found = of(&[key]);
        for globs in [found.exclude, vec![proposed_glob(key)]] {
            assert!(
                Exclude::parse(&globs).unwrap().matches(key),
                "{key}: {globs:?}"
            );
        }
    }
}

/// Names that a pattern cannot hold, or that can be no tenant's.
#[test]
fn odd_names_end_in_a_layout_that_works() {
    for keys in [
        ["a{b/x/1.parquet", "a{b/y/1.parquet"],
        ["a*/x/1.parquet", "a*/y/1.parquet"],
        ["a%2Fb/1.parquet", "c#/1.parquet"],
        ["*/a/1.parquet", "*/a/2.parquet"],
    ] {
        let found = of(&keys);
        assert_eq!(found.layout.as_str(), "**", "{keys:?}: {found:?}");
    }
    let found = of(&["a/b#/1.parquet", "a/c#/1.parquet"]);
    assert_eq!(
        (found.layout.as_str(), found.why.as_str()),
        ("{tenant}/**", "all of `a` is one tenant")
    );
    let found = of(&["acme/1.parquet", "globex/1.parquet", "c#/1.parquet"]);
    assert_eq!(found.layout, Layout::default());
}

#[test]
fn a_few_strays_do_not_decide_and_are_told() {
    let keys = [
        "topics/a/1.parquet",
        "topics/a/2.parquet",
        "topics/b/1.parquet",
        "topics/x.parquet",
    ];
    let found = of(&keys);
    assert_eq!(found.layout.as_str(), "topics/{tenant}/**");
    assert_eq!(
        (found.unmatched.files, &found.unmatched.names[..]),
        (1, &["topics/x.parquet".to_owned()][..])
    );
    let found = of(&["acme/1.parquet", "globex/1.parquet", "dt=1/1.parquet"]);
    assert!(
        found.questions[0].contains("`dt=1` lie beside folders"),
        "{found:?}"
    );
}

/// Stores that icepack has packed say their layout themselves.
#[test]
fn snapshots_say_whose_they_are() {
    let snapshot = |tenant: &str, folder: &str| {
        let tenant = Tenant::parse(tenant).unwrap();
        snapshot_key(
            &Place::Folder(folder.to_owned()),
            &tenant,
            Micros(0),
            Micros(1),
            FileId::NIL,
        )
    };
    for (layout, snapshots) in [
        (
            "{tenant}/**",
            &[("topics", "topics/a"), ("topics", "topics/b")][..],
        ),
        (
            "topics/{tenant}/**",
            &[("a", "topics/a"), ("b", "topics/b/dt=1")],
        ),
        (
            "*/tenant={tenant}/**",
            &[("a", "dt=1/tenant=a"), ("b", "dt=2/tenant=b")],
        ),
        (
            "{part0}/{part1}/**",
            &[("public.a", "public/a"), ("sales.b..c", "sales/b.c")],
        ),
        ("**", &[("default", "dt=1"), ("default", "dt=2")]),
    ] {
        let keys: Vec<String> = snapshots.iter().map(|(t, f)| snapshot(t, f)).collect();
        let found = of(&keys);
        assert_eq!(found.layout.as_str(), layout, "{keys:?}: {found:?}");
        assert!(found.why.contains("icepack has packed"), "{found:?}");
    }
}

/// A name with many dots in many folders of one name is not tried in every way.
#[test]
fn a_hostile_snapshot_takes_no_time() {
    let tenant = Tenant::parse(&["a"; 60].join(".")).unwrap();
    let key = snapshot_key(
        &Place::Folder(["a"; 60].join("/")),
        &tenant,
        Micros(0),
        Micros(1),
        FileId::NIL,
    );
    _ = of(&[key]);
}

#[test]
fn names_of_files_become_globs() {
    let files = |keys: &[&str], endings: &[&str]| {
        let listed: Vec<Listed> = keys.iter().map(|k| file(k)).collect();
        recognise(&listed, &endings.iter().map(|e| (*e).to_owned()).collect()).files
    };
    assert!(files(&["a/x.parquet"], &[]).is_empty());
    assert_eq!(
        files(&["a/x.parquet", "a/y.PARQUET", "a/z.parq"], &[]),
        ["*.PARQUET", "*.parq", "*.parquet"]
    );
    assert_eq!(files(&["a/000000_0"], &[""]), ["*"]);
    assert_eq!(
        files(&["a/x.parquet", "a/y.snappy", "a/z.json"], &["snappy"]),
        ["*.parquet", "*.snappy"]
    );
    let listed = [
        "a/000000_0",
        "a/000001_0",
        "a/x.json",
        "a/_tmp/y",
        "a/z.parquet",
    ]
    .map(file);
    let asked: Vec<(String, usize)> = doubtful(&listed, 1)
        .into_iter()
        .map(|(e, f)| (e, f.len()))
        .collect();
    assert_eq!(asked, [(String::new(), 1), ("json".to_owned(), 1)]);
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,6}",
        "20(2[0-9])",
        "dt=2026-0[1-9]-1[0-9]",
        "tenant_id=[a-z]{1,3}",
        "[a-z]{1,3}=[a-z]{1,3}",
        "[_.{}*%# a-z0-9=+-]{1,5}",
        "[0-9]{12}",
    ]
}

fn keys() -> impl Strategy<Value = Vec<String>> {
    let key =
        (proptest::collection::vec(name(), 0..5), "[a-z0-9]{1,4}").prop_map(|(folders, name)| {
            folders
                .into_iter()
                .chain([name + ".parquet"])
                .collect::<Vec<_>>()
                .join("/")
        });
    proptest::collection::vec(key, 1..20)
}

proptest! {
    /// Whatever the keys are: every data file is a tenant's, or is told, or its folder is refused by
    /// name; and most are a tenant's.
    #[test]
    fn every_data_file_is_placed_or_told(keys in keys(), seed in any::<u64>()) {
        let found = of(&keys);
        let files: Vec<Listed> = keys.iter().map(|k| file(k)).collect();
        let data = data(&files, &BTreeSet::new());
        let whose = |f: &&Listed| found.layout.tenant_of(&f.key);
        let placed = data.iter().filter(|f| matches!(whose(f), Ok(Some(_)))).count();
        let refused = data.iter().filter(|f| whose(f).is_err()).count();
        prop_assert_eq!(placed + refused + found.unmatched.files as usize, data.len(), "{:?}", found);
        prop_assert!(placed * 2 > data.len() || data.is_empty(), "{:?}", found);
        prop_assert!(!found.why.is_empty());
        for other in &found.others {
            prop_assert!(other.layout != found.layout && !other.when.is_empty(), "{:?}", found);
        }
        // The order of the listing says nothing.
        let mut turned = keys.clone();
        let by = (seed % keys.len() as u64) as usize;
        turned.rotate_left(by);
        prop_assert_eq!(of(&turned).layout, found.layout);
    }

    /// Where all is regular, the tenants are those that were meant.
    #[test]
    fn regular_stores_are_understood(
        head in proptest::collection::vec("[a-h]{2,5}", 0..3),
        tenants in proptest::collection::btree_set("[j-z]{2,5}", 2..6),
        key in proptest::option::of("tenant_id|customer|org_id|account"),
        below in prop_oneof![Just(vec!["2026", "01"]), Just(vec!["dt=2026-01-01"]), Just(vec![])],
    ) {
        let folder = |t: &String| key.as_ref().map_or_else(|| t.clone(), |k| format!("{k}={t}"));
        let keys: Vec<String> = tenants.iter().flat_map(|t| {
            let folders: Vec<String> = head.iter().cloned().chain([folder(t)]).chain(below.iter().map(|b| (*b).to_owned())).collect();
            (0..2).map(move |n| format!("{}/{n}.parquet", folders.join("/")))
        }).collect();
        let found = of(&keys);
        let whose: BTreeSet<String> = keys.iter().map(|k| found.layout.tenant_of(k).unwrap().unwrap().to_string()).collect();
        prop_assert_eq!(whose, tenants, "{:?}", found);
        prop_assert_eq!(found.unmatched.files, 0);
    }
}
