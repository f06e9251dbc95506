//! How the store stands.

use icepack::model::inspect::{StatusReport, TenantStatus};

use super::super::output::Style;
use super::run::status_word;
use super::table::{Cell, Grid, Tone};
use super::text::{about, count, no_tenants, plural, row_time, second, size, took, unless_zero};

/// A row for each tenant, and when the last pass was. `wanted` are the tenants asked for.
pub fn status(report: &StatusReport, wanted: &[String], style: Style) -> String {
    let mut lines = Vec::new();
    if report.tenants.is_empty() {
        lines.push(no_tenants(wanted));
    } else {
        let mut grid = header();
        report.tenants.iter().for_each(|t| grid.row(row(t)));
        lines.push(grid.draw(style));
    }
    lines.extend(advice(report));
    lines.push(match &report.last_run {
        Some(run) => format!("last pass: {}, took {}, {}", second(run.started_at), took(run.duration_ms), status_word(run.status)),
        None => "last pass: none is recorded".to_owned(),
    });
    lines.join("\n")
}

fn header() -> Grid {
    let raw = Grid::default().words("tenant").numbers("raw").numbers("bytes").numbers("oldest").if_any();
    let packed = raw.numbers("snapshots").numbers("bytes").numbers("rows").words("from").if_any().if_room().words("to").if_any().if_room();
    let waiting = packed.numbers("retired").if_any().numbers("orphans").if_any().numbers("quarantined").if_any();
    waiting.numbers("archived").if_any().numbers("expired").if_any().words("ttl").words("overdue").if_any()
}

fn row(t: &TenantStatus) -> Vec<Cell> {
    let warn = |text: String| Cell::toned(text, Some(Tone::Notable));
    vec![
        t.tenant.as_str().into(),
        count(t.raw_files).into(),
        size(t.raw_bytes).into(),
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
        warn(t.overdue_s.filter(|s| *s > 0).map(about).unwrap_or_default()),
    ]
}

fn advice(report: &StatusReport) -> Vec<String> {
    let mut lines = Vec::new();
    let quarantined: u64 = report.tenants.iter().map(|t| t.quarantined).sum();
    if quarantined > 0 {
        lines.push(format!("{} in quarantine: `icepack plan --explain` says why", plural(quarantined, "file")));
    }
    let retired: u64 = report.tenants.iter().map(|t| t.retired).sum();
    if retired > 0 {
        let bytes: u64 = report.tenants.iter().map(|t| t.retired_bytes).sum();
        lines.push(format!("{} ({}) compacted and waiting to be deleted by the next pass", plural(retired, "file"), size(bytes)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use icepack::model::file::Micros;
    use icepack::model::names::Tenant;
    use icepack::model::report::SCHEMA_VERSION;

    fn tenant(name: &str) -> TenantStatus {
        TenantStatus {
            tenant: Tenant::parse(name).unwrap(),
            head_version: 3,
            raw_files: 2,
            raw_bytes: 4096,
            oldest_raw_s: Some(7_260),
            snapshots: 1,
            snapshot_bytes: 1 << 20,
            snapshot_rows: 10_000,
            oldest: Some(Micros(1_777_297_507_000_000)),
            newest: Some(Micros(1_777_297_507_000_000)),
            retired: 0,
            retired_bytes: 0,
            orphans: 0,
            quarantined: 0,
            rows_archived: 0,
            rows_expired: 0,
            ttl_s: None,
            overdue_s: None,
        }
    }

    fn shown(tenants: Vec<TenantStatus>) -> String {
        status(&StatusReport { schema_version: SCHEMA_VERSION, tenants, failures: Vec::new(), last_run: None }, &[], Style::default())
    }

    #[test]
    fn what_is_usual_takes_no_column() {
        let text = shown(vec![tenant("acme")]);
        assert!(!text.contains("orphans") && !text.contains("overdue") && text.contains("forever") && text.contains("2h 1m"), "{text}");
        assert!(text.ends_with("last pass: none is recorded"));
    }

    #[test]
    fn what_needs_a_look_is_shown() {
        let odd = TenantStatus { quarantined: 2, overdue_s: Some(90_000), ttl_s: Some(2_592_000), retired: 5, retired_bytes: 2048, ..tenant("odd") };
        let text = shown(vec![tenant("acme"), odd]);
        assert!(text.contains("overdue") && text.contains("1d 1h") && text.contains("30d"), "{text}");
        assert!(text.contains("\n2 files in quarantine") && text.contains("5 files (2.0 KiB) compacted"), "{text}");
    }

    #[test]
    fn an_empty_store_says_what_a_tenant_is() {
        assert!(shown(Vec::new()).starts_with("no tenants"));
    }
}
