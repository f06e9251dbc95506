//! Sorts a listing while it comes, so that nobody need hold all of it.

use std::collections::HashSet;

use super::{Foreign, Ignored, Input, Left, OtherFormats, Rules};
use crate::model::file::Listed;
use crate::model::manifest::Manifest;
use crate::model::names::{self, Tenant};
use crate::model::policy::Within;

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
#[derive(Debug)]
pub struct Sorter<'a> {
    rules: &'a Rules,
    tenant: &'a Tenant,
    head: Option<&'a Manifest>,
    /// Asked once: patterns are compiled for it.
    within: Within,
    /// Files that head names, whatever they are called: live and retired ones.
    named: HashSet<&'a str>,
    /// Other names that head has something to say of.
    noted: HashSet<&'a str>,
    other_formats: OtherFormats<'a>,
    /// The folder of the last file, with its slash, and the length of what of it is the tenant's
    /// place. Empty where the next file tells nothing new.
    folder: (String, usize),
    left: Left,
}

impl<'a> Sorter<'a> {
    pub(super) fn new(rules: &'a Rules, tenant: &'a Tenant, head: Option<&'a Manifest>) -> Self {
        let named = head.iter().flat_map(|m| {
            let live = m.snapshots.iter().map(|s| s.key.as_str());
            live.chain(m.retired.iter().map(|r| r.key.as_str()))
        });
        let noted = head.iter().flat_map(|m| {
            let quarantined = m.quarantined.iter().map(|q| q.key.as_str());
            let adopted = m.adopted.iter().map(|a| a.key.as_str());
            let restored = m.holds.iter().flat_map(|h| &h.files).map(String::as_str);
            quarantined.chain(adopted).chain(restored)
        });
        Self {
            within: rules.within(tenant),
            named: named.collect(),
            noted: noted.collect(),
            other_formats: OtherFormats::of(head),
            folder: Default::default(),
            left: Left::default(),
            rules,
            tenant,
            head,
        }
    }

    /// Whether an entry is kept, and why. What is left alone is counted.
    pub fn sort(&mut self, f: &Listed) -> Option<Kept> {
        if !self.named.is_empty() && self.named.contains(f.key.as_str()) {
            return Some(Kept::Known);
        }
        match self.input(&f.key, f.size) {
            Input::Snapshot(_) => return Some(Kept::Known),
            Input::Raw => {
                if self.other_formats.has(f) {
                    self.left.ignore(Ignored::OtherContent, &f.key, f.size);
                }
                return Some(if self.is_noted(&f.key) {
                    Kept::Known
                } else {
                    Kept::New
                });
            }
            Input::Ours => self.left.ours.push(f.clone()),
            Input::Ignored(why) => self.left.ignore(why, &f.key, f.size),
            Input::Foreign(whose) => {
                let seen = self.left.foreign.entry(whose).or_default();
                seen.add(&f.key, f.size, true);
                // It is read by its path as ever: only merging would harm it.
                if matches!(whose, Foreign::Partition | Foreign::BucketedTable) {
                    return Some(Kept::New);
                }
            }
        }
        None
    }

    /// What was left alone.
    pub fn left(self) -> Left {
        self.left
    }

    /// As [`Rules::input`]. Files of a folder come one after the other, and what was found of the
    /// folder holds for the next one too.
    fn input(&mut self, key: &str, size: u64) -> Input {
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

    fn is_noted(&self, key: &str) -> bool {
        (!self.noted.is_empty() && self.noted.contains(key))
            || self.head.is_some_and(|m| m.swept.get(key).is_some())
            || names::parse_restored_key(key).is_some()
    }
}
