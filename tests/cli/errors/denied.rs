//! What the credentials do not allow. A real server, and a proxy that answers for it where a right
//! is missing; AWS's longer answers are scripted.

use std::process::Output;

use chrono::{DateTime, TimeDelta};

use crate::errors::server::{Answer, always};
use crate::errors::texts::check;
use crate::support::proxy::{Fate, Proxy, Request};
use crate::support::{self, job, s3};

/// What a policy names, of a request.
fn action(request: &Request) -> &'static str {
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    let is_bucket = path.trim_matches('/').split('/').count() == 1;
    match request.method.as_str() {
        "DELETE" if !query.contains("uploadId") => "s3:DeleteObject",
        "POST" if query.starts_with("delete") => "s3:DeleteObject",
        "GET" if is_bucket => "s3:ListBucket",
        "GET" | "HEAD" => "s3:GetObject",
        "PUT" | "POST" => "s3:PutObject",
        _ => "",
    }
}

/// A pass in which one action on keys that hold `within` is not allowed.
async fn pass_without(
    denied: &'static str,
    within: &'static str,
) -> Option<(Output, Vec<(String, &'static str)>)> {
    let endpoint = s3::endpoint()?;
    let (hot, cold) = (
        s3::bucket(&endpoint, "denied").await,
        s3::bucket(&endpoint, "denied-cold").await,
    );
    let store = s3::store(&endpoint, &hot, "prod");
    for i in 0..3 {
        // Long past, so that their times are the same whenever this is run.
        let rows = support::series(
            i * 10,
            10,
            DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            TimeDelta::hours(1),
        );
        support::put_events(
            &store,
            &format!("acme/2026-01/events-{i:04}.parquet"),
            &rows,
        )
        .await;
    }
    let rule = move |r: &Request| {
        if action(r) == denied && r.target.contains(within) {
            Fate::Denied
        } else {
            Fate::Carried
        }
    };
    let proxy = Proxy::ruled(&endpoint, rule).await;
    let mut envs = s3::environment(&proxy.endpoint);
    envs.extend([
        ("ICEPACK_STORE", format!("s3://{hot}/prod")),
        ("ICEPACK_ARCHIVE_URL", format!("s3://{cold}/prod")),
    ]);
    envs.push(("ICEPACK_RETENTION_DEFAULT_TTL", "30d".into()));
    let out = job::run(&envs, ["--log-level", "error", "run"]);
    assert!(
        proxy.tally().contains_key(&Fate::Denied),
        "it did not come to that: {}",
        job::text(&out.stderr)
    );
    Some((out, vec![(hot, "events"), (cold, "cold")]))
}

async fn tried(name: &str, denied: &'static str, within: &'static str) {
    let Some((out, names)) = pass_without(denied, within).await else {
        return;
    };
    let names: Vec<_> = names
        .iter()
        .map(|(from, to)| (from.as_str(), *to))
        .collect();
    check(name, &out, &names);
    assert!(
        job::text(&out.stderr).contains(denied),
        "it does not name {denied}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn list() {
    tried("denied-list", "s3:ListBucket", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn get() {
    tried("denied-get", "s3:GetObject", "events-").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn get_of_one_file() {
    tried("denied-get-of-one", "s3:GetObject", "events-0001").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_an_archive_class() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "iced").await;
    let store = s3::store(&endpoint, &bucket, "prod");
    for i in 0..4 {
        let rows = support::series(
            i * 10,
            10,
            DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            TimeDelta::hours(1),
        );
        let key = format!("acme/2026-01/events-{i:04}.parquet");
        support::put_events(&store, &key, &rows).await;
        if i == 1 {
            let body = support::get(&store, &key).await;
            let put = s3::client(&endpoint)
                .put_object()
                .bucket(&bucket)
                .key(format!("prod/{key}"))
                .storage_class("GLACIER".into());
            put.body(body.into()).send().await.unwrap();
        }
    }
    let mut envs = s3::environment(&endpoint);
    envs.push(("ICEPACK_STORE", format!("s3://{bucket}/prod")));
    check(
        "iced-file",
        &job::run(&envs, ["--log-level", "error", "run"]),
        &[(&bucket, "events")],
    );
    let frozen = "acme/2026-01/events-0001.parquet".to_owned();
    let left = support::tenant_keys(&store, "acme").await;
    assert!(
        left.len() == 2 && left.contains(&frozen),
        "the others are one snapshot: {left:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn put() {
    tried("denied-put", "s3:PutObject", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn put_of_a_manifest() {
    tried("denied-put-manifest", "s3:PutObject", "/manifest/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delete() {
    tried("denied-delete", "s3:DeleteObject", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn put_into_the_archive() {
    tried("denied-archive-put", "s3:PutObject", "denied-cold").await;
}

#[test]
fn aws_itself_says_which() {
    let user = "arn:aws:sts::123456789012:assumed-role/icepack/pod";
    let message = format!(
        "User: {user} is not authorized to perform: s3:ListBucket on resource: \
         &quot;arn:aws:s3:::events&quot; because no identity-based policy allows the \
         s3:ListBucket action"
    );
    let endpoint = always(Answer::error("403 Forbidden", "AccessDenied", &message, ""));
    let mut envs = s3::environment(&endpoint);
    envs.push(("ICEPACK_STORE", "s3://events/prod".into()));
    check("denied-aws", &job::run(&envs, ["status"]), &[]);
}
