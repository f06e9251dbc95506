//! A year of events: thirty days live, the rest in DEEP_ARCHIVE; then the hot bucket is lost, and
//! everything comes back from the archive alone.

use std::collections::BTreeSet;

use chrono::{TimeDelta, Utc};
use serde_json::Value;

use super::check_receipt;
use super::support::proxy::{Fate, Proxy, Request};
use super::support::{self, Event, job, live, put_events, s3, series, sorted};

const TTL_DAYS: i64 = 30;

async fn run(envs: &[(&'static str, String)], code: i32, args: &[&str]) -> Value {
    let (envs, args): (Vec<_>, Vec<String>) = (
        envs.to_vec(),
        args.iter().map(|a| (*a).to_owned()).collect(),
    );
    tokio::task::spawn_blocking(move || job::json(&envs, code, &args))
        .await
        .unwrap()
}

/// Deletes a bucket with all that is in it, as an accident would.
async fn lose(endpoint: &str, bucket: &str) {
    let client = s3::client(endpoint);
    for key in support::keys(&s3::store(endpoint, bucket, "")).await {
        client
            .delete_object()
            .bucket(bucket)
            .key(key)
            .send()
            .await
            .unwrap();
    }
    client.delete_bucket().bucket(bucket).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_goes_to_the_archive_and_comes_back_row_for_row() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let (hot, cold, new) = (
        s3::bucket(&endpoint, "year-hot").await,
        s3::bucket(&endpoint, "year-cold").await,
        s3::bucket(&endpoint, "year-new").await,
    );
    let store = s3::store(&endpoint, &hot, "events");
    let now = Utc::now();
    let events = series(
        0,
        365 * 48,
        now - TimeDelta::minutes(1),
        TimeDelta::minutes(30),
    );
    for (day, part) in events.chunks(48).enumerate() {
        put_events(&store, &format!("acme/day-{day:03}.parquet"), part).await;
    }

    // Everything a request carries is seen by the proxy.
    let proxy = Proxy::ruled(&endpoint, |_: &Request| Fate::Carried).await;
    let url = format!("s3://{hot}/events");
    let small = vec![
        ("ICEPACK_COMPACTION_TARGET_FILE_SIZE", "32KiB".into()),
        ("ICEPACK_COMPACTION_SMALL_FILE_THRESHOLD", "24KiB".into()),
    ];
    let envs = [
        s3::environment(&proxy.endpoint),
        small,
        vec![("ICEPACK_ARCHIVE_MIN_OBJECT_SIZE", "1KiB".into())],
    ]
    .concat();
    let kept = run(&envs, 0, &["--store", &url, "--json", "run"]).await;
    assert_eq!(
        kept["totals"]["ledger"]["rows_kept"].as_u64(),
        Some(events.len() as u64)
    );

    let cutoff = (Utc::now() - TimeDelta::days(TTL_DAYS)).timestamp_micros();
    let views =
        icepack::CompactionManager::new(store.clone(), icepack::CompactionConfig::default());
    let view = views
        .live_views(&icepack::pass::Selection::all())
        .await
        .unwrap()
        .remove(0);
    let whole: BTreeSet<String> = view
        .files
        .iter()
        .filter(|f| f.to.is_some_and(|to| to.0 < cutoff))
        .map(|f| f.key.clone())
        .collect();
    let whole_bytes: u64 = view
        .files
        .iter()
        .filter(|f| whole.contains(&f.key))
        .map(|f| f.size)
        .sum();
    assert!(
        whole.len() >= 6,
        "the year is in several files: {:?}",
        view.files
    );

    let before = proxy.seen().len();
    let archive = format!("s3://{cold}/frozen");
    let ttl = [
        envs.clone(),
        vec![
            ("ICEPACK_RETENTION_DEFAULT_TTL", format!("{TTL_DAYS}d")),
            ("ICEPACK_ARCHIVE_STORAGE_CLASS", "DEEP_ARCHIVE".into()),
        ],
    ]
    .concat();
    let report = run(
        &ttl,
        0,
        &["--store", &url, "--archive", &archive, "--json", "run"],
    )
    .await;
    let acme = &report["tenants"][0];
    let seen = proxy.seen().split_off(before);
    let carried: Vec<_> = seen
        .iter()
        .filter(|r| r.method == "GET" && whole.iter().any(|key| r.target.contains(key.as_str())))
        .collect();
    assert!(
        carried.is_empty(),
        "no byte of a file that expires as a whole goes through the job: {} of {} were read, \
         first {:?}",
        carried.len(),
        whole.len(),
        carried[0]
    );
    assert_eq!(seen.iter().filter(|r| r.copies).count(), whole.len());
    assert_eq!(
        (
            acme["copied_objects"].as_u64(),
            acme["copied_bytes"].as_u64()
        ),
        (Some(whole.len() as u64), Some(whole_bytes)),
        "{acme}"
    );
    println!(
        "whole-file expiry: {} files, {whole_bytes} bytes copied within S3, 0 bytes of them \
         through the job; {} archive objects in all, ledger {}",
        whole.len(),
        acme["archived_objects"],
        acme["ledger"]
    );

    let (old, young): (Vec<Event>, Vec<Event>) = events.into_iter().partition(|e| e.at < cutoff);
    let living = live(&store, "acme").await;
    assert!(
        living.iter().all(|e| e.at >= cutoff) && living.len() >= young.len() - 1,
        "thirty days live: {} of {}",
        living.len(),
        young.len()
    );
    let client = s3::client(&endpoint);
    for key in support::keys(&s3::store(&endpoint, &cold, "frozen")).await {
        let head = client
            .head_object()
            .bucket(&cold)
            .key(format!("frozen/{key}"))
            .send()
            .await
            .unwrap();
        let class = head
            .storage_class()
            .map_or("STANDARD", |c| c.as_str())
            .to_owned();
        assert_eq!(
            class,
            if key.ends_with(".parquet") {
                "DEEP_ARCHIVE"
            } else {
                "STANDARD"
            },
            "{key}"
        );
        if key.ends_with(".receipt.json") {
            let receipt: Value = serde_json::from_slice(
                &support::get(&s3::store(&endpoint, &cold, "frozen"), &key).await,
            )
            .unwrap();
            check_receipt(&receipt);
            assert!(
                !receipt["schema"].is_null()
                    && !receipt["checksum"].is_null()
                    && !receipt["manifest_version"].is_null(),
                "{receipt}"
            );
        }
    }

    lose(&endpoint, &hot).await;
    let into = format!("s3://{new}/back");
    let args = [
        "--archive",
        &archive,
        "--tenant",
        "*",
        "--json",
        "restore",
        "--into",
        &into,
    ];
    let look = run(&envs, 0, &[&args[..], &["--dry-run"]].concat()).await;
    assert_eq!(look["tenants"][0]["status"], "planned");
    assert_eq!(look["tenants"][0]["objects"][0]["state"], "frozen");
    assert_eq!(
        look["tenants"][0]["objects"][0]["storage_class"],
        "DEEP_ARCHIVE"
    );
    let back = run(
        &envs,
        0,
        &[&args[..], &["--wait", "--poll-interval", "200ms"]].concat(),
    )
    .await;
    let tenant = &back["tenants"][0];
    assert_eq!(
        (tenant["status"].as_str(), tenant["into"].as_str()),
        (Some("done"), Some("restored-acme")),
        "{back}"
    );
    let restored = live(&s3::store(&endpoint, &new, "back"), "restored-acme").await;
    let wanted: Vec<Event> = sorted(old)
        .into_iter()
        .chain(young)
        .filter(|e| !living.contains(e))
        .collect();
    assert_eq!(sorted(restored), sorted(wanted), "row for row");
    println!("restored {} rows from the archive alone", tenant["rows"]);
    let again = run(&envs, 0, &args).await;
    assert_eq!(
        (
            again["tenants"][0]["status"].as_str(),
            again["tenants"][0]["rows"].as_u64()
        ),
        (Some("already"), Some(0)),
        "{again}"
    );
}
