//! What the binary says, against what it said when somebody read it last. `UPDATE_EXPECTED=1` takes
//! the new words over; read them before they are committed.

use std::path::PathBuf;
use std::process::Output;

use crate::support::job;

pub fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cli/errors/texts")
}

/// Compares the exit code and stderr with `tests/cli/errors/texts/NAME.txt`. `names` are what differs
/// from run to run, and what stands for it.
#[track_caller]
pub fn check(name: &str, out: &Output, names: &[(&str, &str)]) {
    let stderr = job::text(&out.stderr);
    let mut said = stderr
        .lines()
        .map(without_time)
        .collect::<Vec<_>>()
        .join("\n");
    for (from, to) in names {
        said = said.replace(from, to);
    }
    let said = format!(
        "exit code {}\n{}\n",
        out.status.code().unwrap(),
        without_ids(&said)
    );
    let file = directory().join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(&file, &said).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        said,
        expected,
        "{}: if the new words are better, take them over with UPDATE_EXPECTED=1\nstdout:\n{}",
        file.display(),
        job::text(&out.stdout)
    );
}

/// A log line without its time.
fn without_time(line: &str) -> &str {
    line.split_once("Z ")
        .filter(|(time, _)| time.starts_with("20") && time.len() == 26)
        .map_or(line, |(_, rest)| rest.trim_start())
}

/// ULIDs, in either case, become `ID`.
fn without_ids(text: &str) -> String {
    let (mut out, mut word) = (String::new(), String::new());
    for c in text.chars().chain([' ']) {
        if c.is_ascii_alphanumeric() {
            word.push(c);
            continue;
        }
        out.push_str(if word.len() == 26 && word.starts_with("01") {
            "ID"
        } else {
            &word
        });
        out.push(c);
        word.clear();
    }
    out.pop();
    out
}
