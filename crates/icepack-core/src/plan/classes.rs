//! Schema classes: which snapshots of a folder may be merged with each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::apart::{ColumnTypes, FolderClasses};
use crate::model::file::Snapshot;
use crate::model::manifest::Manifest;
use crate::model::names::folder;
use crate::model::policy::{Policy, Uniting, Within};
use crate::model::schema::{Column, SchemaId, TableSchema};

/// The schema classes that head knows.
#[derive(Debug, Default)]
pub struct Classes<'a> {
    apart: BTreeSet<(SchemaId, SchemaId)>,
    schemas: Option<&'a BTreeMap<SchemaId, TableSchema>>,
}

impl<'a> Classes<'a> {
    /// The classes of `head`, under the rules in `allowed`.
    pub fn of(head: Option<&'a Manifest>, allowed: Uniting) -> Self {
        let known = head.iter().flat_map(|m| &m.apart);
        let apart = known
            .filter(|a| allowed.is_within(a.under))
            .map(|a| a.schemas);
        Self {
            apart: apart.collect(),
            schemas: head.map(|m| &m.schemas),
        }
    }

    /// Members by class, in their order: no two of one class are known to be apart. What may be of
    /// several classes goes to the one whose columns are most like its own, and else to the first.
    /// Of a member without a schema nothing is known.
    pub fn divide<T>(
        &self,
        members: Vec<T>,
        schema: impl Fn(&T) -> Option<SchemaId>,
    ) -> Vec<Vec<T>> {
        if self.apart.is_empty() && !members.is_empty() {
            return vec![members];
        }
        let mut classes: Vec<(BTreeSet<SchemaId>, Vec<T>)> = Vec::new();
        for member in members {
            let own = schema(&member);
            let best = (0..classes.len())
                .filter(|n| self.fits(own, &classes[*n].0))
                .min_by_key(|n| self.differing(own, &classes[*n].0));
            match best.and_then(|n| classes.get_mut(n)) {
                Some((schemas, members)) => {
                    schemas.extend(own);
                    members.push(member);
                }
                None => classes.push((own.into_iter().collect(), vec![member])),
            }
        }
        classes.into_iter().map(|(_, members)| members).collect()
    }

    fn fits(&self, own: Option<SchemaId>, class: &BTreeSet<SchemaId>) -> bool {
        let Some(own) = own else { return true };
        class
            .iter()
            .all(|other| !self.apart.contains(&(own.min(*other), own.max(*other))))
    }

    /// Columns of `own` that the class has with another type.
    fn differing(&self, own: Option<SchemaId>, class: &BTreeSet<SchemaId>) -> usize {
        let known = |id: SchemaId| self.schemas.and_then(|all| all.get(&id));
        let Some(own) = own.and_then(known) else {
            return 0;
        };
        let theirs: BTreeSet<(&str, &str)> = class
            .iter()
            .filter_map(|id| known(*id))
            .flat_map(|s| &s.0)
            .map(|c| (c.name.as_str(), c.kind.as_str()))
            .collect();
        let names: BTreeSet<&str> = theirs.iter().map(|(name, _)| *name).collect();
        let differs = |c: &&Column| {
            names.contains(c.name.as_str()) && !theirs.contains(&(c.name.as_str(), c.kind.as_str()))
        };
        own.0.iter().filter(differs).count()
    }
}

/// The folders of a tenant whose snapshots are of several classes, and what tells these apart.
pub fn told(head: Option<&Manifest>, policy: &Policy) -> Vec<FolderClasses> {
    let Some(head) = head.filter(|m| !m.apart.is_empty()) else {
        return Vec::new();
    };
    let classes = Classes::of(Some(head), policy.uniting);
    let mut folders: BTreeMap<&str, Vec<&Snapshot>> = BTreeMap::new();
    for s in &head.snapshots {
        let own = match policy.within {
            Within::Folder => folder(&s.key),
            Within::Tenant => "",
        };
        folders.entry(own).or_default().push(s);
    }
    let several = folders.into_iter().filter_map(|(folder, snapshots)| {
        let divided = classes.divide(snapshots, |s| s.schema);
        (divided.len() > 1).then(|| FolderClasses {
            folder: folder.to_owned(),
            classes: divided.len(),
            columns: telling(head, &divided),
        })
    });
    several.collect()
}

/// The columns that keep classes apart, with their types in each.
fn telling(head: &Manifest, classes: &[Vec<&Snapshot>]) -> Vec<ColumnTypes> {
    let known: BTreeSet<SchemaId> = classes.iter().flatten().filter_map(|s| s.schema).collect();
    let names = head.apart.iter().filter_map(|a| {
        let is_here = known.contains(&a.schemas.0) && known.contains(&a.schemas.1);
        a.column.as_deref().filter(|_| is_here)
    });
    let names: BTreeSet<&str> = names.collect();
    let kind = |class: &Vec<&Snapshot>, name: &str| {
        // As the newest has it.
        let mut snapshots: Vec<&Snapshot> = class.clone();
        snapshots.sort_by_key(|s| std::cmp::Reverse(s.id));
        let schemas = snapshots
            .iter()
            .filter_map(|s| head.schemas.get(&s.schema?));
        let mut columns = schemas.flat_map(|schema| &schema.0);
        let is_it = |c: &&Column| c.name.to_lowercase() == name.to_lowercase();
        columns.find(is_it).map(|c| c.kind.clone())
    };
    let column = |name: &str| ColumnTypes {
        column: name.to_owned(),
        types: classes.iter().map(|class| kind(class, name)).collect(),
    };
    names.into_iter().map(column).collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::model::apart::SchemasApart;
    use crate::model::manifest::Stamp;
    use crate::model::names::{FileId, Tenant};

    fn schema(columns: &[(&str, &str)]) -> TableSchema {
        let column = |(name, kind): &(&str, &str)| Column {
            name: (*name).into(),
            kind: (*kind).into(),
            nullable: true,
        };
        TableSchema(columns.iter().map(column).collect())
    }

    fn head(schemas: &[TableSchema], apart: &[(usize, usize)]) -> Manifest {
        let id = FileId::NIL;
        let stamp = Stamp {
            run_id: id,
            commit_id: id,
            at: DateTime::UNIX_EPOCH,
        };
        let mut head = Manifest::first(Tenant::parse("acme").unwrap(), stamp);
        head.schemas = schemas.iter().map(|s| (s.id(), s.clone())).collect();
        head.apart = apart
            .iter()
            .map(|(a, b)| {
                SchemasApart::of(schemas[*a].id(), schemas[*b].id(), None, Uniting::default())
            })
            .collect();
        head
    }

    #[test]
    fn what_is_apart_is_in_two_classes_and_nothing_else_is() {
        let text = schema(&[("x", "Utf8")]);
        let number = schema(&[("x", "Int64")]);
        let more = schema(&[("x", "Int64"), ("y", "Utf8")]);
        let other = schema(&[("y", "Utf8")]);
        let all = [text, number, more, other];
        let divided = |apart: &[(usize, usize)], members: &[Option<usize>]| {
            let head = head(&all, apart);
            Classes::of(Some(&head), Uniting::default())
                .divide(members.to_vec(), |m| m.map(|n| all[n].id()))
        };
        let each: Vec<Option<usize>> = (0..4).map(Some).chain([None]).collect();
        assert_eq!(
            divided(&[], &each),
            std::slice::from_ref(&each),
            "nothing is known"
        );
        assert_eq!(
            divided(&[(0, 1)], &each),
            [vec![Some(0), Some(3), None], vec![Some(1), Some(2)]],
            "the third is most like the second, and the fourth like both"
        );
        assert_eq!(
            divided(&[(0, 1), (3, 3)], &[Some(3), Some(0), Some(3), Some(1)]),
            [vec![Some(3), Some(0)], vec![Some(3), Some(1)]],
            "of a schema that is apart from itself, each file has a class of its own"
        );
        let of_none = Classes::of(None, Uniting::default());
        assert_eq!(of_none.divide(vec![1, 2], |_| None), [vec![1, 2]]);
        let double = Uniting {
            widen_to_double: true,
            ..Uniting::default()
        };
        let mut head = head(&all, &[(0, 1)]);
        let two = |head: &Manifest, allowed| {
            let divided =
                Classes::of(Some(head), allowed).divide(vec![0, 1], |n| Some(all[*n].id()));
            divided.len()
        };
        assert_eq!(
            two(&head, double),
            1,
            "more is allowed than when it was found"
        );
        head.apart[0].under = double;
        assert_eq!((two(&head, double), two(&head, Uniting::default())), (2, 2));
    }
}
