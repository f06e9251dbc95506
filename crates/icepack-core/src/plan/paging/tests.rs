use chrono::{DateTime, Utc};
use proptest::prelude::*;
use ulid::Ulid;

use super::*;
use crate::model::adopted::Adopted;
use crate::model::file::{RowStats, Snapshot};
use crate::model::inputs::Rules;
use crate::model::manifest::{Cause, Quarantined, RetireReason, Retired, Stamp};
use crate::model::names::{Key, Place, Tenant, snapshot_key};
use crate::model::pages::{NewPage, PageSizes};
use crate::model::plan::Inventory;
use crate::model::units::{DAY, KIB, MIB};
use crate::plan::intake::{Keep, Window};
use crate::plan::{compaction, evidence, retention, status, sweep};

const SIZES: PageSizes = PageSizes {
    inline: 0,
    entries: 3,
    pages: 1_000,
    unnamed: 0,
};

fn tenant() -> Tenant {
    Tenant::parse("acme").unwrap()
}

fn at(day: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_781_481_600 + day * 86_400, 0).unwrap()
}

fn micros(day: i64) -> Micros {
    Micros::from_datetime(at(day))
}

/// The head and the files of a tenant, on day 0.
struct World {
    head: Manifest,
    listing: Vec<Listed>,
    minted: u64,
}

impl World {
    fn new() -> Self {
        let stamp = Stamp {
            run_id: FileId::NIL,
            commit_id: FileId(Ulid::from_parts(
                u64::try_from(at(0).timestamp_millis()).unwrap(),
                0,
            )),
            at: at(0),
        };
        Self {
            head: Manifest::first(tenant(), stamp),
            listing: Vec::new(),
            minted: 0,
        }
    }

    fn id(&mut self, day: i64) -> FileId {
        self.minted += 1;
        let ms = u64::try_from(at(day).timestamp_millis()).unwrap();
        FileId(Ulid::from_parts(ms, u128::from(self.minted)))
    }

    fn listed(&mut self, key: &str, size: u64, etag: &str, day: i64) {
        self.listing.push(Listed {
            key: key.to_owned(),
            size,
            etag: Some(etag.to_owned()),
            modified: at(day),
        });
    }

    /// A live snapshot of rows of one day, that the store has.
    fn snapshot(&mut self, folder: &str, size: u64, day: i64) -> Key {
        let id = self.id(day);
        let place = Place::Folder(format!("acme/{folder}"));
        let key = snapshot_key(&place, &tenant(), micros(day), micros(day + 1), id);
        self.head.snapshots.push(Snapshot {
            key: key.clone(),
            id,
            size,
            etag: Some(format!("\"{}\"", self.minted)),
            schema: None,
            dated_by: Some("timestamp".into()),
            stats: RowStats {
                rows: size / KIB,
                min: Some(micros(day)),
                max: Some(micros(day + 1)),
                ..RowStats::default()
            },
        });
        self.listed(&key, size, &self.minted.to_string(), day);
        key
    }

    fn raw(&mut self, folder: &str, name: &str, size: u64, day: i64) -> Key {
        let key = format!("acme/{folder}/{name}.parquet");
        self.listed(&key, size, name, day);
        key
    }

    fn retire(&mut self, key: &str) {
        self.head.retired.push(Retired {
            key: key.to_owned(),
            size: KIB,
            etag: Some("r".into()),
            rows: 1,
            fingerprint: None,
            remembered: None,
            found: None,
            at: at(-1),
            reason: RetireReason::Compacted,
        });
    }

    /// The head as it is stored, with its pages.
    fn stored(&self) -> (Manifest, Vec<NewPage>) {
        let mut head = self.head.clone();
        head.put_in_order();
        let mut n = 0;
        let pages = head
            .divide(SIZES, || {
                n += 1;
                FileId(Ulid::from_parts(9, n))
            })
            .unwrap();
        let bare: Manifest = serde_json::from_slice(&head.document().unwrap()).unwrap();
        bare.check_pages().unwrap();
        (bare, pages)
    }

    /// What a pass looks at, and how many pages it has read of how many.
    fn looked_at(&self, policy: &Policy) -> (Inventory, usize, usize) {
        self.looked_at_by(policy, Keep::All, WAITING)
    }

    /// The same of a pass that keeps what it must, and reads pages once so many files wait.
    fn looked_at_by(
        &self,
        policy: &Policy,
        keep: Keep<'_>,
        waiting: usize,
    ) -> (Inventory, usize, usize) {
        let (mut head, pages) = self.stored();
        let rules = Rules::default();
        let cutoff = retention::cutoff_held(policy, &head.holds, at(0));
        let tenant = tenant();
        let intake = Intake::new(rules.sorter(&tenant, Some(&head)), keep);
        let mut dividing = Dividing::new(intake, &head, |p| is_settled(p, &head, policy, cutoff));
        dividing.most = waiting;
        let read = |dividing: &mut Dividing<'_>, head: &mut Manifest| {
            let wanted = dividing.wanted(head);
            for page in pages.iter().filter(|p| wanted.contains(&p.id)) {
                if head.pages.unread().any(|p| p.id == page.id) {
                    head.take_in(page.id, &page.body).unwrap();
                }
            }
            dividing.resume(head);
        };
        for f in &self.listing {
            dividing.add(&head, f.clone());
            if dividing.is_full() {
                read(&mut dividing, &mut head);
            }
        }
        dividing.close(&head);
        read(&mut dividing, &mut head);
        head.put_in_order();
        let taken = dividing.finish(&mut head);
        let all = head.pages.all().len();
        let read = all - head.pages.unread().count();
        (
            Inventory {
                head: Some(head),
                listing: taken.listing,
            },
            read,
            all,
        )
    }

    fn whole(&self) -> Inventory {
        let mut head = self.head.clone();
        head.put_in_order();
        let mut listing = self.listing.clone();
        listing.sort_by(|a, b| a.key.cmp(&b.key));
        let sorted = Rules::default().sort(&tenant(), Some(&head), listing);
        Inventory {
            head: Some(head),
            listing: sorted.listing,
        }
    }
}

/// Ten folders that need nothing.
fn calm() -> World {
    let mut w = World::new();
    for n in 0..10 {
        w.snapshot(&format!("d={n}"), 100 * MIB, -20);
        w.snapshot(&format!("d={n}"), 120 * MIB, -19);
    }
    w
}

#[test]
fn what_needs_nothing_is_not_read() {
    let (found, read, all) = calm().looked_at(&Policy::default());
    assert_eq!((read, all), (0, 10));
    assert!(found.listing.is_empty());
    let head = found.head.unwrap();
    assert!(head.snapshots.is_empty());
    assert_eq!(head.live_rows(), 10 * (100 + 120) * 1024);
}

/// Each change makes the pass read the page of the folder that it is in, and no other.
#[test]
fn each_reason_to_look_reads_one_page() {
    type Change = fn(&mut World);
    let changes: [(&str, Change); 13] = [
        ("a raw file", |w| _ = w.raw("d=3", "x", KIB, 0)),
        ("a small snapshot more", |w| {
            w.snapshot("d=3", KIB, -1);
            w.snapshot("d=3", KIB, -1);
        }),
        ("an orphan", |w| {
            let key = w.snapshot("d=3", KIB, -1);
            w.head.snapshots.retain(|s| s.key != key);
        }),
        ("a snapshot that is gone", |w| {
            w.listing.retain(|f| !f.key.starts_with("acme/d=3/"));
        }),
        ("another size", |w| w.listing[6].size += 1),
        ("another tag", |w| w.listing[6].etag = Some("z".into())),
        ("nothing in it", |w| w.listing[6].size = 0),
        ("a tag that is gone", |w| w.listing[6].etag = None),
        ("a retired file", |w| w.retire("acme/d=3/gone.parquet")),
        ("a damaged file", |w| {
            w.head.quarantined.push(Quarantined {
                key: "acme/d=3/bad.parquet".into(),
                size: 1,
                etag: None,
                reason: "it is damaged".into(),
                at: at(0),
                cause: Some(Cause::Damaged),
            });
        }),
        ("an adopted file", |w| {
            w.head.adopted.push(Adopted {
                key: "acme/d=3/a.parquet".into(),
                etag: "a".into(),
                dated_by: "timestamp".into(),
                times: RowStats::default().into(),
            });
        }),
        ("restored rows", |w| {
            let id = w.head.snapshots[6].id;
            w.head.restored.insert(id, BTreeSet::new());
        }),
        ("another time column", |w| {
            w.head.snapshots[6].dated_by = Some("created".into());
        }),
    ];
    for (name, change) in changes {
        let mut w = calm();
        change(&mut w);
        let (found, read, all) = w.looked_at(&Policy::default());
        assert_eq!((read, all), (1, 10), "{name}");
        let head = found.head.unwrap();
        assert!(head.pages.knows("acme/d=3/x"), "{name}");
        assert!(!head.pages.knows("acme/d=4/x"), "{name}");
    }
}

/// What is called as a live snapshot, and is none by the rules of now, is in the listing all the
/// same: else it would be missing.
#[test]
fn a_live_snapshot_is_seen_whatever_the_rules_say_of_it() {
    let mut w = calm();
    w.listing[6].size = 0;
    let key = w.listing[6].key.clone();
    let (found, ..) = w.looked_at(&Policy::default());
    assert!(found.listing.iter().any(|f| f.key == key));
    assert!(evidence::unlisted(&found).is_empty());
}

#[test]
fn a_policy_that_wants_the_snapshots_reads_their_pages() {
    let all = |policy: Policy| calm().looked_at(&policy).1;
    let kept = |days: u32| Policy {
        ttl: Some(DAY * days),
        ..Policy::default()
    };
    assert_eq!(all(kept(21)), 0);
    assert_eq!(all(kept(19)), 10, "a row has expired");
    let large = Policy {
        target_file_size: 512 * MIB,
        ..Policy::default()
    };
    assert_eq!(all(large), 10, "they are small now");
    let full = Policy {
        strategy: CompactionStrategy::FullCompaction,
        ..Policy::default()
    };
    assert_eq!(all(full), 10);
    let tenant = Policy {
        within: Within::Tenant,
        ..Policy::default()
    };
    assert_eq!(all(tenant), 10);
}

/// A copy of a live snapshot is no orphan, although the page that names the snapshot is not read.
#[test]
fn a_copy_of_what_is_live_elsewhere_is_no_orphan() {
    let mut w = calm();
    let live = w.head.snapshots[6].key.clone();
    let copy = live.replace("d=3", "d=7");
    w.listed(&copy, 100 * MIB, "copy", -20);
    let (found, ..) = w.looked_at(&Policy::default());
    let head = found.head.as_ref().unwrap();
    assert!(!head.pages.knows(&live));
    assert!(sweep::orphans(head, &found.listing).is_empty());
    let strays = sweep::strays(head, &found.listing);
    assert_eq!(
        strays
            .iter()
            .map(|(f, of)| (&f.key, *of))
            .collect::<Vec<_>>(),
        [(&copy, &live)]
    );
}

/// What a world is made of: (folder, kind, size, day).
fn arbitrary(parts: &[(u8, u8, u8, u8)]) -> World {
    let mut w = World::new();
    for (n, (folder, kind, size, day)) in parts.iter().enumerate() {
        let folder = format!("d={}", folder % 12);
        let size = [KIB, 3 * MIB, 40 * MIB, 70 * MIB, 100 * MIB, 200 * MIB][usize::from(*size) % 6];
        let day = -i64::from(day % 60);
        let name = format!("f{n}");
        match kind % 16 {
            0 => _ = w.raw(&folder, &name, size, day),
            1 => {
                let key = w.raw(&folder, &name, size, day);
                w.retire(&key);
            }
            2 => w.retire(&format!("acme/{folder}/{name}.parquet")),
            3 => {
                let key = w.snapshot(&folder, size, day);
                w.head.snapshots.retain(|s| s.key != key);
            }
            4 => {
                let key = w.snapshot(&folder, size, day);
                w.listing.retain(|f| f.key != key);
            }
            5 => {
                let key = w.raw(&folder, &name, size, day);
                w.head.adopted.push(Adopted {
                    key,
                    etag: name,
                    dated_by: "timestamp".into(),
                    times: RowStats {
                        rows: 7,
                        min: Some(micros(day)),
                        max: Some(micros(day)),
                        ..RowStats::default()
                    }
                    .into(),
                });
            }
            6 => {
                let key = w.snapshot(&folder, size, day);
                let other = key.replace("d=", "e=");
                w.listed(&other, size, "copy", day);
            }
            7 => {
                let key = w.raw(&folder, &name, size, day);
                w.head
                    .swept_in
                    .entry(format!("acme/{folder}"))
                    .or_default()
                    .remember(at(-2), [(key.as_str(), None)]);
            }
            8 => {
                let key = w.snapshot(&folder, size, day);
                let emptied = w.listing.iter_mut().filter(|f| f.key == key);
                emptied.for_each(|f| f.size = 0);
            }
            _ => _ = w.snapshot(&folder, size, day),
        }
    }
    w
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A pass that reads some pages does what one would that reads all.
    #[test]
    fn a_part_of_head_leads_to_the_same_as_all_of_it(
        parts in proptest::collection::vec(any::<(u8, u8, u8, u8)>(), 0..60),
        ttl in prop_oneof![Just(None), (1_u32..80).prop_map(Some)],
        strategy in prop_oneof![
            Just(CompactionStrategy::SizeBased),
            Just(CompactionStrategy::TimeBased),
            Just(CompactionStrategy::FullCompaction),
        ],
        turn in 0..60_usize,
        waiting in 1..9_usize,
    ) {
        let mut w = arbitrary(&parts);
        // Stores list in other orders.
        let turn = turn % w.listing.len().max(1);
        w.listing.rotate_left(turn);
        let policy = Policy { ttl: ttl.map(|days| DAY * days), strategy, ..Policy::default() };
        let whole = w.whole();
        let (part, ..) = w.looked_at_by(&policy, Keep::All, waiting);
        let (all, some) = (whole.head.as_ref().unwrap(), part.head.as_ref().unwrap());

        let plan = |i: &Inventory| compaction::plan(&tenant(), i, &policy, at(0)).groups;
        prop_assert_eq!(plan(&whole), plan(&part));
        let missing = |i: &Inventory| -> Vec<Key> {
            evidence::unlisted(i).into_iter().map(|s| s.key.clone()).collect()
        };
        prop_assert_eq!(missing(&whole), missing(&part));
        let orphans = |head: &Manifest, i: &Inventory| -> Vec<FileId> {
            sweep::orphans(head, &i.listing).into_iter().map(|(id, _)| id).collect()
        };
        prop_assert_eq!(orphans(all, &whole), orphans(some, &part));
        let gone: BTreeSet<Key> = all.retired.iter().map(|r| r.key.clone()).collect();
        prop_assert_eq!(
            sweep::forgettable(all, &whole.listing, &gone).into_iter().collect::<BTreeSet<_>>(),
            sweep::forgettable(some, &part.listing, &gone).into_iter().collect::<BTreeSet<_>>()
        );
        prop_assert_eq!(
            sweep::is_due(&whole, &policy, at(0)),
            sweep::is_due(&part, &policy, at(0))
        );
        let status = |i: &Inventory| {
            let mut status = status::of(&tenant(), i, &policy, at(0));
            // A page tells of all its snapshots together.
            status.forecast = None;
            serde_json::to_value(status).unwrap()
        };
        prop_assert_eq!(status(&whole), status(&part));
        prop_assert_eq!(
            status::totals(&tenant(), &whole),
            status::totals(&tenant(), &part)
        );

        // A round that keeps few new files, or none, concludes the same of what is known.
        let window = Window { policy: &policy, now: at(0), most: waiting };
        for keep in [Keep::Known, Keep::Window(window)] {
            let (round, ..) = w.looked_at_by(&policy, keep, waiting);
            let head = round.head.as_ref().unwrap();
            prop_assert_eq!(missing(&whole), missing(&round));
            prop_assert_eq!(orphans(all, &whole), orphans(head, &round));
            prop_assert_eq!(
                sweep::forgettable(some, &part.listing, &gone),
                sweep::forgettable(head, &round.listing, &gone)
            );
            prop_assert_eq!(
                sweep::is_due(&whole, &policy, at(0)),
                sweep::is_due(&round, &policy, at(0))
            );
            let read = |head: &Manifest| head.pages.unread().map(|p| p.id).collect::<Vec<_>>();
            prop_assert_eq!(read(some), read(head), "the same pages are read");
        }
    }
}
