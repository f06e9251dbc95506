//! Texts that several reports share.

use icepack_core::model::apart::FolderClasses;

pub use crate::format::{about, count, minute, plural, row_time, second, size, took};

/// The line in place of an empty table. `wanted` are the tenants asked for.
pub fn no_tenants(wanted: &[String]) -> String {
    if wanted.is_empty() {
        "no tenants: a tenant is a folder with Parquet files right below the store".to_owned()
    } else {
        format!(
            "no tenant matches {}: `icepack status` lists them",
            wanted.join(" or ")
        )
    }
}

/// `3 get, 1 list`: what there is any of.
pub fn counted(kinds: &[(&str, u64)]) -> String {
    let parts: Vec<String> = kinds
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(kind, n)| format!("{} {kind}", count(*n)))
        .collect();
    parts.join(", ")
}

/// Folders of several schema classes that are told of a tenant.
const MOST_FOLDERS: usize = 3;

/// Folders of several schema classes, and what tells these apart: a line each.
pub fn classes(folders: &[FolderClasses]) -> Vec<String> {
    let told = folders.iter().take(MOST_FOLDERS).map(ToString::to_string);
    let more = folders.len().saturating_sub(MOST_FOLDERS) as u64;
    let rest =
        (more > 0).then(|| format!("{} more of several schema classes", plural(more, "folder")));
    told.chain(rest).collect()
}

/// Breaks sentences at blanks, so that no line is wider than `width`. Tables are broken by nobody,
/// nor is a word: a path in two parts cannot be copied.
pub fn wrap(text: &str, width: usize) -> String {
    let lines = text.lines().map(|line| {
        let bare = line.trim_start_matches(' ');
        // Columns have two blanks between them at least.
        if visible(line) <= width || bare.contains("  ") {
            return line.to_owned();
        }
        let indent = line.len() - bare.len();
        broken(bare, indent, width)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// One line as several, the first indented by `indent`, and the others by two more.
fn broken(line: &str, indent: usize, width: usize) -> String {
    let mut out = " ".repeat(indent);
    let mut at = indent;
    for (n, word) in line.split(' ').enumerate() {
        let wide = visible(word);
        if n > 0 && at + 1 + wide > width {
            let further = indent + 2;
            out.push('\n');
            out.push_str(&" ".repeat(further));
            at = further;
        } else if n > 0 {
            out.push(' ');
            at += 1;
        }
        out.push_str(word);
        at += wide;
    }
    out
}

/// Characters of a text that a terminal shows: not those that give it its colours.
fn visible(text: &str) -> usize {
    let mut parts = text.split("\x1b[");
    let first = parts.next().map_or(0, |p| p.chars().count());
    let coloured = parts.map(|p| {
        p.split_once('m')
            .map_or(0, |(_, rest)| rest.chars().count())
    });
    first + coloured.sum::<usize>()
}

/// Zero is shown as nothing, where a column is about what is unusual.
pub fn unless_zero(n: u64) -> String {
    if n == 0 { String::new() } else { count(n) }
}

#[cfg(test)]
mod tests {
    use icepack_core::model::apart::ColumnTypes;

    use super::*;

    #[test]
    fn sentences_are_broken_at_blanks_and_tables_are_not() {
        let table = "tenant       raw files       bytes of them";
        let text = format!("{table}\n  held: acme: rows from 2026 on do not expire\nshort");
        assert_eq!(
            wrap(&text, 20),
            format!("{table}\n  held: acme: rows\n    from 2026 on do\n    not expire\nshort")
        );
        let path = "a/very/long/path/that/nobody/may/break.parquet";
        assert_eq!(wrap(&format!("see {path}"), 20), format!("see\n  {path}"));
        assert_eq!(
            wrap("\x1b[38;5;9mred\x1b[39m and green", 13),
            "\x1b[38;5;9mred\x1b[39m and green"
        );
    }

    #[test]
    fn zero_is_left_out() {
        assert_eq!([0, 1_000].map(unless_zero), ["", "1,000"]);
    }

    #[test]
    fn a_few_folders_are_told_by_what_tells_their_classes_apart() {
        let column = |name: &str, types: &[Option<&str>]| ColumnTypes {
            column: name.into(),
            types: types.iter().map(|t| t.map(str::to_owned)).collect(),
        };
        let folder = |folder: &str, columns| FolderClasses {
            folder: folder.into(),
            classes: 2,
            columns,
        };
        let x = || column("x", &[Some("Utf8"), Some("Int64")]);
        let told = classes(&[
            folder("acme/a", vec![x(), column("y", &[Some("Utf8"), None])]),
            folder("", vec![x()]),
            folder("acme/b", vec![]),
            folder("acme/c", vec![x()]),
        ]);
        assert_eq!(
            told,
            [
                "`acme/a` has 2 schema classes: `x` is Utf8 or Int64; `y` is Utf8 or missing",
                "2 schema classes: `x` is Utf8 or Int64",
                "`acme/b` has 2 schema classes",
                "1 folder more of several schema classes",
            ]
        );
    }
}
