//! Writes a stream of expired rows into one object, encoded on a blocking thread while it is
//! uploaded.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt;
use tokio::runtime::Handle;

use super::{ArchiveRequest, BatchStream};
use crate::error::{Error, Result};
use crate::store::object_writer::upload::Destination;
use crate::store::object_writer::{Buffers, ObjectSpec, ObjectWriter, WrittenObject};
use icepack_core::model::names;
use icepack_core::model::policy::Encodings;
use icepack_core::model::schema::TableSchema;
use icepack_core::model::time_column::TimeColumn;
use icepack_parquet::schema::described;
use icepack_parquet::time::Dater;

/// Writes the rows to one object of `destination`, called `archive` in errors, and returns it with its
/// columns.
///
/// # Errors
/// The stream's own error; else [`Error::Archive`] with what kept the object from being complete.
pub async fn encode(
    destination: Arc<dyn Destination>,
    archive: &str,
    request: &ArchiveRequest,
    mut rows: BatchStream,
) -> Result<(WrittenObject, TableSchema)> {
    let (archive, request) = (archive.to_owned(), request.clone());
    let work = move || {
        let failed = |e: Error| Error::Archive {
            target: archive.clone(),
            why: e.to_string(),
        };
        let mut open: Option<(ObjectWriter, TableSchema)> = None;
        // Where the stream breaks, what was written is given up.
        while let Some(batch) = Handle::current().block_on(rows.next()).transpose()? {
            let (writer, _) = match &mut open {
                Some(open) => open,
                None => {
                    let spec = spec(&destination, &request, &batch).map_err(failed)?;
                    let writer = ObjectWriter::begin(spec);
                    open.insert((writer, described(batch.schema_ref())))
                }
            };
            writer.write(&batch).map_err(failed)?;
        }
        let (writer, schema) =
            open.ok_or_else(|| failed(Error::local("cannot archive", "there are no rows")))?;
        Ok((writer.finish().map_err(failed)?, schema))
    };
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(Error::local("the encoder broke off", e)))
}

fn spec(
    destination: &Arc<dyn Destination>,
    request: &ArchiveRequest,
    first: &RecordBatch,
) -> Result<ObjectSpec> {
    let (tenant, place, id) = (request.tenant.clone(), request.place.clone(), request.id);
    let column = TimeColumn::told(&request.timestamp_column);
    // It is to lie in the folder of the rows.
    let dater = Dater::of(&column, first.schema_ref(), &request.key())
        .map_err(|why| Error::local("cannot archive", why))?;
    Ok(ObjectSpec {
        destination: Arc::clone(destination),
        schema: first.schema(),
        dater,
        is_sorted: true,
        name: Box::new(move |from, to| names::archive_key(&place, &tenant, from, to, id)),
        to_bound: request.to,
        buffers: Buffers::within(request.budget).expecting(request.source_bytes),
        // It is read to be restored, and paid for by its bytes.
        writing: Encodings::Delta.into(),
        metadata: Vec::new(),
    })
}
