use std::collections::BTreeSet;

use super::*;
use crate::settings::{Environment, Layers, Settings};
use icepack_core::model::inputs::Left;
use icepack_core::model::sample::{Likely, TenantSample};
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
fn where_no_column_is_a_timestamp_what_looks_like_a_time_is_proposed_or_the_folder() {
    let number = |key: &str, names: &[&str]| {
        let millis = at(1).0 / 1_000;
        let looks = |name: &&str| {
            let likely = Likely::integers(millis, millis + 1_000).unwrap();
            ((*name).to_owned(), likely)
        };
        FileSample {
            key: key.to_owned(),
            likely: names.iter().map(looks).collect(),
            ..file(&[("word", ColumnKind::Text)])
        }
    };
    let of = |files: &[(&str, &[&str])]| {
        let files = files.iter().map(|(key, names)| number(key, names));
        let p = proposed(&sample(&["acme"], files.collect()));
        assert_eq!(p.timestamp_column.is_some(), p.open_questions.is_empty());
        let set = p.timestamp_column.clone();
        let line = |column: &String| format!("\ntimestamp_column = {}", quoted(column));
        assert!(
            set.is_none_or(|column| p.toml.contains(&line(&column))),
            "{}",
            p.toml
        );
        p
    };
    let set = |files: &[(&str, &[&str])]| of(files).timestamp_column;
    let (day, other) = ("acme/dt=2026-03-01/x", "acme/dt=2026-03-02/x");
    assert_eq!(
        set(&[(day, &["at"]), (other, &["at"])]).unwrap(),
        "at as ms"
    );
    assert_eq!(
        set(&[(day, &["b", "timestamp"])]).unwrap(),
        "timestamp as ms"
    );
    assert_eq!(set(&[(day, &["an as b"])]).unwrap(), "`an as b` as ms");
    let several = of(&[(day, &["a", "b"])]);
    assert!(
        several
            .toml
            .contains("\n# timestamp_column = \"a as ms\"\n# timestamp_column = \"b as ms\"\n"),
        "{}",
        several.toml
    );
    assert_eq!(
        set(&[(day, &[]), (other, &[])]).unwrap(),
        "path dt=%Y-%m-%d"
    );
    // Not where a file lies elsewhere: it would be set aside.
    let nothing = of(&[(day, &[]), ("acme/x", &[])]);
    assert!(
        nothing.toml.contains("\n# timestamp_column = \"none\"\n"),
        "{}",
        nothing.toml
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
