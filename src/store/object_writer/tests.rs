//! Tests of writing one object.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Attributes, ObjectStore, ObjectStoreExt};

use super::faulty::{Fault, Faulty, Op};
use super::upload::StoreDestination;
use super::*;
use crate::store::retry::RetryPolicy;
use icepack_core::model::time_column::TimeColumn;
use icepack_core::model::units::GIB;
use icepack_parquet::read_stats;

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    Arc::new(Schema::new(vec![
        Field::new("timestamp", time, true),
        Field::new("payload", DataType::Utf8, false),
    ]))
}

/// Hard to compress, so that sizes can be told apart.
fn batch(from: i64, rows: i64) -> RecordBatch {
    let mut x = from.cast_unsigned() | 1;
    let mut noise = move || {
        x = x
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        format!("{x:016x}{:016x}", x.rotate_left(17) ^ 0xdead_beef)
    };
    let times = TimestampNanosecondArray::from_iter_values(
        (from..from + rows).map(|i| 1_700_000_000_000_000_001 + i * 1_000_000_000),
    );
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(times),
            Arc::new(StringArray::from_iter_values((0..rows).map(|_| noise()))),
        ],
    )
    .unwrap()
}

fn small() -> Buffers {
    Buffers {
        row_group: 64 << 10,
        single: 256 << 10,
        part: 128 << 10,
        largest: 128 << 10,
        in_flight: 3,
    }
}

fn spec(store: Arc<dyn ObjectStore>, retry: RetryPolicy, buffers: Buffers) -> ObjectSpec {
    ObjectSpec {
        destination: Arc::new(StoreDestination {
            store,
            attributes: Attributes::default(),
            retry,
        }),
        schema: schema(),
        dater: Dater::of(&TimeColumn::default(), &schema(), "t/x").unwrap(),
        is_sorted: true,
        name: Box::new(|from, to| format!("t/{}-{}.parquet", from.0, to.0)),
        to_bound: Micros(1_800_000_000_000_000),
        buffers,
        writing: icepack_core::model::policy::Writing::default(),
        metadata: Vec::new(),
    }
}

fn quick() -> RetryPolicy {
    RetryPolicy {
        initial: Duration::from_millis(1),
        factor: 2.0,
        max_interval: Duration::from_millis(5),
        max_elapsed: Duration::from_secs(5),
    }
}

/// Writes `batches` batches of 4096 rows.
async fn write(store: &Arc<Faulty>, retry: RetryPolicy, batches: i64) -> Result<WrittenObject> {
    let spec = spec(store.store(), retry, small());
    let work = move || {
        let mut writer = ObjectWriter::begin(spec);
        for i in 0..batches {
            writer.write(&batch(i * 4_096, 4_096))?;
        }
        writer.finish()
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn check(store: Arc<dyn ObjectStore>, written: &WrittenObject) {
    let meta = store.head(&Path::from(written.key.as_str())).await.unwrap();
    assert_eq!((meta.size, &meta.e_tag), (written.size, &written.etag));
    assert_eq!(
        read_stats(store, written.key.clone(), written.size, "timestamp")
            .await
            .unwrap(),
        written.stats
    );
}

#[tokio::test]
async fn a_small_object_is_one_put_with_its_exact_range_in_the_name() {
    let store = Arc::new(Faulty::default());
    let written = write(&store, RetryPolicy::NEVER, 1).await.unwrap();
    // Nanoseconds: the start is rounded down, the end up.
    assert_eq!(
        written.key,
        format!(
            "t/{}-{}.parquet",
            1_700_000_000_000_000i64,
            1_700_000_000_000_001i64 + 4_095 * 1_000_000
        )
    );
    assert_eq!((written.stats.rows, written.stats.undated), (4_096, 0));
    assert_eq!((store.calls(Op::Put), store.calls(Op::Start)), (1, 0));
    check(store.store(), &written).await;
}

#[tokio::test]
async fn a_large_object_is_uploaded_in_equal_parts_under_a_bound() {
    let store = Arc::new(Faulty::default());
    let written = write(&store, RetryPolicy::NEVER, 20).await.unwrap();
    assert!(
        written.key.ends_with("-1800000000000000.parquet"),
        "{}",
        written.key
    );
    let parts = written.size.div_ceil(128 << 10);
    assert_eq!(store.calls(Op::Part) as u64, parts);
    assert_eq!(
        (store.largest_part(), store.calls(Op::Put), store.aborted()),
        (128 << 10, 0, 0)
    );
    assert!(parts > 5);
    check(store.store(), &written).await;
}

#[tokio::test]
async fn rows_without_a_date_are_named_from_the_epoch() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let spec = spec(store.clone(), RetryPolicy::NEVER, small());
    let rows = RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(TimestampNanosecondArray::from(vec![None, Some(5)])),
            Arc::new(StringArray::from(vec!["a", "b"])),
        ],
    )
    .unwrap();
    let work = move || {
        let mut writer = ObjectWriter::begin(spec);
        writer.write(&rows)?;
        writer.finish()
    };
    let written = tokio::task::spawn_blocking(work).await.unwrap().unwrap();
    assert_eq!(
        (
            written.key.as_str(),
            written.stats.undated,
            written.stats.min
        ),
        ("t/0-0.parquet", 2, None)
    );
    check(store, &written).await;
}

#[tokio::test]
async fn a_put_that_was_done_although_nobody_heard_of_it_is_ours() {
    let store = Arc::new(Faulty::default().with(Op::Put, &[Fault::Retried]));
    check(
        store.store(),
        &write(&store, RetryPolicy::NEVER, 1).await.unwrap(),
    )
    .await;
    // Our own second try meets what the first has left.
    let store = Arc::new(Faulty::default().with(Op::Put, &[Fault::LostReply]));
    check(store.store(), &write(&store, quick(), 1).await.unwrap()).await;
    let store = Arc::new(Faulty::default().with(Op::Complete, &[Fault::LostReply]));
    check(
        store.store(),
        &write(&store, RetryPolicy::NEVER, 20).await.unwrap(),
    )
    .await;
    assert_eq!(store.aborted(), 0);
}

#[tokio::test]
async fn somebody_elses_object_of_that_name_is_not_taken_for_ours() {
    let store = Arc::new(Faulty::default());
    let written = write(&store, RetryPolicy::NEVER, 1).await.unwrap();
    store
        .inner
        .put(&Path::from(written.key.as_str()), "other".into())
        .await
        .unwrap();
    let error = write(&store, RetryPolicy::NEVER, 1)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("the store shows 5"), "{error}");
}

#[tokio::test]
async fn an_upload_that_fails_is_aborted_and_says_why() {
    for (op, faults) in [
        (Op::Part, [Fault::Transient]),
        (Op::Complete, [Fault::Transient]),
    ] {
        let store = Arc::new(Faulty::default().with(op, &faults));
        let error = write(&store, RetryPolicy::NEVER, 20)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("connection reset"), "{op:?} {error}");
        assert_eq!(store.aborted(), 1, "{op:?}");
    }
    let store = Arc::new(Faulty::default().with(Op::Start, &[Fault::Refused]));
    assert!(
        write(&store, quick(), 20)
            .await
            .unwrap_err()
            .to_string()
            .contains("AccessDenied")
    );
    let store = Arc::new(Faulty::default().with(Op::Start, &[Fault::Transient, Fault::Transient]));
    check(store.store(), &write(&store, quick(), 20).await.unwrap()).await;
}

#[tokio::test]
async fn an_object_that_is_given_up_leaves_nothing() {
    let store = Arc::new(Faulty::default());
    let spec = spec(store.store(), RetryPolicy::NEVER, small());
    let work = move || {
        let mut writer = ObjectWriter::begin(spec);
        for i in 0..20 {
            writer.write(&batch(i * 4_096, 4_096)).unwrap();
        }
    };
    tokio::task::spawn_blocking(work).await.unwrap();
    // The end of the writer has waited for the store.
    assert_eq!((store.aborted(), store.calls(Op::Complete)), (1, 0));
    assert!(store.inner.head(&Path::from("t")).await.is_err());
}

#[test]
fn buffers_follow_the_budget_between_their_bounds() {
    assert_eq!(
        Buffers::within(0),
        Buffers {
            row_group: 1 << 20,
            single: 8 << 20,
            part: 8 << 20,
            largest: 8 << 20,
            in_flight: 1
        }
    );
    assert_eq!(
        Buffers::within(512 << 20),
        Buffers {
            row_group: 16 << 20,
            single: 16 << 20,
            part: 8 << 20,
            largest: 128 << 20,
            in_flight: 4
        }
    );
}

/// Bytes that fit into one object, and those of its largest part.
fn capacity(buffers: Buffers) -> (u64, u64) {
    let (part, largest) = (buffers.part as u64, buffers.largest as u64);
    (0..MOST_PARTS).fold((0, 0), |(sent, most), _| {
        let next = part_after(sent, part, largest);
        (sent + next, most.max(next))
    })
}

#[test]
fn parts_grow_so_that_ten_thousand_are_enough() {
    let (bytes, largest) = capacity(Buffers::within(64 * GIB));
    assert!(
        bytes >= 5 << 40 && largest <= 5 * GIB,
        "S3's largest object in {bytes} bytes, and its largest part in {largest}"
    );
    let buffers = Buffers::within(256 << 20);
    let (bytes, largest) = capacity(buffers);
    assert!(
        bytes > 300 * GIB && largest == 64 << 20,
        "no more than a quarter of the budget: {bytes}, {largest}"
    );
    // R2 wants all parts but the last to be equal.
    let first = (0..5_000).map(|n| part_after(n * (8 << 20), 8 << 20, largest));
    assert!(first.into_iter().all(|size| size == 8 << 20));
}

#[test]
fn an_object_of_known_size_is_sent_in_equal_parts() {
    let buffers = Buffers::within(256 << 20);
    assert_eq!(buffers.expecting(1 << 30), buffers);
    let large = buffers.expecting(100 << 30);
    assert_eq!((large.part, large.in_flight), (26 << 20, 1));
    assert!((0..100 * 1024 / 26).all(|n| part_after(
        n * (26 << 20),
        26 << 20,
        large.largest as u64
    ) == 26 << 20));
    assert_eq!(
        buffers.expecting(u64::MAX).part,
        64 << 20,
        "no more than a quarter of the budget"
    );
}
