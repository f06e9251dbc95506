//! The report in a real browser, and where it is written.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::job;

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
    icepack(
        at,
        0,
        &[
            "demo",
            "--store",
            "data",
            "--tenants",
            "acme=9x60,globex=4x30",
            "--seed",
            "2",
            "--force-add",
        ],
    );
    std::fs::write(at.join("data/globex/bad.parquet"), "no Parquet at all").unwrap();
    icepack(
        at,
        3,
        &["run", "--store", "data", "--archive", "cold", "--report"],
    );
    dir
}

#[test]
fn the_page_works_in_a_browser_and_asks_nobody_for_anything() {
    let Some((python, chromium)) = browser() else {
        return;
    };
    let dir = world();
    icepack(
        dir.path(),
        0,
        &[
            "report",
            "--store",
            "data",
            "--archive",
            "cold",
            "--out",
            "report.html",
        ],
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/report_in_browser.py");
    // Where somebody wants to look at what the browser saw.
    let shots = std::env::var_os("ICEPACK_TEST_SCREENSHOTS")
        .map_or_else(|| dir.path().join("shots"), PathBuf::from);
    let ran = Command::new(python)
        .arg(script)
        .arg(dir.path().join("report.html"))
        .args(["--chromium", &chromium, "--screenshots"])
        .arg(shots)
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
    let document: serde_json::Value =
        serde_json::from_str(&icepack(at, 0, &["report", "--store", "data", "--json"])).unwrap();
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
