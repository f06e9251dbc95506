//! Every setting and where it came from.

use icepack_core::model::report::SCHEMA_VERSION;
use serde::Serialize;
use serde_json::{Value, json};

use super::table::{Grid, prose, words};
use super::{Report, View};
use crate::settings::{Settings, Source};

/// The document, and the same as a table.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct ConfigDocument {
    document: Value,
    #[serde(skip)]
    table: Grid,
}

impl ConfigDocument {
    pub fn of(settings: &Settings) -> Self {
        Self {
            document: document(settings),
            table: table(settings),
        }
    }
}

impl Report for ConfigDocument {
    fn text(&self, view: View<'_>) -> String {
        self.table.draw(view.style)
    }
}

/// A row for each setting.
fn table(settings: &Settings) -> Grid {
    let mut grid = Grid::new([words("setting"), words("value"), prose("from")]);
    for (path, value, source) in settings.all() {
        grid.row([path.into(), value.text.into(), source.to_string().into()]);
    }
    grid
}

/// The same for programs: sizes in bytes, durations in seconds.
fn document(settings: &Settings) -> Value {
    let all: Vec<Value> = settings
        .all()
        .into_iter()
        .map(|(path, value, source)| json!({ "setting": path, "value": value.json, "text": value.text, "source": origin(&source) }))
        .collect();
    json!({ "schema_version": SCHEMA_VERSION, "file": settings.file(), "settings": all })
}

fn origin(source: &Source) -> Value {
    match source {
        Source::Default => json!({ "kind": "default" }),
        Source::File { path, line } => json!({ "kind": "file", "path": path, "line": line }),
        Source::Env(name) => json!({ "kind": "environment", "name": name }),
        Source::Flag(name) => json!({ "kind": "flag", "name": name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Environment, Layers};

    fn settings() -> Settings {
        let env = Environment::new([("ICEPACK_MEMORY_LIMIT".to_owned(), "1GiB".to_owned())]);
        let file = Some(("some.toml".into(), "\nstore = \"/data\"".to_owned()));
        Settings::resolve(&Layers {
            file,
            env,
            flags: Vec::new(),
        })
        .unwrap()
    }

    #[test]
    fn each_value_has_its_origin() {
        let text = ConfigDocument::of(&settings()).text(View::default());
        let line = |start: &str| {
            text.lines()
                .find(|l| l.starts_with(start))
                .unwrap()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(line("store "), "store /data some.toml:2");
        assert_eq!(
            line("memory_limit "),
            "memory_limit 1GiB environment ICEPACK_MEMORY_LIMIT"
        );
        assert_eq!(
            line("retention.tenants.system "),
            "retention.tenants.system forever default",
            "it is built in, and there is no archive"
        );
    }

    #[test]
    fn the_document_has_numbers() {
        let document = document(&settings());
        let find = |name: &str| {
            document["settings"]
                .as_array()
                .unwrap()
                .iter()
                .find(|s| s["setting"] == name)
                .unwrap()
                .clone()
        };
        assert_eq!(find("memory_limit")["value"], 1 << 30);
        assert_eq!(
            find("store")["source"],
            json!({ "kind": "file", "path": "some.toml", "line": 2 })
        );
        assert_eq!(find("compaction.max_raw_age")["value"], 86_400);
        assert_eq!(find("retention.default_ttl")["value"], "forever");
        assert_eq!(find("archive.url")["value"], Value::Null);
    }
}
