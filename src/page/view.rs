//! What the page shows, in words. Every number that a column sorts by stands beside its word.

use std::collections::BTreeMap;
use std::ops::Add;

use super::chart::{self, Point, Unit};
use crate::format::{about, count, minute, plural, row_time, size, took};
use icepack_core::model::file::Micros;
use icepack_core::model::inspect::{Failure, Overview, TenantStatus};
use icepack_core::model::record::RunRecord;
use icepack_core::model::report::Status;
use icepack_core::model::shard::Shard;
use icepack_core::model::totals::{SizeHistogram, StoreTotals};

/// Tenants in the table: those that need a look first, then the largest. A page of a hundred
/// thousand rows is no use to anybody.
const MOST_TENANTS: usize = 2_000;

/// Passes in the table.
const MOST_RUNS: usize = 30;

/// A word and what it is sorted by.
pub(super) struct Cell {
    pub text: String,
    pub key: i128,
}

impl Cell {
    fn number(n: u64) -> Self {
        Self {
            text: count(n),
            key: n.into(),
        }
    }

    fn bytes(n: u64) -> Self {
        Self {
            text: size(n),
            key: n.into(),
        }
    }

    /// Nothing is shown for none, which sorts below everything.
    fn maybe<T>(
        value: Option<T>,
        show: impl FnOnce(&T) -> String,
        key: impl FnOnce(&T) -> i128,
    ) -> Self {
        value.map_or(
            Self {
                text: String::new(),
                key: -1,
            },
            |v| Self {
                text: show(&v),
                key: key(&v),
            },
        )
    }

    fn time(at: Option<Micros>) -> Self {
        Self::maybe(at, |t| row_time(Some(*t)), |t| t.0.into())
    }

    fn seconds(s: Option<u64>) -> Self {
        Self::maybe(s, |s| about(*s), |s| (*s).into())
    }
}

/// A figure with its name.
pub(super) struct Tile {
    pub name: &'static str,
    pub value: String,
    pub note: String,
}

pub(super) struct TenantRow {
    pub name: String,
    /// `in order`, or what a person should look at.
    pub state: String,
    pub fine: bool,
    pub cells: Vec<Cell>,
}

pub(super) struct RunRow {
    pub started: String,
    pub status: &'static str,
    pub fine: bool,
    pub cells: Vec<String>,
    pub balances: bool,
    pub error: String,
}

/// A row of the table beside a chart.
pub(super) struct Figures {
    pub name: String,
    pub cells: Vec<String>,
}

pub(super) struct View {
    pub at: String,
    pub tiles: Vec<Tile>,
    pub failures: Vec<Failure>,
    pub histogram: String,
    pub sizes: Vec<Figures>,
    pub sizes_note: String,
    pub files_over_time: Option<String>,
    pub bytes_over_time: Option<String>,
    pub points: Vec<Figures>,
    pub tenant_columns: Vec<&'static str>,
    pub tenants: Vec<TenantRow>,
    pub tenants_left_out: Option<String>,
    pub keeping: Vec<Tile>,
    pub runs: Vec<RunRow>,
}

const TENANT_COLUMNS: [&str; 15] = [
    "raw files",
    "raw bytes",
    "oldest raw",
    "snapshots",
    "bytes",
    "rows",
    "first row",
    "last row",
    "kept for",
    "overdue",
    "rows archived",
    "rows dropped",
    "to delete",
    "left over",
    "quarantined",
];

impl View {
    pub fn of(o: &Overview, has_archive: bool) -> Self {
        let before = sums(&o.runs, |r| r.sums.counters.raw_sizes)
            .fold(all_sizes(o, |t| t.raw_sizes), Add::add);
        let now = all_sizes(o, |t| t.snapshot_sizes + t.raw_sizes);
        let points = points(o);
        let chart = |title, unit, pick: fn(&StoreTotals) -> (u64, u64)| {
            let drawn: Vec<Point> = points
                .iter()
                .map(|(at, totals)| Point {
                    at: *at,
                    raw: pick(totals).0,
                    packed: pick(totals).1,
                })
                .collect();
            (drawn.len() > 1).then(|| chart::lines(title, &drawn, unit))
        };
        let (tenants, left_out) = tenants(o);
        Self {
            at: minute(o.at),
            tiles: tiles(o),
            failures: o.failures.clone(),
            histogram: chart::histogram(&before, &now),
            sizes: (0..before.counts().len())
                .map(|i| size_row(i, &before, &now))
                .collect(),
            sizes_note: format!(
                "{} before, {} now",
                plural(before.total(), "file"),
                count(now.total())
            ),
            files_over_time: chart("Files over time", Unit::Files, |s| {
                (s.raw_files, s.snapshots)
            }),
            bytes_over_time: chart("Bytes over time", Unit::Bytes, |s| {
                (s.raw_bytes, s.snapshot_bytes)
            }),
            points: points
                .iter()
                .rev()
                .take(MOST_RUNS)
                .map(|(at, s)| point_row(&minute(*at), s))
                .collect(),
            tenant_columns: TENANT_COLUMNS.to_vec(),
            tenants,
            tenants_left_out: (left_out > 0).then(|| {
                format!(
                    "{} more, smaller and in order, are left out: `icepack status` has them all",
                    plural(left_out, "tenant")
                )
            }),
            keeping: keeping(o, has_archive),
            runs: o.runs.iter().rev().take(MOST_RUNS).map(run).collect(),
        }
    }
}

/// The last record of each shard: its sums are those of all its passes.
fn sums<T>(runs: &[RunRecord], pick: impl Fn(&RunRecord) -> T) -> impl Iterator<Item = T> {
    let mut last: BTreeMap<(u32, u32), &RunRecord> = BTreeMap::new();
    for run in runs {
        last.insert(shard(run.shard), run);
    }
    last.into_values().map(pick).collect::<Vec<_>>().into_iter()
}

fn shard(s: Shard) -> (u32, u32) {
    (s.index, s.count)
}

fn all_sizes(o: &Overview, pick: impl Fn(&TenantStatus) -> SizeHistogram) -> SizeHistogram {
    o.tenants
        .iter()
        .map(pick)
        .fold(SizeHistogram::default(), Add::add)
}

/// What was in the store when each pass began, and what is there now. Of shards, each pass changes
/// its own part of the sum.
fn points(o: &Overview) -> Vec<(chrono::DateTime<chrono::Utc>, StoreTotals)> {
    let newest = o.runs.last().map(|r| r.shard.count);
    let mut parts: BTreeMap<(u32, u32), StoreTotals> = BTreeMap::new();
    let mut points = Vec::new();
    // Passes with another number of shards divided the tenants otherwise, and would be counted
    // twice.
    for run in o.runs.iter().filter(|r| Some(r.shard.count) == newest) {
        let Some(found) = run.report.found else {
            continue;
        };
        parts.insert(shard(run.shard), found);
        if parts.len() == usize::try_from(run.shard.count).unwrap_or(usize::MAX) {
            points.push((
                run.report.started_at,
                parts
                    .values()
                    .copied()
                    .fold(StoreTotals::default(), Add::add),
            ));
        }
    }
    points.push((
        o.at,
        o.tenants
            .iter()
            .map(held)
            .fold(StoreTotals::default(), Add::add),
    ));
    points
}

fn held(t: &TenantStatus) -> StoreTotals {
    StoreTotals {
        tenants: 1,
        raw_files: t.raw_files,
        raw_bytes: t.raw_bytes,
        snapshots: t.snapshots,
        snapshot_bytes: t.snapshot_bytes,
    }
}

fn size_row(index: usize, before: &SizeHistogram, now: &SizeHistogram) -> Figures {
    let at = |s: &SizeHistogram| count(s.counts().get(index).copied().unwrap_or_default());
    Figures {
        name: chart::class(index),
        cells: vec![at(before), at(now)],
    }
}

fn point_row(name: &str, s: &StoreTotals) -> Figures {
    Figures {
        name: name.to_owned(),
        cells: vec![
            count(s.raw_files),
            size(s.raw_bytes),
            count(s.snapshots),
            size(s.snapshot_bytes),
        ],
    }
}

fn tiles(o: &Overview) -> Vec<Tile> {
    let now = o
        .tenants
        .iter()
        .map(held)
        .fold(StoreTotals::default(), Add::add);
    let sum = |pick: fn(&TenantStatus) -> u64| o.tenants.iter().map(pick).sum::<u64>();
    let odd = o.tenants.iter().filter(|t| !is_fine(t)).count() + o.failures.len();
    let last = o.runs.last();
    let ended = last.map_or("none yet".to_owned(), |r| {
        r.report.totals.status.as_str().to_owned()
    });
    vec![
        Tile {
            name: "tenants",
            value: count(now.tenants),
            note: if odd == 0 {
                "all in order".to_owned()
            } else {
                format!("{} to look at", count(odd as u64))
            },
        },
        Tile {
            name: "snapshots",
            value: count(now.snapshots),
            note: size(now.snapshot_bytes),
        },
        Tile {
            name: "raw files waiting",
            value: count(now.raw_files),
            note: size(now.raw_bytes),
        },
        Tile {
            name: "rows in snapshots",
            value: count(sum(|t| t.snapshot_rows)),
            note: format!("{} archived", count(sum(|t| t.rows_archived))),
        },
        Tile {
            name: "last pass",
            value: ended,
            note: last.map_or(String::new(), |r| minute(r.report.started_at)),
        },
    ]
}

fn keeping(o: &Overview, has_archive: bool) -> Vec<Tile> {
    let sum = |pick: fn(&TenantStatus) -> u64| o.tenants.iter().map(pick).sum::<u64>();
    let some = |pick: fn(&TenantStatus) -> bool| {
        count(o.tenants.iter().filter(|t| pick(t)).count() as u64)
    };
    let archived: u64 = sums(&o.runs, |r| r.sums.counters.archived_bytes).sum();
    let fate = if has_archive {
        "expired rows are archived first"
    } else {
        "expired rows are dropped: there is no archive"
    };
    vec![
        Tile {
            name: "tenants whose rows expire",
            value: some(|t| t.ttl_s.is_some()),
            note: fate.to_owned(),
        },
        Tile {
            name: "tenants overdue",
            value: some(|t| t.overdue_s.is_some_and(|s| s > 0)),
            note: "rows past their time and still there".to_owned(),
        },
        Tile {
            name: "rows archived",
            value: count(sum(|t| t.rows_archived)),
            note: format!("{} by the passes on record", size(archived)),
        },
        Tile {
            name: "rows dropped by policy",
            value: count(sum(|t| t.rows_expired)),
            note: "without an archive".to_owned(),
        },
    ]
}

fn is_fine(t: &TenantStatus) -> bool {
    state(t).is_none()
}

/// What a person should look at.
fn state(t: &TenantStatus) -> Option<String> {
    let mut said = Vec::new();
    if t.quarantined > 0 {
        said.push("quarantine");
    }
    if t.set_aside > 0 {
        said.push("set aside");
    }
    if t.overdue_s.is_some_and(|s| s > 0) {
        said.push("overdue");
    }
    (!said.is_empty()).then(|| said.join(", "))
}

fn tenants(o: &Overview) -> (Vec<TenantRow>, u64) {
    let mut all: Vec<&TenantStatus> = o.tenants.iter().collect();
    if all.len() > MOST_TENANTS {
        all.sort_by_key(|t| {
            (
                is_fine(t),
                std::cmp::Reverse(t.raw_bytes + t.snapshot_bytes),
            )
        });
        all.truncate(MOST_TENANTS);
        all.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    }
    let left_out = o.tenants.len() - all.len();
    (all.into_iter().map(tenant).collect(), left_out as u64)
}

fn tenant(t: &TenantStatus) -> TenantRow {
    let state = state(t);
    TenantRow {
        name: t.tenant.to_string(),
        fine: state.is_none(),
        state: state.unwrap_or_else(|| "in order".to_owned()),
        cells: vec![
            Cell::number(t.raw_files),
            Cell::bytes(t.raw_bytes),
            Cell::seconds(t.oldest_raw_s),
            Cell::number(t.snapshots),
            Cell::bytes(t.snapshot_bytes),
            Cell::number(t.snapshot_rows),
            Cell::time(t.oldest),
            Cell::time(t.newest),
            // For ever is longer than any time.
            t.ttl_s.map_or(
                Cell {
                    text: "ever".to_owned(),
                    key: i128::MAX,
                },
                |s| Cell::seconds(Some(s)),
            ),
            Cell::seconds(t.overdue_s.filter(|s| *s > 0)),
            Cell::number(t.rows_archived),
            Cell::number(t.rows_expired),
            Cell::number(t.retired),
            Cell::number(t.orphans),
            Cell::number(t.quarantined),
        ],
    }
}

fn run(r: &RunRecord) -> RunRow {
    let t = &r.report.totals;
    let (c, l) = (&t.counters, &t.counters.ledger);
    let status = if r.error.is_some() {
        t.status.max(Status::Failed)
    } else {
        t.status
    };
    RunRow {
        started: minute(r.report.started_at),
        status: status.as_str(),
        fine: r.is_success(),
        cells: vec![
            took(r.report.duration_ms),
            count(c.files_compacted),
            count(c.files_written),
            size(c.bytes_before),
            size(c.bytes_after),
            count(l.rows_in),
            count(l.rows_kept),
            count(l.rows_archived),
            count(l.rows_expired),
            count(l.rows_deduplicated),
        ],
        balances: l.balances(),
        error: r
            .error
            .clone()
            .or_else(|| t.error.clone())
            .unwrap_or_default(),
    }
}
