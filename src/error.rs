//! Errors: what failed, on which path, and what to do next.

use crate::model::names::Key;

/// The result of most of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, by what it means for the run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The call or the configuration is wrong. Exit code 2.
    #[error("{0}")]
    Usage(String),

    /// The store or the archive did not do what was asked. Exit code 1 or 3.
    #[error("{action}: {}{}", cause(source), hint(source))]
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

/// The innermost cause of a store's error, which is the part that a person can act on, without the client's wrapping.
fn cause(error: &object_store::Error) -> String {
    let mut text = chain(error);
    // S3 answers in XML: the code and the message are what matters.
    if let Some(code) = between(&text, "<Code>", "</Code>") {
        let message = between(&text, "<Message>", "</Message>").unwrap_or_default();
        return format!("{code}: {}", message.trim_end_matches('.'));
    }
    if let Some(at) = text.find("\n") {
        text.truncate(at);
    }
    text
}

fn chain(error: &object_store::Error) -> String {
    let mut texts: Vec<String> = vec![error.to_string()];
    let mut next = std::error::Error::source(error);
    while let Some(e) = next {
        let text = e.to_string();
        // Many layers repeat the one below.
        if !texts.iter().any(|t| t.contains(&text)) {
            texts.push(text);
        }
        next = e.source();
    }
    texts.join(": ")
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let start = text.find(from)? + from.len();
    let len = text[start..].find(to)?;
    Some(&text[start..start + len])
}

/// What to do next, by what the store said. Starts with `; ` or is empty.
fn hint(error: &object_store::Error) -> &'static str {
    let text = chain(error);
    let has = |needles: &[&str]| needles.iter().any(|n| text.contains(n));
    if has(&["NoSuchBucket"]) {
        "; create the bucket, or check the name, the region and AWS_ENDPOINT_URL"
    } else if has(&["InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidClientTokenId"]) {
        "; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile or role in use"
    } else if has(&["ExpiredToken", "TokenRefreshRequired"]) {
        "; the session token has expired: log in again or renew the role"
    } else if has(&["RequestTimeTooSkewed"]) {
        "; this machine's clock is wrong: set it (NTP) and run again"
    } else if has(&["PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraint", "redirect"]) {
        "; the bucket is in another region: set AWS_REGION"
    } else if has(&["InvalidObjectState"]) {
        "; the object is in an archive class and must be restored before it can be read"
    } else if has(&["AccessDenied", "Forbidden"]) || matches!(error, object_store::Error::PermissionDenied { .. }) {
        "; the credentials lack this permission: `icepack doctor` shows which"
    } else if matches!(error, object_store::Error::Unauthenticated { .. }) || has(&["no providers in chain", "CredentialsNotLoaded", "not loaded"]) {
        "; no valid credentials: set AWS_ACCESS_KEY_ID/AWS_SECRET_ACCESS_KEY, AWS_PROFILE or a role"
    } else if has(&["certificate", "UnknownIssuer"]) {
        "; the server's TLS certificate is not trusted here: install its CA, or use the right host name"
    } else if has(&["URL scheme is not allowed"]) {
        "; for a plain-http endpoint set AWS_ALLOW_HTTP=true"
    } else if has(&["dns error", "Connect", "connection refused", "error sending request"]) {
        "; the endpoint cannot be reached: check AWS_ENDPOINT_URL, the region and the network"
    } else if has(&["No space left"]) {
        "; the disk is full: free some space and run again"
    } else if has(&["Permission denied"]) {
        "; this user may not do that: check the owner and mode of the directory"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn a_store_error_says_what_where_why_and_what_next() {
        let body = "Error performing LIST: <Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>";
        let text = Error::store("cannot list s3://nope/events", generic(body)).to_string();
        assert_eq!(
            text,
            "cannot list s3://nope/events: NoSuchBucket: The specified bucket does not exist; create the bucket, or check the name, the region and AWS_ENDPOINT_URL"
        );
    }

    #[test]
    fn an_error_without_a_hint_is_still_a_sentence() {
        assert_eq!(Error::store("cannot get x", generic("odd")).to_string(), "cannot get x: Generic S3 error: odd");
    }
}
