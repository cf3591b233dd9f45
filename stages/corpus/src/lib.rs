//! Dataset stages: rows and text, CPU only (paper, section 2).
//!
//! Raw data becomes `problems` and `solutions` (`ingest`, `dump`), loses what would give the test
//! set away (`decontaminate`), and is turned into training tables (`mix`, `triplets`). `split`
//! hands out problems, `tokenizer` trains a tokenizer. `schema.rs` declares the tables, `table.rs`
//! is the one way to read and write them, `prompt.rs` the one place that knows how a model is asked.

pub mod column;
pub mod decontaminate;
pub mod drops;
pub mod dump;
pub mod hints;
pub mod ingest;
pub mod language;
pub mod lexemes;
pub mod mix;
pub mod prompt;
mod raw;
pub mod schema;
pub mod solution;
mod sort;
pub mod split;
pub mod statements;
pub mod table;
pub mod tokenizer;
pub mod tokens;
pub mod triplets;

pub use levenshtein;
