use chrono::DateTime;
use ulid::Ulid;

use super::*;
use icepack_core::model::file::{Micros, RowStats, Snapshot};
use icepack_core::model::manifest::{Edit, Ledger, Observed};
use icepack_core::model::manifest::{RECEIPT_FORMAT, RetireReason, Retired, Stamp, Totals, WRITER};
use icepack_core::plan::commit::{Check, apply_without};

fn id(n: u64) -> FileId {
    FileId(Ulid::from_parts(n, u128::from(n)))
}

fn acme() -> Tenant {
    Tenant::parse("acme").unwrap()
}

fn object(tag: &str, rows: &[u8]) -> Object<u8> {
    Object {
        size: rows.len() as u64,
        etag: Some(tag.into()),
        rows: rows.to_vec(),
    }
}

fn stats(rows: u64) -> RowStats {
    RowStats {
        rows,
        min: Some(Micros(0)),
        max: Some(Micros(9)),
        ..RowStats::default()
    }
}

fn snapshot(n: u64, rows: u64) -> Snapshot {
    Snapshot {
        key: names::snapshot_key(
            &names::Place::Month(acme()),
            &acme(),
            Micros(0),
            Micros(9),
            id(n),
        ),
        id: id(n),
        size: rows,
        etag: Some(format!("s{n}")),
        schema: None,
        dated_by: Some("timestamp".into()),
        stats: stats(rows),
    }
}

fn receipt(n: u64, rows: u64) -> Receipt {
    Receipt {
        format: RECEIPT_FORMAT,
        tenant: acme(),
        key: names::archive_key(
            &names::Place::Month(acme()),
            &acme(),
            Micros(0),
            Micros(9),
            id(n),
        ),
        id: id(n),
        size: rows,
        etag: None,
        storage_class: None,
        checksum: None,
        verified: None,
        schema: None,
        manifest_version: None,
        timestamp_column: None,
        archive: String::new(),
        stats: stats(rows),
        sources: vec!["acme/old.parquet".into()],
        again_of: Default::default(),
        run_id: id(1),
        at: DateTime::UNIX_EPOCH,
        writer: WRITER.into(),
    }
}

fn retired(key: &str, tag: &str, rows: u64) -> Retired {
    Retired {
        key: key.into(),
        size: rows,
        etag: Some(tag.into()),
        rows,
        fingerprint: None,
        remembered: None,
        found: None,
        at: DateTime::UNIX_EPOCH,
        reason: RetireReason::Compacted,
    }
}

fn manifest(version: u64) -> Manifest {
    let stamp = Stamp {
        run_id: id(1),
        commit_id: id(100 + version),
        at: DateTime::UNIX_EPOCH,
    };
    let parent = (version > 1).then(|| id(99 + version));
    Manifest {
        version,
        parent,
        ..Manifest::first(acme(), stamp)
    }
}

/// Rows 1 and 2 in a snapshot, 3 archived with its receipt owed, 4 archived and settled, 5 raw; the
/// raw file of 1 to 3 is retired and still there, that of an older time deleted; version 1 is
/// pruned.
fn world() -> World<u8> {
    let mut w = World::new(acme(), true);
    let (first, second) = (manifest(1), manifest(2));
    let snapshot = snapshot(20, 2);
    let third = Manifest {
        floor: id(10),
        snapshots: vec![snapshot.clone()],
        retired: vec![retired("acme/old.parquet", "o", 3)],
        archives: vec![receipt(30, 1)],
        totals: Totals {
            rows_ingested: 4,
            rows_archived: 2,
            ..Totals::default()
        },
        ..manifest(3)
    };
    let second = Manifest {
        retired: vec![retired("acme/older.parquet", "x", 1)],
        ..second
    };
    w.hot = [
        (snapshot.key.clone(), object("s20", &[1, 2])),
        ("acme/old.parquet".into(), object("o", &[1, 2, 3])),
        ("acme/new.parquet".into(), object("n", &[5])),
    ]
    .into();
    w.cold = Some(
        [
            (receipt(30, 1).key, object("c", &[3])),
            (receipt(31, 1).key, object("c", &[4])),
        ]
        .into(),
    );
    w.receipts = [(receipt(31, 1).receipt_key(), receipt(31, 1))].into();
    w.history = vec![Arc::new(first), Arc::new(second), Arc::new(third)];
    w.manifests = w.history[1..]
        .iter()
        .map(|m| (m.version, Arc::clone(m)))
        .collect();
    w.oracle = (1..=5)
        .map(|row| {
            (
                row,
                Ingested {
                    times: 1,
                    past_cutoff: row == 3 || row == 4,
                },
            )
        })
        .collect();
    w.deletions = [
        "acme/older.parquet".to_owned(),
        names::manifest_key(&acme(), 1),
        super::tests::snapshot(5, 0).key,
    ]
    .map(|key| Deletion { key, etag: None })
    .into();
    w.reported = [id(102), id(103)].into();
    w
}

fn change_head(w: &mut World<u8>, change: impl FnOnce(&mut Manifest)) {
    let mut head = w.head().unwrap().as_ref().clone();
    change(&mut head);
    let head = Arc::new(head);
    *w.history.last_mut().unwrap() = Arc::clone(&head);
    w.manifests.insert(head.version, head);
}

/// The invariant that breaks, and the word that its sentence must have.
fn breaks(change: impl FnOnce(&mut World<u8>)) -> (&'static str, String) {
    let mut w = world();
    change(&mut w);
    let v = w.check().unwrap_err();
    (v.invariant, v.what)
}

fn assert_breaks(invariant: &str, names: &str, change: impl FnOnce(&mut World<u8>)) {
    let (found, what) = breaks(change);
    assert!(
        found == invariant && what.contains(names),
        "{found}: {what}"
    );
}

#[test]
fn a_sound_world_breaks_nothing() {
    assert_eq!(world().check(), Ok(()));
    assert_eq!(World::<u8>::new(acme(), false).check(), Ok(()));
}

#[test]
fn i1_names_the_row_that_is_lost_doubled_early_or_from_nowhere() {
    assert_breaks("I1", "row 5 is lost", |w| {
        w.hot.remove("acme/new.parquet");
    });
    assert_breaks("I1", "row 1 came 1 times", |w| {
        w.hot.insert("acme/again.parquet".into(), object("n", &[1]));
    });
    assert_breaks("I1", "row 1 came 1 times", |w| {
        change_head(w, |m| m.retired.clear())
    });
    assert_breaks("I1", "row 3 is archived before its time", |w| {
        w.oracle.get_mut(&3).unwrap().past_cutoff = false
    });
    assert_breaks("I1", "row 9 comes from nowhere", |w| {
        w.hot.insert("acme/x.parquet".into(), object("n", &[9]));
    });
    // An archive object that neither head nor a receipt names does not count.
    assert_breaks("I1", "row 4 is lost", |w| w.receipts.clear());
    assert_breaks("I1", "row 3 is lost", |w| {
        change_head(w, |m| m.archives.clear())
    });
    // Without an archive, a row past the cutoff may be gone, and no other.
    assert_breaks("I1", "row 3 is lost", |w| w.cold = Some(BTreeMap::new()));
    let mut dropped = world();
    dropped.cold = None;
    assert_eq!(dropped.i1_every_row_once(), Ok(()));
    // A row that came twice may be live twice, or once after a merge.
    let mut twice = world();
    twice.oracle.get_mut(&5).unwrap().times = 2;
    assert_eq!(twice.check(), Ok(()));
    twice
        .hot
        .insert("acme/again.parquet".into(), object("n", &[5]));
    assert_eq!(twice.check(), Ok(()));
}

#[test]
fn i2_names_the_object_that_is_missing_or_altered() {
    let key = snapshot(20, 2).key;
    let i2 = |change: &dyn Fn(&mut World<u8>)| {
        let mut w = world();
        change(&mut w);
        w.i2_head_names_what_exists().unwrap_err().what
    };
    assert!(
        i2(&|w| {
            w.hot.remove(&key);
        })
        .contains("Missing")
    );
    assert!(i2(&|w| w.hot.get_mut(&key).unwrap().size = 1).contains("Size(1)"));
    assert!(i2(&|w| w.hot.get_mut(&key).unwrap().etag = Some("another".into())).contains("Tag"));
    let mut untagged = world();
    untagged.hot.get_mut(&key).unwrap().etag = None;
    assert_eq!(
        untagged.i2_head_names_what_exists(),
        Ok(()),
        "an unknown tag contradicts nothing"
    );
    assert!(
        i2(&|w| {
            w.cold.as_mut().unwrap().remove(&receipt(30, 1).key);
        })
        .contains("archive object")
    );
    assert!(
        i2(&|w| {
            w.cold.as_mut().unwrap().remove(&receipt(31, 1).key);
        })
        .contains("archive object")
    );
    assert!(i2(&|w| change_head(w, |m| m.totals.rows_ingested = 9)).contains("books"));
}

#[test]
fn i3_names_what_was_deleted_against_the_rules() {
    let gone = |key: &str, etag: Option<&str>| Deletion {
        key: key.into(),
        etag: etag.map(Into::into),
    };
    for d in [
        gone("acme/unread.parquet", None),
        gone("acme/older.parquet", Some("replaced")),
        gone("acme/notes.txt", None),
    ] {
        assert_breaks("I3", &d.key.clone(), |w| {
            w.deletions.insert(d);
        });
    }
    assert_breaks("I3", "acme/manifest/00000000000000000003.json", |w| {
        w.deletions
            .insert(gone(&names::manifest_key(&acme(), 3), None));
    });
    // An orphan above the floor may be another run's work under way.
    assert_breaks("I3", "snapshot.acme", |w| {
        w.deletions.insert(gone(&snapshot(15, 0).key, None));
    });
    let mut w = world();
    change_head(&mut w, |m| m.floor = id(25));
    w.deletions.insert(gone(&snapshot(20, 0).key, None));
    assert!(
        w.i3_only_the_dead_are_deleted()
            .unwrap_err()
            .what
            .contains("head names it")
    );
    // What only a manifest beside the line retired was never retired.
    let mut w = world();
    w.history[1] = Arc::new(Manifest {
        commit_id: id(999),
        ..w.history[1].as_ref().clone()
    });
    assert!(
        w.i3_only_the_dead_are_deleted()
            .unwrap_err()
            .what
            .contains("acme/older.parquet")
    );
}

#[test]
fn i4_names_the_version_or_commit_that_is_lost() {
    assert_breaks("I4", "head was at 4", |w| {
        w.history.push(Arc::new(manifest(4)))
    });
    assert_breaks("I4", &id(777).to_string(), |w| {
        w.reported.insert(id(777));
    });
    // A revived version number: put, and not an ancestor of head.
    assert_breaks("I4", &id(555).to_string(), |w| {
        let revived = Arc::new(Manifest {
            commit_id: id(555),
            ..manifest(1)
        });
        w.history.push(Arc::clone(&revived));
        w.manifests.insert(1, revived);
        w.reported.insert(id(555));
    });
}

#[test]
fn i5_names_the_path_that_crosses() {
    let i5 = |change: &dyn Fn(&mut World<u8>)| {
        let mut w = world();
        change(&mut w);
        w.i5_no_path_crosses().unwrap_err().what
    };
    assert!(
        i5(&|w| change_head(w, |m| m.retired.push(retired("other/a.parquet", "e", 1))))
            .contains("other/a.parquet")
    );
    assert!(i5(&|w| change_head(w, |m| m.snapshots[0].id = id(9))).contains("snapshot.acme"));
    assert!(
        i5(&|w| change_head(w, |m| m.tenant = Tenant::parse("other").unwrap())).contains("other")
    );
    assert!(
        i5(&|w| {
            w.hot
                .insert("acme/../other/x.parquet".into(), object("e", &[]));
        })
        .contains("other/x")
    );
    assert!(
        i5(&|w| {
            w.deletions.insert(Deletion {
                key: "_icepack/other/manifest/00000000000000000001.json".into(),
                etag: None,
            });
        })
        .contains("_icepack/other")
    );
    assert!(
        i5(&|w| w
            .receipts
            .values_mut()
            .for_each(|r| r.tenant = Tenant::parse("other").unwrap()))
        .contains("other")
    );
}

#[test]
fn i6_names_what_a_clean_pass_left() {
    let rest = |change: &dyn Fn(&mut World<u8>)| {
        let mut w = world();
        change_head(&mut w, |m| {
            m.retired.clear();
            m.archives.clear();
        });
        change(&mut w);
        w.i6_at_rest(&w.clone()).map_err(|v| v.what)
    };
    assert_eq!(rest(&|_| {}), Ok(()));
    assert!(
        rest(&|w| {
            w.hot.insert(snapshot(50, 0).key, object("e", &[]));
        })
        .unwrap_err()
        .contains("orphan")
    );
    assert!(
        rest(&|w| change_head(w, |m| m.retired.push(retired("acme/old.parquet", "o", 3))))
            .unwrap_err()
            .contains("acme/old.parquet")
    );
    assert!(
        rest(&|w| change_head(w, |m| m.archives.push(receipt(30, 1))))
            .unwrap_err()
            .contains("no receipt")
    );
    let mut busy = world();
    busy.manifests.insert(4, Arc::new(manifest(4)));
    assert!(
        busy.i6_at_rest(&world())
            .unwrap_err()
            .what
            .contains("still did something")
    );
}

/// The only check that no race reaches: ids are unique. It guards against a merge that returns the
/// name of another output.
#[test]
fn without_the_check_of_names_an_edit_could_drop_its_rows_for_another_files() {
    let head = world().head().unwrap().as_ref().clone();
    let mut edit = Edit::new(id(1), id(104));
    edit.retire = vec![Retired {
        rows: 2,
        ..retired("acme/new.parquet", "n", 2)
    }];
    edit.add = head.snapshots.clone();
    edit.ledger = Ledger {
        rows_in: 2,
        rows_kept: 2,
        ..Ledger::default()
    };
    let mut seen = Observed::since(&head);
    seen.present
        .insert("acme/new.parquet".into(), Some("n".into()));
    let stamp = Stamp {
        run_id: id(1),
        commit_id: id(104),
        at: DateTime::UNIX_EPOCH,
    };
    assert!(matches!(
        commit::apply(&head, &edit, &seen, stamp),
        Err(commit::Conflict::AlreadyLive(_))
    ));
    let next = apply_without(Check::AlreadyLive, &head, &edit, &seen, stamp).unwrap();
    let mut w = world();
    w.history.push(Arc::new(next.clone()));
    w.manifests.insert(4, Arc::new(next));
    assert_eq!(w.check().unwrap_err().invariant, "I1");
}

#[test]
fn the_job_calls_no_function_made_for_the_tests() {
    fn sources(dir: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found)
            } else {
                found.push(path)
            }
        }
    }
    let mut files = Vec::new();
    sources(
        &std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    for file in files.iter().filter(|f| !f.ends_with("tests.rs")) {
        let text = std::fs::read_to_string(file).unwrap();
        let calls = |name: &str| text.matches(name).count();
        assert_eq!(
            calls("apply_without("),
            usize::from(file.ends_with("plan/commit.rs")),
            "{}",
            file.display()
        );
        assert_eq!(
            calls("prunable_beyond("),
            if file.ends_with("plan/sweep.rs") {
                2
            } else {
                0
            },
            "{}",
            file.display()
        );
    }
}
