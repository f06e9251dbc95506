//! The next version of a table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, StringArray};
use arrow::datatypes::Field;
use bytes::Bytes;
use delta_kernel::committer::FileSystemCommitter;
use delta_kernel::engine::arrow_conversion::TryIntoKernel;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::engine_data::FilteredEngineData;
use delta_kernel::schema::{self, MapType, StructField, StructType};
use delta_kernel::snapshot::{Snapshot, SnapshotRef};
use delta_kernel::transaction::create_table::create_table;
use delta_kernel::transaction::data_layout::DataLayout;
use delta_kernel::transaction::{CommitResult, UpdateTableOperation};
use delta_kernel::{Engine, EngineData};

use icepack_core::model::manifest::WRITER;
use icepack_core::model::names::Key;
use icepack_core::model::publish::{Layout, TENANT_COLUMN};
use icepack_parquet::summary::{Bound, Range};

use super::{
    AddFile, Change, INDEXED, INDEXED_COUNT, LEFT_OUT, LogFile, OWNER, RETENTION, ROOT, Result,
    Table, TableHead, app_digest, batch_of, is_selected, strings, text,
};

impl Table {
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
