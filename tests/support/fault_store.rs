//! A store that numbers every call and fails as a schedule tells it to. The stores of one process
//! (hot and cold) share one sequence of numbers.
//!
//! A [`Schedule`] is pure data. A fault is chosen by the number of the call, or by noise: a hash of
//! a seed and of (store, kind, key, how often that was asked), never of the global number. So a
//! noisy run replays from its seed even where two calls of the job change places. They seldom do:
//! on a current-thread runtime with `concurrency = 1` the job's calls follow each other, but for
//! the ranged reads and the parts of a merge that reads large inputs while it uploads (decoder,
//! encoder and uploads are three threads there).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::watch::Watch;

/// Keys of a page. Small, so that listings of small worlds have several, each a call of its own
/// that the store answers as it is then.
const PAGE: usize = 5;

/// How long a call hangs before the client gives up.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(180);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    Hot,
    Cold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Put,
    Get,
    Head,
    /// A page of a listing.
    List,
    /// A listing of folders.
    Folders,
    /// One key of a delete.
    Delete,
    Start,
    Part,
    Complete,
    Abort,
    Copy,
}

impl Kind {
    pub fn changes(self) -> bool {
        !matches!(self, Self::Get | Self::Head | Self::List | Self::Folders)
    }
}

/// What the client makes of a reply that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Reset,
    Timeout,
    Internal,
    SlowDown,
    /// 409, which object_store calls "already exists".
    Conflict,
    /// 412.
    Precondition,
    /// Nobody is there any more to hear it. Not worth a retry, or the tests would wait for a
    /// process that is dead.
    Dead,
}

pub const REPLIES: [Reply; 6] = [
    Reply::Reset,
    Reply::Timeout,
    Reply::Internal,
    Reply::SlowDown,
    Reply::Conflict,
    Reply::Precondition,
];

impl Reply {
    fn error(self, path: &str) -> Error {
        let generic = |text: &str| {
            let text = format!(
                "Error after 10 retries in 61s, max_retries: 10, retry_timeout: 180s, source: \
                 {text}"
            );
            Error::Generic {
                store: "S3",
                source: text.into(),
            }
        };
        match self {
            Self::Reset => generic("error sending request: connection reset by peer"),
            Self::Timeout => generic("operation timed out"),
            Self::Internal => {
                generic("Server returned non-2xx status code: 500 Internal Server Error")
            }
            Self::SlowDown => {
                generic("Server returned non-2xx status code: 503 Service Unavailable: SlowDown")
            }
            Self::Conflict => Error::AlreadyExists {
                path: path.to_owned(),
                source: "409 Conflict: ConditionalRequestConflict".into(),
            },
            Self::Precondition => Error::Precondition {
                path: path.to_owned(),
                source: "412 Precondition Failed".into(),
            },
            Self::Dead => Error::Unauthenticated {
                path: path.to_owned(),
                source: "the process is dead".into(),
            },
        }
    }
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It never reaches the store.
    Before(Reply),
    /// The store does it, the reply is lost.
    After(Reply),
    /// No reply ever comes; the client gives up after its timeout. The store has done it, or not.
    Hang { applied: bool },
    /// The client gives up, and the store does it only after this many further calls: it was under
    /// way all the time.
    Late { calls: usize },
    /// A body that ends early; a page of a listing that breaks off.
    Short,
    /// As `Before` and `After`, and every later call fails too.
    Die { applied: bool },
    /// Dies in the middle of writing a file of a directory: half of it stays under the name that
    /// the store writes it by.
    Torn,
}

/// Which calls fail.
#[derive(Debug, Clone, Default)]
pub struct Schedule {
    pub at: BTreeMap<usize, Fault>,
    pub noise: Option<Noise>,
}

/// Faults of all kinds but death, at random.
#[derive(Debug, Clone, Copy)]
pub struct Noise {
    pub seed: u64,
    pub per_mille: u64,
}

impl Schedule {
    pub fn clean() -> Self {
        Self::default()
    }

    pub fn one(call: usize, fault: Fault) -> Self {
        Self {
            at: BTreeMap::from([(call, fault)]),
            noise: None,
        }
    }

    pub fn noise(seed: u64, per_mille: u64) -> Self {
        Self {
            at: BTreeMap::new(),
            noise: Some(Noise { seed, per_mille }),
        }
    }
}

impl Noise {
    fn fault(self, side: Side, kind: Kind, key: &str, nth: usize) -> Option<Fault> {
        let mut hasher = DefaultHasher::new();
        (self.seed, side, kind, key, nth).hash(&mut hasher);
        let mut rng = fastrand::Rng::with_seed(hasher.finish());
        // A pass begins with four calls to a probe. One that fails there has shown all that there
        // is to see.
        let share = if key.contains("/_probe/") { 8 } else { 1 };
        if rng.u64(..1000) >= self.per_mille / share {
            return None;
        }
        let reply = REPLIES[rng.usize(..REPLIES.len())];
        Some(match rng.u8(..8) {
            0..3 => Fault::Before(reply),
            3..6 if kind.changes() => Fault::After(reply),
            3..6 => Fault::Short,
            6 => Fault::Hang {
                applied: rng.bool(),
            },
            _ if kind.changes() => Fault::Late {
                calls: rng.usize(1..12),
            },
            _ => Fault::Before(reply),
        })
    }
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub side: Side,
    pub kind: Kind,
    pub key: String,
    pub fault: Option<Fault>,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} {}", self.side, self.kind, self.key)?;
        self.fault
            .map_or(Ok(()), |fault| write!(f, "   <- {fault:?}"))
    }
}

/// What another does between two calls of a process.
pub type Meanwhile = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

#[derive(Default)]
struct Book {
    calls: Vec<Call>,
    asked: HashMap<(Side, Kind, String), usize>,
    meanwhile: Option<(usize, Meanwhile)>,
    others: Option<JoinHandle<()>>,
    /// Requests under way that the client has given up.
    late: Vec<(usize, BoxFuture<'static, ()>)>,
}

/// A process: its calls, and what goes wrong with them.
pub struct Process {
    schedule: Schedule,
    dead: AtomicBool,
    book: Mutex<Book>,
}

impl Process {
    pub fn new(schedule: Schedule) -> Arc<Self> {
        Arc::new(Self {
            schedule,
            dead: AtomicBool::new(false),
            book: Mutex::default(),
        })
    }

    /// `meanwhile` happens before call `n`, the first being 1.
    pub fn before_call(&self, n: usize, meanwhile: Meanwhile) {
        self.book.lock().unwrap().meanwhile = Some((n, meanwhile));
    }

    pub fn calls(&self) -> Vec<Call> {
        self.book.lock().unwrap().calls.clone()
    }

    pub fn trace(&self) -> String {
        let calls = self.calls();
        calls
            .iter()
            .enumerate()
            .map(|(i, c)| format!("{:4} {c}\n", i + 1))
            .collect()
    }

    /// Waits until the others are through, if they have begun.
    pub async fn others(&self) {
        let others = self.book.lock().unwrap().others.take();
        if let Some(others) = others {
            others.await.unwrap();
        }
    }

    /// Whatever was still under way reaches the store now.
    pub async fn settle(&self) {
        let late = std::mem::take(&mut self.book.lock().unwrap().late);
        for (_, call) in late {
            call.await;
        }
    }

    fn begin(
        &self,
        side: Side,
        kind: Kind,
        key: &str,
    ) -> (
        Option<Fault>,
        Option<Meanwhile>,
        Vec<BoxFuture<'static, ()>>,
    ) {
        let mut book = self.book.lock().unwrap();
        let nth = book.asked.entry((side, kind, key.to_owned())).or_default();
        *nth += 1;
        let nth = *nth;
        let n = book.calls.len() + 1;
        let mut fault = self
            .schedule
            .at
            .get(&n)
            .copied()
            .or_else(|| self.schedule.noise?.fault(side, kind, key, nth));
        if self.dead.load(Ordering::SeqCst) {
            fault = Some(Fault::Before(Reply::Dead));
        } else if matches!(fault, Some(Fault::Die { .. } | Fault::Torn)) {
            self.dead.store(true, Ordering::SeqCst);
        }
        book.calls.push(Call {
            side,
            kind,
            key: key.to_owned(),
            fault,
        });
        let meanwhile = if book.meanwhile.as_ref().is_some_and(|(at, _)| *at == n) {
            book.meanwhile.take().map(|(_, m)| m)
        } else {
            None
        };
        let (due, waiting) = std::mem::take(&mut book.late)
            .into_iter()
            .partition(|(at, _)| *at <= n);
        book.late = waiting;
        (
            fault,
            meanwhile,
            due.into_iter().map(|(_, call): (usize, _)| call).collect(),
        )
    }

    /// Carries a call out, or not.
    async fn call<T: Send + 'static>(
        &self,
        side: Side,
        kind: Kind,
        key: &str,
        call: BoxFuture<'static, Result<T>>,
    ) -> Result<T> {
        let (fault, meanwhile, due) = self.begin(side, kind, key);
        for late in due {
            late.await;
        }
        if let Some(meanwhile) = meanwhile {
            // The job may drop this call while it waits, say because another fetch failed. What the
            // others do goes on all the same.
            let (done, wait) = oneshot::channel();
            let others = async move {
                meanwhile().await;
                drop(done);
            };
            self.book.lock().unwrap().others = Some(tokio::spawn(others));
            let _: std::result::Result<(), _> = wait.await;
        }
        match fault {
            // What a short body means is the caller's to do.
            None | Some(Fault::Short) => call.await,
            Some(Fault::Before(reply)) => Err(reply.error(key)),
            Some(Fault::Die { applied: false } | Fault::Torn) => Err(Reply::Dead.error(key)),
            Some(Fault::After(reply)) => {
                let _ = call.await;
                Err(reply.error(key))
            }
            Some(Fault::Die { applied: true }) => {
                let _ = call.await;
                Err(Reply::Dead.error(key))
            }
            Some(Fault::Hang { applied }) => {
                if applied {
                    let _ = call.await;
                }
                tokio::time::sleep(CLIENT_TIMEOUT).await;
                Err(Reply::Timeout.error(key))
            }
            Some(Fault::Late { calls }) => {
                let mut book = self.book.lock().unwrap();
                let due = book.calls.len() + calls;
                book.late.push((due, call.map(drop).boxed()));
                Err(Reply::Timeout.error(key))
            }
        }
    }

    fn last_fault(&self, side: Side, kind: Kind, key: &str) -> Option<Fault> {
        let book = self.book.lock().unwrap();
        book.calls
            .iter()
            .rev()
            .find(|c| c.side == side && c.kind == kind && c.key == key)
            .and_then(|c| c.fault)
    }
}

/// A process's view of a store.
#[derive(Clone)]
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    side: Side,
    process: Arc<Process>,
    watch: Arc<Watch>,
}

impl FaultStore {
    pub fn over(
        inner: &Arc<dyn ObjectStore>,
        side: Side,
        process: &Arc<Process>,
        watch: &Arc<Watch>,
    ) -> Arc<dyn ObjectStore> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            side,
            process: Arc::clone(process),
            watch: Arc::clone(watch),
        })
    }

    async fn call<T: Send + 'static>(
        &self,
        kind: Kind,
        key: &str,
        call: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.process.call(self.side, kind, key, call.boxed()).await
    }

    /// The entries after `after`, as the store is now.
    async fn page(&self, prefix: Option<&Path>, after: Option<&Path>) -> Result<Vec<ObjectMeta>> {
        let key = prefix.map_or("", |p| p.as_ref()).to_owned();
        let (inner, prefix, after) = (Arc::clone(&self.inner), prefix.cloned(), after.cloned());
        let page = async move {
            let mut all: Vec<ObjectMeta> = inner.list(prefix.as_ref()).try_collect().await?;
            all.retain(|m| after.as_ref().is_none_or(|a| m.location > *a));
            all.sort_by(|a, b| a.location.cmp(&b.location));
            all.truncate(PAGE);
            Ok(all)
        };
        self.call(Kind::List, &key, page).await
    }
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({:?}, {})", self.side, self.inner)
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let (this, path, body) = (self.clone(), location.clone(), payload.clone());
        let put = async move {
            this.watch
                .before_put(this.side, &path, &body, &opts.mode)
                .await;
            this.inner.put_opts(&path, body, opts).await
        };
        let done = self.call(Kind::Put, location.as_ref(), put).await;
        if self.side == Side::Hot
            && self
                .process
                .last_fault(self.side, Kind::Put, location.as_ref())
                == Some(Fault::Torn)
        {
            self.watch.tear(location, &payload);
        }
        done
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let (inner, path) = (Arc::clone(&self.inner), location.clone());
        let upload = self
            .call(Kind::Start, location.as_ref(), async move {
                inner.put_multipart_opts(&path, opts).await
            })
            .await?;
        Ok(Box::new(FaultUpload {
            inner: Arc::new(tokio::sync::Mutex::new(upload)),
            location: location.clone(),
            store: self.clone(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let kind = if options.head { Kind::Head } else { Kind::Get };
        let (inner, path) = (Arc::clone(&self.inner), location.clone());
        let reply = self
            .call(kind, location.as_ref(), async move {
                inner.get_opts(&path, options).await
            })
            .await?;
        if kind == Kind::Head
            || self.process.last_fault(self.side, kind, location.as_ref()) != Some(Fault::Short)
        {
            return Ok(reply);
        }
        let (meta, range, attributes, extensions) = (
            reply.meta.clone(),
            reply.range.clone(),
            reply.attributes.clone(),
            reply.extensions.clone(),
        );
        let body = reply.bytes().await?;
        let half = body.slice(..body.len() / 2);
        let payload = GetResultPayload::Stream(stream::once(async move { Ok(half) }).boxed());
        Ok(GetResult {
            payload,
            meta,
            range,
            attributes,
            extensions,
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        // Each key is a call: a bulk delete may be carried out in part.
        let one = move |location: Result<Path>| {
            let this = this.clone();
            async move {
                let location = location?;
                let (inner, watch, side, key) = (
                    Arc::clone(&this.inner),
                    Arc::clone(&this.watch),
                    this.side,
                    location.clone(),
                );
                let delete = async move {
                    watch.before_delete(side, &key).await;
                    inner
                        .delete_stream(stream::once(async { Ok(key) }).boxed())
                        .try_collect::<Vec<_>>()
                        .await
                };
                this.call(Kind::Delete, location.as_ref(), delete).await?;
                Ok(location)
            }
        };
        locations.then(one).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, prefix) = (self.clone(), prefix.cloned());
        let pages = stream::unfold(
            (Some(None), this, prefix),
            |(next, this, prefix)| async move {
                let after: Option<Path> = next?;
                let mut page = this.page(prefix.as_ref(), after.as_ref()).await;
                let key = prefix.as_ref().map_or("", |p| p.as_ref()).to_owned();
                let mut broken = None;
                if let Ok(metas) = &mut page
                    && this.process.last_fault(this.side, Kind::List, &key) == Some(Fault::Short)
                {
                    metas.truncate(metas.len() / 2);
                    broken = Some(Reply::Reset.error(&key));
                }
                let full = page.as_ref().is_ok_and(|p| p.len() == PAGE) && broken.is_none();
                let next = if full {
                    page.as_ref()
                        .ok()
                        .and_then(|p| p.last())
                        .map(|m| Some(m.location.clone()))
                } else {
                    None
                };
                let entries: Vec<Result<ObjectMeta>> = match page {
                    Ok(metas) => metas.into_iter().map(Ok).chain(broken.map(Err)).collect(),
                    Err(e) => vec![Err(e)],
                };
                Some((stream::iter(entries), (next, this, prefix)))
            },
        );
        pages.flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (inner, prefix) = (Arc::clone(&self.inner), prefix.cloned());
        let key = prefix.as_ref().map_or("", |p| p.as_ref()).to_owned();
        self.call(Kind::Folders, &key, async move {
            inner.list_with_delimiter(prefix.as_ref()).await
        })
        .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (this, source, target) = (self.clone(), from.clone(), to.clone());
        let copy = async move {
            this.watch.before_create(this.side, &target).await;
            this.inner.copy_opts(&source, &target, options).await
        };
        self.call(Kind::Copy, to.as_ref(), copy).await
    }
}

struct FaultUpload {
    inner: Arc<tokio::sync::Mutex<Box<dyn MultipartUpload>>>,
    location: Path,
    store: FaultStore,
}

impl fmt::Debug for FaultUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultUpload({})", self.location)
    }
}

#[async_trait]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        // The number of a part is its place among the calls, whatever becomes of it. Nothing else
        // holds the lock: parts are handed in one by one.
        let part = self
            .inner
            .try_lock()
            .map(|mut upload| upload.put_part(data));
        let (store, key) = (self.store.clone(), self.location.clone());
        async move {
            let part = async move { part.expect("an upload is used by one task at a time").await };
            store.call(Kind::Part, key.as_ref(), part).await
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (upload, store, path) = (
            Arc::clone(&self.inner),
            self.store.clone(),
            self.location.clone(),
        );
        let complete = async move {
            store.watch.before_create(store.side, &path).await;
            upload.lock().await.complete().await
        };
        self.store
            .call(Kind::Complete, self.location.as_ref(), complete)
            .await
    }

    async fn abort(&mut self) -> Result<()> {
        let upload = Arc::clone(&self.inner);
        self.store
            .call(Kind::Abort, self.location.as_ref(), async move {
                upload.lock().await.abort().await
            })
            .await
    }
}
