//! The first step of a merge: fetch, check and profile every input, and unite their columns.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::job::Job;
use super::later::{Later, Room, Rooms};
use super::spill_file;
use super::{BadInput, Env, Flaw, MergeError, MergeSpec, Part};
use crate::budget::MergeBudget;
use crate::error::{Error, ReadError, Result, Unread};
use crate::store;
use icepack_core::model::file::{Micros, SeenInput, TimeSpread};
use icepack_core::model::plan::PlannedInput;
use icepack_core::model::policy::Uniting;
use icepack_core::model::same::Sameness;
use icepack_core::model::time_column::TimeColumn;
use icepack_core::model::units::KIB;
use icepack_parquet::footer;
use icepack_parquet::guard::footer_len;
use icepack_parquet::profile::Profile;
use icepack_parquet::read::{Closed, Input, TAIL, read_tail};
use icepack_parquet::schema::{self, UnionSchema};
use icepack_parquet::source::{
    Copies, Disk, Ident, Remote, Source, Tail, fetch_end, store_error, whole_body,
};
use icepack_parquet::time::Dater;

/// Times as many inputs are looked at at once where the footers of most are fetched alone.
const FOOTERS: usize = 4;

/// Whether an input may be fetched when the merge comes to it.
pub(super) fn may_be_later(planned: &PlannedInput, budget: MergeBudget) -> bool {
    !planned.is_snapshot() && (budget.least_later..=budget.whole).contains(&planned.size)
}

/// An input that has been seen and can be read.
pub(super) struct Opened {
    pub planned: PlannedInput,
    /// To be opened again.
    pub file: Closed,
    /// By the footer.
    pub rows: u64,
    /// An estimate of its rows once decoded.
    pub decoded_bytes: u64,
    /// An estimate of what an open reader holds.
    pub open_bytes: u64,
    /// Of files whose times the manifest does not know: raw ones, and snapshots that another
    /// column dated.
    pub profile: Option<Profile>,
    /// Or why its rows cannot be dated, in a sentence.
    pub dated: Result<(), String>,
    pub schema: SchemaRef,
    /// Its place among the inputs whose columns were united: the first wins.
    pub turn: usize,
    /// Where its rows are fetched when the merge comes to them.
    pub later: Option<Arc<Later>>,
    /// What its bytes take.
    _room: Option<Room>,
}

impl Opened {
    /// Opens the file again, and says whether its rows are in order, as far as that was to be found
    /// out.
    pub fn open(&self, job: &Job) -> Result<(Input, bool)> {
        match &self.later {
            Some(later) => later.open(job, self),
            None => Ok((self.file.open()?, true)),
        }
    }

    /// The input as the read showed it. The fingerprint of a raw file follows once it has been
    /// read.
    pub fn seen(&self) -> SeenInput {
        let ident = &self.file.ident;
        SeenInput {
            key: ident.key.clone(),
            size: ident.size,
            etag: ident.etag.clone(),
            rows: self.rows,
            fingerprint: self.planned.stats.map(|s| s.fingerprint),
        }
    }

    /// Bytes of the input, and the time range of its dated rows.
    pub fn extent(&self) -> TimeSpread {
        let (min, max) = match (&self.profile, &self.planned.stats) {
            (Some(profile), _) => (profile.min, profile.max),
            (None, stats) => stats.map_or((None, None), |s| (s.min, s.max)),
        };
        TimeSpread {
            amount: self.file.ident.size,
            span: min.zip(max),
        }
    }
}

/// Every input's own schema, by turn.
pub(super) type Turns = Vec<(Arc<Ident>, SchemaRef)>;

/// All inputs.
pub(super) struct OpenedAll {
    /// In the order they were given.
    pub inputs: Vec<Opened>,
    /// The schema that holds them all.
    pub schema: SchemaRef,
    pub turns: Turns,
    /// No dated row is later.
    pub latest: Micros,
    /// The memory that inputs take.
    pub rooms: Arc<Rooms>,
}

/// What the concurrent fetches share.
pub(super) struct Opener {
    env: Arc<Env>,
    budget: MergeBudget,
    column: TimeColumn,
    now: Micros,
    /// Bytes on their way, in KiB.
    in_flight: Semaphore,
    permits: u32,
    rooms: Arc<Rooms>,
    /// Inputs for which memory has no room.
    copies: Mutex<Option<Copies>>,
    /// Whether inputs for which there is no room are fetched later.
    defers: AtomicBool,
    /// The most bytes of a footer so far.
    footer: AtomicU64,
    /// Held by whoever examines a file that takes much memory: several at once would take several
    /// times as much.
    heavy: Mutex<()>,
}

/// Opens every input. Unreadable ones are all found before it gives up, and are left out before the
/// others are compared.
pub(super) async fn open_all(
    env: &Arc<Env>,
    spec: &MergeSpec,
    budget: MergeBudget,
    defers: bool,
) -> Result<OpenedAll, MergeError> {
    let opener = Opener::new(env, budget, &spec.columns.timestamp, spec.now, defers);
    let fetches = spec.inputs.iter().cloned().enumerate().map(|(i, planned)| {
        let opener = Arc::clone(&opener);
        async move { (i, opener.open(planned).await) }
    });
    let at_once = if defers {
        // Most are fetches of footers, which take little memory and time.
        budget.prefetch * FOOTERS
    } else {
        budget.prefetch
    };
    let mut fetched = stream::iter(fetches).buffer_unordered(at_once);
    let mut opened: Vec<(usize, Opened)> = Vec::with_capacity(spec.inputs.len());
    let mut bad: Vec<(usize, BadInput)> = Vec::new();
    let mut denied: Option<(usize, Error)> = None;
    while let Some((i, result)) = fetched.next().await {
        match result {
            Ok(mut input) => {
                share_schema(&mut input, opened.last().map(|(_, o)| o));
                opened.push((i, input));
            }
            Err(e) => match BadInput::of(&e) {
                Some(b) => {
                    if b.flaw == Flaw::Unread(Unread::Denied)
                        && denied.as_ref().is_none_or(|(first, _)| i < *first)
                    {
                        denied = Some((i, e));
                    }
                    bad.push((i, b));
                }
                None => return Err(MergeError::Failed(e)),
            },
        }
    }
    drop(fetched);
    // Whether it is the file or the credentials, only the others tell.
    if let Some((_, e)) = denied.filter(|_| opened.is_empty()) {
        return Err(MergeError::Failed(e));
    }
    opened.sort_by_key(|(i, _)| *i);
    let classes = classes(spec, &opened, &mut bad);
    if !bad.is_empty() {
        bad.sort_by_key(|(i, _)| *i);
        return Err(MergeError::Bad(bad.into_iter().map(|(_, b)| b).collect()));
    }
    let (schema, turns) = unite(&mut opened, classes)?;
    let mut inputs: Vec<Opened> = opened.into_iter().map(|(_, o)| o).collect();
    expect_alike(&mut inputs);
    let latest = inputs
        .iter()
        .filter_map(|i| i.extent().span)
        .map(|(_, max)| max)
        .max()
        .unwrap_or(Micros::EPOCH_2000);
    Ok(OpenedAll {
        inputs,
        schema,
        turns,
        latest,
        rooms: Arc::clone(&opener.rooms),
    })
}

/// What a footer does not say: where the rows of one input are in no order, those of the others are
/// expected to be in none.
fn expect_alike(inputs: &mut [Opened]) {
    let is_unsorted = |i: &Opened| i.profile.is_some_and(|p| !p.sorted);
    if inputs.iter().any(is_unsorted) {
        for input in inputs.iter_mut().filter(|i| i.later.is_some()) {
            if let Some(profile) = &mut input.profile {
                profile.sorted = false;
            }
        }
    }
}

/// Files of one writer have equal schemas: thousands of copies would add up.
fn share_schema(input: &mut Opened, other: Option<&Opened>) {
    if let Some(other) = other.filter(|o| o.schema == input.schema) {
        input.schema = Arc::clone(&other.schema);
    }
}

/// Inputs whose columns are united.
struct Class {
    union: UnionSchema,
    /// Places among the opened.
    members: Vec<usize>,
    /// The columns that kept its first member out of each class before it.
    columns: Vec<Option<String>>,
}

/// The classes of all inputs: each goes to the first class that it fits. Snapshots go first, so that
/// a raw file does not take the place of what was united before. Within each, those that contradict
/// the fewest go first: one odd file must not keep all the others apart.
fn classes(
    spec: &MergeSpec,
    opened: &[(usize, Opened)],
    bad: &mut Vec<(usize, BadInput)>,
) -> Vec<Class> {
    let (snapshots, raw): (Vec<usize>, Vec<usize>) =
        (0..opened.len()).partition(|n| opened[*n].1.planned.is_snapshot());
    let how = spec.uniting;
    let order = agreeing_first(opened, snapshots, how)
        .into_iter()
        .chain(agreeing_first(opened, raw, how));
    let mut classes: Vec<Class> = Vec::new();
    let mut known: HashMap<*const Schema, usize> = HashMap::new();
    for n in order {
        let (i, input) = &opened[n];
        let schema = Arc::as_ptr(&input.schema);
        let found = match (&input.dated, known.get(&schema)) {
            (Err(reason), _) => Err(flawed(input, reason.clone(), Flaw::Undatable)),
            (Ok(()), Some(class)) => Ok(*class),
            (Ok(()), None) => class_of(spec, input, &mut classes),
        };
        match found {
            Ok(class) => {
                known.insert(schema, class);
                classes[class].members.push(n);
            }
            Err(found) => bad.push((*i, found)),
        }
    }
    classes
}

/// The place of the class that `input` fits, which may be a new one; or what is wrong with it.
fn class_of(spec: &MergeSpec, input: &Opened, classes: &mut Vec<Class>) -> Result<usize, BadInput> {
    let add = |union: &mut UnionSchema| {
        if input.planned.is_snapshot() {
            union.add_ours(&input.schema)
        } else {
            union.add(&input.schema)
        }
    };
    if let Some(fits) = classes.iter_mut().position(|c| add(&mut c.union).is_ok()) {
        return Ok(fits);
    }
    let mut union = UnionSchema::new(&spec.columns).allowing(spec.uniting);
    add(&mut union).map_err(|reason| flawed(input, reason, Flaw::Damaged))?;
    let columns = classes.iter().map(|c| c.union.contradicted(&input.schema));
    classes.push(Class {
        columns: columns.collect(),
        union,
        members: Vec::new(),
    });
    Ok(classes.len() - 1)
}

fn flawed(input: &Opened, reason: String, flaw: Flaw) -> BadInput {
    let Ident { key, size, etag } = Ident::clone(&input.file.ident);
    BadInput {
        key,
        size,
        etag,
        reason,
        flaw,
    }
}

/// What the only class of `opened` is united to; of several, the inputs of each.
fn unite(
    opened: &mut [(usize, Opened)],
    mut classes: Vec<Class>,
) -> Result<(SchemaRef, Turns), MergeError> {
    if classes.len() > 1 {
        let part = |c: Class| Part {
            keys: c
                .members
                .iter()
                .map(|n| opened[*n].1.planned.key.clone())
                .collect(),
            columns: c.columns,
        };
        return Err(MergeError::Apart(classes.into_iter().map(part).collect()));
    }
    let Some(Class { union, members, .. }) = classes.pop() else {
        return Ok((Arc::new(Schema::empty()), Vec::new()));
    };
    let mut turns = Vec::with_capacity(members.len());
    for n in members {
        let input = &mut opened[n].1;
        input.turn = turns.len();
        turns.push((Arc::clone(&input.file.ident), Arc::clone(&input.schema)));
    }
    Ok((union.finish(), turns))
}

/// Inputs by how many of their columns most of the others contradict, in their order where that is
/// equal: mostly none does.
fn agreeing_first(opened: &[(usize, Opened)], mut inputs: Vec<usize>, how: Uniting) -> Vec<usize> {
    let mut schemas: Vec<(SchemaRef, usize)> = Vec::new();
    let mut places: HashMap<*const Schema, usize> = HashMap::new();
    for n in &inputs {
        let schema = &opened[*n].1.schema;
        let place = *places.entry(Arc::as_ptr(schema)).or_insert_with(|| {
            schemas.push((Arc::clone(schema), 0));
            schemas.len() - 1
        });
        schemas[place].1 += 1;
    }
    if schemas.len() > 1 {
        let odd = schema::contradictions(&schemas, how);
        inputs.sort_by_key(|n| {
            places
                .get(&Arc::as_ptr(&opened[*n].1.schema))
                .and_then(|place| odd.get(*place))
                .copied()
        });
    }
    inputs
}

/// An object's bytes, or its last ones.
enum Fetched {
    Whole(Bytes),
    /// Of a file that can be read where it lies.
    Here(Disk),
    /// With where it lies, if the store is a directory.
    Tail(Bytes, Option<Disk>),
}

impl Opener {
    /// For files whose rows `column` dates. With `defers`, those for which memory has no room are
    /// fetched later, if their footers allow it.
    pub fn new(
        env: &Arc<Env>,
        budget: MergeBudget,
        column: &TimeColumn,
        now: Micros,
        defers: bool,
    ) -> Arc<Self> {
        let permits = u32::try_from((budget.whole.max(budget.pool / 2)) >> 10)
            .unwrap_or(u32::MAX >> 4)
            .min(u32::MAX >> 4);
        Arc::new(Self {
            env: Arc::clone(env),
            budget,
            column: column.clone(),
            now,
            in_flight: Semaphore::new(permits as usize),
            permits,
            rooms: Arc::new(Rooms::of(budget.pool, defers)),
            copies: Mutex::default(),
            defers: AtomicBool::new(defers),
            footer: AtomicU64::new(0),
            heavy: Mutex::new(()),
        })
    }

    /// Fetches an input, or its end, and profiles it.
    pub async fn open(self: Arc<Self>, planned: PlannedInput) -> Result<Opened> {
        self.env.stop.check()?;
        let path = store::path(&planned.key)?;
        let is_whole = planned.size <= self.budget.whole;
        let room = is_whole.then(|| self.rooms.take(planned.size)).flatten();
        if room.is_none()
            && may_be_later(&planned, self.budget)
            && let Some(opened) = self.open_later(&planned, &path).await?
        {
            return Ok(opened);
        }
        let _permit = self.permit(planned.size.min(self.budget.whole)).await?;
        let (meta, fetched) = if is_whole {
            self.fetch_whole(&planned, &path).await?
        } else {
            self.fetch_end(&planned, &path, TAIL).await?
        };
        let ident = Ident {
            key: planned.key.clone(),
            size: meta.size,
            etag: meta.e_tag.clone(),
        };
        let opener = Arc::clone(&self);
        let work = move || opener.examine(planned, ident, path, fetched, room);
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| Error::local("cannot open an input", e))?
    }

    /// Waits until so many bytes may be fetched.
    async fn permit(&self, bytes: u64) -> Result<SemaphorePermit<'_>> {
        let kib = u32::try_from(bytes.div_ceil(KIB)).unwrap_or(self.permits);
        let permit = self.in_flight.acquire_many(kib.clamp(1, self.permits));
        permit
            .await
            .map_err(|e| Error::local("cannot fetch inputs", e))
    }

    /// Looks at the footer of an input alone. None where that does not tell when its rows are from:
    /// then it is fetched now.
    async fn open_later(
        self: &Arc<Self>,
        planned: &PlannedInput,
        path: &Path,
    ) -> Result<Option<Opened>> {
        if !self.defers.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let len = match self.footer.load(Ordering::SeqCst) {
            0 => TAIL,
            seen => (seen + seen / 4).max(8 * KIB),
        };
        // Of such a small one, its end is most of it.
        if planned.size < 4 * len {
            return Ok(None);
        }
        let _permit = self.permit(len).await?;
        let (meta, fetched) = self.fetch_end(planned, path, len).await?;
        let Fetched::Tail(tail, None) = fetched else {
            return Ok(None);
        };
        let ident = Ident {
            key: planned.key.clone(),
            size: meta.size,
            etag: meta.e_tag.clone(),
        };
        let (opener, planned, path) = (Arc::clone(self), planned.clone(), path.clone());
        let work = move || opener.examine_later(planned, ident, path, &tail);
        let opened = tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| Error::local("cannot open an input", e))?;
        if opened.is_none() {
            // The others are of the same writer.
            self.defers.store(false, Ordering::SeqCst);
        }
        Ok(opened)
    }

    async fn fetch_whole(
        &self,
        planned: &PlannedInput,
        path: &Path,
    ) -> Result<(ObjectMeta, Fetched)> {
        let failed = |e| store_error(&planned.key, e);
        let reply = self
            .env
            .store
            .get_opts(path, GetOptions::default())
            .await
            .map_err(failed)?;
        let meta = reply.meta.clone();
        same_version(planned, &meta)?;
        if let Some(disk) = Disk::behind(&reply.payload) {
            return Ok((meta, Fetched::Here(disk)));
        }
        let bytes = whole_body(reply).await.map_err(failed)?;
        Ok((meta, Fetched::Whole(bytes)))
    }

    async fn fetch_end(
        &self,
        planned: &PlannedInput,
        path: &Path,
        len: u64,
    ) -> Result<(ObjectMeta, Fetched)> {
        let Tail { meta, bytes, disk } =
            fetch_end(self.env.store.as_ref(), path, &planned.key, len).await?;
        same_version(planned, &meta)?;
        match footer_len(&bytes, meta.size) {
            Ok(need) if need > bytes.len() as u64 => {
                let again = fetch_end(self.env.store.as_ref(), path, &planned.key, need).await?;
                if Sameness::of(meta.e_tag.as_deref(), again.meta.e_tag.as_deref()).is_same() {
                    Ok((meta, Fetched::Tail(again.bytes, disk)))
                } else {
                    Err(ReadError::Changed(planned.key.clone()).into())
                }
            }
            // Where it is no footer at all, opening it says so.
            _ => Ok((meta, Fetched::Tail(bytes, disk))),
        }
    }

    /// Parses the footer and reads the times, on a blocking thread, then puts the bytes where they
    /// can stay.
    fn examine(
        &self,
        planned: PlannedInput,
        ident: Ident,
        path: Path,
        fetched: Fetched,
        room: Option<Room>,
    ) -> Result<Opened> {
        self.env.stop.check()?;
        let (source, tail) = match &fetched {
            Fetched::Whole(bytes) => (Source::Memory(bytes.clone()), None),
            Fetched::Here(disk) => {
                let source = Source::Disk(disk.clone());
                let footer = read_tail(&Arc::new(ident.clone()), &source)?;
                (source, Some(footer))
            }
            Fetched::Tail(tail, Some(disk)) => (Source::Disk(disk.clone()), Some(compact(tail))),
            Fetched::Tail(tail, None) => (self.remote(path, &ident), Some(compact(tail))),
        };
        let much = self.budget.file_limit / 8;
        let heavy =
            |yes: bool| yes.then(|| self.heavy.lock().unwrap_or_else(PoisonError::into_inner));
        let footer = tail.as_ref().or(match &source {
            Source::Memory(bytes) => Some(bytes),
            _ => None,
        });
        let footer = footer
            .and_then(|bytes| footer_len(bytes, ident.size).ok())
            .unwrap_or(0);
        self.footer.fetch_max(footer, Ordering::SeqCst);
        let mut held = heavy(footer > much / 32);
        let input =
            Input::open_within(ident, source.clone(), tail.clone(), self.budget.file_limit)?;
        let dater = Dater::of(&self.column, input.schema(), &planned.key);
        let root = dater.as_ref().ok().and_then(Dater::root);
        if let (None, Some(root)) = (&held, root) {
            held = heavy(input.widest(root) > much);
        }
        check_snapshot(&planned, &input)?;
        if let Some(reason) = input.refusal().filter(|_| !planned.is_snapshot()) {
            return Err(input.ident.bad(reason).into());
        }
        let (profile, dated) = match dater {
            Err(why) => (None, Err(why)),
            Ok(_) if planned.has_times() => (None, Ok(())),
            Ok(dater) => match input.profile(&dater, self.now)? {
                Ok(profile) => (Some(profile), Ok(())),
                Err(why) => (None, Err(why)),
            },
        };
        let (rows, decoded_bytes, schema) = (
            input.rows(),
            input.decoded_bytes(),
            Arc::clone(input.schema()),
        );
        let open_bytes = input.open_bytes(self.budget.batch);
        drop(held);
        let (source, tail, room) = match fetched {
            Fetched::Whole(bytes) if rows > 0 && room.is_none() => {
                (self.store(&bytes)?, tail, None)
            }
            Fetched::Whole(_) => (source, tail, room),
            // To be read again from the file, which costs less than to hold thousands of footers.
            Fetched::Here(_) => (source, None, None),
            Fetched::Tail(..) => (source, tail, None),
        };
        let file = input.close(source, tail);
        let dated = dated.map_err(|why| file.undated(&self.column, self.now).unwrap_or(why));
        Ok(Opened {
            planned,
            file,
            rows,
            decoded_bytes,
            open_bytes,
            profile,
            dated,
            schema,
            turn: 0,
            later: None,
            _room: room,
        })
    }

    /// An input by its footer alone, if that tells all that the merge must know beforehand.
    fn examine_later(
        &self,
        planned: PlannedInput,
        ident: Ident,
        path: Path,
        tail: &Bytes,
    ) -> Option<Opened> {
        let tail = compact(tail);
        let limit = self.budget.file_limit;
        self.footer.fetch_max(tail.len() as u64, Ordering::SeqCst);
        let (column, size) = (&self.column, ident.size);
        let profile = footer::profile(&tail, size, limit, column, &planned.key).ok()??;
        let later = Later::new(
            Arc::clone(&self.env.store),
            path.clone(),
            ident.clone(),
            tail.clone(),
            limit,
        );
        let source = self.remote(path, &ident);
        let input = Input::open_within(ident, source.clone(), Some(tail.clone()), limit).ok()?;
        if input.refusal().is_some() {
            return None;
        }
        Some(Opened {
            rows: input.rows(),
            decoded_bytes: input.decoded_bytes(),
            open_bytes: input.open_bytes(self.budget.batch) + planned.size,
            schema: Arc::clone(input.schema()),
            file: input.close(source, Some(tail)),
            planned,
            profile: Some(profile),
            dated: Ok(()),
            turn: 0,
            later: Some(Arc::new(later)),
            _room: None,
        })
    }

    fn remote(&self, path: Path, ident: &Ident) -> Source {
        Source::Remote(Remote {
            store: Arc::clone(&self.env.store),
            path,
            etag: ident.etag.clone(),
            window: self.budget.window(),
            runtime: self.env.runtime.clone(),
        })
    }

    /// On the local disk, where there is no room in memory.
    fn store(&self, bytes: &Bytes) -> Result<Source> {
        let dir = self.env.files.dir()?;
        let unwritable = |e| spill_file::unwritable(dir, e);
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        let copies = match &mut *copies {
            Some(copies) => copies,
            // It has no name, and is gone with its last reader.
            none => none.insert(Copies::to(tempfile::tempfile_in(dir).map_err(unwritable)?)),
        };
        Ok(Source::Local(copies.add(bytes).map_err(unwritable)?))
    }
}

/// Only the footer of the tail is kept.
fn compact(tail: &Bytes) -> Bytes {
    let len = footer_len(tail, u64::MAX)
        .ok()
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(tail.len());
    Bytes::copy_from_slice(&tail[tail.len().saturating_sub(len)..])
}

/// Whether the object is the one that was planned.
fn same_version(planned: &PlannedInput, meta: &ObjectMeta) -> Result<()> {
    if planned.is_snapshot() {
        // A snapshot never changes, but a bucket that was copied gives it another tag: its rows are
        // checked instead.
        if meta.size == planned.size {
            return Ok(());
        }
        let ident = Ident {
            key: planned.key.clone(),
            size: meta.size,
            etag: meta.e_tag.clone(),
        };
        return Err(ident
            .bad(format!(
                "it has {} bytes, and the manifest says {}",
                meta.size, planned.size
            ))
            .into());
    }
    // Where a tag is unknown, what was read has its own, and the commit asks for that one.
    let other_tag = Sameness::of(planned.etag.as_deref(), meta.e_tag.as_deref()).is_other();
    if other_tag || meta.size != planned.size {
        Err(ReadError::Changed(planned.key.clone()).into())
    } else {
        Ok(())
    }
}

fn check_snapshot(planned: &PlannedInput, input: &Input) -> Result<()> {
    match planned.stats {
        Some(stats) if stats.rows != input.rows() => Err(input
            .ident
            .bad(format!(
                "it has {} rows, and the manifest says {}",
                input.rows(),
                stats.rows
            ))
            .into()),
        _ => Ok(()),
    }
}
