//! `status` of a store in which something went wrong.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::job;

/// A store and an archive in the directory at hand.
pub fn settings() -> Vec<(&'static str, String)> {
    vec![
        ("ICEPACK_STORE", "data".to_owned()),
        ("ICEPACK_ARCHIVE_URL", "cold".to_owned()),
        ("ICEPACK_ARCHIVE_MIN_OBJECT_SIZE", "1".to_owned()),
    ]
}

/// Runs the binary on the store and the archive of `dir`.
pub fn icepack(dir: &Path, args: &[&str]) -> Output {
    let mut command = job::icepack(&settings());
    command.current_dir(dir).args(args).output().unwrap()
}

/// The same, and it must end with `code`; stdout.
#[track_caller]
pub fn expect(dir: &Path, code: i32, args: &[&str]) -> String {
    let ran = icepack(dir, args);
    let (out, err) = (job::text(&ran.stdout), job::text(&ran.stderr));
    assert_eq!(ran.status.code(), Some(code), "{out}{err}");
    out
}

fn json(dir: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&expect(dir, 0, args)).unwrap()
}

/// A file without a column that could date its rows.
fn undatable(path: &Path) {
    let column = Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef;
    let rows = RecordBatch::try_from_iter([("x", column)]).unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
}

/// The Parquet files below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut found: Vec<_> = entries
        .map(|e| e.unwrap().path())
        .flat_map(|p| if p.is_dir() { files(&p) } else { vec![p] })
        .filter(|p| p.extension().is_some_and(|e| e == "parquet"))
        .collect();
    found.sort();
    found
}

/// Tenant `odd` fails in every pass, a file of `acme` is damaged and another has the name of one
/// that was compacted, the rows of `restored-system` are held, and with `globex` all is well.
pub fn troubled() -> TempDir {
    let dir = TempDir::new().unwrap();
    let at = dir.path();
    let tenants = "acme=12x50,globex=12x50,system=12x50";
    expect(at, 0, &["-q", "demo", "--tenants", tenants]);
    (0..12).for_each(|n| undatable(&at.join(format!("data/odd/{n}.parquet"))));
    std::fs::write(at.join("data/acme/bad.parquet"), "no Parquet at all").unwrap();
    let first = files(&at.join("data/acme")).swap_remove(1);
    let other = std::fs::read(&files(&at.join("data/globex"))[0]).unwrap();
    expect(at, 3, &["-q", "run"]);
    std::fs::write(&first, other).unwrap();
    expect(at, 3, &["-q", "run", "--tenant", "acme"]);
    expect(at, 0, &["-q", "restore", "--tenant", "system"]);
    dir
}

#[test]
fn a_hold_a_quarantine_and_the_last_error_are_in_the_document() {
    let dir = troubled();
    let status = json(dir.path(), &["status", "--json"]);
    let tenant = |name: &str| {
        let all = status["tenants"].as_array().unwrap();
        all.iter().find(|t| t["tenant"] == name).unwrap()
    };
    let aside = tenant("acme")["aside"].as_array().unwrap();
    let kinds: Vec<_> = aside.iter().map(|f| f["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["quarantined", "set_aside"], "{status}");
    assert_eq!(aside[0]["key"], "acme/bad.parquet");
    for file in aside {
        let (reason, mend) = (file["reason"].as_str(), file["mend"].as_str());
        assert!(
            reason.is_some_and(|r| r.len() > 20)
                && mend.is_some_and(|m| m.contains("`icepack run --tenant acme`"))
                && file["since"].is_string()
                && file["size"].is_u64(),
            "{file}"
        );
    }
    let held = &tenant("restored-system")["holds"][0];
    assert!(held["until"].is_string() && held["done"] == true, "{held}");
    assert_eq!(held["of"], "system");
    assert!(tenant("globex").get("holds").is_none() && tenant("globex").get("aside").is_none());
    let errors = status["last_errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{status}");
    assert_eq!(
        (&errors[0]["tenant"], &errors[0]["status"]),
        (&"odd".into(), &"failed".into())
    );
    assert!(errors[0]["error"].as_str().unwrap().contains("timestamp"));
}

#[test]
fn an_error_is_no_longer_the_last_once_a_pass_did_better() {
    let dir = troubled();
    let at = dir.path();
    std::fs::remove_dir_all(at.join("data/odd")).unwrap();
    let demo = ["-q", "demo", "--force-add", "--tenants", "odd=12x50"];
    expect(at, 0, &demo);
    expect(at, 0, &["-q", "run", "--tenant", "globex"]);
    let errors = |status: Value| status["last_errors"].as_array().map(Vec::len);
    assert_eq!(errors(json(at, &["status", "--json"])), Some(1));
    let others = ["status", "--json", "--tenant", "acme"];
    assert_eq!(errors(json(at, &others)), None);
    icepack(at, &["-q", "run"]);
    assert_eq!(errors(json(at, &["status", "--json"])), None);
}

#[test]
fn what_needs_a_look_is_said_below_the_table_and_all_is_summed_up() {
    let dir = troubled();
    let text = expect(dir.path(), 0, &["status"]);
    let row = |name: &str| {
        let mut rows = text
            .lines()
            .filter(|l| l.split_whitespace().next() == Some(name));
        rows.next_back()
            .unwrap_or_else(|| panic!("{name}: {text}"))
            .to_owned()
    };
    assert!(
        row("odd").contains("failed") && row("total").contains("total of 5"),
        "{text}"
    );
    // 12 of odd, one that was restored, and nothing of what is set aside.
    assert!(row("total").contains(" 13 "), "{text}");
    assert!(
        text.lines().next().unwrap().contains("held until"),
        "{text}"
    );
    for line in [
        "\nfailed: odd (20",
        ": no file of tenant `odd` can be dated",
        "\nquarantined: acme/bad.parquet (since 20",
        "\nset aside: acme/",
        "\n  to do: mend or replace the file, or move it away, then `icepack run --tenant acme`",
        "\n  to do: give it another name",
        "\nheld: restored-system: rows from 20",
        "(restored from system)",
    ] {
        assert!(text.contains(line), "{line:?}: {text}");
    }
}

/// `n` tenants of one file each, `t00` and so on, of which `t07` has the most rows, and a damaged
/// one beside them.
fn many(n: usize) -> TempDir {
    let dir = troubled();
    let names = (0..n).map(|i| format!("t{i:02}=1x{}", if i == 7 { 900 } else { 10 }));
    let names: Vec<String> = names.collect();
    let demo = ["-q", "demo", "--force-add", "--tenants", &names.join(",")];
    expect(dir.path(), 0, &demo);
    dir
}

/// The first words of the rows of a table.
fn rows(text: &str) -> Vec<&str> {
    let rows = text
        .lines()
        .skip(2)
        .map(|l| l.split_whitespace().next().unwrap_or(""));
    rows.take_while(|name| *name != "total").collect()
}

#[test]
fn of_many_tenants_those_that_need_a_look_come_first() {
    let dir = many(30);
    let text = expect(dir.path(), 0, &["status"]);
    let shown = rows(&text);
    assert_eq!(shown[..3], ["odd", "acme", "restored-system"], "{text}");
    assert_eq!((shown.len(), shown[3]), (20, "t07"), "{text}");
    assert!(!shown.contains(&"globex"), "{text}");
    assert!(text.contains("\ntotal of 35 "), "{text}");
    let rest = "\nnot shown: 15 tenants, 13 of them with something to do; --all shows all\n";
    assert!(text.contains(rest), "{text}");
    let all = expect(dir.path(), 0, &["status", "--all"]);
    assert_eq!((rows(&all).len(), rows(&all)[0]), (35, "acme"), "{all}");
    assert!(!all.contains("not shown"), "{all}");
    let whole = json(dir.path(), &["status", "--json"]);
    assert_eq!(whole["tenants"].as_array().map(Vec::len), Some(35));
    // A glob that takes few shows these, whatever they need.
    let few = expect(dir.path(), 0, &["status", "--tenant", "g*"]);
    assert_eq!(rows(&few).first(), Some(&"globex"), "{few}");
}

#[test]
fn a_table_is_sorted_by_the_column_that_is_asked_for() {
    let dir = many(3);
    let document = json(dir.path(), &["status", "--json"]);
    let tenants = document["tenants"].as_array().unwrap();
    let sorted = |by: &str, number: fn(&Value) -> u64| {
        let text = expect(dir.path(), 0, &["status", "--sort", by]);
        let value = |name: &str| number(tenants.iter().find(|t| t["tenant"] == name).unwrap());
        let values: Vec<u64> = rows(&text).into_iter().map(value).collect();
        assert_eq!(values.len(), tenants.len(), "{by}: {text}");
        assert!(
            values.is_sorted_by(|a, b| a >= b),
            "{by}: {values:?}: {text}"
        );
        assert!(
            by == "overdue" || values[0] > values[values.len() - 1],
            "{by}: {text}"
        );
    };
    sorted("raw", |t| t["raw_files"].as_u64().unwrap());
    sorted("bytes", |t| {
        t["raw_bytes"].as_u64().unwrap() + t["snapshot_bytes"].as_u64().unwrap()
    });
    sorted("rows", |t| t["snapshot_rows"].as_u64().unwrap());
    sorted("overdue", |t| t["overdue_s"].as_u64().unwrap_or(0));
    let text = expect(dir.path(), 0, &["status", "--sort", "name"]);
    assert!(rows(&text).is_sorted(), "{text}");
    // Ages are told in whole seconds, and all of this may have been made within one.
    let old = std::fs::File::options()
        .write(true)
        .open(dir.path().join("data/odd/3.parquet"));
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3_600);
    old.unwrap().set_modified(hour_ago).unwrap();
    let text = expect(dir.path(), 0, &["status", "--sort", "oldest"]);
    assert_eq!(rows(&text)[0], "odd", "{text}");
    let wrong = icepack(dir.path(), &["status", "--sort", "colour"]);
    let err = job::text(&wrong.stderr);
    assert_eq!(wrong.status.code(), Some(2), "{err}");
    assert!(
        err.contains("name, raw, bytes, rows, oldest, overdue"),
        "{err}"
    );
}

#[test]
fn a_plan_of_many_tenants_is_a_page() {
    let dir = troubled();
    let names: Vec<String> = (0..40).map(|i| format!("t{i:02}=12x10")).collect();
    let demo = ["-q", "demo", "--force-add", "--tenants", &names.join(",")];
    expect(dir.path(), 0, &demo);
    let plan = |args: &[&str]| job::text(&icepack(dir.path(), &[&["plan"], args].concat()).stdout);
    let text = plan(&[]);
    assert!(
        text.starts_with("tenant ") && text.lines().count() < 80,
        "{text}"
    );
    assert!(
        text.contains("not shown: 20 tenants with something to do"),
        "{text}"
    );
    assert!(
        text.contains("… and 35 more tenants with something to do"),
        "{text}"
    );
    assert!(text.contains("nothing to do for "), "{text}");
    assert!(plan(&["--all"]).contains("\nt39: "));
    assert!(plan(&["--explain"]).contains("t39/"));
    let one = plan(&["--tenant", "globex"]);
    assert!(
        one.contains("globex: ") && one.contains("1 tenant: nothing to do"),
        "{one}"
    );
    let document = icepack(dir.path(), &["plan", "--json"]);
    let document: Value = serde_json::from_slice(&document.stdout).unwrap();
    assert_eq!(document["plans"].as_array().map(Vec::len), Some(44));
}
