//! Reads one input: its footer, which is checked first, and its rows in batches of bounded size.

mod ahead;
mod exact;
pub mod footer;
pub mod likely;
pub mod profile;
mod reader;
pub mod source;
pub mod stats;
pub mod summary;

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ProjectionMask};
use parquet::basic::Type as Physical;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::schema::types::SchemaDescriptor;

use crate::error::Result;
use crate::guard::{self, TRAILER, catch_panic, chunks, footer_len, pages};
use crate::source::{Chunks, Ident, Source};
use crate::{form, leaf, pairs, views};
use ahead::Shares;
use exact::Rule;
use icepack_core::model::file::Micros;
use icepack_core::model::time_column::TimeColumn;
pub use reader::Reader;
pub use stats::read_stats;

/// The last bytes of a file that are fetched to find its footer: it is in them unless the file has
/// very many row groups.
pub const TAIL: u64 = 128 << 10;

/// For files that this process or an earlier one wrote, which need not be doubted.
pub(crate) const UNLIMITED: u64 = u64::MAX;

/// Decoded bytes that a batch aims at, unless the caller has less.
pub const BATCH_BYTES: u64 = 1 << 20;
/// Rows of a batch, at most and at least.
const BATCH_ROWS: Range<u64> = 16..8_192;

/// The rows that the footer at the end of `tail` promises for a file of `size` bytes.
///
/// # Errors
/// Why it is not a footer that can be believed, in a sentence.
pub fn footer_rows(tail: &Bytes, size: u64) -> Result<u64, String> {
    catch_panic(|| parse_footer(tail, size, UNLIMITED)).map(|p| p.found.rows)
}

/// A Parquet file whose footer has been read and checked.
#[derive(Debug, Clone)]
pub struct Input {
    pub ident: Arc<Ident>,
    source: Source,
    footer: ArrowReaderMetadata,
    /// Its own, which the rows come in.
    schema: SchemaRef,
    rows: u64,
    decoded_bytes: u64,
    footer_bytes: u64,
    limit: u64,
    refusal: Option<String>,
    rules: Arc<[(usize, Rule)]>,
}

impl Input {
    /// Opens a file that is one of ours. `tail` holds at least as many of its last bytes as
    /// [`footer_len`] says; sources that are at hand need none.
    ///
    /// # Errors
    /// [`Error::Input`](crate::error::Error::Input) where the footer is not that of a readable
    /// file.
    pub fn open(ident: Ident, source: Source, tail: Option<Bytes>) -> Result<Self> {
        Self::open_within(ident, source, tail, UNLIMITED)
    }

    /// As [`Self::open`], for anybody's file: neither its footer nor the pages that are held at
    /// once may take more than `limit` bytes.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_within(
        ident: Ident,
        source: Source,
        tail: Option<Bytes>,
        limit: u64,
    ) -> Result<Self> {
        let ident = Arc::new(ident);
        let tail = match (tail, &source) {
            (Some(tail), _) => tail,
            (None, Source::Memory(bytes)) => bytes.clone(),
            (None, _) => read_tail(&ident, &source)?,
        };
        let Parsed {
            found,
            footer,
            schema,
            refusal,
            rules,
        } = catch_panic(|| parse_footer(&tail, ident.size, limit))
            .map_err(|reason| ident.bad(reason))?;
        Ok(Self {
            ident,
            source,
            footer,
            schema,
            rows: found.rows,
            decoded_bytes: found.decoded_bytes,
            footer_bytes: found.memory,
            limit,
            refusal,
            rules: rules.into(),
        })
    }

    /// Why the rows of a file that is not ours would not come back as they are, in a sentence,
    /// where its types say so.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// Rows by the footer.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The file's own schema.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// An estimate of the bytes of all rows once decoded.
    pub fn decoded_bytes(&self) -> u64 {
        self.decoded_bytes.max(self.rows * 16)
    }

    /// An estimate of the bytes that a [`Reader`] with batches of `batch_bytes` holds: a page of
    /// every column, two batches of up to twice that, and what is fetched ahead.
    pub fn open_bytes(&self, batch_bytes: u64) -> u64 {
        // Of each column's chunk, at most so many bytes; of the row group that has most.
        let of_each = |bytes: fn(&ColumnChunkMetaData) -> i64, most: u64| {
            let chunk = |c: &ColumnChunkMetaData| u64::try_from(bytes(c)).unwrap_or(most).min(most);
            self.metadata()
                .row_groups()
                .iter()
                .map(|g| g.columns().iter().map(chunk).sum())
                .max()
                .unwrap_or(0_u64)
        };
        let fetched = match &self.source {
            Source::Memory(_) => 0,
            Source::Local(_) | Source::Disk(_) => {
                of_each(ColumnChunkMetaData::compressed_size, 64 << 10)
            }
            Source::Remote(r) => self.ahead_bytes(r.window).min(self.ident.size),
        };
        let pages = self
            .held_bytes()
            .unwrap_or_else(|| of_each(ColumnChunkMetaData::uncompressed_size, 1 << 20))
            + 4 * batch_bytes;
        self.decoded_bytes().min(pages) + self.footer_bytes + fetched
    }

    /// The most bytes that are fetched ahead, of `window`.
    fn ahead_bytes(&self, window: u64) -> u64 {
        let size = |c: &ColumnChunkMetaData| u64::try_from(c.compressed_size()).unwrap_or(0);
        let groups = self.metadata().row_groups().iter();
        groups
            .map(|g| Shares::of(window, g.columns().iter().map(size)).total())
            .fold(window, u64::max)
    }

    /// The most bytes that pages take at once, where the file is at hand and its page headers can
    /// be looked at.
    fn held_bytes(&self) -> Option<u64> {
        let Source::Memory(bytes) = &self.source else {
            return None;
        };
        let mut most = 0;
        for group in self.metadata().row_groups() {
            let mut held = 0_u64;
            for chunk in chunks(group, |_| true).ok()? {
                let bytes = bytes.get(
                    usize::try_from(chunk.range.start).ok()?
                        ..usize::try_from(chunk.range.end).ok()?,
                )?;
                held = held.saturating_add(pages::largest(bytes, chunk.repeated)?);
            }
            most = held.max(most);
        }
        Some(most.min(self.limit))
    }

    /// The bytes of the largest chunk of a column, or of a part of it, once decompressed, by the
    /// footer.
    pub fn widest(&self, column: &str) -> u64 {
        let roots = self.footer.parquet_schema();
        let named = |leaf: usize| roots.get_column_root(leaf).name() == column;
        let chunks = self.metadata().row_groups().iter().flat_map(|g| {
            g.columns()
                .iter()
                .enumerate()
                .filter(|(leaf, _)| named(*leaf))
        });
        chunks
            .map(|(_, c)| u64::try_from(c.uncompressed_size()).unwrap_or(0))
            .max()
            .unwrap_or(0)
    }

    /// What is worth keeping of the file until its turn comes. A parsed footer takes many times its
    /// bytes, and there may be thousands of files.
    pub fn close(self, source: Source, tail: Option<Bytes>) -> Closed {
        Closed {
            ident: self.ident,
            source,
            tail,
            limit: self.limit,
        }
    }

    /// Reads the rows in file order, of all columns or only of the one named.
    ///
    /// # Errors
    /// Where a local file is gone.
    pub fn reader(&self, only: Option<&str>) -> Result<Reader> {
        self.reader_of(only, BATCH_BYTES)
    }

    /// Like [`Self::reader`], with batches of about `batch_bytes` once decoded.
    ///
    /// # Errors
    /// Where a local file is gone.
    pub fn reader_of(&self, only: Option<&str>, batch_bytes: u64) -> Result<Reader> {
        let schema = self.footer.parquet_schema();
        let mask = match only {
            None => ProjectionMask::all(),
            Some(name) => ProjectionMask::roots(schema, self.schema().index_of(name)),
        };
        let is_short = |name| {
            let field = self.schema().field_with_name(name);
            field.is_ok_and(|f| f.data_type().is_primitive())
        };
        let wide = if only.is_some_and(is_short) {
            16
        } else {
            self.decoded_bytes() / self.rows.max(1)
        };
        let batch_rows = (batch_bytes / wide.max(1)).clamp(BATCH_ROWS.start, BATCH_ROWS.end);
        Ok(Reader::new(
            self.clone(),
            Chunks::open(Arc::clone(&self.ident), &self.source)?,
            mask,
            batch_rows,
            batch_bytes,
        ))
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.footer.metadata()
    }
}

/// A file that has been opened before and can be opened again.
#[derive(Debug, Clone)]
pub struct Closed {
    pub ident: Arc<Ident>,
    source: Source,
    tail: Option<Bytes>,
    limit: u64,
}

impl Closed {
    /// Whether reading it asks the store.
    pub fn is_remote(&self) -> bool {
        matches!(self.source, Source::Remote(_))
    }

    /// Opens it again.
    ///
    /// # Errors
    /// As [`Input::open`].
    pub fn open(&self) -> Result<Input> {
        Input::open_within(
            Ident::clone(&self.ident),
            self.source.clone(),
            self.tail.clone(),
            self.limit,
        )
    }

    /// Bytes that its footer may take.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// What its footer says against the times of its rows, and what to set, in a sentence; see
    /// [`footer::dates`]. None where it says nothing.
    pub fn undated(&self, column: &TimeColumn, now: Micros) -> Option<String> {
        let (_, tail) = self.raw().ok()?;
        let Ident { key, size, .. } = self.ident.as_ref();
        footer::dates(&tail, *size, self.limit, column, key, now)
            .ok()?
            .err()
    }

    /// Its bytes, and the last of them.
    pub(crate) fn raw(&self) -> Result<(Chunks, Bytes)> {
        let tail = match (&self.tail, &self.source) {
            (Some(tail), _) => tail.clone(),
            (None, Source::Memory(bytes)) => bytes.clone(),
            (None, _) => read_tail(&self.ident, &self.source)?,
        };
        Ok((Chunks::open(Arc::clone(&self.ident), &self.source)?, tail))
    }
}

/// The footer of a file that is at hand, with its trailer; or what is there where it has none.
///
/// # Errors
/// [`Error::Input`](crate::error::Error::Input) where it is not the end of a Parquet file; else the
/// disk's or the store's.
pub fn read_tail(ident: &Arc<Ident>, source: &Source) -> Result<Bytes> {
    use parquet::file::reader::ChunkReader;
    let chunks = Chunks::open(Arc::clone(ident), source)?;
    // A request costs more than the bytes, and a read of a local file less.
    let first = if matches!(source, Source::Remote(_)) {
        TAIL
    } else {
        TRAILER as u64
    };
    let read = |want: u64| {
        let want = want.min(ident.size);
        chunks
            .get_bytes(ident.size - want, usize::try_from(want).unwrap_or(0))
            .map_err(|e| {
                chunks
                    .take_fault()
                    .unwrap_or_else(|| ident.bad(e.to_string()))
            })
    };
    let tail = read(first)?;
    let need = footer_len(&tail, ident.size).map_err(|reason| ident.bad(reason))?;
    if need > tail.len() as u64 {
        read(need)
    } else {
        Ok(tail)
    }
}

/// A footer that has been checked.
pub(crate) struct Parsed {
    pub found: guard::Footer,
    pub footer: ArrowReaderMetadata,
    pub schema: SchemaRef,
    refusal: Option<String>,
    rules: Vec<(usize, Rule)>,
}

/// Reads the footer at the end of `tail`, for a file of `size` bytes, if it takes no more than
/// `limit` bytes once it is parsed.
pub(crate) fn parse_footer(tail: &Bytes, size: u64, limit: u64) -> Result<Parsed, String> {
    let found = guard::footer(tail, size, limit)?;
    let unreadable = |e: &dyn std::fmt::Display| format!("its schema cannot be read: {e}");
    let columns = found.metadata.file_metadata().schema_descr_ptr();
    let metadata = match without_intervals(&found.metadata).map_err(|e| unreadable(&e))? {
        Some(plain) => {
            let options = guard::without_statistics().with_schema(Arc::new(plain));
            found.decode(&options).map_err(guard::damaged)?
        }
        None => found.metadata.clone(),
    };
    let metadata = Arc::new(metadata);
    let open = |options| {
        ArrowReaderMetadata::try_new(Arc::clone(&metadata), options).map_err(|e| unreadable(&e))
    };
    let own = open(ArrowReaderOptions::new())?;
    let (kept, mut refusal) = leaf::survey(&columns, own.schema().fields())?;
    let own_pairs = own.schema().metadata();
    if own_pairs.contains_key(pairs::LEGACY_INT96)
        && columns
            .columns()
            .iter()
            .any(|c| c.physical_type() == Physical::INT96)
    {
        refusal.get_or_insert_with(|| {
            format!(
                "its key `{}` says that its times are of an older calendar; the file is left alone",
                pairs::LEGACY_INT96
            )
        });
    }
    let decoded = Arc::new(Schema::new_with_metadata(
        leaf::decoded(own.schema().fields(), &kept),
        own_pairs.clone(),
    ));
    let plain = views::plain(&decoded);
    let schema = Arc::new(Schema::new_with_metadata(
        form::remembered(
            &leaf::with_blooms(
                &leaf::noted(plain.fields(), &kept, &columns),
                found.metadata.row_groups(),
            ),
            decoded.fields(),
        ),
        pairs::of_file(own_pairs, has_arrow_schema(&found.metadata)),
    ));
    let rules = exact::rules(&columns, decoded.fields());
    let footer = match views::of(&plain) {
        Some(views) => open(ArrowReaderOptions::new().with_schema(views))?,
        None if plain != *own.schema() => open(ArrowReaderOptions::new().with_schema(plain))?,
        None => own,
    };
    Ok(Parsed {
        found,
        footer,
        schema,
        refusal,
        rules,
    })
}

fn has_arrow_schema(metadata: &ParquetMetaData) -> bool {
    let pairs = metadata.file_metadata().key_value_metadata();
    pairs.is_some_and(|pairs| {
        pairs
            .iter()
            .any(|p| p.key == ARROW_SCHEMA_META_KEY && p.value.is_some())
    })
}

/// The schema to decode a file by that has intervals which its writer had not as an Arrow type.
fn without_intervals(metadata: &ParquetMetaData) -> Result<Option<SchemaDescriptor>, ParquetError> {
    let columns = metadata.file_metadata().schema_descr();
    if !columns
        .columns()
        .iter()
        .any(|c| leaf::is_interval(c.self_type()))
    {
        return Ok(None);
    }
    // It has been checked before.
    let hints = guard::arrow_schema(metadata).and_then(|message| {
        let options = flatbuffers::VerifierOptions {
            max_tables: message.len() / 8 + 16,
            ..flatbuffers::VerifierOptions::default()
        };
        let message = arrow_ipc::root_as_message_with_opts(&options, &message).ok()?;
        arrow_ipc::convert::try_fb_to_schema(message.header_as_schema()?).ok()
    });
    leaf::without_intervals(columns, hints.as_ref())
}
