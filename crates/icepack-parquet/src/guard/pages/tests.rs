use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;

use crate::error::Error;
use crate::read::Input;
use crate::source::{Ident, Source};

/// Numbers of few values, as every writer puts them into a file: of each column a dictionary, and
/// pages of places in it. They unfold to many times their bytes.
fn telemetry(columns: i64, rows: i64) -> RecordBatch {
    let column = |c: i64| {
        (
            format!("sensor_{c}"),
            Arc::new(Int64Array::from_iter_values(
                (0..rows).map(|i| i * (c + 7) % 12),
            )) as ArrayRef,
        )
    };
    RecordBatch::try_from_iter((0..columns).map(column)).unwrap()
}

fn open(bytes: &Bytes, limit: u64) -> Result<Input, Error> {
    let ident = Ident {
        key: "t/x.parquet".into(),
        size: bytes.len() as u64,
        etag: None,
    };
    Input::open_within(ident, Source::Memory(bytes.clone()), None, limit)
}

fn written(rows: &RecordBatch) -> Bytes {
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
    writer.write(rows).unwrap();
    writer.into_inner().unwrap().into()
}

fn rows(input: &Input, batch_bytes: u64) -> Result<Vec<RecordBatch>, Error> {
    let mut reader = input.reader_of(None, batch_bytes)?;
    let mut rows = Vec::new();
    while let Some(batch) = reader.next_batch()? {
        rows.push(batch);
    }
    Ok(rows)
}

#[test]
fn a_dictionary_is_read_once_a_value_needs_it() {
    let want = telemetry(80, 20_000);
    let bytes = written(&want);
    // Batches are larger than the footer lets expect, so the decoder begins anew behind the first,
    // and skips to there.
    for batch_bytes in [1 << 20, 256 << 10, 64 << 10] {
        let got = rows(&open(&bytes, 16 << 20).unwrap(), batch_bytes)
            .unwrap_or_else(|e| panic!("{batch_bytes}: {e}"));
        assert!(got.len() > 3, "{batch_bytes}: {}", got.len());
        assert_eq!(
            concat_batches(&want.schema(), &got).unwrap(),
            want,
            "{batch_bytes}"
        );
    }
}

#[test]
fn a_page_that_is_too_large_is_not_called_damaged() {
    let bytes = written(&telemetry(80, 20_000));
    let input = open(&bytes, 300 << 10).unwrap();
    let Err(Error::Input { reason, .. }) = rows(&input, 1 << 20) else {
        panic!("it was read")
    };
    assert!(
        reason.starts_with("its pages take ") && reason.ends_with("raise `memory_limit`"),
        "{reason}"
    );
}
