//! Random draws, keyed by what they are for.
//!
//! A [`Draw`] is a ChaCha8 stream whose key is the hash of a path such as
//! `seed 0 / family stairs / index 3 / tests`. Used by every other file here.
//!
//! Promise: what is drawn under one path never depends on how much was drawn under
//! another, so that a new family, or one more test, changes nothing elsewhere.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// A seeded stream of random choices.
pub struct Draw {
    stream: ChaCha8Rng,
    path: String,
}

impl Draw {
    /// The stream of one problem attempt.
    pub fn new(seed: u64, family: &str, index: usize) -> Self {
        Self::at(format!("contest/{seed}/{family}/{index}"))
    }

    fn at(path: String) -> Self {
        let key = *blake3::hash(path.as_bytes()).as_bytes();
        Self {
            stream: ChaCha8Rng::from_seed(key),
            path,
        }
    }

    /// An independent stream for a part of the same problem.
    #[must_use]
    pub fn child(&self, part: &str) -> Self {
        Self::at(format!("{}/{part}", self.path))
    }

    /// A whole number in `low..=high`.
    pub fn range(&mut self, low: i64, high: i64) -> i64 {
        assert!(low <= high, "empty range {low}..={high}");
        // The bias of the remainder is below 2^-20 for every range used here.
        let width = high.wrapping_sub(low) as u64;
        if width == u64::MAX {
            return self.stream.next_u64() as i64;
        }
        low.wrapping_add((self.stream.next_u64() % (width + 1)) as i64)
    }

    /// An index in `0..count`.
    pub fn index(&mut self, count: usize) -> usize {
        self.range(0, count as i64 - 1) as usize
    }

    /// One element of a slice that is not empty.
    pub fn one<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// True with the given percentage.
    pub fn percent(&mut self, percent: i64) -> bool {
        self.range(0, 99) < percent
    }

    /// Puts the elements into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.index(last + 1);
            items.swap(last, other);
        }
    }

    /// `length` letters of `alphabet` (ASCII).
    pub fn word(&mut self, length: i64, alphabet: &str) -> String {
        let letters = alphabet.as_bytes();
        (0..length)
            .map(|_| char::from(letters[self.index(letters.len())]))
            .collect()
    }
}

/// A number in [0, 1) that depends on the text alone: the coin that `split` tosses.
pub fn unit(text: &str) -> f64 {
    let hash = blake3::hash(text.as_bytes());
    let mut head = [0; 8];
    head.copy_from_slice(&hash.as_bytes()[..8]);
    (u64::from_le_bytes(head) >> 11) as f64 / (1_u64 << 53) as f64
}
