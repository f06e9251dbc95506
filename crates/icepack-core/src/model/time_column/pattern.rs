//! Times in text and in names of folders, by a strftime format.

use chrono::format::{Fixed, Item, Parsed, parse};
use chrono::{DateTime, Months, NaiveTime, TimeDelta, TimeZone, Utc, Weekday};
use percent_encoding::percent_decode_str;

use super::items;
use crate::model::file::Micros;

/// A folder's value where a row has none.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// From the first microsecond to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    pub first: Micros,
    pub last: Micros,
}

/// Whether a format tells a time: what it makes of one, it must read again.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub(super) fn check(format: &str) -> Result<(), String> {
    let parts = items(format);
    if parts.contains(&Item::Error) {
        return Err(format!(
            "`{format}` is not a format: `%` stands before a letter, as in %Y-%m-%d %H:%M:%S"
        ));
    }
    if parts.contains(&Item::Fixed(Fixed::TimezoneName)) {
        return Err(format!(
            "`{format}` cannot be used: %Z is the name of a zone, which does not say how far it is \
             from UTC; %z does"
        ));
    }
    let sample = Utc.with_ymd_and_hms(2026, 11, 28, 17, 45, 39).single();
    let sample = sample.unwrap_or_default();
    let text = sample.format_with_items(parts.iter()).to_string();
    let again = parse_text(&parts, &text)
        .and_then(DateTime::from_timestamp_micros)
        .map(|at| at.format_with_items(parts.iter()).to_string());
    if again.as_deref() == Some(&text) {
        Ok(())
    } else {
        Err(format!(
            "`{format}` does not tell a time: a year is the least that it needs, and an hour of 12 \
             needs %p"
        ))
    }
}

/// Microseconds since 1970 of a text by a format. Without a zone it is UTC, a leap second is the
/// first of the next minute, and what is missing is the first there is.
pub fn parse_text(parts: &[Item<'_>], text: &str) -> Option<i64> {
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, parts.iter()).ok()?;
    begin(&mut parsed).map(|at| at.timestamp_micros())
}

/// The first instant of what was parsed.
fn begin(parsed: &mut Parsed) -> Option<DateTime<Utc>> {
    if parsed.timestamp().is_none() {
        fill(parsed)?;
    }
    if parsed.offset().is_some() {
        return Some(parsed.to_datetime().ok()?.to_utc());
    }
    let whole = parsed.to_naive_datetime_with_offset(0);
    let at = whole.or_else(|_| Ok(parsed.to_naive_date()?.and_time(NaiveTime::MIN)));
    at.map(|at: chrono::NaiveDateTime| at.and_utc())
        .map_err(|_: chrono::ParseError| ())
        .ok()
}

/// Sets what is not there to the first of it.
fn fill(parsed: &mut Parsed) -> Option<()> {
    if parsed.isoweek().is_some() {
        if parsed.weekday().is_none() {
            parsed.set_weekday(Weekday::Mon).ok()?;
        }
    } else if parsed.ordinal().is_none()
        && parsed.week_from_sun().is_none()
        && parsed.week_from_mon().is_none()
    {
        if parsed.month().is_none() {
            let quarter = parsed.quarter().unwrap_or(1);
            parsed.set_month(i64::from(quarter) * 3 - 2).ok()?;
        }
        if parsed.day().is_none() {
            parsed.set_day(1).ok()?;
        }
    }
    if parsed.hour_div_12().is_some() && parsed.minute().is_none() {
        parsed.set_minute(0).ok()?;
    }
    Some(())
}

/// How long what was parsed lasts.
enum Lasts {
    Time(TimeDelta),
    Months(u32),
}

impl Lasts {
    /// Of what is there, before anything is filled in.
    fn of(parsed: &Parsed) -> Self {
        if parsed.timestamp().is_some() || parsed.second().is_some() {
            Self::Time(TimeDelta::seconds(1))
        } else if parsed.minute().is_some() {
            Self::Time(TimeDelta::minutes(1))
        } else if parsed.hour_div_12().is_some() {
            Self::Time(TimeDelta::hours(1))
        } else if parsed.day().is_some() || parsed.ordinal().is_some() || parsed.weekday().is_some()
        {
            Self::Time(TimeDelta::days(1))
        } else if parsed.isoweek().is_some() {
            Self::Time(TimeDelta::days(7))
        } else if parsed.month().is_some() {
            Self::Months(1)
        } else if parsed.quarter().is_some() {
            Self::Months(3)
        } else {
            Self::Months(12)
        }
    }
}

/// The period that the folders of `key` tell, by the last stretch of them that matches; none where
/// one of them stands for no value.
///
/// # Errors
/// Where none matches, in a sentence.
pub(super) fn of_key(pattern: &str, key: &str) -> Result<Option<Period>, String> {
    let folder = crate::model::names::folder(key);
    let folders: Vec<String> = folder.split('/').map(decoded).collect();
    let (parts, many) = (items(pattern), pattern.split('/').count());
    let stretches = folders.windows(many).rev();
    let found = stretches
        .filter_map(|stretch| period(&parts, &stretch.join("/")))
        .next();
    let is_null = || folders.iter().any(|f| f.ends_with(NULL));
    match found {
        Some(period) => Ok(Some(period)),
        None if is_null() => Ok(None),
        None => Err(format!(
            "no part of its folder `{folder}` matches `{pattern}`: set `timestamp_column` to `path` \
             and a pattern that does, or to a column"
        )),
    }
}

/// As it was before it was escaped.
fn decoded(folder: &str) -> String {
    match percent_decode_str(folder).decode_utf8() {
        Ok(text) if !text.contains('/') => text.into_owned(),
        _ => folder.to_owned(),
    }
}

fn period(parts: &[Item<'_>], text: &str) -> Option<Period> {
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, parts.iter()).ok()?;
    let lasts = Lasts::of(&parsed);
    let first = begin(&mut parsed)?;
    let next = match lasts {
        Lasts::Time(length) => first.checked_add_signed(length)?,
        Lasts::Months(months) => first.checked_add_months(Months::new(months))?,
    };
    Some(Period {
        first: Micros(first.timestamp_micros()),
        last: Micros(next.timestamp_micros() - 1),
    })
}
