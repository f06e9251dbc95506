//! The one function that changes a manifest.
//!
//! The job, the property tests and the model checker all commit through [`apply`]. Each refusal
//! names the race it closes; taking any one of them out loses or doubles rows
//! (`docs/architecture.md` has the traces).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Utc};

use crate::model::apart::SchemasApart;
use crate::model::hold::Hold;
use crate::model::manifest::{
    Edit, FORMAT, Manifest, Observed, Receipt, Reread, Retired, Stamp, Totals, WRITER,
};
use crate::model::names::{self, FileId, FileKind, Key};
use crate::model::same::Sameness;
use crate::model::swept;

/// Why an edit does not fit a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// The observations are older than the head: they prove nothing about it.
    StaleObservation {
        /// What the observations followed.
        seen_after: u64,
        head: u64,
    },
    /// A path is not the tenant's, or not what its name says.
    ForeignPath(Key),
    /// A snapshot to retire is not live: another run compacted it.
    NotLive(Key),
    /// A file to retire is retired already: its rows are in a snapshot.
    AlreadyRetired(Key),
    /// A raw file to retire has the name of one that was retired and is gone: its rows may be in a
    /// snapshot, whatever tag it shows.
    Remembered(Key),
    /// A raw file to retire was not seen after head was read: it may have been compacted, deleted
    /// and forgotten.
    NotSeen(Key),
    /// A raw file does not show the tag that was read: it is another file, or may be.
    Changed(Key),
    /// An output's id is below the floor: the collector may delete it at any time.
    BelowFloor(Key),
    /// An output's name is already live.
    AlreadyLive(Key),
    /// The floor may only rise.
    FloorFell,
    /// A file to forget is not retired, quarantined or adopted, or was not seen to be gone after head was
    /// read.
    NotForgettable(Key),
    /// An archive entry to settle is not in head, or its receipt was not seen.
    NotSettled(Key),
    /// A file to retire belongs to a restore that is not done: were it gone, the restore would
    /// write its rows again.
    Held(Key),
    /// A hold to begin is of rows that another restore brings or brought back: they would live
    /// twice.
    AlreadyRestored(FileId),
    /// A hold to end is not in head, or brings other rows there, or its restore is not done.
    HoldGone(FileId),
    /// Rows would expire that a hold may have brought back: it was committed after the cutoff was
    /// made.
    StillHeld(FileId),
    /// A snapshot or an archive object is said to hold restored rows alone, and a file that went
    /// into it held others, as far as head knows.
    NotRestored(Key),
    /// The books do not balance.
    Books(String),
    /// What head says of a file of the edit lies in a page that was not read.
    Unread(Key),
}

impl Conflict {
    /// Whether the edit contradicts itself rather than the head: no other run is at fault, trying
    /// again is useless. A floor below head's is not that: two sweeps that began at different
    /// times wish for different floors, and the higher one may be committed first.
    pub fn is_internal(&self) -> bool {
        matches!(
            self,
            Self::ForeignPath(_) | Self::Books(_) | Self::Unread(_)
        )
    }

    fn check(&self) -> Check {
        match self {
            Self::StaleObservation { .. } => Check::StaleObservation,
            Self::ForeignPath(_) => Check::ForeignPath,
            Self::NotLive(_) => Check::NotLive,
            Self::AlreadyRetired(_) => Check::AlreadyRetired,
            Self::Remembered(_) => Check::Remembered,
            Self::NotSeen(_) => Check::NotSeen,
            Self::Changed(_) => Check::Changed,
            Self::BelowFloor(_) => Check::BelowFloor,
            Self::AlreadyLive(_) => Check::AlreadyLive,
            Self::FloorFell => Check::FloorFell,
            Self::NotForgettable(_) => Check::NotForgettable,
            Self::NotSettled(_) => Check::NotSettled,
            Self::Held(_) => Check::Held,
            Self::AlreadyRestored(_) => Check::AlreadyRestored,
            Self::HoldGone(_) => Check::HoldGone,
            Self::StillHeld(_) => Check::StillHeld,
            Self::NotRestored(_) => Check::NotRestored,
            Self::Books(_) => Check::Books,
            Self::Unread(_) => Check::Unread,
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StaleObservation { seen_after, head } => write!(
                f,
                "inputs were seen after version {seen_after}, but head is {head}"
            ),
            Self::ForeignPath(k) => write!(f, "`{k}` is not a path of this tenant"),
            Self::NotLive(k) => write!(f, "snapshot `{k}` is no longer live"),
            Self::AlreadyRetired(k) => write!(f, "`{k}` is already compacted"),
            Self::Remembered(k) => write!(f, "a file called `{k}` was compacted before"),
            Self::NotSeen(k) => write!(f, "`{k}` is gone"),
            Self::Changed(k) => write!(f, "`{k}` was replaced, or the store shows no ETag of it"),
            Self::BelowFloor(k) => write!(
                f,
                "output `{k}` took longer than the orphan grace and fell below the floor"
            ),
            Self::AlreadyLive(k) => write!(f, "output `{k}` is already live"),
            Self::FloorFell => write!(f, "another run raised the floor higher"),
            Self::NotForgettable(k) => write!(f, "`{k}` cannot be forgotten"),
            Self::NotSettled(k) => write!(f, "the receipt of `{k}` was not seen"),
            Self::Held(k) => write!(f, "`{k}` belongs to a restore that is under way"),
            Self::AlreadyRestored(id) => write!(
                f,
                "another restore of some of these rows is under way or done (hold {id})"
            ),
            Self::HoldGone(id) => write!(f, "the hold {id} of a restore is gone, or not done"),
            Self::StillHeld(id) => write!(
                f,
                "rows would expire that a restore has brought back meanwhile (hold {id})"
            ),
            Self::NotRestored(k) => write!(f, "`{k}` is not known to hold only restored rows"),
            Self::Books(why) => write!(f, "the books do not balance: {why}"),
            Self::Unread(k) => write!(f, "what head says of `{k}` was not read"),
        }
    }
}

/// The checks of [`apply`], by the refusal that each gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[doc(hidden)]
pub enum Check {
    StaleObservation,
    ForeignPath,
    NotLive,
    AlreadyRetired,
    Remembered,
    NotSeen,
    Changed,
    BelowFloor,
    AlreadyLive,
    FloorFell,
    NotForgettable,
    NotSettled,
    Held,
    AlreadyRestored,
    HoldGone,
    StillHeld,
    NotRestored,
    Books,
    Unread,
}

/// Head with `edit` on top, as the next version.
///
/// # Errors
/// The first reason why the edit does not fit; nothing is ever applied in part.
pub fn apply(
    head: &Manifest,
    edit: &Edit,
    seen: &Observed,
    stamp: Stamp,
) -> Result<Manifest, Conflict> {
    conflicts(head, edit, seen, stamp.at)
        .into_iter()
        .next()
        .map_or_else(|| Ok(next(head, edit, stamp)), Err)
}

/// [`apply`] with one check taken out. Only for the tests that show that the model checker notices:
/// a check whose removal nothing notices is either superfluous or untested. The job never calls it,
/// and a test searches the sources for that.
///
/// # Errors
/// As [`apply`], but for `off`.
#[doc(hidden)]
pub fn apply_without(
    off: Check,
    head: &Manifest,
    edit: &Edit,
    seen: &Observed,
    stamp: Stamp,
) -> Result<Manifest, Conflict> {
    conflicts(head, edit, seen, stamp.at)
        .into_iter()
        .find(|c| c.check() != off)
        .map_or_else(|| Ok(next(head, edit, stamp)), Err)
}

/// Every reason why the edit does not fit.
fn conflicts(head: &Manifest, edit: &Edit, seen: &Observed, at: DateTime<Utc>) -> Vec<Conflict> {
    let mut found = Vec::new();
    if seen.head_version != head.version {
        found.push(Conflict::StaleObservation {
            seen_after: seen.head_version,
            head: head.version,
        });
    }
    check_known(head, edit, &mut found);
    check_paths(head, edit, &mut found);
    check_retired(head, edit, seen, &mut found);
    check_added(head, edit, &mut found);
    check_forgotten(head, edit, seen, &mut found);
    check_holds(head, edit, &mut found);
    check_expired(head, edit, at, &mut found);
    check_origins(head, edit, &mut found);
    check_books(head, edit, &mut found);
    found
}

fn next(head: &Manifest, edit: &Edit, stamp: Stamp) -> Manifest {
    let retired: BTreeSet<&str> = edit.retire.iter().map(|r| r.key.as_str()).collect();
    let forgotten: BTreeSet<&str> = edit.forget.iter().map(String::as_str).collect();
    let settled: BTreeSet<&str> = edit.settle.iter().map(String::as_str).collect();
    let quarantined: BTreeSet<&str> = edit.quarantine.iter().map(|q| q.key.as_str()).collect();

    let mut next = head.clone();
    next.version = head.version + 1;
    next.commit_id = stamp.commit_id;
    next.parent = Some(head.commit_id);
    next.run_id = stamp.run_id;
    next.committed_at = stamp.at;
    WRITER.clone_into(&mut next.writer);
    next.floor = edit.floor.unwrap_or(head.floor);
    next.date(&edit.dated);
    next.snapshots.retain(|s| !retired.contains(s.key.as_str()));
    next.snapshots.extend(edit.add.iter().cloned());
    next.put_in_order();
    next.schemas.extend(
        edit.schemas
            .iter()
            .map(|(id, schema)| (*id, schema.clone())),
    );
    let unread = next.pages.unread().flat_map(|p| p.schemas.iter().copied());
    let named = next.snapshots.iter().filter_map(|s| s.schema);
    let named: BTreeSet<_> = named.chain(unread).collect();
    next.schemas.retain(|id, _| named.contains(id));
    part(&mut next, edit);
    forget(&mut next, &forgotten, stamp.at);
    settle(&mut next, &edit.reread, stamp.at);
    // What is known of the first file of a name goes once the rows of the second are taken too.
    next.retired
        .retain(|r| !retired.contains(r.key.as_str()) || r.found.is_none());
    next.retired.extend(edit.retire.iter().cloned());
    next.archives.retain(|a| !settled.contains(a.key.as_str()));
    // A receipt is filed from head, maybe by a later run: what it says is settled here, so that it
    // is the same each time.
    next.archives.extend(edit.archives.iter().map(|a| Receipt {
        manifest_version: Some(next.version),
        ..a.clone()
    }));
    // A file that was read after all, or read again and found bad again, has one entry at most.
    next.quarantined.retain(|q| {
        let key = q.key.as_str();
        !forgotten.contains(key) && !retired.contains(key) && !quarantined.contains(key)
    });
    next.quarantined.extend(edit.quarantine.iter().cloned());
    adopt(&mut next, edit);
    // None is ever forgotten: what was brought back is known by them, and where a snapshot's rows
    // came from.
    next.holds
        .retain(|h| edit.hold.as_ref().is_none_or(|new| new.id != h.id));
    for hold in next
        .holds
        .iter_mut()
        .filter(|h| edit.release.contains(&h.id))
    {
        // An older version knew the objects by the names of the files alone.
        hold.objects = hold.brings().unwrap_or_default();
        hold.files.clear();
    }
    next.holds.extend(edit.hold.clone());
    let live: BTreeSet<FileId> = next.snapshots.iter().map(|s| s.id).collect();
    next.restored.extend(
        edit.add
            .iter()
            .filter(|_| !edit.restored.is_empty())
            .map(|s| (s.id, edit.restored.clone())),
    );
    next.restored.retain(|id, _| live.contains(id));
    next.totals = totals(head, edit);
    for a in &edit.archives {
        *next.archived.entry(a.archive.clone()).or_default() += a.stats.rows;
    }
    (next.format, next.min_reader) = (FORMAT, next.min_reader());
    next
}

/// Enters which schemas are apart, and drops what is said of schemas that no snapshot has.
fn part(next: &mut Manifest, edit: &Edit) {
    let schemas = &next.schemas;
    let is_new = |known: &SchemasApart| edit.apart.iter().all(|a| a.schemas != known.schemas);
    next.apart.retain(is_new);
    next.apart.extend(edit.apart.iter().cloned());
    next.apart
        .retain(|a| schemas.contains_key(&a.schemas.0) && schemas.contains_key(&a.schemas.1));
    next.apart.sort();
    next.apart.dedup_by_key(|a| a.schemas);
}

/// Of a raw file that is gone, its name is remembered: a writer may put it again.
fn forget(next: &mut Manifest, forgotten: &BTreeSet<&str>, at: DateTime<Utc>) {
    let (gone, kept): (Vec<Retired>, Vec<Retired>) = std::mem::take(&mut next.retired)
        .into_iter()
        .partition(|r| forgotten.contains(r.key.as_str()));
    next.retired = kept;
    let tenant = next.tenant.clone();
    // I1: a name that comes again is not taken for new by itself.
    let raw = gone
        .iter()
        .filter(|r| names::classify(&tenant, &r.key) == FileKind::Raw);
    if next.pages.is_empty() {
        let names = raw.map(|r| (r.key.as_str(), r.content()));
        next.swept.remember(at, names);
        return;
    }
    let mut by_folder: BTreeMap<&str, Vec<(&str, _)>> = BTreeMap::new();
    for r in raw {
        let folder = by_folder.entry(names::folder(&r.key)).or_default();
        folder.push((r.key.as_str(), r.content()));
    }
    if !by_folder.is_empty() && !next.swept.is_empty() {
        next.swept_days.insert(at.date_naive());
        if next.swept_days.len() >= swept::DAYS {
            next.swept = swept::SweptNames::default();
            next.swept_days.clear();
        }
    }
    for (folder, names) in by_folder {
        let own = next.swept_in.entry(folder.to_owned()).or_default();
        own.remember(at, names);
    }
}

/// Takes in what was found under the names of retired files, and of those that are remembered. What
/// a version of a file holds never changes, so it does not matter when it was read.
fn settle(next: &mut Manifest, reread: &[Reread], at: DateTime<Utc>) {
    let mut found: BTreeMap<&str, &Reread> = reread.iter().map(|f| (f.key.as_str(), f)).collect();
    for r in &mut next.retired {
        if let Some(found) = found.remove(r.key.as_str()) {
            r.settle(found);
        }
    }
    let mut again = BTreeSet::new();
    for (key, found) in found {
        let Some(swept) = next.swept_name(key) else {
            continue;
        };
        let mut r = Retired::remembered(found.key.clone(), swept);
        r.settle(found);
        if r.found.is_none() {
            // Whoever reads it has it since now at most.
            r.at = at;
        }
        next.retired.push(r);
        again.insert(key);
    }
    next.swept.forget(&again);
    let folders: BTreeSet<&str> = again.iter().map(|key| names::folder(key)).collect();
    for folder in folders {
        if let Some(own) = next.swept_in.get_mut(folder) {
            own.forget(&again);
        }
    }
    next.swept_in.retain(|_, names| !names.is_empty());
}

/// Enters and drops what is known of raw files that stay. A note needs no look at the file: what is
/// true of one version of it stays true, and it is used for the tag that a listing shows.
fn adopt(next: &mut Manifest, edit: &Edit) {
    if next.adopted.is_empty() && edit.adopt.is_empty() {
        return;
    }
    let replaced = edit.adopt.iter().map(|a| &a.key);
    let dropped: BTreeSet<&Key> = edit.forget.iter().chain(replaced).collect();
    let mut adopted = std::mem::take(&mut next.adopted);
    adopted.retain(|a| !dropped.contains(&a.key));
    adopted.extend(edit.adopt.iter().cloned());
    let used = next.used_names();
    adopted.retain(|a| !used.has(&a.key, Some(&a.etag)));
    next.adopted = adopted;
}

/// I1: nothing follows from what is not known. A file in a page that was not read may be live,
/// retired or remembered there.
fn check_known(head: &Manifest, edit: &Edit, found: &mut Vec<Conflict>) {
    let unread = edit.keys().filter(|key| !head.pages.knows(key));
    found.extend(unread.map(|key| Conflict::Unread(key.to_owned())));
}

/// I5: no path crosses a tenant.
fn check_paths(head: &Manifest, edit: &Edit, found: &mut Vec<Conflict>) {
    let tenant = &head.tenant;
    let added = edit
        .add
        .iter()
        .filter(|s| names::classify(tenant, &s.key) != FileKind::Snapshot(s.id))
        .map(|s| &s.key);
    let files = edit
        .retire
        .iter()
        .map(|r| &r.key)
        .chain(edit.quarantine.iter().map(|q| &q.key))
        .chain(edit.reread.iter().map(|f| &f.key))
        .chain(edit.adopt.iter().map(|a| &a.key));
    let files = files.filter(|key| names::classify(tenant, key) == FileKind::Other);
    let archives = edit
        .archives
        .iter()
        .filter(|a| !a.is_of(tenant))
        .map(|a| &a.key);
    found.extend(
        added
            .chain(files)
            .chain(archives)
            .cloned()
            .map(Conflict::ForeignPath),
    );
}

/// I1: a row must leave its file for exactly one snapshot or archive.
fn check_retired(head: &Manifest, edit: &Edit, seen: &Observed, found: &mut Vec<Conflict>) {
    let live: BTreeSet<&str> = head.snapshots.iter().map(|s| s.key.as_str()).collect();
    // One that was taken in as new under the tag that was read is no longer retired.
    let is_appended = |known: &Retired| {
        edit.retire
            .iter()
            .any(|r| r.key == known.key && known.is_appended(r.etag.as_deref()))
    };
    let mut retired: BTreeSet<&str> = head
        .retired
        .iter()
        .filter(|r| r.found.is_none() || !is_appended(r))
        .map(|r| r.key.as_str())
        .collect();
    for r in &edit.retire {
        // Also catches a file named twice in one edit.
        if !retired.insert(&r.key) {
            found.push(Conflict::AlreadyRetired(r.key.clone()));
        }
        if live.contains(r.key.as_str()) {
            continue;
        }
        if names::is_output(&head.tenant, &r.key) {
            found.push(Conflict::NotLive(r.key.clone()));
            continue;
        }
        if head.swept_name(&r.key).is_some() {
            found.push(Conflict::Remembered(r.key.clone()));
        }
        // A raw file of an unknown name may be new, or it may have been compacted, deleted and
        // forgotten since we read it, a month ago. Only its existence after head was read tells the
        // two apart.
        let listed = seen.listing.as_ref().and_then(|l| l.get(&r.key));
        match seen.present.get(&r.key).or(listed) {
            None => found.push(Conflict::NotSeen(r.key.clone())),
            Some(etag) if Sameness::of(r.etag.as_deref(), etag.as_deref()).is_same() => {}
            Some(_) => found.push(Conflict::Changed(r.key.clone())),
        }
    }
}

/// I2: head names only what exists, and below the floor the collector deletes at any time.
fn check_added(head: &Manifest, edit: &Edit, found: &mut Vec<Conflict>) {
    // The edit's own new floor holds for its own outputs too.
    let floor = edit.floor.unwrap_or(head.floor);
    if floor < head.floor {
        found.push(Conflict::FloorFell);
    }
    let mut names: BTreeSet<&str> = head
        .snapshots
        .iter()
        .map(|s| s.key.as_str())
        .chain(head.retired_keys())
        .collect();
    for s in &edit.add {
        if s.id < floor {
            found.push(Conflict::BelowFloor(s.key.clone()));
        }
        if !names.insert(&s.key) {
            found.push(Conflict::AlreadyLive(s.key.clone()));
        }
    }
}

fn check_forgotten(head: &Manifest, edit: &Edit, seen: &Observed, found: &mut Vec<Conflict>) {
    let retired: BTreeMap<&str, Option<&str>> = head
        .retired
        .iter()
        .map(|r| (r.key.as_str(), r.etag.as_deref()))
        .collect();
    let quarantined = head
        .quarantined
        .iter()
        .map(|q| (q.key.as_str(), q.etag.as_deref()));
    let adopted = head
        .adopted
        .iter()
        .map(|a| (a.key.as_str(), Some(a.etag.as_str())));
    let noted: BTreeMap<&str, Option<&str>> = adopted.chain(quarantined).collect();
    let sameness = |ours: &Option<&str>, key: &str| {
        let listed = seen.listing.as_ref()?.get(key)?;
        Some(Sameness::of(*ours, listed.as_deref()))
    };
    let held = head.held_keys();
    let may_go = |key: &str| match (retired.get(key), noted.get(key)) {
        // The same restore may be run twice at once, and the slower one still write this file: it
        // is then a copy of what was retired.
        (Some(_), _) if held.contains(key) => false,
        // I1: forgetting a retired file that is still there would make it raw again, and its rows
        // live twice. A listing may be late, and another tag may be a copy's: neither says that
        // it has gone. A listing that shows it after it was deleted says that it has not.
        (Some(ours), _) => seen.gone.contains(key) && sameness(ours, key) != Some(Sameness::Same),
        // It is only tried again.
        (None, Some(ours)) => {
            seen.listing.is_some() && sameness(ours, key).is_none_or(Sameness::is_other)
        }
        (None, None) => false,
    };
    let present = edit.forget.iter().filter(|key| !may_go(key));
    found.extend(present.cloned().map(Conflict::NotForgettable));
    let unsettled: BTreeSet<&str> = head.archives.iter().map(|a| a.key.as_str()).collect();
    let unseen = edit
        .settle
        .iter()
        .filter(|key| !unsettled.contains(key.as_str()) || !seen.receipts.contains(*key));
    found.extend(unseen.cloned().map(Conflict::NotSettled));
}

fn check_holds(head: &Manifest, edit: &Edit, found: &mut Vec<Conflict>) {
    let under_way: BTreeSet<&str> = head
        .holds
        .iter()
        .filter(|h| !h.done)
        .flat_map(|h| &h.files)
        .map(String::as_str)
        .collect();
    found.extend(
        edit.retire
            .iter()
            .filter(|r| under_way.contains(r.key.as_str()))
            .map(|r| Conflict::Held(r.key.clone())),
    );
    let find = |id: FileId| head.holds.iter().find(|h| h.id == id);
    found.extend(
        edit.release
            .iter()
            .filter(|id| !find(**id).is_some_and(|h| h.done))
            .map(|id| Conflict::HoldGone(*id)),
    );
    let Some(hold) = &edit.hold else { return };
    found.extend(
        hold.files
            .iter()
            .filter(|key| !names::may_be_restored(&head.tenant, key))
            .cloned()
            .map(Conflict::ForeignPath),
    );
    match find(hold.id) {
        // What it brings was compared with the others when it began, and theirs with it since.
        Some(begun) if begun.restored == hold.restored && begun.objects == hold.objects => {}
        Some(_) => found.push(Conflict::HoldGone(hold.id)),
        None if hold.done => found.push(Conflict::HoldGone(hold.id)),
        None => {
            let is_meant = |h: &Hold| h.done && edit.again.contains(&h.id);
            found.extend(
                head.holds
                    .iter()
                    .filter(|h| h.overlaps(hold) && !is_meant(h))
                    .map(|h| Conflict::AlreadyRestored(h.id)),
            );
        }
    }
}

/// I1: a cutoff is made from the holds of the head that was planned from. A restore that was committed
/// since may have brought back rows that are older.
fn check_expired(head: &Manifest, edit: &Edit, at: DateTime<Utc>, found: &mut Vec<Conflict>) {
    if edit.ledger.rows_archived + edit.ledger.rows_expired == 0 {
        return;
    }
    let is_touched =
        |h: &&Hold| h.is_active(at) && edit.expired_before.is_none_or(|before| before > h.oldest);
    found.extend(
        head.holds
            .iter()
            .filter(is_touched)
            .map(|h| Conflict::StillHeld(h.id)),
    );
}

/// Who says that rows are in the archive already says that they need not be restored from here:
/// that must be so of every file that they came from.
fn check_origins(head: &Manifest, edit: &Edit, found: &mut Vec<Conflict>) {
    let retired: BTreeSet<&str> = edit.retire.iter().map(|r| r.key.as_str()).collect();
    let holds = |keys: BTreeSet<&str>| {
        if keys.is_empty() {
            None
        } else {
            head.origin(keys)
        }
    };
    if !edit.restored.is_empty()
        && !holds(retired.clone()).is_some_and(|holds| holds.is_subset(&edit.restored))
    {
        found.extend(
            edit.add
                .iter()
                .map(|s| Conflict::NotRestored(s.key.clone())),
        );
    }
    for a in edit.archives.iter().filter(|a| !a.again_of.is_empty()) {
        // A source that is not retired has given no row.
        let sources = a
            .sources
            .iter()
            .map(String::as_str)
            .filter(|key| retired.contains(key))
            .collect();
        let objects = holds(sources).and_then(|holds| head.objects(&holds));
        if !objects.is_some_and(|objects| objects.is_subset(&a.again_of)) {
            found.push(Conflict::NotRestored(a.key.clone()));
        }
    }
}

/// I1: every row that goes in comes out, and what the ledger says is what the files say.
fn check_books(head: &Manifest, edit: &Edit, found: &mut Vec<Conflict>) {
    let ledger = &edit.ledger;
    let mut bad = |why: String| found.push(Conflict::Books(why));
    if !ledger.balances() {
        bad(format!("{ledger:?}"));
    }
    let retired: u64 = edit.retire.iter().map(|r| r.rows).sum();
    let added: u64 = edit.add.iter().map(|s| s.stats.rows).sum();
    let archived: u64 = edit.archives.iter().map(|a| a.stats.rows).sum();
    if retired != ledger.rows_in {
        bad(format!(
            "{retired} rows retired, {} rows read",
            ledger.rows_in
        ));
    }
    if added != ledger.rows_kept {
        bad(format!(
            "{added} rows in new snapshots, {} rows kept",
            ledger.rows_kept
        ));
    }
    if archived != ledger.rows_archived {
        bad(format!(
            "{archived} rows in archive objects, {} rows archived",
            ledger.rows_archived
        ));
    }
    let rows: BTreeMap<&str, u64> = head
        .snapshots
        .iter()
        .map(|s| (s.key.as_str(), s.stats.rows))
        .collect();
    for r in &edit.retire {
        if let Some(rows) = rows.get(r.key.as_str())
            && *rows != r.rows
        {
            bad(format!(
                "snapshot `{}` has {rows} rows in head, {} rows were read",
                r.key, r.rows
            ));
        }
    }
}

fn totals(head: &Manifest, edit: &Edit) -> Totals {
    let live: BTreeSet<&str> = head.snapshots.iter().map(|s| s.key.as_str()).collect();
    let ingested: u64 = edit
        .retire
        .iter()
        .filter(|r| !live.contains(r.key.as_str()))
        .map(|r| r.rows)
        .sum();
    head.totals
        + Totals {
            rows_ingested: ingested,
            rows_archived: edit.ledger.rows_archived,
            rows_expired: edit.ledger.rows_expired,
            rows_deduplicated: edit.ledger.rows_deduplicated,
            files_compacted: edit.retire.len() as u64,
            bytes_before: edit.retire.iter().map(|r| r.size).sum(),
            bytes_after: edit.add.iter().map(|s| s.size).sum(),
        }
}

/// Whether the lifetime books of a manifest balance: ingested = live + archived + expired +
/// deduplicated.
pub fn totals_balance(m: &Manifest) -> bool {
    m.totals.rows_ingested
        == m.live_rows()
            + m.totals.rows_archived
            + m.totals.rows_expired
            + m.totals.rows_deduplicated
}

#[cfg(test)]
mod tests;
