//! Converts values to times.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt64Type,
};
use chrono::NaiveDate;

use crate::schema::canonical;
use icepack_core::model::time_column::{EpochUnit, Form, items, parse_text};

/// Seconds of a day.
pub(super) const DAY_SECONDS: i64 = 86_400;

/// The key of each value, and `i64::MIN` for those of `nulls`.
pub(super) fn keys(
    array: &ArrayRef,
    nulls: Option<NullBuffer>,
    form: &Form,
) -> Result<ScalarBuffer<i64>, String> {
    let plain = plain(array)?;
    let keys = match form {
        Form::Text(format) => {
            let parts = items(format);
            texts(&plain, |text| parse_text(&parts, text))
        }
        Form::Plain => times(&plain).or_else(|| texts(&plain, iso_micros)),
        Form::Number(unit) => numbers(&plain, *unit),
    };
    let keys = keys.ok_or_else(|| format!("{} is no time in this form", array.data_type()))?;
    Ok(match nulls.filter(|n| n.null_count() > 0) {
        None => keys,
        Some(nulls) => keys
            .iter()
            .zip(nulls.iter())
            .map(|(key, valid)| if valid { *key } else { i64::MIN })
            .collect(),
    })
}

/// Without a dictionary or run-ends. Strings stay views.
fn plain(array: &ArrayRef) -> Result<Cow<'_, ArrayRef>, String> {
    Ok(match array.data_type() {
        DataType::Dictionary(..) | DataType::RunEndEncoded(..) => {
            Cow::Owned(cast(array, &canonical(array.data_type()))?)
        }
        _ => Cow::Borrowed(array),
    })
}

fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, String> {
    arrow::compute::cast(array, to).map_err(|e| e.to_string())
}

/// Of timestamps in their unit, of dates in seconds.
fn times(array: &ArrayRef) -> Option<ScalarBuffer<i64>> {
    Some(match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            array.as_primitive::<TimestampSecondType>().values().clone()
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => array
            .as_primitive::<TimestampMillisecondType>()
            .values()
            .clone(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => array
            .as_primitive::<TimestampMicrosecondType>()
            .values()
            .clone(),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => array
            .as_primitive::<TimestampNanosecondType>()
            .values()
            .clone(),
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>().values().iter();
            days.map(|day| i64::from(*day) * DAY_SECONDS).collect()
        }
        DataType::Date64 => {
            let millis = array.as_primitive::<Date64Type>().values().iter();
            // What is more than a day is not written.
            millis
                .map(|ms| ms.div_euclid(DAY_SECONDS * 1_000) * DAY_SECONDS)
                .collect()
        }
        _ => return None,
    })
}

/// Of integers in their unit; of floating-point numbers in microseconds, or in nanoseconds where
/// they count these. A number beyond i64 is its end, which keeps the order.
fn numbers(array: &ArrayRef, unit: EpochUnit) -> Option<ScalarBuffer<i64>> {
    let kind = array.data_type();
    Some(match kind {
        DataType::Int64 => array.as_primitive::<Int64Type>().values().clone(),
        DataType::UInt64 => {
            let numbers = array.as_primitive::<UInt64Type>().values().iter();
            numbers
                .map(|n| i64::try_from(*n).unwrap_or(i64::MAX))
                .collect()
        }
        _ if kind.is_integer() => {
            let wide = cast(array, &DataType::Int64).ok()?;
            wide.as_primitive::<Int64Type>().values().clone()
        }
        _ if kind.is_floating() => {
            let wide = cast(array, &DataType::Float64).ok()?;
            let factor = match unit {
                EpochUnit::Seconds => 1e6,
                EpochUnit::Millis => 1e3,
                EpochUnit::Micros | EpochUnit::Nanos => 1.0,
            };
            let numbers = wide.as_primitive::<Float64Type>().values().iter();
            numbers.map(|n| float_key(*n, factor)).collect()
        }
        _ => return None,
    })
}

/// Rounded down: it is before a time of whole units exactly where the number is. What does not fit is
/// the end of i64.
fn float_key(n: f64, factor: f64) -> i64 {
    if n.is_finite() {
        (n * factor).floor() as i64
    } else {
        i64::MIN
    }
}

/// In microseconds. Text that is no time has none.
fn texts(array: &ArrayRef, read: impl Fn(&str) -> Option<i64>) -> Option<ScalarBuffer<i64>> {
    let key = |text: Option<&str>| text.and_then(&read).unwrap_or(i64::MIN);
    Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().iter().map(key).collect(),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().map(key).collect(),
        DataType::Utf8View => array.as_string_view().iter().map(key).collect(),
        _ => return None,
    })
}

/// Microseconds since 1970 of a date, or a date and a time, as ISO 8601 and RFC 3339 write them: in
/// UTC where it names no zone. A leap second is the first of the next minute.
fn iso_micros(text: &str) -> Option<i64> {
    let mut rest = Digits(text.trim_ascii().as_bytes());
    let year = rest.number(4)?;
    let is_extended = rest.takes(b'-');
    let month = rest.number(2)?;
    if is_extended && !rest.takes(b'-') {
        return None;
    }
    let day = rest.number(2)?;
    let date = NaiveDate::from_ymd_opt(
        i32::try_from(year).ok()?,
        u32::try_from(month).ok()?,
        u32::try_from(day).ok()?,
    )?;
    let midnight = date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros();
    if rest.0.is_empty() {
        return Some(midnight);
    }
    if !(rest.takes(b'T') || rest.takes(b't') || rest.takes(b' ')) {
        return None;
    }
    let time = rest.time()?;
    let offset = rest.offset()?;
    rest.0
        .is_empty()
        .then_some(midnight + time - offset * 1_000_000)
}

/// What is left of a text.
struct Digits<'t>(&'t [u8]);

impl Digits<'_> {
    /// The next `digits` digits.
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        if !number.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.0 = rest;
        Some(number.iter().fold(0, |n, d| n * 10 + i64::from(d - b'0')))
    }

    /// Whether `byte` was next.
    fn takes(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn takes_text(&mut self, text: &[u8]) -> bool {
        match self.0.strip_prefix(text) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// Microseconds since midnight.
    fn time(&mut self) -> Option<i64> {
        let hour = self.number(2)?;
        let is_extended = self.takes(b':');
        let minute = self.number(2)?;
        let has_second = if is_extended {
            self.takes(b':')
        } else {
            self.0.first().is_some_and(u8::is_ascii_digit)
        };
        let second = if has_second { self.number(2)? } else { 0 };
        let mut micros = 0;
        if has_second && (self.takes(b'.') || self.takes(b',')) {
            micros = self.fraction()?;
        }
        let is_midnight = hour == 24 && (minute, second, micros) == (0, 0, 0);
        let is_time = (hour < 24 && minute < 60 && second <= 60) || is_midnight;
        is_time.then_some(((hour * 60 + minute) * 60 + second) * 1_000_000 + micros)
    }

    /// Microseconds, rounded down.
    fn fraction(&mut self) -> Option<i64> {
        let digits = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        let (fraction, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        if fraction.is_empty() {
            return None;
        }
        let padded = fraction.iter().copied().chain(std::iter::repeat(b'0'));
        Some(padded.take(6).fold(0, |n, d| n * 10 + i64::from(d - b'0')))
    }

    /// Seconds east of UTC.
    fn offset(&mut self) -> Option<i64> {
        self.takes(b' ');
        if self.0.is_empty() || self.takes(b'Z') || self.takes(b'z') || self.takes_text(b"UTC") {
            return Some(0);
        }
        let sign = if self.takes(b'+') {
            1
        } else if self.takes(b'-') {
            -1
        } else {
            return None;
        };
        let hours = self.number(2)?;
        let minutes = if self.takes(b':') || !self.0.is_empty() {
            self.number(2)?
        } else {
            0
        };
        (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    #[test]
    fn text_is_a_time_by_iso_8601_or_it_is_none() {
        for (text, expected) in [
            ("2026-01-01", Some("2026-01-01T00:00:00Z")),
            ("20260101", Some("2026-01-01T00:00:00Z")),
            ("2026-01-01T07:05", Some("2026-01-01T07:05:00Z")),
            ("2026-01-01 07:05:09", Some("2026-01-01T07:05:09Z")),
            ("20260101T070509Z", Some("2026-01-01T07:05:09Z")),
            ("2026-01-01t07:05:09z", Some("2026-01-01T07:05:09Z")),
            (" 2026-01-01 07:05:09 UTC ", Some("2026-01-01T07:05:09Z")),
            ("2026-01-01T07:05:09.5", Some("2026-01-01T07:05:09.5Z")),
            (
                "2026-01-01T07:05:09,123456789Z",
                Some("2026-01-01T07:05:09.123456Z"),
            ),
            // The hour that a clock shows twice, and the one that it skips.
            ("2026-10-25T02:30:00+02:00", Some("2026-10-25T00:30:00Z")),
            ("2026-10-25T02:30:00+0100", Some("2026-10-25T01:30:00Z")),
            ("2026-03-29T02:30:00+01", Some("2026-03-29T01:30:00Z")),
            ("2026-01-01 00:00:00 -09:30", Some("2026-01-01T09:30:00Z")),
            ("2016-12-31T23:59:60Z", Some("2017-01-01T00:00:00Z")),
            ("2016-12-31T23:59:60.25Z", Some("2017-01-01T00:00:00.25Z")),
            ("2026-01-01T24:00:00", Some("2026-01-02T00:00:00Z")),
            ("0001-01-01T00:00:00Z", Some("0001-01-01T00:00:00Z")),
            (
                "9999-12-31T23:59:59.999999Z",
                Some("9999-12-31T23:59:59.999999Z"),
            ),
            ("1969-12-31T23:59:59.5Z", Some("1969-12-31T23:59:59.5Z")),
            ("", None),
            ("now", None),
            ("2026", None),
            ("2026-01", None),
            ("2026-1-1", None),
            ("2026-02-29", None),
            ("2026-0101", None),
            ("2026-01-01X00:00", None),
            ("2026-01-01T", None),
            ("2026-01-01T24:00:01", None),
            ("2026-01-01T00:60", None),
            ("2026-01-01T00:00:61", None),
            ("2026-01-01T00:00:00.", None),
            ("2026-01-01T00:00:00 CET", None),
            ("2026-01-01T00:00:00+24:00", None),
            ("2026-01-01T00:00:00Z and more", None),
            ("２０２６-01-01", None),
        ] {
            let expected = expected.map(|t| DateTime::parse_from_rfc3339(t).unwrap());
            assert_eq!(
                iso_micros(text),
                expected.map(|t| t.timestamp_micros()),
                "{text}"
            );
        }
    }

    #[test]
    fn numbers_beyond_the_range_are_its_ends_and_what_is_no_number_has_no_time() {
        for (n, factor, expected) in [
            (1.5, 1e6, 1_500_000),
            (-0.000_000_5, 1e6, -1),
            (1e300, 1e6, i64::MAX),
            (-1e300, 1e6, i64::MIN),
            (f64::NAN, 1.0, i64::MIN),
            (f64::INFINITY, 1.0, i64::MIN),
            (f64::NEG_INFINITY, 1.0, i64::MIN),
        ] {
            assert_eq!(float_key(n, factor), expected, "{n}");
        }
    }
}
