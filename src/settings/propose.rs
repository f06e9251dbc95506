//! A first `icepack.toml` for a store that was looked at. Pure: from the sample to text.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

mod columns;
mod guess;
mod place;

use super::schema;
use super::values::Values;
use crate::format::{about, count, minute, plural, size};
use icepack_core::model::file::Micros;
use icepack_core::model::layout::Layout;
use icepack_core::model::names::Tenant;
use icepack_core::model::sample::{ColumnKind, FileSample, Sample};
use icepack_core::plan::recognise::Recognised;

/// Names that writers give to the column that identifies a row, the best first.
const IDS: [&str; 9] = [
    "event_id",
    "id",
    "uuid",
    "guid",
    "message_id",
    "event_uuid",
    "record_id",
    "row_id",
    "_id",
];

/// Seconds that are proposed for `min_raw_age`.
const MIN_RAW_AGE_S: u64 = 600;

/// Names that are told of many.
const NAMES: usize = 3;

/// Which settings the owner has given: they win over what is recognised.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Given {
    /// The setting `layout`.
    pub layout: Option<Layout>,
    /// The setting `files`.
    pub files: Option<Vec<String>>,
}

/// A file to begin with, and what its reader must know first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proposal {
    /// `icepack.toml`.
    pub toml: String,
    /// What could not be found out and must be decided, in sentences.
    pub open_questions: Vec<String>,
    /// What was taken for the time of a row, as the setting has it.
    pub timestamp_column: Option<String>,
    /// The column that is called like a row's id. It is in the file as a comment: rows were not read.
    pub likely_id: Option<String>,
}

/// Proposes settings for `store`, as it was at `now`. The sample was taken by what is `given`, and by
/// what was recognised where nothing is.
pub fn propose(
    sample: &Sample,
    recognised: &Recognised,
    given: &Given,
    store: &str,
    archive: Option<&str>,
    now: DateTime<Utc>,
) -> Proposal {
    let files: Vec<&FileSample> = sample.looked_at.iter().flat_map(|t| &t.files).collect();
    let spans = spans(&files);
    let mut p = Proposal::default();
    p.head(sample, store, now);
    p.layout(sample, recognised, given);
    p.files(recognised, given);
    p.inputs(sample, recognised);
    p.folders(sample);
    p.time_column(sample, &spans);
    p.id_column(&files);
    p.compaction(sample, now);
    let oldest = p.timestamp_column.as_ref().and_then(|name| spans.get(name));
    p.retention(sample, oldest.map(|(from, _)| *from), archive, now);
    p.archiving(archive);
    p
}

impl Proposal {
    fn line(&mut self, text: &str) {
        self.toml.push_str(text);
        self.toml.push('\n');
    }

    fn say(&mut self, text: &str) {
        // A name from the store must not end the comment.
        let clean = text.replace(char::is_control, " ");
        self.line(&format!("# {clean}"));
    }

    /// The keys of a section, each with what the reference says of it, and with its default as a
    /// comment. `but` is set.
    fn section(&mut self, section: &str, but: &[(&str, Value)]) {
        let defaults = serde_json::to_value(Values::default()).unwrap_or_default();
        let node = &schema::SCHEMA["properties"][section];
        for (name, default) in defaults[section].as_object().into_iter().flatten() {
            let Some(node) = schema::child(node, name).filter(|node| !schema::is_section(node))
            else {
                continue;
            };
            // What is unset by default is one of few words here.
            let default = match (default, &node["enum"][0]) {
                (Value::Null, Value::Null) => continue,
                (Value::Null, word) => word,
                (default, _) => default,
            };
            self.say(node["description"].as_str().unwrap_or_default());
            match but.iter().find(|(set, _)| set == name) {
                Some((_, value)) => self.line(&format!("{name} = {value}")),
                None => self.line(&format!("# {name} = {default}")),
            }
        }
    }

    fn head(&mut self, sample: &Sample, store: &str, now: DateTime<Utc>) {
        let looked = &sample.looked_at;
        let files = looked.iter().map(|t| t.sizes.len() as u64).sum();
        let bytes = looked.iter().flat_map(|t| &t.sizes).sum();
        let more = if looked.iter().any(|t| t.has_more) {
            ", and more that were not listed"
        } else {
            ""
        };
        self.say(&format!(
            "Written by `icepack init` at {} UTC, after a look at {store}:",
            minute(now)
        ));
        let names: Vec<&str> = sample.tenants.iter().map(Tenant::as_str).collect();
        let tenants = plural(names.len() as u64, "tenant");
        let named = if names.is_empty() {
            tenants
        } else {
            format!("{tenants} ({})", told(&names))
        };
        self.say(&format!(
            "{named}; in the {} looked at, {} in {}, {}{more}.",
            count(looked.len() as u64),
            plural(files, "raw file"),
            plural(looked.iter().map(|t| t.folders).sum(), "folder"),
            size(bytes)
        ));
        let snapshots = looked.iter().map(|t| t.snapshots).sum();
        if snapshots > 0 {
            self.say(&format!(
                "icepack has been here: {} of its own lie beside them.",
                plural(snapshots, "snapshot")
            ));
        }
        self.say(
            "A flag beats an ICEPACK_* variable, which beats this file; `icepack config show` \
             prints what holds and where it came from.",
        );
        self.line(&format!("\nstore = {}\n", quoted(store)));
    }

    fn id_column(&mut self, files: &[&FileSample]) {
        let is_id = |name: &str, kind| {
            matches!(kind, ColumnKind::Text | ColumnKind::Integer)
                && IDS.contains(&name.to_ascii_lowercase().as_str())
        };
        let found = common(files, is_id);
        // Of `event_id` and `id` the first is the better name.
        let best = IDS
            .iter()
            .find_map(|id| found.iter().find(|n| n.eq_ignore_ascii_case(id)).cloned());
        if let Some(name) = &best {
            self.say(&format!(
                "Column {} is called like a row's id. Whether it is one was not looked at: no row \
                 was read. Take the sign away if rows with equal values in all columns are one row \
                 that was written twice: then one is kept.",
                quoted(name)
            ));
            self.line(&format!("# id_column = {}\n", quoted(name)));
        } else {
            self.say(
                "No column looks like a row's id. Without one, nothing is taken for a duplicate.",
            );
            self.line("# id_column = \"event_id\"\n");
        }
        self.likely_id = best;
    }

    fn compaction(&mut self, sample: &Sample, now: DateTime<Utc>) {
        let tenants = sample.looked_at.iter();
        let mut sizes: Vec<u64> = tenants.flat_map(|t| t.sizes.iter().copied()).collect();
        sizes.sort_unstable();
        self.line("[compaction]");
        if let [least, .., most] | [least @ most] = sizes.as_slice() {
            let threshold = Values::default().compaction.small_file_threshold.0;
            let small = sizes.iter().filter(|s| **s < threshold).count() as u64;
            self.say(&format!(
                "Files have {} to {}, half of them under {}; {} of {} are small by the default \
                 below.",
                size(*least),
                size(*most),
                size(sizes.get(sizes.len() / 2).copied().unwrap_or(*most)),
                count(small),
                plural(sizes.len() as u64, "file")
            ));
        }
        let tenants = sample.looked_at.iter();
        let gaps = tenants.filter_map(|t| gap(t.first_written?, t.last_written?, t.sizes.len()));
        if let Some(least) = gaps.min() {
            self.say(&format!(
                "The busiest tenant gets a file about every {}.",
                about(least.max(1))
            ));
        }
        let newest = sample.looked_at.iter().filter_map(|t| t.last_written).max();
        if let Some(age) = newest.and_then(|at| u64::try_from((now - at).num_seconds()).ok())
            && age < MIN_RAW_AGE_S
        {
            self.say(&format!(
                "The newest file is of {} ago. It waits, and so do others of the last {}.",
                about(age.max(1)),
                about(MIN_RAW_AGE_S)
            ));
        }
        self.say(
            "Whether a writer puts the same name again cannot be seen in a listing: `min_raw_age` \
             gives it time to.",
        );
        self.section(
            "compaction",
            &[("min_raw_age", json!(about(MIN_RAW_AGE_S)))],
        );
        self.line("");
    }

    fn retention(
        &mut self,
        sample: &Sample,
        oldest: Option<Micros>,
        archive: Option<&str>,
        now: DateTime<Utc>,
    ) {
        self.line("[retention]");
        if let Some(oldest) = oldest {
            let age = u64::try_from((now - oldest.to_datetime()).num_seconds()).unwrap_or(0);
            self.say(&format!(
                "The oldest row seen is of {}, {} ago. A TTL below that expires rows with the \
                 first pass.",
                day(oldest),
                about(age)
            ));
        }
        self.section("retention", &[("max_expire_percent", json!(60))]);
        self.line("\n[retention.tenants]");
        match (
            sample.tenants.iter().any(|t| t.as_str() == "system"),
            archive,
        ) {
            (true, None) => {
                self.say(
                    "There is a tenant of this name. Without an archive its rows are kept; by \
                     this line they are dropped after 30 days.",
                );
                self.line("# system = \"30d\"");
            }
            (true, Some(_)) => {
                self.say(
                    "There is a tenant of this name. Its rows expire after 30 days unless you say \
                     otherwise; \"forever\" keeps them.",
                );
                self.line("system = \"30d\"");
                self.open_questions.push(
                    "rows of tenant `system` expire after 30 days unless [retention.tenants] says \
                     otherwise"
                        .to_owned(),
                );
            }
            (false, _) => {}
        }
        self.line("# \"eu-*\" = \"400d\"\n");
    }

    fn archiving(&mut self, archive: Option<&str>) {
        match archive {
            Some(url) => {
                self.say(
                    "Expired rows are archived there, and the archive is verified, before \
                     anything that held them is deleted.",
                );
                self.line(&format!("[archive]\nurl = {}", quoted(url)));
            }
            None => {
                self.say(
                    "Without an archive, expired rows are dropped. With one, they are archived \
                     and verified before anything that held them is deleted.",
                );
                self.line(
                    "# [archive]\n# url = \"s3://another-bucket/prefix\"   # not the store, nor \
                     inside it",
                );
            }
        }
        self.line(
            "# storage_class = \"DEEP_ARCHIVE\"  # on S3: STANDARD_IA, GLACIER_IR, GLACIER, \
             DEEP_ARCHIVE",
        );
    }
}

/// The candidates that every file has, in the order of the first file.
fn common(files: &[&FileSample], wanted: impl Fn(&str, ColumnKind) -> bool) -> Vec<String> {
    let Some((first, rest)) = files.split_first() else {
        return Vec::new();
    };
    let has = |f: &FileSample, name: &str| {
        f.columns
            .iter()
            .any(|(n, kind)| n == name && wanted(n, *kind))
    };
    let names = first.columns.iter().map(|(name, _)| name);
    let in_all = names.filter(|name| has(first, name) && rest.iter().all(|f| has(f, name)));
    in_all.cloned().collect()
}

/// Seconds between two files of a tenant.
fn gap(first: DateTime<Utc>, last: DateTime<Utc>, files: usize) -> Option<u64> {
    let span = u64::try_from((last - first).num_seconds()).ok()?;
    span.checked_div(files.checked_sub(1)? as u64)
        .filter(|_| span > 0)
}

/// The range of each column that can date rows, over all files.
fn spans(files: &[&FileSample]) -> BTreeMap<String, (Micros, Micros)> {
    let mut all: BTreeMap<String, (Micros, Micros)> = BTreeMap::new();
    for (name, span) in files.iter().flat_map(|f| &f.spans) {
        let known = all.entry(name.clone()).or_insert(*span);
        *known = (known.0.min(span.0), known.1.max(span.1));
    }
    all
}

fn day(at: Micros) -> String {
    at.to_datetime().format("%Y-%m-%d").to_string()
}

/// `` `a`, `b`, `c` and 3 more``
fn told<S: AsRef<str>>(names: &[S]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(NAMES)
        .map(|name| format!("`{}`", name.as_ref().escape_debug()))
        .collect();
    match names.len().saturating_sub(NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {} more", shown.join(", "), count(more as u64)),
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests;
