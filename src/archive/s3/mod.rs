//! The archive on S3, through aws-sdk-s3: classes, checksums, encryption, locks, and copies within
//! S3.
//!
//! Every request is tried again by [`crate::store::retry`] alone: the SDK's own retries are off.

pub mod bucket;
mod checksum;
pub mod client;
mod copy;
pub mod error;
mod upload;

pub use copy::CopySizes;
pub use upload::{Attributes, Encryption, S3Destination};

use std::sync::{Arc, Once};

use async_trait::async_trait;
use chrono::TimeDelta;
use object_store::ObjectStore;
use tokio::runtime::Handle;
use url::form_urlencoded;

use self::bucket::{Bucket, FROZEN, Stored};
use self::copy::NotCopied;
use self::error::Kind;
use self::upload::Lock;
use super::encode::encode;
use super::{
    ArchiveRequest, ArchiveTarget, BatchStream, CopyRequest, failed, read_back, receipt,
    receipt_json, same_receipt,
};
use crate::error::{ReadError, Result};
use crate::store::counting::{Counters, CountingStore};
use crate::store::piece::Piece;
use crate::store::piece::upload::Target;
use crate::store::retry::RetryPolicy;
use icepack_core::model::file::{Micros, RowStats};
use icepack_core::model::manifest::{
    Checksum, ChecksumAlgorithm, RECEIPT_FORMAT, Receipt, Verified, WRITER,
};
use icepack_core::model::names::{self, FileId, Tenant, format_iso_basic};

/// What proves that the archive holds what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// The server's own checksum of it; where it shows none, every row is read back.
    #[default]
    Checksum,
    /// Every row is read back.
    Readback,
}

/// How long, and how strictly, objects are locked against deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFor {
    /// `GOVERNANCE` or `COMPLIANCE`.
    pub mode: String,
    /// From the moment they are written.
    pub days: u32,
}

/// How an [`S3Archive`] writes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct S3ArchiveOptions {
    /// Of the objects; receipts are always STANDARD. None is the bucket's default.
    pub storage_class: Option<String>,
    /// What proves an object.
    pub verify: Verify,
    /// What is computed of an object.
    pub checksum: ChecksumAlgorithm,
    /// At rest.
    pub encryption: Encryption,
    /// Whether objects get the tags `tenant`, `from`, `to` and `run`.
    pub tagging: bool,
    /// Against deletion.
    pub lock: Option<LockFor>,
    /// Of every request.
    pub retry: RetryPolicy,
    /// Where copies begin to be made in parts.
    pub copy: CopySizes,
}

/// Expired rows as Parquet objects with receipts, in a bucket.
#[derive(Debug)]
pub struct S3Archive {
    bucket: Arc<Bucket>,
    /// The store that the job works on, where this archive's credentials reach it on the same
    /// server.
    hot: Option<Bucket>,
    /// The same bucket, for reading rows back.
    reader: Arc<dyn ObjectStore>,
    url: String,
    options: S3ArchiveOptions,
    says_so: Once,
}

impl S3Archive {
    /// An archive in `bucket`, called `url` in logs, whose objects can be read through `reader`.
    pub fn new(
        bucket: Bucket,
        reader: Arc<dyn ObjectStore>,
        url: impl Into<String>,
        options: S3ArchiveOptions,
    ) -> Self {
        let bucket = Arc::new(Bucket {
            retry: options.retry,
            ..bucket
        });
        Self {
            bucket,
            hot: None,
            reader,
            url: url.into(),
            options,
            says_so: Once::new(),
        }
    }

    /// Copies whole snapshots from bucket `name` below `prefix`: the same server, the same
    /// credentials.
    #[must_use]
    pub fn with_hot(mut self, name: impl Into<String>, prefix: impl Into<String>) -> Self {
        self.hot = Some(Bucket {
            name: name.into(),
            prefix: prefix.into(),
            ..Bucket::clone(&self.bucket)
        });
        self
    }

    fn destination(&self, attributes: Attributes, requests: &Arc<Counters>) -> S3Destination {
        S3Destination {
            bucket: Arc::clone(&self.bucket),
            attributes,
            algorithm: self.options.checksum,
            requests: Arc::clone(requests),
        }
    }

    /// What is stored with every object: its class apart, also with receipts.
    fn attributes(&self, run_id: FileId) -> Attributes {
        let until = |days: u32| run_id.minted_at() + TimeDelta::days(i64::from(days));
        let lock = self.options.lock.as_ref().map(|l| Lock {
            mode: l.mode.clone(),
            until: until(l.days),
        });
        Attributes {
            class: None,
            encryption: self.options.encryption.clone(),
            tagging: None,
            lock,
        }
    }

    fn object_attributes(
        &self,
        run_id: FileId,
        tenant: &Tenant,
        from: Micros,
        to: Micros,
    ) -> Attributes {
        let tagging = self.options.tagging.then(|| tags(run_id, tenant, from, to));
        Attributes {
            class: self.options.storage_class.clone(),
            tagging,
            ..self.attributes(run_id)
        }
    }

    /// The object is there, whole, in its class; and its bytes or its rows are those that were
    /// sent.
    async fn verify(&self, piece: &Piece, request: &ArchiveRequest) -> Result<Verified> {
        let found = self
            .bucket
            .head(&piece.key, &request.requests)
            .await
            .map_err(|e| failed(&self.url, format!("cannot check `{}`: {e}", piece.key)))?;
        let found = found.ok_or_else(|| {
            failed(
                &self.url,
                format!("`{}` is not there after it was written", piece.key),
            )
        })?;
        self.check_stored(&piece.key, &found, piece.size)?;
        let shown = piece
            .checksum
            .as_ref()
            .and_then(|sent| Some((sent, found.checksum(sent.algorithm, sent.kind)?)));
        if let Some((sent, shown)) = shown
            && sent != shown
        {
            return Err(failed(
                &self.url,
                format!(
                    "`{}` has the checksum {}, and {} was sent",
                    piece.key, shown.value, sent.value
                ),
            ));
        }
        if shown.is_some() && self.options.verify == Verify::Checksum {
            return Ok(Verified::Checksum);
        }
        if shown.is_none() {
            self.says_so.call_once(|| {
                tracing::warn!(
                    archive = self.url,
                    "this archive returns no checksums: what is written to it is read back, row \
                     by row"
                )
            });
        }
        self.read_back(
            &piece.key,
            &piece.stats,
            piece.size,
            &request.timestamp_column,
            &request.requests,
        )
        .await?;
        Ok(Verified::Readback)
    }

    async fn read_back(
        &self,
        key: &str,
        sent: &RowStats,
        size: u64,
        timestamp: &str,
        requests: &Arc<Counters>,
    ) -> Result<()> {
        let reader = CountingStore::sharing(Arc::clone(&self.reader), Arc::clone(requests));
        read_back(reader, key, size, sent, timestamp)
            .await
            .map_err(|e| failed(&self.url, e))
    }

    fn check_stored(&self, key: &str, found: &Stored, size: u64) -> Result<()> {
        if found.size != size {
            return Err(failed(
                &self.url,
                format!("`{key}` has {} bytes, and {size} were written", found.size),
            ));
        }
        let (wanted, got) = (
            self.options.storage_class.as_deref(),
            found.class.as_deref().unwrap_or("STANDARD"),
        );
        match wanted {
            Some(wanted) if wanted != got => Err(failed(
                &self.url,
                format!(
                    "`{key}` was sent with the class {wanted} and is stored as {got}: this server \
                     ignores classes; unset archive.storage_class, or use one that it has"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Stores the object's receipt; one that is there must be the same.
    async fn put_receipt(&self, receipt: &Receipt) -> Result<()> {
        let key = receipt.receipt_key();
        let json = receipt_json(receipt).map_err(|e| failed(&self.url, e))?;
        // Receipts are found by name and read at once: neither class nor tags.
        let requests = Arc::new(Counters::default());
        let destination = self.destination(self.attributes(receipt.run_id), &requests);
        let Err(put) = destination.create(&key, json).await else {
            return Ok(());
        };
        // Whatever was said: what is there decides.
        match self.bucket.get(&key, &requests).await {
            Ok(stored) => {
                same_receipt(&key, &stored, receipt).map_err(|why| failed(&self.url, why))
            }
            Err(e) if e.kind == Kind::NotFound => {
                Err(failed(&self.url, format!("cannot put `{key}`: {put}")))
            }
            Err(e) => Err(failed(
                &self.url,
                format!("cannot put `{key}`: {put}; nor read it: {e}"),
            )),
        }
    }

    fn copied(&self, request: CopyRequest, key: String, copied: copy::Copied) -> Receipt {
        let CopyRequest {
            tenant,
            run_id,
            snapshot,
            schema,
            timestamp_column,
            ..
        } = request;
        let storage_class = if copied.found {
            copied.stored.class.clone()
        } else {
            self.options.storage_class.clone()
        };
        Receipt {
            format: RECEIPT_FORMAT,
            tenant,
            key,
            id: snapshot.id,
            size: snapshot.size,
            etag: copied.stored.etag,
            storage_class,
            checksum: copied.checksum,
            verified: Some(copied.verified),
            schema,
            timestamp_column: Some(timestamp_column),
            manifest_version: None,
            archive: self.url.clone(),
            stats: snapshot.stats,
            sources: vec![snapshot.key],
            again_of: Default::default(),
            run_id,
            at: run_id.minted_at(),
            writer: WRITER.to_owned(),
        }
    }
}

#[async_trait]
impl ArchiveTarget for S3Archive {
    fn description(&self) -> String {
        self.url.clone()
    }

    async fn archive(&self, request: ArchiveRequest, rows: BatchStream) -> Result<Receipt> {
        let attributes =
            self.object_attributes(request.run_id, &request.tenant, request.from, request.to);
        let target = Target {
            destination: Arc::new(self.destination(attributes, &request.requests)),
            runtime: Handle::current(),
        };
        let (piece, schema) = encode(target, &self.url, &request, rows).await?;
        let verified = self.verify(&piece, &request).await?;
        let class = self.options.storage_class.clone();
        // A checksum that the server does not show is no part of what is known of the object.
        let checksum: Option<Checksum> = piece
            .checksum
            .clone()
            .filter(|_| verified == Verified::Checksum);
        Ok(Receipt {
            storage_class: class,
            checksum,
            verified: Some(verified),
            ..receipt(&request, piece, schema, &self.url)
        })
    }

    async fn copy(&self, request: CopyRequest) -> Result<Option<Receipt>> {
        let Some(hot) = &self.hot else {
            return Ok(None);
        };
        // Whoever asks for every row to be read back gets that, and bytes through the job.
        if self.options.verify == Verify::Readback {
            return Ok(None);
        }
        let stats = request.snapshot.stats;
        let (from, to) = (
            stats.min.unwrap_or(Micros(0)),
            stats.max.unwrap_or(Micros(0)),
        );
        let key = names::archive_key(&request.tenant, from, to, request.snapshot.id);
        let destination = self.destination(
            self.object_attributes(request.run_id, &request.tenant, from, to),
            &request.requests,
        );
        match destination
            .copy_from(hot, &request.snapshot, &key, self.options.copy)
            .await
        {
            Ok(copied) => {
                // The copy of an earlier attempt has the class that was asked for then.
                if !copied.found {
                    self.check_stored(&key, &copied.stored, request.snapshot.size)?;
                }
                Ok(Some(self.copied(request, key, copied)))
            }
            Err(NotCopied::Impossible(why)) => {
                tracing::info!(tenant = %request.tenant, run_id = %request.run_id, file = request.snapshot.key, "archived by its rows, not by a copy: {why}");
                Ok(None)
            }
            Err(NotCopied::Gone) => Err(ReadError::Gone(request.snapshot.key).into()),
            Err(NotCopied::Failed(e)) => Err(failed(
                &self.url,
                format!("cannot copy `{}` to `{key}`: {e}", request.snapshot.key),
            )),
        }
    }

    async fn file_receipt(&self, receipt: &Receipt) -> Result<()> {
        self.put_receipt(receipt).await
    }
}

/// Whether objects of a class must be thawed before they can be read back.
pub fn is_frozen_class(class: &str) -> bool {
    FROZEN.contains(&class)
}

/// `tenant=acme&from=…&to=…&run=…`, with only what tags may hold.
fn tags(run_id: FileId, tenant: &Tenant, from: Micros, to: Micros) -> String {
    let allowed = |c: char| {
        if c.is_alphanumeric() || " +-=._:/@".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = tenant.as_str().chars().map(allowed).collect();
    form_urlencoded::Serializer::new(String::new())
        .append_pair("tenant", &name)
        .append_pair("from", &format_iso_basic(from.to_datetime()))
        .append_pair("to", &format_iso_basic(to.to_datetime()))
        .append_pair("run", &run_id.to_string())
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_hold_only_what_tags_may_hold() {
        let text = tags(
            FileId::NIL,
            &Tenant::parse("a&b=c!").unwrap(),
            Micros(0),
            Micros(1_000_000),
        );
        assert_eq!(
            text,
            "tenant=a_b%3Dc_&from=1970-01-01T000000Z&to=1970-01-01T000001Z&\
             run=00000000000000000000000000"
        );
    }
}
