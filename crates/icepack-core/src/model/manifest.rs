//! A tenant's state as it is stored: manifests, receipts, and the edits between manifests.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use derive_more::{Add, AddAssign};
use serde::{Deserialize, Deserializer, Serialize};

use super::adopted::Adopted;
use super::apart::SchemasApart;
use super::file::{Fingerprint, Micros, RowStats, Snapshot};
use super::hold::Hold;
use super::names::{self, FileId, Key, Tenant};
use super::pages::Pages;
use super::same::{Sameness, plain};
use super::schema::{SchemaId, TableSchema};
use super::swept::{ContentHash, Swept, SweptNames};
use super::time_column::TimeColumn;

/// The manifest format that this version writes; it reads 1 to 4 too.
pub const FORMAT: u32 = 5;

/// What a program must know to act on a manifest that has everything in itself. One that does not
/// know format 4 would take a file with a remembered name for a new one, and forget all such names.
pub const MIN_READER: u32 = 4;

/// What it must know where the manifest has pages.
pub const MIN_READER_OF_PAGES: u32 = 5;

/// The format of receipts.
pub const RECEIPT_FORMAT: u32 = 1;

/// What `icepack` writes as its name and version into manifests and receipts.
pub const WRITER: &str = concat!("icepack ", env!("CARGO_PKG_VERSION"));

/// A tenant's committed state: one version of it, never changed once written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of this document, see [`FORMAT`].
    pub format: u32,
    /// The lowest format a program must know to act on this document.
    pub min_reader: u32,
    /// The tenant whose state it is.
    pub tenant: Tenant,
    /// 1 for the first; each commit adds one.
    pub version: u64,
    /// The commit that made this version. A put whose reply was lost is settled by it.
    pub commit_id: FileId,
    /// The commit of the version below; none for the first.
    pub parent: Option<FileId>,
    /// The run that made the commit.
    pub run_id: FileId,
    /// When the commit was made, by the run's clock.
    pub committed_at: DateTime<Utc>,
    /// [`WRITER`].
    pub writer: String,
    /// An output whose id is below this and that this manifest does not name is dead for ever.
    /// Only rises.
    pub floor: FileId,
    /// Where what is known of files lies beside the manifest. Then `snapshots`, `retired`,
    /// `swept_in`, `quarantined`, `adopted` and `restored` are stored in the pages, and hold in
    /// memory what was read of them.
    #[serde(default, skip_serializing_if = "Pages::is_empty")]
    pub pages: Pages,
    pub snapshots: Vec<Snapshot>,
    /// The schemas that live snapshots name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schemas: BTreeMap<SchemaId, TableSchema>,
    /// Pairs of `schemas` that cannot be merged. A program that does not know this field reads
    /// their files again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apart: Vec<SchemasApart>,
    /// Files whose rows are in a committed snapshot or archive, waiting to be deleted.
    pub retired: Vec<Retired>,
    /// The names of raw files that were retired and are gone; where there are pages, those that
    /// went before there were any.
    #[serde(default, skip_serializing_if = "SweptNames::is_empty")]
    pub swept: SweptNames,
    /// The days since there are pages on which names were swept. Once they are
    /// [`swept::DAYS`](super::swept::DAYS), `swept` is forgotten.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub swept_days: BTreeSet<NaiveDate>,
    /// The names of raw files that were retired and are gone since there are pages, by folder.
    #[serde(skip)]
    pub swept_in: BTreeMap<Key, SweptNames>,
    /// Archive objects whose receipts are not known to be written yet.
    pub archives: Vec<Receipt>,
    /// Files that could not be read: left in place, never deleted, never skipped silently.
    #[serde(deserialize_with = "unreadable")]
    pub quarantined: Vec<Quarantined>,
    /// Raw files that stay as they are, and when their rows are from. A program that does not know
    /// this reads such a file again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adopted: Vec<Adopted>,
    /// Rows that were restored and do not expire yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Hold>,
    /// Live snapshots of which every row was restored, and the holds that brought them. Of a
    /// snapshot that is not here, nothing is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub restored: BTreeMap<FileId, BTreeSet<FileId>>,
    /// Sums since version 1.
    pub totals: Totals,
    /// Rows moved to each archive, by its name. What was moved before this was kept is in none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub archived: BTreeMap<String, u64>,
    /// Live snapshots of pages that were not read, of which another file of the listing has the id.
    #[serde(skip)]
    pub elsewhere: BTreeMap<FileId, Key>,
}

impl Manifest {
    /// Version 1: nothing compacted yet. It is committed before the first output is written, so
    /// that outputs without any manifest mean a lost manifest, never garbage.
    pub fn first(tenant: Tenant, commit: Stamp) -> Self {
        Self {
            format: FORMAT,
            min_reader: MIN_READER,
            tenant,
            version: 1,
            commit_id: commit.commit_id,
            parent: None,
            run_id: commit.run_id,
            committed_at: commit.at,
            writer: WRITER.to_owned(),
            floor: FileId::NIL,
            pages: Pages::default(),
            snapshots: Vec::new(),
            schemas: BTreeMap::new(),
            apart: Vec::new(),
            retired: Vec::new(),
            swept: SweptNames::default(),
            swept_days: BTreeSet::new(),
            swept_in: BTreeMap::new(),
            archives: Vec::new(),
            quarantined: Vec::new(),
            adopted: Vec::new(),
            holds: Vec::new(),
            restored: BTreeMap::new(),
            totals: Totals::default(),
            archived: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
        }
    }

    /// Enters which columns date snapshots, where that is not known. A snapshot never changes, so
    /// what was found out of it once holds.
    pub fn date(&mut self, columns: &BTreeMap<Key, String>) {
        for s in self.snapshots.iter_mut().filter(|s| s.dated_by.is_none()) {
            s.dated_by = columns.get(&s.key).cloned();
        }
    }

    /// Whether a snapshot is known not to have what dates its rows.
    pub fn lacks_time(&self, s: &Snapshot, column: &TimeColumn) -> bool {
        let schema = s.schema.and_then(|id| self.schemas.get(&id));
        schema.is_some_and(|schema| !column.may_be_in(schema))
    }

    /// Whether it is known of each snapshot which column dated it.
    pub fn is_dated(&self) -> bool {
        self.snapshots.iter().all(|s| s.dated_by.is_some())
    }

    /// Whether `column` dated rows of the tenant.
    pub fn has_dated(&self, column: &str) -> bool {
        let mut snapshots = self.snapshots.iter();
        let mut adopted = self.adopted.iter();
        snapshots.any(|s| s.dated_by.as_deref() == Some(column))
            || adopted.any(|a| a.dated_by == column)
            || self
                .pages
                .unread()
                .any(|p| p.dated_by.as_deref() == Some(column))
    }

    /// Rows of all live snapshots, also of those in pages that were not read.
    pub fn live_rows(&self) -> u64 {
        let read = self.snapshots.iter().map(|s| s.stats.rows);
        read.chain(self.pages.unread().map(|p| p.times.rows)).sum()
    }

    /// What is known of the name `key` of a raw file that is gone, if it is remembered.
    pub fn swept_name(&self, key: &str) -> Option<Swept> {
        let own = self.swept_in.get(names::folder(key));
        own.and_then(|names| names.get(key))
            .or_else(|| self.swept.get(key))
    }

    /// The keys of the files that head retired.
    pub fn retired_keys(&self) -> BTreeSet<&str> {
        self.retired.iter().map(|r| r.key.as_str()).collect()
    }

    /// The used names: a file of such a name is not new. Code that takes a raw file for an input or
    /// for live must ask this first.
    pub fn used_names(&self) -> UsedNames<'_> {
        UsedNames {
            retired: self.retired.iter().map(|r| (r.key.as_str(), r)).collect(),
            head: self,
        }
    }

    /// The holds that brought every row of these files. None where a file may hold others: of what
    /// is not known to be restored, nothing follows.
    pub fn origin<'a>(&self, keys: impl IntoIterator<Item = &'a str>) -> Option<BTreeSet<FileId>> {
        let mut holds = BTreeSet::new();
        for key in keys {
            if let names::FileKind::Snapshot(id) = names::classify(&self.tenant, key) {
                holds.extend(self.restored.get(&id)?);
            } else {
                holds.insert(self.holds.iter().find(|h| h.brought(key))?.id);
            }
        }
        Some(holds)
    }

    /// The archive objects whose rows these holds brought. None where that is not known of all of
    /// them.
    pub fn objects(&self, holds: &BTreeSet<FileId>) -> Option<BTreeSet<FileId>> {
        let brought = |id: &FileId| self.holds.iter().find(|h| h.id == *id)?.brings();
        holds
            .iter()
            .map(brought)
            .try_fold(BTreeSet::new(), |all: BTreeSet<FileId>, some| {
                Some(all.union(&some?).copied().collect())
            })
    }

    /// The keys of the files that restores brought, or are to bring, as long as their holds name
    /// them.
    pub fn held_keys(&self) -> BTreeSet<&str> {
        self.holds
            .iter()
            .flat_map(|h| &h.files)
            .map(String::as_str)
            .collect()
    }

    /// Whether every key lies where `tenant`'s keys must, and every output has the id that its name
    /// says.
    ///
    /// # Errors
    /// The first key that does not, in a sentence.
    pub fn check_paths(&self) -> Result<(), String> {
        let tenant = &self.tenant;
        // Where a key lies elsewhere, the setting is more likely wrong than the manifest.
        let layout = |key: &str| {
            if tenant.owns(key) {
                return String::new();
            }
            format!(
                "; by layout = {:?} it lies elsewhere: if `layout` was changed, set it back",
                tenant.layout().as_str()
            )
        };
        for s in &self.snapshots {
            if names::classify(tenant, &s.key) != names::FileKind::Snapshot(s.id) {
                return Err(format!(
                    "snapshot `{}` is not a snapshot of tenant `{tenant}` with id {}{}",
                    s.key,
                    s.id,
                    layout(&s.key)
                ));
            }
        }
        let files = self
            .retired
            .iter()
            .map(|r| &r.key)
            .chain(self.quarantined.iter().map(|q| &q.key))
            .chain(self.adopted.iter().map(|a| &a.key));
        for key in files {
            if names::classify(tenant, key) == names::FileKind::Other {
                return Err(format!(
                    "`{key}` is not a data file of tenant `{tenant}`{}",
                    layout(key)
                ));
            }
        }
        if let Some(key) = self
            .holds
            .iter()
            .flat_map(|h| &h.files)
            .find(|key| !names::may_be_restored(tenant, key))
        {
            return Err(format!(
                "restored file `{key}` is not a raw file of tenant `{tenant}`{}",
                layout(key)
            ));
        }
        if let Some(a) = self.archives.iter().find(|a| !a.is_of(tenant)) {
            return Err(format!(
                "archive `{}` is not of tenant `{tenant}`{}",
                a.key,
                layout(&a.key)
            ));
        }
        Ok(())
    }
}

/// The names of files whose rows were taken: those that are retired, and those that are gone and
/// remembered.
#[derive(Debug)]
pub struct UsedNames<'a> {
    retired: BTreeMap<&'a str, &'a Retired>,
    head: &'a Manifest,
}

impl UsedNames<'_> {
    /// Whether a file called `key` that shows this tag is neither an input nor live. One name is
    /// written once, and another tag alone does not make a new file.
    pub fn has(&self, key: &str, etag: Option<&str>) -> bool {
        match self.retired.get(key) {
            Some(retired) => !retired.is_appended(etag),
            None => self.head.swept_name(key).is_some(),
        }
    }
}

/// The run that commits, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub run_id: FileId,
    pub commit_id: FileId,
    /// By the run's clock; informative only.
    pub at: DateTime<Utc>,
}

/// Why a file was retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetireReason {
    /// Its rows are in a newer snapshot.
    Compacted,
    /// All its rows had expired.
    Expired,
}

/// A file that is waiting to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// Relative to the store's root.
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// The tag that was read. A file of this name that does not show it is not deleted, and is no
    /// new file either.
    pub etag: Option<String>,
    pub rows: u64,
    /// Of those rows. None where an older version retired it: then nothing but the tag tells what
    /// it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// All that is known of those rows where the name came again after the file was gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remembered: Option<ContentHash>,
    /// A file of this name that was looked at since, and that is not known to be what was retired.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "set_aside")]
    pub found: Option<Found>,
    /// By the clock of the run that retired it, or by the store's where the two differed;
    /// `delete_delay` counts from here.
    pub at: DateTime<Utc>,
    pub reason: RetireReason,
}

impl Retired {
    /// A file that was retired and is gone, of which head remembers the name alone.
    pub fn remembered(key: Key, swept: Swept) -> Self {
        Self {
            key,
            size: 0,
            etag: None,
            rows: 0,
            fingerprint: None,
            remembered: swept.content,
            found: None,
            at: swept.day.and_time(chrono::NaiveTime::MIN).and_utc(),
            reason: RetireReason::Compacted,
        }
    }

    /// A hash of the rows' number and fingerprint. None where these are not known.
    pub fn content(&self) -> Option<ContentHash> {
        let known = self.fingerprint.map(|f| ContentHash::of(self.rows, f));
        known.or(self.remembered)
    }

    /// Whether a file of its name that shows this tag is one that was taken in as new.
    pub fn is_appended(&self, etag: Option<&str>) -> bool {
        self.found
            .as_ref()
            .is_some_and(|f| f.verdict == Verdict::Append && f.is_it(etag))
    }

    /// Whether what was found holds the rows that were retired.
    pub fn compare(&self, found: &Reread) -> Sameness {
        let Some(rows) = found.rows else {
            return Sameness::Unknown;
        };
        let same = match (self.fingerprint, self.remembered, found.fingerprint) {
            (Some(_), ..) if rows != self.rows => false,
            (Some(ours), _, Some(theirs)) => ours == theirs,
            (None, Some(ours), Some(theirs)) => ours == ContentHash::of(rows, theirs),
            _ => return Sameness::Unknown,
        };
        if same {
            Sameness::Same
        } else {
            Sameness::Other
        }
    }

    /// Takes in what was found under its name: where it has the very rows that were retired, it is
    /// that file, copied, touched or uploaded again, and goes as that would have; else it is
    /// somebody's, and is set aside, or taken in where that is asked for.
    pub fn settle(&mut self, found: &Reread) {
        let verdict = match (self.compare(found), found.etag.as_deref().and_then(plain)) {
            (Sameness::Same, Some(_)) => {
                (self.etag, self.size, self.found) = (found.etag.clone(), found.size, None);
                self.rows = found.rows.unwrap_or(self.rows);
                self.fingerprint = found.fingerprint.or(self.fingerprint);
                self.remembered = None;
                return;
            }
            (Sameness::Other, Some(_)) if found.append => Verdict::Append,
            (Sameness::Other, _) => Verdict::Other,
            _ => Verdict::Unknown,
        };
        self.found = Some(Found {
            etag: found.etag.clone().unwrap_or_default(),
            verdict,
        });
    }
}

/// A file under the name of a retired one, as it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredFound")]
pub struct Found {
    /// The tag that it showed; empty where it showed none.
    pub etag: String,
    pub verdict: Verdict,
}

impl Found {
    /// Whether a file of its name that shows this tag is the one that was looked at.
    pub fn is_it(&self, etag: Option<&str>) -> bool {
        plain(&self.etag) == etag.and_then(plain)
    }
}

/// What a file under the name of a retired one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Set aside. Nobody knows whether its rows were taken: it could not be read, or there is
    /// nothing to compare it with.
    Unknown,
    /// Set aside. Its rows are others.
    Other,
    /// Its rows are others, and it is an input like any other raw file.
    Append,
}

/// Format 3 has the tag alone, of a file that is set aside.
#[derive(Deserialize)]
#[serde(untagged)]
enum StoredFound {
    Etag(String),
    Found { etag: String, verdict: Verdict },
}

impl From<StoredFound> for Found {
    fn from(stored: StoredFound) -> Self {
        match stored {
            StoredFound::Etag(etag) => Self {
                etag,
                verdict: Verdict::Other,
            },
            StoredFound::Found { etag, verdict } => Self { etag, verdict },
        }
    }
}

/// The result of reading a file under the name of a retired one whose ETag differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reread {
    /// Relative to the store's root.
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// As the read showed it.
    pub etag: Option<String>,
    /// None where they could not be read, or there is nothing to compare them with.
    pub rows: Option<u64>,
    /// Of the rows. None where their number told enough.
    pub fingerprint: Option<Fingerprint>,
    /// Whether it is taken in where its rows are others.
    pub append: bool,
}

/// A file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Relative to the store's root.
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// Of the version that could not be read: once it changes, the file is tried again.
    pub etag: Option<String>,
    /// Why, in a sentence.
    pub reason: String,
    pub at: DateTime<Utc>,
    /// What ends it. None where an older version set it aside: it is tried again once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum Cause {
    /// It cannot be read as what it should be: it is tried again once it changes.
    Damaged,
    /// It is no Parquet file, and nothing but the setting `files` said that it is one: its first
    /// bytes are asked for again once it changes.
    OtherFormat,
}

/// The notes of a manifest. An older version also set files aside whose columns contradicted
/// others: those are files like any other, and nothing of them is remembered.
fn unreadable<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Quarantined>, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase", tag = "is")]
    enum Stored {
        Misfit {},
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Note {
        Misfit {
            #[allow(dead_code, reason = "it is told by what it is")]
            cause: Stored,
        },
        Unreadable(Quarantined),
    }
    let notes = Vec::<Note>::deserialize(d)?;
    let kept = notes.into_iter().filter_map(|note| match note {
        Note::Misfit { .. } => None,
        Note::Unreadable(note) => Some(note),
    });
    Ok(kept.collect())
}

/// The marker that makes an archive object count, and all that `restore` needs to know of it.
/// Stored beside the object as JSON once the commit that names it has succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The format of this document, see [`RECEIPT_FORMAT`].
    pub format: u32,
    pub tenant: Tenant,
    /// Relative to the archive's root.
    pub key: Key,
    /// Also in the key.
    pub id: FileId,
    /// Size in bytes.
    pub size: u64,
    /// The ETag that the archive gave.
    pub etag: Option<String>,
    /// The class that was asked for when the object was made; none is the store's default.
    pub storage_class: Option<String>,
    /// Of all its bytes, as the archive computed and returned it. None where the archive returns
    /// none, and the rows were read back instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
    /// How it was proved that the archive holds the rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
    /// Its columns. None where the file came from an older version; its footer tells them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<TableSchema>,
    /// The column that dates a row. None where an older version wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_column: Option<String>,
    /// The version of the manifest that made it count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_version: Option<u64>,
    /// The archive that took it, as it describes itself. A receipt is written nowhere else.
    #[serde(default)]
    pub archive: String,
    /// The rows of the object.
    #[serde(flatten)]
    pub stats: RowStats,
    /// The files that held the rows.
    pub sources: Vec<Key>,
    /// Archive objects that hold all of these rows too: they had been restored from there. Empty
    /// where that is not known.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub again_of: BTreeSet<FileId>,
    /// The run that wrote it.
    pub run_id: FileId,
    pub at: DateTime<Utc>,
    /// [`WRITER`].
    pub writer: String,
}

impl Receipt {
    /// What is always known of an object: `tenant`'s object `id` at `key` below the archive's root,
    /// with `size` bytes and the rows of `stats`, in `archive`
    /// (`ArchiveTarget::description`), by the run `run_id`. Its time is that of `id`. The
    /// rest is none.
    pub fn new(
        tenant: Tenant,
        id: FileId,
        key: Key,
        size: u64,
        stats: RowStats,
        archive: impl Into<String>,
        run_id: FileId,
    ) -> Self {
        Self {
            format: RECEIPT_FORMAT,
            tenant,
            key,
            id,
            size,
            etag: None,
            storage_class: None,
            checksum: None,
            verified: None,
            schema: None,
            timestamp_column: None,
            manifest_version: None,
            archive: archive.into(),
            stats,
            sources: Vec::new(),
            again_of: BTreeSet::new(),
            run_id,
            at: id.minted_at(),
            writer: WRITER.to_owned(),
        }
    }

    /// Whether the object lies under `tenant`.
    pub fn is_of(&self, tenant: &Tenant) -> bool {
        self.tenant == *tenant && tenant.owns(&self.key)
    }

    /// The key of the receipt itself.
    pub fn receipt_key(&self) -> Key {
        names::receipt_key(&self.key)
    }
}

/// A checksum, in the terms of S3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// How it is computed.
    pub algorithm: ChecksumAlgorithm,
    /// What it is computed over: the object, or its parts.
    #[serde(rename = "type")]
    pub kind: ChecksumKind,
    /// In base64; that of parts ends with `-` and their number.
    pub value: String,
}

/// How a checksum is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum ChecksumAlgorithm {
    /// CRC-64/NVME: of the whole object, also of one uploaded in parts.
    #[default]
    #[serde(rename = "CRC64NVME")]
    Crc64Nvme,
    /// SHA-256.
    #[serde(rename = "SHA256")]
    Sha256,
}

/// What a checksum is computed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumKind {
    /// All bytes of the object.
    #[serde(rename = "FULL_OBJECT")]
    FullObject,
    /// The checksums of its parts: S3 has no other SHA-256 of an object uploaded in parts.
    #[serde(rename = "COMPOSITE")]
    Composite,
}

/// How it was proved that an archive holds what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verified {
    /// The archive computed the checksum of what it holds, and it is the one of what was sent or
    /// copied.
    Checksum,
    /// Every row was read back and counted.
    Readback,
    /// The archive gives the copy the tag of the original: the MD5 of its bytes.
    Etag,
}

/// The books of one edit, a pass or a tenant's whole life: every row that went in is kept,
/// archived, expired or was a duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Add, AddAssign)]
pub struct Ledger {
    /// Rows of all inputs, by their footers.
    pub rows_in: u64,
    /// Rows in the snapshots written.
    pub rows_kept: u64,
    /// Rows in verified archive objects.
    pub rows_archived: u64,
    /// Rows past their time, with no archive configured.
    pub rows_expired: u64,
    /// Rows that were exact duplicates of another.
    pub rows_deduplicated: u64,
}

impl Ledger {
    /// Whether no row is missing and none is too many.
    pub fn balances(&self) -> bool {
        let out = self.fates().map(|(_, rows)| u128::from(rows));
        u128::from(self.rows_in) == out.iter().sum()
    }

    /// The numbers of rows by what became of them, with the names that metrics and logs use.
    pub fn fates(&self) -> [(&'static str, u64); 4] {
        [
            ("kept", self.rows_kept),
            ("archived", self.rows_archived),
            ("expired", self.rows_expired),
            ("deduplicated", self.rows_deduplicated),
        ]
    }
}

/// Sums over the life of a tenant, since its first manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Add)]
pub struct Totals {
    /// Rows of raw files taken in. Equals live + archived + expired + deduplicated at every
    /// version.
    pub rows_ingested: u64,
    /// Rows moved to the archive.
    pub rows_archived: u64,
    /// Rows dropped by policy.
    pub rows_expired: u64,
    pub rows_deduplicated: u64,
    /// Raw files and snapshots merged or expired.
    pub files_compacted: u64,
    /// Bytes of those files.
    pub bytes_before: u64,
    /// Bytes of the snapshots written.
    pub bytes_after: u64,
}

/// A change of head that a run asks for. [`crate::plan::commit::apply`] alone applies it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    pub run_id: FileId,
    /// Settles a put whose reply was lost.
    pub commit_id: FileId,
    pub add: Vec<Snapshot>,
    /// The schemas that they name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schemas: BTreeMap<SchemaId, TableSchema>,
    /// Schemas that were found to be apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apart: Vec<SchemasApart>,
    /// The columns that date snapshots of which head does not say it, by their keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dated: BTreeMap<Key, String>,
    /// The holds that brought back every row of `add`. Empty where that is not so, or not known.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub restored: BTreeSet<FileId>,
    /// Files whose rows are in `add`, in `archives`, or expired.
    pub retire: Vec<Retired>,
    pub archives: Vec<Receipt>,
    /// Files that could not be read.
    pub quarantine: Vec<Quarantined>,
    /// Files that stay as they are, and when their rows are from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adopt: Vec<Adopted>,
    /// Retired files that were seen gone, and quarantined and adopted ones that are gone or
    /// changed: head need not remember them.
    pub forget: Vec<Key>,
    /// What was found under the names of retired files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reread: Vec<Reread>,
    /// Archive objects whose receipts are written.
    pub settle: Vec<Key>,
    /// A hold to begin, or one of head's to take the place of.
    pub hold: Option<Hold>,
    /// Holds that are over, and whose rows the new hold knowingly brings once more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<FileId>,
    /// Holds that are over: their files need not be remembered any more.
    pub release: Vec<FileId>,
    /// Every row that expired or was archived is older. None where that is not known, or nothing
    /// did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired_before: Option<Micros>,
    pub floor: Option<FileId>,
    /// The books of `add`, `retire` and `archives`.
    pub ledger: Ledger,
}

impl Edit {
    /// An edit that changes nothing yet.
    pub fn new(run_id: FileId, commit_id: FileId) -> Self {
        Self {
            run_id,
            commit_id,
            add: Vec::new(),
            schemas: BTreeMap::new(),
            apart: Vec::new(),
            dated: BTreeMap::new(),
            restored: BTreeSet::new(),
            retire: Vec::new(),
            archives: Vec::new(),
            quarantine: Vec::new(),
            adopt: Vec::new(),
            forget: Vec::new(),
            reread: Vec::new(),
            settle: Vec::new(),
            hold: None,
            again: Vec::new(),
            release: Vec::new(),
            expired_before: None,
            floor: None,
            ledger: Ledger::default(),
        }
    }

    /// Adds what another merge did, so that one commit makes both. False, and nothing is added,
    /// where they are not of the same restores, or expired rows by another cutoff: an edit says
    /// either of all that it does.
    #[must_use]
    pub fn join(&mut self, other: &Self) -> bool {
        if self.restored != other.restored || self.expired_before != other.expired_before {
            return false;
        }
        self.add.extend_from_slice(&other.add);
        self.schemas
            .extend(other.schemas.iter().map(|(id, s)| (*id, s.clone())));
        self.apart.extend_from_slice(&other.apart);
        self.retire.extend_from_slice(&other.retire);
        self.archives.extend_from_slice(&other.archives);
        self.ledger += other.ledger;
        true
    }

    /// The files that it says something of. What head says of these must be known.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let keys = self.add.iter().map(|s| &s.key);
        let keys = keys.chain(self.retire.iter().map(|r| &r.key));
        let keys = keys.chain(self.quarantine.iter().map(|q| &q.key));
        let keys = keys.chain(self.adopt.iter().map(|a| &a.key));
        let keys = keys.chain(self.reread.iter().map(|r| &r.key));
        let keys = keys.chain(&self.forget).chain(self.dated.keys());
        keys.map(String::as_str)
    }

    /// Whether it would change anything.
    pub fn is_empty(&self) -> bool {
        self.add.is_empty()
            && self.apart.is_empty()
            && self.dated.is_empty()
            && self.retire.is_empty()
            && self.archives.is_empty()
            && self.quarantine.is_empty()
            && self.adopt.is_empty()
            && self.forget.is_empty()
            && self.reread.is_empty()
            && self.settle.is_empty()
            && self.hold.is_none()
            && self.release.is_empty()
            && self.floor.is_none()
    }
}

/// What was seen in the store after a given head was read. `apply` uses nothing older.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// The head that was read before all of this was seen.
    pub head_version: u64,
    /// Files that were fetched or asked for, with the tag they showed.
    pub present: BTreeMap<Key, Option<String>>,
    /// What a complete listing of the tenant shows of the files that the edit retires or forgets, if
    /// one was taken: key → tag.
    pub listing: Option<BTreeMap<Key, Option<String>>>,
    /// Files that were seen gone: this run deleted them, or asked for each and was told that it is
    /// not there. A listing that does not show a file is no such proof.
    pub gone: BTreeSet<Key>,
    /// Receipts that were seen to be stored, by the key of their archive object.
    pub receipts: BTreeSet<Key>,
}

impl Observed {
    /// Adds what was seen for another edit. Together they prove no more than the older of them.
    pub fn join(&mut self, other: &Self) {
        self.head_version = self.head_version.min(other.head_version);
        self.present
            .extend(other.present.iter().map(|(k, t)| (k.clone(), t.clone())));
    }

    /// Nothing seen yet since `head` was read.
    pub fn since(head: &Manifest) -> Self {
        Self {
            head_version: head.version,
            ..Self::default()
        }
    }
}
