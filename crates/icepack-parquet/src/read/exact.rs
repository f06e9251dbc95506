//! Columns of which the decoder silently drops a part, such as INT96 dates out of range. Their
//! values are checked in the file before they are decoded.

use std::sync::Arc;

use arrow::datatypes::{DataType, Fields, IntervalUnit};
use parquet::basic::Type as Physical;
use parquet::column::page::PageReader;
use parquet::column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader};
use parquet::data_type::{DataType as ParquetType, FixedLenByteArrayType, Int96, Int96Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::SchemaDescriptor;

use crate::leaf;
use crate::source::Chunks;

/// Values that are looked at in one step.
const STEP: usize = 4_096;

/// The day that INT96 counts from, before 1970.
const JULIAN_EPOCH: i128 = 2_440_588;
const DAY_NANOS: i128 = 86_400_000_000_000;

/// What must be true of every value of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A time in whole microseconds, within what 64 bits hold of them.
    Int96,
    /// An interval of nothing but months.
    Months,
    /// An interval without months.
    DaysAndMillis,
}

/// The rules for columns that are decoded as `fields`, by leaf.
pub(crate) fn rules(columns: &SchemaDescriptor, fields: &Fields) -> Vec<(usize, Rule)> {
    let rule = |(leaf, data_type): (usize, DataType)| match (
        columns.column(leaf).physical_type(),
        data_type,
    ) {
        (Physical::INT96, _) => Some((leaf, Rule::Int96)),
        (_, DataType::Interval(IntervalUnit::YearMonth)) => Some((leaf, Rule::Months)),
        (_, DataType::Interval(_)) => Some((leaf, Rule::DaysAndMillis)),
        _ => None,
    };
    leaf::types(fields)
        .into_iter()
        .enumerate()
        .filter_map(rule)
        .collect()
}

impl Rule {
    /// Why a value of the column would be changed, in a sentence, if one would.
    pub(crate) fn check(
        self,
        chunks: &Chunks,
        group: &RowGroupMetaData,
        leaf: usize,
    ) -> Result<Option<String>, ParquetError> {
        let column = group.column(leaf);
        let rows = usize::try_from(group.num_rows()).unwrap_or(0);
        let pages: Box<dyn PageReader> = Box::new(SerializedPageReader::new(
            Arc::new(chunks.clone()),
            column,
            rows,
            None,
        )?);
        let reader = get_column_reader(column.column_descr_ptr(), pages);
        let fault = match self {
            Self::Int96 => first::<Int96Type>(get_typed_column_reader(reader), int96)?,
            Self::Months => first::<FixedLenByteArrayType>(get_typed_column_reader(reader), |v| {
                interval(v.data(), 4..12, "days or milliseconds")
            })?,
            Self::DaysAndMillis => {
                first::<FixedLenByteArrayType>(get_typed_column_reader(reader), |v| {
                    interval(v.data(), 0..4, "months")
                })?
            }
        };
        let name = || column.column_path().string();
        Ok(fault.map(|what| {
            format!(
                "column `{}` holds {what}: icepack cannot keep it unchanged; the file is left \
                 alone",
                name()
            )
        }))
    }
}

/// What the first value has that its type cannot hold.
fn first<T: ParquetType>(
    mut reader: ColumnReaderImpl<T>,
    fault: impl Fn(&T::T) -> Option<String>,
) -> Result<Option<String>, ParquetError> {
    let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        values.clear();
        definitions.clear();
        repetitions.clear();
        let (records, _, levels) = reader.read_records(
            STEP,
            Some(&mut definitions),
            Some(&mut repetitions),
            &mut values,
        )?;
        if let Some(found) = values.iter().find_map(&fault) {
            return Ok(Some(found));
        }
        if records == 0 && levels == 0 {
            return Ok(None);
        }
    }
}

fn int96(value: &Int96) -> Option<String> {
    let &[low, high, day] = value.data() else {
        return Some("a time of another size".to_owned());
    };
    let nanos = i128::from((u64::from(high) << 32 | u64::from(low)).cast_signed());
    let total = (i128::from(day.cast_signed()) - JULIAN_EPOCH) * DAY_NANOS + nanos;
    if nanos % 1_000 != 0 {
        return Some("times (INT96) with digits below a microsecond".to_owned());
    }
    i64::try_from(total / 1_000)
        .is_err()
        .then(|| "times (INT96) that are too far away".to_owned())
}

fn interval(value: &[u8], zeros: std::ops::Range<usize>, what: &str) -> Option<String> {
    value
        .get(zeros)
        .is_none_or(|part| part.iter().any(|b| *b != 0))
        .then(|| format!("intervals with {what} that its Arrow type has no room for"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(day: i32, nanos: i64) -> Int96 {
        let [a, b, c, d, e, f, g, h] = nanos.to_le_bytes();
        Int96::from(vec![
            u32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, g, h]),
            day.cast_unsigned(),
        ])
    }

    #[test]
    fn times_that_microseconds_hold_are_what_the_decoder_makes_of_them() {
        // 0001-01-01, 1970-01-01, 9999-12-31 and the ends of 64 bits.
        for (day, nanos) in [
            (1_721_426, 0),
            (2_440_588, 1_000),
            (5_373_484, 86_399_999_999_000),
            (109_192_579, 0),
            (-104_311_401, 0),
        ] {
            let value = time(day, nanos);
            assert_eq!(int96(&value), None, "{day} {nanos}");
            assert_eq!(
                i128::from(value.to_micros()),
                (i128::from(day) - JULIAN_EPOCH) * 86_400_000_000 + i128::from(nanos / 1_000)
            );
        }
    }

    #[test]
    fn times_that_microseconds_do_not_hold_are_named() {
        assert_eq!(
            int96(&time(2_440_588, 1)).unwrap(),
            "times (INT96) with digits below a microsecond"
        );
        for day in [i32::MAX, i32::MIN, 109_192_581 + 1, -104_311_404] {
            assert_eq!(
                int96(&time(day, 0)).unwrap(),
                "times (INT96) that are too far away",
                "{day}"
            );
        }
    }

    #[test]
    fn an_interval_must_be_of_its_parts_alone() {
        let months = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            (
                interval(&months, 4..12, "days"),
                interval(&months, 0..4, "months").is_some()
            ),
            (None, true)
        );
        assert!(interval(&months[..3], 0..4, "months").is_some());
    }
}
