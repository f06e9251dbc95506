//! `icepack restore`: opens the archive and the destination, and shows what became of it.

use std::sync::Arc;

use crate::archive::cold::{ColdStore, PlainCold, S3Cold};
use crate::archive::s3::{self, S3Destination};
use crate::pass::StopHandle;
use crate::protocol::marker::Root;
use crate::restore::{RestoreRequest, Restorer};
use crate::store::credentials::Connection;
use crate::store::piece::upload::{Destination, StoreDestination};
use crate::store::retry::RetryPolicy;
use crate::store::{Location, OpenOptions, OpenStore};
use crate::{Error, Result};
use icepack_core::model::file::Micros;
use icepack_core::model::inputs::Exclude;
use icepack_core::model::marker::Role;
use icepack_core::model::names::Tenant;

use super::app::App;
use super::args::RestoreArgs;
use super::signals;

impl App<'_> {
    pub(super) async fn restore(&mut self, args: &RestoreArgs) -> Result<u8> {
        let no_archive = || {
            Error::Usage(
                "no archive given: pass --archive URL, set ICEPACK_ARCHIVE_URL, or put [archive] \
                 url = \"…\" into icepack.toml"
                    .to_owned(),
            )
        };
        let from = self.settings.archive()?.ok_or_else(no_archive)?;
        let into = match &args.into {
            Some(url) => Location::parse(url)?,
            None => self.settings.store()?,
        };
        if from.overlaps(&into) {
            return Err(Error::Usage(format!(
                "--into {into} overlaps the archive {from}: restored rows would lie among the \
                 archived ones; use another bucket, prefix or directory"
            )));
        }
        let stop = StopHandle::default();
        signals::watch(stop.clone());
        let report = self
            .restorer(&from, &into, args.dry_run, stop)
            .await?
            .run(&self.request(args)?)
            .await?;
        self.emit(&report)
    }

    fn request(&self, args: &RestoreArgs) -> Result<RestoreRequest> {
        let into = args
            .as_tenant
            .as_deref()
            .map(Tenant::parse)
            .transpose()
            .map_err(|e| Error::Usage(format!("--as: {e}")))?;
        Ok(RestoreRequest {
            selection: self.selection()?,
            from: args.from.map(Micros::from_datetime),
            to: args.to.map(Micros::from_datetime),
            into,
            tier: args.tier,
            days: args.days,
            hold: args.hold,
            wait: args.wait.then_some(args.poll_interval),
            dry_run: args.dry_run,
            again: args.again,
        })
    }

    async fn restorer(
        &self,
        from: &Location,
        into: &Location,
        dry_run: bool,
        stop: StopHandle,
    ) -> Result<Restorer> {
        let connection = self.settings.archive_connection();
        let cold = self
            .open(
                from,
                OpenOptions {
                    create: false,
                    connection: connection.clone(),
                },
            )
            .await?;
        // Looking must not make a directory.
        let hot = self
            .open(
                into,
                OpenOptions {
                    create: !dry_run,
                    ..OpenOptions::default()
                },
            )
            .await;
        Root {
            role: Role::Archive,
            store: Arc::clone(&cold.store),
            enclosing: Vec::new(),
            exclude: Exclude::default(),
        }
        .check()
        .await?;
        let hot = if dry_run {
            hot.unwrap_or(OpenStore {
                store: Arc::clone(&cold.store),
                location: into.clone(),
                enclosing: Vec::new(),
            })
        } else {
            hot?
        };
        if hot.location == *into && !Arc::ptr_eq(&hot.store, &cold.store) {
            Root {
                role: Role::Store,
                store: Arc::clone(&hot.store),
                enclosing: hot.enclosing.clone(),
                exclude: self.settings.compaction_config().exclude,
            }
            .check()
            .await?;
        }
        let config = self.settings.compaction_config();
        Ok(Restorer {
            archive: from.canonical(),
            into: into.to_string(),
            destination: destination(into, &hot).await?,
            cold: self.cold(cold, &connection).await?,
            store: hot.store,
            timestamp_column: config.timestamp_column,
            memory: config.memory_limit,
            prices: config.prices,
            clock: Arc::clone(&self.clock),
            stop,
        })
    }

    async fn cold(&self, cold: OpenStore, connection: &Connection) -> Result<Arc<dyn ColdStore>> {
        let Location::S3 { bucket, prefix } = &cold.location else {
            return Ok(Arc::new(PlainCold(cold.store)));
        };
        let retry = self.settings.s3_archive_options().retry;
        let client = s3::client::connect(connection).await?;
        let bucket = s3::bucket::Bucket {
            client,
            name: bucket.clone(),
            prefix: prefix.clone(),
            retry,
        };
        Ok(Arc::new(S3Cold {
            bucket,
            reader: cold.store,
        }))
    }
}

/// How files are put into the destination: create only, wherever it is.
async fn destination(into: &Location, hot: &OpenStore) -> Result<Arc<dyn Destination>> {
    let Location::S3 { bucket, prefix } = into else {
        let store = Arc::clone(&hot.store);
        return Ok(Arc::new(StoreDestination {
            store,
            attributes: Default::default(),
            retry: RetryPolicy::NEVER,
        }));
    };
    let client = s3::client::connect(&Connection::default()).await?;
    let bucket = s3::bucket::Bucket {
        client,
        name: bucket.clone(),
        prefix: prefix.clone(),
        retry: RetryPolicy::default(),
    };
    Ok(Arc::new(S3Destination {
        bucket: Arc::new(bucket),
        attributes: Default::default(),
        algorithm: Default::default(),
        requests: Default::default(),
    }))
}
