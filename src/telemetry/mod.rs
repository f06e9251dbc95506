//! Metrics, logs and traces of passes.

#[cfg(feature = "cli")]
mod json_lines;
#[cfg(feature = "cli")]
pub mod logs;
pub mod metrics;
#[cfg(feature = "cli")]
pub mod otel;

/// The target of spans that are for traces alone: log lines leave them out by it.
pub const TRACES_ONLY: &str = "icepack::trace";
