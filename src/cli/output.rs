//! stdout, where the result goes, and how text is drawn on it.

use std::io::{self, IsTerminal, Write};

use crate::format::one_line;
use crate::{Error, Result};

use super::args::ColorChoice;
use super::render::text::wrap;

/// How results are drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// Whether ANSI colours are used.
    pub color: bool,
    /// Columns of the terminal; none where there is no terminal, and lines may have any length.
    pub width: Option<u16>,
}

/// stdout. A reader that goes away (`| head`) is no error: the rest is not written.
pub struct Output {
    out: io::BufWriter<io::Stdout>,
    closed: bool,
    /// How results are drawn.
    pub style: Style,
}

impl Output {
    pub fn new(color: ColorChoice) -> Self {
        let terminal = io::stdout().is_terminal();
        let color = use_color(color, terminal);
        // crossterm heeds NO_COLOR by itself, whatever the flag says.
        crossterm::style::force_color_output(color);
        let style = Style {
            color,
            width: if terminal { terminal_width() } else { None },
        };
        Self {
            out: io::BufWriter::new(io::stdout()),
            closed: false,
            style,
        }
    }

    /// Whether a person is likely to be looking at it.
    pub fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Writes one line, or several.
    pub fn line(&mut self, text: &str) -> Result<()> {
        self.unless_closed(|out| {
            out.write_all(text.as_bytes())
                .and_then(|()| out.write_all(b"\n"))
        })
    }

    /// Writes a JSON document, in one line or for people.
    pub fn json(&mut self, document: &impl serde::Serialize, in_one_line: bool) -> Result<()> {
        let text = if in_one_line {
            serde_json::to_string(document)
        } else {
            serde_json::to_string_pretty(document)
        };
        let text = text.map_err(|e| Error::local("cannot write the result as JSON", e))?;
        self.line(&text)
    }

    pub fn flush(&mut self) -> Result<()> {
        self.unless_closed(Write::flush)
    }

    fn unless_closed(
        &mut self,
        write: impl FnOnce(&mut io::BufWriter<io::Stdout>) -> io::Result<()>,
    ) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        match write(&mut self.out) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other.map_err(|e| Error::local("cannot write to standard output", e)),
        }
    }
}

/// One line on stderr, which a terminal gets broken at blanks. Where stderr is gone, nobody reads it.
pub fn complain(text: &str) {
    let line = format!("icepack: {}", one_line(text));
    let width = crossterm::terminal::size().map_or(0, |(columns, _)| usize::from(columns));
    let shown = if io::stderr().is_terminal() && width > 0 {
        wrap(&line, width)
    } else {
        line
    };
    let _ = writeln!(io::stderr(), "{shown}");
}

/// Whether colours are used on a stream.
pub fn use_color(choice: ColorChoice, terminal: bool) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            terminal
                && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
                && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
        }
    }
}

/// As comfy-table finds it, which tells only by a table.
fn terminal_width() -> Option<u16> {
    comfy_table::Table::new()
        .set_content_arrangement(comfy_table::ContentArrangement::Dynamic)
        .width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_flag_before_the_terminal() {
        assert!(use_color(ColorChoice::Always, false));
        assert!(!use_color(ColorChoice::Never, true));
        assert!(!use_color(ColorChoice::Auto, false));
    }
}
