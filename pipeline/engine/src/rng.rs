//! Random numbers as a function of (seed, stream, index).
//!
//! Counter-based: element 7 has the same numbers whether elements 0 to 6 were visited or
//! not, so that resuming needs no skipping and threads need no order. The algorithm
//! (ChaCha12, key derived by BLAKE3) is part of what stage versions promise.

pub use rand_chacha::ChaCha12Rng;
pub use rand_core::{Rng, SeedableRng};

const CONTEXT: &str = "iota 2026-11 random stream v1";

/// The generator of one element of one stream.
pub fn rng(seed: u64, stream: &str, index: u64) -> ChaCha12Rng {
    let mut material = Vec::with_capacity(stream.len() + 16);
    material.extend_from_slice(&seed.to_le_bytes());
    material.extend_from_slice(&index.to_le_bytes());
    material.extend_from_slice(stream.as_bytes());
    ChaCha12Rng::from_seed(blake3::derive_key(CONTEXT, &material))
}

/// A number below `bound` (which is at least 1), uniform, by rejection.
pub fn below(rng: &mut ChaCha12Rng, bound: u64) -> u64 {
    let limit = u64::MAX - u64::MAX % bound;
    loop {
        let word = rng.next_u64();
        if word < limit {
            return word % bound;
        }
    }
}

/// Shuffles in place (Fisher-Yates from the end).
pub fn shuffle<T>(rng: &mut ChaCha12Rng, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(rng, last as u64 + 1) as usize);
    }
}
