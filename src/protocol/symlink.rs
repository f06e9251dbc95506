//! Keeps symlink manifests. Every decision is [`icepack_core::plan::symlink`]'s.
//!
//! A manifest is replaced whole, and only as it was read: what it is to say rests on what was read
//! in this order: the manifests' tags, then head, then the listing. So a slow run with an older
//! head loses its put. Rows never move from one partition to another: each manifest alone shows
//! every row of its files once.

mod grant;
mod objects;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::TimeDelta;
use object_store::ObjectStore;

use super::discover;
use crate::clock::Clock;
use crate::error::{Error, Result};
use icepack_core::model::file::Listed;
use icepack_core::model::inputs::Rules;
use icepack_core::model::manifest::Manifest;
use icepack_core::model::names::{Key, Tenant};
use icepack_core::model::plan::Inventory;
use icepack_core::model::symlink::{
    self, Folder, Left, Listing, State, Symlink, SymlinkReport, Written,
};
use icepack_core::plan::publish::{self, Obstacle, Wanted};
use icepack_core::plan::symlink as plan;
use objects::Found;

/// Somebody else publishes every time.
const MAX_ROUNDS: usize = 16;

/// The symlink manifests of a tenant.
#[derive(Debug)]
pub struct SymlinkManifests {
    store: Arc<dyn ObjectStore>,
    tenant: Tenant,
    rules: Rules,
    symlink: Symlink,
    clock: Arc<dyn Clock>,
    /// The folder of the manifests, with its slash.
    place: Key,
    /// The address of the store.
    root: String,
}

/// The files of each partition, and what is known of each.
struct Wishes {
    lists: BTreeMap<Folder, BTreeSet<Key>>,
    wanted: BTreeMap<Key, Wanted>,
    /// When they were read, by the clock's monotonic milliseconds.
    read_at: u64,
}

impl SymlinkManifests {
    /// Those of `tenant`; none where it has no folder of its own, or the store's address is not
    /// known.
    pub fn of(
        store: &Arc<dyn ObjectStore>,
        tenant: &Tenant,
        rules: Rules,
        symlink: Symlink,
        clock: Arc<dyn Clock>,
    ) -> Option<Self> {
        Some(Self {
            store: Arc::clone(store),
            tenant: tenant.clone(),
            rules,
            place: symlink::place(tenant)?,
            root: symlink.root.clone()?,
            symlink,
            clock,
        })
    }

    /// Brings the manifests to what is live, from whatever they show.
    ///
    /// # Errors
    /// [`Error::Refused`] where they are not ours; [`Error::Store`]; [`Error::Local`] where what is
    /// live cannot be listed, with what to do; [`Error::Conflict`] where others publish without
    /// pause.
    pub async fn publish(&self) -> Result<SymlinkReport> {
        let mut report = SymlinkReport::default();
        for _ in 0..MAX_ROUNDS {
            if self.round(&mut report).await? {
                return Ok(report);
            }
            tracing::info!("another run published first: looking again");
        }
        Err(Error::Conflict(format!(
            "the symlink manifests of tenant `{}` were written to {MAX_ROUNDS} times in between",
            self.tenant
        )))
    }

    /// What their readers need, after everything was published.
    ///
    /// # Errors
    /// As [`Self::publish`]; [`Error::Conflict`] too where they are not as they were written.
    pub async fn readers(&self) -> Result<Listing> {
        let found = self.find().await?;
        let state = match &found.state {
            Some((state, _)) if found.is_whole(state) => state.clone(),
            Some(_) => {
                return Err(Error::Conflict(format!(
                    "the symlink manifests of tenant `{}` were written to just now",
                    self.tenant
                )));
            }
            None => State::new(&self.tenant),
        };
        Ok(Listing {
            state,
            wait: self.symlink.wait(),
        })
    }

    /// That they are ours.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn check(&self) -> Result<()> {
        self.find().await.map(drop)
    }

    /// Whether they are known to show `inventory`, where `ours` shows them. Anything that goes wrong
    /// says no: whoever publishes finds out.
    pub async fn is_current(&self, inventory: &Inventory, ours: &[Listed]) -> bool {
        let wanted = publish::wanted(&self.tenant, inventory);
        let (Ok(found), Ok(wanted)) = (self.found(ours).await, wanted) else {
            return false;
        };
        let Some((state, _)) = &found.state else {
            let none = State::new(&self.tenant);
            return wanted.is_empty() && plan::knows_all_left(&none, inventory.head.as_ref());
        };
        let digest = plan::digest(&self.root, wanted.keys());
        state.digest.as_ref() == Some(&digest)
            && found.is_whole(state)
            && plan::knows_all_left(state, inventory.head.as_ref())
            && !state.manifests.values().any(|w| self.may_go(w))
    }

    /// Whether a manifest has been empty for so long that nobody asks for it.
    fn may_go(&self, written: &Written) -> bool {
        let wait = TimeDelta::from_std(self.symlink.wait()).unwrap_or(TimeDelta::MAX);
        let over = |since: chrono::DateTime<_>| since.checked_add_signed(wait);
        let over = written.empty_since.and_then(over);
        over.is_some_and(|over| over <= self.clock.now())
    }

    /// One look and what it says is to do. Whether nobody came in between.
    async fn round(&self, report: &mut SymlinkReport) -> Result<bool> {
        let found = self.find().await?;
        let read_at = self.clock.monotonic_ms();
        let inventory = discover::live_inventory(&self.store, &self.tenant, &self.rules).await?;
        let inventory = inventory.own(&self.tenant)?.inventory;
        let wishes = self.wishes(&inventory, read_at)?;
        let head = inventory.head.as_ref();
        let Some((before, version)) = &found.state else {
            return self.begin(&wishes, head).await;
        };
        let head_version = head.map_or(0, |head| head.version);
        if before.version > head_version {
            return Err(self.went_back(before.version, head_version));
        }
        let Some(granted) = self.grants(&wishes, &found).await? else {
            return Ok(false);
        };
        let is_all = granted.left_out.is_empty();
        let state = State {
            version: head_version,
            digest: is_all.then(|| plan::digest(&self.root, wishes.wanted.keys())),
            left: plan::left(Self::known_left(&found), head, self.clock.latest()),
            manifests: granted.manifests,
            ..State::new(&self.tenant)
        };
        report.written += granted.written;
        report.removed += granted.removed;
        report.left_out = granted.left_out;
        for what in &report.left_out {
            tracing::warn!("not published: {what}");
        }
        if state == *before {
            return Ok(true);
        }
        report.is_changed = true;
        self.put_state(&state, Some(version.clone())).await
    }

    fn wishes(&self, inventory: &Inventory, read_at: u64) -> Result<Wishes> {
        let wanted = publish::wanted(&self.tenant, inventory).map_err(|e| self.obstacle(e))?;
        let lists = plan::lists(&self.tenant, &wanted).map_err(|e| self.obstacle(e))?;
        Ok(Wishes {
            lists,
            wanted,
            read_at,
        })
    }

    /// The manifests are marked as ours before there are any. Whether there is nothing to list.
    async fn begin(&self, wishes: &Wishes, head: Option<&Manifest>) -> Result<bool> {
        let state = State::new(&self.tenant);
        if wishes.lists.is_empty() && plan::knows_all_left(&state, head) {
            return Ok(true);
        }
        self.put_state(&state, None).await?;
        Ok(false)
    }

    /// The retired files that are known to have left. Where a manifest is not as the state knows it,
    /// whoever wrote it may have died since, and it may list any of them to this day: then none.
    fn known_left(found: &Found) -> &[Left] {
        match &found.state {
            Some((state, _)) if found.is_whole(state) => &state.left,
            _ => &[],
        }
    }

    fn went_back(&self, shown: u64, head: u64) -> Error {
        self.failed(format!(
            "they show version {shown} of the manifest, but head is {head}: was an older manifest \
             brought back? Remove the folder `{}` to have them made anew",
            self.place
        ))
    }

    fn failed(&self, why: impl std::fmt::Display) -> Error {
        Error::local(
            format!("cannot keep the symlink manifests of `{}`", self.tenant),
            why,
        )
    }

    fn refused(&self, why: &str) -> Error {
        Error::Refused(format!(
            "tenant `{}` cannot be published: {why}. Nothing of the tenant is touched",
            self.tenant
        ))
    }

    fn obstacle(&self, obstacle: Obstacle) -> Error {
        match obstacle {
            Obstacle::Folder { folder, why } => self.failed(format!(
                "the folder `{folder}` {why}: one table cannot show that. Write such files to \
                 another folder or tenant, or unset `publish.symlink` and remove `{}`",
                self.place
            )),
            other => self.failed(other),
        }
    }
}
