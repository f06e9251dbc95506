//! Files of thousands of columns.

use super::*;

const FILES: usize = 8;
const COLUMNS: usize = 4_000;

/// Numbers that do not compress, and times.
fn wide(file: usize, rows: i64) -> Bytes {
    let mut random = Random(file as u64);
    let times = times(
        TimeUnit::Microsecond,
        None,
        (0..rows).map(|row| Some(T0 + row * FILES as i64 + file as i64)),
    );
    let mut number = |_| i64::try_from(random.below(1 << 31)).unwrap() << 31;
    let mut columns: Vec<(String, ArrayRef)> = (0..COLUMNS)
        .map(|c| {
            let numbers = Int64Array::from_iter_values((0..rows).map(&mut number));
            (format!("c{c:04}"), Arc::new(numbers) as ArrayRef)
        })
        .collect();
    columns.push(("timestamp".into(), times));
    foreign(&RecordBatch::try_from_iter(columns).unwrap(), 10_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wide_files_of_a_bucket_take_few_requests() {
    let mut w = World::new();
    w.memory = 16 << 20;
    for file in 0..FILES {
        w.raw(&format!("wide-{file}"), wide(file, 130)).await;
    }
    let whole = MergeBudget::of(w.memory, 0, 1).whole;
    assert!(w.spec.inputs.iter().all(|i| i.size > whole));
    let out = w.merge().await;
    let rows: u64 = out.snapshots.iter().map(|s| s.stats.rows).sum();
    assert_eq!(rows, FILES as u64 * 130);
    let requests = w.store.calls(Op::Get);
    assert!(requests <= FILES * 64, "{requests} requests");
}
