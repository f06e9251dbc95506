//! Names that are paths, or look like ours.

use std::path::Path;

use icepack_core::model::names::FileId;

use super::*;

fn run(store: &Path, code: i32) -> Value {
    let ran = pass(store);
    assert_eq!(ran.code, Some(code), "{}", ran.stderr);
    ran.json
}

fn tenant<'a>(json: &'a Value, name: &str) -> &'a Value {
    json["tenants"]
        .as_array()
        .unwrap()
        .iter()
        .find(|t| t["tenant"] == name)
        .unwrap_or(&Value::Null)
}

#[test]
fn odd_names_are_tenants_or_left_alone_and_none_reaches_another() {
    let dir = TempDir::new().unwrap();
    let long = "l".repeat(201);
    let fine = [
        "a b",
        "Ünï-日本",
        "a=1,b=2",
        "~",
        "-rf",
        "a.b..c",
        "con",
        "x'; DROP TABLE--",
    ];
    let left = [
        "..%2f",
        "%2e%2e",
        ".hidden",
        "_icepack2",
        "__x",
        "a#b",
        "a?b",
        "a*b",
        "[a]",
        "{a}",
        "a\\b",
        "a%20b",
        long.as_str(),
    ];
    for name in fine.iter().chain(&left) {
        neighbours(dir.path(), name);
    }
    let json = run(dir.path(), 3);
    for name in fine {
        assert_eq!(tenant(&json, name)["files_compacted"], 3, "{name}: {json}");
    }
    for name in left {
        for i in 0..3 {
            assert!(
                dir.path()
                    .join(name)
                    .join(format!("good-{i}.parquet"))
                    .exists(),
                "`{name}` was touched"
            );
        }
        assert_eq!(
            tenant(&json, name)["files_compacted"].as_u64().unwrap_or(0),
            0,
            "{name}"
        );
    }
    // The folder of state has none for names that are no tenants, and nothing came to be outside.
    let state: Vec<String> = std::fs::read_dir(dir.path().join("_icepack"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        left.iter().all(|name| !state.contains(&(*name).to_owned())),
        "{state:?}"
    );
}

#[test]
fn odd_keys_are_files_like_others() {
    let dir = TempDir::new().unwrap();
    let tenant = dir.path().join("acme");
    let events = series(
        0,
        60,
        Utc::now() - TimeDelta::hours(1),
        TimeDelta::seconds(10),
    );
    let long = "k".repeat(240);
    let odd = [
        "a b.parquet",
        "ü/日本.parquet",
        "x../y.parquet",
        "a-1/b,2/c=3.parquet",
        "%2e%2e/%2f.parquet",
        "#?&.parquet",
        "snapshot.parquet",
    ];
    let names: Vec<String> = odd
        .iter()
        .map(|s| (*s).to_owned())
        .chain([format!("{long}.parquet")])
        .collect();
    for (name, part) in names.iter().zip(events.chunks(8)) {
        let path = tenant.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, parquet(&batch(part))).unwrap();
    }
    let json = run(dir.path(), 0);
    assert_eq!(json["totals"]["ledger"]["rows_kept"], 60, "{json}");
    assert_eq!(json["totals"]["files_compacted"], 8, "{json}");
    for name in &names {
        assert!(!tenant.join(name).exists(), "`{name}` is still there");
    }
    run(dir.path(), 0);
}

/// Somebody writes a file under a name that only we give: it is not live, not an input, and goes
/// the way of all orphans.
#[test]
fn a_file_with_the_name_of_a_snapshot_is_an_orphan() {
    let dir = TempDir::new().unwrap();
    neighbours(dir.path(), "acme");
    run(dir.path(), 0);
    let fake = |at| {
        let id = FileId::floor_at(at);
        let key = format!(
            "acme/2026-01/snapshot.acme.2026-01-01T000000Z-2026-01-02T000000Z.{id}.parquet"
        );
        std::fs::create_dir_all(dir.path().join("acme/2026-01")).unwrap();
        std::fs::write(
            dir.path().join(&key),
            corpus::honest(forge::Codec::Uncompressed).bytes(),
        )
        .unwrap();
        dir.path().join(key)
    };
    // One of last week, one of an hour ago, and one of a time to come.
    let (old, young, future) = (
        fake(Utc::now() - TimeDelta::days(7)),
        fake(Utc::now() - TimeDelta::hours(1)),
        fake(Utc::now() + TimeDelta::days(9_000)),
    );
    let out = job::expect(&[], 0, ["ls", "--store", dir.path().to_str().unwrap()]);
    assert!(
        !out.contains("T000000Z") && out.lines().count() == 1,
        "{out}"
    );
    let json = run(dir.path(), 0);
    assert_eq!(json["totals"]["ledger"]["rows_in"], 0, "{json}");
    assert!(!old.exists(), "an orphan of last week is collected");
    assert!(
        young.exists() && future.exists(),
        "one that may be in flight is not"
    );
    run(dir.path(), 0);
    assert!(young.exists() && future.exists());
}
