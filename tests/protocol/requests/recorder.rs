//! A store in memory that writes down every request, as S3 would be sent it: listings and bulk
//! deletes a thousand keys at a time.

use std::sync::{Arc, Mutex};

use icepack_core::model::report::Requests;
pub use icepack_dst::intercept::Kind;
use icepack_dst::intercept::{InterceptStore, Reply};
use object_store::ObjectStore;
use object_store::memory::InMemory;

/// Keys in a page of a listing and in a bulk delete.
pub const PAGE: usize = 1_000;

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

    /// All of them.
    pub fn all(&self) -> &[Request] {
        &self.0
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
                Kind::Delete | Kind::Abort => &mut bill.delete,
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

/// What is written down, and what listings do not show.
#[derive(Clone)]
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

    pub fn store(&self) -> Arc<dyn ObjectStore> {
        let (this, inner) = (
            self.clone(),
            Arc::clone(&self.inner) as Arc<dyn ObjectStore>,
        );
        let store = InterceptStore::new(inner, move |request, call| {
            let this = this.clone();
            async move {
                let mut reply = call.await;
                let keys = match &mut reply {
                    Ok(Reply::Page(page)) => {
                        if request.after.is_some() {
                            page.entries.retain(|m| !this.is_hidden(m));
                        }
                        page.entries.len()
                    }
                    Ok(Reply::Folders(found)) => found.objects.len() + found.common_prefixes.len(),
                    _ => request.keys,
                };
                // A store in memory shows all folders at once, S3 does not.
                for page in 0..keys.div_ceil(PAGE).max(1) {
                    this.log.lock().unwrap().0.push(Request {
                        kind: request.kind,
                        key: request.key.to_string(),
                        keys: PAGE.min(keys - page * PAGE),
                    });
                }
                reply
            }
        });
        Arc::new(store.paged(PAGE).bulk(PAGE))
    }

    pub fn log(&self) -> Log {
        self.log.lock().unwrap().clone()
    }

    /// Listings that begin in the middle of the store do not show what is below `prefix`.
    pub fn hide(&self, prefix: &str) {
        *self.blind.lock().unwrap() = Some(prefix.to_owned());
    }

    fn is_hidden(&self, entry: &object_store::Result<object_store::ObjectMeta>) -> bool {
        let blind = self.blind.lock().unwrap();
        let hides = |m: &object_store::ObjectMeta| {
            blind
                .as_ref()
                .is_some_and(|prefix| is_below(m.location.as_ref(), prefix))
        };
        entry.as_ref().is_ok_and(hides)
    }
}
