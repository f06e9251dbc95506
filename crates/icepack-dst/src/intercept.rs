//! The one wrapper for tests that watch, count, delay, fail or replace what a store does.
//!
//! A handler sees each request and the call that would carry it out. It may run something first,
//! drop the call and answer by itself, await the call and change the reply, or keep the call for
//! later.
//!
//! ```
//! # use std::sync::Arc;
//! # use icepack_dst::intercept::{InterceptStore, Kind};
//! # use object_store::{Error, ObjectStore, memory::InMemory};
//! let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
//! let no_folders = InterceptStore::new(inner, |request, call| async move {
//!     if request.kind == Kind::Folders {
//!         return Err(Error::Generic { store: "test", source: "no listing today".into() });
//!     }
//!     call.await
//! });
//! ```

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::lock::Mutex;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, RenameTargetMode,
    Result, UploadPart, coalesce_ranges,
};

/// Keys of a page of a listing, as on S3.
const PAGE: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Put,
    Get,
    Head,
    /// The first page of a listing.
    List,
    /// A further page.
    Page,
    /// A listing of folders.
    Folders,
    Delete,
    /// The start of an upload in parts.
    Start,
    Part,
    Complete,
    Abort,
    Copy,
}

impl Kind {
    pub fn lists(self) -> bool {
        matches!(self, Self::List | Self::Page | Self::Folders)
    }

    pub fn changes(self) -> bool {
        !self.lists() && !matches!(self, Self::Get | Self::Head)
    }
}

/// What the store is asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub kind: Kind,
    /// The prefix of a listing, the target of a copy, the first key of a delete.
    pub key: Path,
    /// How many keys a delete names.
    pub keys: usize,
    /// Of a put or a part.
    pub body: PutPayload,
    /// Of a put.
    pub mode: PutMode,
    /// A listing begins after this key.
    pub after: Option<Path>,
}

impl Request {
    fn of(kind: Kind, key: &Path) -> Self {
        Self {
            kind,
            key: key.clone(),
            keys: 1,
            body: PutPayload::default(),
            mode: PutMode::Overwrite,
            after: None,
        }
    }
}

/// What the store answers.
#[derive(Debug)]
pub enum Reply {
    /// To a put, and to the completion of an upload.
    Put(PutResult),
    /// To a get and a head.
    Got(GetResult),
    Page(Page),
    Folders(ListResult),
    Upload(Box<dyn MultipartUpload>),
    Done,
}

/// A page of a listing. An error among the entries ends the listing.
#[derive(Debug)]
pub struct Page {
    pub entries: Vec<Result<ObjectMeta>>,
    /// The last key of this page, where there are more.
    pub next: Option<Path>,
}

impl Reply {
    /// Changes each object's metadata.
    pub fn each_meta(&mut self, mut change: impl FnMut(&mut ObjectMeta)) {
        match self {
            Self::Got(got) => change(&mut got.meta),
            Self::Page(page) => page.entries.iter_mut().flatten().for_each(change),
            Self::Folders(found) => found.objects.iter_mut().for_each(change),
            Self::Put(_) | Self::Upload(_) | Self::Done => {}
        }
    }

    /// The same reply with another body.
    ///
    /// # Errors
    /// Where the body cannot be read.
    pub async fn map_body(self, change: impl FnOnce(Bytes) -> Bytes) -> Result<Self> {
        let Self::Got(got) = self else {
            return Ok(self);
        };
        let (meta, range) = (got.meta.clone(), got.range.clone());
        let (attributes, extensions) = (got.attributes.clone(), got.extensions.clone());
        let body = change(got.bytes().await?);
        Ok(Self::Got(GetResult {
            payload: GetResultPayload::Stream(stream::once(async { Ok(body) }).boxed()),
            meta,
            range,
            attributes,
            extensions,
        }))
    }

    fn into_put(self) -> Option<PutResult> {
        if let Self::Put(done) = self {
            Some(done)
        } else {
            None
        }
    }

    fn into_got(self) -> Option<GetResult> {
        if let Self::Got(got) = self {
            Some(got)
        } else {
            None
        }
    }

    fn into_page(self) -> Option<Page> {
        if let Self::Page(page) = self {
            Some(page)
        } else {
            None
        }
    }

    fn into_folders(self) -> Option<ListResult> {
        if let Self::Folders(found) = self {
            Some(found)
        } else {
            None
        }
    }

    fn into_upload(self) -> Option<Box<dyn MultipartUpload>> {
        if let Self::Upload(upload) = self {
            Some(upload)
        } else {
            None
        }
    }

    fn into_done(self) -> Option<()> {
        matches!(self, Self::Done).then_some(())
    }
}

/// A request on its way. Nothing is done before it is polled, but for the order of parts, which is
/// that of the calls.
pub type Call = BoxFuture<'static, Result<Reply>>;

type Handler = dyn Fn(Request, Call) -> Call + Send + Sync;

/// See the module.
#[derive(Clone)]
pub struct InterceptStore {
    inner: Arc<dyn ObjectStore>,
    handler: Arc<Handler>,
    page: usize,
    bulk: usize,
}

impl InterceptStore {
    /// `handler` gets each request to `inner`, and the call that carries it out.
    pub fn new<F: Future<Output = Result<Reply>> + Send + 'static>(
        inner: Arc<dyn ObjectStore>,
        handler: impl Fn(Request, Call) -> F + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner,
            handler: Arc::new(move |request, call| handler(request, call).boxed()),
            page: PAGE,
            bulk: 1,
        }
    }

    /// `handler` runs before each request, and may fail it.
    pub fn before<F: Future<Output = Result<()>> + Send + 'static>(
        inner: Arc<dyn ObjectStore>,
        handler: impl Fn(Request) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::new(inner, move |request, call| {
            let first = handler(request);
            async move {
                first.await?;
                call.await
            }
        })
    }

    /// Listings come in pages of so many keys, each as the store is then.
    #[must_use]
    pub fn paged(self, page: usize) -> Self {
        Self { page, ..self }
    }

    /// A delete names up to so many keys.
    #[must_use]
    pub fn bulk(self, bulk: usize) -> Self {
        Self { bulk, ..self }
    }

    async fn ask<T>(
        &self,
        request: Request,
        call: impl Future<Output = Result<Reply>> + Send + 'static,
        pick: fn(Reply) -> Option<T>,
    ) -> Result<T> {
        let kind = request.kind;
        pick((self.handler)(request, call.boxed()).await?).ok_or_else(|| odd_reply(kind))
    }

    fn pages(
        &self,
        prefix: Option<&Path>,
        after: Option<Path>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let first = (self.clone(), prefix.cloned(), Kind::List, after);
        let pages = stream::unfold(Some(first), |state| async move {
            let (this, prefix, kind, after) = state?;
            let request = Request {
                after: after.clone(),
                ..Request::of(kind, &prefix.clone().unwrap_or_default())
            };
            let call = page(Arc::clone(&this.inner), prefix.clone(), after, this.page);
            let page = this.ask(request, call, Reply::into_page).await;
            let Page { entries, next } = page.unwrap_or_else(|e| Page {
                entries: vec![Err(e)],
                next: None,
            });
            let next = next
                .filter(|_| entries.iter().all(Result::is_ok))
                .map(|after| (this, prefix, Kind::Page, Some(after)));
            Some((stream::iter(entries), next))
        });
        pages.flatten().boxed()
    }
}

fn odd_reply(kind: Kind) -> Error {
    Error::Generic {
        store: "intercepted",
        source: format!("the handler of the test does not answer a {kind:?} with its reply").into(),
    }
}

/// The first entries after `after`, as the store is now.
async fn page(
    inner: Arc<dyn ObjectStore>,
    prefix: Option<Path>,
    after: Option<Path>,
    size: usize,
) -> Result<Reply> {
    let listing = match &after {
        None => inner.list(prefix.as_ref()),
        Some(after) => inner.list_with_offset(prefix.as_ref(), after),
    };
    let mut found: Vec<ObjectMeta> = listing.try_collect().await?;
    found.sort_by(|a, b| a.location.cmp(&b.location));
    let next = (found.len() > size).then(|| found[size - 1].location.clone());
    found.truncate(size);
    Ok(Reply::Page(Page {
        entries: found.into_iter().map(Ok).collect(),
        next,
    }))
}

impl fmt::Debug for InterceptStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InterceptStore({:?})", self.inner)
    }
}

impl fmt::Display for InterceptStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for InterceptStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let request = Request {
            body: payload.clone(),
            mode: opts.mode.clone(),
            ..Request::of(Kind::Put, location)
        };
        let (inner, path) = (Arc::clone(&self.inner), location.clone());
        let call = async move { inner.put_opts(&path, payload, opts).await.map(Reply::Put) };
        self.ask(request, call, Reply::into_put).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let (inner, path) = (Arc::clone(&self.inner), location.clone());
        let call = async move {
            let upload = inner.put_multipart_opts(&path, opts).await?;
            Ok(Reply::Upload(upload))
        };
        let request = Request::of(Kind::Start, location);
        let upload = self.ask(request, call, Reply::into_upload).await?;
        Ok(Box::new(InterceptUpload {
            inner: Arc::new(Mutex::new(upload)),
            location: location.clone(),
            store: self.clone(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let kind = if options.head { Kind::Head } else { Kind::Get };
        let (inner, path) = (Arc::clone(&self.inner), location.clone());
        let call = async move { inner.get_opts(&path, options).await.map(Reply::Got) };
        self.ask(Request::of(kind, location), call, Reply::into_got)
            .await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let get = |range| self.get_range(location, range);
        coalesce_ranges(ranges, get, OBJECT_STORE_COALESCE_DEFAULT).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let delete = move |batch: Vec<Result<Path>>| {
            let this = this.clone();
            async move {
                let batch: Result<Vec<Path>> = batch.into_iter().collect();
                let deleted = match batch {
                    Ok(keys) => this.delete_batch(keys).await,
                    Err(e) => Err(e),
                };
                stream::iter(match deleted {
                    Ok(keys) => keys.into_iter().map(Ok).collect(),
                    Err(e) => vec![Err(e)],
                })
            }
        };
        locations.chunks(self.bulk).then(delete).flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.pages(prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.pages(prefix, Some(offset.clone()))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (inner, below) = (Arc::clone(&self.inner), prefix.cloned());
        let call = async move {
            let found = inner.list_with_delimiter(below.as_ref()).await?;
            Ok(Reply::Folders(found))
        };
        let request = Request::of(Kind::Folders, &prefix.cloned().unwrap_or_default());
        self.ask(request, call, Reply::into_folders).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (inner, source, target) = (Arc::clone(&self.inner), from.clone(), to.clone());
        let call = async move {
            inner.copy_opts(&source, &target, options).await?;
            Ok(Reply::Done)
        };
        self.ask(Request::of(Kind::Copy, to), call, Reply::into_done)
            .await
    }

    /// As S3 does it: a copy, then a delete.
    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        match options.target_mode {
            RenameTargetMode::Overwrite => self.copy(from, to).await?,
            RenameTargetMode::Create => self.copy_if_not_exists(from, to).await?,
        }
        self.delete(from).await
    }
}

impl InterceptStore {
    async fn delete_batch(&self, keys: Vec<Path>) -> Result<Vec<Path>> {
        let Some(first) = keys.first() else {
            return Ok(keys);
        };
        let request = Request {
            keys: keys.len(),
            ..Request::of(Kind::Delete, first)
        };
        let (inner, batch) = (Arc::clone(&self.inner), keys.clone());
        let call = async move {
            let batch = stream::iter(batch).map(Ok).boxed();
            inner.delete_stream(batch).try_collect::<Vec<_>>().await?;
            Ok(Reply::Done)
        };
        self.ask(request, call, Reply::into_done).await?;
        Ok(keys)
    }
}

struct InterceptUpload {
    inner: Arc<Mutex<Box<dyn MultipartUpload>>>,
    location: Path,
    store: InterceptStore,
}

impl fmt::Debug for InterceptUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InterceptUpload({})", self.location)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for InterceptUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let request = Request {
            body: data.clone(),
            ..Request::of(Kind::Part, &self.location)
        };
        // A part's number is its place among the calls, whatever becomes of it. Nothing else holds
        // the lock: parts are handed in one by one.
        let part = self
            .inner
            .try_lock()
            .map(|mut upload| upload.put_part(data));
        let call = async move {
            part.ok_or_else(|| odd_reply(Kind::Part))?.await?;
            Ok(Reply::Done)
        };
        let answer = (self.store.handler)(request, call.boxed());
        answer.map(|reply| reply.map(drop)).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let upload = Arc::clone(&self.inner);
        let call = async move { upload.lock().await.complete().await.map(Reply::Put) };
        let request = Request::of(Kind::Complete, &self.location);
        self.store.ask(request, call, Reply::into_put).await
    }

    async fn abort(&mut self) -> Result<()> {
        let upload = Arc::clone(&self.inner);
        let call = async move { upload.lock().await.abort().await.map(|()| Reply::Done) };
        let request = Request::of(Kind::Abort, &self.location);
        self.store.ask(request, call, Reply::into_done).await
    }
}
