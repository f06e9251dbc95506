//! What is generated from the settings: `docs/configuration.md` and the chart's schema.

use std::fmt::Write;

use serde_json::{Value, json};

use super::display::DisplayValue;
use super::schema::{self, SCHEMA};
use super::values::Values;

/// Set by the chart itself, from its other values.
const THE_CHARTS_OWN: [&str; 4] = [
    "spill_dir",
    "max_duration",
    "metrics.file",
    "metrics.pushgateway",
];

/// The sections of the settings as tables, as they stand in `docs/configuration.md`.
fn tables() -> String {
    let mut out = String::new();
    let defaults = serde_json::to_value(Values::default()).unwrap();
    table(&mut out, "", &SCHEMA, &defaults);
    for section in schema::names(&SCHEMA) {
        let node = &SCHEMA["properties"][section];
        if schema::is_section(node) && !schema::is_by_tenant(node) {
            table(&mut out, section, node, &defaults[section]);
        }
    }
    prices(&mut out, &defaults["prices"]);
    out
}

fn table(out: &mut String, section: &str, node: &Value, defaults: &Value) {
    let title = match section {
        "" => "At the top".to_owned(),
        section => format!("`[{section}]`\n\n{}.", description(node)),
    };
    out.push_str(&format!(
        "\n## {title}\n\n| key | value | default | variable | |\n| --- | --- | --- | --- | --- |\n"
    ));
    for (name, node) in node["properties"].as_object().unwrap() {
        if schema::is_section(node) {
            continue;
        }
        let path = [section, name.as_str()]
            .into_iter()
            .filter(|s| !s.is_empty());
        let _ = writeln!(
            out,
            "| `{name}` | {} | {} | `{}` | {} |",
            schema::format(node),
            default_of(node, &defaults[name]),
            schema::env_name(&schema::join(path)),
            description(node)
        );
    }
}

fn prices(out: &mut String, defaults: &Value) {
    let classes = SCHEMA["properties"]["prices"]["properties"]
        .as_object()
        .unwrap();
    let classes = classes.iter().filter(|(_, node)| schema::is_section(node));
    let (_, any) = classes.clone().next().unwrap();
    let keys = any["properties"].as_object().unwrap();
    let names: String = keys.keys().map(|name| format!(" `{name}` |")).collect();
    let rule = " --: |".repeat(keys.len());
    let _ = write!(
        out,
        "\n## `[prices.CLASS]`\n\n| class |{names}\n| --- |{rule}\n"
    );
    for (class, _) in classes {
        let price = |(name, node)| default_of(node, &defaults[class][name]).replace('`', "");
        let prices: String = keys
            .iter()
            .map(|key| format!(" {} |", price(key)))
            .collect();
        let _ = writeln!(out, "| `{class}` |{prices}");
    }
    let variable = schema::env_name("prices.GLACIER.put");
    let _ = writeln!(
        out,
        "\nThe variable of `prices.GLACIER.put` is `{variable}`.\n"
    );
    for (name, node) in keys {
        let _ = writeln!(out, "- `{name}`: {}.", description(node));
    }
}

fn description(node: &Value) -> String {
    let text = node["description"].as_str().unwrap_or_default();
    assert!(!text.is_empty(), "a setting without a comment: {node}");
    text.replace('\n', " ").trim_end_matches('.').to_owned()
}

fn default_of(node: &Value, written: &Value) -> String {
    match DisplayValue::new(written, &schema::format(node)) {
        DisplayValue {
            json: Value::Null, ..
        } => "unset".to_owned(),
        DisplayValue { text, .. } => format!("`{text}`"),
    }
}

/// What the chart takes as its value `config`, one key a line.
fn chart() -> String {
    let mut config = without_notes("", &SCHEMA);
    config["description"] = json!(format!(
        "icepack.toml, generated from the settings. The chart sets by itself: {}.",
        THE_CHARTS_OWN.join(", ")
    ));
    let cloud = "(s3|gs|az|abfs|abfss)://[^/]+";
    let properties = &mut config["properties"];
    // Not set is told by the chart in a sentence of its own.
    properties["store"] = json!({ "type": "string", "pattern": format!("^({cloud}.*)?$") });
    // The chart reckons with it.
    properties["memory_limit"]["pattern"] =
        json!("^[1-9][0-9]* ?(KiB|MiB|GiB|TiB|kB|KB|MB|GB|TB)$");
    let archive = &mut properties["archive"];
    archive["properties"]["url"]["pattern"] = json!(format!("^{cloud}"));
    archive["dependencies"] = json!({
        "object_lock_mode": ["object_lock_days"],
        "object_lock_days": ["object_lock_mode"],
    });
    let mut out = String::new();
    print(&mut out, &config, "#/definitions/config", &mut Vec::new());
    out
}

/// A schema with nothing but its rules, and without what the chart does not take.
fn without_notes(path: &str, node: &Value) -> Value {
    let mut rules = node.as_object().unwrap().clone();
    for note in ["$schema", "title", "description", "default", "format"] {
        rules.shift_remove(note);
    }
    // No key of a chart is null: that would take it away.
    for rule in ["type", "enum"] {
        if let Some(Value::Array(kinds)) = rules.get_mut(rule) {
            kinds.retain(|kind| !kind.is_null() && kind != "null");
            if let ("type", [kind]) = (rule, kinds.as_slice()) {
                rules[rule] = kind.clone();
            }
        }
    }
    if let Some(Value::Object(properties)) = rules.get_mut("properties") {
        *properties = std::mem::take(properties)
            .into_iter()
            .map(|(name, node)| (format!("{path}{name}"), name, node))
            .filter(|(path, ..)| !THE_CHARTS_OWN.contains(&path.as_str()))
            .map(|(path, name, node)| (name, without_notes(&format!("{path}."), &node)))
            .collect();
    }
    if let Some(node @ Value::Object(_)) = rules.get_mut("additionalProperties") {
        *node = without_notes("", node);
    }
    Value::Object(rules)
}

/// Prints a schema with a line for each setting. A section that is like one before refers to it.
fn print(out: &mut String, node: &Value, pointer: &str, printed: &mut Vec<(Value, String)>) {
    let before = printed.iter().find(|(section, _)| section == node);
    if let Some((_, pointer)) = before {
        out.push_str(&json!({ "$ref": pointer }).to_string());
        return;
    }
    if schema::is_section(node) {
        printed.push((node.clone(), pointer.to_owned()));
    } else if !pointer.ends_with("/properties") {
        out.push_str(&node.to_string());
        return;
    }
    // The pointer is as deep as the section, but for the `definitions` that it begins with.
    let indent = "\n".to_owned() + &"  ".repeat(pointer.split('/').count());
    for (i, (key, value)) in node.as_object().unwrap().iter().enumerate() {
        let _ = write!(
            out,
            "{}{indent}{}: ",
            if i > 0 { "," } else { "{" },
            json!(key)
        );
        print(out, value, &format!("{pointer}/{key}"), printed);
    }
    out.push_str(&indent[..indent.len() - 2]);
    out.push('}');
}

/// Asserts that the file is what `generated` makes of it. With `UPDATE_GOLDEN` it is made so first.
fn assert_generated(file: &str, start: &str, end: &str, generated: &str) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let found = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = found.split_once(start).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let wanted = format!("{before}{start}{generated}{end}{after}");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &wanted).unwrap();
    }
    assert!(
        std::fs::read_to_string(&file).unwrap() == wanted,
        "{} is stale: UPDATE_GOLDEN=1 cargo test --lib settings",
        file.display()
    );
}

#[test]
fn the_reference_is_what_the_settings_say() {
    let (start, end) = ("<!-- generated -->\n", "\n<!-- end of generated -->");
    assert_generated("docs/configuration.md", start, end, &tables());
}

#[test]
fn the_chart_takes_what_the_settings_say() {
    let file = "infra/helm/icepack/values.schema.json";
    let (start, end) = ("\n    \"config\": {\n", "\n  }\n}\n");
    assert_generated(file, start, end, chart().strip_prefix("{\n").unwrap());
}
