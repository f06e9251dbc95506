//! The forms of lists and maps in a file.
//!
//! The standard has three levels: a list or a map, a repeated group, and the element or the pair in
//! it. Older writers have two, or one, or call the repeated group otherwise. All are the same to
//! Arrow, with the same levels of definition and repetition where an element is never null. So they
//! are written as their inputs had them, where all of them had them so. Source: the Parquet format's `LogicalTypes.md`,
//! "Backward-compatibility rules".

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use parquet::basic::{ConvertedType, LogicalType, Repetition};
use parquet::errors::ParquetError;
use parquet::schema::types::{Type, TypePtr};
use serde::{Deserialize, Serialize};

use super::leaf::group;

/// Where the element of a list, or the pairs of a map, note how it lies in its file, where that is
/// not the way of today. Never written to a file.
pub(crate) const KEY: &str = "icepack.list";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Shape {
    /// A field that is repeated, and that no list is around.
    Repeated,
    /// A list of which the repeated field is the element.
    TwoLevels,
    /// A list or a map whose repeated group has this name, and may be annotated: as a list, or as
    /// the pairs of a map.
    Group { name: String, is_annotated: bool },
}

/// `field` with notes of how its lists lie in `tree`, which it was read from.
pub(crate) fn noted(field: &FieldRef, tree: &Type) -> FieldRef {
    use DataType as T;
    let list = |part: &FieldRef| element(part, tree);
    let data_type = match field.data_type() {
        T::List(part) => list(part).map(T::List),
        T::LargeList(part) => list(part).map(T::LargeList),
        T::ListView(part) => list(part).map(T::ListView),
        T::LargeListView(part) => list(part).map(T::LargeListView),
        T::FixedSizeList(part, n) => list(part).map(|part| T::FixedSizeList(part, *n)),
        T::Struct(fields) => all(fields, tree).map(T::Struct),
        T::Map(entries, sorted) => match parts(tree) {
            [own] => Some(T::Map(pairs(entries, own), *sorted)),
            _ => None,
        },
        _ => None,
    };
    match data_type {
        Some(data_type) => Arc::new(Field::clone(field).with_data_type(data_type)),
        None => Arc::clone(field),
    }
}

fn all(fields: &Fields, tree: &Type) -> Option<Fields> {
    let trees = parts(tree);
    let pairs = fields.iter().zip(trees);
    (fields.len() == trees.len()).then(|| pairs.map(|(f, tree)| noted(f, tree)).collect())
}

/// The element `part` of the list `tree`.
fn element(part: &FieldRef, tree: &Type) -> Option<FieldRef> {
    let (shape, own) = of(tree)?;
    Some(with(&noted(part, own), shape))
}

/// The pairs of a map, which are `tree`.
fn pairs(entries: &FieldRef, tree: &Type) -> FieldRef {
    let is_annotated = tree.get_basic_info().converted_type() == ConvertedType::MAP_KEY_VALUE;
    let is_standard = tree.name() == "key_value" && !is_annotated;
    let shape = (!is_standard).then(|| Shape::Group {
        name: tree.name().to_owned(),
        is_annotated,
    });
    with(&noted(entries, tree), shape)
}

fn with(part: &FieldRef, shape: Option<Shape>) -> FieldRef {
    let mut metadata = part.metadata().clone();
    // What a file says under this name is not believed.
    metadata.remove(KEY);
    if let Some(note) = shape.and_then(|shape| serde_json::to_string(&shape).ok()) {
        metadata.insert(KEY, note);
    }
    Arc::new(Field::clone(part).with_metadata(metadata))
}

/// How the list `tree` lies, where that is to be noted, and the type of its element. The rules are
/// those by which the decoder reads it as a list.
fn of(tree: &Type) -> Option<(Option<Shape>, &Type)> {
    if repetition(tree) == Repetition::REPEATED && !is_list(tree) {
        return Some((Some(Shape::Repeated), tree));
    }
    let [middle] = parts(tree) else { return None };
    if repetition(middle) != Repetition::REPEATED {
        return None;
    }
    let [own] = parts(middle) else {
        return Some((Some(Shape::TwoLevels), middle));
    };
    let is_named_as_element =
        middle.name() == "array" || middle.name() == format!("{}_tuple", tree.name());
    if is_named_as_element && !is_list(middle) && repetition(own) != Repetition::REPEATED {
        return Some((Some(Shape::TwoLevels), middle));
    }
    let is_standard = middle.name() == "list" && !is_list(middle);
    let shape = (!is_standard).then(|| Shape::Group {
        name: middle.name().to_owned(),
        is_annotated: is_list(middle),
    });
    Some((shape, own))
}

/// `tree`, which is how `field` is written in three levels, as the notes say that it was.
///
/// # Errors
/// The Parquet crate's, where there is no such type.
pub(crate) fn shaped(tree: &TypePtr, field: &Field) -> Result<TypePtr, ParquetError> {
    use DataType as T;
    match field.data_type() {
        T::List(part)
        | T::LargeList(part)
        | T::ListView(part)
        | T::LargeListView(part)
        | T::FixedSizeList(part, _) => list(tree, part),
        T::Struct(fields) if fields.len() == parts(tree).len() => {
            let pairs = parts(tree).iter().zip(fields);
            let fields = pairs.map(|(tree, field)| shaped(tree, field));
            like(tree, fields.collect::<Result<_, _>>()?)
        }
        T::Map(entries, _) => match parts(tree) {
            [own] => {
                let own = shaped(own, entries)?;
                let own = match shape(entries) {
                    Some(Shape::Group { name, is_annotated }) => {
                        let annotation = is_annotated.then_some(ConvertedType::MAP_KEY_VALUE);
                        middle(&name, annotation, parts(&own).to_vec())?
                    }
                    _ => own,
                };
                like(tree, vec![own])
            }
            _ => Ok(Arc::clone(tree)),
        },
        _ => Ok(Arc::clone(tree)),
    }
}

fn list(tree: &TypePtr, part: &Field) -> Result<TypePtr, ParquetError> {
    let [group] = parts(tree) else {
        return Ok(Arc::clone(tree));
    };
    let [own] = parts(group) else {
        return Ok(Arc::clone(tree));
    };
    let own = shaped(own, part)?;
    let is_required = |tree: &Type| repetition(tree) == Repetition::REQUIRED;
    match shape(part) {
        // A list that may be null has a level of its own, and so has an element.
        Some(Shape::Repeated) if is_required(tree) && is_required(&own) && !is_list(&own) => {
            repeated(&own, tree.name(), tree)
        }
        Some(Shape::TwoLevels) if is_required(&own) => {
            like(tree, vec![repeated(&own, own.name(), &own)?])
        }
        Some(Shape::Group { name, is_annotated }) => {
            let annotation = is_annotated.then_some(ConvertedType::LIST);
            like(tree, vec![middle(&name, annotation, vec![own])?])
        }
        _ => like(tree, vec![like(group, vec![own])?]),
    }
}

fn shape(part: &Field) -> Option<Shape> {
    serde_json::from_str(part.metadata().get(KEY)?).ok()
}

/// A repeated group of this name.
fn middle(
    name: &str,
    annotation: Option<ConvertedType>,
    fields: Vec<TypePtr>,
) -> Result<TypePtr, ParquetError> {
    let group = Type::group_type_builder(name)
        .with_repetition(Repetition::REPEATED)
        .with_converted_type(annotation.unwrap_or(ConvertedType::NONE))
        .with_fields(fields)
        .build()?;
    Ok(Arc::new(group))
}

fn like(tree: &Type, fields: Vec<TypePtr>) -> Result<TypePtr, ParquetError> {
    group(
        tree,
        fields,
        tree.get_basic_info().logical_type_ref().cloned(),
    )
}

/// `own` as a repeated field with this name and the id of `id`.
fn repeated(own: &Type, name: &str, id: &Type) -> Result<TypePtr, ParquetError> {
    let (info, id) = (own.get_basic_info(), id.get_basic_info());
    let (converted, logical) = (info.converted_type(), info.logical_type_ref().cloned());
    let id = id.has_id().then(|| id.id());
    let tree = match own {
        Type::PrimitiveType {
            physical_type,
            type_length,
            scale,
            precision,
            ..
        } => Type::primitive_type_builder(name, *physical_type)
            .with_repetition(Repetition::REPEATED)
            .with_length(*type_length)
            .with_precision(*precision)
            .with_scale(*scale)
            .with_converted_type(converted)
            .with_logical_type(logical)
            .with_id(id)
            .build(),
        Type::GroupType { fields, .. } => Type::group_type_builder(name)
            .with_repetition(Repetition::REPEATED)
            .with_fields(fields.clone())
            .with_converted_type(converted)
            .with_logical_type(logical)
            .with_id(id)
            .build(),
    };
    tree.map(Arc::new)
}

/// Whether any list or map of `field` has a note.
pub(crate) fn is_noted(field: &Field) -> bool {
    use DataType as T;
    if field.metadata().contains_key(KEY) {
        return true;
    }
    match field.data_type() {
        T::List(part)
        | T::LargeList(part)
        | T::ListView(part)
        | T::LargeListView(part)
        | T::FixedSizeList(part, _)
        | T::Map(part, _) => is_noted(part),
        T::Struct(fields) => fields.iter().any(|f| is_noted(f)),
        _ => false,
    }
}

fn parts(tree: &Type) -> &[TypePtr] {
    if tree.is_group() {
        tree.get_fields()
    } else {
        &[]
    }
}

fn repetition(tree: &Type) -> Repetition {
    let info = tree.get_basic_info();
    if info.has_repetition() {
        info.repetition()
    } else {
        Repetition::REQUIRED
    }
}

fn is_list(tree: &Type) -> bool {
    let info = tree.get_basic_info();
    info.logical_type_ref() == Some(&LogicalType::List)
        || info.converted_type() == ConvertedType::LIST
}
