//! The k-way merge: of all open runs, it takes from the one whose next row comes first, as many
//! rows as come before the next row of any other.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use arrow::array::RecordBatch;
use arrow::buffer::ScalarBuffer;
use arrow::compute::interleave_record_batch;

use super::chunk::{Chunk, RowSource};
use super::run::{Rank, Run};
use crate::error::{Error, Result};
use icepack_parquet::write::sliced_bytes;

/// Rows of an output batch, at most.
const ROWS: usize = 8_192;
/// A stretch of this many rows goes out as it is: copying it together with others would cost more
/// than a smaller batch does.
const STRETCH: usize = 1_024;

/// Takes the merged rows, batch by batch.
pub(super) type Sink<'a> = dyn FnMut(RecordBatch) -> Result<()> + 'a;

/// An open run at one of its rows.
struct Cursor<S> {
    source: S,
    rank: Rank,
    chunk: Chunk,
    at: usize,
    row_bytes: usize,
    /// Its place in the batch builder, of which generation.
    mixed: Option<(u64, usize)>,
}

impl<S: RowSource> Cursor<S> {
    fn open(rank: Rank, mut source: S) -> Result<Option<Self>> {
        let Some(chunk) = source.next()? else {
            return Ok(None);
        };
        let row_bytes = row_bytes(&chunk.batch);
        Ok(Some(Self {
            source,
            rank,
            chunk,
            at: 0,
            row_bytes,
            mixed: None,
        }))
    }

    fn key(&self) -> i64 {
        self.chunk.keys[self.at]
    }

    /// Goes on behind the current chunk. False at the end of the run.
    fn refill(&mut self) -> Result<bool> {
        let Some(chunk) = self.source.next()? else {
            return Ok(false);
        };
        self.row_bytes = row_bytes(&chunk.batch);
        self.chunk = chunk;
        self.at = 0;
        self.mixed = None;
        Ok(true)
    }
}

fn row_bytes(batch: &RecordBatch) -> usize {
    sliced_bytes(batch) / batch.num_rows().max(1)
}

/// Merges `runs` into `sink`, in the order of (key, rank, row), in batches of about `batch_bytes`.
/// `open` is called when a run's first row may be the next.
pub(super) fn merge<S: RowSource>(
    mut runs: Vec<Run>,
    open: impl Fn(Run) -> Result<S>,
    batch_bytes: u64,
    sink: &mut Sink,
) -> Result<()> {
    runs.sort_by_key(|r| (r.min, r.rank));
    let mut pending = VecDeque::from(runs);
    let mut cursors: Vec<Option<Cursor<S>>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    // The next row of every open run: (key, rank) is unique, so which one is on top is determined.
    let mut queue: BinaryHeap<Reverse<(i64, Rank, usize)>> = BinaryHeap::new();
    let mut builder = BatchBuilder::new(batch_bytes);
    loop {
        // Of rows of equal time, those of the lower rank come first: where all are of one time, one
        // run after the other is open.
        let is_next = |run: &Run, queue: &BinaryHeap<Reverse<(i64, Rank, usize)>>| {
            let next = queue.peek().map(|Reverse((key, rank, _))| (*key, *rank));
            next.is_none_or(|next| (run.min, run.rank) <= next)
        };
        while let Some(run) = pending.pop_front_if(|run| is_next(run, &queue)) {
            let rank = run.rank;
            if let Some(cursor) = Cursor::open(rank, open(run)?)? {
                let slot = free.pop().unwrap_or(cursors.len());
                queue.push(Reverse((cursor.key(), cursor.rank, slot)));
                if slot == cursors.len() {
                    cursors.push(Some(cursor));
                } else {
                    cursors[slot] = Some(cursor);
                }
            }
        }
        let Some(Reverse((_, rank, slot))) = queue.pop() else {
            break;
        };
        let Some(cursor) = cursors[slot].as_mut() else {
            continue;
        };
        let rival = queue.peek().map(|Reverse((key, rank, _))| (*key, *rank));
        let unopened = pending.front().map(|r| (r.min, r.rank));
        let end = match rival.into_iter().chain(unopened).min() {
            None => cursor.chunk.keys.len(),
            Some((limit, other)) => gallop(&cursor.chunk.keys, cursor.at, |key| {
                if rank < other {
                    key <= limit
                } else {
                    key < limit
                }
            }),
        };
        // The first row is before all others, or it would not be on top.
        let end = end.max(cursor.at + 1);
        builder.add(cursor, end, sink)?;
        cursor.at = end;
        if end < cursor.chunk.keys.len() || cursor.refill()? {
            queue.push(Reverse((cursor.key(), rank, slot)));
        } else {
            cursors[slot] = None;
            free.push(slot);
        }
    }
    builder.flush(sink)
}

/// The first index from `from` on whose key is not `before`; the keys ascend. Near ends are found
/// in few steps.
fn gallop(keys: &ScalarBuffer<i64>, from: usize, before: impl Fn(i64) -> bool) -> usize {
    let mut step = 1;
    let mut low = from;
    while low + step < keys.len() && before(keys[low + step]) {
        low += step;
        step *= 2;
    }
    let high = (low + step).min(keys.len());
    low + keys[low..high].partition_point(|k| before(*k))
}

/// Puts stretches of several batches together to output batches.
struct BatchBuilder {
    generation: u64,
    batches: Vec<RecordBatch>,
    /// Batch and row of every row.
    rows: Vec<(usize, usize)>,
    bytes: usize,
    most_bytes: usize,
}

impl BatchBuilder {
    fn new(batch_bytes: u64) -> Self {
        let most_bytes = usize::try_from(batch_bytes)
            .unwrap_or(usize::MAX)
            .saturating_mul(2);
        Self {
            generation: 0,
            batches: Vec::new(),
            rows: Vec::new(),
            bytes: 0,
            most_bytes,
        }
    }

    /// Adds the rows of `cursor` up to `end`.
    fn add<S>(&mut self, cursor: &mut Cursor<S>, end: usize, sink: &mut Sink) -> Result<()> {
        let mut at = cursor.at;
        if end - at >= STRETCH
            || (end - at == cursor.chunk.batch.num_rows() && self.rows.is_empty())
        {
            self.flush(sink)?;
            return sink(cursor.chunk.batch.slice(at, end - at));
        }
        while at < end {
            let room = (self.most_bytes.saturating_sub(self.bytes) / cursor.row_bytes.max(1))
                .min(ROWS - self.rows.len());
            if room == 0 && !self.rows.is_empty() {
                self.flush(sink)?;
                continue;
            }
            let place = self.place(cursor);
            let stop = end.min(at + room.max(1));
            self.rows.extend((at..stop).map(|row| (place, row)));
            self.bytes += (stop - at) * cursor.row_bytes;
            at = stop;
        }
        Ok(())
    }

    fn place<S>(&mut self, cursor: &mut Cursor<S>) -> usize {
        match cursor.mixed {
            Some((generation, place)) if generation == self.generation => place,
            _ => {
                self.batches.push(cursor.chunk.batch.clone());
                let place = self.batches.len() - 1;
                cursor.mixed = Some((self.generation, place));
                place
            }
        }
    }

    fn flush(&mut self, sink: &mut Sink) -> Result<()> {
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        let mut at = 0;
        while at < self.rows.len() {
            let mut len = self.rows.len() - at;
            let batch = loop {
                match interleave_record_batch(&batches, &self.rows[at..at + len]) {
                    Ok(batch) => break batch,
                    // Strings of more than 2 GiB together do not fit into one batch.
                    Err(_) if len > 1 => len /= 2,
                    Err(e) => return Err(Error::local("cannot put rows together", e)),
                }
            };
            sink(batch)?;
            at += len;
        }
        self.batches.clear();
        self.rows.clear();
        self.bytes = 0;
        self.generation += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::PathBuf;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::super::run::RunSource;
    use super::*;

    /// A run of one batch, which counts how many are open.
    struct Counted<'a> {
        chunk: Option<Chunk>,
        open: &'a Cell<usize>,
    }

    impl RowSource for Counted<'_> {
        fn next(&mut self) -> Result<Option<Chunk>> {
            Ok(self.chunk.take())
        }
    }

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.open.set(self.open.get() - 1);
        }
    }

    #[test]
    fn runs_of_one_time_are_opened_one_after_the_other() {
        let (open, most) = (Cell::new(0), Cell::new(0));
        let runs = (0..50).rev().map(|rank| Run {
            rank: (rank, 0),
            min: 7,
            max: 7,
            cost: 1,
            from: RunSource::Spilled(PathBuf::new()),
        });
        let begin = |run: Run| {
            open.set(open.get() + 1);
            most.set(most.get().max(open.get()));
            let number = i64::try_from(run.rank.0).unwrap();
            let column: ArrayRef = Arc::new(Int64Array::from(vec![number; 3]));
            let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
            let keys = vec![7; 3].into();
            Ok(Counted {
                chunk: Some(Chunk { batch, keys }),
                open: &open,
            })
        };
        let mut found = Vec::new();
        let mut sink = |batch: RecordBatch| {
            found.extend_from_slice(batch.column(0).as_primitive::<Int64Type>().values());
            Ok(())
        };
        merge(runs.collect(), begin, 1 << 20, &mut sink).unwrap();
        let want: Vec<i64> = (0..50).flat_map(|n| [n; 3]).collect();
        assert_eq!((found, most.get()), (want, 1));
    }

    #[test]
    fn galloping_finds_what_a_scan_finds() {
        let keys: ScalarBuffer<i64> = vec![1, 1, 2, 2, 2, 3, 5, 8, 8, 13, 21, 34].into();
        for from in 0..keys.len() {
            for limit in 0..40 {
                let scan = (from..keys.len())
                    .find(|i| keys[*i] >= limit)
                    .unwrap_or(keys.len());
                assert_eq!(gallop(&keys, from, |k| k < limit), scan, "{from} {limit}");
            }
        }
    }
}
