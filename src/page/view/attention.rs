//! What a person should look at, each with what to do.

use super::parts::Words;
use super::tenants::errors;
use crate::format::{minute, row_time, size};
use icepack_core::model::inspect::{AsideFile, HeldRows, Overview, TenantStatus};

/// Files that are named.
const MOST_FILES: usize = 300;

/// Tenants that are named.
const MOST_TENANTS: usize = 200;

/// The tables of what is wrong; those without a row are left out.
pub(super) fn of(o: &Overview) -> Vec<Words> {
    let mut found = vec![failing(o), aside(o)];
    found.retain(|words| !words.rows.is_empty());
    found
}

/// Tenants that failed: when they were last worked at, or looked at now.
fn failing(o: &Overview) -> Words {
    let errors = errors(o);
    let now = o.failures.iter().map(|f| {
        vec![
            f.tenant.clone(),
            "now".to_owned(),
            f.status.as_str().to_owned(),
            f.error.clone(),
        ]
    });
    let last = o.last_errors.iter().map(|e| {
        vec![
            e.tenant.clone(),
            minute(e.at),
            e.status.as_str().to_owned(),
            e.error.clone(),
        ]
    });
    let foreign = o.tenants.iter().filter_map(|t| {
        let why = t.left_alone.refusal(&t.tenant)?;
        let is_told = errors.contains_key(t.tenant.as_str());
        (!is_told).then(|| {
            vec![
                t.tenant.to_string(),
                "now".to_owned(),
                "refused".to_owned(),
                why,
            ]
        })
    });
    Words {
        id: "failing",
        title: "Tenants that fail",
        note: "Nothing is lost: what a pass could not do, it left as it was. The time is when that \
               pass began.",
        columns: &[
            ("tenant", false),
            ("when (UTC)", true),
            ("how", true),
            ("why, and what to do", false),
        ],
        rows: now.chain(last).chain(foreign).collect(),
        left_out: None,
    }
    .cut(MOST_TENANTS, "`icepack status` has them all")
}

/// The files that no pass takes.
fn aside(o: &Overview) -> Words {
    let files = o
        .tenants
        .iter()
        .flat_map(|t| t.aside.iter().map(move |f| file(t, f)));
    Words {
        id: "aside",
        title: "Files that no pass takes",
        note: "They are where they were, and are never deleted. The rest of their tenants goes on.",
        columns: &[
            ("tenant", false),
            ("file", false),
            ("size", true),
            ("since (UTC)", true),
            ("why", false),
            ("the way on", false),
        ],
        rows: files.collect(),
        left_out: None,
    }
    .cut(MOST_FILES, "`icepack verify` names them all")
}

fn file(t: &TenantStatus, f: &AsideFile) -> Vec<String> {
    vec![
        t.tenant.to_string(),
        f.key.clone(),
        size(f.size),
        minute(f.since),
        format!("{}: {}", f.kind.as_str(), f.reason),
        f.mend.clone(),
    ]
}

/// The rows that were restored and do not expire yet.
pub(super) fn holds(o: &Overview) -> Words {
    let rows = o
        .tenants
        .iter()
        .flat_map(|t| t.holds.iter().map(move |h| hold(t, h)));
    Words {
        id: "holds",
        title: "Restored rows that are held",
        note: "While a hold lasts, no row of the tenant expires that is as young as the oldest one \
               restored.",
        columns: &[
            ("tenant", false),
            ("rows of", false),
            ("from (UTC)", true),
            ("to (UTC)", true),
            ("held until (UTC)", true),
            ("state", false),
        ],
        rows: rows.collect(),
        left_out: None,
    }
    .cut(MOST_TENANTS, "`icepack status --json` has them all")
}

fn hold(t: &TenantStatus, h: &HeldRows) -> Vec<String> {
    let or = |time: String, else_: &str| {
        if time.is_empty() {
            else_.to_owned()
        } else {
            time
        }
    };
    vec![
        t.tenant.to_string(),
        h.of.to_string(),
        or(row_time(h.from), "the beginning"),
        or(row_time(h.to), "the end"),
        minute(h.until),
        if h.done {
            "all rows are back".to_owned()
        } else {
            "the restore is not done: the same command goes on, and until then the hold stays"
                .to_owned()
        },
    ]
}
