use ulid::Ulid;

use super::*;
use crate::model::file::{Fingerprint, Micros, RowStats, Snapshot};
use crate::model::manifest::{Found, Quarantined, RetireReason, Retired, Stamp, Verdict};
use crate::model::names::FileId;
use crate::model::units::DAY;

fn tenant() -> Tenant {
    Tenant::parse("acme").unwrap()
}

fn id(n: u64) -> FileId {
    FileId(Ulid::from_parts(n, 0))
}

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap()
}

/// A small world: what happens to the manifest and the store, and what was published.
struct World {
    head: Manifest,
    listing: Vec<Listed>,
    published: Published,
}

impl World {
    fn new() -> Self {
        let mut head = Manifest::first(
            tenant(),
            Stamp {
                run_id: id(1),
                commit_id: id(1),
                at: at(0),
            },
        );
        head.version = 0;
        Self {
            head,
            listing: Vec::new(),
            published: Published::default(),
        }
    }

    fn listed(&mut self, key: &str) {
        self.listing.retain(|f| f.key != key);
        self.listing.push(Listed {
            key: key.to_owned(),
            size: 10,
            etag: Some(key.to_owned()),
            modified: at(self.listing.len() as i64),
        });
    }

    fn ingest(&mut self, name: &str) -> Key {
        let key = format!("acme/{name}.parquet");
        self.listed(&key);
        key
    }

    /// Retires `inputs`, each with 10 rows or those of its snapshot, for a snapshot with `rows`;
    /// the others expired.
    fn compact(&mut self, inputs: &[&str], rows: u64) -> Key {
        let had = |key: &&str| {
            self.head
                .snapshots
                .iter()
                .find(|s| s.key == **key)
                .map_or(10, |s| s.stats.rows)
        };
        let before: u64 = inputs.iter().map(had).sum();
        self.head.version += 1;
        self.head.totals.rows_expired += before - rows;
        for key in inputs {
            self.head.snapshots.retain(|s| s.key != **key);
            let etag = Some((*key).to_owned());
            self.head.retired.push(Retired {
                key: (*key).to_owned(),
                size: 10,
                etag,
                rows: 10,
                fingerprint: None,
                remembered: None,
                found: None,
                at: at(0),
                reason: RetireReason::Compacted,
            });
        }
        let new = id(100 + self.head.version);
        let key = names::snapshot_key(
            &names::Place::Month(tenant()),
            &tenant(),
            Micros(0),
            Micros(0),
            new,
        );
        if rows > 0 {
            let stats = RowStats {
                rows,
                undated: 0,
                min: None,
                max: None,
                fingerprint: Fingerprint::default(),
            };
            self.head.snapshots.push(Snapshot {
                key: key.clone(),
                id: new,
                size: 10,
                etag: None,
                schema: None,
                dated_by: Some("timestamp".into()),
                stats,
            });
            self.listed(&key);
        }
        key
    }

    fn wanted(&self) -> BTreeMap<Key, Wanted> {
        wanted(
            &tenant(),
            &Inventory {
                head: Some(self.head.clone()),
                listing: self.listing.clone(),
            },
        )
        .unwrap()
    }

    fn steps(&self) -> Vec<Step> {
        steps(Some(&self.head), &self.wanted(), &self.published).unwrap()
    }

    /// Carries out one step; a publication may break off after any.
    fn take(&mut self, step: &Step) {
        let wanted = self.wanted();
        for key in &step.remove {
            assert!(
                self.published.files.remove(key).is_some(),
                "{key} is not there"
            );
        }
        for key in &step.add {
            let w = wanted[key];
            self.published.files.insert(
                key.clone(),
                PublishedFile {
                    size: w.size,
                    modified: w.modified,
                    rows: Some(w.rows.unwrap_or(10)),
                },
            );
        }
        (self.published.manifest, self.published.left) =
            (Some(self.head.version), Some(left(&self.head.totals)));
    }

    fn publish(&mut self) -> Vec<Step> {
        let steps = self.steps();
        steps.iter().for_each(|s| self.take(s));
        assert_eq!(
            self.published.files.keys().collect::<Vec<_>>(),
            self.wanted().keys().collect::<Vec<_>>()
        );
        assert_eq!(self.steps(), [], "once is enough");
        steps
    }

    fn rows(&self) -> u64 {
        self.published.files.values().filter_map(|f| f.rows).sum()
    }

    fn readers(&self, removed: &[(&str, i64)]) -> Readers {
        Readers {
            published: self.published.clone(),
            removed: removed
                .iter()
                .map(|(key, ms)| ((*key).to_owned(), at(*ms)))
                .collect(),
            remembered: 7 * DAY,
        }
    }
}

fn step(add: &[&str], remove: &[&str], data_change: bool) -> Step {
    let set = |keys: &[&str]| keys.iter().map(|k| (*k).to_owned()).collect();
    Step {
        add: set(add),
        remove: set(remove),
        data_change,
    }
}

#[test]
fn raw_files_come_snapshots_move_and_expiry_changes_the_data() {
    let mut w = World::new();
    let (a, b) = (w.ingest("a"), w.ingest("b"));
    assert_eq!(w.publish(), [step(&[&a, &b], &[], true)]);
    let s = w.compact(&[&a, &b], 20);
    assert_eq!(
        w.publish(),
        [step(&[&s], &[&a, &b], false)],
        "the same rows in another file"
    );
    let c = w.ingest("c");
    let t = w.compact(&[&s], 15);
    assert_eq!(
        w.publish(),
        [step(&[&c, &t], &[&s], true)],
        "five rows left"
    );
    assert_eq!(w.rows(), 25);
    let none = w.compact(&[&t], 0);
    assert_eq!(w.publish(), [step(&[], &[&t], true)]);
    assert!(!w.published.files.contains_key(&none));
}

#[test]
fn what_moved_and_what_came_are_two_versions() {
    let mut w = World::new();
    let (a, b) = (w.ingest("a"), w.ingest("b"));
    w.publish();
    let (c, s) = (w.ingest("c"), w.compact(&[&a, &b], 20));
    let steps = w.steps();
    assert_eq!(
        steps,
        [step(&[&s], &[&a, &b], false), step(&[&c], &[], true)]
    );
    // It breaks off in between: the next publication does the rest.
    w.take(&steps[0]);
    assert_eq!(w.rows(), 20);
    assert_eq!(w.publish(), [step(&[&c], &[], true)]);
}

#[test]
fn rows_that_were_never_published_are_new_even_where_as_many_left() {
    let mut w = World::new();
    let a = w.ingest("a");
    w.publish();
    // Ten come and ten expire: the sums agree, and yet the data changed.
    let b = w.ingest("b");
    let s = w.compact(&[&a, &b], 10);
    assert_eq!(w.publish(), [step(&[&s], &[&a], true)]);
    // Ten come, none leaves.
    let c = w.ingest("c");
    let t = w.compact(&[&s, &c], 20);
    assert_eq!(w.publish(), [step(&[&t], &[&s], true)]);
}

#[test]
fn a_raw_file_that_was_replaced_is_another() {
    let mut w = World::new();
    let (a, _) = (w.ingest("a"), w.ingest("b"));
    w.publish();
    w.listing[0].modified = at(99);
    assert_eq!(w.publish(), [step(&[&a], &[], true)]);
    // After it was compacted another tag does not make a new file: it may be a copy of the old one.
    let s = w.compact(&[&a], 10);
    w.listing[0].etag = Some("another".into());
    w.listing[0].modified = at(100);
    assert_eq!(w.publish(), [step(&[&s], &[&a], false)]);
}

#[test]
fn quarantined_files_are_not_shown() {
    let mut w = World::new();
    let a = w.ingest("a");
    w.publish();
    w.head.quarantined.push(Quarantined {
        key: a.clone(),
        size: 10,
        etag: Some(a.clone()),
        reason: "bad".into(),
        at: at(0),
        cause: None,
    });
    w.head.version += 1;
    assert_eq!(w.publish(), [step(&[], &[&a], true)]);
}

#[test]
fn a_table_never_goes_back_and_never_names_what_is_missing() {
    let mut w = World::new();
    let a = w.ingest("a");
    w.publish();
    let s = w.compact(&[&a], 10);
    w.publish();
    let old = World::new();
    assert_eq!(
        steps(Some(&old.head), &old.wanted(), &w.published),
        Err(Obstacle::Backwards {
            published: 1,
            head: 0
        })
    );
    w.listing.retain(|f| f.key != s);
    assert_eq!(
        wanted(
            &tenant(),
            &Inventory {
                head: Some(w.head.clone()),
                listing: w.listing.clone()
            }
        ),
        Err(Obstacle::Missing(s))
    );
}

fn columns(keys: &[&str]) -> Result<Option<FolderColumns>, Obstacle> {
    let file = Wanted {
        size: 1,
        modified: 1,
        rows: None,
    };
    let wanted = keys.iter().map(|key| ((*key).to_owned(), file));
    folder_columns(&tenant(), &wanted.collect())
}

#[test]
fn live_files_agree_on_the_columns_of_their_folders() {
    assert_eq!(columns(&[]), Ok(None));
    let names = |keys: &[&str]| columns(keys).unwrap().unwrap().names().to_vec();
    assert_eq!(names(&["acme/a=b.parquet", "acme/=x/a"]), [] as [&str; 0]);
    let same = [
        "acme/dt=1/a",
        "acme/dt=2/a",
        "acme/dt=2/b",
        "acme/x/dt=3/y/a",
    ];
    assert_eq!(names(&same), ["dt"]);
    assert_eq!(names(&["acme/b=1/a=2/x"]), ["b", "a"], "in their order");
}

#[test]
fn folders_that_no_table_can_show_are_named() {
    let refused = |keys: &[&str]| match columns(keys) {
        Err(Obstacle::Folder { folder, why }) => format!("{folder} {why}"),
        other => panic!("{keys:?}: {other:?}"),
    };
    for (keys, expected) in [
        (
            &["acme/a", "acme/dt=1/a"][..],
            "acme/dt=1 gives `dt`, and `acme` gives no column",
        ),
        (
            &["acme/a=1/b=1/x", "acme/b=1/a=1/x"],
            "acme/b=1/a=1 gives `b`, `a`, and `acme/a=1/b=1` gives `a`, `b`",
        ),
        (
            &["acme/dt=1/a", "acme/Dt=1/a"],
            "acme/dt=1 gives `dt`, and `acme/Dt=1` gives `Dt`",
        ),
        (
            &["acme/dt=1/DT=2/a"],
            "acme/dt=1/DT=2 gives the column `DT` twice",
        ),
        (
            &["acme/dt=%FF/x/a"],
            "acme/dt=%FF/x has `dt=%FF`, whose escapes are no UTF-8",
        ),
    ] {
        assert_eq!(refused(keys), expected);
    }
}

#[test]
fn a_table_stays_partitioned_as_it_is_and_by_no_column_of_a_file() {
    let found = columns(&["acme/dt=1/a"]).unwrap().unwrap();
    let are = |table: &[&str]| {
        let table: Vec<String> = table.iter().map(|n| (*n).to_owned()).collect();
        found.are(&table, "acme/_delta_log".to_owned())
    };
    assert_eq!(are(&["dt"]), Ok(()));
    for other in [&[][..], &["Dt"], &["dt", "x"]] {
        assert!(matches!(are(other), Err(Obstacle::Repartitioned { .. })));
    }
    assert_eq!(
        are(&[]).unwrap_err().to_string(),
        "its table is partitioned by no column, and the folder `acme/dt=1` gives `dt`. Remove \
         `acme/_delta_log/` to have the table made anew; tenants of a shared table need folders \
         of the same keys"
    );
    assert_eq!(found.are_none_of("acme/dt=1/a", ["at", "dt_"]), Ok(()));
    assert_eq!(
        found.are_none_of("acme/dt=1/a", ["at", "DT"]),
        Err(found.obstacle("gives the column `DT`, which `acme/dt=1/a` has too".to_owned()))
    );
}

#[test]
fn a_file_under_the_name_of_one_that_is_gone_is_in_no_table() {
    let mut w = World::new();
    let (a, b) = (w.ingest("a"), w.ingest("b"));
    w.head.swept.remember(at(0), [(a.as_str(), None)]);
    assert_eq!(
        w.wanted().into_keys().collect::<Vec<_>>(),
        std::slice::from_ref(&b)
    );
    let mut taken = Retired::remembered(a.clone(), w.head.swept.get(&a).unwrap());
    taken.found = Some(Found {
        etag: w.listing[0].etag.clone().unwrap_or_default(),
        verdict: Verdict::Append,
    });
    w.head.retired.push(taken);
    assert_eq!(w.wanted().into_keys().collect::<Vec<_>>(), [a, b]);
}

#[test]
fn head_is_published_before_what_it_retired_may_go() {
    let mut w = World::new();
    let a = w.ingest("a");
    // Never published: all its rows expire, and the table has nothing to change. But a run that
    // read the head before may be about to publish `a`.
    w.published.manifest = Some(0);
    w.published.left = Some(0);
    w.compact(&[&a], 0);
    let now = at(0);
    assert_eq!(
        unread(
            vec![a.clone()],
            &w.head,
            &w.readers(&[]),
            Duration::ZERO,
            now
        ),
        [] as [Key; 0]
    );
    assert_eq!(
        w.publish(),
        [Step::default()],
        "a version that only takes the number"
    );
    assert_eq!(
        unread(
            vec![a.clone()],
            &w.head,
            &w.readers(&[]),
            Duration::ZERO,
            now
        ),
        [a]
    );
}

#[test]
fn readers_keep_their_files_as_long_as_they_may() {
    let mut w = World::new();
    let (a, b) = (w.ingest("a"), w.ingest("b"));
    w.publish();
    w.compact(&[&a], 10);
    let (keys, end) = (vec![a.clone(), b.clone()], at(86_400_000));
    assert_eq!(
        unread(keys.clone(), &w.head, &w.readers(&[]), Duration::ZERO, end),
        [] as [Key; 0],
        "not published yet"
    );
    w.publish();
    let readers = w.readers(&[(&a, 0)]);
    let gone = |keep, now| unread(keys.clone(), &w.head, &readers, keep, now);
    assert_eq!(
        gone(DAY, end),
        std::slice::from_ref(&a),
        "`b` is named by the newest version"
    );
    assert_eq!(gone(DAY, at(86_399_999)), [] as [Key; 0]);
    assert_eq!(
        gone(8 * DAY, at(i64::from(u32::MAX) * 1_000)),
        [] as [Key; 0],
        "longer than the table remembers"
    );
    assert_eq!(gone(Duration::MAX, end), [] as [Key; 0]);
    // What no head can name needs no newer version.
    w.head.version += 1;
    assert_eq!(
        unread(keys.clone(), &w.head, &readers, DAY, end),
        [] as [Key; 0]
    );
    assert_eq!(
        unnamed(vec!["acme/orphan".into(), b], &readers, DAY, end),
        ["acme/orphan"]
    );
}

#[test]
fn a_digest_tells_what_there_is_to_publish() {
    let mut world = World::new();
    let [a, _] = ["a", "b"].map(|name| world.ingest(name));
    let keep = Duration::from_secs(60);
    let first = digest(&world.wanted(), keep);
    assert_eq!(first, digest(&world.wanted(), keep));
    assert!(first > 0 && i64::try_from(first).is_ok());
    let mut seen = vec![first, digest(&world.wanted(), Duration::ZERO)];
    // Another file under a name, another file, and the same rows in a snapshot.
    world.listed(&a);
    seen.push(digest(&world.wanted(), keep));
    world.ingest("c");
    seen.push(digest(&world.wanted(), keep));
    let snapshot = world.compact(&[&a], 10);
    seen.push(digest(&world.wanted(), keep));
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 5, "{seen:?}");
    // A snapshot is the same, whenever it was copied here.
    world.listed(&snapshot);
    assert_eq!(digest(&world.wanted(), keep), seen[4]);
}
