//! Tables: aligned columns, a rule below the header, nothing else, so that they survive a mail and
//! a `grep`.

use comfy_table::{
    Cell as Drawn, CellAlignment, Color, ColumnConstraint, ContentArrangement, LineStyle, Table,
    TableStyle,
};

use super::super::output::Style;
use crate::format::one_line;

const RULES: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));
const PLAIN: TableStyle = TableStyle::new();

/// How good or bad the content of a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Good,
    Notable,
    Bad,
}

impl Tone {
    fn color(self) -> Color {
        match self {
            Self::Good => Color::Green,
            Self::Notable => Color::Yellow,
            Self::Bad => Color::Red,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    pub fn toned(text: impl Into<String>, tone: Option<Tone>) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, None)
    }
}

/// One column, of words on the left.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    title: &'static str,
    right: bool,
    /// Left out where it is empty from top to bottom.
    optional: bool,
    /// Left out where the terminal is too narrow for all.
    spare: bool,
    /// Prose, which may be broken into lines. Names and numbers may not: a path in two parts
    /// cannot be copied.
    prose: bool,
}

/// A column of words.
pub fn words(title: &'static str) -> Column {
    Column {
        title,
        right: false,
        optional: false,
        spare: false,
        prose: false,
    }
}

/// A column of sentences.
pub fn prose(title: &'static str) -> Column {
    Column {
        prose: true,
        ..words(title)
    }
}

/// A column of numbers.
pub fn numbers(title: &'static str) -> Column {
    Column {
        right: true,
        ..words(title)
    }
}

impl Column {
    /// It is left out where every cell of it is empty.
    pub fn if_any(mut self) -> Self {
        self.optional = true;
        self
    }

    /// It is left out where the terminal is too narrow for all; the rightmost such column goes
    /// first.
    pub fn if_room(mut self) -> Self {
        self.spare = true;
        self
    }
}

/// Below this, prose is a column of syllables: better to let the terminal break the lines.
const NARROWEST_PROSE: usize = 18;

/// Spaces between columns.
const GAP: usize = 2;

/// A table to be.
#[derive(Debug)]
pub struct Grid {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    indent: u16,
}

/// A column that is drawn, with its place among all.
type Shown = (usize, Column);

impl Grid {
    pub fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self {
            columns: columns.into(),
            rows: Vec::new(),
            indent: 0,
        }
    }

    /// Columns left free at the left.
    pub fn indented(mut self, by: u16) -> Self {
        self.indent = by;
        self
    }

    /// Adds a row, a cell for each column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, without a line break at the end.
    pub fn draw(&self, style: Style) -> String {
        let columns = self.columns.iter().copied().enumerate();
        let mut shown: Vec<Shown> = columns
            .filter(|(at, column)| !column.optional || self.has_any(*at))
            .collect();
        let mut table = self.table(&shown, style);
        let Some(width) = style.width else {
            return table.trim_fmt();
        };
        while self.fixed_width(&table, &shown) > usize::from(width) {
            let Some(spare) = shown.iter().rposition(|(_, column)| column.spare) else {
                break;
            };
            shown.remove(spare);
            table = self.table(&shown, style);
        }
        self.fit(&mut table, &shown, width);
        table.trim_fmt()
    }

    fn has_any(&self, at: usize) -> bool {
        let mut cells = self.rows.iter().filter_map(|row| row.get(at));
        cells.any(|cell| !cell.text.is_empty())
    }

    fn table(&self, shown: &[Shown], style: Style) -> Table {
        let mut table = Table::new();
        let titled = self.columns.iter().any(|c| !c.title.is_empty());
        table
            .load_style(if titled { RULES } else { PLAIN })
            .force_no_tty();
        if style.color {
            table.enforce_styling();
            table.style_text_only();
        }
        if titled {
            table.set_header(shown.iter().map(|(_, c)| Drawn::new(c.title)));
        }
        for row in &self.rows {
            table.add_row(shown.iter().filter_map(|(i, _)| row.get(*i)).map(draw_cell));
        }
        for (at, (_, column)) in shown.iter().enumerate() {
            if let Some(drawn) = table.column_mut(at) {
                // The table puts a space between columns by itself.
                drawn.set_padding((if at == 0 { self.indent } else { 0 }, 1));
                drawn.set_cell_alignment(if column.right {
                    CellAlignment::Right
                } else {
                    CellAlignment::Left
                });
            }
        }
        table
    }

    /// Breaks prose, and prose only, so that the lines fit.
    fn fit(&self, table: &mut Table, shown: &[Shown], width: u16) {
        let prose = shown.iter().filter(|(_, c)| c.prose).count();
        let left = usize::from(width).saturating_sub(self.fixed_width(table, shown));
        if prose == 0 || left < prose * NARROWEST_PROSE {
            return;
        }
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
        for (at, (_, column)) in shown.iter().enumerate() {
            if let Some(drawn) = table.column_mut(at).filter(|_| !column.prose) {
                drawn.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
    }

    /// What the columns take that cannot be made narrower, gaps included.
    fn fixed_width(&self, table: &Table, shown: &[Shown]) -> usize {
        let contents = table.column_max_content_widths();
        let fixed = shown.iter().zip(contents).filter(|((_, c), _)| !c.prose);
        let columns: usize = fixed.map(|(_, width)| usize::from(width) + GAP).sum();
        columns + usize::from(self.indent)
    }
}

fn draw_cell(cell: &Cell) -> Drawn {
    let drawn = Drawn::new(one_line(&cell.text));
    match cell.tone {
        Some(tone) if !cell.text.is_empty() => drawn.fg(tone.color()),
        _ => drawn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let mut grid = Grid::new([words("tenant"), numbers("files"), numbers("odd").if_any()]);
        grid.row(["acme".into(), "12".into(), "".into()]);
        grid.row([
            Cell::toned("globex", Some(Tone::Bad)),
            "1,234".into(),
            "".into(),
        ]);
        grid
    }

    #[test]
    fn columns_line_up_and_empty_ones_are_left_out() {
        assert_eq!(
            grid().draw(Style::default()),
            "tenant  files\n──────────────\nacme       12\nglobex  1,234"
        );
    }

    #[test]
    fn colours_are_only_there_when_asked_for() {
        assert!(!grid().draw(Style::default()).contains('\x1b'));
        let colored = grid().draw(Style {
            color: true,
            width: None,
        });
        assert!(
            colored.contains("\x1b[38;5;9mglobex\x1b[39m"),
            "{colored:?}"
        );
    }

    #[test]
    fn a_cell_cannot_break_the_table() {
        let mut grid = Grid::new([words("")]);
        grid.row(["a\nb\x1b[2J".into()]);
        assert_eq!(grid.draw(Style::default()), "a b [2J");
    }

    fn narrow(width: u16) -> Style {
        Style {
            color: false,
            width: Some(width),
        }
    }

    #[test]
    fn prose_is_broken_and_names_are_not() {
        let mut grid = Grid::new([words("file"), prose("why")]);
        grid.row([
            "acme/2026-04/events-20260427T134507-17.parquet".into(),
            "because of one thing and because of another that takes longer to say".into(),
        ]);
        let drawn = grid.draw(narrow(80));
        assert!(
            drawn.contains("events-20260427T134507-17.parquet") && drawn.lines().count() > 3,
            "{drawn}"
        );
        assert!(drawn.lines().all(|l| l.chars().count() <= 80), "{drawn}");
        assert_eq!(
            grid.draw(narrow(60)).lines().count(),
            3,
            "too narrow for prose: the terminal breaks the lines"
        );
    }

    #[test]
    fn spare_columns_go_from_the_right_until_it_fits() {
        let mut grid = Grid::new([
            words("tenant"),
            numbers("kept").if_room(),
            numbers("rows"),
            numbers("time").if_room(),
        ]);
        grid.row([
            "acme".into(),
            "1,000,000".into(),
            "2,000,000".into(),
            "5s".into(),
        ]);
        let titles = |width| {
            grid.draw(narrow(width))
                .lines()
                .next()
                .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
                .unwrap()
        };
        assert_eq!(
            [titles(80), titles(34), titles(25), titles(10)],
            [
                "tenant kept rows time",
                "tenant kept rows",
                "tenant rows",
                "tenant rows"
            ]
        );
    }
}
