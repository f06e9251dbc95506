//! Ctrl-C and SIGTERM: the first asks the pass to stop where nothing is half done, the second ends
//! the process.

use std::time::Duration;

use crate::pass::StopHandle;
use crate::{Error, Result};

/// What shells expect of a process that was interrupted.
pub const INTERRUPTED: u8 = 130;

/// Hands the first signal to `stop`.
pub fn watch(stop: StopHandle) {
    tokio::spawn(async move {
        let Some(mut signals) = Signals::listen() else {
            return;
        };
        signals.next().await;
        tracing::warn!(
            "stopping at the next safe point; a second signal ends the process at once, which \
             loses nothing but leaves files for a later pass to collect"
        );
        stop.stop();
        signals.next().await;
        std::process::exit(INTERRUPTED.into());
    });
}

/// How often it is looked whether a pass that was asked to stop goes on.
const LOOK: Duration = Duration::from_millis(100);

/// Looks without news after which it is not waited for any longer.
const LOOKS: u32 = 15;

/// Ends once `stop` was asked for and `progress`, which counts what was begun since, shows nothing
/// new for a while: what is at work waits for a store that does not answer. What it has not
/// committed did not happen.
pub async fn silence(stop: &StopHandle, progress: impl Fn() -> u64) {
    let (mut seen, mut looks) = (0, 0);
    while looks < LOOKS {
        tokio::time::sleep(LOOK).await;
        let now = progress();
        looks = if stop.is_stopped() && now == seen {
            looks + 1
        } else {
            0
        };
        seen = now;
    }
}

/// What a signal asks of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: re-read the configuration.
    Reload,
    /// SIGTERM, Ctrl-C: end.
    Terminate,
}

/// The signals to a service.
pub struct ServiceSignals {
    end: Signals,
    #[cfg(unix)]
    reload: tokio::signal::unix::Signal,
}

impl ServiceSignals {
    /// From now on signals do nothing but arrive at [`Self::next`]. Where the system does not allow
    /// that, the service does not begin: it could not be ended in order.
    pub fn listen() -> Result<Self> {
        let failed = |e: &dyn std::fmt::Display| Error::local("cannot listen for signals", e);
        let end = Signals::listen().ok_or_else(|| failed(&"see above"))?;
        #[cfg(unix)]
        let reload = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())
            .map_err(|e| failed(&e))?;
        Ok(Self {
            end,
            #[cfg(unix)]
            reload,
        })
    }

    /// The next signal.
    pub async fn next(&mut self) -> Signal {
        #[cfg(unix)]
        tokio::select! {
            () = self.end.next() => Signal::Terminate,
            _ = self.reload.recv() => Signal::Reload,
        }
        #[cfg(not(unix))]
        {
            self.end.next().await;
            Signal::Terminate
        }
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> Option<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let listening = signal(SignalKind::interrupt()).and_then(|interrupt| {
            Ok(Self {
                interrupt,
                terminate: signal(SignalKind::terminate())?,
            })
        });
        listening
            .inspect_err(|e| {
                tracing::warn!("cannot listen for signals ({e}): a signal ends the run at once")
            })
            .ok()
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> Option<Self> {
        Some(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
