//! Archives: where expired rows go before anything that held them is deleted.

#[cfg(feature = "azure")]
mod azure;
mod backend;
mod encode;
mod object;
mod place;
pub mod receipts;
pub mod s3;
mod target;

pub use backend::{
    ArchiveBackend, Attributes, Copied, Encryption, Lock, NotCopied, Stored, Thaw, is_frozen_class,
};
pub use object::ObjectStoreBackend;
pub use place::{ArchivePlace, OpenArchive, backend_at};
pub use target::{ArchiveRequest, ArchiveTarget, BatchStream, CopyRequest};

use std::fmt::Display;
use std::sync::{Arc, Once};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::TimeDelta;
use futures::TryFutureExt;
use object_store::{ObjectStore, ObjectStoreExt};

use self::encode::encode;
use self::place::Address;
use self::s3::CopySizes;
use crate::clock::Clock;
use crate::error::{Error, ReadError, Result};
use crate::store::counting::{CountingStore, RequestCounters};
use crate::store::object_writer::WrittenObject;
use crate::store::retry::{RetryPolicy, retry};
use crate::store::staged::Directory;
use crate::store::{Location, path};
use icepack_core::model::file::Micros;
use icepack_core::model::manifest::{ChecksumAlgorithm, Receipt, Verified};
use icepack_core::model::names::{FileId, Place, Tenant, archive_key, folder};
use icepack_parquet::read_stats;
use icepack_parquet::source::whole_body;

/// How the archive proves that it holds what was sent.
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
    /// Days from the moment that they are written.
    pub days: u32,
}

/// How an [`Archive`] writes. Only S3 has all of it: other stores have classes at most, and what is
/// written to them is always read back.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ArchiveOptions {
    /// The storage class of the objects; receipts are always in the default class. None is the
    /// bucket's default.
    pub storage_class: Option<String>,
    /// How objects are verified.
    pub verify: Verify,
    /// The checksum of an object.
    pub checksum: ChecksumAlgorithm,
    /// Encryption at rest.
    pub encryption: Encryption,
    /// Whether objects get the tags `tenant`, `from`, `to` and `run`.
    pub tagging: bool,
    /// The lock against deletion.
    pub lock: Option<LockFor>,
    /// Retries of requests that can be repeated.
    pub retry: RetryPolicy,
    /// Where copies begin to be made in parts.
    pub copy: CopySizes,
}

/// Expired rows as Parquet objects with receipts: encoded, verified and named here, stored by an
/// [`ArchiveBackend`].
#[derive(Debug)]
pub struct Archive {
    source: Source,
    url: String,
    options: ArchiveOptions,
    says_so: Once,
}

/// What an archive is made from.
#[derive(Debug)]
enum Source {
    Given(OpenArchive),
    /// It is opened when it is first needed.
    At(Box<Address>),
}

impl Archive {
    /// An archive in `store`, called `url` in logs and receipts. The store is sent no classes:
    /// directories and memory refuse them.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        url: impl Into<String>,
        options: ArchiveOptions,
    ) -> Self {
        let backend = ObjectStoreBackend {
            store,
            retry: options.retry,
            send_class: false,
        };
        Self::with_backend(Arc::new(backend), url, options)
    }

    /// An archive in `backend`, called `url` in logs and receipts.
    pub fn with_backend(
        backend: Arc<dyn ArchiveBackend>,
        url: impl Into<String>,
        options: ArchiveOptions,
    ) -> Self {
        let root = None;
        Self {
            source: Source::Given(OpenArchive { backend, root }),
            url: url.into(),
            options,
            says_so: Once::new(),
        }
    }

    /// The archive at `place`, of a job that works on the store at `hot`. It is opened when it is
    /// first needed.
    pub fn at(place: ArchivePlace, hot: &Location, clock: Arc<dyn Clock>) -> Self {
        let url = place.location.canonical();
        let address = Address::new(place.location, place.connection, hot, clock);
        Self {
            source: Source::At(Box::new(address)),
            url,
            options: place.options,
            says_so: Once::new(),
        }
    }

    /// Opens it, unless that was done. A directory that does not exist is made where `create` says
    /// so.
    ///
    /// # Errors
    /// [`Error::Usage`] where its address or the environment is wrong.
    pub async fn open(&self, create: bool) -> Result<&OpenArchive> {
        match &self.source {
            Source::Given(open) => Ok(open),
            Source::At(address) => address.open(create, &self.options).await,
        }
    }

    /// Opens it for whoever looks at it: none where it is a directory that does not exist yet, which
    /// looking must not make.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn find(&self) -> Result<Option<&OpenArchive>> {
        match &self.source {
            Source::At(address) if address.is_missing() => {
                tracing::info!(
                    "there is no archive yet: {} does not exist",
                    address.location
                );
                Ok(None)
            }
            _ => self.open(false).await.map(Some),
        }
    }

    /// The directory that it is, where that is known.
    pub fn directory(&self) -> Option<&Directory> {
        match &self.source {
            Source::Given(_) => None,
            Source::At(address) => address.directory.as_ref(),
        }
    }

    async fn backend(&self) -> Result<&dyn ArchiveBackend> {
        Ok(self.open(true).await?.backend.as_ref())
    }

    fn failed(&self, why: impl Display) -> Error {
        Error::Archive {
            target: self.url.clone(),
            why: why.to_string(),
        }
    }

    /// What is stored with every object, also with receipts: those are found by name and read at
    /// once, so that they have neither class nor tags.
    fn attributes(&self, run_id: FileId) -> Attributes {
        let lock = self.options.lock.as_ref().map(|lock| Lock {
            mode: lock.mode.clone(),
            until: run_id.minted_at() + TimeDelta::days(i64::from(lock.days)),
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
        let tagging = self.options.tagging;
        Attributes {
            class: self.options.storage_class.clone(),
            tagging: tagging.then(|| s3::tags(run_id, tenant, from, to)),
            ..self.attributes(run_id)
        }
    }

    /// The object is there, whole, in its class; and its bytes or its rows are those that were
    /// sent.
    async fn verify(&self, written: &WrittenObject, request: &ArchiveRequest) -> Result<Verified> {
        let backend = self.backend().await?;
        let found = backend.head(&written.key, &request.requests).await;
        let found = found.map_err(|e| self.failed(e))?.ok_or_else(|| {
            self.failed(format!(
                "`{}` is not there after it was written",
                written.key
            ))
        })?;
        self.check_stored(backend, &written.key, &found, written.size)?;
        let shown = written
            .checksum
            .as_ref()
            .and_then(|sent| Some((sent, found.checksum(sent.algorithm, sent.kind)?)));
        match shown {
            Some((sent, shown)) if sent != shown => {
                return Err(self.failed(format!(
                    "`{}` has the checksum {}, and {} was sent",
                    written.key, shown.value, sent.value
                )));
            }
            Some(_) if self.options.verify == Verify::Checksum => return Ok(Verified::Checksum),
            Some(_) => {}
            None => self.say_that_rows_are_read_back(backend),
        }
        self.read_back(written, request).await?;
        Ok(Verified::Readback)
    }

    fn say_that_rows_are_read_back(&self, backend: &dyn ArchiveBackend) {
        let text = "this archive returns no checksums: what is written to it is read back, row by \
                    row";
        self.says_so.call_once(|| {
            if backend.tells_attributes() {
                tracing::warn!(archive = self.url, "{text}");
            } else {
                tracing::info!(archive = self.url, "{text}");
            }
        });
    }

    /// Reads the object back and compares what it holds with what was sent.
    async fn read_back(&self, written: &WrittenObject, request: &ArchiveRequest) -> Result<()> {
        let (key, sent, backend) = (&written.key, &written.stats, self.backend().await?);
        let reader = CountingStore::sharing(backend.reader(), Arc::clone(&request.requests));
        let read = || {
            let reader = Arc::clone(&reader) as _;
            read_stats(reader, key.clone(), written.size, &request.timestamp_column)
                .map_err(Error::from)
        };
        let found = retry(&backend.read_retry(), &format!("read back {key}"), read).await;
        match found {
            Ok(found) if found == *sent => Ok(()),
            Ok(found) => Err(self.failed(format!(
                "`{key}` does not hold what was sent: {found:?} instead of {sent:?}"
            ))),
            Err(e) => Err(self.failed(e)),
        }
    }

    fn check_stored(
        &self,
        backend: &dyn ArchiveBackend,
        key: &str,
        found: &Stored,
        size: u64,
    ) -> Result<()> {
        if found.size != size {
            return Err(self.failed(format!(
                "`{key}` has {} bytes, and {size} were written",
                found.size
            )));
        }
        let (wanted, got) = (
            self.options.storage_class.as_deref(),
            found.class.as_deref().unwrap_or("STANDARD"),
        );
        match wanted {
            Some(wanted) if wanted != got && backend.tells_attributes() => {
                Err(self.failed(format!(
                    "`{key}` was sent with the class {wanted} and is stored as {got}: this server \
                     ignores classes; unset archive.storage_class, or use one that it has"
                )))
            }
            _ => Ok(()),
        }
    }

    /// The receipt of a snapshot that was copied.
    fn copied(&self, request: CopyRequest, key: String, copied: Copied) -> Receipt {
        let snapshot = request.snapshot;
        // The copy of an earlier attempt has the class that was asked for then.
        let storage_class = if copied.found {
            copied.stored.class
        } else {
            self.options.storage_class.clone()
        };
        Receipt {
            etag: copied.stored.etag,
            storage_class,
            checksum: copied.checksum,
            verified: Some(copied.verified),
            schema: request.schema,
            timestamp_column: Some(request.timestamp_column),
            sources: vec![snapshot.key],
            at: request.run_id.minted_at(),
            ..Receipt::new(
                request.tenant,
                snapshot.id,
                key,
                snapshot.size,
                snapshot.stats,
                &self.url,
                request.run_id,
            )
        }
    }

    /// What is stored under a receipt's name; none where nothing is.
    async fn stored_receipt(&self, key: &str) -> Result<Option<Bytes>> {
        let (path, backend) = (path(key)?, self.backend().await?);
        let reader = backend.reader();
        let get = || async { whole_body(reader.get(&path).await?).await };
        match retry(&backend.read_retry(), &format!("read {key}"), get).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(Error::store(format!("cannot read `{key}`"), e)),
        }
    }
}

#[async_trait]
impl ArchiveTarget for Archive {
    fn description(&self) -> String {
        self.url.clone()
    }

    fn storage_class(&self) -> Option<&str> {
        self.options.storage_class.as_deref()
    }

    fn copies(&self) -> bool {
        let can_copy = match &self.source {
            Source::Given(open) => open.backend.can_copy(),
            Source::At(address) => address.hot.is_some(),
        };
        // Whoever asks for every row to be read back gets that, and bytes through the job.
        can_copy && self.options.verify == Verify::Checksum
    }

    async fn reader(&self) -> Result<Option<Arc<dyn ObjectStore>>> {
        Ok(self.find().await?.map(|open| open.backend.reader()))
    }

    async fn archive(&self, request: ArchiveRequest, rows: BatchStream) -> Result<Receipt> {
        let attributes =
            self.object_attributes(request.run_id, &request.tenant, request.from, request.to);
        let backend = self.backend().await?;
        let destination = backend.destination(attributes, &request.requests);
        let (written, schema) = encode(destination, &self.url, &request, rows).await?;
        let verified = self.verify(&written, &request).await?;
        if let Some(class) = &self.options.storage_class {
            let frozen = backend.freeze(&written.key, class).await;
            frozen.map_err(|e| self.failed(e))?;
        }
        Ok(Receipt {
            key: written.key,
            etag: written.etag,
            schema: Some(schema),
            storage_class: self.options.storage_class.clone(),
            // A checksum that the server does not show is no part of what is known of the object.
            checksum: written.checksum.filter(|_| verified == Verified::Checksum),
            verified: Some(verified),
            ..request.receipt(&self.url, written.size, written.stats)
        })
    }

    async fn copy(&self, request: CopyRequest) -> Result<Option<Receipt>> {
        if !self.copies() {
            return Ok(None);
        }
        let snapshot = &request.snapshot;
        let (from, to) = (
            snapshot.stats.min.unwrap_or(Micros(0)),
            snapshot.stats.max.unwrap_or(Micros(0)),
        );
        let place = Place::Folder(folder(&snapshot.key).to_owned());
        let key = archive_key(&place, &request.tenant, from, to, snapshot.id);
        let attributes = self.object_attributes(request.run_id, &request.tenant, from, to);
        let backend = self.backend().await?;
        match backend
            .copy_from_store(snapshot, &key, attributes, &request.requests)
            .await
        {
            Ok(copied) => {
                if !copied.found {
                    self.check_stored(backend, &key, &copied.stored, snapshot.size)?;
                }
                Ok(Some(self.copied(request, key, copied)))
            }
            Err(NotCopied::Impossible(why)) => {
                tracing::info!(tenant = %request.tenant, run_id = %request.run_id, file = snapshot.key, "archived by its rows, not by a copy: {why}");
                Ok(None)
            }
            Err(NotCopied::Gone) => Err(ReadError::Gone(request.snapshot.key).into()),
            Err(NotCopied::Failed(why)) => {
                Err(self.failed(format!("cannot copy `{}` to `{key}`: {why}", snapshot.key)))
            }
        }
    }

    async fn file_receipt(&self, receipt: &Receipt) -> Result<()> {
        let key = receipt.receipt_key();
        let json = serde_json::to_vec_pretty(receipt).map_err(|e| self.failed(e))?;
        let requests = Arc::new(RequestCounters::default());
        let backend = self.backend().await?;
        let put = backend
            .destination(self.attributes(receipt.run_id), &requests)
            .create(&key, json.into())
            .await;
        if put.as_ref().is_ok_and(|is_new| *is_new) {
            return Ok(());
        }
        // Whatever was answered: what is there decides.
        match (self.stored_receipt(&key).await, put) {
            (Ok(Some(stored)), _) => {
                same_receipt(&key, &stored, receipt).map_err(|why| self.failed(why))
            }
            (Ok(None), Err(put)) => Err(self.failed(put)),
            (Ok(None), Ok(_)) => {
                Err(self.failed(format!("`{key}` was said to exist, and does not")))
            }
            (Err(read), Err(put)) => Err(self.failed(format!("{put}; {read}"))),
            (Err(read), Ok(_)) => Err(self.failed(read)),
        }
    }
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
