//! `icepack report`: the page, in a file or in the store.

use std::io::Write;
use std::path::Path;

use crate::page;
use crate::{Error, Result};
use icepack_core::model::inspect::Overview;
use serde::Serialize;

use super::app::App;
use super::args::ReportArgs;
use super::render::{Report, View, failures};

/// `-` as a file is stdout.
const STDOUT: &str = "-";

/// What the page is drawn from, and what goes to stdout instead of it.
#[derive(Serialize)]
struct PageReport {
    #[serde(flatten)]
    overview: Overview,
    #[serde(skip)]
    text: String,
}

impl Report for PageReport {
    fn text(&self, _: View<'_>) -> String {
        self.text.clone()
    }

    fn exit_code(&self) -> u8 {
        failures::exit_code(&self.overview.failures, self.overview.tenants.len())
    }

    fn problems(&self, _: bool) -> Vec<String> {
        failures::problems(&self.overview.failures)
    }
}

impl App<'_> {
    pub(super) async fn report(&mut self, args: &ReportArgs) -> Result<u8> {
        // A flag that stands before the command is not seen where its arguments are checked.
        if args.out.is_none() && !args.publish && !self.global.json {
            return Err(Error::Usage(
                "nothing says where the report goes: use --out FILE, --publish or --json"
                    .to_owned(),
            ));
        }
        let manager = self.manager().await?;
        let labels = self.settings.report_labels()?;
        if args.publish {
            manager.publish_report(&labels).await?;
            let page = self.settings.store()?.display(page::KEY);
            self.out.line(&format!("the report is {page}"))?;
            return Ok(0);
        }
        let overview = manager.overview(&self.selection()?).await?;
        let text = match args.out.as_deref() {
            _ if self.global.json => String::new(),
            Some(path) if path != Path::new(STDOUT) => {
                replace(path, &page::html(&overview, &labels)?)?;
                format!("the report is in {}", path.display())
            }
            _ => page::html(&overview, &labels)?.trim_end().to_owned(),
        };
        self.emit(&PageReport { overview, text })
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
