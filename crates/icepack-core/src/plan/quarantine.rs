//! When a file that was set aside is tried again.

use crate::model::manifest::{Cause, Contradiction, Manifest, Quarantined};
use crate::model::same::Sameness;

/// Whether a file is still to be left alone: it is the version that was set aside, and the reason
/// has not come to an end.
///
/// `shown` is its tag in a listing. Whoever tries a file again that need not be finds the same
/// fault again, and loses nothing but the reading.
pub fn holds(note: &Quarantined, shown: Option<&str>, head: &Manifest) -> bool {
    let is_same = Sameness::of(note.etag.as_deref(), shown).is_same();
    is_same
        && match &note.cause {
            Some(Cause::Damaged | Cause::OtherFormat) => true,
            Some(Cause::Misfit(what)) => is_contradicted(what, note, head),
            // An older version did not say what ends it.
            None => false,
        }
}

/// Whether a live snapshot still has the column with the type that the file contradicts.
fn is_contradicted(what: &Contradiction, note: &Quarantined, head: &Manifest) -> bool {
    let others = head.snapshots.iter().filter(|s| s.key != note.key);
    let mut columns = others
        .filter_map(|s| head.schemas.get(&s.schema?))
        .flat_map(|schema| &schema.0);
    columns.any(|c| c.name == what.column && c.kind == what.kind)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::model::file::{Micros, RowStats, Snapshot};
    use crate::model::manifest::Stamp;
    use crate::model::names::{FileId, Place, Tenant, snapshot_key};
    use crate::model::schema::{Column, TableSchema};

    fn note(cause: Option<Cause>) -> Quarantined {
        Quarantined {
            key: "acme/x.parquet".into(),
            size: 1,
            etag: Some("a".into()),
            reason: String::new(),
            at: DateTime::UNIX_EPOCH,
            cause,
        }
    }

    fn head(kinds: &[&str]) -> Manifest {
        let (tenant, id) = (Tenant::parse("acme").unwrap(), FileId::NIL);
        let mut head = Manifest::first(
            tenant.clone(),
            Stamp {
                run_id: id,
                commit_id: id,
                at: DateTime::UNIX_EPOCH,
            },
        );
        for kind in kinds {
            let schema = TableSchema(vec![Column {
                name: "x".into(),
                kind: (*kind).into(),
                nullable: true,
            }]);
            let key = snapshot_key(
                &Place::Month(tenant.clone()),
                &tenant,
                Micros(0),
                Micros(0),
                id,
            );
            head.snapshots.push(Snapshot {
                key,
                id,
                size: 1,
                etag: None,
                schema: Some(schema.id()),
                stats: RowStats::default(),
                dated_by: None,
            });
            head.schemas.insert(schema.id(), schema);
        }
        head
    }

    #[test]
    fn a_damaged_file_is_left_alone_until_it_changes() {
        let note = note(Some(Cause::Damaged));
        assert!(holds(&note, Some("a"), &head(&[])));
        assert!(!holds(&note, Some("b"), &head(&[])) && !holds(&note, None, &head(&[])));
    }

    #[test]
    fn a_misfit_is_left_alone_while_what_it_contradicts_is_live() {
        let misfit = |column: &str| {
            note(Some(Cause::Misfit(Contradiction {
                column: column.into(),
                kind: "Utf8".into(),
                oldest: None,
            })))
        };
        assert!(holds(&misfit("x"), Some("a"), &head(&["Int64", "Utf8"])));
        assert!(
            !holds(&misfit("x"), Some("a"), &head(&["Int64"])),
            "the column has another type now"
        );
        assert!(
            !holds(&misfit("y"), Some("a"), &head(&["Utf8"])),
            "nobody has the column now"
        );
        let own = head(&["Utf8"]);
        let itself = Quarantined {
            key: own.snapshots[0].key.clone(),
            ..misfit("x")
        };
        assert!(
            !holds(&itself, Some("a"), &own),
            "nothing contradicts itself"
        );
    }

    #[test]
    fn what_an_older_version_set_aside_is_tried_again() {
        assert!(!holds(&note(None), Some("a"), &head(&["Utf8"])));
    }
}
