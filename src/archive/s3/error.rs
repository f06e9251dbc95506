//! What S3 says when it does not do what it was asked.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::error::{chain, missing_permission, unescaped};
use crate::store::retry::Retryable;

/// What an error means for whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// It may work if it is asked again.
    Transient,
    /// Something of this name exists (412), or is being made (409).
    Exists,
    /// There is no such object, bucket or upload.
    NotFound,
    /// The credentials do not allow it.
    Denied,
    /// The object is in an archive class and has not been restored.
    Frozen,
    /// This server does not know the operation or the option.
    Unsupported,
    /// Anything else that will not change by itself.
    Permanent,
}

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct S3Error {
    /// What it means.
    pub kind: Kind,
    /// S3's word for it, where it has one: `SlowDown`.
    pub code: Option<String>,
    /// In a sentence.
    pub message: String,
    /// How long the server asked to be left alone.
    pub retry_after: Option<Duration>,
    /// What to look for in the server's own logs.
    pub request_id: Option<String>,
    /// What a policy calls the request: `s3:PutObject`.
    pub action: Option<&'static str>,
}

impl S3Error {
    /// An error that the reply to a request shows rather than is.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: None,
            message: message.into(),
            retry_after: None,
            request_id: None,
            action: None,
        }
    }
}

impl fmt::Display for S3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) if !self.message.is_empty() => write!(f, "{code}: {}", self.message)?,
            Some(code) => f.write_str(code)?,
            None => f.write_str(&self.message)?,
        }
        if let Some(id) = &self.request_id {
            write!(f, " (request {id})")?;
        }
        f.write_str(&hint(self))
    }
}

impl StdError for S3Error {}

impl Retryable for S3Error {
    fn is_transient(&self) -> bool {
        self.kind == Kind::Transient
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// What to do next. Starts with `; ` or is empty.
fn hint(error: &S3Error) -> Cow<'static, str> {
    let step = match (error.kind, error.code.as_deref().unwrap_or_default()) {
        (_, "NoSuchBucket") => {
            "; create the bucket, or check the name, the region and the endpoint"
        }
        (_, "InvalidStorageClass") => {
            "; this server does not know the class: unset archive.storage_class, or use one that \
             it has"
        }
        (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidClientTokenId") => {
            "; check the access key and secret, or the profile or role in use"
        }
        (_, "ExpiredToken" | "TokenRefreshRequired") => {
            "; the session token has expired: log in again or renew the role"
        }
        (_, "RequestTimeTooSkewed") => {
            "; this machine's clock is wrong: set it (NTP) and run again"
        }
        (
            _,
            "PermanentRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException",
        ) => "; the bucket is in another region: set archive.region or AWS_REGION",
        (_, code) if code.starts_with("KMS") => {
            "; check archive.kms_key_id, and that the job's role may use the key \
             (kms:GenerateDataKey, kms:Decrypt)"
        }
        (Kind::Frozen, _) => {
            "; it is in an archive class: `icepack restore` asks for it to be thawed"
        }
        (Kind::Denied, _) => {
            return Cow::Owned(format!("; {}", missing_permission(denied_action(error))));
        }
        (Kind::Permanent, "") if error.message.contains("certificate") => {
            "; the server's TLS certificate is not trusted here: name its CA's PEM file in \
             SSL_CERT_FILE, or use the host name that it was issued for"
        }
        _ => "",
    };
    Cow::Borrowed(step)
}

/// AWS's own word for what is missing, where it says it; else what was asked for.
fn denied_action(error: &S3Error) -> Option<&str> {
    let said = error
        .message
        .split_once("not authorized to perform: ")
        .and_then(|(_, rest)| rest.split(' ').next());
    said.or(error.action)
}

/// What a policy calls the operation whose error this is. The type tells:
/// `aws_sdk_s3::operation::put_object::PutObjectError`.
fn action_of<E>() -> Option<&'static str> {
    let operation = std::any::type_name::<E>().rsplit("::").nth(1)?;
    Some(match operation {
        "put_object" | "create_multipart_upload" | "upload_part" | "complete_multipart_upload" => {
            "s3:PutObject"
        }
        "copy_object" | "upload_part_copy" => {
            "s3:GetObject on the store, or s3:PutObject on the archive"
        }
        "abort_multipart_upload" => "s3:AbortMultipartUpload",
        "get_object" | "head_object" => "s3:GetObject",
        "list_objects_v2" | "head_bucket" => "s3:ListBucket",
        "restore_object" => "s3:RestoreObject",
        "delete_object" => "s3:DeleteObject",
        _ => return None,
    })
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

/// The bytes did not arrive as they were sent: they are still here, and are sent again.
const GARBLED: [&str; 3] = ["BadDigest", "XAmzContentChecksumMismatch", "IncompleteBody"];

fn kind_of(status: u16, code: &str) -> Kind {
    if LATER.contains(&code) || GARBLED.contains(&code) {
        return Kind::Transient;
    }
    match (status, code) {
        (_, "InvalidObjectState") => Kind::Frozen,
        (_, "NotImplemented" | "MethodNotAllowed") | (501 | 405, _) => Kind::Unsupported,
        (412 | 409, "PreconditionFailed" | "ConditionalRequestConflict" | "") => Kind::Exists,
        (404, _) => Kind::NotFound,
        (401 | 403, _) => Kind::Denied,
        (408 | 425 | 429, _) => Kind::Transient,
        (500.., _) => Kind::Transient,
        _ => Kind::Permanent,
    }
}

impl<E> From<SdkError<E, HttpResponse>> for S3Error
where
    E: StdError + ProvideErrorMetadata + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let status = error.raw_response().map(|r| r.status().as_u16());
        let retry_after = error
            .raw_response()
            .and_then(|r| r.headers().get("retry-after"))
            .and_then(|v| v.trim().parse().ok())
            .map(Duration::from_secs);
        let code = ProvideErrorMetadata::code(&error).map(str::to_owned);
        let kind = match &error {
            SdkError::TimeoutError(_) | SdkError::ResponseError(_) => Kind::Transient,
            SdkError::DispatchFailure(e) if e.is_timeout() || e.is_io() => Kind::Transient,
            SdkError::ServiceError(_) => {
                kind_of(status.unwrap_or(0), code.as_deref().unwrap_or_default())
            }
            _ => Kind::Permanent,
        };
        let message = match ProvideErrorMetadata::message(&error) {
            Some(message) => unescaped(message.trim_end_matches('.')).into_owned(),
            // A HEAD has no body that could say more.
            None => status
                .filter(|_| code.is_none())
                .map_or_else(|| chain(&error), |s| format!("status {s}")),
        };
        let request_id = match &error {
            SdkError::ServiceError(e) => e.err().meta().request_id().map(str::to_owned),
            _ => None,
        };
        Self {
            kind,
            code,
            message,
            retry_after,
            request_id,
            action: action_of::<E>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(kind_of(status, code), Kind::Transient, "{status} {code}");
        }
        for (status, code, kind) in [
            (403, "AccessDenied", Kind::Denied),
            (403, "InvalidObjectState", Kind::Frozen),
            (404, "NoSuchUpload", Kind::NotFound),
            (412, "PreconditionFailed", Kind::Exists),
            (409, "ConditionalRequestConflict", Kind::Exists),
            (409, "BucketAlreadyExists", Kind::Permanent),
            (501, "NotImplemented", Kind::Unsupported),
            (400, "InvalidStorageClass", Kind::Permanent),
        ] {
            assert_eq!(kind_of(status, code), kind, "{status} {code}");
        }
    }

    #[test]
    fn an_error_says_what_to_do() {
        let error = S3Error {
            code: Some("AccessDenied".into()),
            request_id: Some("7".into()),
            ..S3Error::new(Kind::Denied, "Access Denied")
        };
        assert!(
            error.to_string().starts_with(
                "AccessDenied: Access Denied (request 7); the credentials lack a permission: add \
                 it"
            ),
            "{error}"
        );
        assert_eq!(
            action_of::<aws_sdk_s3::operation::restore_object::RestoreObjectError>(),
            Some("s3:RestoreObject")
        );
        assert_eq!(
            action_of::<aws_sdk_s3::operation::create_multipart_upload::CreateMultipartUploadError>(
            ),
            Some("s3:PutObject")
        );
        let error = S3Error {
            code: Some("KMS.NotFoundException".into()),
            ..S3Error::new(Kind::Permanent, "Invalid keyId")
        };
        assert!(
            error.to_string().ends_with(
                "; check archive.kms_key_id, and that the job's role may use the key \
                 (kms:GenerateDataKey, kms:Decrypt)"
            ),
            "{error}"
        );
    }
}
