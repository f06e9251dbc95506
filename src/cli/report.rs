//! `icepack report`: the page, in a file or in the store.

use std::io::Write;
use std::path::Path;

use crate::page::{self, Labels};
use crate::{CompactionManager, Error, Result};

use super::args::ReportArgs;
use super::commands::App;

/// `-` as a file is stdout.
const STDOUT: &str = "-";

impl App<'_> {
    pub(super) async fn report(&mut self, args: &ReportArgs) -> Result<u8> {
        let (manager, labels) = (
            self.looking_manager().await?,
            self.settings.report_labels()?,
        );
        if args.publish {
            manager.publish_report(&labels).await?;
            self.out.line(&format!(
                "the report is {}",
                self.settings.store()?.display(page::KEY)
            ))?;
            return Ok(0);
        }
        let overview = manager.overview(&self.selection()?).await?;
        if self.global.json {
            self.out.json(&overview)?;
            return self.failures(&overview.failures, overview.tenants.len());
        }
        let html = page::html(&overview, &labels)?;
        match args.out.as_deref() {
            Some(path) if path != Path::new(STDOUT) => {
                replace(path, &html)?;
                self.out
                    .line(&format!("the report is in {}", path.display()))?;
            }
            _ => self.out.line(html.trim_end())?,
        }
        self.failures(&overview.failures, overview.tenants.len())
    }
}

/// Writes the page whole or not at all. A file that is not such a page was named by mistake.
fn replace(path: &Path, html: &str) -> Result<()> {
    let failed = |e: &dyn std::fmt::Display| {
        Error::local(
            format!("cannot write the report to `{}`", path.display()),
            e,
        )
    };
    match std::fs::read(path) {
        Ok(old) if !old.starts_with(page::MARK.as_bytes()) => {
            return Err(Error::Usage(format!(
                "--out: `{}` is there, and not a report of icepack: name another file",
                path.display()
            )));
        }
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(&e)),
        _ => {}
    }
    let dir = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(|e| failed(&e))?;
    file.write_all(html.as_bytes()).map_err(|e| failed(&e))?;
    open_to_all(file.path()).map_err(|e| failed(&e))?;
    file.persist(path).map(drop).map_err(|e| failed(&e))
}

/// A temporary file is its owner's alone; a report is to be read.
#[cfg(unix)]
fn open_to_all(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn open_to_all(_: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Puts the report into the store after a pass, where that is wanted. The pass is over and not
/// harmed by a report that cannot be written.
pub async fn after_pass(manager: &CompactionManager, labels: Option<&Labels>) {
    // Of several shards, one is enough.
    let Some(labels) = labels.filter(|_| manager.config().shard.index == 0) else {
        return;
    };
    match manager.publish_report(labels).await {
        Ok(()) => tracing::info!(key = page::KEY, "the report was written"),
        Err(e) => tracing::warn!("the pass is over, but its report could not be written: {e}"),
    }
}
