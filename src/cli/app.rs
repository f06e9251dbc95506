//! What the commands share: the settings, the stores that they name, and how results leave.

use std::sync::Arc;

use crate::archive::{ArchiveTarget, ObjectArchive, s3};
use crate::clock::Clock;
use crate::pass::Selection;
use crate::protocol::marker::Root;
use crate::settings::{Environment, FlagValue, Layers, Settings};
use crate::store::credentials::Connection;
use crate::store::{Location, OpenOptions, OpenStore, open};
use crate::telemetry::otel::Traces;
use crate::{CompactionManager, Result};
use icepack_core::model::inputs::Exclude;
use icepack_core::model::marker::Role;
use icepack_core::model::names::FileId;
use icepack_core::model::shard::Shard;
use indicatif::MultiProgress;

use super::args::Global;
use super::output::{Output, complain};
use super::render::{Report, View};

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

/// What a command does with the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archive {
    /// Nothing: it is not even opened.
    Unused,
    /// Reads it, if it exists.
    Read,
    /// Writes to it; a directory is made.
    Write,
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
            self.out.json(report)?;
        } else {
            let text = report.text(View {
                style: self.out.style,
                wanted: &self.global.tenants,
            });
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

    /// Warns of tenants whose rows are kept because nobody said that they may be dropped.
    pub fn warn_of_kept<'t>(&self, tenants: impl Iterator<Item = &'t str>) {
        tenants
            .filter_map(|t| self.settings.kept(t))
            .for_each(|why| tracing::warn!("{why}"));
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
        if *location == Location::Memory {
            tracing::warn!("memory:// is empty whenever a program starts, and gone when it ends");
        }
        open(location, options, Arc::clone(&self.clock)).await
    }

    pub async fn manager(&self, archive: Archive) -> Result<CompactionManager> {
        // A wrong --tenant is an error before anything is opened.
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
            let class = self.settings.archive_class();
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
        let client = s3::client::connect(&connection).await?;
        let bucket = s3::bucket::Bucket {
            client,
            name: bucket.clone(),
            prefix: prefix.clone(),
            retry: options.retry,
        };
        let target = s3::S3Archive::new(bucket, Arc::clone(&cold.store), url, options);
        Ok(match hot {
            // Another server, or other credentials, could not copy from the store.
            Location::S3 { bucket, prefix } if connection == Connection::default() => {
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
            connection: self.settings.archive_connection(),
        };
        Ok(Some(self.open(&location, options).await?))
    }
}
