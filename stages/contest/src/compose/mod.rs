//! The composed families: problems put together from parts.
//!
//! A composition of parts may be held out as a whole (`split.rs`): its parts are then known
//! from training, their meeting is not. `parts.rs` and `reduce.rs` have parts over numbers.

mod end;
mod lists;
mod parts;
mod pipe;
mod reduce;
mod render;
mod slips;

use crate::family::Family;

/// All composed families.
pub fn all() -> Vec<Family> {
    [lists::FAMILIES].concat()
}
