//! Errors: what failed, on which path, and what to do next.

mod describe;

pub(crate) use describe::{chain, missing_permission, unescaped};

use icepack_core::model::names::Key;

/// The result of most of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, by what it means for the run. Its text says what failed, on which
/// path, why, and what to do next; docs/errors.md has all of them.
///
/// ```
/// let error = icepack::Error::store("cannot list s3://events/prod", object_store::Error::NotImplemented { operation: "list".into(), implementer: "x".into() });
/// assert!(error.to_string().starts_with("cannot list s3://events/prod: "));
/// assert_eq!(error.exit_code(), 1);
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The call or the configuration is wrong. Exit code 2.
    #[error("{0}")]
    Usage(String),

    /// The store or the archive did not do what was asked. Exit code 1 or 3.
    #[error("{action}: {}", describe::store_error(source))]
    Store {
        /// What was being done, on which path: `cannot list s3://bucket/acme`.
        action: String,
        /// The store's word.
        #[source]
        source: object_store::Error,
    },

    /// An input cannot be read as what it should be: it is quarantined, the rest goes on.
    #[error("cannot read `{key}`: {reason}")]
    Input {
        /// The file.
        key: Key,
        /// Its bytes.
        size: u64,
        /// The version that was read.
        etag: Option<String>,
        /// Why, in a sentence.
        reason: String,
    },

    /// A file that the listing showed is not there.
    #[error(
        "`{0}` is listed and not there: it was deleted or moved meanwhile; the next pass plans \
         anew"
    )]
    Gone(Key),

    /// A file is not the one that was listed: it grew, or another one came to its name.
    #[error(
        "`{0}` changed between the listing and the read: something still writes to it; it is \
         taken once it no longer changes"
    )]
    Changed(Key),

    /// The store has a file and does not give it: access is denied, or it is in a class that must
    /// be thawed first.
    #[error("cannot read `{key}`: {}", describe::store_error(source))]
    Withheld {
        /// The file.
        key: Key,
        /// The store's word.
        #[source]
        source: object_store::Error,
    },

    /// Somebody else's commit came first and this one no longer applies. Exit code 4.
    #[error("lost to a concurrent run: {0}; nothing is harmed, the next pass takes it up")]
    Conflict(String),

    /// Whether a commit happened cannot be found out. Nothing is deleted.
    #[error(
        "it is not known whether version {version} of tenant `{tenant}` was committed: {why}; \
         nothing was deleted, run again when the store answers"
    )]
    Unknown {
        /// Whose.
        tenant: String,
        /// The version that was put.
        version: u64,
        /// Why it cannot be read.
        why: String,
    },

    /// Going on could lose data; a person must look. Exit code 5.
    #[error("refused: {0}")]
    Refused(String),

    /// The archive failed; originals stay.
    #[error("archive {target}: {why}; the originals are untouched, the next pass tries again")]
    Archive {
        /// [`crate::ArchiveTarget::description`].
        target: String,
        /// What went wrong.
        why: String,
    },

    /// Local disk, threads, encoding: what is neither the store nor an input.
    #[error("{action}: {why}")]
    Local {
        /// What was being done.
        action: String,
        /// What went wrong.
        why: String,
    },

    /// The run was asked to stop.
    #[error("stopped before it was done; nothing is half-committed, the next pass goes on")]
    Stopped,
}

impl From<icepack_core::plan::expiry_guard::Refused> for Error {
    fn from(refused: icepack_core::plan::expiry_guard::Refused) -> Self {
        Self::Refused(refused.0)
    }
}

/// Why a file was not read, though nothing is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// It is not there any more.
    Gone,
    /// It is being written to.
    Changed,
    /// Access to it is denied.
    Denied,
    /// It must be thawed first.
    Frozen,
}

impl Error {
    /// A store's error, with what was being done.
    pub fn store(action: impl Into<String>, source: object_store::Error) -> Self {
        Self::Store {
            action: action.into(),
            source,
        }
    }

    /// An error of this machine rather than of a store or an input.
    pub fn local(action: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::Local {
            action: action.into(),
            why: why.to_string(),
        }
    }

    /// Why a file was not read, where nothing is wrong with its bytes and no other file need suffer
    /// for it.
    pub(crate) fn unread(&self) -> Option<(Unread, String)> {
        Some(match self {
            Self::Gone(_) => (
                Unread::Gone,
                "the listing shows it, and it is not there: it was deleted or moved meanwhile"
                    .to_owned(),
            ),
            Self::Changed(_) => (
                Unread::Changed,
                "it changed between the listing and the read, so something still writes to it: it \
                 is left as it is, and taken by a pass that finds it unchanged"
                    .to_owned(),
            ),
            Self::Withheld { source, .. } if chain(source).contains("InvalidObjectState") => {
                (Unread::Frozen, describe::store_error(source))
            }
            Self::Withheld { source, .. } => (Unread::Denied, describe::store_error(source)),
            _ => return None,
        })
    }

    /// The process's exit code where this error ends it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Conflict(_) => 4,
            Self::Refused(_) => 5,
            _ => 1,
        }
    }
}
