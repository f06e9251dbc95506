//! Half-written files in a store or an archive that is a directory.
//!
//! object_store writes a file as `<name>#<n>` and then links it to its name. A process that is
//! killed in between leaves the first, which no listing shows. On S3 there is no such state: the
//! bucket's lifecycle rule removes parts of uploads that were never completed.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::store::local::link_on_the_way;
use icepack_core::model::inputs::Rules;
use icepack_core::model::manifest::Manifest;
use icepack_core::model::marker::Role;
use icepack_core::model::names::{self, FileId, FileKind, Tenant};
use icepack_core::model::symlink;

/// The places of a pass that can have such files.
#[derive(Debug, Clone, Default)]
pub struct StagedFiles {
    /// Where the store is a directory: it.
    pub store: Option<Directory>,
    /// Where the archive is one.
    pub archive: Option<Directory>,
}

impl StagedFiles {
    /// Whether a tenant has some of ours.
    pub fn has_any(&self, tenant: &Tenant) -> bool {
        self.store.as_ref().is_some_and(|d| d.has_staged(tenant))
            || self
                .archive
                .as_ref()
                .is_some_and(|d| d.has_staged_archive(tenant))
    }

    /// Why a directory among the places cannot hold the files of `tenant`, in a sentence.
    pub fn refuses(&self, tenant: &Tenant) -> Option<String> {
        let places = [
            (&self.store, names::LONGEST_IN_STORE),
            (&self.archive, names::LONGEST_IN_ARCHIVE),
        ];
        let mut directories = places.into_iter().filter(|(place, _)| place.is_some());
        directories.find_map(|(_, most)| names::too_long(tenant, most))
    }

    /// Removes those of a tenant that nobody can finish any more. Returns the ids of the others.
    ///
    /// # Errors
    /// [`Error::Local`] where a directory cannot be read or a file cannot be removed.
    pub fn sweep(&self, tenant: &Tenant, head: &Manifest, rules: &Rules) -> Result<Vec<FileId>> {
        let mut pending = Vec::new();
        if let Some(store) = &self.store {
            pending.extend(store.sweep(tenant, head, rules)?);
        }
        if let Some(archive) = &self.archive {
            pending.extend(archive.sweep_archive(tenant, head)?);
        }
        Ok(pending)
    }

    /// Removes half-written markers where the marker is there.
    ///
    /// # Errors
    /// As [`Self::sweep`].
    pub fn sweep_markers(&self) -> Result<()> {
        let places = [(&self.store, Role::Store), (&self.archive, Role::Archive)];
        places
            .into_iter()
            .filter_map(|(place, role)| Some((place.as_ref()?, role)))
            .try_for_each(|(place, role)| place.sweep_markers(role))
    }
}

/// The directory of a store, or of an archive.
#[derive(Debug, Clone)]
pub struct Directory(PathBuf);

impl Directory {
    /// The one at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// Whether a tenant has half-written files of ours.
    fn has_staged(&self, tenant: &Tenant) -> bool {
        let manifests = self.staged(&names::manifest_dir(tenant));
        self.staged_of(tenant).is_ok_and(|files| !files.is_empty())
            || manifests.is_ok_and(|files| !files.is_empty())
    }

    /// Removes a tenant's half-written files that nobody can finish any more: snapshots below the
    /// committed floor, manifests of versions that exist, and of a Delta table's log what exists.
    /// Returns the ids of the snapshots that may still be under way. What `rules` exclude, or a
    /// log that is not ours, is not looked at.
    ///
    /// Whoever is still writing one of those loses its file, finds at its commit that it is dead,
    /// and reports a conflict.
    ///
    /// # Errors
    /// [`Error::Local`] where the directory cannot be read or a file cannot be removed.
    fn sweep(&self, tenant: &Tenant, head: &Manifest, rules: &Rules) -> Result<Vec<FileId>> {
        let mut pending = Vec::new();
        for (path, key) in self.staged_of(tenant)? {
            if path
                .strip_prefix(&self.0)
                .is_ok_and(|key| rules.exclude.matches(&key.to_string_lossy()))
            {
                continue;
            }
            match names::classify(tenant, &key) {
                FileKind::Snapshot(id) if id < head.floor => remove(&path)?,
                FileKind::Snapshot(id) => pending.push(id),
                FileKind::Raw | FileKind::Other => {}
            }
        }
        if rules.own_log {
            self.sweep_log(tenant)?;
        }
        if rules.own_symlinks {
            self.sweep_symlinks(tenant)?;
        }
        for (path, name) in self.staged(&names::manifest_dir(tenant))? {
            let key = format!("{}/{name}", names::manifest_dir(tenant));
            if names::parse_manifest_key(tenant, &key)
                .is_some_and(|version| version <= head.version)
            {
                remove(&path)?;
            }
        }
        Ok(pending)
    }

    /// Removes the half-written markers of `role` once the marker is there. Whoever is still
    /// writing one finds it.
    ///
    /// # Errors
    /// As [`Self::sweep`].
    fn sweep_markers(&self, role: Role) -> Result<()> {
        let marker = self.0.join(role.marker_key());
        let Some((folder, name)) = marker
            .parent()
            .zip(marker.file_name().and_then(|n| n.to_str()))
        else {
            return Ok(());
        };
        if !marker.is_file() || link_on_the_way(&self.0, &role.marker_key()).is_some() {
            return Ok(());
        }
        let entries = std::fs::read_dir(folder)
            .map_err(|e| Error::local(format!("cannot read `{}`", folder.display()), e))?;
        for entry in entries.flatten() {
            let is_staged = entry
                .file_name()
                .to_str()
                .and_then(|n| n.strip_prefix(name))
                .is_some_and(|rest| rest.starts_with('#'));
            if is_staged {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Whether the archive in this directory has half-written files of a tenant's.
    fn has_staged_archive(&self, tenant: &Tenant) -> bool {
        let ours = |name: &str| names::parse_archive_name(tenant, name).is_some();
        let name = |key: &str| key.rsplit('/').next().is_some_and(ours);
        self.staged_of(tenant)
            .is_ok_and(|files| files.iter().any(|(_, key)| name(key)))
    }

    /// As [`Self::sweep`], of a tenant's archive objects and receipts: those that are there in
    /// full, and those below the floor. What is there in full stays.
    ///
    /// Whoever is still writing one of those fails, and writes it anew in its next pass: it counts
    /// for nothing yet.
    ///
    /// # Errors
    /// As [`Self::sweep`].
    fn sweep_archive(&self, tenant: &Tenant, head: &Manifest) -> Result<Vec<FileId>> {
        let mut pending = Vec::new();
        for (path, key) in self.staged_of(tenant)? {
            let name = key.rsplit('/').next().unwrap_or(&key);
            match names::parse_archive_name(tenant, name) {
                Some(id) if id < head.floor || path.with_file_name(name).exists() => remove(&path)?,
                Some(id) => pending.push(id),
                None => {}
            }
        }
        Ok(pending)
    }

    /// Of a Delta table's log: what belongs to versions that exist. Whoever is still writing one of
    /// those has lost it, or does without.
    fn sweep_log(&self, tenant: &Tenant) -> Result<()> {
        let Some(place) = tenant.prefix() else {
            return Ok(());
        };
        let key = format!("{place}{}", names::DELTA_LOG);
        let log = self.0.join(&key);
        let version = |name: &str| {
            name.split('.')
                .next()
                .and_then(|digits| digits.parse::<u64>().ok())
        };
        for (path, name) in self.staged(&key)? {
            let exists = |v: u64| log.join(format!("{v:020}.json")).exists();
            if version(&name).is_none_or(exists) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Of symlink manifests: what is older than any publication.
    fn sweep_symlinks(&self, tenant: &Tenant) -> Result<()> {
        let Some(place) = symlink::place(tenant) else {
            return Ok(());
        };
        for (path, _) in self.staged(&place)? {
            let written = std::fs::metadata(&path).and_then(|found| found.modified());
            let age = written.ok().and_then(|written| written.elapsed().ok());
            if age.is_some_and(|age| age >= symlink::GRACE) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// As [`staged`], of a tenant's own folders, with their keys.
    fn staged_of(&self, tenant: &Tenant) -> Result<Vec<(PathBuf, String)>> {
        let place = tenant.prefix().unwrap_or_else(|| tenant.layout().head());
        let files = self.staged(place.trim_end_matches('/'))?.into_iter();
        let keyed = files.filter_map(|(path, name)| {
            let key = path.strip_prefix(&self.0).ok()?.with_file_name(name);
            let key = key.to_str().filter(|key| tenant.owns(key))?.to_owned();
            Some((path, key))
        });
        Ok(keyed.collect())
    }

    /// As [`staged`], below `folder`; nothing where a link leads there.
    fn staged(&self, folder: &str) -> Result<Vec<(PathBuf, String)>> {
        if link_on_the_way(&self.0, folder).is_some() {
            Ok(Vec::new())
        } else {
            staged(&self.0.join(folder))
        }
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(()),
        // Its writer finished or gave up just now.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::local(
            format!("cannot remove the half-written file `{}`", path.display()),
            e,
        )),
    }
}

/// The files below `folder` that are called `<name>#<digits>`, with their names.
fn staged(folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |e| {
            Error::local(
                format!("cannot read the directory `{}`", folder.display()),
                e,
            )
        };
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(failed(e)),
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            // Links are not followed: they may lead out of the tenant.
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if let Some((name, n)) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.rsplit_once('#'))
                && !n.is_empty()
                && n.bytes().all(|b| b.is_ascii_digit())
            {
                found.push((entry.path(), name.to_owned()));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use ulid::Ulid;

    use super::*;
    use icepack_core::model::file::Micros;
    use icepack_core::model::inputs::Exclude;
    use icepack_core::model::layout::Layout;
    use icepack_core::model::manifest::Stamp;

    #[test]
    fn only_dead_files_of_ours_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let tenant = Tenant::parse("acme").unwrap();
        let id = |ms| FileId(Ulid::from_parts(ms, 1));
        let snapshot = |ms| {
            names::snapshot_key(
                &names::Place::Month(tenant.clone()),
                &tenant,
                Micros(0),
                Micros(0),
                id(ms),
            )
        };
        let mut head = Manifest::first(
            tenant.clone(),
            Stamp {
                run_id: id(1),
                commit_id: id(1),
                at: DateTime::UNIX_EPOCH,
            },
        );
        head.floor = id(50);
        let keep = [
            format!("{}#1", snapshot(60)),
            snapshot(40),
            "acme/somebody.parquet#1".to_owned(),
            "acme/notes#1".to_owned(),
            format!("{}#1", names::manifest_key(&tenant, 2)),
            format!("other/{}#1", snapshot(40)),
            "acme/_delta_log/00000000000000000000.json".to_owned(),
            "acme/_delta_log/00000000000000000001.json#1".to_owned(),
        ];
        let dead = [
            format!("{}#1", snapshot(40)),
            format!("{}#12", names::manifest_key(&tenant, 1)),
            "acme/_delta_log/00000000000000000000.json#2".to_owned(),
        ];
        for key in keep.iter().chain(&dead) {
            let path = dir.path().join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let directory = Directory::new(dir.path());
        assert!(directory.has_staged(&tenant));
        let lake = snapshot(30).replace("1970-01", "lake");
        std::fs::create_dir_all(dir.path().join("acme/lake")).unwrap();
        std::fs::write(dir.path().join(format!("{lake}#1")), "x").unwrap();
        let rules = |own_log| Rules {
            exclude: Exclude::parse(["acme/lake/**"]).unwrap(),
            own_log,
            own_symlinks: own_log,
            ..Rules::default()
        };
        assert_eq!(
            directory.sweep(&tenant, &head, &rules(false)).unwrap(),
            [id(60)]
        );
        assert!(dir.path().join(&dead[2]).exists(), "somebody else's log");
        assert_eq!(
            directory.sweep(&tenant, &head, &rules(true)).unwrap(),
            [id(60)]
        );
        assert!(
            dir.path().join(format!("{lake}#1")).exists(),
            "it is excluded"
        );
        assert!(keep.iter().all(|key| dir.path().join(key).exists()));
        assert!(!dead.iter().any(|key| dir.path().join(key).exists()));
        assert_eq!(
            directory
                .sweep(&Tenant::parse("nobody").unwrap(), &head, &rules(true))
                .unwrap(),
            []
        );
    }

    #[test]
    fn half_written_files_are_removed_where_the_layout_has_the_tenant() {
        let id = |ms| FileId(Ulid::from_parts(ms, 1));
        let name = |whose: &str, kind: &str| {
            let span = "1970-01-01T000000Z-1970-01-01T000000Z";
            format!("{kind}.{whose}.{span}.{}.parquet#1", id(40))
        };
        for (layout, whose, own, other) in [
            ("topics/{t}/**", "a", "topics/a/x", "a/x"),
            ("*/t={t}/**", "a", "2026/t=a/x", "2026/t=b/x"),
            ("{s}/{t}/**", "a.b", "a/b/x", "a/c/x"),
            ("**", "default", "x", "_icepack/x"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let layout = Layout::parse(layout).unwrap();
            let tenant = Tenant::parse(whose).unwrap().within(&layout);
            let put = |folder: &str, kind: &str| {
                let path = dir.path().join(folder).join(name(whose, kind));
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, "x").unwrap();
                path
            };
            let directory = Directory::new(dir.path());
            let kept = [put(other, "snapshot"), put(other, "archive")];
            assert!(!directory.has_staged(&tenant) && !directory.has_staged_archive(&tenant));
            let dead = [put(own, "snapshot"), put(own, "archive")];
            assert!(directory.has_staged(&tenant) && directory.has_staged_archive(&tenant));
            let mut head = Manifest::first(
                tenant.clone(),
                Stamp {
                    run_id: id(1),
                    commit_id: id(1),
                    at: DateTime::UNIX_EPOCH,
                },
            );
            head.floor = id(50);
            directory.sweep(&tenant, &head, &Rules::default()).unwrap();
            directory.sweep_archive(&tenant, &head).unwrap();
            assert!(kept.iter().all(|path| path.exists()), "{layout:?}");
            assert!(!dead.iter().any(|path| path.exists()), "{layout:?}");
        }
    }

    #[test]
    fn an_archive_keeps_all_that_is_whole_or_somebody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let tenant = Tenant::parse("acme").unwrap();
        let id = |ms| FileId(Ulid::from_parts(ms, 1));
        let object = |ms| {
            names::archive_key(
                &names::Place::Month(tenant.clone()),
                &tenant,
                Micros(0),
                Micros(0),
                id(ms),
            )
        };
        let receipt = |ms| names::receipt_key(&object(ms));
        let mut head = Manifest::first(
            tenant.clone(),
            Stamp {
                run_id: id(1),
                commit_id: id(1),
                at: DateTime::UNIX_EPOCH,
            },
        );
        head.floor = id(50);
        let keep = [
            object(40),
            receipt(70),
            object(70),
            format!("{}#1", object(60)),
            "acme/notes.receipt.json#1".to_owned(),
            format!(
                "{}#1",
                names::snapshot_key(
                    &names::Place::Month(tenant.clone()),
                    &tenant,
                    Micros(0),
                    Micros(0),
                    id(40)
                )
            ),
            format!("other/{}#1", receipt(40)),
        ];
        let dead = [
            format!("{}#1", object(40)),
            format!("{}#2", receipt(40)),
            format!("{}#1", receipt(70)),
        ];
        for key in keep.iter().chain(&dead) {
            let path = dir.path().join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let directory = Directory::new(dir.path());
        assert!(directory.has_staged_archive(&tenant));
        assert_eq!(directory.sweep_archive(&tenant, &head).unwrap(), [id(60)]);
        assert!(keep.iter().all(|key| dir.path().join(key).exists()));
        assert!(!dead.iter().any(|key| dir.path().join(key).exists()));
    }
}
