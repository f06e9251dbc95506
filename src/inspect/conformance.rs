//! What icepack needs of a store, as checks with names. `doctor` runs the cheap ones; the tests run
//! all of them on every kind of store they can get.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    PutResult,
};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::store::path;
use icepack_core::model::inspect::Health;
use icepack_core::model::names::{FileId, STATE_DIR};
use icepack_core::model::same::{Sameness, shown};
use icepack_parquet::source::short_body;

/// Contenders for one key.
const RACERS: usize = 8;

/// Races, for as many keys. A store that is right one at a time may still break here, and then not
/// every time. They run at once: some servers let the losers of one key wait for seconds.
const RACES: usize = 6;

/// S3's least size of a part that is not the last.
const PART: usize = 5 * 1024 * 1024;

/// More than the thousand keys of one page of a listing, and of one bulk delete.
const MANY: usize = 1050;

/// Requests at once where there are many.
const AT_ONCE: usize = 16;

/// What S3 clients, URLs, XML and file systems each encode in their own way.
const ODD_NAMES: [&str; 8] = [
    "a b",
    "a+b",
    "100%25",
    "ü-日本-🧊",
    "a&b<c>\"d'",
    "q?x=1#y",
    "k=v,w;x:y@z",
    "(1)~!$*",
];

/// How a check ended, in a word and a sentence.
pub type Finding = (Health, String);

/// One check.
pub struct Probe {
    pub name: &'static str,
    /// Whether it is over in moments and leaves nothing, not even folders in a directory.
    pub cheap: bool,
    run: for<'a> fn(&'a Bench) -> BoxFuture<'a, Result<Finding>>,
}

/// The first is the one that everything rests on: where it does not hold, nothing else needs
/// asking.
pub const PROBES: [Probe; 16] = [
    Probe {
        name: "conditional create",
        cheap: true,
        run: |b| Box::pin(conditional_create(b)),
    },
    Probe {
        name: "raced create",
        cheap: true,
        run: |b| Box::pin(raced_create(b)),
    },
    Probe {
        name: "create after delete",
        cheap: true,
        run: |b| Box::pin(create_after_delete(b)),
    },
    Probe {
        name: "list after put",
        cheap: true,
        run: |b| Box::pin(list_after_put(b)),
    },
    Probe {
        name: "list from an offset",
        cheap: true,
        run: |b| Box::pin(list_from_offset(b)),
    },
    Probe {
        name: "replaced object",
        cheap: true,
        run: |b| Box::pin(replaced(b)),
    },
    Probe {
        name: "range and conditional get",
        cheap: true,
        run: |b| Box::pin(get_range(b)),
    },
    Probe {
        name: "empty object",
        cheap: true,
        run: |b| Box::pin(empty(b)),
    },
    Probe {
        name: "odd names",
        cheap: true,
        run: |b| Box::pin(odd_names(b)),
    },
    Probe {
        name: "multipart",
        cheap: true,
        run: |b| Box::pin(multipart(b)),
    },
    Probe {
        name: "aborted multipart",
        cheap: true,
        run: |b| Box::pin(aborted_multipart(b)),
    },
    Probe {
        name: "delete",
        cheap: true,
        run: |b| Box::pin(delete(b)),
    },
    Probe {
        name: "bulk delete",
        cheap: true,
        run: |b| Box::pin(bulk_delete(b)),
    },
    Probe {
        name: "clock",
        cheap: true,
        run: |b| Box::pin(skew(b)),
    },
    Probe {
        name: "folders",
        cheap: false,
        run: |b| Box::pin(folders(b)),
    },
    Probe {
        name: "long listing",
        cheap: false,
        run: |b| Box::pin(long_listing(b)),
    },
];

/// The store's folder of probes: a name that cannot be a tenant's.
fn folder() -> String {
    format!("{STATE_DIR}/_probe")
}

fn good(text: impl Into<String>) -> Result<Finding> {
    Ok((Health::Good, text.into()))
}

fn limited(text: impl Into<String>) -> Result<Finding> {
    Ok((Health::Limited, text.into()))
}

fn bad(text: impl Into<String>) -> Result<Finding> {
    Ok((Health::Bad, text.into()))
}

/// What an error means for a check.
pub fn failure(e: &Error) -> Finding {
    let health = if matches!(e, Error::Refused(_)) {
        Health::Unsafe
    } else {
        Health::Bad
    };
    (health, e.to_string())
}

/// Creates one object twice. The second must be refused and must not have changed the first. Then
/// looks for it in a listing, which must show the same ETag as the object itself does. Returns the
/// store's time. It runs before every pass.
///
/// # Errors
/// [`Error::Refused`] where the store lets both win: two runs could then commit the same version
/// and each lose the other's work; or where its listings do not tell one version of a file from
/// another. [`Error::Store`] where it cannot be written to at all.
pub async fn preflight(store: &Arc<dyn ObjectStore>, id: FileId) -> Result<DateTime<Utc>> {
    probe(store, id, true).await
}

/// [`preflight`], with or without the listing.
async fn probe(store: &Arc<dyn ObjectStore>, id: FileId, and_list: bool) -> Result<DateTime<Utc>> {
    let key = path(&format!("{}/{id}-create", folder()))?;
    let verdict = match create_twice(store, &key).await {
        Ok(created) if and_list => check_tags(store, &key, &created)
            .await
            .map(|()| created.time),
        created => created.map(|c| c.time),
    };
    // Where the probe could not even be made, that is the one thing to say.
    if let Err(e) = store.delete(&key).await
        && verdict.is_ok()
    {
        tracing::warn!("the probe `{key}` could not be deleted: {e}");
    }
    verdict
}

/// "Already there" is said of ours when the reply was lost, for the id is unique; and by a store
/// that could not decide (409), and then nothing is there.
async fn create_first(
    store: &Arc<dyn ObjectStore>,
    key: &Path,
) -> object_store::Result<Option<String>> {
    let put = || {
        store.put_opts(
            key,
            PutPayload::from_static(b"first"),
            PutMode::Create.into(),
        )
    };
    match put().await {
        Err(object_store::Error::AlreadyExists { .. }) => match store.head(key).await {
            Err(object_store::Error::NotFound { .. }) => put().await.map(|done| done.e_tag),
            there => there.map(|meta| meta.e_tag),
        },
        done => done.map(|done| done.e_tag),
    }
}

/// An object of a known name, and its ETag as the store gave it.
struct Created {
    time: DateTime<Utc>,
    put: Option<String>,
    got: Option<String>,
}

/// The listing must tell the versions of a file apart as GET does. A listing that does not show it
/// yet says nothing.
async fn check_tags(store: &Arc<dyn ObjectStore>, key: &Path, created: &Created) -> Result<()> {
    let dir = path(&folder())?;
    let found: Vec<ObjectMeta> = store
        .list(Some(&dir))
        .try_collect()
        .await
        .map_err(|e| Error::store(format!("cannot list {store}"), e))?;
    let Some(listed) = found.into_iter().find(|m| m.location == *key) else {
        return Ok(());
    };
    match tag_fault(
        created.put.as_deref(),
        created.got.as_deref(),
        listed.e_tag.as_deref(),
    ) {
        None => Ok(()),
        Some(fault) => Err(Error::Refused(format!(
            "{store} {fault}. Nothing was touched; use a store whose listings show ETags, or \
             switch them on"
        ))),
    }
}

/// What is wrong with the tags of one object. The reply to a PUT may do without.
fn tag_fault(put: Option<&str>, got: Option<&str>, listed: Option<&str>) -> Option<String> {
    let other_put = Sameness::of(put, got).is_other();
    if Sameness::of(got, listed).is_same() && !other_put {
        return None;
    }
    let (put, got, listed) = (shown(put), shown(got), shown(listed));
    Some(format!(
        "gives one object the ETag {put} in the reply to PUT, {got} in GET and {listed} in a \
         listing: a file that waits to be deleted could not be told from another of its name"
    ))
}

async fn create_twice(store: &Arc<dyn ObjectStore>, key: &Path) -> Result<Created> {
    let what = |doing: &str| format!("cannot {doing} `{key}` in {store}");
    let put = match create_first(store, key).await {
        Ok(tag) => tag,
        Err(
            e @ (object_store::Error::NotImplemented { .. }
            | object_store::Error::NotSupported { .. }),
        ) => {
            return Err(Error::Refused(format!(
                "{store} knows no conditional create ({e}): icepack cannot commit safely there"
            )));
        }
        Err(e) => return Err(Error::store(what("create"), e)),
    };
    let second = store
        .put_opts(
            key,
            PutPayload::from_static(b"second"),
            PutMode::Create.into(),
        )
        .await;
    let now = store
        .get(key)
        .await
        .map_err(|e| Error::store(what("read back"), e))?;
    let (size, created) = (
        now.meta.size,
        Created {
            time: now.meta.last_modified,
            put,
            got: now.meta.e_tag.clone(),
        },
    );
    let body = now
        .bytes()
        .await
        .map_err(|e| Error::store(what("read back"), e))?;
    // Half a body is the network's doing, and says nothing about the store.
    if body.len() as u64 != size {
        return Err(short_body(key.as_ref(), body.len(), size).into());
    }
    if second.is_ok() || body.as_ref() != b"first" {
        return Err(Error::Refused(format!(
            "{store} accepts a second create of the same key (it ignores If-None-Match): two runs \
             could overwrite each other's commits. Nothing was touched; use a store with \
             conditional writes (AWS S3, MinIO, SeaweedFS, R2, GCS, Azure)"
        )));
    }
    match second {
        Err(
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. },
        ) => Ok(created),
        Err(e) => Err(Error::store(what("create a second time"), e)),
        Ok(_) => Ok(created),
    }
}

/// A store under examination.
pub struct Bench {
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    /// What the check under way may have made.
    made: Mutex<Vec<Path>>,
}

impl Bench {
    /// Runs a check, then removes what it made, however it ended.
    pub async fn examine(
        store: &Arc<dyn ObjectStore>,
        clock: &Arc<dyn Clock>,
        probe: &Probe,
    ) -> Finding {
        let bench = Self {
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            made: Mutex::default(),
        };
        let finding = (probe.run)(&bench).await;
        let made = std::mem::take(&mut *bench.made.lock().unwrap_or_else(PoisonError::into_inner));
        let removals = stream::iter(made).map(|key| async move { (store.delete(&key).await, key) });
        let mut removals = removals.buffer_unordered(AT_ONCE);
        while let Some((reply, key)) = removals.next().await {
            match reply {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => tracing::warn!("the probe `{key}` could not be deleted: {e}"),
            }
        }
        finding.unwrap_or_else(|e| failure(&e))
    }

    fn id(&self) -> FileId {
        self.clock.mint(FileId::NIL)
    }

    /// A key that nobody has used.
    fn key(&self, name: &str) -> Result<Path> {
        let key = path(&format!("{}/{}-{name}", folder(), self.id()))?;
        self.made
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(key.clone());
        Ok(key)
    }

    async fn create(&self, key: &Path, body: &'static [u8]) -> Result<PutResult> {
        let reply = self
            .store
            .put_opts(key, PutPayload::from_static(body), PutMode::Create.into())
            .await;
        reply.map_err(|e| Error::store(format!("cannot create `{key}`"), e))
    }

    async fn delete(&self, key: &Path) -> Result<()> {
        self.store
            .delete(key)
            .await
            .map_err(|e| Error::store(format!("cannot delete `{key}`"), e))
    }

    async fn head(&self, key: &Path) -> Result<ObjectMeta> {
        self.store
            .head(key)
            .await
            .map_err(|e| Error::store(format!("cannot look at `{key}`"), e))
    }

    async fn exists(&self, key: &Path) -> Result<bool> {
        match self.store.head(key).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(Error::store(format!("cannot look at `{key}`"), e)),
        }
    }

    async fn get(&self, key: &Path, options: GetOptions) -> Result<Bytes> {
        let reply = async { self.store.get_opts(key, options).await?.bytes().await };
        reply
            .await
            .map_err(|e| Error::store(format!("cannot read `{key}`"), e))
    }

    /// Every probe that is there, other programs' too.
    async fn list(&self) -> Result<Vec<ObjectMeta>> {
        let dir = path(&folder())?;
        self.store
            .list(Some(&dir))
            .try_collect()
            .await
            .map_err(|e| Error::store(format!("cannot list `{dir}`"), e))
    }

    async fn listed(&self, key: &Path) -> Result<Option<ObjectMeta>> {
        Ok(self.list().await?.into_iter().find(|m| m.location == *key))
    }
}

fn range(range: GetRange) -> GetOptions {
    GetOptions {
        range: Some(range),
        ..GetOptions::default()
    }
}

async fn conditional_create(b: &Bench) -> Result<Finding> {
    probe(&b.store, b.id(), false).await.map(|_| {
        (
            Health::Good,
            "a second create of a key is refused".to_owned(),
        )
    })
}

/// Many create one key at once: one may win, and what it wrote is what is there. Some servers check
/// and write in two steps, and then several do.
async fn raced_create(b: &Bench) -> Result<Finding> {
    let races = (0..RACES).map(|_| race(b));
    let faults = futures::future::try_join_all(races).await?;
    match faults.into_iter().flatten().next() {
        Some(fault) => Ok((
            Health::Unsafe,
            format!(
                "{fault}: two runs could overwrite each other's commits; run one icepack at a \
                 time or use another store"
            ),
        )),
        None => good(format!(
            "one of {RACERS} concurrent creates wins, {RACES} times"
        )),
    }
}

/// What is wrong with one race.
async fn race(b: &Bench) -> Result<Option<String>> {
    let key = b.key("race")?;
    let puts = stream::iter(0..RACERS).map(|i| {
        let key = key.clone();
        async move {
            b.store
                .put_opts(
                    &key,
                    PutPayload::from(i.to_string()),
                    PutOptions::from(PutMode::Create),
                )
                .await
        }
    });
    let replies: Vec<_> = puts.buffered(RACERS).collect().await;
    let mut winners = Vec::new();
    for (i, reply) in replies.into_iter().enumerate() {
        match reply {
            Ok(_) => winners.push(i.to_string()),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => {}
            Err(e) => return Err(Error::store(format!("cannot race for `{key}`"), e)),
        }
    }
    let body = b.get(&key, GetOptions::default()).await?;
    Ok(match winners.as_slice() {
        // The winner's reply was lost on the way and its retry met its own object.
        [] => None,
        [winner] if winner.as_bytes() == body.as_ref() => None,
        [_] => Some("one of the concurrent creates won and another's bytes are there".to_owned()),
        many => Some(format!(
            "{} of {RACERS} concurrent creates of one key won",
            many.len()
        )),
    })
}

async fn create_after_delete(b: &Bench) -> Result<Finding> {
    let key = b.key("again")?;
    b.create(&key, b"first").await?;
    b.delete(&key).await?;
    match b.create(&key, b"second").await {
        Ok(_) if b.get(&key, GetOptions::default()).await?.as_ref() == b"second" => {
            good("a deleted key can be created again")
        }
        Ok(_) => bad("a key was deleted and created again, and its old content is read"),
        Err(e) => limited(format!(
            "a deleted key cannot be created again at once; icepack never does so in earnest: {e}"
        )),
    }
}

async fn list_after_put(b: &Bench) -> Result<Finding> {
    let key = b.key("list")?;
    let put = b.create(&key, b"four").await?;
    let (listed, head) = (b.listed(&key).await?, b.head(&key).await?);
    let got = b
        .store
        .get(&key)
        .await
        .map_err(|e| Error::store(format!("cannot read `{key}`"), e))?
        .meta;
    b.delete(&key).await?;
    let Some(listed) = listed else {
        return limited(
            "a listing does not show what was just written: compaction waits a pass longer, \
             nothing is lost",
        );
    };
    let fault = [&head.e_tag, &got.e_tag].into_iter().find_map(|seen| {
        tag_fault(
            put.e_tag.as_deref(),
            seen.as_deref(),
            listed.e_tag.as_deref(),
        )
    });
    if let Some(fault) = fault {
        return Ok((
            Health::Unsafe,
            format!("the store {fault}; a pass refuses to run there"),
        ));
    }
    if [listed.size, head.size, got.size] != [4; 3] {
        return bad(format!(
            "4 bytes were written; a listing says {}, HEAD {}, GET {}",
            listed.size, head.size, got.size
        ));
    }
    if b.listed(&key).await?.is_some() {
        return limited(
            "a listing still shows what was just deleted: it is forgotten a pass later",
        );
    }
    good("listings follow writes and deletes at once, with the same ETags")
}

/// In whatever order: servers differ.
async fn list_from_offset(b: &Bench) -> Result<Finding> {
    let mut keys = [b.key("offset")?, b.key("offset")?, b.key("offset")?];
    keys.sort();
    for key in &keys {
        b.create(key, b"x").await?;
    }
    let dir = path(&folder())?;
    let found = b
        .store
        .list_with_offset(Some(&dir), &keys[1])
        .try_collect::<Vec<_>>()
        .await;
    let found =
        found.map_err(|e| Error::store(format!("cannot list `{dir}` from `{}` on", keys[1]), e))?;
    match keys
        .each_ref()
        .map(|k| found.iter().filter(|m| m.location == *k).count())
    {
        [0, 0, 1] => good("a listing begins after the key that is named"),
        other => limited(format!(
            "of three keys, the second named as the offset, a listing shows {other:?}; icepack \
             reads whole listings"
        )),
    }
}

async fn replaced(b: &Bench) -> Result<Finding> {
    let key = b.key("replaced")?;
    let first = b.create(&key, b"first").await?;
    let put = b
        .store
        .put(&key, PutPayload::from_static(b"second"))
        .await
        .map_err(|e| Error::store(format!("cannot replace `{key}`"), e))?;
    let body = b.get(&key, GetOptions::default()).await?;
    let listed = b.listed(&key).await?;
    if body.as_ref() != b"second" {
        return bad("an object was replaced and its old content is read");
    }
    if !Sameness::of(first.e_tag.as_deref(), put.e_tag.as_deref()).is_other() {
        return limited(
            "an object that is replaced under its name keeps its ETag or has none: do not replace \
             files under their names",
        );
    }
    match listed {
        Some(m) if Sameness::of(put.e_tag.as_deref(), m.e_tag.as_deref()).is_same() => {
            good("a replaced object has another ETag, in listings too")
        }
        _ => limited("a listing shows the old ETag of an object that was just replaced"),
    }
}

async fn get_range(b: &Bench) -> Result<Finding> {
    let key = b.key("range")?;
    let put = b.create(&key, b"0123456789").await?;
    let middle = b.get(&key, range(GetRange::Bounded(3..6))).await?;
    let end = b.get(&key, range(GetRange::Bounded(8..10))).await?;
    let suffix = b.get(&key, range(GetRange::Suffix(4))).await;
    let right = middle.as_ref() == b"345"
        && end.as_ref() == b"89"
        && suffix.as_ref().map_or(true, |s| s.as_ref() == b"6789");
    if !right {
        return bad("a range was asked for, another came");
    }
    let Some(etag) = put.e_tag else {
        return limited(
            "the store gives no ETags: a file that is replaced under its name cannot be told from \
             the old one",
        );
    };
    let when = |etag: &str| GetOptions {
        if_match: Some(etag.to_owned()),
        ..range(GetRange::Bounded(3..6))
    };
    if b.get(&key, when(&etag)).await?.as_ref() != b"345" {
        return bad("a range was asked for on condition of its ETag, another came");
    }
    match b.store.get_opts(&key, when("\"another\"")).await {
        Err(object_store::Error::Precondition { .. }) => good("ranges and If-Match are honoured"),
        Err(e) => limited(format!(
            "If-Match on a GET that must fail does not say so: {e}"
        )),
        Ok(_) => limited("If-Match on a GET is ignored: do not replace files under their names"),
    }
}

async fn empty(b: &Bench) -> Result<Finding> {
    let key = b.key("empty")?;
    b.create(&key, b"").await?;
    let listed = b.listed(&key).await?;
    let (head, body) = (
        b.head(&key).await?,
        b.get(&key, GetOptions::default()).await?,
    );
    match listed {
        Some(m) if m.size == 0 && head.size == 0 && body.is_empty() => {
            good("an object of no bytes is one")
        }
        other => bad(format!(
            "an object of no bytes: listed as {:?}, HEAD says {}, GET gives {} bytes",
            other.map(|m| m.size),
            head.size,
            body.len()
        )),
    }
}

async fn odd_names(b: &Bench) -> Result<Finding> {
    let keys = ODD_NAMES
        .iter()
        .map(|name| b.key(name))
        .collect::<Result<Vec<_>>>()?;
    for (key, name) in keys.iter().zip(ODD_NAMES) {
        b.create(key, name.as_bytes()).await?;
    }
    let listing = b.list().await?;
    for (key, name) in keys.iter().zip(ODD_NAMES) {
        if !listing.iter().any(|m| m.location == *key) {
            return bad(format!(
                "a file with `{name}` in its name is not listed under that name: such files would \
                 not be compacted"
            ));
        }
        if b.get(key, GetOptions::default()).await? != name.as_bytes() {
            return bad(format!("a file with `{name}` in its name reads as another"));
        }
    }
    // Names travel in XML here, in the URL elsewhere.
    let _ = bulk(b, &keys).await;
    for (key, name) in keys.iter().zip(ODD_NAMES) {
        if b.exists(key).await? {
            b.delete(key).await?;
            return limited(format!(
                "a bulk delete leaves files with `{name}` in their names; they go one by one"
            ));
        }
    }
    good("blanks, accents, signs: names come back as they were given")
}

async fn multipart(b: &Bench) -> Result<Finding> {
    let key = b.key("multipart")?;
    let what = |e| Error::store(format!("cannot upload `{key}` in parts"), e);
    let mut upload = b.store.put_multipart(&key).await.map_err(what)?;
    upload
        .put_part(PutPayload::from(Bytes::from(vec![7; PART])))
        .await
        .map_err(what)?;
    upload
        .put_part(PutPayload::from_static(b"end"))
        .await
        .map_err(what)?;
    let early = b.exists(&key).await? || b.listed(&key).await?.is_some();
    let put = upload.complete().await.map_err(what)?;
    let head = b.head(&key).await?;
    let seam = b
        .get(
            &key,
            range(GetRange::Bounded(PART as u64 - 1..PART as u64 + 3)),
        )
        .await?;
    let listed = b.listed(&key).await?;
    if head.size != PART as u64 + 3 || seam.as_ref() != b"\x07end" {
        return bad(format!(
            "{} bytes were uploaded in parts, {} are there",
            PART + 3,
            head.size
        ));
    }
    if early {
        return bad(
            "an upload in parts can be seen before it is complete: readers would take half a file \
             for a whole one",
        );
    }
    match listed {
        None => limited(
            "a listing does not show what was just uploaded in parts: compaction waits a pass \
             longer, nothing is lost",
        ),
        Some(m) => match tag_fault(
            put.e_tag.as_deref(),
            head.e_tag.as_deref(),
            m.e_tag.as_deref(),
        ) {
            None => good("two parts make one object, seen when it is complete"),
            Some(fault) => bad(format!("uploaded in parts, the store {fault}")),
        },
    }
}

async fn aborted_multipart(b: &Bench) -> Result<Finding> {
    let key = b.key("aborted")?;
    let what = |e| Error::store(format!("cannot upload `{key}` in parts"), e);
    let mut upload = b.store.put_multipart(&key).await.map_err(what)?;
    upload
        .put_part(PutPayload::from_static(b"part"))
        .await
        .map_err(what)?;
    if let Err(e) = upload.abort().await {
        return limited(format!(
            "an upload cannot be given up, its parts stay until a lifecycle rule removes them: {e}"
        ));
    }
    if b.exists(&key).await? || b.listed(&key).await?.is_some() {
        return bad("an upload that was given up left an object");
    }
    good("an upload that is given up leaves nothing to be seen")
}

async fn delete(b: &Bench) -> Result<Finding> {
    let key = b.key("missing")?;
    match b.store.delete(&key).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => {
            good("what is not there can be deleted")
        }
        Err(e) => Err(Error::store(
            "cannot delete what is not there, which happens when two runs clean up".to_owned(),
            e,
        )),
    }
}

/// The first thing that a bulk delete complains of, other than that something is gone already.
async fn bulk(b: &Bench, keys: &[Path]) -> Option<object_store::Error> {
    let replies: Vec<_> = b
        .store
        .delete_stream(stream::iter(keys.to_vec()).map(Ok).boxed())
        .collect()
        .await;
    replies
        .into_iter()
        .filter_map(Result::err)
        .find(|e| !matches!(e, object_store::Error::NotFound { .. }))
}

async fn bulk_delete(b: &Bench) -> Result<Finding> {
    let keys = [b.key("delete")?, b.key("missing")?, b.key("delete")?];
    b.create(&keys[0], b"x").await?;
    b.create(&keys[2], b"x").await?;
    if let Some(e) = bulk(b, &keys).await {
        for key in [&keys[0], &keys[2]] {
            if b.exists(key).await? {
                b.delete(key).await?;
            }
        }
        return limited(format!("not understood, deletes go one by one: {e}"));
    }
    if b.exists(&keys[0]).await? || b.exists(&keys[2]).await? {
        return bad("a bulk delete says that it is done, and the objects are there");
    }
    good("many keys in one request, missing ones among them")
}

async fn skew(b: &Bench) -> Result<Finding> {
    let before = b.clock.now();
    let time = probe(&b.store, b.id(), false).await?;
    match (time - before).num_seconds() {
        // Stores tell time to the second.
        s if s.abs() <= 60 => good("this machine and the store agree on the time"),
        s => limited(format!(
            "the store's clock is {s} s ahead of this machine's: rows expire by the earlier of \
             the two, and none where they differ by more than an hour; set it (NTP)"
        )),
    }
}

/// Tenants are found as folders. `a-b` sorts before `a/1` by bytes and after it by folders; both
/// orders are fine, a missing key is not.
async fn folders(b: &Bench) -> Result<Finding> {
    let keys = [b.key("a/1")?, b.key("a/b/2")?, b.key("a-b")?];
    for key in &keys {
        b.create(key, b"x").await?;
    }
    let dir = path(&folder())?;
    let listing = b.list().await?;
    if !keys
        .iter()
        .all(|k| listing.iter().any(|m| m.location == *k))
    {
        return bad("a listing does not show what lies in folders below");
    }
    let level = b
        .store
        .list_with_delimiter(Some(&dir))
        .await
        .map_err(|e| Error::store(format!("cannot list `{dir}`"), e))?;
    let below = keys[0].as_ref().trim_end_matches("/1");
    let seen = (
        level
            .common_prefixes
            .iter()
            .filter(|p| p.as_ref() == below)
            .count(),
        level.objects.iter().any(|m| m.location == keys[2]),
        level.objects.iter().any(|m| m.location == keys[0]),
    );
    if seen == (1, true, false) {
        good("folders are told from files")
    } else {
        bad(format!("folders are not told from files: {seen:?}"))
    }
}

async fn long_listing(b: &Bench) -> Result<Finding> {
    let id = b.id();
    let keys = (0..MANY)
        .map(|i| b.key(&format!("{id}-{i}")))
        .collect::<Result<Vec<_>>>()?;
    let puts =
        stream::iter(keys.clone()).map(|key| async move { b.create(&key, b"x").await.map(drop) });
    puts.buffer_unordered(AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?;
    let mark = id.to_string();
    let mine = |listing: Vec<ObjectMeta>| {
        listing
            .into_iter()
            .map(|m| m.location)
            .filter(|k| k.as_ref().contains(&mark))
            .collect::<Vec<_>>()
    };
    let (mut seen, mut wanted) = (mine(b.list().await?), keys.clone());
    seen.sort();
    wanted.sort();
    if seen != wanted {
        return bad(format!(
            "of {MANY} keys a listing shows {}, or some of them twice",
            seen.len()
        ));
    }
    if let Some(e) = bulk(b, &keys).await {
        return limited(format!(
            "a bulk delete of {MANY} keys is not understood: {e}"
        ));
    }
    match mine(b.list().await?).len() {
        0 => good(format!(
            "a listing of {MANY} keys has every one once; so has a bulk delete"
        )),
        n => bad(format!(
            "a bulk delete of {MANY} keys says that it is done, and {n} are there"
        )),
    }
}
