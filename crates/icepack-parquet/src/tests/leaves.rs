//! What Arrow has no type for, written by hand: it must come out of our writer as it went in.

use parquet::basic::{
    ConvertedType, EdgeInterpolationAlgorithm, Encoding, LogicalType, Repetition, TimeUnit as Unit,
    Type as Physical,
};
use parquet::column::reader::ColumnReader;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, FixedLenByteArray, Int96};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{PrimitiveTypeBuilder, Type, TypePtr};

use super::*;
use crate::Columns;
use crate::schema::{UnionSchema, adapt};

fn leaf(
    name: &str,
    physical: Physical,
    annotate: impl Fn(PrimitiveTypeBuilder<'_>) -> PrimitiveTypeBuilder<'_>,
) -> TypePtr {
    Arc::new(
        annotate(
            Type::primitive_type_builder(name, physical).with_repetition(Repetition::REQUIRED),
        )
        .build()
        .unwrap(),
    )
}

pub(super) fn logical(name: &str, physical: Physical, logical: LogicalType) -> TypePtr {
    leaf(name, physical, |t| {
        t.with_logical_type(Some(logical.clone()))
    })
}

pub(super) fn converted(name: &str, physical: Physical, converted: ConvertedType) -> TypePtr {
    leaf(name, physical, |t| t.with_converted_type(converted))
}

fn fixed(
    name: &str,
    length: i32,
    logical: Option<LogicalType>,
    converted: ConvertedType,
) -> TypePtr {
    leaf(name, Physical::FIXED_LEN_BYTE_ARRAY, |t| match &logical {
        Some(_) => t.with_length(length).with_logical_type(logical.clone()),
        None => t.with_length(length).with_converted_type(converted),
    })
}

fn group(name: &str, logical: Option<LogicalType>, fields: Vec<TypePtr>) -> TypePtr {
    Arc::new(
        Type::group_type_builder(name)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(logical)
            .with_fields(fields)
            .build()
            .unwrap(),
    )
}

fn bytes_of(i: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|n| (i.wrapping_mul(85)).wrapping_add(u8::try_from(n % 7).unwrap()))
        .collect()
}

/// Two rows with a time, and `columns` after it.
pub(super) fn file_of(columns: Vec<TypePtr>, pairs: &[(&str, &str)]) -> Bytes {
    let time = logical(
        "timestamp",
        Physical::INT64,
        LogicalType::timestamp(true, Unit::MICROS),
    );
    let root = Type::group_type_builder("m")
        .with_fields([vec![time], columns].concat())
        .build()
        .unwrap();
    let pairs = pairs
        .iter()
        .map(|(k, v)| KeyValue::new((*k).to_owned(), (*v).to_owned()))
        .collect();
    let properties = WriterProperties::builder()
        .set_key_value_metadata(Some(pairs))
        .build();
    let mut file =
        SerializedFileWriter::new(Vec::new(), Arc::new(root), Arc::new(properties)).unwrap();
    let mut rows = file.next_row_group().unwrap();
    while let Some(mut column) = rows.next_column().unwrap() {
        match column.untyped() {
            ColumnWriter::Int32ColumnWriter(w) => {
                w.write_batch(&[1, 86_399_999], None, None).map(drop)
            }
            ColumnWriter::Int64ColumnWriter(w) => w
                .write_batch(&[1_700_000_000_000_000, 1_700_000_000_000_001], None, None)
                .map(drop),
            ColumnWriter::Int96ColumnWriter(w) => w
                .write_batch(
                    &[
                        Int96::from(vec![0, 0, 1_721_426]),
                        Int96::from(vec![1_000, 0, 5_373_484]),
                    ],
                    None,
                    None,
                )
                .map(drop),
            ColumnWriter::ByteArrayColumnWriter(w) => w
                .write_batch(
                    &[ByteArray::from("{}"), ByteArray::from("[\"\\u00fc\"]")],
                    None,
                    None,
                )
                .map(drop),
            ColumnWriter::FixedLenByteArrayColumnWriter(w) => {
                let length = usize::try_from(w.get_descriptor().type_length()).unwrap();
                let values: Vec<FixedLenByteArray> = (1..3)
                    .map(|i| ByteArray::from(bytes_of(i, length)).into())
                    .collect();
                w.write_batch(&values, None, None).map(drop)
            }
            _ => unreachable!(),
        }
        .unwrap();
        column.close().unwrap();
    }
    rows.close().unwrap();
    file.into_inner().unwrap().into()
}

/// The columns as they are in the file: their types, and their bytes.
pub(super) fn raw(bytes: &Bytes) -> Vec<(TypePtr, Vec<Vec<u8>>)> {
    let file = SerializedFileReader::new(bytes.clone()).unwrap();
    let columns = file
        .metadata()
        .file_metadata()
        .schema_descr()
        .columns()
        .to_vec();
    let group = file.get_row_group(0).unwrap();
    let read = |i: usize| match group.get_column_reader(i).unwrap() {
        ColumnReader::ByteArrayColumnReader(mut r) => {
            let mut values = Vec::new();
            r.read_records(10, None, None, &mut values).unwrap();
            values
                .iter()
                .map(|v: &ByteArray| v.data().to_vec())
                .collect()
        }
        ColumnReader::FixedLenByteArrayColumnReader(mut r) => {
            let mut values = Vec::new();
            r.read_records(10, None, None, &mut values).unwrap();
            values
                .iter()
                .map(|v: &FixedLenByteArray| v.data().to_vec())
                .collect()
        }
        ColumnReader::Int32ColumnReader(mut r) => {
            let mut values = Vec::new();
            r.read_records(10, None, None, &mut values).unwrap();
            values
                .iter()
                .map(|v: &i32| v.to_le_bytes().to_vec())
                .collect()
        }
        ColumnReader::Int64ColumnReader(mut r) => {
            let mut values = Vec::new();
            r.read_records(10, None, None, &mut values).unwrap();
            values
                .iter()
                .map(|v: &i64| v.to_le_bytes().to_vec())
                .collect()
        }
        _ => unreachable!(),
    };
    columns
        .iter()
        .enumerate()
        .map(|(i, c)| (c.self_type_ptr(), read(i)))
        .collect()
}

pub(super) fn columns() -> Columns {
    Columns {
        timestamp: TimeColumn::default(),
        ids: Vec::new(),
    }
}

fn merged(input: &Input, row_group_bytes: usize) -> Bytes {
    let mut union = UnionSchema::new(&columns());
    union.add(input.schema()).unwrap();
    let schema = union.finish();
    let mut w = ParquetWriter::new(
        Vec::new(),
        Arc::clone(&schema),
        WriteOptions {
            row_group_bytes,
            ..WriteOptions::default()
        },
    );
    for batch in rows(input).unwrap() {
        w.write(&adapt(&batch, &schema).unwrap(), Fingerprint::default())
            .unwrap();
    }
    w.finish().unwrap().into()
}

fn kept() -> Vec<TypePtr> {
    let crs = || Some("srid:5070".to_owned());
    vec![
        logical("json", Physical::BYTE_ARRAY, LogicalType::Json),
        logical("bson", Physical::BYTE_ARRAY, LogicalType::Bson),
        logical("enum", Physical::BYTE_ARRAY, LogicalType::Enum),
        logical(
            "geometry",
            Physical::BYTE_ARRAY,
            LogicalType::geometry(None),
        ),
        logical(
            "geometry_crs",
            Physical::BYTE_ARRAY,
            LogicalType::geometry(crs()),
        ),
        logical(
            "geography",
            Physical::BYTE_ARRAY,
            LogicalType::geography(None, None),
        ),
        logical(
            "geography_crs",
            Physical::BYTE_ARRAY,
            LogicalType::geography(crs(), Some(EdgeInterpolationAlgorithm::VINCENTY)),
        ),
        logical(
            "time_ms",
            Physical::INT32,
            LogicalType::time(true, Unit::MILLIS),
        ),
        logical(
            "time_us",
            Physical::INT64,
            LogicalType::time(true, Unit::MICROS),
        ),
        logical(
            "time_ns",
            Physical::INT64,
            LogicalType::time(true, Unit::NANOS),
        ),
        logical(
            "local_ms",
            Physical::INT32,
            LogicalType::time(false, Unit::MILLIS),
        ),
        fixed("uuid", 16, Some(LogicalType::Uuid), ConvertedType::NONE),
        fixed("f16", 2, Some(LogicalType::Float16), ConvertedType::NONE),
        fixed("interval", 12, None, ConvertedType::INTERVAL),
        fixed("bytes", 5, None, ConvertedType::NONE),
        leaf("numbered", Physical::INT64, |t| t.with_id(Some(7))),
        group(
            "deep",
            None,
            vec![
                logical("json", Physical::BYTE_ARRAY, LogicalType::Json),
                fixed("interval", 12, None, ConvertedType::INTERVAL),
            ],
        ),
        group(
            "variant",
            Some(LogicalType::variant(Some(1))),
            vec![
                leaf("metadata", Physical::BYTE_ARRAY, |t| t),
                leaf("value", Physical::BYTE_ARRAY, |t| t),
            ],
        ),
    ]
}

#[test]
fn every_leaf_comes_back_as_it_was() {
    let before = file_of(kept(), &[("geo", "{}"), ("icepack.run", "r")]);
    let input = open(before.clone()).unwrap();
    assert_eq!(input.refusal(), None);
    // All columns at once, and some after the others.
    for row_group_bytes in [16 << 20, 1 << 10] {
        let after = merged(&input, row_group_bytes);
        assert_eq!(raw(&after), raw(&before));
        let footer = SerializedFileReader::new(after.clone())
            .unwrap()
            .metadata()
            .clone();
        let variant = footer
            .file_metadata()
            .schema()
            .get_fields()
            .iter()
            .find(|f| f.name() == "variant")
            .unwrap()
            .clone();
        assert_eq!(
            variant.get_basic_info().logical_type_ref(),
            Some(&LogicalType::variant(Some(1)))
        );
        let again = open(after).unwrap();
        assert_eq!(again.schema(), input.schema());
        assert_eq!(
            again.schema().metadata().iter().collect::<Vec<_>>(),
            [
                (&"geo".to_owned(), &"{}".to_owned()),
                (&"icepack.bare".to_owned(), &String::new())
            ]
        );
    }
}

#[test]
fn types_of_before_logical_types_are_the_same_types() {
    let old = vec![
        converted("json", Physical::BYTE_ARRAY, ConvertedType::JSON),
        converted("bson", Physical::BYTE_ARRAY, ConvertedType::BSON),
        converted("enum", Physical::BYTE_ARRAY, ConvertedType::ENUM),
    ];
    let new = kept()
        .into_iter()
        .filter(|t| old.iter().any(|o| o.name() == t.name()))
        .collect();
    let (old, new) = (file_of(old, &[]), file_of(new, &[]));
    assert_eq!(raw(&merged(&open(old).unwrap(), 16 << 20)), raw(&new));
}

#[test]
fn int96_becomes_an_instant_in_microseconds() {
    let input = open(file_of(vec![leaf("x", Physical::INT96, |t| t)], &[])).unwrap();
    let after = merged(&input, 16 << 20);
    let (kind, values) = raw(&after).pop().unwrap();
    assert_eq!(
        kind,
        logical(
            "x",
            Physical::INT64,
            LogicalType::timestamp(true, Unit::MICROS)
        )
    );
    // 0001-01-01, and the first microsecond of 9999-12-31.
    assert_eq!(
        values,
        [
            (-62_135_596_800_000_000_i64).to_le_bytes(),
            253_402_214_400_000_001_i64.to_le_bytes()
        ]
    );
}

#[test]
fn what_is_not_in_the_table_is_named() {
    let nested = group(
        "a",
        None,
        vec![group(
            "v",
            Some(LogicalType::variant(None)),
            vec![leaf("value", Physical::BYTE_ARRAY, |t| t)],
        )],
    );
    let input = open(file_of(vec![nested], &[])).unwrap();
    assert_eq!(
        input.refusal(),
        Some("column `a.v` is VARIANT: icepack cannot keep it unchanged; the file is left alone")
    );
    let input = open(file_of(
        vec![leaf("x", Physical::INT96, |t| t)],
        &[("org.apache.spark.legacyINT96", "")],
    ))
    .unwrap();
    assert_eq!(
        input.refusal(),
        Some(
            "its key `org.apache.spark.legacyINT96` says that its times are of an older calendar; \
             the file is left alone"
        )
    );
}

/// A file of the rows of these, or why there is none.
pub(super) fn try_merged(files: &[&Bytes]) -> Result<Bytes, String> {
    let files: Vec<Input> = files
        .iter()
        .map(|f| open(Bytes::clone(f)).unwrap())
        .collect();
    let mut union = UnionSchema::new(&columns());
    files.iter().try_for_each(|f| union.add(f.schema()))?;
    let schema = union.finish();
    let mut w = ParquetWriter::new(Vec::new(), Arc::clone(&schema), WriteOptions::default());
    for batch in files.iter().flat_map(|f| rows(f).unwrap()) {
        w.write(&adapt(&batch, &schema).unwrap(), Fingerprint::default())
            .unwrap();
    }
    Ok(w.finish().unwrap().into())
}

/// The Parquet type of `x` in a file of rows of both, or why there is none.
fn united(a: TypePtr, b: TypePtr) -> Result<TypePtr, String> {
    let (a, b) = (file_of(vec![a], &[]), file_of(vec![b], &[]));
    Ok(raw(&try_merged(&[&a, &b])?).pop().unwrap().0)
}

#[test]
fn types_that_differ_become_what_both_are_or_do_not_unite() {
    let text = logical("x", Physical::BYTE_ARRAY, LogicalType::String);
    let json = logical("x", Physical::BYTE_ARRAY, LogicalType::Json);
    assert_eq!(united(json.clone(), text.clone()), Ok(text.clone()));
    assert_eq!(united(text.clone(), json.clone()), Ok(text));
    assert_eq!(united(json.clone(), json.clone()), Ok(json));
    let (int96, zoned, local) = (
        leaf("x", Physical::INT96, |t| t),
        logical(
            "x",
            Physical::INT64,
            LogicalType::timestamp(true, Unit::MICROS),
        ),
        logical(
            "x",
            Physical::INT64,
            LogicalType::timestamp(false, Unit::MICROS),
        ),
    );
    for other in [zoned, local] {
        assert_eq!(united(int96.clone(), other.clone()), Ok(other.clone()));
        assert_eq!(united(other.clone(), int96.clone()), Ok(other));
    }
    let geometry = |crs: Option<&str>| {
        logical(
            "x",
            Physical::BYTE_ARRAY,
            LogicalType::geometry(crs.map(Into::into)),
        )
    };
    let plain = leaf("x", Physical::BYTE_ARRAY, |t| t);
    let no = |theirs: &str, ours: &str| {
        Err(format!(
            "column `x` is {theirs}, but {ours} in other files: no type holds both \
             without loss"
        ))
    };
    assert_eq!(
        united(geometry(None), geometry(Some("srid:1"))),
        no("GEOMETRY(srid:1)", "GEOMETRY(OGC:CRS84)")
    );
    assert_eq!(
        united(geometry(None), plain),
        no("Binary", "GEOMETRY(OGC:CRS84)")
    );
    let (interval, twelve) = (
        fixed("x", 12, None, ConvertedType::INTERVAL),
        fixed("x", 12, None, ConvertedType::NONE),
    );
    assert_eq!(
        united(twelve, interval),
        no("INTERVAL", "FixedSizeBinary(12)")
    );
}

#[test]
fn columns_that_differ_only_in_case_are_one_and_never_two_in_a_file() {
    let file = |names: &[&str]| {
        open(file_of(
            names
                .iter()
                .map(|n| leaf(n, Physical::INT64, |t| t))
                .collect(),
            &[],
        ))
        .unwrap()
    };
    let why = "column `userid` differs from `userId` only in case, and many readers take the two \
               for one: the file is left alone; rename the column";
    let mut union = UnionSchema::new(&columns());
    assert_eq!(
        union.add(file(&["userId", "userid"]).schema()).unwrap_err(),
        why
    );
    let names = |union: &UnionSchema| -> Vec<String> {
        let fields = union.finish();
        fields.fields().iter().map(|f| f.name().clone()).collect()
    };
    union.add(file(&["userId"]).schema()).unwrap();
    union.add(file(&["userid"]).schema()).unwrap();
    union.add_ours(file(&["USERID"]).schema()).unwrap();
    assert_eq!(names(&union), ["timestamp", "userId"], "the first spelling");
    assert!(!union.finish().field(1).is_nullable());
    assert_eq!(
        union
            .add_ours(file(&["userId", "userid"]).schema())
            .unwrap_err(),
        why
    );
    assert_eq!(
        union.contradicted(file(&["userId", "userid"]).schema()),
        Some("userId".to_owned())
    );
    // A file of ours may be older than the rule.
    let mut union = UnionSchema::new(&columns());
    union
        .add_ours(file(&["userId", "userid"]).schema())
        .unwrap();
    union.add(file(&["userid"]).schema()).unwrap();
    assert_eq!(names(&union), ["timestamp", "userId", "userid"]);
}

/// What keeps files apart shows in what manifests tell of their columns.
#[test]
fn what_does_not_unite_is_told_apart() {
    let told = |field: Field, pairs: &[(&str, &str)]| {
        let time = Field::new(
            "timestamp",
            DataType::Timestamp(TimeUnit::Microsecond, None),
            false,
        );
        let pairs = pairs
            .iter()
            .copied()
            .collect::<arrow::datatypes::Metadata>();
        let schema = Schema::new_with_metadata(vec![time, field], pairs);
        let kinds = crate::schema::described(&schema).0;
        kinds.into_iter().map(|c| c.kind).collect::<Vec<_>>()
    };
    let open = |leaf: TypePtr| {
        let schema = Arc::clone(open(file_of(vec![leaf], &[])).unwrap().schema());
        schema.field(1).clone()
    };
    let interval = open(fixed("x", 12, None, ConvertedType::INTERVAL));
    assert_eq!(
        told(interval.clone(), &[])[1],
        "FixedSizeBinary(12) {INTERVAL}"
    );
    let inside = Field::new("s", DataType::Struct(vec![interval].into()), true);
    let kind = told(inside, &[]).remove(1);
    assert!(
        kind.ends_with(" {x: INTERVAL}") && !kind.contains("icepack"),
        "{kind}"
    );
    let bytes = || Field::new("g", DataType::Binary, true);
    let geo = r#"{"columns":{"g":{"encoding":"WKB","bbox":[1]}}}"#;
    let other = r#"{"columns":{"g":{"encoding":"WKB","bbox":[2],"crs":null}}}"#;
    let kinds = [None, Some(geo), Some(other)].map(|geo| match geo {
        Some(geo) => told(bytes(), &[("geo", geo)]).remove(1),
        None => told(bytes(), &[]).remove(1),
    });
    assert!(
        kinds[0] == "Binary" && kinds[1].starts_with("Binary {geo "),
        "{kinds:?}"
    );
    assert_ne!(kinds[1], kinds[2]);
    assert_eq!(
        told(bytes(), &[("geo", &geo.replace("[1]", "[9]"))])[1],
        kinds[1],
        "bounds tell nothing apart"
    );
    let legacy = told(bytes(), &[("org.apache.spark.legacyDateTime", "")]);
    assert_eq!(legacy, ["Timestamp(µs) {legacyDateTime}", "Binary"]);
}

/// pyarrow cannot read a column of lengths apart from bytes into the dictionary that it is told of.
#[test]
fn a_dictionary_is_not_encoded_as_lengths_and_bytes() {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let words = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let encodings = |column: DataType| {
        let fields = vec![
            Field::new("timestamp", time.clone(), false),
            Field::new("word", column, false),
        ];
        let mut union = UnionSchema::new(&columns());
        union.add(&Schema::new(fields)).unwrap();
        let schema = union.finish();
        let words = (0..5_000).map(|i| format!("word-{i}"));
        let batch = RecordBatch::try_new(
            Arc::clone(&schema),
            vec![
                Arc::new(TimestampMicrosecondArray::from_iter_values(0..5_000)),
                Arc::new(StringArray::from_iter_values(words)),
            ],
        );
        let options = WriteOptions {
            writing: Encodings::Delta.into(),
            ..WriteOptions::default()
        };
        let mut w = ParquetWriter::new(Vec::new(), schema, options);
        w.write(&batch.unwrap(), Fingerprint::default()).unwrap();
        let file: Bytes = w.finish().unwrap().into();
        let footer = SerializedFileReader::new(file).unwrap();
        let column = footer.metadata().row_group(0).column(1).clone();
        column.encodings().collect::<Vec<_>>()
    };
    let lengths = Encoding::DELTA_LENGTH_BYTE_ARRAY;
    assert!(encodings(DataType::Utf8).contains(&lengths));
    assert!(!encodings(words).contains(&lengths));
}
