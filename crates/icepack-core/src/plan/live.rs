//! The live view: what a reader should read.

use crate::model::adopted::Adoptions;
use crate::model::file::{Listed, Micros, Snapshot};
use crate::model::inputs::OtherFormats;
use crate::model::inspect::{LiveFile, LiveView};
use crate::model::manifest::Manifest;
use crate::model::names::{self, FileKind, Tenant};
use crate::model::plan::Inventory;

/// Head's snapshots, and the raw files of the listing whose names are not used. The listing must
/// have been taken after head was read, and head must still be head afterwards: between the two a
/// file may be compacted and deleted.
pub fn view(tenant: &Tenant, inventory: &Inventory) -> LiveView {
    let snapshots = snapshots(inventory).map(|s| LiveFile {
        key: s.key.clone(),
        size: s.size,
        rows: Some(s.stats.rows),
        from: s.stats.min,
        to: s.stats.max,
        undated: s.stats.undated,
    });
    let adopted = Adoptions::of(inventory.head.as_ref());
    let raw = raw(tenant, inventory).map(|f| {
        let times = adopted.of_version(f).map(|note| note.times);
        LiveFile {
            key: f.key.clone(),
            size: f.size,
            rows: None,
            from: times.and_then(|t| t.min),
            to: times.and_then(|t| t.max),
            undated: times.map_or(0, |t| t.undated),
        }
    });
    LiveView {
        tenant: tenant.clone(),
        version: inventory.head.as_ref().map_or(0, |m| m.version),
        files: snapshots.chain(raw).collect(),
        refused: None,
    }
}

/// The snapshots of the view.
pub(super) fn snapshots(inventory: &Inventory) -> impl Iterator<Item = &Snapshot> {
    inventory.head.iter().flat_map(|m| &m.snapshots)
}

/// The raw files of the view.
pub(super) fn raw<'a>(
    tenant: &'a Tenant,
    inventory: &'a Inventory,
) -> impl Iterator<Item = &'a Listed> {
    // I1: by name, whatever tag it shows. A tag alone does not make a new file.
    let used = inventory.head.as_ref().map(Manifest::used_names);
    let is_used = move |f: &Listed| {
        used.as_ref()
            .is_some_and(|used| used.has(&f.key, f.etag.as_deref()))
    };
    let other_formats = OtherFormats::of(inventory.head.as_ref());
    inventory.listing.iter().filter(move |f| {
        names::classify(tenant, &f.key) == FileKind::Raw && !is_used(f) && !other_formats.has(f)
    })
}

/// The files of the view that may hold rows from `from` on and before `to`. What is not known to be
/// outside is kept: a raw file that nobody has read, and a file with undated rows.
#[must_use]
pub fn between(view: LiveView, from: Option<Micros>, to: Option<Micros>) -> LiveView {
    let may = |f: &LiveFile| {
        let (Some(min), Some(max)) = (f.from, f.to) else {
            return true;
        };
        f.undated > 0 || (from.is_none_or(|from| max >= from) && to.is_none_or(|to| min < to))
    };
    LiveView {
        files: view.files.into_iter().filter(may).collect(),
        ..view
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::model::manifest::{Found, Retired, Stamp, Verdict};
    use crate::model::names::FileId;

    #[test]
    fn a_file_under_a_used_name_is_not_live_unless_it_was_taken_in() {
        let tenant = Tenant::parse("acme").unwrap();
        let stamp = Stamp {
            run_id: FileId::NIL,
            commit_id: FileId::NIL,
            at: DateTime::UNIX_EPOCH,
        };
        let mut head = Manifest::first(tenant.clone(), stamp);
        head.swept.remember(
            stamp.at,
            [("acme/gone.parquet", None), ("acme/taken.parquet", None)],
        );
        let mut taken = Retired::remembered(
            "acme/taken.parquet".into(),
            head.swept.get("acme/taken.parquet").unwrap(),
        );
        taken.found = Some(Found {
            etag: "f".into(),
            verdict: Verdict::Append,
        });
        head.retired = vec![taken];
        let listed = |key: &str, etag: &str| Listed {
            key: key.into(),
            size: 1,
            etag: Some(etag.into()),
            modified: stamp.at,
        };
        let live = |etag: &str| {
            let listing = vec![
                listed("acme/gone.parquet", etag),
                listed("acme/new.parquet", etag),
                listed("acme/taken.parquet", etag),
            ];
            let inventory = Inventory {
                head: Some(head.clone()),
                listing,
            };
            let view = view(&tenant, &inventory);
            view.files.into_iter().map(|f| f.key).collect::<Vec<_>>()
        };
        assert_eq!(live("f"), ["acme/new.parquet", "acme/taken.parquet"]);
        assert_eq!(live("g"), ["acme/new.parquet"], "it changed since");
    }

    fn kept(file: (Option<i64>, Option<i64>, u64), from: Option<i64>, to: Option<i64>) -> bool {
        let file = LiveFile {
            key: "acme/x.parquet".into(),
            size: 1,
            rows: Some(1),
            from: file.0.map(Micros),
            to: file.1.map(Micros),
            undated: file.2,
        };
        let view = LiveView {
            tenant: Tenant::parse("acme").unwrap(),
            version: 1,
            files: vec![file],
            refused: None,
        };
        !between(view, from.map(Micros), to.map(Micros))
            .files
            .is_empty()
    }

    #[test]
    fn a_file_is_left_out_only_when_none_of_its_rows_can_be_meant() {
        let known = (Some(100), Some(200), 0);
        for (from, to, expected) in [
            (None, None, true),
            (Some(200), None, true),
            (Some(201), None, false),
            (None, Some(100), false),
            (None, Some(101), true),
            (Some(150), Some(160), true),
        ] {
            assert_eq!(kept(known, from, to), expected, "{from:?} {to:?}");
        }
        assert!(
            kept((Some(100), Some(200), 1), Some(500), None),
            "rows without a time may be meant"
        );
        assert!(
            kept((None, None, 0), Some(500), None),
            "nobody has read a raw file yet"
        );
    }
}
