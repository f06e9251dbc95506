//! The interface of an archive, for programs that bring their own.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::ObjectStore;

use crate::error::Result;
use crate::store::counting::RequestCounters;
use icepack_core::model::file::{Micros, RowStats, Snapshot};
use icepack_core::model::manifest::Receipt;
use icepack_core::model::names::{FileId, Key, Place, Tenant, archive_key};
use icepack_core::model::schema::TableSchema;

/// Expired rows on their way, in time order. An `Err` means that the merge failed: the target must
/// drop what it has and return an error.
pub type BatchStream = BoxStream<'static, Result<RecordBatch>>;

/// What is to be archived.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ArchiveRequest {
    /// Whose rows.
    pub tenant: Tenant,
    /// Where the object lies in the archive: as the rows lay in the store.
    pub place: Place,
    /// The run.
    pub run_id: FileId,
    /// Unique; the object carries it in its name.
    pub id: FileId,
    /// No dated row is older.
    pub from: Micros,
    /// No row is newer.
    pub to: Micros,
    /// What dates a row, as
    /// [`TimeColumn`](icepack_core::model::time_column::TimeColumn) writes it.
    pub timestamp_column: String,
    /// The files that held the rows.
    pub sources: Vec<Key>,
    /// Bytes of those files: mostly more than what is archived of them.
    pub source_bytes: u64,
    /// Bytes of memory that the target may take.
    pub budget: u64,
    /// Counts the requests.
    pub requests: Arc<RequestCounters>,
}

impl ArchiveRequest {
    /// A request to archive rows of `tenant` that are from `from` to `to`, both in, as the object
    /// `id`; for trying a target out. Its run is `id` too, its column `timestamp`, it names no
    /// sources, lies in the folder of its month, and the target may take 64 MiB. The fields are
    /// public.
    pub fn new(tenant: Tenant, id: FileId, from: Micros, to: Micros) -> Self {
        Self {
            place: Place::Month(tenant.clone()),
            tenant,
            run_id: id,
            id,
            from,
            to,
            timestamp_column: "timestamp".to_owned(),
            sources: Vec::new(),
            source_bytes: 0,
            budget: 64 << 20,
            requests: Arc::default(),
        }
    }

    /// The key of an object with its rows, in the archive.
    pub fn key(&self) -> Key {
        archive_key(&self.place, &self.tenant, self.from, self.to, self.id)
    }

    /// The receipt of an object of `size` bytes that holds the rows of `stats`, under the name that
    /// `restore` and `verify` look for: `<folder>/archive.<tenant>.<from>-<to>.<id>.parquet`. `archive` is [`ArchiveTarget::description`]. Whoever knows more of the object
    /// (its ETag, how it was verified) says so in the fields.
    pub fn receipt(&self, archive: impl Into<String>, size: u64, stats: RowStats) -> Receipt {
        let key = self.key();
        Receipt {
            timestamp_column: Some(self.timestamp_column.clone()),
            sources: self.sources.clone(),
            ..Receipt::new(
                self.tenant.clone(),
                self.id,
                key,
                size,
                stats,
                archive,
                self.run_id,
            )
        }
    }
}

/// A snapshot that is to be archived as it is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CopyRequest {
    /// The tenant that it belongs to.
    pub tenant: Tenant,
    /// The run.
    pub run_id: FileId,
    /// The snapshot, in the store that the job works on. The archive object takes its id, so that
    /// a second attempt finds the first one's copy.
    pub snapshot: Snapshot,
    /// Its columns, where the manifest has them.
    pub schema: Option<TableSchema>,
    /// The column that dates a row.
    pub timestamp_column: String,
    /// Counts the requests.
    pub requests: Arc<RequestCounters>,
}

impl CopyRequest {
    /// A request to copy `snapshot` of `tenant`; for trying a target out. The run is `run_id`, the
    /// column `timestamp`. The fields are public.
    pub fn new(tenant: Tenant, run_id: FileId, snapshot: Snapshot) -> Self {
        Self {
            tenant,
            run_id,
            snapshot,
            schema: None,
            timestamp_column: "timestamp".to_owned(),
            requests: Arc::default(),
        }
    }
}

/// A place for expired rows. `examples/custom_archive.rs` is one.
///
/// The contract: `archive` returns a receipt only when the rows are durable and verified, else
/// `Err`; calling it again for the same rows is safe. It is never called when nothing expired. The
/// rows count as archived once a commit names the receipt; the job never deletes anything from an
/// archive.
#[async_trait]
pub trait ArchiveTarget: Send + Sync + Debug {
    /// What this is, for logs: `s3://events-cold/prod`.
    fn description(&self) -> String;

    /// The class of the objects, as plans reckon with it; none is STANDARD.
    fn storage_class(&self) -> Option<&str> {
        None
    }

    /// Whether [`Self::copy`] may copy, so that plans reckon with it.
    fn copies(&self) -> bool {
        false
    }

    /// What lists and reads the archive, for `verify` and `doctor`. None where it cannot be looked
    /// at, or is not there yet.
    ///
    /// # Errors
    /// Where it cannot be opened.
    async fn reader(&self) -> Result<Option<Arc<dyn ObjectStore>>> {
        Ok(None)
    }

    /// Stores the rows and proves that they are there.
    ///
    /// # Errors
    /// Whatever keeps the rows from being durable, or the stream's own error.
    async fn archive(&self, request: ArchiveRequest, rows: BatchStream) -> Result<Receipt>;

    /// Archives a snapshot of which every row has expired by a copy within the store, so that no
    /// byte of it passes through this process. None where that is impossible, or where it could
    /// not be proved afterwards: nothing has happened then, and the rows are sent to
    /// [`Self::archive`].
    ///
    /// # Errors
    /// Whatever keeps the copy from being durable and verified. Safe to repeat.
    async fn copy(&self, request: CopyRequest) -> Result<Option<Receipt>> {
        let _ = request;
        Ok(None)
    }

    /// Stores the receipt beside the object, after the commit that names it: the marker that makes
    /// it count for whoever has only the archive. Safe to repeat.
    ///
    /// # Errors
    /// Whatever keeps the receipt from being stored.
    async fn file_receipt(&self, receipt: &Receipt) -> Result<()>;
}
