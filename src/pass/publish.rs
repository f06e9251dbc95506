//! Publishing as a part of a pass: a step that may fail without harm, but that nothing is deleted
//! without.

use std::sync::Arc;

use object_store::ObjectStore;

use super::Run;
#[cfg(feature = "delta")]
use crate::delta::Publisher;
use crate::error::{Error, Result};
use icepack_core::model::names::Tenant;
use icepack_core::model::publish::Followed;
#[cfg(feature = "delta")]
use icepack_core::model::report::Status;
use icepack_core::model::report::TenantReport;

/// One tenant's table during a pass, where there is one.
pub(super) struct Publishing<'a> {
    tenant: &'a Tenant,
    #[cfg(feature = "delta")]
    publisher: Option<Publisher>,
    failure: Option<Error>,
}

#[cfg(feature = "delta")]
impl<'a> Publishing<'a> {
    pub fn of(run: &Run, store: &Arc<dyn ObjectStore>, tenant: &'a Tenant) -> Self {
        let config = &run.context.config;
        // As many tenants at once, with some footers each.
        let footer_limit = config.memory_limit / 32 / (config.concurrency.max(1) as u64);
        let publisher = config.publish.map(|p| {
            Publisher::new(
                Arc::clone(store),
                tenant.clone(),
                p,
                config.input_rules(),
                footer_limit,
            )
        });
        Self {
            tenant,
            publisher,
            failure: None,
        }
    }

    /// Brings the table to what is live now. What goes wrong is kept: the pass goes on.
    pub async fn publish(&mut self, report: &mut TenantReport) {
        let Some(publisher) = &self.publisher else {
            return;
        };
        match publisher.publish().await {
            Ok(done) => {
                if done.commits > 0 {
                    report.status = report.status.max(Status::Done);
                }
                report.published.get_or_insert_default().add(done);
                self.failure = None;
            }
            Err(e) => {
                tracing::warn!("not published: {e}");
                self.failure = Some(e);
            }
        }
    }

    /// The table, where there is one, for a sweep. None at all where it is behind or cannot be
    /// read: then nothing may be deleted.
    pub async fn table(&mut self) -> Option<Option<Followed>> {
        let Some(publisher) = &self.publisher else {
            return Some(None);
        };
        if self.failure.is_some() {
            return None;
        }
        match publisher.followed().await {
            Ok(table) => Some(Some(table)),
            Err(e) => {
                tracing::warn!(
                    "nothing is deleted, for what the table's readers need is not known: {e}"
                );
                self.failure = Some(e);
                None
            }
        }
    }
}

#[cfg(not(feature = "delta"))]
#[allow(clippy::unused_async, reason = "as with the feature")]
impl<'a> Publishing<'a> {
    pub fn of(_: &Run, _: &Arc<dyn ObjectStore>, tenant: &'a Tenant) -> Self {
        Self {
            tenant,
            failure: None,
        }
    }

    pub async fn publish(&mut self, _: &mut TenantReport) {}

    pub async fn table(&mut self) -> Option<Option<Followed>> {
        Some(None)
    }
}

impl Publishing<'_> {
    /// Ends the tenant's part where its table is somebody else's: rows that it has deleted would
    /// live on in a snapshot.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn refusal(&mut self) -> Result<()> {
        match self.failure.take_if(|e| matches!(e, Error::Refused(_))) {
            Some(refused) => Err(refused),
            None => Ok(()),
        }
    }

    /// What kept the tenant from being published, if anything did.
    pub fn into_result(self) -> Result<()> {
        let tenant = self.tenant;
        match self.failure {
            None => Ok(()),
            // Others publish: they bring the table on.
            Some(e @ (Error::Conflict(_) | Error::Refused(_))) => Err(e),
            Some(e) => Err(Error::local(
                format!("the table of tenant `{tenant}` is behind, so nothing of it is deleted"),
                e,
            )),
        }
    }
}
