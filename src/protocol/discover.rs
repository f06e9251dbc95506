//! Finds the tenants, reads heads, and lists files.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::pages;
use crate::error::{Error, Result};
use crate::store::local;
use crate::store::path;
use icepack_core::model::file::Listed;
use icepack_core::model::inputs::{self, Left, Rules};
use icepack_core::model::layout::{Folder, Layout};
use icepack_core::model::manifest::{FORMAT, Manifest, Receipt};
use icepack_core::model::names::{self, FileId, Key, STATE_DIR, Tenant, TenantError};
use icepack_core::model::pages::PageRef;
use icepack_core::model::plan::Inventory;
use icepack_core::model::same::Sameness;
use icepack_core::plan::evidence::{self, Evidence};
use icepack_core::plan::intake::{Beyond, Intake, Keep, Taken};
use icepack_core::plan::paging::{Dividing, Places};
use icepack_parquet::source::whole_body;

/// How often a reader starts over because head changed under it.
const LIVE_TRIES: usize = 20;

/// Objects asked for at once.
const HEADS_AT_ONCE: usize = 16;
/// Folders that are listed at once.
const FOLDERS_AT_ONCE: usize = 16;
/// Odd keys in the root that are counted at most.
const ODD_KEYS: usize = 100;

/// Folders of [`STATE_DIR`] that are not a tenant's.
const NOT_TENANTS: [&str; 1] = ["runs"];

/// Folders of tables that lie in the table's own folder.
const TABLE_STATE: [&str; 3] = [names::DELTA_LOG, ".hoodie", "_spark_metadata"];

/// The tenants of a store, by name, and the folders that look like one but cannot be.
#[derive(Debug, Clone, Default)]
pub struct Tenants {
    /// Sorted.
    pub tenants: Vec<Tenant>,
    /// Not hidden, but not usable either: a person must rename them.
    pub refused: Vec<TenantError>,
    /// The names of every other folder beside them and among icepack's own, usable or not.
    pub others: Vec<String>,
    /// What lies in the root or elsewhere, and belongs to no tenant.
    pub root: Vec<Listed>,
    /// Folders with the state of a table that tenants may be part of.
    pub tables: Vec<Key>,
    /// Folders beside those of tenants, with their slash, that the layout has no place for.
    pub unmatched: Vec<Key>,
}

/// The tenants of a store by its layout, and those that have only state left.
///
/// # Errors
/// [`Error::Store`] where something cannot be listed.
pub async fn tenants(store: &dyn ObjectStore, layout: &Layout) -> Result<Tenants> {
    let mut found = Found {
        layout,
        told: Tenants::default(),
        names: BTreeSet::new(),
        links: BTreeSet::new(),
    };
    if layout.has_wildcard() {
        found.scattered(store).await?;
    } else {
        found.by_folder(store).await?;
    }
    let Found {
        mut told,
        mut names,
        links,
        ..
    } = found;
    // A tenant whose last file expired may still have receipts to write and files to forget.
    let state = path(STATE_DIR)?;
    for name in list_folders(store, Some(&state)).await?.0 {
        match Tenant::parse(&name) {
            Ok(tenant) if links.contains(&tenant) => {}
            Ok(tenant) if names.contains(&tenant) => {}
            Ok(tenant) if !NOT_TENANTS.contains(&name.as_str()) => {
                let tenant = tenant.within(layout);
                if tenant.has_place() {
                    names.insert(tenant);
                } else {
                    let layout = layout.as_str().to_owned();
                    told.refused.push(TenantError::Unplaced(name, layout));
                }
            }
            _ => told.others.push(name),
        }
    }
    told.tenants = names.into_iter().collect();
    Ok(told)
}

/// Tenants while they are looked for.
struct Found<'a> {
    layout: &'a Layout,
    told: Tenants,
    names: BTreeSet<Tenant>,
    /// Names that are links: what lies behind one is no tenant's.
    links: BTreeSet<Tenant>,
}

impl Found<'_> {
    /// Lists the folders of each placeholder.
    async fn by_folder(&mut self, store: &dyn ObjectStore) -> Result<()> {
        // Folders with their slash, and the texts at the placeholders so far.
        let mut places: Vec<(String, Vec<String>)> = vec![Default::default()];
        let last = self.layout.folders().len();
        for (depth, folder) in self.layout.folders().iter().enumerate() {
            if let Folder::Literal(text) = folder {
                for (place, _) in &mut places {
                    let tables = tables_in(store, self.layout, place, |_| true).await?;
                    self.told.tables.extend(tables);
                    *place = format!("{place}{text}/");
                }
                continue;
            }
            let listed = stream::iter(places).map(|(place, parts)| async move {
                let listed = list_place(store, &place).await?;
                Ok::<_, Error>((place, parts, listed))
            });
            let listed: Vec<_> = listed.buffered(FOLDERS_AT_ONCE).try_collect().await?;
            places = Vec::new();
            for (place, parts, (folders, files)) in listed {
                for name in folders {
                    if let Some(part) = self.part(folder, &place, &name) {
                        let parts = parts.iter().cloned().chain([part]).collect();
                        places.push((format!("{place}{name}/"), parts));
                    }
                }
                for link in files.iter().filter_map(|f| inputs::link(&place, &f.key)) {
                    let Ok(Some(part)) = folder.part(&link) else {
                        continue;
                    };
                    self.told
                        .refused
                        .push(TenantError::Link(format!("{place}{link}")));
                    let parts = parts.iter().map(String::as_str).chain([part]);
                    if depth + 1 == last {
                        self.links
                            .extend(self.layout.tenant(&parts.collect::<Vec<_>>()));
                    }
                }
                self.told.root.extend(files);
            }
        }
        for (place, parts) in places {
            if !self.layout.has_placeholder() && is_empty(store, &place).await? {
                continue;
            }
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            self.take(&place, self.layout.tenant(&parts).map(Some));
        }
        Ok(())
    }

    /// The part of a tenant's name that the folder `name` in `place` gives. What gives none is
    /// told.
    fn part(&mut self, folder: &Folder, place: &str, name: &str) -> Option<String> {
        match folder.part(name) {
            Ok(Some(part)) => return Some(part.to_owned()),
            Ok(None) => {}
            Err(TenantError::Unsafe(name, why)) => self
                .told
                .refused
                .push(TenantError::Unsafe(format!("{place}{name}"), why)),
            Err(e @ (TenantError::Link(_) | TenantError::Unplaced(..))) => {
                self.told.refused.push(e);
            }
            Err(e @ TenantError::Hidden(_)) => {
                // `..%2f` and its like are somebody's mistake or attack: say that it is left alone.
                if name.starts_with("..") {
                    tracing::warn!("{e}");
                }
            }
        }
        if table_state(self.layout).contains(&name) {
            self.told.tables.push(format!("{place}{name}"));
        }
        if matches!(folder.part(name), Ok(None)) && !names::is_hidden(name) {
            self.told.unmatched.push(format!("{place}{name}/"));
        }
        // As it is ordered among the tenants' names.
        let before = match folder {
            Folder::Part { before, .. } => before,
            _ => "",
        };
        self.told
            .others
            .extend(name.strip_prefix(before).map(str::to_owned));
        None
    }

    /// Lists everything: any folder may stand above a tenant.
    async fn scattered(&mut self, store: &dyn ObjectStore) -> Result<()> {
        let depth = self.layout.folders().len();
        let (mut keys, mut last) = (list_in(store, &self.layout.head())?, String::new());
        let failed = |e| Error::store(format!("cannot list {store}"), e);
        while let Some(meta) = keys.try_next().await.map_err(failed)? {
            let key = meta.location.as_ref();
            // Keys of one tenant often follow each other.
            if !last.is_empty() && key.starts_with(&last) {
                continue;
            }
            if let Some(table) = table_above(key, self.layout) {
                if !self.told.tables.contains(&table) {
                    self.told.tables.push(table);
                }
                continue;
            }
            let ends = key.match_indices('/').nth(depth - 1);
            last = ends.map_or_else(String::new, |(at, _)| key[..=at].to_owned());
            match self.layout.tenant_of(key) {
                Ok(None) => {
                    last.clear();
                    if !key.starts_with(STATE_DIR) {
                        self.told.root.push(listed(meta));
                    }
                }
                tenant => self.take(&last.clone(), tenant),
            }
        }
        Ok(())
    }

    fn take(&mut self, place: &str, tenant: Result<Option<Tenant>, TenantError>) {
        match tenant {
            Ok(tenant) => self.names.extend(tenant),
            Err(TenantError::Hidden(_)) => {}
            Err(TenantError::Unsafe(_, why)) => {
                let e = TenantError::Unsafe(place.trim_end_matches('/').to_owned(), why);
                if !self.told.refused.contains(&e) {
                    self.told.refused.push(e);
                }
            }
            Err(e) => self.told.refused.push(e),
        }
    }
}

/// The folders beside the literals that a layout begins with, with their slash: nothing in them is
/// looked at. Each literal costs a listing.
///
/// # Errors
/// [`Error::Store`] where something cannot be listed.
pub async fn beside(store: &dyn ObjectStore, layout: &Layout) -> Result<Vec<Key>> {
    let (mut place, mut found) = (String::new(), Vec::new());
    for folder in layout.folders() {
        let Folder::Literal(text) = folder else {
            break;
        };
        let (folders, _) = list_place(store, &place).await?;
        let others = folders
            .into_iter()
            .filter(|name| name != text && !names::is_hidden(name));
        found.extend(others.map(|name| format!("{place}{name}/")));
        place = format!("{place}{text}/");
    }
    Ok(found)
}

/// The folders of `place` and its files, where a key that begins with a slash is shown in full.
async fn list_place(store: &dyn ObjectStore, place: &str) -> Result<(Vec<String>, Vec<Listed>)> {
    if !place.is_empty() {
        return list_folders(store, Some(&path(place.trim_end_matches('/'))?)).await;
    }
    let (folders, mut files) = list_folders(store, None).await?;
    if files.iter().any(|f| inputs::is_unnamed_folder(&f.key)) {
        name_odd_keys(store, &mut files).await?;
    }
    Ok((folders, files))
}

/// Whether nothing but icepack's own state lies in `place`.
async fn is_empty(store: &dyn ObjectStore, place: &str) -> Result<bool> {
    let (folders, files) = list_place(store, place).await?;
    let is_state = |name: &String| place.is_empty() && name == STATE_DIR;
    Ok(files.is_empty() && folders.iter().all(is_state))
}

/// The folders that say that there is a table, above a tenant. In the root of a store whose first
/// folders are tenants, only the log of a Delta table is minded.
fn table_state(layout: &Layout) -> &'static [&'static str] {
    if *layout == Layout::default() {
        &TABLE_STATE[..1]
    } else {
        &TABLE_STATE
    }
}

/// The folder of a table's state that `key` lies in, above where tenants are.
fn table_above(key: &str, layout: &Layout) -> Option<Key> {
    let mut end = 0;
    for name in key.split('/').take(layout.folders().len()) {
        end += name.len();
        if end < key.len() && table_state(layout).contains(&name) {
            return Some(key[..end].to_owned());
        }
        end += 1;
    }
    None
}

/// The folders with the state of a table in `place`, of those that are `minded`. Each is asked for.
async fn tables_in(
    store: &dyn ObjectStore,
    layout: &Layout,
    place: &str,
    minded: impl Fn(&str) -> bool,
) -> Result<Vec<Key>> {
    let mut found = Vec::new();
    for name in table_state(layout) {
        let key = format!("{place}{name}");
        if minded(&key) && has_any(store, &key).await? {
            found.push(key);
        }
    }
    Ok(found)
}

/// The folders above a tenant that hold the state of a table, of those that are `minded`.
///
/// # Errors
/// [`Error::Store`] where something cannot be listed.
pub async fn tables_above(
    store: &dyn ObjectStore,
    tenant: &Tenant,
    minded: impl Fn(&str) -> bool,
) -> Result<Vec<Key>> {
    let layout = tenant.layout();
    let mut found = Vec::new();
    if layout.has_wildcard() {
        let failed = |e| Error::store(format!("cannot list {store}"), e);
        let mut keys = list_in(store, &layout.head())?;
        while let Some(meta) = keys.try_next().await.map_err(failed)? {
            let table = table_above(meta.location.as_ref(), layout);
            found.extend(table.filter(|key| minded(key) && found.last() != Some(key)));
        }
        return Ok(found);
    }
    // The folders above the tenant's own; where it has none, none are.
    let place = tenant.prefix().unwrap_or_default();
    let ends = place.match_indices('/').map(|(at, _)| at + 1);
    let places: Vec<usize> = [0].into_iter().chain(ends).collect();
    for above in places.into_iter().rev().skip(1).rev() {
        found.extend(tables_in(store, layout, &place[..above], &minded).await?);
    }
    Ok(found)
}

/// The folders in one, and its files.
async fn list_folders(
    store: &dyn ObjectStore,
    below: Option<&Path>,
) -> Result<(Vec<String>, Vec<Listed>)> {
    let listing = store.list_with_delimiter(below).await;
    let listing = match listing {
        Ok(listing) => listing,
        // A directory that does not exist yet; S3 lists nothing.
        Err(object_store::Error::NotFound { .. }) if below.is_some() => {
            return Ok((Vec::new(), Vec::new()));
        }
        Err(e) => return Err(Error::store(format!("cannot list {store}"), e)),
    };
    // A folder without a plain name is no folder, but something to be told of.
    let (odd, plain): (Vec<_>, Vec<_>) = listing
        .common_prefixes
        .into_iter()
        .partition(|p| inputs::is_placeholder(p.as_ref()));
    let odd = odd.into_iter().map(|p| Listed {
        key: p.into(),
        size: 0,
        etag: None,
        modified: DateTime::UNIX_EPOCH,
    });
    let folders = plain
        .iter()
        .filter_map(|p| p.filename().map(str::to_owned))
        .collect();
    Ok((
        folders,
        listing.objects.into_iter().map(listed).chain(odd).collect(),
    ))
}

/// Keys in the root that begin with a slash are listed as a folder without a name: puts the first
/// of them in its place. They come before every tenant's.
async fn name_odd_keys(store: &dyn ObjectStore, files: &mut Vec<Listed>) -> Result<()> {
    let is_odd = |key: &str| inputs::is_placeholder(key) && !key.contains('/');
    let before = Path::parse(".~").map_err(|e| Error::local("cannot list the root", e))?;
    let odd = store
        .list_with_offset(None, &before)
        .try_take_while(|m| std::future::ready(Ok(is_odd(m.location.as_ref()))))
        .take(ODD_KEYS);
    let odd: Vec<Listed> = odd
        .map_ok(listed)
        .try_collect()
        .await
        .map_err(|e| Error::store(format!("cannot list {store}"), e))?;
    if !odd.is_empty() {
        files.retain(|f| !inputs::is_unnamed_folder(&f.key));
        files.extend(odd);
    }
    Ok(())
}

/// Whether anything lies in a folder.
async fn has_any(store: &dyn ObjectStore, folder: &str) -> Result<bool> {
    match store.list(Some(&path(folder)?)).try_next().await {
        Ok(found) => Ok(found.is_some()),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(e) => Err(Error::store(format!("cannot list `{folder}`"), e)),
    }
}

/// What a listing of a tenant is: the stream of its entries.
pub type Entries = BoxStream<'static, object_store::Result<ObjectMeta>>;

/// Lists `place`: a folder with its slash, or nothing for the root.
///
/// # Errors
/// [`Error::Local`] where it cannot be asked for.
pub fn list_in(store: &dyn ObjectStore, place: &str) -> Result<Entries> {
    let folder = place.trim_end_matches('/');
    let prefix = (!folder.is_empty()).then(|| path(folder)).transpose()?;
    Ok(store.list(prefix.as_ref()))
}

/// Everything under a tenant, as the store lists it.
///
/// # Errors
/// [`Error::Local`] where its folder cannot be asked for.
pub fn entries(store: &dyn ObjectStore, tenant: &Tenant) -> Result<Entries> {
    match tenant.prefix() {
        Some(place) if !place.is_empty() => list_in(store, &place),
        None if !tenant.layout().has_wildcard() => Ok(stream::empty().boxed()),
        place => {
            // Others' lie there too.
            let place = place.unwrap_or_else(|| tenant.layout().head());
            let tenant = tenant.clone();
            let own = move |m: &ObjectMeta| {
                std::future::ready(tenant.below(m.location.as_ref()).is_some())
            };
            Ok(list_in(store, &place)?.try_filter(own).boxed())
        }
    }
}

/// Everything under a tenant.
///
/// # Errors
/// [`Error::Store`] where it cannot be listed to the end: half a listing is none.
pub async fn list(store: &dyn ObjectStore, tenant: &Tenant) -> Result<Vec<Listed>> {
    let files = entries(store, tenant)?
        .map_ok(listed)
        .try_collect::<Vec<_>>();
    let mut files = files.await.map_err(|e| cannot_list(store, tenant, e))?;
    // Stores order keys differently around `/`.
    files.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(files)
}

/// The error of a listing of a tenant.
pub fn cannot_list(store: &dyn ObjectStore, tenant: &Tenant, e: object_store::Error) -> Error {
    let place = tenant.prefix().unwrap_or_else(|| tenant.layout().head());
    let place = format!("{store}/{place}");
    Error::store(format!("cannot list {}", place.trim_end_matches('/')), e)
}

/// Everything under a tenant of an archive, but for what has no plain key.
///
/// # Errors
/// As [`list`].
pub async fn archived(archive: &dyn ObjectStore, tenant: &Tenant) -> Result<Vec<Listed>> {
    let mut files = list(archive, tenant).await?;
    files.retain(|f| !inputs::is_placeholder(&f.key));
    Ok(files)
}

/// A store's entry as the model has it.
pub fn listed(meta: object_store::ObjectMeta) -> Listed {
    Listed {
        key: meta.location.into(),
        size: meta.size,
        etag: meta.e_tag,
        modified: meta.last_modified,
    }
}

/// A receipt of an archive; or why what is stored there is none, in a sentence.
///
/// # Errors
/// [`Error::Store`] where it cannot be fetched.
pub async fn receipt(archive: &dyn ObjectStore, key: &str) -> Result<Result<Receipt, String>> {
    let failed = |e| Error::store(format!("cannot read the receipt `{key}`"), e);
    let found = archive.get(&path(key)?).await.map_err(failed)?;
    let body = whole_body(found).await.map_err(failed)?;
    Ok(serde_json::from_slice(&body).map_err(|e| e.to_string()))
}

/// A version number that a listing shows, the store's time of its writing, and its tag.
type ListedVersion = (u64, DateTime<Utc>, Option<String>);

async fn listed_versions(store: &dyn ObjectStore, tenant: &Tenant) -> Result<Vec<ListedVersion>> {
    let dir = path(&names::manifest_dir(tenant))?;
    let metas = store.list(Some(&dir)).try_collect::<Vec<_>>().await;
    let metas = metas
        .map_err(|e| Error::store(format!("cannot list the manifests of tenant `{tenant}`"), e))?;
    let version = |m: object_store::ObjectMeta| {
        Some((
            names::parse_manifest_key(tenant, m.location.as_ref())?,
            m.last_modified,
            m.e_tag,
        ))
    };
    Ok(metas.into_iter().filter_map(version).collect())
}

/// The manifest versions of a tenant that a listing shows, with the store's time of their writing.
/// In no order.
///
/// # Errors
/// [`Error::Store`] where they cannot be listed to the end.
pub async fn versions(
    store: &dyn ObjectStore,
    tenant: &Tenant,
) -> Result<Vec<(u64, DateTime<Utc>)>> {
    Ok(listed_versions(store, tenant)
        .await?
        .into_iter()
        .map(|(version, at, _)| (version, at))
        .collect())
}

/// One version of a tenant's manifest, without its pages; none if there is no such object.
///
/// # Errors
/// [`Error::Store`] where it cannot be fetched, [`Error::Refused`] where it is not what it must be.
pub async fn read_version(
    store: &dyn ObjectStore,
    tenant: &Tenant,
    version: u64,
) -> Result<Option<Manifest>> {
    Ok(read_tagged(store, tenant, version)
        .await?
        .map(|(manifest, _)| manifest))
}

/// As [`read_version`], with the tag of what was read.
async fn read_tagged(
    store: &dyn ObjectStore,
    tenant: &Tenant,
    version: u64,
) -> Result<Option<(Manifest, Option<String>)>> {
    let key = names::manifest_key(tenant, version);
    let what = || format!("cannot read the manifest `{key}`");
    let reply = match store.get(&path(&key)?).await {
        Ok(reply) => reply,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(e) => return Err(Error::store(what(), e)),
    };
    let tag = reply.meta.e_tag.clone();
    let body = whole_body(reply)
        .await
        .map_err(|e| Error::store(what(), e))?;
    let manifest = decode(tenant, version, &body)
        .map_err(|why| Error::Refused(format!("the manifest `{key}` {why}")))?;
    Ok(Some((manifest, tag)))
}

/// What a reader of the format must check before it looks at anything else.
#[derive(serde::Deserialize)]
struct Envelope {
    min_reader: u32,
    writer: String,
}

/// Reads a manifest and checks that it is what its name says.
///
/// # Errors
/// What is wrong, as the end of a sentence that began with the manifest's name.
pub fn decode(tenant: &Tenant, version: u64, body: &[u8]) -> Result<Manifest, String> {
    let damaged = |e| format!("is damaged ({e}): restore it from a backup or a bucket version");
    let envelope: Envelope = serde_json::from_slice(body).map_err(damaged)?;
    if envelope.min_reader > FORMAT {
        return Err(format!(
            "was written by {} and needs a newer icepack (format {}, this one reads {FORMAT}): \
             upgrade",
            envelope.writer, envelope.min_reader
        ));
    }
    let mut manifest: Manifest = serde_json::from_slice(body).map_err(damaged)?;
    manifest
        .check_pages()
        .map_err(|why| format!("{why}: restore it from a backup or a bucket version"))?;
    if manifest.tenant != *tenant || manifest.version != version {
        return Err(format!(
            "says that it is version {} of tenant `{}`: somebody moved or edited it",
            manifest.version, manifest.tenant
        ));
    }
    // That knows by which layout its keys lie.
    manifest.tenant = tenant.clone();
    manifest
        .check_paths()
        .map_err(|why| format!("names what it may not: {why}"))?;
    Ok(manifest)
}

/// The head, whole: the manifest with the highest version, and all of its pages; none if the tenant
/// has none.
///
/// `at_least` is a version that is known to exist, whatever a listing says.
///
/// # Errors
/// As [`read_version`]; [`Error::Refused`] where a page is not there, or not what it must be.
pub async fn head(
    store: &dyn ObjectStore,
    tenant: &Tenant,
    at_least: u64,
) -> Result<Option<Manifest>> {
    head_with(store, tenant, at_least, |head| {
        head.pages.unread().map(|p| p.id).collect()
    })
    .await
}

/// The head as [`head`] gives it, with those of its pages that `wanted` names.
///
/// # Errors
/// As [`head`].
pub async fn head_with(
    store: &dyn ObjectStore,
    tenant: &Tenant,
    at_least: u64,
    wanted: impl Fn(&Manifest) -> BTreeSet<FileId>,
) -> Result<Option<Manifest>> {
    let mut before = None;
    for _ in 0..LIVE_TRIES {
        let Some(mut head) = bare_head(store, tenant, at_least).await? else {
            return Ok(None);
        };
        let wanted = wanted(&head);
        if pages::read(store, &mut head, &wanted).await? {
            return Ok(Some(head));
        }
        lost_twice(&mut before, &head)?;
    }
    Err(rests_never(tenant))
}

/// Refuses `head`, a page of which is not there, where it was head too when one was missing
/// `before`. Else it is read again: a newer manifest may do without that page.
fn lost_twice(before: &mut Option<(u64, FileId)>, head: &Manifest) -> Result<()> {
    let this = (head.version, head.commit_id);
    if before.replace(this) == Some(this) {
        return Err(pages::lost(head));
    }
    Ok(())
}

fn rests_never(tenant: &Tenant) -> Error {
    Error::Conflict(format!(
        "the manifests of tenant `{tenant}` change faster than they can be read"
    ))
}

/// The head, without its pages: of files it knows nothing where it has some.
///
/// # Errors
/// As [`read_version`].
pub async fn bare_head(
    store: &dyn ObjectStore,
    tenant: &Tenant,
    at_least: u64,
) -> Result<Option<Manifest>> {
    for _ in 0..LIVE_TRIES {
        let listed = listed_versions(store, tenant).await?;
        let (mut newest, mut tag) = listed
            .into_iter()
            .max_by_key(|(v, ..)| *v)
            .map_or((0, None), |(v, _, tag)| (v, tag));
        if at_least > newest {
            (newest, tag) = (at_least, None);
        }
        if newest == 0 {
            return Ok(None);
        }
        // Where it is not there, it was pruned between the listing and the read: there is a newer
        // one.
        if let Some((manifest, found)) = read_tagged(store, tenant, newest).await? {
            // Another manifest may stand under this number by now: pruned in between, then put
            // again by a run that slept. That one is not part of the history, and deleting
            // what it "retired" would lose rows. The tag tells (each manifest has its own commit
            // id); and what is still the highest number was never pruned.
            if Sameness::of(tag.as_deref(), found.as_deref()).is_same()
                || versions(store, tenant)
                    .await?
                    .iter()
                    .all(|(v, _)| *v <= newest)
            {
                return Ok(Some(manifest));
            }
        }
    }
    Err(rests_never(tenant))
}

/// An inventory, and what of the listing is not in it.
#[derive(Debug, Clone)]
pub struct Looked {
    /// Head, with inputs, our outputs, and what head names.
    pub inventory: Inventory,
    pub left: Left,
    /// Inputs that were not kept.
    pub beyond: Beyond,
}

impl Looked {
    fn of(head: Option<Manifest>, taken: Taken) -> Self {
        let Taken {
            listing,
            left,
            beyond,
        } = taken;
        Self {
            inventory: Inventory { head, listing },
            left,
            beyond,
        }
    }

    /// The same of a tenant of which nothing is somebody else's.
    ///
    /// # Errors
    /// [`Error::Refused`] where something is.
    pub fn own(self, tenant: &Tenant) -> Result<Self> {
        match self.left.refusal(tenant) {
            Some(why) => Err(Error::Refused(why)),
            None => Ok(self),
        }
    }
}

/// Of a head whose pages were not read, the pages that need not be.
pub type Settled<'a> = &'a (dyn Fn(&Manifest, &PageRef) -> bool + Sync);

/// Head and a listing, without what lies in pages that are `settled` and that the listing agrees
/// with: neither what head says of it nor the files. Where head has no pages, all of both. Of the
/// inputs that head does not know, those are in it that `keep` says.
///
/// # Errors
/// As [`inventory`].
pub async fn open_inventory(
    store: &dyn ObjectStore,
    tenant: &Tenant,
    rules: &Rules,
    keep: Keep<'_>,
    settled: Settled<'_>,
) -> Result<Looked> {
    let mut before = None;
    for _ in 0..LIVE_TRIES {
        let mut head = match bare_head(store, tenant, 0).await? {
            Some(head) if !head.pages.is_empty() => head,
            whole => return inventory_after(whole, store, tenant, rules, keep).await,
        };
        match take_in_pages(store, tenant, &mut head, rules, keep, settled).await? {
            Some(taken) => return Ok(Looked::of(Some(head), taken)),
            None => lost_twice(&mut before, &head)?,
        }
    }
    Err(rests_never(tenant))
}

/// A listing of `tenant` that is taken after the bare `head` was read, and the pages of head that
/// are not `settled` by it. Pages are read while the listing comes. None where one is not there.
async fn take_in_pages(
    store: &dyn ObjectStore,
    tenant: &Tenant,
    head: &mut Manifest,
    rules: &Rules,
    keep: Keep<'_>,
    settled: Settled<'_>,
) -> Result<Option<Taken>> {
    let intake = Intake::new(rules.sorter(tenant, Some(head)), keep);
    let mut dividing = Dividing::new(intake, head, |page| settled(head, page));
    let mut entries = entries(store, tenant)?;
    while let Some(meta) = entries.next().await {
        let meta = meta.map_err(|e| cannot_list(store, tenant, e))?;
        dividing.add(head, listed(meta));
        if dividing.is_full() && !read_wanted(store, head, &mut dividing).await? {
            return Ok(None);
        }
    }
    dividing.close(head);
    if !read_wanted(store, head, &mut dividing).await? {
        return Ok(None);
    }
    pages::check(head)?;
    Ok(Some(dividing.finish(head)))
}

async fn read_wanted(
    store: &dyn ObjectStore,
    head: &mut Manifest,
    dividing: &mut Dividing<'_>,
) -> Result<bool> {
    let wanted = dividing.wanted(head);
    if !pages::add(store, head, &wanted).await? {
        return Ok(false);
    }
    dividing.resume(head);
    Ok(true)
}

/// A listing of `tenant` that was taken after `head` was read, sorted by `rules` as it comes.
/// Without the data files in pages of `head` that were not read.
///
/// # Errors
/// [`Error::Store`] where it cannot be listed to the end: half a listing is none.
pub async fn take_in(
    store: &dyn ObjectStore,
    tenant: &Tenant,
    head: Option<&Manifest>,
    rules: &Rules,
    keep: Keep<'_>,
) -> Result<Taken> {
    let mut intake = Intake::new(rules.sorter(tenant, head), keep);
    let (mut entries, mut places) = (entries(store, tenant)?, Places::default());
    while let Some(meta) = entries.next().await {
        let f = listed(meta.map_err(|e| cannot_list(store, tenant, e))?);
        if head.is_none_or(|head| places.knows(head, &f.key)) {
            intake.add(f, head);
        }
    }
    Ok(intake.finish())
}

/// Head, whole, then a listing, sorted by `rules`. Of the inputs that head does not know, those are
/// in it that `keep` says.
///
/// # Errors
/// As [`head`] and [`take_in`].
pub async fn inventory(
    store: &dyn ObjectStore,
    tenant: &Tenant,
    rules: &Rules,
    keep: Keep<'_>,
) -> Result<Looked> {
    let newest = head(store, tenant, 0).await?;
    inventory_after(newest, store, tenant, rules, keep).await
}

/// As [`inventory`], where head was just read.
async fn inventory_after(
    mut newest: Option<Manifest>,
    store: &dyn ObjectStore,
    tenant: &Tenant,
    rules: &Rules,
    keep: Keep<'_>,
) -> Result<Looked> {
    // The order matters: a file in a listing taken after head was read, and not retired by head,
    // was not compacted by it.
    let mut taken = take_in(store, tenant, newest.as_ref(), rules, keep).await?;
    if newest.is_none()
        && taken
            .listing
            .iter()
            .any(|f| names::is_output(tenant, &f.key))
    {
        // Lost its manifest, or another run began the tenant just now: its manifest came before its
        // outputs, so it can be seen by now.
        newest = head(store, tenant, 0).await?;
        taken = take_in(store, tenant, newest.as_ref(), rules, keep).await?;
    }
    Ok(Looked::of(newest, taken))
}

/// Head and a listing that it can be believed by.
#[derive(Debug)]
pub struct Believed {
    /// Each snapshot that head names was seen, and nothing is somebody else's.
    pub evidence: Evidence,
    pub left: Left,
    /// Inputs that were not kept.
    pub beyond: Beyond,
}

/// Head and a listing that it can be believed by, with what was left out of it. What lies in pages
/// that are `settled`, and that the listing agrees with, is not in it.
///
/// # Errors
/// As [`inventory`]; [`Error::Refused`] where a snapshot is not in the store, or head was put again
/// after outputs that it does not know, and head is head all the same.
pub async fn evidence(
    store: &Arc<dyn ObjectStore>,
    tenant: &Tenant,
    rules: &Rules,
    keep: Keep<'_>,
    settled: Settled<'_>,
) -> Result<Believed> {
    for _ in 0..LIVE_TRIES {
        let looked = open_inventory(store.as_ref(), tenant, rules, keep, settled).await?;
        let Looked {
            inventory: found,
            left,
            beyond,
        } = looked.own(tenant)?;
        let unlisted: Vec<Key> = evidence::unlisted(&found)
            .into_iter()
            .map(|s| s.key.clone())
            .collect();
        // A listing may be late, an answer about one object is not.
        let seen = present(store, unlisted).await?;
        let version = found.head.as_ref().map(|m| (m.version, m.commit_id));
        let overtaken = overtaken(store.as_ref(), tenant, &found).await?;
        let why = match Evidence::new(found, &seen) {
            Ok(evidence) if overtaken.is_empty() => {
                return Ok(Believed {
                    evidence,
                    left,
                    beyond,
                });
            }
            Ok(_) => evidence::refusal_of_older(tenant, version.map_or(0, |(v, _)| v), &overtaken),
            Err(missing) => evidence::refusal(tenant, version.map_or(0, |(v, _)| v), &missing),
        };
        // Another run may have merged and deleted them since head was read.
        if bare_head(store.as_ref(), tenant, 0)
            .await?
            .map(|m| (m.version, m.commit_id))
            == version
        {
            return Err(Error::Refused(why));
        }
    }
    Err(Error::Conflict(format!(
        "tenant `{tenant}` was committed to all the time: no consistent view could be taken"
    )))
}

/// Asks for each of `keys`, and returns those that are there.
///
/// # Errors
/// [`Error::Store`] where the answer is neither yes nor no.
pub async fn present(store: &Arc<dyn ObjectStore>, keys: Vec<Key>) -> Result<BTreeSet<Key>> {
    let asked = stream::iter(keys).map(|key| is_there(Arc::clone(store), key));
    let found: Vec<Option<Key>> = asked.buffer_unordered(HEADS_AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Those of `keys` that are gone for certain. Each is asked for; of what lies behind a link by now
/// nothing is known.
///
/// # Errors
/// As [`present`].
pub async fn gone(store: &Arc<dyn ObjectStore>, keys: Vec<Key>) -> Result<BTreeSet<Key>> {
    let asked = stream::iter(keys).map(|key| {
        let store = Arc::clone(store);
        async move {
            match is_there(store, key.clone()).await {
                Ok(found) => Ok(found.is_none().then_some(key)),
                Err(Error::Store { source, .. }) if local::is_behind_link(&source) => Ok(None),
                Err(e) => Err(e),
            }
        }
    });
    let gone: Vec<Option<Key>> = asked.buffer_unordered(HEADS_AT_ONCE).try_collect().await?;
    Ok(gone.into_iter().flatten().collect())
}

/// Outputs that say that head is an older manifest. The store is asked for head's time only where
/// there are some that could.
async fn overtaken(
    store: &dyn ObjectStore,
    tenant: &Tenant,
    found: &Inventory,
) -> Result<Vec<Key>> {
    let Some(head) = found
        .head
        .as_ref()
        .filter(|_| !evidence::younger(found).is_empty())
    else {
        return Ok(Vec::new());
    };
    let put_at = versions(store, tenant)
        .await?
        .into_iter()
        .find(|(version, _)| *version == head.version)
        .map(|(_, at)| at);
    Ok(put_at.map_or_else(Vec::new, |at| evidence::overtaken(found, at)))
}

async fn is_there(store: Arc<dyn ObjectStore>, key: Key) -> Result<Option<Key>> {
    match store.head(&path(&key)?).await {
        Ok(_) => Ok(Some(key)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(e) => Err(Error::store(format!("cannot look for `{key}`"), e)),
    }
}

/// An inventory of which head is still head after the listing: what a reader may take for the live
/// view.
///
/// # Errors
/// As [`inventory`]; [`Error::Conflict`] where head never rests.
pub async fn live_inventory(
    store: &Arc<dyn ObjectStore>,
    tenant: &Tenant,
    rules: &Rules,
) -> Result<Looked> {
    for _ in 0..LIVE_TRIES {
        let found = inventory(store.as_ref(), tenant, rules, Keep::All).await?;
        let version = found.inventory.head.as_ref().map_or(0, |m| m.version);
        let newest = versions(store.as_ref(), tenant)
            .await?
            .iter()
            .map(|(v, _)| *v)
            .max()
            .unwrap_or(0);
        if newest == version {
            return Ok(found);
        }
    }
    Err(Error::Conflict(format!(
        "tenant `{tenant}` was committed to all the time: no consistent view could be taken"
    )))
}

#[cfg(test)]
mod tests;
