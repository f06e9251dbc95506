//! Metrics, logs and traces of passes.

mod json_lines;
pub mod logs;
pub mod metrics;
pub mod otel;

/// The target of spans that are for traces alone: log lines leave them out by it.
pub const TRACES_ONLY: &str = "icepack::trace";
