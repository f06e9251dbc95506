//! The layers of the settings, and how they are laid over each other: defaults, the file, the
//! environment, flags.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::values::Values;
use super::{Environment, Settings, env, file, schema};
use crate::store::Location;
use crate::{Error, Result};

/// The file that is read where none is named.
pub const DEFAULT_FILE: &str = "icepack.toml";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File {
        /// Path of the file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// The environment variable of this name.
    Env(String),
    /// The flag of this name.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// Where each value that is not a default came from, by its path.
pub type Origins = BTreeMap<String, Source>;

/// A setting given as a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagValue {
    /// `--memory-limit`
    pub flag: &'static str,
    /// `memory_limit`
    pub path: &'static str,
    /// As typed.
    pub value: String,
}

/// What the settings are made from, apart from the defaults.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// The configuration file: its path and its text.
    pub file: Option<(PathBuf, String)>,
    /// The `ICEPACK_*` variables.
    pub env: Environment,
    /// What the command line says.
    pub flags: Vec<FlagValue>,
}

impl Layers {
    /// Reads the file: the named one, which must exist, else `./icepack.toml` if it is there.
    ///
    /// # Errors
    /// [`Error::Usage`] where it cannot be read.
    pub fn read(config: Option<PathBuf>, env: Environment, flags: Vec<FlagValue>) -> Result<Self> {
        let named = config.or_else(|| env.get("ICEPACK_CONFIG").map(PathBuf::from));
        let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        let file = match std::fs::read_to_string(&path) {
            Ok(text) => Some((path, text)),
            Err(e) if named.is_none() && e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => {
                return Err(Error::Usage(format!(
                    "cannot read the configuration file `{}`: {e}; check the path given by \
                     --config or ICEPACK_CONFIG",
                    path.display()
                )));
            }
        };
        Ok(Self { file, env, flags })
    }
}

/// A value as it was given, before anybody knows what it means.
pub struct Given {
    pub path: Vec<String>,
    pub value: Value,
    pub source: Source,
}

impl Given {
    /// Of a setting that has a name of its own.
    pub fn text(path: &str, text: &str, source: Source) -> Self {
        let path = path.split('.').map(str::to_owned).collect();
        Self {
            path,
            value: text.into(),
            source,
        }
    }
}

impl Layers {
    /// What is odd where the file of this folder was read, and is for another store than the one
    /// that was named. Who names the file means it.
    pub(super) fn other_store(&self, settings: &Settings) -> Option<String> {
        let (path, text) = self.file.as_ref()?;
        if path != Path::new(DEFAULT_FILE)
            || matches!(settings.source("store"), Source::File { .. })
        {
            return None;
        }
        let given = file::read(path, text).ok()?;
        let of_file = given.into_iter().find(|g| g.path == ["store"])?;
        let its = of_file.value.as_str()?;
        let (its_place, place) = (Location::parse(its).ok()?, settings.store().ok()?);
        (its_place.to_string() != place.to_string()).then(|| {
            format!(
                "{}: this file is for the store {its_place}, and its other settings hold for {place} \
                 ({}) too: name another file with --config if that is not meant",
                of_file.source,
                settings.source("store")
            )
        })
    }

    /// Lays the layers over each other.
    ///
    /// # Errors
    /// [`Error::Usage`] with where the first wrong value stands and what to write instead.
    pub(super) fn lay(&self) -> Result<(Values, Origins)> {
        let values = Values::default();
        let table = serde_json::to_value(&values)
            .map_err(|e| Error::Usage(format!("the defaults cannot be written: {e}")))?;
        let mut laid = Laid {
            table,
            values,
            origins: Origins::new(),
        };
        if let Some((path, text)) = &self.file {
            laid.add(file::read(path, text)?)?;
        }
        laid.add(env::read(&self.env)?)?;
        let flags = self.flags.iter();
        let flags = flags.map(|f| Given::text(f.path, &f.value, Source::Flag(f.flag)));
        laid.add(flags.collect())?;
        Ok((laid.values, laid.origins))
    }
}

/// The layers so far: as a table, and what it says.
struct Laid {
    table: Value,
    values: Values,
    origins: Origins,
}

impl Laid {
    /// Lays a layer over the table. Each is read at once, so that what a later one replaces must
    /// be right as well.
    fn add(&mut self, layer: Vec<Given>) -> Result<()> {
        for given in layer {
            let path = schema::join(&given.path);
            if path == "compaction.strategy" && matches!(given.source, Source::Flag(_)) {
                self.drop_tenant_strategies();
            }
            self.origins.insert(path, given.source);
            put(&mut self.table, &given.path, given.value);
        }
        self.values = read(self.table.clone()).map_err(|(path, why)| {
            Error::Usage(match self.origins.get(&path) {
                Some(Source::Env(name)) => format!("environment {name}: {why}"),
                Some(Source::Flag(name)) => format!("{name}: {why}"),
                Some(file) => format!("{file}: {path}: {}", why.replace('\n', " ")),
                None => format!("{path}: {why}"),
            })
        })?;
        Ok(())
    }

    /// Who types a strategy means it for this pass, whatever the file says of single tenants.
    fn drop_tenant_strategies(&mut self) {
        for (tenant, own) in self.table["tenants"].as_object_mut().into_iter().flatten() {
            if let Some(own) = own["compaction"].as_object_mut() {
                own.shift_remove("strategy");
            }
            self.origins
                .remove(&schema::tenant_compaction_path(tenant, "strategy"));
        }
    }
}

/// Puts a value into a tree of tables.
fn put(table: &mut Value, path: &[String], value: Value) {
    let [sections @ .., name] = path else { return };
    let section = sections.iter().fold(table, |at, name| {
        if at.get(name).is_none() {
            at[name] = Value::Object(Map::new())
        }
        &mut at[name]
    });
    section[name] = value;
}

/// Reads a table. A tenant has the general settings where it has none of its own.
///
/// # Errors
/// The path of a wrong value, and why it is wrong.
fn read(mut table: Value) -> Result<Values, (String, String)> {
    let general = table["compaction"].clone();
    for (_, tenant) in table["tenants"].as_object_mut().into_iter().flatten() {
        let mut whole = general.clone();
        for (name, own) in tenant["compaction"].as_object().into_iter().flatten() {
            whole[name] = own.clone();
        }
        tenant["compaction"] = whole;
    }
    serde_path_to_error::deserialize(table).map_err(|e| {
        let path = e.path().iter().map(ToString::to_string);
        (schema::join(path), e.inner().to_string())
    })
}
