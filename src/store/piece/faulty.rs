//! A store that fails as it is told to, for tests.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::*;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done; trying again helps.
    Transient,
    /// Nothing is done; trying again does not help.
    Refused,
    /// It is done, and the reply is lost.
    LostReply,
    /// It is done, and the client's own second try is told that the object exists.
    Retried,
}

/// Requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    Put,
    Start,
    Part,
    Complete,
    Get,
}

#[derive(Debug, Default)]
struct State {
    faults: Mutex<HashMap<Op, Vec<Fault>>>,
    calls: Mutex<HashMap<Op, usize>>,
    aborted: AtomicUsize,
    largest_part: AtomicUsize,
}

impl State {
    fn call(&self, op: Op) -> Option<Fault> {
        *self.calls.lock().unwrap().entry(op).or_default() += 1;
        let mut faults = self.faults.lock().unwrap();
        let queue = faults.get_mut(&op)?;
        if queue.is_empty() {
            None
        } else {
            Some(queue.remove(0))
        }
    }
}

/// Memory with faults.
#[derive(Debug, Default)]
pub struct Faulty {
    pub inner: InMemory,
    state: Arc<State>,
}

impl Faulty {
    /// The next requests of kind `op` meet `faults`, one each.
    pub fn with(self, op: Op, faults: &[Fault]) -> Self {
        self.state
            .faults
            .lock()
            .unwrap()
            .insert(op, faults.to_vec());
        self
    }

    pub fn calls(&self, op: Op) -> usize {
        self.state
            .calls
            .lock()
            .unwrap()
            .get(&op)
            .copied()
            .unwrap_or(0)
    }

    pub fn aborted(&self) -> usize {
        self.state.aborted.load(Ordering::SeqCst)
    }

    pub fn largest_part(&self) -> usize {
        self.state.largest_part.load(Ordering::SeqCst)
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

fn reset() -> Error {
    Error::Generic {
        store: "Faulty",
        source: "connection reset".into(),
    }
}

fn denied() -> Error {
    Error::PermissionDenied {
        path: "x".into(),
        source: "AccessDenied".into(),
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        match self.state.call(Op::Put) {
            None => self.inner.put_opts(location, payload, opts).await,
            Some(Fault::Transient) => Err(reset()),
            Some(Fault::Refused) => Err(denied()),
            Some(fault) => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(if fault == Fault::LostReply {
                    reset()
                } else {
                    Error::AlreadyExists {
                        path: location.to_string(),
                        source: "412".into(),
                    }
                })
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        match self.state.call(Op::Start) {
            None => Ok(Box::new(FaultyUpload {
                inner: self.inner.put_multipart_opts(location, opts).await?,
                state: Arc::clone(&self.state),
            })),
            Some(Fault::Refused) => Err(denied()),
            Some(_) => Err(reset()),
        }
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.state.call(Op::Get) {
            None => self.inner.get_opts(location, options).await,
            Some(Fault::Refused) => Err(denied()),
            Some(_) => Err(reset()),
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    state: Arc<State>,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.state
            .largest_part
            .fetch_max(data.content_length(), Ordering::SeqCst);
        match self.state.call(Op::Part) {
            None => self.inner.put_part(data),
            Some(_) => Box::pin(async { Err(reset()) }),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        match self.state.call(Op::Complete) {
            None => self.inner.complete().await,
            Some(Fault::LostReply) => {
                self.inner.complete().await?;
                Err(reset())
            }
            Some(_) => Err(reset()),
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.state.aborted.fetch_add(1, Ordering::SeqCst);
        self.inner.abort().await
    }
}
