//! Lists many tenants at once, where a store lists in the order of keys. What it shows is a hint:
//! [`icepack_core::plan::prescan`] says what that means.

use std::collections::HashMap;
use std::pin::Pin;

use futures::stream::{BoxStream, Peekable};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use crate::error::{Error, Result};
use crate::protocol::discover::{list_in, listed};
use crate::store::path;
use icepack_core::model::file::Listed;
use icepack_core::model::layout::Layout;
use icepack_core::model::names::{self, STATE_DIR, Tenant};
use icepack_core::plan::prescan::{Hint, Range};

/// A tenant with more files is looked at: its hint would be memory, and its own listing adds little
/// to the requests.
const MOST: usize = 500;

/// After so many keys of others, a page of them, the listing begins anew at the next tenant.
const SKIPPED: usize = 1_000;

/// After so many tenants in a row that have more, the others of the range are looked at.
const LARGE_IN_A_ROW: usize = 3;

/// Every tenant of `range`, in order, with what a listing of all of them showed; nothing where it
/// must be looked at by itself. Where the listing fails, or is not in order, those are all of them:
/// it can show half of a tenant then.
pub async fn prescan(store: &dyn ObjectStore, range: &Range) -> Vec<(Tenant, Option<Hint>)> {
    let found = match newest(store, range).await {
        Ok(newest) => hints(store, range, &newest).await,
        Err(e) => Err(e),
    };
    found.unwrap_or_else(|e| {
        let tenants = range.tenants.len();
        match e {
            Error::Store { .. } => tracing::warn!(tenants, "tenants are looked at one by one: {e}"),
            // Some stores always do, and nothing is wrong with them.
            _ => tracing::debug!(tenants, "tenants are looked at one by one: {e}"),
        }
        range
            .tenants
            .iter()
            .cloned()
            .map(|tenant| (tenant, None))
            .collect()
    })
}

async fn hints(
    store: &dyn ObjectStore,
    range: &Range,
    newest: &HashMap<Tenant, u64>,
) -> Result<Vec<(Tenant, Option<Hint>)>> {
    let first = range.tenants.first();
    if let Some(layout) = first.map(Tenant::layout).filter(|l| l.has_wildcard()) {
        return scattered(store, layout, range, newest).await;
    }
    let mut keys: Option<Ordered> = None;
    let mut found = Vec::with_capacity(range.tenants.len());
    let mut large = 0;
    for tenant in &range.tenants {
        // Who has none is looked at; and where all are large, this would be a page of each in vain.
        let Some(own) = tenant.prefix().filter(|_| large < LARGE_IN_A_ROW) else {
            found.push((tenant.clone(), None));
            continue;
        };
        let mut from = match keys.take() {
            Some(keys) => keys,
            None => Ordered::from(store, None, own.trim_end_matches('/'))?,
        };
        let (mut files, mut skipped) = (Vec::new(), 0);
        // What comes before it is in no tenant of the range.
        while let Some(meta) = from
            .next_if(|key| *key < *own || key.starts_with(&own))
            .await?
        {
            if meta.location.as_ref().starts_with(&own) {
                files.push(listed(meta));
            } else {
                skipped += 1;
                if skipped == SKIPPED {
                    from = Ordered::from(store, None, own.trim_end_matches('/'))?;
                }
            }
            if files.len() > MOST {
                break;
            }
        }
        // The listing goes on after this tenant: in the same pages, or where the next one begins.
        if files.len() <= MOST {
            keys = Some(from);
            large = 0;
        } else {
            large += 1;
        }
        found.push((tenant.clone(), hint(tenant, newest, files)));
    }
    Ok(found)
}

/// As [`hints`], of tenants whose files may be anywhere: everything is listed.
async fn scattered(
    store: &dyn ObjectStore,
    layout: &Layout,
    range: &Range,
    newest: &HashMap<Tenant, u64>,
) -> Result<Vec<(Tenant, Option<Hint>)>> {
    let mut files: HashMap<&Tenant, Vec<Listed>> =
        range.tenants.iter().map(|t| (t, Vec::new())).collect();
    let failed = |e| Error::store("cannot list many tenants at once", e);
    let mut keys = list_in(store, &layout.head())?;
    while let Some(meta) = keys.try_next().await.map_err(failed)? {
        let Ok(Some(tenant)) = layout.tenant_of(meta.location.as_ref()) else {
            continue;
        };
        if let Some(files) = files.get_mut(&tenant).filter(|files| files.len() <= MOST) {
            files.push(listed(meta));
        }
    }
    let hints = range.tenants.iter().map(|tenant| {
        let mut files = files.remove(tenant).unwrap_or_default();
        files.sort_by(|a, b| a.key.cmp(&b.key));
        (tenant.clone(), hint(tenant, newest, files))
    });
    Ok(hints.collect())
}

/// What `files` are a hint of. None where there are too many; and a folder that a listing showed,
/// and no file in it, is something to look at.
fn hint(tenant: &Tenant, newest: &HashMap<Tenant, u64>, files: Vec<Listed>) -> Option<Hint> {
    let is_known = (1..=MOST).contains(&files.len());
    let version = newest.get(tenant).copied().unwrap_or(0);
    is_known.then(|| Hint::new(tenant.clone(), version, files))
}

/// The newest manifest that a listing shows of each tenant that has one.
async fn newest(store: &dyn ObjectStore, range: &Range) -> Result<HashMap<Tenant, u64>> {
    let Some(first) = range.tenants.first() else {
        return Ok(HashMap::new());
    };
    let end = range.end.as_ref().map(|end| format!("{STATE_DIR}/{end}"));
    let mut keys = Ordered::from(store, Some(STATE_DIR), first.as_str())?;
    let mut found = HashMap::new();
    while let Some(meta) = keys
        .next_if(|key| end.as_ref().is_none_or(|end| *key < **end))
        .await?
    {
        let key = meta.location.as_ref();
        let tenant = key
            .strip_prefix(STATE_DIR)
            .and_then(|k| k.strip_prefix('/')?.split('/').next())
            .map(Tenant::parse);
        let Some(Ok(tenant)) = tenant else { continue };
        if let Some(version) = names::parse_manifest_key(&tenant, key) {
            let known = found.entry(tenant).or_insert(version);
            *known = version.max(*known);
        }
    }
    Ok(found)
}

/// A listing that must be in the order of keys.
struct Ordered {
    metas: Pin<Box<Peekable<BoxStream<'static, object_store::Result<ObjectMeta>>>>>,
    last: String,
}

impl Ordered {
    /// Below `dir`, from the keys of the folder `first` on. Some that come just before them may be
    /// there too.
    fn from(store: &dyn ObjectStore, dir: Option<&str>, first: &str) -> Result<Self> {
        // `.` comes just before `/`, so hardly anything is between this and the folder's own keys.
        let offset = dir.map_or_else(|| format!("{first}.~"), |dir| format!("{dir}/{first}.~"));
        let offset =
            Path::parse(offset).map_err(|e| Error::local("cannot list from a tenant on", e))?;
        let dir = dir.map(path).transpose()?;
        Ok(Self {
            metas: Box::pin(store.list_with_offset(dir.as_ref(), &offset).peekable()),
            last: String::new(),
        })
    }

    /// The next key, if it is there and `wanted`. Pages are only asked for as far as that goes.
    async fn next_if(&mut self, wanted: impl Fn(&str) -> bool) -> Result<Option<ObjectMeta>> {
        match self.metas.as_mut().peek().await {
            Some(Ok(meta)) if *meta.location.as_ref() < *self.last => Err(Error::local(
                "cannot list many tenants at once",
                format!("`{}` is listed after `{}`", meta.location, self.last),
            )),
            Some(Ok(meta)) if !wanted(meta.location.as_ref()) => Ok(None),
            _ => {
                let meta = self
                    .metas
                    .try_next()
                    .await
                    .map_err(|e| Error::store("cannot list many tenants at once", e))?;
                if let Some(meta) = &meta {
                    meta.location.as_ref().clone_into(&mut self.last);
                }
                Ok(meta)
            }
        }
    }
}

#[cfg(test)]
mod tests;
