//! `ICEPACK_*` variables.

use std::collections::BTreeMap;

use crate::{Error, Result};

use super::layers::{Given, Source};
use super::schema::{self, SETTINGS};
use super::suggest;

/// What the names of our variables start with.
const PREFIX: &str = "ICEPACK_";

/// Read elsewhere, or meant for the tests and the scripts around the program.
const OTHERS: [&str; 6] = [
    "ICEPACK_CONFIG",
    "ICEPACK_LOG",
    "ICEPACK_LOG_FORMAT",
    "ICEPACK_CACHE",
    "ICEPACK_BIN",
    "ICEPACK_SKIP_S3",
];

/// The variables that start with `ICEPACK_` and are not empty: an empty one counts as unset, as in
/// most shells and charts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// This process's.
    ///
    /// # Errors
    /// [`Error::Usage`] where a value is not UTF-8.
    pub fn of_process() -> Result<Self> {
        let mut found = BTreeMap::new();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|n| n.starts_with(PREFIX)) else {
                continue;
            };
            match value.into_string() {
                Ok(value) => found.insert(name.to_owned(), value),
                Err(_) => {
                    return Err(Error::Usage(format!(
                        "the environment variable {name} is not UTF-8: set it again"
                    )));
                }
            };
        }
        Ok(Self::new(found))
    }

    /// From pairs of name and value.
    pub fn new(vars: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(
            vars.into_iter()
                .filter(|(_, value)| !value.trim().is_empty())
                .collect(),
        )
    }

    /// One value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// The settings that variables give.
///
/// # Errors
/// [`Error::Usage`] for a variable that nobody knows.
pub fn read(env: &Environment) -> Result<Vec<Given>> {
    let paths: BTreeMap<String, &str> = SETTINGS
        .iter()
        .map(|(path, _)| (schema::env_name(path), path.as_str()))
        .collect();
    let ours = env
        .0
        .iter()
        .filter(|(name, _)| paths.contains_key(*name) || !is_foreign(name));
    ours.map(|(name, value)| {
        let path = paths.get(name).ok_or_else(|| unknown(name, &paths))?;
        Ok(Given::text(path, value, Source::Env(name.clone())))
    })
    .collect()
}

/// Variables that are none of our settings and yet no mistake. Kubernetes puts the addresses of
/// every service into each container: a service named `icepack` or `icepack-metrics` must not keep
/// the job from starting.
fn is_foreign(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("ICEPACK") else {
        return true;
    };
    let service = rest.contains("_SERVICE_") || rest.contains("_PORT_") || rest.ends_with("_PORT");
    OTHERS.contains(&name) || name.starts_with("ICEPACK_TEST_") || service
}

fn unknown(name: &str, paths: &BTreeMap<String, &str>) -> Error {
    // Without the prefix, which all have in common and which would make any two names look alike.
    let bare = |name: &'static str| name.trim_start_matches(PREFIX);
    let known = paths
        .keys()
        .map(|k| k.trim_start_matches(PREFIX))
        .chain(OTHERS.iter().copied().map(bare));
    let hint = match suggest::nearest(name.trim_start_matches(PREFIX), known) {
        Some(near) => format!("did you mean {PREFIX}{near}?"),
        None => "`icepack config show` lists the settings; a setting's variable is ICEPACK_ and \
                 its name in capitals, with _ for dots"
            .to_owned(),
    };
    Error::Usage(format!("unknown environment variable {name}: {hint}"))
}
