//! Every tenant of a plan in a line.

use icepack_core::model::estimate::Amount;
use icepack_core::model::plan::Plan;

use super::super::table::{Cell, Grid, Tone, numbers, words};
use super::super::text::{count, plural, size};
use super::super::totals::Totals;
use super::PlanDocument;
use crate::cli::output::Style;

/// A row for each tenant with something to do, and one for all where there are several.
pub fn table(document: &PlanDocument<'_>, style: Style) -> String {
    let report = document.report;
    let mut grid = Grid::new([
        words("tenant").shortened(),
        numbers("raw files"),
        numbers("bytes"),
        numbers("groups"),
        numbers("outputs").if_room(),
        numbers("rows expiring").if_any(),
        words("where to").if_any(),
        numbers("requests").if_room(),
        numbers("costs once").if_room(),
        numbers("saves a month").if_any().if_room(),
    ]);
    let shown = document.in_table();
    for plan in &shown {
        let currency = plan
            .estimate
            .as_ref()
            .and_then(|e| e.cost.as_ref())
            .map(|c| c.currency.as_str());
        grid.row(row(
            plan.tenant.as_str(),
            &Totals::of(plan),
            fate(plan, document.archive.is_some()),
            currency,
        ));
    }
    if report.plans.len() > 1 {
        grid.row(row(
            &format!("total of {}", count(report.plans.len() as u64)),
            &document.totals,
            Cell::from(""),
            Some(&report.prices.currency),
        ));
    }
    let table = grid.draw(style);
    let busy = report.plans.iter().filter(|p| !p.groups.is_empty()).count();
    match busy.saturating_sub(shown.len()) {
        0 => table,
        more => format!(
            "{table}\nnot shown: {} with something to do; --all shows all",
            plural(more as u64, "tenant")
        ),
    }
}

fn row(name: &str, t: &Totals, fate: Cell, currency: Option<&str>) -> Vec<Cell> {
    // Without a price there is no amount.
    let money = |amount: f64| {
        currency
            .map(|c| Amount(amount, c).to_string())
            .unwrap_or_default()
    };
    let only = |shown: bool, text: String| if shown { text.into() } else { "".into() };
    let (expires, has_work) = (t.rows_expiring > 0, t.groups > 0);
    vec![
        name.into(),
        count(t.raw_files).into(),
        size(t.raw_bytes).into(),
        count(t.groups).into(),
        count(t.outputs).into(),
        only(expires, format!("~{}", count(t.rows_expiring))),
        fate,
        only(has_work, format!("~{}", count(t.requests.total()))),
        only(has_work, money(t.requests_once)),
        only(expires, money(t.saved_per_month)),
    ]
}

/// Where the rows go that expire.
fn fate(plan: &Plan, has_archive: bool) -> Cell {
    match plan.expiry.as_ref().filter(|e| e.rows_expiring > 0) {
        None => "".into(),
        Some(e) if e.is_too_much() => Cell::toned("refused", Some(Tone::Bad)),
        Some(_) if has_archive => "archive".into(),
        Some(_) => Cell::toned("dropped", Some(Tone::Notable)),
    }
}
