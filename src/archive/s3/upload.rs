//! Uploads objects to a bucket: under a name that must not exist, with checksums that the server
//! verifies, and with retries for each part.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_sdk_s3::primitives::{ByteStream, DateTime as SmithyTime};
use aws_sdk_s3::types::{
    ChecksumAlgorithm as SdkAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart,
    ObjectLockMode, ServerSideEncryption, StorageClass,
};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::PutPayload;

use super::bucket::Bucket;
use super::checksum::{self, Part, Whole};
use super::error::{Kind, S3Error};
use crate::archive::{Attributes, Encryption, Stored};
use crate::error::{Error, Result};
use crate::store::counting::{Kind as Request, RequestCounters};
use crate::store::object_writer::upload::{Destination, Done, Parts};
use crate::store::retry::retry;
use icepack_core::model::manifest::{Checksum, ChecksumAlgorithm, ChecksumKind};

impl Attributes {
    pub(super) fn storage_class(&self) -> Option<StorageClass> {
        self.class.as_deref().map(StorageClass::from)
    }

    pub(super) fn encryption(&self) -> Option<ServerSideEncryption> {
        match self.encryption {
            Encryption::Bucket => None,
            Encryption::S3 => Some(ServerSideEncryption::Aes256),
            Encryption::Kms(_) => Some(ServerSideEncryption::AwsKms),
        }
    }

    pub(super) fn kms_key(&self) -> Option<String> {
        if let Encryption::Kms(key) = &self.encryption {
            key.clone()
        } else {
            None
        }
    }

    pub(super) fn lock_mode(&self) -> Option<ObjectLockMode> {
        self.lock
            .as_ref()
            .map(|l| ObjectLockMode::from(l.mode.as_str()))
    }

    pub(super) fn locked_until(&self) -> Option<SmithyTime> {
        self.lock
            .as_ref()
            .map(|l| SmithyTime::from_secs(l.until.timestamp()))
    }
}

/// Sets the attributes on any of the requests that create an object: they have these methods in
/// common, and no trait.
macro_rules! with_attributes {
    ($request:expr, $attributes:expr) => {{
        let attributes: &$crate::archive::Attributes = $attributes;
        $request
            .set_storage_class(attributes.storage_class())
            .set_server_side_encryption(attributes.encryption())
            .set_ssekms_key_id(attributes.kms_key())
            .set_tagging(attributes.tagging.clone())
            .set_object_lock_mode(attributes.lock_mode())
            .set_object_lock_retain_until_date(attributes.locked_until())
    }};
}
pub(super) use with_attributes;

pub(super) fn sdk(algorithm: ChecksumAlgorithm) -> SdkAlgorithm {
    match algorithm {
        ChecksumAlgorithm::Crc64Nvme => SdkAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha256 => SdkAlgorithm::Sha256,
    }
}

/// The kind of checksum that an upload in parts ends up with: S3 joins CRCs, and has no SHA-256
/// over parts but a composite one.
fn of_parts(algorithm: ChecksumAlgorithm) -> ChecksumType {
    match algorithm {
        ChecksumAlgorithm::Crc64Nvme => ChecksumType::FullObject,
        ChecksumAlgorithm::Sha256 => ChecksumType::Composite,
    }
}

/// The text of a checksum, for the one of the two setters that is its.
fn headers(algorithm: ChecksumAlgorithm, text: String) -> (Option<String>, Option<String>) {
    match algorithm {
        ChecksumAlgorithm::Crc64Nvme => (Some(text), None),
        ChecksumAlgorithm::Sha256 => (None, Some(text)),
    }
}

/// A bucket as the destination of one archive request's objects.
#[derive(Debug, Clone)]
pub struct S3Destination {
    /// Where.
    pub bucket: Arc<Bucket>,
    /// With what.
    pub attributes: Attributes,
    /// Of each part and of the whole.
    pub algorithm: ChecksumAlgorithm,
    /// Counts the requests.
    pub requests: Arc<RequestCounters>,
}

impl S3Destination {
    /// Creates an object in one request, unless something of this name exists.
    async fn create_new(&self, key: &str, body: Bytes, sent: &Checksum) -> Result<Put, S3Error> {
        let full = self.bucket.full(key);
        let put = || async {
            self.requests.count(Request::Put);
            let (crc, sha) = headers(self.algorithm, sent.value.clone());
            let request = self
                .bucket
                .client
                .put_object()
                .bucket(&self.bucket.name)
                .key(&full)
                .if_none_match("*")
                .body(ByteStream::from(body.clone()))
                .set_checksum_crc64_nvme(crc)
                .set_checksum_sha256(sha);
            match with_attributes!(request, &self.attributes)
                .send()
                .await
                .map_err(S3Error::from)
            {
                Ok(reply) => Ok(Put::Created(reply.e_tag().map(str::to_owned))),
                Err(e) if e.kind == Kind::Exists => {
                    let found = self.bucket.head(key, &self.requests).await?;
                    // A conflict while an earlier attempt was being settled, and that attempt lost.
                    found.map(Put::Exists).ok_or_else(|| {
                        S3Error::new(
                            Kind::Transient,
                            format!("`{key}` was said to exist, and does not"),
                        )
                    })
                }
                Err(e) => Err(e),
            }
        };
        retry(&self.bucket.retry, &format!("put {key}"), put).await
    }

    /// Begins an upload in parts.
    pub(super) async fn begin(&self, key: &str) -> Result<Upload, S3Error> {
        let full = self.bucket.full(key);
        let start = || async {
            self.requests.count(Request::Put);
            let request = self
                .bucket
                .client
                .create_multipart_upload()
                .bucket(&self.bucket.name)
                .key(&full);
            let request = request
                .checksum_algorithm(sdk(self.algorithm))
                .checksum_type(of_parts(self.algorithm));
            let reply = with_attributes!(request, &self.attributes).send().await?;
            reply.upload_id().map(str::to_owned).ok_or_else(|| {
                S3Error::new(Kind::Permanent, "the server began an upload without an id")
            })
        };
        let id = retry(&self.bucket.retry, &format!("start uploading {key}"), start).await?;
        Ok(Upload {
            destination: self.clone(),
            key: key.to_owned(),
            full,
            id,
        })
    }
}

/// How the creation of an object ended.
enum Put {
    /// With its tag.
    Created(Option<String>),
    /// Something of this name was there.
    Exists(Stored),
}

/// Whether what is stored is what was sent, as far as the server tells.
fn is_same(found: &Stored, size: u64, sent: &Checksum) -> bool {
    found.size == size
        && found
            .checksum(sent.algorithm, sent.kind)
            .is_none_or(|c| c == sent)
}

fn other_contents(key: &str, found: &Stored, size: u64) -> S3Error {
    S3Error::new(
        Kind::Permanent,
        format!(
            "`{key}` exists with other contents ({} bytes, and {size} were sent)",
            found.size
        ),
    )
}

fn failed(what: &str, key: &str, e: &S3Error) -> Error {
    Error::local(format!("cannot {what} `{key}`"), e)
}

#[async_trait]
impl Destination for S3Destination {
    async fn put(&self, key: &str, payload: PutPayload) -> Result<Done> {
        let body = Bytes::from(payload);
        let size = body.len() as u64;
        let sent = checksum::of(self.algorithm, &body).whole();
        let put = self.create_new(key, body, &sent).await;
        let etag = match put.map_err(|e| failed("put", key, &e))? {
            Put::Created(etag) => etag,
            // Ours, from an attempt whose reply was lost; or somebody else's.
            Put::Exists(found) if is_same(&found, size, &sent) => found.etag,
            Put::Exists(found) => {
                return Err(failed("put", key, &other_contents(key, &found, size)));
            }
        };
        Ok(Done {
            size,
            etag,
            checksum: Some(sent),
        })
    }

    async fn create(&self, key: &str, payload: PutPayload) -> Result<bool> {
        let body = Bytes::from(payload);
        let sent = checksum::of(self.algorithm, &body).whole();
        let put = self.create_new(key, body, &sent).await;
        put.map(|put| matches!(put, Put::Created(_)))
            .map_err(|e| failed("put", key, &e))
    }

    async fn start(&self, key: &str) -> Result<Box<dyn Parts>> {
        let upload = self
            .begin(key)
            .await
            .map_err(|e| failed("start uploading", key, &e))?;
        Ok(Box::new(S3Parts {
            upload: Arc::new(upload),
            whole: Whole::new(self.algorithm),
            sent: 0,
            parts: Arc::default(),
        }))
    }
}

/// An upload in parts, by its id.
pub(super) struct Upload {
    pub destination: S3Destination,
    pub key: String,
    pub full: String,
    pub id: String,
}

impl Upload {
    async fn send(&self, number: i32, body: Bytes, sum: Part) -> Result<CompletedPart, S3Error> {
        let S3Destination {
            bucket,
            algorithm,
            requests,
            ..
        } = &self.destination;
        let put = || async {
            requests.count(Request::Put);
            let (crc, sha) = headers(*algorithm, sum.text());
            let request = bucket
                .client
                .upload_part()
                .bucket(&bucket.name)
                .key(&self.full)
                .upload_id(&self.id)
                .part_number(number);
            let request = request
                .body(ByteStream::from(body.clone()))
                .checksum_algorithm(sdk(*algorithm));
            let reply = request
                .set_checksum_crc64_nvme(crc)
                .set_checksum_sha256(sha)
                .send()
                .await?;
            Ok::<_, S3Error>(reply.e_tag().unwrap_or_default().to_owned())
        };
        let etag = retry(
            &bucket.retry,
            &format!("upload part {number} of {}", self.key),
            put,
        )
        .await?;
        let (crc, sha) = headers(*algorithm, sum.text());
        Ok(CompletedPart::builder()
            .part_number(number)
            .e_tag(etag)
            .set_checksum_crc64_nvme(crc)
            .set_checksum_sha256(sha)
            .build())
    }

    /// Puts the parts together. Whether it happened is asked of the store before it is tried again:
    /// the reply may have been lost, not the object.
    pub async fn complete(
        &self,
        parts: Vec<CompletedPart>,
        size: u64,
        whole: Option<&Checksum>,
    ) -> Result<Done, S3Error> {
        let S3Destination {
            bucket,
            algorithm,
            requests,
            ..
        } = &self.destination;
        let all = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        let complete = || async {
            requests.count(Request::Put);
            // Only of a full-object checksum does S3 take the value here; a composite one it makes
            // of the parts'.
            let (crc, _) = whole
                .filter(|w| w.kind == ChecksumKind::FullObject)
                .map_or((None, None), |w| headers(*algorithm, w.value.clone()));
            let request = bucket
                .client
                .complete_multipart_upload()
                .bucket(&bucket.name)
                .key(&self.full)
                .upload_id(&self.id);
            let request = request
                .if_none_match("*")
                .multipart_upload(all.clone())
                .checksum_type(of_parts(*algorithm))
                .set_checksum_crc64_nvme(crc);
            match request.send().await.map_err(S3Error::from) {
                Ok(reply) => Ok(Done {
                    size,
                    etag: reply.e_tag().map(str::to_owned),
                    checksum: whole.cloned(),
                }),
                Err(e) if e.kind == Kind::Denied => Err(e),
                Err(e) => match bucket.head(&self.key, requests).await {
                    Ok(Some(found))
                        if whole.map_or(found.size == size, |w| is_same(&found, size, w)) =>
                    {
                        Ok(Done {
                            size,
                            etag: found.etag,
                            checksum: whole.cloned(),
                        })
                    }
                    Ok(Some(found)) => Err(other_contents(&self.key, &found, size)),
                    _ => Err(e),
                },
            }
        };
        retry(
            &bucket.retry,
            &format!("complete the upload of {}", self.key),
            complete,
        )
        .await
    }

    /// Drops the parts.
    pub async fn abort(&self) -> Result<(), S3Error> {
        let S3Destination {
            bucket, requests, ..
        } = &self.destination;
        let abort = || async {
            requests.count(Request::Delete);
            bucket
                .client
                .abort_multipart_upload()
                .bucket(&bucket.name)
                .key(&self.full)
                .upload_id(&self.id)
                .send()
                .await
                .map_err(S3Error::from)
        };
        match retry(
            &bucket.retry,
            &format!("abort the upload of {}", self.key),
            abort,
        )
        .await
        {
            // It was completed after all, or aborted by an attempt whose reply was lost.
            Err(e) if e.kind == Kind::NotFound => Ok(()),
            other => other.map(drop),
        }
    }
}

struct S3Parts {
    upload: Arc<Upload>,
    whole: Whole,
    sent: i32,
    parts: Arc<Mutex<Vec<CompletedPart>>>,
}

#[async_trait]
impl Parts for S3Parts {
    fn send(&mut self, part: PutPayload) -> BoxFuture<'static, Result<()>> {
        self.sent += 1;
        let (number, body) = (self.sent, Bytes::from(part));
        let sum = checksum::of(self.upload.destination.algorithm, &body);
        self.whole.add(&sum);
        let (upload, parts) = (Arc::clone(&self.upload), Arc::clone(&self.parts));
        async move {
            let done = upload
                .send(number, body, sum)
                .await
                .map_err(|e| failed(&format!("upload part {number} of"), &upload.key, &e))?;
            parts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(done);
            Ok(())
        }
        .boxed()
    }

    async fn complete(&mut self, size: u64) -> Result<Done> {
        let mut parts =
            std::mem::take(&mut *self.parts.lock().unwrap_or_else(PoisonError::into_inner));
        parts.sort_by_key(CompletedPart::part_number);
        let whole = self.whole.checksum();
        self.upload
            .complete(parts, size, Some(&whole))
            .await
            .map_err(|e| failed("complete the upload of", &self.upload.key, &e))
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload
            .abort()
            .await
            .map_err(|e| failed("abort the upload of", &self.upload.key, &e))
    }
}
