//! Delta tables: what is in their logs, by a reader of our own; and what engines that nobody here
//! wrote read, while passes work and are killed.
//!
//! `ICEPACK_DELTA_ROUNDS=60` makes the loops long.

mod engines;
mod log;
