//! What `doctor` found.

use icepack_core::model::inspect::{Check, DoctorReport, Health};

use super::super::output::Style;
use super::table::{Cell, Grid, Tone};

/// 5 where safety is at stake, 1 where something does not work.
pub fn exit_code(report: &DoctorReport) -> u8 {
    match worst(report) {
        Some(Health::Unsafe) => 5,
        Some(Health::Bad) => 1,
        _ => 0,
    }
}

fn worst(report: &DoctorReport) -> Option<Health> {
    report
        .checks
        .iter()
        .map(|c| c.health)
        .max_by_key(|h| rank(*h))
}

fn rank(health: Health) -> u8 {
    match health {
        Health::Good => 0,
        Health::Limited => 1,
        Health::Bad => 2,
        Health::Unsafe => 3,
    }
}

/// A row for each probe, and the conclusion.
pub fn doctor(report: &DoctorReport, style: Style) -> String {
    let mut grid = Grid::default()
        .words("target")
        .words("probe")
        .words("result")
        .prose("detail")
        .if_any();
    for c in &report.checks {
        let (word, tone) = health(c.health);
        grid.row([
            c.target.as_str().into(),
            c.name.as_str().into(),
            Cell::toned(word, Some(tone)),
            c.detail.as_str().into(),
        ]);
    }
    let conclusion = match worst(report) {
        Some(Health::Unsafe) => "not safe to use: icepack refuses to run here",
        Some(Health::Bad) => "something that icepack needs does not work",
        Some(Health::Limited) => "fit for use, with the limits above",
        Some(Health::Good) => "fit for use",
        None => "nothing was probed",
    };
    if grid.is_empty() {
        conclusion.to_owned()
    } else {
        format!("{}\n{conclusion}", grid.draw(style))
    }
}

fn health(health: Health) -> (&'static str, Tone) {
    match health {
        Health::Good => ("good", Tone::Good),
        Health::Limited => ("limited", Tone::Notable),
        Health::Bad => ("bad", Tone::Bad),
        Health::Unsafe => ("UNSAFE", Tone::Bad),
    }
}

/// The line on stderr where the exit code is not 0.
pub fn verdict(report: &DoctorReport) -> Option<String> {
    let is_bad = |c: &&Check| matches!(c.health, Health::Bad | Health::Unsafe);
    let first = report
        .checks
        .iter()
        .filter(is_bad)
        .max_by_key(|c| rank(c.health))?;
    Some(format!(
        "{}: {}: {}",
        first.target, first.name, first.detail
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use icepack_core::model::report::SCHEMA_VERSION;

    fn report(healths: &[Health]) -> DoctorReport {
        let check = |health: &Health| Check {
            target: "store".into(),
            name: "conditional create".into(),
            health: *health,
            detail: "seen".into(),
        };
        DoctorReport {
            schema_version: SCHEMA_VERSION,
            checks: healths.iter().map(check).collect(),
        }
    }

    #[test]
    fn exit_codes() {
        assert_eq!(exit_code(&report(&[Health::Good, Health::Limited])), 0);
        assert_eq!(exit_code(&report(&[Health::Good, Health::Bad])), 1);
        assert_eq!(exit_code(&report(&[Health::Unsafe, Health::Bad])), 5);
        assert_eq!(verdict(&report(&[Health::Good])), None);
        assert!(verdict(&report(&[Health::Bad])).is_some());
    }

    #[test]
    fn the_conclusion_is_said() {
        let text = doctor(&report(&[Health::Good]), Style::default());
        assert!(
            text.contains("conditional create  good") && text.ends_with("\nfit for use"),
            "{text}"
        );
    }
}
