//! Checks of the properties of a store that the safety of rows depends on.
//!
//! | check | what is lost without it |
//! | --- | --- |
//! | conditional and raced create | two runs commit one version, and one's work is gone |
//! | list after put | a file that waits to be deleted is not told from a new one of its name |
//! | replaced object | the same, where a writer replaces a file |
//! | range and conditional get | a merge reads half of an old file and half of its successor |
//! | multipart | readers take half a file for a whole one |
//! | bulk delete | a file that is said to be deleted is forgotten, and its rows live twice |
//! | clock | rows expire early |
//!
//! Properties that any use of a store needs are not checked here. The tests run object_store's own
//! suite against every kind of store.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    PutResult,
};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::protocol::preflight::{conditional_create, folder, tag_fault};
use crate::store::path;
use icepack_core::model::inspect::Health;
use icepack_core::model::names::FileId;
use icepack_core::model::same::Sameness;
use icepack_parquet::source::whole_body;

/// Contenders for one key.
const RACERS: usize = 8;

/// Races, for as many keys. A store that is right one at a time may still break here, and then not
/// every time. They run at once: some servers let the losers of one key wait for seconds.
const RACES: usize = 6;

/// S3's least size of a part that is not the last.
const PART: usize = 5 * 1024 * 1024;

/// Removals at once.
const AT_ONCE: usize = 16;

/// How a check ended, in a word and a sentence.
pub type Finding = (Health, String);

/// One check.
pub struct Probe {
    pub name: &'static str,
    run: for<'a> fn(&'a Bench) -> BoxFuture<'a, Result<Finding>>,
}

/// The first is the one that everything rests on: where it does not hold, nothing else needs
/// asking.
pub const PROBES: [Probe; 8] = [
    Probe {
        name: "conditional create",
        run: |b| Box::pin(created(b)),
    },
    Probe {
        name: "raced create",
        run: |b| Box::pin(raced_create(b)),
    },
    Probe {
        name: "list after put",
        run: |b| Box::pin(list_after_put(b)),
    },
    Probe {
        name: "replaced object",
        run: |b| Box::pin(replaced(b)),
    },
    Probe {
        name: "range and conditional get",
        run: |b| Box::pin(get_range(b)),
    },
    Probe {
        name: "multipart",
        run: |b| Box::pin(multipart(b)),
    },
    Probe {
        name: "bulk delete",
        run: |b| Box::pin(bulk_delete(b)),
    },
    Probe {
        name: "clock",
        run: |b| Box::pin(skew(b)),
    },
];

fn good(text: impl Into<String>) -> Result<Finding> {
    Ok((Health::Good, text.into()))
}

fn limited(text: impl Into<String>) -> Result<Finding> {
    Ok((Health::Limited, text.into()))
}

fn bad(text: impl Into<String>) -> Result<Finding> {
    Ok((Health::Bad, text.into()))
}

/// The finding of a check that ended with an error.
pub fn failure(e: &Error) -> Finding {
    let health = if matches!(e, Error::Refused(_)) {
        Health::Unsafe
    } else {
        Health::Bad
    };
    (health, e.to_string())
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
        let reply = async { whole_body(self.store.get_opts(key, options).await?).await };
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

async fn created(b: &Bench) -> Result<Finding> {
    conditional_create(&b.store, b.id()).await?;
    good("a second create of a key is refused")
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

async fn bulk_delete(b: &Bench) -> Result<Finding> {
    let keys = [b.key("delete")?, b.key("missing")?, b.key("delete")?];
    b.create(&keys[0], b"x").await?;
    b.create(&keys[2], b"x").await?;
    let replies: Vec<_> = b
        .store
        .delete_stream(stream::iter(keys.clone()).map(Ok).boxed())
        .collect()
        .await;
    let complaint = replies
        .into_iter()
        .filter_map(Result::err)
        .find(|e| !matches!(e, object_store::Error::NotFound { .. }));
    if let Some(e) = complaint {
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
    let time = conditional_create(&b.store, b.id()).await?;
    match (time - before).num_seconds() {
        // Stores tell time to the second.
        s if s.abs() <= 60 => good("this machine and the store agree on the time"),
        s => limited(format!(
            "the store's clock is {s} s ahead of this machine's: rows expire by the earlier of \
             the two, and none where they differ by more than an hour; set it (NTP)"
        )),
    }
}
