//! A Delta table in memory: the files of its log go in, what it says comes out, and so does the
//! next file of its log. No store is touched here.
//!
//! delta_kernel reads and writes the log. It asks for its files when it likes, from threads that
//! must not wait for our runtime; so it is given those it can ask for, and the puts that decide are
//! ours, with the answers that only a store gives.

mod commit;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Field, Int64Type};
use bytes::Bytes;
use chrono::DateTime;
use delta_kernel::engine::arrow_conversion::TryIntoArrow;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::snapshot::{Snapshot, SnapshotRef};
use delta_kernel::{EngineData, KernelError};
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use delta_kernel_default_engine::{DefaultEngine, DefaultEngineBuilder};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::{Builder, Runtime};

use super::paths;
use icepack_core::model::names::{DELTA_LOG, Key};
use icepack_core::model::partition::Partition;
use icepack_core::model::publish::{
    Layout, Place, Published, PublishedFile, Readers, TENANT_COLUMN,
};
use icepack_core::model::units::DAY;
use icepack_parquet::source::whole_body;
use icepack_parquet::summary::Range;

/// The table's root as delta_kernel sees it.
const ROOT: &str = "memory:///";

/// Where a table says that it is one of ours.
const OWNER: &str = "icepack.layout";

/// Where it says which columns it cannot have: JSON, why by name.
const LEFT_OUT: &str = "icepack.left_out";

/// The columns whose bounds readers look at.
const INDEXED: &str = "delta.dataSkippingStatsColumns";

/// The same as a number of columns, by which none are told.
const INDEXED_COUNT: &str = "delta.dataSkippingNumIndexedCols";

const RETENTION: &str = "delta.deletedFileRetentionDuration";

/// What is remembered of files that were taken out, unless the table says otherwise.
pub const REMEMBERED: Duration = Duration::from_secs(7 * DAY.as_secs());

/// A checkpoint is written after so many versions.
const CHECKPOINT_EVERY: u64 = 10;

type Result<T, E = String> = std::result::Result<T, E>;

/// A file to put into a table.
#[derive(Debug, Clone)]
pub struct AddFile {
    /// Its key in the store.
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// Milliseconds since 1970.
    pub modified: i64,
    pub rows: u64,
    /// What its folders say of its rows.
    pub partition: Partition,
    pub ranges: BTreeMap<String, Range>,
}

/// A version to write.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub add: Vec<AddFile>,
    /// Files that go, by key.
    pub remove: BTreeSet<Key>,
    /// Those of `add` that the table has already: only what it says of them is new.
    pub again: BTreeSet<Key>,
    /// Whether rows come or go.
    pub data_change: bool,
    /// What the table is from now on, where that is new.
    pub head: Option<TableHead>,
    /// Of a new table: the columns that folders give.
    pub partitioned_by: Vec<String>,
    pub manifest: u64,
    /// Rows that had left by then.
    pub left: u64,
    /// By which it is known that nothing is left to publish; 0 where something is.
    pub digest: u64,
}

/// What a table says of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TableHead {
    /// But for those that it is partitioned by.
    pub columns: Vec<Field>,
    /// Columns that it cannot have, and why.
    pub left_out: BTreeMap<String, String>,
    /// The columns whose bounds readers look at; none where it is left to them.
    pub indexed: Option<Vec<String>>,
    /// For how long it remembers what was taken out.
    pub remembered: Duration,
}

/// A file of a log, by its name in the log's folder.
pub type LogFile = (String, Bytes);

/// One version of a table.
pub struct Table {
    place: Place,
    files: Arc<InMemory>,
    engine: DefaultEngine<TokioMultiThreadExecutor>,
    snapshot: Option<SnapshotRef>,
    /// The version of the last checkpoint.
    checkpoint: u64,
    threads: Threads,
}

/// The threads that delta_kernel runs on. Its own, because it waits in some of them for what others
/// do.
struct Threads(Option<Runtime>);

impl Threads {
    fn new() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("delta")
            .enable_all()
            .build();
        Ok(Self(Some(runtime.map_err(|e| e.to_string())?)))
    }

    fn runtime(&self) -> Result<&Runtime> {
        self.0
            .as_ref()
            .ok_or_else(|| "its threads have ended".to_owned())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // To wait for them is forbidden where a table is dropped, in our own runtime. They have
        // nothing left to do.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Table {
    /// The table of which `log` is the log from its last checkpoint on. Blocks, and must not be
    /// called from a runtime's thread.
    ///
    /// # Errors
    /// Why it cannot be read, in a sentence.
    pub fn open(place: Place, log: Vec<LogFile>) -> Result<Self> {
        let threads = Threads::new()?;
        let runtime = threads.runtime()?;
        let files = Arc::new(InMemory::new());
        let is_new = log.is_empty();
        let checkpoint = log
            .iter()
            .filter(|(name, _)| paths::is_checkpoint(name))
            .filter_map(|(name, _)| paths::version(name))
            .max()
            .unwrap_or(0);
        runtime
            .block_on(async {
                for (name, body) in log {
                    files.put(&log_path(&name), body.into()).await?;
                }
                Ok::<(), object_store::Error>(())
            })
            .map_err(|e| e.to_string())?;
        let store: Arc<dyn ObjectStore> = Arc::clone(&files) as Arc<dyn ObjectStore>;
        let executor = Arc::new(TokioMultiThreadExecutor::new(runtime.handle().clone()));
        let engine = DefaultEngineBuilder::new(store)
            .with_task_executor(executor)
            .build();
        let snapshot = if is_new {
            None
        } else {
            Some(Snapshot::builder_for(ROOT).build(&engine).map_err(text)?)
        };
        Ok(Self {
            place,
            files,
            engine,
            snapshot,
            checkpoint,
            threads,
        })
    }

    /// Why it is not a table of ours, in a sentence. Somebody else's has files that we know nothing
    /// about, and its columns mean what they say.
    pub fn foreign(&self) -> Option<String> {
        let found = self
            .snapshot
            .as_ref()?
            .table_configuration()
            .metadata()
            .configuration()
            .get(OWNER);
        match found {
            Some(layout) if *layout == self.place.layout.to_string() => None,
            Some(layout) => Some(format!(
                "`{}` is the log of a table of layout {layout}",
                self.place.log()
            )),
            None => Some(format!(
                "`{}` is the log of a table that icepack did not make; move it away",
                self.place.log()
            )),
        }
    }

    /// Its version; none where there is no table yet.
    pub fn version(&self) -> Option<u64> {
        self.snapshot.as_ref().map(|s| s.version())
    }

    /// What it says of the tenant.
    ///
    /// # Errors
    /// Of delta_kernel, in a sentence.
    pub fn published(&self) -> Result<Published> {
        let Some(snapshot) = &self.snapshot else {
            return Ok(Published::default());
        };
        let mut published = Published {
            manifest: self.application(&self.app_manifest())?,
            left: self.application(&self.app_left())?,
            files: BTreeMap::new(),
        };
        let scan = Arc::clone(snapshot).scan_builder().build().map_err(text)?;
        for found in scan.scan_metadata(&self.engine).map_err(text)? {
            let (data, selected) = found.map_err(text)?.scan_files.into_parts();
            let batch = batch_of(data.as_ref())?;
            let (paths, stats) = (strings(batch, "path")?, strings(batch, "stats")?);
            let (sizes, times) = (longs(batch, "size")?, longs(batch, "modificationTime")?);
            for row in (0..batch.num_rows()).filter(|row| is_selected(&selected, *row)) {
                if let Some(key) = self.key(paths.value(row)) {
                    let rows = stats
                        .is_valid(row)
                        .then(|| rows_of(stats.value(row)))
                        .flatten();
                    let size = u64::try_from(sizes.value(row)).unwrap_or(0);
                    published.files.insert(
                        key,
                        PublishedFile {
                            size,
                            modified: times.value(row),
                            rows,
                        },
                    );
                }
            }
        }
        Ok(published)
    }

    /// What a sweep must know of it.
    ///
    /// # Errors
    /// As [`Self::published`].
    pub fn readers(&self) -> Result<Readers> {
        let mut readers = Readers {
            published: self.published()?,
            removed: BTreeMap::new(),
            remembered: REMEMBERED,
        };
        let Some(snapshot) = &self.snapshot else {
            return Ok(readers);
        };
        readers.remembered = remembered(snapshot);
        // A checkpoint's rows are what the log says in all, with the files that were taken out.
        let all = Arc::clone(snapshot)
            .create_checkpoint_writer(&self.engine)
            .map_err(text)?;
        for actions in all.checkpoint_data(&self.engine).map_err(text)? {
            let (data, selected) = actions.map_err(text)?.into_parts();
            let batch = batch_of(data.as_ref())?;
            let Some(removes) = batch
                .column_by_name("remove")
                .and_then(|c| c.as_struct_opt())
            else {
                continue;
            };
            let (Some(paths), Some(times)) = (
                removes.column_by_name("path"),
                removes.column_by_name("deletionTimestamp"),
            ) else {
                continue;
            };
            let (paths, times) = (paths.as_string::<i32>(), times.as_primitive::<Int64Type>());
            for row in (0..batch.num_rows()).filter(|row| {
                is_selected(&selected, *row) && removes.is_valid(*row) && paths.is_valid(*row)
            }) {
                // One without a time was taken out at a time that nobody knows.
                let at = if times.is_valid(row) {
                    DateTime::from_timestamp_millis(times.value(row))
                } else {
                    None
                };
                if let Some(key) = self.key(paths.value(row)) {
                    readers
                        .removed
                        .insert(key, at.unwrap_or(DateTime::<chrono::Utc>::MAX_UTC));
                }
            }
        }
        Ok(readers)
    }

    /// Every file that it names, whoever's, by key.
    ///
    /// # Errors
    /// As [`Self::published`].
    pub fn all_files(&self) -> Result<Vec<Key>> {
        let mut files = Vec::new();
        let Some(snapshot) = &self.snapshot else {
            return Ok(files);
        };
        let scan = Arc::clone(snapshot).scan_builder().build().map_err(text)?;
        for found in scan.scan_metadata(&self.engine).map_err(text)? {
            let (data, selected) = found.map_err(text)?.scan_files.into_parts();
            let paths = strings(batch_of(data.as_ref())?, "path")?;
            for row in (0..paths.len()).filter(|row| is_selected(&selected, *row)) {
                let path = paths::decode(paths.value(row));
                files.extend(path.map(|path| format!("{}{path}", self.place.prefix())));
            }
        }
        Ok(files)
    }

    /// What the application `id` says in it.
    ///
    /// # Errors
    /// As [`Self::published`].
    pub fn application(&self, id: &str) -> Result<Option<u64>> {
        let Some(snapshot) = &self.snapshot else {
            return Ok(None);
        };
        let version = snapshot.get_app_id_version(id, &self.engine);
        Ok(version.map_err(text)?.and_then(|v| u64::try_from(v).ok()))
    }

    fn partition_columns(&self) -> &[String] {
        self.snapshot
            .as_ref()
            .map(|s| s.table_configuration().metadata().partition_columns())
            .unwrap_or_default()
    }

    /// The columns that folders give; none where there is no table yet.
    pub fn folder_columns(&self) -> Option<Vec<String>> {
        let of_folders = |name: &&String| !self.is_tenant_column(name);
        self.snapshot.as_ref()?;
        Some(
            self.partition_columns()
                .iter()
                .filter(of_folders)
                .cloned()
                .collect(),
        )
    }

    fn is_tenant_column(&self, name: &str) -> bool {
        self.place.layout == Layout::Shared && name == TENANT_COLUMN
    }

    /// Its columns, as Arrow has them, without those that it is partitioned by.
    ///
    /// # Errors
    /// As [`Self::published`].
    pub fn columns(&self) -> Result<Vec<Field>> {
        let Some(snapshot) = &self.snapshot else {
            return Ok(Vec::new());
        };
        let schema: arrow::datatypes::Schema = snapshot
            .schema()
            .as_ref()
            .try_into_arrow()
            .map_err(|e| e.to_string())?;
        let partitions = self.partition_columns();
        Ok(schema
            .fields()
            .iter()
            .filter(|f| !partitions.contains(f.name()))
            .map(|f| f.as_ref().clone())
            .collect())
    }

    /// What it says of itself; none where there is no table yet.
    ///
    /// # Errors
    /// As [`Self::published`].
    pub fn head(&self) -> Result<Option<TableHead>> {
        let Some(snapshot) = &self.snapshot else {
            return Ok(None);
        };
        let properties = snapshot.table_configuration().metadata().configuration();
        let left_out = properties.get(LEFT_OUT).map(|t| serde_json::from_str(t));
        let names = |list: &String| {
            let names = list.split(',').map(|name| name.trim().to_owned());
            names.filter(|name| !name.is_empty()).collect()
        };
        let counted = properties.get(INDEXED_COUNT).filter(|n| n.trim() == "0");
        let indexed = properties.get(INDEXED).map(names);
        Ok(Some(TableHead {
            columns: self.columns()?,
            left_out: left_out
                .transpose()
                .map_err(|e| format!("its property `{LEFT_OUT}` is damaged ({e})"))?
                .unwrap_or_default(),
            indexed: indexed.or_else(|| counted.map(|_| Vec::new())),
            remembered: remembered(snapshot),
        }))
    }

    /// Whether it can have columns of times without a zone.
    pub fn supports_local_times(&self) -> bool {
        use delta_kernel::table_features::TableFeature;
        self.snapshot.as_ref().is_none_or(|s| {
            s.table_configuration()
                .is_feature_supported(&TableFeature::TimestampWithoutTimezone)
        })
    }

    /// A checkpoint and the hint that there is one, where one is due, in the order in which they
    /// are to be stored.
    ///
    /// # Errors
    /// As [`Self::published`].
    pub fn checkpoint(&mut self) -> Result<Vec<LogFile>> {
        let Some(snapshot) = self
            .snapshot
            .clone()
            .filter(|s| s.version() >= self.checkpoint + CHECKPOINT_EVERY)
        else {
            return Ok(Vec::new());
        };
        let _ = snapshot.checkpoint(&self.engine, None).map_err(text)?;
        let mut written = Vec::new();
        for name in [
            format!("{:020}.checkpoint.parquet", snapshot.version()),
            paths::LAST_CHECKPOINT.to_owned(),
        ] {
            let body = self
                .read(&name)?
                .ok_or_else(|| format!("delta_kernel wrote no {name}"))?;
            written.push((name, body));
        }
        self.checkpoint = snapshot.version();
        Ok(written)
    }

    fn read(&self, name: &str) -> Result<Option<Bytes>> {
        let found = self.threads.runtime()?.block_on(async {
            match self.files.get(&log_path(name)).await {
                Ok(reply) => whole_body(reply).await.map(Some),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(e) => Err(e),
            }
        });
        found.map_err(|e: object_store::Error| e.to_string())
    }

    /// Reads a file of the log, which is none from now on.
    fn take(&self, name: &str) -> Result<Bytes> {
        let body = self
            .read(name)?
            .ok_or_else(|| format!("delta_kernel wrote no {name}"))?;
        let path = log_path(name);
        let gone = self.files.delete(&path);
        let gone = self.threads.runtime()?.block_on(gone);
        gone.map_err(|e| e.to_string())?;
        Ok(body)
    }

    fn keep(&self, name: &str, body: Bytes) -> Result<()> {
        let path = log_path(name);
        let kept = self.files.put(&path, body.into());
        let kept = self.threads.runtime()?.block_on(kept);
        kept.map(drop).map_err(|e| e.to_string())
    }

    /// The application whose version is the manifest's.
    fn app_manifest(&self) -> String {
        app_manifest(&self.place)
    }

    /// The application whose version is the number of rows that have left.
    fn app_left(&self) -> String {
        format!("icepack/{}/left", self.place.tenant)
    }

    fn path(&self, key: &str) -> String {
        paths::encode(
            key.strip_prefix(self.place.prefix().as_str())
                .unwrap_or(key),
        )
    }

    /// The tenant's key of a path in the log.
    fn key(&self, path: &str) -> Option<Key> {
        let key = format!("{}{}", self.place.prefix(), paths::decode(path)?);
        self.place.tenant.owns(&key).then_some(key)
    }
}

/// The application whose version is the manifest's.
pub fn app_manifest(place: &Place) -> String {
    format!("icepack/{}", place.tenant)
}

/// The application whose version is a digest of what there was to publish.
pub fn app_digest(place: &Place) -> String {
    format!("icepack/{}/files", place.tenant)
}

/// For how long a table remembers what was taken out.
fn remembered(snapshot: &SnapshotRef) -> Duration {
    snapshot
        .table_properties()
        .deleted_file_retention_duration
        .unwrap_or(REMEMBERED)
}

fn log_path(name: &str) -> Path {
    Path::from(format!("{DELTA_LOG}/{name}"))
}

fn rows_of(stats: &str) -> Option<u64> {
    serde_json::from_str::<HashMap<String, serde_json::Value>>(stats)
        .ok()?
        .get("numRecords")?
        .as_u64()
}

fn is_selected(selected: &[bool], row: usize) -> bool {
    // A selection that is too short selects the rest.
    selected.get(row).copied().unwrap_or(true)
}

fn batch_of(data: &dyn EngineData) -> Result<&RecordBatch> {
    data.any_ref()
        .downcast_ref::<ArrowEngineData>()
        .map(ArrowEngineData::record_batch)
        .ok_or_else(|| "delta_kernel gave no Arrow data".to_owned())
}

fn strings<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    batch
        .column_by_name(name)
        .and_then(|c| c.as_string_opt())
        .ok_or_else(|| format!("the table's log has no `{name}`"))
}

fn longs<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a arrow::array::Int64Array> {
    batch
        .column_by_name(name)
        .and_then(|c| c.as_primitive_opt())
        .ok_or_else(|| format!("the table's log has no `{name}`"))
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn text(e: KernelError) -> String {
    e.to_string()
}

#[cfg(test)]
mod tests;
