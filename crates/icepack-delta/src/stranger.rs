//! Versions of a table that icepack did not write.
//!
//! To append is allowed: the file is a raw file like any other. Whoever takes files out has changed
//! rows that icepack keeps, and would find them again after the next pass.

use icepack_core::model::names::Key;

use super::paths;

/// How our versions say who wrote them: `icepack 0.1.0`.
const ENGINE: &str = "icepack ";

/// A version that somebody else wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    pub version: u64,
    /// What it says of itself: `DELETE by delta-rs:1.6.6`.
    pub name: String,
    /// Files that it took out, by their path in the table.
    pub removed: Vec<Key>,
    /// Files that it put in.
    pub added: Vec<Key>,
}

impl Stranger {
    /// Of a version that is not ours; none of one that is.
    pub fn of(name: &str, body: &[u8]) -> Option<Self> {
        let mut found = Self {
            version: paths::version(name)?,
            name: "written by an unknown engine".to_owned(),
            removed: Vec::new(),
            added: Vec::new(),
        };
        for line in lines(body) {
            if let Some(info) = line.get("commitInfo") {
                let told = |key: &str| info.get(key).and_then(|v| v.as_str());
                let engine = told("engineInfo").or_else(|| told("clientVersion"));
                if engine.is_some_and(|e| e.starts_with(ENGINE)) {
                    return None;
                }
                let operation = told("operation").unwrap_or("a change");
                found.name = format!("{operation} by {}", engine.unwrap_or("an unknown engine"));
            }
            let path = |action: &str| paths::decode(line.get(action)?.get("path")?.as_str()?);
            found.removed.extend(path("remove"));
            found.added.extend(path("add"));
        }
        Some(found)
    }

    /// What it did, and what to do: it took out `kept` files that are still there, first `first`.
    /// `prefix` comes before paths, and `log` is the table's log.
    pub fn told(&self, prefix: &str, first: &str, kept: usize, log: &str) -> String {
        let (version, name) = (self.version, &self.name);
        let added = self.added.first().map_or(String::new(), |first| {
            format!(
                ", and put in {} (first `{prefix}{first}`)",
                files(self.added.len())
            )
        });
        format!(
            "version {version} of its table, {name}, took out {} that icepack keeps (first \
             `{prefix}{first}`){added}. To undo it, move what it put in out of the store, remove \
             `{log}/` and run again: the table is made anew. To keep it, copy what the table shows \
             to another place first",
            files(kept)
        )
    }
}

/// `1 file`, `3 files`.
fn files(n: usize) -> String {
    if n == 1 {
        "1 file".to_owned()
    } else {
        format!("{n} files")
    }
}

/// The actions of a version, as far as they can be read.
pub fn lines(body: &[u8]) -> impl Iterator<Item = serde_json::Value> {
    let lines = body.split(|b| *b == b'\n');
    lines.filter_map(|line| serde_json::from_slice(line).ok())
}

/// The version that the application `id` has by a version of ours; none where it says nothing of
/// it, or is not ours.
pub fn application(body: &[u8], id: &str) -> Option<u64> {
    if Stranger::of("00000000000000000000.json", body).is_some() {
        return None;
    }
    let mut found = lines(body).filter_map(|line| {
        let app = line.get("txn")?;
        (app.get("appId")?.as_str()? == id).then(|| app.get("version")?.as_u64())?
    });
    found.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wrote_a_version_and_what_it_changed() {
        let name = "00000000000000000007.json";
        let ours = br#"{"commitInfo":{"operation":"WRITE","engineInfo":"icepack 0.1.0"}}
{"txn":{"appId":"icepack/acme","version":3}}
{"remove":{"path":"a.parquet"}}"#;
        assert_eq!(Stranger::of(name, ours), None);
        assert_eq!(application(ours, "icepack/acme"), Some(3));
        assert_eq!(application(ours, "icepack/b"), None);
        let theirs = br#"{"add":{"path":"part%201.parquet"}}
{"remove":{"path":"a.parquet"}}
{"commitInfo":{"operation":"DELETE","engineInfo":"delta-rs:1.6.6"}}"#;
        let found = Stranger::of(name, theirs).unwrap();
        assert_eq!(
            (found.version, &*found.name),
            (7, "DELETE by delta-rs:1.6.6")
        );
        assert_eq!(
            (&*found.removed[0], &*found.added[0]),
            ("a.parquet", "part 1.parquet")
        );
        assert_eq!(application(theirs, "icepack/acme"), None);
        assert!(
            Stranger::of(name, b"").is_some(),
            "nobody says that it is ours"
        );
    }
}
