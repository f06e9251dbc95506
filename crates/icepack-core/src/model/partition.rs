//! Columns whose values are in the names of folders and in no file, as Hive keeps them:
//! `dt=2026-10-01`.

use percent_encoding::percent_decode_str;

use super::names::Tenant;

/// A folder's value where a row has none. Escaped in any way, it is a text like others.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Columns and their values, in the order of the folders.
pub type Partition = Vec<(String, Option<String>)>;

/// `key=value`, as engines find it in a path, and as it is written there.
pub fn split(folder: &str) -> Option<(&str, &str)> {
    folder.split_once('=').filter(|(key, _)| !key.is_empty())
}

/// What the folders of `key` that are not its tenant's own say of its rows. Escapes are of bytes of
/// UTF-8, as everybody reads and writes them; Hive and Spark escape only ASCII.
///
/// # Errors
/// The folder `key=value` that is no text.
pub fn of<'k>(tenant: &Tenant, key: &'k str) -> Result<Partition, &'k str> {
    let text = |escaped| {
        let text = percent_decode_str(escaped).decode_utf8();
        text.map(std::borrow::Cow::into_owned)
    };
    let column = |(folder, (name, value))| {
        let value = match value {
            // Delta knows no empty text here.
            NULL | "" => Ok(None),
            value => text(value).map(Some),
        };
        text(name)
            .and_then(|name| Ok((name, value?)))
            .map_err(|_| folder)
    };
    tenant
        .open_folders(key)
        .filter_map(|folder| Some((folder, split(folder)?)))
        .map(column)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::layout::Layout;

    #[test]
    fn folders_are_read_as_engines_read_them() {
        let tenant = Tenant::parse("a=b").unwrap();
        let value = |folder: &str| {
            let found = of(&tenant, &format!("a=b/x/k={folder}/=y/f=g.parquet")).unwrap();
            assert_eq!((found.len(), found[0].0.as_str()), (1, "k"), "{found:?}");
            found[0].1.clone()
        };
        // As DuckDB, Polars and pyarrow read them, but for the empty text.
        for (folder, expected) in [
            ("2026-10-01", "2026-10-01"),
            ("007", "007"),
            ("NULL", "NULL"),
            ("a b", "a b"),
            ("x=y", "x=y"),
            ("12%3A30", "12:30"),
            ("a%2fb", "a/b"),
            ("a%25b", "a%b"),
            ("%2B+", "++"),
            ("%C3%BC", "ü"),
            ("ü", "ü"),
            ("50%", "50%"),
            ("%zz", "%zz"),
            ("%5F_HIVE_DEFAULT_PARTITION__", NULL),
        ] {
            assert_eq!(value(folder).as_deref(), Some(expected), "{folder}");
        }
        assert_eq!((value(NULL), value("")), (None, None));
        assert_eq!(of(&tenant, "a=b/f=g.parquet"), Ok(Vec::new()));
        let two = of(&tenant, "a=b/b=1/x/%61=2/f").unwrap();
        let expected = [("b", "1"), ("a", "2")].map(|(k, v)| (k.to_owned(), Some(v.to_owned())));
        assert_eq!(two, expected, "in their order");
        let layout = Layout::parse("*/t={tenant}/**").unwrap();
        let of_day = of(&tenant.clone().within(&layout), "dt=1/t=a=b/h=2/f").unwrap();
        let names: Vec<_> = of_day.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["dt", "h"], "`t` is the tenant");
        assert_eq!(of(&tenant, "a=b/k=1/l=%FF/f"), Err("l=%FF"));
        assert_eq!(of(&tenant, "a=b/%FF=1/f"), Err("%FF=1"));
    }
}
