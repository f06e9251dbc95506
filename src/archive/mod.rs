//! The cold tier: where expired rows go before anything that held them is deleted.

pub mod cold;
mod encode;
mod object;
pub mod s3;
mod target;

pub use object::{ObjectArchive, ObjectArchiveOptions};
pub use target::{ArchiveRequest, ArchiveTarget, BatchStream, CopyRequest};

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;

use crate::error::{Error, Result};
use crate::store::piece::Piece;
use icepack_core::model::file::RowStats;
use icepack_core::model::manifest::Receipt;
use icepack_core::model::schema::TableSchema;
use icepack_parquet::read_stats;

fn failed(archive: &str, why: impl Display) -> Error {
    Error::Archive {
        target: archive.to_owned(),
        why: why.to_string(),
    }
}

/// Reads an object back and compares what it holds with what was sent.
///
/// # Errors
/// The store's; [`Error::Local`] where the rows are others.
async fn read_back(
    store: Arc<dyn ObjectStore>,
    key: &str,
    size: u64,
    sent: &RowStats,
    timestamp: &str,
) -> Result<()> {
    let found = read_stats(store, key.to_owned(), size, timestamp).await?;
    if found == *sent {
        Ok(())
    } else {
        Err(Error::local(
            format!("`{key}` does not hold what was sent"),
            format!("{found:?} instead of {sent:?}"),
        ))
    }
}

/// What is known of an object that was encoded here. The target adds how it stored and proved it.
fn receipt(request: &ArchiveRequest, piece: Piece, schema: TableSchema, archive: &str) -> Receipt {
    Receipt {
        key: piece.key,
        etag: piece.etag,
        checksum: piece.checksum,
        schema: Some(schema),
        ..request.receipt(archive, piece.size, piece.stats)
    }
}

fn receipt_json(receipt: &Receipt) -> serde_json::Result<Bytes> {
    Ok(serde_json::to_vec_pretty(receipt)?.into())
}

/// Whether what is stored under a receipt's name is that receipt.
fn same_receipt(key: &str, stored: &[u8], ours: &Receipt) -> Result<(), String> {
    let theirs: Receipt = serde_json::from_slice(stored)
        .map_err(|e| format!("`{key}` is there and is not a receipt: {e}"))?;
    if theirs == *ours {
        Ok(())
    } else {
        Err(format!("`{key}` is there with other contents"))
    }
}
