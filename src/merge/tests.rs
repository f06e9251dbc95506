//! Tests of whole merges.

mod forms;
mod later;
mod pieces;
mod random;
mod support;
mod types;
mod whole;
mod wide;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::*;
use arrow::datatypes::*;
use bytes::Bytes;

use super::*;
use crate::closing::channel;
use crate::store::object_writer::faulty::{Fault, Faulty, Op};
use icepack_core::model::file::RowStats;
use support::*;

fn bad(result: Result<MergeOutcome, MergeError>) -> Vec<(String, String)> {
    match result {
        Err(MergeError::Bad(bad)) => bad.into_iter().map(|b| (b.key, b.reason)).collect(),
        other => panic!("{other:?}"),
    }
}

/// The names of the files of each part, and what keeps it apart from those before it.
fn apart(result: Result<MergeOutcome, MergeError>) -> Vec<(String, Vec<Option<String>>)> {
    let names = |part: &Part| {
        let names = part.keys.iter().map(|k| {
            let name = k.rsplit('/').next().unwrap();
            name.trim_end_matches(".parquet").to_owned()
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        names.join(" ")
    };
    match result {
        Err(MergeError::Apart(parts)) => parts
            .iter()
            .map(|p| (names(p), p.columns.clone()))
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn faults(result: Result<MergeOutcome, MergeError>) -> Vec<(String, Flaw)> {
    match result {
        Err(MergeError::Bad(bad)) => bad.into_iter().map(|b| (b.key, b.flaw)).collect(),
        other => panic!("{other:?}"),
    }
}

fn failed(result: Result<MergeOutcome, MergeError>) -> Error {
    match result {
        Err(MergeError::Failed(e)) => e,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn overlapping_disjoint_and_unsorted_files_become_one_sorted_snapshot() {
    let mut w = World::new();
    let mut shuffled = span("c", T0 + 50..T0 + 3_000);
    shuffled.reverse();
    let files = [
        span("a", T0..T0 + 2_000),
        span("b", T0 + 1_000..T0 + 2_500),
        shuffled,
        span("d", T0 + 9_000..T0 + 12_000),
    ];
    for (i, f) in files.iter().enumerate() {
        w.events(&format!("{i}"), f).await;
    }
    let out = w.merge().await;
    assert_eq!(w.read(&out.snapshots).await, naive(&files));
    assert_eq!(out.snapshots.len(), 1);
    assert!(
        out.snapshots[0]
            .key
            .starts_with("acme/2023-11/snapshot.acme.2023-11-14T221320Z-2023-11-15T013319Z."),
        "{}",
        out.snapshots[0].key
    );
    assert_eq!(
        out.inputs.iter().map(|i| i.rows).sum::<u64>(),
        2_000 + 1_500 + 2_950 + 3_000
    );
    assert_eq!(
        out.inputs.iter().map(|i| &i.key).collect::<Vec<_>>(),
        w.spec.inputs.iter().map(|i| &i.key).collect::<Vec<_>>()
    );
    assert!(out.inputs.iter().all(|i| i.etag.is_some()));
    let total: u64 = w.spec.inputs.iter().map(|i| i.size).sum();
    assert_eq!(*w.progress.lock().unwrap(), (total, 9_450));
    assert!(w.is_clean());
}

#[tokio::test]
async fn exact_copies_go_and_everything_else_stays() {
    let mut w = World::new();
    let mut first = span("a", T0..T0 + 100);
    // A copy within the file, the same id with other content, and rows without an id.
    first.push(event("a99", T0 + 99, &format!("payload of a{}", T0 + 99)));
    let last = first[99].clone();
    first.push(last);
    first.push(event(&format!("a{}", T0 + 99), T0 + 99, "other"));
    first.push(Event {
        id: None,
        ..event("", T0 + 99, "none")
    });
    first.push(Event {
        id: None,
        ..event("", T0 + 99, "none")
    });
    let files = [first.clone(), span("a", T0 + 50..T0 + 150), first];
    for (i, f) in files.iter().enumerate() {
        w.events(&format!("{i}"), f).await;
    }
    let out = w.merge().await;
    let want = naive(&files);
    assert_eq!(w.read(&out.snapshots).await, want);
    assert_eq!(
        out.deduplicated as usize,
        files.iter().map(Vec::len).sum::<usize>() - want.len()
    );
    assert_eq!(out.id_conflicts, 1);
}

#[tokio::test]
async fn files_without_ids_have_no_duplicates() {
    let mut w = World::new();
    let batch = rows(&span("a", T0..T0 + 10), TimeUnit::Second, None)
        .project(&[1, 2])
        .unwrap();
    w.raw("0", foreign(&batch, 100)).await;
    w.raw("1", foreign(&batch, 100)).await;
    let out = w.merge().await;
    assert_eq!((out.deduplicated, out.snapshots[0].stats.rows), (0, 20));
}

#[tokio::test]
async fn units_zones_and_columns_are_united() {
    let mut w = World::new();
    let events = span("a", T0..T0 + 50);
    for (i, unit) in [
        TimeUnit::Second,
        TimeUnit::Millisecond,
        TimeUnit::Microsecond,
        TimeUnit::Nanosecond,
    ]
    .into_iter()
    .enumerate()
    {
        w.raw(
            &format!("{i}"),
            foreign(
                &rows(&events, unit, Some(["UTC", "Z", "+00:00", "+02:00"][i])),
                20,
            ),
        )
        .await;
    }
    // A file without ids, with a column that no other has.
    let extra = RecordBatch::try_from_iter(vec![
        (
            "payload",
            Arc::new(LargeStringArray::from(vec!["p"])) as ArrayRef,
        ),
        ("n", Arc::new(Int8Array::from(vec![7])) as ArrayRef),
        (
            "timestamp",
            times(TimeUnit::Second, Some("UTC"), [Some(T0 + 25)].into_iter()),
        ),
    ])
    .unwrap();
    w.raw("x", foreign(&extra, 10)).await;
    let out = w.merge().await;
    // The four are the same rows.
    assert_eq!((out.deduplicated, out.snapshots[0].stats.rows), (150, 51));
    let read = w.read(&out.snapshots).await;
    assert_eq!(read.iter().filter(|e| e.id.is_none()).count(), 1);
    let bytes = w.bytes(&out.snapshots[0].key).await;
    let schema =
        parquet::arrow::arrow_reader::ArrowReaderMetadata::load(&bytes, Default::default())
            .unwrap()
            .schema()
            .clone();
    assert_eq!(
        schema.field_with_name("timestamp").unwrap().data_type(),
        &DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
    );
    assert!(schema.field_with_name("n").unwrap().is_nullable());
}

#[tokio::test]
async fn expired_rows_leave_in_order_and_the_implausible_stay() {
    let mut w = World::new();
    let cutoff = T0 + 1_000;
    w.spec.cutoff = Some(Micros(cutoff * 1_000_000));
    let mut files = vec![span("a", T0..T0 + 2_000), span("b", T0 + 500..T0 + 1_500)];
    // A copy of an expired row, rows of 1970, of no time, and of the future.
    files.push(vec![
        files[0][10].clone(),
        event("old", 5, "old"),
        event("new", T0 + 200 * DAY, "future"),
        Event {
            seconds: None,
            ..event("null", 0, "null")
        },
    ]);
    for (i, f) in files.iter().enumerate() {
        w.events(&format!("{i}"), f).await;
    }
    let (gone, kept): (Vec<_>, Vec<_>) =
        naive(&files).into_iter().partition(|e| expired(e, cutoff));
    let (out, batches) = w.merge_collecting().await;
    assert_eq!(w.read(&out.snapshots).await, kept);
    assert_eq!(
        batches
            .iter()
            .flat_map(|b| events_of(&b.batch))
            .collect::<Vec<_>>(),
        gone
    );
    assert_eq!(
        (out.rows_expired, out.deduplicated, out.implausible),
        (gone.len() as u64, 1, 3)
    );
    assert!(
        batches
            .iter()
            .all(|b| b.to_bound == Micros(cutoff * 1_000_000) && b.from >= Micros(T0 * 1_000_000))
    );
    assert_eq!(batches[0].from, Micros(T0 * 1_000_000));
    let mut scratch = Vec::new();
    let sum = batches.iter().fold(Fingerprint::default(), |f, b| {
        f.plus(icepack_parquet::hash::fingerprint(&b.batch, &mut scratch).unwrap())
    });
    assert_eq!(out.expired_fingerprint, sum);
    // Without a sink they are dropped, and counted the same.
    let dropped = w.merge().await;
    assert_eq!(
        (dropped.rows_expired, dropped.expired_fingerprint),
        (out.rows_expired, sum)
    );
}

/// With an archive, rows that have expired stay until they are worth an object, or are overdue.
#[tokio::test]
async fn expired_rows_that_may_wait_are_kept_and_not_lost() {
    let mut w = World::new();
    w.events("a", &span("a", T0..T0 + 100)).await;
    w.spec.cutoff = Some(Micros((T0 + 50) * 1_000_000));
    let rule = |min_object_size, slack_s| {
        Some(LeaveRule {
            min_object_size,
            slack: Duration::from_secs(slack_s),
        })
    };
    for (leave, expired) in [
        (None, 50),
        (rule(1 << 20, 3_600), 0),
        (rule(1 << 20, 50), 0),
        (rule(1 << 20, 49), 50),
        (rule(1, 3_600), 50),
    ] {
        w.spec.leave = leave;
        let (out, batches) = w.merge_collecting().await;
        assert_eq!(
            (out.rows_expired, w.read(&out.snapshots).await.len()),
            (expired, 100 - usize::try_from(expired).unwrap()),
            "{leave:?}"
        );
        assert_eq!(batches.is_empty(), expired == 0, "{leave:?}");
    }
    // A snapshot's times are known from the manifest.
    w.spec.leave = rule(1 << 20, 3_600);
    let first = w.merge().await;
    w.spec.inputs.clear();
    w.take(&first.snapshots);
    assert_eq!(w.merge().await.rows_expired, 0);
    w.spec.leave = rule(1 << 20, 49);
    assert_eq!(w.merge().await.rows_expired, 50);
}

#[tokio::test]
async fn the_cutoff_is_exact_in_every_unit() {
    for (unit, cutoff_micros, kept) in [
        (TimeUnit::Second, T0 * 1_000_000, 2),
        (TimeUnit::Second, T0 * 1_000_000 + 1, 1),
        (TimeUnit::Second, T0 * 1_000_000 - 1, 2),
        (TimeUnit::Nanosecond, T0 * 1_000_000, 2),
        (TimeUnit::Nanosecond, T0 * 1_000_000 + 1, 1),
        (TimeUnit::Millisecond, (T0 + 1) * 1_000_000, 1),
        (TimeUnit::Microsecond, (T0 + 1) * 1_000_000 + 1, 0),
    ] {
        let mut w = World::new();
        w.spec.cutoff = Some(Micros(cutoff_micros));
        w.raw(
            "0",
            foreign(&rows(&span("a", T0 - 1..T0 + 2), unit, None), 10),
        )
        .await;
        let out = w.merge().await;
        assert_eq!(
            (
                out.snapshots.iter().map(|s| s.stats.rows).sum::<u64>(),
                out.rows_expired
            ),
            (kept, 3 - kept),
            "{unit:?} {cutoff_micros}"
        );
    }
}

#[tokio::test]
async fn what_expires_as_a_whole_leaves_no_snapshot() {
    let mut w = World::new();
    w.spec.cutoff = Some(Micros((T0 + DAY) * 1_000_000));
    w.events("0", &span("a", T0..T0 + 100)).await;
    let out = w.merge().await;
    assert_eq!((out.snapshots.len(), out.rows_expired), (0, 100));
}

#[tokio::test]
async fn snapshots_end_with_the_month_or_the_day_once_they_are_worth_a_file() {
    let day = |d: i64| span(&format!("d{d}-"), T0 + d * DAY..T0 + d * DAY + 300);
    let spans = |out: &MergeOutcome| {
        let mut days = BTreeMap::new();
        for s in &out.snapshots {
            days.insert(s.key.split('.').nth(2).unwrap().to_owned(), s.stats.rows);
        }
        days
    };
    let mut w = World::new();
    w.spec.min_piece = 1;
    let mut files = vec![vec![Event {
        seconds: None,
        ..event("null", 0, "")
    }]];
    // 14th of November to 18th, then 2nd of December.
    files.extend([0, 1, 2, 3, 18].map(day));
    for (i, f) in files.iter().enumerate() {
        w.events(&format!("{i}"), f).await;
    }
    let out = w.merge().await;
    assert_eq!(spans(&out).into_values().collect::<Vec<_>>(), [1_201, 300]);
    assert!(out.snapshots[1].key.starts_with("acme/2023-12/"));
    w.spec.cut = Period::Day;
    let out = w.merge().await;
    // The undated row goes with the first day; 22:13 + 300 s stays within a day.
    assert_eq!(
        spans(&out).into_values().collect::<Vec<_>>(),
        [301, 300, 300, 300, 300]
    );
    assert_eq!(w.read(&out.snapshots).await, naive(&files));
    w.spec.min_piece = 1 << 40;
    assert_eq!(w.merge().await.snapshots.len(), 1);
}

#[tokio::test]
async fn snapshots_end_at_the_target_size() {
    let mut w = World::new();
    w.spec.size.target = 100 << 10;
    let mut random = Random(7);
    let mut files = Vec::new();
    for f in 0..6 {
        let events: Vec<_> = (0..4_000)
            .map(|i| {
                event(
                    &format!("{f}-{i}"),
                    T0 + i,
                    &format!(
                        "{:016x}{:016x}",
                        random.below(u64::MAX),
                        random.below(u64::MAX)
                    ),
                )
            })
            .collect();
        w.events(&format!("{f}"), &events).await;
        files.push(events);
    }
    let out = w.merge().await;
    assert!(out.snapshots.len() > 2, "{}", out.snapshots.len());
    assert!(
        out.snapshots
            .iter()
            .all(|s| (80 << 10..125 << 10).contains(&s.size)),
        "{:?}",
        out.snapshots.iter().map(|s| s.size).collect::<Vec<_>>()
    );
    assert_eq!(w.read(&out.snapshots).await, naive(&files));
    // The same inputs give the same bytes, but for what the ids put into names.
    let again = w.merge().await;
    for (a, b) in out.snapshots.iter().zip(&again.snapshots) {
        assert_ne!(a.key, b.key);
        assert_eq!(w.bytes(&a.key).await, w.bytes(&b.key).await);
    }
}

#[tokio::test]
async fn files_without_rows_are_taken_like_others() {
    let mut w = World::new();
    w.events("0", &[]).await;
    w.events("1", &span("a", T0..T0 + 10)).await;
    w.events("2", &[]).await;
    let out = w.merge().await;
    assert_eq!((out.inputs.len(), out.snapshots[0].stats.rows), (3, 10));
    let mut w = World::new();
    w.events("0", &[]).await;
    let out = w.merge().await;
    assert_eq!((out.inputs.len(), out.snapshots.len()), (1, 0));
    assert_eq!(World::new().merge().await.inputs.len(), 0);
}

#[tokio::test]
async fn every_file_that_cannot_be_read_is_named_at_once() {
    let mut w = World::new();
    let good = file(&span("a", T0..T0 + 10));
    w.raw("empty", Bytes::new()).await;
    w.raw("good", good.clone()).await;
    w.raw("text", "hello, this is not parquet at all".into())
        .await;
    w.raw("cut", good.slice(..good.len() - 20)).await;
    let other = RecordBatch::try_from_iter(vec![
        (
            "timestamp",
            times(TimeUnit::Second, None, [Some(1)].into_iter()),
        ),
        ("payload", Arc::new(Int32Array::from(vec![1])) as ArrayRef),
    ])
    .unwrap();
    w.raw("other", foreign(&other, 10)).await;
    let timeless = RecordBatch::try_from_iter(vec![(
        "time",
        times(TimeUnit::Second, None, [Some(1)].into_iter()),
    )])
    .unwrap();
    w.raw("timeless", foreign(&timeless, 10)).await;
    let found = bad(w.merge_into(None).await);
    let keys: Vec<_> = found.iter().map(|(k, _)| k.as_str()).collect();
    assert_eq!(
        keys,
        [
            "acme/empty.parquet",
            "acme/text.parquet",
            "acme/cut.parquet",
            "acme/timeless.parquet"
        ]
    );
    assert!(found[3].1.contains("`timestamp_column`"), "{}", found[3].1);
    let before = w.objects().await;
    w.spec.inputs.retain(|i| !keys.contains(&i.key.as_str()));
    // What can be read is compared once nothing else is wrong.
    assert_eq!(
        apart(w.merge_into(None).await),
        [
            ("good".to_owned(), vec![]),
            ("other".to_owned(), vec![Some("payload".to_owned())])
        ]
    );
    w.spec.inputs.retain(|i| !i.key.contains("other"));
    assert_eq!(w.merge().await.snapshots[0].stats.rows, 10);
    assert_eq!(w.objects().await, before + 1);
}

#[tokio::test]
async fn a_damaged_page_is_found_while_merging_and_names_its_file() {
    let mut w = World::new();
    w.events("good", &span("a", T0..T0 + 5_000)).await;
    let mut damaged = file(&span("b", T0..T0 + 5_000)).to_vec();
    // In the pages of the ids of the first row group, which the profile does not read.
    damaged[200..600].fill(0xff);
    w.raw("damaged", damaged.into()).await;
    let found = bad(w.merge_into(None).await);
    assert_eq!(
        (found.len(), found[0].0.as_str()),
        (1, "acme/damaged.parquet")
    );
    assert!(w.is_clean());
}

#[tokio::test]
async fn an_input_that_is_gone_or_changed_is_not_its_own_fault() {
    let mut w = World::new();
    w.events("0", &span("a", T0..T0 + 10)).await;
    let planned = w.spec.inputs[0].clone();
    w.spec.inputs[0].key = "acme/nowhere.parquet".into();
    assert_eq!(
        faults(w.merge_into(None).await),
        [(
            "acme/nowhere.parquet".to_owned(),
            Flaw::Unread(Unread::Gone)
        )]
    );
    w.spec.inputs[0] = PlannedInput {
        etag: Some("\"other\"".into()),
        ..planned.clone()
    };
    assert_eq!(
        faults(w.merge_into(None).await),
        [(planned.key.clone(), Flaw::Unread(Unread::Changed))]
    );
    w.spec.inputs[0] = planned;
    w.store = Arc::new(Faulty::default().with(Op::Get, &[Fault::Transient]));
    assert!(matches!(
        failed(w.merge_into(None).await),
        Error::Store { .. }
    ));
}

#[tokio::test]
async fn a_snapshot_must_be_what_the_manifest_says() {
    let mut w = World::new();
    w.events("0", &span("a", T0..T0 + 1_000)).await;
    let out = w.merge().await;
    w.spec.inputs.clear();
    w.take(&out.snapshots);
    w.events("1", &span("b", T0 + 500..T0 + 600)).await;
    assert_eq!(w.merge().await.snapshots[0].stats.rows, 1_100);
    let right = w.spec.inputs[0].clone();
    let stats = right.stats.unwrap();
    let wrong = [
        RowStats { rows: 999, ..stats },
        RowStats {
            fingerprint: Fingerprint(1),
            ..stats
        },
        RowStats {
            min: Some(Micros((T0 + 1) * 1_000_000)),
            ..stats
        },
    ];
    for stats in wrong {
        w.spec.inputs[0] = PlannedInput {
            stats: Some(stats),
            ..right.clone()
        };
        assert_eq!(bad(w.merge_into(None).await)[0].0, right.key);
    }
    w.spec.inputs[0] = PlannedInput {
        size: right.size + 1,
        ..right.clone()
    };
    assert!(
        bad(w.merge_into(None).await)[0]
            .1
            .contains("the manifest says")
    );
    // A copied bucket gives other tags.
    w.spec.inputs[0] = PlannedInput {
        etag: Some("\"copied\"".into()),
        ..right
    };
    w.merge().await;
}

#[tokio::test]
async fn a_time_that_a_finer_unit_cannot_hold_keeps_its_file_apart_from_finer_ones() {
    // Year 9999, the common stand-in for "never", does not fit into nanoseconds.
    let never = vec![event("a", T0, "x"), event("b", 253_402_214_400, "never")];
    let mut w = World::new();
    w.events("micros", &never).await;
    for name in ["nanos-1", "nanos-2"] {
        let finer = rows(&span(name, T0..T0 + 5), TimeUnit::Nanosecond, None);
        w.raw(name, foreign(&finer, 10)).await;
    }
    for _ in 0..3 {
        assert_eq!(
            apart(w.merge_into(None).await),
            [
                ("nanos-1 nanos-2".to_owned(), vec![]),
                ("micros".to_owned(), vec![Some("timestamp".to_owned())])
            ]
        );
        w.spec.inputs.rotate_left(1);
    }
    w.spec.inputs.retain(|i| i.key.contains("nanos"));
    assert_eq!(w.merge().await.snapshots[0].stats.rows, 10);
}

#[tokio::test]
async fn inputs_are_put_into_as_few_classes_as_the_first_fit_finds() {
    let mut w = World::new();
    let time = || times(TimeUnit::Second, None, [Some(T0)].into_iter());
    let text = || Arc::new(StringArray::from(vec!["x"])) as ArrayRef;
    let number = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    let small = || Arc::new(Int8Array::from(vec![1])) as ArrayRef;
    let files: [(&str, Vec<(&str, ArrayRef)>); 6] = [
        ("number", vec![("x", number())]),
        ("small", vec![("x", small())]),
        ("text-1", vec![("x", text())]),
        ("text-2", vec![("x", text()), ("y", text())]),
        ("none", vec![("z", text())]),
        ("other", vec![("x", text()), ("y", number())]),
    ];
    for (name, columns) in files {
        let columns = [("timestamp", time())].into_iter().chain(columns);
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        w.raw(name, foreign(&batch, 10)).await;
    }
    let x = || Some("x".to_owned());
    assert_eq!(
        apart(w.merge_into(None).await),
        [
            ("none text-1 text-2".to_owned(), vec![]),
            ("number small".to_owned(), vec![x()]),
            ("other".to_owned(), vec![Some("y".to_owned()), x()]),
        ]
    );
    assert!(
        w.objects().await == 6 && w.is_clean(),
        "nothing was written"
    );
}

#[tokio::test]
async fn a_sink_that_goes_away_fails_the_merge_and_nothing_is_left_open() {
    let mut w = World::new();
    w.spec.cutoff = Some(Micros((T0 + DAY) * 1_000_000));
    for i in 0..5 {
        w.events(&format!("{i}"), &span(&format!("{i}-"), T0..T0 + 5_000))
            .await;
    }
    let (sink, batches) = channel(1);
    drop(batches);
    assert!(matches!(
        failed(w.merge_into(Some(sink)).await),
        Error::Archive { .. }
    ));
    assert!(w.is_clean());
}

#[tokio::test]
async fn a_merge_that_is_told_to_stop_stops() {
    let mut w = World::new();
    w.events("0", &span("a", T0..T0 + 10)).await;
    w.stop.store(true, Ordering::SeqCst);
    assert!(matches!(failed(w.merge_into(None).await), Error::Stopped));
    // Midway, by whoever takes the expired rows.
    w.stop.store(false, Ordering::SeqCst);
    w.spec.cutoff = Some(Micros((T0 + DAY) * 1_000_000));
    for i in 1..20 {
        w.events(&format!("{i}"), &span(&format!("{i}-"), T0..T0 + 5_000))
            .await;
    }
    let (sink, mut batches) = channel(1);
    let stop = Arc::clone(&w.stop);
    let reader = tokio::spawn(async move {
        batches.recv().await.unwrap();
        stop.store(true, Ordering::SeqCst);
        while let Ok(Some(_)) = batches.recv().await {}
    });
    assert!(matches!(
        failed(w.merge_into(Some(sink)).await),
        Error::Stopped
    ));
    reader.await.unwrap();
    assert!(w.is_clean());
}

#[tokio::test]
async fn a_store_that_refuses_the_output_is_quoted() {
    let mut w = World::new();
    w.store = Arc::new(Faulty::default().with(Op::Put, &[Fault::Refused]));
    w.events("0", &span("a", T0..T0 + 10)).await;
    assert!(
        failed(w.merge_into(None).await)
            .to_string()
            .contains("AccessDenied")
    );
}
