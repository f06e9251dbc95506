//! Decides which pages of a manifest a pass has to read, and what of a listing is settled by those
//! that it has not.
//!
//! A page that is not read is a part of the tenant that a pass does not look at: neither at what
//! head says of it, nor at its files. That is right only where nothing could be done there. So the
//! listing must show exactly the live snapshots of the page and no other data file, and neither
//! retention nor compaction may want any of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::file::{Fingerprint, Listed, Micros};
use crate::model::inputs::{Input, Rules};
use crate::model::manifest::Manifest;
use crate::model::names::{self, FileId, FileKind, Tenant};
use crate::model::pages::{PageRef, listed_as};
use crate::model::policy::{CompactionStrategy, Policy, Within};
use crate::plan::cutting::FileSize;

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

/// A listing of a tenant whose head has unread pages, divided.
#[derive(Debug, Default)]
pub struct Divided {
    /// The pages that must be read.
    pub wanted: BTreeSet<FileId>,
    /// What a pass looks at: all but the live snapshots of the other pages.
    pub listing: Vec<Listed>,
    /// The live snapshots of the pages that need not be read.
    pub settled: Vec<Listed>,
}

/// Divides a listing of `tenant`, taken after the bare `head` was read, between the pages that are
/// `settled` by themselves and by the listing, and those that must be read.
pub fn divide(
    tenant: &Tenant,
    head: &Manifest,
    rules: &Rules,
    listing: Vec<Listed>,
    settled: impl Fn(&PageRef) -> bool,
) -> Divided {
    let pages = head.pages.all();
    let mut needed: Vec<bool> = pages.iter().map(|p| !settled(p)).collect();
    let mut shown = vec![Fingerprint::default(); pages.len()];
    let within = rules.within(tenant);
    let mut place = Places::default();
    let places: Vec<Option<usize>> = listing
        .iter()
        .map(|f| {
            let at = place.of(head, &f.key)?;
            match rules.input_within(within, tenant, &f.key, f.size) {
                Input::Snapshot(_) => {
                    let own = listed_as(&f.key, f.size, f.etag.as_deref());
                    if let Some(sum) = shown.get_mut(at) {
                        *sum = sum.plus(own);
                    }
                    Some(at)
                }
                Input::Raw | Input::Foreign(_) => {
                    if let Some(needed) = needed.get_mut(at) {
                        *needed = true;
                    }
                    None
                }
                Input::Ours | Input::Ignored(_) => None,
            }
        })
        .collect();
    for ((needed, shown), page) in needed.iter_mut().zip(&shown).zip(pages) {
        *needed |= *shown != page.listed;
    }
    let wanted = pages
        .iter()
        .zip(&needed)
        .filter(|(_, needed)| **needed)
        .map(|(p, _)| p.id)
        .collect();
    let mut divided = Divided {
        wanted,
        ..Divided::default()
    };
    for (f, at) in listing.into_iter().zip(places) {
        if at.is_some_and(|at| needed.get(at) == Some(&false)) {
            divided.settled.push(f);
        } else {
            divided.listing.push(f);
        }
    }
    divided
}

/// The places of the pages of keys, of which many follow each other in one folder.
#[derive(Default)]
struct Places {
    folder: Option<(String, Option<usize>)>,
}

impl Places {
    fn of(&mut self, head: &Manifest, key: &str) -> Option<usize> {
        let folder = names::folder(key);
        match &self.folder {
            Some((last, at)) if last == folder => *at,
            _ => {
                let at = head.pages.place(folder);
                self.folder = Some((folder.to_owned(), at));
                at
            }
        }
    }
}

/// Enters which live snapshots among those `settled` lie elsewhere under another name: a file of
/// `listing` has their id. Somebody copied it, and a copy of what is live is no orphan.
pub fn find_copies(head: &mut Manifest, listing: &[Listed], settled: &[Listed]) {
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

/// What of a listing a head with unread pages may be asked about: data files in unread pages are
/// none of it.
pub fn known(head: &Manifest, listing: Vec<Listed>) -> Vec<Listed> {
    if head.pages.is_read() {
        return listing;
    }
    let is_known = |f: &Listed| {
        names::classify(&head.tenant, &f.key) == FileKind::Other || head.pages.knows(&f.key)
    };
    listing.into_iter().filter(is_known).collect()
}

#[cfg(test)]
mod tests;
