//! Recognises how a store is laid out, from the keys and sizes of a listing: what `init` proposes
//! for `layout` and `files`.
//!
//! A proposal is a guess about what folders mean. So each one has its reason, and the other layouts
//! that the keys allow.

mod candidates;
mod folders;
mod packed;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};

use crate::model::file::Listed;
use crate::model::inputs::{Seen, foreign_root, is_called_parquet};
use crate::model::layout::Layout;
use crate::model::names::{is_archive_object, is_hidden, is_plain};
use candidates::Candidate;
use folders::Folder;

/// The layout that the keys of a store suggest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recognised {
    #[serde(serialize_with = "as_text")]
    pub layout: Layout,
    /// Why it is proposed, in a sentence without its end.
    pub why: String,
    /// Others that the keys allow.
    pub others: Vec<Other>,
    /// What to set for `files`; empty where the default takes all data files.
    pub files: Vec<String>,
    /// Globs for the tables and stores of others in it.
    pub exclude: Vec<String>,
    /// What keys cannot say, in sentences without their ends.
    pub questions: Vec<String>,
    /// Data files that are no tenant's by the layout.
    pub unmatched: Seen,
}

/// A layout that the keys allow too.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Other {
    #[serde(serialize_with = "as_text")]
    pub layout: Layout,
    /// Where it is the right one: the end of a sentence that begins with it.
    pub when: String,
    /// How deep the folders lie by which it tells tables apart that the proposal does not, from 0:
    /// it is the better one where their columns differ.
    pub tables_at: Option<usize>,
    /// Whether it is as likely as the proposal: only the owner knows.
    pub open: bool,
}

fn as_text<S: Serializer>(layout: &Layout, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(layout.as_str())
}

impl Recognised {
    /// Whether the layout is the one that holds where nothing is set.
    pub fn is_default(&self) -> bool {
        self.layout == Layout::default()
    }
}

/// Recognises the layout of a listing. Files whose names do not say that they are Parquet are data
/// where their ending is one of `endings`.
///
/// ```
/// use std::collections::BTreeSet;
/// use icepack_core::model::file::Listed;
/// use icepack_core::plan::recognise::recognise;
///
/// let file = |key: &str| Listed { key: key.to_owned(), size: 9, etag: None, modified: Default::default() };
/// let files = ["topics/orders/p=0/a.parquet", "topics/payments/p=0/b.parquet"].map(file);
/// assert_eq!(recognise(&files, &BTreeSet::new()).layout.as_str(), "topics/{tenant}/**");
/// ```
pub fn recognise(listing: &[Listed], endings: &BTreeSet<String>) -> Recognised {
    let data = data(listing, endings);
    let folders = folders::of(&data);
    let mut questions = Vec::new();
    let mut possible: Vec<Possible> = candidates::of(&data, &folders, &mut questions)
        .into_iter()
        .filter_map(|c| Possible::new(c, &folders))
        .collect();
    let (layout, why) = match possible.iter().position(|p| p.takes_most) {
        Some(at) => {
            let Possible {
                layout, candidate, ..
            } = possible.remove(at);
            // One that was meant to stand beside another has only the one sentence.
            let why = [candidate.why, candidate.when];
            (
                layout,
                why.into_iter()
                    .find(|why| !why.is_empty())
                    .unwrap_or_default(),
            )
        }
        None if data.is_empty() => (
            Layout::default(),
            "there is no data file to tell it by; this is the default".to_owned(),
        ),
        None => (
            only(),
            "the names of the folders can be no tenants', so all is one tenant, `default`"
                .to_owned(),
        ),
    };
    let mut others: Vec<Other> = Vec::new();
    for Possible {
        layout: other,
        candidate,
        ..
    } in possible
    {
        if other != layout && !others.iter().any(|o| o.layout == other) {
            others.push(Other {
                layout: other,
                when: candidate.when,
                tables_at: candidate.tables_at,
                open: candidate.open,
            });
        }
    }
    Recognised {
        unmatched: unmatched(&layout, &data),
        files: files(&data),
        exclude: exclude(listing),
        layout,
        why,
        others,
        questions,
    }
}

/// `**`
fn only() -> Layout {
    Layout::parse("**").unwrap_or_default()
}

/// A candidate by which some files are a tenant's.
struct Possible {
    layout: Layout,
    /// Whether most are.
    takes_most: bool,
    candidate: Candidate,
}

impl Possible {
    fn new(candidate: Candidate, folders: &[Folder<'_>]) -> Option<Self> {
        let layout = Layout::parse(&candidate.layout).ok()?;
        let is_placed = |f: &&Folder<'_>| matches!(layout.tenant_of(f.first), Ok(Some(_)));
        let placed: u64 = folders.iter().filter(is_placed).map(|f| f.files).sum();
        let all: u64 = folders.iter().map(|f| f.files).sum();
        (placed > 0).then_some(Self {
            layout,
            takes_most: placed * 2 > all,
            candidate,
        })
    }
}

/// Files that engines take for data and nobody else's table holds; where there is nothing but
/// tables, theirs.
fn data<'l>(listing: &'l [Listed], endings: &BTreeSet<String>) -> Vec<&'l Listed> {
    let roots: BTreeSet<&str> = listing
        .iter()
        .filter_map(|f| foreign_root(&f.key))
        .collect();
    let is_inside = |key: &str| {
        key.match_indices('/')
            .any(|(at, _)| roots.contains(&key[..at]))
    };
    let all: Vec<&Listed> = listing.iter().filter(|f| is_data(f, endings)).collect();
    let (inside, outside): (Vec<_>, Vec<_>) = all.into_iter().partition(|f| is_inside(&f.key));
    if outside.is_empty() { inside } else { outside }
}

fn is_data(file: &Listed, endings: &BTreeSet<String>) -> bool {
    let key = file.key.as_str();
    let name = key.rsplit('/').next().unwrap_or(key);
    file.size > 0
        && is_plain(key)
        && !key.split('/').any(is_hidden)
        && !is_archive_object(key)
        && (is_called_parquet(name) || endings.contains(ending(name)))
}

/// The letters after a name's last dot; empty where there are none.
pub fn ending(name: &str) -> &str {
    let end = name.rsplit_once('.').map_or("", |(_, end)| end);
    let is_ending = (1..=12).contains(&end.len())
        && end.bytes().all(|b| b.is_ascii_alphanumeric())
        && end.bytes().any(|b| b.is_ascii_alphabetic());
    if is_ending { end } else { "" }
}

/// Files of which only the bytes say whether they are Parquet, by their ending: the first few of
/// each, if `most` are enough.
pub fn doubtful(listing: &[Listed], most: usize) -> BTreeMap<String, Vec<&Listed>> {
    let mut doubtful: BTreeMap<String, Vec<&Listed>> = BTreeMap::new();
    for file in listing {
        let name = file.key.rsplit('/').next().unwrap_or_default();
        let ending = BTreeSet::from([ending(name).to_owned()]);
        if is_called_parquet(name) || !is_data(file, &ending) {
            continue;
        }
        let of = doubtful.entry(ending.into_iter().collect()).or_default();
        if of.len() < most {
            of.push(file);
        }
    }
    doubtful
}

/// Globs for the folders that are somebody else's tables or stores.
fn exclude(listing: &[Listed]) -> Vec<String> {
    let roots: BTreeSet<&str> = listing
        .iter()
        .filter_map(|f| foreign_root(&f.key))
        .collect();
    let roots = roots.into_iter().filter(|root| !root.is_empty());
    roots
        .map(|root| format!("{}/**", globset::escape(root)))
        .collect()
}

/// Globs that take all data files; none where the default does.
fn files(data: &[&Listed]) -> Vec<String> {
    let name = |f: &&Listed| f.key.rsplit('/').next().unwrap_or_default().to_owned();
    let endings: BTreeSet<String> = data.iter().map(|f| ending(&name(f)).to_owned()).collect();
    if endings.iter().all(|e| e == "parquet") {
        return Vec::new();
    }
    if endings.contains("") {
        return vec!["*".to_owned()];
    }
    endings.iter().map(|e| format!("*.{e}")).collect()
}

fn unmatched(layout: &Layout, data: &[&Listed]) -> Seen {
    let mut seen = Seen::default();
    for file in data {
        if let Ok(None) = layout.tenant_of(&file.key) {
            seen.add(&file.key, file.size, true);
        }
    }
    seen
}
