//! Settings: a flag beats the environment, which beats the file, which beats the default; key by
//! key.

mod check;
mod env;
mod file;
mod keys;
pub mod propose;
mod reference;
mod suggest;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::archive::ObjectArchiveOptions;
use crate::archive::s3::{CopySizes, Encryption, LockFor, S3ArchiveOptions};
use crate::format;
use crate::metrics::deliver::{Push, Targets};
use crate::page::Labels;
use crate::store::Location;
use crate::store::credentials::Connection;
use crate::store::retry::RetryPolicy;
use crate::{CompactionConfig, Error, Result, RetentionConfig};
use icepack_core::model::publish::Publish;
use icepack_core::model::shard::Shard;

pub use env::Environment;
use keys::Draft;
pub use reference::reference;
pub use value::DisplayValue;
use value::Raw;

/// A duration as settings write it: `30d`, `1h 30m`; not zero.
///
/// # Errors
/// What to write instead.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    value::some_duration(Raw::Text(text))
}

/// The file that is read where none is named.
pub const DEFAULT_FILE: &str = "icepack.toml";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File {
        /// Which.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// The environment variable of this name.
    Env(String),
    /// The flag of this name.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// Where each value that is not a default came from, by its path.
pub type Origins = BTreeMap<String, Source>;

/// A setting given as a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagValue {
    /// `--memory-limit`
    pub flag: &'static str,
    /// `memory_limit`
    pub path: &'static str,
    /// As typed.
    pub value: String,
}

/// What the settings are made from, apart from the defaults.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// The configuration file: its path and its text.
    pub file: Option<(PathBuf, String)>,
    /// The `ICEPACK_*` variables.
    pub env: Environment,
    /// What the command line says.
    pub flags: Vec<FlagValue>,
}

impl Layers {
    /// Reads the file: the named one, which must exist, else `./icepack.toml` if it is there.
    ///
    /// # Errors
    /// [`Error::Usage`] where it cannot be read.
    pub fn read(config: Option<PathBuf>, env: Environment, flags: Vec<FlagValue>) -> Result<Self> {
        let named = config.or_else(|| env.get("ICEPACK_CONFIG").map(PathBuf::from));
        let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        let file = match std::fs::read_to_string(&path) {
            Ok(text) => Some((path, text)),
            Err(e) if named.is_none() && e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => {
                return Err(Error::Usage(format!(
                    "cannot read the configuration file `{}`: {e}; check the path given by \
                     --config or ICEPACK_CONFIG",
                    path.display()
                )));
            }
        };
        Ok(Self { file, env, flags })
    }
}

/// Complaints repeat what was written, and that may hold line breaks.
fn one_line(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}

/// The settings that hold, each with its origin.
#[derive(Debug, Clone)]
pub struct Settings {
    draft: Draft,
    origins: Origins,
    file: Option<PathBuf>,
    warnings: Vec<String>,
}

impl Settings {
    /// Lays the layers over each other and checks what they add up to.
    ///
    /// # Errors
    /// [`Error::Usage`] with where the first wrong value stands and what to write instead.
    pub fn resolve(layers: &Layers) -> Result<Self> {
        Self::lay(layers).map_err(|error| match error {
            Error::Usage(why) => Error::Usage(one_line(&why)),
            other => other,
        })
    }

    fn lay(layers: &Layers) -> Result<Self> {
        let mut settings = Self {
            draft: Draft::default(),
            origins: Origins::new(),
            file: None,
            warnings: Vec::new(),
        };
        if let Some((path, text)) = &layers.file {
            file::apply(&mut settings.draft, &mut settings.origins, path, text)?;
            settings.file = Some(path.clone());
        }
        env::apply(&mut settings.draft, &mut settings.origins, &layers.env)?;
        for flag in &layers.flags {
            settings.flag(flag)?;
        }
        settings.warnings = check::check(&settings)?
            .iter()
            .map(|w| one_line(w))
            .collect();
        Ok(settings)
    }

    fn flag(&mut self, given: &FlagValue) -> Result<()> {
        let FlagValue { flag, path, value } = given;
        match keys::set(&mut self.draft, path, Raw::Text(value)) {
            Some(Ok(())) => {}
            Some(Err(why)) => return Err(Error::Usage(format!("{flag}: {why}"))),
            None => {
                return Err(Error::Usage(format!(
                    "{flag} sets `{path}`, which is not a setting"
                )));
            }
        }
        self.origins.insert((*path).to_owned(), Source::Flag(flag));
        if *path == "compaction.strategy" {
            self.drop_tenant_strategies();
        }
        Ok(())
    }

    /// Who types a strategy means it for this pass, whatever the file says of single tenants.
    fn drop_tenant_strategies(&mut self) {
        for (tenant, own) in &mut self.draft.overrides {
            own.strategy = None;
            self.origins
                .remove(&keys::tenant_compaction_path(tenant, "strategy"));
        }
    }

    /// The store.
    ///
    /// # Errors
    /// [`Error::Usage`] where none is set, or what is set is not one.
    pub fn store(&self) -> Result<Location> {
        Location::parse(self.draft.store.as_deref().unwrap_or_default())
            .map_err(|e| self.at("store", e))
    }

    /// The archive, if there is one.
    ///
    /// # Errors
    /// [`Error::Usage`] where what is set is not a store.
    pub fn archive(&self) -> Result<Option<Location>> {
        let location = self
            .draft
            .archive
            .url
            .as_deref()
            .map(Location::parse)
            .transpose();
        location.map_err(|e| self.at("archive.url", e))
    }

    /// Adds where the value stands, unless it stands nowhere.
    fn at(&self, path: &str, error: Error) -> Error {
        match (self.source(path), error) {
            (Source::Default, error) => error,
            (source, Error::Usage(why)) => Error::Usage(format!("{source}: {path}: {why}")),
            (_, error) => error,
        }
    }

    /// How an archive at `location` is written to, where it is not on S3.
    pub fn object_archive_options(&self, location: &Location) -> ObjectArchiveOptions {
        let is_cloud = matches!(location, Location::Cloud { .. });
        // Their clients try again by themselves, and two layers would multiply. A directory has no
        // client.
        let retry = if is_cloud {
            RetryPolicy::NEVER
        } else {
            self.draft.archive.retry
        };
        ObjectArchiveOptions {
            storage_class: self.archive_class(location),
            retry,
            send_class: is_cloud,
        }
    }

    /// The class of objects in an archive at `location`. A directory would refuse one;
    /// `Settings::resolve` has warned that it is ignored.
    pub fn archive_class(&self, location: &Location) -> Option<String> {
        self.draft
            .archive
            .storage_class
            .clone()
            .filter(|_| matches!(location, Location::S3 { .. } | Location::Cloud { .. }))
    }

    /// How an archive on S3 is written to.
    pub fn s3_archive_options(&self) -> S3ArchiveOptions {
        let a = &self.draft.archive;
        let encryption = match (a.sse.as_deref(), &a.kms_key_id) {
            (Some("AES256"), _) => Encryption::S3,
            (None, None) => Encryption::Bucket,
            (_, key) => Encryption::Kms(key.clone()),
        };
        let lock = a
            .lock_mode
            .clone()
            .zip(a.lock_days)
            .map(|(mode, days)| LockFor {
                mode,
                days: u32::try_from(days).unwrap_or(u32::MAX),
            });
        S3ArchiveOptions {
            storage_class: a.storage_class.clone(),
            verify: a.verify,
            checksum: a.checksum,
            encryption,
            tagging: a.tagging,
            lock,
            retry: a.retry,
            copy: CopySizes::default(),
        }
    }

    /// How the archive's server is reached, where that differs from the store's.
    pub fn archive_connection(&self) -> &Connection {
        &self.draft.archive.connection
    }

    /// The library's configuration, without the archive.
    pub fn compaction_config(&self) -> CompactionConfig {
        let d = &self.draft;
        let mut config = CompactionConfig {
            compaction_interval_seconds: d.interval.as_secs().max(1),
            retention: self.retention(),
            timestamp_column: d.timestamp_column.clone(),
            id_column: d.id_column.clone(),
            encodings: d.encodings,
            slack: d.slack,
            archive_min_object_size: d.archive.min_object_size,
            plan_for_archive: d.archive.url.is_some(),
            max_expire_percent: d.max_expire_percent,
            prices: d.prices.clone(),
            archive_class: d.archive.storage_class.clone(),
            archive_copies: self.copies(),
            delete_delay: d.delete_delay,
            orphan_grace: d.orphan_grace,
            publish: d.publish.delta.then_some(Publish {
                layout: d.publish.layout,
                keep: d.publish.keep,
            }),
            memory_limit: d.memory_limit,
            concurrency: d.concurrency,
            max_duration: d.max_duration,
            spill_dir: d.spill_dir.clone(),
            overrides: d.overrides.clone(),
            exclude: d.exclude.clone(),
            ..CompactionConfig::default()
        };
        let c = &d.compaction;
        config.strategy = c.strategy.unwrap_or(config.strategy);
        config.min_files_to_compact = c
            .min_files_to_compact
            .unwrap_or(config.min_files_to_compact);
        config.small_file_threshold = c
            .small_file_threshold
            .unwrap_or(config.small_file_threshold);
        config.target_file_size = c.target_file_size.unwrap_or(config.target_file_size);
        config.max_file_size = c.max_file_size.unwrap_or(config.max_file_size);
        config.max_raw_age = c.max_raw_age.unwrap_or(config.max_raw_age);
        config
    }

    /// How long rows are kept. Without an archive, rows go for good: a TTL that is built in, and
    /// that nobody wrote down, makes none go earlier than the owner's own would.
    fn retention(&self) -> RetentionConfig {
        let mut retention = self.draft.retention.clone();
        for (tenant, built_in) in self.unheeded() {
            retention.per_tenant_ttl.remove(&tenant);
            let owners = retention.ttl_for(&tenant);
            retention.set(tenant, owners.map(|ttl| ttl.max(built_in)));
        }
        retention
    }

    /// The built-in TTLs that drop nothing by themselves.
    fn unheeded(&self) -> Vec<(String, Duration)> {
        let d = &self.draft;
        if d.archive.url.is_some() || d.drop {
            return Vec::new();
        }
        let built_in = RetentionConfig::default()
            .per_tenant_ttl
            .into_iter()
            .filter_map(|(tenant, ttl)| Some((tenant, ttl?)));
        built_in
            .filter(|(tenant, _)| self.source(&keys::tenant_ttl_path(tenant)) == Source::Default)
            .collect()
    }

    /// Why a tenant's rows are kept although a TTL is built in for it, and what to set; none where
    /// that is not so.
    pub fn kept(&self, tenant: &str) -> Option<String> {
        let (_, ttl) = self
            .unheeded()
            .into_iter()
            .find(|(name, _)| name == tenant)?;
        if self.retention().ttl_for(tenant).is_some() {
            return None;
        }
        let ttl = format::duration(ttl);
        Some(format!(
            "tenant `{tenant}` keeps its rows: a TTL of {ttl} is built in for it, but there is no \
             archive, and the configuration does not say that they may be dropped; set {} to \
             \"{ttl}\" or \"forever\", archive.url, or retention.drop = true",
            keys::tenant_ttl_path(tenant)
        ))
    }

    /// Where metrics go. Each shard has a group of its own in a Pushgateway.
    ///
    /// # Errors
    /// As [`Self::store`], whose address is the instance where none is set.
    pub fn metrics(&self, shard: Shard) -> Result<Targets> {
        let m = &self.draft.metrics;
        let push = match &m.pushgateway {
            Some(url) => {
                let instance = m
                    .instance
                    .clone()
                    .map_or_else(|| self.store().map(|s| s.to_string()), Ok)?;
                Some(Push::new(url.clone(), &m.job, &instance, shard))
            }
            None => None,
        };
        Ok(Targets {
            file: m.file.clone(),
            push,
            most_tenants: m.max_tenants,
        })
    }

    /// What the report says of where it is about; none where passes are not to write one.
    ///
    /// # Errors
    /// As [`Self::store`].
    pub fn pass_report(&self) -> Result<Option<Labels>> {
        if self.draft.report {
            self.report_labels().map(Some)
        } else {
            Ok(None)
        }
    }

    /// What the report says of where it is about.
    ///
    /// # Errors
    /// As [`Self::store`] and [`Self::archive`].
    pub fn report_labels(&self) -> Result<Labels> {
        let archive = self.archive()?;
        let archive_class = archive.as_ref().and_then(|a| self.archive_class(a));
        Ok(Labels {
            store: self.store()?.to_string(),
            archive: archive.map(|a| a.to_string()),
            archive_class,
        })
    }

    /// Whether the store can copy into the archive by itself: S3 into S3, with the same server and
    /// credentials.
    pub fn copies(&self) -> bool {
        let is_s3 = |location: Result<Location>| matches!(location, Ok(Location::S3 { .. }));
        let archive = self
            .archive()
            .and_then(|a| a.ok_or_else(|| Error::Usage(String::new())));
        is_s3(self.store()) && is_s3(archive) && *self.archive_connection() == Connection::default()
    }

    /// What is odd, but no error.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The file that was read.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Where the value at `path` came from.
    pub fn source(&self, path: &str) -> Source {
        self.origins.get(path).cloned().unwrap_or(Source::Default)
    }

    /// Every setting: path, value, origin.
    pub fn all(&self) -> Vec<(String, DisplayValue, Source)> {
        // What is built in and not heeded is shown as it holds.
        let kept: BTreeMap<String, DisplayValue> = self
            .unheeded()
            .into_iter()
            .map(|(tenant, _)| {
                (
                    keys::tenant_ttl_path(&tenant),
                    DisplayValue::ttl(self.retention().ttl_for(&tenant)),
                )
            })
            .collect();
        let all = keys::show_all(&self.draft).into_iter();
        all.map(|(path, shown)| {
            (
                path.clone(),
                kept.get(&path).cloned().unwrap_or(shown),
                self.source(&path),
            )
        })
        .collect()
    }
}
