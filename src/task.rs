//! A loop that makes a pass when one is due, for services that embed the library.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::error::Result;
use crate::pass::manager::CompactionManager;

/// Checks every few seconds whether a pass is due, and makes it.
///
/// ```no_run
/// # async fn example(manager: icepack::CompactionManager) {
/// use std::sync::Arc;
/// use icepack::CompactionTask;
/// tokio::spawn(CompactionTask::new(Arc::new(manager), 60).run());
/// # }
/// ```
#[derive(Debug)]
pub struct CompactionTask {
    manager: Arc<CompactionManager>,
    every: Duration,
}

impl CompactionTask {
    /// A task that checks every `seconds`.
    pub fn new(manager: Arc<CompactionManager>, seconds: u64) -> Self {
        Self {
            manager,
            every: Duration::from_secs(seconds.max(1)),
        }
    }

    /// Runs for ever, or until the manager's stop handle is used. A pass that fails is logged and
    /// the loop goes on.
    pub async fn run(self) {
        let stop = self.manager.stop_handle();
        let mut ticks = tokio::time::interval(self.every);
        // After a long pass one look is enough.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_stopped() {
            ticks.tick().await;
            if let Err(e) = self.tick().await {
                tracing::error!("the pass failed, the next one is tried in time: {e}");
            }
        }
    }

    async fn tick(&self) -> Result<()> {
        if self.manager.should_compact().await? {
            let result = self.manager.compact().await?;
            for (tenant, error) in &result.errors {
                tracing::error!(tenant, "{error}");
            }
        }
        Ok(())
    }
}
