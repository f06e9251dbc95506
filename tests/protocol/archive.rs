//! The cold tier on a real S3 server: classes, checksums, faults, locks, keys, copies, and
//! everything back again.

use crate::support;

mod faults;
mod objects;
mod once;
pub mod restore;
mod year;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use futures::{StreamExt, stream};
use icepack::archive::s3::S3Backend;
use icepack::archive::s3::bucket::Bucket;
use icepack::archive::{Archive, ArchiveOptions, ArchiveRequest, ArchiveTarget, BatchStream};
use icepack::store::retry::RetryPolicy;
use icepack_core::model::file::Micros;
use icepack_core::model::manifest::Receipt;
use icepack_core::model::names::{FileId, Tenant};
use support::s3;

/// 2023-11-14T22:13:20Z
const START: i64 = 1_700_000_000_000_000;

/// Rows a second apart; their payload cannot be compressed, so that sizes are what they seem.
pub fn rows(from: i64, count: i64, payload: usize) -> RecordBatch {
    let mut rng = fastrand::Rng::with_seed(from.cast_unsigned());
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let schema = Schema::new(vec![
        Field::new("event_id", DataType::Int64, false),
        Field::new("timestamp", time, false),
        Field::new("payload", DataType::Utf8, false),
    ]);
    let texts: Vec<String> = (0..count)
        .map(|_| (0..payload).map(|_| rng.alphanumeric()).collect())
        .collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(from..from + count)),
        Arc::new(TimestampMicrosecondArray::from_iter_values(
            (from..from + count).map(|i| START + i * 1_000_000),
        )),
        Arc::new(StringArray::from(texts)),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

pub fn feed(batches: Vec<RecordBatch>) -> BatchStream {
    stream::iter(batches.into_iter().map(Ok)).boxed()
}

pub fn acme() -> Tenant {
    Tenant::parse("acme").unwrap()
}

pub fn request() -> ArchiveRequest {
    let id = FileId(ulid::Ulid::generate());
    let mut request =
        ArchiveRequest::new(acme(), id, Micros(START), Micros(START + 1_000_000_000_000));
    request.sources = vec!["acme/x.parquet".into()];
    request
}

pub fn quick() -> RetryPolicy {
    RetryPolicy {
        initial: Duration::from_millis(5),
        factor: 2.0,
        max_interval: Duration::from_millis(100),
        max_elapsed: Duration::from_secs(60),
    }
}

pub fn options() -> ArchiveOptions {
    ArchiveOptions {
        tagging: true,
        retry: quick(),
        ..ArchiveOptions::default()
    }
}

/// An archive in `bucket` below `cold`, through `endpoint`; what reads rows back goes to `server`
/// itself.
pub fn archive(endpoint: &str, server: &str, bucket: &str, options: ArchiveOptions) -> Archive {
    let backend = backend(endpoint, server, bucket, &options);
    Archive::with_backend(Arc::new(backend), "s3://cold", options)
}

/// The same, which copies from the store in the bucket below `hot`.
pub fn copying_archive(endpoint: &str, bucket: &str, options: ArchiveOptions) -> Archive {
    let backend = backend(endpoint, endpoint, bucket, &options).with_hot(bucket, "hot");
    Archive::with_backend(Arc::new(backend), "s3://cold", options)
}

pub fn backend(endpoint: &str, server: &str, bucket: &str, options: &ArchiveOptions) -> S3Backend {
    let reader = s3::store(server, bucket, "cold");
    let bucket = Bucket {
        client: s3::client_without_retries(endpoint),
        name: bucket.to_owned(),
        prefix: "cold".into(),
        retry: options.retry,
    };
    S3Backend::new(bucket, reader, options)
}

/// Holds a stored receipt against `docs/receipt.schema.json`, as far as that goes: types,
/// constants, choices, required and unknown fields.
pub fn check_receipt(receipt: &serde_json::Value) {
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../../docs/receipt.schema.json")).unwrap();
    let mut wrong = Vec::new();
    check("receipt", receipt, &schema, &mut wrong);
    assert_eq!(wrong, [] as [String; 0], "{receipt}");
}

fn check(at: &str, value: &serde_json::Value, schema: &serde_json::Value, wrong: &mut Vec<String>) {
    let kind = match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "boolean",
        serde_json::Value::Number(_) => "integer",
        serde_json::Value::String(_) => "string",
        serde_json::Value::Array(_) => "array",
        serde_json::Value::Object(_) => "object",
    };
    let types = schema["type"]
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![schema["type"].clone()]);
    if !schema["type"].is_null() && !types.iter().any(|t| t == kind) {
        wrong.push(format!("{at} is {kind}"));
    }
    if !schema["const"].is_null() && schema["const"] != *value
        || schema["enum"]
            .as_array()
            .is_some_and(|all| !all.contains(value))
    {
        wrong.push(format!("{at} is {value}"));
    }
    for item in value.as_array().into_iter().flatten() {
        check(&format!("{at}[]"), item, &schema["items"], wrong);
    }
    let Some(fields) = value.as_object() else {
        return;
    };
    let required = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|r| r.as_str());
    wrong.extend(
        required
            .filter(|r| !fields.contains_key(*r))
            .map(|r| format!("{at} lacks {r}")),
    );
    for (name, field) in fields {
        match &schema["properties"][name] {
            serde_json::Value::Null => wrong.push(format!("{at}.{name} is unknown")),
            schema => check(&format!("{at}.{name}"), field, schema, wrong),
        }
    }
}

#[test]
#[should_panic(expected = "receipt.rows is string")]
fn a_receipt_that_does_not_fit_the_schema_is_noticed() {
    let receipt = serde_json::json!({"format": 1, "tenant": "a", "key": "a", "id": "a", "size": 1, "archive": "a", "rows": "1", "undated": 0, "min": 1, "max": 1,
        "fingerprint": "a", "sources": [], "run_id": "a", "at": "a", "writer": "a"});
    check_receipt(&receipt);
}

/// Archives `batches` and files the receipt.
pub async fn store(target: &Archive, batches: Vec<RecordBatch>) -> icepack::Result<Receipt> {
    let receipt = target.archive(request(), feed(batches)).await?;
    target.file_receipt(&receipt).await?;
    Ok(receipt)
}
