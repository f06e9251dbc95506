//! Snapshots of which some row groups are copied and others decoded.

use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::file::metadata::ParquetMetaDataReader;

use super::whole::{at, check_pages, noise, snapshots, tables, world};
use super::*;
use icepack_core::model::file::Snapshot;
use icepack_parquet::write::prints::KEY;

/// Rows that make about three row groups.
const ROWS: i64 = 20_000;

/// Three snapshots, each of which shares the last `overlap` seconds with the next.
async fn chain(w: &mut World, overlap: i64) -> (Vec<Vec<Event>>, Vec<Snapshot>) {
    let files: Vec<_> = (0..3)
        .map(|i| {
            noise(
                &format!("{i}-"),
                T0 + i * (ROWS - overlap)..T0 + i * (ROWS - overlap) + ROWS,
            )
        })
        .collect();
    let inputs = snapshots(w, &tables(&files)).await;
    for input in &inputs {
        assert!(groups(w, &input.key).await >= 3, "{input:?}");
    }
    (files, inputs)
}

async fn groups(w: &World, key: &str) -> usize {
    ParquetMetaDataReader::new()
        .parse_and_finish(&w.bytes(key).await)
        .unwrap()
        .num_row_groups()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_row_groups_that_overlap_are_decoded() {
    let mut w = world();
    let (files, inputs) = chain(&mut w, 10).await;
    w.take(&inputs);
    w.spec.inputs.reverse();
    let out = w.merge().await;
    // The first without its end, the second without both ends, the third without its beginning.
    assert_eq!(
        (out.copied_runs, out.snapshots.len(), out.deduplicated),
        (3, 1, 0)
    );
    let total: u64 = inputs.iter().map(|s| s.size).sum();
    assert!(
        out.copied_bytes > total / 3 && out.copied_bytes < total,
        "{} of {total} bytes were copied",
        out.copied_bytes
    );
    let want = naive(&files);
    assert_eq!(w.read(&out.snapshots).await, want);
    check_pages(&w.bytes(&out.snapshots[0].key).await, &want);
    assert_eq!(
        *w.progress.lock().unwrap(),
        (total, 3 * ROWS.unsigned_abs())
    );

    // Decoded to the last row, it is the same; and what was put together of pieces can be taken to
    // pieces.
    w.spec.check_content = true;
    let all = out.snapshots.clone();
    w.spec.inputs.clear();
    w.take(&all);
    w.events("late", &[event("late", T0 + ROWS / 2, "x")]).await;
    let again = w.merge().await;
    assert_eq!(
        again.copied_runs, 2,
        "what is before the row and what is after it"
    );
    let mut more = files.clone();
    more.push(vec![event("late", T0 + ROWS / 2, "x")]);
    assert_eq!(w.read(&again.snapshots).await, naive(&more));
    assert!(w.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_group_that_touches_an_instant_of_another_file_is_decoded() {
    let mut w = world();
    let (files, inputs) = chain(&mut w, 1).await;
    w.take(&inputs[..2]);
    // The very row that both have is dropped once.
    w.spec.inputs.truncate(2);
    let out = w.merge().await;
    assert_eq!(out.copied_runs, 2);
    assert_eq!(w.read(&out.snapshots).await, naive(&files[..2]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_row_is_dropped_wherever_it_is() {
    let mut w = world();
    let (files, inputs) = chain(&mut w, 10).await;
    w.take(&inputs);
    // One of the first rows of a file, and one of its last.
    let copies: Vec<Event> = [1, ROWS - 2]
        .map(|i| files[0][usize::try_from(i).unwrap()].clone())
        .into();
    w.events("copies", &copies).await;
    let out = w.merge().await;
    assert_eq!(out.deduplicated, 2);
    let mut all = files.clone();
    all.push(copies);
    assert_eq!(w.read(&out.snapshots).await, naive(&all));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_leave_take_only_their_row_group_along() {
    let mut w = world();
    let (files, inputs) = chain(&mut w, 0).await;
    w.take(&inputs[..1]);
    w.spec.cutoff = Some(at(T0 + 10));
    let out = w.merge().await;
    assert_eq!((out.rows_expired, out.copied_runs), (10, 1));
    assert_eq!(w.read(&out.snapshots).await, files[0][10..]);

    w.spec.cutoff = None;
    w.spec.now = at(T0 + ROWS - 11);
    let out = w.merge().await;
    assert_eq!((out.implausible, out.copied_runs), (10, 1));
    assert_eq!(w.read(&out.snapshots).await, files[0]);

    // Midnight is 6,400 s after T0.
    w.spec.now = at(T0 + 100 * DAY);
    (w.spec.cut, w.spec.min_piece) = (Period::Day, 1);
    let out = w.merge().await;
    assert_eq!(
        out.snapshots
            .iter()
            .map(|s| s.stats.rows)
            .collect::<Vec<_>>(),
        [6_400, ROWS.unsigned_abs() - 6_400]
    );
    assert!(out.copied_runs >= 1);
    assert_eq!(w.read(&out.snapshots).await, files[0]);
}

/// The file again with another word about the fingerprints of its row groups.
async fn reword(w: &World, snapshot: &Snapshot, word: impl Fn(Vec<&str>) -> String) {
    let bytes = w.bytes(&snapshot.key).await;
    let footer = ParquetMetaDataReader::new()
        .parse_and_finish(&bytes)
        .unwrap();
    let old = footer
        .file_metadata()
        .key_value_metadata()
        .unwrap()
        .iter()
        .find(|kv| kv.key == KEY)
        .unwrap()
        .value
        .clone()
        .unwrap();
    let new = word(old.split(' ').collect());
    assert_eq!(new.len(), old.len());
    let at = bytes
        .windows(old.len())
        .rposition(|w| w == old.as_bytes())
        .unwrap();
    let mut bytes = bytes.to_vec();
    bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
    w.store
        .inner
        .put(&Path::from(snapshot.key.as_str()), bytes.into())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_footer_that_does_not_agree_with_the_manifest_is_not_believed() {
    let other = |prints: Vec<&str>| {
        prints
            .iter()
            .enumerate()
            .map(|(i, p)| {
                if i == 1 {
                    "0".repeat(32)
                } else {
                    (*p).to_owned()
                }
            })
            .collect::<Vec<_>>()
            .join(" ")
    };
    let garbage = |prints: Vec<&str>| "x".repeat(prints.join(" ").len());
    for (what, word) in [
        (
            "another fingerprint",
            Box::new(other) as Box<dyn Fn(Vec<&str>) -> String>,
        ),
        ("none", Box::new(garbage)),
    ] {
        let mut w = world();
        let (files, inputs) = chain(&mut w, 10).await;
        reword(&w, &inputs[1], word).await;
        w.take(&inputs);
        let out = w.merge().await;
        assert_eq!(
            out.copied_runs, 2,
            "{what}: the second is decoded from its first row to its last"
        );
        assert_eq!(w.read(&out.snapshots).await, naive(&files));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_not_what_the_footer_says_are_found_out() {
    let mut w = world();
    let (_, inputs) = chain(&mut w, 10).await;
    // Together they are still what the manifest says.
    reword(&w, &inputs[1], |mut prints| {
        prints.swap(0, 1);
        prints.join(" ")
    })
    .await;
    w.take(&inputs);
    let bad = bad(w.merge_into(None).await);
    assert!(
        bad.len() == 1
            && bad[0].0 == inputs[1].key
            && bad[0]
                .1
                .contains("its rows are not those that were written"),
        "{bad:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_overlaps_the_result_is_that_of_decoding_everything() {
    let (mut copied, mut decoded) = (0, 0);
    for seed in 0..6 {
        let mut random = Random(seed);
        let mut below = |n: i64| i64::try_from(random.below(n.unsigned_abs())).unwrap();
        let mut w = world();
        let (mut files, mut from) = (Vec::new(), T0);
        for i in 0..3 {
            let rows = ROWS / 2 + below(ROWS);
            files.push(noise(&format!("{i}-"), from..from + rows));
            // Apart, one after the other, or over one another.
            from += rows
                + [below(100), 0, -below(100), -below(rows)][usize::try_from(below(4)).unwrap()];
        }
        let inputs = snapshots(&mut w, &tables(&files)).await;
        w.take(&inputs);
        for i in 0..below(4) {
            let first = T0 + below(3 * ROWS);
            files.push(span(&format!("r{i}-"), first..first + 1 + below(50)));
            w.events(&format!("r{i}"), &files[files.len() - 1].clone())
                .await;
        }
        w.spec.cutoff = (below(2) > 0).then(|| at(T0 + below(ROWS)));
        w.spec.size.target = [128 << 20, 4 << 20][usize::try_from(below(2)).unwrap()];
        let out = w.merge().await;
        let want: Vec<Event> = naive(&files)
            .into_iter()
            .filter(|e| w.spec.cutoff.is_none_or(|c| !expired(e, c.0 / 1_000_000)))
            .collect();
        assert!(w.read(&out.snapshots).await == want, "seed {seed}");
        copied += out.copied_bytes;
        decoded += inputs.iter().map(|s| s.size).sum::<u64>() - out.copied_bytes;
    }
    assert!(
        copied > 0 && decoded > 0,
        "{copied} bytes were copied, {decoded} decoded"
    );
}
