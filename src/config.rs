//! The configuration of [`crate::CompactionManager`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::archive::ArchiveTarget;
use crate::settings::values::{self, Compaction, Parquet, Retention, Sweep, Tenant, Values};
use icepack_core::model::inputs::{Exclude, Files, Rules};
use icepack_core::model::layout;
use icepack_core::model::pages::PageSizes;
use icepack_core::model::policy::{
    ArchivePolicy, CompactionStrategy, Policy, Rewritten, Uniting, Within, Writing,
};
use icepack_core::model::price::Prices;
use icepack_core::model::publish::{Layout, Publish};
use icepack_core::model::retention::{RetentionConfig, lookup};
use icepack_core::model::shard::Shard;
use icepack_core::model::symlink::Symlink;
use icepack_core::model::time_column::TimeColumn;

/// Settings of one tenant. Unset fields follow the general configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactionOverrides {
    /// See [`CompactionConfig::timestamp_column`].
    pub timestamp_column: Option<TimeColumn>,
    /// See [`CompactionConfig::strategy`].
    pub strategy: Option<CompactionStrategy>,
    /// See [`CompactionConfig::within`].
    pub within: Option<Within>,
    /// See [`CompactionConfig::min_files_to_compact`].
    pub min_files_to_compact: Option<usize>,
    /// See [`CompactionConfig::small_file_threshold`].
    pub small_file_threshold: Option<u64>,
    /// See [`CompactionConfig::target_file_size`].
    pub target_file_size: Option<u64>,
    /// See [`CompactionConfig::max_file_size`].
    pub max_file_size: Option<u64>,
    /// See [`CompactionConfig::max_raw_age`].
    pub max_raw_age: Option<Duration>,
    /// See [`CompactionConfig::min_raw_age`].
    pub min_raw_age: Option<Duration>,
    /// See [`CompactionConfig::rewritten`].
    pub rewritten: Option<Rewritten>,
    /// See [`CompactionConfig::uniting`].
    pub uniting: Option<Uniting>,
}

/// What dates the rows of each tenant.
#[derive(Debug, Clone, Default)]
pub struct TimeColumns {
    /// For tenants that have no entry of their own.
    pub general: TimeColumn,
    /// By a tenant's name or a glob; a tenant without an entry has the general one.
    pub own: BTreeMap<String, Option<TimeColumn>>,
}

impl TimeColumns {
    /// What dates the rows of `tenant`.
    pub fn of(&self, tenant: &str) -> TimeColumn {
        let own = lookup(self.own.iter(), tenant).and_then(Option::as_ref);
        own.unwrap_or(&self.general).clone()
    }
}

/// The settings of the job. Sizes are in bytes.
///
/// ```
/// use std::time::Duration;
/// use icepack::{CompactionConfig, CompactionOverrides};
///
/// let mut config = CompactionConfig { memory_limit: 1 << 30, max_raw_age: Duration::from_secs(3600), ..CompactionConfig::default() };
/// config.overrides.insert("eu-*".into(), CompactionOverrides { target_file_size: Some(64 << 20), ..CompactionOverrides::default() });
/// assert_eq!(config.policy_for("eu-west").target_file_size, 64 << 20);
/// assert_eq!(config.policy_for("acme").target_file_size, 128 << 20);
/// ```
#[derive(Debug, Clone)]
pub struct CompactionConfig {
    /// Fewer small files of a folder are left alone, until one of them is older than `max_raw_age`.
    pub min_files_to_compact: usize,
    /// The size of snapshots in bytes: outputs are cut towards it.
    pub target_file_size: u64,
    /// The most bytes of a snapshot that takes along a rest too small for a file of its own.
    pub max_file_size: u64,
    /// Files of fewer bytes are small.
    pub small_file_threshold: u64,
    /// The time between two passes of a [`crate::CompactionTask`].
    pub compaction_interval_seconds: u64,
    /// Whether [`crate::CompactionManager::should_compact`] may ever say yes.
    pub auto_compact: bool,
    /// Which files a pass takes.
    pub strategy: CompactionStrategy,
    /// Which of these files may be merged with each other.
    pub within: Within,
    /// How long rows are kept.
    pub retention: RetentionConfig,
    /// The archive of expired rows. None drops them.
    pub archive: Option<Arc<dyn ArchiveTarget>>,

    /// What dates a row.
    pub timestamp_column: TimeColumn,
    /// The columns that together identify a row. Only rows that have a value in each of them are
    /// compared for duplicates. Empty: every row is kept.
    pub id_columns: Vec<String>,
    /// How snapshots are written.
    pub writing: Writing,
    /// Small raw files of this age are compacted, whatever the counts. Large files, and those alone
    /// in their folder, stay as they are.
    pub max_raw_age: Duration,
    /// A raw file that was written more recently is left alone. The store's time of its last write
    /// counts.
    pub min_raw_age: Duration,
    /// What is done with a file under a used name that has other rows. The same rows are never
    /// taken in again.
    pub rewritten: Rewritten,
    /// Which columns of different types are united, besides those that can be united without loss.
    pub uniting: Uniting,
    /// How long a row may be overdue before its file is rewritten for its sake alone.
    pub slack: Duration,
    /// Expired rows wait for one another until they have so many bytes, or the slack is over.
    pub archive_min_object_size: u64,
    /// A pass that would expire more than this percentage of a tenant's rows is refused for that
    /// tenant; 100 refuses none.
    pub max_expire_percent: u8,
    /// The prices that plans use.
    pub prices: Prices,
    /// Files are deleted so long after a commit retired them.
    pub delete_delay: Duration,
    /// Outputs that no manifest names are kept for so long.
    pub orphan_grace: Duration,
    /// Bytes of memory that the job may take for its data.
    pub memory_limit: u64,
    /// The number of tenants that are in work at once.
    pub concurrency: usize,
    /// No group is begun after so long.
    pub max_duration: Option<Duration>,
    /// The directory for sorted runs that do not fit into memory. None is the system's temporary
    /// directory.
    pub spill_dir: Option<PathBuf>,
    /// Settings of single tenants, by a name or a glob.
    pub overrides: BTreeMap<String, CompactionOverrides>,
    /// Keeps Delta tables that show the live view. Without the cargo feature `delta`, a pass is
    /// refused.
    pub publish: Option<Publish>,
    /// Keeps symlink manifests that list what is live.
    pub symlink: Option<Symlink>,
    /// The shard of this job, where several jobs share the work.
    pub shard: Shard,
    /// Keys that are left alone.
    pub exclude: Exclude,
    /// Names of inputs.
    pub files: Files,
    /// Where the tenants are.
    pub layout: layout::Layout,
    /// How large the pages of manifests are. Tests make them small.
    #[doc(hidden)]
    pub page_sizes: PageSizes,
    /// New raw files in the plans of a pass that are held at once. Tests cannot have so many.
    #[doc(hidden)]
    pub files_at_once: usize,
}

/// The default of [`CompactionConfig::files_at_once`]: some 240 MiB. A tenant with more is done in
/// rounds, which also bounds its head: each round ends with a sweep, after which head need not name
/// the files that it took.
const FILES_AT_ONCE: usize = 250_000;

impl Default for CompactionConfig {
    /// The configuration without any setting.
    fn default() -> Self {
        Self::from(&Values::default())
    }
}

/// Each setting is named here, so that one cannot be forgotten: those with `_` are for the opening
/// of stores and for the command line.
impl From<&Values> for CompactionConfig {
    fn from(settings: &Values) -> Self {
        let Values {
            store: _,
            layout: tenants_layout,
            timestamp_column,
            id_column,
            encodings,
            memory_limit,
            spill_dir,
            max_duration,
            concurrency,
            interval,
            report: _,
            exclude,
            files,
            compaction:
                Compaction {
                    strategy,
                    within,
                    min_files_to_compact,
                    small_file_threshold,
                    target_file_size,
                    max_file_size,
                    max_raw_age,
                    min_raw_age,
                    rewritten,
                    widen,
                    assume_zone,
                },
            parquet:
                Parquet {
                    compression,
                    compression_columns,
                    row_group_size,
                    bloom_filter,
                },
            retention,
            archive,
            sweep: Sweep {
                delete_delay,
                orphan_grace,
            },
            publish:
                values::Publish {
                    delta,
                    symlink,
                    layout,
                    keep,
                },
            metrics: _,
            prices,
            tenants,
        } = settings;
        let Retention {
            slack,
            max_expire_percent,
            default_ttl: _,
            allow_short_ttl: _,
            drop: _,
            tenants: _,
        } = retention;
        let own = |(tenant, own): (&String, &Tenant)| (tenant.clone(), own.into());
        Self {
            min_files_to_compact: min_files_to_compact.0,
            target_file_size: target_file_size.0,
            max_file_size: max_file_size.0,
            small_file_threshold: small_file_threshold.0,
            compaction_interval_seconds: interval.0.as_secs().max(1),
            auto_compact: true,
            strategy: strategy.0,
            within: within.0,
            retention: retention.into(),
            archive: None,
            timestamp_column: timestamp_column.0.clone(),
            id_columns: id_column.0.clone(),
            writing: Writing {
                encodings: encodings.0,
                compression: compression.0,
                compression_columns: (compression_columns.iter())
                    .map(|(column, codec)| (column.clone(), codec.0))
                    .collect(),
                row_group_size: row_group_size.as_ref().map(|size| size.0),
                bloom_filter: bloom_filter.0.clone(),
            },
            max_raw_age: max_raw_age.0,
            min_raw_age: min_raw_age.0,
            rewritten: rewritten.0,
            uniting: Uniting {
                widen_to_double: widen.0,
                assume_utc: assume_zone.is_some(),
            },
            slack: slack.0,
            archive_min_object_size: archive.min_object_size.0,
            max_expire_percent: max_expire_percent.0,
            prices: prices.into(),
            delete_delay: delete_delay.0,
            orphan_grace: orphan_grace.0,
            memory_limit: memory_limit.0,
            concurrency: concurrency.0,
            max_duration: max_duration.as_ref().map(|d| d.0),
            spill_dir: spill_dir.as_ref().map(|dir| dir.0.clone()),
            overrides: tenants.iter().map(own).collect(),
            publish: delta.0.then_some(Publish {
                layout: layout.0,
                keep: keep.0,
            }),
            symlink: symlink.0.then_some(Symlink {
                root: None,
                keep: keep.0,
            }),
            shard: Shard::WHOLE,
            exclude: exclude.0.clone(),
            files: files.0.clone(),
            layout: tenants_layout.0.clone(),
            page_sizes: PageSizes::default(),
            files_at_once: FILES_AT_ONCE,
        }
    }
}

impl From<&Tenant> for CompactionOverrides {
    fn from(tenant: &Tenant) -> Self {
        let own = &tenant.compaction;
        Self {
            timestamp_column: tenant.timestamp_column.as_ref().map(|c| c.0.clone()),
            strategy: Some(own.strategy.0),
            within: Some(own.within.0),
            min_files_to_compact: Some(own.min_files_to_compact.0),
            small_file_threshold: Some(own.small_file_threshold.0),
            target_file_size: Some(own.target_file_size.0),
            max_file_size: Some(own.max_file_size.0),
            max_raw_age: Some(own.max_raw_age.0),
            min_raw_age: Some(own.min_raw_age.0),
            rewritten: Some(own.rewritten.0),
            uniting: Some(Uniting {
                widen_to_double: own.widen.0,
                assume_utc: own.assume_zone.is_some(),
            }),
        }
    }
}

#[cfg(feature = "cli")]
impl crate::settings::Settings {
    /// The library's configuration, without the archive.
    pub fn compaction_config(&self) -> CompactionConfig {
        CompactionConfig {
            retention: self.retention(),
            ..self.values().into()
        }
    }
}

/// The environment variables that users of the local-disk compactor set.
const ENV_INTERVAL: &str = "ALLSOURCE_SNAPSHOT_INTERVAL_SECONDS";
const ENV_SYSTEM_DAYS: &str = "ALLSOURCE_RETENTION_SYSTEM_DAYS";

impl CompactionConfig {
    /// The defaults, with `ALLSOURCE_SNAPSHOT_INTERVAL_SECONDS` and
    /// `ALLSOURCE_RETENTION_SYSTEM_DAYS` on top. An empty value counts as unset. A wrong one is
    /// warned of, and the default holds: a typo must not keep a service from starting.
    pub fn from_env() -> Self {
        let get = |name| std::env::var(name).ok();
        Self::from_env_vars(
            get(ENV_INTERVAL).as_deref(),
            get(ENV_SYSTEM_DAYS).as_deref(),
        )
    }

    /// [`Self::from_env`] with the values as arguments: seconds between passes, days that tenant
    /// `system` is kept (0: for ever).
    pub fn from_env_vars(interval: Option<&str>, system_days: Option<&str>) -> Self {
        let mut config = Self::default();
        if let Some(seconds) = parse_env(ENV_INTERVAL, interval) {
            config.compaction_interval_seconds = seconds;
        }
        if let Some(days) = parse_env(ENV_SYSTEM_DAYS, system_days) {
            // 0 must never come to mean "expire everything".
            let ttl = (days > 0).then(|| Duration::from_secs(days.saturating_mul(86_400)));
            config.retention.set("system", ttl);
        }
        config
    }

    /// [`Self::from_env_vars`] with the interval alone.
    pub fn from_env_var(interval: Option<&str>) -> Self {
        Self::from_env_vars(interval, None)
    }

    /// The policy of one tenant.
    pub fn policy_for(&self, tenant: &str) -> Policy {
        let own = lookup(self.overrides.iter(), tenant)
            .cloned()
            .unwrap_or_default();
        Policy {
            timestamp_column: own
                .timestamp_column
                .unwrap_or_else(|| self.timestamp_column.clone()),
            strategy: own.strategy.unwrap_or(self.strategy),
            within: own.within.unwrap_or(self.within),
            min_files_to_compact: own
                .min_files_to_compact
                .unwrap_or(self.min_files_to_compact)
                .max(1),
            small_file_threshold: own
                .small_file_threshold
                .unwrap_or(self.small_file_threshold),
            target_file_size: own.target_file_size.unwrap_or(self.target_file_size).max(1),
            max_file_size: own.max_file_size.unwrap_or(self.max_file_size),
            max_raw_age: own.max_raw_age.unwrap_or(self.max_raw_age),
            min_raw_age: own.min_raw_age.unwrap_or(self.min_raw_age),
            rewritten: own.rewritten.unwrap_or(self.rewritten),
            uniting: own.uniting.unwrap_or(self.uniting),
            ttl: self.retention.ttl_for(tenant),
            slack: self.slack,
            archive: self.archive.is_some().then_some(ArchivePolicy {
                min_object_size: self.archive_min_object_size,
            }),
            max_expire_percent: self.max_expire_percent.clamp(1, 100),
            delete_delay: self.delete_delay,
            orphan_grace: self.orphan_grace,
        }
    }

    /// What dates the rows of each tenant.
    pub fn time_columns(&self) -> TimeColumns {
        let own = |(name, own): (&String, &CompactionOverrides)| {
            (name.clone(), own.timestamp_column.clone())
        };
        TimeColumns {
            general: self.timestamp_column.clone(),
            own: self.overrides.iter().map(own).collect(),
        }
    }

    /// Whether a table or a list names what is live, so that every file must be known.
    pub fn publishes(&self) -> bool {
        self.publish.is_some() || self.symlink.is_some()
    }

    /// What counts as an input.
    pub fn input_rules(&self) -> Rules {
        Rules {
            exclude: self.exclude.clone(),
            files: self.files.clone(),
            own_symlinks: self.symlink.is_some(),
            own_log: self.publish.is_some_and(|p| p.layout == Layout::PerTenant),
            within: self.within,
            within_of: self
                .overrides
                .iter()
                .filter_map(|(name, own)| Some((name.clone(), own.within?)))
                .collect(),
        }
    }

    /// The time between two passes.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.compaction_interval_seconds)
    }
}

fn parse_env(name: &str, value: Option<&str>) -> Option<u64> {
    let text = value.map(str::trim).filter(|v| !v.is_empty())?;
    match text.parse() {
        Ok(n) => Some(n),
        Err(e) => {
            tracing::warn!("{name}=`{text}` is not a whole number ({e}): the default stays");
            None
        }
    }
}
