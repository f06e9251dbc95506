//! The fingerprints of a file's row groups, kept in its footer. With them, a part of a file can be
//! copied and the rest decoded, and the books still balance by content. They are used only where
//! together they are the fingerprint that the manifest has of the file.

use parquet::file::metadata::{KeyValue, ParquetMetaData};

use icepack_core::model::file::Fingerprint;

/// `icepack.row_groups`: 32 hex digits a row group, with spaces between.
pub const KEY: &str = "icepack.row_groups";

/// Of a file that is being written. None where a row group was copied into it whose fingerprint is
/// not known.
pub(crate) struct Prints {
    open: Fingerprint,
    ended: Option<Vec<Fingerprint>>,
}

impl Prints {
    pub fn new() -> Self {
        Self {
            open: Fingerprint::default(),
            ended: Some(Vec::new()),
        }
    }

    /// Rows go into the open row group.
    pub fn add(&mut self, rows: Fingerprint) {
        self.open = self.open.plus(rows);
    }

    /// The open row group ends.
    pub fn end(&mut self) {
        let ended = std::mem::take(&mut self.open);
        self.push(Some(ended));
    }

    /// A whole row group comes, of which it may not be known.
    pub fn push(&mut self, group: Option<Fingerprint>) {
        self.ended = self.ended.take().zip(group).map(|(mut ended, group)| {
            ended.push(group);
            ended
        });
    }

    /// For the footer.
    pub fn pair(&self) -> Option<KeyValue> {
        let texts: Vec<String> = self
            .ended
            .as_ref()?
            .iter()
            .map(Fingerprint::to_string)
            .collect();
        (!texts.is_empty()).then(|| KeyValue::new(KEY.to_owned(), texts.join(" ")))
    }
}

/// The fingerprints of a file that was written, one for each row group; none where the footer has
/// none, or others.
pub fn of(metadata: &ParquetMetaData) -> Option<Vec<Fingerprint>> {
    let text = metadata
        .file_metadata()
        .key_value_metadata()?
        .iter()
        .find(|kv| kv.key == KEY)?
        .value
        .as_ref()?;
    // Anybody's file may say so, and as much as it likes.
    let prints: Vec<Fingerprint> = text
        .split(' ')
        .take(metadata.num_row_groups() + 1)
        .map(|t| t.parse().ok())
        .collect::<Option<_>>()?;
    (prints.len() == metadata.num_row_groups()).then_some(prints)
}
