//! Computes the time of each row of a file. No other code does.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Fields, Schema, TimeUnit};
use parquet::file::statistics::Statistics;

use super::{Judge, values};
use crate::schema::canonical;
use icepack_core::model::file::Micros;
use icepack_core::model::time_column::{Dates, EpochUnit, Field, Form, TimeColumn};

/// Says when rows of one schema are from.
#[derive(Debug, Clone, PartialEq)]
pub struct Dater {
    source: Source,
    unit: TimeUnit,
}

#[derive(Debug, Clone, PartialEq)]
enum Source {
    Value(Value),
    /// All rows have this key.
    Constant(i64),
}

/// A value of each row.
#[derive(Debug, Clone, PartialEq)]
struct Value {
    /// The places and the names that lead to it: a column, and fields below it.
    path: Vec<(usize, String)>,
    /// Canonical.
    data_type: DataType,
    form: Form,
}

impl Dater {
    /// For rows of `schema` in the file `key`.
    ///
    /// # Errors
    /// What is there instead, and what to set, in a sentence.
    pub fn of(column: &TimeColumn, schema: &Schema, key: &str) -> Result<Self, String> {
        if let Some(period) = column.period(key) {
            let last = period?.map_or(i64::MIN, |period| period.last.0);
            return Ok(Self::constant_of(last));
        }
        let Dates::Value(_, form) = column.dates() else {
            return Ok(Self::constant_of(i64::MIN));
        };
        let value = Value::find(column, schema)?;
        let unit = unit(form, &value.data_type).ok_or_else(|| odd(&value, column))?;
        Ok(Self {
            source: Source::Value(value),
            unit,
        })
    }

    fn constant_of(key: i64) -> Self {
        Self {
            source: Source::Constant(key),
            unit: TimeUnit::Microsecond,
        }
    }

    /// The unit of the keys.
    pub fn unit(&self) -> TimeUnit {
        self.unit
    }

    /// The key of every row, where all have one.
    pub fn constant(&self) -> Option<i64> {
        match self.source {
            Source::Constant(key) => Some(key),
            Source::Value(_) => None,
        }
    }

    /// The key that orders each row: its time. A row that has none, or none that can be read, has
    /// `i64::MIN`, so that such rows come first. A real time of `i64::MIN` sorts among them. Both
    /// are undated, so nothing else follows from it.
    ///
    /// # Errors
    /// Where the rows are of another schema, in a sentence.
    pub fn keys(&self, batch: &RecordBatch) -> Result<ScalarBuffer<i64>, String> {
        match &self.source {
            Source::Constant(key) => Ok(vec![*key; batch.num_rows()].into()),
            Source::Value(value) => {
                let (array, nulls) = value.leaf(batch).ok_or("what dates the rows is missing")?;
                values::keys(&array, nulls, &value.form)
            }
        }
    }

    /// The column that must be decoded for it, if one must.
    pub fn root(&self) -> Option<&str> {
        let Source::Value(value) = &self.source else {
            return None;
        };
        value.path.first().map(|(_, name)| name.as_str())
    }

    /// The same dater, for rows that have only the column [`Self::root`].
    #[must_use]
    pub fn alone(mut self) -> Self {
        if let Source::Value(value) = &mut self.source
            && let Some((place, _)) = value.path.first_mut()
        {
            *place = 0;
        }
        self
    }

    /// The names that lead to what dates a row, where the statistics of a footer tell its range.
    pub(crate) fn leaf(&self) -> Option<Vec<&str>> {
        let Source::Value(value) = &self.source else {
            return None;
        };
        let is_told = value.is_exact() || matches!(value.data_type, DataType::UInt64);
        is_told.then(|| value.path.iter().map(|(_, name)| name.as_str()).collect())
    }

    /// The column by which rows in the order of their keys are sorted, in the eyes of readers that
    /// know nothing of times.
    pub fn sorted_by(&self) -> Option<&str> {
        match &self.source {
            Source::Value(value) if value.is_exact() && value.path.len() == 1 => self.root(),
            _ => None,
        }
    }

    /// The column whose statistics in a footer are its keys as they are.
    pub(crate) fn told_by_footer(&self) -> Option<&str> {
        match &self.source {
            Source::Value(Value {
                data_type: DataType::Timestamp(..) | DataType::Int64,
                ..
            }) => self.sorted_by(),
            _ => None,
        }
    }

    /// Whether a column of timestamps dates the rows.
    pub(crate) fn is_timestamp(&self) -> bool {
        matches!(&self.source, Source::Value(v) if matches!(v.data_type, DataType::Timestamp(..)))
    }

    /// The least and the greatest key, by the statistics of a footer.
    pub(crate) fn range(&self, found: &Statistics) -> Option<(i64, i64)> {
        let Source::Value(value) = &self.source else {
            return None;
        };
        let (min, max) = match found {
            Statistics::Int64(s) => (*s.min_opt()?, *s.max_opt()?),
            Statistics::Int32(s) => (i64::from(*s.min_opt()?), i64::from(*s.max_opt()?)),
            _ => return None,
        };
        let key = |n: i64| match value.data_type {
            DataType::Date32 | DataType::Date64 => n.saturating_mul(values::DAY_SECONDS),
            // Signed on their way.
            DataType::UInt64 => i64::try_from(n.cast_unsigned()).unwrap_or(i64::MAX),
            DataType::UInt32 | DataType::UInt16 | DataType::UInt8 => n & 0xffff_ffff,
            _ => n,
        };
        Some((key(min), key(max)))
    }

    /// What judges the unit of numbers; `now` is when no row can be much later.
    pub(crate) fn judge(&self, now: Micros) -> Option<Judge> {
        match &self.source {
            Source::Value(Value {
                path,
                form: Form::Number(unit),
                ..
            }) => {
                let names: Vec<&str> = path.iter().map(|(_, name)| name.as_str()).collect();
                Some(Judge::new(&names.join("."), *unit, self.unit, now))
            }
            _ => None,
        }
    }
}

impl Value {
    /// Looks for what dates a row, whatever it is.
    fn find(column: &TimeColumn, schema: &Schema) -> Result<Self, String> {
        let missing = || {
            let name = column.name().unwrap_or_default();
            format!("there is no column `{name}`")
        };
        let Dates::Value(field, form) = column.dates() else {
            return Err(missing());
        };
        let path: Vec<&str> = match field {
            Field::Named(name) if schema.index_of(name).is_ok() => vec![name],
            Field::Named(name) => name.split('.').collect(),
            Field::Exact(path) => path.iter().map(String::as_str).collect(),
        };
        let mut found = Vec::with_capacity(path.len());
        let mut fields: Option<Fields> = Some(schema.fields().clone());
        let mut data_type = DataType::Null;
        for name in path {
            let (place, field) = fields
                .as_ref()
                .and_then(|fields| fields.find(name))
                .ok_or_else(missing)?;
            found.push((place, name.to_owned()));
            data_type = canonical(field.data_type());
            fields = match field.data_type() {
                DataType::Struct(fields) => Some(fields.clone()),
                _ => None,
            };
        }
        Ok(Self {
            path: found,
            data_type,
            form: form.clone(),
        })
    }

    /// The values, and the rows that have none.
    fn leaf(&self, batch: &RecordBatch) -> Option<(ArrayRef, Option<NullBuffer>)> {
        let (first, rest) = self.path.split_first()?;
        let mut array = batch.columns().get(first.0)?.clone();
        let mut nulls = None;
        for (place, _) in rest {
            let fields = array.as_struct_opt()?.clone();
            nulls = NullBuffer::union(nulls.as_ref(), fields.nulls());
            array = fields.columns().get(*place)?.clone();
        }
        let nulls = NullBuffer::union(nulls.as_ref(), array.logical_nulls().as_ref());
        Some((array, nulls))
    }

    /// Whether its order is that of its keys, for everybody.
    fn is_exact(&self) -> bool {
        use DataType as T;
        matches!(
            self.data_type,
            T::Timestamp(..) | T::Date32 | T::Date64 | T::Int8 | T::Int16 | T::Int32 | T::Int64
        ) || matches!(self.data_type, T::UInt8 | T::UInt16 | T::UInt32)
    }
}

/// The unit of keys that are made of values of this canonical type; none where they are no times.
fn unit(form: &Form, data_type: &DataType) -> Option<TimeUnit> {
    use DataType as T;
    match (form, data_type) {
        (Form::Plain, T::Timestamp(unit, _)) => Some(*unit),
        (Form::Plain, T::Date32 | T::Date64) => Some(TimeUnit::Second),
        (Form::Plain | Form::Text(_), T::Utf8) => Some(TimeUnit::Microsecond),
        (Form::Number(unit), number) if number.is_integer() => Some(arrow_unit(*unit)),
        (Form::Number(EpochUnit::Nanos), number) if number.is_floating() => {
            Some(TimeUnit::Nanosecond)
        }
        (Form::Number(_), number) if number.is_floating() => Some(TimeUnit::Microsecond),
        _ => None,
    }
}

fn arrow_unit(unit: EpochUnit) -> TimeUnit {
    match unit {
        EpochUnit::Seconds => TimeUnit::Second,
        EpochUnit::Millis => TimeUnit::Millisecond,
        EpochUnit::Micros => TimeUnit::Microsecond,
        EpochUnit::Nanos => TimeUnit::Nanosecond,
    }
}

/// Why a value of another type cannot be read in the form that is set.
fn odd(value: &Value, column: &TimeColumn) -> String {
    let name = column.name().unwrap_or_default();
    let (kind, plain) = (&value.data_type, TimeColumn::named(&name));
    let is_number = kind.is_integer() || kind.is_floating();
    match &value.form {
        Form::Plain if is_number => format!(
            "column `{name}` is {kind}, and a number needs its unit: set `timestamp_column` to \
             \"{plain} as s\", or to as ms, as us or as ns"
        ),
        Form::Plain => format!("column `{name}` is {kind}, not a time"),
        Form::Number(_) | Form::Text(_) if unit(&Form::Plain, kind).is_some() => format!(
            "column `{name}` is {kind}, which needs no more than its name: set `timestamp_column` \
             to \"{plain}\""
        ),
        Form::Number(_) => format!("column `{name}` is {kind}, not a number"),
        Form::Text(_) => format!("column `{name}` is {kind}, not text"),
    }
}

/// Whether rows with these columns have what dates them; folders are another matter.
///
/// # Errors
/// What is there instead, and what to set, in a sentence.
pub fn dates(column: &TimeColumn, schema: &Schema) -> Result<(), String> {
    let Dates::Value(..) = column.dates() else {
        return Ok(());
    };
    let found = match Dater::of(column, schema, "") {
        Ok(_) => return Ok(()),
        Err(found) if found.contains("set `timestamp_column`") => return Err(found),
        Err(found) => found,
    };
    let candidates: Vec<String> = candidates(schema)
        .iter()
        .map(|name| format!("`{}`", TimeColumn::named(name)))
        .collect();
    Err(if candidates.is_empty() {
        format!(
            "{found}, and no other column is a timestamp: set `timestamp_column` to what dates a row"
        )
    } else {
        format!(
            "{found}: set `timestamp_column` to one of its timestamps ({})",
            candidates.join(", ")
        )
    })
}

/// Columns that are timestamps.
pub fn candidates(schema: &Schema) -> Vec<String> {
    let is_time = |data_type: &DataType| matches!(canonical(data_type), DataType::Timestamp(..));
    let fields = schema.fields().iter();
    let times = fields.filter(|f| is_time(f.data_type()));
    times.map(|f| f.name().clone()).collect()
}

/// Whether a name means the same place in both: a column whose name has dots in it, or a field of a
/// struct.
pub fn is_same_place(column: &TimeColumn, one: &Schema, other: &Schema) -> bool {
    let depth = |schema| {
        Value::find(column, schema)
            .map(|value| value.path.len())
            .ok()
    };
    depth(one) == depth(other)
}

#[cfg(test)]
mod tests;
