//! Totals of a store: files by size, and the numbers and bytes of raw files and snapshots.

use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

use crate::model::units::{GIB, KIB, MIB};

/// Where the classes of [`SizeHistogram`] end; the last class has no end.
pub const BOUNDS: [u64; 9] = [
    16 * KIB,
    64 * KIB,
    256 * KIB,
    MIB,
    4 * MIB,
    16 * MIB,
    64 * MIB,
    256 * MIB,
    GIB,
];

/// Files counted by their size, in classes of powers of four: under 16 KiB, under 64 KiB, …, under
/// 1 GiB, and the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SizeHistogram([u64; BOUNDS.len() + 1]);

impl SizeHistogram {
    /// The histogram of files of these bytes.
    pub fn of(files: impl IntoIterator<Item = u64>) -> Self {
        let mut sizes = Self::default();
        for bytes in files {
            let class = BOUNDS
                .iter()
                .position(|end| bytes < *end)
                .unwrap_or(BOUNDS.len());
            if let Some(count) = sizes.0.get_mut(class) {
                *count += 1;
            }
        }
        sizes
    }

    /// Files in each class, the smallest first.
    pub fn counts(&self) -> &[u64] {
        &self.0
    }

    /// The number of all files.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl AddAssign for SizeHistogram {
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a += b);
    }
}

impl Add for SizeHistogram {
    type Output = Self;
    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

/// How much of what there is.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    Serialize,
    Deserialize,
    derive_more::Add,
    derive_more::AddAssign,
)]
pub struct StoreTotals {
    /// Tenants that were looked at.
    pub tenants: u64,
    /// Raw files that wait for compaction.
    pub raw_files: u64,
    /// Size of the raw files, in bytes.
    pub raw_bytes: u64,
    pub snapshots: u64,
    /// Size of the snapshots, in bytes.
    pub snapshot_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_by_size() {
        let sizes = SizeHistogram::of([0, 16 * KIB - 1, 16 * KIB, 3 << 20, 1 << 30, u64::MAX]);
        assert_eq!(sizes.counts(), [2, 1, 0, 0, 1, 0, 0, 0, 0, 2]);
        assert_eq!((sizes.total(), (sizes + sizes).total()), (6, 12));
    }

    #[test]
    fn json_is_a_list() {
        let json = serde_json::to_string(&SizeHistogram::of([1])).unwrap();
        assert_eq!(json, "[1,0,0,0,0,0,0,0,0,0]");
        assert_eq!(
            serde_json::from_str::<SizeHistogram>(&json).unwrap(),
            SizeHistogram::of([1])
        );
    }
}
