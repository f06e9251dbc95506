//! AWS credentials and region from the standard chain (environment, profile, web identity, container, instance), for
//! object_store, whose own chain knows no profiles.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::config::ProvideCredentials;
use aws_sdk_s3::config::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::Mutex;

use crate::clock::Clock;

/// Renewed this long before they expire, so that a long upload does not outlive them.
const RENEW_BEFORE: Duration = Duration::from_secs(300);

/// The AWS configuration of this environment: region and credentials provider.
pub async fn load() -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await
}

/// The chain's credentials as object_store wants them, renewed before they expire.
#[derive(Debug)]
pub struct ChainCredentials {
    provider: SharedCredentialsProvider,
    clock: Arc<dyn Clock>,
    cached: Mutex<Option<Cached>>,
}

#[derive(Debug, Clone)]
struct Cached {
    credential: Arc<AwsCredential>,
    expires: Option<SystemTime>,
}

impl ChainCredentials {
    /// Credentials from `provider`.
    pub fn new(provider: SharedCredentialsProvider, clock: Arc<dyn Clock>) -> Self {
        Self { provider, clock, cached: Mutex::new(None) }
    }
}

#[async_trait]
impl CredentialProvider for ChainCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut cached = self.cached.lock().await;
        let now = SystemTime::from(self.clock.now());
        if let Some(c) = cached.as_ref()
            && c.expires.is_none_or(|at| at > now + RENEW_BEFORE)
        {
            return Ok(Arc::clone(&c.credential));
        }
        let fresh = self
            .provider
            .provide_credentials()
            .await
            .map_err(|e| object_store::Error::Unauthenticated { path: "AWS credential chain".to_owned(), source: Box::new(e) })?;
        let credential = Arc::new(AwsCredential {
            key_id: fresh.access_key_id().to_owned(),
            secret_key: fresh.secret_access_key().to_owned(),
            token: fresh.session_token().map(str::to_owned),
        });
        *cached = Some(Cached { credential: Arc::clone(&credential), expires: fresh.expiry() });
        Ok(credential)
    }
}
