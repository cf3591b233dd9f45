//! Exact Levenshtein distance (insert, delete, replace, each at cost 1).
//!
//! Called by `triplets` for every pair of a right and a wrong program (paper, section 2).
//! Myers' bit-parallel algorithm (J. ACM 46, 1999) in blocks of 64 rows (Hyyrö 2003), on what is
//! left after common prefix and suffix, within the diagonal band that a bound leaves.
//!
//! Promises: `distance_within` gives the exact distance if it is at most `max`, else `None`;
//! `nearest` gives the lowest index among equally near candidates. Symbols are Unicode scalar
//! values or bytes, nothing is normalised: these are RapidFuzz's and Python's conventions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What one edit changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A Unicode scalar value, as in Python's `str`.
    #[default]
    Chars,
    /// A byte of UTF-8.
    Bytes,
}

/// A text prepared for many comparisons.
#[derive(Clone, Debug)]
pub struct Symbols {
    symbols: Vec<u32>,
    /// How often symbols occur, by their value modulo the number of buckets.
    histogram: [u16; BUCKETS],
}

const BUCKETS: usize = 128;
/// Symbols below this have a table of their own; others are looked up.
const DIRECT: usize = 256;
const WORD: usize = u64::BITS as usize;

impl Symbols {
    /// Splits a text into symbols.
    pub fn new(text: &str, unit: Unit) -> Self {
        let symbols: Vec<u32> = match unit {
            Unit::Chars => text.chars().map(u32::from).collect(),
            Unit::Bytes => text.bytes().map(u32::from).collect(),
        };
        let mut histogram = [0_u16; BUCKETS];
        for &symbol in &symbols {
            let count = &mut histogram[symbol as usize % BUCKETS];
            *count = count.saturating_add(1);
        }
        Self { symbols, histogram }
    }

    /// Number of symbols.
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// A lower bound of the distance, cheap: an edit removes at most one surplus symbol from
    /// either side (bag distance), and the histogram only hides differences.
    fn least_distance(&self, other: &Self) -> usize {
        let (mut more, mut less) = (0_u32, 0_u32);
        for (a, b) in self.histogram.iter().zip(&other.histogram) {
            more += u32::from(a.saturating_sub(*b));
            less += u32::from(b.saturating_sub(*a));
        }
        let bag = more.max(less) as usize;
        bag.max(self.len().abs_diff(other.len()))
    }
}

/// The distance of two texts.
pub fn distance(a: &str, b: &str, unit: Unit) -> usize {
    let (a, b) = (Symbols::new(a, unit), Symbols::new(b, unit));
    distance_within(&a, &b, usize::MAX).expect("no bound")
}

/// The distance if it is at most `max`.
pub fn distance_within(a: &Symbols, b: &Symbols, max: usize) -> Option<usize> {
    let (mut a, mut b) = (&a.symbols[..], &b.symbols[..]);
    let prefix = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    (a, b) = (&a[prefix..], &b[prefix..]);
    let suffix = a
        .iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(x, y)| x == y)
        .count();
    (a, b) = (&a[..a.len() - suffix], &b[..b.len() - suffix]);
    // The shorter one is the pattern: fewer blocks.
    let (pattern, text) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    // No distance exceeds the longer length, and the band must not overflow.
    let max = max.min(text.len());
    if text.len() - pattern.len() > max {
        return None;
    }
    if pattern.is_empty() {
        return Some(text.len());
    }
    blocks(pattern, text, max)
}

/// The index and distance of the candidate nearest to `query`; the lowest index among equals.
pub fn nearest(query: &Symbols, candidates: &[Symbols]) -> Option<(usize, usize)> {
    // Promising candidates first: a small best distance makes the others cheap.
    let mut order: Vec<(usize, usize)> = candidates
        .iter()
        .enumerate()
        .map(|(index, candidate)| (query.least_distance(candidate), index))
        .collect();
    order.sort_unstable();
    let mut best: Option<(usize, usize)> = None;
    for (least, index) in order {
        let max = match best {
            None => usize::MAX,
            // A later candidate must be nearer, an earlier one may be as near.
            Some((0, found)) if index > found => continue,
            Some((distance, found)) => distance - usize::from(index > found),
        };
        if least > max {
            continue;
        }
        if let Some(distance) = distance_within(query, &candidates[index], max) {
            best = Some((distance, index));
        }
    }
    best.map(|(distance, index)| (index, distance))
}

/// For each symbol of the pattern, in which rows of each block it stands.
struct Rows {
    direct: Vec<u64>,
    other: BTreeMap<u32, Vec<u64>>,
    blocks: usize,
}

impl Rows {
    fn new(pattern: &[u32]) -> Self {
        let blocks = pattern.len().div_ceil(WORD);
        let mut direct = vec![0; DIRECT * blocks];
        let mut other = BTreeMap::new();
        for (row, &symbol) in pattern.iter().enumerate() {
            let (block, bit) = (row / WORD, 1_u64 << (row % WORD));
            if (symbol as usize) < DIRECT {
                direct[symbol as usize * blocks + block] |= bit;
            } else {
                other.entry(symbol).or_insert_with(|| vec![0; blocks])[block] |= bit;
            }
        }
        Self {
            direct,
            other,
            blocks,
        }
    }

    /// The blocks of a symbol; empty if it does not occur.
    fn of(&self, symbol: u32) -> &[u64] {
        if (symbol as usize) < DIRECT {
            let start = symbol as usize * self.blocks;
            &self.direct[start..start + self.blocks]
        } else {
            self.other.get(&symbol).map_or(&[], Vec::as_slice)
        }
    }
}

/// 64 rows of one column: differences between vertical neighbours, and the value at the bottom.
#[derive(Clone, Copy)]
struct Block {
    /// Rows whose value is one more than the row above.
    plus: u64,
    /// Rows whose value is one less.
    minus: u64,
    /// Value of the lowest row.
    bottom: isize,
}

impl Block {
    /// Moves one column on. `equal`: rows whose symbol is the column's; `carry`: horizontal
    /// difference (-1, 0, 1) above the block; returns the one at `last`, its lowest row.
    fn step(&mut self, equal: u64, carry: i8, last: u64) -> i8 {
        let Self { plus, minus, .. } = *self;
        let vertical = equal | minus;
        let equal = equal | u64::from(carry < 0);
        let diagonal = (((equal & plus).wrapping_add(plus)) ^ plus) | equal;
        let mut right_plus = minus | !(diagonal | plus);
        let mut right_minus = plus & diagonal;
        let out = i8::from(right_plus & last != 0) - i8::from(right_minus & last != 0);
        right_plus = right_plus << 1 | u64::from(carry > 0);
        right_minus = right_minus << 1 | u64::from(carry < 0);
        self.plus = right_minus | !(vertical | right_plus);
        self.minus = right_plus & vertical;
        self.bottom += isize::from(out);
        out
    }
}

/// Myers over the blocks that the band touches. `1 <= pattern.len() <= text.len()`,
/// `text.len() - pattern.len() <= max <= text.len()`.
///
/// A path of at most `max` edits from corner to corner that visits diagonal d = column - row
/// pays |d| to get there and |delta - d| to get back to the last one, delta. Outside of that
/// band the true values are replaced by upper bounds (one more than the neighbour), which can
/// not undercut a path inside it.
fn blocks(pattern: &[u32], text: &[u32], max: usize) -> Option<usize> {
    let rows = Rows::new(pattern);
    let delta = text.len() - pattern.len();
    let (above, below) = (usize::midpoint(max, delta), (max - delta) / 2);
    let height = |block: usize| WORD.min(pattern.len() - block * WORD);
    let fresh = Block {
        plus: !0,
        minus: 0,
        bottom: 0,
    };
    let mut column_blocks = vec![fresh; rows.blocks];
    // One past the lowest block in use.
    let mut end = 0;
    for (column, &symbol) in text.iter().enumerate() {
        let column = column + 1;
        let first = column.saturating_sub(above).saturating_sub(1) / WORD;
        let last = (column + below).min(pattern.len()).saturating_sub(1) / WORD;
        while end <= last {
            let over = if end == 0 {
                column as isize - 1
            } else {
                column_blocks[end - 1].bottom
            };
            column_blocks[end].bottom = over + height(end) as isize;
            end += 1;
        }
        let equal = rows.of(symbol);
        let mut carry = 1;
        for (offset, block) in column_blocks[first..end].iter_mut().enumerate() {
            let number = first + offset;
            let last = 1 << (height(number) - 1);
            let equal = equal.get(number).copied().unwrap_or(0);
            carry = block.step(equal, carry, last);
        }
        // Each column that is left can lower the last row by one at most.
        if end == rows.blocks {
            let best = column_blocks[end - 1].bottom - (text.len() - column) as isize;
            if best > max as isize {
                return None;
            }
        }
    }
    let found = column_blocks[rows.blocks - 1].bottom as usize;
    (found <= max).then_some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The textbook table, row by row.
    fn naive(a: &[u32], b: &[u32]) -> usize {
        let mut above: Vec<usize> = (0..=b.len()).collect();
        for (i, x) in a.iter().enumerate() {
            let mut row = vec![i + 1];
            for (j, y) in b.iter().enumerate() {
                let replaced = above[j] + usize::from(x != y);
                row.push(replaced.min(above[j + 1] + 1).min(row[j] + 1));
            }
            above = row;
        }
        above[b.len()]
    }

    fn symbols(text: &str) -> Symbols {
        Symbols::new(text, Unit::Chars)
    }

    /// Two texts over few letters, the second often an edit of the first, up to five blocks.
    fn pair() -> impl Strategy<Value = (String, String)> {
        let text = "[abé日]{0,300}";
        let edited = (
            text,
            "[abc]{0,9}",
            any::<prop::sample::Index>(),
            0..40_usize,
        )
            .prop_map(|(text, insert, at, cut)| {
                let chars: Vec<char> = text.chars().collect();
                let at = at.index(chars.len() + 1);
                let after = (at + cut).min(chars.len());
                let edited = chars[..at].iter().copied().chain(insert.chars());
                let edited = edited.chain(chars[after..].iter().copied()).collect();
                (text, edited)
            });
        prop_oneof![(text, text), edited]
    }

    proptest! {
        #[test]
        fn equals_the_naive_table((a, b) in pair(), slack in 0..30_usize) {
            let (a, b) = (symbols(&a), symbols(&b));
            let wanted = naive(&a.symbols, &b.symbols);
            prop_assert_eq!(distance_within(&a, &b, usize::MAX), Some(wanted));
            prop_assert_eq!(distance_within(&b, &a, wanted), Some(wanted));
            prop_assert_eq!(distance_within(&a, &b, wanted + slack), Some(wanted));
            if wanted > slack {
                prop_assert_eq!(distance_within(&a, &b, wanted - slack - 1), None);
            }
            prop_assert!(a.least_distance(&b) <= wanted);
        }

        #[test]
        fn nearest_is_the_first_of_the_smallest(
            query in "[ab]{0,12}", candidates in prop::collection::vec("[ab]{0,12}", 1..12)
        ) {
            let prepared: Vec<_> = candidates.iter().map(|text| symbols(text)).collect();
            let query = symbols(&query);
            let distances = prepared.iter().map(|text| naive(&query.symbols, &text.symbols));
            let wanted = distances.enumerate().min_by_key(|&(index, d)| (d, index));
            prop_assert_eq!(nearest(&query, &prepared), wanted);
        }
    }

    #[test]
    fn units_differ() {
        assert_eq!(distance("é", "e", Unit::Chars), 1);
        assert_eq!(distance("é", "e", Unit::Bytes), 2);
        assert_eq!(nearest(&symbols("a"), &[]), None);
    }
}
