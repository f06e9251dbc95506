use std::sync::Arc;

use arrow::array::{
    Array, Date32Array, Date64Array, DictionaryArray, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, StringArray, StringViewArray, StructArray, TimestampSecondArray,
    UInt32Array, UInt64Array,
};
use arrow::datatypes::{Field as ArrowField, Int8Type};

use super::*;

const S: i64 = 1_767_225_600;

fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(n, a)| (*n, Arc::clone(a), true)))
        .unwrap()
}

fn dater(column: &str, of: &RecordBatch) -> Result<Dater, String> {
    Dater::of(
        &column.parse().unwrap(),
        of.schema_ref(),
        "acme/dt=2026-01-01/x",
    )
}

fn keys(column: &str, values: impl Array + 'static) -> (TimeUnit, Vec<i64>) {
    let batch = batch(&[
        ("n", Arc::new(StringArray::new_null(values.len()))),
        ("t", Arc::new(values)),
    ]);
    let dater = dater(column, &batch).unwrap();
    (dater.unit(), dater.keys(&batch).unwrap().to_vec())
}

#[test]
fn any_column_dates_a_row() {
    use TimeUnit::*;
    const NONE: i64 = i64::MIN;
    for (column, values, expected) in [
        (
            "t",
            Arc::new(TimestampSecondArray::from(vec![Some(S), None])) as ArrayRef,
            (Second, [S, NONE]),
        ),
        (
            "t",
            Arc::new(Date32Array::from(vec![Some(20_454), None])),
            (Second, [S, NONE]),
        ),
        (
            "t",
            Arc::new(Date64Array::from(vec![S * 1_000, S * 1_000 - 1])),
            (Second, [S, S - 86_400]),
        ),
        (
            "t",
            Arc::new(StringArray::from(vec!["2026-01-01", "?"])),
            (Microsecond, [S * 1_000_000, NONE]),
        ),
        (
            "t",
            Arc::new(StringViewArray::from(vec![
                Some("2026-01-01T00:00:00.000001Z"),
                None,
            ])),
            (Microsecond, [S * 1_000_000 + 1, NONE]),
        ),
        (
            "t",
            Arc::new(
                vec!["2026-01-01", "2026-01-02"]
                    .into_iter()
                    .collect::<DictionaryArray<Int8Type>>(),
            ),
            (Microsecond, [S * 1_000_000, (S + 86_400) * 1_000_000]),
        ),
        (
            "t as %d.%m.%Y",
            Arc::new(StringArray::from(vec!["01.01.2026", "32.01.2026"])),
            (Microsecond, [S * 1_000_000, NONE]),
        ),
        (
            "t as s",
            Arc::new(Int32Array::from(vec![Some(1_767_225_600), None])),
            (Second, [S, NONE]),
        ),
        (
            "t as s",
            Arc::new(UInt32Array::from(vec![u32::MAX, 0])),
            (Second, [4_294_967_295, 0]),
        ),
        (
            "t as s",
            Arc::new(Int16Array::from(vec![-1, 1])),
            (Second, [-1, 1]),
        ),
        (
            "t as ms",
            Arc::new(Int64Array::from(vec![Some(S * 1_000), None])),
            (Millisecond, [S * 1_000, NONE]),
        ),
        (
            "t as us",
            Arc::new(UInt64Array::from(vec![7, u64::MAX])),
            (Microsecond, [7, i64::MAX]),
        ),
        (
            "t as s",
            Arc::new(Float64Array::from(vec![S as f64 + 0.25, f64::NAN])),
            (Microsecond, [S * 1_000_000 + 250_000, NONE]),
        ),
        (
            "t as ms",
            Arc::new(Float32Array::from(vec![Some(1.5), None])),
            (Microsecond, [1_500, NONE]),
        ),
        (
            "t as ns",
            Arc::new(Float64Array::from(vec![f64::INFINITY, 5.9])),
            (Nanosecond, [NONE, 5]),
        ),
        (
            "none",
            Arc::new(Int64Array::from(vec![1, 2])),
            (Microsecond, [NONE; 2]),
        ),
        (
            "path dt=%Y-%m-%d",
            Arc::new(Int64Array::from(vec![1, 2])),
            (Microsecond, [(S + 86_400) * 1_000_000 - 1; 2]),
        ),
    ] {
        let kind = values.data_type().clone();
        let (unit, found) = keys(column, values);
        assert_eq!(
            (unit, found),
            (expected.0, expected.1.to_vec()),
            "{column} of {kind}"
        );
    }
}

#[test]
fn a_field_of_a_struct_dates_a_row_unless_a_column_has_its_name() {
    let times: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
    let field = Arc::new(ArrowField::new("time", DataType::Int64, true));
    let other = Arc::new(ArrowField::new("other", DataType::Int64, true));
    let nulls = NullBuffer::from(vec![true, true, false]);
    let event = StructArray::new(
        vec![other, field].into(),
        vec![Arc::clone(&times), times],
        Some(nulls),
    );
    let nested = batch(&[
        ("a", Arc::new(Int64Array::from(vec![9; 3]))),
        ("event", Arc::new(event)),
    ]);
    let own = dater("event.time as s", &nested).unwrap();
    // Where the struct is null, so is its field.
    assert_eq!(own.keys(&nested).unwrap()[..], [1, i64::MIN, i64::MIN]);
    assert_eq!((own.root(), own.sorted_by()), (Some("event"), None));
    assert_eq!(own.leaf(), Some(vec!["event", "time"]));
    let alone = nested.project(&[1]).unwrap();
    assert_eq!(own.clone().alone().keys(&alone), own.keys(&nested));

    let column: ArrayRef = Arc::new(Int64Array::from(vec![7; 3]));
    let both = batch(&[
        ("event", Arc::clone(nested.column(1))),
        ("event.time", column),
    ]);
    let keys = |column: &str| dater(column, &both).unwrap().keys(&both).unwrap().to_vec();
    assert_eq!(keys("event.time as s"), [7; 3]);
    assert_eq!(keys("`event.time` as s"), [7; 3]);
    assert_eq!(keys("`event`.time as s"), [1, i64::MIN, i64::MIN]);
    let column = "event.time as s".parse().unwrap();
    assert!(!is_same_place(
        &column,
        nested.schema_ref(),
        both.schema_ref()
    ));
}

#[test]
fn an_order_is_claimed_only_where_every_reader_sees_it() {
    let claimed = |column: &str, values: ArrayRef| {
        let batch = batch(&[("t", values)]);
        let dater = dater(column, &batch).unwrap();
        (
            dater.sorted_by().is_some(),
            dater.leaf().is_some(),
            dater.told_by_footer().is_some(),
        )
    };
    let text = || Arc::new(StringArray::from(vec!["2026-01-01"])) as ArrayRef;
    let int = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    for (column, values, expected) in [
        (
            "t",
            Arc::new(TimestampSecondArray::from(vec![1])) as ArrayRef,
            (true, true, true),
        ),
        (
            "t",
            Arc::new(Date32Array::from(vec![1])),
            (true, true, false),
        ),
        ("t as s", int(), (true, true, true)),
        (
            "t as s",
            Arc::new(Int32Array::from(vec![1])),
            (true, true, false),
        ),
        // Beyond i64, equal keys are of other numbers.
        (
            "t as s",
            Arc::new(UInt64Array::from(vec![1])),
            (false, true, false),
        ),
        (
            "t as s",
            Arc::new(Float64Array::from(vec![1.0])),
            (false, false, false),
        ),
        ("t", text(), (false, false, false)),
        ("t as %Y-%m-%d", text(), (false, false, false)),
        ("none", int(), (false, false, false)),
        ("path dt=%Y-%m-%d", int(), (false, false, false)),
    ] {
        assert_eq!(claimed(column, values), expected, "{column}");
    }
}

#[test]
fn what_is_no_time_says_what_to_set() {
    let batch = batch(&[
        ("n", Arc::new(Int64Array::from(vec![1]))),
        ("ts", Arc::new(TimestampSecondArray::from(vec![1]))),
        ("text", Arc::new(StringArray::from(vec!["x"]))),
    ]);
    for (column, why) in [
        (
            "n",
            "column `n` is Int64, and a number needs its unit: set `timestamp_column` to \"n as s\", or to as ms, as us or as ns",
        ),
        (
            "ts as ms",
            "column `ts` is Timestamp(s), which needs no more than its name: set `timestamp_column` to \"ts\"",
        ),
        (
            "text as s",
            "column `text` is Utf8, which needs no more than its name: set `timestamp_column` to \"text\"",
        ),
        (
            "n as %Y",
            "column `n` is Int64, not text: set `timestamp_column` to one of its timestamps (`ts`)",
        ),
        (
            "no.such",
            "there is no column `no.such`: set `timestamp_column` to one of its timestamps (`ts`)",
        ),
    ] {
        let found = dates(&column.parse().unwrap(), batch.schema_ref());
        assert_eq!(found.unwrap_err(), why);
    }
    let why = Dater::of(&"path %Y".parse().unwrap(), batch.schema_ref(), "acme/x").unwrap_err();
    assert!(why.contains("`acme` matches `%Y`"), "{why}");
}

#[test]
fn a_unit_that_puts_most_rows_elsewhere_is_refused_with_the_likely_one() {
    let now = Micros((S + 3_600) * 1_000_000);
    let said = |column: &str, values: &[i64]| {
        let batch = batch(&[("t", Arc::new(Int64Array::from(values.to_vec())))]);
        let dater = dater(column, &batch).unwrap();
        let mut judge = dater.judge(now).unwrap();
        dater
            .keys(&batch)
            .unwrap()
            .iter()
            .for_each(|key| judge.add(*key));
        judge.objection()
    };
    let column = |set: EpochUnit| TimeColumn::named("t").in_unit(set).to_string();
    for real in EpochUnit::ALL {
        let rows = [S * real.per_second(), (S - 90_000_000) * real.per_second()];
        for set in EpochUnit::ALL {
            let objection = said(&column(set), &rows);
            assert_eq!(
                objection.is_none(),
                set == real,
                "{set:?} of {real:?}: {objection:?}"
            );
            let advice = format!("set `timestamp_column` to \"{}\"", column(real));
            assert!(objection.is_none_or(|why| why.ends_with(&advice)));
        }
    }
    let floats = batch(&[(
        "t",
        Arc::new(Float64Array::from(vec![S as f64 * 1e3, S as f64 * 1e3])),
    )]);
    let own = dater("t as s", &floats).unwrap();
    let mut judge = own.judge(now).unwrap();
    own.keys(&floats)
        .unwrap()
        .iter()
        .for_each(|key| judge.add(*key));
    assert!(judge.objection().unwrap().contains("\"t as ms\""));
    // A few odd rows are no reason, nor are rows that have no time.
    assert_eq!(said("t as s", &[S, S, 5, S * 1_000]), None);
    assert_eq!(said("t as s", &[S, 0, 0, 0, i64::MIN]), None);
    assert_eq!(said("t as s", &[]), None);
    assert!(
        said("t as s", &[5, 6])
            .unwrap()
            .ends_with("to another column")
    );
    // Tomorrow may be another day elsewhere.
    assert_eq!(said("t as s", &[S + 86_400]), None);
    assert!(said("t as s", &[S + 100_000]).is_some());
}
