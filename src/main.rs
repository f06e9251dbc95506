//! The `icepack` binary: a thin face over the library.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::todo, clippy::unimplemented))]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
