//! The columns that folders say, those in which files contradict each other, and the one that dates
//! a row.

use std::collections::{BTreeMap, BTreeSet};

use super::{Proposal, common, day, guess, quoted, told};
use crate::format::plural;
use icepack_core::model::file::Micros;
use icepack_core::model::names::folder;
use icepack_core::model::sample::{
    ColumnKind, FileSample, Likely, PathColumn, Sample, TenantSample,
};
use icepack_core::model::time_column::TimeColumn;

/// The name that most writers give it.
const USUAL: &str = "timestamp";

impl Proposal {
    /// What the names of folders say, and where files of one folder differ.
    pub(super) fn folders(&mut self, sample: &Sample) {
        let mut columns: BTreeMap<&str, (&PathColumn, bool)> = BTreeMap::new();
        for column in sample.looked_at.iter().flat_map(|t| &t.path_columns) {
            let seen = columns.entry(&column.name).or_insert((column, false));
            seen.1 |= column.in_files;
        }
        let named = |in_files: bool| {
            let columns = columns.iter().filter(|(_, (_, found))| *found == in_files);
            let column = |(name, (column, _)): (&&str, &(&PathColumn, bool))| {
                format!("{name}={}", column.example)
            };
            columns.map(column).collect::<Vec<_>>()
        };
        let (path, both) = (named(false), named(true));
        if !path.is_empty() {
            self.say(&format!(
                "Columns that only folders have, and no file: {}. They stay as they are, because \
                 files merge within their folder.",
                told(&path)
            ));
        }
        if !both.is_empty() {
            self.say(&format!(
                "Columns that folders and files have: {}.",
                told(&both)
            ));
        }
        for tenant in &sample.looked_at {
            if let Some(differences) = differences(tenant) {
                self.say(&differences);
            }
        }
        if !self.toml.ends_with("\n\n") {
            self.line("");
        }
    }

    pub(super) fn time_column(
        &mut self,
        sample: &Sample,
        spans: &BTreeMap<String, (Micros, Micros)>,
    ) {
        let setting = |name: &str| {
            let range = spans.get(name).map_or(String::new(), |(from, to)| {
                format!("  # {} to {}", day(*from), day(*to))
            });
            let column = TimeColumn::named(name);
            format!("timestamp_column = {}{range}", quoted(column.as_str()))
        };
        let files: Vec<&FileSample> = sample.looked_at.iter().flat_map(|t| &t.files).collect();
        let mut names = dating(sample, &files);
        if names.iter().any(|name| name == USUAL) {
            names = vec![USUAL.to_owned()];
        }
        match names.as_slice() {
            [name] => {
                self.dated_by(name, sample, &files);
                self.line(&setting(name));
                self.timestamp_column = Some(TimeColumn::named(name).to_string());
            }
            [] => self.dated_otherwise(&files),
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

    /// Says how well `name` dates the rows.
    fn dated_by(&mut self, name: &str, sample: &Sample, files: &[&FileSample]) {
        let (with, without): (Vec<&FileSample>, Vec<&FileSample>) =
            files.iter().partition(|f| is_time(f, name));
        if without.is_empty() {
            self.say(&format!(
                "The column that dates a row: a timestamp in every one of the {} read.",
                plural(files.len() as u64, "file")
            ));
            return;
        }
        self.say(&format!(
            "The column that dates a row: a timestamp in {} of the {} read.",
            with.len(),
            plural(files.len() as u64, "file")
        ));
        let has_none =
            |t: &&TenantSample| !t.files.is_empty() && !t.files.iter().any(|f| is_time(f, name));
        let none: Vec<String> = sample
            .looked_at
            .iter()
            .filter(has_none)
            .map(|t| t.tenant.to_string())
            .collect();
        let question = if none.is_empty() {
            let keys: Vec<&str> = without.iter().map(|f| f.key.as_str()).collect();
            format!(
                "`{name}` is no timestamp in {}: such files are set aside",
                told(&keys)
            )
        } else {
            format!(
                "`{name}` is no timestamp in any file of {}: a pass fails there and touches nothing",
                told(&none)
            )
        };
        self.say(&format!("TO DECIDE: {question}."));
        self.open_questions.push(question);
    }

    /// Where no column is a timestamp: what looks like a time, or the folders.
    fn dated_otherwise(&mut self, files: &[&FileSample]) {
        let why = if files.is_empty() {
            "no file could be read"
        } else {
            "no column is a timestamp in every file read"
        };
        let setting =
            |column: &TimeColumn| format!("timestamp_column = {}", quoted(column.as_str()));
        let mut likely = guess::likely(files);
        if let Some(usual) = likely.iter().position(|(name, _)| name == USUAL) {
            likely = vec![likely.swap_remove(usual)];
        }
        match (likely.as_slice(), guess::path(files)) {
            ([(name, looks)], _) => {
                let column = looks.setting(name);
                self.say(&format!(
                    "No column is a timestamp. {}.",
                    told_likely(name, looks)
                ));
                self.line(&setting(&column));
                self.timestamp_column = Some(column.to_string());
            }
            ([], Some(column)) => {
                self.say(
                    "No column dates a row, and the folders do. A row counts as the last \
                     microsecond of its folder's time.",
                );
                self.line(&setting(&column));
                self.timestamp_column = Some(column.to_string());
            }
            ([], None) => {
                self.say(&format!(
                    "TO DECIDE: {why}. Without a time, a pass fails and touches nothing. By \
                     \"none\" small files become large ones, and no row expires."
                ));
                self.line(&format!("# {}", setting(&TimeColumn::nothing())));
                self.open_questions.push(format!(
                    "{why}: name what dates a row, timestamp_column, by hand, or set it to \"none\""
                ));
            }
            (several, _) => {
                self.say(&format!(
                    "TO DECIDE: {why}, and several look like times. Take the sign away from the \
                     one that says when the event happened:"
                ));
                for (name, looks) in several {
                    self.say(&format!("  {}", told_likely(name, looks)));
                }
                for (name, looks) in several {
                    self.line(&format!("# {}", setting(&looks.setting(name))));
                }
                let told: Vec<String> = several.iter().map(|(n, l)| told_likely(n, l)).collect();
                self.open_questions.push(format!(
                    "{why}, and several look like times: {}; take the comment sign away from one of \
                     them",
                    told.join("; ")
                ));
            }
        }
    }
}

/// `` `ts` is an integer, likely seconds since 1970, 2026-01-01 to 2026-01-02``
fn told_likely(name: &str, looks: &Likely) -> String {
    let span = looks
        .span
        .map(|(from, to)| format!(", {} to {}", day(from), day(to)));
    format!("`{name}` is {}{}", looks.what, span.unwrap_or_default())
}

fn is_time(file: &FileSample, name: &str) -> bool {
    let is = |(n, kind): &(String, ColumnKind)| n == name && *kind == ColumnKind::Time;
    file.columns.iter().any(is)
}

/// Columns that date rows: in every file, or else in every file of the most tenants, or else in most
/// files.
fn dating(sample: &Sample, files: &[&FileSample]) -> Vec<String> {
    let in_all = common(files, |_, kind| kind == ColumnKind::Time);
    if !in_all.is_empty() {
        return in_all;
    }
    let tenants: Vec<Vec<&FileSample>> = sample
        .looked_at
        .iter()
        .map(|t| t.files.iter().collect())
        .filter(|files: &Vec<&FileSample>| !files.is_empty())
        .collect();
    let by_tenant = tenants
        .iter()
        .flat_map(|files| common(files, |_, kind| kind == ColumnKind::Time));
    let by_file = files.iter().flat_map(|f| {
        let times = f
            .columns
            .iter()
            .filter(|(_, kind)| *kind == ColumnKind::Time);
        times.map(|(name, _)| name.clone())
    });
    let best = most(by_tenant, tenants.len());
    if best.is_empty() {
        most(by_file, files.len())
    } else {
        best
    }
}

/// The names that come most often, and at least every other time.
fn most(names: impl Iterator<Item = String>, all: usize) -> Vec<String> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for name in names {
        *times.entry(name).or_default() += 1;
    }
    let most = times.values().copied().max().unwrap_or(0);
    let is_best = |(_, n): &(String, usize)| *n == most && n * 2 >= all;
    times
        .into_iter()
        .filter(is_best)
        .map(|(name, _)| name)
        .collect()
}

/// In which columns the files of one folder of a tenant differ.
fn differences(tenant: &TenantSample) -> Option<String> {
    let (types, missing) = differing(&tenant.files);
    let contrary: Vec<String> = types
        .iter()
        .map(|(name, found)| {
            let found: Vec<&str> = found.iter().copied().collect();
            format!("`{name}` ({})", found.join(" or "))
        })
        .collect();
    let mut parts = Vec::new();
    if !contrary.is_empty() {
        parts.push(format!(
            "have other types in {}, and those that do not unite are compacted apart",
            contrary.join(", ")
        ));
    }
    if !missing.is_empty() {
        let missing: Vec<&str> = missing.into_iter().collect();
        parts.push(format!(
            "do not all have {}, which is null then",
            told(&missing)
        ));
    }
    (!parts.is_empty()).then(|| {
        let what = parts.join("; they ");
        format!("Files of one folder of tenant `{}` {what}.", tenant.tenant)
    })
}

/// Columns that have several types in one folder, with those, and columns that some files of one
/// folder do not have.
fn differing(files: &[FileSample]) -> (BTreeMap<&str, BTreeSet<&str>>, BTreeSet<&str>) {
    let mut folders: BTreeMap<&str, Vec<&FileSample>> = BTreeMap::new();
    for file in files {
        folders.entry(folder(&file.key)).or_default().push(file);
    }
    let (mut types, mut missing) = (BTreeMap::new(), BTreeSet::new());
    for files in folders.values() {
        let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, kind) in files.iter().flat_map(|f| &f.types) {
            found.entry(name).or_default().push(kind);
        }
        for (name, kinds) in found {
            let distinct: BTreeSet<&str> = kinds.iter().copied().collect();
            if distinct.len() > 1 {
                let known: &mut BTreeSet<&str> = types.entry(name).or_default();
                known.extend(distinct);
            } else if kinds.len() < files.len() {
                missing.insert(name);
            }
        }
    }
    (types, missing)
}
