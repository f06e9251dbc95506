//! The files that a reader should read.

use icepack_core::model::inspect::{LiveFile, LiveView};
use icepack_core::model::names::Tenant;
use icepack_core::model::report::SCHEMA_VERSION;
use serde::Serialize;

use super::{Report, View};
use crate::store::Location;

#[derive(Debug, Serialize)]
pub struct Listing {
    schema_version: u32,
    tenants: Vec<TenantFiles>,
}

#[derive(Debug, Serialize)]
struct TenantFiles {
    tenant: Tenant,
    version: u64,
    files: Vec<ListedFile>,
    refused: Option<String>,
}

#[derive(Debug, Serialize)]
struct ListedFile {
    /// As other tools open it.
    path: String,
    #[serde(flatten)]
    file: LiveFile,
}

impl Listing {
    pub fn new(views: impl IntoIterator<Item = LiveView>, store: &Location) -> Self {
        let file = |file: LiveFile| ListedFile {
            path: store.display(&file.key),
            file,
        };
        let tenant = |v: LiveView| TenantFiles {
            tenant: v.tenant,
            version: v.version,
            files: v.files.into_iter().map(file).collect(),
            refused: v.refused,
        };
        Self {
            schema_version: SCHEMA_VERSION,
            tenants: views.into_iter().map(tenant).collect(),
        }
    }

    fn refused(&self) -> impl Iterator<Item = &String> {
        self.tenants.iter().filter_map(|t| t.refused.as_ref())
    }
}

impl Report for Listing {
    fn text(&self, _: View<'_>) -> String {
        let files = self.tenants.iter().flat_map(|t| &t.files);
        let paths: Vec<&str> = files.map(|f| f.path.as_str()).collect();
        paths.join("\n")
    }

    fn exit_code(&self) -> u8 {
        if self.refused().next().is_some() {
            5
        } else {
            0
        }
    }

    fn problems(&self, _: bool) -> Vec<String> {
        self.refused()
            .map(|why| format!("refused: {why}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use icepack_core::model::file::Micros;

    #[test]
    fn ls_has_paths_that_other_tools_open() {
        let view = LiveView {
            tenant: Tenant::parse("acme").unwrap(),
            version: 2,
            files: vec![LiveFile {
                key: "acme/x.parquet".into(),
                size: 1,
                rows: Some(1),
                from: Some(Micros(1)),
                to: Some(Micros(2)),
                undated: 0,
            }],
            refused: None,
        };
        let listing = Listing::new([view], &Location::parse("s3://b/p").unwrap());
        assert_eq!(listing.text(View::default()), "s3://b/p/acme/x.parquet");
        let document = serde_json::to_string(&listing.tenants).unwrap();
        assert_eq!(
            document,
            r#"[{"tenant":"acme","version":2,"files":[{"path":"s3://b/p/acme/x.parquet","key":"acme/x.parquet","size":1,"rows":1,"from":1,"to":2,"undated":0}],"refused":null}]"#
        );
    }
}
