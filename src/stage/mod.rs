//! The stages that talk to stores. A stage knows the store and the model, not another stage;
//! [`crate::run`] joins them.

pub mod archive;
pub mod commit;
pub mod conformance;
pub mod counting;
pub mod credentials;
pub mod dating;
pub mod discover;
pub mod doctor;
pub mod flat;
pub mod html;
pub mod litter;
mod local;
pub mod marker;
pub mod merge;
pub mod named;
pub mod piece;
mod plain_keys;
#[cfg(feature = "delta")]
pub mod publish;
pub mod retry;
pub mod runs;
pub mod sample;
pub mod spread;
pub mod store;
pub mod survey;
pub mod sweep;
pub mod verify;
