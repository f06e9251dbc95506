//! `icepack watch`: passes at an interval, timed from the last pass that the store has a record of,
//! so that several watchers share it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::watch::{HealthState, serve};
use crate::{Error, Result};
use chrono::{DateTime, Utc};
use icepack_core::plan::schedule::{self, Passes};
use tokio::net::TcpListener;

use super::app::App;
use super::args::WatchArgs;
use super::pass::PassJob;
use super::render::Report as _;
use super::signals::{ServiceSignals, Signal};

/// How long a pass may take to stop. Then it is dropped, which loses nothing: what it has not
/// committed did not happen.
const GRACE: Duration = Duration::from_secs(8);

/// Between two tries to reach a store that does not answer, where the interval is longer.
const RETRY: Duration = Duration::from_secs(60);

/// How often the clock is read while a pass is waited for: it may be set meanwhile.
const NAP: Duration = Duration::from_secs(30);

/// How a pass or a pause ended.
enum Ended {
    ByItself,
    Reload,
    Terminate,
}

/// Makes passes until a signal ends it. A pass that fails is logged, and the next one tried in time.
pub async fn watch(app: &mut App<'_>, args: &WatchArgs) -> Result<u8> {
    let mut signals = ServiceSignals::listen()?;
    let health = HealthState::new(
        Arc::clone(&app.clock),
        app.settings.compaction_config().interval(),
    );
    let mut job = PassJob::new(app, Arc::clone(&health) as _).await?;
    if let Some(address) = args.listen {
        listen(address, &health).await?;
        let last = job.manager.last_run();
        match unless_signalled(&mut signals, last).await {
            Ok(Ok(Some(record))) => health.show_metrics(job.metrics_of(&record)),
            Ok(_) => {}
            Err(Ended::Terminate) => return Ok(0),
            Err(_) => reload(app, &mut job, &health).await,
        }
    }
    let (mut jitter, mut passes) = (app.jitter(), Passes::default());
    loop {
        let due = job.due(app, &health, jitter, &mut passes);
        let due = unless_signalled(&mut signals, due).await;
        let ended = match due {
            Err(ended) => ended,
            Ok(due) if app.clock.now() < due => wait(app, due, &mut signals).await,
            Ok(_) => {
                jitter = app.jitter();
                let served = args.listen.is_some();
                let ended = pass(app, &job, &health, served, &mut passes, &mut signals).await?;
                if let Some(traces) = &app.traces {
                    traces.flush();
                }
                ended
            }
        };
        match ended {
            Ended::ByItself => {}
            Ended::Reload => reload(app, &mut job, &health).await,
            Ended::Terminate => return Ok(0),
        }
    }
}

/// Does `work`, or as much of it as is done before a signal: a store that does not answer must not
/// keep a service from ending.
async fn unless_signalled<T>(
    signals: &mut ServiceSignals,
    work: impl Future<Output = T>,
) -> Result<T, Ended> {
    tokio::select! {
        done = work => Ok(done),
        signal = signals.next() => Err(signal.into()),
    }
}

async fn listen(address: SocketAddr, health: &Arc<HealthState>) -> Result<()> {
    let listener = TcpListener::bind(address).await.map_err(|e| {
        Error::Usage(format!(
            "--listen: cannot listen on {address}: {e}; choose another port"
        ))
    })?;
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!(%address, "serving /healthz and /metrics");
    tokio::spawn(serve(listener, Arc::clone(health)));
    Ok(())
}

impl PassJob {
    /// When the next pass begins. Where the store does not say, it is read again soon.
    async fn due(
        &self,
        app: &App<'_>,
        health: &HealthState,
        jitter: f64,
        passes: &mut Passes,
    ) -> DateTime<Utc> {
        let interval = self.manager.config().interval();
        match self.manager.last_run().await {
            Ok(last) => {
                health.heartbeat();
                if let Some((record, claimed)) = last.as_ref().and_then(|r| Some((r, r.claimed?)))
                    && passes.is_news(record.report.run_id)
                {
                    tracing::warn!(
                        "the last pass is recorded as one of {claimed}, of a machine whose clock \
                         is ahead; it counts as one of {}, when the store got it",
                        record.report.started_at
                    );
                }
                let now = app.clock.now();
                let began = passes.last(last.map(|r| (r.report.run_id, r.report.started_at)), now);
                schedule::next_pass(began, interval, jitter, now)
            }
            Err(e) => {
                tracing::error!("when the last pass was is not known, asking again soon: {e}");
                app.clock.now() + interval.min(RETRY)
            }
        }
    }
}

/// Waits until `due`, or a signal.
async fn wait(app: &App<'_>, due: DateTime<Utc>, signals: &mut ServiceSignals) -> Ended {
    tracing::debug!(%due, "waiting for the next pass");
    while let Ok(left) = due.signed_duration_since(app.clock.now()).to_std() {
        if left.is_zero() {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(left.min(NAP)) => {}
            signal = signals.next() => return signal.into(),
        }
    }
    Ended::ByItself
}

/// One pass. A signal stops it where nothing is half done.
async fn pass(
    app: &mut App<'_>,
    job: &PassJob,
    health: &HealthState,
    served: bool,
    passes: &mut Passes,
    signals: &mut ServiceSignals,
) -> Result<Ended> {
    let began = app.clock.now();
    let work = job.run(served);
    tokio::pin!(work);
    let mut ended = Ended::ByItself;
    let report = loop {
        tokio::select! {
            report = &mut work => break report,
            signal = signals.next() => match signal {
                // After the pass: it was begun with the old configuration.
                Signal::Reload => ended = Ended::Reload,
                Signal::Terminate => {
                    tracing::warn!("stopping at the next safe point");
                    job.manager.stop_handle().stop();
                    ended = Ended::Terminate;
                    match tokio::time::timeout(GRACE, &mut work).await {
                        Ok(report) => break report,
                        Err(_) => {
                            tracing::warn!("the pass did not stop in {} s and is dropped; what it has not committed did not happen, the next pass takes it up", GRACE.as_secs());
                            return Ok(ended);
                        }
                    }
                }
            },
        }
    };
    match report {
        Ok((report, metrics)) => {
            passes.made(began);
            health.heartbeat();
            if let Some(metrics) = metrics {
                health.show_metrics(metrics);
            }
            app.warn_of(report.tenants.iter().map(|t| t.tenant.as_str()));
            for problem in report.problems(true) {
                tracing::error!(run_id = %report.run_id, "{problem}");
            }
            if app.global.json {
                let line = serde_json::to_string(&report)
                    .map_err(|e| Error::local("cannot write the result as JSON", e))?;
                app.out.line(&line)?;
                app.out.flush()?;
            }
        }
        Err(e) => {
            tracing::error!("the pass failed, the next one is tried in time: {e}");
            // It may have left no record, and would be due again at once.
            if matches!(ended, Ended::ByItself) {
                let again = app.clock.now() + job.manager.config().interval().min(RETRY);
                ended = wait(app, again, signals).await;
            }
        }
    }
    Ok(ended)
}

/// Re-reads the configuration. A bad one is logged, and the old one stays.
async fn reload(app: &mut App<'_>, job: &mut PassJob, health: &Arc<HealthState>) {
    let old = match app.resolve() {
        Ok(new) => std::mem::replace(&mut app.settings, new),
        Err(e) => {
            return tracing::error!("the configuration is not taken over, the old one stays: {e}");
        }
    };
    match PassJob::new(app, Arc::clone(health) as _).await {
        Ok(new) => {
            *job = new;
            health.set_interval(job.manager.config().interval());
            app.settings
                .warnings()
                .iter()
                .for_each(|w| tracing::warn!("{w}"));
            tracing::info!("the configuration was re-read");
        }
        Err(e) => {
            app.settings = old;
            tracing::error!("the configuration is not taken over, the old one stays: {e}");
        }
    }
}

impl From<Signal> for Ended {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Reload => Self::Reload,
            Signal::Terminate => Self::Terminate,
        }
    }
}
