//! Names in a Delta log.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use icepack_core::model::names::Key;

/// The hint that says where the last checkpoint is.
pub const LAST_CHECKPOINT: &str = "_last_checkpoint";

/// What stands for itself in the path of a URI. Not `:`, before which a reader may see a scheme.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'=')
    .remove(b'+')
    .remove(b'@');

/// A path as the log has it: a URI's, relative to the table.
pub fn encode(path: &str) -> String {
    utf8_percent_encode(path, ESCAPED).to_string()
}

/// The path that the log means; none where it is not text.
pub fn decode(path: &str) -> Option<Key> {
    Some(percent_decode_str(path).decode_utf8().ok()?.into_owned())
}

/// The version that the name of a commit or a checkpoint begins with.
pub fn version(name: &str) -> Option<u64> {
    let digits = name
        .get(..20)
        .filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
    name.get(20..).filter(|rest| rest.starts_with('.'))?;
    digits.parse().ok()
}

/// Whether this is a checkpoint in one file: all that is needed of the versions below.
pub fn is_checkpoint(name: &str) -> bool {
    version(name).is_some() && name.get(20..) == Some(".checkpoint.parquet")
}

/// Whether this is the file of a version.
pub fn is_commit(name: &str) -> bool {
    version(name).is_some() && name.get(20..) == Some(".json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_paths_round_trip() {
        assert_eq!(version("00000000000000000012.json"), Some(12));
        assert!(
            is_commit("00000000000000000012.json")
                && !is_commit("00000000000000000012.checkpoint.parquet")
                && !is_commit("_last_checkpoint")
        );
        assert!(
            is_checkpoint("00000000000000000010.checkpoint.parquet")
                && !is_checkpoint("00000000000000000010.checkpoint.0000000001.0000000002.parquet")
        );
        for (path, written) in [
            ("2026-10/x.parquet", "2026-10/x.parquet"),
            ("a b/ü%:?#.parquet", "a%20b/%C3%BC%25%3A%3F%23.parquet"),
        ] {
            assert_eq!(encode(path), written);
            assert_eq!(decode(written).as_deref(), Some(path));
        }
    }
}
