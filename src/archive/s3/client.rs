//! The SDK's client: the standard credential chain, one try per request.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Builder, StalledStreamProtectionConfig};

use crate::error::{Error, Result};
use crate::store::REQUEST_TIMEOUT;
use crate::store::credentials::{self, Connection};

/// A client for `connection`.
///
/// # Errors
/// [`Error::Usage`] where the endpoint is no address, or plain http and not on this machine.
pub async fn connect(connection: &Connection) -> Result<Client> {
    let aws = credentials::load(connection).await;
    let endpoint = credentials::endpoint(&aws, connection)?;
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(REQUEST_TIMEOUT)
        .build();
    let mut config = Builder::from(&aws)
        // Tried again by `store::retry`, with the limits that the settings give: two layers would
        // multiply.
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if aws.region().is_none() {
        config = config.region(credentials::DEFAULT_REGION);
    }
    if let Some(endpoint) = endpoint {
        if !endpoint.is_allowed() {
            return Err(Error::Usage(format!(
                "the endpoint {} is plain http: use https, or set AWS_ALLOW_HTTP=true if the \
                 network is trusted",
                endpoint.url()
            )));
        }
        config = config
            .endpoint_url(endpoint.url())
            .force_path_style(!credentials::flag("AWS_VIRTUAL_HOSTED_STYLE_REQUEST"));
    }
    Ok(Client::from_conf(config.build()))
}
