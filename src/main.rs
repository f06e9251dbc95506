//! The `icepack` binary: a thin face over the library.

#![deny(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::todo, clippy::unimplemented))]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    few_arenas();
    cli::main()
}

/// glibc gives every thread a heap of its own, up to eight for each processor, and what one frees does not serve another: measured, half as much memory
/// again as is in use. Two are as fast here, and let `memory_limit` hold.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn few_arenas() {
    // SAFETY: it sets a number, and no other thread exists yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn few_arenas() {}
