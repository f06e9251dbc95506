//! The cold tier: where expired rows go before anything that held them is deleted.

mod object;

pub use object::{ObjectArchive, ObjectArchiveOptions};

use std::fmt::Debug;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::error::Result;
use crate::model::file::Micros;
use crate::model::manifest::Receipt;
use crate::model::names::{FileId, Key, Tenant};

/// Expired rows on their way, in time order. An `Err` means that the merge failed: the target must drop what it has and return an error.
pub type BatchStream = BoxStream<'static, Result<RecordBatch>>;

/// What is to be archived.
#[derive(Debug, Clone)]
pub struct ArchiveRequest {
    /// Whose rows.
    pub tenant: Tenant,
    /// The run.
    pub run_id: FileId,
    /// Unique; the object carries it in its name.
    pub id: FileId,
    /// No dated row is older.
    pub from: Micros,
    /// No row is newer.
    pub to: Micros,
    /// The column that dates a row.
    pub timestamp_column: String,
    /// The files that held the rows.
    pub sources: Vec<Key>,
    /// Bytes of memory that the target may take.
    pub budget: u64,
}

/// A place for expired rows.
///
/// The contract: `archive` returns a receipt only when the rows are durable and verified, else `Err`; calling it again for the same rows is
/// safe. It is never called when nothing expired. The rows count as archived once a commit names the receipt; the job never deletes anything from an archive.
#[async_trait]
pub trait ArchiveTarget: Send + Sync + Debug {
    /// What this is, for logs: `s3://events-cold/prod`.
    fn description(&self) -> String;

    /// Stores the rows and proves that they are there.
    ///
    /// # Errors
    /// Whatever keeps the rows from being durable, or the stream's own error.
    async fn archive(&self, request: ArchiveRequest, rows: BatchStream) -> Result<Receipt>;

    /// Stores the receipt beside the object, after the commit that names it: the marker that makes it count for whoever has only the archive.
    /// Safe to repeat.
    ///
    /// # Errors
    /// Whatever keeps the receipt from being stored.
    async fn file_receipt(&self, receipt: &Receipt) -> Result<()>;
}
