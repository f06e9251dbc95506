//! `doctor`: checks the properties of the store and the archive that safety depends on.
//! [`crate::protocol::preflight`] checks the most important ones before every pass.

use std::sync::Arc;

use futures::{StreamExt, stream};
use object_store::{
    Attribute, Attributes, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::inspect::conformance::{Bench, Finding, PROBES, failure};
use crate::store::path;
use icepack_core::model::inspect::{Check, DoctorReport, Health};
use icepack_core::model::names::{FileId, STATE_DIR};
use icepack_core::model::report::SCHEMA_VERSION;

/// Checks at once. They use keys of their own.
const AT_ONCE: usize = 4;

/// The probes of `doctor`, on one store.
pub struct Doctor {
    pub store: Arc<dyn ObjectStore>,
    /// `store` or `archive`.
    pub target: &'static str,
    /// The class that archive objects are put in.
    pub storage_class: Option<String>,
    /// For the ids of the probes.
    pub clock: Arc<dyn Clock>,
}

impl Doctor {
    /// Every probe that makes sense for the hot store.
    pub async fn examine_store(&self) -> Vec<Check> {
        let mut checks = vec![self.check("list", self.list().await)];
        let [first, others @ ..] = &PROBES;
        let created = self.check(
            first.name,
            Bench::examine(&self.store, &self.clock, first).await,
        );
        let writable = created.health == Health::Good;
        checks.push(created);
        if writable {
            let examined = stream::iter(others).map(|p| async move {
                self.check(p.name, Bench::examine(&self.store, &self.clock, p).await)
            });
            checks.extend(examined.buffered(AT_ONCE).collect::<Vec<_>>().await);
        }
        checks
    }

    /// Every probe that makes sense for an archive, where the job may add but not delete.
    pub async fn examine_archive(&self) -> Vec<Check> {
        let mut checks = vec![self.check("list", self.list().await)];
        checks.push(self.check(
            "create",
            self.archive_create().await.unwrap_or_else(|e| failure(&e)),
        ));
        checks
    }

    fn check(&self, name: &str, (health, detail): Finding) -> Check {
        Check {
            target: self.target.to_owned(),
            name: name.to_owned(),
            health,
            detail,
        }
    }

    async fn list(&self) -> Finding {
        match self.store.list_with_delimiter(None).await {
            Ok(found) => (
                Health::Good,
                match found.common_prefixes.len() {
                    1 => "1 folder".to_owned(),
                    n => format!("{n} folders"),
                },
            ),
            Err(e) => failure(&Error::store("cannot list the root", e)),
        }
    }

    async fn archive_create(&self) -> Result<Finding> {
        let key = path(&format!(
            "{STATE_DIR}/_probe/{}-archive",
            self.clock.mint(FileId::NIL)
        ))?;
        let mut options = PutOptions::from(PutMode::Create);
        if let Some(class) = &self.storage_class {
            options.attributes = Attributes::from_iter([(Attribute::StorageClass, class.clone())]);
        }
        self.store
            .put_opts(&key, PutPayload::from_static(b"x"), options)
            .await
            .map_err(|e| Error::store(format!("cannot create `{key}`"), e))?;
        self.store
            .head(&key)
            .await
            .map_err(|e| Error::store(format!("cannot look at `{key}`"), e))?;
        let detail = if self.store.delete(&key).await.is_ok() {
            "objects can be added; this job could also delete, which it never does: its role needs \
             no such right"
                .to_owned()
        } else {
            format!(
                "objects can be added and not deleted, as it should be; the probe `{key}` stays"
            )
        };
        Ok((Health::Good, detail))
    }
}

/// A report of these checks.
pub fn report(checks: Vec<Check>) -> DoctorReport {
    DoctorReport {
        schema_version: SCHEMA_VERSION,
        checks,
    }
}
