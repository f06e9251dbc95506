//! The `icepack` binary: it tunes the allocator and calls the library.

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

/// Sets three options of glibc's allocator.
///
/// glibc keeps up to eight arenas for each processor and does not share freed memory between them.
/// We measured an overhead of 50 %. Two arenas are as fast here and keep us within `memory_limit`.
///
/// It also returns large blocks to the system at once, which clears and maps them again for the
/// next file. We measured a tenth of a pass. Blocks up to 4 MiB, and 64 MiB in all, are kept.
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
