//! The only file that writes to stdout and stderr.

use crate::value;
use anyhow::Context as _;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use polars::prelude::DataFrame;
use std::io::{IsTerminal, Write};

/// Characters of a string that fit in a cell.
const CELL: usize = 48;
/// A line under the head, nothing else.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));
/// Columns of a terminal nobody can measure.
const WIDTH: u16 = 120;

/// Writes lines to stdout.
pub(crate) fn lines(lines: impl IntoIterator<Item = String>) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in lines {
        writeln!(out, "{line}").context("cannot write to stdout")?;
    }
    out.flush().context("cannot write to stdout")
}

/// Says something to people.
pub(crate) fn say(text: &str) {
    // Nobody is left to be told that stderr is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A frame as a table of cut cells.
pub(crate) fn table(frame: &DataFrame) -> anyhow::Result<()> {
    let columns = value::columns(frame);
    let heads = columns.iter().map(|column| column.name().to_string());
    let rows = (0..frame.height()).map(|row| {
        columns
            .iter()
            .map(|column| value::cell(&value::at(column, row), CELL))
            .collect()
    });
    let right: Vec<bool> = columns
        .iter()
        .map(|column| column.dtype().is_primitive_numeric())
        .collect();
    grid(heads.collect(), rows.collect(), &right)
}

/// A table of texts; columns marked `right` are set to the right.
pub(crate) fn grid(
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
    right: &[bool],
) -> anyhow::Result<()> {
    let mut table = Table::new();
    table
        .load_style(STYLE)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(heads);
    if !std::io::stdout().is_terminal() {
        table.set_width(WIDTH);
    }
    for row in rows {
        table.add_row(row);
    }
    for (column, right) in table.column_iter_mut().zip(right) {
        if *right {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    lines(table.lines().map(|line| line.trim_end().to_owned()))
}

/// Whether the reader of our stdout went away.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .root_cause()
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
