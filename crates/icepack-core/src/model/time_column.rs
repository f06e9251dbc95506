//! What dates a row: the setting `timestamp_column`, and the same words in manifests and receipts.

mod pattern;

use std::fmt;
use std::str::FromStr;

use chrono::format::StrftimeItems;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use pattern::{Period, parse_text};

use super::schema::TableSchema;
use pattern::check;

/// What dates a row. Two are equal where they mean the same; each has one text.
///
/// ```
/// use icepack_core::model::time_column::TimeColumn;
///
/// let column: TimeColumn = "`ts` as ms".parse().unwrap();
/// assert_eq!(column.as_str(), "ts as ms");
/// assert!("ts as days".parse::<TimeColumn>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeColumn {
    /// The canonical one.
    text: String,
    dates: Dates,
}

/// What dates a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dates {
    /// A value of the row.
    Value(Field, Form),
    /// The folder that its file lies in: a stretch of folders that matches this strftime pattern.
    Path(String),
    /// Nothing.
    Nothing,
}

/// The value of a row that is its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// That of the column of this name. Where there is none and dots are in the name, that of a
    /// field of a struct.
    Named(String),
    /// That of the column of the first name, or of the field of it that the others lead to.
    Exact(Vec<String>),
}

/// The form of the value: how it is read as a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// A timestamp, a date, or text by ISO 8601.
    Plain,
    /// A number of these since 1970.
    Number(EpochUnit),
    /// Text by this strftime format.
    Text(String),
}

/// The unit of a number that is a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EpochUnit {
    Seconds,
    Millis,
    Micros,
    Nanos,
}

impl EpochUnit {
    /// All units, the coarsest first.
    pub const ALL: [Self; 4] = [Self::Seconds, Self::Millis, Self::Micros, Self::Nanos];

    /// The unit as it is written in the setting.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Millis => "ms",
            Self::Micros => "us",
            Self::Nanos => "ns",
        }
    }

    /// The unit in words.
    pub fn told(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Millis => "milliseconds",
            Self::Micros => "microseconds",
            Self::Nanos => "nanoseconds",
        }
    }

    /// How many are in a second.
    pub fn per_second(self) -> i64 {
        match self {
            Self::Seconds => 1,
            Self::Millis => 1_000,
            Self::Micros => 1_000_000,
            Self::Nanos => 1_000_000_000,
        }
    }
}

impl Default for TimeColumn {
    /// The column `timestamp`.
    fn default() -> Self {
        Self::named("timestamp")
    }
}

impl TimeColumn {
    fn of(dates: Dates) -> Self {
        Self {
            text: dates.to_string(),
            dates,
        }
    }

    /// The column of this very name, or the field that its dots lead to.
    pub fn named(name: &str) -> Self {
        let field = if is_plain(name) {
            Field::Named(name.to_owned())
        } else {
            Field::Exact(vec![name.to_owned()])
        };
        Self::of(Dates::Value(field, Form::Plain))
    }

    /// `none`
    pub fn nothing() -> Self {
        Self::of(Dates::Nothing)
    }

    /// The same column, as a number of this unit.
    #[must_use]
    pub fn in_unit(self, unit: EpochUnit) -> Self {
        match self.dates {
            Dates::Value(field, _) => Self::of(Dates::Value(field, Form::Number(unit))),
            dates => Self::of(dates),
        }
    }

    /// The value that a manifest or a receipt has. An older version knew column names only, and any
    /// text was one.
    pub fn told(text: &str) -> Self {
        text.parse().unwrap_or_else(|_| Self::named(text))
    }

    /// The text of the setting.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What dates a row by this setting.
    pub fn dates(&self) -> &Dates {
        &self.dates
    }

    /// Whether nothing dates a row.
    pub fn is_nothing(&self) -> bool {
        self.dates == Dates::Nothing
    }

    /// Whether the folder dates a row.
    pub fn is_path(&self) -> bool {
        matches!(self.dates, Dates::Path(_))
    }

    /// The name of the column that it is about, if it is about one.
    pub fn name(&self) -> Option<String> {
        match &self.dates {
            Dates::Value(Field::Named(name), _) => Some(name.clone()),
            Dates::Value(Field::Exact(path), _) => Some(path.join(".")),
            Dates::Path(_) | Dates::Nothing => None,
        }
    }

    /// When the rows of the file `key` are from by its folder; none where that is not what dates a
    /// row. The inner value is none where the folder stands for no value.
    ///
    /// # Errors
    /// Why the folder tells nothing, in a sentence.
    pub fn period(&self, key: &str) -> Option<Result<Option<Period>, String>> {
        match &self.dates {
            Dates::Path(pattern) => Some(pattern::of_key(pattern, key)),
            _ => None,
        }
    }

    /// Whether rows with these columns may have what dates them; types as
    /// [`Column::kind`](super::schema::Column::kind) tells them.
    pub fn may_be_in(&self, schema: &TableSchema) -> bool {
        let Dates::Value(field, form) = &self.dates else {
            return true;
        };
        let kind = |name: &str| {
            let mut columns = schema.0.iter();
            columns.find(|c| c.name == name).map(|c| c.kind.as_str())
        };
        let is_struct = |name: &str| kind(name).is_some_and(|kind| kind.starts_with("Struct("));
        match field {
            Field::Named(name) => match kind(name) {
                Some(kind) => form.may_be(kind),
                None => name
                    .split_once('.')
                    .is_some_and(|(root, _)| is_struct(root)),
            },
            Field::Exact(path) => match path.as_slice() {
                [] => false,
                [name] => kind(name).is_some_and(|kind| form.may_be(kind)),
                [root, ..] => is_struct(root),
            },
        }
    }
}

impl Form {
    /// Whether values of the type `kind` may be times in this form.
    fn may_be(&self, kind: &str) -> bool {
        let begins = |with: &[&str]| with.iter().any(|with| kind.starts_with(with));
        match self {
            Self::Plain => begins(&["Timestamp(", "Date32", "Date64", "Utf8"]),
            Self::Number(_) => begins(&["Int8", "Int16", "Int32", "Int64", "UInt", "Float"]),
            Self::Text(_) => begins(&["Utf8"]),
        }
    }
}

/// Whether a name means the column of that name, and not something of the grammar.
fn is_plain(name: &str) -> bool {
    let odd = name.is_empty() || name == NONE || name.starts_with(PATH);
    !odd && !name.contains(AS) && !name.contains('`')
}

const NONE: &str = "none";
const PATH: &str = "path ";
const AS: &str = " as ";

impl FromStr for TimeColumn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == NONE {
            return Ok(Self::of(Dates::Nothing));
        }
        if let Some(pattern) = text.strip_prefix(PATH) {
            check(pattern)?;
            return Ok(Self::of(Dates::Path(pattern.to_owned())));
        }
        let (field, rest) = if text.contains('`') {
            quoted(text)?
        } else {
            match text.split_once(AS) {
                Some((name, form)) => (Field::Named(name.to_owned()), Some(form)),
                None => (Field::Named(text.to_owned()), None),
            }
        };
        let named = match &field {
            Field::Named(name) => !name.is_empty(),
            Field::Exact(path) => path.iter().all(|name| !name.is_empty()),
        };
        if !named {
            return Err(format!("`{text}` names no column"));
        }
        let form = rest.map_or(Ok(Form::Plain), form)?;
        Ok(Self::of(Dates::Value(field, form)))
    }
}

/// What stands behind ` as `.
fn form(text: &str) -> Result<Form, String> {
    let mut units = EpochUnit::ALL.into_iter();
    if let Some(unit) = units.find(|unit| unit.as_str() == text) {
        return Ok(Form::Number(unit));
    }
    if !text.contains('%') {
        return Err(format!(
            "a column can be read as s, ms, us or ns since 1970, or as text by a format like \
             %Y-%m-%d, and not as `{text}`; put backticks around a name with ` as ` in it"
        ));
    }
    check(text)?;
    Ok(Form::Text(text.to_owned()))
}

/// Names with backticks around them and dots between, and what stands behind ` as `. A backtick in
/// a name is written twice.
fn quoted(text: &str) -> Result<(Field, Option<&str>), String> {
    let wrong = || {
        format!(
            "`{text}` cannot be read: put backticks around a whole name, as in `` `odd name` as s ``"
        )
    };
    let (mut path, mut rest) = (Vec::new(), text);
    loop {
        let (name, behind) = match rest.strip_prefix('`') {
            Some(inner) => until_backtick(inner).ok_or_else(wrong)?,
            None => {
                let end = rest.find(['.', '`']).unwrap_or(rest.len());
                let end = rest.find(AS).map_or(end, |at| at.min(end));
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        path.push(name);
        if behind.is_empty() {
            return Ok((simplest(path), None));
        }
        if let Some(form) = behind.strip_prefix(AS) {
            return Ok((simplest(path), Some(form)));
        }
        rest = behind.strip_prefix('.').ok_or_else(wrong)?;
    }
}

/// The name up to its closing backtick, and what comes behind that.
fn until_backtick(text: &str) -> Option<(String, &str)> {
    let (mut name, mut rest) = (String::new(), text);
    loop {
        let (before, behind) = rest.split_once('`')?;
        name.push_str(before);
        match behind.strip_prefix('`') {
            Some(more) => {
                name.push('`');
                rest = more;
            }
            None => return Some((name, behind)),
        }
    }
}

/// One way to write each.
fn simplest(path: Vec<String>) -> Field {
    match path.as_slice() {
        [name] if is_plain(name) && !name.contains('.') => Field::Named(name.clone()),
        _ => Field::Exact(path),
    }
}

impl fmt::Display for Dates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str(NONE),
            Self::Path(pattern) => write!(f, "{PATH}{pattern}"),
            Self::Value(field, form) => {
                match field {
                    Field::Named(name) => f.write_str(name)?,
                    Field::Exact(path) => {
                        let names = path.iter().map(|n| format!("`{}`", n.replace('`', "``")));
                        f.write_str(&names.collect::<Vec<_>>().join("."))?;
                    }
                }
                match form {
                    Form::Plain => Ok(()),
                    Form::Number(unit) => write!(f, "{AS}{}", unit.as_str()),
                    Form::Text(format) => write!(f, "{AS}{format}"),
                }
            }
        }
    }
}

impl fmt::Display for TimeColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for TimeColumn {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for TimeColumn {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The parts of a format that was checked.
pub fn items(format: &str) -> Vec<chrono::format::Item<'_>> {
    StrftimeItems::new(format).collect()
}

#[cfg(test)]
mod tests;
