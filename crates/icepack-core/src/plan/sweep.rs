//! Decides what may be deleted or forgotten, from a committed head that the store agrees with, and
//! a listing taken after it. Nothing here knows what this run did.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::file::Listed;
use crate::model::manifest::{Manifest, Retired, Verdict};
use crate::model::names::{self, FileId, FileKind, Key};
use crate::model::plan::Inventory;
use crate::model::policy::{Policy, Rewritten};
use crate::model::same::{Sameness, shown};
use crate::plan::evidence::Evidence;

/// Manifests below the newest this many may be pruned.
pub const KEEP_MANIFESTS: u64 = 16;

/// Manifests younger than this are never pruned.
pub const KEEP_MANIFESTS_FOR: TimeDelta = TimeDelta::hours(24);

/// How a retired file stands by a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetiredState<'a> {
    /// It is there, as it was retired.
    Waiting,
    /// The listing does not show it. Whether it is gone, only the store can say: a listing may be
    /// late.
    Unlisted,
    /// The listing does not show it, and a hold names it: a second process of that restore may
    /// still be writing it.
    Held,
    /// A file of its name does not show its tag, and nobody has looked at it: a copy of it, or
    /// another file.
    Unsettled(&'a Listed),
    /// A file of its name was looked at under the tag that it shows, and is not known to be what
    /// was retired. It is left alone.
    SetAside(&'a Listed),
    /// A file of its name was looked at under the tag that it shows, and was taken in as new.
    Appended(&'a Listed),
}

/// The state of each retired file of `head` by `listing`, and of each file of the listing that has
/// the name of one that is gone and remembered. Whatever it is, a file under such a name is no input, and not live, unless it
/// was taken in as new: one name is written once, and a tag alone does not make a new
/// file. A store that was copied shows other tags everywhere.
pub fn retired_states<'a>(
    head: &'a Manifest,
    listing: &'a [Listed],
) -> Vec<(Cow<'a, Retired>, RetiredState<'a>)> {
    let retired = head.retired_keys();
    let mut states = Vec::new();
    let mut listed: BTreeMap<&str, &Listed> = BTreeMap::new();
    for f in listing {
        if retired.contains(f.key.as_str()) {
            listed.insert(&f.key, f);
        } else if let Some(swept) = head.swept_name(&f.key)
            && names::classify(&head.tenant, &f.key) == FileKind::Raw
        {
            let again = Retired::remembered(f.key.clone(), swept);
            states.push((Cow::Owned(again), RetiredState::Unsettled(f)));
        }
    }
    let held = head.held_keys();
    let state = |r: &Retired| {
        let Some(f) = listed.get(r.key.as_str()) else {
            return if held.contains(r.key.as_str()) {
                RetiredState::Held
            } else {
                RetiredState::Unlisted
            };
        };
        if Sameness::of(r.etag.as_deref(), f.etag.as_deref()).is_same() {
            return RetiredState::Waiting;
        }
        match r
            .found
            .as_ref()
            .filter(|found| found.is_it(f.etag.as_deref()))
        {
            Some(found) if found.verdict == Verdict::Append => RetiredState::Appended(f),
            Some(_) => RetiredState::SetAside(f),
            None => RetiredState::Unsettled(f),
        }
    };
    states.extend(head.retired.iter().map(|r| (Cow::Borrowed(r), state(r))));
    states
}

/// The files under retired and remembered names that are to be read now, to tell what they are,
/// with what is known of the first of each name. A young one may still be replaced; one that is set
/// aside is read again once such files are to be taken in.
pub fn to_read<'a>(
    head: &'a Manifest,
    listing: &'a [Listed],
    policy: &Policy,
    now: DateTime<Utc>,
) -> Vec<(Cow<'a, Retired>, &'a Listed)> {
    let is_due = |r: &Retired| {
        policy.rewritten == Rewritten::Append
            && r.found
                .as_ref()
                .is_some_and(|f| f.verdict == Verdict::Other)
    };
    let is_old = |f: &Listed| {
        let min = TimeDelta::from_std(policy.min_raw_age).unwrap_or(TimeDelta::MAX);
        min.is_zero() || now.signed_duration_since(f.modified) >= min
    };
    retired_states(head, listing)
        .into_iter()
        .filter_map(|(r, state)| match state {
            RetiredState::Unsettled(f) => is_old(f).then_some((r, f)),
            RetiredState::SetAside(f) => is_due(&r).then_some((r, f)),
            _ => None,
        })
        .collect()
}

/// The files that lie under retired names and are left alone, with a sentence on each.
pub fn set_aside(head: &Manifest, listing: &[Listed]) -> Vec<(Key, String)> {
    let aside = retired_states(head, listing)
        .into_iter()
        .filter_map(|(r, state)| match state {
            RetiredState::SetAside(f) => Some((r.key.clone(), contested(&r, f.etag.as_deref()))),
            _ => None,
        });
    aside.collect()
}

/// Why a file that shows `found` is neither taken in nor deleted.
pub fn contested(retired: &Retired, found: Option<&str>) -> String {
    let (ours, found) = (retired.etag.as_deref(), shown(found));
    let at = retired.at.format("%Y-%m-%d");
    let first = if ours.is_none() && retired.remembered.is_some() {
        format!("was compacted and is gone since {at}")
    } else {
        format!("was compacted on {at} (ETag {})", shown(ours))
    };
    let verdict = retired.found.as_ref().map(|f| f.verdict);
    let rows = match verdict {
        _ if retired.content().is_none() => {
            "of the rows of the first nothing is known: it is neither read nor deleted"
        }
        Some(Verdict::Unknown) => "its rows cannot be read: it is neither taken in nor deleted",
        _ => {
            "other rows: it is neither taken in nor deleted; `compaction.rewritten = \"append\"` \
             takes such files in"
        }
    };
    format!("a file of this name {first}, this one has ETag {found}, and {rows}")
}

/// The retired files that may be deleted now: `head` lists them, `delete_delay` has passed, and the
/// listing shows the very version that was retired.
///
/// Rows of these files are in a snapshot or an archive that a committed head named, so deleting
/// them is right for ever after, however stale head has become.
pub fn deletable(evidence: &Evidence, now: DateTime<Utc>, delete_delay: Duration) -> Vec<Key> {
    let Some(head) = evidence.head() else {
        return Vec::new();
    };
    let delay = TimeDelta::from_std(delete_delay).unwrap_or(TimeDelta::MAX);
    // Without a delay it does not matter when.
    let due = |at: DateTime<Utc>| {
        delay.is_zero() || at.checked_add_signed(delay).is_some_and(|t| t <= now)
    };
    // I3: live wins over retired, should a damaged manifest ever name a file as both.
    let live: BTreeSet<&str> = head.snapshots.iter().map(|s| s.key.as_str()).collect();
    retired_states(head, evidence.listing())
        .into_iter()
        .filter(|(r, state)| {
            *state == RetiredState::Waiting && due(r.at) && !live.contains(r.key.as_str())
        })
        .filter(|(r, _)| names::classify(&head.tenant, &r.key) != FileKind::Other)
        .map(|(r, _)| r.key.clone())
        .collect()
}

/// The retired files that must wait, because rows of theirs are in an archive object that nobody
/// finds: `head` owes its receipt, and it is not among those `filed`. Where a receipt does not say
/// which files held its rows, all wait.
pub fn withheld<'a>(head: &'a Manifest, filed: &BTreeSet<Key>) -> BTreeSet<&'a str> {
    // I1: without its receipt, an archive object is not verifiably archived.
    let owed = || head.archives.iter().filter(|a| !filed.contains(&a.key));
    if owed().any(|a| a.sources.is_empty()) {
        return head.retired_keys();
    }
    owed()
        .flat_map(|a| &a.sources)
        .map(String::as_str)
        .collect()
}

/// The outputs in the listing that `head` does not name, whatever their age. A file with the id of
/// a live snapshot is none: somebody moved or copied it.
pub fn orphans<'a>(head: &Manifest, listing: &'a [Listed]) -> Vec<(FileId, &'a Listed)> {
    let live: BTreeSet<FileId> = head.snapshots.iter().map(|s| s.id).collect();
    unnamed(head, listing)
        .filter(|(id, _)| !live.contains(id) && !head.elsewhere.contains_key(id))
        .collect()
}

/// Files that have the id of a live snapshot and lie elsewhere, with the name that head knows.
pub fn strays<'a>(head: &'a Manifest, listing: &'a [Listed]) -> Vec<(&'a Listed, &'a Key)> {
    let live: BTreeMap<FileId, &Key> = live_keys(head);
    unnamed(head, listing)
        .filter_map(|(id, f)| Some((f, *live.get(&id)?)))
        .collect()
}

/// The names of live snapshots by their ids, as far as they are known.
pub fn live_keys(head: &Manifest) -> BTreeMap<FileId, &Key> {
    let elsewhere = head.elsewhere.iter().map(|(id, key)| (*id, key));
    let snapshots = head.snapshots.iter().map(|s| (s.id, &s.key));
    snapshots.chain(elsewhere).collect()
}

fn unnamed<'a>(
    head: &Manifest,
    listing: &'a [Listed],
) -> impl Iterator<Item = (FileId, &'a Listed)> {
    let named: BTreeSet<Key> = head
        .snapshots
        .iter()
        .map(|s| &s.key)
        .chain(head.retired.iter().map(|r| &r.key))
        .cloned()
        .collect();
    let tenant = head.tenant.clone();
    listing
        .iter()
        .filter_map(move |f| match names::classify(&tenant, &f.key) {
            FileKind::Snapshot(id) if !named.contains(f.key.as_str()) => Some((id, f)),
            _ => None,
        })
}

/// The orphans that may be deleted: their ids are below the floor of a committed head, so no run
/// can ever commit them.
pub fn collectable(evidence: &Evidence) -> Vec<Key> {
    let Some(head) = evidence.head() else {
        return Vec::new();
    };
    // I3: above the floor, an orphan may be another run's output that it is about to commit.
    orphans(head, evidence.listing())
        .into_iter()
        .filter(|(id, _)| *id < head.floor)
        .map(|(_, f)| f.key.clone())
        .collect()
}

/// The floor to commit so that those of `orphans` that are older than `grace` become collectable;
/// none if that would change nothing.
///
/// `store_time` is the store's own clock (the time it gave to an object just written), so that a
/// machine with a fast clock cannot cut off everybody else's work.
pub fn next_floor(
    evidence: &Evidence,
    orphans: &[FileId],
    store_time: DateTime<Utc>,
    grace: Duration,
) -> Option<FileId> {
    let head = evidence.head()?;
    let grace = TimeDelta::from_std(grace).ok()?;
    let floor = FileId::floor_at(store_time.checked_sub_signed(grace)?);
    let gains = orphans.iter().any(|id| *id >= head.floor && *id < floor);
    (floor > head.floor && gains).then_some(floor)
}

/// What head need not remember: retired files that were seen `gone`, that the listing does not show
/// as they were retired and that no hold names, and quarantined and adopted ones that the
/// listing does not show, or shows as another version.
pub fn forgettable(head: &Manifest, listing: &[Listed], gone: &BTreeSet<Key>) -> Vec<Key> {
    // I1: a file that is forgotten and still there is raw again, and its rows live twice.
    let held = head.held_keys();
    let may_go = |r: &Retired, state| {
        gone.contains(&r.key) && state != RetiredState::Waiting && !held.contains(r.key.as_str())
    };
    let retired = retired_states(head, listing)
        .into_iter()
        .filter(|(r, state)| may_go(r, *state))
        .map(|(r, _)| r.key.clone());
    retired.chain(released(head, listing).cloned()).collect()
}

/// Quarantined and adopted files that are gone or changed.
fn released<'a>(head: &'a Manifest, listing: &[Listed]) -> impl Iterator<Item = &'a Key> {
    let listed: BTreeMap<&str, Option<&str>> = listing
        .iter()
        .map(|f| (f.key.as_str(), f.etag.as_deref()))
        .collect();
    let quarantined = head.quarantined.iter().map(|q| (&q.key, q.etag.as_deref()));
    let adopted = head.adopted.iter().map(|a| (&a.key, Some(a.etag.as_str())));
    let changed: BTreeSet<&Key> = quarantined
        .chain(adopted)
        .filter(|(key, etag)| {
            listed
                .get(key.as_str())
                .is_none_or(|found| Sameness::of(*etag, *found).is_other())
        })
        .map(|(key, _)| key)
        .collect();
    // A damaged snapshot stays in head, and so does the note of why it is left alone, until another
    // version of it is there: it was mended.
    let live: BTreeSet<&str> = head.snapshots.iter().map(|s| s.key.as_str()).collect();
    changed
        .into_iter()
        .filter(move |key| !live.contains(key.as_str()) || listed.contains_key(key.as_str()))
}

/// The holds that are over, and whose files are still remembered.
pub fn releasable(head: &Manifest, now: DateTime<Utc>) -> Vec<FileId> {
    head.holds
        .iter()
        .filter(|h| !h.is_active(now) && !h.files.is_empty())
        .map(|h| h.id)
        .collect()
}

/// The manifest versions that may be pruned: older than the newest [`KEEP_MANIFESTS`] and than
/// [`KEEP_MANIFESTS_FOR`]. `versions` are those listed, with the store's time of their writing.
pub fn prunable(
    head_version: u64,
    versions: &[(u64, DateTime<Utc>)],
    store_time: DateTime<Utc>,
) -> Vec<u64> {
    prunable_beyond(KEEP_MANIFESTS, head_version, versions, store_time)
}

/// [`prunable`] with another number than [`KEEP_MANIFESTS`]: the model checker keeps fewer, to meet the races of pruning within few steps.
#[doc(hidden)]
pub fn prunable_beyond(
    keep: u64,
    head_version: u64,
    versions: &[(u64, DateTime<Utc>)],
    store_time: DateTime<Utc>,
) -> Vec<u64> {
    // I4: a run that slept may put a pruned version again, so pruning waits longer than runs sleep.
    versions
        .iter()
        .filter(|(v, at)| {
            v.saturating_add(keep) <= head_version && *at + KEEP_MANIFESTS_FOR <= store_time
        })
        .map(|(v, _)| *v)
        .collect()
}

/// Whether a sweep could find anything to do. Saves an idle tenant the requests.
pub fn is_due(inventory: &Inventory, policy: &Policy, now: DateTime<Utc>) -> bool {
    is_due_where_kept(inventory, policy, Duration::ZERO, now)
}

/// [`is_due`], where retired files are kept for the readers of a table: for `keep` at least, since
/// a table names them until they are retired.
pub fn is_due_where_kept(
    inventory: &Inventory,
    policy: &Policy,
    keep: Duration,
    now: DateTime<Utc>,
) -> bool {
    let keep = TimeDelta::from_std(keep).unwrap_or(TimeDelta::MAX);
    let may_go = |r: &Retired| {
        keep.is_zero()
            || r.at
                .checked_add_signed(keep)
                .is_some_and(|free| free <= now)
    };
    let Inventory {
        head: Some(head),
        listing,
    } = inventory
    else {
        return false;
    };
    retired_states(head, listing)
        .iter()
        .any(|(r, state)| match state {
            RetiredState::Waiting => may_go(r),
            RetiredState::Unlisted => true,
            _ => false,
        })
        || !to_read(head, listing, policy, now).is_empty()
        || !head.archives.is_empty()
        || !releasable(head, now).is_empty()
        || released(head, listing).next().is_some()
        || !orphans(head, listing).is_empty()
}

#[cfg(test)]
mod tests;
