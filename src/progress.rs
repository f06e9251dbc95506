//! Events of a run, for whoever shows its progress. The library draws nothing.

/// The target of events that the report of the same command tells too. Where a person reads the
/// report, they are not logged by default: one fault is told once.
pub const TOLD: &str = "icepack::told";

use icepack_core::model::report::TenantReport;

/// Something happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Every tenant is planned.
    Planned {
        /// Tenants with something to do.
        tenants: usize,
        /// Bytes that the groups will read.
        bytes: u64,
    },
    /// A tenant's turn begins.
    TenantStarted {
        /// Name of the tenant.
        tenant: &'a str,
        /// Bytes that its groups will read.
        bytes: u64,
    },
    /// Some input bytes of a tenant are done.
    BytesDone {
        /// Name of the tenant.
        tenant: &'a str,
        /// Bytes since the last such event.
        bytes: u64,
        /// Rows since the last such event.
        rows: u64,
    },
    /// A tenant's turn is over.
    TenantDone {
        /// Its result.
        report: &'a TenantReport,
    },
}

/// Watches a run. Called from several tasks; must not block.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use icepack::progress::{Event, Progress};
///
/// #[derive(Default)]
/// struct Rows(AtomicU64);
///
/// impl Progress for Rows {
///     fn on(&self, event: Event<'_>) {
///         if let Event::BytesDone { rows, .. } = event {
///             self.0.fetch_add(rows, Ordering::Relaxed);
///         }
///     }
/// }
/// # let rows = Rows::default();
/// # rows.on(Event::BytesDone { tenant: "acme", bytes: 1, rows: 7 });
/// # assert_eq!(rows.0.into_inner(), 7);
/// ```
pub trait Progress: Send + Sync {
    /// Something happened.
    fn on(&self, event: Event<'_>);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn on(&self, _: Event<'_>) {}
}
