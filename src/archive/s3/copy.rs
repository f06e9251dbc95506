//! Copies whole snapshots into the archive within S3: no byte passes through the job.
//!
//! A copy is made only where it can be verified afterwards. The object has the snapshot's own id.
//! So an attempt that finds the copy of an earlier one can take it, once it has verified it.

use std::ops::Range;

use aws_sdk_s3::types::{CompletedPart, TaggingDirective};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::bucket::Bucket;
use super::error::{Kind, S3Error};
use super::upload::{S3Destination, Upload, sdk, with_attributes};
use crate::archive::{Copied, Encryption, NotCopied, Stored};
use crate::store::counting::Kind as Request;
use crate::store::retry::retry;
use icepack_core::model::file::Snapshot;
use icepack_core::model::manifest::{Checksum, ChecksumAlgorithm, ChecksumKind, Verified};
use icepack_core::model::same::{Sameness, plain, shown};
use icepack_core::model::units::GIB;

/// Bytes that S3 copies in one request.
pub const SINGLE: u64 = 5 << 30;

/// Bytes of a part of a larger copy.
pub const PART: u64 = GIB;

/// Everything but what a path may hold.
const PATH: AsciiSet = NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// What tells that two objects hold the same bytes, though nobody here has seen them.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Proof {
    /// The server's own checksum of all bytes.
    Checksum(Checksum),
    /// The tag of an object that was put whole and is not encrypted with KMS: the MD5 of its bytes.
    Tag(String),
}

impl From<S3Error> for NotCopied {
    fn from(error: S3Error) -> Self {
        if error.kind == Kind::Unsupported {
            Self::Impossible(error.to_string())
        } else {
            Self::Failed(error.to_string())
        }
    }
}

/// Where copies begin to be made in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopySizes {
    /// The largest that is made in one request.
    pub single: u64,
    /// Of the parts of larger ones.
    pub part: u64,
}

impl Default for CopySizes {
    fn default() -> Self {
        Self {
            single: SINGLE,
            part: PART,
        }
    }
}

impl S3Destination {
    /// Copies `snapshot` from `hot` to `key`, or finds that an earlier attempt did, and proves it.
    ///
    /// # Errors
    /// `NotCopied`; nothing that counts has happened.
    pub async fn copy_from(
        &self,
        hot: &Bucket,
        snapshot: &Snapshot,
        key: &str,
        sizes: CopySizes,
    ) -> Result<Copied, NotCopied> {
        let source = match hot.head(&snapshot.key, &self.requests).await {
            // What may be read of it, reading its rows tells.
            Err(e) if e.kind == Kind::Denied => {
                return Err(NotCopied::Impossible(format!(
                    "`{}` cannot be looked at: {e}",
                    snapshot.key
                )));
            }
            found => found?.ok_or(NotCopied::Gone)?,
        };
        if source.size != snapshot.size {
            return Err(NotCopied::Impossible(format!(
                "`{}` does not have the size that was written",
                snapshot.key
            )));
        }
        if source.is_frozen() {
            return Err(NotCopied::Impossible(format!(
                "`{}` is in an archive class",
                snapshot.key
            )));
        }
        // A bucket that was copied has other tags: then its rows are read, which are compared with
        // the manifest.
        if !Sameness::of(snapshot.etag.as_deref(), source.etag.as_deref()).is_same() {
            let (found, ours) = (
                shown(source.etag.as_deref()),
                shown(snapshot.etag.as_deref()),
            );
            return Err(NotCopied::Impossible(format!(
                "`{}` has ETag {found}, and {ours} was written",
                snapshot.key
            )));
        }
        let proof = proof_of(&source, &self.attributes.encryption).ok_or_else(|| {
            NotCopied::Impossible(format!(
                "the store shows no checksum of `{}`, so that a copy of it could not be proved",
                snapshot.key
            ))
        })?;
        let found = self.bucket.head(key, &self.requests).await?.is_some();
        if !found {
            self.copy(hot, &source, snapshot, key, sizes).await?;
        }
        let stored = self.bucket.head(key, &self.requests).await?;
        let stored = stored.ok_or_else(|| {
            S3Error::new(
                Kind::Permanent,
                format!("`{key}` is not there after it was copied"),
            )
        })?;
        self.prove(&proof, stored, snapshot.size, key, found)
    }

    fn prove(
        &self,
        proof: &Proof,
        stored: Stored,
        size: u64,
        key: &str,
        found: bool,
    ) -> Result<Copied, NotCopied> {
        let other = |why: String| {
            let why = format!("`{key}` is not a copy of the original: {why}");
            // Nothing is ever written over: what is there under that name stays, and counts for
            // nothing.
            if found {
                NotCopied::Impossible(why)
            } else {
                NotCopied::Failed(why)
            }
        };
        if stored.size != size {
            return Err(other(format!(
                "it has {} bytes, the original {size}",
                stored.size
            )));
        }
        let shown = match proof {
            Proof::Checksum(c) => stored
                .checksum(c.algorithm, ChecksumKind::FullObject)
                .map(|sum| (sum.value.clone(), &c.value, Verified::Checksum)),
            Proof::Tag(tag) => md5_tag(&stored).map(|sum| (sum, tag, Verified::Etag)),
        };
        let Some((sum, wanted, verified)) = shown else {
            return Err(NotCopied::Impossible(format!(
                "the archive shows no checksum of `{key}`, so that the copy cannot be proved"
            )));
        };
        if sum != *wanted {
            return Err(other(format!(
                "its checksum is {sum}, that of the original {wanted}"
            )));
        }
        let checksum = stored
            .checksum(self.algorithm, ChecksumKind::FullObject)
            .cloned()
            .or(match proof {
                Proof::Checksum(c) => Some(c.clone()),
                Proof::Tag(_) => None,
            });
        Ok(Copied {
            stored,
            verified,
            checksum,
            found,
        })
    }

    async fn copy(
        &self,
        hot: &Bucket,
        source: &Stored,
        snapshot: &Snapshot,
        key: &str,
        sizes: CopySizes,
    ) -> Result<(), S3Error> {
        let from = format!(
            "{}/{}",
            hot.name,
            utf8_percent_encode(&hot.full(&snapshot.key), &PATH)
        );
        let etag = source.etag.clone().unwrap_or_default();
        if source.size <= sizes.single {
            self.copy_whole(&from, &etag, key).await
        } else {
            self.copy_parts(&from, &etag, source.size, key, sizes.part)
                .await
        }
    }

    async fn copy_whole(&self, from: &str, etag: &str, key: &str) -> Result<(), S3Error> {
        let full = self.bucket.full(key);
        let copy = || async {
            self.requests.count(Request::Copy);
            let request = self
                .bucket
                .client
                .copy_object()
                .bucket(&self.bucket.name)
                .key(&full)
                .copy_source(from)
                .copy_source_if_match(etag);
            // Tags of the original would have to be readable for the default, which is to copy
            // them.
            let request = request
                .if_none_match("*")
                .checksum_algorithm(sdk(self.algorithm))
                .tagging_directive(TaggingDirective::Replace);
            match with_attributes!(request, &self.attributes)
                .send()
                .await
                .map_err(S3Error::from)
            {
                // An attempt of ours whose reply was lost, or of another run: what is there is
                // proved next, whoever made it.
                Err(e) if e.kind == Kind::Exists => {
                    match self.bucket.head(key, &self.requests).await? {
                        Some(_) => Ok(()),
                        None => Err(S3Error {
                            kind: Kind::Permanent,
                            ..e
                        }),
                    }
                }
                other => other.map(drop),
            }
        };
        retry(&self.bucket.retry, &format!("copy {from} to {key}"), copy).await
    }

    async fn copy_parts(
        &self,
        from: &str,
        etag: &str,
        size: u64,
        key: &str,
        part: u64,
    ) -> Result<(), S3Error> {
        let upload = self.begin(key).await?;
        let mut parts = Vec::new();
        for (n, range) in (1..).zip(ranges(size, part)) {
            match upload.copy_part(n, from, etag, range).await {
                Ok(part) => parts.push(part),
                Err(e) => return give_up(&upload, e).await,
            }
        }
        match upload.complete(parts, size, None).await {
            Ok(_) => Ok(()),
            Err(e) => give_up(&upload, e).await,
        }
    }
}

async fn give_up(upload: &Upload, error: S3Error) -> Result<(), S3Error> {
    if let Err(e) = upload.abort().await {
        tracing::warn!(key = upload.key, cause = %e, "cannot abort a copy: its parts stay until the bucket's lifecycle rule for incomplete uploads removes them");
    }
    Err(error)
}

impl Upload {
    async fn copy_part(
        &self,
        number: i32,
        from: &str,
        etag: &str,
        range: Range<u64>,
    ) -> Result<CompletedPart, S3Error> {
        let S3Destination {
            bucket, requests, ..
        } = &self.destination;
        let copy = || async {
            requests.count(Request::Copy);
            let request = bucket
                .client
                .upload_part_copy()
                .bucket(&bucket.name)
                .key(&self.full)
                .upload_id(&self.id)
                .part_number(number);
            let request = request
                .copy_source(from)
                .copy_source_if_match(etag)
                .copy_source_range(format!("bytes={}-{}", range.start, range.end - 1));
            let reply = request.send().await?;
            reply.copy_part_result().cloned().ok_or_else(|| {
                S3Error::new(
                    Kind::Transient,
                    "the reply to a copy of a part says nothing of it",
                )
            })
        };
        let done = retry(
            &bucket.retry,
            &format!("copy part {number} of {}", self.key),
            copy,
        )
        .await?;
        let sums = (
            done.checksum_crc64_nvme().map(str::to_owned),
            done.checksum_sha256().map(str::to_owned),
        );
        let part = CompletedPart::builder()
            .part_number(number)
            .e_tag(done.e_tag().unwrap_or_default());
        Ok(part
            .set_checksum_crc64_nvme(sums.0)
            .set_checksum_sha256(sums.1)
            .build())
    }
}

fn ranges(size: u64, part: u64) -> impl Iterator<Item = Range<u64>> {
    let part = part.max(1);
    (0..size.div_ceil(part)).map(move |n| n * part..((n + 1) * part).min(size))
}

fn proof_of(source: &Stored, target: &Encryption) -> Option<Proof> {
    let whole = |algorithm| {
        source
            .checksum(algorithm, ChecksumKind::FullObject)
            .cloned()
    };
    let checksum = whole(ChecksumAlgorithm::Crc64Nvme).or_else(|| whole(ChecksumAlgorithm::Sha256));
    let tag = || md5_tag(source).filter(|_| !matches!(target, Encryption::Kms(_)));
    checksum
        .map(Proof::Checksum)
        .or_else(|| tag().map(Proof::Tag))
}

/// The tag, where it is an MD5 of the bytes.
fn md5_tag(stored: &Stored) -> Option<String> {
    let tag = stored.etag.as_deref().and_then(plain)?;
    let md5 = tag.len() == 32 && tag.bytes().all(|b| b.is_ascii_hexdigit());
    (md5 && !stored.kms).then(|| tag.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(etag: &str, checksums: Vec<Checksum>) -> Stored {
        Stored {
            size: 7,
            etag: Some(etag.into()),
            class: None,
            checksums,
            thaw: None,
            kms: false,
        }
    }

    #[test]
    fn a_copy_is_only_made_where_it_can_be_proved() {
        let md5 = "\"d41d8cd98f00b204e9800998ecf8427e\"";
        let crc = Checksum {
            algorithm: ChecksumAlgorithm::Crc64Nvme,
            kind: ChecksumKind::FullObject,
            value: "AAAAAAAAAAA=".into(),
        };
        let parts = Checksum {
            algorithm: ChecksumAlgorithm::Sha256,
            kind: ChecksumKind::Composite,
            value: "x-2".into(),
        };
        assert_eq!(
            proof_of(&stored(md5, vec![crc.clone()]), &Encryption::Bucket),
            Some(Proof::Checksum(crc))
        );
        assert_eq!(
            proof_of(&stored(md5, vec![parts]), &Encryption::Bucket),
            Some(Proof::Tag(md5.trim_matches('"').into()))
        );
        assert_eq!(
            proof_of(&stored(md5, Vec::new()), &Encryption::Kms(None)),
            None
        );
        assert_eq!(
            proof_of(
                &Stored {
                    kms: true,
                    ..stored(md5, Vec::new())
                },
                &Encryption::Bucket
            ),
            None
        );
        assert_eq!(
            proof_of(
                &stored("\"d41d8cd98f00b204e9800998ecf8427e-3\"", Vec::new()),
                &Encryption::Bucket
            ),
            None,
            "a tag of parts is no MD5 of the bytes"
        );
    }

    #[test]
    fn parts_cover_everything_once() {
        assert_eq!(ranges(10, 4).collect::<Vec<_>>(), [0..4, 4..8, 8..10]);
        assert_eq!(ranges(8, 4).collect::<Vec<_>>(), [0..4, 4..8]);
    }
}
