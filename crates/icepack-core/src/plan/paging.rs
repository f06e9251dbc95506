//! Decides which pages of a manifest a pass has to read, and what of a listing is settled by those
//! that it has not.
//!
//! A page that is not read is a part of the tenant that a pass does not look at: neither at what
//! head says of it, nor at its files. That is right only where nothing could be done there. So the
//! listing must show exactly the live snapshots of the page and no other data file, and neither
//! retention nor compaction may want any of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::file::{Fingerprint, Listed, Micros};
use crate::model::inputs::Input;
use crate::model::manifest::Manifest;
use crate::model::names::{self, FileId, FileKind};
use crate::model::pages::{PageRef, listed_as};
use crate::model::policy::{CompactionStrategy, Policy, Within};
use crate::plan::cutting::FileSize;
use crate::plan::intake::{Intake, Taken};

/// Whether a pass of this policy that begins with this cutoff has nothing to do with the live
/// snapshots of a page.
pub fn is_settled(
    page: &PageRef,
    head: &Manifest,
    policy: &Policy,
    cutoff: Option<Micros>,
) -> bool {
    let is_fresh = |oldest: Micros| cutoff.is_none_or(|cutoff| oldest >= cutoff);
    // Two small snapshots of a folder may be merged, and a full merge takes any two.
    let is_small = |second: u64| {
        policy.strategy == CompactionStrategy::FullCompaction
            || second < FileSize::of(policy).finished()
    };
    policy.within == Within::Folder
        && is_swept(page)
        && (page.dated_by.as_deref() == Some(policy.timestamp_column.as_str())
            || page.snapshots() == 0)
        && page.times.min.is_none_or(is_fresh)
        && !page.second.is_some_and(is_small)
        // Classes of schemas are told by folder.
        && (page.schemas.len() < 2 || head.apart.is_empty())
}

/// Whether a sweep has nothing to do with what a page says.
pub fn is_swept(page: &PageRef) -> bool {
    !page.open
}

/// Files of unread pages that wait for them at most: some 15 MB.
const WAITING: usize = 50_000;

/// A listing of a tenant, taken in while it comes after a head was read of which pages may be
/// unread. It is divided between the pages that are settled by themselves and by the whole listing,
/// and those that must be read.
///
/// A page that has another file than outputs must be read, whatever else is listed: so it may be
/// read while the listing comes, and no such file need be held. That a page is settled is only
/// known at the end.
#[derive(Debug)]
pub struct Dividing<'a> {
    intake: Intake<'a>,
    /// By the place of the page.
    pages: Vec<Shown>,
    places: Places,
    /// Our outputs in pages that were not read when they came.
    outputs: Vec<Listed>,
    /// Files of pages that must be read and are not yet.
    waiting: Vec<Listed>,
    /// Files that are called as outputs are and that the rules leave alone. A live one is kept.
    odd: Vec<Listed>,
    /// Files that wait at most.
    most: usize,
}

/// What a listing has shown of a page so far.
#[derive(Debug, Clone, Copy, Default)]
struct Shown {
    /// Whether the page must be read.
    needed: bool,
    /// As [`PageRef::listed`].
    listed: Fingerprint,
}

impl<'a> Dividing<'a> {
    /// Of a listing that `intake` has not begun. The pages for which `settled` is false must be
    /// read in any case.
    pub fn new(intake: Intake<'a>, head: &Manifest, settled: impl Fn(&PageRef) -> bool) -> Self {
        let pages = head.pages.all().iter().map(|p| Shown {
            // Only of pages that are not open, all that is not swept are live snapshots.
            needed: !is_swept(p) || !settled(p),
            ..Shown::default()
        });
        Self {
            most: intake.most().map_or(WAITING, |most| most.min(WAITING)),
            pages: pages.collect(),
            intake,
            places: Places::default(),
            outputs: Vec::new(),
            waiting: Vec::new(),
            odd: Vec::new(),
        }
    }

    /// Takes in an entry. `head` is the same each time, with more pages read.
    pub fn add(&mut self, head: &Manifest, f: Listed) {
        let unread = self.places.unread(head, &f.key);
        let Some(page) = unread.and_then(|at| self.pages.get_mut(at)) else {
            self.intake.add(f, Some(head));
            return;
        };
        match self.intake.input(&f) {
            Input::Snapshot(_) => {
                if !page.needed {
                    let own = listed_as(&f.key, f.size, f.etag.as_deref());
                    page.listed = page.listed.plus(own);
                }
                self.outputs.push(f);
            }
            Input::Raw | Input::Foreign(_) => {
                page.needed = true;
                self.waiting.push(f);
            }
            // What it is by its name may not be what head knows it for.
            Input::Ours | Input::Ignored(_) if page.needed => self.waiting.push(f),
            Input::Ours | Input::Ignored(_) => {
                if names::is_output(&head.tenant, &f.key) {
                    self.odd.push(f);
                } else {
                    self.intake.add(f, Some(head));
                }
            }
        }
    }

    /// Whether so many files wait that pages are to be read before the next one is taken in.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= self.most.max(1)
    }

    /// The pages that must be read by what is known so far.
    pub fn wanted(&self, head: &Manifest) -> BTreeSet<FileId> {
        let pages = head.pages.all().iter().zip(&self.pages);
        let needed = pages.filter(|(_, shown)| shown.needed);
        needed.map(|(p, _)| p.id).collect()
    }

    /// Goes on with a `head` of which the pages that were wanted are read.
    pub fn resume(&mut self, head: &Manifest) {
        self.intake.learn(head);
        self.places = Places::default();
        for f in std::mem::take(&mut self.waiting) {
            self.add(head, f);
        }
    }

    /// Compares what the whole listing shows with what the pages say: more of them may be wanted
    /// then.
    pub fn close(&mut self, head: &Manifest) {
        for (shown, page) in self.pages.iter_mut().zip(head.pages.all()) {
            shown.needed |= shown.listed != page.listed;
        }
    }

    /// What was kept of the whole listing, without the live snapshots of pages that are settled.
    /// All pages that are wanted after [`Self::close`] must have been read.
    pub fn finish(mut self, head: &mut Manifest) -> Taken {
        self.intake.learn(head);
        self.places = Places::default();
        for f in std::mem::take(&mut self.odd) {
            self.intake.add(f, Some(head));
        }
        let unread = |f: &mut Listed| self.places.unread(head, &f.key).is_some();
        let settled: Vec<Listed> = self.outputs.extract_if(.., unread).collect();
        self.outputs
            .into_iter()
            .for_each(|f| self.intake.add_output(f));
        let taken = self.intake.finish();
        find_copies(head, &taken.listing, &settled);
        taken
    }
}

/// The places of the pages of keys, of which many follow each other in one folder.
#[derive(Debug, Default)]
pub struct Places {
    folder: Option<(String, Option<usize>)>,
}

impl Places {
    /// The place of the page that must be read to know what `head` says of the file `key`. None
    /// where it was read. Of a head of which more was read, it must be asked anew.
    fn unread(&mut self, head: &Manifest, key: &str) -> Option<usize> {
        if head.pages.is_read() {
            return None;
        }
        let folder = names::folder(key);
        match &self.folder {
            Some((last, at)) if last == folder => *at,
            _ => {
                let at = head.pages.unread_place(folder);
                self.folder = Some((folder.to_owned(), at));
                at
            }
        }
    }

    /// Whether a head with unread pages may be asked about a file: data files in unread pages are
    /// none of what it knows.
    pub fn knows(&mut self, head: &Manifest, key: &str) -> bool {
        self.unread(head, key).is_none() || names::classify(&head.tenant, key) == FileKind::Other
    }
}

/// Enters which live snapshots among those `settled` lie elsewhere under another name: a file of
/// `listing` has their id. Somebody copied it, and a copy of what is live is no orphan.
fn find_copies(head: &mut Manifest, listing: &[Listed], settled: &[Listed]) {
    let live: BTreeSet<FileId> = head.snapshots.iter().map(|s| s.id).collect();
    let tenant = head.tenant.clone();
    let id = |f: &Listed| match names::classify(&tenant, &f.key) {
        FileKind::Snapshot(id) => Some(id),
        _ => None,
    };
    let unnamed: BTreeSet<FileId> = listing
        .iter()
        .filter_map(id)
        .filter(|id| !live.contains(id))
        .collect();
    if unnamed.is_empty() {
        return;
    }
    let copied = settled
        .iter()
        .filter_map(|f| Some((id(f)?, f.key.clone())))
        .filter(|(id, _)| unnamed.contains(id));
    head.elsewhere = copied.collect::<BTreeMap<_, _>>();
}

#[cfg(test)]
mod tests;
