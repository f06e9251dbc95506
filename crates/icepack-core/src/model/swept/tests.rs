use std::collections::BTreeMap;

use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;

fn day(n: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000 + n)
}

fn content(n: u128) -> Option<ContentHash> {
    Some(ContentHash::of(3, Fingerprint(n)))
}

fn remember(names: &mut SweptNames, n: i64, keys: &[&str]) {
    names.remember(day(n), keys.iter().map(|key| (*key, content(7))));
}

fn json(names: &SweptNames) -> String {
    serde_json::to_string(names).unwrap()
}

#[test]
fn a_name_is_found_with_what_is_known_of_its_rows() {
    let mut names = SweptNames::default();
    names.remember(
        day(0),
        [("acme/a.parquet", content(1)), ("acme/b.parquet", None)],
    );
    let found = |key: &str| names.get(key).map(|swept| swept.content);
    assert_eq!(found("acme/a.parquet"), Some(content(1)));
    assert_eq!(found("acme/b.parquet"), Some(None));
    assert_eq!(found("acme/c.parquet"), None);
    assert_eq!(
        names.get("acme/a.parquet").unwrap().day,
        day(0).date_naive()
    );
    assert_ne!(content(1), content(2));
    assert_ne!(
        ContentHash::of(3, Fingerprint(1)),
        ContentHash::of(4, Fingerprint(1))
    );
}

#[test]
fn what_is_forgotten_again_is_known_by_its_newest_rows() {
    let mut names = SweptNames::default();
    names.remember(day(0), [("a", content(1)), ("b", content(1))]);
    names.remember(day(1), [("a", content(2))]);
    assert_eq!(
        (names.len(), names.get("a").unwrap().content),
        (2, content(2))
    );
    names.forget(&["a", "c"].into());
    assert_eq!((names.len(), names.get("a")), (1, None));
    names.forget(&["b"].into());
    assert_eq!(
        names,
        SweptNames::default(),
        "nothing is left of a day without names"
    );
}

/// What manifests hold: a change of it needs a new format.
#[test]
fn it_is_stored_by_the_day_as_pairs_of_hashes() {
    let mut names = SweptNames::default();
    names.remember(day(0), [("acme/a.parquet", None)]);
    assert_eq!(
        json(&names),
        r#"[{"day":"2024-10-04","names":"0liN4DPSmIcAAAAAAAAAAA=="}]"#
    );
    for wrong in [
        r#"[{"day":"2024-10-04","names":"?"}]"#,
        r#"[{"day":"2024-10-04","names":"AAAA"}]"#,
        r#"[{"day":"yesterday","names":""}]"#,
    ] {
        assert!(
            serde_json::from_str::<SweptNames>(wrong).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn a_million_names_take_less_than_22_bytes_each() {
    let mut names = SweptNames::default();
    let keys: Vec<String> = (0..1_000_000)
        .map(|n| format!("acme/dt=2026-11-01/part-{n:08}.parquet"))
        .collect();
    for (n, part) in keys.chunks(keys.len() / 3 + 1).enumerate() {
        let part = part.iter().map(|key| (key.as_str(), content(1)));
        names.remember(day(n as i64), part);
    }
    let stored = json(&names);
    assert_eq!(names.len(), keys.len(), "no two hashes are the same");
    assert!(stored.len() < 22 * keys.len(), "{} bytes", stored.len());
    let read: SweptNames = serde_json::from_str(&stored).unwrap();
    assert_eq!(read, names);
    assert!(keys.iter().step_by(997).all(|key| read.get(key).is_some()));
    assert_eq!(read.get("acme/dt=2026-11-01/part-x.parquet"), None);
}

#[test]
fn a_name_is_remembered_for_thirty_days_and_until_others_were_swept_on_as_many() {
    let mut names = SweptNames::default();
    remember(&mut names, 0, &["first"]);
    for n in 1..=30 {
        remember(&mut names, n, &[&format!("of day {n}")]);
        assert!(names.get("first").is_some(), "day {n}");
    }
    remember(&mut names, 31, &["last"]);
    assert_eq!(names.get("first"), None);
    assert!(names.get("of day 1").is_some());

    // Where nothing is swept, nothing is forgotten.
    let mut names = SweptNames::default();
    remember(&mut names, 0, &["first"]);
    remember(&mut names, 400, &["second"]);
    assert!(names.get("first").is_some());
}

#[test]
fn a_clock_that_is_years_wrong_ends_the_memory_of_a_day_at_most() {
    let full = {
        let mut names = SweptNames::default();
        for n in 0..31 {
            remember(&mut names, n, &[&format!("of day {n}")]);
        }
        names
    };
    let known = |names: &SweptNames| {
        (0..31)
            .filter(|n| names.get(&format!("of day {n}")).is_some())
            .count()
    };
    for wrong in [4_000, -4_000] {
        let mut names = full.clone();
        for i in 0..100 {
            remember(&mut names, wrong, &[&format!("by a wrong clock {i}")]);
            assert_eq!(known(&names), 30, "{wrong}");
        }
        // What the wrong clock dated is remembered as long as all else.
        for n in 31..61 {
            remember(&mut names, n, &[&format!("of day {n}")]);
        }
        assert!(names.get("by a wrong clock 0").is_some());
    }
    // Two runners whose clocks differ add two days, however often they take turns.
    let mut names = full;
    for i in 0..100 {
        remember(&mut names, 31 + i % 2 * 4_000, &[&format!("turn {i}")]);
    }
    assert_eq!(known(&names), 29);
}

proptest! {
    /// Against a map from names to what was last said of them.
    #[test]
    fn it_is_a_map_that_survives_being_stored(
        steps in proptest::collection::vec((0..40_i64, 0..12_u8, 0..4_u128, any::<bool>()), 0..60)
    ) {
        let (mut names, mut model) = (SweptNames::default(), BTreeMap::new());
        let mut days: Vec<i64> = Vec::new();
        for (n, key, rows, forget) in steps {
            let key = format!("{key}");
            if forget {
                names.forget(&[key.as_str()].into());
                model.remove(&key);
                continue;
            }
            days.push(n);
            let rows = (rows > 0).then(|| ContentHash::of(1, Fingerprint(rows)));
            names.remember(day(n), [(key.as_str(), rows)]);
            model.insert(key, rows);
        }
        days.sort_unstable();
        days.dedup();
        names = serde_json::from_str(&json(&names)).unwrap();
        for key in 0..12_u8 {
            let key = format!("{key}");
            let found = names.get(&key).map(|swept| swept.content);
            // Of few days, nothing is dropped.
            if days.len() <= DAYS {
                prop_assert_eq!(found, model.get(&key).copied());
            } else {
                prop_assert!(found.is_none() || found == model.get(&key).copied());
            }
        }
    }
}
