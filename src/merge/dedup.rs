//! Exact duplicates: rows that are equal in every column, among them those that the owner named as
//! the id.
//!
//! Equal rows have equal times, so they stand together in a window of equal keys; only rows in
//! windows of more than one are looked at. Equality is decided by a keyed 128-bit hash of an
//! unambiguous encoding of the row. The fingerprint of the books would not do: it is not keyed, so
//! somebody who may write events could make two that collide, and one of them would be dropped.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Schema;
use arrow::row::{RowConverter, SortField};
use siphasher::sip128::SipHasher24;

use crate::error::{Error, Result};

/// Bytes that an entry of both sets takes.
const ENTRY: u64 = 96;

/// Finds duplicates in rows that come in time order.
pub(super) struct Dedup {
    /// None where the rows have no id: then nothing is a duplicate.
    rows: Option<Encoders>,
    hasher: SipHasher24,
    seen: HashSet<u128>,
    ids: HashSet<u128>,
    /// The key of the window that the last row was in.
    window: Option<i64>,
    /// Entries at most.
    most: usize,
    warned: bool,
    /// Rows that were kept although another has their id.
    pub conflicts: u64,
}

struct Encoders {
    /// The columns that are the id.
    ids: Vec<usize>,
    id_only: RowConverter,
    row: RowConverter,
}

impl Dedup {
    /// For rows of `schema`, with sets of about `bytes` at most.
    pub fn new(schema: &Schema, ids: &[String], bytes: u64) -> Self {
        let keys = RandomState::new();
        let hasher = SipHasher24::new_with_keys(keys.hash_one(0u8), keys.hash_one(1u8));
        let most = usize::try_from(bytes / ENTRY)
            .unwrap_or(usize::MAX)
            .clamp(1_024, 2_000_000);
        Self {
            rows: Encoders::of(schema, ids),
            hasher,
            seen: HashSet::new(),
            ids: HashSet::new(),
            window: None,
            most,
            warned: false,
            conflicts: 0,
        }
    }

    /// Which rows to keep; none where that is all of them. `keys` ascend, also from call to call.
    ///
    /// # Errors
    /// Where the rows have another schema.
    pub fn filter(&mut self, batch: &RecordBatch, keys: &[i64]) -> Result<Option<BooleanArray>> {
        let (Some(encoders), Some(last)) = (&self.rows, keys.last().copied()) else {
            return Ok(None);
        };
        let has_id = |row| {
            let mut ids = encoders.ids.iter();
            ids.all(|i| batch.column(*i).is_valid(row))
        };
        let candidates: Vec<u32> = (0u32..)
            .zip(0..keys.len())
            .filter(|(_, i)| shares_key(keys, *i, self.window) && has_id(*i))
            .map(|(row, _)| row)
            .collect();
        if candidates.is_empty() {
            self.enter(last);
            return Ok(None);
        }
        let failed = |e| Error::local("cannot compare rows", e);
        let subset =
            take_record_batch(batch, &UInt32Array::from(candidates.clone())).map_err(failed)?;
        let rows = encoders
            .row
            .convert_columns(subset.columns())
            .map_err(failed)?;
        let row_ids = encoders
            .id_only
            .convert_columns(&encoders.ids_of(&subset))
            .map_err(failed)?;
        let mut dropped = Vec::new();
        for (n, row) in candidates.into_iter().enumerate() {
            let row = row as usize;
            self.enter(keys[row]);
            let hash = |bytes: &[u8]| u128::from(self.hasher.hash(bytes));
            let (whole, id) = (hash(rows.row(n).as_ref()), hash(row_ids.row(n).as_ref()));
            if !self.seen.insert(whole) {
                dropped.push(row);
            } else if !self.ids.insert(id) {
                self.conflicts += 1;
            }
            self.bound();
        }
        self.enter(last);
        if dropped.is_empty() {
            return Ok(None);
        }
        let mut keep = vec![true; keys.len()];
        dropped.into_iter().for_each(|row| keep[row] = false);
        Ok(Some(keep.into()))
    }

    /// Begins a new window where `key` is another than before.
    fn enter(&mut self, key: i64) {
        if self.window != Some(key) {
            self.window = Some(key);
            self.forget();
        }
    }

    fn forget(&mut self) {
        // Clearing a large table costs as much as filling it, window after window.
        if self.seen.capacity() > 4_096 {
            (self.seen, self.ids) = (HashSet::new(), HashSet::new());
        } else if !self.seen.is_empty() {
            self.seen.clear();
            self.ids.clear();
        }
    }

    /// Millions of rows of one time would take any amount of memory. Beyond the bound, what was
    /// seen is forgotten: duplicates may survive then, and no row is ever lost.
    fn bound(&mut self) {
        if self.seen.len() < self.most {
            return;
        }
        self.forget();
        if !self.warned {
            self.warned = true;
            tracing::warn!(
                rows = self.most,
                "very many rows have the same time: not all of their duplicates can be found"
            );
        }
    }
}

impl Encoders {
    /// None where there is no id, or the rows lack a column of it.
    fn of(schema: &Schema, ids: &[String]) -> Option<Self> {
        if ids.is_empty() {
            return None;
        }
        let ids: Vec<usize> = ids
            .iter()
            .map(|id| schema.index_of(id).ok())
            .collect::<Option<_>>()?;
        let field = |i: usize| SortField::new(schema.field(i).data_type().clone());
        let row = RowConverter::new((0..schema.fields().len()).map(field).collect());
        match (
            row,
            RowConverter::new(ids.iter().copied().map(field).collect()),
        ) {
            (Ok(row), Ok(id_only)) => Some(Self { ids, id_only, row }),
            (Err(e), _) | (_, Err(e)) => {
                tracing::warn!(cause = %e, "rows of these columns cannot be compared: duplicates are kept");
                None
            }
        }
    }

    fn ids_of(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        let ids = self.ids.iter();
        ids.map(|i| Arc::clone(batch.column(*i))).collect()
    }
}

/// Whether the row may have an equal: a neighbour has its key, or the next batch may begin with it.
fn shares_key(keys: &[i64], i: usize, window: Option<i64>) -> bool {
    let key = keys[i];
    let before = if i == 0 {
        window == Some(key)
    } else {
        keys[i - 1] == key
    };
    before || keys.get(i + 1).is_none_or(|next| *next == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};

    fn rows(all: &[(i64, Option<&str>, &str)]) -> (RecordBatch, Vec<i64>) {
        let columns: Vec<(&str, ArrayRef, bool)> = vec![
            (
                "t",
                Arc::new(Int64Array::from_iter_values(all.iter().map(|r| r.0))),
                true,
            ),
            (
                "id",
                Arc::new(StringArray::from_iter(all.iter().map(|r| r.1))),
                true,
            ),
            (
                "p",
                Arc::new(StringArray::from_iter_values(all.iter().map(|r| r.2))),
                true,
            ),
        ];
        (
            RecordBatch::try_from_iter_with_nullable(columns).unwrap(),
            all.iter().map(|r| r.0).collect(),
        )
    }

    fn run(batches: &[&[(i64, Option<&str>, &str)]], bytes: u64) -> (Vec<Vec<bool>>, u64) {
        run_by(&["id"], batches, bytes)
    }

    fn run_by(
        ids: &[&str],
        batches: &[&[(i64, Option<&str>, &str)]],
        bytes: u64,
    ) -> (Vec<Vec<bool>>, u64) {
        let ids: Vec<String> = ids.iter().map(|&id| id.to_owned()).collect();
        let mut dedup: Option<Dedup> = None;
        let mut kept = Vec::new();
        for b in batches {
            let (batch, keys) = rows(b);
            let dedup = dedup.get_or_insert_with(|| Dedup::new(&batch.schema(), &ids, bytes));
            let mask = dedup.filter(&batch, &keys).unwrap();
            kept.push(mask.map_or(vec![true; keys.len()], |m| {
                m.iter().map(|v| v.unwrap()).collect()
            }));
        }
        (kept, dedup.unwrap().conflicts)
    }

    #[test]
    fn the_first_of_equal_rows_stays() {
        let (kept, conflicts) = run(
            &[&[
                (1, Some("a"), "x"),
                (1, Some("b"), "x"),
                (1, Some("a"), "x"),
                (2, Some("a"), "x"),
            ]],
            1 << 20,
        );
        assert_eq!((kept, conflicts), (vec![vec![true, true, false, true]], 0));
    }

    #[test]
    fn windows_span_batches() {
        let (kept, _) = run(
            &[
                &[(1, Some("z"), ""), (5, Some("a"), "x")],
                &[(5, Some("a"), "x")],
                &[(5, Some("a"), "x"), (6, Some("a"), "x")],
            ],
            1 << 20,
        );
        assert_eq!(kept, [vec![true, true], vec![false], vec![false, true]]);
    }

    #[test]
    fn other_content_is_a_conflict_and_stays_and_no_id_is_no_duplicate() {
        let (kept, conflicts) = run(
            &[&[
                (1, Some("a"), "x"),
                (1, Some("a"), "y"),
                (1, None, "x"),
                (1, None, "x"),
                (1, Some("a"), "y"),
            ]],
            1 << 20,
        );
        assert_eq!(
            (kept, conflicts),
            (vec![vec![true, true, true, true, false]], 1)
        );
    }

    #[test]
    fn several_columns_are_an_id_together() {
        let twice = &[
            (1, Some("a"), "x"),
            (1, Some("a"), "y"),
            (1, Some("a"), "x"),
        ];
        let by_both = run_by(&["id", "p"], &[twice], 1 << 20);
        assert_eq!(by_both, (vec![vec![true, true, false]], 0));
        let half_null = &[(1, None, "x"), (1, None, "x")];
        let kept = run_by(&["p", "id"], &[half_null], 1 << 20).0;
        assert_eq!(kept, [[true, true]], "a null in a part of it is no id");
    }

    #[test]
    fn nothing_is_a_duplicate_where_no_id_is_named_or_a_column_of_it_is_missing() {
        let twice = &[(1, Some("a"), "x"), (1, Some("a"), "x")];
        for ids in [&[] as &[&str], &["other"], &["id", "other"]] {
            assert_eq!(run_by(ids, &[twice], 1 << 20).0, [[true, true]], "{ids:?}");
        }
    }

    #[test]
    fn a_full_set_forgets_rather_than_loses() {
        let ids: Vec<String> = (0..3_000).map(|i| format!("{i}")).collect();
        let twice: Vec<_> = ids
            .iter()
            .chain(&ids)
            .map(|i| (7, Some(i.as_str()), "x"))
            .collect();
        let (kept, _) = run(&[&twice], 0);
        assert!(kept[0][..3_000].iter().all(|k| *k));
        let (kept, _) = run(&[&twice], 1 << 30);
        assert_eq!(kept[0].iter().filter(|k| **k).count(), 3_000);
    }
}
