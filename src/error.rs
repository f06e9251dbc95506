//! Errors: what failed, on which path, and what to do next.

pub use icepack_parquet::Error as ReadError;
pub(crate) use icepack_parquet::Unread;
pub(crate) use icepack_parquet::failure::{chain, unescaped};

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
    #[error("{action}: {}", icepack_parquet::failure::store_error(source))]
    Store {
        /// What was being done, on which path: `cannot list s3://bucket/acme`.
        action: String,
        /// The store's word.
        #[source]
        source: object_store::Error,
    },

    /// One file was not read: it is damaged, gone, being written to, or withheld.
    #[error(transparent)]
    Read(icepack_parquet::Error),

    /// Somebody else's commit came first and this one no longer applies. Exit code 4.
    #[error("lost to a concurrent run: {0}; nothing is harmed, the next pass takes it up")]
    Conflict(String),

    /// Whether a commit happened cannot be found out. Nothing is deleted.
    #[error(
        "it is not known whether version {version} of tenant `{tenant}` was committed: {why}; \
         nothing was deleted, run again when the store answers"
    )]
    Unknown {
        /// The tenant that it belongs to.
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

impl From<icepack_parquet::Error> for Error {
    fn from(error: icepack_parquet::Error) -> Self {
        use icepack_parquet::Error as Read;
        match error {
            Read::Store { action, source } => Self::Store { action, source },
            Read::Local { action, why } => Self::Local { action, why },
            Read::Input { .. } | Read::Gone(_) | Read::Changed(_) | Read::Withheld { .. } => {
                Self::Read(error)
            }
        }
    }
}

#[cfg(feature = "delta")]
impl From<icepack_delta::Error<Self>> for Error {
    fn from(error: icepack_delta::Error<Self>) -> Self {
        match error {
            icepack_delta::Error::Read(error) => error.into(),
            icepack_delta::Error::Refused(why) => Self::Refused(why),
            icepack_delta::Error::Conflict(why) => Self::Conflict(why),
            icepack_delta::Error::Live(error) => error,
        }
    }
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
        match self {
            Self::Read(error) => error.unread(),
            _ => None,
        }
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
