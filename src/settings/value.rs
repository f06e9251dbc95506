//! How sizes, durations and the rest are written in `icepack.toml`, in the environment and in
//! flags, and how they are shown again.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde_json::{Value, json};
use url::Url;

use crate::format;
use crate::store::credentials::web_url;

/// A year of 365.25 days, as humantime counts.
const YEAR: u64 = 31_557_600;

/// Beyond this, adding a duration to a date leaves what dates can hold.
const LONGEST: Duration = Duration::from_secs(1_000 * YEAR);

/// Beyond this, adding two sizes may overflow.
const LARGEST: u64 = 1 << 60;

/// A value as it was written, before anybody knows what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raw<'a> {
    /// From the environment, a flag, or a string of the file.
    Text(&'a str),
    /// From the file.
    Integer(u64),
    /// From the file, as it is written there.
    Decimal(&'a str),
    /// From the file.
    Bool(bool),
}

impl Raw<'_> {
    fn kind(self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) | Self::Decimal(_) => "a number",
            Self::Bool(_) => "true or false",
        }
    }

    fn wrong(self, wanted: &str) -> String {
        format!("{} is not expected here: use {wanted}", self.kind())
    }
}

/// A text that is not empty.
pub fn text(raw: Raw<'_>) -> Result<String, String> {
    match raw {
        Raw::Text(t) if t.trim().is_empty() => {
            Err("it is empty: give a value, or leave the key out".to_owned())
        }
        Raw::Text(t) => Ok(t.trim().to_owned()),
        other => Err(other.wrong("a text in quotes")),
    }
}

/// Texts, which the file has as a list. Elsewhere a comma is between two of them; none within
/// braces is, so that a glob may hold some.
pub fn list(raw: Raw<'_>) -> Result<Vec<String>, String> {
    let Raw::Text(given) = raw else {
        return Err(raw.wrong("a list of texts"));
    };
    let mut depth = 0_usize;
    let ends = |c: char| {
        depth = match c {
            '{' => depth + 1,
            '}' => depth.saturating_sub(1),
            _ => depth,
        };
        c == ',' && depth == 0
    };
    let parts: Vec<&str> = if given.ends_with(LIST_END) {
        given.split_terminator(LIST_END).collect()
    } else {
        given.split(ends).collect()
    };
    Ok(parts
        .into_iter()
        .map(|p| p.trim().to_owned())
        .filter(|p| !p.is_empty())
        .collect())
}

/// What the file's lists have behind each of their texts. No key holds one.
pub const LIST_END: char = '\n';

/// A directory.
pub fn path(raw: Raw<'_>) -> Result<PathBuf, String> {
    text(raw).map(PathBuf::from)
}

/// An address of the web: `http://host:9091`.
pub fn web_address(raw: Raw<'_>) -> Result<Url, String> {
    // What was given may hold a password, and is not repeated.
    web_url(&text(raw)?, "http://pushgateway:9091")
}

/// The same, of an S3 server, as it was given.
pub fn endpoint(raw: Raw<'_>) -> Result<String, String> {
    let given = text(raw)?;
    web_url(&given, "http://minio:9000").map(|_| given)
}

/// Bytes: `128MiB`, `10MB`, or a plain number.
pub fn size(raw: Raw<'_>) -> Result<u64, String> {
    const WANTED: &str = "a number of bytes, or one with a unit like \"128MiB\" or \"10MB\"";
    let bytes = match raw {
        Raw::Integer(n) => n,
        Raw::Text(t) => t
            .trim()
            .parse::<ByteSize>()
            .map_err(|_| format!("`{t}` is not a size: use {WANTED}"))?
            .as_u64(),
        Raw::Decimal(_) => return Err(decimal_not_possible(raw)),
        Raw::Bool(_) => return Err(raw.wrong(WANTED)),
    };
    if bytes > LARGEST {
        Err(format!("{} is more than any store holds", ByteSize(bytes)))
    } else {
        Ok(bytes)
    }
}

/// A size that must not be zero.
pub fn some_size(raw: Raw<'_>) -> Result<u64, String> {
    match size(raw)? {
        0 => Err("0 is not possible here: use a size like \"128MiB\"".to_owned()),
        n => Ok(n),
    }
}

/// A whole number from 1.
pub fn count(raw: Raw<'_>) -> Result<usize, String> {
    let n = natural(raw).ok().and_then(|n| usize::try_from(n).ok());
    n.filter(|n| *n > 0).ok_or_else(|| {
        format!(
            "{} is not possible here: use a whole number from 1",
            show_raw(raw)
        )
    })
}

/// A whole number from 0.
pub fn natural(raw: Raw<'_>) -> Result<u64, String> {
    let n = match raw {
        Raw::Integer(n) => Some(n),
        Raw::Text(t) => t.trim().parse().ok(),
        Raw::Decimal(_) | Raw::Bool(_) => None,
    };
    n.ok_or_else(|| {
        format!(
            "{} is not possible here: use a whole number from 0",
            show_raw(raw)
        )
    })
}

/// Above this, a price is a slip.
const DEAREST: f64 = 1_000_000.0;

/// A price: digits, and a point with more of them.
pub fn price(raw: Raw<'_>) -> Result<f64, String> {
    let given = match raw {
        Raw::Integer(n) => n.to_string(),
        Raw::Text(t) | Raw::Decimal(t) => t.trim().to_owned(),
        Raw::Bool(_) => String::new(),
    };
    let is_plain = given.starts_with(|c: char| c.is_ascii_digit())
        && given.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let price = given
        .parse()
        .ok()
        .filter(|p: &f64| is_plain && *p <= DEAREST);
    price.ok_or_else(|| {
        format!(
            "{} is not a price: use a number like 0.023, with a point and without a currency",
            show_raw(raw)
        )
    })
}

fn decimal_not_possible(raw: Raw<'_>) -> String {
    format!(
        "{} is not possible here: use a whole number, or a text in quotes like \"1.5GiB\" or \
         \"36h\"",
        show_raw(raw)
    )
}

/// A percentage, whole, from 1 to 100.
pub fn percent(raw: Raw<'_>) -> Result<u8, String> {
    let n = count(raw)
        .ok()
        .and_then(|n| u8::try_from(n).ok())
        .filter(|n| *n <= 100);
    n.ok_or_else(|| {
        format!(
            "{} is not possible here: use a whole number from 1 to 100",
            show_raw(raw)
        )
    })
}

/// `24h`, `30d`, `1h 30m`; `0` is the only number that needs no unit.
pub fn duration(raw: Raw<'_>) -> Result<Duration, String> {
    const WANTED: &str = "a number with a unit like \"30d\", \"24h\" or \"1h 30m\"";
    let text = match raw {
        Raw::Integer(0) => return Ok(Duration::ZERO),
        Raw::Text(t) if t.trim() == "0" => return Ok(Duration::ZERO),
        Raw::Text(t) => t.trim(),
        Raw::Decimal(_) => return Err(decimal_not_possible(raw)),
        Raw::Integer(_) | Raw::Bool(_) => {
            return Err(format!("{} is not a duration: use {WANTED}", show_raw(raw)));
        }
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
pub fn some_duration(raw: Raw<'_>) -> Result<Duration, String> {
    match duration(raw)? {
        Duration::ZERO => Err("0 is not possible here: use a duration like \"24h\"".to_owned()),
        d => Ok(d),
    }
}

/// A time to live: a duration, or `forever`.
pub fn ttl(raw: Raw<'_>) -> Result<Option<Duration>, String> {
    if let Raw::Text(t) = raw
        && t.trim() == "forever"
    {
        return Ok(None);
    }
    match duration(raw).map_err(|e| format!("{e}, or \"forever\""))? {
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
pub fn boolean(raw: Raw<'_>) -> Result<bool, String> {
    match raw {
        Raw::Bool(b) => Ok(b),
        Raw::Text("true") => Ok(true),
        Raw::Text("false") => Ok(false),
        other => Err(format!(
            "{} is not possible here: use true or false",
            show_raw(other)
        )),
    }
}

/// One of some words.
pub fn one_of<T: Copy>(raw: Raw<'_>, words: &[(&'static str, T)]) -> Result<T, String> {
    let given = text(raw)?;
    let names = || {
        words
            .iter()
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(" or ")
    };
    words
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(&given))
        .map(|(_, value)| *value)
        .ok_or_else(|| format!("`{given}` is not possible here: use {}", names()))
}

fn show_raw(raw: Raw<'_>) -> String {
    match raw {
        Raw::Text(t) => format!("`{t}`"),
        Raw::Integer(n) => n.to_string(),
        Raw::Decimal(d) => d.to_owned(),
        Raw::Bool(b) => b.to_string(),
    }
}

/// A value for people and for programs.
#[derive(Debug, Clone, PartialEq)]
pub struct DisplayValue {
    /// For people: parses back to the same value.
    pub text: String,
    /// Bytes and seconds as numbers, what is not set as null.
    pub json: Value,
}

impl DisplayValue {
    /// Not set.
    pub fn nothing() -> Self {
        Self {
            text: "-".to_owned(),
            json: Value::Null,
        }
    }

    /// A text, or nothing.
    pub fn text(value: Option<&str>) -> Self {
        value.map_or_else(Self::nothing, |v| Self {
            text: v.to_owned(),
            json: json!(v),
        })
    }

    /// Texts, or nothing.
    pub fn list(values: &[String]) -> Self {
        if values.is_empty() {
            Self::nothing()
        } else {
            Self {
                text: values.join(", "),
                json: json!(values),
            }
        }
    }

    /// Bytes.
    pub fn size(bytes: u64) -> Self {
        Self {
            text: exact_size(bytes),
            json: json!(bytes),
        }
    }

    /// A number.
    pub fn count(n: usize) -> Self {
        Self {
            text: n.to_string(),
            json: json!(n),
        }
    }

    /// A price.
    pub fn price(price: f64) -> Self {
        Self {
            text: price.to_string(),
            json: json!(price),
        }
    }

    /// A number.
    pub fn natural(n: u64) -> Self {
        Self {
            text: n.to_string(),
            json: json!(n),
        }
    }

    /// Seconds.
    pub fn duration(d: Duration) -> Self {
        let json = if d.subsec_nanos() == 0 {
            json!(d.as_secs())
        } else {
            json!(d.as_secs_f64())
        };
        Self {
            text: format::duration(d),
            json,
        }
    }

    /// A duration, or `forever`.
    pub fn ttl(ttl: Option<Duration>) -> Self {
        ttl.map_or_else(|| Self::text(Some("forever")), Self::duration)
    }

    /// The word for a value.
    pub fn name_of<T: PartialEq>(value: &T, words: &[(&'static str, T)]) -> Self {
        Self::text(
            words
                .iter()
                .find(|(_, v)| v == value)
                .map(|(name, _)| *name),
        )
    }

    /// True or false.
    pub fn boolean(b: bool) -> Self {
        Self {
            text: b.to_string(),
            json: json!(b),
        }
    }
}

/// `128MiB`, `10MB`, `1000001`: the largest unit that loses nothing.
fn exact_size(bytes: u64) -> String {
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

    const DAY: Duration = Duration::from_secs(86_400);

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
            assert_eq!(size(Raw::Text(written)), Ok(bytes), "{written}");
        }
        assert_eq!(size(Raw::Integer(4096)), Ok(4096));
        for wrong in ["", "many", "-5", "12 parsecs", "99999999999EiB"] {
            assert!(size(Raw::Text(wrong)).is_err(), "{wrong}");
        }
        assert!(some_size(Raw::Integer(0)).unwrap_err().contains("128MiB"));
        assert!(size(Raw::Bool(true)).is_err());
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
                duration(Raw::Text(written)),
                Ok(Duration::from_secs(seconds)),
                "{written}"
            );
        }
        for wrong in ["30", "forever", "-1d", "soon", "", "5000years"] {
            assert!(duration(Raw::Text(wrong)).is_err(), "{wrong}");
        }
        assert!(duration(Raw::Integer(30)).unwrap_err().contains("unit"));
        assert!(some_duration(Raw::Text("0s")).is_err());
    }

    #[test]
    fn a_ttl_may_be_forever_but_never_zero() {
        assert_eq!(ttl(Raw::Text("forever")), Ok(None));
        assert_eq!(ttl(Raw::Text("30d")), Ok(Some(30 * DAY)));
        for zero in [Raw::Text("0"), Raw::Text("0s"), Raw::Integer(0)] {
            assert!(ttl(zero).unwrap_err().contains("\"forever\""));
        }
        assert!(ttl(Raw::Text("soon")).unwrap_err().contains("\"forever\""));
    }

    #[test]
    fn what_is_shown_parses_back() {
        for bytes in [0, 1, 1000, 1024, 10_000_000, 128 << 20, 3 << 40, 1_000_001] {
            assert_eq!(size(Raw::Text(&exact_size(bytes))), Ok(bytes));
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
            assert_eq!(duration(Raw::Text(&format::duration(d))), Ok(d));
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
        assert_eq!(duration(Raw::Text(&format::duration(odd))), Ok(odd));
        assert_eq!(format::duration(30 * DAY), "30d");
        assert_eq!(exact_size(128 << 20), "128MiB");
    }

    #[test]
    fn an_address_is_of_the_web_and_a_wrong_one_is_not_repeated() {
        assert_eq!(
            web_address(Raw::Text(" http://gate:9091 "))
                .unwrap()
                .as_str(),
            "http://gate:9091/"
        );
        for wrong in [
            "gate:9091",
            "gate",
            "ftp://me:hunter2@gate",
            "http://me:hunter2@",
            "",
        ] {
            let why = web_address(Raw::Text(wrong)).unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }

    #[test]
    fn counts_and_flags_are_strict() {
        assert_eq!(count(Raw::Text("3")), Ok(3));
        assert_eq!(count(Raw::Integer(3)), Ok(3));
        for wrong in [
            Raw::Text("0"),
            Raw::Integer(0),
            Raw::Text("-1"),
            Raw::Text("three"),
            Raw::Bool(true),
        ] {
            assert!(count(wrong).is_err(), "{wrong:?}");
        }
        for (written, number) in [
            (Raw::Text("0.023"), 0.023),
            (Raw::Decimal("0.00099"), 0.00099),
            (Raw::Integer(2), 2.0),
            (Raw::Text(" 0 "), 0.0),
        ] {
            assert_eq!(price(written), Ok(number), "{written:?}");
            assert_eq!(
                price(Raw::Text(&DisplayValue::price(number).text)),
                Ok(number),
                "what is shown parses back"
            );
        }
        for wrong in [
            "", "-1", "+1", "1e3", "inf", "nan", ".5", "0,023", "$1", "1.2.3", "1000001",
        ]
        .map(Raw::Text)
        .into_iter()
        .chain([Raw::Bool(true)])
        {
            assert!(
                price(wrong).unwrap_err().contains("is not a price"),
                "{wrong:?}"
            );
        }
        assert_eq!(
            [natural(Raw::Text("0")), natural(Raw::Integer(90))],
            [Ok(0), Ok(90)]
        );
        assert!(
            natural(Raw::Decimal("1.5")).is_err()
                && count(Raw::Decimal("1.5")).is_err()
                && size(Raw::Decimal("1.5")).is_err()
        );
        assert_eq!(
            [percent(Raw::Text("60")), percent(Raw::Integer(100))],
            [Ok(60), Ok(100)]
        );
        for wrong in [
            Raw::Integer(0),
            Raw::Integer(101),
            Raw::Text("60%"),
            Raw::Text("300"),
            Raw::Bool(true),
        ] {
            assert!(
                percent(wrong).unwrap_err().contains("from 1 to 100"),
                "{wrong:?}"
            );
        }
        assert_eq!(boolean(Raw::Text("true")), Ok(true));
        assert_eq!(boolean(Raw::Bool(false)), Ok(false));
        assert!(boolean(Raw::Text("yes")).is_err());
        assert!(text(Raw::Text("  ")).is_err());
        assert!(text(Raw::Integer(5)).is_err());
    }
}
