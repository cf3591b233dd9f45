//! Exact Levenshtein distance (insert, delete, replace, each at cost 1): of one pair, of one text
//! against many, and the nearest among many.
//!
//! Used by `corpus` for the stage `triplets` (paper, section 2). `symbols.rs` prepares a text,
//! `candidates.rs` many of them, `search.rs` asks; `kernel.rs` is the bit-parallel algorithm over
//! `lanes.rs`, as many texts at a time as a vector register has 64-bit lanes, or one (`wave.rs`);
//! `few.rs` is for pairs that differ in few places, `bound.rs` says how near two texts can be at
//! best, `best.rs` keeps what was found. README.md has the method and the measurements.
//!
//! Promises: distances are exact and the same on every machine, whatever instructions it has; of
//! equally near candidates the one of lowest index counts. Nothing is normalised. No threads:
//! a `Search` belongs to one, and any number of them share their `Candidates`.

mod best;
mod bound;
mod candidates;
mod few;
mod kernel;
mod lanes;
mod pair;
mod pattern;
mod rows;
mod search;
mod symbols;
#[cfg(target_arch = "x86_64")]
mod wave;

pub use best::Match;
pub use candidates::Candidates;
pub use lanes::Instructions;
pub use pair::{distance, distance_within};
pub use search::Search;
pub use symbols::{Symbols, Unit};
