use chrono::DateTime;
use ulid::Ulid;

use super::*;
use crate::model::adopted::Adopted;
use crate::model::file::{Fingerprint, Micros, RowStats, Snapshot};
use crate::model::hold::{Hold, Restored};
use crate::model::manifest::{
    Ledger, Quarantined, Receipt, Reread, RetireReason, Retired, Verdict,
};
use crate::model::names::{FileId, Place, Tenant, snapshot_key};
use crate::model::swept::ContentHash;

fn id(n: u64) -> FileId {
    FileId(Ulid::from_parts(n, u128::from(n)))
}

fn stamp(n: u64) -> Stamp {
    Stamp {
        run_id: id(1),
        commit_id: id(n),
        at: DateTime::UNIX_EPOCH,
    }
}

fn tenant() -> Tenant {
    Tenant::parse("acme").unwrap()
}

fn snapshot(n: u64, rows: u64) -> Snapshot {
    let stats = RowStats {
        rows,
        min: Some(Micros(0)),
        max: Some(Micros(9)),
        ..RowStats::default()
    };
    Snapshot {
        key: snapshot_key(
            &Place::Month(tenant()),
            &tenant(),
            Micros(0),
            Micros(9),
            id(n),
        ),
        id: id(n),
        size: 10,
        etag: Some(format!("e{n}")),
        schema: None,
        dated_by: Some("timestamp".into()),
        stats,
    }
}

fn retire(key: &str, rows: u64) -> Retired {
    Retired {
        key: key.to_owned(),
        size: 1,
        etag: Some("e".into()),
        rows,
        fingerprint: None,
        remembered: None,
        found: None,
        at: DateTime::UNIX_EPOCH,
        reason: RetireReason::Compacted,
    }
}

fn head() -> Manifest {
    Manifest::first(tenant(), stamp(10))
}

/// Two raw files into one snapshot, seen after `head`.
fn compaction(head: &Manifest, out: u64) -> (Edit, Observed) {
    let mut edit = Edit::new(id(1), id(100 + out));
    edit.add = vec![snapshot(out, 5)];
    edit.retire = vec![retire("acme/a.parquet", 2), retire("acme/b.parquet", 3)];
    edit.ledger = Ledger {
        rows_in: 5,
        rows_kept: 5,
        ..Ledger::default()
    };
    let mut seen = Observed::since(head);
    seen.present = ["acme/a.parquet", "acme/b.parquet"]
        .map(|k| (k.to_owned(), Some("e".to_owned())))
        .into();
    (edit, seen)
}

fn refused(head: &Manifest, edit: &Edit, seen: &Observed) -> Conflict {
    apply(head, edit, seen, stamp(99)).unwrap_err()
}

#[test]
fn a_compaction_is_applied_and_the_books_of_the_life_balance() {
    let head = head();
    let (edit, seen) = compaction(&head, 20);
    let next = apply(&head, &edit, &seen, stamp(120)).unwrap();
    assert_eq!((next.version, next.parent), (2, Some(id(10))));
    assert_eq!(next.snapshots, edit.add);
    assert_eq!(next.retired, edit.retire);
    assert_eq!(next.totals.rows_ingested, 5);
    assert!(totals_balance(&next));
    next.check_paths().unwrap();

    // Snapshots of snapshots ingest nothing.
    let mut up = Edit::new(id(1), id(121));
    up.add = vec![snapshot(30, 4)];
    up.retire = vec![Retired {
        etag: Some("e20".into()),
        ..retire(&edit.add[0].key, 5)
    }];
    up.ledger = Ledger {
        rows_in: 5,
        rows_kept: 4,
        rows_deduplicated: 1,
        ..Ledger::default()
    };
    let third = apply(&next, &up, &Observed::since(&next), stamp(121)).unwrap();
    assert_eq!(third.totals.rows_ingested, 5);
    assert!(totals_balance(&third));
}

#[test]
fn observations_older_than_head_prove_nothing() {
    let head = head();
    let (edit, mut seen) = compaction(&head, 20);
    seen.head_version = 0;
    assert_eq!(
        refused(&head, &edit, &seen),
        Conflict::StaleObservation {
            seen_after: 0,
            head: 1
        }
    );
}

#[test]
fn a_raw_file_must_be_there_unchanged_and_not_retired() {
    let head = head();
    let (edit, seen) = compaction(&head, 20);
    let mut gone = seen.clone();
    gone.present.remove("acme/b.parquet");
    assert_eq!(
        refused(&head, &edit, &gone),
        Conflict::NotSeen("acme/b.parquet".into())
    );
    let mut other = seen.clone();
    other
        .present
        .insert("acme/b.parquet".into(), Some("new".into()));
    assert_eq!(
        refused(&head, &edit, &other),
        Conflict::Changed("acme/b.parquet".into())
    );

    let next = apply(&head, &edit, &seen, stamp(120)).unwrap();
    let (again, seen) = compaction(&next, 21);
    assert_eq!(
        refused(&next, &again, &seen),
        Conflict::AlreadyRetired("acme/a.parquet".into())
    );
    let (mut twice, seen) = compaction(&head, 22);
    twice.retire[1] = twice.retire[0].clone();
    assert_eq!(
        refused(&head, &twice, &seen),
        Conflict::AlreadyRetired("acme/a.parquet".into())
    );
}

#[test]
fn a_snapshot_that_is_not_live_cannot_be_retired() {
    let head = head();
    let mut edit = Edit::new(id(1), id(2));
    edit.retire = vec![retire(&snapshot(20, 5).key, 5)];
    edit.ledger = Ledger {
        rows_in: 5,
        rows_expired: 5,
        ..Ledger::default()
    };
    let mut seen = Observed::since(&head);
    // Being there is not enough for a snapshot: orphans are there too.
    seen.present.insert(snapshot(20, 5).key, Some("e".into()));
    assert!(matches!(refused(&head, &edit, &seen), Conflict::NotLive(_)));
}

#[test]
fn an_output_below_the_floor_is_dead() {
    let head = Manifest {
        floor: id(25),
        ..head()
    };
    let (edit, seen) = compaction(&head, 20);
    assert!(matches!(
        refused(&head, &edit, &seen),
        Conflict::BelowFloor(_)
    ));
    let (edit, seen) = compaction(&head, 25);
    assert!(apply(&head, &edit, &seen, stamp(125)).is_ok());
    // Nor may one edit raise the floor over its own outputs.
    let edit = Edit {
        floor: Some(id(26)),
        ..edit
    };
    assert!(matches!(
        refused(&head, &edit, &seen),
        Conflict::BelowFloor(_)
    ));
}

#[test]
fn the_floor_only_rises() {
    let head = Manifest {
        floor: id(25),
        ..head()
    };
    let edit = Edit {
        floor: Some(id(24)),
        ..Edit::new(id(1), id(2))
    };
    assert_eq!(
        refused(&head, &edit, &Observed::since(&head)),
        Conflict::FloorFell
    );
    let edit = Edit {
        floor: Some(id(26)),
        ..edit
    };
    assert_eq!(
        apply(&head, &edit, &Observed::since(&head), stamp(3))
            .unwrap()
            .floor,
        id(26)
    );
}

#[test]
fn a_retired_file_is_forgotten_only_when_it_was_seen_gone_after_head() {
    let first = head();
    let (edit, seen) = compaction(&first, 20);
    let head = apply(&first, &edit, &seen, stamp(120)).unwrap();
    let key = "acme/a.parquet".to_owned();
    let forget = Edit {
        forget: vec![key.clone()],
        ..Edit::new(id(1), id(2))
    };
    let no = Conflict::NotForgettable(key.clone());
    assert_eq!(
        refused(&head, &forget, &Observed::since(&head)),
        no,
        "nobody has looked"
    );
    let listed = |etag: &str| Observed {
        listing: Some([(key.clone(), Some(etag.to_owned()))].into()),
        ..Observed::since(&head)
    };
    assert_eq!(refused(&head, &forget, &listed("e")), no, "still there");
    assert_eq!(
        refused(&head, &forget, &listed("copied")),
        no,
        "another tag does not make another file"
    );
    let empty = Observed {
        listing: Some(BTreeMap::new()),
        ..Observed::since(&head)
    };
    assert_eq!(refused(&head, &forget, &empty), no, "a listing may be late");
    let gone = |seen: Observed| Observed {
        gone: [key.clone()].into(),
        ..seen
    };
    assert_eq!(
        refused(&head, &forget, &gone(listed("e"))),
        no,
        "it was not deleted after all"
    );
    assert!(
        apply(&head, &forget, &gone(listed("new")), stamp(121)).is_ok(),
        "another has come since"
    );
    let next = apply(&head, &forget, &gone(empty.clone()), stamp(121)).unwrap();
    assert_eq!(next.retired.len(), 1);
    let unknown = Edit {
        forget: vec!["acme/z.parquet".into()],
        ..forget
    };
    let all = Observed {
        gone: ["acme/z.parquet".to_owned()].into(),
        ..empty
    };
    assert!(matches!(
        refused(&head, &unknown, &all),
        Conflict::NotForgettable(_)
    ));
}

/// What a sweep found under a name: nothing of its rows where they could not be read.
fn reread(key: &str, etag: Option<&str>, content: Option<(u64, Fingerprint)>) -> Reread {
    Reread {
        key: key.to_owned(),
        size: 99,
        etag: etag.map(str::to_owned),
        rows: content.map(|(rows, _)| rows),
        fingerprint: content.map(|(_, print)| print),
        append: false,
    }
}

fn settled(head: &Manifest, found: Reread) -> Manifest {
    let edit = Edit {
        reread: vec![found],
        ..Edit::new(id(1), id(2))
    };
    apply(head, &edit, &Observed::since(head), stamp(121)).unwrap()
}

/// The tag, the size, and what was found under the name of a file.
fn entry(head: &Manifest, key: &str) -> (Option<String>, u64, Option<(String, Verdict)>) {
    let r = head.retired.iter().find(|r| r.key == key).unwrap().clone();
    (r.etag, r.size, r.found.map(|f| (f.etag, f.verdict)))
}

#[test]
fn a_file_under_a_retired_name_is_what_was_retired_only_if_its_rows_are() {
    let first = head();
    let (mut edit, seen) = compaction(&first, 20);
    let print = Fingerprint(7);
    edit.retire
        .iter_mut()
        .for_each(|r| r.fingerprint = Some(print));
    let head = apply(&first, &edit, &seen, stamp(120)).unwrap();
    let Retired { key, rows, .. } = head.retired[0].clone();
    let after = |head: &Manifest, etag: Option<&str>, content| {
        entry(&settled(head, reread(&key, etag, content)), &key)
    };
    let aside = |tag: &str, verdict| (Some("e".to_owned()), 1, Some((tag.to_owned(), verdict)));
    assert_eq!(
        after(&head, Some("copied"), Some((rows, print))),
        (Some("copied".to_owned()), 99, None),
        "a copy"
    );
    assert_eq!(
        after(&head, Some("f"), Some((rows, Fingerprint(8)))),
        aside("f", Verdict::Other),
        "other rows"
    );
    assert_eq!(
        after(&head, Some("f"), Some((rows + 1, print))),
        aside("f", Verdict::Other),
        "more rows"
    );
    assert_eq!(
        after(&head, Some("f"), None),
        aside("f", Verdict::Unknown),
        "unreadable"
    );
    assert_eq!(
        after(&head, None, Some((rows, print))),
        aside("", Verdict::Unknown),
        "without a tag it could not be told from the next"
    );
    let mut old = head.clone();
    old.retired[0].fingerprint = None;
    assert_eq!(
        after(&old, Some("f"), Some((rows, print))),
        aside("f", Verdict::Unknown),
        "nothing is known of what was retired"
    );
    // What is in no retired list is nobody's business here.
    let other = reread("acme/z.parquet", Some("f"), Some((rows, print)));
    assert_eq!(settled(&head, other).retired, head.retired);
}

/// Head after both files of [`compaction`] were deleted and forgotten, with the rows of the first.
fn swept() -> (Manifest, u64, Fingerprint) {
    let first = head();
    let (mut edit, seen) = compaction(&first, 20);
    edit.retire[0].fingerprint = Some(Fingerprint(7));
    let head = apply(&first, &edit, &seen, stamp(120)).unwrap();
    let keys: Vec<Key> = head.retired.iter().map(|r| r.key.clone()).collect();
    let edit = Edit {
        forget: keys.clone(),
        ..Edit::new(id(1), id(2))
    };
    let mut seen = Observed::since(&head);
    (seen.listing, seen.gone) = (Some([].into()), keys.into_iter().collect());
    let head = apply(&head, &edit, &seen, stamp(121)).unwrap();
    assert_eq!(head.retired, []);
    (head, 2, Fingerprint(7))
}

#[test]
fn a_raw_file_that_is_gone_leaves_its_name() {
    let (head, rows, print) = swept();
    let known = |key: &str| head.swept.get(key).map(|swept| swept.content);
    assert_eq!(
        known("acme/a.parquet"),
        Some(Some(ContentHash::of(rows, print)))
    );
    assert_eq!(
        known("acme/b.parquet"),
        Some(None),
        "of whose rows nothing was known"
    );
    assert!(head.used_names().has("acme/a.parquet", Some("any")));
    assert!(!head.used_names().has("acme/c.parquet", Some("any")));
}

/// Also a sound edit of a run that slept since it read the file, and where the same bytes have the
/// same tag.
#[test]
fn a_raw_file_whose_name_is_remembered_is_not_taken_in() {
    let (head, ..) = swept();
    let (edit, seen) = compaction(&head, 30);
    assert_eq!(
        refused(&head, &edit, &seen),
        Conflict::Remembered("acme/a.parquet".into())
    );
}

#[test]
fn a_name_that_comes_again_is_that_of_a_retired_file_only_if_its_rows_are() {
    let (head, rows, print) = swept();
    let key = "acme/a.parquet";
    let same = settled(&head, reread(key, Some("again"), Some((rows, print))));
    assert_eq!(entry(&same, key), (Some("again".to_owned()), 99, None));
    let r = &same.retired[0];
    assert_eq!(
        (r.rows, r.fingerprint, r.at),
        (rows, Some(print), stamp(0).at)
    );
    assert_eq!(same.swept.get(key), None, "it is in one place");
    assert!(same.swept.get("acme/b.parquet").is_some());

    let aside = |tag: &str, verdict| (None, 0, Some((tag.to_owned(), verdict)));
    for (etag, content, expected) in [
        (
            Some("f"),
            Some((rows, Fingerprint(8))),
            aside("f", Verdict::Other),
        ),
        (
            Some("f"),
            Some((rows + 1, print)),
            aside("f", Verdict::Other),
        ),
        (Some("f"), None, aside("f", Verdict::Unknown)),
        (None, Some((rows, print)), aside("", Verdict::Unknown)),
    ] {
        let next = settled(&head, reread(key, etag, content));
        assert_eq!(entry(&next, key), expected, "{content:?}");
        assert_eq!(
            next.retired[0].content(),
            Some(ContentHash::of(rows, print)),
            "what is known of the first stays known"
        );
        assert!(next.used_names().has(key, etag));
    }
    let unknown = settled(&head, reread("acme/b.parquet", Some("f"), Some((3, print))));
    assert_eq!(
        entry(&unknown, "acme/b.parquet"),
        aside("f", Verdict::Unknown),
        "nothing is known of the first"
    );
}

/// A writer may be faster than the sweep: what it puts between the deletion and the commit is
/// forgotten and found by the same edit.
#[test]
fn a_file_that_comes_while_the_first_is_forgotten_is_compared_too() {
    let first = head();
    let (mut edit, seen) = compaction(&first, 20);
    edit.retire[0].fingerprint = Some(Fingerprint(7));
    let head = apply(&first, &edit, &seen, stamp(120)).unwrap();
    let key = "acme/a.parquet";
    let edit = Edit {
        forget: vec![key.into()],
        reread: vec![reread(key, Some("again"), Some((2, Fingerprint(7))))],
        ..Edit::new(id(1), id(2))
    };
    let mut seen = Observed::since(&head);
    seen.listing = Some([(key.into(), Some("again".to_owned()))].into());
    seen.gone = [key.into()].into();
    let next = apply(&head, &edit, &seen, stamp(121)).unwrap();
    assert_eq!(entry(&next, key), (Some("again".to_owned()), 99, None));
}

#[test]
fn other_rows_are_taken_in_where_that_is_asked_for_and_under_the_tag_that_was_read_alone() {
    let (head, rows, print) = swept();
    let key = "acme/a.parquet";
    let append = |content| Reread {
        append: true,
        ..reread(key, Some("f"), content)
    };
    let same = settled(&head, append(Some((rows, print))));
    assert!(same.used_names().has(key, Some("f")), "a repeated upload");
    let unreadable = settled(&head, append(None));
    assert!(
        unreadable.used_names().has(key, Some("f")),
        "unknown is not other"
    );
    let untagged = settled(
        &head,
        Reread {
            etag: None,
            ..append(Some((9, Fingerprint(9))))
        },
    );
    assert!(untagged.used_names().has(key, None));

    let taken = settled(&head, append(Some((9, Fingerprint(9)))));
    assert!(!taken.used_names().has(key, Some("f")));
    for other in [Some("g"), None] {
        assert!(taken.used_names().has(key, other), "it changed since");
    }

    // The commit that takes its rows replaces what was known of the first.
    let mut edit = Edit::new(id(1), id(130));
    edit.add = vec![snapshot(30, 9)];
    edit.retire = vec![Retired {
        etag: Some("f".into()),
        fingerprint: Some(Fingerprint(9)),
        ..retire(key, 9)
    }];
    edit.ledger = Ledger {
        rows_in: 9,
        rows_kept: 9,
        ..Ledger::default()
    };
    let seen = |tag: &str| {
        let mut seen = Observed::since(&taken);
        seen.present = [(key.to_owned(), Some(tag.to_owned()))].into();
        seen
    };
    let next = apply(&taken, &edit, &seen("f"), stamp(130)).unwrap();
    assert_eq!(next.retired, edit.retire);
    assert_eq!(
        refused(&taken, &edit, &seen("g")),
        Conflict::Changed(key.into())
    );
    edit.retire[0].etag = Some("g".into());
    assert_eq!(
        refused(&taken, &edit, &seen("g")),
        Conflict::AlreadyRetired(key.into()),
        "another version of it was not compared with the first"
    );
}

#[test]
fn what_a_sweep_read_elsewhere_is_refused() {
    let (head, ..) = swept();
    let edit = Edit {
        reread: vec![reread("other/a.parquet", Some("f"), None)],
        ..Edit::new(id(1), id(2))
    };
    assert_eq!(
        refused(&head, &edit, &Observed::since(&head)),
        Conflict::ForeignPath("other/a.parquet".into())
    );
}

#[test]
fn a_raw_file_without_a_known_tag_is_not_retired() {
    let first = head();
    let (edit, seen) = compaction(&first, 20);
    for (ours, found) in [(None, Some("e")), (Some("e"), None), (None, None)] {
        let (mut edit, mut seen) = (edit.clone(), seen.clone());
        edit.retire[0].etag = ours.map(str::to_owned);
        *seen.present.get_mut(&edit.retire[0].key).unwrap() = found.map(str::to_owned);
        assert!(
            matches!(refused(&first, &edit, &seen), Conflict::Changed(_)),
            "{ours:?} {found:?}"
        );
    }
}

#[test]
fn no_path_crosses_a_tenant() {
    let head = head();
    for key in [
        "other/a.parquet",
        "acme/../other/a.parquet",
        "acme.parquet",
        "_icepack/acme/a.parquet",
        "acme/_a",
        "acme/.a.txt",
        "acme/a.receipt.json",
    ] {
        let edit = Edit {
            retire: vec![retire(key, 0)],
            ..Edit::new(id(1), id(2))
        };
        assert_eq!(
            refused(&head, &edit, &Observed::since(&head)),
            Conflict::ForeignPath(key.into())
        );
        let quarantined = Quarantined {
            key: key.into(),
            size: 0,
            etag: None,
            reason: String::new(),
            at: DateTime::UNIX_EPOCH,
            cause: None,
        };
        let edit = Edit {
            quarantine: vec![quarantined],
            ..Edit::new(id(1), id(2))
        };
        assert_eq!(
            refused(&head, &edit, &Observed::since(&head)),
            Conflict::ForeignPath(key.into())
        );
    }
    let mut foreign = snapshot(20, 0);
    foreign.key = foreign.key.replace("acme", "other");
    let edit = Edit {
        add: vec![foreign],
        ..Edit::new(id(1), id(2))
    };
    assert!(matches!(
        refused(&head, &edit, &Observed::since(&head)),
        Conflict::ForeignPath(_)
    ));
    let renamed = Snapshot {
        id: id(21),
        ..snapshot(20, 0)
    };
    let edit = Edit {
        add: vec![renamed],
        ..Edit::new(id(1), id(2))
    };
    assert!(matches!(
        refused(&head, &edit, &Observed::since(&head)),
        Conflict::ForeignPath(_)
    ));
}

fn receipt(rows: u64) -> Receipt {
    Receipt {
        format: 1,
        tenant: tenant(),
        key: "acme/2026-01/archive.acme.x.parquet".into(),
        id: id(40),
        size: 1,
        etag: None,
        storage_class: None,
        checksum: None,
        verified: None,
        schema: None,
        manifest_version: None,
        timestamp_column: None,
        archive: String::new(),
        stats: RowStats {
            rows,
            ..RowStats::default()
        },
        sources: vec!["acme/a.parquet".into()],
        again_of: Default::default(),
        run_id: id(1),
        at: DateTime::UNIX_EPOCH,
        writer: WRITER.into(),
    }
}

#[test]
fn the_books_must_balance_and_say_what_the_files_say() {
    let head = head();
    let (good, seen) = compaction(&head, 20);
    let broken: [fn(&mut Edit); 6] = [
        |e| e.ledger.rows_kept = 4,
        |e| e.ledger.rows_in = 6,
        |e| e.add[0].stats.rows = 4,
        |e| e.retire[0].rows = 1,
        |e| {
            e.ledger = Ledger {
                rows_kept: 4,
                rows_archived: 1,
                ..e.ledger
            }
        },
        |e| e.archives = vec![receipt(1)],
    ];
    for (i, breaks) in broken.iter().enumerate() {
        let mut edit = good.clone();
        breaks(&mut edit);
        let conflict = refused(&head, &edit, &seen);
        assert!(
            matches!(conflict, Conflict::Books(_)) && conflict.is_internal(),
            "{i}: {conflict}"
        );
    }
    let head = apply(&head, &good, &seen, stamp(120)).unwrap();
    let mut up = Edit::new(id(1), id(121));
    up.retire = vec![retire(&good.add[0].key, 4)];
    up.ledger = Ledger {
        rows_in: 4,
        rows_expired: 4,
        ..Ledger::default()
    };
    assert!(
        matches!(
            refused(&head, &up, &Observed::since(&head)),
            Conflict::Books(_)
        ),
        "a snapshot that read short"
    );
}

#[test]
fn an_archive_entry_is_settled_only_when_its_receipt_was_seen() {
    let first = head();
    let (mut edit, seen) = compaction(&first, 20);
    edit.add[0].stats.rows = 3;
    edit.ledger = Ledger {
        rows_in: 5,
        rows_kept: 3,
        rows_archived: 2,
        ..Ledger::default()
    };
    edit.archives = vec![receipt(2)];
    let head = apply(&first, &edit, &seen, stamp(120)).unwrap();
    assert!(totals_balance(&head));
    let settle = Edit {
        settle: vec![receipt(2).key],
        ..Edit::new(id(1), id(2))
    };
    let mut seen = Observed::since(&head);
    assert!(matches!(
        refused(&head, &settle, &seen),
        Conflict::NotSettled(_)
    ));
    seen.receipts.insert(receipt(2).key);
    assert!(
        apply(&head, &settle, &seen, stamp(121))
            .unwrap()
            .archives
            .is_empty()
    );
}

#[test]
fn a_quarantined_file_has_one_entry_and_loses_it_when_it_is_read_after_all() {
    let first = head();
    let bad = |reason: &str| Quarantined {
        key: "acme/a.parquet".into(),
        size: 1,
        etag: Some("e".into()),
        reason: reason.into(),
        at: DateTime::UNIX_EPOCH,
        cause: None,
    };
    let edit = |reason: &str| Edit {
        quarantine: vec![bad(reason)],
        ..Edit::new(id(1), id(2))
    };
    let head = apply(&first, &edit("one"), &Observed::since(&first), stamp(3)).unwrap();
    let head = apply(&head, &edit("two"), &Observed::since(&head), stamp(4)).unwrap();
    assert_eq!(head.quarantined, vec![bad("two")]);
    let (merge, seen) = compaction(&head, 20);
    assert!(
        apply(&head, &merge, &seen, stamp(120))
            .unwrap()
            .quarantined
            .is_empty()
    );
}

#[test]
fn a_manifest_survives_its_json() {
    let first = head();
    let (edit, seen) = compaction(&first, 20);
    let head = apply(&first, &edit, &seen, stamp(120)).unwrap();
    let text = serde_json::to_string(&head).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), head);
}

fn hold(n: u64, done: bool) -> Hold {
    let restored = Restored {
        archive: "s3://cold".into(),
        tenant: tenant(),
        from: None,
        to: Some(Micros(9)),
    };
    let files = vec![format!(
        "acme/2026-01/restored.acme.{}.{}.parquet",
        id(1),
        id(n)
    )];
    Hold {
        id: id(n),
        restored,
        oldest: Micros(5),
        until: DateTime::UNIX_EPOCH,
        objects: BTreeSet::from([id(1)]),
        files,
        done,
    }
}

#[test]
fn a_restore_is_recorded_once_and_its_files_stay_until_it_is_done() {
    let head = Manifest::first(tenant(), stamp(100));
    assert_eq!((head.format, head.min_reader), (5, 4));
    let seen = Observed::since(&head);
    let begin = Edit {
        hold: Some(hold(30, false)),
        ..Edit::new(id(1), id(2))
    };
    let head = apply(&head, &begin, &seen, stamp(101)).unwrap();

    let mut seen = Observed::since(&head);
    let twice = Edit {
        hold: Some(hold(31, false)),
        ..Edit::new(id(1), id(3))
    };
    assert_eq!(
        apply(&head, &twice, &seen, stamp(102)),
        Err(Conflict::AlreadyRestored(id(30)))
    );
    let key = hold(30, false).files.remove(0);
    let mut take = Edit {
        retire: vec![retire(&key, 3)],
        ..Edit::new(id(1), id(4))
    };
    take.ledger = Ledger {
        rows_in: 3,
        rows_expired: 3,
        ..Ledger::default()
    };
    seen.present
        .insert(key.clone(), take.retire[0].etag.clone());
    assert_eq!(
        apply(&head, &take, &seen, stamp(103)),
        Err(Conflict::Held(key.clone()))
    );
    let early = Edit {
        release: vec![id(30)],
        ..Edit::new(id(1), id(5))
    };
    assert_eq!(
        apply(&head, &early, &seen, stamp(104)),
        Err(Conflict::HoldGone(id(30))),
        "a restore that broke off is not forgotten"
    );

    let done = Edit {
        hold: Some(hold(30, true)),
        ..Edit::new(id(1), id(6))
    };
    let head = apply(&head, &done, &seen, stamp(105)).unwrap();
    let mut seen = Observed::since(&head);
    seen.present
        .insert(key.clone(), take.retire[0].etag.clone());
    let taken = apply(&head, &take, &seen, stamp(106)).unwrap();
    let forget = Edit {
        forget: vec![key.clone()],
        ..Edit::new(id(1), id(9))
    };
    let gone = |head: &Manifest| Observed {
        listing: Some(BTreeMap::new()),
        gone: [key.clone()].into(),
        ..Observed::since(head)
    };
    assert_eq!(
        apply(&taken, &forget, &gone(&taken), stamp(107)),
        Err(Conflict::NotForgettable(key.clone())),
        "it may be written once more"
    );
    let released = apply(
        &taken,
        &Edit {
            release: vec![id(30)],
            ..Edit::new(id(1), id(10))
        },
        &Observed::since(&taken),
        stamp(107),
    )
    .unwrap();
    assert!(apply(&released, &forget, &gone(&released), stamp(108)).is_ok());
    let head = apply(
        &head,
        &Edit {
            release: vec![id(30)],
            ..Edit::new(id(1), id(7))
        },
        &seen,
        stamp(107),
    )
    .unwrap();
    assert_eq!(
        (head.holds.len(), head.holds[0].files.len()),
        (1, 0),
        "that it was restored is remembered"
    );
    let again = Edit {
        hold: Some(hold(31, false)),
        ..Edit::new(id(1), id(8))
    };
    assert_eq!(
        apply(&head, &again, &Observed::since(&head), stamp(108)),
        Err(Conflict::AlreadyRestored(id(30))),
        "also once it is over"
    );
    let again = Edit {
        again: vec![id(30)],
        ..again
    };
    let head = apply(&head, &again, &Observed::since(&head), stamp(108)).unwrap();
    assert_eq!(
        head.holds
            .iter()
            .map(|h| (h.id, h.done))
            .collect::<Vec<_>>(),
        [(id(30), true), (id(31), false)]
    );
    let third = Edit {
        hold: Some(hold(32, false)),
        again: vec![id(30)],
        ..Edit::new(id(1), id(9))
    };
    assert_eq!(
        apply(&head, &third, &Observed::since(&head), stamp(109)),
        Err(Conflict::AlreadyRestored(id(31))),
        "of that one it did not know"
    );
    let other = Edit {
        hold: Some(Hold {
            objects: BTreeSet::from([id(2)]),
            ..hold(31, true)
        }),
        ..Edit::new(id(1), id(10))
    };
    assert_eq!(
        apply(&head, &other, &Observed::since(&head), stamp(110)),
        Err(Conflict::HoldGone(id(31))),
        "a restore ends as it began"
    );
}

/// Head with this hold.
fn with(hold: Hold) -> Manifest {
    Manifest {
        holds: vec![hold],
        ..Manifest::first(tenant(), stamp(100))
    }
}

#[test]
fn the_same_rows_are_known_by_the_ids_of_their_objects_and_their_times() {
    let refused = |old: Hold, new: Hold| {
        let head = with(old);
        apply(
            &head,
            &Edit {
                hold: Some(new),
                ..Edit::new(id(1), id(2))
            },
            &Observed::since(&head),
            stamp(101),
        )
        .err()
    };
    let again = Some(Conflict::AlreadyRestored(id(30)));
    let of = |n: u64, objects: &[u64], archive: &str, from: Option<i64>, to: Option<i64>| Hold {
        objects: objects.iter().map(|n| id(*n)).collect(),
        restored: Restored {
            archive: archive.into(),
            tenant: tenant(),
            from: from.map(Micros),
            to: to.map(Micros),
        },
        ..hold(n, false)
    };
    let old = Hold {
        done: true,
        files: Vec::new(),
        ..of(30, &[1, 2], "s3://cold", Some(0), Some(9))
    };
    assert_eq!(
        refused(old.clone(), of(31, &[2, 3], "s3://moved", Some(8), None)),
        again,
        "whatever the archive is called"
    );
    assert_eq!(
        refused(old.clone(), of(31, &[2, 3], "s3://cold", Some(9), None)),
        None,
        "later rows of the same object"
    );
    assert_eq!(
        refused(old.clone(), of(31, &[3], "s3://cold", None, None)),
        None,
        "another object"
    );
    let theirs = Restored {
        tenant: Tenant::parse("globex").unwrap(),
        ..old.restored.clone()
    };
    assert_eq!(
        refused(
            old.clone(),
            Hold {
                restored: theirs,
                ..of(31, &[1], "", None, None)
            }
        ),
        None,
        "another tenant's rows"
    );
    let forgotten = Hold {
        objects: BTreeSet::new(),
        ..old
    };
    assert_eq!(
        refused(forgotten.clone(), of(31, &[3], "s3://moved", Some(8), None)),
        again,
        "an older version forgot what it brought"
    );
    let remembered = Hold {
        files: hold(30, true).files,
        ..forgotten
    };
    assert_eq!(
        refused(remembered.clone(), of(31, &[3], "s3://cold", Some(8), None)),
        None,
        "by the names of its files"
    );
    assert_eq!(
        refused(remembered.clone(), of(31, &[1], "s3://cold", Some(8), None)),
        again
    );
    let head = with(remembered);
    let head = apply(
        &head,
        &Edit {
            release: vec![id(30)],
            ..Edit::new(id(1), id(3))
        },
        &Observed::since(&head),
        stamp(101),
    )
    .unwrap();
    assert_eq!(
        (head.holds[0].files.len(), &head.holds[0].objects),
        (0, &BTreeSet::from([id(1)])),
        "the files go, what they held is kept"
    );
}

#[test]
fn what_a_restore_brought_back_meanwhile_does_not_expire() {
    let at = |ms: i64| DateTime::from_timestamp_millis(ms).unwrap();
    let expire = |hold: Hold, before: Option<i64>| {
        let mut head = with(hold);
        head.snapshots.push(snapshot(20, 3));
        let mut edit = Edit {
            retire: vec![retire(&snapshot(20, 3).key, 3)],
            expired_before: before.map(Micros),
            ..Edit::new(id(1), id(2))
        };
        edit.ledger = Ledger {
            rows_in: 3,
            rows_expired: 3,
            ..Ledger::default()
        };
        apply(
            &head,
            &edit,
            &Observed::since(&head),
            Stamp {
                at: at(200),
                ..stamp(101)
            },
        )
        .err()
    };
    let until = |ms: i64, done| Hold {
        until: at(ms),
        ..hold(30, done)
    };
    let held = Some(Conflict::StillHeld(id(30)));
    assert_eq!(expire(until(201, true), Some(6)), held);
    assert_eq!(
        expire(until(201, true), Some(5)),
        None,
        "all that expired is older than what was brought back"
    );
    assert_eq!(
        expire(until(201, true), None),
        held,
        "nobody knows what expired"
    );
    assert_eq!(expire(until(200, true), Some(6)), None, "it is over");
    assert_eq!(
        expire(until(0, false), Some(6)),
        held,
        "one that is not done is never over"
    );
}

#[test]
fn only_what_is_known_to_be_restored_is_called_so() {
    let mut head = with(hold(30, true));
    head.snapshots = vec![snapshot(20, 3), snapshot(21, 3)];
    head.restored = BTreeMap::from([(id(20), BTreeSet::from([id(30)]))]);
    let raw = hold(30, true).files.remove(0);
    let mut seen = Observed::since(&head);
    seen.present.insert(raw.clone(), retire(&raw, 3).etag);
    let merge = |keys: [&str; 2], holds: &[u64]| {
        let retire = keys.iter().map(|key| retire(key, 3)).collect();
        let mut edit = Edit {
            retire,
            add: vec![snapshot(40, 6)],
            restored: holds.iter().map(|n| id(*n)).collect(),
            ..Edit::new(id(1), id(2))
        };
        edit.ledger = Ledger {
            rows_in: 6,
            rows_kept: 6,
            ..Ledger::default()
        };
        apply(&head, &edit, &seen, stamp(101))
    };
    let (restored, own) = (snapshot(20, 3).key, snapshot(21, 3).key);
    assert_eq!(
        merge([&restored, &raw], &[30]).unwrap().restored,
        BTreeMap::from([(id(40), BTreeSet::from([id(30)]))])
    );
    let no = Err(Conflict::NotRestored(snapshot(40, 6).key));
    assert_eq!(
        merge([&restored, &own], &[30]),
        no,
        "half of its rows are in no archive"
    );
    assert_eq!(merge([&restored, &raw], &[31]), no, "by another");
    assert_eq!(
        merge([&restored, &own], &[]).unwrap().restored,
        head.restored
            .clone()
            .into_iter()
            .filter(|(n, _)| *n != id(20))
            .collect()
    );

    let archive = |keys: [&str; 2], again_of: &[u64]| {
        let again_of = again_of.iter().map(|n| id(*n)).collect();
        let sources = keys.iter().map(|key| (*key).to_owned()).collect();
        let mut edit = Edit {
            retire: keys.iter().map(|key| retire(key, 3)).collect(),
            expired_before: Some(Micros(9)),
            ..Edit::new(id(1), id(2))
        };
        edit.archives = vec![Receipt {
            again_of,
            sources,
            ..receipt(6)
        }];
        edit.ledger = Ledger {
            rows_in: 6,
            rows_archived: 6,
            ..Ledger::default()
        };
        apply(&head, &edit, &seen, stamp(101)).err()
    };
    let no = Some(Conflict::NotRestored(receipt(6).key));
    assert_eq!(archive([&restored, &raw], &[1]), None);
    assert_eq!(
        archive([&restored, &own], &[]),
        None,
        "nothing is said, nothing follows"
    );
    assert_eq!(archive([&restored, &own], &[1]), no);
    assert_eq!(archive([&restored, &raw], &[2]), no);
    let unsaid = |sources: Vec<String>| {
        let mut edit = Edit {
            retire: vec![retire(&own, 3)],
            expired_before: Some(Micros(9)),
            ..Edit::new(id(1), id(2))
        };
        edit.archives = vec![Receipt {
            again_of: BTreeSet::from([id(1)]),
            sources,
            ..receipt(3)
        }];
        edit.ledger = Ledger {
            rows_in: 3,
            rows_archived: 3,
            ..Ledger::default()
        };
        apply(&head, &edit, &seen, stamp(101)).err()
    };
    assert_eq!(
        unsaid(Vec::new()),
        no,
        "a receipt that does not say where its rows are from"
    );
    assert_eq!(
        unsaid(vec![restored]),
        no,
        "that one is not retired: the rows are from elsewhere"
    );
}

#[test]
fn a_hold_names_only_raw_files_of_its_tenant_and_is_ended_only_where_it_is() {
    let head = Manifest::first(tenant(), stamp(100));
    let seen = Observed::since(&head);
    for foreign in ["other/x.parquet", "acme/../other/x.parquet", "acme/x.txt"] {
        let edit = Edit {
            hold: Some(Hold {
                files: vec![foreign.into()],
                ..hold(30, false)
            }),
            ..Edit::new(id(1), id(2))
        };
        assert_eq!(
            apply(&head, &edit, &seen, stamp(101)),
            Err(Conflict::ForeignPath(foreign.into()))
        );
    }
    let edit = Edit {
        hold: Some(hold(30, true)),
        ..Edit::new(id(1), id(2))
    };
    assert_eq!(
        apply(&head, &edit, &seen, stamp(101)),
        Err(Conflict::HoldGone(id(30)))
    );
}

/// A note takes the place of the one before, and goes with the file or when it is forgotten.
#[test]
fn a_note_on_an_adopted_file_is_one_and_goes_with_the_file() {
    let note = |key: &str, etag: &str| Adopted {
        key: key.into(),
        etag: etag.into(),
        dated_by: "timestamp".into(),
        times: RowStats::default().into(),
    };
    let adopt = |head: &Manifest, notes: Vec<Adopted>| {
        let edit = Edit {
            adopt: notes,
            ..Edit::new(id(1), id(50))
        };
        assert!(!edit.is_empty());
        // What a version of a file says is true whenever it was read.
        apply(head, &edit, &Observed::since(head), stamp(50))
    };
    let keys = |head: &Manifest| -> Vec<(Key, String)> {
        let notes = head.adopted.iter();
        notes.map(|a| (a.key.clone(), a.etag.clone())).collect()
    };
    let (a, c) = ("acme/a.parquet", "acme/c.parquet");
    let one = adopt(&head(), vec![note(a, "e"), note(c, "e")]).unwrap();
    let two = adopt(&one, vec![note(c, "f")]).unwrap();
    assert_eq!(keys(&two), [(a.into(), "e".into()), (c.into(), "f".into())]);
    assert_eq!(
        adopt(&one, vec![note("globex/a.parquet", "e")]),
        Err(Conflict::ForeignPath("globex/a.parquet".into()))
    );

    let (edit, seen) = compaction(&two, 20);
    let three = apply(&two, &edit, &seen, stamp(120)).unwrap();
    assert_eq!(keys(&three), [(c.into(), "f".into())]);
    assert_eq!(
        keys(&adopt(&three, vec![note(a, "e")]).unwrap()),
        [(c.into(), "f".into())],
        "another run compacted it meanwhile"
    );

    let forget = Edit {
        forget: vec![c.into()],
        ..Edit::new(id(1), id(130))
    };
    let mut seen = Observed::since(&three);
    for (listed, may) in [
        (None, false),
        (Some(Some("f")), false),
        (Some(None), false),
        (Some(Some("g")), true),
    ] {
        seen.listing = listed.map(|tag| [(c.into(), tag.map(str::to_owned))].into());
        let forgotten = apply(&three, &forget, &seen, stamp(130));
        assert_eq!(forgotten.is_ok(), may, "{listed:?}");
    }
    seen.listing = Some(Default::default());
    let four = apply(&three, &forget, &seen, stamp(130)).unwrap();
    assert!(four.adopted.is_empty());
}
