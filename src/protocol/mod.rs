//! The requests for each tenant, in the order that keeps rows safe: `docs/architecture.md`.

pub mod commit;
pub mod dating;
pub mod discover;
pub mod marker;
pub mod pages;
pub mod preflight;
pub mod prescan;
pub mod runs;
pub mod split_markers;
pub mod sweep;
pub mod symlink;
