//! A first `icepack.toml` for a store that was looked at. Pure: from the sample to text.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::schema;
use super::values::Values;
use crate::format::{about, count, minute, plural, size};
use icepack_core::model::file::Micros;
use icepack_core::model::inputs::proposed_glob;
use icepack_core::model::layout::Layout;
use icepack_core::model::names::Tenant;
use icepack_core::model::sample::{ColumnKind, FileSample, Sample};

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

/// A file to begin with, and what its reader must know first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proposal {
    /// `icepack.toml`.
    pub toml: String,
    /// What could not be found out and must be decided, in sentences.
    pub open_questions: Vec<String>,
    /// The column that was taken for the time of a row.
    pub timestamp_column: Option<String>,
    /// The column that was taken for a row's id.
    pub id_column: Option<String>,
}

/// Proposes settings for `store`, as it was at `now`.
pub fn propose(
    sample: &Sample,
    store: &str,
    archive: Option<&str>,
    now: DateTime<Utc>,
) -> Proposal {
    let files: Vec<&FileSample> = sample.looked_at.iter().flat_map(|t| &t.files).collect();
    let spans = spans(&files);
    let mut p = Proposal::default();
    p.head(sample, store, now);
    p.inputs(sample);
    p.time_column(&files, &spans);
    p.id_column(&files);
    p.compaction(sample);
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
        self.say(&format!(
            "{}; in the {} looked at, {}, {}{more}.",
            plural(sample.tenants.len() as u64, "tenant"),
            count(looked.len() as u64),
            plural(files, "raw file"),
            size(bytes)
        ));
        self.say(
            "A flag beats an ICEPACK_* variable, which beats this file; `icepack config show` \
             prints what holds and where it came from.",
        );
        self.line(&format!("\nstore = {}", quoted(store)));
        if let Some(layout) = sample.tenants.first().map(Tenant::layout)
            && *layout != Layout::default()
        {
            self.line(&format!("layout = {}", quoted(layout.as_str())));
        }
        self.line("");
    }

    /// What is in the store and is no input: said, and where it is somebody else's, to be decided.
    fn inputs(&mut self, sample: &Sample) {
        let tenants = sample.looked_at.iter();
        let tenants = tenants.map(|t| (t.tenant.as_str(), &t.left_alone));
        for (whose, left) in [("the root of the store", &sample.root)]
            .into_iter()
            .chain(tenants)
        {
            if let Some(line) = left.ignored_line() {
                self.say(&format!("Left alone in {whose}: {line}."));
            }
        }
        let tenants = sample.looked_at.iter();
        let refused = tenants.filter_map(|t| t.left_alone.refusal(&t.tenant));
        self.open_questions.extend(refused);
        if !self.open_questions.is_empty() {
            let tenants = sample.looked_at.iter();
            let foreign = tenants.flat_map(|t| t.left_alone.foreign.values());
            let names = foreign.flat_map(|seen| &seen.names);
            let globs: BTreeSet<String> = names.map(|name| quoted(&proposed_glob(name))).collect();
            let globs: Vec<String> = globs.into_iter().collect();
            self.say(
                "TO DECIDE: tenants that hold what is not icepack's are refused. Move it away, or \
                 say that it is not looked at:",
            );
            self.line(&format!("# exclude = [{}]", globs.join(", ")));
        }
        if !self.toml.ends_with("\n\n") {
            self.line("");
        }
    }

    fn time_column(&mut self, files: &[&FileSample], spans: &BTreeMap<String, (Micros, Micros)>) {
        let setting = |name: &str| {
            let range = spans.get(name).map_or(String::new(), |(from, to)| {
                format!("  # {} to {}", day(*from), day(*to))
            });
            format!("timestamp_column = {}{range}", quoted(name))
        };
        let mut names = common(files, |_, kind| kind == ColumnKind::Time);
        let usual = "timestamp";
        if names.iter().any(|name| name == usual) {
            names = vec![usual.to_owned()];
        }
        match names.as_slice() {
            [name] => {
                self.say(&format!(
                    "The column that dates a row: a timestamp in every one of the {} read.",
                    plural(files.len() as u64, "file")
                ));
                self.line(&setting(name));
                self.timestamp_column = Some(name.clone());
            }
            [] => {
                self.say(
                    "TO DECIDE: no column of the files read is a timestamp in all of them. \
                     Integers and texts are not guessed at.",
                );
                self.line(&format!("# {}", setting(usual)));
                let why = if files.is_empty() {
                    "no file could be read"
                } else {
                    "no column is a timestamp in every file read"
                };
                self.open_questions.push(format!(
                    "{why}: name the column that dates a row, timestamp_column, by hand"
                ));
            }
            several => {
                self.say(
                    "TO DECIDE: several columns could date a row. Take the sign away from the one \
                     that says when the event happened:",
                );
                for name in several {
                    self.line(&format!("# {}", setting(name)));
                }
                self.open_questions.push(format!(
                    "several columns could date a row: {}; take the comment sign away from one of \
                     them",
                    several.join(", ")
                ));
            }
        }
        self.line("");
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
            self.say(
                "The column that identifies a row: of rows with the same id and the same content, \
                 one is kept.",
            );
            self.line(&format!("id_column = {}\n", quoted(name)));
        } else {
            self.say(
                "No column looks like a row's id. Without one, nothing is taken for a duplicate.",
            );
            self.line("# id_column = \"event_id\"\n");
        }
        self.id_column = best;
    }

    fn compaction(&mut self, sample: &Sample) {
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
        self.section("compaction", &[("min_raw_age", json!("10m"))]);
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

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Environment, Layers, Settings};
    use icepack_core::model::inputs::Left;
    use icepack_core::model::sample::TenantSample;

    fn at(day: u32) -> Micros {
        Micros::from_datetime(
            DateTime::parse_from_rfc3339(&format!("2026-03-{day:02}T00:00:00Z"))
                .unwrap()
                .to_utc(),
        )
    }

    fn file(columns: &[(&str, ColumnKind)]) -> FileSample {
        let spans = columns
            .iter()
            .filter(|(_, k)| *k == ColumnKind::Time)
            .map(|(n, _)| ((*n).to_owned(), (at(1), at(9))))
            .collect();
        FileSample {
            key: "acme/x.parquet".to_owned(),
            rows: 7,
            columns: columns.iter().map(|(n, k)| ((*n).to_owned(), *k)).collect(),
            spans,
        }
    }

    fn sample(names: &[&str], files: Vec<FileSample>) -> Sample {
        let tenants: Vec<Tenant> = names.iter().map(|n| Tenant::parse(n).unwrap()).collect();
        let (first, last) = (at(1).to_datetime(), at(2).to_datetime());
        let seen = TenantSample {
            tenant: tenants[0].clone(),
            sizes: vec![100, 2_000, 20 << 20],
            has_more: false,
            first_written: Some(first),
            last_written: Some(last),
            files,
            unreadable: Vec::new(),
            left_alone: Left::default(),
        };
        Sample {
            tenants,
            looked_at: vec![seen],
            root: Left::default(),
        }
    }

    fn proposed(sample: &Sample) -> Proposal {
        let p = propose(
            sample,
            "s3://b/\"odd\\",
            Some("s3://cold"),
            at(31).to_datetime(),
        );
        let layers = Layers {
            file: Some(("icepack.toml".into(), p.toml.clone())),
            env: Environment::default(),
            flags: Vec::new(),
        };
        // Whatever is proposed can be read.
        let settings = Settings::resolve(&layers).unwrap_or_else(|e| panic!("{e}\n{}", p.toml));
        assert_eq!(settings.compaction_config().max_expire_percent, 60);
        // And so can it with every proposal taken up.
        let uncommented: String = p
            .toml
            .lines()
            .map(|l| {
                l.strip_prefix("# ")
                    .filter(|l| l.contains(" = ") && !l.contains(". "))
                    .unwrap_or(l)
            })
            .fold(String::new(), |s, l| s + l + "\n");
        let several = uncommented.matches("timestamp_column").count() > 1;
        let file = Some(("icepack.toml".into(), uncommented.clone()));
        assert!(
            several || Settings::resolve(&Layers { file, ..layers }).is_ok(),
            "{uncommented}"
        );
        p
    }

    #[test]
    fn a_usual_store_leaves_no_question() {
        let columns = [
            ("event_id", ColumnKind::Text),
            ("id", ColumnKind::Integer),
            ("timestamp", ColumnKind::Time),
            ("received", ColumnKind::Time),
        ];
        let p = proposed(&sample(&["acme"], vec![file(&columns), file(&columns)]));
        assert_eq!(
            (p.timestamp_column.as_deref(), p.id_column.as_deref()),
            (Some("timestamp"), Some("event_id"))
        );
        assert!(p.open_questions.is_empty());
        assert!(
            p.toml
                .contains("timestamp_column = \"timestamp\"  # 2026-03-01 to 2026-03-09"),
            "{}",
            p.toml
        );
        assert!(
            p.toml.contains("2 of 3 files are small") && p.toml.contains("about every 12h"),
            "{}",
            p.toml
        );
    }

    #[test]
    fn several_candidates_are_comments_and_a_question() {
        let columns = [
            ("created_at", ColumnKind::Time),
            ("updated_at", ColumnKind::Time),
        ];
        let p = proposed(&sample(&["acme"], vec![file(&columns)]));
        assert_eq!(p.timestamp_column, None);
        assert!(
            p.toml
                .contains("# timestamp_column = \"created_at\"  # 2026-03-01")
                && p.toml.contains("# timestamp_column = \"updated_at\""),
            "{}",
            p.toml
        );
        assert!(
            p.open_questions[0].contains("created_at, updated_at"),
            "{:?}",
            p.open_questions
        );
    }

    #[test]
    fn a_column_counts_where_every_file_has_it() {
        let p = proposed(&sample(
            &["acme"],
            vec![
                file(&[("a", ColumnKind::Time), ("b", ColumnKind::Time)]),
                file(&[("b", ColumnKind::Time), ("a", ColumnKind::Integer)]),
            ],
        ));
        assert_eq!(p.timestamp_column.as_deref(), Some("b"));
        let p = proposed(&sample(
            &["acme"],
            vec![file(&[("ts", ColumnKind::Integer)])],
        ));
        assert!(
            p.timestamp_column.is_none()
                && p.open_questions[0].contains("no column is a timestamp"),
            "{:?}",
            p.open_questions
        );
    }

    #[test]
    fn a_tenant_called_system_is_told_about() {
        let sample = sample(&["system"], vec![file(&[("timestamp", ColumnKind::Time)])]);
        let p = proposed(&sample);
        assert!(
            p.toml.contains("\nsystem = \"30d\"\n")
                && p.open_questions.iter().any(|q| q.contains("system")),
            "{}",
            p.toml
        );
        // Nothing is dropped that the owner has not said.
        let p = propose(&sample, "s3://b", None, at(31).to_datetime());
        assert!(
            p.toml.contains("\n# system = \"30d\"\n")
                && !p.open_questions.iter().any(|q| q.contains("system")),
            "{}",
            p.toml
        );
    }
}
