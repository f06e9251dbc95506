//! The operations that an archive needs of the place where its objects are.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use object_store::ObjectStore;

use crate::error::Result;
use crate::store::counting::RequestCounters;
use crate::store::object_writer::upload::Destination;
use crate::store::retry::RetryPolicy;
use icepack_core::model::file::Snapshot;
use icepack_core::model::manifest::{Checksum, ChecksumAlgorithm, ChecksumKind, Verified};
use icepack_core::model::restore::{ColdState, Tier};

/// Where the objects of an [`Archive`](super::Archive) are.
#[async_trait]
pub trait ArchiveBackend: Send + Sync + Debug {
    /// Lists the objects and reads them.
    fn reader(&self) -> Arc<dyn ObjectStore>;

    /// How reads through [`Self::reader`] are tried again, where its client does not do that.
    fn read_retry(&self) -> RetryPolicy {
        RetryPolicy::NEVER
    }

    /// Creates objects with `attributes`, and counts the requests. What the backend has no such
    /// attribute for is left out.
    fn destination(
        &self,
        attributes: Attributes,
        requests: &Arc<RequestCounters>,
    ) -> Arc<dyn Destination>;

    /// What is stored under `key`; none where nothing is.
    ///
    /// # Errors
    /// Of the store.
    async fn head(&self, key: &str, requests: &Arc<RequestCounters>) -> Result<Option<Stored>>;

    /// Whether [`Self::head`] tells classes and checksums, so that one that it does not tell is one
    /// that the server ignores.
    fn tells_attributes(&self) -> bool {
        false
    }

    /// Asks for an object of an archive class to be made readable for `days` days. Asking twice
    /// does no harm.
    ///
    /// # Errors
    /// Of the store, and where it has no such classes.
    async fn thaw(&self, key: &str, tier: Tier, days: u16) -> Result<()>;

    /// Moves an object that was verified to `class`, where [`Self::destination`] could not create
    /// it in that class, because nothing could have been read back. Safe to repeat.
    ///
    /// # Errors
    /// Of the store.
    async fn freeze(&self, key: &str, class: &str) -> Result<()> {
        let _ = (key, class);
        Ok(())
    }

    /// Whether [`Self::copy_from_store`] is possible at all.
    fn can_copy(&self) -> bool {
        false
    }

    /// Copies `snapshot` from the store that the job works on to `key`, within the server, or finds
    /// that an earlier attempt did, and proves it.
    ///
    /// # Errors
    /// [`NotCopied`]; nothing that counts has happened.
    async fn copy_from_store(
        &self,
        snapshot: &Snapshot,
        key: &str,
        attributes: Attributes,
        requests: &Arc<RequestCounters>,
    ) -> Result<Copied, NotCopied> {
        let _ = (snapshot, key, attributes, requests);
        Err(NotCopied::Impossible(
            "this archive cannot copy from the store".to_owned(),
        ))
    }
}

/// How the server encrypts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Encryption {
    /// As the bucket says.
    #[default]
    Bucket,
    /// With S3's own keys.
    S3,
    /// With a key of KMS: its id or ARN, or the account's default.
    Kms(Option<String>),
}

/// Until when nobody may delete an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// `GOVERNANCE` or `COMPLIANCE`.
    pub mode: String,
    /// The end of the lock.
    pub until: DateTime<Utc>,
}

/// The attributes that an object is stored with.
#[derive(Debug, Clone, Default)]
pub struct Attributes {
    /// The storage class; none is the bucket's default.
    pub class: Option<String>,
    /// Encryption at rest.
    pub encryption: Encryption,
    /// Tags, as `a=b&c=d`; none for no tags.
    pub tagging: Option<String>,
    /// The lock against deletion.
    pub lock: Option<Lock>,
}

/// Classes whose objects must be restored before they can be read: S3's, and Azure's. Google's
/// `ARCHIVE` is read at once.
const FROZEN: [&str; 3] = ["GLACIER", "DEEP_ARCHIVE", "Archive"];

/// Whether objects of a class must be thawed before they can be read back.
pub fn is_frozen_class(class: &str) -> bool {
    FROZEN.contains(&class)
}

/// What a store says of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// Size in bytes.
    pub size: u64,
    /// The ETag, as the store gives it.
    pub etag: Option<String>,
    /// The storage class. None is the default class, or the store does not say it.
    pub class: Option<String>,
    /// Checksums that the server computed.
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

impl Stored {
    /// The server's checksum of one kind.
    pub fn checksum(&self, algorithm: ChecksumAlgorithm, kind: ChecksumKind) -> Option<&Checksum> {
        self.checksums
            .iter()
            .find(|c| c.algorithm == algorithm && c.kind == kind)
    }

    /// Whether it must be thawed before it can be read.
    pub fn is_frozen(&self) -> bool {
        self.class.as_deref().is_some_and(is_frozen_class)
            && !matches!(self.thaw, Some(Thaw::Done { .. }))
    }

    /// Whether it can be read at `now`.
    pub fn state(&self, now: DateTime<Utc>) -> ColdState {
        match self.thaw {
            Some(Thaw::InProgress) => ColdState::Thawing,
            Some(Thaw::Done { until }) if until.is_none_or(|until| until > now) => {
                ColdState::Readable { until }
            }
            // S3 takes up to a day before it removes what it had thawed, and the header with it.
            Some(Thaw::Done { .. }) => ColdState::Frozen,
            None if self.is_frozen() => ColdState::Frozen,
            None => ColdState::Readable { until: None },
        }
    }
}

/// A copy that is in the archive and proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The object, as the archive shows it.
    pub stored: Stored,
    /// How the object was verified.
    pub verified: Verified,
    /// The archive's checksum of all bytes, where it has one.
    pub checksum: Option<Checksum>,
    /// Whether an earlier attempt had made it, by the settings of its time.
    pub found: bool,
}

/// Why there is no copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotCopied {
    /// Nothing went wrong: it cannot be done, or not be proved. The reason is for the log.
    Impossible(String),
    /// The source is not there.
    Gone,
    /// The server's answer.
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_of_azures_archive_must_be_thawed_and_an_object_of_googles_need_not() {
        let now = DateTime::UNIX_EPOCH;
        let stored = |class: &str, thaw| Stored {
            class: Some(class.to_owned()),
            thaw,
            ..Stored::default()
        };
        let readable = ColdState::Readable { until: None };
        for (class, thaw, state) in [
            ("Archive", None, ColdState::Frozen),
            ("Archive", Some(Thaw::InProgress), ColdState::Thawing),
            ("Hot", None, readable),
            ("Cold", None, readable),
            ("ARCHIVE", None, readable),
            ("COLDLINE", None, readable),
        ] {
            assert_eq!(stored(class, thaw).state(now), state, "{class} {thaw:?}");
        }
    }
}
