//! A store in memory that writes down every request, as S3 would be sent it: listings and bulk
//! deletes a thousand keys at a time.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt, future};
use icepack_core::model::report::Requests;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// Keys in a page of a listing and in a bulk delete.
pub const PAGE: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Get,
    Head,
    Put,
    /// The start of an upload in parts.
    Start,
    Part,
    Complete,
    /// The first page of a listing.
    List,
    /// A further page.
    Page,
    /// The folders below a prefix.
    Folders,
    Delete,
    Copy,
}

#[derive(Debug, Clone)]
pub struct Request {
    pub kind: Kind,
    /// Of a listing its prefix, of a delete the first key.
    pub key: String,
    /// Keys that a page shows or a delete names.
    pub keys: usize,
}

/// Requests in the order in which they were made.
#[derive(Debug, Clone, Default)]
pub struct Log(Vec<Request>);

impl Log {
    /// Those of a kind for a key, or for keys below it.
    pub fn of<'a>(&'a self, kind: Kind, below: &'a str) -> impl Iterator<Item = &'a Request> {
        self.0
            .iter()
            .filter(move |r| r.kind == kind && is_below(&r.key, below))
    }

    pub fn count(&self, kind: Kind, below: &str) -> u64 {
        self.of(kind, below).count() as u64
    }

    /// What is billed for keys that `wanted` takes.
    pub fn bill(&self, wanted: impl Fn(&str) -> bool) -> Requests {
        let mut bill = Requests::default();
        for r in self.0.iter().filter(|r| wanted(&r.key)) {
            *match r.kind {
                Kind::Get => &mut bill.get,
                Kind::Head => &mut bill.head,
                Kind::Put | Kind::Start | Kind::Part | Kind::Complete => &mut bill.put,
                Kind::List | Kind::Page | Kind::Folders => &mut bill.list,
                Kind::Delete => &mut bill.delete,
                Kind::Copy => &mut bill.copy,
            } += 1;
        }
        bill
    }
}

pub fn is_below(key: &str, prefix: &str) -> bool {
    prefix.is_empty()
        || key
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[derive(Debug, Clone)]
pub struct Recorder {
    inner: Arc<InMemory>,
    log: Arc<Mutex<Log>>,
    blind: Arc<Mutex<Option<String>>>,
}

impl Recorder {
    pub fn over(inner: &Arc<InMemory>) -> Self {
        Self {
            inner: Arc::clone(inner),
            log: Arc::default(),
            blind: Arc::default(),
        }
    }

    pub fn log(&self) -> Log {
        self.log.lock().unwrap().clone()
    }

    /// Listings that begin in the middle of the store do not show what is below `prefix`.
    pub fn hide(&self, prefix: &str) {
        *self.blind.lock().unwrap() = Some(prefix.to_owned());
    }

    fn note(&self, kind: Kind, key: &Path, keys: usize) {
        self.log.lock().unwrap().0.push(Request {
            kind,
            key: key.to_string(),
            keys,
        });
    }

    fn paged(
        &self,
        prefix: Option<&Path>,
        all: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, prefix) = (self.clone(), prefix.cloned().unwrap_or_default());
        let pages = async move {
            let all: Vec<ObjectMeta> = all.try_collect().await.unwrap();
            // An empty listing is a request too.
            let rest = all
                .get(PAGE..)
                .unwrap_or_default()
                .chunks(PAGE)
                .map(|page| (Kind::Page, page.to_vec()));
            let first = (Kind::List, all[..all.len().min(PAGE)].to_vec());
            stream::iter(std::iter::once(first).chain(rest).collect::<Vec<_>>())
        };
        // The next page is asked for when this one has been read.
        let keys = stream::once(pages).flatten().flat_map(move |(kind, page)| {
            this.note(kind, &prefix, page.len());
            stream::iter(page).map(Ok)
        });
        keys.boxed()
    }
}

impl fmt::Display for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Recorder {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.note(Kind::Put, location, 1);
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.note(Kind::Start, location, 1);
        let inner = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(Upload {
            inner,
            location: location.clone(),
            recorder: self.clone(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.note(
            if options.head { Kind::Head } else { Kind::Get },
            location,
            1,
        );
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let batches = locations.chunks(PAGE).flat_map(move |batch| {
            if let Some(Ok(first)) = batch.first() {
                this.note(Kind::Delete, first, batch.len());
            }
            this.inner.delete_stream(stream::iter(batch).boxed())
        });
        batches.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.paged(prefix, self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let blind = Arc::clone(&self.blind);
        let shown = self
            .inner
            .list_with_offset(prefix, offset)
            .try_filter(move |m| {
                let hidden = blind
                    .lock()
                    .unwrap()
                    .as_ref()
                    .is_some_and(|key| is_below(m.location.as_ref(), key));
                future::ready(!hidden)
            });
        self.paged(prefix, shown.boxed())
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let found = self.inner.list_with_delimiter(prefix).await?;
        let (keys, prefix) = (
            found.objects.len() + found.common_prefixes.len(),
            prefix.cloned().unwrap_or_default(),
        );
        (0..keys.div_ceil(PAGE).max(1))
            .for_each(|page| self.note(Kind::Folders, &prefix, PAGE.min(keys - page * PAGE)));
        Ok(found)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.note(Kind::Copy, to, 1);
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    location: Path,
    recorder: Recorder,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.recorder.note(Kind::Part, &self.location, 1);
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.recorder.note(Kind::Complete, &self.location, 1);
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.recorder.note(Kind::Delete, &self.location, 1);
        self.inner.abort().await
    }
}
