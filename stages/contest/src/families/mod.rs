//! The plain families: one idea each, varied by constants.
//!
//! One file a theme. `compose/` has the families that are put together from parts.

mod numbers;

use crate::family::Family;

/// All plain families.
pub fn all() -> Vec<Family> {
    [numbers::FAMILIES].concat()
}
