//! What of a tenant expires next. Pure: from what its manifest says of the times of rows.

use chrono::{DateTime, TimeDelta, Utc};

use super::retention::cutoff_held;
use crate::model::adopted::{Adoptions, RowTimes};
use crate::model::file::{Listed, Micros};
use crate::model::forecast::{Bounds, Expiring, Forecast};
use crate::model::hold::Hold;
use crate::model::manifest::Manifest;
use crate::model::policy::Policy;

/// Days that are looked ahead.
const AHEAD: [u64; 2] = [7, 30];

/// A live file: its bytes, and when its rows are from where that is known.
type File = (u64, Option<RowTimes>);

/// What expires next of a tenant with this head and these live raw files; none where rows are kept
/// for ever.
pub fn of<'a>(
    head: Option<&Manifest>,
    raw: impl Iterator<Item = &'a Listed>,
    policy: &Policy,
    now: DateTime<Utc>,
) -> Option<Forecast> {
    let ttl = TimeDelta::from_std(policy.ttl?).ok()?;
    let adopted = Adoptions::of(head);
    let column = policy.timestamp_column.as_str();
    let mut files = snapshots(head, policy);
    files.extend(raw.map(|l| (l.size, adopted.times(l, column))));
    let holds = head.map_or(&[][..], |m| &m.holds);
    let known = || files.iter().filter_map(|(_, times)| times.as_ref());
    let unknown = files.iter().filter(|(_, times)| times.is_none());
    Some(Forecast {
        first: known()
            .filter_map(|times| times.min)
            .min()
            .and_then(|oldest| expires_at(oldest, ttl, holds, now)),
        slack_s: policy.slack.as_secs(),
        until: AHEAD
            .into_iter()
            .map(|days| until(days, &files, policy, holds, now))
            .collect(),
        unknown_files: unknown.clone().count() as u64,
        unknown_bytes: unknown.map(|(size, _)| size).sum(),
    })
}

fn snapshots(head: Option<&Manifest>, policy: &Policy) -> Vec<File> {
    let column = &policy.timestamp_column;
    let files = head.into_iter().flat_map(|head| {
        head.snapshots.iter().map(|s| {
            let stats = s.stats_by(column);
            // Of what lacks the column, no row ever expires.
            let known = !stats.is_untimed() || head.lacks_time(s, column);
            (s.size, known.then(|| stats.into()))
        })
    });
    // A page that was not read has snapshots that this column dated alone. Their bounds are as true
    // of all of them as of each.
    let pages = head.into_iter().flat_map(|head| head.pages.unread());
    let pages = pages.map(|page| (page.bytes, Some(page.times)));
    files.chain(pages).collect()
}

/// When a row that is the oldest expires. Restored rows are held, and younger rows with them.
fn expires_at(
    oldest: Micros,
    ttl: TimeDelta,
    holds: &[Hold],
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let own = oldest.to_datetime().checked_add_signed(ttl)?;
    holds
        .iter()
        .filter(|h| h.is_active(now) && h.oldest <= oldest)
        .try_fold(own, |at, h| h.done.then(|| at.max(h.until)))
}

fn until(
    days: u64,
    files: &[File],
    policy: &Policy,
    holds: &[Hold],
    now: DateTime<Utc>,
) -> Expiring {
    let mut found = Expiring {
        days,
        rows: Bounds::default(),
        bytes: Bounds::default(),
    };
    let then = TimeDelta::try_days(i64::try_from(days).unwrap_or(i64::MAX))
        .and_then(|ahead| now.checked_add_signed(ahead));
    let Some(cutoff) = then.and_then(|then| cutoff_held(policy, holds, then)) else {
        return found;
    };
    for (size, times) in files {
        let Some((times, (min, max))) = times.and_then(|t| Some((t, t.min.zip(t.max)?))) else {
            continue;
        };
        if min >= cutoff {
            continue;
        }
        let dated = times.rows.saturating_sub(times.undated);
        let is_whole = max < cutoff;
        // Of a file on both sides of the cutoff, its oldest row is known to be before it.
        found.rows += Bounds {
            least: if is_whole { dated } else { dated.min(1) },
            most: dated,
        };
        found.bytes += Bounds {
            least: if is_whole && times.undated == 0 {
                *size
            } else {
                0
            },
            most: *size,
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::model::file::{Fingerprint, RowStats, Snapshot};
    use crate::model::hold::Restored;
    use crate::model::manifest::Stamp;
    use crate::model::names::{FileId, Tenant};
    use crate::model::units::DAY;

    /// Day 0, which is after 2000.
    const FIRST: i64 = 1_700_000_000;

    fn day(n: i64) -> Micros {
        Micros((FIRST + n * 86_400) * 1_000_000)
    }

    fn at(n: i64) -> DateTime<Utc> {
        day(n).to_datetime()
    }

    fn snapshot(size: u64, undated: u64, span: Option<(i64, i64)>, dated_by: &str) -> Snapshot {
        Snapshot {
            key: format!("acme/{size}.parquet"),
            id: FileId::NIL,
            size,
            etag: None,
            schema: None,
            dated_by: Some(dated_by.to_owned()),
            stats: RowStats {
                rows: 100,
                undated,
                min: span.map(|(from, _)| day(from)),
                max: span.map(|(_, to)| day(to)),
                fingerprint: Fingerprint::default(),
            },
        }
    }

    fn head(snapshots: Vec<Snapshot>, holds: Vec<Hold>) -> Manifest {
        let stamp = Stamp {
            run_id: FileId::NIL,
            commit_id: FileId::NIL,
            at: DateTime::UNIX_EPOCH,
        };
        Manifest {
            snapshots,
            holds,
            ..Manifest::first(Tenant::parse("acme").unwrap(), stamp)
        }
    }

    fn hold(oldest: i64, until: i64, done: bool) -> Hold {
        Hold {
            id: FileId::NIL,
            restored: Restored {
                archive: String::new(),
                tenant: Tenant::parse("acme").unwrap(),
                from: None,
                to: None,
            },
            oldest: day(oldest),
            until: at(until),
            objects: BTreeSet::new(),
            files: Vec::new(),
            done,
        }
    }

    fn policy(days: u32) -> Policy {
        Policy {
            ttl: (days > 0).then(|| DAY * days),
            slack: Duration::from_secs(60),
            ..Policy::default()
        }
    }

    fn forecast(snapshots: Vec<Snapshot>, holds: Vec<Hold>) -> Forecast {
        let head = head(snapshots, holds);
        of(Some(&head), std::iter::empty(), &policy(30), at(40)).unwrap()
    }

    /// Least and most, of rows and of bytes.
    fn figures(f: &Forecast) -> Vec<[u64; 4]> {
        f.until
            .iter()
            .map(|e| [e.rows.least, e.rows.most, e.bytes.least, e.bytes.most])
            .collect()
    }

    #[test]
    fn whole_files_are_exact_and_the_others_have_bounds() {
        let own = Policy::default().timestamp_column;
        let own = own.as_str();
        // Now is day 40: before day 17 expires within 7 days, before day 40 within 30.
        let found = forecast(
            vec![
                snapshot(1_000, 0, Some((11, 16)), own),
                snapshot(2_000, 0, Some((16, 17)), own),
                snapshot(4_000, 10, Some((12, 13)), own),
                snapshot(8_000, 0, Some((20, 45)), own),
                snapshot(16_000, 0, Some((41, 45)), own),
                snapshot(32_000, 100, None, own),
                snapshot(64_000, 0, Some((1, 2)), "another column"),
            ],
            Vec::new(),
        );
        assert_eq!(
            figures(&found),
            [
                [191, 290, 1_000, 7_000],
                [100 + 100 + 90 + 1, 390, 3_000, 15_000]
            ]
        );
        assert_eq!(found.first, Some(at(11 + 30)));
        assert_eq!((found.unknown_files, found.unknown_bytes), (1, 64_000));
        assert_eq!(found.slack_s, 60);
    }

    #[test]
    fn what_is_overdue_counts_and_for_ever_is_no_time() {
        let own = Policy::default().timestamp_column;
        let files = || vec![snapshot(1_000, 0, Some((1, 2)), own.as_str())];
        let found = forecast(files(), Vec::new());
        assert_eq!(figures(&found)[0], [100, 100, 1_000, 1_000]);
        assert_eq!(found.first, Some(at(31)), "nine days ago");
        let head = head(files(), Vec::new());
        assert_eq!(
            of(Some(&head), std::iter::empty(), &policy(0), at(40)),
            None
        );
        let none = of(None, std::iter::empty(), &policy(30), at(40)).unwrap();
        assert_eq!((none.first, figures(&none)), (None, vec![[0; 4]; 2]));
    }

    #[test]
    fn held_rows_expire_when_the_hold_is_over() {
        let own = Policy::default().timestamp_column;
        let files = || vec![snapshot(1_000, 0, Some((11, 12)), own.as_str())];
        let found = forecast(files(), vec![hold(11, 60, true)]);
        assert_eq!(found.first, Some(at(60)));
        assert_eq!(figures(&found), [[0; 4], [100, 100, 1_000, 1_000]]);
        let found = forecast(files(), vec![hold(12, 60, true)]);
        assert_eq!(found.first, Some(at(41)), "the oldest row is not held");
        let found = forecast(files(), vec![hold(11, 60, false)]);
        assert_eq!((found.first, figures(&found)), (None, vec![[0; 4]; 2]));
    }

    #[test]
    fn a_raw_file_is_unknown_until_it_was_read() {
        let raw = Listed {
            key: "acme/raw.parquet".into(),
            size: 7,
            etag: None,
            modified: at(1),
        };
        let found = of(None, std::iter::once(&raw), &policy(30), at(40)).unwrap();
        assert_eq!((found.unknown_files, found.unknown_bytes), (1, 7));
    }
}
