//! The Arrow type that a writer gave a column, where rows are merged as another of the same values.
//!
//! A file's own Arrow schema says `LargeUtf8`, a dictionary or the zone Europe/Berlin, and readers
//! that know Arrow (pyarrow, pandas, Polars) show that type. To merge, all of them are one type, see
//! [`canonical`](super::canonical). What it was is noted in the metadata of the field, stays where
//! all files say the same, and is written again.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use serde::{Deserialize, Serialize};

use super::leaf::BLOOM;
use super::{canonical, canonical_by, shape};

/// Where a field notes it. Never written to a file.
pub(crate) const KEY: &str = "icepack.arrow";

/// Where a part of a list or a map notes the name that its writer gave it: `item`, where others say
/// `element`. Never written to a file.
const NAME: &str = "icepack.name";

/// How one type is laid out in Arrow, where that is not the canonical way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Form {
    LargeUtf8,
    Utf8View,
    LargeBinary,
    BinaryView,
    LargeList,
    ListView,
    LargeListView,
    /// A timestamp that is shown in another zone than UTC.
    Zone(String),
    /// A dictionary of values of this form, or of the canonical one.
    Dictionary {
        unsigned: bool,
        ordered: bool,
        values: Option<Box<Form>>,
    },
}

impl Form {
    fn of(field: &Field) -> Option<Self> {
        use DataType as T;
        Some(match field.data_type() {
            T::LargeUtf8 => Self::LargeUtf8,
            T::Utf8View => Self::Utf8View,
            T::LargeBinary => Self::LargeBinary,
            T::BinaryView => Self::BinaryView,
            T::LargeList(_) => Self::LargeList,
            T::ListView(_) => Self::ListView,
            T::LargeListView(_) => Self::LargeListView,
            T::Timestamp(_, Some(zone)) if &**zone != super::UTC => Self::Zone(zone.to_string()),
            T::Dictionary(key, values) => Self::Dictionary {
                unsigned: key.is_unsigned_integer(),
                ordered: field.dict_is_ordered() == Some(true),
                values: Self::of(&Field::new("", DataType::clone(values), true)).map(Box::new),
            },
            _ => return None,
        })
    }

    /// The type of this form for a canonical one. None where it is no form of that.
    fn applied(&self, to: &DataType) -> Option<DataType> {
        use DataType as T;
        Some(match (self, to) {
            (Self::LargeUtf8, T::Utf8) => T::LargeUtf8,
            (Self::Utf8View, T::Utf8) => T::Utf8View,
            (Self::LargeBinary, T::Binary) => T::LargeBinary,
            (Self::BinaryView, T::Binary) => T::BinaryView,
            (Self::LargeList, T::List(f)) => T::LargeList(Arc::clone(f)),
            (Self::ListView, T::List(f)) => T::ListView(Arc::clone(f)),
            (Self::LargeListView, T::List(f)) => T::LargeListView(Arc::clone(f)),
            (Self::Zone(zone), T::Timestamp(unit, Some(_))) => {
                T::Timestamp(*unit, Some(zone.as_str().into()))
            }
            (
                Self::Dictionary {
                    unsigned, values, ..
                },
                value,
            ) => {
                // Many files have more values than one: a key of 8 bits would not hold them.
                let key = if *unsigned { T::UInt32 } else { T::Int32 };
                let value = match values {
                    Some(form) => form.applied(value)?,
                    None => value.clone(),
                };
                T::Dictionary(Box::new(key), Box::new(value))
            }
            _ => return None,
        })
    }
}

/// `fields` with notes of what they are in `own`, where they are decoded as something else.
pub(crate) fn remembered(fields: &Fields, own: &Fields) -> Fields {
    let both = fields.iter().zip(own);
    both.map(|(field, own)| {
        if field.data_type() == own.data_type() {
            return Arc::clone(field);
        }
        let mut metadata = field.metadata().clone();
        metadata.extend(note(own));
        Arc::new(Field::clone(field).with_metadata(metadata))
    })
    .collect()
}

fn note(field: &Field) -> Option<(String, String)> {
    let form = serde_json::to_string(&Form::of(field)?).ok()?;
    Some((KEY.to_owned(), form))
}

/// `field` with its canonical type, and notes of what it was, at each level.
pub(crate) fn noted(field: &Field) -> Field {
    let data_type = canonical_by(field.data_type(), &|name, child| {
        Arc::new(named(child, name))
    });
    let mut metadata = field.metadata().clone();
    // A note is of the file, and the field may be what it is decoded as.
    if !metadata.contains_key(KEY) {
        metadata.extend(note(field));
    }
    Field::new(field.name(), data_type, field.is_nullable()).with_metadata(metadata)
}

/// `field`, noted, under the name that it has in the canonical form.
fn named(field: &Field, name: &str) -> Field {
    let noted = noted(field);
    // A note is of the file, and the name may be the canonical one already.
    if field.name() == name || noted.metadata().contains_key(NAME) {
        return noted.with_name(name);
    }
    let mut metadata = noted.metadata().clone();
    metadata.insert(NAME, field.name().as_str());
    noted.with_name(name).with_metadata(metadata)
}

/// `field` with the names that its parts were given.
pub(crate) fn renamed(field: &FieldRef) -> FieldRef {
    let own = without(field, &[], &renamed);
    Arc::new(match field.metadata().get(NAME) {
        Some(name) => own.with_name(name.as_str()),
        None => own,
    })
}

/// `field` as its notes say that it was, at each level, without them.
pub(crate) fn restored(field: &FieldRef) -> FieldRef {
    let bare = without(&renamed(field), &[KEY, NAME, shape::KEY], &restored);
    // A restore writes rows of the type that they are decoded as.
    let plain = match bare.data_type() {
        nested if nested.is_nested() => nested.clone(),
        leaf => canonical(leaf),
    };
    let Some((form, data_type)) = form(field).and_then(|f| f.applied(&plain).map(|t| (f, t)))
    else {
        return Arc::new(bare);
    };
    let is_ordered = matches!(form, Form::Dictionary { ordered: true, .. });
    Arc::new(
        bare.with_data_type(data_type)
            .with_dict_is_ordered(is_ordered),
    )
}

/// Whether the column was a dictionary to all its writers.
pub(crate) fn is_dictionary(field: &Field) -> bool {
    matches!(form(field), Some(Form::Dictionary { .. }))
}

/// The note of two fields that become one, where they say it differently and readers do not see that:
/// keys and values of a dictionary may be of any width.
pub(crate) fn joined(a: &Field, b: &Field) -> Option<(String, String)> {
    let (
        Some(Form::Dictionary {
            unsigned,
            ordered,
            values,
        }),
        Some(Form::Dictionary {
            unsigned: others_unsigned,
            ordered: others_ordered,
            values: others,
        }),
    ) = (form(a), form(b))
    else {
        return None;
    };
    let both = Form::Dictionary {
        unsigned: unsigned && others_unsigned,
        ordered,
        values: values.filter(|v| others.as_ref() == Some(v)),
    };
    let note = serde_json::to_string(&both).ok()?;
    (ordered == others_ordered).then(|| (KEY.to_owned(), note))
}

fn form(field: &Field) -> Option<Form> {
    serde_json::from_str(field.metadata().get(KEY)?).ok()
}

/// `field` without the notes at any level that tell nothing of its values.
pub(crate) fn bare(field: &FieldRef) -> FieldRef {
    Arc::new(without(field, &[KEY, NAME, BLOOM, shape::KEY], &bare))
}

fn without(field: &FieldRef, keys: &[&str], child: &dyn Fn(&FieldRef) -> FieldRef) -> Field {
    use DataType as T;
    let data_type = match field.data_type() {
        T::List(f) => T::List(child(f)),
        T::FixedSizeList(f, n) => T::FixedSizeList(child(f), *n),
        T::Map(f, sorted) => T::Map(child(f), *sorted),
        T::Struct(fields) => T::Struct(fields.iter().map(child).collect()),
        other => other.clone(),
    };
    let mut metadata = field.metadata().clone();
    for key in keys {
        metadata.remove(key);
    }
    Field::new(field.name(), data_type, field.is_nullable()).with_metadata(metadata)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Schema, TimeUnit};

    use super::super::{Columns, UnionSchema, described};
    use super::*;
    use crate::leaf::embedded;
    use icepack_core::model::time_column::TimeColumn;

    fn list_of(name: &str, data_type: DataType) -> FieldRef {
        Arc::new(Field::new(name, data_type, true))
    }

    fn dictionary(key: DataType, value: DataType) -> DataType {
        DataType::Dictionary(Box::new(key), Box::new(value))
    }

    fn file(fields: Vec<Field>) -> Schema {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Berlin".into()));
        let mut all = vec![Field::new("timestamp", time, false)];
        all.extend(fields);
        Schema::new(all)
    }

    fn united(files: &[&Schema]) -> Schema {
        let mut union = UnionSchema::new(&Columns {
            timestamp: TimeColumn::default(),
            ids: Vec::new(),
        });
        for file in files {
            union.add(file).unwrap();
        }
        Schema::clone(&union.finish())
    }

    /// A column of each form, also inside of others.
    fn forms() -> Vec<Field> {
        use DataType as T;
        let pair: Fields = vec![
            Field::new("a", T::LargeUtf8, true),
            Field::new("b", T::LargeList(list_of("element", T::Utf8View)), true),
        ]
        .into();
        vec![
            Field::new("large", T::LargeUtf8, true),
            Field::new("view", T::Utf8View, true),
            Field::new("bytes", T::LargeBinary, false),
            Field::new("byte_view", T::BinaryView, true),
            Field::new("word", dictionary(T::Int32, T::Utf8), true),
            Field::new("level", dictionary(T::UInt32, T::LargeUtf8), true)
                .with_dict_is_ordered(true),
            Field::new("pair", T::Struct(pair), true),
            Field::new(
                "list_view",
                T::ListView(list_of("item", T::LargeUtf8)),
                true,
            ),
            Field::new("items", T::List(list_of("item", T::Int64)), true),
            Field::new("plain", T::Int64, true),
        ]
    }

    #[test]
    fn what_all_files_say_is_written_again() {
        let one = file(forms());
        let union = united(&[&one, &one]);
        for field in union.fields() {
            assert_eq!(
                bare(field).data_type(),
                &canonical(bare(field).data_type()),
                "rows are merged as one type"
            );
        }
        let written = embedded(&union);
        assert_eq!(written, one);
        assert_eq!(
            written.field_with_name("level").unwrap().dict_is_ordered(),
            Some(true)
        );
    }

    #[test]
    fn what_files_say_differently_is_written_in_the_canonical_form() {
        let plain = forms()
            .iter()
            .map(|f| Field::clone(&restored(&bare(&Arc::new(noted(f))))))
            .collect();
        let written = embedded(&united(&[&file(forms()), &file(plain)]));
        for field in written.fields().iter().skip(1) {
            assert_eq!(field.data_type(), &canonical(field.data_type()), "{field}");
        }
        assert!(written.field(0).data_type().to_string().contains("Berlin"));
    }

    #[test]
    fn the_parts_of_lists_and_maps_keep_their_names_where_all_files_say_the_same() {
        let list = |name: &str| {
            let inner = DataType::List(list_of(name, DataType::Int64));
            file(vec![Field::new(
                "x",
                DataType::List(list_of(name, inner)),
                true,
            )])
        };
        let paths = |files: &[&Schema]| {
            let written = crate::leaf::parquet_schema(&united(files)).unwrap();
            written.column(1).path().string()
        };
        assert_eq!(
            paths(&[&list("item"), &list("item")]),
            "x.list.item.list.item"
        );
        for files in [["item", "element"], ["element", "item"], ["item", "array"]] {
            assert_eq!(
                paths(&[&list(files[0]), &list(files[1])]),
                "x.list.element.list.element"
            );
        }
        let union = united(&[&list("item")]);
        assert_eq!(
            canonical(bare(&union.fields()[1]).data_type()),
            *bare(&union.fields()[1]).data_type(),
            "rows are merged under one name"
        );
        assert_eq!(described(&union), described(&united(&[&list("element")])));
    }

    #[test]
    fn dictionaries_of_other_keys_and_values_are_dictionaries() {
        use DataType as T;
        let of = |key, value, ordered| {
            let field = Field::new("w", dictionary(key, value), true);
            file(vec![field.with_dict_is_ordered(ordered)])
        };
        let written = |a: &Schema, b: &Schema| {
            let written = embedded(&united(&[a, b]));
            written.field_with_name("w").unwrap().clone()
        };
        let (pandas, polars) = (
            of(T::Int8, T::LargeUtf8, false),
            of(T::UInt32, T::Utf8, false),
        );
        for found in [written(&pandas, &polars), written(&polars, &pandas)] {
            assert_eq!(found.data_type(), &dictionary(T::Int32, T::Utf8));
        }
        assert_eq!(
            written(&polars, &polars).data_type(),
            &dictionary(T::UInt32, T::Utf8)
        );
        // An order is what a value means.
        let ordered = of(T::Int8, T::LargeUtf8, true);
        assert_eq!(written(&pandas, &ordered).data_type(), &T::Utf8);
        assert_eq!(written(&ordered, &ordered).dict_is_ordered(), Some(true));
    }

    #[test]
    fn a_column_that_some_files_lack_keeps_its_form() {
        let written = embedded(&united(&[&file(forms()), &file(vec![])]));
        assert_eq!(
            written.field_with_name("large").unwrap().data_type(),
            &DataType::LargeUtf8
        );
    }

    #[test]
    fn a_dictionary_has_room_for_the_words_of_all_files() {
        let small = file(vec![Field::new(
            "w",
            dictionary(DataType::Int8, DataType::Utf8),
            true,
        )]);
        let written = embedded(&united(&[&small, &small]));
        assert_eq!(
            written.field_with_name("w").unwrap().data_type(),
            &dictionary(DataType::Int32, DataType::Utf8)
        );
    }

    /// As a restore decodes and writes it.
    #[test]
    fn a_dictionary_that_is_decoded_as_text_comes_back() {
        let own = Field::new("w", dictionary(DataType::Int32, DataType::LargeUtf8), true);
        let decoded = Field::new("w", DataType::LargeUtf8, true);
        let fields = remembered(&vec![decoded].into(), &vec![own.clone()].into());
        assert_eq!(*restored(&fields[0]), own);
        assert_eq!(*restored(&Arc::new(noted(&fields[0]))), own);
    }

    #[test]
    fn what_manifests_tell_of_a_column_has_no_notes() {
        let noted = described(&united(&[&file(forms())]));
        let plain: Vec<_> = noted.0.iter().map(|c| c.kind.as_str()).collect();
        assert!(
            plain.iter().all(|kind| !kind.contains("icepack")),
            "{plain:?}"
        );
        assert_eq!(plain[1..3], ["Utf8", "Utf8"]);
    }
}
