//! Computes the memory that the pages of a file take, before they are decompressed. A page header
//! may claim anything, and a compressed page may become a thousand times its size.

use std::io::{self, Read};
use std::ops::Range;

use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use parquet::basic::Compression;

use super::thrift::{self, Page};

/// Pages up to this are read whatever their column's size in the footer says: some writers get that
/// wrong.
const SMALL: u64 = 1 << 20;

/// Bytes for a value that may repeat: its levels, and its place in an array.
const REPEATED: u64 = 12;

/// The encoding whose values repeat the beginning of the one before: a page of it stands for any
/// number of values of its own size.
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

/// Why a page is not decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The file contradicts itself.
    Damaged(String),
    /// The whole reason, which is another than that the file cannot be decoded.
    Because(String),
}

impl From<&str> for Refusal {
    fn from(why: &str) -> Self {
        Self::Damaged(why.to_owned())
    }
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self::Damaged(why)
    }
}

/// A page header, and where its page begins.
type Headed = (u64, Page);

#[derive(Debug)]
struct Held {
    chunk: Chunk,
    /// Where the header begins that is read, and its bytes as far as the decoder has taken them.
    header: (u64, Vec<u8>),
    /// The header of the dictionary. A decoder that skips rows takes that page only once a value
    /// needs it, after others that lie behind it.
    dictionary_header: Option<Headed>,
    page: u64,
    dictionary: u64,
    /// All pages so far.
    seen: u64,
}

impl Held {
    fn new(chunk: Chunk) -> Self {
        Self {
            chunk,
            header: (0, Vec::new()),
            dictionary_header: None,
            page: 0,
            dictionary: 0,
            seen: 0,
        }
    }

    /// The header before the page at `at`, if it was read.
    fn headed(&self, at: u64) -> Option<Result<Page, String>> {
        let (start, bytes) = &self.header;
        if !bytes.is_empty() && start + bytes.len() as u64 == at {
            return Some(
                thrift::page(bytes)
                    .map(|(page, _)| page)
                    .map_err(|why| format!("a page header cannot be read: {why}")),
            );
        }
        self.dictionary_header
            .filter(|(page, _)| *page == at)
            .map(|(_, page)| Ok(page))
    }

    /// Makes room for the header at `start`. The page of the one before was read or skipped.
    fn begin_header(&mut self, start: u64) {
        let (old, bytes) = &mut self.header;
        if let Ok((page, len)) = thrift::page(bytes)
            && page.dictionary
        {
            self.dictionary_header = Some((*old + len as u64, page));
        }
        *old = start;
        bytes.clear();
    }
}

impl Account {
    /// For the columns of a row group, with so many bytes for all of them.
    pub fn new(chunks: impl IntoIterator<Item = Chunk>, limit: u64) -> Self {
        Self {
            columns: chunks.into_iter().map(Held::new).collect(),
            limit,
        }
    }

    /// Bytes that all pages may take at once.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// The decoder begins to read the header at `start`: of which column that is.
    pub fn begin_header(&mut self, start: u64) -> Option<usize> {
        let column = self
            .columns
            .iter()
            .position(|c| c.chunk.range.contains(&start))?;
        self.columns[column].begin_header(start);
        Some(column)
    }

    /// It has taken so much more of the header of this column.
    pub fn push_header(&mut self, column: usize, bytes: &[u8]) {
        if let Some(held) = self.columns.get_mut(column) {
            held.header.1.extend_from_slice(bytes);
        }
    }

    /// Enters the page at `at`, whose header has been read, and says how it is compressed; none
    /// where no column of the row group at hand is there.
    ///
    /// # Errors
    /// Why it must not be decompressed.
    pub fn enter(&mut self, at: u64) -> Result<Option<(Page, Compression)>, Refusal> {
        // A page of no bytes lies where the next column begins, so the header says whose it is.
        let Some((column, page)) = self
            .columns
            .iter()
            .enumerate()
            .find_map(|(i, c)| Some((i, c.headed(at)?)))
        else {
            let is_inside = self.columns.iter().any(|c| c.chunk.range.contains(&at));
            return if is_inside {
                Err("a page without a header is wanted".into())
            } else {
                Ok(None)
            };
        };
        let (page, held) = (page?, &mut self.columns[column]);
        let compression = held.chunk.compression;
        let claimed = page.uncompressed;
        held.seen = held.seen.saturating_add(claimed);
        if held.seen > held.chunk.uncompressed.saturating_add(SMALL) {
            let (seen, footer) = (held.seen, held.chunk.uncompressed);
            return Err(Refusal::Because(format!(
                "its pages claim {seen} bytes, and their column has {footer} by the footer: write \
                 it anew"
            )));
        }
        if page.encoding == DELTA_BYTE_ARRAY && !held.chunk.delta {
            return Err(Refusal::Because(
                "a page is encoded otherwise than the footer says: write it anew".to_owned(),
            ));
        }
        let values = if held.chunk.repeated {
            page.values * REPEATED
        } else {
            0
        };
        let bytes = claimed.max(page.compressed) + values;
        if page.dictionary {
            held.dictionary = bytes;
        } else {
            held.page = bytes;
        }
        let all: u64 = self.columns.iter().map(|c| c.page + c.dictionary).sum();
        if all > self.limit {
            let why = format!(
                "its pages take {all} bytes at once, and there are {} for one file: raise \
                 `memory_limit`",
                self.limit
            );
            return Err(Refusal::Because(why));
        }
        Ok(Some((page, compression)))
    }
}

/// Makes sure that a page is what its writer put there, where the header has a checksum.
///
/// # Errors
/// Where it is not.
pub fn check_sum(page: &Page, at: u64, bytes: &[u8]) -> Result<(), Refusal> {
    match page.checksum {
        Some(sum) if crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, bytes) != u64::from(sum) => {
            Err(Refusal::Because(format!(
                "the page at byte {at} does not match its checksum: it was changed after it was \
                 written"
            )))
        }
        _ => Ok(()),
    }
}

/// Makes sure that a compressed page inflates to no more than its header says. The decoders of
/// these formats go on to the end, however far that is; those of the others stop.
///
/// # Errors
/// Where it does not.
pub fn check_inflation(
    compression: Compression,
    page: &Page,
    bytes: &Bytes,
    limit: u64,
) -> Result<(), Refusal> {
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
    let levels = usize::try_from(page.levels)
        .unwrap_or(usize::MAX)
        .min(bytes.len());
    let body = &bytes[levels..];
    let want = page.uncompressed.saturating_sub(page.levels);
    let has = match compression {
        Compression::GZIP(_) => count(flate2::read::MultiGzDecoder::new(body), want),
        Compression::BROTLI(_) => count(brotli::Decompressor::new(body, 64 << 10), want),
        // The framing of Hadoop stops where it says; a frame of LZ4's own goes on.
        _ if body.starts_with(&[0x04, 0x22, 0x4d, 0x18]) => {
            count(lz4_flex::frame::FrameDecoder::new(body), want)
        }
        _ => return Ok(()),
    };
    match has {
        // What cannot be decompressed is for the decoder to say.
        Ok(n) if n > want => Err(format!("a page claims {want} bytes and inflates to more").into()),
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

/// The most that [`Account`] would count for a column chunk whose bytes are at hand: its largest
/// page and its dictionary. None where its headers make no sense.
pub fn largest(chunk: &[u8], repeated: bool) -> Option<u64> {
    let (mut rest, mut dictionary, mut largest) = (chunk, 0, 0);
    while !rest.is_empty() {
        let (page, header) = thrift::page(rest).ok()?;
        let bytes = page.uncompressed.max(page.compressed)
            + if repeated {
                page.values.saturating_mul(REPEATED)
            } else {
                0
            };
        if page.dictionary {
            dictionary = bytes;
        } else {
            largest = bytes.max(largest);
        }
        rest = rest.get(header + usize::try_from(page.compressed).ok()?..)?;
    }
    Some(dictionary + largest)
}

#[cfg(test)]
mod tests;
