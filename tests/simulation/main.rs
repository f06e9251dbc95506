//! The protocol in simulated worlds: every interleaving of small ones, crashes at each request,
//! random files and random schedules. Nothing is lost in any of them.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make worlds of the real time"
)]

mod amplification;
mod crash;
mod model;
mod props;
mod seeds;
mod soak;
#[path = "../support/mod.rs"]
mod support;
