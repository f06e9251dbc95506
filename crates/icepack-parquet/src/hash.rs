//! The fingerprint of rows. A merge must conserve it, whatever it does to the order of rows, to
//! files and to column types.
//!
//! The definition is persisted in manifests, so it never changes (there is a golden test):
//!
//! - A row's hash is `mix(Σ value hashes)`, over its columns, each value seeded by its column's
//!   name. The sum makes it independent of the order of columns; the `mix` after it ties the values
//!   to one row: swapping values between two rows changes the sum over rows.
//! - A null adds nothing, so that a column that is absent and one that is all null are the same.
//! - Values count, not layouts: integers by number whatever their width, floats as doubles, times
//!   as nanoseconds whatever their unit or zone, strings as bytes, dictionaries by what they stand
//!   for. A lossless widening changes nothing; an integer that became a double is still itself.
//! - But a name is as it is spelled, and a decimal has the scale of its type. What a file's rows are
//!   as rows of another schema, [`fingerprint_as`] tells without making them such.

use arrow::array::types::*;
use arrow::array::{
    Array, AsArray, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait, RecordBatch,
    StructArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Fields, IntervalUnit, Schema, TimeUnit, i256};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use crate::schema::canonical;
use crate::schema::unite::{names, places};
use crate::time::per_second;
use icepack_core::model::file::Fingerprint;

/// What kind of value it is: `1` as a number is not `1` as a date.
#[derive(Clone, Copy)]
enum Family {
    Number = 1,
    Bytes,
    Bool,
    Timestamp,
    Date,
    TimeOfDay,
    Duration,
    Interval,
    Decimal,
    List,
    Struct,
}

const ROW: u64 = 0x6963_6570_6163_6b01;
const COLUMN: u64 = 0x6963_6570_6163_6b02;
/// A null inside a list: it has a place there, other than a null column.
const NULL_ELEMENT: u128 = 0x6963_6570_6163_6b03_6963_6570_6163_6b03;

fn seeded(seed: u64, family: Family) -> u64 {
    seed.wrapping_add((family as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn number(value: i128, seed: u64) -> u128 {
    xxh3_128_with_seed(&value.to_le_bytes(), seed)
}

fn float(value: f64, seed: u64) -> u128 {
    // Integers of up to 32 bits may have been widened to doubles. A negative zero is not the
    // integer 0.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT && !(value == 0.0 && value.is_sign_negative()) {
        #[allow(clippy::cast_possible_truncation)]
        return number(value as i128, seed);
    }
    xxh3_128_with_seed(&value.to_bits().to_le_bytes(), seed)
}

fn mix(value: u128, seed: u64) -> u128 {
    xxh3_128_with_seed(&value.to_le_bytes(), seed)
}

/// The hash of every row of `batch`, into `out`, which is cleared first.
///
/// # Errors
/// A column of a type that Parquet cannot hold either, in a sentence.
pub fn row_hashes(batch: &RecordBatch, out: &mut Vec<u128>) -> Result<(), String> {
    hashes_as(batch, batch.schema_ref().fields(), out)
}

/// As rows of `like`, which has each column of `batch` in its order.
fn hashes_as(batch: &RecordBatch, like: &[FieldRef], out: &mut Vec<u128>) -> Result<(), String> {
    out.clear();
    out.resize(batch.num_rows(), 0);
    for (field, column) in like.iter().zip(batch.columns()) {
        add(
            column,
            field.data_type(),
            xxh3_64_with_seed(field.name().as_bytes(), COLUMN),
            out,
        )?;
    }
    for hash in out {
        *hash = mix(*hash, ROW);
    }
    Ok(())
}

/// The fingerprint of a batch's rows; `scratch` saves an allocation per batch.
///
/// # Errors
/// As [`row_hashes`].
pub fn fingerprint(batch: &RecordBatch, scratch: &mut Vec<u128>) -> Result<Fingerprint, String> {
    row_hashes(batch, scratch)?;
    Ok(sum(scratch))
}

/// The fingerprint that the rows of a batch have once they are brought to `target`
/// ([`crate::schema::adapt`]): by its names and scales. It does not rest on how they are brought
/// there.
///
/// # Errors
/// As [`row_hashes`]; a column that `target` does not have.
pub fn fingerprint_as(
    batch: &RecordBatch,
    target: &Schema,
    scratch: &mut Vec<u128>,
) -> Result<Fingerprint, String> {
    let like = like(batch.schema_ref().fields(), target.fields())?;
    hashes_as(batch, &like, scratch)?;
    Ok(sum(scratch))
}

/// Whether [`fingerprint_as`] of rows with the columns `own` may be another than [`fingerprint`].
///
/// # Errors
/// As [`fingerprint_as`].
pub fn is_other_as(own: &Schema, target: &Schema) -> Result<bool, String> {
    let like = like(own.fields(), target.fields())?;
    let mut both = own.fields().iter().zip(&like);
    Ok(both
        .any(|(own, like)| own.name() != like.name() || differs(own.data_type(), like.data_type())))
}

/// For each of `own`, the field of `target` that is the same.
fn like(own: &Fields, target: &Fields) -> Result<Vec<FieldRef>, String> {
    let lost = |n: usize| format!("there is no column for `{}`", own[n].name());
    let places = places(&names(target), &names(own)).map_err(|(_, n)| lost(n))?;
    let mut like: Vec<Option<&FieldRef>> = vec![None; own.len()];
    for (field, place) in target.iter().zip(places) {
        if let Some(n) = place {
            like[n] = Some(field);
        }
    }
    let known = like.into_iter().enumerate();
    known
        .map(|(n, field)| field.cloned().ok_or_else(|| lost(n)))
        .collect()
}

fn differs(own: &DataType, like: &DataType) -> bool {
    use DataType as T;
    match (own, like) {
        (T::Struct(own), T::Struct(target)) => match self::like(own, target) {
            Ok(like) => own
                .iter()
                .zip(&like)
                .any(|(a, b)| a.name() != b.name() || differs(a.data_type(), b.data_type())),
            Err(_) => true,
        },
        (T::Dictionary(_, value), _) => differs(value, like),
        (T::Map(a, _), T::Map(b, _)) => match (a.data_type(), b.data_type()) {
            (T::Struct(a), T::Struct(b)) => a
                .iter()
                .zip(b)
                .any(|(a, b)| differs(a.data_type(), b.data_type())),
            _ => true,
        },
        _ => match (scale(own), element(own), element(like)) {
            (Some(scale), ..) => self::scale(like) != Some(scale),
            (None, Some(a), Some(b)) => differs(a.data_type(), b.data_type()),
            _ => false,
        },
    }
}

/// What a list is of.
fn element(data_type: &DataType) -> Option<&FieldRef> {
    use DataType as T;
    match data_type {
        T::List(f)
        | T::LargeList(f)
        | T::FixedSizeList(f, _)
        | T::ListView(f)
        | T::LargeListView(f) => Some(f),
        _ => None,
    }
}

/// Digits behind the point of a decimal.
fn scale(data_type: &DataType) -> Option<i8> {
    use DataType as T;
    match data_type {
        T::Decimal32(_, s) | T::Decimal64(_, s) | T::Decimal128(_, s) | T::Decimal256(_, s) => {
            Some(*s)
        }
        _ => None,
    }
}

/// The fingerprint of the rows with these hashes.
pub fn sum(hashes: &[u128]) -> Fingerprint {
    Fingerprint(hashes.iter().fold(0, |a, h| a.wrapping_add(*h)))
}

/// Adds `hash(i)` to `acc[i]` for every row that is not null.
fn each(array: &dyn Array, acc: &mut [u128], mut hash: impl FnMut(usize) -> u128) {
    match array.nulls().filter(|n| n.null_count() > 0) {
        None => acc
            .iter_mut()
            .enumerate()
            .for_each(|(i, a)| *a = a.wrapping_add(hash(i))),
        Some(nulls) => nulls
            .valid_indices()
            .for_each(|i| acc[i] = acc[i].wrapping_add(hash(i))),
    }
}

macro_rules! primitive {
    ($array:expr, $acc:expr, $kind:ty, |$v:ident| $hash:expr) => {{
        let values = $array.as_primitive::<$kind>().values();
        each($array, $acc, |i| {
            let $v = values[i];
            $hash
        })
    }};
}

/// Adds the hash of every value of `array`, as one of type `like`, to its row's in `acc`.
fn add(array: &dyn Array, like: &DataType, seed: u64, acc: &mut [u128]) -> Result<(), String> {
    use DataType as T;
    let n = seeded(seed, Family::Number);
    let bytes = seeded(seed, Family::Bytes);
    match array.data_type() {
        T::Null => {}
        T::Int8 => primitive!(array, acc, Int8Type, |v| number(v.into(), n)),
        T::Int16 => primitive!(array, acc, Int16Type, |v| number(v.into(), n)),
        T::Int32 => primitive!(array, acc, Int32Type, |v| number(v.into(), n)),
        T::Int64 => primitive!(array, acc, Int64Type, |v| number(v.into(), n)),
        T::UInt8 => primitive!(array, acc, UInt8Type, |v| number(v.into(), n)),
        T::UInt16 => primitive!(array, acc, UInt16Type, |v| number(v.into(), n)),
        T::UInt32 => primitive!(array, acc, UInt32Type, |v| number(v.into(), n)),
        T::UInt64 => primitive!(array, acc, UInt64Type, |v| number(v.into(), n)),
        T::Float16 => primitive!(array, acc, Float16Type, |v| float(v.to_f64(), n)),
        T::Float32 => primitive!(array, acc, Float32Type, |v| float(v.into(), n)),
        T::Float64 => primitive!(array, acc, Float64Type, |v| float(v, n)),
        T::Boolean => {
            let (values, seed) = (array.as_boolean().values(), seeded(seed, Family::Bool));
            each(array, acc, |i| number(values.value(i).into(), seed));
        }
        T::Utf8 => {
            let a = array.as_string::<i32>();
            each(array, acc, |i| {
                xxh3_128_with_seed(a.value(i).as_bytes(), bytes)
            });
        }
        T::LargeUtf8 => {
            let a = array.as_string::<i64>();
            each(array, acc, |i| {
                xxh3_128_with_seed(a.value(i).as_bytes(), bytes)
            });
        }
        T::Utf8View => {
            let a = array.as_string_view();
            each(array, acc, |i| {
                xxh3_128_with_seed(a.value(i).as_bytes(), bytes)
            });
        }
        T::Binary => {
            let a = array.as_binary::<i32>();
            each(array, acc, |i| xxh3_128_with_seed(a.value(i), bytes));
        }
        T::LargeBinary => {
            let a = array.as_binary::<i64>();
            each(array, acc, |i| xxh3_128_with_seed(a.value(i), bytes));
        }
        T::BinaryView => {
            let a = array.as_binary_view();
            each(array, acc, |i| xxh3_128_with_seed(a.value(i), bytes));
        }
        T::FixedSizeBinary(_) => {
            let a = array.as_fixed_size_binary();
            each(array, acc, |i| xxh3_128_with_seed(a.value(i), bytes));
        }
        T::Timestamp(..)
        | T::Date32
        | T::Date64
        | T::Time32(_)
        | T::Time64(_)
        | T::Duration(_)
        | T::Interval(_) => add_temporal(array, seed, acc),
        T::Decimal32(_, own)
        | T::Decimal64(_, own)
        | T::Decimal128(_, own)
        | T::Decimal256(_, own) => {
            add_decimal(array, *own, scale(like).unwrap_or(*own), seed, acc);
        }
        T::List(_) => add_list(array.as_list::<i32>(), like, seed, acc)?,
        T::LargeList(_) => add_list(array.as_list::<i64>(), like, seed, acc)?,
        T::FixedSizeList(..) => add_fixed_list(array.as_fixed_size_list(), like, seed, acc)?,
        T::Struct(own) => {
            let fields = match like {
                T::Struct(target) => self::like(own, target)?,
                _ => own.to_vec(),
            };
            add_struct(array.as_struct(), &fields, seed, acc)?;
        }
        T::Map(..) => add_map(array.as_map(), like, seed, acc)?,
        T::Dictionary(..) | T::RunEndEncoded(..) | T::ListView(_) | T::LargeListView(_) => {
            let plain = cast(array, &canonical(array.data_type())).map_err(|e| e.to_string())?;
            add(&plain, like, seed, acc)?;
        }
        other => return Err(format!("a column of type {other} cannot be fingerprinted")),
    }
    Ok(())
}

/// Nanoseconds per tick, so that the unit does not matter.
fn tick(unit: TimeUnit) -> i128 {
    i128::from(1_000_000_000 / per_second(unit))
}

fn add_temporal(array: &dyn Array, seed: u64, acc: &mut [u128]) {
    use DataType as T;
    let stamp = seeded(seed, Family::Timestamp);
    let date = seeded(seed, Family::Date);
    let clock = seeded(seed, Family::TimeOfDay);
    let span = seeded(seed, Family::Duration);
    let interval = seeded(seed, Family::Interval);
    macro_rules! ticks {
        ($kind:ty, $unit:expr, $seed:expr) => {{
            let per = tick($unit);
            primitive!(array, acc, $kind, |v| number(i128::from(v) * per, $seed))
        }};
    }
    match array.data_type() {
        T::Timestamp(TimeUnit::Second, _) => ticks!(TimestampSecondType, TimeUnit::Second, stamp),
        T::Timestamp(TimeUnit::Millisecond, _) => {
            ticks!(TimestampMillisecondType, TimeUnit::Millisecond, stamp)
        }
        T::Timestamp(TimeUnit::Microsecond, _) => {
            ticks!(TimestampMicrosecondType, TimeUnit::Microsecond, stamp)
        }
        T::Timestamp(TimeUnit::Nanosecond, _) => {
            ticks!(TimestampNanosecondType, TimeUnit::Nanosecond, stamp)
        }
        T::Time32(TimeUnit::Second) => ticks!(Time32SecondType, TimeUnit::Second, clock),
        T::Time32(_) => ticks!(Time32MillisecondType, TimeUnit::Millisecond, clock),
        T::Time64(TimeUnit::Microsecond) => {
            ticks!(Time64MicrosecondType, TimeUnit::Microsecond, clock)
        }
        T::Time64(_) => ticks!(Time64NanosecondType, TimeUnit::Nanosecond, clock),
        T::Duration(TimeUnit::Second) => ticks!(DurationSecondType, TimeUnit::Second, span),
        T::Duration(TimeUnit::Millisecond) => {
            ticks!(DurationMillisecondType, TimeUnit::Millisecond, span)
        }
        T::Duration(TimeUnit::Microsecond) => {
            ticks!(DurationMicrosecondType, TimeUnit::Microsecond, span)
        }
        T::Duration(TimeUnit::Nanosecond) => {
            ticks!(DurationNanosecondType, TimeUnit::Nanosecond, span)
        }
        T::Date32 => primitive!(array, acc, Date32Type, |v| number(
            i128::from(v) * 86_400_000,
            date
        )),
        T::Date64 => primitive!(array, acc, Date64Type, |v| number(v.into(), date)),
        T::Interval(IntervalUnit::YearMonth) => {
            primitive!(array, acc, IntervalYearMonthType, |v| number(
                v.into(),
                interval
            ))
        }
        T::Interval(IntervalUnit::DayTime) => {
            primitive!(array, acc, IntervalDayTimeType, |v| number(
                (i128::from(v.days) << 32) ^ i128::from(v.milliseconds),
                interval.wrapping_add(1)
            ));
        }
        T::Interval(IntervalUnit::MonthDayNano) => {
            let seed = interval.wrapping_add(2);
            primitive!(array, acc, IntervalMonthDayNanoType, |v| {
                let parts = (i128::from(v.months) << 96)
                    ^ (i128::from(v.days) << 64)
                    ^ i128::from(v.nanoseconds);
                number(parts, seed)
            });
        }
        _ => {}
    }
}

fn add_decimal(array: &dyn Array, own: i8, scale: i8, seed: u64, acc: &mut [u128]) {
    let more = u32::try_from(i16::from(scale) - i16::from(own)).unwrap_or(0);
    let factor = (more > 0).then(|| i256::from_i128(10).wrapping_pow(more));
    let seed = seeded(seed, Family::Decimal)
        .wrapping_add(u64::from(scale.unsigned_abs()) * 2 + u64::from(scale < 0));
    let large = |v: i256| {
        let v = factor.map_or(v, |factor| v.wrapping_mul(factor));
        match v.to_i128() {
            Some(small) => number(small, seed),
            None => xxh3_128_with_seed(&v.to_le_bytes(), seed),
        }
    };
    let small = |v: i128| match factor {
        None => number(v, seed),
        Some(_) => large(i256::from_i128(v)),
    };
    match array.data_type() {
        DataType::Decimal32(..) => primitive!(array, acc, Decimal32Type, |v| small(v.into())),
        DataType::Decimal64(..) => primitive!(array, acc, Decimal64Type, |v| small(v.into())),
        DataType::Decimal128(..) => primitive!(array, acc, Decimal128Type, |v| small(v)),
        DataType::Decimal256(..) => primitive!(array, acc, Decimal256Type, |v| large(v)),
        _ => {}
    }
}

/// One hash per element, nulls included.
fn elements(array: &dyn Array, like: &DataType, seed: u64) -> Result<Vec<u128>, String> {
    let mut hashes = vec![0; array.len()];
    add(array, like, seed, &mut hashes)?;
    if let Some(nulls) = array.logical_nulls() {
        hashes
            .iter_mut()
            .zip(nulls.iter())
            .for_each(|(h, valid)| *h = if valid { *h } else { NULL_ELEMENT });
    }
    Ok(hashes)
}

/// The hash of a list: its length, and its elements in order.
fn sequence(elements: &[u128], seed: u64) -> u128 {
    elements
        .iter()
        .fold(number(elements.len() as i128, seed), |h, e| {
            mix(h.wrapping_add(*e), seed)
        })
}

fn add_list<O: OffsetSizeTrait>(
    array: &GenericListArray<O>,
    like: &DataType,
    seed: u64,
    acc: &mut [u128],
) -> Result<(), String> {
    let seed = seeded(seed, Family::List);
    let offsets = array.value_offsets();
    let (first, last) = (offsets[0].as_usize(), offsets[array.len()].as_usize());
    let values = array.values().slice(first, last - first);
    let of = element(like).map_or(values.data_type(), |f| f.data_type());
    let hashes = elements(&values, of, seed)?;
    each(array, acc, |i| {
        sequence(
            &hashes[offsets[i].as_usize() - first..offsets[i + 1].as_usize() - first],
            seed,
        )
    });
    Ok(())
}

fn add_fixed_list(
    array: &FixedSizeListArray,
    like: &DataType,
    seed: u64,
    acc: &mut [u128],
) -> Result<(), String> {
    let seed = seeded(seed, Family::List);
    let width = usize::try_from(array.value_length()).unwrap_or(0);
    let start = array.value_offset_at(0);
    let values = array.values().slice(start, width * array.len());
    let of = element(like).map_or(values.data_type(), |f| f.data_type());
    let hashes = elements(&values, of, seed)?;
    each(array, acc, |i| {
        sequence(&hashes[i * width..(i + 1) * width], seed)
    });
    Ok(())
}

fn add_struct(
    array: &StructArray,
    like: &[FieldRef],
    seed: u64,
    acc: &mut [u128],
) -> Result<(), String> {
    let seed = seeded(seed, Family::Struct);
    let mut fields = vec![0; array.len()];
    for (field, column) in like.iter().zip(array.columns()) {
        add(
            column,
            field.data_type(),
            xxh3_64_with_seed(field.name().as_bytes(), seed),
            &mut fields,
        )?;
    }
    each(array, acc, |i| mix(fields[i], seed));
    Ok(())
}

fn add_map(array: &MapArray, like: &DataType, seed: u64, acc: &mut [u128]) -> Result<(), String> {
    let seed = seeded(seed, Family::List);
    let offsets = array.value_offsets();
    let (first, last) = (
        usize::try_from(offsets[0]).unwrap_or(0),
        usize::try_from(offsets[array.len()]).unwrap_or(0),
    );
    // Writers name the two columns differently; what they are is fixed by their place.
    let of = |n: usize, own: &DataType| match like {
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => fields[n].data_type().clone(),
            _ => own.clone(),
        },
        _ => own.clone(),
    };
    let keys = elements(
        &array.keys().slice(first, last - first),
        &of(0, array.keys().data_type()),
        xxh3_64_with_seed(b"key", seed),
    )?;
    let values = elements(
        &array.values().slice(first, last - first),
        &of(1, array.values().data_type()),
        xxh3_64_with_seed(b"value", seed),
    )?;
    let entries: Vec<u128> = keys
        .iter()
        .zip(&values)
        .map(|(k, v)| mix(mix(*k, seed).wrapping_add(*v), seed))
        .collect();
    let at = |i: usize| usize::try_from(offsets[i]).unwrap_or(first) - first;
    each(array, acc, |i| sequence(&entries[at(i)..at(i + 1)], seed));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::*;
    use arrow::datatypes::{Field, Schema};
    use std::sync::Arc;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        let fields: Vec<_> = columns
            .iter()
            .map(|(n, a)| Field::new(*n, a.data_type().clone(), true))
            .collect();
        RecordBatch::try_new(
            Arc::new(Schema::new(fields)),
            columns.into_iter().map(|(_, a)| a).collect(),
        )
        .unwrap()
    }

    fn hashes(columns: Vec<(&str, ArrayRef)>) -> Vec<u128> {
        let mut out = Vec::new();
        row_hashes(&batch(columns), &mut out).unwrap();
        out
    }

    fn strings(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn events() -> Vec<(&'static str, ArrayRef)> {
        vec![
            ("event_id", strings(&[Some("a"), Some("b"), None])),
            (
                "timestamp",
                Arc::new(TimestampMicrosecondArray::from(vec![
                    Some(1_000),
                    Some(-2_000),
                    None,
                ])),
            ),
            ("version", Arc::new(UInt64Array::from(vec![1, u64::MAX, 3]))),
            (
                "score",
                Arc::new(Float64Array::from(vec![0.5, -0.0, f64::NAN])),
            ),
        ]
    }

    #[test]
    fn the_definition_never_changes() {
        let got: Vec<String> = hashes(events())
            .iter()
            .map(|h| format!("{h:032x}"))
            .collect();
        assert_eq!(got, GOLDEN);
        let mut nested = ListBuilder::new(Int32Builder::new());
        nested.append_value([Some(1), None]);
        nested.append_null();
        let s = StructArray::from(vec![(
            Arc::new(Field::new("x", DataType::Boolean, true)),
            Arc::new(BooleanArray::from(vec![Some(true), None])) as ArrayRef,
        )]);
        let d = Decimal128Array::from(vec![12_345, -1])
            .with_precision_and_scale(10, 2)
            .unwrap();
        let got = hashes(vec![
            ("l", Arc::new(nested.finish())),
            ("s", Arc::new(s)),
            ("d", Arc::new(d)),
            ("day", Arc::new(Date32Array::from(vec![1, 2]))),
        ]);
        let got: Vec<String> = got.iter().map(|h| format!("{h:032x}")).collect();
        assert_eq!(got, GOLDEN_NESTED);
    }

    const GOLDEN: [&str; 3] = [
        "b015e03eb7108fc27da680555686d0e1",
        "596202300ddb402dfebc3799e8c9fd16",
        "2163bf9da1dab3eaf7b08e03f756096b",
    ];
    const GOLDEN_NESTED: [&str; 2] = [
        "a6f8e7a23ab5e9c4f226228cb20f2823",
        "e138f6e7eaccdb3c0d0ad860131578c6",
    ];

    #[test]
    fn the_order_of_columns_and_rows_does_not_matter_to_the_sum() {
        let plain = hashes(events());
        let mut columns = events();
        columns.reverse();
        assert_eq!(plain, hashes(columns));
        let b = batch(events());
        let (x, y) = (b.slice(0, 1), b.slice(1, 2));
        let mut scratch = Vec::new();
        let parts = fingerprint(&y, &mut scratch)
            .unwrap()
            .plus(fingerprint(&x, &mut scratch).unwrap());
        assert_eq!(parts, sum(&plain));
    }

    #[test]
    fn an_absent_column_is_a_column_of_nulls() {
        let mut columns = events();
        columns.push(("metadata", strings(&[None, None, None])));
        columns.push(("nothing", Arc::new(NullArray::new(3))));
        assert_eq!(hashes(columns), hashes(events()));
    }

    #[test]
    fn widening_does_not_show() {
        let ints: [ArrayRef; 5] = [
            Arc::new(Int8Array::from(vec![-1, 7])),
            Arc::new(Int32Array::from(vec![-1, 7])),
            Arc::new(Int64Array::from(vec![-1, 7])),
            Arc::new(Float32Array::from(vec![-1.0, 7.0])),
            Arc::new(Float64Array::from(vec![-1.0, 7.0])),
        ];
        for pair in ints.windows(2) {
            assert_eq!(
                hashes(vec![("x", pair[0].clone())]),
                hashes(vec![("x", pair[1].clone())])
            );
        }
        let times: [ArrayRef; 4] = [
            Arc::new(TimestampSecondArray::from(vec![-3, 5])),
            Arc::new(TimestampMillisecondArray::from(vec![-3_000, 5_000]).with_timezone("+02:00")),
            Arc::new(TimestampMicrosecondArray::from(vec![-3_000_000, 5_000_000])),
            Arc::new(TimestampNanosecondArray::from(vec![
                -3_000_000_000,
                5_000_000_000,
            ])),
        ];
        for pair in times.windows(2) {
            assert_eq!(
                hashes(vec![("x", pair[0].clone())]),
                hashes(vec![("x", pair[1].clone())])
            );
        }
        let dict: DictionaryArray<arrow::datatypes::Int8Type> =
            vec![Some("p"), None].into_iter().collect();
        let texts: [ArrayRef; 5] = [
            strings(&[Some("p"), None]),
            Arc::new(LargeStringArray::from(vec![Some("p"), None])),
            Arc::new(StringViewArray::from(vec![Some("p"), None])),
            Arc::new(BinaryArray::from(vec![Some(b"p".as_slice()), None])),
            Arc::new(dict),
        ];
        for pair in texts.windows(2) {
            assert_eq!(
                hashes(vec![("x", pair[0].clone())]),
                hashes(vec![("x", pair[1].clone())])
            );
        }
    }

    /// What rows are as rows of another schema is what they are once they have been brought there.
    #[test]
    fn rows_are_told_as_those_of_another_schema_before_they_are_brought_there() {
        let decimal = |v: Vec<Option<i128>>, p, s| -> ArrayRef {
            let array = Decimal128Array::from(v).with_precision_and_scale(p, s);
            Arc::new(array.unwrap())
        };
        let prices = || decimal(vec![Some(12_345), Some(-1), None], 9, 2);
        let inner = StructArray::from(vec![
            (
                Arc::new(Field::new("Price", prices().data_type().clone(), true)),
                prices(),
            ),
            (
                Arc::new(Field::new("n", DataType::Int8, true)),
                Arc::new(Int8Array::from(vec![1, 2, 3])) as ArrayRef,
            ),
        ]);
        let offsets = arrow::buffer::OffsetBuffer::new(vec![0, 2, 2, 3].into());
        let element = Arc::new(Field::new("element", inner.data_type().clone(), true));
        let lists = ListArray::new(element, offsets, Arc::new(inner.clone()), None);
        let own = batch(vec![
            ("userId", strings(&[Some("a"), None, Some("c")])),
            ("price", prices()),
            ("s", Arc::new(inner)),
            ("l", Arc::new(lists)),
            (
                "big",
                decimal(vec![Some(10_i128.pow(37)), None, Some(5)], 38, 0),
            ),
        ]);
        let wide = DataType::Struct(
            vec![
                Field::new("extra", DataType::Utf8, true),
                Field::new("price", DataType::Decimal128(11, 4), true),
                Field::new("n", DataType::Float64, true),
            ]
            .into(),
        );
        let target = Schema::new(vec![
            Field::new("more", DataType::Int64, true),
            Field::new("userid", DataType::Utf8View, true),
            Field::new("price", DataType::Decimal256(40, 4), true),
            Field::new(
                "l",
                DataType::List(Arc::new(Field::new("element", wide.clone(), true))),
                true,
            ),
            Field::new("s", wide, true),
            Field::new("big", DataType::Decimal256(76, 38), true),
        ]);
        let target = Arc::new(target);
        let mut scratch = Vec::new();
        let told = fingerprint_as(&own, &target, &mut scratch).unwrap();
        let brought = crate::schema::adapt(&own, &target).unwrap();
        assert_eq!(told, fingerprint(&brought, &mut scratch).unwrap());
        assert_ne!(told, fingerprint(&own, &mut scratch).unwrap());
        assert!(is_other_as(own.schema_ref(), &target).unwrap());
        assert!(!is_other_as(own.schema_ref(), own.schema_ref()).unwrap());
        let one = |name: &str, t: DataType| Schema::new(vec![Field::new(name, t, true)]);
        for (a, b, other) in [
            (one("x", DataType::Int8), one("x", DataType::Float64), false),
            (one("x", DataType::Int8), one("X", DataType::Int8), true),
            (
                one("x", DataType::Decimal128(9, 2)),
                one("x", DataType::Decimal128(20, 2)),
                false,
            ),
            (
                one("x", DataType::Decimal128(9, 2)),
                one("x", DataType::Decimal128(9, 3)),
                true,
            ),
        ] {
            assert_eq!(is_other_as(&a, &b), Ok(other), "{a} {b}");
        }
        let lost = Schema::new(vec![Field::new("price", DataType::Decimal128(9, 2), true)]);
        fingerprint_as(&own, &lost, &mut scratch).unwrap_err();
    }

    #[test]
    fn what_differs_hashes_differently() {
        let x = |a: ArrayRef| hashes(vec![("x", a)])[0];
        let all = [
            x(Arc::new(Int64Array::from(vec![1]))),
            x(Arc::new(Int64Array::from(vec![-1]))),
            x(Arc::new(UInt64Array::from(vec![u64::MAX]))),
            x(Arc::new(Float64Array::from(vec![0.0]))),
            x(Arc::new(Float64Array::from(vec![-0.0]))),
            x(strings(&[Some("1")])),
            x(strings(&[Some("")])),
            x(strings(&[None])),
            x(Arc::new(Date32Array::from(vec![1]))),
            x(Arc::new(TimestampSecondArray::from(vec![1]))),
            x(Arc::new(BooleanArray::from(vec![true]))),
            x(Arc::new(BooleanArray::from(vec![false]))),
            hashes(vec![("y", Arc::new(Int64Array::from(vec![1])) as ArrayRef)])[0],
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(!all[..i].contains(a), "{i}");
        }
        let lists = |rows: &[&[Option<i32>]]| {
            let mut b = ListBuilder::new(Int32Builder::new());
            rows.iter().for_each(|r| b.append_value(r.iter().copied()));
            x(Arc::new(b.finish()))
        };
        let all = [
            lists(&[&[Some(1), Some(2)]]),
            lists(&[&[Some(2), Some(1)]]),
            lists(&[&[]]),
            lists(&[&[None]]),
            lists(&[&[None, None]]),
            lists(&[&[Some(0)]]),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(!all[..i].contains(a), "{i}");
        }
    }

    #[test]
    fn swapping_values_between_rows_changes_the_sum() {
        let of = |a: [&str; 2], b: [&str; 2]| {
            sum(&hashes(vec![
                ("a", strings(&[Some(a[0]), Some(a[1])])),
                ("b", strings(&[Some(b[0]), Some(b[1])])),
            ]))
        };
        assert_ne!(of(["1", "2"], ["x", "y"]), of(["1", "2"], ["y", "x"]));
        assert_eq!(of(["1", "2"], ["x", "y"]), of(["2", "1"], ["y", "x"]));
    }

    #[test]
    fn a_slice_of_nested_rows_hashes_as_in_the_whole() {
        let mut list = ListBuilder::new(StringBuilder::new());
        let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
        for i in 0..6 {
            list.append_value((0..i).map(|j| Some(format!("{i}{j}"))));
            map.keys().append_value(format!("k{i}"));
            map.values().append_value(i);
            map.append(i % 2 == 0).unwrap();
        }
        let fixed = FixedSizeListArray::try_new(
            Arc::new(Field::new("f", DataType::Int32, true)),
            2,
            Arc::new(Int32Array::from_iter_values(0..12)),
            None,
        )
        .unwrap();
        let b = batch(vec![
            ("l", Arc::new(list.finish())),
            ("m", Arc::new(map.finish())),
            ("f", Arc::new(fixed)),
        ]);
        let (mut whole, mut part) = (Vec::new(), Vec::new());
        row_hashes(&b, &mut whole).unwrap();
        row_hashes(&b.slice(2, 3), &mut part).unwrap();
        assert_eq!(part, whole[2..5]);
    }
}
