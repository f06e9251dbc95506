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

mod error;
pub mod failure;
pub mod guard;
pub mod hash;
pub mod read;
pub mod schema;
pub mod time;
pub mod write;

pub use error::{Error, Result, Unread};
pub use read::{footer, likely, profile, read_stats, source, stats, summary};
pub use schema::{Columns, leaf, views};
pub use write::append;

use schema::{form, pairs};

#[cfg(test)]
mod tests;
