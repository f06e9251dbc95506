//! Lists enough of a store to recognise its layout: a few files of each folder.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use futures::TryStreamExt;
use futures::{StreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt};

use crate::error::{Error, Result};
use crate::protocol::discover::{list_in, listed};
use crate::store::path;
use icepack_core::model::file::Listed;
use icepack_core::model::inputs::{foreign_root, is_placeholder};
use icepack_core::model::names::{Key, is_hidden};
use icepack_core::plan::recognise::doubtful;

use super::sample::spread;

/// Keys that are listed at first: ten pages. Most stores that are new to icepack have more, but not
/// all.
const AT_FIRST: usize = 10_000;

/// Keys that are listed of each folder in a store that has more: a page.
const PAGE: usize = 1_000;

/// Folders that are looked at in one, spread over their names.
const FOLDERS: usize = 8;

/// Folders that are looked at in all, the shallow ones first.
const LOOKS: usize = 100;

/// Keys that are kept.
const KEYS: usize = 20_000;

/// Endings of names whose files are asked for their first bytes, and files of each.
const ENDINGS: (usize, usize) = (8, 3);

/// How every Parquet file begins.
const MAGIC: &[u8] = b"PAR1";

/// The part of a store that a survey listed.
#[derive(Debug, Default)]
pub struct Survey {
    /// By their keys.
    pub files: Vec<Listed>,
    /// Whether those are all.
    pub is_whole: bool,
    /// Endings of names that do not say it, and whose files begin like Parquet.
    pub endings: BTreeSet<String>,
}

/// Looks at a store of which nothing is known.
///
/// # Errors
/// [`Error::Store`] where it cannot be listed.
pub async fn survey(store: &Arc<dyn ObjectStore>) -> Result<Survey> {
    let mut found: BTreeMap<Key, Listed> = BTreeMap::new();
    let mut open = VecDeque::from([String::new()]);
    let mut most = AT_FIRST;
    let mut is_whole = true;
    for _ in 0..LOOKS {
        let Some(place) = open.pop_front().filter(|_| found.len() < KEYS) else {
            break;
        };
        let page = some(store.as_ref(), &place, most).await?;
        let is_full = page.len() == most;
        let is_flat = page.iter().all(|f| !f.key[place.len()..].contains('/'));
        found.extend(page.into_iter().map(|f| (f.key.clone(), f)));
        if is_full {
            is_whole = false;
            if !is_flat {
                let (folders, files) = inside(store.as_ref(), &place).await?;
                found.extend(files.into_iter().map(|f| (f.key.clone(), f)));
                open.extend(folders);
            }
        }
        most = PAGE;
    }
    let files: Vec<Listed> = found.into_values().collect();
    let endings = endings(store, &files).await;
    Ok(Survey {
        is_whole: is_whole && open.is_empty(),
        files,
        endings,
    })
}

/// The first keys below a folder.
async fn some(store: &dyn ObjectStore, place: &str, most: usize) -> Result<Vec<Listed>> {
    let keys = list_in(store, place)?.take(most).map_ok(listed);
    keys.try_collect()
        .await
        .map_err(|e| Error::store(format!("cannot list {store}/{place}"), e))
}

/// Folders in a large one that are worth a look, with their slash, and some files that lie directly
/// in it. A table's state is shown as one file.
async fn inside(store: &dyn ObjectStore, place: &str) -> Result<(Vec<String>, Vec<Listed>)> {
    let folder = place.trim_end_matches('/');
    let prefix = (!folder.is_empty()).then(|| path(folder)).transpose()?;
    let listing = store.list_with_delimiter(prefix.as_ref()).await;
    let listing = listing.map_err(|e| Error::store(format!("cannot list {store}/{place}"), e))?;
    let mut files: Vec<Listed> = listing.objects.into_iter().take(PAGE).map(listed).collect();
    let mut folders = Vec::new();
    for name in listing.common_prefixes.iter().filter_map(|p| p.filename()) {
        let (key, state) = (format!("{place}{name}/"), format!("{place}{name}/log"));
        if foreign_root(&state).is_some() {
            files.push(Listed {
                key: state,
                size: 0,
                etag: None,
                modified: chrono::DateTime::UNIX_EPOCH,
            });
        } else if !is_hidden(name) && !is_placeholder(name) {
            folders.push(key);
        }
    }
    let chosen: BTreeSet<usize> = spread(folders.len(), FOLDERS).into_iter().collect();
    let is_chosen = |(at, key): (usize, String)| {
        // Where an Iceberg table keeps its state.
        (chosen.contains(&at) || key.ends_with("/metadata/")).then_some(key)
    };
    Ok((
        folders
            .into_iter()
            .enumerate()
            .filter_map(is_chosen)
            .collect(),
        files,
    ))
}

/// The endings that only the first bytes say to be Parquet's. A file that cannot be asked is none.
async fn endings(store: &Arc<dyn ObjectStore>, files: &[Listed]) -> BTreeSet<String> {
    let asked = doubtful(files, ENDINGS.1)
        .into_iter()
        .take(ENDINGS.0)
        .flat_map(|(ending, files)| files.into_iter().map(move |f| (ending.clone(), f.clone())))
        .collect::<Vec<_>>();
    let asked = asked.into_iter().map(|(ending, file)| async move {
        let at = path(&file.key).ok()?;
        let bytes = store
            .get_range(&at, 0..file.size.min(MAGIC.len() as u64))
            .await;
        bytes.is_ok_and(|b| b == MAGIC).then_some(ending)
    });
    stream::iter(asked)
        .buffer_unordered(8)
        .filter_map(std::future::ready)
        .collect()
        .await
}
