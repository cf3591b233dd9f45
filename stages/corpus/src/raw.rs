//! Reads files that come from outside: Parquet or JSON lines, of any origin, dirt included.
//!
//! Used by `ingest` and `dump`, which say what columns they want (`Wanted`) and get records of
//! `Cell`s. Our own tables are read by `table.rs`, which tolerates no dirt.
//!
//! Promises: a file is streamed, a batch in memory at a time; its format is told by its first
//! bytes, not by its name. What concerns the whole file (missing column, other type, cut off) is
//! one error naming file, column and row. What concerns one value (text that is not UTF-8, null)
//! is a cell that the caller can count and drop.

mod json;
mod parquet;

use std::io::Read as _;
use std::path::Path;

use anyhow::Result;
use fs_err::File;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Null,
    Text(String),
    /// Text with bytes that are not UTF-8.
    NotUtf8,
    Integer(i64),
    Real(f64),
    Bool(bool),
    List(Vec<Cell>),
    /// Fields in the order in which they were wanted.
    Struct(Vec<Cell>),
}

/// What a column must hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    /// Text; numbers are accepted (ids often are), and so are true and false (verdicts).
    Text,
    Integer,
    Real,
    List(Box<Shape>),
    Struct(Vec<(&'static str, Shape)>),
}

impl Shape {
    pub(crate) fn list(of: Shape) -> Self {
        Self::List(Box::new(of))
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Integer => f.write_str("integer"),
            Self::Real => f.write_str("number"),
            Self::List(of) => write!(f, "list<{of}>"),
            Self::Struct(fields) => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(name, shape)| format!("{name}: {shape}"))
                    .collect();
                write!(f, "struct<{}>", fields.join(", "))
            }
        }
    }
}

/// A column to read.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Its name; without one every cell is null.
    pub(crate) column: Option<String>,
    pub(crate) shape: Shape,
}

impl Wanted {
    pub(crate) fn new(column: Option<&str>, shape: Shape) -> Self {
        Self {
            column: column.map(str::to_owned),
            shape,
        }
    }
}

/// One row: the wanted cells in order.
#[derive(Debug)]
pub(crate) struct Record {
    /// Row of the file, from 0; for JSON lines the line, from 1.
    pub(crate) row: u64,
    pub(crate) cells: Vec<Cell>,
}

/// A text that is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotUtf8;

impl Cell {
    /// The text, if there is one.
    pub(crate) fn text(self) -> Result<Option<String>, NotUtf8> {
        match self {
            Self::Text(text) => Ok(Some(text)),
            Self::Integer(number) => Ok(Some(number.to_string())),
            Self::Real(number) => Ok(Some(number.to_string())),
            Self::Bool(value) => Ok(Some(value.to_string())),
            Self::NotUtf8 => Err(NotUtf8),
            _ => Ok(None),
        }
    }

    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            // JSON and pandas make floats of integer columns with nulls.
            Self::Real(number) if number.fract() == 0.0 => Some(*number as i64),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    pub(crate) fn real(&self) -> Option<f64> {
        match self {
            Self::Integer(number) => Some(*number as f64),
            Self::Real(number) if number.is_finite() => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// The elements; none if it is null.
    pub(crate) fn list(self) -> Vec<Cell> {
        match self {
            Self::List(cells) => cells,
            _ => Vec::new(),
        }
    }

    /// The fields; `None` if it is null.
    pub(crate) fn fields<const N: usize>(self) -> Option<[Cell; N]> {
        match self {
            Self::Struct(cells) => cells.try_into().ok(),
            _ => None,
        }
    }

    /// The texts of a list.
    pub(crate) fn texts(self) -> Result<Vec<String>, NotUtf8> {
        self.list()
            .into_iter()
            .map(|cell| Ok(cell.text()?.unwrap_or_default()))
            .collect()
    }
}

/// The rows of a file.
pub(crate) type Records = Box<dyn Iterator<Item = Result<Record>>>;

/// Opens a file and checks that it has the wanted columns; `label` names it in messages.
pub(crate) fn records(path: &Path, label: &str, wanted: &[Wanted]) -> Result<Records> {
    let mut start = [0; 4];
    let read = File::open(path)?.take(4).read(&mut start)?;
    // A JSON line begins with a brace; all else is treated as Parquet, whose reader then says
    // what is wrong with the file.
    if start[..read].trim_ascii_start().first() == Some(&b'{') {
        json::records(path, label, wanted)
    } else {
        parquet::records(path, label, wanted)
    }
}
