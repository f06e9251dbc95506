//! icepack merges the small Parquet files of a bucket into few sorted snapshots, tenant by tenant,
//! and archives old rows before it deletes them.
//!
//! One pass is **discover → plan → merge → archive → commit → sweep**. State is a chain of
//! manifests, each created with a conditional put; files are deleted only because a committed
//! manifest says that their rows are elsewhere. `docs/architecture.md` has the protocol and its
//! invariants.
//!
//! ```
//! # tokio_test(async {
//! use std::sync::Arc;
//! use icepack::{CompactionConfig, CompactionManager};
//!
//! let store = Arc::new(object_store::memory::InMemory::new());
//! let manager = CompactionManager::new(store, CompactionConfig::default());
//! let result = manager.compact().await?;
//! assert_eq!(result.files_compacted, 0);
//! # Ok::<(), icepack::Error>(())
//! # });
//! # fn tokio_test<F: Future<Output = Result<(), icepack::Error>>>(f: F) {
//! #     tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(f).unwrap();
//! # }
//! ```
//!
//! [`open()`] opens a store and its archive by their addresses, S3 included.
//!
//! `examples/` has three programs: `compact_directory`, `custom_archive` (an [`ArchiveTarget`] of
//! your own) and `embedded` (a task in a service).
//!
//! # Units and shapes
//!
//! Sizes are bytes, durations in reports milliseconds, times in files and manifests microseconds
//! since 1970 in UTC ([`model::file::Micros`]). A key is relative to the store's root, without a
//! leading slash; the layout says which part of it is the tenant. What `--json` prints is the serde
//! form of [`model::report`] and [`model::inspect`].
//!
//! # What stays
//!
//! The names at the root of the crate, and the modules that this page lists, are meant to stay. The
//! other modules are hidden: they are public for the crate's own tests alone and change without
//! notice. Configurations and options may be made as `CompactionConfig { memory_limit: 1 << 30,
//! ..CompactionConfig::default() }`: they gain fields. Reports gain fields, and events and errors
//! gain kinds, without that being a breaking change.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
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

pub mod archive;
#[doc(hidden)]
pub mod budget;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod clock;
mod closing;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod format;
#[doc(hidden)]
pub mod inspect;
#[cfg(test)]
mod layers;
#[doc(hidden)]
pub mod merge;
pub mod open;
#[doc(hidden)]
pub mod page;
pub mod pass;
pub mod progress;
#[doc(hidden)]
pub mod protocol;
#[doc(hidden)]
pub mod restore;
#[doc(hidden)]
pub mod settings;
#[doc(hidden)]
pub mod store;
#[doc(hidden)]
pub mod task;
#[doc(hidden)]
pub mod telemetry;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod watch;

pub use archive::ArchiveTarget;
pub use config::{CompactionConfig, CompactionOverrides, TimeColumns};
pub use error::{Error, Result};
#[doc(no_inline)]
pub use icepack_core::model;
pub use model::names::format_iso_basic;
pub use model::policy::{Codec, CompactionStrategy, Encodings, Writing};
pub use model::retention::RetentionConfig;
pub use open::{Places, open};
pub use pass::manager::{CompactionManager, CompactionResult, CompactionStats};
pub use task::CompactionTask;
