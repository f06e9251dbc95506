//! docs/errors.md against what the binary says.

use std::path::Path;

use crate::errors::texts;

/// A row of the table: the parts of the text between what differs, and the exit code.
struct Row {
    text: String,
    code: i32,
}

fn rows() -> Vec<Row> {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md"))
            .unwrap();
    let (tried, _) = page.split_once("## Tried elsewhere").unwrap();
    let cells = |line: &str| {
        line.trim_matches('|')
            .split('|')
            .map(|c| c.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let tables = tried.lines().filter(|l| l.starts_with("| `")).map(cells);
    tables
        .map(|cells| Row {
            code: cells[2]
                .parse()
                .unwrap_or_else(|_| panic!("no exit code: {cells:?}")),
            text: unquoted(&cells[0]),
        })
        .collect()
}

/// Code as Markdown writes it, with one backtick or two around it.
fn unquoted(cell: &str) -> String {
    let inner = cell
        .strip_prefix("``")
        .and_then(|c| c.strip_suffix("``"))
        .or_else(|| cell.strip_prefix('`').and_then(|c| c.strip_suffix('`')));
    inner
        .unwrap_or_else(|| panic!("not code: {cell}"))
        .trim()
        .to_owned()
}

impl Row {
    /// Whether `line` has the parts in their order.
    fn is(&self, line: &str) -> bool {
        let mut rest = line;
        self.text.split('…').all(|part| {
            rest.find(part)
                .map(|at| rest = &rest[at + part.len()..])
                .is_some()
        })
    }
}

/// What was said in each case: its exit code, and the line that matters.
fn said() -> Vec<(String, i32, String)> {
    let mut said: Vec<_> = texts::all()
        .into_iter()
        .flat_map(|(name, text)| {
            let (code, lines) = text
                .strip_prefix("exit code ")
                .and_then(|t| t.split_once('\n'))
                .unwrap();
            let code: i32 = code.parse().unwrap();
            let last = if code == 0 { "WARN " } else { "icepack: " };
            let lines: Vec<_> = lines
                .lines()
                .filter_map(|l| l.strip_prefix(last))
                .map(|l| (name.clone(), code, l.to_owned()))
                .collect();
            assert!(!lines.is_empty(), "{name} says nothing");
            lines
        })
        .collect();
    said.sort();
    said
}

#[test]
fn every_text_is_in_the_table_and_every_row_is_said() {
    let (rows, said) = (rows(), said());
    for (name, code, line) in &said {
        assert!(
            rows.iter().any(|r| r.is(line) && r.code == *code),
            "{name}: docs/errors.md has no row with exit code {code} for:\n{line}"
        );
    }
    for row in &rows {
        assert!(
            said.iter()
                .any(|(_, code, line)| row.is(line) && row.code == *code),
            "nobody says, with exit code {}:\n{}",
            row.code,
            row.text
        );
    }
}
