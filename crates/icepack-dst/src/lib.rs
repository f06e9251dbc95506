//! Deterministic simulation testing of icepack. For tests alone: nothing that is shipped depends on
//! it, and it panics where a test should fail.
//!
//! - [`invariants`]: what must hold, as predicates over a world.
//! - [`intercept`]: the one wrapper for tests that watch or change what a store does.
//! - [`faults`]: which calls of a process fail, and how.
//! - [`memory`]: a store whose times come from the test.

#![forbid(unsafe_code)]

pub mod faults;
pub mod intercept;
pub mod invariants;
pub mod memory;
