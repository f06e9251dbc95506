//! Reads Thrift's compact encoding without building anything from it, to know what a footer or a
//! page header would cost.

/// Deeper than any schema or footer is; the decoders behind this recurse.
const DEEPEST: usize = 64;

/// The memory that a parsed footer would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FooterCost {
    /// Columns and groups of columns of the schema.
    pub elements: u64,
    /// Column chunks of all row groups.
    pub chunks: u64,
    /// Of them, those that are encrypted.
    pub encrypted: u64,
    /// Structs of any kind.
    pub structs: u64,
}

/// The fields of a page header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Page {
    /// Whether it is a dictionary, which stays while the pages after it are read.
    pub dictionary: bool,
    /// Bytes once decompressed.
    pub uncompressed: u64,
    /// Bytes in the file.
    pub compressed: u64,
    /// Of repetition and definition levels before the compressed part.
    pub levels: u64,
    /// Whether the rest is compressed at all.
    pub plain: bool,
    /// Values, nulls among them.
    pub values: u64,
    /// Of the values, by Parquet's number.
    pub encoding: i64,
    /// CRC-32 of its bytes in the file, where the writer gave one.
    pub checksum: Option<u32>,
}

type Result<T> = std::result::Result<T, String>;

/// Counts what is in a footer.
///
/// # Errors
/// Where it is no footer, or its schema is nested too deeply for a recursive decoder.
pub fn footer_cost(footer: &[u8]) -> Result<FooterCost> {
    let mut scan = Scan::new(footer);
    let mut found = FooterCost::default();
    let mut open = Vec::new();
    scan.fields(0, |scan, field, kind| match (field, kind) {
        (2, Kind::List) => scan.list(|scan| {
            found.elements += 1;
            let mut children = 0;
            scan.fields(1, |scan, field, kind| {
                if (field, kind) == (5, Kind::Int) {
                    children = scan.int()?;
                    return Ok(());
                }
                scan.skip(kind, 2)
            })?;
            nest(&mut open, children)
        }),
        (4, Kind::List) => scan.list(|scan| {
            scan.fields(1, |scan, field, kind| {
                if (field, kind) != (1, Kind::List) {
                    return scan.skip(kind, 2);
                }
                scan.list(|scan| {
                    found.chunks += 1;
                    scan.fields(3, |scan, field, kind| {
                        // How to get at the key.
                        found.encrypted += u64::from((field, kind) == (8, Kind::Struct));
                        scan.skip(kind, 4)
                    })
                })
            })
        }),
        _ => scan.skip(kind, 1),
    })?;
    found.structs = scan.structs;
    Ok(found)
}

/// Follows the schema's tree, which is written depth first, each node with the number of its
/// children.
fn nest(open: &mut Vec<i64>, children: i64) -> Result<()> {
    if let Some(left) = open.last_mut() {
        *left -= 1;
    }
    if children > 0 {
        open.push(children);
    }
    while open.last().is_some_and(|left| *left <= 0) {
        open.pop();
    }
    if open.len() > DEEPEST {
        Err(format!(
            "its schema is nested more than {DEEPEST} levels deep"
        ))
    } else {
        Ok(())
    }
}

/// Reads the page header that `bytes` begin with, and says how long it is.
///
/// # Errors
/// Where it is none.
pub fn page(bytes: &[u8]) -> Result<(Page, usize)> {
    let mut page = Page::default();
    let mut scan = Scan::new(bytes);
    scan.fields(0, |scan, field, kind| {
        let natural =
            |n: i64| u64::try_from(n).map_err(|_| "a page header has a negative size".to_owned());
        match (field, kind) {
            (1, Kind::Int) => page.dictionary = scan.int()? == 2,
            (2, Kind::Int) => page.uncompressed = natural(scan.int()?)?,
            (3, Kind::Int) => page.compressed = natural(scan.int()?)?,
            // A signed number in the file, whose bits are the sum.
            (4, Kind::Int) => page.checksum = u32::try_from(scan.int()? & i64::from(u32::MAX)).ok(),
            // Values are the first field of every kind's own header.
            (5 | 7 | 8, Kind::Struct) => scan.fields(1, |scan, inner, kind| {
                match (inner, kind) {
                    (1, Kind::Int) => page.values = natural(scan.int()?)?,
                    (2, Kind::Int) if field != 8 => page.encoding = scan.int()?,
                    (4, Kind::Int) if field == 8 => page.encoding = scan.int()?,
                    (5 | 6, Kind::Int) if field == 8 => page.levels += natural(scan.int()?)?,
                    (7, Kind::False) if field == 8 => page.plain = true,
                    _ => scan.skip(kind, 2)?,
                }
                Ok(())
            })?,
            _ => scan.skip(kind, 1)?,
        }
        Ok(())
    })?;
    Ok((page, bytes.len() - scan.rest.len()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    True,
    False,
    Byte,
    /// Of 16, 32 or 64 bits: one encoding.
    Int,
    Double,
    Binary,
    List,
    Map,
    Struct,
    Uuid,
}

impl Kind {
    fn of(nibble: u8) -> Result<Self> {
        Ok(match nibble {
            1 => Self::True,
            2 => Self::False,
            3 => Self::Byte,
            4..=6 => Self::Int,
            7 => Self::Double,
            8 => Self::Binary,
            9 | 10 => Self::List,
            11 => Self::Map,
            12 => Self::Struct,
            13 => Self::Uuid,
            other => return Err(format!("{other} is no Thrift type")),
        })
    }
}

struct Scan<'a> {
    rest: &'a [u8],
    structs: u64,
}

impl<'a> Scan<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            structs: 0,
        }
    }

    fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.rest.split_first().ok_or("it ends early")?;
        self.rest = rest;
        Ok(*first)
    }

    fn bytes(&mut self, n: u64) -> Result<()> {
        let n = usize::try_from(n)
            .ok()
            .filter(|n| *n <= self.rest.len())
            .ok_or("it ends early")?;
        self.rest = &self.rest[n..];
        Ok(())
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("it has a number of more than 64 bits".to_owned())
    }

    fn int(&mut self) -> Result<i64> {
        let zigzag = self.varint()?;
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    /// Calls `on` for every field of a struct, which must take its value.
    fn fields(
        &mut self,
        depth: usize,
        mut on: impl FnMut(&mut Self, i64, Kind) -> Result<()>,
    ) -> Result<()> {
        if depth > DEEPEST {
            return Err(format!("it is nested more than {DEEPEST} levels deep"));
        }
        self.structs += 1;
        let mut id = 0_i64;
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Ok(());
            }
            id = if header >> 4 == 0 {
                self.int()?
            } else {
                id.saturating_add(i64::from(header >> 4))
            };
            on(self, id, Kind::of(header & 0xf)?)?;
        }
    }

    fn list_header(&mut self) -> Result<(u64, Kind)> {
        let header = self.byte()?;
        let size = if header >> 4 == 15 {
            self.varint()?
        } else {
            u64::from(header >> 4)
        };
        // Every element has a byte at least, but for an empty list's.
        if size > self.rest.len() as u64 {
            return Err(format!(
                "it has a list of {size} elements in {} bytes",
                self.rest.len()
            ));
        }
        Ok((
            size,
            if size == 0 {
                Kind::Byte
            } else {
                Kind::of(header & 0xf)?
            },
        ))
    }

    /// Calls `on` for every element of a list of structs, which must take it.
    fn list(&mut self, mut on: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        match self.list_header()? {
            (0, _) => Ok(()),
            (size, Kind::Struct) => (0..size).try_for_each(|_| on(self)),
            _ => Err("it has a list of something else where structs must be".to_owned()),
        }
    }

    fn skip(&mut self, kind: Kind, depth: usize) -> Result<()> {
        match kind {
            // A field's header says which; in a list each has a byte, see below.
            Kind::True | Kind::False => Ok(()),
            Kind::Byte => self.bytes(1),
            Kind::Int => self.varint().map(drop),
            Kind::Double => self.bytes(8),
            Kind::Uuid => self.bytes(16),
            Kind::Binary => {
                let n = self.varint()?;
                self.bytes(n)
            }
            Kind::Struct => self.fields(depth, |scan, _, kind| scan.skip(kind, depth + 1)),
            Kind::List => {
                let (size, kind) = self.list_header()?;
                (0..size).try_for_each(|_| self.element(kind, depth))
            }
            Kind::Map => {
                let size = self.varint()?;
                if size == 0 {
                    return Ok(());
                }
                let kinds = self.byte()?;
                let (key, value) = (Kind::of(kinds >> 4)?, Kind::of(kinds & 0xf)?);
                (0..size).try_for_each(|_| {
                    self.element(key, depth)?;
                    self.element(value, depth)
                })
            }
        }
    }

    fn element(&mut self, kind: Kind, depth: usize) -> Result<()> {
        match kind {
            Kind::True | Kind::False => self.bytes(1),
            Kind::List | Kind::Map if depth >= DEEPEST => {
                Err(format!("it is nested more than {DEEPEST} levels deep"))
            }
            _ => self.skip(kind, depth + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_header_is_read() {
        // DATA_PAGE_V2, 1000 bytes from 100, a checksum of all ones, 7 values, 3 + 2 bytes of
        // levels, not compressed.
        let header = [
            0x15, 0x06, 0x15, 0xd0, 0x0f, 0x15, 0xc8, 0x01, 0x15, 0x01, 0x4c, 0x15, 0x0e, 0x15,
            0x00, 0x15, 0x0e, 0x15, 0x00, 0x15, 0x06, 0x15, 0x04, 0x12, 0x00, 0x00,
        ];
        let want = Page {
            dictionary: false,
            uncompressed: 1_000,
            compressed: 100,
            levels: 5,
            plain: true,
            values: 7,
            encoding: 0,
            checksum: Some(u32::MAX),
        };
        assert_eq!(
            page(&[&header[..], b"the page"].concat()),
            Ok((want, header.len()))
        );
        for cut in 0..header.len() {
            assert!(page(&header[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn depth_is_counted_through_the_tree() {
        let mut open = Vec::new();
        for children in [2, 1, 0, 0] {
            nest(&mut open, children).unwrap();
        }
        assert!(open.is_empty());
        assert!((0..=DEEPEST).any(|_| nest(&mut open, 1).is_err()));
    }

    #[test]
    fn lists_cannot_be_longer_than_their_bytes() {
        // Field 2, a list of 2^31 structs.
        assert!(
            footer_cost(&[0x29, 0xfc, 0x80, 0x80, 0x80, 0x80, 0x08, 0x00])
                .unwrap_err()
                .contains("2147483648")
        );
        // Lists of lists of lists…
        assert!(
            footer_cost(&[&[0x19][..], &[0x19; 10_000]].concat())
                .unwrap_err()
                .contains("deep")
        );
    }
}
