//! What sections are made of: tiles, and the rows of tables.

use crate::format::{about, count, size};
use icepack_core::model::file::Micros;
use icepack_core::model::forecast::Bounds;

/// A word, a smaller line below it, and what it is sorted by.
pub(in crate::page) struct Cell {
    pub text: String,
    pub note: String,
    pub key: i128,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>, key: impl Into<i128>) -> Self {
        Self {
            text: text.into(),
            note: String::new(),
            key: key.into(),
        }
    }

    pub(super) fn number(n: u64) -> Self {
        Self::new(count(n), n)
    }

    /// Nothing is shown of what there is nothing of.
    pub(super) fn unless_zero(n: u64) -> Self {
        Self::new(if n == 0 { String::new() } else { count(n) }, n)
    }

    pub(super) fn bytes(n: u64) -> Self {
        Self::new(size(n), n)
    }

    /// What is not there sorts below everything.
    pub(super) fn missing() -> Self {
        Self::new("", -1)
    }

    pub(super) fn day(at: Option<Micros>) -> Self {
        at.map_or_else(Self::missing, |t| {
            Self::new(t.to_datetime().format("%Y-%m-%d").to_string(), t.0)
        })
    }

    pub(super) fn seconds(s: Option<u64>) -> Self {
        s.map_or_else(Self::missing, |s| Self::new(about(s), s))
    }

    pub(super) fn with_note(self, note: impl Into<String>) -> Self {
        Self {
            note: note.into(),
            ..self
        }
    }
}

/// `12`, or `3 to 12` where only bounds are known.
pub(super) fn between(b: Bounds, show: fn(u64) -> String) -> String {
    if b.least == b.most {
        show(b.most)
    } else {
        format!("{} to {}", show(b.least), show(b.most))
    }
}

/// A figure with its name, and what it is made from.
pub(in crate::page) struct Tile {
    pub name: String,
    pub value: String,
    pub note: String,
}

impl Tile {
    pub(super) fn new(
        name: impl Into<String>,
        value: impl Into<String>,
        note: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
            note: note.into(),
        }
    }
}

/// A row of figures.
pub(in crate::page) struct Row {
    pub name: String,
    /// Whether a person should look at it.
    pub is_odd: bool,
    pub state: String,
    pub cells: Vec<Cell>,
}

/// A table of figures, a row for each tenant.
pub(in crate::page) struct Table {
    pub columns: &'static [&'static str],
    pub rows: Vec<Row>,
    /// What of it is not shown.
    pub left_out: Option<String>,
}

/// A table of words, whose rows stand below each other where there is no room.
pub(in crate::page) struct Words {
    pub id: &'static str,
    pub title: &'static str,
    pub note: &'static str,
    /// Each with whether its words are short, and stay in one line.
    pub columns: &'static [(&'static str, bool)],
    pub rows: Vec<Vec<String>>,
    pub left_out: Option<String>,
}

impl Words {
    /// With the first `most` of the rows. `rest` says where the others are told.
    pub(super) fn cut(mut self, most: usize, rest: &str) -> Self {
        let more = self.rows.len().saturating_sub(most);
        self.rows.truncate(most);
        self.left_out =
            (more > 0).then(|| format!("{} more are left out: {rest}", count(more as u64)));
        self
    }
}

/// The first `most` by what `worth` puts first, in the order of names, and how many are left out.
pub(super) fn first_of<T, K: Ord>(
    mut all: Vec<T>,
    most: usize,
    worth: impl Fn(&T) -> K,
    name: impl Fn(&T) -> String,
) -> (Vec<T>, u64) {
    let more = all.len().saturating_sub(most);
    if more > 0 {
        all.sort_by_key(worth);
        all.truncate(most);
        all.sort_by_cached_key(name);
    }
    (all, more as u64)
}
