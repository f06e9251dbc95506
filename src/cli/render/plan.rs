//! What a pass would do, and why.

mod overview;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::pass::Selection;
use icepack_core::model::inspect::PlanReport;
use icepack_core::model::names::{Key, folder};
use icepack_core::model::plan::{Group, GroupKind, Plan, SkipReason};
use serde::Serialize;

use super::super::output::Style;
use super::table::{Grid, numbers, prose, words};
use super::text::{about, classes, count, no_tenants, plural, second, size};
use super::totals::{Totals, totals};
use super::{Report, View, estimate, failures};

/// The document of `plan --json`, and what the text says beside it.
#[derive(Debug, Serialize)]
pub struct PlanDocument<'a> {
    #[serde(flatten)]
    pub report: &'a PlanReport,
    pub totals: Totals,
    /// Where expired rows go.
    #[serde(skip)]
    pub archive: Option<String>,
    /// The columns that identify a row.
    #[serde(skip)]
    pub ids: Vec<String>,
    /// Whether the store or the archive is one that sends bills by these prices.
    #[serde(skip)]
    pub is_billed: bool,
    /// The tenants whose files are all listed with their reasons.
    #[serde(skip)]
    pub explain: Option<Selection>,
    /// Whether every tenant is shown in full.
    #[serde(skip)]
    pub all: bool,
}

/// Tenants that are shown in full where nobody asked for more.
const IN_FULL: usize = 5;

/// Tenants in the table where nobody asked for more.
const IN_TABLE: usize = 20;

impl<'a> PlanDocument<'a> {
    pub fn new(report: &'a PlanReport) -> Self {
        Self {
            report,
            totals: totals(&report.plans),
            archive: None,
            ids: Vec::new(),
            is_billed: false,
            explain: None,
            all: false,
        }
    }
}

impl Report for PlanDocument<'_> {
    /// The tenants in a table, some of them in full, then the sum.
    fn text(&self, view: View<'_>) -> String {
        let report = self.report;
        let mut parts = Vec::new();
        if self.totals.groups > 0 {
            parts.push(overview::table(self, view.style));
        }
        let in_full = self.in_full();
        parts.extend(in_full.iter().map(|p| self.tenant(p, view.style)));
        parts.extend(self.not_in_full(in_full.len()));
        parts.extend(
            report
                .root
                .ignored_line()
                .map(|line| format!("of no tenant, and not taken: {line}")),
        );
        parts.extend(unmatched(&report.unmatched));
        parts.push(self.summary(view));
        parts.join("\n\n")
    }

    fn exit_code(&self) -> u8 {
        failures::exit_code(&self.report.failures, self.report.plans.len())
    }

    fn problems(&self, _: bool) -> Vec<String> {
        failures::problems(&self.report.failures)
    }
}

impl PlanDocument<'_> {
    /// The tenants that the table shows: those with something to do. Of many, those with the most.
    fn in_table(&self) -> Vec<&Plan> {
        let plans = self.report.plans.iter();
        if self.all || self.explains_all() {
            return plans.collect();
        }
        let mut busy: Vec<&Plan> = plans.filter(|p| !p.groups.is_empty()).collect();
        if busy.len() > IN_TABLE {
            worst_first(&mut busy);
            busy.truncate(IN_TABLE);
        }
        busy
    }

    /// The tenants that are shown in full.
    fn in_full(&self) -> Vec<&Plan> {
        let plans = self.report.plans.iter();
        match &self.explain {
            _ if self.all => plans.collect(),
            Some(explain) => plans.filter(|p| explain.includes(&p.tenant)).collect(),
            None if plans.len() <= IN_FULL => plans.collect(),
            None => {
                let mut busy: Vec<&Plan> = plans.filter(|p| !p.groups.is_empty()).collect();
                worst_first(&mut busy);
                busy.truncate(IN_FULL);
                busy
            }
        }
    }

    fn explains_all(&self) -> bool {
        let mut plans = self.report.plans.iter();
        let explain = self.explain.as_ref();
        explain.is_some_and(|e| plans.all(|p| e.includes(&p.tenant)))
    }

    /// How to see the tenants that are not shown in full, and have something to do.
    fn not_in_full(&self, shown: usize) -> Option<String> {
        let busy = self.report.plans.iter().filter(|p| !p.groups.is_empty());
        let more = busy.count().saturating_sub(shown);
        (self.explain.is_none() && more > 0).then(|| {
            format!(
                "… and {} with something to do: `icepack plan --tenant NAME`, or --all",
                plural(more as u64, "more tenant")
            )
        })
    }

    fn summary(&self, view: View<'_>) -> String {
        let t = &self.totals;
        if t.tenants == 0 {
            return no_tenants(view.wanted);
        }
        if t.groups == 0 {
            return format!("{}: nothing to do", plural(t.tenants, "tenant"));
        }
        let sum = format!(
            "{}: {} with {}, {}; nothing was written",
            plural(t.tenants, "tenant"),
            plural(t.groups, "group"),
            plural(t.files_in, "file"),
            size(t.bytes_in)
        );
        let idle = self.report.plans.iter().filter(|p| p.groups.is_empty());
        let idle = Some(idle.count() as u64).filter(|n| *n > 0);
        let idle = idle.map(|n| format!("nothing to do for {}", plural(n, "tenant")));
        let costs = self
            .report
            .plans
            .iter()
            .filter_map(|p| p.estimate.as_ref()?.cost.as_ref());
        let class = costs.filter_map(|c| c.storage_class.as_deref()).next();
        let prices = &self.report.prices;
        let estimate = estimate::totals(t, prices, class, self.is_billed, view.style)
            .filter(|_| t.requests.total() > 0);
        let duplicates = (!self.ids.is_empty()).then(|| {
            format!(
                "of rows that are equal in all columns, one is kept: `id_column` is {}",
                self.ids.join(", ")
            )
        });
        [Some(sum), idle, duplicates, estimate]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn tenant(&self, plan: &Plan, style: Style) -> String {
        let t = Totals::of(plan);
        let todo = if t.groups == 0 {
            "nothing to do".to_owned()
        } else {
            plural(t.groups, "group")
        };
        let mut lines = vec![format!(
            "{}: {}, {}; {todo}",
            plan.tenant,
            plural(t.raw_files, "raw file"),
            size(t.raw_bytes)
        )];
        lines.push(format!("  {}", retention(plan, self.archive.as_deref())));
        lines.extend(estimate::tenant(plan, style));
        let is_explained = self
            .explain
            .as_ref()
            .is_some_and(|e| e.includes(&plan.tenant));
        if t.groups > 0 {
            let shown = match self.report.plans.len() {
                _ if is_explained => usize::MAX,
                n if n > IN_FULL && !self.all => GROUPS_OF_MANY,
                _ => GROUPS_SHOWN,
            };
            lines.push(groups(&plan.groups, shown, style));
        }
        if !plan.skipped.is_empty() {
            lines.push(format!("  left alone: {}", left_alone(plan)));
        }
        let told = classes(&plan.classes).into_iter();
        lines.extend(told.map(|line| format!("  {line}")));
        let ignored = plan.left_alone.ignored_line();
        lines.extend(ignored.map(|line| format!("  no input: {line}")));
        if is_explained {
            lines.extend(folders(plan, style));
            lines.push(files(plan, style));
        }
        lines.join("\n")
    }
}

/// Folders that are named of those that no tenant's files lie in.
const UNMATCHED: usize = 5;

fn unmatched(folders: &[Key]) -> Option<String> {
    let named: Vec<String> = folders
        .iter()
        .take(UNMATCHED)
        .map(|name| format!("`{}`", name.escape_debug()))
        .collect();
    let more = match folders.len().saturating_sub(named.len()) {
        0 => String::new(),
        more => format!(" and {} more", count(more as u64)),
    };
    (!named.is_empty()).then(|| {
        format!(
            "folders that match no `layout`, and are not looked at: {}{more}",
            named.join(", ")
        )
    })
}

fn retention(plan: &Plan, archive: Option<&str>) -> String {
    let Some(cutoff) = plan.cutoff else {
        return "rows are kept for ever".to_owned();
    };
    let fate = archive.map_or_else(
        || "are dropped: there is no archive".to_owned(),
        |to| format!("go to {to}"),
    );
    format!("rows before {} {fate}", second(cutoff.to_datetime()))
}

/// First those that a pass would refuse, then those with the most bytes.
fn worst_first(plans: &mut [&Plan]) {
    plans.sort_by_cached_key(|p| {
        let is_refused = p.expiry.as_ref().is_some_and(|e| e.is_too_much());
        (Reverse(is_refused), Reverse(p.backlog()))
    });
}

/// Groups of a tenant that are shown where nobody asked for all, …
const GROUPS_SHOWN: usize = 20;

/// … and where there are many tenants.
const GROUPS_OF_MANY: usize = 5;

fn groups(groups: &[Group], most: usize, style: Style) -> String {
    let shown = most.min(groups.len());
    // Where all groups are of one folder, there is nothing to tell them apart by.
    let folders: BTreeSet<Option<&str>> = groups.iter().map(Group::folder).collect();
    let folder = |group: &Group| match group.folder() {
        _ if folders.len() == 1 => String::new(),
        Some(folder) => folder.to_owned(),
        None => "several".to_owned(),
    };
    let mut grid = Grid::new([
        numbers("group"),
        words("kind"),
        numbers("files"),
        numbers("bytes"),
        words("folder").if_any(),
        prose("why"),
    ])
    .indented(2);
    for (n, group) in groups.iter().enumerate().take(shown) {
        grid.row([
            count(n as u64 + 1).into(),
            kind(group.kind).into(),
            count(group.inputs.len() as u64).into(),
            size(group.bytes()).into(),
            folder(group).into(),
            group.reason.to_string().into(),
        ]);
    }
    let table = grid.draw(style);
    let rest = &groups[shown..];
    if rest.is_empty() {
        return table;
    }
    let files: usize = rest.iter().map(|g| g.inputs.len()).sum();
    let bytes = rest.iter().map(Group::bytes).sum();
    format!(
        "{table}\n  and {}, with {}, {}: --explain shows all",
        plural(rest.len() as u64, "more group"),
        plural(files as u64, "file"),
        size(bytes)
    )
}

/// What becomes of the files of each folder; none where there is only one.
fn folders(plan: &Plan, style: Style) -> Option<String> {
    #[derive(Default)]
    struct Folder {
        taken: u64,
        taken_bytes: u64,
        left: u64,
        left_bytes: u64,
    }
    let mut folders: BTreeMap<&str, Folder> = BTreeMap::new();
    for input in plan.groups.iter().flat_map(|g| &g.inputs) {
        let of = folders.entry(folder(&input.key)).or_default();
        of.taken += 1;
        of.taken_bytes += input.size;
    }
    for skipped in &plan.skipped {
        let of = folders.entry(folder(&skipped.key)).or_default();
        of.left += 1;
        of.left_bytes += skipped.size;
    }
    if folders.len() < 2 {
        return None;
    }
    let mut grid = Grid::new([
        words("folder"),
        numbers("in groups"),
        numbers("bytes"),
        numbers("left alone"),
        numbers("bytes"),
    ])
    .indented(2);
    for (name, of) in &folders {
        grid.row([
            (*name).into(),
            count(of.taken).into(),
            size(of.taken_bytes).into(),
            count(of.left).into(),
            size(of.left_bytes).into(),
        ]);
    }
    Some(grid.draw(style))
}

fn kind(kind: GroupKind) -> &'static str {
    match kind {
        GroupKind::Merge => "merge",
        GroupKind::Expire => "expire",
        GroupKind::Adopt => "adopt",
    }
}

/// `12 files: 10 need nothing, 2 quarantined`
fn left_alone(plan: &Plan) -> String {
    let mut by_reason: BTreeMap<String, u64> = BTreeMap::new();
    for skipped in &plan.skipped {
        *by_reason.entry(short(&skipped.reason)).or_default() += 1;
    }
    let parts: Vec<String> = by_reason
        .iter()
        .map(|(why, n)| format!("{} {why}", count(*n)))
        .collect();
    format!(
        "{} ({})",
        plural(plan.skipped.len() as u64, "file"),
        parts.join(", ")
    )
}

fn short(reason: &SkipReason) -> String {
    match reason {
        SkipReason::TooFew { have, need } => format!("waiting for more: {have} of {need} needed"),
        SkipReason::Large => "not small".to_owned(),
        SkipReason::Young => "too young".to_owned(),
        SkipReason::Alone => "with no other to merge with".to_owned(),
        SkipReason::JustWritten { need_s, .. } => {
            format!("written less than {} ago", about(*need_s))
        }
        SkipReason::Adopted { .. } => "adopted, until their rows expire".to_owned(),
        SkipReason::Finished => "finished".to_owned(),
        SkipReason::ExpiredWaiting {
            have_bytes,
            need_bytes,
            at_most_s,
            ..
        } => {
            format!(
                "expired, waiting for an archive object: {} of {}, at most {} more",
                size(*have_bytes),
                size(*need_bytes),
                about(*at_most_s)
            )
        }
        SkipReason::Undatable { column } => format!("without `{column}`, never expires"),
        SkipReason::Quarantined { .. } => "quarantined".to_owned(),
        SkipReason::Retired => "waiting to be deleted".to_owned(),
        SkipReason::ComesAgain => "to be compared with a compacted file of the name".to_owned(),
        SkipReason::SetAside { .. } => "set aside".to_owned(),
        SkipReason::Stray { .. } => "copies of snapshots".to_owned(),
        SkipReason::Restoring => "part of a restore that is not done".to_owned(),
        SkipReason::Orphan => "left over from an unfinished run".to_owned(),
    }
}

fn files(plan: &Plan, style: Style) -> String {
    let mut grid = Grid::new([
        words("file"),
        numbers("bytes"),
        words("decision"),
        prose("why"),
    ])
    .indented(2);
    for (n, group) in plan.groups.iter().enumerate() {
        for input in &group.inputs {
            grid.row([
                input.key.as_str().into(),
                size(input.size).into(),
                format!("{} in group {}", kind(group.kind), n + 1).into(),
                group.reason.to_string().into(),
            ]);
        }
    }
    for skipped in &plan.skipped {
        grid.row([
            skipped.key.as_str().into(),
            size(skipped.size).into(),
            "left alone".into(),
            skipped.reason.to_string().into(),
        ]);
    }
    if grid.is_empty() {
        "  no files".to_owned()
    } else {
        grid.draw(style)
    }
}
