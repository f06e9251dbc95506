//! From a stream of expired rows to one object, encoded on a blocking thread while it is uploaded.

use arrow::array::RecordBatch;
use futures::StreamExt;
use tokio::sync::mpsc;

use super::{ArchiveRequest, BatchStream, failed};
use crate::error::{Error, Result};
use crate::store::piece::upload::Target;
use crate::store::piece::{Buffers, Piece, PieceSpec, PieceWriter};
use icepack_core::model::names;
use icepack_core::model::policy::Encodings;
use icepack_core::model::schema::TableSchema;
use icepack_parquet::schema::described;

enum Step {
    Rows(RecordBatch),
    Done,
}

/// Writes the rows to one object of `target`, called `archive` in errors, and returns it with its
/// columns.
///
/// # Errors
/// The stream's own error; else [`Error::Archive`] with what kept the object from being complete.
pub async fn encode(
    target: Target,
    archive: &str,
    request: &ArchiveRequest,
    mut rows: BatchStream,
) -> Result<(Piece, TableSchema)> {
    let (sender, receiver) = mpsc::channel(2);
    let request = request.clone();
    let task = tokio::task::spawn_blocking(move || run(&target, &request, receiver));
    let mut failure = None;
    while let Some(next) = rows.next().await {
        match next {
            // Refused: the encoder has failed, and says why below.
            Ok(batch) => {
                if sender.send(Step::Rows(batch)).await.is_err() {
                    break;
                }
            }
            Err(e) => {
                failure = Some(e);
                break;
            }
        }
    }
    if failure.is_none() {
        let _ = sender.send(Step::Done).await;
    }
    drop(sender);
    let written = task
        .await
        .unwrap_or_else(|e| Err(Error::local("the encoder broke off", e)));
    match failure {
        Some(e) => Err(e),
        None => written.map_err(|e| failed(archive, e)),
    }
}

/// Runs until the sender says that it is done. Where it goes without a word, the object is given
/// up.
fn run(
    target: &Target,
    request: &ArchiveRequest,
    mut steps: mpsc::Receiver<Step>,
) -> Result<(Piece, TableSchema)> {
    let mut open: Option<(PieceWriter, TableSchema)> = None;
    while let Some(step) = steps.blocking_recv() {
        match step {
            Step::Done => {
                let (writer, schema) =
                    open.ok_or_else(|| Error::local("cannot archive", "there are no rows"))?;
                return Ok((writer.finish()?, schema));
            }
            Step::Rows(batch) => {
                let (mut writer, schema) = match open.take() {
                    Some(open) => open,
                    None => (
                        PieceWriter::begin(spec(target, request, &batch))?,
                        described(batch.schema_ref()),
                    ),
                };
                if let Err(e) = writer.write(&batch) {
                    writer.abort();
                    return Err(e);
                }
                open = Some((writer, schema));
            }
        }
    }
    if let Some((writer, _)) = open {
        writer.abort();
    }
    Err(Error::Stopped)
}

fn spec(target: &Target, request: &ArchiveRequest, first: &RecordBatch) -> PieceSpec {
    let (tenant, id) = (request.tenant.clone(), request.id);
    PieceSpec {
        target: target.clone(),
        schema: first.schema(),
        timestamp: request.timestamp_column.clone(),
        name: Box::new(move |from, to| names::archive_key(&tenant, from, to, id)),
        to_bound: request.to,
        buffers: Buffers::within(request.budget).expecting(request.source_bytes),
        // It is read to be restored, and paid for by its bytes.
        encodings: Encodings::Delta,
        metadata: Vec::new(),
    }
}
