use std::sync::Arc;

use arrow::datatypes::{DataType as T, Schema, TimeUnit};

use super::*;

fn field(name: &str, kind: T) -> Field {
    Field::new(name, kind, true)
}

fn file(key: &str, fields: Vec<Field>) -> NewFile {
    let is_snapshot = key.starts_with('s');
    let summary = Summary {
        rows: 1,
        schema: Arc::new(Schema::new(fields)),
        ranges: BTreeMap::new(),
        beyond: Vec::new(),
    };
    NewFile {
        key: key.to_owned(),
        summary,
        is_snapshot,
    }
}

fn rules(columns: &[Field]) -> Rules<'_> {
    Rules {
        columns,
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
    assert_eq!(fit.add, expected);
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
    assert_eq!(fit.add, [field("new", T::Boolean)]);
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
    assert_eq!(fit.add, [field("n", T::Int64)]);
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
    let rules = Rules {
        columns: &columns,
        local_times: false,
        reserved: Some("tenant"),
    };
    let found = fit(rules, &[file("a", strange)]);
    assert_eq!(found.add, [field("good", T::Utf8)]);
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
                ..rules
            },
            &[file("a", vec![field("at", local.clone())])]
        )
        .add,
        [field("at", local)]
    );
}

#[test]
fn numbers_without_a_sign_fit_as_far_as_they_do() {
    let mut large = file("large", vec![field("n", T::UInt64)]);
    large.summary.beyond.push("n".into());
    let fit = fit(
        rules(&[]),
        &[large, file("small", vec![field("n", T::UInt64)])],
    );
    assert_eq!(fit.add, [field("n", T::Int64)]);
    assert_eq!(fit.misfits.keys().collect::<Vec<_>>(), ["large"]);
}
