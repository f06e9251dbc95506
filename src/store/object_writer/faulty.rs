//! A store that fails as it is told to, for tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

pub use icepack_dst::intercept::Kind as Op;
use icepack_dst::intercept::{Call, InterceptStore, Reply, Request};
use object_store::memory::InMemory;
use object_store::{Error, ObjectStore, Result};

/// The fault of a request.
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

#[derive(Debug, Default)]
struct State {
    faults: HashMap<Op, Vec<Fault>>,
    calls: HashMap<Op, usize>,
    largest_part: usize,
}

impl State {
    fn call(&mut self, request: &Request) -> Option<Fault> {
        // A HEAD is a GET without its body.
        let op = match request.kind {
            Op::Head => Op::Get,
            op => op,
        };
        *self.calls.entry(op).or_default() += 1;
        if op == Op::Part {
            self.largest_part = self.largest_part.max(request.body.content_length());
        }
        let queue = self.faults.get_mut(&op).filter(|queue| !queue.is_empty())?;
        Some(queue.remove(0))
    }
}

/// Memory with faults.
#[derive(Debug, Default)]
pub struct Faulty {
    pub inner: Arc<InMemory>,
    state: Arc<Mutex<State>>,
}

impl Faulty {
    /// The next requests of kind `op` meet `faults`, one each.
    pub fn with(self, op: Op, faults: &[Fault]) -> Self {
        self.state
            .lock()
            .unwrap()
            .faults
            .insert(op, faults.to_vec());
        self
    }

    pub fn store(&self) -> Arc<dyn ObjectStore> {
        let state = Arc::clone(&self.state);
        let inner = Arc::clone(&self.inner) as Arc<dyn ObjectStore>;
        Arc::new(InterceptStore::new(inner, move |request, call| {
            let fault = state.lock().unwrap().call(&request);
            answer(fault, request, call)
        }))
    }

    pub fn calls(&self, op: Op) -> usize {
        let state = self.state.lock().unwrap();
        state.calls.get(&op).copied().unwrap_or(0)
    }

    pub fn aborted(&self) -> usize {
        self.calls(Op::Abort)
    }

    pub fn largest_part(&self) -> usize {
        self.state.lock().unwrap().largest_part
    }
}

async fn answer(fault: Option<Fault>, request: Request, call: Call) -> Result<Reply> {
    let path = request.key.to_string();
    let reset = || Error::Generic {
        store: "Faulty",
        source: "connection reset".into(),
    };
    match fault {
        None => call.await,
        Some(Fault::Transient) => Err(reset()),
        Some(Fault::Refused) => Err(Error::PermissionDenied {
            path,
            source: "AccessDenied".into(),
        }),
        Some(Fault::LostReply) => {
            call.await?;
            Err(reset())
        }
        Some(Fault::Retried) => {
            call.await?;
            Err(Error::AlreadyExists {
                path,
                source: "412".into(),
            })
        }
    }
}
