//! Merges inputs of several schema classes: each class by itself, and all of them in one commit.
//!
//! The classes of files are known once they are opened. The merge that found them has written
//! nothing that anything names. Its parts are merged again. Head remembers which schemas are apart,
//! so that the next pass does not put their snapshots together again.

use std::collections::BTreeSet;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::{GroupJobs, Merged, MergedAs};
use crate::error::Result;
use crate::merge::Part;
use icepack_core::model::apart::SchemasApart;
use icepack_core::model::manifest::{Manifest, Observed, Retired};
use icepack_core::model::plan::PlannedInput;
use icepack_core::model::report::TenantReport;
use icepack_core::model::schema::SchemaId;
use icepack_core::plan::retention::LeaveRule;

/// What came of inputs of one class or of several.
#[derive(Default)]
pub(super) struct Classes {
    /// None where nothing is to be committed.
    pub merged: Option<Merged>,
    /// Of the snapshots that hold the rows now.
    schemas: BTreeSet<SchemaId>,
}

impl GroupJobs<'_> {
    /// Merges `inputs`, and where they do not all go together, each part of them by itself.
    pub(super) fn merge_classes<'a>(
        &'a self,
        mut inputs: Vec<PlannedInput>,
        leave: Option<LeaveRule>,
        report: &'a mut TenantReport,
    ) -> BoxFuture<'a, Result<Classes>> {
        async move {
            match self.merge_readable(&mut inputs, leave, report).await? {
                MergedAs::Nothing => Ok(Classes::default()),
                MergedAs::One(merged) => Ok(Classes {
                    schemas: merged.edit.schemas.keys().copied().collect(),
                    merged: Some(*merged),
                }),
                MergedAs::Apart(parts) => self.merge_parts(inputs, parts, leave, report).await,
            }
        }
        .boxed()
    }

    async fn merge_parts(
        &self,
        mut inputs: Vec<PlannedInput>,
        parts: Vec<Part>,
        leave: Option<LeaveRule>,
        report: &mut TenantReport,
    ) -> Result<Classes> {
        let mut all = Classes::default();
        let mut before: Vec<BTreeSet<SchemaId>> = Vec::new();
        let (mut found, under) = (Vec::new(), self.policy.uniting);
        for part in parts {
            let keys: BTreeSet<&str> = part.keys.iter().map(String::as_str).collect();
            let own: Vec<PlannedInput> = inputs
                .extract_if(.., |i| keys.contains(i.key.as_str()))
                .collect();
            let made = match self.left(&own).await {
                Some(schema) => Classes {
                    merged: None,
                    schemas: [schema].into(),
                },
                None => self.merge_classes(own, leave, report).await?,
            };
            for (others, column) in before.iter().zip(&part.columns) {
                let pairs = others
                    .iter()
                    .flat_map(|a| made.schemas.iter().map(|b| (*a, *b)));
                found.extend(pairs.map(|(a, b)| SchemasApart::of(a, b, column.clone(), under)));
            }
            all.merged = match (all.merged, made.merged) {
                (Some(one), Some(other)) => Some(together(one, other)),
                (one, other) => one.or(other),
            };
            all.schemas.extend(&made.schemas);
            before.push(made.schemas);
        }
        all.merged = self.remember(all.merged, found).await;
        Ok(all)
    }

    /// The schema of a snapshot that is a class by itself and needs nothing. One whose schema head
    /// does not know is rewritten: else it would be found out anew in each pass.
    async fn left(&self, inputs: &[PlannedInput]) -> Option<SchemaId> {
        let [one] = inputs else { return None };
        if !self.is_for_nothing(inputs) {
            return None;
        }
        let head = self.sequence.head().await;
        let snapshot = head.snapshots.iter().find(|s| s.key == one.key)?;
        snapshot.schema.filter(|id| head.schemas.contains_key(id))
    }

    /// Adds what was found to what is committed, if head does not know it.
    async fn remember(&self, merged: Option<Merged>, found: Vec<SchemasApart>) -> Option<Merged> {
        let head = self.sequence.head().await;
        let is_known = |a: &SchemasApart| {
            let mut known = head.apart.iter();
            known.any(|b| b.schemas == a.schemas && a.under.is_within(b.under))
        };
        let found: Vec<SchemasApart> = found.into_iter().filter(|a| !is_known(a)).collect();
        if found.is_empty() {
            return merged;
        }
        let mut merged = merged.unwrap_or_else(|| Merged {
            edit: self.sequence.edit(),
            seen: Observed::since(&head),
        });
        merged.edit.apart.extend(found);
        Some(merged)
    }
}

/// Two merges of one group as one commit.
fn together(mut one: Merged, mut other: Merged) -> Merged {
    // Rows of one restore each, or of none.
    let (a, b) = (&one.edit.restored, &other.edit.restored);
    let restored: BTreeSet<_> = if a.is_empty() || b.is_empty() {
        BTreeSet::new()
    } else {
        a | b
    };
    one.edit.restored.clone_from(&restored);
    other.edit.restored = restored;
    if one.edit.expired_before.is_none() {
        one.edit.expired_before = other.edit.expired_before;
    }
    other.edit.expired_before = one.edit.expired_before;
    let joined = one.edit.join(&other.edit);
    debug_assert!(joined, "both are of the same cutoff and the same restores");
    one.seen.join(&other.seen);
    one
}

/// What a schema is apart from that takes the place of those of `retired` snapshots: what did not go
/// with them does not go with what holds their rows.
pub(super) fn inherited(
    head: &Manifest,
    retired: &[Retired],
    schema: SchemaId,
) -> Vec<SchemasApart> {
    if head.apart.is_empty() {
        return Vec::new();
    }
    let keys: BTreeSet<&str> = retired.iter().map(|r| r.key.as_str()).collect();
    let gone: BTreeSet<SchemaId> = head
        .snapshots
        .iter()
        .filter(|s| keys.contains(s.key.as_str()))
        .filter_map(|s| s.schema)
        .collect();
    let of = |own: SchemaId| {
        let others = head.apart.iter().filter_map(move |a| {
            let other = a.other(own)?;
            Some((other, a.column.clone(), a.under))
        });
        others.filter(move |(other, ..)| *other != own && *other != schema)
    };
    gone.into_iter()
        .filter(|own| *own != schema)
        .flat_map(of)
        .map(|(other, column, under)| SchemasApart::of(schema, other, column, under))
        .collect()
}
