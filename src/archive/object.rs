//! An archive on any object store: another prefix, another bucket, a directory.

use std::sync::{Arc, Once};

use async_trait::async_trait;
use object_store::path::Path;
use object_store::{Attribute, Attributes, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use tokio::runtime::Handle;

use super::encode::encode;
use super::{
    ArchiveRequest, ArchiveTarget, BatchStream, failed, read_back, receipt, receipt_json,
    same_receipt,
};
use crate::error::{Error, Result};
use crate::store::counting::{Counters, CountingStore};
use crate::store::piece::Piece;
use crate::store::piece::upload::{StoreDestination, Target};
use crate::store::retry::{RetryPolicy, retry};
use icepack_core::model::manifest::{Receipt, Verified};

/// How an [`ObjectArchive`] writes.
#[derive(Debug, Clone, Default)]
pub struct ObjectArchiveOptions {
    /// The class asked for, and named in receipts. None is the store's default.
    pub storage_class: Option<String>,
    /// Of requests that can be repeated.
    pub retry: RetryPolicy,
    /// Whether the store understands storage classes. Directories and memory refuse them.
    pub send_class: bool,
}

/// Expired rows as Parquet objects with receipts, in any store that [`object_store`] knows.
#[derive(Debug)]
pub struct ObjectArchive {
    store: Arc<dyn ObjectStore>,
    url: String,
    options: ObjectArchiveOptions,
    says_so: Once,
}

impl ObjectArchive {
    /// An archive in `store`, called `url` in logs.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        url: impl Into<String>,
        options: ObjectArchiveOptions,
    ) -> Self {
        Self {
            store,
            url: url.into(),
            options,
            says_so: Once::new(),
        }
    }

    fn target(&self, requests: &Arc<Counters>) -> Target {
        let mut attributes = Attributes::default();
        if let (Some(class), true) = (&self.options.storage_class, self.options.send_class) {
            attributes.insert(Attribute::StorageClass, class.clone().into());
        }
        let destination = StoreDestination {
            store: CountingStore::sharing(Arc::clone(&self.store), Arc::clone(requests)),
            attributes,
            retry: self.options.retry,
        };
        Target {
            destination: Arc::new(destination),
            runtime: Handle::current(),
        }
    }

    /// The object is there and has its rows. Such stores compute no checksum that could be asked
    /// for, so every row is read back.
    async fn verify(&self, piece: &Piece, request: &ArchiveRequest) -> Result<()> {
        let path = Path::parse(&piece.key).map_err(|e| failed(&self.url, e))?;
        let store = CountingStore::sharing(Arc::clone(&self.store), Arc::clone(&request.requests));
        let check = || store.head(&path);
        let meta = retry(&self.options.retry, &format!("check {}", piece.key), check)
            .await
            .map_err(|e| {
                failed(
                    &self.url,
                    Error::store(format!("cannot check `{}`", piece.key), e),
                )
            })?;
        if meta.size != piece.size {
            return Err(failed(
                &self.url,
                format!(
                    "`{}` has {} bytes, and {} were written",
                    piece.key, meta.size, piece.size
                ),
            ));
        }
        self.says_so.call_once(|| {
            tracing::info!(
                archive = self.url,
                "this archive returns no checksums: what is written to it is read back, row by row"
            )
        });
        let read = || {
            read_back(
                Arc::clone(&store) as _,
                &piece.key,
                piece.size,
                &piece.stats,
                &request.timestamp_column,
            )
        };
        retry(
            &self.options.retry,
            &format!("read back {}", piece.key),
            read,
        )
        .await
        .map_err(|e| failed(&self.url, e))
    }

    /// A receipt of this name exists: ours from an earlier attempt, or something is wrong.
    async fn check_receipt(&self, path: &Path, ours: &Receipt) -> Result<()> {
        let get = || async { self.store.get(path).await?.bytes().await };
        let bytes = retry(&self.options.retry, &format!("read {path}"), get)
            .await
            .map_err(|e| failed(&self.url, Error::store(format!("cannot read `{path}`"), e)))?;
        same_receipt(path.as_ref(), &bytes, ours).map_err(|why| failed(&self.url, why))
    }
}

#[async_trait]
impl ArchiveTarget for ObjectArchive {
    fn description(&self) -> String {
        self.url.clone()
    }

    async fn archive(&self, request: ArchiveRequest, rows: BatchStream) -> Result<Receipt> {
        let (piece, schema) =
            encode(self.target(&request.requests), &self.url, &request, rows).await?;
        self.verify(&piece, &request).await?;
        let class = self.options.storage_class.clone();
        Ok(Receipt {
            storage_class: class,
            verified: Some(Verified::Readback),
            ..receipt(&request, piece, schema, &self.url)
        })
    }

    async fn file_receipt(&self, receipt: &Receipt) -> Result<()> {
        let key = receipt.receipt_key();
        let path = Path::parse(&key).map_err(|e| failed(&self.url, e))?;
        let json = receipt_json(receipt).map_err(|e| failed(&self.url, e))?;
        let put = || {
            self.store.put_opts(
                &path,
                json.clone().into(),
                PutOptions::from(PutMode::Create),
            )
        };
        match retry(&self.options.retry, &format!("put {key}"), put).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => {
                self.check_receipt(&path, receipt).await
            }
            Err(e) => Err(failed(
                &self.url,
                Error::store(format!("cannot put `{key}`"), e),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use arrow::array::{Int64Array, RecordBatch, TimestampMicrosecondArray};
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use futures::{StreamExt, stream};

    use crate::store::piece::faulty::{Fault, Faulty, Op};
    use icepack_core::model::file::{Micros, RowStats};
    use icepack_core::model::names::{FileId, Tenant};
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

    fn archive(store: &Arc<Faulty>, class: Option<&str>) -> ObjectArchive {
        let retry = RetryPolicy {
            initial: Duration::from_millis(1),
            factor: 2.0,
            max_interval: Duration::from_millis(5),
            max_elapsed: Duration::from_secs(5),
        };
        ObjectArchive::new(
            store.store(),
            "memory://cold",
            ObjectArchiveOptions {
                storage_class: class.map(Into::into),
                retry,
                send_class: class.is_some(),
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
            "acme/2023-11/archive.acme.2023-11-14T221320Z-2023-11-14T221320Z.\
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
        let target = ObjectArchive::new(
            Arc::clone(&store),
            "memory://cold",
            ObjectArchiveOptions::default(),
        );
        let receipt = target
            .archive(request(), feed(vec![Ok(rows(0, 10))]))
            .await
            .unwrap();
        let sent = RowStats {
            rows: 11,
            ..receipt.stats
        };
        let error = read_back(store, &receipt.key, receipt.size, &sent, "timestamp")
            .await
            .unwrap_err();
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
        let target = ObjectArchive::new(
            store,
            "dir",
            ObjectArchiveOptions {
                storage_class: Some("GLACIER_IR".into()),
                ..ObjectArchiveOptions::default()
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
