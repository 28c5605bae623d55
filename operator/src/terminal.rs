//! Text for a terminal: its width, colours, tables.

use std::fmt::Write as _;
use std::io::IsTerminal;

/// Between two columns.
const GAP: usize = 2;
/// A column that gives way keeps this much.
const NARROWEST: usize = 14;

/// How a piece of text looks where colours are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Style {
    /// As everything else.
    #[default]
    Plain,
    /// A title, a name.
    Strong,
    /// Beside the point.
    Faint,
    /// As it must be.
    Good,
    /// Not as it must be.
    Bad,
}

/// Paints, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint {
    /// Whether the terminal shows colours.
    pub(crate) has_colours: bool,
}

impl Paint {
    /// The text in a style.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Plain => return text.to_owned(),
            Style::Strong => "1",
            Style::Faint => "2",
            Style::Good => "32",
            Style::Bad => "1;31",
        };
        if self.has_colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Where a terminal does not tell its width.
const USUAL_WIDTH: u16 = 110;
/// Wider lines are hard to read.
const WIDEST: u16 = 140;

/// What the text is shown on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    /// Columns.
    pub(crate) width: usize,
    /// Colours or none.
    pub(crate) paint: Paint,
}

impl Screen {
    /// Standard output: colours only on a terminal, and not where `NO_COLOR` is set.
    pub(crate) fn of_stdout() -> Self {
        let stdout = std::io::stdout();
        let told = rustix::termios::tcgetwinsize(&stdout)
            .ok()
            .map(|size| size.ws_col)
            .filter(|columns| *columns > 0);
        let wants_none = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            width: usize::from(told.unwrap_or(USUAL_WIDTH).min(WIDEST)),
            paint: Paint {
                has_colours: stdout.is_terminal() && !wants_none,
            },
        }
    }

    /// The title of a part.
    pub(crate) fn title(self, title: &str, more: &str) -> String {
        let title = self.paint.paint(Style::Strong, title);
        if more.is_empty() {
            return format!("\n{title}\n");
        }
        format!("\n{title}  {}\n", self.paint.paint(Style::Faint, more))
    }
}

/// A text that is not broken over lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Item(Vec<(Style, String)>);

impl Item {
    /// A text in a style.
    pub(crate) fn new(style: Style, text: impl Into<String>) -> Self {
        Self(vec![(style, text.into())])
    }

    /// A plain text.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self::new(Style::Plain, text)
    }

    /// With more text behind it.
    #[must_use]
    pub(crate) fn and(mut self, style: Style, text: impl Into<String>) -> Self {
        self.0.push((style, text.into()));
        self
    }

    fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    fn paint(&self, paint: Paint) -> String {
        self.0.iter().map(|(style, text)| paint.paint(*style, text)).collect()
    }
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// Its title.
    pub(crate) title: &'static str,
    /// Whether it gives way where the terminal is too narrow.
    pub(crate) is_flexible: bool,
    /// How the items of a cell are laid out.
    pub(crate) layout: Layout,
}

/// How the items of a cell are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One on each line.
    Stacked,
    /// Side by side, as many as fit on a line.
    Flowing,
    /// One, against the right edge.
    Right,
}

/// A table.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Vec<Item>>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row, with the items of each cell.
    pub(crate) fn push(&mut self, cells: Vec<Vec<Item>>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        self.rows.push(cells);
    }

    /// The table as text, each line at most `width` wide unless a single item is wider.
    pub(crate) fn render(&self, width: usize, paint: Paint) -> String {
        let widths = self.widths(width);
        let titles = self
            .columns
            .iter()
            .map(|column| vec![Item::new(Style::Strong, column.title)])
            .collect();
        let mut text = String::new();
        for row in std::iter::once(&titles).chain(&self.rows) {
            self.render_row(row, &widths, paint, &mut text);
        }
        text
    }

    fn render_row(&self, row: &[Vec<Item>], widths: &[usize], paint: Paint, text: &mut String) {
        let cells: Vec<Vec<Vec<&Item>>> = row
            .iter()
            .zip(&self.columns)
            .zip(widths)
            .map(|((items, column), width)| lines(items, column.layout, *width))
            .collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or_default();
        for line in 0..height {
            let mut blank = 0;
            for ((cell, column), width) in cells.iter().zip(&self.columns).zip(widths) {
                let items = cell.get(line).map(Vec::as_slice).unwrap_or_default();
                let used = line_width(items);
                if column.layout == Layout::Right {
                    blank += width.saturating_sub(used);
                }
                // Blanks are written only before something, so that no line ends in them.
                for (i, item) in items.iter().filter(|item| item.width() > 0).enumerate() {
                    if i > 0 {
                        blank += GAP;
                    }
                    let _ = write!(text, "{:blank$}{}", "", item.paint(paint));
                    blank = 0;
                }
                blank += if column.layout == Layout::Right {
                    GAP
                } else {
                    width.saturating_sub(used) + GAP
                };
            }
            text.push('\n');
        }
    }

    fn widths(&self, width: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|column| self.natural_width(column))
            .collect();
        let gaps = GAP * self.columns.len().saturating_sub(1);
        let excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(width);
        if let Some(flexible) = self.columns.iter().position(|column| column.is_flexible) {
            let least = widths[flexible].min(NARROWEST);
            widths[flexible] = widths[flexible].saturating_sub(excess).max(least);
        }
        widths
    }

    fn natural_width(&self, column: usize) -> usize {
        let Column { title, layout, .. } = self.columns[column];
        let of_cell = |items: &Vec<Item>| match layout {
            Layout::Flowing => line_width(&items.iter().collect::<Vec<_>>()),
            Layout::Stacked | Layout::Right => items.iter().map(Item::width).max().unwrap_or_default(),
        };
        let widest = self
            .rows
            .iter()
            .map(|row| of_cell(&row[column]))
            .max()
            .unwrap_or_default();
        widest.max(title.chars().count())
    }
}

fn line_width(items: &[&Item]) -> usize {
    items.iter().map(|item| item.width()).sum::<usize>() + GAP * items.len().saturating_sub(1)
}

/// The items of a cell on lines.
fn lines(items: &[Item], layout: Layout, width: usize) -> Vec<Vec<&Item>> {
    let mut lines: Vec<Vec<&Item>> = Vec::new();
    for item in items {
        match lines.last_mut() {
            Some(line) if layout == Layout::Flowing && line_width(line) + GAP + item.width() <= width => {
                line.push(item);
            }
            _ => lines.push(vec![item]),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let column = |title, is_flexible, layout| Column {
            title,
            is_flexible,
            layout,
        };
        let mut table = Table::new(vec![
            column("Name", false, Layout::Stacked),
            column("Answered", true, Layout::Flowing),
            column("Median", false, Layout::Right),
        ]);
        let answers = ["web-1 5", "web-2 4", "web-3 3", "web-4 2"].map(Item::plain).to_vec();
        table.push(vec![
            vec![Item::plain("web"), Item::new(Style::Faint, "NodePort")],
            answers,
            vec![Item::plain("1 ms")],
        ]);
        table.push(vec![vec![Item::plain("dns")], vec![], vec![]]);
        table
    }

    #[test]
    fn a_wide_terminal_gets_one_line_for_what_flows() {
        assert_eq!(
            table().render(80, Paint { has_colours: false }),
            "Name      Answered                            Median\n\
             web       web-1 5  web-2 4  web-3 3  web-4 2    1 ms\n\
             NodePort\n\
             dns\n"
        );
    }

    #[test]
    fn a_narrow_terminal_breaks_the_flexible_column() {
        let text = table().render(36, Paint { has_colours: false });
        assert_eq!(
            text,
            "Name      Answered            Median\n\
             web       web-1 5  web-2 4      1 ms\n\
             NodePort  web-3 3  web-4 2\n\
             dns\n"
        );
        assert!(text.lines().all(|line| line.len() <= 36));
    }

    #[test]
    fn colours_do_not_count_as_width() {
        let coloured = table().render(80, Paint { has_colours: true });
        assert!(coloured.contains("\x1b[2mNodePort\x1b[0m"));
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once('\x1b') {
            plain += before;
            rest = after.split_once('m').unwrap().1;
        }
        plain += rest;
        assert_eq!(plain, table().render(80, Paint { has_colours: false }));
    }
}
