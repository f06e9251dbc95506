//! Types that come back. `tests/python/leaf_types.py` writes the files with pyarrow and DuckDB, and
//! both say what is in them before and after.

use std::path::Path;

use super::*;

fn script(what: &str, store: &Path) -> String {
    python("leaf_types.py", what, store)
}

fn tell(store: &Path) -> serde_json::Map<String, Value> {
    serde_json::from_str(&script("tell", store)).unwrap()
}

/// The same values `times` as often, and INT96 as what it becomes.
fn expected(
    before: &serde_json::Map<String, Value>,
    times: u64,
    prefix: &str,
) -> serde_json::Map<String, Value> {
    let instant = Value::from(
        "Timestamp(isAdjustedToUTC=true, timeUnit=microseconds, is_from_converted_type=false, \
         force_set_converted_type=false)",
    );
    let mut wanted = serde_json::Map::new();
    for (tenant, told) in before {
        let mut told = told.clone();
        if tenant.starts_with("int96") {
            for name in ["timestamp", "x"] {
                let leaf = told["leaves"][0]
                    .as_array_mut()
                    .unwrap()
                    .iter_mut()
                    .find(|l| l[0] == name)
                    .unwrap();
                *leaf = serde_json::json!([name, "INT64", instant.clone(), "TIMESTAMP_MICROS", 0]);
            }
            told["types"][0][0][1] = "timestamp[us, tz=UTC]".into();
            let rows = std::mem::take(told["duckdb"].as_object_mut().unwrap());
            let zoned = |text: String| match text
                .replace("\"TIMESTAMP\"", "\"TIMESTAMP WITH TIME ZONE\"")
            {
                null if null.ends_with("null]") => null,
                text => text.replace("\"]", "+00\"]"),
            };
            told["duckdb"] = rows.into_iter().map(|(row, n)| (zoned(row), n)).collect();
        }
        for judge in ["pyarrow", "duckdb"] {
            told[judge]
                .as_object_mut()
                .unwrap()
                .values_mut()
                .for_each(|n| *n = (n.as_u64().unwrap() * times).into());
        }
        wanted.insert(format!("{prefix}{tenant}"), told);
    }
    wanted
}

/// Tenant by tenant, so that the first that differs is what is shown.
#[track_caller]
fn same(found: &serde_json::Map<String, Value>, wanted: &serde_json::Map<String, Value>) {
    for (tenant, wanted) in wanted {
        assert_eq!(found.get(tenant), Some(wanted), "{tenant}");
    }
    assert_eq!(found.len(), wanted.len());
}

fn files(dir: &Path) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_dir() {
            found.extend(files(&entry));
        } else {
            found.push(entry.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    found.sort();
    found
}

#[test]
fn every_type_comes_back_from_merges_the_archive_and_a_restore() {
    let dir = TempDir::new().unwrap();
    let [store, cold, back] = ["hot", "cold", "back"].map(|name| dir.path().join(name));
    for made in [&store, &cold, &back] {
        std::fs::create_dir(made).unwrap();
    }
    script("make", &store);
    let before = tell(&store);
    assert_eq!(before.len(), 66);
    let raw: Vec<std::path::PathBuf> = before
        .keys()
        .flat_map(|tenant| {
            ["f0", "f1", "f2"].map(|name| store.join(tenant).join(format!("{name}.parquet")))
        })
        .collect();
    let again = |path: &Path| {
        path.with_file_name(format!(
            "again-{}",
            path.file_name().unwrap().to_str().unwrap()
        ))
    };
    let copies: Vec<_> = raw
        .iter()
        .map(|path| (again(path), std::fs::read(path).unwrap()))
        .collect();

    let run = || {
        job::json(
            &[],
            0,
            [
                "run",
                "--json",
                "--strategy",
                "full",
                "--store",
                store.to_str().unwrap(),
            ],
        )
    };
    assert_eq!(run()["totals"]["files_deleted"], 3 * 66);
    same(&tell(&store), &expected(&before, 1, ""));

    // A snapshot is an input like any other.
    copies
        .iter()
        .for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    assert_eq!(run()["totals"]["files_deleted"], 4 * 66);
    same(&tell(&store), &expected(&before, 2, ""));

    let (store, cold, back) = (
        store.to_str().unwrap(),
        cold.to_str().unwrap(),
        back.to_str().unwrap(),
    );
    job::expect(&[], 0, ["verify", "--deep", "--store", store]);
    let envs = [("ICEPACK_RETENTION_DEFAULT_TTL", "1d".to_owned())];
    job::expect(
        &envs,
        0,
        [
            "run",
            "--strategy",
            "full",
            "--store",
            store,
            "--archive",
            cold,
        ],
    );
    assert!(
        before
            .keys()
            .all(|tenant| files(&Path::new(store).join(tenant)).is_empty()),
        "{:?}",
        files(Path::new(store))
    );
    job::expect(
        &[],
        0,
        [
            "restore",
            "--tenant",
            "*",
            "--store",
            store,
            "--archive",
            cold,
            "--into",
            back,
        ],
    );
    same(&tell(Path::new(back)), &expected(&before, 2, "restored-"));
}

#[test]
fn what_cannot_be_kept_is_left_alone_by_name() {
    let dir = TempDir::new().unwrap();
    script("odd", dir.path());
    let before = tell(dir.path());
    let ran = pass(dir.path());
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let alone = "the file is left alone";
    let case = format!(
        "column `userid` differs from `userId` only in case, and many readers take the two for \
         one: {alone}; rename the column"
    );
    let reasons = [
        (
            "int96-nanos",
            "f",
            format!(
                "column `x` holds times (INT96) with digits below a microsecond: icepack cannot \
                 keep it unchanged; {alone}"
            ),
        ),
        ("one-file", "f", case),
        (
            "spark",
            "f",
            format!(
                "its key `org.apache.spark.legacyINT96` says that its times are of an older \
                 calendar; {alone}"
            ),
        ),
    ];
    for (tenant, prefix, why) in reasons {
        let head = icepack_head(dir.path(), tenant);
        let found: Vec<(&str, &str)> = head["quarantined"]
            .as_array()
            .unwrap()
            .iter()
            .map(|q| (q["key"].as_str().unwrap(), q["reason"].as_str().unwrap()))
            .collect();
        let keys: Vec<String> = (0..3)
            .map(|i| format!("{tenant}/{prefix}{i}.parquet"))
            .collect();
        assert_eq!(
            found,
            keys.iter()
                .map(|k| (k.as_str(), why.as_str()))
                .collect::<Vec<_>>(),
            "{tenant}"
        );
    }
    let after = tell(dir.path());
    for tenant in ["int96-nanos", "one-file", "spark"] {
        assert_eq!(
            (&after[tenant], files(&dir.path().join(tenant)).len()),
            (&before[tenant], 3),
            "{tenant}"
        );
    }
    // Of the two columns there is one, of the first spelling.
    let column = |told: &Value| {
        told["types"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t[0][0].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (
            column(&after["two-files"]),
            files(&dir.path().join("two-files")).len()
        ),
        (vec!["userId".to_owned()], 1)
    );
    assert_eq!(
        after["two-files"]["pyarrow"],
        before["two-files"]["pyarrow"]
    );
}

#[test]
fn int96_far_in_the_future_does_not_expire() {
    let dir = TempDir::new().unwrap();
    script("expire", dir.path());
    let before = tell(dir.path());
    let envs = [("ICEPACK_RETENTION_DEFAULT_TTL", "30d".to_owned())];
    let ran = job::json(
        &envs,
        0,
        [
            "run",
            "--json",
            "--strategy",
            "full",
            "--store",
            dir.path().to_str().unwrap(),
        ],
    );
    assert_eq!(
        (
            &ran["totals"]["ledger"]["rows_in"],
            &ran["totals"]["ledger"]["rows_expired"]
        ),
        (&9.into(), &3.into())
    );
    let mut wanted = before["acme"]["pyarrow"].clone();
    // 2026-01-01 is past its time; 2604 and 9999 are not.
    assert_eq!(
        wanted
            .as_object_mut()
            .unwrap()
            .remove("[1, 1767225600000000]"),
        Some(3.into())
    );
    assert_eq!(tell(dir.path())["acme"]["pyarrow"], wanted);
}

/// The newest manifest of a tenant.
fn icepack_head(store: &Path, tenant: &str) -> Value {
    let dir = store.join("_icepack").join(tenant).join("manifest");
    let newest = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .max()
        .unwrap();
    serde_json::from_slice(&std::fs::read(newest).unwrap()).unwrap()
}
