//! How each column is encoded, chosen by what it holds.

use std::collections::HashSet;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, Schema};
use parquet::basic::{Compression, Encoding, GzipLevel, ZstdLevel};
use parquet::file::metadata::{KeyValue, RowGroupMetaData, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::{ColumnPath, SchemaDescriptor};
use xxhash_rust::xxh3::xxh3_64;

use super::{CREATED_BY, GROUP_ROWS, SAMPLE_ROWS, WriteOptions};
use crate::{form, leaf, pairs};
use icepack_core::model::policy::{Codec, Encodings};

/// What encodings are chosen by.
pub(crate) struct Sample<'a> {
    /// The first rows.
    pub rows: &'a [RecordBatch],
    /// Where there are none: a row group of the same columns whose encodings were chosen by its
    /// rows.
    pub like: Option<&'a RowGroupMetaData>,
}

impl Sample<'_> {
    /// Whether the values of a column hardly repeat.
    fn is_unique(&self, column: usize, name: &str) -> bool {
        match self.like.and_then(|group| {
            group
                .columns()
                .iter()
                .find(|c| c.column_path().parts() == [name])
        }) {
            Some(chunk) => !chunk
                .encodings()
                .any(|e| matches!(e, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY)),
            None => distinct_ratio(self.rows, column) > UNIQUE,
        }
    }
}

/// How a file of such rows is written.
pub(crate) fn properties(
    schema: &Schema,
    descriptor: &SchemaDescriptor,
    options: &WriteOptions,
    sample: &Sample,
) -> WriterProperties {
    let place = |name: &str| {
        descriptor
            .columns()
            .iter()
            .position(|c| c.path().parts() == [name])
    };
    let sorting = options
        .sorted_by
        .as_deref()
        .and_then(place)
        .and_then(|i| i32::try_from(i).ok());
    let own = pairs::written(schema.metadata());
    let metadata = options
        .metadata
        .iter()
        .map(|(k, v)| (k, v))
        .chain(own.iter());
    let metadata: Vec<KeyValue> = metadata
        .map(|(k, v)| KeyValue::new(k.clone(), v.clone()))
        .collect();
    let mut builder = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(compression(options.writing.compression))
        // Of every page: readers skip to the rows of a time range, or of an id, without decoding
        // the rest.
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_key_value_metadata((!metadata.is_empty()).then_some(metadata))
        .set_sorting_columns(sorting.map(|column_idx| {
            vec![SortingColumn {
                column_idx,
                descending: false,
                nulls_first: true,
            }]
        }));
    builder = with_blooms(builder, schema, descriptor, options);
    for leaf in descriptor.columns() {
        if let Some(name) = leaf.path().parts().first() {
            let codec = compression(options.writing.codec(name));
            builder = builder.set_column_compression(leaf.path().clone(), codec);
        }
    }
    // Whoever reads a column into a dictionary expects it in the file: pyarrow refuses lengths apart
    // from bytes there.
    let fields = schema.fields().iter().enumerate();
    for (i, field) in fields.filter(|(_, f)| !form::is_dictionary(f)) {
        let path = ColumnPath::new(vec![field.name().clone()]);
        builder = encode(
            builder,
            options.writing.encodings,
            path,
            field.data_type(),
            || sample.is_unique(i, field.name()),
        );
    }
    builder.build()
}

pub(crate) fn compression(codec: Codec) -> Compression {
    match codec {
        Codec::None => Compression::UNCOMPRESSED,
        Codec::Snappy => Compression::SNAPPY,
        Codec::Gzip => Compression::GZIP(GzipLevel::default()),
        Codec::Lz4Raw => Compression::LZ4_RAW,
        Codec::Zstd(level) => Compression::ZSTD(ZstdLevel::try_new(level).unwrap_or_default()),
    }
}

/// How often a filter may say that a value is there which is not. What a filter was made with cannot
/// be read from it; this is what DuckDB and parquet-java take.
const FALSE_POSITIVES: f64 = 0.01;

/// Of a row group's bytes, what its filters may take before it is known how many values there are.
const FILTERS: usize = 8;

/// Bits of a filter for each value, at that rate.
const BITS_PER_VALUE: usize = 10;

/// Filters for the columns that had them, and for those that are to have one. Each is made large
/// enough for a row group of nothing but different values, as far as memory allows, and folded to
/// what its values need.
fn with_blooms(
    mut builder: WriterPropertiesBuilder,
    schema: &Schema,
    descriptor: &SchemaDescriptor,
    options: &WriteOptions,
) -> WriterPropertiesBuilder {
    let blooms = leaf::blooms(schema, descriptor, &options.writing.bloom_filter);
    let leaves = blooms.into_iter().zip(descriptor.columns());
    let paths: Vec<ColumnPath> = leaves
        .filter(|(has, _)| *has)
        .map(|(_, leaf)| leaf.path().clone())
        .collect();
    let values = (options.row_group_bytes / FILTERS / paths.len().max(1)) * 8 / BITS_PER_VALUE;
    for path in paths {
        builder = builder
            .set_column_bloom_filter_fpp(path.clone(), FALSE_POSITIVES)
            .set_column_bloom_filter_max_ndv(path, values.clamp(1, GROUP_ROWS) as u64);
    }
    builder
}

/// Chooses a column's encoding by what it holds.
///
/// - Times ascend: deltas of a few bits each. A dictionary of them would be as long as the column.
/// - Numbers and strings that repeat (types, entities): a dictionary, the writer's default. It
///   gives up by itself where the dictionary grows too large.
/// - Numbers that hardly repeat: deltas.
/// - Strings that hardly repeat (ids, payloads): a dictionary would only be built to be thrown
///   away. Lengths apart from bytes, so that zstd sees the text in one piece.
///
/// Where all readers are to know the encoding, plain values stand for deltas and lengths. Nested
/// columns keep the defaults.
fn encode(
    builder: WriterPropertiesBuilder,
    encodings: Encodings,
    path: ColumnPath,
    data_type: &DataType,
    is_unique: impl Fn() -> bool,
) -> WriterPropertiesBuilder {
    use DataType as T;
    let delta = match data_type {
        T::Timestamp(..) => Encoding::DELTA_BINARY_PACKED,
        T::Int32 | T::Int64 | T::UInt32 | T::UInt64 if is_unique() => Encoding::DELTA_BINARY_PACKED,
        T::Utf8 | T::Binary if is_unique() => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        _ => return builder,
    };
    let encoding = if encodings == Encodings::Delta {
        delta
    } else {
        Encoding::PLAIN
    };
    builder
        .set_column_dictionary_enabled(path.clone(), false)
        .set_column_encoding(path, encoding)
}

/// Above this share of distinct values in the sample, a value is taken to hardly repeat. High,
/// because the sample is small: of ten thousand entities, each a hundred times in a file, four
/// thousand rows show four fifths distinct, and a dictionary is still right.
const UNIQUE: f64 = 0.9;

fn distinct_ratio(sample: &[RecordBatch], column: usize) -> f64 {
    let mut seen = HashSet::new();
    let mut count = 0usize;
    for batch in sample {
        let array = batch.column(column);
        let rows = array.len().min(SAMPLE_ROWS.saturating_sub(count));
        count += rows - array.slice(0, rows).null_count();
        sample_hashes(&array.slice(0, rows), &mut seen);
    }
    // Nothing seen: nothing speaks against a dictionary.
    if count == 0 {
        0.0
    } else {
        seen.len() as f64 / count as f64
    }
}

fn sample_hashes(array: &dyn Array, seen: &mut HashSet<u64>) {
    let valid = (0..array.len()).filter(|i| array.is_valid(*i));
    match array.data_type() {
        DataType::Utf8View => {
            let a = array.as_string_view();
            seen.extend(valid.map(|i| xxh3_64(a.value(i).as_bytes())));
        }
        DataType::BinaryView => {
            let a = array.as_binary_view();
            seen.extend(valid.map(|i| xxh3_64(a.value(i))));
        }
        DataType::Utf8 => {
            let a = array.as_string::<i32>();
            seen.extend(valid.map(|i| xxh3_64(a.value(i).as_bytes())));
        }
        DataType::Binary => {
            let a = array.as_binary::<i32>();
            seen.extend(valid.map(|i| xxh3_64(a.value(i))));
        }
        _ => {
            // Unsigned numbers beyond i64 come out null and count as one value.
            if let Ok(numbers) = cast(array, &DataType::Int64) {
                let a = numbers.as_primitive::<Int64Type>();
                seen.extend(valid.map(|i| a.value(i).cast_unsigned()));
            }
        }
    }
}
