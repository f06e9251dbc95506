//! Casts values of one type to a wider one. The values stay the same, or it is an error.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, ListArray, MapArray, StructArray, make_array,
    new_null_array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Date64Type, FieldRef, Fields, Int64Type, UInt64Type};
use arrow::error::ArrowError;

use super::unite;

/// Up to here, doubles hold every integer.
const EXACT: u64 = 1 << 53;

const DAY_MS: i64 = 86_400_000;

/// `array` as `to`, a type that was made of its own and of others.
///
/// # Errors
/// A value that `to` cannot hold.
pub(super) fn bring(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    use DataType as T;
    let from = array.data_type();
    if from == to {
        return Ok(Arc::clone(array));
    }
    match (from, to) {
        (T::Null, _) => Ok(new_null_array(to, array.len())),
        (T::Dictionary(_, value), _) => bring(&strict(array, value)?, to),
        (T::RunEndEncoded(_, value), _) => bring(&strict(array, value.data_type())?, to),
        (T::LargeList(f) | T::ListView(f) | T::LargeListView(f), T::List(_)) => {
            bring(&strict(array, &T::List(Arc::clone(f)))?, to)
        }
        (T::List(_), T::List(element)) => list(array.as_list(), element),
        (T::FixedSizeList(..), T::FixedSizeList(element, n)) if *n > 0 => {
            fixed_list(array.as_fixed_size_list(), element, *n)
        }
        (T::Map(..), T::Map(entries, sorted)) => map(array.as_map(), entries, *sorted),
        (T::Struct(_), T::Struct(fields)) => record(array.as_struct(), fields),
        // Said to be of UTC: the number stays.
        (T::Timestamp(_, None), T::Timestamp(unit, Some(_))) => {
            let local = strict(array, &T::Timestamp(*unit, None))?;
            let zoned = local.to_data().into_builder().data_type(to.clone());
            Ok(make_array(zoned.build()?))
        }
        (T::Int64, T::Float64) => {
            let values = array.as_primitive::<Int64Type>();
            exact(values.iter().flatten().find(|v| v.unsigned_abs() > EXACT))?;
            strict(array, to)
        }
        (T::UInt64, T::Float64) => {
            let values = array.as_primitive::<UInt64Type>();
            exact(values.iter().flatten().find(|v| *v > EXACT))?;
            strict(array, to)
        }
        (T::Date64, T::Date32) => {
            let values = array.as_primitive::<Date64Type>();
            match values.iter().flatten().find(|v| v % DAY_MS != 0) {
                Some(v) => Err(ArrowError::CastError(format!("{v} ms are no whole days"))),
                None => strict(array, to),
            }
        }
        _ => strict(array, to),
    }
}

/// Not `safe`: that would turn what does not fit into null.
fn strict(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(array, to, &options)
}

fn exact(beyond: Option<impl std::fmt::Display>) -> Result<(), ArrowError> {
    match beyond {
        Some(v) => Err(ArrowError::CastError(format!(
            "{v} has more digits than a double"
        ))),
        None => Ok(()),
    }
}

/// Offsets that begin at 0, and the place and number of the values that they are of.
fn offsets(of: &OffsetBuffer<i32>) -> (OffsetBuffer<i32>, usize, usize) {
    let (first, last) = (of.first(), of.last());
    let moved: ScalarBuffer<i32> = of.iter().map(|o| o - first).collect();
    let size = |n: i32| usize::try_from(n).unwrap_or(0);
    (OffsetBuffer::new(moved), size(first), size(last - first))
}

fn list(array: &ListArray, element: &FieldRef) -> Result<ArrayRef, ArrowError> {
    let (offsets, first, count) = offsets(array.offsets());
    let values = bring(&array.values().slice(first, count), element.data_type())?;
    let nulls = array.nulls().cloned();
    Ok(Arc::new(ListArray::try_new(
        Arc::clone(element),
        offsets,
        values,
        nulls,
    )?))
}

fn fixed_list(
    array: &FixedSizeListArray,
    element: &FieldRef,
    n: i32,
) -> Result<ArrayRef, ArrowError> {
    let values = bring(array.values(), element.data_type())?;
    let nulls = array.nulls().cloned();
    Ok(Arc::new(FixedSizeListArray::try_new(
        Arc::clone(element),
        n,
        values,
        nulls,
    )?))
}

/// Writers name the two columns of the entries differently; what they are is fixed by their place.
fn map(array: &MapArray, entries: &FieldRef, sorted: bool) -> Result<ArrayRef, ArrowError> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(ArrowError::CastError("a map of no entries".to_owned()));
    };
    let (offsets, first, count) = offsets(array.offsets());
    let columns = [array.keys(), array.values()];
    let columns: Vec<ArrayRef> = fields
        .iter()
        .zip(columns)
        .map(|(f, column)| bring(&column.slice(first, count), f.data_type()))
        .collect::<Result<_, _>>()?;
    let rows = StructArray::try_new(fields.clone(), columns, None)?;
    let nulls = array.nulls().cloned();
    Ok(Arc::new(MapArray::try_new(
        Arc::clone(entries),
        offsets,
        rows,
        nulls,
        sorted,
    )?))
}

fn record(array: &StructArray, fields: &Fields) -> Result<ArrayRef, ArrowError> {
    let columns = by_name(array.fields(), array.columns(), fields, array.len());
    let columns = columns.map_err(|(_, e)| e)?;
    let nulls = array.nulls().cloned();
    Ok(Arc::new(StructArray::try_new_with_length(
        fields.clone(),
        columns,
        nulls,
        array.len(),
    )?))
}

/// The columns of `fields`: null where there is none of the name.
///
/// # Errors
/// A column that would be lost, or a value that does not fit, with the name of its column.
pub(super) fn by_name(
    own: &Fields,
    columns: &[ArrayRef],
    fields: &Fields,
    rows: usize,
) -> Result<Vec<ArrayRef>, (Option<String>, ArrowError)> {
    let lost = |i: usize| {
        let why = format!("there is no column for `{}`", own[i].name());
        (None, ArrowError::SchemaError(why))
    };
    let places = unite::places(&unite::names(fields), &unite::names(own))
        .map_err(|(_, theirs)| lost(theirs))?;
    if let Some(i) = (0..own.len()).find(|i| !places.contains(&Some(*i))) {
        return Err(lost(i));
    }
    let column = |(f, place): (&FieldRef, &Option<usize>)| match place {
        Some(i) => bring(&columns[*i], f.data_type()).map_err(|e| (Some(f.name().clone()), e)),
        None => Ok(new_null_array(f.data_type(), rows)),
    };
    fields.iter().zip(&places).map(column).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::*;
    use arrow::datatypes::*;

    use super::*;

    fn same(array: ArrayRef, to: &DataType) -> ArrayRef {
        let brought = bring(&array, to).unwrap();
        assert_eq!(brought.data_type(), to);
        assert_eq!(
            (brought.len(), brought.null_count()),
            (array.len(), array.null_count())
        );
        brought
    }

    fn fails(array: ArrayRef, to: &DataType) -> String {
        bring(&array, to).unwrap_err().to_string()
    }

    /// `{a, b}` of three rows, the second null with values behind it.
    fn records() -> StructArray {
        StructArray::try_new(
            vec![
                Field::new("a", DataType::Int32, true),
                Field::new("b", DataType::Utf8, false),
            ]
            .into(),
            vec![
                Arc::new(Int32Array::from(vec![Some(1), Some(2), None])) as ArrayRef,
                Arc::new(StringArray::from(vec!["x", "y", "z"])),
            ],
            Some(vec![true, false, true].into()),
        )
        .unwrap()
    }

    fn wider() -> Fields {
        vec![
            Field::new("c", DataType::Boolean, true),
            Field::new("B", DataType::Utf8, true),
            Field::new("a", DataType::Int64, true),
        ]
        .into()
    }

    fn check(found: &StructArray, valid: &[bool]) {
        assert_eq!(found.column_by_name("c").unwrap().null_count(), found.len());
        let a = found
            .column_by_name("a")
            .unwrap()
            .as_primitive::<Int64Type>();
        let b = found.column_by_name("B").unwrap().as_string::<i32>();
        assert_eq!((a.value(0), b.value(0), b.value(2)), (1, "x", "z"));
        assert!(a.is_null(2));
        let is_valid: Vec<bool> = (0..3).map(|i| found.is_valid(i)).collect();
        assert_eq!(is_valid, valid);
    }

    #[test]
    fn structs_are_brought_by_name_at_any_depth() {
        let to = DataType::Struct(wider());
        let plain: ArrayRef = Arc::new(records());
        check(same(plain, &to).as_struct(), &[true, false, true]);

        // Lists of them: a null list, one of a null, and all behind a slice.
        let element = |t: DataType| Arc::new(Field::new("element", t, true));
        let own = DataType::Struct(records().fields().clone());
        let offsets = OffsetBuffer::new(vec![0, 1, 1, 3].into());
        let lists = ListArray::new(
            element(own.clone()),
            offsets.clone(),
            Arc::new(records()),
            Some(vec![true, false, true].into()),
        );
        let to_list = DataType::List(element(to.clone()));
        let brought = same(Arc::new(lists.clone()), &to_list);
        check(
            brought.as_list::<i32>().values().as_struct(),
            &[true, false, true],
        );
        let sliced = same(Arc::new(lists.slice(2, 1)), &to_list);
        let last = sliced.as_list::<i32>().value(0);
        assert_eq!(
            (last.len(), last.is_null(0), last.is_valid(1)),
            (2, true, true)
        );

        let large: LargeListArray = {
            let offsets = OffsetBuffer::new(vec![0_i64, 1, 1, 3].into());
            LargeListArray::new(element(own.clone()), offsets, Arc::new(records()), None)
        };
        let brought = same(Arc::new(large), &to_list);
        check(
            brought.as_list::<i32>().values().as_struct(),
            &[true, false, true],
        );

        // Values of maps, whose entries have other names.
        let entries = |k: &str, v: &str, t: DataType| {
            let fields = vec![Field::new(k, DataType::Utf8, false), Field::new(v, t, true)];
            Fields::from(fields)
        };
        let keys: ArrayRef = Arc::new(StringArray::from(vec!["k", "l", "m"]));
        let rows = StructArray::new(
            entries("keys", "values", own.clone()),
            vec![keys, Arc::new(records())],
            None,
        );
        let field = |f: Fields, name: &str| Arc::new(Field::new(name, DataType::Struct(f), false));
        let maps = MapArray::new(
            field(entries("keys", "values", own), "entries"),
            offsets,
            rows,
            Some(vec![true, false, true].into()),
            false,
        );
        let to_map = DataType::Map(field(entries("key", "value", to), "key_value"), false);
        let brought = same(Arc::new(maps.clone()), &to_map);
        check(brought.as_map().values().as_struct(), &[true, false, true]);
        let sliced = same(Arc::new(maps.slice(1, 2)), &to_map);
        assert_eq!((sliced.as_map().keys().len(), sliced.is_null(0)), (2, true));
    }

    #[test]
    fn a_field_that_has_no_place_is_an_error() {
        let to = DataType::Struct(vec![Field::new("a", DataType::Int32, true)].into());
        let why = fails(Arc::new(records()), &to);
        assert!(why.contains("no column for `b`"), "{why}");
    }

    #[test]
    fn numbers_and_days_are_exact_or_an_error() {
        let double = DataType::Float64;
        let most = 1_i64 << 53;
        let whole = same(
            Arc::new(Int64Array::from(vec![Some(most), Some(-most), None])),
            &double,
        );
        assert_eq!(
            whole.as_primitive::<Float64Type>().value(1),
            -9_007_199_254_740_992.0
        );
        let why = fails(Arc::new(Int64Array::from(vec![most + 1])), &double);
        assert!(why.contains("9007199254740993 has more digits"), "{why}");
        fails(Arc::new(Int64Array::from(vec![i64::MIN])), &double);
        fails(Arc::new(UInt64Array::from(vec![u64::MAX])), &double);
        let listed = |values: Vec<i64>| -> ArrayRef {
            let mut list = ListBuilder::new(Int64Builder::new());
            list.append_value(values.into_iter().map(Some));
            Arc::new(list.finish())
        };
        let doubles = DataType::List(Arc::new(Field::new("element", double, true)));
        same(listed(vec![1, 2]), &doubles);
        fails(listed(vec![1, most + 1]), &doubles);

        let days = same(
            Arc::new(Date64Array::from(vec![Some(-86_400_000), None])),
            &DataType::Date32,
        );
        assert_eq!(days.as_primitive::<Date32Type>().value(0), -1);
        let why = fails(Arc::new(Date64Array::from(vec![1])), &DataType::Date32);
        assert!(why.contains("no whole days"), "{why}");
    }

    #[test]
    fn decimals_keep_their_value() {
        let of = |v: i128, p, s| -> ArrayRef {
            Arc::new(
                Decimal128Array::from(vec![v])
                    .with_precision_and_scale(p, s)
                    .unwrap(),
            )
        };
        let wide = same(of(-12_345, 9, 2), &DataType::Decimal128(11, 4));
        assert_eq!(wide.as_primitive::<Decimal128Type>().value(0), -1_234_500);
        let widest = same(of(7, 38, 0), &DataType::Decimal256(76, 38));
        assert_eq!(
            widest.as_primitive::<Decimal256Type>().value_as_string(0),
            format!("7.{}", "0".repeat(38))
        );
        // More digits than the type says.
        fails(of(i128::MAX / 2, 38, 0), &DataType::Decimal128(38, 4));
    }

    #[test]
    fn a_local_time_of_any_year_is_the_same_number_in_utc() {
        let (local, utc) = (
            DataType::Timestamp(TimeUnit::Second, None),
            DataType::Timestamp(TimeUnit::Second, Some("UTC".into())),
        );
        let far = TimestampSecondArray::from(vec![Some(i64::MAX), Some(-1), None]);
        assert_eq!(far.data_type(), &local);
        let zoned = same(Arc::new(far), &utc);
        assert_eq!(
            zoned.as_primitive::<TimestampSecondType>().value(0),
            i64::MAX
        );
        let nanos = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        fails(Arc::new(TimestampSecondArray::from(vec![i64::MAX])), &nanos);
    }
}
