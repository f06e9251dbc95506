//! Ten thousand tenants, a million files: what a look at them costs beside a listing of their keys,
//! in time, memory and requests.
//!
//! The store is in memory and lists a thousand keys at a time, in order, as S3 does, but at once.
//! `cargo bench --bench scale` prints the figures; arguments: tenants, files of each.

#![allow(
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a benchmark measures with the real clock, and prints ratios"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use icepack::run::Selection;
use icepack::store::counting::CountingStore;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::file::{Micros, RowStats, Snapshot};
use icepack_core::model::manifest::{Manifest, Stamp};
use icepack_core::model::names::{FileId, Tenant, manifest_key, snapshot_key};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use ulid::Ulid;

const PAGE: usize = 1_000;

/// Files that are only listed, and a store of those that are written and read.
#[derive(Debug, Default)]
struct Shelf {
    listed: Arc<BTreeMap<Path, ObjectMeta>>,
    inner: InMemory,
}

impl fmt::Display for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shelf")
    }
}

impl Shelf {
    fn pages(
        &self,
        prefix: Option<&Path>,
        after: Option<&Path>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.map(|p| format!("{p}/")).unwrap_or_default();
        let start = after.map_or_else(
            || Bound::Included(Path::from(prefix.clone())),
            |a| Bound::Excluded(a.clone()),
        );
        let listed = Arc::clone(&self.listed);
        let pages = stream::unfold((start, prefix), move |(start, prefix)| {
            let range = listed.range((start, Bound::Unbounded));
            let page: Vec<ObjectMeta> = range
                .map(|(_, m)| m)
                .skip_while(|m| m.location.as_ref() < prefix.as_str())
                .take_while(|m| m.location.as_ref().starts_with(&prefix))
                .take(PAGE)
                .cloned()
                .collect();
            let next = page
                .last()
                .map(|m| (Bound::Excluded(m.location.clone()), prefix));
            std::future::ready(next.map(|next| (stream::iter(page.into_iter().map(Ok)), next)))
        });
        pages.flatten().boxed()
    }
}

#[async_trait]
impl ObjectStore for Shelf {
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if prefix.is_some_and(|p| {
            p.as_ref().starts_with("_icepack/runs") || p.as_ref().starts_with("_icepack/_")
        }) {
            return self.inner.list(prefix);
        }
        self.pages(prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.pages(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let below = prefix.map(|p| format!("{p}/")).unwrap_or_default();
        let mut common_prefixes: Vec<Path> = Vec::new();
        let mut next = Bound::Included(Path::from(below.clone()));
        while let Some((key, _)) = self
            .listed
            .range((next, Bound::Unbounded))
            .next()
            .filter(|(k, _)| k.as_ref().starts_with(&below))
        {
            let folder = key.as_ref()[below.len()..]
                .split('/')
                .next()
                .unwrap_or_default();
            common_prefixes.push(Path::from(format!("{below}{folder}")));
            next = Bound::Excluded(Path::from(format!("{below}{folder}0")));
        }
        Ok(ListResult {
            common_prefixes,
            objects: Vec::new(),
            extensions: object_store::Extensions::default(),
        })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented {
            operation: "uploads".to_owned(),
            implementer: self.to_string(),
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
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
        inner: InMemory::new(),
    }
}

/// Tenants whose files are finished snapshots.
async fn packed(tenants: usize, files: usize) -> Result<Shelf> {
    let (now, inner, mut listed) = (Utc::now(), InMemory::new(), BTreeMap::new());
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
            let (path, meta) = file(&snapshot_key(&tenant, from, to, id), 128 << 20, now - hour);
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

/// A line of `/proc/self/status` in MiB; none on other systems.
fn memory(line: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|l| {
        l.strip_prefix(line)?
            .split_whitespace()
            .next()?
            .parse::<f64>()
            .ok()
    })?;
    Some(kib / 1_024.0)
}

struct Measured<T> {
    done: T,
    time: Duration,
    /// MiB at most, beyond what there was.
    more: f64,
}

async fn measure<T>(work: impl Future<Output = T>) -> Measured<T> {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let before = memory("VmRSS:");
    let start = Instant::now();
    let done = work.await;
    let time = start.elapsed();
    let more = memory("VmHWM:")
        .zip(before)
        .map_or(f64::NAN, |(peak, before)| peak - before);
    Measured { done, time, more }
}

fn show(what: &str, time: Duration, beside: Duration, more: f64) {
    println!(
        "  {what:34} {:7.2} s {:6.2} x the listing {more:7.0} MiB",
        time.as_secs_f64(),
        time.as_secs_f64() / beside.as_secs_f64()
    );
}

async fn listing(store: &Shelf) -> Measured<usize> {
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

    println!("{tenants} tenants with {files} raw files each");
    let store = Arc::new(raw(tenants, files));
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
    let store = Arc::new(packed(tenants, files).await?);
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
