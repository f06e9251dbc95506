//! Pages: the parts of a large tenant's state that are stored beside its manifests.
//!
//! A page holds what head knows of the files of neighbouring folders. A manifest that has pages
//! names them, with enough about each to tell whether it has to be read. A page is never changed:
//! a commit writes the pages that it changes under new names, and then the manifest that names
//! them (`docs/rfcs/0033-pages.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::adopted::{Adopted, RowTimes};
use super::file::{Fingerprint, Snapshot};
use super::manifest::{MIN_READER, MIN_READER_OF_PAGES, Manifest, Quarantined, Retired};
use super::names::{self, FileId, Key, Tenant};
use super::same::plain;
use super::schema::SchemaId;
use super::swept::SweptNames;
use super::totals::SizeHistogram;

/// The format of pages.
pub const PAGE_FORMAT: u32 = 1;

/// Retired files that weigh as much as one that stays, when it is decided whether there are to be
/// pages: they are soon gone, and pages are for ever.
const RETIRED_IN_ENTRY: usize = 8;

/// Swept names that take as many bytes as one entry of another kind.
const SWEPT_IN_ENTRY: usize = 16;

/// How large pages are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSizes {
    /// A manifest with at most so many entries keeps them in itself. Of retired files, eight count
    /// as one.
    pub inline: usize,
    /// Entries of a page, but for a folder that has more.
    pub entries: usize,
    /// Above so many pages, pages are made larger, so that the manifest stays small.
    pub pages: usize,
    /// Pages that no manifest names any more are left until there are more, and more than a quarter
    /// of those that head names.
    pub unnamed: usize,
}

impl Default for PageSizes {
    fn default() -> Self {
        Self {
            inline: 1_000,
            entries: 256,
            pages: 2_000,
            unnamed: 64,
        }
    }
}

/// A hash of a page as it was written, before compression. It guards against accidents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PageHash(u64);

impl PageHash {
    /// The hash of a page's bytes.
    pub fn of(body: &[u8]) -> Self {
        Self(xxh3_64(body))
    }
}

impl fmt::Display for PageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl From<PageHash> for String {
    fn from(hash: PageHash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for PageHash {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let hash = u64::from_str_radix(&text, 16).ok();
        hash.filter(|_| text.len() == 16)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not a page's hash: 16 hex digits expected"))
    }
}

/// What a manifest says of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRef {
    /// Also in the page's key. Unique: a page that no manifest names is dead for ever once its id
    /// is below the floor.
    pub id: FileId,
    pub hash: PageHash,
    /// The page holds the files of this folder and of those after it, up to the next page's.
    pub from: Key,
    /// Folders with a live snapshot.
    pub folders: u64,
    /// Live snapshots, by size.
    pub sizes: SizeHistogram,
    /// Bytes of the live snapshots.
    pub bytes: u64,
    /// Rows and times of all live snapshots together.
    #[serde(flatten)]
    pub times: RowTimes,
    /// What dated all of their rows. None where that is not one column, or not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dated_by: Option<String>,
    /// The schemas of the live snapshots.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub schemas: BTreeSet<SchemaId>,
    /// The sum of the hashes of the live snapshots' names, sizes and tags.
    pub listed: Fingerprint,
    /// The smallest size that is the second smallest of its folder. None where no folder has two
    /// snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<u64>,
    /// Whether it has more than live snapshots that are nobody's restored rows, and used names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
}

impl PageRef {
    /// The number of live snapshots in the page.
    pub fn snapshots(&self) -> u64 {
        self.sizes.total()
    }
}

/// The hash of one live snapshot as a listing shows it. The sum over a page's snapshots is
/// [`PageRef::listed`].
pub fn listed_as(key: &str, size: u64, etag: Option<&str>) -> Fingerprint {
    let tag = etag.and_then(plain).unwrap_or_default();
    let mut text = Vec::with_capacity(key.len() + tag.len() + 10);
    text.extend_from_slice(key.as_bytes());
    text.push(0);
    text.extend_from_slice(&size.to_le_bytes());
    text.push(0);
    text.extend_from_slice(tag.as_bytes());
    Fingerprint(xxh3_128(&text))
}

/// The content of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// See [`PAGE_FORMAT`].
    pub format: u32,
    pub tenant: Tenant,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<Snapshot>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<Retired>,
    /// The names of raw files that were retired and are gone, by their folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub swept: BTreeMap<Key, SweptNames>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantined: Vec<Quarantined>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adopted: Vec<Adopted>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub restored: BTreeMap<FileId, BTreeSet<FileId>>,
}

impl Page {
    /// A page of `tenant` with nothing in it.
    fn new(tenant: Tenant) -> Self {
        Self {
            format: PAGE_FORMAT,
            tenant,
            snapshots: Vec::new(),
            retired: Vec::new(),
            swept: BTreeMap::new(),
            quarantined: Vec::new(),
            adopted: Vec::new(),
            restored: BTreeMap::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.entries() == 0 && self.swept.is_empty()
    }

    /// How large it is, in entries.
    fn entries(&self) -> usize {
        let swept: usize = self.swept.values().map(SweptNames::len).sum();
        self.snapshots.len()
            + self.retired.len()
            + self.quarantined.len()
            + self.adopted.len()
            + swept.div_ceil(SWEPT_IN_ENTRY)
    }

    fn extend(&mut self, other: Self) {
        self.snapshots.extend(other.snapshots);
        self.retired.extend(other.retired);
        self.swept.extend(other.swept);
        self.quarantined.extend(other.quarantined);
        self.adopted.extend(other.adopted);
        self.restored.extend(other.restored);
    }

    /// The folders that it says something of.
    fn folders(&self) -> impl Iterator<Item = &str> {
        let keys = self.snapshots.iter().map(|s| &s.key);
        let keys = keys.chain(self.retired.iter().map(|r| &r.key));
        let keys = keys.chain(self.quarantined.iter().map(|q| &q.key));
        let keys = keys.chain(self.adopted.iter().map(|a| &a.key));
        let folders = keys.map(|key| names::folder(key));
        folders.chain(self.swept.keys().map(String::as_str))
    }

    /// What a manifest says of this page, which holds the folders from `from` on.
    fn described(&self, id: FileId, hash: PageHash, from: Key) -> PageRef {
        let mut folders: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for s in &self.snapshots {
            folders
                .entry(names::folder(&s.key))
                .or_default()
                .push(s.size);
        }
        let second = folders.values_mut().filter_map(|sizes| {
            sizes.sort_unstable();
            sizes.get(1).copied()
        });
        let second = second.min();
        let mut columns = self.snapshots.iter().map(|s| s.dated_by.as_deref());
        let first = columns.next().flatten();
        let dated_by = first
            .filter(|first| columns.all(|c| c == Some(*first)))
            .map(str::to_owned);
        let listed = self
            .snapshots
            .iter()
            .fold(Fingerprint::default(), |sum, s| {
                sum.plus(listed_as(&s.key, s.size, s.etag.as_deref()))
            });
        let stats = self.snapshots.iter().map(|s| s.stats);
        let stats = stats.reduce(super::file::RowStats::plus);
        PageRef {
            id,
            hash,
            from,
            folders: folders.len() as u64,
            sizes: SizeHistogram::of(self.snapshots.iter().map(|s| s.size)),
            bytes: self.snapshots.iter().map(|s| s.size).sum(),
            times: stats.unwrap_or_default().into(),
            schemas: self.snapshots.iter().filter_map(|s| s.schema).collect(),
            listed,
            second,
            open: (dated_by.is_none() && !self.snapshots.is_empty())
                || !self.retired.is_empty()
                || !self.quarantined.is_empty()
                || !self.adopted.is_empty()
                || !self.restored.is_empty(),
            dated_by,
        }
    }
}

/// The pages of a manifest, and which of them were not read. Of the folders of those, the manifest
/// in memory knows nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<PageRef>", into = "Vec<PageRef>")]
pub struct Pages {
    /// In the order of their folders. The first is from "", so each folder is in one page.
    refs: Vec<PageRef>,
    unread: BTreeSet<FileId>,
}

impl From<Vec<PageRef>> for Pages {
    fn from(refs: Vec<PageRef>) -> Self {
        let unread = refs.iter().map(|p| p.id).collect();
        Self { refs, unread }
    }
}

impl From<Pages> for Vec<PageRef> {
    fn from(pages: Pages) -> Self {
        pages.refs
    }
}

impl Pages {
    /// Whether there are none: the manifest itself has everything.
    pub fn is_empty(&self) -> bool {
        self.refs.is_empty()
    }

    /// All of them, in order.
    pub fn all(&self) -> &[PageRef] {
        &self.refs
    }

    /// Those that were not read.
    pub fn unread(&self) -> impl Iterator<Item = &PageRef> {
        self.refs.iter().filter(|p| self.unread.contains(&p.id))
    }

    /// Whether everything was read.
    pub fn is_read(&self) -> bool {
        self.unread.is_empty()
    }

    /// The place in [`Self::all`] of the page that holds `folder`. None where there are no pages.
    pub fn place(&self, folder: &str) -> Option<usize> {
        let after = self.refs.partition_point(|p| p.from.as_str() <= folder);
        after.checked_sub(1)
    }

    /// The place of the page that holds `folder`, if it was not read.
    pub fn unread_place(&self, folder: &str) -> Option<usize> {
        let at = self.place(folder)?;
        let page = self.refs.get(at)?;
        self.unread.contains(&page.id).then_some(at)
    }

    /// Whether it is known what the manifest says of the file `key`.
    pub fn knows(&self, key: &str) -> bool {
        self.unread_of(key).is_none()
    }

    /// The page that must be read to know what the manifest says of the file `key`. None where it
    /// was read.
    pub fn unread_of(&self, key: &str) -> Option<FileId> {
        if self.unread.is_empty() {
            return None;
        }
        let at = self.unread_place(names::folder(key))?;
        self.refs.get(at).map(|page| page.id)
    }

    /// The pages of `self` that hold folders which `other` has read.
    pub fn read_by(&self, other: &Self) -> BTreeSet<FileId> {
        if other.is_read() {
            return self.unread.clone();
        }
        let end = |refs: &[PageRef], at: usize| refs.get(at + 1).map(|p| p.from.clone());
        let mut wanted = BTreeSet::new();
        for (at, theirs) in other.refs.iter().enumerate() {
            if other.unread.contains(&theirs.id) {
                continue;
            }
            let theirs_end = end(&other.refs, at);
            let first = self.place(&theirs.from).unwrap_or(0);
            let touched = self.refs.iter().skip(first);
            wanted.extend(
                touched
                    .take_while(|p| {
                        p.from <= theirs.from || theirs_end.as_ref().is_none_or(|end| p.from < *end)
                    })
                    .map(|p| p.id)
                    .filter(|id| self.unread.contains(id)),
            );
        }
        wanted
    }

    /// Entries of a page, so that the manifest does not name too many.
    fn entries_for(&self, sizes: PageSizes, known: usize) -> usize {
        let unread: u64 = self.unread().map(PageRef::snapshots).sum();
        (known + usize::try_from(unread).unwrap_or(usize::MAX / 2)) / sizes.pages.max(1)
    }

    /// Whether the pages are in order, and each folder is in exactly one.
    fn check(&self) -> Result<(), String> {
        let is_first = self.refs.first().is_none_or(|p| p.from.is_empty());
        let in_order = self.refs.is_sorted_by(|a, b| a.from < b.from);
        if !is_first || !in_order || self.unread.len() != self.refs.len() {
            return Err("has pages that do not follow one another".to_owned());
        }
        Ok(())
    }
}

/// A page to be written before the manifest that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPage {
    pub id: FileId,
    /// JSON.
    pub body: Vec<u8>,
}

impl Manifest {
    /// Checks a manifest that was just read: its pages are in order, and it has nothing in itself
    /// that belongs into them.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence.
    pub fn check_pages(&self) -> Result<(), String> {
        self.pages.check()?;
        let is_bare = self.snapshots.is_empty()
            && self.retired.is_empty()
            && self.quarantined.is_empty()
            && self.adopted.is_empty()
            && self.restored.is_empty();
        if self.pages.is_empty() || is_bare {
            Ok(())
        } else {
            Err("has pages, and files beside them".to_owned())
        }
    }

    /// Takes in the page `id`, of which `body` was read. After the last page the snapshots are to be
    /// put in order.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn take_in(&mut self, id: FileId, body: &[u8]) -> Result<(), String> {
        let place = self.pages.refs.iter().position(|p| p.id == id);
        let entry = place
            .and_then(|at| self.pages.refs.get(at))
            .ok_or("is not one of the manifest's pages")?;
        if PageHash::of(body) != entry.hash {
            return Err("is not what was written: its hash is another".to_owned());
        }
        let mut page: Page =
            serde_json::from_slice(body).map_err(|e| format!("is damaged ({e})"))?;
        if page.format != PAGE_FORMAT {
            return Err(format!(
                "has format {}, and this icepack reads {PAGE_FORMAT}: upgrade",
                page.format
            ));
        }
        if page.tenant != self.tenant {
            return Err(format!("is of tenant `{}`", page.tenant));
        }
        let strange = page.folders().find(|f| self.pages.place(f) != place);
        if let Some(folder) = strange {
            return Err(format!(
                "tells of the folder `{folder}`, which another page holds"
            ));
        }
        page.tenant.clone_from(&self.tenant);
        self.pages.unread.remove(&id);
        self.snapshots.append(&mut page.snapshots);
        self.retired.append(&mut page.retired);
        self.swept_in.append(&mut page.swept);
        self.quarantined.append(&mut page.quarantined);
        self.adopted.append(&mut page.adopted);
        self.restored.append(&mut page.restored);
        Ok(())
    }

    /// Orders the snapshots as every manifest has them: by their oldest row.
    pub fn put_in_order(&mut self) {
        self.snapshots.sort_by_key(|s| (s.stats.min, s.id));
    }

    /// What a program must know to act on it.
    pub fn min_reader(&self) -> u32 {
        if self.pages.is_empty() {
            MIN_READER
        } else {
            MIN_READER_OF_PAGES
        }
    }

    /// The manifest as it is stored, in JSON. What is in pages is not in it.
    ///
    /// # Errors
    /// None that can be met: everything in it can be written.
    pub fn document(&mut self) -> serde_json::Result<Vec<u8>> {
        if self.pages.is_empty() {
            return serde_json::to_vec(self);
        }
        let content = self.take_content();
        let document = serde_json::to_vec(self);
        self.put_content(content);
        document
    }

    fn take_content(&mut self) -> Page {
        Page {
            format: PAGE_FORMAT,
            tenant: self.tenant.clone(),
            snapshots: std::mem::take(&mut self.snapshots),
            retired: std::mem::take(&mut self.retired),
            swept: std::mem::take(&mut self.swept_in),
            quarantined: std::mem::take(&mut self.quarantined),
            adopted: std::mem::take(&mut self.adopted),
            restored: std::mem::take(&mut self.restored),
        }
    }

    fn put_content(&mut self, content: Page) {
        self.snapshots = content.snapshots;
        self.retired = content.retired;
        self.swept_in = content.swept;
        self.quarantined = content.quarantined;
        self.adopted = content.adopted;
        self.restored = content.restored;
    }

    /// Divides what is known into pages, where it is too much for the manifest itself. Pages of
    /// which nothing changed stay, those that changed are returned to be written, with ids from
    /// `mint`. Pages that were not read stay as they are.
    ///
    /// # Errors
    /// None that can be met: everything in a page can be written.
    pub fn divide(
        &mut self,
        sizes: PageSizes,
        mut mint: impl FnMut() -> FileId,
    ) -> serde_json::Result<Vec<NewPage>> {
        let stay = self.snapshots.len() + self.quarantined.len() + self.adopted.len();
        let is_small = stay + self.retired.len() / RETIRED_IN_ENTRY <= sizes.inline;
        if self.pages.is_empty() && self.swept_in.is_empty() && is_small {
            return Ok(Vec::new());
        }
        let entries = stay + self.retired.len();
        let most = sizes.entries.max(self.pages.entries_for(sizes, entries));
        let mut old = std::mem::take(&mut self.pages);
        let mut folders = self.by_folder();
        let mut grown = most * 2;
        if old.refs.is_empty() {
            grown = most;
            old.refs.push(Page::new(self.tenant.clone()).described(
                FileId::NIL,
                PageHash::of(&[]),
                Key::new(),
            ));
        }
        let ends: Vec<Option<Key>> = (1..=old.refs.len())
            .map(|at| old.refs.get(at).map(|p| p.from.clone()))
            .collect();
        let (mut refs, mut written) = (Vec::with_capacity(old.refs.len()), Vec::new());
        for (page, end) in old.refs.into_iter().zip(ends) {
            if old.unread.contains(&page.id) {
                refs.push(page);
                continue;
            }
            let rest = end.map_or_else(BTreeMap::new, |end| folders.split_off(&end));
            let own = std::mem::replace(&mut folders, rest);
            let mut from = Some(page.from.clone());
            for (first, content) in cut(own, most, grown, &self.tenant) {
                let body = serde_json::to_vec(&content)?;
                let hash = PageHash::of(&body);
                let from = from.take().unwrap_or(first);
                if hash == page.hash && from == page.from {
                    refs.push(page.clone());
                    continue;
                }
                let id = mint();
                refs.push(content.described(id, hash, from));
                written.push(NewPage { id, body });
            }
        }
        // A page without content is none. The folders of the first page, wherever it begins, are
        // all before the second's.
        if let Some(first) = refs.first_mut() {
            first.from.clear();
        }
        self.pages = Pages {
            refs,
            unread: old.unread,
        };
        self.min_reader = self.min_reader();
        Ok(written)
    }

    /// What is known, by folder.
    fn by_folder(&self) -> BTreeMap<Key, Page> {
        let mut folders: BTreeMap<Key, Page> = BTreeMap::new();
        let mut of = |folder: &str, add: &mut dyn FnMut(&mut Page)| {
            let page = match folders.get_mut(folder) {
                Some(page) => page,
                None => folders
                    .entry(folder.to_owned())
                    .or_insert_with(|| Page::new(self.tenant.clone())),
            };
            add(page);
        };
        for s in &self.snapshots {
            of(names::folder(&s.key), &mut |page| {
                page.snapshots.push(s.clone());
                if let Some(holds) = self.restored.get(&s.id) {
                    page.restored.insert(s.id, holds.clone());
                }
            });
        }
        for r in &self.retired {
            of(names::folder(&r.key), &mut |page| {
                page.retired.push(r.clone());
            });
        }
        for q in &self.quarantined {
            of(names::folder(&q.key), &mut |page| {
                page.quarantined.push(q.clone());
            });
        }
        for a in &self.adopted {
            of(names::folder(&a.key), &mut |page| {
                page.adopted.push(a.clone());
            });
        }
        for (folder, names) in &self.swept_in {
            of(folder, &mut |page| {
                page.swept.insert(folder.clone(), names.clone());
            });
        }
        folders
    }
}

/// Puts folders together to pages of at most `most` entries, unless one folder has more. What has
/// at most `grown` stays one page, so that a growing page is not cut again and again.
fn cut(
    folders: BTreeMap<Key, Page>,
    most: usize,
    grown: usize,
    tenant: &Tenant,
) -> Vec<(Key, Page)> {
    let all: usize = folders.values().map(Page::entries).sum();
    let most = if all <= grown { all } else { most };
    let mut pages: Vec<(Key, Page)> = Vec::new();
    for (folder, content) in folders {
        if content.is_empty() {
            continue;
        }
        match pages.last_mut() {
            Some((_, page)) if page.entries() + content.entries() <= most => page.extend(content),
            _ => {
                let mut page = Page::new(tenant.clone());
                page.extend(content);
                pages.push((folder, page));
            }
        }
    }
    pages
}

#[cfg(test)]
mod tests;
