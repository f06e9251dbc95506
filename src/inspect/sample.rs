//! Takes a sample of a store: a few tenants, and a few footers of each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;

use super::survey::Survey;
use crate::error::{Error, ReadError, Result};
use crate::protocol::discover::{self, Tenants, cannot_list, entries, listed, tenants};
use crate::store::path;
use icepack_core::model::file::{Listed, Micros};
use icepack_core::model::inputs::{
    Ignored, Input, Rules, Sorted, is_called_parquet, proposed_glob,
};
use icepack_core::model::layout::Layout;
use icepack_core::model::names::{Tenant, folder, is_output};
use icepack_core::model::partition;
use icepack_core::model::sample::{ColumnKind, FileSample, PathColumn, Sample, TenantSample};
use icepack_core::model::time_column::TimeColumn;
use icepack_parquet::footer;
use icepack_parquet::guard::footer_len;
use icepack_parquet::likely::{self, Described};
use icepack_parquet::read::TAIL;
use icepack_parquet::source::{Ident, fetch_tail};

/// Tenants that are looked at, spread over their names.
const TENANTS: usize = 8;

/// Objects of a tenant that are listed: ten pages.
const LISTED: usize = 10_000;

/// Footers that are read of a tenant: of its smallest files, of its largest, and between.
const FOOTERS: usize = 4;

/// Footers that are read beside them, in as many folders: each of another file of a folder that has
/// one of those.
const NEIGHBOURS: usize = 4;

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
    sample_of(store, layout, rules, &Survey::default()).await
}

/// Like [`sample`], of a store that was surveyed: what the survey has listed is not listed again.
///
/// # Errors
/// As [`sample`].
pub async fn sample_of(
    store: &Arc<dyn ObjectStore>,
    layout: &Layout,
    rules: &Rules,
    survey: &Survey,
) -> Result<Sample> {
    let mut found = if layout.has_wildcard() && !survey.files.is_empty() {
        // It would be listed to its end.
        Tenants {
            tenants: surveyed(layout, survey),
            ..Tenants::default()
        }
    } else {
        tenants(store.as_ref(), layout).await?
    };
    found
        .unmatched
        .extend(discover::beside(store.as_ref(), layout).await?);
    let all = found.tenants;
    let chosen: Vec<Tenant> = spread(all.len(), TENANTS)
        .into_iter()
        .filter_map(|i| all.get(i).cloned())
        .collect();
    let samples = chosen.into_iter().map(|tenant| async {
        let (listing, has_more) = listing(store.as_ref(), &tenant, survey).await?;
        sample_tenant(store, tenant, rules, listing, has_more).await
    });
    let looked_at = stream::iter(samples)
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let is_seen = |folder: &String| rules.sees(folder.trim_end_matches('/'));
    found.unmatched.retain(is_seen);
    found.tables.retain(is_seen);
    Ok(Sample {
        tenants: all,
        looked_at,
        root: rules.sort_root(&found.root),
        unmatched: found.unmatched,
        refused: found.refused.iter().map(ToString::to_string).collect(),
        tables: found.tables,
    })
}

/// The tenants of files that were seen.
fn surveyed(layout: &Layout, survey: &Survey) -> Vec<Tenant> {
    let tenants = survey
        .files
        .iter()
        .filter_map(|f| layout.tenant_of(&f.key).ok()?);
    tenants.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The files of a tenant, or the first of them; and whether there are more.
async fn listing(
    store: &dyn ObjectStore,
    tenant: &Tenant,
    survey: &Survey,
) -> Result<(Vec<Listed>, bool)> {
    if survey.is_whole || (tenant.layout().has_wildcard() && !survey.files.is_empty()) {
        let own = survey
            .files
            .iter()
            .filter(|f| tenant.below(&f.key).is_some());
        return Ok((own.cloned().collect(), !survey.is_whole));
    }
    let listing: Vec<Listed> = entries(store, tenant)?
        .take(LISTED)
        .map_ok(listed)
        .try_collect()
        .await
        .map_err(|e| cannot_list(store, tenant, e))?;
    let has_more = listing.len() == LISTED;
    Ok((listing, has_more))
}

/// At most `most` of `count` places, evenly apart, the first and the last among them.
pub(super) fn spread(count: usize, most: usize) -> Vec<usize> {
    let n = count.min(most);
    (0..n)
        .map(|i| if n > 1 { i * (count - 1) / (n - 1) } else { 0 })
        .collect()
}

async fn sample_tenant(
    store: &Arc<dyn ObjectStore>,
    tenant: Tenant,
    rules: &Rules,
    listing: Vec<Listed>,
    has_more: bool,
) -> Result<TenantSample> {
    let is_foreign =
        |f: &&Listed| matches!(rules.input(&tenant, &f.key, f.size), Input::Foreign(_));
    let foreign = listing.iter().filter(is_foreign);
    let exclude = foreign.map(|f| proposed_glob(&f.key)).collect();
    let Sorted { listing, left } = rules.sort(&tenant, None, listing);
    let (outputs, mut files): (Vec<Listed>, Vec<Listed>) = listing
        .into_iter()
        .partition(|f| is_output(&tenant, &f.key));
    files.sort_by(|a, b| (a.size, &a.key).cmp(&(b.size, &b.key)));
    let folders: BTreeSet<&str> = files.iter().map(|f| folder(&f.key)).collect();
    let seen = TenantSample {
        has_more,
        first_written: files.iter().map(|f| f.modified).min(),
        last_written: files.iter().map(|f| f.modified).max(),
        sizes: files.iter().map(|f| f.size).collect(),
        files: Vec::new(),
        unreadable: Vec::new(),
        left_alone: left,
        folders: folders.len() as u64,
        path_columns: path_columns(&tenant, &files),
        exclude,
        snapshots: outputs.len() as u64,
        tenant,
    };
    // A store that is packed has few raw files, and its snapshots say as much.
    let readable = if files.is_empty() { &outputs } else { &files };
    read_some(store, readable, seen).await
}

/// Files whose footers say the most: small and large ones, and some that share a folder.
fn chosen(files: &[Listed]) -> Vec<&Listed> {
    let first: Vec<&Listed> = spread(files.len(), FOOTERS)
        .into_iter()
        .filter_map(|i| files.get(i))
        .collect();
    let is_first = |f: &Listed| first.iter().any(|g| g.key == f.key);
    let folders: BTreeSet<&str> = first.iter().map(|f| folder(&f.key)).collect();
    let mut chosen = first.clone();
    let folders: Vec<&str> = folders.into_iter().collect();
    for folder_of in folders.into_iter().cycle().take(NEIGHBOURS) {
        let other = |f: &&Listed| {
            folder(&f.key) == folder_of && !is_first(f) && !chosen.iter().any(|g| g.key == f.key)
        };
        let other = files.iter().rev().find(other);
        chosen.extend(other);
    }
    chosen
}

async fn read_some(
    store: &Arc<dyn ObjectStore>,
    files: &[Listed],
    mut seen: TenantSample,
) -> Result<TenantSample> {
    let mut withheld = Vec::new();
    for file in chosen(files) {
        match read(store, file).await {
            Ok(found) => seen.files.push(found),
            // Its name does not say that it is Parquet, and its bytes say that it is not.
            Err(Error::Read(ReadError::Input { key, .. })) if !is_called_parquet(&key) => {
                seen.left_alone
                    .ignore(Ignored::OtherContent, &key, file.size);
            }
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
    let columns = seen.files.iter().flat_map(|f| &f.columns);
    let names: BTreeSet<&str> = columns.map(|(name, _)| name.as_str()).collect();
    for column in &mut seen.path_columns {
        column.in_files = names.contains(column.name.as_str());
    }
    Ok(seen)
}

/// The columns that the folders of these files say, in their order.
fn path_columns(tenant: &Tenant, files: &[Listed]) -> Vec<PathColumn> {
    let mut columns: Vec<PathColumn> = Vec::new();
    for file in files {
        // A folder that is no text makes no column.
        for (name, value) in partition::of(tenant, &file.key).unwrap_or_default() {
            let value = value.unwrap_or_default();
            match columns.iter_mut().find(|c| c.name == name) {
                Some(known) if known.example.is_empty() => known.example = value,
                Some(_) => {}
                None => columns.push(PathColumn {
                    name,
                    example: value,
                    in_files: false,
                }),
            }
        }
    }
    columns
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
            let extents = footer::extents(
                &tail,
                ident.size,
                FOOTER_LIMIT,
                &TimeColumn::named(name),
                &ident.key,
            )
            .map_err(bad)?;
            let dated = extents.iter().filter_map(|e| e.span);
            let span = dated.reduce(|a, b| -> (Micros, Micros) { (a.0.min(b.0), a.1.max(b.1)) });
            spans.extend(span.map(|s| (name.clone(), s)));
        }
        let Described { types, likely } =
            likely::described(&tail, ident.size, FOOTER_LIMIT).map_err(bad)?;
        Ok(FileSample {
            key: ident.key,
            rows,
            columns,
            spans,
            types,
            likely,
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
