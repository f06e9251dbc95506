//! What an operator relies on: run records, metrics, `watch`, shards, logs, traces.

#[cfg(feature = "otel")]
mod collector;
mod logs;
mod metrics;
mod runs;
mod shards;
#[cfg(feature = "otel")]
mod traces;
mod watch;
mod world;
