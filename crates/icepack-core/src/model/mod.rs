//! Plain data: what the stages hand to each other and what is stored. No I/O, no clock.

pub mod counters;
pub mod estimate;
pub mod file;
pub mod hold;
pub mod inputs;
pub mod inspect;
pub mod layout;
pub mod manifest;
pub mod marker;
pub mod names;
pub mod partition;
pub mod plan;
pub mod policy;
pub mod price;
pub mod publish;
pub mod record;
pub mod report;
pub mod restore;
pub mod retention;
pub mod same;
pub mod sample;
pub mod schema;
pub mod shard;
pub mod swept;
pub mod totals;
pub mod units;
