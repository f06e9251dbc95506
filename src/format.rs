//! Numbers, sizes and times as people read them, in tables and in the report.

use std::time::Duration;

use bytesize::ByteSize;
use chrono::{DateTime, Utc};
use icepack_core::model::file::Micros;

/// `4,000,000`
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `12.3 MiB`
pub fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

/// `1 file`, `2 files`
pub fn plural(n: u64, one: &str) -> String {
    format!("{} {one}{}", count(n), if n == 1 { "" } else { "s" })
}

/// `820ms`, `4.2s`, `3m 20s`, `2h 5m`
pub fn took(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{}m {}s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{}h {}m", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// Its two largest units: `3d 4h`, `12m`, `5s`.
pub fn about(seconds: u64) -> String {
    let whole = match seconds {
        0..3_600 => seconds,
        3_600..86_400 => seconds / 60 * 60,
        _ => seconds / 3_600 * 3_600,
    };
    duration(Duration::from_secs(whole))
}

/// `30d`, `1d 6h`, `1m 30s`, `250ms`.
pub fn duration(d: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut rest = d.as_secs();
    let mut parts = Vec::new();
    for (unit, name) in UNITS {
        if rest >= unit {
            parts.push(format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    let nanos = d.subsec_nanos();
    for (n, name) in [
        (nanos / 1_000_000, "ms"),
        (nanos / 1_000 % 1_000, "us"),
        (nanos % 1_000, "ns"),
    ] {
        if n > 0 {
            parts.push(format!("{n}{name}"));
        }
    }
    if parts.is_empty() {
        "0s".to_owned()
    } else {
        parts.join(" ")
    }
}

/// `2026-04-27 13:45`, UTC.
pub fn minute(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M").to_string()
}

/// `2026-04-27 13:45:07Z`
pub fn second(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// [`minute`] of a row's time, or nothing.
pub fn row_time(time: Option<Micros>) -> String {
    time.map(|t| minute(t.to_datetime())).unwrap_or_default()
}

/// The text without line breaks and control characters: keys and servers' messages must not be able
/// to move the cursor or fake a line.
pub fn one_line(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if clean.contains("  ") {
        clean.split_whitespace().collect::<Vec<_>>().join(" ")
    } else {
        clean
    }
}

/// The text in one line, with line breaks and control characters as a literal in source code shows
/// them: `\n`.
pub fn escape_control_characters(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_break_out_of_its_line() {
        assert_eq!(one_line("a\n  b\x1b[31mc"), "a b [31mc");
        assert_eq!(one_line("plain"), "plain");
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escape_control_characters("a\nb  é"), "a\\nb  é");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [0, 12, 999, 1_000, 1_234_567].map(count),
            ["0", "12", "999", "1,000", "1,234,567"]
        );
        assert_eq!(plural(1, "file"), "1 file");
        assert_eq!(plural(2_000, "file"), "2,000 files");
    }

    #[test]
    fn times_are_short() {
        assert_eq!(
            [7, 4_250, 200_000, 7_500_000].map(took),
            ["7ms", "4.2s", "3m 20s", "2h 5m"]
        );
        assert_eq!(
            [5, 725, 3_725, 100_000].map(about),
            ["5s", "12m 5s", "1h 2m", "1d 3h"]
        );
        assert_eq!(
            row_time(Some(Micros(1_777_297_507_000_000))),
            "2026-04-27 13:45"
        );
    }
}
