//! What a plan would expire and what it costs, in a few labelled lines.

use icepack_core::model::estimate::{Amount, Cost, Estimate, Expiry, Objects};
use icepack_core::model::plan::Plan;
use icepack_core::model::price::{Prices, STANDARD};
use icepack_core::model::report::Requests;

use super::super::output::Style;
use super::table::{Cell, Grid, Tone, prose, words};
use super::text::{count, counted, plural, size};
use super::totals::Totals;

/// The lines of one tenant, if there are any.
pub fn tenant(plan: &Plan, style: Style) -> Option<String> {
    let mut lines = Lines::new();
    if let Some(expiry) = &plan.expiry {
        lines.add("expires:", expires(expiry));
        if expiry.is_too_much() {
            let limit = format!(
                "run would refuse this: more than {}% (retention.max_expire_percent)",
                expiry.max_percent
            );
            lines.toned("refused:", limit, Tone::Bad);
        }
        if expiry.files_unknown > 0 {
            let files = plural(expiry.files_unknown, "raw file");
            lines.toned(
                "unknown:",
                format!(
                    "{files} without readable times in the footer: what expires of them is not \
                     counted"
                ),
                Tone::Notable,
            );
        }
    }
    if let Some(estimate) = plan.estimate.as_ref().filter(|_| !plan.groups.is_empty()) {
        add_estimate(&mut lines, estimate);
    }
    lines.draw(style)
}

fn add_estimate(lines: &mut Lines, estimate: &Estimate) {
    if estimate.objects.count > 0 {
        let class = estimate
            .cost
            .as_ref()
            .and_then(|c| c.storage_class.as_deref());
        lines.add("archive:", objects(&estimate.objects, class));
    }
    lines.add(
        "requests:",
        requests(
            &estimate.requests,
            estimate
                .cost
                .as_ref()
                .map(|c| Amount(c.requests_once, &c.currency)),
        ),
    );
    if let Some(cost) = estimate
        .cost
        .as_ref()
        .filter(|c| c.keeping_per_month > 0.0 || c.archived_per_month > 0.0)
    {
        lines.add("a month:", a_month(cost));
    }
    for warning in &estimate.warnings {
        lines.toned("warning:", warning.to_string(), Tone::Notable);
    }
}

/// The lines of all tenants together, with an archive of `class`.
pub fn totals(
    t: &Totals,
    prices: &Prices,
    class: Option<&str>,
    is_billed: bool,
    style: Style,
) -> Option<String> {
    let mut lines = Lines::new();
    if t.rows_with_ttl > 0 {
        lines.add(
            "expires:",
            share(t.rows_expiring, t.rows_with_ttl, t.bytes_expiring),
        );
    }
    if t.archive_objects > 0 {
        lines.add(
            "archive:",
            format!(
                "{}, {}",
                plural(t.archive_objects, "object"),
                size(t.archive_bytes)
            ),
        );
    }
    let amount = |amount| Amount(amount, &prices.currency);
    lines.add(
        "requests:",
        requests(&t.requests, Some(amount(t.requests_once))),
    );
    if t.keeping_per_month > 0.0 || t.archived_per_month > 0.0 {
        lines.add(
            "a month:",
            compared(
                amount(t.keeping_per_month),
                amount(t.archived_per_month),
                t.saved_per_month,
                t.archive_objects > 0,
            ),
        );
    }
    let as_if = if is_billed { "" } else { "as if on S3: " };
    lines.add(
        "prices:",
        format!(
            "{as_if}those of {}; put yours into [prices]",
            prices.origin(class.unwrap_or(STANDARD))
        ),
    );
    lines.draw(style)
}

/// `40 of 80 rows (50%), 1.2 MiB`
fn expires(e: &Expiry) -> String {
    share(e.rows_expiring, e.rows, e.bytes_expiring)
}

fn share(expiring: u64, rows: u64, bytes: u64) -> String {
    if expiring == 0 {
        return format!("nothing of {}", plural(rows, "row"));
    }
    format!(
        "about {} of {} ({}), {}",
        count(expiring),
        plural(rows, "row"),
        percent(expiring, rows),
        size(bytes)
    )
}

/// With one decimal, and never 0 or 100 where it is not.
fn percent(part: u64, whole: u64) -> String {
    let tenths = u128::from(part) * 1_000 / u128::from(whole.max(1));
    match tenths {
        0 => "under 0.1%".to_owned(),
        n if n % 10 == 0 => format!("{}%", n / 10),
        n => format!("{}.{}%", n / 10, n % 10),
    }
}

fn objects(o: &Objects, class: Option<&str>) -> String {
    let class = class.map(|c| format!(" in {c}")).unwrap_or_default();
    let sizes = if o.smallest_bytes == o.largest_bytes {
        size(o.largest_bytes)
    } else {
        format!("{} to {}", size(o.smallest_bytes), size(o.largest_bytes))
    };
    let each = if o.count > 1 {
        format!("{sizes} each, {} together", size(o.bytes))
    } else {
        sizes
    };
    format!("{}{class}: {each}", plural(o.count, "object"))
}

fn requests(r: &Requests, cost: Option<Amount<'_>>) -> String {
    let cost = cost.map(|c| format!(", {c} once")).unwrap_or_default();
    format!("about {} ({}){cost}", count(r.total()), counted(&r.kinds()))
}

fn a_month(cost: &Cost) -> String {
    let amount = |a| Amount(a, &cost.currency);
    let compared = compared(
        amount(cost.keeping_per_month),
        amount(cost.archived_per_month),
        cost.saved_per_month,
        cost.storage_class.is_some(),
    );
    let paid = cost
        .break_even_months
        .filter(|m| cost.archiving_once > 0.0 && *m > 0.0)
        .map(|m| {
            format!(
                "; archiving costs {} once, paid back {}",
                amount(cost.archiving_once),
                after(m)
            )
        });
    compared + &paid.unwrap_or_default()
}

fn compared(keeping: Amount<'_>, archived: Amount<'_>, saved: f64, is_archived: bool) -> String {
    let Amount(_, currency) = keeping;
    let verdict = match saved {
        0.0 => "saves nothing".to_owned(),
        s if s < 0.0 => format!("costs {} more", Amount(-s, currency)),
        s => format!("saves {}", Amount(s, currency)),
    };
    if is_archived {
        format!("{keeping} where these rows are, {archived} in the archive: {verdict}")
    } else {
        format!("{keeping} where these rows are, nothing once they are dropped")
    }
}

/// `within a day`, `after 12 days`, `after 7 months`, `after 3 years`
fn after(months: f64) -> String {
    let days = (months * 30.0).ceil();
    match days {
        d if d <= 1.0 => "within a day".to_owned(),
        d if d <= 60.0 => format!("after {d:.0} days"),
        d if d <= 720.0 => format!("after {:.0} months", months.ceil()),
        d if d <= 36_000.0 => format!("after {:.0} years", (months / 12.0).ceil()),
        _ => "after more than a hundred years".to_owned(),
    }
}

/// A label and a sentence each.
struct Lines(Grid);

impl Lines {
    fn new() -> Self {
        Self(Grid::new([words(""), prose("")]).indented(2))
    }

    fn add(&mut self, label: &'static str, text: String) {
        self.0.row([label.into(), text.into()]);
    }

    fn toned(&mut self, label: &'static str, text: String, tone: Tone) {
        self.0.row([label.into(), Cell::toned(text, Some(tone))]);
    }

    fn draw(&self, style: Style) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.draw(style))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_never_rounded_to_nothing() {
        assert_eq!(
            [
                percent(1, 100_000),
                percent(1, 1_000),
                percent(999, 1_000),
                percent(1, 2),
                percent(5, 5)
            ],
            ["under 0.1%", "0.1%", "99.9%", "50%", "100%"]
        );
        assert_eq!(share(0, 1, 0), "nothing of 1 row");
    }

    #[test]
    fn break_even_is_in_the_unit_that_fits() {
        let texts = [0.01, 0.4, 2.0, 7.2, 23.9, 30.0, 100_000.0].map(after);
        assert_eq!(
            texts,
            [
                "within a day",
                "after 12 days",
                "after 60 days",
                "after 8 months",
                "after 24 months",
                "after 3 years",
                "after more than a hundred years"
            ]
        );
    }
}
