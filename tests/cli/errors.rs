//! Every error that a user can cause, caused: through the real binary, and what it says is read.
//! docs/errors.md is the table of them.

mod denied;
mod local;
pub mod server;
mod store;
mod table;
mod texts;
mod usage;
