//! What each command calls. Those with a file of their own are `demo`, `init`, `report`, `restore`
//! and `watch`.

use std::sync::Arc;

use crate::pass::Selection;
use crate::store::Location;
use crate::{Error, Result};
use icepack_core::model::file::Micros;
use icepack_core::model::report::Status;
use icepack_core::plan::live;

use super::app::App;
use super::args::{Command, ConfigCommand, LsArgs, PlanFlags, StatusArgs, VerifyArgs};
use super::bars::Bars;
use super::output::complain;
use super::pass::PassJob;
use super::render::{self, ls::Listing, plan::PlanDocument, status::StatusDocument};
use super::{signals, watch};

/// Runs a command. The result is its exit code.
pub async fn execute(app: &mut App<'_>, command: &Command) -> Result<u8> {
    match command {
        Command::Run(args) if !args.dry_run => app.run().await,
        Command::Run(args) => app.plan(&args.plan).await,
        Command::Plan(args) => app.plan(&args.plan).await,
        Command::Watch(args) => watch::watch(app, args).await,
        Command::Status(args) => app.status(args).await,
        Command::Ls(args) => app.ls(args).await,
        Command::Verify(args) => app.verify(args).await,
        Command::Restore(args) => app.restore(args).await,
        Command::Doctor => app.doctor().await,
        Command::Report(args) => app.report(args).await,
        Command::Init(args) => app.init(args).await,
        Command::Demo(args) => app.demo(args).await,
        Command::Config {
            command: ConfigCommand::Show,
        } => app.emit(&render::config::ConfigDocument::of(&app.settings)),
        // They need no settings: see `cli::run`.
        Command::Man(_) | Command::Completions(_) => Ok(0),
    }
}

impl App<'_> {
    async fn run(&mut self) -> Result<u8> {
        let bars = Arc::new(Bars::new(self.canvas.clone()));
        let job = PassJob::new(self, Arc::clone(&bars) as _).await?;
        let stop = job.manager.stop_handle();
        signals::watch(stop.clone());
        let requests = Arc::clone(&job.requests);
        let passed = tokio::select! {
            passed = job.run(false) => passed,
            () = signals::silence(&stop, || requests.read().total()) => Err(Error::Stopped),
        };
        bars.clear();
        let report = match passed {
            Err(Error::Stopped) if stop.is_stopped() => {
                complain("stopped by a signal; what is left waits for the next pass");
                return Ok(signals::INTERRUPTED);
            }
            passed => passed?.0,
        };
        self.warn_of(report.tenants.iter().map(|t| t.tenant.as_str()));
        // Of a job that cron begins, each line is a mail.
        let is_idle = report.totals.status == Status::Idle && !self.global.json;
        if !(self.global.quiet && is_idle) {
            self.print(&report)?;
        }
        let code = self.conclude(&report);
        if !stop.is_stopped() {
            return Ok(code);
        }
        complain("stopped by a signal; what is left waits for the next pass");
        // What a person must look at comes before what the next pass takes up.
        Ok(if code == 0 {
            signals::INTERRUPTED
        } else {
            code
        })
    }

    async fn plan(&mut self, flags: &PlanFlags) -> Result<u8> {
        let explain = flags
            .explain
            .clone()
            .map(|name| Selection::parse(vec![name]))
            .transpose()?;
        let manager = self.manager().await?;
        let report = manager.plan(&self.selection()?).await?;
        if let (Some(explain), Some(name)) = (&explain, flags.explain.as_deref())
            && name != "*"
            && !report.plans.iter().any(|p| explain.includes(&p.tenant))
        {
            return Err(Error::Usage(format!(
                "--explain: no tenant that is planned here is called `{name}`; `icepack status` \
                 lists them"
            )));
        }
        self.warn_of(report.plans.iter().map(|p| p.tenant.as_str()));
        let (store, archive) = (self.settings.store()?, self.settings.archive()?);
        let is_billed = |l: &Location| matches!(l, Location::S3 { .. } | Location::Cloud { .. });
        self.emit(&PlanDocument {
            is_billed: is_billed(&store) || archive.as_ref().is_some_and(is_billed),
            archive: archive.map(|a| a.to_string()),
            ids: self.settings.compaction_config().id_columns,
            explain,
            all: flags.all,
            ..PlanDocument::new(&report)
        })
    }

    async fn status(&mut self, args: &StatusArgs) -> Result<u8> {
        let manager = self.manager().await?;
        let report = manager.status(&self.selection()?).await?;
        self.emit(&StatusDocument::new(&report, args))
    }

    async fn ls(&mut self, args: &LsArgs) -> Result<u8> {
        let store = self.settings.store()?;
        let manager = self.manager().await?;
        let (from, to) = (
            args.from.map(Micros::from_datetime),
            args.to.map(Micros::from_datetime),
        );
        let views = manager.live_views(&self.selection()?).await?;
        let views = views.into_iter().map(|v| live::between(v, from, to));
        self.emit(&Listing::new(views, &store))
    }

    async fn verify(&mut self, args: &VerifyArgs) -> Result<u8> {
        let manager = self.manager().await?;
        let report = manager.verify(&self.selection()?, args.deep).await?;
        self.emit(&report)
    }

    async fn doctor(&mut self) -> Result<u8> {
        let report = self.writing_manager().await?.doctor().await?;
        self.emit(&report)
    }
}
