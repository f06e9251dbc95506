//! Bad values of every setting and of every variable that a client of a store reads: told in a
//! line, never a panic.

use std::path::Path;

use crate::support::{job, s3};
use tempfile::TempDir;

/// What people and templates write where a value belongs.
const BAD: [&str; 19] = [
    "",
    " ",
    "\t",
    "-1",
    "0",
    "99999999999999999999999999",
    "1e309",
    "NaN",
    "true",
    "maybe",
    "minio:9000",
    "127.0.0.1:9000",
    "http://",
    "http://a b",
    "http://[::1",
    "://",
    "s3://",
    "../../etc",
    "日本\u{202e}\u{7f}",
];

/// Nobody sets these to more than a word, and a client makes headers and addresses of them.
const VARIABLES: [&str; 16] = [
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ALLOW_HTTP",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    "AWS_S3_EXPRESS",
    "AWS_CHECKSUM_ALGORITHM",
    "AWS_CONDITIONAL_PUT",
    "AWS_SERVER_SIDE_ENCRYPTION",
    "AWS_REQUEST_PAYER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// Whatever the program makes of it: a result, or a line that says what is wrong.
fn told(what: &str, out: &std::process::Output, codes: &[i32]) {
    let said = job::text(&out.stderr);
    assert!(!said.contains("panicked"), "{what}: {said}");
    assert!(
        out.status.code().is_some_and(|code| codes.contains(&code)),
        "{what}: {:?} {said}",
        out.status
    );
    assert!(
        out.status.success()
            || said
                .lines()
                .any(|l| l.starts_with("icepack: ") || l.starts_with("error: ")),
        "{what}: {said}"
    );
}

/// Every setting, as `config show` lists them.
fn settings(dir: &Path) -> Vec<String> {
    let document = job::json(
        &[],
        0,
        [
            "--store",
            &dir.display().to_string(),
            "--json",
            "config",
            "show",
        ],
    );
    let all: Vec<String> = document["settings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["setting"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        all.len() > 40 && all.contains(&"archive.endpoint".to_owned()),
        "{all:?}"
    );
    all
}

#[test]
fn no_setting_takes_a_value_that_makes_the_program_panic() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    std::fs::create_dir(&store).unwrap();
    let names = settings(&store);
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(name) =
                    names.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    for bad in BAD {
                        let variable = format!("ICEPACK_{}", name.to_uppercase().replace('.', "_"));
                        let mut command = job::icepack(&[]);
                        if name != "store" {
                            command.env("ICEPACK_STORE", &store);
                        }
                        // Opening is where addresses, directories and classes are put to use;
                        // nothing is there to be done.
                        let out = command
                            .env(variable, bad)
                            .args(["-q", "verify"])
                            .output()
                            .unwrap();
                        told(&format!("{name} = {bad:?}"), &out, &[0, 1, 2]);
                    }
                }
            });
        }
    });
}

#[tokio::test]
async fn no_variable_of_a_client_makes_the_program_panic() {
    let Some(server) = s3::endpoint() else { return };
    let bucket = s3::bucket(&server, "values").await;
    let (good, url) = (s3::environment(&server), format!("s3://{bucket}"));
    for variable in VARIABLES {
        for bad in BAD {
            let mut command = job::icepack(&good);
            let out = command
                .env(variable, bad)
                .args(["-q", "status", "--store", &url])
                .output()
                .unwrap();
            told(&format!("{variable}={bad:?}"), &out, &[0, 1, 2]);
            let is_address = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"].contains(&variable);
            // An address that is none is a mistake in the configuration, and says where it stands.
            if is_address && !bad.trim().is_empty() {
                assert_eq!(
                    out.status.code(),
                    Some(2),
                    "{variable}={bad:?}: {}",
                    job::text(&out.stderr)
                );
                assert!(
                    job::text(&out.stderr).contains(variable),
                    "{variable}={bad:?}: {}",
                    job::text(&out.stderr)
                );
            }
        }
    }
}
