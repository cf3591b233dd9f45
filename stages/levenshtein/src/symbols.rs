//! A text as symbols.
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
            Unit::Chars => Self::from_values(scalar_values(text)),
            Unit::Bytes => Self::from_bytes(text.as_bytes()),
        }
    }

    /// Bytes of any kind, valid UTF-8 or not.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self {
            values: Values::Narrow(bytes.to_vec()),
        }
    }

    /// Symbols of any kind, such as UTF-16 units with lone surrogates, or token ids.
    pub fn from_values(values: Vec<u32>) -> Self {
        // No early end: that would be slower.
        let is_wide = values.iter().fold(0, |bits, value| bits | value) > u8::MAX.into();
        Self {
            values: if is_wide {
                Values::Wide(values)
            } else {
                Values::Narrow(values.iter().map(|&value| value as u8).collect())
            },
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

    /// How often each occurs.
    pub(crate) fn histogram(&self) -> Histogram {
        match &self.values {
            Values::Narrow(values) => Histogram::new(values.iter().map(|&value| value.into())),
            Values::Wide(values) => Histogram::new(values.iter().copied()),
        }
    }

    /// The symbols by value.
    pub(crate) fn by_value(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        match &self.values {
            Values::Narrow(values) => Box::new(values.iter().map(|&value| u32::from(value))),
            Values::Wide(values) => Box::new(values.iter().copied()),
        }
    }
}

fn scalar_values(text: &str) -> Vec<u32> {
    const NOT_ASCII: u64 = u64::from_le_bytes([0x80; 8]);
    let mut values = Vec::with_capacity(text.chars().count());
    let mut rest = text;
    // A program with a few comments in Russian is mostly ASCII.
    while !rest.is_empty() {
        let words = rest.as_bytes().as_chunks().0.iter();
        let ascii = words.take_while(|word| u64::from_le_bytes(**word) & NOT_ASCII == 0);
        let (ascii, others) = rest.split_at(8 * ascii.count());
        values.extend(ascii.bytes().map(u32::from));
        let mut others = others.chars();
        values.extend(others.by_ref().take(8).map(u32::from));
        rest = others.as_str();
    }
    values
}
