//! Which columns a table has, and which files fit to them.
//!
//! One bad column costs that column and not the table: a column on whose type the files of a table
//! do not agree leaves the table, and is named.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};

use icepack_core::model::names::Key;
use icepack_parquet::summary::{COLUMNS, Range, Summary, holds, is_bounded, publishable, united};

/// A file that is to come into the table.
#[derive(Debug, Clone)]
pub struct NewFile {
    pub key: Key,
    /// What its footer says.
    pub summary: Summary,
    /// Whether the table must have it as it is: one of ours, or one that it has already. Any other
    /// may wait until it is compacted.
    pub is_firm: bool,
    /// Whether nothing but its rows is known: its footer takes more memory than there is for one.
    pub is_unknown: bool,
}

impl NewFile {
    /// A file of ours of which nothing but its rows is known.
    pub fn unknown(key: Key, rows: u64) -> Self {
        Self {
            key,
            summary: Summary {
                rows,
                schema: Arc::new(Schema::empty()),
                ranges: BTreeMap::new(),
                beyond: BTreeMap::new(),
            },
            is_firm: true,
            is_unknown: true,
        }
    }
}

/// What a table can have of files.
#[derive(Debug, Clone, Default)]
pub struct Fit {
    /// The columns of the table, with those that it gets, and without those that it loses.
    pub columns: Vec<Field>,
    /// Columns that it cannot have, by name, and why.
    pub left_out: BTreeMap<String, String>,
    /// Files that it cannot have, and why.
    pub misfits: BTreeMap<Key, String>,
}

/// What a table may have at all.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The columns that it has.
    pub columns: &'a [Field],
    /// Those that it cannot have, since it has files that do not agree on them.
    pub left_out: &'a BTreeMap<String, String>,
    /// Whether times without a zone may be a new column.
    pub local_times: bool,
    /// A name that is taken.
    pub reserved: Option<&'a str>,
}

/// Characters that no name may have in a table without a mapping of columns.
const FORBIDDEN: &[char] = &[' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

/// Fits `files` to a table. Firm files decide the type of a column before others, which wait where
/// they do not fit.
pub fn fit(rules: Rules<'_>, files: &[NewFile]) -> Fit {
    let mut fit = Fit {
        columns: rules.columns.to_vec(),
        left_out: rules.left_out.clone(),
        misfits: BTreeMap::new(),
    };
    let mut all: Vec<&NewFile> = files.iter().collect();
    all.sort_by_key(|f| (!f.is_firm, &f.key));
    for file in all {
        if !file.is_firm
            && let Some(why) = fit.misfit(rules, file)
        {
            fit.misfits.insert(file.key.clone(), why);
            continue;
        }
        for field in file.summary.schema.fields() {
            fit.take(rules, file, field);
        }
    }
    fit
}

impl Fit {
    fn column(&self, name: &str) -> Option<&Field> {
        self.columns.iter().find(|c| c.name() == name)
    }

    fn leave_out(&mut self, name: &str, why: String) {
        self.columns.retain(|c| c.name() != name);
        self.left_out.insert(name.to_owned(), why);
    }

    /// Why a file waits: readers of the table would not find its values.
    fn misfit(&self, rules: Rules<'_>, file: &NewFile) -> Option<String> {
        file.summary.schema.fields().iter().find_map(|field| {
            let name = field.name();
            if self.left_out.contains_key(name) || *field.data_type() == DataType::Null {
                return None;
            }
            if let Some(why) = file.summary.beyond.get(name) {
                return Some(format!("column `{name}` {why}"));
            }
            let column = self.column(name)?;
            let fits = match publishable(field.data_type()) {
                None => false,
                Some(kind) if holds(column.data_type(), &kind) => true,
                // One that the table does not have yet may still become wider.
                Some(kind) => {
                    rules.columns.iter().all(|c| c.name() != name)
                        && united(column.data_type(), &kind).is_some()
                }
            };
            (!fits).then(|| {
                format!(
                    "column `{name}` is {}, and the table's is {}",
                    field.data_type(),
                    column.data_type()
                )
            })
        })
    }

    /// Takes a column of a file that comes into the table.
    fn take(&mut self, rules: Rules<'_>, file: &NewFile, field: &Field) {
        let name = field.name();
        if self.left_out.contains_key(name) || *field.data_type() == DataType::Null {
            return;
        }
        if let Some(why) = file.summary.beyond.get(name) {
            return self.leave_out(name, format!("`{}` {why}", file.key));
        }
        let kind = match self.kind(rules, field) {
            Ok(kind) => kind,
            Err(why) => return self.leave_out(name, why),
        };
        match self.columns.iter_mut().find(|c| c.name() == name) {
            None => self.columns.push(Field::new(name, kind, true)),
            Some(known) => match united(known.data_type(), &kind) {
                Some(kind) => known.set_data_type(kind),
                None => {
                    let why = format!(
                        "it is {} in `{}`, and {} in other files",
                        field.data_type(),
                        file.key,
                        known.data_type()
                    );
                    self.leave_out(name, why);
                }
            },
        }
    }

    fn kind(&self, rules: Rules<'_>, field: &Field) -> Result<DataType, String> {
        let name = field.name();
        if let Some(why) = unusable(rules.reserved, name) {
            return Err(why.to_owned());
        }
        let lower = name.to_lowercase();
        let alike = |c: &&Field| c.name() != name && c.name().to_lowercase() == lower;
        if let Some(other) = self.columns.iter().find(alike) {
            return Err(format!(
                "there is `{}`, and Delta does not tell capital letters from small ones",
                other.name()
            ));
        }
        let kind = publishable(field.data_type())
            .ok_or_else(|| format!("Delta knows no {}", field.data_type()))?;
        if !rules.local_times && has_local_times(&kind) {
            return Err(
                "it holds times without a zone, which the table had none of when it was made"
                    .to_owned(),
            );
        }
        Ok(kind)
    }
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

fn has_local_times(kind: &DataType) -> bool {
    match kind {
        DataType::Timestamp(_, zone) => zone.is_none(),
        DataType::List(f) | DataType::Map(f, _) => has_local_times(f.data_type()),
        DataType::Struct(fields) => fields.iter().any(|f| has_local_times(f.data_type())),
        _ => false,
    }
}

/// The columns whose bounds a new table has: readers look at no others. Each of `files` that has
/// such a column tells its bounds, so that none is without bounds for want of one column's.
pub fn indexed(fit: &Fit, files: &[NewFile]) -> Vec<String> {
    let is_told = |name: &str| {
        let mut own = files.iter().filter(|f| !fit.misfits.contains_key(&f.key));
        own.all(|f| told(&f.summary, name).is_some())
    };
    let is_plain = |name: &str| {
        name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !name.starts_with(|c: char| c.is_ascii_digit())
    };
    fit.columns
        .iter()
        .filter(|c| is_bounded(c.data_type()) && is_plain(c.name()) && is_told(c.name()))
        .map(|c| c.name().clone())
        .take(COLUMNS)
        .collect()
}

/// What a file says of a column: how many are null, and the bounds of the others. None where that
/// is not known.
fn told(summary: &Summary, name: &str) -> Option<Range> {
    let rows = summary.rows;
    let absent = Range {
        nulls: Some(rows),
        bounds: None,
    };
    match summary.schema.field_with_name(name) {
        Err(_) => Some(absent),
        Ok(field) if *field.data_type() == DataType::Null => Some(absent),
        Ok(_) => summary
            .ranges
            .get(name)
            .filter(|r| r.nulls.is_some_and(|n| r.bounds.is_some() || n == rows))
            .cloned(),
    }
}

/// What a file says of all `indexed` columns; nothing at all where it does not say it of one. A
/// reader takes a column without bounds, in a file that has bounds of others, for one without rows.
pub fn ranges(file: &NewFile, indexed: &BTreeSet<String>) -> BTreeMap<String, Range> {
    if file.is_unknown {
        return BTreeMap::new();
    }
    let all = indexed
        .iter()
        .map(|name| Some((name.clone(), told(&file.summary, name)?)));
    all.collect::<Option<_>>().unwrap_or_default()
}

#[cfg(test)]
mod tests;
