//! The program as its users run it: commands, errors, pages, logs, metrics, several processes.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make worlds of the real time"
)]

mod buckets;
mod commands;
mod errors;
mod examples;
mod look;
mod ops;
mod processes;
#[path = "../support/mod.rs"]
mod support;
