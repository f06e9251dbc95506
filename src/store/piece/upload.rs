//! Getting an object into a store: one conditional put, or a multipart upload that runs beside the
//! encoder.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{
    Attributes, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions,
    PutOptions, PutPayload,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tracing::Instrument;

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

/// A destination, and what runs its requests.
#[derive(Debug, Clone)]
pub struct Target {
    pub destination: Arc<dyn Destination>,
    /// Runs the requests: encoders are on blocking threads.
    pub runtime: Handle,
}

impl Target {
    /// A store with neither attributes nor retries of our own: the client's are enough for the hot
    /// store.
    pub fn plain(store: Arc<dyn ObjectStore>, runtime: Handle) -> Self {
        let destination = Arc::new(StoreDestination {
            store,
            attributes: Attributes::default(),
            retry: RetryPolicy::NEVER,
        });
        Self {
            destination,
            runtime,
        }
    }
}

/// A complete object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Bytes.
    pub size: u64,
    /// As the store gave it.
    pub etag: Option<String>,
    /// What was sent, where the destination computes checksums.
    pub checksum: Option<Checksum>,
}

enum Step {
    Part(PutPayload),
    Finish(PutPayload),
}

/// A multipart upload under way. Methods block; dropping it aborts the upload in the background.
pub struct Multipart {
    steps: mpsc::Sender<Step>,
    task: JoinHandle<Result<Option<Done>>>,
    runtime: Handle,
}

impl Multipart {
    /// Starts an upload to `key`, with parts of `in_flight` bytes together at once, or a single
    /// larger one.
    pub fn start(target: &Target, key: &str, in_flight: u64) -> Self {
        // One part may wait here. The sender blocks on the next: that is the back-pressure that
        // bounds memory.
        let (steps, receiver) = mpsc::channel(1);
        let (target, key, runtime) = (target.clone(), key.to_owned(), target.runtime.clone());
        let task = runtime
            .spawn(async move { run(&target, &key, in_flight, receiver).await }.in_current_span());
        Self {
            steps,
            task,
            runtime,
        }
    }

    /// Sends a part. False where the upload has failed: [`Self::failure`] says why.
    pub fn send(&mut self, part: PutPayload) -> bool {
        self.steps.blocking_send(Step::Part(part)).is_ok()
    }

    /// The last part, and the end.
    ///
    /// # Errors
    /// Where the store does not hold the whole object.
    pub fn finish(self, last: PutPayload) -> Result<Done> {
        // If the task has ended, it says why.
        let _ = self.steps.blocking_send(Step::Finish(last));
        drop(self.steps);
        join(&self.runtime, self.task)?.ok_or_else(aborted)
    }

    /// Why the upload failed.
    pub fn failure(self) -> Error {
        drop(self.steps);
        join(&self.runtime, self.task).err().unwrap_or_else(aborted)
    }

    /// Gives up, and waits until the store has been told.
    pub fn abort(self) {
        drop(self.steps);
        // It failed, or it was aborted: there is nothing more to do either way.
        let _ = join(&self.runtime, self.task);
    }
}

fn aborted() -> Error {
    Error::local("cannot finish an upload", "it was aborted")
}

fn join(runtime: &Handle, task: JoinHandle<Result<Option<Done>>>) -> Result<Option<Done>> {
    runtime
        .block_on(task)
        .unwrap_or_else(|e| Err(Error::local("cannot finish an upload", e)))
}

async fn run(
    target: &Target,
    key: &str,
    in_flight: u64,
    mut steps: mpsc::Receiver<Step>,
) -> Result<Option<Done>> {
    let mut upload = target.destination.start(key).await?;
    match send_all(&mut *upload, in_flight, &mut steps).await {
        Ok(Some(size)) => match upload.complete(size).await {
            Ok(done) => Ok(Some(done)),
            Err(e) => {
                abandon(key, &mut *upload).await;
                Err(e)
            }
        },
        Ok(None) => {
            abandon(key, &mut *upload).await;
            Ok(None)
        }
        Err(e) => {
            abandon(key, &mut *upload).await;
            Err(e)
        }
    }
}

/// Sends parts until the last; none where the sender has gone without one.
async fn send_all(
    upload: &mut dyn Parts,
    in_flight: u64,
    steps: &mut mpsc::Receiver<Step>,
) -> Result<Option<u64>> {
    let broke_off = |e| Error::local("cannot finish an upload", e);
    let mut parts: JoinSet<Result<u64>> = JoinSet::new();
    let (mut size, mut under_way) = (0, 0);
    while let Some(step) = steps.recv().await {
        let (part, last) = match step {
            Step::Part(part) => (part, false),
            Step::Finish(part) => (part, true),
        };
        let bytes = part.content_length() as u64;
        while under_way + bytes > in_flight
            && let Some(done) = parts.join_next().await
        {
            under_way -= done.map_err(broke_off)??;
        }
        if bytes > 0 {
            (size, under_way) = (size + bytes, under_way + bytes);
            let sent = upload.send(part);
            parts.spawn(async move { sent.await.map(|()| bytes) });
        }
        if last {
            while let Some(done) = parts.join_next().await {
                done.map_err(broke_off)??;
            }
            return Ok(Some(size));
        }
    }
    Ok(None)
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
            let put = || {
                let options = PutOptions {
                    mode: PutMode::Create,
                    attributes: self.attributes.clone(),
                    ..PutOptions::default()
                };
                self.store.put_opts(&path, payload.clone(), options)
            };
            match retry(&self.retry, &format!("put {key}"), put).await {
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
