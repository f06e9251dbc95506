//! What an operator relies on: run records, metrics, `watch`, shards, logs, traces. One program,
//! because each is short and all need the binary.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make worlds of the real time"
)]

mod support;

#[cfg(feature = "otel")]
#[path = "ops/collector.rs"]
mod collector;
#[path = "ops/logs.rs"]
mod logs;
#[path = "ops/metrics.rs"]
mod metrics;
#[path = "ops/runs.rs"]
mod runs;
#[path = "ops/shards.rs"]
mod shards;
#[cfg(feature = "otel")]
#[path = "ops/traces.rs"]
mod traces;
#[path = "ops/watch.rs"]
mod watch;
#[path = "ops/world.rs"]
mod world;
