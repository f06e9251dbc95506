use std::time::Duration;

use chrono::DateTime;

use super::*;
use crate::model::file::RowStats;
use crate::model::manifest::Stamp;
use crate::model::names::{FileId, Tenant};
use crate::model::plan::{Reason, Skipped};
use crate::model::policy::ArchivePolicy;
use crate::model::policy::Policy;

const DAY: i64 = 86_400_000_000;
/// 2026-06-15T00:00:00Z.
const NOW: i64 = 1_781_481_600_000_000;
const CUTOFF: i64 = NOW - 30 * DAY;

fn at(days: i64) -> Micros {
    Micros(CUTOFF + days * DAY)
}

fn extent(amount: u64, from: i64, to: i64) -> TimeSpread {
    TimeSpread {
        amount,
        span: Some((at(from), at(to))),
    }
}

struct World {
    plan: Plan,
    survey: FooterScan,
    head: Manifest,
    policy: Policy,
}

impl World {
    fn new() -> Self {
        let tenant = Tenant::parse("acme").unwrap();
        let now = DateTime::from_timestamp_micros(NOW).unwrap();
        let plan = Plan {
            tenant: tenant.clone(),
            head_version: 1,
            now,
            cutoff: Some(Micros(CUTOFF)),
            groups: Vec::new(),
            skipped: Vec::new(),
            classes: Vec::new(),
            expiry: None,
            estimate: None,
            left_alone: Default::default(),
        };
        let head = Manifest::first(
            tenant,
            Stamp {
                run_id: FileId::NIL,
                commit_id: FileId::NIL,
                at: now,
            },
        );
        let policy = Policy {
            ttl: Some(Duration::from_secs(30 * 86_400)),
            ..Policy::default()
        };
        Self {
            plan,
            survey: FooterScan::default(),
            head,
            policy,
        }
    }

    fn group(&mut self, kind: GroupKind, inputs: Vec<PlannedInput>) -> &mut Self {
        let reason = if kind == GroupKind::Expire {
            Reason::Expired {
                cutoff: Micros(CUTOFF),
            }
        } else {
            Reason::Everything
        };
        self.plan.groups.push(Group {
            inputs,
            kind,
            reason,
        });
        self
    }

    fn raw(&mut self, key: &str, size: u64, rows: Vec<TimeSpread>) -> PlannedInput {
        self.survey.files.insert(key.to_owned(), rows);
        PlannedInput {
            key: key.to_owned(),
            size,
            etag: None,
            stats: None,
            id: None,
            adopted: None,
        }
    }

    fn expiry(&self) -> Expiry {
        of(&self.plan, Some(&self.head), &self.survey, &self.policy).unwrap()
    }
}

fn snapshot(key: &str, size: u64, rows: u64, undated: u64, from: i64, to: i64) -> PlannedInput {
    let stats = RowStats {
        rows,
        undated,
        min: Some(at(from)),
        max: Some(at(to)),
        ..RowStats::default()
    };
    PlannedInput {
        key: key.to_owned(),
        size,
        etag: None,
        stats: Some(stats),
        id: Some(FileId::NIL),
        adopted: None,
    }
}

#[test]
fn rows_and_bytes_are_those_before_the_cutoff() {
    let mut w = World::new();
    let a = w.raw("a", 1_000, vec![extent(50, -2, -1), extent(50, 1, 2)]);
    let b = w.raw("b", 1_000, vec![extent(100, -1, 3)]);
    w.group(
        GroupKind::Merge,
        vec![a, b, snapshot("s", 4_000, 400, 200, -5, 5)],
    );
    let found = w.expiry();
    // 50 and 0; a quarter of 100; half of the 200 that are dated.
    assert_eq!(
        (found.rows_expiring, found.bytes_expiring),
        (50 + 25 + 100, 500 + 250 + 1_000)
    );
    assert_eq!(
        (found.rows, found.ttl_s, found.files_unknown),
        (200, 30 * 86_400, 0),
        "head has no snapshots here"
    );
    assert_eq!(found.object_bytes, [] as [u64; 0], "they are dropped");
    assert!((found.percent - 87.5).abs() < 1e-9, "{found:?}");
}

#[test]
fn the_share_is_of_everything_that_is_known() {
    let mut w = World::new();
    let a = w.raw("a", 1_000, vec![extent(10, -2, -1)]);
    w.group(GroupKind::Merge, vec![a]);
    w.head.snapshots.push(crate::model::file::Snapshot {
        key: "s".into(),
        id: FileId::NIL,
        size: 1,
        etag: None,
        schema: None,
        dated_by: Some("timestamp".into()),
        stats: RowStats {
            rows: 990,
            ..RowStats::default()
        },
    });
    let found = w.expiry();
    assert_eq!(
        (found.rows, found.rows_expiring, found.percent),
        (1_000, 10, 1.0)
    );
    for (max_percent, too_much) in [(1, false), (100, false)] {
        w.policy.max_expire_percent = max_percent;
        assert_eq!(w.expiry().is_too_much(), too_much, "{max_percent}");
    }
    w.survey.files.insert("a".into(), vec![extent(11, -2, -1)]);
    w.policy.max_expire_percent = 1;
    assert!(w.expiry().is_too_much(), "11 of 1,001");
}

#[test]
fn with_an_archive_what_waits_does_not_count_and_objects_do() {
    let mut w = World::new();
    w.policy.archive = Some(ArchivePolicy {
        min_object_size: 1_000,
    });
    w.policy.slack = Duration::from_secs(3 * 86_400);
    let crumb = w.raw("crumb", 900, vec![extent(10, -2, -1)]);
    let worth = w.raw("worth", 2_000, vec![extent(10, -2, -1), extent(10, 1, 2)]);
    let late = w.raw("late", 100, vec![extent(10, -4, -1)]);
    w.group(GroupKind::Merge, vec![crumb])
        .group(GroupKind::Merge, vec![worth])
        .group(GroupKind::Merge, vec![late]);
    w.group(
        GroupKind::Expire,
        vec![
            snapshot("x", 5_000, 70, 0, -9, -8),
            snapshot("y", 6_000, 80, 0, -8, -7),
        ],
    );
    let found = w.expiry();
    assert_eq!(found.object_bytes, [1_000, 100, 5_000, 6_000]);
    assert_eq!(
        (found.rows_expiring, found.bytes_expiring),
        (20 + 150, 12_100)
    );
}

#[test]
fn what_is_not_known_is_said_and_does_not_expire() {
    let mut w = World::new();
    let vague = w.raw(
        "vague",
        1_000,
        vec![TimeSpread {
            amount: 100,
            span: None,
        }],
    );
    let unread = PlannedInput {
        key: "unread".into(),
        ..vague.clone()
    };
    let empty = w.raw("empty", 100, vec![]);
    w.group(GroupKind::Merge, vec![vague, unread, empty]);
    let found = w.expiry();
    assert_eq!(
        (found.rows, found.rows_expiring, found.files_unknown),
        (100, 0, 2)
    );
    // A date in the far future does not make the others look new.
    let far = w.raw(
        "far",
        1_000,
        vec![TimeSpread {
            amount: 600,
            span: Some((at(-30), Micros(i64::MAX))),
        }],
    );
    w.group(GroupKind::Merge, vec![far]);
    assert_eq!(w.expiry().rows_expiring, 300);
    w.plan.cutoff = None;
    assert_eq!(of(&w.plan, None, &w.survey, &w.policy), None);
}

/// The rows of adopted files are the tenant's, whether they are taken or stay; files that are to be
/// adopted expire nothing.
#[test]
fn adopted_files_count_as_what_is_known_of_them() {
    let mut w = World::new();
    let times = |rows, from, to| RowTimes {
        rows,
        undated: 0,
        min: Some(at(from)),
        max: Some(at(to)),
    };
    let mut taken = w.raw("taken", 100, vec![]);
    w.survey.files.clear();
    taken.adopted = Some(times(30, -2, -1));
    let mut half = taken.clone();
    half.adopted = Some(times(40, -1, 1));
    w.group(GroupKind::Expire, vec![taken]);
    w.group(GroupKind::Merge, vec![half]);
    let unread = w.raw("unread", 100, vec![extent(7, -2, -1)]);
    w.group(GroupKind::Adopt, vec![unread]);
    w.plan.skipped.push(Skipped {
        key: "stays".into(),
        size: 100,
        reason: SkipReason::Adopted {
            times: times(23, 1, 2),
        },
    });
    let found = w.expiry();
    assert_eq!(
        (found.rows, found.rows_expiring, found.files_unknown),
        (100, 50, 0)
    );
}
