//! Where a file's bytes come from: memory, a local file, or ranged reads of an object.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt,
};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::ahead::Ahead;
use crate::error::{Error, Result};
use crate::failure::FailureKind;
use crate::guard::pages::{Account, Chunk, Refusal, check_inflation, check_sum};
use icepack_core::model::names::Key;

/// Which version of which file: what every error about it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ident {
    /// Relative to the store's root.
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// As the read showed it.
    pub etag: Option<String>,
}

impl Ident {
    /// The file is not what it should be: it will be quarantined. Never for what the network or the
    /// disk did.
    pub fn bad(&self, reason: impl Into<String>) -> Error {
        Error::Input {
            key: self.key.clone(),
            size: self.size,
            etag: self.etag.clone(),
            reason: reason.into(),
        }
    }
}

/// Reads of an object by range, pinned to one version of it.
#[derive(Debug, Clone)]
pub struct Remote {
    pub store: Arc<dyn ObjectStore>,
    pub path: Path,
    /// The version that was opened.
    pub etag: Option<String>,
    /// Bytes that may be held ahead of the decoder.
    pub window: u64,
    /// Runs the requests; the decoder itself is on a blocking thread.
    pub runtime: tokio::runtime::Handle,
}

/// An object of a store that is a directory: read where it lies, neither held in memory nor copied.
/// Pinned to the file that the store opened.
#[derive(Debug, Clone)]
pub struct Disk {
    path: PathBuf,
    version: Version,
}

/// What another file of the same name would not share.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    size: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: (u64, u64),
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        Self {
            size: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: (metadata.dev(), metadata.ino()),
        }
    }
}

impl Disk {
    /// The file behind a store's reply; none where the store is no directory.
    pub fn behind(payload: &GetResultPayload) -> Option<Self> {
        let GetResultPayload::File(file, path) = payload else {
            return None;
        };
        Some(Self {
            path: path.clone(),
            version: Version::of(&file.metadata().ok()?),
        })
    }

    /// Opens it again. Another run may have compacted it meanwhile, or its writer replaced it.
    fn open(&self, key: &Key) -> Result<File> {
        let failed = |e| Error::local(format!("cannot read `{}`", self.path.display()), e);
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Error::Gone(key.clone())),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                return Err(Error::Withheld {
                    key: key.clone(),
                    source: object_store::Error::Generic {
                        store: "directory",
                        source: e.into(),
                    },
                });
            }
            Err(e) => return Err(failed(e)),
        };
        if Version::of(&file.metadata().map_err(failed)?) == self.version {
            Ok(file)
        } else {
            Err(Error::Changed(key.clone()))
        }
    }
}

/// A part of a file on the local disk that this process wrote. One file has many inputs: a file for
/// each small one would cost more than to write it.
#[derive(Debug, Clone)]
pub struct Copied {
    file: Arc<Mutex<File>>,
    from: u64,
}

/// A file of copies.
#[derive(Debug)]
pub struct Copies {
    file: Arc<Mutex<File>>,
    end: u64,
}

impl Copies {
    /// An empty one.
    pub fn to(file: File) -> Self {
        Self {
            file: Arc::new(Mutex::new(file)),
            end: 0,
        }
    }

    /// Copies an input.
    ///
    /// # Errors
    /// The system's. What was there before can be read all the same.
    pub fn add(&mut self, bytes: &[u8]) -> io::Result<Copied> {
        let from = self.end;
        let mut file = lock(&self.file);
        file.seek(SeekFrom::Start(from))?;
        file.write_all(bytes)?;
        self.end += bytes.len() as u64;
        Ok(Copied {
            file: Arc::clone(&self.file),
            from,
        })
    }
}

/// A file's bytes, not opened yet. Cheap to clone but for memory's share of the pool.
#[derive(Debug, Clone)]
pub enum Source {
    Memory(Bytes),
    /// A copy on the local disk.
    Local(Copied),
    /// An object of a directory.
    Disk(Disk),
    Remote(Remote),
}

/// The error of a failed request. It is the store's, and not the input's.
pub fn store_error(key: &str, source: object_store::Error) -> Error {
    match source {
        object_store::Error::NotFound { .. } => Error::Gone(key.to_owned()),
        object_store::Error::Precondition { .. } => Error::Changed(key.to_owned()),
        source if is_withheld(&source) => Error::Withheld {
            key: key.to_owned(),
            source,
        },
        other => Error::store(format!("cannot read `{key}`"), other),
    }
}

/// Whether the store, or a directory's system, does not let this file be read.
fn is_withheld(error: &object_store::Error) -> bool {
    let mut causes = std::iter::successors(std::error::Error::source(error), |e| e.source());
    matches!(error, object_store::Error::PermissionDenied { .. })
        || FailureKind::of(error) == FailureKind::Frozen
        || causes.any(|e| {
            e.downcast_ref::<io::Error>()
                .is_some_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
        })
}

/// The body of a reply. One that ends early is the network's doing: it must not be called a damaged
/// file.
///
/// # Errors
/// The store's, also where the body is not as long as the reply says.
pub async fn whole_body(reply: GetResult) -> object_store::Result<Bytes> {
    let want = reply.range.end - reply.range.start;
    let bytes = reply.bytes().await?;
    same_length(&bytes, want)?;
    Ok(bytes)
}

fn same_length(bytes: &Bytes, want: u64) -> object_store::Result<()> {
    let got = bytes.len() as u64;
    if got == want {
        return Ok(());
    }
    Err(object_store::Error::Generic {
        store: "icepack",
        source: format!("the reply ended after {got} of {want} bytes").into(),
    })
}

/// The last bytes of an object, and what the store says of it.
pub struct Tail {
    pub meta: ObjectMeta,
    /// Its last bytes.
    pub bytes: Bytes,
    /// Where it lies, if the store is a directory.
    pub disk: Option<Disk>,
}

/// The last bytes of an object, `len` or as many as it has, and what the store says of it.
///
/// # Errors
/// The store's; [`Error::Gone`] where it is not there.
pub async fn fetch_tail(
    store: &dyn ObjectStore,
    path: &Path,
    key: &str,
    len: u64,
) -> Result<(ObjectMeta, Bytes)> {
    let Tail { meta, bytes, .. } = fetch_end(store, path, key, len).await?;
    Ok((meta, bytes))
}

/// What a file begins with.
const MAGIC: [&[u8]; 2] = [
    b"PAR1", // Its footer is encrypted.
    b"PARE",
];

/// Whether an object begins as a Parquet file does, and which object that was. Whether it ends so
/// too, opening it says.
///
/// # Errors
/// As [`fetch_tail`].
pub async fn begins_as_parquet(
    store: &dyn ObjectStore,
    path: &Path,
    key: &str,
) -> Result<(Ident, bool)> {
    let failed = |e| store_error(key, e);
    let options = GetOptions {
        range: Some(GetRange::Bounded(0..4)),
        ..GetOptions::default()
    };
    let reply = store.get_opts(path, options).await.map_err(failed)?;
    let ident = Ident {
        key: key.to_owned(),
        size: reply.meta.size,
        etag: reply.meta.e_tag.clone(),
    };
    let begins = whole_body(reply).await.map_err(failed)?;
    Ok((ident, MAGIC.contains(&begins.as_ref())))
}

/// Checks that an object ends as a Parquet file does, by its last eight bytes.
///
/// # Errors
/// As [`fetch_tail`]; [`Error::Input`] where it does not.
pub async fn ends_as_parquet(store: &dyn ObjectStore, key: &str) -> Result<Ident> {
    let path =
        Path::parse(key).map_err(|e| Error::store(format!("cannot read `{key}`"), e.into()))?;
    let (meta, tail) = fetch_tail(store, &path, key, 8).await?;
    let ident = Ident {
        key: key.to_owned(),
        size: meta.size,
        etag: meta.e_tag,
    };
    match crate::guard::footer_len(&tail, ident.size) {
        Ok(_) => Ok(ident),
        Err(why) => Err(ident.bad(why)),
    }
}

/// Like [`fetch_tail`], with the place of the object.
///
/// # Errors
/// As [`fetch_tail`].
pub async fn fetch_end(store: &dyn ObjectStore, path: &Path, key: &str, len: u64) -> Result<Tail> {
    let failed = |e| store_error(key, e);
    let options = GetOptions {
        range: Some(GetRange::Suffix(len)),
        ..GetOptions::default()
    };
    let reply = match store.get_opts(path, options).await {
        Ok(reply) => reply,
        Err(
            e @ (object_store::Error::NotFound { .. }
            | object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. }),
        ) => {
            return Err(failed(e));
        }
        // An empty object has no last bytes, and Azure knows no suffix ranges: ask for the size
        // first.
        Err(_) => {
            let meta = store.head(path).await.map_err(failed)?;
            if meta.size == 0 {
                return Ok(Tail {
                    meta,
                    bytes: Bytes::new(),
                    disk: None,
                });
            }
            let range = Some(GetRange::Bounded(meta.size.saturating_sub(len)..meta.size));
            store
                .get_opts(
                    path,
                    GetOptions {
                        range,
                        if_match: meta.e_tag,
                        ..GetOptions::default()
                    },
                )
                .await
                .map_err(failed)?
        }
    };
    let (meta, disk) = (reply.meta.clone(), Disk::behind(&reply.payload));
    let bytes = reply.bytes().await.map_err(failed)?;
    same_length(&bytes, len.min(meta.size)).map_err(failed)?;
    Ok(Tail { meta, bytes, disk })
}

/// The end of a file with its whole footer, if that has no more than `limit` bytes: one ranged GET,
/// two where it is long.
///
/// # Errors
/// As [`fetch_tail`]; [`Error::Input`] where there is no footer, or too long a one.
pub async fn fetch_footer(
    store: &dyn ObjectStore,
    key: &str,
    limit: u64,
) -> Result<(Ident, Bytes)> {
    let path =
        Path::parse(key).map_err(|e| Error::store(format!("cannot read `{key}`"), e.into()))?;
    let (meta, mut tail) = fetch_tail(store, &path, key, crate::read::TAIL).await?;
    let ident = Ident {
        key: key.to_owned(),
        size: meta.size,
        etag: meta.e_tag,
    };
    let need = crate::guard::footer_len(&tail, ident.size).map_err(|why| ident.bad(why))?;
    if need > limit {
        return Err(ident.bad(crate::guard::TOO_LONG));
    }
    if need > tail.len() as u64 {
        tail = fetch_tail(store, &path, key, need).await?.1;
    }
    Ok((ident, tail))
}

/// An opened [`Source`], as the Parquet decoder wants it. Errors of the store or the disk are kept
/// aside, and why a sound page is not decompressed: the decoder would hand them back as text, and
/// they must not be taken for a damaged file.
#[derive(Clone)]
pub struct Chunks(Arc<Inner>);

struct Inner {
    ident: Arc<Ident>,
    origin: Origin,
    fault: Mutex<Option<Error>>,
    /// Of the row group at hand.
    pages: Mutex<Account>,
}

enum Origin {
    Memory(Bytes),
    /// With where it begins in the file.
    Local(Arc<Mutex<File>>, u64),
    Remote(Remote, Mutex<Ahead>),
}

impl Chunks {
    /// Opens `source`.
    ///
    /// # Errors
    /// [`Error::Gone`] or [`Error::Changed`] where it was an object of a directory.
    pub fn open(ident: Arc<Ident>, source: &Source) -> Result<Self> {
        let origin = match source {
            Source::Memory(bytes) => Origin::Memory(bytes.clone()),
            Source::Local(copied) => Origin::Local(Arc::clone(&copied.file), copied.from),
            Source::Disk(disk) => Origin::Local(Arc::new(Mutex::new(disk.open(&ident.key)?)), 0),
            Source::Remote(remote) => {
                Origin::Remote(remote.clone(), Mutex::new(Ahead::new(remote.window)))
            }
        };
        Ok(Self(Arc::new(Inner {
            ident,
            origin,
            fault: Mutex::new(None),
            pages: Mutex::default(),
        })))
    }

    /// The error below the decoder, if there was one.
    pub fn take_fault(&self) -> Option<Error> {
        lock(&self.0.fault).take()
    }

    /// A decoder begins to read these column chunks. Their pages may take `limit` bytes at once.
    pub fn account(&self, columns: Vec<Chunk>, limit: u64) {
        *lock(&self.0.pages) = Account::new(columns, limit);
    }

    /// The column chunks that are read next, and where those of the row groups after them lie.
    /// Whatever was held for those before them is dropped.
    ///
    /// # Errors
    /// The store's.
    pub fn begin(
        &self,
        chunks: Vec<Range<u64>>,
        following: impl Iterator<Item = Range<u64>>,
    ) -> Result<()> {
        let Origin::Remote(remote, ahead) = &self.0.origin else {
            return Ok(());
        };
        let mut ahead = lock(ahead);
        if let Some(all) = ahead.begin(chunks, following) {
            let bytes = self.fetch(remote, all.clone())?;
            ahead.hold_whole(all.start, bytes);
        }
        Ok(())
    }

    /// The column chunks are read from their beginning again.
    pub fn again(&self) {
        if let Origin::Remote(_, ahead) = &self.0.origin {
            lock(ahead).again();
        }
    }

    fn fetch(&self, remote: &Remote, range: Range<u64>) -> Result<Bytes> {
        let key = &self.0.ident.key;
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            if_match: remote.etag.clone(),
            ..GetOptions::default()
        };
        let want = range.end - range.start;
        let get = async {
            remote
                .store
                .get_opts(&remote.path, options)
                .await?
                .bytes()
                .await
        };
        let failed = |e| store_error(key, e);
        let bytes = remote.runtime.block_on(get).map_err(failed)?;
        same_length(&bytes, want).map_err(failed)?;
        Ok(bytes)
    }

    fn remote(&self, remote: &Remote, ahead: &Mutex<Ahead>, at: u64, len: u64) -> Result<Bytes> {
        if len == 0 {
            return Ok(Bytes::new());
        }
        let mut ahead = lock(ahead);
        if let Some(held) = ahead.take(at, len) {
            return Ok(held);
        }
        let range = ahead.room_for(at, len);
        let bytes = self.fetch(remote, range)?;
        let part = bytes.slice(..usize::try_from(len).unwrap_or(bytes.len()));
        ahead.hold(at, bytes);
        Ok(part)
    }

    /// These bytes, in one request. Nothing is held of them.
    ///
    /// # Errors
    /// The store's or the disk's.
    pub fn range(&self, range: Range<u64>) -> Result<Bytes> {
        match &self.0.origin {
            Origin::Remote(remote, _) => self.fetch(remote, range),
            _ => {
                let len = usize::try_from(range.end - range.start)
                    .map_err(|e| Error::local("cannot read a file", e))?;
                let read = self.read(range.start, len);
                read.map_err(|e| {
                    self.take_fault()
                        .unwrap_or_else(|| self.0.ident.bad(e.to_string()))
                })
            }
        }
    }

    /// Bytes from `at` to where its column chunk ends: reading on would ask the store for another
    /// column's bytes.
    fn rest_of_chunk(&self, at: u64) -> u64 {
        let end = match &self.0.origin {
            Origin::Remote(_, ahead) => lock(ahead).end_of(at),
            _ => None,
        };
        end.unwrap_or(self.0.ident.size).saturating_sub(at)
    }

    /// A page, once it is known what it takes to decompress it.
    fn page(&self, at: u64, len: usize) -> parquet::errors::Result<Bytes> {
        let refuse = |why| match why {
            Refusal::Damaged(why) => ParquetError::General(why),
            Refusal::Because(why) => {
                *lock(&self.0.fault) = Some(self.0.ident.bad(why.clone()));
                ParquetError::General(why)
            }
        };
        let (found, limit) = {
            let mut pages = lock(&self.0.pages);
            (pages.enter(at).map_err(refuse)?, pages.limit())
        };
        let bytes = self.read(at, len)?;
        if let Some((page, compression)) = found {
            check_sum(&page, at, &bytes).map_err(refuse)?;
            check_inflation(compression, &page, &bytes, limit).map_err(refuse)?;
        }
        if let Origin::Remote(_, ahead) = &self.0.origin {
            lock(ahead).passed(at + len as u64);
        }
        Ok(bytes)
    }

    fn read(&self, at: u64, len: usize) -> parquet::errors::Result<Bytes> {
        // A range that the file does not have comes from damaged metadata: the decoder's error, not
        // a fault.
        let size = self.0.ident.size;
        if at.checked_add(len as u64).is_none_or(|end| end > size) {
            return Err(ParquetError::EOF(format!(
                "{len} bytes at {at} are wanted, and the file has {size}"
            )));
        }
        let bytes = match &self.0.origin {
            Origin::Memory(bytes) => {
                let from = usize::try_from(at).unwrap_or(usize::MAX);
                Ok(bytes.slice(from..from + len))
            }
            Origin::Local(file, from) => read_at(file, from + at, len).map_err(|e| {
                Error::local(format!("cannot read the file of `{}`", self.0.ident.key), e)
            }),
            Origin::Remote(remote, ahead) => self.remote(remote, ahead, at, len as u64),
        };
        bytes.map_err(|e| {
            let text = e.to_string();
            *lock(&self.0.fault) = Some(e);
            ParquetError::External(text.into())
        })
    }
}

fn read_at(file: &Mutex<File>, at: u64, len: usize) -> io::Result<Bytes> {
    let mut file = lock(file);
    file.seek(SeekFrom::Start(at))?;
    let mut buffer = Vec::with_capacity(len);
    (&mut *file).take(len as u64).read_to_end(&mut buffer)?;
    if buffer.len() == len {
        Ok(buffer.into())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// A panic of the decoder while it held the lock leaves nothing half-done behind these.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.ident.size
    }
}

impl ChunkReader for Chunks {
    type T = HeaderReader;

    fn get_read(&self, start: u64) -> parquet::errors::Result<HeaderReader> {
        Ok(HeaderReader {
            chunks: self.clone(),
            at: start,
            buffer: Bytes::new(),
            column: None,
            has_begun: false,
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.page(start, length)
    }
}

/// Reads page headers, which are a few dozen bytes of unknown length.
pub struct HeaderReader {
    chunks: Chunks,
    at: u64,
    buffer: Bytes,
    /// Of the account.
    column: Option<usize>,
    /// A decoder that knows the header already asks for a reader and takes nothing from it.
    has_begun: bool,
}

/// Most page headers fit; longer ones (with statistics) take another round.
const HEADER: u64 = 512;

impl Read for HeaderReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if !self.has_begun {
            self.column = lock(&self.chunks.0.pages).begin_header(self.at);
            self.has_begun = true;
        }
        if self.buffer.is_empty() {
            let left = self.chunks.rest_of_chunk(self.at).min(HEADER);
            if left == 0 {
                return Ok(0);
            }
            self.buffer = self
                .chunks
                .read(self.at, usize::try_from(left).unwrap_or(0))
                .map_err(io::Error::other)?;
            self.at += left;
        }
        let n = out.len().min(self.buffer.len());
        out[..n].copy_from_slice(&self.buffer.split_to(n));
        if let Some(column) = self.column {
            lock(&self.chunks.0.pages).push_header(column, &out[..n]);
        }
        Ok(n)
    }
}
