//! What is read and written for each tenant, in the order that keeps rows safe: `docs/architecture.md`.

pub mod commit;
pub mod dating;
pub mod discover;
pub mod flat;
pub mod marker;
pub mod runs;
pub mod spread;
pub mod sweep;
