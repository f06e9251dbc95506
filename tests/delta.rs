//! Delta tables: what is in their logs, by a reader of our own; and what engines that nobody here
//! wrote read, while passes work and are killed.
//!
//! `ICEPACK_DELTA_ROUNDS=60` makes the loops long.

#![cfg(feature = "delta")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests make worlds of the real time"
)]

mod support;

#[path = "delta/engines.rs"]
mod engines;
#[path = "delta/log.rs"]
mod log;
