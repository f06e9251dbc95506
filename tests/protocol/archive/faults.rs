//! A bad network and a refusing server: what passes is tried again, what stays fails at once, and
//! nothing counts that was not proved.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use icepack::archive::{ArchiveOptions, ArchiveTarget};
use icepack::store::retry::RetryPolicy;

use super::support::proxy::{Fate, Proxy, Request};
use super::support::{self, job, put_events, s3, series};
use super::{archive, feed, options, request, rows, store};

/// Three parts and a rest.
fn large() -> Vec<arrow::array::RecordBatch> {
    (0..12).map(|i| rows(i * 1_000, 1_000, 2_500)).collect()
}

/// The requests of an upload, by what they are.
fn step(r: &Request) -> Option<String> {
    let parameter = |name: &str| {
        r.target
            .split(['?', '&'])
            .find_map(|p| p.strip_prefix(name))
            .map(str::to_owned)
    };
    match r.method.as_str() {
        "POST" if r.target.contains("?uploads") => Some("create".into()),
        "PUT" => parameter("partNumber=").map(|n| format!("part {n}")),
        "POST" if r.target.contains("uploadId=") => Some("complete".into()),
        "HEAD" => Some("check".into()),
        _ => None,
    }
}

/// The first `times` requests of `wanted` meet `fate`.
fn rule(
    wanted: &str,
    fate: Fate,
    times: usize,
) -> impl Fn(&Request) -> Fate + Send + Sync + 'static {
    let (wanted, left) = (wanted.to_owned(), AtomicUsize::new(times));
    move |r| {
        let hit = step(r).as_deref() == Some(&wanted)
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                .is_ok();
        if hit { fate } else { Fate::Carried }
    }
}

async fn open_uploads(endpoint: &str, bucket: &str) -> usize {
    s3::client(endpoint)
        .list_multipart_uploads()
        .bucket(bucket)
        .send()
        .await
        .unwrap()
        .uploads()
        .len()
}

const STEPS: [&str; 6] = ["create", "part 1", "part 2", "part 3", "complete", "check"];

#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_an_upload_may_fail_and_is_tried_again() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "steps").await;
    for step in STEPS {
        for fate in [
            Fate::SlowDown,
            Fate::ErrorBefore,
            Fate::ErrorAfter,
            Fate::ResetBefore,
            Fate::ResetAfter,
        ] {
            let proxy = Proxy::ruled(&endpoint, rule(step, fate, 2)).await;
            let receipt = store(
                &archive(&proxy.endpoint, &endpoint, &bucket, options()),
                large(),
            )
            .await;
            let receipt = receipt.unwrap_or_else(|e| panic!("{step}, {fate:?}: {e}"));
            // Whether an upload was completed is asked of the server: where it was, and only the
            // reply was lost, there is no second try.
            let settled = step == "complete" && matches!(fate, Fate::ErrorAfter | Fate::ResetAfter);
            assert_eq!(
                proxy.tally()[&fate],
                if settled { 1 } else { 2 },
                "{step}, {fate:?}"
            );
            let stored = icepack_parquet::read_stats(
                s3::store(&endpoint, &bucket, "cold"),
                receipt.key.clone(),
                receipt.size,
                "timestamp",
            )
            .await;
            assert_eq!(stored.unwrap(), receipt.stats, "{step}, {fate:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_is_refused_fails_at_once_and_leaves_nothing_that_counts() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "refused").await;
    for step in STEPS {
        let proxy = Proxy::ruled(&endpoint, rule(step, Fate::Denied, usize::MAX)).await;
        let error = store(
            &archive(&proxy.endpoint, &endpoint, &bucket, options()),
            large(),
        )
        .await
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("AccessDenied") || error.contains("status 403"),
            "{step}: {error}"
        );
        assert!(
            error.contains("infra/iam") && error.contains("the originals are untouched"),
            "{step}: {error}"
        );
        assert_eq!(
            proxy.tally()[&Fate::Denied],
            1,
            "{step}: a refusal is not tried again"
        );
        assert_eq!(
            open_uploads(&endpoint, &bucket).await,
            0,
            "{step}: no parts are left behind"
        );
    }
    let receipts = support::keys(&s3::store(&endpoint, &bucket, "cold"))
        .await
        .into_iter()
        .filter(|k| k.ends_with(".json"))
        .count();
    assert_eq!(receipts, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_arrive_as_others_are_rejected_by_the_server_and_sent_again() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "garbled").await;
    let proxy = Proxy::ruled(&endpoint, rule("part 2", Fate::Garbled, 1)).await;
    let receipt = store(
        &archive(&proxy.endpoint, &endpoint, &bucket, options()),
        large(),
    )
    .await
    .unwrap();
    assert_eq!(
        (receipt.stats.rows, proxy.tally()[&Fate::Garbled]),
        (12_000, 1)
    );
    assert_eq!(
        proxy
            .seen()
            .iter()
            .filter(|r| step(r).as_deref() == Some("part 2"))
            .count(),
        2
    );

    // A network that garbles for ever ends in an error, never in an object that counts.
    let proxy = Proxy::ruled(&endpoint, |r: &Request| {
        if r.method == "PUT" && r.body > 0 {
            Fate::Garbled
        } else {
            Fate::Carried
        }
    })
    .await;
    let retry = RetryPolicy {
        max_elapsed: Duration::from_millis(300),
        ..super::quick()
    };
    let target = archive(
        &proxy.endpoint,
        &endpoint,
        &bucket,
        ArchiveOptions { retry, ..options() },
    );
    let error = target
        .archive(request(), feed(vec![rows(0, 10, 10)]))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("cannot put"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_busy_for_a_minute_is_waited_for_as_it_asks() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "busy").await;
    let seconds = std::env::var("ICEPACK_TEST_OUTAGE_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(60);
    let (begun, outage) = (std::time::Instant::now(), Duration::from_secs(seconds));
    let proxy = Proxy::ruled(&endpoint, move |_: &Request| {
        if begun.elapsed() < outage {
            Fate::RetryAfter(4)
        } else {
            Fate::Carried
        }
    })
    .await;
    let retry = RetryPolicy {
        max_elapsed: Duration::from_secs(180),
        ..RetryPolicy::default()
    };
    let receipt = store(
        &archive(
            &proxy.endpoint,
            &endpoint,
            &bucket,
            ArchiveOptions { retry, ..options() },
        ),
        vec![rows(0, 100, 10)],
    )
    .await
    .unwrap();
    assert_eq!(receipt.stats.rows, 100);
    let busy = proxy.tally()[&Fate::RetryAfter(4)];
    assert!(
        busy as u64 <= seconds / 4 + 2,
        "it came back {busy} times in {seconds} s, and was asked to stay away for 4 s each time"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_whose_archive_is_denied_deletes_nothing_and_ends_soon() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let (hot, cold) = (
        s3::bucket(&endpoint, "denied-hot").await,
        s3::bucket(&endpoint, "denied-cold").await,
    );
    let store = s3::store(&endpoint, &hot, "events");
    let events = series(
        0,
        120,
        Utc::now() - TimeDelta::minutes(1),
        TimeDelta::hours(12),
    );
    for (i, part) in events.chunks(20).enumerate() {
        put_events(&store, &format!("acme/2026-01/events-{i}.parquet"), part).await;
    }
    // The archive's marker may go in, so that each refusal is one of rows.
    let prefix = format!("/{cold}/frozen/acme/");
    let proxy = Proxy::ruled(&endpoint, move |r: &Request| {
        if r.method == "PUT" && r.target.starts_with(&prefix) {
            Fate::Denied
        } else {
            Fate::Carried
        }
    })
    .await;
    let envs = [
        s3::environment(&proxy.endpoint),
        vec![("ICEPACK_RETENTION_DEFAULT_TTL", "30d".to_owned())],
    ]
    .concat();
    let args = [
        "--store",
        &format!("s3://{hot}/events"),
        "--archive",
        &format!("s3://{cold}/frozen"),
        "--json",
        "run",
    ];
    let out = tokio::task::spawn_blocking({
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        move || job::run(&envs, &args)
    })
    .await
    .unwrap();
    let (stdout, stderr) = (job::text(&out.stdout), job::text(&out.stderr));
    assert_eq!(out.status.code(), Some(1), "{stdout}\n{stderr}");
    assert!(
        stderr.contains("AccessDenied") && stderr.contains("the originals are untouched"),
        "{stderr}"
    );
    assert_eq!(
        proxy.tally()[&Fate::Denied],
        1,
        "a refusal is not tried again"
    );
    assert_eq!(
        support::live(&store, "acme").await,
        support::sorted(events),
        "every row is where it was"
    );
    assert_eq!(
        support::tenant_keys(&store, "acme")
            .await
            .iter()
            .filter(|k| k.contains("/events-"))
            .count(),
        6
    );
    assert_eq!(
        support::keys(&s3::store(&endpoint, &cold, "frozen")).await,
        ["_icepack/archive.json"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_may_not_be_marked_is_used_all_the_same() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let (hot, cold) = (
        s3::bucket(&endpoint, "unmarked-hot").await,
        s3::bucket(&endpoint, "unmarked-cold").await,
    );
    let events = series(0, 60, Utc::now() - TimeDelta::days(40), TimeDelta::hours(1));
    for (i, part) in events.chunks(20).enumerate() {
        put_events(
            &s3::store(&endpoint, &hot, ""),
            &format!("acme/events-{i}.parquet"),
            part,
        )
        .await;
    }
    let marker = format!("/{cold}/_icepack/archive.json");
    let proxy = Proxy::ruled(&endpoint, move |r: &Request| {
        if r.method == "PUT" && r.target.starts_with(&marker) {
            Fate::Denied
        } else {
            Fate::Carried
        }
    })
    .await;
    let envs = [
        s3::environment(&proxy.endpoint),
        vec![("ICEPACK_RETENTION_DEFAULT_TTL", "30d".to_owned())],
    ]
    .concat();
    let args = [
        "--store".to_owned(),
        format!("s3://{hot}"),
        "--archive".to_owned(),
        format!("s3://{cold}"),
        "--json".to_owned(),
        "run".to_owned(),
    ];
    let out = tokio::task::spawn_blocking(move || job::run(&envs, &args))
        .await
        .unwrap();
    let said = job::text(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert!(said.contains("could not be marked as one"), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(report["totals"]["ledger"]["rows_archived"], 60);
    assert!(
        support::keys(&s3::store(&endpoint, &cold, ""))
            .await
            .iter()
            .all(|k| k.starts_with("acme/"))
    );
}
