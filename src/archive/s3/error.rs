//! Errors of S3, as errors of icepack.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::error::{chain, unescaped};
use crate::store::retry::Retryable;
use icepack_parquet::failure::{Place, StoreFailure};

pub use icepack_parquet::failure::FailureKind as Kind;

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
        let said = match &self.code {
            Some(code) if !self.message.is_empty() => format!("{code}: {}", self.message),
            Some(code) => code.clone(),
            None => self.message.clone(),
        };
        f.write_str(&said)?;
        if let Some(id) = &self.request_id {
            write!(f, " (request {id})")?;
        }
        let failure = StoreFailure {
            kind: self.kind,
            said: &said,
            action: self.action,
            place: Place::Archive,
        };
        f.write_str(&failure.next_step())
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
                Kind::of_reply(status.unwrap_or(0), code.as_deref().unwrap_or_default())
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
        let frozen = S3Error::new(Kind::Frozen, "The object's class does not allow it");
        assert!(frozen.to_string().contains("icepack restore"), "{frozen}");
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
