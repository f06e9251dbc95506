//! Parquet in and out, below the stages: columns united by name, rows fingerprinted, files read and
//! written in bounded memory.

pub mod append;
pub mod footer;
pub mod hash;
pub mod leaf;
pub mod pages;
mod pairs;
pub mod profile;
pub mod read;
pub mod schema;
pub mod source;
pub mod stats;
pub mod summary;
pub mod thrift;
pub mod time;
pub mod views;
pub mod write;

pub use schema::Columns;
pub use stats::read_stats;

#[cfg(test)]
mod tests;
