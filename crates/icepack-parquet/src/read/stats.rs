//! The statistics of rows that a manifest keeps: how many, their time range, and their fingerprint.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::runtime::Handle;

use crate::error::{Error, Result};
use crate::guard::footer_len;
use crate::hash;
use crate::read::{Input, UNLIMITED};
use crate::schema::described;
use crate::source::{Ident, Remote, Source, fetch_tail};
use crate::time::{Dater, ceil_micros, first_not_before, floor_micros};
use icepack_core::model::file::{Fingerprint, Micros, RowStats};
use icepack_core::model::schema::TableSchema;
use icepack_core::model::time_column::TimeColumn;

/// Bytes that [`scan`] holds ahead of the decoder.
const WINDOW: u64 = 8 << 20;

/// Adds up the stats of rows.
#[derive(Debug)]
pub struct Counter {
    dater: Dater,
    stats: RowStats,
    scratch: Vec<u128>,
}

impl Counter {
    /// For rows of `schema` in the file `key`.
    ///
    /// # Errors
    /// Where they have not what dates a row, in a sentence.
    pub fn new(schema: &Schema, column: &TimeColumn, key: &str) -> Result<Self, String> {
        Dater::of(column, schema, key).map(Self::by)
    }

    /// For rows that are dated by `dater`.
    pub fn by(dater: Dater) -> Self {
        Self {
            dater,
            stats: RowStats::default(),
            scratch: Vec::new(),
        }
    }

    /// Adds rows. Gives their own fingerprint.
    ///
    /// # Errors
    /// Where they have another schema, in a sentence.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<Fingerprint, String> {
        let (keys, unit) = (self.dater.keys(batch)?, self.dater.unit());
        let dated = first_not_before(Micros::EPOCH_2000, unit);
        let mut more = RowStats {
            rows: batch.num_rows() as u64,
            fingerprint: hash::fingerprint(batch, &mut self.scratch)?,
            ..RowStats::default()
        };
        let mut span: Option<(i64, i64)> = None;
        for &key in keys.iter() {
            if key < dated {
                more.undated += 1;
            } else {
                span = Some(span.map_or((key, key), |(a, b)| (a.min(key), b.max(key))));
            }
        }
        more.min = span.map(|(min, _)| floor_micros(min, unit));
        more.max = span.map(|(_, max)| ceil_micros(max, unit));
        self.stats = self.stats.plus(more);
        Ok(more.fingerprint)
    }

    /// Adds rows that were counted before.
    pub fn include(&mut self, counted: RowStats) {
        self.stats = self.stats.plus(counted);
    }

    /// The statistics of all rows so far.
    pub fn stats(&self) -> &RowStats {
        &self.stats
    }
}

/// Opens a whole object for reading, in bounded memory. Must be called within a tokio runtime;
/// `work` runs on a blocking thread.
///
/// # Errors
/// [`Error::Input`] where it is not a Parquet file of `size` bytes; [`Error::Gone`] where it is not
/// there; and those of `work`.
pub async fn scan<T, E, F>(
    store: Arc<dyn ObjectStore>,
    key: String,
    size: u64,
    work: F,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Error> + Send + 'static,
    F: FnOnce(&Input) -> Result<T, E> + Send + 'static,
{
    scan_within(store, key, size, UNLIMITED, work).await
}

/// As [`scan`], for anybody's file: its footer and its pages may take `limit` bytes.
async fn scan_within<T, E, F>(
    store: Arc<dyn ObjectStore>,
    key: String,
    size: u64,
    limit: u64,
    work: F,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Error> + Send + 'static,
    F: FnOnce(&Input) -> Result<T, E> + Send + 'static,
{
    let path =
        Path::parse(&key).map_err(|e| Error::store(format!("cannot read `{key}`"), e.into()))?;
    let (meta, mut tail) = fetch_tail(store.as_ref(), &path, &key, crate::read::TAIL).await?;
    let ident = Ident {
        key,
        size: meta.size,
        etag: meta.e_tag.clone(),
    };
    if meta.size != size {
        return Err(ident
            .bad(format!(
                "it has {} bytes, and {size} are expected",
                meta.size
            ))
            .into());
    }
    let need = footer_len(&tail, size).map_err(|why| ident.bad(why))?;
    if need > limit {
        return Err(ident
            .bad(format!(
                "its footer has {need} bytes, and {limit} may be read"
            ))
            .into());
    }
    if need > tail.len() as u64 {
        tail = fetch_tail(store.as_ref(), &path, &ident.key, need).await?.1;
    }
    let source = Source::Remote(Remote {
        store,
        path,
        etag: meta.e_tag,
        window: WINDOW,
        runtime: Handle::current(),
    });
    let read = move || work(&Input::open_within(ident, source, Some(tail), limit)?);
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|e| Error::local("cannot read a file back", e))?
}

/// Reads a whole object back and counts its rows. `timestamp` is what dates them, as manifests and
/// receipts say it.
///
/// # Errors
/// As [`scan`]; [`Error::Input`] also where it has not what dates its rows.
pub async fn read_stats(
    store: Arc<dyn ObjectStore>,
    key: String,
    size: u64,
    timestamp: &str,
) -> Result<RowStats> {
    let timestamp = TimeColumn::told(timestamp);
    let read = move |input: &Input| count(input, &timestamp);
    scan(store, key, size, read).await
}

fn count(input: &Input, timestamp: &TimeColumn) -> Result<RowStats> {
    let mut counter = counter_of(input, timestamp)?;
    let mut reader = input.reader(None)?;
    while let Some(batch) = reader.next_batch()? {
        counter.add(&batch).map_err(|why| input.ident.bad(why))?;
    }
    Ok(*counter.stats())
}

/// A file that may be anybody's, read as a whole.
#[derive(Debug, Clone)]
pub struct Whole {
    /// Of its rows, by the column that dates a row.
    pub stats: RowStats,
    /// Its columns.
    pub schema: TableSchema,
    /// As the read showed it.
    pub etag: Option<String>,
}

/// Reads a file that may be anybody's and counts its rows. `limit` is the memory in bytes for its
/// footer, and for its pages at any one time.
///
/// # Errors
/// As [`read_stats`]; [`Error::Input`] also where its rows would not be kept as they are.
pub async fn read_whole(
    store: Arc<dyn ObjectStore>,
    key: String,
    size: u64,
    timestamp: &TimeColumn,
    limit: u64,
) -> Result<Whole> {
    let timestamp = timestamp.clone();
    let read = move |input: &Input| {
        if let Some(why) = input.refusal() {
            return Err(input.ident.bad(why));
        }
        Ok(Whole {
            stats: count(input, &timestamp)?,
            schema: described(input.schema()),
            etag: input.ident.etag.clone(),
        })
    };
    scan_within(store, key, size, limit, read).await
}

/// The number of rows of a file that may be anybody's, their fingerprint, and the tag that it
/// showed. Where it should hold `rows` rows and its footer speaks of more or fewer, nothing is
/// decoded, and there is no fingerprint. `limit` is the memory in bytes for its footer, and for its
/// pages at any one time.
///
/// # Errors
/// As [`scan`].
pub async fn read_content(
    store: Arc<dyn ObjectStore>,
    key: String,
    size: u64,
    rows: Option<u64>,
    limit: u64,
) -> Result<(u64, Option<Fingerprint>, Option<String>)> {
    let read = move |input: &Input| {
        let (found, etag) = (input.rows(), input.ident.etag.clone());
        if rows.is_some_and(|rows| rows != found) {
            return Ok((found, None, etag));
        }
        let (mut sum, mut scratch) = (Fingerprint::default(), Vec::new());
        let mut reader = input.reader(None)?;
        while let Some(batch) = reader.next_batch()? {
            sum = sum
                .plus(hash::fingerprint(&batch, &mut scratch).map_err(|why| input.ident.bad(why))?);
        }
        Ok((found, Some(sum), etag))
    };
    scan_within(store, key, size, limit, read).await
}

/// Counts the rows of `input`.
///
/// # Errors
/// [`Error::Input`] where it has not what dates its rows.
pub fn counter_of(input: &Input, timestamp: &TimeColumn) -> Result<Counter> {
    Counter::new(input.schema(), timestamp, &input.ident.key).map_err(|why| input.ident.bad(why))
}
