//! Decodes inputs: ahead of the merge, on another thread, where that pays.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::chunk::Chunk;
use super::job::Job;
use super::open::Opened;
use crate::error::{Error, Result};
use icepack_core::model::file::Fingerprint;
use icepack_parquet::hash;
use icepack_parquet::leaf::check_decimals;
use icepack_parquet::read::Reader;
use icepack_parquet::schema::{Misfit, adapt};
use icepack_parquet::time::Dater;

/// Rows of the job's schema, and what they add to the books.
pub(super) struct Decoded {
    pub chunk: Chunk,
    /// Of the rows as they are in their file.
    pub own: Fingerprint,
    /// Of the same as rows of the job's schema, by what they are in their file.
    pub fingerprint: Fingerprint,
}

/// Why there are no more rows.
pub(super) enum Undecodable {
    /// They do not fit into the job's schema.
    Misfit(Misfit),
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Undecodable {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// An input's rows, brought to the job's schema and fingerprinted. Needs nothing of the job, so
/// that it can work on any thread.
pub(super) struct Decoder {
    reader: Reader,
    input: Arc<Opened>,
    schema: SchemaRef,
    dater: Dater,
    check_content: bool,
    scratch: Vec<u128>,
    /// Whether rows of the job's schema have another fingerprint; none before the first.
    is_other: Option<bool>,
    /// The last key, where rows must come in order.
    last: Option<i64>,
}

impl Decoder {
    pub fn new(job: &Job, reader: Reader, input: Arc<Opened>, sorted_from: Option<i64>) -> Self {
        let schema = Arc::clone(&job.schema);
        Self {
            reader,
            input,
            schema,
            dater: job.dater.clone(),
            check_content: job.spec.check_content,
            scratch: Vec::new(),
            is_other: None,
            last: sorted_from,
        }
    }

    fn next(&mut self) -> Result<Option<Decoded>, Undecodable> {
        let Some(batch) = self.reader.next_views()? else {
            return Ok(None);
        };
        let ident = &self.input.file.ident;
        if !self.input.planned.is_snapshot() {
            check_decimals(&batch).map_err(|reason| ident.bad(reason))?;
        }
        let (own, fingerprint) = self.fingerprints(&batch)?;
        let ident = &self.input.file.ident;
        let batch = if batch.schema_ref() == &self.schema {
            batch
        } else {
            adapt(&batch, &self.schema).map_err(Undecodable::Misfit)?
        };
        let chunk = Chunk::by(&self.dater, batch)?;
        if let Some(last) = &mut self.last {
            for &key in chunk.keys.iter() {
                if key < *last {
                    return Err(ident
                        .bad(
                            "its rows are not in the order that is known of it: it was damaged or \
                             replaced",
                        )
                        .into());
                }
                *last = key;
            }
        }
        Ok(Some(Decoded {
            chunk,
            own,
            fingerprint,
        }))
    }

    /// Of rows as they were read: their own, and that of the same as rows of the job's schema.
    fn fingerprints(&mut self, batch: &RecordBatch) -> Result<(Fingerprint, Fingerprint)> {
        if !self.check_content {
            return Ok(Default::default());
        }
        let bad = |reason| self.input.file.ident.bad(reason);
        let own = hash::fingerprint(batch, &mut self.scratch).map_err(bad)?;
        let is_other = match self.is_other {
            Some(known) => known,
            None => hash::is_other_as(batch.schema_ref(), &self.schema).map_err(bad)?,
        };
        self.is_other = Some(is_other);
        if !is_other {
            return Ok((own, own));
        }
        let other = hash::fingerprint_as(batch, &self.schema, &mut self.scratch).map_err(bad)?;
        Ok((own, other))
    }
}

type Answer = (Box<Decoder>, Result<Option<Decoded>, Undecodable>);

/// A decoder that may be one batch ahead, on another thread.
pub(super) struct Prefetcher {
    runtime: Handle,
    state: State,
}

enum State {
    /// Decodes when it is asked.
    Here(Box<Decoder>),
    There(oneshot::Receiver<Answer>),
    Ended,
}

/// Whether decoding beside the merge is worth it. With two processors the encoder keeps both busy,
/// and to pass batches between threads only costs; with more, the merge, which is one thread, would
/// be what everybody waits for.
fn is_worth_it() -> bool {
    std::thread::available_parallelism().is_ok_and(|n| n.get() > 2)
}

impl Prefetcher {
    pub fn begin(job: &Job, decoder: Decoder) -> Self {
        // A remote file's next pages are on their way while those at hand are merged.
        let is_remote = decoder.input.later.is_none() && decoder.input.file.is_remote();
        let ahead = is_remote || is_worth_it();
        let mut this = Self {
            runtime: job.runtime.clone(),
            state: State::Ended,
        };
        let decoder = Box::new(decoder);
        this.state = if ahead {
            this.start(decoder)
        } else {
            State::Here(decoder)
        };
        this
    }

    fn start(&self, mut decoder: Box<Decoder>) -> State {
        let (sender, pending) = oneshot::channel();
        self.runtime.spawn_blocking(move || {
            let decoded = decoder.next();
            // Nobody waits for it any more where the merge has failed.
            let _ = sender.send((decoder, decoded));
        });
        State::There(pending)
    }

    /// The next rows; none at the end.
    pub fn next(&mut self, job: &Job) -> Result<Option<Decoded>, Undecodable> {
        job.check_stop()?;
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Ended => Ok(None),
            State::Here(mut decoder) => {
                let decoded = decoder.next()?;
                if decoded.is_some() {
                    self.state = State::Here(decoder);
                }
                Ok(decoded)
            }
            State::There(pending) => {
                // The decoder catches its own panics: what comes here is a runtime that shuts down.
                let (decoder, decoded) = pending.blocking_recv().map_err(|_| Error::Stopped)?;
                if let Ok(Some(_)) = &decoded {
                    self.state = self.start(decoder);
                }
                decoded
            }
        }
    }
}
