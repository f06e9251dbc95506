//! Does the store keep the promises that safety rests on? The cheap part runs before every pass.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{Attribute, Attributes, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::store::path;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::model::inspect::{Check, DoctorReport, Health};
use crate::model::names::{FileId, Key, STATE_DIR};
use crate::model::report::SCHEMA_VERSION;

/// Contenders for one key.
const RACERS: usize = 20;

/// Races. A store that is right one at a time may still break here, and then not every time.
const RACES: usize = 5;

/// S3's least size of a part that is not the last.
const PART: usize = 5 * 1024 * 1024;

/// Where probes are written: under a name that cannot be a tenant's.
fn probe_key(id: FileId, name: &str) -> Key {
    format!("{STATE_DIR}/_probe/{id}-{name}")
}

fn create() -> PutOptions {
    PutOptions { mode: PutMode::Create, ..PutOptions::default() }
}

/// Creates one object twice. The second must be refused and must not have changed the first. Returns the store's time.
///
/// # Errors
/// [`Error::Refused`] where the store lets both win: two runs could then commit the same version and each lose the other's work. [`Error::Store`] where it cannot be written to at all.
pub async fn preflight(store: &Arc<dyn ObjectStore>, id: FileId) -> Result<DateTime<Utc>> {
    let key = path(&probe_key(id, "create"))?;
    let verdict = conditional_create(store, &key).await;
    if let Err(e) = store.delete(&key).await {
        tracing::warn!("the probe `{key}` could not be deleted: {e}");
    }
    verdict
}

async fn conditional_create(store: &Arc<dyn ObjectStore>, key: &object_store::path::Path) -> Result<DateTime<Utc>> {
    let what = |doing: &str| format!("cannot {doing} `{key}` in {store}");
    match store.put_opts(key, PutPayload::from_static(b"first"), create()).await {
        // Ours, with the reply lost: the id is unique.
        Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
        Err(e @ (object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. })) => {
            return Err(Error::Refused(format!("{store} knows no conditional create ({e}): icepack cannot commit safely there")));
        }
        Err(e) => return Err(Error::store(what("create"), e)),
    }
    let second = store.put_opts(key, PutPayload::from_static(b"second"), create()).await;
    let now = store.get(key).await.map_err(|e| Error::store(what("read back"), e))?;
    let time = now.meta.last_modified;
    let body = now.bytes().await.map_err(|e| Error::store(what("read back"), e))?;
    if second.is_ok() || body.as_ref() != b"first" {
        return Err(Error::Refused(format!(
            "{store} accepts a second create of the same key (it ignores If-None-Match): two runs could overwrite each other's commits. Nothing was touched; use a store with conditional writes (AWS S3, MinIO, SeaweedFS, R2, GCS, Azure)"
        )));
    }
    match second {
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(time),
        Err(e) => Err(Error::store(what("create a second time"), e)),
        Ok(_) => Ok(time),
    }
}

/// The probes of `doctor`, on one store.
pub struct Doctor {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// `store` or `archive`.
    pub target: &'static str,
    /// The class that archive objects are put in.
    pub storage_class: Option<String>,
    /// For the ids of the probes.
    pub clock: Arc<dyn Clock>,
}

type Finding = (Health, String);

fn good(text: impl Into<String>) -> Finding {
    (Health::Good, text.into())
}

fn bad(e: &Error) -> Finding {
    let health = if matches!(e, Error::Refused(_)) { Health::Unsafe } else { Health::Bad };
    (health, e.to_string())
}

impl Doctor {
    /// Every probe that makes sense for the hot store.
    pub async fn examine_store(&self) -> Vec<Check> {
        let mut checks = vec![self.check("list", self.list().await)];
        let created = self.create_twice().await;
        let writable = created.0 == Health::Good;
        checks.push(self.check("conditional create", created));
        if writable {
            checks.push(self.check("raced create", self.race().await));
            checks.push(self.check("list after put", self.list_after_put().await));
            checks.push(self.check("range and conditional get", self.get_range().await));
            checks.push(self.check("multipart", self.multipart().await));
            checks.push(self.check("bulk delete", self.bulk_delete().await));
            checks.push(self.check("clock", self.skew().await));
        }
        checks
    }

    /// Every probe that makes sense for an archive, where the job may add but not delete.
    pub async fn examine_archive(&self) -> Vec<Check> {
        let mut checks = vec![self.check("list", self.list().await)];
        checks.push(self.check("create", self.archive_create().await));
        checks
    }

    fn check(&self, name: &str, (health, detail): Finding) -> Check {
        Check { target: self.target.to_owned(), name: name.to_owned(), health, detail }
    }

    fn key(&self, name: &str) -> Result<object_store::path::Path> {
        path(&probe_key(self.clock.mint(FileId::NIL), name))
    }

    async fn list(&self) -> Finding {
        match self.store.list_with_delimiter(None).await {
            Ok(found) => good(format!("{} folders", found.common_prefixes.len())),
            Err(e) => bad(&Error::store("cannot list the root", e)),
        }
    }

    async fn create_twice(&self) -> Finding {
        match preflight(&self.store, self.clock.mint(FileId::NIL)).await {
            Ok(_) => good("a second create of a key is refused"),
            Err(e) => bad(&e),
        }
    }

    /// Many create one key at once: one may win. Some servers check and write in two steps, and then several do.
    async fn race(&self) -> Finding {
        for round in 0..RACES {
            let winners = match self.race_once().await {
                Ok(winners) => winners,
                Err(e) => return bad(&e),
            };
            if winners != 1 {
                return (
                    Health::Unsafe,
                    format!(
                        "{winners} of {RACERS} concurrent creates of one key won (round {}): two runs could overwrite each other's commits; run one icepack at a time or use another store",
                        round + 1
                    ),
                );
            }
        }
        good(format!("one of {RACERS} concurrent creates wins, {RACES} times"))
    }

    async fn race_once(&self) -> Result<usize> {
        let key = self.key("race")?;
        let puts = stream::iter(0..RACERS).map(|i| {
            let (store, key) = (Arc::clone(&self.store), key.clone());
            async move { store.put_opts(&key, PutPayload::from(format!("{i}")), create()).await }
        });
        let replies: Vec<_> = puts.buffer_unordered(RACERS).collect().await;
        if let Err(e) = self.store.delete(&key).await {
            tracing::warn!("the probe `{key}` could not be deleted: {e}");
        }
        let mut winners = 0;
        for reply in replies {
            match reply {
                Ok(_) => winners += 1,
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {}
                Err(e) => return Err(Error::store(format!("cannot race for `{key}`"), e)),
            }
        }
        Ok(winners)
    }

    async fn list_after_put(&self) -> Finding {
        let probe = async {
            let key = self.key("list")?;
            self.store.put_opts(&key, PutPayload::from_static(b"x"), create()).await.map_err(|e| Error::store(format!("cannot create `{key}`"), e))?;
            let dir = path(&format!("{STATE_DIR}/_probe"))?;
            let seen: Vec<_> = self.store.list(Some(&dir)).try_collect().await.map_err(|e| Error::store(format!("cannot list `{dir}`"), e))?;
            let head = self.store.head(&key).await.map_err(|e| Error::store(format!("cannot look at `{key}`"), e))?;
            self.store.delete(&key).await.map_err(|e| Error::store(format!("cannot delete `{key}`"), e))?;
            let after: Vec<_> = self.store.list(Some(&dir)).try_collect().await.map_err(|e| Error::store(format!("cannot list `{dir}`"), e))?;
            let still = after.iter().any(|m| m.location == key);
            Ok((seen.into_iter().find(|m| m.location == key), head, still))
        };
        match probe.await {
            Err(e) => bad(&e),
            Ok((None, ..)) => (Health::Limited, "a listing does not show what was just written: compaction waits a pass longer, nothing is lost".to_owned()),
            Ok((Some(m), head, _)) if m.e_tag != head.e_tag => (
                Health::Bad,
                format!("a listing shows ETag {:?}, a HEAD {:?}: retired files could not be recognised and would never be deleted", m.e_tag, head.e_tag),
            ),
            Ok((_, _, true)) => (Health::Limited, "a listing still shows what was just deleted: it is forgotten a pass later".to_owned()),
            Ok(_) => good("listings follow writes and deletes at once, with the same ETags"),
        }
    }

    async fn get_range(&self) -> Finding {
        let probe = async {
            let key = self.key("range")?;
            let put = self
                .store
                .put_opts(&key, PutPayload::from_static(b"0123456789"), create())
                .await
                .map_err(|e| Error::store(format!("cannot create `{key}`"), e))?;
            let part = self.store.get_range(&key, 3..6).await.map_err(|e| Error::store(format!("cannot read a range of `{key}`"), e))?;
            let other = GetOptions { if_match: Some("\"another\"".to_owned()), ..GetOptions::default() };
            let mismatch = self.store.get_opts(&key, other).await.is_ok();
            self.store.delete(&key).await.map_err(|e| Error::store(format!("cannot delete `{key}`"), e))?;
            Ok::<_, Error>((part, put.e_tag.is_some(), mismatch))
        };
        match probe.await {
            Err(e) => bad(&e),
            Ok((part, ..)) if part.as_ref() != b"345" => (Health::Bad, "a range was asked for, another came".to_owned()),
            Ok((_, false, _)) => {
                (Health::Limited, "the store gives no ETags: a file that is replaced under its name cannot be told from the old one".to_owned())
            }
            Ok((_, _, true)) => (Health::Limited, "If-Match on a GET is ignored: do not replace files under their names".to_owned()),
            Ok(_) => good("ranges and If-Match are honoured"),
        }
    }

    async fn multipart(&self) -> Finding {
        let probe = async {
            let key = self.key("multipart")?;
            let what = |e| Error::store(format!("cannot upload `{key}` in parts"), e);
            let mut upload = self.store.put_multipart(&key).await.map_err(what)?;
            upload.put_part(PutPayload::from(Bytes::from(vec![7; PART]))).await.map_err(what)?;
            upload.put_part(PutPayload::from_static(b"end")).await.map_err(what)?;
            upload.complete().await.map_err(what)?;
            let size = self.store.head(&key).await.map_err(what)?.size;
            self.store.delete(&key).await.map_err(|e| Error::store(format!("cannot delete `{key}`"), e))?;
            Ok::<_, Error>(size)
        };
        match probe.await {
            Err(e) => bad(&e),
            Ok(size) if size == PART as u64 + 3 => good("two parts make one object"),
            Ok(size) => (Health::Bad, format!("{} bytes were uploaded in parts, {size} are there", PART + 3)),
        }
    }

    async fn bulk_delete(&self) -> Finding {
        let probe = async {
            let keys = [self.key("delete")?, self.key("delete")?];
            for key in &keys {
                self.store.put_opts(key, PutPayload::from_static(b"x"), create()).await.map_err(|e| Error::store(format!("cannot create `{key}`"), e))?;
            }
            let replies: Vec<_> = self.store.delete_stream(stream::iter(keys.clone()).map(Ok).boxed()).collect().await;
            let bulk = replies.into_iter().collect::<object_store::Result<Vec<_>>>();
            if bulk.is_err() {
                for key in &keys {
                    self.store.delete(key).await.map_err(|e| Error::store(format!("cannot delete `{key}`"), e))?;
                }
            }
            Ok::<_, Error>(bulk.err())
        };
        match probe.await {
            Err(e) => bad(&e),
            Ok(None) => good("many keys in one request"),
            Ok(Some(e)) => (Health::Limited, format!("not understood, deletes go one by one: {e}")),
        }
    }

    async fn skew(&self) -> Finding {
        let before = self.clock.now();
        match preflight(&self.store, self.clock.mint(FileId::NIL)).await {
            Err(e) => bad(&e),
            Ok(time) => match (time - before).num_seconds() {
                // Stores tell time to the second.
                s if s.abs() <= 60 => good("this machine and the store agree on the time"),
                s => (Health::Limited, format!("the store's clock is {s} s ahead of this machine's: rows expire by this machine's clock; set it (NTP)")),
            },
        }
    }

    async fn archive_create(&self) -> Finding {
        let probe = async {
            let key = self.key("archive")?;
            let mut options = create();
            if let Some(class) = &self.storage_class {
                options.attributes = Attributes::from_iter([(Attribute::StorageClass, class.clone())]);
            }
            self.store.put_opts(&key, PutPayload::from_static(b"x"), options).await.map_err(|e| Error::store(format!("cannot create `{key}`"), e))?;
            self.store.head(&key).await.map_err(|e| Error::store(format!("cannot look at `{key}`"), e))?;
            Ok::<_, Error>((key.clone(), self.store.delete(&key).await.is_ok()))
        };
        match probe.await {
            Err(e) => bad(&e),
            Ok((_, true)) => good("objects can be added; this job could also delete, which it never does: its role needs no such right"),
            Ok((key, false)) => good(format!("objects can be added and not deleted, as it should be; the probe `{key}` stays")),
        }
    }
}

/// All checks as a report.
pub fn report(checks: Vec<Check>) -> DoctorReport {
    DoctorReport { schema_version: SCHEMA_VERSION, checks }
}
