//! Names: tenants, ids, and the keys of everything that icepack writes.
//!
//! Every key that the job reads, writes or deletes for a tenant is made or recognised here, so that
//! no path can cross from one tenant to another (invariant I5).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::file::Micros;
use super::layout::Layout;

/// The folder below the store's root that holds icepack's own state. Its leading `_` keeps it from
/// being a tenant.
pub const STATE_DIR: &str = "_icepack";

/// The folder of a Delta table's log. What lies in one is never a raw file: its checkpoints are
/// Parquet files too.
pub const DELTA_LOG: &str = "_delta_log";

/// The folder of the manifests that Hive's `SymlinkTextInputFormat` reads: texts that list files.
pub const SYMLINK_DIR: &str = "_symlink_format_manifest";

/// What the names of snapshots begin with.
const SNAPSHOT: &str = "snapshot.";

/// What the names of receipts end in.
pub(super) const RECEIPT: &str = ".receipt.json";

/// A key relative to the root of its store, as the store spells it: no leading slash, `/` between
/// segments.
pub type Key = String;

/// A tenant: its name, and by which layout its keys are known.
///
/// The name is all that is compared and written. One that was read has the default layout until
/// [`Self::within`] gives it the store's.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tenant {
    name: String,
    layout: Layout,
}

/// Why a name cannot be a tenant's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    /// `.name` and `_name` are left alone by definition.
    #[error("`{0}` is not a tenant: names that start with `.` or `_` are left alone")]
    Hidden(String),
    /// A name that could be read as another path, or that a store or shell would change.
    #[error("`{0}` cannot be a tenant's name: {1}; rename the prefix to have it compacted")]
    Unsafe(String, &'static str),
    /// A link in a directory.
    #[error(
        "`{0}` is a link, and what lies behind it may be somebody else's, so it is left alone; \
         name its real place with --store, or move it here"
    )]
    Link(String),
    /// State of a tenant that the layout has no folder for.
    #[error(
        "`{0}` has state in `{STATE_DIR}/{0}`, and no folder is its by layout = {1:?}: if `layout` \
         was changed, set it back; if its rows are not wanted, remove that state"
    )]
    Unplaced(String, String),
}

impl TenantError {
    /// The name that cannot be a tenant's, or its folder.
    pub fn name(&self) -> &str {
        let (Self::Hidden(name)
        | Self::Unsafe(name, _)
        | Self::Link(name)
        | Self::Unplaced(name, _)) = self;
        name
    }
}

impl Tenant {
    /// Checks a name: not hidden, one path segment, nothing that a store, a URL or a glob would
    /// read otherwise. The tenant has the default layout.
    pub fn parse(name: &str) -> Result<Self, TenantError> {
        let bad = |why| Err(TenantError::Unsafe(name.to_owned(), why));
        if name.starts_with('.') || name.starts_with('_') {
            return Err(TenantError::Hidden(name.to_owned()));
        }
        if name.is_empty() {
            return bad("it is empty");
        }
        if name.len() > 200 {
            return bad("it is longer than 200 bytes");
        }
        if name.chars().any(|c| {
            c.is_control()
                || matches!(
                    c,
                    '/' | '\\' | '%' | '#' | '?' | '*' | '[' | ']' | '{' | '}'
                )
        }) {
            return bad("it has one of / \\ % # ? * [ ] { } or a control character");
        }
        Ok(Self {
            name: name.to_owned(),
            layout: Layout::default(),
        })
    }

    /// The tenant of the same name in a store of `layout`.
    #[must_use]
    pub fn within(self, layout: &Layout) -> Self {
        Self {
            layout: layout.clone(),
            ..self
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The layout of its store.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether `key` lies under this tenant.
    pub fn owns(&self, key: &str) -> bool {
        self.below(key).is_some() && is_plain(key)
    }

    /// The part of `key`, plain or not, that follows the tenant's own folders; none where the key
    /// lies elsewhere.
    pub fn below<'k>(&self, key: &'k str) -> Option<&'k str> {
        self.layout.below(&self.name, key)
    }

    /// The folders of `key` whose names the layout leaves open.
    pub fn open_folders<'k>(&self, key: &'k str) -> impl Iterator<Item = &'k str> {
        self.layout.open_folders(key)
    }

    /// What each of its keys begins with: empty, or ending with a slash. None where a wildcard
    /// stands above the tenant, or the layout has no tenant of this name.
    pub fn prefix(&self) -> Option<String> {
        if self.layout.has_wildcard() {
            None
        } else {
            self.layout.place(&self.name, "")
        }
    }

    /// Whether the layout has a tenant of this name.
    pub fn has_place(&self) -> bool {
        self.layout.place(&self.name, "").is_some()
    }

    /// The folder that a file of this tenant lies in when one of `other`'s lies at `key`: the same,
    /// but for the names of the two. Without a slash at its end. None where the layout has no tenant
    /// of this name, or `key` is not `other`'s.
    pub fn folder_like(&self, other: &Self, key: &str) -> Option<String> {
        let below = other.below(key)?;
        let place = self.layout.place_like(&self.name, key)?;
        Some(
            format!("{place}{}", folder(below))
                .trim_end_matches('/')
                .to_owned(),
        )
    }

    /// The folder of new files whose rows are of `month`: in it the tenant's keys lie, whatever
    /// folders may stand above it.
    fn dated_folder(&self, month: &str) -> String {
        let place = self.layout.place(&self.name, month);
        format!("{}{month}", place.unwrap_or_else(|| format!("{self}/")))
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tenant").field(&self.name).finish()
    }
}

impl PartialEq for Tenant {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Tenant {}

impl PartialOrd for Tenant {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Tenant {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name.cmp(&other.name)
    }
}

impl Hash for Tenant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// A relative key without empty, `.` or `..` segments.
pub(crate) fn is_plain(key: &str) -> bool {
    // Decoding characters is the slow part, and few keys need it.
    let has_control = |part: &str| {
        part.bytes().any(|b| !(b' '..=b'~').contains(&b)) && part.chars().any(char::is_control)
    };
    key.split('/')
        .all(|part| !part.is_empty() && part != "." && part != ".." && !has_control(part))
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl FromStr for Tenant {
    type Err = TenantError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::parse(s)
    }
}

impl TryFrom<String> for Tenant {
    type Error = TenantError;
    fn try_from(s: String) -> Result<Self, Self::Error> {
        Self::parse(&s)
    }
}

impl From<Tenant> for String {
    fn from(t: Tenant) -> Self {
        t.name
    }
}

/// The id of a run, a commit, a snapshot or an archive object: a ULID, ordered by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub Ulid);

impl FileId {
    /// Below every id that is ever minted.
    pub const NIL: Self = Self(Ulid::nil());

    /// The lowest id of the millisecond of `time`.
    pub fn floor_at(time: DateTime<Utc>) -> Self {
        Self(Ulid::from_parts(
            u64::try_from(time.timestamp_millis()).unwrap_or(0),
            0,
        ))
    }

    /// When it was minted, to the millisecond: by the clock of whoever did, or later where
    /// another's floor was.
    pub fn minted_at(self) -> DateTime<Utc> {
        i64::try_from(self.0.timestamp_ms())
            .ok()
            .and_then(DateTime::from_timestamp_millis)
            .unwrap_or_default()
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string())
    }
}

impl FromStr for FileId {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let id = Ulid::from_string(s).map_err(|e| format!("`{s}` is not an id: {e}"))?;
        // The text form is unique: a lower-case or aliased spelling of an id would be a second name
        // for one file.
        if id.to_string() == s {
            Ok(Self(id))
        } else {
            Err(format!("`{s}` is not an id in its canonical form"))
        }
    }
}

impl Serialize for FileId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FileId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

const ISO_BASIC: &str = "%Y-%m-%dT%H%M%SZ";

/// A time as it stands in file names: `2026-04-27T134507Z`, UTC, to the second, without characters
/// that file systems or URLs reserve.
///
/// ```
/// let time = chrono::DateTime::from_timestamp(1_777_297_507, 0).unwrap();
/// assert_eq!(icepack_core::model::names::format_iso_basic(time), "2026-04-27T134507Z");
/// ```
pub fn format_iso_basic(time: DateTime<Utc>) -> String {
    time.format(ISO_BASIC).to_string()
}

/// Whether `text` is a time as [`format_iso_basic`] writes it. By hand, because a head may name a
/// hundred thousand files, and chrono takes microseconds for each.
fn is_iso_basic(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = |(i, b): (usize, &u8)| match i {
        4 | 7 => *b == b'-',
        10 => *b == b'T',
        17 => *b == b'Z',
        _ => b.is_ascii_digit(),
    };
    if bytes.len() != 18 || !bytes.iter().enumerate().all(shape) {
        return false;
    }
    let number = |from: usize, to: usize| {
        bytes[from..to]
            .iter()
            .fold(0, |n, b| n * 10 + u32::from(b - b'0'))
    };
    let (hour, minute, second) = (number(11, 13), number(13, 15), number(15, 17));
    // Second 60 is a leap second.
    let date = NaiveDate::from_ymd_opt(
        i32::try_from(number(0, 4)).unwrap_or(0),
        number(5, 7),
        number(8, 10),
    );
    date.is_some() && hour < 24 && minute < 60 && second <= 60
}

/// The folder of a key: all of it before its last slash.
pub fn folder(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Where the outputs of a merge are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the folder that its inputs share: `acme/dt=2026-10-01`.
    Folder(Key),
    /// In the tenant's folder of the month of the first row: `acme/2026-10`. The inputs may come
    /// from many folders.
    Month(Tenant),
}

impl Place {
    /// The folder for rows of which the first is at `from`.
    pub fn folder(&self, from: Micros) -> Key {
        match self {
            Self::Folder(folder) => folder.clone(),
            Self::Month(tenant) => {
                tenant.dated_folder(&from.to_datetime().format("%Y-%m").to_string())
            }
        }
    }
}

/// `<folder>/snapshot.<tenant>.<from>-<to>.<id>.parquet`
pub fn snapshot_key(place: &Place, tenant: &Tenant, from: Micros, to: Micros, id: FileId) -> Key {
    dated_key(place, "snapshot", tenant, from, to, id)
}

/// `<folder>/archive.<tenant>.<from>-<to>.<id>.parquet`, relative to the archive's root. The folder
/// is that of the rows in the store, so that a restore knows it.
pub fn archive_key(place: &Place, tenant: &Tenant, from: Micros, to: Micros, id: FileId) -> Key {
    dated_key(place, "archive", tenant, from, to, id)
}

/// `<folder>/restored.<whose>.<archive id>.<hold id>.parquet`: a raw file of `tenant` with the rows
/// that the archive object `archive_key` of `whose` holds. The folder is the object's, below
/// `tenant`.
pub fn restored_key(
    tenant: &Tenant,
    whose: &Tenant,
    archive_key: &str,
    archived: FileId,
    hold: FileId,
) -> Key {
    let whose = whose.clone().within(tenant.layout());
    let folder = tenant
        .folder_like(&whose, archive_key)
        .unwrap_or_else(|| tenant.to_string());
    let name = format!("restored.{whose}.{archived}.{hold}.parquet");
    file_in(&folder, &name)
}

/// Whose rows, of which archive object, and by which hold, the name of a file says that a restore
/// wrote. Only with that hold in head is it more than a name.
pub fn parse_restored_key(key: &str) -> Option<(&str, FileId, FileId)> {
    let name = key
        .rsplit('/')
        .next()?
        .strip_prefix("restored.")?
        .strip_suffix(".parquet")?;
    let (rest, hold) = name.rsplit_once('.')?;
    let (whose, archived) = rest.rsplit_once('.')?;
    Some((whose, archived.parse().ok()?, hold.parse().ok()?))
}

/// The key of the receipt of an archive object.
pub fn receipt_key(archive_key: &str) -> Key {
    let stem = archive_key.strip_suffix(".parquet").unwrap_or(archive_key);
    format!("{stem}.receipt.json")
}

/// The key of a file in a folder, which may be the root.
fn file_in(folder: &str, name: &str) -> Key {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

fn dated_key(
    place: &Place,
    kind: &str,
    tenant: &Tenant,
    from: Micros,
    to: Micros,
    id: FileId,
) -> Key {
    let name = format!(
        "{kind}.{tenant}.{}-{}.{id}.parquet",
        format_iso_basic(from.to_datetime()),
        format_iso_basic(to.to_datetime())
    );
    file_in(&place.folder(from), &name)
}

/// Bytes that file systems give a name at most.
const LONGEST_NAME: usize = 255;

/// Bytes of a tenant's name at most where its files lie in a directory: the names of snapshots hold
/// it, and while they are written there is a suffix.
pub const LONGEST_IN_STORE: usize = LONGEST_NAME
    - "snapshot..2026-04-27T134507Z-2026-04-27T134507Z.01J8Z0000000000000000000ZZ.parquet#1".len();

/// The same for an archive, where the names of receipts are the longest.
pub const LONGEST_IN_ARCHIVE: usize = LONGEST_NAME
    - "archive..2026-04-27T134507Z-2026-04-27T134507Z.01J8Z0000000000000000000ZZ.receipt.json#1"
        .len();

/// Why the files of a tenant cannot lie in a directory where its name may have `most` bytes, in a
/// sentence; none where they can.
pub fn too_long(tenant: &Tenant, most: usize) -> Option<String> {
    let bytes = tenant.as_str().len();
    (bytes > most).then(|| {
        format!(
            "the name of tenant `{tenant}` has {bytes} bytes, and in a directory {most} are the \
             most: it is part of the names of its files, and a file system takes none above \
             {LONGEST_NAME}. Nothing of the tenant is touched; rename its folder, or use an object \
             store"
        )
    })
}

/// `_icepack/<tenant>/manifest/`
pub fn manifest_dir(tenant: &Tenant) -> Key {
    format!("{STATE_DIR}/{tenant}/manifest")
}

/// `_icepack/<tenant>/manifest/<20 digits>.json`
pub fn manifest_key(tenant: &Tenant, version: u64) -> Key {
    format!("{}/{version:020}.json", manifest_dir(tenant))
}

/// The folder of the pages of a tenant's manifests: `_icepack/<tenant>/pages`.
pub fn page_dir(tenant: &Tenant) -> Key {
    format!("{STATE_DIR}/{tenant}/pages")
}

/// The key of a page: `_icepack/<tenant>/pages/<id>.json.zst`.
pub fn page_key(tenant: &Tenant, id: FileId) -> Key {
    format!("{}/{id}.json.zst", page_dir(tenant))
}

/// The id in a page's key, if it is one of `tenant`'s.
pub fn parse_page_key(tenant: &Tenant, key: &str) -> Option<FileId> {
    let id = key
        .strip_prefix(&page_dir(tenant))?
        .strip_prefix('/')?
        .strip_suffix(".json.zst")?;
    let id = id.parse().ok()?;
    (page_key(tenant, id) == key).then_some(id)
}

/// The version in a manifest's key, if it is one of `tenant`'s.
pub fn parse_manifest_key(tenant: &Tenant, key: &str) -> Option<u64> {
    let digits = key
        .strip_prefix(&manifest_dir(tenant))?
        .strip_prefix('/')?
        .strip_suffix(".json")?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// The kind of file that a key of a tenant names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// One of our outputs, by its name. Whether it is live, only the head says.
    Snapshot(FileId),
    /// Anybody else's file that may hold rows.
    Raw,
    /// Nothing that a manifest may name: hidden, a receipt, or outside the tenant.
    Other,
}

/// Sorts a key of `tenant` into snapshot, raw or other. The suffix of a raw file does not matter:
/// which files are taken is a setting, and a manifest names those that were taken under another.
///
/// A name that starts with `snapshot.` but has no id of ours is what the local-disk compactor
/// wrote: it is in no manifest, so taking it for a snapshot would hide its rows. It is an input
/// like any raw file.
pub fn classify(tenant: &Tenant, key: &str) -> FileKind {
    if !tenant.owns(key) || key.split('/').any(|part| part == DELTA_LOG) {
        return FileKind::Other;
    }
    let name = key.rsplit('/').next().unwrap_or_default();
    match name.strip_suffix(".parquet") {
        Some("") => FileKind::Other,
        Some(stem) => parse_snapshot_name(tenant, stem).map_or(FileKind::Raw, FileKind::Snapshot),
        // Earlier versions took hidden files, but only those that are called `.parquet`.
        None if name.ends_with(RECEIPT) || key.split('/').any(is_hidden) => FileKind::Other,
        None => FileKind::Raw,
    }
}

/// Whether a restore may bring a file of this name: a raw one, called as all that icepack writes.
pub fn may_be_restored(tenant: &Tenant, key: &str) -> bool {
    classify(tenant, key) == FileKind::Raw && key.ends_with(".parquet")
}

/// Whether a segment of a key is left alone by definition.
pub fn is_hidden(segment: &str) -> bool {
    segment.starts_with(['_', '.'])
}

/// Whether a key of `tenant` is that of one of our outputs.
pub fn is_output(tenant: &Tenant, key: &str) -> bool {
    // Asked of each file of a listing, few of which are.
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    name.starts_with(SNAPSHOT) && matches!(classify(tenant, key), FileKind::Snapshot(_))
}

/// A name that only icepack gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named<'a> {
    /// Of whose snapshot, and its id.
    Snapshot(&'a str, FileId),
    /// Of an archive's object.
    ArchiveObject,
}

/// What the name of a file without its `.parquet` says; none where it is not one of ours.
pub(super) fn named(stem: &str) -> Option<Named<'_>> {
    if let Some(rest) = stem.strip_prefix("archive.") {
        return rest
            .rsplit_once('.')?
            .1
            .parse::<FileId>()
            .ok()
            .map(|_| Named::ArchiveObject);
    }
    dated_name(SNAPSHOT, stem).map(|(whose, id)| Named::Snapshot(whose, id))
}

/// Whether the name is that of an output of ours with something in the place of `.parquet`, or
/// behind it: a copy, whose rows are live or archived already.
pub(super) fn is_renamed_output(name: &str) -> bool {
    let mut ends = name
        .match_indices('.')
        .map(|(at, _)| at)
        .chain([name.len()]);
    !name.ends_with(".parquet") && ends.any(|end| named(&name[..end]).is_some())
}

/// The tenant that the name of a snapshot says; none where it is not one.
///
/// ```
/// use icepack_core::model::names::snapshot_tenant;
///
/// assert_eq!(snapshot_tenant("topics/orders/x.parquet"), None);
/// ```
pub fn snapshot_tenant(key: &str) -> Option<&str> {
    let name = key.rsplit('/').next()?.strip_suffix(".parquet")?;
    match named(name)? {
        Named::Snapshot(whose, _) => Some(whose),
        Named::ArchiveObject => None,
    }
}

/// Whether a key is that of an archive object, whichever tenant's.
pub fn is_archive_object(key: &str) -> bool {
    let stem = key
        .rsplit('/')
        .next()
        .and_then(|name| name.strip_suffix(".parquet"));
    stem.and_then(named) == Some(Named::ArchiveObject)
}

/// The id in the name of an archive object of `tenant`, or of its receipt.
pub fn parse_archive_name(tenant: &Tenant, name: &str) -> Option<FileId> {
    let stem = name
        .strip_suffix(".receipt.json")
        .or_else(|| name.strip_suffix(".parquet"))?;
    dated_name("archive.", stem).and_then(|(whose, id)| (whose == tenant.as_str()).then_some(id))
}

/// `snapshot.<tenant>.<from>-<to>.<id>` → id.
fn parse_snapshot_name(tenant: &Tenant, stem: &str) -> Option<FileId> {
    match named(stem) {
        Some(Named::Snapshot(whose, id)) if whose == tenant.as_str() => Some(id),
        _ => None,
    }
}

/// `<kind><tenant>.<from>-<to>.<id>` → tenant and id.
fn dated_name<'a>(kind: &str, stem: &'a str) -> Option<(&'a str, FileId)> {
    let (rest, id) = stem.strip_prefix(kind)?.rsplit_once('.')?;
    let (whose, span) = rest.rsplit_once('.')?;
    if is_span(span) {
        id.parse().ok().map(|id| (whose, id))
    } else {
        None
    }
}

/// `<from>-<to>`
fn is_span(span: &str) -> bool {
    // Two times of 18 characters with a dash between them; the times hold dashes of their own.
    if span.len() != 37
        || !span.is_char_boundary(18)
        || !span.is_char_boundary(19)
        || &span[18..19] != "-"
    {
        return false;
    }
    is_iso_basic(&span[..18]) && is_iso_basic(&span[19..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Tenant {
        Tenant::parse(name).unwrap()
    }

    #[test]
    fn tenants_that_could_be_paths_are_refused() {
        for name in [
            "", ".", "..", "..%2f", "_icepack", "__system", ".hidden", "a/b", "a\\b", "a%2fb",
            "a\nb", "a*",
        ] {
            assert!(Tenant::parse(name).is_err(), "{name}");
        }
        for name in ["acme", "system", "a.b", "a-b_c", "Ünï", "a b", "a=1"] {
            assert!(Tenant::parse(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_tenant_owns_only_what_is_below_it() {
        let acme = tenant("acme");
        assert!(acme.owns("acme/2026-04/x.parquet"));
        for key in [
            "acme",
            "acme/",
            "acmee/x",
            "other/acme/x",
            "acme/../other/x",
            "acme//x",
            "acme/./x",
        ] {
            assert!(!acme.owns(key), "{key}");
        }
    }

    #[test]
    fn snapshot_names_round_trip_and_nothing_else_is_ours() {
        let id: FileId = "01J8Z0000000000000000000ZZ".parse().unwrap();
        for name in ["acme", "a.b", "snapshot"] {
            let t = tenant(name);
            let from = Micros::from_datetime(DateTime::from_timestamp(1_777_297_507, 5).unwrap());
            let key = snapshot_key(
                &Place::Month(t.clone()),
                &t,
                from,
                Micros(from.0 + 1_000_000),
                id,
            );
            assert_eq!(classify(&t, &key), FileKind::Snapshot(id), "{key}");
            assert!(key.starts_with(&format!(
                "{name}/2026-04/snapshot.{name}.2026-04-27T134507Z-2026-04-27T134508Z."
            )));
        }
        let acme = tenant("acme");
        for raw in [
            "acme/x.parquet",
            "acme/snapshot.acme.2026-04-27T134507Z-2026-04-27T134508Z.parquet",
            "acme/snapshot.other.2026-04-27T134507Z-2026-04-27T134508Z.01J8Z0000000000000000000ZZ.\
             parquet",
            "acme/snapshot.acme.2026-04-27T134507Z-2026-04-27T134508Z.01j8z0000000000000000000zz.\
             parquet",
            "acme/snapshot.acme.2026-13-27T134507Z-2026-04-27T134508Z.01J8Z0000000000000000000ZZ.\
             parquet",
        ] {
            assert_eq!(classify(&acme, raw), FileKind::Raw, "{raw}");
        }
        for raw in [
            "acme/000000_0",
            "acme/X.PARQUET",
            "acme/x.json",
            "acme/_temporary/x.parquet",
            "acme/snapshot.acme.2026-04-27T134507Z-2026-04-27T134508Z.01J8Z0000000000000000000ZZ.\
             PARQUET",
        ] {
            assert_eq!(classify(&acme, raw), FileKind::Raw, "{raw}");
        }
        for other in [
            "acme/.parquet",
            "acme/.x.parq",
            "acme/_temporary/x",
            "acme/x.receipt.json",
            "acmee/x.parquet",
            "acmee/x",
            "acme/_delta_log/00000000000000000010.json",
            "acme/_delta_log/00000000000000000010.checkpoint.parquet",
        ] {
            assert_eq!(classify(&acme, other), FileKind::Other, "{other}");
        }
    }

    /// What chrono reads and writes back the same.
    fn is_iso_basic_by_chrono(text: &str) -> bool {
        chrono::NaiveDateTime::parse_from_str(text, ISO_BASIC)
            .is_ok_and(|time| format_iso_basic(time.and_utc()) == text)
    }

    #[test]
    fn times_in_names_are_those_that_chrono_writes() {
        let time = "2024-02-29T235959Z";
        assert!(is_iso_basic(time));
        let (mut seen, mut good) = (0, 0);
        // Every character in every place, and every two digits in every two places.
        for i in 0..time.len() {
            for c in (' '..='~').chain(['é']) {
                let text = format!("{}{c}{}", &time[..i], &time[i + 1..]);
                assert_eq!(is_iso_basic(&text), is_iso_basic_by_chrono(&text), "{text}");
            }
            for n in 0..100 {
                let Some(rest) = time.get(i + 2..) else {
                    continue;
                };
                let text = format!("{}{n:02}{rest}", &time[..i]);
                assert_eq!(is_iso_basic(&text), is_iso_basic_by_chrono(&text), "{text}");
                (seen, good) = (seen + 1, good + i32::from(is_iso_basic(&text)));
            }
        }
        assert!(good > 200 && good < seen - 200, "{good} of {seen}");
        for bad in [
            "",
            "2024-02-29T235959",
            "2023-02-29T000000Z",
            "2024-02-29T2359599Z",
            "+2024-2-29T235959Z",
            "２024-02-29T2359Z",
        ] {
            assert!(!is_iso_basic(bad) && !is_iso_basic_by_chrono(bad), "{bad}");
        }
    }

    #[test]
    fn the_longest_name_of_a_tenant_in_a_directory_just_fits() {
        let (at, id) = (Micros(1_777_297_507_000_000), FileId::NIL);
        let name = |most: usize| tenant(&"x".repeat(most));
        let last = |key: &str| {
            key.rsplit('/')
                .next()
                .map_or(0, |name| format!("{name}#1").len())
        };
        let longest = name(LONGEST_IN_STORE);
        let place = Place::Folder(longest.to_string());
        assert_eq!(last(&snapshot_key(&place, &longest, at, at, id)), 255);
        assert!(too_long(&longest, LONGEST_IN_STORE).is_none());
        let longer = name(LONGEST_IN_STORE + 1);
        assert!(too_long(&longer, LONGEST_IN_STORE).is_some_and(|why| why.contains("171 are")));
        let longest = name(LONGEST_IN_ARCHIVE);
        let object = archive_key(&place, &longest, at, at, id);
        assert_eq!(last(&receipt_key(&object)), 255);
    }

    #[test]
    fn restored_names_round_trip_and_nothing_else_is_one() {
        let (object, hold): (FileId, FileId) = (
            "01J8Z0000000000000000000ZZ".parse().unwrap(),
            "01J8Z0000000000000000000ZY".parse().unwrap(),
        );
        for whose in ["acme", "a.b"] {
            for (below, place) in [
                ("", Place::Folder(whose.to_owned())),
                ("/1970-01", Place::Month(tenant(whose))),
                ("/a=1/b=2", Place::Folder(format!("{whose}/a=1/b=2"))),
            ] {
                let archived = archive_key(&place, &tenant(whose), Micros(0), Micros(0), object);
                let key = restored_key(&tenant("back"), &tenant(whose), &archived, object, hold);
                assert_eq!(parse_restored_key(&key), Some((whose, object, hold)));
                assert_eq!(folder(&key), format!("back{below}"));
            }
        }
        for other in [
            "back/x.parquet",
            "back/restored.acme.parquet",
            "back/restored.acme.01J8Z0000000000000000000ZZ.parquet",
            "back/restored.acme.x.y.parquet",
        ] {
            assert_eq!(parse_restored_key(other), None, "{other}");
        }
    }

    #[test]
    fn manifest_keys_round_trip() {
        let t = tenant("acme");
        assert_eq!(
            manifest_key(&t, 12),
            "_icepack/acme/manifest/00000000000000000012.json"
        );
        assert_eq!(parse_manifest_key(&t, &manifest_key(&t, 12)), Some(12));
        for key in [
            "_icepack/acme/manifest/12.json",
            "_icepack/other/manifest/00000000000000000012.json",
            "_icepack/acme/manifest/+0000000000000000012.json",
        ] {
            assert_eq!(parse_manifest_key(&t, key), None, "{key}");
        }
    }
}
