//! Writes the rows of one archive object into one raw file.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use object_store::ObjectStoreExt;

use super::Restorer;
use crate::budget::for_restored_file;
use crate::error::{Error, Result};
use crate::store::object_writer::{Buffers, ObjectSpec, ObjectWriter, WrittenObject};
use crate::store::path;
use icepack_core::model::file::{Micros, RowStats};
use icepack_core::model::manifest::Receipt;
use icepack_core::model::policy::Writing;
use icepack_core::model::restore::Wanted;
use icepack_core::model::time_column::TimeColumn;
use icepack_parquet::read::Input;
use icepack_parquet::read_stats;
use icepack_parquet::stats::{counter_of, scan};
use icepack_parquet::time::{Dater, first_not_before};

/// One object to be copied.
pub(super) struct Copying<'a> {
    pub restorer: &'a Restorer,
    pub wanted: &'a Wanted,
    pub from: Option<Micros>,
    pub to: Option<Micros>,
}

impl Copying<'_> {
    /// Writes the rows in range, or finds them written. Their number and the file's bytes; none
    /// where the object has no row in range.
    pub async fn run(&self) -> Result<Option<(u64, u64)>> {
        match self.written().await? {
            Some(size) => self.compare(size).await.map(Some),
            None => self.write().await,
        }
    }

    /// The size of the file, where an earlier attempt wrote it.
    async fn written(&self) -> Result<Option<u64>> {
        match self.restorer.store.head(&path(&self.wanted.file)?).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(Error::store(
                format!("cannot look at `{}`", self.wanted.file),
                e,
            )),
        }
    }

    async fn write(&self) -> Result<Option<(u64, u64)>> {
        let destination = Arc::clone(&self.restorer.destination);
        let (file, budget, timestamp) = (
            self.wanted.file.clone(),
            for_restored_file(self.restorer.memory),
            self.timestamp(),
        );
        let begin = move |first: &RecordBatch, to_bound: Micros| {
            let dater = Dater::of(&timestamp, first.schema_ref(), &file)
                .map_err(|why| Error::local(format!("cannot write `{file}`"), why))?;
            Ok(ObjectWriter::begin(ObjectSpec {
                destination: Arc::clone(&destination),
                schema: first.schema(),
                dater,
                is_sorted: false,
                name: {
                    let file = file.clone();
                    Box::new(move |_, _| file.clone())
                },
                to_bound,
                buffers: Buffers::within(budget),
                writing: Writing::default(),
                metadata: Vec::new(),
            }))
        };
        let Some(written) = self
            .scan(move |input, range| write_rows(input, range, &begin))
            .await?
        else {
            return Ok(None);
        };
        let found = read_stats(
            Arc::clone(&self.restorer.store),
            written.key.clone(),
            written.size,
            self.timestamp().as_str(),
        )
        .await?;
        self.same(found, written.stats)?;
        Ok(Some((written.stats.rows, written.size)))
    }

    /// What an earlier attempt wrote is what this one would write.
    async fn compare(&self, size: u64) -> Result<(u64, u64)> {
        let found = read_stats(
            Arc::clone(&self.restorer.store),
            self.wanted.file.clone(),
            size,
            self.timestamp().as_str(),
        )
        .await?;
        let wanted = self.scan(count_rows).await?;
        self.same(found, wanted)?;
        Ok((found.rows, size))
    }

    fn same(&self, found: RowStats, wanted: RowStats) -> Result<()> {
        if found == wanted {
            return Ok(());
        }
        let file = &self.wanted.file;
        Err(Error::Refused(format!(
            "`{file}` does not hold the rows of `{}`: {found:?} instead of {wanted:?}; move it \
             away and restore again",
            self.wanted.receipt.key
        )))
    }

    fn timestamp(&self) -> TimeColumn {
        let Receipt {
            timestamp_column,
            tenant,
            ..
        } = &self.wanted.receipt;
        match timestamp_column {
            Some(told) => TimeColumn::told(told),
            None => self.restorer.time_columns.of(tenant.as_str()),
        }
    }

    async fn scan<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Input, &Range) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let receipt = self.wanted.receipt.clone();
        let (key, size) = (receipt.key.clone(), receipt.size);
        let range = Range {
            timestamp: self.timestamp(),
            from: self.from,
            to: self.to,
            receipt,
        };
        scan(self.restorer.cold.reader(), key, size, move |input| {
            work(input, &range)
        })
        .await
    }
}

/// The rows that are wanted, and all that the object must hold.
struct Range {
    timestamp: TimeColumn,
    from: Option<Micros>,
    to: Option<Micros>,
    receipt: Receipt,
}

impl Range {
    /// Calls `each` with the rows in range. Fails once all are read where the object does not hold
    /// what its receipt says: nothing of it may be taken then.
    fn read(&self, input: &Input, mut each: impl FnMut(&RecordBatch) -> Result<()>) -> Result<()> {
        let mut all = counter_of(input, &self.timestamp)?;
        let mut reader = input.reader(None)?;
        while let Some(batch) = reader.next_batch()? {
            all.add(&batch).map_err(|why| input.ident.bad(why))?;
            let within = self.within(input, &batch)?;
            if within.num_rows() > 0 {
                each(&within)?;
            }
        }
        if *all.stats() == self.receipt.stats {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "the archive object `{}` does not hold what its receipt says: {:?} instead of {:?}; \
             bring it back from an older version",
            self.receipt.key,
            all.stats(),
            self.receipt.stats
        )))
    }

    /// The rows of a batch that are in range, in their order. A file that was copied into the
    /// archive as it was need not be sorted.
    fn within(&self, input: &Input, batch: &RecordBatch) -> Result<RecordBatch> {
        let bad = |why| Error::from(input.ident.bad(why));
        let dater = Dater::of(&self.timestamp, batch.schema_ref(), &self.receipt.key);
        let dater = dater.map_err(bad)?;
        let (keys, unit) = (dater.keys(batch).map_err(bad)?, dater.unit());
        let bound = |at: Option<Micros>| at.map(|at| first_not_before(at, unit));
        let (from, to) = (bound(self.from), bound(self.to));
        let is_wanted =
            |key: &i64| from.is_none_or(|from| from <= *key) && to.is_none_or(|to| *key < to);
        let wanted: BooleanArray = keys.iter().map(|key| Some(is_wanted(key))).collect();
        filter_record_batch(batch, &wanted)
            .map_err(|why| Error::local("cannot take the rows that are wanted", why))
    }
}

type Begin<'a> = &'a dyn Fn(&RecordBatch, Micros) -> Result<ObjectWriter>;

fn write_rows(input: &Input, range: &Range, begin: Begin<'_>) -> Result<Option<WrittenObject>> {
    let to_bound = range.receipt.stats.max.unwrap_or(Micros(0));
    let mut open: Option<ObjectWriter> = None;
    range.read(input, |batch| {
        let writer = match &mut open {
            Some(open) => open,
            None => open.insert(begin(batch, to_bound)?),
        };
        writer.write(batch)
    })?;
    open.map(ObjectWriter::finish).transpose()
}

fn count_rows(input: &Input, range: &Range) -> Result<RowStats> {
    let mut counter = counter_of(input, &range.timestamp)?;
    range.read(input, |batch| {
        let counted = counter.add(batch).map(drop);
        counted.map_err(|why| input.ident.bad(why).into())
    })?;
    Ok(*counter.stats())
}
