//! What single values cannot show: whether they fit together.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::archive::{Verify, is_frozen_class};
use crate::budget::LEAST_LIMIT;
use crate::format;
use crate::store::Location;
use crate::{Error, Result};
use icepack_core::model::policy::{Policy, Within};

use super::schema::{self, SCHEMA, join, tenant_compaction_path, tenant_ttl_path};
use super::value::exact_size;
use super::values::Compaction;
use super::{Settings, Source, suggest};

/// The shortest TTL that is taken without being confirmed.
const SHORTEST_TTL: Duration = Duration::from_secs(3600);

/// The names of an archive's cloud for its classes, for those who slip. Servers have further ones,
/// so that an unknown one is no error.
fn storage_classes(archive: &Location) -> (&'static str, &'static [&'static str]) {
    match archive {
        Location::Cloud { scheme, .. } if scheme == "gs" => (
            "Google Cloud Storage's",
            &["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"],
        ),
        Location::Cloud { .. } => ("Azure's", &["Hot", "Cool", "Cold", "Archive"]),
        _ => (
            "S3's",
            &[
                "STANDARD",
                "STANDARD_IA",
                "ONEZONE_IA",
                "INTELLIGENT_TIERING",
                "GLACIER",
                "GLACIER_IR",
                "DEEP_ARCHIVE",
                "REDUCED_REDUNDANCY",
                "EXPRESS_ONEZONE",
            ],
        ),
    }
}

/// Keys of `[archive]` that mean something for every archive, and not on S3 alone.
const FOR_ANY_ARCHIVE: [&str; 5] = [
    "url",
    "storage_class",
    "min_object_size",
    "retry_max_interval",
    "retry_max_elapsed",
];

/// Checks the whole.
///
/// # Errors
/// [`Error::Usage`] for what cannot work or would be dangerous. What is merely odd comes back as
/// warnings.
pub fn check(settings: &Settings) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    check_memory(settings)?;
    check_ttls(settings)?;
    check_sizes(settings, None, &mut warnings)?;
    for (tenant, own) in &settings.values.tenants {
        check_sizes(settings, Some((tenant, &own.compaction)), &mut warnings)?;
    }
    check_times(settings)?;
    check_archive(settings, &mut warnings)?;
    check_publish(settings, cfg!(feature = "delta"), &mut warnings)?;
    Ok(warnings)
}

/// A TTL of minutes is rarely meant: most often somebody forgot a unit, and the rows are gone with
/// the next pass.
fn check_ttls(settings: &Settings) -> Result<()> {
    let retention = &settings.values.retention;
    if retention.allow_short_ttl.0 {
        return Ok(());
    }
    let own = retention.tenants.iter();
    let mut all: Vec<(String, Option<Duration>)> = own
        .map(|(tenant, ttl)| (tenant_ttl_path(tenant), ttl.0))
        .chain([("retention.default_ttl".to_owned(), retention.default_ttl.0)])
        .collect();
    all.sort();
    for (path, ttl) in all {
        let Some(ttl) = ttl.filter(|t| *t < SHORTEST_TTL) else {
            continue;
        };
        let source = settings.source(&path);
        return Err(Error::Usage(format!(
            "{source}: {path} is {}, so rows would expire almost at once: check the unit, or set \
             retention.allow_short_ttl = true if that is meant",
            format::duration(ttl)
        )));
    }
    Ok(())
}

/// Rows that have no time cannot expire, and folders that are not kept cannot date them. What a
/// tenant has by a built-in TTL, or by several patterns, is said of that tenant.
fn check_times(settings: &Settings) -> Result<()> {
    let (values, config) = (&settings.values, settings.compaction_config());
    let at =
        |path: String, value: &str| format!("{path} = \"{value}\" ({})", settings.source(&path));
    let own = values.retention.tenants.keys().chain(values.tenants.keys());
    let is_given = |name: &&String| settings.source(&tenant_ttl_path(name)) != Source::Default;
    let own = own.filter(|name| values.tenants.contains_key(*name) || is_given(name));
    let names: BTreeSet<Option<&String>> = own.map(Some).chain([None]).collect();
    for name in names {
        let policy = match name {
            Some(name) => config.policy_for(name),
            None => Policy {
                ttl: values.retention.default_ttl.0,
                timestamp_column: values.timestamp_column.0.clone(),
                within: values.compaction.within.0,
                ..config.policy_for("")
            },
        };
        let given = |path: String, or: &str| match settings.source(&path) {
            Source::Default => or.to_owned(),
            _ => path,
        };
        let column = name.map_or_else(String::new, |name| {
            join(["tenants", name, "timestamp_column"])
        });
        let column = at(
            given(column, "timestamp_column"),
            policy.timestamp_column.as_str(),
        );
        if let (Some(ttl), true) = (policy.ttl, policy.timestamp_column.is_nothing()) {
            let path = name.map_or_else(String::new, |name| tenant_ttl_path(name));
            let ttl = at(given(path, "retention.default_ttl"), &format::duration(ttl));
            return Err(Error::Usage(format!(
                "{column} says that no row has a time, and by {ttl} rows expire by their time: set \
                 the first to what dates a row, or the second to \"forever\""
            )));
        }
        if policy.timestamp_column.is_path() && policy.within == Within::Tenant {
            let path = name.map_or_else(String::new, |n| tenant_compaction_path(n, "within"));
            let within = at(given(path, "compaction.within"), "tenant");
            return Err(Error::Usage(format!(
                "{column} dates rows by their folder, and with {within} they leave it: set the \
                 second to \"folder\""
            )));
        }
    }
    Ok(())
}

/// What was asked for must be there, or people would read tables that nobody writes. `can_publish`
/// says whether this build has the feature `delta`.
pub(super) fn check_publish(
    settings: &Settings,
    can_publish: bool,
    warnings: &mut Vec<String>,
) -> Result<()> {
    if settings.values.publish.delta.0 {
        if !can_publish {
            let source = settings.source("publish.delta");
            return Err(Error::Usage(format!(
                "{source}: publish.delta is set, and this icepack was built without the feature \
                 `delta`: build it with, or unset it"
            )));
        }
        return Ok(());
    }
    let mut idle = vec![("publish.layout", "publish.delta")];
    if !settings.values.publish.symlink.0 {
        idle.push(("publish.keep", "publish.delta or publish.symlink"));
    }
    let idle = idle
        .into_iter()
        .filter(|(path, _)| settings.source(path) != Source::Default);
    warnings.extend(idle.map(|(path, without)| {
        format!(
            "{path} ({}) does nothing without {without}",
            settings.source(path)
        )
    }));
    Ok(())
}

/// A limit that no pass could keep is refused, and not raised behind the owner's back.
fn check_memory(settings: &Settings) -> Result<()> {
    let limit = settings.values.memory_limit.0;
    if limit >= LEAST_LIMIT {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "memory_limit ({}, {}) cannot be kept: a pass needs at least {}",
        exact_size(limit),
        settings.source("memory_limit"),
        exact_size(LEAST_LIMIT)
    )))
}

/// A size as it holds for the general settings or for one tenant, with where it stands.
struct Sized {
    path: String,
    bytes: u64,
    text: String,
}

fn check_sizes(
    settings: &Settings,
    tenant: Option<(&String, &Compaction)>,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let size = |name: &str, bytes: fn(&Compaction) -> u64| {
        let own = tenant.map(|(tenant, own)| (tenant_compaction_path(tenant, name), own));
        let (path, compaction) = own
            .filter(|(path, _)| settings.source(path) != Source::Default)
            .unwrap_or_else(|| (format!("compaction.{name}"), &settings.values.compaction));
        let bytes = bytes(compaction);
        let text = format!("{path} ({}, {})", exact_size(bytes), settings.source(&path));
        Sized { path, bytes, text }
    };
    let small = size("small_file_threshold", |c| c.small_file_threshold.0);
    let target = size("target_file_size", |c| c.target_file_size.0);
    let max = size("max_file_size", |c| c.max_file_size.0);
    let is_news = |a: &Sized, b: &Sized| {
        tenant.is_none() || [a, b].iter().any(|s| s.path.starts_with("tenants."))
    };
    if target.bytes > max.bytes && is_news(&target, &max) {
        return Err(Error::Usage(format!(
            "{} is above {}: lower the first or raise the second",
            target.text, max.text
        )));
    }
    if small.bytes > target.bytes && is_news(&small, &target) {
        warnings.push(format!(
            "{} is above {}: finished files would count as small and be rewritten",
            small.text, target.text
        ));
    }
    Ok(())
}

/// What an archive on S3 is told must fit together; elsewhere it would do nothing.
fn check_s3(settings: &Settings, archive: &Location, warnings: &mut Vec<String>) -> Result<()> {
    let a = &settings.values.archive;
    let at = |name: &str| {
        format!(
            "archive.{name} ({})",
            settings.source(&format!("archive.{name}"))
        )
    };
    if !matches!(archive, Location::S3 { .. }) {
        let names = schema::names(&SCHEMA["properties"]["archive"]).into_iter();
        let given = names.filter(|name| {
            !FOR_ANY_ARCHIVE.contains(name)
                && settings.source(&format!("archive.{name}")) != Source::Default
        });
        warnings
            .extend(given.map(|name| format!("{} is ignored: {archive} is not on S3", at(name))));
        return Ok(());
    }
    let class = a.storage_class.as_ref().map_or("", |class| &class.0);
    if a.verify.0 == Verify::Readback && is_frozen_class(class) {
        return Err(Error::Usage(format!(
            "{}: objects of class {class} cannot be read back before they are thawed; use \
             \"checksum\", which the server verifies, or the class GLACIER_IR",
            at("verify")
        )));
    }
    match (&a.object_lock_mode, &a.object_lock_days) {
        (Some(_), None) => {
            return Err(Error::Usage(format!(
                "{} needs archive.object_lock_days: for how long?",
                at("object_lock_mode")
            )));
        }
        (None, Some(_)) => {
            return Err(Error::Usage(format!(
                "{} needs archive.object_lock_mode: GOVERNANCE or COMPLIANCE",
                at("object_lock_days")
            )));
        }
        _ => {}
    }
    if a.kms_key_id.is_some() && a.sse.as_ref().is_some_and(|sse| sse.0 == "AES256") {
        return Err(Error::Usage(format!(
            "{} does not go with archive.sse = AES256: a KMS key needs aws:kms",
            at("kms_key_id")
        )));
    }
    Ok(())
}

fn check_archive(settings: &Settings, warnings: &mut Vec<String>) -> Result<()> {
    let class = settings.values.archive.storage_class.as_ref();
    let class = class.map(|class| class.0.as_str());
    let Some(archive) = settings.archive()? else {
        if class.is_some() {
            warnings.push(format!(
                "archive.storage_class ({}) does nothing without archive.url: expired rows are \
                 dropped",
                settings.source("archive.storage_class")
            ));
        }
        return Ok(());
    };
    // A missing store is for the commands that need one to complain about.
    if settings.values.store.is_some() {
        let store = settings.store()?;
        if archive.overlaps(&store) {
            return Err(Error::Usage(format!(
                "the archive {archive} ({}) overlaps the store {store} ({}): expired rows would \
                 go back among the live ones; use another bucket, or a prefix or directory \
                 outside the store",
                settings.source("archive.url"),
                settings.source("store")
            )));
        }
    }
    match class {
        Some(class) if matches!(archive, Location::Directory(_) | Location::Memory) => {
            warnings.push(format!(
                "archive.storage_class = {class} ({}) is ignored: {archive} is not an object store",
                settings.source("archive.storage_class")
            ));
        }
        Some(class) => {
            let (whose, known) = storage_classes(&archive);
            let near = suggest::nearest(class, known.iter().copied());
            if let Some(near) = near.filter(|_| !known.contains(&class)) {
                warnings.push(format!(
                    "archive.storage_class = {class} ({}) is not one of {whose}: did you mean \
                     {near}?",
                    settings.source("archive.storage_class")
                ));
            }
        }
        _ => {}
    }
    check_s3(settings, &archive, warnings)
}
