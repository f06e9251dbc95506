//! Inputs for which memory has no room.

use icepack_dst::intercept::{InterceptStore, Reply};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::Semaphore;

use super::whole::noise;
use super::*;

const FILES: usize = 32;

/// Files that come one after the other, each with some rows of the next one's time.
fn neighbours(rows: i64) -> Vec<Vec<Event>> {
    let file = |i: i64| {
        let from = T0 + i * rows;
        noise(&format!("f{i}-"), from..from + rows * 5 / 4)
    };
    (0..i64::try_from(FILES).unwrap()).map(file).collect()
}

async fn world(files: &[Vec<Event>], memory: u64) -> World {
    let mut w = World::new();
    w.memory = memory;
    for (i, events) in files.iter().enumerate() {
        w.events(&format!("events-{i:02}"), events).await;
    }
    w
}

/// Merges with a store of the test's own, and without a disk.
async fn merge_from(w: &World, store: Arc<dyn ObjectStore>) -> MergeOutcome {
    let env = MergeEnv {
        store,
        mint: Arc::new(|| FileId(ulid::Ulid::from_parts(2, 1))),
        expired: None,
        stop: Arc::clone(&w.stop),
        on_progress: Arc::new(|_, _| {}),
        spill_dir: w.dir.path().join("none"),
        fetching: Arc::new(Semaphore::new(1)),
        defers: true,
    };
    merge(w.spec.clone(), w.budget(), env).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upload_begins_before_the_last_input_is_there() {
    let files = neighbours(3_500);
    let w = world(&files, 32 << 20).await;
    let last = Path::from(w.spec.inputs[FILES - 1].key.as_str());
    let begun = Arc::new(Semaphore::new(0));
    let store = InterceptStore::new(w.store.store(), move |request, call| {
        let (begun, is_last) = (Arc::clone(&begun), request.key == last);
        async move {
            if request.kind == Op::Part {
                begun.add_permits(1);
            }
            let reply = call.await?;
            if is_last
                && let Reply::Got(got) = &reply
                && got.range == (0..got.meta.size)
            {
                // A merge that waits for its last input would wait for ever.
                let wait = tokio::time::timeout(Duration::from_secs(60), begun.acquire());
                let _ = wait.await.expect("no part was sent");
            }
            Ok(reply)
        }
    });
    let out = merge_from(&w, Arc::new(store)).await;
    assert_eq!(w.read(&out.snapshots).await, naive(&files));
    // Not more than the footer and the whole of each; a part of them was fetched at once.
    let requests = w.store.calls(Op::Get);
    assert!(
        (FILES + 20..2 * FILES + 4).contains(&requests),
        "{requests}"
    );
}

/// A look at its footer alone costs as much as all of a small input.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_input_is_asked_for_once() {
    let files = neighbours(600);
    let mut w = world(&files, 8 << 20).await;
    w.least_later = MergeBudget::of(w.memory, 64 << 20, w.prefetch).least_later;
    let out = w.merge().await;
    assert_eq!(w.store.calls(Op::Get), FILES);
    assert_eq!(w.read(&out.snapshots).await, naive(&files));
    let bytes: u64 = w.spec.inputs.iter().map(|i| i.size).sum();
    assert!(bytes > w.budget().pool, "memory has no room for all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_input_that_turns_out_to_be_in_no_order_is_sorted() {
    let mut files = neighbours(600);
    files[FILES - 2].reverse();
    let w = world(&files, 8 << 20).await;
    let out = w.merge().await;
    files[FILES - 2].reverse();
    assert_eq!(w.read(&out.snapshots).await, naive(&files));
    assert!(out.spilled_runs > 0 && w.is_clean());
    // Where one that was read at once is in no order, the others are not expected to be.
    files.iter_mut().for_each(|f| f.reverse());
    let w = world(&files, 8 << 20).await;
    let out = w.merge().await;
    files.iter_mut().for_each(|f| f.reverse());
    assert_eq!(w.read(&out.snapshots).await, naive(&files));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_that_are_not_those_of_the_rows_are_not_believed() {
    let files = neighbours(600);
    let last = &files[FILES - 1];
    // The first row later than it is: the merge would come to it too late. The last one earlier: it
    // would be of a month or a day that has ended.
    for (told, row) in [(100, 0), (100, last.len() - 1)] {
        let mut w = world(&files[..FILES - 1], 8 << 20).await;
        let micros = |n: usize| (last[n].seconds.unwrap() * 1_000_000).to_le_bytes();
        let mut bytes = file(last).to_vec();
        let mut lies = 0;
        for at in footer_at(&bytes)..bytes.len() - 8 {
            if bytes[at..at + 8] == micros(row) {
                bytes[at..at + 8].copy_from_slice(&micros(told));
                lies += 1;
            }
        }
        assert!(lies > 0);
        w.raw("lying", bytes.into()).await;
        let out = w.merge().await;
        assert_eq!(w.read(&out.snapshots).await, naive(&files));
        // Each was fetched once more.
        assert!(w.store.calls(Op::Get) > 2 * FILES, "{row}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_input_that_is_replaced_before_its_turn_is_not_taken_for_itself() {
    let files = neighbours(3_500);
    let w = world(&files, 32 << 20).await;
    let last = w.spec.inputs[FILES - 1].key.clone();
    let path = Path::from(last.as_str());
    let inner = Arc::clone(&w.store.inner);
    let other = file(&files[0]);
    let store = InterceptStore::new(w.store.store(), move |request, call| {
        let (inner, path, other) = (Arc::clone(&inner), path.clone(), other.clone());
        async move {
            let reply = call.await?;
            // Right after its footer was read.
            if request.kind == Op::Get && request.key == path {
                inner.put(&path, other.into()).await?;
            }
            Ok(reply)
        }
    });
    let env = MergeEnv {
        store: Arc::new(store),
        mint: Arc::new(|| FileId(ulid::Ulid::from_parts(2, 1))),
        expired: None,
        stop: Arc::clone(&w.stop),
        on_progress: Arc::new(|_, _| {}),
        spill_dir: w.dir.path().to_owned(),
        fetching: Arc::new(Semaphore::new(1)),
        defers: true,
    };
    let budget = w.budget();
    let found = faults(merge(w.spec.clone(), budget, env).await);
    assert_eq!(found, [(last, Flaw::Unread(Unread::Changed))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_inputs_are_told_of_all_at_once() {
    let files = neighbours(600);
    let mut w = world(&files[..FILES - 2], 8 << 20).await;
    for (name, events) in ["bad-0", "bad-1"].into_iter().zip(&files[FILES - 2..]) {
        let mut bytes = file(events).to_vec();
        // Its footer is as it was.
        let footer = footer_at(&bytes);
        bytes[4..footer].fill(0xff);
        w.raw(name, bytes.into()).await;
    }
    let found = faults(w.merge_into(None).await);
    assert_eq!(
        found,
        ["bad-0", "bad-1"].map(|n| (format!("acme/{n}.parquet"), Flaw::Damaged))
    );
}

/// Where the footer of a file begins.
fn footer_at(bytes: &[u8]) -> usize {
    let (rest, _) = bytes.split_last_chunk::<4>().unwrap();
    let (rest, len) = rest.split_last_chunk::<4>().unwrap();
    rest.len() - u32::from_le_bytes(*len) as usize
}
