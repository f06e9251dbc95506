//! `icepack.toml`: read with line numbers, so that each complaint says where.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Number, Value};
use toml::de::{DeTable, DeValue};

use super::layers::{Given, Source};
use super::schema;
use crate::{Error, Result};
use icepack_core::model::names::Tenant;

/// Bytes. Longer globs would be too large to compile, or take long.
const LONGEST_PATTERN: usize = 1_000;

/// The settings that the file gives.
///
/// # Errors
/// [`Error::Usage`] with the file, the line, and what to write instead.
pub fn read(path: &Path, text: &str) -> Result<Vec<Given>> {
    let mut reader = Reader {
        path,
        text,
        given: BTreeMap::new(),
    };
    let table = DeTable::parse(text).map_err(|e| {
        let at = e.span().map_or(0, |span| span.start);
        reader.error(at, &format!("this is not TOML: {}", e.message()))
    })?;
    reader.section(&[], &schema::SCHEMA, table.get_ref())?;
    Ok(reader.given.into_values().collect())
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    given: BTreeMap<String, Given>,
}

impl Reader<'_> {
    fn section(&mut self, path: &[String], node: &Value, table: &DeTable<'_>) -> Result<()> {
        for (key, value) in table {
            let (name, at) = (key.get_ref().as_ref(), key.span().start);
            let below: Vec<String> = path.iter().cloned().chain([name.to_owned()]).collect();
            if schema::is_by_tenant(node) {
                check_pattern(name).map_err(|why| self.error(at, &why))?;
            }
            let shown = schema::join(&below);
            let Some(child) = schema::child(node, name) else {
                let hint = schema::hint(path, node, name);
                return Err(self.error(at, &format!("unknown key `{shown}`: {hint}")));
            };
            match value.get_ref() {
                DeValue::Table(table) if schema::is_section(child) => {
                    self.section(&below, child, table)?;
                }
                _ if schema::is_section(child) => {
                    let header = schema::header(&shown, child);
                    return Err(self.error(at, &format!("`{shown}` is a section: {header}")));
                }
                value => self.setting(below, value, at)?,
            }
        }
        Ok(())
    }

    fn setting(&mut self, path: Vec<String>, value: &DeValue<'_>, at: usize) -> Result<()> {
        // A tenant's TTL has two spellings, and one place.
        let path = match <[String; 4]>::try_from(path) {
            Ok([tenants, tenant, retention, ttl]) if tenants == "tenants" && ttl == "ttl" => {
                vec![retention, tenants, tenant]
            }
            Ok(path) => path.into(),
            Err(path) => path,
        };
        let shown = schema::join(&path);
        let before = self.given.get(&shown).map(|given| &given.source);
        if let (Some(Source::File { line, .. }), [.., tenant]) = (before, path.as_slice()) {
            return Err(self.error(
                at,
                &format!("the TTL of `{tenant}` is also set in line {line}: keep one of the two"),
            ));
        }
        let value = json(value).map_err(|why| self.error(at, &format!("{shown}: {why}")))?;
        let source = Source::File {
            path: self.path.to_owned(),
            line: self.line(at),
        };
        self.given.insert(
            shown,
            Given {
                path,
                value,
                source,
            },
        );
        Ok(())
    }

    fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|b| *b == b'\n').count() + 1
    }

    fn error(&self, at: usize, why: &str) -> Error {
        let (path, line) = (self.path.display(), self.line(at));
        Error::Usage(format!("{path}:{line}: {}", why.replace('\n', " ")))
    }
}

/// A tenant's name or a glob. A name that no tenant can have would be a rule that never applies,
/// without a word.
fn check_pattern(pattern: &str) -> Result<(), String> {
    if pattern.len() > LONGEST_PATTERN {
        Err(format!(
            "a pattern of {} bytes: {LONGEST_PATTERN} are the most, and no tenant's name has more \
             than 200",
            pattern.len()
        ))
    } else if pattern.contains(['*', '?', '[', '{']) {
        let glob = globset::Glob::new(pattern);
        glob.map(drop).map_err(|e| e.to_string())
    } else {
        let name = Tenant::parse(pattern);
        name.map(drop).map_err(|e| e.to_string())
    }
}

/// A value without its place. Whether it is the right one is for the setting to say.
fn json(value: &DeValue<'_>) -> Result<Value, String> {
    Ok(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(on) => Value::Bool(*on),
        DeValue::Integer(n) => {
            let number = i128::from_str_radix(n.as_str(), n.radix()).ok();
            let number = number.and_then(Number::from_i128);
            number
                .map(Value::Number)
                .ok_or_else(|| format!("{n} is not possible here: use a whole number from 0"))?
        }
        DeValue::Float(n) => {
            let number = n.as_str().parse().ok().and_then(Number::from_f64);
            number
                .map(Value::Number)
                .ok_or_else(|| format!("{n} is not possible here"))?
        }
        DeValue::Datetime(_) => {
            return Err("a date is not expected here: put the value in quotes".to_owned());
        }
        DeValue::Array(items) => {
            let items: Result<_, _> = items.iter().map(|item| json(item.get_ref())).collect();
            Value::Array(items?)
        }
        DeValue::Table(_) => Value::Object(Map::new()),
    })
}
