//! Divides the memory limit among the parts of the work.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};
use crate::store::object_writer::Buffers;
use icepack_core::model::units::{KIB, MIB};
use icepack_parquet::read::BATCH_BYTES;

/// What the process needs besides the data of its groups: code, runtime, HTTP clients, manifests.
const BASE: u64 = 64 * MIB;

/// A merge with less than this would crawl.
const LEAST_GROUP: u64 = 32 * MIB;

/// The least memory limit that can be kept, in bytes.
pub const LEAST_LIMIT: u64 = BASE + LEAST_GROUP;

/// The memory limit, shared out in bytes.
///
/// While a pass scans, no group is merged: the prescan's documents and the footers that date
/// snapshots take parts of what the groups have later. While groups are merged, each has a
/// reservation from a [`MemoryPool`]. Footers that are read meanwhile, to plan and to publish, come
/// on top; their limits are for hostile ones, and a usual footer takes some KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// For everything but the data of groups.
    pub base: u64,
    /// For the data of all groups together.
    pub groups: u64,
    /// What the footer of one input of a group may take, and its pages at any one time.
    pub group_file: u64,
    /// All footers that are read at once to plan.
    pub plan_footers: u64,
    /// The footers that are read at once to find the column that dates the snapshots of one tenant.
    pub dating_footers: u64,
    /// The documents of the prescan.
    pub prescan: u64,
    /// All footers that are read at once to publish, by all tenants.
    pub publish_footers: u64,
}

impl Budget {
    /// Of a limit in bytes. A limit below [`LEAST_LIMIT`] counts as that much.
    pub fn of(limit: u64) -> Self {
        let groups = limit.saturating_sub(BASE).max(LEAST_GROUP) / MIB * MIB;
        Self {
            base: BASE,
            groups,
            group_file: groups / 4,
            plan_footers: groups / 8,
            dating_footers: limit / 32,
            prescan: limit / 4,
            publish_footers: limit / 32,
        }
    }
}

/// Of a group's memory, what its archive object takes while expired rows are encoded.
pub fn for_archive(group: u64) -> u64 {
    group / 4
}

/// Of a restore's memory, what the file takes that is written; the other half decodes.
pub fn for_restored_file(memory: u64) -> u64 {
    memory / 2
}

/// Memory for groups, in units of a MiB.
#[derive(Debug, Clone)]
pub struct MemoryPool {
    units: Arc<Semaphore>,
    total: u32,
}

/// A group's share, given back when dropped.
#[derive(Debug)]
pub struct MemoryReservation {
    /// Size in bytes.
    pub bytes: u64,
    _permit: OwnedSemaphorePermit,
}

impl MemoryPool {
    /// A pool of the memory for groups.
    pub fn new(budget: Budget) -> Self {
        let total = u32::try_from(budget.groups / MIB).unwrap_or(u32::MAX);
        Self {
            units: Arc::new(Semaphore::new(total as usize)),
            total,
        }
    }

    /// Waits for a share for a group of `bytes` compressed input bytes: a few times that, since
    /// they are decoded, but never more than half of what there is, so that the next group can
    /// begin. What is there is what one group needs at least.
    ///
    /// # Errors
    /// None in practice: the pool is never closed.
    pub async fn share(&self, bytes: u64) -> Result<MemoryReservation> {
        let wanted = bytes.saturating_mul(4).div_ceil(MIB).max(LEAST_GROUP / MIB);
        let half = (self.total / 2)
            .max(u32::try_from(LEAST_GROUP / MIB).unwrap_or(0))
            .min(self.total);
        let units = u32::try_from(wanted).unwrap_or(u32::MAX).min(half);
        let permit = Arc::clone(&self.units)
            .acquire_many_owned(units)
            .await
            .map_err(|e| Error::local("cannot get a share of the memory", e))?;
        Ok(MemoryReservation {
            bytes: u64::from(units) * MIB,
            _permit: permit,
        })
    }
}

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
    /// Inputs below this are fetched before the merge begins, and not when it comes to them.
    pub least_later: u64,
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
            // To fetch it later costs a request more for its footer: for a terabyte of such inputs
            // $0.80 at S3's prices, which smaller ones would not be worth.
            least_later: 512 * KIB,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_make_the_whole() {
        for limit in [96, 128, 256, 512, 2_048, 65_536].map(|mib| mib * MIB) {
            let budget = Budget::of(limit);
            assert_eq!(budget.base + budget.groups, limit);
            // While it scans, sixteen tenants at once.
            assert!(budget.prescan + 16 * budget.dating_footers <= limit);
            // While groups are merged.
            assert!(budget.plan_footers + budget.publish_footers <= budget.groups / 4);
            assert!(budget.group_file <= budget.groups / 4);
            for group in [LEAST_GROUP, budget.groups / 2, budget.groups] {
                let archive = for_archive(group);
                let merge = MergeBudget::of(group - archive, budget.group_file, 1);
                let held = Buffers::within(group - archive);
                let out = held.row_group + held.single + held.part * held.in_flight;
                // The floors count in a group of 32 MiB: a part of an upload cannot be smaller.
                let floor = if group < 128 * MIB { 16 * MIB } else { 0 };
                let parts = merge.pool + merge.runs + out as u64 + archive;
                assert!(parts <= group + floor, "{limit} {group}: {parts}");
                assert!(merge.duplicates() <= merge.runs / 4);
                assert!(2 * merge.copy_window() <= merge.runs.max(128 * KIB));
            }
        }
        // What is too small counts as the least that works.
        assert_eq!(Budget::of(0).groups, LEAST_GROUP);
    }

    #[tokio::test]
    async fn a_share_is_never_more_than_half_and_comes_back() {
        let pool = MemoryPool::new(Budget::of(512 * MIB));
        let first = pool.share(u64::MAX / 8).await.unwrap();
        let second = pool.share(u64::MAX / 8).await.unwrap();
        assert_eq!((first.bytes, second.bytes), (224 * MIB, 224 * MIB));
        drop((first, second));
        assert_eq!(pool.share(1).await.unwrap().bytes, LEAST_GROUP);
        assert_eq!(
            MemoryPool::new(Budget::of(0))
                .share(u64::MAX / 8)
                .await
                .unwrap()
                .bytes,
            LEAST_GROUP
        );
    }
}
