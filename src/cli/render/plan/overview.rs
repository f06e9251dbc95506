//! Every tenant of a plan in a line.

use icepack_core::model::estimate::Amount;
use icepack_core::model::inspect::PlanReport;
use icepack_core::model::plan::Plan;

use super::super::table::{Cell, Grid, Tone};
use super::super::text::{count, size};
use super::View;
use super::totals::{Totals, totals};

/// A row for each tenant, and one for all where there are several.
pub fn table(report: &PlanReport, view: View<'_>) -> String {
    let files = Grid::default()
        .words("tenant")
        .numbers("raw files")
        .numbers("bytes")
        .numbers("groups")
        .numbers("outputs");
    let rows = files
        .numbers("rows expiring")
        .if_any()
        .words("where to")
        .if_any();
    let mut grid = rows
        .numbers("requests")
        .numbers("costs once")
        .if_room()
        .numbers("saves a month")
        .if_any()
        .if_room();
    for plan in &report.plans {
        let currency = plan
            .estimate
            .as_ref()
            .and_then(|e| e.cost.as_ref())
            .map(|c| c.currency.as_str());
        grid.row(row(
            plan.tenant.as_str(),
            &Totals::of(plan),
            fate(plan, view),
            currency,
        ));
    }
    if report.plans.len() > 1 {
        grid.row(row(
            "total",
            &totals(&report.plans),
            Cell::from(""),
            Some(&report.prices.currency),
        ));
    }
    grid.draw(view.style)
}

fn row(name: &str, t: &Totals, fate: Cell, currency: Option<&str>) -> Vec<Cell> {
    // Without a price nothing is said of money.
    let money = |amount: f64| {
        currency
            .map(|c| Amount(amount, c).to_string())
            .unwrap_or_default()
    };
    let is_about_rows = t.rows_expiring > 0;
    vec![
        name.into(),
        count(t.raw_files).into(),
        size(t.raw_bytes).into(),
        count(t.groups).into(),
        count(t.outputs).into(),
        if is_about_rows {
            format!("~{}", count(t.rows_expiring)).into()
        } else {
            "".into()
        },
        fate,
        if t.groups > 0 {
            format!("~{}", count(t.requests.total())).into()
        } else {
            "".into()
        },
        if t.groups > 0 {
            money(t.requests_once).into()
        } else {
            "".into()
        },
        if is_about_rows {
            money(t.saved_per_month).into()
        } else {
            "".into()
        },
    ]
}

/// Where the rows go that expire.
fn fate(plan: &Plan, view: View<'_>) -> Cell {
    match plan.expiry.as_ref().filter(|e| e.rows_expiring > 0) {
        None => "".into(),
        Some(e) if e.is_too_much() => Cell::toned("refused", Some(Tone::Bad)),
        Some(_) if view.archive.is_some() => "archive".into(),
        Some(_) => Cell::toned("dropped", Some(Tone::Notable)),
    }
}
