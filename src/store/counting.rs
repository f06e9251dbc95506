//! Counts the requests that go to a store, as they are billed.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, OBJECT_STORE_COALESCE_DEFAULT,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, RenameOptions, Result, UploadPart, coalesce_ranges,
};

use icepack_core::model::report::Requests;

/// Keys in a page of a listing and in a bulk delete.
const PAGE: u64 = 1000;

/// The requests so far, shared between a store and whoever reports.
#[derive(Debug, Default)]
pub struct RequestCounters(Mutex<Requests>);

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Get,
    /// PUT, also of a part; the start and the completion of an upload.
    Put,
    Head,
    List,
    Delete,
    /// A server-side copy, of an object or of a part.
    Copy,
}

impl RequestCounters {
    /// The requests that were counted so far.
    pub fn read(&self) -> Requests {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request.
    pub fn count(&self, kind: Kind) {
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *match kind {
            Kind::Get => &mut requests.get,
            Kind::Put => &mut requests.put,
            Kind::Head => &mut requests.head,
            Kind::List => &mut requests.list,
            Kind::Delete => &mut requests.delete,
            Kind::Copy => &mut requests.copy,
        } += 1;
    }
}

/// A store that counts.
#[derive(Debug, Clone)]
pub struct CountingStore {
    inner: Arc<dyn ObjectStore>,
    counters: Arc<RequestCounters>,
}

impl CountingStore {
    /// Counts what goes to `inner`. A store that counts already goes on doing so.
    pub fn new(inner: Arc<dyn ObjectStore>) -> (Arc<Self>, Arc<RequestCounters>) {
        let counters = Arc::new(RequestCounters::default());
        (Self::sharing(inner, Arc::clone(&counters)), counters)
    }

    /// Counts what goes to `inner` with counters that others count with too.
    pub fn sharing(inner: Arc<dyn ObjectStore>, counters: Arc<RequestCounters>) -> Arc<Self> {
        Arc::new(Self { inner, counters })
    }
}

impl fmt::Display for CountingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for CountingStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.counters.count(Kind::Put);
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.counters.count(Kind::Put);
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(CountingUpload {
            inner,
            counters: Arc::clone(&self.counters),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let kind = if options.head { Kind::Head } else { Kind::Get };
        self.counters.count(kind);
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        // S3 takes one range in a request, so near ones become one.
        let get = |range| self.get_range(location, range);
        coalesce_ranges(ranges, get, OBJECT_STORE_COALESCE_DEFAULT).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let counters = Arc::clone(&self.counters);
        let mut n = 0_u64;
        let counted = locations.inspect(move |_| {
            if n.is_multiple_of(PAGE) {
                counters.count(Kind::Delete);
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
        (0..keys.div_ceil(PAGE).max(1)).for_each(|_| self.counters.count(Kind::List));
        Ok(result)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.counters.count(Kind::Copy);
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        // S3 has no rename: it is a copy and a delete.
        self.counters.count(Kind::Copy);
        self.counters.count(Kind::Delete);
        self.inner.rename_opts(from, to, options).await
    }
}

impl CountingStore {
    fn paged(
        &self,
        inner: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let counters = Arc::clone(&self.counters);
        // The first page is asked for even when it comes back empty.
        let first =
            stream::once(async move { counters.count(Kind::List) }).filter_map(|()| async { None });
        let counters = Arc::clone(&self.counters);
        let mut n = 0_u64;
        let rest = inner.inspect(move |_| {
            if n > 0 && n.is_multiple_of(PAGE) {
                counters.count(Kind::List);
            }
            n += 1;
        });
        first.chain(rest).boxed()
    }
}

#[derive(Debug)]
struct CountingUpload {
    inner: Box<dyn MultipartUpload>,
    counters: Arc<RequestCounters>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for CountingUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.counters.count(Kind::Put);
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.counters.count(Kind::Put);
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.counters.count(Kind::Delete);
        self.inner.abort().await
    }
}
