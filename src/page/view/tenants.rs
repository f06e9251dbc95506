//! How each tenant stands.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::parts::{Cell, Row, Table, Words, first_of};
use crate::format::plural;
use icepack_core::model::apart::{ColumnTypes, FolderClasses};
use icepack_core::model::estimate::Amount;
use icepack_core::model::inspect::{LastError, Overview, TenantStatus};
use icepack_core::model::price::STANDARD;
use icepack_core::model::units::DAY;
use icepack_core::plan::money;

/// Tenants in the table: those that need a look first, then the largest. A page of a hundred
/// thousand rows is no use to anybody.
const MOST_TENANTS: usize = 2_000;

/// Folders of several schema classes that are named.
const MOST_FOLDERS: usize = 200;

const COLUMNS: [&str; 10] = [
    "folders",
    "raw files",
    "raw bytes",
    "oldest raw",
    "snapshots",
    "bytes",
    "rows",
    "to delete",
    "left over",
    "a month",
];

/// The last errors, by tenant.
pub(super) type Errors<'a> = BTreeMap<&'a str, &'a LastError>;

pub(super) fn errors(o: &Overview) -> Errors<'_> {
    o.last_errors
        .iter()
        .map(|e| (e.tenant.as_str(), e))
        .collect()
}

/// What a person should look at; none where all is in order.
pub(super) fn state(t: &TenantStatus, errors: &Errors<'_>) -> Option<String> {
    let mut said = Vec::new();
    if let Some(error) = errors.get(t.tenant.as_str()) {
        said.push(error.status.as_str().to_owned());
    } else if !t.left_alone.foreign.is_empty() {
        said.push("refused".to_owned());
    }
    let mut counted = |n: u64, what: &str| {
        if n > 0 {
            said.push(format!("{n} {what}"));
        }
    };
    counted(t.quarantined, "quarantined");
    counted(t.set_aside, "set aside");
    if is_late(t) {
        said.push("overdue".to_owned());
    }
    (!said.is_empty()).then(|| said.join(", "))
}

/// Whether rows stay for longer than a daily pass and the slack explain.
pub(super) fn is_late(t: &TenantStatus) -> bool {
    let slack = t.forecast.as_ref().map_or(0, |f| f.slack_s);
    t.overdue_s
        .is_some_and(|s| s > slack.saturating_add(2 * DAY.as_secs()))
}

pub(super) fn table(o: &Overview) -> Table {
    let errors = errors(o);
    let (shown, more) = first_of(
        o.tenants.iter().collect(),
        MOST_TENANTS,
        |t| {
            let bytes = Reverse(t.raw_bytes + t.snapshot_bytes);
            (state(t, &errors).is_none(), bytes)
        },
        |t| t.tenant.to_string(),
    );
    Table {
        columns: &COLUMNS,
        rows: shown.into_iter().map(|t| row(t, o, &errors)).collect(),
        left_out: (more > 0).then(|| {
            format!(
                "{} more are left out, the smallest of those in order: `icepack status` has them \
                 all",
                plural(more, "tenant")
            )
        }),
    }
}

fn row(t: &TenantStatus, o: &Overview, errors: &Errors<'_>) -> Row {
    let state = state(t, errors);
    let cost = money::holding(&o.prices, STANDARD, 1, t.listed_bytes);
    Row {
        name: t.tenant.to_string(),
        is_odd: state.is_some(),
        state: state.unwrap_or_else(|| "in order".to_owned()),
        cells: vec![
            folders(t),
            Cell::number(t.raw_files),
            Cell::bytes(t.raw_bytes),
            Cell::seconds(t.oldest_raw_s),
            Cell::number(t.snapshots),
            Cell::bytes(t.snapshot_bytes),
            Cell::number(t.snapshot_rows),
            Cell::unless_zero(t.retired),
            Cell::unless_zero(t.orphans),
            cost.map_or_else(Cell::missing, |cost| {
                Cell::new(Amount(cost, &o.prices.currency).to_string(), t.listed_bytes)
            }),
        ],
    }
}

fn folders(t: &TenantStatus) -> Cell {
    let cell = Cell::number(t.folders);
    match t.classes.len() as u64 {
        0 => cell,
        n => cell.with_note(format!("{n} with classes")),
    }
}

/// The folders whose snapshots are of several schema classes, and what tells these apart.
pub(super) fn classes(o: &Overview) -> Words {
    let rows = o.tenants.iter().flat_map(|t| {
        t.classes.iter().map(|c| {
            let folder = match c.folder.as_str() {
                "" => "all of them".to_owned(),
                folder => folder.to_owned(),
            };
            vec![
                t.tenant.to_string(),
                folder,
                c.classes.to_string(),
                apart(c),
            ]
        })
    });
    Words {
        id: "classes",
        title: "Folders of several schema classes",
        note: "A column has types that no type unites. The files of each class are merged by \
               themselves, and no row is lost; who reads the folder meets all of the types.",
        columns: &[
            ("tenant", false),
            ("folder", false),
            ("classes", true),
            ("what tells them apart", false),
        ],
        rows: rows.collect(),
        left_out: None,
    }
    .cut(MOST_FOLDERS, "`icepack status --json` has them all")
}

fn apart(c: &FolderClasses) -> String {
    if c.columns.is_empty() {
        return "no single column: a type within one, or values that the other's type cannot hold"
            .to_owned();
    }
    let column = |column: &ColumnTypes| {
        let types = column.types.iter();
        let types: Vec<&str> = types.map(|t| t.as_deref().unwrap_or("missing")).collect();
        format!("{} is {}", column.column, types.join(" or "))
    };
    c.columns.iter().map(column).collect::<Vec<_>>().join("; ")
}
