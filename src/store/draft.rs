//! Files of a directory that appear whole, and of which no reader meets a draft.
//!
//! object_store writes beside a file, under its name and a number. Readers of symlink manifests take
//! every file of a folder that is not hidden for a manifest, so they would take that one too.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use object_store::PutPayload;

/// What object_store's listings and ours pass over, and a sweep removes; its underscore hides it
/// from readers.
const DRAFT: &str = "_draft#";

/// Writes `payload` to `path`, which must not be there if it `is_new`. The file as it was written.
///
/// # Errors
/// Of the directory; [`ErrorKind::AlreadyExists`] where it is there and must not be.
pub(super) fn put(path: &Path, payload: &PutPayload, is_new: bool) -> std::io::Result<File> {
    let folder = path.parent().unwrap_or(path);
    let (mut file, draft) = create(folder)?;
    let done = fill(&mut file, payload).and_then(|()| {
        if is_new {
            std::fs::hard_link(&draft, path)
        } else {
            std::fs::rename(&draft, path)
        }
    });
    if is_new || done.is_err() {
        // What is left of it goes with a sweep.
        let _ = std::fs::remove_file(&draft);
    }
    done?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

fn fill(file: &mut File, payload: &PutPayload) -> std::io::Result<()> {
    for part in payload {
        file.write_all(part)?;
    }
    // Or the name might be there after a loss of power, and not what it names.
    file.sync_all()
}

/// A draft that nobody else writes.
fn create(folder: &Path) -> std::io::Result<(File, PathBuf)> {
    let mut n = 0_u64;
    loop {
        let draft = folder.join(format!("{DRAFT}{n}"));
        match OpenOptions::new().write(true).create_new(true).open(&draft) {
            Ok(file) => return Ok((file, draft)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => n += 1,
            Err(e) if e.kind() == ErrorKind::NotFound => std::fs::create_dir_all(folder)?,
            Err(e) => return Err(e),
        }
    }
}
