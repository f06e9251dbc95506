//! What `_icepack/runs/` says of passes that did not end well.

use std::sync::Arc;

use chrono::Utc;
use icepack::CompactionManager;
use icepack::Error;
use icepack::pass::Selection;
use icepack_core::model::report::Status;
use icepack_dst::intercept::{InterceptStore, Kind};

use crate::support::{self, Store, eager, keys, memory, put, seed};

fn manager(store: &Store) -> CompactionManager {
    CompactionManager::new(Arc::clone(store), eager())
}

#[tokio::test]
async fn a_pass_in_which_a_tenant_failed_is_recorded_as_a_failure() {
    let store = memory();
    seed(&store, "good", 3, 10, Utc::now()).await;
    manager(&store).run_pass(&Selection::all()).await.unwrap();
    // Snapshots whose manifest is lost.
    let snapshot = keys(&store)
        .await
        .into_iter()
        .find(|k| k.starts_with("good/"))
        .unwrap();
    let body = support::get(&store, &snapshot).await;
    put(&store, &snapshot.replace("good", "lost"), body).await;
    manager(&store).run_pass(&Selection::all()).await.unwrap();

    let status = manager(&store).status(&Selection::all()).await.unwrap();
    let (last, success, failure) = (
        status.last_run.unwrap(),
        status.last_success.unwrap(),
        status.last_failure.unwrap(),
    );
    assert_eq!(
        (last.status, success.status),
        (Status::Refused, Status::Done)
    );
    assert_eq!(last, failure);
    assert_eq!(last.error.as_deref(), Some("1 of 2 tenants had errors"));
    let record = manager(&store).last_run().await.unwrap().unwrap();
    assert_eq!(
        (
            record.sums.passes,
            record.sums.passes_failed,
            record.sums.counters.files_compacted
        ),
        (1, 1, 3)
    );
    assert_eq!(record.last_success, Some(success.started_at));
    assert_eq!(
        manager(&store)
            .stats_of_all_runs()
            .await
            .unwrap()
            .total_events_compacted,
        30
    );
}

#[tokio::test]
async fn a_pass_that_was_stopped_is_recorded() {
    let store = memory();
    seed(&store, "acme", 3, 10, Utc::now()).await;
    let stopped = manager(&store);
    stopped.stop_handle().stop();
    stopped.run_pass(&Selection::all()).await.unwrap();
    let record = manager(&store).last_run().await.unwrap().unwrap();
    assert_eq!(
        (record.report.totals.status, record.ended(Status::Stopped)),
        (Status::Stopped, 1)
    );
    assert_eq!(record.report.totals.counters.files_compacted, 0);
}

#[tokio::test]
async fn a_pass_that_fails_before_its_first_tenant_is_recorded_with_its_error() {
    let store = memory();
    seed(&store, "acme", 3, 10, Utc::now()).await;
    let blind: Store = Arc::new(InterceptStore::before(
        Arc::clone(&store),
        |request| async move {
            if request.kind != Kind::Folders {
                return Ok(());
            }
            Err(object_store::Error::Generic {
                store: "test",
                source: "no listing today".into(),
            })
        },
    ));
    let error = manager(&blind)
        .run_pass(&Selection::all())
        .await
        .unwrap_err();
    let record = manager(&store).last_run().await.unwrap().unwrap();
    assert!(!record.is_success());
    assert_eq!(record.error, Some(error.to_string()));
    assert!(record.error.unwrap().contains("no listing today"));
    // A slip of whoever called is no pass.
    let typo = Selection::parse(vec!["acne".into()]).unwrap();
    assert!(matches!(
        manager(&store).run_pass(&typo).await,
        Err(Error::Usage(_))
    ));
    assert_eq!(manager(&store).recent_runs(200).await.unwrap().len(), 1);
}
