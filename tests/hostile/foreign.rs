//! Files as other people's programs write them, in all their types: they are merged and read as
//! before, or they are left alone with a reason.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::support::job;

fn script(name: &str) -> Command {
    let mut python = job::python();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    python.arg(scripts.join(name));
    python
}

/// All of them take minutes: `ICEPACK_FOREIGN_EVERY=1`.
#[test]
fn files_of_each_writer_and_type_read_as_before_or_are_left_alone() {
    let made = TempDir::new().unwrap();
    let written = script("foreign_files.py")
        .arg(made.path())
        .output()
        .unwrap();
    assert!(written.status.success(), "{}", job::text(&written.stderr));
    let every = std::env::var("ICEPACK_FOREIGN_EVERY").unwrap_or_else(|_| "6".to_owned());
    let sweep = script("try_files.py")
        .args([
            "--icepack",
            env!("CARGO_BIN_EXE_icepack"),
            "--every",
            &every,
        ])
        .arg(made.path())
        .output()
        .unwrap();
    let told = job::text(&sweep.stdout);
    assert_eq!(
        sweep.status.code(),
        Some(0),
        "{told}{}",
        job::text(&sweep.stderr)
    );
    let merged = told.lines().filter(|l| l.starts_with("merged ")).count();
    assert!(merged > 30, "{told}");
    println!("{told}");
}
