//! Logs: an object a line, the run in each, and no secrets anywhere.

use std::collections::BTreeSet;

use chrono::{TimeDelta, Utc};
use serde_json::{Map, Value};

use super::world::World;
use crate::support::{self, job, s3, servers};

fn lines(stderr: &str) -> Vec<Map<String, Value>> {
    stderr
        .lines()
        .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}")))
        .collect()
}

fn said<'a>(lines: &'a [Map<String, Value>], message: &str) -> Vec<&'a Map<String, Value>> {
    lines.iter().filter(|l| l["message"] == message).collect()
}

#[tokio::test]
async fn each_tenant_and_group_is_a_line_with_its_numbers_and_the_run_is_in_all_of_them() {
    let world = World::new();
    world.seed("acme", 3, 100, Utc::now()).await;
    world.seed("idle", 2, 100, Utc::now()).await;
    world
        .put(
            "acme/2026-01/broken.parquet",
            b"PAR1 not at all, nor anything like it",
        )
        .await;
    let out = job::run(&world.envs(), ["--log-format", "json", "--json", "run"]);
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    let lines = lines(&job::text(&out.stderr));
    // The last one is about the exit code, after the pass.
    let (verdict, of_pass) = lines.split_last().unwrap();
    assert_eq!(verdict["level"], "ERROR");
    for line in of_pass {
        assert_eq!(line["run_id"], report["run_id"], "{line:?}");
        assert!(
            ["timestamp", "level", "message"]
                .iter()
                .all(|f| line[*f].is_string()),
            "{line:?}"
        );
    }
    let numbers = [
        "bytes_after",
        "bytes_before",
        "duration_ms",
        "files_written",
        "rows_archived",
        "rows_deduplicated",
        "rows_expired",
        "rows_in",
        "rows_kept",
    ];
    let names = |own: &[&str]| -> BTreeSet<String> {
        own.iter()
            .chain(&numbers)
            .chain(&["timestamp", "level", "message", "run_id", "tenant"])
            .map(|s| (*s).to_owned())
            .collect()
    };
    let groups = said(&lines, "group");
    assert_eq!(groups.len(), 1);
    assert_eq!(
        groups[0].keys().cloned().collect::<BTreeSet<_>>(),
        names(&["files", "quarantined", "reason"])
    );
    assert_eq!(
        (
            &groups[0]["tenant"],
            &groups[0]["rows_kept"],
            &groups[0]["quarantined"]
        ),
        (&"acme".into(), &300.into(), &1.into())
    );
    let tenants = said(&lines, "tenant");
    assert_eq!(tenants.len(), 1, "the idle one has no line");
    assert_eq!(
        tenants[0].keys().cloned().collect::<BTreeSet<_>>(),
        names(&[
            "status",
            "files_compacted",
            "files_deleted",
            "quarantined",
            "groups_left",
            "requests"
        ])
    );
    let passes = said(&lines, "pass");
    assert_eq!(
        (passes.len(), &passes[0]["tenants"], &passes[0]["status"]),
        (1, &2.into(), &"quarantined".into())
    );
}

/// Whoever collects the logs of a container takes each line for an event.
#[tokio::test]
async fn beside_json_logs_a_document_is_one_line() {
    let world = World::new();
    world.seed("acme", 3, 10, Utc::now()).await;
    let out = job::run(&world.envs(), ["--log-format", "json", "--json", "run"]);
    let documents = lines(&job::text(&out.stdout));
    assert_eq!(
        (
            documents.len(),
            &documents[0]["totals"]["ledger"]["rows_in"]
        ),
        (1, &30.into())
    );
}

#[tokio::test]
async fn warnings_alone_still_say_whose_they_are() {
    let world = World::new();
    world.seed("acme", 3, 10, Utc::now()).await;
    world
        .put(
            "acme/2026-01/broken.parquet",
            b"PAR1 not at all, nor anything like it",
        )
        .await;
    let out = job::run(&world.envs(), ["--log-format", "json", "-q", "run"]);
    let lines = lines(&job::text(&out.stderr));
    let line = lines
        .iter()
        .find(|l| l["message"].as_str().unwrap().starts_with("quarantined"))
        .unwrap();
    assert_eq!(line["tenant"], "acme");
    assert!(line["run_id"].is_string());
}

const TOKEN: &str = "a-session-token-that-nobody-should-ever-read";
const WRONG_SECRET: &str = "a-secret-key-that-opens-nothing-at-all";

/// A pass and a doctor with these credentials, at the most talkative; all they wrote to stdout and
/// stderr.
fn talk(envs: &[(&'static str, String)]) -> String {
    let mut all = String::new();
    for args in [
        &["--log-level", "trace", "run"][..],
        &[
            "--log-level",
            "trace",
            "--log-format",
            "json",
            "--json",
            "run",
        ],
        &["--log-level", "trace", "doctor"],
        &["config", "show"],
    ] {
        let out = job::run(envs, args);
        all += &job::text(&out.stdout);
        all += &job::text(&out.stderr);
    }
    all
}

#[tokio::test]
async fn no_key_and_no_token_is_ever_written() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "secrets").await;
    let cold = s3::bucket(&endpoint, "secrets-cold").await;
    let store = s3::store(&endpoint, &bucket, "events");
    let old = support::series(0, 60, Utc::now() - TimeDelta::days(90), TimeDelta::hours(1));
    for (i, part) in old.chunks(20).enumerate() {
        support::put_events(&store, &format!("acme/2026-01/{i}.parquet"), part).await;
    }
    let mut envs = s3::environment(&endpoint);
    envs.push(("ICEPACK_STORE", format!("s3://{bucket}/events")));
    envs.push(("ICEPACK_ARCHIVE_URL", format!("s3://{cold}/frozen")));
    envs.push(("ICEPACK_RETENTION_DEFAULT_TTL", "30d".into()));
    // LocalStack lets everybody in, so these keys can be ones that are found nowhere by chance.
    envs.retain(|(name, _)| !matches!(*name, "AWS_SECRET_ACCESS_KEY"));
    envs.push(("AWS_SECRET_ACCESS_KEY", WRONG_SECRET.into()));
    envs.push(("AWS_SESSION_TOKEN", TOKEN.into()));
    let mut all = talk(&envs);
    assert!(all.contains("acme"), "it said nothing:\n{all}");
    // And against one that turns them away.
    if let Some(strict) = servers::seaweedfs() {
        envs.retain(|(name, _)| *name != "AWS_ENDPOINT_URL");
        envs.push(("AWS_ENDPOINT_URL", strict));
        let refused = talk(&envs);
        assert!(
            refused.contains("check AWS_ACCESS_KEY_ID") || refused.contains("the credentials lack"),
            "it was let in:\n{refused}"
        );
        all += &refused;
    }
    for side in [&store, &s3::store(&endpoint, &cold, "frozen")] {
        for key in support::keys(side)
            .await
            .iter()
            .filter(|k| k.ends_with(".json"))
        {
            all += &String::from_utf8_lossy(&support::get(side, key).await);
        }
    }
    for secret in [TOKEN, WRONG_SECRET] {
        assert!(!all.contains(secret), "`{secret}` was written");
    }
}
