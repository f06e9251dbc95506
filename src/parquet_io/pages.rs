//! What the pages of a file take in memory, counted before they are decompressed. A page header may claim anything, and a compressed page may hold
//! a thousand times its size.

use std::io::{self, Read};
use std::ops::Range;

use bytes::Bytes;
use parquet::basic::Compression;

use super::thrift::{self, Page};

/// Pages up to this are read whatever their column's size in the footer says: some writers get that wrong.
const SMALL: u64 = 1 << 20;

/// Bytes for a value that may repeat: its levels, and its place in an array.
const REPEATED: u64 = 12;

/// The encoding whose values repeat the beginning of the one before: a page of it stands for any number of values of its own size.
const DELTA_BYTE_ARRAY: i64 = 7;

/// A column of the row group at hand.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Its place in the file.
    pub range: Range<u64>,
    /// Its bytes once decompressed, by the footer.
    pub uncompressed: u64,
    /// Whether a row may have many values.
    pub repeated: bool,
    /// Whether its values may be `DELTA_BYTE_ARRAY`, by the footer.
    pub delta: bool,
    /// How it is compressed.
    pub compression: Compression,
}

/// Counts the pages that the decoder holds at once: of each column one, and a dictionary.
#[derive(Debug, Default)]
pub struct Account {
    columns: Vec<Held>,
    limit: u64,
}

#[derive(Debug)]
struct Held {
    chunk: Chunk,
    page: u64,
    dictionary: u64,
    /// All pages so far.
    seen: u64,
}

impl Account {
    /// For the columns of a row group, with so many bytes for all of them.
    pub fn new(chunks: impl IntoIterator<Item = Chunk>, limit: u64) -> Self {
        Self { columns: chunks.into_iter().map(|chunk| Held { chunk, page: 0, dictionary: 0, seen: 0 }).collect(), limit }
    }

    /// The column chunk that holds the byte at `at`.
    pub fn chunk_at(&self, at: u64) -> Option<&Chunk> {
        self.columns.iter().map(|c| &c.chunk).find(|c| c.range.contains(&at))
    }

    /// Enters the page at `at`, which the header `page` comes before.
    ///
    /// # Errors
    /// Why it must not be decompressed.
    pub fn enter(&mut self, at: u64, page: &Page) -> Result<(), String> {
        let Some(held) = self.columns.iter_mut().find(|c| c.chunk.range.contains(&at)) else { return Ok(()) };
        let claimed = page.uncompressed;
        held.seen = held.seen.saturating_add(claimed);
        if held.seen > held.chunk.uncompressed.saturating_add(SMALL) {
            return Err(format!("its pages claim {} bytes, and their column has {} by the footer", held.seen, held.chunk.uncompressed));
        }
        if page.encoding == DELTA_BYTE_ARRAY && !held.chunk.delta {
            return Err("a page is encoded otherwise than the footer says".to_owned());
        }
        let values = if held.chunk.repeated { page.values * REPEATED } else { 0 };
        let bytes = claimed.max(page.compressed) + values;
        if page.dictionary {
            held.dictionary = bytes;
        } else {
            held.page = bytes;
        }
        let all: u64 = self.columns.iter().map(|c| c.page + c.dictionary).sum();
        if all > self.limit {
            return Err(format!("its pages take {all} bytes at once, and there are {} for one file: raise `memory_limit`", self.limit));
        }
        Ok(())
    }
}

/// Makes sure that a compressed page inflates to no more than its header says. The decoders of these formats go on to the end, however far that is; those of
/// the others stop.
///
/// # Errors
/// Where it does not.
pub fn check_inflation(compression: Compression, page: &Page, bytes: &Bytes, limit: u64) -> Result<(), String> {
    // The most that a byte of each can become.
    let most = match compression {
        Compression::GZIP(_) => 1_032,
        Compression::BROTLI(_) => u64::MAX,
        Compression::LZ4 => 255,
        _ => return Ok(()),
    };
    if page.plain || (bytes.len() as u64).saturating_mul(most) <= limit {
        return Ok(());
    }
    let levels = usize::try_from(page.levels).unwrap_or(usize::MAX).min(bytes.len());
    let body = &bytes[levels..];
    let want = page.uncompressed.saturating_sub(page.levels);
    let has = match compression {
        Compression::GZIP(_) => count(flate2::read::MultiGzDecoder::new(body), want),
        Compression::BROTLI(_) => count(brotli::Decompressor::new(body, 64 << 10), want),
        // The framing of Hadoop stops where it says; a frame of LZ4's own goes on.
        _ if body.starts_with(&[0x04, 0x22, 0x4d, 0x18]) => count(lz4_flex::frame::FrameDecoder::new(body), want),
        _ => return Ok(()),
    };
    match has {
        // What cannot be decompressed is for the decoder to say.
        Ok(n) if n > want => Err(format!("a page claims {want} bytes and inflates to more")),
        _ => Ok(()),
    }
}

/// Reads on until there are more than `want` bytes, and keeps none of them.
fn count(mut from: impl Read, want: u64) -> io::Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut total = 0;
    while total <= want {
        match from.read(&mut buffer)? {
            0 => break,
            n => total += n as u64,
        }
    }
    Ok(total)
}

/// The most that [`Account`] would count for a column chunk whose bytes are at hand: its largest page and its dictionary. None where its headers make no sense.
pub fn largest(chunk: &[u8], repeated: bool) -> Option<u64> {
    let (mut rest, mut dictionary, mut largest) = (chunk, 0, 0);
    while !rest.is_empty() {
        let (page, header) = thrift::page(rest).ok()?;
        let bytes = page.uncompressed.max(page.compressed) + if repeated { page.values.saturating_mul(REPEATED) } else { 0 };
        if page.dictionary {
            dictionary = bytes;
        } else {
            largest = bytes.max(largest);
        }
        rest = rest.get(header + usize::try_from(page.compressed).ok()?..)?;
    }
    Some(dictionary + largest)
}
