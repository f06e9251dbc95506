//! Groups that share a commit. A commit writes the whole manifest, so a tenant of thousands of
//! folders cannot have one for each folder.

use crate::model::names::folder;
use crate::model::plan::{Group, GroupKind};
use crate::model::units::MIB;

/// Bytes of the inputs of a batch: what is merged anew if the pass is cut off before its commit.
const BATCH_BYTES: u64 = 64 * MIB;

/// Groups of a batch.
const BATCH_GROUPS: usize = 100;

/// How many groups each commit takes, in their order: small merges of different folders go
/// together, anything else has a commit of its own.
pub fn batch_sizes(groups: &[Group]) -> Vec<usize> {
    let (mut sizes, mut open, mut bytes) = (Vec::new(), 0, 0_u64);
    for (i, group) in groups.iter().enumerate() {
        let joins = open > 0
            && open < BATCH_GROUPS
            && is_mergeable(group)
            && is_mergeable(&groups[i - 1])
            && place(group) != place(&groups[i - 1])
            && bytes + group.bytes() <= BATCH_BYTES;
        if !joins && open > 0 {
            sizes.push(open);
            (open, bytes) = (0, 0);
        }
        open += 1;
        bytes += group.bytes();
    }
    if open > 0 {
        sizes.push(open);
    }
    sizes
}

fn is_mergeable(group: &Group) -> bool {
    group.kind == GroupKind::Merge
}

fn place(group: &Group) -> Option<&str> {
    group.inputs.first().map(|i| folder(&i.key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::file::Micros;
    use crate::model::plan::{PlannedInput, Reason};

    fn group(key: &str, size: u64, kind: GroupKind) -> Group {
        Group {
            inputs: vec![PlannedInput {
                key: key.into(),
                size,
                etag: None,
                stats: None,
                id: None,
                adopted: None,
            }],
            kind,
            reason: Reason::Expired { cutoff: Micros(0) },
        }
    }

    #[test]
    fn small_groups_of_different_folders_share_a_commit() {
        let merge = |key: &str, size| group(key, size, GroupKind::Merge);
        let many: Vec<Group> = (0..250)
            .map(|n| merge(&format!("acme/dt={n}/x.parquet"), 1_000))
            .collect();
        assert_eq!(batch_sizes(&many), [100, 100, 50]);
        // A folder's groups after each other are cut at the target size: each is worth a commit.
        let same = [merge("acme/x", 1), merge("acme/y", 1), merge("acme/a/z", 1)];
        assert_eq!(batch_sizes(&same), [1, 2]);
        let large = [
            merge("acme/a/x", 40 * MIB),
            merge("acme/b/x", 24 * MIB),
            merge("acme/c/x", 1),
            merge("acme/d/x", 100 * MIB),
        ];
        assert_eq!(batch_sizes(&large), [2, 1, 1]);
        let expiring = [
            merge("acme/a/x", 1),
            group("acme/b/x", 1, GroupKind::Expire),
            merge("acme/c/x", 1),
        ];
        assert_eq!(batch_sizes(&expiring), [1, 1, 1]);
        assert_eq!(batch_sizes(&[]), [0; 0]);
    }
}
