//! The summary of a whole file from its footer: columns, rows, and the bounds of values.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef, TimeUnit};
use bytes::Bytes;
use chrono::{DateTime, NaiveDate};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataOptions, ParquetStatisticsPolicy};
use parquet::file::statistics::Statistics;
use serde::Serialize;

use crate::guard::catch_panic;
use crate::read::parse_footer;
use crate::schema::canonical;
use crate::time::{ceil_micros, floor_micros};

/// Columns of which bounds are told: those that come first, as everywhere with Delta.
const COLUMNS: usize = 32;

/// A longer text is no bound that is worth its place.
const TEXT: usize = 64;

/// A value as a bound is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Bound {
    /// Of any width.
    Number(i64),
    /// A text, a date, or a time in ISO 8601 with microseconds.
    Text(String),
}

/// A column's values in a whole file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Range {
    /// How many are null; none where it is not known.
    pub nulls: Option<u64>,
    /// The smallest and the largest, where both are known exactly. Times are rounded outwards.
    pub bounds: Option<(Bound, Bound)>,
}

/// A file.
#[derive(Debug, Clone)]
pub struct Summary {
    pub rows: u64,
    pub schema: SchemaRef,
    /// By the name of the column. Those within others have none.
    pub ranges: BTreeMap<String, Range>,
    /// Columns with a number above the largest signed one of 64 bits.
    pub beyond: Vec<String>,
}

/// Summarises the file of `size` bytes that ends in `tail`, whose footer may take `limit` bytes
/// once it is parsed.
///
/// # Errors
/// Why it is not a footer that can be believed, in a sentence.
pub fn summarise(tail: &Bytes, size: u64, limit: u64) -> Result<Summary, String> {
    catch_panic(|| {
        let parsed = parse_footer(tail, size, limit)?;
        let leaves = parsed.footer.metadata().file_metadata().schema_descr();
        let flat: Vec<(usize, String)> = leaves
            .columns()
            .iter()
            .enumerate()
            .filter_map(|(i, c)| {
                Some((i, c.path().parts().first()?.clone())).filter(|_| c.path().parts().len() == 1)
            })
            .take(COLUMNS)
            .collect();
        let mut options = ParquetMetaDataOptions::default();
        options.set_column_stats_policy(ParquetStatisticsPolicy::skip_except(
            &flat.iter().map(|(i, _)| *i).collect::<Vec<_>>(),
        ));
        options.set_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll);
        let metadata = parsed.found.decode(&options)?;
        let mut summary = Summary {
            rows: parsed.found.rows,
            schema: parsed.schema,
            ranges: BTreeMap::new(),
            beyond: Vec::new(),
        };
        for (leaf, name) in flat {
            let Ok(field) = summary.schema.field_with_name(&name) else {
                continue;
            };
            let kind = canonical(field.data_type());
            if kind == DataType::UInt64 && is_beyond(&metadata, leaf) {
                summary.beyond.push(name);
                continue;
            }
            summary.ranges.insert(name, range(&metadata, leaf, &kind));
        }
        Ok(summary)
    })
}

fn statistics(
    metadata: &ParquetMetaData,
    leaf: usize,
) -> impl Iterator<Item = Option<&Statistics>> {
    metadata
        .row_groups()
        .iter()
        .filter(|g| g.num_rows() > 0)
        .map(move |g| g.columns().get(leaf).and_then(|c| c.statistics()))
}

/// Unsigned numbers stand in signed ones, and those that are too large look negative.
fn is_beyond(metadata: &ParquetMetaData, leaf: usize) -> bool {
    statistics(metadata, leaf)
        .any(|s| matches!(s, Some(Statistics::Int64(v)) if v.max_opt().is_some_and(|max| *max < 0)))
}

fn range(metadata: &ParquetMetaData, leaf: usize, kind: &DataType) -> Range {
    let nulls = statistics(metadata, leaf)
        .map(|s| s?.null_count_opt())
        .sum();
    let mut all: Option<(Bound, Bound)> = None;
    for (group, found) in metadata
        .row_groups()
        .iter()
        .filter(|g| g.num_rows() > 0)
        .zip(statistics(metadata, leaf))
    {
        // A row group of nulls has no bounds, and takes none away.
        if found
            .and_then(Statistics::null_count_opt)
            .is_some_and(|n| i64::try_from(n) == Ok(group.num_rows()))
        {
            continue;
        }
        let Some((min, max)) = found.and_then(|s| bounds(s, kind)) else {
            return Range {
                nulls,
                bounds: None,
            };
        };
        all = Some(match all {
            None => (min, max),
            Some((a, b)) => (a.min(min), b.max(max)),
        });
    }
    Range { nulls, bounds: all }
}

fn bounds(found: &Statistics, kind: &DataType) -> Option<(Bound, Bound)> {
    use DataType as T;
    match (found, kind) {
        (Statistics::Int32(v), T::Int8 | T::Int16 | T::Int32 | T::UInt8 | T::UInt16) => {
            both(*v.min_opt()?, *v.max_opt()?, |n| {
                Some(Bound::Number(n.into()))
            })
        }
        (Statistics::Int32(v), T::UInt32) => both(*v.min_opt()?, *v.max_opt()?, |n| {
            Some(Bound::Number(n.cast_unsigned().into()))
        }),
        (Statistics::Int64(v), T::Int64 | T::UInt64) => {
            both(*v.min_opt()?, *v.max_opt()?, |n| Some(Bound::Number(n)))
        }
        (Statistics::Int32(v), T::Date32) => both(*v.min_opt()?, *v.max_opt()?, |days| {
            Some(Bound::Text(NaiveDate::from_epoch_days(days)?.to_string()))
        }),
        (Statistics::Int64(v), T::Timestamp(unit, zone)) => {
            let (min, max) = (
                floor_micros(*v.min_opt()?, *unit).0,
                ceil_micros(*v.max_opt()?, *unit).0,
            );
            both(min, max, |micros| instant(micros, zone.is_some()))
        }
        (Statistics::ByteArray(v), T::Utf8) if found.min_is_exact() && found.max_is_exact() => {
            both(v.min_opt()?, v.max_opt()?, |b| {
                Some(Bound::Text(
                    b.as_utf8().ok().filter(|t| t.len() <= TEXT)?.to_owned(),
                ))
            })
        }
        _ => None,
    }
}

fn both<V>(min: V, max: V, f: impl Fn(V) -> Option<Bound>) -> Option<(Bound, Bound)> {
    Some((f(min)?, f(max)?))
}

fn instant(micros: i64, zoned: bool) -> Option<Bound> {
    let text = DateTime::from_timestamp_micros(micros)?
        .format("%Y-%m-%dT%H:%M:%S%.6f")
        .to_string();
    // A year of five digits has a sign, and sorts before the others.
    (text.len() == "2026-01-02T03:04:05.678901".len())
        .then(|| Bound::Text(if zoned { text + "Z" } else { text }))
}

/// The type that Delta knows for an Arrow type; none where it knows none. Numbers without a sign
/// become the next larger with one, and of 64 bits stay in 64.
pub fn publishable(data_type: &DataType) -> Option<DataType> {
    use DataType as T;
    Some(match canonical(data_type) {
        t @ (T::Boolean
        | T::Int8
        | T::Int16
        | T::Int32
        | T::Int64
        | T::Float32
        | T::Float64
        | T::Utf8
        | T::Binary) => t,
        T::UInt8 => T::Int16,
        T::UInt16 => T::Int32,
        T::UInt32 | T::UInt64 => T::Int64,
        T::Date32 | T::Date64 => T::Date32,
        T::Timestamp(_, zone) => T::Timestamp(TimeUnit::Microsecond, zone),
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) if s >= 0 => {
            T::Decimal128(p, s)
        }
        T::List(f) => T::List(child(&f)?),
        T::Struct(fields) => T::Struct(fields.iter().map(child).collect::<Option<_>>()?),
        T::Map(entries, sorted) => T::Map(Arc::new(map_entries(&entries)?), sorted),
        _ => return None,
    })
}

/// Every value may be null some day, and a table can only be told beforehand.
fn child(field: &FieldRef) -> Option<FieldRef> {
    Some(Arc::new(Field::new(
        field.name(),
        publishable(field.data_type())?,
        true,
    )))
}

fn map_entries(entries: &Field) -> Option<Field> {
    let DataType::Struct(fields) = entries.data_type() else {
        return None;
    };
    let [key, value] = fields.iter().collect::<Vec<_>>().try_into().ok()?;
    let fields = vec![
        Field::new("key", publishable(key.data_type())?, false),
        Field::new("value", publishable(value.data_type())?, true),
    ];
    Some(Field::new(
        "key_value",
        DataType::Struct(fields.into()),
        false,
    ))
}

/// Whether readers of a table find the values of a file's column in the table's: the same type, or
/// a narrower number.
pub fn holds(table: &DataType, file: &DataType) -> bool {
    use DataType as T;
    match (table, file) {
        (T::Int16 | T::Int32 | T::Int64, T::Int8)
        | (T::Int32 | T::Int64, T::Int16)
        | (T::Int64, T::Int32)
        | (T::Float64, T::Float32) => true,
        _ => same(table, file),
    }
}

/// Nullability and the names of list elements tell nothing about what can be read.
fn same(a: &DataType, b: &DataType) -> bool {
    use DataType as T;
    match (a, b) {
        (T::List(x), T::List(y)) | (T::Map(x, _), T::Map(y, _)) => {
            same(x.data_type(), y.data_type())
        }
        (T::Struct(x), T::Struct(y)) => {
            x.len() == y.len()
                && x.iter()
                    .zip(y)
                    .all(|(f, g)| f.name() == g.name() && same(f.data_type(), g.data_type()))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests;
