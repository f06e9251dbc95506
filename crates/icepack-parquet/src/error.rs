//! Errors about one file, and about this machine while a file is read or written.

use icepack_core::model::names::Key;

use crate::failure::{self, FailureKind};

/// The result of most of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a file was not read or written. Its text says what failed, on which path, why, and what to
/// do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An input cannot be read as what it should be: it is quarantined, the rest goes on.
    #[error("cannot read `{key}`: {reason}")]
    Input {
        key: Key,
        /// Size in bytes.
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
    #[error("cannot read `{key}`: {}", failure::store_error(source))]
    Withheld {
        key: Key,
        #[source]
        source: object_store::Error,
    },

    /// The store did not do what was asked.
    #[error("{action}: {}", failure::store_error(source))]
    Store {
        /// What was being done, on which path: `cannot list s3://bucket/acme`.
        action: String,
        #[source]
        source: object_store::Error,
    },

    /// Local disk, threads, encoding: what is neither the store nor an input.
    #[error("{action}: {why}")]
    Local {
        /// What was being done.
        action: String,
        /// What went wrong.
        why: String,
    },
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
    pub fn unread(&self) -> Option<(Unread, String)> {
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
            Self::Withheld { source, .. } => {
                let why = match FailureKind::of(source) {
                    FailureKind::Frozen => Unread::Frozen,
                    _ => Unread::Denied,
                };
                (why, failure::store_error(source))
            }
            Self::Input { .. } | Self::Store { .. } | Self::Local { .. } => return None,
        })
    }

    /// Whether nothing is wrong with a file but that its footer takes more memory than there is for
    /// one.
    pub fn is_footer_too_large(&self) -> bool {
        let Self::Input { reason, .. } = self else {
            return false;
        };
        [crate::guard::TOO_LARGE, crate::guard::TOO_LONG]
            .iter()
            .any(|why| reason.starts_with(why))
    }
}
