//! Columns that look like times and are no timestamps: what `init` says of them.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, TimeUnit};
use bytes::Bytes;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataOptions, ParquetStatisticsPolicy};
use parquet::file::statistics::Statistics;

use crate::guard::catch_panic;
use crate::read::parse_footer;
use crate::schema::canonical;
use icepack_core::model::sample::Likely;

/// Columns of a file whose statistics are looked at.
const MOST: usize = 64;

/// Columns of a file, by their names.
#[derive(Debug, Default)]
pub struct Described {
    /// Their types, in words.
    pub types: BTreeMap<String, String>,
    /// Those that look like times and are no timestamps.
    pub likely: BTreeMap<String, Likely>,
}

/// What a footer says of a file's columns. `tail` and `limit` are as of [`super::footer::extents`].
///
/// # Errors
/// As [`super::footer::extents`].
pub fn described(tail: &Bytes, size: u64, limit: u64) -> Result<Described, String> {
    catch_panic(|| {
        let parsed = parse_footer(tail, size, limit)?;
        let fields = parsed.schema.fields();
        let types = fields
            .iter()
            .map(|f| (f.name().clone(), told(f.data_type())));
        let columns = parsed.footer.metadata().file_metadata().schema_descr();
        let leaf = |name: &str| {
            columns
                .columns()
                .iter()
                .position(|c| c.path().parts() == [name])
        };
        let wanted: Vec<(usize, &str, DataType)> = fields
            .iter()
            .map(|f| (f.name().as_str(), canonical(f.data_type())))
            .filter(|(_, plain)| may_be_time(plain))
            .filter_map(|(name, plain)| Some((leaf(name)?, name, plain)))
            .take(MOST)
            .collect();
        let leaves: Vec<usize> = wanted.iter().map(|(leaf, ..)| *leaf).collect();
        let mut options = ParquetMetaDataOptions::default();
        options.set_column_stats_policy(ParquetStatisticsPolicy::skip_except(&leaves));
        options.set_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll);
        let metadata = parsed.found.decode(&options)?;
        let likely = wanted.iter().filter_map(|(leaf, name, plain)| {
            Some(((*name).to_owned(), likely(&metadata, *leaf, plain)?))
        });
        Ok(Described {
            types: types.collect(),
            likely: likely.collect(),
        })
    })
}

fn may_be_time(plain: &DataType) -> bool {
    matches!(
        plain,
        DataType::Int64
            | DataType::UInt64
            | DataType::Int32
            | DataType::UInt32
            | DataType::Float64
            | DataType::Utf8
            | DataType::Date32
    )
}

/// What the least and the greatest value of a column look like.
fn likely(metadata: &ParquetMetaData, leaf: usize, plain: &DataType) -> Option<Likely> {
    let groups = metadata.row_groups().iter();
    let all = groups.filter_map(|group| group.columns().get(leaf)?.statistics());
    all.filter_map(|found| match found {
        Statistics::Int64(s) => Likely::integers(*s.min_opt()?, *s.max_opt()?),
        Statistics::Int32(s) if *plain == DataType::Date32 => {
            Some(Likely::dates(*s.min_opt()?, *s.max_opt()?))
        }
        Statistics::Int32(s) => Likely::integers((*s.min_opt()?).into(), (*s.max_opt()?).into()),
        Statistics::Double(s) => Likely::floats(*s.min_opt()?, *s.max_opt()?),
        Statistics::ByteArray(s) => {
            let text = |bytes| std::str::from_utf8(bytes).ok();
            Likely::texts(text(s.min_opt()?.data())?, text(s.max_opt()?.data())?)
        }
        _ => None,
    })
    .reduce(Likely::with)
}

/// A type as people call it.
fn told(data: &DataType) -> String {
    match canonical(data) {
        DataType::Utf8 => "text".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Timestamp(unit, zone) => {
            let unit = match unit {
                TimeUnit::Second => "s",
                TimeUnit::Millisecond => "ms",
                TimeUnit::Microsecond => "µs",
                TimeUnit::Nanosecond => "ns",
            };
            format!(
                "timestamp in {unit}{}",
                if zone.is_some() { " UTC" } else { "" }
            )
        }
        DataType::Struct(_) => "struct".to_owned(),
        DataType::List(_) | DataType::FixedSizeList(..) => "list".to_owned(),
        DataType::Map(..) => "map".to_owned(),
        other => other.to_string().to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;

    use super::*;

    #[test]
    fn times_of_other_types_are_named_with_their_units() {
        let n = |n: i64| Arc::new(Int64Array::from(vec![n, n + 60])) as ArrayRef;
        let batch = RecordBatch::try_from_iter([
            ("s", n(1_767_225_600)),
            ("ms", n(1_767_225_600_000)),
            ("n", n(17)),
            (
                "f",
                Arc::new(Float64Array::from(vec![1_767_225_600.5; 2])) as ArrayRef,
            ),
            (
                "iso",
                Arc::new(StringArray::from(vec!["2026-01-01T00:00:00Z"; 2])) as ArrayRef,
            ),
            (
                "text",
                Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef,
            ),
            (
                "day",
                Arc::new(Date32Array::from(vec![20_454, 20_455])) as ArrayRef,
            ),
        ])
        .unwrap();
        let mut w = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        w.write(&batch).unwrap();
        let bytes: Bytes = w.into_inner().unwrap().into();
        let Described { types, likely } = described(&bytes, bytes.len() as u64, u64::MAX).unwrap();
        let words: Vec<String> = likely
            .iter()
            .map(|(name, l)| format!("{name}: {}", l.what))
            .collect();
        assert_eq!(
            words,
            [
                "day: a date",
                "f: a double, likely seconds since 1970",
                "iso: text, likely ISO 8601",
                "ms: an integer, likely milliseconds since 1970",
                "s: an integer, likely seconds since 1970"
            ]
        );
        for (name, found) in &likely {
            let day = found
                .span
                .map(|(from, _)| from.to_datetime().format("%Y-%m-%d").to_string());
            assert_eq!(day.as_deref(), Some("2026-01-01"), "{name}");
        }
        assert_eq!(
            (types["s"].as_str(), types["iso"].as_str()),
            ("int64", "text")
        );
    }
}
