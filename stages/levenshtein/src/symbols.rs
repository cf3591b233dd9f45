//! A text as symbols, and how often each occurs.
//!
//! Made by the caller, once a text. What a symbol is, is the caller's choice (`Unit`).
//!
//! Promises: one byte a symbol if all are below 256, else four; texts of either kind compare by
//! value. Nothing is normalised: "é" of one and of two scalar values are different texts.

use serde::{Deserialize, Serialize};

use crate::bound::Histogram;

/// What one edit changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A Unicode scalar value, as in Python's `str`. The default: it is what RapidFuzz counts, and
    /// an edit of a comment in Russian weighs as much as one in English.
    #[default]
    Chars,
    /// A byte of UTF-8, or of whatever else the bytes are.
    Bytes,
}

/// A text prepared for comparisons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbols {
    pub(crate) values: Values,
    pub(crate) histogram: Histogram,
}

/// Symbols by value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// All below 256.
    Narrow(Vec<u8>),
    /// Not all.
    Wide(Vec<u32>),
}

impl Symbols {
    /// Splits a text into symbols.
    pub fn new(text: &str, unit: Unit) -> Self {
        match unit {
            // ASCII is the same in both.
            Unit::Chars if text.is_ascii() => Self::from_bytes(text.as_bytes()),
            Unit::Chars => Self::from_values(text.chars().map(u32::from).collect()),
            Unit::Bytes => Self::from_bytes(text.as_bytes()),
        }
    }

    /// Bytes of any kind, valid UTF-8 or not.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let histogram = Histogram::new(bytes.iter().map(|&byte| u32::from(byte)));
        Self {
            values: Values::Narrow(bytes.to_vec()),
            histogram,
        }
    }

    /// Symbols of any kind, such as UTF-16 units with lone surrogates, or token ids.
    pub fn from_values(values: Vec<u32>) -> Self {
        let histogram = Histogram::new(values.iter().copied());
        let narrow: Result<Vec<u8>, _> = values.iter().map(|&value| value.try_into()).collect();
        Self {
            values: narrow.map_or(Values::Wide(values), Values::Narrow),
            histogram,
        }
    }

    /// Number of symbols.
    pub fn len(&self) -> usize {
        match &self.values {
            Values::Narrow(values) => values.len(),
            Values::Wide(values) => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The symbols by value.
    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        match &self.values {
            Values::Narrow(values) => Box::new(values.iter().map(|&value| u32::from(value))),
            Values::Wide(values) => Box::new(values.iter().copied()),
        }
    }
}
