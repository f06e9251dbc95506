//! An archive in Azure Blob Storage. object_store writes, lists and reads it. What it lacks is here:
//! to ask for the access tier of a blob, and to change it.
//!
//! A blob of the tier `Archive` cannot be read, and what is archived here is always read back. So it
//! is created in the account's tier, and moved once its rows are proved.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{ObjectStore, ObjectStoreScheme};
use reqwest::{Client, Method, Response, StatusCode};
use url::Url;

use super::{ArchiveBackend, Attributes, ObjectStoreBackend, Stored, Thaw};
use crate::error::{Error, Result};
use crate::store::counting::{Kind, RequestCounters};
use crate::store::object_writer::upload::Destination;
use crate::store::retry::{RetryPolicy, retry};
use crate::store::{REQUEST_TIMEOUT, cloud_options, install_crypto, path};
use icepack_core::model::restore::Tier;

/// The tier whose blobs cannot be read.
const ARCHIVE: &str = "Archive";

/// The tier that a blob is thawed to. It costs nothing to read, and stays until somebody changes it.
const THAWED: &str = "Hot";

/// The first version of the service that knows the tier `Cold` and both priorities.
const VERSION: &str = "2021-12-02";

/// How long an address that was signed for one request is good.
const SIGNED_FOR: Duration = Duration::from_secs(900);

/// A container of Azure Blob Storage.
#[derive(Debug, Clone)]
pub struct AzureBackend {
    plain: ObjectStoreBackend,
    azure: Arc<MicrosoftAzure>,
    prefix: Path,
    client: Client,
    retry: RetryPolicy,
}

impl AzureBackend {
    /// The container at `url`, whose blobs `plain` reads and writes.
    ///
    /// # Errors
    /// [`Error::Usage`] where the address or the environment is wrong.
    pub fn new(plain: ObjectStoreBackend, url: &Url, retry: RetryPolicy) -> Result<Self> {
        install_crypto();
        let wrong = |e: String| Error::Usage(format!("cannot open `{url}`: {e}"));
        let (_, prefix) = ObjectStoreScheme::parse(url).map_err(|e| wrong(e.to_string()))?;
        let builder = cloud_options(std::env::vars())
            .filter_map(|(name, value)| Some((name.parse::<AzureConfigKey>().ok()?, value)))
            .fold(
                MicrosoftAzureBuilder::new().with_url(url.as_str()),
                |builder, (key, value)| builder.with_config(key, value),
            );
        let client = Client::builder().timeout(REQUEST_TIMEOUT).build();
        Ok(Self {
            plain,
            azure: Arc::new(builder.build().map_err(|e| wrong(e.to_string()))?),
            prefix,
            client: client.map_err(|e| wrong(e.to_string()))?,
            retry,
        })
    }

    /// The name in the container of the object `key` of the archive.
    fn blob(&self, key: &str) -> Path {
        self.prefix.parts().chain(Path::from(key).parts()).collect()
    }

    /// Sends a request about a blob, with these headers and, if it is to change, `comp=tier`.
    async fn send(
        &self,
        method: &Method,
        key: &str,
        headers: &[(&str, &str)],
    ) -> object_store::Result<Response> {
        let failed = |text: String| object_store::Error::Generic {
            store: "Azure",
            source: text.into(),
        };
        let path = self.blob(key);
        // A HEAD needs the rights of a GET, which object_store would give no HEAD.
        let right = if method == Method::PUT {
            Method::PUT
        } else {
            Method::GET
        };
        let mut url = self.azure.signed_url(right, &path, SIGNED_FOR).await?;
        if method == Method::PUT {
            url.query_pairs_mut().append_pair("comp", "tier");
        }
        let mut request = self
            .client
            .request(method.clone(), url)
            .header("x-ms-version", VERSION)
            .header("content-length", "0");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // Without the address, which is signed.
        let reply = request.send().await;
        reply.map_err(|e| failed(e.without_url().to_string()))
    }

    /// Moves a blob to another tier.
    async fn set_tier(&self, key: &str, headers: &[(&str, &str)]) -> Result<()> {
        let ask = || async {
            let reply = self.send(&Method::PUT, key, headers).await?;
            let status = reply.status();
            let code = header(&reply, "x-ms-error-code").unwrap_or_default();
            // It was asked for before.
            if status.is_success() || code == "BlobBeingRehydrated" {
                return Ok(());
            }
            Err(object_store::Error::Generic {
                store: "Azure",
                source: format!("Server returned non-2xx status code: {status}: {code}").into(),
            })
        };
        retry(&self.retry, &format!("set the tier of {key}"), ask)
            .await
            .map_err(|e| Error::store(format!("cannot set the tier of `{key}`"), e))
    }
}

fn header(reply: &Response, name: &str) -> Option<String> {
    let value = reply.headers().get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

#[async_trait]
impl ArchiveBackend for AzureBackend {
    fn reader(&self) -> Arc<dyn ObjectStore> {
        self.plain.reader()
    }

    fn read_retry(&self) -> RetryPolicy {
        self.plain.read_retry()
    }

    fn destination(
        &self,
        attributes: Attributes,
        requests: &Arc<RequestCounters>,
    ) -> Arc<dyn Destination> {
        let class = attributes.class.filter(|class| class != ARCHIVE);
        self.plain.destination(
            Attributes {
                class,
                ..attributes
            },
            requests,
        )
    }

    async fn head(&self, key: &str, requests: &Arc<RequestCounters>) -> Result<Option<Stored>> {
        path(key)?;
        let Some(stored) = self.plain.head(key, requests).await? else {
            return Ok(None);
        };
        requests.count(Kind::Head);
        // Whoever signs with a token of limited rights cannot ask, and reads as if it were readable.
        let cause = match self.send(&Method::HEAD, key, &[]).await {
            Ok(reply) if reply.status() == StatusCode::OK => {
                let thaw = header(&reply, "x-ms-archive-status").map(|_| Thaw::InProgress);
                return Ok(Some(Stored {
                    class: header(&reply, "x-ms-access-tier"),
                    thaw,
                    ..stored
                }));
            }
            Ok(reply) => reply.status().to_string(),
            Err(e) => e.to_string(),
        };
        tracing::warn!(key, cause, "cannot ask for the tier of a blob");
        Ok(Some(stored))
    }

    async fn thaw(&self, key: &str, tier: Tier, _: u16) -> Result<()> {
        let priority = match tier {
            Tier::Expedited => "High",
            Tier::Standard | Tier::Bulk => "Standard",
        };
        let headers = [
            ("x-ms-access-tier", THAWED),
            ("x-ms-rehydrate-priority", priority),
        ];
        self.set_tier(key, &headers).await.map_err(|e| {
            let name = self.blob(key);
            let action = format!("cannot ask for `{key}` to be thawed");
            Error::local(
                action,
                format!(
                    "{e}; ask with `az storage blob set-tier --tier {THAWED} --name {name} …`, and \
                     run the same command again once it can be read"
                ),
            )
        })
    }

    async fn freeze(&self, key: &str, class: &str) -> Result<()> {
        if class == ARCHIVE {
            self.set_tier(key, &[("x-ms-access-tier", ARCHIVE)]).await?;
        }
        Ok(())
    }
}
