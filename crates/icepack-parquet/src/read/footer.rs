//! The times in a file, from its footer, without reading a row.

use bytes::Bytes;
use parquet::file::metadata::{
    ParquetMetaData, ParquetMetaDataOptions, ParquetStatisticsPolicy, RowGroupMetaData,
};

use crate::guard::catch_panic;
use crate::likely;
use crate::profile::Profile;
use crate::read::{Parsed, parse_footer};
use crate::schema::canonical;
use crate::time::{self, Dater, ceil_micros, floor_micros};
use arrow::datatypes::{DataType, Schema};
use icepack_core::model::file::{Micros, TimeSpread};
use icepack_core::model::sample::ColumnKind;
use icepack_core::model::time_column::TimeColumn;

/// The rows of each row group and their times, by the statistics of what dates them, from the footer
/// at the end of `tail`. Where there are none, rows have no span. `key` is the file's; the footer
/// may take `limit` bytes once it is parsed.
///
/// # Errors
/// Why it is not a footer that can be believed, in a sentence.
pub fn extents(
    tail: &Bytes,
    size: u64,
    limit: u64,
    column: &TimeColumn,
    key: &str,
) -> Result<Vec<TimeSpread>, String> {
    catch_panic(|| {
        let parsed = parse_footer(tail, size, limit)?;
        let rows = |span| {
            Ok(vec![TimeSpread {
                amount: parsed.found.rows,
                span,
            }])
        };
        let Ok(dater) = Dater::of(column, &parsed.schema, key) else {
            return rows(None);
        };
        if let Some(key) = dater.constant() {
            return rows(dated(Micros(key), Micros(key)));
        }
        match with_statistics(&parsed, &dater)? {
            None => rows(None),
            Some((leaf, metadata)) => Ok(metadata
                .row_groups()
                .iter()
                .flat_map(|group| of_group(group, leaf, &dater))
                .collect()),
        }
    })
}

/// The profile of a file as its statistics tell it, as if its rows were in order: only whoever reads
/// them finds out. None where the statistics do not tell all of it: there are none, rows are
/// undated, or what dates them is no timestamp. The other parameters are as of [`extents`].
///
/// # Errors
/// As [`extents`].
pub fn profile(
    tail: &Bytes,
    size: u64,
    limit: u64,
    column: &TimeColumn,
    key: &str,
) -> Result<Option<Profile>, String> {
    catch_panic(|| {
        let parsed = parse_footer(tail, size, limit)?;
        let Ok(dater) = Dater::of(column, &parsed.schema, key) else {
            return Ok(None);
        };
        if !dater.is_timestamp() {
            return Ok(None);
        }
        let Some((leaf, metadata)) = with_statistics(&parsed, &dater)? else {
            return Ok(None);
        };
        let mut keys: Option<(i64, i64)> = None;
        for group in metadata.row_groups().iter().filter(|g| g.num_rows() > 0) {
            let found = group.columns().get(leaf).and_then(|c| c.statistics());
            let found = found.filter(|s| s.null_count_opt() == Some(0));
            let Some((min, max)) = found.and_then(|s| dater.range(s)) else {
                return Ok(None);
            };
            keys = Some(keys.map_or((min, max), |(a, b)| (a.min(min), b.max(max))));
        }
        Ok(keys.and_then(|keys| Profile::in_order(keys, dater.unit())))
    })
}

/// The leaf that dates a row, and the footer with the statistics of this one alone: a hostile one
/// can be made of statistics. None where they tell nothing.
fn with_statistics(
    parsed: &Parsed,
    dater: &Dater,
) -> Result<Option<(usize, ParquetMetaData)>, String> {
    let columns = parsed.footer.metadata().file_metadata().schema_descr();
    let leaf = dater.leaf().and_then(|path| {
        let mut columns = columns.columns().iter();
        columns.position(|c| c.path().parts() == path)
    });
    let Some(leaf) = leaf else {
        return Ok(None);
    };
    let mut options = ParquetMetaDataOptions::default();
    options.set_column_stats_policy(ParquetStatisticsPolicy::skip_except(&[leaf]));
    options.set_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll);
    Ok(Some((leaf, parsed.found.decode(&options)?)))
}

/// Whether the rows of a file have what dates them, as far as its footer tells. The inner error says
/// what is there instead, and what to set. `key` and `limit` are as of [`extents`]; no row can be
/// much later than `now`.
///
/// # Errors
/// As [`extents`].
pub fn dates(
    tail: &Bytes,
    size: u64,
    limit: u64,
    column: &TimeColumn,
    key: &str,
    now: Micros,
) -> Result<Result<(), String>, String> {
    catch_panic(|| {
        let parsed = parse_footer(tail, size, limit)?;
        let found = time::dates(column, &parsed.schema)
            .and_then(|()| Dater::of(column, &parsed.schema, key));
        let dater = match found {
            Ok(dater) => dater,
            Err(why) => return Ok(Err(advised(why, tail, size, limit, column, &parsed.schema))),
        };
        let Some(mut judge) = dater.judge(now) else {
            return Ok(Ok(()));
        };
        if let Some((leaf, metadata)) = with_statistics(&parsed, &dater)? {
            let groups = metadata.row_groups().iter();
            let found = groups.filter_map(|g| g.columns().get(leaf)?.statistics());
            for (min, max) in found.filter_map(|s| dater.range(s)) {
                judge.add_range(min, max);
            }
        }
        Ok(judge.is_never().map_or(Ok(()), Err))
    })
}

/// `why`, or what to set where a column looks like a time.
fn advised(
    why: String,
    tail: &Bytes,
    size: u64,
    limit: u64,
    column: &TimeColumn,
    schema: &Schema,
) -> String {
    let name = column.name().unwrap_or_default();
    let Ok(found) = likely::described(tail, size, limit) else {
        return why;
    };
    if let Some(own) = found.likely.get(&name)
        && let Some(unit) = own.unit
    {
        let own = &own.what;
        return format!(
            "column `{name}` is {own}, and a number needs its unit: set `timestamp_column` to \
             \"{}\"",
            TimeColumn::named(&name).in_unit(unit)
        );
    }
    // A timestamp is a better guess, and is named already.
    if found.likely.is_empty() || !time::candidates(schema).is_empty() || column.is_path() {
        return why;
    }
    let settings = found
        .likely
        .iter()
        .map(|(name, likely)| format!("\"{}\" ({})", likely.setting(name), likely.what));
    let settings: Vec<String> = settings.take(ADVICE).collect();
    format!("{why}, maybe {}", settings.join(", "))
}

/// Columns that are named at most.
const ADVICE: usize = 3;

/// The column by which the rows of a file are sorted, the oldest first, if its footer names one:
/// the same for every row group.
///
/// # Errors
/// As [`extents`].
pub fn sorted_by(tail: &Bytes, size: u64, limit: u64) -> Result<Option<String>, String> {
    let parsed = catch_panic(|| parse_footer(tail, size, limit))?;
    let metadata = parsed.footer.metadata();
    let first = |group: &RowGroupMetaData| {
        group
            .sorting_columns()
            .and_then(|s| s.first())
            .filter(|s| !s.descending)
            .map(|s| s.column_idx)
    };
    let mut named = metadata.row_groups().iter().map(first);
    let Some(Some(leaf)) = named.next() else {
        return Ok(None);
    };
    if !named.all(|other| other == Some(leaf)) {
        return Ok(None);
    }
    let columns = metadata.file_metadata().schema_descr();
    let path = usize::try_from(leaf)
        .ok()
        .and_then(|leaf| columns.columns().get(leaf))
        .map(|c| c.path().parts());
    Ok(match path {
        Some([name]) => Some(name.clone()),
        _ => None,
    })
}

/// The rows of a file, its columns and what they could be good for, from the footer at the end of
/// `tail`.
///
/// # Errors
/// As [`extents`].
pub fn columns(
    tail: &Bytes,
    size: u64,
    limit: u64,
) -> Result<(u64, Vec<(String, ColumnKind)>), String> {
    let parsed = catch_panic(|| parse_footer(tail, size, limit))?;
    Ok((
        parsed.found.rows,
        parsed
            .schema
            .fields()
            .iter()
            .map(|f| (f.name().clone(), kind(f.data_type())))
            .collect(),
    ))
}

fn kind(data: &DataType) -> ColumnKind {
    let plain = canonical(data);
    match plain {
        DataType::Timestamp(..) => ColumnKind::Time,
        _ if plain.is_integer() => ColumnKind::Integer,
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => ColumnKind::Text,
        _ => ColumnKind::Other,
    }
}

/// The dated rows of a row group, and those without a time.
fn of_group(group: &RowGroupMetaData, leaf: usize, dater: &Dater) -> [TimeSpread; 2] {
    let rows = u64::try_from(group.num_rows()).unwrap_or(0);
    let found = group.columns().get(leaf).and_then(|c| c.statistics());
    let Some((found, (min, max))) = found.and_then(|s| Some((s, dater.range(s)?))) else {
        return [
            TimeSpread {
                amount: rows,
                span: None,
            },
            TimeSpread::default(),
        ];
    };
    let (nulls, unit) = (found.null_count_opt().unwrap_or(0).min(rows), dater.unit());
    let span = dated(floor_micros(min, unit), ceil_micros(max, unit));
    [
        TimeSpread {
            amount: rows - nulls,
            span,
        },
        TimeSpread {
            amount: nulls,
            span: None,
        },
    ]
}

/// From the first to the last dated row.
fn dated(min: Micros, max: Micros) -> Option<(Micros, Micros)> {
    if max < Micros::EPOCH_2000 || max < min {
        return None;
    }
    // Some rows are from before 2000, and nobody knows how many, nor when the others begin: as if
    // all were as new as the newest, which expires too few.
    Some(if min < Micros::EPOCH_2000 {
        (max, max)
    } else {
        (min, max)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::{EnabledStatistics, WriterProperties};

    use super::*;

    const T: i64 = 1_700_000_000_000;

    fn file(times: Vec<Option<i64>>, statistics: EnabledStatistics) -> Bytes {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..times.len() as i64));
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(times));
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("n", numbers, false),
            ("timestamp", times, true),
        ])
        .unwrap();
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(4))
            .set_statistics_enabled(statistics)
            .build();
        let mut w = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        w.write(&batch).unwrap();
        w.into_inner().unwrap().into()
    }

    fn known(bytes: &Bytes, timestamp: &str) -> Vec<TimeSpread> {
        let column = TimeColumn::named(timestamp);
        extents(bytes, bytes.len() as u64, u64::MAX, &column, "x")
            .unwrap()
            .into_iter()
            .filter(|e| e.amount > 0)
            .collect()
    }

    fn extent(amount: u64, span: Option<(i64, i64)>) -> TimeSpread {
        TimeSpread {
            amount,
            span: span.map(|(a, b)| (Micros((T + a) * 1_000), Micros((T + b) * 1_000))),
        }
    }

    #[test]
    fn each_row_group_has_its_rows_and_times() {
        let times = vec![
            Some(T + 3),
            None,
            Some(T),
            Some(T + 1),
            Some(T + 10),
            Some(T + 12),
        ];
        assert_eq!(
            known(&file(times, EnabledStatistics::Chunk), "timestamp"),
            [
                extent(3, Some((0, 3))),
                extent(1, None),
                extent(2, Some((10, 12)))
            ]
        );
    }

    #[test]
    fn what_is_not_dated_has_no_span() {
        let old = vec![Some(0), Some(5)];
        assert_eq!(
            known(&file(old, EnabledStatistics::Chunk), "timestamp"),
            [extent(2, None)]
        );
        let mixed = vec![Some(0), Some(T)];
        assert_eq!(
            known(&file(mixed, EnabledStatistics::Chunk), "timestamp"),
            [extent(2, Some((0, 0)))]
        );
        let times = vec![Some(T), Some(T + 1)];
        assert_eq!(
            known(&file(times.clone(), EnabledStatistics::None), "timestamp"),
            [extent(2, None)]
        );
        for other in ["n", "no_such_column"] {
            assert_eq!(
                known(&file(times.clone(), EnabledStatistics::Chunk), other),
                [extent(2, None)],
                "{other}"
            );
        }
    }

    #[test]
    fn columns_are_known_by_what_they_could_be() {
        let bytes = file(vec![Some(T)], EnabledStatistics::Chunk);
        let (rows, columns) = columns(&bytes, bytes.len() as u64, u64::MAX).unwrap();
        assert_eq!(
            (rows, columns),
            (
                1,
                vec![
                    ("n".to_owned(), ColumnKind::Integer),
                    ("timestamp".to_owned(), ColumnKind::Time)
                ]
            )
        );
    }

    #[test]
    fn what_is_no_footer_is_an_error() {
        let good = file(vec![Some(T)], EnabledStatistics::Chunk);
        let column = TimeColumn::default();
        assert!(extents(&good.slice(..20), 20, u64::MAX, &column, "x").is_err());
        assert!(
            extents(&good, good.len() as u64, 10, &column, "x")
                .unwrap_err()
                .contains("memory_limit")
        );
    }
}
