//! The live view: what a reader should read.

use std::collections::BTreeSet;

use crate::model::file::Micros;
use crate::model::inspect::{LiveFile, LiveView};
use crate::model::names::{self, FileKind, Tenant};
use crate::model::plan::Inventory;

/// Head's snapshots, and the raw files of the listing that head has not retired. The listing must have been taken after head was read, and head must still be
/// head afterwards: between the two a file may be compacted and deleted.
pub fn view(tenant: &Tenant, inventory: &Inventory) -> LiveView {
    // A file that was replaced after it was retired is another file, and unread.
    let retired: BTreeSet<(&str, &Option<String>)> = inventory.head.iter().flat_map(|m| &m.retired).map(|r| (r.key.as_str(), &r.etag)).collect();
    let snapshots = inventory.head.iter().flat_map(|m| &m.snapshots).map(|s| LiveFile {
        key: s.key.clone(),
        size: s.size,
        rows: Some(s.stats.rows),
        from: s.stats.min,
        to: s.stats.max,
        undated: s.stats.undated,
    });
    let raw = inventory
        .listing
        .iter()
        .filter(|f| names::classify(tenant, &f.key) == FileKind::Raw && !retired.contains(&(f.key.as_str(), &f.etag)))
        .map(|f| LiveFile { key: f.key.clone(), size: f.size, rows: None, from: None, to: None, undated: 0 });
    LiveView { tenant: tenant.clone(), version: inventory.head.as_ref().map_or(0, |m| m.version), files: snapshots.chain(raw).collect() }
}

/// The files of the view that may hold rows between `from` and `to`, both inclusive. A file whose rows nobody knows, or that has undated rows, always may.
pub fn between(view: &LiveView, from: Option<Micros>, to: Option<Micros>) -> LiveView {
    let may = |f: &LiveFile| {
        let (Some(min), Some(max)) = (f.from, f.to) else { return true };
        f.undated > 0 || (from.is_none_or(|from| max >= from) && to.is_none_or(|to| min <= to))
    };
    LiveView { files: view.files.iter().filter(|f| may(f)).cloned().collect(), ..view.clone() }
}
