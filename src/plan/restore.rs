//! Which archive objects a restore reads, what it calls the files that it writes, and how long thawing takes. Pure.

use chrono::{DateTime, Utc};

use crate::model::file::Micros;
use crate::model::hold::{Hold, Restored};
use crate::model::manifest::{Manifest, Receipt};
use crate::model::names::{self, FileId, Tenant};
use crate::model::price::{Prices, STANDARD};
use crate::model::restore::{Tier, Wanted};

/// The receipts of objects that hold rows of `from..to`, by time. Nothing undated is ever archived, so that times tell it all.
pub fn select(mut receipts: Vec<Receipt>, from: Option<Micros>, to: Option<Micros>) -> Vec<Receipt> {
    let after = |r: &Receipt| from.is_none_or(|from| r.stats.max.is_none_or(|max| max >= from));
    let before = |r: &Receipt| to.is_none_or(|to| r.stats.min.is_none_or(|min| min < to));
    receipts.retain(|r| after(r) && before(r));
    receipts.sort_by(|a, b| (a.stats.min, &a.key).cmp(&(b.stats.min, &b.key)));
    receipts
}

/// What a restore of `receipts` into `tenant` has to do with the holds of its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is new.
    New,
    /// An earlier attempt broke off: it goes on with that hold.
    Begun(Hold),
    /// It was done, and the rows are held.
    Done(Hold),
    /// It was done, and its hold is over: the rows may still live.
    Over(Hold),
    /// Some of its rows were, or are being, brought back by a restore of another range.
    Overlaps(Hold),
}

/// Finds the same restore among the holds of `head`.
pub fn standing(head: &Manifest, restored: &Restored, now: DateTime<Utc>) -> Standing {
    let same = head.holds.iter().find(|h| h.restored == *restored);
    let overlapping = || head.holds.iter().find(|h| h.restored.overlaps(restored) && !h.files.is_empty());
    match same.cloned() {
        None => overlapping().map_or(Standing::New, |h| Standing::Overlaps(h.clone())),
        Some(hold) if !hold.done => Standing::Begun(hold),
        Some(hold) if hold.is_active(now) => Standing::Done(hold),
        Some(hold) => Standing::Over(hold),
    }
}

/// The files that the rows of `receipts` go to. Their names are the same each time that this hold's restore is tried, and no other's.
pub fn files(tenant: &Tenant, hold: FileId, receipts: &[Receipt], from: Option<Micros>) -> Vec<Wanted> {
    let first = |r: &Receipt| r.stats.min.unwrap_or(Micros(0)).max(from.unwrap_or(Micros(i64::MIN)));
    receipts.iter().map(|r| Wanted { receipt: r.clone(), file: names::restored_key(tenant, &r.tenant, first(r), r.id, hold) }).collect()
}

/// The oldest row that comes back.
pub fn oldest(receipts: &[Receipt], from: Option<Micros>) -> Micros {
    let oldest = receipts.iter().filter_map(|r| r.stats.min).min().unwrap_or(Micros(0));
    from.map_or(oldest, |from| oldest.max(from))
}

/// How long S3 takes to thaw an object, in minutes from and to, as its documentation has it; none for a class that does not freeze.
///
/// Source: Amazon S3 User Guide, "Understanding archive retrieval options" (2026).
pub fn thaw_minutes(class: &str, tier: Tier) -> Option<(u32, u32)> {
    const HOUR: u32 = 60;
    match (class, tier) {
        ("GLACIER", Tier::Expedited) => Some((1, 5)),
        ("GLACIER", Tier::Standard) => Some((3 * HOUR, 5 * HOUR)),
        ("GLACIER", Tier::Bulk) => Some((5 * HOUR, 12 * HOUR)),
        ("DEEP_ARCHIVE", Tier::Expedited | Tier::Standard) => Some((9 * HOUR, 12 * HOUR)),
        ("DEEP_ARCHIVE", Tier::Bulk) => Some((12 * HOUR, 48 * HOUR)),
        _ => None,
    }
}

/// What reading an object back costs: its retrieval, the request, and, where it must be thawed, the request for that (which S3 bills about like a PUT of the class)
/// and its copy in STANDARD for `days` days. None where `prices` does not have it; Expedited is in no list of ours.
pub fn cost(prices: &Prices, class: &str, size: u64, thaw: Option<(Tier, u16)>) -> Option<f64> {
    let price = prices.classes.get(class)?;
    // GB as AWS bills them.
    let gb = size as f64 / f64::from(1 << 30);
    let kept = |days: u16| prices.classes.get(STANDARD).map(|s| gb * s.storage * f64::from(days) / 30.0 + price.put / 1_000.0);
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
    if class == "DEEP_ARCHIVE" && wanted == Tier::Expedited { Tier::Standard } else { wanted }
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
            key: names::archive_key(&acme(), Micros(min), Micros(max), id(n)),
            id: id(n),
            size: 1,
            etag: None,
            storage_class: None,
            checksum: None,
            verified: None,
            schema: None,
            manifest_version: None,
            archive: "s3://cold".into(),
            stats: RowStats { rows: 1, min: Some(Micros(min)), max: Some(Micros(max)), ..RowStats::default() },
            sources: Vec::new(),
            run_id: id(1),
            at: DateTime::UNIX_EPOCH,
            timestamp_column: None,
            writer: String::new(),
        }
    }

    #[test]
    fn objects_are_chosen_by_what_they_overlap() {
        let all = || vec![receipt(3, 20, 30), receipt(1, 0, 10), receipt(2, 10, 20)];
        let chosen = |from: Option<i64>, to: Option<i64>| select(all(), from.map(Micros), to.map(Micros)).iter().map(|r| r.id).collect::<Vec<_>>();
        assert_eq!(chosen(None, None), [id(1), id(2), id(3)]);
        assert_eq!(chosen(Some(10), Some(20)), [id(1), id(2)], "the end is not in the range, the newest row is in the object");
        assert_eq!(chosen(Some(31), None), []);
        assert_eq!(chosen(None, Some(0)), []);
    }

    #[test]
    fn the_same_restore_is_recognised_as_long_as_it_matters() {
        let restored = Restored { archive: "s3://cold".into(), tenant: acme(), from: None, to: None };
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(10);
        let hold = |done, days| Hold {
            id: id(9),
            restored: restored.clone(),
            oldest: Micros(0),
            until: DateTime::UNIX_EPOCH + TimeDelta::days(days),
            files: Vec::new(),
            done,
        };
        let mut head = Manifest::first(acme(), crate::model::manifest::Stamp { run_id: id(1), commit_id: id(1), at: now });
        assert_eq!(standing(&head, &restored, now), Standing::New);
        for (hold, wanted) in [
            (hold(false, 5), Standing::Begun(hold(false, 5))),
            (hold(true, 11), Standing::Done(hold(true, 11))),
            (hold(true, 5), Standing::Over(hold(true, 5))),
        ] {
            head.holds = vec![hold];
            assert_eq!(standing(&head, &restored, now), wanted);
        }
        let later =
            |files: Vec<String>| Hold { restored: Restored { from: Some(Micros(10)), to: Some(Micros(20)), ..restored.clone() }, files, ..hold(true, 11) };
        let of = |from: i64, to: i64| Restored { from: Some(Micros(from)), to: Some(Micros(to)), ..restored.clone() };
        head.holds = vec![later(vec!["acme/x.parquet".into()])];
        assert_eq!(standing(&head, &of(0, 10), now), Standing::New);
        assert_eq!(standing(&head, &of(20, 30), now), Standing::New);
        assert_eq!(standing(&head, &of(19, 30), now), Standing::Overlaps(head.holds[0].clone()));
        assert_eq!(standing(&head, &restored, now), Standing::Overlaps(head.holds[0].clone()));
        head.holds = vec![later(Vec::new())];
        assert_eq!(standing(&head, &restored, now), Standing::New, "a hold that is over is in nobody's way");
    }

    #[test]
    fn files_are_raw_files_of_the_tenant_they_go_to() {
        let into = Tenant::parse("restored-acme").unwrap();
        let files = files(&into, id(7), &[receipt(1, 0, 10), receipt(2, 10, 20)], None);
        assert_eq!(files[0].file, format!("restored-acme/1970-01/restored.acme.{}.{}.parquet", id(1), id(7)));
        assert_ne!(files[0].file, files[1].file);
        assert!(files.iter().all(|f| names::classify(&into, &f.file) == names::FileKind::Raw));
    }

    #[test]
    fn reading_back_has_its_price() {
        let prices = Prices::default();
        let gb = 1 << 30;
        let is = |found: Option<f64>, wanted: f64| assert!((found.unwrap() - wanted).abs() < 1e-9, "{found:?} {wanted}");
        // 1 GB × 0.0025 + (0.0004 + 0.05) / 1000 + 1 GB × 0.023 × 15 / 30
        is(cost(&prices, "DEEP_ARCHIVE", gb, Some((Tier::Bulk, 15))), 0.0025 + 0.000_050_4 + 0.0115);
        is(cost(&prices, "GLACIER_IR", 2 * gb, None), 0.06 + 0.000_01);
        is(cost(&prices, "STANDARD", gb, None), 0.000_000_4);
        assert_eq!(cost(&prices, "GLACIER", gb, Some((Tier::Expedited, 1))), None);
        assert_eq!(cost(&prices, "HOUSE_BRAND", gb, None), None);
    }

    #[test]
    fn thawing_takes_its_time() {
        assert_eq!(thaw_minutes("GLACIER_IR", Tier::Bulk), None);
        assert_eq!(thaw_minutes("DEEP_ARCHIVE", Tier::Bulk), Some((720, 2880)));
        assert_eq!(tier_for("DEEP_ARCHIVE", Tier::Expedited), Tier::Standard);
        assert_eq!(tier_for("GLACIER", Tier::Expedited), Tier::Expedited);
    }
}
