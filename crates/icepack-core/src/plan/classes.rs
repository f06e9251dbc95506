//! Schema classes: which snapshots of a folder may be merged with each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::manifest::Manifest;
use crate::model::schema::{Column, SchemaId, TableSchema};

/// What head knows of schemas.
#[derive(Debug, Default)]
pub struct Classes<'a> {
    apart: BTreeSet<(SchemaId, SchemaId)>,
    schemas: Option<&'a BTreeMap<SchemaId, TableSchema>>,
}

impl<'a> Classes<'a> {
    /// What `head` knows.
    pub fn of(head: Option<&'a Manifest>) -> Self {
        let apart = head.iter().flat_map(|m| &m.apart).map(|a| a.schemas);
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
            .map(|(a, b)| SchemasApart::of(schemas[*a].id(), schemas[*b].id(), None))
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
            Classes::of(Some(&head)).divide(members.to_vec(), |m| m.map(|n| all[n].id()))
        };
        let each: Vec<Option<usize>> = (0..4).map(Some).chain([None]).collect();
        assert_eq!(divided(&[], &each), [each.clone()], "nothing is known");
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
        let head = Classes::of(None).divide(vec![1, 2], |_| None);
        assert_eq!(head, [vec![1, 2]]);
    }
}
