//! Decides which files are merged together. Pure: listing, head, policy and the time go in, a
//! [`Plan`] comes out.
//!
//! Raw files are taken by the strategy. Snapshots join by one rule that bounds write amplification:
//! a snapshot is rewritten only into a file at least [`GROWTH`] times its size, so a byte moves
//! O(log size) times before its file is finished; a finished file is left alone. Once its period is
//! over, [`CLOSED_GROWTH`] is enough, and after a quiet day nothing more is waited for, so that a
//! period leaves few files. `tests/simulation/amplification.rs` simulates ninety days of it.

mod adoption;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};

use super::classes::{self, Classes};
use super::cutting::FileSize;
use super::quarantine;
use super::retention::{self, Due};
use super::sweep::{self, RetiredState};
use crate::model::file::{Listed, Micros, Snapshot};
use crate::model::inputs::{Left, OtherFormats};
use crate::model::manifest::{Manifest, Quarantined};
use crate::model::names::{self, FileKind, Key, Tenant};
use crate::model::plan::{
    Group, GroupKind, Inventory, Plan, PlannedInput, Reason, SkipReason, Skipped,
};
use crate::model::policy::{CompactionStrategy, Policy, Within};
use crate::model::schema::SchemaId;

/// A snapshot joins a merge whose inputs together are at least this many times its size.
pub const GROWTH: u64 = 4;

/// The same where no more files are to be expected. With [`GROWTH`], three files of one size would
/// stay in every day for ever; with this, none of what is left is as big as half of the rest, and a
/// byte still moves O(log size) times.
pub const CLOSED_GROWTH: u64 = 2;

/// Small snapshots merge within this part of a TTL. A file is rewritten each day from when its
/// first rows expire until its last do; without this bound, all that a trickling tenant has would
/// be in one small file, which is rewritten every day. More parts would be more files.
const SPANS_IN_TTL: u32 = 4;

const DAY_MICROS: i64 = 86_400_000_000;

/// A piece of output is cut at a month's or day's end once it has this many bytes, so a snapshot at
/// least this big stays within its period.
pub const MIN_PIECE: u64 = 8 * 1024 * 1024;

/// What strategy `time` calls old.
const OLD: Duration = Duration::from_secs(24 * 3600);

/// A merge has about so many targets of input bytes at most: enough for some files of the target
/// size where its rows compress to a fifth, and not more than can be done again when it fails.
pub const GROUP_TARGETS: u64 = 8;

/// Files that expire as wholes, or are adopted, in one commit.
const AT_ONCE: usize = 1000;

/// Where outputs are cut besides at the target size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// At the month's end.
    Month,
    /// At the day's end: what has a TTL then expires file by file.
    Day,
}

impl Period {
    /// Days for tenants with a TTL, months for others.
    pub fn of(policy: &Policy) -> Self {
        if policy.ttl.is_some() {
            Self::Day
        } else {
            Self::Month
        }
    }

    /// The number of the period that holds `at`.
    fn number(self, at: Micros) -> i64 {
        match self {
            Self::Day => at.0.div_euclid(DAY_MICROS),
            Self::Month => {
                let time = at.to_datetime();
                i64::from(time.year()) * 12 + i64::from(time.month0())
            }
        }
    }

    /// The first instant after the period that holds `at`, in UTC. None where the calendar ends.
    pub fn end(self, at: Micros) -> Option<Micros> {
        const DAY: i64 = 86_400_000_000;
        match self {
            Self::Day => {
                at.0.div_euclid(DAY)
                    .checked_add(1)?
                    .checked_mul(DAY)
                    .map(Micros)
            }
            Self::Month => {
                let time = DateTime::from_timestamp_micros(at.0)?;
                let (year, month) = if time.month() == 12 {
                    (time.year() + 1, 1)
                } else {
                    (time.year(), time.month() + 1)
                };
                let first = NaiveDate::from_ymd_opt(year, month, 1)?.and_hms_opt(0, 0, 0)?;
                Some(Micros(first.and_utc().timestamp_micros()))
            }
        }
    }
}

/// What a snapshot may merge with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Home {
    /// Raw files, and everything else of now.
    Open,
    /// Small snapshots of the same part of a TTL.
    Span(i64),
    /// Larger ones of the same period.
    Period(i64),
}

impl Home {
    fn of(c: &Candidate, policy: &Policy, now: Micros) -> Self {
        if c.input.size >= MIN_PIECE {
            // Big enough to have been cut at its period's end: merged with others, the same cut
            // would be made again, for ever.
            let period = Period::of(policy);
            let own = period.number(c.order);
            return if own == period.number(now) {
                Self::Open
            } else {
                Self::Period(own)
            };
        }
        let Some(ttl) = policy.ttl else {
            return Self::Open;
        };
        let days = (ttl / SPANS_IN_TTL).as_secs() / (24 * 3600);
        let span = i64::try_from(days.max(1))
            .unwrap_or(i64::MAX)
            .saturating_mul(DAY_MICROS);
        // A date in the future is a mistake, and must not keep the file apart from its like.
        let own = c.order.min(now).0.div_euclid(span);
        if own == now.0.div_euclid(span) {
            Self::Open
        } else {
            Self::Span(own)
        }
    }
}

/// A file that could go into a group.
#[derive(Debug, Clone)]
struct Candidate {
    input: PlannedInput,
    /// Its place in time, as far as known before it is read: a raw file's last write, a snapshot's
    /// newest row.
    order: Micros,
    age: Duration,
    /// A snapshot's. Of a raw file it is not known.
    schema: Option<SchemaId>,
    /// Whether a restore brought its rows. Such are merged among themselves: once they are with
    /// others, nobody can tell that the archive has them.
    restored: bool,
}

/// Plans one tenant.
pub fn plan(tenant: &Tenant, inventory: &Inventory, policy: &Policy, now: DateTime<Utc>) -> Plan {
    let holds = inventory.head.as_ref().map_or(&[][..], |m| &m.holds);
    let cutoff = retention::cutoff_held(policy, holds, now);
    let (mut raws, snapshots, mut skipped) = sort_out(tenant, inventory, policy, now);
    adoption::recall(&mut raws, inventory, policy);
    let classes = Classes::of(inventory.head.as_ref(), policy.uniting);
    let mut groups = Vec::new();
    let (restored_raws, raws): (Vec<_>, Vec<_>) = raws.into_iter().partition(|c| c.restored);
    let (restored, snapshots): (Vec<_>, Vec<_>) = snapshots.into_iter().partition(|c| c.restored);
    for (raws, snapshots) in [(raws, snapshots), (restored_raws, restored)] {
        let (mut apart, mut merges) = (Apart::default(), Vec::new());
        let folders = by_folder(raws, snapshots, policy.within).into_values();
        for (raws, snapshots) in folders.flat_map(|(raws, own)| by_class(raws, own, &classes)) {
            let (more, left) = plan_together(raws, snapshots, &mut apart, cutoff, policy, now);
            merges.extend(more);
            skipped.extend(left);
        }
        // They leave one by one, each to its own folder of the archive: a commit has many of them.
        let leave = apart
            .expired
            .chunks(AT_ONCE)
            .zip(cutoff.into_iter().cycle());
        groups.extend(leave.map(|(chunk, cutoff)| {
            group(
                chunk.to_vec(),
                GroupKind::Expire,
                Reason::Expired { cutoff },
            )
        }));
        groups.extend(merges);
        groups.extend(adoption::groups(&apart.untimed, policy));
    }
    skipped.sort_by(|a, b| a.key.cmp(&b.key));

    let head_version = inventory.head.as_ref().map_or(0, |m| m.version);
    Plan {
        tenant: tenant.clone(),
        head_version,
        now,
        cutoff,
        groups,
        skipped,
        classes: classes::told(inventory.head.as_ref(), policy),
        expiry: None,
        estimate: None,
        left_alone: Left::default(),
    }
}

/// Whether no plan at `now` takes this new file, whatever lies beside it: it was just written, or is
/// not what the strategy takes and no row of it can expire.
pub fn stays(f: &Listed, policy: &Policy, now: DateTime<Utc>) -> bool {
    let age = || age(f.modified, now);
    // Asked for each file of a listing: its age is reckoned only where it matters.
    (!policy.min_raw_age.is_zero() && age() < policy.min_raw_age)
        || (policy.ttl.is_none() && !fits(f.size, age, policy))
}

/// The files that may be merged with each other, by their folder; all in one where that is the
/// tenant.
fn by_folder(
    raws: Vec<Candidate>,
    snapshots: Vec<Candidate>,
    within: Within,
) -> BTreeMap<Key, (Vec<Candidate>, Vec<Candidate>)> {
    let folder = |c: &Candidate| match within {
        Within::Folder => names::folder(&c.input.key).to_owned(),
        Within::Tenant => String::new(),
    };
    let mut folders: BTreeMap<Key, (Vec<_>, Vec<_>)> = BTreeMap::new();
    for c in raws {
        folders.entry(folder(&c)).or_default().0.push(c);
    }
    for c in snapshots {
        folders.entry(folder(&c)).or_default().1.push(c);
    }
    folders
}

/// The files of a folder that may be merged with each other. Of a raw file it is not known before
/// it is read: it goes with the class that was written last, since what comes now is most likely
/// like what came then. A merge finds out, and puts apart what is not.
fn by_class(
    raws: Vec<Candidate>,
    snapshots: Vec<Candidate>,
    classes: &Classes<'_>,
) -> Vec<(Vec<Candidate>, Vec<Candidate>)> {
    let newest = |class: &Vec<Candidate>| class.iter().map(|c| c.input.id).max();
    let mut divided: Vec<_> = classes.divide(snapshots, |c| c.schema);
    divided.sort_by_key(newest);
    let last = divided.pop().unwrap_or_default();
    let others = divided.into_iter().map(|own| (Vec::new(), own));
    others.chain([(raws, last)]).collect()
}

/// Files of all folders that are dealt with one by one.
#[derive(Default)]
struct Apart {
    /// Every row has expired, and they are worth an archive object.
    expired: Vec<Candidate>,
    /// They stay as they are, and nobody knows when their rows are from.
    untimed: Vec<Candidate>,
}

/// The groups of files that may be merged with each other, and what is left of them. What needs no
/// other goes to `apart`.
fn plan_together(
    mut raws: Vec<Candidate>,
    snapshots: Vec<Candidate>,
    apart: &mut Apart,
    cutoff: Option<Micros>,
    policy: &Policy,
    now: DateTime<Utc>,
) -> (Vec<Group>, Vec<Skipped>) {
    // Nothing may rest on times that are of another column: such snapshots are read first, and are
    // like any other from the next pass on.
    let (foreign, mut snapshots): (Vec<_>, Vec<_>) =
        snapshots.into_iter().partition(|c| !c.input.has_times());
    let (mut groups, mut skipped) = (redate(foreign, policy), Vec::new());
    let mut overdue: BTreeMap<String, Micros> = BTreeMap::new();
    if let Some(cutoff) = cutoff {
        let is_whole = |c: &mut Candidate| due(c, cutoff, policy) == Due::Whole;
        let mut whole: Vec<_> = snapshots.extract_if(.., is_whole).collect();
        whole.extend(raws.extract_if(.., is_whole));
        let (expiring, waiting) = expire(whole, &mut apart.expired, cutoff, policy);
        groups.extend(expiring);
        skipped.extend(waiting);
        for c in raws.iter().chain(&snapshots) {
            if let Due::Rewrite { oldest } = due(c, cutoff, policy) {
                overdue.insert(c.input.key.clone(), oldest);
            }
        }
    }

    let (taken, mut waiting, reason) = select_raw(raws, policy);
    let merges = with_snapshots(taken, reason, &mut snapshots, policy, now);
    for (members, reason) in merges {
        // What packing left alone would be rewritten for nothing.
        let (alone, packed): (Vec<_>, Vec<_>) = pack(members, policy)
            .into_iter()
            .partition(|m| matches!(m.as_slice(), [one] if is_for_nothing(one, policy)));
        for one in alone.into_iter().flatten() {
            if one.input.is_snapshot() {
                snapshots.push(one);
            } else {
                waiting.push((one, SkipReason::Alone));
            }
        }
        groups.extend(
            packed
                .into_iter()
                .map(|m| group(m, GroupKind::Merge, reason.clone())),
        );
    }

    // What is overdue and in no merge yet is rewritten for its own sake.
    let is_late = |c: &Candidate| overdue.contains_key(&c.input.key);
    let (mut late, idle): (Vec<_>, Vec<_>) = snapshots.into_iter().partition(is_late);
    late.extend(waiting.extract_if(.., |(c, _)| is_late(c)).map(|(c, _)| c));
    skipped.extend(adoption::stay(waiting, &mut apart.untimed, cutoff, policy));
    if let Some(cutoff) = cutoff
        && let Some(oldest) = late
            .iter()
            .filter_map(|c| overdue.get(&c.input.key))
            .min()
            .copied()
    {
        groups.extend(
            pack(late, policy)
                .into_iter()
                .map(|m| group(m, GroupKind::Merge, Reason::Overdue { oldest, cutoff })),
        );
    }
    skipped.extend(
        idle.into_iter()
            .map(|c| skip(&c.input, SkipReason::Finished)),
    );
    (groups, skipped)
}

/// Whether a merge of this file alone would gain nothing. A raw file is merged where the setting or
/// the strategy asks for each file.
fn is_for_nothing(one: &Candidate, policy: &Policy) -> bool {
    one.input.is_snapshot()
        || (policy.min_files_to_compact > 1
            && policy.strategy != CompactionStrategy::FullCompaction)
}

/// Snapshots that another column dated are profiled like raw files, and sorted anew. What has
/// expired by the right column leaves on the way.
fn redate(foreign: Vec<Candidate>, policy: &Policy) -> Vec<Group> {
    let redated = |members: Vec<Candidate>| {
        let reason = Reason::Redated {
            files: members.len(),
            column: policy.timestamp_column.to_string(),
        };
        group(members, GroupKind::Merge, reason)
    };
    divide(foreign, policy).into_iter().map(redated).collect()
}

/// Files of which every row has expired: as they are, or put together to objects that are worth it,
/// or later.
fn expire(
    whole: Vec<Candidate>,
    expired: &mut Vec<Candidate>,
    cutoff: Micros,
    policy: &Policy,
) -> (Vec<Group>, Vec<Skipped>) {
    let worth = policy.archive.map_or(0, |a| a.min_object_size);
    let together = |members: Vec<Candidate>| {
        let files = members.len();
        group(
            members,
            GroupKind::Merge,
            Reason::ExpiredTogether { files, cutoff },
        )
    };
    let (large, small): (Vec<_>, Vec<_>) = whole.into_iter().partition(|c| c.input.size >= worth);
    expired.extend(large);
    let mut groups = Vec::new();
    let Some(oldest) = small.iter().filter_map(|c| c.input.times()?.min).min() else {
        return (groups, Vec::new());
    };
    let have: u64 = small.iter().map(|c| c.input.size).sum();
    if have >= worth || retention::is_overdue(oldest, cutoff, policy.slack) {
        groups.extend(objects(small, policy).into_iter().map(together));
        return (groups, Vec::new());
    }
    let waited =
        Duration::from_micros(u64::try_from(cutoff.0.saturating_sub(oldest.0)).unwrap_or(0));
    let reason = SkipReason::ExpiredWaiting {
        have_bytes: have,
        need_bytes: worth,
        waited_s: waited.as_secs(),
        at_most_s: policy.slack.saturating_sub(waited).as_secs(),
    };
    (
        groups,
        small
            .iter()
            .map(|c| skip(&c.input, reason.clone()))
            .collect(),
    )
}

fn due(c: &Candidate, cutoff: Micros, policy: &Policy) -> Due {
    c.input
        .times()
        .map_or(Due::Nothing, |times| retention::due(&times, cutoff, policy))
}

fn group(members: Vec<Candidate>, kind: GroupKind, reason: Reason) -> Group {
    Group {
        inputs: members.into_iter().map(|c| c.input).collect(),
        kind,
        reason,
    }
}

fn skip(input: &PlannedInput, reason: SkipReason) -> Skipped {
    Skipped {
        key: input.key.clone(),
        size: input.size,
        reason,
    }
}

/// Raw files (oldest first), live snapshots, and what is neither's to take.
fn sort_out(
    tenant: &Tenant,
    inventory: &Inventory,
    policy: &Policy,
    now: DateTime<Utc>,
) -> (Vec<Candidate>, Vec<Candidate>, Vec<Skipped>) {
    let head = inventory.head.as_ref();
    let live: BTreeSet<&str> = head
        .iter()
        .flat_map(|m| &m.snapshots)
        .map(|s| s.key.as_str())
        .collect();
    let used = head
        .map(|m| used(m, &inventory.listing))
        .unwrap_or_default();
    let named = head.map(sweep::live_keys).unwrap_or_default();
    let notes: BTreeMap<&str, &Quarantined> = head
        .iter()
        .flat_map(|m| &m.quarantined)
        .map(|q| (q.key.as_str(), q))
        .collect();
    // The note on a file that holds as the listing shows it.
    let held = |key: &str, shown: Option<&str>| {
        let note = notes.get(key).copied();
        note.filter(|note| quarantine::holds(note, shown))
    };
    let shown: BTreeMap<&str, Option<&str>> = inventory
        .listing
        .iter()
        .filter(|f| live.contains(f.key.as_str()))
        .map(|f| (f.key.as_str(), f.etag.as_deref()))
        .collect();

    let restoring: BTreeSet<&str> = head
        .iter()
        .flat_map(|m| &m.holds)
        .filter(|h| !h.done)
        .flat_map(|h| &h.files)
        .map(String::as_str)
        .collect();

    let other_formats = OtherFormats::of(head);
    let (mut raws, mut skipped) = (Vec::new(), Vec::new());
    for f in &inventory.listing {
        if live.contains(f.key.as_str()) || other_formats.has(f) {
            continue;
        }
        let kind = names::classify(tenant, &f.key);
        if kind == FileKind::Other {
            continue;
        }
        let candidate = raw_candidate(f, now);
        if let Some(why) = used.get(f.key.as_str()) {
            skipped.push(skip(&candidate.input, why.clone()));
        } else if let FileKind::Snapshot(id) = kind
            && let Some(of) = named.get(&id)
        {
            skipped.push(skip(
                &candidate.input,
                SkipReason::Stray { of: (*of).clone() },
            ));
        } else if restoring.contains(f.key.as_str()) {
            skipped.push(skip(&candidate.input, SkipReason::Restoring));
        } else if let Some(note) = held(&f.key, f.etag.as_deref()) {
            skipped.push(skip(
                &candidate.input,
                SkipReason::Quarantined {
                    reason: note.reason.clone(),
                },
            ));
        } else if let FileKind::Snapshot(_) = kind {
            skipped.push(skip(&candidate.input, SkipReason::Orphan));
        } else if candidate.age < policy.min_raw_age {
            let age_s = candidate.age.as_secs();
            let need_s = policy.min_raw_age.as_secs();
            skipped.push(skip(
                &candidate.input,
                SkipReason::JustWritten { age_s, need_s },
            ));
        } else {
            let restored = head.is_some_and(|m| m.origin([f.key.as_str()]).is_some());
            raws.push(Candidate {
                restored,
                ..candidate
            });
        }
    }
    sort_by_time(&mut raws);

    let mut snapshots = Vec::new();
    // Live snapshots come from head: a listing may lag, head does not.
    for s in head.iter().flat_map(|m| &m.snapshots) {
        let candidate = snapshot_candidate(s, policy, now);
        let column = &policy.timestamp_column;
        let note = match shown.get(s.key.as_str()) {
            Some(tag) => held(&s.key, *tag),
            // That a listing does not show it says nothing of it.
            None => notes.get(s.key.as_str()).copied(),
        };
        match note {
            Some(note) => skipped.push(skip(
                &candidate.input,
                SkipReason::Quarantined {
                    reason: note.reason.clone(),
                },
            )),
            None if head.is_some_and(|m| m.lacks_time(s, column)) => skipped.push(skip(
                &candidate.input,
                SkipReason::Undatable {
                    column: column.to_string(),
                },
            )),
            None => snapshots.push(Candidate {
                restored: head.is_some_and(|m| m.restored.contains_key(&s.id)),
                ..candidate
            }),
        }
    }
    (raws, snapshots, skipped)
}

/// The files of the listing that have used names, and are no candidates.
fn used(head: &Manifest, listing: &[Listed]) -> BTreeMap<Key, SkipReason> {
    sweep::retired_states(head, listing)
        .into_iter()
        .filter_map(|(r, state)| {
            let why = match state {
                RetiredState::Waiting => SkipReason::Retired,
                RetiredState::Unsettled(_) => SkipReason::ComesAgain,
                RetiredState::SetAside(f) => SkipReason::SetAside {
                    reason: sweep::contested(&r, f.etag.as_deref()),
                },
                RetiredState::Unlisted | RetiredState::Held | RetiredState::Appended(_) => {
                    return None;
                }
            };
            Some((r.key.clone(), why))
        })
        .collect()
}

fn raw_candidate(f: &Listed, now: DateTime<Utc>) -> Candidate {
    let input = PlannedInput {
        key: f.key.clone(),
        size: f.size,
        etag: f.etag.clone(),
        stats: None,
        id: None,
        adopted: None,
    };
    Candidate {
        input,
        order: Micros::from_datetime(f.modified),
        age: age(f.modified, now),
        schema: None,
        restored: false,
    }
}

fn snapshot_candidate(s: &Snapshot, policy: &Policy, now: DateTime<Utc>) -> Candidate {
    let stats = s.stats_by(&policy.timestamp_column);
    let input = PlannedInput {
        key: s.key.clone(),
        size: s.size,
        etag: s.etag.clone(),
        stats: Some(stats),
        id: Some(s.id),
        adopted: None,
    };
    let minted = DateTime::from_timestamp_millis(i64::try_from(s.id.0.timestamp_ms()).unwrap_or(0))
        .unwrap_or_default();
    Candidate {
        input,
        order: stats.max.unwrap_or(Micros(0)),
        age: age(minted, now),
        schema: s.schema,
        restored: false,
    }
}

fn age(since: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    // A store's clock ahead of ours makes a file new, not ancient.
    now.signed_duration_since(since)
        .max(TimeDelta::zero())
        .to_std()
        .unwrap_or(Duration::ZERO)
}

/// Whether a raw file is what the strategy takes.
fn fits(size: u64, age: impl FnOnce() -> Duration, policy: &Policy) -> bool {
    match policy.strategy {
        CompactionStrategy::SizeBased => size < policy.small_file_threshold,
        CompactionStrategy::TimeBased => age() >= OLD,
        CompactionStrategy::FullCompaction => true,
    }
}

/// The raw files that this pass takes, and those that wait, with the reason of each.
fn select_raw(
    raws: Vec<Candidate>,
    policy: &Policy,
) -> (Vec<Candidate>, Vec<(Candidate, SkipReason)>, Reason) {
    let need = policy.min_files_to_compact;
    let oldest = raws.iter().map(|c| c.age).max().unwrap_or_default();
    let fits = |c: &Candidate| fits(c.input.size, || c.age, policy);
    // A large file is as good as it would be.
    let aged = |c: &Candidate| c.age >= policy.max_raw_age && fits(c);
    let any_aged = raws.iter().any(aged);
    let have = raws.iter().filter(|c| fits(c)).count();
    let enough = match policy.strategy {
        CompactionStrategy::FullCompaction => have > 0,
        CompactionStrategy::SizeBased | CompactionStrategy::TimeBased => have >= need,
    };
    let (taken, left): (Vec<_>, Vec<_>) = raws
        .into_iter()
        .partition(|c| aged(c) || ((enough || any_aged) && fits(c)));
    let reason = match policy.strategy {
        _ if any_aged && !enough => Reason::RawAge {
            oldest_s: oldest.as_secs(),
        },
        CompactionStrategy::SizeBased => Reason::SmallFiles {
            files: taken.len(),
            threshold: policy.small_file_threshold,
        },
        CompactionStrategy::TimeBased => Reason::OldFiles { files: taken.len() },
        CompactionStrategy::FullCompaction => Reason::Everything,
    };
    let why = |c: &Candidate| match policy.strategy {
        _ if fits(c) => SkipReason::TooFew { have, need },
        CompactionStrategy::TimeBased => SkipReason::Young,
        _ => SkipReason::Large,
    };
    let left = left.into_iter().map(|c| {
        let why = why(&c);
        (c, why)
    });
    (taken, left.collect(), reason)
}

/// The merges: the raw files taken with the snapshots that join them, and snapshots that go up a
/// tier among themselves. Takes them out of `snapshots`.
fn with_snapshots(
    raws: Vec<Candidate>,
    reason: Reason,
    snapshots: &mut Vec<Candidate>,
    policy: &Policy,
    now: DateTime<Utc>,
) -> Vec<(Vec<Candidate>, Reason)> {
    if policy.strategy == CompactionStrategy::FullCompaction {
        return full(raws, snapshots);
    }
    let now = Micros::from_datetime(now);
    let busy: BTreeSet<Home> = snapshots
        .iter()
        .filter(|c| c.age < policy.max_raw_age)
        .map(|c| Home::of(c, policy, now))
        .collect();
    let finished = |c: &Candidate| c.input.size >= FileSize::of(policy).finished();
    let young = |c: &Candidate| policy.strategy == CompactionStrategy::TimeBased && c.age < OLD;
    let (out, rest): (Vec<_>, Vec<_>) = std::mem::take(snapshots)
        .into_iter()
        .partition(|c| finished(c) || young(c));
    *snapshots = out;

    let mut homes: BTreeMap<Home, Vec<Candidate>> = BTreeMap::new();
    for c in rest {
        homes.entry(Home::of(&c, policy, now)).or_default().push(c);
    }

    let mut merges = Vec::new();
    let carried = raws.iter().map(|c| c.input.size).sum();
    let (mut members, left) = grow(
        carried,
        homes.remove(&Home::Open).unwrap_or_default(),
        GROWTH,
    );
    let raw_files = raws.len();
    snapshots.extend(left);
    members.extend(raws);
    if raw_files > 0 {
        merges.push((members, reason));
    } else if !members.is_empty() {
        let files = members.len();
        merges.push((members, Reason::Tier { files }));
    }
    for (home, closed) in homes {
        // Late rows that come all the time must not have the rest of their period rewritten each
        // time: at most once a day.
        let quiet = matches!(home, Home::Period(_)) && closed.len() > 1 && !busy.contains(&home);
        let (members, left) = if quiet {
            (closed, Vec::new())
        } else {
            grow(0, closed, CLOSED_GROWTH)
        };
        snapshots.extend(left);
        if !members.is_empty() {
            let files = members.len();
            merges.push((members, Reason::Tier { files }));
        }
    }
    sort_by_time(snapshots);
    merges
}

/// The most of the smallest snapshots of which none is bigger than a `growth`th of them all with
/// `carried` bytes of raw files; and the others.
fn grow(
    carried: u64,
    mut snapshots: Vec<Candidate>,
    growth: u64,
) -> (Vec<Candidate>, Vec<Candidate>) {
    snapshots.sort_by(|a, b| (a.input.size, &a.input.key).cmp(&(b.input.size, &b.input.key)));
    let (mut sum, mut take) = (carried, 0);
    for (i, c) in snapshots.iter().enumerate() {
        sum += c.input.size;
        if c.input.size.saturating_mul(growth) <= sum {
            take = i + 1;
        }
    }
    let left = snapshots.split_off(take);
    (snapshots, left)
}

/// Everything, if there is anything to gain: raw files, or snapshots that overlap in time. What a
/// full merge leaves overlaps nowhere, so it is not done again.
fn full(raws: Vec<Candidate>, snapshots: &mut Vec<Candidate>) -> Vec<(Vec<Candidate>, Reason)> {
    let mut spans: Vec<(Micros, Micros)> = snapshots
        .iter()
        .filter_map(|c| c.input.stats)
        .filter_map(|s| Some((s.min?, s.max?)))
        .collect();
    spans.sort_unstable();
    let mut reach = None;
    let overlap = spans.iter().any(|(min, max)| {
        // Nanoseconds are rounded outwards: two files that meet within a microsecond seem to
        // overlap by it.
        let hit = reach.is_some_and(|r: Micros| min.0.saturating_add(1) < r.0);
        reach = Some(reach.map_or(*max, |r: Micros| r.max(*max)));
        hit
    });
    if raws.is_empty() && !overlap {
        return Vec::new();
    }
    let mut members = std::mem::take(snapshots);
    members.extend(raws);
    vec![(members, Reason::Everything)]
}

/// Divides a merge into groups in time order; with strategy `full`, it is one.
fn pack(mut members: Vec<Candidate>, policy: &Policy) -> Vec<Vec<Candidate>> {
    if policy.strategy != CompactionStrategy::FullCompaction {
        return divide(members, policy);
    }
    sort_by_time(&mut members);
    if members.is_empty() {
        Vec::new()
    } else {
        vec![members]
    }
}

/// As [`pack`], whatever the strategy: into equal groups of at most [`GROUP_TARGETS`] targets, but
/// for a single larger file. The merge cuts files by what it has written. So a group is large
/// enough that files of the target size come out however well its rows compress.
fn divide(members: Vec<Candidate>, policy: &Policy) -> Vec<Vec<Candidate>> {
    let most = policy.target_file_size.saturating_mul(GROUP_TARGETS).max(1);
    let bytes: u64 = members.iter().map(|c| c.input.size).sum();
    let share = bytes.div_ceil(bytes.div_ceil(most).max(1));
    cut(members, most, |size, _| size >= share)
}

/// Groups of files that leave together: each becomes one archive object, of about the target size.
fn objects(members: Vec<Candidate>, policy: &Policy) -> Vec<Vec<Candidate>> {
    cut(members, policy.max_file_size, |size, left| {
        // A rest too small for an object of its own goes along.
        let all_fits = size + left <= policy.max_file_size && left < policy.target_file_size / 4;
        size >= policy.target_file_size && !all_fits
    })
}

/// Cuts files into groups in time order, where `is_full` says so of the bytes in a group and those
/// that are left; never over `most` bytes but for a single larger file.
fn cut(
    mut members: Vec<Candidate>,
    most: u64,
    is_full: impl Fn(u64, u64) -> bool,
) -> Vec<Vec<Candidate>> {
    sort_by_time(&mut members);
    let mut left: u64 = members.iter().map(|c| c.input.size).sum();
    let (mut groups, mut open, mut size) = (Vec::new(), Vec::new(), 0_u64);
    for c in members {
        if !open.is_empty() && (is_full(size, left) || size + c.input.size > most) {
            groups.push(std::mem::take(&mut open));
            size = 0;
        }
        left -= c.input.size;
        size += c.input.size;
        open.push(c);
    }
    if !open.is_empty() {
        groups.push(open);
    }
    groups
}

fn sort_by_time(members: &mut [Candidate]) {
    members.sort_by(|a, b| (a.order, &a.input.key).cmp(&(b.order, &b.input.key)));
}

#[cfg(test)]
mod tests;
