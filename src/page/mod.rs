//! The report as one HTML page that needs nothing else: no network, no other file. Pure: from what
//! was looked at to text.
//!
//! The one style and the one script are allowed by their hashes; whatever else might get in, as
//! from a tenant's name, is escaped and would not run.

mod chart;
mod view;

use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use icepack_core::model::inspect::Overview;
use view::View;

/// Where a pass puts it in the store.
pub const KEY: &str = "_icepack/report.html";

/// What every page begins with, so that a file can be known for one.
pub const MARK: &str = "<!doctype html>\n<!-- icepack report -->\n";

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// What the page says of where it is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// The store, as its address.
    pub store: String,
    /// The archive, if there is one.
    pub archive: Option<String>,
    /// The class of its objects.
    pub archive_class: Option<String>,
    /// Whether either of them is S3, whose prices the list has.
    pub is_billed: bool,
}

#[derive(Template)]
#[template(path = "report.html", config = "src/page/askama.toml")]
struct Page<'a> {
    style: &'static str,
    script: &'static str,
    style_hash: String,
    script_hash: String,
    labels: &'a Labels,
    version: &'static str,
    v: View,
}

/// The page.
///
/// # Errors
/// [`Error::Local`] where it cannot be drawn, which would be a fault of the template.
pub fn html(overview: &Overview, labels: &Labels) -> Result<String> {
    let page = Page {
        style: STYLE,
        script: SCRIPT,
        style_hash: hash(STYLE),
        script_hash: hash(SCRIPT),
        labels,
        version: env!("CARGO_PKG_VERSION"),
        v: View::of(overview, labels),
    };
    let body = page
        .render()
        .map_err(|e| Error::local("cannot draw the report", e))?;
    Ok(format!("{MARK}{body}"))
}

/// As a Content-Security-Policy names it.
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests;
