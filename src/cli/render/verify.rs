//! What `verify` found.

use icepack_core::model::inspect::{Finding, Severity, VerifyReport};

use super::super::output::{Style, one_line};
use super::table::{Cell, Grid, Tone};
use super::text::{count, plural};

/// 1 where data is missing or damaged.
pub fn exit_code(report: &VerifyReport) -> u8 {
    u8::from(number(report, Severity::Broken) > 0)
}

/// The findings, the worst first, each with what it means and what mends it, and the sum.
pub fn verify(report: &VerifyReport, style: Style) -> String {
    let mut lines = Vec::new();
    if !report.findings.is_empty() {
        lines.extend(findings(&report.findings, style));
    }
    lines.push(summary(report));
    lines.join("\n")
}

/// A row of the table each, and its sentences below it: keys are long, and beside them no sentence
/// has room.
fn findings(findings: &[Finding], style: Style) -> Vec<String> {
    let mut grid = Grid::default()
        .words("severity")
        .words("finding")
        .words("tenant")
        .words("object");
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
    let told = rows.iter().zip(findings).map(|(row, f)| {
        format!(
            "{row}\n  {}\n  to do: {}",
            one_line(&f.what),
            one_line(&f.mend)
        )
    });
    head.iter()
        .map(|line| (*line).to_owned())
        .chain(told)
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
    let kinds = [
        (Severity::Broken, "broken"),
        (Severity::Warning, "to look at"),
        (Severity::Note, "of note"),
    ];
    let found: Vec<String> = kinds
        .iter()
        .filter(|(s, _)| number(report, *s) > 0)
        .map(|(s, word)| format!("{} {word}", count(number(report, *s))))
        .collect();
    let verdict = if found.is_empty() {
        "all as it should be".to_owned()
    } else {
        found.join(", ")
    };
    format!("checked {seen}{read}: {verdict}")
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

/// The line on stderr where something is broken.
pub fn verdict(report: &VerifyReport) -> Option<String> {
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
        assert_eq!(exit_code(&report(&[Severity::Note, Severity::Warning])), 0);
        assert_eq!(exit_code(&report(&[Severity::Broken, Severity::Note])), 1);
        assert_eq!(verdict(&report(&[Severity::Warning])), None);
        assert_eq!(
            verdict(&report(&[Severity::Broken, Severity::Broken])).unwrap(),
            "`acme/x` of tenant `acme`: it is gone; restore it, and 1 more"
        );
    }

    #[test]
    fn the_sum_is_said() {
        assert_eq!(
            verify(&report(&[]), Style::default()),
            "checked 1 tenant, 2 snapshots, 0 archive objects; 1,000 rows read back: all as it \
             should be"
        );
        let text = verify(
            &report(&[Severity::Broken, Severity::Note]),
            Style::default(),
        );
        assert!(
            text.ends_with("1 broken, 1 of note") && text.contains("restore it"),
            "{text}"
        );
    }

    #[test]
    fn each_finding_is_a_row_and_two_sentences() {
        let text = verify(
            &report(&[Severity::Broken, Severity::Note]),
            Style {
                color: false,
                width: Some(40),
            },
        );
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
