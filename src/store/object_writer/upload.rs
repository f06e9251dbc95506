//! Uploads an object: one conditional put, or a multipart upload that runs beside the encoder.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{
    Attributes, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult,
};
use tokio::task::JoinSet;

use crate::closing::{ClosingSender, ItemReceiver};
use crate::error::{Error, Result};
use crate::store;
use crate::store::retry::{RetryPolicy, retry};
use icepack_core::model::manifest::Checksum;
use icepack_core::model::same::plain;

/// Somewhere that objects go: each is created under a name that did not exist, and is durable, or
/// an error says that it may not be.
#[async_trait]
pub trait Destination: Send + Sync + Debug {
    /// Creates an object in one request.
    ///
    /// # Errors
    /// Where the destination does not hold it afterwards, or holds another one under this name.
    async fn put(&self, key: &str, payload: PutPayload) -> Result<Done>;

    /// Creates a small object under a name that says nothing of the attempt. False where something
    /// of this name exists: whose it is, the caller finds out.
    ///
    /// # Errors
    /// Where it is not certain whether the destination holds it.
    async fn create(&self, key: &str, payload: PutPayload) -> Result<bool>;

    /// Begins an object of unknown size.
    ///
    /// # Errors
    /// Where it cannot be begun.
    async fn start(&self, key: &str) -> Result<Box<dyn Parts>>;
}

/// An object on its way, part by part.
#[async_trait]
pub trait Parts: Send {
    /// The next part. The futures of several parts may run side by side; their order is that of the
    /// calls.
    fn send(&mut self, part: PutPayload) -> BoxFuture<'static, Result<()>>;

    /// The end: `size` bytes were sent.
    ///
    /// # Errors
    /// Where the destination does not hold all of them.
    async fn complete(&mut self, size: u64) -> Result<Done>;

    /// Gives it up.
    ///
    /// # Errors
    /// Where the parts sent may stay behind.
    async fn abort(&mut self) -> Result<()>;
}

/// A complete object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Size in bytes.
    pub size: u64,
    /// As the store gave it.
    pub etag: Option<String>,
    /// What was sent, where the destination computes checksums.
    pub checksum: Option<Checksum>,
}

/// A multipart upload under way, of which the parts are sent. It is complete when it is closed.
pub type Multipart = ClosingSender<PutPayload, Done>;

/// Starts an upload to `key`, with parts of `in_flight` bytes together at once, or a single larger
/// one.
pub fn start_multipart(destination: &Arc<dyn Destination>, key: &str, in_flight: u64) -> Multipart {
    let (destination, key) = (Arc::clone(destination), key.to_owned());
    // One part may wait. The sender blocks on the next: that is the back-pressure that bounds
    // memory.
    ClosingSender::spawn(1, "cannot finish an upload", move |mut parts| async move {
        let mut upload = destination.start(&key).await?;
        let done = match send_all(&mut *upload, in_flight, &mut parts).await {
            Ok(size) => upload.complete(size).await,
            Err(e) => Err(e),
        };
        if done.is_err() {
            abandon(&key, &mut *upload).await;
        }
        done
    })
}

/// Sends all parts, and returns their bytes.
async fn send_all(
    upload: &mut dyn Parts,
    in_flight: u64,
    parts: &mut ItemReceiver<PutPayload>,
) -> Result<u64> {
    let broke_off = |e| Error::local("cannot finish an upload", e);
    let mut sending: JoinSet<Result<u64>> = JoinSet::new();
    let (mut size, mut under_way) = (0, 0);
    while let Some(part) = parts.recv().await? {
        let bytes = part.content_length() as u64;
        while under_way + bytes > in_flight
            && let Some(done) = sending.join_next().await
        {
            under_way -= done.map_err(broke_off)??;
        }
        if bytes > 0 {
            (size, under_way) = (size + bytes, under_way + bytes);
            let sent = upload.send(part);
            sending.spawn(async move { sent.await.map(|()| bytes) });
        }
    }
    while let Some(done) = sending.join_next().await {
        done.map_err(broke_off)??;
    }
    Ok(size)
}

async fn abandon(key: &str, upload: &mut dyn Parts) {
    if let Err(e) = upload.abort().await {
        tracing::warn!(key, cause = %e, "cannot abort an upload: its parts stay until the bucket's lifecycle rule for incomplete uploads removes them");
    }
}

/// A tag that says something: some stores answer an empty one to the completion of an upload.
fn known(etag: Option<String>) -> Option<String> {
    etag.filter(|tag| plain(tag).is_some())
}

/// A store of object_store's.
#[derive(Debug, Clone)]
pub struct StoreDestination {
    pub store: Arc<dyn ObjectStore>,
    /// For each object; some stores refuse any.
    pub attributes: Attributes,
    /// Of requests that can be repeated. The parts of a multipart upload cannot, through
    /// object_store: for them the store's own client tries again.
    pub retry: RetryPolicy,
}

impl StoreDestination {
    /// A store with neither attributes nor retries of our own: the client's are enough for the hot
    /// store.
    pub fn plain(store: Arc<dyn ObjectStore>) -> Self {
        Self {
            store,
            attributes: Attributes::default(),
            retry: RetryPolicy::NEVER,
        }
    }

    async fn create_new(
        &self,
        key: &str,
        path: &Path,
        payload: &PutPayload,
    ) -> object_store::Result<PutResult> {
        let put = || {
            let options = PutOptions {
                mode: PutMode::Create,
                attributes: self.attributes.clone(),
                ..PutOptions::default()
            };
            self.store.put_opts(path, payload.clone(), options)
        };
        retry(&self.retry, &format!("put {key}"), put).await
    }

    /// Asks the store whether the object is there with `size` bytes.
    async fn confirm(&self, key: &str, path: &Path, size: u64) -> Result<Done> {
        let meta = retry(&self.retry, &format!("head {key}"), || {
            self.store.head(path)
        })
        .await
        .map_err(|e| Error::store(format!("cannot check `{key}` after writing it"), e))?;
        if meta.size == size {
            return Ok(Done {
                size,
                etag: known(meta.e_tag),
                checksum: None,
            });
        }
        Err(Error::Local {
            action: format!("cannot trust `{key}` after writing it"),
            why: format!(
                "{size} bytes were written, and the store shows {}",
                meta.size
            ),
        })
    }
}

#[async_trait]
impl Destination for StoreDestination {
    async fn put(&self, key: &str, payload: PutPayload) -> Result<Done> {
        let (path, size) = (store::path(key)?, payload.content_length() as u64);
        let mut conflicts = 0;
        loop {
            match self.create_new(key, &path, &payload).await {
                Ok(result) => match known(result.e_tag) {
                    Some(etag) => {
                        return Ok(Done {
                            size,
                            etag: Some(etag),
                            checksum: None,
                        });
                    }
                    None => return self.confirm(key, &path, size).await,
                },
                // Our id is in the name, so it is our own: an attempt whose reply was lost, tried
                // again by the client.
                Err(object_store::Error::AlreadyExists { .. }) => {
                    match self.confirm(key, &path, size).await {
                        // Some stores say "conflict" while an earlier attempt is still being
                        // settled.
                        Err(Error::Store {
                            source: object_store::Error::NotFound { .. },
                            ..
                        }) if conflicts < 2 => conflicts += 1,
                        settled => return settled,
                    }
                }
                Err(e) => return Err(Error::store(format!("cannot put `{key}`"), e)),
            }
        }
    }

    async fn create(&self, key: &str, payload: PutPayload) -> Result<bool> {
        match self.create_new(key, &store::path(key)?, &payload).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(e) => Err(Error::store(format!("cannot put `{key}`"), e)),
        }
    }

    async fn start(&self, key: &str) -> Result<Box<dyn Parts>> {
        let path = store::path(key)?;
        let start = || {
            let options = PutMultipartOptions {
                attributes: self.attributes.clone(),
                ..PutMultipartOptions::default()
            };
            self.store.put_multipart_opts(&path, options)
        };
        let upload = retry(&self.retry, &format!("start uploading {key}"), start)
            .await
            .map_err(|e| Error::store(format!("cannot upload `{key}`"), e))?;
        Ok(Box::new(StoreParts {
            destination: self.clone(),
            key: key.to_owned(),
            path,
            upload,
        }))
    }
}

struct StoreParts {
    destination: StoreDestination,
    key: String,
    path: Path,
    upload: Box<dyn MultipartUpload>,
}

#[async_trait]
impl Parts for StoreParts {
    fn send(&mut self, part: PutPayload) -> BoxFuture<'static, Result<()>> {
        let (sent, key) = (self.upload.put_part(part), self.key.clone());
        async move {
            sent.await
                .map_err(|e| Error::store(format!("cannot upload `{key}`"), e))
        }
        .boxed()
    }

    async fn complete(&mut self, size: u64) -> Result<Done> {
        let result = self.upload.complete().await;
        // The store has put the parts together by their numbers: that it did so with all of them is
        // worth one request. And where it says that it failed, the reply may have been
        // lost, not the object.
        let seen = self.destination.confirm(&self.key, &self.path, size).await;
        match (result, seen) {
            (Ok(result), Ok(seen)) => Ok(Done {
                etag: seen.etag.or(known(result.e_tag)),
                ..seen
            }),
            // Who sweeps may have raised the floor above it already.
            (
                Ok(_),
                Err(Error::Store {
                    source: object_store::Error::NotFound { .. },
                    ..
                }),
            ) => Err(Error::Conflict(format!(
                "`{}` is gone since it was written, as an output that no manifest names",
                self.key
            ))),
            (Ok(_), Err(e)) => Err(e),
            (Err(_), Ok(seen)) => Ok(seen),
            (Err(e), Err(_)) => Err(Error::store(
                format!("cannot complete the upload of `{}`", self.key),
                e,
            )),
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload
            .abort()
            .await
            .map_err(|e| Error::store(format!("cannot abort the upload of `{}`", self.key), e))
    }
}
