//! `icepack demo`: realistic raw events, to try icepack on. What is written is a function of the
//! seed and the end time alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};
use arrow::error::ArrowError;
use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use futures::{StreamExt, TryStreamExt, stream};
use icepack_core::model::file::Micros;
use icepack_core::model::names::Tenant;
use icepack_core::model::report::SCHEMA_VERSION;
use indicatif::ProgressBar;
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutOptions};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde::Serialize;

use crate::store::{OpenOptions, OpenStore, path};
use crate::{Error, Result};

use super::app::App;
use super::args::{DEMO_SEED, DemoArgs};
use super::bars;
use super::render::text::{count, plural, size};
use super::render::{Report, View};

/// Uploads at once.
const IN_FLIGHT: usize = 8;

/// The newest event is a little old, so that no event is in the future for a machine whose clock
/// is behind.
const LAG: TimeDelta = TimeDelta::minutes(1);

/// Days of tenant `system`, whose rows are kept for 30: half of them have expired.
const SYSTEM_DAYS: u32 = 60;

/// How many of a hundred events are of each kind.
const KINDS: [(&str, u32); 10] = [
    ("page.viewed", 34),
    ("cart.item_added", 17),
    ("search.performed", 13),
    ("cart.item_removed", 7),
    ("order.placed", 8),
    ("payment.captured", 7),
    ("order.shipped", 6),
    ("session.started", 5),
    ("payment.failed", 2),
    ("order.refunded", 1),
];
const CURRENCIES: [&str; 4] = ["EUR", "USD", "GBP", "JPY"];
const NOTES: [&str; 5] = [
    "",
    "gift wrap",
    "leave at the door",
    "call on arrival – second floor",
    "fragile",
];
const SOURCES: [&str; 4] = ["web", "ios", "android", "partner-api"];

/// What was written.
#[derive(Debug, Default, Serialize)]
struct DemoReport {
    schema_version: u32,
    store: String,
    tenants: BTreeMap<String, Written>,
    totals: Written,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Written {
    files: u64,
    rows: u64,
    bytes: u64,
}

impl Written {
    fn add(&mut self, rows: u64, bytes: u64) {
        self.files += 1;
        self.rows += rows;
        self.bytes += bytes;
    }
}

impl Report for DemoReport {
    fn text(&self, _: View<'_>) -> String {
        let mut lines = vec![format!(
            "wrote {} with {} events ({}) to {}",
            plural(self.totals.files, "file"),
            count(self.totals.rows),
            size(self.totals.bytes),
            self.store
        )];
        lines.extend(self.tenants.iter().map(|(name, w)| {
            format!(
                "  {name}: {} with {} events each, {}",
                plural(w.files, "file"),
                count(w.rows / w.files.max(1)),
                size(w.bytes)
            )
        }));
        lines.push(format!("next: icepack plan --store {}", self.store));
        lines.join("\n")
    }
}

impl App<'_> {
    pub(super) async fn demo(&mut self, args: &DemoArgs) -> Result<u8> {
        let location = self.settings.store()?;
        let files = plan(args, self.clock.now())?;
        let options = OpenOptions {
            create: true,
            ..OpenOptions::default()
        };
        let target = self.open(&location, options).await?;
        let bar = bars::files(&self.canvas, files.len() as u64);
        let written = write(&target, files, args.force_add, &bar).await;
        bar.finish_and_clear();
        self.emit(&written?)
    }
}

/// One file to be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileSpec {
    tenant: Tenant,
    key: String,
    seed: u64,
    rows: u32,
    from: Micros,
    to: Micros,
}

fn plan(args: &DemoArgs, now: DateTime<Utc>) -> Result<Vec<FileSpec>> {
    let end = args.end.unwrap_or(now - LAG);
    let mut seen = BTreeSet::new();
    let mut plan = Vec::new();
    for (name, files, rows) in tenants(args)? {
        let tenant = Tenant::parse(name).map_err(|e| Error::Usage(format!("--tenants: {e}")))?;
        if !seen.insert(name) {
            return Err(Error::Usage(format!(
                "--tenants names `{tenant}` twice: keep one"
            )));
        }
        let days = if name == "system" {
            SYSTEM_DAYS
        } else {
            args.days
        };
        // Equal slots, and the half by which the last file reaches beyond its own: each reaches half
        // a slot into the next, as late events do.
        let start = Micros::from_datetime(end - TimeDelta::days(days.into())).0;
        let length = i128::from(Micros::from_datetime(end).0 - start);
        let halves = 2 * i128::from(files) + 1;
        let edge = |half: i128| Micros(start + (length * half / halves) as i64);
        plan.extend((0..files).map(|i| {
            let (from, to) = (edge(2 * i128::from(i)), edge(2 * i128::from(i) + 3));
            FileSpec {
                key: key(&tenant, from, i, args.seed),
                seed: file_seed(args.seed, name, i),
                tenant: tenant.clone(),
                rows,
                from,
                to,
            }
        }));
    }
    Ok(plan)
}

/// The same name has the same rows: a name that comes again with others is set aside.
fn key(tenant: &Tenant, from: Micros, file: u32, seed: u64) -> String {
    let time = from.to_datetime().format("%Y%m%dT%H%M%S");
    let of_seed = if seed == DEMO_SEED {
        String::new()
    } else {
        format!("-{seed}")
    };
    format!("{tenant}/events-{time}-{file}{of_seed}.parquet")
}

/// Tenants with the number of their files and of the rows of each. Usually one large tenant, some
/// smaller ones in proportion, one with a TTL, and one with fewer files than are worth compacting.
fn tenants(args: &DemoArgs) -> Result<Vec<(&str, u32, u32)>> {
    let (files, rows) = (args.files, args.rows);
    let usual = [
        ("acme", files, rows),
        ("globex", (files / 10).max(4), rows / 5),
        ("initech", (files * 3 / 100).max(3), rows / 20),
        ("system", (files / 50).max(4), rows / 10),
        ("umbrella", 2, rows / 100),
    ]
    .map(|(name, files, rows)| (name, files, rows.max(1)));
    if args.demo_tenants.is_empty() {
        return Ok(usual.to_vec());
    }
    let positive = |text: &str| text.parse::<u32>().ok().filter(|n| *n > 0);
    let texts = args.demo_tenants.iter().map(|text| text.trim());
    let chosen = texts.map(|text| {
        let Some((name, numbers)) = text.split_once('=') else {
            let known = usual.iter().find(|(name, ..)| *name == text);
            return Ok(known.copied().unwrap_or((text, files, rows)));
        };
        numbers
            .split_once('x')
            .and_then(|(files, rows)| Some((name, positive(files)?, positive(rows)?)))
            .ok_or_else(|| {
                Error::Usage(format!(
                    "--tenants: `{text}` is not NAME=FILESxROWS, like globex=40x2000"
                ))
            })
    });
    chosen.collect()
}

/// A seed for each file, the same on every machine (FNV-1a).
fn file_seed(seed: u64, tenant: &str, file: u32) -> u64 {
    let bytes = seed
        .to_le_bytes()
        .into_iter()
        .chain(tenant.bytes())
        .chain(file.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

async fn write(
    target: &OpenStore,
    files: Vec<FileSpec>,
    force_add: bool,
    bar: &ProgressBar,
) -> Result<DemoReport> {
    if !force_add {
        refuse_tenants_in_use(target, &files).await?;
    }
    let mut report = DemoReport {
        schema_version: SCHEMA_VERSION,
        store: target.location.to_string(),
        ..DemoReport::default()
    };
    let mut writes = stream::iter(files)
        .map(|file| write_one(target, file))
        .buffer_unordered(IN_FLIGHT);
    while let Some((file, bytes)) = writes.try_next().await? {
        let tenant = report.tenants.entry(file.tenant.to_string()).or_default();
        tenant.add(file.rows.into(), bytes);
        report.totals.add(file.rows.into(), bytes);
        bar.inc(1);
    }
    Ok(report)
}

/// Whoever mistypes the store must not find demo data among the real.
async fn refuse_tenants_in_use(target: &OpenStore, files: &[FileSpec]) -> Result<()> {
    let mut tenants: Vec<&str> = files.iter().map(|f| f.tenant.as_str()).collect();
    tenants.dedup();
    for tenant in tenants {
        let prefix: Path = path(tenant)?;
        let first = target.store.list(Some(&prefix)).try_next().await;
        let first = first.map_err(|e| {
            let action = format!("cannot list {}", target.location.display(tenant));
            Error::store(action, e)
        })?;
        if let Some(found) = first {
            return Err(Error::Usage(format!(
                "tenant `{tenant}` already has files, {} among them: choose another --store or \
                 other --tenants, or pass --force-add to add to it",
                target.location.display(found.location.as_ref())
            )));
        }
    }
    Ok(())
}

/// Writes a file and returns its size.
async fn write_one(target: &OpenStore, file: FileSpec) -> Result<(FileSpec, u64)> {
    let spec = file.clone();
    let encoded = tokio::task::spawn_blocking(move || encode(&spec))
        .await
        .map_err(|e| Error::local("cannot make events", e))??;
    let bytes = encoded.len() as u64;
    let options = PutOptions::from(PutMode::Create);
    let key = path(&file.key)?;
    match target.store.put_opts(&key, encoded.into(), options).await {
        Ok(_) => Ok((file, bytes)),
        Err(object_store::Error::AlreadyExists { .. }) => Err(Error::Usage(format!(
            "{} is already there and nothing is overwritten: use another --seed or --end",
            target.location.display(&file.key)
        ))),
        Err(e) => Err(Error::store(
            format!("cannot write {}", target.location.display(&file.key)),
            e,
        )),
    }
}

fn encode(file: &FileSpec) -> Result<Vec<u8>> {
    let failed = |e| Error::local("cannot encode events as Parquet", e);
    let batch = events(file).map_err(|e| Error::local("cannot make events", e))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    let mut writer =
        ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).map_err(failed)?;
    writer.write(&batch).map_err(failed)?;
    writer.into_inner().map_err(failed)
}

/// The events of a file, which look like a shop's, in time order.
fn events(file: &FileSpec) -> Result<RecordBatch, ArrowError> {
    let mut rng = Rng::with_seed(file.seed);
    let (rows, end) = (file.rows, file.to.0.max(file.from.0 + 1));
    let mut times: Vec<i64> = (0..rows).map(|_| rng.i64(file.from.0..end)).collect();
    times.sort_unstable();
    let versions: UInt64Array = (0..rows).map(|_| skewed(&mut rng, 40.0) + 1).collect();
    let mut texts = |text: fn(&mut Rng) -> Option<String>| -> ArrayRef {
        Arc::new((0..rows).map(|_| text(&mut rng)).collect::<StringArray>())
    };
    let ids = texts(|rng| Some(uuid(rng)));
    let kinds = texts(|rng| Some(kind(rng).to_owned()));
    // A few customers do most of the buying.
    let entities = texts(|rng| Some(format!("entity-{:05}", skewed(rng, 50_000.0))));
    let payloads = texts(|rng| Some(payload(rng)));
    let metadata = texts(metadata);
    RecordBatch::try_from_iter_with_nullable([
        ("event_id", ids, false),
        ("event_type", kinds, false),
        ("entity_id", entities, false),
        ("payload", payloads, false),
        (
            "timestamp",
            Arc::new(TimestampMicrosecondArray::from(times)) as ArrayRef,
            false,
        ),
        ("metadata", metadata, true),
        ("version", Arc::new(versions), false),
    ])
}

/// A number below `below`; the small ones are much more frequent.
fn skewed(rng: &mut Rng, below: f64) -> u64 {
    (rng.f64().powi(4) * below) as u64
}

/// In the form of a random UUID (version 4).
fn uuid(rng: &mut Rng) -> String {
    let n = rng.u128(..);
    let (a, b, c, d, e) = (
        (n >> 96) as u32,
        (n >> 80) as u16,
        (n >> 64) as u16 & 0x0fff,
        (n >> 48) as u16 & 0x3fff | 0x8000,
        n as u64 & 0xffff_ffff_ffff,
    );
    format!("{a:08x}-{b:04x}-4{c:03x}-{d:04x}-{e:012x}")
}

fn kind(rng: &mut Rng) -> &'static str {
    let mut n = rng.u32(0..100);
    for (name, weight) in KINDS {
        if n < weight {
            return name;
        }
        n -= weight;
    }
    KINDS[0].0
}

fn payload(rng: &mut Rng) -> String {
    let currency = CURRENCIES[rng.usize(..CURRENCIES.len())];
    let note = NOTES[rng.usize(..NOTES.len())];
    let (cents, qty, session) = (rng.u32(99..50_000), skewed(rng, 12.0) + 1, rng.u64(..));
    format!(
        r#"{{"amount_cents":{cents},"currency":"{currency}","qty":{qty},"note":"{note}","session":"{session:016x}"}}"#
    )
}

fn metadata(rng: &mut Rng) -> Option<String> {
    if rng.bool() {
        return None;
    }
    let source = SOURCES[rng.usize(..SOURCES.len())];
    let (minor, patch) = (rng.u8(0..9), rng.u8(0..20));
    Some(format!(
        r#"{{"source":"{source}","app":"3.{minor}.{patch}"}}"#
    ))
}

#[cfg(test)]
mod tests;
