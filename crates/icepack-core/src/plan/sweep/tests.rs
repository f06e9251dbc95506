use chrono::DateTime;
use ulid::Ulid;

use super::*;
use crate::model::adopted::Adopted;
use crate::model::file::{Fingerprint, Micros, RowStats, Snapshot};
use crate::model::hold::Restored;
use crate::model::manifest::{Found, Manifest, Quarantined, Receipt, RetireReason, Retired, Stamp};
use crate::model::names::{Place, Tenant, snapshot_key};
use crate::model::swept::ContentHash;

const HOUR: u64 = 3_600_000;

fn at(ms: u64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(i64::try_from(ms).unwrap()).unwrap()
}

fn id(ms: u64) -> FileId {
    FileId(Ulid::from_parts(ms, 7))
}

fn output(ms: u64) -> Key {
    let tenant = Tenant::parse("acme").unwrap();
    snapshot_key(
        &Place::Month(tenant.clone()),
        &tenant,
        Micros(0),
        Micros(0),
        id(ms),
    )
}

fn listed(key: &str, etag: &str) -> Listed {
    Listed {
        key: key.into(),
        size: 1,
        etag: Some(etag.into()),
        modified: at(0),
    }
}

fn head(floor: u64) -> Manifest {
    let mut m = Manifest::first(
        Tenant::parse("acme").unwrap(),
        Stamp {
            run_id: id(1),
            commit_id: id(1),
            at: at(0),
        },
    );
    m.floor = id(floor);
    m.snapshots.push(Snapshot {
        key: output(50 * HOUR),
        id: id(50 * HOUR),
        size: 1,
        etag: None,
        schema: None,
        dated_by: Some("timestamp".into()),
        stats: RowStats::default(),
    });
    for (key, when) in [("acme/a.parquet", 10 * HOUR), ("acme/b.parquet", 20 * HOUR)] {
        m.retired.push(Retired {
            key: key.into(),
            size: 1,
            etag: Some("e".into()),
            rows: 1,
            fingerprint: None,
            remembered: None,
            found: None,
            at: at(when),
            reason: RetireReason::Compacted,
        });
    }
    m
}

/// Head and a listing; head's snapshot is there.
fn evidence(head: Manifest, listing: &[Listed]) -> Evidence {
    let mut listing = listing.to_vec();
    if !listing.iter().any(|f| f.key == output(50 * HOUR)) {
        listing.push(listed(&output(50 * HOUR), "e"));
    }
    Evidence::new(
        Inventory {
            head: Some(head),
            listing,
        },
        &BTreeSet::new(),
    )
    .unwrap()
}

#[test]
fn only_what_head_retired_and_the_listing_shows_unchanged_is_deleted() {
    let listing = [
        listed("acme/a.parquet", "e"),
        listed("acme/b.parquet", "replaced"),
        listed("acme/c.parquet", "e"),
        listed(&output(50 * HOUR), "e"),
    ];
    assert_eq!(
        deletable(&evidence(head(0), &listing), at(30 * HOUR), Duration::ZERO),
        ["acme/a.parquet"]
    );
    assert_eq!(
        deletable(&evidence(head(0), &[]), at(30 * HOUR), Duration::ZERO),
        Vec::<Key>::new()
    );
    let untagged = Listed {
        etag: None,
        ..listed("acme/a.parquet", "")
    };
    assert_eq!(
        deletable(
            &evidence(head(0), &[untagged]),
            at(30 * HOUR),
            Duration::ZERO
        ),
        Vec::<Key>::new(),
        "an unknown tag is no proof"
    );
}

#[test]
fn files_whose_rows_are_in_an_object_without_a_receipt_wait() {
    let receipt = |n: u64, sources: &[&str]| {
        let (tenant, stats) = (Tenant::parse("acme").unwrap(), RowStats::default());
        let key = crate::model::names::archive_key(
            &Place::Month(tenant.clone()),
            &tenant,
            Micros(0),
            Micros(0),
            id(n),
        );
        Receipt {
            sources: sources.iter().map(|s| (*s).to_owned()).collect(),
            ..Receipt::new(tenant, id(n), key, 1, stats, "s3://cold", id(1))
        }
    };
    let (first, second) = (
        receipt(1, &["acme/a.parquet"]),
        receipt(2, &["acme/b.parquet"]),
    );
    let owing = Manifest {
        archives: vec![first.clone(), second.clone()],
        ..head(0)
    };
    let filed = |of: &[&Receipt]| of.iter().map(|r| r.key.clone()).collect::<BTreeSet<_>>();
    assert_eq!(
        withheld(&owing, &filed(&[])),
        BTreeSet::from(["acme/a.parquet", "acme/b.parquet"])
    );
    assert_eq!(
        withheld(&owing, &filed(&[&first])),
        BTreeSet::from(["acme/b.parquet"])
    );
    assert_eq!(
        withheld(&owing, &filed(&[&first, &second])),
        BTreeSet::new()
    );
    let silent = receipt(3, &[]);
    let owing = Manifest {
        archives: vec![silent.clone()],
        ..head(0)
    };
    assert_eq!(
        withheld(&owing, &filed(&[])),
        owing.retired_keys(),
        "any of them may be its source"
    );
    assert_eq!(withheld(&owing, &filed(&[&silent])), BTreeSet::new());
}

#[test]
fn the_delete_delay_counts_from_the_commit() {
    let listing = [listed("acme/a.parquet", "e"), listed("acme/b.parquet", "e")];
    let due = |now, hours: u64| {
        deletable(
            &evidence(head(0), &listing),
            at(now),
            Duration::from_secs(hours * 3600),
        )
    };
    assert_eq!(due(21 * HOUR, 11), ["acme/a.parquet"]);
    assert_eq!(due(20 * HOUR, 11), Vec::<Key>::new());
    assert_eq!(due(31 * HOUR, 11), ["acme/a.parquet", "acme/b.parquet"]);
}

#[test]
fn a_damaged_manifest_cannot_make_us_delete_what_is_live_or_not_ours() {
    let mut m = head(0);
    for key in [
        output(50 * HOUR),
        "other/x.parquet".into(),
        "acme/.notes.txt".into(),
        "acme/x.receipt.json".into(),
        "_icepack/acme/manifest/1.json".into(),
    ] {
        m.retired.push(Retired {
            key,
            size: 1,
            etag: Some("e".into()),
            rows: 1,
            fingerprint: None,
            remembered: None,
            found: None,
            at: at(0),
            reason: RetireReason::Compacted,
        });
    }
    let listing: Vec<_> = m.retired.iter().map(|r| listed(&r.key, "e")).collect();
    assert_eq!(
        deletable(
            &evidence(m.clone(), &listing),
            at(90 * HOUR),
            Duration::ZERO
        ),
        ["acme/a.parquet", "acme/b.parquet"]
    );
}

#[test]
fn orphans_wait_for_a_committed_floor() {
    let (old, new) = (output(10 * HOUR), output(40 * HOUR));
    let listing = [
        listed(&old, "e"),
        listed(&new, "e"),
        listed(&output(50 * HOUR), "e"),
        listed("acme/raw.parquet", "e"),
    ];
    assert_eq!(orphans(&head(0), &listing).len(), 2);
    assert_eq!(collectable(&evidence(head(0), &listing)), Vec::<Key>::new());
    assert_eq!(collectable(&evidence(head(20 * HOUR), &listing)), [old]);
    // Live outputs are below the floor too, and stay.
    assert_eq!(collectable(&evidence(head(60 * HOUR), &listing)).len(), 2);
}

#[test]
fn the_floor_rises_only_for_something_and_by_the_stores_clock() {
    let orphans = [id(10 * HOUR)];
    let grace = Duration::from_secs(24 * 3600);
    assert_eq!(
        next_floor(&evidence(head(0), &[]), &orphans, at(30 * HOUR), grace),
        None,
        "too young"
    );
    assert_eq!(
        next_floor(&evidence(head(0), &[]), &orphans, at(35 * HOUR), grace),
        Some(FileId::floor_at(at(11 * HOUR)))
    );
    assert_eq!(
        next_floor(&evidence(head(0), &[]), &[], at(90 * HOUR), grace),
        None,
        "no orphan"
    );
    assert_eq!(
        next_floor(
            &evidence(head(20 * HOUR), &[]),
            &orphans,
            at(35 * HOUR),
            grace
        ),
        None,
        "it never falls"
    );
}

#[test]
fn what_was_seen_gone_is_forgotten_and_what_a_listing_misses_is_not() {
    let mut m = head(0);
    for key in [
        "acme/bad.parquet",
        "acme/mended.parquet",
        "acme/worse.parquet",
    ] {
        m.quarantined.push(Quarantined {
            key: key.into(),
            size: 1,
            etag: Some("e".into()),
            reason: String::new(),
            at: at(0),
            cause: None,
        });
    }
    let listing = [
        listed("acme/b.parquet", "e"),
        listed("acme/bad.parquet", "e"),
        listed("acme/mended.parquet", "new"),
    ];
    let mended = ["acme/mended.parquet", "acme/worse.parquet"];
    assert_eq!(
        forgettable(&m, &listing, &BTreeSet::new()),
        mended,
        "the listing may be late"
    );
    let gone = ["acme/a.parquet".to_owned(), "acme/b.parquet".to_owned()].into();
    assert_eq!(
        forgettable(&m, &listing, &gone),
        [&["acme/a.parquet"], mended.as_slice()].concat(),
        "what is listed as it was retired was not deleted after all"
    );
    let listing = [listed("acme/b.parquet", "new")];
    assert!(
        forgettable(&m, &listing, &gone).contains(&"acme/b.parquet".to_owned()),
        "deleted, and another has come since"
    );
    assert!(
        !forgettable(&m, &listing, &BTreeSet::new()).contains(&"acme/b.parquet".to_owned()),
        "another tag alone says nothing"
    );
}

#[test]
fn a_file_under_a_retired_name_is_looked_at_once_under_each_tag() {
    let stands = |m: &Manifest, etag: Option<&str>| {
        let listing = [Listed {
            etag: etag.map(str::to_owned),
            ..listed("acme/a.parquet", "")
        }];
        match retired_states(m, &listing)[0].1 {
            RetiredState::Waiting => "waiting",
            RetiredState::Unlisted => "unlisted",
            RetiredState::Held => "held",
            RetiredState::Unsettled(_) => "unsettled",
            RetiredState::SetAside(_) => "set aside",
            RetiredState::Appended(_) => "appended",
        }
    };
    let mut m = head(0);
    assert_eq!(
        [
            stands(&m, Some("e")),
            stands(&m, Some("f")),
            stands(&m, None)
        ],
        ["waiting", "unsettled", "unsettled"]
    );
    let found = |etag: &str, verdict| {
        let etag = etag.to_owned();
        Some(Found { etag, verdict })
    };
    m.retired[0].found = found("f", Verdict::Append);
    assert_eq!(
        [
            stands(&m, Some("e")),
            stands(&m, Some("f")),
            stands(&m, Some("g"))
        ],
        ["waiting", "appended", "unsettled"]
    );
    m.retired[0].found = found("f", Verdict::Other);
    assert_eq!(
        [
            stands(&m, Some("e")),
            stands(&m, Some("f")),
            stands(&m, Some("g")),
            stands(&m, None)
        ],
        ["waiting", "set aside", "unsettled", "unsettled"]
    );
    m.retired[0].found = found("", Verdict::Unknown);
    assert_eq!(
        [stands(&m, Some("f")), stands(&m, None)],
        ["unsettled", "set aside"]
    );
    assert_eq!(retired_states(&m, &[])[0].1, RetiredState::Unlisted);

    // A pass has nothing to do about what is set aside; about everything else it has.
    m.retired.truncate(1);
    let due = |listing: &[Listed]| {
        is_due(
            &Inventory {
                head: Some(m.clone()),
                listing: listing.to_vec(),
            },
            &Policy::default(),
            at(90 * HOUR),
        )
    };
    assert!(!due(&[Listed {
        etag: None,
        ..listed("acme/a.parquet", "")
    }]));
    assert!(
        due(&[listed("acme/a.parquet", "f")]) && due(&[listed("acme/a.parquet", "e")]) && due(&[])
    );
}

#[test]
fn what_waits_for_readers_makes_no_sweep_due_before_it_is_free() {
    let mut m = head(0);
    m.retired.truncate(1);
    m.archives.clear();
    let retired = m.retired[0].at;
    let inventory = |listing: Vec<Listed>| Inventory {
        head: Some(m.clone()),
        listing,
    };
    let (waiting, gone) = (
        inventory(vec![listed("acme/a.parquet", "e")]),
        inventory(Vec::new()),
    );
    let keep = Duration::from_secs(7 * 86_400);
    let free = retired + TimeDelta::days(7);
    for (inventory, now, is_due) in [
        (&waiting, free - TimeDelta::milliseconds(1), false),
        (&waiting, free, true),
        (&gone, retired, true),
    ] {
        let found = is_due_where_kept(inventory, &Policy::default(), keep, now);
        assert_eq!(found, is_due, "{now}");
    }
    let for_ever = is_due_where_kept(&waiting, &Policy::default(), Duration::MAX, free);
    assert!(!for_ever);
}

/// Head that remembers the name `acme/a.parquet`, and of whose snapshot the listing shows a name.
fn remembering() -> Manifest {
    let mut m = head(0);
    m.retired.clear();
    m.swept.remember(
        at(10 * HOUR),
        [("acme/a.parquet", None), (&output(HOUR), None)],
    );
    m
}

#[test]
fn a_raw_file_whose_name_is_remembered_is_to_be_read() {
    let m = remembering();
    let again = listed("acme/a.parquet", "e");
    let listing = [
        again.clone(),
        listed("acme/b.parquet", "e"),
        listed(&output(HOUR), "e"),
    ];
    let states = retired_states(&m, &listing);
    let [(r, RetiredState::Unsettled(f))] = states.as_slice() else {
        panic!("{states:?}")
    };
    assert_eq!((*f, &r.key), (&again, &again.key));
    let inventory = Inventory {
        head: Some(m.clone()),
        listing: vec![again.clone()],
    };
    assert!(is_due(&inventory, &Policy::default(), at(90 * HOUR)));
    // Nothing else follows: it is neither deleted nor forgotten before it was read.
    assert_eq!(
        deletable(
            &evidence(m.clone(), &listing),
            at(90 * HOUR),
            Duration::ZERO
        ),
        Vec::<Key>::new()
    );
    let gone = [again.key.clone()].into();
    assert_eq!(forgettable(&m, &listing[1..], &gone), Vec::<Key>::new());
    assert_eq!(set_aside(&m, &listing), []);
}

#[test]
fn a_file_under_a_used_name_is_read_when_it_is_old_enough_and_once() {
    let mut m = remembering();
    let young = Listed {
        modified: at(20 * HOUR),
        ..listed("acme/a.parquet", "f")
    };
    let mut policy = Policy {
        min_raw_age: Duration::from_secs(2 * 3600),
        ..Policy::default()
    };
    let listing = [young];
    let reads = |m: &Manifest, policy: &Policy, hours: u64| {
        to_read(m, &listing, policy, at(hours * HOUR)).len()
    };
    assert_eq!(
        [19, 21, 22].map(|hours| reads(&m, &policy, hours)),
        [0, 0, 1]
    );
    // Set aside, it is read again only where it could be taken in: its rows are known to be others.
    for (verdict, again) in [
        (Verdict::Other, 1),
        (Verdict::Unknown, 0),
        (Verdict::Append, 0),
    ] {
        let mut r = Retired::remembered(
            "acme/a.parquet".into(),
            m.swept.get("acme/a.parquet").unwrap(),
        );
        r.found = Some(Found {
            etag: "f".into(),
            verdict,
        });
        m.retired = vec![r];
        policy.rewritten = Rewritten::SetAside;
        assert_eq!(reads(&m, &policy, 30), 0, "{verdict:?}");
        policy.rewritten = Rewritten::Append;
        assert_eq!(reads(&m, &policy, 30), again, "{verdict:?}");
    }
}

#[test]
fn a_file_that_is_set_aside_is_told_with_both_sides() {
    let (name, other) = ("acme/a.parquet".to_owned(), Some("f"));
    let mut m = remembering();
    let mut r = Retired::remembered(name.clone(), m.swept.get(&name).unwrap());
    r.found = Some(Found {
        etag: "f".into(),
        verdict: Verdict::Other,
    });
    assert_eq!(
        contested(&r, other),
        "a file of this name was compacted on 1970-01-01 (ETag unknown), this one has ETag f, and \
         of the rows of the first nothing is known: it is neither read nor deleted"
    );
    r.remembered = Some(ContentHash::of(1, Fingerprint(1)));
    assert_eq!(
        contested(&r, other),
        "a file of this name was compacted and is gone since 1970-01-01, this one has ETag f, and \
         other rows: it is neither taken in nor deleted; `compaction.rewritten = \"append\"` takes \
         such files in"
    );
    (r.etag, r.fingerprint, r.remembered) = (Some("e".into()), Some(Fingerprint(1)), None);
    assert_eq!(
        contested(&r, other),
        "a file of this name was compacted on 1970-01-01 (ETag e), this one has ETag f, and other \
         rows: it is neither taken in nor deleted; `compaction.rewritten = \"append\"` takes such \
         files in"
    );
    r.found = Some(Found {
        etag: "f".into(),
        verdict: Verdict::Unknown,
    });
    m.retired = vec![r];
    let listing = [listed(&name, "f")];
    assert_eq!(
        set_aside(&m, &listing),
        [(
            name,
            "a file of this name was compacted on 1970-01-01 (ETag e), this one has ETag f, and its \
             rows cannot be read: it is neither taken in nor deleted"
                .to_owned()
        )]
    );
}

/// The same restore may run twice at once. What the slower one writes last is no new file, though
/// the first was merged and deleted meanwhile.
#[test]
fn a_file_that_a_hold_names_is_remembered() {
    let mut m = head(0);
    m.retired.truncate(1);
    let restored = Restored {
        archive: "s3://cold".into(),
        tenant: m.tenant.clone(),
        from: None,
        to: None,
    };
    let files = vec!["acme/a.parquet".to_owned()];
    m.holds = vec![
        serde_json::from_value(serde_json::json!({
            "id": id(9), "restored": restored, "oldest": Micros(1), "until": at(80 * HOUR), "files": files, "done": true
        }))
        .unwrap(),
    ];
    let gone: BTreeSet<Key> = files.into_iter().collect();
    let due = |m: &Manifest, listing: &[Listed]| {
        is_due(
            &Inventory {
                head: Some(m.clone()),
                listing: listing.to_vec(),
            },
            &Policy::default(),
            at(70 * HOUR),
        )
    };
    assert_eq!(retired_states(&m, &[])[0].1, RetiredState::Held);
    assert_eq!(forgettable(&m, &[], &gone), Vec::<Key>::new());
    assert_eq!(
        forgettable(&m, &[listed("acme/a.parquet", "another")], &gone),
        Vec::<Key>::new(),
        "it is looked at, and then deleted"
    );
    assert!(!due(&m, &[]), "nothing is to be done about it");
    assert!(
        due(&m, &[listed("acme/a.parquet", "e")]),
        "until it is written again"
    );
    m.holds[0].files.clear();
    assert_eq!(forgettable(&m, &[], &gone), ["acme/a.parquet"]);
}

#[test]
fn a_copy_of_a_live_snapshot_is_no_orphan() {
    let (live, moved) = (
        output(50 * HOUR),
        output(50 * HOUR).replace("acme/1970-01/", "acme/elsewhere/"),
    );
    assert_ne!(live, moved);
    let listing = [listed(&live, "e"), listed(&moved, "e")];
    let m = head(60 * HOUR);
    assert_eq!(orphans(&m, &listing), []);
    assert_eq!(
        collectable(&evidence(m.clone(), &listing)),
        Vec::<Key>::new()
    );
    assert_eq!(strays(&m, &listing), [(&listing[1], &live)]);
}

#[test]
fn the_note_on_a_live_snapshot_is_forgotten_once_another_version_of_it_is_there() {
    let mut m = head(0);
    let live = m.snapshots[0].clone();
    m.quarantined.push(Quarantined {
        key: live.key.clone(),
        size: 1,
        etag: Some("bad".into()),
        reason: String::new(),
        at: at(0),
        cause: None,
    });
    let noted = |listing: &[Listed]| forgettable(&m, listing, &BTreeSet::new()).contains(&live.key);
    assert!(!noted(&[listed(&live.key, "bad")]));
    assert!(
        !noted(&[]),
        "that it is missing is no reason to take it for sound"
    );
    assert!(noted(&[listed(&live.key, "mended")]));
}

#[test]
fn young_or_recent_manifests_are_kept() {
    let versions: Vec<_> = (1..=30).map(|v| (v, at(v * HOUR))).collect();
    assert_eq!(prunable(30, &versions, at(30 * HOUR)), [1, 2, 3, 4, 5, 6]);
    assert_eq!(
        prunable(30, &versions, at(90 * HOUR)),
        (1..=14).collect::<Vec<_>>()
    );
    assert_eq!(
        prunable(10, &versions[..10], at(90 * HOUR)),
        Vec::<u64>::new()
    );
}

#[test]
fn a_note_on_a_file_that_is_gone_or_changed_is_forgotten() {
    let mut m = head(0);
    m.retired.clear();
    m.adopted.push(Adopted {
        key: "acme/x.parquet".into(),
        etag: "e".into(),
        dated_by: "timestamp".into(),
        times: RowStats::default().into(),
    });
    let shown = |etag: Option<&str>| Listed {
        etag: etag.map(str::to_owned),
        ..listed("acme/x.parquet", "")
    };
    for (listing, expected) in [
        (vec![], true),
        (vec![shown(Some("f"))], true),
        (vec![shown(Some("\"e\""))], false),
        (vec![shown(None)], false),
    ] {
        let forgotten = forgettable(&m, &listing, &BTreeSet::new());
        assert_eq!(!forgotten.is_empty(), expected, "{listing:?}");
        let inventory = Inventory {
            head: Some(m.clone()),
            listing,
        };
        assert_eq!(
            is_due(&inventory, &Policy::default(), at(70 * HOUR)),
            expected
        );
    }
}
