//! An archive on any store that [`object_store`] knows: another prefix, another bucket, a directory.

use std::sync::Arc;

use async_trait::async_trait;
use object_store::{Attribute, Attributes as StoreAttributes, ObjectStore, ObjectStoreExt};

use super::{ArchiveBackend, Attributes, Stored};
use crate::error::{Error, Result};
use crate::store::counting::{CountingStore, RequestCounters};
use crate::store::object_writer::upload::{Destination, StoreDestination};
use crate::store::path;
use crate::store::retry::{RetryPolicy, retry};
use icepack_core::model::restore::Tier;

/// Any store that [`object_store`] knows. It computes no checksum that could be asked for, and has
/// no archive classes.
#[derive(Debug, Clone)]
pub struct ObjectStoreBackend {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// Retries of requests that can be repeated, where the store's client does not retry.
    pub retry: RetryPolicy,
    /// Whether the store understands storage classes. Directories and memory refuse them.
    pub send_class: bool,
}

#[async_trait]
impl ArchiveBackend for ObjectStoreBackend {
    fn reader(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    fn read_retry(&self) -> RetryPolicy {
        self.retry
    }

    fn destination(
        &self,
        attributes: Attributes,
        requests: &Arc<RequestCounters>,
    ) -> Arc<dyn Destination> {
        let class = attributes.class.filter(|_| self.send_class);
        Arc::new(StoreDestination {
            store: CountingStore::sharing(Arc::clone(&self.store), Arc::clone(requests)),
            attributes: StoreAttributes::from_iter(
                class.map(|class| (Attribute::StorageClass, class)),
            ),
            retry: self.retry,
        })
    }

    async fn head(&self, key: &str, requests: &Arc<RequestCounters>) -> Result<Option<Stored>> {
        let path = path(key)?;
        let store = CountingStore::sharing(Arc::clone(&self.store), Arc::clone(requests));
        match retry(&self.retry, &format!("check {key}"), || store.head(&path)).await {
            Ok(meta) => Ok(Some(Stored {
                size: meta.size,
                etag: meta.e_tag,
                ..Stored::default()
            })),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(Error::store(format!("cannot check `{key}`"), e)),
        }
    }

    async fn thaw(&self, key: &str, _: Tier, _: u16) -> Result<()> {
        Err(Error::local(
            format!("cannot thaw `{key}`"),
            "this archive has no archive classes",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use arrow::array::{Int64Array, RecordBatch, TimestampMicrosecondArray};
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use futures::{StreamExt, stream};
    use object_store::path::Path;

    use super::super::{Archive, ArchiveOptions, ArchiveRequest, ArchiveTarget, BatchStream};
    use crate::store::object_writer::WrittenObject;
    use crate::store::object_writer::faulty::{Fault, Faulty, Op};
    use icepack_core::model::file::{Micros, RowStats};
    use icepack_core::model::manifest::{Receipt, Verified};
    use icepack_core::model::names::{FileId, Place, Tenant};
    use icepack_parquet::read_stats;

    fn rows(from: i64, count: i64) -> RecordBatch {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let schema = Arc::new(Schema::new(vec![
            Field::new("timestamp", time, false),
            Field::new("n", DataType::Int64, false),
        ]));
        let n = from..from + count;
        let times = TimestampMicrosecondArray::from_iter_values(
            n.clone().map(|i| 1_700_000_000_000_000 + i),
        );
        RecordBatch::try_new(
            schema,
            vec![Arc::new(times), Arc::new(Int64Array::from_iter_values(n))],
        )
        .unwrap()
    }

    fn request() -> ArchiveRequest {
        let id: FileId = "01J8Z0000000000000000000ZZ".parse().unwrap();
        ArchiveRequest {
            tenant: Tenant::parse("acme").unwrap(),
            place: Place::Folder("acme/dt=2023-11-14".into()),
            run_id: id,
            id,
            from: Micros(1_700_000_000_000_000),
            to: Micros(1_700_000_100_000_000),
            timestamp_column: "timestamp".into(),
            sources: vec!["acme/x.parquet".into()],
            source_bytes: 0,
            budget: 64 << 20,
            requests: Arc::default(),
        }
    }

    fn archive(store: &Arc<Faulty>, class: Option<&str>) -> Archive {
        let retry = RetryPolicy {
            initial: Duration::from_millis(1),
            factor: 2.0,
            max_interval: Duration::from_millis(5),
            max_elapsed: Duration::from_secs(5),
        };
        let backend = ObjectStoreBackend {
            store: store.store(),
            retry,
            send_class: class.is_some(),
        };
        Archive::with_backend(
            Arc::new(backend),
            "memory://cold",
            ArchiveOptions {
                storage_class: class.map(Into::into),
                ..ArchiveOptions::default()
            },
        )
    }

    fn feed(batches: Vec<Result<RecordBatch>>) -> BatchStream {
        stream::iter(batches).boxed()
    }

    #[tokio::test]
    async fn rows_are_archived_verified_and_receipted() {
        let store = Arc::new(Faulty::default());
        let target = archive(&store, None);
        let receipt = target
            .archive(
                request(),
                feed(vec![Ok(rows(0, 1_000)), Ok(rows(1_000, 500))]),
            )
            .await
            .unwrap();
        assert_eq!(
            receipt.key,
            "acme/dt=2023-11-14/archive.acme.2023-11-14T221320Z-2023-11-14T221320Z.\
             01J8Z0000000000000000000ZZ.parquet"
        );
        assert_eq!(receipt.stats.rows, 1_500);
        assert_eq!(
            read_stats(
                store.store(),
                receipt.key.clone(),
                receipt.size,
                "timestamp"
            )
            .await
            .unwrap(),
            receipt.stats
        );
        target.file_receipt(&receipt).await.unwrap();
        target.file_receipt(&receipt).await.unwrap();
        let stored = store
            .inner
            .get(&Path::from(receipt.receipt_key()))
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        assert_eq!(serde_json::from_slice::<Receipt>(&stored).unwrap(), receipt);
        let other = Receipt { size: 1, ..receipt };
        assert!(
            target
                .file_receipt(&other)
                .await
                .unwrap_err()
                .to_string()
                .contains("with other contents")
        );
    }

    #[tokio::test]
    async fn the_class_is_sent_and_the_rows_are_read_back() {
        let store = Arc::new(Faulty::default());
        let receipt = archive(&store, Some("COLDLINE"))
            .archive(request(), feed(vec![Ok(rows(0, 10))]))
            .await
            .unwrap();
        assert_eq!(
            (receipt.storage_class.as_deref(), receipt.verified),
            (Some("COLDLINE"), Some(Verified::Readback))
        );
        let columns: Vec<_> = receipt
            .schema
            .unwrap()
            .0
            .into_iter()
            .map(|c| c.name)
            .collect();
        assert_eq!(columns, ["timestamp", "n"]);
        let stored = store.inner.get(&Path::from(receipt.key)).await.unwrap();
        assert_eq!(
            stored
                .attributes
                .get(&Attribute::StorageClass)
                .map(AsRef::as_ref),
            Some("COLDLINE")
        );
    }

    #[tokio::test]
    async fn an_object_with_other_rows_is_noticed() {
        let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        let target = Archive::new(store, "memory://cold", ArchiveOptions::default());
        let receipt = target
            .archive(request(), feed(vec![Ok(rows(0, 10))]))
            .await
            .unwrap();
        let sent = RowStats {
            rows: 11,
            ..receipt.stats
        };
        let written = WrittenObject {
            key: receipt.key,
            size: receipt.size,
            etag: None,
            checksum: None,
            stats: sent,
        };
        let error = target.read_back(&written, &request()).await.unwrap_err();
        assert!(
            error.to_string().contains("does not hold what was sent"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn what_passes_is_tried_again() {
        let store = Arc::new(
            Faulty::default()
                .with(
                    Op::Put,
                    &[Fault::Transient, Fault::Transient, Fault::LostReply],
                )
                .with(Op::Get, &[Fault::Transient]),
        );
        let receipt = archive(&store, None)
            .archive(request(), feed(vec![Ok(rows(0, 10))]))
            .await
            .unwrap();
        assert_eq!(receipt.stats.rows, 10);
        assert_eq!(store.calls(Op::Put), 4);
    }

    #[tokio::test]
    async fn what_is_refused_fails_at_once() {
        let store = Arc::new(Faulty::default().with(Op::Put, &[Fault::Refused]));
        let error = archive(&store, None)
            .archive(request(), feed(vec![Ok(rows(0, 10))]))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, Error::Archive { target, why } if target == "memory://cold" && why.contains("AccessDenied")),
            "{error}"
        );
        assert_eq!(store.calls(Op::Put), 1);
        let store = Arc::new(Faulty::default().with(Op::Get, &[Fault::Refused]));
        assert!(matches!(
            archive(&store, None)
                .archive(request(), feed(vec![Ok(rows(0, 10))]))
                .await,
            Err(Error::Archive { .. })
        ));
    }

    #[tokio::test]
    async fn a_stream_that_breaks_archives_nothing_and_keeps_its_error() {
        let store = Arc::new(Faulty::default());
        let error = archive(&store, None)
            .archive(request(), feed(vec![Ok(rows(0, 10)), Err(Error::Stopped)]))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Stopped));
        assert_eq!(store.calls(Op::Put), 0);
        assert!(matches!(
            archive(&store, None)
                .archive(request(), feed(Vec::new()))
                .await,
            Err(Error::Archive { .. })
        ));
    }

    #[tokio::test]
    async fn a_directory_is_an_archive() {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn ObjectStore> =
            Arc::new(object_store::local::LocalFileSystem::new_with_prefix(dir.path()).unwrap());
        let target = Archive::new(
            store,
            "dir",
            ArchiveOptions {
                storage_class: Some("GLACIER_IR".into()),
                ..ArchiveOptions::default()
            },
        );
        let receipt = target
            .archive(request(), feed(vec![Ok(rows(0, 10))]))
            .await
            .unwrap();
        target.file_receipt(&receipt).await.unwrap();
        assert_eq!(
            std::fs::metadata(dir.path().join(&receipt.key))
                .unwrap()
                .len(),
            receipt.size
        );
    }
}
