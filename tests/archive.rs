//! The cold tier on a real S3 server: classes, checksums, faults, locks, keys, copies, and everything back again.

#![allow(clippy::disallowed_methods, reason = "tests make worlds of the real time")]

mod support;

#[path = "archive/faults.rs"]
mod faults;
#[path = "archive/objects.rs"]
mod objects;
#[path = "archive/restore.rs"]
mod restore;
#[path = "archive/year.rs"]
mod year;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use futures::{StreamExt, stream};
use icepack::model::file::Micros;
use icepack::model::manifest::Receipt;
use icepack::model::names::{FileId, Tenant};
use icepack::stage::archive::s3::bucket::Bucket;
use icepack::stage::archive::s3::{S3Archive, S3ArchiveOptions};
use icepack::stage::archive::{ArchiveRequest, ArchiveTarget, BatchStream};
use icepack::stage::retry::RetryPolicy;
use support::s3;

/// 2023-11-14T22:13:20Z
const START: i64 = 1_700_000_000_000_000;

/// Rows a second apart; their payload cannot be compressed, so that sizes are what they seem.
pub fn rows(from: i64, count: i64, payload: usize) -> RecordBatch {
    let mut rng = fastrand::Rng::with_seed(from.cast_unsigned());
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let schema =
        Schema::new(vec![Field::new("event_id", DataType::Int64, false), Field::new("timestamp", time, false), Field::new("payload", DataType::Utf8, false)]);
    let texts: Vec<String> = (0..count).map(|_| (0..payload).map(|_| rng.alphanumeric()).collect()).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(from..from + count)),
        Arc::new(TimestampMicrosecondArray::from_iter_values((from..from + count).map(|i| START + i * 1_000_000))),
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
    ArchiveRequest {
        tenant: acme(),
        run_id: id,
        id,
        from: Micros(START),
        to: Micros(START + 1_000_000_000_000),
        timestamp_column: "timestamp".into(),
        sources: vec!["acme/x.parquet".into()],
        budget: 64 << 20,
        requests: Arc::default(),
    }
}

pub fn quick() -> RetryPolicy {
    RetryPolicy { initial: Duration::from_millis(5), factor: 2.0, max_interval: Duration::from_millis(100), max_elapsed: Duration::from_secs(60) }
}

pub fn options() -> S3ArchiveOptions {
    S3ArchiveOptions { tagging: true, retry: quick(), ..S3ArchiveOptions::default() }
}

/// An archive in `bucket` below `cold`, through `endpoint`; what reads rows back goes to `server` itself.
pub fn archive(endpoint: &str, server: &str, bucket: &str, options: S3ArchiveOptions) -> S3Archive {
    let reader = s3::store(server, bucket, "cold");
    let bucket = Bucket { client: s3::client_without_retries(endpoint), name: bucket.to_owned(), prefix: "cold".into(), retry: options.retry };
    S3Archive::new(bucket, reader, "s3://cold", options)
}

/// Archives `batches` and files the receipt.
pub async fn store(target: &S3Archive, batches: Vec<RecordBatch>) -> icepack::Result<Receipt> {
    let receipt = target.archive(request(), feed(batches)).await?;
    target.file_receipt(&receipt).await?;
    Ok(receipt)
}
