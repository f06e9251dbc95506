//! Each thing that `verify` can find is made, found, and named with what mends it; and once it is
//! mended, it is found no more.

use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use icepack::pass::Selection;
use icepack_core::model::inspect::{Finding, FindingKind, Severity};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use serde_json::Value;

use super::World;
use crate::support::{Store, batch, get, keys, parquet, put, put_events, series, tenant_keys};

impl World {
    async fn verify(&self, deep: bool) -> Vec<Finding> {
        self.manager(&self.hot)
            .verify(&Selection::all(), deep)
            .await
            .unwrap()
            .findings
    }

    /// The only finding, which is of this kind and this bad, is about `key`, and tells a command.
    async fn finds(&self, deep: bool, kind: FindingKind, severity: Severity, key: &str) -> Finding {
        let found = self.verify(deep).await;
        let [one] = found.as_slice() else {
            panic!("one finding is wanted: {found:#?}")
        };
        assert_eq!(
            (one.kind, one.severity, one.key.as_str()),
            (kind, severity, key),
            "{one:?}"
        );
        assert!(
            one.mend.contains("`icepack ") || one.mend.contains("thaw"),
            "no command: {one:?}"
        );
        one.clone()
    }

    async fn clean(&self) {
        assert_eq!(self.verify(true).await, []);
    }

    async fn snapshot(&self, tenant: &str) -> String {
        tenant_keys(&self.hot, tenant)
            .await
            .into_iter()
            .find(|k| k.contains("/snapshot."))
            .unwrap()
    }
}

async fn remove(store: &Store, key: &str) -> Bytes {
    let bytes = get(store, key).await;
    store.delete(&Path::parse(key).unwrap()).await.unwrap();
    bytes
}

async fn replace(store: &Store, key: &str, bytes: impl Into<PutPayload>) -> Bytes {
    let old = get(store, key).await;
    put(store, key, bytes).await;
    old
}

#[tokio::test]
async fn a_sound_store_has_no_findings() {
    let world = World::compacted().await;
    world.clean().await;
}

#[tokio::test]
async fn a_missing_snapshot() {
    let world = World::compacted().await;
    let key = world.snapshot("globex").await;
    let bytes = remove(&world.hot, &key).await;
    let found = world
        .finds(false, FindingKind::Missing, Severity::Broken, &key)
        .await;
    assert!(
        found.what.starts_with("40 rows are missing") && found.mend.contains("--tenant globex"),
        "{found:?}"
    );
    put(&world.hot, &key, bytes).await;
    // The store in memory gives the same bytes another tag, and that is said, but not called
    // broken.
    world
        .finds(false, FindingKind::Tag, Severity::Warning, &key)
        .await;
}

#[tokio::test]
async fn a_snapshot_of_another_size() {
    let world = World::compacted().await;
    let key = world.snapshot("globex").await;
    replace(&world.hot, &key, "cut off").await;
    let found = world
        .finds(false, FindingKind::Size, Severity::Broken, &key)
        .await;
    assert!(
        found.what.starts_with("it has 7 bytes, the manifest says "),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_read() {
    let world = World::compacted().await;
    let key = world.snapshot("globex").await;
    let size = get(&world.hot, &key).await.len();
    replace(&world.hot, &key, vec![b'x'; size]).await;
    let found = world.verify(true).await;
    assert!(
        found
            .iter()
            .any(|f| f.kind == FindingKind::Unreadable && f.severity == Severity::Broken),
        "{found:#?}"
    );
    assert_eq!(
        world.verify(false).await.len(),
        1,
        "without reading, only the tag tells"
    );
}

#[tokio::test]
async fn rows_that_are_not_those_that_were_written() {
    let world = World::compacted().await;
    let path = world.snapshot("globex").await;
    let original = get(&world.hot, &path).await;
    for (rows, kind) in [(39, FindingKind::RowCount), (40, FindingKind::Content)] {
        let events = series(
            500,
            rows,
            Utc::now() - TimeDelta::days(2),
            TimeDelta::seconds(1),
        );
        put_manifest_size(&world, &path, &parquet(&batch(&events))).await;
        let found = world.verify(true).await;
        let said = found
            .iter()
            .find(|f| f.kind == kind)
            .unwrap_or_else(|| panic!("{kind:?} is wanted: {found:#?}"));
        assert!(
            said.severity == Severity::Broken && said.what.contains("were written"),
            "{said:?}"
        );
    }
    put_manifest_size(&world, &path, &original).await;
    assert!(
        world
            .verify(true)
            .await
            .iter()
            .all(|f| f.severity != Severity::Broken)
    );
}

/// Puts `bytes` where the snapshot was, and has the head say so much of its size: so that nothing
/// but the rows themselves can tell.
async fn put_manifest_size(world: &World, key: &str, bytes: &[u8]) {
    replace(&world.hot, key, bytes.to_vec()).await;
    forge(world, "globex", |head| {
        head["snapshots"][0]["size"] = bytes.len().into()
    })
    .await;
}

/// Changes a tenant's head behind everybody's back. Its key.
async fn forge(world: &World, tenant: &str, change: impl FnOnce(&mut Value)) -> String {
    let manifests = keys(&world.hot)
        .await
        .into_iter()
        .filter(|k| k.starts_with(&format!("_icepack/{tenant}/manifest/")));
    let key = manifests.max().unwrap();
    let mut head: Value = serde_json::from_slice(&get(&world.hot, &key).await).unwrap();
    change(&mut head);
    put(&world.hot, &key, serde_json::to_vec(&head).unwrap()).await;
    key
}

#[tokio::test]
async fn books_that_do_not_balance() {
    let world = World::compacted().await;
    let head = forge(&world, "globex", |head| {
        head["totals"]["rows_ingested"] = 41.into()
    })
    .await;
    let found = world.verify(false).await;
    let [one] = found.as_slice() else {
        panic!("one finding is wanted: {found:#?}")
    };
    assert_eq!(
        (one.kind, one.severity, &one.key),
        (FindingKind::Books, Severity::Broken, &head),
        "{one:?}"
    );
}

#[tokio::test]
async fn a_receipt_that_is_still_to_be_written() {
    let world = World::compacted().await;
    let (object, receipt) = (
        cold_key(&world, ".parquet").await,
        cold_key(&world, ".receipt.json").await,
    );
    // As a pass leaves it that dies between the commit and the receipt.
    let body: Value = serde_json::from_slice(&remove(&world.cold, &receipt).await).unwrap();
    forge(&world, "acme", |head| {
        head["archives"] = Value::Array(vec![body])
    })
    .await;
    world
        .finds(false, FindingKind::ReceiptDue, Severity::Note, &object)
        .await;
    // The command that is named does mend it, once the tenant has something to do.
    world
        .manager(&world.hot)
        .run_pass(&Selection::all())
        .await
        .unwrap();
    world.clean().await;
}

#[tokio::test]
async fn an_orphan() {
    let world = World::compacted().await;
    let key = world.snapshot("globex").await;
    let (stem, id) = key.trim_end_matches(".parquet").rsplit_once('.').unwrap();
    // An id of the same time that nobody else has.
    let last = if id.ends_with('0') { '1' } else { '0' };
    let orphan = format!("{stem}.{}{last}.parquet", &id[..id.len() - 1]);
    put(&world.hot, &orphan, get(&world.hot, &key).await).await;
    world
        .finds(false, FindingKind::Orphan, Severity::Note, &orphan)
        .await;
    // The command that is named does mend it.
    world
        .manager(&world.hot)
        .run_pass(&Selection::all())
        .await
        .unwrap();
    world
        .manager(&world.hot)
        .run_pass(&Selection::all())
        .await
        .unwrap();
    world.clean().await;
}

#[tokio::test]
async fn a_file_in_quarantine() {
    let world = World::compacted().await;
    super::quarantine_one(&world.hot).await;
    world
        .manager(&world.hot)
        .run_pass(&Selection::all())
        .await
        .unwrap();
    let found = world
        .finds(
            false,
            FindingKind::Quarantined,
            Severity::Warning,
            "globex/bad.parquet",
        )
        .await;
    assert!(
        found.mend.contains("`icepack run --tenant globex`"),
        "{found:?}"
    );
    put_events(
        &world.hot,
        "globex/bad.parquet",
        &series(900, 5, Utc::now(), TimeDelta::seconds(1)),
    )
    .await;
    // Changed, it is tried again, as soon as there are enough files to be looked at.
    for n in 0..3 {
        put_events(
            &world.hot,
            &format!("globex/again-{n}.parquet"),
            &series(800 + n, 1, Utc::now(), TimeDelta::seconds(1)),
        )
        .await;
    }
    world
        .manager(&world.hot)
        .run_pass(&Selection::all())
        .await
        .unwrap();
    world.clean().await;
}

#[tokio::test]
async fn a_lost_manifest() {
    let world = World::compacted().await;
    for key in keys(&world.hot)
        .await
        .into_iter()
        .filter(|k| k.starts_with("_icepack/globex/"))
    {
        remove(&world.hot, &key).await;
    }
    let key = world.snapshot("globex").await;
    world
        .finds(false, FindingKind::Manifest, Severity::Broken, &key)
        .await;
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read() {
    let world = World::compacted().await;
    let head = keys(&world.hot)
        .await
        .into_iter()
        .filter(|k| k.starts_with("_icepack/globex/manifest/"))
        .max()
        .unwrap();
    let old = replace(&world.hot, &head, "{").await;
    world
        .finds(
            false,
            FindingKind::Manifest,
            Severity::Broken,
            "_icepack/globex/manifest",
        )
        .await;
    put(&world.hot, &head, old).await;
    world.clean().await;
}

/// The archive's first key with this end.
async fn cold_key(world: &World, end: &str) -> String {
    keys(&world.cold)
        .await
        .into_iter()
        .find(|k| k.ends_with(end))
        .unwrap()
}

#[tokio::test]
async fn an_archive_object_that_is_missing_or_cut_off() {
    let world = World::compacted().await;
    let key = cold_key(&world, ".parquet").await;
    let bytes = remove(&world.cold, &key).await;
    let found = world
        .finds(false, FindingKind::Missing, Severity::Broken, &key)
        .await;
    assert!(
        found.what.contains("archived rows are missing"),
        "{found:?}"
    );
    put(&world.cold, &key, "half").await;
    world
        .finds(false, FindingKind::Size, Severity::Broken, &key)
        .await;
    put(&world.cold, &key, bytes).await;
    world.clean().await;
}

#[tokio::test]
async fn an_archive_object_without_a_receipt() {
    let world = World::compacted().await;
    let (object, receipt) = (
        cold_key(&world, ".parquet").await,
        cold_key(&world, ".receipt.json").await,
    );
    let bytes = remove(&world.cold, &receipt).await;
    let found = world.verify(false).await;
    let what: Vec<_> = found
        .iter()
        .map(|f| (f.kind, f.severity, f.key.as_str()))
        .collect();
    assert_eq!(
        what,
        [
            (FindingKind::Archived, Severity::Broken, "acme"),
            (FindingKind::NoReceipt, Severity::Warning, &object)
        ],
        "{found:#?}"
    );
    put(&world.cold, &receipt, bytes).await;
    world.clean().await;
}

#[tokio::test]
async fn archived_rows_of_which_object_and_receipt_are_gone() {
    let world = World::compacted().await;
    let (object, receipt) = (
        cold_key(&world, ".parquet").await,
        cold_key(&world, ".receipt.json").await,
    );
    let rows = crate::support::read(&world.cold, &object).await.len();
    let (object_bytes, receipt_bytes) = (
        remove(&world.cold, &object).await,
        remove(&world.cold, &receipt).await,
    );
    let found = world
        .finds(false, FindingKind::Archived, Severity::Broken, "acme")
        .await;
    assert_eq!(
        found.what,
        format!(
            "{rows} of {rows} archived rows are missing from `memory://cold`: its receipts hold 0"
        )
    );
    put(&world.cold, &object, object_bytes).await;
    put(&world.cold, &receipt, receipt_bytes).await;
    world.clean().await;
}

#[tokio::test]
async fn a_receipt_that_is_damaged_or_of_another_object() {
    let world = World::compacted().await;
    let receipt = cold_key(&world, ".receipt.json").await;
    let old = replace(&world.cold, &receipt, "{").await;
    let found = world.verify(false).await;
    assert!(
        found
            .iter()
            .any(|f| f.kind == FindingKind::Unreadable && f.key == receipt),
        "{found:#?}"
    );
    put(&world.cold, &receipt, old.clone()).await;
    let elsewhere = receipt.replace("archive.acme", "archive.acme.copy");
    put(&world.cold, &elsewhere, old).await;
    world
        .finds(false, FindingKind::Misplaced, Severity::Broken, &elsewhere)
        .await;
}
