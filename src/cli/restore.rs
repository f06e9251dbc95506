//! `icepack restore`: what is asked for, and what became of it.

use crate::open::open_restorer;
use crate::pass::StopHandle;
use crate::restore::RestoreRequest;
use crate::store::Location;
use crate::{Error, Result};
use icepack_core::model::file::Micros;
use icepack_core::model::names::Tenant;

use super::app::App;
use super::args::RestoreArgs;
use super::signals;

impl App<'_> {
    pub(super) async fn restore(&mut self, args: &RestoreArgs) -> Result<u8> {
        let into = match &args.into {
            Some(url) => Location::parse(url)?,
            None => self.settings.store()?,
        };
        let stop = StopHandle::default();
        signals::watch(stop.clone());
        let report = open_restorer(self.places(into)?, args.dry_run, stop)
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
}
