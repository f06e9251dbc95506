//! What the binary says, against what it said when somebody read it last.
//! `INSTA_UPDATE=always` accepts the new words; read them before they are committed.

use std::path::Path;
use std::process::Output;

use crate::support::job;

/// Every text: its name, and what is said.
pub fn all() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/errors/texts");
    let files = std::fs::read_dir(directory).unwrap();
    files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "snap"))
        .map(|path| {
            let file = std::fs::read_to_string(&path).unwrap();
            let (_, text) = file[4..].split_once("---\n").unwrap();
            (
                path.file_stem().unwrap().to_str().unwrap().to_owned(),
                text.to_owned(),
            )
        })
        .collect()
}

/// Compares the exit code and stderr with `tests/cli/errors/texts/NAME.snap`. `names` are what
/// differs from run to run, and what stands for it.
#[track_caller]
pub fn check(name: &str, out: &Output, names: &[(&str, &str)]) {
    println!("stdout:\n{}", job::text(&out.stdout));
    let stderr = job::text(&out.stderr);
    let mut said = stderr
        .lines()
        .map(without_time)
        .collect::<Vec<_>>()
        .join("\n");
    for (from, to) in names {
        said = said.replace(from, to);
    }
    let (code, said) = (out.status.code().unwrap(), without_ids(&said));
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("texts");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, format!("exit code {code}\n{said}\n")));
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
