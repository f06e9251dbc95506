//! One odd input stops nobody: it is left where it is by its real cause, and its neighbours are
//! compacted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use icepack::pass::Selection;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::manifest::Manifest;
use icepack_core::model::report::{RunReport, Status};
use icepack_dst::intercept::{InterceptStore, Kind};
use object_store::path::Path;
use object_store::{ObjectStoreExt, Result};

use crate::support::{
    Event, Store, eager, get, keys, live, memory, parquet, put, put_events, series, sorted,
    tenant_keys,
};

use super::*;

/// What becomes of a read of one key.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// Its writer has just added to it.
    Grows,
    /// The listing shows it, and it is not there.
    Gone,
    Denied,
    Frozen,
    /// It may be read, and not deleted.
    Locked,
    /// Another run compacts the tenant and deletes the file first.
    Taken,
}

/// A store in which keys that hold `within` have that fate.
fn odd(inner: &Store, within: impl Into<String>, fate: Fate) -> Store {
    let (within, store) = (within.into(), Arc::clone(inner));
    let taken = Arc::new(AtomicBool::new(false));
    Arc::new(InterceptStore::before(Arc::clone(inner), move |request| {
        let applies = request.key.as_ref().contains(&within)
            && match request.kind {
                Kind::Get | Kind::Head => fate != Fate::Locked,
                Kind::Delete => fate == Fate::Locked,
                _ => false,
            };
        let (store, taken) = (Arc::clone(&store), Arc::clone(&taken));
        async move {
            if applies {
                meet(&store, &request.key, fate, &taken).await
            } else {
                Ok(())
            }
        }
    }))
}

async fn meet(store: &Store, key: &Path, fate: Fate, taken: &AtomicBool) -> Result<()> {
    match fate {
        Fate::Grows => {
            let body = store.get(key).await?.bytes().await?;
            let body = [body.as_ref(), b"more"].concat();
            store.put(key, body.into()).await.map(drop)
        }
        Fate::Gone => Err(object_store::Error::NotFound {
            path: key.to_string(),
            source: "no such key".into(),
        }),
        Fate::Denied | Fate::Locked => Err(refused(key, "AccessDenied")),
        Fate::Frozen => Err(refused(key, "InvalidObjectState")),
        Fate::Taken => {
            if !taken.swap(true, Ordering::SeqCst) {
                run_on(store, eager()).await;
            }
            Ok(())
        }
    }
}

fn refused(location: &Path, code: &str) -> object_store::Error {
    let source = format!("<Error><Code>{code}</Code><Message>no</Message></Error>").into();
    object_store::Error::PermissionDenied {
        path: location.to_string(),
        source,
    }
}

async fn run_on(store: &Store, config: CompactionConfig) -> RunReport {
    CompactionManager::new(Arc::clone(store), config)
        .run_pass(&Selection::all())
        .await
        .unwrap()
}

/// Five files of ten rows for each tenant; the third of `acme` is called `odd`.
async fn seeded() -> (Store, Vec<Event>) {
    let store = memory();
    let rows = series(
        0,
        50,
        Utc::now() - TimeDelta::hours(1),
        TimeDelta::minutes(1),
    );
    for tenant in ["acme", "globex"] {
        for (i, part) in rows.chunks(10).enumerate() {
            let name = if i == 2 && tenant == "acme" {
                "odd".to_owned()
            } else {
                format!("good-{i}")
            };
            put_events(&store, &format!("{tenant}/{name}.parquet"), part).await;
        }
    }
    (store, rows)
}

/// The status, files compacted and rows kept of a tenant.
fn done(report: &RunReport, tenant: &str) -> (Status, u64, u64) {
    let t = report.tenants.iter().find(|t| t.tenant == tenant).unwrap();
    (
        t.status,
        t.counters.files_compacted,
        t.counters.ledger.rows_kept,
    )
}

/// What was left, and why, of all tenants.
fn left(report: &RunReport) -> Vec<(String, String)> {
    let json = serde_json::to_value(&report.totals).unwrap();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    json["unread"]
        .as_array()
        .map(|all| {
            all.iter()
                .map(|l| (text(&l["key"]), text(&l["reason"])))
                .collect()
        })
        .unwrap_or_default()
}

async fn head(store: &Store, tenant: &str) -> Manifest {
    let last = keys(store)
        .await
        .into_iter()
        .rfind(|k| k.starts_with(&format!("_icepack/{tenant}/manifest/")))
        .unwrap();
    serde_json::from_slice(&get(store, &last).await).unwrap()
}

#[tokio::test]
async fn a_file_that_its_writer_still_appends_to_is_left_to_the_next_pass() {
    let (store, _) = seeded().await;
    for _ in 0..3 {
        let report = run_on(
            &odd(&store, "acme/odd", Fate::Grows),
            CompactionConfig {
                min_files_to_compact: 1,
                ..eager()
            },
        )
        .await;
        let why = "it changed between the listing and the read, so something still writes to it: \
                   it is left as it is, and taken by a pass that finds it unchanged";
        assert_eq!(
            left(&report),
            [("acme/odd.parquet".to_owned(), why.to_owned())]
        );
        assert!(
            report.totals.status <= Status::Done && report.totals.error.is_none(),
            "{report:?}"
        );
    }
    assert_eq!(
        tenant_keys(&store, "acme").await.len(),
        2,
        "a snapshot of the four others, and the file"
    );
    assert_eq!(head(&store, "acme").await.snapshots[0].stats.rows, 40);
    assert!(head(&store, "acme").await.quarantined.is_empty());
    assert_eq!(tenant_keys(&store, "globex").await.len(), 1);
}

#[tokio::test]
async fn a_file_that_is_listed_and_not_there_costs_its_neighbours_nothing() {
    let (store, _) = seeded().await;
    let report = run_on(&odd(&store, "acme/odd", Fate::Gone), eager()).await;
    assert_eq!(
        (done(&report, "acme"), done(&report, "globex")),
        ((Status::Done, 4, 40), (Status::Done, 5, 50)),
        "{report:?}"
    );
    assert_eq!(
        left(&report),
        [(
            "acme/odd.parquet".to_owned(),
            "the listing shows it, and it is not there: it was deleted or moved meanwhile"
                .to_owned()
        )]
    );
}

#[tokio::test]
async fn a_file_that_the_store_does_not_give_is_set_aside_by_its_own_cause() {
    for (fate, says) in [
        (
            Fate::Denied,
            "AccessDenied: no; the credentials lack a permission",
        ),
        (
            Fate::Frozen,
            "InvalidObjectState: no; the object is in an archive class and must be restored \
             before it can be read",
        ),
    ] {
        let (store, _) = seeded().await;
        let store_of_one = odd(&store, "acme/odd", fate);
        let report = run_on(&store_of_one, eager()).await;
        assert_eq!(
            (done(&report, "acme"), done(&report, "globex")),
            ((Status::Quarantined, 4, 40), (Status::Done, 5, 50)),
            "{report:?}"
        );
        let found = left(&report);
        assert!(
            found.len() == 1 && found[0].0 == "acme/odd.parquet" && found[0].1.starts_with(says),
            "{found:?}"
        );
        assert!(
            head(&store, "acme").await.quarantined.is_empty(),
            "nothing is remembered: it does not change when it can be read"
        );
        // Once it can be read, it is taken like any other.
        let whole = run_on(
            &store,
            CompactionConfig {
                min_files_to_compact: 1,
                ..eager()
            },
        )
        .await;
        assert_eq!(done(&whole, "acme").0, Status::Done);
        assert_eq!(live(&store, "acme").await.len(), 50);
    }
}

#[tokio::test]
async fn a_snapshot_is_not_rewritten_in_each_pass_for_a_file_that_cannot_be_read() {
    let (store, _) = seeded().await;
    let store_of_one = odd(&store, "acme/odd", Fate::Frozen);
    run_on(&store_of_one, eager()).await;
    let before = tenant_keys(&store, "acme").await;
    let report = run_on(
        &store_of_one,
        CompactionConfig {
            min_files_to_compact: 1,
            ..eager()
        },
    )
    .await;
    assert_eq!(
        done(&report, "acme"),
        (Status::Quarantined, 0, 0),
        "{report:?}"
    );
    assert_eq!(
        (tenant_keys(&store, "acme").await, left(&report).len()),
        (before, 1)
    );
}

#[tokio::test]
async fn where_nothing_can_be_read_it_is_the_credentials_and_not_the_files() {
    let (store, _) = seeded().await;
    for key in tenant_keys(&store, "acme").await {
        let to = key.replace("acme/", "acme/2026-01/");
        put(&store, &to, get(&store, &key).await).await;
        store.delete(&Path::from(key)).await.unwrap();
    }
    let report = run_on(&odd(&store, "acme/2026-01/", Fate::Denied), eager()).await;
    assert_eq!(
        (done(&report, "acme"), done(&report, "globex").0),
        ((Status::Failed, 0, 0), Status::Done),
        "{report:?}"
    );
    let error = report.tenants[0].error.clone().unwrap();
    assert!(
        error.starts_with("cannot read `acme/")
            && error.contains("AccessDenied: no; the credentials lack a permission"),
        "{error}"
    );
    assert_eq!(
        (tenant_keys(&store, "acme").await.len(), left(&report).len()),
        (5, 0)
    );
}

#[tokio::test]
async fn a_file_that_another_run_took_is_lost_to_it() {
    let (store, rows) = seeded().await;
    let report = run_on(&odd(&store, "acme/odd", Fate::Taken), eager()).await;
    assert_eq!(
        done(&report, "acme"),
        (Status::Conflict, 0, 0),
        "{report:?}"
    );
    assert_eq!(
        (live(&store, "acme").await, left(&report)),
        (sorted(rows), Vec::new())
    );
}

#[tokio::test]
async fn a_live_snapshot_that_is_not_there_is_for_a_person() {
    let (store, _) = seeded().await;
    run_on(&store, eager()).await;
    let snapshot = head(&store, "acme").await.snapshots[0].key.clone();
    for (i, part) in series(100, 40, Utc::now(), TimeDelta::seconds(1))
        .chunks(10)
        .enumerate()
    {
        put_events(&store, &format!("acme/more-{i}.parquet"), part).await;
    }
    let before = tenant_keys(&store, "acme").await;
    let report = run_on(
        &odd(&store, snapshot, Fate::Gone),
        CompactionConfig {
            min_files_to_compact: 1,
            ..eager()
        },
    )
    .await;
    assert_eq!(done(&report, "acme").0, Status::Refused, "{report:?}");
    assert_eq!(
        tenant_keys(&store, "acme").await,
        before,
        "nothing was deleted"
    );
}

#[tokio::test]
async fn a_damaged_snapshot_is_tried_again_once_it_was_mended() {
    let (store, rows) = seeded().await;
    run_on(&store, eager()).await;
    let (snapshot, good) = (
        head(&store, "acme").await.snapshots[0].key.clone(),
        head(&store, "acme").await,
    );
    let sound = get(&store, &snapshot).await;
    let mut damaged = sound.to_vec();
    damaged[4..200].fill(0xff);
    put(&store, &snapshot, damaged).await;
    let more = series(100, 40, Utc::now(), TimeDelta::seconds(1));
    for (i, part) in more.chunks(10).enumerate() {
        put_events(&store, &format!("acme/more-{i}.parquet"), part).await;
    }
    let report = run_on(&store, eager()).await;
    assert_eq!(
        (
            done(&report, "acme"),
            head(&store, "acme").await.quarantined.len()
        ),
        ((Status::Quarantined, 4, 40), 1),
        "{report:?}"
    );
    assert_eq!(
        good.snapshots[0].key,
        head(&store, "acme").await.quarantined[0].key
    );
    // It stays so while nobody mends it.
    let report = run_on(&store, eager()).await;
    assert_eq!(
        (
            done(&report, "acme").0,
            head(&store, "acme").await.quarantined.len()
        ),
        (Status::Idle, 1),
        "{report:?}"
    );

    put(&store, &snapshot, sound).await;
    run_on(&store, eager()).await;
    assert_eq!(
        head(&store, "acme").await.quarantined,
        [],
        "the note is of bytes that are gone"
    );
    put_events(
        &store,
        "acme/last.parquet",
        &series(200, 400, Utc::now(), TimeDelta::seconds(1)),
    )
    .await;
    let report = run_on(
        &store,
        CompactionConfig {
            min_files_to_compact: 1,
            ..eager()
        },
    )
    .await;
    assert_eq!(
        (
            done(&report, "acme").0,
            tenant_keys(&store, "acme").await.len()
        ),
        (Status::Done, 1),
        "{report:?}"
    );
    let all = [
        rows,
        more,
        series(200, 400, Utc::now(), TimeDelta::seconds(1)),
    ]
    .concat();
    assert_eq!(live(&store, "acme").await.len(), all.len());
}

/// Ten rows with a column `x`, as text or as numbers, the last so long ago.
fn typed(first: i64, text: bool, end: chrono::DateTime<Utc>) -> Vec<u8> {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
    let times = (0..10)
        .map(|i| end.timestamp_micros() - i * 1_000_000)
        .rev();
    let n = first..first + 10;
    let x: ArrayRef = if text {
        Arc::new(StringArray::from_iter_values(n.map(|i| format!("t{i}"))))
    } else {
        Arc::new(Int64Array::from_iter_values(n))
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "timestamp",
            Arc::new(TimestampMicrosecondArray::from_iter_values(times)),
        ),
        ("x", x),
    ];
    parquet(&RecordBatch::try_from_iter(columns).unwrap())
}

fn thirty_days() -> CompactionConfig {
    let mut config = CompactionConfig {
        min_files_to_compact: 1,
        ..eager()
    };
    config
        .retention
        .set("acme", Some(Duration::from_secs(30 * 86_400)));
    config.slack = Duration::ZERO;
    config
}

/// One snapshot with a column of text, and what is left of `n` files with numbers in it.
async fn text_and_numbers(store: &Store, n: i64, end: chrono::DateTime<Utc>) {
    put(
        store,
        "acme/a.parquet",
        typed(0, true, end - TimeDelta::hours(1)),
    )
    .await;
    run_on(
        store,
        CompactionConfig {
            min_files_to_compact: 1,
            ..eager()
        },
    )
    .await;
    for i in 0..n {
        put(
            store,
            &format!("acme/n{i}.parquet"),
            typed(100 + i * 10, false, end),
        )
        .await;
    }
}

#[tokio::test]
async fn files_that_contradict_a_snapshot_are_compacted_and_expire_like_it() {
    let store = memory();
    let forever = || CompactionConfig {
        min_files_to_compact: 1,
        ..eager()
    };
    text_and_numbers(&store, 4, Utc::now() - TimeDelta::days(40)).await;
    let report = run_on(&store, forever()).await;
    assert_eq!(
        (done(&report, "acme"), report.totals.quarantined.len()),
        ((Status::Done, 4, 40), 0),
        "{report:?}"
    );
    assert_eq!(
        (
            tenant_keys(&store, "acme").await.len(),
            head(&store, "acme").await.quarantined
        ),
        (2, Vec::new())
    );
    let report = run_on(&store, forever()).await;
    assert_eq!(report.totals.status, Status::Idle, "{report:?}");
    // All rows have expired, in whatever class.
    let report = run_on(&store, thirty_days()).await;
    assert_eq!(
        (
            report.totals.status,
            report.totals.counters.ledger.rows_expired
        ),
        (Status::Done, 50),
        "{report:?}"
    );
    assert_eq!(tenant_keys(&store, "acme").await, [""; 0]);
}

/// As earlier versions wrote them: with what a file contradicted, or without any cause.
#[tokio::test]
async fn what_an_older_version_set_aside_is_a_file_like_any_other() {
    let misfit = serde_json::json!({"is": "misfit", "column": "x", "type": "Utf8", "oldest": 1});
    for cause in [Some(misfit), None] {
        let store = memory();
        let config = || CompactionConfig {
            min_files_to_compact: 1,
            ..eager()
        };
        text_and_numbers(&store, 4, Utc::now() - TimeDelta::hours(1)).await;
        let last = keys(&store)
            .await
            .into_iter()
            .rfind(|k| k.starts_with("_icepack/acme/manifest/"))
            .unwrap();
        let mut json: Value = serde_json::from_slice(&get(&store, &last).await).unwrap();
        let mut notes = Vec::new();
        for key in tenant_keys(&store, "acme").await {
            // The snapshot too.
            let etag = store.head(&Path::from(key.as_str())).await.unwrap().e_tag;
            let mut note = serde_json::json!({
                "key": key, "size": 1, "etag": etag, "reason": "it does not fit",
                "at": "2026-01-01T00:00:00Z",
            });
            if let Some(cause) = &cause {
                note["cause"] = cause.clone();
            }
            notes.push(note);
        }
        json["quarantined"] = Value::Array(notes);
        put(&store, &last, serde_json::to_vec(&json).unwrap()).await;
        let report = run_on(&store, config()).await;
        assert_eq!(
            (done(&report, "acme"), report.totals.quarantined.len()),
            ((Status::Done, 4, 40), 0),
            "{report:?}"
        );
        let head = head(&store, "acme").await;
        if cause.is_some() {
            assert_eq!(head.quarantined, [], "nothing is remembered of them");
        }
        let report = run_on(&store, config()).await;
        assert_eq!(report.totals.status, Status::Idle, "{report:?}");
    }
}

#[tokio::test]
async fn what_is_set_aside_past_its_ttl_is_overdue() {
    let store = memory();
    let end = Utc::now() - TimeDelta::days(1);
    put(&store, "acme/a.parquet", typed(0, true, end)).await;
    put(&store, "acme/z.parquet", b"PAR1 and nothing else".to_vec()).await;
    let mut config = thirty_days();
    let report = run_on(&store, config.clone()).await;
    assert_eq!(report.totals.quarantined, ["acme/z.parquet"], "{report:?}");
    // Its rows were made before it was written, which was just now.
    config.retention.set("acme", Some(Duration::from_micros(1)));
    let status = CompactionManager::new(Arc::clone(&store), config)
        .status(&Selection::all())
        .await
        .unwrap();
    assert!(status.tenants[0].overdue_s.is_some(), "{status:?}");
}

#[tokio::test]
async fn a_file_that_may_not_be_deleted_keeps_no_other() {
    let (store, rows) = seeded().await;
    let store_of_one = odd(&store, "acme/good-1", Fate::Locked);
    for _ in 0..2 {
        let report = run_on(&store_of_one, eager()).await;
        assert_eq!(report.tenants[0].status, Status::Failed);
        let error = report.tenants[0].error.clone().unwrap();
        assert!(
            error.starts_with("cannot delete `acme/good-1.parquet`: AccessDenied: no; "),
            "{error}"
        );
        let left: Vec<_> = tenant_keys(&store, "acme")
            .await
            .into_iter()
            .filter(|k| !k.contains("snapshot."))
            .collect();
        assert_eq!(left, ["acme/good-1.parquet"]);
        assert_eq!(
            head(&store, "acme").await.retired_keys(),
            ["acme/good-1.parquet"].into(),
            "what is gone is forgotten"
        );
        assert_eq!(live(&store, "acme").await, sorted(rows.clone()));
    }
}

#[cfg(feature = "delta")]
#[tokio::test(flavor = "multi_thread")]
async fn a_table_has_the_other_rows_while_one_file_cannot_be_read() {
    use icepack_core::model::publish::{Layout, Publish};
    for fate in [Fate::Grows, Fate::Denied, Fate::Frozen] {
        let (store, _) = seeded().await;
        // Large enough that nothing is merged: the files are published as they are.
        let config = CompactionConfig {
            min_files_to_compact: 100,
            publish: Some(Publish {
                layout: Layout::PerTenant,
                keep: Duration::ZERO,
            }),
            ..eager()
        };
        let report = run_on(&odd(&store, "acme/odd", fate), config).await;
        assert!(
            report.totals.status <= Status::Done && report.totals.error.is_none(),
            "{fate:?}: {report:?}"
        );
        let published = report.tenants[0].published.clone().unwrap();
        assert_eq!(
            (published.left_out.len(), published.table_version),
            (1, 0),
            "{published:?}"
        );
        assert!(
            published.left_out[0].starts_with("`acme/odd.parquet`: "),
            "{published:?}"
        );
    }
}

#[cfg(feature = "delta")]
#[tokio::test(flavor = "multi_thread")]
async fn a_table_lacks_the_column_that_parts_classes_and_no_row() {
    use icepack_core::model::publish::{Layout, Publish};
    let store = memory();
    let end = Utc::now() - TimeDelta::hours(1);
    for i in 0..3 {
        let (text, number) = (typed(i * 10, true, end), typed(100 + i * 10, false, end));
        put(&store, &format!("acme/a{i}.parquet"), text).await;
        put(&store, &format!("acme/b{i}.parquet"), number).await;
    }
    let config = || CompactionConfig {
        publish: Some(Publish {
            layout: Layout::PerTenant,
            keep: Duration::ZERO,
        }),
        ..eager()
    };
    for pass in 0..3 {
        let report = run_on(&store, config()).await;
        let acme = &report.tenants[0];
        assert!(
            acme.error.is_none() && report.totals.quarantined.is_empty(),
            "pass {pass}: {report:?}"
        );
        let left_out = &acme.published.as_ref().unwrap().left_out;
        let is_told =
            |l: &String| l.starts_with("column `x`: it is ") && l.ends_with(" in other files");
        assert!(
            pass == 0 || (left_out.len() == 1 && is_told(&left_out[0])),
            "pass {pass}: {left_out:?}"
        );
    }
    assert_eq!(head(&store, "acme").await.snapshots.len(), 2);
    assert_eq!(
        head(&store, "acme").await.retired,
        [],
        "the originals are gone"
    );
}

#[test]
fn what_a_killed_writer_left_in_a_directory_archive_is_removed() {
    let dir = TempDir::new().unwrap();
    let (store, cold) = (dir.path().join("hot"), dir.path().join("cold"));
    neighbours(&store, "acme");
    let acme = icepack_core::model::names::Tenant::parse("acme").unwrap();
    let (from, id) = (
        icepack_core::model::file::Micros(0),
        "01J8Z0000000000000000000ZZ".parse().unwrap(),
    );
    let object = icepack_core::model::names::archive_key(
        &icepack_core::model::names::Place::Month(acme.clone()),
        &acme,
        from,
        from,
        id,
    );
    let receipt = icepack_core::model::names::receipt_key(&object);
    let write = |key: String| {
        let path = cold.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "half").unwrap();
        path
    };
    let dead = [
        write(format!("{object}#1")),
        write(format!("{receipt}#1")),
        write(format!("{receipt}#2")),
    ];
    let theirs = [
        write("acme/1970-01/notes.receipt.json#1".to_owned()),
        write(receipt.replace("acme", "globex") + "#1"),
    ];
    let (store, cold) = (store.display().to_string(), cold.display().to_string());
    job::expect(
        &[("ICEPACK_SWEEP_ORPHAN_GRACE", "0s".to_owned())],
        0,
        ["run", "--store", &store, "--archive", &cold],
    );
    assert_eq!(
        (dead.map(|p| p.exists()), theirs.map(|p| p.exists())),
        ([false; 3], [true; 2])
    );
}
