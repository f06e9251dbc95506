//! Every error that a user can cause, caused: through the real binary, and what it says is read.
//! docs/errors.md is the table of them.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make worlds of the real time"
)]

#[path = "errors/denied.rs"]
mod denied;
#[path = "errors/local.rs"]
mod local;
#[path = "errors/server.rs"]
mod server;
#[path = "errors/store.rs"]
mod store;
mod support;
#[path = "errors/table.rs"]
mod table;
#[path = "errors/texts.rs"]
mod texts;
#[path = "errors/usage.rs"]
mod usage;
