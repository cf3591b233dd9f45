//! The plain families: one idea each, varied by constants.
//!
//! One file a theme. `compose/` has the families that are put together from parts.

mod dynamic;
mod grids;
mod numbers;
mod simulation;
mod strings;
mod words;

use crate::family::Family;

/// All plain families.
pub fn all() -> Vec<Family> {
    [
        numbers::FAMILIES,
        dynamic::FAMILIES,
        simulation::FAMILIES,
        strings::FAMILIES,
        words::FAMILIES,
        grids::FAMILIES,
    ]
    .concat()
}
