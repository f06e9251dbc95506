//! What the examples do, as functions of theirs: `cargo test` builds the programs themselves, and
//! their `main` prints what these return.

#![allow(dead_code, reason = "nobody calls main")]

#[path = "../../examples/compact_directory.rs"]
mod compact_directory;
#[path = "../../examples/custom_archive.rs"]
mod custom_archive;
#[path = "../../examples/embedded.rs"]
mod embedded;

use std::sync::Arc;

use crate::support::{self, Store};
use chrono::Utc;
use object_store::local::LocalFileSystem;

#[tokio::test]
async fn a_directory_is_compacted() {
    let directory = tempfile::tempdir().unwrap();
    let store: Store = Arc::new(LocalFileSystem::new_with_prefix(directory.path()).unwrap());
    compact_directory::write_events(directory.path()).unwrap();
    let rows = support::seed(&store, "globex", 4, 50, Utc::now()).await;
    compact_directory::compact(directory.path()).await.unwrap();
    assert_eq!(support::live(&store, "globex").await, support::sorted(rows));
    for tenant in ["acme", "globex"] {
        let keys = support::tenant_keys(&store, tenant).await;
        assert!(
            keys.len() == 1 && keys[0].contains("/snapshot."),
            "{keys:?}"
        );
    }
}

#[tokio::test]
async fn rows_go_to_an_archive_of_one_s_own() {
    let shelf = tempfile::tempdir().unwrap();
    let result = custom_archive::archive_old_rows(shelf.path())
        .await
        .unwrap();
    assert_eq!(
        (
            result.ledger.rows_archived,
            result.ledger.rows_kept,
            &result.errors
        ),
        (30, 0, &Vec::new())
    );
    let ledger = std::fs::read_to_string(shelf.path().join("ledger.csv")).unwrap();
    assert!(
        ledger.starts_with("acme,acme/") && ledger.ends_with(".parquet,30\n"),
        "{ledger}"
    );
    // What `restore` and `verify` look for: the object, and its receipt beside it.
    let store: Store = Arc::new(LocalFileSystem::new_with_prefix(shelf.path()).unwrap());
    let keys = support::tenant_keys(&store, "acme").await;
    assert!(
        keys.len() == 2 && keys[0].ends_with(".parquet") && keys[1].ends_with(".receipt.json"),
        "{keys:?}"
    );
}

#[tokio::test]
async fn a_service_makes_its_passes() {
    let stats = embedded::serve().await.unwrap();
    assert_eq!(
        (
            stats.total_compactions,
            stats.total_files_compacted,
            stats.total_events_compacted
        ),
        (1, 3, 30)
    );
}
