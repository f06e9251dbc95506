//! The invariants as pure predicates over a world.
//!
//! The model checker, the crash tests and `icepack verify` use these functions, so all of them mean
//! the same by "nothing is lost". A [`World`] is plain data: the contents of the stores and, where
//! a test knows them, the rows and all that was ever committed. `docs/architecture.md` has the
//! invariants in words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use chrono::DateTime;

use icepack_core::model::file::Listed;
use icepack_core::model::manifest::{Manifest, Receipt};
use icepack_core::model::names::{self, FileId, FileKind, Key, Tenant};
use icepack_core::model::plan::Inventory;
use icepack_core::model::same::{Sameness, is_kept};
use icepack_core::plan::sweep::RetiredState;
use icepack_core::plan::{commit, live, sweep};

/// An object, and the rows it holds as far as the caller knows them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Object<R> {
    /// Size in bytes.
    pub size: u64,
    /// The store's version tag.
    pub etag: Option<String>,
    pub rows: Vec<R>,
}

/// What the oracle knows of a row that was put into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ingested {
    /// How often it was delivered. A row that came twice may be live twice until a merge meets
    /// both.
    pub times: u32,
    /// Whether the policy lets it leave the hot store.
    pub past_cutoff: bool,
}

/// A file that was deleted, with the tag that it had.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deletion {
    /// Relative to the store's root.
    pub key: Key,
    /// None where unknown.
    pub etag: Option<String>,
}

/// One tenant's world. `R` names a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World<R> {
    pub tenant: Tenant,
    /// The hot store below the tenant.
    pub hot: BTreeMap<Key, Object<R>>,
    /// The manifests that are there.
    pub manifests: BTreeMap<u64, Arc<Manifest>>,
    /// The archive objects that are there; none where there is no archive: rows past the cutoff
    /// are then dropped.
    pub cold: Option<BTreeMap<Key, Object<R>>>,
    /// The receipts that are there, by their own keys.
    pub receipts: BTreeMap<Key, Receipt>,
    /// Every row that was put into the store.
    pub oracle: BTreeMap<R, Ingested>,
    /// What was deleted of the tenant's files and manifests so far.
    pub deletions: BTreeSet<Deletion>,
    /// Every manifest that was ever put, pruned or not, in the order of the puts.
    pub history: Vec<Arc<Manifest>>,
    /// The commits that a run believes to be done.
    pub reported: BTreeSet<FileId>,
}

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// `I1` to `I6`.
    pub invariant: &'static str,
    /// Which row or object, in a sentence.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

fn broken(invariant: &'static str, what: String) -> Result<(), Violation> {
    Err(Violation { invariant, what })
}

impl<R: Ord + Clone + fmt::Display> World<R> {
    /// An empty world. With `archives`, rows past the cutoff must be found in the archive.
    pub fn new(tenant: Tenant, archives: bool) -> Self {
        Self {
            tenant,
            hot: BTreeMap::new(),
            manifests: BTreeMap::new(),
            cold: archives.then(BTreeMap::new),
            receipts: BTreeMap::new(),
            oracle: BTreeMap::new(),
            deletions: BTreeSet::new(),
            history: Vec::new(),
            reported: BTreeSet::new(),
        }
    }

    /// The head.
    pub fn head(&self) -> Option<&Arc<Manifest>> {
        self.manifests.last_key_value().map(|(_, m)| m)
    }

    /// The tenant's files as a listing shows them.
    pub fn listing(&self) -> Vec<Listed> {
        self.hot
            .iter()
            .map(|(key, o)| Listed {
                key: key.clone(),
                size: o.size,
                etag: o.etag.clone(),
                modified: DateTime::UNIX_EPOCH,
            })
            .collect()
    }

    /// Head and its ancestors, as far as the history goes. A manifest that was put under a pruned
    /// version number is not part of the history.
    pub fn lineage(&self) -> Vec<&Arc<Manifest>> {
        let by_name: BTreeMap<(u64, FileId), &Arc<Manifest>> = self
            .history
            .iter()
            .map(|m| ((m.version, m.commit_id), m))
            .collect();
        let parent = |m: &&Arc<Manifest>| {
            by_name
                .get(&(m.version.checked_sub(1)?, m.parent?))
                .copied()
        };
        std::iter::successors(self.head(), parent).collect()
    }

    /// I1 to I5, the first that is broken.
    ///
    /// # Errors
    /// The violation.
    pub fn check(&self) -> Result<(), Violation> {
        self.i1_every_row_once()?;
        self.i2_head_names_what_exists()?;
        self.i3_only_the_dead_are_deleted()?;
        self.i4_no_commit_is_lost()?;
        self.i5_no_path_crosses()
    }

    /// **I1** Every ingested row is live, or verifiably archived, or was expired by policy: exactly
    /// once.
    ///
    /// # Errors
    /// A row that is lost, doubled, archived or expired too early, or from nowhere.
    pub fn i1_every_row_once(&self) -> Result<(), Violation> {
        let (live, archived, aside) = (self.live_rows(), self.archived_rows(), self.rows_aside());
        let count = |rows: &BTreeMap<R, u32>, row: &R| rows.get(row).copied().unwrap_or(0);
        for (row, ingested) in &self.oracle {
            let (hot, cold) = (count(&live, row), count(&archived, row));
            if cold > 0 && !ingested.past_cutoff {
                return broken("I1", format!("row {row} is archived before its time"));
            }
            if hot + cold > ingested.times {
                return broken(
                    "I1",
                    format!(
                        "row {row} came {} times, and is {hot} times live and {cold} times \
                         archived",
                        ingested.times
                    ),
                );
            }
            let may_be_gone = ingested.past_cutoff && self.cold.is_none();
            if hot + cold + count(&aside, row) == 0 && !may_be_gone {
                return broken(
                    "I1",
                    format!("row {row} is lost: neither live nor archived"),
                );
            }
        }
        match live
            .keys()
            .chain(archived.keys())
            .find(|row| !self.oracle.contains_key(row))
        {
            Some(row) => broken("I1", format!("row {row} comes from nowhere")),
            None => Ok(()),
        }
    }

    /// What a reader of the live view gets.
    fn live_rows(&self) -> BTreeMap<R, u32> {
        let inventory = Inventory {
            head: self.head().map(|m| m.as_ref().clone()),
            listing: self.listing(),
        };
        let view = live::view(&self.tenant, &inventory);
        count(view.files.iter().filter_map(|f| self.hot.get(&f.key)))
    }

    /// The rows of files that have used names, and are not known to be what was there: no reader
    /// gets them, and nobody deletes them.
    fn rows_aside(&self) -> BTreeMap<R, u32> {
        let Some(head) = self.head() else {
            return BTreeMap::new();
        };
        let listing = self.listing();
        let states = sweep::retired_states(head, &listing).into_iter();
        count(states.filter_map(|(_, state)| match state {
            RetiredState::SetAside(f) | RetiredState::Unsettled(f) => self.hot.get(&f.key),
            _ => None,
        }))
    }

    /// What a reader of the archive gets: objects that head or a receipt vouches for, if they are
    /// as it says.
    fn archived_rows(&self) -> BTreeMap<R, u32> {
        let Some(cold) = &self.cold else {
            return BTreeMap::new();
        };
        let kept =
            |r: &&Receipt| is_kept(r.size, None, cold.get(&r.key).map(|o| (o.size, None))).is_ok();
        let named: BTreeSet<&str> = self
            .vouchers()
            .filter(kept)
            .map(|r| r.key.as_str())
            .collect();
        count(named.into_iter().filter_map(|key| cold.get(key)))
    }

    fn vouchers(&self) -> impl Iterator<Item = &Receipt> {
        self.head()
            .into_iter()
            .flat_map(|m| &m.archives)
            .chain(self.receipts.values())
    }

    /// **I2** Head names only objects that exist, and its books balance.
    ///
    /// # Errors
    /// The snapshot or archive object that is missing or altered.
    pub fn i2_head_names_what_exists(&self) -> Result<(), Violation> {
        let Some(head) = self.head() else {
            return Ok(());
        };
        for s in &head.snapshots {
            let found = self.hot.get(&s.key).map(|o| (o.size, o.etag.as_deref()));
            if let Err(how) = is_kept(s.size, s.etag.as_deref(), found) {
                return broken(
                    "I2",
                    format!("head {} names snapshot `{}`: {how:?}", head.version, s.key),
                );
            }
        }
        let no_archive = BTreeMap::new();
        let cold = self.cold.as_ref().unwrap_or(&no_archive);
        for r in self.vouchers() {
            if let Err(how) = is_kept(
                r.size,
                r.etag.as_deref(),
                cold.get(&r.key).map(|o| (o.size, o.etag.as_deref())),
            ) {
                return broken(
                    "I2",
                    format!("archive object `{}` is vouched for: {how:?}", r.key),
                );
            }
        }
        if !commit::totals_balance(head) {
            return broken(
                "I2",
                format!(
                    "the books of head {} do not balance: {:?}",
                    head.version, head.totals
                ),
            );
        }
        Ok(())
    }

    /// **I3** Nothing that head names is deleted, and nothing outside our own names and the retired
    /// list ever is.
    ///
    /// # Errors
    /// The file that should not have been deleted.
    pub fn i3_only_the_dead_are_deleted(&self) -> Result<(), Violation> {
        if self.deletions.is_empty() {
            return Ok(());
        }
        let line = self.lineage();
        let retired: BTreeSet<(&str, Option<&str>)> = line
            .iter()
            .flat_map(|m| &m.retired)
            .map(|r| (r.key.as_str(), r.etag.as_deref()))
            .collect();
        let floor = self.head().map_or(FileId::NIL, |m| m.floor);
        let top = self.head().map_or(0, |m| m.version);
        for d in &self.deletions {
            // Where the watcher does not know the tag, the name has to do.
            let is_it = |tag: Option<&str>| !Sameness::of(tag, d.etag.as_deref()).is_other();
            let was_retired = retired
                .iter()
                .any(|(key, tag)| *key == d.key && is_it(*tag));
            let may = match names::classify(&self.tenant, &d.key) {
                FileKind::Raw => was_retired,
                FileKind::Snapshot(id) => was_retired || id < floor,
                FileKind::Other => {
                    names::parse_manifest_key(&self.tenant, &d.key).is_some_and(|v| v < top)
                }
            };
            if !may {
                return broken(
                    "I3",
                    format!(
                        "`{}` was deleted, and no committed head had retired it",
                        d.key
                    ),
                );
            }
            if self
                .head()
                .is_some_and(|m| m.snapshots.iter().any(|s| s.key == d.key))
            {
                return broken("I3", format!("`{}` was deleted, and head names it", d.key));
            }
        }
        Ok(())
    }

    /// **I4** Head's version only grows, and no commit is lost.
    ///
    /// # Errors
    /// The version or the commit that is lost.
    pub fn i4_no_commit_is_lost(&self) -> Result<(), Violation> {
        let highest = self.history.iter().map(|m| m.version).max().unwrap_or(0);
        let top = self.head().map_or(0, |m| m.version);
        if top < highest {
            return broken("I4", format!("head was at {highest} and is at {top}"));
        }
        let line: BTreeSet<FileId> = self.lineage().iter().map(|m| m.commit_id).collect();
        match self.reported.iter().find(|id| !line.contains(id)) {
            Some(id) => broken(
                "I4",
                format!("commit {id} was reported as done, and head does not descend from it"),
            ),
            None => Ok(()),
        }
    }

    /// **I5** No path crosses a tenant.
    ///
    /// # Errors
    /// The path.
    pub fn i5_no_path_crosses(&self) -> Result<(), Violation> {
        for m in self.manifests.values() {
            if m.tenant != self.tenant {
                return broken(
                    "I5",
                    format!("version {} is tenant `{}`'s", m.version, m.tenant),
                );
            }
            m.check_paths().or_else(|why| broken("I5", why))?;
        }
        for (key, r) in &self.receipts {
            if !r.is_of(&self.tenant) || r.receipt_key() != *key {
                return broken(
                    "I5",
                    format!(
                        "`{key}` is the receipt of `{}` of tenant `{}`",
                        r.key, r.tenant
                    ),
                );
            }
        }
        let ours = |key: &str| {
            self.tenant.owns(key) || names::parse_manifest_key(&self.tenant, key).is_some()
        };
        let keys = self
            .hot
            .keys()
            .chain(self.cold.iter().flat_map(BTreeMap::keys))
            .chain(self.deletions.iter().map(|d| &d.key));
        match keys.into_iter().find(|key| !ours(key)) {
            Some(key) => broken("I5", format!("`{key}` is not tenant `{}`'s", self.tenant)),
            None => Ok(()),
        }
    }

    /// **I6** After faults stop, passes converge: `self` is the world after a clean pass, with
    /// `orphan_grace` long over, `before` the world that the pass found.
    ///
    /// # Errors
    /// What is still changing or left over.
    pub fn i6_at_rest(&self, before: &Self) -> Result<(), Violation> {
        let Some(head) = self.head() else {
            return Ok(());
        };
        if before.head().map(|m| m.version) != Some(head.version) || before.hot != self.hot {
            return broken(
                "I6",
                format!(
                    "a pass over a world at rest still did something: head is now {}",
                    head.version
                ),
            );
        }
        let listing = self.listing();
        if let Some((_, f)) = sweep::orphans(head, &listing).first() {
            return broken("I6", format!("orphan `{}` is still there", f.key));
        }
        let retired_states = sweep::retired_states(head, &listing);
        // What somebody wrote under a retired name is his, and stays, or is an input by now; what a
        // hold names is remembered as long as that is so.
        if let Some((r, _)) = retired_states.iter().find(|(_, state)| {
            !matches!(
                state,
                RetiredState::SetAside(_) | RetiredState::Appended(_) | RetiredState::Held
            )
        }) {
            return broken(
                "I6",
                format!("`{}` is still waiting to be deleted or forgotten", r.key),
            );
        }
        match head.archives.first() {
            Some(r) => broken(
                "I6",
                format!("archive object `{}` still has no receipt", r.key),
            ),
            None => Ok(()),
        }
    }
}

fn count<'a, R: Ord + Clone + 'a>(
    objects: impl Iterator<Item = &'a Object<R>>,
) -> BTreeMap<R, u32> {
    let mut counts = BTreeMap::new();
    for row in objects.flat_map(|o| &o.rows) {
        *counts.entry(row.clone()).or_insert(0) += 1;
    }
    counts
}

#[cfg(test)]
mod tests;
