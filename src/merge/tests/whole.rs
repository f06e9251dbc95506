//! Snapshots that are copied without being decoded, and those that must not be.

use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::page_index::column_index::ColumnIndexMetaData;

use super::*;
use icepack_core::model::file::Snapshot;
use icepack_core::model::names::FileId;
use icepack_core::model::policy::{Codec, Encodings, Writing};

/// Row groups of 1 MiB, and requests of 256 KiB.
const BUDGET: u64 = 4 << 20;

/// Events that hardly compress: 150 bytes each.
pub(super) fn noise(prefix: &str, range: std::ops::Range<i64>) -> Vec<Event> {
    let mut random = Random(range.start.cast_unsigned());
    let mut text = |_| {
        (0..37)
            .map(|_| format!("{:08x}", random.below(1 << 31)))
            .collect::<String>()
    };
    range
        .map(|s| event(&format!("{prefix}{s}"), s, &text(s)))
        .collect()
}

pub(super) fn world() -> World {
    let mut w = World::new();
    w.memory = BUDGET;
    w
}

/// Each of `files` becomes a snapshot.
pub(super) async fn snapshots(w: &mut World, files: &[RecordBatch]) -> Vec<Snapshot> {
    let mut all = Vec::new();
    for (i, f) in files.iter().enumerate() {
        w.spec.inputs.clear();
        w.raw(&format!("raw-{i}"), foreign(f, 1_000)).await;
        all.extend(w.merge().await.snapshots);
    }
    assert_eq!(all.len(), files.len());
    w.spec.inputs.clear();
    *w.progress.lock().unwrap() = (0, 0);
    all
}

pub(super) fn tables(files: &[Vec<Event>]) -> Vec<RecordBatch> {
    files
        .iter()
        .map(|f| rows(f, TimeUnit::Microsecond, None))
        .collect()
}

/// Follows the index of pages, as readers do that skip: it names the right rows, and leads to them.
pub(super) fn check_pages(bytes: &Bytes, want: &[Event]) {
    let options = || ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let open =
        || ParquetRecordBatchReaderBuilder::try_new_with_options(bytes.clone(), options()).unwrap();
    let metadata = Arc::clone(open().metadata());
    let mut first = 0;
    for (i, group) in metadata.row_groups().iter().enumerate() {
        let index = metadata.page_index_for_row_group(i);
        let Some(ColumnIndexMetaData::INT64(times)) = index.column_index(1) else {
            panic!("no index of times")
        };
        let places = index.page_locations(1).unwrap();
        assert_eq!(places.len(), times.min_values().len());
        for (place, min) in places.iter().zip(times.min_values()) {
            let row = first + usize::try_from(place.first_row_index).unwrap();
            assert_eq!(Some(*min), want[row].seconds.map(|s| s * 1_000_000));
        }
        let rows = usize::try_from(group.num_rows()).unwrap();
        for at in [first, first + rows / 2, first + rows - 2] {
            let selection =
                RowSelection::from_consecutive_ranges(std::iter::once(at..at + 2), want.len());
            let found: Vec<Event> = open()
                .with_row_selection(selection)
                .build()
                .unwrap()
                .flat_map(|b| events_of(&b.unwrap()))
                .collect();
            assert_eq!(found, want[at..at + 2]);
        }
        for column in group.columns() {
            assert!(
                column.statistics().is_some()
                    && (column.page_encoding_stats().is_some()
                        || column.page_encoding_stats_mask().is_some())
            );
        }
        first += rows;
    }
    assert_eq!(first, want.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disjoint_large_snapshots_are_copied_as_they_are() {
    let mut w = world();
    let files: Vec<_> = (0..4)
        .map(|i| noise("a", T0 + i * 5_000..T0 + i * 5_000 + 4_000))
        .collect();
    let inputs = snapshots(&mut w, &tables(&files)).await;
    w.take(&inputs);
    // The order in which they are given does not matter.
    w.spec.inputs.reverse();
    let total: u64 = inputs.iter().map(|s| s.size).sum();
    assert!(
        inputs.iter().all(|s| s.size > 512 << 10),
        "small enough to be fetched whole: {inputs:?}"
    );
    let gets = w.store.calls(Op::Get);
    let out = w.merge().await;
    let gets = w.store.calls(Op::Get) - gets;

    assert_eq!(
        (out.copied_runs, out.copied_bytes, out.snapshots.len()),
        (4, total, 1)
    );
    let want = naive(&files);
    assert_eq!(w.read(&out.snapshots).await, want);
    check_pages(&w.bytes(&out.snapshots[0].key).await, &want);
    assert_eq!(*w.progress.lock().unwrap(), (total, 16_000));
    // Of each file its end, its index, and its bytes in requests of 256 KiB.
    let requests: u64 = inputs.iter().map(|s| 2 + s.size.div_ceil(256 << 10)).sum();
    assert!(
        gets as u64 <= requests,
        "{gets} GETs, {requests} are enough"
    );

    // With row groups of 16 MiB these are small, and decoding makes the same of them.
    w.memory = 256 << 20;
    let decoded = w.merge().await;
    assert_eq!(decoded.copied_runs, 0);
    assert_eq!(decoded.snapshots[0].stats, out.snapshots[0].stats);
    assert_eq!(w.read(&decoded.snapshots).await, want);

    // A copy can be copied.
    w.memory = BUDGET;
    w.spec.inputs.clear();
    w.take(&out.snapshots);
    let again = w.merge().await;
    assert_eq!(
        (again.copied_runs, again.snapshots[0].stats),
        (1, out.snapshots[0].stats)
    );
    check_pages(&w.bytes(&again.snapshots[0].key).await, &want);
    assert!(w.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_between_is_merged_into_the_same_snapshot() {
    let mut w = world();
    let files = [
        noise("a", T0 + 100..T0 + 1_600),
        noise("b", T0 + 3_000..T0 + 4_500),
        noise("c", T0 + 6_000..T0 + 7_500),
    ];
    let inputs = snapshots(&mut w, &tables(&files)).await;
    w.take(&inputs);
    // Before, between, in the last, and after.
    let small = [
        span("w", T0..T0 + 50),
        span("x", T0 + 2_000..T0 + 2_400),
        span("y", T0 + 2_300..T0 + 2_500),
        span("z", T0 + 6_500..T0 + 8_000),
    ];
    for (i, f) in small.iter().enumerate() {
        w.events(&format!("small-{i}"), f).await;
    }
    let out = w.merge().await;
    assert_eq!(
        (out.copied_runs, out.copied_bytes, out.snapshots.len()),
        (2, inputs[0].size + inputs[1].size, 1)
    );
    let all: Vec<_> = small.iter().chain(&files).cloned().collect();
    let want = naive(&all);
    assert_eq!(w.read(&out.snapshots).await, want);
    check_pages(&w.bytes(&out.snapshots[0].key).await, &want);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_behind_a_copy_are_encoded_as_it_is() {
    let mut w = world();
    let files = [
        noise("a", T0..T0 + 2_000),
        noise("b", T0 + 3_000..T0 + 5_000),
    ];
    let inputs = snapshots(&mut w, &tables(&files[..1])).await;
    w.take(&inputs);
    w.events("b", &files[1]).await;
    let out = w.merge().await;
    assert_eq!((out.copied_runs, out.snapshots.len()), (1, 1));
    assert_eq!(w.read(&out.snapshots).await, naive(&files));
    let bytes = w.bytes(&out.snapshots[0].key).await;
    let meta = parquet::file::metadata::ParquetMetaDataReader::new()
        .parse_and_finish(&bytes)
        .unwrap();
    let encodings = |group: usize| {
        meta.row_group(group)
            .columns()
            .iter()
            .map(|c| c.encodings().collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    assert_eq!(encodings(0), encodings(meta.num_row_groups() - 1));
}

/// Merges snapshots of two disjoint batches, after `change`. How many were copied, and the rows.
async fn copied(
    files: &[RecordBatch; 2],
    change: impl FnOnce(&mut World),
) -> (u64, Vec<Event>, MergeOutcome) {
    let mut w = world();
    let inputs = snapshots(&mut w, files).await;
    w.take(&inputs);
    change(&mut w);
    let out = w.merge().await;
    let rows = w.read(&out.snapshots).await;
    (out.copied_runs, rows, out)
}

fn pair() -> [Vec<Event>; 2] {
    [
        noise("a", T0..T0 + 1_500),
        noise("b", T0 + 10_000..T0 + 11_500),
    ]
}

fn pair_tables(files: &[Vec<Event>; 2]) -> [RecordBatch; 2] {
    [
        rows(&files[0], TimeUnit::Microsecond, None),
        rows(&files[1], TimeUnit::Microsecond, None),
    ]
}

pub(super) fn at(seconds: i64) -> Micros {
    Micros(seconds * 1_000_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_leave_or_are_counted_are_decoded() {
    let files = pair();
    let (n, rows, _) = copied(&pair_tables(&files), |_| {}).await;
    assert_eq!((n, rows), (2, naive(&files)));

    let (n, rows, out) = copied(&pair_tables(&files), |w| w.spec.cutoff = Some(at(T0 + 10))).await;
    assert_eq!((n, out.rows_expired), (1, 10));
    assert_eq!(
        rows,
        naive(&files)
            .into_iter()
            .filter(|e| !expired(e, T0 + 10))
            .collect::<Vec<_>>()
    );
    // Exactly at the cutoff nothing has expired.
    let (n, _, out) = copied(&pair_tables(&files), |w| w.spec.cutoff = Some(at(T0))).await;
    assert_eq!((n, out.rows_expired), (2, 0));

    let (n, rows, out) = copied(&pair_tables(&files), |w| w.spec.now = at(T0 + 11_000)).await;
    assert_eq!((n, out.implausible, rows), (1, 499, naive(&files)));

    let mut files = pair();
    files[0][0].seconds = None;
    let (n, rows, out) = copied(&pair_tables(&files), |_| {}).await;
    // Rows without a time come before all others, but no instant is shared with them.
    assert_eq!((n, out.implausible, rows), (1, 1, naive(&files)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overlap_of_one_instant_is_decoded() {
    let files = [
        noise("a", T0..T0 + 1_500),
        noise("b", T0 + 1_499..T0 + 3_000),
    ];
    let (n, rows, _) = copied(&pair_tables(&files), |_| {}).await;
    assert_eq!((n, rows), (0, naive(&files)));
    let files = [
        noise("a", T0..T0 + 1_500),
        noise("a", T0 + 1_500..T0 + 3_000),
    ];
    let (n, rows, _) = copied(&pair_tables(&files), |_| {}).await;
    assert_eq!((n, rows), (2, naive(&files)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_columns_are_decoded() {
    let files = pair();
    let [a, b] = pair_tables(&files);
    let more: ArrayRef = Arc::new(Int32Array::from_iter(
        (0..1_500).map(|i| (i % 3 > 0).then_some(i)),
    ));
    let columns = b
        .schema()
        .fields()
        .iter()
        .zip(b.columns())
        .map(|(f, c)| (f.name().clone(), Arc::clone(c), f.is_nullable()))
        .collect::<Vec<_>>();
    let b = RecordBatch::try_from_iter_with_nullable(columns.into_iter().chain([(
        "n".to_owned(),
        more,
        true,
    )]))
    .unwrap();
    // The second has all the columns of the united snapshot.
    let (n, rows, _) = copied(&[a.clone(), b], |_| {}).await;
    assert_eq!((n, rows), (1, naive(&files)));
    let finer = super::rows(&files[1], TimeUnit::Nanosecond, None);
    let (n, rows, _) = copied(&[a, finer], |_| {}).await;
    assert_eq!((n, rows), (1, naive(&files)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_period_ends_where_it_would_end() {
    // Midnight is 6,400 s after T0.
    let day = |w: &mut World| {
        w.spec.cut = Period::Day;
        w.spec.min_piece = 1;
    };
    let files = [
        noise("a", T0 + 5_000..T0 + 6_500),
        noise("b", T0 + 7_000..T0 + 8_500),
    ];
    let (n, rows, out) = copied(&pair_tables(&files), day).await;
    assert_eq!((n, rows), (1, naive(&files)));
    assert_eq!(
        out.snapshots
            .iter()
            .map(|s| s.stats.rows)
            .collect::<Vec<_>>(),
        [1_400, 1_600]
    );
    // One day each.
    let files = [
        noise("a", T0 + 4_900..T0 + 6_400),
        noise("b", T0 + 6_400..T0 + 7_900),
    ];
    let (n, rows, out) = copied(&pair_tables(&files), day).await;
    assert_eq!((n, rows), (2, naive(&files)));
    assert_eq!(
        out.snapshots
            .iter()
            .map(|s| s.stats.rows)
            .collect::<Vec<_>>(),
        [1_500, 1_500]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_end_near_the_target() {
    let mut w = world();
    let files: Vec<_> = (0..5)
        .map(|i| noise("a", T0 + i * 2_000..T0 + i * 2_000 + 1_500))
        .collect();
    let inputs = snapshots(&mut w, &tables(&files)).await;
    w.take(&inputs);
    let size = inputs[0].size;
    // In tenths of a snapshot: with two it is full; two are nearer than three; the last two are cut
    // as evenly as may be; one is more than enough, but not too large.
    for (tenths, want) in [
        (19, vec![3_000, 3_000, 1_500]),
        (23, vec![3_000, 3_000, 1_500]),
        (27, vec![3_000, 4_500]),
        (7, vec![1_500; 5]),
    ] {
        let target = size * tenths / 10;
        w.spec.size.target = target;
        let out = w.merge().await;
        assert_eq!(out.copied_runs, 5, "{target}");
        assert_eq!(
            out.snapshots
                .iter()
                .map(|s| s.stats.rows)
                .collect::<Vec<_>>(),
            want,
            "{target}"
        );
        assert_eq!(w.read(&out.snapshots).await, naive(&files));
    }
    // Too large, and to be cut.
    w.spec.size.target = size / 3;
    let out = w.merge().await;
    assert_eq!(out.copied_runs, 0);
    assert!(out.snapshots.len() > 5);
    assert_eq!(w.read(&out.snapshots).await, naive(&files));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_not_what_the_manifest_says_is_decoded() {
    let files = pair();
    let later = |w: &mut World| {
        let stats = w.spec.inputs[0].stats.as_mut().unwrap();
        stats.max = stats.max.map(|m| Micros(m.0 + 1));
    };
    let (n, rows, _) = copied(&pair_tables(&files), later).await;
    assert_eq!((n, rows), (1, naive(&files)));

    // Its own bytes under a name that promises more than it holds: decoding says what is wrong.
    let mut w = world();
    let inputs = snapshots(&mut w, &pair_tables(&files)).await;
    w.take(&inputs);
    w.spec.inputs[0].stats.as_mut().unwrap().min = Some(at(T0 + 1));
    assert!(
        bad(w.merge_into(None).await)[0]
            .1
            .contains("not in the order that is known of it")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_groups_that_memory_has_no_room_for_are_decoded() {
    let mut w = world();
    let files = [noise("a", T0..T0 + 17_000)];
    // Row groups of 8 MiB, so there is one.
    w.memory = 64 << 20;
    let inputs = snapshots(&mut w, &tables(&files)).await;
    assert!(inputs[0].size > 2_400_000, "{inputs:?}");
    w.take(&inputs);
    // With row groups of 1 MiB there is room for two and an eighth.
    for (budget, runs) in [(8 << 20, 1), (1 << 20, 0)] {
        w.memory = budget;
        let out = w.merge().await;
        assert_eq!(
            (out.copied_runs, out.snapshots[0].stats),
            (runs, inputs[0].stats)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_program_wrote_is_decoded() {
    let files = pair();
    let mut w = world();
    let inputs = snapshots(&mut w, &pair_tables(&files)).await;
    let other = foreign(&rows(&files[0], TimeUnit::Microsecond, None), 10_000);
    w.take(&inputs);
    w.spec.inputs[0].size = other.len() as u64;
    w.store
        .inner
        .put(&Path::from(inputs[0].key.as_str()), other.into())
        .await
        .unwrap();
    let out = w.merge().await;
    assert_eq!(out.copied_runs, 1);
    assert_eq!(w.read(&out.snapshots).await, naive(&files));
}

/// Merges `w` with a `progress` of the test's own.
async fn merge_watched(
    w: &World,
    progress: impl Fn(u64) + Send + Sync + 'static,
) -> Result<MergeOutcome, MergeError> {
    let mint = Arc::new(|| FileId(ulid::Ulid::from_parts(2, 1)));
    let env = MergeEnv {
        store: w.store.store(),
        mint,
        expired: None,
        stop: Arc::clone(&w.stop),
        on_progress: Arc::new(move |bytes, _| progress(bytes)),
        spill_dir: w.dir.path().to_owned(),
        fetching: Arc::new(tokio::sync::Semaphore::new(1)),
        defers: true,
    };
    let budget = w.budget();
    merge(w.spec.clone(), budget, env).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_stops_between_requests() {
    let mut w = world();
    let inputs = snapshots(&mut w, &tables(&[noise("a", T0..T0 + 5_000)])).await;
    w.take(&inputs);
    let before = w.objects().await;
    let (stop, seen) = (
        Arc::clone(&w.stop),
        Arc::new(std::sync::Mutex::new(Vec::new())),
    );
    let list = Arc::clone(&seen);
    let watch = move |bytes| {
        list.lock().unwrap().push(bytes);
        stop.store(true, Ordering::SeqCst);
    };
    assert!(matches!(
        failed(merge_watched(&w, watch).await),
        Error::Stopped
    ));
    assert_eq!(*seen.lock().unwrap(), [256 << 10]);
    assert_eq!(w.objects().await, before);
    w.stop.store(false, Ordering::SeqCst);
    assert_eq!(w.merge().await.copied_runs, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_vanishes_while_it_is_copied_is_gone() {
    let mut w = world();
    let inputs = snapshots(&mut w, &tables(&[noise("a", T0..T0 + 5_000)])).await;
    w.take(&inputs);
    let (store, path) = (Arc::clone(&w.store), Path::from(inputs[0].key.as_str()));
    let before = w.objects().await;
    let runtime = tokio::runtime::Handle::current();
    let remove = move |_| {
        let _ = runtime.block_on(store.inner.delete(&path));
    };
    assert_eq!(
        faults(merge_watched(&w, remove).await),
        [(inputs[0].key.clone(), Flaw::Unread(Unread::Gone))]
    );
    assert_eq!(w.objects().await, before - 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_cannot_be_written_says_why() {
    let mut w = world();
    let inputs = snapshots(&mut w, &pair_tables(&pair())).await;
    w.take(&inputs);
    let store = std::mem::take(&mut w.store);
    w.store = Arc::new(
        Arc::into_inner(store)
            .unwrap()
            .with(Op::Put, &[Fault::Refused])
            .with(Op::Start, &[Fault::Refused]),
    );
    let e = failed(w.merge_into(None).await);
    assert!(
        e.to_string().contains("AccessDenied") || format!("{e:?}").contains("PermissionDenied"),
        "{e:?}"
    );
}

/// Each is decoded once. What comes of it is copied by the next merge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_written_as_it_is_to_be_is_not_copied() {
    let files = pair();
    let filtered = Writing {
        bloom_filter: vec!["payload".to_owned()],
        ..Writing::default()
    };
    let snappy = Writing {
        compression: Codec::Snappy,
        ..Writing::default()
    };
    let one_column = Writing {
        compression_columns: [("payload".to_owned(), Codec::Gzip)].into(),
        ..Writing::default()
    };
    for wanted in [filtered, snappy, one_column] {
        for (before, copied) in [(Writing::default(), 0), (wanted.clone(), 2)] {
            let mut w = world();
            w.spec.writing = before;
            let inputs = snapshots(&mut w, &pair_tables(&files)).await;
            w.take(&inputs);
            w.spec.writing = wanted.clone();
            let out = w.merge().await;
            assert_eq!(out.copied_runs, copied, "{wanted:?}");
            assert_eq!(w.read(&out.snapshots).await, naive(&files));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encodings_that_are_not_to_be_written_are_not_copied() {
    let files = pair();
    for (before, now, copied) in [
        (Encodings::Plain, Encodings::Plain, 2),
        (Encodings::Delta, Encodings::Delta, 2),
        (Encodings::Plain, Encodings::Delta, 2),
        (Encodings::Delta, Encodings::Plain, 0),
    ] {
        let mut w = world();
        w.spec.writing = before.into();
        let inputs = snapshots(&mut w, &pair_tables(&files)).await;
        w.take(&inputs);
        w.spec.writing = now.into();
        let out = w.merge().await;
        assert_eq!(out.copied_runs, copied, "{before:?} {now:?}");
        assert_eq!(w.read(&out.snapshots).await, naive(&files));
    }
}
