//! Faults by schedule: each call of a process is numbered and fails as its schedule tells it to.
//! The stores of one process (hot and cold) share one sequence of numbers.
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
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::{Error, ObjectStore, PutPayload, Result};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use crate::intercept::Kind;
use crate::intercept::{Call as Intercepted, InterceptStore, Page, Reply as StoreReply, Request};

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
    /// The token has expired. Not worth a retry.
    Expired,
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
            Self::Expired => Error::PermissionDenied {
                path: path.to_owned(),
                source: "<Error><Code>ExpiredToken</Code></Error>".into(),
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
    /// A store that lets nobody in, and for which calls.
    pub locked: Option<(Side, Range<usize>)>,
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
            ..Self::default()
        }
    }

    fn locked(&self, side: Side, call: usize) -> Option<Fault> {
        let (locked, calls) = self.locked.as_ref()?;
        (*locked == side && calls.contains(&call)).then_some(Fault::Before(Reply::Expired))
    }

    pub fn noise(seed: u64, per_mille: u64) -> Self {
        Self {
            noise: Some(Noise { seed, per_mille }),
            ..Self::default()
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
    /// Calls so far that changed something, but for the probe.
    changes: usize,
    before_call: BTreeMap<usize, Meanwhile>,
    before_change: BTreeMap<usize, Meanwhile>,
    others: Vec<JoinHandle<()>>,
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
        self.book.lock().unwrap().before_call.insert(n, meanwhile);
    }

    /// As [`Self::before_call`], counting only what changes something: there, it matters most what
    /// others have done.
    pub fn before_change(&self, n: usize, meanwhile: Meanwhile) {
        self.book.lock().unwrap().before_change.insert(n, meanwhile);
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
        let others = std::mem::take(&mut self.book.lock().unwrap().others);
        for other in others {
            other.await.unwrap();
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
            .or_else(|| self.schedule.locked(side, n))
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
        let mut meanwhile = book.before_call.remove(&n);
        if kind.changes() && !key.contains("/_probe/") {
            book.changes += 1;
            let nth = book.changes;
            meanwhile = meanwhile.or_else(|| book.before_change.remove(&nth));
        }
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
    async fn call(
        &self,
        side: Side,
        request: Request,
        call: Intercepted,
        directory: Option<PathBuf>,
    ) -> Result<StoreReply> {
        let key = request.key.as_ref();
        let (fault, meanwhile, due) = self.begin(side, request.kind, key);
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
            self.book.lock().unwrap().others.push(tokio::spawn(others));
            let _: std::result::Result<(), _> = wait.await;
        }
        match fault {
            None => call.await,
            Some(Fault::Short) => shortened(request.kind, key, call.await?).await,
            Some(Fault::Before(reply)) => Err(reply.error(key)),
            Some(Fault::After(reply)) => {
                let _ = call.await;
                Err(reply.error(key))
            }
            Some(Fault::Die { applied }) => {
                if applied {
                    let _ = call.await;
                }
                Err(Reply::Dead.error(key))
            }
            Some(Fault::Torn) => {
                if let Some(directory) = directory {
                    tear(&directory.join(format!("{key}#1")), &request.body);
                }
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

    /// This process's view of a store. Where that is a directory, [`Fault::Torn`] leaves half a
    /// file there.
    pub fn store(
        self: &Arc<Self>,
        inner: &Arc<dyn ObjectStore>,
        side: Side,
        directory: Option<PathBuf>,
    ) -> Arc<dyn ObjectStore> {
        let process = Arc::clone(self);
        let store = InterceptStore::new(Arc::clone(inner), move |request, call| {
            let (process, directory) = (Arc::clone(&process), directory.clone());
            async move { process.call(side, request, call, directory).await }
        });
        Arc::new(store.paged(PAGE))
    }
}

/// Half a body, or half a page and then an error.
async fn shortened(kind: Kind, key: &str, reply: StoreReply) -> Result<StoreReply> {
    Ok(match reply {
        reply @ StoreReply::Got(_) if kind == Kind::Get => {
            reply.map_body(|body| body.slice(..body.len() / 2)).await?
        }
        StoreReply::Page(Page { mut entries, .. }) => {
            entries.truncate(entries.len() / 2);
            entries.push(Err(Reply::Reset.error(key)));
            StoreReply::Page(Page {
                entries,
                next: None,
            })
        }
        reply => reply,
    })
}

/// What a process leaves that dies while it writes a file of a directory.
fn tear(path: &std::path::Path, body: &PutPayload) {
    let body: Vec<u8> = body.iter().flat_map(|b| b.to_vec()).collect();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, &body[..body.len() / 2]).unwrap();
}
