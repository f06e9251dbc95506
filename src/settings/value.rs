//! The types of single settings: how each is written, read, shown and described.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
#[cfg(feature = "cli")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::{Value, json};
use url::Url;

use crate::archive::Verify;
use crate::format;
use crate::store::credentials::web_url;
use crate::telemetry::metrics::deliver;
use icepack_core::model::inputs::{Exclude, Files};
use icepack_core::model::layout;
use icepack_core::model::manifest::ChecksumAlgorithm;
use icepack_core::model::policy::{Codec, CompactionStrategy, Encodings, Rewritten, Within};
use icepack_core::model::publish::Layout;
use icepack_core::model::time_column::TimeColumn;

/// A year of 365.25 days, as humantime counts.
const YEAR: u64 = 31_557_600;

/// Beyond this, adding a duration to a date leaves what dates can hold.
const LONGEST: Duration = Duration::from_secs(1_000 * YEAR);

/// Beyond this, adding two sizes may overflow.
const LARGEST: u64 = 1 << 60;

/// Above this, a price is a slip.
const DEAREST: f64 = 1_000_000.0;

/// Makes a type for values that are written alike: what is inside, its JSON Schema, how it is
/// read, and how it is written so that it can be read back. The schema's `format` is the word for
/// it in the reference.
macro_rules! leaf {
    ($(#[$about:meta])* $name:ident($inner:ty), $schema:tt, $read:expr, $write:expr) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name(pub $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let read: fn(&Value) -> Result<$inner, String> = $read;
                read(&Value::deserialize(from)?).map(Self).map_err(D::Error::custom)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let write: fn(&$inner) -> Value = $write;
                write(&self.0).serialize(to)
            }
        }

        #[cfg(feature = "cli")]
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

/// Makes a type for one of some words, in upper or lower case.
macro_rules! words {
    ($(#[$about:meta])* $name:ident($inner:ty), $($word:literal = $value:expr),*) => {
        impl $name {
            const WORDS: &[(&str, $inner)] = &[$(($word, $value)),*];
        }

        leaf!(
            $(#[$about])* $name($inner),
            { "enum": [$($word),*] },
            |given| one_of(given, Self::WORDS),
            |value| json!(Self::WORDS.iter().find(|(_, v)| v == value).map(|(word, _)| word))
        );
    };
}

leaf!(
    /// A text that is not empty.
    Text(String),
    { "type": "string", "minLength": 1, "format": "text" },
    |given| text(given).map(str::to_owned),
    |text| json!(text)
);
leaf!(
    /// The address of a store. What is wrong with it is said where it is opened.
    Address(String),
    { "type": "string", "minLength": 1, "format": "address" },
    |given| text(given).map(str::to_owned),
    |address| json!(address)
);
leaf!(
    /// A file or a directory of this machine.
    FilePath(PathBuf),
    { "type": "string", "minLength": 1, "format": "path" },
    |given| text(given).map(PathBuf::from),
    |path| json!(path.to_string_lossy())
);
leaf!(
    /// The address of an S3 server.
    Endpoint(String),
    { "type": "string", "pattern": "^https?://.+", "format": "URL" },
    endpoint,
    |address| json!(address)
);
leaf!(
    /// An address of the web. It may hold a password, which is not shown.
    WebAddress(Url),
    { "type": "string", "pattern": "^https?://.+", "format": "URL" },
    web_address,
    |url| json!(deliver::shown(url))
);
leaf!(
    /// Where tenants are.
    KeyLayout(layout::Layout),
    { "type": "string", "pattern": "^([^/].*/)?\\*\\*$", "format": "pattern" },
    |given| text(given).and_then(layout::Layout::parse),
    |layout| json!(layout.as_str())
);
leaf!(
    /// What dates a row.
    Dating(TimeColumn),
    { "type": "string", "minLength": 1, "format": "what dates a row" },
    |given| text(given).and_then(str::parse),
    |column| json!(column.as_str())
);
leaf!(
    /// Names of columns.
    Names(Vec<String>),
    {
        "type": ["array", "string"],
        "items": { "type": "string", "minLength": 1 },
        "format": "list of names",
    },
    |given| list(given).map(|names| names.into_iter().map(str::to_owned).collect()),
    |names| json!(names)
);
leaf!(
    /// Globs of keys.
    Globs(Exclude),
    {
        "type": "array",
        "items": { "type": "string", "pattern": "^[^/]" },
        "format": "list of globs",
    },
    |given| list(given).and_then(Exclude::parse),
    |globs| json!(globs.patterns())
);
leaf!(
    /// Globs of file names.
    FileGlobs(Files),
    {
        "type": "array",
        "minItems": 1,
        "items": { "type": "string", "pattern": "^[^/]+$" },
        "format": "list of globs",
    },
    |given| list(given).and_then(Files::parse),
    |files| json!(files.patterns())
);
leaf!(
    /// A size in bytes.
    Size(u64),
    { "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)? ?([kKMGT]i?B?)$", "format": "size" },
    size,
    |bytes| json!(exact_size(*bytes))
);
leaf!(
    /// Bytes, and at least one.
    PositiveSize(u64),
    { "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)? ?([kKMGT]i?B?)$", "format": "size" },
    some_size,
    |bytes| json!(exact_size(*bytes))
);
leaf!(
    /// A whole number from 1.
    Count(usize),
    { "type": "integer", "minimum": 1, "format": "count" },
    count,
    |n| json!(n)
);
leaf!(
    /// A whole number from 1 to 100.
    Percent(u8),
    { "type": "integer", "minimum": 1, "maximum": 100, "format": "percent" },
    percent,
    |n| json!(n)
);
leaf!(
    /// Days that are billed. A text in the schema, like the prices that it stands beside.
    Days(u64),
    { "type": "string", "pattern": "^[0-9]+$", "format": "days" },
    natural,
    |n| json!(n)
);
leaf!(
    /// An amount of money. A text in the schema: a chart cannot tell 1.0 from 1.
    Price(f64),
    { "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?$", "format": "price" },
    price,
    |price| json!(price)
);
leaf!(
    /// A length of time.
    Period(Duration),
    { "type": "string", "pattern": "^(0|([0-9]+ ?[A-Za-z]+ ?)+)$", "format": "duration" },
    duration,
    |d| json!(format::duration(*d))
);
leaf!(
    /// A length of time that is not zero.
    PositivePeriod(Duration),
    { "type": "string", "pattern": "^([0-9]+ ?[A-Za-z]+ ?)+$", "format": "duration" },
    some_duration,
    |d| json!(format::duration(*d))
);
leaf!(
    /// How long rows are kept; none is `forever`.
    Ttl(Option<Duration>),
    {
        "type": "string",
        "pattern": "^(forever|([1-9][0-9]* ?[A-Za-z]+ ?)+)$",
        "format": "duration, forever",
    },
    ttl,
    |ttl| json!(ttl.map_or_else(|| "forever".to_owned(), format::duration))
);
leaf!(
    /// `true` or `false`.
    Switch(bool),
    { "type": "boolean", "format": "true, false" },
    boolean,
    |on| json!(on)
);
leaf!(
    /// Which files a pass takes.
    Strategy(CompactionStrategy),
    { "enum": ["size", "time", "full"] },
    |given| text(given)?.parse(),
    |strategy| json!(strategy.short())
);
words!(
    /// Which files may be merged with each other.
    Scope(Within), "folder" = Within::Folder, "tenant" = Within::Tenant
);
words!(
    /// What becomes of a file whose name was used before, for other rows.
    OfRewritten(Rewritten), "set-aside" = Rewritten::SetAside, "append" = Rewritten::Append
);
words!(
    /// Whether integers and floats are united.
    Widening(bool), "lossless" = false, "double" = true
);
words!(
    /// What a time without a zone is.
    AssumedZone(&'static str), "UTC" = "UTC"
);
words!(
    /// How snapshots are encoded.
    Encoding(Encodings), "plain" = Encodings::Plain, "delta" = Encodings::Delta
);
leaf!(
    /// What pages are compressed with.
    Compression(Codec),
    { "type": "string", "pattern": "^(none|snappy|gzip|lz4_raw|zstd|zstd\\([0-9]+\\))$", "format": "codec" },
    |given| text(given)?.parse(),
    |codec| json!(codec.to_string())
);
words!(
    /// What proves an archive object.
    Proof(Verify), "checksum" = Verify::Checksum, "readback" = Verify::Readback
);
words!(
    /// The checksum of an upload.
    Checksum(ChecksumAlgorithm),
    "crc64nvme" = ChecksumAlgorithm::Crc64Nvme, "sha256" = ChecksumAlgorithm::Sha256
);
words!(
    /// Who holds the key that archive objects are encrypted with.
    Sse(&'static str), "AES256" = "AES256", "aws:kms" = "aws:kms"
);
words!(
    /// How strictly archive objects are locked.
    LockMode(&'static str), "GOVERNANCE" = "GOVERNANCE", "COMPLIANCE" = "COMPLIANCE"
);
words!(
    /// Where Delta tables are.
    TableLayout(Layout), "per-tenant" = Layout::PerTenant, "shared" = Layout::Shared
);

/// Why `given` is not the kind of value that is `wanted`.
fn misplaced(given: &Value, wanted: &str) -> String {
    let kind = match given {
        Value::Array(_) => return "a list is not expected here: use one value".to_owned(),
        Value::Object(_) => return "a section is not expected here: use one value".to_owned(),
        Value::Bool(_) | Value::Null => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
    };
    format!("{kind} is not expected here: use {wanted}")
}

/// Why `given` is no right value: `is_not` goes on after it.
fn wrong(given: &Value, is_not: &str) -> String {
    match given {
        Value::Array(_) | Value::Object(_) => misplaced(given, ""),
        Value::String(text) => format!("`{text}` {is_not}"),
        other => format!("{other} {is_not}"),
    }
}

/// A text that is not empty.
fn text(given: &Value) -> Result<&str, String> {
    match given.as_str().map(str::trim) {
        Some("") => Err("it is empty: give a value, or leave the key out".to_owned()),
        Some(text) => Ok(text),
        None => Err(misplaced(given, "a text in quotes")),
    }
}

/// Texts, which the file has as a list. Elsewhere a comma is between two of them; none within
/// braces is, so that a glob may hold some.
fn list(given: &Value) -> Result<Vec<&str>, String> {
    let mut depth = 0_usize;
    let ends = |c: char| {
        depth = match c {
            '{' => depth + 1,
            '}' => depth.saturating_sub(1),
            _ => depth,
        };
        c == ',' && depth == 0
    };
    let parts: Vec<&str> = match given {
        Value::String(text) => text.split(ends).collect(),
        Value::Array(items) => {
            let texts: Option<_> = items.iter().map(Value::as_str).collect();
            texts.ok_or("this list must hold nothing but texts")?
        }
        other => return Err(misplaced(other, "a list of texts")),
    };
    let parts = parts.into_iter().map(str::trim);
    Ok(parts.filter(|part| !part.is_empty()).collect())
}

/// An address of the web: `http://host:9091`.
fn web_address(given: &Value) -> Result<Url, String> {
    // What was given may hold a password, and is not repeated.
    web_url(text(given)?, "http://pushgateway:9091")
}

/// The same, of an S3 server, as it was given.
fn endpoint(given: &Value) -> Result<String, String> {
    let address = text(given)?;
    web_url(address, "http://minio:9000").map(|_| address.to_owned())
}

const NOT_WHOLE: &str = "is not possible here: use a whole number, or a text in quotes like \
                         \"1.5GiB\" or \"36h\"";

/// Bytes: `128MiB`, `10MB`, or a plain number.
pub(super) fn size(given: &Value) -> Result<u64, String> {
    const WANTED: &str = "a number of bytes, or one with a unit like \"128MiB\" or \"10MB\"";
    let bytes = match given {
        Value::Number(n) => n.as_u64().ok_or_else(|| wrong(given, NOT_WHOLE))?,
        Value::String(text) => match text.trim().parse::<ByteSize>() {
            Ok(size) => size.as_u64(),
            Err(_) => return Err(wrong(given, &format!("is not a size: use {WANTED}"))),
        },
        other => return Err(misplaced(other, WANTED)),
    };
    if bytes > LARGEST {
        Err(format!("{} is more than any store holds", ByteSize(bytes)))
    } else {
        Ok(bytes)
    }
}

/// A size that must not be zero.
fn some_size(given: &Value) -> Result<u64, String> {
    match size(given)? {
        0 => Err("0 is not possible here: use a size like \"128MiB\"".to_owned()),
        n => Ok(n),
    }
}

/// A whole number, as such or in digits.
fn whole(given: &Value) -> Option<u64> {
    match given {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_u64(),
    }
}

/// A whole number from 1.
fn count(given: &Value) -> Result<usize, String> {
    let n = whole(given).and_then(|n| usize::try_from(n).ok());
    n.filter(|n| *n > 0)
        .ok_or_else(|| wrong(given, "is not possible here: use a whole number from 1"))
}

/// A whole number from 0.
fn natural(given: &Value) -> Result<u64, String> {
    whole(given).ok_or_else(|| wrong(given, "is not possible here: use a whole number from 0"))
}

/// A percentage, whole, from 1 to 100.
fn percent(given: &Value) -> Result<u8, String> {
    let n = whole(given).and_then(|n| u8::try_from(n).ok());
    n.filter(|n| (1..=100).contains(n)).ok_or_else(|| {
        wrong(
            given,
            "is not possible here: use a whole number from 1 to 100",
        )
    })
}

/// A price: digits, and a point with more of them.
fn price(given: &Value) -> Result<f64, String> {
    let is_plain = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_digit())
            && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    };
    let price = match given {
        Value::String(text) if is_plain(text.trim()) => text.trim().parse().ok(),
        other => other.as_f64().filter(|price| *price >= 0.0),
    };
    price.filter(|price| *price <= DEAREST).ok_or_else(|| {
        wrong(
            given,
            "is not a price: use a number like 0.023, with a point and without a currency",
        )
    })
}

/// `24h`, `30d`, `1h 30m`; `0` is the only number that needs no unit.
pub(super) fn duration(given: &Value) -> Result<Duration, String> {
    const WANTED: &str = "a number with a unit like \"30d\", \"24h\" or \"1h 30m\"";
    let text = match given {
        Value::Number(n) if n.as_u64() == Some(0) => return Ok(Duration::ZERO),
        Value::Number(n) if n.is_f64() => return Err(wrong(given, NOT_WHOLE)),
        Value::String(text) if text.trim() == "0" => return Ok(Duration::ZERO),
        Value::String(text) => text.trim(),
        other => return Err(wrong(other, &format!("is not a duration: use {WANTED}"))),
    };
    let parsed = humantime::parse_duration(text)
        .map_err(|_| format!("`{text}` is not a duration: use {WANTED}"))?;
    if parsed > LONGEST {
        Err(format!("`{text}` is too long: 1000 years are the most"))
    } else {
        Ok(parsed)
    }
}

/// A duration that must not be zero.
pub fn some_duration(given: &Value) -> Result<Duration, String> {
    match duration(given)? {
        Duration::ZERO => Err("0 is not possible here: use a duration like \"24h\"".to_owned()),
        d => Ok(d),
    }
}

/// A time to live: a duration, or `forever`.
fn ttl(given: &Value) -> Result<Option<Duration>, String> {
    if given.as_str().is_some_and(|text| text.trim() == "forever") {
        return Ok(None);
    }
    match duration(given).map_err(|e| format!("{e}, or \"forever\""))? {
        // 0 means "for ever" to some tools and "at once" to others: neither may be guessed when
        // rows are at stake.
        Duration::ZERO => Err(
            "0 could mean \"keep for ever\" or \"expire at once\": write \"forever\" to keep \
             rows, or how long to keep them, like \"30d\""
                .to_owned(),
        ),
        d => Ok(Some(d)),
    }
}

/// `true` or `false`.
fn boolean(given: &Value) -> Result<bool, String> {
    match given {
        Value::Bool(on) => Some(*on),
        other => other.as_str().and_then(|text| text.parse().ok()),
    }
    .ok_or_else(|| wrong(given, "is not possible here: use true or false"))
}

/// One of some words.
fn one_of<T: Copy>(given: &Value, words: &[(&'static str, T)]) -> Result<T, String> {
    let text = text(given)?;
    let known = words
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(text));
    known.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("`{text}` is not possible here: use {}", words.join(" or "))
    })
}

/// `128MiB`, `10MB`, `1000001`: the largest unit that loses nothing.
pub fn exact_size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 8] = [
        (bytesize::TIB, "TiB"),
        (bytesize::GIB, "GiB"),
        (bytesize::MIB, "MiB"),
        (bytesize::KIB, "KiB"),
        (bytesize::TB, "TB"),
        (bytesize::GB, "GB"),
        (bytesize::MB, "MB"),
        (bytesize::KB, "kB"),
    ];
    UNITS
        .iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit))
        .map_or_else(
            || bytes.to_string(),
            |(unit, name)| format!("{}{name}", bytes / unit),
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use icepack_core::model::units::DAY;

    #[test]
    fn sizes_take_units_and_plain_bytes() {
        for (written, bytes) in [
            ("128MiB", 128 << 20),
            ("10MB", 10_000_000),
            (" 1.5 GiB ", 3 << 29),
            ("4096", 4096),
            ("64k", 64_000),
            ("0", 0),
        ] {
            assert_eq!(size(&json!(written)), Ok(bytes), "{written}");
        }
        assert_eq!(size(&json!(4096)), Ok(4096));
        for wrong in ["", "many", "-5", "12 parsecs", "99999999999EiB"] {
            assert!(size(&json!(wrong)).is_err(), "{wrong}");
        }
        assert!(some_size(&json!(0)).unwrap_err().contains("128MiB"));
        assert!(size(&json!(true)).is_err());
    }

    #[test]
    fn durations_need_a_unit() {
        for (written, seconds) in [
            ("30d", 30 * 86_400),
            ("24h", 86_400),
            ("1h 30m", 5_400),
            ("1h30m", 5_400),
            ("90s", 90),
            ("0", 0),
            ("0s", 0),
            ("2 weeks", 14 * 86_400),
        ] {
            assert_eq!(
                duration(&json!(written)),
                Ok(Duration::from_secs(seconds)),
                "{written}"
            );
        }
        for wrong in ["30", "forever", "-1d", "soon", "", "5000years"] {
            assert!(duration(&json!(wrong)).is_err(), "{wrong}");
        }
        assert!(duration(&json!(30)).unwrap_err().contains("unit"));
        assert!(some_duration(&json!("0s")).is_err());
    }

    #[test]
    fn a_ttl_may_be_forever_but_never_zero() {
        assert_eq!(ttl(&json!("forever")), Ok(None));
        assert_eq!(ttl(&json!("30d")), Ok(Some(30 * DAY)));
        for zero in [json!("0"), json!("0s"), json!(0)] {
            assert!(ttl(&zero).unwrap_err().contains("\"forever\""));
        }
        assert!(ttl(&json!("soon")).unwrap_err().contains("\"forever\""));
    }

    #[test]
    fn what_is_shown_parses_back() {
        for bytes in [0, 1, 1000, 1024, 10_000_000, 128 << 20, 3 << 40, 1_000_001] {
            assert_eq!(size(&json!(exact_size(bytes))), Ok(bytes));
        }
        for ms in [
            0,
            250,
            1_000,
            5_400_000,
            86_400_000,
            108_000_000,
            2_592_000_000,
        ] {
            let d = Duration::from_millis(ms);
            assert_eq!(duration(&json!(format::duration(d))), Ok(d));
        }
        // Not `0s`, which would be refused as a TTL.
        let odd = Duration::new(1, 2_003_004);
        assert_eq!(
            (
                format::duration(odd).as_str(),
                format::duration(Duration::from_nanos(1)).as_str()
            ),
            ("1s 2ms 3us 4ns", "1ns")
        );
        assert_eq!(duration(&json!(format::duration(odd))), Ok(odd));
        assert_eq!(format::duration(30 * DAY), "30d");
        assert_eq!(exact_size(128 << 20), "128MiB");
    }

    #[test]
    fn an_address_is_of_the_web_and_a_wrong_one_is_not_repeated() {
        assert_eq!(
            web_address(&json!(" http://gate:9091 ")).unwrap().as_str(),
            "http://gate:9091/"
        );
        for wrong in [
            "gate:9091",
            "gate",
            "ftp://me:hunter2@gate",
            "http://me:hunter2@",
            "",
        ] {
            let why = web_address(&json!(wrong)).unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }

    #[test]
    fn counts_and_flags_are_strict() {
        assert_eq!(count(&json!("3")), Ok(3));
        assert_eq!(count(&json!(3)), Ok(3));
        for wrong in [
            json!("0"),
            json!(0),
            json!("-1"),
            json!("three"),
            json!(true),
        ] {
            assert!(count(&wrong).is_err(), "{wrong:?}");
        }
        for (written, number) in [
            (json!("0.023"), 0.023),
            (json!(0.00099), 0.00099),
            (json!(2), 2.0),
            (json!(" 0 "), 0.0),
        ] {
            assert_eq!(price(&written), Ok(number), "{written:?}");
            assert_eq!(
                price(&json!(
                    crate::settings::DisplayValue::new(&json!(number), "price").text
                )),
                Ok(number),
                "what is shown parses back"
            );
        }
        for wrong in [
            "", "-1", "+1", "1e3", "inf", "nan", ".5", "0,023", "$1", "1.2.3", "1000001",
        ]
        .map(|text| json!(text))
        .into_iter()
        .chain([json!(true)])
        {
            assert!(
                price(&wrong).unwrap_err().contains("is not a price"),
                "{wrong:?}"
            );
        }
        assert_eq!([natural(&json!("0")), natural(&json!(90))], [Ok(0), Ok(90)]);
        assert!(
            natural(&json!(1.5)).is_err()
                && count(&json!(1.5)).is_err()
                && size(&json!(1.5)).is_err()
        );
        assert_eq!(
            [percent(&json!("60")), percent(&json!(100))],
            [Ok(60), Ok(100)]
        );
        for wrong in [
            json!(0),
            json!(101),
            json!("60%"),
            json!("300"),
            json!(true),
        ] {
            assert!(
                percent(&wrong).unwrap_err().contains("from 1 to 100"),
                "{wrong:?}"
            );
        }
        assert_eq!(boolean(&json!("true")), Ok(true));
        assert_eq!(boolean(&json!(false)), Ok(false));
        assert!(boolean(&json!("yes")).is_err());
        assert!(text(&json!("  ")).is_err());
        assert!(text(&json!(5)).is_err());
    }
}
