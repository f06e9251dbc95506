//! Pairs of schemas whose files cannot be merged without loss, as a merge has found.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::names::Key;
use super::policy::Uniting;
use super::schema::SchemaId;

/// Two schemas of which no file holds the rows of both without loss, as a merge found. Whoever does
/// not know it reads the files once more, and finds it again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SchemasApart {
    /// The two schemas, the smaller id first. Twice the same id where two files of one schema
    /// cannot be merged, and no column shows why: then no two files of that schema are merged.
    pub schemas: (SchemaId, SchemaId),
    /// The column that differs. None where it is no single one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The rules under which it was found. Under rules that allow more, it must be found again.
    #[serde(default, skip_serializing_if = "Uniting::is_strict")]
    pub under: Uniting,
}

impl SchemasApart {
    /// The pair of two schemas, in any order.
    pub fn of(a: SchemaId, b: SchemaId, column: Option<String>, under: Uniting) -> Self {
        Self {
            schemas: (a.min(b), a.max(b)),
            column,
            under,
        }
    }

    /// The schema that `schema` is apart from, where it is one of the two.
    pub fn other(&self, schema: SchemaId) -> Option<SchemaId> {
        let (a, b) = self.schemas;
        match schema {
            s if s == a => Some(b),
            s if s == b => Some(a),
            _ => None,
        }
    }
}

/// A folder whose snapshots are of several schema classes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderClasses {
    /// The folder, as in keys; empty where all files of the tenant may be merged with each other.
    pub folder: Key,
    /// How many classes there are.
    pub classes: usize,
    /// The columns that differ between the classes. Empty where no column shows it.
    pub columns: Vec<ColumnTypes>,
}

/// A column of which no type holds the values of all classes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnTypes {
    pub column: String,
    /// Its type in each class, as manifests tell it; none where a class does not have it.
    pub types: Vec<Option<String>>,
}

impl fmt::Display for FolderClasses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.folder.as_str() {
            "" => write!(f, "{} schema classes", self.classes)?,
            folder => write!(f, "`{folder}` has {} schema classes", self.classes)?,
        }
        for (n, c) in self.columns.iter().enumerate() {
            let types = c.types.iter().map(|t| t.as_deref().unwrap_or("missing"));
            let types: Vec<&str> = types.collect();
            let begin = if n == 0 { ":" } else { ";" };
            write!(f, "{begin} `{}` is {}", c.column, types.join(" or "))?;
        }
        Ok(())
    }
}
