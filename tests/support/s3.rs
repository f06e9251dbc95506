//! The S3 server of the tests. `./test.sh` starts one and names it in `ICEPACK_TEST_S3`.

use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, StalledStreamProtectionConfig};
use object_store::aws::AmazonS3Builder;
use object_store::prefix::PrefixStore;

use super::Store;

/// What the servers of the tests let in; LocalStack lets in everybody.
const KEY: &str = "test";
const SECRET: &str = "testtest";

/// What the environment of a job that uses the server looks like.
pub fn environment(endpoint: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL", endpoint.to_owned()),
        ("AWS_ACCESS_KEY_ID", KEY.into()),
        ("AWS_SECRET_ACCESS_KEY", SECRET.into()),
        ("AWS_REGION", "us-east-1".into()),
        ("AWS_EC2_METADATA_DISABLED", "true".into()),
    ]
}

/// The server, or none where the caller asked to leave such tests out. A test never passes because
/// the server is missing by accident.
pub fn endpoint() -> Option<String> {
    if let Ok(endpoint) = std::env::var("ICEPACK_TEST_S3") {
        return Some(endpoint);
    }
    assert_eq!(
        std::env::var("ICEPACK_SKIP_S3").as_deref(),
        Ok("1"),
        "no S3 server: run ./test.sh, which starts one, or set ICEPACK_SKIP_S3=1 to leave these \
         tests out"
    );
    eprintln!("SKIPPED: ICEPACK_SKIP_S3=1");
    None
}

/// A client for what object_store cannot do: buckets.
pub fn client(endpoint: &str) -> Client {
    Client::from_conf(config(endpoint).build())
}

/// A client as the job makes it: it tries nothing twice.
pub fn client_without_retries(endpoint: &str) -> Client {
    Client::from_conf(
        config(endpoint)
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build(),
    )
}

fn config(endpoint: &str) -> aws_sdk_s3::config::Builder {
    let http = aws_smithy_http_client::Builder::new().build_http();
    aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(KEY, SECRET, None, None, "test"))
        .force_path_style(true)
}

/// Makes an empty bucket of a name nobody has used.
pub async fn bucket(endpoint: &str, name: &str) -> String {
    let name = format!(
        "{name}-{}",
        ulid::Ulid::generate().to_string().to_lowercase()
    );
    client(endpoint)
        .create_bucket()
        .bucket(&name)
        .send()
        .await
        .unwrap();
    name
}

/// The bucket as a store, below `prefix`.
pub fn store(endpoint: &str, bucket: &str, prefix: &str) -> Store {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let s3 = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_bucket_name(bucket)
        .with_region("us-east-1")
        .with_access_key_id(KEY)
        .with_secret_access_key(SECRET)
        .build()
        .unwrap();
    Arc::new(PrefixStore::new(s3, prefix))
}
