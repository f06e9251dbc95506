//! What other people's writers make of rows: sound files are read whatever their shape, and those
//! that are not are called what they are.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::corpus::Case;
use super::support::job;

fn script(name: &str) -> Command {
    let mut python = job::python();
    python.arg(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/python")
            .join(name),
    );
    python
}

fn expect(mut command: Command) -> String {
    let out = command.output().unwrap();
    assert_eq!(
        out.status.code(),
        Some(0),
        "{}\n{}",
        job::text(&out.stdout),
        job::text(&out.stderr)
    );
    job::text(&out.stdout)
}

/// `ICEPACK_SWEEP_SHAPES` makes it longer.
#[test]
fn what_other_readers_read_alike_is_merged_whatever_its_shape() {
    let mut sweep = script("sweep_shapes.py");
    sweep.args([
        "--icepack",
        env!("CARGO_BIN_EXE_icepack"),
        "--memory-limits",
        "128MiB,1GiB",
    ]);
    if let Ok(shapes) = std::env::var("ICEPACK_SWEEP_SHAPES") {
        sweep.args(["--shapes", &shapes, "--cells", "1000000"]);
    }
    println!("{}", expect(sweep));
}

/// Files by pyarrow whose names begin with `kind`.
fn odd(kind: &str, why: Option<&'static str>) -> Vec<Case> {
    let dir = TempDir::new().unwrap();
    let mut write = script("write_odd_files.py");
    write.arg(dir.path());
    expect(write);
    let mut paths: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.sort();
    let case = |path: &Path| {
        Some(Case {
            name: path
                .file_name()?
                .to_str()
                .filter(|n| n.starts_with(kind))?
                .to_owned(),
            bytes: std::fs::read(path).unwrap(),
            why,
        })
    };
    paths.iter().filter_map(|path| case(path)).collect()
}

#[test]
fn a_page_that_does_not_match_its_checksum_is_set_aside() {
    let (sound, flipped) = (
        odd("sound-", None),
        odd("flipped-", Some("does not match its checksum")),
    );
    assert_eq!((sound.len(), flipped.len()), (8, 16));
    super::check_all(&sound);
    super::check_all(&flipped);
}

#[test]
fn an_encrypted_file_is_called_encrypted() {
    let cases = [
        odd("encrypted-plain", Some("columns of it are encrypted")),
        odd("encrypted-encrypted", Some("its footer is encrypted")),
    ]
    .concat();
    assert_eq!(cases.len(), 2);
    super::check_all(&cases);
}
