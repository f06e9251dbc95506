//! Counts the requests that go to a store, as its bill would.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use icepack_core::model::report::Requests;

/// Keys in a page of a listing and in a bulk delete.
const PAGE: u64 = 1000;

/// The counters, shared between a store and whoever reports.
#[derive(Debug, Default)]
pub struct Counters {
    get: AtomicU64,
    put: AtomicU64,
    head: AtomicU64,
    list: AtomicU64,
    delete: AtomicU64,
    copy: AtomicU64,
}

impl Counters {
    /// What was counted so far.
    pub fn read(&self) -> Requests {
        let n = |c: &AtomicU64| c.load(Ordering::Relaxed);
        Requests {
            get: n(&self.get),
            put: n(&self.put),
            head: n(&self.head),
            list: n(&self.list),
            delete: n(&self.delete),
            copy: n(&self.copy),
        }
    }
}

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Get,
    /// PUT, also of a part; the start and the completion of an upload.
    Put,
    Head,
    Delete,
    /// A server-side copy, of an object or of a part.
    Copy,
}

impl Counters {
    /// Counts a request that does not go through a [`CountingStore`].
    pub fn count(&self, kind: Kind) {
        count(match kind {
            Kind::Get => &self.get,
            Kind::Put => &self.put,
            Kind::Head => &self.head,
            Kind::Delete => &self.delete,
            Kind::Copy => &self.copy,
        });
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A store that counts.
#[derive(Debug, Clone)]
pub struct CountingStore {
    inner: Arc<dyn ObjectStore>,
    counters: Arc<Counters>,
}

impl CountingStore {
    /// Counts what goes to `inner`. A store that counts already goes on doing so.
    pub fn new(inner: Arc<dyn ObjectStore>) -> (Arc<Self>, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        (Self::sharing(inner, Arc::clone(&counters)), counters)
    }

    /// Counts what goes to `inner` with counters that others count with too.
    pub fn sharing(inner: Arc<dyn ObjectStore>, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self { inner, counters })
    }

    fn each(&self, which: fn(&Counters) -> &AtomicU64) {
        count(which(&self.counters));
    }
}

impl fmt::Display for CountingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for CountingStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.each(|c| &c.put);
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.each(|c| &c.put);
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(CountingUpload {
            inner,
            store: self.clone(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head {
            self.each(|c| &c.head);
        } else {
            self.each(|c| &c.get);
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let mut n = 0_u64;
        let counted = locations.inspect(move |_| {
            if n.is_multiple_of(PAGE) {
                this.each(|c| &c.delete);
            }
            n += 1;
        });
        self.inner.delete_stream(counted.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.paged(self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.paged(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let result = self.inner.list_with_delimiter(prefix).await?;
        let keys = (result.objects.len() + result.common_prefixes.len()) as u64;
        (0..keys.div_ceil(PAGE).max(1)).for_each(|_| self.each(|c| &c.list));
        Ok(result)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.each(|c| &c.copy);
        self.inner.copy_opts(from, to, options).await
    }
}

impl CountingStore {
    fn paged(
        &self,
        inner: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let this = self.clone();
        // The first page is asked for even when it comes back empty.
        let first =
            stream::once(async move { this.each(|c| &c.list) }).filter_map(|()| async { None });
        let this = self.clone();
        let mut n = 0_u64;
        let rest = inner.inspect(move |_| {
            if n > 0 && n.is_multiple_of(PAGE) {
                this.each(|c| &c.list);
            }
            n += 1;
        });
        first.chain(rest).boxed()
    }
}

#[derive(Debug)]
struct CountingUpload {
    inner: Box<dyn MultipartUpload>,
    store: CountingStore,
}

#[async_trait]
impl MultipartUpload for CountingUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.store.each(|c| &c.put);
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.store.each(|c| &c.put);
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.store.each(|c| &c.delete);
        self.inner.abort().await
    }
}
