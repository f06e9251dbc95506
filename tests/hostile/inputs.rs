//! What lies in a tenant's folder and is no input: it stays as it is, it is told, and the rest goes
//! on.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;

/// Every file below `dir` with its bytes, but for icepack's own state there.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry
                .path()
                .strip_prefix(dir)
                .unwrap()
                .to_string_lossy()
                .into_owned();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() && name != "_icepack" => folders.push(entry.path()),
                kind if kind.is_file() => {
                    drop(found.insert(name, std::fs::read(entry.path()).unwrap()))
                }
                _ => {}
            }
        }
    }
    found
}

fn write(dir: &Path, key: &str, bytes: &[u8]) {
    let path = dir.join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// A sound file of 20 rows that are in no other.
fn rows(from: usize) -> Vec<u8> {
    parquet(&batch(&series(
        from,
        20,
        Utc::now() - TimeDelta::hours(1),
        TimeDelta::seconds(10),
    )))
}

/// A pass with settings from the environment; its exit code and report.
fn run(store: &Path, code: i32, envs: &[(&'static str, &str)]) -> Value {
    let envs: Vec<_> = envs
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    job::json(
        &envs,
        code,
        [
            "run",
            "--json",
            "--strategy",
            "full",
            "--store",
            store.to_str().unwrap(),
        ],
    )
}

fn tenant<'a>(json: &'a Value, name: &str) -> &'a Value {
    json["tenants"]
        .as_array()
        .unwrap()
        .iter()
        .find(|t| t["tenant"] == name)
        .unwrap_or(&Value::Null)
}

/// What is live, below the store.
fn live(store: &Path) -> Vec<String> {
    let store = store.to_str().unwrap();
    let out = job::expect(&[], 0, ["ls", "--store", store]);
    out.lines()
        .map(|l| {
            l.strip_prefix(store)
                .unwrap()
                .trim_start_matches('/')
                .to_owned()
        })
        .collect()
}

/// Rows of the pass, by the ledger of a tenant: taken in and kept.
fn ledger(json: &Value, name: &str) -> (u64, u64) {
    let ledger = &tenant(json, name)["ledger"];
    (
        ledger["rows_in"].as_u64().unwrap(),
        ledger["rows_kept"].as_u64().unwrap(),
    )
}

/// A pass over acme, which has a link `at` to `target`: what is behind it stays, and is nobody's
/// input.
#[cfg(unix)]
fn a_link(dir: &Path, at: &str, target: &Path) {
    std::os::unix::fs::symlink(target, dir.join(at)).unwrap();
    let json = run(dir, 0, &[]);
    assert_eq!(ledger(&json, "acme"), (60, 60), "{json}");
    let told = &tenant(&json, "acme")["left_alone"]["ignored"]["link"];
    assert_eq!(
        (&told["files"], &told["names"][0]),
        (&1.into(), &at.into()),
        "{json}"
    );
    assert!(dir.join(at).symlink_metadata().unwrap().is_symlink());
    assert_eq!(
        live(dir).iter().filter(|k| k.starts_with("acme/")).count(),
        1,
        "{:?}",
        live(dir)
    );
    job::expect(
        &[],
        0,
        ["verify", "--deep", "--store", dir.to_str().unwrap()],
    );
    assert_eq!(tenant(&run(dir, 0, &[]), "acme")["status"], "idle");
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_outside_the_store_is_not_followed() {
    let (dir, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    neighbours(outside.path(), "precious");
    neighbours(dir.path(), "acme");
    let before = contents(outside.path());
    a_link(dir.path(), "acme/linked", &outside.path().join("precious"));
    assert_eq!(contents(outside.path()), before);
}

#[cfg(unix)]
#[test]
fn a_link_to_a_file_outside_the_store_is_not_followed() {
    let (dir, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    neighbours(outside.path(), "precious");
    neighbours(dir.path(), "acme");
    let before = contents(outside.path());
    a_link(
        dir.path(),
        "acme/file.parquet",
        &outside.path().join("precious/good-0.parquet"),
    );
    assert_eq!(contents(outside.path()), before);
}

#[cfg(unix)]
#[test]
fn a_link_to_another_tenant_reaches_none_of_its_snapshots() {
    let dir = TempDir::new().unwrap();
    neighbours(dir.path(), "globex");
    assert_eq!(ledger(&run(dir.path(), 0, &[]), "globex"), (60, 60));
    let before = contents(&dir.path().join("globex"));
    neighbours(dir.path(), "acme");
    a_link(dir.path(), "acme/other", &dir.path().join("globex"));
    assert_eq!(contents(&dir.path().join("globex")), before);
}

#[cfg(unix)]
#[test]
fn a_link_to_the_tenant_itself_is_no_loop() {
    let dir = TempDir::new().unwrap();
    neighbours(dir.path(), "acme");
    a_link(dir.path(), "acme/loop", &dir.path().join("acme"));
}

#[cfg(unix)]
#[test]
fn a_link_in_the_place_of_a_tenant_is_told_and_left_alone() {
    let (dir, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    neighbours(outside.path(), "precious");
    neighbours(dir.path(), "acme");
    std::os::unix::fs::symlink(outside.path().join("precious"), dir.path().join("initech"))
        .unwrap();
    let before = contents(outside.path());
    let json = run(dir.path(), 3, &[]);
    assert_eq!(
        (
            ledger(&json, "acme"),
            tenant(&json, "initech")["status"].as_str()
        ),
        ((60, 60), Some("failed")),
        "{json}"
    );
    assert!(
        tenant(&json, "initech")["error"]
            .as_str()
            .unwrap()
            .starts_with("`initech` is a link"),
        "{json}"
    );
    assert_eq!(contents(outside.path()), before);
}

/// What was compacted through a link by an earlier version: nothing behind the link is deleted any
/// more, and no row is live twice.
#[cfg(unix)]
#[test]
fn a_folder_that_became_a_link_after_its_files_were_retired_keeps_them() {
    for within in ["folder", "tenant"] {
        became_a_link(within);
    }
}

fn became_a_link(within: &str) {
    let within = ("ICEPACK_COMPACTION_WITHIN", within);
    let (dir, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for i in 0..3 {
        write(dir.path(), &format!("acme/in/{i}.parquet"), &rows(i * 20));
    }
    assert_eq!(
        ledger(
            &run(
                dir.path(),
                0,
                &[("ICEPACK_SWEEP_DELETE_DELAY", "1h"), within]
            ),
            "acme"
        ),
        (60, 60)
    );
    let moved = outside.path().join("in");
    assert!(
        std::process::Command::new("mv")
            .arg(dir.path().join("acme/in"))
            .arg(&moved)
            .status()
            .unwrap()
            .success()
    );
    std::os::unix::fs::symlink(&moved, dir.path().join("acme/in")).unwrap();
    let before = contents(outside.path());
    // Where the snapshot lies behind the link too, head names what nobody may look at.
    let code = if within.1 == "folder" { 1 } else { 0 };
    for _ in 0..2 {
        let json = run(dir.path(), code, &[within]);
        assert_eq!(
            (
                &tenant(&json, "acme")["files_deleted"],
                ledger(&json, "acme")
            ),
            (&0.into(), (0, 0)),
            "{json}"
        );
    }
    assert_eq!(contents(outside.path()), before);
    if code == 0 {
        assert_eq!(live(dir.path()).len(), 1);
    }
}

#[test]
fn what_jobs_have_not_committed_is_no_input() {
    let dir = TempDir::new().unwrap();
    neighbours(dir.path(), "acme");
    let hidden = [
        "acme/_temporary/0/_temporary/attempt_0/part-0.parquet",
        "acme/_temporary/0/task_1/country=de/part-1.parquet",
        "acme/.staging-77/part-0.parquet",
        "acme/_x.parquet",
        "acme/.y.parquet",
        "acme/2026/_common_metadata",
    ];
    for (i, key) in hidden.iter().enumerate() {
        write(dir.path(), key, &rows(100 + i * 20));
    }
    let before = contents(dir.path());
    let json = run(dir.path(), 0, &[]);
    assert_eq!(ledger(&json, "acme"), (60, 60), "{json}");
    assert_eq!(
        tenant(&json, "acme")["left_alone"]["ignored"]["hidden"]["files"],
        6,
        "{json}"
    );
    let after = contents(dir.path());
    assert!(hidden.iter().all(|key| after.get(*key) == before.get(*key)));
    let live = live(dir.path());
    assert!(
        live.len() == 1 && live[0].contains("snapshot.acme."),
        "{live:?}"
    );
}

/// An empty file, other suffixes, files in the root: left alone, told, and no reason to stop.
#[test]
fn what_is_not_called_parquet_or_is_empty_is_told() {
    let dir = TempDir::new().unwrap();
    neighbours(dir.path(), "acme");
    let left = [
        "acme/X.PARQUET",
        "acme/y.parq",
        "acme/part-00000",
        "root.parquet",
        "other.PARQUET",
    ];
    left.iter()
        .for_each(|key| write(dir.path(), key, &rows(100)));
    write(dir.path(), "acme/empty.parquet", b"");
    let store = dir.path().to_str().unwrap();
    let plan = job::expect(&[], 0, ["plan", "--store", store]);
    let told = "  no input: 1 empty, 2 not named as `files` says, but likely Parquet \
                (`acme/X.PARQUET`, `acme/y.parq`), 1 not named as `files` says \
                (`acme/part-00000`)";
    let root = "of no tenant, and not taken: 1 not named as `files` \
                says, but likely Parquet (`other.PARQUET`), 1 in no tenant's folder \
                (`root.parquet`)";
    assert!(plan.contains(told) && plan.contains(root), "{plan}");
    let init = job::expect(&[], 0, ["init", "--out", "-", "--store", store]);
    assert!(init.contains("\nfiles = [\"*\"]\n"), "{init}");
    let files = [("ICEPACK_FILES", "*.parquet".to_owned())];
    let init = job::expect(&files, 0, ["init", "--out", "-", "--store", store]);
    assert!(
        init.contains("# Left alone in tenant `acme`: 1 empty, 2 not named as `files` says")
            && init.contains("# Left alone in no tenant: 1 not named"),
        "{init}"
    );
    assert_eq!(ledger(&run(dir.path(), 0, &[]), "acme"), (60, 60));
    let after = contents(dir.path());
    assert!(
        left.iter()
            .chain(&["acme/empty.parquet"])
            .all(|key| after.contains_key(*key)),
        "{:?}",
        after.keys()
    );
    let status = job::expect(&[], 0, ["status", "--store", store]);
    assert!(
        status.contains("no input: 1 empty, 2 not named as `files` says, but likely Parquet"),
        "{status}"
    );
}

#[cfg(unix)]
#[test]
fn a_file_name_that_is_no_key_stops_nobody() {
    use std::os::unix::ffi::OsStrExt;
    let dir = TempDir::new().unwrap();
    neighbours(dir.path(), "acme");
    neighbours(dir.path(), "globex");
    for name in [&b"caf\xe9.parquet"[..], b"line\nbreak.parquet"] {
        std::fs::write(
            dir.path()
                .join("acme")
                .join(std::ffi::OsStr::from_bytes(name)),
            rows(100),
        )
        .unwrap();
    }
    let json = run(dir.path(), 0, &[]);
    assert_eq!(
        (ledger(&json, "acme"), ledger(&json, "globex")),
        ((60, 60), (60, 60)),
        "{json}"
    );
    let told = &tenant(&json, "acme")["left_alone"]["ignored"]["not_plain"];
    assert_eq!(
        (&told["files"], &told["names"]),
        (
            &2.into(),
            &serde_json::json!(["acme/caf\u{fffd}.parquet", "acme/line\nbreak.parquet"])
        ),
        "{json}"
    );
    assert_eq!(
        (
            std::fs::read_dir(dir.path().join("acme"))
                .unwrap()
                .filter(|e| !e
                    .as_ref()
                    .unwrap()
                    .file_name()
                    .as_bytes()
                    .starts_with(b"snapshot."))
                .count(),
            live(dir.path()).len()
        ),
        (2, 2)
    );
}

const ID: &str = "01J8Z0000000000000000000ZZ";
const SPAN: &str = "2026-04-27T134507Z-2026-04-27T134508Z";

/// What somebody else's system keeps in a folder of a tenant, and what the refusal says of it.
fn foreign_state() -> Vec<(String, &'static str)> {
    [
        ("_delta_log/00000000000000000000.json", "a Delta table"),
        ("t/_delta_log/00000000000000000000.json", "a Delta table"),
        ("t/metadata/v1.metadata.json", "an Iceberg table"),
        ("t/.hoodie/hoodie.properties", "a Hudi table"),
        ("_spark_metadata/0", "a Spark streaming sink"),
        ("_metadata", "a file `_metadata`"),
        (
            "part-00000-e2eae441-7224-4488-bd64-f56f0c97d1c2_00003.c000.parquet",
            "a table in buckets",
        ),
        (
            "_icepack/globex/manifest/00000000000000000001.json",
            "another icepack store",
        ),
        ("x.receipt.json", "a receipt of an icepack archive"),
        (
            "country=de/part-0.parquet",
            "a partition folder, whose values are in its name and in no file",
        ),
    ]
    .into_iter()
    .map(|(key, what)| (key.to_owned(), what))
    .chain([
        (
            format!("2026-04/snapshot.globex.{SPAN}.{ID}.parquet"),
            "a snapshot of another tenant",
        ),
        (
            format!("2026-04/archive.acme.{SPAN}.{ID}.parquet"),
            "an object of an icepack archive",
        ),
    ])
    .collect()
}

#[test]
fn a_tenant_with_somebody_elses_state_is_refused_until_it_is_excluded() {
    for (key, what) in foreign_state() {
        let owned = |(name, value): (&'static str, &str)| [(name, value.to_owned())];
        // Values of folders are lost only where files of several are merged.
        let within = match what.starts_with("a partition") {
            true => ("ICEPACK_COMPACTION_WITHIN", "tenant"),
            false => ("ICEPACK_COMPACTION_WITHIN", "folder"),
        };
        let dir = TempDir::new().unwrap();
        neighbours(dir.path(), "acme");
        neighbours(dir.path(), "globex");
        // What the state is about: a table's data.
        write(dir.path(), "acme/lake/part-0.parquet", &rows(100));
        let state = format!("acme/lake/{key}");
        write(dir.path(), &state, &rows(200));
        let store = dir.path().to_str().unwrap();
        let before = contents(&dir.path().join("acme"));

        let plan: Value = job::json(&owned(within), 5, ["plan", "--json", "--store", store]);
        assert_eq!(plan["failures"][0]["tenant"], "acme", "{key}: {plan}");
        let json = run(dir.path(), 5, &[within]);
        let refused = tenant(&json, "acme");
        let error = refused["error"].as_str().unwrap();
        assert_eq!(refused["status"], "refused", "{key}: {json}");
        assert!(
            error.starts_with(&format!(
                "refused: tenant `acme` holds what is not icepack's: {what}"
            )) && error.contains(&format!("`{state}`")),
            "{error}"
        );
        assert_eq!(
            ledger(&json, "globex"),
            (60, 60),
            "{key}: the neighbour goes on"
        );
        assert_eq!(contents(&dir.path().join("acme")), before, "{key}");
        assert!(
            !dir.path().join("_icepack/acme").exists(),
            "{key}: something was committed"
        );
        let status = job::expect(&owned(within), 0, ["status", "--store", store]);
        assert!(
            status.contains("\nrefused: acme (")
                && status.contains("): tenant `acme` holds what is not icepack's"),
            "{key}: {status}"
        );
        let init: Value = job::json(&owned(within), 0, ["init", "--json", "--store", store]);
        assert!(
            init["open_questions"]
                .as_array()
                .unwrap()
                .iter()
                .any(|q| q.as_str().unwrap().contains(what)),
            "{key}: {init}"
        );

        let json = run(
            dir.path(),
            0,
            &[("ICEPACK_EXCLUDE", "acme/lake/**"), within],
        );
        assert_eq!(ledger(&json, "acme"), (60, 60), "{key}: {json}");
        assert_eq!(
            tenant(&json, "acme")["left_alone"]["ignored"]["excluded"]["files"],
            2,
            "{key}: {json}"
        );
        let after = contents(&dir.path().join("acme"));
        let lake = |files: &BTreeMap<String, Vec<u8>>| {
            files
                .iter()
                .filter(|(k, _)| k.starts_with("lake/"))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!((lake(&after), after.len()), (lake(&before), 3), "{key}");
    }
}

/// A tenant that had been compacted before a table came into its folder: what is live stays, and
/// nothing is expired or swept.
#[test]
fn state_that_comes_later_stops_the_tenant_as_it_is() {
    let dir = TempDir::new().unwrap();
    neighbours(dir.path(), "acme");
    run(dir.path(), 0, &[("ICEPACK_SWEEP_DELETE_DELAY", "1h")]);
    write(
        dir.path(),
        "acme/t/_delta_log/00000000000000000000.json",
        b"{}",
    );
    let before = contents(dir.path());
    let head = contents(&dir.path().join("_icepack/acme"));
    let json = run(
        dir.path(),
        5,
        &[
            ("ICEPACK_RETENTION_DEFAULT_TTL", "1m"),
            ("ICEPACK_RETENTION_ALLOW_SHORT_TTL", "true"),
        ],
    );
    assert_eq!(tenant(&json, "acme")["status"], "refused", "{json}");
    assert_eq!(
        (
            contents(dir.path()),
            contents(&dir.path().join("_icepack/acme"))
        ),
        (before, head)
    );
    // The rows of a table are what its log says: no list of files is right.
    let out = job::run(&[], ["ls", "--store", dir.path().to_str().unwrap()]);
    assert_eq!(
        (out.status.code(), job::text(&out.stdout).as_str()),
        (Some(5), ""),
        "{}",
        job::text(&out.stderr)
    );
}

/// Readers of partition folders go by the paths: they are told as ever, and stay as they are.
#[test]
fn files_of_partitions_are_live_where_they_are() {
    let dir = TempDir::new().unwrap();
    for (i, country) in ["de", "fr", "it"].iter().enumerate() {
        write(
            dir.path(),
            &format!("acme/country={country}/part-0.parquet"),
            &rows(i * 20),
        );
    }
    let before = contents(dir.path());
    let together = [("ICEPACK_COMPACTION_WITHIN", "tenant")];
    assert_eq!(
        tenant(&run(dir.path(), 5, &together), "acme")["status"],
        "refused"
    );
    assert_eq!(contents(dir.path()), before);
    let files = [
        "acme/country=de/part-0.parquet",
        "acme/country=fr/part-0.parquet",
        "acme/country=it/part-0.parquet",
    ];
    assert_eq!(live(dir.path()), files);
}

/// A folder's rows stay in the folder; another's are another's.
#[test]
fn what_is_made_of_a_folder_lies_in_it() {
    let dir = TempDir::new().unwrap();
    for (i, country) in ["de", "fr"].iter().enumerate() {
        for n in 0..3 {
            write(
                dir.path(),
                &format!("acme/country={country}/part-{n}.parquet"),
                &rows(i * 60 + n * 20),
            );
        }
    }
    let json = run(dir.path(), 0, &[]);
    assert_eq!(ledger(&json, "acme"), (120, 120), "{json}");
    let live = live(dir.path());
    let folders: Vec<&str> = live.iter().map(|k| &k[..k.rfind('/').unwrap()]).collect();
    assert_eq!(folders, ["acme/country=de", "acme/country=fr"]);
    assert!(
        live.iter().all(|k| k.contains("/snapshot.acme.")),
        "{live:?}"
    );
}

/// `--store` one level too high: another store and an archive look like tenants.
#[test]
fn a_store_and_an_archive_are_no_tenants() {
    let dir = TempDir::new().unwrap();
    let (hot, cold) = (dir.path().join("hot"), dir.path().join("cold"));
    neighbours(&hot, "acme");
    neighbours(&hot, "globex");
    let args = |store: &Path| {
        [
            "run",
            "--json",
            "--strategy",
            "full",
            "--store",
            store.to_str().unwrap(),
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let archive = ["--archive".to_owned(), cold.to_str().unwrap().to_owned()];
    let ttl = [
        ("ICEPACK_RETENTION_DEFAULT_TTL", "61m 30s"),
        ("ICEPACK_RETENTION_ALLOW_SHORT_TTL", "true"),
        ("ICEPACK_ARCHIVE_MIN_OBJECT_SIZE", "1"),
    ];
    job::json(
        &ttl.map(|(name, value)| (name, value.to_owned())),
        0,
        args(&hot).into_iter().chain(archive),
    );
    let before = (contents(&hot), contents(&cold));
    assert!(
        !before.0.is_empty() && !before.1.is_empty(),
        "{:?}",
        before.0.keys()
    );
    let out = job::run(&[], args(dir.path()));
    assert_eq!(out.status.code(), Some(5), "{}", job::text(&out.stderr));
    assert_eq!((contents(&hot), contents(&cold)), before);
}

/// What an earlier version took from a partition folder or a job's staging, and has yet to delete.
#[test]
fn what_is_retired_goes_whatever_it_is_called() {
    for folder in ["country=de", "_temporary"] {
        let dir = TempDir::new().unwrap();
        neighbours(dir.path(), "acme");
        run(dir.path(), 0, &[("ICEPACK_SWEEP_DELETE_DELAY", "1h")]);
        // The file keeps its tag, as a rename within a file system does.
        std::fs::create_dir(dir.path().join("acme").join(folder)).unwrap();
        let renamed = format!("acme/{folder}/good-0.parquet");
        std::fs::rename(
            dir.path().join("acme/good-0.parquet"),
            dir.path().join(&renamed),
        )
        .unwrap();
        let manifests = dir.path().join("_icepack/acme/manifest");
        let head = std::fs::read_dir(manifests)
            .unwrap()
            .map(|e| e.unwrap().path())
            .max()
            .unwrap();
        let text = std::fs::read_to_string(&head).unwrap();
        assert!(text.contains("\"acme/good-0.parquet\""), "{text}");
        std::fs::write(
            &head,
            text.replace("\"acme/good-0.parquet\"", &format!("{renamed:?}")),
        )
        .unwrap();
        let json = run(dir.path(), 0, &[]);
        assert_eq!(
            tenant(&json, "acme")["files_deleted"],
            3,
            "{folder}: {json}"
        );
        assert_eq!(
            (contents(dir.path()).len(), live(dir.path()).len()),
            (1, 1),
            "{folder}"
        );
        job::expect(
            &[],
            0,
            ["verify", "--deep", "--store", dir.path().to_str().unwrap()],
        );
    }
}

/// What is not looked at is not forgotten either: looked at again, it would be a new file.
#[test]
fn a_retired_file_that_is_excluded_waits() {
    let dir = TempDir::new().unwrap();
    neighbours(dir.path(), "acme");
    run(dir.path(), 0, &[("ICEPACK_SWEEP_DELETE_DELAY", "1h")]);
    for deleted in [2, 0] {
        let json = run(dir.path(), 0, &[("ICEPACK_EXCLUDE", "acme/good-0.parquet")]);
        assert_eq!(tenant(&json, "acme")["files_deleted"], deleted, "{json}");
        assert!(dir.path().join("acme/good-0.parquet").exists());
    }
    let json = run(dir.path(), 0, &[]);
    assert_eq!(
        (
            &tenant(&json, "acme")["files_deleted"],
            ledger(&json, "acme")
        ),
        (&1.into(), (0, 0)),
        "{json}"
    );
    assert_eq!(live(dir.path()).len(), 1);
}

/// On S3 a key may be anything: each of these once ended the listing of its tenant, or of the
/// store, or was taken for another object.
#[tokio::test]
async fn a_key_that_is_no_path_stops_nobody_on_s3() {
    use super::support::s3;
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let (client, envs) = (s3::client(&endpoint), s3::environment(&endpoint));
    let odd = [
        "acme//2026/x.parquet",
        "acme/./x.parquet",
        "acme/a/../x.parquet",
        "acme/tab\tx.parquet",
        "//globex/x.parquet",
        "/y.parquet",
        "acme/same.parquet/",
    ];
    let bucket = s3::bucket(&endpoint, "odd-keys").await;
    let put = |key: String, bytes: Vec<u8>| {
        let (client, bucket) = (client.clone(), bucket.clone());
        async move {
            client
                .put_object()
                .bucket(bucket)
                .key(format!("lake/{key}"))
                .body(bytes.into())
                .send()
                .await
                .unwrap()
        }
    };
    for (t, tenant) in ["acme", "beta"].iter().enumerate() {
        for i in 0..3 {
            put(
                format!(
                    "{tenant}/same{}.parquet",
                    if i == 0 { String::new() } else { i.to_string() }
                ),
                rows(t * 60 + i * 20),
            )
            .await;
        }
    }
    for key in odd {
        put(key.to_owned(), rows(500)).await;
    }
    for marker in [
        "",
        "acme/",
        "acme/2026-11/",
        "acme/events.parquet/",
        "empty/",
    ] {
        put(marker.to_owned(), Vec::new()).await;
    }
    let store = format!("s3://{bucket}/lake");
    let plan = job::expect(&envs, 0, ["plan", "--store", &store]);
    assert!(
        plan.contains(
            "of no tenant, and not taken: 2 with a name that is no plain \
             path (`//globex/x.parquet`, `/y.parquet`)"
        ),
        "{plan}"
    );
    let json = job::json(
        &envs,
        0,
        ["run", "--json", "--strategy", "full", "--store", &store],
    );
    assert_eq!(
        (ledger(&json, "acme"), ledger(&json, "beta")),
        ((60, 60), (60, 60)),
        "{json}"
    );
    let left = &tenant(&json, "acme")["left_alone"]["ignored"];
    assert_eq!(
        (&left["not_plain"]["files"], &left["empty"]["files"]),
        (&4.into(), &4.into()),
        "{json}"
    );
    let listed = client
        .list_objects_v2()
        .bucket(&bucket)
        .send()
        .await
        .unwrap();
    let keys: Vec<&str> = listed
        .contents()
        .iter()
        .filter_map(|o| o.key()?.strip_prefix("lake/"))
        .filter(|k| !k.starts_with("_icepack/"))
        .collect();
    assert!(odd.iter().all(|key| keys.contains(key)), "{keys:?}");
    assert_eq!(
        keys.len(),
        odd.len() + 5 + 2,
        "the originals are gone, two snapshots came: {keys:?}"
    );
    assert_eq!(
        job::expect(&envs, 0, ["ls", "--store", &store])
            .lines()
            .count(),
        2
    );
    job::expect(&envs, 0, ["verify", "--deep", "--store", &store]);
    let json = job::json(&envs, 0, ["run", "--json", "--store", &store]);
    assert_eq!(json["totals"]["status"], "idle", "{json}");
}

#[tokio::test]
async fn a_tenant_that_is_named_is_refused_for_a_table_in_the_root_too() {
    let store: crate::support::Store = std::sync::Arc::new(object_store::memory::InMemory::new());
    crate::support::seed(&store, "acme", 3, 10, Utc::now()).await;
    crate::support::put(&store, "_delta_log/00000000000000000000.json", "{}").await;
    let before = crate::support::tenant_keys(&store, "acme").await;
    let manager =
        icepack::CompactionManager::new(store.clone(), icepack::CompactionConfig::default());
    let error = manager.compact_tenant("acme").await.unwrap_err();
    assert!(
        error.exit_code() == 5
            && error
                .to_string()
                .contains("`_delta_log` in the root of the store"),
        "{error}"
    );
    assert_eq!(crate::support::tenant_keys(&store, "acme").await, before);
}

/// A Parquet file that nothing dates.
fn undated(n: i64) -> Vec<u8> {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    let column: ArrayRef = std::sync::Arc::new(Int64Array::from_iter_values(0..n));
    let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

/// Tables that lie side by side need not all have the timestamp column.
#[test]
fn a_folder_without_the_timestamp_column_is_set_aside_where_others_have_it() {
    let dir = TempDir::new().unwrap();
    for i in 0..3 {
        write(
            dir.path(),
            &format!("shop/customers/{i}.parquet"),
            &undated(9),
        );
        write(
            dir.path(),
            &format!("shop/orders/{i}.parquet"),
            &rows(i * 20),
        );
        write(dir.path(), &format!("none/a/{i}.parquet"), &undated(9));
    }
    // Where nothing can be dated, it is the setting that is wrong: nothing is set aside.
    let json = run(dir.path(), 3, &[]);
    let shop = tenant(&json, "shop");
    assert_eq!(shop["status"], "quarantined", "{json}");
    assert_eq!(shop["quarantined"].as_array().unwrap().len(), 3, "{json}");
    assert_eq!(ledger(&json, "shop"), (60, 60), "{json}");
    assert_eq!(tenant(&json, "none")["status"], "failed", "{json}");
    assert!(
        tenant(&json, "none")["quarantined"]
            .as_array()
            .unwrap()
            .is_empty(),
        "{json}"
    );
}
