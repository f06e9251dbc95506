//! Retention: how long the rows of a tenant are kept, by the most specific of several rules.

use std::collections::HashMap;
use std::time::Duration;

use globset::{Glob, GlobSet};
use serde::{Deserialize, Serialize};

use crate::model::units::DAY;

/// How long rows are kept, by tenant.
///
/// ```
/// use std::time::Duration;
/// use icepack_core::model::retention::RetentionConfig;
///
/// let mut retention = RetentionConfig::default();
/// assert_eq!(retention.ttl_for("system"), Some(Duration::from_secs(30 * 86_400)));
/// assert_eq!(retention.ttl_for("acme"), None);
/// retention.set("acme", Some(Duration::from_secs(86_400)));
/// assert_eq!(retention.ttl_for("acme"), Some(Duration::from_secs(86_400)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetentionConfig {
    /// For tenants without an entry of their own. None keeps for ever.
    pub default_ttl: Option<Duration>,
    /// By a tenant's name or a glob (`eu-*`). `None` as a value is an explicit "for ever". A name
    /// beats a glob, a longer glob a shorter one.
    pub per_tenant_ttl: HashMap<String, Option<Duration>>,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            default_ttl: None,
            per_tenant_ttl: HashMap::from([("system".to_owned(), Some(30 * DAY))]),
        }
    }
}

impl RetentionConfig {
    /// The tenant's own entry, be it a time or "for ever", else the default.
    pub fn ttl_for(&self, tenant: &str) -> Option<Duration> {
        *lookup(self.per_tenant_ttl.iter(), tenant).unwrap_or(&self.default_ttl)
    }

    /// Sets a tenant's entry; `None` is "for ever".
    pub fn set(&mut self, tenant: impl Into<String>, ttl: Option<Duration>) {
        self.per_tenant_ttl.insert(tenant.into(), ttl);
    }
}

/// The entry for `tenant`: by its name, else by the longest glob that matches.
pub fn lookup<'a, V>(
    entries: impl Iterator<Item = (&'a String, &'a V)>,
    tenant: &str,
) -> Option<&'a V> {
    let mut best: Option<(&String, &V)> = None;
    for (pattern, value) in entries {
        if pattern == tenant {
            return Some(value);
        }
        // `compile_matcher` panics where a glob is too large.
        let compiled = Glob::new(pattern).and_then(|g| GlobSet::builder().add(g).build());
        let matches = compiled.is_ok_and(|globs| globs.is_match(tenant));
        // Between globs of one length the order of a hash map must not decide.
        if matches && best.is_none_or(|(b, _)| (pattern.len(), pattern) > (b.len(), b)) {
            best = Some((pattern, value));
        }
    }
    best.map(|(_, value)| value)
}
