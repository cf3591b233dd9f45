//! The composed families: problems put together from parts.
use crate::family::Family;

/// All composed families.
pub fn all() -> Vec<Family> {
    Vec::new()
}
