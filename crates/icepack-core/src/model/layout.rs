//! The setting `layout`, compiled: a pattern that says where the folders of tenants are.
//!
//! A pattern is made of folders and ends with `**`. A folder is a literal, `*` for any one folder,
//! or text around one placeholder. A tenant's name is the text at the placeholder. Where there are
//! several, it is all of them with dots between: a dot that is part of a text is doubled, so that no
//! two tenants have one name.

use std::sync::{Arc, LazyLock};

use super::names::{STATE_DIR, Tenant, TenantError, folder};

/// The name of the one tenant of a layout without a placeholder.
pub const ONLY_TENANT: &str = "default";

/// The layout of a store: which keys are whose.
///
/// ```
/// use icepack_core::model::layout::Layout;
///
/// let layout = Layout::parse("topics/{tenant}/**").unwrap();
/// let orders = layout.tenant_of("topics/orders/partition=0/x.parquet").unwrap().unwrap();
/// assert_eq!((orders.as_str(), orders.prefix().as_deref()), ("orders", Some("topics/orders/")));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout(Arc<Pattern>);

#[derive(Debug, PartialEq, Eq)]
struct Pattern {
    text: String,
    /// The folders before `**`.
    folders: Vec<Folder>,
    placeholders: usize,
}

/// One folder of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Folder {
    Literal(String),
    /// `*`
    Any,
    /// A placeholder, and what stands around it.
    Part {
        before: String,
        after: String,
    },
}

impl Default for Layout {
    /// `{tenant}/**`: the first folder is the tenant.
    fn default() -> Self {
        static DEFAULT: LazyLock<Layout> = LazyLock::new(|| {
            Layout(Arc::new(Pattern {
                text: "{tenant}/**".to_owned(),
                folders: vec![Folder::Part {
                    before: String::new(),
                    after: String::new(),
                }],
                placeholders: 1,
            }))
        });
        DEFAULT.clone()
    }
}

impl Layout {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("`{text}` is not a layout: {why}"));
        if text.starts_with('/') {
            return wrong("write it as keys are below the store, without a slash at its start");
        }
        let mut folders: Vec<&str> = text.split('/').collect();
        if folders.pop() != Some("**") {
            return wrong(&format!(
                "it must end with `**`, as \"{}/**\"",
                text.trim_end_matches(['/', '*'])
            ));
        }
        let mut names = Vec::new();
        let mut compiled = Vec::new();
        for folder in folders {
            match Folder::parse(folder, &mut names) {
                Ok(folder) => compiled.push(folder),
                Err(why) => return wrong(&why),
            }
        }
        let last = compiled
            .iter()
            .rposition(|f| matches!(f, Folder::Part { .. }));
        let any = compiled.iter().rposition(|f| *f == Folder::Any);
        if any > last {
            return wrong(
                "a `*` is for folders above a tenant, and no placeholder comes after this one: \
                 leave it out, `**` stands for all that is below a tenant",
            );
        }
        let distinct: std::collections::BTreeSet<&str> = names.iter().copied().collect();
        if distinct.len() < names.len() {
            return wrong("each placeholder needs a name of its own");
        }
        Ok(Self(Arc::new(Pattern {
            text: text.to_owned(),
            placeholders: names.len(),
            folders: compiled,
        })))
    }

    /// The text of the pattern.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The folders before `**`.
    pub fn folders(&self) -> &[Folder] {
        &self.0.folders
    }

    /// Whether any folder may stand above a tenant: its keys have no prefix of their own then.
    pub fn has_wildcard(&self) -> bool {
        self.0.folders.contains(&Folder::Any)
    }

    /// Whether a tenant's name follows from its folders: else there is only one.
    pub fn has_placeholder(&self) -> bool {
        self.0.placeholders > 0
    }

    /// The beginning of every key of every tenant: whole folders, each with its slash.
    pub fn head(&self) -> String {
        let literals = self.0.folders.iter().map_while(|f| match f {
            Folder::Literal(text) => Some(format!("{text}/")),
            _ => None,
        });
        literals.collect()
    }

    /// What comes before a tenant's name in its prefix, where the prefix is that, the name and a
    /// slash: then tenants lie in the order of their names.
    pub fn before_name(&self) -> Option<String> {
        match self.0.folders.split_last() {
            Some((Folder::Part { before, after }, above))
                if after.is_empty() && above.iter().all(|f| matches!(f, Folder::Literal(_))) =>
            {
                Some(format!("{}{before}", self.head()))
            }
            _ => None,
        }
    }

    /// The tenant that a key belongs to, by the folders that it lies in; none where it is nobody's.
    ///
    /// # Errors
    /// The folder at a placeholder whose text can be no tenant's.
    pub fn tenant_of(&self, key: &str) -> Result<Option<Tenant>, TenantError> {
        let (mut rest, mut parts) = (key, Vec::new());
        for folder in &self.0.folders {
            let Some((name, below)) = rest.split_once('/') else {
                return Ok(None);
            };
            rest = below;
            match folder {
                Folder::Part { .. } => match folder.part(name)? {
                    Some(part) => parts.push(part),
                    None => return Ok(None),
                },
                other if other.matches(name) => {}
                _ => return Ok(None),
            }
        }
        if self.is_state(rest) {
            return Ok(None);
        }
        self.tenant(&parts).map(Some)
    }

    /// The tenant whose folders have these texts at the placeholders.
    ///
    /// # Errors
    /// Where their name is too long.
    pub fn tenant(&self, parts: &[&str]) -> Result<Tenant, TenantError> {
        let name = match parts {
            [] => ONLY_TENANT.to_owned(),
            [part] => (*part).to_owned(),
            parts => {
                let escaped: Vec<String> = parts.iter().map(|p| p.replace('.', "..")).collect();
                escaped.join(".")
            }
        };
        Ok(Tenant::parse(&name)?.within(self))
    }

    /// What of `key` follows the folders of the tenant `name`; none where it lies elsewhere.
    pub(super) fn below<'k>(&self, name: &str, key: &'k str) -> Option<&'k str> {
        let (mut rest, mut name, mut met) = (key, name, 0);
        for folder in &self.0.folders {
            let (segment, below) = rest.split_once('/')?;
            rest = below;
            match folder {
                Folder::Part { .. } => {
                    let part = folder.text(segment).filter(|part| is_usable(part))?;
                    name = self.without_part(name, part, met)?;
                    met += 1;
                }
                other if other.matches(segment) => {}
                _ => return None,
            }
        }
        let is_whole = if met == 0 {
            name == ONLY_TENANT && !self.is_state(rest)
        } else {
            name.is_empty()
        };
        is_whole.then_some(rest)
    }

    /// What of a name follows `part`, the next of those that were `met`.
    fn without_part<'n>(&self, name: &'n str, part: &str, met: usize) -> Option<&'n str> {
        if self.0.placeholders == 1 {
            return name.strip_prefix(part);
        }
        let mut name = if met == 0 {
            name
        } else {
            name.strip_prefix('.')?
        };
        for (i, piece) in part.split('.').enumerate() {
            let rest = if i == 0 {
                name
            } else {
                name.strip_prefix("..")?
            };
            name = rest.strip_prefix(piece)?;
        }
        Some(name)
    }

    /// The folders of the tenant `name`, with `any` at each `*`; empty, or ending with a slash. None
    /// where the layout has no such tenant.
    pub(super) fn place(&self, name: &str, any: &str) -> Option<String> {
        self.fill(name, std::iter::repeat(any))
    }

    /// The same, with the folders of `key` at each `*`.
    pub(super) fn place_like(&self, name: &str, key: &str) -> Option<String> {
        self.fill(name, key.split('/'))
    }

    /// `above` has a name for each folder, which is taken at a `*`.
    fn fill<'a>(&self, name: &str, above: impl Iterator<Item = &'a str>) -> Option<String> {
        let parts = self.parts(name)?;
        let (mut parts, mut place) = (parts.iter(), String::new());
        for (folder, any) in self.0.folders.iter().zip(above) {
            match folder {
                Folder::Literal(text) => place.push_str(text),
                Folder::Any => place.push_str(any),
                Folder::Part { before, after } => {
                    place.push_str(before);
                    place.push_str(parts.next()?);
                    place.push_str(after);
                }
            }
            place.push('/');
        }
        Some(place)
    }

    /// The texts at the placeholders that make the name `name`: [`Self::tenant`] turned back.
    fn parts(&self, name: &str) -> Option<Vec<String>> {
        let mut parts = match self.0.placeholders {
            0 => return (name == ONLY_TENANT).then(Vec::new),
            1 => return Some(vec![name.to_owned()]),
            _ => vec![String::new()],
        };
        let mut rest = name;
        while !rest.is_empty() {
            let at = rest.find('.').unwrap_or(rest.len());
            let dots = rest[at..].bytes().take_while(|b| *b == b'.').count();
            if let Some(part) = parts.last_mut() {
                part.push_str(&rest[..at]);
                // No part begins with a dot: of an odd number, the last one is between two parts.
                part.push_str(&".".repeat(dots / 2));
            }
            if dots % 2 == 1 {
                parts.push(String::new());
            }
            rest = &rest[at + dots..];
        }
        let is_whole = parts.len() == self.0.placeholders && parts.iter().all(|p| is_usable(p));
        is_whole.then_some(parts)
    }

    /// The folders of `key` that are not the tenant's own: those at a `*`, and those below it.
    pub(super) fn open_folders<'k>(&self, key: &'k str) -> impl Iterator<Item = &'k str> {
        let own = |at: usize| self.0.folders.get(at).is_some_and(|f| *f != Folder::Any);
        folder(key)
            .split('/')
            .enumerate()
            .filter(move |(at, folder)| !own(*at) && !folder.is_empty())
            .map(|(_, folder)| folder)
    }

    /// Whether this, below no folder of the layout, is icepack's own state.
    fn is_state(&self, below: &str) -> bool {
        self.0.folders.is_empty() && below.split('/').next() == Some(STATE_DIR)
    }
}

impl Folder {
    fn parse<'t>(folder: &'t str, names: &mut Vec<&'t str>) -> Result<Self, String> {
        if folder.is_empty() {
            return Err("two slashes follow each other: leave one out".to_owned());
        }
        if folder == "*" {
            return Ok(Self::Any);
        }
        if folder.starts_with(['_', '.']) {
            return Err(format!(
                "`{folder}` is hidden, and what starts with `_` or `.` is left alone: name a folder \
                 that holds data"
            ));
        }
        if folder.contains('*') {
            return Err(format!(
                "`{folder}`: a `*` stands for a whole folder, and `**` for all that is left: write \
                 text with a placeholder, as `app-{{tenant}}`"
            ));
        }
        if folder.contains('\\') || folder.chars().any(char::is_control) {
            return Err(format!(
                "`{}` has a backslash or a control character: write the folder's plain name",
                folder.escape_debug()
            ));
        }
        let Some((before, rest)) = folder.split_once('{') else {
            return if folder.contains('}') {
                Err(format!("`{folder}` has a `}}` without a `{{`"))
            } else {
                Ok(Self::Literal(folder.to_owned()))
            };
        };
        let is_name = |n: &str| {
            n.starts_with(|c: char| c.is_ascii_lowercase())
                && n.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        match rest.split_once('}') {
            Some((_, after)) if after.contains(['{', '}']) => Err(format!(
                "`{folder}` has two placeholders: one folder holds one"
            )),
            Some((name, after)) if is_name(name) => {
                names.push(name);
                Ok(Self::Part {
                    before: before.to_owned(),
                    after: after.to_owned(),
                })
            }
            _ => Err(format!(
                "`{folder}`: a placeholder is a word in braces, as `{{tenant}}`"
            )),
        }
    }

    /// Whether `name` is a folder that may stand here, where it is no part of a tenant's name.
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Literal(text) => text == name,
            Self::Any => is_usable(name),
            Self::Part { .. } => false,
        }
    }

    /// The text at the placeholder of the folder `name`.
    fn text<'n>(&self, name: &'n str) -> Option<&'n str> {
        match self {
            Self::Part { before, after } => name
                .strip_prefix(before.as_str())?
                .strip_suffix(after.as_str()),
            _ => None,
        }
    }

    /// The part of a tenant's name that the folder `name` gives; none where it is another folder.
    ///
    /// # Errors
    /// Where the folder is hidden, or its text can be no tenant's.
    pub fn part<'n>(&self, name: &'n str) -> Result<Option<&'n str>, TenantError> {
        let Some(part) = self.text(name) else {
            return Ok(None);
        };
        match Tenant::parse(part) {
            Ok(_) => Ok(Some(part)),
            // The folder itself is not hidden: engines read it.
            Err(TenantError::Hidden(_)) if is_usable(name) => Err(TenantError::Unsafe(
                name.to_owned(),
                "the tenant's name would start with `.` or `_`",
            )),
            Err(TenantError::Unsafe(_, why)) => Err(TenantError::Unsafe(name.to_owned(), why)),
            Err(_) => Err(TenantError::Hidden(name.to_owned())),
        }
    }
}

/// Whether a folder's name, or a part of a tenant's, is there and not hidden.
fn is_usable(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(['_', '.'])
}

#[cfg(test)]
mod tests;
