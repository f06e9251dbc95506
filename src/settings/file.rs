//! `icepack.toml`: read with line numbers, so that each complaint says where.

use std::path::Path;

use crate::{Error, Result};
use icepack_core::model::names::Tenant;
use icepack_core::model::price::CLASSES;
use toml::de::{DeTable, DeValue};

use super::keys::{self, COMPACTION_KEYS, Draft, KEYS, PRICE_KEYS};
use super::suggest;
use super::value::{self, Raw};
use super::{Origins, Source};

/// The tables at the top level, beside the scalar settings.
const SECTIONS: [&str; 8] = [
    "compaction",
    "retention",
    "archive",
    "sweep",
    "publish",
    "metrics",
    "prices",
    "tenants",
];

/// Bytes. Longer globs would be too large to compile, or take long.
const LONGEST_PATTERN: usize = 1_000;

/// Lays the file's settings over `draft`.
///
/// # Errors
/// [`Error::Usage`] with the file, the line, and what to write instead.
pub fn apply(draft: &mut Draft, origins: &mut Origins, path: &Path, text: &str) -> Result<()> {
    let mut reader = Reader {
        draft,
        origins,
        path,
        text,
    };
    match DeTable::parse(text) {
        Ok(table) => reader.top(table.get_ref()),
        Err(e) => Err(reader.error(
            e.span().map_or(0, |s| s.start),
            &format!("this is not TOML: {}", e.message()),
        )),
    }
}

struct Reader<'a> {
    draft: &'a mut Draft,
    origins: &'a mut Origins,
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn top(&mut self, table: &DeTable<'_>) -> Result<()> {
        for (key, value) in table {
            let (name, at) = (key.get_ref().as_ref(), key.span().start);
            match (name, value.get_ref()) {
                ("tenants", DeValue::Table(t)) => self.tenants(t)?,
                (section, DeValue::Table(t)) if SECTIONS.contains(&section) => {
                    self.section(section, t)?
                }
                (section, _) if SECTIONS.contains(&section) => {
                    return Err(self.error(
                        at,
                        &format!(
                            "`{section}` is a section: write [{section}] and its keys below it"
                        ),
                    ));
                }
                (name, value) => self.scalar("", name, value, at)?,
            }
        }
        Ok(())
    }

    fn section(&mut self, section: &str, table: &DeTable<'_>) -> Result<()> {
        for (key, value) in table {
            let (name, at) = (key.get_ref().as_ref(), key.span().start);
            match (section, name, value.get_ref()) {
                ("retention", "tenants", DeValue::Table(t)) => self.ttls(t)?,
                ("prices", class, DeValue::Table(t)) if CLASSES.contains(&class) => {
                    self.class_prices(class, t)?
                }
                ("prices", class, _) if CLASSES.contains(&class) => {
                    return Err(self.error(
                        at,
                        &format!(
                            "`prices.{class}` is a section: write [prices.{class}] and its keys \
                             below it"
                        ),
                    ));
                }
                (_, _, value) => self.scalar(section, name, value, at)?,
            }
        }
        Ok(())
    }

    fn scalar(&mut self, section: &str, name: &str, value: &DeValue<'_>, at: usize) -> Result<()> {
        let path = if section.is_empty() {
            name.to_owned()
        } else {
            format!("{section}.{name}")
        };
        if !known(section).contains(&name) {
            return Err(self.unknown(section, name, at));
        }
        let texts = (path == "exclude").then(|| texts(value)).flatten();
        let raw = texts
            .as_deref()
            .map_or_else(|| raw(value), |t| Ok(Raw::Text(t)))
            .map_err(|why| self.error(at, &format!("{path}: {why}")))?;
        match keys::set(self.draft, &path, raw) {
            Some(Ok(())) => self.note(path, at),
            Some(Err(why)) => return Err(self.error(at, &format!("{path}: {why}"))),
            None => return Err(self.unknown(section, name, at)),
        }
        Ok(())
    }

    /// `[prices.CLASS]`
    fn class_prices(&mut self, class: &str, table: &DeTable<'_>) -> Result<()> {
        for (key, value) in table {
            let (name, at) = (key.get_ref().as_ref(), key.span().start);
            let path = keys::price_path(class, name);
            let raw =
                raw(value.get_ref()).map_err(|why| self.error(at, &format!("{path}: {why}")))?;
            match keys::set(self.draft, &path, raw) {
                Some(Ok(())) => self.note(path, at),
                Some(Err(why)) => return Err(self.error(at, &format!("{path}: {why}"))),
                None => {
                    let names: Vec<&str> = PRICE_KEYS.iter().map(|k| k.name).collect();
                    return Err(self.error(
                        at,
                        &format!("unknown key `{path}`: {}", suggest::hint(name, &names)),
                    ));
                }
            }
        }
        Ok(())
    }

    /// `[retention.tenants]`
    fn ttls(&mut self, table: &DeTable<'_>) -> Result<()> {
        for (key, value) in table {
            self.ttl(key.get_ref(), value.get_ref(), key.span().start)?;
        }
        Ok(())
    }

    fn ttl(&mut self, tenant: &str, value: &DeValue<'_>, at: usize) -> Result<()> {
        self.check_pattern(tenant, at)?;
        let path = keys::tenant_ttl_path(tenant);
        if let Some(Source::File { line, .. }) = self.origins.get(&path) {
            return Err(self.error(
                at,
                &format!("the TTL of `{tenant}` is also set in line {line}: keep one of the two"),
            ));
        }
        let ttl = raw(value)
            .and_then(value::ttl)
            .map_err(|why| self.error(at, &format!("{path}: {why}")))?;
        self.draft.retention.set(tenant, ttl);
        self.note(path, at);
        Ok(())
    }

    /// `[tenants.NAME.compaction]` and `[tenants.NAME.retention]`
    fn tenants(&mut self, table: &DeTable<'_>) -> Result<()> {
        for (key, value) in table {
            let (tenant, at) = (key.get_ref().as_ref(), key.span().start);
            self.check_pattern(tenant, at)?;
            let DeValue::Table(sections) = value.get_ref() else {
                return Err(self.error(
                    at,
                    &format!(
                        "`tenants.{tenant}` is a section: write [tenants.{tenant}.compaction] or \
                         [tenants.{tenant}.retention]"
                    ),
                ));
            };
            for (section, value) in sections {
                self.tenant_section(
                    tenant,
                    section.get_ref(),
                    value.get_ref(),
                    section.span().start,
                )?;
            }
        }
        Ok(())
    }

    fn tenant_section(
        &mut self,
        tenant: &str,
        section: &str,
        value: &DeValue<'_>,
        at: usize,
    ) -> Result<()> {
        match (section, value) {
            ("compaction", DeValue::Table(t)) => self.tenant_compaction(tenant, t),
            ("retention", DeValue::Table(t)) => {
                for (key, value) in t {
                    let at = key.span().start;
                    match key.get_ref().as_ref() {
                        "ttl" => self.ttl(tenant, value.get_ref(), at)?,
                        other => {
                            return Err(self.error(
                                at,
                                &format!(
                                    "unknown key `tenants.{tenant}.retention.{other}`: {}",
                                    suggest::hint(other, &["ttl"])
                                ),
                            ));
                        }
                    }
                }
                Ok(())
            }
            (other, _) => {
                let hint = suggest::hint(other, &["compaction", "retention"]);
                Err(self.error(
                    at,
                    &format!(
                        "unknown key `tenants.{tenant}.{other}`: write \
                         [tenants.{tenant}.compaction] or [tenants.{tenant}.retention]; {hint}"
                    ),
                ))
            }
        }
    }

    fn tenant_compaction(&mut self, tenant: &str, table: &DeTable<'_>) -> Result<()> {
        let mut own = self.draft.overrides.remove(tenant).unwrap_or_default();
        for (key, value) in table {
            let (name, at) = (key.get_ref().as_ref(), key.span().start);
            let path = keys::tenant_compaction_path(tenant, name);
            let raw =
                raw(value.get_ref()).map_err(|why| self.error(at, &format!("{path}: {why}")))?;
            match keys::set_compaction(&mut own, name, raw) {
                Some(Ok(())) => self.note(path, at),
                Some(Err(why)) => return Err(self.error(at, &format!("{path}: {why}"))),
                None => {
                    return Err(self.error(
                        at,
                        &format!(
                            "unknown key `{path}`: {}",
                            suggest::hint(name, &known("compaction"))
                        ),
                    ));
                }
            }
        }
        self.draft.overrides.insert(tenant.to_owned(), own);
        Ok(())
    }

    /// A tenant's name or a glob. A name that no tenant can have would be a rule that never
    /// applies, without a word.
    fn check_pattern(&self, pattern: &str, at: usize) -> Result<()> {
        let glob = pattern.contains(['*', '?', '[', '{']);
        let checked = if pattern.len() > LONGEST_PATTERN {
            Err(format!(
                "a pattern of {} bytes: {LONGEST_PATTERN} are the most, and no tenant's name has \
                 more than 200",
                pattern.len()
            ))
        } else if glob {
            globset::Glob::new(pattern)
                .map(|_| ())
                .map_err(|e| e.to_string())
        } else {
            Tenant::parse(pattern)
                .map(|_| ())
                .map_err(|e| e.to_string())
        };
        checked.map_err(|why| self.error(at, &why))
    }

    fn note(&mut self, path: String, at: usize) {
        let source = Source::File {
            path: self.path.to_owned(),
            line: self.line(at),
        };
        self.origins.insert(path, source);
    }

    fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|b| *b == b'\n').count() + 1
    }

    fn error(&self, at: usize, why: &str) -> Error {
        Error::Usage(format!(
            "{}:{}: {}",
            self.path.display(),
            self.line(at),
            why.replace('\n', " ")
        ))
    }

    fn unknown(&self, section: &str, name: &str, at: usize) -> Error {
        let path = if section.is_empty() {
            name.to_owned()
        } else {
            format!("{section}.{name}")
        };
        let hint = elsewhere(section, name).unwrap_or_else(|| suggest::hint(name, &known(section)));
        self.error(at, &format!("unknown key `{path}`: {hint}"))
    }
}

/// Where a key that is right in itself belongs: TOML counts every key below a `[section]` to it,
/// which is easily forgotten.
fn elsewhere(section: &str, name: &str) -> Option<String> {
    let home = [
        "",
        "compaction",
        "retention",
        "archive",
        "sweep",
        "publish",
        "metrics",
    ]
    .into_iter()
    .find(|s| *s != section && known_scalars(s).contains(&name))?;
    Some(match home {
        "" => format!("`{name}` belongs to the top of the file, before the first [section]"),
        home => format!("`{name}` belongs into [{home}]"),
    })
}

fn known(section: &str) -> Vec<&'static str> {
    let mut names = known_scalars(section);
    match section {
        "" => names.extend(SECTIONS),
        "retention" => names.push("tenants"),
        "prices" => names.extend(CLASSES),
        _ => {}
    }
    names
}

fn known_scalars(section: &str) -> Vec<&'static str> {
    match section {
        "compaction" => COMPACTION_KEYS.iter().map(|k| k.name).collect(),
        "" => KEYS
            .iter()
            .map(|k| k.path)
            .filter(|p| !p.contains('.'))
            .collect(),
        section => KEYS
            .iter()
            .filter_map(|k| k.path.split_once('.'))
            .filter(|(s, _)| *s == section)
            .map(|(_, name)| name)
            .collect(),
    }
}

/// A list of texts, as [`value::list`] reads it; none where it is no such list.
fn texts(value: &DeValue<'_>) -> Option<String> {
    let DeValue::Array(items) = value else {
        return None;
    };
    let text = |item: &toml::Spanned<DeValue<'_>>| match item.get_ref() {
        DeValue::String(s) => Some(format!("{s}{}", value::LIST_END)),
        _ => None,
    };
    items.iter().map(text).collect()
}

fn raw<'v>(value: &'v DeValue<'_>) -> Result<Raw<'v>, String> {
    match value {
        DeValue::String(s) => Ok(Raw::Text(s)),
        DeValue::Boolean(b) => Ok(Raw::Bool(*b)),
        DeValue::Integer(n) => u64::from_str_radix(n.as_str(), n.radix())
            .map(Raw::Integer)
            .map_err(|_| format!("{n} is not possible here: use a whole number from 0")),
        DeValue::Float(f) => Ok(Raw::Decimal(f.as_str())),
        DeValue::Datetime(_) => {
            Err("a date is not expected here: put the value in quotes".to_owned())
        }
        DeValue::Array(_) => Err("a list is not expected here: use one value".to_owned()),
        DeValue::Table(_) => Err("a section is not expected here: use one value".to_owned()),
    }
}
