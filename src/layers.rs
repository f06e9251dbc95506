//! The test that no module uses one above it. Crates keep `icepack-core`, `icepack-parquet` and
//! `icepack-delta` below all modules of this crate.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// From the bottom up. A module uses those of lower lines, and none of its own line.
const LAYERS: &[&[&str]] = &[
    &["error", "progress", "format"],
    &["clock", "closing"],
    &["store"],
    &["protocol", "budget"],
    &["merge", "archive", "telemetry"],
    &["inspect", "page"],
    &["settings"],
    &["config"],
    &["pass", "watch"],
    &["restore"],
    &["open"],
    &["task"],
    &["cli"],
];

fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            sources(&entry.unwrap().path(), found);
        }
    } else if path.extension().is_some_and(|e| e == "rs") {
        found.push(path.to_owned());
    }
}

/// The names that follow `crate::` in code; comments may name what they like.
fn used(text: &str) -> BTreeSet<String> {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .collect()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|line| line.contains(&module))
}

#[test]
fn no_module_uses_one_above_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut modules = BTreeSet::new();
    let mut wrong = Vec::new();
    for file in files {
        let below = file.strip_prefix(&src).unwrap();
        let first = below
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap();
        let module = first.trim_end_matches(".rs");
        if ["lib", "main", "layers"].contains(&module) {
            continue;
        }
        modules.insert(module.to_owned());
        // What a test needs does not shape the program.
        if below
            .components()
            .any(|c| c.as_os_str().to_str().unwrap().starts_with("tests"))
        {
            continue;
        }
        for name in used(&std::fs::read_to_string(&file).unwrap()) {
            if name != module && layer(&name).is_some_and(|used| Some(used) >= layer(module)) {
                wrong.push(format!("src/{} uses `{name}`", below.display()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    let known: BTreeSet<String> = LAYERS
        .iter()
        .flat_map(|l| l.iter())
        .map(|m| (*m).to_owned())
        .collect();
    assert_eq!(modules, known, "each module has its layer");
}
