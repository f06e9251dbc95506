//! What a pass holds of listings that are larger than its memory may be. A binary of its own: what
//! other tests take would count.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make worlds of the real time"
)]

#[path = "support/keys.rs"]
mod keys;

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use icepack::pass::Selection;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::manifest::{Manifest, Stamp};
use icepack_core::model::names::{self, FileId, Tenant};
use icepack_core::model::pages::PageSizes;
use icepack_core::model::report::RunReport;
use keys::{Keys, at_most};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use ulid::Ulid;

/// Plans a pass over `keys` that begins no group, with so many files in its plans: the report, and
/// the MiB that it took. The second is none where the system does not tell.
async fn planned(keys: Keys, files: usize, config: CompactionConfig) -> (RunReport, Option<f64>) {
    planned_in(keys.store().0, files, config).await
}

async fn planned_in(
    store: Arc<dyn ObjectStore>,
    files: usize,
    config: CompactionConfig,
) -> (RunReport, Option<f64>) {
    let config = CompactionConfig {
        max_duration: Some(Duration::ZERO),
        files_at_once: files,
        ..config
    };
    let manager = CompactionManager::new(store, config);
    let (report, more) = at_most(manager.run_pass(&Selection::all())).await;
    (report.unwrap(), more)
}

/// A head of the first tenant of `keys` with so many pages. They remember a name in each folder.
async fn put_pages(store: &Arc<dyn ObjectStore>, keys: &Keys) -> usize {
    let tenant = Tenant::parse("tenant-000000").unwrap();
    let stamp = Stamp {
        run_id: FileId::NIL,
        commit_id: FileId(Ulid::from_parts(1, 1)),
        at: keys.modified,
    };
    let mut head = Manifest::first(tenant.clone(), stamp);
    for n in 0..keys.folders {
        let folder = format!("tenant-000000/device={n:06}");
        let name = format!("{folder}/gone.parquet");
        let swept = head.swept_in.entry(folder).or_default();
        swept.remember(keys.modified, [(name.as_str(), None)]);
    }
    let sizes = PageSizes {
        entries: 4,
        ..PageSizes::default()
    };
    let mut n = 1;
    let pages = head.divide(sizes, || {
        n += 1;
        FileId(Ulid::from_parts(1, n))
    });
    let pages = pages.unwrap();
    let made = pages.len();
    for page in pages {
        let key = names::page_key(&tenant, page.id);
        let body = zstd::encode_all(page.body.as_slice(), 1).unwrap();
        store.put(&Path::from(key), body.into()).await.unwrap();
    }
    let key = names::manifest_key(&tenant, 1);
    let document = head.document().unwrap();
    store.put(&Path::from(key), document.into()).await.unwrap();
    made
}

/// One test, since all would share a process.
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
    let (store, _) = old.store();
    let pages = put_pages(&store, &old).await;
    assert!(pages > 40, "{pages} pages");
    let (report, paged_took) = planned_in(store, 2_000, CompactionConfig::default()).await;
    assert_eq!(report.found.unwrap().raw_files, 150_000);
    assert_eq!(report.totals.counters.groups_left, 40, "as without pages");
    println!("150,000 keys: {young_took:?}, {old_took:?}, {many_took:?} and {paged_took:?} MiB");
    let all = [young_took, old_took, many_took, paged_took];
    for took in all.into_iter().flatten() {
        assert!(took < 32.0, "{took} MiB for 150,000 keys");
    }
}
