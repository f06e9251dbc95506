//! Stores: their addresses, how they are opened, and the wrappers around them.

pub mod counting;
pub mod credentials;
mod draft;
pub mod html;
pub mod local;
mod location;
pub mod named;
pub mod object_writer;
mod plain_keys;
pub mod retry;
pub mod staged;

pub use location::*;
