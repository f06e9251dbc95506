//! Getting an object into a store: one conditional put, or a multipart upload that runs beside the encoder.

use std::sync::Arc;

use object_store::path::Path;
use object_store::{Attributes, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, TagSet};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::error::{Error, Result};
use crate::stage::retry::{RetryPolicy, retry};
use crate::stage::store;

/// A store, and how objects are put into it.
#[derive(Debug, Clone)]
pub struct Target {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// For each object; some stores refuse any.
    pub attributes: Attributes,
    /// For each object.
    pub tags: TagSet,
    /// Of requests that can be repeated. The parts of a multipart upload cannot, through object_store: for them the store's own client tries again.
    pub retry: RetryPolicy,
    /// Runs the requests.
    pub runtime: Handle,
}

/// A complete object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Bytes.
    pub size: u64,
    /// As the store gave it.
    pub etag: Option<String>,
}

impl Target {
    /// A store with neither attributes nor tags nor retries of our own: the client's are enough for the hot store.
    pub fn plain(store: Arc<dyn ObjectStore>, runtime: Handle) -> Self {
        Self { store, attributes: Attributes::default(), tags: TagSet::default(), retry: RetryPolicy::NEVER, runtime }
    }

    /// Creates an object in one request.
    ///
    /// # Errors
    /// Where the store does not hold it afterwards, or holds another one under this name.
    pub async fn put(&self, key: &str, payload: PutPayload) -> Result<Done> {
        let (path, size) = (store::path(key)?, payload.content_length() as u64);
        let mut conflicts = 0;
        loop {
            let put = || {
                let options = PutOptions { mode: PutMode::Create, attributes: self.attributes.clone(), tags: self.tags.clone(), ..PutOptions::default() };
                self.store.put_opts(&path, payload.clone(), options)
            };
            match retry(&self.retry, &format!("put {key}"), put).await {
                Ok(result) if result.e_tag.is_some() => return Ok(Done { size, etag: result.e_tag }),
                Ok(_) => return self.confirm(key, &path, size).await,
                // Our id is in the name, so it is our own: an attempt whose reply was lost, tried again by the client.
                Err(object_store::Error::AlreadyExists { .. }) => match self.confirm(key, &path, size).await {
                    // Some stores say "conflict" while an earlier attempt is still being settled.
                    Err(Error::Store { source: object_store::Error::NotFound { .. }, .. }) if conflicts < 2 => conflicts += 1,
                    settled => return settled,
                },
                Err(e) => return Err(Error::store(format!("cannot put `{key}`"), e)),
            }
        }
    }

    /// Asks the store whether the object is there with `size` bytes.
    ///
    /// # Errors
    /// Where it is not.
    pub async fn confirm(&self, key: &str, path: &Path, size: u64) -> Result<Done> {
        let meta = retry(&self.retry, &format!("head {key}"), || self.store.head(path))
            .await
            .map_err(|e| Error::store(format!("cannot check `{key}` after writing it"), e))?;
        if meta.size == size {
            return Ok(Done { size, etag: meta.e_tag });
        }
        Err(Error::Local {
            action: format!("cannot trust `{key}` after writing it"),
            why: format!("{size} bytes were written, and the store shows {}", meta.size),
        })
    }
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
    /// Starts an upload to `key`, with `in_flight` parts at once.
    ///
    /// # Errors
    /// Where `key` is not one.
    pub fn start(target: &Target, key: &str, in_flight: usize) -> Result<Self> {
        let path = store::path(key)?;
        // One part may wait here. The sender blocks on the next: that is the back-pressure that bounds memory.
        let (steps, receiver) = mpsc::channel(1);
        let (target, key, runtime) = (target.clone(), key.to_owned(), target.runtime.clone());
        let task = runtime.spawn(async move { run(&target, &key, &path, in_flight, receiver).await });
        Ok(Self { steps, task, runtime })
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
    runtime.block_on(task).unwrap_or_else(|e| Err(Error::local("cannot finish an upload", e)))
}

async fn run(target: &Target, key: &str, path: &Path, in_flight: usize, mut steps: mpsc::Receiver<Step>) -> Result<Option<Done>> {
    let start = || {
        let options = PutMultipartOptions { attributes: target.attributes.clone(), tags: target.tags.clone(), ..PutMultipartOptions::default() };
        target.store.put_multipart_opts(path, options)
    };
    let failed = |e| Error::store(format!("cannot upload `{key}`"), e);
    let mut upload = retry(&target.retry, &format!("start uploading {key}"), start).await.map_err(failed)?;
    match send_all(&mut *upload, in_flight, &mut steps).await {
        Ok(Some(size)) => complete(target, key, path, &mut *upload, size).await.map(Some),
        Ok(None) => {
            abandon(key, &mut *upload).await;
            Ok(None)
        }
        Err(e) => {
            abandon(key, &mut *upload).await;
            Err(failed(e))
        }
    }
}

/// Sends parts until the last; none where the sender has gone without one.
async fn send_all(upload: &mut dyn MultipartUpload, in_flight: usize, steps: &mut mpsc::Receiver<Step>) -> object_store::Result<Option<u64>> {
    let mut parts: JoinSet<object_store::Result<()>> = JoinSet::new();
    let mut size = 0;
    while let Some(step) = steps.recv().await {
        let (part, last) = match step {
            Step::Part(part) => (part, false),
            Step::Finish(part) => (part, true),
        };
        while parts.len() >= in_flight {
            if let Some(done) = parts.join_next().await {
                done??;
            }
        }
        if part.content_length() > 0 {
            size += part.content_length() as u64;
            parts.spawn(upload.put_part(part));
        }
        if last {
            while let Some(done) = parts.join_next().await {
                done??;
            }
            return Ok(Some(size));
        }
    }
    Ok(None)
}

async fn complete(target: &Target, key: &str, path: &Path, upload: &mut dyn MultipartUpload, size: u64) -> Result<Done> {
    match upload.complete().await {
        // The store has put the parts together by their numbers: that it did so with all of them is worth one request.
        Ok(result) => target.confirm(key, path, size).await.map(|seen| Done { etag: seen.etag.or(result.e_tag), ..seen }),
        // The reply may have been lost, not the object.
        Err(e) => match target.confirm(key, path, size).await {
            Ok(done) => Ok(done),
            Err(_) => {
                abandon(key, upload).await;
                Err(Error::store(format!("cannot complete the upload of `{key}`"), e))
            }
        },
    }
}

async fn abandon(key: &str, upload: &mut dyn MultipartUpload) {
    if let Err(e) = upload.abort().await {
        tracing::warn!(key, cause = %e, "cannot abort an upload: its parts stay until the bucket's lifecycle rule for incomplete uploads removes them");
    }
}
