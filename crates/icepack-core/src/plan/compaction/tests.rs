use chrono::DateTime;
use ulid::Ulid;

use super::*;
use crate::model::adopted::{Adopted, RowTimes};
use crate::model::apart::SchemasApart;
use crate::model::file::{RowStats, TimeSpread};
use crate::model::manifest::{Cause, Manifest, Quarantined, RetireReason, Retired, Stamp};
use crate::model::names::{FileId, Key, Place, snapshot_key};
use crate::model::policy::ArchivePolicy;
use crate::model::policy::{Policy, Uniting};
use crate::model::schema::{Column, TableSchema};
use crate::model::time_column::TimeColumn;
use crate::model::units::{KIB, MIB};
use crate::plan::retention::LeaveRule;

const HOUR: i64 = 3600;

fn tenant() -> Tenant {
    Tenant::parse("acme").unwrap()
}

/// 2026-06-15T00:00:00Z plus hours.
fn at(hours: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_781_481_600 + hours * HOUR, 0).unwrap()
}

fn micros(hours: i64) -> Micros {
    Micros::from_datetime(at(hours))
}

/// A world of files, to plan on and to carry plans out in.
struct World {
    policy: Policy,
    now: i64,
    raw: Vec<Listed>,
    head: Manifest,
    minted: u64,
    written: u64,
}

impl World {
    fn new() -> Self {
        let head = Manifest::first(
            tenant(),
            Stamp {
                run_id: FileId::NIL,
                commit_id: FileId::NIL,
                at: at(0),
            },
        );
        Self {
            policy: Policy::default(),
            now: 0,
            raw: Vec::new(),
            head,
            minted: 0,
            written: 0,
        }
    }

    fn raw(&mut self, name: &str, size: u64, hours: i64) -> &mut Self {
        self.raw.push(Listed {
            key: format!("acme/{name}.parquet"),
            size,
            etag: Some("e".into()),
            modified: at(hours),
        });
        self
    }

    fn snapshot(&mut self, size: u64, from: i64, to: i64) -> &mut Self {
        self.minted += 1;
        let id = FileId(Ulid::from_parts(
            u64::try_from(at(self.now).timestamp_millis()).unwrap(),
            u128::from(self.minted),
        ));
        let stats = RowStats {
            rows: size,
            min: Some(micros(from)),
            max: Some(micros(to)),
            ..RowStats::default()
        };
        let key = snapshot_key(
            &Place::Folder("acme".into()),
            &tenant(),
            micros(from),
            micros(to),
            id,
        );
        self.head.snapshots.push(Snapshot {
            key,
            id,
            size,
            etag: Some("s".into()),
            schema: None,
            dated_by: Some("timestamp".into()),
            stats,
        });
        self
    }

    fn plan(&self) -> Plan {
        let mut listing = self.raw.clone();
        listing.extend(self.head.snapshots.iter().map(|s| Listed {
            key: s.key.clone(),
            size: s.size,
            etag: s.etag.clone(),
            modified: at(0),
        }));
        plan(
            &tenant(),
            &Inventory {
                head: Some(self.head.clone()),
                listing,
            },
            &self.policy,
            at(self.now),
        )
    }

    /// Carries out a plan as a merge would: rows stay where they are in time, outputs are cut at
    /// the target and at the period's end.
    fn carry_out(&mut self, plan: &Plan) {
        for group in &plan.groups {
            if group.kind == GroupKind::Adopt {
                self.adopt(group);
                continue;
            }
            let taken: BTreeSet<&Key> = group.inputs.iter().map(|i| &i.key).collect();
            let spans: Vec<(i64, i64, u64)> = group.inputs.iter().map(|i| self.span(i)).collect();
            self.raw.retain(|r| !taken.contains(&r.key));
            self.head.snapshots.retain(|s| !taken.contains(&s.key));
            if !group.is_expiry() {
                let spans = self.without_expired(&spans, plan.cutoff);
                self.write(&spans);
            }
        }
    }

    fn adopt(&mut self, group: &Group) {
        for input in &group.inputs {
            let (from, to, rows) = self.span(input);
            self.note(&input.key, from, to, rows);
        }
    }

    /// What the time column of a raw file says.
    fn note(&mut self, key: &str, from: i64, to: i64, rows: u64) {
        self.head.adopted.retain(|a| a.key != key);
        self.head.adopted.push(Adopted {
            key: key.into(),
            etag: "e".into(),
            dated_by: "timestamp".into(),
            times: RowTimes {
                rows,
                undated: 0,
                min: Some(micros(from)),
                max: Some(micros(to)),
            },
        });
    }

    /// What a merge keeps.
    fn without_expired(
        &self,
        spans: &[(i64, i64, u64)],
        cutoff: Option<Micros>,
    ) -> Vec<(i64, i64, u64)> {
        let Some(cutoff) = cutoff else {
            return spans.to_vec();
        };
        let extents: Vec<_> = spans
            .iter()
            .map(|(from, to, size)| TimeSpread {
                amount: *size,
                span: Some((micros(*from), micros(*to))),
            })
            .collect();
        if LeaveRule::of(&self.policy).is_some_and(|rule| !rule.leaves(&extents, cutoff)) {
            return spans.to_vec();
        }
        let first = (cutoff.0 - micros(0).0 + 3_599_999_999).div_euclid(3_600_000_000);
        let kept = spans
            .iter()
            .zip(&extents)
            .filter(|((_, to, _), _)| *to >= first);
        kept.map(|((from, to, size), extent)| (first.max(*from), *to, size - extent.before(cutoff)))
            .collect()
    }

    /// From, to (hours), bytes.
    fn span(&self, input: &PlannedInput) -> (i64, i64, u64) {
        let hours = |m: Micros| (m.0 - micros(0).0) / 3_600_000_000;
        match input.stats {
            Some(s) => (hours(s.min.unwrap()), hours(s.max.unwrap()), input.size),
            None => {
                let r = self.raw.iter().find(|r| r.key == input.key).unwrap();
                let hour = (r.modified - at(0)).num_hours();
                (hour - 1, hour, input.size)
            }
        }
    }

    fn write(&mut self, spans: &[(i64, i64, u64)]) {
        let mut by_hour: BTreeMap<i64, u64> = BTreeMap::new();
        for (from, to, size) in spans {
            let hours = u64::try_from(to - from + 1).unwrap();
            for h in *from..=*to {
                *by_hour.entry(h).or_default() += size.div_ceil(hours);
            }
        }
        let period = Period::of(&self.policy);
        let (mut open, mut size): (Option<(i64, i64)>, u64) = (None, 0);
        let mut left: u64 = by_hour.values().sum();
        for (hour, bytes) in by_hour {
            if let Some((from, to)) = open {
                let crosses = period.number(micros(hour)) != period.number(micros(to));
                let end = FileSize::of(&self.policy).end(size + left);
                if size >= end || (crosses && size >= MIN_PIECE) {
                    self.snapshot(size, from, to);
                    self.written += size;
                    (open, size) = (None, 0);
                }
            }
            open = Some((open.map_or(hour, |o| o.0), hour));
            size += bytes;
            left -= bytes;
        }
        if let Some((from, to)) = open {
            self.snapshot(size, from, to);
            self.written += size;
        }
    }

    /// Passes until nothing is left to do; how many did something.
    fn settle(&mut self) -> usize {
        for n in 0..50 {
            let plan = self.plan();
            if plan.groups.is_empty() {
                return n;
            }
            self.carry_out(&plan);
        }
        panic!("50 passes and still not settled: {:?}", self.plan().groups);
    }
}

fn names(plan: &Plan) -> Vec<Vec<String>> {
    let short = |k: &str| {
        k.trim_start_matches("acme/")
            .trim_end_matches(".parquet")
            .to_owned()
    };
    plan.groups
        .iter()
        .map(|g| g.inputs.iter().map(|i| short(&i.key)).collect())
        .collect()
}

fn reasons(plan: &Plan) -> Vec<&SkipReason> {
    plan.skipped.iter().map(|s| &s.reason).collect()
}

#[test]
fn size_takes_the_small_files_oldest_first_and_none_if_too_few() {
    let mut w = World::new();
    w.raw("b", MIB, -1)
        .raw("a", MIB, -2)
        .raw("big", 10 * MIB, -3);
    assert_eq!(names(&w.plan()), Vec::<Vec<String>>::new());
    assert_eq!(
        reasons(&w.plan()),
        [
            &SkipReason::TooFew { have: 2, need: 3 },
            &SkipReason::TooFew { have: 2, need: 3 },
            &SkipReason::Large
        ]
    );
    w.raw("c", 10 * MIB - 1, -4);
    let plan = w.plan();
    assert_eq!(names(&plan), [["c", "a", "b"]]);
    assert_eq!(
        plan.groups[0].reason,
        Reason::SmallFiles {
            files: 3,
            threshold: 10 * MIB
        }
    );
    assert_eq!(reasons(&plan), [&SkipReason::Large]);
}

#[test]
fn time_takes_files_older_than_a_day_and_full_takes_all() {
    let mut w = World::new();
    w.policy.strategy = CompactionStrategy::TimeBased;
    w.policy.max_raw_age = Duration::from_secs(1000 * 3600);
    w.raw("a", 50 * MIB, -30)
        .raw("b", MIB, -25)
        .raw("young", MIB, -23);
    assert!(w.plan().groups.is_empty());
    w.raw("c", MIB, -24);
    assert_eq!(names(&w.plan()), [["a", "b", "c"]]);
    assert_eq!(reasons(&w.plan()), [&SkipReason::Young]);
    w.policy.strategy = CompactionStrategy::FullCompaction;
    assert_eq!(names(&w.plan()), [["a", "b", "c", "young"]]);
}

#[test]
fn small_files_never_wait_longer_than_max_raw_age() {
    let mut w = World::new();
    w.raw("a", MIB, -24).raw("b", MIB, -1);
    let plan = w.plan();
    assert_eq!(names(&plan), [["a", "b"]]);
    assert_eq!(plan.groups[0].reason, Reason::RawAge { oldest_s: 86_400 });
    // A file the store dates in the future is new, not ancient.
    let mut w = World::new();
    w.raw("ahead", MIB, 5);
    assert!(w.plan().groups.is_empty());
}

#[test]
fn groups_are_equal_and_hold_enough_for_files_of_the_target_size() {
    let mut w = World::new();
    for i in 0..200 {
        w.raw(&format!("{i:03}"), 2 * MIB, i64::from(i) - 2_000);
    }
    w.policy.max_raw_age = Duration::from_secs(10_000 * 3600);
    let bytes = |w: &World| {
        let plan = w.plan();
        plan.groups
            .iter()
            .map(|g| g.bytes() / MIB)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        bytes(&w),
        [400],
        "if it compresses to a third, it is one file"
    );
    for i in 200..900 {
        w.raw(&format!("{i:03}"), 2 * MIB, i64::from(i) - 2_000);
    }
    assert_eq!(bytes(&w), [900, 900], "no more than eight targets");
    let plan = w.plan();
    let keys = |n: usize| &plan.groups[n].inputs;
    assert!(
        keys(0).last().unwrap().key < keys(1)[0].key,
        "in time order"
    );
    w.raw("huge", 2_000 * MIB, -3_000);
    w.policy.small_file_threshold = 3_000 * MIB;
    w.policy.min_files_to_compact = 1;
    assert_eq!(
        names(&w.plan())[0],
        ["huge"],
        "a single larger file is a group of its own"
    );
    assert!(w.plan().groups[1..].iter().all(|g| g.bytes() <= 1024 * MIB));
}

#[test]
fn what_a_merge_leaves_is_not_merged_again() {
    for size in [3, 40, 100, 130, 155, 170, 230, 320, 1_000, 3_000] {
        let mut w = World::new();
        w.policy.small_file_threshold = 1024 * MIB;
        for i in 0..100 {
            w.raw(&format!("{i}"), size * MIB / 100, -24 * 60 + i);
        }
        assert_eq!(w.settle(), 1, "{size} MiB");
        w.now = 24 * 40;
        assert_eq!(w.settle(), 0, "{size} MiB, once their month is over");
        let full = FileSize::of(&w.policy).finished();
        let open = w.head.snapshots.iter().filter(|s| s.size < full).count();
        assert!(open <= 1, "{size} MiB: {open} files are not finished");
    }
}

#[test]
fn retired_quarantined_and_orphaned_files_are_left_alone_and_said_so() {
    let mut w = World::new();
    for n in ["a", "b", "c", "d", "e"] {
        w.raw(n, MIB, -1);
    }
    let retired = |key: &str| Retired {
        key: key.into(),
        size: 1,
        etag: Some("e".into()),
        rows: 1,
        fingerprint: None,
        remembered: None,
        found: None,
        at: at(0),
        reason: RetireReason::Compacted,
    };
    w.head.retired.push(retired("acme/a.parquet"));
    w.raw("f", MIB, -1);
    w.head.swept.remember(at(0), [("acme/f.parquet", None)]);
    let bad = |key: &str, etag: &str| Quarantined {
        key: key.into(),
        size: 1,
        etag: Some(etag.into()),
        reason: "bad".into(),
        at: at(0),
        cause: Some(Cause::Damaged),
    };
    w.head.quarantined = vec![
        bad("acme/b.parquet", "e"),
        bad("acme/c.parquet", "old version"),
        Quarantined {
            cause: Some(Cause::OtherFormat),
            ..bad("acme/x.json", "e")
        },
    ];
    let orphan = snapshot_key(
        &Place::Month(tenant()),
        &tenant(),
        micros(0),
        micros(1),
        FileId::floor_at(at(0)),
    );
    w.raw.push(Listed {
        key: "acme/x.json".into(),
        size: 1,
        etag: Some("e".into()),
        modified: at(-1),
    });
    w.raw.push(Listed {
        key: orphan,
        size: 1,
        etag: None,
        modified: at(-1),
    });
    w.raw.push(Listed {
        key: "acme/_notes".into(),
        size: 1,
        etag: None,
        modified: at(-1),
    });
    let plan = w.plan();
    assert_eq!(
        names(&plan),
        [["c", "d", "e"]],
        "a mended file is tried again"
    );
    assert_eq!(
        reasons(&plan),
        [
            &SkipReason::Orphan,
            &SkipReason::Retired,
            &SkipReason::Quarantined {
                reason: "bad".into()
            },
            &SkipReason::ComesAgain
        ]
    );
}

#[test]
fn a_file_that_was_just_written_waits_whatever_else_would_take_it() {
    let written = |need_s: u64, strategy| {
        let mut w = World::new();
        w.policy.strategy = strategy;
        w.policy.min_raw_age = Duration::from_secs(need_s);
        w.policy.max_raw_age = Duration::from_secs(1);
        w.raw("a", MIB, -3).raw("b", MIB, -2).raw("c", MIB, -1);
        // By the store's clock, which is ahead.
        w.raw("d", MIB, 5);
        w
    };
    for strategy in [
        CompactionStrategy::SizeBased,
        CompactionStrategy::FullCompaction,
    ] {
        let plan = written(2 * 3600, strategy).plan();
        assert_eq!(names(&plan), [["a", "b"]], "as old as it must be is enough");
        assert_eq!(
            reasons(&plan),
            [
                &SkipReason::JustWritten {
                    age_s: 3600,
                    need_s: 7200
                },
                &SkipReason::JustWritten {
                    age_s: 0,
                    need_s: 7200
                }
            ]
        );
        assert_eq!(names(&written(0, strategy).plan()), [["a", "b", "c", "d"]]);
    }
    let mut w = written(1, CompactionStrategy::SizeBased);
    w.policy.max_raw_age = Duration::from_secs(24 * 3600);
    w.raw.retain(|f| f.key != "acme/c.parquet");
    assert_eq!(
        w.plan().skipped[0].reason,
        SkipReason::TooFew { have: 2, need: 3 },
        "it counts for no minimum"
    );
}

#[test]
fn whole_snapshots_expire_and_overdue_ones_are_rewritten() {
    let mut w = World::new();
    w.policy.ttl = Some(Duration::from_secs(30 * 86_400));
    let day = 24;
    w.snapshot(100 * MIB, -40 * day, -30 * day - 1); // wholly past
    w.snapshot(100 * MIB, -40 * day, -29 * day); // overdue by ten days
    w.snapshot(100 * MIB, -31 * day, -20 * day); // overdue by a day: within the slack
    w.snapshot(100 * MIB, -20 * day, -1);
    let plan = w.plan();
    let kinds: Vec<_> = plan
        .groups
        .iter()
        .map(|g| (g.kind, g.inputs.len()))
        .collect();
    assert_eq!(kinds, [(GroupKind::Expire, 1), (GroupKind::Merge, 1)]);
    assert_eq!(
        plan.groups[1].reason,
        Reason::Overdue {
            oldest: micros(-40 * day),
            cutoff: micros(-30 * day)
        }
    );
    assert_eq!(plan.skipped.len(), 2);

    // Undated rows never expire, so the file that holds them does not go as a whole.
    w.head.snapshots[0].stats.undated = 1;
    assert!(w.plan().groups.iter().all(|g| g.kind == GroupKind::Merge));
}

#[test]
fn snapshots_of_two_classes_are_planned_by_themselves() {
    let mut w = World::new();
    let kinds = ["Utf8", "Int64"];
    let schemas = kinds.map(|kind| {
        let columns = [("timestamp", "Timestamp(µs)"), ("x", kind)];
        let column = |(name, kind): (&str, &str)| Column {
            name: name.into(),
            kind: kind.into(),
            nullable: true,
        };
        TableSchema(columns.map(column).into())
    });
    for n in 0..8 {
        w.snapshot(MIB, -20 + n, -19 + n);
        let schema = &schemas[usize::from(n >= 4)];
        w.head.snapshots.last_mut().unwrap().schema = Some(schema.id());
        w.head.schemas.insert(schema.id(), schema.clone());
    }
    for n in 0..3 {
        w.raw(&format!("r{n}"), KIB, -1);
    }
    let keys = |plan: &Plan| -> Vec<Vec<Key>> {
        let keys = |g: &Group| g.inputs.iter().map(|i| i.key.clone()).collect();
        plan.groups.iter().map(keys).collect()
    };
    assert_eq!(keys(&w.plan()).len(), 1, "nothing is known of them");

    let apart = SchemasApart::of(
        schemas[1].id(),
        schemas[0].id(),
        Some("x".into()),
        Uniting::default(),
    );
    w.head.apart = vec![apart];
    let key = |n: usize| w.head.snapshots[n].key.clone();
    let raw = (0..3).map(|n| format!("acme/r{n}.parquet"));
    assert_eq!(
        keys(&w.plan()),
        [
            (0..4).map(key).collect::<Vec<_>>(),
            (4..8).map(key).chain(raw).collect()
        ],
        "raw files go with the class that was written last"
    );

    // Each of them expires by itself too.
    w.policy.ttl = Some(Duration::from_secs(12 * 3_600));
    w.raw.clear();
    w.policy.archive = Some(ArchivePolicy {
        min_object_size: 2 * MIB,
    });
    let plan = w.plan();
    assert!(
        plan.groups.iter().all(Group::is_expiry)
            && keys(&plan).len() == 2
            && keys(&plan)[0]
                .iter()
                .all(|k| (0..4).map(key).any(|own| own == *k)),
        "{plan:?}"
    );
    w.head.quarantined = vec![Quarantined {
        key: key(0),
        size: MIB,
        etag: Some("s".into()),
        reason: "damaged".into(),
        at: at(0),
        cause: Some(Cause::Damaged),
    }];
    assert!(reasons(&w.plan()).contains(&&SkipReason::Quarantined {
        reason: "damaged".into()
    }));
}

/// Thirty days are kept, and what expires is archived in objects of at least 8 MiB.
fn with_archive() -> World {
    let mut w = World::new();
    w.policy.ttl = Some(Duration::from_secs(30 * 86_400));
    w.policy.archive = Some(ArchivePolicy {
        min_object_size: 8 * MIB,
    });
    w
}

/// An hour before everything older expires.
const CUTOFF: i64 = -30 * 24;

#[test]
fn small_expired_snapshots_wait_until_they_are_worth_an_object() {
    let mut w = with_archive();
    w.snapshot(3 * MIB, CUTOFF - 20, CUTOFF - 18)
        .snapshot(4 * MIB, CUTOFF - 10, CUTOFF - 8);
    let plan = w.plan();
    assert!(plan.groups.is_empty(), "{plan:?}");
    let waiting = SkipReason::ExpiredWaiting {
        have_bytes: 7 * MIB,
        need_bytes: 8 * MIB,
        waited_s: 20 * 3600,
        at_most_s: 4 * 3600,
    };
    assert_eq!(reasons(&plan), [&waiting, &waiting]);
    assert_eq!(
        waiting.to_string(),
        "expired, and not worth an archive object yet: 7.0 MiB of 8.0 MiB, for 20h, at most 4h \
         more"
    );

    // Together with a third they are.
    w.snapshot(MIB, CUTOFF - 7, CUTOFF - 6);
    let plan = w.plan();
    let together = |files| Reason::ExpiredTogether {
        files,
        cutoff: micros(CUTOFF),
    };
    assert_eq!(
        plan.groups
            .iter()
            .map(|g| (g.kind, g.inputs.len(), &g.reason))
            .collect::<Vec<_>>(),
        [(GroupKind::Merge, 3, &together(3))]
    );
    assert_eq!(w.settle(), 1);
    assert!(w.head.snapshots.is_empty());

    // What is worth it by itself goes by itself, and does not take the others along.
    let mut w = with_archive();
    w.snapshot(3 * MIB, CUTOFF - 20, CUTOFF - 18)
        .snapshot(8 * MIB, CUTOFF - 10, CUTOFF - 8);
    let plan = w.plan();
    assert_eq!(
        plan.groups
            .iter()
            .map(|g| (g.kind, g.inputs.len()))
            .collect::<Vec<_>>(),
        [(GroupKind::Expire, 1)]
    );
    assert!(
        matches!(reasons(&plan)[..], [SkipReason::ExpiredWaiting { have_bytes, .. }] if *have_bytes == 3 * MIB)
    );
}

#[test]
fn no_expired_snapshot_waits_longer_than_the_slack() {
    let mut w = with_archive();
    w.snapshot(MIB, CUTOFF - 24, CUTOFF - 23)
        .snapshot(MIB, CUTOFF - 2, CUTOFF - 1);
    assert!(w.plan().groups.is_empty(), "overdue by just the slack");
    w.now = 1;
    let plan = w.plan();
    assert_eq!(
        names(&plan).len(),
        1,
        "one is overdue, and the other goes along"
    );
    assert_eq!(plan.groups[0].inputs.len(), 2);
    assert_eq!(w.settle(), 1);
    // Without slack, nothing waits.
    let mut w = with_archive();
    w.policy.slack = Duration::ZERO;
    w.snapshot(MIB, CUTOFF - 2, CUTOFF - 1);
    assert_eq!(w.plan().groups.len(), 1);
}

#[test]
fn crumbs_are_packed_towards_the_target_whatever_the_strategy() {
    for strategy in [
        CompactionStrategy::SizeBased,
        CompactionStrategy::TimeBased,
        CompactionStrategy::FullCompaction,
    ] {
        let mut w = with_archive();
        w.policy.strategy = strategy;
        for i in 0..80 {
            w.snapshot(4 * MIB, CUTOFF - 100 + i, CUTOFF - 100 + i);
        }
        let plan = w.plan();
        assert_eq!(
            plan.groups
                .iter()
                .map(|g| g.bytes() / MIB)
                .collect::<Vec<_>>(),
            [128, 128, 64],
            "{strategy:?}"
        );
        assert_eq!(
            w.settle(),
            1,
            "a group smaller than the least object leaves too"
        );
    }
}

#[test]
fn without_an_archive_a_small_expired_snapshot_goes_at_once() {
    let mut w = with_archive();
    w.policy.archive = None;
    w.snapshot(1, CUTOFF - 2, CUTOFF - 1);
    assert_eq!(w.plan().groups[0].kind, GroupKind::Expire);
}

#[test]
fn a_waiting_snapshot_is_in_no_merge() {
    let mut w = with_archive();
    w.policy.strategy = CompactionStrategy::FullCompaction;
    w.snapshot(MIB, CUTOFF - 20, CUTOFF - 18);
    for i in 0..4 {
        w.raw(&format!("{i}"), MIB, -1);
    }
    assert_eq!(names(&w.plan()), [["0", "1", "2", "3"]]);
    w.settle();
    assert!(
        w.head.snapshots.iter().any(|s| s.size == MIB),
        "it was not rewritten"
    );
}

#[test]
fn full_settles_at_once() {
    let mut w = World::new();
    w.policy.strategy = CompactionStrategy::FullCompaction;
    for i in 0..20 {
        w.raw(&format!("{i}"), 20 * MIB, -i * 24);
    }
    assert_eq!(w.settle(), 1);
    w.snapshot(MIB, -100, -50);
    assert_eq!(w.settle(), 1, "what overlaps is merged, once");
}

#[test]
fn a_snapshot_moves_up_only_into_something_four_times_its_size() {
    let mut w = World::new();
    for i in 0..3 {
        w.snapshot(MIB, -i, -i);
    }
    assert!(w.plan().groups.is_empty());
    w.snapshot(MIB, -9, -9);
    assert_eq!(w.plan().groups[0].reason, Reason::Tier { files: 4 });
    w.snapshot(30 * MIB, -200, -20);
    assert_eq!(w.plan().groups[0].inputs.len(), 4, "the big one stays out");
    w.head.snapshots.retain(|s| s.size > MIB);
    w.snapshot(90 * MIB, -400, -300);
    assert!(w.plan().groups.is_empty(), "a finished file is left alone");
}

#[test]
fn every_layout_settles_and_settling_never_writes_much() {
    let mut seed = 1_u64;
    let mut random = |below: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for case in 0..300 {
        let mut w = World::new();
        w.policy.ttl = [Some(400), None, Some(60), Some(60)][case % 4]
            .map(|days| Duration::from_secs(days * 86_400));
        w.policy.archive = (case % 4 == 3).then_some(ArchivePolicy {
            min_object_size: 8 * MIB,
        });
        w.policy.strategy = [
            CompactionStrategy::SizeBased,
            CompactionStrategy::TimeBased,
            CompactionStrategy::FullCompaction,
        ][case % 5 % 3];
        let hours = |n: u64| -i64::try_from(n).unwrap();
        for i in 0..random(30) {
            let magnitude = 10 + random(18);
            w.raw(
                &format!("r{i}"),
                random(1 << magnitude) + 1,
                hours(random(100)),
            );
        }
        for _ in 0..random(25) {
            let (to, magnitude) = (hours(random(3000)), 10 + random(18));
            w.snapshot(random(1 << magnitude) + 1, to + hours(random(200)), to);
        }
        let bytes: u64 = w
            .raw
            .iter()
            .map(|r| r.size)
            .chain(w.head.snapshots.iter().map(|s| s.size))
            .sum();
        let passes = w.settle();
        assert!(passes <= 8, "case {case}: {passes} passes");
        assert!(
            w.written <= 3 * bytes + MIB,
            "case {case}: {} written of {bytes}",
            w.written
        );
    }
}

#[test]
fn what_a_day_leaves_is_merged_once_the_day_is_over() {
    let mut w = World::new();
    w.policy.ttl = Some(Duration::from_secs(30 * 86_400));
    w.now = 23;
    w.snapshot(18 * MIB, 2, 7)
        .snapshot(18 * MIB, 8, 13)
        .snapshot(18 * MIB, 14, 19);
    assert!(w.plan().groups.is_empty(), "more may come");
    w.now = 24;
    assert_eq!(w.plan().groups[0].reason, Reason::Tier { files: 3 });
    assert_eq!(w.settle(), 1);
    assert_eq!(w.head.snapshots.len(), 1);
    // A late file is not reason enough to write it all again.
    w.snapshot(9 * MIB, 20, 20);
    assert!(w.plan().groups.is_empty());
    w.now = 48;
    assert_eq!(
        w.plan().groups[0].reason,
        Reason::Tier { files: 2 },
        "unless a day passes without another"
    );
    assert_eq!(w.settle(), 1);
}

#[test]
fn small_snapshots_of_a_tenant_with_a_ttl_stay_within_a_part_of_it() {
    let mut w = World::new();
    w.policy.ttl = Some(Duration::from_secs(40 * 86_400));
    let day = 24;
    // Ten days are a part; the eighth day of one is the first that is not over.
    for back in [31, 21, 11, 1] {
        for (size, hour) in [(MIB, 0), (MIB / 2, 2), (MIB / 2, 4)] {
            w.snapshot(size, hour - back * day, hour + 1 - back * day);
        }
    }
    w.settle();
    let spans: Vec<_> = w
        .head
        .snapshots
        .iter()
        .map(|s| (s.stats.max.unwrap().0 - s.stats.min.unwrap().0) / 3_600_000_000)
        .collect();
    assert!(
        spans.len() >= 4 && spans.iter().all(|hours| *hours < 10 * day),
        "{spans:?}"
    );
    // Kept for ever, they are as well in one file.
    w.policy.ttl = None;
    for i in 0..4 {
        w.raw(&format!("{i}"), MIB, -1);
    }
    w.settle();
    assert_eq!(w.head.snapshots.len(), 1);
}

/// However old or large a snapshot seems by another column: it is read first, and is in no other
/// group, whatever the strategy.
#[test]
fn times_of_another_column_are_not_known() {
    for strategy in [
        CompactionStrategy::SizeBased,
        CompactionStrategy::TimeBased,
        CompactionStrategy::FullCompaction,
    ] {
        for archive in [
            None,
            Some(ArchivePolicy {
                min_object_size: 8 * MIB,
            }),
        ] {
            let mut w = World::new();
            w.policy.strategy = strategy;
            w.policy.archive = archive;
            w.policy.ttl = Some(Duration::from_secs(30 * 24 * 3600));
            w.snapshot(MIB, -24 * 90, -24 * 80)
                .snapshot(200 * MIB, -24 * 70, -24 * 60)
                .snapshot(MIB, -24, -1);
            w.head.snapshots[0].dated_by = Some("created_at".into());
            w.head.snapshots[1].dated_by = None;
            let plan = w.plan();
            let foreign: Vec<_> = w.head.snapshots[..2]
                .iter()
                .map(|s| s.key.clone())
                .collect();
            let mut taken = Vec::new();
            for group in &plan.groups {
                assert_eq!(
                    (group.kind, &group.reason),
                    (
                        GroupKind::Merge,
                        &Reason::Redated {
                            files: group.inputs.len(),
                            column: "timestamp".into()
                        }
                    )
                );
                assert!(group.inputs.iter().all(|i| !i.has_times()));
                taken.extend(group.inputs.iter().map(|i| i.key.clone()));
            }
            taken.sort();
            assert_eq!(taken, sorted(foreign));
            assert_eq!(
                plan.skipped.iter().map(|s| &s.key).collect::<Vec<_>>(),
                [&w.head.snapshots[2].key],
                "{strategy:?}"
            );
        }
    }
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}

#[test]
fn periods_end_at_utc_midnights() {
    let at = |s: i64| Micros(s * 1_000_000);
    assert_eq!(Period::Day.end(at(-1)), Some(at(0)));
    assert_eq!(Period::Day.end(at(0)), Some(at(86_400)));
    assert_eq!(Period::Month.end(at(0)), Some(at(31 * 86_400)));
    // 2025-12-31T23:59:59Z
    assert_eq!(
        Period::Month.end(at(1_767_225_599)),
        Some(at(1_767_225_600))
    );
    assert_eq!(Period::Month.end(Micros(i64::MAX)), None);
}

/// The keys of each group's inputs.
fn members(plan: &Plan) -> Vec<Vec<String>> {
    let members = |g: &Group| -> Vec<String> {
        let mut keys: Vec<String> = g.inputs.iter().map(|i| i.key.clone()).collect();
        keys.sort_unstable();
        keys
    };
    plan.groups.iter().map(members).collect()
}

#[test]
fn files_of_different_folders_never_share_a_group() {
    let mut world = World::new();
    for folder in ["a", "a/b", "k=1"] {
        for n in 0..3 {
            world.raw(&format!("{folder}/{n}"), MIB, 0);
        }
    }
    world.raw("root", MIB, 0);
    let plan = world.plan();
    assert_eq!(
        members(&plan),
        [
            ["acme/a/0.parquet", "acme/a/1.parquet", "acme/a/2.parquet"],
            [
                "acme/a/b/0.parquet",
                "acme/a/b/1.parquet",
                "acme/a/b/2.parquet"
            ],
            [
                "acme/k=1/0.parquet",
                "acme/k=1/1.parquet",
                "acme/k=1/2.parquet"
            ],
        ]
    );
    let left: Vec<&str> = plan.skipped.iter().map(|s| s.key.as_str()).collect();
    assert_eq!(left, ["acme/root.parquet"]);

    world.policy.within = Within::Tenant;
    let together = world.plan();
    assert_eq!(together.groups.len(), 1);
    assert_eq!(together.groups[0].inputs.len(), 10);
}

#[test]
fn a_full_merge_keeps_to_folders_too() {
    let mut world = World::new();
    world.policy.strategy = CompactionStrategy::FullCompaction;
    for n in 0..4 {
        world.raw(&format!("{}/{n}", ["a", "b"][n % 2]), MIB, 0);
    }
    assert_eq!(
        members(&world.plan()),
        [
            ["acme/a/0.parquet", "acme/a/2.parquet"],
            ["acme/b/1.parquet", "acme/b/3.parquet"]
        ]
    );
}

/// Copied to the archive one by one, snapshots of many folders need no commit for each folder.
#[test]
fn what_expired_whole_leaves_together_from_every_folder() {
    let mut world = World::new();
    world.policy.ttl = Some(Duration::from_secs(24 * 3600));
    world.now = 24 * 100;
    for n in 0..3 {
        world.snapshot(MIB, 0, 1);
        let s = world.head.snapshots.last_mut().unwrap();
        s.key = s.key.replace("acme/", &format!("acme/dt={n}/"));
    }
    let plan = world.plan();
    let [group] = plan.groups.as_slice() else {
        panic!("{:?}", plan.groups)
    };
    assert_eq!((group.kind, group.inputs.len()), (GroupKind::Expire, 3));
}

/// Files that are large already, and files alone in their folder, gain nothing by being rewritten,
/// however old they are.
#[test]
fn good_files_are_not_rewritten_for_their_age() {
    let mut world = World::new();
    world.now = 24 * 365;
    for n in 0..3 {
        world.raw(&format!("large/{n}"), 256 * MIB, 0);
    }
    world.raw("alone/0", MIB, 0);
    for n in 0..2 {
        world.raw(&format!("two/{n}"), MIB, 0);
    }
    let plan = world.plan();
    assert_eq!(
        members(&plan),
        [["acme/two/0.parquet", "acme/two/1.parquet"]]
    );
    let why = |key: &str| &plan.skipped.iter().find(|s| s.key == key).unwrap().reason;
    assert_eq!(*why("acme/large/0.parquet"), SkipReason::Large);
    assert_eq!(*why("acme/alone/0.parquet"), SkipReason::Alone);

    // When their rows are from is read, and they stay nevertheless.
    world.policy.ttl = Some(Duration::from_secs(30 * 86_400));
    let plan = world.plan();
    assert_eq!(
        plan.groups
            .iter()
            .map(|g| (g.kind, g.inputs.len()))
            .collect::<Vec<_>>(),
        [(GroupKind::Merge, 2), (GroupKind::Adopt, 4)]
    );
    // Who asks for each file gets each file.
    world.policy = Policy {
        min_files_to_compact: 1,
        ..Policy::default()
    };
    assert_eq!(members(&world.plan()).len(), 2);
}

/// A TTL of thirty days, and files that no merge wants.
fn good_files() -> World {
    let mut w = World::new();
    w.policy.ttl = Some(Duration::from_secs(30 * 86_400));
    w.raw("a", 256 * MIB, -1).raw("b", 256 * MIB, -1);
    w
}

#[test]
fn good_files_are_adopted_once() {
    let mut w = good_files();
    let plan = w.plan();
    let [group] = plan.groups.as_slice() else {
        panic!("{:?}", plan.groups)
    };
    assert_eq!((group.kind, group.inputs.len()), (GroupKind::Adopt, 2));
    assert_eq!(plan.backlog(), 0, "nothing is read as a whole");
    w.carry_out(&plan);
    let plan = w.plan();
    assert!(plan.groups.is_empty(), "{:?}", plan.groups);
    assert!(matches!(
        reasons(&plan)[..],
        [SkipReason::Adopted { .. }, SkipReason::Adopted { .. }]
    ));
    // A note holds for one version and one column.
    w.raw[0].etag = Some("other".into());
    assert_eq!(names(&w.plan()), [["a"]]);
    w.raw[0].etag = None;
    assert!(w.plan().groups.is_empty(), "no note would ever hold");
    w.raw[0].etag = Some("e".into());
    w.policy.timestamp_column = TimeColumn::named("created_at");
    assert_eq!(names(&w.plan()), [["a", "b"]]);
    w.policy.ttl = None;
    let plan = w.plan();
    assert_eq!(reasons(&plan), [&SkipReason::Large, &SkipReason::Large]);
}

#[test]
fn many_files_of_many_folders_share_a_commit() {
    let mut w = good_files();
    w.raw.clear();
    for n in 0..1500 {
        w.raw(&format!("dt={n}/x"), 256 * MIB, -1);
    }
    let sizes: Vec<usize> = w.plan().groups.iter().map(|g| g.inputs.len()).collect();
    assert_eq!(sizes, [1000, 500]);
}

#[test]
fn adopted_files_expire_as_snapshots_do() {
    let whole = |archive: Option<ArchivePolicy>| {
        let mut w = good_files();
        w.policy.archive = archive;
        w.note("acme/a.parquet", CUTOFF - 30, CUTOFF - 1, 7);
        w.note("acme/b.parquet", CUTOFF - 2, CUTOFF, 7);
        w
    };
    // Dropped, no byte of it need be read.
    let w = whole(None);
    let plan = w.plan();
    assert_eq!(names(&plan), [["a"]]);
    assert_eq!(plan.groups[0].kind, GroupKind::Expire);
    assert!(matches!(reasons(&plan)[..], [SkipReason::Adopted { .. }]));
    // Archived, it goes as it is.
    let w = whole(Some(ArchivePolicy {
        min_object_size: 8 * MIB,
    }));
    let plan = w.plan();
    assert_eq!(names(&plan), [["a"]]);
    assert_eq!(plan.groups[0].kind, GroupKind::Expire);
    // A row without a time never expires, nor does its file as a whole.
    let mut w = whole(None);
    w.head.adopted[0].times.undated = 1;
    let plan = w.plan();
    assert_eq!(
        (plan.groups[0].kind, &plan.groups[0].reason),
        (
            GroupKind::Merge,
            &Reason::Overdue {
                oldest: micros(CUTOFF - 30),
                cutoff: micros(CUTOFF)
            }
        )
    );
    // Another version of the file, or times of another column, have not expired.
    for change in [
        |w: &mut World| w.raw[0].etag = Some("other".into()),
        |w: &mut World| w.head.adopted[0].dated_by = "created_at".into(),
    ] {
        let mut w = whole(None);
        change(&mut w);
        let plan = w.plan();
        assert_eq!(names(&plan), [["a"]]);
        assert_eq!(plan.groups[0].kind, GroupKind::Adopt);
    }
}

#[test]
fn an_adopted_file_is_rewritten_only_for_rows_that_are_overdue_beyond_the_slack() {
    let mut w = good_files();
    w.note("acme/a.parquet", CUTOFF - 24, CUTOFF + 24, 7);
    w.note("acme/b.parquet", CUTOFF - 1, CUTOFF + 24, 7);
    assert!(w.plan().groups.is_empty(), "overdue by just the slack");
    w.now = 1;
    let plan = w.plan();
    assert_eq!(names(&plan), [["a"]]);
    assert_eq!(
        (plan.groups[0].kind, &plan.groups[0].reason),
        (
            GroupKind::Merge,
            &Reason::Overdue {
                oldest: micros(CUTOFF - 24),
                cutoff: micros(CUTOFF + 1)
            }
        )
    );
    w.policy.slack = Duration::from_secs(100 * 3600);
    assert!(w.plan().groups.is_empty());
}

#[test]
fn a_small_file_that_was_adopted_merges_with_what_comes_later() {
    let mut w = good_files();
    w.raw.clear();
    w.raw("old", MIB, -48);
    assert_eq!(w.plan().groups[0].kind, GroupKind::Adopt, "it is alone");
    w.settle();
    assert_eq!(w.head.adopted.len(), 1);
    w.raw("new", MIB, -1);
    let plan = w.plan();
    assert_eq!(names(&plan), [["old", "new"]]);
    assert_eq!(plan.groups[0].kind, GroupKind::Merge);
}

/// Who asks for each file, or for all, gets them rewritten as ever.
#[test]
fn what_a_setting_asks_for_is_not_adopted() {
    let mut w = good_files();
    w.raw("small", MIB, -1);
    w.policy.min_files_to_compact = 1;
    let plan = w.plan();
    assert_eq!(names(&plan), [vec!["small"], vec!["a", "b"]]);
    assert_eq!(plan.groups[1].kind, GroupKind::Adopt);
    w.policy.strategy = CompactionStrategy::FullCompaction;
    assert_eq!(names(&w.plan()), [["a", "b", "small"]]);
    // By age, a young file waits; an old one alone stays.
    let mut w = good_files();
    w.policy.strategy = CompactionStrategy::TimeBased;
    assert!(w.plan().groups.is_empty());
    w.raw("old", 256 * MIB, -25);
    let plan = w.plan();
    assert_eq!(names(&plan), [["old"]]);
    assert_eq!(plan.groups[0].kind, GroupKind::Adopt);
}
