//! Runs many cases of a world on all cores, each on a runtime of its own whose time does not make
//! anybody wait.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::support::world::Check;

/// Failures that are printed in full.
const SHOWN: usize = 3;

/// Whether the long form was asked for.
pub fn long() -> bool {
    std::env::var("ICEPACK_CRASH").is_ok_and(|v| v == "long")
}

/// A runtime on which a thousand seconds take one.
///
/// Tokio's own auto-advance is no help: it waits for blocking threads, and the job sleeps on them
/// too (a retried upload blocks the encoder's thread). So the time is paused, and a task moves it.
pub fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.spawn(async {
        loop {
            let tick = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(1)));
            if tick.await.is_err() {
                return;
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    });
    runtime
}

/// Runs `case` for each of `cases`, and fails with the first few that did.
pub fn all<C: Sync + std::fmt::Debug>(
    name: &str,
    calls: usize,
    cases: &[C],
    case: impl Fn(&Runtime, &C) -> Check + Sync,
) {
    let started = Instant::now();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                let runtime = runtime();
                while let Some(c) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    if let Err(why) = case(&runtime, c) {
                        failed.lock().unwrap().push(format!("{name} {c:?}: {why}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    println!(
        "{name}: {calls} calls, {} cases, {} failed, {:.1} s",
        cases.len(),
        failed.len(),
        started.elapsed().as_secs_f64()
    );
    assert!(
        failed.is_empty(),
        "{} of {} cases failed, the first:\n{}",
        failed.len(),
        cases.len(),
        failed[..failed.len().min(SHOWN)].join("\n\n")
    );
}
