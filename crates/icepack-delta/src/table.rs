//! A Delta table in memory: the files of its log go in, what it says comes out, and so does the
//! next file of its log. No store is touched here.
//!
//! delta_kernel reads and writes the log. It asks for its files when it likes, from threads that
//! must not wait for our runtime; so it is given those it can ask for, and the puts that decide are
//! ours, with the answers that only a store gives.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Field, Int64Type};
use bytes::Bytes;
use chrono::DateTime;
use delta_kernel::committer::FileSystemCommitter;
use delta_kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::engine_data::FilteredEngineData;
use delta_kernel::schema::{self, MapType, StructField, StructType};
use delta_kernel::snapshot::{Snapshot, SnapshotRef};
use delta_kernel::transaction::create_table::create_table;
use delta_kernel::transaction::data_layout::DataLayout;
use delta_kernel::transaction::{CommitResult, UpdateTableOperation};
use delta_kernel::{Engine, EngineData, KernelError};
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use delta_kernel_default_engine::{DefaultEngine, DefaultEngineBuilder};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::{Builder, Runtime};

use super::paths;
use icepack_core::model::manifest::WRITER;
use icepack_core::model::names::{DELTA_LOG, Key};
use icepack_core::model::partition::Partition;
use icepack_core::model::publish::{
    Layout, Place, Published, PublishedFile, Readers, TENANT_COLUMN,
};
use icepack_core::model::units::DAY;
use icepack_parquet::source::whole_body;
use icepack_parquet::summary::{Bound, Range};

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
    /// Bytes.
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

    /// Writes the next version, and returns the file of the log that it is. The first makes the
    /// table with its files: a table without rows where rows are would be worse than none.
    ///
    /// # Errors
    /// As [`Self::published`].
    pub fn commit(&mut self, change: &Change) -> Result<LogFile> {
        let before = self.version();
        if before.is_none() {
            self.create(change)?;
            self.reload()?;
        }
        let snapshot = self.snapshot.clone().ok_or("there is no table")?;
        self.update(&snapshot, change)?;
        let made = commit_name(snapshot.version() + 1);
        let mut lines = lines_of(&self.take(&made)?)?;
        let name = commit_name(before.map_or(0, |v| v + 1));
        if before.is_none() {
            let first = lines_of(&self.take(&name)?)?;
            // Who made the version stands in front.
            let after = usize::from(!lines.is_empty());
            lines.splice(
                after..after,
                first.into_iter().filter(|l| l.get("protocol").is_some()),
            );
        }
        if let Some(head) = &change.head {
            let metadata = self.metadata(&snapshot, head)?;
            let at = lines.iter().take_while(|l| l.get("add").is_none()).count();
            lines.insert(at, metadata);
        }
        let again: BTreeSet<String> = change.again.iter().map(|key| self.path(key)).collect();
        for add in lines.iter_mut().filter_map(|l| l.get_mut("add")) {
            if add["path"]
                .as_str()
                .is_some_and(|path| again.contains(path))
            {
                add["dataChange"] = false.into();
            }
        }
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let body = Bytes::from(body);
        self.keep(&name, body.clone())?;
        self.reload()?;
        Ok((name, body))
    }

    fn reload(&mut self) -> Result<()> {
        let snapshot = Snapshot::builder_for(ROOT).build(&self.engine);
        self.snapshot = Some(snapshot.map_err(text)?);
        Ok(())
    }

    /// What the next version says of the table. delta_kernel adds columns, but changes no type,
    /// takes no column away and sets no property.
    fn metadata(&self, snapshot: &SnapshotRef, head: &TableHead) -> Result<serde_json::Value> {
        let metadata = snapshot.table_configuration().metadata();
        let known = self.columns()?;
        let mut new: Vec<&Field> = head.columns.iter().collect();
        let mut fields: Vec<StructField> = Vec::new();
        for field in snapshot.schema().fields() {
            if self.partition_columns().contains(field.name()) {
                fields.push(field.clone());
            } else if let Some(at) = new.iter().position(|c| c.name() == field.name()) {
                let column = new.remove(at);
                fields.push(if known.contains(column) {
                    field.clone()
                } else {
                    of_arrow(column)?
                });
            }
        }
        for column in new {
            fields.push(of_arrow(column)?);
        }
        let schema = StructType::try_new(fields).map_err(text)?;
        let mut properties = metadata.configuration().clone();
        for name in [LEFT_OUT, INDEXED, INDEXED_COUNT] {
            properties.remove(name);
        }
        properties.extend(properties_of(head));
        let mut line = serde_json::json!({
            "id": metadata.id(),
            "format": {"provider": metadata.format_provider(), "options": metadata.format_options()},
            "schemaString": serde_json::to_string(&schema).map_err(|e| e.to_string())?,
            "partitionColumns": metadata.partition_columns(),
            "configuration": properties,
        });
        if let Some(name) = metadata.name() {
            line["name"] = name.into();
        }
        if let Some(description) = metadata.description() {
            line["description"] = description.into();
        }
        if let Some(at) = metadata.created_time() {
            line["createdTime"] = at.into();
        }
        Ok(serde_json::json!({ "metaData": line }))
    }

    fn create(&self, change: &Change) -> Result<()> {
        let columns = change.head.iter().flat_map(|head| &head.columns);
        let mut fields: Vec<StructField> = columns.map(of_arrow).collect::<Result<_>>()?;
        let mut partitions: Vec<&str> = match self.place.layout {
            Layout::PerTenant => Vec::new(),
            Layout::Shared => vec![TENANT_COLUMN],
        };
        partitions.extend(change.partitioned_by.iter().map(String::as_str));
        let of_folder = |name: &&str| StructField::nullable(*name, schema::DataType::STRING);
        fields.extend(partitions.iter().map(of_folder));
        let schema = Arc::new(StructType::try_new(fields).map_err(text)?);
        let mut builder = create_table(ROOT, schema, WRITER, false)
            .with_table_properties([(OWNER, self.place.layout.to_string())]);
        if !partitions.is_empty() {
            builder = builder.with_data_layout(DataLayout::partitioned(partitions));
        }
        let transaction = builder
            .build(&self.engine, Box::new(FileSystemCommitter::new()))
            .map_err(text)?;
        match transaction.commit(&self.engine).map_err(text)? {
            CommitResult::Committed(_) => Ok(()),
            _ => Err("the first version of the table could not be made".to_owned()),
        }
    }

    fn update(&self, snapshot: &SnapshotRef, change: &Change) -> Result<()> {
        // As Spark calls them: a reader of the history knows what happened.
        let operation = match (change.data_change, change.remove.is_empty()) {
            (true, true) => UpdateTableOperation::Write,
            (true, false) => UpdateTableOperation::Delete,
            (false, _) => UpdateTableOperation::Optimize,
        };
        let version = |n: u64| i64::try_from(n).map_err(|e| e.to_string());
        let mut transaction = Arc::clone(snapshot)
            .update_table(operation, WRITER, change.data_change)
            .with_transaction_id(self.app_manifest(), version(change.manifest)?)
            .with_transaction_id(self.app_left(), version(change.left)?)
            .with_transaction_id(app_digest(&self.place), version(change.digest)?)
            .with_operation_parameters([
                ("tenant", Some(self.place.tenant.to_string())),
                ("manifest", Some(change.manifest.to_string())),
            ])
            .build(&self.engine, Box::new(FileSystemCommitter::new()))
            .map_err(text)?;
        if !change.add.is_empty() {
            transaction.add_files(self.additions(&change.add)?);
        }
        for batch in self.removals(snapshot, &change.remove)? {
            transaction.remove_files(batch);
        }
        match transaction.commit(&self.engine).map_err(text)? {
            CommitResult::Committed(_) => Ok(()),
            _ => Err("the next version of the table could not be made".to_owned()),
        }
    }

    fn additions(&self, files: &[AddFile]) -> Result<Box<dyn EngineData>> {
        let lines: StringArray = files
            .iter()
            .map(|f| Some(self.addition(f).to_string()))
            .collect();
        let lines = RecordBatch::try_from_iter([("json", Arc::new(lines) as Arc<dyn Array>)])
            .map_err(|e| e.to_string())?;
        self.engine
            .json_handler()
            .parse_json(
                Box::new(ArrowEngineData::new(lines)),
                Arc::new(addition_schema(files)?),
            )
            .map_err(text)
    }

    fn addition(&self, file: &AddFile) -> serde_json::Value {
        let known = |f: fn(&Range) -> Option<serde_json::Value>| -> serde_json::Map<String, serde_json::Value> {
            file.ranges.iter().filter_map(|(name, range)| Some((name.clone(), f(range)?))).collect()
        };
        let mut partition: BTreeMap<&str, Option<&str>> = file
            .partition
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
            .collect();
        if self.place.layout == Layout::Shared {
            partition.insert(TENANT_COLUMN, Some(self.place.tenant.as_str()));
        }
        let mut stats = serde_json::json!({ "numRecords": file.rows });
        if !file.ranges.is_empty() {
            stats["nullCount"] = known(|r| r.nulls.map(Into::into)).into();
            stats["minValues"] =
                known(|r| r.bounds.as_ref().map(|(min, _)| serde_json::json!(min))).into();
            stats["maxValues"] =
                known(|r| r.bounds.as_ref().map(|(_, max)| serde_json::json!(max))).into();
            // Times are rounded outwards, and texts are cut.
            stats["tightBounds"] = false.into();
        }
        serde_json::json!({
            "path": self.path(&file.key),
            "partitionValues": partition,
            "size": file.size,
            "modificationTime": file.modified,
            "stats": stats,
        })
    }

    /// The table's own words about the files of `keys`: a file is taken out in the words in which
    /// it was put in.
    fn removals(
        &self,
        snapshot: &SnapshotRef,
        keys: &BTreeSet<Key>,
    ) -> Result<Vec<FilteredEngineData>> {
        let mut batches = Vec::new();
        if keys.is_empty() {
            return Ok(batches);
        }
        let scan = Arc::clone(snapshot).scan_builder().build().map_err(text)?;
        for found in scan.scan_metadata(&self.engine).map_err(text)? {
            let (data, selected) = found.map_err(text)?.scan_files.into_parts();
            let batch = batch_of(data.as_ref())?;
            let paths = strings(batch, "path")?;
            let goes = |row: usize| {
                is_selected(&selected, row)
                    && self
                        .key(paths.value(row))
                        .is_some_and(|key| keys.contains(&key))
            };
            let selection: Vec<bool> = (0..batch.num_rows()).map(goes).collect();
            if selection.contains(&true) {
                batches.push(FilteredEngineData::try_new(data, selection).map_err(text)?);
            }
        }
        Ok(batches)
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

/// What of `head` stands in a table's properties.
fn properties_of(head: &TableHead) -> Vec<(String, String)> {
    let mut properties = vec![(
        RETENTION.to_owned(),
        format!("interval {} seconds", head.remembered.as_secs()),
    )];
    if !head.left_out.is_empty() {
        let left_out = serde_json::json!(head.left_out);
        properties.push((LEFT_OUT.to_owned(), left_out.to_string()));
    }
    match head.indexed.as_deref().unwrap_or_default() {
        // Spark takes no empty list.
        [] => properties.push((INDEXED_COUNT.to_owned(), "0".to_owned())),
        names => properties.push((INDEXED.to_owned(), names.join(","))),
    }
    properties
}

fn of_arrow(field: &Field) -> Result<StructField> {
    field
        .try_into_kernel()
        .map_err(|e: arrow::error::ArrowError| e.to_string())
}

fn commit_name(version: u64) -> String {
    format!("{version:020}.json")
}

/// The actions of a version.
fn lines_of(body: &[u8]) -> Result<Vec<serde_json::Value>> {
    let lines = body.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).map_err(|e| e.to_string()))
        .collect()
}

fn log_path(name: &str) -> Path {
    Path::from(format!("{DELTA_LOG}/{name}"))
}

/// The columns of an addition: those of which something is known are in its statistics.
fn addition_schema(files: &[AddFile]) -> Result<StructType> {
    let mut bounds: BTreeMap<&str, schema::DataType> = BTreeMap::new();
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for (name, range) in files.iter().flat_map(|f| &f.ranges) {
        names.insert(name);
        match range.bounds {
            Some((Bound::Number(_), _)) => bounds.insert(name, schema::DataType::LONG),
            Some((Bound::Text(_), _)) => bounds.insert(name, schema::DataType::STRING),
            None => None,
        };
    }
    let of = |fields: Vec<StructField>| StructType::try_new(fields).map_err(text);
    let bounds = of(bounds
        .into_iter()
        .map(|(name, kind)| StructField::nullable(name, kind))
        .collect())?;
    let nulls = of(names
        .into_iter()
        .map(|name| StructField::nullable(name, schema::DataType::LONG))
        .collect())?;
    let stats = of(vec![
        StructField::nullable("numRecords", schema::DataType::LONG),
        StructField::nullable("nullCount", nulls),
        StructField::nullable("minValues", bounds.clone()),
        StructField::nullable("maxValues", bounds),
        StructField::nullable("tightBounds", schema::DataType::BOOLEAN),
    ])?;
    of(vec![
        StructField::not_null("path", schema::DataType::STRING),
        StructField::not_null(
            "partitionValues",
            MapType::new(schema::DataType::STRING, schema::DataType::STRING, true),
        ),
        StructField::not_null("size", schema::DataType::LONG),
        StructField::not_null("modificationTime", schema::DataType::LONG),
        StructField::nullable("stats", stats),
    ])
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
mod tests {
    use arrow::datatypes::DataType;
    use icepack_core::model::names::Tenant;

    use super::*;

    #[test]
    fn columns_of_folders_are_not_those_of_files() {
        for (layout, tenant) in [(Layout::PerTenant, None), (Layout::Shared, Some("acme"))] {
            let place = Place {
                tenant: Tenant::parse("acme").unwrap(),
                layout,
            };
            let mut table = Table::open(place.clone(), Vec::new()).unwrap();
            assert_eq!(table.folder_columns(), None, "there is no table yet");
            let columns = vec![Field::new("n", DataType::Int64, true)];
            let partition = vec![("dt".into(), Some("1:2".into())), ("a.b".into(), None)];
            let file = AddFile {
                key: "acme/dt=1%3A2/a.b=/x.parquet".into(),
                size: 1,
                modified: 1,
                rows: 1,
                partition,
                ranges: BTreeMap::new(),
            };
            let came = Change {
                add: vec![file],
                data_change: true,
                head: Some(TableHead {
                    columns: columns.clone(),
                    ..TableHead::default()
                }),
                partitioned_by: vec!["dt".into(), "a.b".into()],
                ..Change::default()
            };
            let first = table.commit(&came).unwrap();
            assert_eq!(first.0, "00000000000000000000.json", "with its file");
            let lines = std::str::from_utf8(&first.1).unwrap().lines();
            let add = lines
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
                .find_map(|line| line.get("add").cloned())
                .unwrap();
            let mut values = serde_json::json!({"dt": "1:2", "a.b": null});
            if let Some(tenant) = tenant {
                values["tenant"] = tenant.into();
            }
            assert_eq!(add["partitionValues"], values);
            assert!(
                add["path"]
                    .as_str()
                    .unwrap()
                    .ends_with("dt=1%253A2/a.b=/x.parquet")
            );
            let read = Table::open(place, vec![first]).unwrap();
            assert_eq!(read.folder_columns().unwrap(), ["dt", "a.b"]);
            assert_eq!(read.columns().unwrap(), columns);
        }
    }
}
