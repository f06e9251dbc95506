//! Results as people read them: pure functions from a report to text.

pub mod config;
mod doctor;
mod estimate;
pub mod failures;
pub mod ls;
pub mod plan;
mod restore;
pub mod run;
pub mod status;
pub mod table;
pub mod text;
mod totals;
mod verify;

use serde::Serialize;

use super::output::Style;

/// What a command found or did. It is the JSON document; the rest is how it leaves otherwise.
pub trait Report: Serialize {
    /// For people, without a line break at the end.
    fn text(&self, view: View<'_>) -> String;

    /// What the process ends with: 0 unless something is wrong.
    fn exit_code(&self) -> u8 {
        0
    }

    /// A line each for stderr where something is wrong. `detail` adds the reasons, for those who do
    /// not see the text.
    fn problems(&self, _detail: bool) -> Vec<String> {
        Vec::new()
    }
}

/// What a text depends on beside the report.
#[derive(Debug, Clone, Copy, Default)]
pub struct View<'a> {
    pub style: Style,
    /// The tenants asked for; empty for all.
    pub wanted: &'a [String],
}
