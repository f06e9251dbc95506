//! Traces of the real binary, as a collector gets them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Output, Stdio};

use chrono::{TimeDelta, Utc};
use serde_json::Value;

use super::collector::{Collector, Manner, Span};
use super::world::World;
use crate::support::{self, job, s3, servers};

type Envs = Vec<(&'static str, String)>;

/// A run whose traces go to `url`.
fn traced(mut envs: Envs, url: String, more: &[(&'static str, &str)]) -> Envs {
    envs.push(("OTEL_EXPORTER_OTLP_ENDPOINT", url));
    envs.extend(more.iter().map(|(k, v)| (*k, (*v).to_owned())));
    envs
}

/// Old rows of one tenant, which go to the archive, and new ones of another; a third has lost its
/// manifest.
async fn three_tenants(world: &World) -> Envs {
    world.seed("acme", 3, 100, Utc::now()).await;
    world
        .seed("old", 3, 100, Utc::now() - TimeDelta::days(90))
        .await;
    world.seed("lost", 3, 10, Utc::now()).await;
    let mut envs = world.envs();
    job::expect(&envs, 0, ["run", "--tenant", "lost"]);
    std::fs::remove_dir_all(world.hot().join("_icepack/lost")).unwrap();
    envs.push((
        "ICEPACK_ARCHIVE_URL",
        world.path("cold").display().to_string(),
    ));
    envs.push(("ICEPACK_RETENTION_DEFAULT_TTL", "30d".into()));
    envs
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|s| s.name == name).collect()
}

fn one<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found = named(spans, name);
    assert_eq!(found.len(), 1, "{name}: {found:#?}");
    found[0]
}

fn below<'a>(spans: &'a [Span], parent: &Span) -> BTreeMap<&'a str, Vec<&'a Span>> {
    let mut children: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    spans
        .iter()
        .filter(|s| s.parent == parent.id)
        .for_each(|s| children.entry(&s.name).or_default().push(s));
    children
}

fn names<'a>(children: &BTreeMap<&'a str, Vec<&Span>>) -> Vec<&'a str> {
    children.keys().copied().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_is_a_tree_of_tenants_groups_and_stages() {
    let world = World::new();
    let collector = Collector::start(Manner::Takes).await;
    let envs = traced(
        three_tenants(&world).await,
        collector.url(),
        &[(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "x-team=storage,authorization=Bearer%20let-me-in",
        )],
    );
    let report = job::json(&envs, 5, ["--json", "run"]);

    let posts = collector.posts();
    for post in &posts {
        assert_eq!(
            (post.path.as_str(), post.headers["content-type"].as_str()),
            ("/v1/traces", "application/x-protobuf")
        );
        assert_eq!(
            (
                post.headers["x-team"].as_str(),
                post.headers["authorization"].as_str()
            ),
            ("storage", "Bearer let-me-in")
        );
    }
    let resource = collector.resource();
    assert_eq!(
        (
            resource["service.name"].as_str(),
            resource["service.version"].as_str()
        ),
        ("icepack", env!("CARGO_PKG_VERSION"))
    );

    let spans = collector.spans();
    assert_eq!(
        spans
            .iter()
            .map(|s| &s.trace)
            .collect::<BTreeSet<_>>()
            .len(),
        1,
        "one trace"
    );
    let ids: BTreeSet<_> = spans.iter().map(|s| &s.id).collect();
    let roots: Vec<_> = spans.iter().filter(|s| !ids.contains(&s.parent)).collect();
    let pass = one(&spans, "pass");
    assert_eq!((roots.len(), &roots[0].id), (1, &pass.id));
    assert!(pass.parent.is_empty());
    assert_eq!(pass.fields["run_id"], report["run_id"].as_str().unwrap());
    assert_eq!(
        (
            pass.number("tenants"),
            pass.number("shard_index"),
            pass.number("shard_count")
        ),
        (3, 0, 1)
    );
    let totals = &report["totals"];
    assert_eq!(
        pass.number("rows_archived"),
        totals["ledger"]["rows_archived"].as_u64().unwrap()
    );
    assert_eq!(
        pass.number("bytes_before"),
        totals["bytes_before"].as_u64().unwrap()
    );
    assert_eq!(
        (pass.fields["status"].as_str(), pass.error.as_deref()),
        ("refused", Some("1 of 3 tenants had errors"))
    );

    let children = below(&spans, pass);
    assert_eq!(names(&children), ["discover", "preflight", "tenant"]);
    let tenants: BTreeMap<&str, &Span> = children["tenant"]
        .iter()
        .map(|t| (t.fields["tenant"].as_str(), *t))
        .collect();
    assert_eq!(
        tenants.keys().copied().collect::<Vec<_>>(),
        ["acme", "lost", "old"]
    );
    for (tenant, entry) in report["tenants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| (tenants[t["tenant"].as_str().unwrap()], t))
    {
        assert_eq!(
            tenant.number("rows_in"),
            entry["ledger"]["rows_in"].as_u64().unwrap()
        );
        assert_eq!(tenant.fields["status"], entry["status"].as_str().unwrap());
        assert_eq!(
            tenant.error.as_deref(),
            entry["error"].as_str(),
            "its error is the report's"
        );
        assert!(
            tenant.nanos.0 >= pass.nanos.0
                && tenant.nanos.1 <= pass.nanos.1
                && tenant.nanos.0 < tenant.nanos.1
        );
    }
    assert!(
        tenants["lost"]
            .error
            .as_ref()
            .unwrap()
            .contains("no manifest")
    );

    let acme = below(&spans, tenants["acme"]);
    assert_eq!(
        names(&acme),
        ["commit", "discover", "group", "plan", "sweep"]
    );
    let [group] = acme["group"][..] else {
        panic!("{acme:#?}")
    };
    assert_eq!(
        (
            group.number("files"),
            group.number("rows_kept"),
            &group.error
        ),
        (3, 300, &None)
    );
    let stages = below(&spans, group);
    assert_eq!(names(&stages), ["commit", "merge"]);
    assert_eq!(
        (
            stages["merge"][0].number("files"),
            stages["merge"][0].number("rows_kept")
        ),
        (3, 300)
    );
    assert_eq!(stages["commit"][0].number("version"), 2);
    assert_eq!(acme["sweep"][0].number("files_deleted"), 3);

    let old = below(&spans, tenants["old"]);
    let stages = below(&spans, old["group"][0]);
    assert_eq!(names(&stages), ["archive", "commit", "merge"]);
    let archive = stages["archive"][0];
    assert_eq!(
        (
            archive.fields["how"].as_str(),
            archive.number("objects"),
            archive.number("rows")
        ),
        ("rows", 1, 300)
    );
    assert_eq!(names(&below(&spans, old["sweep"][0])), ["receipts"]);
    assert_eq!(names(&below(&spans, tenants["lost"])), ["discover"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_environment_says_is_done() {
    let world = World::new();
    let collector = Collector::start(Manner::Takes).await;
    let json = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_SERVICE_NAME", "nightly"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test,service.version=7",
        ),
        (
            "TRACEPARENT",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ];
    let envs = traced(three_tenants(&world).await, collector.url(), &json);
    job::json(&envs, 5, ["--json", "run"]);
    assert!(
        collector
            .posts()
            .iter()
            .all(|p| p.headers["content-type"] == "application/json")
    );
    let resource = collector.resource();
    let said = [
        "service.name",
        "deployment.environment.name",
        "service.version",
    ]
    .map(|name| resource[name].as_str());
    assert_eq!(said, ["nightly", "test", "7"]);
    let spans = collector.spans();
    let pass = one(&spans, "pass");
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(
        (hex(&pass.trace).as_str(), hex(&pass.parent).as_str()),
        ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    );
    assert!(named(&spans, "tenant").iter().all(|t| t.parent == pass.id));
    let lost = named(&spans, "tenant")
        .into_iter()
        .find(|t| t.fields["tenant"] == "lost")
        .unwrap();
    assert_eq!(
        lost.events.len(),
        1,
        "what is logged as an error is in the span it is about"
    );
    assert!(lost.events[0].name.contains("no manifest"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_unless_it_is_asked_for() {
    let world = World::new();
    world.seed("acme", 3, 10, Utc::now()).await;
    let collector = Collector::start(Manner::Takes).await;
    let quiet: [&[(&'static str, &str)]; 4] = [
        &[("OTEL_SDK_DISABLED", "true")],
        &[("OTEL_TRACES_EXPORTER", "none")],
        &[("OTEL_TRACES_SAMPLER", "always_off")],
        &[(
            "TRACEPARENT",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
        )],
    ];
    for more in quiet {
        job::expect(&traced(world.envs(), collector.url(), more), 0, ["run"]);
    }
    for args in [
        &["plan"][..],
        &["status"],
        &["run", "--dry-run"],
        &["verify"],
    ] {
        job::expect(&traced(world.envs(), collector.url(), &[]), 0, args);
    }
    assert!(collector.posts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_is_a_warning_that_says_what_to_set() {
    let world = World::new();
    world.seed("acme", 3, 10, Utc::now()).await;
    let collector = Collector::start(Manner::Takes).await;
    let out = job::run(
        &traced(
            world.envs(),
            collector.url(),
            &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
        ),
        ["run"],
    );
    let stderr = job::text(&out.stderr);
    assert_eq!(
        (out.status.code(), warnings(&out).len()),
        (Some(0), 1),
        "{stderr}"
    );
    assert!(
        stderr.contains("OTEL_EXPORTER_OTLP_PROTOCOL")
            && stderr.contains("set http/protobuf or http/json"),
        "{stderr}"
    );
    assert!(collector.posts().is_empty());
}

fn warnings(out: &Output) -> Vec<String> {
    job::text(&out.stderr)
        .lines()
        .filter(|l| l.contains("WARN"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_does_not_take_them_is_one_warning_and_the_pass_is_as_it_was() {
    let refuses = "http://me:hunter2@127.0.0.1:1".to_owned();
    let (busy, silent) = (
        Collector::start(Manner::Answers(500)).await,
        Collector::start(Manner::Silent).await,
    );
    // One that is never given up would hold up the end for ever.
    let for_ever = [("OTEL_EXPORTER_OTLP_TIMEOUT", "86400000")];
    for (url, more, why) in [
        (
            refuses,
            &[][..],
            "cannot send traces to http://me:***@127.0.0.1:1/v1/traces: Connection refused",
        ),
        (busy.url(), &[], "status code: 500"),
        (silent.url(), &for_ever, "were not taken within 5 s"),
        (
            silent.url(),
            &[("OTEL_EXPORTER_OTLP_TIMEOUT", "300")],
            "it does not answer in time",
        ),
    ] {
        let world = World::new();
        let plain = three_tenants(&world).await;
        let out = job::run(&traced(plain.clone(), url, more), ["--json", "run"]);
        let stderr = job::text(&out.stderr);
        assert_eq!(out.status.code(), Some(5), "{stderr}");
        let report: Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(report["totals"]["ledger"]["rows_in"], 600);
        let warned: Vec<_> = warnings(&out)
            .into_iter()
            .filter(|l| l.contains("traces"))
            .collect();
        assert!(
            warned.len() == 1
                && warned[0].contains(why)
                && warned[0].contains("OTEL_TRACES_EXPORTER=none"),
            "{why}: {warned:#?}"
        );
        assert!(!stderr.contains("hunter2"), "{stderr}");
    }
    assert!(!busy.posts().is_empty() && !silent.posts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_are_what_they_are_without_traces() {
    let collector = Collector::start(Manner::Takes).await;
    let mut shapes = Vec::new();
    for traces in [false, true] {
        let world = World::new();
        let envs = three_tenants(&world).await;
        let envs = if traces {
            traced(envs, collector.url(), &[])
        } else {
            envs
        };
        let out = job::run(
            &envs,
            [
                "--log-format",
                "json",
                "--log-level",
                "debug",
                "--json",
                "run",
            ],
        );
        let keys = |line: &str| {
            let line: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
            (
                line["message"].to_string(),
                line.keys().cloned().collect::<Vec<_>>(),
            )
        };
        shapes.push(
            job::text(&out.stderr)
                .lines()
                .map(keys)
                .collect::<BTreeSet<_>>(),
        );
    }
    assert_eq!(shapes[0], shapes[1]);
    assert!(shapes[0].len() >= 5, "{shapes:#?}");
    let world = World::new();
    world.seed("acme", 3, 10, Utc::now()).await;
    let out = job::run(
        &traced(world.envs(), collector.url(), &[]),
        ["--log-level", "trace", "run"],
    );
    let stderr = job::text(&out.stderr);
    assert!(
        stderr.contains(" pass:tenant: group files=3")
            && !stderr.contains("tenant:group")
            && !stderr.contains("otel."),
        "{stderr}"
    );
}

/// Started, and its log is being read.
fn start(
    envs: &[(&'static str, String)],
    args: &[&str],
    until: &str,
) -> (Child, std::io::Lines<BufReader<std::process::ChildStderr>>) {
    let mut child = job::icepack(envs)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(
        lines
            .by_ref()
            .map_while(Result::ok)
            .any(|l| l.contains(until)),
        "no `{until}` in its log"
    );
    (child, lines)
}

fn terminate(
    child: &mut Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
) -> Option<i32> {
    assert!(
        std::process::Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    lines.for_each(drop);
    child.wait().unwrap().code()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_a_signal_ends_is_sent_too() {
    let world = World::new();
    for tenant in 0..40 {
        world
            .seed(&format!("t{tenant:02}"), 6, 2_000, Utc::now())
            .await;
    }
    let collector = Collector::start(Manner::Takes).await;
    let mut envs = traced(world.envs(), collector.url(), &[]);
    envs.push(("ICEPACK_CONCURRENCY", "1".into()));
    let (mut child, lines) = start(&envs, &["run"], "t03");
    assert_eq!(terminate(&mut child, lines), Some(130));
    let spans = collector.spans();
    let pass = one(&spans, "pass");
    assert_eq!(
        (pass.fields["status"].as_str(), &pass.error),
        ("stopped", &None)
    );
    assert_eq!(below(&spans, pass)["tenant"].len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_sends_each_pass_when_it_is_over() {
    let world = World::new();
    world.seed("acme", 3, 10, Utc::now()).await;
    let collector = Collector::start(Manner::Takes).await;
    // Nothing leaves by the clock.
    let envs = traced(
        world.envs(),
        collector.url(),
        &[("OTEL_BSP_SCHEDULE_DELAY", "86400000")],
    );
    let (mut child, lines) = start(&envs, &["watch", "--interval", "1s"], "pass");
    collector
        .until(|c| named(&c.spans(), "pass").len() >= 2)
        .await;
    assert_eq!(terminate(&mut child, lines), Some(0));
    let spans = collector.spans();
    let passes = named(&spans, "pass");
    assert_eq!(
        passes
            .iter()
            .map(|p| &p.trace)
            .collect::<BTreeSet<_>>()
            .len(),
        passes.len(),
        "a trace each"
    );

    // And one that nobody listens to ends as soon as any other.
    let silent = Collector::start(Manner::Silent).await;
    let envs = traced(
        world.envs(),
        silent.url(),
        &[("OTEL_EXPORTER_OTLP_TIMEOUT", "86400000")],
    );
    let (mut child, lines) = start(&envs, &["watch", "--interval", "1s"], "pass");
    silent.until(|c| !c.posts().is_empty()).await;
    assert_eq!(terminate(&mut child, lines), Some(0));
}

const TOKEN: &str = "a-session-token-that-nobody-should-ever-read";
const WRONG_SECRET: &str = "a-secret-key-that-opens-nothing-at-all";

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_in_what_is_sent() {
    let Some(endpoint) = s3::endpoint() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "traces").await;
    let store = s3::store(&endpoint, &bucket, "events");
    support::seed(&store, "acme", 3, 20, Utc::now()).await;
    let collector = Collector::start(Manner::Takes).await;
    let mut envs = traced(
        s3::environment(&endpoint),
        collector.url(),
        &[("ICEPACK_LOG", "trace")],
    );
    envs.push(("ICEPACK_STORE", format!("s3://{bucket}/events")));
    envs.retain(|(name, _)| *name != "AWS_SECRET_ACCESS_KEY");
    envs.push(("AWS_SECRET_ACCESS_KEY", WRONG_SECRET.into()));
    envs.push(("AWS_SESSION_TOKEN", TOKEN.into()));
    job::expect(&envs, 0, ["run"]);
    assert_eq!(named(&collector.spans(), "merge").len(), 1);
    // And where they are turned away, so that the error is in it.
    if let Some(strict) = servers::seaweedfs() {
        envs.retain(|(name, _)| *name != "AWS_ENDPOINT_URL");
        envs.push(("AWS_ENDPOINT_URL", strict));
        assert_ne!(job::run(&envs, ["run"]).status.code(), Some(0));
        let spans = collector.spans();
        assert!(
            named(&spans, "pass").iter().any(|p| p.error.is_some()),
            "{spans:#?}"
        );
    }
    let all: String = collector
        .posts()
        .iter()
        .map(|p| String::from_utf8_lossy(&p.body).into_owned())
        .collect();
    let key = envs
        .iter()
        .find(|(name, _)| *name == "AWS_ACCESS_KEY_ID")
        .unwrap()
        .1
        .clone();
    for secret in [TOKEN, WRONG_SECRET, &key] {
        assert!(!all.contains(secret), "`{secret}` was sent");
    }
}
