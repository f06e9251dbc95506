//! The binary as its users meet it: commands, exit codes, one line for each mistake.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const BIN: &str = env!("CARGO_BIN_EXE_icepack");

/// `icepack` in an empty directory of its own, with none of this machine's settings.
fn command(dir: &Path, args: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(BIN);
    command.current_dir(dir).args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|n| n.starts_with("ICEPACK_")) {
            command.env_remove(name);
        }
    }
    command
}

fn icepack(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs it and demands success.
fn ok(dir: &Path, args: &[&str]) -> String {
    let output = icepack(dir, args);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{args:?}\n{}{}",
        stdout(&output),
        stderr(&output)
    );
    stdout(&output)
}

/// Runs it quietly and demands `code`, an empty stdout, and one line on stderr, which is returned.
fn complaint(dir: &Path, args: &[&str], code: i32) -> String {
    let output = icepack(dir, &[&["-q"], args].concat());
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{text}");
    assert_eq!(stdout(&output), "", "{args:?}");
    assert_eq!(text.lines().count(), 1, "{args:?}\n{text}");
    assert!(text.starts_with("icepack: "), "{args:?}\n{text}");
    text.trim_end().to_owned()
}

fn json(dir: &Path, args: &[&str]) -> Value {
    let text = ok(dir, &[args, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e}\n{text}"))
}

/// A store in `data` with 19 small files: acme 6, globex 4, initech 3, system 4, umbrella 2.
fn demo() -> TempDir {
    let dir = TempDir::new().unwrap();
    ok(
        dir.path(),
        &["demo", "--store", "data", "--files", "6", "--rows", "50"],
    );
    dir
}

/// Every file below `dir` with its size and time.
fn tree(dir: &Path) -> BTreeMap<String, (u64, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(Result::unwrap) {
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                todo.push(entry.path());
            }
            found.insert(
                entry.path().display().to_string(),
                (meta.len(), meta.modified().unwrap()),
            );
        }
    }
    found
}

fn sum(tenants: &Value, field: impl Fn(&Value) -> u64) -> u64 {
    tenants.as_array().unwrap().iter().map(field).sum()
}

#[test]
fn help_and_version_go_to_stdout() {
    let dir = TempDir::new().unwrap();
    assert!(ok(dir.path(), &["--version"]).starts_with("icepack "));
    let help = ok(dir.path(), &["--help"]);
    for word in [
        "run",
        "plan",
        "status",
        "ls",
        "verify",
        "doctor",
        "demo",
        "config",
        "Exit codes",
        "icepack demo --store ./data",
    ] {
        assert!(help.contains(word), "{word}\n{help}");
    }
    assert!(ok(dir.path(), &["run", "--help"]).contains("--dry-run"));
    let bare = icepack(dir.path(), &[]);
    assert_eq!((bare.status.code(), stdout(&bare).as_str()), (Some(2), ""));
    assert!(stderr(&bare).contains("Usage: icepack"));
}

#[test]
fn a_mistake_on_the_command_line_is_one_line_and_code_2() {
    let dir = TempDir::new().unwrap();
    let at = dir.path();
    assert!(complaint(at, &["status"], 2).contains("no store given: pass --store URL"));
    assert!(complaint(at, &["statsu"], 2).contains("unrecognized subcommand 'statsu'"));
    assert!(complaint(at, &["run", "--stratgy", "full"], 2).contains("'--strategy'"));
    assert!(
        complaint(at, &["run", "--strategy", "fast", "--store", "."], 2)
            .contains("use size, time or full")
    );
    assert!(
        complaint(at, &["run", "--memory-limit", "lots", "--store", "."], 2)
            .contains("--memory-limit: `lots` is not a size")
    );
    assert!(complaint(at, &["status", "--store", "ftp://x"], 2).contains("s3://bucket/prefix"));
    assert!(
        complaint(
            at,
            &["--tenant", "a", "status", "--tenant", "b", "--store", "."],
            2
        )
        .contains("--tenant")
    );
    assert!(complaint(at, &["status", "--store", ".", "--tenant", "..%2f"], 2).contains("`..%2f`"));
    assert!(
        complaint(at, &["status", "--store", ".", "--tenant", "no/such"], 2)
            .contains("cannot be a tenant's name")
    );
    assert!(
        complaint(at, &["config", "show", "--log-level", "loud"], 2)
            .contains("`loud` is not a log level")
    );
}

#[test]
fn a_mistake_in_the_configuration_is_one_line_and_code_2() {
    let dir = TempDir::new().unwrap();
    let at = dir.path();
    assert!(complaint(at, &["--config", "none.toml", "config", "show"], 2).contains("`none.toml`"));
    let with = |text: &str| {
        std::fs::write(at.join("icepack.toml"), text).unwrap();
        complaint(at, &["status"], 2)
    };
    assert_eq!(
        with("store = \"data\"\n[compaction]\ntarget_file_sise = \"1MiB\"\n"),
        "icepack: icepack.toml:3: unknown key `compaction.target_file_sise`: did you mean \
         `target_file_size`?"
    );
    assert!(with("store = \"data").contains("icepack.toml:1: this is not TOML"));
    assert!(with("[retention]\ndefault_ttl = \"0\"").contains("\"forever\""));
    std::fs::remove_file(at.join("icepack.toml")).unwrap();
    let typo = command(at, &["status"])
        .env("ICEPACK_STOER", "data")
        .output()
        .unwrap();
    assert_eq!(typo.status.code(), Some(2));
    assert!(
        stderr(&typo).contains("did you mean ICEPACK_STORE?"),
        "{}",
        stderr(&typo)
    );
}

#[test]
fn what_was_archived_comes_back_into_a_directory_without_the_store() {
    let dir = demo();
    let at = dir.path();
    let archived = json(at, &["run", "--store", "data", "--archive", "cold"])["totals"]["ledger"]
        ["rows_archived"]
        .as_u64()
        .unwrap();
    assert!(archived > 0);
    std::fs::remove_dir_all(at.join("data")).unwrap();

    let text = complaint(at, &["restore", "--archive", "cold", "--into", "back"], 2);
    assert!(
        text.contains("--tenant NAME") && text.contains("--tenant '*'"),
        "{text}"
    );
    let text = complaint(
        at,
        &[
            "restore",
            "--tenant",
            "*",
            "--archive",
            "cold",
            "--into",
            "cold/back",
        ],
        2,
    );
    assert!(text.contains("overlaps the archive"), "{text}");
    let text = complaint(at, &["restore", "--tenant", "*", "--into", "back"], 2);
    assert!(
        text.contains("no archive given") && text.contains("ICEPACK_ARCHIVE_URL"),
        "{text}"
    );

    let all = [
        "restore",
        "--tenant",
        "*",
        "--archive",
        "cold",
        "--into",
        "back",
    ];
    let plan = ok(at, &[&all[..], &["--dry-run"]].concat());
    assert!(
        plan.contains("would restore into tenant restored-system")
            && plan.contains("nothing was written"),
        "{plan}"
    );
    assert!(!at.join("back").exists());
    let report = json(at, &all);
    let tenants = report["tenants"].as_array().unwrap();
    assert_eq!(
        tenants
            .iter()
            .map(|t| t["rows"].as_u64().unwrap())
            .sum::<u64>(),
        archived,
        "{report}"
    );
    let text = ok(at, &all);
    assert!(
        text.contains("were restored into tenant restored-system") && text.contains("--again"),
        "{text}"
    );
    // Who only asks is told the same.
    let text = ok(at, &[&all[..], &["--dry-run"]].concat());
    assert!(
        text.contains("were restored into tenant restored-system") && !text.contains("would"),
        "{text}"
    );
    let live = json(at, &["ls", "--store", "back"]);
    assert_eq!(live["tenants"][0]["tenant"], "restored-system");
    let text = ok(
        at,
        &[
            "restore",
            "--tenant",
            "*",
            "--archive",
            "cold",
            "--into",
            "back",
            "--from",
            "2030-01-01",
        ],
    );
    assert!(text.starts_with("nothing is archived in"), "{text}");
}

#[test]
fn an_archive_in_the_store_is_refused_before_anything_is_touched() {
    let dir = demo();
    let before = tree(dir.path());
    for archive in ["data", "data/cold", ".", "data/../data"] {
        let text = complaint(
            dir.path(),
            &["run", "--store", "data", "--archive", archive],
            2,
        );
        assert!(
            text.contains("overlaps the store")
                && text.contains("flag --archive")
                && text.contains("flag --store"),
            "{text}"
        );
    }
    assert_eq!(tree(dir.path()), before);
}

#[test]
fn the_brake_refuses_with_code_5_and_touches_nothing() {
    let dir = demo();
    let at = dir.path();
    std::fs::write(
        at.join("icepack.toml"),
        "store = \"data\"\n[archive]\nurl = \"cold\"\n[retention]\nmax_expire_percent = 10\n",
    )
    .unwrap();
    let before = tree(&at.join("data/system"));
    let output = icepack(at, &["-q", "run"]);
    let (table, complaints) = (stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(5), "{table}{complaints}");
    assert!(
        table.contains("system: refused: this pass would expire about")
            && table.contains("`--max-expire-percent 100`"),
        "{table}"
    );
    assert!(
        complaints.contains("refused for safety, a person must look: system"),
        "{complaints}"
    );
    assert_eq!(tree(&at.join("data/system")), before);
    assert!(
        !at.join("data/_icepack/system").exists() && at.join("data/_icepack/acme").exists(),
        "the others went on"
    );
    assert!(complaint(at, &["run", "--max-expire-percent", "0"], 2).contains("from 1 to 100"));
    // The flag beats the file.
    let report = json(at, &["run", "--max-expire-percent", "100"]);
    assert!(
        report["totals"]["ledger"]["rows_archived"]
            .as_u64()
            .unwrap()
            > 0,
        "{report}"
    );
}

#[test]
fn a_directory_that_is_not_there_is_one_line_and_code_1() {
    let dir = TempDir::new().unwrap();
    for command in ["run", "plan", "status", "ls", "verify"] {
        let text = complaint(dir.path(), &[command, "--store", "nowhere"], 1);
        assert!(
            text.contains("nowhere") && text.contains("check --store"),
            "{text}"
        );
    }
    assert!(!dir.path().join("nowhere").exists());
    std::fs::write(dir.path().join("file"), "x").unwrap();
    assert!(
        complaint(dir.path(), &["status", "--store", "file"], 2).contains("is not a directory")
    );
}

#[test]
fn settings_show_their_origin() {
    let dir = TempDir::new().unwrap();
    std::fs::write(
        dir.path().join("other.toml"),
        "memory_limit = \"1GiB\"\n[retention.tenants]\nsystem = \"forever\"\n",
    )
    .unwrap();
    let output = command(
        dir.path(),
        &[
            "config",
            "show",
            "--json",
            "--config",
            "other.toml",
            "--store",
            "data",
        ],
    )
    .env("ICEPACK_INTERVAL", "2h")
    .output()
    .unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let origin = |name: &str| {
        document["settings"]
            .as_array()
            .unwrap()
            .iter()
            .find(|s| s["setting"] == name)
            .map(|s| s["source"].clone())
            .unwrap()
    };
    assert_eq!(
        (
            origin("memory_limit")["kind"].as_str(),
            origin("memory_limit")["line"].as_u64()
        ),
        (Some("file"), Some(1))
    );
    assert_eq!(origin("retention.tenants.system")["line"], 3);
    assert_eq!(origin("interval")["name"], "ICEPACK_INTERVAL");
    assert_eq!(origin("store")["name"], "--store");
    assert_eq!(origin("sweep.orphan_grace")["kind"], "default");
    let named = command(dir.path(), &["config", "show"])
        .env("ICEPACK_CONFIG", "other.toml")
        .output()
        .unwrap();
    assert!(stdout(&named).contains("other.toml:1"));
}

/// The file says where the tenants are, and a variable beats it.
#[test]
fn the_layout_is_a_setting() {
    let dir = TempDir::new().unwrap();
    let tenants = "acme=4x5,globex=4x5";
    ok(
        dir.path(),
        &["demo", "--store", "data/topics", "--tenants", tenants],
    );
    std::fs::write(
        dir.path().join("icepack.toml"),
        "store = \"data\"\nlayout = \"topics/{tenant}/**\"\n",
    )
    .unwrap();
    let names = |args: &[&str], layout: Option<&str>| -> Vec<String> {
        let mut command = command(dir.path(), args);
        command.envs(layout.map(|layout| ("ICEPACK_LAYOUT", layout)));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let tenants = found["tenants"].as_array().unwrap();
        tenants
            .iter()
            .map(|t| t["tenant"].as_str().unwrap().to_owned())
            .collect()
    };
    let status = ["status", "--json"];
    assert_eq!(names(&status, None), ["acme", "globex"]);
    assert_eq!(names(&status, Some("**")), ["default"]);
    assert_eq!(
        names(&status, Some("{a}/{b}/**")),
        ["topics.acme", "topics.globex"]
    );
    let run = ["run", "--json", "--strategy", "full"];
    assert_eq!(names(&run, None), ["acme", "globex"]);
    let proposed = ok(dir.path(), &["init", "--out", "-"]);
    assert!(
        proposed.contains("\nlayout = \"topics/{tenant}/**\"\n"),
        "{proposed}"
    );
    let shown = ok(dir.path(), &["config", "show"]);
    assert!(
        shown.contains("topics/{tenant}/**") && shown.contains("icepack.toml:2"),
        "{shown}"
    );
}

#[test]
fn demo_refuses_tenants_that_have_files() {
    let dir = demo();
    let before = tree(dir.path());
    let text = complaint(
        dir.path(),
        &["demo", "--store", "data", "--files", "6", "--rows", "50"],
        2,
    );
    assert!(
        text.contains("already has files") && text.contains("--force-add"),
        "{text}"
    );
    assert_eq!(tree(dir.path()), before);
    ok(
        dir.path(),
        &[
            "demo",
            "--store",
            "data",
            "--tenants",
            "acme=2x5",
            "--end",
            "2026-01-01",
            "--force-add",
        ],
    );
    let again = json(
        dir.path(),
        &[
            "demo",
            "--store",
            "more",
            "--tenants",
            "acme=2x5,globex=1x3",
        ],
    );
    assert_eq!(
        (
            again["totals"]["files"].as_u64(),
            again["totals"]["rows"].as_u64()
        ),
        (Some(3), Some(13))
    );
}

#[test]
fn a_whole_life() {
    let dir = demo();
    let at = dir.path();
    let both = ["--store", "data", "--archive", "cold"];
    let with = |args: &[&'static str]| [args, &both].concat();

    let plan = ok(at, &with(&["plan"]));
    assert!(
        plan.contains("acme: 6 raw files")
            && plan.contains("merge")
            && plan.contains("waiting for more: 2 of 3 needed"),
        "{plan}"
    );
    assert!(ok(at, &with(&["run", "--dry-run", "--explain"])).contains("umbrella/"));

    let written: u64 = 6 * 50 + 4 * 10 + 3 * 2 + 4 * 5;
    let report = json(at, &with(&["run"]));
    let totals = &report["totals"];
    assert_eq!(totals["ledger"]["rows_in"], written);
    let ledger = |name: &str| totals["ledger"][name].as_u64().unwrap();
    assert_eq!(
        ledger("rows_in"),
        ledger("rows_kept")
            + ledger("rows_archived")
            + ledger("rows_expired")
            + ledger("rows_deduplicated")
    );
    assert!(
        ledger("rows_archived") > 0 && ledger("rows_expired") == 0,
        "{totals}"
    );

    let live = json(at, &with(&["ls"]));
    let rows = sum(&live["tenants"], |t| {
        sum(&t["files"], |f| f["rows"].as_u64().unwrap_or(1))
    });
    assert_eq!(
        rows,
        written - ledger("rows_archived") + 2,
        "two raw files of umbrella, a row each, are still to be read"
    );
    let paths = ok(at, &with(&["ls"]));
    assert!(paths.lines().count() >= 5);
    assert!(
        paths
            .lines()
            .all(|p| Path::new(p).is_absolute() && Path::new(p).is_file()),
        "{paths}"
    );
    assert_eq!(
        ok(at, &with(&["ls", "--tenant", "umbr*"])).lines().count(),
        2
    );
    assert!(ok(at, &with(&["ls", "--tenant", "acme", "--to", "2001-01-01"])).is_empty());
    assert!(ok(at, &with(&["status", "--tenant", "zz*"])).starts_with("no tenant matches zz*"));
    assert!(
        complaint(at, &with(&["status", "--tenant", "acne"]), 2)
            .contains("there is no tenant `acne`")
    );

    let status = ok(at, &with(&["status"]));
    assert!(
        status.contains("archived")
            && status.contains("umbrella")
            && status.contains("last pass: 2"),
        "{status}"
    );
    assert!(ok(at, &with(&["verify", "--deep"])).contains("rows read back"));
    assert!(ok(at, &with(&["doctor"])).contains("fit for use"));

    let before = tree(&at.join("data/acme"));
    let again = ok(at, &with(&["run"]));
    assert!(
        again.contains("nothing to do for 5 tenants") && again.contains("requests: "),
        "{again}"
    );
    assert_eq!(tree(&at.join("data/acme")), before);
}

#[test]
fn json_has_the_documented_fields() {
    let dir = demo();
    std::fs::write(
        dir.path().join("icepack.toml"),
        "[retention]\ndrop = true\n",
    )
    .unwrap();
    let store = ["--store", "data"];
    let with = |args: &[&'static str]| [args, &store].concat();
    let has = |value: &Value, names: &[&str]| {
        names
            .iter()
            .for_each(|n| assert!(value.get(n).is_some(), "{n} is missing in {value}"))
    };

    let plan = json(dir.path(), &with(&["plan"]));
    has(&plan, &["schema_version", "plans", "prices", "totals"]);
    has(
        &plan["plans"][3]["expiry"],
        &["rows", "rows_expiring", "bytes_expiring", "percent"],
    );
    has(
        &plan["plans"][3]["estimate"]["cost"],
        &[
            "currency",
            "requests_once",
            "keeping_per_month",
            "archived_per_month",
            "saved_per_month",
        ],
    );
    has(
        &plan["plans"][0],
        &["tenant", "head_version", "cutoff", "groups", "skipped"],
    );
    assert_eq!(plan["totals"]["raw_files"], 19);

    let run = json(dir.path(), &with(&["run"]));
    has(
        &run,
        &[
            "schema_version",
            "run_id",
            "started_at",
            "duration_ms",
            "tenants",
            "totals",
            "requests",
        ],
    );
    let entry = [
        "tenant",
        "status",
        "error",
        "files_compacted",
        "bytes_before",
        "bytes_after",
        "events_compacted",
        "duration_ms",
        "ledger",
        "requests",
    ];
    for tenant in run["tenants"]
        .as_array()
        .unwrap()
        .iter()
        .chain([&run["totals"]])
    {
        has(tenant, &entry);
        has(
            &tenant["ledger"],
            &[
                "rows_in",
                "rows_kept",
                "rows_archived",
                "rows_expired",
                "rows_deduplicated",
            ],
        );
        has(
            &tenant["requests"],
            &["get", "put", "head", "list", "delete", "copy"],
        );
    }
    has(
        &json(dir.path(), &with(&["status"])),
        &["schema_version", "tenants", "last_run"],
    );
    has(
        &json(dir.path(), &with(&["verify"])),
        &["schema_version", "findings", "tenants", "snapshots"],
    );
    has(
        &json(dir.path(), &with(&["doctor"])),
        &["schema_version", "checks"],
    );
    has(
        &json(dir.path(), &with(&["ls"])),
        &["schema_version", "tenants"],
    );
}

#[test]
fn a_dry_run_writes_nothing() {
    let dir = demo();
    let before = tree(dir.path());
    for args in [
        &["plan"][..],
        &["run", "--dry-run"],
        &["plan", "--explain"],
        &["plan", "--json"],
        &["run", "--dry-run", "--strategy", "full"],
        &["status"],
        &["ls"],
        &["verify"],
    ] {
        ok(
            dir.path(),
            &[args, &["--store", "data", "--archive", "cold"]].concat(),
        );
        assert_eq!(tree(dir.path()), before, "{args:?}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let dir = TempDir::new().unwrap();
    // More paths than a pipe holds.
    let tenant = dir.path().join("data/acme");
    std::fs::create_dir_all(&tenant).unwrap();
    for n in 0..3_000 {
        std::fs::write(
            tenant.join(format!("a-file-with-quite-a-long-name-{n}.parquet")),
            "x",
        )
        .unwrap();
    }
    let mut child = command(dir.path(), &["ls", "--store", "data"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.ends_with(".parquet\n"));
    let mut complaints = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut complaints)
        .unwrap();
    assert_eq!(
        (child.wait().unwrap().code(), complaints.as_str()),
        (Some(0), "")
    );
}

#[test]
fn a_bad_file_is_quarantined_once_and_the_rest_goes_on() {
    let dir = demo();
    let at = dir.path();
    let bad = at.join("data/acme/notes.parquet");
    std::fs::write(&bad, "this is not a Parquet file, whatever its name says").unwrap();
    let output = icepack(at, &["-q", "run", "--store", "data"]);
    let (table, complaints) = (stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(3), "{table}{complaints}");
    assert!(
        table.contains("quarantined `acme/notes.parquet`"),
        "{table}"
    );
    let last = complaints.lines().last().unwrap();
    assert!(
        last.starts_with("icepack: 1 file quarantined and left in place: acme/notes.parquet"),
        "{complaints}"
    );
    assert!(bad.exists());

    assert!(ok(at, &["run", "--store", "data"]).contains("nothing to do"));
    // A job of cron that finds nothing to do sends no mail.
    let idle = icepack(at, &["-q", "run", "--store", "data", "--tenant", "acme"]);
    assert_eq!(
        (stdout(&idle), stderr(&idle)),
        (String::new(), String::new())
    );
    assert!(ok(at, &["status", "--store", "data"]).contains("\nquarantined: "));
    assert!(
        ok(
            at,
            &["plan", "--explain", "--store", "data", "--tenant", "acme"]
        )
        .contains("quarantined: ")
    );
}

#[test]
fn logs_are_on_stderr_and_can_be_json() {
    let dir = demo();
    let output = icepack(
        dir.path(),
        &["run", "--store", "data", "--log-format", "json"],
    );
    assert_eq!(output.status.code(), Some(0));
    let logs = stderr(&output);
    assert!(!logs.is_empty());
    for line in logs.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(
            event["level"].is_string() && event["timestamp"].is_string(),
            "{line}"
        );
    }
    let output = icepack(
        dir.path(),
        &["status", "--store", "nowhere", "--log-format", "json"],
    );
    assert_eq!(output.status.code(), Some(1));
    let event: Value = serde_json::from_str(stderr(&output).trim()).unwrap();
    assert_eq!(event["level"], "ERROR");
}

#[test]
fn colours_come_only_when_asked_for() {
    let dir = demo();
    let run = |extra: &[&str]| {
        let output = icepack(dir.path(), &[&["run", "--store", "data"], extra].concat());
        (
            stdout(&output).contains('\x1b'),
            stderr(&output).contains('\x1b'),
        )
    };
    assert_eq!(run(&[]), (false, false));
    ok(
        dir.path(),
        &["demo", "--store", "data", "--tenants", "fresh=4x5"],
    );
    assert_eq!(run(&["--color", "always"]), (true, true));
}

#[cfg(unix)]
#[test]
fn a_signal_stops_a_run_where_nothing_is_half_done() {
    let dir = TempDir::new().unwrap();
    ok(
        dir.path(),
        &[
            "demo", "--store", "data", "--files", "60", "--rows", "20000",
        ],
    );
    let mut child = command(dir.path(), &["run", "--store", "data"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut logs = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    logs.read_line(&mut first).unwrap();
    let kill = std::process::Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(kill.success());
    let mut rest = String::new();
    logs.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{first}{rest}");
    assert!(rest.contains("stopped by a signal"), "{first}{rest}");
    ok(dir.path(), &["run", "--store", "data"]);
    let live = json(dir.path(), &["ls", "--store", "data", "--tenant", "acme"]);
    assert_eq!(
        sum(&live["tenants"][0]["files"], |f| f["rows"]
            .as_u64()
            .unwrap()),
        60 * 20_000
    );
    ok(dir.path(), &["verify", "--deep", "--store", "data"]);
}
