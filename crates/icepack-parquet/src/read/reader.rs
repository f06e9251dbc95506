//! The rows of an input, in batches of bounded size.

use std::collections::BTreeMap;
use std::iter;
use std::ops::Range;

use arrow::array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::exact::Rule;
use super::{BATCH_ROWS, Input};
use crate::error::{Error, Result};
use crate::guard::pages::Chunk;
use crate::guard::{catch_panic, chunks};
use crate::source::Chunks;
use crate::views::{self, Slices};

/// The page of common writers, and what a batch of values that are each as long as one may take.
const DELTA_PAGE: u64 = 1 << 20;
const MOST_DELTA: u64 = 128 << 20;

/// Reads one file's rows, a row group at a time, so that no more than one is held of a remote file.
pub struct Reader {
    input: Input,
    chunks: Chunks,
    mask: ProjectionMask,
    batch_rows: u64,
    batch_bytes: u64,
    group: usize,
    /// The first row group that is not read.
    end: usize,
    /// Rows of the current group.
    delivered: u64,
    decoder: Option<ParquetRecordBatchReader>,
    /// What has been decoded, on its way out.
    slices: Option<Slices>,
}

impl Reader {
    /// Of all row groups, with the columns of `mask`, in batches of about so many rows and bytes.
    pub(crate) fn new(
        input: Input,
        chunks: Chunks,
        mask: ProjectionMask,
        batch_rows: u64,
        batch_bytes: u64,
    ) -> Self {
        let end = input.metadata().num_row_groups();
        Self {
            input,
            chunks,
            mask,
            batch_rows,
            batch_bytes,
            group: 0,
            end,
            delivered: 0,
            decoder: None,
            slices: None,
        }
    }

    /// Reads no other row groups than these, of those that there are.
    #[must_use]
    pub fn only(mut self, groups: Range<usize>) -> Self {
        (self.group, self.end) = (groups.start, groups.end.min(self.end));
        self
    }

    /// The next rows; none when all have been read.
    ///
    /// # Errors
    /// [`Error::Input`] where the file is damaged or holds another number of rows than its footer
    /// says; else the store's or the disk's.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let Some(batch) = self.next_views()? else {
            return Ok(None);
        };
        views::like(&batch, &self.input.schema)
            .map(Some)
            .map_err(|reason| self.input.ident.bad(reason))
    }

    /// Like [`Self::next_batch`], with the strings of its columns as views into the pages.
    ///
    /// # Errors
    /// As [`Self::next_batch`].
    pub fn next_views(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(slices) = &mut self.slices {
                match slices.next() {
                    Some(batch) => return Ok(Some(batch)),
                    None => self.slices = None,
                }
            }
            if self.group >= self.end {
                return Ok(None);
            }
            if self.decoder.is_none() {
                self.start()?;
            }
            match self.decode() {
                Ok(Some(batch)) => {
                    self.took(&batch)?;
                    self.slices = Some(Slices::new(batch, 2 * self.batch_bytes));
                }
                Ok(None) => self.finish_group()?,
                Err(reason) => self.recover(reason)?,
            }
        }
    }

    fn group_rows(&self) -> u64 {
        u64::try_from(self.input.metadata().row_group(self.group).num_rows()).unwrap_or(0)
    }

    fn start(&mut self) -> Result<()> {
        let group = self.input.metadata().row_group(self.group);
        let chunks = chunks(group, |leaf| self.mask.leaf_included(leaf))
            .map_err(|reason| self.input.ident.bad(reason))?;
        // The values of such a page may each be as long as the page.
        let longest = chunks
            .iter()
            .filter(|c| c.delta)
            .map(|c| c.uncompressed.min(DELTA_PAGE))
            .max()
            .unwrap_or(0);
        let group_rows = self
            .batch_rows
            .min((self.input.limit.min(MOST_DELTA) / longest.max(1)).max(BATCH_ROWS.start));
        if self.delivered == 0 {
            self.check_exact()?;
            self.chunks.begin(ranges(&chunks), self.following())?;
        } else {
            self.chunks.again();
        }
        self.chunks.account(chunks, self.input.limit);
        let rows = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let build = || {
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
                self.chunks.clone(),
                self.input.footer.clone(),
            )
            .with_row_groups(vec![self.group])
            .with_projection(self.mask.clone())
            .with_batch_size(rows(group_rows));
            // With an offset, even of 0, the decoder would stop at the footer's count, and rows
            // beyond it would go unnoticed.
            let builder = if self.delivered == 0 {
                builder
            } else {
                builder.with_offset(rows(self.delivered))
            };
            builder.build().map_err(|e| e.to_string())
        };
        match catch_panic(build) {
            Ok(decoder) => self.decoder = Some(decoder),
            Err(reason) => return Err(self.blame(reason)),
        }
        Ok(())
    }

    /// Where the row groups after the current one lie, as far as they are read.
    fn following(&self) -> impl Iterator<Item = Range<u64>> {
        (self.group + 1..self.end).map_while(|group| {
            let group = self.input.metadata().row_group(group);
            let all = ranges(&chunks(group, |leaf| self.mask.leaf_included(leaf)).ok()?);
            let start = all.iter().map(|c| c.start).min()?;
            Some(start..all.iter().map(|c| c.end).max()?)
        })
    }

    /// Whether the decoder's types hold what is in the columns: it would not say where they do not.
    fn check_exact(&self) -> Result<()> {
        let group = self.input.metadata().row_group(self.group);
        let rules = self.input.rules.iter();
        let rules: BTreeMap<usize, Rule> = rules
            .filter(|(leaf, _)| self.mask.leaf_included(*leaf))
            .copied()
            .collect();
        let of = |wanted: &dyn Fn(usize) -> bool| {
            chunks(group, wanted).map_err(|reason| self.input.ident.bad(reason))
        };
        let all = of(&|leaf| rules.contains_key(&leaf))?;
        if !all.is_empty() {
            self.chunks.begin(ranges(&all), iter::empty())?;
        }
        for (leaf, rule) in rules {
            self.chunks.account(of(&|i| i == leaf)?, self.input.limit);
            match catch_panic(|| {
                rule.check(&self.chunks, group, leaf)
                    .map_err(|e| e.to_string())
            }) {
                Ok(None) => {}
                Ok(Some(reason)) => return Err(self.input.ident.bad(reason)),
                Err(reason) => return Err(self.blame(reason)),
            }
        }
        Ok(())
    }

    fn decode(&mut self) -> Result<Option<RecordBatch>, String> {
        let Some(decoder) = &mut self.decoder else {
            return Ok(None);
        };
        catch_panic(|| decoder.next().transpose().map_err(|e| e.to_string()))
    }

    fn took(&mut self, batch: &RecordBatch) -> Result<()> {
        self.delivered += batch.num_rows() as u64;
        if self.delivered > self.group_rows() {
            return Err(self.input.ident.bad(format!(
                "row group {} holds more rows than its footer says",
                self.group
            )));
        }
        // Rows may be wider than the footer made believe (a dictionary of long values): go on in
        // smaller steps.
        let bytes = views::other_bytes(batch);
        if bytes > 4 * self.batch_bytes && self.batch_rows > BATCH_ROWS.start {
            let fits = batch.num_rows() as u64 * self.batch_bytes / bytes;
            self.shrink(fits);
        }
        Ok(())
    }

    fn shrink(&mut self, rows: u64) {
        self.batch_rows = rows
            .clamp(BATCH_ROWS.start, BATCH_ROWS.end)
            .min(self.batch_rows);
        self.decoder = None;
    }

    fn finish_group(&mut self) -> Result<()> {
        let want = self.group_rows();
        if self.delivered != want {
            return Err(self.input.ident.bad(format!(
                "row group {} holds {} rows, and its footer says {want}",
                self.group, self.delivered
            )));
        }
        self.group += 1;
        self.delivered = 0;
        self.decoder = None;
        Ok(())
    }

    /// Strings of more than 2 GiB do not fit into one batch; fewer rows do.
    fn recover(&mut self, reason: String) -> Result<()> {
        if reason.contains("overflow decoding") && self.batch_rows > BATCH_ROWS.start {
            self.shrink(self.batch_rows / 8);
            return Ok(());
        }
        Err(self.blame(reason))
    }

    fn blame(&self, reason: String) -> Error {
        self.chunks.take_fault().unwrap_or_else(|| {
            self.input
                .ident
                .bad(format!("row group {} is damaged: {reason}", self.group))
        })
    }
}

fn ranges(chunks: &[Chunk]) -> Vec<Range<u64>> {
    chunks.iter().map(|c| c.range.clone()).collect()
}
