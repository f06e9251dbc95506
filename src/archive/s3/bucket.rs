//! One bucket below one prefix, through aws-sdk-s3: listing, reading and thawing.

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{ChecksumMode, ChecksumType, GlacierJobParameters, RestoreRequest, Tier};
use chrono::DateTime;

use super::error::{Kind, S3Error};
use crate::archive::{Stored, Thaw};
use crate::store::counting::{Kind as Request, RequestCounters};
use crate::store::retry::{RetryPolicy, retry};
use icepack_core::model::manifest::{Checksum, ChecksumAlgorithm, ChecksumKind};

/// A bucket, below a prefix.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Speaks to the server; tries nothing twice.
    pub client: Client,
    /// Name of the bucket.
    pub name: String,
    /// Without slashes at either end; may be empty.
    pub prefix: String,
    /// Of every request.
    pub retry: RetryPolicy,
}

fn stored(head: &HeadObjectOutput) -> Stored {
    let kind = |value: &str| match head.checksum_type() {
        Some(ChecksumType::Composite) => ChecksumKind::Composite,
        Some(ChecksumType::FullObject) => ChecksumKind::FullObject,
        // Older servers do not say: that of parts ends with their number.
        _ if value.contains('-') => ChecksumKind::Composite,
        _ => ChecksumKind::FullObject,
    };
    let checksum = |algorithm, value: Option<&str>| {
        value.map(|v| Checksum {
            algorithm,
            kind: kind(v),
            value: v.to_owned(),
        })
    };
    let all = [
        checksum(ChecksumAlgorithm::Crc64Nvme, head.checksum_crc64_nvme()),
        checksum(ChecksumAlgorithm::Sha256, head.checksum_sha256()),
    ];
    Stored {
        size: head
            .content_length()
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or(0),
        etag: head.e_tag().map(str::to_owned),
        class: head.storage_class().map(|c| c.as_str().to_owned()),
        checksums: all.into_iter().flatten().collect(),
        thaw: head.restore().map(parse_thaw),
        kms: head.ssekms_key_id().is_some()
            || head
                .server_side_encryption()
                .is_some_and(|e| e.as_str().starts_with("aws:kms")),
    }
}

/// `ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`
fn parse_thaw(header: &str) -> Thaw {
    if header.contains("ongoing-request=\"true\"") {
        return Thaw::InProgress;
    }
    let date = header
        .split_once("expiry-date=\"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(date, _)| date);
    Thaw::Done {
        until: date
            .and_then(|d| DateTime::parse_from_rfc2822(d).ok())
            .map(|d| d.to_utc()),
    }
}

impl Bucket {
    /// The full key of one that is relative to the prefix.
    pub fn full(&self, key: &str) -> String {
        if self.prefix.is_empty() {
            key.to_owned()
        } else {
            format!("{}/{key}", self.prefix)
        }
    }

    /// What is stored under `key`; none where nothing is.
    ///
    /// # Errors
    /// The server's.
    pub async fn head(
        &self,
        key: &str,
        requests: &RequestCounters,
    ) -> Result<Option<Stored>, S3Error> {
        let full = self.full(key);
        let head = || async {
            requests.count(Request::Head);
            let request = self
                .client
                .head_object()
                .bucket(&self.name)
                .key(&full)
                .checksum_mode(ChecksumMode::Enabled);
            request.send().await.map_err(S3Error::from)
        };
        match retry(&self.retry, &format!("check {key}"), head).await {
            Ok(found) => Ok(Some(stored(&found))),
            Err(e) if e.kind == Kind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Asks for an object to be thawed for `days` days. Asking again while it thaws is no error.
    ///
    /// # Errors
    /// The server's; [`Kind::Unsupported`] where it does not know how to.
    pub async fn thaw(
        &self,
        key: &str,
        tier: &str,
        days: i32,
        requests: &RequestCounters,
    ) -> Result<(), S3Error> {
        let full = self.full(key);
        let tier = GlacierJobParameters::builder()
            .tier(Tier::from(tier))
            .build()
            .map_err(|e| S3Error::new(Kind::Permanent, e.to_string()))?;
        let wanted = RestoreRequest::builder()
            .days(days)
            .glacier_job_parameters(tier)
            .build();
        let ask = || async {
            requests.count(Request::Put);
            let request = self
                .client
                .restore_object()
                .bucket(&self.name)
                .key(&full)
                .restore_request(wanted.clone());
            request.send().await.map(drop).map_err(S3Error::from)
        };
        match retry(&self.retry, &format!("thaw {key}"), ask).await {
            Err(e) if e.code.as_deref() == Some("RestoreAlreadyInProgress") => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_restore_header_is_understood() {
        assert_eq!(parse_thaw("ongoing-request=\"true\""), Thaw::InProgress);
        let until = DateTime::parse_from_rfc3339("2012-12-21T00:00:00Z")
            .unwrap()
            .to_utc();
        assert_eq!(
            parse_thaw("ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2012 00:00:00 GMT\""),
            Thaw::Done { until: Some(until) }
        );
        assert_eq!(
            parse_thaw("ongoing-request=\"false\""),
            Thaw::Done { until: None }
        );
    }

    #[test]
    fn an_object_of_an_archive_class_is_frozen_until_it_is_thawed() {
        let head = HeadObjectOutput::builder()
            .content_length(7)
            .storage_class("DEEP_ARCHIVE".into())
            .checksum_crc64_nvme("AAAAAAAAAAA=");
        let frozen = stored(&head.clone().build());
        assert!(frozen.is_frozen());
        assert!(
            frozen
                .checksum(ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject)
                .is_some()
        );
        assert!(!stored(&head.clone().restore("ongoing-request=\"false\"").build()).is_frozen());
        assert!(stored(&head.clone().restore("ongoing-request=\"true\"").build()).is_frozen());
        assert!(!stored(&head.storage_class("GLACIER_IR".into()).build()).is_frozen());
    }
}
