//! What the state of a large tenant costs: a manifest of so many snapshots, five in each folder, of
//! which a pass touches fifty folders. `cargo bench --bench manifest`; argument: snapshots.
//!
//! It prints bytes and seconds, and how many times more one object would cost that has everything.

#![allow(
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a benchmark measures with the real clock, and prints ratios"
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use icepack::protocol::discover::decode;
use icepack::protocol::pages;
use icepack_core::model::file::{Fingerprint, Micros, RowStats, Snapshot};
use icepack_core::model::manifest::{
    Edit, Ledger, Manifest, Observed, RetireReason, Retired, Stamp,
};
use icepack_core::model::names::{FileId, Place, Tenant, page_key, snapshot_key};
use icepack_core::model::pages::{NewPage, PageSizes};
use icepack_core::plan::commit::apply;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::Arc;
use ulid::Ulid;
use xxhash_rust::xxh3::xxh3_128;

const EACH: u64 = 5;
const TOUCHED: u64 = 50;

type Failed = Box<dyn std::error::Error>;

fn at(hour: u64) -> DateTime<Utc> {
    let hour = i64::try_from(hour % 8_000).unwrap_or(0);
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::hours(hour)
}

fn stamp(n: u128) -> Stamp {
    Stamp {
        run_id: FileId::NIL,
        commit_id: FileId(Ulid::from_parts(0, n)),
        at: at(0),
    }
}

/// Tags, fingerprints and ids are as random as real ones.
fn snapshot(tenant: &Tenant, folder: u64, n: u64) -> Snapshot {
    let (from, to) = (
        Micros::from_datetime(at(n)),
        Micros::from_datetime(at(n + 1)),
    );
    let random = xxh3_128(&(folder * EACH + n).to_le_bytes());
    let ms = u64::try_from(at(n).timestamp_millis()).unwrap_or(0);
    let id = FileId(Ulid::from_parts(ms, random));
    let place = Place::Folder(format!(
        "{tenant}/device={:05}/dt=2026-{:02}-{:02}",
        folder / 40,
        folder % 40 / 28 + 1,
        folder % 28 + 1
    ));
    Snapshot {
        key: snapshot_key(&place, tenant, from, to, id),
        id,
        size: (100 << 20) + (random as u64 >> 40),
        etag: Some(format!("\"{:032x}\"", random.wrapping_mul(3))),
        schema: None,
        dated_by: Some("timestamp".into()),
        stats: RowStats {
            rows: 1_000_000 + (random as u64 >> 50),
            min: Some(from),
            max: Some(to),
            fingerprint: Fingerprint(random.wrapping_mul(7)),
            ..RowStats::default()
        },
    }
}

fn manifest(tenant: &Tenant, snapshots: u64) -> Manifest {
    let mut head = Manifest::first(tenant.clone(), stamp(0));
    head.snapshots = (0..snapshots)
        .map(|n| snapshot(tenant, n / EACH, n % EACH))
        .collect();
    head.snapshots.sort_by_key(|s| (s.stats.min, s.id));
    head
}

/// In each of the folders two snapshots become one.
fn edit(tenant: &Tenant, snapshots: u64) -> Edit {
    let mut edit = Edit::new(FileId::NIL, stamp(1).commit_id);
    let folders = snapshots / EACH;
    for folder in (0..TOUCHED).map(|n| n * folders / TOUCHED) {
        let mut merged = snapshot(tenant, folder, EACH);
        merged.stats.rows = 0;
        for s in (0..2).map(|n| snapshot(tenant, folder, n)) {
            merged.stats.rows += s.stats.rows;
            edit.ledger += Ledger {
                rows_in: s.stats.rows,
                rows_kept: s.stats.rows,
                ..Ledger::default()
            };
            edit.retire.push(Retired {
                key: s.key,
                size: s.size,
                etag: s.etag,
                rows: s.stats.rows,
                fingerprint: Some(s.stats.fingerprint),
                remembered: None,
                found: None,
                at: at(0),
                reason: RetireReason::Compacted,
            });
        }
        edit.add.push(merged);
    }
    edit
}

fn minter(ms: u64) -> impl FnMut() -> FileId {
    let mut n = 0_u128;
    move || {
        n += 1;
        FileId(Ulid::from_parts(ms, xxh3_128(&n.to_le_bytes())))
    }
}

async fn bytes_of(
    store: &InMemory,
    tenant: &Tenant,
    ids: &BTreeSet<FileId>,
) -> Result<u64, Failed> {
    let mut sum = 0;
    for id in ids {
        sum += store.head(&Path::from(page_key(tenant, *id))).await?.size;
    }
    Ok(sum)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// One object that has everything: read, changed, written.
fn whole(head: &Manifest, edit: &Edit) -> Result<(u64, Duration), Failed> {
    let body = serde_json::to_vec(head)?;
    let start = Instant::now();
    let read = decode(&head.tenant, head.version, &body)?;
    let next = apply(&read, edit, &Observed::since(&read), stamp(1)).map_err(|c| c.to_string())?;
    let written = serde_json::to_vec(&next)?;
    Ok(((body.len() + written.len()) as u64, start.elapsed()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let snapshots = std::env::args()
        .skip(1)
        .find_map(|a| a.parse().ok())
        .unwrap_or(1_000_000);
    let tenant = Tenant::parse("acme")?;
    let (mut head, edit) = (manifest(&tenant, snapshots), edit(&tenant, snapshots));
    println!(
        "{snapshots} snapshots in {} folders, {TOUCHED} of which change",
        snapshots / EACH
    );
    let (moved, took) = whole(&head, &edit)?;

    let memory = Arc::new(InMemory::new());
    let store: Arc<dyn ObjectStore> = memory.clone();
    let new: Vec<NewPage> = head.divide(PageSizes::default(), minter(1))?;
    pages::write(&store, &tenant, new).await?;
    let body = head.document()?;
    drop(head);

    let start = Instant::now();
    let mut read = decode(&tenant, 1, &body)?;
    let wanted: BTreeSet<FileId> = edit
        .keys()
        .filter_map(|k| read.pages.unread_of(k))
        .collect();
    assert!(pages::read(store.as_ref(), &mut read, &wanted).await?);
    let mut next =
        apply(&read, &edit, &Observed::since(&read), stamp(1)).map_err(|c| c.to_string())?;
    let new = next.divide(PageSizes::default(), minter(2))?;
    let written: BTreeSet<FileId> = new.iter().map(|p| p.id).collect();
    pages::write(&store, &tenant, new).await?;
    let document = next.document()?;
    let paged = start.elapsed();

    let (in_pages, out_pages) = (
        bytes_of(&memory, &tenant, &wanted).await?,
        bytes_of(&memory, &tenant, &written).await?,
    );
    println!(
        "  head {:.2} MiB, {} pages of {:.1} KiB",
        mib(body.len() as u64),
        next.pages.all().len(),
        in_pages as f64 / 1024.0 / wanted.len() as f64
    );
    println!(
        "  a commit reads {:.2} MiB (head and {} pages), writes {:.2} MiB (head and {} pages), {:.2} s",
        mib(body.len() as u64 + in_pages),
        wanted.len(),
        mib(document.len() as u64 + out_pages),
        written.len(),
        paged.as_secs_f64()
    );
    let sum = body.len() as u64 + in_pages + document.len() as u64 + out_pages;
    println!(
        "  one object with everything: {:.0} x the bytes, {:.0} x the time",
        moved as f64 / sum as f64,
        took.as_secs_f64() / paged.as_secs_f64()
    );
    Ok(())
}
