//! Hostile input: broken Parquet, names that are paths, manifests that lie. No panic, bounded
//! memory, nothing deleted that must not be, and the neighbours are compacted.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make worlds of the real time"
)]

#[path = "hostile/aside.rs"]
mod aside;
#[path = "hostile/corpus.rs"]
mod corpus;
#[path = "hostile/evidence.rs"]
mod evidence;
#[path = "hostile/files.rs"]
mod files;
#[path = "hostile/foreign.rs"]
mod foreign;
#[path = "hostile/forge.rs"]
mod forge;
#[path = "hostile/fuzzed.rs"]
mod fuzzed;
#[path = "hostile/inputs.rs"]
mod inputs;
#[path = "hostile/leaves.rs"]
mod leaves;
#[path = "hostile/manifests.rs"]
mod manifests;
#[path = "hostile/memory.rs"]
mod memory;
#[path = "hostile/names.rs"]
mod names;
#[path = "hostile/roots.rs"]
mod roots;
#[path = "hostile/shapes.rs"]
mod shapes;
mod support;
#[path = "hostile/targets.rs"]
mod targets;
#[path = "hostile/unite.rs"]
mod unite;
#[path = "hostile/values.rs"]
mod values;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use corpus::Case;
use serde_json::Value;
use support::{batch, job, parquet, series};
use tempfile::TempDir;

/// Three sound files of a tenant, of 60 rows together.
fn neighbours(dir: &Path, tenant: &str) {
    std::fs::create_dir_all(dir.join(tenant)).unwrap();
    for i in 0..3 {
        let events = series(
            i * 20,
            20,
            Utc::now() - TimeDelta::hours(1),
            TimeDelta::seconds(10),
        );
        std::fs::write(
            dir.join(tenant).join(format!("good-{i}.parquet")),
            parquet(&batch(&events)),
        )
        .unwrap();
    }
}

/// The bounds of every test here.
const LIMIT_MIB: u64 = 128;
const PATIENCE: Duration = Duration::from_secs(60);

struct Ran {
    code: Option<i32>,
    json: Value,
    stderr: String,
    /// The most memory it had, in MiB; 0 where the system does not tell.
    peak: u64,
    took: Duration,
}

/// A pass over a directory, by the binary, watched.
fn pass(store: &Path) -> Ran {
    let limit = format!("{LIMIT_MIB}MiB");
    let mut command = job::icepack(&[]);
    command
        .args([
            "run",
            "--json",
            "--strategy",
            "full",
            "--memory-limit",
            &limit,
            "--store",
        ])
        .arg(store);
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let code = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let high = text.lines().find_map(|l| {
            l.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix(" kB")?
                .parse::<u64>()
                .ok()
        });
        peak = high.unwrap_or(0).div_ceil(1_024).max(peak);
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if started.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let out = child.wait_with_output().unwrap();
    let json = serde_json::from_slice(&out.stdout).unwrap_or_default();
    Ran {
        code,
        json,
        stderr: job::text(&out.stderr),
        peak,
        took: started.elapsed(),
    }
}

/// What a script of `tests/python` prints that is told to do `what` with a store.
fn python(script: &str, what: &str, store: &Path) -> String {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let out = job::python()
        .arg(scripts.join(script))
        .arg(what)
        .arg(store)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", job::text(&out.stderr));
    job::text(&out.stdout)
}

/// What is wrong with how the job deals with `case`; none where all is well.
fn check(case: &Case) -> Result<String, String> {
    let dir = TempDir::new().unwrap();
    neighbours(dir.path(), "acme");
    // Files of one time are taken by name, and the columns of the first are given.
    let bad = dir.path().join("acme/z-bad.parquet");
    std::fs::write(&bad, &case.bytes).unwrap();
    let ran = pass(dir.path());
    let outcome = format!(
        "{}: exit {:?}, {} MiB, {} ms: {}",
        case.name,
        ran.code,
        ran.peak,
        ran.took.as_millis(),
        reason(dir.path())
    );
    let fail = |what: &str| {
        Err(format!(
            "{outcome}\n  {what}\n  {}",
            ran.stderr.lines().take(5).collect::<Vec<_>>().join("\n  ")
        ))
    };
    if ran.peak > LIMIT_MIB {
        return fail("it took more memory than it may");
    }
    if ran.stderr.contains("broke off") {
        return fail("a panic got out");
    }
    let Some(why) = case.why else {
        return if ran.code == Some(0) && ran.json["totals"]["files_compacted"] == 4 {
            Ok(outcome)
        } else {
            fail("it was not read")
        };
    };
    if ran.code != Some(3) {
        return fail("exit 3 is wanted");
    }
    if !reason(dir.path()).contains(why) {
        return fail(&format!("the reason does not say `{why}`"));
    }
    let ledger = &ran.json["totals"]["ledger"];
    if (&ledger["rows_in"], &ledger["rows_kept"]) != (&60.into(), &60.into()) {
        return fail(&format!("the neighbours were not compacted: {ledger}"));
    }
    if std::fs::read(&bad).ok().as_ref() != Some(&case.bytes) {
        return fail("the file itself was touched");
    }
    if pass(dir.path()).code != Some(0) {
        return fail("the next pass does not exit with 0");
    }
    Ok(outcome)
}

/// Why `acme/z-bad.parquet` was quarantined.
fn reason(store: &Path) -> String {
    let dir = store.join("_icepack/acme/manifest");
    let mut versions: Vec<_> = std::fs::read_dir(dir)
        .map(|d| d.map(|e| e.unwrap().path()).collect())
        .unwrap_or_default();
    versions.sort();
    let head: Value = versions
        .last()
        .map(|p| serde_json::from_slice(&std::fs::read(p).unwrap()).unwrap())
        .unwrap_or_default();
    head["quarantined"][0]["reason"]
        .as_str()
        .unwrap_or("not quarantined")
        .to_owned()
}

fn check_all(cases: &[Case]) {
    let results: Vec<_> = cases.iter().map(check).collect();
    let failures: Vec<_> = results.iter().filter_map(|r| r.as_ref().err()).collect();
    results
        .iter()
        .flatten()
        .for_each(|outcome| println!("{outcome}"));
    assert!(
        failures.is_empty(),
        "{} of {} cases:\n{}",
        failures.len(),
        cases.len(),
        failures
            .iter()
            .map(|f| f.as_str())
            .collect::<Vec<_>>()
            .join("\n")
    );
}

#[test]
fn files_that_lie_are_set_aside() {
    check_all(&corpus::lies());
}

#[test]
fn pages_that_would_fill_the_memory_are_not_decompressed() {
    check_all(&corpus::bombs());
}

#[test]
fn small_pages_that_stand_for_much_are_read_bit_by_bit() {
    check_all(&corpus::expansions());
}

#[test]
fn what_is_large_and_honest_is_read_within_the_limit() {
    check_all(&corpus::large());
}

#[test]
fn honest_pages_of_every_codec_are_read() {
    let cases = corpus::CODECS.map(|codec| Case {
        name: format!("{codec:?}"),
        bytes: corpus::honest(codec).bytes(),
        why: None,
    });
    check_all(&cases);
}
