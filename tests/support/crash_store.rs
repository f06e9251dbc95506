//! A store that dies: after a given number of calls every further call fails, as it looks to a
//! process that was killed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// How the last call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// It never reaches the store.
    Before,
    /// The store does it, the reply is lost.
    After,
}

/// Calls left, shared by the stores of one process.
#[derive(Debug)]
pub struct Life {
    left: AtomicUsize,
    pub used: AtomicUsize,
    death: Death,
}

impl Life {
    pub fn of(calls: usize, death: Death) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(calls),
            used: AtomicUsize::new(0),
            death,
        })
    }

    /// Whether the call reaches the store, and whether its reply comes back.
    fn call(&self) -> (bool, bool) {
        self.used.fetch_add(1, Ordering::SeqCst);
        match self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
        {
            Err(_) => (false, false),
            Ok(1) => (self.death == Death::After, false),
            Ok(_) => (true, true),
        }
    }
}

#[derive(Debug, Clone)]
pub struct CrashStore {
    inner: Arc<dyn ObjectStore>,
    life: Arc<Life>,
}

impl CrashStore {
    pub fn over(inner: &Arc<dyn ObjectStore>, life: &Arc<Life>) -> Arc<dyn ObjectStore> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            life: Arc::clone(life),
        })
    }

    async fn guard<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        match self.life.call() {
            (false, _) => Err(dead()),
            (true, true) => call.await,
            (true, false) => {
                let _ = call.await;
                Err(dead())
            }
        }
    }
}

/// Not worth a retry, or the tests would wait for a process that is dead.
fn dead() -> Error {
    Error::Unauthenticated {
        path: "crash".into(),
        source: "the process is dead".into(),
    }
}

impl fmt::Display for CrashStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for CrashStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.guard(self.inner.put_opts(location, payload, opts))
            .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self
            .guard(self.inner.put_multipart_opts(location, opts))
            .await?;
        Ok(Box::new(CrashUpload {
            inner,
            store: self.clone(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.guard(self.inner.get_opts(location, options)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        // Each key is a crash point: a bulk delete may be carried out in part.
        let one = move |location: Result<Path>| {
            let this = this.clone();
            async move {
                let location = location?;
                let key = location.clone();
                let inner = this
                    .inner
                    .delete_stream(stream::once(async { Ok(key) }).boxed());
                this.guard(async move { inner.try_collect::<Vec<_>>().await })
                    .await?;
                Ok(location)
            }
        };
        locations.then(one).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let this = self.clone();
        let inner = self.inner.list(prefix);
        stream::once(async move {
            this.guard(async { inner.try_collect::<Vec<_>>().await })
                .await
        })
        .map_ok(|metas| stream::iter(metas.into_iter().map(Ok)))
        .try_flatten()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.guard(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.guard(self.inner.copy_opts(from, to, options)).await
    }
}

#[derive(Debug)]
struct CrashUpload {
    inner: Box<dyn MultipartUpload>,
    store: CrashStore,
}

#[async_trait]
impl MultipartUpload for CrashUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let part = self.inner.put_part(data);
        let store = self.store.clone();
        Box::pin(async move { store.guard(part).await })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let store = self.store.clone();
        store.guard(self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        let store = self.store.clone();
        store.guard(self.inner.abort()).await
    }
}
