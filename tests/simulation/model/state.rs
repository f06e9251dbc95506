//! What the checker's states are made of: the world as `icepack_dst::invariants` sees it, and where
//! every process stands.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use icepack::clock::{Clock, ManualClock};
use icepack_core::model::file::{Listed, Micros, RowStats, Snapshot};
use icepack_core::model::hold::Hold;
use icepack_core::model::manifest::{Edit, Manifest, Observed, Receipt};
use icepack_core::model::names::{FileId, Key, Place, Tenant, archive_key, snapshot_key};
use icepack_dst::invariants::{Object, World};
use ulid::Ulid;

pub type Row = u8;
pub type W = World<Row>;

pub fn tenant() -> Tenant {
    Tenant::parse("t").unwrap()
}

/// A day before tick 0.
const BEGINNING: DateTime<Utc> = DateTime::from_timestamp_nanos(1_600_000_000_000_000_000);

/// One tick is a day: as long as the grace of an orphan.
pub fn at(tick: u8) -> DateTime<Utc> {
    BEGINNING + TimeDelta::days(i64::from(tick) + 1)
}

/// Rows from here on are past the cutoff.
pub const OLD: Row = 100;

/// Where the cutoff lies in time: the same at every tick, so that nothing expires while a world is
/// searched but by its holds.
pub fn cutoff() -> DateTime<Utc> {
    BEGINNING - TimeDelta::days(1_000)
}

/// When a row happened.
pub fn time_of(row: Row) -> Micros {
    let from = cutoff() + TimeDelta::days(if row >= OLD { -500 } else { 500 });
    Micros(Micros::from_datetime(from).0 + i64::from(row))
}

/// An id as a run mints it: by the clock, above the floor.
pub fn mint(tick: u8, seed: u64, floor: FileId) -> FileId {
    ManualClock::new(at(tick), seed).mint(floor)
}

/// An id that says who, and nothing of the time.
pub fn name(seed: u64) -> FileId {
    FileId(Ulid::from_parts(1, u128::from(seed)))
}

fn stats(rows: &[Row]) -> RowStats {
    let times = || rows.iter().copied().map(time_of);
    RowStats {
        rows: rows.len() as u64,
        min: times().min(),
        max: times().max(),
        ..RowStats::default()
    }
}

pub fn object(tag: String, rows: &[Row]) -> Object<Row> {
    Object {
        size: rows.len() as u64,
        etag: Some(tag),
        rows: rows.to_vec(),
    }
}

pub fn snapshot(id: FileId, rows: &[Row]) -> Snapshot {
    Snapshot {
        key: snapshot_key(&Place::Month(tenant()), &tenant(), Micros(0), Micros(0), id),
        id,
        size: rows.len() as u64,
        etag: Some(id.to_string()),
        schema: None,
        dated_by: Some("timestamp".into()),
        stats: stats(rows),
    }
}

pub fn receipt(id: FileId, rows: &[Row]) -> Receipt {
    receipt_of(tenant(), id, rows)
}

pub fn receipt_of(tenant: Tenant, id: FileId, rows: &[Row]) -> Receipt {
    let key = archive_key(
        &Place::Month(tenant.clone()),
        &tenant,
        Micros(0),
        Micros(0),
        id,
    );
    let mut receipt = Receipt::new(
        tenant,
        id,
        key,
        rows.len() as u64,
        stats(rows),
        "",
        FileId::NIL,
    );
    (receipt.etag, receipt.at) = (Some(id.to_string()), DateTime::UNIX_EPOCH);
    receipt
}

/// A manifest with a hash of all that the model lets differ.
#[derive(Clone, Debug)]
pub struct Head(pub Arc<Manifest>);

impl Deref for Head {
    type Target = Manifest;
    fn deref(&self) -> &Manifest {
        &self.0
    }
}

impl Hash for Head {
    fn hash<H: Hasher>(&self, h: &mut H) {
        hash_manifest(self, h);
    }
}

fn hash_manifest(m: &Manifest, h: &mut impl Hasher) {
    (m.version, m.commit_id, m.parent, m.floor).hash(h);
    for s in &m.snapshots {
        (&s.key, s.stats.rows).hash(h);
    }
    0_u8.hash(h);
    for r in &m.retired {
        let found = r.found.as_ref().map(|f| (&f.etag, f.verdict));
        (&r.key, &r.etag, r.content(), found).hash(h);
    }
    1_u8.hash(h);
    m.pages.all().iter().for_each(|p| p.id.hash(h));
    m.archives
        .iter()
        .for_each(|a| (&a.key, &a.again_of).hash(h));
    m.swept.hash(h);
    m.restored.hash(h);
    for hold in &m.holds {
        (
            hold.id,
            hold.done,
            hold.oldest,
            hold.until,
            &hold.files,
            &hold.objects,
        )
            .hash(h);
    }
}

/// How tags begin that are those of the same bytes once more.
pub const TOUCHED: &str = "touched";

/// An edit, hashed once.
#[derive(Clone, Debug)]
pub struct Wish(pub Arc<Edit>, u64);

impl Wish {
    pub fn new(edit: Edit) -> Self {
        let mut h = DefaultHasher::new();
        serde_json::to_vec(&edit).unwrap().hash(&mut h);
        Self(Arc::new(edit), h.finish())
    }
}

impl Hash for Wish {
    fn hash<H: Hasher>(&self, h: &mut H) {
        self.1.hash(h);
    }
}

/// What was seen after a head.
#[derive(Clone, Debug)]
pub struct Seen(pub Observed);

impl Hash for Seen {
    fn hash<H: Hasher>(&self, h: &mut H) {
        (
            self.0.head_version,
            &self.0.present,
            &self.0.listing,
            &self.0.gone,
            &self.0.receipts,
        )
            .hash(h);
    }
}

fn hash_world(w: &W) -> u64 {
    let mut h = DefaultHasher::new();
    w.hot.hash(&mut h);
    w.manifests.values().for_each(|m| hash_manifest(m, &mut h));
    (
        &w.cold,
        w.receipts
            .values()
            .map(|r| (&r.key, &r.again_of))
            .collect::<Vec<_>>(),
        &w.oracle,
        &w.deletions,
        &w.reported,
    )
        .hash(&mut h);
    w.history
        .iter()
        .for_each(|m| (m.version, m.commit_id, m.parent).hash(&mut h));
    h.finish()
}

#[derive(Clone, Debug)]
pub struct State {
    pub world: Arc<W>,
    pub world_hash: u64,
    pub procs: Vec<Proc>,
    /// Puts of manifests that nobody has heard of again. Each may still arrive, at any time or
    /// never.
    pub in_flight: Vec<Head>,
    pub time: u8,
    /// How many replies may still be lost.
    pub timeouts: u8,
    /// How many reads may still fail.
    pub failures: u8,
    /// How many listings may still miss an entry.
    pub late: u8,
    /// How many files may still be copied onto themselves.
    pub touches: u8,
    pub arrived: usize,
    /// The pages that are stored. What they say is in the manifests here.
    pub pages: BTreeSet<FileId>,
    /// The rows that a restore is done with, and until when they are held.
    pub brought: BTreeMap<Row, DateTime<Utc>>,
    /// What a process found that must never be.
    pub broken: Option<&'static str>,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, h: &mut H) {
        (
            self.world_hash,
            &self.procs,
            &self.in_flight,
            self.time,
            self.timeouts,
            self.failures,
            self.arrived,
            self.broken,
        )
            .hash(h);
        (self.late, self.touches, &self.brought, &self.pages).hash(h);
    }
}

/// As the checker sees it: states are what they hash to.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let digest = |s: &Self| {
            let mut h = DefaultHasher::new();
            s.hash(&mut h);
            h.finish()
        };
        digest(self) == digest(other)
    }
}

impl State {
    pub fn new(world: W, procs: usize) -> Self {
        let world_hash = hash_world(&world);
        let procs = vec![
            Proc {
                phase: 0,
                began: 0,
                cutoff: Micros(0),
                later: Vec::new(),
                pc: Pc::list(Sweep::default())
            };
            procs
        ];
        Self {
            world: Arc::new(world),
            world_hash,
            procs,
            in_flight: Vec::new(),
            time: 0,
            timeouts: 0,
            failures: 0,
            late: 0,
            touches: 0,
            arrived: 0,
            pages: BTreeSet::new(),
            brought: BTreeMap::new(),
            broken: None,
        }
    }

    /// Of the world, and of what is asked of it at this time.
    pub fn hash_of_restored(&self) -> u64 {
        let mut h = DefaultHasher::new();
        (self.world_hash, self.time, &self.brought).hash(&mut h);
        h.finish()
    }

    pub fn has_pages_of(&self, m: &Manifest) -> bool {
        m.pages.all().iter().all(|p| self.pages.contains(&p.id))
    }

    pub fn newest(&self) -> Newest {
        self.world
            .head()
            .map_or(Newest(0, FileId::NIL), |m| Newest(m.version, m.commit_id))
    }

    pub fn change(&mut self, f: impl FnOnce(&mut W)) {
        f(Arc::make_mut(&mut self.world));
        self.world_hash = hash_world(&self.world);
    }
}

/// A process: where it stands in which of its phases.
#[derive(Clone, Debug, Hash)]
pub struct Proc {
    pub phase: usize,
    /// The store's time when the phase began.
    pub began: u8,
    /// Rows before this expire, by the head that the plan was made of.
    pub cutoff: Micros,
    /// Groups that were planned and not begun, a file each.
    pub later: Vec<Key>,
    pub pc: Pc,
}

/// The highest version of a listing, with its tag; zero where there is none. A manifest's commit
/// stands for its tag: no two have the same bytes.
#[derive(Clone, Copy, Debug, Hash)]
pub struct Newest(pub u64, pub FileId);

/// What a sweep remembers between its two rounds.
#[derive(Clone, Debug, Hash, Default)]
pub struct Sweep {
    pub round: u8,
    pub filed: BTreeSet<Key>,
    /// What this round has deleted.
    pub deleted: BTreeSet<Key>,
}

/// Where a process stands: each variant names the request that comes next.
#[derive(Clone, Debug, Hash)]
pub enum Pc {
    ListVersions {
        sweep: Sweep,
    },
    GetHead {
        newest: Newest,
        sweep: Sweep,
    },
    /// Without a head, where the tenant has none yet.
    List {
        head: Option<Head>,
    },
    /// A head, after all?
    LookAgain,
    /// The first manifest.
    Begin {
        todo: Vec<Key>,
        first: Head,
        at: At,
    },
    Fetch {
        head: Head,
        todo: Vec<Key>,
        taken: Vec<(Key, Object<Row>)>,
    },
    Upload {
        head: Head,
        wish: Wish,
        seen: Seen,
        rows: Vec<(Key, Vec<Row>, Where)>,
        commit_first: bool,
    },
    Commit(Box<Commit>),
    FileReceipts {
        head: Head,
        todo: Vec<Key>,
        sweep: Sweep,
    },
    /// A restore looks for a hold once, thaws, and looks again.
    HeadOfRestore {
        newest: Option<Newest>,
        thawed: bool,
    },
    /// It looks for a file, and then puts it.
    Copy {
        head: Head,
        hold: Held,
        todo: Vec<Key>,
        absent: bool,
    },
    SweepList {
        head: Head,
        sweep: Sweep,
    },
    Delete {
        head: Head,
        todo: Vec<Key>,
        sweep: Sweep,
    },
    ListAgain {
        head: Head,
        sweep: Sweep,
    },
    /// Pages that no manifest will name.
    DeletePages {
        head: Head,
        sweep: Sweep,
        listing: Vec<Listed>,
        todo: Vec<FileId>,
    },
    ListForPruning {
        version: u64,
    },
    Prune {
        todo: Vec<u64>,
    },
    /// Only mutants delete what they remember.
    DeleteRemembered {
        todo: Vec<Key>,
        then: Option<Box<Commit>>,
    },
    ReadList {
        head: Head,
    },
    ReadAgain {
        version: u64,
        sound: bool,
    },
    Done,
}

impl Pc {
    pub fn list(sweep: Sweep) -> Self {
        Self::ListVersions { sweep }
    }
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum Where {
    Hot,
    Cold,
}

/// A hold as its restore knows it.
#[derive(Clone, Debug)]
pub struct Held(pub Hold);

impl Hash for Held {
    fn hash<H: Hasher>(&self, h: &mut H) {
        (self.0.id, self.0.done, self.0.until, &self.0.files).hash(h);
    }
}

/// A commit under way.
#[derive(Clone, Debug, Hash)]
pub struct Commit {
    pub head: Head,
    pub wish: Wish,
    pub seen: Seen,
    pub next: Head,
    pub at: At,
    pub rebased: bool,
    pub then: Then,
}

/// What follows a commit.
#[derive(Clone, Debug, Hash, Default)]
pub struct Then {
    /// A sweep's; none for a compaction.
    pub sweep: Option<Sweep>,
    /// The hold that a restore committed.
    pub restoring: Option<Held>,
    /// A mutant's uploads that come after the commit.
    pub late: Vec<(Key, Vec<Row>, Where)>,
}

impl Then {
    pub fn sweep(sweep: Sweep) -> Self {
        Self {
            sweep: Some(sweep),
            ..Self::default()
        }
    }
}

#[derive(Clone, Debug, Hash)]
pub enum At {
    /// A page, before the manifest that names it.
    PutPage {
        todo: Vec<FileId>,
    },
    Put,
    ReadBack,
    ListAbove,
    ReadChild,
    ListHead,
    GetHead {
        newest: Newest,
    },
    ListFiles,
    Look {
        todo: Vec<Key>,
    },
}
