//! What a pass did.

use icepack_core::model::counters::Counters;
use icepack_core::model::report::{Requests, RunReport, Status, TenantReport};

use super::table::{Cell, Grid, Tone, numbers, words};
use super::text::{count, counted, no_tenants, plural, size, took, unless_zero};
use super::{Report, View};
use crate::format::one_line;

impl Report for RunReport {
    /// The table, what is worth knowing below it, and the requests.
    fn text(&self, view: View<'_>) -> String {
        let (idle, busy): (Vec<_>, Vec<_>) = self.tenants.iter().partition(|t| is_uneventful(t));
        let mut lines = Vec::new();
        if !busy.is_empty() {
            let mut grid = header();
            for tenant in &busy {
                grid.row(row(tenant, &tenant.tenant, tenant.duration_ms));
            }
            if busy.len() > 1 {
                grid.row(row(&self.totals, "total", self.duration_ms));
            }
            lines.push(grid.draw(view.style));
        }
        lines.extend(idle_line(idle.len(), busy.is_empty(), view.wanted));
        lines.extend(notes(&self.totals));
        lines.push(requests(&self.requests));
        for tenant in &self.tenants {
            lines.extend(problems(tenant));
        }
        lines.join("\n")
    }

    fn exit_code(&self) -> u8 {
        code_of(self.tenants.iter().map(|t| t.status))
    }

    fn problems(&self, detail: bool) -> Vec<String> {
        worst(self, detail).into_iter().collect()
    }
}

/// The exit code where tenants ended like this.
pub fn code_of(statuses: impl Iterator<Item = Status>) -> u8 {
    let statuses: Vec<Status> = statuses.collect();
    let any = |status| statuses.contains(&status);
    if any(Status::Refused) {
        5
    } else if any(Status::Failed) {
        if statuses.iter().all(|s| *s == Status::Failed) {
            1
        } else {
            3
        }
    } else if any(Status::Conflict) {
        4
    } else if any(Status::Quarantined) {
        3
    } else {
        0
    }
}

/// Nothing to compact, nothing swept away, nothing wrong.
fn is_uneventful(t: &TenantReport) -> bool {
    t.status == Status::Idle && t.error.is_none() && t.counters.files_deleted == 0
}

fn idle_line(idle: usize, alone: bool, wanted: &[String]) -> Option<String> {
    match (idle, alone) {
        (0, true) => Some(no_tenants(wanted)),
        (0, false) => None,
        (n, true) => Some(format!("nothing to do for {}", plural(n as u64, "tenant"))),
        (n, false) => Some(format!(
            "nothing to do for {} more {}",
            count(n as u64),
            if n == 1 { "tenant" } else { "tenants" }
        )),
    }
}

fn header() -> Grid {
    Grid::new([
        words("tenant").shortened(),
        words("status"),
        numbers("files"),
        numbers("out").if_room(),
        numbers("bytes").if_room(),
        numbers("out").if_room(),
        numbers("rows"),
        numbers("kept").if_room(),
        numbers("archived").if_any(),
        numbers("expired").if_any(),
        numbers("duplicates").if_any().if_room(),
        numbers("quarantined").if_any(),
        numbers("deleted").if_room(),
        numbers("repeated").if_any().if_room(),
        numbers("appended").if_any().if_room(),
        numbers("time").if_room(),
    ])
}

fn row(t: &TenantReport, name: &str, duration_ms: u64) -> Vec<Cell> {
    let (c, ledger) = (&t.counters, &t.counters.ledger);
    vec![
        name.into(),
        Cell::toned(t.status.as_str(), tone(t.status)),
        count(c.files_compacted).into(),
        count(c.files_written).into(),
        size(c.bytes_before).into(),
        size(c.bytes_after).into(),
        count(ledger.rows_in).into(),
        count(ledger.rows_kept).into(),
        unless_zero(ledger.rows_archived).into(),
        unless_zero(ledger.rows_expired).into(),
        unless_zero(ledger.rows_deduplicated).into(),
        unless_zero(t.quarantined.len() as u64).into(),
        count(c.files_deleted).into(),
        unless_zero(c.files_repeated).into(),
        unless_zero(c.files_appended).into(),
        took(duration_ms).into(),
    ]
}

fn tone(status: Status) -> Option<Tone> {
    match status {
        Status::Idle => None,
        Status::Done => Some(Tone::Good),
        Status::Stopped | Status::Quarantined | Status::Conflict => Some(Tone::Notable),
        Status::Failed | Status::Refused => Some(Tone::Bad),
    }
}

fn notes(totals: &TenantReport) -> Vec<String> {
    let mut notes = Vec::new();
    let counted = &totals.counters;
    if counted.implausible > 0 {
        notes.push(format!(
            "{} with a time that is missing, before 2000 or in the future: kept, and never expired",
            plural(counted.implausible, "row")
        ));
    }
    if counted.id_conflicts > 0 {
        notes.push(format!(
            "{} with the same id as another but other content: all kept",
            plural(counted.id_conflicts, "row")
        ));
    }
    if counted.archived_objects > 0 {
        notes.push(archived(counted));
    }
    if counted.files_adopted > 0 {
        notes.push(format!(
            "adopted {}: they stay as they are until their rows expire",
            plural(counted.files_adopted, "file")
        ));
    }
    if counted.groups_left > 0 {
        notes.push(format!(
            "{} left for the next pass",
            plural(counted.groups_left, "group")
        ));
    }
    notes.extend(
        totals
            .left_alone
            .ignored_line()
            .map(|line| format!("no input: {line}")),
    );
    notes
}

/// How much went to the archive, and how much of it without passing through the job.
fn archived(counted: &Counters) -> String {
    let copied = match counted.copied_objects {
        0 => String::new(),
        n => format!(
            "; {} of them, {}, copied within the store, none of it through this job",
            count(n),
            size(counted.copied_bytes)
        ),
    };
    format!(
        "archived {}, {}{copied}",
        plural(counted.archived_objects, "object"),
        size(counted.archived_bytes)
    )
}

fn requests(r: &Requests) -> String {
    match r.total() {
        0 => "requests: none".to_owned(),
        total => format!("requests: {} ({})", count(total), counted(&r.kinds())),
    }
}

fn problems(t: &TenantReport) -> Vec<String> {
    let error = t
        .error
        .iter()
        .map(|e| format!("{}: {}", t.tenant, one_line(e)));
    let quarantined = t.quarantined.iter().map(|key| {
        format!(
            "{}: quarantined `{}`, which is left where it is; `icepack status` says why",
            t.tenant,
            one_line(key)
        )
    });
    let set_aside = t
        .set_aside
        .iter()
        .map(|file| format!("{}: set aside {}", t.tenant, one_line(file)));
    let unread = t.unread.iter().map(|l| {
        format!(
            "{}: left `{}` where it is: {}",
            t.tenant,
            one_line(&l.key),
            one_line(&l.reason)
        )
    });
    error
        .chain(quarantined)
        .chain(set_aside)
        .chain(unread)
        .collect()
}

/// What is worst about a pass that did not end well.
fn worst(report: &RunReport, detail: bool) -> Option<String> {
    let totals = &report.totals;
    let of_tenants = |status, what| tenants(report, status, what, detail);
    if let Some(line) = of_tenants(Status::Refused, "refused for safety, a person must look")
        .or_else(|| of_tenants(Status::Failed, "failed"))
        .or_else(|| {
            of_tenants(
                Status::Conflict,
                "lost to a concurrent run, nothing is harmed",
            )
        })
    {
        return Some(line);
    }
    let files = |n: usize| plural(n as u64, "file");
    let more = |n: usize, and: &str| match n {
        1 => String::new(),
        n => format!("{and} {} more", n - 1),
    };
    if let (Some(first), n) = (totals.quarantined.first(), totals.quarantined.len()) {
        return Some(format!(
            "{} quarantined and left in place: {first}{}; `icepack status` says why: \
             repair, replace or remove",
            files(n),
            more(n, " and")
        ));
    }
    if let (Some(first), n) = (totals.set_aside.first(), totals.set_aside.len()) {
        return Some(format!(
            "{} set aside: {first}{}; give it another name, or delete it",
            files(n),
            more(n, ", and")
        ));
    }
    let first = totals.unread.first()?;
    (totals.status == Status::Quarantined).then(|| {
        format!(
            "{} left in place that could not be read: {}: {}",
            files(totals.unread.len()),
            one_line(&first.key),
            one_line(&first.reason)
        )
    })
}

/// `2 of 3 tenants failed: acme, globex: cannot put x`, if any ended with `status`.
fn tenants(report: &RunReport, status: Status, what: &str, detail: bool) -> Option<String> {
    let tenants: Vec<&TenantReport> = report
        .tenants
        .iter()
        .filter(|t| t.status == status)
        .collect();
    let names: Vec<&str> = tenants.iter().take(3).map(|t| t.tenant.as_str()).collect();
    let more = match tenants.len() - names.len() {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let why = tenants
        .iter()
        .find_map(|t| t.error.as_deref())
        .filter(|_| detail)
        .map(|e| format!(": {e}"))
        .unwrap_or_default();
    (!tenants.is_empty()).then(|| {
        format!(
            "{} of {} {what}: {}{more}{why}",
            tenants.len(),
            plural(report.tenants.len() as u64, "tenant"),
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use icepack_core::model::manifest::Ledger;
    use icepack_core::model::names::FileId;
    use icepack_core::model::report::{LeftAlone, SCHEMA_VERSION};

    fn tenant(name: &str, status: Status) -> TenantReport {
        TenantReport {
            tenant: name.to_owned(),
            status,
            ..TenantReport::default()
        }
    }

    fn report(tenants: Vec<TenantReport>) -> RunReport {
        let mut totals = TenantReport {
            tenant: "total".to_owned(),
            status: tenants.iter().map(|t| t.status).max().unwrap_or_default(),
            ..TenantReport::default()
        };
        tenants.iter().for_each(|t| totals.add(t));
        let requests = Requests {
            get: 1_200,
            put: 3,
            ..Requests::default()
        };
        RunReport {
            schema_version: SCHEMA_VERSION,
            run_id: FileId::NIL,
            started_at: DateTime::UNIX_EPOCH,
            duration_ms: 4_250,
            tenants,
            totals,
            requests,
            found: None,
        }
    }

    fn text(report: &RunReport) -> String {
        report.text(View::default())
    }

    fn code(statuses: &[Status]) -> u8 {
        report(statuses.iter().map(|s| tenant("t", *s)).collect()).exit_code()
    }

    #[test]
    fn exit_codes() {
        use Status::*;
        assert_eq!(code(&[]), 0);
        assert_eq!(code(&[Idle, Done, Stopped]), 0);
        assert_eq!(code(&[Idle, Quarantined, Done]), 3);
        assert_eq!(code(&[Conflict, Quarantined]), 4);
        assert_eq!(code(&[Failed, Failed]), 1);
        assert_eq!(code(&[Failed, Idle]), 3);
        assert_eq!(code(&[Failed, Done]), 3);
        assert_eq!(code(&[Failed, Conflict]), 3);
        assert_eq!(code(&[Refused, Failed]), 5);
    }

    fn acme() -> TenantReport {
        TenantReport {
            counters: Counters {
                files_compacted: 400,
                files_written: 2,
                bytes_before: 40 << 20,
                bytes_after: 31 << 20,
                ledger: Ledger {
                    rows_in: 4_000_000,
                    rows_kept: 4_000_000,
                    ..Ledger::default()
                },
                files_deleted: 400,
                ..Counters::default()
            },
            duration_ms: 4_000,
            ..tenant("acme", Status::Done)
        }
    }

    #[test]
    fn a_pass_is_a_table_with_the_idle_summed_up() {
        let text = text(&report(vec![
            acme(),
            tenant("globex", Status::Idle),
            tenant("initech", Status::Idle),
        ]));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("tenant  status  files  out"), "{text}");
        assert!(
            !lines[0].contains("archived") && !lines[0].contains("quarantined"),
            "{text}"
        );
        assert!(
            lines[2].starts_with(
                "acme    done      400    2  40.0 MiB  31.0 MiB  4,000,000  4,000,000"
            ),
            "{text}"
        );
        assert_eq!(
            &lines[3..],
            [
                "nothing to do for 2 more tenants",
                "requests: 1,203 (1,200 get, 3 put)"
            ]
        );
    }

    #[test]
    fn what_was_archived_is_shown_and_how_much_of_it_was_copied() {
        let mut streamed = acme();
        streamed.counters.archived_objects = 1;
        streamed.counters.archived_bytes = 9 << 20;
        assert!(text(&report(vec![streamed])).contains("\narchived 1 object, 9.0 MiB\n"));
        let copied = TenantReport {
            counters: Counters {
                archived_objects: 3,
                archived_bytes: 29 << 20,
                copied_objects: 2,
                copied_bytes: 20 << 20,
                ..acme().counters
            },
            ..acme()
        };
        let text = text(&report(vec![copied]));
        assert!(
            text.contains(
                "\narchived 3 objects, 29.0 MiB; 2 of them, 20.0 MiB, copied within the store, \
                 none of it through this job\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn several_tenants_have_a_total() {
        let text = text(&report(vec![acme(), acme()]));
        assert!(
            text.lines()
                .any(|l| l.starts_with("total") && l.contains("8,000,000")),
            "{text}"
        );
    }

    #[test]
    fn errors_stand_below_the_table_a_line_each() {
        let failed = TenantReport {
            error: Some("cannot put x:\nno".to_owned()),
            ..tenant("globex", Status::Failed)
        };
        let denied = LeftAlone {
            key: "acme/odd.parquet".to_owned(),
            reason: "AccessDenied: no".to_owned(),
        };
        let left = report(vec![TenantReport {
            unread: vec![denied.clone()],
            ..tenant("acme", Status::Quarantined)
        }]);
        assert_eq!(
            left.problems(false),
            ["1 file left in place that could not be read: acme/odd.parquet: AccessDenied: no"]
        );
        assert!(
            text(&left).contains("\nacme: left `acme/odd.parquet` where it is: AccessDenied: no")
        );
        let growing = report(vec![TenantReport {
            unread: vec![denied],
            ..tenant("acme", Status::Done)
        }]);
        assert!(growing.problems(false).is_empty() && growing.exit_code() == 0);
        let held = TenantReport {
            quarantined: vec!["acme/bad.parquet".to_owned()],
            ..tenant("acme", Status::Quarantined)
        };
        let report = report(vec![failed, held]);
        let text = text(&report);
        assert!(text.contains("\nglobex: cannot put x: no\n"), "{text}");
        assert!(
            text.contains("\nacme: quarantined `acme/bad.parquet`"),
            "{text}"
        );
        assert_eq!(report.problems(false), ["1 of 2 tenants failed: globex"]);
        assert_eq!(
            report.problems(true),
            ["1 of 2 tenants failed: globex: cannot put x:\nno"]
        );
    }

    #[test]
    fn a_quiet_pass_is_two_lines() {
        assert_eq!(
            text(&report(vec![tenant("a", Status::Idle)])),
            "nothing to do for 1 tenant\nrequests: 1,203 (1,200 get, 3 put)"
        );
        assert!(text(&report(Vec::new())).starts_with("no tenants"));
        assert!(report(vec![acme()]).problems(true).is_empty());
    }
}
