//! The real binary.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// The binary with a clean environment: nothing of the developer's own AWS, Azure, Google,
/// icepack or OpenTelemetry settings reaches it.
pub fn icepack(envs: &[(&'static str, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_icepack"));
    for (name, _) in std::env::vars() {
        if [
            "AWS_",
            "AZUR",
            "GOOGLE_",
            "ICEPACK_",
            "OTEL_",
            "TRACEPARENT",
            "TRACESTATE",
        ]
        .iter()
        .any(|p| name.starts_with(p))
        {
            command.env_remove(name);
        }
    }
    command
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(envs.iter().map(|(k, v)| (k, v)))
        .current_dir(std::env::temp_dir());
    command
}

pub fn run<S: AsRef<OsStr>>(
    envs: &[(&'static str, String)],
    args: impl IntoIterator<Item = S>,
) -> Output {
    icepack(envs).args(args).output().unwrap()
}

/// Runs it and expects `code`; stdout.
#[track_caller]
pub fn expect<S: AsRef<OsStr>>(
    envs: &[(&'static str, String)],
    code: i32,
    args: impl IntoIterator<Item = S>,
) -> String {
    let out = run(envs, args);
    let (stdout, stderr) = (text(&out.stdout), text(&out.stderr));
    assert_eq!(
        out.status.code(),
        Some(code),
        "stdout:\n{stdout}\nstderr:\n{stderr}"
    );
    stdout
}

/// The JSON document that it prints.
#[track_caller]
pub fn json<S: AsRef<OsStr>>(
    envs: &[(&'static str, String)],
    code: i32,
    args: impl IntoIterator<Item = S>,
) -> Value {
    let stdout = expect(envs, code, args);
    serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stdout}"))
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The Python with pyarrow and duckdb that `./test.sh` makes.
pub fn python() -> Command {
    let python = std::env::var("ICEPACK_TEST_PYTHON")
        .expect("no Python for the checks: run ./test.sh, which makes one");
    Command::new(python)
}

/// The independent check of rows: `tests/python/check_rows.py`.
pub fn check_rows(envs: &[(&'static str, String)], args: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/check_rows.py");
    python()
        .arg(script)
        .args(args)
        .envs(envs.iter().map(|(k, v)| (k, v)))
        .output()
        .unwrap()
}
