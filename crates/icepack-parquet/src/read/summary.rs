//! The summary of a whole file from its footer: columns, rows, and the bounds of values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef, TimeUnit};
use bytes::Bytes;
use chrono::{DateTime, Datelike, NaiveDate};
use parquet::basic::{ConvertedType, LogicalType, Type as PhysicalType};
use parquet::file::metadata::{
    ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataOptions, ParquetStatisticsPolicy,
    RowGroupMetaData,
};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescriptor;
use serde::Serialize;

use crate::guard::catch_panic;
use crate::read::parse_footer;
use crate::schema::canonical;
use crate::time::{ceil_micros, floor_micros};

/// Columns of which bounds are told at most: as many as every engine looks at with Delta.
pub const COLUMNS: usize = 32;

/// A text is cut to so many bytes before it becomes a bound.
const TEXT: usize = 64;

/// A value as a bound is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    /// No value is smaller than the first or larger than the second. Times are rounded outwards,
    /// and long texts are cut. None where that is not known, or cannot be written.
    pub bounds: Option<(Bound, Bound)>,
}

/// A file.
#[derive(Debug, Clone)]
pub struct Summary {
    pub rows: u64,
    pub schema: SchemaRef,
    /// By the name of the column: of those that were asked for, and are not within others.
    pub ranges: BTreeMap<String, Range>,
    /// Columns with a number above the largest signed one of 64 bits, or of which that is not
    /// known, each with what is the matter, as the end of a sentence.
    pub beyond: BTreeMap<String, String>,
}

/// Whether bounds of a column of this type mean the same to all readers. Not those of floats: a
/// footer does not say whether a NaN is among them, which is larger than every bound.
pub fn is_bounded(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        canonical(data_type),
        T::Int8
            | T::Int16
            | T::Int32
            | T::Int64
            | T::UInt8
            | T::UInt16
            | T::UInt32
            | T::UInt64
            | T::Date32
            | T::Timestamp(..)
            | T::Utf8
    )
}

/// Summarises the file of `size` bytes that ends in `tail`, whose footer may take `limit` bytes
/// once it is parsed. Ranges are told of the columns `asked` for; or of the first [`COLUMNS`] that
/// have bounds, where none are.
///
/// # Errors
/// Why it is not a footer that can be believed, in a sentence.
pub fn summarise(
    tail: &Bytes,
    size: u64,
    limit: u64,
    asked: Option<&BTreeSet<String>>,
) -> Result<Summary, String> {
    catch_panic(|| {
        let parsed = parse_footer(tail, size, limit)?;
        let leaves = parsed.footer.metadata().file_metadata().schema_descr();
        let is_told = |name: &str| {
            asked.is_none_or(|names| names.contains(name))
                && parsed
                    .schema
                    .field_with_name(name)
                    .is_ok_and(|f| is_bounded(f.data_type()))
        };
        let (mut flat, mut unsigned) = (Vec::new(), Vec::new());
        for (i, leaf) in leaves.columns().iter().enumerate() {
            let [first, ..] = leaf.path().parts() else {
                continue;
            };
            if leaf.path().parts().len() == 1 && flat.len() < COLUMNS && is_told(first) {
                flat.push((i, first.clone()));
            }
            if is_unsigned(leaf) {
                unsigned.push((i, first.clone()));
            }
        }
        let kept: Vec<usize> = flat.iter().chain(&unsigned).map(|(i, _)| *i).collect();
        let mut options = ParquetMetaDataOptions::default();
        options.set_column_stats_policy(ParquetStatisticsPolicy::skip_except(&kept));
        options.set_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll);
        let metadata = parsed.found.decode(&options)?;
        let beyond = unsigned
            .into_iter()
            .filter_map(|(leaf, name)| Some((name, beyond(&metadata, leaf)?)))
            .collect();
        let mut summary = Summary {
            rows: parsed.found.rows,
            schema: parsed.schema,
            ranges: BTreeMap::new(),
            beyond,
        };
        for (leaf, name) in flat {
            let Ok(field) = summary.schema.field_with_name(&name) else {
                continue;
            };
            let kind = canonical(field.data_type());
            summary.ranges.insert(name, range(&metadata, leaf, &kind));
        }
        Ok(summary)
    })
}

/// Whether a column has 64-bit numbers without a sign.
fn is_unsigned(leaf: &ColumnDescriptor) -> bool {
    leaf.physical_type() == PhysicalType::INT64
        && matches!(
            leaf.logical_type_ref(),
            Some(LogicalType::Integer(kind)) if !kind.is_signed
        )
        || leaf.converted_type() == ConvertedType::UINT_64
}

/// What is the matter with a column of numbers without a sign; none where all of them fit into a
/// signed one. They stand in signed ones, and those that are too large look negative.
fn beyond(metadata: &ParquetMetaData, leaf: usize) -> Option<String> {
    let mut unknown = false;
    for (group, found) in groups(metadata, leaf) {
        match found {
            Some(Statistics::Int64(v)) if v.max_opt().is_some_and(|max| *max < 0) => {
                return Some(format!("has a number above {}", i64::MAX));
            }
            Some(Statistics::Int64(v)) if v.max_opt().is_some() => {
                // Such statistics take them for signed: a large one is the smallest.
                unknown |= found.is_some_and(Statistics::is_min_max_deprecated);
            }
            _ => {
                let values = group
                    .columns()
                    .get(leaf)
                    .map(ColumnChunkMetaData::num_values);
                let nulls = found.and_then(Statistics::null_count_opt);
                unknown |= nulls.and_then(|n| i64::try_from(n).ok()) != values;
            }
        }
    }
    unknown.then(|| {
        format!(
            "has 64-bit numbers without a sign, and the file does not say whether one is above {}",
            i64::MAX
        )
    })
}

/// The row groups that have rows, with what they say of a column.
fn groups(
    metadata: &ParquetMetaData,
    leaf: usize,
) -> impl Iterator<Item = (&RowGroupMetaData, Option<&Statistics>)> {
    let groups = metadata.row_groups().iter().filter(|g| g.num_rows() > 0);
    groups.map(move |g| (g, g.columns().get(leaf).and_then(|c| c.statistics())))
}

/// The smallest and the largest value, as they are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Span<'a> {
    Numbers(i64, i64),
    Texts(&'a str, &'a str),
}

impl Span<'_> {
    /// The span of both; none where they are of two kinds.
    fn with(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Numbers(a, b), Self::Numbers(c, d)) => Some(Self::Numbers(a.min(c), b.max(d))),
            (Self::Texts(a, b), Self::Texts(c, d)) => Some(Self::Texts(a.min(c), b.max(d))),
            _ => None,
        }
    }
}

fn range(metadata: &ParquetMetaData, leaf: usize, kind: &DataType) -> Range {
    let nulls = groups(metadata, leaf)
        .map(|(_, found)| found?.null_count_opt())
        .sum();
    let mut all: Option<Span<'_>> = None;
    for (group, found) in groups(metadata, leaf) {
        // A row group of nulls has no bounds, and takes none away.
        if found
            .and_then(Statistics::null_count_opt)
            .is_some_and(|n| i64::try_from(n) == Ok(group.num_rows()))
        {
            continue;
        }
        let own = found.and_then(|s| span(s, kind));
        all = match (all, own) {
            (None, own) => own,
            (Some(all), own) => own.and_then(|own| all.with(own)),
        };
        if all.is_none() {
            return Range {
                nulls,
                bounds: None,
            };
        }
    }
    Range {
        nulls,
        bounds: all.and_then(|all| written(all, kind)),
    }
}

fn span<'a>(found: &'a Statistics, kind: &DataType) -> Option<Span<'a>> {
    use DataType as T;
    // Old writers compared bytes and numbers without a sign as if they had one.
    let is_sound = !found.is_min_max_deprecated();
    match (found, kind) {
        (Statistics::Int32(v), T::Int8 | T::Int16 | T::Int32 | T::Date32) => Some(Span::Numbers(
            (*v.min_opt()?).into(),
            (*v.max_opt()?).into(),
        )),
        (Statistics::Int32(v), T::UInt8 | T::UInt16 | T::UInt32) if is_sound => {
            Some(Span::Numbers(
                v.min_opt()?.cast_unsigned().into(),
                v.max_opt()?.cast_unsigned().into(),
            ))
        }
        (Statistics::Int64(v), T::Int64) => Some(Span::Numbers(*v.min_opt()?, *v.max_opt()?)),
        // Of one that has larger numbers no bound is told.
        (Statistics::Int64(v), T::UInt64) if is_sound => {
            Some(Span::Numbers(*v.min_opt()?, *v.max_opt()?)).filter(|_| {
                v.min_opt().is_some_and(|n| *n >= 0) && v.max_opt().is_some_and(|n| *n >= 0)
            })
        }
        (Statistics::Int64(v), T::Timestamp(unit, _)) => Some(Span::Numbers(
            floor_micros(*v.min_opt()?, *unit).0,
            ceil_micros(*v.max_opt()?, *unit).0,
        )),
        (Statistics::ByteArray(v), T::Utf8) if is_sound => Some(Span::Texts(
            v.min_opt()?.as_utf8().ok()?,
            v.max_opt()?.as_utf8().ok()?,
        )),
        _ => None,
    }
}

/// As a table has them: compared before they are written, since texts of dates do not sort as dates
/// do.
fn written(span: Span<'_>, kind: &DataType) -> Option<(Bound, Bound)> {
    match span {
        Span::Texts(min, max) => {
            Some((Bound::Text(cut(min).to_owned()), Bound::Text(raised(max)?)))
        }
        Span::Numbers(min, max) => {
            let bound = |n: i64| match kind {
                DataType::Date32 => date(n).map(Bound::Text),
                DataType::Timestamp(_, zone) => instant(n, zone.is_some()).map(Bound::Text),
                _ => Some(Bound::Number(n)),
            };
            Some((bound(min)?, bound(max)?))
        }
    }
}

/// The first bytes of a text: it is not larger than the text.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT)]
}

/// A text of few bytes that is not smaller than `text`; none where there is none.
fn raised(text: &str) -> Option<String> {
    if text.len() <= TEXT {
        return Some(text.to_owned());
    }
    let mut short = cut(text).to_owned();
    while let Some(last) = short.pop() {
        // Between these two there are no characters.
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            _ => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            short.push(next);
            return Some(short);
        }
    }
    None
}

/// Years that every reader knows. Others have a sign, or more digits.
fn is_plain_year(date: impl Datelike) -> bool {
    (1..=9999).contains(&date.year())
}

fn date(days: i64) -> Option<String> {
    let date = NaiveDate::from_epoch_days(i32::try_from(days).ok()?)?;
    is_plain_year(date).then(|| date.to_string())
}

fn instant(micros: i64, zoned: bool) -> Option<String> {
    let at = DateTime::from_timestamp_micros(micros).filter(|at| is_plain_year(*at))?;
    let text = at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
    Some(if zoned { text + "Z" } else { text })
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

/// Whether readers of a table find the values of a file's column in the table's: the same type, a
/// narrower number, or a struct with fewer fields, whatever their order.
pub fn holds(table: &DataType, file: &DataType) -> bool {
    use DataType as T;
    match (table, file) {
        (T::Int16 | T::Int32 | T::Int64, T::Int8)
        | (T::Int32 | T::Int64, T::Int16)
        | (T::Int64, T::Int32)
        | (T::Float64, T::Float32) => true,
        (T::List(table), T::List(file)) => holds(table.data_type(), file.data_type()),
        (T::Struct(table), T::Struct(file)) => file.iter().all(|f| {
            let (_, known) = table.find(f.name()).unzip();
            known.is_some_and(|known| holds(known.data_type(), f.data_type()))
        }),
        _ => same(table, file),
    }
}

/// The type that holds both; none where no type does.
pub fn united(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as T;
    let field = |a: &FieldRef, b: &FieldRef| {
        let kind = united(a.data_type(), b.data_type())?;
        Some(Arc::new(a.as_ref().clone().with_data_type(kind)))
    };
    match (a, b) {
        _ if holds(a, b) => Some(a.clone()),
        _ if holds(b, a) => Some(b.clone()),
        (T::List(a), T::List(b)) => Some(T::List(field(a, b)?)),
        (T::Struct(a), T::Struct(b)) => {
            let mut fields: Vec<FieldRef> = a.iter().cloned().collect();
            for new in b {
                // Delta does not tell capital letters from small ones.
                let is_alike =
                    |f: &&mut FieldRef| f.name().to_lowercase() == new.name().to_lowercase();
                match fields.iter_mut().find(is_alike) {
                    None => fields.push(Arc::clone(new)),
                    Some(known) if known.name() == new.name() => *known = field(known, new)?,
                    Some(_) => return None,
                }
            }
            Some(T::Struct(fields.into()))
        }
        _ => None,
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
