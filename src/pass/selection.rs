//! The tenants that a run works on, by `--tenant`.

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::error::{Error, Result};
use icepack_core::model::names::Tenant;

/// Which tenants.
///
/// ```
/// use icepack_core::model::names::Tenant;
/// use icepack::pass::Selection;
///
/// let some = Selection::parse(vec!["acme".into(), "eu-*".into()])?;
/// assert!(some.includes(&Tenant::parse("eu-west").unwrap()) && !some.includes(&Tenant::parse("globex").unwrap()));
/// assert!(Selection::parse(vec!["../acme".into()]).is_err());
/// # Ok::<(), icepack::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Selection {
    patterns: Vec<String>,
    globs: GlobSet,
}

impl Selection {
    /// Every tenant.
    pub fn all() -> Self {
        Self::default()
    }

    /// The tenants that one of the names or globs matches; none given means all.
    ///
    /// # Errors
    /// [`Error::Usage`] for what is neither a tenant's name nor a glob.
    pub fn parse(patterns: Vec<String>) -> Result<Self> {
        let mut builder = GlobSetBuilder::new();
        for p in &patterns {
            let usage = |e: &dyn std::fmt::Display| Error::Usage(format!("--tenant: {e}"));
            if !is_glob(p) {
                Tenant::parse(p).map_err(|e| usage(&e))?;
            }
            builder.add(Glob::new(p).map_err(|e| usage(&e))?);
        }
        let globs = builder
            .build()
            .map_err(|e| Error::Usage(format!("--tenant: {e}")))?;
        Ok(Self { patterns, globs })
    }

    /// Whether every tenant is meant.
    pub fn is_all(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether `tenant` is meant.
    pub fn includes(&self, tenant: &Tenant) -> bool {
        self.is_all() || self.globs.is_match(tenant.as_str())
    }

    /// A name (not a glob) that no tenant has: a typo that would otherwise look like "nothing to
    /// do".
    pub(super) fn missing<'a>(&'a self, tenants: &[Tenant]) -> Option<&'a str> {
        let known = |p: &str| tenants.iter().any(|t| t.as_str() == p);
        self.patterns
            .iter()
            .map(String::as_str)
            .find(|p| !is_glob(p) && !known(p))
    }
}

fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '{'])
}
