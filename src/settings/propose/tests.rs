use std::collections::BTreeSet;

use super::*;
use crate::settings::{Environment, Layers, Settings};
use icepack_core::model::inputs::Left;
use icepack_core::model::sample::TenantSample;
use icepack_core::plan::recognise::recognise;

fn at(day: u32) -> Micros {
    Micros::from_datetime(
        DateTime::parse_from_rfc3339(&format!("2026-03-{day:02}T00:00:00Z"))
            .unwrap()
            .to_utc(),
    )
}

fn file(columns: &[(&str, ColumnKind)]) -> FileSample {
    let spans = columns
        .iter()
        .filter(|(_, k)| *k == ColumnKind::Time)
        .map(|(n, _)| ((*n).to_owned(), (at(1), at(9))))
        .collect();
    FileSample {
        key: "acme/x.parquet".to_owned(),
        rows: 7,
        columns: columns.iter().map(|(n, k)| ((*n).to_owned(), *k)).collect(),
        spans,
        types: Default::default(),
        likely: Default::default(),
    }
}

fn sample(names: &[&str], files: Vec<FileSample>) -> Sample {
    let tenants: Vec<Tenant> = names.iter().map(|n| Tenant::parse(n).unwrap()).collect();
    let (first, last) = (at(1).to_datetime(), at(2).to_datetime());
    let seen = TenantSample {
        tenant: tenants[0].clone(),
        sizes: vec![100, 2_000, 20 << 20],
        has_more: false,
        first_written: Some(first),
        last_written: Some(last),
        files,
        unreadable: Vec::new(),
        left_alone: Left::default(),
        folders: 1,
        path_columns: Vec::new(),
        exclude: Default::default(),
        snapshots: 0,
    };
    Sample {
        tenants,
        looked_at: vec![seen],
        root: Left::default(),
        unmatched: Vec::new(),
        refused: Vec::new(),
        tables: Vec::new(),
    }
}

fn proposed(sample: &Sample) -> Proposal {
    let p = propose(
        sample,
        &recognise(&[], &BTreeSet::new()),
        &Given::default(),
        "s3://b/\"odd\\",
        Some("s3://cold"),
        at(31).to_datetime(),
    );
    let layers = Layers {
        file: Some(("icepack.toml".into(), p.toml.clone())),
        env: Environment::default(),
        flags: Vec::new(),
    };
    // Whatever is proposed can be read.
    let settings = Settings::resolve(&layers).unwrap_or_else(|e| panic!("{e}\n{}", p.toml));
    assert_eq!(settings.compaction_config().max_expire_percent, 60);
    // And so can it with every proposal taken up.
    let uncommented: String = p
        .toml
        .lines()
        .map(|l| {
            l.strip_prefix("# ")
                .filter(|l| l.contains(" = ") && !l.contains(". "))
                .unwrap_or(l)
        })
        .fold(String::new(), |s, l| s + l + "\n");
    let several = uncommented.matches("timestamp_column").count() > 1;
    let file = Some(("icepack.toml".into(), uncommented.clone()));
    assert!(
        several
            // A TTL needs times.
            || uncommented.contains("timestamp_column = \"none\"")
            || Settings::resolve(&Layers { file, ..layers }).is_ok(),
        "{uncommented}"
    );
    p
}

#[test]
fn a_usual_store_leaves_no_question() {
    let columns = [
        ("event_id", ColumnKind::Text),
        ("id", ColumnKind::Integer),
        ("timestamp", ColumnKind::Time),
        ("received", ColumnKind::Time),
    ];
    let p = proposed(&sample(&["acme"], vec![file(&columns), file(&columns)]));
    assert_eq!(
        (p.timestamp_column.as_deref(), p.likely_id.as_deref()),
        (Some("timestamp"), Some("event_id"))
    );
    assert!(p.open_questions.is_empty());
    // Its name alone must not drop a row.
    assert!(
        p.toml.contains("\n# id_column = \"event_id\"\n"),
        "{}",
        p.toml
    );
    assert!(
        p.toml
            .contains("timestamp_column = \"timestamp\"  # 2026-03-01 to 2026-03-09"),
        "{}",
        p.toml
    );
    assert!(
        p.toml.contains("2 of 3 files are small") && p.toml.contains("about every 12h"),
        "{}",
        p.toml
    );
}

#[test]
fn several_candidates_are_comments_and_a_question() {
    let columns = [
        ("created_at", ColumnKind::Time),
        ("updated_at", ColumnKind::Time),
    ];
    let p = proposed(&sample(&["acme"], vec![file(&columns)]));
    assert_eq!(p.timestamp_column, None);
    assert!(
        p.toml
            .contains("# timestamp_column = \"created_at\"  # 2026-03-01")
            && p.toml.contains("# timestamp_column = \"updated_at\""),
        "{}",
        p.toml
    );
    assert!(
        p.open_questions[0].contains("created_at, updated_at"),
        "{:?}",
        p.open_questions
    );
}

#[test]
fn a_column_counts_where_every_file_has_it() {
    let p = proposed(&sample(
        &["acme"],
        vec![
            file(&[("a", ColumnKind::Time), ("b", ColumnKind::Time)]),
            file(&[("b", ColumnKind::Time), ("a", ColumnKind::Integer)]),
        ],
    ));
    assert_eq!(p.timestamp_column.as_deref(), Some("b"));
    let p = proposed(&sample(
        &["acme"],
        vec![file(&[("ts", ColumnKind::Integer)])],
    ));
    assert!(
        p.timestamp_column.is_none() && p.open_questions[0].contains("no column is a timestamp"),
        "{:?}",
        p.open_questions
    );
}

#[test]
fn a_tenant_called_system_is_told_about() {
    let sample = sample(&["system"], vec![file(&[("timestamp", ColumnKind::Time)])]);
    let p = proposed(&sample);
    assert!(
        p.toml.contains("\nsystem = \"30d\"\n")
            && p.open_questions.iter().any(|q| q.contains("system")),
        "{}",
        p.toml
    );
    // Nothing is dropped that the owner has not said.
    let p = propose(
        &sample,
        &recognise(&[], &BTreeSet::new()),
        &Given::default(),
        "s3://b",
        None,
        at(31).to_datetime(),
    );
    assert!(
        p.toml.contains("\n# system = \"30d\"\n")
            && !p.open_questions.iter().any(|q| q.contains("system")),
        "{}",
        p.toml
    );
}
