//! Every setting: its name, how it is read and how it is shown. The file, the environment and
//! `config show` all follow these tables, so that none of them can know a key that the others do
//! not.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::archive::s3::Verify;
use crate::metrics::deliver;
use crate::store::credentials::Connection;
use crate::store::retry::RetryPolicy;
use crate::{CompactionConfig, CompactionOverrides, Encodings, RetentionConfig};
use icepack_core::model::inputs::Exclude;
use icepack_core::model::manifest::ChecksumAlgorithm;
use icepack_core::model::price::{CLASSES, ClassPrice, Prices};
use icepack_core::model::publish::Layout;

use super::value::{
    DisplayValue, Raw, boolean, count, duration, endpoint, list, natural, one_of, path, percent,
    price, size, some_duration, some_size, text, ttl, web_address,
};

/// All settings while the layers are laid over each other: defaults at first.
#[derive(Debug, Clone)]
pub struct Draft {
    pub store: Option<String>,
    pub timestamp_column: String,
    pub id_column: String,
    pub encodings: Encodings,
    pub memory_limit: u64,
    pub spill_dir: Option<PathBuf>,
    pub max_duration: Option<Duration>,
    pub concurrency: usize,
    pub interval: Duration,
    /// `[compaction]`; every field is set.
    pub compaction: CompactionOverrides,
    /// `retention.default_ttl` and `[retention.tenants]`.
    pub retention: RetentionConfig,
    pub slack: Duration,
    pub allow_short_ttl: bool,
    /// Whether rows may be dropped without an archive by a TTL that nobody wrote.
    pub drop: bool,
    pub max_expire_percent: u8,
    pub archive: ArchiveDraft,
    pub delete_delay: Duration,
    pub orphan_grace: Duration,
    pub publish: PublishDraft,
    pub metrics: MetricsDraft,
    /// Whether each pass puts the report into the store.
    pub report: bool,
    /// Keys that are not looked at.
    pub exclude: Exclude,
    /// `[prices]`, with every class of [`CLASSES`].
    pub prices: Prices,
    /// `[tenants.NAME.compaction]`.
    pub overrides: BTreeMap<String, CompactionOverrides>,
}

impl Default for Draft {
    fn default() -> Self {
        let c = CompactionConfig::default();
        Self {
            store: None,
            timestamp_column: c.timestamp_column.clone(),
            id_column: c.id_column.clone(),
            encodings: c.encodings,
            memory_limit: c.memory_limit,
            spill_dir: c.spill_dir.clone(),
            max_duration: c.max_duration,
            concurrency: c.concurrency,
            interval: c.interval(),
            compaction: CompactionOverrides {
                strategy: Some(c.strategy),
                min_files_to_compact: Some(c.min_files_to_compact),
                small_file_threshold: Some(c.small_file_threshold),
                target_file_size: Some(c.target_file_size),
                max_file_size: Some(c.max_file_size),
                max_raw_age: Some(c.max_raw_age),
            },
            retention: c.retention,
            slack: c.slack,
            allow_short_ttl: false,
            drop: false,
            max_expire_percent: c.max_expire_percent,
            archive: ArchiveDraft::default(),
            delete_delay: c.delete_delay,
            orphan_grace: c.orphan_grace,
            publish: PublishDraft::default(),
            metrics: MetricsDraft::default(),
            report: false,
            exclude: c.exclude,
            prices: c.prices,
            overrides: c.overrides,
        }
    }
}

/// `[publish]`.
#[derive(Debug, Clone)]
pub struct PublishDraft {
    pub delta: bool,
    pub layout: Layout,
    pub keep: Duration,
}

impl Default for PublishDraft {
    fn default() -> Self {
        Self {
            delta: false,
            layout: Layout::default(),
            keep: Duration::from_secs(7 * 86_400),
        }
    }
}

/// `[metrics]`.
#[derive(Debug, Clone)]
pub struct MetricsDraft {
    pub file: Option<PathBuf>,
    pub pushgateway: Option<Url>,
    pub job: String,
    pub instance: Option<String>,
    pub max_tenants: usize,
}

impl Default for MetricsDraft {
    fn default() -> Self {
        Self {
            file: None,
            pushgateway: None,
            job: "icepack".to_owned(),
            instance: None,
            max_tenants: deliver::MOST_TENANTS,
        }
    }
}

/// `[archive]`.
#[derive(Debug, Clone)]
pub struct ArchiveDraft {
    pub url: Option<String>,
    pub storage_class: Option<String>,
    pub min_object_size: u64,
    pub verify: Verify,
    pub checksum: ChecksumAlgorithm,
    pub connection: Connection,
    pub sse: Option<String>,
    pub kms_key_id: Option<String>,
    pub tagging: bool,
    pub lock_mode: Option<String>,
    pub lock_days: Option<usize>,
    pub retry: RetryPolicy,
}

impl Default for ArchiveDraft {
    fn default() -> Self {
        Self {
            url: None,
            storage_class: None,
            min_object_size: CompactionConfig::default().archive_min_object_size,
            verify: Verify::default(),
            checksum: ChecksumAlgorithm::default(),
            connection: Connection::default(),
            sse: None,
            kms_key_id: None,
            tagging: true,
            lock_mode: None,
            lock_days: None,
            retry: RetryPolicy::default(),
        }
    }
}

const VERIFY: [(&str, Verify); 2] = [
    ("checksum", Verify::Checksum),
    ("readback", Verify::Readback),
];
const CHECKSUMS: [(&str, ChecksumAlgorithm); 2] = [
    ("crc64nvme", ChecksumAlgorithm::Crc64Nvme),
    ("sha256", ChecksumAlgorithm::Sha256),
];
const LAYOUTS: [(&str, Layout); 2] = [
    ("per-tenant", Layout::PerTenant),
    ("shared", Layout::Shared),
];
const ENCODINGS: [(&str, Encodings); 2] =
    [("plain", Encodings::Plain), ("delta", Encodings::Delta)];
const ENCRYPTION: [(&str, &str); 2] = [("AES256", "AES256"), ("aws:kms", "aws:kms")];
const LOCK_MODES: [(&str, &str); 2] = [("GOVERNANCE", "GOVERNANCE"), ("COMPLIANCE", "COMPLIANCE")];

/// One setting outside `[compaction]`.
pub struct Key {
    /// As in the file, with dots.
    pub path: &'static str,
    set: fn(&mut Draft, Raw<'_>) -> Result<(), String>,
    show: fn(&Draft) -> DisplayValue,
}

/// One setting of `[compaction]` or of `[tenants.NAME.compaction]`.
pub struct CompactionKey {
    /// Its name there.
    pub name: &'static str,
    set: fn(&mut CompactionOverrides, Raw<'_>) -> Result<(), String>,
    show: fn(&CompactionOverrides) -> Option<DisplayValue>,
}

/// One setting of `[prices.CLASS]`.
pub struct PriceKey {
    /// Its name there.
    pub name: &'static str,
    set: fn(&mut ClassPrice, Raw<'_>) -> Result<(), String>,
    show: fn(&ClassPrice) -> DisplayValue,
}

fn put<T>(slot: &mut T, value: Result<T, String>) -> Result<(), String> {
    *slot = value?;
    Ok(())
}

fn put_some<T>(slot: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    *slot = Some(value?);
    Ok(())
}

/// Every scalar setting outside `[compaction]`.
pub const KEYS: &[Key] = &[
    Key {
        path: "store",
        set: |d, v| put_some(&mut d.store, text(v)),
        show: |d| DisplayValue::text(d.store.as_deref()),
    },
    Key {
        path: "timestamp_column",
        set: |d, v| put(&mut d.timestamp_column, text(v)),
        show: |d| DisplayValue::text(Some(&d.timestamp_column)),
    },
    Key {
        path: "id_column",
        set: |d, v| put(&mut d.id_column, text(v)),
        show: |d| DisplayValue::text(Some(&d.id_column)),
    },
    Key {
        path: "encodings",
        set: |d, v| put(&mut d.encodings, one_of(v, &ENCODINGS)),
        show: |d| DisplayValue::name_of(&d.encodings, &ENCODINGS),
    },
    Key {
        path: "memory_limit",
        set: |d, v| put(&mut d.memory_limit, some_size(v)),
        show: |d| DisplayValue::size(d.memory_limit),
    },
    Key {
        path: "spill_dir",
        set: |d, v| put_some(&mut d.spill_dir, path(v)),
        show: |d| DisplayValue::text(d.spill_dir.as_ref().map(|p| p.to_string_lossy()).as_deref()),
    },
    Key {
        path: "max_duration",
        set: |d, v| put_some(&mut d.max_duration, some_duration(v)),
        show: |d| {
            d.max_duration
                .map_or_else(DisplayValue::nothing, DisplayValue::duration)
        },
    },
    Key {
        path: "concurrency",
        set: |d, v| put(&mut d.concurrency, count(v)),
        show: |d| DisplayValue::count(d.concurrency),
    },
    Key {
        path: "interval",
        set: |d, v| put(&mut d.interval, some_duration(v)),
        show: |d| DisplayValue::duration(d.interval),
    },
    Key {
        path: "report",
        set: |d, v| put(&mut d.report, boolean(v)),
        show: |d| DisplayValue::boolean(d.report),
    },
    Key {
        path: "exclude",
        set: |d, v| put(&mut d.exclude, list(v).and_then(Exclude::parse)),
        show: |d| DisplayValue::list(d.exclude.patterns()),
    },
    Key {
        path: "retention.default_ttl",
        set: |d, v| put(&mut d.retention.default_ttl, ttl(v)),
        show: |d| DisplayValue::ttl(d.retention.default_ttl),
    },
    Key {
        path: "retention.slack",
        set: |d, v| put(&mut d.slack, duration(v)),
        show: |d| DisplayValue::duration(d.slack),
    },
    Key {
        path: "retention.allow_short_ttl",
        set: |d, v| put(&mut d.allow_short_ttl, boolean(v)),
        show: |d| DisplayValue::boolean(d.allow_short_ttl),
    },
    Key {
        path: "retention.drop",
        set: |d, v| put(&mut d.drop, boolean(v)),
        show: |d| DisplayValue::boolean(d.drop),
    },
    Key {
        path: "retention.max_expire_percent",
        set: |d, v| put(&mut d.max_expire_percent, percent(v)),
        show: |d| DisplayValue::count(usize::from(d.max_expire_percent)),
    },
    Key {
        path: "archive.url",
        set: |d, v| put_some(&mut d.archive.url, text(v)),
        show: |d| DisplayValue::text(d.archive.url.as_deref()),
    },
    Key {
        path: "archive.storage_class",
        set: |d, v| put_some(&mut d.archive.storage_class, text(v)),
        show: |d| DisplayValue::text(d.archive.storage_class.as_deref()),
    },
    Key {
        path: "archive.min_object_size",
        set: |d, v| put(&mut d.archive.min_object_size, size(v)),
        show: |d| DisplayValue::size(d.archive.min_object_size),
    },
    Key {
        path: "archive.verify",
        set: |d, v| put(&mut d.archive.verify, one_of(v, &VERIFY)),
        show: |d| DisplayValue::name_of(&d.archive.verify, &VERIFY),
    },
    Key {
        path: "archive.checksum",
        set: |d, v| put(&mut d.archive.checksum, one_of(v, &CHECKSUMS)),
        show: |d| DisplayValue::name_of(&d.archive.checksum, &CHECKSUMS),
    },
    Key {
        path: "archive.endpoint",
        set: |d, v| put_some(&mut d.archive.connection.endpoint, endpoint(v)),
        show: |d| DisplayValue::text(d.archive.connection.endpoint.as_deref()),
    },
    Key {
        path: "archive.region",
        set: |d, v| put_some(&mut d.archive.connection.region, text(v)),
        show: |d| DisplayValue::text(d.archive.connection.region.as_deref()),
    },
    Key {
        path: "archive.profile",
        set: |d, v| put_some(&mut d.archive.connection.profile, text(v)),
        show: |d| DisplayValue::text(d.archive.connection.profile.as_deref()),
    },
    Key {
        path: "archive.sse",
        set: |d, v| {
            put_some(
                &mut d.archive.sse,
                one_of(v, &ENCRYPTION).map(str::to_owned),
            )
        },
        show: |d| DisplayValue::text(d.archive.sse.as_deref()),
    },
    Key {
        path: "archive.kms_key_id",
        set: |d, v| put_some(&mut d.archive.kms_key_id, text(v)),
        show: |d| DisplayValue::text(d.archive.kms_key_id.as_deref()),
    },
    Key {
        path: "archive.tagging",
        set: |d, v| put(&mut d.archive.tagging, boolean(v)),
        show: |d| DisplayValue::boolean(d.archive.tagging),
    },
    Key {
        path: "archive.object_lock_mode",
        set: |d, v| {
            put_some(
                &mut d.archive.lock_mode,
                one_of(v, &LOCK_MODES).map(str::to_owned),
            )
        },
        show: |d| DisplayValue::text(d.archive.lock_mode.as_deref()),
    },
    Key {
        path: "archive.object_lock_days",
        set: |d, v| put_some(&mut d.archive.lock_days, count(v)),
        show: |d| {
            d.archive
                .lock_days
                .map_or_else(DisplayValue::nothing, DisplayValue::count)
        },
    },
    Key {
        path: "archive.retry_max_interval",
        set: |d, v| put(&mut d.archive.retry.max_interval, some_duration(v)),
        show: |d| DisplayValue::duration(d.archive.retry.max_interval),
    },
    Key {
        path: "archive.retry_max_elapsed",
        set: |d, v| put(&mut d.archive.retry.max_elapsed, duration(v)),
        show: |d| DisplayValue::duration(d.archive.retry.max_elapsed),
    },
    Key {
        path: "sweep.delete_delay",
        set: |d, v| put(&mut d.delete_delay, duration(v)),
        show: |d| DisplayValue::duration(d.delete_delay),
    },
    Key {
        path: "sweep.orphan_grace",
        set: |d, v| put(&mut d.orphan_grace, duration(v)),
        show: |d| DisplayValue::duration(d.orphan_grace),
    },
    Key {
        path: "publish.delta",
        set: |d, v| put(&mut d.publish.delta, boolean(v)),
        show: |d| DisplayValue::boolean(d.publish.delta),
    },
    Key {
        path: "publish.layout",
        set: |d, v| put(&mut d.publish.layout, one_of(v, &LAYOUTS)),
        show: |d| DisplayValue::name_of(&d.publish.layout, &LAYOUTS),
    },
    Key {
        path: "publish.keep",
        set: |d, v| put(&mut d.publish.keep, duration(v)),
        show: |d| DisplayValue::duration(d.publish.keep),
    },
    Key {
        path: "metrics.file",
        set: |d, v| put_some(&mut d.metrics.file, path(v)),
        show: |d| {
            DisplayValue::text(
                d.metrics
                    .file
                    .as_ref()
                    .map(|p| p.to_string_lossy())
                    .as_deref(),
            )
        },
    },
    Key {
        path: "metrics.pushgateway",
        set: |d, v| put_some(&mut d.metrics.pushgateway, web_address(v)),
        show: |d| {
            DisplayValue::text(
                d.metrics
                    .pushgateway
                    .as_ref()
                    .map(deliver::shown)
                    .as_deref(),
            )
        },
    },
    Key {
        path: "metrics.job",
        set: |d, v| put(&mut d.metrics.job, text(v)),
        show: |d| DisplayValue::text(Some(&d.metrics.job)),
    },
    Key {
        path: "metrics.instance",
        set: |d, v| put_some(&mut d.metrics.instance, text(v)),
        show: |d| DisplayValue::text(d.metrics.instance.as_deref()),
    },
    Key {
        path: "metrics.max_tenants",
        set: |d, v| put(&mut d.metrics.max_tenants, count(v)),
        show: |d| DisplayValue::count(d.metrics.max_tenants),
    },
    Key {
        path: "prices.region",
        set: |d, v| put(&mut d.prices.region, text(v)),
        show: |d| DisplayValue::text(Some(&d.prices.region)),
    },
    Key {
        path: "prices.date",
        set: |d, v| put(&mut d.prices.date, text(v)),
        show: |d| DisplayValue::text(Some(&d.prices.date)),
    },
    Key {
        path: "prices.source",
        set: |d, v| put(&mut d.prices.source, text(v)),
        show: |d| DisplayValue::text(Some(&d.prices.source)),
    },
    Key {
        path: "prices.currency",
        set: |d, v| put(&mut d.prices.currency, text(v)),
        show: |d| DisplayValue::text(Some(&d.prices.currency)),
    },
];

/// Every setting of `[prices.CLASS]`.
pub const PRICE_KEYS: &[PriceKey] = &[
    PriceKey {
        name: "storage",
        set: |p, v| put(&mut p.storage, price(v)),
        show: |p| DisplayValue::price(p.storage),
    },
    PriceKey {
        name: "put",
        set: |p, v| put(&mut p.put, price(v)),
        show: |p| DisplayValue::price(p.put),
    },
    PriceKey {
        name: "get",
        set: |p, v| put(&mut p.get, price(v)),
        show: |p| DisplayValue::price(p.get),
    },
    PriceKey {
        name: "retrieval",
        set: |p, v| put(&mut p.retrieval, price(v)),
        show: |p| DisplayValue::price(p.retrieval),
    },
    PriceKey {
        name: "retrieval_bulk",
        set: |p, v| put(&mut p.retrieval_bulk, price(v)),
        show: |p| DisplayValue::price(p.retrieval_bulk),
    },
    PriceKey {
        name: "minimum_days",
        set: |p, v| put(&mut p.minimum_days, natural(v)),
        show: |p| DisplayValue::natural(p.minimum_days),
    },
];

/// Every setting of `[compaction]`.
pub const COMPACTION_KEYS: &[CompactionKey] = &[
    CompactionKey {
        name: "strategy",
        set: |c, v| put_some(&mut c.strategy, text(v).and_then(|t| t.parse())),
        show: |c| c.strategy.map(|s| DisplayValue::text(Some(s.short()))),
    },
    CompactionKey {
        name: "min_files_to_compact",
        set: |c, v| put_some(&mut c.min_files_to_compact, count(v)),
        show: |c| c.min_files_to_compact.map(DisplayValue::count),
    },
    CompactionKey {
        name: "small_file_threshold",
        set: |c, v| put_some(&mut c.small_file_threshold, size(v)),
        show: |c| c.small_file_threshold.map(DisplayValue::size),
    },
    CompactionKey {
        name: "target_file_size",
        set: |c, v| put_some(&mut c.target_file_size, some_size(v)),
        show: |c| c.target_file_size.map(DisplayValue::size),
    },
    CompactionKey {
        name: "max_file_size",
        set: |c, v| put_some(&mut c.max_file_size, some_size(v)),
        show: |c| c.max_file_size.map(DisplayValue::size),
    },
    CompactionKey {
        name: "max_raw_age",
        set: |c, v| put_some(&mut c.max_raw_age, some_duration(v)),
        show: |c| c.max_raw_age.map(DisplayValue::duration),
    },
];

/// The paths of all scalar settings, in the order in which they are shown.
pub fn scalar_paths() -> Vec<String> {
    let before = KEYS
        .iter()
        .filter(|k| !k.path.contains('.'))
        .map(|k| k.path.to_owned());
    let compaction = COMPACTION_KEYS
        .iter()
        .map(|k| format!("compaction.{}", k.name));
    let after = KEYS
        .iter()
        .filter(|k| k.path.contains('.'))
        .map(|k| k.path.to_owned());
    let prices = CLASSES
        .iter()
        .flat_map(|class| PRICE_KEYS.iter().map(|k| price_path(class, k.name)));
    before
        .chain(compaction)
        .chain(after)
        .chain(prices)
        .collect()
}

/// The environment variable of a setting.
pub fn env_name(path: &str) -> String {
    format!("ICEPACK_{}", path.to_ascii_uppercase().replace('.', "_"))
}

/// Reads a value into the setting at `path`; None where there is no such setting.
pub fn set(draft: &mut Draft, path: &str, raw: Raw<'_>) -> Option<Result<(), String>> {
    if let Some(name) = path.strip_prefix("compaction.") {
        return set_compaction(&mut draft.compaction, name, raw);
    }
    if let Some((class, key)) = price_key(path) {
        return draft
            .prices
            .classes
            .get_mut(class)
            .map(|price| (key.set)(price, raw));
    }
    KEYS.iter()
        .find(|k| k.path == path)
        .map(|k| (k.set)(draft, raw))
}

/// The class and the setting of a path like `prices.GLACIER.put`.
fn price_key(path: &str) -> Option<(&str, &'static PriceKey)> {
    let (class, name) = path.strip_prefix("prices.")?.split_once('.')?;
    Some((class, PRICE_KEYS.iter().find(|k| k.name == name)?))
}

/// Where a price of a class is set and shown.
pub fn price_path(class: &str, name: &str) -> String {
    format!("prices.{class}.{name}")
}

/// Reads a value into a setting of `[compaction]` or of one tenant's; None where there is no such
/// setting.
pub fn set_compaction(
    target: &mut CompactionOverrides,
    name: &str,
    raw: Raw<'_>,
) -> Option<Result<(), String>> {
    COMPACTION_KEYS
        .iter()
        .find(|k| k.name == name)
        .map(|k| (k.set)(target, raw))
}

/// Every setting with its value: scalars first, then tenant by tenant.
pub fn show_all(draft: &Draft) -> Vec<(String, DisplayValue)> {
    let mut all: Vec<(String, DisplayValue)> = scalar_paths()
        .into_iter()
        .map(|path| (path.clone(), show_one(draft, &path)))
        .collect();
    let ttls: BTreeMap<_, _> = draft.retention.per_tenant_ttl.iter().collect();
    all.extend(
        ttls.into_iter()
            .map(|(tenant, ttl)| (tenant_ttl_path(tenant), DisplayValue::ttl(*ttl))),
    );
    for (tenant, own) in &draft.overrides {
        let set = COMPACTION_KEYS.iter().filter_map(|k| {
            (k.show)(own).map(|shown| (tenant_compaction_path(tenant, k.name), shown))
        });
        all.extend(set);
    }
    all
}

/// The value of the setting at `path`.
pub fn show_one(draft: &Draft, path: &str) -> DisplayValue {
    let compaction = path
        .strip_prefix("compaction.")
        .and_then(|name| COMPACTION_KEYS.iter().find(|k| k.name == name))
        .and_then(|k| (k.show)(&draft.compaction));
    let other = || {
        KEYS.iter()
            .find(|k| k.path == path)
            .map(|k| (k.show)(draft))
    };
    let price =
        || price_key(path).and_then(|(class, key)| draft.prices.classes.get(class).map(key.show));
    compaction
        .or_else(other)
        .or_else(price)
        .unwrap_or_else(DisplayValue::nothing)
}

/// Where a tenant's TTL is shown, whichever of its two spellings it came from.
pub fn tenant_ttl_path(tenant: &str) -> String {
    format!("retention.tenants.{}", quoted(tenant))
}

/// Where a tenant's own compaction setting is shown.
pub fn tenant_compaction_path(tenant: &str, name: &str) -> String {
    format!("tenants.{}.compaction.{name}", quoted(tenant))
}

/// A key as TOML wants it. Patterns may hold anything.
fn quoted(key: &str) -> String {
    if !key.is_empty()
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    {
        return key.to_owned();
    }
    let mut text = String::new();
    for c in key.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => text.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => text.push(c),
        }
    }
    format!("\"{text}\"")
}
