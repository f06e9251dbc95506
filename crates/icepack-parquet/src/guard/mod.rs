//! Checks a footer or a page before anything is built from it.
//!
//! The parquet crate has no limits of its own. A file of a few bytes can claim a million columns,
//! and a page can become a thousand times its size. These checks bound the memory that a file
//! takes, and refuse a file with wrong claims by name.

pub mod pages;
pub mod thrift;

use std::panic::{AssertUnwindSafe, catch_unwind};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::basic::Encoding;
use parquet::file::metadata::{
    ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader, ParquetStatisticsPolicy,
    RowGroupMetaData,
};

use pages::Chunk;
use thrift::FooterCost;

/// No footer of a sane file is longer, and a larger one would not fit into the memory that the job
/// is given.
const MAX_FOOTER: u64 = 64 << 20;

/// More rows, or bytes, than these are no file's: sums of such numbers overflow.
const MAX_ROWS: u64 = 1 << 40;
const MAX_BYTES: u64 = 1 << 50;

/// The end of every Parquet file: the footer's length in four bytes, and a magic word.
pub(crate) const TRAILER: usize = 8;

/// Runs `f`, a piece of decoding. The parquet crate checks much, but not everything: damaged or
/// hostile files can make it panic. A panic is the file's fault, and only its own.
pub(crate) fn catch_panic<T>(f: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!(
            "the decoder panicked: {}",
            text.unwrap_or("no message")
        ))
    })
}

/// How many of the last bytes hold the whole footer, by the last eight.
///
/// # Errors
/// Why this is not the end of a Parquet file, in a sentence.
pub fn footer_len(tail: &[u8], size: u64) -> Result<u64, String> {
    if size == 0 {
        return Err("it is empty (0 bytes)".to_owned());
    }
    let Some(trailer) = tail
        .last_chunk::<TRAILER>()
        .filter(|_| size > TRAILER as u64)
    else {
        return Err(format!(
            "it is too short to be a Parquet file ({size} bytes)"
        ));
    };
    match &trailer[4..] {
        b"PAR1" => {}
        b"PARE" => return Err("its footer is encrypted, and icepack has no keys".to_owned()),
        _ => {
            return Err(
                "it is not a Parquet file, or was cut off: it does not end in PAR1".to_owned(),
            );
        }
    }
    let len = u64::from(u32::from_le_bytes([
        trailer[0], trailer[1], trailer[2], trailer[3],
    ])) + TRAILER as u64;
    if len > size {
        return Err(format!(
            "its footer claims {len} bytes, and the file has {size}"
        ));
    }
    if len > MAX_FOOTER {
        return Err(format!(
            "its footer has {len} bytes, more than the {MAX_FOOTER} that are read"
        ));
    }
    Ok(len)
}

/// A footer that has been checked, without statistics: nobody reads them, and a hostile footer can
/// be made of them.
pub(crate) struct Footer {
    /// As it lies in the file, without the trailer.
    bytes: Bytes,
    pub metadata: ParquetMetaData,
    /// Rows that it promises.
    pub rows: u64,
    /// Bytes of all rows once decoded, by what it says.
    pub decoded_bytes: u64,
    /// Bytes that it takes in memory once it is parsed.
    pub memory: u64,
}

/// How the reason begins where a footer takes more memory than there is for it …
pub(crate) const TOO_LARGE: &str = "its footer would take about ";

/// … or has more bytes.
pub(crate) const TOO_LONG: &str = "its footer is too long to be looked at beforehand";

/// Reads the footer at the end of `tail`, for a file of `size` bytes, if it takes no more than
/// `limit` bytes once it is parsed. Every footer comes through here.
///
/// # Errors
/// Why it cannot be believed, in a sentence.
pub(crate) fn footer(tail: &Bytes, size: u64, limit: u64) -> Result<Footer, String> {
    let bytes = footer_bytes_of(tail, size)?;
    let found = thrift::footer_cost(&bytes).map_err(damaged)?;
    if found.encrypted > 0 {
        return Err("columns of it are encrypted, and icepack has no keys".to_owned());
    }
    let memory = memory_of(&found, bytes.len());
    if memory > limit {
        return Err(format!(
            "{TOO_LARGE}{memory} bytes, and there are {limit} for one \
             file: raise `memory_limit`"
        ));
    }
    let metadata = decode(&bytes, &without_statistics()).map_err(damaged)?;
    let (rows, decoded_bytes) = check(&metadata, size).map_err(damaged)?;
    check_arrow_schema(&metadata)?;
    Ok(Footer {
        bytes,
        metadata,
        rows,
        decoded_bytes,
        memory,
    })
}

impl Footer {
    /// Decodes it once more, with what `options` ask for.
    ///
    /// # Errors
    /// The decoder's, in its words.
    pub fn decode(&self, options: &ParquetMetaDataOptions) -> Result<ParquetMetaData, String> {
        decode(&self.bytes, options)
    }
}

/// What a footer is decoded with at first.
pub(crate) fn without_statistics() -> ParquetMetaDataOptions {
    let mut options = ParquetMetaDataOptions::default();
    options.set_column_stats_policy(ParquetStatisticsPolicy::SkipAll);
    options.set_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll);
    options
}

fn decode(bytes: &[u8], options: &ParquetMetaDataOptions) -> Result<ParquetMetaData, String> {
    ParquetMetaDataReader::decode_metadata_with_options(bytes, Some(options))
        .map_err(|e| e.to_string())
}

pub(crate) fn damaged(why: impl std::fmt::Display) -> String {
    format!("its footer is damaged: {why}")
}

/// The footer itself, without the trailer.
fn footer_bytes_of(tail: &Bytes, size: u64) -> Result<Bytes, String> {
    let len = usize::try_from(footer_len(tail, size)?).map_err(|e| e.to_string())?;
    let start = tail
        .len()
        .checked_sub(len)
        .ok_or("its footer is longer than what was read of it")?;
    Ok(tail.slice(start..tail.len() - TRAILER))
}

/// About what a footer takes once it is parsed, with the schemas that are made of it. Measured, and
/// rounded up.
fn memory_of(found: &FooterCost, len: usize) -> u64 {
    found.elements * 1_280 + found.chunks * 704 + found.structs * 64 + len as u64 * 2
}

/// Writers in Arrow's tradition put their own schema beside Parquet's. Its encoding can name one
/// field in a thousand places, each of which becomes a field.
fn check_arrow_schema(metadata: &ParquetMetaData) -> Result<(), String> {
    let Some(message) = arrow_schema(metadata) else {
        return Ok(());
    };
    // A table and what points to it have four bytes each, so one that is named once fits.
    let options = flatbuffers::VerifierOptions {
        max_tables: message.len() / 8 + 16,
        ..flatbuffers::VerifierOptions::default()
    };
    match arrow_ipc::root_as_message_with_opts(&options, &message) {
        Ok(_) => Ok(()),
        Err(e) => Err(format!("its Arrow schema cannot be read: {e}")),
    }
}

/// The message that holds the Arrow schema of a file. What is no base64 is for the decoder to
/// refuse.
pub(crate) fn arrow_schema(metadata: &ParquetMetaData) -> Option<Vec<u8>> {
    let pairs = metadata.file_metadata().key_value_metadata()?;
    let mut bytes = BASE64_STANDARD
        .decode(
            pairs
                .iter()
                .find(|kv| kv.key == ARROW_SCHEMA_META_KEY)?
                .value
                .as_ref()?,
        )
        .ok()?;
    if bytes.starts_with(&[0xff; 4]) {
        bytes.drain(..bytes.len().min(8));
    }
    Some(bytes)
}

/// The rows and decoded bytes that a footer promises, if what it says can be true of a file of
/// `size` bytes.
fn check(metadata: &ParquetMetaData, size: u64) -> Result<(u64, u64), String> {
    let natural = |n: i64, what: &str| u64::try_from(n).map_err(|_| format!("{what} is {n}"));
    let columns = metadata.file_metadata().schema_descr().num_columns();
    let (mut rows, mut decoded) = (0u64, 0u64);
    for (i, group) in metadata.row_groups().iter().enumerate() {
        if group.num_columns() != columns {
            return Err(format!(
                "row group {i} has {} columns, and the schema has {columns}",
                group.num_columns()
            ));
        }
        rows = rows
            .checked_add(natural(group.num_rows(), "a row count")?)
            .ok_or("the row counts overflow")?;
        for chunk in chunks(group, |_| true)? {
            if chunk.range.end > size {
                return Err(format!("a column of row group {i} lies outside the file"));
            }
        }
        for column in group.columns() {
            // What a dictionary unfolds to is only known where the writer says so.
            let bytes = column
                .uncompressed_size()
                .max(column.unencoded_byte_array_data_bytes().unwrap_or(0));
            decoded = decoded.saturating_add(natural(bytes, "a column's size")?);
        }
    }
    let total = natural(metadata.file_metadata().num_rows(), "the row count")?;
    if rows != total {
        return Err(format!("it promises {total} rows, its row groups {rows}"));
    }
    if rows > MAX_ROWS || decoded > MAX_BYTES {
        return Err(format!("it promises {rows} rows of {decoded} bytes"));
    }
    Ok((rows, decoded))
}

pub(crate) fn chunks(
    group: &RowGroupMetaData,
    wanted: impl Fn(usize) -> bool,
) -> Result<Vec<Chunk>, String> {
    let mut chunks = Vec::with_capacity(group.num_columns());
    for (i, column) in group
        .columns()
        .iter()
        .enumerate()
        .filter(|(i, _)| wanted(*i))
    {
        let start = column
            .dictionary_page_offset()
            .unwrap_or_else(|| column.data_page_offset());
        let range = u64::try_from(start)
            .ok()
            .zip(u64::try_from(column.compressed_size()).ok())
            .and_then(|(start, len)| Some(start..start.checked_add(len)?));
        chunks.push(Chunk {
            range: range.ok_or_else(|| format!("column {i} has a negative place or size"))?,
            uncompressed: u64::try_from(column.uncompressed_size()).unwrap_or(0),
            delta: column.encodings().any(|e| e == Encoding::DELTA_BYTE_ARRAY),
            repeated: column.column_descr().max_rep_level() > 0,
            compression: column.compression(),
        });
    }
    Ok(chunks)
}
