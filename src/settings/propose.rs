//! A first `icepack.toml` for a store that was looked at. Pure: from the sample to text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use chrono::{DateTime, Utc};

use crate::format::{about, count, minute, plural, size};
use icepack_core::model::file::Micros;
use icepack_core::model::inputs::proposed_glob;
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

/// The default of `small_file_threshold`.
const SMALL: u64 = 10 << 20;

/// A file to begin with, and what its reader must know first.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// What one of several columns was found to be.
enum Choice {
    Clear(String),
    None,
    Several(Vec<String>),
}

/// Proposes settings for `store`, as it was at `now`.
pub fn propose(
    sample: &Sample,
    store: &str,
    archive: Option<&str>,
    now: DateTime<Utc>,
) -> Proposal {
    let files: Vec<&FileSample> = sample.looked_at.iter().flat_map(|t| &t.files).collect();
    let mut p = Proposal {
        toml: String::new(),
        open_questions: Vec::new(),
        timestamp_column: None,
        id_column: None,
    };
    head(&mut p.toml, sample, store, now);
    inputs(&mut p, sample);
    time_column(&mut p, &files);
    id_column(&mut p, &files);
    compaction(&mut p.toml, sample);
    retention(&mut p, sample, &files, archive, now);
    archiving(&mut p.toml, archive);
    p
}

fn head(out: &mut String, sample: &Sample, store: &str, now: DateTime<Utc>) {
    let looked = &sample.looked_at;
    let files = looked.iter().map(|t| t.sizes.len() as u64).sum();
    let bytes = looked.iter().flat_map(|t| &t.sizes).sum();
    let more = if looked.iter().any(|t| t.has_more) {
        ", and more that were not listed"
    } else {
        ""
    };
    say(
        out,
        &format!(
            "Written by `icepack init` at {} UTC, after a look at {store}:",
            minute(now)
        ),
    );
    let (seen, all) = (
        looked.len() as u64,
        plural(sample.tenants.len() as u64, "tenant"),
    );
    say(
        out,
        &format!(
            "{all}; in the {} looked at {}, {}{more}.",
            count(seen),
            plural(files, "raw file"),
            size(bytes)
        ),
    );
    say(
        out,
        "A flag beats an ICEPACK_* variable, which beats this file; `icepack config show` prints \
         what holds and where it came from.",
    );
    let _ = writeln!(out, "\nstore = {}\n", quoted(store));
}

/// What is in the store and is no input: said, and where it is somebody else's, to be decided.
fn inputs(p: &mut Proposal, sample: &Sample) {
    for (whose, left) in [("the root of the store", &sample.root)].into_iter().chain(
        sample
            .looked_at
            .iter()
            .map(|t| (t.tenant.as_str(), &t.left_alone)),
    ) {
        if let Some(line) = left.ignored_line() {
            say(&mut p.toml, &format!("Left alone in {whose}: {line}."));
        }
    }
    let refused: Vec<String> = sample
        .looked_at
        .iter()
        .filter_map(|t| t.left_alone.refusal(&t.tenant))
        .collect();
    if !refused.is_empty() {
        let names = sample
            .looked_at
            .iter()
            .flat_map(|t| t.left_alone.foreign.values())
            .flat_map(|seen| &seen.names);
        let globs: BTreeSet<String> = names.map(|name| quoted(&proposed_glob(name))).collect();
        say(
            &mut p.toml,
            "TO DECIDE: tenants that hold what is not icepack's are refused. Move it away, or say \
             that it is not looked at:",
        );
        let _ = writeln!(
            p.toml,
            "# exclude = [{}]",
            globs.into_iter().collect::<Vec<_>>().join(", ")
        );
        p.open_questions.extend(refused);
    }
    if !p.toml.ends_with("\n\n") {
        p.toml.push('\n');
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
    let names = first
        .columns
        .iter()
        .filter(|(n, kind)| wanted(n, *kind))
        .map(|(n, _)| n.clone());
    names.filter(|n| rest.iter().all(|f| has(f, n))).collect()
}

fn choose(candidates: Vec<String>, usual: &str) -> Choice {
    match candidates.as_slice() {
        [] => Choice::None,
        [only] => Choice::Clear(only.clone()),
        several if several.iter().any(|c| c == usual) => Choice::Clear(usual.to_owned()),
        _ => Choice::Several(candidates),
    }
}

fn time_column(p: &mut Proposal, files: &[&FileSample]) {
    let spans = spans(files);
    let range = |name: &str| {
        spans.get(name).map_or(String::new(), |(from, to)| {
            format!("  # {} to {}", day(*from), day(*to))
        })
    };
    match choose(
        common(files, |_, kind| kind == ColumnKind::Time),
        "timestamp",
    ) {
        Choice::Clear(name) => {
            say(
                &mut p.toml,
                &format!(
                    "The column that dates a row: a timestamp in every one of the {} read.",
                    plural(files.len() as u64, "file")
                ),
            );
            let _ = writeln!(
                p.toml,
                "timestamp_column = {}{}\n",
                quoted(&name),
                range(&name)
            );
            p.timestamp_column = Some(name);
        }
        Choice::Several(names) => {
            say(
                &mut p.toml,
                "TO DECIDE: several columns could date a row. Take the sign away from the one \
                 that says when the event happened:",
            );
            for name in &names {
                let _ = writeln!(
                    p.toml,
                    "# timestamp_column = {}{}",
                    quoted(name),
                    range(name)
                );
            }
            p.toml.push('\n');
            p.open_questions.push(format!(
                "several columns could date a row: {}; take the comment sign away from one of them",
                names.join(", ")
            ));
        }
        Choice::None => {
            say(
                &mut p.toml,
                "TO DECIDE: no column of the files read is a timestamp in all of them. Integers \
                 and texts are not guessed at.",
            );
            p.toml.push_str("# timestamp_column = \"timestamp\"\n\n");
            let why = if files.is_empty() {
                "no file could be read"
            } else {
                "no column is a timestamp in every file read"
            };
            p.open_questions.push(format!(
                "{why}: name the column that dates a row, timestamp_column, by hand"
            ));
        }
    }
}

fn id_column(p: &mut Proposal, files: &[&FileSample]) {
    let is_id = |name: &str, kind| {
        matches!(kind, ColumnKind::Text | ColumnKind::Integer)
            && IDS.contains(&name.to_ascii_lowercase().as_str())
    };
    let found = common(files, is_id);
    // Of `event_id` and `id` the first is the better name.
    let best = IDS
        .iter()
        .find_map(|id| found.iter().find(|n| n.eq_ignore_ascii_case(id)).cloned());
    match best {
        Some(name) => {
            say(
                &mut p.toml,
                "The column that identifies a row: of rows with the same id and the same content, \
                 one is kept.",
            );
            let _ = writeln!(p.toml, "id_column = {}\n", quoted(&name));
            p.id_column = Some(name);
        }
        None => {
            say(
                &mut p.toml,
                "No column looks like a row's id. Without one, nothing is taken for a duplicate.",
            );
            p.toml.push_str("# id_column = \"event_id\"\n\n");
        }
    }
}

fn compaction(out: &mut String, sample: &Sample) {
    let mut sizes: Vec<u64> = sample
        .looked_at
        .iter()
        .flat_map(|t| t.sizes.iter().copied())
        .collect();
    sizes.sort_unstable();
    out.push_str("[compaction]\n");
    if let (Some(least), Some(most), Some(middle)) =
        (sizes.first(), sizes.last(), sizes.get(sizes.len() / 2))
    {
        let small = sizes.iter().filter(|s| **s < SMALL).count() as u64;
        let share = format!("{} of {}", count(small), plural(sizes.len() as u64, "file"));
        say(
            out,
            &format!(
                "Files have {} to {}, half of them under {}; {share} are small by the default \
                 below.",
                size(*least),
                size(*most),
                size(*middle)
            ),
        );
    }
    let gaps: Vec<u64> = sample
        .looked_at
        .iter()
        .filter_map(|t| gap(t.first_written?, t.last_written?, t.sizes.len()))
        .collect();
    if let Some(least) = gaps.iter().min() {
        say(
            out,
            &format!(
                "The busiest tenant gets a file about every {}.",
                about((*least).max(1))
            ),
        );
    }
    out.push_str("# strategy = \"size\"               # size | time | full\n");
    out.push_str("# min_files_to_compact = 3        # fewer are left alone …\n");
    out.push_str("# max_raw_age = \"24h\"             # … but none for longer than this\n");
    out.push_str("# small_file_threshold = \"10MiB\"\n");
    out.push_str("# target_file_size = \"128MiB\"\n\n");
}

/// Seconds between two files of a tenant.
fn gap(first: DateTime<Utc>, last: DateTime<Utc>, files: usize) -> Option<u64> {
    let span = u64::try_from((last - first).num_seconds()).ok()?;
    span.checked_div(files.checked_sub(1)? as u64)
        .filter(|_| span > 0)
}

fn retention(
    p: &mut Proposal,
    sample: &Sample,
    files: &[&FileSample],
    archive: Option<&str>,
    now: DateTime<Utc>,
) {
    p.toml.push_str("[retention]\n");
    let spans = spans(files);
    let oldest = p
        .timestamp_column
        .as_ref()
        .and_then(|name| spans.get(name))
        .map(|(from, _)| *from);
    if let Some(oldest) = oldest {
        let age = u64::try_from((now - oldest.to_datetime()).num_seconds()).unwrap_or(0);
        say(
            &mut p.toml,
            &format!(
                "The oldest row seen is of {}, {} ago. A TTL below that expires rows with the \
                 first pass.",
                day(oldest),
                about(age)
            ),
        );
    }
    p.toml
        .push_str("# default_ttl = \"forever\"         # or \"90d\"\n");
    say(
        &mut p.toml,
        "A pass that would expire more than this share of a tenant's rows is refused until \
         somebody has looked.",
    );
    p.toml
        .push_str("max_expire_percent = 60\n\n[retention.tenants]\n");
    let has_system = sample.tenants.iter().any(|t| t.as_str() == "system");
    if has_system && archive.is_none() {
        say(
            &mut p.toml,
            "There is a tenant of this name. Without an archive its rows are kept; by this line \
             they are dropped after 30 days.",
        );
        p.toml.push_str("# system = \"30d\"\n");
    } else if has_system {
        say(
            &mut p.toml,
            "There is a tenant of this name. Its rows expire after 30 days unless you say \
             otherwise; \"forever\" keeps them.",
        );
        p.toml.push_str("system = \"30d\"\n");
        p.open_questions.push(
            "rows of tenant `system` expire after 30 days unless [retention.tenants] says \
             otherwise"
                .to_owned(),
        );
    }
    p.toml.push_str("# \"eu-*\" = \"400d\"\n\n");
}

fn archiving(out: &mut String, archive: Option<&str>) {
    match archive {
        Some(url) => {
            say(
                out,
                "Expired rows are archived there, and the archive is verified, before anything \
                 that held them is deleted.",
            );
            let _ = writeln!(out, "[archive]\nurl = {}", quoted(url));
        }
        None => {
            say(
                out,
                "Without an archive, expired rows are dropped. With one, they are archived and \
                 verified before anything that held them is deleted.",
            );
            out.push_str(
                "# [archive]\n# url = \"s3://another-bucket/prefix\"   # not the store, nor \
                 inside it\n",
            );
        }
    }
    out.push_str(
        "# storage_class = \"DEEP_ARCHIVE\"  # on S3: STANDARD_IA, GLACIER_IR, GLACIER, \
         DEEP_ARCHIVE\n",
    );
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

fn say(out: &mut String, text: &str) {
    // A name from the store must not end the comment.
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let _ = writeln!(out, "# {clean}");
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Environment, Layers, Settings};
    use icepack_core::model::inputs::Left;
    use icepack_core::model::names::Tenant;
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
