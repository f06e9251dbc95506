//! The report in a real browser, and where it is written.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use chrono::{TimeDelta, Utc};
use tempfile::TempDir;

use crate::support::{job, parquet};

/// A Python with Playwright, and Chromium; none where `./test.sh` could not get them. A test never
/// passes because they are missing by accident.
fn browser() -> Option<(String, String)> {
    match std::env::var("ICEPACK_TEST_BROWSER") {
        Ok(given) if given != "unavailable" => given
            .split_once('|')
            .map(|(python, chromium)| (python.to_owned(), chromium.to_owned())),
        Err(_) if std::env::var("ICEPACK_SKIP_S3").as_deref() != Ok("1") => {
            panic!(
                "no Chromium: run ./test.sh, which gets one, or set \
                 ICEPACK_TEST_BROWSER=unavailable to leave these tests out"
            )
        }
        _ => {
            eprintln!("SKIPPED: no Chromium");
            None
        }
    }
}

fn icepack(dir: &Path, code: i32, args: &[&str]) -> String {
    let ran = job::icepack(&[])
        .current_dir(dir)
        .arg("-q")
        .args(args)
        .output()
        .unwrap();
    assert_eq!(
        ran.status.code(),
        Some(code),
        "{args:?}: {}{}",
        job::text(&ran.stdout),
        job::text(&ran.stderr)
    );
    job::text(&ran.stdout)
}

/// Adds raw files to the store, as `--tenants` and `--seed` of `demo` say.
fn add(at: &Path, tenants: &str, seed: &str) {
    let demo = ["demo", "--store", "data", "--force-add"];
    let what = ["--tenants", tenants, "--seed", seed];
    icepack(at, 0, &[&demo[..], &what].concat());
}

/// A store with history: several passes, tenants with names that would like to be markup, one in
/// quarantine.
fn world() -> TempDir {
    let dir = TempDir::new().unwrap();
    let at = dir.path();
    icepack(
        at,
        0,
        &["demo", "--store", "data", "--files", "12", "--rows", "40"],
    );
    for name in ["<script>alert(1)", "&\"'><b>x"] {
        let to = at.join("data").join(name);
        std::fs::create_dir_all(&to).unwrap();
        for file in std::fs::read_dir(at.join("data/initech")).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    icepack(at, 0, &["run", "--store", "data", "--archive", "cold"]);
    add(at, "acme=9x60,globex=4x30", "2");
    std::fs::write(at.join("data/globex/bad.parquet"), "no Parquet at all").unwrap();
    icepack(
        at,
        3,
        &["run", "--store", "data", "--archive", "cold", "--report"],
    );
    dir
}

/// A file of one column beside the time, of either of two types that nothing unites; or without the
/// time.
fn write_file(at: &Path, column: &str, values: ArrayRef, is_dated: bool) {
    let now = TimestampMicrosecondArray::from_iter_values(
        (0..values.len()).map(|_| Utc::now().timestamp_micros()),
    );
    let mut columns = vec![(column, values)];
    if is_dated {
        columns.push(("timestamp", Arc::new(now)));
    }
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
    std::fs::write(at, parquet(&batch)).unwrap();
}

/// Makes the world one that gives trouble: a tenant that fails in every pass, a folder of two
/// classes, rows that were restored, a file that waits.
fn trouble(at: &Path) {
    // Stores of tests are small: prices that show.
    let prices = "[prices.STANDARD]\nstorage = 23000.0\n";
    std::fs::write(at.join("icepack.toml"), prices).unwrap();
    for n in 0..3 {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let words: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let file = |name: &str| at.join("data").join(format!("{name}{n}.parquet"));
        write_file(
            &file("umbrella/web/a"),
            "amount",
            Arc::clone(&numbers),
            true,
        );
        write_file(&file("umbrella/web/b"), "amount", words, true);
        write_file(&file("hooli/"), "clicks", numbers, false);
    }
    let day = |ago: i64| {
        (Utc::now() - TimeDelta::days(ago))
            .format("%Y-%m-%d")
            .to_string()
    };
    let (from, to) = (day(61), day(40));
    icepack(
        at,
        0,
        &[
            "restore",
            "--store",
            "data",
            "--archive",
            "cold",
            "--tenant",
            "system",
            "--from",
            &from,
            "--to",
            &to,
        ],
    );
    for _ in 0..2 {
        icepack(at, 3, &["run", "--store", "data", "--archive", "cold"]);
    }
    add(at, "acme=1x50", "4");
}

fn write_report(at: &Path) -> PathBuf {
    let args = "report --store data --archive cold --out report.html";
    icepack(at, 0, &args.split(' ').collect::<Vec<_>>());
    at.join("report.html")
}

/// What the page must say, by the files alone.
fn figures(at: &Path) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/page_figures.py");
    let ran = job::python()
        .arg(script)
        .args([at.join("data"), at.join("cold")])
        .args(["--keep", "system=30", "--now"])
        .arg(Utc::now().timestamp().to_string())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", job::text(&ran.stderr));
    let to = at.join("figures.json");
    std::fs::write(&to, ran.stdout).unwrap();
    to
}

fn look(at: &Path, name: &str, more: &[&str]) {
    let Some((python, chromium)) = browser() else {
        return;
    };
    let report = write_report(at);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/report_in_browser.py");
    // Where somebody wants to look at what the browser saw.
    let shots = std::env::var_os("ICEPACK_TEST_SCREENSHOTS")
        .map_or_else(|| at.join("shots"), PathBuf::from)
        .join(name);
    let ran = Command::new(python)
        .arg(script)
        .arg(report)
        .args(["--chromium", &chromium, "--screenshots"])
        .arg(shots)
        .args(more)
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}{}",
        job::text(&ran.stdout),
        job::text(&ran.stderr)
    );
}

#[test]
fn the_page_works_in_a_browser_and_asks_nobody_for_anything() {
    if browser().is_none() {
        return;
    }
    let dir = world();
    trouble(dir.path());
    let figures = figures(dir.path());
    look(dir.path(), "few", &["--figures", figures.to_str().unwrap()]);
}

#[test]
fn the_page_of_very_many_tenants_fits_too() {
    if browser().is_none() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let at = dir.path();
    // Of the first there is something to merge.
    let files = |n| if n < 20 { 3 } else { 1 };
    let names: Vec<String> = (0..300)
        .map(|n| format!("customer-{n:03}={}x2", files(n)))
        .collect();
    icepack(
        at,
        0,
        &["demo", "--store", "data", "--tenants", &names.join(",")],
    );
    std::fs::write(
        at.join("icepack.toml"),
        "[retention]\ntenants = { \"customer-0*\" = \"45d\" }\n",
    )
    .unwrap();
    icepack(at, 0, &["run", "--store", "data", "--archive", "cold"]);
    look(at, "many", &[]);
}

#[test]
fn a_pass_puts_it_into_the_store_and_the_next_replaces_it() {
    let dir = world();
    let at = dir.path();
    let key = at.join("data/_icepack/report.html");
    let first = std::fs::read_to_string(&key).unwrap();
    assert!(
        first.starts_with("<!doctype html>")
            && first.contains("acme")
            && first.contains("&#60;script&#62;alert(1)"),
        "{first}"
    );
    // A tenant is not what was never one.
    assert!(!icepack(at, 0, &["status", "--store", "data", "--json"]).contains("report"));
    std::fs::write(at.join("icepack.toml"), "store = \"data\"\nreport = true\n").unwrap();
    icepack(
        at,
        0,
        &[
            "demo",
            "--store",
            "data",
            "--tenants",
            "hooli=4x10",
            "--seed",
            "3",
        ],
    );
    icepack(at, 0, &["run"]);
    assert!(std::fs::read_to_string(&key).unwrap().contains("hooli"));
    icepack(at, 0, &["report", "--publish"]);
    icepack(at, 0, &["verify", "--deep"]);
}

#[test]
fn a_file_that_is_no_report_is_not_overwritten() {
    let dir = world();
    let at = dir.path();
    std::fs::write(at.join("precious.html"), "<!doctype html>\nmine").unwrap();
    icepack(
        at,
        2,
        &["report", "--store", "data", "--out", "precious.html"],
    );
    assert_eq!(
        std::fs::read_to_string(at.join("precious.html")).unwrap(),
        "<!doctype html>\nmine"
    );
    for _ in 0..2 {
        icepack(
            at,
            0,
            &["report", "--store", "data", "--out", "report.html"],
        );
    }
    assert!(
        icepack(at, 0, &["report", "--store", "data", "--out", "-"])
            .starts_with("<!doctype html>\n<!-- icepack report -->\n")
    );
    icepack(at, 2, &["report", "--store", "data"]);
    let document: serde_json::Value =
        serde_json::from_str(&icepack(at, 0, &["--json", "report", "--store", "data"])).unwrap();
    assert_eq!(
        (
            document["runs"].as_array().unwrap().len(),
            document["tenants"].as_array().unwrap().len()
        ),
        (2, 7)
    );
    assert_eq!(
        document["runs"][0]["found"]["raw_files"],
        document["runs"][0]["sums"]["raw_sizes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_u64().unwrap())
            .sum::<u64>()
            + 2
    );
}
