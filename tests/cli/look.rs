//! What the commands that only look find, show and write: `plan`, `status`, `ls`, `verify`,
//! `report`, `init`.

mod init;
mod page;
mod read_only;
mod status;
mod terminal;
mod verify;

use std::sync::Arc;

use crate::support::{Store, eager, memory, put, put_events, seed, series};
use chrono::{TimeDelta, Utc};
use icepack::archive::{Archive, ArchiveOptions};
use icepack::pass::Selection;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::units::DAY;

/// A hot store, an archive, and what holds for them.
struct World {
    hot: Store,
    cold: Store,
    config: CompactionConfig,
}

impl World {
    /// Tenant `acme` keeps its rows for thirty days and has some that are older, in an archive by
    /// now; tenant `globex` keeps them for ever.
    async fn compacted() -> Self {
        let (hot, cold) = (memory(), memory());
        let mut config = eager();
        config.retention.set("acme", Some(DAY * 30));
        config.archive_min_object_size = 0;
        config.archive = Some(Arc::new(Archive::new(
            Arc::clone(&cold),
            "memory://cold",
            ArchiveOptions::default(),
        )));
        let world = Self { hot, cold, config };
        seed(&world.hot, "acme", 4, 30, Utc::now() - TimeDelta::days(28)).await;
        seed(&world.hot, "globex", 4, 10, Utc::now() - TimeDelta::days(1)).await;
        let report = world
            .manager(&world.hot)
            .run_pass(&Selection::all())
            .await
            .unwrap();
        assert!(
            report.totals.counters.ledger.rows_archived > 0
                && report.totals.counters.files_written >= 2,
            "{report:?}"
        );
        world
    }

    fn manager(&self, hot: &Store) -> CompactionManager {
        CompactionManager::new(Arc::clone(hot), self.config.clone())
    }

    /// Something for every kind of decision: small files, too few of them, expired ones, one in
    /// quarantine, one left over.
    async fn untidy(&self) {
        for n in 0..5 {
            let end = Utc::now() - TimeDelta::days(40);
            let late = series(n * 10, 10, end, TimeDelta::hours(1));
            put_events(&self.hot, &format!("acme/2026-01/late-{n}.parquet"), &late).await;
        }
        quarantine_one(&self.hot).await;
        let report = self
            .manager(&self.hot)
            .run_pass(&Selection::parse(vec!["globex".to_owned()]).unwrap())
            .await
            .unwrap();
        assert_eq!(report.totals.quarantined, ["globex/bad.parquet"]);
        put_events(
            &self.hot,
            "globex/new.parquet",
            &series(900, 5, Utc::now(), TimeDelta::seconds(1)),
        )
        .await;
        put_events(
            &self.hot,
            "umbrella/one.parquet",
            &series(0, 5, Utc::now(), TimeDelta::seconds(1)),
        )
        .await;
    }
}

/// A file that is none, and others that have a pass look at it.
async fn quarantine_one(hot: &Store) {
    put(hot, "globex/bad.parquet", "no Parquet").await;
    for n in 0..3 {
        put_events(
            hot,
            &format!("globex/more-{n}.parquet"),
            &series(700 + n, 1, Utc::now(), TimeDelta::seconds(1)),
        )
        .await;
    }
}
