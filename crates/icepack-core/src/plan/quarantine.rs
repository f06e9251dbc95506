//! Decides when a quarantined file is tried again.

use crate::model::manifest::Quarantined;
use crate::model::same::Sameness;

/// Whether a file is still to be left alone: it is the version that was set aside.
///
/// `shown` is its tag in a listing. Whoever tries a file again that need not be finds the same
/// fault again, and loses nothing but the reading.
pub fn holds(note: &Quarantined, shown: Option<&str>) -> bool {
    // An older version did not say what ends it.
    note.cause.is_some() && Sameness::of(note.etag.as_deref(), shown).is_same()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::model::manifest::Cause;

    #[test]
    fn a_damaged_file_is_left_alone_until_it_changes() {
        let mut note = Quarantined {
            key: "acme/x.parquet".into(),
            size: 1,
            etag: Some("a".into()),
            reason: String::new(),
            at: DateTime::UNIX_EPOCH,
            cause: Some(Cause::Damaged),
        };
        assert!(holds(&note, Some("a")));
        assert!(!holds(&note, Some("b")) && !holds(&note, None));
        note.cause = None;
        assert!(!holds(&note, Some("a")), "what an older version set aside");
    }
}
