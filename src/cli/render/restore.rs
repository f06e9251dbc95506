//! What a restore would do, or did.

use icepack_core::model::estimate::Amount;
use icepack_core::model::restore::{
    ColdState, RestoreObject, RestoreReport, RestoreStatus, TenantRestore, Tier,
};

use super::super::output::Style;
use super::table::{Cell, Grid, Tone, numbers, words};
use super::text::{about, count, minute, plural, second, size};
use super::{Report, View};
use crate::format::one_line;

impl Report for RestoreReport {
    /// Tenant by tenant: what is read, and what came of it.
    fn text(&self, view: View<'_>) -> String {
        let is_nothing = |t: &TenantRestore| t.status == RestoreStatus::Empty && t.error.is_none();
        if self.tenants.iter().all(is_nothing) {
            return format!(
                "nothing is archived in {}{} for these tenants",
                self.archive,
                range(self)
            );
        }
        let parts: Vec<String> = self
            .tenants
            .iter()
            .filter(|t| t.status != RestoreStatus::Empty)
            .map(|t| tenant(self, t, view.style))
            .collect();
        parts.join("\n\n")
    }

    /// 5 where a person is needed, 1 where all failed, 3 where some did, 6 where some wait to be
    /// thawed.
    fn exit_code(&self) -> u8 {
        let with = |status| self.tenants.iter().filter(|t| t.status == status).count();
        match (with(RestoreStatus::Refused), with(RestoreStatus::Failed)) {
            (0, 0) if with(RestoreStatus::Thawing) > 0 => NOT_YET,
            (0, 0) => 0,
            (0, failed) if failed == self.tenants.len() => 1,
            (0, _) => 3,
            _ => 5,
        }
    }

    fn problems(&self, detail: bool) -> Vec<String> {
        let failed = self
            .tenants
            .iter()
            .filter_map(|t| Some((t, t.error.as_ref()?)));
        let line = |(first, why): (&TenantRestore, &String)| {
            let why = if detail {
                format!(": {why}")
            } else {
                String::new()
            };
            format!(
                "{} of {} not restored: {}{why}",
                failed.clone().count(),
                plural(self.tenants.len() as u64, "tenant"),
                first.tenant
            )
        };
        let failed = failed.clone().next().map(line);
        failed.into_iter().chain(not_yet(self)).collect()
    }
}

/// The exit code where rows wait to be thawed: nothing is wrong, and nothing is there yet.
const NOT_YET: u8 = 6;

/// Said where the command ends before the rows are there.
fn not_yet(report: &RestoreReport) -> Option<String> {
    let thawing = report.tenants.iter();
    let thawing = thawing.filter(|t| t.status == RestoreStatus::Thawing);
    let longest = thawing.clone().flat_map(|t| &t.objects);
    let longest = longest.filter_map(|o| Some(o.thaw_minutes?.1)).max();
    let within = longest.map_or_else(String::new, |minutes| {
        format!(", which takes up to {}", about(u64::from(minutes) * 60))
    });
    let n = thawing.count() as u64;
    (n > 0).then(|| {
        format!(
            "not restored yet: {} of {} being thawed{within}: run the same command again then",
            count(n),
            plural(report.tenants.len() as u64, "tenant"),
        )
    })
}

fn range(report: &RestoreReport) -> String {
    match (report.from, report.to) {
        (None, None) => String::new(),
        (Some(from), None) => format!(" from {} on", second(from.to_datetime())),
        (None, Some(to)) => format!(" before {}", second(to.to_datetime())),
        (Some(from), Some(to)) => format!(
            " from {} to {}",
            second(from.to_datetime()),
            second(to.to_datetime())
        ),
    }
}

fn tenant(report: &RestoreReport, t: &TenantRestore, style: Style) -> String {
    let bytes = t.objects.iter().map(|o| o.size).sum();
    let range = Some(range(report))
        .filter(|r| !r.is_empty())
        .map_or_else(String::new, |r| format!(", with rows{r}"));
    let mut lines = vec![format!(
        "{}: {}, {}{range}",
        t.tenant,
        plural(t.objects.len() as u64, "archive object"),
        size(bytes)
    )];
    if !t.objects.is_empty() {
        lines.push(objects(&t.objects, style));
    }
    if t.cost > 0.0 && report.archive.starts_with("s3://") {
        lines.push(format!(
            "  reading that costs about {} (list prices: {})",
            Amount(t.cost, &report.currency),
            report.prices
        ));
    }
    let is_other = |o: &&RestoreObject| o.tier.is_some_and(|tier| tier != report.tier);
    if let Some(o) = t.objects.iter().find(is_other) {
        lines.push(format!(
            "  {} has no tier {}: its objects are thawed as {}",
            o.storage_class.as_deref().unwrap_or_default(),
            report.tier,
            o.tier.unwrap_or_default()
        ));
    }
    if t.objects.iter().any(|o| o.cost.is_none()) {
        lines.push(format!(
            "  the price list has nothing for {} of them at this tier",
            count(t.objects.iter().filter(|o| o.cost.is_none()).count() as u64)
        ));
    }
    lines.push(format!("  {}", outcome(report, t)));
    lines.join("\n")
}

fn objects(objects: &[RestoreObject], style: Style) -> String {
    let mut grid = Grid::new([
        numbers("bytes"),
        numbers("rows"),
        words("class"),
        words("state"),
        // The longest comes last: where it is too long for the terminal, the others stand.
        words("object"),
    ])
    .indented(2);
    for o in objects {
        let (state, tone) = state(o);
        let class = o.storage_class.as_deref().unwrap_or("STANDARD");
        grid.row([
            size(o.size).into(),
            count(o.rows).into(),
            class.into(),
            Cell::toned(state, tone),
            o.key.as_str().into(),
        ]);
    }
    grid.draw(style)
}

fn state(o: &RestoreObject) -> (String, Option<Tone>) {
    let within = o.thaw_minutes.map_or_else(String::new, |(from, to)| {
        format!(
            ", takes {} to {}",
            about(u64::from(from) * 60),
            about(u64::from(to) * 60)
        )
    });
    match o.state {
        ColdState::Readable { until: None } => ("readable".to_owned(), None),
        ColdState::Readable { until: Some(until) } => {
            (format!("thawed until {}", minute(until)), Some(Tone::Good))
        }
        ColdState::Frozen => (format!("frozen{within}"), Some(Tone::Notable)),
        ColdState::Thawing => (format!("thawing{within}"), Some(Tone::Notable)),
        ColdState::Missing => ("MISSING".to_owned(), Some(Tone::Bad)),
    }
}

fn outcome(report: &RestoreReport, t: &TenantRestore) -> String {
    let held = t.held_until.map_or_else(String::new, |until| {
        format!(", held until {}", minute(until))
    });
    let wanted = |wanted: fn(&ColdState) -> bool| {
        t.objects.iter().filter(|o| wanted(&o.state)).count() as u64
    };
    match t.status {
        RestoreStatus::Empty => "nothing is archived".to_owned(),
        RestoreStatus::Planned => match wanted(|s| matches!(s, ColdState::Frozen)) {
            0 => format!(
                "would restore into tenant {} of {}; nothing was written",
                t.into, report.into
            ),
            n => format!(
                "would thaw {} ({}), then restore into tenant {} of {}; nothing was written",
                plural(n, "object"),
                tiers(report, t),
                t.into,
                report.into
            ),
        },
        RestoreStatus::Thawing => {
            let n = wanted(|s| !matches!(s, ColdState::Readable { .. }));
            format!(
                "{} being thawed ({}): run the same command again to go on, or with --wait",
                plural(n, "object"),
                tiers(report, t)
            )
        }
        RestoreStatus::Done => format!(
            "restored {} in {} ({}) into tenant {} of {}{held}; every row was compared with its \
             receipt",
            plural(t.rows, "row"),
            plural(t.files.len() as u64, "file"),
            size(t.bytes),
            t.into,
            report.into
        ),
        RestoreStatus::Already => {
            format!(
                "these rows were restored into tenant {} of {} before{held}: nothing was written; \
                 --again brings them once more",
                t.into, report.into
            )
        }
        RestoreStatus::Failed | RestoreStatus::Refused => {
            one_line(t.error.as_deref().unwrap_or_default())
        }
    }
}

/// `tier Bulk`, or several.
fn tiers(report: &RestoreReport, t: &TenantRestore) -> String {
    let mut tiers: Vec<&str> = t
        .objects
        .iter()
        .filter_map(|o| o.tier)
        .map(Tier::name)
        .collect();
    tiers.sort_unstable();
    tiers.dedup();
    match tiers.as_slice() {
        [] => format!("tier {}", report.tier),
        [one] => format!("tier {one}"),
        several => format!("tiers {}", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use icepack_core::model::file::Micros;
    use icepack_core::model::names::Tenant;

    fn object(state: ColdState, cost: Option<f64>) -> RestoreObject {
        let thaw_minutes = matches!(state, ColdState::Frozen).then_some((720, 2_880));
        RestoreObject {
            key: "acme/x.parquet".into(),
            size: 3 << 30,
            rows: 40,
            from: None,
            to: None,
            storage_class: Some("DEEP_ARCHIVE".into()),
            state,
            tier: thaw_minutes.map(|_| Tier::Bulk),
            thaw_minutes,
            cost,
        }
    }

    fn report(status: RestoreStatus, objects: Vec<RestoreObject>) -> RestoreReport {
        let tenant = |name: &str| Tenant::parse(name).unwrap();
        let cost = objects.iter().filter_map(|o| o.cost).sum();
        let part = TenantRestore {
            tenant: tenant("acme"),
            into: tenant("restored-acme"),
            status,
            error: (status == RestoreStatus::Refused).then(|| "no\nrows".to_owned()),
            objects,
            hold: None,
            held_until: None,
            rows: 40,
            files: vec!["restored-acme/y.parquet".into()],
            bytes: 1 << 20,
            cost,
        };
        RestoreReport {
            schema_version: 1,
            archive: "s3://cold".into(),
            into: "s3://hot".into(),
            from: Some(Micros(0)),
            to: None,
            tier: Tier::Bulk,
            currency: "USD".into(),
            prices: "us-east-1, a day, a page".into(),
            tenants: vec![part],
        }
    }

    #[test]
    fn a_restore_says_what_it_reads_how_long_that_takes_and_what_it_costs() {
        let frozen = vec![object(ColdState::Frozen, Some(0.25))];
        let text = report(RestoreStatus::Planned, frozen).text(View::default());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "acme: 1 archive object, 3.0 GiB, with rows from 1970-01-01 00:00:00Z on"
        );
        assert!(
            text.contains("DEEP_ARCHIVE  frozen, takes 12h to 2d  acme/x.parquet"),
            "{text}"
        );
        assert!(
            text.contains("reading that costs about")
                && text.contains("0.25")
                && text.contains("us-east-1"),
            "{text}"
        );
        assert!(
            text.ends_with(
                "would thaw 1 object (tier Bulk), then restore into tenant restored-acme of \
                 s3://hot; nothing was written"
            ),
            "{text}"
        );
        let thawing = vec![object(ColdState::Thawing, None)];
        let unpriced = report(RestoreStatus::Thawing, thawing).text(View::default());
        assert!(
            unpriced.contains("the price list has nothing for 1 of them")
                && unpriced.ends_with("run the same command again to go on, or with --wait"),
            "{unpriced}"
        );
    }

    #[test]
    fn another_tier_than_was_asked_for_is_told() {
        let mut expedited = report(
            RestoreStatus::Planned,
            vec![RestoreObject {
                tier: Some(Tier::Standard),
                ..object(ColdState::Frozen, Some(0.0004))
            }],
        );
        expedited.tier = Tier::Expedited;
        let text = expedited.text(View::default());
        assert!(
            text.contains(
                "\n  DEEP_ARCHIVE has no tier Expedited: its objects are thawed as Standard\n"
            ) && text.contains("would thaw 1 object (tier Standard)")
                && text.contains("reading that costs about $0.00040 ("),
            "{text}"
        );
        expedited.archive = "/cold".to_owned();
        assert!(
            !expedited.text(View::default()).contains("costs"),
            "a directory is free"
        );
    }

    #[test]
    fn the_exit_code_tells_what_became_of_it() {
        for (status, code) in [
            (RestoreStatus::Done, 0),
            (RestoreStatus::Already, 0),
            (RestoreStatus::Thawing, 6),
            (RestoreStatus::Failed, 1),
            (RestoreStatus::Refused, 5),
        ] {
            assert_eq!(report(status, Vec::new()).exit_code(), code, "{status:?}");
        }
        let mut some = report(RestoreStatus::Failed, Vec::new());
        some.tenants
            .extend(report(RestoreStatus::Done, Vec::new()).tenants);
        assert_eq!(some.exit_code(), 3);
        assert_eq!(
            report(RestoreStatus::Refused, Vec::new()).problems(true),
            ["1 of 1 tenant not restored: acme: no\nrows"]
        );
        assert_eq!(
            report(RestoreStatus::Refused, Vec::new()).problems(false),
            ["1 of 1 tenant not restored: acme"]
        );
        let frozen = vec![object(ColdState::Frozen, Some(0.25))];
        assert_eq!(
            report(RestoreStatus::Thawing, frozen).problems(false),
            [
                "not restored yet: 1 of 1 tenant being thawed, which takes up to 2d: run the same \
              command again then"
            ]
        );
        let done = report(RestoreStatus::Done, Vec::new());
        assert!(done.problems(false).is_empty());
        let nothing = report(RestoreStatus::Empty, Vec::new());
        assert_eq!(
            nothing.text(View::default()),
            "nothing is archived in s3://cold from 1970-01-01 00:00:00Z on for these tenants"
        );
    }
}
