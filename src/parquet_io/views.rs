//! Strings are decoded as views: a dictionary's value is there once, however many rows name it. They become what the file calls them a few rows at a
//! time, so that a small page of a large value does not become a large batch.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

/// The type to decode a column as, where it is another.
fn view(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => Some(DataType::Utf8View),
        DataType::Binary | DataType::LargeBinary => Some(DataType::BinaryView),
        _ => None,
    }
}

/// `schema` with other types for some of its columns, if there are any.
fn map(schema: &Schema, other: impl Fn(&DataType) -> Option<DataType>) -> Option<SchemaRef> {
    if !schema.fields().iter().any(|f| other(f.data_type()).is_some()) {
        return None;
    }
    let fields = schema.fields().iter().map(|f| match other(f.data_type()) {
        Some(data_type) => Arc::new(Field::clone(f).with_data_type(data_type)),
        None => Arc::clone(f),
    });
    Some(Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone())))
}

/// `schema` with plain strings where it has dictionaries of them: nobody behind this wants a dictionary.
pub fn plain(schema: &SchemaRef) -> SchemaRef {
    let value = |t: &DataType| match t {
        DataType::Dictionary(_, value) => view(value).map(|_| DataType::clone(value)),
        _ => None,
    };
    map(schema, value).unwrap_or_else(|| Arc::clone(schema))
}

/// `schema` with views for the strings of its columns; none where it has no strings. Those inside of lists and structs stay as they are.
pub fn of(schema: &Schema) -> Option<SchemaRef> {
    map(schema, view)
}

/// The bytes of all columns but for the strings that views point to.
pub fn other_bytes(batch: &RecordBatch) -> u64 {
    let bytes = |a: &Arc<dyn Array>| if views_of(a.as_ref()).is_some() { a.len() * 16 } else { a.get_array_memory_size() };
    batch.columns().iter().map(|a| bytes(a) as u64).sum()
}

fn views_of(array: &dyn Array) -> Option<&[u128]> {
    match array.data_type() {
        DataType::Utf8View => Some(array.as_string_view().views()),
        DataType::BinaryView => Some(array.as_binary_view().views()),
        _ => None,
    }
}

/// A decoded batch as batches of a bounded size, of the file's own types.
pub struct Slices {
    batch: RecordBatch,
    schema: SchemaRef,
    at: usize,
    bytes: u64,
}

impl Slices {
    /// Slices of about `bytes`, or of a row where one alone is larger. `schema` is that of the file, as far as `batch` has its columns.
    pub fn new(batch: RecordBatch, schema: &Schema, bytes: u64) -> Self {
        let own = batch.schema_ref().fields().iter().map(|f| schema.field_with_name(f.name()).map_or_else(|_| Arc::clone(f), |own| Arc::new(own.clone())));
        let schema = Arc::new(Schema::new_with_metadata(own.collect::<Vec<_>>(), schema.metadata().clone()));
        Self { batch, schema, at: 0, bytes }
    }

    /// The next rows; none when all are out.
    pub fn next(&mut self) -> Option<Result<RecordBatch, String>> {
        let rows = self.fitting();
        if rows == 0 {
            return None;
        }
        let slice = self.batch.slice(self.at, rows);
        self.at += rows;
        let own = |(f, a): (&Arc<Field>, &Arc<dyn Array>)| if a.data_type() == f.data_type() { Ok(Arc::clone(a)) } else { cast(a, f.data_type()) };
        let columns: Result<Vec<_>, _> = self.schema.fields().iter().zip(slice.columns()).map(own).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Some(columns.and_then(|c| RecordBatch::try_new_with_options(Arc::clone(&self.schema), c, &options)).map_err(|e| e.to_string()))
    }

    fn fitting(&self) -> usize {
        let left = self.batch.num_rows() - self.at;
        let columns: Vec<&[u128]> = self.batch.columns().iter().filter_map(|a| views_of(a.as_ref())).collect();
        let mut bytes = 0;
        for row in 0..left {
            // The low half of a view is the length.
            bytes += columns.iter().map(|views| views[self.at + row] & 0xffff_ffff).sum::<u128>();
            if bytes > u128::from(self.bytes) {
                return row.max(1);
            }
        }
        left
    }
}
