//! AWS credentials and region from the standard chain (environment, profile, web identity, container, instance), for
//! object_store, whose own chain knows no profiles.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::ProvideCredentials;
use aws_sdk_s3::config::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::Mutex;
use url::{Host, Url};

use crate::clock::Clock;

/// Renewed this long before they expire, so that a long upload does not outlive them.
const RENEW_BEFORE: Duration = Duration::from_secs(300);

/// Where nothing names a region. Servers other than AWS mostly ignore it, and sign with it.
pub const DEFAULT_REGION: Region = Region::from_static("us-east-1");

/// How a server is reached, where that differs from what the environment says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connection {
    /// Instead of `AWS_ENDPOINT_URL`.
    pub endpoint: Option<String>,
    /// Instead of `AWS_REGION`.
    pub region: Option<String>,
    /// Instead of `AWS_PROFILE`.
    pub profile: Option<String>,
}

/// The AWS configuration of this environment: region and credentials provider.
pub async fn load(connection: &Connection) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if let Some(region) = &connection.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &connection.profile {
        loader = loader.profile_name(profile);
    }
    loader.load().await
}

/// A server other than AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its URL.
    pub url: String,
}

impl Endpoint {
    /// Plain http is for this machine, and for networks that somebody has said to trust.
    pub fn is_allowed(&self) -> bool {
        let plain = Url::parse(&self.url).ok().filter(|u| u.scheme() == "http");
        plain.is_none_or(|u| is_loopback(&u)) || flag("AWS_ALLOW_HTTP")
    }
}

/// The server that `connection` or the environment names; none is AWS.
pub fn endpoint(aws: &SdkConfig, connection: &Connection) -> Option<Endpoint> {
    let named = connection.endpoint.clone().or_else(|| aws.endpoint_url().map(str::to_owned));
    named.or_else(env_endpoint).map(|url| Endpoint { url })
}

fn env_endpoint() -> Option<String> {
    ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"].iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
}

/// Whether an environment variable says yes.
pub fn flag(name: &str) -> bool {
    std::env::var(name).is_ok_and(|v| matches!(v.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on"))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
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

/// The chain tells at length what it tried. Where all of it was empty, that is one short sentence.
fn why(mut error: &(dyn std::error::Error + 'static)) -> String {
    while let Some(cause) = error.source() {
        error = cause;
    }
    let last = error.to_string();
    if !last.starts_with("no credentials found in chain") {
        return format!("cannot get credentials: {last}");
    }
    match std::env::var("AWS_PROFILE") {
        Ok(profile) if !profile.is_empty() => {
            format!("no credentials: profile `{profile}` of AWS_PROFILE has none, nor has the environment, a web identity, a container or an instance")
        }
        _ => "no credentials: none in the environment, a profile, a web identity, a container or an instance".to_owned(),
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
            .map_err(|e| object_store::Error::Unauthenticated { path: "AWS credential chain".to_owned(), source: why(&e).into() })?;
        let credential = Arc::new(AwsCredential {
            key_id: fresh.access_key_id().to_owned(),
            secret_key: fresh.secret_access_key().to_owned(),
            token: fresh.session_token().map(str::to_owned),
        });
        *cached = Some(Cached { credential: Arc::clone(&credential), expires: fresh.expiry() });
        Ok(credential)
    }
}
