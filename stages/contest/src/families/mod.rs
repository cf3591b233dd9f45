//! The plain families: one idea each, varied by constants.
//!
//! One file a theme. `compose/` has the families that are put together from parts.

mod arithmetic;
mod divisors;
mod dynamic;
mod grids;
mod numbers;
mod order;
mod simulation;
mod strings;
mod text_output;
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
        arithmetic::FAMILIES,
        divisors::FAMILIES,
        text_output::FAMILIES,
        grids::FAMILIES,
        order::FAMILIES,
    ]
    .concat()
}
