//! How long rows are kept, and what expires next.

use super::parts::{Cell, Row, Table, Tile, between, first_of};
use super::tenants::is_late;
use crate::format::{about, count, minute, plural, size};
use icepack_core::model::forecast::{Bounds, Expiring, Forecast};
use icepack_core::model::inspect::{Overview, TenantStatus};

/// Tenants in the table: those that expire first.
const MOST_TENANTS: usize = 1_000;

const COLUMNS: [&str; 10] = [
    "kept for",
    "next expiry",
    "in 7 days",
    "in 30 days",
    "times unknown",
    "overdue",
    "first row",
    "last row",
    "archived",
    "dropped",
];

pub(super) fn tiles(o: &Overview, has_archive: bool) -> Vec<Tile> {
    let sum = |pick: fn(&TenantStatus) -> u64| o.tenants.iter().map(pick).sum::<u64>();
    let forecasts = || o.tenants.iter().filter_map(|t| t.forecast.as_ref());
    let fate = if has_archive {
        "expired rows are archived first"
    } else {
        "expired rows are dropped: there is no archive"
    };
    let late = o.tenants.iter().filter(|t| is_late(t)).count() as u64;
    let mut tiles = vec![Tile::new(
        "tenants whose rows expire",
        count(o.tenants.iter().filter(|t| t.ttl_s.is_some()).count() as u64),
        if late == 0 {
            fate.to_owned()
        } else {
            format!("{fate}; {} overdue", plural(late, "tenant"))
        },
    )];
    for (n, days) in [(0, 7), (1, 30)] {
        let [rows, bytes] = forecasts()
            .filter_map(|f| f.until.get(n))
            .fold([Bounds::default(); 2], |[rows, bytes], e| {
                [rows + e.rows, bytes + e.bytes]
            });
        tiles.push(Tile::new(
            format!("rows that expire in {days} days"),
            between(rows, count),
            if rows.most == 0 {
                String::new()
            } else {
                format!("in files of {}", between(bytes, size))
            },
        ));
    }
    let archived = if has_archive {
        "in all archives, by the manifests"
    } else {
        "by the manifests"
    };
    tiles.push(Tile::new(
        "rows archived so far",
        count(sum(|t| t.rows_archived)),
        archived,
    ));
    tiles.push(Tile::new(
        "rows dropped by policy",
        count(sum(|t| t.rows_expired)),
        "without an archive, by the manifests",
    ));
    tiles
}

pub(super) fn table(o: &Overview) -> Table {
    let concerned: Vec<&TenantStatus> = o.tenants.iter().filter(|t| is_concerned(t)).collect();
    let (shown, more) = first_of(
        concerned,
        MOST_TENANTS,
        |t| {
            let first = t.forecast.as_ref().and_then(|f| f.first);
            (first.is_none(), first)
        },
        |t| t.tenant.to_string(),
    );
    Table {
        columns: &COLUMNS,
        rows: shown.into_iter().map(row).collect(),
        left_out: (more > 0).then(|| {
            format!(
                "{} more are left out, those that expire last: `icepack status --json` has them \
                 all",
                plural(more, "tenant")
            )
        }),
    }
}

fn is_concerned(t: &TenantStatus) -> bool {
    t.ttl_s.is_some() || t.rows_archived > 0 || t.rows_expired > 0
}

fn row(t: &TenantStatus) -> Row {
    let forecast = t.forecast.as_ref();
    let until = |n: usize| {
        forecast
            .and_then(|f| f.until.get(n))
            .map_or_else(Cell::missing, expiring)
    };
    Row {
        name: t.tenant.to_string(),
        is_odd: is_late(t),
        state: String::new(),
        cells: vec![
            // For ever is longer than any time.
            t.ttl_s
                .map_or_else(|| Cell::new("ever", i128::MAX), |s| Cell::new(about(s), s)),
            first(forecast),
            until(0),
            until(1),
            forecast.map_or_else(Cell::missing, unknown),
            Cell::seconds(t.overdue_s.filter(|s| *s > 0)),
            Cell::day(t.oldest),
            Cell::day(t.newest),
            Cell::unless_zero(t.rows_archived),
            Cell::unless_zero(t.rows_expired),
        ],
    }
}

fn expiring(e: &Expiring) -> Cell {
    let rows = Cell::new(between(e.rows, count), e.rows.most);
    if e.rows.most == 0 {
        return rows;
    }
    rows.with_note(between(e.bytes, size))
}

fn first(forecast: Option<&Forecast>) -> Cell {
    forecast
        .and_then(|f| f.first)
        .map_or_else(Cell::missing, |at| Cell::new(minute(at), at.timestamp()))
}

fn unknown(f: &Forecast) -> Cell {
    let cell = Cell::unless_zero(f.unknown_files);
    if f.unknown_files == 0 {
        return cell;
    }
    cell.with_note(size(f.unknown_bytes))
}
