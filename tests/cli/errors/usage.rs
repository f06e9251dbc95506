//! What a command line, a variable or a file says wrongly: exit code 2, one line, and nothing was
//! touched.

use crate::errors::texts::check;
use crate::support::job;

#[cfg(feature = "gcp")]
use std::os::unix::process::ExitStatusExt;
#[cfg(feature = "gcp")]
use std::process::{ExitStatus, Output};

#[cfg(feature = "gcp")]
use icepack::store::not_built_in;

fn said(name: &str, envs: &[(&'static str, &str)], args: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().display().to_string();
    let path = |text: &str| text.replace("/data", &at);
    std::fs::create_dir(directory.path().join("hot")).unwrap();
    std::fs::create_dir(directory.path().join("cold")).unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    let envs: Vec<_> = envs.iter().map(|(k, v)| (*k, path(v))).collect();
    let args: Vec<_> = args.iter().map(|a| path(a)).collect();
    check(name, &job::run(&envs, &args), &[(&at, "/data")]);
}

#[test]
fn the_store() {
    said("no-store", &[], &["run"]);
    said(
        "unknown-scheme",
        &[],
        &["--store", "ftp://events/prod", "run"],
    );
    said("no-bucket", &[], &["--store", "s3:///prod", "run"]);
    #[cfg(not(feature = "gcp"))]
    said(
        "cloud-not-built-in",
        &[],
        &["--store", "gs://events/prod", "run"],
    );
    // The binary of the tests has every cloud, so the message is asked for by itself.
    #[cfg(feature = "gcp")]
    check(
        "cloud-not-built-in",
        &Output {
            status: ExitStatus::from_raw(2 << 8),
            stdout: Vec::new(),
            stderr: format!(
                "icepack: {}\n",
                not_built_in("gs", "gcp", &"gs://events/prod".parse().unwrap())
            )
            .into_bytes(),
        },
        &[],
    );
    said("no-directory", &[], &["--store", "/data/none", "run"]);
    said(
        "no-directory-but-a-file",
        &[],
        &["--store", "/data/file", "run"],
    );
}

#[test]
fn an_address_of_a_server() {
    let keys = [
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("AWS_REGION", "us-east-1"),
    ];
    let at = |name, address| [&keys[..], &[(name, address)]].concat();
    said(
        "endpoint-without-a-scheme",
        &at("AWS_ENDPOINT_URL", "minio:9000"),
        &["--store", "s3://events", "status"],
    );
    said(
        "endpoint-without-a-host",
        &at("AWS_ENDPOINT_URL_S3", "http://"),
        &["--store", "s3://events", "status"],
    );
    said(
        "endpoint-of-the-archive",
        &[("ICEPACK_ARCHIVE_ENDPOINT", "ftp://minio")],
        &["--store", "/data/hot", "run"],
    );
}

#[test]
fn the_command_line() {
    said(
        "unknown-tenant",
        &[],
        &["--store", "/data/hot", "run", "--tenant", "acme"],
    );
    said(
        "odd-tenant",
        &[],
        &["--store", "/data/hot", "run", "--tenant", "../acme"],
    );
    said(
        "unknown-flag",
        &[],
        &["--store", "/data/hot", "run", "--stratgy", "size"],
    );
    said("unknown-command", &[], &["compact"]);
    said(
        "odd-shard",
        &[],
        &["--store", "/data/hot", "run", "--shard", "4/4"],
    );
    said(
        "half-a-shard",
        &[("JOB_COMPLETION_INDEX", "1")],
        &["--store", "/data/hot", "run"],
    );
    said(
        "restore-without-archive",
        &[],
        &[
            "--store",
            "/data/hot",
            "restore",
            "--tenant",
            "acme",
            "--from",
            "2026-01-01",
            "--to",
            "2026-02-01",
        ],
    );
    said(
        "restore-of-nobody",
        &[],
        &[
            "--store",
            "/data/hot",
            "--archive",
            "/data/cold",
            "restore",
            "--tenant",
            "nobody",
        ],
    );
    said(
        "odd-log-level",
        &[],
        &["--log-level", "loud", "--store", "/data/hot", "run"],
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let _held = std::net::TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let address = format!("127.0.0.1:{taken}");
    let directory = tempfile::tempdir().unwrap();
    let out = job::run(
        &[],
        [
            "--store",
            &directory.path().display().to_string(),
            "watch",
            "--listen",
            &address,
        ],
    );
    check("port-in-use", &out, &[(&address, "127.0.0.1:9464")]);
}

#[test]
fn the_settings() {
    let file = |name: &str, toml: &str| {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("icepack.toml");
        std::fs::write(&config, toml).unwrap();
        let at = directory.path().display().to_string();
        check(
            name,
            &job::run(&[("ICEPACK_CONFIG", config.display().to_string())], ["run"]),
            &[(&at, "/data")],
        );
    };
    file(
        "unknown-key",
        "store = \"/tmp\"\n[compaction]\ntarget_file_sise = \"1MiB\"\n",
    );
    file("no-toml", "store = /tmp\n");
    file(
        "odd-value",
        "store = \"/tmp\"\n[retention]\ndefault_ttl = \"30 moons\"\n",
    );
    file(
        "odd-layout",
        "store = \"/tmp\"\nlayout = \"topics/{tenant}\"\n",
    );
    said(
        "odd-layout-variable",
        &[("ICEPACK_LAYOUT", "app-*/{tenant}/**")],
        &["--store", "/data/hot", "run"],
    );
    file(
        "short-ttl",
        "store = \"/tmp\"\n[retention]\ndefault_ttl = \"30s\"\n",
    );
    file(
        "sizes",
        "store = \"/tmp\"\n[compaction]\ntarget_file_size = \"1GiB\"\nmax_file_size = \"1MiB\"\n",
    );
    file(
        "little-memory",
        "store = \"/tmp\"\nmemory_limit = \"64MiB\"\n",
    );
    file(
        "object-lock",
        "store = \"/tmp\"\n[archive]\nurl = \"s3://cold\"\nobject_lock_mode = \"GOVERNANCE\"\n",
    );
    file(
        "readback-of-ice",
        "store = \"/tmp\"\n[archive]\nurl = \"s3://cold\"\nstorage_class = \"GLACIER\"\nverify = \
         \"readback\"\n",
    );
    said("no-config", &[], &["--config", "/data/none.toml", "run"]);
    said("unknown-variable", &[("ICEPACK_STOER", "/tmp")], &["run"]);
    said(
        "odd-variable",
        &[("ICEPACK_CONCURRENCY", "many")],
        &["--store", "/data/hot", "run"],
    );
    said(
        "archive-within-store",
        &[],
        &["--store", "/data/hot", "--archive", "/data/hot/cold", "run"],
    );
}

#[test]
fn what_dates_a_row() {
    let run = ["--store", "/data/hot", "run"];
    let dated = |column| ("ICEPACK_TIMESTAMP_COLUMN", column);
    said(
        "no-times-and-a-ttl",
        &[dated("none"), ("ICEPACK_RETENTION_DEFAULT_TTL", "30d")],
        &run,
    );
    said(
        "folders-that-are-left",
        &[
            dated("path dt=%Y-%m-%d"),
            ("ICEPACK_COMPACTION_WITHIN", "tenant"),
        ],
        &run,
    );
    said("unknown-unit", &[dated("ts as days")], &run);
}
