//! One bucket below one prefix, through aws-sdk-s3: what is stored there, and how it is read and
//! thawed.

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{ChecksumMode, ChecksumType, GlacierJobParameters, RestoreRequest, Tier};
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::error::{Kind, S3Error};
use crate::store::counting::{Counters, Kind as Request};
use crate::store::retry::{RetryPolicy, retry};
use icepack_core::model::manifest::{Checksum, ChecksumAlgorithm, ChecksumKind};

/// A bucket, below a prefix.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Speaks to the server; tries nothing twice.
    pub client: Client,
    /// Its name.
    pub name: String,
    /// Without slashes at either end; may be empty.
    pub prefix: String,
    /// Of every request.
    pub retry: RetryPolicy,
}

/// What a HEAD tells of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Bytes.
    pub size: u64,
    /// The tag, in quotes.
    pub etag: Option<String>,
    /// None is STANDARD: S3 does not name it.
    pub class: Option<String>,
    /// Those that the server computed.
    pub checksums: Vec<Checksum>,
    /// Whether it is being thawed.
    pub thaw: Option<Thaw>,
    /// Whether it is encrypted with a key of KMS: its tag is then no MD5.
    pub kms: bool,
}

/// How far a restore from an archive class is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thaw {
    /// It was asked for.
    InProgress,
    /// It can be read until then.
    Done {
        /// None where the server does not say.
        until: Option<DateTime<Utc>>,
    },
}

/// Classes whose objects must be restored before they can be read.
pub const FROZEN: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

impl Stored {
    /// The server's checksum of one kind.
    pub fn checksum(&self, algorithm: ChecksumAlgorithm, kind: ChecksumKind) -> Option<&Checksum> {
        self.checksums
            .iter()
            .find(|c| c.algorithm == algorithm && c.kind == kind)
    }

    /// Whether it must be thawed before it can be read.
    pub fn is_frozen(&self) -> bool {
        self.class.as_deref().is_some_and(|c| FROZEN.contains(&c))
            && !matches!(self.thaw, Some(Thaw::Done { .. }))
    }

    fn of(head: &HeadObjectOutput) -> Self {
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
        Self {
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
    pub async fn head(&self, key: &str, requests: &Counters) -> Result<Option<Stored>, S3Error> {
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
            Ok(found) => Ok(Some(Stored::of(&found))),
            Err(e) if e.kind == Kind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// A small object, whole.
    ///
    /// # Errors
    /// The server's.
    pub async fn get(&self, key: &str, requests: &Counters) -> Result<Bytes, S3Error> {
        let full = self.full(key);
        let get = || async {
            requests.count(Request::Get);
            let reply = self
                .client
                .get_object()
                .bucket(&self.name)
                .key(&full)
                .send()
                .await?;
            let body =
                reply.body.collect().await.map_err(|e| {
                    S3Error::new(Kind::Transient, format!("the reply broke off: {e}"))
                })?;
            Ok(body.into_bytes())
        };
        retry(&self.retry, &format!("read {key}"), get).await
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
        requests: &Counters,
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
        let frozen = Stored::of(&head.clone().build());
        assert!(frozen.is_frozen());
        assert!(
            frozen
                .checksum(ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject)
                .is_some()
        );
        assert!(
            !Stored::of(&head.clone().restore("ongoing-request=\"false\"").build()).is_frozen()
        );
        assert!(Stored::of(&head.clone().restore("ongoing-request=\"true\"").build()).is_frozen());
        assert!(!Stored::of(&head.storage_class("GLACIER_IR".into()).build()).is_frozen());
    }
}
