//! Tables: aligned columns, a rule below the header, nothing else, so that they survive a mail and
//! a `grep`.

use std::borrow::Cow;

use comfy_table::{
    Cell as Drawn, CellAlignment, Color, ColumnConstraint, ContentArrangement, LineStyle, Table,
    TableStyle,
};

use super::super::output::Style;
use super::text::wrap;
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

/// When a column is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spare {
    Never,
    First,
    Last,
}

/// One column, of words on the left.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    title: &'static str,
    right: bool,
    /// Left out where it is empty from top to bottom.
    optional: bool,
    /// Left out where the terminal is too narrow for all.
    spare: Spare,
    /// Prose, which may be broken into lines. Names and numbers may not: a path in two parts
    /// cannot be copied.
    prose: bool,
    /// Shortened in the middle where the terminal is too narrow.
    short: bool,
}

/// A column of words.
pub fn words(title: &'static str) -> Column {
    Column {
        title,
        right: false,
        optional: false,
        spare: Spare::Never,
        prose: false,
        short: false,
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
        self.spare = Spare::First;
        self
    }

    /// It is left out where the terminal is too narrow once all columns of [`Self::if_room`] are.
    pub fn unless_narrow(mut self) -> Self {
        self.spare = Spare::Last;
        self
    }

    /// Its cells are shortened in the middle where the terminal is too narrow for all. For names
    /// that are told in full elsewhere, of the first column.
    pub fn shortened(mut self) -> Self {
        self.short = true;
        self
    }
}

/// What is left at least of a name that is shortened: before columns are left out for it, and after.
const SHORTEST: [usize; 2] = [24, 12];

/// Below this, prose is a column of syllables: better to let the terminal break the lines.
const NARROWEST_PROSE: usize = 18;

/// Spaces between columns.
const GAP: usize = 2;

/// A table to be.
#[derive(Debug, Clone)]
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
        let limit = usize::from(width);
        let mut whole = Cow::Borrowed(self);
        for shortest in SHORTEST {
            let excess = whole.fixed_width(&table, &shown).saturating_sub(limit);
            if let Some(narrower) = whole.with_short_names(excess, shortest) {
                whole = Cow::Owned(narrower);
                table = whole.table(&shown, style);
            }
            while whole.fixed_width(&table, &shown) > limit {
                let place = |of| shown.iter().rposition(|(_, column)| column.spare == of);
                let Some(spare) = place(Spare::First).or_else(|| place(Spare::Last)) else {
                    break;
                };
                shown.remove(spare);
                table = whole.table(&shown, style);
            }
        }
        if let Some(prose) = whole.homeless_prose(&table, &shown, limit) {
            return whole.with_prose_below(shown, prose, style, limit);
        }
        whole.fit(&mut table, &shown, width);
        let drawn = table.trim_fmt();
        let lines = drawn
            .lines()
            .map(|line| match line.chars().all(|c| c == '─') {
                // Names may be too long for the terminal, and the rule is no name.
                true => line.chars().take(limit).collect(),
                false => line.to_owned(),
            });
        lines.collect::<Vec<String>>().join("\n")
    }

    /// The place of the one column of prose, where there is no room for it beside the others.
    fn homeless_prose(&self, table: &Table, shown: &[Shown], limit: usize) -> Option<usize> {
        let mut prose = (0..shown.len()).filter(|at| shown.get(*at).is_some_and(|(_, c)| c.prose));
        let (first, second) = (prose.next(), prose.next());
        let left = limit.saturating_sub(self.fixed_width(table, shown));
        first.filter(|_| second.is_none() && left < NARROWEST_PROSE)
    }

    /// The table with each row's prose in lines of their own below it.
    fn with_prose_below(
        &self,
        mut shown: Vec<Shown>,
        prose: usize,
        style: Style,
        limit: usize,
    ) -> String {
        let (at, _) = shown.remove(prose);
        let is_titled = self.columns.iter().any(|c| !c.title.is_empty());
        let drawn = self.table(&shown, style).trim_fmt();
        let (indent, mut lines) = (usize::from(self.indent) + 4, Vec::new());
        let first = if is_titled { 2 } else { 0 };
        for (n, line) in drawn.lines().enumerate() {
            lines.push(line.to_owned());
            let row = n.checked_sub(first).and_then(|n| self.rows.get(n));
            let said = row
                .and_then(|row| row.get(at))
                .map(|cell| one_line(&cell.text));
            lines.extend(
                said.filter(|said| !said.is_empty())
                    .map(|said| wrap(&format!("{:indent$}{said}", ""), limit)),
            );
        }
        lines.join("\n")
    }

    /// The table with its names shortened by `excess` columns, and none to less than `shortest`.
    /// None where that changes nothing.
    fn with_short_names(&self, excess: usize, shortest: usize) -> Option<Self> {
        let is_short = self.columns.first().is_some_and(|column| column.short);
        let names = || self.rows.iter().filter_map(|row| row.first());
        let longest = names().map(|cell| cell.text.chars().count()).max()?;
        let most = longest.saturating_sub(excess).max(shortest);
        if !is_short || excess == 0 || most >= longest {
            return None;
        }
        let mut narrower = self.clone();
        for cell in narrower.rows.iter_mut().filter_map(|row| row.first_mut()) {
            cell.text = shortened(&cell.text, most);
        }
        Some(narrower)
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

/// `events-of-a-…-long-name`: the beginning and the end of a name, in `most` characters.
fn shortened(name: &str, most: usize) -> String {
    let length = name.chars().count();
    if length <= most {
        return name.to_owned();
    }
    let kept = most.saturating_sub(1);
    let (first, last) = (kept - kept / 2, kept / 2);
    let first = name.chars().take(first);
    first
        .chain(['…'])
        .chain(name.chars().skip(length - last))
        .collect()
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
        let drawn = grid.draw(narrow(60));
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(
            lines[2..],
            [
                "acme/2026-04/events-20260427T134507-17.parquet",
                "    because of one thing and because of another that takes",
                "      longer to say"
            ],
            "too narrow for prose beside the name: it stands below"
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

    #[test]
    fn long_names_are_shortened_before_columns_go() {
        let mut grid = Grid::new([words("tenant").shortened(), numbers("rows").if_room()]);
        let name = format!("first-{}-last", "x".repeat(60));
        grid.row([name.as_str().into(), "1,000,000".into()]);
        grid.row(["acme".into(), "7".into()]);
        assert!(grid.draw(narrow(100)).contains(&name));
        let drawn = grid.draw(narrow(60));
        assert!(
            drawn.contains("first-x") && drawn.contains("x-last") && drawn.contains("1,000,000"),
            "{drawn}"
        );
        assert!(drawn.lines().all(|l| l.chars().count() <= 60), "{drawn}");
        let drawn = grid.draw(narrow(20));
        assert!(!drawn.contains("rows") && drawn.contains("acme"), "{drawn}");
        assert!(drawn.lines().all(|l| l.chars().count() <= 20), "{drawn}");
        assert!(grid.draw(Style::default()).contains(&name), "no terminal");
    }
}
