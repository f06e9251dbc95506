//! Looks at every change at the moment it is made: I3 (nothing that is needed is deleted), I4 (head
//! only grows) and I5 (no path crosses a tenant) cannot be read off what is left afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use futures::TryStreamExt;
use icepack_core::model::manifest::{Manifest, Receipt};
use icepack_core::model::marker::Role;
use icepack_core::model::names::{self, FileId, FileKind, Tenant};
use icepack_core::model::pages::{Page, Pages};
use icepack_dst::faults::Side;
use icepack_dst::intercept::{InterceptStore, Kind};
use icepack_dst::invariants::{Deletion, World};
use icepack_dst::memory::Time;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload};

use crate::support::{Store, delta};

/// See the module.
pub struct Watch {
    hot: Store,
    cold: Store,
    time: Time,
    /// Where the hot store is a directory.
    pub directory: Option<PathBuf>,
    broken: Mutex<Vec<String>>,
    revived: Mutex<usize>,
    deletions: Mutex<BTreeSet<Deletion>>,
    /// Every manifest that was ever put.
    history: Mutex<Vec<Arc<Manifest>>>,
}

async fn newest_bytes(hot: &Store, tenant: &Tenant) -> Option<Vec<u8>> {
    let dir = Path::parse(names::manifest_dir(tenant)).unwrap();
    let metas: Vec<ObjectMeta> = hot.list(Some(&dir)).try_collect().await.unwrap();
    let newest = metas.into_iter().map(|m| m.location).max()?;
    let found = hot.get(&newest).await.unwrap();
    Some(found.bytes().await.unwrap().to_vec())
}

/// The newest manifest, by a reader that shares nothing with the job but the types.
pub async fn head(hot: &Store, tenant: &Tenant) -> Option<Manifest> {
    let dir = Path::parse(names::manifest_dir(tenant)).unwrap();
    let metas: Vec<ObjectMeta> = hot.list(Some(&dir)).try_collect().await.unwrap();
    let newest = metas.into_iter().map(|m| m.location).max()?;
    let body = hot.get(&newest).await.unwrap().bytes().await.unwrap();
    let mut head = serde_json::from_slice(&body).unwrap();
    let lost = read_pages(hot, &mut head).await;
    assert_eq!(
        lost,
        Vec::<String>::new(),
        "I2: pages of head are not there"
    );
    Some(head)
}

/// Reads the pages of a manifest as its format says it, and puts what they say into it. The keys of
/// those that are not there.
async fn read_pages(hot: &Store, m: &mut Manifest) -> Vec<String> {
    let mut lost = Vec::new();
    for page in m.pages.all().to_vec() {
        let key = format!("_icepack/{}/pages/{}.json.zst", m.tenant, page.id);
        let Ok(found) = hot.get(&Path::parse(&key).unwrap()).await else {
            lost.push(key);
            continue;
        };
        let packed = found.bytes().await.unwrap();
        let body = zstd::decode_all(packed.as_ref()).unwrap();
        let page: Page = serde_json::from_slice(&body).unwrap();
        m.snapshots.extend(page.snapshots);
        m.retired.extend(page.retired);
        m.swept_in.extend(page.swept);
        m.quarantined.extend(page.quarantined);
        m.adopted.extend(page.adopted);
        m.restored.extend(page.restored);
    }
    // All that can be read of it was read.
    if !m.pages.is_empty() {
        m.pages = Pages::default();
    }
    lost
}

/// All of them.
pub async fn manifests(hot: &Store, tenant: &Tenant) -> BTreeMap<u64, Arc<Manifest>> {
    let dir = Path::parse(names::manifest_dir(tenant)).unwrap();
    let metas: Vec<ObjectMeta> = hot.list(Some(&dir)).try_collect().await.unwrap();
    let mut found = BTreeMap::new();
    for m in metas {
        let body = hot.get(&m.location).await.unwrap().bytes().await.unwrap();
        let version = names::parse_manifest_key(tenant, m.location.as_ref()).unwrap();
        let mut manifest = serde_json::from_slice(&body).unwrap();
        // Those of older versions are collected.
        read_pages(hot, &mut manifest).await;
        found.insert(version, Arc::new(manifest));
    }
    found
}

fn bytes(payload: &PutPayload) -> Vec<u8> {
    payload.iter().flat_map(|b| b.to_vec()).collect()
}

/// The tenant and the version that a key is a manifest of.
fn manifest_of(key: &str) -> Option<(Tenant, u64)> {
    let name = key.strip_prefix("_icepack/")?.split('/').next()?;
    let tenant = Tenant::parse(name).ok()?;
    let version = names::parse_manifest_key(&tenant, key)?;
    Some((tenant, version))
}

/// The tenant and the id that a key is a page of.
fn page_of(key: &str) -> Option<(Tenant, FileId)> {
    let name = key.strip_prefix("_icepack/")?.split('/').next()?;
    let tenant = Tenant::parse(name).ok()?;
    let id = names::parse_page_key(&tenant, key)?;
    Some((tenant, id))
}

fn is_ours_alone(key: &str) -> bool {
    ["_probe", "runs", "_spread"]
        .iter()
        .any(|folder| key.starts_with(&format!("_icepack/{folder}/")))
}

impl Watch {
    pub fn new(hot: &Store, cold: &Store, time: &Time, directory: Option<PathBuf>) -> Arc<Self> {
        let (hot, cold, time) = (Arc::clone(hot), Arc::clone(cold), time.clone());
        Arc::new(Self {
            hot,
            cold,
            time,
            directory,
            broken: Mutex::default(),
            revived: Mutex::default(),
            deletions: Mutex::default(),
            history: Mutex::default(),
        })
    }

    /// Takes over what `other` has seen.
    pub fn follow(&self, other: &Self) {
        self.deletions
            .lock()
            .unwrap()
            .clone_from(&other.deletions.lock().unwrap());
        self.history
            .lock()
            .unwrap()
            .clone_from(&other.history.lock().unwrap());
    }

    /// Tells of a tenant what can no longer be seen.
    pub fn tell(&self, world: &mut World<String>) {
        let tenant = world.tenant.clone();
        world.history = self
            .history
            .lock()
            .unwrap()
            .iter()
            .filter(|m| m.tenant == tenant)
            .cloned()
            .collect();
        let mine = |d: &&Deletion| {
            tenant.owns(&d.key) || names::parse_manifest_key(&tenant, &d.key).is_some()
        };
        world.deletions = self
            .deletions
            .lock()
            .unwrap()
            .iter()
            .filter(mine)
            .cloned()
            .collect();
    }

    /// What should not have happened so far.
    pub fn broken(&self) -> Vec<String> {
        self.broken.lock().unwrap().clone()
    }

    /// Manifests that were put under a number that had been pruned.
    pub fn revived(&self) -> usize {
        *self.revived.lock().unwrap()
    }

    fn breaks(&self, what: String) {
        self.broken.lock().unwrap().push(what);
    }

    fn store(&self, side: Side) -> &Store {
        if side == Side::Hot {
            &self.hot
        } else {
            &self.cold
        }
    }

    async fn meta(&self, side: Side, key: &Path) -> Option<ObjectMeta> {
        self.store(side).head(key).await.ok()
    }

    /// A store that tells of each change just before it is made.
    pub fn over(self: &Arc<Self>, side: Side) -> Store {
        let (watch, inner) = (Arc::clone(self), Arc::clone(self.store(side)));
        Arc::new(InterceptStore::before(inner, move |request| {
            let watch = Arc::clone(&watch);
            async move {
                let key = &request.key;
                match request.kind {
                    Kind::Put => {
                        watch
                            .before_put(side, key, &request.body, &request.mode)
                            .await;
                    }
                    Kind::Complete | Kind::Copy => watch.before_create(side, key).await,
                    Kind::Delete => watch.before_delete(side, key).await,
                    _ => {}
                }
                Ok(())
            }
        }))
    }

    async fn before_put(&self, side: Side, key: &Path, body: &PutPayload, mode: &PutMode) {
        // The hint of a Delta log is overwritten by its protocol, and a note by its shard.
        let may_overwrite = key.as_ref().contains("/_symlink_format_manifest/")
            || key.as_ref().ends_with("/_delta_log/_last_checkpoint")
            || key.as_ref().starts_with("_icepack/_spread/");
        if *mode != PutMode::Create && !may_overwrite {
            self.breaks(format!("I3: `{key}` is put without If-None-Match"));
        }
        if side == Side::Hot {
            if let Some((tenant, version)) = manifest_of(key.as_ref()) {
                if self.meta(side, key).await.is_none() {
                    self.before_commit(&tenant, version, &bytes(body)).await;
                }
                return;
            }
            if is_ours_alone(key.as_ref())
                || key.as_ref().contains("/_delta_log/")
                || key.as_ref().contains("/_symlink_format_manifest/")
            {
                return;
            }
            if page_of(key.as_ref()).is_some() {
                return;
            }
        }
        self.check_name(side, key.as_ref()).await;
        if side == Side::Cold && key.as_ref().ends_with(".receipt.json") {
            let receipt: Receipt = serde_json::from_slice(&bytes(body)).unwrap();
            if receipt.receipt_key() != key.as_ref() || !receipt.is_of(&receipt.tenant) {
                self.breaks(format!("I5: `{key}` is not the receipt of what it says"));
            }
        }
    }

    /// An object is about to appear without a condition.
    async fn before_create(&self, side: Side, key: &Path) {
        self.check_name(side, key.as_ref()).await;
        if self.meta(side, key).await.is_some() {
            self.breaks(format!("I3: `{key}` is overwritten"));
        }
    }

    async fn check_name(&self, side: Side, key: &str) {
        let role = match side {
            Side::Hot => Role::Store,
            Side::Cold => Role::Archive,
        };
        if key == role.marker_key() {
            return;
        }
        let tenant = key
            .split('/')
            .next()
            .and_then(|name| Tenant::parse(name).ok());
        let restored = match &tenant {
            Some(tenant) if side == Side::Hot => head(&self.hot, tenant).await,
            _ => None,
        };
        let is_restored = restored
            .iter()
            .flat_map(|head| &head.holds)
            .any(|hold| !hold.done && hold.files.contains(&key.to_owned()));
        let ours = tenant.is_some_and(|tenant| match side {
            Side::Hot => {
                is_restored || matches!(names::classify(&tenant, key), FileKind::Snapshot(_))
            }
            Side::Cold => key
                .rsplit('/')
                .next()
                .is_some_and(|name| name.starts_with(&format!("archive.{tenant}."))),
        });
        if !ours {
            self.breaks(format!("I3: `{key}` is written and is no name of ours"));
        }
    }

    async fn before_commit(&self, tenant: &Tenant, version: u64, body: &[u8]) {
        let mut next: Manifest = serde_json::from_slice(body).unwrap();
        self.check_new_pages(&next).await;
        let lost = read_pages(&self.hot, &mut next).await;
        if !lost.is_empty()
            && head(&self.hot, tenant)
                .await
                .is_none_or(|h| h.version < version)
        {
            self.breaks(format!(
                "I2: version {version} of `{tenant}` is put before {lost:?}"
            ));
        }
        if next.tenant != *tenant || next.version != version {
            self.breaks(format!(
                "I5: version {version} of `{tenant}` says that it is version {} of `{}`",
                next.version, next.tenant
            ));
        }
        if let Err(why) = next.check_paths() {
            self.breaks(format!("I5: version {version} of `{tenant}`: {why}"));
        }
        let head = head(&self.hot, tenant).await;
        let (newest, parent) = head
            .as_ref()
            .map_or((0, None), |h| (h.version, Some(h.commit_id)));
        if version <= newest {
            *self.revived.lock().unwrap() += 1;
        } else if version != newest + 1 || next.parent != parent {
            self.breaks(format!(
                "I4: version {version} of `{tenant}` on {:?} is put after version {newest} by \
                 {parent:?}",
                next.parent
            ));
        }
        if head.is_some_and(|h| h.floor > next.floor && version > newest) {
            self.breaks(format!(
                "I4: version {version} of `{tenant}` lowers the floor"
            ));
        }
        self.history.lock().unwrap().push(Arc::new(next));
    }

    /// A page that a manifest names for the first time is above the floor: nobody has collected it
    /// since it was put.
    async fn check_new_pages(&self, next: &Manifest) {
        let before: Option<Manifest> = match newest_bytes(&self.hot, &next.tenant).await {
            Some(body) => serde_json::from_slice(&body).ok(),
            None => None,
        };
        let Some(before) = before.filter(|before| before.version < next.version) else {
            return;
        };
        let known: BTreeSet<FileId> = before.pages.all().iter().map(|p| p.id).collect();
        for page in next.pages.all() {
            if !known.contains(&page.id) && page.id < before.floor.max(next.floor) {
                self.breaks(format!("I3: page {} is named below the floor", page.id));
            }
        }
    }

    async fn before_delete(&self, side: Side, path: &Path) {
        let key = path.as_ref();
        if side == Side::Cold {
            return self.breaks(format!("I3: `{key}` is deleted from the archive"));
        }
        let Some(meta) = self.meta(side, path).await else {
            return;
        };
        self.deletions.lock().unwrap().insert(Deletion {
            key: key.to_owned(),
            etag: meta.e_tag.clone(),
        });
        if is_ours_alone(key) {
            return;
        }
        if let Some((tenant, version)) = manifest_of(key) {
            let newest = head(&self.hot, &tenant).await.map_or(0, |h| h.version);
            if version + 16 > newest || meta.last_modified + TimeDelta::hours(24) > self.time.now()
            {
                self.breaks(format!("I4: manifest `{key}` is pruned, head is {newest}"));
            }
            return;
        }
        if let Some((tenant, id)) = page_of(key) {
            let body = newest_bytes(&self.hot, &tenant).await.unwrap();
            let head: Manifest = serde_json::from_slice(&body).unwrap();
            let named = head.pages.all().iter().any(|p| p.id == id);
            if named || id >= head.floor {
                self.breaks(format!(
                    "I3: page `{key}` is deleted under head {}: named {named}, floor {}",
                    head.version, head.floor
                ));
            }
            return;
        }
        let Some(tenant) = key
            .split('/')
            .next()
            .and_then(|name| Tenant::parse(name).ok())
        else {
            return self.breaks(format!("I3: `{key}` is deleted and is nobody's"));
        };
        let Some(head) = head(&self.hot, &tenant).await else {
            return self.breaks(format!("I3: `{key}` is deleted without a manifest"));
        };
        if delta::versions(&self.hot, tenant.as_str())
            .await
            .last()
            .is_some_and(|v| v.files.contains_key(key))
        {
            self.breaks(format!(
                "I3: `{key}` is deleted, and the newest version of the table names it"
            ));
        }
        let live = head.snapshots.iter().any(|s| s.key == key);
        let retired = head
            .retired
            .iter()
            .any(|r| r.key == key && r.etag == meta.e_tag);
        let dead =
            matches!(names::classify(&tenant, key), FileKind::Snapshot(id) if id < head.floor);
        if live || !(retired || dead) {
            self.breaks(format!(
                "I3: `{key}` is deleted under head {}: live {live}, retired {retired}, below the \
                 floor {dead}",
                head.version
            ));
        }
    }
}
