use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;

use crate::parquet_io::read::Input;
use crate::parquet_io::source::{Ident, Source};

/// Numbers of few values, as every writer puts them into a file: of each column a dictionary, and pages of places in it. They unfold to many times their bytes.
fn telemetry(columns: i64, rows: i64) -> RecordBatch {
    let column = |c: i64| (format!("sensor_{c}"), Arc::new(Int64Array::from_iter_values((0..rows).map(|i| i * (c + 7) % 12))) as ArrayRef);
    RecordBatch::try_from_iter((0..columns).map(column)).unwrap()
}

#[test]
fn a_dictionary_is_read_once_a_value_needs_it() {
    let want = telemetry(80, 20_000);
    let mut writer = ArrowWriter::try_new(Vec::new(), want.schema(), None).unwrap();
    writer.write(&want).unwrap();
    let bytes: Bytes = writer.into_inner().unwrap().into();
    // Batches are larger than the footer lets expect, so the decoder begins anew behind the first, and skips to there.
    for batch_bytes in [1 << 20, 256 << 10, 64 << 10] {
        let ident = Ident { key: "t/x.parquet".into(), size: bytes.len() as u64, etag: None };
        let input = Input::open_within(ident, Source::Memory(bytes.clone()), None, 16 << 20).unwrap();
        let mut reader = input.reader_of(None, batch_bytes).unwrap();
        let mut got = Vec::new();
        while let Some(batch) = reader.next_batch().unwrap_or_else(|e| panic!("{batch_bytes}: {e}")) {
            got.push(batch);
        }
        assert!(got.len() > 3, "{batch_bytes}: {}", got.len());
        assert_eq!(concat_batches(&want.schema(), &got).unwrap(), want, "{batch_bytes}");
    }
}
