//! Chooses the archive objects that a restore reads and the names of the files that it writes, and
//! estimates how long thawing takes. Pure.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::model::file::Micros;
use crate::model::hold::{Hold, Restored};
use crate::model::manifest::{Manifest, Receipt};
use crate::model::names::{self, FileId, Key, Tenant};
use crate::model::price::{Prices, STANDARD};
use crate::model::restore::{Tier, Wanted};

/// The receipts of objects that hold rows of `from..to`, by time. Nothing undated is ever archived,
/// so that times tell it all.
pub fn select(
    mut receipts: Vec<Receipt>,
    from: Option<Micros>,
    to: Option<Micros>,
) -> Vec<Receipt> {
    let after = |r: &Receipt| from.is_none_or(|from| r.stats.max.is_none_or(|max| max >= from));
    let before = |r: &Receipt| to.is_none_or(|to| r.stats.min.is_none_or(|min| min < to));
    receipts.retain(|r| after(r) && before(r));
    receipts.sort_by(|a, b| (a.stats.min, &a.key).cmp(&(b.stats.min, &b.key)));
    receipts
}

/// `receipts` without those of which every row is in others that are there too: rows that were
/// restored, expired again and were archived again. A receipt that refers to one that is not there
/// stays, and so do any that refer to each other: a row may come twice then, and none is missing.
pub fn distinct(receipts: Vec<Receipt>) -> Vec<Receipt> {
    let mut known: BTreeSet<FileId> = receipts
        .iter()
        .filter(|r| r.again_of.is_empty())
        .map(|r| r.id)
        .collect();
    let (mut kept, mut repeated): (Vec<_>, Vec<_>) =
        receipts.into_iter().partition(|r| r.again_of.is_empty());
    loop {
        let (found, rest): (Vec<_>, Vec<_>) = repeated
            .into_iter()
            .partition(|r| r.again_of.is_subset(&known));
        repeated = rest;
        if !found.is_empty() {
            known.extend(found.iter().map(|r| r.id));
            continue;
        }
        // Of those that refer to what is not there, the oldest: others may be repetitions of it.
        let Some(first) = (0..repeated.len()).min_by_key(|i| repeated[*i].id) else {
            return kept;
        };
        let first = repeated.swap_remove(first);
        known.insert(first.id);
        kept.push(first);
    }
}

/// The progress of a restore, by the holds of the head that it goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreProgress {
    /// These objects' rows are to be brought; of holds that are over, those whose rows are
    /// knowingly brought once more.
    New(Vec<Receipt>, Vec<FileId>),
    /// An earlier attempt broke off: it goes on with that hold.
    Begun(Hold),
    /// All of it was done, and rows are held.
    Done(Hold),
    /// All of it was done, and the holds are over: the rows may still live.
    Over(Hold),
    /// Some rows of an object, and not all that are asked for, were or are being brought back by a
    /// restore of another range.
    Overlaps(Hold),
}

/// What `head` says of the restore `asked`, of the objects `wanted`. With `again`, what holds
/// that are over brought is brought once more.
pub fn progress(
    head: &Manifest,
    asked: &Restored,
    wanted: Vec<Receipt>,
    again: bool,
    now: DateTime<Utc>,
) -> RestoreProgress {
    let same_range = |h: &&Hold| {
        h.restored.tenant == asked.tenant
            && (h.restored.from, h.restored.to) == (asked.from, asked.to)
    };
    let begun = head
        .holds
        .iter()
        .filter(|h| !h.done)
        .filter(same_range)
        .find(|h| wanted.iter().any(|r| touch(h, r).is_some()));
    if let Some(hold) = begun {
        return RestoreProgress::Begun(hold.clone());
    }
    let meant: Vec<&Hold> = head
        .holds
        .iter()
        .filter(|h| again && !h.is_active(now))
        .collect();
    let others: Vec<&Hold> = head
        .holds
        .iter()
        .filter(|h| !meant.contains(h) && h.restored.meets(asked))
        .collect();
    let (mut todo, mut done) = (Vec::new(), Vec::new());
    for r in wanted {
        let touching: Vec<(&Hold, Touch)> = others
            .iter()
            .filter_map(|h| Some((*h, touch(h, &r)?)))
            .collect();
        let is_whole = |(h, touch): &&(&Hold, Touch)| {
            let span = r.stats.min.zip(r.stats.max);
            *touch == Touch::Whole
                && h.done
                && span.is_some_and(|span| h.restored.covers((asked.from, asked.to), span))
        };
        match (touching.first(), touching.iter().find(is_whole)) {
            (None, _) => todo.push(r),
            (_, Some((hold, _))) => done.push(*hold),
            (Some((hold, _)), None) => return RestoreProgress::Overlaps((*hold).clone()),
        }
    }
    // The one that lasts longest speaks for all.
    match done.into_iter().max_by_key(|h| h.until) {
        Some(hold) if todo.is_empty() && hold.is_active(now) => RestoreProgress::Done(hold.clone()),
        Some(hold) if todo.is_empty() => RestoreProgress::Over(hold.clone()),
        _ => RestoreProgress::New(todo, meant.into_iter().map(|h| h.id).collect()),
    }
}

/// How much of an object's rows a hold may have brought, as far as ids tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touch {
    /// All within its range.
    Whole,
    Part,
}

fn touch(hold: &Hold, receipt: &Receipt) -> Option<Touch> {
    // An older version forgot what it had brought: it may have been anything in its range.
    let Some(brought) = hold.brings() else {
        return Some(Touch::Whole);
    };
    if brought.contains(&receipt.id)
        || (!receipt.again_of.is_empty() && receipt.again_of.is_subset(&brought))
    {
        return Some(Touch::Whole);
    }
    (!receipt.again_of.is_disjoint(&brought)).then_some(Touch::Part)
}

/// The files that the rows of `receipts` go to. Their names are the same each time that this hold's
/// restore is tried, and no other's. `recorded` are those of the hold, where it has begun: an older
/// version may have chosen other folders.
pub fn files(tenant: &Tenant, hold: FileId, receipts: &[Receipt], recorded: &[Key]) -> Vec<Wanted> {
    let known: BTreeMap<FileId, &Key> = recorded
        .iter()
        .filter_map(|key| Some((names::parse_restored_key(key)?.1, key)))
        .collect();
    receipts
        .iter()
        .map(|r| Wanted {
            receipt: r.clone(),
            file: known.get(&r.id).map_or_else(
                || names::restored_key(tenant, &r.tenant, &r.key, r.id, hold),
                |key| (*key).clone(),
            ),
        })
        .collect()
}

/// The oldest row that comes back.
pub fn oldest(receipts: &[Receipt], from: Option<Micros>) -> Micros {
    let oldest = receipts
        .iter()
        .filter_map(|r| r.stats.min)
        .min()
        .unwrap_or(Micros(0));
    from.map_or(oldest, |from| oldest.max(from))
}

/// How long S3 or Azure takes to thaw an object, in minutes from and to, as its documentation has it;
/// none for a class that does not freeze.
///
/// Sources: Amazon S3 User Guide, "Understanding archive retrieval options" (2026); Microsoft Learn,
/// "Rehydrate blob data from the archive tier" (2026), which has a High priority and a Standard one.
pub fn thaw_minutes(class: &str, tier: Tier) -> Option<(u32, u32)> {
    const HOUR: u32 = 60;
    match (class, tier) {
        ("GLACIER", Tier::Expedited) => Some((1, 5)),
        ("GLACIER", Tier::Standard) => Some((3 * HOUR, 5 * HOUR)),
        ("GLACIER", Tier::Bulk) => Some((5 * HOUR, 12 * HOUR)),
        ("DEEP_ARCHIVE", Tier::Expedited | Tier::Standard) => Some((9 * HOUR, 12 * HOUR)),
        ("DEEP_ARCHIVE", Tier::Bulk) => Some((12 * HOUR, 48 * HOUR)),
        ("Archive", Tier::Expedited) => Some((0, HOUR)),
        ("Archive", Tier::Standard | Tier::Bulk) => Some((0, 15 * HOUR)),
        _ => None,
    }
}

/// What reading an object back costs: its retrieval, the request, and, where it must be thawed, the
/// request for that (which S3 bills about like a PUT of the class) and its copy in STANDARD for
/// `days` days. None where `prices` does not have it; Expedited is in no list of ours.
pub fn cost(prices: &Prices, class: &str, size: u64, thaw: Option<(Tier, u16)>) -> Option<f64> {
    let price = prices.class(class)?;
    // GB as AWS bills them.
    let gb = size as f64 / f64::from(1 << 30);
    let kept = |days: u16| {
        prices
            .classes
            .get(STANDARD)
            .map(|s| gb * s.storage * f64::from(days) / 30.0 + price.put / 1_000.0)
    };
    let (retrieval, kept) = match thaw {
        None => (price.retrieval, 0.0),
        Some((Tier::Standard, days)) => (price.retrieval, kept(days)?),
        Some((Tier::Bulk, days)) => (price.retrieval_bulk, kept(days)?),
        Some((Tier::Expedited, _)) => return None,
    };
    Some(gb * retrieval + price.get / 1_000.0 + kept)
}

/// The tier to ask for an object of a class: DEEP_ARCHIVE knows no Expedited.
pub fn tier_for(class: &str, wanted: Tier) -> Tier {
    if class == "DEEP_ARCHIVE" && wanted == Tier::Expedited {
        Tier::Standard
    } else {
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::file::RowStats;
    use chrono::TimeDelta;
    use ulid::Ulid;

    fn id(n: u64) -> FileId {
        FileId(Ulid::from_parts(n, 0))
    }

    fn acme() -> Tenant {
        Tenant::parse("acme").unwrap()
    }

    fn receipt(n: u64, min: i64, max: i64) -> Receipt {
        Receipt {
            format: 1,
            tenant: acme(),
            key: names::archive_key(
                &names::Place::Month(acme()),
                &acme(),
                Micros(min),
                Micros(max),
                id(n),
            ),
            id: id(n),
            size: 1,
            etag: None,
            storage_class: None,
            checksum: None,
            verified: None,
            schema: None,
            manifest_version: None,
            archive: "s3://cold".into(),
            stats: RowStats {
                rows: 1,
                min: Some(Micros(min)),
                max: Some(Micros(max)),
                ..RowStats::default()
            },
            sources: Vec::new(),
            again_of: Default::default(),
            run_id: id(1),
            at: DateTime::UNIX_EPOCH,
            timestamp_column: None,
            writer: String::new(),
        }
    }

    #[test]
    fn objects_are_chosen_by_what_they_overlap() {
        let all = || vec![receipt(3, 20, 30), receipt(1, 0, 10), receipt(2, 10, 20)];
        let chosen = |from: Option<i64>, to: Option<i64>| {
            select(all(), from.map(Micros), to.map(Micros))
                .iter()
                .map(|r| r.id)
                .collect::<Vec<_>>()
        };
        assert_eq!(chosen(None, None), [id(1), id(2), id(3)]);
        assert_eq!(
            chosen(Some(10), Some(20)),
            [id(1), id(2)],
            "the end is not in the range, the newest row is in the object"
        );
        assert_eq!(chosen(Some(31), None), []);
        assert_eq!(chosen(None, Some(0)), []);
    }

    fn ids(of: &[u64]) -> BTreeSet<FileId> {
        of.iter().map(|n| id(*n)).collect()
    }

    #[test]
    fn a_restore_brings_what_no_other_has_brought() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(10);
        let asked = |from: Option<i64>, to: Option<i64>| Restored {
            archive: "s3://cold".into(),
            tenant: acme(),
            from: from.map(Micros),
            to: to.map(Micros),
        };
        let hold = |done, days, objects: &[u64], restored| Hold {
            id: id(9),
            restored,
            oldest: Micros(0),
            until: DateTime::UNIX_EPOCH + TimeDelta::days(days),
            objects: ids(objects),
            files: Vec::new(),
            done,
        };
        let stands = |holds: &[Hold], restored: &Restored, again| {
            let mut head = Manifest::first(
                acme(),
                crate::model::manifest::Stamp {
                    run_id: id(1),
                    commit_id: id(1),
                    at: now,
                },
            );
            head.holds = holds.to_vec();
            progress(
                &head,
                restored,
                vec![receipt(1, 0, 10), receipt(2, 10, 20)],
                again,
                now,
            )
        };
        let new = |of: &[u64], again: &[u64]| {
            let all = [receipt(1, 0, 10), receipt(2, 10, 20)];
            RestoreProgress::New(
                all.into_iter()
                    .filter(|r| of.contains(&r.id.0.timestamp_ms()))
                    .collect(),
                again.iter().map(|n| id(*n)).collect(),
            )
        };
        let all = asked(None, None);
        assert_eq!(stands(&[], &all, false), new(&[1, 2], &[]));
        let begun = hold(false, 5, &[1], all.clone());
        assert_eq!(
            stands(std::slice::from_ref(&begun), &all, false),
            RestoreProgress::Begun(begun.clone())
        );
        assert_eq!(
            stands(std::slice::from_ref(&begun), &asked(Some(5), None), false),
            RestoreProgress::Overlaps(begun)
        );
        let (done, over) = (
            hold(true, 11, &[1, 2], all.clone()),
            hold(true, 5, &[1, 2], all.clone()),
        );
        assert_eq!(
            stands(std::slice::from_ref(&done), &all, false),
            RestoreProgress::Done(done.clone())
        );
        assert_eq!(
            stands(std::slice::from_ref(&done), &all, true),
            RestoreProgress::Done(done.clone()),
            "while it is held, it is there"
        );
        assert_eq!(
            stands(std::slice::from_ref(&over), &all, false),
            RestoreProgress::Over(over.clone())
        );
        assert_eq!(
            stands(std::slice::from_ref(&over), &asked(Some(5), None), false),
            RestoreProgress::Over(over.clone()),
            "a part of it is over, too"
        );
        assert_eq!(
            stands(std::slice::from_ref(&over), &all, true),
            new(&[1, 2], &[9])
        );
        let moved = Hold {
            restored: Restored {
                archive: "s3://moved".into(),
                ..all.clone()
            },
            ..done
        };
        assert_eq!(
            stands(std::slice::from_ref(&moved), &all, false),
            RestoreProgress::Done(moved),
            "ids tell, not names"
        );
        assert_eq!(
            stands(&[hold(true, 5, &[2], all.clone())], &all, false),
            new(&[1], &[]),
            "the archive has got another object since"
        );
        // A range that cuts an object in two.
        let late = hold(true, 11, &[2], asked(Some(15), None));
        assert_eq!(
            stands(std::slice::from_ref(&late), &all, false),
            RestoreProgress::Overlaps(late.clone())
        );
        assert_eq!(
            stands(std::slice::from_ref(&late), &asked(None, Some(15)), false),
            new(&[1, 2], &[])
        );
        assert_eq!(
            stands(
                std::slice::from_ref(&late),
                &asked(Some(15), Some(30)),
                false
            ),
            new(&[1], &[]),
            "object 2 is there as far as it is asked for"
        );
        let forgotten = hold(true, 5, &[], all.clone());
        assert_eq!(
            stands(std::slice::from_ref(&forgotten), &all, false),
            RestoreProgress::Over(forgotten),
            "an older version did not say what it brought"
        );
    }

    #[test]
    fn of_rows_that_are_in_two_objects_one_is_taken() {
        let again = |n: u64, of: &[u64]| Receipt {
            again_of: ids(of),
            ..receipt(n, 0, 10)
        };
        let kept = |all: Vec<Receipt>| {
            distinct(all)
                .into_iter()
                .map(|r| r.id.0.timestamp_ms())
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(
            kept(vec![
                again(3, &[1, 2]),
                receipt(1, 0, 10),
                receipt(2, 0, 10)
            ]),
            BTreeSet::from([1, 2])
        );
        assert_eq!(
            kept(vec![again(3, &[1, 2]), receipt(1, 0, 10)]),
            BTreeSet::from([1, 3]),
            "it may hold rows of one that is gone"
        );
        assert_eq!(
            kept(vec![again(4, &[3]), again(3, &[1]), receipt(1, 0, 10)]),
            BTreeSet::from([1]),
            "twice over"
        );
        assert_eq!(
            kept(vec![again(4, &[3]), again(3, &[1])]),
            BTreeSet::from([3]),
            "the first is gone, the second has the rows of the third"
        );
        assert_eq!(
            kept(vec![again(3, &[4]), again(4, &[3])]),
            BTreeSet::from([3]),
            "no receipt is like that; rows stay all the same"
        );
        assert_eq!(kept(vec![again(3, &[3])]), BTreeSet::from([3]));
    }

    #[test]
    fn files_are_raw_files_of_the_tenant_they_go_to() {
        let into = Tenant::parse("restored-acme").unwrap();
        let files = files(&into, id(7), &[receipt(1, 0, 10), receipt(2, 10, 20)], &[]);
        assert_eq!(
            files[0].file,
            format!(
                "restored-acme/1970-01/restored.acme.{}.{}.parquet",
                id(1),
                id(7)
            )
        );
        assert_ne!(files[0].file, files[1].file);
        assert!(
            files
                .iter()
                .all(|f| names::classify(&into, &f.file) == names::FileKind::Raw)
        );
    }

    #[test]
    fn reading_back_has_its_price() {
        let prices = Prices::default();
        let gb = 1 << 30;
        let is = |found: Option<f64>, wanted: f64| {
            assert!((found.unwrap() - wanted).abs() < 1e-9, "{found:?} {wanted}")
        };
        // 1 GB × 0.0025 + (0.0004 + 0.05) / 1000 + 1 GB × 0.023 × 15 / 30
        is(
            cost(&prices, "DEEP_ARCHIVE", gb, Some((Tier::Bulk, 15))),
            0.0025 + 0.000_050_4 + 0.0115,
        );
        is(cost(&prices, "GLACIER_IR", 2 * gb, None), 0.06 + 0.000_01);
        is(cost(&prices, "STANDARD", gb, None), 0.000_000_4);
        assert_eq!(
            cost(&prices, "GLACIER", gb, Some((Tier::Expedited, 1))),
            None
        );
        assert_eq!(cost(&prices, "HOUSE_BRAND", gb, None), None);
    }

    #[test]
    fn thawing_takes_its_time() {
        assert_eq!(thaw_minutes("GLACIER_IR", Tier::Bulk), None);
        assert_eq!(thaw_minutes("Archive", Tier::Bulk), Some((0, 15 * 60)));
        assert_eq!(
            thaw_minutes("ARCHIVE", Tier::Bulk),
            None,
            "Google's is read at once"
        );
        assert_eq!(thaw_minutes("DEEP_ARCHIVE", Tier::Bulk), Some((720, 2880)));
        assert_eq!(tier_for("DEEP_ARCHIVE", Tier::Expedited), Tier::Standard);
        assert_eq!(tier_for("GLACIER", Tier::Expedited), Tier::Expedited);
    }
}
