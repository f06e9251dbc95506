//! Settings: a flag beats the environment, which beats the file, which beats the default; key by
//! key.

mod value;
pub mod values;

#[cfg(feature = "cli")]
mod check;
#[cfg(feature = "cli")]
mod display;
#[cfg(feature = "cli")]
mod env;
#[cfg(feature = "cli")]
mod file;
#[cfg(feature = "cli")]
mod layers;
#[cfg(feature = "cli")]
pub mod propose;
#[cfg(all(test, feature = "cli"))]
mod reference;
#[cfg(feature = "cli")]
mod resolve;
#[cfg(feature = "cli")]
mod schema;
#[cfg(feature = "cli")]
mod suggest;
#[cfg(all(test, feature = "cli"))]
mod tests;

#[cfg(feature = "cli")]
pub use display::DisplayValue;
#[cfg(feature = "cli")]
pub use env::Environment;
#[cfg(feature = "cli")]
pub use layers::{DEFAULT_FILE, FlagValue, Layers, Source};
#[cfg(feature = "cli")]
pub use resolve::{Settings, parse_duration};
