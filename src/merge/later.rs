//! Inputs that are fetched when the merge comes to them.
//!
//! Where memory has no room for a larger input, only its footer is fetched before the merge begins.
//! A small one is copied to the local disk instead: a look at its footer costs a request. The
//! footer's statistics tell when its first row is from, and so when the merge needs it. The inputs
//! are fetched in that order, a few ahead, as those that have been merged make room. So a merge
//! begins before its last input is there.
//!
//! The statistics decide the order of the output. They are compared with the rows once these are
//! here. Where they differ, or an input turns out to be bad, the merge is made again with all
//! inputs fetched first.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::ready;
use futures::{StreamExt, stream};
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::job::Job;
use super::open::Opened;
use super::run::{Run, RunSource};
use crate::error::{ReadError, Result};
use icepack_core::model::units::KIB;
use icepack_parquet::read::Input;
use icepack_parquet::source::{Ident, Source, store_error, whole_body};
use icepack_parquet::time::Dater;

/// The memory for inputs as they were fetched, in KiB.
pub(super) struct Rooms {
    free: Arc<Semaphore>,
    total: u32,
    /// What only inputs get that are fetched later.
    reserved: u32,
}

/// An input's place in memory, given back when dropped.
pub(super) type Room = OwnedSemaphorePermit;

impl Rooms {
    /// Of `pool` bytes. A quarter is reserved, where inputs may be fetched later.
    pub fn of(pool: u64, defers: bool) -> Self {
        let most = u32::MAX >> 4;
        let total = u32::try_from(pool / KIB).unwrap_or(most).min(most);
        let reserved = if defers { total / 4 } else { 0 };
        Self {
            free: Arc::new(Semaphore::new((total - reserved) as usize)),
            total,
            reserved,
        }
    }

    /// Room for `bytes`, if there is some.
    pub fn take(&self, bytes: u64) -> Option<Room> {
        let kib = u32::try_from(bytes.div_ceil(KIB)).ok()?;
        Arc::clone(&self.free).try_acquire_many_owned(kib).ok()
    }

    async fn wait(self: Arc<Self>, bytes: u64) -> Option<Room> {
        let kib = u32::try_from(bytes.div_ceil(KIB)).unwrap_or(self.total);
        let free = Arc::clone(&self.free);
        free.acquire_many_owned(kib.min(self.total)).await.ok()
    }
}

/// An input of which only the footer was fetched.
pub(super) struct Later {
    store: Arc<dyn ObjectStore>,
    path: Path,
    ident: Ident,
    /// Its last bytes, which are its footer.
    tail: Bytes,
    /// Bytes that its footer may take.
    limit: u64,
    held: OnceCell<Held>,
}

struct Held {
    bytes: Bytes,
    /// None where the merge did not wait for room. A run's cost counts the bytes.
    _room: Option<Room>,
}

impl Later {
    /// Of an input that ends with `tail`. Its footer may take `limit` bytes.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        path: Path,
        ident: Ident,
        tail: Bytes,
        limit: u64,
    ) -> Self {
        Self {
            store,
            path,
            ident,
            tail,
            limit,
            held: OnceCell::new(),
        }
    }

    /// Fetches it, or waits for who does.
    async fn fetch(&self, room: Option<Room>) -> Result<&Held> {
        self.held.get_or_try_init(|| self.fetch_now(room)).await
    }

    async fn fetch_now(&self, room: Option<Room>) -> Result<Held> {
        let key = &self.ident.key;
        let failed = |e| store_error(key, e);
        let options = GetOptions {
            if_match: self.ident.etag.clone(),
            ..GetOptions::default()
        };
        let reply = self.store.get_opts(&self.path, options).await;
        let reply = reply.map_err(failed)?;
        if reply.meta.size != self.ident.size {
            return Err(ReadError::Changed(key.clone()).into());
        }
        let bytes = whole_body(reply).await.map_err(failed)?;
        // A store without ETags may send another version of the same size.
        if !bytes.ends_with(&self.tail) {
            return Err(ReadError::Changed(key.clone()).into());
        }
        Ok(Held { bytes, _room: room })
    }

    /// The input in memory, and whether its rows are in order.
    pub fn open(&self, job: &Job, opened: &Opened) -> Result<(Input, bool)> {
        let bytes = job.runtime.block_on(self.fetch(None))?.bytes.clone();
        let input =
            Input::open_within(self.ident.clone(), Source::Memory(bytes), None, self.limit)?;
        let column = &job.spec.columns.timestamp;
        let dater = Dater::of(column, input.schema(), &self.ident.key)
            .map_err(|why| self.ident.bad(why))?;
        match input.profile(&dater, job.spec.now)? {
            Ok(found) if Some(found.keys) == opened.profile.map(|p| p.keys) => {
                Ok((input, found.sorted))
            }
            _ => Err(self
                .ident
                .bad("the statistics in its footer are not those of its rows")
                .into()),
        }
    }
}

/// Fetches inputs in the order in which the merge needs them. Ends when dropped.
pub(super) struct Fetching(Option<JoinHandle<()>>);

impl Fetching {
    /// Begins with the inputs of `runs`, which are in time order, `at_once`.
    pub fn start(job: &Job, runs: &[Run], rooms: Arc<Rooms>, at_once: usize) -> Self {
        let later: Vec<Arc<Later>> = runs.iter().filter_map(later).collect();
        if later.is_empty() {
            return Self(None);
        }
        rooms.free.add_permits(rooms.reserved as usize);
        let with_room = move |later: Arc<Later>| {
            let room = Arc::clone(&rooms).wait(later.ident.size);
            async move { Some((later, room.await?)) }
        };
        let fetching = stream::iter(later)
            .then(with_room)
            .filter_map(ready)
            .map(|(later, room)| async move {
                // Where it fails, the merge tries again, and says why.
                let _ = later.fetch(Some(room)).await;
            })
            .buffer_unordered(at_once)
            .for_each(|()| ready(()));
        Self(Some(job.runtime.spawn(fetching)))
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

fn later(run: &Run) -> Option<Arc<Later>> {
    match &run.from {
        RunSource::Sorted(input, _) => input.later.clone(),
        RunSource::Unsorted(input) => input.later.clone(),
        RunSource::Spilled(_) => None,
    }
}
