//! What `_icepack/runs/` says of passes that did not end well.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::Utc;
use futures::stream::BoxStream;
use icepack::CompactionManager;
use icepack::Error;
use icepack::run::Selection;
use icepack_core::model::report::Status;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

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

/// A store whose folders cannot be listed.
#[derive(Debug)]
struct NoFolders(Store);

impl std::fmt::Display for NoFolders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for NoFolders {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.0.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, opts).await
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> object_store::Result<ListResult> {
        Err(object_store::Error::Generic {
            store: "test",
            source: "no listing today".into(),
        })
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_pass_that_fails_before_its_first_tenant_is_recorded_with_its_error() {
    let store = memory();
    seed(&store, "acme", 3, 10, Utc::now()).await;
    let blind: Store = Arc::new(NoFolders(Arc::clone(&store)));
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
