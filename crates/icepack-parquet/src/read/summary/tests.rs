use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, RecordBatch, StringArray,
    StructArray, TimestampMillisecondArray, TimestampNanosecondArray, UInt32Array, UInt64Array,
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
        summarise(&bytes, size, 10)
            .unwrap_err()
            .contains("memory_limit")
    );
    summarise(&bytes, size, u64::MAX).unwrap()
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
        column(StringArray::from(vec!["x".repeat(TEXT + 1)])).bounds,
        None
    );
    assert_eq!(column(Float64Array::from(vec![1.0, f64::NAN])).bounds, None);
    assert_eq!(column(BooleanArray::from(vec![true])).bounds, None);
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
    assert_eq!(
        (found.beyond, found.ranges.len()),
        (vec!["x".to_owned()], 0)
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
