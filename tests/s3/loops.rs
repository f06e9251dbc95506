//! What the loops have in common: files that arrive, passes that are killed, and engines that read.

use std::path::{Path, PathBuf};
use std::process::Child;

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use serde_json::Value;

use crate::support::{Event, event, job};

/// Rounds of a loop where nobody asks for more.
const ROUNDS: usize = 10;

/// Raw files that arrive in a round, and their rows.
pub const FILES: usize = 6;
pub const ROWS: usize = 60;

/// How long rows are kept.
pub const TTL: TimeDelta = TimeDelta::days(30);

/// Rounds of a loop: more where `ICEPACK_DELTA_ROUNDS` asks for it.
pub fn rounds() -> usize {
    std::env::var("ICEPACK_DELTA_ROUNDS").map_or(ROUNDS, |v| v.parse().unwrap())
}

/// A program of `tests/python`.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/python")
        .join(name)
}

/// The rows of a file: rows to keep and, now and then, rows that are past their time.
pub fn rows(rng: &mut Rng, cutoff: DateTime<Utc>, file: usize) -> Vec<Event> {
    let now = cutoff + TTL;
    let old = rng.u32(0..4) == 0;
    let row = |i: usize| {
        let days = if old && i.is_multiple_of(2) {
            rng.i64(40..60)
        } else {
            rng.i64(1..20)
        };
        let at = now - TimeDelta::days(days) - TimeDelta::seconds(rng.i64(0..86_000));
        event(file * ROWS + i, at)
    };
    (0..ROWS).map(row).collect()
}

/// What a reader found in all of its looks, once its standard input has ended: no row twice, and
/// none missing.
pub fn found(reader: Child, name: &str) -> Value {
    let out = reader.wait_with_output().unwrap();
    let (stdout, stderr) = (job::text(&out.stdout), job::text(&out.stderr));
    assert!(out.status.success(), "{name}: {stdout}\n{stderr}");
    let figures: Value = serde_json::from_str(stdout.trim()).unwrap();
    let of = |figure: &str| &figures[figure];
    assert_eq!(
        (of("doubles"), of("misses")),
        (&0.into(), &0.into()),
        "{name}: {figures}"
    );
    figures
}
