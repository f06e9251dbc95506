//! Random worlds: files of many shapes, a policy, and ingests between passes.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::builder::{Int32Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow::array::*;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int8Type, Schema, TimeUnit};
use chrono::{DateTime, Utc};
use icepack::CompactionStrategy;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

pub const HOUR: i64 = 3_600;
pub const DAY: i64 = 24 * HOUR;

/// One event. Its other columns follow from `content`, so that equal rows are equal whatever file
/// they are in.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: Option<u8>,
    pub at: At,
    pub content: u8,
}

#[derive(Debug, Clone)]
pub enum At {
    Null,
    /// Seconds since 1970, before 2000.
    Old(i64),
    /// Seconds from now, and nanoseconds on top, as far as the file's unit has them.
    FromNow(i64, u32),
}

/// How a file lays its rows out.
#[derive(Debug, Clone)]
pub struct Shape {
    pub unit: TimeUnit,
    pub zone: usize,
    pub text: usize,
    pub number: usize,
    /// Which of the optional columns it has.
    pub columns: u16,
    /// Reverses their order.
    pub reversed: bool,
    pub in_order: bool,
    pub group_rows: usize,
    pub codec: usize,
    pub v2: bool,
}

#[derive(Debug, Clone)]
pub struct File {
    pub events: Vec<Event>,
    pub shape: Shape,
    /// Below the tenant.
    pub folder: &'static str,
}

/// Where files lie. Most are in one folder, so that they merge.
pub const FOLDERS: [&str; 3] = ["2026-01", "country=de", "country=fr/dt=2026-01-01"];

/// New files, then the clock moves, then a pass.
#[derive(Debug, Clone)]
pub struct Step {
    pub files: Vec<File>,
    pub hours: i64,
}

#[derive(Debug, Clone)]
pub struct World {
    pub zoned: bool,
    /// A column is of integers or floats in some files, or of integers of all widths: 32 bits
    /// without a sign and floats have no type in common.
    pub floats: bool,
    /// The payload is text in some files and a number in others: two classes.
    pub drift: bool,
    /// Bytes added to each payload: a few KiB make a small file too large for its share of memory.
    pub padding: usize,
    pub steps: Vec<Step>,
    pub ttl: Option<Duration>,
    /// Bytes that make an archive object worth it, where there is an archive: none, or more than
    /// any of these worlds has.
    pub archive: Option<u64>,
    /// The archive copies whole snapshots.
    pub copies: bool,
    pub strategy: CompactionStrategy,
    pub target: u64,
    pub memory: u64,
    pub min_files: usize,
    pub threshold: u64,
    pub delete_delay: bool,
}

fn at() -> impl Strategy<Value = At> {
    let sub = || select(vec![0, 0, 1, 500_000_000, 123_456_789]);
    prop_oneof![
        1 => Just(At::Null),
        1 => (0..900_000_000_i64).prop_map(At::Old),
        // Few different times, so that files overlap, rows tie, and copies meet.
        12 => (0..50_i64, sub()).prop_map(|(t, sub)| At::FromNow(-t * DAY - 1, sub)),
        12 => (0..40_i64, sub()).prop_map(|(t, sub)| At::FromNow(-t * HOUR / 2 - 1, sub)),
        1 => (1..1_000_i64).prop_map(|h| At::FromNow(h * HOUR, 0)),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    (option::weighted(0.9, 0..12_u8), at(), 0..6_u8).prop_map(|(id, at, content)| Event {
        id,
        at,
        content,
    })
}

fn shape() -> impl Strategy<Value = Shape> {
    let units = select(vec![
        TimeUnit::Second,
        TimeUnit::Millisecond,
        TimeUnit::Microsecond,
        TimeUnit::Nanosecond,
    ]);
    let layout = (
        0..3_usize,
        0..4_usize,
        0..7_usize,
        any::<u16>(),
        any::<bool>(),
    );
    let file = (any::<bool>(), 1..30_usize, 0..4_usize, any::<bool>());
    (units, layout, file).prop_map(
        |(unit, (zone, text, number, columns, reversed), (in_order, group_rows, codec, v2))| {
            Shape {
                unit,
                zone,
                text,
                number,
                columns,
                reversed,
                in_order,
                group_rows,
                codec,
                v2,
            }
        },
    )
}

fn file(rows: usize) -> impl Strategy<Value = File> {
    (
        prop_oneof![1 => Just(Vec::new()).boxed(), 9 => vec(event(), 1..rows).boxed()],
        shape(),
        select(vec![FOLDERS[0], FOLDERS[0], FOLDERS[1], FOLDERS[2]]),
    )
        .prop_map(|(events, shape, folder)| File {
            events,
            shape,
            folder,
        })
}

fn step(files: usize, rows: usize) -> impl Strategy<Value = Step> {
    (
        vec(file(rows), 0..=files),
        select(vec![0, 0, 1, 25, 24 * 20]),
    )
        .prop_map(|(files, hours)| Step { files, hours })
}

/// A world of up to so many steps.
pub fn world(steps: usize) -> impl Strategy<Value = World> {
    let ttl = select(vec![
        None,
        Some(Duration::from_secs(2 * 3_600)),
        Some(Duration::from_secs(10 * 86_400)),
        Some(Duration::from_secs(400 * 86_400)),
    ]);
    let archive = select(vec![None, None, Some(0_u64), Some(8 << 20)]);
    let strategy = select(vec![
        CompactionStrategy::SizeBased,
        CompactionStrategy::TimeBased,
        CompactionStrategy::FullCompaction,
    ]);
    let limits = (
        select(vec![1_u64, 4_000, 128 << 20]),
        select(vec![1_u64, 512 << 20]),
        1..4_usize,
        select(vec![2_000_u64, 10 << 20]),
    );
    let data = (
        any::<bool>(),
        any::<bool>(),
        prop_oneof![9 => Just(0_usize), 1 => Just(40_000)],
    );
    (
        data,
        vec(step(6, 40), 1..=steps),
        ttl,
        (archive, any::<bool>()),
        strategy,
        limits,
        any::<bool>(),
    )
        .prop_map(
            |(
                (zoned, floats, padding),
                steps,
                ttl,
                (archive, copies),
                strategy,
                (target, memory, min_files, threshold),
                delete_delay,
            )| World {
                zoned,
                floats,
                drift: false,
                padding,
                steps,
                ttl,
                archive,
                copies,
                strategy,
                target,
                memory,
                min_files,
                threshold,
                delete_delay,
            },
        )
}

const ZONES: [&str; 3] = ["UTC", "+00:00", "+05:30"];

impl File {
    pub fn batch(&self, now: DateTime<Utc>, world: &World) -> RecordBatch {
        let shape = &self.shape;
        let (zoned, padding) = (world.zoned, world.padding);
        let mut events = self.events.clone();
        if shape.in_order {
            events.sort_by_key(|e| nanos(&e.at, now));
        }
        let zone = zoned.then(|| ZONES[shape.zone].into());
        let mut columns: Vec<(&str, ArrayRef)> =
            vec![("timestamp", times(&events, now, shape.unit, zone))];
        let optional: [(&str, ArrayRef); 10] = [
            (
                "event_id",
                texts(
                    shape.text,
                    events.iter().map(|e| e.id.map(|id| format!("id-{id}"))),
                ),
            ),
            (
                "payload",
                if world.drift && shape.v2 {
                    let numbers = events.iter().map(|e| i64::from(e.content));
                    Arc::new(Int64Array::from_iter_values(numbers))
                } else {
                    texts(
                        (shape.text + shape.number) % 4,
                        events.iter().map(|e| {
                            Some(format!("{{\"v\":{}}}{}", e.content, "x".repeat(padding)))
                        }),
                    )
                },
            ),
            ("n", numbers(shape.number, world.floats, &events)),
            (
                "price",
                Arc::new(
                    events
                        .iter()
                        .map(|e| some(e, 4).map(|c| i128::from(c) * 1_001))
                        .collect::<Decimal128Array>()
                        .with_precision_and_scale(12, 2)
                        .unwrap(),
                ),
            ),
            (
                "ok",
                Arc::new(
                    events
                        .iter()
                        .map(|e| Some(e.content.is_multiple_of(2)))
                        .collect::<BooleanArray>(),
                ),
            ),
            (
                "day",
                Arc::new(
                    events
                        .iter()
                        .map(|e| some(e, 3).map(|c| 19_000 + i32::from(c)))
                        .collect::<Date32Array>(),
                ),
            ),
            ("raw", binaries(shape.text, &events)),
            ("tags", lists(shape.number, &events)),
            ("place", places(&events)),
            ("attributes", maps(&events)),
        ];
        // What has no payload fits to either class, and its copies need not meet.
        let has = |i: usize| {
            (i < 2 && shape.columns & 0xf00 != 0 || shape.columns >> i & 1 == 1)
                || (i == 1 && world.drift)
        };
        columns.extend(
            optional
                .into_iter()
                .enumerate()
                .filter(|(i, _)| has(*i))
                .map(|(_, c)| c),
        );
        if shape.reversed {
            columns.reverse();
        }
        RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, a)| (name, a, true)),
        )
        .unwrap()
    }

    pub fn parquet(&self, batch: &RecordBatch) -> Vec<u8> {
        let codec = [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::ZSTD(ZstdLevel::default()),
            Compression::GZIP(Default::default()),
        ];
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(self.shape.group_rows))
            .set_compression(codec[self.shape.codec])
            .set_writer_version(if self.shape.v2 {
                WriterVersion::PARQUET_2_0
            } else {
                WriterVersion::PARQUET_1_0
            })
            .build();
        let mut out = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut out, batch.schema(), Some(properties)).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
        out
    }
}

fn nanos(at: &At, now: DateTime<Utc>) -> Option<i128> {
    match *at {
        At::Null => None,
        At::Old(s) => Some(i128::from(s) * 1_000_000_000),
        At::FromNow(s, sub) => {
            Some(i128::from(now.timestamp() + s) * 1_000_000_000 + i128::from(sub))
        }
    }
}

fn times(events: &[Event], now: DateTime<Utc>, unit: TimeUnit, zone: Option<Arc<str>>) -> ArrayRef {
    let tick = match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    };
    let values: Int64Array = events
        .iter()
        .map(|e| nanos(&e.at, now).map(|n| i64::try_from(n.div_euclid(tick)).unwrap()))
        .collect();
    cast(
        &cast(&values, &DataType::Timestamp(unit, None)).unwrap(),
        &DataType::Timestamp(unit, None),
    )
    .map(|a| zoned(a, unit, zone))
    .unwrap()
}

/// The same instants, said to be of a zone: a cast would move them.
fn zoned(array: ArrayRef, unit: TimeUnit, zone: Option<Arc<str>>) -> ArrayRef {
    let data = array
        .to_data()
        .into_builder()
        .data_type(DataType::Timestamp(unit, zone))
        .build()
        .unwrap();
    make_array(data)
}

fn texts(layout: usize, values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    let plain = StringArray::from_iter(values);
    let to = match layout {
        0 => DataType::Utf8,
        1 => DataType::LargeUtf8,
        2 => DataType::Utf8View,
        _ => DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into()),
    };
    cast(&plain, &to).unwrap()
}

/// The content, but for one in `n`.
fn some(e: &Event, n: u8) -> Option<u8> {
    (!e.content.is_multiple_of(n) || e.content == 0).then_some(e.content)
}

fn numbers(layout: usize, floats: bool, events: &[Event]) -> ArrayRef {
    let values: PrimitiveArray<Int8Type> = events
        .iter()
        .map(|e| some(e, 5).map(u8::cast_signed))
        .collect();
    let to = if floats {
        [
            DataType::Int8,
            DataType::Int16,
            DataType::Int32,
            DataType::UInt8,
            DataType::UInt16,
            DataType::Float32,
            DataType::Float64,
        ]
    } else {
        [
            DataType::Int8,
            DataType::Int16,
            DataType::Int32,
            DataType::Int64,
            DataType::UInt8,
            DataType::UInt16,
            DataType::UInt32,
        ]
    };
    cast(&values, &to[layout]).unwrap()
}

fn binaries(layout: usize, events: &[Event]) -> ArrayRef {
    let plain = BinaryArray::from_iter(events.iter().map(|e| some(e, 2).map(|c| vec![c, 0xff, 0])));
    let to = [
        DataType::Binary,
        DataType::LargeBinary,
        DataType::BinaryView,
        DataType::Binary,
    ];
    cast(&plain, &to[layout]).unwrap()
}

fn lists(layout: usize, events: &[Event]) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for e in events {
        (0..e.content).for_each(|i| {
            lists
                .values()
                .append_option((i != 2).then(|| format!("tag{i}")))
        });
        lists.append(e.content != 3);
    }
    let plain = lists.finish();
    if layout.is_multiple_of(2) {
        Arc::new(plain)
    } else {
        cast(
            &plain,
            &DataType::LargeList(Arc::new(Field::new("item", DataType::LargeUtf8, true))),
        )
        .unwrap()
    }
}

fn places(events: &[Event]) -> ArrayRef {
    let name = Field::new("name", DataType::Utf8, true);
    let area = Field::new("area", DataType::Float64, true);
    let names = StringArray::from_iter(
        events
            .iter()
            .map(|e| some(e, 2).map(|c| format!("place {c}"))),
    );
    let areas: PrimitiveArray<Float64Type> = events
        .iter()
        .map(|e| Some(f64::from(e.content) * 0.5 - 1.25))
        .collect();
    let nulls = arrow::buffer::NullBuffer::from_iter(events.iter().map(|e| e.content != 4));
    Arc::new(StructArray::new(
        vec![name, area].into(),
        vec![Arc::new(names), Arc::new(areas)],
        Some(nulls),
    ))
}

fn maps(events: &[Event]) -> ArrayRef {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for e in events {
        for i in 0..e.content % 3 {
            maps.keys().append_value(format!("k{i}"));
            maps.values()
                .append_option((i != 1).then_some(i32::from(e.content)));
        }
        maps.append(e.content != 5).unwrap();
    }
    Arc::new(maps.finish())
}

/// A file whose timestamps are naive where the others' are zoned, or the other way round.
pub fn other_zone(batch: &RecordBatch) -> RecordBatch {
    let at = batch.schema().index_of("timestamp").unwrap();
    let mut columns = batch.columns().to_vec();
    let DataType::Timestamp(unit, zone) = columns[at].data_type().clone() else {
        panic!("not a timestamp")
    };
    columns[at] = zoned(
        Arc::clone(&columns[at]),
        unit,
        if zone.is_some() {
            None
        } else {
            Some("UTC".into())
        },
    );
    let fields: Vec<Field> = batch
        .schema()
        .fields()
        .iter()
        .zip(&columns)
        .map(|(f, c)| Field::new(f.name(), c.data_type().clone(), true))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}
