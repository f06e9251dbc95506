//! Traces of passes, sent over OTLP/HTTP where the standard `OTEL_*` variables name a collector.
//! The library makes the spans; here they leave. A collector that is away or slow is worth one
//! warning and a few seconds at the end of the process, never a pass.

mod config;
#[cfg(feature = "otel")]
mod export;
#[cfg(feature = "otel")]
mod health;

#[cfg(feature = "otel")]
pub use export::Traces;
#[cfg(not(feature = "otel"))]
pub use without::Traces;

use std::time::Duration;

use tracing_subscriber::Layer;

/// How long the last spans may take when a command is done.
pub const LAST_FLUSH: Duration = Duration::from_secs(5);

/// The same for a service, which a signal ends within 10 s: its last pass may take 8 s of them.
pub const LAST_FLUSH_OF_SERVICE: Duration = Duration::from_millis(1_500);

/// A layer of the program's subscriber.
pub type Spans<S> = Box<dyn Layer<S> + Send + Sync>;

/// Where nothing can be sent, and nothing is.
#[cfg(not(feature = "otel"))]
mod without {
    use tracing_subscriber::Registry;

    use super::{Duration, Spans, config};

    /// No value of it exists, so its methods are never called.
    pub enum Traces {}

    impl Traces {
        /// Never any; and why, where the environment asks for them.
        pub fn start() -> Result<Option<Self>, String> {
            match config::of_process()? {
                None => Ok(None),
                Some(_) => Err(
                    "traces are asked for, but this icepack was built without the feature `otel`: \
                     none are sent"
                        .to_owned(),
                ),
            }
        }

        pub fn layer(&self) -> Spans<Registry> {
            match *self {}
        }

        pub fn attach(&self) {
            match *self {}
        }

        pub fn flush(&self) {
            match *self {}
        }

        pub async fn finish(&self, _: Duration) {
            match *self {}
        }
    }
}
