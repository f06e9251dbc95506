//! The tree of the settings as data: which there are, and how they are spelled.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::suggest;
use super::values::Values;

/// The JSON Schema of [`Values`], without references.
pub static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let settings = SchemaSettings::draft07().with(|s| s.inline_subschemas = true);
    settings
        .into_generator()
        .into_root_schema_for::<Values>()
        .to_value()
});

/// Every setting that has a name of its own, in the order in which they are shown, with what the
/// schema says of it. Those of single tenants have the tenants' names.
pub static SETTINGS: LazyLock<Vec<(String, &'static Value)>> = LazyLock::new(|| {
    let mut found = Vec::new();
    collect("", &SCHEMA, &mut found);
    found
});

fn collect(path: &str, node: &'static Value, found: &mut Vec<(String, &'static Value)>) {
    for (name, child) in node["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        if is_section(child) {
            collect(&path, child, found);
        } else {
            found.push((path, child));
        }
    }
}

/// Whether keys may stand below it.
pub fn is_section(node: &Value) -> bool {
    node["type"] == "object"
}

/// Whether its keys are names or globs of tenants.
pub fn is_by_tenant(node: &Value) -> bool {
    node["additionalProperties"].is_object()
}

/// What stands below `node` under `name`.
pub fn child<'s>(node: &'s Value, name: &str) -> Option<&'s Value> {
    if is_by_tenant(node) {
        node.get("additionalProperties")
    } else {
        node["properties"].get(name)
    }
}

/// The names below a section.
pub fn names(node: &Value) -> Vec<&str> {
    node["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect()
}

/// The word for how a setting is written; the words that it takes, where those are few.
pub fn format(node: &Value) -> String {
    let words = node["enum"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let words: Vec<&str> = node["format"].as_str().into_iter().chain(words).collect();
    words.join(", ")
}

/// The environment variable of a setting.
pub fn env_name(path: &str) -> String {
    format!("ICEPACK_{}", path.to_ascii_uppercase().replace('.', "_"))
}

/// A path as TOML writes it. Names and globs of tenants may hold anything.
pub fn join<S: AsRef<str>>(path: impl IntoIterator<Item = S>) -> String {
    path.into_iter()
        .map(|key| quoted(key.as_ref()))
        .collect::<Vec<_>>()
        .join(".")
}

fn quoted(key: &str) -> String {
    let is_bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !key.is_empty() && key.bytes().all(is_bare) {
        return key.to_owned();
    }
    let mut text = String::new();
    for c in key.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => text.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => text.push(c),
        }
    }
    format!("\"{text}\"")
}

/// Where a tenant's TTL is shown, whichever of its two spellings it came from.
pub fn tenant_ttl_path(tenant: &str) -> String {
    join(["retention", "tenants", tenant])
}

/// Where a tenant's own settings are shown.
pub fn tenant_path(tenant: &str) -> String {
    join(["tenants", tenant])
}

/// Where a tenant's own compaction setting is shown.
pub fn tenant_compaction_path(tenant: &str, name: &str) -> String {
    join(["tenants", tenant, "compaction", name])
}

/// How a section is written. One that holds but sections has no header of its own.
pub fn header(path: &str, node: &Value) -> String {
    let sections = sections(node);
    if path.is_empty() || sections.is_empty() || sections.len() < names(node).len() {
        return format!("write [{path}] and its keys below it");
    }
    headers(path, &sections)
}

/// The names of the sections below a section.
fn sections(node: &Value) -> Vec<&str> {
    let names = names(node).into_iter();
    names
        .filter(|name| child(node, name).is_some_and(is_section))
        .collect()
}

fn headers(path: &str, sections: &[&str]) -> String {
    let headers = sections.iter().map(|name| format!("[{path}.{name}]"));
    format!("write {}", headers.collect::<Vec<_>>().join(" or "))
}

/// What to say of `name`, which does not stand below `node` at `path`.
pub fn hint(path: &[String], node: &Value, name: &str) -> String {
    let hint = suggest::hint(name, &names(node));
    match path {
        [] => elsewhere("", name).unwrap_or(hint),
        [section] => elsewhere(section, name).unwrap_or(hint),
        [tenants, tenant] if tenants == "tenants" => {
            let headers = headers(&join([tenants, tenant]), &sections(node));
            format!("{headers}; {hint}")
        }
        _ => hint,
    }
}

/// Where a key that is right in itself belongs: TOML counts every key below a `[section]` to it,
/// which is easily forgotten.
fn elsewhere(section: &str, name: &str) -> Option<String> {
    let home = SETTINGS
        .iter()
        .find_map(|(path, _)| match path.split_once('.') {
            None if path == name => Some(""),
            Some((home, rest)) if rest == name && home != section => Some(home),
            _ => None,
        })?;
    Some(match home {
        "" => format!("`{name}` belongs to the top of the file, before the first [section]"),
        home => format!("`{name}` belongs into [{home}]"),
    })
}
