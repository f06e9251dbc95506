//! Strings are decoded as views: a dictionary's value is there once, however many rows name it, and
//! a page is not copied to be merged. Whoever wants them as what the file calls them gets them a
//! few rows at a time, so that a small page of a large value does not become a large batch.

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
    if !schema
        .fields()
        .iter()
        .any(|f| other(f.data_type()).is_some())
    {
        return None;
    }
    let fields = schema.fields().iter().map(|f| match other(f.data_type()) {
        Some(data_type) => Arc::new(Field::clone(f).with_data_type(data_type)),
        None => Arc::clone(f),
    });
    Some(Arc::new(Schema::new_with_metadata(
        fields.collect::<Vec<_>>(),
        schema.metadata().clone(),
    )))
}

/// `schema` with plain values where its columns are dictionaries: nobody behind this wants a
/// dictionary, and there is no decoder for one of decimals.
pub fn plain(schema: &SchemaRef) -> SchemaRef {
    let value = |t: &DataType| match t {
        DataType::Dictionary(_, value) => Some(DataType::clone(value)),
        _ => None,
    };
    map(schema, value).unwrap_or_else(|| Arc::clone(schema))
}

/// `schema` with views for the strings of its columns; none where it has no strings. Those inside
/// of lists and structs stay as they are.
pub fn of(schema: &Schema) -> Option<SchemaRef> {
    map(schema, view)
}

/// `batch` with its columns of the types that `schema` has for them.
///
/// # Errors
/// More than 2 GiB of strings in one column, in a sentence.
pub fn like(batch: &RecordBatch, schema: &Schema) -> Result<RecordBatch, String> {
    let own = batch.schema_ref().fields().iter().map(|f| {
        schema
            .field_with_name(f.name())
            .map_or_else(|_| Arc::clone(f), |own| Arc::new(own.clone()))
    });
    let schema = Arc::new(Schema::new_with_metadata(
        own.collect::<Vec<_>>(),
        schema.metadata().clone(),
    ));
    let own = |(f, a): (&Arc<Field>, &Arc<dyn Array>)| {
        if a.data_type() == f.data_type() {
            Ok(Arc::clone(a))
        } else {
            cast(a, f.data_type())
        }
    };
    let columns: Result<Vec<_>, _> = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(own)
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    columns
        .and_then(|c| RecordBatch::try_new_with_options(schema, c, &options))
        .map_err(|e| e.to_string())
}

/// Whether rows of schema `rows` can be written to a file of schema `file`: the same columns, but
/// that strings may be views.
pub fn same_columns(rows: &SchemaRef, file: &SchemaRef) -> bool {
    let same = |(a, b): (&Arc<Field>, &Arc<Field>)| {
        Arc::ptr_eq(a, b)
            || (a.name() == b.name()
                && a.is_nullable() == b.is_nullable()
                && (a.data_type() == b.data_type()
                    || view(b.data_type()).as_ref() == Some(a.data_type())))
    };
    Arc::ptr_eq(rows, file)
        || (rows.fields().len() == file.fields().len()
            && rows.fields().iter().zip(file.fields()).all(same))
}

/// The bytes of the rows of `array`, also where it is a slice of larger buffers. Of views, those
/// that they point to.
pub fn sliced_bytes(array: &dyn Array) -> usize {
    match views_of(array) {
        Some(views) => views.iter().map(|v| length(*v)).sum::<usize>() + views.len() * 4,
        None => array
            .to_data()
            .get_slice_memory_size()
            .unwrap_or_else(|_| array.get_array_memory_size()),
    }
}

/// The low half of a view is the length of its value.
fn length(view: u128) -> usize {
    (view & 0xffff_ffff) as usize
}

/// The bytes of all columns but for the strings that views point to.
pub fn other_bytes(batch: &RecordBatch) -> u64 {
    let bytes = |a: &Arc<dyn Array>| {
        if views_of(a.as_ref()).is_some() {
            a.len() * 16
        } else {
            a.get_array_memory_size()
        }
    };
    batch.columns().iter().map(|a| bytes(a) as u64).sum()
}

fn views_of(array: &dyn Array) -> Option<&[u128]> {
    match array.data_type() {
        DataType::Utf8View => Some(array.as_string_view().views()),
        DataType::BinaryView => Some(array.as_binary_view().views()),
        _ => None,
    }
}

/// A decoded batch as batches of a bounded size.
pub struct Slices {
    batch: RecordBatch,
    at: usize,
    bytes: u64,
    /// Bytes of pages that a batch may hold on to.
    pinned: usize,
}

impl Slices {
    /// Slices of about `bytes`, or of a row where one alone is larger.
    pub fn new(batch: RecordBatch, bytes: u64) -> Self {
        let pinned = usize::try_from(bytes)
            .unwrap_or(usize::MAX)
            .saturating_mul(PINNED);
        Self {
            batch,
            at: 0,
            bytes,
            pinned,
        }
    }

    fn fitting(&self) -> usize {
        let left = self.batch.num_rows() - self.at;
        let columns: Vec<&[u128]> = self
            .batch
            .columns()
            .iter()
            .filter_map(|a| views_of(a.as_ref()))
            .collect();
        let mut bytes = 0;
        for row in 0..left {
            bytes += columns
                .iter()
                .map(|views| length(views[self.at + row]) as u64)
                .sum::<u64>();
            if bytes > self.bytes {
                return row.max(1);
            }
        }
        left
    }
}

impl Iterator for Slices {
    type Item = RecordBatch;

    /// The next rows, with views.
    fn next(&mut self) -> Option<RecordBatch> {
        let rows = self.fitting();
        if rows == 0 {
            return None;
        }
        let slice = self.batch.slice(self.at, rows);
        self.at += rows;
        Some(unpinned(slice, self.pinned))
    }
}

/// Pages that a batch may hold on to, in multiples of its size: what waits for the encoder is a few
/// batches, and must not be a few pages of a writer that makes them as large as it likes.
const PINNED: usize = 4;

/// `batch`, copied out of its pages where these have more than `most` bytes.
fn unpinned(batch: RecordBatch, most: usize) -> RecordBatch {
    let held = |a: &Arc<dyn Array>| -> usize {
        let buffers = match a.data_type() {
            DataType::Utf8View => a.as_string_view().data_buffers(),
            DataType::BinaryView => a.as_binary_view().data_buffers(),
            _ => return 0,
        };
        buffers.iter().map(|b| b.len()).sum()
    };
    if batch.columns().iter().map(held).sum::<usize>() <= most {
        return batch;
    }
    owned(batch)
}

/// `batch`, copied out of the pages that its strings point into.
pub fn owned(batch: RecordBatch) -> RecordBatch {
    let copied = batch.columns().iter().map(|a| -> Arc<dyn Array> {
        match a.data_type() {
            DataType::Utf8View => Arc::new(a.as_string_view().gc()),
            DataType::BinaryView => Arc::new(a.as_binary_view().gc()),
            _ => Arc::clone(a),
        }
    });
    let columns = copied.collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    // The same columns as before, so this cannot fail; if it does, the batch is still right.
    RecordBatch::try_new_with_options(batch.schema(), columns, &options).unwrap_or(batch)
}
