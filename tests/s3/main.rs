//! Real servers: S3 as several programs understand it, and the engines that read what is published.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make worlds of the real time"
)]

#[cfg(all(feature = "azure", feature = "gcp"))]
mod clouds;
#[cfg(feature = "delta")]
mod delta;
mod loops;
mod servers;
#[path = "../support/mod.rs"]
mod support;
mod symlink;
