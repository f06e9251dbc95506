//! The `icepack` binary: a thin face over the library.

#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::todo,
        clippy::unimplemented
    )
)]

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    tune_allocator();
    let typed: Vec<OsString> = std::env::args_os().collect();
    ExitCode::from(icepack::cli::run(&typed))
}

/// What glibc's allocator is told.
///
/// It gives every thread a heap of its own, up to eight for each processor, and what one frees does
/// not serve another: measured, half as much memory again as is in use. Two are as fast here, and
/// let `memory_limit` hold. And it gives the blocks that files are read into back to the system, to
/// be cleared and mapped again for the next file: a tenth of the time of a pass. Up to so many
/// bytes they are kept.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn tune_allocator() {
    const MIB: libc::c_int = 1 << 20;
    // SAFETY: it sets numbers, and no other thread exists yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 4 * MIB);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 * MIB);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn tune_allocator() {}
