//! The settings that hold, and what the library is told of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::archive::s3::CopySizes;
use crate::archive::{ArchiveOptions, Encryption, LockFor};
use crate::format;
use crate::page::Labels;
use crate::store::Location;
use crate::store::credentials::Connection;
use crate::store::retry::RetryPolicy;
use crate::telemetry::metrics::deliver::{Push, Targets};
use crate::{Error, Result, RetentionConfig};
use icepack_core::model::names::Tenant;
use icepack_core::model::shard::Shard;

use super::display::DisplayValue;
use super::layers::{Layers, Origins, Source};
use super::value;
use super::values::Values;
use super::{check, schema, suggest};

/// A duration as settings write it: `30d`, `1h 30m`; not zero.
///
/// # Errors
/// What to write instead.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    value::some_duration(&text.into())
}

/// The settings that hold, each with its origin.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub(super) values: Values,
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
        // Complaints repeat what was written, and that may hold line breaks.
        let lines = |error| match error {
            Error::Usage(why) => Error::Usage(format::escape_control_characters(&why)),
            other => other,
        };
        let (values, origins) = layers.lay().map_err(lines)?;
        let mut settings = Self {
            values,
            origins,
            file: layers.file.as_ref().map(|(path, _)| path.clone()),
            warnings: Vec::new(),
        };
        let mut warnings = check::check(&settings).map_err(lines)?;
        warnings.extend(layers.other_store(&settings));
        settings.warnings = warnings
            .iter()
            .map(|w| format::escape_control_characters(w))
            .collect();
        Ok(settings)
    }

    /// Every setting.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The store.
    ///
    /// # Errors
    /// [`Error::Usage`] where none is set, or what is set is not one.
    pub fn store(&self) -> Result<Location> {
        self.values.store().map_err(|e| self.at("store", e))
    }

    /// The archive, if there is one.
    ///
    /// # Errors
    /// [`Error::Usage`] where what is set is not a store.
    pub fn archive(&self) -> Result<Option<Location>> {
        let location = self.values.archive.location();
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

    /// The class of objects in the archive.
    pub fn archive_class(&self) -> Option<String> {
        self.values.archive.class()
    }

    /// How the archive is written to.
    pub fn archive_options(&self) -> ArchiveOptions {
        let a = &self.values.archive;
        let key = a.kms_key_id.as_ref().map(|key| key.0.clone());
        let encryption = match (a.sse.as_ref().map(|sse| sse.0), key) {
            (Some("AES256"), _) => Encryption::S3,
            (None, None) => Encryption::Bucket,
            (_, key) => Encryption::Kms(key),
        };
        let lock = a.object_lock_mode.as_ref().zip(a.object_lock_days.as_ref());
        ArchiveOptions {
            storage_class: self.archive_class(),
            verify: a.verify.0,
            checksum: a.checksum.0,
            encryption,
            tagging: a.tagging.0,
            lock: lock.map(|(mode, days)| LockFor {
                mode: mode.0.to_owned(),
                days: u32::try_from(days.0).unwrap_or(u32::MAX),
            }),
            retry: self.archive_retry(),
            copy: CopySizes::default(),
        }
    }

    fn archive_retry(&self) -> RetryPolicy {
        RetryPolicy {
            max_interval: self.values.archive.retry_max_interval.0,
            max_elapsed: self.values.archive.retry_max_elapsed.0,
            ..RetryPolicy::default()
        }
    }

    /// How the archive's server is reached, where that differs from the store's.
    pub fn archive_connection(&self) -> Connection {
        self.values.archive.connection()
    }

    /// How long rows are kept. Without an archive, rows go for good: a TTL that is built in, and
    /// that nobody wrote down, makes none go earlier than the owner's own would.
    pub fn retention(&self) -> RetentionConfig {
        let mut retention = RetentionConfig::from(&self.values.retention);
        for (tenant, built_in) in self.unheeded() {
            retention.per_tenant_ttl.remove(&tenant);
            let owners = retention.ttl_for(&tenant);
            retention.set(tenant, owners.map(|ttl| ttl.max(built_in)));
        }
        retention
    }

    /// The built-in TTLs that drop nothing by themselves.
    fn unheeded(&self) -> Vec<(String, Duration)> {
        if self.values.archive.url.is_some() || self.values.retention.drop.0 {
            return Vec::new();
        }
        let built_in = RetentionConfig::default()
            .per_tenant_ttl
            .into_iter()
            .filter_map(|(tenant, ttl)| Some((tenant, ttl?)));
        built_in
            .filter(|(tenant, _)| self.source(&schema::tenant_ttl_path(tenant)) == Source::Default)
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
            schema::tenant_ttl_path(tenant)
        ))
    }

    /// Of the names that settings are given for, those that no tenant has and that look like a slip
    /// for one of `tenants`. A name of its own may be of a tenant that is still to come.
    pub fn slips(&self, tenants: &[&str]) -> Vec<String> {
        let of_ttl = self.values.retention.tenants.keys().map(|name| {
            let path = schema::tenant_ttl_path(name);
            (name, (self.source(&path), path))
        });
        let of_others = self.values.tenants.keys().map(|name| {
            let path = schema::tenant_path(name);
            (name, (self.source(&path), path))
        });
        let given: BTreeMap<&String, (Source, String)> = of_others
            .chain(of_ttl.filter(|(_, (source, _))| *source != Source::Default))
            .collect();
        let is_slip = |name: &str| Tenant::parse(name).is_ok() && !tenants.contains(&name);
        given
            .into_iter()
            .filter(|(name, _)| is_slip(name))
            .filter_map(|(name, (source, path))| {
                let near = suggest::nearest(name, tenants.iter().copied())?;
                let at = match source {
                    Source::Default => String::new(),
                    source => format!(" ({source})"),
                };
                Some(format!(
                    "{path}{at}: no tenant is called `{name}`; did you mean `{near}`?"
                ))
            })
            .collect()
    }

    /// Where metrics go. Each shard has a group of its own in a Pushgateway.
    ///
    /// # Errors
    /// As [`Self::store`], whose address is the instance where none is set.
    pub fn metrics(&self, shard: Shard) -> Result<Targets> {
        let m = &self.values.metrics;
        let push = match &m.pushgateway {
            Some(url) => {
                let instance = match &m.instance {
                    Some(instance) => instance.0.clone(),
                    None => self.store()?.to_string(),
                };
                let (url, timeout) = (url.0.clone(), m.push_timeout.0);
                Some(Push::new(url, &m.job.0, &instance, shard, timeout))
            }
            None => None,
        };
        Ok(Targets {
            file: m.file.as_ref().map(|file| file.0.clone()),
            push,
            most_tenants: m.max_tenants.0,
        })
    }

    /// What the report says of where it is about; none where passes are not to write one.
    ///
    /// # Errors
    /// As [`Self::store`].
    pub fn pass_report(&self) -> Result<Option<Labels>> {
        if self.values.report.0 {
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
        let (store, archive) = (self.store()?, self.archive()?);
        let is_s3 = |l: &Location| matches!(l, Location::S3 { .. });
        Ok(Labels {
            is_billed: is_s3(&store) || archive.as_ref().is_some_and(is_s3),
            store: store.to_string(),
            archive: archive.map(|a| a.to_string()),
            archive_class: self.archive_class(),
        })
    }

    /// What is odd, but no error.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What is odd about the places on this machine: a pass that spills no rows would not notice.
    pub fn missing_places(&self) -> Option<String> {
        let path = self.values.spill_dir.as_ref()?.0.as_path();
        (!path.is_dir()).then(|| {
            format!(
                "spill_dir ({}): `{}` is not a directory: a pass that needs more memory than \
                 memory_limit will fail; make it, or name another",
                self.source("spill_dir"),
                path.display()
            )
        })
    }

    /// The file that was read.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Where the value at `path` came from.
    pub fn source(&self, path: &str) -> Source {
        self.origins.get(path).cloned().unwrap_or(Source::Default)
    }

    /// Every setting: path, value, origin. Those of single tenants come last.
    pub fn all(&self) -> Vec<(String, DisplayValue, Source)> {
        let mut values = self.values.clone();
        // What is built in and not heeded is shown as it holds.
        let retention = self.retention();
        for (tenant, ttl) in &mut values.retention.tenants {
            ttl.0 = retention.per_tenant_ttl.get(tenant).copied().flatten();
        }
        let written = serde_json::to_value(&values).unwrap_or_default();
        let mut all = Vec::new();
        self.show(&[], &written, &schema::SCHEMA, &mut all);
        // Of a tenant's compaction only what is its own.
        all.retain(|(path, _, source)| !path.starts_with("tenants.") || *source != Source::Default);
        all.sort_by_key(|(path, ..)| path.starts_with("retention.tenants."));
        all.sort_by_key(|(path, ..)| path.starts_with("tenants."));
        all
    }

    fn show(
        &self,
        path: &[&str],
        written: &Value,
        node: &Value,
        all: &mut Vec<(String, DisplayValue, Source)>,
    ) {
        if !schema::is_section(node) {
            let path = schema::join(path);
            let source = self.source(&path);
            all.push((
                path,
                DisplayValue::new(written, &schema::format(node)),
                source,
            ));
            return;
        }
        for (name, written) in written.as_object().into_iter().flatten() {
            if let Some(child) = schema::child(node, name) {
                self.show(&[path, &[name]].concat(), written, child, all);
            }
        }
    }
}
