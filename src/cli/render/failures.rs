//! Tenants that could not be inspected, below those that could.

use icepack_core::model::inspect::Failure;
use icepack_core::model::report::Status;

use super::run::code_of;

/// A line for each.
pub fn problems(failures: &[Failure]) -> Vec<String> {
    failures
        .iter()
        .map(|f| format!("{}: {}", f.tenant, f.error))
        .collect()
}

/// The exit code of a pass that ends so, where `fine` tenants did not fail.
pub fn exit_code(failures: &[Failure], fine: usize) -> u8 {
    let failed = failures.iter().map(|f| f.status);
    code_of(failed.chain(std::iter::repeat_n(Status::Idle, fine)))
}
