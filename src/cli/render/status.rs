//! How the store stands.

mod attention;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use icepack_core::model::inspect::{LastError, LastRun, StatusReport, TenantStatus};
use icepack_core::model::report::Status;
use serde::Serialize;

use super::super::args::{SortBy, StatusArgs};
use super::table::{Cell, Grid, Tone, numbers, words};
use super::text::{
    about, count, minute, no_tenants, plural, row_time, second, size, took, unless_zero,
};
use super::{Report, View, failures};
use crate::format::one_line;

/// Tenants that are shown where nobody asked for all: a page.
const PAGE: usize = 20;

/// The document of `status --json`, and how the text shows it.
#[derive(Debug, Serialize)]
pub struct StatusDocument<'a> {
    #[serde(flatten)]
    pub report: &'a StatusReport,
    /// What the table is sorted by.
    #[serde(skip)]
    sort: Option<SortBy>,
    /// Whether nothing is left out.
    #[serde(skip)]
    all: bool,
}

impl<'a> StatusDocument<'a> {
    pub fn new(report: &'a StatusReport, args: &StatusArgs) -> Self {
        Self {
            report,
            sort: args.sort,
            all: args.all,
        }
    }
}

impl Report for StatusDocument<'_> {
    /// A row for each tenant and one for all, what needs a look, and when the last pass was.
    fn text(&self, view: View<'_>) -> String {
        let mut lines = Vec::new();
        if self.report.tenants.is_empty() {
            lines.push(no_tenants(view.wanted));
        } else {
            lines.push(self.table().draw(view.style));
            lines.extend(self.left_out());
        }
        lines.extend(attention::lines(self.report, self.all));
        lines.extend(passes(self.report));
        lines.join("\n")
    }

    fn exit_code(&self) -> u8 {
        failures::exit_code(&self.report.failures, self.report.tenants.len())
    }

    fn problems(&self, _: bool) -> Vec<String> {
        failures::problems(&self.report.failures)
    }
}

impl StatusDocument<'_> {
    fn table(&self) -> Grid {
        let errors = self.report.last_errors.iter();
        let errors: BTreeMap<&str, &LastError> = errors.map(|e| (e.tenant.as_str(), e)).collect();
        let mut grid = header();
        for t in self.shown() {
            grid.row(row(t, errors.get(t.tenant.as_str()).copied()));
        }
        if self.report.tenants.len() > 1 {
            grid.row(total(&self.report.tenants));
        }
        grid
    }

    /// The rows of the table, in their order.
    fn shown(&self) -> Vec<&TenantStatus> {
        let mut shown: Vec<&TenantStatus> = self.report.tenants.iter().collect();
        let is_long = shown.len() > PAGE;
        match self.sort {
            Some(by) => sort(&mut shown, by),
            None if self.all || !is_long => {}
            None => {
                shown.retain(|t| self.is_worth_a_look(t));
                shown.sort_by_key(|t| (Reverse(self.trouble(t)), Reverse(t.raw_bytes)));
            }
        }
        if is_long && !self.all {
            shown.truncate(PAGE);
        }
        shown
    }

    fn has_failed(&self, t: &TenantStatus) -> bool {
        let name = t.tenant.as_str();
        self.report.last_errors.iter().any(|e| e.tenant == name)
    }

    /// What a person may have to do something about; the worst first.
    fn trouble(&self, t: &TenantStatus) -> [bool; 4] {
        [
            self.has_failed(t) || !t.left_alone.foreign.is_empty(),
            !t.aside.is_empty(),
            t.overdue_s.is_some_and(|s| s > 0),
            !t.holds.is_empty(),
        ]
    }

    /// Whether anything is to be done, by a person or by the next pass.
    fn is_worth_a_look(&self, t: &TenantStatus) -> bool {
        self.trouble(t).contains(&true) || t.raw_files > t.adopted || t.retired > 0 || t.orphans > 0
    }

    /// How many tenants the table leaves out, and what is to be done for them.
    fn left_out(&self) -> Option<String> {
        let shown = self.shown();
        let more = self.report.tenants.len() - shown.len();
        let is_busy = |t: &&TenantStatus| self.is_worth_a_look(t);
        let busy = self.report.tenants.iter().filter(is_busy).count()
            - shown.iter().copied().filter(is_busy).count();
        let what = match busy {
            0 => "with nothing to do".to_owned(),
            n if n == more => "with something to do".to_owned(),
            n => format!("{} of them with something to do", count(n as u64)),
        };
        (more > 0).then(|| {
            format!(
                "not shown: {}, {what}; --all shows all",
                plural(more as u64, "tenant")
            )
        })
    }
}

/// Those that are equal stay in the order of their names.
fn sort(tenants: &mut [&TenantStatus], by: SortBy) {
    tenants.sort_by_key(|t| {
        Reverse(match by {
            SortBy::Name => 0,
            SortBy::Raw => t.raw_files,
            SortBy::Bytes => t.raw_bytes + t.snapshot_bytes,
            SortBy::Rows => t.snapshot_rows,
            SortBy::Oldest => t.oldest_raw_s.unwrap_or_default(),
            SortBy::Overdue => t.overdue_s.unwrap_or_default(),
        })
    });
}

/// The last pass, and the last that ended otherwise.
fn passes(report: &StatusReport) -> Vec<String> {
    let Some(last) = &report.last_run else {
        return vec!["last pass: none is recorded".to_owned()];
    };
    let mut lines = vec![format!(
        "last pass: {}, took {}, {}{}",
        second(last.started_at),
        took(last.duration_ms),
        last.status.as_str(),
        why(last)
    )];
    let same = |run: &LastRun| run.started_at == last.started_at;
    match &report.last_success {
        Some(run) if !same(run) => lines.push(format!("last success: {}", second(run.started_at))),
        None => lines.push("last success: none is recorded".to_owned()),
        Some(_) => {}
    }
    if let Some(run) = report.last_failure.as_ref().filter(|run| !same(run)) {
        lines.push(format!(
            "last failure: {}, {}{}",
            second(run.started_at),
            run.status.as_str(),
            why(run)
        ));
    }
    lines
}

fn why(run: &LastRun) -> String {
    run.error
        .as_deref()
        .map(|e| format!(": {}", one_line(e)))
        .unwrap_or_default()
}

fn header() -> Grid {
    Grid::new([
        words("tenant").shortened(),
        words("last pass").if_any(),
        numbers("folders").if_any().if_room(),
        numbers("raw"),
        numbers("bytes").unless_narrow(),
        numbers("adopted").if_any().if_room(),
        numbers("oldest").if_any().if_room(),
        numbers("snapshots").unless_narrow(),
        numbers("bytes").if_room(),
        numbers("rows"),
        words("from").if_any().if_room(),
        words("to").if_any().if_room(),
        numbers("retired").if_any().if_room(),
        numbers("orphans").if_any().if_room(),
        numbers("quarantined").if_any().unless_narrow(),
        numbers("set aside").if_any().unless_narrow(),
        numbers("archived").if_any().if_room(),
        numbers("expired").if_any().if_room(),
        words("ttl").if_room(),
        words("overdue").if_any(),
        words("held until").if_any().unless_narrow(),
    ])
}

fn row(t: &TenantStatus, error: Option<&LastError>) -> Vec<Cell> {
    let warn = |text: String| Cell::toned(text, Some(Tone::Notable));
    let tone = |e: &LastError| match e.status {
        Status::Refused | Status::Failed => Tone::Bad,
        _ => Tone::Notable,
    };
    let held = t.holds.iter().map(|h| h.until).max();
    vec![
        t.tenant.as_str().into(),
        error.map_or_else(
            || "".into(),
            |e| Cell::toned(e.status.as_str(), Some(tone(e))),
        ),
        // Of a single one there is nothing to tell.
        unless_zero(if t.folders > 1 { t.folders } else { 0 }).into(),
        count(t.raw_files).into(),
        size(t.raw_bytes).into(),
        unless_zero(t.adopted).into(),
        t.oldest_raw_s.map(about).unwrap_or_default().into(),
        count(t.snapshots).into(),
        size(t.snapshot_bytes).into(),
        count(t.snapshot_rows).into(),
        row_time(t.oldest).into(),
        row_time(t.newest).into(),
        unless_zero(t.retired).into(),
        unless_zero(t.orphans).into(),
        warn(unless_zero(t.quarantined)),
        warn(unless_zero(t.set_aside)),
        unless_zero(t.rows_archived).into(),
        unless_zero(t.rows_expired).into(),
        t.ttl_s.map_or_else(|| "forever".to_owned(), about).into(),
        warn(
            t.overdue_s
                .filter(|s| *s > 0)
                .map(about)
                .unwrap_or_default(),
        ),
        held.map(minute).unwrap_or_default().into(),
    ]
}

/// The row of all tenants, shown or not.
fn total(tenants: &[TenantStatus]) -> Vec<Cell> {
    let sum = |of: fn(&TenantStatus) -> u64| tenants.iter().map(of).fold(0, u64::saturating_add);
    let most = |of: fn(&TenantStatus) -> Option<u64>| {
        let most = tenants.iter().filter_map(of).filter(|s| *s > 0).max();
        most.map(about).unwrap_or_default()
    };
    vec![
        format!("total of {}", count(tenants.len() as u64)).into(),
        "".into(),
        unless_zero(sum(|t| if t.folders > 1 { t.folders } else { 0 })).into(),
        count(sum(|t| t.raw_files)).into(),
        size(sum(|t| t.raw_bytes)).into(),
        unless_zero(sum(|t| t.adopted)).into(),
        most(|t| t.oldest_raw_s).into(),
        count(sum(|t| t.snapshots)).into(),
        size(sum(|t| t.snapshot_bytes)).into(),
        count(sum(|t| t.snapshot_rows)).into(),
        row_time(tenants.iter().filter_map(|t| t.oldest).min()).into(),
        row_time(tenants.iter().filter_map(|t| t.newest).max()).into(),
        unless_zero(sum(|t| t.retired)).into(),
        unless_zero(sum(|t| t.orphans)).into(),
        unless_zero(sum(|t| t.quarantined)).into(),
        unless_zero(sum(|t| t.set_aside)).into(),
        unless_zero(sum(|t| t.rows_archived)).into(),
        unless_zero(sum(|t| t.rows_expired)).into(),
        "".into(),
        most(|t| t.overdue_s).into(),
        "".into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use icepack_core::model::file::Micros;
    use icepack_core::model::names::Tenant;
    use icepack_core::model::report::SCHEMA_VERSION;
    use icepack_core::model::totals::SizeHistogram;

    fn tenant(name: &str) -> TenantStatus {
        TenantStatus {
            tenant: Tenant::parse(name).unwrap(),
            head_version: 3,
            folders: 1,
            classes: Vec::new(),
            raw_files: 2,
            raw_bytes: 4096,
            raw_sizes: SizeHistogram::default(),
            adopted: 0,
            adopted_rows: 0,
            oldest_raw_s: Some(7_260),
            snapshots: 1,
            snapshot_bytes: 1 << 20,
            snapshot_sizes: SizeHistogram::default(),
            snapshot_rows: 10_000,
            oldest: Some(Micros(1_777_297_507_000_000)),
            newest: Some(Micros(1_777_297_507_000_000)),
            retired: 0,
            retired_bytes: 0,
            listed_bytes: 0,
            orphans: 0,
            quarantined: 0,
            set_aside: 0,
            rows_archived: 0,
            rows_expired: 0,
            ttl_s: None,
            overdue_s: None,
            forecast: None,
            aside: Vec::new(),
            holds: Vec::new(),
            left_alone: Default::default(),
        }
    }

    fn with_passes(
        tenants: Vec<TenantStatus>,
        [last_run, last_success, last_failure]: [Option<LastRun>; 3],
    ) -> String {
        let report = StatusReport {
            schema_version: SCHEMA_VERSION,
            tenants,
            failures: Vec::new(),
            last_errors: Vec::new(),
            last_run,
            last_success,
            last_failure,
        };
        StatusDocument {
            report: &report,
            sort: None,
            all: false,
        }
        .text(View::default())
    }

    #[test]
    fn the_last_pass_the_last_good_one_and_the_last_bad_one() {
        let run = |at, status, error: Option<&str>| {
            let started_at = chrono::DateTime::from_timestamp(at, 0).unwrap();
            Some(LastRun {
                started_at,
                duration_ms: 2_000,
                status,
                error: error.map(str::to_owned),
            })
        };
        let (good, bad) = (
            run(1_777_000_000, Status::Done, None),
            run(
                1_777_003_600,
                Status::Failed,
                Some("1 of 2 tenants\nhad errors"),
            ),
        );
        let text = with_passes(
            vec![tenant("acme")],
            [bad.clone(), good.clone(), bad.clone()],
        );
        assert!(
            text.ends_with(
                "took 2.0s, failed: 1 of 2 tenants had errors\nlast success: 2026-04-24 03:06:40Z"
            ),
            "{text}"
        );
        let text = with_passes(
            vec![tenant("acme")],
            [good.clone(), good.clone(), bad.clone()],
        );
        assert!(
            text.contains("\nlast failure: 2026-04-24 04:06:40Z, failed: 1 of 2")
                && !text.contains("last success"),
            "{text}"
        );
        assert!(
            with_passes(Vec::new(), [bad.clone(), None, bad])
                .ends_with("last success: none is recorded")
        );
    }

    fn shown(tenants: Vec<TenantStatus>) -> String {
        with_passes(tenants, [None, None, None])
    }

    #[test]
    fn what_is_usual_takes_no_column() {
        let text = shown(vec![tenant("acme")]);
        assert!(
            !text.contains("orphans")
                && !text.contains("folders")
                && !text.contains("overdue")
                && text.contains("forever")
                && text.contains("2h 1m"),
            "{text}"
        );
        assert!(text.ends_with("last pass: none is recorded"));
    }

    #[test]
    fn folders_are_counted_where_there_are_several() {
        let acme = TenantStatus {
            folders: 1_200,
            ..tenant("acme")
        };
        let text = shown(vec![acme, tenant("globex")]);
        assert!(text.contains("folders") && text.contains("1,200"), "{text}");
    }

    #[test]
    fn what_needs_a_look_is_shown() {
        let odd = TenantStatus {
            quarantined: 2,
            overdue_s: Some(90_000),
            ttl_s: Some(2_592_000),
            retired: 5,
            retired_bytes: 2048,
            ..tenant("odd")
        };
        let text = shown(vec![tenant("acme"), odd]);
        assert!(
            text.contains("overdue") && text.contains("1d 1h") && text.contains("30d"),
            "{text}"
        );
        assert!(
            text.contains("quarantined") && text.contains("5 files (2.0 KiB) compacted"),
            "{text}"
        );
    }

    #[test]
    fn an_empty_store_says_what_a_tenant_is() {
        assert!(shown(Vec::new()).starts_with("no tenants"));
    }
}
