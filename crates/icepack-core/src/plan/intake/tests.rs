use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;
use crate::model::inputs::Rules;
use crate::model::manifest::{Manifest, Quarantined, Stamp};
use crate::model::names::{FileId, Tenant};
use crate::model::plan::Inventory;
use crate::model::policy::CompactionStrategy;
use crate::model::units::MIB;

fn acme() -> Tenant {
    Tenant::parse("acme").unwrap()
}

/// 2026-06-15T00:00:00Z
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_781_481_600, 0).unwrap()
}

fn file(folder: usize, n: usize, size: u64, minutes: i64) -> Listed {
    Listed {
        key: format!("acme/f{folder}/{n}.parquet"),
        size,
        etag: Some("e".into()),
        modified: now() - TimeDelta::minutes(minutes),
    }
}

fn taken(files: &[Listed], head: Option<&Manifest>, policy: &Policy, most: usize) -> Taken {
    let (rules, tenant) = (Rules::default(), acme());
    let window = Window {
        policy,
        now: now(),
        most,
    };
    let mut intake = Intake::new(rules.sorter(&tenant, head), Keep::Window(window));
    files.iter().cloned().for_each(|f| intake.add(f, head));
    intake.finish()
}

/// How many files of each folder there are.
fn folders(files: &[Listed]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for f in files {
        *counts.entry(folder(&f.key)).or_default() += 1;
    }
    counts
}

#[test]
fn a_window_has_whole_folders_and_the_oldest_files_of_the_last_one() {
    let files: Vec<Listed> = (0..1_000)
        .map(|n| file(n % 40, n / 40, 1, i64::try_from(1 + n / 40).unwrap()))
        .collect();
    let policy = Policy::default();
    let found = taken(&files, None, &policy, 110);
    assert_eq!(found.listing.len(), 110);
    assert_eq!(
        found.beyond,
        Beyond {
            files: 890,
            bytes: 890,
            waiting: 890
        }
    );
    let counts = folders(&found.listing);
    assert_eq!(
        counts.values().filter(|n| **n == 25).count(),
        4,
        "{counts:?}"
    );
    let (cut, 10) = counts.iter().find(|(_, n)| **n < 25).unwrap() else {
        panic!("{counts:?}");
    };
    let of_cut = found.listing.iter().filter(|f| folder(&f.key) == *cut);
    assert!(
        of_cut
            .clone()
            .all(|f| f.modified < now() - TimeDelta::minutes(15)),
        "the oldest ten of it"
    );
    assert_eq!(
        taken(&files, None, &policy, 1_000).beyond,
        Beyond::default()
    );
}

#[test]
fn nothing_depends_on_the_order_of_a_listing() {
    let mut files: Vec<Listed> = (0..500)
        .map(|n| file(n % 30, n, 1, i64::try_from(n % 7).unwrap() + 1))
        .collect();
    let policy = Policy::default();
    let found = taken(&files, None, &policy, 77);
    for _ in 0..5 {
        files.rotate_left(171);
        files.swap(3, 400);
        assert_eq!(taken(&files, None, &policy, 77), found);
    }
    files.reverse();
    assert_eq!(taken(&files, None, &policy, 77), found);
}

#[test]
fn every_folder_has_its_hour() {
    let files: Vec<Listed> = (0..100).map(|n| file(n, 0, 1, 60)).collect();
    let (rules, tenant, policy) = (Rules::default(), acme(), Policy::default());
    let mut seen = BTreeSet::new();
    for hour in 0..200 {
        let window = Window {
            policy: &policy,
            now: now() + TimeDelta::hours(hour),
            most: 5,
        };
        let mut intake = Intake::new(rules.sorter(&tenant, None), Keep::Window(window));
        files.iter().cloned().for_each(|f| intake.add(f, None));
        seen.extend(intake.finish().listing.into_iter().map(|f| f.key));
    }
    assert_eq!(seen.len(), 100);
}

fn first() -> Manifest {
    let stamp = Stamp {
        run_id: FileId::NIL,
        commit_id: FileId::NIL,
        at: now(),
    };
    Manifest::first(acme(), stamp)
}

#[test]
fn what_head_knows_and_our_outputs_are_always_kept() {
    let mut head = first();
    head.swept.remember(now(), [("acme/f0/7.parquet", None)]);
    let output = "acme/f0/snapshot.acme.2026-04-27T134507Z-2026-04-27T134508Z.01J8Z0000000000000000000ZZ.parquet";
    let mut files: Vec<Listed> = (0..50).map(|n| file(0, n, 1, 60)).collect();
    files.push(Listed {
        key: output.into(),
        ..file(0, 0, 1, 60)
    });
    let (rules, tenant) = (Rules::default(), acme());
    let mut intake = Intake::new(rules.sorter(&tenant, Some(&head)), Keep::Known);
    files
        .iter()
        .cloned()
        .for_each(|f| intake.add(f, Some(&head)));
    let found = intake.finish();
    let keys: Vec<&str> = found.listing.iter().map(|f| f.key.as_str()).collect();
    assert_eq!(keys, ["acme/f0/7.parquet", output]);
    assert_eq!((found.beyond.files, found.beyond.waiting), (49, 0));
    let found = taken(&files, Some(&head), &Policy::default(), 3);
    assert_eq!((found.listing.len(), found.beyond.waiting), (5, 46));
}

/// Or its note would be forgotten, and the file read again in each pass.
#[test]
fn what_head_knows_is_kept_in_a_folder_that_may_not_be_merged_too() {
    let mut head = first();
    let [noted, other] = ["acme/k=v/bad.parquet", "acme/k=v/x.parquet"].map(|key| Listed {
        key: key.into(),
        ..file(0, 0, 1, 60)
    });
    head.quarantined.push(Quarantined {
        key: noted.key.clone(),
        etag: noted.etag.clone(),
        reason: "damaged".into(),
        at: now(),
        size: noted.size,
        cause: None,
    });
    let rules = Rules {
        within: Within::Tenant,
        ..Rules::default()
    };
    let tenant = acme();
    let mut intake = Intake::new(rules.sorter(&tenant, Some(&head)), Keep::Known);
    for f in [&noted, &other] {
        intake.add(f.clone(), Some(&head));
    }
    assert_eq!(intake.finish().listing, [noted]);
}

proptest! {
    /// What no plan takes is left out, and nothing else: the groups are those of the whole listing.
    #[test]
    fn a_plan_of_what_is_kept_is_that_of_all(
        files in prop::collection::vec((0..4_usize, 0..3_u64, 0..4_000_i64), 0..40),
        ttl in prop::option::of(1..3_u64),
        strategy in 0..3_usize,
        min_raw_age in 0..3_u64,
        within in 0..2_usize,
    ) {
        let day = Duration::from_secs(86_400);
        let policy = Policy {
            ttl: ttl.map(|days| day * u32::try_from(days).unwrap()),
            strategy: [
                CompactionStrategy::SizeBased,
                CompactionStrategy::TimeBased,
                CompactionStrategy::FullCompaction,
            ][strategy],
            min_raw_age: Duration::from_secs(min_raw_age * 3_600),
            within: [Within::Folder, Within::Tenant][within],
            ..Policy::default()
        };
        let files: Vec<Listed> = files
            .into_iter()
            .enumerate()
            .map(|(n, (folder, size, minutes))| file(folder, n, 1 + size * 70 * MIB, minutes))
            .collect();
        let kept = taken(&files, None, &policy, 1_000);
        let mut all = files;
        all.sort_by(|a, b| a.key.cmp(&b.key));
        let inputs = |listing: Vec<Listed>| {
            let inventory = Inventory { head: None, listing };
            let groups = compaction::plan(&acme(), &inventory, &policy, now()).groups;
            groups.into_iter().map(|g| (g.kind, g.inputs)).collect::<Vec<_>>()
        };
        let all_files = all.len();
        prop_assert_eq!(kept.listing.len() as u64 + kept.beyond.files, all_files as u64);
        prop_assert_eq!(inputs(kept.listing), inputs(all));
    }
}
