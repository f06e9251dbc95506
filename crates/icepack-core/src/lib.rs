//! The model and the decisions of icepack: plain data and pure functions.
//!
//! Nothing here reads a clock, talks to a store or waits, and the crate depends on nothing that
//! does: no tokio, no object_store, no logging. So a plan can be tested, printed and model-checked
//! as it is.
//!
//! - [`model`] is the data: manifests, receipts, holds, plans, reports.
//! - [`plan`] is the decisions: what to merge, what has expired, what may be deleted, and [`plan::commit::apply`], the one function that makes the next manifest.

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

pub mod model;
pub mod plan;
