use std::time::Duration;

use chrono::TimeDelta;
use ulid::Ulid;

use super::*;
use crate::model::file::{Micros, RowStats, Snapshot};
use crate::model::inputs::{Files, Ignored};
use crate::model::manifest::{Cause, Quarantined, RetireReason, Retired, Stamp};
use crate::model::names::snapshot_key;
use crate::model::policy::Policy;

fn tenant(name: &str) -> Tenant {
    Tenant::parse(name).unwrap()
}

fn tenants(names: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<Tenant> {
    names.into_iter().map(|n| tenant(n.as_ref())).collect()
}

fn numbered(n: usize) -> Vec<Tenant> {
    tenants((0..n).map(|i| format!("t{i:05}")))
}

#[test]
fn neighbours_share_a_range_up_to_a_hundred() {
    let (found, alone) = ranges(numbered(250), &[]);
    assert_eq!(
        found.iter().map(|r| r.tenants.len()).collect::<Vec<_>>(),
        [100, 100, 50]
    );
    assert_eq!(
        found.iter().map(|r| r.end.as_deref()).collect::<Vec<_>>(),
        [Some("t00100/"), Some("t00200/"), None]
    );
    assert!(alone.is_empty());
}

#[test]
fn what_others_have_between_tenants_is_not_listed() {
    let (found, alone) = ranges(
        numbered(30),
        &[
            "_icepack".to_owned(),
            "t00010-cold".to_owned(),
            "t00027x".to_owned(),
        ],
    );
    let shape: Vec<_> = found
        .iter()
        .map(|r| (r.tenants.len(), r.end.as_deref()))
        .collect();
    // `-` comes before `/`, so the folder `t00010-cold` comes before the tenant `t00010`.
    assert_eq!(shape, [(10, Some("t00010-cold/")), (18, Some("t00027x/"))]);
    assert_eq!(alone, tenants(["t00028", "t00029"]));
}

#[test]
fn every_tenant_is_in_one_place() {
    for (n, others) in [
        (0, 0),
        (1, 0),
        (7, 0),
        (8, 0),
        (8, 3),
        (101, 1),
        (1_000, 17),
    ] {
        let others: Vec<String> = (0..others).map(|i| format!("t{:05}_", i * 37)).collect();
        let (found, mut all) = ranges(numbered(n), &others);
        all.extend(found.into_iter().flat_map(|r| r.tenants));
        all.sort();
        assert_eq!(all, numbered(n));
    }
}

#[test]
fn names_are_in_the_order_of_their_keys() {
    let names = ["a", "a-b", "a.b", "a0", "ab", "b", "B", "é"];
    let (found, _) = ranges(tenants(names), &[]);
    assert_eq!(
        found[0].tenants,
        tenants(["B", "a-b", "a.b", "a", "a0", "ab", "b", "é"])
    );
}

#[test]
fn each_tenant_has_its_turn_to_be_checked() {
    let all = numbered(2_000);
    let mut unchecked = all.clone();
    for run in 0..200_u128 {
        let run_id = FileId(Ulid::from_parts(
            1_700_000_000_000 + u64::try_from(run).unwrap() * 3_600_000,
            run * 7_919,
        ));
        let checked = all.iter().filter(|t| is_checked(t, run_id)).count();
        assert!(
            (60..=200).contains(&checked),
            "{checked} of 2,000, 125 expected"
        );
        unchecked.retain(|t| !is_checked(t, run_id));
    }
    assert!(
        unchecked.is_empty(),
        "{} were never checked",
        unchecked.len()
    );
}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

fn raw(n: usize) -> Listed {
    Listed {
        key: format!("acme/{n}.parquet"),
        size: 1_000,
        etag: Some(format!("\"{n}\"")),
        modified: now() - TimeDelta::minutes(5),
    }
}

/// A head with one finished snapshot, and the listing that shows it.
fn packed() -> (Manifest, Listed) {
    let at = Micros::from_datetime(now() - TimeDelta::hours(1));
    let mut head = Manifest::first(
        tenant("acme"),
        Stamp {
            run_id: FileId::NIL,
            commit_id: FileId::NIL,
            at: now(),
        },
    );
    let id = FileId(Ulid::from_parts(1, 1));
    let key = snapshot_key(
        &names::Place::Month(head.tenant.clone()),
        &head.tenant,
        at,
        at,
        id,
    );
    let stats = RowStats {
        rows: 1,
        min: Some(at),
        max: Some(at),
        ..RowStats::default()
    };
    head.snapshots.push(Snapshot {
        key: key.clone(),
        id,
        size: 100 << 20,
        etag: None,
        schema: None,
        dated_by: Some("timestamp".into()),
        stats,
    });
    (
        head,
        Listed {
            key,
            size: 100 << 20,
            etag: None,
            modified: now() - TimeDelta::hours(1),
        },
    )
}

fn idle(newest: u64, listing: Vec<Listed>, head: Option<Manifest>) -> Option<Idle> {
    Hint::new(tenant("acme"), newest, listing).idle(
        head,
        &Policy::default(),
        &Rules::default(),
        now(),
    )
}

#[test]
fn what_needs_nothing_is_idle_and_is_told_as_a_look_would() {
    let (head, file) = packed();
    let found = idle(1, vec![raw(1), file.clone()], Some(head.clone())).unwrap();
    let inventory = Inventory {
        head: Some(head),
        listing: vec![raw(1), file],
    };
    let (totals, status) = (found.totals(), found.status(&Policy::default(), now()));
    assert_eq!(totals, status::totals(&tenant("acme"), &inventory));
    assert_eq!((totals.raw_files, totals.snapshots), (1, 1));
    assert_eq!(status.oldest_raw_s, Some(300));
    assert!(idle(0, Vec::new(), None).is_some());
}

#[test]
fn whatever_may_need_something_is_not_idle() {
    let (head, file) = packed();
    assert!(
        idle(
            1,
            vec![file.clone(), raw(1), raw(2), raw(3)],
            Some(head.clone())
        )
        .is_none(),
        "files to merge"
    );
    let mut retiring = head.clone();
    retiring.retired.push(Retired {
        key: raw(1).key,
        size: 1_000,
        etag: raw(1).etag,
        rows: 1,
        fingerprint: None,
        remembered: None,
        found: None,
        at: now(),
        reason: RetireReason::Compacted,
    });
    assert!(
        idle(1, vec![file.clone(), raw(1)], Some(retiring)).is_none(),
        "files to delete"
    );
    let mut orphan = file.clone();
    orphan.key = orphan.key.replace(
        &FileId(Ulid::from_parts(1, 1)).to_string(),
        &FileId(Ulid::from_parts(1, 2)).to_string(),
    );
    assert!(
        idle(1, vec![file.clone(), orphan], Some(head.clone())).is_none(),
        "an output that no manifest names"
    );
    assert!(
        idle(0, vec![file.clone()], None).is_none(),
        "a lost manifest"
    );
    assert!(
        idle(2, vec![file.clone()], Some(head.clone())).is_none(),
        "another manifest than the one listed"
    );
    assert!(
        idle(1, vec![file.clone()], None).is_none(),
        "a manifest that was pruned"
    );
    for foreign in [
        "acme/t/_delta_log/00000000000000000000.json",
        "acme/t/x.receipt.json",
    ] {
        assert!(
            idle(
                1,
                vec![
                    file.clone(),
                    Listed {
                        key: foreign.into(),
                        ..raw(1)
                    }
                ],
                Some(head.clone())
            )
            .is_none(),
            "somebody else's: {foreign}"
        );
    }
    let policy = Policy {
        ttl: Some(Duration::from_secs(60)),
        ..Policy::default()
    };
    assert!(
        Hint::new(tenant("acme"), 1, vec![file])
            .idle(Some(head), &policy, &Rules::default(), now())
            .is_none(),
        "rows to expire"
    );
}

#[test]
fn files_that_are_too_young_or_no_parquet_files_are_no_work() {
    let (mut head, file) = packed();
    let with = |head: &Manifest, minutes: u64, files: &[&str]| {
        let policy = Policy {
            min_raw_age: Duration::from_secs(60 * minutes),
            ..Policy::default()
        };
        let rules = Rules {
            files: Files::parse(files).unwrap(),
            ..Rules::default()
        };
        let mut listing = vec![raw(1), raw(2), raw(3), file.clone()];
        for f in &mut listing[..3] {
            f.key = f.key.replace(".parquet", ".json");
        }
        Hint::new(tenant("acme"), 1, listing).idle(Some(head.clone()), &policy, &rules, now())
    };
    assert!(with(&head, 5, &["*"]).is_none(), "they are old enough");
    assert!(with(&head, 6, &["*"]).is_some());
    let left = with(&head, 0, &["*.parquet"]).unwrap().left;
    assert_eq!(left.ignored[&Ignored::NotParquet].files, 3);
    head.quarantined = (1..=3)
        .map(|n| Quarantined {
            key: format!("acme/{n}.json"),
            size: 1_000,
            etag: raw(n).etag,
            reason: String::new(),
            at: now(),
            cause: Some(Cause::OtherFormat),
        })
        .collect();
    let found = with(&head, 0, &["*"]).unwrap();
    assert_eq!(found.left.ignored[&Ignored::OtherContent].files, 3);
    let (totals, status) = (found.totals(), found.status(&Policy::default(), now()));
    assert_eq!((totals.raw_files, totals.snapshots), (0, 1));
    assert_eq!((status.raw_files, status.quarantined), (0, 0));
}
