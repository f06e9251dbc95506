//! What of the store needs a person's look, in lines below the table.

use icepack_core::model::inputs::Left;
use icepack_core::model::inspect::{AsideFile, HeldRows, LastError, StatusReport, TenantStatus};
use icepack_core::model::report::Status;

use super::super::text::{classes, minute, plural, row_time, second, size};
use crate::format::one_line;

/// Lines of each kind that are shown where nobody asked for all.
const MOST: usize = 5;

/// What failed, what no pass takes, what is held, and what else is to be known.
pub fn lines(report: &StatusReport, all: bool) -> Vec<String> {
    let most = if all { usize::MAX } else { MOST };
    let tenants = &report.tenants;
    let mut lines = cut(errors(report), most, "error");
    lines.extend(cut(refused(report), most, "refused tenant"));
    lines.extend(files(tenants, most));
    let holds = tenants
        .iter()
        .flat_map(|t| t.holds.iter().map(move |h| held(t, h)));
    lines.extend(cut(holds.collect(), most, "hold"));
    let told = tenants.iter().flat_map(|t| {
        let told = classes(&t.classes).into_iter();
        told.map(move |line| format!("{}: {line}", t.tenant))
    });
    lines.extend(cut(told.collect(), most, "note"));
    let mut left = Left::default();
    tenants.iter().for_each(|t| left.add(&t.left_alone));
    lines.extend(left.ignored_line().map(|line| format!("no input: {line}")));
    lines.extend(retired(tenants));
    lines
}

/// The first of the lines, and how many there are beside them.
fn cut(mut lines: Vec<String>, most: usize, what: &str) -> Vec<String> {
    let more = lines.len().saturating_sub(most);
    lines.truncate(most);
    lines.extend((more > 0).then(|| and_more(more, what)));
    lines
}

fn and_more(more: usize, what: &str) -> String {
    format!(
        "… and {}: --all shows all",
        plural(more as u64, &format!("more {what}"))
    )
}

fn errors(report: &StatusReport) -> Vec<String> {
    // What keeps a tenant from being looked at now is told beside this text.
    let is_news = |e: &&LastError| {
        let mut failures = report.failures.iter();
        !failures.any(|f| f.tenant == e.tenant && f.error == e.error)
    };
    let errors = report.last_errors.iter().filter(is_news);
    errors
        .map(|e| {
            let why = one_line(&e.error);
            let why = why.strip_prefix("refused: ").unwrap_or(&why);
            format!(
                "{}: {} ({}): {why}",
                e.status.as_str(),
                e.tenant,
                second(e.at)
            )
        })
        .collect()
}

/// Tenants that the next pass will refuse, and that none has refused yet.
fn refused(report: &StatusReport) -> Vec<String> {
    let is_told = |t: &TenantStatus| {
        let mut errors = report.last_errors.iter();
        errors.any(|e| e.tenant == t.tenant.as_str() && e.status == Status::Refused)
    };
    let refused = report.tenants.iter().filter(|t| !is_told(t));
    refused
        .filter_map(|t| t.left_alone.refusal(&t.tenant))
        .map(|why| format!("refused: {}", one_line(&why)))
        .collect()
}

/// The files that no pass takes. The way on is said once for those that share it.
fn files(tenants: &[TenantStatus], most: usize) -> Vec<String> {
    let mut files: Vec<&AsideFile> = tenants.iter().flat_map(|t| &t.aside).collect();
    files.sort_by_key(|f| f.kind);
    let more = files.len().saturating_sub(most);
    files.truncate(most);
    let mut lines = Vec::new();
    for (n, f) in files.iter().enumerate() {
        lines.push(format!(
            "{}: {} (since {}): {}",
            f.kind.as_str(),
            one_line(&f.key),
            minute(f.since),
            one_line(&f.reason)
        ));
        if files.get(n + 1).is_none_or(|next| next.mend != f.mend) {
            lines.push(format!("  to do: {}", one_line(&f.mend)));
        }
    }
    lines.extend((more > 0).then(|| and_more(more, "file")));
    lines
}

/// `held: restored-acme: rows from 2026-01-01 00:00 on do not expire before 2026-12-29 22:05 (restored
/// from acme)`
fn held(t: &TenantStatus, hold: &HeldRows) -> String {
    let until = if hold.done {
        format!("before {}", minute(hold.until))
    } else {
        "until the restore is done, which the same command goes on with".to_owned()
    };
    format!(
        "held: {}: rows from {} on do not expire {until} (restored from {})",
        t.tenant,
        row_time(Some(hold.oldest)),
        hold.of
    )
}

fn retired(tenants: &[TenantStatus]) -> Option<String> {
    let files: u64 = tenants.iter().map(|t| t.retired).sum();
    let bytes: u64 = tenants.iter().map(|t| t.retired_bytes).sum();
    (files > 0).then(|| {
        format!(
            "{} ({}) compacted and waiting to be deleted by a later pass",
            plural(files, "file"),
            size(bytes)
        )
    })
}
