//! The one function that changes a manifest.
//!
//! The job, the property tests and the model checker all commit through [`apply`]. Each refusal names the race it closes; taking any one
//! of them out loses or doubles rows (`docs/architecture.md` has the traces).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::model::file::Fingerprint;
use crate::model::manifest::{Edit, FORMAT, Manifest, Observed, Stamp, Totals, WRITER};
use crate::model::names::{self, FileKind, Key};

/// Why an edit does not fit a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// The observations are older than the head: they prove nothing about it.
    StaleObservation {
        /// What the observations followed.
        seen_after: u64,
        /// The head.
        head: u64,
    },
    /// A path is not the tenant's, or not what its name says.
    ForeignPath(Key),
    /// A snapshot to retire is not live: another run compacted it.
    NotLive(Key),
    /// A file to retire is retired already: its rows are in a snapshot.
    AlreadyRetired(Key),
    /// A raw file to retire was not seen after head was read: it may have been compacted, deleted and forgotten.
    NotSeen(Key),
    /// A raw file shows another tag than the one that was read: it is another file.
    Changed(Key),
    /// An output's id is below the floor: the collector may delete it at any time.
    BelowFloor(Key),
    /// An output's name is already live.
    AlreadyLive(Key),
    /// The floor may only rise.
    FloorFell,
    /// A file to forget is not retired or quarantined, or still listed, or no listing was taken after head.
    NotForgettable(Key),
    /// An archive entry to settle is not in head, or its receipt was not seen.
    NotSettled(Key),
    /// The books do not balance.
    Books(String),
}

impl Conflict {
    /// Whether the edit contradicts itself rather than the head: no other run is at fault, trying again is useless.
    pub fn is_internal(&self) -> bool {
        matches!(self, Self::ForeignPath(_) | Self::Books(_) | Self::FloorFell)
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StaleObservation { seen_after, head } => write!(f, "inputs were seen after version {seen_after}, but head is {head}"),
            Self::ForeignPath(k) => write!(f, "`{k}` is not a path of this tenant"),
            Self::NotLive(k) => write!(f, "snapshot `{k}` is no longer live"),
            Self::AlreadyRetired(k) => write!(f, "`{k}` is already compacted"),
            Self::NotSeen(k) => write!(f, "`{k}` is gone"),
            Self::Changed(k) => write!(f, "`{k}` was replaced"),
            Self::BelowFloor(k) => write!(f, "output `{k}` took longer than the orphan grace and fell below the floor"),
            Self::AlreadyLive(k) => write!(f, "output `{k}` is already live"),
            Self::FloorFell => write!(f, "the floor may not fall"),
            Self::NotForgettable(k) => write!(f, "`{k}` cannot be forgotten"),
            Self::NotSettled(k) => write!(f, "the receipt of `{k}` was not seen"),
            Self::Books(why) => write!(f, "the books do not balance: {why}"),
        }
    }
}

/// Head with `edit` on top, as the next version.
///
/// # Errors
/// The first reason why the edit does not fit; nothing is ever applied in part.
pub fn apply(head: &Manifest, edit: &Edit, seen: &Observed, stamp: Stamp) -> Result<Manifest, Conflict> {
    if seen.head_version != head.version {
        return Err(Conflict::StaleObservation { seen_after: seen.head_version, head: head.version });
    }
    check_paths(head, edit)?;
    check_retired(head, edit, seen)?;
    check_added(head, edit)?;
    check_forgotten(head, edit, seen)?;
    check_books(head, edit)?;

    let retired: BTreeSet<&str> = edit.retire.iter().map(|r| r.key.as_str()).collect();
    let forgotten: BTreeSet<&str> = edit.forget.iter().map(String::as_str).collect();
    let settled: BTreeSet<&str> = edit.settle.iter().map(String::as_str).collect();
    let quarantined: BTreeSet<&str> = edit.quarantine.iter().map(|q| q.key.as_str()).collect();

    let mut next = head.clone();
    next.format = FORMAT;
    next.min_reader = FORMAT;
    next.version = head.version + 1;
    next.commit_id = stamp.commit_id;
    next.parent = Some(head.commit_id);
    next.run_id = stamp.run_id;
    next.committed_at = stamp.at;
    WRITER.clone_into(&mut next.writer);
    next.floor = edit.floor.unwrap_or(head.floor);
    next.snapshots.retain(|s| !retired.contains(s.key.as_str()));
    next.snapshots.extend(edit.add.iter().cloned());
    next.snapshots.sort_by_key(|s| (s.stats.min, s.id));
    next.retired.retain(|r| !forgotten.contains(r.key.as_str()));
    next.retired.extend(edit.retire.iter().cloned());
    next.archives.retain(|a| !settled.contains(a.key.as_str()));
    next.archives.extend(edit.archives.iter().cloned());
    // A file that was read after all, or read again and found bad again, has one entry at most.
    next.quarantined.retain(|q| {
        let key = q.key.as_str();
        !forgotten.contains(key) && !retired.contains(key) && !quarantined.contains(key)
    });
    next.quarantined.extend(edit.quarantine.iter().cloned());
    next.totals = totals(head, edit);
    Ok(next)
}

fn check_paths(head: &Manifest, edit: &Edit) -> Result<(), Conflict> {
    let tenant = &head.tenant;
    for s in &edit.add {
        if names::classify(tenant, &s.key) != FileKind::Snapshot(s.id) {
            return Err(Conflict::ForeignPath(s.key.clone()));
        }
    }
    let files = edit.retire.iter().map(|r| &r.key).chain(edit.quarantine.iter().map(|q| &q.key));
    for key in files {
        if names::classify(tenant, key) == FileKind::Other {
            return Err(Conflict::ForeignPath(key.clone()));
        }
    }
    match edit.archives.iter().find(|a| !a.is_of(tenant)) {
        Some(a) => Err(Conflict::ForeignPath(a.key.clone())),
        None => Ok(()),
    }
}

/// A row must leave its file for exactly one snapshot or archive.
fn check_retired(head: &Manifest, edit: &Edit, seen: &Observed) -> Result<(), Conflict> {
    let live: BTreeSet<&str> = head.snapshots.iter().map(|s| s.key.as_str()).collect();
    let mut retired: BTreeSet<&str> = head.retired_keys();
    for r in &edit.retire {
        // Also catches a file named twice in one edit.
        if !retired.insert(&r.key) {
            return Err(Conflict::AlreadyRetired(r.key.clone()));
        }
        if live.contains(r.key.as_str()) {
            continue;
        }
        if matches!(names::classify(&head.tenant, &r.key), FileKind::Snapshot(_)) {
            return Err(Conflict::NotLive(r.key.clone()));
        }
        // A raw file that is in nobody's retired list may be new, or it may have been compacted, deleted and forgotten since we read it. Only
        // its existence after head was read tells the two apart.
        let listed = seen.listing.as_ref().and_then(|l| l.get(&r.key));
        match seen.present.get(&r.key).or(listed) {
            None => return Err(Conflict::NotSeen(r.key.clone())),
            Some(etag) if *etag != r.etag => return Err(Conflict::Changed(r.key.clone())),
            Some(_) => {}
        }
    }
    Ok(())
}

fn check_added(head: &Manifest, edit: &Edit) -> Result<(), Conflict> {
    // The edit's own new floor holds for its own outputs too.
    let floor = edit.floor.unwrap_or(head.floor);
    if floor < head.floor {
        return Err(Conflict::FloorFell);
    }
    let mut names: BTreeSet<&str> = head.snapshots.iter().map(|s| s.key.as_str()).chain(head.retired_keys()).collect();
    for s in &edit.add {
        if s.id < floor {
            return Err(Conflict::BelowFloor(s.key.clone()));
        }
        if !names.insert(&s.key) {
            return Err(Conflict::AlreadyLive(s.key.clone()));
        }
    }
    Ok(())
}

fn check_forgotten(head: &Manifest, edit: &Edit, seen: &Observed) -> Result<(), Conflict> {
    let retired: BTreeMap<&str, &Option<String>> = head.retired.iter().map(|r| (r.key.as_str(), &r.etag)).collect();
    let quarantined: BTreeMap<&str, &Option<String>> = head.quarantined.iter().map(|q| (q.key.as_str(), &q.etag)).collect();
    for key in &edit.forget {
        let no = || Conflict::NotForgettable(key.clone());
        let listing = seen.listing.as_ref().ok_or_else(no)?;
        let ours = retired.get(key.as_str()).or_else(|| quarantined.get(key.as_str())).ok_or_else(no)?;
        // Forgetting a retired file that is still there would make it raw again, and its rows live twice.
        // Another file of the same name is a new raw file, and the old one is gone all the same.
        match listing.get(key) {
            Some(etag) if etag == *ours => return Err(no()),
            _ => {}
        }
    }
    let unsettled: BTreeSet<&str> = head.archives.iter().map(|a| a.key.as_str()).collect();
    match edit.settle.iter().find(|key| !unsettled.contains(key.as_str()) || !seen.receipts.contains(*key)) {
        Some(key) => Err(Conflict::NotSettled(key.clone())),
        None => Ok(()),
    }
}

/// Every row that goes in comes out, and what the ledger says is what the files say.
fn check_books(head: &Manifest, edit: &Edit) -> Result<(), Conflict> {
    let ledger = &edit.ledger;
    let bad = |why: String| Err(Conflict::Books(why));
    if !ledger.balances() {
        return bad(format!("{ledger:?}"));
    }
    let retired: u64 = edit.retire.iter().map(|r| r.rows).sum();
    let added: u64 = edit.add.iter().map(|s| s.stats.rows).sum();
    let archived: u64 = edit.archives.iter().map(|a| a.stats.rows).sum();
    if retired != ledger.rows_in {
        return bad(format!("{retired} rows retired, {} rows read", ledger.rows_in));
    }
    if added != ledger.rows_kept {
        return bad(format!("{added} rows in new snapshots, {} rows kept", ledger.rows_kept));
    }
    if archived != ledger.rows_archived {
        return bad(format!("{archived} rows in archive objects, {} rows archived", ledger.rows_archived));
    }
    let rows: BTreeMap<&str, u64> = head.snapshots.iter().map(|s| (s.key.as_str(), s.stats.rows)).collect();
    for r in &edit.retire {
        if let Some(rows) = rows.get(r.key.as_str())
            && *rows != r.rows
        {
            return bad(format!("snapshot `{}` has {rows} rows in head, {} rows were read", r.key, r.rows));
        }
    }
    Ok(())
}

fn totals(head: &Manifest, edit: &Edit) -> Totals {
    let live: BTreeSet<&str> = head.snapshots.iter().map(|s| s.key.as_str()).collect();
    let ingested: u64 = edit.retire.iter().filter(|r| !live.contains(r.key.as_str())).map(|r| r.rows).sum();
    Totals {
        rows_ingested: head.totals.rows_ingested + ingested,
        rows_archived: head.totals.rows_archived + edit.ledger.rows_archived,
        rows_expired: head.totals.rows_expired + edit.ledger.rows_expired,
        rows_deduplicated: head.totals.rows_deduplicated + edit.ledger.rows_deduplicated,
        files_compacted: head.totals.files_compacted + edit.retire.len() as u64,
        bytes_before: head.totals.bytes_before + edit.retire.iter().map(|r| r.size).sum::<u64>(),
        bytes_after: head.totals.bytes_after + edit.add.iter().map(|s| s.size).sum::<u64>(),
    }
}

/// Whether the lifetime books of a manifest balance: ingested = live + archived + expired + deduplicated.
pub fn totals_balance(m: &Manifest) -> bool {
    let live: u64 = m.snapshots.iter().map(|s| s.stats.rows).sum();
    m.totals.rows_ingested == live + m.totals.rows_archived + m.totals.rows_expired + m.totals.rows_deduplicated
}

/// The fingerprint of all live snapshots together.
pub fn live_fingerprint(m: &Manifest) -> Fingerprint {
    m.snapshots.iter().fold(Fingerprint::default(), |sum, s| sum.plus(s.stats.fingerprint))
}

#[cfg(test)]
mod tests;
