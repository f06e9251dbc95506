//! What goes wrong between the job and its bucket.

use std::process::Output;

use crate::errors::server::{Answer, always, self_signed};
use crate::errors::texts::check;
use crate::support::{job, s3, servers};

fn envs(endpoint: &str) -> Vec<(&'static str, String)> {
    let mut envs = s3::environment(endpoint);
    envs.push(("ICEPACK_STORE", "s3://events/prod".into()));
    envs
}

/// A pass against a server that answers everything with `answer`.
fn pass(answer: Answer) -> Output {
    job::run(&envs(&always(answer)), ["--log-level", "warn", "run"])
}

#[test]
fn the_bucket_is_in_another_region() {
    let message = "The authorization header is malformed; the region 'us-east-1' is wrong; \
                   expecting 'eu-west-1'";
    let answer = Answer::error(
        "400 Bad Request",
        "AuthorizationHeaderMalformed",
        message,
        "<Region>eu-west-1</Region>",
    );
    check("wrong-region", &pass(answer), &[]);
}

#[test]
fn the_bucket_is_in_another_region_and_the_server_redirects() {
    let message = "The bucket you are attempting to access must be addressed using the specified \
                   endpoint. Please send all future requests to this endpoint.";
    let more = "<Endpoint>events.s3.eu-west-1.amazonaws.com</Endpoint><Bucket>events</Bucket>";
    let answer = Answer {
        headers: "x-amz-bucket-region: eu-west-1\r\n",
        ..Answer::error("301 Moved Permanently", "PermanentRedirect", message, more)
    };
    check("wrong-region-redirect", &pass(answer), &[]);
}

#[test]
fn the_session_token_has_expired_and_is_not_printed() {
    let answer = Answer::error(
        "400 Bad Request",
        "ExpiredToken",
        "The provided token has expired.",
        "<Token-0>FwoGZXIvYXdzEBYaD-the-token</Token-0>",
    );
    let out = pass(answer);
    check("expired-token", &out, &[]);
    assert!(!job::text(&out.stderr).contains("the-token"));
}

#[test]
fn the_clock_is_wrong() {
    let more = "<RequestTime>20261124T100000Z</RequestTime><ServerTime>2026-11-24T11:00:00Z</\
                ServerTime><MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds>";
    let answer = Answer::error(
        "403 Forbidden",
        "RequestTimeTooSkewed",
        "The difference between the request time and the current time is too large.",
        more,
    );
    check("clock-skew", &pass(answer), &[]);
}

#[test]
fn there_is_no_such_bucket() {
    let answer = Answer::error(
        "404 Not Found",
        "NoSuchBucket",
        "The specified bucket does not exist",
        "<BucketName>events</BucketName>",
    );
    let endpoint = always(answer);
    check(
        "no-such-bucket",
        &job::run(&envs(&endpoint), ["--log-level", "warn", "run"]),
        &[],
    );
    check(
        "no-such-bucket-status",
        &job::run(&envs(&endpoint), ["status"]),
        &[],
    );
    // The real servers say the same.
    for real in [s3::endpoint(), servers::seaweedfs()].into_iter().flatten() {
        let out = job::run(
            &[
                s3::environment(&real),
                vec![("ICEPACK_STORE", "s3://no-such-bucket-here/prod".into())],
            ]
            .concat(),
            ["status"],
        );
        check(
            "no-such-bucket-status",
            &out,
            &[("no-such-bucket-here", "events")],
        );
    }
}

#[test]
fn the_key_is_wrong() {
    let Some(strict) = servers::seaweedfs() else {
        return;
    };
    let mut envs = envs(&strict);
    envs.retain(|(name, _)| *name != "AWS_SECRET_ACCESS_KEY");
    envs.push((
        "AWS_SECRET_ACCESS_KEY",
        "a-secret-that-opens-nothing".into(),
    ));
    check("wrong-secret", &job::run(&envs, ["status"]), &[]);
    envs.retain(|(name, _)| *name != "AWS_ACCESS_KEY_ID");
    envs.push(("AWS_ACCESS_KEY_ID", "nobody".into()));
    check("unknown-access-key", &job::run(&envs, ["status"]), &[]);
}

#[test]
fn there_are_no_credentials() {
    let home = tempfile::tempdir().unwrap();
    let mut envs = envs(&always(Answer::error(
        "403 Forbidden",
        "AccessDenied",
        "Access Denied",
        "",
    )));
    envs.retain(|(name, _)| !matches!(*name, "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY"));
    envs.push(("HOME", home.path().display().to_string()));
    check("no-credentials", &job::run(&envs, ["status"]), &[]);
    envs.push(("AWS_PROFILE", "nightly".into()));
    check("no-such-profile", &job::run(&envs, ["status"]), &[]);
    // Anything but an instance denies its metadata, and nothing more follows from that.
    let denies = always(Answer::error("403 Forbidden", "Denied", "no", ""));
    envs.push(("AWS_EC2_METADATA_DISABLED", "false".into()));
    envs.push(("AWS_EC2_METADATA_SERVICE_ENDPOINT", denies));
    check("no-such-profile", &job::run(&envs, ["status"]), &[]);
}

#[test]
fn the_profile_signs_in_by_sso() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    std::fs::write(
        home.path().join(".aws/config"),
        "[profile nightly]\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\n\
         [sso-session s]\nsso_start_url = https://example.com\nsso_region = us-east-1\n",
    )
    .unwrap();
    let denies = always(Answer::error("403 Forbidden", "AccessDenied", "no", ""));
    let mut envs = envs(&denies);
    envs.retain(|(name, _)| !matches!(*name, "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY"));
    envs.push(("HOME", home.path().display().to_string()));
    envs.push(("AWS_PROFILE", "nightly".into()));
    check("sso-profile", &job::run(&envs, ["status"]), &[]);
}

#[test]
fn nobody_listens() {
    check(
        "unreachable",
        &job::run(&envs("http://127.0.0.1:9"), ["status"]),
        &[],
    );
}

#[test]
fn plain_http_goes_to_this_machine_alone() {
    check(
        "plain-http",
        &job::run(&envs("http://minio.internal:9000"), ["status"]),
        &[],
    );
}

#[test]
fn nobody_trusts_the_certificate() {
    let (endpoint, pem) = self_signed(Answer::error(
        "404 Not Found",
        "NoSuchBucket",
        "The specified bucket does not exist",
        "",
    ));
    let names = [(endpoint.as_str(), "https://127.0.0.1:9000")];
    check("tls", &job::run(&envs(&endpoint), ["status"]), &names);
    let mut archive = envs(&always(Answer::error(
        "404 Not Found",
        "NoSuchBucket",
        "The specified bucket does not exist",
        "",
    )));
    archive.extend([
        ("ICEPACK_ARCHIVE_URL", "s3://cold/prod".into()),
        ("ICEPACK_ARCHIVE_ENDPOINT", endpoint.clone()),
    ]);
    check(
        "tls-archive",
        &job::run(
            &archive,
            [
                "restore",
                "--tenant",
                "acme",
                "--from",
                "2026-01-01",
                "--to",
                "2026-02-01",
            ],
        ),
        &names,
    );

    // What it says to do helps.
    let trusted = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(trusted.path(), pem).unwrap();
    let mut envs = envs(&endpoint);
    envs.push(("SSL_CERT_FILE", trusted.path().display().to_string()));
    check(
        "no-such-bucket-status",
        &job::run(&envs, ["status"]),
        &names,
    );
}

#[tokio::test]
async fn the_store_ignores_conditions() {
    let Some(endpoint) = servers::juicefs() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "ignores").await;
    let envs = [
        s3::environment(&endpoint),
        vec![("ICEPACK_STORE", format!("s3://{bucket}/prod"))],
    ]
    .concat();
    check(
        "ignores-conditions",
        &job::run(&envs, ["--log-level", "error", "run"]),
        &[(&bucket, "events")],
    );
}
