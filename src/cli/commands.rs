//! What each command calls, and how its result leaves.

use std::sync::Arc;

use crate::archive::{ArchiveTarget, ObjectArchive, s3};
use crate::clock::Clock;
use crate::metrics::{self, deliver::Targets};
use crate::protocol::marker::Root;
use crate::run::Selection;
use crate::settings::{Environment, FlagValue, Layers, Settings};
use crate::store::credentials::Connection;
use crate::store::{Location, OpenOptions, OpenStore, open};
use crate::{CompactionManager, Error, Result};
use icepack_core::model::file::Micros;
use icepack_core::model::inputs::Exclude;
use icepack_core::model::inspect::{Failure, LiveFile, LiveView};
use icepack_core::model::marker::Role;
use icepack_core::model::names::FileId;
use icepack_core::model::report::{RunReport, SCHEMA_VERSION, Status};
use icepack_core::model::shard::Shard;
use icepack_core::plan::live;
use indicatif::{MultiProgress, ProgressBar};
use serde_json::{Value, json};

use super::args::{Command, ConfigCommand, DemoArgs, Global, LsArgs, PassFlags, VerifyArgs};
use super::bars::{self, Bars};
use super::otel::Traces;
use super::output::{Output, complain};
use super::render::plan::View;
use super::{demo, render, report, signals, watch};

/// What every command needs.
pub struct App<'a> {
    pub global: &'a Global,
    pub settings: Settings,
    pub out: Output,
    pub flags: Vec<FlagValue>,
    pub shard: Shard,
    pub clock: Arc<dyn Clock>,
    pub canvas: MultiProgress,
    pub json_logs: bool,
    /// Where the spans of passes go, if anywhere.
    pub traces: Option<Traces>,
}

/// What a command wants of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Archive {
    /// Not even that it is there.
    Unused,
    /// To look at what is in it.
    Read,
    /// To put something into it; a directory is made.
    Write,
}

/// Runs a command. The result is its exit code.
///
/// # Errors
/// What kept it from having a result.
pub async fn execute(app: &mut App<'_>, command: &Command) -> Result<u8> {
    match command {
        Command::Run(args) if !args.dry_run => app.run().await,
        Command::Run(args) => app.plan(&args.pass).await,
        Command::Plan(args) => app.plan(&args.pass).await,
        Command::Watch(args) => watch::watch(app, args).await,
        Command::Status => app.status().await,
        Command::Ls(args) => app.ls(args).await,
        Command::Verify(args) => app.verify(args).await,
        Command::Restore(args) => app.restore(args).await,
        Command::Doctor => app.doctor().await,
        Command::Report(args) => app.report(args).await,
        Command::Init(args) => app.init(args).await,
        Command::Demo(args) => app.demo(args).await,
        Command::Config {
            command: ConfigCommand::Show,
        } => app.config_show(),
        // Done before there were settings.
        Command::Man(_) | Command::Completions(_) => Ok(0),
    }
}

impl App<'_> {
    async fn run(&mut self) -> Result<u8> {
        let selection = self.selection()?;
        let bars = Arc::new(Bars::new(self.canvas.clone()));
        let manager = self
            .manager(Archive::Write)
            .await?
            .with_progress(Arc::clone(&bars) as _);
        let stop = manager.stop_handle();
        signals::watch(stop.clone());
        let targets = self.settings.metrics(manager.config().shard)?;
        let labels = self.settings.pass_report()?;
        let passed = if targets.is_empty() {
            manager.run_pass(&selection).await
        } else {
            observed_pass(&manager, &selection, &targets).await
        };
        bars.clear();
        if passed.is_ok() {
            report::after_pass(&manager, labels.as_ref()).await;
        }
        let report = match passed {
            Err(Error::Stopped) if stop.is_stopped() => {
                complain("stopped by a signal before anything was begun");
                return Ok(0);
            }
            passed => passed?,
        };
        self.say_kept(report.tenants.iter().map(|t| t.tenant.as_str()));
        if self.global.json {
            self.out.json(&report)?;
        } else {
            self.out.line(&render::run::run(
                &report,
                &self.global.tenants,
                self.out.style,
            ))?;
        }
        self.out.flush()?;
        if stop.is_stopped() {
            complain("stopped by a signal; what is left waits for the next pass");
        }
        self.verdict(render::run::verdict(
            &report,
            self.global.json || !self.out.is_terminal(),
        ));
        Ok(render::run::exit_code(&report))
    }

    async fn plan(&mut self, pass: &PassFlags) -> Result<u8> {
        let explain = pass
            .explain
            .clone()
            .map(|name| Selection::parse(vec![name]))
            .transpose()?;
        let report = self
            .manager(Archive::Unused)
            .await?
            .plan(&self.selection()?)
            .await?;
        if let (Some(wanted), Some(name)) = (
            &explain,
            pass.explain.as_deref().filter(|name| *name != "*"),
        ) && !report.plans.iter().any(|p| wanted.takes(&p.tenant))
        {
            return Err(Error::Usage(format!(
                "--explain: no tenant that is planned here is called `{name}`; `icepack status` \
                 lists them"
            )));
        }
        self.say_kept(report.plans.iter().map(|p| p.tenant.as_str()));
        if self.global.json {
            self.out.json(&render::plan::document(&report))?;
        } else {
            let (store, archive) = (self.settings.store()?, self.settings.archive()?);
            let is_billed = [Some(&store), archive.as_ref()]
                .into_iter()
                .flatten()
                .any(|l| matches!(l, Location::S3 { .. }));
            let archive = archive.map(|a| a.to_string());
            let view = View {
                archive: archive.as_deref(),
                is_billed,
                explain: explain.as_ref(),
                wanted: &self.global.tenants,
                style: self.out.style,
            };
            self.out.line(&render::plan::plan(&report, view))?;
        }
        self.failures(&report.failures, report.plans.len())
    }

    async fn status(&mut self) -> Result<u8> {
        let report = self
            .manager(Archive::Unused)
            .await?
            .status(&self.selection()?)
            .await?;
        if self.global.json {
            self.out.json(&report)?;
        } else {
            self.out.line(&render::status::status(
                &report,
                &self.global.tenants,
                self.out.style,
            ))?;
        }
        self.failures(&report.failures, report.tenants.len())
    }

    /// Says which tenants could not be looked at, below those that could. The exit code is that of
    /// a pass that ends so.
    pub(super) fn failures(&mut self, failures: &[Failure], fine: usize) -> Result<u8> {
        self.out.flush()?;
        for f in failures {
            self.verdict(Some(format!("{}: {}", f.tenant, f.error)));
        }
        let statuses = failures
            .iter()
            .map(|f| f.status)
            .chain(std::iter::repeat_n(Status::Idle, fine));
        Ok(render::run::code_of(&statuses.collect::<Vec<_>>()))
    }

    async fn ls(&mut self, args: &LsArgs) -> Result<u8> {
        let store = self.settings.store()?;
        let (from, to) = (
            args.from.map(Micros::from_datetime),
            args.to.map(Micros::from_datetime),
        );
        let views = self
            .manager(Archive::Unused)
            .await?
            .live_views(&self.selection()?)
            .await?;
        let views: Vec<LiveView> = views
            .into_iter()
            .map(|v| live::between(v, from, to))
            .collect();
        let refused: Vec<String> = views.iter().filter_map(|v| v.refused.clone()).collect();
        if self.global.json {
            self.out.json(&ls_document(&views, &store))?;
        }
        for file in views
            .iter()
            .flat_map(|v| &v.files)
            .take_while(|_| !self.global.json)
        {
            self.out.line(&store.display(&file.key))?;
            if self.out.is_closed() {
                break;
            }
        }
        self.out.flush()?;
        let code = if refused.is_empty() { 0 } else { 5 };
        refused
            .into_iter()
            .for_each(|why| self.verdict(Some(format!("refused: {why}"))));
        Ok(code)
    }

    async fn verify(&mut self, args: &VerifyArgs) -> Result<u8> {
        let report = self
            .manager(Archive::Read)
            .await?
            .verify(&self.selection()?, args.deep)
            .await?;
        if self.global.json {
            self.out.json(&report)?;
        } else {
            self.out
                .line(&render::verify::verify(&report, self.out.style))?;
        }
        self.out.flush()?;
        self.verdict(render::verify::verdict(&report));
        Ok(render::verify::exit_code(&report))
    }

    async fn doctor(&mut self) -> Result<u8> {
        let report = self.manager(Archive::Write).await?.doctor().await?;
        if self.global.json {
            self.out.json(&report)?;
        } else {
            self.out
                .line(&render::doctor::doctor(&report, self.out.style))?;
        }
        self.out.flush()?;
        self.verdict(render::doctor::verdict(&report));
        Ok(render::doctor::exit_code(&report))
    }

    async fn demo(&mut self, args: &DemoArgs) -> Result<u8> {
        let location = self.settings.store()?;
        let files = demo::plan(args, self.clock.as_ref())?;
        let target = self
            .open(
                &location,
                OpenOptions {
                    create: true,
                    ..OpenOptions::default()
                },
            )
            .await?;
        let bar: ProgressBar = bars::files(&self.canvas, files.len() as u64);
        let written = demo::write(&target, files, args.force_add, &bar).await;
        bar.finish_and_clear();
        let report = written?;
        if self.global.json {
            self.out.json(&report)?;
        } else {
            self.out
                .line(&demo::render(&report, &location.to_string()))?;
        }
        Ok(0)
    }

    fn config_show(&mut self) -> Result<u8> {
        if self.global.json {
            self.out.json(&render::config::document(&self.settings))?;
        } else {
            self.out
                .line(&render::config::table(&self.settings, self.out.style))?;
        }
        Ok(0)
    }

    /// Says of which of these tenants rows are kept for want of a word of the owner.
    pub fn say_kept<'t>(&self, tenants: impl Iterator<Item = &'t str>) {
        tenants
            .filter_map(|t| self.settings.kept(t))
            .for_each(|why| tracing::warn!("{why}"));
    }

    pub fn selection(&self) -> Result<Selection> {
        Selection::parse(self.global.tenants.clone())
    }

    /// The last line on stderr of a command that did what it could and was not content.
    pub(super) fn verdict(&self, verdict: Option<String>) {
        match verdict {
            Some(text) if self.json_logs => tracing::error!("{text}"),
            Some(text) => complain(&text),
            None => {}
        }
    }

    pub(super) async fn open(
        &self,
        location: &Location,
        options: OpenOptions,
    ) -> Result<OpenStore> {
        if *location == Location::Memory {
            tracing::warn!("memory:// is empty whenever a program starts, and gone when it ends");
        }
        open(location, options, Arc::clone(&self.clock)).await
    }

    /// A manager that only looks.
    pub async fn looking_manager(&self) -> Result<CompactionManager> {
        self.manager(Archive::Unused).await
    }

    /// A manager that makes passes.
    pub async fn writing_manager(&self) -> Result<CompactionManager> {
        self.manager(Archive::Write).await
    }

    /// The settings as file, environment and flags say them now.
    pub fn resolve(&self) -> Result<Settings> {
        Settings::resolve(&Layers::read(
            self.global.config.clone(),
            Environment::of_process()?,
            self.flags.clone(),
        )?)
    }

    /// A number from 0 to 1 that differs from one process and one time to the next.
    pub fn luck(&self) -> f64 {
        let random = self.clock.mint(FileId::NIL).0.random() % 1_000;
        f64::from(u16::try_from(random).unwrap_or_default()) / 1_000.0
    }

    async fn manager(&self, archive: Archive) -> Result<CompactionManager> {
        // A wrong --tenant is told before anything is opened.
        self.selection()?;
        let store = self
            .open(&self.settings.store()?, OpenOptions::default())
            .await?;
        let mut config = self.settings.compaction_config();
        config.shard = self.shard;
        let cold = self.open_archive(archive).await?;
        if let Some(cold) = &cold {
            config.archive = Some(self.archive_target(&store.location, cold).await?);
        }
        let mut manager = CompactionManager::new(store.store, config)
            .with_clock(Arc::clone(&self.clock))
            .with_enclosing(store.enclosing);
        if let Location::Directory(root) = store.location {
            manager = manager.with_directory(root);
        }
        if let Some(cold) = cold {
            if let Location::Directory(root) = &cold.location {
                manager = manager.with_archive_directory(root);
            }
            let class = self.settings.archive_class(&cold.location);
            let root = Root {
                role: Role::Archive,
                store: Arc::clone(&cold.store),
                enclosing: cold.enclosing,
                exclude: Exclude::default(),
            };
            manager = manager
                .with_archive_root(root)
                .with_archive_store(cold.store, class);
        }
        Ok(manager)
    }

    /// What writes to the archive `cold`.
    async fn archive_target(
        &self,
        hot: &Location,
        cold: &OpenStore,
    ) -> Result<Arc<dyn ArchiveTarget>> {
        let url = cold.location.canonical();
        let Location::S3 { bucket, prefix } = &cold.location else {
            let options = self.settings.object_archive_options(&cold.location);
            return Ok(Arc::new(ObjectArchive::new(
                Arc::clone(&cold.store),
                url,
                options,
            )));
        };
        let connection = self.settings.archive_connection();
        let options = self.settings.s3_archive_options();
        let client = s3::client::connect(connection).await?;
        let bucket = s3::bucket::Bucket {
            client,
            name: bucket.clone(),
            prefix: prefix.clone(),
            retry: options.retry,
        };
        let target = s3::S3Archive::new(bucket, Arc::clone(&cold.store), url, options);
        Ok(match hot {
            // Another server, or other credentials, could not copy from the store.
            Location::S3 { bucket, prefix } if *connection == Connection::default() => {
                Arc::new(target.with_hot(bucket, prefix))
            }
            _ => Arc::new(target),
        })
    }

    async fn open_archive(&self, archive: Archive) -> Result<Option<OpenStore>> {
        let Some(location) = self.settings.archive()? else {
            return Ok(None);
        };
        match archive {
            Archive::Unused => return Ok(None),
            // Looking at an archive must not make one.
            Archive::Read if matches!(&location, Location::Directory(dir) if !dir.exists()) => {
                tracing::info!("there is no archive yet: {location} does not exist");
                return Ok(None);
            }
            Archive::Read | Archive::Write => {}
        }
        let options = OpenOptions {
            create: archive == Archive::Write,
            connection: self.settings.archive_connection().clone(),
        };
        Ok(Some(self.open(&location, options).await?))
    }
}

/// A pass whose metrics go to `targets`. One that fails leaves there what was: its age tells.
async fn observed_pass(
    manager: &CompactionManager,
    selection: &Selection,
    targets: &Targets,
) -> Result<RunReport> {
    let passed = manager.run_observed(selection).await?;
    if let Some(record) = &passed.record {
        targets
            .deliver(&metrics::render(
                record,
                Some(&passed.standings),
                targets.most_tenants,
            ))
            .await;
    }
    Ok(passed.report)
}

fn ls_document(views: &[LiveView], store: &Location) -> Value {
    let file = |f: &LiveFile| json!({ "path": store.display(&f.key), "key": f.key, "size": f.size, "rows": f.rows, "from": f.from, "to": f.to, "undated": f.undated });
    let tenant = |v: &LiveView| json!({ "tenant": v.tenant, "version": v.version, "files": v.files.iter().map(file).collect::<Vec<_>>(), "refused": v.refused });
    json!({ "schema_version": SCHEMA_VERSION, "tenants": views.iter().map(tenant).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(from: Option<i64>, to: Option<i64>, undated: u64) -> LiveFile {
        LiveFile {
            key: "acme/x.parquet".into(),
            size: 1,
            rows: Some(1),
            from: from.map(Micros),
            to: to.map(Micros),
            undated,
        }
    }

    #[test]
    fn ls_has_paths_that_other_tools_open() {
        let view = LiveView {
            tenant: icepack_core::model::names::Tenant::parse("acme").unwrap(),
            version: 2,
            files: vec![file(Some(1), Some(2), 0)],
            refused: None,
        };
        let store = Location::parse("s3://b/p").unwrap();
        let document = ls_document(&[view], &store);
        assert_eq!(
            document["tenants"][0]["files"][0]["path"],
            "s3://b/p/acme/x.parquet"
        );
    }
}
