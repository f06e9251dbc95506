//! Tests of reading and writing together.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};

mod footers;
mod leaves;
mod lists;

use crate::error::Error;
use crate::profile::Profile;
use crate::read::{Input, TAIL};
use crate::source::{Copies, Ident, Source};
use crate::time::Dater;
use crate::write::{ParquetWriter, WriteOptions};
use icepack_core::model::file::{Fingerprint, Micros};
use icepack_core::model::policy::Encodings;
use icepack_core::model::time_column::TimeColumn;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("event_id", DataType::Utf8, false),
        Field::new("event_type", DataType::Utf8, false),
        Field::new(
            "timestamp",
            DataType::Timestamp(TimeUnit::Microsecond, None),
            true,
        ),
        Field::new("version", DataType::UInt64, true),
    ]))
}

fn batch(from: i64, rows: i64) -> RecordBatch {
    let n = from..from + rows;
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(StringArray::from_iter_values(
                n.clone().map(|i| format!("id-{i:08}")),
            )),
            Arc::new(StringArray::from_iter_values(
                n.clone().map(|i| format!("type-{}", i % 3)),
            )),
            Arc::new(TimestampMicrosecondArray::from_iter_values(
                n.clone().map(|i| 1_700_000_000_000_000 + i),
            )),
            Arc::new(UInt64Array::from_iter_values(
                n.map(|i| u64::try_from(i % 5).unwrap()),
            )),
        ],
    )
    .unwrap()
}

fn file(batches: &[RecordBatch], options: WriteOptions) -> Bytes {
    let mut w = ParquetWriter::new(Vec::new(), batches[0].schema(), options);
    for b in batches {
        w.write(b, Fingerprint::default()).unwrap();
    }
    w.finish().unwrap().into()
}

fn sorted() -> WriteOptions {
    WriteOptions {
        sorted_by: Some("timestamp".into()),
        ..WriteOptions::default()
    }
}

fn open(bytes: impl Into<Bytes>) -> Result<Input, Error> {
    let bytes = bytes.into();
    Input::open(
        Ident {
            key: "t/x.parquet".into(),
            size: bytes.len() as u64,
            etag: None,
        },
        Source::Memory(bytes),
        None,
    )
}

fn rows(input: &Input) -> Result<Vec<RecordBatch>, Error> {
    let mut reader = input.reader(None)?;
    let mut out = Vec::new();
    while let Some(b) = reader.next_batch()? {
        out.push(b);
    }
    Ok(out)
}

fn reason(result: Result<impl Sized, Error>) -> String {
    match result {
        Err(Error::Input { reason, .. }) => reason,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was read"),
    }
}

#[test]
fn what_is_written_is_read_back() {
    let batches = [batch(0, 5_000), batch(5_000, 20_000), batch(25_000, 1)];
    let input = open(file(
        &batches,
        WriteOptions {
            row_group_bytes: 64 << 10,
            ..sorted()
        },
    ))
    .unwrap();
    assert_eq!(input.rows(), 25_001);
    let got = arrow::compute::concat_batches(&schema(), &rows(&input).unwrap()).unwrap();
    assert_eq!(
        got,
        arrow::compute::concat_batches(&schema(), &batches).unwrap()
    );
}

#[test]
fn the_footer_tells_readers_of_the_order_and_the_encodings_fit_the_data() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let options = WriteOptions {
        metadata: vec![("icepack.run".into(), "r".into())],
        row_group_bytes: 40_000,
        writing: Encodings::Delta.into(),
        ..sorted()
    };
    let bytes = file(
        &[batch(0, 8_000), batch(8_000, 8_000), batch(16_000, 8_000)],
        options.clone(),
    );
    let reader = SerializedFileReader::new(bytes.clone()).unwrap();
    let meta = reader.metadata();
    assert!(meta.num_row_groups() > 1);
    assert_eq!(
        meta.file_metadata().created_by(),
        Some(concat!("icepack version ", env!("CARGO_PKG_VERSION")))
    );
    let order = meta.row_group(0).sorting_columns().unwrap();
    assert_eq!(
        (
            order[0].column_idx,
            order[0].descending,
            order[0].nulls_first
        ),
        (2, false, true)
    );
    let has =
        |column: usize, e: Encoding| meta.row_group(0).column(column).encodings().any(|x| x == e);
    assert!(
        has(0, Encoding::DELTA_LENGTH_BYTE_ARRAY)
            && has(1, Encoding::RLE_DICTIONARY)
            && has(2, Encoding::DELTA_BINARY_PACKED)
            && has(3, Encoding::RLE_DICTIONARY)
    );
    assert!(meta.row_group(0).column(0).column_index_offset().is_some());
    let kv = meta.file_metadata().key_value_metadata().unwrap();
    assert!(kv.iter().any(|k| k.key == "icepack.run"));
    assert_eq!(
        bytes,
        file(
            &[batch(0, 8_000), batch(8_000, 8_000), batch(16_000, 8_000)],
            options
        )
    );
}

#[test]
fn by_default_there_is_no_encoding_that_an_old_reader_does_not_know() {
    let bytes = file(&[batch(0, 8_000)], sorted());
    let footer = SerializedFileReader::new(bytes).unwrap().metadata().clone();
    let encodings: Vec<Vec<Encoding>> = footer
        .row_group(0)
        .columns()
        .iter()
        .map(|c| c.encodings().collect())
        .collect();
    let (plain, dictionary) = (
        vec![Encoding::PLAIN, Encoding::RLE],
        vec![Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY],
    );
    assert_eq!(
        encodings,
        [plain.clone(), dictionary.clone(), plain, dictionary]
    );
}

#[test]
fn an_estimate_comes_close_to_the_size() {
    let mut w = ParquetWriter::new(Vec::new(), schema(), sorted());
    for i in 0..40 {
        w.write(&batch(i * 8_192, 8_192), Fingerprint::default())
            .unwrap();
    }
    let estimate = w.written_estimate();
    let real = w.finish().unwrap().len() as u64;
    // These rows take a seventieth of their bytes, and what is not compressed yet counts as it is.
    assert!(
        estimate / 3 < real && real < estimate * 2,
        "{estimate} {real}"
    );
}

#[test]
fn a_file_without_rows_is_a_file() {
    let w = ParquetWriter::new(Vec::new(), schema(), sorted());
    let input = open(w.finish().unwrap()).unwrap();
    assert_eq!((input.rows(), rows(&input).unwrap().len()), (0, 0));
    assert_eq!(profile_of(&input, Micros(0)).unwrap().unwrap().keys, None);
}

#[test]
fn what_is_not_parquet_is_said_in_a_sentence() {
    assert_eq!(reason(open(Bytes::new())), "it is empty (0 bytes)");
    assert_eq!(
        reason(open("hi")),
        "it is too short to be a Parquet file (2 bytes)"
    );
    assert!(reason(open("time,event\n1,hello world\n")).contains("not a Parquet file"));
    let good = file(&[batch(0, 1_000)], sorted());
    assert!(reason(open(good.slice(..good.len() / 2))).contains("cut off"));
    let mut lie = good.to_vec();
    let at = lie.len() - 8;
    lie[at..at + 4].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
    assert!(reason(open(lie)).contains("its footer claims"));
}

#[test]
fn damage_anywhere_is_the_inputs_fault_or_harmless_and_never_a_panic() {
    let good = file(
        &[batch(0, 3_000)],
        WriteOptions {
            row_group_bytes: 20_000,
            ..sorted()
        },
    );
    let mut seed = 12_345u64;
    for _ in 0..400 {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let mut bad = good.to_vec();
        let at = usize::try_from(seed >> 33).unwrap() % bad.len();
        bad[at] ^= u8::try_from((seed >> 20) & 0xff).unwrap() | 1;
        let read = open(bad).and_then(|input| {
            profile_of(&input, Micros(0))?.unwrap();
            rows(&input)
        });
        match read {
            Ok(_) | Err(Error::Input { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_decoder_that_panics_is_contained() {
    let text =
        crate::guard::catch_panic(|| -> Result<(), String> { panic!("index out of bounds") })
            .unwrap_err();
    assert_eq!(text, "the decoder panicked: index out of bounds");
}

#[test]
fn a_footer_that_lies_about_its_rows_is_found_out() {
    use parquet::file::metadata::{ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData};
    let good = file(&[batch(0, 1_000)], sorted());
    for claim in [999, 1_001, 10] {
        let meta = ParquetMetaDataReader::new()
            .parse_and_finish(&good)
            .unwrap();
        let old = meta.row_group(0).clone();
        let data_end = old
            .columns()
            .iter()
            .map(|c| c.byte_range().0 + c.byte_range().1)
            .max()
            .unwrap();
        let group: RowGroupMetaData = old.into_builder().set_num_rows(claim).build().unwrap();
        let f = meta.file_metadata();
        let lying = parquet::file::metadata::FileMetaData::new(
            f.version(),
            claim,
            f.created_by().map(Into::into),
            f.key_value_metadata().cloned(),
            f.schema_descr_ptr(),
            None,
        );
        let mut out = good.slice(..usize::try_from(data_end).unwrap()).to_vec();
        let meta = parquet::file::metadata::ParquetMetaData::new(lying, vec![group]);
        ParquetMetaDataWriter::new(&mut out, &meta)
            .finish()
            .unwrap();
        let input = open(out).unwrap();
        assert_eq!(input.rows(), u64::try_from(claim).unwrap());
        let text = reason(rows(&input));
        assert!(text.contains("row group 0"), "{claim}: {text}");
    }
}

#[test]
fn long_values_behind_a_short_dictionary_come_in_small_batches() {
    let long = "x".repeat(200_000);
    let s = Arc::new(Schema::new(vec![
        Field::new(
            "timestamp",
            DataType::Timestamp(TimeUnit::Second, None),
            false,
        ),
        Field::new("p", DataType::Utf8, false),
    ]));
    let b = RecordBatch::try_new(
        Arc::clone(&s),
        vec![
            Arc::new(TimestampSecondArray::from_iter_values(0..300)),
            Arc::new(StringArray::from_iter_values((0..300).map(|_| &long))),
        ],
    )
    .unwrap();
    let mut w = parquet::arrow::ArrowWriter::try_new(Vec::new(), s, None).unwrap();
    w.write(&b).unwrap();
    let input = open(w.into_inner().unwrap()).unwrap();
    let got = rows(&input).unwrap();
    assert_eq!(got.iter().map(RecordBatch::num_rows).sum::<usize>(), 300);
    assert!(
        got.iter().all(|b| b.num_rows() <= 64),
        "{:?}",
        got.iter().map(RecordBatch::num_rows).collect::<Vec<_>>()
    );
}

#[test]
fn a_profile_knows_range_order_and_what_is_implausible() {
    let s = Arc::new(Schema::new(vec![Field::new(
        "timestamp",
        DataType::Timestamp(TimeUnit::Nanosecond, Some("+01:00".into())),
        true,
    )]));
    let year = 31_536_000_000_000_000i64;
    let profile = |values: Vec<Option<i64>>| {
        let a = TimestampNanosecondArray::from(values).with_timezone("+01:00");
        let bytes = file(
            &[RecordBatch::try_new(Arc::clone(&s), vec![Arc::new(a)]).unwrap()],
            WriteOptions::default(),
        );
        let input = open(bytes).unwrap();
        profile_of(&input, Micros(50 * year / 1_000))
            .unwrap()
            .unwrap()
    };
    let p = profile(vec![
        None,
        Some(5),
        Some(40 * year + 1),
        Some(41 * year + 1),
        Some(60 * year),
    ]);
    assert_eq!(
        (p.sorted, p.undated, p.future, p.keys),
        (true, 2, 1, Some((i64::MIN, 60 * year)))
    );
    assert_eq!(
        (p.min, p.max),
        (
            Some(Micros(40 * year / 1_000)),
            Some(Micros(60 * year / 1_000))
        )
    );
    assert!(!profile(vec![Some(40 * year), None]).sorted);
    assert_eq!(
        profile(vec![Some(40 * year), Some(41 * year + 1)]).max,
        Some(Micros(41 * year / 1_000 + 1))
    );
}

fn profile_of(input: &Input, now: Micros) -> crate::Result<Result<Profile, String>> {
    let dater = Dater::of(&TimeColumn::default(), input.schema(), &input.ident.key);
    input.profile(&dater.unwrap(), now)
}

#[test]
fn a_local_copy_reads_like_memory_and_its_loss_is_not_the_inputs_fault() {
    let file_of_all = tempfile::tempfile().unwrap();
    let mut copies = Copies::to(file_of_all.try_clone().unwrap());
    let all = [(0, 30_000), (30_000, 200), (1_000, 20_000)]
        .map(|(from, rows)| file(&[batch(from, rows)], sorted()));
    let inputs: Vec<Input> = all
        .iter()
        .map(|bytes| {
            let ident = Ident {
                key: "t/x.parquet".into(),
                size: bytes.len() as u64,
                etag: None,
            };
            Input::open(ident, Source::Local(copies.add(bytes).unwrap()), None).unwrap()
        })
        .collect();
    for (input, bytes) in inputs.iter().zip(&all) {
        assert_eq!(
            rows(input).unwrap(),
            rows(&open(bytes.clone()).unwrap()).unwrap()
        );
    }
    file_of_all.set_len(all[0].len() as u64 / 3).unwrap();
    for input in &inputs {
        assert!(matches!(rows(input), Err(Error::Local { .. })));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_file_reads_like_memory_in_few_requests_and_only_its_own_version() {
    use crate::source::Remote;
    use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};
    let bytes = file(
        &[batch(0, 60_000)],
        WriteOptions {
            row_group_bytes: 100 << 10,
            ..sorted()
        },
    );
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let path = Path::from("t/x.parquet");
    let etag = store.put(&path, bytes.clone().into()).await.unwrap().e_tag;
    for window in [1u64 << 30, 100 << 10, 1] {
        let remote = Remote {
            store: Arc::clone(&store),
            path: path.clone(),
            etag: etag.clone(),
            window,
            runtime: tokio::runtime::Handle::current(),
        };
        let bytes = bytes.clone();
        let tail = bytes.slice(bytes.len().saturating_sub(TAIL as usize)..);
        let ident = Ident {
            key: "t/x.parquet".into(),
            size: bytes.len() as u64,
            etag: etag.clone(),
        };
        let read = move || {
            let input = Input::open(ident, Source::Remote(remote), Some(tail)).unwrap();
            assert_eq!(rows(&input).unwrap(), rows(&open(bytes).unwrap()).unwrap());
            input
        };
        let input = tokio::task::spawn_blocking(read).await.unwrap();
        if window == 1 {
            store.put(&path, "another".into()).await.unwrap();
            let changed = tokio::task::spawn_blocking(move || rows(&input))
                .await
                .unwrap();
            assert!(matches!(changed, Err(Error::Changed(_))));
        }
    }
}

/// Nested columns among so many that not all of them are open at once.
fn wide(from: i32, rows: usize) -> RecordBatch {
    let n = || (0..rows).map(|i| from + i32::try_from(i).unwrap());
    let column = |c: i32| -> (String, ArrayRef) {
        let array: ArrayRef = match c % 5 {
            0 => Arc::new(Int32Array::from_iter(
                n().map(|i| (i % 4 > 0).then_some(i * c)),
            )),
            1 => Arc::new(StringArray::from_iter_values(
                n().map(|i| format!("{c}-{}", i % 3)),
            )),
            2 => Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(
                n().map(|i| (i % 3 > 0).then(|| (0..i64::from(i) % 4).map(Some))),
            )),
            3 => {
                let field = |name, t| Arc::new(Field::new(name, t, true));
                let (a, b) = (
                    Int32Array::from_iter(n().map(Some)),
                    StringArray::from_iter_values(n().map(|i| i.to_string())),
                );
                Arc::new(StructArray::from(vec![
                    (field("a", DataType::Int32), Arc::new(a) as ArrayRef),
                    (field("b", DataType::Utf8), Arc::new(b) as ArrayRef),
                ]))
            }
            _ => Arc::new(Float64Array::from_iter_values(n().map(f64::from))),
        };
        (format!("c{c}"), array)
    };
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(
        n().map(|i| 1_700_000_000_000_000 + i64::from(i)),
    ));
    let columns = (0..330)
        .map(column)
        .chain([("timestamp".to_owned(), times)]);
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
        .unwrap()
}

#[test]
fn hundreds_of_columns_are_written_some_after_the_others() {
    let batches: Vec<RecordBatch> = (0..40).map(|i| wide(i * 100, 100)).collect();
    // So little that all columns at once would be more.
    let options = WriteOptions {
        row_group_bytes: 1 << 20,
        ..sorted()
    };
    let bytes = file(&batches, options.clone());
    assert!(
        bytes == file(&batches, options),
        "the same rows give the same bytes"
    );
    let read = |bytes: &Bytes| {
        SerializedFileReader::new(bytes.clone())
            .unwrap()
            .metadata()
            .clone()
    };
    let footer = read(&bytes);
    let groups = footer.row_groups();
    assert!(
        groups.len() > 1 && groups.iter().all(|g| g.num_columns() == 330 + 66 + 1),
        "{}",
        groups.len()
    );
    assert!(
        groups
            .iter()
            .all(|g| g.sorting_columns().is_some_and(|s| s[0].column_idx == 396))
    );
    let got = arrow::compute::concat_batches(
        &batches[0].schema(),
        &rows(&open(bytes.clone()).unwrap()).unwrap(),
    )
    .unwrap();
    assert_eq!(
        got,
        arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
    );
    // As it is with all columns at once.
    let at_once = read(&file(
        &batches,
        WriteOptions {
            row_group_bytes: 64 << 20,
            ..sorted()
        },
    ));
    let shape = |f: &ParquetMetaData| {
        f.row_group(0)
            .columns()
            .iter()
            .map(|c| (c.column_path().clone(), c.encodings().collect::<Vec<_>>()))
            .collect::<Vec<_>>()
    };
    assert_eq!(shape(&at_once), shape(&footer));
}
