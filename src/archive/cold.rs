//! Reading an archive: what is there, whether it can be read, and how it is thawed.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt};

use super::s3::bucket::{Bucket, Thaw};
use crate::error::{Error, Result};
use crate::protocol::discover;
use crate::store::counting::Counters;
use crate::store::path;
use icepack_core::model::manifest::Receipt;
use icepack_core::model::names::{Key, Tenant, receipt_key};
use icepack_core::model::restore::{ColdState, Tier};

/// Receipts read at once.
const AT_ONCE: usize = 16;

/// What an archive shows of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColdObject {
    /// None is the default class.
    pub storage_class: Option<String>,
    /// Whether it can be read.
    pub state: ColdState,
}

/// An archive that can be read.
#[async_trait]
pub trait ColdStore: Send + Sync + Debug {
    /// What lists and reads it.
    fn reader(&self) -> Arc<dyn ObjectStore>;

    /// What it shows of an object.
    ///
    /// # Errors
    /// Of the store.
    async fn look(&self, key: &str, now: DateTime<Utc>) -> Result<ColdObject>;

    /// Asks for an object to be made readable for `days` days. Asking twice does no harm.
    ///
    /// # Errors
    /// Of the store.
    async fn thaw(&self, key: &str, tier: Tier, days: u16) -> Result<()>;
}

/// What an archive has of a tenant.
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

/// An archive in a store that knows no archive classes.
#[derive(Debug, Clone)]
pub struct PlainCold(pub Arc<dyn ObjectStore>);

#[async_trait]
impl ColdStore for PlainCold {
    fn reader(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.0)
    }

    async fn look(&self, key: &str, _: DateTime<Utc>) -> Result<ColdObject> {
        let state = match self.0.head(&path(key)?).await {
            Ok(_) => ColdState::Readable { until: None },
            Err(object_store::Error::NotFound { .. }) => ColdState::Missing,
            Err(e) => return Err(Error::store(format!("cannot look at `{key}`"), e)),
        };
        Ok(ColdObject {
            storage_class: None,
            state,
        })
    }

    async fn thaw(&self, key: &str, _: Tier, _: u16) -> Result<()> {
        Err(Error::local(
            format!("cannot thaw `{key}`"),
            "this archive has no archive classes",
        ))
    }
}

/// An archive in a bucket on S3.
#[derive(Debug, Clone)]
pub struct S3Cold {
    /// Looks and thaws.
    pub bucket: Bucket,
    /// Lists and reads.
    pub reader: Arc<dyn ObjectStore>,
}

impl S3Cold {
    fn failed(&self, what: &str, key: &str, e: impl std::fmt::Display) -> Error {
        Error::local(
            format!("cannot {what} `{key}` in s3://{}", self.bucket.name),
            e,
        )
    }
}

#[async_trait]
impl ColdStore for S3Cold {
    fn reader(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.reader)
    }

    async fn look(&self, key: &str, now: DateTime<Utc>) -> Result<ColdObject> {
        let found = self
            .bucket
            .head(key, &Counters::default())
            .await
            .map_err(|e| self.failed("look at", key, e))?;
        let Some(found) = found else {
            return Ok(ColdObject {
                storage_class: None,
                state: ColdState::Missing,
            });
        };
        let state = match found.thaw {
            Some(Thaw::InProgress) => ColdState::Thawing,
            // S3 takes a day's mercy before it removes what it had thawed, and the header with it.
            Some(Thaw::Done { until }) if until.is_none_or(|until| until > now) => {
                ColdState::Readable { until }
            }
            _ if found.is_frozen() || matches!(found.thaw, Some(Thaw::Done { .. })) => {
                ColdState::Frozen
            }
            _ => ColdState::Readable { until: None },
        };
        Ok(ColdObject {
            storage_class: found.class,
            state,
        })
    }

    async fn thaw(&self, key: &str, tier: Tier, days: u16) -> Result<()> {
        self.bucket
            .thaw(key, tier.name(), i32::from(days), &Counters::default())
            .await
            .map_err(|e| self.failed("thaw", key, e))
    }
}
