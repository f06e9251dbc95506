//! AWS credentials and region from the standard chain (environment, profile, web identity,
//! container, instance), for object_store, whose own chain knows no profiles.

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
use crate::error::{Error, Result};

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
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
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
pub struct Endpoint(Url);

impl Endpoint {
    /// Checks an address that `source` gives. What is no URL of the web would end the process deep
    /// in a client.
    ///
    /// # Errors
    /// [`Error::Usage`], with the source and the right form. The value may hold a password and is
    /// not repeated.
    pub fn parse(text: &str, source: &str) -> Result<Self> {
        let wrong = |why: String| Error::Usage(format!("{source}: {why}"));
        web_url(text.trim(), "http://minio:9000")
            .map(Self)
            .map_err(wrong)
    }

    /// The URL, without the closing slash that a parsed address of a host alone has.
    pub fn url(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// Plain http is for this machine, and for networks that somebody has said to trust.
    pub fn is_allowed(&self) -> bool {
        self.0.scheme() != "http" || is_loopback(&self.0) || flag("AWS_ALLOW_HTTP")
    }
}

/// An address of the web: `http` or `https`, and a host.
///
/// # Errors
/// What is wrong with it, and `example` as the right form.
pub fn web_url(text: &str, example: &str) -> Result<Url, String> {
    if !text.contains("://") {
        return Err(format!(
            "the address has no http:// or https:// before the host: use one like \"{example}\""
        ));
    }
    let url = Url::parse(text)
        .map_err(|e| format!("this is not an address ({e}): use one like \"{example}\""))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "`{}://` is not possible here: use http:// or https://",
            url.scheme()
        ));
    }
    match url.host_str() {
        Some(host) if !host.is_empty() => Ok(url),
        _ => Err(format!(
            "the address names no host: use one like \"{example}\""
        )),
    }
}

/// The server that `connection` or the environment names; none is AWS.
///
/// # Errors
/// As [`Endpoint::parse`].
pub fn endpoint(aws: &SdkConfig, connection: &Connection) -> Result<Option<Endpoint>> {
    if let Some(own) = &connection.endpoint {
        return Endpoint::parse(own, "archive.endpoint").map(Some);
    }
    // Before the SDK's own word, which knows neither the variable of S3 alone nor which of them it
    // was.
    let from_env = ENDPOINTS.iter().find_map(|name| {
        Some((
            name,
            std::env::var(name).ok().filter(|v| !v.trim().is_empty())?,
        ))
    });
    if let Some((name, url)) = from_env {
        return Endpoint::parse(&url, name).map(Some);
    }
    aws.endpoint_url()
        .map(|url| Endpoint::parse(url, "endpoint_url of the AWS profile"))
        .transpose()
}

/// The variables that name a server, the more special first.
const ENDPOINTS: [&str; 3] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];

/// Whether a text can stand in a header of a request. What cannot would end the process deep in a
/// client.
pub fn is_printable(text: &str) -> bool {
    text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

/// Whether an environment variable says yes.
pub fn flag(name: &str) -> bool {
    std::env::var(name)
        .is_ok_and(|v| matches!(v.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on"))
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
        Self {
            provider,
            clock,
            cached: Mutex::new(None),
        }
    }
}

/// The chain tells at length what it tried. One short sentence says what that comes to.
fn why(mut error: &(dyn std::error::Error + 'static)) -> String {
    while let Some(cause) = error.source() {
        error = cause;
    }
    let profile = std::env::var("AWS_PROFILE").ok().filter(|p| !p.is_empty());
    told(&error.to_string(), profile.as_deref())
}

/// What the innermost error of the chain means to whoever set `profile`, if anybody did.
fn told(last: &str, profile: Option<&str>) -> String {
    if last.contains("cargo feature(s) enabled: sso") {
        let named = profile.map_or_else(String::new, |p| format!(" `{p}`"));
        return format!(
            "cannot get credentials: the profile{named} signs in by SSO, for which this icepack was \
             not built: run `aws sso login`, then `eval \"$(aws configure export-credentials \
             --format env)\"`, or build with `--features sso`"
        );
    }
    // The instance comes last, and anything but an instance denies its metadata.
    let is_no_instance = last.contains("IMDS");
    if !is_no_instance && !last.starts_with("no credentials found in chain") {
        return format!("cannot get credentials: {last}");
    }
    match profile {
        Some(profile) => format!(
            "no credentials: profile `{profile}` of AWS_PROFILE has none, nor has the environment, \
             a web identity, a container or an instance"
        ),
        None => "no credentials: none in the environment, a profile, a web identity, a container \
                 or an instance"
            .to_owned(),
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
        let fresh = self.provider.provide_credentials().await.map_err(|e| {
            object_store::Error::Unauthenticated {
                path: "AWS credential chain".to_owned(),
                source: why(&e).into(),
            }
        })?;
        let parts = [
            ("access key", Some(fresh.access_key_id())),
            ("session token", fresh.session_token()),
        ];
        if let Some((part, _)) = parts
            .iter()
            .find(|(_, value)| value.is_some_and(|v| !is_printable(v)))
        {
            let why =
                format!("the {part} holds characters that no request can carry: copy it anew");
            return Err(object_store::Error::Unauthenticated {
                path: "AWS credential chain".to_owned(),
                source: why.into(),
            });
        }
        let credential = Arc::new(AwsCredential {
            key_id: fresh.access_key_id().to_owned(),
            secret_key: fresh.secret_access_key().to_owned(),
            token: fresh.session_token().map(str::to_owned),
        });
        *cached = Some(Cached {
            credential: Arc::clone(&credential),
            expires: fresh.expiry(),
        });
        Ok(credential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_chain_found_is_one_sentence() {
        let denied = "request forbidden: IMDS is disabled or the caller has insufficient \
                      permissions";
        for last in [denied, "no credentials found in chain: a, b"] {
            let text = told(last, Some("nightly"));
            assert!(text.contains("profile `nightly` of AWS_PROFILE has none"));
            assert!(!text.contains("IMDS"), "{text}");
            assert!(told(last, None).starts_with("no credentials: none in the environment"));
        }
        let sso = "ProfileFile provider could not be built: This behavior requires following \
                   cargo feature(s) enabled: sso. ";
        let text = told(sso, Some("nightly"));
        assert!(text.contains("profile `nightly` signs in by SSO"), "{text}");
        assert_eq!(
            told("the token has expired", None),
            "cannot get credentials: the token has expired"
        );
    }
}
