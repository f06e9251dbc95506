//! An archive of your own: expired rows go to files in a directory, and each file is noted in a
//! list there. `cargo run --example custom_archive`
//!
//! [`ArchiveTarget`] has what the job relies on: a receipt is returned only once the rows would
//! survive a power cut, and have been read back.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use async_trait::async_trait;
use chrono::Utc;
use futures::StreamExt;
use icepack::archive::{ArchiveRequest, ArchiveTarget, BatchStream};
use icepack::{CompactionConfig, CompactionManager, CompactionResult, Error};
use icepack_core::model::manifest::{Receipt, Verified};
use icepack_core::model::time_column::TimeColumn;
use icepack_parquet::read_stats;
use icepack_parquet::stats::Counter;
use object_store::ObjectStoreExt;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use parquet::arrow::ArrowWriter;

#[derive(Debug)]
struct Shelf {
    directory: PathBuf,
}

impl Shelf {
    fn failed(&self, why: impl std::fmt::Display) -> Error {
        Error::Archive {
            target: self.description(),
            why: why.to_string(),
        }
    }

    /// Puts a file there as a whole and for good, or not at all. One that is there already is taken
    /// for ours: its name has an id that nobody else mints.
    fn put(
        &self,
        key: &str,
        write: impl FnOnce(&mut File) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        let path = self.directory.join(key);
        let folder = path.parent().unwrap_or(&self.directory);
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        write(file.as_file_mut())?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(&path) {
            Err(e) if e.error.kind() != std::io::ErrorKind::AlreadyExists => return Err(e.error),
            _ => {}
        }
        File::open(folder)?.sync_all()
    }
}

#[async_trait]
impl ArchiveTarget for Shelf {
    fn description(&self) -> String {
        format!("shelf {}", self.directory.display())
    }

    async fn archive(
        &self,
        request: ArchiveRequest,
        mut rows: BatchStream,
    ) -> Result<Receipt, Error> {
        let (mut counter, mut writer) = (None, None);
        while let Some(batch) = rows.next().await {
            // An error here means that the merge failed: what was sent so far is not all, so there
            // must be no receipt.
            let batch = batch?;
            let counter = match &mut counter {
                Some(counter) => counter,
                None => {
                    let column = TimeColumn::told(&request.timestamp_column);
                    let new = Counter::new(&batch.schema(), &column, &request.key());
                    counter.insert(new.map_err(|e| self.failed(e))?)
                }
            };
            counter.add(&batch).map_err(|e| self.failed(e))?;
            if writer.is_none() {
                writer = Some(
                    ArrowWriter::try_new(Vec::new(), batch.schema(), None)
                        .map_err(|e| self.failed(e))?,
                );
            }
            if let Some(writer) = &mut writer {
                writer.write(&batch).map_err(|e| self.failed(e))?;
            }
        }
        let (Some(counter), Some(writer)) = (counter, writer) else {
            return Err(self.failed("no rows"));
        };
        // A real one would write as it goes: `request.budget` says how many bytes it may hold.
        let bytes = writer.into_inner().map_err(|e| self.failed(e))?;
        let mut receipt = request.receipt(self.description(), bytes.len() as u64, *counter.stats());
        self.put(&receipt.key, |file| file.write_all(&bytes))
            .map_err(|e| self.failed(e))?;

        let shelf = Arc::new(
            LocalFileSystem::new_with_prefix(&self.directory).map_err(|e| self.failed(e))?,
        );
        if read_stats(
            shelf,
            receipt.key.clone(),
            receipt.size,
            &request.timestamp_column,
        )
        .await?
            != receipt.stats
        {
            return Err(self.failed(format!("`{}` does not hold what was written", receipt.key)));
        }
        receipt.verified = Some(Verified::Readback);
        Ok(receipt)
    }

    /// After the commit: from now on the object counts.
    async fn file_receipt(&self, receipt: &Receipt) -> Result<(), Error> {
        let json = serde_json::to_vec_pretty(receipt).map_err(|e| self.failed(e))?;
        self.put(&receipt.receipt_key(), |file| file.write_all(&json))
            .map_err(|e| self.failed(e))?;
        let ledger = File::options()
            .append(true)
            .create(true)
            .open(self.directory.join("ledger.csv"));
        let line = format!(
            "{},{},{}\n",
            receipt.tenant, receipt.key, receipt.stats.rows
        );
        ledger
            .and_then(|mut ledger| ledger.write_all(line.as_bytes()))
            .map_err(|e| self.failed(e))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let result = archive_old_rows(directory.path()).await?;
    println!(
        "{} rows archived, {} kept",
        result.ledger.rows_archived, result.ledger.rows_kept
    );
    print!(
        "{}",
        std::fs::read_to_string(directory.path().join("ledger.csv"))?
    );
    Ok(())
}

/// Three files of a tenant whose rows are kept for 30 days, and are older.
pub async fn archive_old_rows(
    shelf: &Path,
) -> Result<CompactionResult, Box<dyn std::error::Error>> {
    let store = Arc::new(InMemory::new());
    for file in 0..3 {
        store
            .put(
                &format!("acme/{file}.parquet").into(),
                old_events(file * 10)?.into(),
            )
            .await?;
    }
    let archive = Arc::new(Shelf {
        directory: shelf.to_owned(),
    });
    let mut config = CompactionConfig {
        archive: Some(archive),
        ..CompactionConfig::default()
    };
    config
        .retention
        .set("acme", Some(Duration::from_secs(30 * 86_400)));
    Ok(CompactionManager::new(store, config).compact().await?)
}

/// Ten events of 90 days ago.
fn old_events(first: i64) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    #[allow(clippy::disallowed_methods, reason = "an example of the real time")]
    let then = Utc::now().timestamp_micros() - 90 * 86_400_000_000;
    let ids = Arc::new(StringArray::from_iter_values(
        (first..first + 10).map(|n| format!("event-{n}")),
    )) as ArrayRef;
    let times = Arc::new(TimestampMicrosecondArray::from_iter_values(
        (first..first + 10).map(|n| then + n),
    )) as ArrayRef;
    let rows = RecordBatch::try_from_iter([("event_id", ids), ("timestamp", times)])?;
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None)?;
    writer.write(&rows)?;
    Ok(writer.into_inner()?)
}
