use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, ListBuilder, RecordBatch,
    StringArray, StructArray, TimestampMillisecondArray, TimestampNanosecondArray, UInt32Array,
    UInt64Array, UInt64Builder,
};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::*;

const T: i64 = 1_700_000_000_000;

fn summary_of(columns: Vec<(&str, ArrayRef)>, statistics: EnabledStatistics) -> Summary {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(2))
        .set_statistics_enabled(statistics)
        .build();
    let mut w = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    w.write(&batch).unwrap();
    let bytes: Bytes = w.into_inner().unwrap().into();
    let size = bytes.len() as u64;
    assert!(
        summarise(&bytes, size, 10, None)
            .unwrap_err()
            .contains("memory_limit")
    );
    summarise(&bytes, size, u64::MAX, None).unwrap()
}

fn column(array: impl arrow::array::Array + 'static) -> Range {
    let summary = summary_of(vec![("x", Arc::new(array))], EnabledStatistics::Chunk);
    summary.ranges.get("x").cloned().unwrap_or_default()
}

fn number(min: i64, max: i64) -> Option<(Bound, Bound)> {
    Some((Bound::Number(min), Bound::Number(max)))
}

fn texts(min: &str, max: &str) -> Option<(Bound, Bound)> {
    Some((Bound::Text(min.to_owned()), Bound::Text(max.to_owned())))
}

#[test]
fn bounds_span_all_row_groups() {
    assert_eq!(
        column(Int32Array::from(vec![
            Some(5),
            Some(-7),
            None,
            None,
            Some(9)
        ])),
        Range {
            nulls: Some(2),
            bounds: number(-7, 9)
        }
    );
    assert_eq!(
        column(UInt32Array::from(vec![1, u32::MAX, 3])).bounds,
        number(1, i64::from(u32::MAX))
    );
    assert_eq!(
        column(UInt64Array::from(vec![1, i64::MAX as u64])).bounds,
        number(1, i64::MAX)
    );
    assert_eq!(
        column(StringArray::from(vec!["b", "a", "ü"])).bounds,
        texts("a", "ü")
    );
    assert_eq!(
        column(Date32Array::from(vec![0, 19_000])).bounds,
        texts("1970-01-01", "2022-01-08")
    );
    let zoned = TimestampMillisecondArray::from(vec![T + 1, T]).with_timezone("+02:00");
    assert_eq!(
        column(zoned).bounds,
        texts("2023-11-14T22:13:20.000000Z", "2023-11-14T22:13:20.001000Z")
    );
    let local = TimestampNanosecondArray::from(vec![T * 1_000_000 + 1, T * 1_000_000 + 2_001]);
    assert_eq!(
        column(local).bounds,
        texts("2023-11-14T22:13:20.000000", "2023-11-14T22:13:20.000003"),
        "rounded outwards"
    );
}

#[test]
fn what_is_not_certain_is_not_told() {
    assert_eq!(
        column(Int32Array::from(vec![None, None])),
        Range {
            nulls: Some(2),
            bounds: None
        }
    );
    assert_eq!(
        column(Float64Array::from(vec![1.0, f64::NAN])),
        Range::default()
    );
    assert_eq!(column(BooleanArray::from(vec![true])), Range::default());
    let blind = summary_of(
        vec![("x", Arc::new(Int32Array::from(vec![1, 2, 3])))],
        EnabledStatistics::None,
    );
    assert_eq!(
        (blind.rows, blind.ranges["x"].clone()),
        (3, Range::default())
    );
    let inner: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let nested = StructArray::try_from(vec![("inner", inner)]).unwrap();
    let found = summary_of(
        vec![
            ("s", Arc::new(nested)),
            ("n", Arc::new(Int32Array::from(vec![4]))),
        ],
        EnabledStatistics::Chunk,
    );
    assert_eq!(found.ranges.keys().collect::<Vec<_>>(), ["n"]);
    assert_eq!(found.ranges["n"].bounds, number(4, 4));
}

#[test]
fn numbers_that_no_signed_type_holds_are_named() {
    let found = summary_of(
        vec![(
            "x",
            Arc::new(UInt64Array::from(vec![1, 2, i64::MAX as u64 + 1])),
        )],
        EnabledStatistics::Chunk,
    );
    assert_eq!(found.beyond["x"], "has a number above 9223372036854775807");
    assert_eq!(found.ranges["x"].bounds, None);
}

#[test]
fn numbers_without_a_sign_are_looked_for_in_every_column() {
    let large = |n| Arc::new(UInt64Array::from(vec![n])) as ArrayRef;
    let lists = |n: u64| {
        let mut lists = ListBuilder::new(UInt64Builder::new());
        lists.append_value([Some(1), Some(n)]);
        Arc::new(lists.finish()) as ArrayRef
    };
    let within =
        |n| Arc::new(StructArray::try_from(vec![("inner", large(n))]).unwrap()) as ArrayRef;
    let mut columns: Vec<(String, ArrayRef)> = (0..40)
        .map(|n| {
            (
                format!("c{n}"),
                Arc::new(Int32Array::from(vec![n])) as ArrayRef,
            )
        })
        .collect();
    for (name, n) in [("ok", 1), ("bad", u64::MAX)] {
        columns.push((format!("{name} flat"), large(n)));
        columns.push((format!("{name} list"), lists(n)));
        columns.push((format!("{name} struct"), within(n)));
    }
    columns.push(("ok nulls".into(), Arc::new(UInt64Array::from(vec![None]))));
    let columns: Vec<_> = columns
        .iter()
        .map(|(n, c)| (n.as_str(), Arc::clone(c)))
        .collect();
    let found = summary_of(columns.clone(), EnabledStatistics::Chunk);
    assert_eq!(
        found.beyond.keys().collect::<Vec<_>>(),
        ["bad flat", "bad list", "bad struct"]
    );
    let blind = summary_of(columns, EnabledStatistics::None);
    assert_eq!(blind.beyond.len(), 7, "what is not known may be large");
}

#[test]
fn dates_and_times_are_compared_before_they_are_written() {
    // One row group of two rows, and one of one.
    let far = Date32Array::from(vec![Some(0), None, Some(4_000_000)]);
    assert_eq!(
        column(far).bounds,
        None,
        "the year 12921 has a sign as a text"
    );
    let days = |y, m, d| {
        let date = chrono::NaiveDate::from_ymd_opt(y, m, d).unwrap();
        date.to_epoch_days()
    };
    let edges = Date32Array::from(vec![days(9999, 12, 31), days(2000, 1, 1), days(1, 1, 1)]);
    assert_eq!(column(edges).bounds, texts("0001-01-01", "9999-12-31"));
    for beyond in [days(0, 12, 31), days(-221, 9, 4), days(10_000, 1, 1)] {
        assert_eq!(column(Date32Array::from(vec![0, beyond])).bounds, None);
    }
    let micros = |year: i32| {
        let at = chrono::NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
        at.and_hms_opt(0, 0, 0)
            .unwrap()
            .and_utc()
            .timestamp_millis()
    };
    for (year, is_told) in [(0, false), (1, true), (9999, true), (10_000, false)] {
        let column = column(TimestampMillisecondArray::from(vec![0, micros(year)]));
        assert_eq!(column.bounds.is_some(), is_told, "{year}");
    }
}

#[test]
fn a_long_text_is_cut_and_its_bounds_hold() {
    let long = |c: char| c.to_string().repeat(TEXT);
    for (text, max) in [
        (long('x'), long('x')),
        (long('x') + "y", "x".repeat(TEXT - 1) + "y"),
        ("é".repeat(TEXT), "é".repeat(TEXT / 2 - 1) + "ê"),
        (format!("a{}b", long('\u{10ffff}')), "b".to_owned()),
        (
            "\u{d7ff}".repeat(TEXT),
            "\u{d7ff}".repeat(TEXT / 3 - 1) + "\u{e000}",
        ),
    ] {
        let Some((Bound::Text(low), Bound::Text(high))) =
            column(StringArray::from(vec![text.as_str()])).bounds
        else {
            panic!("{text}");
        };
        assert!(low.len() <= TEXT && high.len() <= TEXT && low <= text && text <= high);
        assert_eq!(high, max);
    }
    assert_eq!(
        column(StringArray::from(vec![long('\u{10ffff}') + "x"])).bounds,
        None
    );
}

#[test]
fn types_that_delta_knows() {
    use DataType as T;
    let f = |t: T| Arc::new(arrow::datatypes::Field::new("element", t, true));
    for (from, to) in [
        (T::UInt8, Some(T::Int16)),
        (T::UInt64, Some(T::Int64)),
        (
            T::Timestamp(TimeUnit::Nanosecond, None),
            Some(T::Timestamp(TimeUnit::Microsecond, None)),
        ),
        (
            T::Timestamp(TimeUnit::Second, Some("+01:00".into())),
            Some(T::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        ),
        (
            T::Dictionary(Box::new(T::Int8), Box::new(T::LargeUtf8)),
            Some(T::Utf8),
        ),
        (T::LargeList(f(T::UInt8)), Some(T::List(f(T::Int16)))),
        (T::List(f(T::Time32(TimeUnit::Second))), None),
        (T::Float16, None),
        (T::FixedSizeBinary(16), None),
        (T::Decimal128(10, -2), None),
        (T::Null, None),
    ] {
        assert_eq!(publishable(&from), to, "{from}");
    }
    assert!(
        holds(&T::Int64, &T::Int16) && !holds(&T::Int16, &T::Int64) && !holds(&T::Int64, &T::Utf8)
    );
    let (a, b) = (
        T::List(f(T::Utf8)),
        T::List(Arc::new(arrow::datatypes::Field::new(
            "item",
            T::Utf8,
            false,
        ))),
    );
    assert!(holds(&a, &b) && !holds(&a, &T::List(f(T::Int64))));
}

#[test]
fn types_that_hold_others() {
    use DataType as T;
    let f = |name: &str, t: T| Arc::new(Field::new(name, t, true));
    let of = |fields: &[(&str, T)]| {
        T::Struct(fields.iter().map(|(name, t)| f(name, t.clone())).collect())
    };
    let list = |t: T| T::List(f("element", t));
    let (a, ab) = (
        of(&[("a", T::Int32)]),
        of(&[("a", T::Int64), ("b", T::Utf8)]),
    );
    for (table, file) in [
        (ab.clone(), a.clone()),
        (ab.clone(), of(&[("b", T::Utf8), ("a", T::Int64)])),
        (list(ab.clone()), list(a.clone())),
        (of(&[("s", ab.clone())]), of(&[("s", a.clone())])),
    ] {
        assert!(holds(&table, &file), "{table} {file}");
        assert_eq!(united(&table, &file), Some(table));
    }
    assert!(!holds(&a, &ab));
    let other = of(&[("c", T::Utf8), ("a", T::Int8)]);
    let all = of(&[("a", T::Int64), ("b", T::Utf8), ("c", T::Utf8)]);
    assert_eq!(united(&list(ab.clone()), &list(other)), Some(list(all)));
    for odd in [
        of(&[("A", T::Int64)]),
        of(&[("a", T::Utf8)]),
        T::Int64,
        list(ab.clone()),
    ] {
        assert_eq!(united(&ab, &odd), None, "{odd}");
    }
}
