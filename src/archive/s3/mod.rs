//! The archive on S3, through aws-sdk-s3: classes, checksums, encryption, locks, and copies within
//! S3.
//!
//! Every request is tried again by [`crate::store::retry`] alone: the SDK's own retries are off.

pub mod bucket;
mod checksum;
pub mod client;
mod copy;
pub mod error;
mod upload;

pub use copy::CopySizes;
pub use upload::S3Destination;

use std::sync::Arc;

use async_trait::async_trait;
use object_store::ObjectStore;
use url::form_urlencoded;

use self::bucket::Bucket;
use super::{ArchiveBackend, ArchiveOptions, Attributes, Copied, NotCopied, Stored};
use crate::error::{Error, Result};
use crate::store::counting::RequestCounters;
use crate::store::object_writer::upload::Destination;
use icepack_core::model::file::{Micros, Snapshot};
use icepack_core::model::manifest::ChecksumAlgorithm;
use icepack_core::model::names::{FileId, Tenant, format_iso_basic};
use icepack_core::model::restore::Tier;

/// A bucket on S3.
#[derive(Debug, Clone)]
pub struct S3Backend {
    bucket: Arc<Bucket>,
    /// The store that the job works on, where this archive's credentials reach it on the same
    /// server.
    hot: Option<Bucket>,
    /// The same bucket, for listing, and for reading rows back. Its client tries again by itself.
    reader: Arc<dyn ObjectStore>,
    checksum: ChecksumAlgorithm,
    copy: CopySizes,
}

impl S3Backend {
    /// `bucket`, whose objects can be read through `reader`.
    pub fn new(bucket: Bucket, reader: Arc<dyn ObjectStore>, options: &ArchiveOptions) -> Self {
        let bucket = Bucket {
            retry: options.retry,
            ..bucket
        };
        Self {
            bucket: Arc::new(bucket),
            hot: None,
            reader,
            checksum: options.checksum,
            copy: options.copy,
        }
    }

    /// Copies whole snapshots from bucket `name` below `prefix`: the same server, the same
    /// credentials.
    #[must_use]
    pub fn with_hot(mut self, name: impl Into<String>, prefix: impl Into<String>) -> Self {
        self.hot = Some(Bucket {
            name: name.into(),
            prefix: prefix.into(),
            ..Bucket::clone(&self.bucket)
        });
        self
    }

    fn s3_destination(
        &self,
        attributes: Attributes,
        requests: &Arc<RequestCounters>,
    ) -> S3Destination {
        S3Destination {
            bucket: Arc::clone(&self.bucket),
            attributes,
            algorithm: self.checksum,
            requests: Arc::clone(requests),
        }
    }
}

#[async_trait]
impl ArchiveBackend for S3Backend {
    fn reader(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.reader)
    }

    fn destination(
        &self,
        attributes: Attributes,
        requests: &Arc<RequestCounters>,
    ) -> Arc<dyn Destination> {
        Arc::new(self.s3_destination(attributes, requests))
    }

    async fn head(&self, key: &str, requests: &Arc<RequestCounters>) -> Result<Option<Stored>> {
        let found = self.bucket.head(key, requests).await;
        found.map_err(|e| Error::local(format!("cannot check `{key}`"), e))
    }

    fn tells_attributes(&self) -> bool {
        true
    }

    async fn thaw(&self, key: &str, tier: Tier, days: u16) -> Result<()> {
        let action = || format!("cannot thaw `{key}` in s3://{}", self.bucket.name);
        self.bucket
            .thaw(
                key,
                tier.name(),
                i32::from(days),
                &RequestCounters::default(),
            )
            .await
            .map_err(|e| Error::local(action(), e))
    }

    fn can_copy(&self) -> bool {
        self.hot.is_some()
    }

    async fn copy_from_store(
        &self,
        snapshot: &Snapshot,
        key: &str,
        attributes: Attributes,
        requests: &Arc<RequestCounters>,
    ) -> Result<Copied, NotCopied> {
        let hot = self
            .hot
            .as_ref()
            .ok_or_else(|| NotCopied::Impossible("another server holds the store".to_owned()))?;
        self.s3_destination(attributes, requests)
            .copy_from(hot, snapshot, key, self.copy)
            .await
    }
}

/// `tenant=acme&from=…&to=…&run=…`, with only what tags may hold.
pub(super) fn tags(run_id: FileId, tenant: &Tenant, from: Micros, to: Micros) -> String {
    let allowed = |c: char| {
        if c.is_alphanumeric() || " +-=._:/@".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = tenant.as_str().chars().map(allowed).collect();
    form_urlencoded::Serializer::new(String::new())
        .append_pair("tenant", &name)
        .append_pair("from", &format_iso_basic(from.to_datetime()))
        .append_pair("to", &format_iso_basic(to.to_datetime()))
        .append_pair("run", &run_id.to_string())
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_hold_only_what_tags_may_hold() {
        let text = tags(
            FileId::NIL,
            &Tenant::parse("a&b=c!").unwrap(),
            Micros(0),
            Micros(1_000_000),
        );
        assert_eq!(
            text,
            "tenant=a_b%3Dc_&from=1970-01-01T000000Z&to=1970-01-01T000001Z&\
             run=00000000000000000000000000"
        );
    }
}
