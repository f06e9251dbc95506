//! `status` of a store in which something went wrong.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::job;

/// Runs the binary on the store and the archive of `dir`.
pub fn icepack(dir: &Path, args: &[&str]) -> Output {
    let envs = [
        ("ICEPACK_STORE", "data".to_owned()),
        ("ICEPACK_ARCHIVE_URL", "cold".to_owned()),
        ("ICEPACK_ARCHIVE_MIN_OBJECT_SIZE", "1".to_owned()),
    ];
    let mut command = job::icepack(&envs);
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
