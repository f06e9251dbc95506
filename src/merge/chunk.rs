//! Batches of rows with the keys by which they are ordered.

use arrow::array::RecordBatch;
use arrow::buffer::ScalarBuffer;

use crate::error::{Error, Result};
use icepack_parquet::time::Dater;
use icepack_parquet::write::sliced_bytes;

/// Rows and the key of each: its time in the unit of the merge. Null is the smallest.
pub(super) struct Chunk {
    pub batch: RecordBatch,
    pub keys: ScalarBuffer<i64>,
}

impl Chunk {
    /// Rows that are dated by `dater`.
    pub fn by(dater: &Dater, batch: RecordBatch) -> Result<Self> {
        let keys = dater
            .keys(&batch)
            .map_err(|e| Error::local("cannot merge", e))?;
        Ok(Self { batch, keys })
    }

    /// Bytes in memory, with the sort keys.
    pub fn bytes(&self) -> usize {
        sliced_bytes(&self.batch) + self.batch.num_rows() * 24
    }
}

/// Rows in order, a chunk at a time.
pub(super) trait RowSource {
    /// The next rows, never an empty chunk; none at the end.
    fn next(&mut self) -> Result<Option<Chunk>>;
}
