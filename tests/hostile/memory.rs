//! What is sound and large is merged within `memory_limit` and the 64 MiB for the process.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use chrono::Utc;
use fastrand::Rng;
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

use super::{LIMIT_MIB, pass};

/// Rows of the last month, in time order or in none.
fn rows(count: i64, sorted: bool, rng: &mut Rng) -> RecordBatch {
    let (now, month) = (Utc::now().timestamp_micros(), 30 * 86_400_000_000);
    let mut times: Vec<i64> = (0..count).map(|_| now - rng.i64(0..month)).collect();
    if sorted {
        times.sort_unstable();
    }
    let mut word = |_| format!("{:016x}", rng.u64(..));
    let payload = (0..count).map(|_| (0..25).map(&mut word).collect::<String>());
    RecordBatch::try_from_iter([
        (
            "payload",
            Arc::new(StringArray::from_iter_values(payload)) as ArrayRef,
        ),
        (
            "timestamp",
            Arc::new(TimestampMicrosecondArray::from(times)),
        ),
    ])
    .unwrap()
}

fn write(path: &Path, batches: impl Iterator<Item = RecordBatch>) {
    let mut batches = batches.peekable();
    let schema = batches.peek().unwrap().schema();
    let mut writer = ArrowWriter::try_new(fs::File::create(path).unwrap(), schema, None).unwrap();
    batches.for_each(|b| writer.write(&b).unwrap());
    writer.close().unwrap();
}

/// A pass over what `fill` writes. All of it becomes one snapshot.
fn merged(what: &str, fill: impl FnOnce(&Path)) {
    let dir = TempDir::new().unwrap();
    let tenant = dir.path().join("acme");
    fs::create_dir(&tenant).unwrap();
    fill(&tenant);
    let before = fs::read_dir(&tenant).unwrap().count() as u64;
    let ran = pass(dir.path());
    assert_eq!(ran.code, Some(0), "{what}: {}", ran.stderr);
    assert_eq!(
        ran.json["totals"]["files_compacted"].as_u64(),
        Some(before),
        "{what}"
    );
    println!("{what}: {} MiB, {:?}", ran.peak, ran.took);
    assert!(
        ran.peak <= LIMIT_MIB + 64,
        "{what}: {} MiB with a limit of {LIMIT_MIB}",
        ran.peak
    );
}

#[test]
fn thousands_of_files_that_overlap_and_one_without_order_keep_to_the_limit() {
    let mut rng = Rng::with_seed(1);
    merged("1,500 files that overlap", |dir| {
        for i in 0..1_500 {
            write(
                &dir.join(format!("{i}.parquet")),
                std::iter::once(rows(50, true, &mut rng)),
            );
        }
    });
    // Decoded, it is more than the limit with all that is on top.
    merged("one file in no order", |dir| {
        let batches = (0..10).map(|_| rows(60_000, false, &mut rng));
        write(&dir.join("unsorted.parquet"), batches);
    });
}
