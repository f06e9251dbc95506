//! What `icepack init` proposes for each bucket, and that its file works as it is.
//!
//! `--nocapture` prints the proposals, as a table in Markdown.

use std::collections::BTreeSet;
use std::path::Path;

use tempfile::TempDir;

use super::table::BUCKETS;
use super::{AT_ONCE, python};
use crate::support::job;

/// What is proposed for a bucket.
struct Proposed {
    bucket: &'static str,
    layout: &'static str,
    files: &'static [&'static str],
    /// The column that dates a row; empty where none can.
    time: &'static str,
    /// The exit code of a pass by the file as it is, but for `exclude`, and `min_raw_age`.
    exit: i32,
}

const fn proposed(bucket: &'static str, layout: &'static str) -> Proposed {
    Proposed {
        bucket,
        layout,
        files: &[],
        time: "timestamp",
        exit: 0,
    }
}

/// The first folder is the tenant.
const fn first(bucket: &'static str) -> Proposed {
    proposed(bucket, "{tenant}/**")
}

const ALL: &[&str] = &["*"];

const PROPOSALS: &[Proposed] = &[
    proposed("kafka_confluent", "topics/{tenant}/**"),
    proposed("kafka_confluent_time", "topics/{tenant}/**"),
    Proposed {
        time: "timestamp as ms",
        ..proposed("kafka_confluent_epoch", "topics/{tenant}/**")
    },
    first("kafka_aiven"),
    proposed("kafka_aiven_root", "**"),
    first("redpanda_connect"),
    first("firehose"),
    first("firehose_millis"),
    first("firehose_text"),
    proposed("firehose_root", "**"),
    proposed("firehose_dynamic", "events/customer_id={tenant}/**"),
    Proposed {
        time: "",
        exit: 1,
        ..proposed("vpc_flow_logs", "AWSLogs/{tenant}/**")
    },
    Proposed {
        time: "",
        exit: 1,
        ..proposed("vpc_flow_logs_hive", "AWSLogs/aws-account-id={tenant}/**")
    },
    Proposed {
        time: "time as ms",
        ..proposed("security_lake", "ext/{tenant}/**")
    },
    Proposed {
        time: "line_item_usage_start_date",
        ..first("cost_and_usage")
    },
    Proposed {
        files: ALL,
        ..first("athena_ctas")
    },
    first("spark"),
    first("spark_int96"),
    first("spark_bucketed"),
    first("spark_stream"),
    Proposed {
        files: ALL,
        ..first("hive")
    },
    Proposed {
        files: ALL,
        ..first("trino")
    },
    Proposed {
        files: ALL,
        ..first("flink")
    },
    first("pyarrow"),
    first("pyarrow_folders"),
    first("pyarrow_metadata"),
    first("pandas"),
    first("pandas_flat"),
    first("polars"),
    first("duckdb"),
    Proposed {
        time: "tp_timestamp",
        ..first("tailpipe")
    },
    first("fastparquet"),
    first("dask"),
    proposed("vector", "logs/application_id={tenant}/**"),
    proposed("vector_tenants", "application_id={tenant}/**"),
    proposed("vector_default_prefix", "**"),
    Proposed {
        time: "timestamp as s",
        ..first("fluent_bit")
    },
    Proposed {
        files: ALL,
        ..first("fluent_bit_no_suffix")
    },
    proposed("cloudflare_pipelines", "analytics/{tenant}/**"),
    Proposed {
        exit: 3,
        ..proposed("dms", "shop/{tenant}/**")
    },
    Proposed {
        time: "_airbyte_extracted_at",
        ..proposed("airbyte", "sync/public/{tenant}/**")
    },
    proposed("dates_before_tenants", "*/tenant={tenant}/**"),
    first("months_old"),
    first("delta"),
    first("iceberg"),
    first("hudi"),
    first("icepack"),
];

/// What is wrong with a proposal, and its row of the table.
struct Tried {
    problems: Vec<String>,
    row: String,
}

fn icepack(dir: &Path, envs: &[(&'static str, String)], args: &[&str]) -> (i32, String, String) {
    let out = job::icepack(envs)
        .current_dir(dir)
        .arg("--quiet")
        .args(args)
        .output()
        .unwrap();
    (
        out.status.code().unwrap(),
        job::text(&out.stdout),
        job::text(&out.stderr),
    )
}

fn attempt(root: &Path, wanted: &Proposed) -> Tried {
    let name = wanted.bucket;
    let store = root.join(name).to_str().unwrap().to_owned();
    let mut problems = Vec::new();
    let mut wrong = |what: String| problems.push(format!("{name}: {what}"));
    let (exit, document, err) = icepack(root, &[], &["--json", "init", "--store", &store]);
    assert_eq!(exit, 0, "{name}: {err}");
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let recognised = &document["recognised"];
    let layout = recognised["layout"].as_str().unwrap();
    let files: Vec<&str> = recognised["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f.as_str().unwrap())
        .collect();
    let time = document["timestamp_column"].as_str().unwrap_or_default();
    if (layout, &files[..], time) != (wanted.layout, wanted.files, wanted.time) {
        wrong(format!(
            "{layout} {files:?} {time:?}, not {} {:?} {:?}",
            wanted.layout, wanted.files, wanted.time
        ));
    }
    let questions = document["open_questions"].as_array().unwrap();
    if time.is_empty() && questions.is_empty() {
        wrong("nothing dates a row, and nobody is asked".to_owned());
    }
    let row = format!(
        "| {name} | `{layout}` | {} | {} | {} |",
        files.join(" "),
        recognised["others"]
            .as_array()
            .unwrap()
            .iter()
            .map(|o| format!("`{}`", o["layout"].as_str().unwrap()))
            .collect::<Vec<_>>()
            .join(" "),
        questions.len()
    );

    // The file works as it is.
    let config = format!("{name}.toml");
    let (exit, _, err) = icepack(root, &[], &["init", "--store", &store, "--out", &config]);
    assert_eq!(exit, 0, "{name}: {err}");
    let text = std::fs::read_to_string(root.join(&config)).unwrap();
    let excludes = text.contains("\n# exclude = ");
    let (exit, plan, err) = icepack(root, &[], &["--config", &config, "plan"]);
    if exit != if excludes { 5 } else { 0 } {
        wrong(format!("plan exits {exit}: {plan}{err}"));
    }
    if plan.contains("match no") {
        wrong(format!("plan finds what matches no layout: {plan}"));
    }
    std::fs::write(
        root.join(&config),
        text.replace("\n# exclude = ", "\nexclude = "),
    )
    .unwrap();
    let (exit, plan, err) = icepack(root, &[], &["--config", &config, "plan"]);
    if exit != 0 {
        wrong(format!("plan with `exclude` exits {exit}: {plan}{err}"));
    }
    let at_once = [("ICEPACK_COMPACTION_MIN_RAW_AGE", "0".to_owned())];
    let (exit, out, err) = icepack(root, &at_once, &["--config", &config, "run"]);
    if exit != wanted.exit {
        wrong(format!("run exits {exit}, not {}: {out}{err}", wanted.exit));
    }
    // What was packed is recognised as what it is.
    let (_, document, _) = icepack(root, &[], &["--json", "init", "--store", &store]);
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    if document["recognised"]["layout"] != wanted.layout {
        wrong(format!(
            "packed, it is {}",
            document["recognised"]["layout"]
        ));
    }
    Tried { problems, row }
}

#[test]
fn init_proposes_what_works_for_each_bucket() {
    let dir = TempDir::new().unwrap();
    let written: BTreeSet<String> = python("write.py", &[dir.path()])
        .lines()
        .map(str::to_owned)
        .collect();
    let named: BTreeSet<String> = PROPOSALS.iter().map(|p| p.bucket.to_owned()).collect();
    assert_eq!(written, named, "the writers and the table of this test");
    assert_eq!(PROPOSALS.len(), BUCKETS.len());
    let next = std::sync::Mutex::new(PROPOSALS.iter());
    let tried = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(wanted) = { next.lock().unwrap().next() } {
                    let result = attempt(dir.path(), wanted);
                    tried.lock().unwrap().push(result);
                }
            });
        }
    });
    let mut tried = tried.into_inner().unwrap();
    tried.sort_by(|a, b| a.row.cmp(&b.row));
    println!("| bucket | layout | files | or | to decide |\n| --- | --- | --- | --- | --- |");
    tried.iter().for_each(|t| println!("{}", t.row));
    let problems: Vec<String> = tried.into_iter().flat_map(|t| t.problems).collect();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}
