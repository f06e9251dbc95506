//! Which columns a table has, and which files fit to them.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field};

use icepack_core::model::names::Key;
use icepack_parquet::summary::{Summary, holds, publishable};

/// A file that is to come into the table.
#[derive(Debug, Clone)]
pub struct NewFile {
    pub key: Key,
    /// What its footer says.
    pub summary: Summary,
    /// Whether it is one of ours.
    pub is_snapshot: bool,
}

/// What a table can have of files.
#[derive(Debug, Clone, Default)]
pub struct Fit {
    /// Columns that the table gets.
    pub add: Vec<Field>,
    /// Columns that it cannot have, by name, and why.
    pub left_out: BTreeMap<String, String>,
    /// Files that it cannot have, and why.
    pub misfits: BTreeMap<Key, String>,
}

/// What a table may have at all.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    pub columns: &'a [Field],
    /// Whether times without a zone may be a new column.
    pub local_times: bool,
    /// A name that is taken.
    pub reserved: Option<&'a str>,
}

/// Characters that no name may have in a table without a mapping of columns.
const FORBIDDEN: &[char] = &[' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

/// Fits `files` to a table. Of a column that is new, files of ours decide the type before others.
pub fn fit(rules: Rules<'_>, files: &[NewFile]) -> Fit {
    let mut fit = Fit::default();
    let mut all: Vec<&NewFile> = files.iter().collect();
    all.sort_by_key(|f| (!f.is_snapshot, &f.key));
    for file in &all {
        for field in file.summary.schema.fields() {
            if rules.columns.iter().any(|c| c.name() == field.name())
                || *field.data_type() == DataType::Null
            {
                continue;
            }
            match new_column(rules, &fit.add, field) {
                Ok(kind) => match fit.add.iter_mut().find(|c| c.name() == field.name()) {
                    None => fit.add.push(Field::new(field.name(), kind, true)),
                    Some(known) if holds(&kind, known.data_type()) => known.set_data_type(kind),
                    Some(_) => {}
                },
                Err(why) => drop(fit.left_out.insert(field.name().clone(), why)),
            }
        }
    }
    for file in all {
        if let Some(why) = misfit(rules.columns, &fit.add, file) {
            fit.misfits.insert(file.key.clone(), why);
        }
    }
    fit
}

/// Why no column can be called so.
pub fn unusable(reserved: Option<&str>, name: &str) -> Option<&'static str> {
    if name.is_empty() || name.contains(FORBIDDEN) {
        return Some("its name has one of space , ; { } ( ) = or a line break");
    }
    reserved
        .is_some_and(|r| r.eq_ignore_ascii_case(name))
        .then_some("a shared table has a column of that name for the tenant")
}

fn new_column(rules: Rules<'_>, added: &[Field], field: &Field) -> Result<DataType, String> {
    let name = field.name();
    if let Some(why) = unusable(rules.reserved, name) {
        return Err(why.to_owned());
    }
    if let Some(other) = rules
        .columns
        .iter()
        .chain(added)
        .find(|c| c.name() != name && c.name().to_lowercase() == name.to_lowercase())
    {
        return Err(format!(
            "there is `{}`, and Delta does not tell capital letters from small ones",
            other.name()
        ));
    }
    let kind = publishable(field.data_type())
        .ok_or_else(|| format!("Delta knows no {}", field.data_type()))?;
    if !rules.local_times && has_local_times(&kind) {
        return Err(
            "it holds times without a zone, which the table had none of when it was made: remove \
             its log to have it made anew"
                .to_owned(),
        );
    }
    Ok(kind)
}

fn has_local_times(kind: &DataType) -> bool {
    match kind {
        DataType::Timestamp(_, zone) => zone.is_none(),
        DataType::List(f) | DataType::Map(f, _) => has_local_times(f.data_type()),
        DataType::Struct(fields) => fields.iter().any(|f| has_local_times(f.data_type())),
        _ => false,
    }
}

/// Why readers of the table would not find a file's values.
fn misfit(columns: &[Field], added: &[Field], file: &NewFile) -> Option<String> {
    let summary = &file.summary;
    if let Some(name) = summary.beyond.first() {
        return Some(format!(
            "column `{name}` has a number above {}, and Delta knows only signed ones",
            i64::MAX
        ));
    }
    let known = || columns.iter().chain(added);
    summary.schema.fields().iter().find_map(|field| {
        let Some(column) = known().find(|c| c.name() == field.name()) else {
            // It may hold values that the table has under its own spelling: a merge takes the first.
            let alike = known().find(|c| c.name().to_lowercase() == field.name().to_lowercase());
            let alike = alike.filter(|_| file.is_snapshot)?;
            return Some(format!(
                "column `{}` is spelled `{}` in the table",
                field.name(),
                alike.name()
            ));
        };
        let kind = publishable(field.data_type());
        if *field.data_type() == DataType::Null
            || kind
                .as_ref()
                .is_some_and(|kind| holds(column.data_type(), kind))
        {
            return None;
        }
        Some(format!(
            "column `{}` is {}, and the table's is {}",
            field.name(),
            field.data_type(),
            column.data_type()
        ))
    })
}

#[cfg(test)]
mod tests;
