//! `icepack restore`: what is asked for, and what became of it.

use crate::open::open_restorer;
use crate::pass::StopHandle;
use crate::restore::RestoreRequest;
use crate::store::Location;
use crate::{Error, Result};
use icepack_core::model::file::Micros;
use icepack_core::model::names::Tenant;
use icepack_core::model::restore::{RestoreStatus, TenantRestore};

use super::app::App;
use super::args::RestoreArgs;
use super::output::complain;
use super::signals;

impl App<'_> {
    pub(super) async fn restore(&mut self, args: &RestoreArgs) -> Result<u8> {
        let into = match &args.into {
            Some(url) => Location::parse(url)?,
            None => self.settings.store()?,
        };
        let stop = StopHandle::default();
        signals::watch(stop.clone());
        let request = self.request(args)?;
        let restore = async {
            let opened = open_restorer(self.places(into)?, args.dry_run, stop.clone());
            opened.await?.run(&request).await
        };
        let report = tokio::select! {
            report = restore => report?,
            // It stops between two objects. One may take long, or an endpoint may be away.
            () = signals::silence(&stop, || 0) => return Ok(interrupted()),
        };
        self.print(&report)?;
        let is_done = |t: &TenantRestore| t.status != RestoreStatus::Failed;
        if stop.is_stopped() && !report.tenants.iter().all(is_done) {
            return Ok(interrupted());
        }
        Ok(self.conclude(&report))
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

/// The exit code of a restore that a signal ended.
fn interrupted() -> u8 {
    complain("stopped by a signal; the same command again goes on");
    signals::INTERRUPTED
}
