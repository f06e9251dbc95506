//! Shares the memory limit among the groups that are merged at the same time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

const MIB: u64 = 1024 * 1024;

/// What the process needs besides the data of its groups: code, runtime, HTTP clients, manifests.
const BASE: u64 = 64 * MIB;

/// A merge with less than this would crawl.
const LEAST: u64 = 32 * MIB;

/// Memory for groups, in units of a MiB.
#[derive(Debug, Clone)]
pub struct MemoryPool {
    units: Arc<Semaphore>,
    total: u32,
}

/// A group's share, given back when dropped.
#[derive(Debug)]
pub struct MemoryReservation {
    /// Bytes.
    pub bytes: u64,
    _permit: OwnedSemaphorePermit,
}

impl MemoryPool {
    /// A pool of what `limit` bytes leave for data.
    pub fn new(limit: u64) -> Self {
        let usable = limit.saturating_sub(BASE).max(LEAST);
        let total = u32::try_from(usable / MIB).unwrap_or(u32::MAX);
        Self {
            units: Arc::new(Semaphore::new(total as usize)),
            total,
        }
    }

    /// Bytes for all groups together.
    pub fn total(&self) -> u64 {
        u64::from(self.total) * MIB
    }

    /// Waits for a share for a group of `bytes` compressed input bytes: a few times that, since
    /// they are decoded, but never more than half of what there is, so that the next group can
    /// begin. What is there is what one group needs at least.
    ///
    /// # Errors
    /// None in practice: the pool is never closed.
    pub async fn share(&self, bytes: u64) -> Result<MemoryReservation> {
        let wanted = (bytes.saturating_mul(4) / MIB).max(LEAST / MIB);
        let half = (self.total / 2)
            .max(u32::try_from(LEAST / MIB).unwrap_or(0))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_share_is_never_more_than_half_and_comes_back() {
        let pool = MemoryPool::new(512 * MIB);
        let first = pool.share(u64::MAX / 8).await.unwrap();
        let second = pool.share(u64::MAX / 8).await.unwrap();
        assert_eq!((first.bytes, second.bytes), (224 * MIB, 224 * MIB));
        drop((first, second));
        assert_eq!(pool.share(1).await.unwrap().bytes, LEAST);
        assert_eq!(
            MemoryPool::new(0).share(u64::MAX / 8).await.unwrap().bytes,
            LEAST
        );
    }
}
