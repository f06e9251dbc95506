//! The job against a real S3 server: conditional creates, whole passes, an archive in another
//! bucket, concurrent runs.

use crate::support;

use std::sync::Arc;

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use chrono::{TimeDelta, Utc};
use futures::{StreamExt, stream};
use icepack::clock::{Clock, SystemClock};
use icepack::inspect::doctor::Doctor;
use icepack::protocol::preflight::preflight;
use icepack_core::model::inspect::Health;
use icepack_core::model::names::FileId;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use support::{archived, job, live, put, put_events, s3, series, servers, sorted, tenant_keys};

#[tokio::test]
async fn a_second_conditional_create_is_refused_and_one_racer_wins() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let store = s3::store(&endpoint, &s3::bucket(&endpoint, "create").await, "root");
    preflight(&store, SystemClock::default().mint(FileId::NIL))
        .await
        .unwrap();
    let key = Path::from("raced");
    let puts = stream::iter(0..20).map(|i| {
        let (store, key) = (Arc::clone(&store), key.clone());
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        async move {
            store
                .put_opts(&key, PutPayload::from(format!("{i}")), options)
                .await
                .is_ok()
        }
    });
    let won: Vec<bool> = puts.buffer_unordered(20).collect().await;
    assert_eq!(won.iter().filter(|w| **w).count(), 1);
}

#[tokio::test]
async fn doctor_finds_the_server_fit() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let store = s3::store(&endpoint, &s3::bucket(&endpoint, "doctor").await, "root");
    let doctor = Doctor {
        store: Arc::clone(&store),
        target: "store",
        storage_class: Some("GLACIER".into()),
        clock: Arc::new(SystemClock::default()),
    };
    for check in [doctor.examine_store().await, doctor.examine_archive().await].concat() {
        assert_eq!(
            check.health,
            Health::Good,
            "{}: {}",
            check.name,
            check.detail
        );
    }
    assert_eq!(
        support::keys(&store).await,
        Vec::<String>::new(),
        "no probe is left"
    );
}

#[tokio::test]
async fn a_pass_with_an_archive_in_another_bucket() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let (hot, cold) = (
        s3::bucket(&endpoint, "hot").await,
        s3::bucket(&endpoint, "cold").await,
    );
    let (store, archive) = (
        s3::store(&endpoint, &hot, "events"),
        s3::store(&endpoint, &cold, "frozen"),
    );
    let now = Utc::now();
    let events = series(0, 120, now - TimeDelta::minutes(1), TimeDelta::hours(12));
    for (i, part) in events.chunks(20).enumerate() {
        put_events(&store, &format!("acme/2026-01/events-{i}.parquet"), part).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("icepack.toml");
    let toml = format!(
        "store = \"s3://{hot}/events\"\n[retention.tenants]\nacme = \"30d\"\n[archive]\nurl = \
         \"s3://{cold}/frozen\"\nstorage_class = \"GLACIER_IR\"\n[sweep]\norphan_grace = \"0s\"\n"
    );
    std::fs::write(&config, toml).unwrap();
    let config = config.to_str().unwrap();
    let envs = s3::environment(&endpoint);

    let plan = job::json(&envs, 0, ["--config", config, "--json", "plan"]);
    assert_eq!(
        plan["plans"][0]["groups"][0]["inputs"]
            .as_array()
            .unwrap()
            .len(),
        6,
        "{plan}"
    );
    let report = job::json(&envs, 0, ["--config", config, "--json", "run"]);
    let acme = &report["tenants"][0];
    let ledger = &acme["ledger"];
    assert_eq!(
        (
            ledger["rows_in"].as_u64(),
            ledger["rows_kept"].as_u64(),
            ledger["rows_archived"].as_u64()
        ),
        (Some(120), Some(60), Some(60)),
        "{report}"
    );
    assert_eq!(
        acme["requests"]["head"].as_u64().map(|n| n <= 2),
        Some(true),
        "no HEAD of inputs: {acme}"
    );

    let cutoff = (now - TimeDelta::days(30)).timestamp_micros();
    let (old, new): (Vec<_>, Vec<_>) = events.into_iter().partition(|e| e.at < cutoff);
    assert_eq!(live(&store, "acme").await, sorted(new));
    assert_eq!(archived(&archive, "acme").await, sorted(old));
    assert_eq!(
        tenant_keys(&store, "acme").await.len(),
        1,
        "one snapshot, no original"
    );

    let object = tenant_keys(&archive, "acme")
        .await
        .into_iter()
        .find(|k| k.ends_with(".parquet"))
        .unwrap();
    let head = s3::client(&endpoint)
        .head_object()
        .bucket(&cold)
        .key(format!("frozen/{object}"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        head.storage_class().map(|c| c.as_str().to_owned()),
        Some("GLACIER_IR".into())
    );
    let receipt = object.replace(".parquet", ".receipt.json");
    let head = s3::client(&endpoint)
        .head_object()
        .bucket(&cold)
        .key(format!("frozen/{receipt}"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        head.storage_class()
            .map(|c| c.as_str().to_owned())
            .unwrap_or("STANDARD".into()),
        "STANDARD",
        "receipts stay readable"
    );

    let verified = job::json(&envs, 0, ["--config", config, "--json", "verify", "--deep"]);
    assert_eq!(
        (
            verified["rows_read"].as_u64(),
            verified["findings"].as_array().map(Vec::len)
        ),
        (Some(120), Some(0)),
        "{verified}"
    );
    let again = job::json(&envs, 0, ["--config", config, "--json", "run", "--report"]);
    assert_eq!(again["totals"]["files_compacted"].as_u64(), Some(0));
    let page = s3::client(&endpoint)
        .head_object()
        .bucket(&hot)
        .key("events/_icepack/report.html")
        .send()
        .await
        .unwrap();
    assert_eq!(
        page.content_type(),
        Some("text/html; charset=utf-8"),
        "a browser shows it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_concurrent_passes_lose_and_double_nothing() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "eight").await;
    let store = s3::store(&endpoint, &bucket, "events");
    let events = series(
        0,
        600,
        Utc::now() - TimeDelta::minutes(1),
        TimeDelta::minutes(10),
    );
    for (i, part) in events.chunks(20).enumerate() {
        put_events(&store, &format!("acme/2026-01/events-{i:03}.parquet"), part).await;
    }
    let (envs, url) = (s3::environment(&endpoint), format!("s3://{bucket}/events"));
    let all = || {
        let passes: Vec<_> = (0..8)
            .map(|_| {
                job::icepack(&envs)
                    .args(["--store", &url, "--json", "run"])
                    .stdout(std::process::Stdio::piped())
                    .stderr(std::process::Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        passes
            .into_iter()
            .map(|p| p.wait_with_output().unwrap())
            .collect::<Vec<_>>()
    };
    let outputs = tokio::task::spawn_blocking({
        let outputs = all();
        move || outputs
    })
    .await
    .unwrap();
    let codes: Vec<_> = outputs.iter().map(|o| o.status.code().unwrap()).collect();
    let stderr: Vec<_> = outputs.iter().map(|o| job::text(&o.stderr)).collect();
    assert!(
        codes.iter().all(|c| [0, 4].contains(c)),
        "done, or lost to another: {codes:?} {stderr:?}"
    );
    assert!(codes.contains(&0), "somebody wins: {codes:?} {stderr:?}");
    assert_eq!(
        live(&store, "acme").await,
        sorted(events.clone()),
        "{codes:?}"
    );

    // Once the losers' outputs are older than the grace, by the server's clock, a pass leaves
    // nothing but what is live.
    let envs = [envs, vec![("ICEPACK_SWEEP_ORPHAN_GRACE", "0s".into())]].concat();
    for _ in 0..50 {
        job::expect(&envs, 0, ["--store", &url, "run"]);
        if tenant_keys(&store, "acme").await.len() == 1 {
            break;
        }
    }
    assert_eq!(tenant_keys(&store, "acme").await.len(), 1);
    assert_eq!(live(&store, "acme").await, sorted(events));
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_that_need_nothing_share_their_listings() {
    // In another order with a `/` behind them than without. SeaweedFS lists a folder's folders in
    // the order of their names, which is no order of keys where such names are.
    let (odd, plain): (&[&str], &[&str]) = (&["t07-b", "t07.b", "t070", "Z"], &["t070", "Z"]);
    let seaweedfs = servers::seaweedfs();
    for (endpoint, more, shared) in [
        (s3::endpoint(), odd, true),
        (servers::ceph(), odd, true),
        (seaweedfs.clone(), plain, true),
        (seaweedfs, odd, false),
    ] {
        let Some(endpoint) = endpoint else { continue };
        let bucket = s3::bucket(&endpoint, "many").await;
        let store = s3::store(&endpoint, &bucket, "events");
        let tenants: Vec<String> = (0..30)
            .map(|i| format!("t{i:02}"))
            .chain(more.iter().map(|&t| t.to_owned()))
            .collect();
        for name in &tenants {
            for i in 0..3 {
                put_events(
                    &store,
                    &format!("{name}/{i}.parquet"),
                    &series(
                        i * 2,
                        2,
                        Utc::now() - TimeDelta::minutes(1),
                        TimeDelta::seconds(1),
                    ),
                )
                .await;
            }
        }
        put(&store, "_other/x.txt", "x").await;
        let (url, envs) = (format!("s3://{bucket}/events"), s3::environment(&endpoint));
        let pass = || job::json(&envs, 0, ["--store", &url, "--json", "run"]);
        assert_eq!(
            pass()["totals"]["files_written"].as_u64(),
            Some(tenants.len() as u64)
        );

        put_events(
            &store,
            "t07/late.parquet",
            &series(10, 2, Utc::now(), TimeDelta::seconds(1)),
        )
        .await;
        let report = pass();
        let all = report["tenants"].as_array().unwrap();
        assert_eq!(
            (all.len(), report["found"]["raw_files"].as_u64()),
            (tenants.len(), Some(1))
        );
        let looked_at = all
            .iter()
            .filter(|t| t["requests"]["list"].as_u64() > Some(0))
            .count();
        // One in sixteen, or all of them.
        assert!(
            if shared {
                looked_at < 12
            } else {
                looked_at == tenants.len()
            },
            "{looked_at} of {} tenants were looked at on {endpoint}",
            tenants.len()
        );
        assert!(
            all.iter().all(|t| t["requests"]["get"].as_u64() == Some(1)),
            "one GET of each head: {report}"
        );

        for i in 0..2 {
            put_events(
                &store,
                &format!("t07/later-{i}.parquet"),
                &series(20 + i * 2, 2, Utc::now(), TimeDelta::seconds(1)),
            )
            .await;
        }
        let report = pass();
        assert_eq!(
            report["totals"]["files_compacted"].as_u64(),
            Some(3),
            "{report}"
        );
        assert_eq!(live(&store, "t07").await.len(), 12);
    }
}

#[tokio::test]
async fn a_missing_bucket_and_a_refused_connection_say_what_to_do() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let cases = [
        (
            s3::environment(&endpoint),
            "s3://no-such-bucket-here/x",
            "create the bucket",
        ),
        (
            s3::environment("http://127.0.0.1:9"),
            "s3://any/x",
            "check AWS_ENDPOINT_URL",
        ),
    ];
    for (envs, url, hint) in cases {
        let out = job::run(&envs, ["--store", url, "status"]);
        let stderr = job::text(&out.stderr);
        let lines: Vec<_> = stderr
            .lines()
            .filter(|l| l.starts_with("icepack: "))
            .collect();
        assert_eq!((out.status.code(), lines.len()), (Some(1), 1), "{stderr}");
        assert!(lines[0].contains(hint), "{stderr}");
    }
}

/// Originals that wait to be deleted are rewritten by the store, in parts: the bytes are the same,
/// the ETags are not. As a change of the storage class or of the encryption of large objects does,
/// and every migration tool.
#[tokio::test]
async fn originals_that_are_copied_onto_themselves_while_they_wait_double_no_row() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "recopied").await;
    let store = s3::store(&endpoint, &bucket, "events");
    let events = series(
        0,
        60,
        Utc::now() - TimeDelta::minutes(1),
        TimeDelta::seconds(10),
    );
    for (i, part) in events.chunks(20).enumerate() {
        put_events(&store, &format!("acme/events-{i}.parquet"), part).await;
    }
    let url = format!("s3://{bucket}/events");
    let pass = |delay: &str| {
        let envs = [
            s3::environment(&endpoint),
            vec![("ICEPACK_SWEEP_DELETE_DELAY", delay.to_owned())],
        ]
        .concat();
        job::json(&envs, 0, ["--store", &url, "--json", "run"])
    };
    pass("7d");
    let originals: Vec<String> = tenant_keys(&store, "acme")
        .await
        .into_iter()
        .filter(|k| !k.contains("/snapshot."))
        .collect();
    assert_eq!(originals.len(), 3);
    for key in &originals {
        let before = store.head(&Path::from(key.as_str())).await.unwrap();
        copy_in_parts(&endpoint, &bucket, &format!("events/{key}")).await;
        let after = store.head(&Path::from(key.as_str())).await.unwrap();
        assert_ne!(
            before.e_tag, after.e_tag,
            "the copy has the tag of an upload in parts"
        );
    }
    for delay in ["7d", "7d", "0s"] {
        assert_eq!(
            pass(delay)["totals"]["ledger"]["rows_in"],
            0,
            "nothing is taken in again"
        );
        assert_eq!(live(&store, "acme").await, sorted(events.clone()));
    }
    assert_eq!(
        tenant_keys(&store, "acme").await.len(),
        1,
        "the originals are gone"
    );
    assert_eq!(pass("0s")["totals"]["status"], "idle");
}

async fn copy_in_parts(endpoint: &str, bucket: &str, key: &str) {
    let client = s3::client(endpoint);
    let upload = client
        .create_multipart_upload()
        .bucket(bucket)
        .key(key)
        .send()
        .await
        .unwrap();
    let id = upload.upload_id().unwrap();
    let part = client
        .upload_part_copy()
        .bucket(bucket)
        .key(key)
        .upload_id(id)
        .part_number(1)
        .copy_source(format!("{bucket}/{key}"))
        .send()
        .await
        .unwrap();
    let tag = part.copy_part_result().unwrap().e_tag().unwrap();
    let parts = CompletedMultipartUpload::builder()
        .parts(CompletedPart::builder().part_number(1).e_tag(tag).build())
        .build();
    client
        .complete_multipart_upload()
        .bucket(bucket)
        .key(key)
        .upload_id(id)
        .multipart_upload(parts)
        .send()
        .await
        .unwrap();
}
