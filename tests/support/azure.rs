//! Azurite, Microsoft's emulator of Azure Blob Storage. `./test.sh` starts one and names it in
//! `ICEPACK_TEST_AZURITE`. It also sets `AZURITE_BLOB_STORAGE_URL`, where object_store looks for an
//! emulator.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::Utc;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::prefix::PrefixStore;

use super::Store;

/// The account of every Azurite, and its key, which is no secret.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// What the environment of a job that uses the server looks like.
pub fn environment(endpoint: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AZURE_STORAGE_USE_EMULATOR", "true".to_owned()),
        ("AZURITE_BLOB_STORAGE_URL", endpoint.to_owned()),
    ]
}

/// A signed request that object_store has none for: to make a container, and to look at a blob.
pub async fn ask(
    endpoint: &str,
    method: reqwest::Method,
    path: &str,
    query: &[(&str, &str)],
    headers: &[(&str, &str)],
) -> reqwest::Response {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let date = Utc::now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let mut named = [
        headers,
        &[("x-ms-date", date.as_str()), ("x-ms-version", "2021-12-02")],
    ]
    .concat();
    named.sort_unstable();
    let lines: String = named.iter().map(|(k, v)| format!("{k}:{v}\n")).collect();
    let asked: String = query.iter().map(|(k, v)| format!("\n{k}:{v}")).collect();
    let text = format!("{method}\n\n\n\n\n\n\n\n\n\n\n\n{lines}/{ACCOUNT}/{ACCOUNT}/{path}{asked}");
    let key = ring::hmac::Key::new(
        ring::hmac::HMAC_SHA256,
        &BASE64_STANDARD.decode(KEY).unwrap(),
    );
    let signature = BASE64_STANDARD.encode(ring::hmac::sign(&key, text.as_bytes()));
    let mut url = url::Url::parse(&format!("{endpoint}/{ACCOUNT}/{path}")).unwrap();
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    let mut request = reqwest::Client::new()
        .request(method, url)
        .header("content-length", "0")
        .header("authorization", format!("SharedKey {ACCOUNT}:{signature}"));
    for (name, value) in named {
        request = request.header(name, value);
    }
    request.send().await.unwrap()
}

/// Makes an empty container of a name nobody has used.
pub async fn container(endpoint: &str, name: &str) -> String {
    let name = format!(
        "{name}-{}",
        ulid::Ulid::generate().to_string().to_lowercase()
    );
    let put = reqwest::Method::PUT;
    let reply = ask(endpoint, put, &name, &[("restype", "container")], &[]).await;
    assert_eq!(
        reply.status().as_u16(),
        201,
        "{}",
        reply.text().await.unwrap()
    );
    name
}

/// The tier of a blob.
pub async fn tier(endpoint: &str, path: &str) -> String {
    let reply = ask(endpoint, reqwest::Method::HEAD, path, &[], &[]).await;
    let tier = reply
        .headers()
        .get("x-ms-access-tier")
        .map(|tier| tier.to_str().unwrap());
    tier.unwrap_or("none").to_owned()
}

/// The container as a store, below `prefix`.
pub fn store(endpoint: &str, container: &str, prefix: &str) -> Store {
    let _ = rustls::crypto::ring::default_provider().install_default();
    assert_eq!(
        std::env::var("AZURITE_BLOB_STORAGE_URL").as_deref(),
        Ok(endpoint),
        "object_store looks there for the emulator"
    );
    let azure = MicrosoftAzureBuilder::new()
        .with_use_emulator(true)
        .with_container_name(container)
        .build()
        .unwrap();
    Arc::new(PrefixStore::new(azure, prefix))
}
