//! What an object is stored with, and what proves it.

use std::sync::Arc;

use aws_sdk_s3::types::{ChecksumMode, ObjectLockMode};
use chrono::{TimeDelta, Utc};
use icepack::archive::s3::CopySizes;
use icepack::archive::{
    ArchiveBackend, ArchiveOptions, ArchiveTarget, CopyRequest, Encryption, LockFor, Verify,
};
use icepack_core::model::file::{Micros, Snapshot};
use icepack_core::model::manifest::{ChecksumAlgorithm, ChecksumKind, Verified};
use icepack_core::model::names::{self, FileId, Place};
use icepack_core::model::report::Status;
use icepack_core::model::restore::{ColdState, Tier};
use icepack_parquet::read_stats;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::support::{job, s3, servers};
use super::{acme, archive, backend, copying_archive, feed, options, request, rows, store};

fn of_class(class: &str) -> ArchiveOptions {
    ArchiveOptions {
        storage_class: Some(class.into()),
        ..options()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_class_is_stored_verified_and_receipted() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "classes").await;
    let client = s3::client(&endpoint);
    for class in [
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER_IR",
        "GLACIER",
        "DEEP_ARCHIVE",
    ] {
        let target = archive(&endpoint, &endpoint, &bucket, of_class(class));
        let receipt = store(&target, vec![rows(0, 500, 40), rows(500, 500, 40)])
            .await
            .unwrap();
        assert_eq!(
            (
                receipt.stats.rows,
                receipt.storage_class.as_deref(),
                receipt.verified
            ),
            (1000, Some(class), Some(Verified::Checksum))
        );
        let checksum = receipt.checksum.clone().unwrap();
        assert_eq!(
            (checksum.algorithm, checksum.kind),
            (ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject)
        );

        let full = format!("cold/{}", receipt.key);
        let head = client
            .head_object()
            .bucket(&bucket)
            .key(&full)
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await
            .unwrap();
        assert_eq!(head.storage_class().map(|c| c.as_str()), Some(class));
        assert_eq!(
            head.checksum_crc64_nvme(),
            Some(checksum.value.as_str()),
            "the server computed the same"
        );
        let tags = client
            .get_object_tagging()
            .bucket(&bucket)
            .key(&full)
            .send()
            .await
            .unwrap();
        let mut names: Vec<_> = tags.tag_set().iter().map(|t| t.key().to_owned()).collect();
        names.sort();
        assert_eq!(names, ["from", "run", "tenant", "to"]);
        let head = client
            .head_object()
            .bucket(&bucket)
            .key(format!("cold/{}", receipt.receipt_key()))
            .send()
            .await
            .unwrap();
        assert_eq!(
            head.storage_class(),
            None,
            "a receipt is STANDARD: it must be found without a thaw"
        );
        // Filing it again is no error, and another one under its name is.
        target.file_receipt(&receipt).await.unwrap();
        let mut other = receipt;
        other.size = 1;
        assert!(
            target
                .file_receipt(&other)
                .await
                .unwrap_err()
                .to_string()
                .contains("with other contents")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_frozen_says_so_and_is_read_once_it_is_thawed() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "frozen").await;
    for class in ["GLACIER", "DEEP_ARCHIVE"] {
        let target = archive(&endpoint, &endpoint, &bucket, of_class(class));
        let receipt = store(&target, vec![rows(0, 100, 10)]).await.unwrap();
        let reader = s3::store(&endpoint, &bucket, "cold");
        let early = read_stats(
            reader.clone(),
            receipt.key.clone(),
            receipt.size,
            "timestamp",
        )
        .await
        .unwrap_err()
        .to_string();
        assert!(
            early.contains("InvalidObjectState")
                && early.contains("archive class")
                && early.contains("must be restored"),
            "{early}"
        );

        let (cold, requests) = (
            backend(&endpoint, &endpoint, &bucket, &options()),
            Arc::default(),
        );
        let now = chrono::Utc::now();
        let look = async |key: &str| cold.head(key, &requests).await.unwrap();
        let seen = look(&receipt.key).await.unwrap();
        assert_eq!(
            (seen.state(now), seen.class.as_deref()),
            (ColdState::Frozen, Some(class))
        );
        cold.thaw(&receipt.key, Tier::Standard, 3).await.unwrap();
        cold.thaw(&receipt.key, Tier::Standard, 3).await.unwrap();
        let thawed = look(&receipt.key).await.unwrap();
        let ColdState::Readable { until: Some(until) } = thawed.state(now) else {
            panic!("this server thaws at once")
        };
        assert!(until > now + chrono::TimeDelta::days(2));
        assert_eq!(
            thawed.state(until),
            ColdState::Frozen,
            "a thaw that is over is none"
        );
        assert_eq!(
            read_stats(reader, receipt.key.clone(), receipt.size, "timestamp")
                .await
                .unwrap(),
            receipt.stats
        );
        assert_eq!(look("acme/no-such.parquet").await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sha256_of_one_part_and_of_many() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "sha").await;
    let target = archive(
        &endpoint,
        &endpoint,
        &bucket,
        ArchiveOptions {
            checksum: ChecksumAlgorithm::Sha256,
            ..options()
        },
    );
    let one = store(&target, vec![rows(0, 100, 10)])
        .await
        .unwrap()
        .checksum
        .unwrap();
    assert_eq!(
        (one.algorithm, one.kind),
        (ChecksumAlgorithm::Sha256, ChecksumKind::FullObject)
    );
    let many = store(
        &target,
        (0..10).map(|i| rows(i * 1_000, 1_000, 2_500)).collect(),
    )
    .await
    .unwrap();
    let checksum = many.checksum.unwrap();
    assert_eq!(
        (checksum.kind, many.verified),
        (ChecksumKind::Composite, Some(Verified::Checksum)),
        "S3 has no SHA-256 of an object of parts but one of their sums"
    );
    assert!(
        checksum.value.contains('-') && many.size > 16 << 20,
        "{checksum:?} {}",
        many.size
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn readback_reads_every_row_where_it_is_asked_for() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "readback").await;
    let target = archive(
        &endpoint,
        &endpoint,
        &bucket,
        ArchiveOptions {
            verify: Verify::Readback,
            storage_class: Some("GLACIER_IR".into()),
            ..options()
        },
    );
    let asked = request();
    let requests = asked.requests.clone();
    let receipt = target
        .archive(asked, feed(vec![rows(0, 1_000, 40)]))
        .await
        .unwrap();
    assert_eq!(receipt.verified, Some(Verified::Readback));
    assert!(requests.read().get >= 1, "{:?}", requests.read());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_shows_no_checksums_is_read_back_by_itself() {
    let Some(endpoint) = servers::juicefs() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "nochecksum").await;
    let target = archive(
        &endpoint,
        &endpoint,
        &bucket,
        ArchiveOptions {
            tagging: false,
            ..options()
        },
    );
    let receipt = target
        .archive(request(), feed(vec![rows(0, 1_000, 40)]))
        .await
        .unwrap();
    assert_eq!(
        (receipt.verified, receipt.checksum),
        (Some(Verified::Readback), None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ignores_classes_is_told_from_one_that_has_them() {
    let Some(endpoint) = servers::juicefs() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "noclass").await;
    let target = archive(
        &endpoint,
        &endpoint,
        &bucket,
        ArchiveOptions {
            tagging: false,
            ..of_class("DEEP_ARCHIVE")
        },
    );
    let error = target
        .archive(request(), feed(vec![rows(0, 10, 10)]))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("storage_class") && error.contains("the originals are untouched"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_object_cannot_be_deleted() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let client = s3::client(&endpoint);
    let bucket = format!(
        "locked-{}",
        ulid::Ulid::generate().to_string().to_lowercase()
    );
    client
        .create_bucket()
        .bucket(&bucket)
        .object_lock_enabled_for_bucket(true)
        .send()
        .await
        .unwrap();
    let lock = LockFor {
        mode: "COMPLIANCE".into(),
        days: 2,
    };
    let target = archive(
        &endpoint,
        &endpoint,
        &bucket,
        ArchiveOptions {
            lock: Some(lock),
            ..options()
        },
    );
    let receipt = store(&target, vec![rows(0, 100, 10)]).await.unwrap();
    for key in [receipt.key.clone(), receipt.receipt_key()] {
        let full = format!("cold/{key}");
        let head = client
            .head_object()
            .bucket(&bucket)
            .key(&full)
            .send()
            .await
            .unwrap();
        assert_eq!(
            head.object_lock_mode(),
            Some(&ObjectLockMode::Compliance),
            "{key}"
        );
        let version = head.version_id().unwrap();
        let refused = client
            .delete_object()
            .bucket(&bucket)
            .key(&full)
            .version_id(version)
            .bypass_governance_retention(true)
            .send()
            .await;
        assert!(
            format!("{:?}", refused.unwrap_err()).contains("AccessDenied"),
            "{key}"
        );
        client
            .head_object()
            .bucket(&bucket)
            .key(&full)
            .version_id(version)
            .send()
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn encryption_with_a_key_of_kms_and_with_s3s_own() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "kms").await;
    let make = format!(
        "import boto3; print(boto3.client('kms', endpoint_url='{endpoint}', \
         region_name='us-east-1').create_key()['KeyMetadata']['Arn'])"
    );
    let made = job::python()
        .args(["-c", &make])
        .envs(s3::environment(&endpoint))
        .output()
        .unwrap();
    let key = job::text(&made.stdout).trim().to_owned();
    assert!(
        key.starts_with("arn:aws:kms:"),
        "no KMS at this server: {}",
        job::text(&made.stderr)
    );
    let client = s3::client(&endpoint);
    let large = || {
        (0..10)
            .map(|i| rows(i * 1_000, 1_000, 2_500))
            .collect::<Vec<_>>()
    };
    for (encryption, algorithm) in [
        (Encryption::Kms(Some(key.clone())), "aws:kms"),
        (Encryption::S3, "AES256"),
    ] {
        let target = archive(
            &endpoint,
            &endpoint,
            &bucket,
            ArchiveOptions {
                encryption,
                ..options()
            },
        );
        for batches in [vec![rows(0, 100, 10)], large()] {
            let receipt = store(&target, batches).await.unwrap();
            assert_eq!(receipt.verified, Some(Verified::Checksum));
            for key in [receipt.key.clone(), receipt.receipt_key()] {
                let head = client
                    .head_object()
                    .bucket(&bucket)
                    .key(format!("cold/{key}"))
                    .send()
                    .await
                    .unwrap();
                assert_eq!(
                    head.server_side_encryption().map(|e| e.as_str()),
                    Some(algorithm),
                    "{key}"
                );
            }
        }
    }
}

/// Puts a snapshot of three parts into `bucket` below `hot`, as a pass would have.
async fn hot_snapshot(
    endpoint: &str,
    bucket: &str,
    batches: &[arrow::array::RecordBatch],
) -> Snapshot {
    let store = s3::store(endpoint, bucket, "hot");
    let mut body = Vec::new();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(&mut body, batches[0].schema(), None).unwrap();
    batches.iter().for_each(|b| writer.write(b).unwrap());
    writer.close().unwrap();
    let (id, size) = (FileId(ulid::Ulid::generate()), body.len() as u64);
    let key = names::snapshot_key(
        &Place::Month(acme()),
        &acme(),
        Micros(super::START),
        Micros(super::START),
        id,
    );
    let etag = store
        .put(&Path::from(key.as_str()), body.into())
        .await
        .unwrap()
        .e_tag;
    let stats = read_stats(store, key.clone(), size, "timestamp")
        .await
        .unwrap();
    Snapshot {
        key,
        id,
        size,
        etag,
        schema: None,
        dated_by: Some("timestamp".into()),
        stats,
    }
}

fn copy_of(snapshot: &Snapshot) -> CopyRequest {
    CopyRequest::new(acme(), FileId(ulid::Ulid::generate()), snapshot.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_copied_once_in_one_request_or_in_parts_and_found_again() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "copies").await;
    let batches: Vec<_> = (0..6).map(|i| rows(i * 1_000, 1_000, 2_500)).collect();
    for (single, copies) in [(CopySizes::default().single, 1), (1 << 20, 3)] {
        let snapshot = hot_snapshot(&endpoint, &bucket, &batches).await;
        assert!(
            snapshot.size > 10 << 20 && snapshot.size < 15 << 20,
            "three parts of 5 MiB: {}",
            snapshot.size
        );
        let copy = CopySizes {
            single,
            part: 5 << 20,
        };
        let target = copying_archive(
            &endpoint,
            &bucket,
            ArchiveOptions {
                copy,
                ..of_class("GLACIER_IR")
            },
        );
        let first = copy_of(&snapshot);
        let receipt = target
            .copy(first.clone())
            .await
            .unwrap()
            .expect("this server can copy");
        assert_eq!(
            (first.requests.read().copy, first.requests.read().get),
            (copies, 0),
            "no byte comes here"
        );
        assert_eq!(
            (
                receipt.stats,
                receipt.size,
                receipt.storage_class.as_deref()
            ),
            (snapshot.stats, snapshot.size, Some("GLACIER_IR"))
        );
        assert_eq!(receipt.sources, std::slice::from_ref(&snapshot.key));
        assert!(
            receipt.key.contains(&snapshot.id.to_string()),
            "its own id: {}",
            receipt.key
        );
        let stored = read_stats(
            s3::store(&endpoint, &bucket, "cold"),
            receipt.key.clone(),
            receipt.size,
            "timestamp",
        )
        .await
        .unwrap();
        assert_eq!(stored, snapshot.stats);

        // A run that broke off before its commit: the next one finds the copy, proves it, and makes
        // no other.
        let second = copy_of(&snapshot);
        let again = target.copy(second.clone()).await.unwrap().unwrap();
        assert_eq!(
            (again.key, again.checksum, second.requests.read().copy),
            (receipt.key, receipt.checksum, 0)
        );

        // The bucket was copied, or a version brought back: its rows tell whether it is what the
        // manifest means.
        let changed = Snapshot {
            etag: Some("\"00000000000000000000000000000000\"".into()),
            ..snapshot.clone()
        };
        assert_eq!(target.copy(copy_of(&changed)).await.unwrap(), None);
        let gone = Snapshot {
            key: snapshot.key.replace("snapshot.", "nowhere."),
            ..snapshot
        };
        assert!(matches!(
            target.copy(copy_of(&gone)).await,
            Err(icepack::Error::Read(icepack_parquet::Error::Gone(_)))
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_a_bucket_that_was_copied_expire_by_their_rows() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "othertags").await;
    let store = s3::store(&endpoint, &bucket, "hot");
    let events = super::support::series(
        0,
        60,
        Utc::now() - TimeDelta::days(40),
        TimeDelta::minutes(1),
    );
    for (i, part) in events.chunks(20).enumerate() {
        super::support::put_events(&store, &format!("acme/{i}.parquet"), part).await;
    }
    let pass = async |ttl: Option<std::time::Duration>| {
        let mut config = super::support::eager();
        config.retention.set("acme", ttl);
        config.archive = Some(Arc::new(copying_archive(&endpoint, &bucket, options())));
        icepack::CompactionManager::new(Arc::clone(&store), config)
            .run_pass(&icepack::pass::Selection::all())
            .await
            .unwrap()
    };
    assert_eq!(pass(None).await.totals.counters.files_written, 1);
    let snapshot = super::support::tenant_keys(&store, "acme")
        .await
        .pop()
        .unwrap();
    // The same bytes in parts of their own, as a tool that moves buckets puts them: another tag.
    let bytes = super::support::get(&store, &snapshot).await;
    let mut upload = store
        .put_multipart(&Path::from(snapshot.as_str()))
        .await
        .unwrap();
    upload.put_part(bytes.into()).await.unwrap();
    upload.complete().await.unwrap();

    let report = pass(Some(std::time::Duration::from_secs(30 * 86_400))).await;
    let t = &report.totals;
    assert_eq!(
        (
            t.status,
            t.counters.ledger.rows_archived,
            t.counters.archived_objects,
            t.counters.copied_objects
        ),
        (Status::Done, 60, 1, 0),
        "{report:?}"
    );
    assert_eq!(
        super::support::archived(&s3::store(&endpoint, &bucket, "cold"), "acme").await,
        super::support::sorted(events)
    );
    assert_eq!(
        super::support::tenant_keys(&store, "acme").await,
        [] as [String; 0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_broke_off_before_its_commit_counts_in_the_class_it_has() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "classes").await;
    for (before, after) in [
        (Some("GLACIER"), Some("STANDARD_IA")),
        (Some("STANDARD_IA"), None),
        (None, Some("GLACIER_IR")),
    ] {
        let snapshot = hot_snapshot(&endpoint, &bucket, &[rows(0, 100, 10)]).await;
        let target = |class: Option<&str>| {
            copying_archive(
                &endpoint,
                &bucket,
                ArchiveOptions {
                    storage_class: class.map(Into::into),
                    ..options()
                },
            )
        };
        let first = target(before)
            .copy(copy_of(&snapshot))
            .await
            .unwrap()
            .unwrap();
        // The setting was changed before the commit: the copy is the same, and says what it is.
        let second = copy_of(&snapshot);
        let again = target(after).copy(second.clone()).await.unwrap().unwrap();
        assert_eq!(
            (
                again.key,
                again.storage_class.as_deref(),
                second.requests.read().copy
            ),
            (first.key, before, 0)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_under_the_name_of_a_copy_and_is_none_keeps_nothing_from_the_archive() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "notacopy").await;
    let target = copying_archive(&endpoint, &bucket, options());
    let snapshot = hot_snapshot(&endpoint, &bucket, &[rows(0, 100, 10)]).await;
    let made = target.copy(copy_of(&snapshot)).await.unwrap().unwrap();
    // The snapshot was damaged when it was copied, and has been mended since.
    let cold = s3::store(&endpoint, &bucket, "cold");
    super::support::put(
        &cold,
        &made.key,
        vec![0; usize::try_from(made.size).unwrap()],
    )
    .await;
    assert_eq!(
        target.copy(copy_of(&snapshot)).await.unwrap(),
        None,
        "its rows go to an object of another name"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_copied_or_proved_is_archived_by_its_rows() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "nocopies").await;
    let snapshot = hot_snapshot(&endpoint, &bucket, &[rows(0, 100, 10)]).await;
    let elsewhere = archive(&endpoint, &endpoint, &bucket, options());
    assert_eq!(
        elsewhere.copy(copy_of(&snapshot)).await.unwrap(),
        None,
        "another server, or other credentials"
    );
    let asked = copying_archive(
        &endpoint,
        &bucket,
        ArchiveOptions {
            verify: Verify::Readback,
            ..options()
        },
    );
    assert_eq!(
        asked.copy(copy_of(&snapshot)).await.unwrap(),
        None,
        "who wants every row read back gets that"
    );
    assert_eq!(
        super::support::tenant_keys(&s3::store(&endpoint, &bucket, "cold"), "acme").await,
        [] as [String; 0]
    );
}
