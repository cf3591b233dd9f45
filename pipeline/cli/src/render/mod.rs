//! From events, tables and errors to text on the terminal.

pub(crate) mod error;
pub(crate) mod human;
pub(crate) mod progress;
