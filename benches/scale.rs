//! Ten thousand tenants, a million files: what a look at them costs beside a listing of their keys,
//! in time, memory and requests.
//!
//! The store is in memory and lists a thousand keys at a time, in order, as S3 does, but at once.
//! `cargo bench --bench scale` prints the figures; arguments: tenants, files of each, the folders of
//! one tenant of which a few have work, and the keys of the largest stores, which are made when they
//! are listed. An argument of 0 leaves its part out.

#![allow(
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a benchmark measures with the real clock, and prints ratios"
)]

#[path = "../tests/support/keys.rs"]
mod keys;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use icepack::pass::Selection;
use icepack::store::counting::CountingStore;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::file::{Micros, RowStats, Snapshot};
use icepack_core::model::manifest::{Manifest, Stamp};
use icepack_core::model::names::{FileId, Place, Tenant, manifest_key, snapshot_key};
use icepack_dst::intercept::{InterceptStore, Kind, Page, Reply};
use keys::{Keys, at_most};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta, ObjectStore, ObjectStoreExt, Result};
use parquet::arrow::ArrowWriter;
use ulid::Ulid;

const PAGE: usize = 1_000;

/// Files that are only listed, and a store of those that are written and read.
#[derive(Debug, Default)]
struct Shelf {
    listed: Arc<BTreeMap<Path, ObjectMeta>>,
    inner: Arc<InMemory>,
}

impl Shelf {
    fn store(&self) -> Arc<dyn ObjectStore> {
        let (listed, inner) = (Arc::clone(&self.listed), Arc::clone(&self.inner));
        Arc::new(InterceptStore::new(
            inner as Arc<dyn ObjectStore>,
            move |request, call| {
                let listed = Arc::clone(&listed);
                async move {
                    let below = request.key.as_ref();
                    let is_inner =
                        below.starts_with("_icepack/runs") || below.starts_with("_icepack/_");
                    let below = if below.is_empty() {
                        String::new()
                    } else {
                        format!("{below}/")
                    };
                    match request.kind {
                        Kind::List | Kind::Page if !is_inner => {
                            Ok(Reply::Page(page(&listed, &below, request.after)))
                        }
                        Kind::Folders => Ok(Reply::Folders(folders(&listed, &below))),
                        _ => call.await,
                    }
                }
            },
        ))
    }
}

fn page(listed: &BTreeMap<Path, ObjectMeta>, below: &str, after: Option<Path>) -> Page {
    let start = after.map_or_else(|| Bound::Included(Path::from(below)), Bound::Excluded);
    let mut metas = listed
        .range((start, Bound::Unbounded))
        .map(|(_, m)| m)
        .skip_while(|m| m.location.as_ref() < below)
        .take_while(|m| m.location.as_ref().starts_with(below));
    let entries: Vec<Result<ObjectMeta>> = metas.by_ref().take(PAGE).cloned().map(Ok).collect();
    let last = entries.last().and_then(|m| m.as_ref().ok());
    let next = metas.next().and(last).map(|m| m.location.clone());
    Page { entries, next }
}

fn folders(listed: &BTreeMap<Path, ObjectMeta>, below: &str) -> ListResult {
    let mut common_prefixes: Vec<Path> = Vec::new();
    let mut next = Bound::Included(Path::from(below));
    while let Some((key, _)) = listed
        .range((next, Bound::Unbounded))
        .next()
        .filter(|(k, _)| k.as_ref().starts_with(below))
    {
        let folder = key.as_ref()[below.len()..]
            .split('/')
            .next()
            .unwrap_or_default();
        common_prefixes.push(Path::from(format!("{below}{folder}")));
        next = Bound::Excluded(Path::from(format!("{below}{folder}0")));
    }
    ListResult {
        common_prefixes,
        objects: Vec::new(),
        extensions: object_store::Extensions::default(),
    }
}

fn file(key: &str, size: u64, modified: DateTime<Utc>) -> (Path, ObjectMeta) {
    let location = Path::from(key);
    let e_tag = Some(format!("\"{:032x}\"", key.len() * 7_919));
    (
        location.clone(),
        ObjectMeta {
            location,
            last_modified: modified,
            size,
            e_tag,
            version: None,
        },
    )
}

/// Tenants with raw files that nobody has packed yet.
fn raw(tenants: usize, files: usize) -> Shelf {
    let now = Utc::now();
    let at = |n: usize| now - TimeDelta::minutes(i64::try_from(n).unwrap_or(0));
    let names = (0..tenants).flat_map(|t| {
        (0..files).map(move |n| {
            (
                n,
                format!("tenant-{t:06}/2026-11/events-{n:08}-0123456789abcdef.parquet"),
            )
        })
    });
    Shelf {
        listed: Arc::new(names.map(|(n, key)| file(&key, 100 << 10, at(n))).collect()),
        inner: Arc::default(),
    }
}

/// Tenants whose files are finished snapshots.
async fn packed(tenants: usize, files: usize) -> Result<Shelf> {
    let (now, inner, mut listed) = (Utc::now(), Arc::new(InMemory::new()), BTreeMap::new());
    for t in 0..tenants {
        let Ok(tenant) = Tenant::parse(&format!("tenant-{t:06}")) else {
            continue;
        };
        let mut head = Manifest::first(
            tenant.clone(),
            Stamp {
                run_id: FileId::NIL,
                commit_id: FileId::NIL,
                at: now,
            },
        );
        for n in 0..files {
            let hour = TimeDelta::hours(i64::try_from(n).unwrap_or(0));
            let (from, to) = (
                Micros::from_datetime(now - hour - TimeDelta::hours(1)),
                Micros::from_datetime(now - hour),
            );
            let id = FileId(Ulid::from_parts(1_700_000_000_000, (t * files + n) as u128));
            let stats = RowStats {
                rows: 1_000_000,
                min: Some(from),
                max: Some(to),
                ..RowStats::default()
            };
            let (path, meta) = file(
                &snapshot_key(&Place::Month(tenant.clone()), &tenant, from, to, id),
                128 << 20,
                now - hour,
            );
            head.snapshots.push(Snapshot {
                key: path.to_string(),
                id,
                size: meta.size,
                etag: meta.e_tag.clone(),
                schema: None,
                dated_by: Some("timestamp".into()),
                stats,
            });
            listed.insert(path, meta);
        }
        let body = Bytes::from(serde_json::to_vec(&head).unwrap_or_default());
        let (path, meta) = file(&manifest_key(&tenant, 1), body.len() as u64, now);
        inner.put(&path, body.into()).await?;
        listed.insert(path, meta);
    }
    Ok(Shelf {
        listed: Arc::new(listed),
        inner,
    })
}

/// Folders that have work.
const BUSY: usize = 50;

/// A small Parquet file of a few rows.
fn small_file(n: usize) -> std::result::Result<Bytes, Box<dyn std::error::Error>> {
    let first = Utc::now().timestamp_micros() - 1_000_000 * i64::try_from(n)?;
    let times = TimestampMicrosecondArray::from_iter_values((0..10).map(|i| first + i));
    let batch = RecordBatch::try_from_iter([("timestamp", Arc::new(times) as ArrayRef)])?;
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None)?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?.into())
}

/// A tenant of so many folders, each with a finished snapshot; some have small files besides.
async fn foldered(
    folders: usize,
) -> std::result::Result<(Arc<InMemory>, u64), Box<dyn std::error::Error>> {
    let (store, tenant) = (Arc::new(InMemory::new()), Tenant::parse("acme")?);
    let stamp = Stamp {
        run_id: FileId::NIL,
        commit_id: FileId::NIL,
        at: Utc::now(),
    };
    let mut head = Manifest::first(tenant.clone(), stamp);
    let at = Micros::from_datetime(Utc::now() - TimeDelta::days(1));
    for n in 0..folders {
        let place = Place::Folder(format!("acme/device={n:06}/dt=2026-11-01"));
        let id = FileId(Ulid::from_parts(1_700_000_000_000, n as u128));
        let key = snapshot_key(&place, &tenant, at, at, id);
        store.put(&Path::from(key.as_str()), "x".into()).await?;
        let stats = RowStats {
            rows: 1_000_000,
            min: Some(at),
            max: Some(at),
            ..RowStats::default()
        };
        head.snapshots.push(Snapshot {
            key,
            id,
            size: 128 << 20,
            etag: None,
            schema: None,
            dated_by: Some("timestamp".into()),
            stats,
        });
    }
    for n in 0..BUSY {
        for file in 0..3 {
            let folder = n * folders / BUSY;
            let key = format!("acme/device={folder:06}/dt=2026-11-01/part-{file}.parquet");
            store
                .put(&Path::from(key), small_file(3 * n + file)?.into())
                .await?;
        }
    }
    let body = Bytes::from(serde_json::to_vec(&head)?);
    let size = body.len() as u64;
    store
        .put(&Path::from(manifest_key(&tenant, 1)), body.into())
        .await?;
    Ok((store, size))
}

/// What a pass over such a tenant costs: the listing, its head, and what it has to do.
async fn many_folders(folders: usize) -> std::result::Result<(), Box<dyn std::error::Error>> {
    println!("one tenant with {folders} folders, {BUSY} of which have 3 small files");
    let (store, head) = foldered(folders).await?;
    let store: Arc<dyn ObjectStore> = store;
    let list = listing(&store).await;
    show("listing the keys", list.time, list.time, list.more);
    for what in ["a pass", "another, that finds nothing to do"] {
        let (counting, counters) = CountingStore::new(store.clone());
        let manager = CompactionManager::new(counting, CompactionConfig::default());
        let pass = measure(manager.run_pass(&Selection::all())).await;
        let report = pass.done?;
        assert_eq!(report.totals.error, None);
        show(what, pass.time, list.time, pass.more);
        let requests = counters.read();
        println!(
            "  {} files merged into {}: {} GET, {} PUT, {} HEAD, {} DELETE, {} listings, those of the \
             tenant of {} pages",
            report.totals.counters.files_compacted,
            report.totals.counters.files_written,
            requests.get,
            requests.put,
            requests.head,
            requests.delete,
            requests.list,
            (folders + 3 * BUSY).div_ceil(PAGE)
        );
    }
    println!(
        "  head is {:.1} MiB, {} bytes a folder",
        head as f64 / f64::from(1 << 20),
        head / folders as u64
    );
    Ok(())
}

struct Measured<T> {
    done: T,
    time: Duration,
    /// MiB at most, beyond what there was.
    more: f64,
}

async fn measure<T>(work: impl Future<Output = T>) -> Measured<T> {
    let start = Instant::now();
    let (done, more) = at_most(work).await;
    Measured {
        done,
        time: start.elapsed(),
        more: more.unwrap_or(f64::NAN),
    }
}

/// Seconds of processor time that the process has taken; none on other systems than Linux.
fn processor() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let (user, system) = (
        fields.next()?.parse::<f64>().ok()?,
        fields.next()?.parse::<f64>().ok()?,
    );
    Some((user + system) / 100.0)
}

/// What planning costs beside a listing of the keys that it lists: a pass that has no time for a
/// group.
async fn many_keys(what: &str, keys: Keys) -> std::result::Result<(), Box<dyn std::error::Error>> {
    println!("{what}: {} keys", keys.count());
    let (store, listed) = keys.store();
    let before = processor();
    let list = listing(&store).await;
    let alone = processor()
        .zip(before)
        .map_or(f64::NAN, |(after, before)| after - before);
    assert_eq!(list.done, keys.count());
    println!(
        "  listing the keys: {alone:.2} s of processor time, {:.0} MiB",
        list.more
    );
    let config = CompactionConfig {
        max_duration: Some(Duration::ZERO),
        ..CompactionConfig::default()
    };
    let manager = CompactionManager::new(store, config);
    let (before, listed_before) = (processor(), listed.load(Ordering::Relaxed));
    let pass = measure(manager.run_pass(&Selection::all())).await;
    let took = processor()
        .zip(before)
        .map_or(f64::NAN, |(after, before)| after - before);
    let report = pass.done?;
    assert_eq!(report.totals.error, None);
    assert_eq!(report.found.map(|f| f.raw_files), Some(keys.count() as u64));
    let times = (listed.load(Ordering::Relaxed) - listed_before) as f64 / keys.count() as f64;
    println!(
        "  a pass that begins no group: {took:.2} s of processor time for {times:.2} listings, {:.2} x \
         listing alone, {:.0} MiB, {} groups planned",
        took / (alone * times),
        pass.more,
        report.totals.counters.groups_left
    );
    Ok(())
}

fn show(what: &str, time: Duration, beside: Duration, more: f64) {
    println!(
        "  {what:34} {:7.2} s {:6.2} x the listing {more:7.0} MiB",
        time.as_secs_f64(),
        time.as_secs_f64() / beside.as_secs_f64()
    );
}

async fn listing(store: &Arc<dyn ObjectStore>) -> Measured<usize> {
    measure(async {
        store
            .list(None)
            .try_fold(0, |n, _| async move { Ok(n + 1) })
            .await
            .unwrap_or(0)
    })
    .await
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut given = std::env::args()
        .skip(1)
        .filter_map(|a| a.parse::<usize>().ok());
    let (tenants, files) = (given.next().unwrap_or(10_000), given.next().unwrap_or(100));
    let (folders, most) = (
        given.next().unwrap_or(200_000),
        given.next().unwrap_or(10_000_000),
    );
    if most > 0 {
        let keys = Keys {
            tenants: 1,
            folders: most / 50,
            files: 50,
            size: 100 << 10,
            modified: Utc::now() - TimeDelta::hours(2),
        };
        many_keys("one tenant with 50 raw files in each folder", keys).await?;
        let keys = Keys {
            tenants: most / 1_000,
            folders: 10,
            files: 100,
            ..keys
        };
        many_keys("tenants with 1,000 raw files each", keys).await?;
    }
    if folders > 0 {
        many_folders(folders).await?;
    }
    if tenants == 0 {
        return Ok(());
    }

    println!("{tenants} tenants with {files} raw files each");
    let store = raw(tenants, files).store();
    let list = listing(&store).await;
    assert_eq!(list.done, tenants * files);
    show("listing the keys", list.time, list.time, list.more);
    let manager = CompactionManager::new(store.clone(), CompactionConfig::default());
    let plan = measure(manager.plan(&Selection::all())).await;
    let report = plan.done?;
    assert_eq!(
        report
            .plans
            .iter()
            .flat_map(|p| &p.groups)
            .map(|g| g.inputs.len())
            .sum::<usize>(),
        tenants * files
    );
    show(
        "planning them (`icepack plan`)",
        plan.time,
        list.time,
        plan.more,
    );
    drop((report, manager, store));

    println!("{tenants} tenants with {files} finished snapshots each");
    let store = packed(tenants, files).await?.store();
    let list = listing(&store).await;
    assert_eq!(list.done, tenants * (files + 1));
    show("listing the keys", list.time, list.time, list.more);
    let (counting, counters) = CountingStore::new(store.clone());
    let manager = CompactionManager::new(counting, CompactionConfig::default());
    let pass = measure(manager.run_pass(&Selection::all())).await;
    let report = pass.done?;
    assert_eq!(
        (
            report.tenants.len(),
            report.totals.counters.files_compacted,
            &report.totals.error
        ),
        (tenants, 0, &None)
    );
    show(
        "a pass that finds nothing to do",
        pass.time,
        list.time,
        pass.more,
    );
    let requests = counters.read();
    println!(
        "  {:.2} requests a tenant: {} GET, {} LIST",
        requests.total() as f64 / tenants as f64,
        requests.get,
        requests.list
    );
    Ok(())
}
