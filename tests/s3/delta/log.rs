//! What passes write into the log.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt64Array,
};
use chrono::{TimeDelta, Utc};
use icepack::pass::Selection;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::publish::{Layout, Publish};
use icepack_core::model::report::{RunReport, Status, TenantReport};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::support::delta::{Version, versions};
use crate::support::{
    Store, eager, event, keys, live, memory, parquet, put, put_events, read_all, seed, sorted,
    tenant_keys,
};

fn publishing(layout: Layout, keep: Duration) -> CompactionConfig {
    CompactionConfig {
        publish: Some(Publish { layout, keep }),
        ..eager()
    }
}

fn at_once() -> CompactionConfig {
    publishing(Layout::PerTenant, Duration::ZERO)
}

async fn pass(store: &Store, config: CompactionConfig) -> RunReport {
    CompactionManager::new(Arc::clone(store), config)
        .run_pass(&Selection::all())
        .await
        .unwrap()
}

fn of<'a>(report: &'a RunReport, tenant: &str) -> &'a TenantReport {
    report.tenants.iter().find(|t| t.tenant == tenant).unwrap()
}

/// A pass that does everything it is asked to.
async fn clean_pass(store: &Store, config: CompactionConfig) -> RunReport {
    let report = pass(store, config).await;
    assert!(
        report.tenants.iter().all(|t| t.error.is_none()),
        "{report:?}"
    );
    report
}

fn named(version: &Version) -> Vec<String> {
    version.files.keys().cloned().collect()
}

/// But for the records of passes.
/// Without what each pass leaves in a store: its record, and the store's marker.
fn without_runs(keys: Vec<String>) -> Vec<String> {
    keys.into_iter()
        .filter(|k| !k.starts_with("_icepack/runs/") && k != "_icepack/store.json")
        .collect()
}

async fn live_keys(store: &Store, tenant: &str) -> Vec<String> {
    live_keys_of(store, tenant, CompactionConfig::default()).await
}

async fn live_keys_of(store: &Store, tenant: &str, config: CompactionConfig) -> Vec<String> {
    let views = CompactionManager::new(Arc::clone(store), config)
        .live_views(&Selection::all())
        .await
        .unwrap();
    let mut keys: Vec<String> = views
        .into_iter()
        .filter(|v| v.tenant.as_str() == tenant)
        .flat_map(|v| v.files)
        .map(|f| f.key)
        .collect();
    keys.sort();
    keys
}

fn table_of(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    parquet(
        &RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true)))
            .unwrap(),
    )
}

fn times(n: usize) -> ArrayRef {
    let now = Utc::now().timestamp_micros();
    Arc::new(
        TimestampMicrosecondArray::from_iter_values(
            (0..n).map(|i| now - 1_000_000 * i64::try_from(i).unwrap()),
        )
        .with_timezone("UTC"),
    )
}

#[tokio::test]
async fn rows_come_move_and_expire() {
    let store = memory();
    let events = seed(&store, "acme", 4, 10, Utc::now()).await;
    let report = clean_pass(&store, at_once()).await;
    let published = of(&report, "acme").published.clone().unwrap();
    assert_eq!(
        (
            published.table_version,
            published.commits,
            published.files_added,
            published.files_removed
        ),
        (1, 2, 5, 4)
    );

    let log = versions(&store, "acme").await;
    assert_eq!(
        log.iter()
            .map(|v| (v.files.len(), v.data_change))
            .collect::<Vec<_>>(),
        [(4, Some(true)), (1, Some(false))],
        "a table without rows would be worse than none"
    );
    assert_eq!(named(&log[1]), live_keys(&store, "acme").await);
    assert_eq!(log[1].files.values().sum::<u64>(), events.len() as u64);
    let types: Vec<_> = ["event_id", "timestamp", "version"]
        .map(|c| log[0].columns[c].as_str().unwrap().to_owned())
        .into();
    assert_eq!(types, ["string", "timestamp_ntz", "long"]);

    // An idle pass writes nothing; new files are registered, though they are too few to be
    // compacted.
    let before = keys(&store).await;
    clean_pass(&store, at_once()).await;
    let after: Vec<_> = keys(&store)
        .await
        .into_iter()
        .filter(|k| !k.starts_with("_icepack/runs/"))
        .collect();
    assert_eq!(
        after,
        before
            .into_iter()
            .filter(|k| !k.starts_with("_icepack/runs/"))
            .collect::<Vec<_>>()
    );
    put_events(&store, "acme/late.parquet", &[event(900, Utc::now())]).await;
    clean_pass(&store, at_once()).await;
    let log = versions(&store, "acme").await;
    assert_eq!(
        (log.len(), log[2].files.len(), log[2].data_change),
        (3, 2, Some(true))
    );

    // Expiry is a change of the data. Half of the rows are a few hours too old, and their file is
    // rewritten.
    let mut config = CompactionConfig {
        slack: Duration::ZERO,
        max_raw_age: Duration::ZERO,
        ..at_once()
    };
    config
        .retention
        .set("acme", Some(Duration::from_secs(20 * 3600)));
    clean_pass(&store, config).await;
    let log = versions(&store, "acme").await;
    assert_eq!(log.last().unwrap().data_change, Some(true));
    let rows: u64 = log.last().unwrap().files.values().sum();
    assert_eq!(rows, live(&store, "acme").await.len() as u64);
    assert!(rows > 0 && rows < 41, "{rows}");
    assert_eq!(named(log.last().unwrap()), live_keys(&store, "acme").await);
}

#[tokio::test]
async fn readers_of_older_versions_keep_their_files() {
    let store = memory();
    let events = seed(&store, "acme", 4, 10, Utc::now()).await;
    let keep = publishing(Layout::PerTenant, Duration::from_secs(3600));
    let report = clean_pass(&store, keep.clone()).await;
    assert_eq!(of(&report, "acme").counters.files_deleted, 0);
    for version in &versions(&store, "acme").await {
        assert_eq!(
            sorted(read_all(&store, &named(version)).await),
            sorted(events.clone()),
            "every version can be read"
        );
    }
    // Longer than the table was made to remember: from now on it does.
    let report = clean_pass(
        &store,
        publishing(Layout::PerTenant, Duration::from_secs(30 * 86_400)),
    )
    .await;
    assert_eq!(of(&report, "acme").counters.files_deleted, 0);
    let newest = versions(&store, "acme").await.pop().unwrap();
    assert_eq!(
        newest.properties["delta.deletedFileRetentionDuration"],
        format!("interval {} seconds", 30 * 86_400)
    );
    let report = clean_pass(&store, at_once()).await;
    assert_eq!(of(&report, "acme").counters.files_deleted, 4);
    assert_eq!(live(&store, "acme").await, sorted(events));
}

#[tokio::test]
async fn a_table_that_nobody_follows_is_not_pulled_away() {
    let store = memory();
    seed(&store, "acme", 4, 10, Utc::now()).await;
    clean_pass(
        &store,
        publishing(Layout::PerTenant, Duration::from_secs(3600)),
    )
    .await;
    let before = keys(&store).await;
    let report = pass(&store, eager()).await;
    assert_eq!(
        (
            of(&report, "acme").status,
            of(&report, "acme").counters.files_deleted
        ),
        (Status::Refused, 0),
        "the table's readers would fail"
    );
    assert!(
        of(&report, "acme")
            .error
            .as_ref()
            .unwrap()
            .contains("a Delta table that this run does not publish"),
        "{report:?}"
    );
    assert_eq!(without_runs(keys(&store).await), without_runs(before));
    for key in tenant_keys(&store, "acme")
        .await
        .into_iter()
        .filter(|k| k.contains("/_delta_log/"))
    {
        store.delete(&Path::from(key)).await.unwrap();
    }
    let report = clean_pass(&store, eager()).await;
    assert_eq!(of(&report, "acme").counters.files_deleted, 4);
}

#[tokio::test]
async fn checkpoints_are_written_and_no_raw_files() {
    let store = memory();
    for n in 0..12 {
        put_events(
            &store,
            &format!("acme/e{n:02}.parquet"),
            &[event(n, Utc::now())],
        )
        .await;
        let config = CompactionConfig {
            min_files_to_compact: 100,
            ..at_once()
        };
        clean_pass(&store, config).await;
    }
    let log: Vec<String> = tenant_keys(&store, "acme")
        .await
        .into_iter()
        .filter(|k| k.contains("/_delta_log/"))
        .collect();
    assert!(
        log.contains(&"acme/_delta_log/00000000000000000010.checkpoint.parquet".to_owned()),
        "{log:?}"
    );
    assert!(log.contains(&"acme/_delta_log/_last_checkpoint".to_owned()));
    assert!(
        live_keys(&store, "acme")
            .await
            .iter()
            .all(|k| !k.contains("_delta_log"))
    );
    // From the checkpoint on, the versions below are not needed.
    for n in 0..10 {
        store
            .delete(&Path::from(format!("acme/_delta_log/{n:020}.json")))
            .await
            .unwrap();
    }
    put_events(&store, "acme/more.parquet", &[event(99, Utc::now())]).await;
    let report = clean_pass(&store, at_once()).await;
    let published = of(&report, "acme").published.clone().unwrap();
    assert_eq!((published.files_added, published.files_removed), (2, 13));
    let report = clean_pass(
        &store,
        CompactionConfig {
            max_raw_age: Duration::ZERO,
            ..at_once()
        },
    )
    .await;
    assert_eq!(
        of(&report, "acme").counters.files_compacted,
        0,
        "a log is no input, however old"
    );
}

#[tokio::test]
async fn a_shared_table_has_all_tenants() {
    let store = memory();
    let config = publishing(Layout::Shared, Duration::ZERO);
    for tenant in ["acme", "globex", "odd name=ü+1"] {
        seed(&store, tenant, 3, 5, Utc::now()).await;
    }
    clean_pass(&store, config.clone()).await;
    let log = versions(&store, "").await;
    let newest = log.last().unwrap();
    assert_eq!(
        newest.manifests.keys().collect::<Vec<_>>(),
        ["acme", "globex", "odd name=ü+1"]
    );
    assert!(newest.columns.contains_key("tenant"));
    let mut all = Vec::new();
    for tenant in ["acme", "globex", "odd name=ü+1"] {
        all.extend(live_keys(&store, tenant).await);
    }
    assert_eq!(named(newest), all);
    assert!(all.iter().all(|k| k.contains("/snapshot.")), "{all:?}");
    clean_pass(&store, config).await;
    assert_eq!(versions(&store, "").await.len(), log.len());
}

#[tokio::test]
async fn new_columns_come_and_strange_ones_are_named() {
    let store = memory();
    let ids = |n: usize| {
        Arc::new(StringArray::from_iter_values(
            (0..n).map(|i| format!("id-{i}")),
        )) as ArrayRef
    };
    put(
        &store,
        "acme/a.parquet",
        table_of(vec![
            ("timestamp", times(2)),
            ("event_id", ids(2)),
            ("n", Arc::new(Int32Array::from(vec![1, 2]))),
        ]),
    )
    .await;
    clean_pass(&store, at_once()).await;
    let more: Vec<(&str, ArrayRef)> = vec![
        ("timestamp", times(2)),
        ("event_id", ids(2)),
        ("note", Arc::new(StringArray::from(vec!["x", "y"]))),
        (
            "of day",
            Arc::new(arrow::array::Time64MicrosecondArray::from(vec![1, 2])),
        ),
    ];
    put(&store, "acme/b.parquet", table_of(more)).await;
    let report = clean_pass(&store, at_once()).await;
    let left_out = of(&report, "acme").published.clone().unwrap().left_out;
    assert_eq!(left_out.len(), 1);
    assert!(
        left_out[0].starts_with("column `of day`: its name has"),
        "{left_out:?}"
    );
    let log = versions(&store, "acme").await;
    assert_eq!(
        log.last().unwrap().columns.keys().collect::<Vec<_>>(),
        ["event_id", "n", "note", "timestamp"]
    );
    assert_eq!(log.last().unwrap().files.len(), 2);

    // Numbers that Delta cannot write: the file waits, the others do not.
    put(
        &store,
        "acme/c.parquet",
        table_of(vec![
            ("timestamp", times(1)),
            ("big", Arc::new(UInt64Array::from(vec![u64::MAX]))),
        ]),
    )
    .await;
    put(
        &store,
        "acme/d.parquet",
        table_of(vec![("timestamp", times(1)), ("event_id", ids(1))]),
    )
    .await;
    let report = clean_pass(
        &store,
        CompactionConfig {
            min_files_to_compact: 100,
            ..at_once()
        },
    )
    .await;
    let left_out = of(&report, "acme").published.clone().unwrap().left_out;
    assert!(
        left_out
            .iter()
            .any(|l| l.starts_with("`acme/c.parquet`") && l.contains("9223372036854775807")),
        "{left_out:?}"
    );
    let files = named(versions(&store, "acme").await.last().unwrap());
    assert_eq!(
        files,
        ["acme/a.parquet", "acme/b.parquet", "acme/d.parquet"]
    );
}

/// A pass that merges two files into a table that has a file of other columns, and shows all rows.
async fn rows_of_all(
    files: [(&str, Vec<u8>); 3],
    config: CompactionConfig,
) -> (Version, Vec<String>) {
    let store = memory();
    let [first, second, third] = files;
    put(&store, first.0, first.1).await;
    let merging = CompactionConfig {
        min_files_to_compact: 1,
        ..config
    };
    clean_pass(&store, merging.clone()).await;
    put(&store, second.0, second.1).await;
    put(&store, third.0, third.1).await;
    let report = clean_pass(&store, merging).await;
    let newest = versions(&store, "acme").await.pop().unwrap();
    assert_eq!(named(&newest), live_keys(&store, "acme").await);
    let left_out = of(&report, "acme").published.clone().unwrap().left_out;
    (newest, left_out)
}

#[tokio::test]
async fn a_type_that_outgrows_the_table_changes_the_table() {
    let file = |n: ArrayRef| table_of(vec![("timestamp", times(n.len())), ("n", n)]);
    let small = || Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef;
    for folder in ["acme", "acme/other"] {
        let files = [
            ("acme/a.parquet", file(small())),
            (&*format!("{folder}/b.parquet"), file(small())),
            (
                &*format!("{folder}/c.parquet"),
                file(Arc::new(Int64Array::from(vec![1 << 40]))),
            ),
        ];
        let (newest, left_out) = rows_of_all(files, at_once()).await;
        assert_eq!(newest.columns["n"], "long");
        assert_eq!(newest.files.values().sum::<u64>(), 5);
        assert_eq!(left_out, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_struct_with_a_new_field_changes_the_table() {
    let inner = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    let nested = |names: &[&str]| {
        let fields = names
            .iter()
            .map(|name| (*name, inner()))
            .collect::<Vec<_>>();
        let nested = arrow::array::StructArray::try_from(fields).unwrap();
        table_of(vec![("timestamp", times(1)), ("x", Arc::new(nested))])
    };
    let files = [
        ("acme/a.parquet", nested(&["a", "b"])),
        ("acme/other/b.parquet", nested(&["a", "c"])),
        ("acme/other/c.parquet", nested(&["a"])),
    ];
    let (newest, left_out) = rows_of_all(files, at_once()).await;
    let fields = newest.columns["x"]["fields"].as_array().unwrap();
    let names: Vec<_> = fields.iter().map(|f| f["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(newest.files.values().sum::<u64>(), 3);
    assert_eq!(left_out, Vec::<String>::new());
}

#[tokio::test]
async fn a_column_on_which_files_do_not_agree_costs_that_column_and_no_row() {
    let local = Arc::new(TimestampMicrosecondArray::from(vec![1, 2])) as ArrayRef;
    let zoned = Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC")) as ArrayRef;
    let numbers = Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
    let text = Arc::new(StringArray::from(vec!["x"])) as ArrayRef;
    let large = Arc::new(UInt64Array::from(vec![u64::MAX])) as ArrayRef;
    let small = Arc::new(UInt64Array::from(vec![1, 2])) as ArrayRef;
    for (folder, first, later, why) in [
        ("acme", &local, &zoned, "Timestamp(µs, \"UTC\")"),
        ("acme/other", &numbers, &text, "in other files"),
        (
            "acme/other",
            &small,
            &large,
            "has a number above 9223372036854775807",
        ),
        (
            "acme",
            &small,
            &large,
            "has a number above 9223372036854775807",
        ),
    ] {
        let file = |x: &ArrayRef| {
            table_of(vec![
                ("timestamp", times(x.len())),
                ("n", Arc::new(Int64Array::from(vec![7; x.len()]))),
                ("x", Arc::clone(x)),
            ])
        };
        let files = [
            ("acme/a.parquet", file(first)),
            (&*format!("{folder}/b.parquet"), file(later)),
            (&*format!("{folder}/c.parquet"), file(later)),
        ];
        let (newest, left_out) = rows_of_all(files, at_once()).await;
        assert_eq!(
            newest.columns.keys().collect::<Vec<_>>(),
            ["n", "timestamp"]
        );
        assert_eq!(newest.files.values().sum::<u64>(), 4);
        assert_eq!(left_out.len(), 1, "{left_out:?}");
        assert!(
            left_out[0].starts_with("column `x`: ") && left_out[0].contains(why),
            "{left_out:?}"
        );
        // What is said of the files is of columns that are there.
        assert_eq!(
            newest.properties["delta.dataSkippingStatsColumns"],
            "timestamp,n"
        );
        assert!(
            newest.stats.values().all(|s| s["minValues"]["n"] == 7),
            "{:?}",
            newest.stats
        );
    }
}

#[tokio::test]
async fn a_column_comes_back_once_the_files_that_did_not_agree_are_merged() {
    let file = |x: ArrayRef| table_of(vec![("timestamp", times(1)), ("x", x)]);
    let store = memory();
    let config = || CompactionConfig {
        min_files_to_compact: 2,
        ..at_once()
    };
    let local = Arc::new(TimestampMicrosecondArray::from(vec![1])) as ArrayRef;
    let zoned = Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC")) as ArrayRef;
    put(&store, "acme/a.parquet", file(local)).await;
    clean_pass(&store, config()).await;
    put(&store, "acme/b.parquet", file(zoned)).await;
    let mut united = config();
    united.uniting.assume_utc = true;
    clean_pass(&store, united).await;
    let log = versions(&store, "acme").await;
    let types: Vec<_> = log
        .iter()
        .map(|v| v.columns["x"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["timestamp_ntz", "timestamp"]);
    assert_eq!(
        log.iter()
            .map(|v| v.files.values().sum::<u64>())
            .collect::<Vec<_>>(),
        [1, 2]
    );
}

#[tokio::test]
async fn columns_that_differ_in_case_leave_rows_and_others_alone() {
    let store = memory();
    let file = |names: &[&str]| {
        let columns = names
            .iter()
            .map(|n| (*n, Arc::new(Int64Array::from(vec![1])) as ArrayRef));
        table_of(
            [("timestamp", times(1))]
                .into_iter()
                .chain(columns)
                .collect(),
        )
    };
    put(&store, "acme/a.parquet", file(&["Foo"])).await;
    put(&store, "acme/b.parquet", file(&["foo"])).await;
    put(&store, "acme/c.parquet", file(&["n", "Timestamp"])).await;
    let waiting = CompactionConfig {
        min_files_to_compact: 100,
        ..at_once()
    };
    let report = clean_pass(&store, waiting).await;
    let left_out = of(&report, "acme").published.clone().unwrap().left_out;
    assert_eq!(left_out.len(), 2, "{left_out:?}");
    let newest = versions(&store, "acme").await.pop().unwrap();
    assert_eq!(
        newest.columns.keys().collect::<Vec<_>>(),
        ["Foo", "n", "timestamp"]
    );
    assert_eq!(newest.files.values().sum::<u64>(), 3);
}

#[tokio::test]
async fn the_values_of_folders_are_partition_columns() {
    for layout in [Layout::PerTenant, Layout::Shared] {
        let (store, shared) = (memory(), layout == Layout::Shared);
        let folder = if shared { "" } else { "acme" };
        let of_tenant = |mut values: serde_json::Value| {
            if shared {
                values["tenant"] = "acme".into();
            }
            values
        };
        let folders = [
            (
                "dt=2026-10-01/h=12%3A00",
                serde_json::json!({"dt": "2026-10-01", "h": "12:00"}),
            ),
            (
                "dt=__HIVE_DEFAULT_PARTITION__/h=",
                serde_json::json!({"dt": null, "h": null}),
            ),
        ];
        for (folder, _) in &folders {
            for n in 0..3 {
                let key = format!("acme/{folder}/{n}.parquet");
                put_events(&store, &key, &[event(n, Utc::now())]).await;
            }
        }
        clean_pass(&store, publishing(layout, Duration::ZERO)).await;
        let log = versions(&store, folder).await;
        let by: Vec<_> = ["tenant", "dt", "h"][usize::from(!shared)..].into();
        for version in &log {
            assert_eq!(version.partition_columns, by);
            assert!(by.iter().all(|name| version.columns[*name] == "string"));
            for (key, values) in &version.partitions {
                let of = folders.iter().find(|(folder, _)| key.contains(folder));
                assert_eq!(*values, of_tenant(of.unwrap().1.clone()), "{key}");
            }
        }
        let newest = log.last().unwrap();
        assert_eq!((log[0].files.len(), newest.files.len()), (6, 2));
        assert_eq!(named(newest), live_keys(&store, "acme").await);
    }
}

fn merging(layout: Layout) -> CompactionConfig {
    CompactionConfig {
        min_files_to_compact: 2,
        ..publishing(layout, Duration::ZERO)
    }
}

/// A pass that merges, but can neither publish `acme` nor delete of it. What it says.
async fn unpublished(store: &Store, layout: Layout) -> String {
    let folder = if layout == Layout::Shared { "" } else { "acme" };
    let before = (versions(store, folder).await.len(), keys(store).await);
    let rows = async || {
        let keys = live_keys_of(store, "acme", merging(layout)).await;
        sorted(read_all(store, &keys).await)
    };
    let had = rows().await;
    assert!(!had.is_empty());
    let report = pass(store, merging(layout)).await;
    let acme = of(&report, "acme");
    let error = acme.error.clone().unwrap();
    assert_eq!(
        (acme.status, acme.counters.files_deleted),
        (Status::Failed, 0),
        "{error}"
    );
    assert!(acme.counters.files_compacted > 0, "{error}");
    assert_eq!(versions(store, folder).await.len(), before.0);
    let after = keys(store).await;
    assert!(before.1.iter().all(|key| after.contains(key)), "{after:?}");
    assert_eq!(rows().await, had);
    error
}

#[tokio::test]
async fn a_table_that_would_lack_the_values_of_folders_is_not_published() {
    for layout in [Layout::PerTenant, Layout::Shared] {
        let log = if layout == Layout::Shared {
            "_delta_log/"
        } else {
            "acme/_delta_log/"
        };
        let waiting = CompactionConfig {
            min_files_to_compact: 100,
            ..publishing(layout, Duration::ZERO)
        };
        let file = async |store: &Store, key: &str| {
            put_events(
                store,
                key,
                &[event(key.bytes().map(usize::from).sum(), Utc::now())],
            )
            .await;
        };

        // Files with and without them.
        let store = memory();
        seed(&store, "acme", 4, 10, Utc::now()).await;
        clean_pass(&store, publishing(layout, Duration::from_secs(3600))).await;
        file(&store, "acme/dt=1/a.parquet").await;
        file(&store, "acme/dt=1/b.parquet").await;
        let error = unpublished(&store, layout).await;
        assert!(
            error.contains("the folder `acme/dt=1` gives `dt`, and `acme")
                && error.contains("unset `publish.delta`"),
            "{error}"
        );

        // A table from before, and the way out.
        let store = memory();
        file(&store, "acme/a.parquet").await;
        clean_pass(&store, waiting).await;
        store.delete(&Path::from("acme/a.parquet")).await.unwrap();
        file(&store, "acme/dt=1/a.parquet").await;
        file(&store, "acme/dt=1/b.parquet").await;
        let error = unpublished(&store, layout).await;
        let expected = format!(
            "its table is partitioned by no column, and the folder `acme/dt=1` gives `dt`. Remove \
             `{log}`"
        );
        assert!(error.contains(&expected), "{error}");
        for key in keys(&store).await {
            if key.starts_with(log) {
                store.delete(&Path::from(key)).await.unwrap();
            }
        }
        clean_pass(&store, merging(layout)).await;
        let folder = log.trim_end_matches("_delta_log/").trim_end_matches('/');
        let newest = versions(&store, folder).await.pop().unwrap();
        assert_eq!(named(&newest), live_keys(&store, "acme").await);

        // A column of that name in the files, and names that no table has.
        for (folder, why) in [
            (
                "Event_ID=1",
                "gives the column `event_id`, which `acme/Event_ID=1/",
            ),
            ("a b=1", "gives the column `a b`: its name has one of space"),
        ] {
            let store = memory();
            file(&store, &format!("acme/{folder}/a.parquet")).await;
            file(&store, &format!("acme/{folder}/b.parquet")).await;
            let error = unpublished(&store, layout).await;
            assert!(error.contains(why), "{error}");
        }
    }
}

#[tokio::test]
async fn a_shared_table_has_tenants_of_the_same_folders() {
    let store = memory();
    let files = ["acme/dt=1/a", "acme/dt=1/b", "globex/a", "globex/b"];
    for (n, key) in files.into_iter().enumerate() {
        put_events(&store, &format!("{key}.parquet"), &[event(n, Utc::now())]).await;
    }
    let report = pass(&store, merging(Layout::Shared)).await;
    let errors: Vec<_> = report.tenants.iter().map(|t| t.error.clone()).collect();
    let error = errors.iter().flatten().next().unwrap();
    assert_eq!(errors.iter().flatten().count(), 1, "{errors:?}");
    assert!(error.contains("its table is partitioned by"), "{error}");

    // The tenant's own column is no folder's.
    let store = memory();
    for (n, name) in ["a", "b"].into_iter().enumerate() {
        let key = format!("acme/Tenant=x/{name}.parquet");
        put_events(&store, &key, &[event(n, Utc::now())]).await;
    }
    let error = unpublished(&store, Layout::Shared).await;
    assert!(
        error.contains("a shared table has a column of that name"),
        "{error}"
    );
}

#[tokio::test]
async fn somebody_else_s_table_is_left_alone() {
    let store = memory();
    seed(&store, "acme", 4, 10, Utc::now()).await;
    let foreign = concat!(
        r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#,
        "\n",
        r#"{"metaData":{"id":"x","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[]}","partitionColumns":[],"configuration":{},"createdTime":1}}"#,
        "\n"
    );
    put(&store, "acme/_delta_log/00000000000000000000.json", foreign).await;
    let before = keys(&store).await;
    let report = pass(&store, at_once()).await;
    let acme = of(&report, "acme");
    assert!(
        acme.error
            .as_ref()
            .unwrap()
            .contains("icepack did not make"),
        "{acme:?}"
    );
    assert_eq!(
        (
            acme.status,
            acme.counters.files_compacted,
            acme.counters.files_deleted
        ),
        (Status::Refused, 0, 0),
        "rows that it has deleted would be in a snapshot"
    );
    assert_eq!(versions(&store, "acme").await.len(), 1);
    assert_eq!(without_runs(keys(&store).await), before);

    // The same in the root, for all tenants: published or not.
    let store = memory();
    seed(&store, "acme", 4, 10, Utc::now()).await;
    put(&store, "_delta_log/00000000000000000000.json", foreign).await;
    let before = keys(&store).await;
    for config in [
        publishing(Layout::Shared, Duration::ZERO),
        eager(),
        publishing(Layout::PerTenant, Duration::ZERO),
    ] {
        let report = pass(&store, config).await;
        assert_eq!(
            (
                of(&report, "acme").status,
                of(&report, "acme").counters.files_compacted
            ),
            (Status::Refused, 0),
            "{report:?}"
        );
        assert_eq!(without_runs(keys(&store).await), before);
    }
}

#[tokio::test]
async fn passes_that_publish_at_once_agree() {
    let store = memory();
    let mut expected = Vec::new();
    for round in 0..5 {
        let events: Vec<_> = (0..6)
            .map(|n| event(round * 10 + n, Utc::now() - TimeDelta::minutes(5)))
            .collect();
        for (n, e) in events.iter().enumerate() {
            put_events(
                &store,
                &format!("acme/r{round}-{n}.parquet"),
                std::slice::from_ref(e),
            )
            .await;
        }
        expected.extend(events);
        let passes = (0..4).map(|_| pass(&store, at_once()));
        for report in futures::future::join_all(passes).await {
            assert!(
                report
                    .tenants
                    .iter()
                    .all(|t| t.error.is_none() || t.status == Status::Conflict),
                "{report:?}"
            );
        }
        let log = versions(&store, "acme").await;
        let mut rows = read_all(&store, &named(log.last().unwrap())).await;
        rows.sort();
        assert_eq!(rows, sorted(expected.clone()), "round {round}");
    }
}

#[tokio::test]
async fn a_tenant_that_is_no_more_leaves_the_shared_table() {
    let store = memory();
    let config = publishing(Layout::Shared, Duration::from_secs(3600));
    for tenant in ["acme", "globex"] {
        seed(&store, tenant, 3, 5, Utc::now()).await;
    }
    clean_pass(&store, config.clone()).await;
    for key in keys(&store).await {
        if key.starts_with("globex/") || key.starts_with("_icepack/globex/") {
            store.delete(&Path::from(key)).await.unwrap();
        }
    }
    // A pass over one tenant knows nothing of others.
    let one = CompactionManager::new(Arc::clone(&store), config.clone());
    one.compact_tenant("acme").await.unwrap();
    let named_now = async || named(versions(&store, "").await.last().unwrap());
    assert!(
        named_now()
            .await
            .iter()
            .any(|key| key.starts_with("globex/"))
    );
    let report = clean_pass(&store, config.clone()).await;
    let left = of(&report, "globex").published.clone().unwrap();
    assert_eq!((left.commits, left.files_removed), (1, 1));
    assert_eq!(named_now().await, live_keys(&store, "acme").await);
    let length = versions(&store, "").await.len();
    clean_pass(&store, config.clone()).await;
    assert_eq!(versions(&store, "").await.len(), length, "once");

    // It may come again.
    let events = seed(&store, "globex", 2, 5, Utc::now()).await;
    clean_pass(&store, config).await;
    let back: Vec<_> = named_now()
        .await
        .into_iter()
        .filter(|k| k.starts_with("globex/"))
        .collect();
    assert_eq!(sorted(read_all(&store, &back).await), sorted(events));
}

#[tokio::test]
async fn tenants_of_a_process_do_not_lose_a_shared_table_to_each_other() {
    let store = memory();
    for n in 0..40 {
        seed(&store, &format!("t{n:02}"), 2, 2, Utc::now()).await;
    }
    let config = CompactionConfig {
        concurrency: 20,
        ..publishing(Layout::Shared, Duration::ZERO)
    };
    let report = clean_pass(&store, config).await;
    let newest = versions(&store, "").await.pop().unwrap();
    assert_eq!(newest.files.values().sum::<u64>(), 160);
    // What is written once is read once: half of what it takes without.
    let gets = report.requests.get;
    assert!(gets < 40 * 30, "{gets} GETs of 40 tenants");
}

#[tokio::test]
async fn an_idle_tenant_costs_a_request_more_while_files_wait_for_readers() {
    // A shared log is read once in a pass, from its last checkpoint on.
    for (layout, more, once) in [(Layout::PerTenant, 1, 0), (Layout::Shared, 1, 11)] {
        let cost = async |publish: Option<Publish>| {
            let store = memory();
            for n in 0..5 {
                seed(&store, &format!("t{n}"), 4, 5, Utc::now()).await;
            }
            let config = CompactionConfig { publish, ..eager() };
            let first = clean_pass(&store, config.clone()).await;
            let deleted = first.totals.counters.files_deleted;
            assert_eq!(deleted == 0, publish.is_some(), "they wait");
            clean_pass(&store, config.clone()).await;
            let manager = CompactionManager::new(Arc::clone(&store), config);
            let idle = manager.run_pass(&Selection::all()).await.unwrap();
            // Of the tenants alone: what a pass costs by itself does not count.
            let own: u64 = idle
                .tenants
                .iter()
                .map(|t| t.counters.requests.kinds().iter().map(|k| k.1).sum::<u64>())
                .sum();
            assert_eq!(idle.totals.counters.files_deleted, 0);
            println!("{publish:?}: {:?}, of tenants {own}", idle.requests);
            own
        };
        let without = cost(None).await;
        let keep = Duration::from_secs(3600);
        let with = cost(Some(Publish { layout, keep })).await;
        assert!(
            with <= without + 5 * more + once,
            "{layout}: {with} requests, and {without} without"
        );
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_told_with_what_to_do() {
    let store = memory();
    seed(&store, "acme", 4, 10, Utc::now()).await;
    clean_pass(&store, at_once()).await;
    let newest = Path::from("acme/_delta_log/00000000000000000001.json");
    let body = store.get(&newest).await.unwrap().bytes().await.unwrap();
    put(
        &store,
        newest.as_ref(),
        body.slice(..body.len() / 2).to_vec(),
    )
    .await;
    put_events(&store, "acme/late.parquet", &[event(900, Utc::now())]).await;
    let report = pass(&store, at_once()).await;
    let acme = of(&report, "acme");
    let error = acme.error.clone().unwrap();
    assert_eq!(
        (acme.status, acme.counters.files_deleted),
        (Status::Failed, 0)
    );
    assert!(
        error.contains("Remove the folder `acme/_delta_log`") && error.len() < 700,
        "{error}"
    );
    for key in tenant_keys(&store, "acme").await {
        if key.contains("/_delta_log/") {
            store.delete(&Path::from(key)).await.unwrap();
        }
    }
    clean_pass(&store, at_once()).await;
    assert_eq!(
        named(versions(&store, "acme").await.last().unwrap()),
        live_keys(&store, "acme").await
    );

    // Of one that is not known to be ours, nothing is touched.
    let store = memory();
    seed(&store, "acme", 4, 10, Utc::now()).await;
    put(
        &store,
        "acme/_delta_log/00000000000000000000.json",
        "{\"commitInfo\":{}}\n{\"prot",
    )
    .await;
    let report = pass(&store, at_once()).await;
    let acme = of(&report, "acme");
    assert_eq!(
        (acme.status, acme.counters.files_compacted),
        (Status::Refused, 0),
        "{acme:?}"
    );
}

/// A hint that leads nowhere: readers that believe it fail.
#[tokio::test]
async fn a_wrong_hint_of_a_checkpoint_is_removed() {
    let store = memory();
    let config = CompactionConfig {
        min_files_to_compact: 100,
        ..at_once()
    };
    for n in 0..11 {
        let key = format!("acme/{n}.parquet");
        put_events(&store, &key, &[event(n, Utc::now())]).await;
        clean_pass(&store, config.clone()).await;
    }
    let hint = Path::from("acme/_delta_log/_last_checkpoint");
    let right = store.get(&hint).await.unwrap().bytes().await.unwrap();
    for (n, wrong) in [r#"{"version":77,"size":3}"#, "{", ""]
        .into_iter()
        .enumerate()
    {
        put(&store, hint.as_ref(), wrong.as_bytes().to_vec()).await;
        let key = format!("acme/more-{n}.parquet");
        put_events(&store, &key, &[event(100 + n, Utc::now())]).await;
        clean_pass(&store, config.clone()).await;
        assert!(store.get(&hint).await.is_err(), "{wrong}");
        assert_eq!(
            versions(&store, "acme").await.last().unwrap().files.len(),
            12 + n
        );
    }
    put(&store, hint.as_ref(), right.clone()).await;
    put_events(&store, "acme/last.parquet", &[event(200, Utc::now())]).await;
    clean_pass(&store, config).await;
    assert_eq!(
        store.get(&hint).await.unwrap().bytes().await.unwrap(),
        right
    );
}

/// A snapshot whose footer takes more memory than there is for one is in the table with its rows.
#[tokio::test]
async fn a_footer_that_is_too_large_costs_its_bounds_alone() {
    let store = memory();
    let wide = || {
        let more = (0..900).map(|n| {
            let column = Arc::new(Int64Array::from(vec![n; 3])) as ArrayRef;
            (format!("column_with_a_long_name_{n:04}"), column)
        });
        let all: Vec<(String, ArrayRef)> = std::iter::once(("timestamp".to_owned(), times(3)))
            .chain(more)
            .collect();
        table_of(
            all.iter()
                .map(|(n, a)| (n.as_str(), Arc::clone(a)))
                .collect(),
        )
    };
    for n in 0..3 {
        put(&store, &format!("acme/{n}.parquet"), wide()).await;
    }
    // Merged with room for all, and published with little.
    clean_pass(&store, eager()).await;
    let config = CompactionConfig {
        memory_limit: 64 << 20,
        concurrency: 64,
        ..at_once()
    };
    let small = table_of(vec![("timestamp", times(1))]);
    put(&store, "acme/b/small.parquet", small).await;
    let report = clean_pass(&store, config).await;
    let newest = versions(&store, "acme").await.pop().unwrap();
    assert_eq!(newest.files.values().sum::<u64>(), 10, "{report:?}");
    let left_out = &of(&report, "acme").published.as_ref().unwrap().left_out;
    assert!(
        left_out
            .iter()
            .any(|why| why.contains("raise `memory_limit`")),
        "{left_out:?}"
    );
}
