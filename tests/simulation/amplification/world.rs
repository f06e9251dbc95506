//! A tenant's store without a store: files are sizes and hours, and a merge cuts them as
//! `src/merge/output.rs` does.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use icepack_core::model::adopted::{Adopted, RowTimes};
use icepack_core::model::file::{Listed, Micros, RowStats, Snapshot, TimeSpread};
use icepack_core::model::manifest::{Manifest, Stamp};
use icepack_core::model::names::{FileId, Key, Place, Tenant, snapshot_key};
use icepack_core::model::plan::{Group, GroupKind, Inventory, PlannedInput, Reason};
use icepack_core::model::policy::{CompactionStrategy, Policy};
use icepack_core::plan::compaction::{self, MIN_PIECE, Period};
use icepack_core::plan::cutting::FileSize;
use icepack_core::plan::retention::LeaveRule;
use ulid::Ulid;

/// Bytes by the hour that their rows are dated, counted from the beginning.
pub type Rows = BTreeMap<i64, u64>;

/// 2026-01-01T00:00:00Z plus hours.
pub fn at(hour: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap() + TimeDelta::hours(hour)
}

fn micros(hour: i64) -> Micros {
    Micros::from_datetime(at(hour))
}

/// What a tenant's life came to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Figures {
    /// Bytes of raw files.
    pub ingested: u64,
    /// Bytes of snapshots.
    pub written: u64,
    /// Passes that did something.
    pub passes: u64,
    /// Live files at the end.
    pub files: u64,
    /// What they may be.
    pub allowed: u64,
    /// The median of the finished live snapshots at the end, in percent of the target.
    pub median: u64,
    /// The most that live files ever were of what they may be, in percent.
    pub crowded: u64,
}

impl Figures {
    /// Bytes written for each byte that came in.
    pub fn amplification(&self) -> f64 {
        self.written as f64 / self.ingested as f64
    }
}

/// One tenant.
pub struct World {
    pub policy: Policy,
    pub figures: Figures,
    /// Bytes of a snapshot in percent of the bytes of its raw files.
    compressed: u64,
    tenant: Tenant,
    listing: BTreeMap<Key, (Listed, Rows)>,
    head: Manifest,
    rows: BTreeMap<Key, Rows>,
    minted: u64,
}

impl World {
    pub fn new(policy: Policy, compressed: u64) -> Self {
        let tenant = Tenant::parse("acme").unwrap();
        let head = Manifest::first(
            tenant.clone(),
            Stamp {
                run_id: FileId::NIL,
                commit_id: FileId::NIL,
                at: at(0),
            },
        );
        Self {
            policy,
            figures: Figures::default(),
            compressed,
            tenant,
            listing: BTreeMap::new(),
            head,
            rows: BTreeMap::new(),
            minted: 0,
        }
    }

    /// A raw file with these rows appears at `time`.
    pub fn arrive(&mut self, rows: Rows, time: DateTime<Utc>) {
        self.minted += 1;
        let size = rows.values().sum();
        let key = format!("acme/{:012}.parquet", self.minted);
        self.figures.ingested += size;
        self.listing.insert(
            key.clone(),
            (
                Listed {
                    key,
                    size,
                    etag: Some("e".into()),
                    modified: time,
                },
                rows,
            ),
        );
    }

    /// Plans as the job does, carries the plan out, and judges it. Retired files are deleted at
    /// once, as the sweep of a pass does.
    pub fn pass(&mut self, now: DateTime<Utc>) {
        let mut listing: Vec<Listed> = self.listing.values().map(|(f, _)| f.clone()).collect();
        listing.extend(self.head.snapshots.iter().map(|s| Listed {
            key: s.key.clone(),
            size: s.size,
            etag: None,
            modified: now,
        }));
        let plan = compaction::plan(
            &self.tenant,
            &Inventory {
                head: Some(self.head.clone()),
                listing,
            },
            &self.policy,
            now,
        );
        self.figures.passes += u64::from(!plan.groups.is_empty());
        for group in &plan.groups {
            if group.kind == GroupKind::Adopt {
                self.adopt(group);
                continue;
            }
            self.judge(group);
            let rows = self.take(group);
            if !group.is_expiry() {
                let rows = self.without_expired(rows, plan.cutoff);
                self.write(&rows, now);
            }
        }
        self.count(now);
    }

    /// What the time columns say.
    fn adopt(&mut self, group: &Group) {
        for input in &group.inputs {
            let rows = &self.listing[&input.key].1;
            let (min, max) = span(rows).unzip();
            self.head.adopted.push(Adopted {
                key: input.key.clone(),
                etag: "e".into(),
                dated_by: "timestamp".into(),
                times: RowTimes {
                    rows: rows.values().sum(),
                    undated: 0,
                    min,
                    max,
                },
            });
        }
    }

    /// No pass rewrites a finished file, but to take expired rows out of it. A full merge may: that
    /// is what it is for.
    fn judge(&self, group: &Group) {
        let retention = group.is_expiry() || matches!(group.reason, Reason::Overdue { .. });
        if retention || self.policy.strategy == CompactionStrategy::FullCompaction {
            return;
        }
        let finished =
            |i: &&PlannedInput| i.is_snapshot() && i.size >= FileSize::of(&self.policy).finished();
        assert_eq!(
            group.inputs.iter().find(finished),
            None,
            "a finished file is rewritten: {}",
            group.reason
        );
    }

    /// The group's inputs leave; what their rows come to in a snapshot.
    fn take(&mut self, group: &Group) -> Vec<Rows> {
        let taken: BTreeSet<&Key> = group.inputs.iter().map(|i| &i.key).collect();
        self.head.snapshots.retain(|s| !taken.contains(&s.key));
        let raw = |key: &Key, world: &mut Self| {
            let (_, rows) = world.listing.remove(key).unwrap();
            rows.into_iter()
                .map(|(hour, bytes)| (hour, bytes * world.compressed / 100))
                .collect()
        };
        taken
            .into_iter()
            .map(|key| self.rows.remove(key).unwrap_or_else(|| raw(key, self)))
            .collect()
    }

    fn without_expired(&self, inputs: Vec<Rows>, cutoff: Option<Micros>) -> Rows {
        let stays = |hour: &i64| cutoff.is_none_or(|c| micros(*hour) >= c);
        let extent = |rows: &Rows| TimeSpread {
            amount: rows.values().sum(),
            span: span(rows),
        };
        let extents: Vec<_> = inputs.iter().map(extent).collect();
        let waits = cutoff
            .zip(LeaveRule::of(&self.policy))
            .is_some_and(|(cutoff, rule)| !rule.leaves(&extents, cutoff));
        let mut kept = Rows::new();
        for (hour, bytes) in inputs
            .into_iter()
            .flatten()
            .filter(|(hour, _)| waits || stays(hour))
        {
            *kept.entry(hour).or_default() += bytes;
        }
        kept
    }

    /// Cuts as the output of a merge does, and where a period ends once there is enough for a file.
    fn write(&mut self, rows: &Rows, now: DateTime<Utc>) {
        let size = FileSize::of(&self.policy);
        let worth = MIN_PIECE.min(size.target);
        let mut open = Rows::new();
        let mut all: u64 = rows.values().sum();
        let (mut bytes, mut period) = (0, None);
        for (&hour, &more) in rows {
            let next = self.period(hour);
            if period.is_some_and(|p| p != next) && bytes >= worth {
                self.close(&mut open, now);
                all -= std::mem::take(&mut bytes);
            }
            period = Some(next);
            let mut left = more;
            while left > 0 {
                let end = size.end(all);
                let step = left.min(end - bytes);
                *open.entry(hour).or_default() += step;
                (bytes, left) = (bytes + step, left - step);
                if bytes == end {
                    self.close(&mut open, now);
                    all -= std::mem::take(&mut bytes);
                }
            }
        }
        self.close(&mut open, now);
    }

    fn period(&self, hour: i64) -> i64 {
        match Period::of(&self.policy) {
            Period::Day => hour.div_euclid(24),
            Period::Month => i64::from(at(hour).year()) * 12 + i64::from(at(hour).month0()),
        }
    }

    fn close(&mut self, open: &mut Rows, now: DateTime<Utc>) {
        let rows = std::mem::take(open);
        let Some((from, to)) = span(&rows) else {
            return;
        };
        self.minted += 1;
        let id = FileId(Ulid::from_parts(
            u64::try_from(now.timestamp_millis()).unwrap(),
            u128::from(self.minted),
        ));
        let size = rows.values().sum();
        let stats = RowStats {
            rows: size,
            min: Some(from),
            max: Some(to),
            ..RowStats::default()
        };
        let key = snapshot_key(
            &Place::Folder(self.tenant.to_string()),
            &self.tenant,
            from,
            to,
            id,
        );
        self.figures.written += size;
        self.head.snapshots.push(Snapshot {
            key: key.clone(),
            id,
            size,
            etag: None,
            schema: None,
            dated_by: Some("timestamp".into()),
            stats,
        });
        self.rows.insert(key, rows);
    }

    /// Live files, and what they may be. Strategy `time` leaves everything alone that is younger
    /// than a day: what it may not touch yet is not its failing.
    fn count(&mut self, now: DateTime<Utc>) {
        let by_age = self.policy.strategy == CompactionStrategy::TimeBased;
        let counts = |since: DateTime<Utc>| {
            !by_age || now.signed_duration_since(since) >= TimeDelta::hours(24)
        };
        let raw = self
            .listing
            .values()
            .filter(|(f, _)| counts(f.modified))
            .map(|(f, _)| f.size);
        let snapshots = self
            .head
            .snapshots
            .iter()
            .filter(|s| counts(s.id.0.datetime().into()))
            .map(|s| s.size);
        let sizes: Vec<u64> = raw.chain(snapshots).collect();
        self.figures.files = sizes.len() as u64;
        let full = FileSize::of(&self.policy).finished();
        let mut finished: Vec<u64> = self.head.snapshots.iter().map(|s| s.size).collect();
        finished.retain(|s| *s >= full);
        finished.sort_unstable();
        let median = finished.get(finished.len() / 2).unwrap_or(&0);
        self.figures.median = 100 * median / self.policy.target_file_size;
        self.figures.allowed = 2 * sizes.iter().sum::<u64>() / self.policy.target_file_size + 24;
        self.figures.crowded = self
            .figures
            .crowded
            .max(100 * self.figures.files / self.figures.allowed);
    }
}

/// From the first row to the last: an hour's rows reach almost to its end.
fn span(rows: &Rows) -> Option<(Micros, Micros)> {
    let (first, last) = (rows.first_key_value()?.0, rows.last_key_value()?.0);
    Some((micros(*first), Micros(micros(last + 1).0 - 1)))
}
