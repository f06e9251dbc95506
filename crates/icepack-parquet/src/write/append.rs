//! Row groups copied from one file to another of the same columns, byte for byte: neither
//! decompressed nor decoded.
//!
//! What describes them in the footer (statistics, encodings, the index of pages) is copied too,
//! with its offsets moved. Only what this crate wrote is copied, and only where the footer leaves
//! no doubt of what it would become; anything else is decoded, which finds what is wrong with it.

use std::collections::HashMap;
use std::io::{self, Read};
use std::mem::discriminant;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::{Schema, TimeUnit};
use bytes::{Buf, Bytes};
use parquet::basic::Encoding;
use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataOptions,
    ParquetMetaDataReader, ParquetStatisticsPolicy, RowGroupMetaData, SortingColumn,
};
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;

use crate::error::{Error, Result};
use crate::guard::{self, catch_panic};
use crate::leaf::{self, parquet_schema};
use crate::read::Closed;
use crate::source::Chunks;
use crate::time::{Dater, ceil_micros, floor_micros};
use crate::write::encoding::compression;
use crate::write::{CREATED_BY_US, prints};
use icepack_core::model::file::{Fingerprint, RowStats};
use icepack_core::model::policy::Codec;

/// About how many times its bytes an index of pages takes once it is parsed.
const INDEX_COST: u64 = 8;

/// Bytes that the bloom filters of a copied row group may take: they are in memory with it.
const FILTER_BYTES: u64 = 8 << 20;

/// A file that can be copied.
pub struct Copyable {
    groups: Groups,
    chunks: Chunks,
    body: Range<u64>,
}

impl Copyable {
    /// Looks at the footer and at the index of pages of `file`, which must be sorted by what `dater`
    /// dates its rows by and have the columns of `schema`, and bloom filters of the columns
    /// `filtered`. The inner error says why it has to be decoded, in a sentence.
    ///
    /// # Errors
    /// The store's or the disk's.
    pub fn open(
        file: &Closed,
        schema: &Schema,
        dater: &Dater,
        filtered: &[String],
    ) -> Result<Result<Self, String>> {
        let Some(column) = dater.told_by_footer() else {
            return Ok(Err("its footer does not tell times of this kind".to_owned()));
        };
        let (chunks, tail) = file.raw()?;
        let metadata = catch_panic(|| metadata(file, &chunks, &tail));
        if let Some(fault) = chunks.take_fault() {
            return Err(fault);
        }
        Ok(metadata.and_then(|metadata| {
            Self::of(
                metadata,
                file,
                chunks,
                schema,
                (column, dater.unit()),
                filtered,
            )
        }))
    }

    fn of(
        metadata: ParquetMetaData,
        file: &Closed,
        chunks: Chunks,
        schema: &Schema,
        (column, unit): (&str, TimeUnit),
        filtered: &[String],
    ) -> Result<Self, String> {
        let written = metadata.file_metadata();
        let table = parquet_schema(schema).map_err(|e| e.to_string())?;
        if table.root_schema() != written.schema_descr().root_schema() {
            return Err("its columns are others than the snapshot's".to_owned());
        }
        let place = table
            .columns()
            .iter()
            .position(|c| c.path().parts() == [column])
            .ok_or("it has no times")?;
        let (prints, within) = (prints::of(&metadata), 0..metadata.num_row_groups());
        let groups = Groups {
            blooms: leaf::blooms(schema, &table, filtered),
            chunks: chunks.clone(),
            metadata,
            leaf: place,
            unit,
            prints,
            within,
        };
        let body = groups.body(file.ident.size)?;
        groups.check_filters(file.ident.size)?;
        groups.check_order()?;
        groups.check_index()?;
        Ok(Self {
            groups,
            chunks,
            body,
        })
    }

    /// The row groups of the file.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The same file with only these row groups. None where there is no such row group.
    #[must_use]
    pub fn only(mut self, within: Range<usize>) -> Option<Self> {
        self.groups.within = within;
        self.body = self.groups.body(self.body.end).ok()?;
        Some(self)
    }

    /// The row groups, the way in for their bytes, and the way out.
    pub fn start(self, window: u64) -> (Groups, Windows, SyncSender<Bytes>, Incoming) {
        // Without a queue: while one window is written, the next is fetched, and no third is held.
        let (sender, receiver) = sync_channel(0);
        let at = self.body.start;
        let windows = Windows {
            chunks: self.chunks,
            left: self.body,
            window: window.max(1),
        };
        (
            self.groups,
            windows,
            sender,
            Incoming(Arc::new(Mutex::new(Held {
                receiver,
                at,
                bytes: Bytes::new(),
                is_cut_off: false,
            }))),
        )
    }
}

/// Reads the footer again, with what a decoder has no use for.
fn metadata(file: &Closed, chunks: &Chunks, tail: &Bytes) -> Result<ParquetMetaData, String> {
    let size = file.ident.size;
    let footer = guard::footer(tail, size, file.limit())?;
    let mut options = ParquetMetaDataOptions::default();
    options.set_column_stats_policy(ParquetStatisticsPolicy::KeepAll);
    options.set_encoding_stats_policy(ParquetStatisticsPolicy::KeepAll);
    // As a mask they could not be written again.
    options.set_encoding_stats_as_mask(false);
    let metadata = footer.decode(&options)?;
    if !metadata
        .file_metadata()
        .created_by()
        .is_some_and(|name| name.starts_with(CREATED_BY_US))
    {
        return Err("another program wrote it".to_owned());
    }
    check_index_size(&metadata, size, file.limit())?;
    let mut reader = ParquetMetaDataReader::new_with_metadata(metadata)
        .with_page_index_policy(PageIndexPolicy::Required);
    reader
        .read_page_indexes(chunks)
        .map_err(|e| format!("its index of pages cannot be read: {e}"))?;
    reader.finish().map_err(|e| e.to_string())
}

/// The index is read in one piece.
fn check_index_size(metadata: &ParquetMetaData, size: u64, limit: u64) -> Result<(), String> {
    let (mut from, mut to) = (u64::MAX, 0);
    for column in metadata
        .row_groups()
        .iter()
        .flat_map(RowGroupMetaData::columns)
    {
        let place = |offset: Option<i64>, length: Option<i32>| {
            let start = u64::try_from(offset?).ok()?;
            Some(start..start.checked_add(u64::try_from(length?).ok()?)?)
        };
        let ranges = [
            place(column.column_index_offset(), column.column_index_length()),
            place(column.offset_index_offset(), column.offset_index_length()),
        ];
        for range in ranges {
            let range = range
                .filter(|r| r.end <= size)
                .ok_or("it has no index of pages")?;
            (from, to) = (range.start.min(from), range.end.max(to));
        }
    }
    let cost = to.saturating_sub(from).saturating_mul(INDEX_COST);
    if cost > limit {
        Err(format!("its index of pages would take about {cost} bytes"))
    } else {
        Ok(())
    }
}

/// Row groups of a file that is copied, one after the other.
pub struct Groups {
    metadata: ParquetMetaData,
    /// The column that it is sorted by, and its unit.
    leaf: usize,
    unit: TimeUnit,
    /// Of all row groups of the file, where it says so.
    prints: Option<Vec<Fingerprint>>,
    within: Range<usize>,
    /// The leaves whose bloom filters are copied, and where they are read from.
    blooms: Vec<bool>,
    chunks: Chunks,
}

impl Groups {
    /// How many.
    pub fn len(&self) -> usize {
        self.all().len()
    }

    fn all(&self) -> &[RowGroupMetaData] {
        self.metadata
            .row_groups()
            .get(self.within.clone())
            .unwrap_or_default()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows of these row groups.
    pub fn rows(&self) -> u64 {
        self.all().iter().map(rows).sum()
    }

    /// The statistics of the rows of one row group; none where the file does not have its
    /// fingerprint.
    pub fn stats(&self, group: usize) -> Option<RowStats> {
        let own = self.row_group(group)?;
        let (min, max) = self.times(own).ok()?;
        let (min, max) = (floor_micros(min, self.unit), ceil_micros(max, self.unit));
        Some(RowStats {
            rows: rows(own),
            undated: 0,
            min: Some(min),
            max: Some(max),
            fingerprint: self.fingerprint(group)?,
        })
    }

    pub(crate) fn fingerprint(&self, group: usize) -> Option<Fingerprint> {
        self.prints
            .as_ref()?
            .get(self.within.start + group)
            .copied()
    }

    /// The bytes of one of them.
    pub fn bytes(&self, group: usize) -> u64 {
        self.row_group(group)
            .map_or(0, |g| u64::try_from(g.compressed_size()).unwrap_or(0))
    }

    /// Whether any of their columns is encoded as deltas.
    pub fn has_deltas(&self) -> bool {
        let is_delta = |e| {
            matches!(
                e,
                Encoding::DELTA_BINARY_PACKED
                    | Encoding::DELTA_LENGTH_BYTE_ARRAY
                    | Encoding::DELTA_BYTE_ARRAY
            )
        };
        self.all()
            .iter()
            .flat_map(RowGroupMetaData::columns)
            .any(|c| c.encodings().any(is_delta))
    }

    /// Whether all columns are compressed by what `codec` says of their names. Levels are not known.
    pub fn are_compressed_by(&self, codec: &dyn Fn(&str) -> Codec) -> bool {
        let mut columns = self.all().iter().flat_map(RowGroupMetaData::columns);
        columns.all(|c| {
            let name = c.column_path().parts().first().map_or("", String::as_str);
            discriminant(&c.compression()) == discriminant(&compression(codec(name)))
        })
    }

    /// The bytes of the largest.
    pub fn largest(&self) -> u64 {
        (0..self.len()).map(|g| self.bytes(g)).max().unwrap_or(0)
    }

    /// The first and the last time, and its unit.
    pub fn span(&self) -> Option<(i64, i64, TimeUnit)> {
        let (first, last) = (self.all().first()?, self.all().last()?);
        Some((
            self.times(first).ok()?.0,
            self.times(last).ok()?.1,
            self.unit,
        ))
    }

    pub(crate) fn row_group(&self, group: usize) -> Option<&RowGroupMetaData> {
        self.all().get(group)
    }

    /// What describes the columns of a row group, as if they had just been written.
    ///
    /// # Errors
    /// The store's or the disk's; or of a bloom filter that is none.
    pub(crate) fn columns(&self, group: usize) -> Result<Vec<ColumnCloseResult>> {
        let index = self
            .metadata
            .page_index_for_row_group(self.within.start + group);
        let Some(group) = self.row_group(group) else {
            return Ok(Vec::new());
        };
        let mut filters = self.filters(group)?;
        let mut closed = |(leaf, column): (usize, &ColumnChunkMetaData)| ColumnCloseResult {
            bytes_written: u64::try_from(column.compressed_size()).unwrap_or(0),
            rows_written: rows(group),
            metadata: column.clone(),
            bloom_filter: filters.remove(&leaf),
            column_index: index.column_index(leaf).cloned(),
            offset_index: index.offset_index(leaf).cloned(),
        };
        Ok(group
            .columns()
            .iter()
            .enumerate()
            .map(&mut closed)
            .collect())
    }

    /// The bloom filters that go along with a row group, by leaf. They lie behind it, in one
    /// stretch.
    fn filters(&self, group: &RowGroupMetaData) -> Result<HashMap<usize, Sbbf>> {
        let wanted: Vec<(usize, Range<u64>)> = self
            .wanted(group)
            .filter_map(|(leaf, column)| Some((leaf, filter(column)?)))
            .collect();
        let Some(start) = wanted.iter().map(|(_, r)| r.start).min() else {
            return Ok(HashMap::new());
        };
        let end = wanted.iter().map(|(_, r)| r.end).max().unwrap_or(start);
        let bytes = self.chunks.range(start..end)?;
        let parsed = wanted.into_iter().map(|(leaf, range)| {
            let place = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX);
            let own = bytes.get(place(range.start)..place(range.end));
            let read = Sbbf::from_bytes(own.unwrap_or_default());
            read.map(|filter| (leaf, filter))
        });
        parsed
            .collect::<Result<_, ParquetError>>()
            .map_err(|e| Error::local("cannot copy a bloom filter", e))
    }

    /// The columns of a row group whose bloom filters are copied.
    fn wanted<'a>(
        &'a self,
        group: &'a RowGroupMetaData,
    ) -> impl Iterator<Item = (usize, &'a ColumnChunkMetaData)> {
        let columns = group.columns().iter().enumerate();
        columns.filter(|(leaf, _)| self.blooms.get(*leaf) == Some(&true))
    }

    /// What is copied has the filters that the rest of the file has, and in little space.
    fn check_filters(&self, size: u64) -> Result<(), String> {
        for group in self.metadata.row_groups() {
            let mut bytes = 0;
            for (_, column) in self.wanted(group) {
                let range = filter(column)
                    .filter(|r| r.start < r.end && r.end <= size)
                    .ok_or("it has not all bloom filters that it is to have")?;
                bytes += range.end - range.start;
            }
            if bytes > FILTER_BYTES {
                return Err(format!(
                    "its bloom filters have {bytes} bytes in one row group"
                ));
            }
        }
        Ok(())
    }

    /// Where their bytes are: one stretch, column after column, so that they can be read from front
    /// to back. Behind a row group are its bloom filters.
    fn body(&self, size: u64) -> Result<Range<u64>, String> {
        let mut body: Option<Range<u64>> = None;
        let mut filters = Vec::new();
        for group in self.all() {
            for column in group.columns() {
                let range = place(column)
                    .filter(|r| r.start < r.end && r.end <= size)
                    .ok_or("a column of it lies outside the file")?;
                if column.file_path().is_some() {
                    return Err("it has parts that would not be copied".to_owned());
                }
                let before = body.unwrap_or(range.start..range.start);
                if behind(before.end, std::mem::take(&mut filters)) != range.start {
                    return Err("its columns do not lie one after the other".to_owned());
                }
                body = Some(before.start..range.end);
            }
            filters = group.columns().iter().filter_map(filter).collect();
        }
        body.ok_or_else(|| "it has no rows".to_owned())
    }

    /// Row groups that say they are sorted, and whose times agree with that.
    fn check_order(&self) -> Result<(), String> {
        let sorted = i32::try_from(self.leaf).ok().map(|column_idx| {
            vec![SortingColumn {
                column_idx,
                descending: false,
                nulls_first: true,
            }]
        });
        let mut last = i64::MIN;
        for group in self.metadata.row_groups() {
            if sorted.is_none() || group.sorting_columns() != sorted.as_ref() {
                return Err("it does not say that it is sorted".to_owned());
            }
            let (min, max) = self.times(group)?;
            if min < last || max < min {
                return Err("the times in its footer are not in order".to_owned());
            }
            last = max;
        }
        Ok(())
    }

    /// The first and the last time of a row group without rows that have none.
    fn times(&self, group: &RowGroupMetaData) -> Result<(i64, i64), String> {
        let found = match group
            .columns()
            .get(self.leaf)
            .and_then(ColumnChunkMetaData::statistics)
        {
            Some(Statistics::Int64(s))
                if s.null_count_opt() == Some(0) && s.min_is_exact() && s.max_is_exact() =>
            {
                s.min_opt().copied().zip(s.max_opt().copied())
            }
            _ => None,
        };
        found.ok_or_else(|| "its footer does not say which times it holds".to_owned())
    }

    /// Readers follow the index to pages: it must point into its column.
    fn check_index(&self) -> Result<(), String> {
        for (i, group) in self.metadata.row_groups().iter().enumerate() {
            let index = self.metadata.page_index_for_row_group(i);
            for (leaf, column) in group.columns().iter().enumerate() {
                let (Some(_), Some(pages), Some(place)) = (
                    index.column_index(leaf),
                    index.offset_index(leaf),
                    place(column),
                ) else {
                    return Err("it has no index of pages".to_owned());
                };
                if !is_within(pages, &place, group.num_rows()) {
                    return Err("its index of pages does not fit to its columns".to_owned());
                }
            }
        }
        Ok(())
    }
}

fn rows(group: &RowGroupMetaData) -> u64 {
    u64::try_from(group.num_rows()).unwrap_or(0)
}

/// Where a column's bytes are.
fn place(column: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let start = u64::try_from(
        column
            .dictionary_page_offset()
            .unwrap_or_else(|| column.data_page_offset()),
    )
    .ok()?;
    Some(start..start.checked_add(u64::try_from(column.compressed_size()).ok()?)?)
}

/// Where its bloom filter is.
fn filter(column: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let start = u64::try_from(column.bloom_filter_offset()?).ok()?;
    let length = u64::try_from(column.bloom_filter_length()?).ok()?;
    Some(start..start.checked_add(length)?)
}

/// Where filters end that lie one after the other from `at`.
fn behind(at: u64, mut filters: Vec<Range<u64>>) -> u64 {
    filters.sort_by_key(|r| r.start);
    let next = |at: u64, filter: Range<u64>| if filter.start == at { filter.end } else { at };
    filters.into_iter().fold(at, next)
}

fn is_within(pages: &OffsetIndexMetaData, column: &Range<u64>, rows: i64) -> bool {
    let (mut at, mut row) = (column.start, -1);
    pages.page_locations().iter().all(|page| {
        let range = u64::try_from(page.offset)
            .ok()
            .zip(u64::try_from(page.compressed_page_size).ok());
        let fits = range
            .is_some_and(|(start, len)| at <= start && start.saturating_add(len) <= column.end)
            && row < page.first_row_index
            && page.first_row_index < rows;
        at = range.map_or(u64::MAX, |(start, len)| start.saturating_add(len));
        row = page.first_row_index;
        fits
    })
}

/// Reads a file's row groups from front to back, in few large requests.
pub struct Windows {
    chunks: Chunks,
    left: Range<u64>,
    window: u64,
}

impl Windows {
    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// The store's or the disk's.
    pub fn next_bytes(&mut self) -> Result<Option<Bytes>> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let end = self
            .left
            .end
            .min(self.left.start.saturating_add(self.window));
        let bytes = self.chunks.range(self.left.start..end)?;
        self.left.start = end;
        Ok(Some(bytes))
    }
}

/// The bytes of row groups on their way from one thread to another.
#[derive(Clone)]
pub struct Incoming(Arc<Mutex<Held>>);

struct Held {
    receiver: Receiver<Bytes>,
    /// Where in their file the next bytes are from.
    at: u64,
    bytes: Bytes,
    is_cut_off: bool,
}

impl Incoming {
    /// Whether more bytes were wanted than came: whoever should have sent them has failed, or was
    /// stopped.
    pub fn is_cut_off(&self) -> bool {
        self.held().is_cut_off
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for Incoming {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut held = self.held();
        if !held.fill() {
            return Ok(0);
        }
        let n = out.len().min(held.bytes.len());
        held.bytes.copy_to_slice(&mut out[..n]);
        held.at += n as u64;
        Ok(n)
    }
}

impl Held {
    /// Waits for bytes, if there are none; false where none come any more.
    fn fill(&mut self) -> bool {
        while self.bytes.is_empty() {
            match self.receiver.recv() {
                Ok(more) => self.bytes = more,
                Err(_) => {
                    self.is_cut_off = true;
                    return false;
                }
            }
        }
        true
    }

    /// Drops what lies before `start`: filters behind a row group.
    fn skip_to(&mut self, start: u64) {
        while self.at < start && self.fill() {
            let left = usize::try_from(start - self.at).unwrap_or(usize::MAX);
            let n = left.min(self.bytes.len());
            self.bytes.advance(n);
            self.at += n as u64;
        }
    }
}

impl Length for Incoming {
    fn len(&self) -> u64 {
        0
    }
}

impl ChunkReader for Incoming {
    type T = Self;

    /// Columns are asked for in the order in which they lie in the file.
    fn get_read(&self, start: u64) -> parquet::errors::Result<Self> {
        self.held().skip_to(start);
        Ok(self.clone())
    }

    fn get_bytes(&self, _start: u64, _length: usize) -> parquet::errors::Result<Bytes> {
        Err(ParquetError::General(
            "a column that is being copied can only be read once".to_owned(),
        ))
    }
}
