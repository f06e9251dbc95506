//! What the commands share: the settings, the stores that they name, and how results leave.

use std::sync::Arc;

use crate::clock::Clock;
use crate::open::Places;
use crate::pass::Selection;
use crate::settings::{Environment, FlagValue, Layers, Settings};
use crate::store::{Location, OpenOptions, OpenStore, open};
use crate::telemetry::otel::Traces;
use crate::{CompactionManager, Result};
use icepack_core::model::names::FileId;
use icepack_core::model::shard::Shard;
use indicatif::MultiProgress;

use super::args::Global;
use super::output::{Output, complain};
use super::render::{Report, View, text};

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

impl App<'_> {
    /// Lets a result leave: text or JSON on stdout, problems on stderr, and the exit code.
    pub fn emit(&mut self, report: &impl Report) -> Result<u8> {
        self.print(report)?;
        Ok(self.conclude(report))
    }

    /// The first part of [`Self::emit`]: stdout.
    pub fn print(&mut self, report: &impl Report) -> Result<()> {
        if self.global.json {
            // Whoever collects logs takes each line for an event.
            self.out.json(report, self.json_logs)?;
        } else {
            let text = report.text(View {
                style: self.out.style,
                wanted: &self.global.tenants,
            });
            let text = match self.out.style.width {
                Some(width) => text::wrap(&text, width.into()),
                None => text,
            };
            // Of no files `ls` prints no line.
            if !text.is_empty() {
                self.out.line(&text)?;
            }
        }
        self.out.flush()
    }

    /// The second part of [`Self::emit`]: stderr and the exit code.
    pub fn conclude(&self, report: &impl Report) -> u8 {
        for problem in report.problems(self.global.json || !self.out.is_terminal()) {
            if self.json_logs {
                tracing::error!("{problem}");
            } else {
                complain(&problem);
            }
        }
        report.exit_code()
    }

    /// Warns of tenants whose rows are kept because nobody said that they may be dropped, and of
    /// settings for tenants that there are not.
    pub fn warn_of<'t>(&self, tenants: impl Iterator<Item = &'t str>) {
        let tenants: Vec<&str> = tenants.collect();
        let kept = tenants.iter().filter_map(|t| self.settings.kept(t));
        kept.for_each(|why| tracing::warn!("{why}"));
        // A part of the tenants says nothing of the names of all.
        if self.global.tenants.is_empty() && self.shard == Shard::WHOLE {
            let slips = self.settings.slips(&tenants);
            slips.iter().for_each(|why| tracing::warn!("{why}"));
        }
    }

    pub fn selection(&self) -> Result<Selection> {
        Selection::parse(self.global.tenants.clone())
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
    pub fn jitter(&self) -> f64 {
        let random = self.clock.mint(FileId::NIL).0.random() % 1_000;
        f64::from(u16::try_from(random).unwrap_or_default()) / 1_000.0
    }

    pub async fn open(&self, location: &Location, options: OpenOptions) -> Result<OpenStore> {
        open(location, options, Arc::clone(&self.clock)).await
    }

    /// A manager whose archive is opened when it is first needed.
    pub async fn manager(&self) -> Result<CompactionManager> {
        // A wrong --tenant is an error before anything is opened.
        self.selection()?;
        crate::open(self.places(self.settings.store()?)?).await
    }

    /// A manager that makes passes: whether the archive can be opened is known.
    pub async fn writing_manager(&self) -> Result<CompactionManager> {
        let manager = self.manager().await?;
        manager.open_archive().await?;
        Ok(manager)
    }

    pub fn places(&self, store: Location) -> Result<Places> {
        Places::of(&self.settings, store, self.shard, Arc::clone(&self.clock))
    }
}
