//! The layouts that the folders of a store allow, the likeliest first.

use std::collections::BTreeMap;

use super::folders::{Folder, Level, Sort, told};
use super::packed;
use super::segment::{is_sure, owner};
use crate::model::file::Listed;

/// A layout that may be the one.
#[derive(Debug, Default)]
pub(super) struct Candidate {
    pub layout: String,
    /// Why, if it is proposed.
    pub why: String,
    /// When it is right, if another one is proposed: the end of a sentence.
    pub when: String,
    /// [`super::Other::tables_at`].
    pub tables_at: Option<usize>,
    /// Whether only the owner can tell it from the one that is proposed.
    pub open: bool,
}

/// All of them, the likeliest first.
pub(super) fn of(
    data: &[&Listed],
    folders: &[Folder<'_>],
    questions: &mut Vec<String>,
) -> Vec<Candidate> {
    if data.is_empty() {
        return Vec::new();
    }
    let mut all: Vec<Candidate> = packed::layouts(data).into_iter().collect();
    if !all.is_empty() {
        // What was packed once must be found again: nothing else is right.
        return all;
    }
    all.extend(topics(folders));
    let (sure, unsure) = owners(folders);
    all.extend(sure);
    let shape = Shape::of(folders);
    let strangers = shape.level.strangers();
    if all.is_empty() && !strangers.is_empty() {
        questions.push(format!(
            "{} lie beside folders that look like tenants, and would be tenants of their own",
            told(strangers)
        ));
    }
    let is_known = !all.is_empty();
    all.extend(shape.candidates(folders, is_known));
    all.extend(unsure);
    all
}

/// The folders that all data lies below, and what comes after them.
struct Shape<'a> {
    head: Vec<&'a str>,
    level: Level<'a>,
}

impl<'a> Shape<'a> {
    fn of(folders: &[Folder<'a>]) -> Self {
        let mut head = Vec::new();
        loop {
            let level = Level::at(folders, head.len(), false);
            match (level.sort, level.names.first()) {
                (Sort::Literal, Some(name)) => head.push(*name),
                _ => return Self { head, level },
            }
        }
    }

    fn candidates(&self, folders: &[Folder<'a>], is_known: bool) -> Vec<Candidate> {
        let mut all = match self.level.sort {
            Sort::Free | Sort::Accounts => self.several(is_known),
            _ => self.single(),
        };
        all.extend(self.tables(folders));
        all.extend(self.below_dates(folders));
        all
    }

    /// The first folders of the head, each with its slash.
    fn above(&self, depth: usize) -> String {
        self.head
            .iter()
            .take(depth)
            .map(|name| format!("{name}/"))
            .collect()
    }

    /// Several folders that are tenants by their names.
    fn several(&self, is_known: bool) -> Vec<Candidate> {
        let (place, names) = (self.above(self.head.len()), self.level.told());
        let what = match self.level.sort {
            Sort::Accounts => "AWS account",
            _ => "folder",
        };
        let Some((last, above)) = self.head.split_last() else {
            return vec![Candidate {
                layout: "{tenant}/**".to_owned(),
                why: format!("each first {what} is a tenant: {names}"),
                when: format!("each first {what} is a tenant: {names}"),
                ..Candidate::default()
            }];
        };
        let is_guess = !is_known && self.level.sort == Sort::Free;
        let proposed = Candidate {
            layout: format!("{place}{{tenant}}/**"),
            why: format!(
                "all data lies below `{place}`, and each {what} there is a tenant: {names}"
            ),
            when: format!("each {what} in `{place}` is a tenant: {names}"),
            ..Candidate::default()
        };
        let one = Candidate {
            layout: "{tenant}/**".to_owned(),
            when: format!("all of `{}` is one tenant", self.head[0]),
            // The first tenant of a store looks just like a folder of several.
            open: is_guess && above.is_empty(),
            ..Candidate::default()
        };
        let both = Candidate {
            layout: format!("{}{{schema}}/{{table}}/**", self.above(above.len())),
            when: format!("other folders like `{last}` will come beside it"),
            ..Candidate::default()
        };
        [proposed, one]
            .into_iter()
            .chain(is_guess.then_some(both))
            .collect()
    }

    /// Nothing that could tell tenants apart: the first folder is one, or the store is.
    fn single(&self) -> Vec<Candidate> {
        let below = match self.level.sort {
            Sort::Dates => format!(" in dates, {}", self.level.told()),
            Sort::Values => format!(" in partitions, {}", self.level.keys()),
            _ => String::new(),
        };
        let Some((first, rest)) = self.head.split_first() else {
            return self.rootless(&below);
        };
        let place = self.above(self.head.len());
        let mut all = vec![Candidate {
            layout: "{tenant}/**".to_owned(),
            why: format!("all data lies in `{place}`{below}; `{first}` is the tenant"),
            when: format!("all of `{first}` is one tenant"),
            ..Candidate::default()
        }];
        if let Some(last) = rest.last() {
            let above = self.above(self.head.len() - 1);
            all.push(Candidate {
                layout: format!("{above}{{tenant}}/**"),
                when: format!("each folder in `{above}` is a tenant, like `{last}`"),
                ..Candidate::default()
            });
        }
        all
    }

    /// Files, dates or partitions in the root.
    fn rootless(&self, below: &str) -> Vec<Candidate> {
        let only = Candidate {
            layout: "**".to_owned(),
            why: format!("the data lies in the root{below}: all is one tenant, `default`"),
            when: "all is one tenant, `default`".to_owned(),
            ..Candidate::default()
        };
        let has_both = self.level.sort == Sort::Files && !self.level.names.is_empty();
        let folders = Candidate {
            layout: "{tenant}/**".to_owned(),
            when: format!(
                "each first folder is a tenant, {}, and the files in the root are none's",
                self.level.told()
            ),
            open: true,
            ..Candidate::default()
        };
        [only]
            .into_iter()
            .chain(has_both.then_some(folders))
            .collect()
    }

    /// Free names below those that are taken for tenants: they may be tables of their own.
    fn tables(&self, folders: &[Folder<'a>]) -> Option<Candidate> {
        let depth = self.head.len();
        if self.level.sort != Sort::Free {
            return None;
        }
        let below = self.level.names.iter().find_map(|name| {
            let own = folders
                .iter()
                .filter(|f| f.segments.get(depth) == Some(name));
            let level = Level::at(own, depth + 1, false);
            (level.sort == Sort::Free).then_some((*name, level))
        });
        let (tenant, level) = below?;
        Some(Candidate {
            layout: format!("{}{{schema}}/{{table}}/**", self.above(depth)),
            when: format!(
                "the folders in `{tenant}` are tables of their own: {}",
                level.told()
            ),
            tables_at: Some(depth + 1),
            ..Candidate::default()
        })
    }

    /// Free names below dates or partitions.
    fn below_dates(&self, folders: &[Folder<'a>]) -> Option<Candidate> {
        let (mut depth, mut sort) = (self.head.len(), self.level.sort);
        let mut any = String::new();
        while matches!(sort, Sort::Dates | Sort::Values) {
            depth += 1;
            any.push_str("*/");
            let level = Level::at(folders, depth, sort == Sort::Dates);
            sort = level.sort;
            if sort == Sort::Free {
                let place = self.above(self.head.len());
                return Some(Candidate {
                    layout: format!("{place}{any}{{tenant}}/**"),
                    when: format!(
                        "the folders below are tenants, {}; each look at one lists the whole store",
                        level.told()
                    ),
                    open: true,
                    ..Candidate::default()
                });
            }
        }
        None
    }
}

/// Kafka Connect names a file after its topic, which is its folder's name too:
/// `topics/orders/partition=0/orders+0+0000000042.snappy.parquet`.
fn topics(folders: &[Folder<'_>]) -> Option<Candidate> {
    let mut named: BTreeMap<usize, u64> = BTreeMap::new();
    for folder in folders {
        let name = folder.first.rsplit('/').next().unwrap_or_default();
        let is_named_after = |topic: &&str| {
            let rest = name
                .strip_prefix(topic)
                .and_then(|rest| rest.strip_prefix('+'));
            let numbers = rest.and_then(|rest| rest.split('.').next());
            numbers
                .and_then(|numbers| numbers.split_once('+'))
                .is_some_and(|(a, b)| a.parse::<u64>().is_ok() && b.parse::<u64>().is_ok())
        };
        if let Some(depth) = folder.segments.iter().position(is_named_after) {
            *named.entry(depth).or_default() += folder.files;
        }
    }
    let (depth, files) = named.into_iter().max_by_key(|(_, files)| *files)?;
    let example = folders.first()?.first.rsplit('/').next()?;
    let all: u64 = folders.iter().map(|f| f.files).sum();
    let above = literals(folders, depth)?;
    (files * 10 >= all * 9).then(|| Candidate {
        layout: format!("{above}{{tenant}}/**"),
        why: format!(
            "files are named after a folder, as Kafka Connect does with topics: `{example}`; each \
             topic is a tenant"
        ),
        when: "each topic is a tenant".to_owned(),
        ..Candidate::default()
    })
}

/// The folders above `depth`, each with its slash, where all data lies below them.
fn literals(folders: &[Folder<'_>], depth: usize) -> Option<String> {
    (0..depth)
        .map(|at| {
            let level = Level::at(folders, at, false);
            let name = level
                .names
                .first()
                .filter(|_| level.sort == Sort::Literal)?;
            Some(format!("{name}/"))
        })
        .collect()
}

/// Layouts by a folder `key=value` whose key names an owner: those that are likely, and those that
/// are only possible.
fn owners(folders: &[Folder<'_>]) -> (Vec<Candidate>, Vec<Candidate>) {
    let Some((rank, depth, key)) = owners_key(folders) else {
        return Default::default();
    };
    let above: Vec<Level<'_>> = (0..depth)
        .map(|at| Level::at(folders, at, at > 0))
        .collect();
    let wild = |name: &str| {
        let part = |level: &Level<'_>| match (level.sort, level.names.first()) {
            (Sort::Literal, Some(folder)) => format!("{folder}/"),
            (Sort::Free, _) => name.to_owned(),
            _ => "*/".to_owned(),
        };
        let above: String = above.iter().map(part).collect();
        format!("{above}{key}={{tenant}}/**")
    };
    let tables = above
        .iter()
        .filter(|level| level.sort == Sort::Free)
        .count();
    let by = |layout: String| Candidate {
        why: format!(
            "the folders `{key}=…` say whose the rows are{}",
            cost(&layout)
        ),
        when: format!("each `{key}` is a tenant{}", cost(&layout)),
        layout,
        ..Candidate::default()
    };
    match tables {
        0 => (vec![by(wild("*/"))], Vec::new()),
        1 if is_sure(rank) => {
            let each = Candidate {
                why: format!(
                    "the folders `{key}=…` say whose the rows are, and several lie above them: the \
                     tenant is both names"
                ),
                ..by(wild("{table}/"))
            };
            (vec![each, by(wild("*/"))], Vec::new())
        }
        _ => (Vec::new(), vec![by(wild("*/"))]),
    }
}

/// The likeliest key of an owner that nearly all folders have at one depth: how likely it is, and how
/// deep.
fn owners_key<'a>(folders: &[Folder<'a>]) -> Option<(usize, usize, &'a str)> {
    let mut found: BTreeMap<(usize, usize, &str), u64> = BTreeMap::new();
    for folder in folders {
        for (depth, segment) in folder.segments.iter().enumerate() {
            if let Some((key, _)) = segment.split_once('=')
                && let Some(rank) = owner(key)
            {
                *found.entry((rank, depth, key)).or_default() += folder.files;
            }
        }
    }
    let all: u64 = folders.iter().map(|f| f.files).sum();
    let mut found = found.into_iter();
    found
        .find(|(_, files)| files * 10 >= all * 9)
        .map(|(key, _)| key)
}

/// What a wildcard costs.
fn cost(layout: &str) -> &'static str {
    if layout.contains("*/") {
        "; each look at one lists the whole store"
    } else {
        ""
    }
}
