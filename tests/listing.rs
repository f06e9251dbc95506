//! What a pass holds of listings that are larger than its memory may be. A binary of its own: what
//! other tests take would count.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make worlds of the real time"
)]

#[path = "support/keys.rs"]
mod keys;

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use icepack::pass::Selection;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::report::RunReport;
use keys::{Keys, at_most};

/// Plans a pass over `keys` that begins no group, with so many files in its plans: the report, and
/// the MiB that it took. The second is none where the system does not tell.
async fn planned(keys: Keys, files: usize, config: CompactionConfig) -> (RunReport, Option<f64>) {
    let (store, _) = keys.store();
    let config = CompactionConfig {
        max_duration: Some(Duration::ZERO),
        ..config
    };
    let manager = CompactionManager::new(store, config).with_files_at_once(files);
    let (report, more) = at_most(manager.run_pass(&Selection::all())).await;
    (report.unwrap(), more)
}

/// One test, since both would share a process.
#[tokio::test(flavor = "multi_thread")]
async fn a_pass_does_not_hold_a_listing() {
    let old = Keys {
        tenants: 1,
        folders: 3_000,
        files: 50,
        size: 100 << 10,
        modified: Utc::now() - TimeDelta::hours(2),
    };
    let young = Keys {
        modified: Utc::now(),
        ..old
    };
    let many = Keys {
        tenants: 250,
        folders: 6,
        files: 100,
        ..old
    };
    let waits = CompactionConfig {
        min_raw_age: Duration::from_secs(3_600),
        ..CompactionConfig::default()
    };
    let (report, young_took) = planned(young, 250_000, waits).await;
    assert_eq!(report.found.unwrap().raw_files, 150_000);
    assert_eq!(report.totals.counters.groups_left, 0, "all are too young");
    let (report, old_took) = planned(old, 2_000, CompactionConfig::default()).await;
    assert_eq!(report.found.unwrap().raw_files, 150_000);
    assert_eq!(
        report.totals.counters.groups_left, 40,
        "2,000 files in folders of 50"
    );
    let (report, many_took) = planned(many, 2_000, CompactionConfig::default()).await;
    assert_eq!(report.found.unwrap().raw_files, 150_000);
    assert!(
        report.totals.counters.groups_left >= 250,
        "each tenant has work"
    );
    println!("150,000 keys: {young_took:?}, {old_took:?} and {many_took:?} MiB");
    for took in [young_took, old_took, many_took].into_iter().flatten() {
        assert!(took < 32.0, "{took} MiB for 150,000 keys");
    }
}
