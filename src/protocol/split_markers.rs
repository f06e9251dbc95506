//! Markers of tenants whose work is split over the shards: `_icepack/_spread/<tenant>.json`.
//!
//! A tenant's own shard writes and removes its marker. The other shards read the markers instead of
//! scanning every tenant for the few that they help with. A missing or stale marker can cost time
//! but never lose rows.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::error::{Error, Result};
use crate::store::path;
use icepack_core::model::names::{Key, STATE_DIR, Tenant};
use icepack_core::model::plan::Plan;

fn dir() -> Key {
    format!("{STATE_DIR}/_spread")
}

fn key(tenant: &Tenant) -> Key {
    format!("{}/{tenant}.json", dir())
}

/// The tenants that are spread.
///
/// # Errors
/// [`Error::Store`] where the notes cannot be listed.
pub async fn list(store: &dyn ObjectStore) -> Result<BTreeSet<Tenant>> {
    let prefix = dir();
    let metas: Vec<_> = store
        .list(Some(&path(&prefix)?))
        .try_collect()
        .await
        .map_err(|e| Error::store("cannot list which tenants are spread", e))?;
    let tenant = |key: &str| {
        Tenant::parse(
            key.strip_prefix(&prefix)?
                .strip_prefix('/')?
                .strip_suffix(".json")?,
        )
        .ok()
    };
    Ok(metas
        .iter()
        .filter_map(|m| tenant(m.location.as_ref()))
        .collect())
}

/// Notes that the tenant of `plan` is spread.
///
/// # Errors
/// [`Error::Store`].
pub async fn add(store: &dyn ObjectStore, plan: &Plan) -> Result<()> {
    let key = key(&plan.tenant);
    let body = serde_json::json!({ "tenant": plan.tenant, "groups": plan.groups.len(), "bytes": plan.backlog(), "since": plan.now }).to_string();
    let options = PutOptions {
        mode: PutMode::Create,
        ..PutOptions::default()
    };
    match store
        .put_opts(&path(&key)?, PutPayload::from(body), options)
        .await
    {
        Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
        Err(e) => Err(Error::store(format!("cannot write `{key}`"), e)),
    }
}

/// Notes that a tenant is no longer spread.
///
/// # Errors
/// [`Error::Store`].
pub async fn remove(store: &dyn ObjectStore, tenant: &Tenant) -> Result<()> {
    let key = key(tenant);
    match store.delete(&path(&key)?).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(e) => Err(Error::store(format!("cannot delete `{key}`"), e)),
    }
}
