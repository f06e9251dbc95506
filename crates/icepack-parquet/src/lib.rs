//! Parquet in and out, in bounded memory: files are checked before they are decoded, columns are
//! united by name, rows are fingerprinted.
//!
//! Nothing here knows a tenant or a manifest's place in a store.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::todo,
        clippy::unimplemented
    )
)]

pub mod append;
mod error;
pub mod failure;
pub mod footer;
pub mod guard;
pub mod hash;
pub mod leaf;
mod pairs;
pub mod profile;
pub mod read;
pub mod schema;
pub mod source;
pub mod stats;
pub mod summary;
pub mod time;
pub mod views;
pub mod write;

pub use error::{Error, Result, Unread};
pub use schema::Columns;
pub use stats::read_stats;

#[cfg(test)]
mod tests;
