//! What an operator relies on: run records, metrics, `watch`, shards, logs, traces.

#[cfg(feature = "otel")]
mod collector;
mod frozen;
mod logs;
mod metrics;
mod runs;
mod shards;
#[cfg(target_os = "linux")]
mod signals;
#[cfg(feature = "otel")]
mod traces;
mod watch;
mod world;
