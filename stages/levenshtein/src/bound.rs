//! How near two texts can be at best, from how often symbols occur in them (bag distance).
//!
//! Called for every pair before anything else; most pairs end here. An edit takes away at most one
//! symbol too many on either side, so the distance is at least the larger surplus, which is half
//! the sum of all differences of counts and of lengths.
//!
//! Promises: never more than the distance. Counts share buckets and end at 255, which only hides
//! differences.

/// Buckets of a histogram: four AVX2 registers.
pub(crate) const BUCKETS: usize = 128;

/// The commonest symbol of programs; a program of 2,000 symbols easily has 500 of them.
const BLANK: usize = b' ' as usize;
/// What is over 255 of it is counted in the buckets of control characters, 255 in each.
const OVERFLOW: std::ops::Range<usize> = 1..9;

/// How often symbols occur, by their value modulo the number of buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Histogram(pub(crate) [u8; BUCKETS]);

impl Histogram {
    pub(crate) fn new(symbols: impl Iterator<Item = u32>) -> Self {
        let mut counts = [0_u32; BUCKETS];
        for symbol in symbols {
            counts[symbol as usize % BUCKETS] += 1;
        }
        let mut over = counts[BLANK].saturating_sub(255);
        for bucket in OVERFLOW {
            let part = over.min(255);
            counts[bucket] += part;
            over -= part;
        }
        Self(counts.map(|count| count.min(255) as u8))
    }

    /// Sum of the differences of all buckets.
    pub(crate) fn difference(&self, other: &Self) -> u32 {
        let pairs = self.0.iter().zip(&other.0);
        pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum()
    }
}

/// The least distance of two texts whose histograms differ by `difference` and whose lengths by
/// `longer`.
pub(crate) fn least(difference: u32, longer: u32) -> u32 {
    // Larger surplus = (sum of surpluses + their difference) / 2, rounded up where some is hidden.
    (difference + longer).div_ceil(2).max(longer)
}
