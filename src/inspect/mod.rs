//! Commands that change nothing: doctor, verify, and the sample that `init` takes.

pub mod conformance;
pub mod doctor;
pub mod sample;
pub mod survey;
pub mod verify;
