//! Columns of several types that become one. `tests/python/unite.py` writes the files with pyarrow,
//! and pyarrow and DuckDB say what is in the file that holds the rows of both.

use std::path::Path;

use super::*;

fn script(what: &str, store: &Path) {
    python("unite.py", what, store);
}

#[test]
fn other_readers_find_the_values_of_both_types_in_one_column() {
    let dir = TempDir::new().unwrap();
    script("make", dir.path());
    let ran = pass(dir.path());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    script("check", dir.path());
    let again = pass(dir.path());
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    script("check", dir.path());
}
