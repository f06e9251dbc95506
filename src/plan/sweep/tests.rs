use chrono::DateTime;
use ulid::Ulid;

use super::*;
use crate::model::file::{Micros, RowStats, Snapshot};
use crate::model::manifest::{Manifest, Quarantined, Receipt, RetireReason, Retired, Stamp};
use crate::model::names::{Tenant, snapshot_key};

const HOUR: u64 = 3_600_000;

fn at(ms: u64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(i64::try_from(ms).unwrap()).unwrap()
}

fn id(ms: u64) -> FileId {
    FileId(Ulid::from_parts(ms, 7))
}

fn output(ms: u64) -> Key {
    snapshot_key(&Tenant::parse("acme").unwrap(), Micros(0), Micros(0), id(ms))
}

fn listed(key: &str, etag: &str) -> Listed {
    Listed { key: key.into(), size: 1, etag: Some(etag.into()), modified: at(0) }
}

fn head(floor: u64) -> Manifest {
    let mut m = Manifest::first(Tenant::parse("acme").unwrap(), Stamp { run_id: id(1), commit_id: id(1), at: at(0) });
    m.floor = id(floor);
    m.snapshots.push(Snapshot { key: output(50 * HOUR), id: id(50 * HOUR), size: 1, etag: None, schema: None, stats: RowStats::default() });
    for (key, when) in [("acme/a.parquet", 10 * HOUR), ("acme/b.parquet", 20 * HOUR)] {
        m.retired.push(Retired { key: key.into(), size: 1, etag: Some("e".into()), rows: 1, at: at(when), reason: RetireReason::Compacted });
    }
    m
}

#[test]
fn only_what_head_retired_and_the_listing_shows_unchanged_is_deleted() {
    let listing = [listed("acme/a.parquet", "e"), listed("acme/b.parquet", "replaced"), listed("acme/c.parquet", "e"), listed(&output(50 * HOUR), "e")];
    assert_eq!(deletable(&head(0), &listing, at(30 * HOUR), Duration::ZERO), ["acme/a.parquet"]);
    assert_eq!(deletable(&head(0), &[], at(30 * HOUR), Duration::ZERO), Vec::<Key>::new());
}

#[test]
fn files_whose_rows_are_in_an_object_without_a_receipt_wait() {
    let receipt = |n: u64, sources: &[&str]| {
        let (tenant, stats) = (Tenant::parse("acme").unwrap(), RowStats::default());
        let key = crate::model::names::archive_key(&tenant, Micros(0), Micros(0), id(n));
        Receipt { sources: sources.iter().map(|s| (*s).to_owned()).collect(), ..Receipt::new(tenant, id(n), key, 1, stats, "s3://cold", id(1)) }
    };
    let (first, second) = (receipt(1, &["acme/a.parquet"]), receipt(2, &["acme/b.parquet"]));
    let owing = Manifest { archives: vec![first.clone(), second.clone()], ..head(0) };
    let filed = |of: &[&Receipt]| of.iter().map(|r| r.key.clone()).collect::<BTreeSet<_>>();
    assert_eq!(withheld(&owing, &filed(&[])), BTreeSet::from(["acme/a.parquet", "acme/b.parquet"]));
    assert_eq!(withheld(&owing, &filed(&[&first])), BTreeSet::from(["acme/b.parquet"]));
    assert_eq!(withheld(&owing, &filed(&[&first, &second])), BTreeSet::new());
    let silent = receipt(3, &[]);
    let owing = Manifest { archives: vec![silent.clone()], ..head(0) };
    assert_eq!(withheld(&owing, &filed(&[])), owing.retired_keys(), "any of them may be its source");
    assert_eq!(withheld(&owing, &filed(&[&silent])), BTreeSet::new());
}

#[test]
fn the_delete_delay_counts_from_the_commit() {
    let listing = [listed("acme/a.parquet", "e"), listed("acme/b.parquet", "e")];
    let due = |now, hours: u64| deletable(&head(0), &listing, at(now), Duration::from_secs(hours * 3600));
    assert_eq!(due(21 * HOUR, 11), ["acme/a.parquet"]);
    assert_eq!(due(20 * HOUR, 11), Vec::<Key>::new());
    assert_eq!(due(31 * HOUR, 11), ["acme/a.parquet", "acme/b.parquet"]);
}

#[test]
fn a_damaged_manifest_cannot_make_us_delete_what_is_live_or_not_ours() {
    let mut m = head(0);
    for key in [output(50 * HOUR), "other/x.parquet".into(), "acme/notes.txt".into(), "_icepack/acme/manifest/1.json".into()] {
        m.retired.push(Retired { key, size: 1, etag: Some("e".into()), rows: 1, at: at(0), reason: RetireReason::Compacted });
    }
    let listing: Vec<_> = m.retired.iter().map(|r| listed(&r.key, "e")).collect();
    assert_eq!(deletable(&m, &listing, at(90 * HOUR), Duration::ZERO), ["acme/a.parquet", "acme/b.parquet"]);
}

#[test]
fn orphans_wait_for_a_committed_floor() {
    let (old, new) = (output(10 * HOUR), output(40 * HOUR));
    let listing = [listed(&old, "e"), listed(&new, "e"), listed(&output(50 * HOUR), "e"), listed("acme/raw.parquet", "e")];
    assert_eq!(orphans(&head(0), &listing).len(), 2);
    assert_eq!(collectable(&head(0), &listing), Vec::<Key>::new());
    assert_eq!(collectable(&head(20 * HOUR), &listing), [old]);
    // Live outputs are below the floor too, and stay.
    assert_eq!(collectable(&head(60 * HOUR), &listing).len(), 2);
}

#[test]
fn the_floor_rises_only_for_something_and_by_the_stores_clock() {
    let orphans = [id(10 * HOUR)];
    let grace = Duration::from_secs(24 * 3600);
    assert_eq!(next_floor(&head(0), &orphans, at(30 * HOUR), grace), None, "too young");
    assert_eq!(next_floor(&head(0), &orphans, at(35 * HOUR), grace), Some(FileId::floor_at(at(11 * HOUR))));
    assert_eq!(next_floor(&head(0), &[], at(90 * HOUR), grace), None, "no orphan");
    assert_eq!(next_floor(&head(20 * HOUR), &orphans, at(35 * HOUR), grace), None, "it never falls");
}

#[test]
fn what_is_gone_or_replaced_is_forgotten() {
    let mut m = head(0);
    for key in ["acme/bad.parquet", "acme/mended.parquet", "acme/worse.parquet"] {
        m.quarantined.push(Quarantined { key: key.into(), size: 1, etag: Some("e".into()), reason: String::new(), at: at(0) });
    }
    let listing = [listed("acme/b.parquet", "e"), listed("acme/bad.parquet", "e"), listed("acme/mended.parquet", "new")];
    assert_eq!(forgettable(&m, &listing), ["acme/a.parquet", "acme/mended.parquet", "acme/worse.parquet"]);
}

#[test]
fn young_or_recent_manifests_are_kept() {
    let versions: Vec<_> = (1..=30).map(|v| (v, at(v * HOUR))).collect();
    assert_eq!(prunable(30, &versions, at(30 * HOUR)), [1, 2, 3, 4, 5, 6]);
    assert_eq!(prunable(30, &versions, at(90 * HOUR)), (1..=14).collect::<Vec<_>>());
    assert_eq!(prunable(10, &versions[..10], at(90 * HOUR)), Vec::<u64>::new());
}
