//! What the page shows, in words. Every number that a column sorts by stands beside its word.

mod attention;
mod expiry;
mod money;
mod parts;
mod passes;
mod tenants;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Add;

use super::Labels;
use super::chart::{self, Point, Unit};
use crate::format::{count, minute, plural, size};
use icepack_core::model::inspect::{Overview, TenantStatus};
use icepack_core::model::record::RunRecord;
use icepack_core::model::shard::Shard;
use icepack_core::model::totals::{SizeHistogram, StoreTotals};
use money::Money;
use parts::{Table, Tile, Words};
use passes::RunRow;

/// Passes in the table.
const MOST_RUNS: usize = 30;

/// A row of the table beside a chart.
pub(super) struct Figures {
    pub name: String,
    pub cells: Vec<String>,
}

/// Files by size.
pub(super) struct Sizes {
    pub histogram: String,
    pub rows: Vec<Figures>,
    pub note: String,
}

/// What the store held at each pass; no charts where there is one point only.
pub(super) struct OverTime {
    pub files: Option<String>,
    pub bytes: Option<String>,
    pub rows: Vec<Figures>,
}

pub(super) struct View {
    pub at: String,
    pub tiles: Vec<Tile>,
    /// How many things a person should look at.
    pub odd: u64,
    pub attention: Vec<Words>,
    pub money: Money,
    pub sizes: Sizes,
    pub time: OverTime,
    pub keeping: Vec<Tile>,
    pub expiry: Table,
    pub forever: u64,
    pub forever_said: String,
    /// Tenants whose rows stay for too long.
    pub late: u64,
    pub late_said: String,
    pub holds: Words,
    pub classes: Words,
    pub tenants: Table,
    pub runs: Vec<RunRow>,
}

impl View {
    pub fn of(o: &Overview, labels: &Labels) -> Self {
        let forever = o.tenants.iter().filter(|t| t.ttl_s.is_none()).count() as u64;
        let late = o.tenants.iter().filter(|t| tenants::is_late(t)).count() as u64;
        Self {
            at: minute(o.at),
            tiles: tiles(o),
            odd: odd(o),
            attention: attention::of(o),
            money: money::of(o, labels),
            sizes: sizes(o),
            time: over_time(o),
            keeping: expiry::tiles(o, labels.archive.is_some()),
            expiry: expiry::table(o),
            forever,
            forever_said: format!("{} kept for ever.", are(forever)),
            late,
            late_said: format!("{} overdue", are(late)),
            holds: attention::holds(o),
            classes: tenants::classes(o),
            tenants: tenants::table(o),
            runs: o
                .runs
                .iter()
                .rev()
                .take(MOST_RUNS)
                .map(passes::row)
                .collect(),
        }
    }
}

fn sizes(o: &Overview) -> Sizes {
    let before =
        sums(&o.runs, |r| r.sums.counters.raw_sizes).fold(all_sizes(o, |t| t.raw_sizes), Add::add);
    let now = all_sizes(o, |t| t.snapshot_sizes + t.raw_sizes);
    Sizes {
        histogram: chart::histogram(&before, &now),
        rows: (0..before.counts().len())
            .map(|i| size_row(i, &before, &now))
            .collect(),
        note: format!(
            "{} before, {} now",
            plural(before.total(), "file"),
            count(now.total())
        ),
    }
}

fn over_time(o: &Overview) -> OverTime {
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
    OverTime {
        files: chart("Files over time", Unit::Files, |s| {
            (s.raw_files, s.snapshots)
        }),
        bytes: chart("Bytes over time", Unit::Bytes, |s| {
            (s.raw_bytes, s.snapshot_bytes)
        }),
        rows: points
            .iter()
            .rev()
            .take(MOST_RUNS)
            .map(|(at, s)| point_row(&minute(*at), s))
            .collect(),
    }
}

fn are(tenants: u64) -> String {
    let is = if tenants == 1 { "is" } else { "are" };
    format!("{} {is}", plural(tenants, "tenant"))
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
    let last = o.runs.last();
    let ended = last.map_or("none yet", |r| passes::status(r).as_str());
    vec![
        Tile::new(
            "tenants",
            count(now.tenants),
            match odd(o) {
                0 => "all in order".to_owned(),
                odd => format!("{} to look at", count(odd)),
            },
        ),
        Tile::new("snapshots", count(now.snapshots), size(now.snapshot_bytes)),
        Tile::new(
            "raw files waiting",
            count(now.raw_files),
            size(now.raw_bytes),
        ),
        Tile::new(
            "rows in snapshots",
            count(sum(|t| t.snapshot_rows)),
            format!("{} archived", count(sum(|t| t.rows_archived))),
        ),
        Tile::new(
            "last pass",
            ended,
            last.map_or(String::new(), |r| minute(r.report.started_at)),
        ),
    ]
}

/// How many tenants a person should look at, those that could not be looked at among them. A last
/// pass that failed before it was at any tenant counts as one.
fn odd(o: &Overview) -> u64 {
    let errors = tenants::errors(o);
    let mut names: BTreeSet<&str> = errors.keys().copied().collect();
    names.extend(o.failures.iter().map(|f| f.tenant.as_str()));
    let odd = |t: &&TenantStatus| tenants::state(t, &errors).is_some();
    names.extend(o.tenants.iter().filter(odd).map(|t| t.tenant.as_str()));
    let broke_off = o.runs.last().is_some_and(|r| r.error.is_some());
    names.len() as u64 + u64::from(broke_off)
}
