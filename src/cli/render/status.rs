//! How the store stands.

use icepack_core::model::inputs::Left;
use icepack_core::model::inspect::{LastRun, StatusReport, TenantStatus};

use super::table::{Cell, Grid, Tone, numbers, words};
use super::text::{
    about, classes, count, no_tenants, plural, row_time, second, size, took, unless_zero,
};
use super::{Report, View, failures};
use crate::format::one_line;

impl Report for StatusReport {
    /// A row for each tenant, and when the last pass was.
    fn text(&self, view: View<'_>) -> String {
        let mut lines = Vec::new();
        if self.tenants.is_empty() {
            lines.push(no_tenants(view.wanted));
        } else {
            let mut grid = header();
            self.tenants.iter().for_each(|t| grid.row(row(t)));
            lines.push(grid.draw(view.style));
        }
        lines.extend(advice(self));
        lines.extend(passes(self));
        lines.join("\n")
    }

    fn exit_code(&self) -> u8 {
        failures::exit_code(&self.failures, self.tenants.len())
    }

    fn problems(&self, _: bool) -> Vec<String> {
        failures::problems(&self.failures)
    }
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
        words("tenant"),
        numbers("folders").if_any(),
        numbers("raw"),
        numbers("bytes"),
        numbers("adopted").if_any(),
        numbers("oldest").if_any(),
        numbers("snapshots"),
        numbers("bytes"),
        numbers("rows"),
        words("from").if_any().if_room(),
        words("to").if_any().if_room(),
        numbers("retired").if_any(),
        numbers("orphans").if_any(),
        numbers("quarantined").if_any(),
        numbers("archived").if_any(),
        numbers("expired").if_any(),
        words("ttl"),
        words("overdue").if_any(),
    ])
}

fn row(t: &TenantStatus) -> Vec<Cell> {
    let warn = |text: String| Cell::toned(text, Some(Tone::Notable));
    vec![
        t.tenant.as_str().into(),
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
        unless_zero(t.rows_archived).into(),
        unless_zero(t.rows_expired).into(),
        t.ttl_s.map_or_else(|| "forever".to_owned(), about).into(),
        warn(
            t.overdue_s
                .filter(|s| *s > 0)
                .map(about)
                .unwrap_or_default(),
        ),
    ]
}

fn advice(report: &StatusReport) -> Vec<String> {
    let mut lines = Vec::new();
    let quarantined: u64 = report.tenants.iter().map(|t| t.quarantined).sum();
    if quarantined > 0 {
        lines.push(format!(
            "{} in quarantine: `icepack plan --explain` says why",
            plural(quarantined, "file")
        ));
    }
    for t in &report.tenants {
        let told = classes(&t.classes).into_iter();
        lines.extend(told.map(|line| format!("{}: {line}", t.tenant)));
    }
    let mut left = Left::default();
    report.tenants.iter().for_each(|t| left.add(&t.left_alone));
    lines.extend(left.ignored_line().map(|line| format!("no input: {line}")));
    lines.extend(
        report
            .tenants
            .iter()
            .filter_map(|t| t.left_alone.refusal(&t.tenant))
            .map(|why| format!("refused: {}", one_line(&why))),
    );
    let set_aside: u64 = report.tenants.iter().map(|t| t.set_aside).sum();
    if set_aside > 0 {
        lines.push(format!(
            "{} set aside, under the names of compacted ones: `icepack plan --explain` says why",
            plural(set_aside, "file")
        ));
    }
    let retired: u64 = report.tenants.iter().map(|t| t.retired).sum();
    if retired > 0 {
        let bytes: u64 = report.tenants.iter().map(|t| t.retired_bytes).sum();
        lines.push(format!(
            "{} ({}) compacted and waiting to be deleted by the next pass",
            plural(retired, "file"),
            size(bytes)
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use icepack_core::model::file::Micros;
    use icepack_core::model::names::Tenant;
    use icepack_core::model::report::{SCHEMA_VERSION, Status};
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
            orphans: 0,
            quarantined: 0,
            set_aside: 0,
            rows_archived: 0,
            rows_expired: 0,
            ttl_s: None,
            overdue_s: None,
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
        report.text(View::default())
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
            text.contains("\n2 files in quarantine")
                && text.contains("5 files (2.0 KiB) compacted"),
            "{text}"
        );
    }

    #[test]
    fn an_empty_store_says_what_a_tenant_is() {
        assert!(shown(Vec::new()).starts_with("no tenants"));
    }
}
