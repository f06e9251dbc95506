//! The columns of a file, as receipts and manifests describe them, for people and tools that do not
//! open the file.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    /// Its Arrow type, as Arrow writes it: `Utf8`, `Timestamp(µs)`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it may hold nulls.
    pub nullable: bool,
}

/// The columns of a file, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TableSchema(pub Vec<Column>);

impl TableSchema {
    /// What a manifest calls it. Equal schemas have equal ids; the other way round it is a hash,
    /// and nothing but the text of a receipt rests on it.
    pub fn id(&self) -> SchemaId {
        let mut text = String::new();
        for c in &self.0 {
            // Lengths, so that no name can pass for the border between two columns.
            text.push_str(&format!(
                "{}:{}{}:{}{}",
                c.name.len(),
                c.name,
                c.kind.len(),
                c.kind,
                u8::from(c.nullable)
            ));
        }
        SchemaId(xxh3_64(text.as_bytes()))
    }
}

/// Names a schema within a manifest: 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaId(pub u64);

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for SchemaId {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let id = u64::from_str_radix(s, 16)
            .map(Self)
            .map_err(|e| format!("`{s}` is not a schema's id: {e}"))?;
        if id.to_string() == s {
            Ok(id)
        } else {
            Err(format!(
                "`{s}` is not a schema's id: 16 hex digits expected"
            ))
        }
    }
}

impl Serialize for SchemaId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SchemaId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: &str) -> Column {
        Column {
            name: name.into(),
            kind: kind.into(),
            nullable: false,
        }
    }

    #[test]
    fn an_id_tells_schemas_apart_and_reads_back() {
        let a = TableSchema(vec![column("a", "Utf8"), column("b", "Int64")]);
        let swapped = TableSchema(vec![column("b", "Int64"), column("a", "Utf8")]);
        let glued = TableSchema(vec![column("aUtf8", ""), column("b", "Int64")]);
        assert_ne!(a.id(), swapped.id());
        assert_ne!(a.id(), glued.id());
        assert_eq!(a.id().to_string().parse(), Ok(a.id()));
        assert!(
            "1".parse::<SchemaId>().is_err() && "+000000000000001".parse::<SchemaId>().is_err()
        );
    }
}
