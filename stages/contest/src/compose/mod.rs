//! The composed families: problems put together from parts.
//!
//! A composition of parts may be held out as a whole (`split.rs`): its parts are then known
//! from training, their meeting is not. `parts.rs` and `reduce.rs` have parts over numbers.

mod chain;
mod end;
mod endings;
mod letters;
mod lists;
mod misread;
mod pairs;
mod parts;
mod pipe;
mod reduce;
mod render;
mod slips;
mod text;
mod words;

use crate::family::Family;

/// All composed families.
pub fn all() -> Vec<Family> {
    [
        lists::FAMILIES,
        pairs::FAMILIES,
        letters::FAMILIES,
        words::FAMILIES,
        chain::FAMILIES,
    ]
    .concat()
}
