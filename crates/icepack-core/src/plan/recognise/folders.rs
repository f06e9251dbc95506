//! The folders that hold data, and what their names have in common.

use std::collections::{BTreeMap, BTreeSet};

use super::segment::Kind;
use crate::model::file::Listed;
use crate::model::names::folder;

/// A folder with data files.
#[derive(Debug)]
pub(super) struct Folder<'a> {
    /// Its own name last.
    pub segments: Vec<&'a str>,
    /// Data files that lie directly in it.
    pub files: u64,
    /// The key of the first of them.
    pub first: &'a str,
}

/// The folders of data files, by their names.
pub(super) fn of<'a>(data: &[&'a Listed]) -> Vec<Folder<'a>> {
    let mut folders: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    for file in data {
        let found = folders.entry(folder(&file.key)).or_insert((0, &file.key));
        found.0 += 1;
    }
    let made = |(name, (files, first)): (&'a str, (u64, &'a str))| Folder {
        segments: name.split('/').filter(|s| !s.is_empty()).collect(),
        files,
        first,
    };
    folders.into_iter().map(made).collect()
}

/// What the folders at one depth are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// One folder of a free name.
    Literal,
    /// Several folders, of free names at least some.
    Free,
    /// Numbers of AWS accounts.
    Accounts,
    Dates,
    /// `key=value`
    Values,
    /// Most files lie here, and in no folder.
    Files,
}

/// The names of the folders at one depth.
#[derive(Debug)]
pub(super) struct Level<'a> {
    pub names: BTreeSet<&'a str>,
    pub sort: Sort,
}

impl<'a> Level<'a> {
    /// Of the folders that lie `depth` deep. Those above them are dates or are not.
    pub fn at<'f>(
        folders: impl IntoIterator<Item = &'f Folder<'a>>,
        depth: usize,
        in_date: bool,
    ) -> Self
    where
        'a: 'f,
    {
        let (mut names, mut here, mut below) = (BTreeSet::new(), 0, 0);
        for folder in folders {
            if folder.segments.len() < depth {
                continue;
            }
            match folder.segments.get(depth) {
                Some(name) => {
                    names.insert(*name);
                    below += folder.files;
                }
                None => here += folder.files,
            }
        }
        let sort = if here >= below {
            Sort::Files
        } else {
            sort(&names, in_date)
        };
        Self { names, sort }
    }

    /// Names of a kind that is not the level's own.
    pub fn strangers(&self) -> Vec<&'a str> {
        let is_strange = |name: &&&str| matches!(Kind::of(name, false), Kind::Date | Kind::Value);
        match self.sort {
            Sort::Free => self.names.iter().filter(is_strange).copied().collect(),
            _ => Vec::new(),
        }
    }

    /// `` `a`, `b` and 3 more``
    pub fn told(&self) -> String {
        told(self.names.iter().copied())
    }

    /// `` `dt=…` `` for each key, or the names where they are no `key=value`.
    pub fn keys(&self) -> String {
        let key = |name: &&'a str| match name.split_once('=') {
            Some((key, _)) => format!("{key}=…"),
            None => (*name).to_owned(),
        };
        let keys: BTreeSet<String> = self.names.iter().map(key).collect();
        told(keys.iter().map(String::as_str))
    }
}

fn sort(names: &BTreeSet<&str>, in_date: bool) -> Sort {
    let kinds: BTreeSet<Kind> = names.iter().map(|n| Kind::of(n, in_date)).collect();
    let only = |kinds_of: &[Kind]| kinds.iter().all(|k| kinds_of.contains(k));
    if only(&[Kind::Date]) {
        Sort::Dates
    } else if only(&[Kind::Value, Kind::Date]) {
        Sort::Values
    } else if only(&[Kind::Account]) {
        Sort::Accounts
    } else if names.len() == 1 && !names.contains("*") {
        // A pattern cannot spell that name.
        Sort::Literal
    } else {
        Sort::Free
    }
}

/// `` `a`, `b` and 3 more``
pub(super) fn told<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let mut names = names.into_iter();
    let shown: Vec<String> = names
        .by_ref()
        .take(3)
        .map(|n| format!("`{}`", n.escape_debug()))
        .collect();
    match names.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
