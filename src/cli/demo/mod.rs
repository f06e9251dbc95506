//! `demo`: realistic raw events, to try icepack on.

mod events;
mod layout;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Clock;
use crate::store::{OpenStore, path};
use crate::{Error, Result};
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use icepack_core::model::report::SCHEMA_VERSION;
use indicatif::ProgressBar;
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutOptions};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde::Serialize;

use super::args::DemoArgs;
use super::render::text::{count, plural, size};
use super::render::{Report, View};
use layout::{FileSpec, TenantSpec};

/// Uploads on their way at once.
const IN_FLIGHT: usize = 8;

/// The newest event is a little old, so that none is in the future for a machine whose clock is
/// behind.
const LAG: TimeDelta = TimeDelta::minutes(1);

/// What was written.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct DemoReport {
    pub schema_version: u32,
    pub store: String,
    pub tenants: BTreeMap<String, Written>,
    pub totals: Written,
}

/// Files, events and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
}

impl Written {
    fn add(&mut self, o: Self) {
        self.files += o.files;
        self.rows += o.rows;
        self.bytes += o.bytes;
    }
}

/// The files that the arguments ask for.
///
/// # Errors
/// [`Error::Usage`] for tenants that cannot be.
pub fn plan(args: &DemoArgs, clock: &dyn Clock) -> Result<Vec<FileSpec>> {
    let end: DateTime<Utc> = args.end.unwrap_or_else(|| clock.now() - LAG);
    let tenants: Vec<TenantSpec> = layout::tenants(args)?;
    Ok(tenants
        .iter()
        .flat_map(|t| layout::files(t, args.seed, end))
        .collect())
}

/// Writes the files.
///
/// # Errors
/// [`Error::Usage`] where a tenant already has files and `force_add` is not given; else what the
/// store says.
pub async fn write(
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
    while let Some((tenant, written)) = writes.try_next().await? {
        report.tenants.entry(tenant).or_default().add(written);
        report.totals.add(written);
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
        let first = target.store.list(Some(&prefix)).next().await;
        match first.transpose().map_err(|e| {
            Error::store(
                format!("cannot list {}", target.location.display(tenant)),
                e,
            )
        })? {
            None => {}
            Some(found) => {
                return Err(Error::Usage(format!(
                    "tenant `{tenant}` already has files, {} among them: choose another --store \
                     or other --tenants, or pass --force-add to add to it",
                    target.location.display(found.location.as_ref())
                )));
            }
        }
    }
    Ok(())
}

async fn write_one(target: &OpenStore, file: FileSpec) -> Result<(String, Written)> {
    let FileSpec {
        tenant, key, rows, ..
    } = file.clone();
    let encoded = tokio::task::spawn_blocking(move || encode(&file))
        .await
        .map_err(|e| Error::local("cannot make events", e))??;
    let written = Written {
        files: 1,
        rows: rows as u64,
        bytes: encoded.len() as u64,
    };
    let options = PutOptions {
        mode: PutMode::Create,
        ..PutOptions::default()
    };
    match target
        .store
        .put_opts(&path(&key)?, encoded.into(), options)
        .await
    {
        Ok(_) => Ok((tenant.to_string(), written)),
        Err(object_store::Error::AlreadyExists { .. }) => Err(Error::Usage(format!(
            "{} is already there and nothing is overwritten: use another --seed or --end",
            target.location.display(&key)
        ))),
        Err(e) => Err(Error::store(
            format!("cannot write {}", target.location.display(&key)),
            e,
        )),
    }
}

fn encode(file: &FileSpec) -> Result<Vec<u8>> {
    let failed = |e| Error::local("cannot encode events as Parquet", e);
    let batch = events::events(file.seed, file.rows, file.from, file.to)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::new(events::schema()), Some(properties))
        .map_err(failed)?;
    writer.write(&batch).map_err(failed)?;
    writer.into_inner().map_err(failed)
}

impl Report for DemoReport {
    /// What was written and what to try next.
    fn text(&self, _: View<'_>) -> String {
        let tenant = |(name, w): (&String, &Written)| {
            format!(
                "  {name}: {} with {} events each, {}",
                plural(w.files, "file"),
                count(w.rows / w.files.max(1)),
                size(w.bytes)
            )
        };
        let mut lines = vec![format!(
            "wrote {} with {} events ({}) to {}",
            plural(self.totals.files, "file"),
            count(self.totals.rows),
            size(self.totals.bytes),
            self.store
        )];
        lines.extend(self.tenants.iter().map(tenant));
        lines.push(format!("next: icepack plan --store {}", self.store));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::{Cli, Command};
    use super::*;
    use crate::clock::ManualClock;
    use crate::store::Location;
    use clap::Parser;
    use object_store::memory::InMemory;

    fn small() -> DemoArgs {
        let Command::Demo(args) =
            Cli::parse_from(["icepack", "demo", "--files", "4", "--rows", "20"]).command
        else {
            panic!("not demo")
        };
        args
    }

    fn planned() -> Vec<FileSpec> {
        let clock = ManualClock::new(DateTime::from_timestamp(1_777_297_507, 0).unwrap(), 1);
        plan(&small(), &clock).unwrap()
    }

    #[tokio::test]
    async fn what_is_written_is_what_was_planned_and_only_once() {
        let target = OpenStore {
            store: Arc::new(InMemory::new()),
            location: Location::Memory,
            enclosing: Vec::new(),
        };
        let report = write(&target, planned(), false, &ProgressBar::hidden())
            .await
            .unwrap();
        assert_eq!((report.totals.files, report.tenants["acme"].rows), (17, 80));
        let listed: Vec<_> = target.store.list(None).try_collect().await.unwrap();
        assert_eq!(listed.len(), 17);
        assert_eq!(
            listed.iter().map(|o| o.size).sum::<u64>(),
            report.totals.bytes
        );

        let again = write(&target, planned(), false, &ProgressBar::hidden())
            .await
            .unwrap_err();
        assert!(
            again.exit_code() == 2 && again.to_string().contains("--force-add"),
            "{again}"
        );
        let over = write(&target, planned(), true, &ProgressBar::hidden())
            .await
            .unwrap_err();
        assert!(
            over.to_string().contains("nothing is overwritten"),
            "{over}"
        );
    }

    #[test]
    fn no_event_is_in_the_future() {
        let end = Micros::from_datetime(DateTime::from_timestamp(1_777_297_507, 0).unwrap() - LAG);
        assert!(planned().iter().all(|f| f.to <= end));
    }

    #[test]
    fn the_same_plan_gives_the_same_bytes() {
        let file = planned().remove(0);
        assert_eq!(encode(&file).unwrap(), encode(&file).unwrap());
    }

    use icepack_core::model::file::Micros;
}
