//! Lists of older writers keep their form.

use arrow::compute::concat_batches;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Repetition;
use parquet::column::writer::ColumnWriter;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{SchemaDescriptor, Type};

use super::leaves::try_merged;
use super::*;

/// A file of three rows. Of each list of integers the first row has 1 and 2, the second nothing, and
/// the third 3.
fn file(columns: &str) -> Bytes {
    let text =
        format!("message m {{ required int64 timestamp (TIMESTAMP(MICROS,true)); {columns} }}");
    let root = Arc::new(parse_message_type(&text).unwrap());
    let table = SchemaDescriptor::new(Arc::clone(&root));
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(Vec::new(), root, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for leaf in table.columns() {
        let mut column = group.next_column().unwrap().unwrap();
        let info = leaf.self_type().get_basic_info();
        let is_optional = info.repetition() == Repetition::OPTIONAL;
        let full = leaf.max_def_level();
        let empty = full - 1 - i16::from(is_optional);
        let (defined, repeated) = ([full, full, empty, full], [0, 1, 0, 0]);
        match column.untyped() {
            ColumnWriter::Int64ColumnWriter(w) => w.write_batch(&[1, 2, 3], None, None),
            ColumnWriter::Int32ColumnWriter(w) => {
                w.write_batch(&[1, 2, 3], Some(&defined), Some(&repeated))
            }
            _ => panic!("{}", leaf.path()),
        }
        .unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.into_inner().unwrap().into()
}

fn root(file: &Bytes) -> Type {
    let file = SerializedFileReader::new(file.clone()).unwrap();
    let table = file.metadata().file_metadata().schema_descr();
    table.root_schema().clone()
}

fn rows(file: &Bytes) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
    let schema = Arc::clone(reader.schema());
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

const STANDARD: &str =
    "required group x (LIST) { repeated group list { required int32 element; } }";

#[test]
fn lists_lie_as_they_lay_in_all_inputs() {
    for columns in [
        STANDARD,
        "repeated int32 x;",
        "repeated group x { required int32 a; required int32 b; }",
        "required group x { repeated int32 y; required int64 z; }",
        "optional group x (LIST) { repeated int32 array; }",
        "required group x (LIST) { repeated group array { required int32 a; } }",
        "optional group x (LIST) { repeated group x_tuple { required int32 a; } }",
        "optional group x (LIST) { repeated group element { required int32 a; optional int32 b; } }",
        "optional group x (LIST) { repeated group bag { optional int32 array_element; } }",
        "required group x (MAP) { repeated group map (MAP_KEY_VALUE) { required int32 key; required int32 value; } }",
    ] {
        let before = file(columns);
        let after = try_merged(&[&before, &before]).unwrap();
        assert_eq!(
            root(&after).get_fields(),
            root(&before).get_fields(),
            "{columns}"
        );
        let (once, twice) = (rows(&before), rows(&after));
        let wanted = concat_batches(&once.schema(), [&once, &once]).unwrap();
        assert_eq!(twice.columns(), wanted.columns(), "{columns}");
        // And once more, as a snapshot.
        let again = try_merged(&[&after]).unwrap();
        assert_eq!(
            root(&again).get_fields(),
            root(&before).get_fields(),
            "{columns}"
        );
    }
}

#[test]
fn lists_that_lie_differently_have_three_levels() {
    let standard = file(STANDARD);
    for columns in [
        "repeated int32 x;",
        "required group x (LIST) { repeated int32 element; }",
        "required group x (LIST) { repeated group bag { required int32 element; } }",
    ] {
        let merged = try_merged(&[&file(columns), &standard]).unwrap();
        assert_eq!(
            root(&merged).get_fields()[1],
            root(&standard).get_fields()[1],
            "{columns}"
        );
        assert_eq!(rows(&merged).num_rows(), 6);
    }
    // Where a file lacks the column, a list is null, and a repeated field cannot be.
    let lacking = file("required int64 y;");
    let merged = try_merged(&[&file("repeated int32 x;"), &lacking]).unwrap();
    let columns = root(&merged);
    let x = columns
        .get_fields()
        .iter()
        .find(|f| f.name() == "x")
        .unwrap();
    assert!(x.is_optional() && x.is_group(), "{x:?}");
    assert_eq!(rows(&merged).column_by_name("x").unwrap().null_count(), 3);
}

#[test]
fn a_group_without_columns_is_left_alone() {
    let empty = file("required int64 x; optional group y { optional group z { } }");
    let input = open(empty).unwrap();
    let why = input.refusal().unwrap();
    assert!(
        why.contains("column `y.z` is a group without columns"),
        "{why}"
    );
}

#[test]
fn a_map_without_values_is_left_alone() {
    let with = |fields: &str| {
        let map = format!("required group x (MAP) {{ repeated group key_value {{ {fields} }} }}");
        open(file(&map)).unwrap().refusal().map(str::to_owned)
    };
    assert_eq!(with("required int32 key; required int32 value;"), None);
    let why = with("required int32 key;").unwrap();
    assert!(why.contains("column `x` is a map without values"), "{why}");
}
