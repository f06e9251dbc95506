//! Explains a store's error: what it means, and what to do about it. All clients use it.

use std::borrow::Cow;
use std::error::Error as StdError;

/// How the layers of an HTTP client introduce the one below. None says anything that the last one
/// and what was being done do not.
const WRAPPING: [&str; 10] = [
    "Generic ",
    "Error performing ",
    "HTTP error",
    "error sending request",
    "client error (",
    "tcp connect error",
    "builder error",
    "The operation lacked ",
    "Object at location ",
    "request failed",
];

/// The meaning of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// It may work if it is asked again.
    Transient,
    /// Something of this name exists (412), or is being made (409).
    Exists,
    /// There is no such object, bucket or upload.
    NotFound,
    /// The credentials do not allow it.
    Denied,
    /// There are no credentials, or the store does not know them.
    Unauthenticated,
    /// The object is in an archive class and has not been restored.
    Frozen,
    /// This server does not know the operation or the option.
    Unsupported,
    /// Anything else that will not change by itself.
    Permanent,
}

/// Several servers say "later" with a code of their own.
const LATER: [&str; 12] = [
    "SlowDown",
    "SlowDownWrite",
    "SlowDownRead",
    "RequestTimeout",
    "RequestTimeoutException",
    "InternalError",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "OperationAborted",
    "RequestLimitExceeded",
];

/// What S3 and Azure answer to a read of an object of an archive class.
const FROZEN: [&str; 3] = ["InvalidObjectState", "BlobArchived", "BlobBeingRehydrated"];

/// The bytes did not arrive as they were sent: they are still here, and are sent again.
const GARBLED: [&str; 3] = ["BadDigest", "XAmzContentChecksumMismatch", "IncompleteBody"];

impl FailureKind {
    /// The kind of a server's reply.
    pub fn of_reply(status: u16, code: &str) -> Self {
        if LATER.contains(&code) || GARBLED.contains(&code) {
            return Self::Transient;
        }
        match (status, code) {
            (_, code) if FROZEN.contains(&code) => Self::Frozen,
            (_, "NotImplemented" | "MethodNotAllowed") | (501 | 405, _) => Self::Unsupported,
            (412 | 409, "PreconditionFailed" | "ConditionalRequestConflict" | "") => Self::Exists,
            (404, _) => Self::NotFound,
            (401 | 403, _) => Self::Denied,
            (408 | 425 | 429, _) => Self::Transient,
            (500.., _) => Self::Transient,
            _ => Self::Permanent,
        }
    }

    /// The kind of an error of object_store.
    pub fn of(error: &object_store::Error) -> Self {
        use object_store::Error as E;
        match error {
            E::Generic { .. } => Self::of_generic(error),
            E::JoinError { .. } => Self::Transient,
            E::NotFound { .. } => Self::NotFound,
            // S3 answers 403, and Azure 409.
            E::PermissionDenied { .. } | E::AlreadyExists { .. }
                if FROZEN.iter().any(|code| chain(error).contains(code)) =>
            {
                Self::Frozen
            }
            E::AlreadyExists { .. } | E::Precondition { .. } => Self::Exists,
            E::PermissionDenied { .. } => Self::Denied,
            E::Unauthenticated { .. } => Self::Unauthenticated,
            E::NotSupported { .. } | E::NotImplemented { .. } => Self::Unsupported,
            _ => Self::Permanent,
        }
    }

    /// `Generic` is also what object_store makes of the replies that it has no variant for, and of
    /// a local disk's failures.
    fn of_generic(error: &object_store::Error) -> Self {
        if is_lasting_io(error) {
            return Self::Permanent;
        }
        let all = chain(error);
        let code = between(&all, "<Code>", "</Code>")
            .or_else(|| LATER.iter().find(|code| all.contains(**code)).copied());
        status_in(&all).map_or(Self::Transient, |status| {
            Self::of_reply(status, code.unwrap_or_default())
        })
    }
}

fn is_lasting_io(error: &object_store::Error) -> bool {
    use std::io::ErrorKind as K;
    let error: &(dyn StdError + 'static) = error;
    let causes = std::iter::successors(Some(error), |e| StdError::source(*e));
    causes
        .filter_map(|e| e.downcast_ref::<std::io::Error>())
        .any(|io| {
            matches!(
                io.kind(),
                K::StorageFull
                    | K::PermissionDenied
                    | K::ReadOnlyFilesystem
                    | K::QuotaExceeded
                    | K::FileTooLarge
                    | K::NotADirectory
            )
        })
}

/// The status of a reply, of which object_store makes text.
fn status_in(all: &str) -> Option<u16> {
    let rest = ["status code: ", "status "]
        .iter()
        .find_map(|words| all.split_once(words))?
        .1;
    rest.get(..3)?.parse().ok()
}

/// Which settings a sentence names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Store,
    Archive,
}

/// A failed request, whichever client made it.
pub struct StoreFailure<'a> {
    pub kind: FailureKind,
    /// Everything that was said, the code too.
    pub said: &'a str,
    /// What a policy calls the request: `s3:PutObject`.
    pub action: Option<&'static str>,
    pub place: Place,
}

/// The cause that a person can act on, without the client's wrapping, and what to do next.
pub fn store_error(error: &object_store::Error) -> String {
    let all = chain(error);
    let failure = StoreFailure {
        kind: FailureKind::of(error),
        said: &all,
        action: asked(&all),
        place: Place::Store,
    };
    format!("{}{}", cause(error, &all), failure.next_step())
}

fn cause(error: &object_store::Error, all: &str) -> String {
    // S3 answers in XML: the code and the message are what matters.
    if let Some(code) = between(all, "<Code>", "</Code>") {
        let message = unescaped(between(all, "<Message>", "</Message>").unwrap_or_default());
        return format!("{code}: {}", message.trim_end_matches('.'));
    }
    if all.contains("redirect without LOCATION") {
        return "the server redirects elsewhere".to_owned();
    }
    let mut said = layers(error);
    let last = said.pop().unwrap_or_default();
    said.retain(|words| !words.is_empty() && !WRAPPING.iter().any(|w| words.starts_with(w)));
    said.push(
        without_request(&last)
            .lines()
            .map(str::trim)
            .collect::<Vec<_>>()
            .join(" ")
            .trim_end_matches('.')
            .to_owned(),
    );
    let retries = between(all, ", after ", " retries")
        .map(|n| format!(" (tried again {n} times)"))
        .unwrap_or_default();
    format!("{}{retries}", said.join(": "))
}

/// A client without a cause of its own tells the request and what came of it in one line.
fn without_request(words: &str) -> &str {
    if words.starts_with("Error performing ") {
        words.split_once(" - ").map_or(words, |(_, rest)| rest)
    } else {
        words
    }
}

/// Every layer's own words, the outermost first: most repeat the ones below.
fn layers(error: &object_store::Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut next = StdError::source(error);
    while let Some(e) = next {
        texts.push(e.to_string());
        next = e.source();
    }
    let own = |(i, text): (usize, &String)| {
        let below = texts.get(i + 1).map_or("", String::as_str);
        let own = if below.is_empty() {
            text
        } else {
            text.split(below).next().unwrap_or(text)
        };
        own.trim_end_matches([' ', ':', '-']).to_owned()
    };
    let mut own: Vec<String> = texts.iter().enumerate().map(own).collect();
    own.dedup();
    own
}

/// The text of an error and of those below it, each text once: "dispatch failure" alone says
/// nothing.
pub fn chain(error: &dyn StdError) -> String {
    let mut texts: Vec<String> = vec![error.to_string()];
    let mut next = error.source();
    while let Some(e) = next {
        let text = e.to_string();
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

/// XML's five, as they are meant.
pub fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let plain = [
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
    ];
    Cow::Owned(
        plain
            .iter()
            .fold(text.to_owned(), |text, (from, to)| text.replace(from, to)),
    )
}

impl StoreFailure<'_> {
    /// The advice for the user. Starts with `; ` or is empty.
    pub fn next_step(&self) -> String {
        let has = |words: &[&str]| words.iter().any(|word| self.said.contains(word));
        let means = |kind| self.kind == kind;
        let step: Cow<'_, str> = if has(&["NoSuchBucket"]) {
            self.either(
                "create the bucket, or check the name, the region and AWS_ENDPOINT_URL",
                "create the bucket, or check the name, the region and the endpoint",
            )
        } else if has(&["InvalidStorageClass"]) {
            "this server does not know the class: unset archive.storage_class, or use one that it \
             has"
            .into()
        } else if has(&[
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "InvalidClientTokenId",
        ]) {
            self.either(
                "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile or role in use",
                "check the access key and secret, or the profile or role in use",
            )
        } else if has(&["ExpiredToken", "TokenRefreshRequired"]) {
            "the session token has expired: log in again or renew the role".into()
        } else if has(&["RequestTimeTooSkewed"]) {
            "this machine's clock is wrong: set it (NTP) and run again".into()
        } else if has(&[
            "PermanentRedirect",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraint",
            "redirect",
        ]) {
            self.other_region().into()
        } else if self.said.starts_with("KMS") {
            "check archive.kms_key_id, and that the job's role may use the key \
             (kms:GenerateDataKey, kms:Decrypt)"
                .into()
        } else if means(FailureKind::Frozen) || has(&FROZEN) {
            self.either(
                "the object is in an archive class and must be restored before it can be read",
                "it is in an archive class: `icepack restore` asks for it to be thawed",
            )
        } else if means(FailureKind::Denied) || has(&["AccessDenied", "Forbidden"]) {
            self.missing_permission().into()
        } else if means(FailureKind::Unauthenticated)
            || has(&[
                "no providers in chain",
                "CredentialsNotLoaded",
                "not loaded",
            ])
        {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the job a role"
                .into()
        } else if has(&["certificate", "UnknownIssuer"]) {
            "the server's TLS certificate is not trusted here: name its CA's PEM file in \
             SSL_CERT_FILE, or use the host name that it was issued for"
                .into()
        } else if has(&["URL scheme is not allowed"]) {
            "plain http is for this machine alone: use https, or set AWS_ALLOW_HTTP=true if the \
             network is trusted"
                .into()
        } else if has(&[
            "dns error",
            "Connect",
            "connection refused",
            "error sending request",
        ]) {
            self.unreachable().into()
        } else if has(&["No space left"]) {
            "the disk is full: free some space and run again".into()
        } else if has(&["Permission denied"]) {
            "this user may not do that: check the owner and mode of the directory".into()
        } else {
            return String::new();
        };
        format!("; {step}")
    }

    fn either(&self, store: &'static str, archive: &'static str) -> Cow<'static, str> {
        Cow::Borrowed(match self.place {
            Place::Store => store,
            Place::Archive => archive,
        })
    }

    /// S3 mostly says which region it is, in one of two places.
    fn other_region(&self) -> String {
        let region = between(self.said, "expecting '", "'")
            .or_else(|| between(self.said, "<Region>", "</Region>"));
        let set = match (self.place, region) {
            (Place::Archive, _) => "archive.region or AWS_REGION".to_owned(),
            (Place::Store, Some(region)) => format!("AWS_REGION={region}"),
            (Place::Store, None) => {
                "AWS_REGION to it (`aws s3api get-bucket-location` tells which)".to_owned()
            }
        };
        format!("the bucket is in another region: set {set}")
    }

    fn unreachable(&self) -> String {
        let (_, url) = request(self.said).unwrap_or_default();
        let host = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        let host = if host.is_empty() {
            "the endpoint"
        } else {
            &host
        };
        let endpoint = self.either("AWS_ENDPOINT_URL", "archive.endpoint");
        format!("{host} cannot be reached: check {endpoint}, the region and the network")
    }

    /// Which permission is missing, if that can be said: AWS says it, where the policy allows that.
    fn missing_permission(&self) -> String {
        let action = between(self.said, "not authorized to perform: ", " ").or(self.action);
        let (what, more) = match action {
            Some(action @ "s3:GetObject") => (
                action,
                ", or s3:ListBucket, without which S3 says so of objects that are not there",
            ),
            Some(action) => (action, ""),
            None => ("a permission", ""),
        };
        format!(
            "the credentials lack {what}{more}: add it to their policy (infra/iam has the job's), \
             `icepack doctor` tries each right"
        )
    }
}

/// The method and the URL of the request that failed.
fn request(all: &str) -> Option<(&str, &str)> {
    let mut words = ["GET ", "PUT ", "POST ", "DELETE ", "HEAD "]
        .iter()
        .find_map(|m| all.find(&format!("Error performing {m}")))
        .map(|at| all[at..].split(' ').skip(2))?;
    Some((words.next()?, words.next()?))
}

/// What a policy calls the request that failed.
fn asked(all: &str) -> Option<&'static str> {
    let (method, url) = request(all)?;
    let query = url.split_once('?').map_or("", |(_, query)| query);
    match method {
        "GET" if query.contains("list-type") || query.contains("delimiter") => {
            Some("s3:ListBucket")
        }
        "GET" | "HEAD" => Some("s3:GetObject"),
        "DELETE" if query.contains("uploadId") => Some("s3:AbortMultipartUpload"),
        "DELETE" => Some("s3:DeleteObject"),
        "POST" if query.starts_with("delete") => Some("s3:DeleteObject"),
        "PUT" | "POST" => Some("s3:PutObject"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::FailureKind;
    use crate::Error;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic {
            store: "S3",
            source: text.to_owned().into(),
        }
    }

    fn said(text: &str) -> String {
        Error::store("cannot list s3://nope/events", generic(text)).to_string()
    }

    #[test]
    fn a_store_error_says_what_where_why_and_what_next() {
        assert_eq!(
            said(
                "Error performing LIST: <Error><Code>NoSuchBucket</Code><Message>The specified \
                 bucket does not exist</Message></Error>"
            ),
            "cannot list s3://nope/events: NoSuchBucket: The specified bucket does not exist; \
             create the bucket, or check the name, the region and AWS_ENDPOINT_URL"
        );
    }

    #[test]
    fn an_error_without_a_hint_is_still_a_sentence() {
        assert_eq!(
            Error::store("cannot get x", generic("odd")).to_string(),
            "cannot get x: odd"
        );
    }

    #[test]
    fn the_permission_that_is_missing_is_named() {
        let text = |request: &str| {
            said(&format!(
                "Error performing {request} in 3ms - Server returned non-2xx status code: 403 \
                 Forbidden: <Error><Code>AccessDenied</Code></Error>"
            ))
        };
        for (request, action) in [
            ("GET http://h:1/b?list-type=2&prefix=p", "s3:ListBucket"),
            (
                "GET https://b.s3.amazonaws.com/?delimiter=%2F&list-type=2",
                "s3:ListBucket",
            ),
            ("GET http://h:1/b/k", "s3:GetObject"),
            ("HEAD https://b.s3.amazonaws.com/k", "s3:GetObject"),
            ("PUT http://h:1/b/k", "s3:PutObject"),
            ("POST http://h:1/b/k?uploads", "s3:PutObject"),
            ("POST http://h:1/b?delete", "s3:DeleteObject"),
            ("DELETE http://h:1/b/k", "s3:DeleteObject"),
            (
                "DELETE http://h:1/b/k?uploadId=7",
                "s3:AbortMultipartUpload",
            ),
        ] {
            let text = text(request);
            assert!(
                text.contains(&format!("the credentials lack {action}")),
                "{request}: {text}"
            );
        }
        let aws = said(
            "<Error><Code>AccessDenied</Code><Message>User: x is not authorized to perform: \
             kms:Decrypt on resource: &quot;k&quot;</Message></Error>",
        );
        assert!(
            aws.contains("\"k\"; the credentials lack kms:Decrypt: "),
            "{aws}"
        );
    }

    #[test]
    fn what_passes_by_itself_is_told_from_what_stays() {
        for (status, code) in [
            (503, "SlowDown"),
            (500, "InternalError"),
            (429, ""),
            (400, "RequestTimeout"),
            (409, "OperationAborted"),
            (400, "BadDigest"),
            (502, ""),
        ] {
            assert_eq!(
                FailureKind::of_reply(status, code),
                FailureKind::Transient,
                "{status} {code}"
            );
        }
        for (status, code, kind) in [
            (403, "AccessDenied", FailureKind::Denied),
            (403, "InvalidObjectState", FailureKind::Frozen),
            (409, "BlobArchived", FailureKind::Frozen),
            (404, "NoSuchUpload", FailureKind::NotFound),
            (412, "PreconditionFailed", FailureKind::Exists),
            (409, "ConditionalRequestConflict", FailureKind::Exists),
            (409, "BucketAlreadyExists", FailureKind::Permanent),
            (501, "NotImplemented", FailureKind::Unsupported),
            (400, "InvalidStorageClass", FailureKind::Permanent),
        ] {
            assert_eq!(FailureKind::of_reply(status, code), kind, "{status} {code}");
        }
    }

    #[test]
    fn a_refusal_that_object_store_knows_no_variant_for_is_not_asked_again() {
        for (text, kind) in [
            (
                "Server returned non-2xx status code: 400 Bad Request: \
                 <Error><Code>InvalidStorageClass</Code></Error>",
                FailureKind::Permanent,
            ),
            (
                "Server returned non-2xx status code: 501 Not Implemented: ",
                FailureKind::Unsupported,
            ),
            (
                "Server returned non-2xx status code: 503 Service Unavailable: \
                 <Error><Code>SlowDown</Code></Error>",
                FailureKind::Transient,
            ),
            (
                "status 400 Bad Request: RequestTimeout",
                FailureKind::Transient,
            ),
            ("connection reset", FailureKind::Transient),
        ] {
            assert_eq!(FailureKind::of(&generic(text)), kind, "{text}");
        }
    }
}
