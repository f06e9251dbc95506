//! An archive that takes whole snapshots by copies, as S3 makes them within itself. Here each is a
//! read of the store and a conditional put into the archive, so that a pass can die before, between
//! and after them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use icepack::archive::{Archive, ArchiveRequest, ArchiveTarget, BatchStream, CopyRequest};
use icepack::{Error, Result};
use icepack_core::model::file::Micros;
use icepack_core::model::manifest::{Receipt, Verified};
use icepack_core::model::names;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions};

use crate::support::Store;

/// How often a copy was made, and how often one was there already.
#[derive(Debug, Default)]
pub struct Copies {
    pub made: AtomicUsize,
    pub found: AtomicUsize,
}

/// See the module.
#[derive(Debug)]
pub struct CopyArchive {
    pub rows: Archive,
    pub hot: Store,
    pub cold: Store,
    pub copies: Arc<Copies>,
}

impl CopyArchive {
    fn failed(&self, why: impl std::fmt::Display) -> Error {
        Error::Archive {
            target: self.description(),
            why: why.to_string(),
        }
    }

    /// The snapshot's bytes, if it still is what head says.
    async fn source(&self, request: &CopyRequest) -> Result<Option<Bytes>> {
        let snapshot = &request.snapshot;
        let gone = || Error::Read(icepack_parquet::Error::Gone(snapshot.key.clone()));
        let reply = match self.hot.get(&Path::from(snapshot.key.as_str())).await {
            Err(object_store::Error::NotFound { .. }) => return Err(gone()),
            reply => reply.map_err(|e| self.failed(e))?,
        };
        if (reply.meta.size, &reply.meta.e_tag) != (snapshot.size, &snapshot.etag) {
            return Ok(None);
        }
        let size = reply.meta.size;
        let body = reply.bytes().await.map_err(|e| self.failed(e))?;
        if body.len() as u64 == size {
            Ok(Some(body))
        } else {
            Err(self.failed("half of the snapshot"))
        }
    }
}

#[async_trait]
impl ArchiveTarget for CopyArchive {
    fn description(&self) -> String {
        self.rows.description()
    }

    fn copies(&self) -> bool {
        true
    }

    async fn archive(&self, request: ArchiveRequest, rows: BatchStream) -> Result<Receipt> {
        self.rows.archive(request, rows).await
    }

    async fn copy(&self, request: CopyRequest) -> Result<Option<Receipt>> {
        let Some(body) = self.source(&request).await? else {
            return Ok(None);
        };
        let CopyRequest {
            tenant,
            run_id,
            snapshot,
            schema,
            ..
        } = request;
        let (from, to) = (
            snapshot.stats.min.unwrap_or(Micros(0)),
            snapshot.stats.max.unwrap_or(Micros(0)),
        );
        let key = names::archive_key(
            &names::Place::Folder(names::folder(&snapshot.key).to_owned()),
            &tenant,
            from,
            to,
            snapshot.id,
        );
        let path = Path::from(key.as_str());
        let count = match self
            .cold
            .put_opts(
                &path,
                body.clone().into(),
                PutOptions::from(PutMode::Create),
            )
            .await
        {
            Ok(_) => &self.copies.made,
            Err(object_store::Error::AlreadyExists { .. }) => &self.copies.found,
            Err(e) => return Err(self.failed(e)),
        };
        // Whoever made it: that it is the snapshot is seen by its bytes.
        let reply = self.cold.get(&path).await.map_err(|e| self.failed(e))?;
        let etag = reply.meta.e_tag.clone();
        if reply.bytes().await.map_err(|e| self.failed(e))? != body {
            return Err(self.failed(format!("`{key}` is not `{}`", snapshot.key)));
        }
        count.fetch_add(1, Ordering::Relaxed);
        let mut receipt = Receipt::new(
            tenant,
            snapshot.id,
            key,
            snapshot.size,
            snapshot.stats,
            self.description(),
            run_id,
        );
        receipt.at = run_id.minted_at();
        (receipt.etag, receipt.verified, receipt.schema) = (etag, Some(Verified::Readback), schema);
        (receipt.timestamp_column, receipt.sources) =
            (Some(request.timestamp_column), vec![snapshot.key]);
        Ok(Some(receipt))
    }

    async fn file_receipt(&self, receipt: &Receipt) -> Result<()> {
        self.rows.file_receipt(receipt).await
    }
}
