//! What `doctor` found.

use icepack_core::model::inspect::{Check, DoctorReport, Health};

use super::table::{Cell, Grid, Tone, prose, words};
use super::{Report, View};

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

impl Report for DoctorReport {
    /// A row for each probe, and the conclusion.
    fn text(&self, view: View<'_>) -> String {
        let grid = probes(self);
        let conclusion = match worst(self) {
            Some(Health::Unsafe) => "not safe to use: icepack refuses to run here",
            Some(Health::Bad) => "something that icepack needs does not work",
            Some(Health::Limited) => "fit for use, with the limits above",
            Some(Health::Good) => "fit for use",
            None => "nothing was probed",
        };
        if grid.is_empty() {
            conclusion.to_owned()
        } else {
            format!("{}\n{conclusion}", grid.draw(view.style))
        }
    }

    /// 5 where safety is at stake, 1 where something does not work.
    fn exit_code(&self) -> u8 {
        match worst(self) {
            Some(Health::Unsafe) => 5,
            Some(Health::Bad) => 1,
            _ => 0,
        }
    }

    /// The first of the worst checks.
    fn problems(&self, _: bool) -> Vec<String> {
        let is_bad = |c: &&Check| matches!(c.health, Health::Bad | Health::Unsafe);
        let bad = self.checks.iter().filter(is_bad);
        bad.max_by_key(|c| rank(c.health))
            .map(|c| format!("{}: {}: {}", c.target, c.name, c.detail))
            .into_iter()
            .collect()
    }
}

fn probes(report: &DoctorReport) -> Grid {
    let mut grid = Grid::new([
        words("target"),
        words("probe"),
        words("result"),
        prose("detail").if_any(),
    ]);
    for c in &report.checks {
        let (word, tone) = health(c.health);
        grid.row([
            c.target.as_str().into(),
            c.name.as_str().into(),
            Cell::toned(word, Some(tone)),
            c.detail.as_str().into(),
        ]);
    }
    grid
}

fn health(health: Health) -> (&'static str, Tone) {
    match health {
        Health::Good => ("good", Tone::Good),
        Health::Limited => ("limited", Tone::Notable),
        Health::Bad => ("bad", Tone::Bad),
        Health::Unsafe => ("UNSAFE", Tone::Bad),
    }
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
        assert_eq!(report(&[Health::Good, Health::Limited]).exit_code(), 0);
        assert_eq!(report(&[Health::Good, Health::Bad]).exit_code(), 1);
        assert_eq!(report(&[Health::Unsafe, Health::Bad]).exit_code(), 5);
        assert!(report(&[Health::Good]).problems(false).is_empty());
        assert_eq!(report(&[Health::Bad]).problems(false).len(), 1);
    }

    #[test]
    fn the_last_line_is_the_conclusion() {
        let text = report(&[Health::Good]).text(View::default());
        assert!(
            text.contains("conditional create  good") && text.ends_with("\nfit for use"),
            "{text}"
        );
    }
}
