//! Parquet written by hand, byte by byte, so that it can lie about everything.

/// Thrift's compact encoding, as far as footers and page headers need it.
#[derive(Default)]
pub struct Thrift {
    pub bytes: Vec<u8>,
    last: Vec<i16>,
}

impl Thrift {
    /// A struct with what `fill` writes.
    pub fn of(fill: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut thrift = Self::default();
        thrift.element(fill);
        thrift.bytes
    }

    pub fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.bytes.push((n & 0x7f) as u8 | 0x80);
            n >>= 7;
        }
        self.bytes.push(n as u8);
    }

    fn zigzag(&mut self, n: i64) {
        self.varint(((n << 1) ^ (n >> 63)).cast_unsigned());
    }

    fn field(&mut self, id: i16, kind: u8) {
        let last = self.last.last_mut().unwrap();
        let delta = u8::try_from(id - *last)
            .ok()
            .filter(|d| (1..=15).contains(d))
            .expect("fields go up in small steps");
        *last = id;
        self.bytes.push(delta << 4 | kind);
    }

    pub fn i32(&mut self, id: i16, n: i32) {
        self.field(id, 5);
        self.zigzag(n.into());
    }

    pub fn i64(&mut self, id: i16, n: i64) {
        self.field(id, 6);
        self.zigzag(n);
    }

    pub fn text(&mut self, id: i16, text: &[u8]) {
        self.field(id, 8);
        self.varint(text.len() as u64);
        self.bytes.extend_from_slice(text);
    }

    pub fn group(&mut self, id: i16, fill: impl FnOnce(&mut Self)) {
        self.field(id, 12);
        self.element(fill);
    }

    /// The header of a list of `n` elements, whether they follow or not.
    pub fn list(&mut self, id: i16, kind: u8, n: u64) {
        self.field(id, 9);
        self.bytes.push(0xf0 | kind);
        self.varint(n);
    }

    pub fn element(&mut self, fill: impl FnOnce(&mut Self)) {
        self.last.push(0);
        fill(self);
        self.last.pop();
        self.bytes.push(0);
    }
}

pub const STRUCT: u8 = 12;
const INT64: i32 = 2;
pub const BYTE_ARRAY: i32 = 6;
const UTF8: i32 = 0;
const PLAIN: i32 = 0;
const RLE: i32 = 3;
pub const RLE_DICTIONARY: i32 = 8;
pub const DATA: i32 = 0;
pub const DICTIONARY: i32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    Uncompressed = 0,
    Snappy = 1,
    Gzip = 2,
    Brotli = 4,
    Lz4 = 5,
    Zstd = 6,
    Lz4Raw = 7,
}

/// A page: what its header says, and what is there.
#[derive(Debug, Clone)]
pub struct Page {
    pub kind: i32,
    pub uncompressed: i64,
    pub compressed: i64,
    pub values: i32,
    pub encoding: i32,
    pub body: Vec<u8>,
}

impl Page {
    /// An honest one.
    pub fn plain(values: usize, body: Vec<u8>) -> Self {
        Self {
            kind: DATA,
            uncompressed: body.len() as i64,
            compressed: body.len() as i64,
            values: values as i32,
            encoding: PLAIN,
            body,
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Thrift::of(|t| {
            t.i32(1, self.kind);
            t.i32(2, self.uncompressed as i32);
            t.i32(3, self.compressed as i32);
            t.group(if self.kind == DICTIONARY { 7 } else { 5 }, |t| {
                t.i32(1, self.values);
                t.i32(2, self.encoding);
                if self.kind == DATA {
                    t.i32(3, RLE);
                    t.i32(4, RLE);
                }
            });
        });
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// What a footer says of a column's chunk.
#[derive(Debug, Clone)]
pub struct Chunk {
    name: &'static str,
    kind: i32,
    codec: Codec,
    /// Where its first data page begins.
    pub at: i64,
    pub dictionary: Option<i64>,
    pub compressed: i64,
    pub uncompressed: i64,
    pub values: i64,
    /// Where its page index and its offset index are, and the length of each.
    pub index: Option<(i64, i32)>,
}

/// What a footer says of a row group.
#[derive(Debug, Clone)]
pub struct Group {
    /// Of the times and of the payload.
    pub chunks: [Chunk; 2],
    pub bytes: i64,
    pub rows: i64,
    pub at: Option<i64>,
}

/// A file of two columns: honest times, and a payload of any pages.
#[derive(Debug, Clone)]
pub struct Forged {
    /// Of the column that is not the time.
    pub name: &'static str,
    pub rows: i64,
    pub codec: Codec,
    pub pages: Vec<Page>,
    /// What the footer says of the payload's bytes once decompressed; none is the truth by the
    /// page headers.
    pub uncompressed: Option<i64>,
    pub repetition: i32,
    /// A row group each, all of the same pages: what the footer makes of the truth. The second
    /// argument is where the footer begins.
    pub groups: Vec<fn(&mut Group, i64)>,
}

impl Forged {
    pub fn new(rows: usize, codec: Codec, pages: Vec<Page>) -> Self {
        Self {
            name: "payload",
            rows: rows as i64,
            codec,
            pages,
            uncompressed: None,
            repetition: 0,
            groups: vec![|_, _| ()],
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut file = b"PAR1".to_vec();
        let times: Vec<u8> = (0..self.rows)
            .flat_map(|i| (1_767_225_600_000_000 + i).to_le_bytes())
            .collect();
        let time = Page::plain(self.rows as usize, times);
        let time_at = file.len() as i64;
        file.extend(time.bytes());
        let payload_at = file.len() as i64;
        let mut data_at = payload_at;
        for page in &self.pages {
            file.extend(page.bytes());
            if page.kind == DICTIONARY {
                data_at = file.len() as i64;
            }
        }
        let end = file.len() as i64;
        let truth = self.pages.iter().map(|p| p.uncompressed + 40).sum();
        let dictionary = (data_at > payload_at).then_some(payload_at);
        let values = self
            .pages
            .iter()
            .filter(|p| p.kind == DATA)
            .map(|p| i64::from(p.values))
            .sum();
        let (time_size, payload_size) = (payload_at - time_at, end - payload_at);
        let times = Chunk {
            name: "timestamp",
            kind: INT64,
            codec: Codec::Uncompressed,
            at: time_at,
            dictionary: None,
            compressed: time_size,
            uncompressed: time_size,
            values: self.rows,
            index: None,
        };
        let payload = Chunk {
            name: self.name,
            kind: BYTE_ARRAY,
            codec: self.codec,
            at: data_at,
            dictionary,
            compressed: payload_size,
            uncompressed: self.uncompressed.unwrap_or(truth),
            values,
            index: None,
        };
        let truth = Group {
            chunks: [times, payload],
            bytes: end,
            rows: self.rows,
            at: None,
        };
        let groups: Vec<Group> = self
            .groups
            .iter()
            .map(|lie| {
                let mut group = truth.clone();
                lie(&mut group, end);
                group
            })
            .collect();
        let footer = Thrift::of(|t| {
            t.i32(1, 1);
            t.list(2, STRUCT, 3);
            t.element(|t| {
                t.text(4, b"root");
                t.i32(5, 2);
            });
            time_column(t);
            column(t, self.name, BYTE_ARRAY, self.repetition, UTF8);
            t.i64(3, self.rows * groups.len() as i64);
            t.list(4, STRUCT, groups.len() as u64);
            groups.iter().for_each(|group| group.write(t));
        });
        close(file, &footer)
    }
}

impl Group {
    fn write(&self, t: &mut Thrift) {
        t.element(|t| {
            t.list(1, STRUCT, 2);
            self.chunks.iter().for_each(|chunk| chunk.write(t));
            t.i64(2, self.bytes);
            t.i64(3, self.rows);
            if let Some(at) = self.at {
                t.i64(5, at);
            }
        });
    }
}

impl Chunk {
    fn write(&self, t: &mut Thrift) {
        t.element(|t| {
            t.i64(2, 0);
            t.group(3, |t| {
                t.i32(1, self.kind);
                t.list(2, 5, 1);
                t.bytes.push(0);
                t.list(3, 8, 1);
                t.varint(self.name.len() as u64);
                t.bytes.extend_from_slice(self.name.as_bytes());
                t.i32(4, self.codec as i32);
                t.i64(5, self.values);
                t.i64(6, self.uncompressed);
                t.i64(7, self.compressed);
                t.i64(9, self.at);
                if let Some(dictionary) = self.dictionary {
                    t.i64(11, dictionary);
                }
            });
            if let Some((at, length)) = self.index {
                t.i64(4, at);
                t.i32(5, length);
                t.i64(6, at);
                t.i32(7, length);
            }
        });
    }
}

pub fn column(t: &mut Thrift, name: &str, kind: i32, repetition: i32, converted: i32) {
    t.element(|t| {
        t.i32(1, kind);
        t.i32(3, repetition);
        t.text(4, name.as_bytes());
        t.i32(6, converted);
    });
}

/// Microseconds of no zone, as the neighbours have them.
pub fn time_column(t: &mut Thrift) {
    t.element(|t| {
        t.i32(1, INT64);
        t.i32(3, 0);
        t.text(4, b"timestamp");
        t.group(10, |t| {
            t.group(8, |t| {
                t.field(1, 2);
                t.group(2, |t| t.group(2, |_| ()));
            });
        });
    });
}

/// Puts a footer behind what there is.
pub fn close(mut file: Vec<u8>, footer: &[u8]) -> Vec<u8> {
    file.extend_from_slice(footer);
    file.extend((footer.len() as u32).to_le_bytes());
    file.extend(b"PAR1");
    file
}

/// A file of a footer alone.
pub fn footer_only(fill: impl FnOnce(&mut Thrift)) -> Vec<u8> {
    close(b"PAR1".to_vec(), &Thrift::of(fill))
}

/// `n` zero bytes, or with a string's length in front.
pub fn inflated(codec: Codec, plain: &[u8]) -> Vec<u8> {
    use std::io::Write;
    match codec {
        Codec::Uncompressed => plain.to_vec(),
        Codec::Snappy => snap::raw::Encoder::new().compress_vec(plain).unwrap(),
        Codec::Gzip => {
            let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            w.write_all(plain).unwrap();
            w.finish().unwrap()
        }
        Codec::Brotli => {
            let mut out = Vec::new();
            brotli::CompressorWriter::new(&mut out, 1 << 16, 1, 22)
                .write_all(plain)
                .unwrap();
            out
        }
        Codec::Lz4 => {
            let mut w = lz4_flex::frame::FrameEncoder::new(Vec::new());
            w.write_all(plain).unwrap();
            w.finish().unwrap()
        }
        Codec::Lz4Raw => lz4_flex::block::compress(plain),
        Codec::Zstd => zstd::bulk::compress(plain, 1).unwrap(),
    }
}

/// `values` as a plain page of strings.
pub fn strings<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for v in values {
        out.extend((v.len() as u32).to_le_bytes());
        out.extend_from_slice(v);
    }
    out
}
