//! Deterministic simulation testing of icepack: the invariants as predicates over a world. For tests alone; nothing that is shipped depends on it.

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

pub mod invariants;
