//! Results as people read them: pure functions from a report to text.

pub mod config;
pub mod doctor;
mod estimate;
pub mod plan;
pub mod restore;
pub mod run;
pub mod status;
pub mod table;
pub mod text;
pub mod verify;
