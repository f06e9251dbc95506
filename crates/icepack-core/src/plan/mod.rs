//! Decisions. Everything here is pure: no clock, no async, no store, so that it can be tested,
//! printed and model-checked as it is.

pub mod attention;
pub mod batch;
pub mod classes;
pub mod commit;
pub mod compaction;
pub mod cutting;
pub mod evidence;
pub mod expiry;
pub mod expiry_guard;
pub mod forecast;
pub mod intake;
pub mod live;
pub mod money;
pub mod paging;
pub mod prescan;
pub mod publish;
pub mod quarantine;
pub mod recognise;
pub mod restore;
pub mod retention;
pub mod schedule;
pub mod shard;
pub mod status;
pub mod sweep;
pub mod symlink;
