//! An archive on any object store: another prefix, another bucket, a directory.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{Attribute, Attributes, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, TagSet};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::{ArchiveRequest, ArchiveTarget, BatchStream};
use crate::error::{Error, Result};
use crate::model::manifest::{FORMAT, Receipt, WRITER};
use crate::model::names;
use crate::parquet_io::read::{TAIL, footer_len, footer_rows};
use crate::stage::piece::upload::Target;
use crate::stage::piece::{Buffers, Piece, PieceSpec, PieceWriter};
use crate::stage::retry::{RetryPolicy, retry};

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
}

/// Objects of these classes cannot be read without being restored first.
const FROZEN: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

enum Step {
    Rows(RecordBatch),
    Done,
}

impl ObjectArchive {
    /// An archive in `store`, called `url` in logs.
    pub fn new(store: Arc<dyn ObjectStore>, url: impl Into<String>, options: ObjectArchiveOptions) -> Self {
        Self { store, url: url.into(), options }
    }

    fn failed(&self, why: impl std::fmt::Display) -> Error {
        Error::Archive { target: self.url.clone(), why: why.to_string() }
    }

    fn target(&self) -> Target {
        let mut attributes = Attributes::default();
        if let (Some(class), true) = (&self.options.storage_class, self.options.send_class) {
            attributes.insert(Attribute::StorageClass, class.clone().into());
        }
        Target { store: Arc::clone(&self.store), attributes, tags: TagSet::default(), retry: self.options.retry, runtime: Handle::current() }
    }

    /// Feeds the stream to an encoder on a blocking thread.
    async fn write(&self, request: &ArchiveRequest, mut rows: BatchStream) -> Result<Piece> {
        let (sender, receiver) = mpsc::channel(2);
        let (target, spec) = (self.target(), request.clone());
        let task = tokio::task::spawn_blocking(move || encode(&target, &spec, receiver));
        let mut failure = None;
        while let Some(next) = rows.next().await {
            match next {
                // Refused: the encoder has failed, and says why below.
                Ok(batch) => {
                    if sender.send(Step::Rows(batch)).await.is_err() {
                        break;
                    }
                }
                Err(e) => {
                    failure = Some(e);
                    break;
                }
            }
        }
        if failure.is_none() {
            let _ = sender.send(Step::Done).await;
        }
        drop(sender);
        let written = task.await.map_err(|e| self.failed(e))?;
        match failure {
            Some(e) => Err(e),
            None => written.map_err(|e| self.failed(e)),
        }
    }

    /// The object is there, has its bytes, and where its class lets itself be read, its rows.
    async fn verify(&self, piece: &Piece) -> Result<()> {
        let path = Path::parse(&piece.key).map_err(|e| self.failed(e))?;
        let policy = &self.options.retry;
        let what = format!("check {}", piece.key);
        let meta = retry(policy, &what, || self.store.head(&path)).await.map_err(|e| self.failed(Error::store(format!("cannot check `{}`", piece.key), e)))?;
        if meta.size != piece.size {
            return Err(self.failed(format!("`{}` has {} bytes, and {} were written", piece.key, meta.size, piece.size)));
        }
        if self.options.storage_class.as_deref().is_some_and(|class| FROZEN.contains(&class)) {
            return Ok(());
        }
        let tail = self.tail(&path, meta.size, TAIL).await?;
        let need = footer_len(&tail, meta.size).map_err(|why| self.failed(format!("`{}`: {why}", piece.key)))?;
        let tail = if need > tail.len() as u64 { self.tail(&path, meta.size, need).await? } else { tail };
        let rows = footer_rows(&tail, meta.size).map_err(|why| self.failed(format!("`{}`: {why}", piece.key)))?;
        if rows == piece.stats.rows { Ok(()) } else { Err(self.failed(format!("`{}` has {rows} rows, and {} were written", piece.key, piece.stats.rows))) }
    }

    async fn tail(&self, path: &Path, size: u64, len: u64) -> Result<Bytes> {
        let get = || async {
            let options = GetOptions { range: Some(GetRange::Bounded(size.saturating_sub(len)..size)), ..GetOptions::default() };
            self.store.get_opts(path, options).await?.bytes().await
        };
        retry(&self.options.retry, &format!("read back {path}"), get).await.map_err(|e| self.failed(Error::store(format!("cannot read back `{path}`"), e)))
    }

    /// A receipt of this name exists: ours from an earlier attempt, or something is wrong.
    async fn same_receipt(&self, path: &Path, ours: &Receipt) -> Result<()> {
        let get = || async { self.store.get(path).await?.bytes().await };
        let bytes =
            retry(&self.options.retry, &format!("read {path}"), get).await.map_err(|e| self.failed(Error::store(format!("cannot read `{path}`"), e)))?;
        let theirs: Receipt = serde_json::from_slice(&bytes).map_err(|e| self.failed(format!("`{path}` is there and is not a receipt: {e}")))?;
        if theirs == *ours { Ok(()) } else { Err(self.failed(format!("`{path}` is there with other contents"))) }
    }
}

/// Runs on a blocking thread until the sender says that it is done. Where it goes without a word, the object is given up.
fn encode(target: &Target, request: &ArchiveRequest, mut steps: mpsc::Receiver<Step>) -> Result<Piece> {
    let mut piece: Option<PieceWriter> = None;
    while let Some(step) = steps.blocking_recv() {
        match step {
            Step::Done => {
                return match piece {
                    Some(piece) => piece.finish(),
                    None => Err(Error::local("cannot archive", "there are no rows")),
                };
            }
            Step::Rows(batch) => {
                let mut writer = match piece.take() {
                    Some(writer) => writer,
                    None => PieceWriter::begin(spec(target, request, &batch))?,
                };
                if let Err(e) = writer.write(&batch) {
                    writer.abort();
                    return Err(e);
                }
                piece = Some(writer);
            }
        }
    }
    if let Some(piece) = piece {
        piece.abort();
    }
    Err(Error::Stopped)
}

fn spec(target: &Target, request: &ArchiveRequest, first: &RecordBatch) -> PieceSpec {
    let (tenant, id) = (request.tenant.clone(), request.id);
    PieceSpec {
        target: target.clone(),
        schema: first.schema(),
        timestamp: request.timestamp_column.clone(),
        name: Box::new(move |from, to| names::archive_key(&tenant, from, to, id)),
        to_bound: request.to,
        buffers: Buffers::within(request.budget),
        metadata: Vec::new(),
    }
}

#[async_trait]
impl ArchiveTarget for ObjectArchive {
    fn description(&self) -> String {
        self.url.clone()
    }

    async fn archive(&self, request: ArchiveRequest, rows: BatchStream) -> Result<Receipt> {
        let piece = self.write(&request, rows).await?;
        self.verify(&piece).await?;
        Ok(Receipt {
            format: FORMAT,
            tenant: request.tenant,
            key: piece.key,
            id: request.id,
            size: piece.size,
            etag: piece.etag,
            storage_class: self.options.storage_class.clone(),
            archive: self.url.clone(),
            stats: piece.stats,
            sources: request.sources,
            run_id: request.run_id,
            // The id was minted when the rows set out.
            at: i64::try_from(request.id.0.timestamp_ms()).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default(),
            writer: WRITER.to_owned(),
        })
    }

    async fn file_receipt(&self, receipt: &Receipt) -> Result<()> {
        let key = receipt.receipt_key();
        let path = Path::parse(&key).map_err(|e| self.failed(e))?;
        let json: Bytes = serde_json::to_vec_pretty(receipt).map_err(|e| self.failed(e))?.into();
        let put = || self.store.put_opts(&path, json.clone().into(), PutOptions::from(PutMode::Create));
        match retry(&self.options.retry, &format!("put {key}"), put).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => self.same_receipt(&path, receipt).await,
            Err(e) => Err(self.failed(Error::store(format!("cannot put `{key}`"), e))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use arrow::array::{Int64Array, TimestampMicrosecondArray};
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use futures::stream;

    use crate::model::file::Micros;
    use crate::model::names::{FileId, Tenant};
    use crate::parquet_io::read_stats;
    use crate::stage::piece::faulty::{Fault, Faulty, Op};

    fn rows(from: i64, count: i64) -> RecordBatch {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let schema = Arc::new(Schema::new(vec![Field::new("timestamp", time, false), Field::new("n", DataType::Int64, false)]));
        let n = from..from + count;
        let times = TimestampMicrosecondArray::from_iter_values(n.clone().map(|i| 1_700_000_000_000_000 + i));
        RecordBatch::try_new(schema, vec![Arc::new(times), Arc::new(Int64Array::from_iter_values(n))]).unwrap()
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
            budget: 64 << 20,
        }
    }

    fn archive(store: &Arc<Faulty>, class: Option<&str>) -> ObjectArchive {
        let retry = RetryPolicy { initial: Duration::from_millis(1), factor: 2.0, max_interval: Duration::from_millis(5), max_elapsed: Duration::from_secs(5) };
        ObjectArchive::new(store.clone(), "memory://cold", ObjectArchiveOptions { storage_class: class.map(Into::into), retry, send_class: class.is_some() })
    }

    fn feed(batches: Vec<Result<RecordBatch>>) -> BatchStream {
        stream::iter(batches).boxed()
    }

    #[tokio::test]
    async fn rows_are_archived_verified_and_receipted() {
        let store = Arc::new(Faulty::default());
        let target = archive(&store, None);
        let receipt = target.archive(request(), feed(vec![Ok(rows(0, 1_000)), Ok(rows(1_000, 500))])).await.unwrap();
        assert_eq!(receipt.key, "acme/2023-11/archive.acme.2023-11-14T221320Z-2023-11-14T221320Z.01J8Z0000000000000000000ZZ.parquet");
        assert_eq!(receipt.stats.rows, 1_500);
        assert_eq!(read_stats(store.clone(), receipt.key.clone(), receipt.size, "timestamp").await.unwrap(), receipt.stats);
        target.file_receipt(&receipt).await.unwrap();
        target.file_receipt(&receipt).await.unwrap();
        let stored = store.inner.get(&Path::from(receipt.receipt_key())).await.unwrap().bytes().await.unwrap();
        assert_eq!(serde_json::from_slice::<Receipt>(&stored).unwrap(), receipt);
        let other = Receipt { size: 1, ..receipt };
        assert!(target.file_receipt(&other).await.unwrap_err().to_string().contains("with other contents"));
    }

    #[tokio::test]
    async fn the_class_is_sent_and_frozen_objects_are_not_read_back() {
        let store = Arc::new(Faulty::default());
        let receipt = archive(&store, Some("DEEP_ARCHIVE")).archive(request(), feed(vec![Ok(rows(0, 10))])).await.unwrap();
        assert_eq!(receipt.storage_class.as_deref(), Some("DEEP_ARCHIVE"));
        // One HEAD, which this store counts as a GET, and no read.
        assert_eq!(store.calls(Op::Get), 1);
        let stored = store.inner.get(&Path::from(receipt.key)).await.unwrap();
        assert_eq!(stored.attributes.get(&Attribute::StorageClass).map(AsRef::as_ref), Some("DEEP_ARCHIVE"));
        let store = Arc::new(Faulty::default());
        archive(&store, Some("GLACIER_IR")).archive(request(), feed(vec![Ok(rows(0, 10))])).await.unwrap();
        assert_eq!(store.calls(Op::Get), 2);
    }

    #[tokio::test]
    async fn what_passes_is_tried_again() {
        let store = Arc::new(Faulty::default().with(Op::Put, &[Fault::Transient, Fault::Transient, Fault::LostReply]).with(Op::Get, &[Fault::Transient]));
        let receipt = archive(&store, None).archive(request(), feed(vec![Ok(rows(0, 10))])).await.unwrap();
        assert_eq!(receipt.stats.rows, 10);
        assert_eq!(store.calls(Op::Put), 4);
    }

    #[tokio::test]
    async fn what_is_refused_fails_at_once() {
        let store = Arc::new(Faulty::default().with(Op::Put, &[Fault::Refused]));
        let error = archive(&store, None).archive(request(), feed(vec![Ok(rows(0, 10))])).await.unwrap_err();
        assert!(matches!(&error, Error::Archive { target, why } if target == "memory://cold" && why.contains("AccessDenied")), "{error}");
        assert_eq!(store.calls(Op::Put), 1);
        let store = Arc::new(Faulty::default().with(Op::Get, &[Fault::Refused]));
        assert!(matches!(archive(&store, None).archive(request(), feed(vec![Ok(rows(0, 10))])).await, Err(Error::Archive { .. })));
    }

    #[tokio::test]
    async fn a_stream_that_breaks_archives_nothing_and_keeps_its_error() {
        let store = Arc::new(Faulty::default());
        let error = archive(&store, None).archive(request(), feed(vec![Ok(rows(0, 10)), Err(Error::Stopped)])).await.unwrap_err();
        assert!(matches!(error, Error::Stopped));
        assert_eq!(store.calls(Op::Put), 0);
        assert!(matches!(archive(&store, None).archive(request(), feed(Vec::new())).await, Err(Error::Archive { .. })));
    }

    #[tokio::test]
    async fn a_directory_is_an_archive() {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(object_store::local::LocalFileSystem::new_with_prefix(dir.path()).unwrap());
        let target = ObjectArchive::new(store, "dir", ObjectArchiveOptions { storage_class: Some("GLACIER_IR".into()), ..ObjectArchiveOptions::default() });
        let receipt = target.archive(request(), feed(vec![Ok(rows(0, 10))])).await.unwrap();
        target.file_receipt(&receipt).await.unwrap();
        assert_eq!(std::fs::metadata(dir.path().join(&receipt.key)).unwrap().len(), receipt.size);
    }
}
