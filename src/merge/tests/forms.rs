//! Rows that no timestamp dates.

use super::whole::{noise, snapshots, tables, world};
use super::*;
use icepack_core::model::time_column::TimeColumn;

fn by(w: &mut World, column: &str) {
    w.spec.columns.timestamp = column.parse().unwrap();
    w.spec.place = Place::Folder("acme/day=2023-11-14".into());
}

/// The first of each event's rows, in the order of the file.
async fn ids(w: &World, outcome: &MergeOutcome) -> Vec<String> {
    let mut ids = Vec::new();
    for s in &outcome.snapshots {
        let events = decode(w.bytes(&s.key).await);
        ids.extend(events.into_iter().map(|e| e.id.unwrap()));
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_one_time_stay_in_the_order_of_their_files_and_in_memory() {
    for column in ["none", "path day=%Y-%m-%d"] {
        let mut w = world();
        by(&mut w, column);
        // More than may be open at once.
        let files: Vec<_> = (0..40)
            .map(|i| noise("a", T0 - i * 400..T0 - i * 400 + 400))
            .collect();
        for (i, table) in tables(&files).iter().enumerate() {
            let name = format!("day=2023-11-14/{:02}", 39 - i);
            w.raw(&name, foreign(table, 100)).await;
        }
        let out = w.merge().await;
        let want: Vec<String> = files
            .iter()
            .flatten()
            .map(|e| e.id.clone().unwrap())
            .collect();
        assert_eq!(ids(&w, &out).await, want, "{column}");
        let [snapshot] = out.snapshots.as_slice() else {
            panic!("{:?}", out.snapshots)
        };
        assert_eq!(snapshot.dated_by.as_deref(), Some(column));
        let stats = snapshot.stats;
        assert_eq!(stats.undated, if column == "none" { 16_000 } else { 0 });
        assert_eq!(
            (out.spilled_runs, out.implausible, out.copied_runs),
            (0, 0, 0),
            "{column}"
        );

        // As an input it is in order by what the manifest says.
        w.spec.inputs.clear();
        w.take(&out.snapshots);
        w.raw(
            "day=2023-11-14/late",
            foreign(&tables(&[noise("b", T0 - 9..T0)])[0], 100),
        )
        .await;
        let again = w.merge().await;
        let late = noise("b", T0 - 9..T0).into_iter().map(|e| e.id.unwrap());
        let want: Vec<String> = want.into_iter().chain(late).collect();
        assert_eq!(ids(&w, &again).await, want, "{column}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_of_epochs_are_copied_and_those_of_text_are_not() {
    let as_epochs = |times: &ArrayRef| arrow::compute::cast(times, &DataType::Int64).unwrap();
    let as_text = |times: &ArrayRef| arrow::compute::cast(times, &DataType::Utf8).unwrap();
    for (column, cast, copied) in [
        (
            "timestamp as us",
            &as_epochs as &dyn Fn(&ArrayRef) -> ArrayRef,
            3,
        ),
        ("timestamp", &as_text, 0),
    ] {
        let mut w = world();
        by(&mut w, column);
        let files: Vec<_> = (0..3)
            .map(|i| noise("a", T0 + i * 5_000..T0 + i * 5_000 + 4_000))
            .collect();
        let tables: Vec<RecordBatch> = tables(&files)
            .iter()
            .map(|table| {
                let times = cast(table.column(1));
                let columns = [
                    ("event_id", Arc::clone(table.column(0)), true),
                    ("timestamp", times, true),
                    ("payload", Arc::clone(table.column(2)), true),
                ];
                RecordBatch::try_from_iter_with_nullable(columns).unwrap()
            })
            .collect();
        let inputs = snapshots(&mut w, &tables).await;
        w.take(&inputs);
        let out = w.merge().await;
        assert_eq!(
            (out.copied_runs, out.snapshots.len()),
            (copied, 1),
            "{column}"
        );
        let s = &out.snapshots[0];
        let stats = icepack_parquet::read_stats(w.store.store(), s.key.clone(), s.size, column);
        assert_eq!(stats.await.unwrap(), s.stats, "{column}");
        let all = inputs
            .iter()
            .fold(RowStats::default(), |sum, s| sum.plus(s.stats));
        assert_eq!(s.stats, all);
        assert_eq!(
            TimeColumn::told(s.dated_by.as_deref().unwrap()).as_str(),
            column
        );
    }
}
