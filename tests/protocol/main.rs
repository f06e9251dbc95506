//! The library on real stores: what it merges, archives, expires and asks of them.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make worlds of the real time"
)]

mod adoption;
mod again;
mod archive;
mod classes;
mod conformance;
mod contract;
mod copies;
mod expiry;
mod forms;
mod layouts;
mod pages;
mod requests;
mod sizes;
#[path = "../support/mod.rs"]
mod support;
