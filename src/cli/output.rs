//! What is printed: the only place that writes to the standard output.
//!
//! Colour goes to terminals only, and not where `NO_COLOR` is set: the stream takes it out elsewhere.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ColumnConstraint, Row, Table, Width};

use super::error::CommandError;

/// What something is about.
pub(super) const BOLD: Style = Style::new().bold();
/// What went as it was wanted.
pub(super) const GREEN: Style = AnsiColor::Green.on_default().bold();
/// What is said beside.
pub(super) const DIM: Style = Style::new().dimmed();

/// Prints for people, or for programs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    /// Print replies as they came.
    pub(super) json: bool,
}

impl Output {
    /// Whether the output is shown as it is written.
    pub(super) fn is_terminal() -> bool {
        io::stdout().is_terminal()
    }

    /// Whether colour is seen, and wanted.
    pub(super) fn has_colour() -> bool {
        anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
    }

    /// One line.
    pub(super) fn line(self, text: impl Display) -> Result<(), CommandError> {
        let mut out = anstream::stdout().lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }

    /// A line as it came.
    pub(super) fn raw(self, body: &[u8]) -> Result<(), CommandError> {
        let mut out = io::stdout().lock();
        out.write_all(body)?;
        out.write_all(b"\n")?;
        Ok(out.flush()?)
    }

    /// A line beside the output: for people only, on the standard error stream.
    pub(super) fn aside(self, text: impl Display) -> Result<(), CommandError> {
        if self.json {
            return Ok(());
        }
        Ok(writeln!(anstream::stderr().lock(), "{DIM}{text}{DIM:#}")?)
    }

    /// Several lines under a heading of each column.
    pub(super) fn table<const N: usize>(
        self,
        header: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Result<(), CommandError> {
        let mut table = plain();
        table.set_header(header.map(str::to_uppercase));
        for row in rows {
            table.add_row(row);
        }
        pad(&mut table);
        for (number, text) in lines(&table).enumerate() {
            match number {
                0 => self.line(format_args!("{BOLD}{text}{BOLD:#}"))?,
                _ => self.line(text)?,
            }
        }
        Ok(())
    }

    /// Names and values, aligned and indented.
    pub(super) fn fields<'a>(
        self,
        fields: impl IntoIterator<Item = (&'a str, String)>,
    ) -> Result<(), CommandError> {
        let fields: Vec<_> = fields.into_iter().collect();
        let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in fields {
            self.line(format_args!("  {DIM}{name:width$}{DIM:#}  {value}"))?;
        }
        Ok(())
    }
}

/// Rows that come one at a time: a column grows to the widest that came so far.
#[derive(Debug)]
pub(super) struct Columns<const N: usize> {
    widths: [u16; N],
}

impl<const N: usize> Columns<N> {
    /// With these widths at first.
    pub(super) const fn new(widths: [u16; N]) -> Self {
        Self { widths }
    }

    /// The row as one line.
    pub(super) fn line(&mut self, row: [String; N]) -> String {
        let mut table = plain();
        table.add_row(Row::from(row));
        for (width, needed) in self.widths.iter_mut().zip(table.column_max_content_widths()) {
            *width = needed.max(*width);
        }
        pad(&mut table);
        for (column, width) in table.column_iter_mut().zip(self.widths) {
            column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width + column.padding_width())));
        }
        lines(&table).collect()
    }
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table
}

/// Two spaces between columns, none at the left edge.
fn pad(table: &mut Table) {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2)).set_cell_alignment(CellAlignment::Left);
    }
}

fn lines(table: &Table) -> impl Iterator<Item = String> {
    table.lines().map(|line| line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_come_one_at_a_time_are_aligned() {
        let mut columns = Columns::new([4, 0]);
        let row = |one: &str, two: &str| [one.to_owned(), two.to_owned()];
        assert_eq!(columns.line(row("a", "x")), "a     x");
        assert_eq!(columns.line(row("订单", "x")), "订单  x");
        assert_eq!(columns.line(row("longer", "x")), "longer  x");
        assert_eq!(columns.line(row("a", "")), "a");
    }
}
