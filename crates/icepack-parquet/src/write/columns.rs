//! Encodes the columns of a row group: all at once, or one part after the other where there are
//! thousands.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use parquet::arrow::arrow_writer::{ArrowLeafColumn, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;

use super::failed;
use crate::error::Result;
use crate::leaf::parquet_schema;

/// What a column that is being encoded holds beside its values, most of it for compressing, once
/// there has been a page.
const COLUMN_BYTES: usize = 128 << 10;

/// Columns that are encoded side by side where there are too many to have all of them open.
const SLICE: usize = 64;

/// Makes the columns of a row group.
pub(crate) enum Factory {
    /// All at once: they take the rows in steps.
    Whole(ArrowRowGroupWriterFactory),
    /// Some after the others: each takes all rows of the row group, and is gone before the next are
    /// made.
    Slices(Vec<Slice>),
}

/// Neighbours among the columns.
pub(crate) struct Slice {
    pub fields: Range<usize>,
    pub factory: ArrowRowGroupWriterFactory,
}

impl Factory {
    /// For row groups of about `group_bytes`.
    pub fn of<W: Write + Send>(
        file: &SerializedFileWriter<W>,
        schema: &Schema,
        group_bytes: usize,
    ) -> Result<Self> {
        let leaves = file.schema_descr().num_columns();
        if leaves.saturating_mul(COLUMN_BYTES) <= group_bytes.saturating_mul(2) {
            return Ok(Self::Whole(ArrowRowGroupWriterFactory::new(
                file,
                Arc::new(schema.clone()),
            )));
        }
        let slice = |from: usize| {
            let fields = from..schema.fields().len().min(from + SLICE);
            let schema = Schema::new(
                schema
                    .fields()
                    .get(fields.clone())
                    .unwrap_or_default()
                    .to_vec(),
            );
            let root = parquet_schema(&schema)?.root_schema_ptr();
            // Nothing is written to it: a factory takes its columns from a file.
            let like =
                SerializedFileWriter::new(std::io::sink(), root, Arc::clone(file.properties()))?;
            Ok(Slice {
                fields,
                factory: ArrowRowGroupWriterFactory::new(&like, Arc::new(schema)),
            })
        };
        let slices: Result<Vec<Slice>, ParquetError> = (0..schema.fields().len())
            .step_by(SLICE)
            .map(slice)
            .collect();
        slices.map(Self::Slices).map_err(failed)
    }
}

/// The leaf columns of `fields`, of which there must be `count`, batch by batch.
pub(crate) fn leaves(
    schema: &Schema,
    fields: Range<usize>,
    batches: &[RecordBatch],
    count: usize,
) -> Result<Vec<Vec<ArrowLeafColumn>>> {
    let mut leaves: Vec<Vec<ArrowLeafColumn>> = (0..count)
        .map(|_| Vec::with_capacity(batches.len()))
        .collect();
    for batch in batches {
        let mut own = leaves.iter_mut();
        for (field, array) in schema
            .fields()
            .iter()
            .zip(batch.columns())
            .take(fields.end)
            .skip(fields.start)
        {
            for leaf in compute_leaves(field, array).map_err(failed)? {
                own.next()
                    .ok_or_else(|| failed("the rows have more columns than the file"))?
                    .push(leaf);
            }
        }
        if own.next().is_some() {
            return Err(failed("the rows have fewer columns than the file"));
        }
    }
    Ok(leaves)
}
