//! The table of all leaf types that survive a merge unchanged.
//!
//! Parquet knows more types than Arrow: text may be JSON, sixteen bytes a UUID, bytes a geometry.
//! What Arrow has no type for is noted in the metadata of the field, goes along with it through a
//! merge, and is written again. A leaf that is not in the table is refused by name: its file is
//! left alone.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Field, FieldRef, Fields, Metadata, Schema, TimeUnit,
};
use parquet::arrow::{ArrowSchemaConverter, PARQUET_FIELD_ID_META_KEY};
use parquet::basic::{
    ConvertedType, EdgeInterpolationAlgorithm, LogicalType, TimeUnit as TimeUnitOfParquet,
    Type as Physical,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor, Type, TypePtr};
use serde::{Deserialize, Serialize};

use crate::schema::{canonical, form, pairs, shape};

/// Where a field notes what it is in Parquet. Never written to a file.
const KEY: &str = "icepack.leaf";

/// Where a field notes that all row groups of its file have a bloom filter of it. It stays where all
/// files of a merge say so. Never written to a file.
pub(crate) const BLOOM: &str = "icepack.bloom";

/// What Arrow calls an extension type: a name, and what belongs to it.
const EXTENSION: [&str; 2] = ["ARROW:extension:name", "ARROW:extension:metadata"];

/// What a leaf is in Parquet, where its Arrow type does not say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kept {
    Uuid,
    Json,
    Bson,
    Enum,
    /// Twelve bytes: months, days and milliseconds. As an Arrow interval it would lose one or the
    /// other.
    Interval,
    /// A time of day that is adjusted to UTC.
    UtcTime,
    /// A time, or a time of day, annotated as before logical types. By the standard it is adjusted
    /// to UTC; DuckDB knows no zone for it.
    Converted,
    /// Milliseconds to Arrow, and a day in the file.
    Date,
    /// A time of no zone and any year, as Hive and Spark wrote it. It is read as microseconds and
    /// never written.
    Int96,
    Geometry {
        crs: Option<String>,
    },
    Geography {
        crs: Option<String>,
        algorithm: Option<String>,
    },
    /// A column that is a group of bytes, and of what was shredded from them.
    Variant {
        version: Option<i8>,
    },
}

impl Kept {
    /// Whether the values mean something else without it, or with another of its kind.
    fn is_meaning(&self) -> bool {
        matches!(
            self,
            Self::Interval | Self::Geometry { .. } | Self::Geography { .. } | Self::Variant { .. }
        )
    }

    fn logical(&self, leaf: &Type) -> Option<LogicalType> {
        Some(match self {
            Self::Uuid => LogicalType::Uuid,
            Self::Json => LogicalType::Json,
            Self::Bson => LogicalType::Bson,
            Self::Enum => LogicalType::Enum,
            Self::Date => LogicalType::Date,
            Self::UtcTime => match leaf.get_basic_info().logical_type_ref() {
                Some(LogicalType::Time(time)) => LogicalType::time(true, time.unit),
                other => other?.clone(),
            },
            Self::Geometry { crs } => LogicalType::geometry(crs.clone()),
            Self::Geography { crs, algorithm } => {
                let known =
                    |name: &String| ALGORITHMS.iter().find(|(n, _)| n == name).map(|(_, a)| *a);
                LogicalType::geography(crs.clone(), algorithm.as_ref().and_then(known))
            }
            Self::Variant { version } => LogicalType::variant(*version),
            Self::Interval | Self::Int96 | Self::Converted => return None,
        })
    }
}

const ALGORITHMS: [(&str, EdgeInterpolationAlgorithm); 5] = [
    ("SPHERICAL", EdgeInterpolationAlgorithm::SPHERICAL),
    ("VINCENTY", EdgeInterpolationAlgorithm::VINCENTY),
    ("THOMAS", EdgeInterpolationAlgorithm::THOMAS),
    ("ANDOYER", EdgeInterpolationAlgorithm::ANDOYER),
    ("KARNEY", EdgeInterpolationAlgorithm::KARNEY),
];

/// The table: what there is to be noted of a leaf that is read as `arrow`; or the name of a type
/// that is not in it.
fn of(leaf: &ColumnDescriptor, arrow: &DataType) -> Result<Option<Kept>, String> {
    use {ConvertedType as C, LogicalType as L, Physical as P};
    let (physical, logical, converted) = (
        leaf.physical_type(),
        leaf.logical_type_ref(),
        leaf.converted_type(),
    );
    Ok(match (physical, logical, converted) {
        (_, Some(L::Unknown), _) => None,
        (P::BOOLEAN | P::FLOAT | P::DOUBLE, None, C::NONE) => None,
        (P::INT32, Some(L::Date), _) | (P::INT32, None, C::DATE) => {
            matches!(arrow, DataType::Date64).then_some(Kept::Date)
        }
        (P::INT32 | P::INT64, Some(L::Time(time)), _) => {
            time.is_adjusted_to_u_t_c.then_some(Kept::UtcTime)
        }
        (P::INT32, None, C::TIME_MILLIS)
        | (P::INT64, None, C::TIME_MICROS | C::TIMESTAMP_MILLIS | C::TIMESTAMP_MICROS) => {
            Some(Kept::Converted)
        }
        (P::INT32 | P::INT64, Some(L::Integer(_) | L::Decimal(_)), _)
        | (P::INT64, Some(L::Timestamp(_)), _) => None,
        (
            P::INT32,
            None,
            C::NONE
            | C::INT_8
            | C::INT_16
            | C::INT_32
            | C::UINT_8
            | C::UINT_16
            | C::UINT_32
            | C::DECIMAL,
        ) => None,
        (P::INT64, None, C::NONE | C::INT_64 | C::UINT_64 | C::DECIMAL) => None,
        (P::INT96, None, C::NONE) => Some(Kept::Int96),
        (P::BYTE_ARRAY, Some(L::String | L::Decimal(_)), _)
        | (P::BYTE_ARRAY, None, C::NONE | C::UTF8 | C::DECIMAL) => None,
        (P::BYTE_ARRAY, Some(L::Json), _) | (P::BYTE_ARRAY, None, C::JSON) => Some(Kept::Json),
        (P::BYTE_ARRAY, Some(L::Bson), _) | (P::BYTE_ARRAY, None, C::BSON) => Some(Kept::Bson),
        (P::BYTE_ARRAY, Some(L::Enum), _) | (P::BYTE_ARRAY, None, C::ENUM) => Some(Kept::Enum),
        (P::BYTE_ARRAY, Some(L::Geometry(g)), _) => Some(Kept::Geometry { crs: g.crs.clone() }),
        (P::BYTE_ARRAY, Some(L::Geography(g)), _) => {
            let name = |a: &EdgeInterpolationAlgorithm| {
                ALGORITHMS
                    .iter()
                    .find(|(_, known)| known == a)
                    .map(|(name, _)| (*name).to_owned())
            };
            let algorithm = g
                .algorithm
                .as_ref()
                .map(|a| name(a).ok_or_else(|| format!("GEOGRAPHY with the edges {a:?}")))
                .transpose()?;
            Some(Kept::Geography {
                crs: g.crs.clone(),
                algorithm,
            })
        }
        (P::FIXED_LEN_BYTE_ARRAY, Some(L::Uuid), _) => Some(Kept::Uuid),
        (P::FIXED_LEN_BYTE_ARRAY, Some(L::Float16 | L::Decimal(_)), _)
        | (P::FIXED_LEN_BYTE_ARRAY, None, C::NONE | C::DECIMAL) => None,
        (P::FIXED_LEN_BYTE_ARRAY, None, C::INTERVAL) => {
            matches!(arrow, DataType::FixedSizeBinary(_)).then_some(Kept::Interval)
        }
        (_, Some(logical), _) => return Err(named(logical, Some(physical))),
        (_, None, converted) => return Err(format!("{physical} annotated {converted}")),
    })
}

fn named(logical: &LogicalType, of: Option<Physical>) -> String {
    match (logical, of) {
        (LogicalType::Variant(_), _) => "VARIANT".to_owned(),
        (LogicalType::File, _) => "FILE".to_owned(),
        (LogicalType::_Unknown { field_id }, _) => {
            format!("a type that is not known here (logical type {field_id})")
        }
        (other, Some(physical)) => format!("{physical} annotated {other:?}"),
        (other, None) => format!("a group annotated {other:?}"),
    }
}

/// What is noted of each leaf of a file that is read with `fields`; and why its rows must not be
/// merged, if one is not in the table.
pub(crate) fn survey(
    descriptor: &SchemaDescriptor,
    fields: &Fields,
) -> Result<(Vec<Option<Kept>>, Option<String>), String> {
    let arrow = types(fields);
    if arrow.len() != descriptor.num_columns() {
        return Err(format!(
            "it has {} columns, and {} of them can be read",
            descriptor.num_columns(),
            arrow.len()
        ));
    }
    let left_alone = |name: String, what: String| {
        format!(
            "column `{name}` is {what}: icepack cannot keep it unchanged; the file is left alone"
        )
    };
    let mut refusal = group_refusal(descriptor.root_schema(), &mut Vec::new())
        .map(|(name, what)| left_alone(name, what));
    let mut noted = |(leaf, arrow): (&Arc<ColumnDescriptor>, &DataType)| match of(leaf, arrow) {
        Ok(kept) => kept,
        Err(what) => {
            refusal.get_or_insert_with(|| left_alone(leaf.path().string(), what));
            None
        }
    };
    let kept = descriptor
        .columns()
        .iter()
        .zip(&arrow)
        .map(&mut noted)
        .collect();
    Ok((kept, refusal))
}

/// The first group that is more than a struct, a list or a map.
fn group_refusal<'a>(group: &'a Type, path: &mut Vec<&'a str>) -> Option<(String, String)> {
    for field in group.get_fields().iter().filter(|f| f.is_group()) {
        path.push(field.name());
        if field.get_fields().is_empty() {
            // No leaf of it would be read, so nothing of it would be written.
            return Some((path.join("."), "a group without columns".to_owned()));
        }
        match field.get_basic_info().logical_type_ref() {
            None | Some(LogicalType::List) => {}
            Some(LogicalType::Map) if has_pairs(field) => {}
            // Arrow has it as a list.
            Some(LogicalType::Map) => {
                return Some((path.join("."), "a map without values".to_owned()));
            }
            // Its parts are kept as they are.
            Some(LogicalType::Variant(_)) if path.len() == 1 => {}
            Some(other) => return Some((path.join("."), named(other, None))),
        }
        if let Some(found) = group_refusal(field, path) {
            return Some(found);
        }
        path.pop();
    }
    None
}

fn has_pairs(map: &Type) -> bool {
    matches!(map.get_fields(), [pairs] if pairs.is_group() && pairs.get_fields().len() == 2)
}

/// `field` with each of its leaves replaced. There are as many as Parquet has, and in the same
/// order.
fn map_leaves(field: &FieldRef, each: &mut dyn FnMut(&FieldRef) -> FieldRef) -> FieldRef {
    use DataType as T;
    let data_type = match field.data_type() {
        T::List(f) => T::List(map_leaves(f, each)),
        T::LargeList(f) => T::LargeList(map_leaves(f, each)),
        T::ListView(f) => T::ListView(map_leaves(f, each)),
        T::LargeListView(f) => T::LargeListView(map_leaves(f, each)),
        T::FixedSizeList(f, n) => T::FixedSizeList(map_leaves(f, each), *n),
        T::Map(f, sorted) => T::Map(map_leaves(f, each), *sorted),
        T::Struct(fields) => T::Struct(map_all(fields, each)),
        _ => return each(field),
    };
    if data_type == *field.data_type() {
        Arc::clone(field)
    } else {
        Arc::new(Field::clone(field).with_data_type(data_type))
    }
}

fn map_all(fields: &Fields, each: &mut dyn FnMut(&FieldRef) -> FieldRef) -> Fields {
    fields.iter().map(|f| map_leaves(f, each)).collect()
}

/// The Arrow types of the leaves.
pub(crate) fn types(fields: &Fields) -> Vec<DataType> {
    let mut found = Vec::new();
    map_all(fields, &mut |leaf| {
        found.push(leaf.data_type().clone());
        Arc::clone(leaf)
    });
    found
}

/// How INT96 is read: years 1 and 9999 are far outside of what nanoseconds hold. Readers take it
/// for an instant, whatever it says of a zone: nothing.
fn int96() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// `fields` as they are to be decoded.
pub(crate) fn decoded(fields: &Fields, kept: &[Option<Kept>]) -> Fields {
    let mut kept = kept.iter();
    map_all(fields, &mut |leaf| match kept.next() {
        Some(Some(Kept::Int96)) => Arc::new(Field::clone(leaf).with_data_type(int96())),
        _ => Arc::clone(leaf),
    })
}

fn with(field: &FieldRef, key: &str, value: String) -> FieldRef {
    let mut metadata = field.metadata().clone();
    metadata.insert(key, value);
    Arc::new(Field::clone(field).with_metadata(metadata))
}

/// `fields` with what they are in Parquet.
pub(crate) fn noted(
    fields: &Fields,
    kept: &[Option<Kept>],
    descriptor: &SchemaDescriptor,
) -> Fields {
    let mut kept = kept.iter();
    let noted = map_all(fields, &mut |leaf| match kept
        .next()
        .and_then(Option::as_ref)
        .and_then(|k| serde_json::to_string(k).ok())
    {
        Some(note) => with(leaf, KEY, note),
        None => Arc::clone(leaf),
    });
    let parquet = descriptor.root_schema().get_fields();
    if noted.len() != parquet.len() {
        return noted;
    }
    let column = |(field, parquet): (&FieldRef, &TypePtr)| {
        let info = parquet.get_basic_info();
        let mut field = Arc::clone(field);
        // An Arrow schema in the file hides the ids of its fields.
        if info.has_id() {
            field = with(&field, PARQUET_FIELD_ID_META_KEY, info.id().to_string());
        }
        match info.logical_type_ref() {
            Some(LogicalType::Variant(v)) => match serde_json::to_string(&Kept::Variant {
                version: v.specification_version,
            }) {
                Ok(note) => with(&field, KEY, note),
                Err(_) => field,
            },
            _ => shape::noted(&field, parquet),
        }
    };
    noted.iter().zip(parquet).map(column).collect()
}

/// `fields` with notes of which leaves have bloom filters in all row groups with rows.
pub(crate) fn with_blooms(fields: &Fields, groups: &[RowGroupMetaData]) -> Fields {
    let has = |leaf: usize| {
        let mut groups = groups.iter().filter(|g| g.num_rows() > 0).peekable();
        groups.peek().is_some()
            && groups.all(|g| {
                let column = g.columns().get(leaf);
                column.is_some_and(|c| c.bloom_filter_offset().is_some())
            })
    };
    let mut leaves = 0..;
    map_all(fields, &mut |field| match leaves.next() {
        Some(leaf) if has(leaf) => with(field, BLOOM, String::new()),
        _ => Arc::clone(field),
    })
}

/// Of each leaf of `table`, which is how `schema` is written, whether files have bloom filters of
/// it: where all inputs had them, and in the `named` columns.
pub(crate) fn blooms(schema: &Schema, table: &SchemaDescriptor, named: &[String]) -> Vec<bool> {
    let mut leaves = table.columns().iter();
    let mut found = Vec::new();
    map_all(schema.fields(), &mut |leaf| {
        let column = leaves.next().and_then(|c| c.path().parts().first());
        let is_named = column.is_some_and(|name| named.contains(name));
        found.push(is_named || leaf.metadata().contains_key(BLOOM));
        Arc::clone(leaf)
    });
    found
}

fn note(field: &Field) -> Option<Kept> {
    serde_json::from_str(field.metadata().get(KEY)?).ok()
}

/// `field` without notes of what its leaves are.
pub(crate) fn unmarked(field: &FieldRef) -> FieldRef {
    let mut without = |leaf: &FieldRef| {
        let mut metadata = leaf.metadata().clone();
        metadata.remove(KEY);
        Arc::new(Field::clone(leaf).with_metadata(metadata))
    };
    map_leaves(field, &mut without)
}

/// What keeps `field` apart from others of its type, at each level, for people.
pub(crate) fn meanings(field: &FieldRef) -> Vec<String> {
    let meaning = |of: &Field| {
        let kept = note(of).filter(Kept::is_meaning)?;
        Some(match kept {
            Kept::Variant { .. } => "VARIANT".to_owned(),
            _ => told(of),
        })
    };
    let mut found = Vec::new();
    if field.data_type().is_nested() {
        found.extend(meaning(field));
    }
    let is_column = !field.data_type().is_nested();
    map_leaves(field, &mut |leaf| {
        found.extend(meaning(leaf).map(|told| {
            if is_column {
                told
            } else {
                format!("{}: {told}", leaf.name())
            }
        }));
        Arc::clone(leaf)
    });
    found
}

/// What a field is, for people.
pub(crate) fn told(field: &Field) -> String {
    match note(field) {
        Some(Kept::Geometry { crs }) => {
            format!("GEOMETRY({})", crs.as_deref().unwrap_or("OGC:CRS84"))
        }
        Some(Kept::Geography { crs, algorithm }) => {
            format!(
                "GEOGRAPHY({}, {})",
                crs.as_deref().unwrap_or("OGC:CRS84"),
                algorithm.as_deref().unwrap_or("SPHERICAL")
            )
        }
        Some(Kept::Interval) => "INTERVAL".to_owned(),
        Some(Kept::Variant { .. }) => format!("VARIANT of {}", field.data_type()),
        _ => form::bare(&Arc::new(field.clone())).data_type().to_string(),
    }
}

/// The type of `field` where it is to be united with `other`. INT96 says nothing of a zone, and
/// takes the other's.
pub(crate) fn beside(field: &Field, other: &Field) -> DataType {
    match (note(field), other.data_type()) {
        (Some(Kept::Int96), DataType::Timestamp(_, zone)) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        _ => field.data_type().clone(),
    }
}

/// The metadata of two fields that become one: what both say. None where one would mean something
/// else without its own.
pub(crate) fn joined(a: &Field, b: &Field) -> Option<Metadata> {
    match (a.data_type(), b.data_type()) {
        (DataType::Null, _) => return Some(b.metadata().clone()),
        (_, DataType::Null) => return Some(a.metadata().clone()),
        _ => {}
    }
    let (x, y) = (note(a), note(b));
    if matches!(x, Some(Kept::Variant { .. }))
        && canonical(a.data_type()) != canonical(b.data_type())
    {
        // A number of another width is another value to a variant.
        return None;
    }
    if x != y && (x.is_some_and(|k| k.is_meaning()) || y.is_some_and(|k| k.is_meaning())) {
        return None;
    }
    let extended = EXTENSION
        .iter()
        .all(|key| a.metadata().get(key) == b.metadata().get(key));
    let mut both = a.metadata().clone();
    both.retain(|key, value| {
        b.metadata().get(key) == Some(&*value) && (extended || !EXTENSION.contains(&key.as_str()))
    });
    both.extend(form::joined(a, b));
    Some(both)
}

type Other<'a> = &'a dyn Fn(usize, &Type) -> Result<Option<Type>, ParquetError>;

/// A tree of Parquet types with some leaves replaced.
fn rebuilt(tree: &TypePtr, at: &mut usize, other: Other<'_>) -> Result<TypePtr, ParquetError> {
    if tree.is_primitive() {
        let leaf = *at;
        *at += 1;
        return Ok(other(leaf, tree)?.map_or_else(|| Arc::clone(tree), Arc::new));
    }
    let fields = tree
        .get_fields()
        .iter()
        .map(|f| rebuilt(f, at, other))
        .collect::<Result<_, _>>()?;
    group(
        tree,
        fields,
        tree.get_basic_info().logical_type_ref().cloned(),
    )
}

pub(super) fn group(
    like: &Type,
    fields: Vec<TypePtr>,
    logical: Option<LogicalType>,
) -> Result<TypePtr, ParquetError> {
    let info = like.get_basic_info();
    let id = info.has_id().then(|| info.id());
    let mut group = Type::group_type_builder(like.name())
        .with_fields(fields)
        .with_converted_type(info.converted_type())
        .with_logical_type(logical)
        .with_id(id);
    if info.has_repetition() {
        group = group.with_repetition(info.repetition());
    }
    group.build().map(Arc::new)
}

fn with_leaves(
    schema: &SchemaDescriptor,
    other: Other<'_>,
) -> Result<SchemaDescriptor, ParquetError> {
    Ok(SchemaDescriptor::new(rebuilt(
        &schema.root_schema_ptr(),
        &mut 0,
        other,
    )?))
}

/// A leaf of the same place and bytes, annotated otherwise.
fn annotated(
    leaf: &Type,
    physical: Physical,
    length: i32,
    logical: Option<LogicalType>,
    converted: ConvertedType,
) -> Result<Type, ParquetError> {
    let info = leaf.get_basic_info();
    let builder = Type::primitive_type_builder(leaf.name(), physical)
        .with_repetition(info.repetition())
        .with_length(length)
        .with_id(info.has_id().then(|| info.id()));
    match logical {
        Some(_) => builder.with_logical_type(logical).build(),
        None => builder.with_converted_type(converted).build(),
    }
}

fn length(leaf: &Type) -> i32 {
    match leaf {
        Type::PrimitiveType { type_length, .. } => *type_length,
        Type::GroupType { .. } => -1,
    }
}

/// The Parquet schema of a file of rows of `schema`: the one place that says how a column is
/// written.
pub(crate) fn parquet_schema(schema: &Schema) -> Result<SchemaDescriptor, ParquetError> {
    let named: Vec<FieldRef> = schema.fields().iter().map(form::renamed).collect();
    let plain = ArrowSchemaConverter::new().convert(&Schema::new(named))?;
    let mut kept = Vec::new();
    map_all(schema.fields(), &mut |leaf| {
        kept.push(note(leaf));
        Arc::clone(leaf)
    });
    let plain = with_shapes(with_variants(plain, schema)?, schema)?;
    if kept.iter().all(Option::is_none) {
        return Ok(plain);
    }
    with_leaves(&plain, &|i, leaf| {
        let Some(kept) = kept.get(i).and_then(Option::as_ref) else {
            return Ok(None);
        };
        match kept {
            Kept::Int96 => Ok(None),
            Kept::Converted => before_logical_types(leaf),
            Kept::Interval => annotated(
                leaf,
                Physical::FIXED_LEN_BYTE_ARRAY,
                12,
                None,
                ConvertedType::INTERVAL,
            )
            .map(Some),
            Kept::Date => annotated(
                leaf,
                Physical::INT32,
                -1,
                Some(LogicalType::Date),
                ConvertedType::NONE,
            )
            .map(Some),
            _ => annotated(
                leaf,
                leaf.get_physical_type(),
                length(leaf),
                kept.logical(leaf),
                ConvertedType::NONE,
            )
            .map(Some),
        }
    })
}

/// A time annotated as before logical types, if there was a way for its unit: a column that is
/// united with others may have another.
fn before_logical_types(leaf: &Type) -> Result<Option<Type>, ParquetError> {
    use ConvertedType as C;
    let converted = match leaf.get_basic_info().logical_type_ref() {
        Some(LogicalType::Timestamp(t)) => match t.unit {
            TimeUnitOfParquet::MILLIS => C::TIMESTAMP_MILLIS,
            TimeUnitOfParquet::MICROS => C::TIMESTAMP_MICROS,
            TimeUnitOfParquet::NANOS => return Ok(None),
        },
        Some(LogicalType::Time(t)) => match t.unit {
            TimeUnitOfParquet::MILLIS => C::TIME_MILLIS,
            TimeUnitOfParquet::MICROS => C::TIME_MICROS,
            TimeUnitOfParquet::NANOS => return Ok(None),
        },
        _ => return Ok(None),
    };
    annotated(leaf, leaf.get_physical_type(), -1, None, converted).map(Some)
}

fn with_variants(
    plain: SchemaDescriptor,
    schema: &Schema,
) -> Result<SchemaDescriptor, ParquetError> {
    let is_variant = |f: &FieldRef| matches!(note(f), Some(Kept::Variant { .. }));
    if !schema.fields().iter().any(is_variant) {
        return Ok(plain);
    }
    let root = plain.root_schema();
    let column = |(parquet, field): (&TypePtr, &FieldRef)| match note(field) {
        Some(kept @ Kept::Variant { .. }) if parquet.is_group() => group(
            parquet,
            parquet.get_fields().to_vec(),
            kept.logical(parquet),
        ),
        _ => Ok(Arc::clone(parquet)),
    };
    let columns = root
        .get_fields()
        .iter()
        .zip(schema.fields())
        .map(column)
        .collect::<Result<_, _>>()?;
    Ok(SchemaDescriptor::new(group(root, columns, None)?))
}

fn with_shapes(plain: SchemaDescriptor, schema: &Schema) -> Result<SchemaDescriptor, ParquetError> {
    if !schema.fields().iter().any(|f| shape::is_noted(f)) {
        return Ok(plain);
    }
    let root = plain.root_schema();
    let columns = root.get_fields().iter().zip(schema.fields());
    let columns = columns.map(|(parquet, field)| shape::shaped(parquet, field));
    let columns = columns.collect::<Result<_, _>>()?;
    Ok(SchemaDescriptor::new(group(root, columns, None)?))
}

/// The Arrow schema that goes into a file of rows of `schema`: of the types that its writers gave
/// it. What is noted of its leaves is in the file itself. The pairs are in both: pyarrow looks here
/// alone.
pub(crate) fn embedded(schema: &Schema) -> Schema {
    let mut without = |field: &FieldRef| {
        if ![KEY, BLOOM]
            .iter()
            .any(|key| field.metadata().contains_key(key))
        {
            return Arc::clone(field);
        }
        let mut metadata = field.metadata().clone();
        metadata.remove(KEY);
        metadata.remove(BLOOM);
        Arc::new(Field::clone(field).with_metadata(metadata))
    };
    let leaves = map_all(schema.fields(), &mut without);
    Schema::new_with_metadata(
        leaves
            .iter()
            .map(|field| form::restored(&without(field)))
            .collect::<Vec<_>>(),
        pairs::written(schema.metadata()),
    )
}

/// The schema to decode a file by where it has intervals: as bytes, but for those that its writer
/// had as an Arrow type, of which `hints` tells.
pub(crate) fn without_intervals(
    schema: &SchemaDescriptor,
    hints: Option<&Schema>,
) -> Result<Option<SchemaDescriptor>, ParquetError> {
    let hints = hints
        .map(|h| types(h.fields()))
        .filter(|h| h.len() == schema.num_columns())
        .unwrap_or_default();
    let is_bytes = |i: usize, leaf: &Type| {
        is_interval(leaf) && !matches!(hints.get(i), Some(DataType::Interval(_)))
    };
    if !schema
        .columns()
        .iter()
        .enumerate()
        .any(|(i, c)| is_bytes(i, c.self_type()))
    {
        return Ok(None);
    }
    let plain = |i: usize, leaf: &Type| {
        is_bytes(i, leaf)
            .then(|| {
                annotated(
                    leaf,
                    Physical::FIXED_LEN_BYTE_ARRAY,
                    length(leaf),
                    None,
                    ConvertedType::NONE,
                )
            })
            .transpose()
    };
    with_leaves(schema, &plain).map(Some)
}

/// Whether all decimals of `batch` fit into as many bytes as their precision is written in. In the
/// file they came from there may have been more.
///
/// # Errors
/// The column with one that does not, in a sentence.
pub fn check_decimals(batch: &RecordBatch) -> Result<(), String> {
    match batch
        .schema_ref()
        .fields()
        .iter()
        .zip(batch.columns())
        .find(|(_, array)| !decimals_fit(array))
    {
        None => Ok(()),
        Some((field, _)) => {
            let what = "holds decimals with more digits than its type has";
            Err(format!(
                "column `{}` {what}: icepack cannot keep it unchanged; the file is left alone",
                field.name()
            ))
        }
    }
}

fn decimals_fit(array: &dyn Array) -> bool {
    use DataType as T;
    match array.data_type() {
        T::Decimal128(..=9, _) => array
            .as_primitive::<Decimal128Type>()
            .iter()
            .flatten()
            .all(|v| i32::try_from(v).is_ok()),
        T::Decimal128(..=18, _) => array
            .as_primitive::<Decimal128Type>()
            .iter()
            .flatten()
            .all(|v| i64::try_from(v).is_ok()),
        T::Decimal128(p, _) => array
            .as_primitive::<Decimal128Type>()
            .validate_decimal_precision(*p)
            .is_ok(),
        T::Decimal256(p, _) => array
            .as_primitive::<Decimal256Type>()
            .validate_decimal_precision(*p)
            .is_ok(),
        T::List(_) => decimals_fit(array.as_list::<i32>().values()),
        T::LargeList(_) => decimals_fit(array.as_list::<i64>().values()),
        T::FixedSizeList(..) => decimals_fit(array.as_fixed_size_list().values()),
        T::Struct(_) => array.as_struct().columns().iter().all(|a| decimals_fit(a)),
        T::Map(..) => array
            .as_map()
            .entries()
            .columns()
            .iter()
            .all(|a| decimals_fit(a)),
        T::Dictionary(..) => decimals_fit(array.as_any_dictionary().values()),
        _ => true,
    }
}

/// Whether a leaf is an interval.
pub(crate) fn is_interval(leaf: &Type) -> bool {
    leaf.get_basic_info().converted_type() == ConvertedType::INTERVAL
}
