//! Files that are broken on purpose. Each with a piece of the reason that must be given.

use super::forge::{
    BYTE_ARRAY, Codec, DICTIONARY, Forged, Group, Page, RLE_DICTIONARY, STRUCT, Thrift, close,
    column, footer_only, inflated, strings, time_column,
};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, RecordBatch, StringArray, StringViewBuilder, TimestampMicrosecondArray,
};
use base64::Engine;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::WriterProperties;

#[derive(Clone)]
pub struct Case {
    pub name: String,
    pub bytes: Vec<u8>,
    /// In the reason for the quarantine; none where the file is sound although it looks odd.
    pub why: Option<&'static str>,
}

fn case(name: impl Into<String>, bytes: Vec<u8>, why: &'static str) -> Case {
    Case {
        name: name.into(),
        bytes,
        why: Some(why),
    }
}

const ROWS: usize = 10;

fn payload() -> Vec<u8> {
    strings((0..ROWS).map(|i| {
        if i % 2 == 0 {
            &b"even"[..]
        } else {
            &b"odd"[..]
        }
    }))
}

/// An honest file.
pub fn honest(codec: Codec) -> Forged {
    let plain = payload();
    let body = inflated(codec, &plain);
    let page = Page {
        uncompressed: plain.len() as i64,
        compressed: body.len() as i64,
        body,
        ..Page::plain(ROWS, Vec::new())
    };
    Forged::new(ROWS, codec, vec![page])
}

pub const CODECS: [Codec; 7] = [
    Codec::Uncompressed,
    Codec::Snappy,
    Codec::Gzip,
    Codec::Brotli,
    Codec::Lz4,
    Codec::Zstd,
    Codec::Lz4Raw,
];

fn with_footer_length(good: &[u8], len: u32) -> Vec<u8> {
    let mut bytes = good.to_vec();
    let at = bytes.len() - 8;
    bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
    bytes
}

/// What lies about lengths, counts and places.
pub fn lies() -> Vec<Case> {
    let good = honest(Codec::Uncompressed);
    let bytes = good.bytes();
    let footer = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap());
    let magic = |m: &[u8; 4]| [&bytes[..bytes.len() - 4], &m[..]].concat();
    let page = |change: fn(&mut Page)| {
        let mut forged = good.clone();
        change(&mut forged.pages[0]);
        forged.bytes()
    };
    let rows = |n: i64| {
        Forged {
            rows: n,
            ..good.clone()
        }
        .bytes()
    };
    let mut all = vec![
        Case {
            name: "honest".into(),
            bytes: bytes.clone(),
            why: None,
        },
        case("one byte", vec![b'P'], "too short"),
        case("magic only", b"PAR1PAR1".to_vec(), "too short"),
        case(
            "footer of 4 GiB",
            with_footer_length(&bytes, u32::MAX),
            "footer claims",
        ),
        case("footer of nothing", with_footer_length(&bytes, 0), "footer"),
        case(
            "footer past the file",
            with_footer_length(&bytes, bytes.len() as u32 - 7),
            "footer claims",
        ),
        case(
            "footer one byte long",
            with_footer_length(&bytes, footer + 1),
            "footer",
        ),
        case(
            "footer one byte short",
            with_footer_length(&bytes, footer - 1),
            "footer",
        ),
        case("encrypted footer", magic(b"PARE"), "encrypted"),
        case("other magic", magic(b"PAR2"), "PAR1"),
        case("text", b"a,b,c\n1,2,3\n".repeat(20), "PAR1"),
        case(
            "negative rows",
            Forged {
                rows: -1,
                ..honest_times()
            }
            .bytes(),
            "row count",
        ),
        case("one row less than its pages hold", one_row_less(), "row"),
        case(
            "one row more than its payload holds",
            rows(ROWS as i64 + 1),
            "row",
        ),
        case(
            "more values than a page holds",
            page(|p| p.values += 1),
            "damaged",
        ),
        case(
            "2^31 values in a page",
            page(|p| p.values = i32::MAX),
            "damaged",
        ),
        case("negative values", page(|p| p.values = -1), "negative"),
        case(
            "negative size of a page",
            page(|p| p.compressed = -5),
            "damaged",
        ),
        case(
            "a page past its column",
            page(|p| p.compressed += 1_000),
            "damaged",
        ),
        case(
            "a page of 2 GiB",
            page(|p| p.compressed = i32::MAX.into()),
            "damaged",
        ),
        case("an unknown kind of page", page(|p| p.kind = 77), "damaged"),
        case("an unknown encoding", page(|p| p.encoding = 99), "damaged"),
        case(
            "a dictionary that is not there",
            page(|p| p.encoding = RLE_DICTIONARY),
            "damaged",
        ),
        case(
            "levels longer than their page",
            levels(0x7fff_fff0, &[20, 1], ROWS),
            "damaged",
        ),
        case(
            "levels of more values than there are",
            levels(2, &[20, 1], ROWS / 2),
            "damaged",
        ),
        case(
            "levels of fewer values than there are",
            levels(2, &[10, 1], ROWS),
            "damaged",
        ),
        case(
            "repetitions that are not there",
            Forged {
                repetition: 2,
                ..good.clone()
            }
            .bytes(),
            "damaged",
        ),
        case("strings that are not UTF-8", broken_text(), "UTF-8"),
        case("a string longer than its page", long_string(), "damaged"),
    ];
    all.extend(footers());
    all.extend(places());
    all
}

fn moved(group: &mut Group, by: i64) {
    group.chunks.iter_mut().for_each(|c| c.at += by);
    group.at = Some(group.chunks[0].at);
}

/// Footers of sound pages that say of row groups and chunks that they are where they are not.
fn places() -> Vec<Case> {
    const FAR: i64 = 1 << 40;
    // More than the footer has.
    const PAST: i64 = 10_000;
    let good = honest(Codec::Uncompressed);
    let groups = |groups: &[fn(&mut Group, i64)]| {
        Forged {
            groups: groups.to_vec(),
            ..good.clone()
        }
        .bytes()
    };
    // It is in nobody's way: the pages say all that is needed.
    let odd = |name: &str, lie: fn(&mut Group, i64)| Case {
        name: name.into(),
        bytes: groups(&[lie]),
        why: None,
    };
    let group = |name: &str, why, lie: fn(&mut Group, i64)| case(name, groups(&[lie]), why);
    vec![
        odd("a row group that says where it is", |g, _| {
            g.at = Some(g.chunks[0].at)
        }),
        group(
            "a row group past the end of the file",
            "outside the file",
            |g, end| moved(g, end + PAST),
        ),
        group(
            "a row group a tebibyte past the end",
            "outside the file",
            |g, _| moved(g, FAR),
        ),
        group(
            "a row group that begins where numbers end",
            "outside the file",
            |g, _| moved(g, i64::MAX - 1_000),
        ),
        group(
            "a row group before the beginning",
            "negative place or size",
            |g, _| moved(g, -1_000),
        ),
        case(
            "a row group past the end behind a sound one",
            groups(&[|_, _| (), |g, end| moved(g, end + PAST)]),
            "outside the file",
        ),
        group("a row group of no rows", "it promises 10 rows", |g, _| {
            g.rows = 0
        }),
        group(
            "a row group of negative rows",
            "a row count is -1",
            |g, _| g.rows = -1,
        ),
        group("a row group of 2^63 rows", "it promises 10 rows", |g, _| {
            g.rows = i64::MAX
        }),
        group(
            "a column chunk past the end of the file",
            "outside the file",
            |g, end| g.chunks[1].at = end + PAST,
        ),
        group("a column chunk in the footer", "damaged", |g, end| {
            g.chunks[1].at = end
        }),
        group(
            "a column chunk that reaches into the footer",
            "damaged",
            |g, _| g.chunks[1].compressed += 1,
        ),
        group(
            "a column chunk that reaches past the end",
            "outside the file",
            |g, end| g.chunks[1].compressed = end + PAST,
        ),
        group(
            "a column chunk of 2^63 bytes",
            "outside the file",
            |g, _| g.chunks[1].compressed = i64::MAX,
        ),
        group(
            "a column chunk of a tebibyte",
            "outside the file",
            |g, _| g.chunks[1].compressed = FAR,
        ),
        group("a column chunk of no bytes", "damaged", |g, _| {
            g.chunks[1].compressed = 0
        }),
        group(
            "a column chunk of negative length",
            "negative place or size",
            |g, _| g.chunks[1].compressed = -1,
        ),
        group(
            "a column chunk of the most negative length",
            "negative place or size",
            |g, _| g.chunks[1].compressed = i64::MIN,
        ),
        group(
            "a column chunk before the beginning",
            "negative place or size",
            |g, _| g.chunks[1].at = -4,
        ),
        group("a column chunk in the magic", "damaged", |g, _| {
            g.chunks[1].at = 0
        }),
        group(
            "a column chunk that begins and ends where numbers end",
            "outside the file",
            |g, _| (g.chunks[1].at, g.chunks[1].compressed) = (i64::MAX, i64::MAX),
        ),
        odd(
            "a column chunk of negative bytes once decompressed",
            |g, _| g.chunks[1].uncompressed = -1,
        ),
        odd("a column chunk of negative values", |g, _| {
            g.chunks[1].values = -1
        }),
        odd("a column chunk of 2^63 values", |g, _| {
            g.chunks[1].values = i64::MAX
        }),
        group("a column chunk over another's", "damaged", |g, _| {
            g.chunks[1].at = g.chunks[0].at
        }),
        group(
            "times past the end of the file",
            "outside the file",
            |g, end| g.chunks[0].at = end + PAST,
        ),
        group(
            "a dictionary past the end of the file",
            "outside the file",
            |g, end| g.chunks[1].dictionary = Some(end + PAST),
        ),
        group(
            "a dictionary before the beginning",
            "negative place or size",
            |g, _| g.chunks[1].dictionary = Some(-1),
        ),
        group(
            "a dictionary where numbers end",
            "outside the file",
            |g, _| g.chunks[1].dictionary = Some(i64::MAX),
        ),
        odd("a page index past the end of the file", |g, end| {
            g.chunks[1].index = Some((end + 1_000, 100))
        }),
        odd("a page index of negative length", |g, _| {
            g.chunks[1].index = Some((4, -1))
        }),
        odd("a page index of 2 GiB", |g, _| {
            g.chunks[1].index = Some((4, i32::MAX))
        }),
    ]
}

fn honest_times() -> Forged {
    honest(Codec::Uncompressed)
}

/// The footer says nine rows of a file of ten: the tenth must not get lost.
fn one_row_less() -> Vec<u8> {
    let mut forged = honest(Codec::Uncompressed);
    forged.rows = ROWS as i64 - 1;
    forged.bytes()
}

fn broken_text() -> Vec<u8> {
    let body = strings((0..ROWS).map(|_| &[0xff, 0xfe, 0x80][..]));
    Forged::new(ROWS, Codec::Uncompressed, vec![Page::plain(ROWS, body)]).bytes()
}

/// A payload of nullable strings with these levels, said to be of `len` bytes, and `n` of the
/// strings.
fn levels(len: u32, levels: &[u8], n: usize) -> Vec<u8> {
    let body = [
        &len.to_le_bytes()[..],
        levels,
        &strings((0..n).map(|_| &b"text"[..])),
    ]
    .concat();
    let mut forged = Forged::new(ROWS, Codec::Uncompressed, vec![Page::plain(ROWS, body)]);
    forged.repetition = 1;
    forged.bytes()
}

fn long_string() -> Vec<u8> {
    let mut body = payload();
    body[..4].copy_from_slice(&0x7fff_fff0_u32.to_le_bytes());
    Forged::new(ROWS, Codec::Uncompressed, vec![Page::plain(ROWS, body)]).bytes()
}

/// Footers that are small and would become large, or are made to break a recursive reader.
fn footers() -> Vec<Case> {
    let schema = |fill: &dyn Fn(&mut Thrift)| {
        footer_only(|t| {
            t.i32(1, 1);
            fill(t);
            t.i64(3, 0);
            t.list(4, STRUCT, 0);
        })
    };
    let root = |t: &mut Thrift, children: i32| {
        t.element(|t| {
            t.text(4, b"r");
            t.i32(5, children);
        })
    };
    let chain = |depth: i32| {
        schema(&|t| {
            t.list(2, STRUCT, depth as u64 + 1);
            for _ in 0..depth {
                t.element(|t| {
                    t.i32(3, 0);
                    t.text(4, b"g");
                    t.i32(5, 1);
                });
            }
            column(t, "x", BYTE_ARRAY, 0, 0);
        })
    };
    let many = |columns: i32| {
        schema(&|t| {
            t.list(2, STRUCT, columns as u64 + 1);
            root(t, columns);
            for i in 0..columns {
                column(t, &format!("{i:x}"), BYTE_ARRAY, 0, 0);
            }
        })
    };
    let lists = close(b"PAR1".to_vec(), &[0x19; 100_000]);
    vec![
        case("a million columns", many(1_000_000), "memory_limit"),
        case(
            "a schema a hundred thousand levels deep",
            chain(100_000),
            "deep",
        ),
        case("lists of lists of lists", lists, "deep"),
        case(
            "a schema of 2^31 elements that are not there",
            schema(&|t| t.list(2, STRUCT, 1 << 31)),
            "damaged",
        ),
        case(
            "row groups of 2^31 elements that are not there",
            footer_only(|t| t.list(4, STRUCT, 1 << 31)),
            "damaged",
        ),
        case("no schema", schema(&|t| t.list(2, STRUCT, 0)), "damaged"),
        case(
            "a root with 2^31 children",
            schema(&|t| {
                t.list(2, STRUCT, 1);
                root(t, i32::MAX);
            }),
            "damaged",
        ),
        case(
            "a root with negative children",
            schema(&|t| {
                t.list(2, STRUCT, 1);
                root(t, -1);
            }),
            "",
        ),
        case(
            "an Arrow schema that is none",
            arrow_schema("AAAAAAAA"),
            "schema",
        ),
        case(
            "an Arrow schema that is no base64",
            arrow_schema("!"),
            "schema",
        ),
        case(
            "an Arrow schema of noise",
            arrow_schema(&base64::prelude::BASE64_STANDARD.encode([0x5a; 400])),
            "schema",
        ),
        case(
            "an Arrow schema that names one field in many places",
            arrow_schema(&dag()),
            "schema",
        ),
    ]
}

/// A file whose Arrow schema is `text`.
pub fn arrow_schema(text: &str) -> Vec<u8> {
    footer_only(|t| {
        t.i32(1, 1);
        t.list(2, STRUCT, 2);
        t.element(|t| {
            t.text(4, b"root");
            t.i32(5, 1);
        });
        time_column(t);
        t.i64(3, 0);
        t.list(4, STRUCT, 0);
        t.list(5, STRUCT, 1);
        t.element(|t| {
            t.text(1, b"ARROW:schema");
            t.text(2, text.as_bytes());
        });
    })
}

/// Thirty structs, each with the next one twice: 2^30 fields in a few KiB.
fn dag() -> String {
    use arrow_ipc::{
        FieldBuilder, MessageBuilder, MessageHeader, MetadataVersion, SchemaBuilder,
        Struct_Builder, Type,
    };
    let mut b = flatbuffers::FlatBufferBuilder::new();
    let name = b.create_string("x");
    let mut inner = None;
    for _ in 0..30 {
        let children = inner.map(|f| b.create_vector(&[f, f]));
        let kind = Struct_Builder::new(&mut b).finish();
        let mut field = FieldBuilder::new(&mut b);
        field.add_name(name);
        field.add_type_type(Type::Struct_);
        field.add_type_(kind.as_union_value());
        if let Some(children) = children {
            field.add_children(children);
        }
        inner = Some(field.finish());
    }
    let fields = b.create_vector(&[inner.unwrap()]);
    let mut schema = SchemaBuilder::new(&mut b);
    schema.add_fields(fields);
    let schema = schema.finish();
    let mut message = MessageBuilder::new(&mut b);
    message.add_version(MetadataVersion::V5);
    message.add_header_type(MessageHeader::Schema);
    message.add_header(schema.as_union_value());
    let message = message.finish();
    b.finish(message, None);
    base64::prelude::BASE64_STANDARD.encode(b.finished_data())
}

const BIG: usize = 300 << 20;

/// Pages that claim much or become much.
pub fn bombs() -> Vec<Case> {
    let mut all = Vec::new();
    for codec in CODECS.into_iter().skip(1) {
        let claim = |whole: Option<i64>| {
            let mut forged = honest(codec);
            forged.pages[0].uncompressed = i32::MAX.into();
            forged.uncompressed = whole;
            forged.bytes()
        };
        all.push(case(
            format!("{codec:?}: a page claims 2 GiB and its column does not"),
            claim(Some(100)),
            "claim",
        ));
        all.push(case(
            format!("{codec:?}: a page claims 2 GiB and its column does too"),
            claim(None),
            "memory_limit",
        ));
        let value = vec![0; BIG - 4];
        let plain = strings([&value[..]]);
        let body = inflated(codec, &plain);
        let page = Page {
            uncompressed: BIG as i64,
            compressed: body.len() as i64,
            body,
            ..Page::plain(1, Vec::new())
        };
        all.push(case(
            format!("{codec:?}: a page is 300 MiB and says so"),
            Forged::new(1, codec, vec![page.clone()]).bytes(),
            "memory_limit",
        ));
        // The others stop where the header says.
        let why = if matches!(codec, Codec::Gzip | Codec::Brotli | Codec::Lz4) {
            "inflates"
        } else {
            "damaged"
        };
        let modest = Forged::new(
            1,
            codec,
            vec![Page {
                uncompressed: 1_000,
                ..page
            }],
        );
        all.push(case(
            format!("{codec:?}: a page is 300 MiB and says 1000 bytes"),
            modest.bytes(),
            why,
        ));
    }
    all
}

/// Small pages that stand for many rows of long values.
pub fn expansions() -> Vec<Case> {
    let rows = 4_000_usize;
    let value = vec![b'x'; 900 << 10];
    let body = strings([&value[..]]);
    let dictionary = Page {
        kind: DICTIONARY,
        ..Page::plain(1, body)
    };
    // Indices of one bit, a run of zeros.
    let run = |n: usize| {
        let mut t = Thrift::default();
        t.varint((n as u64) << 1);
        t.bytes.push(0);
        t.bytes
    };
    let data = Page {
        encoding: RLE_DICTIONARY,
        ..Page::plain(rows, [&[1_u8][..], &run(rows)].concat())
    };
    let dictionary_bomb = Forged::new(rows, Codec::Uncompressed, vec![dictionary, data]).bytes();
    let elements = Page {
        values: i32::MAX,
        ..Page::plain(
            0,
            [
                &2_u32.to_le_bytes()[..],
                &[20, 1],
                &2_u32.to_le_bytes(),
                &[20, 1],
            ]
            .concat(),
        )
    };
    let list = Forged {
        name: "list",
        repetition: 2,
        ..Forged::new(ROWS, Codec::Uncompressed, vec![elements])
    };
    let sound = |name: &str, bytes| Case {
        name: name.into(),
        bytes,
        why: None,
    };
    vec![
        sound(
            "four thousand rows of one value of 900 KiB in a dictionary",
            dictionary_bomb,
        ),
        sound(
            "a thousand rows of one value of 900 KiB, each the difference to the one before",
            same(1_000),
        ),
        case("a list of 2^31 elements", list.bytes(), "memory_limit"),
    ]
}

fn written(texts: ArrayRef, properties: WriterProperties) -> Vec<u8> {
    let times = TimestampMicrosecondArray::from_iter_values(
        (0..texts.len() as i64).map(|i| 1_767_225_600_000_000 + i),
    );
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("timestamp", Arc::new(times), false),
        ("payload", texts, false),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

/// `n` times the same long value, as differences of nothing.
fn same(n: usize) -> Vec<u8> {
    let mut texts = StringViewBuilder::new();
    let block = texts.append_block("x".repeat(900 << 10).into_bytes().into());
    (0..n).for_each(|_| texts.try_append_view(block, 0, 900 << 10).unwrap());
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_encoding(Encoding::DELTA_BYTE_ARRAY);
    written(
        Arc::new(texts.finish()),
        properties
            .set_column_encoding("timestamp".into(), Encoding::PLAIN)
            .build(),
    )
}

/// What is large and honest, and must be read within the limit.
pub fn large() -> Vec<Case> {
    let mut seed = 7_u64;
    let mut noise = |len: usize| -> String {
        let mut next = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + ((seed >> 33) % 90) as u8)
        };
        (0..len).map(|_| next()).collect()
    };
    let rows: Vec<String> = (0..30).map(|_| noise(1 << 20)).collect();
    let long = written(
        Arc::new(StringArray::from(rows)),
        WriterProperties::builder().build(),
    );
    let short: Vec<String> = (0..100_000).map(|_| noise(100)).collect();
    let one_page = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_compression(Compression::SNAPPY)
        .set_data_page_size_limit(1 << 30)
        .set_data_page_row_count_limit(usize::MAX)
        .build();
    let page = written(Arc::new(StringArray::from(short)), one_page);
    vec![
        Case {
            name: "thirty rows of 1 MiB".into(),
            bytes: long,
            why: None,
        },
        Case {
            name: "a hundred thousand rows in a page of 10 MiB".into(),
            bytes: page,
            why: None,
        },
    ]
}
