use std::sync::Arc;

use arrow::datatypes::{DataType as T, Schema, TimeUnit};

use icepack_parquet::summary::Bound;

use super::*;

fn field(name: &str, kind: T) -> Field {
    Field::new(name, kind, true)
}

fn file(key: &str, fields: Vec<Field>) -> NewFile {
    let summary = Summary {
        rows: 1,
        schema: Arc::new(Schema::new(fields)),
        ranges: BTreeMap::new(),
        beyond: BTreeMap::new(),
    };
    NewFile {
        key: key.to_owned(),
        summary,
        is_firm: key.starts_with('s'),
        is_unknown: false,
    }
}

static NOTHING: BTreeMap<String, String> = BTreeMap::new();

fn rules(columns: &[Field]) -> Rules<'_> {
    Rules {
        columns,
        left_out: &NOTHING,
        local_times: true,
        reserved: None,
    }
}

fn utc(unit: TimeUnit) -> T {
    T::Timestamp(unit, Some("UTC".into()))
}

#[test]
fn a_new_table_has_all_columns_in_the_widest_type() {
    let files = [
        file(
            "a",
            vec![
                field("t", utc(TimeUnit::Nanosecond)),
                field("n", T::UInt16),
                field("x", T::LargeUtf8),
            ],
        ),
        file(
            "b",
            vec![
                field("t", utc(TimeUnit::Millisecond)),
                field("n", T::UInt64),
                field("y", T::Float32),
                field("z", T::Null),
            ],
        ),
    ];
    let fit = fit(rules(&[]), &files);
    let expected = [
        field("t", utc(TimeUnit::Microsecond)),
        field("n", T::Int64),
        field("x", T::Utf8),
        field("y", T::Float32),
    ];
    assert_eq!(fit.columns, expected);
    assert!(fit.left_out.is_empty() && fit.misfits.is_empty(), "{fit:?}");
}

#[test]
fn a_table_gets_columns_and_keeps_the_types_that_it_has() {
    let columns = [field("n", T::Int32), field("m", T::Int64)];
    let files = [
        file(
            "fits",
            vec![
                field("n", T::Int16),
                field("m", T::Int32),
                field("new", T::Boolean),
            ],
        ),
        file("wide", vec![field("n", T::Int64)]),
        file("text", vec![field("m", T::Utf8)]),
    ];
    let fit = fit(rules(&columns), &files);
    let expected = [&columns[..], &[field("new", T::Boolean)]].concat();
    assert_eq!(fit.columns, expected);
    assert_eq!(fit.misfits.keys().collect::<Vec<_>>(), ["text", "wide"]);
    assert_eq!(
        fit.misfits["wide"],
        "column `n` is Int64, and the table's is Int32"
    );
}

#[test]
fn our_files_decide_what_a_new_column_is() {
    let files = [
        file("raw", vec![field("n", T::Utf8)]),
        file("snapshot", vec![field("n", T::Int64)]),
    ];
    let fit = fit(rules(&[]), &files);
    assert_eq!(fit.columns, [field("n", T::Int64)]);
    assert_eq!(fit.misfits.keys().collect::<Vec<_>>(), ["raw"]);
}

#[test]
fn what_delta_does_not_know_is_left_out_by_name() {
    let local = T::Timestamp(TimeUnit::Microsecond, None);
    let strange = vec![
        field("of day", T::Utf8),
        field("clock", T::Time64(TimeUnit::Microsecond)),
        field("ID", T::Utf8),
        field("Tenant", T::Utf8),
        field("at", local.clone()),
        field(
            "deep",
            T::Struct(vec![field("inner", T::Duration(TimeUnit::Second))].into()),
        ),
        field("good", T::Utf8),
    ];
    let columns = [field("id", T::Utf8)];
    let strict = Rules {
        local_times: false,
        reserved: Some("tenant"),
        ..rules(&columns)
    };
    let found = fit(strict, &[file("a", strange)]);
    assert_eq!(
        found.columns,
        [field("id", T::Utf8), field("good", T::Utf8)]
    );
    assert_eq!(
        found.left_out.keys().collect::<Vec<_>>(),
        ["ID", "Tenant", "at", "clock", "deep", "of day"]
    );
    assert!(
        found.misfits.is_empty(),
        "their other columns can be read: {found:?}"
    );
    assert_eq!(
        fit(
            Rules {
                local_times: true,
                ..strict
            },
            &[file("a", vec![field("at", local.clone())])]
        )
        .columns,
        [field("id", T::Utf8), field("at", local)]
    );
}

#[test]
fn numbers_without_a_sign_fit_as_far_as_they_do() {
    let mut large = file("large", vec![field("n", T::UInt64)]);
    large
        .summary
        .beyond
        .insert("n".into(), "is too large".into());
    let fit = fit(
        rules(&[]),
        &[large, file("small", vec![field("n", T::UInt64)])],
    );
    assert_eq!(fit.columns, [field("n", T::Int64)]);
    assert_eq!(fit.misfits.keys().collect::<Vec<_>>(), ["large"]);
}

#[test]
fn a_column_on_which_our_files_do_not_agree_leaves_the_table_and_stays_out() {
    let columns = [
        field("t", utc(TimeUnit::Microsecond)),
        field("n", T::Int32),
        field("m", T::Int64),
        field("k", T::Int64),
    ];
    let mut snapshot = file(
        "s",
        vec![
            field("t", T::Timestamp(TimeUnit::Millisecond, None)),
            field("n", T::Int64),
            field("m", T::Utf8),
            field("k", T::UInt64),
            field("K", T::Int64),
            field("new", T::Boolean),
        ],
    );
    snapshot
        .summary
        .beyond
        .insert("k".into(), "is too large".into());
    let found = fit(rules(&columns), &[snapshot]);
    assert_eq!(found.misfits, BTreeMap::new(), "its rows are published");
    assert_eq!(
        found.columns,
        [
            field("n", T::Int64),
            field("K", T::Int64),
            field("new", T::Boolean)
        ],
        "wider is no matter"
    );
    assert_eq!(found.left_out.keys().collect::<Vec<_>>(), ["k", "m", "t"]);
    assert_eq!(
        found.left_out["m"],
        "it is Utf8 in `s`, and Int64 in other files"
    );

    // For good: the table still has files of the other type.
    let again = Rules {
        left_out: &found.left_out,
        ..rules(&found.columns)
    };
    let later = fit(again, &[file("s2", vec![field("m", T::Int64)])]);
    assert_eq!(
        (later.columns, later.left_out),
        (found.columns, found.left_out)
    );
}

#[test]
fn a_raw_file_that_waits_gives_no_columns() {
    let columns = [field("n", T::Int32)];
    let odd = file("raw", vec![field("n", T::Utf8), field("x", T::Utf8)]);
    let found = fit(
        rules(&columns),
        &[odd, file("s", vec![field("x", T::Int64)])],
    );
    assert_eq!(found.columns, [field("n", T::Int32), field("x", T::Int64)]);
    assert_eq!(found.misfits.keys().collect::<Vec<_>>(), ["raw"]);
}

#[test]
fn bounds_are_told_of_all_columns_or_of_none() {
    let number = |n: i64| Range {
        nulls: Some(0),
        bounds: Some((Bound::Number(n), Bound::Number(n))),
    };
    let with = |key: &str, ranges: &[(&str, Range)]| {
        let kinds = [
            ("a", T::Int64),
            ("b", T::Int64),
            ("f", T::Float64),
            ("o d", T::Int64),
        ];
        let mut file = file(
            key,
            kinds.iter().map(|(n, k)| field(n, k.clone())).collect(),
        );
        file.summary.ranges = ranges
            .iter()
            .map(|(n, r)| ((*n).to_owned(), r.clone()))
            .collect();
        file
    };
    let whole = with(
        "s1",
        &[
            ("a", number(1)),
            ("b", number(2)),
            ("f", number(3)),
            ("o d", number(4)),
        ],
    );
    let half = with("s2", &[("a", number(1)), ("b", Range::default())]);
    let none = file("s3", vec![field("c", T::Int64)]);
    let found = fit(rules(&[]), &[whole.clone(), half.clone()]);
    assert_eq!(
        indexed(&found, std::slice::from_ref(&whole)),
        ["a", "b"],
        "no floats, no odd names"
    );
    assert_eq!(
        indexed(&found, &[whole.clone(), half.clone()]),
        ["a"],
        "b would cost a"
    );
    let found = fit(rules(&[]), &[whole.clone(), none.clone()]);
    assert_eq!(
        indexed(&found, &[whole.clone(), none.clone()]),
        ["a", "b"],
        "all null is known"
    );

    let asked: BTreeSet<String> = ["a", "b"].map(String::from).into();
    assert_eq!(ranges(&whole, &asked).len(), 2);
    // Its columns are there, and nobody knows of what.
    let unknown = NewFile::unknown("s".to_owned(), 3);
    assert_eq!(ranges(&unknown, &asked), BTreeMap::new());
    assert_eq!(ranges(&half, &asked), BTreeMap::new());
    assert_eq!(ranges(&none, &asked)["a"].nulls, Some(none.summary.rows));
}
