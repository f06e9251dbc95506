//! What `verify` found.

use icepack_core::model::inspect::{Finding, Severity, VerifyReport};

use super::super::output::Style;
use super::table::{Cell, Grid, Tone, words};
use super::text::{count, counted, plural};
use super::{Report, View};
use crate::format::one_line;

impl Report for VerifyReport {
    /// The findings, the worst first, each with what it means and what mends it, and the sum.
    fn text(&self, view: View<'_>) -> String {
        let mut lines = Vec::new();
        if !self.findings.is_empty() {
            lines.extend(findings(&self.findings, view.style));
        }
        lines.push(summary(self));
        lines.join("\n")
    }

    /// 1 where data is missing or damaged.
    fn exit_code(&self) -> u8 {
        u8::from(number(self, Severity::Broken) > 0)
    }

    fn problems(&self, _: bool) -> Vec<String> {
        broken(self).into_iter().collect()
    }
}

/// A row of the table each, and its sentences below it: keys are long, and beside them no sentence
/// has room.
fn findings(findings: &[Finding], style: Style) -> Vec<String> {
    let mut grid = Grid::new([
        words("severity"),
        words("finding"),
        // The object's name begins with it.
        words("tenant").if_room(),
        words("object"),
    ]);
    for f in findings {
        let (word, tone) = severity(f.severity);
        grid.row([
            Cell::toned(word, tone),
            f.kind.as_str().into(),
            f.tenant.as_str().into(),
            f.key.as_str().into(),
        ]);
    }
    let drawn = grid.draw(style);
    let rows: Vec<&str> = drawn.lines().collect();
    // The titles and the rule come first.
    let (head, rows) = rows.split_at(rows.len().saturating_sub(findings.len()));
    let explained = rows.iter().zip(findings).map(|(row, f)| {
        format!(
            "{row}\n  {}\n  to do: {}",
            one_line(&f.what),
            one_line(&f.mend)
        )
    });
    head.iter()
        .map(|line| (*line).to_owned())
        .chain(explained)
        .collect()
}

fn summary(report: &VerifyReport) -> String {
    let seen = format!(
        "{}, {}, {}",
        plural(report.tenants, "tenant"),
        plural(report.snapshots, "snapshot"),
        plural(report.archives, "archive object")
    );
    let read = if report.deep {
        format!("; {} read back", plural(report.rows_read, "row"))
    } else {
        String::new()
    };
    let found = counted(&[
        ("broken", number(report, Severity::Broken)),
        ("to look at", number(report, Severity::Warning)),
        ("of note", number(report, Severity::Note)),
    ]);
    let found = if found.is_empty() {
        "all as it should be"
    } else {
        &found
    };
    format!("checked {seen}{read}: {found}")
}

fn number(report: &VerifyReport, severity: Severity) -> u64 {
    report
        .findings
        .iter()
        .filter(|f| f.severity == severity)
        .count() as u64
}

fn severity(severity: Severity) -> (&'static str, Option<Tone>) {
    match severity {
        Severity::Note => ("note", None),
        Severity::Warning => ("warning", Some(Tone::Notable)),
        Severity::Broken => ("broken", Some(Tone::Bad)),
    }
}

/// The first finding that is broken, and how many more there are.
fn broken(report: &VerifyReport) -> Option<String> {
    let broken = number(report, Severity::Broken);
    let first = report
        .findings
        .iter()
        .find(|f| f.severity == Severity::Broken)?;
    let more = if broken > 1 {
        format!(", and {} more", count(broken - 1))
    } else {
        String::new()
    };
    Some(format!(
        "`{}` of tenant `{}`: {}; {}{more}",
        first.key, first.tenant, first.what, first.mend
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use icepack_core::model::inspect::FindingKind;
    use icepack_core::model::report::SCHEMA_VERSION;

    fn report(severities: &[Severity]) -> VerifyReport {
        let finding = |severity: &Severity| Finding {
            tenant: "acme".into(),
            key: "acme/x".into(),
            severity: *severity,
            kind: FindingKind::Missing,
            what: "it is gone".into(),
            mend: "restore it".into(),
        };
        let findings = severities.iter().map(finding).collect();
        VerifyReport {
            schema_version: SCHEMA_VERSION,
            deep: true,
            tenants: 1,
            snapshots: 2,
            archives: 0,
            rows_read: 1_000,
            findings,
        }
    }

    #[test]
    fn only_what_is_broken_fails() {
        let exit_code = |severities: &[Severity]| report(severities).exit_code();
        assert_eq!(exit_code(&[Severity::Note, Severity::Warning]), 0);
        assert_eq!(exit_code(&[Severity::Broken, Severity::Note]), 1);
        assert!(report(&[Severity::Warning]).problems(false).is_empty());
        assert_eq!(
            report(&[Severity::Broken, Severity::Broken]).problems(false),
            ["`acme/x` of tenant `acme`: it is gone; restore it, and 1 more"]
        );
    }

    #[test]
    fn the_last_line_is_the_sum() {
        assert_eq!(
            report(&[]).text(View::default()),
            "checked 1 tenant, 2 snapshots, 0 archive objects; 1,000 rows read back: all as it \
             should be"
        );
        let text = report(&[Severity::Broken, Severity::Note]).text(View::default());
        assert!(
            text.ends_with("1 broken, 1 of note") && text.contains("restore it"),
            "{text}"
        );
    }

    #[test]
    fn each_finding_is_a_row_and_two_sentences() {
        let style = Style {
            color: false,
            width: Some(40),
        };
        let text = report(&[Severity::Broken, Severity::Note]).text(View {
            style,
            ..View::default()
        });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "severity  finding  tenant  object", "{text}");
        assert_eq!(
            lines[2..5],
            [
                "broken    missing  acme    acme/x",
                "  it is gone",
                "  to do: restore it"
            ],
            "{text}"
        );
        assert_eq!(
            (lines[5], lines.len()),
            ("note      missing  acme    acme/x", 9),
            "{text}"
        );
    }
}
