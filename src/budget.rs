//! The memory limit, and what each part of the work may take of it.

use crate::store::piece::Buffers;
use icepack_parquet::read::BATCH_BYTES;

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;

/// How one merge shares out its memory, in bytes. The floors count where there is less than some
/// tens of MiB.
#[derive(Debug, Clone, Copy)]
pub struct MergeBudget {
    /// All that the merge may take.
    pub memory: u64,
    /// What the footer of one file may take, and its pages at any one time: what takes more is not
    /// decoded.
    pub file_limit: u64,
    /// Inputs that are fetched at once.
    pub prefetch: usize,
    /// Inputs as they were fetched, compressed.
    pub pool: u64,
    /// Inputs above this are not fetched whole.
    pub whole: u64,
    /// Runs that are open at once.
    pub runs: u64,
    /// Rows that are sorted at once, before the runs are open.
    pub sort: u64,
    /// A decoded batch.
    pub batch: u64,
    /// The encoder and the upload.
    pub buffers: Buffers,
}

impl MergeBudget {
    /// Of `memory` bytes: a quarter each for what was fetched and for open runs, the other half for
    /// what is encoded and uploaded.
    pub fn of(memory: u64, file_limit: u64, prefetch: usize) -> Self {
        Self {
            memory,
            file_limit,
            prefetch: prefetch.max(1),
            pool: memory / 4,
            whole: (memory / 8).clamp(256 * KIB, 16 * MIB),
            runs: memory / 4,
            sort: (memory / 4).max(256 * KIB),
            batch: (memory / 128).clamp(64 * KIB, BATCH_BYTES),
            buffers: Buffers::within(memory),
        }
    }

    /// Bytes that a remote file may hold ahead of its decoder.
    pub fn window(self) -> u64 {
        (self.runs / 8).clamp(64 * KIB, 16 * MIB)
    }

    /// Bytes that are fetched at once of row groups that are copied. No run is open then, and two
    /// windows are held.
    pub fn copy_window(self) -> u64 {
        (self.runs / 4).clamp(64 * KIB, 16 * MIB)
    }

    /// Bytes of a row group that is copied, at most. The writer holds it while nothing is encoded,
    /// and half of the memory for open runs is free.
    pub fn copied_row_group(self) -> u64 {
        2 * self.buffers.row_group as u64 + self.runs / 2
    }

    /// Bytes for the ids of rows of one time, to find duplicates.
    pub fn duplicates(self) -> u64 {
        self.runs / 4
    }
}
