//! A directory as a store that follows no link.
//!
//! object_store's own directory store follows links: a file behind one, in another tenant or
//! outside the store, would be an input and be deleted. It also ends a listing at the first name
//! that is no key. Here an entry that no plain key names is listed as a placeholder ([`Odd`]), and
//! the listing goes on.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{File, Metadata, ReadDir};
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result,
};

use super::draft;
use icepack_core::model::inputs::Odd;
use icepack_core::model::names::SYMLINK_DIR;

/// Entries that are read from the disk at once.
const CHUNK: usize = 1024;

/// The store.
#[derive(Debug)]
pub struct PlainDirectory {
    inner: LocalFileSystem,
    root: Arc<PathBuf>,
}

impl PlainDirectory {
    /// The directory `root`, which `inner` is of. That it is itself reached by a link is its
    /// owner's choice.
    ///
    /// # Errors
    /// Where it cannot be found.
    pub fn new(inner: LocalFileSystem, root: &FsPath) -> std::io::Result<Self> {
        Ok(Self {
            inner,
            root: Arc::new(root.canonicalize()?),
        })
    }

    fn check(&self, key: &Path) -> Result<()> {
        check(&self.root, key)
    }

    /// As [`draft::put`].
    async fn put_whole(&self, key: &Path, payload: PutPayload, is_new: bool) -> Result<PutResult> {
        let path = self.root.join(key.as_ref());
        let put = tokio::task::spawn_blocking(move || {
            let written = draft::put(&path, &payload, is_new)?.metadata()?;
            let modified = written.modified()?;
            Ok(tag(&written, modified))
        });
        let put: std::io::Result<String> = put.await.unwrap_or_else(|e| Err(e.into()));
        match put {
            Ok(tag) => Ok(PutResult {
                e_tag: Some(tag),
                version: None,
                extensions: Default::default(),
            }),
            Err(e) if is_new && e.kind() == ErrorKind::AlreadyExists => Err(Error::AlreadyExists {
                path: key.to_string(),
                source: e.into(),
            }),
            Err(e) => Err(Error::Generic {
                store: "directory",
                source: format!("cannot write `{key}`: {e}").into(),
            }),
        }
    }

    /// Keeps other processes of icepack from replacing a file as long as it lives.
    async fn lock(&self) -> Result<File> {
        let root = Arc::clone(&self.root);
        let locked = tokio::task::spawn_blocking(move || {
            let root = File::open(root.as_ref())?;
            root.lock()?;
            Ok(root)
        });
        let locked: std::io::Result<File> = locked.await.unwrap_or_else(|e| Err(e.into()));
        locked.map_err(|e| unreadable(&self.root, e))
    }
}

impl fmt::Display for PlainDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// The first link on the way from `root` to `key`, the last step included.
pub fn link_on_the_way(root: &FsPath, key: &str) -> Option<PathBuf> {
    let mut here = root.to_owned();
    for step in key.split('/').filter(|step| !step.is_empty()) {
        here.push(step);
        match std::fs::symlink_metadata(&here) {
            Ok(found) if found.is_symlink() => return Some(here),
            Ok(_) => {}
            // What is not there yet is no link.
            Err(_) => return None,
        }
    }
    None
}

fn check(root: &FsPath, key: &Path) -> Result<()> {
    let Some(link) = link_on_the_way(root, key.as_ref()) else {
        return Ok(());
    };
    let why = BehindLink(format!(
        "`{key}` lies behind the link `{}`: links are not followed, move the files themselves here",
        link.display()
    ));
    Err(Error::Generic {
        store: "directory",
        source: Box::new(why),
    })
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BehindLink(String);

/// Whether a key was not looked at because a link is on its way: then nothing is known of it.
pub fn is_behind_link(error: &Error) -> bool {
    matches!(error, Error::Generic { source, .. } if source.is::<BehindLink>())
}

/// What a walk meets.
enum Found {
    File(ObjectMeta),
    Folder(Path),
}

/// A walk through a folder, without links.
struct Walk {
    /// Folders that are being read, with what comes before the names in them.
    open: Vec<(ReadDir, String)>,
    /// Whether folders are met, and not entered.
    shallow: bool,
}

impl Walk {
    fn below(root: &FsPath, prefix: Option<&Path>, shallow: bool) -> Result<Self> {
        let prefix = prefix.map(AsRef::as_ref).filter(|p: &&str| !p.is_empty());
        if let Some(prefix) = prefix {
            check(root, &Path::parse(prefix)?)?;
        }
        let mut walk = Self {
            open: Vec::new(),
            shallow,
        };
        walk.enter(
            &prefix.map_or_else(|| root.to_owned(), |p| root.join(p)),
            prefix.map_or_else(String::new, |p| format!("{p}/")),
        )?;
        Ok(walk)
    }

    fn enter(&mut self, folder: &FsPath, before: String) -> Result<()> {
        match std::fs::read_dir(folder) {
            Ok(entries) => self.open.push((entries, before)),
            // It went meanwhile, or there is none; a file has nothing below it.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(e) => return Err(unreadable(folder, e)),
        }
        Ok(())
    }

    fn meet(&mut self, entry: &std::fs::DirEntry, before: &str) -> Result<Option<Found>> {
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(unreadable(&entry.path(), e)),
        };
        let name = entry.file_name();
        let odd = |odd: Odd, size| {
            let segment = odd.segment(name.as_encoded_bytes());
            Ok(Some(Found::File(ObjectMeta {
                size,
                ..meta(Path::parse(format!("{before}{segment}"))?, &metadata)
            })))
        };
        if metadata.is_symlink() {
            return odd(Odd::Link, 0);
        }
        let Some(key) = plain(before, &name) else {
            return odd(
                Odd::Key,
                if metadata.is_file() {
                    metadata.len()
                } else {
                    0
                },
            );
        };
        if metadata.is_dir() {
            if self.shallow {
                return Ok(Some(Found::Folder(key)));
            }
            self.enter(&entry.path(), format!("{key}/"))?;
            return Ok(None);
        }
        // Neither what is being written, which object_store calls so, nor pipes and sockets.
        Ok((metadata.is_file() && !is_staged(&name)).then(|| Found::File(meta(key, &metadata))))
    }
}

impl Iterator for Walk {
    type Item = Result<Found>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (entries, before) = self.open.last_mut()?;
            let Some(entry) = entries.next() else {
                self.open.pop();
                continue;
            };
            let before = before.clone();
            let met = entry
                .map_err(|e| unreadable(FsPath::new(&before), e))
                .and_then(|entry| self.meet(&entry, &before));
            if let Some(found) = met.transpose() {
                return Some(found);
            }
        }
    }
}

fn unreadable(path: &FsPath, e: std::io::Error) -> Error {
    Error::Generic {
        store: "directory",
        source: format!("cannot read `{}`: {e}", path.display()).into(),
    }
}

/// The key of the entry `name`; none where no key means it.
fn plain(before: &str, name: &OsStr) -> Option<Path> {
    let key = format!("{before}{}", name.to_str()?);
    Path::parse(&key)
        .ok()
        .filter(|path| path.as_ref() == key && !key.chars().any(char::is_control))
}

fn is_staged(name: &OsStr) -> bool {
    name.to_str()
        .and_then(|n| n.split_once('#'))
        .is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn meta(location: Path, found: &Metadata) -> ObjectMeta {
    let modified = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    ObjectMeta {
        location,
        last_modified: modified.into(),
        size: found.len(),
        e_tag: Some(tag(found, modified)),
        version: None,
    }
}

/// As object_store makes it: a test holds the two together.
fn tag(found: &Metadata, modified: SystemTime) -> String {
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(found);
    #[cfg(not(unix))]
    let inode = 0_u64;
    let micros = modified
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_micros();
    format!("\"{inode:x}-{micros:x}-{:x}\"", found.len())
}

/// Every file of a walk, read from the disk in pieces.
fn files(walk: Result<Walk>) -> BoxStream<'static, Result<ObjectMeta>> {
    let walk = match walk {
        Ok(walk) => walk,
        Err(e) => return stream::iter([Err(e)]).boxed(),
    };
    let chunks = stream::try_unfold(walk, |mut walk| async move {
        let read = tokio::task::spawn_blocking(move || {
            let chunk: VecDeque<_> = walk.by_ref().take(CHUNK).collect();
            (walk, chunk)
        });
        let (walk, chunk) = read.await.map_err(|source| Error::JoinError { source })?;
        Ok::<_, Error>((!chunk.is_empty()).then(|| (stream::iter(chunk), walk)))
    });
    let file = |found| match found {
        Found::File(meta) => Some(meta),
        Found::Folder(_) => None,
    };
    chunks
        .try_flatten()
        .try_filter_map(move |found| std::future::ready(Ok(file(found))))
        .boxed()
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for PlainDirectory {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.check(location)?;
        let is_manifest = location.parts().any(|part| part.as_ref() == SYMLINK_DIR);
        if !is_manifest {
            return self.inner.put_opts(location, payload, opts).await;
        }
        // object_store replaces no file that somebody else may be replacing.
        let _lock = self.lock().await?;
        let is_new = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(known) => {
                if self.inner.head(location).await?.e_tag != known.e_tag {
                    return Err(Error::Precondition {
                        path: location.to_string(),
                        source: "another process has replaced it".into(),
                    });
                }
                false
            }
        };
        self.put_whole(location, payload, is_new).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.check(location)?;
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.check(location)?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.check(location)?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let root = Arc::clone(&self.root);
        let checked = locations
            .map(move |location| location.and_then(|key| check(&root, &key).map(|()| key)));
        self.inner.delete_stream(checked.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        files(Walk::below(&self.root, prefix, false))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let offset = offset.clone();
        self.list(prefix)
            .try_filter(move |meta| std::future::ready(meta.location > offset))
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (root, prefix) = (Arc::clone(&self.root), prefix.cloned());
        let read = tokio::task::spawn_blocking(move || {
            let (mut objects, mut common_prefixes) = (Vec::new(), Vec::new());
            for found in Walk::below(&root, prefix.as_ref(), true)? {
                match found? {
                    Found::File(meta) => objects.push(meta),
                    Found::Folder(path) => common_prefixes.push(path),
                }
            }
            common_prefixes.sort();
            Ok(ListResult {
                common_prefixes,
                objects,
                extensions: Default::default(),
            })
        });
        read.await.map_err(|source| Error::JoinError { source })?
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.check(from)?;
        self.check(to)?;
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.check(from)?;
        self.check(to)?;
        self.inner.rename_opts(from, to, options).await
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use object_store::ObjectStoreExt;

    use super::*;
    use icepack_core::model::inputs::shown;

    fn store(root: &FsPath) -> PlainDirectory {
        PlainDirectory::new(LocalFileSystem::new_with_prefix(root).unwrap(), root).unwrap()
    }

    async fn listed(store: &dyn ObjectStore, prefix: Option<&str>) -> Vec<String> {
        let prefix = prefix.map(Path::from);
        let mut keys: Vec<String> = store
            .list(prefix.as_ref())
            .map_ok(|m| m.location.to_string())
            .try_collect()
            .await
            .unwrap();
        keys.sort();
        keys
    }

    /// Readers of manifests take each file that they see for one.
    #[tokio::test]
    async fn manifests_are_replaced_by_their_tags_and_seen_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let (key, folder) = (
            Path::from("acme/_symlink_format_manifest/dt=1/manifest"),
            dir.path().join("acme/_symlink_format_manifest/dt=1"),
        );
        let put = async |text: &'static str, mode| {
            store
                .put_opts(&key, PutPayload::from_static(text.as_bytes()), mode)
                .await
        };
        let first = put("one", PutMode::Create.into()).await.unwrap();
        let twice = put("two", PutMode::Create.into()).await;
        assert!(
            matches!(twice, Err(Error::AlreadyExists { .. })),
            "{twice:?}"
        );
        // Somebody died while writing.
        std::fs::write(folder.join("_draft#0"), "x").unwrap();
        let update = |of: &PutResult| PutMode::Update(of.clone().into()).into();
        let second = put("two", update(&first)).await.unwrap();
        let late = put("three", update(&first)).await;
        assert!(matches!(late, Err(Error::Precondition { .. })), "{late:?}");
        assert_eq!(store.head(&key).await.unwrap().e_tag, second.e_tag);
        assert_eq!(listed(&store, None).await, [key.as_ref()]);
        let names = std::fs::read_dir(&folder).unwrap();
        let mut names: Vec<_> = names.map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["_draft#0", "manifest"]);
    }

    /// A store with two tenants, and a folder beside it.
    fn world() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (key, text) in [
            ("store/acme/a.parquet", "a"),
            ("store/acme/deep/b.parquet", "bb"),
            ("store/globex/g.parquet", "g"),
            ("precious/p.parquet", "p"),
        ] {
            let path = dir.path().join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    #[tokio::test]
    async fn plain_files_are_listed_as_object_store_lists_them() {
        let dir = world();
        let root = dir.path().join("store");
        for odd in [
            "acme/half.parquet#1",
            "acme/half#x",
            "acme/ü 日本.parquet",
            "acme/%2f#.parquet",
        ] {
            std::fs::write(root.join(odd), "x").unwrap();
        }
        let (ours, theirs) = (
            store(&root),
            LocalFileSystem::new_with_prefix(&root).unwrap(),
        );
        for prefix in [
            None,
            Some("acme"),
            Some("acme/deep"),
            Some("nobody"),
            Some("acme/a.parquet"),
        ] {
            let at = prefix.map(Path::from);
            let (mut a, mut b): (Vec<_>, Vec<_>) = (
                ours.list(at.as_ref()).try_collect().await.unwrap(),
                theirs.list(at.as_ref()).try_collect().await.unwrap(),
            );
            a.sort_by(|x, y| x.location.cmp(&y.location));
            b.sort_by(|x, y| x.location.cmp(&y.location));
            assert_eq!(a, b, "{prefix:?}");
        }
        let (a, b) = (
            ours.list_with_delimiter(None).await.unwrap(),
            theirs.list_with_delimiter(None).await.unwrap(),
        );
        assert_eq!(
            (a.common_prefixes, a.objects),
            (b.common_prefixes, b.objects)
        );
        let after: Vec<_> = ours
            .list_with_offset(None, &Path::from("acme/half"))
            .map_ok(|m| m.location)
            .try_collect()
            .await
            .unwrap();
        assert!(
            !after.contains(&Path::from("acme/a.parquet"))
                && after.contains(&Path::from("globex/g.parquet")),
            "{after:?}"
        );
    }

    #[tokio::test]
    async fn nothing_behind_a_link_is_listed_read_written_or_deleted() {
        let dir = world();
        let (root, precious) = (dir.path().join("store"), dir.path().join("precious"));
        for (to, at) in [
            (precious.clone(), "acme/out"),
            (root.join("globex"), "acme/other"),
            (root.join("acme"), "acme/loop"),
            (precious.join("p.parquet"), "acme/f.parquet"),
        ] {
            symlink(to, root.join(at)).unwrap();
        }
        symlink(&precious, root.join("initech")).unwrap();
        let store = store(&root);
        let shown: Vec<String> = listed(&store, Some("acme"))
            .await
            .iter()
            .map(|k| shown(k))
            .collect();
        assert_eq!(
            shown,
            [
                "acme/f.parquet",
                "acme/loop",
                "acme/other",
                "acme/out",
                "acme/a.parquet",
                "acme/deep/b.parquet"
            ]
        );
        let folders = store.list_with_delimiter(None).await.unwrap();
        assert_eq!(
            folders.common_prefixes,
            [Path::from("acme"), Path::from("globex")]
        );
        for key in [
            "acme/out/p.parquet",
            "acme/other/g.parquet",
            "acme/loop/a.parquet",
            "acme/f.parquet",
            "initech/p.parquet",
        ] {
            let key = Path::from(key);
            let said = store.get(&key).await.unwrap_err().to_string();
            assert!(said.contains("lies behind the link"), "{said}");
            assert!(store.put(&key, "new".into()).await.is_err(), "{key}");
            assert!(store.delete(&key).await.is_err(), "{key}");
            assert!(
                store
                    .copy(&Path::from("acme/a.parquet"), &key)
                    .await
                    .is_err()
                    && store
                        .copy(&key, &Path::from("acme/c.parquet"))
                        .await
                        .is_err()
            );
        }
        assert!(
            store
                .list(Some(&Path::from("initech")))
                .try_collect::<Vec<_>>()
                .await
                .is_err(),
            "an empty listing would be a lie"
        );
        assert_eq!(std::fs::read(precious.join("p.parquet")).unwrap(), b"p");
        assert_eq!(std::fs::read(root.join("globex/g.parquet")).unwrap(), b"g");
        // A store that is itself reached by a link is read as ever.
        symlink(&root, dir.path().join("alias")).unwrap();
        assert_eq!(
            listed(
                &super::tests::store(&dir.path().join("alias")),
                Some("globex")
            )
            .await,
            ["globex/g.parquet"]
        );
    }

    #[tokio::test]
    async fn a_name_that_is_no_key_is_told_and_the_listing_goes_on() {
        let dir = world();
        let root = dir.path().join("store");
        for name in [&b"caf\xe9.parquet"[..], b"a\nb.parquet", b"tab\t"] {
            std::fs::write(root.join("acme").join(OsStr::from_bytes(name)), "x").unwrap();
        }
        std::fs::create_dir(root.join("acme").join(OsStr::from_bytes(b"d\xff"))).unwrap();
        let found = listed(&store(&root), Some("acme")).await;
        let shown: Vec<String> = found.iter().map(|k| shown(k)).collect();
        assert_eq!(
            shown,
            [
                "acme/a\nb.parquet",
                "acme/caf\u{fffd}.parquet",
                "acme/d\u{fffd}",
                "acme/tab\t",
                "acme/a.parquet",
                "acme/deep/b.parquet"
            ]
        );
    }
}
