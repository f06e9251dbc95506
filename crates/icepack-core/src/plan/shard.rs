//! Divides the work among shards. Pure, and the same on every machine and in every version: shards
//! that disagree do the same work twice, or leave it undone.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::model::names::Tenant;
use crate::model::plan::{Group, Plan};
use crate::model::shard::Shard;

/// A tenant whose plan has this many groups is spread over the shards, …
const MANY_GROUPS: usize = 8;

/// … or one whose groups read so much.
const MANY_BYTES: u64 = 2 << 30;

/// The one of `count` shards that `name` belongs to, by rendezvous hashing: with one shard more,
/// only what belongs to the new one moves.
pub fn home(name: &str, count: u32) -> u32 {
    let weight = |shard: u32| xxh3_64_with_seed(name.as_bytes(), u64::from(shard));
    (0..count)
        .max_by_key(|shard| (weight(*shard), *shard))
        .unwrap_or(0)
}

/// Whether `tenant` is at home in `shard`, which plans, sweeps and reports it.
pub fn is_home(tenant: &Tenant, shard: Shard) -> bool {
    home(tenant.as_str(), shard.count) == shard.index
}

/// Whether a tenant's work is too much for one shard.
pub fn is_giant(plan: &Plan) -> bool {
    plan.groups.len() >= MANY_GROUPS || (plan.groups.len() > 1 && plan.backlog() >= MANY_BYTES)
}

/// The plan with the groups that are `shard`'s: all of them at the tenant's home, none elsewhere,
/// unless the tenant is `spread`.
///
/// A group of a spread tenant belongs to where its first file does. So two shards that see the same
/// files agree, and so do, mostly, two of which one has seen what the other did meanwhile: groups
/// that are done leave the others as they were. Where they do not agree, both may do a group, and
/// the commit settles it.
pub fn share(mut plan: Plan, shard: Shard, spread: bool) -> Plan {
    if shard.is_part() {
        let at_home = is_home(&plan.tenant, shard);
        plan.groups.retain(|group| {
            if spread {
                belongs(group, shard)
            } else {
                at_home
            }
        });
    }
    plan
}

fn belongs(group: &Group, shard: Shard) -> bool {
    let first = group.inputs.first().map_or("", |input| input.key.as_str());
    home(first, shard.count) == shard.index
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::DateTime;

    use super::*;
    use crate::model::plan::{GroupKind, PlannedInput, Reason};

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("tenant-{i}")).collect()
    }

    #[test]
    fn these_homes_are_for_ever() {
        let homes = |count| {
            [
                "acme",
                "globex",
                "initech",
                "system",
                "umbrella",
                "a",
                "b",
                "tenant-42",
            ]
            .map(|t| home(t, count))
        };
        assert_eq!(homes(1), [0; 8]);
        assert_eq!(homes(4), HOMES_OF_4);
        assert_eq!(homes(16), HOMES_OF_16);
    }

    /// As another implementation of XXH3 has them, too. A change here makes shards of two versions
    /// do each other's work.
    const HOMES_OF_4: [u32; 8] = [3, 2, 0, 2, 2, 0, 2, 0];
    const HOMES_OF_16: [u32; 8] = [9, 9, 12, 2, 2, 4, 4, 0];

    #[test]
    fn every_shard_has_its_share() {
        for count in [2, 3, 4, 7, 16, 64] {
            let mut sizes = BTreeMap::new();
            let tenants = 2_000 * count as usize;
            for name in names(tenants) {
                *sizes.entry(home(&name, count)).or_insert(0_usize) += 1;
            }
            assert_eq!(sizes.len(), count as usize);
            assert!(
                sizes.values().all(|n| (1_800..2_200).contains(n)),
                "{count} shards: {sizes:?}"
            );
        }
    }

    #[test]
    fn one_shard_more_moves_only_what_becomes_its_own() {
        for count in [1, 3, 10] {
            let moved: Vec<String> = names(10_000)
                .into_iter()
                .filter(|n| home(n, count) != home(n, count + 1))
                .collect();
            assert!(
                moved.iter().all(|n| home(n, count + 1) == count),
                "something moved between old shards"
            );
            let expected = 10_000 / (count as usize + 1);
            assert!(
                moved.len().abs_diff(expected) < expected / 5,
                "{} of {expected} moved",
                moved.len()
            );
        }
    }

    fn plan(groups: usize, bytes: u64) -> Plan {
        let input = |g: usize, i: usize| PlannedInput {
            key: format!("acme/{g}-{i}.parquet"),
            size: bytes / 2,
            etag: None,
            stats: None,
            id: None,
            adopted: None,
        };
        let group = |g| Group {
            inputs: vec![input(g, 0), input(g, 1)],
            kind: GroupKind::Merge,
            reason: Reason::Everything,
        };
        Plan {
            tenant: Tenant::parse("acme").unwrap(),
            head_version: 0,
            now: DateTime::UNIX_EPOCH,
            cutoff: None,
            groups: (0..groups).map(group).collect(),
            skipped: Vec::new(),
            classes: Vec::new(),
            estimate: None,
            left_alone: Default::default(),
            expiry: None,
        }
    }

    #[test]
    fn much_work_is_spread() {
        for (groups, bytes, giant) in [
            (0, 0, false),
            (1, 4 << 30, false),
            (2, 1 << 20, false),
            (2, 1 << 30, true),
            (7, 1 << 20, false),
            (8, 2, true),
        ] {
            assert_eq!(
                is_giant(&plan(groups, bytes)),
                giant,
                "{groups} groups of {bytes} bytes"
            );
        }
    }

    #[test]
    fn each_group_is_one_shard_s() {
        let whole = plan(40, 100);
        for (spread, most) in [(true, 20), (false, 40)] {
            let shares: Vec<Plan> = (0..4)
                .map(|i| share(whole.clone(), Shard::new(i, 4).unwrap(), spread))
                .collect();
            let mut groups: Vec<Group> = shares.iter().flat_map(|p| p.groups.clone()).collect();
            groups.sort_by_key(|g| whole.groups.iter().position(|w| w == g));
            assert_eq!(groups, whole.groups, "spread: {spread}");
            assert!(shares.iter().all(|p| p.groups.len() <= most));
            assert_eq!(
                shares.iter().filter(|p| !p.groups.is_empty()).count(),
                if spread { 4 } else { 1 }
            );
        }
        assert_eq!(share(whole.clone(), Shard::WHOLE, true), whole);
    }

    #[test]
    fn what_others_have_done_moves_no_group() {
        let shard = Shard::new(2, 4).unwrap();
        let before = share(plan(40, 100), shard, true);
        let mut rest = plan(40, 100);
        rest.groups.drain(3..11);
        let after = share(rest.clone(), shard, true);
        let still: Vec<Group> = before
            .groups
            .into_iter()
            .filter(|g| rest.groups.contains(g))
            .collect();
        assert_eq!(after.groups, still);
    }
}
