//! Decides what a listed entry of a tenant is: an input, an output, left alone, or foreign. The
//! planner, the live view, the sweep and all commands that only read use this one table.
//!
//! [`super::names::classify`] answers another question: which *paths* a manifest may name. An old
//! manifest, or one that was written under other settings, may name files that are no inputs today.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use serde::{Deserialize, Serialize};

mod sorter;

use super::file::Listed;
use super::manifest::{Cause, Manifest};
use super::names::{self, DELTA_LOG, FileId, STATE_DIR, SYMLINK_DIR, Tenant, is_hidden};
use super::policy::Within;
use super::retention::lookup;
use super::same::Sameness;
pub use sorter::{Kept, Sorter};

/// A listed entry of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// One of our outputs, by its name. Whether it is live, only the head says.
    Snapshot(FileId),
    /// A file that somebody wrote for us. Whether it is Parquet, its bytes say.
    Raw,
    /// Of our own table or manifests for readers; nobody else's business.
    Ours,
    /// Left alone, and counted by its reason.
    Ignored(Ignored),
    /// Part of what is somebody else's: the whole tenant is left alone.
    Foreign(Foreign),
}

/// Why an entry is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ignored {
    /// A segment below the tenant starts with `_` or `.`: every engine leaves it out, and jobs keep
    /// there what is not committed.
    Hidden,
    /// No byte in it, or the marker of a folder.
    Empty,
    /// It is called `.parquet`, `.parq` or `.pq`, in upper or lower case: likely Parquet, and not
    /// taken by the setting `files`.
    OtherSuffix,
    /// Called otherwise, and not taken by the setting `files`.
    NotParquet,
    /// Taken by the setting `files`; but its first bytes are not Parquet's.
    OtherContent,
    /// Its key has an empty, `.` or `..` segment, a control character, or is not UTF-8: no path
    /// means it and nothing else.
    NotPlain,
    /// A link in a directory. What lies behind it may be anybody's.
    Link,
    /// In the root of the store, or elsewhere where no tenant is.
    Root,
    /// The setting `exclude` names it.
    Excluded,
}

/// State of another system in a tenant's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Foreign {
    /// The log of a table of the whole tenant, which this run does not publish.
    UnpublishedTable,
    /// A Delta table's log elsewhere in the tenant.
    DeltaTable,
    /// An Iceberg table's metadata.
    IcebergTable,
    HudiTable,
    /// The log of a Spark streaming sink.
    SparkSink,
    /// A file `_metadata`, by which pandas, Dask and fastparquet know the files of a folder.
    Summary,
    /// Lists of files that Hive's `SymlinkTextInputFormat` reads, and that this run does not keep.
    SymlinkManifests,
    /// A file of a table that Spark or Hive has cut into buckets: each file's name says its bucket.
    BucketedTable,
    Store,
    /// A snapshot of another tenant.
    Snapshot,
    /// An object of an icepack archive.
    ArchiveObject,
    /// A receipt of an icepack archive.
    Receipt,
    /// A folder `key=value`, where files of different folders are merged: the value is in no file,
    /// and merging would lose it.
    Partition,
}

impl Ignored {
    /// The reason in a word or two, to follow a number.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hidden => "hidden",
            Self::Empty => "empty",
            Self::OtherSuffix => "not named as `files` says, but likely Parquet",
            Self::NotParquet => "not named as `files` says",
            Self::OtherContent => "not Parquet by their first bytes",
            Self::NotPlain => "with a name that is no plain path",
            Self::Link => "behind a link",
            Self::Root => "in no tenant's folder",
            Self::Excluded => "excluded",
        }
    }

    /// Whether a person would be surprised that it is left alone.
    fn is_notable(self) -> bool {
        match self {
            Self::OtherSuffix
            | Self::NotParquet
            | Self::OtherContent
            | Self::NotPlain
            | Self::Link => true,
            Self::Hidden | Self::Empty | Self::Root | Self::Excluded => false,
        }
    }
}

impl Foreign {
    /// What it is, in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnpublishedTable => "a Delta table that this run does not publish",
            Self::DeltaTable => "a Delta table",
            Self::IcebergTable => "an Iceberg table",
            Self::HudiTable => "a Hudi table",
            Self::SparkSink => "a Spark streaming sink",
            Self::Summary => {
                "a file `_metadata`, whose readers look for the very files that it names"
            }
            Self::SymlinkManifests => {
                "symlink manifests, whose readers look for the very files that they list, and which \
                 this run does not keep"
            }
            Self::BucketedTable => "a table in buckets, whose file names say the bucket",
            Self::Store => "another icepack store",
            Self::Snapshot => "a snapshot of another tenant",
            Self::ArchiveObject => "an object of an icepack archive",
            Self::Receipt => "a receipt of an icepack archive",
            Self::Partition => {
                "a partition folder, whose values are in its name and in no file: `compaction.within \
                 = \"tenant\"` would lose them"
            }
        }
    }
}

/// What a listing puts in the place of an entry that no plain key names: a hidden segment, followed
/// by the kind of entry and the rest of its name. So it is never an input, even to who does not
/// know of it, and no store is asked for it.
const PLACEHOLDER: &str = ".icepack-left.";

/// What stands for itself in a placeholder.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// The kind of entry that a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Odd {
    /// A link in a directory, wherever it leads.
    Link,
    /// A key that is not plain.
    Key,
}

impl Odd {
    fn word(self) -> &'static str {
        match self {
            Self::Link => "link.",
            Self::Key => "key.",
        }
    }

    /// The segment that a listing shows in the place of `rest`, the end of a key from its first
    /// segment on that is not plain. An empty rest is that of a key which ends with a slash:
    /// the marker of a folder.
    pub fn segment(self, rest: &[u8]) -> String {
        format!(
            "{PLACEHOLDER}{}{}",
            self.word(),
            percent_encode(rest, ESCAPED)
        )
    }
}

/// Where in `key` a placeholder stands, what it is, and the rest of the name that it stands for.
fn placeholder(key: &str) -> Option<(&str, Odd, String)> {
    let at = key.rfind('/').map_or(0, |slash| slash + 1);
    let told = key[at..].strip_prefix(PLACEHOLDER)?;
    let (odd, rest) = [Odd::Link, Odd::Key]
        .into_iter()
        .find_map(|odd| Some((odd, told.strip_prefix(odd.word())?)))?;
    Some((
        &key[..at],
        odd,
        percent_decode_str(rest).decode_utf8_lossy().into_owned(),
    ))
}

/// Whether `key` stands for an entry that has no plain key: no store may be asked for it.
pub fn is_placeholder(key: &str) -> bool {
    placeholder(key).is_some()
}

/// Whether `key` stands for a folder in the root that has no name.
pub fn is_unnamed_folder(key: &str) -> bool {
    placeholder(key)
        .is_some_and(|(folder, odd, rest)| folder.is_empty() && odd == Odd::Key && rest == "/")
}

/// The name of the link that `key` stands for, in the folder `place`: with its slash, or empty for
/// the root of a store.
pub fn link(place: &str, key: &str) -> Option<String> {
    placeholder(key)
        .and_then(|(folder, odd, rest)| (folder == place && odd == Odd::Link).then_some(rest))
}

/// A listed key, for people: a placeholder becomes the name that it stands for.
pub fn shown(key: &str) -> String {
    placeholder(key).map_or_else(
        || key.to_owned(),
        |(folder, _, rest)| format!("{folder}{rest}"),
    )
}

/// Keys that are not looked at, as globs on keys relative to the root of the store. `*` stays
/// within a segment, `**` does not.
///
/// ```
/// use icepack_core::model::inputs::Exclude;
///
/// let exclude = Exclude::parse(["acme/lake/**"]).unwrap();
/// assert!(exclude.matches("acme/lake/part-0.parquet") && !exclude.matches("acme/part-0.parquet"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Exclude {
    patterns: Vec<String>,
    globs: GlobSet,
}

impl PartialEq for Exclude {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl Exclude {
    /// Compiles globs.
    ///
    /// # Errors
    /// The first that is none, with why.
    pub fn parse<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, String> {
        let (patterns, globs) = compile(
            patterns,
            |pattern| pattern.starts_with('/'),
            "excludes nothing: write keys as they are below the store, like \"acme/lake/**\"",
        )?;
        Ok(Self { patterns, globs })
    }

    /// Whether `key` is not looked at.
    pub fn matches(&self, key: &str) -> bool {
        !self.patterns.is_empty() && self.globs.is_match(key)
    }

    /// As they were given.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }
}

/// Bytes. Longer globs would be too large to compile, or take long.
const LONGEST_GLOB: usize = 1_000;

/// Compiles globs of which `*` stays within a segment. Of one that is empty, too long, or that
/// `cannot_match`, the error says `why`.
fn compile<S: AsRef<str>>(
    patterns: impl IntoIterator<Item = S>,
    cannot_match: fn(&str) -> bool,
    why: &str,
) -> Result<(Vec<String>, GlobSet), String> {
    let (mut builder, mut kept) = (GlobSetBuilder::new(), Vec::new());
    for pattern in patterns {
        let pattern = pattern.as_ref();
        if pattern.is_empty() || pattern.len() > LONGEST_GLOB || cannot_match(pattern) {
            return Err(format!("`{pattern}` {why}"));
        }
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        builder.add(glob.map_err(|e| format!("`{pattern}` is not a glob: {}", e.kind()))?);
        kept.push(pattern.to_owned());
    }
    let globs = builder
        .build()
        .map_err(|e| format!("these globs are too large: {}", e.kind()))?;
    Ok((kept, globs))
}

/// What is taken where nothing is said.
const DEFAULT_FILES: &str = "*.parquet";

/// Names of files that are inputs, as globs on the last segment of a key. By default `*.parquet`.
///
/// ```
/// use icepack_core::model::inputs::Files;
///
/// assert!(Files::default().matches("x.parquet") && !Files::default().matches("x.parq"));
/// assert!(Files::parse(["*.parquet", "*.parq"]).unwrap().matches("x.parq"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Files {
    patterns: Vec<String>,
    /// None for the default, which needs no glob.
    globs: Option<GlobSet>,
}

impl PartialEq for Files {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl Files {
    /// Compiles globs.
    ///
    /// # Errors
    /// The first that is none, with why; and where there are none.
    pub fn parse<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, String> {
        let (patterns, globs) = compile(
            patterns,
            |pattern| pattern.contains('/'),
            "takes no file: write globs on names without their folders, like \"*.parquet\"",
        )?;
        if patterns.is_empty() {
            return Err("no file would be taken: write globs, like \"*.parquet\"".to_owned());
        }
        if patterns == [DEFAULT_FILES] {
            return Ok(Self::default());
        }
        Ok(Self {
            patterns,
            globs: Some(globs),
        })
    }

    /// Whether a file of this name is an input, if nothing else speaks against it.
    pub fn matches(&self, name: &str) -> bool {
        self.globs
            .as_ref()
            .map_or_else(|| name.ends_with(".parquet"), |globs| globs.is_match(name))
    }

    /// As they were given.
    pub fn patterns(&self) -> Vec<&str> {
        if self.globs.is_none() {
            return vec![DEFAULT_FILES];
        }
        self.patterns.iter().map(String::as_str).collect()
    }
}

/// The files that a head knows to be in other formats than Parquet, with the tags that they showed.
#[derive(Debug, Clone, Default)]
pub struct OtherFormats<'a>(BTreeMap<&'a str, Option<&'a str>>);

impl<'a> OtherFormats<'a> {
    /// Those of `head`, if there is one.
    pub fn of(head: Option<&'a Manifest>) -> Self {
        let notes = head.map_or(&[][..], |m| &m.quarantined);
        let notes = notes.iter().filter(|q| q.cause == Some(Cause::OtherFormat));
        Self(notes.map(|q| (q.key.as_str(), q.etag.as_deref())).collect())
    }

    /// Whether `f` is the very file that was looked at.
    pub fn has(&self, f: &Listed) -> bool {
        let known = self.0.get(f.key.as_str());
        known.is_some_and(|tag| Sameness::of(*tag, f.etag.as_deref()).is_same())
    }
}

/// The settings that decide what is an input.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// Keys that are not looked at.
    pub exclude: Exclude,
    /// Names of inputs.
    pub files: Files,
    /// Whether this run publishes a table in each tenant's folder: then its log is ours.
    pub own_log: bool,
    /// Whether this run keeps symlink manifests in each tenant's folder.
    pub own_symlinks: bool,
    /// Which files may be merged with each other: only those of one folder keep the values of
    /// `key=value` folders.
    pub within: Within,
    /// The same of single tenants, by their name or a glob.
    pub within_of: BTreeMap<String, Within>,
}

impl Rules {
    /// Decides what an entry of `tenant` is, by its key and size.
    pub fn input(&self, tenant: &Tenant, key: &str, size: u64) -> Input {
        match self.by_folder(tenant, key, size) {
            Ok((folders, name)) => {
                self.by_name(self.within(tenant), tenant, key, size, folders, name)
            }
            Err(found) => found,
        }
    }

    /// The folders of `key` below the tenant and its last segment; or what it is, where its folders
    /// decide that. Of two plain keys in one folder, both or neither is decided here.
    fn by_folder<'k>(
        &self,
        tenant: &Tenant,
        key: &'k str,
        size: u64,
    ) -> Result<(&'k str, &'k str), Input> {
        if let Some((folder, odd, rest)) = placeholder(key) {
            return Err(self.odd(tenant, folder, odd, &rest));
        }
        if self.exclude.matches(key) {
            return Err(Input::Ignored(Ignored::Excluded));
        }
        // Stores that show the marker of the tenant's own folder show it without its slash.
        let is_own = |prefix: String| prefix.strip_suffix('/') == Some(key);
        if size == 0 && tenant.prefix().is_some_and(is_own) {
            return Err(Input::Ignored(Ignored::Empty));
        }
        let Some(below) = tenant.below(key).filter(|_| names::is_plain(key)) else {
            return Err(Input::Ignored(Ignored::NotPlain));
        };
        let (folders, name) = below.rsplit_once('/').unwrap_or(("", below));
        for (depth, folder) in folders.split('/').filter(|f| !f.is_empty()).enumerate() {
            // The first hidden segment decides: what lies deeper is part of it.
            match state_folder(folder) {
                Some(Foreign::DeltaTable) if depth == 0 => {
                    return Err(if self.own_log {
                        Input::Ours
                    } else {
                        Input::Foreign(Foreign::UnpublishedTable)
                    });
                }
                Some(Foreign::SymlinkManifests) if depth == 0 && self.own_symlinks => {
                    return Err(Input::Ours);
                }
                Some(whose) => return Err(Input::Foreign(whose)),
                None if is_hidden(folder) => return Err(Input::Ignored(Ignored::Hidden)),
                None => {}
            }
        }
        Ok((folders, name))
    }

    /// What a file in plain folders of `tenant` is by its name.
    fn by_name(
        &self,
        within: Within,
        tenant: &Tenant,
        key: &str,
        size: u64,
        folders: &str,
        name: &str,
    ) -> Input {
        if (name.ends_with(".metadata.json") || name.ends_with(".metadata.json.gz"))
            && folders.rsplit('/').find(|f| !f.is_empty()) == Some("metadata")
        {
            return Input::Foreign(Foreign::IcebergTable);
        }
        if name == SUMMARY {
            return Input::Foreign(Foreign::Summary);
        }
        if is_hidden(name) {
            return Input::Ignored(Ignored::Hidden);
        }
        if is_of_bucket(name) {
            return Input::Foreign(Foreign::BucketedTable);
        }
        if name.ends_with(names::RECEIPT) {
            return Input::Foreign(Foreign::Receipt);
        }
        // Our own outputs end so whatever the setting says of others.
        let foreign = match name.strip_suffix(".parquet").and_then(names::named) {
            Some(names::Named::Snapshot(whose, id)) if whose == tenant.as_str() => {
                return if size == 0 {
                    Input::Ignored(Ignored::Empty)
                } else {
                    Input::Snapshot(id)
                };
            }
            Some(names::Named::Snapshot(..)) => Some(Foreign::Snapshot),
            Some(names::Named::ArchiveObject) => Some(Foreign::ArchiveObject),
            None => None,
        };
        match foreign {
            Some(whose) => Input::Foreign(whose),
            None if !self.takes(key, name) => Input::Ignored(not_taken(name)),
            // The marker of a folder `x.parquet/` looks like this in a store that shows no slash.
            None if size == 0 => Input::Ignored(Ignored::Empty),
            None if within == Within::Tenant && tenant.open_folders(key).any(is_partition) => {
                Input::Foreign(Foreign::Partition)
            }
            None => Input::Raw,
        }
    }

    /// Which files of `tenant` may be merged with each other.
    fn within(&self, tenant: &Tenant) -> Within {
        lookup(self.within_of.iter(), tenant.as_str())
            .copied()
            .unwrap_or(self.within)
    }

    /// Whether a file that is not one of our outputs is an input by its name.
    fn takes(&self, key: &str, name: &str) -> bool {
        // What a restore brought is raw under every setting, or its rows would be nowhere.
        names::parse_restored_key(key).is_some()
            || (self.files.matches(name) && !names::is_renamed_output(name))
    }

    /// Whether the state of a table in `folder` is looked at.
    pub fn sees(&self, folder: &str) -> bool {
        !self.exclude.matches(&format!("{folder}/log"))
    }

    fn odd(&self, tenant: &Tenant, folder: &str, odd: Odd, rest: &str) -> Input {
        if self.exclude.matches(&format!("{folder}{rest}")) {
            return Input::Ignored(Ignored::Excluded);
        }
        match odd {
            // A table whose log lies behind a link is a table.
            Odd::Link => match self.input(tenant, &format!("{folder}{rest}/log"), 1) {
                found @ Input::Foreign(_) => found,
                _ => Input::Ignored(Ignored::Link),
            },
            Odd::Key if rest.is_empty() => Input::Ignored(Ignored::Empty),
            Odd::Key => Input::Ignored(Ignored::NotPlain),
        }
    }

    /// Sorts a listing of `tenant` that was taken after `head` was read.
    ///
    /// What head names stays, whatever it is called: live snapshots are head's, and a retired file
    /// waits to be deleted. So does what head knows to be no Parquet file, or head would forget
    /// that.
    pub fn sort(
        &self,
        tenant: &Tenant,
        head: Option<&Manifest>,
        mut listing: Vec<Listed>,
    ) -> Sorted {
        let mut sorter = self.sorter(tenant, head);
        listing.retain(|f| sorter.sort(f, head).is_some());
        Sorted {
            listing,
            left: sorter.left(),
        }
    }

    /// Sorts such a listing entry by entry.
    pub fn sorter<'a>(&'a self, tenant: &'a Tenant, head: Option<&Manifest>) -> Sorter<'a> {
        Sorter::new(self, tenant, head)
    }

    /// Sorts files that belong to no tenant, as those in the root of a store.
    pub fn sort_root(&self, files: &[Listed]) -> Left {
        let mut left = Left::default();
        for f in files {
            let why = match placeholder(&f.key) {
                _ if self.exclude.matches(&shown(&f.key)) => Ignored::Excluded,
                Some((_, Odd::Link, _)) => Ignored::Link,
                Some((_, Odd::Key, rest)) if rest.is_empty() => continue,
                Some((_, Odd::Key, _)) => Ignored::NotPlain,
                None if f.key.split('/').any(is_hidden) => continue,
                // Nobody takes a file in the root for data unless it is called so.
                None if !is_called_parquet(&f.key) => continue,
                None if self
                    .files
                    .matches(f.key.rsplit('/').next().unwrap_or_default()) =>
                {
                    Ignored::Root
                }
                None => Ignored::OtherSuffix,
            };
            let seen = left.ignored.entry(why).or_default();
            seen.add(&f.key, f.size, true);
        }
        left
    }
}

/// `key=value`, as engines find it in a path.
fn is_partition(folder: &str) -> bool {
    super::partition::split(folder).is_some()
}

/// The footers of a folder's files, in one file. It names them, so that its readers fail once they
/// are gone. Beside it, `_common_metadata` has only the columns.
///
/// Source: parquet-format, "Separating metadata and column data".
const SUMMARY: &str = "_metadata";

/// Whether Spark reads the number of a bucket out of a name: `part-00000-<uuid>_00003.c000.…`.
///
/// Source: Spark's `BucketingUtils`: `.*_(\d+)(?:\..*)?$`, of files that its writer has named.
fn is_of_bucket(name: &str) -> bool {
    let Some((before, after)) = name
        .strip_prefix("part-")
        .and_then(|rest| rest.split_once('_'))
    else {
        return false;
    };
    let (bucket, rest) = after.split_at(after.len().min(5));
    // A task's number and a UUID, five digits, and the number of the file.
    before.len() == 42
        && bucket.len() == 5
        && bucket.bytes().all(|b| b.is_ascii_digit())
        && rest.starts_with(".c")
}

/// Whose state a folder of this name holds.
fn state_folder(folder: &str) -> Option<Foreign> {
    match folder {
        DELTA_LOG => Some(Foreign::DeltaTable),
        ".hoodie" => Some(Foreign::HudiTable),
        "_spark_metadata" => Some(Foreign::SparkSink),
        SYMLINK_DIR => Some(Foreign::SymlinkManifests),
        STATE_DIR => Some(Foreign::Store),
        _ => None,
    }
}

/// The folder of the table or store that somebody else keeps, where `key` is part of its state:
/// empty for the root. None where it is part of none, or of the state of this very store.
///
/// ```
/// use icepack_core::model::inputs::foreign_root;
///
/// assert_eq!(foreign_root("acme/lake/_delta_log/00.json"), Some("acme/lake"));
/// assert_eq!(foreign_root("_icepack/acme/manifest/1.json"), None);
/// ```
pub fn foreign_root(key: &str) -> Option<&str> {
    let (mut at, mut folder) = (0, None);
    for segment in key.split('/') {
        let root = key[..at].trim_end_matches('/');
        let is_log = state_folder(segment).is_some() && !(at == 0 && segment == STATE_DIR);
        let is_snapshot = folder == Some("metadata") && segment.ends_with(".metadata.json");
        if is_log {
            return Some(root);
        }
        if is_snapshot {
            return Some(names::folder(root));
        }
        folder = Some(segment);
        at += segment.len() + 1;
    }
    None
}

/// Whether the name says that the file is Parquet. Of another, only its bytes can say it.
pub fn is_called_parquet(name: &str) -> bool {
    let suffix = name
        .rsplit_once('.')
        .map(|(_, suffix)| suffix.to_ascii_lowercase());
    matches!(suffix.as_deref(), Some("parquet" | "parq" | "pq"))
}

fn not_taken(name: &str) -> Ignored {
    if is_called_parquet(name) {
        Ignored::OtherSuffix
    } else {
        Ignored::NotParquet
    }
}

/// A listing, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sorted {
    /// Inputs, our outputs, and whatever head names.
    pub listing: Vec<Listed>,
    pub left: Left,
}

/// Names that are told of each kind.
const NAMES: usize = 3;

/// The entries of a listing that are no inputs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Left {
    /// Entries that are left alone, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ignored: BTreeMap<Ignored, Seen>,
    /// Foreign state, by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub foreign: BTreeMap<Foreign, Seen>,
    /// Of our own table or manifests for readers. Who keeps them need not list them again.
    #[serde(skip)]
    pub ours: Vec<Listed>,
}

/// Entries of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Seen {
    pub files: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// The first of them by their names, where a person would want to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

impl Seen {
    pub(crate) fn add(&mut self, key: &str, size: u64, named: bool) {
        self.files += 1;
        self.bytes += size;
        if named
            && (self.names.len() < NAMES || self.names.last().is_some_and(|n| key < n.as_str()))
        {
            self.name(shown(key));
        }
    }

    /// Names one more. The first names are kept, in whatever order a store lists them.
    fn name(&mut self, name: String) {
        let at = self.names.partition_point(|n| *n <= name);
        self.names.insert(at, name);
        self.names.truncate(NAMES);
    }

    fn plus(&mut self, other: &Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        other.names.iter().cloned().for_each(|name| self.name(name));
    }

    /// `` (`a`, `b` and 3 more)``, or nothing where no name was kept.
    pub fn named(&self) -> String {
        if self.names.is_empty() {
            return String::new();
        }
        let names: Vec<String> = self
            .names
            .iter()
            .map(|n| format!("`{}`", n.escape_debug()))
            .collect();
        let more = self.files.saturating_sub(names.len() as u64);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        format!(" ({}{more})", names.join(", "))
    }
}

impl Left {
    /// Whether everything was an input.
    pub fn is_empty(&self) -> bool {
        self.ignored.is_empty() && self.foreign.is_empty()
    }

    /// Counts a file that is left alone.
    pub fn ignore(&mut self, why: Ignored, key: &str, size: u64) {
        let seen = self.ignored.entry(why).or_default();
        seen.add(key, size, why.is_notable());
    }

    /// Adds the entries of another listing.
    pub fn add(&mut self, other: &Self) {
        other
            .ignored
            .iter()
            .for_each(|(why, seen)| self.ignored.entry(*why).or_default().plus(seen));
        other
            .foreign
            .iter()
            .for_each(|(whose, seen)| self.foreign.entry(*whose).or_default().plus(seen));
    }

    /// What is left alone and why, in a line without its end; none where nothing is.
    pub fn ignored_line(&self) -> Option<String> {
        let kinds: Vec<String> = self
            .ignored
            .iter()
            .map(|(why, seen)| format!("{} {}{}", seen.files, why.as_str(), seen.named()))
            .collect();
        (!kinds.is_empty()).then(|| kinds.join(", "))
    }

    /// Why nothing of `tenant` may be touched; none where nothing of it is somebody else's.
    pub fn refusal(&self, tenant: &Tenant) -> Option<String> {
        let found: Vec<String> = self
            .foreign
            .iter()
            .map(|(whose, seen)| format!("{}{}", whose.as_str(), seen.named()))
            .collect();
        let name = self.foreign.values().flat_map(|seen| &seen.names).next()?;
        Some(format!(
            "tenant `{tenant}` holds what is not icepack's: {}. Nothing of the tenant is touched. \
             Move it out of the tenant's folder, or name it in `exclude`, as in exclude = [{:?}]",
            found.join("; "),
            proposed_glob(name)
        ))
    }

    /// Whether readers of the files would not get what their owner means: rows that a table has
    /// deleted, or another store's. What only merging would harm is read as ever, and a table of
    /// the whole tenant follows its head, where there is one.
    pub fn misleads(&self, has_head: bool) -> bool {
        self.foreign.keys().any(|whose| match whose {
            Foreign::Partition
            | Foreign::Summary
            | Foreign::SymlinkManifests
            | Foreign::BucketedTable => false,
            Foreign::UnpublishedTable => !has_head,
            _ => true,
        })
    }
}

/// A glob for what a foreign file belongs to: the folder of the table, not of its log.
pub fn proposed_glob(key: &str) -> String {
    let mut folders: Vec<&str> = key.split('/').collect();
    folders.pop();
    if let Some(at) = folders
        .iter()
        .position(|f| state_folder(f).is_some() || *f == "metadata" || is_partition(f))
        .filter(|at| *at > 0)
    {
        folders.truncate(at);
    }
    format!("{}/**", globset::escape(&folders.join("/")))
}

#[cfg(test)]
mod tests;
