//! Looks at a store that nobody has described yet: a few tenants, a few footers.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;

use crate::error::{Error, ReadError, Result};
use crate::protocol::discover::{Tenants, cannot_list, entries, listed, tenants};
use crate::store::path;
use icepack_core::model::file::{Listed, Micros};
use icepack_core::model::inputs::{Rules, Sorted};
use icepack_core::model::layout::Layout;
use icepack_core::model::names::{Tenant, is_output};
use icepack_core::model::sample::{ColumnKind, FileSample, Sample, TenantSample};
use icepack_parquet::footer;
use icepack_parquet::guard::footer_len;
use icepack_parquet::read::TAIL;
use icepack_parquet::source::{Ident, fetch_tail};

/// Tenants that are looked at, spread over their names.
const TENANTS: usize = 8;

/// Objects of a tenant that are listed: ten pages.
const LISTED: usize = 10_000;

/// Footers that are read of a tenant: of its smallest files, of its largest, and between.
const FOOTERS: usize = 4;

/// Bytes that one footer may take.
const FOOTER_LIMIT: u64 = 64 << 20;

/// Tenants looked at at once.
const AT_ONCE: usize = 4;

/// Looks at the store. Nothing is written.
///
/// # Errors
/// [`Error::Store`] where it cannot be listed. A file that cannot be read is in the sample.
pub async fn sample(
    store: &Arc<dyn ObjectStore>,
    layout: &Layout,
    rules: &Rules,
) -> Result<Sample> {
    let Tenants {
        tenants: all, root, ..
    } = tenants(store.as_ref(), layout).await?;
    let chosen: Vec<Tenant> = spread(all.len(), TENANTS)
        .into_iter()
        .filter_map(|i| all.get(i).cloned())
        .collect();
    let samples = chosen
        .into_iter()
        .map(|tenant| sample_tenant(store, tenant, rules));
    let looked_at = stream::iter(samples)
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(Sample {
        tenants: all,
        looked_at,
        root: rules.sort_root(&root),
    })
}

/// At most `most` of `count` places, evenly apart, the first and the last among them.
fn spread(count: usize, most: usize) -> Vec<usize> {
    let n = count.min(most);
    (0..n)
        .map(|i| if n > 1 { i * (count - 1) / (n - 1) } else { 0 })
        .collect()
}

async fn sample_tenant(
    store: &Arc<dyn ObjectStore>,
    tenant: Tenant,
    rules: &Rules,
) -> Result<TenantSample> {
    let listing: Vec<Listed> = entries(store.as_ref(), &tenant)?
        .take(LISTED)
        .map_ok(listed)
        .try_collect()
        .await
        .map_err(|e| cannot_list(store.as_ref(), &tenant, e))?;
    let has_more = listing.len() == LISTED;
    let Sorted { listing, left } = rules.sort(&tenant, None, listing);
    let mut files: Vec<Listed> = listing
        .into_iter()
        .filter(|f| !is_output(&tenant, &f.key))
        .collect();
    files.sort_by(|a, b| (a.size, &a.key).cmp(&(b.size, &b.key)));
    let mut seen = TenantSample {
        tenant,
        has_more,
        first_written: files.iter().map(|f| f.modified).min(),
        last_written: files.iter().map(|f| f.modified).max(),
        sizes: files.iter().map(|f| f.size).collect(),
        files: Vec::new(),
        unreadable: Vec::new(),
        left_alone: left,
    };
    let mut withheld = Vec::new();
    for file in spread(files.len(), FOOTERS)
        .into_iter()
        .filter_map(|i| files.get(i))
    {
        match read(store, file).await {
            Ok(found) => seen.files.push(found),
            Err(Error::Read(ReadError::Input { key, reason, .. })) => {
                seen.unreadable.push((key, reason))
            }
            // It was compacted, removed or written to meanwhile.
            Err(Error::Read(ReadError::Gone(_) | ReadError::Changed(_))) => {}
            Err(e @ Error::Read(ReadError::Withheld { .. })) => {
                withheld.push((file.key.clone(), e))
            }
            Err(e) => return Err(e),
        }
    }
    // Where nothing can be read, it is the credentials' fault, and not these files'.
    if seen.files.is_empty() && !withheld.is_empty() {
        return Err(withheld.swap_remove(0).1);
    }
    seen.unreadable
        .extend(withheld.into_iter().map(|(key, e)| (key, e.to_string())));
    Ok(seen)
}

async fn read(store: &Arc<dyn ObjectStore>, file: &Listed) -> Result<FileSample> {
    let at = path(&file.key)?;
    let (meta, mut tail) = fetch_tail(store.as_ref(), &at, &file.key, TAIL).await?;
    let ident = Ident {
        key: file.key.clone(),
        size: meta.size,
        etag: meta.e_tag,
    };
    let need = footer_len(&tail, ident.size).map_err(|why| ident.bad(why))?;
    if need > tail.len() as u64 {
        tail = fetch_tail(store.as_ref(), &at, &file.key, need).await?.1;
    }
    let work = move || {
        let bad = |why| ident.bad(why);
        let (rows, columns) = footer::columns(&tail, ident.size, FOOTER_LIMIT).map_err(bad)?;
        let mut spans = BTreeMap::new();
        for (name, _) in columns.iter().filter(|(_, kind)| *kind == ColumnKind::Time) {
            let extents = footer::extents(&tail, ident.size, FOOTER_LIMIT, name).map_err(bad)?;
            let dated = extents.iter().filter_map(|e| e.span);
            let span = dated.reduce(|a, b| -> (Micros, Micros) { (a.0.min(b.0), a.1.max(b.1)) });
            spans.extend(span.map(|s| (name.clone(), s)));
        }
        Ok(FileSample {
            key: ident.key,
            rows,
            columns,
            spans,
        })
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::local("cannot read a footer", e))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_spread_over_all() {
        assert_eq!(spread(0, 4), Vec::<usize>::new());
        assert_eq!(spread(1, 4), [0]);
        assert_eq!(spread(3, 4), [0, 1, 2]);
        assert_eq!(spread(100, 4), [0, 33, 66, 99]);
    }
}
