//! Unites the columns of several files by name, and brings the rows of each file to the united
//! columns without loss.

mod bring;
pub(crate) mod form;
pub mod leaf;
pub(crate) mod pairs;
pub(crate) mod shape;
pub(crate) mod unite;
pub mod views;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Metadata, Schema, SchemaRef};

use crate::time;
use icepack_core::model::policy::Uniting;
use icepack_core::model::schema::{Column, TableSchema};
use icepack_core::model::time_column::TimeColumn;

/// The columns that mean something to the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// What dates a row.
    pub timestamp: TimeColumn,
    /// Together they identify a row. Empty where the owner named none; a file may lack them.
    pub ids: Vec<String>,
}

/// The zone that every zoned timestamp is written with. The instants stay; only their display zone
/// was another.
const UTC: &str = "UTC";

/// The one form of a type that differs only in layout: no dictionaries, run-ends, views or 64-bit
/// offsets, zones as UTC, and the standard's names for the children of lists and maps.
pub fn canonical(data_type: &DataType) -> DataType {
    canonical_by(data_type, &child)
}

/// [`canonical`], with children made by `child` of the name that each has there.
fn canonical_by(data_type: &DataType, child: &dyn Fn(&str, &Field) -> FieldRef) -> DataType {
    use DataType as T;
    match data_type {
        T::Dictionary(_, value) => canonical_by(value, child),
        T::RunEndEncoded(_, value) => canonical_by(value.data_type(), child),
        T::LargeUtf8 | T::Utf8View => T::Utf8,
        T::LargeBinary | T::BinaryView => T::Binary,
        T::List(f) | T::LargeList(f) | T::ListView(f) | T::LargeListView(f) => {
            T::List(child("element", f))
        }
        T::FixedSizeList(f, n) => T::FixedSizeList(child("element", f), *n),
        T::Struct(fields) => T::Struct(fields.iter().map(|f| child(f.name(), f)).collect()),
        T::Map(entries, sorted) => T::Map(map_entries(entries, child), *sorted),
        T::Timestamp(unit, Some(_)) => T::Timestamp(*unit, Some(UTC.into())),
        other => other.clone(),
    }
}

fn child(name: &str, field: &Field) -> FieldRef {
    Arc::new(
        Field::new(name, canonical(field.data_type()), field.is_nullable())
            .with_metadata(field.metadata().clone()),
    )
}

fn map_entries(entries: &FieldRef, child: &dyn Fn(&str, &Field) -> FieldRef) -> FieldRef {
    let data_type = match entries.data_type() {
        DataType::Struct(fields) if fields.len() == 2 => {
            let named: Fields = fields
                .iter()
                .zip(["key", "value"])
                .map(|(f, name)| child(name, f))
                .collect();
            DataType::Struct(named)
        }
        other => canonical_by(other, child),
    };
    let pairs = Field::new("key_value", data_type, entries.is_nullable());
    Arc::new(pairs.with_metadata(entries.metadata().clone()))
}

/// Files' schemas, united by column name in the order of first appearance.
#[derive(Debug, Clone)]
pub struct UnionSchema {
    timestamp: TimeColumn,
    how: Uniting,
    columns: Vec<Field>,
    /// Pairs of the files' own.
    pairs: Metadata,
    files: usize,
}

impl UnionSchema {
    /// No file yet. Nothing is lost, and nothing is assumed.
    pub fn new(columns: &Columns) -> Self {
        Self {
            timestamp: columns.timestamp.clone(),
            how: Uniting::default(),
            columns: Vec::new(),
            pairs: Metadata::new(),
            files: 0,
        }
    }

    /// The same, with what its owner allows.
    #[must_use]
    pub fn allowing(self, how: Uniting) -> Self {
        Self { how, ..self }
    }

    /// Takes a file in. Where it does not fit to those before it, nothing changes.
    ///
    /// # Errors
    /// Why it does not fit, in a sentence.
    pub fn add(&mut self, schema: &Schema) -> Result<(), String> {
        let mut own: HashMap<String, &str> = HashMap::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let other = *own
                .entry(field.name().to_lowercase())
                .or_insert(field.name());
            if other != field.name() {
                return Err(differs_in_case(field.name(), other));
            }
        }
        self.add_ours(schema)
    }

    /// As [`Self::add`], for a file of ours. One from before that rule may have two columns whose
    /// names differ only in case.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_ours(&mut self, schema: &Schema) -> Result<(), String> {
        let mut names = HashSet::with_capacity(schema.fields().len());
        if let Some(twice) = schema.fields().iter().find(|f| !names.insert(f.name())) {
            return Err(format!("it has two columns named `{}`", twice.name()));
        }
        self.dates(schema)?;
        let theirs = schema.fields();
        let places = self
            .places(schema)
            .map_err(|(o, t)| differs_in_case(theirs[t].name(), self.columns[o].name()))?;
        let pairs = if self.files == 0 {
            pairs::own(schema.metadata())
        } else {
            pairs::joined(&self.pairs, &self.columns, schema)?
        };
        let mut columns = self.columns.clone();
        for (field, place) in columns.iter_mut().zip(&places) {
            match place {
                Some(i) => *field = unite(field, &theirs[*i], self.how)?,
                None => field.set_nullable(true),
            }
        }
        let known: HashSet<usize> = places.into_iter().flatten().collect();
        for (_, field) in theirs
            .iter()
            .enumerate()
            .filter(|(i, _)| !known.contains(i))
        {
            let nullable = field.is_nullable() || self.files > 0;
            columns.push(form::noted(field).with_nullable(nullable));
        }
        // What cannot be written must not be read: it would fail every merge, and never be
        // anybody's fault.
        let united = Schema::new(columns.clone());
        leaf::parquet_schema(&united).map_err(|e| format!("its columns cannot be written: {e}"))?;
        self.check_place(schema, &united)?;
        self.columns = columns;
        self.pairs = pairs;
        self.files += 1;
        Ok(())
    }

    /// For each of our columns, its place in a file; or the places of two that differ only in case.
    fn places(&self, schema: &Schema) -> Result<Vec<Option<usize>>, (usize, usize)> {
        let ours: Vec<&str> = self.columns.iter().map(|c| c.name().as_str()).collect();
        unite::places(&ours, &unite::names(schema.fields()))
    }

    /// The column of ours that a file's cannot be united with. None where it is another reason
    /// that keeps the file apart.
    pub fn contradicted(&self, schema: &Schema) -> Option<String> {
        let place = match self.places(schema) {
            Err((ours, _)) => Some(ours),
            Ok(places) => (0..places.len()).find(|n| {
                let theirs = places[*n].map(|i| schema.field(i));
                theirs.is_some_and(|f| unite(&self.columns[*n], f, self.how).is_err())
            }),
        };
        Some(self.columns[place?].name().clone())
    }

    /// The schema that every file's rows can be brought to.
    pub fn finish(&self) -> SchemaRef {
        Arc::new(Schema::new_with_metadata(
            self.columns.clone(),
            self.pairs.clone(),
        ))
    }

    /// What dates a row must be at one place in all files.
    fn check_place(&self, own: &Schema, united: &Schema) -> Result<(), String> {
        let before = Schema::new(self.columns.clone());
        let column = &self.timestamp;
        if time::is_same_place(column, own, united)
            && (self.files == 0 || time::is_same_place(column, &before, united))
        {
            return Ok(());
        }
        Err(format!(
            "`{column}` is a column of this file and a field in others, or the other way round: \
             put backticks around the name of the one that dates a row, in `timestamp_column`"
        ))
    }

    /// Whether a file's rows have what dates them.
    ///
    /// # Errors
    /// What is there instead, and what to set, in a sentence.
    pub fn dates(&self, schema: &Schema) -> Result<(), String> {
        time::dates(&self.timestamp, schema)
    }
}

/// Of each schema, with the number of files that have it: how many of its columns cannot be united
/// with what most files have there, or are spelled otherwise.
pub fn contradictions(schemas: &[(SchemaRef, usize)], how: Uniting) -> Vec<usize> {
    type Votes<'a> = Vec<((&'a str, DataType), usize)>;
    let mut votes: HashMap<String, Votes<'_>> = HashMap::new();
    for (schema, files) in schemas {
        for field in schema.fields() {
            let kind = (field.name().as_str(), canonical(field.data_type()));
            let kinds = votes.entry(field.name().to_lowercase()).or_default();
            match kinds.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, n)) => *n += files,
                None => kinds.push((kind, *files)),
            }
        }
    }
    // Of equally many, the first.
    let most = |kinds: &Votes<'_>| {
        let most = kinds.iter().rev().max_by_key(|(_, n)| *n)?;
        Some((most.0.0.to_owned(), most.0.1.clone()))
    };
    let preferred: HashMap<&String, (String, DataType)> = votes
        .iter()
        .filter_map(|(name, kinds)| Some((name, most(kinds)?)))
        .collect();
    let odd = |field: &&FieldRef| {
        let known = preferred.get(&field.name().to_lowercase());
        known.is_some_and(|(name, kind)| {
            name != field.name() || unite::widen(kind, &canonical(field.data_type()), how).is_none()
        })
    };
    schemas
        .iter()
        .map(|(schema, _)| schema.fields().iter().filter(odd).count())
        .collect()
}

/// Spark, Hive, Athena and DuckDB take such columns for one: they would find half of the values in
/// each.
fn differs_in_case(name: &str, other: &str) -> String {
    format!(
        "column `{name}` differs from `{other}` only in case, and many readers take the two for \
         one: the file is left alone; rename the column"
    )
}

fn unite(ours: &Field, theirs: &Field, how: Uniting) -> Result<Field, String> {
    let theirs = form::noted(theirs);
    match unite::widen_field(ours, &theirs, how) {
        Some(united) => Ok(Field::clone(&united)),
        None => Err(format!(
            "column `{}` is {}, but {} in other files: no type holds both without loss",
            ours.name(),
            leaf::told(&theirs),
            leaf::told(ours)
        )),
    }
}

/// Why rows do not fit into a united schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Misfit {
    /// The column with the value that does not fit, where it is one.
    pub column: Option<String>,
    /// In a sentence.
    pub reason: String,
}

/// The canonical type of a column as manifests and receipts tell it, with what keeps it apart from
/// columns of the same type.
fn kind(field: &Field, pairs: &Metadata) -> String {
    let bare = form::bare(&Arc::new(field.clone()));
    let plain = canonical(leaf::unmarked(&bare).data_type()).to_string();
    let marks = leaf::meanings(&bare).into_iter();
    let marks: Vec<String> = marks.chain(pairs::meanings(pairs, field)).collect();
    if marks.is_empty() {
        plain
    } else {
        format!("{plain} {{{}}}", marks.join(", "))
    }
}

/// The columns of `schema` as manifests and receipts tell them. Files whose columns are told alike
/// can be united.
pub fn described(schema: &Schema) -> TableSchema {
    let column = |f: &FieldRef| Column {
        name: f.name().clone(),
        kind: kind(f, schema.metadata()),
        nullable: f.is_nullable(),
    };
    TableSchema(schema.fields().iter().map(column).collect())
}

/// The canonical type of a column, if there is such a one.
pub fn column_type(schema: &Schema, column: &str) -> Option<DataType> {
    let alike = || {
        let mut fields = schema.fields().iter();
        fields.find(|f| f.name().to_lowercase() == column.to_lowercase())
    };
    let field = match schema.field_with_name(column) {
        Ok(field) => field,
        Err(_) => alike()?,
    };
    Some(canonical(form::bare(&Arc::new(field.clone())).data_type()))
}

/// Brings a batch to `target`, a schema that [`UnionSchema`] made with the batch's own among
/// others: columns reordered, widened, and nulls where the file has no such column.
///
/// # Errors
/// A value that the target cannot hold: a time that overflows a finer unit, an integer that no
/// double is.
pub fn adapt(batch: &RecordBatch, target: &SchemaRef) -> Result<RecordBatch, Misfit> {
    let rows = batch.num_rows();
    let own = batch.schema_ref().fields();
    let columns = bring::by_name(own, batch.columns(), target.fields(), rows);
    let columns = columns.map_err(|(column, e)| Misfit {
        reason: match &column {
            Some(name) => format!("column `{name}` does not fit: {e}"),
            None => e.to_string(),
        },
        column,
    })?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(target), columns, &options).map_err(|e| Misfit {
        column: None,
        reason: e.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::*;
    use arrow::datatypes::*;

    fn columns() -> Columns {
        Columns {
            timestamp: TimeColumn::default(),
            ids: vec!["event_id".into()],
        }
    }

    fn ts(unit: TimeUnit, zone: Option<&str>) -> DataType {
        DataType::Timestamp(unit, zone.map(Into::into))
    }

    fn schema(fields: &[(&str, DataType)]) -> Schema {
        let mut all = vec![Field::new(
            "timestamp",
            ts(TimeUnit::Microsecond, None),
            false,
        )];
        all.extend(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), false)));
        Schema::new(all)
    }

    fn union(files: &[Schema]) -> Result<SchemaRef, String> {
        let mut u = UnionSchema::new(&columns());
        for f in files {
            u.add(f)?;
        }
        Ok(u.finish())
    }

    fn united(a: DataType, b: DataType) -> Option<DataType> {
        let both = union(&[schema(&[("x", a)]), schema(&[("x", b)])]).ok()?;
        Some(both.field_with_name("x").unwrap().data_type().clone())
    }

    #[test]
    fn columns_appear_in_the_order_they_are_first_seen() {
        let u = union(&[
            schema(&[("a", DataType::Int32)]),
            schema(&[("b", DataType::Utf8), ("a", DataType::Int32)]),
        ])
        .unwrap();
        let names: Vec<_> = u
            .fields()
            .iter()
            .map(|f| (f.name().as_str(), f.is_nullable()))
            .collect();
        assert_eq!(names, [("timestamp", false), ("a", false), ("b", true)]);
        let u = union(&[schema(&[("a", DataType::Int32)]), schema(&[])]).unwrap();
        assert!(u.field(1).is_nullable());
    }

    #[test]
    fn layouts_of_one_type_are_one_type() {
        use DataType::*;
        assert_eq!(united(LargeUtf8, Utf8View), Some(Utf8));
        assert_eq!(
            united(Dictionary(Int32.into(), Utf8.into()), Utf8),
            Some(Utf8)
        );
        assert_eq!(
            united(
                ts(TimeUnit::Millisecond, Some("+00:00")),
                ts(TimeUnit::Microsecond, Some("Europe/Berlin"))
            ),
            Some(ts(TimeUnit::Microsecond, Some("UTC")))
        );
        let list = |name: &str, t: DataType, null| List(Arc::new(Field::new(name, t, null)));
        assert_eq!(
            united(
                list("item", LargeUtf8, false),
                LargeList(Arc::new(Field::new("array", Utf8, true)))
            ),
            Some(list("element", Utf8, true))
        );
        let pair = |a: &str, null| Struct(vec![Field::new(a, Utf8, null)].into());
        assert_eq!(
            united(pair("a", false), pair("a", true)),
            Some(pair("a", true))
        );
    }

    #[test]
    fn a_file_without_a_usable_timestamp_says_which_setting_to_change() {
        let s = Schema::new(vec![
            Field::new("ts", ts(TimeUnit::Second, None), false),
            Field::new("x", DataType::Utf8, false),
        ]);
        assert_eq!(
            union(&[s]).unwrap_err(),
            "there is no column `timestamp`: set `timestamp_column` to one of its timestamps \
             (`ts`)"
        );
        let s = Schema::new(vec![Field::new("timestamp", DataType::Int64, false)]);
        assert_eq!(
            union(&[s]).unwrap_err(),
            "column `timestamp` is Int64, and a number needs its unit: set `timestamp_column` to \
             \"timestamp as s\", or to as ms, as us or as ns"
        );
        assert!(
            union(&[schema(&[("x", DataType::Utf8), ("x", DataType::Utf8)])])
                .unwrap_err()
                .contains("two columns named `x`")
        );
        let text = union(&[
            schema(&[("x", DataType::Utf8)]),
            schema(&[("x", DataType::Int32)]),
        ])
        .unwrap_err();
        assert_eq!(
            text,
            "column `x` is Int32, but Utf8 in other files: no type holds both without loss"
        );
    }

    #[test]
    fn a_name_that_is_a_column_here_and_a_field_there_dates_no_row() {
        let inner: Fields = vec![Field::new("at", DataType::Int64, true)].into();
        let field = Schema::new(vec![Field::new("e", DataType::Struct(inner), true)]);
        let column = Schema::new(vec![Field::new("e.at", DataType::Int64, true)]);
        let add = |setting: &str, files: [&Schema; 2]| {
            let mut union = UnionSchema::new(&Columns {
                timestamp: setting.parse().unwrap(),
                ids: Vec::new(),
            });
            files.map(|file| union.add(file).map_err(|why| why.contains("backticks")))
        };
        let differs = [Ok(()), Err(true)];
        assert_eq!(add("e.at as s", [&field, &column]), differs);
        assert_eq!(add("e.at as s", [&column, &field]), differs);
        assert_eq!(add("none", [&column, &field]), [Ok(()), Ok(())]);
        // What is named without doubt is missing in the other.
        assert_eq!(add("`e.at` as s", [&column, &field])[1], Err(false));
    }

    #[test]
    fn an_incompatible_file_leaves_the_union_as_it_was() {
        let mut u = UnionSchema::new(&columns());
        u.add(&schema(&[("x", DataType::Utf8)])).unwrap();
        let before = u.finish();
        u.add(&schema(&[("y", DataType::Utf8), ("x", DataType::Int32)]))
            .unwrap_err();
        assert_eq!(u.finish(), before);
    }

    #[test]
    fn rows_are_brought_to_the_union() {
        let a = Schema::new(vec![
            Field::new("n", DataType::Int32, false),
            Field::new("timestamp", ts(TimeUnit::Second, Some("+02:00")), true),
            Field::new(
                "d",
                DataType::Dictionary(DataType::Int8.into(), DataType::Utf8.into()),
                false,
            ),
        ]);
        let b = Schema::new(vec![
            Field::new("timestamp", ts(TimeUnit::Microsecond, Some("UTC")), false),
            Field::new("n", DataType::Int64, false),
            Field::new("extra", DataType::Utf8View, false),
        ]);
        let target = union(&[b, a.clone()]).unwrap();
        let dict: DictionaryArray<Int8Type> = vec!["p", "q"].into_iter().collect();
        let batch = RecordBatch::try_new(
            Arc::new(a),
            vec![
                Arc::new(Int32Array::from(vec![1, 2])),
                Arc::new(TimestampSecondArray::from(vec![Some(5), None]).with_timezone("+02:00")),
                Arc::new(dict),
            ],
        )
        .unwrap();
        let got = adapt(&batch, &target).unwrap();
        assert_eq!(got.schema(), target);
        assert_eq!(
            got.column(0)
                .as_primitive::<TimestampMicrosecondType>()
                .value(0),
            5_000_000
        );
        assert!(got.column(0).is_null(1));
        assert_eq!(got.column(1).as_primitive::<Int64Type>().values(), &[1, 2]);
        assert_eq!(got.column_by_name("extra").unwrap().null_count(), 2);
        assert_eq!(
            got.column_by_name("d").unwrap().as_string::<i32>().value(1),
            "q"
        );
    }

    #[test]
    fn a_time_that_does_not_fit_is_an_error_and_not_a_null() {
        let a = Schema::new(vec![Field::new(
            "timestamp",
            ts(TimeUnit::Second, None),
            false,
        )]);
        let b = Schema::new(vec![Field::new(
            "timestamp",
            ts(TimeUnit::Nanosecond, None),
            false,
        )]);
        let target = union(&[a.clone(), b]).unwrap();
        let batch = RecordBatch::try_new(
            Arc::new(a),
            vec![Arc::new(TimestampSecondArray::from(vec![i64::MAX / 1_000]))],
        )
        .unwrap();
        assert!(
            adapt(&batch, &target)
                .unwrap_err()
                .reason
                .contains("column `timestamp` does not fit: ")
        );
    }

    #[test]
    fn nested_columns_are_cast_along() {
        let inner = |name: &str, t| Arc::new(Field::new(name, t, true));
        let a = schema(&[("l", DataType::LargeList(inner("item", DataType::Int32)))]);
        let target = union(&[
            a.clone(),
            schema(&[("l", DataType::List(inner("element", DataType::Int64)))]),
        ])
        .unwrap();
        let mut list = LargeListBuilder::new(Int32Builder::new());
        list.append_value([Some(1), None]);
        let batch = RecordBatch::try_new(
            Arc::new(a),
            vec![
                Arc::new(TimestampMicrosecondArray::from(vec![1])),
                Arc::new(list.finish()),
            ],
        )
        .unwrap();
        let got = adapt(&batch, &target).unwrap();
        assert_eq!(
            got.column(1)
                .as_list::<i32>()
                .value(0)
                .as_primitive::<Int64Type>()
                .value(0),
            1
        );
    }
}
