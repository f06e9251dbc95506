//! Every type that Parquet can hold goes through a merge unharmed.

use super::*;
use arrow::buffer::NullBuffer;

fn nested(n: i32) -> Vec<(&'static str, ArrayRef)> {
    let mut list = ListBuilder::new(Int32Builder::new());
    let mut big = LargeListBuilder::new(StringBuilder::new());
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for i in 0..n {
        if i % 5 == 0 {
            list.append_null();
        } else {
            list.append_value((0..i % 4).map(|j| (j != 2).then_some(i * 10 + j)));
        }
        big.append_value((0..i % 3).map(|j| Some(format!("{i}/{j}"))));
        map.keys().append_value(format!("k{i}"));
        map.values().append_option((i % 3 != 0).then_some(i.into()));
        map.append(i % 7 != 0).unwrap();
    }
    let fields: Fields = vec![
        Field::new("a", DataType::Int32, true),
        Field::new("b", DataType::Utf8, true),
    ]
    .into();
    let a: Int32Array = (0..n).map(|i| (i % 2 == 0).then_some(i)).collect();
    let b: StringArray = (0..n).map(|i| Some(format!("b{i}"))).collect();
    let nulls: NullBuffer = (0..n).map(|i| i % 6 != 0).collect::<Vec<_>>().into();
    let structs = StructArray::new(fields, vec![Arc::new(a), Arc::new(b)], Some(nulls));
    let fixed = FixedSizeListArray::new(
        Arc::new(Field::new("item", DataType::Float32, true)),
        2,
        Arc::new(Float32Array::from_iter_values((0..2 * n).map(|i| i as f32))),
        None,
    );
    vec![
        ("list", Arc::new(list.finish())),
        ("big_list", Arc::new(big.finish())),
        ("map", Arc::new(map.finish())),
        ("struct", Arc::new(structs)),
        ("fixed_list", Arc::new(fixed)),
    ]
}

fn flat(n: i32) -> Vec<(&'static str, ArrayRef)> {
    let text = |i: i32| (i % 4 != 0).then(|| format!("text {}", i % 9));
    let dict: DictionaryArray<Int32Type> = (0..n)
        .map(text)
        .collect::<Vec<_>>()
        .iter()
        .map(|s| s.as_deref())
        .collect();
    let fixed = FixedSizeBinaryArray::try_from_iter((0..n).map(|i| i.to_be_bytes())).unwrap();
    let of = |i: i32| (i % 3 != 0).then_some(i);
    vec![
        (
            "bool",
            Arc::new(
                (0..n)
                    .map(|i| (i % 3 != 0).then_some(i % 2 == 0))
                    .collect::<BooleanArray>(),
            ),
        ),
        (
            "i8",
            Arc::new((0..n).map(|i| Some((i % 100) as i8)).collect::<Int8Array>()),
        ),
        (
            "u16",
            Arc::new((0..n).map(|i| Some(i as u16)).collect::<UInt16Array>()),
        ),
        ("i32", Arc::new((0..n).map(of).collect::<Int32Array>())),
        (
            "u64",
            Arc::new(UInt64Array::from_iter_values(
                (0..n).map(|i| u64::MAX - i as u64),
            )),
        ),
        (
            "f16",
            Arc::new(
                arrow::compute::cast(
                    &(0..n).map(|i| Some(i as f32)).collect::<Float32Array>(),
                    &DataType::Float16,
                )
                .unwrap(),
            ),
        ),
        (
            "f64",
            Arc::new(
                (0..n)
                    .map(|i| Some(if i == 3 { f64::NAN } else { f64::from(i) / 3.0 }))
                    .collect::<Float64Array>(),
            ),
        ),
        ("utf8", Arc::new((0..n).map(text).collect::<StringArray>())),
        (
            "large",
            Arc::new((0..n).map(text).collect::<LargeStringArray>()),
        ),
        (
            "view",
            Arc::new((0..n).map(text).collect::<StringViewArray>()),
        ),
        ("dict", Arc::new(dict)),
        (
            "binary",
            Arc::new(
                (0..n)
                    .map(|i| text(i).map(String::into_bytes))
                    .collect::<BinaryArray>(),
            ),
        ),
        ("fixed", Arc::new(fixed)),
        ("date32", Arc::new((0..n).map(of).collect::<Date32Array>())),
        (
            "date64",
            Arc::new(
                (0..n)
                    .map(|i| Some(i64::from(i) * 86_400_000))
                    .collect::<Date64Array>(),
            ),
        ),
        (
            "time32",
            Arc::new((0..n).map(of).collect::<Time32MillisecondArray>()),
        ),
        (
            "time64",
            Arc::new(
                (0..n)
                    .map(|i| Some(i64::from(i)))
                    .collect::<Time64NanosecondArray>(),
            ),
        ),
        (
            "duration",
            Arc::new(
                (0..n)
                    .map(|i| Some(i64::from(i)))
                    .collect::<DurationMicrosecondArray>(),
            ),
        ),
        (
            "interval",
            Arc::new((0..n).map(of).collect::<IntervalYearMonthArray>()),
        ),
        (
            "dec128",
            Arc::new(
                (0..n)
                    .map(|i| Some(i128::from(i) - 5))
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(20, 3)
                    .unwrap(),
            ),
        ),
        (
            "dec256",
            Arc::new(
                (0..n)
                    .map(|i| Some(arrow::datatypes::i256::from_i128(i.into())))
                    .collect::<Decimal256Array>()
                    .with_precision_and_scale(60, 3)
                    .unwrap(),
            ),
        ),
        ("null", Arc::new(NullArray::new(n as usize))),
        (
            "stamp",
            times(
                TimeUnit::Second,
                Some("+05:00"),
                (0..n).map(|i| of(i).map(Into::into)),
            ),
        ),
    ]
}

#[tokio::test]
async fn every_type_goes_through_memory_and_disk_unharmed() {
    let n = 300;
    let seconds: Vec<i64> = (0..i64::from(n)).map(|i| T0 + (i * 7) % 100).collect();
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        (
            "event_id",
            Arc::new(StringArray::from_iter_values(
                (0..n).map(|i| format!("{i}")),
            )),
        ),
        (
            "timestamp",
            times(TimeUnit::Microsecond, None, seconds.into_iter().map(Some)),
        ),
        (
            "payload",
            Arc::new(StringArray::from_iter_values(
                (0..n).map(|i| format!("{i}")),
            )),
        ),
    ];
    columns.extend(flat(n));
    columns.extend(nested(n));
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, a)| {
        (
            name,
            a,
            !["event_id", "timestamp", "payload"].contains(&name),
        )
    }))
    .unwrap();
    let mut w = World::new();
    w.raw("0", foreign(&batch.slice(0, 200), 64)).await;
    w.raw("1", foreign(&batch.slice(100, 200), 1_000)).await;
    let mut scratch = Vec::new();
    let want = icepack_parquet::hash::fingerprint(&batch, &mut scratch).unwrap();
    for budget in [64 << 20, 1] {
        w.memory = budget;
        let out = w.merge().await;
        assert_eq!(
            (out.deduplicated, out.snapshots.len(), out.spilled_runs > 0),
            (100, 1, budget == 1)
        );
        // What was read back is what was there before, type by type and value by value.
        assert_eq!(out.snapshots[0].stats.fingerprint, want);
        w.read(&out.snapshots).await;
        // A snapshot is an input like any other.
        let mut again = World::new();
        again.store = Arc::clone(&w.store);
        again.take(&out.snapshots);
        assert_eq!(again.merge().await.snapshots[0].stats.fingerprint, want);
    }
}
