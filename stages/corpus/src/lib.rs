//! Dataset stages: rows and text, CPU only (paper, section 2).
//!
//! Raw data becomes `problems` and `solutions` (`ingest`, `dump`), loses what would leak the test
//! set (`decontaminate`), and is turned into training tables (`mix`, `triplets`).
//! `schema.rs` declares the tables, `table.rs` is the one way to read and write them.

pub mod column;
pub mod schema;
pub mod table;
