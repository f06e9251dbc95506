//! Schemas that a merge found to be apart.

use serde::{Deserialize, Serialize};

use super::schema::SchemaId;

/// Two schemas of which no file holds the rows of both without loss, as a merge found. It is true
/// for ever: whoever does not know it reads the files once more, and finds it again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SchemasApart {
    /// The smaller id first. Twice the same where what keeps two files apart shows in no column:
    /// then no two files of that schema go together.
    pub schemas: (SchemaId, SchemaId),
    /// The column that keeps them apart. None where it is no single one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
}

impl SchemasApart {
    /// Of two schemas, in any order.
    pub fn of(a: SchemaId, b: SchemaId, column: Option<String>) -> Self {
        Self {
            schemas: (a.min(b), a.max(b)),
            column,
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
