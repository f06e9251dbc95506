//! Tables: aligned columns, a rule below the header, nothing else, so that they survive a mail and
//! a `grep`.

use comfy_table::{
    Cell as Drawn, CellAlignment, Color, ColumnConstraint, ContentArrangement, LineStyle, Table,
    TableStyle,
};

use super::super::output::{Style, one_line};

const RULES: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));
const PLAIN: TableStyle = TableStyle::new();

/// What a cell says beside its words.
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

/// One cell.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    /// With a tone.
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

#[derive(Debug, Clone, Copy)]
struct Column {
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

/// Below this, prose is a column of syllables: better to let the terminal break the lines.
const NARROWEST_PROSE: usize = 18;

/// Spaces between columns.
const GAP: usize = 2;

/// A table to be.
#[derive(Debug, Default)]
pub struct Grid {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    indent: u16,
}

impl Grid {
    /// A column of words.
    pub fn words(self, title: &'static str) -> Self {
        self.push(title, false)
    }

    /// A column of sentences.
    pub fn prose(self, title: &'static str) -> Self {
        let mut grid = self.push(title, false);
        grid.last(|c| c.prose = true);
        grid
    }

    /// A column of numbers.
    pub fn numbers(self, title: &'static str) -> Self {
        self.push(title, true)
    }

    fn push(mut self, title: &'static str, right: bool) -> Self {
        self.columns.push(Column {
            title,
            right,
            optional: false,
            spare: false,
            prose: false,
        });
        self
    }

    fn last(&mut self, change: impl FnOnce(&mut Column)) {
        if let Some(last) = self.columns.last_mut() {
            change(last);
        }
    }

    /// The last column is left out where every cell of it is empty.
    pub fn if_any(mut self) -> Self {
        self.last(|c| c.optional = true);
        self
    }

    /// The last column is left out where the terminal is too narrow for all; the rightmost such
    /// column goes first.
    pub fn if_room(mut self) -> Self {
        self.last(|c| c.spare = true);
        self
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
        let mut shown: Vec<usize> = (0..self.columns.len())
            .filter(|i| self.is_shown(*i))
            .collect();
        let mut table = self.table(&shown, style);
        let Some(width) = style.width else {
            return table.trim_fmt();
        };
        while fixed_width(self, &table, &shown) > usize::from(width) {
            let Some(spare) = shown
                .iter()
                .rposition(|i| self.columns.get(*i).is_some_and(|c| c.spare))
            else {
                break;
            };
            shown.remove(spare);
            table = self.table(&shown, style);
        }
        self.fit(&mut table, &shown, width);
        table.trim_fmt()
    }

    fn table(&self, shown: &[usize], style: Style) -> Table {
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
            table.set_header(
                shown
                    .iter()
                    .filter_map(|i| self.columns.get(*i))
                    .map(|c| Drawn::new(c.title)),
            );
        }
        for row in &self.rows {
            table.add_row(shown.iter().filter_map(|i| row.get(*i)).map(draw_cell));
        }
        for (at, index) in shown.iter().enumerate() {
            if let (Some(column), Some(drawn)) = (self.columns.get(*index), table.column_mut(at)) {
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
    fn fit(&self, table: &mut Table, shown: &[usize], width: u16) {
        let is_prose = |index: &usize| self.columns.get(*index).is_some_and(|c| c.prose);
        let prose = shown.iter().filter(|i| is_prose(i)).count();
        let left = usize::from(width).saturating_sub(fixed_width(self, table, shown));
        if prose == 0 || left < prose * NARROWEST_PROSE {
            return;
        }
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
        for (at, index) in shown.iter().enumerate() {
            if !is_prose(index)
                && let Some(drawn) = table.column_mut(at)
            {
                drawn.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
    }

    fn is_shown(&self, index: usize) -> bool {
        self.columns.get(index).is_some_and(|c| !c.optional)
            || self
                .rows
                .iter()
                .any(|r| r.get(index).is_some_and(|c| !c.text.is_empty()))
    }
}

/// What the columns take that cannot be made narrower, gaps included.
fn fixed_width(grid: &Grid, table: &Table, shown: &[usize]) -> usize {
    let contents = table.column_max_content_widths();
    let columns = shown
        .iter()
        .zip(contents)
        .filter(|(i, _)| grid.columns.get(**i).is_some_and(|c| !c.prose));
    columns
        .map(|(_, content)| usize::from(content) + GAP)
        .sum::<usize>()
        + usize::from(grid.indent)
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
        let mut grid = Grid::default()
            .words("tenant")
            .numbers("files")
            .numbers("odd")
            .if_any();
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
        let mut grid = Grid::default().words("");
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
        let mut grid = Grid::default().words("file").prose("why");
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
        let mut grid = Grid::default()
            .words("tenant")
            .numbers("kept")
            .if_room()
            .numbers("rows")
            .numbers("time")
            .if_room();
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
