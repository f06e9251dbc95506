//! Key-value pairs that another program wrote into a footer. A pair that all files of a merge have
//! alike is kept, unless it would be wrong for the merged rows.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field, Metadata, Schema};
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

/// What GeoParquet says of geometries that stand in columns of bytes.
const GEO: &str = "geo";

/// Spark's: times before the Gregorian calendar are to be moved.
const LEGACY_TIMES: &str = "org.apache.spark.legacyDateTime";

/// The same of INT96.
pub(crate) const LEGACY_INT96: &str = "org.apache.spark.legacyINT96";

/// Where a schema notes that its file has no Arrow schema: readers that know Arrow would show other
/// types if it got one. Never written to a file.
const BARE: &str = "icepack.bare";

/// Those of a file that are neither ours nor Arrow's schema; with a note where it has none of
/// Arrow's.
pub(crate) fn of_file(metadata: &Metadata, has_arrow_schema: bool) -> Metadata {
    let mut own = own(metadata);
    own.remove(BARE);
    if !has_arrow_schema {
        own.insert(BARE, String::new());
    }
    own
}

/// Whether none of the files that a schema was made of has an Arrow schema.
pub(crate) fn is_bare(metadata: &Metadata) -> bool {
    metadata.contains_key(BARE)
}

/// Those that are neither ours nor Arrow's schema, and the note.
pub(crate) fn own(metadata: &Metadata) -> Metadata {
    let mut own = metadata.clone();
    own.retain(|key, _| {
        key == BARE || (key != ARROW_SCHEMA_META_KEY && !key.starts_with("icepack."))
    });
    own
}

/// Those that are written.
pub(crate) fn written(metadata: &Metadata) -> Metadata {
    let mut written = metadata.clone();
    written.remove(BARE);
    written
}

/// What is said of the rows of files that say `ours` and have `columns`, and of one more.
///
/// # Errors
/// Why rows of both would not mean what they mean now, in a sentence.
pub(crate) fn joined(
    ours: &Metadata,
    columns: &[Field],
    file: &Schema,
) -> Result<Metadata, String> {
    let theirs = own(file.metadata());
    if ours.get(LEGACY_TIMES) != theirs.get(LEGACY_TIMES) {
        return Err(format!(
            "its key `{LEGACY_TIMES}` says how its times are meant, and the files before it say \
             otherwise"
        ));
    }
    let mut joined = ours.clone();
    joined.retain(|key, value| theirs.get(key) == Some(&*value));
    let is_it = |field: &Field, name: &str| field.name().to_lowercase() == name.to_lowercase();
    let has_column = |name: &str| columns.iter().any(|c| is_it(c, name));
    let file_has = |name: &str| file.fields().iter().any(|f| is_it(f, name));
    let geo = match (ours.get(GEO), theirs.get(GEO)) {
        (None, None) => None,
        (Some(a), Some(b)) => Some(
            both(a, b)
                .ok_or("its key `geo` says other things of a geometry than the files before it")?,
        ),
        (Some(a), None) => Some(alone(a, &file_has)?),
        (None, Some(b)) => Some(alone(b, &has_column)?),
    };
    joined.extend(geo.map(|geo| (GEO, geo)));
    Ok(joined)
}

/// What the pairs of a file say of `column` that keeps it apart from others of its type, for people.
pub(crate) fn meanings(pairs: &Metadata, column: &Field) -> Vec<String> {
    let geo = pairs.get(GEO).and_then(|geo| {
        let mut parsed: Value = serde_json::from_str(geo).ok()?;
        take_own(&mut parsed)?;
        parsed.get("columns")?.get(column.name())?;
        let said = serde_json::to_string(&parsed).ok()?;
        Some(format!("geo {:016x}", xxh3_64(said.as_bytes())))
    });
    let legacy = pairs
        .get(LEGACY_TIMES)
        .filter(|_| has_days(column.data_type()));
    let legacy = legacy.map(|said| format!("legacyDateTime {said}").trim_end().to_owned());
    geo.into_iter().chain(legacy).collect()
}

/// Whether some of its values are days, with or without a time.
fn has_days(data_type: &DataType) -> bool {
    use DataType as T;
    match data_type {
        T::Timestamp(..) | T::Date32 | T::Date64 => true,
        T::List(f)
        | T::LargeList(f)
        | T::ListView(f)
        | T::LargeListView(f)
        | T::FixedSizeList(f, _)
        | T::Map(f, _) => has_days(f.data_type()),
        T::Struct(fields) => fields.iter().any(|f| has_days(f.data_type())),
        _ => false,
    }
}

/// What one file says, where the others have none of its geometries.
fn alone(geo: &str, has_column: &dyn Fn(&str) -> bool) -> Result<String, String> {
    let other = || {
        "its key `geo` is missing in other files with the same geometries, or they in it".to_owned()
    };
    let parsed: Value =
        serde_json::from_str(geo).map_err(|e| format!("its key `geo` cannot be read: {e}"))?;
    let columns = parsed
        .get("columns")
        .and_then(Value::as_object)
        .ok_or_else(other)?;
    if columns.keys().any(|name| has_column(name)) {
        Err(other())
    } else {
        Ok(geo.to_owned())
    }
}

/// What two files say. Bounds and kinds of geometries are of a file's own rows; both are optional.
fn both(a: &str, b: &str) -> Option<String> {
    if a == b {
        return Some(a.to_owned());
    }
    let (mut x, mut y): (Value, Value) =
        (serde_json::from_str(a).ok()?, serde_json::from_str(b).ok()?);
    let (kinds, others) = (take_own(&mut x)?, take_own(&mut y)?);
    if x != y {
        return None;
    }
    for (name, column) in x.get_mut("columns")?.as_object_mut()? {
        // An empty list stands for any.
        let known = kinds.get(name).filter(|k| others.get(name) == Some(*k));
        column.as_object_mut()?.insert(
            "geometry_types".to_owned(),
            known.cloned().unwrap_or_else(|| Value::Array(Vec::new())),
        );
    }
    serde_json::to_string(&x).ok()
}

/// Takes out what is said of the file's own rows, and gives the kinds of geometries by column.
fn take_own(geo: &mut Value) -> Option<BTreeMap<String, Value>> {
    let mut kinds = BTreeMap::new();
    for (name, column) in geo.get_mut("columns")?.as_object_mut()? {
        let column = column.as_object_mut()?;
        column.remove("bbox");
        kinds.insert(
            name.clone(),
            column
                .remove("geometry_types")
                .unwrap_or_else(|| Value::Array(Vec::new())),
        );
    }
    Some(kinds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GEOMETRY: &str = r#"{"columns":{"g":{"bbox":[0,1],"encoding":"WKB","geometry_types":["Point"]}},"primary_column":"g","version":"1.1.0"}"#;

    fn file(columns: &[&str], pairs: &[(&str, &str)]) -> Schema {
        let fields: Vec<Field> = columns
            .iter()
            .map(|c| Field::new(*c, DataType::Binary, true))
            .collect();
        Schema::new_with_metadata(fields, pairs.iter().copied().collect::<Metadata>())
    }

    fn join(a: &Schema, b: &Schema) -> Result<BTreeMap<String, String>, String> {
        let columns: Vec<Field> = a.fields().iter().map(|f| Field::clone(f)).collect();
        joined(&own(a.metadata()), &columns, b)
            .map(|found| found.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn what_all_say_goes_on_and_ours_does_not() {
        let a = file(
            &[],
            &[
                ("x", "1"),
                ("y", "1"),
                ("icepack.run", "r"),
                (ARROW_SCHEMA_META_KEY, "s"),
            ],
        );
        let b = file(
            &[],
            &[
                ("x", "1"),
                ("y", "2"),
                ("icepack.run", "r"),
                (ARROW_SCHEMA_META_KEY, "s"),
            ],
        );
        assert_eq!(join(&a, &b).unwrap(), pairs(&[("x", "1")]));
    }

    #[test]
    fn geometries_of_one_kind_go_together_without_their_bounds() {
        let other = GEOMETRY.replace("[0,1]", "[5,7]");
        let want = r#"{"columns":{"g":{"encoding":"WKB","geometry_types":["Point"]}},"primary_column":"g","version":"1.1.0"}"#;
        assert_eq!(
            join(
                &file(&["g"], &[(GEO, GEOMETRY)]),
                &file(&["g"], &[(GEO, &other)])
            )
            .unwrap(),
            pairs(&[(GEO, want)])
        );
        let want = want.replace("[\"Point\"]", "[]");
        assert_eq!(
            join(
                &file(&["g"], &[(GEO, GEOMETRY)]),
                &file(&["g"], &[(GEO, &other.replace("Point", "Polygon"))])
            )
            .unwrap(),
            pairs(&[(GEO, &want)])
        );
    }

    #[test]
    fn geometries_that_would_mean_something_else_do_not_go_together() {
        let with = file(&["g"], &[(GEO, GEOMETRY)]);
        let crs = GEOMETRY.replace("\"encoding\"", "\"crs\":null,\"encoding\"");
        assert_eq!(
            join(&with, &file(&["g"], &[(GEO, &crs)])).unwrap_err(),
            "its key `geo` says other things of a geometry than the files before it"
        );
        let missing =
            "its key `geo` is missing in other files with the same geometries, or they in it";
        assert_eq!(join(&with, &file(&["g"], &[])).unwrap_err(), missing);
        assert_eq!(join(&file(&["g"], &[]), &with).unwrap_err(), missing);
        assert_eq!(
            join(&with, &file(&["a"], &[])).unwrap(),
            pairs(&[(GEO, GEOMETRY)])
        );
        assert_eq!(
            join(&file(&["a"], &[]), &with).unwrap(),
            pairs(&[(GEO, GEOMETRY)])
        );
    }

    #[test]
    fn times_of_two_calendars_do_not_go_together() {
        let why = "its key `org.apache.spark.legacyDateTime` says how its times are meant, and \
                   the files before it say otherwise";
        assert_eq!(
            join(&file(&[], &[(LEGACY_TIMES, "")]), &file(&[], &[])).unwrap_err(),
            why
        );
        assert_eq!(
            join(&file(&[], &[]), &file(&[], &[(LEGACY_TIMES, "")])).unwrap_err(),
            why
        );
    }
}
