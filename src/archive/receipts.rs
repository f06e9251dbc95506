//! Lists the contents of an archive, by its receipts.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;

use crate::error::{Error, Result};
use crate::protocol::discover;
use icepack_core::model::manifest::Receipt;
use icepack_core::model::names::{Key, Tenant, receipt_key};

/// Receipts read at once.
const AT_ONCE: usize = 16;

/// The archived rows of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// Of the objects that count.
    pub receipts: Vec<Receipt>,
    /// Objects without a receipt, by key.
    pub without: Vec<Key>,
}

impl Archived {
    /// The receipts. Says what is left out: the rows of an object without one may be nowhere else
    /// by now.
    pub fn into_receipts(self, tenant: &Tenant) -> Vec<Receipt> {
        if let Some(first) = self.without.first() {
            let (objects, have) = if self.without.len() == 1 {
                ("object", "has no receipt and is")
            } else {
                ("objects", "have no receipts and are")
            };
            tracing::warn!(
                "{} {objects} of tenant `{tenant}` in the archive {have} not restored: `{first}`; \
                 `icepack run` with this archive writes receipts that are owed, `icepack verify` \
                 says what the others are",
                self.without.len()
            );
        }
        self.receipts
    }
}

/// What the archive has of a tenant.
///
/// # Errors
/// Of the store; [`Error::Refused`] where a receipt cannot be read or is not where it should be:
/// its rows must not be left out without a word.
pub async fn receipts(store: &dyn ObjectStore, tenant: &Tenant) -> Result<Archived> {
    let listing = discover::archived(store, tenant).await?;
    let (keys, others): (Vec<Key>, Vec<Key>) = listing
        .into_iter()
        .map(|f| f.key)
        .partition(|key| key.ends_with(".receipt.json"));
    let listed: BTreeSet<&str> = keys.iter().map(String::as_str).collect();
    let is_object = |key: &str| {
        key.rsplit('/')
            .next()
            .is_some_and(|name| name.starts_with("archive.") && name.ends_with(".parquet"))
    };
    let without = others
        .into_iter()
        .filter(|key| is_object(key) && !listed.contains(receipt_key(key).as_str()))
        .collect();
    let reads = stream::iter(keys).map(|key| async move {
        let unusable = |why: String| {
            Error::Refused(format!(
                "the receipt `{key}` cannot be used: {why}; `icepack verify` shows what is wrong \
                 with the archive"
            ))
        };
        let receipt = discover::receipt(store, &key).await?.map_err(unusable)?;
        if receipt.is_of(tenant) && receipt.receipt_key() == key {
            return Ok(receipt);
        }
        Err(unusable(format!(
            "it is the receipt of `{}` of tenant `{}`",
            receipt.key, receipt.tenant
        )))
    });
    Ok(Archived {
        receipts: reads.buffered(AT_ONCE).try_collect().await?,
        without,
    })
}
