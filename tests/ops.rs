//! What an operator relies on: run records, metrics, `watch`, shards, logs. One program, because each is short and all need the binary.

#![allow(clippy::disallowed_methods, reason = "tests make worlds of the real time")]

mod support;

#[path = "ops/logs.rs"]
mod logs;
#[path = "ops/metrics.rs"]
mod metrics;
#[path = "ops/runs.rs"]
mod runs;
#[path = "ops/shards.rs"]
mod shards;
#[path = "ops/watch.rs"]
mod watch;
#[path = "ops/world.rs"]
mod world;
