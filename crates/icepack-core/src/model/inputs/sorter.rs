//! Sorts a listing while it comes, so that nobody need hold all of it.

use std::collections::{HashMap, HashSet};

use xxhash_rust::xxh3::xxh3_128;

use super::{Foreign, Ignored, Input, Left, Rules};
use crate::model::file::Listed;
use crate::model::manifest::{Cause, Manifest};
use crate::model::names::{self, Key, Tenant};
use crate::model::policy::Within;
use crate::model::same::Sameness;

/// An entry of a listing that is not left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Head knows the name, or it is one of our outputs: whoever concludes something from a listing
    /// must see it.
    Known,
    /// A file that somebody wrote for us, and that head knows nothing of.
    New,
}

/// What of a tenant's listing is left alone, entry by entry: [`Rules::sort`] of a stream.
///
/// It borrows nothing of head, so that pages of head may be read while the listing comes. Each
/// time more of head was read, [`Self::learn`] has to be called before the next entry.
#[derive(Debug)]
pub struct Sorter<'a> {
    rules: &'a Rules,
    tenant: &'a Tenant,
    /// Asked once: patterns are compiled for it.
    within: Within,
    /// Files that head names, whatever they are called: live and retired ones.
    named: Names,
    /// Other names that head has something to say of.
    noted: Names,
    /// Files that are known to be no Parquet files, with the tags that they showed.
    other_formats: HashMap<Key, Option<String>>,
    learned: Learned,
    /// The folder of the last file, with its slash, and the length of what of it is the tenant's
    /// place. Empty where the next file tells nothing new.
    folder: (String, usize),
    left: Left,
}

/// How many entries of each kind were learned from head.
#[derive(Debug, Default)]
struct Learned {
    holds: usize,
    snapshots: usize,
    retired: usize,
    quarantined: usize,
    adopted: usize,
}

/// Names by their hashes. Two names with one hash of 128 bits would only keep a file too many.
#[derive(Debug, Default)]
struct Names(HashSet<u128>);

impl Names {
    fn add<'k>(&mut self, keys: impl Iterator<Item = &'k Key>) {
        self.0.extend(keys.map(|key| xxh3_128(key.as_bytes())));
    }

    fn has(&self, key: &str) -> bool {
        !self.0.is_empty() && self.0.contains(&xxh3_128(key.as_bytes()))
    }
}

impl<'a> Sorter<'a> {
    /// Of a listing of `tenant` that was taken after `head` was read.
    pub(super) fn new(rules: &'a Rules, tenant: &'a Tenant, head: Option<&Manifest>) -> Self {
        let mut sorter = Self {
            within: rules.within(tenant),
            named: Names::default(),
            noted: Names::default(),
            other_formats: HashMap::new(),
            learned: Learned::default(),
            folder: Default::default(),
            left: Left::default(),
            rules,
            tenant,
        };
        if let Some(head) = head {
            sorter.learn(head);
        }
        sorter
    }

    /// Learns what was read of `head` since the last time: what was there before is where it was.
    pub fn learn(&mut self, head: &Manifest) {
        let Learned {
            holds,
            snapshots,
            retired,
            quarantined,
            adopted,
        } = self.learned;
        self.named
            .add(head.snapshots.iter().skip(snapshots).map(|s| &s.key));
        self.named
            .add(head.retired.iter().skip(retired).map(|r| &r.key));
        let new = head.quarantined.iter().skip(quarantined);
        self.noted.add(new.clone().map(|q| &q.key));
        let other = new.filter(|q| q.cause == Some(Cause::OtherFormat));
        self.other_formats
            .extend(other.map(|q| (q.key.clone(), q.etag.clone())));
        self.noted
            .add(head.adopted.iter().skip(adopted).map(|a| &a.key));
        self.noted
            .add(head.holds.iter().skip(holds).flat_map(|h| &h.files));
        self.learned = Learned {
            holds: head.holds.len(),
            snapshots: head.snapshots.len(),
            retired: head.retired.len(),
            quarantined: head.quarantined.len(),
            adopted: head.adopted.len(),
        };
    }

    /// Whether an entry is kept, and why. What is left alone is counted. Of `head`, what it says of
    /// the entry's folder must have been read.
    pub fn sort(&mut self, f: &Listed, head: Option<&Manifest>) -> Option<Kept> {
        if self.named.has(&f.key) {
            return Some(Kept::Known);
        }
        match self.input(&f.key, f.size) {
            Input::Snapshot(_) => return Some(Kept::Known),
            Input::Raw => {
                if self.is_other_format(f) {
                    self.left.ignore(Ignored::OtherContent, &f.key, f.size);
                }
                return Some(self.kept(&f.key, head));
            }
            Input::Ours => self.left.ours.push(f.clone()),
            Input::Ignored(why) => self.left.ignore(why, &f.key, f.size),
            Input::Foreign(whose) => {
                let seen = self.left.foreign.entry(whose).or_default();
                seen.add(&f.key, f.size, true);
                // It is read by its path as ever: only merging would harm it.
                if matches!(whose, Foreign::Partition | Foreign::BucketedTable) {
                    return Some(self.kept(&f.key, head));
                }
            }
        }
        None
    }

    /// What was left alone.
    pub fn left(self) -> Left {
        self.left
    }

    /// As [`Rules::input`], whatever head says. Files of a folder come one after the other, and
    /// what was found of the folder holds for the next one too.
    pub fn input(&mut self, key: &str, size: u64) -> Input {
        let at = key.rfind('/').map_or(0, |slash| slash + 1);
        let (folder, name) = key.split_at(at);
        let (known, below) = &self.folder;
        let is_ordinary = !known.is_empty()
            && *known == folder
            && self.rules.exclude.patterns().is_empty()
            && !name.starts_with('.')
            && names::is_plain(name);
        if is_ordinary {
            let folders = folder.get(*below..).unwrap_or_default();
            return self
                .rules
                .by_name(self.within, self.tenant, key, size, folders, name);
        }
        match self.rules.by_folder(self.tenant, key, size) {
            Ok((folders, name)) => {
                let below = at.saturating_sub(folders.len() + usize::from(!folders.is_empty()));
                folder.clone_into(&mut self.folder.0);
                self.folder.1 = below;
                self.rules
                    .by_name(self.within, self.tenant, key, size, folders, name)
            }
            Err(found) => found,
        }
    }

    fn is_other_format(&self, f: &Listed) -> bool {
        let known = self.other_formats.get(&f.key);
        known.is_some_and(|tag| Sameness::of(tag.as_deref(), f.etag.as_deref()).is_same())
    }

    fn kept(&self, key: &str, head: Option<&Manifest>) -> Kept {
        if self.is_noted(key, head) {
            Kept::Known
        } else {
            Kept::New
        }
    }

    fn is_noted(&self, key: &str, head: Option<&Manifest>) -> bool {
        self.noted.has(key)
            || head.is_some_and(|m| m.swept_name(key).is_some())
            || names::parse_restored_key(key).is_some()
    }
}
