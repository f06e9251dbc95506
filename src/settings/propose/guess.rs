//! What dates a row where no column is a timestamp: a column that looks like a time, or the folder.

use std::collections::{BTreeMap, BTreeSet};

use icepack_core::model::names::folder;
use icepack_core::model::sample::{FileSample, Likely};
use icepack_core::model::time_column::TimeColumn;

/// Columns that are proposed at most.
const MOST: usize = 5;

/// What looks like a time in half of the files at least, by its name: dates only where nothing else
/// does.
pub(super) fn likely(files: &[&FileSample]) -> Vec<(String, Likely)> {
    let mut found: BTreeMap<&str, (Likely, usize)> = BTreeMap::new();
    for (name, looks) in files.iter().flat_map(|f| &f.likely) {
        let known = found.entry(name).or_insert_with(|| (looks.clone(), 0));
        *known = (known.0.clone().with(looks.clone()), known.1 + 1);
    }
    found.retain(|_, (_, times)| *times * 2 >= files.len());
    let found = found
        .into_iter()
        .map(|(name, (looks, _))| (name.to_owned(), looks));
    let is_date = |(_, looks): &(String, Likely)| looks.what == Likely::dates(0, 0).what;
    let (dates, times): (Vec<_>, Vec<_>) = found.partition(is_date);
    let best = if times.is_empty() { dates } else { times };
    best.into_iter().take(MOST).collect()
}

/// The setting by which the folders of all files date their rows: `path dt=%Y-%m-%d/hour=%H`.
pub(super) fn path(files: &[&FileSample]) -> Option<TimeColumn> {
    let patterns: BTreeSet<String> = files.iter().filter_map(|f| pattern(&f.key)).collect();
    let mut settings = patterns
        .iter()
        .filter_map(|pattern| format!("path {pattern}").parse::<TimeColumn>().ok());
    settings.find(|column| {
        files
            .iter()
            .all(|f| matches!(column.period(&f.key), Some(Ok(_))))
    })
}

/// What folders say of a time, the coarsest first.
const PARTS: [(&str, &[&str]); 4] = [
    ("%Y", &["year", "y"]),
    ("%m", &["month", "m"]),
    ("%d", &["day", "d"]),
    ("%H", &["hour", "h", "hr"]),
];

/// The folders of `key` that look like a time: the first that says a year, and those behind it that
/// say more.
fn pattern(key: &str) -> Option<String> {
    let (mut found, mut known): (Vec<String>, usize) = (Vec::new(), 0);
    for folder in folder(key).split('/') {
        let (name, value) = folder.split_once('=').unwrap_or(("", folder));
        match part(name, value, known) {
            Some((part, until)) => {
                let name = name.replace('%', "%%");
                let sign = if folder.contains('=') { "=" } else { "" };
                found.push(format!("{name}{sign}{part}"));
                known = until;
            }
            None if found.is_empty() => {}
            None => break,
        }
    }
    (!found.is_empty()).then(|| found.join("/"))
}

/// The format of a value, and how many parts of a time are known by then.
fn part(name: &str, value: &str, known: usize) -> Option<(&'static str, usize)> {
    let shape: String = value
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    if known == 0 {
        let whole = match shape.as_str() {
            "0000-00-00-00" => Some(("%Y-%m-%d-%H", 4)),
            "0000-00-00" => Some(("%Y-%m-%d", 3)),
            "00000000" if value.starts_with("20") => Some(("%Y%m%d", 3)),
            "0000-00" => Some(("%Y-%m", 2)),
            _ => None,
        };
        if whole.is_some() {
            return whole;
        }
    }
    let (format, names) = PARTS.get(known)?;
    let name = name.to_ascii_lowercase();
    let is_named = name.is_empty() || names.contains(&name.as_str());
    let is_shaped = match known {
        0 => shape == "0000" && value.starts_with("20"),
        _ if name.is_empty() => shape == "00",
        _ => shape == "0" || shape == "00",
    };
    (is_named && is_shaped).then_some((*format, known + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_are_dates_are_recognised() {
        for (key, expected) in [
            ("acme/dt=2026-01-01/h=07/x", Some("dt=%Y-%m-%d/h=%H")),
            (
                "t/year=2026/month=1/day=2/hour=3/x",
                Some("year=%Y/month=%m/day=%d/hour=%H"),
            ),
            ("AWSLogs/123456789012/vpc/2026/11/28/x", Some("%Y/%m/%d")),
            ("events/2026/11/28/05/x", Some("%Y/%m/%d/%H")),
            ("cur/BILLING_PERIOD=2026-11/x", Some("BILLING_PERIOD=%Y-%m")),
            (
                "ext/S/region=eu/accountId=1/eventDay=20261128/x",
                Some("eventDay=%Y%m%d"),
            ),
            ("acme/2026-11-28/partition=0/x", Some("%Y-%m-%d")),
            ("acme/partition=0/x", None),
            ("acme/month=11/x", None),
            ("acme/12345678/1999/x", None),
            ("x", None),
        ] {
            assert_eq!(pattern(key).as_deref(), expected, "{key}");
            if let Some(pattern) = expected {
                let column: TimeColumn = format!("path {pattern}").parse().unwrap();
                assert!(column.period(key).unwrap().unwrap().is_some(), "{key}");
            }
        }
    }
}
