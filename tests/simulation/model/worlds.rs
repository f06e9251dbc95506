//! The small worlds that are searched to the end. Each is as small as the race that it is for
//! allows.

use std::sync::Arc;

use icepack_core::model::manifest::{Manifest, Stamp, Totals};
use icepack_core::model::names::FileId;
use icepack_core::model::policy::Rewritten;
use icepack_dst::invariants::World;

use crate::model::checker::{Model, Phase, Takes, ingest};
use crate::model::committer::ONE_PAGE;
use crate::model::restore::{Request, archived};
use crate::model::state::*;

const RAW: Phase = Phase::Compact(Takes::Raw);
const ALL: Phase = Phase::Compact(Takes::All);
const A: &str = "t/a.parquet";
const B: &str = "t/b.parquet";
const C: &str = "t/c.parquet";

/// A tenant with raw files and its first manifest.
fn world(raw: &[(&str, &[Row])], archives: bool) -> W {
    let mut w = World::new(tenant(), archives);
    let first = Arc::new(Manifest::first(
        tenant(),
        Stamp {
            run_id: FileId::NIL,
            commit_id: name(1),
            at: at(0),
        },
    ));
    w.history.push(Arc::clone(&first));
    w.manifests.insert(1, first);
    for (key, rows) in raw {
        ingest(&mut w, key, format!("first {key}"), rows);
    }
    w
}

/// The output of a run that died before its commit.
fn with_orphan(mut w: W, tick: u8, rows: &[Row]) -> W {
    let s = snapshot(mint(tick, 9, FileId::NIL), rows);
    w.hot.insert(s.key, object(s.id.to_string(), rows));
    w
}

/// Two live snapshots of one row each.
fn with_snapshots(mut w: W, rows: [Row; 2]) -> W {
    let mut head = w.head().unwrap().as_ref().clone();
    for row in rows {
        let s = snapshot(mint(0, u64::from(row), FileId::NIL), &[row]);
        ingest(&mut w, &s.key, s.id.to_string(), &[row]);
        head.snapshots.push(s);
    }
    head.totals = Totals {
        rows_ingested: 2,
        ..Totals::default()
    };
    let head = Arc::new(head);
    w.history = vec![Arc::clone(&head)];
    w.manifests.insert(1, head);
    w
}

/// Two runners on the same files, a sweeper, a file that arrives and one that comes a second time
/// under a new name; a reply may be lost.
pub fn same_inputs() -> Model {
    let mut m = Model::new(
        world(&[(A, &[1])], false),
        vec![vec![RAW], vec![RAW], vec![Phase::Sweep, Phase::Sweep]],
    );
    m.arrivals = vec![(B, vec![2]), (C, vec![1])];
    m.start.timeouts = 1;
    m
}

/// The same without arrivals, and a reader.
pub fn reader() -> Model {
    Model::new(
        world(&[(A, &[1])], false),
        vec![
            vec![RAW],
            vec![Phase::Sweep],
            vec![RAW, Phase::Sweep],
            vec![Phase::Read],
        ],
    )
}

/// A run that stalls with its output stored, two collectors that began at different times, an older
/// orphan.
pub fn floor() -> Model {
    let w = with_orphan(world(&[(A, &[1])], false), 0, &[1]);
    let mut m = Model::new(w, vec![vec![RAW], vec![Phase::Sweep], vec![Phase::Sweep]]);
    m.start.time = 1;
    m.max_time = 3;
    m
}

/// The same model, in which a page has what the manifests say.
fn paged(mut m: Model) -> Model {
    let mut head = m.start.world.head().unwrap().as_ref().clone();
    let new = head.divide(ONE_PAGE, || mint(0, 77, FileId::NIL)).unwrap();
    m.start.pages = new.into_iter().map(|page| page.id).collect();
    assert!(!m.start.pages.is_empty());
    let head = Arc::new(head);
    m.start.change(|w| {
        w.history = vec![Arc::clone(&head)];
        w.manifests = [(head.version, head)].into();
    });
    m.paged = true;
    m
}

/// Two runners that write the page of one folder, a collector before and after them.
pub fn pages() -> Model {
    let mut w = with_snapshots(world(&[], false), [1, 2]);
    ingest(&mut w, A, format!("first {A}"), &[3]);
    ingest(&mut w, B, format!("first {B}"), &[4]);
    let scripts = vec![
        vec![Phase::Compact(Takes::Only(A))],
        vec![Phase::Compact(Takes::Only(B))],
        vec![Phase::Sweep, Phase::Sweep],
    ];
    let mut m = paged(Model::new(w, scripts));
    m.max_time = 2;
    m
}

/// Two runners on different files, and a pruner that keeps one manifest: version numbers are
/// revived.
pub fn revival() -> Model {
    let scripts = vec![
        vec![Phase::Compact(Takes::Only(A))],
        vec![Phase::Compact(Takes::Only(B))],
        vec![Phase::Sweep, Phase::Sweep],
    ];
    let mut m = Model::new(world(&[(A, &[1]), (B, &[2])], false), scripts);
    m.keep = 1;
    m.start.timeouts = 1;
    m
}

/// One run that takes two files into one.
pub fn two_files() -> Model {
    Model::new(world(&[(A, &[1]), (B, &[2])], false), vec![vec![RAW]])
}

/// The same, and a sweeper that stalls between listing the manifests and reading the newest.
pub fn revived_head() -> Model {
    let scripts = vec![
        vec![Phase::Compact(Takes::Only(A))],
        vec![Phase::Compact(Takes::Only(B))],
        vec![Phase::Sweep],
        vec![Phase::Sweep],
    ];
    let mut m = Model::new(world(&[(A, &[1]), (B, &[2])], false), scripts);
    m.keep = 1;
    m
}

/// Rows past the cutoff, an archive, and two sweepers that file receipts.
pub fn retention() -> Model {
    let scripts = vec![vec![RAW], vec![RAW], vec![Phase::Sweep], vec![Phase::Sweep]];
    Model::new(world(&[(A, &[1, 101])], true), scripts)
}

/// Snapshots merge into snapshots, and a late run has its eye on the same ones.
pub fn snapshots() -> Model {
    Model::new(
        with_snapshots(world(&[], false), [1, 2]),
        vec![vec![ALL], vec![ALL], vec![Phase::Sweep, Phase::Sweep]],
    )
}

/// The ingester uses a name again after its file was compacted, deleted and forgotten.
pub fn name_again() -> Model {
    let mut m = Model::new(
        world(&[(A, &[1])], false),
        vec![vec![RAW], vec![RAW], vec![Phase::Sweep, Phase::Sweep]],
    );
    m.arrivals = vec![(A, vec![2])];
    m
}

/// The same where other rows are taken in, and are merged in their turn.
pub fn name_again_appended() -> Model {
    let mut m = Model::new(
        world(&[(A, &[1])], false),
        vec![vec![RAW], vec![RAW, RAW], vec![Phase::Sweep, Phase::Sweep]],
    );
    m.arrivals = vec![(A, vec![2])];
    m.rewritten = Rewritten::Append;
    m
}

/// The same with more than a month between two commits, so that no name is remembered.
pub fn months_apart(m: Model) -> Model {
    Model {
        remembers: false,
        ..m
    }
}

/// A writer that got no reply puts its file again, after it was compacted, deleted and forgotten.
pub fn uploaded_again() -> Model {
    let mut m = Model::new(
        world(&[(A, &[1])], false),
        vec![vec![RAW], vec![RAW, RAW], vec![Phase::Sweep, Phase::Sweep]],
    );
    m.arrivals = vec![(A, vec![1])];
    m.rewritten = Rewritten::Append;
    m
}

/// A reply is lost and the manifest cannot be read back.
pub fn unknown() -> Model {
    let mut m = Model::new(
        world(&[(A, &[1])], false),
        vec![vec![RAW, RAW], vec![Phase::Sweep, Phase::Sweep]],
    );
    m.start.timeouts = 2;
    m.start.failures = 1;
    m
}

/// No archive: one run drops an expired snapshot unread while another merges it.
pub fn expiry() -> Model {
    let scripts = vec![
        vec![Phase::Compact(Takes::Expired)],
        vec![ALL],
        vec![Phase::Sweep, Phase::Sweep],
    ];
    Model::new(with_snapshots(world(&[], false), [1, 101]), scripts)
}

/// A run of several groups, the later ones planned on a head that is no more.
pub fn groups() -> Model {
    let scripts = vec![
        vec![Phase::Compact(Takes::Each)],
        vec![Phase::Compact(Takes::Each)],
        vec![Phase::Sweep, Phase::Sweep],
    ];
    Model::new(world(&[(A, &[1]), (B, &[2])], false), scripts)
}

/// A tenant that has no manifest yet, begun by two runs at once.
pub fn birth() -> Model {
    let mut w = world(&[(A, &[1])], false);
    w.manifests.clear();
    w.history.clear();
    let mut m = Model::new(
        w,
        vec![
            vec![RAW],
            vec![RAW, Phase::Sweep],
            vec![Phase::Sweep, Phase::Sweep],
        ],
    );
    m.keep = 1;
    m.start.timeouts = 1;
    m.start.failures = 1;
    m
}

/// As [`name_again`], with a second sweeper: outside of what the protocol promises, because a
/// delete names a key and not a version.
pub fn name_again_under_two_sweepers() -> Model {
    let mut m = Model::new(
        world(&[(A, &[1])], false),
        vec![vec![RAW], vec![Phase::Sweep], vec![Phase::Sweep]],
    );
    m.arrivals = vec![(A, vec![2])];
    m
}

const RESTORE: Phase = Phase::Restore(Request {
    from: None,
    days: 1,
});

/// A tenant that rows of another's archive are restored to. Those of `row` are past this tenant's
/// cutoff, or not.
fn restores(row: Row, archives: bool, scripts: Vec<Vec<Phase>>) -> Model {
    Model {
        source: vec![archived(1, &[row])],
        ..Model::new(world(&[], archives), scripts)
    }
}

/// A restore, and a run that has read head before it began. It may break off anywhere: the same
/// command must be able to finish it.
pub fn restore() -> Model {
    restores(
        51,
        false,
        vec![vec![RESTORE, RESTORE], vec![RAW, Phase::Sweep]],
    )
}

/// Two restores of the same rows at once, a run, and a sweeper.
pub fn restore_twice() -> Model {
    restores(
        51,
        false,
        vec![vec![RESTORE], vec![RESTORE], vec![RAW, Phase::Sweep]],
    )
}

/// Two restores of ranges that overlap.
pub fn restores_that_overlap() -> Model {
    let part = Phase::Restore(Request {
        from: Some(52),
        days: 1,
    });
    Model {
        source: vec![archived(1, &[51, 52])],
        ..Model::new(
            world(&[], false),
            vec![vec![RESTORE], vec![part], vec![RAW]],
        )
    }
}

/// A run that has read head before a restore began, and archives what is past the cutoff by that
/// head.
pub fn restore_and_expiry() -> Model {
    restores(
        201,
        true,
        vec![vec![RESTORE], vec![RAW], vec![Phase::Sweep]],
    )
}

/// A hold that is over, and a restore of another range.
pub fn restore_after_a_hold() -> Model {
    let part = Phase::Restore(Request {
        from: Some(201),
        days: 1,
    });
    Model {
        max_time: 2,
        ..restores(
            201,
            true,
            vec![vec![RESTORE], vec![Phase::Sweep], vec![part]],
        )
    }
}

/// A hold that ends at once, and rows that expire beside others that were never archived.
pub fn restored_and_old() -> Model {
    let briefly = Phase::Restore(Request {
        from: None,
        days: 0,
    });
    let scripts = vec![vec![briefly], vec![RAW, Phase::Sweep]];
    Model {
        source: vec![archived(1, &[201])],
        ..Model::new(world(&[(A, &[101])], true), scripts)
    }
}

/// Files are copied onto themselves while they wait to be deleted.
pub fn touched() -> Model {
    let mut m = Model::new(
        world(&[(A, &[1])], false),
        vec![vec![RAW], vec![RAW], vec![Phase::Sweep]],
    );
    m.start.touches = 1;
    m
}

/// A listing that misses a file which is there.
pub fn late_listing() -> Model {
    let mut m = Model::new(
        world(&[(A, &[1])], false),
        vec![vec![RAW], vec![RAW], vec![Phase::Sweep]],
    );
    m.start.late = 1;
    m
}

/// `_icepack/` was lost and brought back from a backup that is older than the last merge.
fn old_head(named: bool) -> Model {
    let mut w = if named {
        with_snapshots(world(&[], false), [1, 2])
    } else {
        world(&[], false)
    };
    w.hot.clear();
    ingest(&mut w, A, "first".into(), &[3]);
    let mut m = Model::new(
        with_orphan(w, 0, &[1, 2]),
        vec![vec![RAW, Phase::Sweep], vec![Phase::Sweep]],
    );
    m.head_is_old = true;
    m.start.time = 3;
    m
}

/// It names snapshots that are gone.
pub fn old_head_of_what_is_gone() -> Model {
    old_head(true)
}

/// It names nothing that is gone: what was merged were raw files.
pub fn old_head_of_nothing() -> Model {
    old_head(false)
}

pub fn small() -> Vec<(&'static str, Model)> {
    vec![
        ("same inputs", months_apart(same_inputs())),
        ("pages", pages()),
        ("a reader", reader()),
        ("the floor", floor()),
        ("revived versions", revival()),
        ("a revived head", revived_head()),
        ("retention", retention()),
        ("snapshots", snapshots()),
        ("a name again", name_again()),
        ("a name again, appended", name_again_appended()),
        ("a file uploaded again", uploaded_again()),
        ("a name again, months on", months_apart(name_again())),
        ("unknown", unknown()),
        ("expiry", expiry()),
        ("groups", groups()),
        ("birth", birth()),
        ("a restore", restore()),
        ("two restores of the same", months_apart(restore_twice())),
        ("restores that overlap", restores_that_overlap()),
        ("a file is touched", months_apart(touched())),
        ("a late listing", months_apart(late_listing())),
        ("a restore and expiry", restore_and_expiry()),
        ("a restore after a hold", restore_after_a_hold()),
        ("restored and old", restored_and_old()),
        ("an old head", old_head_of_what_is_gone()),
        ("and all it names is there", old_head_of_nothing()),
    ]
}

/// Everything at once: minutes, and gigabytes.
pub fn large() -> Vec<(&'static str, Model)> {
    let everything = |arrivals, timeouts, max_time| {
        let w = with_orphan(world(&[(A, &[1, 101]), (B, &[2])], true), 0, &[2]);
        let mut m = Model::new(
            w,
            vec![
                vec![RAW, Phase::Sweep],
                vec![ALL],
                vec![Phase::Sweep, Phase::Sweep],
            ],
        );
        m.arrivals = arrivals;
        m.start.time = 1;
        m.max_time = max_time;
        m.keep = 1;
        m.start.timeouts = timeouts;
        m
    };
    vec![
        ("everything", everything(Vec::new(), 0, 2)),
        ("everything, losses", everything(Vec::new(), 1, 1)),
        ("everything, arrivals", everything(vec![(C, vec![3])], 0, 2)),
    ]
}
