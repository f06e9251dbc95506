//! What a footer says beside types and rows: it comes back where the inputs had it, and nothing comes
//! that they had not.

use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit as Unit, Type as Physical};
use parquet::bloom_filter::Sbbf;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::leaves::{columns, converted, file_of, logical, raw, try_merged};
use super::*;
use crate::append::Copyable;
use crate::schema::UnionSchema;

fn merged(files: &[&Bytes]) -> Bytes {
    try_merged(files).unwrap()
}

fn footer(bytes: &Bytes) -> ParquetMetaData {
    let file = SerializedFileReader::new(bytes.clone()).unwrap();
    file.metadata().clone()
}

/// As another program writes it.
fn foreign(batch: &RecordBatch, has_arrow_schema: bool, filtered: &[&str]) -> Bytes {
    let properties = filtered
        .iter()
        .fold(WriterProperties::builder(), |b, name| {
            b.set_column_bloom_filter_enabled(ColumnPath::from(*name), true)
        });
    let options = ArrowWriterOptions::new()
        .with_properties(properties.build())
        .with_skip_arrow_metadata(!has_arrow_schema);
    let mut w = ArrowWriter::try_new_with_options(Vec::new(), batch.schema(), options).unwrap();
    w.write(batch).unwrap();
    w.into_inner().unwrap().into()
}

/// Readers that know Arrow would show other types for a file that never had its schema.
#[test]
fn an_arrow_schema_is_written_where_an_input_had_one() {
    let pairs = |bytes: &Bytes| -> Vec<String> {
        let footer = footer(bytes);
        let pairs = footer.file_metadata().key_value_metadata();
        pairs.into_iter().flatten().map(|p| p.key.clone()).collect()
    };
    let (with, bare) = (
        foreign(&batch(0, 2), true, &[]),
        foreign(&batch(2, 2), false, &[]),
    );
    let of_bare = merged(&[&bare, &bare]);
    assert_eq!(pairs(&of_bare), ["icepack.row_groups"]);
    assert_eq!(pairs(&merged(&[&of_bare, &bare])), ["icepack.row_groups"]);
    for files in [[&with, &bare], [&bare, &with], [&with, &of_bare]] {
        assert_eq!(
            pairs(&merged(&files)),
            ["ARROW:schema", "icepack.row_groups"]
        );
    }
    // Anybody may write our keys.
    let options = WriteOptions {
        metadata: vec![("icepack.bare".to_owned(), String::new())],
        ..sorted()
    };
    let forged = merged(&[&file(&[batch(0, 2)], options)]);
    assert_eq!(pairs(&forged), ["ARROW:schema", "icepack.row_groups"]);
}

/// DuckDB knows no zone for them, and one for the times that they would become.
#[test]
fn times_of_before_logical_types_stay_so() {
    let times = [
        converted("time_ms", Physical::INT32, ConvertedType::TIME_MILLIS),
        converted("time_us", Physical::INT64, ConvertedType::TIME_MICROS),
        converted("at_ms", Physical::INT64, ConvertedType::TIMESTAMP_MILLIS),
        converted("at_us", Physical::INT64, ConvertedType::TIMESTAMP_MICROS),
    ];
    let before = file_of(times.to_vec(), &[]);
    let after = merged(&[&before]);
    assert_eq!(raw(&after), raw(&before));
    assert_eq!(raw(&merged(&[&after])), raw(&before));
    // Beside a newer file they are what they are by the standard.
    let newer = |unit| logical("at_us", Physical::INT64, LogicalType::timestamp(true, unit));
    for unit in [Unit::MICROS, Unit::NANOS] {
        let both = merged(&[&before, &file_of(vec![newer(unit)], &[])]);
        let footer = footer(&both);
        let leaves = footer.file_metadata().schema_descr().columns().iter();
        let found: Vec<_> = leaves.filter(|c| c.name() == "at_us").collect();
        assert_eq!(
            found[0].logical_type_ref(),
            Some(&LogicalType::timestamp(true, unit))
        );
    }
}

/// The bloom filters of a file, by row group and column.
fn filters(bytes: &Bytes) -> Vec<Vec<Option<Sbbf>>> {
    let footer = footer(bytes);
    let of = |c: &parquet::file::metadata::ColumnChunkMetaData| {
        let start = usize::try_from(c.bloom_filter_offset()?).unwrap();
        let length = usize::try_from(c.bloom_filter_length()?).unwrap();
        Some(Sbbf::from_bytes(&bytes[start..start + length]).unwrap())
    };
    let groups = footer.row_groups().iter();
    groups
        .map(|g| g.columns().iter().map(of).collect())
        .collect()
}

/// Which of its columns have filters, of a file whose row groups all have the same.
fn filtered(bytes: &Bytes) -> Vec<bool> {
    let all = filters(bytes);
    let shapes: Vec<Vec<bool>> = all
        .iter()
        .map(|group| group.iter().map(Option::is_some).collect())
        .collect();
    assert!(shapes.windows(2).all(|w| w[0] == w[1]), "{shapes:?}");
    shapes[0].clone()
}

fn check_ids(bytes: &Bytes, ids: std::ops::Range<i64>) {
    let found = |id: String| {
        let all = filters(bytes);
        all.iter()
            .any(|g| g[0].as_ref().unwrap().check(id.as_str()))
    };
    for i in ids.clone().step_by(97) {
        assert!(found(format!("id-{i:08}")), "{i}");
    }
    let absent = (0..500).filter(|i| found(format!("no-{i}"))).count();
    assert!(absent < 50, "{absent} of 500 that are not there");
}

#[test]
fn columns_that_had_bloom_filters_in_every_file_have_them() {
    let both = ["event_id", "version"];
    let (a, b) = (
        foreign(&batch(0, 1_000), true, &both),
        foreign(&batch(1_000, 1_000), true, &both[..1]),
    );
    let after = merged(&[&a, &b]);
    assert_eq!(filtered(&after), [true, false, false, false]);
    check_ids(&after, 0..2_000);
    let size = filters(&after)[0][0].as_ref().unwrap().num_blocks() * 32;
    assert!(size <= 4 << 10, "{size} bytes for 2,000 values");
    let none = foreign(&batch(0, 10), true, &[]);
    for files in [[&after, &none], [&none, &after]] {
        assert_eq!(filtered(&merged(&files)), [false; 4]);
    }
    // A file without rows says nothing of filters, and has no row that they could miss.
    let empty = foreign(&batch(0, 0), true, &[]);
    assert_eq!(filtered(&merged(&[&after, &after])), filtered(&after));
    assert_eq!(footer(&empty).num_row_groups(), 0);
}

/// `bytes` as a file of rows of `schema`, without being decoded; or why it is decoded.
fn copied(bytes: &Bytes, schema: &SchemaRef, window: u64) -> Result<Bytes, String> {
    let closed = open(bytes.clone())
        .unwrap()
        .close(Source::Memory(bytes.clone()), None);
    let dater = Dater::of(&TimeColumn::default(), schema, "x.parquet").unwrap();
    let (groups, mut windows, sender, incoming) = Copyable::open(&closed, schema, &dater, &[])
        .unwrap()?
        .start(window);
    let sending = std::thread::spawn(move || {
        while let Some(bytes) = windows.next_bytes().unwrap() {
            sender.send(bytes).unwrap();
        }
    });
    let mut w = ParquetWriter::new(Vec::new(), Arc::clone(schema), sorted());
    for group in 0..groups.len() {
        w.append(&groups, group, &incoming).unwrap();
    }
    // All that was sent was wanted.
    sending.join().unwrap();
    Ok(w.finish().unwrap().into())
}

fn united(files: &[&Bytes]) -> SchemaRef {
    let mut union = UnionSchema::new(&columns());
    for file in files {
        union
            .add(open(Bytes::clone(file)).unwrap().schema())
            .unwrap();
    }
    union.finish()
}

#[test]
fn bloom_filters_are_copied_with_their_row_groups() {
    let raw = foreign(&batch(0, 30_000), true, &["event_id", "version"]);
    let schema = united(&[&raw]);
    let options = WriteOptions {
        row_group_bytes: 32 << 10,
        ..sorted()
    };
    let mut w = ParquetWriter::new(Vec::new(), Arc::clone(&schema), options);
    for i in 0..30 {
        let rows = crate::schema::adapt(&batch(i * 1_000, 1_000), &schema).unwrap();
        w.write(&rows, Fingerprint::default()).unwrap();
    }
    let before: Bytes = w.finish().unwrap().into();
    assert!(footer(&before).num_row_groups() > 2);
    for window in [1, 1_000, 1 << 30] {
        let after = copied(&before, &schema, window).unwrap();
        assert_eq!(
            rows(&open(after.clone()).unwrap()).unwrap(),
            rows(&open(before.clone()).unwrap()).unwrap()
        );
        assert_eq!(
            format!("{:?}", filters(&after)),
            format!("{:?}", filters(&before))
        );
    }
    let none = foreign(&batch(0, 10), true, &[]);
    let without = copied(&before, &united(&[&raw, &none]), 1_000).unwrap();
    assert_eq!(filtered(&without), [false; 4]);
    // Its own row groups have none, and its neighbours in the file would.
    assert_eq!(
        copied(&without, &schema, 1_000).unwrap_err(),
        "it has not all bloom filters that it is to have"
    );
}

/// There is no decoder for them: such a file was called damaged.
#[test]
fn a_dictionary_of_decimals_is_read_and_stays_one() {
    let decimal = DataType::Decimal128(21, 2);
    let words = DataType::Dictionary(Box::new(DataType::Int32), Box::new(decimal.clone()));
    let values = Decimal128Array::from(vec![Some(-(10_i128.pow(21) - 1)), None, Some(7)]);
    let values = values.with_data_type(decimal.clone());
    let times = TimestampMicrosecondArray::from(vec![1_i64, 2, 3]);
    let plain = RecordBatch::try_from_iter_with_nullable([
        ("timestamp", Arc::new(times) as ArrayRef, true),
        ("x", Arc::new(values), true),
    ])
    .unwrap();
    let shown = |x: &DataType| {
        let time = plain.schema().field(0).clone();
        Schema::new(vec![time, Field::new("x", x.clone(), true)])
    };
    // As pyarrow writes it: the values are plain, and the Arrow schema says what they were.
    let hint = parquet::arrow::encode_arrow_schema(&shown(&words));
    let pair = parquet::file::metadata::KeyValue::new("ARROW:schema".to_owned(), hint);
    let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![pair]));
    let options = ArrowWriterOptions::new()
        .with_properties(properties.build())
        .with_skip_arrow_metadata(true);
    let mut w = ArrowWriter::try_new_with_options(Vec::new(), plain.schema(), options).unwrap();
    w.write(&plain).unwrap();
    let before: Bytes = w.into_inner().unwrap().into();
    let after = merged(&[&before, &before]);
    let read = rows(&open(after.clone()).unwrap()).unwrap();
    assert_eq!(read.iter().map(RecordBatch::num_rows).sum::<usize>(), 6);
    assert_eq!(&read[0].column(1).slice(0, 3), plain.column(1));
    let own = parquet::arrow::arrow_reader::ArrowReaderMetadata::load(
        &after,
        parquet::arrow::arrow_reader::ArrowReaderOptions::new(),
    );
    assert_eq!(own.unwrap().schema().field(1).data_type(), &words);
}

#[test]
fn files_are_written_as_they_are_to_be() {
    use icepack_core::model::policy::{Codec, Writing};
    use parquet::basic::Compression;
    let options = |writing| WriteOptions {
        writing,
        ..sorted()
    };
    let written = file(
        &[batch(0, 1_000)],
        options(Writing {
            compression: Codec::Snappy,
            compression_columns: [("version".to_owned(), Codec::None)].into(),
            bloom_filter: vec!["event_id".to_owned(), "not there".to_owned()],
            ..Writing::default()
        }),
    );
    let codecs = |bytes: &Bytes| -> Vec<Compression> {
        let footer = footer(bytes);
        let columns = footer.row_group(0).columns().iter();
        columns.map(|c| c.compression()).collect()
    };
    let (snappy, none) = (Compression::SNAPPY, Compression::UNCOMPRESSED);
    assert_eq!(codecs(&written), [snappy, snappy, snappy, none]);
    assert_eq!(filtered(&written), [true, false, false, false]);
    check_ids(&written, 0..1_000);
    let usual = file(&[batch(0, 1_000)], sorted());
    assert!(matches!(codecs(&usual)[..], [Compression::ZSTD(_), ..]));
    assert_eq!(filtered(&usual), [false; 4]);
}
