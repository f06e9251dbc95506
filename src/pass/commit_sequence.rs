//! The commits of a pass to one tenant, one after the other, and what stays true of what the pass
//! saw in between. Nothing else reads head again while the tenant is in work.
//!
//! Several groups are in work at once. Each proves that its inputs were there after some head was
//! read. That head is an older one when the group is done and another group of this run has
//! committed. The proof still holds: an input can disappear unseen only by a commit of another run
//! between the look and the commit. Where every version in between is one of this run, each the
//! child of the one before, there is no such commit.

use tokio::sync::Mutex;

use super::trace;
use crate::error::{Error, Result};
use crate::protocol::commit::Committer;
use icepack_core::model::manifest::{Edit, Manifest, Observed};
use icepack_core::plan::expiry_guard::ExpiryGuard;

/// The commits of one run to one tenant, one after the other.
pub(super) struct CommitSequence<'a> {
    committer: &'a Committer,
    /// Whether other shards work at the tenant: what they took is theirs, and no reason to stop.
    shared: bool,
    state: Mutex<State>,
}

struct State {
    head: Manifest,
    /// Every version above this one, up to head, is ours.
    ours_above: u64,
    /// Asked before each commit.
    guard: Option<ExpiryGuard>,
    /// What we know of head is wrong or unknown: nothing more may rest on it.
    ended: bool,
}

impl<'a> CommitSequence<'a> {
    /// Begins at `head`, as it was read.
    pub fn new(
        committer: &'a Committer,
        head: Manifest,
        guard: Option<ExpiryGuard>,
        shared: bool,
    ) -> Self {
        Self {
            committer,
            shared,
            state: Mutex::new(State {
                ours_above: head.version,
                head,
                guard,
                ended: false,
            }),
        }
    }

    /// An edit that changes nothing yet.
    pub fn edit(&self) -> Edit {
        self.committer.edit()
    }

    /// Head, as far as this run knows. Whatever is looked at from now on is seen after it was read.
    pub async fn head(&self) -> Manifest {
        self.state.lock().await.head.clone()
    }

    /// No further commit is made.
    pub async fn has_ended(&self) -> bool {
        self.state.lock().await.ended
    }

    /// Head as it is in the store: with the pages of the folders that `known` has read, and those of
    /// `keys`.
    ///
    /// # Errors
    /// The store's; [`Error::Refused`] where there is none any more.
    pub async fn read_head(&self, known: &Manifest, keys: &[&str]) -> Result<Manifest> {
        let head = self.committer.head_like(known, keys, 0).await?;
        head.ok_or_else(|| {
            Error::Refused(format!(
                "the manifests of tenant `{}` went away while this run worked at it: bring them \
                 back, nothing more is done to it",
                self.committer.tenant()
            ))
        })
    }

    /// Goes on from head as it is in the store, after another shard did what this one was about to
    /// do. Ends the sequence where it cannot be read.
    ///
    /// # Errors
    /// As [`Self::read_head`].
    pub async fn catch_up(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        let head = self.read_head(&state.head, &[]).await;
        state.ended |= head.is_err();
        state.head = head?;
        state.ours_above = state.head.version;
        Ok(())
    }

    /// Commits `edit`. What it retires was `seen` after a head that [`Self::head`] gave.
    ///
    /// # Errors
    /// As [`Committer::commit`]; and [`Error::Stopped`] once one of them has ended the sequence.
    pub async fn commit(&self, edit: &Edit, seen: Observed) -> Result<()> {
        let mut state = self.state.lock().await;
        if state.ended {
            return Err(Error::Stopped);
        }
        let done = self.commit_on(&mut state, edit, seen).await;
        state.ended |= done.as_ref().is_err_and(|e| self.ends(e));
        done
    }

    async fn commit_on(&self, state: &mut State, edit: &Edit, mut seen: Observed) -> Result<()> {
        if let Some(guard) = &mut state.guard {
            guard.admit(edit)?;
        }
        if seen.head_version < state.ours_above {
            // Somebody else committed since: look again.
            seen = self.committer.observe(&state.head, edit, seen).await?;
        }
        seen.head_version = state.head.version;
        let (version, id) = (state.head.version, state.head.commit_id);
        let committing = self.committer.commit(state.head.clone(), edit, seen);
        let next = trace::stage(trace::commit(), committing, trace::committed).await?;
        if next.version != version + 1 || next.parent != Some(id) {
            state.ours_above = next.version - 1;
        }
        state.head = next;
        Ok(())
    }

    /// Whether after this error no step may rest on what we know.
    pub fn ends(&self, error: &Error) -> bool {
        match error {
            Error::Conflict(_) => !self.shared,
            Error::Unknown { .. } | Error::Refused(_) | Error::Stopped => true,
            _ => false,
        }
    }
}
