//! Where tenants lie, which files are theirs, and what is left alone.

use std::collections::BTreeSet;

use super::{Given, Proposal, quoted, told};
use crate::format::plural;
use icepack_core::model::sample::Sample;
use icepack_core::plan::recognise::{Other, Recognised};

impl Proposal {
    pub(super) fn layout(&mut self, sample: &Sample, recognised: &Recognised, given: &Given) {
        if let Some(layout) = &given.layout {
            self.say("Where tenants lie, as it was given.");
            if sample.tenants.is_empty() {
                let question = format!(
                    "nothing lies where `layout` says; by the folders it would be {}: {}",
                    quoted(recognised.layout.as_str()),
                    recognised.why
                );
                self.say(&format!("TO DECIDE: {question}."));
                self.open_questions.push(question);
            }
            self.line(&format!("layout = {}", quoted(layout.as_str())));
        } else {
            self.say(&format!("Where tenants lie: {}.", recognised.why));
            let sign = if recognised.is_default() { "# " } else { "" };
            let layout = quoted(recognised.layout.as_str());
            self.line(&format!("{sign}layout = {layout}"));
            for other in &recognised.others {
                self.other(sample, &layout, other);
            }
            for question in &recognised.questions {
                self.say(&format!("TO DECIDE: {question}."));
                self.open_questions.push(question.clone());
            }
            if recognised.unmatched.files > 0 {
                let files = plural(recognised.unmatched.files, "file");
                let question = format!("{files} match no layout{}", recognised.unmatched.named());
                self.say(&format!("TO DECIDE: {question}."));
                self.open_questions.push(question);
            }
        }
        if !sample.unmatched.is_empty() {
            let folders = told(&sample.unmatched);
            self.say(&format!(
                "Folders that match no layout, and are not looked at: {folders}."
            ));
        }
        for why in &sample.refused {
            self.say(&format!("No tenant: {why}."));
        }
        self.line("");
    }

    /// Another layout that the keys allow.
    fn other(&mut self, sample: &Sample, proposed: &str, other: &Other) {
        let layout = quoted(other.layout.as_str());
        let differ = other
            .tables_at
            .is_some_and(|depth| columns_differ(sample, depth));
        let why = if differ { "; their columns differ" } else { "" };
        let sentence = format!("{layout} where {}{why}", other.when);
        if other.open || differ {
            self.say(&format!("TO DECIDE: or {sentence}."));
            self.open_questions
                .push(format!("is layout {proposed}, as proposed, or {sentence}?"));
        } else {
            self.say(&format!("Or {sentence}."));
        }
    }

    pub(super) fn files(&mut self, recognised: &Recognised, given: &Given) {
        let files = given.files.as_ref().unwrap_or(&recognised.files);
        if files.is_empty() {
            return;
        }
        self.say(if given.files.is_some() {
            "Which files are data, as it was given."
        } else if files.iter().any(|glob| glob == "*") {
            "Which files are data: every name. Some that do not say it begin as Parquet does; what does not is \
             left alone."
        } else {
            "Which files are data, by the ends of their names."
        });
        let globs: Vec<String> = files.iter().map(|glob| quoted(glob)).collect();
        self.line(&format!("files = [{}]\n", globs.join(", ")));
    }

    /// What is in the store and is no input: said, and where it is somebody else's, to be decided.
    pub(super) fn inputs(&mut self, sample: &Sample, recognised: &Recognised) {
        let tenants = sample.looked_at.iter();
        let tenants = tenants.map(|t| (format!("tenant `{}`", t.tenant), &t.left_alone));
        let root = ("no tenant".to_owned(), &sample.root);
        for (whose, left) in [root].into_iter().chain(tenants) {
            if let Some(line) = left.ignored_line() {
                self.say(&format!("Left alone in {whose}: {line}."));
            }
        }
        let tenants = sample.looked_at.iter();
        let refused = tenants.filter_map(|t| t.left_alone.refusal(&t.tenant));
        let refused: Vec<String> = refused
            .chain(sample.tables.iter().map(|state| {
                format!(
                    "`{state}` is the state of a table, and the tenants in that folder would be \
                     part of it: they are refused"
                )
            }))
            .collect();
        let tenants = sample
            .looked_at
            .iter()
            .flat_map(|t| t.exclude.iter().cloned());
        let mut globs: BTreeSet<String> = tenants.collect();
        globs.extend(sample.tables.iter().map(|state| format!("{state}/**")));
        if !refused.is_empty() {
            globs.extend(recognised.exclude.iter().cloned());
            let globs: Vec<String> = globs.iter().map(|glob| quoted(glob)).collect();
            self.say(
                "TO DECIDE: tenants that hold what is not icepack's are refused. Move it away, or \
                 say that it is not looked at:",
            );
            self.line(&format!("# exclude = [{}]", globs.join(", ")));
        }
        self.open_questions.extend(refused);
        if !self.toml.ends_with("\n\n") {
            self.line("");
        }
    }
}

/// Whether files of different folders at a depth have different columns.
fn columns_differ(sample: &Sample, depth: usize) -> bool {
    sample.looked_at.iter().any(|tenant| {
        let mut tables: std::collections::BTreeMap<&str, BTreeSet<&str>> = Default::default();
        for file in &tenant.files {
            let segments: Vec<&str> = file.key.split('/').collect();
            if let Some(table) = segments.get(depth).filter(|_| depth + 1 < segments.len()) {
                let columns = file.columns.iter().map(|(name, _)| name.as_str());
                tables.entry(table).or_default().extend(columns);
            }
        }
        let mut columns = tables.values();
        let first = columns.next();
        columns.any(|other| Some(other) != first)
    })
}
