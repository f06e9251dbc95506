//! Columns united by name: what several files have in common, and each file's rows brought to it
//! without loss.

pub(crate) mod form;
pub mod leaf;
pub(crate) mod pairs;
pub mod views;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Metadata, Schema, SchemaRef, TimeUnit};

use crate::time;
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
    Arc::new(Field::new("key_value", data_type, entries.is_nullable()))
}

/// Files' schemas, united by column name in the order of first appearance.
#[derive(Debug, Clone)]
pub struct UnionSchema {
    timestamp: TimeColumn,
    columns: Vec<Field>,
    /// Pairs of the files' own.
    pairs: Metadata,
    files: usize,
}

impl UnionSchema {
    /// No file yet.
    pub fn new(columns: &Columns) -> Self {
        Self {
            timestamp: columns.timestamp.clone(),
            columns: Vec::new(),
            pairs: Metadata::new(),
            files: 0,
        }
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
        self.check_case(schema)?;
        let pairs = if self.files == 0 {
            pairs::own(schema.metadata())
        } else {
            pairs::joined(&self.pairs, &self.columns, schema)?
        };
        let mut columns = self.columns.clone();
        for field in &mut columns {
            match schema.field_with_name(field.name()) {
                Ok(other) => *field = unite(field, other)?,
                Err(_) => field.set_nullable(true),
            }
        }
        for field in schema.fields() {
            if !self.columns.iter().any(|c| c.name() == field.name()) {
                let nullable = field.is_nullable() || self.files > 0;
                columns.push(form::noted(field).with_nullable(nullable));
            }
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

    /// The column of ours that a file's cannot be united with, and why in a sentence.
    pub fn contradicted(&self, schema: &Schema) -> Option<(Field, String)> {
        self.columns
            .iter()
            .find_map(|ours| match schema.field_with_name(ours.name()) {
                Ok(theirs) => unite(ours, theirs).err().map(|why| (ours.clone(), why)),
                Err(_) => {
                    let alike = schema
                        .fields()
                        .iter()
                        .find(|f| f.name().to_lowercase() == ours.name().to_lowercase())?;
                    Some((ours.clone(), differs_in_case(alike.name(), ours.name())))
                }
            })
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

    fn check_case(&self, schema: &Schema) -> Result<(), String> {
        let exact: HashSet<&str> = self.columns.iter().map(|c| c.name().as_str()).collect();
        let known: HashMap<String, &str> = self
            .columns
            .iter()
            .map(|c| (c.name().to_lowercase(), c.name().as_str()))
            .collect();
        let unknown = schema
            .fields()
            .iter()
            .filter(|f| !exact.contains(f.name().as_str()));
        match unknown
            .filter_map(|f| Some((f.name(), known.get(&f.name().to_lowercase())?)))
            .next()
        {
            Some((name, other)) => Err(differs_in_case(name, other)),
            None => Ok(()),
        }
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
/// with the type that most files have there.
pub fn contradictions(schemas: &[(SchemaRef, usize)]) -> Vec<usize> {
    let mut votes: HashMap<&str, Vec<(DataType, usize)>> = HashMap::new();
    for (schema, files) in schemas {
        for field in schema.fields() {
            let (kind, types) = (
                canonical(field.data_type()),
                votes.entry(field.name()).or_default(),
            );
            match types.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, n)) => *n += files,
                None => types.push((kind, *files)),
            }
        }
    }
    // Of equally many, the first.
    let most = |types: &Vec<(DataType, usize)>| {
        types
            .iter()
            .rev()
            .max_by_key(|(_, n)| *n)
            .map(|(kind, _)| kind.clone())
    };
    let preferred: HashMap<&str, DataType> = votes
        .iter()
        .filter_map(|(name, types)| Some((*name, most(types)?)))
        .collect();
    let odd = |field: &&FieldRef| {
        preferred
            .get(field.name().as_str())
            .is_some_and(|kind| widen(kind, &canonical(field.data_type())).is_none())
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

fn unite(ours: &Field, theirs: &Field) -> Result<Field, String> {
    let theirs = form::noted(theirs);
    let Some(united) = widen_child(ours, &theirs) else {
        let (theirs, before) = (leaf::told(&theirs), leaf::told(ours));
        return Err(format!(
            "column `{}` is {theirs}, but {before} in the tenant's other files: no type holds \
             both without loss",
            ours.name()
        ));
    };
    // A column of nulls brings them along, whatever its schema says.
    let null = united.is_nullable()
        || matches!(
            (ours.data_type(), theirs.data_type()),
            (DataType::Null, _) | (_, DataType::Null)
        );
    Ok(Field::clone(&united).with_nullable(null))
}

/// The type that holds the values of both without loss.
fn widen(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as T;
    if a == b {
        return Some(a.clone());
    }
    if let (Some(x), Some(y)) = (Number::of(a), Number::of(b)) {
        return x.with(y);
    }
    match (a, b) {
        (T::Null, other) | (other, T::Null) => Some(other.clone()),
        (T::Timestamp(x, zone), T::Timestamp(y, other)) if zone == other => {
            Some(T::Timestamp(finer(*x, *y), zone.clone()))
        }
        (T::List(x), T::List(y)) => Some(T::List(widen_child(x, y)?)),
        (T::FixedSizeList(x, n), T::FixedSizeList(y, m)) if n == m => {
            Some(T::FixedSizeList(widen_child(x, y)?, *n))
        }
        (T::Map(x, s), T::Map(y, t)) if s == t => Some(T::Map(widen_child(x, y)?, *s)),
        (T::Struct(x), T::Struct(y)) if x.len() == y.len() => {
            let fields: Option<Fields> = x
                .iter()
                .zip(y.iter())
                .map(|(f, g)| {
                    if f.name() == g.name() {
                        widen_child(f, g)
                    } else {
                        None
                    }
                })
                .collect();
            Some(T::Struct(fields?))
        }
        _ => None,
    }
}

fn widen_child(a: &Field, b: &Field) -> Option<FieldRef> {
    let data_type = widen(&leaf::beside(a, b), &leaf::beside(b, a))?;
    Some(Arc::new(
        Field::new(a.name(), data_type, a.is_nullable() || b.is_nullable())
            .with_metadata(leaf::joined(a, b)?),
    ))
}

fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    if time::per_second(a) >= time::per_second(b) {
        a
    } else {
        b
    }
}

/// A numeric type by kind and bits.
#[derive(Clone, Copy)]
enum Number {
    Signed(u8),
    Unsigned(u8),
    Float(u8),
}

impl Number {
    fn of(data_type: &DataType) -> Option<Self> {
        use DataType as T;
        Some(match data_type {
            T::Int8 => Self::Signed(8),
            T::Int16 => Self::Signed(16),
            T::Int32 => Self::Signed(32),
            T::Int64 => Self::Signed(64),
            T::UInt8 => Self::Unsigned(8),
            T::UInt16 => Self::Unsigned(16),
            T::UInt32 => Self::Unsigned(32),
            T::UInt64 => Self::Unsigned(64),
            T::Float16 => Self::Float(16),
            T::Float32 => Self::Float(32),
            T::Float64 => Self::Float(64),
            _ => return None,
        })
    }

    fn with(self, other: Self) -> Option<DataType> {
        use DataType as T;
        match (self, other) {
            (Self::Signed(a), Self::Signed(b)) => signed(a.max(b)),
            (Self::Unsigned(a), Self::Unsigned(b)) => Some(match a.max(b) {
                8 => T::UInt8,
                16 => T::UInt16,
                32 => T::UInt32,
                _ => T::UInt64,
            }),
            (Self::Signed(s), Self::Unsigned(u)) | (Self::Unsigned(u), Self::Signed(s)) => {
                signed(s.max(u.saturating_mul(2)))
            }
            (Self::Float(a), Self::Float(b)) => Some(if a.max(b) == 32 {
                T::Float32
            } else {
                T::Float64
            }),
            // A double holds every integer of 32 bits, and not every one of 64.
            (Self::Float(_), Self::Signed(n) | Self::Unsigned(n))
            | (Self::Signed(n) | Self::Unsigned(n), Self::Float(_)) => {
                (n <= 32).then_some(T::Float64)
            }
        }
    }
}

fn signed(bits: u8) -> Option<DataType> {
    match bits {
        8 => Some(DataType::Int8),
        16 => Some(DataType::Int16),
        32 => Some(DataType::Int32),
        64 => Some(DataType::Int64),
        _ => None,
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

/// The canonical type of a column as manifests and receipts tell it: what other files of the tenant
/// are compared with.
pub fn kind(field: &Field) -> String {
    canonical(form::bare(&Arc::new(field.clone())).data_type()).to_string()
}

/// The columns of `schema` as manifests and receipts tell them.
pub fn described(schema: &Schema) -> TableSchema {
    let column = |f: &FieldRef| Column {
        name: f.name().clone(),
        kind: kind(f),
        nullable: f.is_nullable(),
    };
    TableSchema(schema.fields().iter().map(column).collect())
}

/// Brings a batch to `target`, a schema that [`UnionSchema`] made with the batch's own among
/// others: columns reordered, widened, and nulls where the file has no such column.
///
/// # Errors
/// A value that the target cannot hold: a time that overflows a finer unit.
pub fn adapt(batch: &RecordBatch, target: &SchemaRef) -> Result<RecordBatch, Misfit> {
    let rows = batch.num_rows();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(target.fields().len());
    for field in target.fields() {
        columns.push(match batch.column_by_name(field.name()) {
            None => new_null_array(field.data_type(), rows),
            Some(array) => recast(array, field)?,
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(target), columns, &options).map_err(|e| Misfit {
        column: None,
        reason: e.to_string(),
    })
}

/// Whether the column of this name must be cast, rather than taken over, to get from `from` to
/// `target`.
pub fn is_widened(from: &Schema, target: &Schema, column: &str) -> bool {
    match (from.field_with_name(column), target.field_with_name(column)) {
        (Ok(a), Ok(b)) => canonical(a.data_type()) != canonical(b.data_type()),
        _ => false,
    }
}

fn recast(array: &ArrayRef, field: &Field) -> Result<ArrayRef, Misfit> {
    if array.data_type() == field.data_type() {
        return Ok(Arc::clone(array));
    }
    // Not `safe`: that would turn what does not fit into null.
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(array, field.data_type(), &strict).map_err(|e| Misfit {
        column: Some(field.name().clone()),
        reason: format!(
            "column `{}` does not fit into {}: {e}",
            field.name(),
            field.data_type()
        ),
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
    fn numbers_widen_without_loss_or_not_at_all() {
        use DataType::*;
        assert_eq!(united(Int8, Int32), Some(Int32));
        assert_eq!(united(UInt8, UInt64), Some(UInt64));
        assert_eq!(united(UInt32, Int8), Some(Int64));
        assert_eq!(united(Int16, UInt8), Some(Int16));
        assert_eq!(united(UInt64, Int64), None);
        assert_eq!(united(Int32, Float32), Some(Float64));
        assert_eq!(united(Int64, Float64), None);
        assert_eq!(united(Float32, Float64), Some(Float64));
        assert_eq!(united(Null, Utf8), Some(Utf8));
        assert_eq!(united(Utf8, Binary), None);
        assert_eq!(united(Date32, Date64), None);
        assert_eq!(
            united(ts(TimeUnit::Second, None), ts(TimeUnit::Nanosecond, None)),
            Some(ts(TimeUnit::Nanosecond, None))
        );
        assert_eq!(
            united(ts(TimeUnit::Second, None), ts(TimeUnit::Second, Some("Z"))),
            None
        );
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
        assert_eq!(united(pair("a", false), pair("b", false)), None);
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
            "column `x` is Int32, but Utf8 in the tenant's other files: no type holds both \
             without loss"
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
                .contains("column `timestamp` does not fit")
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
