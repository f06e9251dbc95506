//! Errors: what failed, on which path, and what to do next.

mod said;

pub(crate) use said::{chain, lacking, unescaped};

use crate::model::names::Key;

/// The result of most of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, by what it means for the run. Its text says what failed, on which path, why, and what to do next; docs/errors.md has all of them.
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
    #[error("{action}: {}", said::by(source))]
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

    /// An input vanished or changed under the run: another run has it.
    #[error("`{0}` is gone or was replaced while it was being read: another run or program has taken it; the next pass plans anew")]
    Gone(Key),

    /// Somebody else's commit came first and this one no longer applies. Exit code 4.
    #[error("lost to a concurrent run: {0}; nothing is harmed, the next pass takes it up")]
    Conflict(String),

    /// Whether a commit happened cannot be found out. Nothing is deleted.
    #[error("it is not known whether version {version} of tenant `{tenant}` was committed: {why}; nothing was deleted, run again when the store answers")]
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

impl Error {
    /// A store's error, with what was being done.
    pub fn store(action: impl Into<String>, source: object_store::Error) -> Self {
        Self::Store { action: action.into(), source }
    }

    /// An error of this machine rather than of a store or an input.
    pub fn local(action: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::Local { action: action.into(), why: why.to_string() }
    }

    /// The process's exit code where this error ends it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Conflict(_) | Self::Gone(_) => 4,
            Self::Refused(_) => 5,
            _ => 1,
        }
    }
}
